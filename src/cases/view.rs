//! What others get to see of a case: plans and rules, staff, the customer.

use super::state::{CallState, State, Status};
use crate::acting::Outcome;
use crate::base::{Probability, Timestamp};
use crate::governance::{ApprovalRequest, Circumstances, Subject, Vote};
use crate::intake::Identity;
use crate::ledger::Entry;
use crate::planning::{Leads, Proposal, Reason, Shape};
use crate::records::{Basis, Facts, Record, Relation, SourceStatus};
use crate::understanding::Reading;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The variables that plans' conditions see. `record` is there only when exactly one record is left.
pub fn plan_view(state: &State, at: Timestamp) -> Value {
    let facts = state.facts.clone().unwrap_or_default();
    let records: Vec<Value> = facts.records.iter().map(record_view).collect();
    let identity = state.message().map(|message| &message.identity);
    let assurance = match identity {
        Some(Identity::Verified { assurance, .. }) => assurance.as_str(),
        _ => "none",
    };
    let calls: Map<String, Value> = state
        .calls
        .iter()
        .skip(state.earlier_calls)
        .filter(|call| call.undoes.is_none())
        .map(|call| (call.step.clone(), call_view(call)))
        .collect();
    let mut view = json!({
        "now": at,
        "facts": {
            "selected": facts.selected.len(),
            "basis": facts.basis,
            "complete": facts.complete(),
            "cached": facts.cached(),
            "differs": differing(&facts),
        },
        "records": records,
        "identity": {"verified": assurance != "none", "assurance": assurance},
        "calls": calls,
        "message": {"text": state.message().map(|message| &message.text)},
        "memory": memory(state),
    });
    if let Some(Value::Object(told)) = view.get_mut("facts")
        && let Some(conflicts) = conflicts(&facts)
    {
        told.insert("conflicts".to_owned(), json!(conflicts));
    }
    if let Value::Object(members) = &mut view {
        if let Some(reading) = &state.reading {
            members.insert("reading".to_owned(), reading_view(reading));
        }
        if let Some(answer) = &state.answer {
            let said = json!({"leaf": leaf_of(answer), "probability": probability(answer)});
            members.insert("answer".to_owned(), said);
        }
        if let [record] = facts.records.as_slice() {
            members.insert("record".to_owned(), record_view(record));
        }
    }
    view
}

/// What was tried in this case, for any of its concerns, and what came of it.
fn memory(state: &State) -> Value {
    let tried = state.calls.iter().enumerate().filter(|(_, call)| call.undoes.is_none()).map(|(i, call)| {
        let outcome = if call.stopped { "stopped" } else { outcome_name(call) };
        json!({"tool": call.tool, "step": call.step, "outcome": outcome, "earlier": i < state.earlier_calls})
    });
    let asked = state.asked.iter().map(|(step, times)| json!({"step": step, "times": times}));
    json!({
        "tried": tried.collect::<Vec<_>>(),
        "asked": asked.collect::<Vec<_>>(),
        "failed": state.failed_attempts(),
        "messages": state.messages.len(),
    })
}

/// The names and types in `plan_view`, for checking plans. `record` is the shape of one record's fields; `calls` are of
/// each plan.
pub fn plan_shape<'a>(
    record: Shape,
    leaves: impl IntoIterator<Item = &'a str> + Clone,
    tools: impl IntoIterator<Item = &'a str>,
) -> Shape {
    let record = record.with("id", Shape::Text).with("relation", Shape::one_of(["owner", "authorised"]));
    let facts = [
        ("selected", Shape::Int),
        ("basis", Shape::one_of(["values", "identity"])),
        ("complete", Shape::Bool),
        ("cached", Shape::Bool),
        ("conflicts", Shape::optional(Shape::list(Shape::Text))),
        ("differs", Shape::object([("field", Shape::Text), ("count", Shape::Int)])),
    ];
    let reading = [
        ("leaf", Shape::one_of(leaves.clone())),
        ("probability", Shape::Number),
        ("urgency", Shape::one_of(["low", "normal", "high"])),
        ("sentiment", Shape::one_of(["negative", "neutral", "positive"])),
        ("wants_human", Shape::Number),
        ("out_of_scope", Shape::Number),
    ];
    let answer = Shape::object([("leaf", Shape::one_of(leaves)), ("probability", Shape::Number)]);
    let outcomes = ["proposed", "stopped", "intended", "done", "failed", "ambiguous", "compensated"];
    let tried = [
        ("tool", Shape::one_of(tools)),
        ("step", Shape::Text),
        ("outcome", Shape::one_of(outcomes)),
        ("earlier", Shape::Bool),
    ];
    let memory = [
        ("tried", Shape::list(Shape::object(tried))),
        ("asked", Shape::list(Shape::object([("step", Shape::Text), ("times", Shape::Int)]))),
        ("failed", Shape::Int),
        ("messages", Shape::Int),
    ];
    Shape::object([
        ("now", Shape::Time),
        ("facts", Shape::object(facts)),
        ("records", Shape::list(record.clone())),
        ("record", Shape::optional(record)),
        (
            "identity",
            Shape::object([
                ("verified", Shape::Bool),
                ("assurance", Shape::one_of(["none", "login", "sca"])),
            ]),
        ),
        ("reading", Shape::object(reading)),
        ("answer", Shape::optional(answer)),
        ("calls", Shape::Any),
        ("memory", Shape::object(memory)),
        ("message", Shape::object([("text", Shape::Text)])),
    ])
}

