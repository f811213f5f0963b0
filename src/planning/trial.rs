//! A plan's own tests: given a view, which path, which effect.

use super::plan::{Plan, Plans, StepKind};
use super::walk::{Cursor, Next, advance};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One test of a plan file.
#[derive(Debug)]
pub struct Trial {
    pub name: String,
    pub line: usize,
    given: Value,
    /// Where the walk begins; the plan's start when absent.
    from: Option<String>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrial {
    name: String,
    #[serde(default = "empty")]
    given: Value,
    from: Option<String>,
    expect: Expect,
}

fn empty() -> Value {
    json!({})
}

/// What a test expects; what is absent is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    path: Option<Vec<String>>,
    call: Option<String>,
    arguments: Option<Value>,
    ask: Option<String>,
    reply: Option<String>,
    escalate: Option<String>,
    reason: Option<String>,
    /// How long, in milliseconds.
    wait: Option<i64>,
    event: Option<String>,
    undo: Option<Vec<String>>,
}

/// How one test went: `None` when it passed.
#[derive(Debug)]
pub struct TrialOutcome<'a> {
    pub plan: &'a Plan,
    pub trial: &'a Trial,
    pub failure: Option<String>,
}

impl Trial {
    pub(super) fn from_raw(raw: RawTrial, line: usize) -> Self {
        Self { name: raw.name, line, given: raw.given, from: raw.from, expect: raw.expect }
    }
}

/// Runs every plan's tests. Beside the outcomes: branches taken by some test, and branches there are.
pub fn run(plans: &Plans) -> (Vec<TrialOutcome<'_>>, usize, usize) {
    let mut outcomes = Vec::new();
    let mut taken: BTreeSet<(String, String, String)> = BTreeSet::new();
    for plan in plans.by_leaf.values() {
        for trial in &plan.trials {
            let step = trial.from.clone().unwrap_or_else(|| plan.start.clone());
            let cursor = Cursor { plan: plan.leaf.clone(), step };
            let advanced = advance(plans, &cursor, &trial.given, &BTreeMap::new());
            for pair in advanced.path.windows(2) {
                if let [from, to] = pair {
                    taken.insert((plan.leaf.clone(), from.clone(), to.clone()));
                }
            }
            let failure = trial.expect.differs(&advanced.path, &advanced.next);
            outcomes.push(TrialOutcome { plan, trial, failure });
        }
    }
    let branches: BTreeSet<(String, String, String)> = plans
        .by_leaf
        .values()
        .flat_map(|plan| plan.steps.iter().map(move |(name, step)| (plan, name, step)))
        .filter_map(|(plan, name, step)| match &step.kind {
            StepKind::Branch(branches) => Some((plan, name, branches)),
            _ => None,
        })
        .flat_map(|(plan, name, branches)| {
            branches.iter().map(move |branch| (plan.leaf.clone(), name.clone(), branch.to.clone()))
        })
        .collect();
    let covered = branches.intersection(&taken).count();
    (outcomes, covered, branches.len())
}

impl Expect {
    fn differs(&self, path: &[String], next: &Next) -> Option<String> {
        if let Some(expected) = &self.path
            && expected != path
        {
            return Some(format!("path is {path:?}, expected {expected:?}"));
        }
        let found = match next {
            Next::Call { tool, arguments, .. } => json!({"call": tool, "arguments": arguments}),
            Next::Ask { template, .. } => json!({"ask": template}),
            Next::Reply { template, .. } => json!({"reply": template}),
            Next::Escalate { queue, reason, .. } => json!({"escalate": queue, "reason": reason}),
            Next::Wait { milliseconds, event, .. } => json!({"wait": milliseconds, "event": event}),
            Next::Undo { calls, .. } => json!({"undo": calls.clone().unwrap_or_default()}),
        };
        let expected = [
            ("call", self.call.clone().map(Value::String)),
            ("arguments", self.arguments.clone()),
            ("ask", self.ask.clone().map(Value::String)),
            ("reply", self.reply.clone().map(Value::String)),
            ("escalate", self.escalate.clone().map(Value::String)),
            ("reason", self.reason.clone().map(Value::String)),
            ("wait", self.wait.map(Value::from)),
            ("event", self.event.clone().map(Value::String)),
            ("undo", self.undo.clone().map(Value::from)),
        ];
        expected.into_iter().find_map(|(name, value)| {
            let value = value?;
            let actual = found.get(name);
            (actual != Some(&value)).then(|| format!("expected {name} = {value}, found {found}"))
        })
    }
}
