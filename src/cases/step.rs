//! Decides what an input means. Pure: time and ids are arguments, and the same input on the same state
//! gives the same events, bit for bit.

use super::event::{Event, ReplyKind};
use super::pack::Pack;
use super::state::{CallState, PlanState, Stage, State, Status, plan_name};
use super::view::{circumstances, leaf_of, plan_view, probability, subject, summary};
use crate::acting::Outcome;
use crate::base::{ApprovalId, CallId, Digest, Timestamp};
use crate::governance::{
    ApprovalRequest, Decision, Evaluation, Principal, Request, Role, Scope, Totals, Verdict, Vote,
};
use crate::intake::{Identity, Message};
use crate::ledger::Secret;
use crate::planning::{
    Advanced, Cursor, GENERAL_QUEUE, HANDOVER, Next, PlanFor, StepKind, Suggestion, advance,
};
use crate::policy::Grounds;
use crate::records::Facts;
use crate::reply::Reply;
use crate::understanding::{Labelled, Reading, Tone};
use serde_json::Value;

mod dial;
mod open;
mod parallel;
mod people;
mod undo;

pub use dial::Dial;
pub use people::Deed;

/// Something that happened and that a case must answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    Received {
        by: Principal,
        message: Message,
    },
    Understood(Reading),
    Found {
        facts: Facts,
        totals: Totals,
        read: Option<Evaluation>,
    },
    /// `suggestions`: see [`Suggestion`].
    Grounded {
        grounds: Grounds,
        suggestions: Vec<Suggestion>,
    },
    Composed {
        reply: Reply,
        disclosed: Option<Evaluation>,
    },
    /// An intent without a result was found.
    Doubted {
        call: CallId,
    },
    Returned {
        call: CallId,
        outcome: Outcome,
    },
    /// The last check, on freshly read facts, did not let the call go.
    Stopped {
        call: CallId,
        decision: Decision,
    },
    Voted {
        vote: Vote,
    },
    /// Nobody decided in time, or the time that the plan waits for is over.
    Expired,
    /// Another system told something about the case.
    Notified {
        by: Principal,
        id: String,
        kind: String,
    },
    /// An operator lets a stuck case go on.
    Retried {
        by: Principal,
    },
    /// What came of several calls that were made side by side.
    Several(Vec<Input>),
    /// A person did something in the case.
    Did {
        by: Principal,
        deed: Deed,
    },
    /// Every driver of the case ended before it got on.
    Parked {
        attempts: u32,
    },
    /// A room could not do its work.
    Failed {
        room: &'static str,
        reason: String,
    },
}

/// What is in force when a step is taken.
pub struct Now<'a> {
    pub at: Timestamp,
    pub pack: &'a Pack,
    /// The case's key: digests of what is personal are keyed with it, and worth nothing once it is destroyed.
    pub key: &'a Secret,
    /// How far the evidence carries.
    pub dial: Dial<'a>,
}

/// The template that everybody gets who is not verified, whatever the records say.
const UNVERIFIED: &str = "unverified";

/// The template that tells a customer that what was done is undone.
pub(super) const UNDONE: &str = "undone";

const WROTE: &str =
    "the customer wrote while the case waited; what it waited for does not happen by itself any more";
const TOO_LATE: &str = "the customer takes something back for which it is too late";
const ASKED: &str = "the customer wishes to speak with a person";
const UPSET: &str = "the customer is upset";
const TRIED: &str = "as many attempts have failed as cases.toml lets the service make (`attempts`)";
const EDITED: &str = "a person changed it, and another one looks at that";
const NOBODY: &str = "no record was found of the customer whom the event names";
const PLAN_CHANGED: &str = "the plan was changed while the case waited";

