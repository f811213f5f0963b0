//! Which policies answered when: an event whenever a node answers from another generation of the index.

use super::run::Cases;
use crate::ledger::{LedgerError, NewEvent, Stream, StreamKind};
use serde_json::json;

/// The one stream of its kind.
const STREAM: &str = "generations";

impl Cases {
    /// Writes down which policies answer, when others do than the ledger says. Blocks.
    pub fn note_generation(&self) -> Result<(), LedgerError> {
        let parts = self.parts();
        let generation = parts.generation().digest().clone();
        let stream = Stream::new(StreamKind::Policies, STREAM);
        let body = json!({ "generation": generation });
        let last = parts.ledger.store().head(&stream)?.map_or(0, |head| head.length.saturating_sub(1));
        if parts.ledger.stream(&stream, last)?.last().is_some_and(|entry| entry.body == body) {
            return Ok(());
        }
        let event = NewEvent { at: parts.ledger.store().now()?, kind: "answers", body };
        parts.ledger.note(&stream, &self.digests(), &event)
    }
}
