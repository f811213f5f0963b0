//! Decides a case again from its record. Effects are not repeated: what they brought back is in the
//! events, and only what was decided from it is compared.

use super::event::Event;
use super::packs::Packs;
use super::search::{answered, questions};
use super::state::State;
use super::step::{Deed, Dial, Input, Now, step};
use super::{CaseError, run::event_of};
use crate::base::{CaseId, Digest};
use crate::intake::{BankCodes, recognise_with};
use crate::ledger::{Digests, Entry, Secret};
use crate::planning::Next;
use crate::policy::Generation;
use crate::understanding::{Known, Reading, Understanding};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

pub struct Replayed {
    pub state: State,
    /// Whether the packs that decided are at hand. With another one differences are expected.
    pub same_pack: bool,
    pub differences: Vec<Difference>,
}

/// What a comparison says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Same,
    Differs,
    /// It was decided otherwise, by another program or another pack than are here.
    OtherProgram,
    OtherPack,
    /// A bundle that read a message, or a generation that was searched, is not here.
    ModelGone,
    GenerationGone,
    /// There is nothing to compare any more.
    Erased,
}

impl Replayed {
    /// `program` is the digest of the one that decided again.
    pub fn comparison(&self, entries: &[Entry], program: &Digest) -> Comparison {
        let same_program = entries.iter().all(|entry| entry.digests.get("program") == Some(program));
        match (self.differences.is_empty(), same_program, self.same_pack) {
            (true, ..) => Comparison::Same,
            (_, false, _) => Comparison::OtherProgram,
            (_, _, false) => Comparison::OtherPack,
            _ => Comparison::Differs,
        }
    }
}

/// An event that would be another one today.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    pub seq: u64,
    pub recorded: String,
    pub decided: String,
}

/// A reading that was taken again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reread {
    pub seq: u64,
    pub model: Digest,
    /// The arithmetic of the recorded reading, and of this one; see `Encoder::arithmetic`.
    pub recorded: String,
    pub now: Option<String>,
    /// The same bundle, pack, bank codes, program and arithmetic in integers promise the same reading, bit for bit.
    pub promised: bool,
    /// Parts of the reading that are another now; of those that are not read again, all.
    pub differs: Vec<String>,
}

impl Reread {
    /// What was promised is not so.
    pub fn broken(&self) -> bool {
        self.promised && !self.differs.is_empty()
    }
}

/// Reads every message of a case again with the bundle that read it, where `open` finds it. `now` are the digests in
/// force.
pub fn reread(
    case: &CaseId,
    entries: &[Entry],
    (now, banks): (&Digests, &BankCodes),
    mut open: impl FnMut(&Digest) -> Option<Arc<Understanding>>,
) -> Result<Vec<Reread>, CaseError> {
    let (mut state, mut all) = (State::new(case.clone()), Vec::new());
    for entry in entries {
        let event = event_of(case, entry)?;
        if let Event::Understood { reading, .. } = &event {
            let models = open(&reading.digests.model);
            let again = match (&models, state.message()) {
                (Some(models), Some(message)) => {
                    let found = recognise_with(&message.text, banks);
                    let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
                    let id = message.id.to_string();
                    Some(models.read(&id, &message.text, message.language, &known)?)
                }
                _ => None,
            };
            let same = ["pack", "program", "bank_codes"];
            let same = same.iter().all(|name| entry.digests.get(*name) == now.get(*name));
            all.push(compared(entry.seq, reading, again.as_ref(), same));
        }
        state.apply(&event, entry.at);
    }
    Ok(all)
}

/// A search that was made again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Searched {
    pub seq: u64,
    pub generation: Digest,
    /// Whether the same passages came in the same order; `None`: the generation, or the pack, is not here any more.
    pub same: Option<bool>,
}

/// Searches again for every message of a case, in the generation that was searched, where `open` finds it.
pub fn search_again(
    case: &CaseId,
    entries: &[Entry],
    packs: &Packs,
    mut open: impl FnMut(&Digest) -> Option<Arc<Generation>>,
    mut models: impl FnMut(&Digest) -> Option<Arc<Understanding>>,
) -> Result<Vec<Searched>, CaseError> {
    let (mut state, mut all) = (State::new(case.clone()), Vec::new());
    for entry in entries {
        let event = event_of(case, entry)?;
        if let Event::Grounded { grounds, suggestions } = &event {
            let pack = entry.digests.get("pack").map(|digest| packs.pinned(digest)).transpose()?.flatten();
            let asked = pack.and_then(|pack| questions(&state, &pack, suggestions));
            let same = match (asked, open(&grounds.generation)) {
                (Some(asked), Some(generation)) => {
                    let read = entry.digests.get("model").and_then(&mut models);
                    let found = answered(&asked, |question| generation.search(question, read.as_deref()));
                    Some(found.is_ok_and(|found| found.as_ref() == Some(grounds)))
                }
                _ => None,
            };
            all.push(Searched { seq: entry.seq, generation: grounds.generation.clone(), same });
        }
        state.apply(&event, entry.at);
    }
    Ok(all)
}

