//! Finds what is wrong with a plan before it runs: unknown names, steps that nothing reaches,
//! arguments of a call that do not come from a record.

use super::Condition;
use super::flow::{at_steps, bindings};
use super::known::{Bindings, Known, literal};
use super::plan::{Look, Plan, PlanFor, PlanKind, Plans, StepKind};
use super::provenance::{Flow, Flows, OWNED};
use super::shape::Shape;
use super::typing;
use crate::base::Finding;
use crate::base::finding::suggestion;
use std::collections::{BTreeMap, BTreeSet};

/// The names of the rest of the pack that plans may use.
pub struct Names {
    pub leaves: BTreeSet<String>,
    /// Tool name to the names of its arguments.
    pub tools: BTreeMap<String, BTreeSet<String>>,
    /// Tool name to those of its arguments that are not of weight.
    pub free: BTreeMap<String, BTreeSet<String>>,
    /// Tool name to what it takes and what it answers.
    pub takes: BTreeMap<String, Shape>,
    pub gives: BTreeMap<String, Shape>,
    /// Tools that change something, and those of them whose effect cannot be undone.
    pub changing: BTreeSet<String>,
    pub irreversible: BTreeSet<String>,
    /// Those that a compensation undoes.
    pub undoable: BTreeSet<String>,
    /// Template name to the keys that its text needs, such as `record.iban`, `passage.text`, `card.last4`.
    pub templates: BTreeMap<String, BTreeSet<String>>,
    pub queues: BTreeSet<String>,
    /// Policy documents without their language suffix.
    pub documents: BTreeSet<String>,
    pub languages: Vec<String>,
    /// The shape of the view that conditions see.
    pub view: Shape,
}

/// The root that holds the sender's own words. They choose nothing, and become nothing but what is not of weight.
const MESSAGE: &str = "message";

/// Every fault of every plan, in order of file and line.
pub fn check(plans: &Plans, names: &Names) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        plans.by_name.values().flat_map(|plan| Checker::new(plan, plans, names).run()).collect();
    findings.sort();
    findings
}

struct Checker<'a> {
    plan: &'a Plan,
    plans: &'a Plans,
    names: &'a Names,
    view: Shape,
    bound: Bindings<'a>,
    /// Bindings that are there when there is a record.
    of_record: BTreeSet<String>,
    /// What is known at each step, and at the one that is looked at.
    at: BTreeMap<&'a str, Known>,
    known: Known,
    /// Where the values of roots and bindings come from.
    flows: Flows,
    findings: Vec<Finding>,
}

impl<'a> Checker<'a> {
    fn new(plan: &'a Plan, plans: &'a Plans, names: &'a Names) -> Self {
        let flows = Flows::of_view(&names.view);
        let mut view = names.view.clone().with("calls", calls(plan, plans, names));
        if let (PlanKind::Event, Shape::Object(members)) = (plan.kind, &mut view) {
            // Nothing was read.
            members.remove("reading");
        }
        Self {
            plan,
            plans,
            names,
            view,
            bound: bindings(plan),
            of_record: BTreeSet::new(),
            at: at_steps(plan, plans),
            known: Known::default(),
            flows,
            findings: Vec::new(),
        }
    }

    fn fault(&mut self, line: usize, message: String) {
        self.findings.push(Finding::new(&self.plan.file, line, message));
    }

