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
    ///
    /// A history that is not the ledger's, because it was shortened or changed, is told as a fault of the
    /// models, and nothing is appended.
    pub fn record_models(&self) -> Result<usize, CaseError> {
        let parts = self.parts();
        let history = parts.models.installed().history()?;
        let stream = Stream::new(StreamKind::Models, STREAM);
        let written = parts.store.stream(&stream, 0)?;
        let body = |change: &Change| serde_json::to_value(change).unwrap_or_default();
        let agreed = written.iter().zip(&history).take_while(|(entry, change)| entry.body == body(change));
        let agreed = agreed.count();
        if agreed < written.len() {
            let dispute = format!(
                "the history of the models is not the one of the ledger from change {} on; restore history.jsonl",
                agreed + 1
            );
            parts.models.disputed(Some(dispute));
            return Ok(0);
        }
        parts.models.disputed(None);
        let Some(new) = history.get(agreed..).filter(|new| !new.is_empty()) else { return Ok(0) };
        let event = |change: &Change| NewEvent { kind: change.action.as_str(), body: body(change) };
        let batch = Append {
            stream,
            expected: agreed as u64,
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
