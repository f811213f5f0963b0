//! Changes of the models, in the ledger: the history of the installed bundles, one entry a change. Commands that
//! change the models write the file; what a service has recorded from it is the ledger's, and stays.

use super::CaseError;
use super::run::Cases;
use crate::base::{CaseId, Timestamp};
use crate::ledger::{Append, By, Ledger, NewEvent, Stream, StreamKind};
use crate::understanding::installed::{Action, Change, Installed};

/// The one stream of its kind.
const STREAM: &str = "bundles";

/// The history as the file has it, and how many of its changes the ledger has already.
///
/// A file that is not the ledger's, because it was shortened, changed or lost, is put back to what the ledger has,
/// with a line that says so; what was found is kept beside it. Blocks.
///
/// # Errors
/// A file or ledger that cannot be read or written; another command that changes the models just then.
pub fn recorded(
    ledger: &Ledger,
    installed: &Installed,
    now: Timestamp,
) -> Result<(Vec<Change>, usize), CaseError> {
    let entries = ledger.stream(&Stream::new(StreamKind::Models, STREAM), 0)?;
    let is_prefix = |history: &[Change]| {
        let same = entries.iter().zip(history).take_while(|(entry, change)| entry.body == body(change));
        same.count() == entries.len()
    };
    match installed.history() {
        Ok(history) if is_prefix(&history) => return Ok((history, entries.len())),
        _ => {}
    }
    let _lock = installed.lock()?;
    let changes = entries.iter().map(|entry| serde_json::from_value(entry.body.clone()));
    let mut changes: Vec<Change> = changes
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| CaseError::Unreadable { case: CaseId::new(STREAM), reason: error.to_string() })?;
    let restored = Change {
        at: now,
        action: Action::Restored,
        model: None,
        previous: None,
        by: "prokura".to_owned(),
        forced: None,
        below: Vec::new(),
    };
    changes.push(restored);
    let kept = installed.restore(&changes)?;
    tracing::warn!(
        ?kept,
        "the history of the models was not the one of the ledger, and was restored from it; what was changed \
         meanwhile must be changed again"
    );
    Ok((changes, entries.len()))
}

fn body(change: &Change) -> serde_json::Value {
    serde_json::to_value(change).unwrap_or_default()
}

impl Cases {
    /// Appends what the history of the installed bundles has beyond the ledger, and gives it whole. Whoever else
    /// appends at the same time wins, and nothing is written twice. Blocks.
    pub fn record_models(&self) -> Result<Vec<Change>, CaseError> {
        let parts = self.parts();
        let now = parts.clock.now();
        let (history, known) = recorded(&parts.ledger, parts.models.installed(), now)?;
        let Some(new) = history.get(known..).filter(|new| !new.is_empty()) else { return Ok(history) };
        let event = |change: &Change| NewEvent { at: now, kind: change.action.as_str(), body: body(change) };
        let stream = Stream::new(StreamKind::Models, STREAM);
        let batch = Append::kept(stream, known as u64, self.digests(), new.iter().map(event).collect());
        parts.ledger.append(&batch, By::Anybody)?;
        Ok(history)
    }
}