    fn is_known<'n>(
        &mut self,
        line: usize,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) {
        if !known.clone().into_iter().any(|candidate| candidate == name) {
            self.fault(line, format!("{what} `{name}` is not known{}", suggestion(name, known)));
        }
    }

    fn expression(&mut self, line: usize, condition: &Condition) -> Shape {
        if condition.roots().contains(MESSAGE) {
            let message = format!(
                "`{}` looks at `{MESSAGE}`: what the sender typed may become an argument that is not of weight (`free` \
                 of the tool), and nothing else",
                condition.source()
            );
            self.fault(line, message);
        }
        self.named(line, condition)
    }

    fn condition(&mut self, line: usize, condition: &Condition) {
        let shape = self.expression(line, condition);
        if shape.kind().is_some_and(|kind| kind != "bool") {
            let message = format!("`{}` is neither true nor false, but {}", condition.source(), shape.name());
            self.fault(line, message);
        }
    }

    /// An expression that may hold the sender's words.
    fn named(&mut self, line: usize, condition: &Condition) -> Shape {
        self.for_anyone(line, condition);
        let scope = typing::Scope { view: &self.view, bindings: &self.bound, of_record: &self.of_record };
        let (faults, shape) = typing::check(condition, &scope, &self.known);
        for fault in faults {
            self.fault(line, format!("in `{}`: {fault}", condition.source()));
        }
        shape
    }

    fn run(mut self) -> Vec<Finding> {
        let plan = self.plan;
        let names = self.names;
        match plan.kind {
            PlanKind::Leaf => self.is_known(1, "leaf", &plan.name, names.leaves.iter().map(String::as_str)),
            kind if names.leaves.contains(&plan.name) => {
                let (name, kind) = (&plan.name, kind.as_str());
                self.fault(1, format!("`{name}` is a leaf of intents.toml; give the {kind} another name"));
            }
            PlanKind::Event if plan.audience == PlanFor::Anyone => {
                self.fault(1, "an event is about one customer; remove `for = \"anyone\"`".to_owned());
            }
            _ => {}
        }
        self.is_known(1, "`start` step", &plan.start, plan.steps.keys().map(String::as_str));
        for document in &plan.documents {
            self.is_known(1, "policy document", document, names.documents.iter().map(String::as_str));
        }
        for language in &names.languages {
            if !plan.documents.is_empty() && !plan.question.contains_key(language) {
                self.fault(1, format!("`policy.question` has no `{language}`; every language needs one"));
            }
        }
        let mut bound = BTreeSet::new();
        // A binding of what is in a record is there when that is.
        self.known = Known::default().with(["record".to_owned()]);
        for (name, condition, line) in &plan.bindings {
            if !bound.insert(name) {
                self.fault(*line, format!("there are two bindings `{name}`; give each a name of its own"));
            }
            if matches!(&self.names.view, Shape::Object(members) if members.contains_key(name)) {
                self.fault(*line, format!("`{name}` is a name of the view; give the binding another one"));
            }
            let shape = self.expression(*line, condition);
            let flow = self.flows.of(condition);
            self.flows.bind(name, flow);
            let roots = condition.roots();
            let of_record = roots.iter().any(|root| root == "record" || self.of_record.contains(root));
            let shape = if of_record { Shape::optional(shape) } else { shape };
            if of_record {
                self.of_record.insert(name.clone());
            }
            self.view = std::mem::replace(&mut self.view, Shape::Any).with(name, shape);
        }
        for (name, step) in &plan.steps {
            self.known = self.at.get(name.as_str()).cloned().unwrap_or_default();
            self.step(name, step.line, &step.kind);
        }
        self.findings.extend(super::structure::check(plan, self.plans, names));
        if plan.trials.is_empty() {
            self.fault(1, "the plan has no `[[test]]`; add at least one for each end".to_owned());
        }
        self.findings
    }

    fn step(&mut self, name: &str, line: usize, kind: &StepKind) {
        let plan = self.plan;
        for (position, target) in kind.targets().into_iter().enumerate() {
            let line = match kind {
                StepKind::Branch(branches) => branches.get(position).map_or(line, |branch| branch.line),
                _ => line,
            };
            self.is_known(
                line,
                &format!("step `{name}` goes to"),
                target,
                plan.steps.keys().map(String::as_str),
            );
        }
        match kind {
            StepKind::Branch(branches) => {
                for branch in branches {
                    if let Some(condition) = &branch.when {
                        self.condition(branch.line, condition);
                        let not = typing::implied(condition, false, &self.bound);
                        self.known = std::mem::take(&mut self.known).and(&not);
                    }
                }
            }
            StepKind::Call { tool, arguments, .. } => self.call(name, line, tool, arguments),
            StepKind::Ask { template, with, .. } => self.text(line, template, with, false),
            StepKind::Reply { template, with, cite, .. } => {
                self.text(line, template, with, !cite.is_empty());
                for document in cite {
                    self.is_known(
                        line,
                        "cited document",
                        document,
                        plan.documents.iter().map(String::as_str),
                    );
                }
            }
            StepKind::Escalate { queue, template, .. } => {
                let names = self.names;
                self.is_known(line, "queue", queue, names.queues.iter().map(String::as_str));
                self.is_known(line, "template", template, names.templates.keys().map(String::as_str));
            }
            StepKind::Wait { .. } => {}
            StepKind::Undo { calls, .. } => self.undo(name, line, calls.as_ref()),
            StepKind::Plan { name: other, .. } => {
                let target = self.plans.by_name.get(other);
                if target.is_some_and(|to| to.audience != plan.audience && plan.audience == PlanFor::Anyone) {
                    self.fault(
                        line,
                        format!("plan `{other}` is for verified customers; this one is `for = \"anyone\"`"),
                    );
                }
                let plans = self.plans;
                self.is_known(line, "plan", other, plans.by_name.keys().map(String::as_str));
            }
            StepKind::Parallel { calls, .. } => self.parallel(name, line, calls),
            StepKind::Repeat { condition, .. } => self.condition(line, condition),
            StepKind::Resolve(_) => {}
        }
    }

    fn undo(&mut self, name: &str, line: usize, calls: Option<&Vec<String>>) {
        let plan = self.plan;
        for call in calls.into_iter().flatten() {
            let is_call = |step: &super::plan::Step| matches!(step.kind, StepKind::Call { .. });
            let calls = plan.steps.iter().filter(|(_, step)| is_call(step));
            self.is_known(line, "call", call, calls.map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        }
        let names = self.names;
        for (call, step) in &plan.steps {
            let StepKind::Call { tool, .. } = &step.kind else { continue };
            let wanted = calls.is_none_or(|calls| calls.contains(call));
            if wanted && names.changing.contains(tool) && !names.undoable.contains(tool) {
                let message = format!(
                    "step `{name}` undoes `{call}`, and `{tool}` has no compensation: the case would be stuck; name \
                     the steps that can be undone"
                );
                self.fault(line, message);
            }
        }
    }

    /// Side by side is for tools that only read: what changes something is done one after the other, so that the rules see
    /// what was done before.
    fn parallel(&mut self, name: &str, line: usize, calls: &[Look]) {
        let mut seen = BTreeSet::new();
        for look in calls {
            if !seen.insert(&look.name) || self.plan.steps.contains_key(&look.name) {
                let taken = format!(
                    "step `{name}`: there are two calls or steps `{}`; give each its own name",
                    look.name
                );
                self.fault(line, taken);
            }
            if self.names.changing.contains(&look.tool) {
                let message = format!(
                    "step `{name}`: `{}` changes something; only tools of risk `read` are called side by side, others one \
                     after the other",
                    look.tool
                );
                self.fault(line, message);
            }
            self.call(&look.name, line, &look.tool, &look.arguments);
        }
    }

    /// A text's template must exist and get what it needs.
    fn text(&mut self, line: usize, template: &str, with: &BTreeMap<String, Condition>, cites: bool) {
        let names = self.names;
        self.is_known(line, "template", template, names.templates.keys().map(String::as_str));
        for condition in with.values() {
            self.expression(line, condition);
        }
        for key in names.templates.get(template).into_iter().flatten() {
            let root = key.split('.').next().unwrap_or(key);
            match root {
                "record" => {}
                "passage" if cites => {}
                "passage" => self.fault(line, format!("template `{template}` needs `{key}`; add `cite`")),
                _ if with.contains_key(root) => {}
                _ => {
                    self.fault(line, format!("template `{template}` needs `{key}`; give `{root}` in `with`"))
                }
            }
        }
    }

    /// A plan for everybody must not know what the records say: its answer would tell.
    fn for_anyone(&mut self, line: usize, condition: &Condition) {
        for root in condition.roots() {
            if self.plan.audience == PlanFor::Anyone
                && ["facts", "record", "records", "calls"].contains(&root.as_str())
            {
                let message = format!(
                    "`{}` looks at `{root}`, which a plan `for = \"anyone\"` must not",
                    condition.source()
                );
                self.fault(line, message);
            }
        }
    }

    fn call(&mut self, name: &str, line: usize, tool: &str, arguments: &BTreeMap<String, Condition>) {
        let names = self.names;
        self.is_known(line, "tool", tool, names.tools.keys().map(String::as_str));
        if let Some(Shape::Object(members)) = names.takes.get(tool) {
            for (needed, shape) in members {
                if !matches!(shape, Shape::Optional(_)) && !arguments.contains_key(needed) {
                    self.fault(line, format!("step `{name}`: `{tool}` needs the argument `{needed}`"));
                }
            }
        }
        for (argument, condition) in arguments {
            let is_free = names.free.get(tool).is_some_and(|free| free.contains(argument));
            let shape = match is_free {
                true => self.named(line, condition),
                false => self.expression(line, condition),
            };
            if let Some(Shape::Object(members)) = names.takes.get(tool)
                && let Some(wanted) = members.get(argument)
                && let Some(why) = shape.unfit(wanted, literal(condition.expression()))
            {
                let source = condition.source();
                self.fault(
                    line,
                    format!("step `{name}`: argument `{argument}` = `{source}` does not fit `{tool}`: {why}"),
                );
            }
            if let Some(declared) = names.tools.get(tool) {
                self.is_known(
                    line,
                    &format!("argument of `{tool}`"),
                    argument,
                    declared.iter().map(String::as_str),
                );
            }
            let flow: Flow = self.flows.of(condition);
            if let Some(fault) = flow.fault().filter(|_| !is_free) {
                let message = format!(
                    "step `{name}`: argument `{argument}` = `{}` does not come from a record alone: {fault}; only {}, \
                     literals and bindings of them may become an argument, unless the tool says `free = [\"{argument}\"]`",
                    condition.source(),
                    OWNED.join(", ")
                );
                self.fault(line, message);
            }
        }
    }
}

