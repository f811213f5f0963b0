//! Undoing what a case has done (sagas: Garcia-Molina and Salem 1987): the last call first, each by the compensation that
//! was recorded before it was made, and decided by the rules as any other call. What cannot be undone is a stuck case.

use super::{Now, UNDONE, Way, decide, escalation, plan_changed, walk};
use crate::acting::Outcome;
use crate::base::CallId;
use crate::cases::event::Event;
use crate::cases::state::{CallState, State};
use crate::planning::{Cursor, GENERAL_QUEUE, Next, Risk};
use serde_json::{Value, json};

/// Begins to undo the calls of these steps, or all of this concern, and goes on with the plan at `then`.
pub(super) fn begin(state: &State, steps: Option<&[String]>, then: &str, now: &Now<'_>) -> Vec<Event> {
    let of_plan = |call: &&CallState| {
        let wanted = steps.is_none_or(|steps| steps.contains(&call.step));
        wanted && changes(call, now) && may_have_acted(call)
    };
    let calls = state.calls.iter().skip(state.earlier_calls).rev().filter(of_plan);
    let calls = calls.map(|call| call.id.clone()).collect();
    start(state, calls, Some(then.to_owned()), now)
}

/// A customer takes back what was done for them: the last call, if its time of grace is not over; while a plan waits, a call
/// of that plan, or what it has announced. What is undone already is told again. `None` when there is nothing of the kind, or
/// somebody else speaks.
pub(super) fn regret(state: &State, now: &Now<'_>) -> Option<Vec<Event>> {
    let message = state.message()?;
    let speaks = message.identity.customer().filter(|speaks| state.replied_to.as_ref() == Some(*speaks));
    speaks?;
    let asked_at = now.at.min(message.received_at);
    let within = |call: &&CallState| {
        let grace = call.undo.as_ref().map_or(0, |undo| undo.grace_ms);
        call.intended_at.is_some_and(|intended| grace > 0 && asked_at.since(intended) <= grace)
    };
    let from = if state.waiting.is_some() { state.earlier_calls } else { 0 };
    let made = || state.calls.iter().skip(from).rev().filter(|call| changes(call, now));
    let open = made().find(|call| may_have_acted(call));
    match open.filter(within) {
        Some(call) => Some(start(state, vec![call.id.clone()], None, now)),
        None => {
            let undone = made().any(|call| matches!(call.outcome, Some(Outcome::Compensated { .. })));
            let nothing_left = state.waiting.is_some() || (open.is_none() && undone);
            nothing_left.then(|| start(state, Vec::new(), None, now))
        }
    }
}

/// It is a call of a plan, not one that undoes, and of a tool that does more than read.
fn changes(call: &CallState, now: &Now<'_>) -> bool {
    let reads = now.pack.tools.by_name.get(&call.tool).is_some_and(|tool| tool.risk == Risk::Read);
    call.undoes.is_none() && !reads
}

fn may_have_acted(call: &CallState) -> bool {
    let settled = matches!(call.outcome, Some(Outcome::Failed { .. } | Outcome::Compensated { .. }));
    call.intended_at.is_some() && !settled
}

fn start(state: &State, calls: Vec<CallId>, then: Option<String>, now: &Now<'_>) -> Vec<Event> {
    let mut events = vec![Event::Undoing { calls, then }];
    let mut after = state.clone();
    events.iter().for_each(|event| after.apply(event, now.at));
    events.extend(go_on(&after, now));
    events
}

/// The next call that is to be undone, or what comes when all are.
pub(super) fn go_on(state: &State, now: &Now<'_>) -> Vec<Event> {
    let Some(undoing) = &state.undoing else { return Vec::new() };
    let Some(id) = undoing.calls.first() else { return finished(state, undoing.then.as_deref(), now) };
    let Some(call) = state.calls.iter().find(|call| call.id == *id) else { return Vec::new() };
    match (&call.outcome, &call.undo) {
        // It never happened, or was undone before.
        (Some(Outcome::Failed { .. } | Outcome::Compensated { .. }), _) => undone(state, id, now),
        (Some(Outcome::Done { result, .. }), Some(undo)) => match undo.call(&call.arguments, result) {
            Ok(arguments) => propose(state, call, arguments, now),
            Err(reason) => stuck(call, &format!("the undoing call cannot be made: {reason}")),
        },
        (Some(Outcome::Done { .. }), None) => stuck(call, "its tool has no compensation"),
        (Some(Outcome::Ambiguous { .. }) | None, _) => stuck(call, "nobody knows whether it happened"),
    }
}

fn propose(state: &State, call: &CallState, arguments: Value, now: &Now<'_>) -> Vec<Event> {
    let Some(undo) = &call.undo else { return Vec::new() };
    let undoing = CallState {
        id: CallId::new(format!("{}.c{}", state.case, state.calls.len() + 1)),
        tool: undo.tool.clone(),
        arguments,
        undoes: Some(call.id.clone()),
        ..CallState::proposed(&call.step, call.record.clone())
    };
    decide(state, &undoing, &[], now)
}

/// How an undoing call ended.
pub(super) fn went(state: &State, call: &CallState, way: Way, reason: &str, now: &Now<'_>) -> Vec<Event> {
    let undone_call = call.undoes.as_ref();
    match way {
        Way::Done => undone_call.map_or_else(Vec::new, |id| undone(state, id, now)),
        // A human said no; a human explains it.
        Way::Declined => {
            let leaf = state.plan.as_ref().map_or_else(String::new, |plan| plan.leaf.clone());
            escalation(state, &leaf, GENERAL_QUEUE, &format!("`{}`: {reason}", call.tool))
        }
        Way::Refused | Way::Failed => {
            let of = state.calls.iter().find(|known| Some(&known.id) == undone_call);
            of.map_or_else(Vec::new, |of| stuck(of, &format!("`{}`: {reason}", call.tool)))
        }
    }
}

fn undone(state: &State, call: &CallId, now: &Now<'_>) -> Vec<Event> {
    let mut events = vec![Event::Undone { call: call.clone() }];
    let mut after = state.clone();
    events.iter().for_each(|event| after.apply(event, now.at));
    events.extend(go_on(&after, now));
    events
}

pub(super) fn stuck(call: &CallState, reason: &str) -> Vec<Event> {
    vec![Event::Stuck { reason: format!("`{}` could not be undone: {reason}", call.tool) }]
}

fn finished(state: &State, then: Option<&str>, now: &Now<'_>) -> Vec<Event> {
    let leaf = state.plan.as_ref().map(|plan| plan.leaf.clone());
    match (then, &state.plan) {
        (Some(_), Some(known)) if plan_changed(known, now) => {
            escalation(state, &known.leaf.clone(), GENERAL_QUEUE, super::PLAN_CHANGED)
        }
        (Some(step), Some(known)) => walk(state, &known.leaf.clone(), known.cursor.at(step), now),
        _ => {
            let leaf = leaf.or_else(|| state.reading.as_ref()?.leaf().map(str::to_owned));
            let leaf = leaf.unwrap_or_else(|| "other".to_owned());
            vec![Event::Planned {
                plan: now.pack.plans.by_name.get(&leaf).map(|plan| plan.digest.clone()),
                pack: Some(now.pack.digest.clone()),
                path: vec![UNDONE.to_owned()],
                cursor: Cursor::new(&leaf, UNDONE),
                next: Next::Reply {
                    step: UNDONE.to_owned(),
                    template: UNDONE.to_owned(),
                    with: json!({}),
                    cite: Vec::new(),
                    then: None,
                },
                leaf,
            }]
        }
    }
}
