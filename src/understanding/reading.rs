//! What a message says, as the rooms below and the ledger take it.

use crate::base::{Digest, Language, Probability};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Positions are characters (Unicode scalar values) of the original text; probabilities are calibrated and
/// rounded to four decimals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub id: String,
    pub language: Language,
    /// What is wanted, in the order of the text: one for each concern; never empty.
    pub intents: Vec<Intent>,
    /// Leaves that cannot be excluded, the likeliest first; never empty.
    pub prediction_set: Vec<String>,
    /// Probability that the message is about nothing that the pack covers.
    pub out_of_scope: Probability,
    /// Group -> field -> values in the order of the text. Every group and field of the pack is there.
    pub fields: BTreeMap<String, BTreeMap<String, Vec<Extracted>>>,
    pub tone: Tone,
    /// The text is longer than the encoder reads; its end was not read.
    #[serde(default)]
    pub truncated: bool,
    /// All leaves of at least one percent, the likeliest first.
    pub leaves: Vec<LeafProbability>,
    pub digests: Digests,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub leaf: String,
    pub probability: Probability,
    /// First character and the one behind the last.
    pub span: (usize, usize),
    /// The ways in: parents of the leaf, the one that carries most of it first.
    pub parents: Vec<ParentProbability>,
    /// Values that belong to this concern, by field.
    #[serde(default)]
    pub fields: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParentProbability {
    pub parent: String,
    pub probability: Probability,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeafProbability {
    pub leaf: String,
    pub probability: Probability,
}

/// One value of a field, where it is first mentioned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    pub text: String,
    pub start: usize,
    pub end: usize,
    pub probability: Probability,
    /// For references: the ways it may have been meant, the one as typed among them; sorted.
    pub variants: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tone {
    /// low, normal or high.
    pub urgency: Labelled,
    /// negative, neutral or positive.
    pub sentiment: Labelled,
    /// Probability that the customer asks for a person.
    pub wants_human: Probability,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    pub label: String,
    pub probability: Probability,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Digests {
    /// The model bundle.
    pub model: Digest,
    /// The arithmetic of the encoder, and what carried it out, such as `int8.1 avx512`: with the same bundle the same
    /// first word means the same reading, bit for bit. Empty in records from before it was kept.
    #[serde(default)]
    pub arithmetic: String,
}

impl Reading {
    /// The first concern's likeliest leaf.
    pub fn leaf(&self) -> Option<&str> {
        self.intents.first().map(|intent| intent.leaf.as_str())
    }

    /// The values of a field, whatever its group.
    pub fn values(&self, field: &str) -> &[Extracted] {
        self.fields.values().find_map(|group| group.get(field)).map_or(&[], Vec::as_slice)
    }
}
