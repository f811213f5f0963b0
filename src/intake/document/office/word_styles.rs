//! What the styles and lists of a Word file make of a paragraph.

use super::super::error::Unreadable;
use super::super::format::Format;
use super::super::limits::Limits;
use super::super::xml::{Piece, Tag, Xml};
use super::numbers::{LEVELS, Level};
use super::package::language_of;
use std::collections::HashMap;

/// A style is based on another, and that on another; a loop ends here.
const LONGEST_CHAIN: usize = 20;

#[derive(Clone, Default, Debug)]
pub struct Style {
    name: String,
    parent: Option<String>,
    pub own: Paragraph,
}

/// What is said of a paragraph, by itself or by its style.
#[derive(Clone, Default, Debug)]
pub struct Paragraph {
    pub style: Option<String>,
    /// From 0; 9 says that it is none.
    pub outline: Option<usize>,
    pub list: Option<String>,
    pub depth: Option<usize>,
    pub breaks_before: bool,
    /// A section ends with it, and the next begins on a new page.
    pub breaks_after: bool,
}

/// Takes one element of a paragraph's properties.
pub fn take(paragraph: &mut Paragraph, tag: &Tag) {
    match tag.name.as_str() {
        "pStyle" => paragraph.style = tag.get("val").map(str::to_owned),
        "outlineLvl" => paragraph.outline = tag.number("val"),
        "numId" => paragraph.list = tag.get("val").map(str::to_owned),
        "ilvl" => paragraph.depth = tag.number("val").map(|depth| depth.min(LEVELS - 1)),
        "pageBreakBefore" => paragraph.breaks_before = !matches!(tag.get("val"), Some("0" | "false" | "off")),
        "sectPr" => paragraph.breaks_after = true,
        "type" if tag.get("val") == Some("continuous") => paragraph.breaks_after = false,
        _ => {}
    }
}

#[derive(Default)]
pub struct Styles {
    by_id: HashMap<String, Style>,
    pub language: Option<String>,
}

impl Styles {
    pub fn read(text: &str, limits: &Limits) -> Result<Self, Unreadable> {
        let mut xml = Xml::new(text, Format::Docx, limits.depth);
        let mut styles = Self::default();
        let mut open: Option<(String, Style)> = None;
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Open(tag) => match (tag.name.as_str(), &mut open) {
                    ("style", _) => {
                        open = tag.get("styleId").map(|id| (id.to_owned(), Style::default()));
                    }
                    ("lang", None) => {
                        styles.language = styles.language.or_else(|| tag.get("val").and_then(language_of));
                    }
                    ("name", Some((_, style))) => {
                        style.name = tag.get("val").unwrap_or_default().to_ascii_lowercase();
                    }
                    ("basedOn", Some((_, style))) => style.parent = tag.get("val").map(str::to_owned),
                    (_, Some((_, style))) => take(&mut style.own, &tag),
                    _ => {}
                },
                Piece::Close(name) if name == "style" => styles.by_id.extend(open.take()),
                _ => {}
            }
        }
        Ok(styles)
    }

    /// The style and those it is based on.
    fn chain(&self, id: Option<&str>) -> impl Iterator<Item = &Style> {
        let first = id.and_then(|id| self.by_id.get(id));
        let parent = |style: &&Style| style.parent.as_deref().and_then(|id| self.by_id.get(id));
        std::iter::successors(first, parent).take(LONGEST_CHAIN)
    }

    /// 1 for the highest; `None` for text.
    pub fn heading(&self, paragraph: &Paragraph) -> Option<usize> {
        let by_style = || self.chain(paragraph.style.as_deref()).find_map(outline);
        let outline = paragraph.outline.or_else(by_style)?;
        (outline < 9).then_some(outline + 1)
    }

    /// The list that a paragraph belongs to, and how deep in it.
    pub fn list(&self, paragraph: &Paragraph) -> Option<(String, usize)> {
        let by_style = || {
            self.chain(paragraph.style.as_deref())
                .find_map(|style| style.own.list.clone().map(|list| (list, style.own.depth)))
        };
        let own = paragraph.list.clone().map(|list| (list, paragraph.depth));
        let (list, depth) = own.or_else(by_style)?;
        (list != "0").then(|| (list, paragraph.depth.or(depth).unwrap_or(0)))
    }

    pub fn breaks_before(&self, paragraph: &Paragraph) -> bool {
        paragraph.breaks_before || self.chain(paragraph.style.as_deref()).any(|style| style.own.breaks_before)
    }

    /// A line of a table of contents repeats a heading.
    pub fn is_contents(&self, paragraph: &Paragraph) -> bool {
        let first = self.chain(paragraph.style.as_deref()).next();
        first.is_some_and(|style| style.name.starts_with("toc ") && !style.name.contains("heading"))
    }
}

/// The names are the same in every language of Word.
fn outline(style: &Style) -> Option<usize> {
    let by_name = || match style.name.as_str() {
        "title" => Some(0),
        name => name.strip_prefix("heading ")?.parse::<usize>().ok()?.checked_sub(1),
    };
    style.own.outline.or_else(by_name)
}

#[derive(Default)]
pub struct Lists {
    abstract_of: HashMap<String, String>,
    levels: HashMap<String, HashMap<usize, Level>>,
    /// Lists that begin to count anew.
    restarts: HashMap<String, bool>,
}

impl Lists {
    pub fn read(text: &str, limits: &Limits) -> Result<Self, Unreadable> {
        let mut xml = Xml::new(text, Format::Docx, limits.depth);
        let mut lists = Self::default();
        let mut kind = String::new();
        let mut list = String::new();
        let mut level = 0;
        while let Some(piece) = xml.next()? {
            let Piece::Open(tag) = piece else { continue };
            match tag.name.as_str() {
                "abstractNum" => kind = tag.get("abstractNumId").unwrap_or_default().to_owned(),
                "num" => list = tag.get("numId").unwrap_or_default().to_owned(),
                "abstractNumId" => {
                    lists.abstract_of.insert(list.clone(), tag.get("val").unwrap_or_default().to_owned());
                }
                "startOverride" => {
                    lists.restarts.insert(list.clone(), true);
                }
                "lvl" => level = tag.number("ilvl").unwrap_or(0).min(LEVELS - 1),
                name @ ("numFmt" | "start" | "lvlText") => {
                    let blank = Level { ordered: true, start: 1, pattern: None };
                    let level = lists.levels.entry(kind.clone()).or_default().entry(level).or_insert(blank);
                    let value = tag.get("val").unwrap_or_default();
                    match name {
                        "numFmt" => level.ordered = !matches!(value, "bullet" | "none"),
                        "start" => level.start = value.parse().unwrap_or(1),
                        _ => level.pattern = Some(value.to_owned()),
                    }
                }
                _ => {}
            }
        }
        Ok(lists)
    }

    /// What counts together with this list, and whether it begins anew here.
    pub fn counted_as(&mut self, list: &str) -> (String, bool) {
        let anew = self.restarts.remove(list).unwrap_or(false);
        (self.abstract_of.get(list).cloned().unwrap_or_else(|| list.to_owned()), anew)
    }

    pub fn level(&self, list: &str, depth: usize) -> Option<&Level> {
        self.levels.get(self.abstract_of.get(list)?)?.get(&depth)
    }
}
