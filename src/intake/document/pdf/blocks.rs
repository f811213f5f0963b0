//! Lines become blocks: size and weight tell headings, distance tells paragraphs, repetition tells what only runs
//! along at the edge of pages.

use super::super::error::Unreadable;
use super::super::limits::Limits;
use super::super::markdown::{Markdown, Marker, PAGE, clean, squeezed};
use super::lines::{Line, PageLines, RAISED, most_common, same};
use super::table::Rows;
use std::collections::{BTreeMap, HashMap};

/// How much larger than the body's a heading's letters are.
const HEADING: f64 = 1.12;
const LONGEST_HEADING: usize = 200;
const LONGEST_BOLD_HEADING: usize = 90;
/// Headers and footers stand in this share of a page's height, at the top and at the bottom.
const EDGE: f64 = 0.13;
/// A line farther below than this many usual distances begins a paragraph.
const APART: f64 = 1.3;
/// Footnotes are smaller than the body.
const NOTE: f64 = 0.94;

pub fn put(mut pages: Vec<PageLines>, limits: &Limits) -> Result<(String, Vec<usize>), Unreadable> {
    drop_running(&mut pages);
    let look = Look::of(&pages);
    let mut writer = Writer {
        markdown: Markdown::new(limits.answer),
        look,
        open: None,
        rows: Rows::default(),
        notes: HashMap::new(),
        items: Vec::new(),
        header: None,
    };
    for page in &pages {
        writer.page(page);
        if writer.markdown.is_over() {
            break;
        }
    }
    writer.close();
    writer.markdown.finish()
}

/// Removes lines that stand at the same place of many pages with the same words, whatever the number in them.
fn drop_running(pages: &mut [PageLines]) {
    let edge = |page: &PageLines, line: &Line| {
        line.base < EDGE * page.height || line.base > (1.0 - EDGE) * page.height
    };
    let mut counts: HashMap<(String, i64), usize> = HashMap::new();
    for page in pages.iter() {
        let mut here: Vec<(String, i64)> = page
            .lines
            .iter()
            .filter(|line| line.table.is_empty() && edge(page, line))
            .map(running_key)
            .collect();
        here.sort();
        here.dedup();
        for key in here {
            *counts.entry(key).or_default() += 1;
        }
    }
    let all = pages.len();
    // On left and right pages they may differ.
    let runs = |count: usize| (all == 2 && count == 2) || (count >= 3 && count * 5 >= all * 2);
    for page in pages.iter_mut() {
        let height = page.height;
        page.lines.retain(|line| {
            let at_edge = line.base < EDGE * height || line.base > (1.0 - EDGE) * height;
            !(at_edge
                && line.table.is_empty()
                && counts.get(&running_key(line)).is_some_and(|count| runs(*count)))
        });
    }
}

fn running_key(line: &Line) -> (String, i64) {
    let mut text = String::new();
    for c in line.joined(" ").chars() {
        match c {
            c if c.is_ascii_digit() => {
                if !text.ends_with('#') {
                    text.push('#');
                }
            }
            c => text.push(c),
        }
    }
    (squeezed(&text), (line.base / 4.0).round() as i64)
}

/// What the document's letters usually look like.
struct Look {
    body: f64,
    body_is_bold: bool,
    /// Sizes of headings, the largest first.
    headings: Vec<f64>,
    /// From a base line to the next, in sizes.
    distance: f64,
}

