//! Decides a case again from its record. Effects are not repeated: what they brought back is in the
//! events, and only what was decided from it is compared.

use super::event::Event;
use super::pack::Pack;
use super::state::State;
use super::step::{Input, Now, step};
use super::{CaseError, run::event_of};
use crate::base::CaseId;
use crate::ledger::Entry;
use serde::Serialize;

pub struct Replayed {
    pub state: State,
    /// Whether every event was written under this very pack. Under another one differences are expected.
    pub same_pack: bool,
    pub differences: Vec<Difference>,
}

/// An event that would be another one today.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    pub seq: u64,
    pub recorded: String,
    pub decided: String,
}

/// Folds the entries, and at each one that recorded an input takes the step again.
pub fn replay(case: &CaseId, entries: &[Entry], pack: &Pack) -> Result<Replayed, CaseError> {
    let mut state = State::new(case.clone());
    let mut differences = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        // One step's events were written in one batch, at one time.
        let recorded: Vec<Event> =
            rest.iter().map(|entry| event_of(case, entry)).collect::<Result<_, _>>()?;
        let decided = match recorded.first().and_then(|event| input_of(event, recorded.get(1))) {
            Some(input) => step(&state, input, &Now { at: first.at, pack }),
            // A failure of a room leaves no input behind, only what followed from it.
            None => recorded.iter().take(1).cloned().collect(),
        };
        let taken = decided.len().clamp(1, rest.len());
        for (entry, (was, now)) in rest.iter().zip(recorded.iter().zip(&decided)) {
            if was != now {
                differences.push(Difference {
                    seq: entry.seq,
                    recorded: was.kind().to_owned(),
                    decided: now.kind().to_owned(),
                });
            }
        }
        for (event, entry) in recorded.iter().zip(rest).take(taken) {
            state.apply(event, entry.at);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    let same_pack = entries.iter().all(|entry| entry.digests.get("pack") == Some(&pack.digest));
    Ok(Replayed { state, same_pack, differences })
}

/// The input that an event records, when it records one.
fn input_of(event: &Event, following: Option<&Event>) -> Option<Input> {
    match event {
        Event::Received { by, message } => Some(Input::Received { by: by.clone(), message: message.clone() }),
        Event::Understood { reading, .. } => Some(Input::Understood(reading.clone())),
        Event::Found { facts } => Some(Input::Found(facts.clone())),
        Event::Grounded { grounds } => Some(Input::Grounded(grounds.clone())),
        Event::Replied { reply, .. } => Some(Input::Composed(reply.clone())),
        Event::Escalated { .. } => match following {
            Some(Event::Replied { reply, .. }) => Some(Input::Composed(reply.clone())),
            _ => None,
        },
        Event::Returned { call, outcome } => {
            Some(Input::Returned { call: call.clone(), outcome: outcome.clone() })
        }
        Event::Expired { .. } => Some(Input::Expired),
        Event::Voted { vote, .. } => Some(Input::Voted { vote: vote.clone() }),
        // A `Decided` that begins a batch is a call that was stopped at the last check.
        Event::Decided { call, decision, .. } => {
            Some(Input::Stopped { call: call.clone(), decision: decision.clone() })
        }
        Event::Planned { .. }
        | Event::ApprovalAsked { .. }
        | Event::Intended { .. }
        | Event::Stuck { .. } => None,
    }
}
