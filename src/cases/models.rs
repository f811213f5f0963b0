//! Changes of the models, in the ledger: the history of the installed bundles, one entry a change.

use super::CaseError;
use super::run::Cases;
use crate::ledger::{Append, NewEvent, Stream, StreamKind};
use crate::understanding::installed::Change;

/// The one stream of its kind.
const STREAM: &str = "bundles";

impl Cases {
    /// Appends what the history of the installed bundles has beyond the ledger; how many changes that were.
    /// Whoever else appends them at the same time wins, and nothing is written twice. Blocks.
    pub fn record_models(&self) -> Result<usize, CaseError> {
        let parts = self.parts();
        let history = parts.models.installed().history()?;
        let stream = Stream::new(StreamKind::Models, STREAM);
        let written = parts.store.stream(&stream, 0)?.len();
        let Some(new) = history.get(written..).filter(|new| !new.is_empty()) else { return Ok(0) };
        let event = |change: &Change| NewEvent {
            kind: change.action.as_str(),
            body: serde_json::to_value(change).unwrap_or_default(),
        };
        let batch = Append {
            stream,
            expected: written as u64,
            at: parts.clock.now(),
            digests: self.digests(),
            events: new.iter().map(event).collect(),
            status: "kept".to_owned(),
            once: Vec::new(),
        };
        parts.store.append(&batch)?;
        Ok(new.len())
    }
}