impl Look {
    fn of(pages: &[PageLines]) -> Self {
        let lines = || pages.iter().flat_map(|page| &page.lines);
        let letters = |line: &Line| line.cells.iter().map(super::lines::Cell::letters).sum::<usize>();
        let body = most_common(lines().map(|line| (line.size, letters(line)))).unwrap_or(10.0);
        let bold: usize = lines().filter(|line| line.bold).map(letters).sum();
        let all: usize = lines().map(letters).sum();
        let mut sizes: Vec<f64> = Vec::new();
        for line in lines().filter(|line| line.size >= HEADING * body && has_letters(line)) {
            if !sizes.iter().any(|size| same(*size, line.size)) {
                sizes.push(line.size);
            }
        }
        sizes.sort_by(|a, b| b.total_cmp(a));
        sizes.truncate(6);
        let mut distances: BTreeMap<i64, usize> = BTreeMap::new();
        for page in pages {
            for pair in page.lines.windows(2) {
                if let [above, below] = pair
                    && same(above.size, body)
                    && same(below.size, body)
                {
                    let distance = (below.base - above.base) / body;
                    if (0.9..2.3).contains(&distance) {
                        *distances.entry((distance * 20.0).round() as i64).or_default() += 1;
                    }
                }
            }
        }
        // Lines of a paragraph are closest: paragraphs of one line each may be more, but stand farther apart.
        let pairs: usize = distances.values().sum();
        let about = |step: i64| (step..step + 2).filter_map(|step| distances.get(&step)).sum::<usize>();
        let usual = distances.keys().find(|step| about(**step) * 10 >= pairs).map(|step| *step as f64 / 20.0);
        Self { body, body_is_bold: 2 * bold > all, headings: sizes, distance: usual.unwrap_or(1.2) }
    }

    /// The level of a heading; `apart`: whether the line stands apart from the one above.
    fn heading(&self, line: &Line, apart: bool) -> Option<usize> {
        let text = line.joined(" ");
        let length = text.chars().count();
        if length > LONGEST_HEADING || !has_letters(line) {
            return None;
        }
        if let Some(rank) = self.headings.iter().position(|size| same(*size, line.size)) {
            return Some(rank + 1);
        }
        let bold = line.bold && !self.body_is_bold && line.cells.len() == 1 && apart;
        let ends = text.trim_end().ends_with(['.', ',', ';', ':', '!', '?']);
        let begins = text.trim_start().chars().next().is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
        let large = line.size >= 0.95 * self.body;
        (bold && large && begins && !ends && length <= LONGEST_BOLD_HEADING)
            .then(|| (self.headings.len() + 1).min(6))
    }
}

fn has_letters(line: &Line) -> bool {
    line.cells.iter().any(|cell| cell.text.chars().any(char::is_alphabetic))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Paragraph,
    Heading(usize),
    Item(usize, Marker),
}

/// The block that grows.
struct Open {
    kind: Kind,
    text: String,
    last: Line,
    /// Where its first line begins.
    from: f64,
    /// The right end of its longest line.
    to: f64,
}

struct Writer {
    markdown: Markdown,
    look: Look,
    open: Option<Open>,
    rows: Rows,
    /// Marks of this page's footnotes: the note's number, and its text.
    notes: HashMap<u32, String>,
    /// Where the items of each level of the open list begin.
    items: Vec<f64>,
    /// Of the drawn table that was the last to be written, if nothing followed.
    header: Option<Vec<String>>,
}

impl Writer {
    fn page(&mut self, page: &PageLines) {
        let (body, notes) = self.split_notes(&page.lines);
        self.notes = notes;
        let goes_on = self.open.as_ref().zip(body.first()).is_some_and(|(open, first)| {
            open.kind == Kind::Paragraph
                && same(open.last.size, first.size)
                && first.cells.len() == 1
                && !ends_sentence(&open.text)
                && first.joined("").chars().next().is_some_and(char::is_lowercase)
        });
        if goes_on && self.rows.is_empty() {
            if let (Some(open), Some(first)) = (&mut self.open, body.first()) {
                // The paragraph goes on as if there were no end of the page, but for its mark.
                let begins = open.text.len();
                join_line(&mut open.text, &first.joined(" "));
                let at = open.text.get(begins..).and_then(|more| more.find(|c: char| !c.is_whitespace()));
                open.text.insert(begins + at.unwrap_or(0), PAGE);
                open.last = (*first).clone();
            }
            body.iter().skip(1).for_each(|line| self.line(line));
        } else {
            self.close();
            self.markdown.page();
            body.iter().for_each(|line| self.line(line));
        }
        // A note belongs to its page.
        if !self.notes.is_empty() {
            self.close();
            self.markdown.put_footnotes();
        }
    }