/// The events that an input causes. No events: the input changes nothing.
pub fn step(state: &State, input: Input, now: &Now<'_>) -> Vec<Event> {
    match input {
        Input::Received { by, message } => vec![Event::Received { by, message }],
        Input::Understood(reading) => {
            let answers = state.waiting.is_some()
                || (state.may_be_answer()
                    && !interrupts(&reading, now)
                    && !asks_for_person(state, now)
                    && !takes_back(state, now));
            vec![Event::Understood { reading, answers }]
        }
        Input::Found { facts, totals, read } => vec![Event::Found { facts, totals, read }],
        Input::Grounded { grounds, suggestions } => {
            with_plan(state, Event::Grounded { grounds, suggestions }, now)
        }
        Input::Composed { reply, disclosed } => composed(state, (reply, disclosed), now),
        Input::Doubted { call } => vec![Event::Doubted { call }],
        Input::Returned { call, outcome } => returned(state, call, outcome, now),
        Input::Stopped { call, decision } => stopped(state, call, decision, now),
        Input::Voted { vote } => voted(state, vote, now),
        Input::Expired => expired(state, now),
        Input::Notified { by, id, kind } => {
            let awaited = state.waiting.as_ref().and_then(|waiting| waiting.awaited.as_ref());
            let taken = state.status == Status::WaitingEvent && awaited == Some(&kind);
            vec![Event::Notified { by, id, kind, taken }]
        }
        Input::Retried { by } => retried(state, by, now),
        Input::Several(inputs) => several(state, inputs, now),
        Input::Did { by, deed } => people::did(state, by, deed, now),
        Input::Parked { attempts } => vec![Event::Stuck {
            reason: format!("the work on it ended {attempts} times without a result; an operator must look"),
        }],
        Input::Failed { room, reason } => failed(state, room, &reason),
    }
}

fn several(state: &State, inputs: Vec<Input>, now: &Now<'_>) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), state.clone());
    for input in inputs {
        let new = step(&after, input, now);
        new.iter().for_each(|event| after.apply(event, now.at));
        events.extend(new);
    }
    events
}

/// Some concerns are heard also when the plan waits for an answer: the wish for a person, a lost card.
fn interrupts(reading: &Reading, now: &Now<'_>) -> bool {
    let service = &now.pack.service;
    service.interrupting.contains(leaf_of(reading)) && probability(reading).get() >= service.interrupt_from
}

/// The one word that every reply offers for reaching a person.
fn asks_for_person(state: &State, now: &Now<'_>) -> bool {
    word(state).is_some_and(|word| now.pack.service.person_words.contains(&word))
}

/// The word for having it undone.
fn takes_back(state: &State, now: &Now<'_>) -> bool {
    word(state).is_some_and(|word| now.pack.service.undo_words.contains(&word))
}

