//! `prokura plans`: what the service does for each concern, in words and drawn.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::finding::suggestion;
use crate::cli::{GraphPlan, ListPlans, Place, Plans as Asked};
use crate::planning::{Plan, Plans, StepKind};
use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub fn run(place: &Place, asked: &Asked) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let checked = wire::pack(&settings, None)?;
    match asked {
        Asked::List(asked) => list(&checked.pack.plans, asked),
        Asked::Graph(asked) => graph(&checked.pack.plans, asked),
    }
}

fn list(plans: &Plans, asked: &ListPlans) -> Result<(), Failure> {
    let tools = |plan: &Plan| {
        let tools = plan.steps.values().flat_map(|step| match &step.kind {
            StepKind::Call { tool, .. } => vec![tool.clone()],
            StepKind::Parallel { calls, .. } => calls.iter().map(|look| look.tool.clone()).collect(),
            _ => Vec::new(),
        });
        tools.collect::<BTreeSet<String>>()
    };
    if asked.json {
        let told = plans.by_name.values().map(|plan| {
            json!({
                "name": plan.name, "kind": plan.kind.as_str(), "summary": plan.summary, "file": plan.file,
                "tools": tools(plan), "documents": plan.documents, "steps": plan.steps.len(), "tests": plan.trials.len(),
                "digest": plan.digest,
            })
        });
        return output::json_pretty(&json!({ "plans": told.collect::<Vec<_>>() }));
    }
    let widest = plans.by_name.keys().map(String::len).max().unwrap_or(0);
    plans.by_name.values().try_for_each(|plan| {
        let (name, kind) = (&plan.name, plan.kind.as_str());
        output::line_out(&format!("{name:<widest$}  {kind:<5}  {}", plan.summary))
    })
}

fn graph(plans: &Plans, asked: &GraphPlan) -> Result<(), Failure> {
    let plan = plans.by_name.get(&asked.name).ok_or_else(|| {
        let near = suggestion(&asked.name, plans.by_name.keys().map(String::as_str));
        Failure::Input(format!("there is no plan `{}`{near}; prokura plans list names them", asked.name))
    })?;
    let drawn = drawn(plan);
    let Some(out) = &asked.out else { return output::out(&drawn) };
    std::fs::write(out, drawn).map_err(|error| Failure::Input(format!("{}: {error}", out.display())))
}

/// Steps as boxes in the colour of their kind, and where each leads, with what it takes to be led there.
fn drawn(plan: &Plan) -> String {
    let mut graph = VisualGraph::new(Orientation::TopToBottom);
    let mut nodes = BTreeMap::new();
    for (name, step) in &plan.steps {
        let (what, colour) = told(&step.kind);
        let start = if *name == plan.start { "\u{25b6} " } else { "" };
        let text = if what.is_empty() { format!("{start}{name}") } else { format!("{start}{name}\n{what}") };
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let size = Point::new(longest as f64 * 8.5 + 24.0, 24.0 * text.lines().count() as f64 + 16.0);
        let style = StyleAttr::new(Color::fast("black"), 1, Some(Color::fast(colour)), 6, LETTERS);
        let shape = ShapeKind::new_box(&text);
        nodes.insert(name, graph.add_node(Element::create(shape, style, Orientation::TopToBottom, size)));
    }
    // One size of letters, which is that of the library: with several, the drawing would differ from time to time.
    let look = StyleAttr::new(Color::fast("black"), 1, None, 0, LETTERS);
    for (name, step) in &plan.steps {
        for (condition, to) in ways(&step.kind) {
            if let (Some(from), Some(to)) = (nodes.get(name), nodes.get(to)) {
                let line = LineStyleKind::Normal;
                let arrow =
                    Arrow::new(LineEndKind::None, LineEndKind::Arrow, line, &condition, &look, &None, &None);
                graph.add_edge(arrow, *from, *to);
            }
        }
    }
    let mut svg = SVGWriter::new();
    graph.do_it(false, false, false, &mut svg);
    svg.finalize()
}

