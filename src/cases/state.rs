//! A case is the fold of its events.

use super::event::{Event, ReplyKind};
use super::view::lookup_values;
use crate::acting::Outcome;
use crate::base::{CallId, CaseId, CustomerId, Digest, Money, RecordId, Timestamp};
use crate::governance::{ApprovalRequest, Decision, Principal, Scope, Totals, Verdict, Vote};
use crate::intake::Message;
use crate::planning::{Cursor, GENERAL_QUEUE, Next, Open, Proposal, Suggestion, Undo};
use crate::policy::Grounds;
use crate::records::Facts;
use crate::reply::Reply;
use crate::understanding::Reading;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct State {
    pub case: CaseId,
    /// How many events were folded.
    pub length: u64,
    pub opened_by: Option<Principal>,
    pub opened_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub status: Status,
    pub stage: Stage,
    pub messages: Vec<Message>,
    /// Position of the message at hand.
    pub working_on: usize,
    /// The reading that chose the plan.
    pub reading: Option<Reading>,
    /// What the last answer to a question of the plan was read as.
    pub answer: Option<Reading>,
    /// Every value said in the case so far, by field, variants included: what a look-up asks for.
    pub fields: BTreeMap<String, Vec<String>>,
    pub facts: Option<Facts>,
    /// What counts towards limits: as it was when the facts were looked up, and what this case has added since.
    pub totals: Totals,
    pub grounds: Option<Grounds>,
    /// Plans that were named for a concern which has none, and what they would do.
    pub suggestions: Vec<Suggestion>,
    pub proposals: Vec<Proposal>,
    pub plan: Option<PlanState>,
    pub next: Option<Next>,
    pub decisions: Vec<(CallId, Decision)>,
    pub calls: Vec<CallState>,
    pub approval: Option<(ApprovalRequest, Vec<Vote>)>,
    pub waiting: Option<Waiting>,
    /// Events of other systems in this round that nothing waited for yet.
    pub early: BTreeSet<String>,
    /// The step at which the plan goes on when the facts have been looked at again.
    pub resumes: Option<String>,
    pub undoing: Option<Undoing>,
    /// Why the case is stuck, and what was due then.
    pub stuck: Option<String>,
    pub stuck_at: Option<(Status, Stage)>,
    /// How often each ask step asked.
    pub asked: BTreeMap<String, u32>,
    pub replies: Vec<Reply>,
    /// The verified customer whom the last reply was for.
    pub replied_to: Option<CustomerId>,
    /// How many calls belong to earlier messages.
    pub earlier_calls: usize,
    /// How many there were before those that the plan makes side by side.
    pub side_by_side: usize,
    /// Everybody who sent a message of this case.
    pub senders: BTreeSet<String>,
    /// Whether the message at hand got a reply.
    pub answered: bool,
    pub escalation: Option<Escalation>,
    /// The person who took the case over.
    pub held_by: Option<Principal>,
    /// Who gave the case back: what comes of it is what they began.
    pub steered_by: BTreeSet<String>,
    /// When the facts were looked up.
    pub found_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PlanState {
    pub leaf: String,
    pub digest: Option<Digest>,
    /// The pack that the plan is of, where the event says so.
    pub pack: Option<Digest>,
    pub path: Vec<String>,
    pub cursor: Cursor,
}

impl PlanState {
    /// The plan's own name: that of the leaf, unless another one's was proposed or chosen.
    pub fn name(&self) -> &str {
        plan_name(&self.leaf, &self.cursor)
    }

    /// The proposal that the plan is of, if it was proposed.
    pub fn proposal<'p>(&self, proposals: &'p [Proposal]) -> Option<&'p Proposal> {
        let proposed = self.cursor.proposed()?;
        proposals.iter().find(|proposal| proposal.plan == proposed)
    }
}

/// See [`PlanState::name`].
pub(super) fn plan_name<'c>(leaf: &'c str, cursor: &'c Cursor) -> &'c str {
    cursor.open.as_ref().map_or(leaf, Open::plan)
}

/// What a case waits for that nobody in it does.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Waiting {
    pub step: String,
    pub until: Timestamp,
    pub awaited: Option<String>,
}

/// What is left to be undone, in order.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Undoing {
    pub calls: Vec<CallId>,
    pub then: Option<String>,
}

