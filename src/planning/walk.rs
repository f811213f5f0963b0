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
    /// Where those plans go on that run this one as a part, the innermost last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<Back>,
    /// How often each loop was taken that has not ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<String, u32>,
    /// What comes of the case does not follow from what was read alone: a person approves each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
}

/// Who named the plan that is walked. The name stays, whichever plans it goes on in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// It was proposed for a concern that has none (see `open`).
    Proposed(String),
    /// A person gave the case back to it: to another concern's than was read, or at a step out of turn.
    Chosen(String),
}

impl Open {
    pub fn plan(&self) -> &str {
        match self {
            Self::Proposed(plan) | Self::Chosen(plan) => plan,
        }
    }
}

/// A step that is gone back to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Back {
    pub plan: String,
    pub step: String,
}

impl Cursor {
    /// At a step of a plan that nothing runs as a part.
    pub fn new(plan: &str, step: &str) -> Self {
        Self {
            plan: plan.to_owned(),
            step: step.to_owned(),
            back: Vec::new(),
            turns: BTreeMap::new(),
            open: None,
        }
    }

    /// At another step of the same plan.
    #[must_use]
    pub fn at(&self, step: &str) -> Self {
        Self { step: step.to_owned(), ..self.clone() }
    }

    /// The plan that was proposed, if one was.
    pub fn proposed(&self) -> Option<&str> {
        self.open.as_ref().filter(|open| matches!(open, Open::Proposed(_))).map(Open::plan)
    }

    /// Every plan that has a part in where it stands.
    pub fn plans(&self) -> impl Iterator<Item = &str> {
        self.back.iter().map(|back| back.plan.as_str()).chain([self.plan.as_str()])
    }
}

/// One of the calls that only read and are made side by side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LookUp {
    pub name: String,
    pub tool: String,
    pub arguments: Value,
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
    /// See [`StepKind::Parallel`].
    Parallel {
        step: String,
        record: Option<RecordId>,
        calls: Vec<LookUp>,
        then: String,
        failed: Option<String>,
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
    /// See [`StepKind::Resolve`].
    Resolve {
        step: String,
        outcome: String,
    },
}

/// What a walk gives: the steps taken, in order, and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Advanced {
    /// Each with the plan that it is of.
    pub trail: Vec<(String, String)>,
    pub cursor: Cursor,
    pub next: Next,
}

impl Advanced {
    /// The names of the steps.
    pub fn path(&self) -> Vec<String> {
        self.trail.iter().map(|(_, step)| step.clone()).collect()
    }
}

/// More steps between two effects than any sane plan has: the plan runs in a circle.
const MOST_STEPS: usize = 64;

/// More plans within each other than any sane plan has.
const DEEPEST: usize = 8;

/// Where an undecided case goes.
pub const GENERAL_QUEUE: &str = "support";

/// Walks from `cursor` until a step has an effect. `asked` says how often each ask step was asked.
pub fn advance(plans: &Plans, cursor: &Cursor, view: &Value, asked: &BTreeMap<String, u32>) -> Advanced {
    let mut trail = Vec::new();
    let mut cursor = cursor.clone();
    // The view with the bindings of one plan.
    let mut bound: Option<(String, Value)> = None;
    for _ in 0..MOST_STEPS {
        let Some(plan) = plans.by_name.get(&cursor.plan) else {
            return give_up(trail, cursor, "plan_missing".to_owned());
        };
        let Some(step) = plan.steps.get(&cursor.step) else {
            return give_up(trail, cursor, "step_missing".to_owned());
        };
        let (_, view) = match bound.take() {
            Some(known) if known.0 == cursor.plan => bound.insert(known),
            _ => bound.insert((cursor.plan.clone(), with_bindings(plan, view))),
        };
        trail.push((cursor.plan.clone(), cursor.step.clone()));
        match onward(plans, &mut cursor, &step.kind, view) {
            Onward::At(step) => cursor.step = step,
            Onward::Moved => {}
            Onward::Lost(reason) => return give_up(trail, cursor, reason),
            Onward::Effect => {
                return match effect(&cursor.step, &step.kind, view, asked) {
                    Ok(next) => Advanced { trail, cursor, next },
                    Err(reason) => give_up(trail, cursor, reason),
                };
            }
        }
    }
    give_up(trail, cursor, "plan_runs_in_a_circle".to_owned())
}

