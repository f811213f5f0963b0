//! What the bank's own documents say.

use crate::base::{Digest, Language, Probability};
use serde::{Deserialize, Serialize};

/// The passages found for one question, best first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grounds {
    pub id: String,
    pub passages: Vec<Passage>,
    /// How likely it is that one of the passages answers the question.
    pub answerable: Probability,
    /// The index generation that was searched.
    pub generation: Digest,
}

/// A quotable piece of one document. `text` is exactly the characters `start..end` (Unicode scalar
/// values) of the document's body.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Passage {
    pub document: String,
    pub version: String,
    pub title: String,
    pub language: Language,
    pub section: Vec<String>,
    pub text: String,
    pub start: usize,
    pub end: usize,
    pub page: Option<u32>,
    pub audience: Audience,
    pub score: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    Public,
    Internal,
}
