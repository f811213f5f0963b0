//! XML as a row of openings, closings and texts, as deep as allowed and without entities of its own.

use super::error::{Flaw, Unreadable};
use super::format::Format;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// An element's beginning. Names are without the prefix: which one stands for a namespace is the writer's
/// choice, and what is read here tells its elements apart by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    pub name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.trim().parse().ok()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Open(Tag),
    Close(String),
    Text(String),
}

pub struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    deepest: usize,
    format: Format,
}

impl<'a> Xml<'a> {
    pub fn new(text: &'a str, format: Format, deepest: usize) -> Self {
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self { reader, depth: 0, deepest, format }
    }

    fn flaw(&self, what: Flaw) -> Unreadable {
        Unreadable::Damaged { format: self.format, what }
    }

    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// Not well-formed, cut off, deeper than allowed, or with a declaration of its own entities.
    pub fn next(&mut self) -> Result<Option<Piece>, Unreadable> {
        loop {
            let event = self.reader.read_event().map_err(|_| self.flaw(Flaw::Xml))?;
            return Ok(Some(match event {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > self.deepest {
                        return Err(Unreadable::Nested { limit: self.deepest });
                    }
                    Piece::Open(tag(&start).ok_or_else(|| self.flaw(Flaw::Xml))?)
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    Piece::Close(end.local_name().as_ref().to_owned())
                }
                Event::Text(text) => Piece::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Piece::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => {
                    let named = || resolve_predefined_entity(&reference).map(str::to_owned);
                    let numbered = reference.resolve_char_ref().ok().flatten().map(String::from);
                    // An entity that only a declaration could explain says nothing.
                    Piece::Text(numbered.or_else(named).unwrap_or_default())
                }
                Event::DocType(_) => return Err(self.flaw(Flaw::Declaration)),
                Event::Eof if self.depth > 0 => return Err(self.flaw(Flaw::Xml)),
                Event::Eof => return Ok(None),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
            }));
        }
    }

    /// The name of the outermost element, which is open then.
    pub fn root(&mut self) -> Result<String, Unreadable> {
        loop {
            match self.next()? {
                Some(Piece::Open(tag)) => return Ok(tag.name),
                Some(_) => {}
                None => return Err(self.flaw(Flaw::Xml)),
            }
        }
    }

    /// Passes over the rest of the element that was opened last.
    pub fn skip(&mut self) -> Result<(), Unreadable> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if self.next()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// All text inside the element that was opened last.
    pub fn text(&mut self) -> Result<String, Unreadable> {
        let outside = self.depth.saturating_sub(1);
        let mut text = String::new();
        while self.depth > outside {
            match self.next()? {
                Some(Piece::Text(more)) => text.push_str(&more),
                Some(_) => {}
                None => break,
            }
        }
        Ok(text)
    }
}

fn tag(start: &BytesStart<'_>) -> Option<Tag> {
    let mut attributes = Vec::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.ok()?;
        let key = attribute.key.local_name().as_ref().to_owned();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
        attributes.push((key, value));
    }
    Some(Tag { name: start.local_name().as_ref().to_owned(), attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Result<Vec<Piece>, Unreadable> {
        let mut xml = Xml::new(text, Format::Docx, 4);
        let mut all = Vec::new();
        while let Some(piece) = xml.next()? {
            all.push(piece);
        }
        Ok(all)
    }

    #[test]
    fn prefixes_go_and_entities_are_characters() {
        let all =
            pieces("\u{feff}<?xml version=\"1.0\"?><w:p w:val=\"a&amp;b\">x&#228;&lt;&own;<w:br/></w:p>")
                .unwrap();
        let Some(Piece::Open(tag)) = all.first() else { panic!() };
        assert_eq!((tag.name.as_str(), tag.get("val"), tag.get("w:val")), ("p", Some("a&b"), None));
        let text: String =
            all.iter().filter_map(|p| if let Piece::Text(t) = p { Some(t.as_str()) } else { None }).collect();
        assert_eq!(text, "xä<");
        assert_eq!(all.last(), Some(&Piece::Close("p".to_owned())));
    }

    #[test]
    fn what_is_not_well_formed_too_deep_or_declares_is_refused() {
        let flaw = |what| Err(Unreadable::Damaged { format: Format::Docx, what });
        assert_eq!(pieces("<a><b></a>"), flaw(Flaw::Xml));
        assert_eq!(pieces("<a><b></b>"), flaw(Flaw::Xml));
        assert_eq!(pieces("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"), flaw(Flaw::Declaration));
        assert_eq!(pieces("<a><b><c><d><e/></d></c></b></a>"), Err(Unreadable::Nested { limit: 4 }));
    }

    #[test]
    fn an_element_can_be_passed_over_or_taken_as_text() {
        let mut xml = Xml::new("<a><b>one<c>two</c></b><b>three<c>four</c></b>five</a>", Format::Odt, 9);
        xml.next().unwrap();
        xml.next().unwrap();
        xml.skip().unwrap();
        xml.next().unwrap();
        assert_eq!(xml.text().unwrap(), "threefour");
        assert_eq!(xml.next().unwrap(), Some(Piece::Text("five".to_owned())));
    }
}
