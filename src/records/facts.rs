//! What the bank's own systems say: scored candidates, what was selected, and the account data that a
//! verified customer may use.

use super::ask::Ask;
use super::identity::Customer;
use crate::base::{CustomerId, RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The outcome of one look-up. `candidates` is the whole scored list, best first, ties by id.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    pub id: String,
    pub candidates: Vec<Candidate>,
    /// With points the ids with `score >= threshold && score == max`; with estimated weights the fewest that hold the one
    /// which is meant with the probability that identifies.
    pub selected: Vec<RecordId>,
    pub sources: Vec<SourceReport>,
    /// Why `selected` is what it is.
    #[serde(default)]
    pub basis: Basis,
    /// What to ask where several records are selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// The verified customer as all sources have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
    /// Data of the selected records that the verified customer owns or is registered for; empty for
    /// everybody else. Staff sees it; a customer's text gets it only through a `DiscloseGrant`.
    #[serde(default)]
    pub records: Vec<Record>,
}

impl Facts {
    /// Whether every source answered everything it was asked. Otherwise a better candidate, or a second
    /// one, may be out there, and `selected` proves nothing.
    pub fn complete(&self) -> bool {
        self.sources.iter().all(|source| source.status == SourceStatus::Answered)
    }

    /// The same, with nothing of the candidates that were not selected but id and score: they are most likely other
    /// people.
    #[must_use]
    pub fn without_others(mut self) -> Self {
        for candidate in self.candidates.iter_mut().filter(|other| !self.selected.contains(&other.id)) {
            let (id, score) = (candidate.id.clone(), candidate.score);
            *candidate = Candidate {
                id,
                score,
                matched: Vec::new(),
                records: Vec::new(),
                conflicts: Vec::new(),
                against: Vec::new(),
                probability: None,
                explanation: String::new(),
            };
        }
        self
    }

    /// Whether something of it is what a source said earlier.
    pub fn cached(&self) -> bool {
        self.sources.iter().any(|source| source.cached_at.is_some())
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub id: RecordId,
    /// Sum over fields of the weight of the best matching value: points, or where weights are estimated, bits.
    #[serde(with = "number")]
    pub score: f64,
    pub matched: Vec<Match>,
    /// Where a customer is looked for: their records that were compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Origin>,
    /// Where a customer is looked for: fields in which what was said agrees with one source and not with another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// Fields that speak against it, where weights are estimated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Match>,
    /// How likely this is the record that was meant, where weights are estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The same for people to read: `last name agrees closely +4.1, postcode disagrees -0.9`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub explanation: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Match {
    pub field: String,
    /// What was said, never what the record holds.
    pub value: String,
    #[serde(with = "number")]
    pub weight: f64,
    /// How the two agree, where values are not only compared for being equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// Where a customer is looked for: whose record it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A record that was compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Origin {
    pub source: String,
    pub record: RecordId,
}

/// Whole numbers without a point, others to two places.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.fract() == 0.0 { to.serialize_i64(*value as i64) } else { to.serialize_f64(*value) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        f64::deserialize(from)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The values in the message selected the records.
    #[default]
    Values,
    /// Nothing in the message identifies an account by itself, so the verified customer's own accounts
    /// were taken.
    Identity,
}

/// What one source did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SourceReport {
    pub name: String,
    pub status: SourceStatus,
    pub milliseconds: f64,
    /// Set when some of the answers came from a cache: when the oldest of them was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    Answered,
    /// Some queries were answered and some were not.
    Partial,
    TimedOut,
    /// Unreachable, or an error status.
    Refused,
    /// An answer that does not have the declared form.
    Garbage,
    /// Not asked, because it failed too often in a row.
    LeftAlone,
    /// It failed; what it said at `cached_at` stands in.
    Stale,
}

/// One record, as far as it was read. `fields` holds system-owned values only; free text that somebody
/// typed into the record is in `notes` and counts as message text.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub id: RecordId,
    pub owner: CustomerId,
    pub relation: Relation,
    pub fields: Map<String, Value>,
    #[serde(default)]
    pub notes: Map<String, Value>,
    /// When it was read from its source.
    pub read_at: Timestamp,
}

/// How the verified customer stands to a record, read from the source and never from the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    Owner,
    Authorised,
}
