//! Streams and events, and the form in which a store keeps them.

use super::secret::Secret;
use crate::base::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
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
    Erasures,
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
            Self::Erasures => "erasures",
        }
    }

    /// Whether its events are about customers: they are stored encrypted, with a key for each stream.
    pub const fn personal(self) -> bool {
        matches!(self, Self::Case)
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
    pub at: Timestamp,
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

/// Whom a stream holds data of. The store has it hidden, so that the stream can be found by it and nobody can tell from
/// the store who it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// What kind of id it is: `customer`, `record`.
    pub kind: &'static str,
    pub id: String,
}

/// An effect that is intended, and counts from then on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    pub call: String,
    /// Where it counts; the store has them hidden.
    pub scopes: Vec<String>,
    pub at: Timestamp,
    /// ISO 4217; empty where nothing is paid.
    pub currency: String,
    /// Minor units.
    pub amount: i64,
}

/// How often, and how much of one currency in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Sum {
    pub count: i64,
    pub amount: i64,
}

/// What counts in one scope and currency: over the hour that runs and the 24, or the 720, before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Total {
    pub scope: String,
    pub currency: String,
    pub day: Sum,
    pub month: Sum,
}

/// The key of one stream. Digests of what is personal are keyed with it, too.
#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub secret: Secret,
}

/// A batch for one stream, written whole or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: Stream,
    /// How many entries the stream has; another number means that somebody else wrote in between.
    pub expected: u64,
    pub digests: Digests,
    pub events: Vec<NewEvent>,
    /// What the stream's head says afterwards; a list of open streams is read from it.
    pub status: String,
    pub once: Vec<Once>,
    /// When somebody must look at the stream again, if nothing comes from outside.
    pub due: Option<Timestamp>,
    pub subjects: Vec<Subject>,
    /// What is intended in these events, and the calls that came to nothing.
    pub reserve: Vec<Reservation>,
    pub free: Vec<String>,
    /// The stream's key, where the caller has it; it is looked up otherwise.
    pub key: Option<Key>,
}

impl Append {
    /// Events of a stream that nobody works on, and that claim nothing.
    pub fn kept(stream: Stream, expected: u64, digests: Digests, events: Vec<NewEvent>) -> Self {
        Self {
            stream,
            expected,
            digests,
            events,
            status: "kept".to_owned(),
            once: Vec::new(),
            due: None,
            subjects: Vec::new(),
            reserve: Vec::new(),
            free: Vec::new(),
            key: None,
        }
    }
}

/// One written event. `seq` counts from 0 within its stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub stream: String,
    pub seq: u64,
    pub kind: String,
    pub at: Timestamp,
    pub digests: Digests,
    pub body: Value,
    /// The entry's leaf in the Merkle tree.
    pub hash: Digest,
    /// The leaf's index in the tree, from 0, once it has one.
    pub index: Option<u64>,
}

/// The leaf hash of RFC 6962, section 2.1: SHA-256 of a zero byte and the entry as it is stored.
pub type Leaf = [u8; 32];

/// An event as it is stored: texts and bytes, not values, so that its hash does not depend on how a later version of
/// the program prints JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub stream: String,
    pub seq: u64,
    pub kind: String,
    pub at: Timestamp,
    /// JSON.
    pub digests: String,
    /// The name of the key that the body is encrypted with; `None` when it is JSON as it is.
    pub key: Option<String>,
    pub body: Vec<u8>,
    /// As the store has it; `computed_leaf` is what it must be.
    pub leaf: Leaf,
    /// The leaf's index in the tree, from 0, once it has one.
    pub index: Option<u64>,
}

impl Stored {
    /// Seals the body, if a key is given, and computes the leaf.
    pub fn new(
        (stream, seq): (&str, u64),
        kind: &str,
        at: Timestamp,
        digests: &str,
        key: Option<(&str, &Secret)>,
        body: &[u8],
    ) -> Self {
        let sealed =
            key.map_or_else(|| body.to_vec(), |(_, secret)| secret.seal(&context(stream, seq, kind), body));
        let mut stored = Self {
            stream: stream.to_owned(),
            seq,
            kind: kind.to_owned(),
            at,
            digests: digests.to_owned(),
            key: key.map(|(name, _)| name.to_owned()),
            body: sealed,
            leaf: Leaf::default(),
            index: None,
        };
        stored.leaf = stored.computed_leaf();
        stored
    }

    /// The hash of its content: every field, each behind its length in bytes (64-bit little-endian). Its place in the
    /// log is not part of it; the tree says where it stands.
    pub fn computed_leaf(&self) -> Leaf {
        let (seq, at) = (self.seq.to_le_bytes(), self.at.as_millis().to_le_bytes());
        let key = self.key.as_deref().unwrap_or_default();
        let parts: [&[u8]; 8] = [
            b"prokura entry 2",
            self.stream.as_bytes(),
            &seq,
            self.kind.as_bytes(),
            &at,
            self.digests.as_bytes(),
            key.as_bytes(),
            &self.body,
        ];
        let mut hasher = Sha256::new();
        hasher.update([0]);
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// The body in clear; `None` when the key is not the one, or the entry was changed.
    pub fn open(&self, key: Option<&Secret>) -> Option<Vec<u8>> {
        match (&self.key, key) {
            (None, _) => Some(self.body.clone()),
            (Some(_), Some(secret)) => secret
                .open(&context(&self.stream, self.seq, &self.kind), &self.body)
                .map(|plain| plain.to_vec()),
            (Some(_), None) => None,
        }
    }
}

/// What a body is bound to: it cannot be moved to another place of the log.
fn context(stream: &str, seq: u64, kind: &str) -> Vec<u8> {
    format!("{stream} {seq} {kind}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_part_of_the_leaf_and_a_body_stays_where_it_was() {
        let key = Secret::fresh();
        let of = |stream, seq, kind| {
            Stored::new((stream, seq), kind, Timestamp::from_millis(7), "{}", Some(("k", &key)), b"{}")
        };
        let entry = of("case/a", 1, "received");
        assert_eq!(entry.open(Some(&key)).unwrap(), b"{}");
        let changes: [fn(&mut Stored); 7] = [
            |e| e.stream.push('b'),
            |e| e.seq += 1,
            |e| e.kind.push('x'),
            |e| e.at = Timestamp::from_millis(8),
            |e| e.digests.push(' '),
            |e| e.key = None,
            |e| e.body[3] ^= 1,
        ];
        for change in changes {
            let mut changed = entry.clone();
            change(&mut changed);
            assert_ne!(changed.computed_leaf(), entry.leaf, "{changed:?}");
        }
        let moved = Stored { seq: 2, ..entry.clone() };
        assert!(moved.open(Some(&key)).is_none());
        assert!(entry.open(None).is_none() && entry.open(Some(&Secret::fresh())).is_none());
    }
}
