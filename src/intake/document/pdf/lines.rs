//! Characters that stand beside one another become lines, and lines cells where a wide gap parts them.

use super::glyphs::{Glyph, Sheet};
use super::{arrange, rules};

/// Around the number of a footnote's mark, which stands above the line; noncharacters, which no text has.
pub const RAISED: (char, char) = ('\u{fdd1}', '\u{fdd2}');

/// Words are this far apart, cells that far; in sizes of the letters.
const WORD_GAP: f64 = 0.17;
const CELL_GAP: f64 = 1.5;
/// Base lines that differ less are one.
const SAME_BASE: f64 = 0.28;
/// A raised letter's base line is at most this far above.
const RAISED_MOST: f64 = 0.5;
const RAISED_LEAST: f64 = 0.12;
const RAISED_SIZE: f64 = 0.8;

/// A run of text without a wide gap.
#[derive(Clone, Debug)]
pub struct Cell {
    pub text: String,
    pub from: f64,
    pub to: f64,
    pub base: f64,
    /// Of most of its letters.
    pub size: f64,
    pub bold: bool,
}

impl Cell {
    pub fn letters(&self) -> usize {
        self.text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

#[derive(Clone, Debug)]
pub struct Line {
    pub base: f64,
    pub size: f64,
    pub bold: bool,
    pub cells: Vec<Cell>,
    /// The rows of a table that begins here, in place of cells.
    pub table: Vec<Vec<String>>,
}

impl Line {
    pub fn from(&self) -> f64 {
        self.cells.first().map_or(0.0, |cell| cell.from)
    }

    pub fn to(&self) -> f64 {
        self.cells.last().map_or(0.0, |cell| cell.to)
    }

    /// The text of all cells, with something between them.
    pub fn joined(&self, between: &str) -> String {
        self.cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(between)
    }
}

/// The lines of a page, in the order in which they are read.
pub struct PageLines {
    pub height: f64,
    pub lines: Vec<Line>,
}

pub fn page(mut sheet: Sheet) -> PageLines {
    let grids = rules::grids(&sheet.rules, &mut sheet.glyphs);
    let mut lines = arrange::in_order(cells(sheet.glyphs));
    for grid in grids.into_iter().filter(|grid| !grid.rows.is_empty()) {
        // Before the first line below it that is not of another column.
        let beside = |line: &Line| line.to() < grid.left || line.from() > grid.right;
        let next = lines.iter().position(|line| line.base > grid.top && !beside(line)).unwrap_or(lines.len());
        let table = Line { base: grid.top, size: 0.0, bold: false, cells: Vec::new(), table: grid.rows };
        lines.insert(next, table);
    }
    for turned in sheet.turned {
        lines.extend(arrange::in_order(cells(turned)));
    }
    PageLines { height: sheet.height, lines }
}

/// Letters of one base line, with those that are raised above it.
struct Row {
    base: f64,
    size: f64,
    glyphs: Vec<Glyph>,
}

pub fn cells(mut glyphs: Vec<Glyph>) -> Vec<Cell> {
    // Blanks are found by the gap that they leave: some files draw them, some do not.
    glyphs.retain(|glyph| !glyph.text.trim().is_empty());
    glyphs.sort_by(|a, b| a.base.total_cmp(&b.base));
    let mut rows: Vec<Row> = Vec::new();
    for glyph in glyphs {
        let joins = rows.last().is_some_and(|row| {
            let below = glyph.base - row.base;
            let raised = row.size < RAISED_SIZE * glyph.size && below <= RAISED_MOST * glyph.size;
            raised || below <= SAME_BASE * row.size.max(glyph.size)
        });
        match rows.last_mut().filter(|_| joins) {
            Some(row) => {
                if glyph.size > row.size {
                    (row.base, row.size) = (glyph.base, glyph.size);
                }
                row.glyphs.push(glyph);
            }
            None => rows.push(Row { base: glyph.base, size: glyph.size, glyphs: vec![glyph] }),
        }
    }
    rows.into_iter().flat_map(row_cells).collect()
}

fn row_cells(mut row: Row) -> Vec<Cell> {
    row.glyphs.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut cells: Vec<Vec<Glyph>> = Vec::new();
    // Of the last cell.
    let mut end = f64::MIN;
    for glyph in row.glyphs {
        let Some(cell) = cells.last_mut() else {
            end = glyph.to;
            cells.push(vec![glyph]);
            continue;
        };
        // A letter that is drawn twice, a little apart, is a bold one.
        let size = glyph.size;
        let twin = cell.iter_mut().rev().take(3).find(|present| {
            present.text == glyph.text
                && (present.from - glyph.from).abs() < 0.15 * size
                && (present.base - glyph.base).abs() < 0.15 * size
        });
        if let Some(twin) = twin {
            twin.bold = true;
            continue;
        }
        let gap = glyph.from - end;
        let size = cell.last().map_or(size, |last| last.size.max(size));
        if gap > CELL_GAP * size {
            end = glyph.to;
            cells.push(vec![glyph]);
        } else {
            end = end.max(glyph.to);
            cell.push(glyph);
        }
    }
    cells.iter().filter_map(|glyphs| cell(glyphs)).collect()
}

fn cell(glyphs: &[Glyph]) -> Option<Cell> {
    let size = most_common(glyphs.iter().map(|glyph| (glyph.size, glyph.text.len())))?;
    let base = glyphs.iter().find(|glyph| same(glyph.size, size)).map(|glyph| glyph.base)?;
    let mut text = String::new();
    let mut raised = false;
    let mut end = f64::MIN;
    let mut bold = 0;
    for glyph in glyphs {
        let above = base - glyph.base;
        let digit = glyph.text.chars().all(|c| c.is_ascii_digit());
        let is_raised = digit && glyph.size <= RAISED_SIZE * size && above >= RAISED_LEAST * size;
        if is_raised != raised {
            text.push(if raised { RAISED.1 } else { RAISED.0 });
            raised = is_raised;
        }
        // A wide letter may overlap the next; a blank is never negative.
        let space = glyph.from - end > WORD_GAP * glyph.size.max(0.7 * size);
        if space && !text.is_empty() && !is_raised && end > f64::MIN {
            text.push(' ');
        }
        text.push_str(&glyph.text);
        end = end.max(glyph.to);
        bold += usize::from(glyph.bold);
    }
    if raised {
        text.push(RAISED.1);
    }
    let from = glyphs.first()?.from;
    Some(Cell { text, from, to: end, base, size, bold: 2 * bold > glyphs.len() })
}

/// Sizes are rounded by whoever wrote the file.
pub fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.04 * one.max(other)
}

/// The size that most characters have, in steps of a quarter of a point.
pub fn most_common(sizes: impl Iterator<Item = (f64, usize)>) -> Option<f64> {
    let mut counts: Vec<(i64, usize)> = Vec::new();
    for (size, weight) in sizes {
        let step = (size * 4.0).round() as i64;
        match counts.iter_mut().find(|(present, _)| *present == step) {
            Some((_, count)) => *count += weight,
            None => counts.push((step, weight)),
        }
    }
    let most = counts.into_iter().max_by_key(|(step, count)| (*count, *step))?;
    Some(most.0 as f64 / 4.0)
}