    /// The lines of a page, and apart from them its footnotes: small ones at its end that begin with a number
    /// which stands, raised, in the text.
    fn split_notes<'a>(&self, lines: &'a [Line]) -> (Vec<&'a Line>, HashMap<u32, String>) {
        let small = |line: &Line| line.table.is_empty() && line.size <= NOTE * self.look.body;
        let behind = lines.iter().rposition(|line| !small(line)).map_or(0, |index| index + 1);
        let (body, end) = lines.split_at(behind.min(lines.len()));
        let marks: Vec<u32> = body.iter().flat_map(|line| raised(&line.joined(" "))).collect();
        let mut notes: Vec<(u32, String)> = Vec::new();
        let mut rest: Vec<&Line> = body.iter().collect();
        for line in end {
            let text = line.joined(" ");
            match (number_of_note(&text).filter(|(number, _)| marks.contains(number)), notes.last_mut()) {
                (Some((number, text)), _) => notes.push((number, text)),
                (None, Some((_, note))) => join_line(note, &text),
                (None, None) => rest.push(line),
            }
        }
        (rest, notes.into_iter().collect())
    }

    /// A drawn table. One that goes on after another without a word between them, as over the end of a page, has
    /// the same header.
    fn table(&mut self, table: &[Vec<String>]) {
        self.close();
        self.items.clear();
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in table {
            rows.push(row.iter().map(|cell| self.marked(cell)).collect());
        }
        let first = rows.first().cloned().unwrap_or_default();
        match &self.header {
            Some(header) if header.len() == first.len() => {
                if *header != first {
                    rows.insert(0, header.clone());
                }
            }
            _ => self.header = Some(first),
        }
        self.markdown.table(&rows);
    }

    fn line(&mut self, line: &Line) {
        if !line.table.is_empty() {
            self.table(&line.table);
            return;
        }
        self.header = None;
        let apart = self.is_apart(line);
        if let Some((marker, rest)) = item(line) {
            // A large or bold line with a number is a heading that has one.
            let level = self.look.heading(line, apart).filter(|_| marker != Marker::Bullet);
            if level.is_none() {
                self.close();
                self.item(line, marker, rest);
                return;
            }
        }
        let heading = self.look.heading(line, apart);
        if let Some(level) = heading {
            let text = line.joined(" ");
            match &mut self.open {
                Some(open) if open.kind == Kind::Heading(level) && !apart && self.rows.is_empty() => {
                    join_line(&mut open.text, &text);
                    open.last = line.clone();
                }
                _ => self.begin(Kind::Heading(level), line, text),
            }
            return;
        }
        if line.cells.len() > 1 && !self.is_stretched(line, apart) {
            self.row(line);
            return;
        }
        if !self.rows.is_empty() {
            if self.rows.take_wrapped(line) {
                return;
            }
            self.close();
        }
        let text = line.joined(" ");
        let goes_on = match &self.open {
            None => false,
            Some(open) => match open.kind {
                Kind::Heading(_) => false,
                Kind::Paragraph => !apart && !self.begins_anew(open, line),
                Kind::Item(..) => {
                    !apart && line.from() > open.from - 0.5 * line.size && same(open.last.size, line.size)
                }
            },
        };
        match &mut self.open {
            Some(open) if goes_on => {
                join_line(&mut open.text, &text);
                open.to = open.to.max(line.to());
                open.last = line.clone();
            }
            _ => self.begin(Kind::Paragraph, line, text),
        }
    }

    /// Whether the line stands farther below the last one than lines of a paragraph do, or elsewhere.
    fn is_apart(&self, line: &Line) -> bool {
        let Some(open) = &self.open else { return true };
        let usual = self.look.distance * open.last.size.max(line.size);
        let below = line.base - open.last.base;
        below <= 0.0 || below > APART * usual
    }

    /// Whether a line of several cells is one of a paragraph whose lines are all stretched to the same length.
    fn is_stretched(&self, line: &Line, apart: bool) -> bool {
        let Some(open) = &self.open else { return false };
        let near = line.size;
        let from = (line.from() - open.from).abs() <= near || (line.from() - open.last.from()).abs() <= near;
        let full = (line.to() - open.to).abs() <= near && (open.last.to() - open.to).abs() <= near;
        let ends = ends_sentence(&open.text) || open.text.ends_with(':');
        !apart && from && full && !ends && open.kind == Kind::Paragraph && same(open.last.size, line.size)
    }

    /// Whether a line that stands close begins another paragraph: with other letters, or set in, or behind a line
    /// that ended early.
    fn begins_anew(&self, open: &Open, line: &Line) -> bool {
        if !same(open.last.size, line.size) || open.last.bold != line.bold {
            return true;
        }
        let set_in = line.from() - open.last.from() > 0.8 * line.size
            && open.last.from() - open.from > -0.8 * line.size;
        let width = open.to.max(line.to()) - open.from.min(line.from());
        let early = open.last.to() < open.to.max(line.to()) - 0.25 * width.max(1.0);
        let upper = line.joined("").chars().next().is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
        (set_in && ends_sentence(&open.text))
            || (early && upper && (ends_sentence(&open.text) || open.text.ends_with(':')))
    }

    fn begin(&mut self, kind: Kind, line: &Line, text: String) {
        self.close();
        if !matches!(kind, Kind::Item(..)) {
            self.items.clear();
        }
        let mut begun = String::new();
        join_line(&mut begun, &text);
        self.open = Some(Open { kind, text: begun, last: line.clone(), from: line.from(), to: line.to() });
    }

    fn item(&mut self, line: &Line, marker: Marker, rest: String) {
        let from = line.from();
        // Levels that begin farther to the right have ended.
        self.items.retain(|level| *level <= from + 0.5 * line.size);
        let depth = match self.items.iter().rposition(|level| (level - from).abs() <= 0.5 * line.size) {
            Some(depth) => depth,
            None => {
                self.items.push(from);
                self.items.len() - 1
            }
        };
        let items = std::mem::take(&mut self.items);
        self.begin(Kind::Item(depth, marker), line, rest);
        self.items = items;
    }

    fn row(&mut self, line: &Line) {
        if self.rows.is_empty() {
            self.close();
        }
        self.rows.push(line, 0);
    }

    /// Writes what is open.
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let text = self.marked(&open.text);
            match open.kind {
                Kind::Paragraph => self.markdown.paragraph(&text),
                Kind::Heading(level) => self.markdown.heading(level, &text),
                Kind::Item(depth, marker) => self.markdown.item(depth, marker, &text),
            }
        }
        let rows = self.rows.finish();
        if rows.is_empty() {
            return;
        }
        self.items.clear();
        let marked: Vec<Vec<String>> = rows
            .iter()
            .map(|(row, _)| row.iter().map(|cell| self.marked(&cleaned(cell))).collect())
            .collect();
        match &marked[..] {
            // One line is no table, but its parts stay apart.
            [row] => {
                let cells: Vec<&str> =
                    row.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
                self.markdown.paragraph(&cells.join(" | "));
            }
            rows => self.markdown.table(rows),
        }
    }

    /// The text with its footnotes' marks; other raised numbers are numbers.
    fn marked(&mut self, text: &str) -> String {
        let mut marked = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(RAISED.0) {
            marked.push_str(before);
            let (number, behind) = behind.split_once(RAISED.1).unwrap_or((behind, ""));
            let note = number.parse().ok().and_then(|number| self.notes.get(&number));
            match note {
                Some(note) => {
                    marked.push_str(&self.markdown.footnote(&note.replace([RAISED.0, RAISED.1], "")))
                }
                None => marked.push_str(number),
            }
            rest = behind;
        }
        marked.push_str(rest);
        marked.replace([RAISED.1, SOFT], "")
    }
}

