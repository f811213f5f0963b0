//! Which policies answered when, which of them open cases still need, and which were let go.

use super::run::Cases;
use super::state::Status;
use crate::base::{Digest, Timestamp};
use crate::ledger::{Digests, Entry, Ledger, LedgerError, NewEvent, Stream, StreamKind};
use serde_json::json;
use std::collections::BTreeSet;

/// The one stream of its kind.
const STREAM: &str = "generations";
/// A node answers from another generation of the index than before.
const ANSWERS: &str = "answers";
const LET_GO: &str = "let_go";
/// The name of the generation among the digests of an event.
const GENERATION: &str = "generation";

const DAY: i64 = 86_400_000;
/// Who searched has written it down by then.
const UNDER_WAY: i64 = 3_600_000;

fn stream() -> Stream {
    Stream::new(StreamKind::Policies, STREAM)
}

impl Cases {
    /// Writes down which policies answer, when others do than the ledger says. Blocks.
    pub fn note_generation(&self) -> Result<(), LedgerError> {
        let parts = self.parts();
        let generation = parts.generation().digest().clone();
        let body = json!({ GENERATION: generation });
        let written = parts.ledger.stream(&stream(), 0)?;
        if written.iter().rfind(|entry| entry.kind == ANSWERS).is_some_and(|entry| entry.body == body) {
            return Ok(());
        }
        let event = NewEvent { at: parts.ledger.store().now()?, kind: ANSWERS, body };
        parts.ledger.note(&stream(), &self.digests(), &event)
    }
}

/// The generations that a case may still search: those that the events of open cases name, and what answered within the
/// last hour. A case that waits for the customer, or that a person has, counts as open for `open_days`, as for
/// `prokura erase`. Blocks.
///
/// # Errors
/// A ledger that cannot be read: then nobody knows, and nothing may be let go.
pub fn needed(ledger: &Ledger, open_days: i64) -> Result<BTreeSet<Digest>, LedgerError> {
    let now = ledger.store().now()?;
    let since = now.plus_millis(-open_days.saturating_mul(DAY));
    let mut needed = answering(&ledger.stream(&stream(), 0)?, now.plus_millis(-UNDER_WAY));
    for (status, from) in [
        (Status::Running, None),
        (Status::WaitingApproval, None),
        (Status::WaitingEvent, None),
        (Status::Stuck, None),
        (Status::WaitingCustomer, Some(since)),
        (Status::WithHuman, Some(since)),
    ] {
        for head in ledger.heads(StreamKind::Case, Some(status.as_str()), None)? {
            if from.is_none_or(|from| head.at > from) {
                named(ledger, &Stream::new(StreamKind::Case, head.name), &mut needed)?;
            }
        }
    }
    Ok(needed)
}

/// What answered then or later.
fn answering(written: &[Entry], since: Timestamp) -> BTreeSet<Digest> {
    let answers = || written.iter().filter(|entry| entry.kind == ANSWERS);
    let before = answers().rfind(|entry| entry.at <= since);
    let named = answers().filter(|entry| entry.at > since).chain(before);
    named.filter_map(|entry| Digest::parse(entry.body.get(GENERATION)?.as_str()?)).collect()
}

/// The generations that the events of a stream name. What they say stays sealed: digests stand in the clear.
fn named(ledger: &Ledger, stream: &Stream, into: &mut BTreeSet<Digest>) -> Result<(), LedgerError> {
    for stored in ledger.store().stream(stream, 0)? {
        let digests: Digests = serde_json::from_str(&stored.digests).map_err(|_| LedgerError::Damaged {
            stream: stream.to_string(),
            reason: format!("entry {} names its digests in no known form", stored.seq),
        })?;
        into.extend(digests.get(GENERATION).cloned());
    }
    Ok(())
}

/// Writes down which generations are gone: a case that searched them can be decided again, but not searched again. Blocks.
///
/// # Errors
/// A ledger that cannot be written.
pub fn note_let_go(ledger: &Ledger, digests: &Digests, gone: &[Digest]) -> Result<(), LedgerError> {
    if gone.is_empty() {
        return Ok(());
    }
    let event = NewEvent { at: ledger.store().now()?, kind: LET_GO, body: json!({ "generations": gone }) };
    ledger.note(&stream(), digests, &event)
}
