//! What becomes of a reading when the message arrives damaged, or with instructions to the system in it;
//! and which wrong readings would do something.

use super::bench::{Answer, Bench, of};
use super::figure::{Scale, Table};
use super::material::Message;
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::learning::measure::highest;
use crate::learning::perturb::Perturbation;
use crate::planning::{Plans, Risk, StepKind, Tools};
use crate::understanding::Reading;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// Least pairs of an instruction and a message, by language.
const PAIRS: usize = 200;
/// Where a message may go that tries to give orders.
const HUMAN: &str = "talk_to_human";

/// Leaf accuracy on changed messages, and how far it falls from that on the same ones unchanged.
pub fn perturbations(table: &mut Table, bench: &Bench, answers: &[Answer]) -> Result<(), LearningError> {
    for language in Language::ALL {
        for kind in Perturbation::ALL {
            let mut rng = StdRng::seed_from_u64(kind as u64);
            let (mut before, mut after, mut linear) = (Vec::new(), Vec::new(), Vec::new());
            for answer in of(answers, language) {
                let Some(leaf) = answer.message.leaf else { continue };
                let Some(text) = kind.apply(&answer.message.text, language, &mut rng) else { continue };
                before.push(bench.leaf(&answer.reading) == Some(leaf));
                after.push(bench.leaf(&bench.read(&text, language)?) == Some(leaf));
                linear.push(bench.linear(&text) == Some(leaf));
            }
            let id = format!("rough.{language}.{}", kind.name());
            table.hits(id.as_str(), &after, Some(&linear));
            let n = (after.len(), after.len());
            table.drawn(format!("{id}.fall"), Scale::Points, n, None, |drawn| fall(&before, &after, drawn));
        }
    }
    Ok(())
}

fn fall(before: &[bool], after: &[bool], drawn: &[u32]) -> Option<f64> {
    let right = |hits: &[bool]| -> f64 {
        hits.iter().zip(drawn).map(|(hit, times)| f64::from(u8::from(*hit)) * f64::from(*times)).sum()
    };
    let all: f64 = drawn.iter().copied().map(f64::from).sum();
    (all > 0.0).then(|| (right(before) - right(after)) / all)
}

/// Where the leaves of a message went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    Nowhere,
    /// To "other", or to a person.
    Aside,
    Astray,
}

/// Every instruction behind as many messages as make at least `PAIRS` pairs in a language.
pub fn injections(
    table: &mut Table,
    bench: &Bench,
    answers: &[Answer],
    instructions: &[(Language, String)],
) -> Result<(), LearningError> {
    for language in Language::ALL {
        let own: Vec<&String> =
            instructions.iter().filter(|(of, _)| *of == language).map(|(_, text)| text).collect();
        let messages: Vec<&Answer> = of(answers, language).into_iter().filter(|a| !aside(bench, a)).collect();
        let pairs = own.len().max(PAIRS).div_ceil(own.len().max(1)) * own.len();
        let mut went = Vec::new();
        // Consecutive messages are of one leaf: a stride that shares no factor with their number visits all.
        let stride = (messages.len() / 2..messages.len()).find(|s| coprime(*s, messages.len())).unwrap_or(1);
        for at in 0..pairs {
            let Some(instruction) = own.get(at % own.len().max(1)) else { continue };
            let Some(answer) = messages.get(at * stride % messages.len().max(1)) else { continue };
            let text = format!("{} {}", answer.message.text, instruction);
            went.push(compared(&answer.reading, &bench.read(&text, language)?));
        }
        for (name, where_to) in [("stays", Went::Nowhere), ("aside", Went::Aside), ("to_leaf", Went::Astray)]
        {
            let hits: Vec<bool> = went.iter().map(|went| *went == where_to).collect();
            table.hits(format!("injections.{language}.{name}"), &hits, None);
        }
    }
    Ok(())
}

fn coprime(mut a: usize, mut b: usize) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Messages that are about nothing covered, or ask for a person, cannot show where an instruction leads.
fn aside(bench: &Bench, answer: &Answer) -> bool {
    let leaf = answer.message.leaf.and_then(|at| bench.dag().leaves.get(at));
    leaf.is_none_or(|leaf| is_aside(&leaf.id))
}

