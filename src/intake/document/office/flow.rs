//! Paragraphs and tables of a text document, put together as they come.

use super::super::limits::Limits;
use super::super::markdown::{Markdown, Marker, PAGE, clean};

/// What a paragraph is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Plain,
    Heading(usize),
    Item(usize, Marker),
    /// Left out, but for the pages that begin in it.
    Nothing,
}

/// Cells of a row that a file may repeat or span: more columns than any text has.
const MOST_COLUMNS: usize = 256;

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    row: Vec<String>,
    cell: Option<String>,
    /// Columns beside the first that the open cell covers.
    spanned: usize,
}

/// The document so far. Paragraphs may be open inside one another (a text box in a paragraph), and tables, too.
pub struct Flow {
    pub markdown: Markdown,
    paragraphs: Vec<String>,
    tables: Vec<Table>,
}

impl Flow {
    pub fn new(limits: &Limits) -> Self {
        Self { markdown: Markdown::new(limits.answer), paragraphs: Vec::new(), tables: Vec::new() }
    }

    pub fn open_paragraph(&mut self) {
        self.paragraphs.push(String::new());
    }

    pub fn text(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.push_str(&clean(text));
        }
    }

    /// What is ours, not the document's: a line break, a footnote's mark.
    pub fn mark(&mut self, mark: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.push_str(mark);
        }
    }

    /// A page ends here because somebody wanted it to.
    pub fn page(&mut self) {
        match self.paragraphs.last_mut() {
            Some(paragraph) => paragraph.push(PAGE),
            None => self.markdown.page(),
        }
    }

    /// A page began here when the file was last laid out; where a wanted break stands just before, it is the same.
    pub fn laid_out_page(&mut self) {
        match self.paragraphs.last_mut() {
            Some(paragraph) if paragraph.trim_end_matches(' ').ends_with(PAGE) => {}
            Some(paragraph) if paragraph.trim().is_empty() && self.markdown.is_fresh() => {}
            Some(paragraph) => paragraph.push(PAGE),
            None => self.markdown.page_unless_fresh(),
        }
    }

    pub fn close_paragraph(&mut self, role: Role) {
        let Some(paragraph) = self.paragraphs.pop() else { return };
        if let Some(cell) = self.tables.last_mut().and_then(|table| table.cell.as_mut()) {
            if !cell.is_empty() && !paragraph.trim().is_empty() {
                cell.push(' ');
            }
            let mark = if matches!(role, Role::Item(..)) && !paragraph.trim().is_empty() { "- " } else { "" };
            cell.push_str(mark);
            cell.push_str(&paragraph);
            return;
        }
        // A box inside a paragraph comes before it, as a paragraph.
        match role {
            Role::Heading(level) => self.markdown.heading(level, &paragraph),
            Role::Item(depth, marker) => self.markdown.item(depth, marker, &paragraph),
            Role::Plain => self.markdown.paragraph(&paragraph),
            Role::Nothing => self.markdown.pages_of(&paragraph),
        }
    }

    /// A number that the word processor shows before the open paragraph.
    pub fn number(&mut self, number: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            let at = paragraph.len() - paragraph.trim_start_matches([PAGE, ' ']).len();
            if at < paragraph.len() {
                paragraph.insert_str(at, &format!("{number} "));
            }
        }
    }

    pub fn is_in_table(&self) -> bool {
        !self.tables.is_empty()
    }

    /// The open cell covers this many columns.
    pub fn span(&mut self, columns: usize) {
        if let Some(table) = self.tables.last_mut() {
            table.spanned = columns.saturating_sub(1).min(MOST_COLUMNS);
        }
    }

    pub fn open_table(&mut self) {
        self.tables.push(Table::default());
    }

    pub fn open_cell(&mut self) {
        if let Some(table) = self.tables.last_mut() {
            table.cell = Some(String::new());
            table.spanned = 0;
        }
    }

    /// `repeated`: how often the cell stands there.
    pub fn close_cell(&mut self, repeated: usize) {
        let Some(table) = self.tables.last_mut() else { return };
        let Some(cell) = table.cell.take() else { return };
        let room = MOST_COLUMNS.saturating_sub(table.row.len());
        let spanned = std::mem::take(&mut table.spanned);
        let one = std::iter::once(cell).chain(std::iter::repeat_n(String::new(), spanned));
        let all = std::iter::repeat_n(one.collect::<Vec<_>>(), repeated.clamp(1, room.max(1)));
        table.row.extend(all.flatten().take(room));
    }

    /// A row that is repeated is written once: such rows fill a sheet.
    pub fn close_row(&mut self) {
        if let Some(table) = self.tables.last_mut() {
            let row = std::mem::take(&mut table.row);
            if !row.is_empty() {
                table.rows.push(row);
            }
        }
    }

    /// A table inside a cell becomes text of the cell.
    pub fn close_table(&mut self) {
        let Some(mut table) = self.tables.pop() else { return };
        // Columns that are empty throughout at the right are only there for the layout.
        let used =
            table.rows.iter().filter_map(|row| row.iter().rposition(|cell| !cell.trim().is_empty())).max();
        for row in &mut table.rows {
            row.truncate(used.map_or(0, |last| last + 1));
        }
        match self.tables.last_mut().and_then(|outer| outer.cell.as_mut()) {
            Some(cell) => {
                let rows: Vec<String> = table.rows.iter().map(|row| row.join(" / ")).collect();
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&rows.join("; "));
            }
            None => self.markdown.table(&table.rows),
        }
    }
}
