//! How a document was read, before it is published.

use super::chunk::characters;
use super::document::Document;
use super::embed::passages;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    #[serde(flatten)]
    pub document: Document,
    pub passages: Vec<Shown>,
}

/// A passage that can be quoted.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    pub section: Vec<String>,
    /// Characters of the body.
    pub start: usize,
    pub end: usize,
    pub page: Option<u32>,
    pub text: String,
    /// What is searched for it: with the title, the headings, and the head of a table that it begins in.
    pub searched_as: String,
}

pub fn preview(document: &Document) -> Preview {
    let shown = passages(std::slice::from_ref(document)).into_iter().map(|passage| Shown {
        page: document.page_of(passage.start),
        text: characters(&document.body, passage.start, passage.end).unwrap_or("").to_owned(),
        section: passage.section,
        start: passage.start,
        end: passage.end,
        searched_as: passage.text,
    });
    Preview { passages: shown.collect(), document: document.clone() }
}
