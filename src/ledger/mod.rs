//! Everything that happened, in order, once. The ledger is the state of every case.
//!
//! Enters: batches of events for one stream, with the sequence number that the writer expects.
//! Leaves: the entries of a stream. Entries are chained by SHA-256, so a changed one is found.
//! It must never interpret an event, and there is no way to change or remove an entry.

mod entry;
mod error;
mod lock;
pub mod store;
mod verify;

pub use entry::{Append, Digests, Entry, NewEvent, Once, Stream, StreamKind};
pub use error::LedgerError;
pub use lock::StateLock;
pub use store::{Head, Store};
pub use verify::{Damage, verify};
