//! What is known at each step of a plan, whatever way led to it: what the branches before have asked, and which calls were
//! done. A forward data-flow analysis whose meet is what holds on every way (Kildall 1973).

use super::known::{Bindings, Known, implied};
use super::plan::{Plan, Plans, StepKind};
use std::collections::BTreeMap;

/// The bindings of a plan by name.
pub(super) fn bindings(plan: &Plan) -> Bindings<'_> {
    plan.bindings.iter().map(|(name, condition, _)| (name.as_str(), condition)).collect()
}

/// By step; a step that nothing reaches is not among them.
pub(super) fn at_steps<'a>(plan: &'a Plan, plans: &'a Plans) -> BTreeMap<&'a str, Known> {
    within(plan, plans, &mut Vec::new())
}

fn within<'a>(plan: &'a Plan, plans: &'a Plans, running: &mut Vec<&'a str>) -> BTreeMap<&'a str, Known> {
    let bound = bindings(plan);
    let mut at = BTreeMap::from([(plan.start.as_str(), Known::default())]);
    let mut open = vec![plan.start.as_str()];
    running.push(&plan.name);
    while let Some(name) = open.pop() {
        let (Some(step), Some(known)) = (plan.steps.get(name), at.get(name).cloned()) else { continue };
        for (target, reached) in leaving(name, &step.kind, &known, &bound, (plans, running)) {
            let merged = at.get(target).map_or_else(|| reached.clone(), |before| before.or(&reached));
            if at.get(target) != Some(&merged) {
                at.insert(target, merged);
                open.push(target);
            }
        }
    }
    running.pop();
    at
}

fn leaving<'a>(
    name: &str,
    kind: &'a StepKind,
    known: &Known,
    bound: &Bindings<'_>,
    (plans, running): (&'a Plans, &mut Vec<&'a str>),
) -> Vec<(&'a str, Known)> {
    let everywhere = |known: &Known| kind.targets().into_iter().map(|to| (to, known.clone())).collect();
    match kind {
        StepKind::Branch(branches) => {
            let mut rest = known.clone();
            let taken = branches.iter().map(|branch| {
                let Some(condition) = &branch.when else { return (branch.to.as_str(), rest.clone()) };
                let taken = rest.clone().and(&implied(condition.expression(), true, bound));
                rest = std::mem::take(&mut rest).and(&implied(condition.expression(), false, bound));
                (branch.to.as_str(), taken)
            });
            taken.collect()
        }
        StepKind::Call { done, refused, failed, declined, .. } => {
            let other = known.clone().with([format!("calls.{name}")]);
            let ways = [refused, failed, declined].into_iter().flatten();
            let ways = ways.map(|to| (to.as_str(), other.clone()));
            std::iter::once((done.as_str(), answered(known, name))).chain(ways).collect()
        }
        StepKind::Parallel { calls, then, failed } => {
            let all = calls.iter().fold(known.clone(), |known, look| answered(&known, &look.name));
            std::iter::once((then.as_str(), all))
                .chain(failed.as_deref().map(|to| (to, known.clone())))
                .collect()
        }
        // The facts are looked at anew; what calls have answered stays.
        StepKind::Ask { .. } => everywhere(&of_calls(known).with(["answer".to_owned()])),
        StepKind::Wait { .. } => everywhere(&of_calls(known)),
        // What was done is undone.
        StepKind::Undo { .. } => everywhere(&Known::default()),
        StepKind::Repeat { body, condition, then, .. } => {
            let again = known.clone().and(&implied(condition.expression(), true, bound));
            vec![(body.as_str(), again), (then.as_str(), known.clone())]
        }
        StepKind::Plan { name, then: Some(then) } => {
            let part = plans.by_name.get(name).filter(|part| !running.contains(&part.name.as_str()));
            let left = part.map_or_else(Known::default, |part| resolved(part, plans, running));
            vec![(then.as_str(), left.and(&of_calls(known)))]
        }
        StepKind::Reply { .. } | StepKind::Plan { .. } | StepKind::Escalate { .. } | StepKind::Resolve(_) => {
            everywhere(known)
        }
    }
}

/// What a part leaves behind, on every way out of it.
fn resolved<'a>(part: &'a Plan, plans: &'a Plans, running: &mut Vec<&'a str>) -> Known {
    let at = within(part, plans, running);
    let ends = part.steps.iter().filter(|(_, step)| matches!(step.kind, StepKind::Resolve(_)));
    let known = ends.filter_map(|(name, _)| at.get(name.as_str()).cloned());
    let mut left = known.reduce(|one, other| one.or(&other)).unwrap_or_default();
    // Its own names mean nothing to whoever runs it.
    let own = |text: &String| {
        let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.any(|word| part.bindings.iter().any(|(name, ..)| name == word))
    };
    left.present.retain(|text| !own(text));
    left.least.retain(|text, _| !own(text));
    left
}

fn answered(known: &Known, call: &str) -> Known {
    let members = ["", ".result", ".arguments", ".stale"];
    known.clone().with(members.map(|member| format!("calls.{call}{member}")))
}

fn of_calls(known: &Known) -> Known {
    let mut left = known.clone();
    left.present.retain(|text| text.starts_with("calls."));
    left.least.retain(|text, _| text.starts_with("calls."));
    left
}