/// Where a step leads that has no effect of its own.
enum Onward {
    At(String),
    /// The cursor stands in another plan.
    Moved,
    Effect,
    Lost(String),
}

fn onward(plans: &Plans, cursor: &mut Cursor, kind: &StepKind, view: &Value) -> Onward {
    match kind {
        StepKind::Branch(branches) => match choose(branches, view) {
            Ok(to) => Onward::At(to),
            Err(reason) => Onward::Lost(format!("unknown: {reason}")),
        },
        StepKind::Repeat { body, condition, most, then } => {
            let turns = cursor.turns.get(&cursor.step).copied().unwrap_or(0);
            let again = if turns < *most { condition.decide(view) } else { Truth::False };
            match again {
                Truth::True => {
                    cursor.turns.insert(cursor.step.clone(), turns + 1);
                    Onward::At(body.clone())
                }
                Truth::False => {
                    cursor.turns.remove(&cursor.step);
                    Onward::At(then.clone())
                }
                Truth::Unknown(reason) => Onward::Lost(format!("unknown: {reason}")),
            }
        }
        StepKind::Plan { name, then } => {
            let Some(target) = plans.by_name.get(name) else {
                return Onward::Lost("plan_missing".to_owned());
            };
            if cursor.back.len() >= DEEPEST {
                return Onward::Lost("plan_runs_in_a_circle".to_owned());
            }
            if let Some(then) = then {
                cursor.back.push(Back { plan: cursor.plan.clone(), step: then.clone() });
            }
            (cursor.plan, cursor.step) = (name.clone(), target.start.clone());
            Onward::Moved
        }
        StepKind::Resolve(_) => match cursor.back.pop() {
            Some(back) => {
                (cursor.plan, cursor.step) = (back.plan, back.step);
                Onward::Moved
            }
            None => Onward::Effect,
        },
        _ => Onward::Effect,
    }
}

fn give_up(trail: Vec<(String, String)>, cursor: Cursor, reason: String) -> Advanced {
    let next = Next::Escalate {
        step: cursor.step.clone(),
        queue: GENERAL_QUEUE.to_owned(),
        reason,
        template: HANDOVER.to_owned(),
    };
    Advanced { trail, cursor, next }
}

/// A binding that cannot be evaluated stays away, so that whoever uses it gets unknown.
fn with_bindings(plan: &Plan, view: &Value) -> Value {
    let mut view = view.clone();
    for (name, condition, _) in &plan.bindings {
        let value = condition.evaluate(&view);
        if let (Ok(value), Value::Object(members)) = (value, &mut view) {
            members.insert(name.clone(), value);
        }
    }
    view
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
            record: record_of(view),
            arguments: evaluate_all(arguments, view)?,
        }),
        StepKind::Parallel { calls, then, failed } => {
            let look = |look: &super::plan::Look| {
                let arguments = evaluate_all(&look.arguments, view)?;
                Ok(LookUp { name: look.name.clone(), tool: look.tool.clone(), arguments })
            };
            let calls = calls.iter().map(look).collect::<Result<_, String>>()?;
            let (then, failed, record) = (then.clone(), failed.clone(), record_of(view));
            Ok(Next::Parallel { step, record, calls, then, failed })
        }
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
        StepKind::Resolve(outcome) => Ok(Next::Resolve { step, outcome: outcome.clone() }),
        StepKind::Branch(_) | StepKind::Plan { .. } | StepKind::Repeat { .. } => {
            Err("step_has_no_effect".to_owned())
        }
    }
}

fn record_of(view: &Value) -> Option<RecordId> {
    view.pointer("/record/id").and_then(Value::as_str).map(RecordId::new)
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
        let plans = Plans { by_name: [("door".to_owned(), plan)].into() };
        advance(&plans, &Cursor::new("door", "known"), &view, &[("ask".to_owned(), asked)].into())
    }

    #[test]
    fn a_call_gets_its_arguments_from_the_record() {
        let view = json!({"records": [1], "record": {"id": "r1", "keys": [{"id": "k1", "fits": true}, {"id": "k2", "fits": false}]}});
        let advanced = walk(view, 0);
        assert_eq!(advanced.path(), ["known", "key", "open"]);
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
        let plans = Plans { by_name: [("c".to_owned(), Plan::parse("c.toml", text).unwrap())].into() };
        let advanced = advance(&plans, &Cursor::new("c", "a"), &json!({}), &BTreeMap::new());
        assert!(matches!(advanced.next, Next::Escalate { reason, .. } if reason.contains("circle")));
    }

    const HALL: &str = r#"
