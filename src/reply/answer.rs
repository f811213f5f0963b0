//! What the customer is told.

use crate::base::Language;
use serde::{Deserialize, Serialize};

/// A finished text with what it quotes. Citations are of public documents only.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reply {
    pub language: Language,
    pub text: String,
    pub citations: Vec<Citation>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Citation {
    pub document: String,
    pub version: String,
    pub section: Vec<String>,
}
