//! Tables whose cells are drawn: lines that cross make a grid, and what stands in a field of it is a cell.

use super::arrange;
use super::blocks::join_line;
use super::glyphs::Glyph;
use super::lines::cells;

/// A drawn line, upright or level: where it lies, and from where to where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub upright: bool,
    pub at: f64,
    pub from: f64,
    pub to: f64,
}

/// A table, and where it begins and ends on the page.
pub struct Grid {
    pub top: f64,
    pub left: f64,
    pub right: f64,
    pub rows: Vec<Vec<String>>,
}

/// Shorter lines are parts of signs and patterns.
pub const SHORTEST: f64 = 6.0;
/// More lines than this are a drawing.
pub const MOST_RULES: usize = 4000;
/// Lines that are closer are one, and meet.
const NEAR: f64 = 3.0;
const MOST_FIELDS: usize = 20_000;

/// Takes the characters that stand in a grid out of the others.
pub fn grids(rules: &[Rule], glyphs: &mut Vec<Glyph>) -> Vec<Grid> {
    groups(rules).iter().filter_map(|group| grid(group, glyphs)).collect()
}

/// Lines that meet, directly or by others.
fn groups(rules: &[Rule]) -> Vec<Vec<Rule>> {
    let mut groups: Vec<Vec<Rule>> = Vec::new();
    if rules.len() > MOST_RULES {
        return groups;
    }
    for rule in rules {
        let (meeting, mut others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| meet(rule, other)));
        let mut joined: Vec<Rule> = meeting.into_iter().flatten().collect();
        joined.push(*rule);
        others.push(joined);
        groups = others;
    }
    groups
}

fn meet(one: &Rule, other: &Rule) -> bool {
    if one.upright == other.upright {
        let touching = one.from <= other.to + NEAR && other.from <= one.to + NEAR;
        return (one.at - other.at).abs() <= NEAR && touching;
    }
    let within = |at: f64, rule: &Rule| rule.from - NEAR <= at && at <= rule.to + NEAR;
    within(one.at, other) && within(other.at, one)
}

/// Where lines of one direction lie, each once.
fn places(rules: &[Rule], upright: bool) -> Vec<f64> {
    let mut all: Vec<f64> = rules.iter().filter(|rule| rule.upright == upright).map(|rule| rule.at).collect();
    all.sort_by(f64::total_cmp);
    let mut places: Vec<f64> = Vec::new();
    for at in all {
        if places.last().is_none_or(|last| at - last > NEAR) {
            places.push(at);
        }
    }
    places
}

fn grid(rules: &[Rule], glyphs: &mut Vec<Glyph>) -> Option<Grid> {
    let (across, down) = (places(rules, true), places(rules, false));
    let (columns, rows) = (across.len().checked_sub(1)?, down.len().checked_sub(1)?);
    if columns < 2 || rows < 2 || columns * rows > MOST_FIELDS {
        return None;
    }
    let frame = Frame { rules, across: &across, down: &down };
    let mut fields: Vec<Vec<Vec<Glyph>>> = vec![vec![Vec::new(); columns]; rows];
    let mut outside = Vec::new();
    let mut taken = Vec::new();
    for glyph in std::mem::take(glyphs) {
        match frame.field(&glyph) {
            Some(place) => taken.push((place, glyph)),
            None => outside.push(glyph),
        }
    }
    *glyphs = outside;
    for ((row, column), glyph) in taken {
        let (row, column) = frame.first_of(row, column);
        if let Some(field) = fields.get_mut(row).and_then(|row| row.get_mut(column)) {
            field.push(glyph);
        }
    }
    let rows: Vec<Vec<String>> = fields.into_iter().map(|row| row.into_iter().map(words).collect()).collect();
    let rows = without_empty(rows);
    let (left, right, top) = (*across.first()?, *across.last()?, *down.first()?);
    Some(Grid { top, left, right, rows })
}

/// Rows and columns in which nothing is written are there for the look.
fn without_empty(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let used: Vec<bool> = (0..width)
        .map(|column| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let kept = |row: Vec<String>| -> Vec<String> {
        row.into_iter().zip(&used).filter(|(_, used)| **used).map(|(cell, _)| cell).collect()
    };
    rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).map(kept).collect()
}

struct Frame<'a> {
    rules: &'a [Rule],
    across: &'a [f64],
    down: &'a [f64],
}

impl Frame<'_> {
    fn field(&self, glyph: &Glyph) -> Option<(usize, usize)> {
        let (x, y) = ((glyph.from + glyph.to) / 2.0, glyph.base - 0.3 * glyph.size);
        let between = |places: &[f64], at: f64| {
            places.windows(2).position(|pair| matches!(pair, [from, to] if *from <= at && at < *to))
        };
        Some((between(self.down, y)?, between(self.across, x)?))
    }

    /// The first field of the cell that a field is part of: no line parts it from those to the left and above.
    fn first_of(&self, row: usize, column: usize) -> (usize, usize) {
        let (mut row, mut column) = (row, column);
        while column > 0 && !self.parted(true, column, middle(self.down, row)) {
            column -= 1;
        }
        while row > 0 && !self.parted(false, row, middle(self.across, column)) {
            row -= 1;
        }
        (row, column)
    }

    /// Whether a line lies at this place of its direction, and passes this point.
    fn parted(&self, upright: bool, index: usize, passes: f64) -> bool {
        let places = if upright { self.across } else { self.down };
        let Some(at) = places.get(index) else { return true };
        self.rules.iter().any(|rule| {
            rule.upright == upright
                && (rule.at - at).abs() <= NEAR
                && rule.from <= passes
                && passes <= rule.to
        })
    }
}

fn middle(places: &[f64], index: usize) -> f64 {
    match places.get(index..index + 2) {
        Some([from, to]) => (from + to) / 2.0,
        _ => 0.0,
    }
}

fn words(glyphs: Vec<Glyph>) -> String {
    let mut text = String::new();
    for line in arrange::in_order(cells(glyphs)) {
        join_line(&mut text, &line.joined(" "));
    }
    text
}
