//! Word documents.

use super::super::Text;
use super::super::archive::Archive;
use super::super::error::{Found, Unreadable};
use super::super::format::Format;
use super::super::limits::Limits;
use super::super::markdown::{clean, squeezed};
use super::super::xml::{Piece, Tag, Xml};
use super::flow::{Flow, Role};
use super::numbers::Counters;
use super::package::{properties, relations};
use super::word_styles::{Lists, Paragraph, Styles, take};
use std::collections::HashMap;

const FORMAT: Format = Format::Docx;

pub fn read(bytes: &[u8], limits: &Limits) -> Result<Text, Unreadable> {
    let mut archive = Archive::open(bytes, FORMAT, limits)?;
    archive.expect()?;
    let package = relations(&mut archive, "", FORMAT, limits)?;
    let main = package.of_kind("officeDocument").unwrap_or("word/document.xml").to_owned();
    let parts = relations(&mut archive, &main, FORMAT, limits)?;
    let mut part = |name: Option<&str>| name.map_or(Ok(None), |name| archive.part(name));
    let core = part(package.of_kind("core-properties"))?;
    let styles = part(parts.of_kind("styles"))?;
    let lists = part(parts.of_kind("numbering"))?;
    let footnotes = part(parts.of_kind("footnotes"))?;
    let endnotes = part(parts.of_kind("endnotes"))?;
    let body = archive.main_part(&main)?;

    let (title, language) = core.map_or(Ok((None, None)), |core| properties(&core, FORMAT, limits))?;
    let styles = styles.map_or(Ok(Styles::default()), |text| Styles::read(&text, limits))?;
    let lists = lists.map_or(Ok(Lists::default()), |text| Lists::read(&text, limits))?;
    let mut notes = HashMap::new();
    for (kind, text) in [("footnote", footnotes), ("endnote", endnotes)] {
        if let Some(text) = text {
            take_notes(&mut notes, kind, &text, limits)?;
        }
    }
    let language = language.or_else(|| styles.language.clone());
    let reader = Body {
        flow: Flow::new(limits),
        styles,
        lists,
        counters: Counters::default(),
        notes,
        open: Vec::new(),
        contents: false,
    };
    let (text, mut pages) = reader.read(Xml::new(&body, FORMAT, limits.depth))?.markdown.finish()?;
    if !pages.is_empty() {
        pages.insert(0, 0);
    }
    Ok(Text { title, language, text, pages, ..Text::default() })
}

/// The texts of footnotes or endnotes, by kind and id.
fn take_notes(
    notes: &mut HashMap<(&'static str, String), String>,
    kind: &'static str,
    text: &str,
    limits: &Limits,
) -> Result<(), Unreadable> {
    let mut xml = Xml::new(text, FORMAT, limits.depth);
    let mut open: Option<(String, String)> = None;
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open(tag) if tag.name == kind => {
                open = tag.get("id").map(|id| (id.to_owned(), String::new()));
            }
            Piece::Open(tag) => match (tag.name.as_str(), &mut open) {
                ("t", Some((_, text))) => text.push_str(&clean(&xml.text()?)),
                ("p" | "tab" | "br", Some((_, text))) => text.push(' '),
                ("del" | "Fallback", _) => xml.skip()?,
                _ => {}
            },
            Piece::Close(name) if name == kind => {
                notes.extend(open.take().map(|(id, text)| ((kind, id), squeezed(&text))));
            }
            _ => {}
        }
    }
    Ok(())
}

struct Body {
    flow: Flow,
    styles: Styles,
    lists: Lists,
    counters: Counters,
    notes: HashMap<(&'static str, String), String>,
    open: Vec<Paragraph>,
    /// Inside a table of contents.
    contents: bool,
}

impl Body {
    fn read(mut self, mut xml: Xml<'_>) -> Result<Flow, Unreadable> {
        if xml.root()? != "document" {
            return Err(Unreadable::OtherFormat { named: FORMAT, found: Found::Archive });
        }
        while let Some(piece) = xml.next()? {
            if self.flow.markdown.is_over() {
                break;
            }
            match piece {
                Piece::Open(tag) => self.opened(&tag, &mut xml)?,
                Piece::Close(name) => self.closed(&name),
                Piece::Text(_) => {}
            }
        }
        Ok(self.flow)
    }