pub(super) fn record_view(record: &Record) -> Value {
    let mut fields = record.fields.clone();
    fields.insert("id".to_owned(), json!(record.id));
    fields.insert("relation".to_owned(), json!(record.relation));
    Value::Object(fields)
}

/// Fields of the person in which sources disagree; `None` where that is not known.
fn conflicts(facts: &Facts) -> Option<&[String]> {
    match &facts.customer {
        Some(customer) => facts.complete().then_some(&customer.conflicts),
        None => (facts.sources.len() < 2).then_some(&[]),
    }
}

/// What tells the verified customer's records apart, without naming any of them.
fn differing(facts: &Facts) -> Value {
    let ask = facts.ask.as_ref().filter(|_| facts.records.len() > 1);
    ask.map_or(json!({}), |ask| json!({"field": ask.field, "count": ask.count}))
}

pub(super) fn outcome_name(call: &CallState) -> &'static str {
    match &call.outcome {
        Some(Outcome::Done { .. }) => "done",
        Some(Outcome::Failed { .. }) => "failed",
        Some(Outcome::Ambiguous { .. }) => "ambiguous",
        Some(Outcome::Compensated { .. }) => "compensated",
        None if call.doubted => "ambiguous",
        None if call.intended_at.is_some() => "intended",
        None => "proposed",
    }
}

fn call_view(call: &CallState) -> Value {
    match &call.outcome {
        Some(Outcome::Done { result, stale }) => {
            json!({"outcome": "done", "result": result, "stale": stale, "arguments": call.arguments})
        }
        _ => json!({"outcome": outcome_name(call)}),
    }
}

/// A record as the rules see it. A flag that is missing counts as set: nothing is done on an account
/// whose state is not known.
pub(super) fn subject(record: &Record) -> Subject {
    let flagged = record.fields.get("flags").and_then(|flags| flags.get("fraud")).and_then(Value::as_bool);
    Subject::Record {
        id: record.id.clone(),
        owner: record.owner.clone(),
        authorised: record.relation == Relation::Authorised,
        flagged: flagged.unwrap_or(true),
    }
}

/// The circumstances of the message at hand; `None` unless its sender is verified. What counts is how fresh
/// the identity was when the customer asked, not when somebody got round to approving.
pub(super) fn circumstances(state: &State) -> Option<Circumstances> {
    let message = state.message()?;
    let Identity::Verified { customer, assurance, at: verified_at } = &message.identity else {
        return None;
    };
    let read_as = || state.concern().map(str::to_owned);
    let open =
        state.plan.as_ref().filter(|plan| plan.cursor.open.is_some()).map(|plan| plan.name().to_owned());
    let leaf = state.plan.as_ref().map(|plan| plan.leaf.clone()).or_else(read_as).unwrap_or_default();
    // What a system told was not read, so that there is nothing to be unsure of.
    let told = state.messages.iter().any(|message| message.event.as_ref() == Some(&leaf));
    let unread = if told { Probability::ONE } else { Probability::ZERO };
    let confidence = state.reading.as_ref().map_or(unread, |reading| probability_of(reading, &leaf));
    Some(Circumstances {
        customer: customer.clone(),
        assurance: assurance.as_str(),
        identity_age_seconds: message.received_at.since(*verified_at).max(0) / 1000,
        confidence,
        leaf,
        initiator: state.opened_by.as_ref().map_or_else(String::new, |by| by.name.clone()),
        open,
        ..Circumstances::unknown()
    })
}

