//! Walks a plan from one effect to the next.

use super::plan::{HANDOVER, Plan, Plans, StepKind};
use super::{Condition, Truth};
use crate::base::RecordId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where a case stands: a plan and a step of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cursor {
    pub plan: String,
    pub step: String,
}

/// The one thing to do next. `step` names where it came from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum Next {
    Call {
        step: String,
        tool: String,
        record: Option<RecordId>,
        arguments: Value,
    },
    Ask {
        step: String,
        template: String,
        with: Value,
        then: String,
    },
    Reply {
        step: String,
        template: String,
        with: Value,
        cite: Vec<String>,
        then: Option<String>,
    },
    Escalate {
        step: String,
        queue: String,
        reason: String,
        template: String,
    },
    /// See [`StepKind::Wait`].
    Wait {
        step: String,
        milliseconds: i64,
        event: Option<String>,
        then: String,
        arrived: Option<String>,
    },
    /// See [`StepKind::Undo`].
    Undo {
        step: String,
        calls: Option<Vec<String>>,
        then: String,
    },
}

/// What a walk gives: the steps taken, in order, and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Advanced {
    pub path: Vec<String>,
    pub cursor: Cursor,
    pub next: Next,
}

/// More steps between two effects than any sane plan has: the plan runs in a circle.
const MOST_STEPS: usize = 64;

/// Where an undecided case goes.
pub const GENERAL_QUEUE: &str = "support";

/// Walks from `cursor` until a step has an effect. `asked` says how often each ask step was asked.
pub fn advance(plans: &Plans, cursor: &Cursor, view: &Value, asked: &BTreeMap<String, u32>) -> Advanced {
    let mut path = Vec::new();
    let mut cursor = cursor.clone();
    let mut view = view.clone();
    let mut bound_for = None;
    for _ in 0..MOST_STEPS {
        let Some(plan) = plans.by_leaf.get(&cursor.plan) else {
            return give_up(path, cursor, "plan_missing".to_owned());
        };
        let Some(step) = plan.steps.get(&cursor.step) else {
            return give_up(path, cursor, "step_missing".to_owned());
        };
        if bound_for.as_ref() != Some(&cursor.plan) {
            bind(plan, &mut view);
            bound_for = Some(cursor.plan.clone());
        }
        path.push(cursor.step.clone());
        let next = match &step.kind {
            StepKind::Branch(branches) => match choose(branches, &view) {
                Ok(to) => {
                    cursor.step = to;
                    continue;
                }
                Err(reason) => return give_up(path, cursor, format!("unknown: {reason}")),
            },
            StepKind::Plan(leaf) => {
                let Some(target) = plans.by_leaf.get(leaf) else {
                    return give_up(path, cursor, "plan_missing".to_owned());
                };
                cursor = Cursor { plan: leaf.clone(), step: target.start.clone() };
                continue;
            }
            kind => effect(&cursor.step, kind, &view, asked),
        };
        return match next {
            Ok(next) => Advanced { path, cursor, next },
            Err(reason) => give_up(path, cursor, reason),
        };
    }
    give_up(path, cursor, "plan_runs_in_a_circle".to_owned())
}

fn give_up(path: Vec<String>, cursor: Cursor, reason: String) -> Advanced {
    let next = Next::Escalate {
        step: cursor.step.clone(),
        queue: GENERAL_QUEUE.to_owned(),
        reason,
        template: HANDOVER.to_owned(),
    };
    Advanced { path, cursor, next }
}

/// A binding that cannot be evaluated stays away, so that whoever uses it gets unknown.
fn bind(plan: &Plan, view: &mut Value) {
    for (name, condition, _) in &plan.bindings {
        let value = condition.evaluate(view);
        if let (Ok(value), Value::Object(members)) = (value, &mut *view) {
            members.insert(name.clone(), value);
        }
    }
}

fn choose(branches: &[super::Branch], view: &Value) -> Result<String, String> {
    for branch in branches {
        match branch.when.as_ref().map_or(Truth::True, |condition| condition.decide(view)) {
            Truth::True => return Ok(branch.to.clone()),
            Truth::False => {}
            Truth::Unknown(reason) => return Err(reason),
        }
    }
    Err("no branch applies".to_owned())
}

fn evaluate_all(expressions: &BTreeMap<String, Condition>, view: &Value) -> Result<Value, String> {
    let mut values = Map::new();
    for (name, expression) in expressions {
        values
            .insert(name.clone(), expression.evaluate(view).map_err(|reason| format!("unknown: {reason}"))?);
    }
    Ok(Value::Object(values))
}

