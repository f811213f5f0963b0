//! `prokura replay`: a case decided again from its record, and its messages read again.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{CaseId, Digest};
use crate::cases::{Comparison, Pack, Packs, Reread, Searched, replay as decide_again, reread, search_again};
use crate::cli::{Place, Replay};
use crate::ledger::{Digests, Entry, LedgerError, Stream, StreamKind};
use crate::policy::Policies;
use crate::understanding::installed::Installed;
use crate::understanding::{Compute, Understanding};
use serde_json::json;
use std::sync::Arc;

pub fn replay(place: &Place, asked: &Replay) -> Result<(), Failure> {
    let case = asked.case.as_str();
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let stream = Stream::new(StreamKind::Case, case);
    let entries = match ledger.stream(&stream, 0) {
        Err(LedgerError::Erased { .. }) => {
            return output::json_pretty(&json!({ "case": case, "outcome": Comparison::Erased }));
        }
        entries => entries.map_err(Failure::input)?,
    };
    if entries.is_empty() {
        return Err(Failure::Input(format!("there is no case `{case}`")));
    }
    let checked = wire::pack(&settings, None)?;
    let key = ledger.key_of(&stream).map_err(Failure::input)?;
    let (ledger, pack) = (Arc::new(ledger), Arc::new(checked.pack));
    let packs = Packs::new(ledger, &wire::state(place, &settings), Arc::clone(&pack));
    let replayed = decide_again(&CaseId::new(case), &entries, &packs, &key.secret);
    let replayed = replayed.map_err(Failure::input)?;
    let readings = match asked.models {
        true => Some(read_again(place, &settings, &CaseId::new(case), &entries, &pack)?),
        false => None,
    };
    let searches = match asked.models {
        true => Some(searched_again(place, &settings, &CaseId::new(case), &entries, (&packs, &pack))?),
        false => None,
    };
    let found =
        |same: Option<bool>| searches.iter().flatten().any(|searched: &Searched| searched.same == same);
    let read = |holds: fn(&Reread) -> bool| readings.iter().flatten().any(holds);
    let outcome = match replayed.comparison(&entries, &wire::program_digest()?) {
        _ if read(Reread::broken) || found(Some(false)) => Comparison::Differs,
        Comparison::Same if read(|reading| reading.now.is_none()) => Comparison::ModelGone,
        Comparison::Same if found(None) => Comparison::GenerationGone,
        outcome => outcome,
    };
    let mut told = json!({
        "case": case, "outcome": outcome, "events": entries.len(), "status": replayed.state.status,
        "pack": pack.digest, "same_pack": replayed.same_pack, "differences": replayed.differences,
    });
    if let (Some(readings), Some(told)) = (&readings, told.as_object_mut()) {
        told.insert("readings".to_owned(), json!(readings));
        told.insert("searches".to_owned(), json!(searches));
    }
    output::json_pretty(&told)?;
    if outcome == Comparison::Differs {
        let problem = "the record was read or decided otherwise than this program and pack do";
        return Err(Failure::Check(problem.to_owned()));
    }
    Ok(())
}

fn searched_again(
    place: &Place,
    settings: &Settings,
    case: &CaseId,
    entries: &[Entry],
    (packs, pack): (&Packs, &Pack),
) -> Result<Vec<Searched>, Failure> {
    let policies = Policies::open(&wire::state(place, settings)).map_err(Failure::input)?;
    let open = |generation: &Digest| policies.pinned(generation).ok();
    search_again(case, entries, packs, open, bundles(place, settings, pack)).map_err(Failure::input)
}

fn read_again(
    place: &Place,
    settings: &Settings,
    case: &CaseId,
    entries: &[Entry],
    pack: &Pack,
) -> Result<Vec<Reread>, Failure> {
    let open = bundles(place, settings, pack);
    let banks = wire::bank_codes(settings)?;
    let mut now = Digests::from([
        ("pack".to_owned(), pack.digest.clone()),
        ("program".to_owned(), wire::program_digest()?),
    ]);
    now.extend(banks.digest().map(|digest| ("bank_codes".to_owned(), digest.clone())));
    reread(case, entries, (&now, &banks), open).map_err(Failure::input)
}

/// The bundles that a case names, each loaded once.
fn bundles(
    place: &Place,
    settings: &Settings,
    pack: &Pack,
) -> impl FnMut(&Digest) -> Option<Arc<Understanding>> {
    // On the CPU, whatever reads now: a GPU promises nothing.
    let compute = Compute::default();
    let installed = Installed::of(&wire::state(place, settings));
    let shipped = settings.beside(&settings.models.bundle);
    let mut loaded: Vec<Arc<Understanding>> = Vec::new();
    move |model| {
        if let Some(there) = loaded.iter().find(|there| there.digest() == model) {
            return Some(Arc::clone(there));
        }
        loaded.push(Arc::new(installed.open(model, &shipped, &pack.schema, &compute)?));
        loaded.last().cloned()
    }
}
