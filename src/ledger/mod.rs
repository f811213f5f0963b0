//! Everything that happened, in order, once. The ledger is the state of every case.
//!
//! Enters: batches of events for one stream, with the sequence number that the writer expects.
//! Leaves: the entries of a stream, and proofs. What is about customers is stored encrypted; a Merkle
//! tree whose root is signed shows every change. It must never interpret an event, keep a key beside
//! what it opens, or change or remove an entry.

pub mod checkpoint;
mod cosign;
mod entry;
mod error;
mod export;
mod keys;
mod lock;
mod log;
pub mod merkle;
mod secret;
mod settings;
pub mod store;
mod verify;
mod witness;

pub use checkpoint::Signer;
pub use cosign::{Answer, Cosigner};
pub use entry::{
    Append, Digests, Entry, Key, NewEvent, Once, Reservation, Stored, Stream, StreamKind, Subject, Sum, Total,
};
pub use error::LedgerError;
pub use export::{ExportError, export, verify_export};
pub use keys::{Keys, master, master_of};
pub use lock::StateLock;
pub use log::{Ledger, MOST_CONFLICTS};
pub use merkle::{Root, Tile};
pub use secret::Secret;
pub use settings::{Database, LedgerSettings, WitnessSettings};
pub use store::{By, Claim, Head, NOT_LOOKED, Store, Told};
pub use verify::{Damage, Verified, verify};
pub use witness::{Post, Witness};