/// What was found, in a few lines for the person who takes over.
pub(super) fn summary(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reading) = &state.reading {
        let percent = probability(reading).get() * 100.0;
        lines.push(format!("read as `{}` ({percent:.0} %)", leaf_of(reading)));
        for intent in reading.intents.iter().skip(1) {
            let percent = intent.probability.get() * 100.0;
            lines.push(format!("and as `{}` ({percent:.0} %)", intent.leaf));
        }
        lines.push(format!("cannot be excluded: {}", reading.prediction_set.join(", ")));
    }
    if let Some(facts) = &state.facts {
        let best: Vec<String> =
            facts.candidates.iter().take(3).map(|found| format!("{} ({})", found.id, found.score)).collect();
        lines.push(format!(
            "candidates: {}",
            if best.is_empty() { "none".to_owned() } else { best.join(", ") }
        ));
        let explained = facts.candidates.iter().take(1).filter(|best| !best.explanation.is_empty());
        lines.extend(explained.map(|best| format!("{}: {}", best.id, best.explanation)));
        if facts.basis == Basis::Identity {
            lines.push("the message names no account; the verified customer's own were taken".to_owned());
        }
        for source in facts.sources.iter().filter(|source| source.status != SourceStatus::Answered) {
            lines.push(format!("source `{}` did not answer fully", source.name));
        }
        for field in facts.customer.iter().flat_map(|customer| &customer.conflicts) {
            lines.push(format!("the bank's systems disagree on `{field}`"));
        }
    }
    if let Some(plan) = &state.plan {
        lines.push(format!("plan `{}`: {}", plan.leaf, plan.path.join(" > ")));
    }
    lines.extend(state.proposals.iter().map(proposed));
    for call in &state.calls {
        lines.push(format!("`{}`: {}", call.tool, outcome_name(call)));
    }
    lines
}

/// What a suggested plan would do, and why it was suggested.
fn proposed(proposal: &Proposal) -> String {
    let leads = match &proposal.leads {
        Leads::Call(tools) => format!("would call `{}`", tools.join("`, `")),
        Leads::NotAllowed(tools) => format!("would call `{}`, which may not be proposed", tools.join("`, `")),
        Leads::Reply(template) => format!("would answer with `{template}`"),
        Leads::Ask(template) => format!("would ask `{template}`"),
        Leads::Nothing(reason) => format!("leads nowhere here: {reason}"),
    };
    let because: Vec<String> = proposal
        .because
        .iter()
        .map(|reason| match reason {
            Reason::Case { case, likeness, .. } => format!("like case {case} ({:.0} %)", likeness * 100.0),
            Reason::Reading { probability } => {
                format!("the message may be about it ({:.0} %)", probability.get() * 100.0)
            }
            Reason::Passage { document, version, section } => {
                format!("{document} {version}, {}", section.join(" > "))
            }
        })
        .collect();
    format!("suggested plan `{}` {leads}; because: {}", proposal.plan, because.join("; "))
}

/// The contract's staff view of a case.
pub fn staff_view(state: &State) -> Value {
    let decisions: Vec<Value> = state
        .decisions
        .iter()
        .map(|(call, decision)| {
            json!({"tool": decision.tool, "verdict": decision.verdict, "policies": decision.policies,
                   "reason": decision.reason, "call": call})
        })
        .collect();
    let calls: Vec<Value> = state
        .calls
        .iter()
        .filter(|call| call.intended_at.is_some())
        .map(|call| {
            let reason = match &call.outcome {
                Some(Outcome::Failed { reason } | Outcome::Ambiguous { reason }) => Some(reason),
                _ => None,
            };
            let result = match &call.outcome {
                Some(Outcome::Done { result, .. }) => Some(result),
                _ => None,
            };
            json!({"tool": call.tool, "key": call.id, "record": call.record, "arguments": call.arguments,
                   "outcome": outcome_name(call), "result": result, "reason": reason, "edited_by": call.edited_by,
                   "stale": matches!(call.outcome, Some(Outcome::Done { stale: true, .. }))})
        })
        .collect();
    json!({
        "case": state.case,
        "status": state.status,
        "opened_at": state.opened_at,
        "updated_at": state.updated_at,
        "messages": state.messages,
        "reading": state.reading,
        "facts": state.facts,
        "grounds": state.grounds,
        "plan": state.plan.as_ref().map(|plan| json!({
            "leaf": plan.leaf, "path": plan.path, "digest": plan.digest,
            "proposed": plan.cursor.proposed(),
        })),
        "proposals": state.proposals,
        "decisions": decisions,
        "calls": calls,
        "approval": state.approval.as_ref().map(|(request, votes)| json!({"request": request, "votes": votes})),
        "waiting": state.waiting,
        "held_by": state.held_by.as_ref().map(|by| &by.name),
        "stuck": state.stuck,
        "reply": state.replies.last(),
        "escalation": state.escalation.as_ref().map(|escalation| json!({
            "queue": escalation.queue,
            "reason": escalation.reason,
            "summary": escalation.summary,
            "investigation": {
                "messages": state.messages, "reading": state.reading, "facts": state.facts,
                "grounds": state.grounds, "decisions": decisions, "calls": calls,
            },
        })),
    })
}