/// The numbers that stand raised in a text.
fn raised(text: &str) -> Vec<u32> {
    let parts = text.split(RAISED.0).skip(1);
    parts.filter_map(|part| part.split_once(RAISED.1)?.0.parse().ok()).collect()
}

/// The number that a footnote begins with, and its text.
fn number_of_note(text: &str) -> Option<(u32, String)> {
    let text = text.replace([RAISED.0, RAISED.1], " ");
    let text = text.trim_start();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    let rest = cleaned(rest.trim_start_matches([')', '.', ' ']));
    (digits <= 3 && !rest.is_empty()).then(|| Some((number.parse().ok()?, rest)))?
}

/// How an item of a list begins, and its text. Signs of fonts of their own are taken for bullets.
fn item(line: &Line) -> Option<(Marker, String)> {
    const BULLETS: [char; 14] = ['•', '◦', '▪', '▫', '●', '○', '■', '□', '‣', '–', '—', '·', '➢', '✓'];
    let text = line.joined(" ");
    let text = text.trim_start();
    let first = text.chars().next()?;
    let rest = text.get(first.len_utf8()..)?;
    let alone =
        rest.starts_with(' ') || line.cells.first().is_some_and(|cell| cell.text.chars().count() == 1);
    let single = line.cells.len() <= 2;
    if single && alone && (BULLETS.contains(&first) || matches!(first, '-' | '*' | '\u{e000}'..='\u{f8ff}')) {
        return Some((Marker::Bullet, rest.trim().to_owned()));
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    let rest = rest.strip_prefix(['.', ')'])?;
    let numbered = single && (1..=3).contains(&digits) && rest.starts_with(' ') && rest.trim().len() > 1;
    numbered.then(|| Some((Marker::Number(number.parse().ok()?), rest.trim().to_owned())))?
}

fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '“' | '”' | '«' | '»' | ')' | RAISED_END)
    });
    text.ends_with(['.', '!', '?'])
}