leaf = "hall"
summary = "goes in by the door"
start = "first"
[[let]]
name = "wide"
value = "size(records) > 1"
[steps.first]
plan = "lock"
then = "in"
[steps.in]
branch = [{ when = "wide", to = "ring" }, { to = "end" }]
[steps.ring]
repeat = "bell"
while = "!calls_answered"
most = 2
then = "end"
[steps.bell]
wait = "1m"
then = "ring"
[steps.end]
resolve = "inside"
"#;

    const LOCK: &str = r#"
part = "lock"
summary = "unlocks"
start = "turn"
[[let]]
name = "wide"
value = "false"
[steps.turn]
branch = [{ when = "wide", to = "stuck" }, { when = "size(records) > 0", to = "open" }, { to = "key" }]
[steps.stuck]
escalate = "locksmith"
reason = "stuck"
[steps.key]
ask = "which_key"
then = "turn"
[steps.open]
resolve = "open"
"#;

    fn hall() -> Plans {
        let named = |text: &str| {
            let plan = Plan::parse("a.toml", text).unwrap();
            (plan.name.clone(), plan)
        };
        Plans { by_name: [named(HALL), named(LOCK)].into() }
    }

    #[test]
    fn a_part_is_gone_into_and_come_back_from_with_bindings_of_its_own() {
        let (plans, begin) = (hall(), Cursor::new("hall", "first"));
        let view = json!({"records": [1]});
        let advanced = advance(&plans, &begin, &view, &BTreeMap::new());
        assert_eq!(advanced.path(), ["first", "turn", "open", "in", "end"]);
        assert_eq!(advanced.next, Next::Resolve { step: "end".into(), outcome: "inside".into() });
        // A question within the part knows the way back, also after it was written down.
        let asked = advance(&plans, &begin, &json!({"records": []}), &BTreeMap::new());
        assert!(matches!(&asked.next, Next::Ask { then, .. } if then == "turn"));
        assert_eq!(asked.cursor.plans().collect::<Vec<_>>(), ["hall", "lock"]);
        let kept: Cursor = serde_json::from_value(serde_json::to_value(&asked.cursor).unwrap()).unwrap();
        let advanced = advance(&plans, &kept.at("turn"), &view, &BTreeMap::new());
        assert_eq!(advanced.path(), ["turn", "open", "in", "end"]);
        // What was written down before there were parts is read as it was.
        let old: Cursor = serde_json::from_value(json!({"plan": "hall", "step": "in"})).unwrap();
        assert_eq!(
            (old.clone(), json!(old)),
            (Cursor::new("hall", "in"), json!({"plan": "hall", "step": "in"}))
        );
    }

    #[test]
    fn a_loop_ends_when_it_need_not_go_on_and_after_so_many_turns() {
        let (plans, begin) = (hall(), Cursor::new("hall", "in"));
        let ringing = json!({"records": [1, 2], "calls_answered": false});
        let mut advanced = advance(&plans, &begin, &ringing, &BTreeMap::new());
        for turn in 1..=2 {
            assert_eq!(advanced.cursor.turns.get("ring"), Some(&turn));
            let Next::Wait { then, .. } = &advanced.next else { panic!("{advanced:?}") };
            advanced = advance(&plans, &advanced.cursor.at(then), &ringing, &BTreeMap::new());
        }
        assert_eq!(advanced.path(), ["ring", "end"]);
        assert!(advanced.cursor.turns.is_empty());
        let answered = json!({"records": [1, 2], "calls_answered": true});
        assert_eq!(advance(&plans, &begin, &answered, &BTreeMap::new()).path(), ["in", "ring", "end"]);
        let unknown = advance(&plans, &begin, &json!({"records": [1, 2]}), &BTreeMap::new());
        assert!(matches!(unknown.next, Next::Escalate { reason, .. } if reason.starts_with("unknown: ")));
    }

    #[test]
    fn the_same_view_gives_the_same_walk() {
        let view = json!({"records": [1], "record": {"id": "r1", "keys": [{"id": "k1", "fits": true}]}});
        assert_eq!(walk(view.clone(), 0), walk(view, 0));
    }
}
