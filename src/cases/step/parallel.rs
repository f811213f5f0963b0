//! Calls of tools that only read, side by side. They are judged one by one as every call is; when all of them are
//! permitted they go out together, else one after the other, so that a person is asked about one at a time.

use super::{Now, Way, call_request, decide, escalation, walk};
use crate::acting::Outcome;
use crate::base::{CallId, RecordId};
use crate::cases::event::Event;
use crate::cases::state::{CallState, State};
use crate::governance::Verdict;
use crate::planning::{GENERAL_QUEUE, LookUp, Next};

/// Proposes what is not settled yet, or goes on with the plan.
pub(super) fn go_on(state: &State, now: &Now<'_>) -> Vec<Event> {
    let (Some(Next::Parallel { record, calls, then, .. }), Some(known)) = (&state.next, &state.plan) else {
        return Vec::new();
    };
    let made = |look: &LookUp| group(state).iter().any(|call| call.step == look.name);
    let open: Vec<CallState> = calls
        .iter()
        .filter(|look| !made(look))
        .enumerate()
        .map(|(i, look)| proposed(state, i, look, record.as_ref()))
        .collect();
    let Some(first) = open.first() else {
        return walk(state, &known.leaf.clone(), known.cursor.at(then), now);
    };
    let permitted = |call: &CallState| {
        let request = call_request(state, call, &[]);
        let dial = now.dial.of(request.as_ref(), call);
        request.is_some_and(|request| {
            now.pack.governance.decide(&request, dial.as_ref()).verdict == Verdict::Permit
        })
    };
    if !open.iter().all(permitted) {
        return decide(state, first, &[], now);
    }
    let (mut events, mut after) = (Vec::new(), state.clone());
    for call in &open {
        let new = decide(&after, call, &[], now);
        new.iter().for_each(|event| after.apply(event, now.at));
        events.extend(new);
    }
    events
}

/// One of them ended.
pub(super) fn went(state: &State, call: &CallState, way: Way, reason: &str, now: &Now<'_>) -> Vec<Event> {
    let under_way = |call: &CallState| call.intended_at.is_some() && call.outcome.is_none();
    let calls = group(state);
    if calls.iter().any(under_way) {
        return Vec::new();
    }
    let not_done =
        |call: &CallState| call.outcome.is_some() && !matches!(call.outcome, Some(Outcome::Done { .. }));
    if matches!(way, Way::Done) && !calls.iter().any(not_done) {
        return go_on(state, now);
    }
    let (Some(Next::Parallel { failed, .. }), Some(known)) = (&state.next, &state.plan) else {
        return Vec::new();
    };
    match failed.as_ref().filter(|_| known.cursor.proposed().is_none()) {
        Some(step) => walk(state, &known.leaf.clone(), known.cursor.at(step), now),
        None => escalation(state, &known.leaf.clone(), GENERAL_QUEUE, &format!("`{}`: {reason}", call.tool)),
    }
}

/// Whether the call is one of those that the plan makes side by side just now.
pub(super) fn holds(state: &State, call: &CallState) -> bool {
    matches!(&state.next, Some(Next::Parallel { .. })) && group(state).iter().any(|known| known.id == call.id)
}

fn group(state: &State) -> &[CallState] {
    state.calls.get(state.side_by_side..).unwrap_or_default()
}

fn proposed(state: &State, i: usize, look: &LookUp, record: Option<&RecordId>) -> CallState {
    CallState {
        id: CallId::new(format!("{}.c{}", state.case, state.calls.len() + 1 + i)),
        tool: look.tool.clone(),
        arguments: look.arguments.clone(),
        ..CallState::proposed(&look.name, record.cloned())
    }
}