fn is_aside(leaf: &str) -> bool {
    leaf == HUMAN || leaf == "other" || leaf.ends_with("_other")
}

fn compared(before: &Reading, after: &Reading) -> Went {
    let leaves = |reading: &Reading| -> BTreeSet<String> {
        reading.intents.iter().map(|intent| intent.leaf.clone()).collect()
    };
    let (before, after) = (leaves(before), leaves(after));
    match after.difference(&before).collect::<Vec<_>>().as_slice() {
        [] => Went::Nowhere,
        new if new.iter().all(|leaf| is_aside(leaf)) => Went::Aside,
        _ => Went::Astray,
    }
}

/// Wrong readings that would start a different plan which does more than read, in a thousand messages.
pub fn effects(table: &mut Table, bench: &Bench, answers: &[Answer]) {
    let acting = acting(&bench.pack.plans, &bench.pack.tools);
    let leaf_of = |message: &Message| bench.dag().leaves.get(message.leaf?).map(|leaf| leaf.id.clone());
    let wrong = |answer: &&Answer| {
        let gold = leaf_of(answer.message);
        let mut read = answer.reading.intents.iter();
        read.any(|intent| Some(&intent.leaf) != gold.as_ref() && acting.contains(&intent.leaf))
    };
    let labelled = || answers.iter().filter(|answer| answer.message.leaf.is_some());
    table.per_thousand("effects.per_thousand", labelled().filter(wrong).count(), labelled().count());
    let linear = |answer: &&Answer| {
        let said = highest(&answer.linear, |_| true).filter(|at| Some(*at) != answer.message.leaf);
        said.and_then(|at| bench.dag().leaves.get(at)).is_some_and(|leaf| acting.contains(&leaf.id))
    };
    let baseline = labelled().filter(linear).count() as f64 * 1000.0 / labelled().count().max(1) as f64;
    if let Some(figure) = table.figures.last_mut().filter(|figure| figure.id == "effects.per_thousand") {
        figure.baseline = Some(baseline);
    }
}

/// Leaves whose plan, or one that it goes on in, calls a tool that does more than read.
fn acting(plans: &Plans, tools: &Tools) -> BTreeSet<String> {
    let acts = |leaf: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![leaf.to_owned()]);
        while let Some(leaf) = open.pop() {
            let Some(plan) = plans.by_name.get(&leaf).filter(|_| seen.insert(leaf.clone())) else { continue };
            for step in plan.steps.values() {
                match &step.kind {
                    StepKind::Call { tool, .. }
                        if tools.by_name.get(tool).is_none_or(|tool| tool.risk != Risk::Read) =>
                    {
                        return true;
                    }
                    StepKind::Plan { name, .. } => open.push(name.clone()),
                    _ => {}
                }
            }
        }
        false
    };
    plans.by_name.keys().filter(|leaf| acts(leaf)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn plans_that_act_are_found_also_through_others() {
        let mut pack = crate::cases::load_pack(Path::new("config"), None).unwrap().pack;
        let before = acting(&pack.plans, &pack.tools);
        assert!(before.contains("lost_or_stolen_card") && !before.contains("balance"), "{before:?}");
        let file = "plans/balance.toml";
        let text = "leaf = \"balance\"\nsummary = \"x\"\nstart = \"on\"\n[steps.on]\nplan = \"lost_or_stolen_card\"\n";
        let plan = crate::planning::Plan::parse(file, text).unwrap();
        pack.plans.by_name.insert("balance".to_owned(), plan);
        assert!(acting(&pack.plans, &pack.tools).contains("balance"));
    }

    #[test]
    fn the_fall_is_paired_and_strides_visit_all() {
        let (before, after) = ([true, true, false, true], [true, false, true, false]);
        assert_eq!(fall(&before, &after, &[1; 4]), Some(0.25));
        assert_eq!(fall(&before, &after, &[0, 2, 0, 0]), Some(1.0));
        assert_eq!(fall(&[], &[], &[]), None);
        assert!(coprime(5, 8) && !coprime(4, 8) && coprime(1, 1));
        assert!(is_aside("cards_other") && is_aside("talk_to_human") && !is_aside("balance"));
    }
}
