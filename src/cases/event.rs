//! What can happen in a case. Stored as it stands here: a field may be added, never renamed.

use crate::acting::Outcome;
use crate::base::{ApprovalId, CallId, Digest, RecordId, Timestamp};
use crate::governance::{ApprovalRequest, Decision, Dialled, Evaluation, Principal, Role, Totals, Vote};
use crate::intake::Message;
use crate::planning::{Cursor, Next, Proposal, Suggestion, Undo};
use crate::policy::Grounds;
use crate::records::Facts;
use crate::reply::Reply;
use crate::understanding::Reading;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A message was accepted. The first one opens the case.
    Received {
        by: Principal,
        message: Message,
    },
    /// `answers`: it is the answer to a question of the plan and does not choose another plan.
    Understood {
        reading: Reading,
        #[serde(default)]
        answers: bool,
    },
    /// `totals` is what counted then towards limits, and `read` what the rules say of reading the account data.
    Found {
        facts: Facts,
        #[serde(default, skip_serializing_if = "Totals::is_empty")]
        totals: Totals,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<Evaluation>,
    },
    /// `suggestions`: plans that are named for a concern which has none.
    Grounded {
        grounds: Grounds,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        suggestions: Vec<Suggestion>,
    },
    /// What those plans would do. The first one that calls tools of the allow-list is walked, and a person decides.
    Proposed {
        proposals: Vec<Proposal>,
    },
    /// The plan was walked to its next effect. `path` are the steps of this walk.
    Planned {
        leaf: String,
        plan: Option<Digest>,
        /// The pack that the plan is of: the case keeps to it while it waits.
        #[serde(default)]
        pack: Option<Digest>,
        path: Vec<String>,
        cursor: Cursor,
        next: Next,
    },
    /// Governance judged a call.
    Decided {
        call: CallId,
        step: String,
        record: Option<RecordId>,
        arguments: Value,
        decision: Decision,
        /// The call that this one is to undo.
        #[serde(default)]
        undoes: Option<CallId>,
        /// What the dial said; nothing where the last check stopped the call.
        #[serde(default)]
        dial: Option<Dialled>,
    },
    ApprovalAsked {
        approval: ApprovalRequest,
    },
    Voted {
        approval: ApprovalId,
        vote: Vote,
    },
    /// Nobody decided before the request for approval ended.
    Expired {
        approval: ApprovalId,
    },
    /// Committed before the call leaves. The call's id is its idempotency key; `payload` is the keyed digest of the
    /// arguments, `plan` that of the plan that wants it.
    Intended {
        call: CallId,
        step: String,
        tool: String,
        record: RecordId,
        arguments: Value,
        #[serde(default)]
        payload: Option<Digest>,
        #[serde(default)]
        plan: Option<Digest>,
        /// What undoes it.
        #[serde(default)]
        undo: Option<Undo>,
    },
    /// The call was intended, and whoever intended it ended before there was a result: it may have been carried out. The
    /// tool's own rule settles it.
    Doubted {
        call: CallId,
    },
    Returned {
        call: CallId,
        outcome: Outcome,
    },
    /// The plan waits until then, or for an event of another system; `milliseconds` is what the plan says.
    Waiting {
        step: String,
        until: Timestamp,
        milliseconds: i64,
        #[serde(rename = "for")]
        awaited: Option<String>,
    },
    /// The time is over.
    Elapsed {
        step: String,
    },
    /// Another system told something. `taken`: it is what the case waited for; all else, and what comes late, changes
    /// nothing.
    Notified {
        by: Principal,
        id: String,
        kind: String,
        taken: bool,
    },
    /// These calls are to be undone, in this order. The plan goes on at `then`; without it, the customer took it back.
    Undoing {
        calls: Vec<CallId>,
        then: Option<String>,
    },
    /// The call was undone, or it turned out that it never happened.
    Undone {
        call: CallId,
    },
    /// Handed to a human, with everything found.
    Escalated {
        queue: String,
        reason: String,
        summary: Vec<String>,
    },
    /// `disclosed` is what the rules say of telling the customer about the records.
    Replied {
        kind: ReplyKind,
        reply: Reply,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disclosed: Option<Evaluation>,
    },
    /// The engine cannot go on and no text could be made either; an operator must look.
    Stuck {
        reason: String,
    },
    /// An operator lets a stuck case go on.
    Retried {
        by: Principal,
    },
    /// A person has the case: the machine does nothing more in it. What waited for approval is void.
    TakenOver {
        by: Principal,
        reason: Option<String>,
        summary: Vec<String>,
    },
    /// The machine goes on at this step of `plan`, on facts that are read anew; `leaf` is what the case is about.
    GivenBack {
        by: Principal,
        leaf: String,
        plan: String,
        step: String,
        digest: Option<Digest>,
        pack: Option<Digest>,
        note: Option<String>,
        /// The person chose what comes of it: another concern than was read, or a step out of turn.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
    },
    /// A person changed the arguments of a call before it was approved.
    Edited {
        approval: ApprovalId,
        by: Principal,
        arguments: Value,
        reason: Option<String>,
    },
    /// A person handed an approval on: only those who have this role decide from now on.
    Delegated {
        approval: ApprovalId,
        by: Principal,
        to: Role,
        reason: Option<String>,
    },
    /// A person's own text to the customer.
    Answered {
        by: Principal,
        reply: Reply,
        resolves: bool,
    },
    /// The last event: its key is destroyed next.
    Closed {
        by: String,
    },
}

/// What a reply means for the case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyKind {
    /// The concern is settled.
    Resolves,
    /// The plan waits for the customer's answer.
    Asks,
    /// A human goes on.
    HandsOver,
    /// The plan goes on after it.
    Informs,
    /// A human is asked first; the customer is told that the matter is being looked at.
    Waits,
}

impl Event {
    /// The name under which the ledger files it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Received { .. } => "received",
            Self::Understood { .. } => "understood",
            Self::Found { .. } => "found",
            Self::Grounded { .. } => "grounded",
            Self::Proposed { .. } => "proposed",
            Self::Planned { .. } => "planned",
            Self::Decided { .. } => "decided",
            Self::ApprovalAsked { .. } => "approval_asked",
            Self::Voted { .. } => "voted",
            Self::Expired { .. } => "expired",
            Self::Intended { .. } => "intended",
            Self::Doubted { .. } => "doubted",
            Self::Returned { .. } => "returned",
            Self::Waiting { .. } => "waiting",
            Self::Elapsed { .. } => "elapsed",
            Self::Notified { .. } => "notified",
            Self::Undoing { .. } => "undoing",
            Self::Undone { .. } => "undone",
            Self::Escalated { .. } => "escalated",
            Self::Replied { .. } => "replied",
            Self::Stuck { .. } => "stuck",
            Self::Retried { .. } => "retried",
            Self::TakenOver { .. } => "taken_over",
            Self::GivenBack { .. } => "given_back",
            Self::Edited { .. } => "edited",
            Self::Delegated { .. } => "delegated",
            Self::Answered { .. } => "answered",
            Self::Closed { .. } => "closed",
        }
    }
}