fn compared(seq: u64, was: &Reading, now: Option<&Reading>, same: bool) -> Reread {
    let arithmetic = |reading: &Reading| reading.digests.arithmetic.clone();
    let kind = |reading: &Reading| arithmetic(reading).split(' ').next().map(str::to_owned);
    let parts = |reading: &Reading| match serde_json::to_value(reading) {
        Ok(Value::Object(parts)) => parts,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (parts(was), now.map(parts).unwrap_or_default());
    let differs = before.iter().filter(|(name, part)| *name != "digests" && after.get(*name) != Some(*part));
    Reread {
        seq,
        model: was.digests.model.clone(),
        recorded: arithmetic(was),
        now: now.map(arithmetic),
        promised: same
            && was.digests.arithmetic.starts_with("int8.")
            && now.is_some_and(|now| kind(now) == kind(was)),
        differs: differs.map(|(name, _)| name.clone()).collect(),
    }
}

/// Folds the entries, and at each one that recorded an input takes the step again.
pub fn replay(case: &CaseId, entries: &[Entry], packs: &Packs, key: &Secret) -> Result<Replayed, CaseError> {
    let mut state = State::new(case.clone());
    let mut differences = Vec::new();
    let mut same_pack = true;
    let mut rest = entries;
    while let Some(first) = rest.first() {
        // One step's events were written in one batch, at one time.
        let recorded: Vec<Event> =
            rest.iter().map(|entry| event_of(case, entry)).collect::<Result<_, _>>()?;
        let pinned = first.digests.get("pack").map(|digest| packs.pinned(digest)).transpose()?.flatten();
        same_pack &= pinned.is_some();
        let pack = pinned.unwrap_or_else(|| packs.current());
        let decided = match recorded.first().and_then(|event| input_of(event, recorded.get(1))) {
            Some(input) => {
                let dial = Dial::Recorded(&recorded);
                step(&state, input, &Now { at: first.at, pack: &pack, key, dial })
            }
            // A failure of a room leaves no input behind, only what followed from it: a hand-over, or a stuck case.
            None => recorded.iter().take(1).filter(|event| follows_a_failure(event)).cloned().collect(),
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
        let more = decided.iter().skip(rest.len()).map(|now| ("nothing", now.kind()));
        let less = recorded.iter().take(usize::from(decided.is_empty())).map(|was| (was.kind(), "nothing"));
        differences.extend(more.chain(less).map(|(was, now)| Difference {
            seq: first.seq,
            recorded: was.to_owned(),
            decided: now.to_owned(),
        }));
        for (event, entry) in recorded.iter().zip(rest).take(taken) {
            state.apply(event, entry.at);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(Replayed { state, same_pack, differences })
}

fn follows_a_failure(event: &Event) -> bool {
    matches!(
        event,
        Event::Stuck { .. } | Event::Planned { next: Next::Escalate { .. }, .. } | Event::Closed { .. }
    )
}

/// What somebody did.
fn deed_of(event: &Event) -> Option<Input> {
    let (by, deed) = match event.clone() {
        Event::TakenOver { by, reason, .. } => (by, Deed::TakeOver { reason }),
        Event::GivenBack { by, leaf, step, note, .. } => (by, Deed::GiveBack { leaf, step, note }),
        Event::Edited { approval, by, arguments, reason } => (by, Deed::Edit { approval, arguments, reason }),
        Event::Delegated { approval, by, to, reason } => (by, Deed::Delegate { approval, to, reason }),
        Event::Answered { by, reply, resolves } => (by, Deed::Answer { reply, resolves }),
        _ => return None,
    };
    Some(Input::Did { by, deed })
}

/// The input that an event records, when it records one.
fn input_of(event: &Event, following: Option<&Event>) -> Option<Input> {
    match event {
        Event::Received { by, message } => Some(Input::Received { by: by.clone(), message: message.clone() }),
        Event::Understood { reading, .. } => Some(Input::Understood(reading.clone())),
        Event::Found { facts, totals, read } => {
            let (facts, totals, read) = (facts.clone(), totals.clone(), read.clone());
            Some(Input::Found { facts, totals, read })
        }
        Event::Grounded { grounds, suggestions } => {
            Some(Input::Grounded { grounds: grounds.clone(), suggestions: suggestions.clone() })
        }
        Event::Replied { reply, disclosed, .. } => {
            Some(Input::Composed { reply: reply.clone(), disclosed: disclosed.clone() })
        }
        Event::Escalated { .. } => following.and_then(|reply| input_of(reply, None)),
        Event::Doubted { call } => Some(Input::Doubted { call: call.clone() }),
        Event::Returned { call, outcome } => {
            Some(Input::Returned { call: call.clone(), outcome: outcome.clone() })
        }
        Event::TakenOver { .. }
        | Event::GivenBack { .. }
        | Event::Edited { .. }
        | Event::Delegated { .. }
        | Event::Answered { .. } => deed_of(event),
        Event::Expired { .. } | Event::Elapsed { .. } => Some(Input::Expired),
        Event::Notified { by, id, kind, .. } => {
            Some(Input::Notified { by: by.clone(), id: id.clone(), kind: kind.clone() })
        }
        Event::Retried { by } => Some(Input::Retried { by: by.clone() }),
        Event::Voted { vote, .. } => Some(Input::Voted { vote: vote.clone() }),
        // A `Decided` that begins a batch is a call that was stopped at the last check.
        Event::Decided { call, decision, .. } => {
            Some(Input::Stopped { call: call.clone(), decision: decision.clone() })
        }
        Event::Proposed { .. }
        | Event::Planned { .. }
        | Event::ApprovalAsked { .. }
        | Event::Intended { .. }
        | Event::Waiting { .. }
        | Event::Undoing { .. }
        | Event::Undone { .. }
        | Event::Closed { .. }
        | Event::Stuck { .. } => None,
    }
}
