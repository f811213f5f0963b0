//! `prokura replay`: a case decided again from its record, and its messages read again.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{CaseId, Digest};
use crate::cases::{Pack, Reread, replay as decide_again, reread};
use crate::cli::{Place, Replay};
use crate::ledger::{Digests, Entry, Stream, StreamKind};
use crate::understanding::installed::Installed;
use crate::understanding::{Compute, Understanding};
use serde_json::json;
use std::sync::Arc;

pub fn replay(place: &Place, asked: &Replay) -> Result<(), Failure> {
    let case = asked.case.as_str();
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let entries = ledger.stream(&Stream::new(StreamKind::Case, case), 0).map_err(Failure::input)?;
    if entries.is_empty() {
        return Err(Failure::Input(format!("there is no case `{case}`")));
    }
    let checked = wire::pack(&settings, None)?;
    let replayed = decide_again(&CaseId::new(case), &entries, &checked.pack).map_err(Failure::input)?;
    let mut told = json!({
        "case": case, "events": entries.len(), "status": replayed.state.status, "pack": checked.pack.digest,
        "same_pack": replayed.same_pack, "differences": replayed.differences,
    });
    let readings = match asked.models {
        true => Some(read_again(place, &settings, &CaseId::new(case), &entries, &checked.pack)?),
        false => None,
    };
    if let (Some(readings), Some(told)) = (&readings, told.as_object_mut()) {
        told.insert("readings".to_owned(), json!(readings));
    }
    output::json_pretty(&told)?;
    if !replayed.differences.is_empty() {
        let problem = "the record was decided otherwise than this program and pack decide it";
        return Err(Failure::Check(problem.to_owned()));
    }
    if readings.iter().flatten().any(Reread::broken) {
        let problem = "a message is not read as it was, or the bundle that read it is not there";
        return Err(Failure::Check(problem.to_owned()));
    }
    Ok(())
}

fn read_again(
    place: &Place,
    settings: &Settings,
    case: &CaseId,
    entries: &[Entry],
    pack: &Pack,
) -> Result<Vec<Reread>, Failure> {
    // On the CPU, whatever reads now: a GPU promises nothing.
    let compute = Compute::default();
    let installed = Installed::of(&wire::state(place, settings));
    let shipped = settings.beside(&settings.models.bundle);
    let mut loaded: Vec<Arc<Understanding>> = Vec::new();
    let open = |model: &Digest| {
        if let Some(there) = loaded.iter().find(|there| there.digest() == model) {
            return Some(Arc::clone(there));
        }
        loaded.push(Arc::new(installed.open(model, &shipped, &pack.schema, &compute)?));
        loaded.last().cloned()
    };
    let banks = wire::bank_codes(settings)?;
    let mut now = Digests::from([
        ("pack".to_owned(), pack.digest.clone()),
        ("program".to_owned(), wire::program_digest()?),
    ]);
    now.extend(banks.digest().map(|digest| ("bank_codes".to_owned(), digest.clone())));
    reread(case, entries, (&now, &banks), open).map_err(Failure::input)
}
