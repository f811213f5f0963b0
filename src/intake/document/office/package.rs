//! What Word and Excel files have in common: parts that refer to one another, and properties.

use super::super::archive::Archive;
use super::super::error::Unreadable;
use super::super::format::Format;
use super::super::limits::Limits;
use super::super::markdown::{clean, squeezed};
use super::super::xml::{Piece, Xml};
use std::collections::HashMap;

/// What a part refers to: by id, and by the last word of the kind.
#[derive(Default)]
pub struct Relations {
    by_id: HashMap<String, String>,
    by_kind: HashMap<String, String>,
}

impl Relations {
    pub fn of_id(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }

    pub fn of_kind(&self, kind: &str) -> Option<&str> {
        self.by_kind.get(kind).map(String::as_str)
    }
}

/// The references of a part; `part` is empty for the package's own.
pub fn relations(
    archive: &mut Archive<'_>,
    part: &str,
    format: Format,
    limits: &Limits,
) -> Result<Relations, Unreadable> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let slash = if folder.is_empty() { "" } else { "/" };
    let mut relations = Relations::default();
    let Some(text) = archive.part(&format!("{folder}{slash}_rels/{file}.rels"))? else {
        return Ok(relations);
    };
    let mut xml = Xml::new(&text, format, limits.depth);
    while let Some(piece) = xml.next()? {
        let Piece::Open(tag) = piece else { continue };
        // What lies outside the archive is never looked at.
        if tag.name != "Relationship" || tag.get("TargetMode") == Some("External") {
            continue;
        }
        let (Some(id), Some(target)) = (tag.get("Id"), tag.get("Target")) else { continue };
        let target = resolved(folder, target);
        if let Some((_, kind)) = tag.get("Type").and_then(|kind| kind.rsplit_once('/')) {
            relations.by_kind.entry(kind.to_owned()).or_insert_with(|| target.clone());
        }
        relations.by_id.insert(id.to_owned(), target);
    }
    Ok(relations)
}

/// A target as a name of the archive: from its root, or from the folder of the part that refers to it.
fn resolved(folder: &str, target: &str) -> String {
    if let Some(whole) = target.strip_prefix('/') {
        return whole.to_owned();
    }
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.join("/")
}

/// Title and language that the file's properties give.
pub fn properties(
    text: &str,
    format: Format,
    limits: &Limits,
) -> Result<(Option<String>, Option<String>), Unreadable> {
    let mut xml = Xml::new(text, format, limits.depth);
    let (mut title, mut language) = (None, None);
    while let Some(piece) = xml.next()? {
        if let Piece::Open(tag) = piece {
            match tag.name.as_str() {
                "title" => title = some_text(&xml.text()?),
                "language" => language = language_of(&xml.text()?),
                _ => {}
            }
        }
    }
    Ok((title, language))
}

/// Trimmed, if anything is left.
pub fn some_text(text: &str) -> Option<String> {
    Some(squeezed(&clean(text))).filter(|text| !text.is_empty())
}

/// `de` of `de-DE`; nothing of what names no language.
pub fn language_of(text: &str) -> Option<String> {
    let first = text.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let letters = (2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_lowercase());
    (letters && first != "zxx" && first != "und").then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_names_of_the_archive() {
        assert_eq!(resolved("word", "styles.xml"), "word/styles.xml");
        assert_eq!(resolved("word", "/xl/a.xml"), "xl/a.xml");
        assert_eq!(resolved("xl/worksheets", "../media/./a.png"), "xl/media/a.png");
        assert_eq!(resolved("", "../../etc/passwd"), "etc/passwd");
    }

    #[test]
    fn a_language_is_named_without_its_region() {
        assert_eq!(language_of(" de-DE "), Some("de".to_owned()));
        assert_eq!(language_of("EN_us"), Some("en".to_owned()));
        for nothing in ["", "zxx", "none", "x-none", "1"] {
            assert_eq!(language_of(nothing), None, "{nothing}");
        }
    }
}