fn effect(step: &str, kind: &StepKind, view: &Value, asked: &BTreeMap<String, u32>) -> Result<Next, String> {
    let step = step.to_owned();
    match kind {
        StepKind::Call { tool, arguments, .. } => Ok(Next::Call {
            step,
            tool: tool.clone(),
            record: view.pointer("/record/id").and_then(Value::as_str).map(RecordId::new),
            arguments: evaluate_all(arguments, view)?,
        }),
        StepKind::Ask { template, with, then, limit } => {
            if asked.get(&step).copied().unwrap_or(0) >= *limit {
                return Err(format!("asked {limit} times without an answer that helps"));
            }
            let with = evaluate_all(with, view)?;
            Ok(Next::Ask { step, template: template.clone(), with, then: then.clone() })
        }
        StepKind::Reply { template, with, cite, then } => Ok(Next::Reply {
            step,
            template: template.clone(),
            with: evaluate_all(with, view)?,
            cite: cite.clone(),
            then: then.clone(),
        }),
        StepKind::Escalate { queue, reason, template } => Ok(Next::Escalate {
            step,
            queue: queue.clone(),
            reason: reason.clone(),
            template: template.clone(),
        }),
        StepKind::Wait { milliseconds, event, then, arrived } => Ok(Next::Wait {
            step,
            milliseconds: *milliseconds,
            event: event.clone(),
            then: then.clone(),
            arrived: arrived.clone(),
        }),
        StepKind::Undo { calls, then } => Ok(Next::Undo { step, calls: calls.clone(), then: then.clone() }),
        StepKind::Branch(_) | StepKind::Plan(_) => Err("step_has_no_effect".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DOOR: &str = r#"
leaf = "door"
summary = "opens a door"
start = "known"
[[let]]
name = "keys"
value = "record.keys.filter(k, k.fits)"
[steps.known]
branch = [{ when = "size(records) > 0", to = "key" }, { to = "ask" }]
[steps.key]
branch = [{ when = "size(keys) == 1", to = "open" }, { to = "human" }]
[steps.ask]
ask = "which_door"
then = "known"
[steps.open]
call = "open"
arguments = { key = "keys[0].id" }
done = "tell"
[steps.tell]
reply = "opened"
[steps.human]
escalate = "locksmith"
reason = "no_key"
"#;

    fn walk(view: Value, asked: u32) -> Advanced {
        let plan = Plan::parse("door.toml", DOOR).unwrap();
        let plans = Plans { by_leaf: [("door".to_owned(), plan)].into() };
        let cursor = Cursor { plan: "door".into(), step: "known".into() };
        advance(&plans, &cursor, &view, &[("ask".to_owned(), asked)].into())
    }

    #[test]
    fn a_call_gets_its_arguments_from_the_record() {
        let view = json!({"records": [1], "record": {"id": "r1", "keys": [{"id": "k1", "fits": true}, {"id": "k2", "fits": false}]}});
        let advanced = walk(view, 0);
        assert_eq!(advanced.path, ["known", "key", "open"]);
        assert_eq!(
            advanced.next,
            Next::Call {
                step: "open".into(),
                tool: "open".into(),
                record: Some(RecordId::new("r1")),
                arguments: json!({"key": "k1"})
            }
        );
    }

    #[test]
    fn a_missing_fact_escalates_with_the_condition_named() {
        let advanced = walk(json!({"records": [1], "record": {"id": "r1"}}), 0);
        let Next::Escalate { reason, step, .. } = advanced.next else { panic!() };
        assert_eq!(step, "key");
        assert!(reason.starts_with("unknown: "), "{reason}");
    }

    #[test]
    fn a_question_is_asked_at_most_twice() {
        assert!(matches!(walk(json!({"records": []}), 1).next, Next::Ask { .. }));
        assert!(matches!(walk(json!({"records": []}), 2).next, Next::Escalate { .. }));
    }

    #[test]
    fn a_plan_in_a_circle_ends_with_a_human() {
        let text = "leaf = 'c'\nsummary = ''\nstart = 'a'\n[steps.a]\nbranch = [{ to = 'b' }]\n[steps.b]\nbranch = [{ to = 'a' }]\n";
        let plans = Plans { by_leaf: [("c".to_owned(), Plan::parse("c.toml", text).unwrap())].into() };
        let advanced =
            advance(&plans, &Cursor { plan: "c".into(), step: "a".into() }, &json!({}), &BTreeMap::new());
        assert!(matches!(advanced.next, Next::Escalate { reason, .. } if reason.contains("circle")));
    }

    #[test]
    fn the_same_view_gives_the_same_walk() {
        let view = json!({"records": [1], "record": {"id": "r1", "keys": [{"id": "k1", "fits": true}]}});
        assert_eq!(walk(view.clone(), 0), walk(view, 0));
    }
}
