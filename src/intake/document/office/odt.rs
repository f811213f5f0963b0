//! OpenDocument texts.

use super::super::Text;
use super::super::archive::Archive;
use super::super::error::{Flaw, Unreadable};
use super::super::format::Format;
use super::super::limits::Limits;
use super::super::markdown::{Marker, clean, squeezed};
use super::super::xml::{Piece, Tag, Xml};
use super::flow::{Flow, Role};
use super::package::{language_of, properties};
use std::collections::HashMap;

const FORMAT: Format = Format::Odt;

pub fn read(bytes: &[u8], limits: &Limits) -> Result<Text, Unreadable> {
    let mut archive = Archive::open(bytes, FORMAT, limits)?;
    archive.expect()?;
    let list = archive.part("META-INF/manifest.xml")?;
    if list.is_some_and(|list| list.contains("encryption-data")) {
        return Err(Unreadable::Encrypted);
    }
    let body = archive.main_part("content.xml")?;
    let meta = archive.part("meta.xml")?;
    let common = archive.part("styles.xml")?;
    let mut styles = Styles::default();
    for text in common.iter().chain([&body]) {
        styles.read(Xml::new(text, FORMAT, limits.depth))?;
    }
    let (title, language) = meta.map_or(Ok((None, None)), |meta| properties(&meta, FORMAT, limits))?;
    let language = language.or_else(|| styles.language.take());
    let reader =
        Body { flow: Flow::new(limits), styles, lists: Vec::new(), open: Vec::new(), repeated: Vec::new() };
    let flow = reader.read(Xml::new(&body, FORMAT, limits.depth))?;
    let (text, mut pages) = flow.markdown.finish()?;
    if !pages.is_empty() {
        pages.insert(0, 0);
    }
    Ok(Text { title, language, text, pages, ..Text::default() })
}

#[derive(Clone, Default)]
struct Style {
    breaks_before: bool,
    breaks_after: bool,
}

#[derive(Default)]
struct Styles {
    paragraphs: HashMap<String, Style>,
    /// Of a list's style and level: what it counts from, or nothing where it does not count.
    levels: HashMap<(String, usize), Option<u64>>,
    language: Option<String>,
}

