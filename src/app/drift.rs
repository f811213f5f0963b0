//! Drift, from the cases of the ledger: as a command, and once an hour while the service runs.

use super::settings::Settings;
use super::{Failure, oneshot, output};
use crate::base::{Clock, Digest, SystemClock, Timestamp};
use crate::cases::Cases;
use crate::cli::Place;
use crate::learning::drift::{self, Drift, Seen, Thresholds};
use crate::ledger::{Append, LedgerError, NewEvent, Store, Stream, StreamKind};
use serde_json::json;
use std::collections::BTreeSet;

/// Beside the stream of the bundles.
const STREAM: &str = "drift";
pub const CROSSED: &str = "drift_crossed";
pub const PASSED: &str = "drift_passed";

/// `prokura models drift`.
pub fn show(place: &Place) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let store = oneshot::open_store(place, &settings)?;
    let found = measured(&store, SystemClock.now(), &settings.drift).map_err(Failure::input)?;
    let Some(found) = found else {
        let least = settings.drift.least;
        return Err(Failure::Input(format!(
            "fewer than {least} messages in one of the two windows; see [drift] in the settings"
        )));
    };
    output::json_pretty(&found)?;
    let crossed = crossed(&found);
    match crossed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Check(format!(
            "beyond the threshold: {}",
            crossed.into_iter().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The two windows that end now.
fn measured(
    store: &dyn Store,
    now: Timestamp,
    thresholds: &Thresholds,
) -> Result<Option<Drift>, LedgerError> {
    let days = i64::from(thresholds.recent_days) + i64::from(thresholds.reference_days);
    let from = now.plus_millis(-days * 86_400_000);
    let mut all: Vec<Seen> = Vec::new();
    for head in store.heads(StreamKind::Case, None)? {
        // Newest first: what ended before the windows began is not in them.
        if head.at < from {
            break;
        }
        all.extend(drift::seen(&store.stream(&Stream::new(StreamKind::Case, head.name), 0)?));
    }
    let (reference, recent) = drift::windows(all, now, thresholds);
    Ok(drift::drift(&reference, &recent, thresholds))
}

fn crossed(drift: &Drift) -> BTreeSet<String> {
    drift.figures.iter().filter(|(_, figure)| figure.crossed).map(|(name, _)| name.clone()).collect()
}

/// Measures, and writes an event where other figures are beyond their threshold than at the last event. Blocks.
pub fn watch(cases: &Cases, thresholds: &Thresholds) -> Result<Option<Drift>, LedgerError> {
    let parts = cases.parts();
    let Some(found) = measured(&*parts.store, parts.clock.now(), thresholds)? else { return Ok(None) };
    let stream = Stream::new(StreamKind::Models, STREAM);
    let entries = parts.store.stream(&stream, 0)?;
    let before: BTreeSet<String> = entries
        .last()
        .and_then(|entry| serde_json::from_value(entry.body.get("crossed")?.clone()).ok())
        .unwrap_or_default();
    let now = crossed(&found);
    if now != before {
        let kind = if now.is_empty() { PASSED } else { CROSSED };
        tracing::warn!(figures = ?now, "messages or readings are not what they were");
        let model: &Digest = &parts.models.current().digest().clone();
        let body = json!({"crossed": now, "model": model, "drift": found});
        parts.store.append(&Append {
            stream,
            expected: entries.len() as u64,
            at: parts.clock.now(),
            digests: cases.digests(),
            events: vec![NewEvent { kind, body }],
            status: "kept".to_owned(),
            once: Vec::new(),
        })?;
    }
    Ok(Some(found))
}
