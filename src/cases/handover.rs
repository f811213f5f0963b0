//! What a person who takes a case over needs to see: what was read and how surely, what was found and done, why it stopped,
//! and what is to be done next.

use super::pack::Pack;
use super::state::{CallState, State, Status};
use super::view::{leaf_of, outcome_name, probability, record_view, summary};
use crate::acting::Outcome;
use crate::governance::Verdict;
use crate::planning::{Leads, Proposal};
use crate::records::SourceStatus;
use serde_json::{Value, json};

/// The package for whoever takes over.
pub fn handover(state: &State, pack: &Pack) -> Value {
    let escalation = state.escalation.as_ref();
    json!({
        "case": state.case,
        "status": state.status,
        "held_by": state.held_by.as_ref().map(|by| &by.name),
        "summary": escalation.map_or_else(|| summary(state), |escalation| escalation.summary.clone()),
        "identity": state.message().map(|message| &message.identity),
        "messages": state.messages.iter().map(|message| {
            json!({"at": message.received_at, "language": message.language, "text": message.text})
        }).collect::<Vec<_>>(),
        "reading": reading(state),
        "facts": facts(state),
        "passages": state.grounds.as_ref().map_or_else(|| json!([]), |grounds| json!(grounds.passages)),
        "steps": steps(state),
        "replies": state.replies,
        "proposals": state.proposals,
        "stopped": stopped(state),
        "proposed": proposed(state, pack),
        "goes_on_at": goes_on_at(state, pack),
    })
}

fn reading(state: &State) -> Value {
    let Some(reading) = &state.reading else { return Value::Null };
    let others: Vec<Value> = reading
        .intents
        .iter()
        .skip(1)
        .map(|intent| json!({"leaf": intent.leaf, "probability": intent.probability}))
        .collect();
    json!({
        "leaf": leaf_of(reading),
        "probability": probability(reading),
        "others": others,
        "cannot_be_excluded": reading.prediction_set,
        "out_of_scope": reading.out_of_scope,
        "tone": reading.tone,
        "fields": reading.fields,
    })
}

fn facts(state: &State) -> Value {
    let Some(facts) = &state.facts else { return Value::Null };
    let unsure = facts.sources.iter().filter(|source| source.status != SourceStatus::Answered);
    json!({
        "records": facts.records.iter().map(record_view).collect::<Vec<_>>(),
        "candidates": facts.candidates.iter().take(3).collect::<Vec<_>>(),
        "sources_in_doubt": unsure.collect::<Vec<_>>(),
        "conflicts": facts.customer.as_ref().map_or(&[][..], |customer| &customer.conflicts),
    })
}

/// What was tried, in order, with what the rules said and what came of it.
fn steps(state: &State) -> Vec<Value> {
    let decided = |call: &CallState| {
        let decisions = state.decisions.iter().rev();
        decisions.into_iter().find(|(id, _)| *id == call.id).map(|(_, decision)| decision)
    };
    let step = |call: &CallState| {
        let result = match &call.outcome {
            Some(Outcome::Done { result, .. }) => Some(result),
            _ => None,
        };
        json!({"step": call.step, "tool": call.tool, "record": call.record, "arguments": call.arguments,
               "decision": decided(call), "outcome": outcome_name(call), "result": result})
    };
    state.calls.iter().map(step).collect()
}

/// The plan that was proposed, unless its call was settled; else the first one that leads to an answer or a question.
fn suggested(state: &State) -> Option<&Proposal> {
    if let Some(plan) = state.plan.as_ref().filter(|plan| plan.cursor.open.is_some()) {
        let settled = |call: &CallState| call.stopped || call.outcome.is_some();
        return plan.proposal(&state.proposals).filter(|_| !state.calls.last().is_some_and(settled));
    }
    let stands = |proposal: &&Proposal| matches!(proposal.leads, Leads::Reply(_) | Leads::Ask(_));
    state.proposals.iter().find(stands)
}

fn stopped(state: &State) -> Value {
    let plan = state.plan.as_ref();
    let escalation = state.escalation.as_ref();
    json!({
        "leaf": plan.map(|plan| &plan.leaf),
        "step": plan.map(|plan| &plan.cursor.step).filter(|step| !step.is_empty()),
        "path": plan.map(|plan| &plan.path),
        "queue": escalation.map(|escalation| &escalation.queue),
        "reason": escalation.map(|escalation| &escalation.reason).or(state.stuck.as_ref()),
    })
}

/// The steps of the case's plan, at any of which it can be given back.
fn goes_on_at(state: &State, pack: &Pack) -> Vec<String> {
    let plan = state.plan.as_ref().and_then(|known| {
        let plans = &pack.plans.by_name;
        plans.get(&known.cursor.plan).or_else(|| plans.get(&known.leaf))
    });
    plan.map_or_else(Vec::new, |plan| plan.steps.keys().cloned().collect())
}

/// The next move, from what stands in the case alone.
fn proposed(state: &State, pack: &Pack) -> Value {
    let step = state.plan.as_ref().map(|plan| plan.cursor.step.clone()).filter(|step| !step.is_empty());
    let reason = state.escalation.as_ref().map_or("", |escalation| escalation.reason.as_str());
    let last = state.calls.last();
    let doubtful =
        last.filter(|call| call.doubted || matches!(call.outcome, Some(Outcome::Ambiguous { .. })));
    let refused = last.filter(|call| {
        let decision = state.decisions.last().filter(|(id, _)| *id == call.id);
        call.intended_at.is_none()
            && decision.is_some_and(|(_, decision)| decision.verdict == Verdict::Refuse)
    });
    let (action, why) = match (doubtful, refused) {
        _ if state.status == Status::Stuck => {
            ("retry", "look at what is stuck, then let it go on".to_owned())
        }
        _ if state.status == Status::WaitingApproval => {
            ("decide", "approve, edit or decline the call".to_owned())
        }
        _ if state.escalation.is_none() => ("none", "no person is needed just now".to_owned()),
        (Some(call), _) => {
            let why = format!(
                "find out whether `{}` was carried out under the key {}, and tell the customer",
                call.tool, call.id
            );
            ("settle", why)
        }
        (_, Some(call)) => {
            let why =
                format!("`{}` was refused; explain it, or do it by hand if the policy lets you", call.tool);
            ("answer", why)
        }
        _ if reason.starts_with("unknown:") => (
            "give_back",
            "find what is missing in the bank's systems, then give the case back there".to_owned(),
        ),
        _ if state.reading.as_ref().is_some_and(|reading| reading.intents.len() > 1) => (
            "give_back",
            "begin with one concern: give the case back with its leaf, and answer the rest".to_owned(),
        ),
        _ if suggested(state).is_some() => {
            let plan = suggested(state).map_or("", |proposal| proposal.plan.as_str());
            let why = format!(
                "no plan is for it, but the one of `{plan}` may be: if it is, give the case back with `leaf` {plan}"
            );
            ("give_back", why)
        }
        _ if goes_on_at(state, pack).is_empty() => {
            ("answer", "no plan covers it: answer, or give it back with the leaf that it is about".to_owned())
        }
        _ => ("answer", "look at what stopped it, answer, or give it back".to_owned()),
    };
    json!({ "action": action, "step": step, "why": why })
}
