//! What changed between two generations.

use super::chunk::{characters, chunks};
use super::document::Document;
use super::error::PolicyError;
use super::generation::Generation;
use super::grounds::Clearance;
use super::publish::open_generation;
use crate::base::Digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Difference {
    pub from: Digest,
    pub to: Digest,
    /// By document id. What is equal is left out.
    pub documents: Vec<DocumentChange>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DocumentChange {
    pub document: String,
    pub change: Change,
    pub version_before: Option<String>,
    pub version_after: Option<String>,
    /// The front-matter keys that differ, for a changed document.
    pub fields: Vec<&'static str>,
    pub sections: Vec<SectionChange>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SectionChange {
    pub section: Vec<String>,
    pub change: Change,
    /// The passages under these headings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Removed,
    Changed,
}

impl Change {
    fn between<T>(before: Option<T>, after: Option<T>) -> Self {
        match (before, after) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Changed,
        }
    }
}

/// Compares what somebody may see of two generations, named by digest or the beginning of one.
///
/// # Errors
/// An unknown or damaged generation.
pub fn diff(state: &Path, from: &str, to: &str, seen: &Clearance) -> Result<Difference, PolicyError> {
    let (from, to) = (open_generation(state, from)?, open_generation(state, to)?);
    let of = |generation: &Generation| -> Vec<Document> {
        let all = generation.documents().iter().filter(|document| seen.sees(&document.audience));
        all.cloned().collect()
    };
    Ok(Difference {
        documents: compare(&of(&from), &of(&to)),
        from: from.digest().clone(),
        to: to.digest().clone(),
    })
}

/// Versions that both have are compared; the remaining versions of one id are paired in their order, so
/// that a new version reads as a change.
fn compare(before: &[Document], after: &[Document]) -> Vec<DocumentChange> {
    let mut ids: BTreeMap<&str, [Vec<&Document>; 2]> = BTreeMap::new();
    for (documents, side) in [(before, 0), (after, 1)] {
        for document in documents {
            let [old, new] = ids.entry(&document.id).or_default();
            if side == 0 { old.push(document) } else { new.push(document) }
        }
    }
    let mut changes = Vec::new();
    for [old, new] in ids.values() {
        let has = |list: &[&Document], d: &Document| list.iter().any(|other| other.version == d.version);
        for document in old {
            if let Some(other) = new.iter().find(|other| other.version == document.version) {
                changes.extend(change(Some(document), Some(other)));
            }
        }
        let mut gone = old.iter().copied().filter(|d| !has(new, d));
        let mut come = new.iter().copied().filter(|d| !has(old, d));
        loop {
            let pair = (gone.next(), come.next());
            if pair == (None, None) {
                break;
            }
            changes.extend(change(pair.0, pair.1));
        }
    }
    changes
}

fn change(before: Option<&Document>, after: Option<&Document>) -> Option<DocumentChange> {
    if before == after {
        return None;
    }
    let fields = match (before, after) {
        (Some(a), Some(b)) => differing_fields(a, b),
        _ => Vec::new(),
    };
    Some(DocumentChange {
        document: before.or(after)?.id.clone(),
        change: Change::between(before, after),
        version_before: before.map(|d| d.version.clone()),
        version_after: after.map(|d| d.version.clone()),
        fields,
        sections: sections(before, after),
    })
}

fn differing_fields(a: &Document, b: &Document) -> Vec<&'static str> {
    let fields = [
        ("version", a.version != b.version),
        ("title", a.title != b.title),
        ("language", a.language != b.language),
        ("audience", a.audience != b.audience),
        ("product", a.product != b.product),
        ("valid_from", a.valid_from != b.valid_from),
        ("valid_to", a.valid_to != b.valid_to),
        ("supersedes", a.supersedes != b.supersedes),
        ("owner", a.owner != b.owner),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn sections(before: Option<&Document>, after: Option<&Document>) -> Vec<SectionChange> {
    let (old, new) = (texts(before), texts(after));
    let mut keys: Vec<&Vec<String>> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differing
        .map(|key| SectionChange {
            section: key.clone(),
            change: Change::between(old.get(key), new.get(key)),
            before: owned(old.get(key)),
            after: owned(new.get(key)),
        })
        .collect()
}

fn owned(texts: Option<&Vec<&str>>) -> Vec<String> {
    texts.into_iter().flatten().map(|text| (*text).to_owned()).collect()
}

fn texts(document: Option<&Document>) -> BTreeMap<Vec<String>, Vec<&str>> {
    let mut texts: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    if let Some(document) = document {
        for chunk in chunks(document) {
            let text = characters(&document.body, chunk.start, chunk.end).unwrap_or("");
            texts.entry(chunk.section).or_default().push(text);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::tests::document;

    #[test]
    fn a_new_version_reads_as_a_change_with_its_sections() {
        let mut old = document("fees", "1", "2024-01-01", "");
        old.body = "# A\n\none\n\n# B\n\ntwo".to_owned();
        let mut new = document("fees", "2", "2026-01-01", "");
        new.body = "# A\n\nONE\n\n# C\n\nthree".to_owned();
        let gone = document("old", "1", "", "");
        let changes = compare(
            &[old, gone.clone(), document("same", "1", "", "")],
            &[new, document("same", "1", "", "")],
        );
        assert_eq!(changes.len(), 2);
        assert_eq!(
            (changes[0].change, &changes[0].fields[..]),
            (Change::Changed, &["version", "valid_from"][..])
        );
        let sections: Vec<(&str, Change)> =
            changes[0].sections.iter().map(|s| (s.section[0].as_str(), s.change)).collect();
        assert_eq!(sections, [("A", Change::Changed), ("B", Change::Removed), ("C", Change::Added)]);
        let texts = &changes[0].sections[0];
        assert_eq!(
            (texts.before.as_slice(), texts.after.as_slice()),
            (["one".to_owned()].as_slice(), ["ONE".to_owned()].as_slice())
        );
        assert_eq!((changes[1].document.as_str(), changes[1].change), ("old", Change::Removed));
        assert_eq!(compare(std::slice::from_ref(&gone), std::slice::from_ref(&gone)), []);
    }
}
