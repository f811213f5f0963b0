//! Finds what is wrong with the way in which the steps of plans follow each other: steps that nothing reaches, circles,
//! parts that run each other, loops that do not lead back, cases that would end without a word to the customer, and what
//! comes after an act that cannot be undone.

use super::check::Names;
use super::plan::{Plan, PlanKind, Plans, StepKind};
use crate::base::Finding;
use std::collections::{BTreeMap, BTreeSet};

/// Every fault of one plan.
pub(super) fn check(plan: &Plan, plans: &Plans, names: &Names) -> Vec<Finding> {
    let mut checker = Checker { plan, plans, names, findings: Vec::new() };
    checker.reachable();
    checker.no_circle();
    checker.loops_lead_back();
    checker.parts();
    checker.irreversible_last();
    checker.ends_with_a_word();
    checker.findings
}

struct Checker<'a> {
    plan: &'a Plan,
    plans: &'a Plans,
    names: &'a Names,
    findings: Vec<Finding>,
}

impl<'a> Checker<'a> {
    fn fault(&mut self, line: usize, message: String) {
        self.findings.push(Finding::new(&self.plan.file, line, message));
    }

    fn reachable(&mut self) {
        let reached = follow(self.plan, vec![self.plan.start.as_str()], |kind| kind.targets());
        for (name, step) in &self.plan.steps {
            if !reached.contains(name.as_str()) {
                let message = format!("step `{name}` is never reached; remove it or lead a step to it");
                self.fault(step.line, message);
            }
        }
    }

    /// A way back to a step is allowed only through a question, which is asked a limited number of times, or a loop.
    fn no_circle(&mut self) {
        let plan = self.plan;
        for (name, step) in &plan.steps {
            if follow(plan, onward(&step.kind), onward).contains(name.as_str()) {
                let message = format!("step `{name}` leads back to itself without a question or a `repeat`");
                self.fault(step.line, message);
            }
        }
    }

    fn loops_lead_back(&mut self) {
        let plan = self.plan;
        for (name, step) in &plan.steps {
            let StepKind::Repeat { body, .. } = &step.kind else { continue };
            if !follow(plan, vec![body], |kind| kind.targets()).contains(name.as_str()) {
                let message =
                    format!("step `{name}`: `{body}` does not lead back to it, so that nothing is repeated");
                self.fault(step.line, message);
            }
        }
    }