const RAISED_END: char = RAISED.1;

/// Without control characters and signs that only a font of its own could show; our own marks stay.
fn cleaned(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !matches!(c, '\u{e000}'..='\u{f8ff}')).collect();
    clean(&kept)
}

/// Puts the next line of a paragraph behind the text so far. A word that was parted at the line's end is whole
/// again; where a capital follows, the hyphen belongs to the word ("E-Mail-Adresse").
pub fn join_line(text: &mut String, line: &str) {
    let soft = line.trim_end().ends_with('\u{ad}');
    let line = cleaned(line);
    let line = line.trim();
    if line.is_empty() {
        return;
    }
    if let Some(before) = text.strip_suffix(SOFT) {
        text.truncate(before.len());
    } else if let Some(before) = text.strip_suffix(['-', '‐']) {
        let parted = before.chars().next_back().is_some_and(char::is_alphabetic);
        let first = line.chars().next();
        // "Ein- und Auszahlungen" keeps both.
        let joins = ["und", "oder", "bzw.", "sowie", "and", "or"];
        let pair = line.split_whitespace().next().is_some_and(|word| joins.contains(&word));
        let length = before.len();
        match first {
            Some(c) if parted && c.is_lowercase() && !pair => text.truncate(length),
            Some(c) if parted && c.is_alphabetic() && !pair => {}
            _ => text.push(' '),
        }
    } else if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
    if soft {
        text.push(SOFT);
    }
}

/// Stands for a soft hyphen at the end of the text so far.
const SOFT: char = '\u{fdd3}';
