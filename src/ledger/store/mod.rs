//! Where entries are kept. One of the five seams.

mod sqlite;

use super::{Append, Entry, LedgerError, Once, Stream, StreamKind};
use crate::base::Timestamp;
pub use sqlite::Sqlite;

/// The last known of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub name: String,
    /// How many entries the stream has.
    pub length: u64,
    pub status: String,
    pub at: Timestamp,
}

/// An append-only store of entries. Calls block; callers on an async thread move them to another.
pub trait Store: Send + Sync {
    /// Writes a batch in one transaction and returns its entries once they are on stable storage.
    fn append(&self, batch: &Append) -> Result<Vec<Entry>, LedgerError>;

    /// The entries of a stream from sequence number `from` on, in order.
    fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Entry>, LedgerError>;

    /// The heads of all streams of a kind, newest first; only those with `status`, when given.
    fn heads(&self, kind: StreamKind, status: Option<&str>) -> Result<Vec<Head>, LedgerError>;

    /// Claims a thing that belongs to no batch of events, and returns who has it: the given value, or that of
    /// an earlier claim.
    fn claim(&self, once: &Once) -> Result<String, LedgerError>;

    /// What was noted when this thing was claimed; `None` when it never was.
    fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError>;

    /// Calls `each` for every entry of the log, in order of position, with the stored text of digests
    /// and body. For verification.
    fn scan(&self, each: &mut dyn FnMut(Scanned)) -> Result<(), LedgerError>;
}

/// An entry as it is stored, for verification.
#[derive(Clone, PartialEq, Debug)]
pub struct Scanned {
    pub position: u64,
    pub stream: String,
    pub seq: u64,
    pub kind: String,
    pub at: Timestamp,
    pub digests: String,
    pub body: String,
    pub hash: String,
}