/// A call from proposal to end.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CallState {
    pub id: CallId,
    pub step: String,
    pub tool: String,
    pub record: Option<RecordId>,
    pub arguments: Value,
    pub intended_at: Option<Timestamp>,
    /// Nobody knows whether it was carried out, until there is an outcome.
    pub doubted: bool,
    pub outcome: Option<Outcome>,
    /// What undoes it, as it was recorded with the intent.
    pub undo: Option<Undo>,
    /// The call that this one undoes.
    pub undoes: Option<CallId>,
    /// The plan that was proposed or chosen, if it is of one.
    pub open: Option<String>,
    /// Who changed its arguments before it was approved.
    pub edited_by: Option<String>,
    /// The rules, or a person, did not let it be made.
    pub stopped: bool,
}

impl CallState {
    /// What the call moves, if it says so.
    pub fn amount(&self) -> Option<Money> {
        self.arguments.get("amount").and_then(|amount| serde_json::from_value(amount.clone()).ok())
    }

    /// A call of a step that nothing is known of yet.
    pub fn proposed(step: &str, record: Option<RecordId>) -> Self {
        Self {
            id: CallId::new(""),
            step: step.to_owned(),
            tool: String::new(),
            record,
            arguments: Value::Null,
            intended_at: None,
            doubted: false,
            outcome: None,
            undo: None,
            undoes: None,
            open: None,
            edited_by: None,
            stopped: false,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Escalation {
    pub queue: String,
    pub reason: String,
    pub summary: Vec<String>,
}

/// The case as the contract names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Running,
    Resolved,
    WaitingCustomer,
    WaitingApproval,
    WaitingEvent,
    WithHuman,
    Closed,
    Stuck,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Resolved => "resolved",
            Self::WaitingCustomer => "waiting_customer",
            Self::WaitingApproval => "waiting_approval",
            Self::WaitingEvent => "waiting_event",
            Self::WithHuman => "with_human",
            Self::Closed => "closed",
            Self::Stuck => "stuck",
        }
    }
}

/// What the case waits for, seen from inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Reading,
    LookingUp,
    Searching,
    /// The plan says what is next and a step has not followed it yet.
    Composing,
    Calling,
    Waiting,
}

/// What is to be done in the world, derived from the state alone.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    Understand,
    LookUp,
    Search,
    Call(CallId),
    /// Side by side.
    Calls(Vec<CallId>),
    Compose,
}

impl State {
    pub fn new(case: CaseId) -> Self {
        Self {
            case,
            length: 0,
            opened_by: None,
            opened_at: None,
            updated_at: None,
            status: Status::Running,
            stage: Stage::Waiting,
            messages: Vec::new(),
            working_on: 0,
            reading: None,
            answer: None,
            fields: BTreeMap::new(),
            facts: None,
            totals: Totals::default(),
            grounds: None,
            suggestions: Vec::new(),
            proposals: Vec::new(),
            plan: None,
            next: None,
            decisions: Vec::new(),
            calls: Vec::new(),
            approval: None,
            waiting: None,
            early: BTreeSet::new(),
            resumes: None,
            undoing: None,
            stuck: None,
            stuck_at: None,
            asked: BTreeMap::new(),
            replies: Vec::new(),
            replied_to: None,
            earlier_calls: 0,
            side_by_side: 0,
            senders: BTreeSet::new(),
            answered: false,
            escalation: None,
            held_by: None,
            steered_by: BTreeSet::new(),
            found_at: None,
        }
    }

    /// The message that the case works on. One that comes while a call is under way, or a human is asked, waits until that
    /// is settled: its sender's identity must not stand behind what was begun before. One that comes while a human has the
    /// case is theirs to read.
    pub fn message(&self) -> Option<&Message> {
        self.messages.get(self.working_on)
    }

    /// The call that the case is about: the last one proposed.
    pub fn call(&self) -> Option<&CallState> {
        self.calls.last()
    }

    /// How many calls for the concern at hand did not do what they should.
    pub fn failed_attempts(&self) -> usize {
        let failed = |call: &&CallState| {
            call.undoes.is_none()
                && matches!(call.outcome, Some(Outcome::Failed { .. } | Outcome::Ambiguous { .. }))
                && !call.stopped
        };
        self.calls.iter().skip(self.earlier_calls).filter(failed).count()
    }