/// What a step does, and the colour that its kind has.
fn told(kind: &StepKind) -> (String, &'static str) {
    match kind {
        StepKind::Branch(_) => (String::new(), "white"),
        StepKind::Call { tool, .. } => (format!("call {tool}"), "lightsalmon"),
        StepKind::Parallel { calls, .. } => {
            let tools: Vec<&str> = calls.iter().map(|look| look.tool.as_str()).collect();
            (format!("read {}", tools.join(", ")), "lightyellow")
        }
        StepKind::Ask { template, .. } => (format!("ask {template}"), "lightblue"),
        StepKind::Reply { template, .. } => (format!("reply {template}"), "lightgreen"),
        StepKind::Wait { milliseconds, event, .. } => {
            let minutes = milliseconds / 60_000;
            let event = event.as_ref().map_or_else(String::new, |event| format!(" or {event}"));
            (format!("wait {minutes} min{event}"), "lightgray")
        }
        StepKind::Undo { calls, .. } => {
            let calls = calls.as_ref().map_or_else(|| "all".to_owned(), |calls| calls.join(", "));
            (format!("undo {calls}"), "lightsalmon")
        }
        StepKind::Escalate { queue, reason, .. } => (format!("to {queue}: {reason}"), "pink"),
        StepKind::Plan { name, .. } => (format!("plan {name}"), "lavender"),
        StepKind::Repeat { most, .. } => (format!("at most {most} times"), "white"),
        StepKind::Resolve(outcome) => (format!("end: {outcome}"), "lightgreen"),
    }
}

/// Where a step leads, each with the condition or the outcome.
fn ways(kind: &StepKind) -> Vec<(String, &String)> {
    match kind {
        StepKind::Branch(branches) => {
            let when = |condition: &Option<crate::planning::Condition>| {
                condition.as_ref().map_or_else(|| "else".to_owned(), |condition| short(condition.source()))
            };
            branches.iter().map(|branch| (when(&branch.when), &branch.to)).collect()
        }
        StepKind::Call { done, refused, failed, declined, .. } => {
            let others = [("refused", refused), ("failed", failed), ("declined", declined)];
            let others = others.into_iter().filter_map(|(way, to)| Some((way.to_owned(), to.as_ref()?)));
            std::iter::once(("done".to_owned(), done)).chain(others).collect()
        }
        StepKind::Parallel { then, failed, .. } => {
            let failed = failed.iter().map(|to| ("failed".to_owned(), to));
            std::iter::once(("done".to_owned(), then)).chain(failed).collect()
        }
        StepKind::Wait { then, arrived, .. } => {
            let arrived = arrived.iter().map(|to| ("arrived".to_owned(), to));
            std::iter::once(("over".to_owned(), then)).chain(arrived).collect()
        }
        StepKind::Repeat { body, condition, then, .. } => {
            vec![(short(condition.source()), body), ("else".to_owned(), then)]
        }
        StepKind::Ask { then, .. } => vec![("answered".to_owned(), then)],
        StepKind::Undo { then, .. } => vec![(String::new(), then)],
        StepKind::Reply { then, .. } | StepKind::Plan { then, .. } => {
            then.iter().map(|to| (String::new(), to)).collect()
        }
        StepKind::Escalate { .. } | StepKind::Resolve(_) => Vec::new(),
    }
}

/// Their size, in pixels.
const LETTERS: usize = 15;

/// The longest condition that is shown whole.
const LONGEST: usize = 48;

fn short(source: &str) -> String {
    let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}\u{2026}", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_plan_is_drawn_with_each_of_its_steps_and_the_same_each_time() {
        let pack = crate::cases::load_pack(std::path::Path::new("config"), None).unwrap().pack;
        for plan in pack.plans.by_name.values() {
            let svg = drawn(plan);
            for name in plan.steps.keys() {
                assert!(svg.contains(name.as_str()), "{}: {name}", plan.name);
            }
            // What conditions are written with is no markup.
            assert!(
                svg.trim_end().ends_with("</svg>") && !svg.contains("&&") && !svg.contains(" < "),
                "{}",
                plan.name
            );
            assert_eq!(svg, drawn(plan), "{}", plan.name);
        }
    }
}
