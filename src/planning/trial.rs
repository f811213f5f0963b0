//! A plan's own tests: given a view, which path, which effect.

use super::plan::{Plan, Plans, StepKind};
use super::walk::{Cursor, LookUp, Next, advance};
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
    /// The names of the calls that are made side by side.
    parallel: Option<Vec<String>>,
    resolve: Option<String>,
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

/// What the tests of all plans show.
pub struct Coverage {
    /// Branches that some test takes, and branches that there are. A loop has two: once more, and on.
    pub taken: usize,
    pub branches: usize,
    /// Those that no test takes: plan, step, and the step that it would go to.
    pub missed: Vec<(String, String, String)>,
}

/// Runs every plan's tests.
pub fn run(plans: &Plans) -> (Vec<TrialOutcome<'_>>, Coverage) {
    let mut outcomes = Vec::new();
    let mut taken: BTreeSet<(String, String, String)> = BTreeSet::new();
    for plan in plans.by_name.values() {
        for trial in &plan.trials {
            let step = trial.from.as_ref().unwrap_or(&plan.start);
            let cursor = Cursor::new(&plan.name, step);
            let advanced = advance(plans, &cursor, &trial.given, &BTreeMap::new());
            for pair in advanced.trail.windows(2) {
                if let [(of, from), (_, to)] = pair {
                    taken.insert((of.clone(), from.clone(), to.clone()));
                }
            }
            let failure = trial.expect.differs(&advanced.path(), &advanced.next);
            outcomes.push(TrialOutcome { plan, trial, failure });
        }
    }
    let mut branches: BTreeSet<(String, String, String)> = BTreeSet::new();
    for plan in plans.by_name.values() {
        for (name, step) in &plan.steps {
            if matches!(step.kind, StepKind::Branch(_) | StepKind::Repeat { .. }) {
                let to = step.kind.targets().into_iter();
                branches.extend(to.map(|to| (plan.name.clone(), name.clone(), to.to_owned())));
            }
        }
    }
    let missed: Vec<_> = branches.difference(&taken).cloned().collect();
    let coverage = Coverage { taken: branches.len() - missed.len(), branches: branches.len(), missed };
    (outcomes, coverage)
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
            Next::Parallel { calls, .. } => {
                let named = |of: fn(&LookUp) -> Value| calls.iter().map(of).collect::<Vec<_>>();
                json!({"parallel": named(|look| json!(look.name)), "arguments": named(|look| look.arguments.clone())})
            }
            Next::Resolve { outcome, .. } => json!({"resolve": outcome}),
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
            ("parallel", self.parallel.clone().map(Value::from)),
            ("resolve", self.resolve.clone().map(Value::from)),
        ];
        expected.into_iter().find_map(|(name, value)| {
            let value = value?;
            let actual = found.get(name);
            (actual != Some(&value)).then(|| format!("expected {name} = {value}, found {found}"))
        })
    }
}
