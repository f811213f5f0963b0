//! Cases from the message to the reply.

/// What a store that only fails elsewhere leaves to the one within it.
macro_rules! reads_of_inner {
    () => {
        fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Stored>, LedgerError> {
            self.inner.stream(stream, from)
        }
        fn head(&self, stream: &Stream) -> Result<Option<Head>, LedgerError> {
            self.inner.head(stream)
        }
        fn heads(
            &self,
            kind: StreamKind,
            status: Option<&str>,
            most: Option<u32>,
        ) -> Result<Vec<Head>, LedgerError> {
            self.inner.heads(kind, status, most)
        }
        fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError> {
            self.inner.claimed(scope, key)
        }
        fn streams_of(&self, kind: StreamKind, subject: &str) -> Result<Vec<String>, LedgerError> {
            self.inner.streams_of(kind, subject)
        }
        fn subjects_of(&self, stream: &Stream) -> Result<Vec<String>, LedgerError> {
            self.inner.subjects_of(stream)
        }
        fn note_subjects(&self, stream: &Stream, subjects: Vec<String>) -> Result<(), LedgerError> {
            self.inner.note_subjects(stream, subjects)
        }
        fn forget_subjects(&self, streams: &[Stream]) -> Result<(), LedgerError> {
            self.inner.forget_subjects(streams)
        }
        fn sequence(&self) -> Result<u64, LedgerError> {
            self.inner.sequence()
        }
        fn range(&self, from: u64, most: usize) -> Result<Vec<Stored>, LedgerError> {
            self.inner.range(from, most)
        }
        fn tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, LedgerError> {
            self.inner.tile(level, number)
        }
        fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
            self.inner.checkpoint()
        }
        fn checkpoints(&self) -> Result<Vec<Vec<u8>>, LedgerError> {
            self.inner.checkpoints()
        }
        fn publish(
            &self,
            previous: Option<Vec<u8>>,
            tiles: Vec<Tile>,
            size: u64,
            note: Vec<u8>,
        ) -> Result<bool, LedgerError> {
            self.inner.publish(previous, tiles, size, note)
        }
    };
}

use reads_of_inner;

/// The later of two charges that were made twice, for plans of tests.
const DOUBLE_CHARGE: &str = r#"
[[let]]
name = "booked"
value = "record.transactions.filter(t, t.kind == 'card_payment' && t.status == 'booked')"
[[let]]
name = "repeated"
value = "booked.filter(t, booked.exists(o, o.id != t.id && o.merchant == t.merchant && o.amount == t.amount))"
[[let]]
name = "later"
value = "repeated.filter(t, repeated.all(o, timestamp(o.booked_at) <= timestamp(t.booked_at)))"
"#;

mod approvals;
mod crash;
mod degraded;
mod erase;
mod flows;
mod language;
mod ledgers;
mod message;
mod nodes;
mod open;
mod overhead;
mod plans;
mod reads;
mod retention;
mod sagas;
mod simulated;
mod strangers;
mod totals;
mod variants;
mod waits;
