//! Excel workbooks: a heading and a table for each sheet.

use super::super::Text;
use super::super::archive::Archive;
use super::super::error::{Found, Unreadable};
use super::super::format::Format;
use super::super::limits::Limits;
use super::super::markdown::{Markdown, clean, squeezed};
use super::super::xml::{Piece, Tag, Xml};
use super::cells::{Meaning, built_in, of_code, shown};
use super::package::{properties, relations};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const FORMAT: Format = Format::Xlsx;

pub fn read(bytes: &[u8], limits: &Limits) -> Result<Text, Unreadable> {
    let mut archive = Archive::open(bytes, FORMAT, limits)?;
    archive.expect()?;
    let package = relations(&mut archive, "", FORMAT, limits)?;
    let main = package.of_kind("officeDocument").unwrap_or("xl/workbook.xml").to_owned();
    let parts = relations(&mut archive, &main, FORMAT, limits)?;
    let mut part = |name: Option<&str>| name.map_or(Ok(None), |name| archive.part(name));
    let core = part(package.of_kind("core-properties"))?;
    let strings = part(parts.of_kind("sharedStrings"))?;
    let styles = part(parts.of_kind("styles"))?;
    let (title, language) = core.map_or(Ok((None, None)), |core| properties(&core, FORMAT, limits))?;
    let strings = strings.map_or(Ok(Vec::new()), |text| shared_strings(&text, limits))?;
    let meanings = styles.map_or(Ok(Vec::new()), |text| meanings(&text, limits))?;
    let book = Book::read(&archive.main_part(&main)?, limits)?;
    let mut text = Text { title, language, ..Text::default() };
    let mut markdown = Markdown::new(limits.answer);
    for sheet in &book.sheets {
        let Some(part) = parts.of_id(&sheet.id) else { continue };
        if sheet.hidden {
            text.notes.push(
                "a hidden sheet was left out; show it and save the file anew to have it read".to_owned(),
            );
            continue;
        }
        // A sheet may be a chart, which has no cells.
        let Some(part) = archive.part(part)? else { continue };
        let reader = Sheet {
            strings: &strings,
            meanings: &meanings,
            from_1904: book.from_1904,
            rows: BTreeMap::new(),
        };
        let rows = reader.read(Xml::new(&part, FORMAT, limits.depth))?;
        if !rows.is_empty() {
            markdown.heading(2, &clean(&sheet.name));
            put(&mut markdown, &rows, limits);
        }
    }
    (text.text, _) = markdown.finish()?;
    Ok(text)
}

/// Writes the cells as a table. Rows and columns without any value are left out; within the others empty cells
/// keep their place.
fn put(markdown: &mut Markdown, rows: &[BTreeMap<usize, String>], limits: &Limits) {
    let columns: BTreeSet<usize> = rows.iter().flat_map(BTreeMap::keys).copied().collect();
    let mut table = Vec::new();
    // Empty cells are written, too: a few far apart make a large table.
    let mut length = 0_u64;
    for row in rows {
        let cell = |column: &usize| row.get(column).cloned().unwrap_or_default();
        table.push(columns.iter().map(cell).collect());
        length = length.saturating_add(3 * columns.len() as u64);
        if length > limits.answer {
            break;
        }
    }
    markdown.table(&table);
}

struct Listed {
    name: String,
    id: String,
    hidden: bool,
}

#[derive(Default)]
struct Book {
    sheets: Vec<Listed>,
    from_1904: bool,
}

impl Book {
    fn read(text: &str, limits: &Limits) -> Result<Self, Unreadable> {
        let mut xml = Xml::new(text, FORMAT, limits.depth);
        let mut book = Self::default();
        if xml.root()? != "workbook" {
            return Err(Unreadable::OtherFormat { named: FORMAT, found: Found::Archive });
        }
        while let Some(piece) = xml.next()? {
            let Piece::Open(tag) = piece else { continue };
            let get = |name| tag.get(name).unwrap_or_default().to_owned();
            match tag.name.as_str() {
                "workbookPr" => book.from_1904 = matches!(tag.get("date1904"), Some("1" | "true")),
                "sheet" => {
                    let hidden = tag.get("state").is_some_and(|state| state != "visible");
                    book.sheets.push(Listed { name: get("name"), id: get("id"), hidden });
                }
                _ => {}
            }
        }
        Ok(book)
    }
}

