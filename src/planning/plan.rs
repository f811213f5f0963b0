//! The plan language: a plan is data, a set of named steps for one leaf.

use super::Condition;
use crate::base::Language;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The plans of a pack, by name; leaves, events and parts share their names.
#[derive(Debug, Default)]
pub struct Plans {
    pub by_name: BTreeMap<String, Plan>,
}

/// A document's id as plans name it: without its language.
pub fn bare(document: &str) -> &str {
    let suffix = Language::ALL.into_iter().find_map(|l| document.strip_suffix(&format!("-{l}")));
    suffix.unwrap_or(document)
}

impl Plans {
    /// The leaves whose plans rest on a document, named with its language or without.
    pub fn citing(&self, document: &str) -> Vec<String> {
        let document = bare(document);
        let resting = |plan: &Plan| plan.documents.iter().any(|id| id == document);
        self.by_name.iter().filter(|(_, plan)| resting(plan)).map(|(name, _)| name.clone()).collect()
    }

    /// The plan of a concern.
    pub fn of_leaf(&self, leaf: &str) -> Option<&Plan> {
        self.by_name.get(leaf).filter(|plan| plan.kind == PlanKind::Leaf)
    }

    /// The plan of what another system tells.
    pub fn of_event(&self, event: &str) -> Option<&Plan> {
        self.by_name.get(event).filter(|plan| plan.kind == PlanKind::Event)
    }
}

/// One plan file.
#[derive(Debug)]
pub struct Plan {
    pub kind: PlanKind,
    /// The leaf, the event or the part.
    pub name: String,
    pub file: String,
    pub summary: String,
    pub audience: PlanFor,
    pub start: String,
    /// The policy documents that this plan rests on, without their language suffix.
    pub documents: Vec<String>,
    /// The question put to the policy search, by language code.
    pub question: BTreeMap<String, String>,
    /// Named values, in order; a later one may use an earlier one.
    pub bindings: Vec<(String, Condition, usize)>,
    pub steps: BTreeMap<String, Step>,
    pub trials: Vec<super::Trial>,
    /// Digest of the file's text.
    pub digest: crate::base::Digest,
}

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanKind {
    /// A concern that a message was read as.
    Leaf,
    /// What another system tells of a customer, who has not written anything.
    Event,
    /// Steps that several plans run and come back from.
    Part,
}

impl PlanKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Event => "event",
            Self::Part => "part",
        }
    }
}

/// For whom a plan runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanFor {
    /// Only for a verified customer; everybody else gets the uniform answer.
    Verified,
    /// For every sender. Such a plan cannot see records.
    Anyone,
}

#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub kind: StepKind,
}

#[derive(Debug)]
pub enum StepKind {
    /// The first branch whose condition is true; the last one may have none.
    Branch(Vec<Branch>),
    /// A tool call. `refused`, `failed` and `declined` default to the hand-over.
    Call {
        tool: String,
        arguments: BTreeMap<String, Condition>,
        done: String,
        refused: Option<String>,
        failed: Option<String>,
        declined: Option<String>,
    },
    /// A question to the customer. When the answer has come the plan goes on at `then`, with new facts.
    Ask { template: String, with: BTreeMap<String, Condition>, then: String, limit: u32 },
    /// A text to the customer; without `then` the case is resolved by it.
    Reply { template: String, with: BTreeMap<String, Condition>, cite: Vec<String>, then: Option<String> },
    /// Nothing is done until a time is over; `then` follows. An event of another system, if one is named, ends the wait
    /// earlier, and `arrived` follows, or `then` where that is not given.
    Wait { milliseconds: i64, event: Option<String>, then: String, arrived: Option<String> },
    /// Undoes what was done for this concern, the last first: the calls of these steps, or all.
    Undo { calls: Option<Vec<String>>, then: String },
    /// To a human, with everything found. The customer's text is the same for every reason.
    Escalate { queue: String, reason: String, template: String },
    /// Goes on in another plan. With `then` that is a part, and the plan goes on there when the part has resolved; without
    /// it is a leaf's, which does not come back.
    Plan { name: String, then: Option<String> },
    /// Calls of tools that only read, side by side. `failed` follows when one of them was not done; it defaults to the
    /// hand-over.
    Parallel { calls: Vec<Look>, then: String, failed: Option<String> },
    /// Goes to `body` while the condition is true, at most so often; then to `then`. The body leads back here.
    Repeat { body: String, condition: Condition, most: u32, then: String },
    /// The end of a part: the plan that runs it goes on. In another plan the case is resolved without a further text.
    Resolve(String),
}

/// One of the calls that are made side by side.
#[derive(Debug)]
pub struct Look {
    /// Its name in `calls`.
    pub name: String,
    pub tool: String,
    pub arguments: BTreeMap<String, Condition>,
}

#[derive(Debug)]
pub struct Branch {
    pub when: Option<Condition>,
    pub to: String,
    pub line: usize,
}

/// The hand-over text that every escalation uses when a plan names none.
pub const HANDOVER: &str = "handover";

impl StepKind {
    /// The steps of the same plan that may follow.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::Branch(branches) => branches.iter().map(|branch| branch.to.as_str()).collect(),
            Self::Call { done, refused, failed, declined, .. } => {
                let optional = [refused, failed, declined];
                std::iter::once(done.as_str())
                    .chain(optional.into_iter().filter_map(|step| step.as_deref()))
                    .collect()
            }
            Self::Ask { then, .. } => vec![then],
            Self::Reply { then, .. } => then.as_deref().into_iter().collect(),
            Self::Wait { then, arrived, .. } => {
                std::iter::once(then.as_str()).chain(arrived.as_deref()).collect()
            }
            Self::Undo { then, .. } => vec![then],
            Self::Plan { then, .. } => then.as_deref().into_iter().collect(),
            Self::Parallel { then, failed, .. } => {
                std::iter::once(then.as_str()).chain(failed.as_deref()).collect()
            }
            Self::Repeat { body, then, .. } => vec![body, then],
            Self::Escalate { .. } | Self::Resolve(_) => vec![],
        }
    }
}