/// All that a channel gets to see. A reply to a verified customer may hold their data, so it is not shown any
/// more once somebody else, or nobody verified, has written in the case. Why a human has the case, and that an approval is waited for, stay
/// inside.
pub fn customer_view(state: &State) -> Value {
    let status = match state.status {
        Status::WaitingApproval | Status::Stuck => Status::WithHuman,
        other => other,
    };
    let reply = state.replies.last().filter(|_| state.reply_is_for_speaker());
    json!({"case": state.case, "status": status, "reply": reply})
}

/// One line of an approver's list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PendingApproval {
    pub request: ApprovalRequest,
    pub votes: Vec<Vote>,
    pub case: crate::base::CaseId,
    pub leaf: String,
    pub path: Vec<String>,
    /// The plan that was proposed, and why, where the leaf has none.
    pub proposal: Option<Proposal>,
    pub tool: String,
    pub arguments: Value,
    pub record: Value,
    pub summary: Vec<String>,
    /// What the customer has written since.
    pub since: Vec<String>,
}

impl PendingApproval {
    pub(super) fn of(state: &State) -> Option<Self> {
        let (request, votes) = state.approval.as_ref()?;
        let call = state.calls.iter().find(|call| call.id == request.call)?;
        // A customer who takes something back has no plan.
        let plan = state.plan.as_ref();
        let read_as = || state.reading.as_ref().map(|reading| leaf_of(reading).to_owned());
        let record =
            state.facts.as_ref()?.records.iter().find(|record| Some(&record.id) == call.record.as_ref());
        Some(Self {
            request: request.clone(),
            votes: votes.clone(),
            case: state.case.clone(),
            leaf: plan.map(|plan| plan.leaf.clone()).or_else(read_as).unwrap_or_default(),
            path: plan.map_or_else(Vec::new, |plan| plan.path.clone()),
            proposal: plan.and_then(|plan| plan.proposal(&state.proposals)).cloned(),
            tool: call.tool.clone(),
            arguments: call.arguments.clone(),
            record: record.map_or(Value::Null, record_view),
            summary: summary(state),
            since: state
                .messages
                .iter()
                .skip(state.working_on + 1)
                .map(|message| message.text.clone())
                .collect(),
        })
    }
}

/// Every step with its inputs, outputs, digests and times, as the ledger has them.
pub fn trace(entries: &[Entry]) -> Vec<Value> {
    let mut previous: Option<Timestamp> = None;
    entries
        .iter()
        .map(|entry| {
            let millis = previous.map_or(0, |before| entry.at.since(before));
            previous = Some(entry.at);
            json!({
                "seq": entry.seq, "position": entry.index.map(|index| index + 1), "event": entry.kind, "at": entry.at,
                "milliseconds_since_previous": millis, "digests": entry.digests, "hash": entry.hash,
                "body": entry.body,
            })
        })
        .collect()
}

/// The leaf that chooses the plan.
pub(super) fn leaf_of(reading: &Reading) -> &str {
    reading.leaf().unwrap_or("other")
}

/// How sure the reading is of a leaf; a person may have named another one than it did.
fn probability_of(reading: &Reading, leaf: &str) -> Probability {
    let known = reading.intents.iter().find(|intent| intent.leaf == leaf);
    known.map_or(Probability::ZERO, |intent| intent.probability)
}

pub(super) fn probability(reading: &Reading) -> Probability {
    reading.intents.first().map_or(Probability::ZERO, |intent| intent.probability)
}

/// What a look-up asks for: every value and variant that was said, by field.
pub(super) fn lookup_values(reading: &Reading) -> BTreeMap<String, Vec<String>> {
    let fields = reading.fields.values().flatten();
    fields
        .filter(|(_, values)| !values.is_empty())
        .map(|(field, values)| {
            let mut said = Vec::new();
            for value in values {
                let typed = std::iter::once(&value.text);
                for text in typed.chain(&value.variants) {
                    if !said.contains(text) {
                        said.push(text.clone());
                    }
                }
            }
            (field.clone(), said)
        })
        .collect()
}

fn reading_view(reading: &Reading) -> Value {
    json!({
        "leaf": leaf_of(reading),
        "probability": probability(reading),
        "urgency": reading.tone.urgency.label,
        "sentiment": reading.tone.sentiment.label,
        "wants_human": reading.tone.wants_human,
        "out_of_scope": reading.out_of_scope,
    })
}