    fn opened(&mut self, tag: &Tag, xml: &mut Xml<'_>) -> Result<(), Unreadable> {
        match tag.name.as_str() {
            "p" => {
                self.flow.open_paragraph();
                self.open.push(Paragraph::default());
            }
            "pPr" => self.properties(xml)?,
            "t" => self.flow.text(&xml.text()?),
            "tab" | "ptab" => self.flow.text(" "),
            "cr" => self.flow.mark("\n"),
            "br" => match tag.get("type") {
                Some("page") => self.flow.page(),
                _ => self.flow.mark("\n"),
            },
            "noBreakHyphen" => self.flow.text("-"),
            "lastRenderedPageBreak" => self.flow.laid_out_page(),
            "footnoteReference" => self.note("footnote", tag),
            "endnoteReference" => self.note("endnote", tag),
            "tbl" => self.flow.open_table(),
            "tc" => self.flow.open_cell(),
            "gridSpan" => self.flow.span(tag.number("val").unwrap_or(1)),
            "docPartGallery" => self.contents = tag.get("val") == Some("Table of Contents"),
            "sdtContent" if std::mem::take(&mut self.contents) => xml.skip()?,
            // What was struck out, what is shown instead of a newer form, and how things look.
            "del" | "moveFrom" | "Fallback" | "rt" | "instrText" | "rPr" | "tblPr" | "trPr" => xml.skip()?,
            _ => {}
        }
        Ok(())
    }

    fn properties(&mut self, xml: &mut Xml<'_>) -> Result<(), Unreadable> {
        let mut paragraph = Paragraph::default();
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Open(tag) if matches!(tag.name.as_str(), "rPr" | "pPrChange") => xml.skip()?,
                Piece::Open(tag) => take(&mut paragraph, &tag),
                Piece::Close(name) if name == "pPr" => break,
                _ => {}
            }
        }
        if self.styles.breaks_before(&paragraph) && !self.flow.is_in_table() {
            self.flow.markdown.page_unless_fresh();
        }
        if let Some(open) = self.open.last_mut() {
            *open = paragraph;
        }
        Ok(())
    }

    fn note(&mut self, kind: &'static str, tag: &Tag) {
        let key = (kind, tag.get("id").unwrap_or_default().to_owned());
        if let Some(text) = self.notes.get(&key).filter(|text| !text.is_empty()) {
            let mark = self.flow.markdown.footnote(text);
            self.flow.mark(&mark);
        }
    }

    fn closed(&mut self, name: &str) {
        match name {
            "p" => {
                let paragraph = self.open.pop().unwrap_or_default();
                let role = self.role(&paragraph);
                self.flow.close_paragraph(role);
                if paragraph.breaks_after && !self.flow.is_in_table() {
                    self.flow.markdown.page_unless_fresh();
                }
            }
            "tc" => self.flow.close_cell(1),
            "tr" => self.flow.close_row(),
            "tbl" => self.flow.close_table(),
            _ => {}
        }
    }

    fn role(&mut self, paragraph: &Paragraph) -> Role {
        if self.styles.is_contents(paragraph) {
            return Role::Nothing;
        }
        let heading = self.styles.heading(paragraph);
        let Some((list, depth)) = self.styles.list(paragraph) else {
            return heading.map_or(Role::Plain, Role::Heading);
        };
        let (counted, anew) = self.lists.counted_as(&list);
        if anew {
            self.counters.restart(&counted);
        }
        let level = self.lists.level(&list, depth);
        match heading {
            Some(heading) => {
                if let Some(number) = level.and_then(|level| self.counters.shown(&counted, depth, level)) {
                    self.flow.number(&number);
                }
                Role::Heading(heading)
            }
            None => Role::Item(depth, self.counters.marker(&counted, depth, level)),
        }
    }
}