/// What a plan can know of its calls, and of those of the parts that it runs: each may not have been made.
fn calls(plan: &Plan, plans: &Plans, names: &Names) -> Shape {
    let outcomes = ["proposed", "intended", "done", "failed", "ambiguous", "compensated"];
    let known = |shape: Option<&Shape>| Shape::optional(shape.cloned().unwrap_or(Shape::Any));
    let of = |tool: &str| {
        Shape::optional(Shape::object([
            ("outcome", Shape::one_of(outcomes)),
            ("result", known(names.gives.get(tool))),
            ("arguments", known(names.takes.get(tool))),
            ("stale", Shape::optional(Shape::Bool)),
        ]))
    };
    let (mut seen, mut open, mut calls) = (BTreeSet::new(), vec![plan], BTreeMap::new());
    while let Some(plan) = open.pop().filter(|plan| seen.insert(&plan.name)) {
        for (name, step) in &plan.steps {
            match &step.kind {
                StepKind::Call { tool, .. } => drop(calls.insert(name.clone(), of(tool))),
                StepKind::Parallel { calls: looks, .. } => {
                    calls.extend(looks.iter().map(|look| (look.name.clone(), of(&look.tool))));
                }
                StepKind::Plan { name, then: Some(_) } => open.extend(plans.by_name.get(name)),
                _ => {}
            }
        }
    }
    Shape::Object(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"leaf = "door"
summary = "opens a door"
start = "known"
policy = { documents = ["doors"], question = { en = "How do I open a door?" } }
[steps.known]
branch = [{ when = "record.status == 'open'", to = "open" }, { to = "human" }]
[steps.open]
call = "open_door"
arguments = { key = "record.status" }
done = "tell"
[steps.tell]
reply = "opened"
cite = ["doors"]
[steps.human]
escalate = "locksmith"
reason = "no_key"
[[test]]
name = "t"
given = {}
expect = { escalate = "locksmith" }
"#;

    fn findings(text: &str) -> Vec<Finding> {
        let plan = match Plan::parse("door.toml", text) {
            Ok(plan) => plan,
            Err(findings) => return findings,
        };
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let names = Names {
            leaves: set(&["door", "window"]),
            tools: [("open_door".to_owned(), set(&["key", "note"]))].into(),
            free: [("open_door".to_owned(), set(&["note"]))].into(),
            takes: [(
                "open_door".to_owned(),
                Shape::object([("key", Shape::Scalar), ("note", Shape::optional(Shape::Text))]),
            )]
            .into(),
            gives: [("open_door".to_owned(), Shape::of_paths(["key"]))].into(),
            changing: set(&["open_door"]),
            irreversible: set(&["open_door"]),
            undoable: set(&["open_door"]),
            templates: [("opened".to_owned(), set(&["passage.text"])), ("handover".to_owned(), set(&[]))]
                .into(),
            queues: set(&["locksmith"]),
            documents: set(&["doors"]),
            languages: vec!["en".into()],
            view: Shape::object([
                ("record", Shape::of_paths(["status"])),
                ("reading", Shape::of_paths(["leaf"])),
                ("message", Shape::of_paths(["text"])),
                ("calls", Shape::Any),
            ]),
        };
        check(&Plans { by_name: [("door".to_owned(), plan)].into() }, &names)
    }

    #[test]
    fn a_sound_plan_has_no_findings() {
        assert_eq!(findings(PLAN), []);
    }

    #[test]
    fn what_cannot_be_undone_comes_last() {
        let again =
            "[steps.again]\ncall = \"open_door\"\narguments = { key = \"record.status\" }\ndone = \"tell\"\n";
        let text = PLAN.replacen("done = \"tell\"", "done = \"again\"", 1).replacen(
            "[steps.tell]",
            &format!("{again}[steps.tell]"),
            1,
        );
        let found = findings(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("comes after it"), "{found:?}");
    }

    #[test]
    fn waits_and_undoing_are_read_and_checked() {
        let text = PLAN.replacen("done = \"tell\"", "done = \"tell\"\nfailed = \"back\"", 1)
            + "[steps.back]\nundo = [\"open\"]\nthen = \"pause\"\n[steps.pause]\nwait = \"24h\"\nevent = \"shut\"\nthen = \"human\"\narrived = \"tell\"\n";
        assert_eq!(findings(&text), []);
        for (from, to, told) in [
            ("event = \"shut\"", "event = \"\"", "visible"),
            ("event = \"shut\"", "event = \"shut now\"", "visible"),
            ("24h", "24", "24h"),
            ("24h", "-1h", "24h"),
            ("24h", "367d", "a year"),
            ("24h", "99999999999999999d", "a year"),
            ("event = \"shut\"\n", "", "wait-with-`event`"),
            ("undo = [\"open\"]", "undo = [\"opne\"]", "`open`"),
            ("undo = [\"open\"]", "undo = [\"tell\"]", "call `tell`"),
            ("undo = [\"open\"]", "undo = \"some\"", "or a list of steps"),
            ("undo = [\"open\"]", "undo = []", "or a list of steps"),
        ] {
            let found = findings(&text.replacen(from, to, 1));
            assert!(found.iter().any(|finding| finding.message.contains(told)), "{to}: {found:?}");
        }
    }

    #[test]
    fn every_name_misspelt_once_is_found_with_its_line() {
        for (right, wrong, line) in [
            ("leaf = \"door\"", "leaf = \"dor\"", 1),
            ("start = \"known\"", "start = \"know\"", 1),
            ("documents = [\"doors\"]", "documents = [\"dors\"]", 1),
            ("record.status == 'open'", "record.sttus == 'open'", 6),
            ("to = \"open\"", "to = \"opne\"", 6),
            ("\"open_door\"", "\"open_dor\"", 7),
            ("key = \"record.status\"", "kye = \"record.status\"", 7),
            ("key = \"record.status\"", "key = \"record.stauts\"", 7),
            ("done = \"tell\"", "done = \"tel\"", 7),
            ("reply = \"opened\"", "reply = \"openend\"", 11),
            ("cite = [\"doors\"]", "cite = [\"dors\"]", 11),
            ("\"locksmith\"\nreason", "\"lock\"\nreason", 14),
        ] {
            assert!(PLAN.contains(right), "{right}");
            let found = findings(&PLAN.replacen(right, wrong, 1));
            assert!(!found.is_empty(), "{wrong} went unnoticed");
            assert!(found.iter().any(|finding| finding.line == line), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn an_argument_from_the_message_is_refused() {
        let found = findings(&PLAN.replace("key = \"record.status\"", "key = \"reading.leaf\""));
        assert!(found.iter().any(|f| f.message.contains("does not come from a record")), "{found:?}");
    }

    #[test]
    fn what_the_sender_typed_becomes_what_is_not_of_weight_and_nothing_else() {
        let free =
            PLAN.replace("key = \"record.status\"", "key = \"record.status\", note = \"message.text\"");
        assert_eq!(findings(&free), []);
        let answer = PLAN.replace("key = \"record.status\"", "key = \"calls.open.result.key\"");
        assert!(findings(&answer).iter().any(|f| f.message.contains("tools answered")), "{answer}");
        for (from, to) in [
            ("key = \"record.status\"", "key = \"message.text\""),
            ("record.status == 'open'", "message.text == 'open'"),
            ("[steps.known]", "[[let]]\nname = \"said\"\nvalue = \"message.text\"\n[steps.known]"),
        ] {
            let found = findings(&PLAN.replace(from, to));
            assert!(found.iter().any(|f| f.message.contains("and nothing else")), "{to}: {found:?}");
        }
    }

    #[test]
    fn a_binding_of_a_name_that_is_taken_does_not_inherit_what_it_may() {
        let two = "[[let]]\nname = \"x\"\nvalue = \"record.status\"\n[[let]]\nname = \"x\"\nvalue = \"reading.leaf\"\n";
        let text = PLAN.replace("[steps.known]", &format!("{two}[steps.known]"));
        let found = findings(&text.replace("key = \"record.status\"", "key = \"x\""));
        for told in ["two bindings", "does not come from a record"] {
            assert!(found.iter().any(|f| f.message.contains(told)), "{told}: {found:?}");
        }
    }

    #[test]
    fn a_template_that_lacks_what_it_needs_is_found() {
        let found = findings(&PLAN.replace("cite = [\"doors\"]\n", ""));
        assert!(found.iter().any(|f| f.message.contains("needs `passage.text`")), "{found:?}");
    }

    #[test]
    fn a_plan_for_everybody_must_not_look_at_records() {
        let found = findings(&PLAN.replace("start =", "for = \"anyone\"\nstart ="));
        assert!(found.iter().any(|f| f.message.contains("must not")), "{found:?}");
    }

    #[test]
    fn a_circle_without_a_question_and_a_shadowed_name_are_found() {
        let found = findings(&PLAN.replace("done = \"tell\"", "done = \"tell\"\nfailed = \"open\""));
        assert!(found.iter().any(|f| f.message.contains("leads back")), "{found:?}");
        let shadow = PLAN
            .replace("[steps.known]", "[[let]]\nname = \"record\"\nvalue = \"reading.leaf\"\n[steps.known]");
        let found = findings(&shadow);
        assert!(found.iter().any(|f| f.message.contains("name of the view")), "{found:?}");
    }

    #[test]
    fn a_step_that_nothing_reaches_is_found() {
        let found = findings(&format!("{PLAN}[steps.attic]\nreply = \"opened\"\n"));
        assert!(found.iter().any(|f| f.message.contains("`attic` is never reached")), "{found:?}");
    }

    #[test]
    fn unknown_keys_and_mixed_kinds_are_refused() {
        assert!(findings(&PLAN.replace("done =", "doen ="))[0].message.contains("doen"));
        assert!(
            findings(&PLAN.replace("reply = \"opened\"", "reply = \"opened\"\nask = \"opened\""))[0]
                .message
                .contains("exactly one")
        );
        assert!(findings(&PLAN.replace("reason = \"no_key\"", "limit = 2"))[0].message.contains("limit"));
    }
}