/// Texts that cells refer to by number.
fn shared_strings(text: &str, limits: &Limits) -> Result<Vec<String>, Unreadable> {
    let mut xml = Xml::new(text, FORMAT, limits.depth);
    let mut strings = Vec::new();
    while let Some(piece) = xml.next()? {
        if matches!(&piece, Piece::Open(tag) if tag.name == "si") {
            strings.push(rich_text(&mut xml, "si")?);
        }
    }
    Ok(strings)
}

/// The text of a string that may be in several runs, without how it is pronounced.
fn rich_text(xml: &mut Xml<'_>, end: &str) -> Result<String, Unreadable> {
    let mut text = String::new();
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open(tag) if tag.name == "t" => text.push_str(&xml.text()?),
            Piece::Open(tag) if tag.name == "rPh" => xml.skip()?,
            Piece::Close(name) if name == end => break,
            _ => {}
        }
    }
    Ok(squeezed(&clean(&text)))
}

/// What numbers mean, by style of a cell.
fn meanings(text: &str, limits: &Limits) -> Result<Vec<Meaning>, Unreadable> {
    let mut xml = Xml::new(text, FORMAT, limits.depth);
    let mut own = HashMap::new();
    let mut meanings = Vec::new();
    let mut of_cells = false;
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open(tag) => match (tag.name.as_str(), tag.number("numFmtId")) {
                ("numFmt", Some(number)) => {
                    own.insert(number, of_code(tag.get("formatCode").unwrap_or_default()));
                }
                ("cellXfs", _) => of_cells = true,
                ("xf", number) if of_cells => {
                    let number = number.unwrap_or(0);
                    meanings.push(own.get(&number).copied().unwrap_or_else(|| built_in(number)));
                }
                _ => {}
            },
            Piece::Close(name) if name == "cellXfs" => of_cells = false,
            _ => {}
        }
    }
    Ok(meanings)
}

struct Sheet<'a> {
    strings: &'a [String],
    meanings: &'a [Meaning],
    from_1904: bool,
    rows: BTreeMap<usize, BTreeMap<usize, String>>,
}

impl Sheet<'_> {
    /// The rows that have a value.
    fn read(mut self, mut xml: Xml<'_>) -> Result<Vec<BTreeMap<usize, String>>, Unreadable> {
        let (mut row, mut column) = (0, 0);
        while let Some(piece) = xml.next()? {
            let Piece::Open(tag) = piece else { continue };
            match tag.name.as_str() {
                // Numbers may be missing: each follows the one before, then.
                "row" => (row, column) = (tag.number("r").unwrap_or(row + 1), 0),
                "c" => {
                    column = tag.get("r").and_then(column_of).unwrap_or(column + 1);
                    let value = self.value(&tag, &mut xml)?;
                    if !value.is_empty() {
                        self.rows.entry(row).or_default().insert(column, value);
                    }
                }
                _ => {}
            }
        }
        Ok(self.rows.into_values().collect())
    }

    fn value(&self, cell: &Tag, xml: &mut Xml<'_>) -> Result<String, Unreadable> {
        let mut stored = String::new();
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Open(tag) => match tag.name.as_str() {
                    "v" => stored = xml.text()?,
                    "is" => stored = rich_text(xml, "is")?,
                    _ => xml.skip()?,
                },
                Piece::Close(name) if name == "c" => break,
                _ => {}
            }
        }
        let text = |stored: &str| squeezed(&clean(stored));
        Ok(match cell.get("t") {
            _ if stored.trim().is_empty() => String::new(),
            Some("s") => {
                let number: Option<usize> = stored.trim().parse().ok();
                number.and_then(|number| self.strings.get(number)).cloned().unwrap_or_default()
            }
            Some("b") => if stored.trim() == "1" { "TRUE" } else { "FALSE" }.to_owned(),
            Some("str" | "inlineStr" | "e" | "d") => text(&stored),
            _ => {
                let meaning = cell.number("s").and_then(|style| self.meanings.get(style));
                text(&shown(&stored, meaning.copied().unwrap_or(Meaning::Number), self.from_1904))
            }
        })
    }
}

/// 28 of `AB12`.
fn column_of(reference: &str) -> Option<usize> {
    let letters: Vec<u8> = reference.bytes().take_while(u8::is_ascii_alphabetic).collect();
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    Some(
        letters
            .iter()
            .fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1),
    )
}
