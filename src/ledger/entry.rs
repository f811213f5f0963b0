//! Streams, events and the chained entries that they become.

use crate::base::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Everything that decides is a stream; cases are one kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    Case,
    Rules,
    Autonomy,
    Models,
    Policies,
    Stops,
    Access,
}

impl StreamKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Rules => "rules",
            Self::Autonomy => "autonomy",
            Self::Models => "models",
            Self::Policies => "policies",
            Self::Stops => "stops",
            Self::Access => "access",
        }
    }
}

/// `kind/name`, for example `case/case_0192…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stream {
    pub kind: StreamKind,
    pub name: String,
}

impl Stream {
    pub fn new(kind: StreamKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// What was in force when an event was written: `program`, `model`, `generation`, `pack`, ...
pub type Digests = BTreeMap<String, Digest>;

/// An event before it is written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub kind: &'static str,
    pub body: Value,
}

/// A thing that may happen once, claimed in the same transaction as the events: the `jti` of a token,
/// an idempotency key. `value` is what a later claimant gets to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Once {
    pub scope: String,
    pub key: String,
    pub value: String,
}

/// A batch for one stream, written whole or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: Stream,
    /// How many entries the stream has; another number means that somebody else wrote in between.
    pub expected: u64,
    pub at: Timestamp,
    pub digests: Digests,
    pub events: Vec<NewEvent>,
    /// What the stream's head says afterwards; a list of open streams is read from it.
    pub status: String,
    pub once: Vec<Once>,
}

/// One written event. `seq` counts from 0 within its stream, `position` from 1 over the whole log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub position: u64,
    pub stream: String,
    pub seq: u64,
    pub kind: String,
    pub at: Timestamp,
    pub digests: Digests,
    pub body: Value,
    /// SHA-256 over the previous entry's hash and every other field of this one.
    pub hash: Digest,
}

/// The hash that the first entry of a log is chained to.
pub(super) fn genesis() -> Digest {
    Digest::of(b"prokura ledger 1")
}

/// The fields of an entry as they are stored: text, not values, so that the hash does not depend on how
/// a later version of the program prints JSON.
pub(super) struct Written<'a> {
    pub position: u64,
    pub stream: &'a str,
    pub seq: u64,
    pub kind: &'a str,
    pub at: Timestamp,
    pub digests: &'a str,
    pub body: &'a str,
}

impl Written<'_> {
    pub fn hash(&self, previous: &Digest) -> Digest {
        let position = self.position.to_le_bytes();
        let seq = self.seq.to_le_bytes();
        let at = self.at.as_millis().to_le_bytes();
        Digest::of_parts([
            previous.as_str().as_bytes(),
            position.as_slice(),
            self.stream.as_bytes(),
            seq.as_slice(),
            self.kind.as_bytes(),
            at.as_slice(),
            self.digests.as_bytes(),
            self.body.as_bytes(),
        ])
    }
}