    /// The effect that is due, if any. After a restart this is where the case goes on.
    pub fn due(&self) -> Option<Effect> {
        match self.stage {
            Stage::Reading => Some(Effect::Understand),
            Stage::LookingUp => Some(Effect::LookUp),
            Stage::Searching => Some(Effect::Search),
            Stage::Composing => Some(Effect::Compose),
            Stage::Calling => {
                let under_way = |call: &&CallState| call.intended_at.is_some() && call.outcome.is_none();
                let mut calls = self.calls.iter().filter(under_way).map(|call| call.id.clone());
                let first = calls.next()?;
                let others: Vec<CallId> = calls.collect();
                Some(match others.is_empty() {
                    true => Effect::Call(first),
                    false => Effect::Calls(std::iter::once(first).chain(others).collect()),
                })
            }
            Stage::Waiting => None,
        }
    }

    /// When what the case waits for is over, if that has an end.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.status {
            Status::WaitingApproval => self.approval.as_ref().map(|(request, _)| request.expires_at),
            Status::WaitingEvent => self.waiting.as_ref().map(|waiting| waiting.until),
            _ => None,
        }
    }

    /// Folds one event. Every event is accepted in every state: what was recorded has happened.
    pub fn apply(&mut self, event: &Event, at: Timestamp) {
        self.length += 1;
        self.updated_at = Some(at);
        match event {
            Event::Received { by, message } => self.received(by, message, at),
            Event::Understood { reading, answers } => {
                if *answers {
                    self.answer = Some(reading.clone());
                } else {
                    self.begin_round();
                    self.reading = Some(reading.clone());
                }
                self.learn_fields(reading);
                self.stage = Stage::LookingUp;
            }
            Event::Found { facts, totals, .. } => {
                self.facts = Some(facts.clone());
                self.found_at = Some(at);
                self.totals = totals.clone();
                self.stage = Stage::Searching;
            }
            Event::Grounded { grounds, suggestions } => {
                self.grounds = Some(grounds.clone());
                self.suggestions.clone_from(suggestions);
            }
            Event::Proposed { proposals } => self.proposals.clone_from(proposals),
            Event::Planned { leaf, plan, pack, path, cursor, next } => {
                self.planned((leaf, plan.as_ref(), pack.as_ref()), path, cursor, next)
            }
            Event::ApprovalAsked { approval } => {
                self.approval = Some((approval.clone(), Vec::new()));
                self.status = Status::WaitingApproval;
                // The customer hears something before a human gets round to it.
                self.stage = if self.answered { Stage::Waiting } else { Stage::Composing };
            }
            Event::Voted { vote, .. } => self.voted(vote),
            Event::Expired { .. } => {
                self.stop_asked();
                self.approval = None;
            }
            Event::Decided { .. }
            | Event::Intended { .. }
            | Event::Doubted { .. }
            | Event::Returned { .. }
            | Event::Undoing { .. }
            | Event::Undone { .. } => self.apply_to_calls(event, at),
            Event::Waiting { .. } | Event::Elapsed { .. } | Event::Notified { .. } => {
                self.apply_to_wait(event);
            }
            Event::Escalated { queue, reason, summary } => {
                self.escalation = Some(Escalation {
                    queue: queue.clone(),
                    reason: reason.clone(),
                    summary: summary.clone(),
                });
            }
            Event::Replied { kind, reply, .. } => self.replied(*kind, reply),
            Event::Stuck { reason } => self.got_stuck(reason),
            Event::TakenOver { .. }
            | Event::GivenBack { .. }
            | Event::Edited { .. }
            | Event::Delegated { .. }
            | Event::Answered { .. } => self.apply_people(event),
            Event::Retried { .. } => self.retried(),
            Event::Closed { .. } => {
                self.status = Status::Closed;
                self.stage = Stage::Waiting;
            }
        }
    }

    fn got_stuck(&mut self, reason: &str) {
        self.stuck = Some(reason.to_owned());
        // A call that has an outcome is not due any more.
        let settled = self.stage == Stage::Calling && self.call().is_some_and(|call| call.outcome.is_some());
        self.stuck_at = (!settled).then_some((self.status, self.stage));
        (self.status, self.stage) = (Status::Stuck, Stage::Waiting);
    }

    fn voted(&mut self, vote: &Vote) {
        if !vote.approve {
            self.stop_asked();
        }
        if let Some((_, votes)) = &mut self.approval {
            votes.push(vote.clone());
        }
    }

    /// The call that people were asked about is not made.
    fn stop_asked(&mut self) {
        let call = self.approval.as_ref().map(|(request, _)| request.call.clone());
        if let Some(known) = call.and_then(|call| self.call_mut(&call)) {
            known.stopped = true;
        }
    }

    fn apply_to_calls(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Decided { call, step, record, arguments, decision, undoes, .. } => {
                let proposed = CallState {
                    id: call.clone(),
                    tool: decision.tool.clone(),
                    arguments: arguments.clone(),
                    undoes: undoes.clone(),
                    ..CallState::proposed(step, record.clone())
                };
                self.decided(proposed, decision);
            }
            Event::Intended { call, undo, .. } => {
                let chosen = self.plan.as_ref().filter(|plan| plan.cursor.open.is_some());
                let open = chosen.map(|plan| plan.name().to_owned());
                if let Some(known) = self.call_mut(call) {
                    known.intended_at = Some(at);
                    known.undo.clone_from(undo);
                    known.open = open;
                }
                self.count(call, Totals::add);
                self.status = Status::Running;
                self.stage = Stage::Calling;
            }
            Event::Doubted { call } => {
                if let Some(known) = self.call_mut(call) {
                    known.doubted = true;
                }
            }
            Event::Returned { call, outcome } => {
                if let Some(known) = self.call_mut(call) {
                    known.outcome = Some(outcome.clone());
                }
                if matches!(outcome, Outcome::Failed { .. }) {
                    self.count(call, Totals::subtract);
                }
            }
            Event::Undoing { calls, then } => {
                (self.waiting, self.resumes) = (None, None);
                self.undoing = Some(Undoing { calls: calls.clone(), then: then.clone() });
                self.status = Status::Running;
                self.stage = Stage::Waiting;
            }
            Event::Undone { call } => self.undone(call),
            _ => {}
        }
    }

    fn apply_people(&mut self, event: &Event) {
        match event {
            Event::Delegated { to, .. } => {
                if let Some((request, _)) = &mut self.approval {
                    request.delegated = Some(*to);
                }
            }
            Event::TakenOver { by, reason, summary } => {
                (self.approval, self.waiting, self.resumes) = (None, None, None);
                (self.status, self.stage) = (Status::WithHuman, Stage::Waiting);
                self.held_by = Some(by.clone());
                self.escalation.get_or_insert_with(|| Escalation {
                    queue: GENERAL_QUEUE.to_owned(),
                    reason: reason.clone().unwrap_or_else(|| format!("taken over by {}", by.name)),
                    summary: summary.clone(),
                });
            }
            Event::GivenBack { by, leaf, plan, step, digest, pack, open, .. } => {
                self.steered_by.insert(by.name.clone());
                let known = self.plan.take().filter(|known| known.leaf == *leaf || known.name() == leaf);
                // Within a part it knows where to go back to.
                let stood = known.as_ref().map(|known| &known.cursor).filter(|cursor| cursor.plan == *plan);
                let mut cursor = stood.map_or_else(|| Cursor::new(plan, step), |cursor| cursor.at(step));
                if *open {
                    cursor.open = Some(Open::Chosen(leaf.clone()));
                }
                let path = known.map(|known| known.path);
                self.plan = Some(PlanState {
                    leaf: leaf.clone(),
                    digest: digest.clone(),
                    pack: pack.clone(),
                    path: path.unwrap_or_default(),
                    cursor,
                });
                (self.held_by, self.escalation, self.next) = (None, None, None);
                self.resumes = Some(step.clone());
                self.answered = false;
                self.catch_up();
                (self.status, self.stage) = (Status::Running, Stage::LookingUp);
            }
            Event::Edited { by, arguments, .. } => {
                let call = self.approval.as_ref().map(|(request, _)| request.call.clone());
                if let Some(known) = call.and_then(|call| self.call_mut(&call)) {
                    known.arguments = arguments.clone();
                    known.edited_by = Some(by.name.clone());
                }
            }
            Event::Answered { reply, resolves, .. } => {
                self.replies.push(reply.clone());
                self.replied_to = self.message().and_then(|message| message.identity.customer().cloned());
                self.answered = true;
                if *resolves {
                    self.held_by = None;
                    self.catch_up();
                    self.status = Status::Resolved;
                }
            }
            _ => {}
        }
    }

    /// What the customer wrote while a person had the case, that person has read.
    fn catch_up(&mut self) {
        let speaks = self.message().and_then(|message| message.identity.customer().cloned());
        while let Some(next) = self.messages.get(self.working_on + 1)
            && next.identity.customer() == speaks.as_ref()
        {
            self.working_on += 1;
        }
    }

    fn apply_to_wait(&mut self, event: &Event) {
        match event {
            Event::Waiting { step, until, awaited, .. } => {
                self.waiting = Some(Waiting { step: step.clone(), until: *until, awaited: awaited.clone() });
                self.status = Status::WaitingEvent;
                // The customer hears something before the time is over.
                self.stage = if self.answered { Stage::Waiting } else { Stage::Composing };
            }
            Event::Elapsed { .. } => self.resume(false),
            Event::Notified { taken: true, .. } => self.resume(true),
            Event::Notified { kind, .. } => drop(self.early.insert(kind.clone())),
            _ => {}
        }
    }

    /// What counts towards limits with a call, or no longer.
    fn count(&mut self, call: &CallId, change: fn(&mut Totals, &[Scope], Option<Money>)) {
        let known = self.calls.iter().find(|known| known.id == *call && known.intended_at.is_some());
        if let Some((scopes, amount)) = known.and_then(|known| Some((self.scopes(known)?, known.amount()))) {
            change(&mut self.totals, &scopes, amount);
        }
    }

    /// Where a call counts towards limits.
    pub(super) fn scopes(&self, call: &CallState) -> Option<[Scope; 4]> {
        let customer = self.message().and_then(|message| message.identity.customer())?;
        Some(Scope::of_call(&call.tool, customer, call.record.as_ref()?))
    }

    fn call_mut(&mut self, id: &CallId) -> Option<&mut CallState> {
        self.calls.iter_mut().find(|known| known.id == *id)
    }

    /// What the case waited for is over: the facts are looked at again, and the plan goes on.
    fn resume(&mut self, arrived: bool) {
        if let Some(Next::Wait { then, arrived: other, .. }) = &self.next {
            let other = other.as_ref().filter(|_| arrived);
            self.resumes = Some(other.unwrap_or(then).clone());
        }
        self.waiting = None;
        self.status = Status::Running;
        self.stage = Stage::LookingUp;
    }

    fn undone(&mut self, call: &CallId) {
        if let Some(undoing) = &mut self.undoing {
            undoing.calls.retain(|id| id != call);
        }
        let Some(known) = self.call_mut(call) else { return };
        // What certainly never happened stays a failure.
        if !matches!(known.outcome, Some(Outcome::Failed { .. })) {
            known.outcome = Some(Outcome::Compensated { reason: "undone".to_owned() });
            self.count(call, Totals::subtract);
        }
    }

    fn retried(&mut self) {
        self.stuck = None;
        (self.status, self.stage) = self.stuck_at.take().unwrap_or((Status::Running, Stage::Waiting));
        if self.undoing.is_none() || self.stage != Stage::Waiting {
            return;
        }
        self.status = Status::Running;
        // An undoing call that may have been carried out is settled before another one is made.
        let last = self.calls.last_mut().filter(|call| call.undoes.is_some());
        let doubted = last.filter(|call| matches!(call.outcome, Some(Outcome::Ambiguous { .. })));
        self.stage = match doubted {
            Some(call) => {
                (call.outcome, call.doubted) = (None, true);
                Stage::Calling
            }
            None => Stage::Waiting,
        };
    }

    fn received(&mut self, by: &Principal, message: &Message, at: Timestamp) {
        if self.messages.is_empty() {
            self.opened_by = Some(by.clone());
            self.opened_at = Some(at);
        }
        self.senders.insert(by.name.clone());
        self.messages.push(message.clone());
        // A human has the case, or is asked about it: the message is theirs to read. And a call whose end is
        // not known is settled before anything else.
        if matches!(self.status, Status::WithHuman | Status::WaitingApproval | Status::Stuck)
            || self.stage == Stage::Calling
        {
            return;
        }
        if self.resumes.take().is_some() {
            // The time was over, and nothing has come of it yet: it is as if it were not.
            let step = self.plan.as_ref().map_or_else(String::new, |plan| plan.cursor.step.clone());
            self.waiting = Some(Waiting { step, until: at, awaited: None });
        }
        self.work_on(self.messages.len() - 1);
    }

    fn work_on(&mut self, message: usize) {
        self.answered = false;
        self.working_on = message;
        if !self.may_be_answer() && self.waiting.is_none() {
            self.begin_round();
            self.early.clear();
        }
        self.status = Status::Running;
        // What a system told is no text.
        let told = self.message().is_some_and(|message| message.event.is_some());
        self.stage = if told { Stage::LookingUp } else { Stage::Reading };
    }

    /// The concern that the message was read as, or the event that was told.
    pub fn concern(&self) -> Option<&str> {
        let read = || self.reading.as_ref().map(super::view::leaf_of);
        self.message().and_then(|message| message.event.as_deref()).or_else(read)
    }

    /// Forgets what earlier messages were about. What was done stays.
    fn begin_round(&mut self) {
        self.reading = None;
        self.answer = None;
        self.fields.clear();
        self.facts = None;
        self.grounds = None;
        self.suggestions.clear();
        self.proposals.clear();
        self.plan = None;
        self.next = None;
        self.approval = None;
        self.waiting = None;
        self.resumes = None;
        self.undoing = None;
        self.escalation = None;
        self.asked.clear();
        self.earlier_calls = self.calls.len();
    }

    /// Whether the message at hand may answer a question of the plan: it comes from the same verified
    /// customer who was asked. What somebody else said before must not stand behind what is done now.
    pub fn may_be_answer(&self) -> bool {
        let asked = self.replied_to.as_ref();
        let speaks = self.message().and_then(|message| message.identity.customer());
        matches!(&self.next, Some(Next::Ask { .. })) && asked.is_some() && asked == speaks
    }

    /// The customer whom the last reply was for; a reply to a verified customer may hold their data.
    pub fn reply_is_for_speaker(&self) -> bool {
        let speaks = self.messages.last().and_then(|message| message.identity.customer());
        self.replied_to.is_none() || self.replied_to.as_ref() == speaks
    }

    fn learn_fields(&mut self, reading: &Reading) {
        for (field, values) in lookup_values(reading) {
            let known = self.fields.entry(field).or_default();
            for value in values {
                if !known.contains(&value) {
                    known.push(value);
                }
            }
        }
    }

    fn planned(
        &mut self,
        (leaf, digest, pack): (&str, Option<&Digest>, Option<&Digest>),
        path: &[String],
        cursor: &Cursor,
        next: &Next,
    ) {
        let mut whole =
            self.plan.take().filter(|plan| plan.leaf == leaf).map_or_else(Vec::new, |plan| plan.path);
        whole.extend(path.iter().cloned());
        self.plan = Some(PlanState {
            leaf: leaf.to_owned(),
            digest: digest.cloned(),
            pack: pack.cloned(),
            path: whole,
            cursor: cursor.clone(),
        });
        if let Next::Ask { step, .. } = next {
            *self.asked.entry(step.clone()).or_default() += 1;
        }
        if let Next::Parallel { .. } = next {
            self.side_by_side = self.calls.len();
        }
        self.next = Some(next.clone());
        (self.waiting, self.resumes, self.undoing) = (None, None, None);
        self.status = Status::Running;
        self.stage = match next {
            Next::Call { .. } | Next::Parallel { .. } | Next::Wait { .. } | Next::Undo { .. } => {
                Stage::Waiting
            }
            Next::Ask { .. } | Next::Reply { .. } | Next::Escalate { .. } => Stage::Composing,
            Next::Resolve { .. } => Stage::Waiting,
        };
        if let Next::Resolve { .. } = next {
            (self.answered, self.status) = (true, Status::Resolved);
            self.work_on_what_came();
        }
    }

    fn decided(&mut self, proposed: CallState, decision: &Decision) {
        self.decisions.push((proposed.id.clone(), decision.clone()));
        self.approval = self.approval.take().filter(|(approval, _)| approval.call == proposed.id);
        let id = proposed.id.clone();
        if self.calls.iter().all(|known| known.id != id) {
            self.calls.push(proposed);
        }
        if let Some(known) = self.call_mut(&id) {
            known.stopped = decision.verdict == Verdict::Refuse;
        }
    }

    fn replied(&mut self, kind: ReplyKind, reply: &Reply) {
        self.replies.push(reply.clone());
        self.replied_to = self.message().and_then(|message| message.identity.customer().cloned());
        self.answered = true;
        self.stage = Stage::Waiting;
        self.status = match kind {
            ReplyKind::Resolves => Status::Resolved,
            ReplyKind::Asks => Status::WaitingCustomer,
            ReplyKind::HandsOver => Status::WithHuman,
            ReplyKind::Informs => Status::Running,
            ReplyKind::Waits if self.waiting.is_some() => Status::WaitingEvent,
            ReplyKind::Waits => Status::WaitingApproval,
        };
        if matches!(kind, ReplyKind::Resolves | ReplyKind::Asks) {
            self.work_on_what_came();
        }
    }

    /// What came while a call was under way, or a person was asked, is next.
    fn work_on_what_came(&mut self) {
        let next = self.working_on + 1;
        if next < self.messages.len() {
            self.work_on(next);
        }
    }
}