fn word(state: &State) -> Option<String> {
    let message = state.message()?;
    Some(message.text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
}

/// Records the grounds and walks the plan.
fn with_plan(state: &State, grounded: Event, now: &Now<'_>) -> Vec<Event> {
    let mut next = state.clone();
    next.apply(&grounded, now.at);
    let mut events = vec![grounded];
    events.extend(plan(&next, now));
    events
}

fn plan(state: &State, now: &Now<'_>) -> Vec<Event> {
    let Some(leaf) = state.concern().map(str::to_owned) else {
        return escalate_now(state, "the message was not read");
    };
    if takes_back(state, now)
        && let Some(events) = undo::regret(state, now)
    {
        return events;
    }
    if state.waiting.is_some() {
        return escalation(state, &leaf, GENERAL_QUEUE, WROTE);
    }
    let answered = match &state.next {
        Some(Next::Ask { then, .. }) => Some(then),
        _ => state.resumes.as_ref(),
    };
    if let Some(then) = answered
        && let Some(known) = &state.plan
    {
        // The plan goes on where it asked or waited, if it is still that plan.
        if plan_changed(known, now) {
            return escalation(state, &known.leaf.clone(), GENERAL_QUEUE, PLAN_CHANGED);
        }
        let cursor = known.cursor.at(then);
        return walk(state, &known.leaf.clone(), cursor, now);
    }
    if takes_back(state, now) && state.calls.iter().any(|call| call.intended_at.is_some()) {
        return escalation(state, &leaf, GENERAL_QUEUE, TOO_LATE);
    }
    if asks_for_person(state, now) {
        return escalation(state, &leaf, GENERAL_QUEUE, ASKED);
    }
    let Some(reading) =
        state.reading.as_ref().filter(|_| state.message().is_some_and(|said| said.event.is_none()))
    else {
        return told(state, &leaf, now);
    };
    if reading.truncated {
        return escalation(state, &leaf, GENERAL_QUEUE, "the message is longer than the models read");
    }
    if reading.intents.len() > 1 {
        // A plan is for one concern; the others must not get lost behind its answer.
        return escalation(state, &leaf, GENERAL_QUEUE, "the message holds several concerns");
    }
    if probability(reading).get() < now.pack.service.hand_over_below {
        return escalation(state, &leaf, GENERAL_QUEUE, "the reading is too unsure to act on");
    }
    let service = &now.pack.service;
    // What must not wait is dealt with first.
    if !service.interrupting.contains(&leaf) {
        if reading.tone.wants_human.get() >= service.person_from {
            return escalation(state, &leaf, GENERAL_QUEUE, ASKED);
        }
        if is_upset(&reading.tone, service.upset_from) {
            return escalation(state, &leaf, GENERAL_QUEUE, UPSET);
        }
    }
    match now.pack.plans.of_leaf(&leaf) {
        None => open::propose(state, &leaf, now),
        Some(plan) => {
            let cursor = Cursor::new(&leaf, &plan.start);
            walk(state, &leaf, cursor, now)
        }
    }
}

/// What another system told has a plan of its own; nothing was read.
fn told(state: &State, leaf: &str, now: &Now<'_>) -> Vec<Event> {
    match now.pack.plans.of_event(leaf) {
        None => escalation(state, leaf, GENERAL_QUEUE, &format!("no plan for the event `{leaf}`")),
        Some(plan) => walk(state, leaf, Cursor::new(leaf, &plan.start), now),
    }
}

/// Both at once: a negative tone alone is what most concerns have, and haste alone is no feeling.
fn is_upset(tone: &Tone, from: f64) -> bool {
    let surely = |said: &Labelled, label: &str| said.label == label && said.probability.get() >= from;
    surely(&tone.sentiment, "negative") && surely(&tone.urgency, "high")
}

/// Walks from a cursor; a plan for verified customers gives everybody else the uniform answer.
fn walk(state: &State, leaf: &str, cursor: Cursor, now: &Now<'_>) -> Vec<Event> {
    let plans = &now.pack.plans;
    // Also those that run it as a part: it goes back to them.
    let involved =
        |name: &str| plans.by_name.get(name).is_some_and(|plan| plan.audience == PlanFor::Verified);
    let closed = cursor.plans().chain([leaf]).any(involved);
    let verified = matches!(state.message().map(|m| &m.identity), Some(Identity::Verified { .. }));
    let advanced = if closed && !verified {
        let start = cursor.step.clone();
        let next = Next::Ask {
            step: UNVERIFIED.to_owned(),
            template: UNVERIFIED.to_owned(),
            with: Value::Object(serde_json::Map::new()),
            then: start,
        };
        Advanced { trail: vec![(cursor.plan.clone(), UNVERIFIED.to_owned())], cursor, next }
    } else {
        advance(plans, &cursor, &plan_view(state, now.at), &state.asked)
    };
    // Who has not written, and of whom nothing is known, is asked for nothing.
    let told = state.messages.iter().all(|message| message.event.is_some());
    let nothing = state.facts.as_ref().is_none_or(|facts| facts.records.is_empty());
    if told && nothing && matches!(advanced.next, Next::Ask { .. }) {
        return escalation(state, leaf, GENERAL_QUEUE, NOBODY);
    }
    let acts = matches!(advanced.next, Next::Call { .. } | Next::Parallel { .. });
    if acts && state.failed_attempts() >= now.pack.service.attempts {
        let reason = format!("{}; the next would be step `{}`", TRIED, advanced.cursor.step);
        return escalation(state, leaf, GENERAL_QUEUE, &reason);
    }
    planned(state, leaf, advanced, now)
}

fn planned(state: &State, leaf: &str, advanced: Advanced, now: &Now<'_>) -> Vec<Event> {
    if advanced.cursor.proposed().is_some() && !open::allows(&advanced.next, now) {
        return escalation(state, leaf, GENERAL_QUEUE, open::NOT_LISTED);
    }
    let of = plan_name(leaf, &advanced.cursor);
    let digest = now.pack.plans.by_name.get(of).map(|plan| plan.digest.clone());
    let next = advanced.next.clone();
    let mut events = vec![Event::Planned {
        leaf: leaf.to_owned(),
        plan: digest,
        pack: Some(now.pack.digest.clone()),
        path: advanced.path(),
        cursor: advanced.cursor,
        next: advanced.next,
    }];
    let mut after = state.clone();
    for event in &events {
        after.apply(event, now.at);
    }
    events.extend(match next {
        Next::Call { step, tool, record, arguments } => {
            let id = CallId::new(format!("{}.c{}", state.case, state.calls.len() + 1));
            let call = CallState { id, tool, arguments, ..CallState::proposed(&step, record) };
            decide(&after, &call, &[], now)
        }
        // It came before anybody waited for it.
        Next::Wait { event: Some(event), then, arrived, .. } if state.early.contains(&event) => {
            let to = arrived.unwrap_or(then);
            let cursor = after.plan.as_ref().map(|plan| plan.cursor.at(&to));
            cursor.map_or_else(Vec::new, |cursor| walk(&after, leaf, cursor, now))
        }
        Next::Wait { step, milliseconds, event, .. } => {
            let until = now.at.plus_millis(milliseconds);
            vec![Event::Waiting { step, until, milliseconds, awaited: event }]
        }
        Next::Undo { calls, then, .. } => undo::begin(&after, calls.as_deref(), &then, now),
        Next::Parallel { .. } => parallel::go_on(&after, now),
        Next::Ask { .. } | Next::Reply { .. } | Next::Escalate { .. } | Next::Resolve { .. } => Vec::new(),
    });
    events
}

/// Judges a proposed call and records what follows: the intent, a question to a human, or the way on.
fn decide(state: &State, call: &CallState, votes: &[Vote], now: &Now<'_>) -> Vec<Event> {
    let request = call_request(state, call, votes);
    let dial = now.dial.of(request.as_ref(), call);
    let decision = match &request {
        Some(_) if !within_limit(now.pack, call) => Decision::refused(&call.tool, ABOVE_LIMIT),
        Some(request) => {
            let decision = now.pack.governance.decide(request, dial.as_ref());
            match call.edited_by.is_some() && votes.is_empty() && decision.verdict == Verdict::Permit {
                true => Decision {
                    verdict: Verdict::Ask,
                    approvals_needed: 1,
                    reason: EDITED.to_owned(),
                    ..decision
                },
                false => decision,
            }
        }
        None => Decision::refused(&call.tool, "the call has no record that the customer may act on"),
    };
    let mut events = vec![Event::Decided {
        call: call.id.clone(),
        step: call.step.clone(),
        record: call.record.clone(),
        arguments: call.arguments.clone(),
        decision: decision.clone(),
        undoes: call.undoes.clone(),
        dial,
    }];
    let mut after = state.clone();
    for event in &events {
        after.apply(event, now.at);
    }
    match (decision.verdict, &call.record) {
        (Verdict::Permit, Some(record)) => events.push(Event::Intended {
            call: call.id.clone(),
            step: call.step.clone(),
            tool: call.tool.clone(),
            record: record.clone(),
            arguments: call.arguments.clone(),
            payload: Some(now.key.digest("payload", &[call.arguments.to_string().as_bytes()])),
            plan: state.plan.as_ref().and_then(|plan| plan.digest.clone()),
            undo: now.pack.tools.by_name.get(&call.tool).and_then(|tool| tool.undo.clone()),
        }),
        (Verdict::Ask, _) => events.push(Event::ApprovalAsked {
            approval: ApprovalRequest {
                id: ApprovalId::new(format!("{}.a{}", state.case, state.decisions.len() + 1)),
                call: call.id.clone(),
                binding: binding(&after, call, now),
                needed: decision.approvals_needed,
                security: decision.security,
                // Who decides does not change with what else does.
                delegated: state
                    .approval
                    .as_ref()
                    .filter(|(asked, _)| asked.call == call.id)
                    .and_then(|(asked, _)| asked.delegated)
                    .filter(|to| !decision.security || *to == Role::Security),
                expires_at: now.at.plus_millis(now.pack.service.approval_hours.saturating_mul(3_600_000)),
            },
        }),
        _ => events.extend(go_on(&after, call, Way::Refused, &decision.reason, now)),
    }
    events
}

pub(super) const ABOVE_LIMIT: &str =
    "above the tool's own limit, or without an amount that can be compared with it";

/// Whether a call keeps the tool's own limit. A missing amount or another currency does not.
pub(super) fn within_limit(pack: &Pack, call: &CallState) -> bool {
    let tool = pack.tools.by_name.get(&call.tool);
    tool.is_none_or(|tool| tool.within_limit(call.amount()))
}

pub(super) fn call_request(state: &State, call: &CallState, votes: &[Vote]) -> Option<Request> {
    let record = call.record.as_ref()?;
    let read = state.facts.as_ref()?.records.iter().find(|read| read.id == *record)?;
    let mut circumstances = circumstances(state)?;
    // What undoes a call is judged as that call was, also when the customer asks for it later.
    let undone = call.undoes.as_ref().and_then(|id| state.calls.iter().find(|known| known.id == *id));
    circumstances.open = circumstances.open.or_else(|| undone?.open.clone());
    let amount = call.amount();
    let scopes = Scope::of_call(&call.tool, &circumstances.customer, record);
    let mut totals = state.totals.clone();
    if call.intended_at.is_none() {
        // From its intent on it is among them.
        totals.add(&scopes, amount);
    }
    circumstances.amount = amount;
    circumstances.spent = totals.of(&scopes, amount);
    circumstances.approvers = votes.iter().filter(|vote| vote.approve).map(Vote::approver).collect();
    Some(Request { tool: call.tool.clone(), subject: subject(read), circumstances })
}

/// Everything that an approver is shown. A change in any of it makes another binding.
pub(super) fn binding(state: &State, call: &CallState, now: &Now<'_>) -> Digest {
    let record = call.record.as_ref().and_then(|id| {
        state.facts.as_ref().and_then(|facts| facts.records.iter().find(|record| record.id == *id))
    });
    let shown = serde_json::json!({
        "plan": state.plan.as_ref().map(|plan| (&plan.leaf, &plan.digest, &plan.path)),
        "call": [call.id.as_str(), &call.tool],
        "arguments": call.arguments,
        "record": record.map(|record| (&record.id, &record.owner, &record.fields)),
        "identity": state.message().map(|message| &message.identity),
        // What the customer writes meanwhile may change a person's mind.
        "messages": state.messages.len(),
        "rules": now.pack.governance.rules.digest(),
        "autonomy": now.pack.governance.autonomy.digest(),
    });
    now.key.digest("approval", &[shown.to_string().as_bytes()])
}

/// Whether the plan is not the one that the case began with: its pack cannot be had.
fn plan_changed(known: &PlanState, now: &Now<'_>) -> bool {
    known.pack.as_ref().is_some_and(|pack| *pack != now.pack.digest)
        || known.digest.as_ref() != now.pack.plans.by_name.get(known.name()).map(|plan| &plan.digest)
}

/// How a call ended, as far as the plan cares.
#[derive(Clone, Copy)]
enum Way {
    Done,
    Refused,
    Failed,
    Declined,
}

/// Goes on after a call at the step that the plan names, or hands over when it names none.
fn go_on(state: &State, call: &CallState, way: Way, reason: &str, now: &Now<'_>) -> Vec<Event> {
    if call.undoes.is_some() {
        return undo::went(state, call, way, reason, now);
    }
    if parallel::holds(state, call) {
        return parallel::went(state, call, way, reason, now);
    }
    let Some(known) = &state.plan else { return escalate_now(state, reason) };
    if plan_changed(known, now) {
        return escalation(state, &known.leaf.clone(), GENERAL_QUEUE, PLAN_CHANGED);
    }
    let kind = now
        .pack
        .plans
        .by_name
        .get(&known.cursor.plan)
        .and_then(|plan| plan.steps.get(&call.step))
        .map(|step| &step.kind);
    let target = match (kind, way) {
        // Nobody has confirmed that the plan is about what the customer wants: only what was approved speaks for it.
        (_, Way::Refused | Way::Failed | Way::Declined) if known.cursor.proposed().is_some() => None,
        (Some(StepKind::Call { done, .. }), Way::Done) => Some(done),
        (Some(StepKind::Call { refused, .. }), Way::Refused) => refused.as_ref(),
        (Some(StepKind::Call { failed, .. }), Way::Failed) => failed.as_ref(),
        (Some(StepKind::Call { declined, .. }), Way::Declined) => declined.as_ref(),
        _ => None,
    };
    match target {
        Some(step) => walk(state, &known.leaf.clone(), known.cursor.at(step), now),
        None => escalation(state, &known.leaf.clone(), GENERAL_QUEUE, &format!("`{}`: {reason}", call.tool)),
    }
}

fn returned(state: &State, id: CallId, outcome: Outcome, now: &Now<'_>) -> Vec<Event> {
    let Some(call) = state.calls.iter().find(|call| call.id == id && call.outcome.is_none()) else {
        // A second answer to a settled call changes nothing.
        return Vec::new();
    };
    let call = call.clone();
    let event = Event::Returned { call: id, outcome: outcome.clone() };
    let mut after = state.clone();
    after.apply(&event, now.at);
    let mut events = vec![event];
    events.extend(match outcome {
        Outcome::Done { .. } => go_on(&after, &call, Way::Done, "", now),
        Outcome::Failed { reason } => go_on(&after, &call, Way::Failed, &reason, now),
        Outcome::Compensated { reason } => go_on(&after, &call, Way::Failed, &reason, now),
        // It is settled by its own rule once more when an operator lets the case go on.
        Outcome::Ambiguous { reason } if call.undoes.is_some() => {
            undo::went(&after, &call, Way::Failed, &format!("ambiguous: {reason}"), now)
        }
        // It only read.
        Outcome::Ambiguous { reason } if parallel::holds(&after, &call) => {
            go_on(&after, &call, Way::Failed, &reason, now)
        }
        // Nobody knows whether it happened: no plan may guess, a human looks.
        Outcome::Ambiguous { reason } => {
            let leaf = after.plan.as_ref().map_or_else(String::new, |plan| plan.leaf.clone());
            escalation(&after, &leaf, GENERAL_QUEUE, &format!("`{}` is ambiguous: {reason}", call.tool))
        }
    });
    events
}

/// The world changed between the decision and the call.
fn stopped(state: &State, id: CallId, decision: Decision, now: &Now<'_>) -> Vec<Event> {
    let Some(call) = state.calls.iter().find(|call| call.id == id).cloned() else { return Vec::new() };
    let reason = format!("stopped just before the call: {}", decision.reason);
    let outcome = Event::Returned { call: id.clone(), outcome: Outcome::Failed { reason: reason.clone() } };
    let decided = Event::Decided {
        call: id,
        step: call.step.clone(),
        record: call.record.clone(),
        arguments: call.arguments.clone(),
        decision,
        undoes: call.undoes.clone(),
        dial: None,
    };
    let mut after = state.clone();
    after.apply(&decided, now.at);
    after.apply(&outcome, now.at);
    let mut events = vec![decided, outcome];
    events.extend(go_on(&after, &call, Way::Refused, &reason, now));
    events
}

fn voted(state: &State, vote: Vote, now: &Now<'_>) -> Vec<Event> {
    let Some((request, votes)) = &state.approval else { return Vec::new() };
    let Some(call) = state.calls.iter().find(|call| call.id == request.call).cloned() else {
        return Vec::new();
    };
    let event = Event::Voted { approval: request.id.clone(), vote: vote.clone() };
    let mut after = state.clone();
    after.apply(&event, now.at);
    let mut events = vec![event];
    if !vote.approve {
        let reason = vote.reason.as_deref().unwrap_or("declined without a reason");
        events.extend(go_on(&after, &call, Way::Declined, reason, now));
        return events;
    }
    if binding(state, &call, now) != request.binding {
        // Rules, dial or plan are others than those that were shown: people are asked again.
        events.extend(decide(&after, &call, &[], now));
        return events;
    }
    let mut votes = votes.clone();
    votes.push(vote);
    if (votes.len() as u32) < request.needed {
        return events;
    }
    events.extend(decide(&after, &call, &votes, now));
    events
}

/// What nobody decided goes the way of what was declined; after a time that the plan waits for, it goes on.
fn expired(state: &State, now: &Now<'_>) -> Vec<Event> {
    if let (Status::WaitingEvent, Some(waiting)) = (state.status, &state.waiting) {
        let over = now.at >= waiting.until;
        return over.then(|| Event::Elapsed { step: waiting.step.clone() }).into_iter().collect();
    }
    let Some((request, _)) = &state.approval else { return Vec::new() };
    if state.status != Status::WaitingApproval || now.at < request.expires_at {
        return Vec::new();
    }
    let Some(call) = state.calls.iter().find(|call| call.id == request.call).cloned() else {
        return Vec::new();
    };
    let event = Event::Expired { approval: request.id.clone() };
    let mut after = state.clone();
    after.apply(&event, now.at);
    let mut events = vec![event];
    events.extend(go_on(&after, &call, Way::Declined, "nobody decided in time", now));
    events
}

fn composed(state: &State, (reply, disclosed): (Reply, Option<Evaluation>), now: &Now<'_>) -> Vec<Event> {
    let replied = |kind| Event::Replied { kind, reply, disclosed };
    match &state.next {
        // Also where what was done before is to be undone, and `next` is what was told then.
        _ if state.status == Status::WaitingApproval => vec![replied(ReplyKind::Waits)],
        Some(Next::Ask { .. }) => vec![replied(ReplyKind::Asks)],
        Some(Next::Reply { then: None, .. }) => vec![replied(ReplyKind::Resolves)],
        // The plan goes on after the text.
        Some(Next::Reply { then: Some(step), .. }) => {
            let mut events = vec![replied(ReplyKind::Informs)];
            let Some(known) = state.plan.clone() else { return events };
            let mut after = state.clone();
            events.iter().for_each(|event| after.apply(event, now.at));
            let cursor = known.cursor.at(step);
            events.extend(walk(&after, &known.leaf, cursor, now));
            events
        }
        Some(Next::Escalate { queue, reason, .. }) => vec![
            Event::Escalated { queue: queue.clone(), reason: reason.clone(), summary: summary(state) },
            replied(ReplyKind::HandsOver),
        ],
        _ if state.status == Status::WaitingEvent => {
            vec![replied(ReplyKind::Waits)]
        }
        Some(
            Next::Call { .. }
            | Next::Parallel { .. }
            | Next::Wait { .. }
            | Next::Undo { .. }
            | Next::Resolve { .. },
        )
        | None => Vec::new(),
    }
}

/// A stuck case goes on with what was due, or with what is left to be undone.
fn retried(state: &State, by: Principal, now: &Now<'_>) -> Vec<Event> {
    if state.status != Status::Stuck {
        return Vec::new();
    }
    let mut events = vec![Event::Retried { by }];
    let mut after = state.clone();
    events.iter().for_each(|event| after.apply(event, now.at));
    if after.stage == Stage::Waiting {
        events.extend(undo::go_on(&after, now));
    }
    events
}

/// A room failed. The customer is handed over; when even that text cannot be made, an operator is told.
fn failed(state: &State, room: &str, reason: &str) -> Vec<Event> {
    let reason = format!("{room}: {reason}");
    if matches!(&state.next, Some(Next::Escalate { template, .. }) if template == HANDOVER) {
        return vec![Event::Stuck { reason }];
    }
    escalate_now(state, &reason)
}

fn escalate_now(state: &State, reason: &str) -> Vec<Event> {
    let leaf = state
        .plan
        .as_ref()
        .map(|plan| plan.leaf.clone())
        .or_else(|| state.reading.as_ref().map(|reading| leaf_of(reading).to_owned()))
        .unwrap_or_else(|| "other".to_owned());
    escalation(state, &leaf, GENERAL_QUEUE, reason)
}

fn escalation(state: &State, leaf: &str, queue: &str, reason: &str) -> Vec<Event> {
    let cursor = state.plan.as_ref().map_or_else(|| Cursor::new(leaf, ""), |plan| plan.cursor.clone());
    vec![Event::Planned {
        leaf: leaf.to_owned(),
        plan: state.plan.as_ref().and_then(|plan| plan.digest.clone()),
        pack: state.plan.as_ref().and_then(|plan| plan.pack.clone()),
        path: Vec::new(),
        cursor,
        next: Next::Escalate {
            step: String::new(),
            queue: queue.to_owned(),
            reason: reason.to_owned(),
            template: HANDOVER.to_owned(),
        },
    }]
}