impl Styles {
    fn read(&mut self, mut xml: Xml<'_>) -> Result<(), Unreadable> {
        let mut style: Option<(String, Style)> = None;
        let mut list = String::new();
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Open(tag) => match tag.name.as_str() {
                    "body" => xml.skip()?,
                    "style" if tag.get("family") == Some("paragraph") => {
                        let parent = tag.get("parent-style-name").and_then(|name| self.paragraphs.get(name));
                        let mut own = parent.cloned().unwrap_or_default();
                        // A page of another kind begins with such a paragraph.
                        own.breaks_before |= tag.get("master-page-name").is_some_and(|name| !name.is_empty());
                        style = tag.get("name").map(|name| (name.to_owned(), own));
                    }
                    "paragraph-properties" => {
                        if let Some((_, style)) = &mut style {
                            style.breaks_before |= tag.get("break-before") == Some("page");
                            style.breaks_after |= tag.get("break-after") == Some("page");
                        }
                    }
                    "text-properties" if self.language.is_none() => {
                        self.language = tag.get("language").and_then(language_of);
                    }
                    "list-style" => list = tag.get("name").unwrap_or_default().to_owned(),
                    name @ ("list-level-style-number" | "list-level-style-bullet") => {
                        let shown =
                            name.ends_with("number") && tag.get("num-format").is_some_and(|f| !f.is_empty());
                        let start = tag.number("start-value").unwrap_or(1) as u64;
                        let level = tag.number("level").unwrap_or(1);
                        self.levels.insert((list.clone(), level), shown.then_some(start));
                    }
                    _ => {}
                },
                Piece::Close(name) if name == "style" => self.paragraphs.extend(style.take()),
                _ => {}
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct List {
    style: String,
    /// The number of the open item; `None` in a list that does not count.
    number: Option<u64>,
    /// Whether the open item has its first paragraph.
    begun: bool,
}

struct Body {
    flow: Flow,
    styles: Styles,
    lists: Vec<List>,
    /// Open paragraphs: the level of a heading, and the style.
    open: Vec<(Option<usize>, Style)>,
    /// How often each open cell stands there.
    repeated: Vec<usize>,
}

impl Body {
    fn read(mut self, mut xml: Xml<'_>) -> Result<Flow, Unreadable> {
        if xml.root()? != "document-content" {
            return Err(Unreadable::Damaged { format: FORMAT, what: Flaw::Structure });
        }
        while let Some(piece) = xml.next()? {
            if self.flow.markdown.is_over() {
                break;
            }
            match piece {
                Piece::Open(tag) => self.opened(&tag, &mut xml)?,
                Piece::Close(name) => self.closed(&name),
                Piece::Text(text) => self.flow.text(&text),
            }
        }
        Ok(self.flow)
    }

    fn opened(&mut self, tag: &Tag, xml: &mut Xml<'_>) -> Result<(), Unreadable> {
        match tag.name.as_str() {
            "p" => self.paragraph(tag, None),
            "h" => self.paragraph(tag, Some(tag.number("outline-level").unwrap_or(1))),
            "s" => self.flow.text(" "),
            "tab" => self.flow.text(" "),
            "line-break" => self.flow.mark("\n"),
            "soft-page-break" => self.flow.laid_out_page(),
            "note" => {
                let text = note(xml)?;
                if !text.is_empty() {
                    let mark = self.flow.markdown.footnote(&text);
                    self.flow.mark(&mark);
                }
            }
            "list" => self.list(tag),
            "list-item" | "list-header" => self.item(tag),
            "table" => self.flow.open_table(),
            "table-cell" | "covered-table-cell" => {
                self.flow.open_cell();
                self.repeated.push(tag.number("number-columns-repeated").unwrap_or(1));
            }
            // How things look, what was struck out or remarked, and lists of headings that are in the text anyway.
            "automatic-styles" | "font-face-decls" | "scripts" | "tracked-changes" | "annotation"
            | "forms" | "table-of-content" | "illustration-index" | "table-index" | "alphabetical-index"
            | "ruby-text" | "title" | "desc" => xml.skip()?,
            _ => {}
        }
        Ok(())
    }

    fn paragraph(&mut self, tag: &Tag, level: Option<usize>) {
        let style = tag.get("style-name").and_then(|name| self.styles.paragraphs.get(name)).cloned();
        let style = style.unwrap_or_default();
        if style.breaks_before && !self.flow.is_in_table() && self.open.is_empty() {
            self.flow.markdown.page_unless_fresh();
        }
        self.flow.open_paragraph();
        self.open.push((level, style));
    }

    fn list(&mut self, tag: &Tag) {
        let outer = self.lists.last().map(|list| list.style.clone());
        let style = tag.get("style-name").map(str::to_owned).or(outer).unwrap_or_default();
        self.lists.push(List { style, ..List::default() });
    }

    fn item(&mut self, tag: &Tag) {
        let depth = self.lists.len();
        if let Some(list) = self.lists.last_mut() {
            let start = self.styles.levels.get(&(list.style.clone(), depth)).copied().flatten();
            let given = tag.number("start-value").map(|number| number as u64);
            list.number = start.map(|start| match (given, list.number) {
                (Some(given), _) => given,
                (None, Some(number)) => number.saturating_add(1),
                (None, None) => start,
            });
            list.begun = tag.name == "list-header";
        }
    }

    fn closed(&mut self, name: &str) {
        match name {
            "p" | "h" => {
                let Some((level, style)) = self.open.pop() else { return };
                let role = self.role(level);
                self.flow.close_paragraph(role);
                if style.breaks_after && !self.flow.is_in_table() {
                    self.flow.markdown.page_unless_fresh();
                }
            }
            "list" => {
                self.lists.pop();
            }
            "table-cell" | "covered-table-cell" => {
                let repeated = self.repeated.pop().unwrap_or(1);
                self.flow.close_cell(repeated);
            }
            "table-row" => self.flow.close_row(),
            "table" => self.flow.close_table(),
            _ => {}
        }
    }

    fn role(&mut self, level: Option<usize>) -> Role {
        if let Some(level) = level {
            return Role::Heading(level);
        }
        let depth = self.lists.len();
        let Some(list) = self.lists.last_mut() else { return Role::Plain };
        let begun = std::mem::replace(&mut list.begun, true);
        let marker = if begun { Marker::None } else { list.number.map_or(Marker::Bullet, Marker::Number) };
        Role::Item(depth - 1, marker)
    }
}

/// The text of a footnote, without the mark that stands before it.
fn note(xml: &mut Xml<'_>) -> Result<String, Unreadable> {
    let mut text = String::new();
    let mut inside = false;
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open(tag) => match tag.name.as_str() {
                "note-body" => inside = true,
                "p" | "s" | "tab" | "line-break" => text.push(' '),
                "annotation" => xml.skip()?,
                _ => {}
            },
            Piece::Text(more) if inside => text.push_str(&clean(&more)),
            Piece::Close(name) if name == "note" => break,
            Piece::Close(name) if name == "note-body" => inside = false,
            _ => {}
        }
    }
    Ok(squeezed(&text))
}
