//! Resolved cases that are like the one at hand, for the open planner. What is kept of a case in memory is how it began, as
//! a vector, with what plan it was resolved and which tools acted: no text. A case that was erased is not listed any more.

use super::pack::{OpenSettings, Pack};
use super::run::{Cases, fold};
use super::state::{State, Status};
use super::step::UNDONE;
use super::view::outcome_name;
use crate::base::{CaseId, Digest};
use crate::intake::Identity;
use crate::ledger::{Ledger, LedgerError, Stream, StreamKind};
use crate::planning::{Alike, Brief, Next, Quoted, Suggestion, Untrusted, suggest};
use crate::policy::Grounds;
use crate::understanding::Understanding;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// So many like cases are told.
const TOLD: usize = 5;
/// So many cases are read for one message; the rest are for the next one.
const READ: usize = 64;

/// What is kept of resolved cases.
#[derive(Default)]
pub(super) struct Remembered {
    /// The bundle that the vectors are of.
    model: Option<Digest>,
    /// By case, with the number of events that it had then; `None` for one that says nothing.
    cases: BTreeMap<String, (u64, Option<Kept>)>,
}

struct Kept {
    plan: String,
    calls: Vec<String>,
    vector: Vec<f32>,
}

/// Whether the message at hand is of a verified customer and about something that no plan is for.
fn is_open(state: &State, pack: &Pack) -> bool {
    let verified =
        matches!(state.message().map(|message| &message.identity), Some(Identity::Verified { .. }));
    let told = state.message().is_some_and(|message| message.event.is_some());
    let planned = state.concern().is_none_or(|leaf| pack.plans.of_leaf(leaf).is_some());
    verified && !told && !planned && state.plan.is_none() && state.answer.is_none()
}

impl Cases {
    /// The plans that are named for a concern which has none. Blocks.
    ///
    /// # Errors
    /// A ledger or a bundle that cannot be read.
    pub(super) fn suggestions(
        &self,
        state: &State,
        (pack, models): (&Pack, &Understanding),
        grounds: &Grounds,
    ) -> Result<Vec<Suggestion>, String> {
        let Some(open) = pack.service.open.as_ref().filter(|_| is_open(state, pack)) else {
            return Ok(Vec::new());
        };
        let (Some(message), Some(leaf)) = (state.message(), state.concern()) else { return Ok(Vec::new()) };
        let alike = self.alike(&message.text, open, models)?;
        let answering = if grounds.answered { &grounds.passages[..] } else { &[] };
        let quoted = answering.iter().map(|passage| Quoted {
            document: &passage.document,
            version: &passage.version,
            section: &passage.section,
            text: Untrusted { untrusted: &passage.text },
        });
        let read = state.reading.iter().flat_map(|reading| &reading.leaves);
        Ok(suggest(&Brief {
            leaf,
            read_as: read.map(|read| (read.leaf.as_str(), read.probability)).collect(),
            message: Untrusted { untrusted: &message.text },
            passages: quoted.collect(),
            alike: &alike,
            offers: pack.plans.offers().collect(),
        }))
    }

    fn alike(&self, text: &str, open: &OpenSettings, models: &Understanding) -> Result<Vec<Alike>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let ledger = &self.parts().ledger;
        let heads = ledger
            .heads(StreamKind::Case, Some(Status::Resolved.as_str()), Some(open.cases))
            .map_err(|error| told(&error))?;
        let mut kept = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.model.as_ref() != Some(models.digest()) {
            *kept = Remembered { model: Some(models.digest().clone()), cases: BTreeMap::new() };
        }
        let listed: BTreeSet<&str> = heads.iter().map(|head| head.name.as_str()).collect();
        kept.cases.retain(|name, _| listed.contains(name.as_str()));
        let known = |head: &&crate::ledger::Head| {
            kept.cases.get(&head.name).is_none_or(|(length, _)| *length != head.length)
        };
        let unread: Vec<(String, u64)> =
            heads.iter().filter(known).take(READ).map(|head| (head.name.clone(), head.length)).collect();
        for (name, length) in unread {
            // Another case that cannot be read is no reason to leave this one without its grounds.
            let resolved = resolved(ledger, &CaseId::new(&name)).unwrap_or_else(|error| {
                tracing::warn!(case = %name, %error, "a resolved case cannot be read, and is like none");
                None
            });
            let embedded = resolved.and_then(|(plan, calls, text)| {
                let vector = models.embed(&[&text]).ok()?.pop()?;
                Some(Kept { plan, calls, vector })
            });
            kept.cases.insert(name, (length, embedded));
        }
        let own = models.embed(&[text]).map_err(|error| told(&error))?.pop().unwrap_or_default();
        let mut alike: Vec<Alike> = kept
            .cases
            .iter()
            .filter_map(|(name, (_, kept))| Some((name, kept.as_ref()?)))
            .map(|(name, kept)| Alike {
                case: CaseId::new(name),
                plan: kept.plan.clone(),
                calls: kept.calls.clone(),
                likeness: likeness(&own, &kept.vector),
            })
            .filter(|alike| alike.likeness >= open.alike_from)
            .collect();
        alike.sort_by(|one, other| other.likeness.total_cmp(&one.likeness));
        alike.truncate(TOLD);
        Ok(alike)
    }
}

/// The cosine of two vectors of length 1, in four digits.
fn likeness(one: &[f32], other: &[f32]) -> f64 {
    let sum: f64 = one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    (sum * 1e4).round() / 1e4
}

/// The plan with which a case was resolved, the tools that acted in it, and the message that it was about. Nothing for one
/// that a person answered, or that was erased meanwhile.
fn resolved(ledger: &Ledger, case: &CaseId) -> Result<Option<(String, Vec<String>, String)>, LedgerError> {
    let entries = match ledger.stream(&Stream::new(StreamKind::Case, case.as_str()), 0) {
        Err(LedgerError::Erased { .. }) => return Ok(None),
        entries => entries?,
    };
    let Ok(state) = fold(case, &entries) else { return Ok(None) };
    let (Some(plan), Some(reading)) = (&state.plan, &state.reading) else { return Ok(None) };
    // What people declined, undid or answered themselves speaks for no plan.
    let by_plan = matches!(state.next, Some(Next::Reply { then: None, .. } | Next::Resolve { .. }));
    if !by_plan || state.escalation.is_some() || plan.cursor.step == UNDONE {
        return Ok(None);
    }
    let about = state.messages.iter().find(|message| message.id.to_string() == reading.id);
    let calls = state.calls.iter().skip(state.earlier_calls);
    let calls = calls.filter(|call| call.undoes.is_none() && outcome_name(call) == "done");
    let calls = calls.map(|call| call.tool.clone()).collect();
    Ok(about.map(|message| (plan.name().to_owned(), calls, message.text.clone())))
}
