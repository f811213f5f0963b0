//! Where entries are kept. One of the five seams.

mod keys;
mod migrate;
mod postgres;
mod schema;
mod sqlite;
mod thread;
mod totals;

use super::entry::{Once, Reservation, Stored, Stream, StreamKind, Total};
use super::{LedgerError, Tile};
use crate::base::Timestamp;
pub use keys::KeyTable;
pub use migrate::has_keys;
pub use postgres::{OPTIONS, Postgres};
pub use sqlite::Sqlite;

/// The last known of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub name: String,
    /// How many entries the stream has.
    pub length: u64,
    pub status: String,
    pub at: Timestamp,
    /// The name of the stream's key; `None` where nothing is encrypted.
    pub key: Option<String>,
}

/// One node's right to go on with a stream. Whoever takes it over gets a higher epoch, and the node that had it can write
/// nothing any more: a fencing token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    pub stream: Stream,
    pub epoch: u64,
    /// How often the stream was taken since it last got on, this time included.
    pub attempts: u32,
}

/// Entries of one stream, written whole or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    pub stream: Stream,
    /// How many entries the stream has.
    pub expected: u64,
    pub entries: Vec<Stored>,
    /// What the head is then.
    pub status: String,
    pub key: Option<String>,
    pub once: Vec<Once>,
    /// When somebody must look at the stream again, if nothing comes from outside.
    pub due: Option<Timestamp>,
    /// Whom the stream holds data of, hidden.
    pub subjects: Vec<String>,
    /// With hidden scopes.
    pub reserve: Vec<Reservation>,
    /// Calls whose reservations count no longer.
    pub free: Vec<String>,
    pub by: By,
}

impl Batch {
    /// When the last of it happened.
    fn at(&self) -> Timestamp {
        self.entries.last().map_or(Timestamp::from_millis(0), |entry| entry.at)
    }
}

/// Stands in the place of the subjects of a stream that an earlier program wrote: nobody has looked yet.
pub const NOT_LOOKED: &str = "";

/// What a node hears of another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told<'a> {
    /// A stream has grown.
    Grown(&'a str),
    /// It has, and nobody holds it although something is due.
    Due(&'a str),
}

/// Who writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// Somebody from outside, whoever holds the stream.
    Anybody,
    /// The same, and this node claims the stream if nobody holds it.
    Claiming(String),
    /// The holder of the claim of this epoch. It gives the claim up if it is done.
    Holder { epoch: u64, done: bool },
}

/// An append-only store of entries and of the tree over them. Calls block; callers on an async thread move them to
/// another. What returns without an error is on stable storage.
pub trait Store: Send + Sync {
    /// Returns the claim, where the batch was written by or for a holder that goes on.
    fn append(&self, batch: Batch) -> Result<Option<Claim>, LedgerError>;

    /// The time that decides about deadlines and claims.
    fn now(&self) -> Result<Timestamp, LedgerError>;

    /// Says that a node lives, for so many milliseconds; with 0 it gives up all that it holds.
    fn beat(&self, node: &str, milliseconds: i64) -> Result<(), LedgerError>;

    /// Forgets all nodes: whoever calls it knows that none of them lives.
    fn forget_nodes(&self) -> Result<(), LedgerError>;

    /// Claims for a node at most so many streams of a kind that are due and that no living node holds.
    fn take(&self, kind: StreamKind, node: &str, most: usize) -> Result<Vec<Claim>, LedgerError>;

    /// The streams of a kind that a node holds, by name.
    fn held(&self, kind: StreamKind, node: &str) -> Result<Vec<String>, LedgerError>;

    /// Claims one stream, due or not; `None` when another living node holds it, or there is no such stream.
    fn take_one(&self, stream: &Stream, node: &str) -> Result<Option<Claim>, LedgerError>;

    /// Whether the node lives and still holds the claim, and the stream has so many entries.
    fn holds(&self, claim: &Claim, node: &str, length: u64) -> Result<bool, LedgerError>;

    /// Gives a claim up, if it is still held, and says how often the stream was taken in vain. With a time, it is due then.
    fn release(&self, claim: &Claim, due: Option<Timestamp>, attempts: u32) -> Result<(), LedgerError>;

    /// The entries of a stream from sequence number `from` on, in order.
    fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Stored>, LedgerError>;

    fn head(&self, stream: &Stream) -> Result<Option<Head>, LedgerError>;

    /// The heads of the streams of a kind, newest first; only those with `status`, and only so many, when given.
    fn heads(
        &self,
        kind: StreamKind,
        status: Option<&str>,
        most: Option<u32>,
    ) -> Result<Vec<Head>, LedgerError>;

    /// Claims a thing that belongs to no batch of events, and returns who has it: the given value, or that of
    /// an earlier claim.
    fn claim(&self, once: &Once) -> Result<String, LedgerError>;

    /// The streams of a kind that hold data of a hidden subject, by name.
    fn streams_of(&self, kind: StreamKind, subject: &str) -> Result<Vec<String>, LedgerError>;

    /// Whom a stream holds data of, hidden.
    fn subjects_of(&self, stream: &Stream) -> Result<Vec<String>, LedgerError>;

    /// Notes whom a stream of an earlier program holds data of.
    fn note_subjects(&self, stream: &Stream, subjects: Vec<String>) -> Result<(), LedgerError>;

    /// Forgets whom streams held data of, and leaves nothing of it in files.
    fn forget_subjects(&self, streams: &[Stream]) -> Result<(), LedgerError>;

    /// What counts in these hidden scopes at a time.
    fn totals(&self, scopes: Vec<String>, at: Timestamp) -> Result<Vec<Total>, LedgerError>;

    /// What counted in the scopes of a call when it was reserved, itself included; `None` when nothing is reserved for it.
    fn reserved(&self, call: &str) -> Result<Option<Vec<Total>>, LedgerError>;

    /// What was noted when this thing was claimed; `None` when it never was.
    fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError>;

    /// Has `told` called, from now on, with what other nodes write: see `Told`. A store that nobody shares tells nothing;
    /// and a message may get lost, so that whoever waits looks for himself, too.
    fn listen(&self, _told: Box<dyn Fn(Told<'_>) + Send + Sync>) {}

    /// Gives every entry that is written its place in the log, and returns how many have one.
    fn sequence(&self) -> Result<u64, LedgerError>;

    /// At most so many entries of the log from place `from` on, counted from 0, in order.
    fn range(&self, from: u64, most: usize) -> Result<Vec<Stored>, LedgerError>;

    /// The hashes of a tile of the tree, as far as it is full.
    fn tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, LedgerError>;

    /// The newest checkpoint, a signed note.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError>;

    /// All checkpoints, oldest first.
    fn checkpoints(&self) -> Result<Vec<Vec<u8>>, LedgerError>;

    /// Puts tiles in the place of those that they continue, and the checkpoint of a tree of so many leaves over them.
    /// `previous` is the newest checkpoint; `false`, and nothing is written, when it is another one by now.
    fn publish(
        &self,
        previous: Option<Vec<u8>>,
        tiles: Vec<Tile>,
        size: u64,
        checkpoint: Vec<u8>,
    ) -> Result<bool, LedgerError>;
}

#[cfg(test)]
mod tests;