    /// What is run as a part, and that no plan runs itself.
    fn parts(&mut self) {
        let (plan, plans) = (self.plan, self.plans);
        let runs = |plan: &'a Plan| {
            plan.steps.values().filter_map(move |step| match &step.kind {
                StepKind::Plan { name, .. } => plans.by_name.get(name),
                _ => None,
            })
        };
        let (mut seen, mut open) = (BTreeMap::new(), runs(plan).collect::<Vec<_>>());
        while let Some(next) = open.pop() {
            if seen.insert(next.name.as_str(), next).is_none() {
                open.extend(runs(next));
            }
        }
        if seen.contains_key(plan.name.as_str()) {
            self.fault(1, format!("plan `{}` leads to itself through other plans", plan.name));
        }
        for (name, step) in &plan.steps {
            let StepKind::Plan { name: other, then } = &step.kind else { continue };
            let Some(target) = plans.by_name.get(other) else { continue };
            let message = match (target.kind, then) {
                (PlanKind::Part, Some(_)) | (PlanKind::Leaf, None) => continue,
                (PlanKind::Part, None) => {
                    format!("step `{name}`: `{other}` is a part; say where it goes on, with `then`")
                }
                (kind, _) => format!(
                    "step `{name}`: `{other}` is the plan of {} {}, which does not come back; remove `then`, or make it a \
                     part",
                    if kind == PlanKind::Leaf { "a" } else { "an" },
                    kind.as_str()
                ),
            };
            self.fault(step.line, message);
        }
        // Calls and questions are known by the names of their steps.
        for other in seen.values().filter(|other| other.kind == PlanKind::Part) {
            for (name, step) in &plan.steps {
                if other.steps.contains_key(name) {
                    let message = format!(
                        "part `{}` has a step `{name}` as well; give one of them another name",
                        other.name
                    );
                    self.fault(step.line, message);
                }
            }
        }
        for other in seen.into_values() {
            for document in other.documents.iter().filter(|document| !plan.documents.contains(document)) {
                let message = format!(
                    "plan `{}`, in which this one goes on, rests on `{document}`; list it in `policy.documents` here as well",
                    other.name
                );
                self.fault(1, message);
            }
        }
        self.of_part();
    }

    fn of_part(&mut self) {
        let plan = self.plan;
        if plan.kind != PlanKind::Part {
            return;
        }
        let resolves =
            |plan: &Plan| plan.steps.values().any(|step| matches!(step.kind, StepKind::Resolve(_)));
        if !resolves(plan) {
            self.fault(
                1,
                format!("part `{}` has no step `resolve`, so that nothing goes on after it", plan.name),
            );
        }
        let run = |other: &Plan| {
            other
                .steps
                .values()
                .any(|step| matches!(&step.kind, StepKind::Plan { name, .. } if *name == plan.name))
        };
        if !self.plans.by_name.values().any(run) {
            self.fault(1, format!("no plan runs the part `{}`; remove it", plan.name));
        }
    }

    /// What fails after an act that cannot be undone would leave half of the whole done for good.
    fn irreversible_last(&mut self) {
        let (plan, names) = (self.plan, self.names);
        for (name, step) in &plan.steps {
            let StepKind::Call { tool, done, .. } = &step.kind else { continue };
            if !names.irreversible.contains(tool) {
                continue;
            }
            if let Some((later, at)) = self.changing_after(plan, done) {
                let message = format!(
                    "step `{name}`: `{tool}` cannot be undone and `{later}` in step `{at}` comes after it; what cannot be \
                     undone comes last"
                );
                self.fault(step.line, message);
            }
        }
    }

    /// The first tool that changes something and may come after a step, and its step; also in the plans that it goes on
    /// in, and in those that run it as a part.
    fn changing_after(&self, plan: &'a Plan, step: &'a str) -> Option<(&'a str, &'a str)> {
        let plans = self.plans;
        let (mut seen, mut open) = (BTreeSet::new(), vec![(plan, step)]);
        while let Some((of, next)) = open.pop() {
            let Some(step) = of.steps.get(next).filter(|_| seen.insert((&of.name, next))) else { continue };
            match &step.kind {
                StepKind::Call { tool, .. } if self.names.changing.contains(tool) => {
                    return Some((tool, next));
                }
                StepKind::Plan { name, .. } => {
                    open.extend(plans.by_name.get(name).map(|to| (to, to.start.as_str())));
                }
                StepKind::Resolve(_) if of.kind == PlanKind::Part => open.extend(callers(plans, &of.name)),
                _ => {}
            }
            open.extend(step.kind.targets().into_iter().map(|target| (of, target)));
        }
        None
    }

    /// A customer who wrote must not be left without an answer. An event may end without one.
    fn ends_with_a_word(&mut self) {
        let plan = self.plan;
        if plan.kind != PlanKind::Leaf {
            return;
        }
        let silent = |kind: &'a StepKind| match kind {
            StepKind::Reply { .. } | StepKind::Ask { .. } => Vec::new(),
            kind => kind.targets(),
        };
        let reached = follow(plan, vec![plan.start.as_str()], silent);
        for (name, step) in &plan.steps {
            if matches!(step.kind, StepKind::Resolve(_)) && reached.contains(name.as_str()) {
                let message = format!(
                    "step `{name}` may end the case before the customer was told anything; lead a `reply` to it"
                );
                self.fault(step.line, message);
            }
        }
    }
}

/// Where the plans go on that run a part.
fn callers<'a>(plans: &'a Plans, part: &str) -> Vec<(&'a Plan, &'a str)> {
    let steps = plans.by_name.values().flat_map(|plan| plan.steps.values().map(move |step| (plan, step)));
    let after = steps.filter_map(|(plan, step)| match &step.kind {
        StepKind::Plan { name, then: Some(then) } if name == part => Some((plan, then.as_str())),
        _ => None,
    });
    after.collect()
}

/// The steps of a plan that can be reached from these.
fn follow<'a>(
    plan: &'a Plan,
    mut open: Vec<&'a str>,
    next: impl Fn(&'a StepKind) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.insert(name)
            && let Some(step) = plan.steps.get(name)
        {
            open.extend(next(&step.kind));
        }
    }
    reached
}

fn onward(kind: &StepKind) -> Vec<&str> {
    match kind {
        StepKind::Ask { .. } => Vec::new(),
        StepKind::Repeat { then, .. } => vec![then],
        kind => kind.targets(),
    }
}
