//! Leaves and parents: public sets, own and blind messages, and how far two people agree.

use super::bench::{Answer, Bench, of};
use super::figure::{Scale, Table, kappa};
use super::judged::Judged;
use super::material::Material;
use crate::base::Language;
use crate::learning::datasets::Source;
use crate::learning::measure::{Reading, highest};
use std::collections::BTreeSet;

/// Banking77 and CLINC150: of all leaves, and of the leaves that the set has labels for.
pub fn public(table: &mut Table, bench: &Bench, readings: &[Reading]) {
    for source in [Source::Banking77, Source::Clinc150] {
        let lines: Vec<(&Reading, usize)> = readings
            .iter()
            .filter(|reading| reading.line.source == source)
            .filter_map(|reading| Some((reading, reading.line.target.as_ref()?.leaf)))
            .collect();
        let labels: BTreeSet<usize> = lines.iter().map(|(_, leaf)| *leaf).collect();
        let (mut open, mut closed) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (reading, leaf) in &lines {
            let scores = bench.understanding.model().shape.scores(&reading.raw.intent, 1.0).leaves;
            let linear = bench.baseline.probabilities(&reading.drawn.text);
            for (hits, values) in [(&mut open.0, &scores), (&mut open.1, &linear)] {
                hits.push(highest(values, |_| true) == Some(*leaf));
            }
            for (hits, values) in [(&mut closed.0, &scores), (&mut closed.1, &linear)] {
                hits.push(highest(values, |at| labels.contains(&at)) == Some(*leaf));
            }
        }
        let name = source.name();
        table.hits(format!("{name}.leaf"), &open.0, Some(&open.1));
        table.hits(format!("{name}.leaf_closed"), &closed.0, Some(&closed.1));
    }
}

/// Lines of a public set as they were judged, of all leaves.
pub fn judged_lines(bench: &Bench, readings: &[Reading], source: Source) -> Vec<Judged> {
    let dag = bench.dag();
    let calibration = bench.understanding.calibration();
    let lines = readings.iter().filter(|reading| reading.line.source == source);
    let judge = |reading: &Reading| {
        let (leaf, language) = (reading.line.target.as_ref()?.leaf, reading.line.language);
        let scores = bench.understanding.scores(&reading.raw.intent, language);
        let set = calibration.prediction_set(&scores.leaves, language);
        let parent = highest(&scores.parents, |_| true);
        Some(Judged {
            length: reading.drawn.text.chars().count(),
            channel: None,
            leaf,
            parent_right: parent.is_some_and(|parent| dag.edges.contains(&(parent, leaf))),
            held: set.contains(&leaf),
            set: set.len(),
            probabilities: scores.leaves,
        })
    };
    lines.filter_map(judge).collect()
}

/// Messages as they were judged, by language.
pub fn judged(bench: &Bench, answers: &[Answer], language: Language) -> Vec<Judged> {
    let dag = bench.dag();
    let judge = |answer: &&Answer| {
        let (leaf, reading) = (answer.message.leaf?, &answer.reading);
        let way = reading.intents.first().and_then(|intent| intent.parents.first());
        let parent = way.and_then(|way| dag.parent(&way.parent));
        let id = dag.leaves.get(leaf).map(|leaf| &leaf.id)?;
        Some(Judged {
            length: answer.message.text.chars().count(),
            channel: answer.message.channel.clone(),
            leaf,
            parent_right: parent.is_some_and(|parent| dag.edges.contains(&(parent, leaf))),
            held: reading.prediction_set.contains(id),
            set: reading.prediction_set.len(),
            probabilities: answer.leaves.clone(),
        })
    };
    of(answers, language).iter().filter_map(judge).collect()
}

/// For each message with a leaf whether the reading puts it first.
pub fn first(bench: &Bench, answers: &[Answer], language: Language) -> Vec<bool> {
    let known = of(answers, language).into_iter().filter(|answer| answer.message.leaf.is_some());
    known.map(|answer| bench.leaf(&answer.reading) == answer.message.leaf).collect()
}

/// The leaf that the reading puts first, and the way in that it puts first.
pub fn messages(table: &mut Table, bench: &Bench, name: &str, answers: &[Answer]) {
    let dag = bench.dag();
    let under = |parent: Option<usize>, leaf: usize| parent.is_some_and(|p| dag.edges.contains(&(p, leaf)));
    for language in Language::ALL {
        let (mut linear_leaves, mut parents) = (Vec::new(), (Vec::new(), Vec::new()));
        for answer in of(answers, language) {
            let Some(leaf) = answer.message.leaf else { continue };
            let linear = highest(&answer.linear, |_| true);
            linear_leaves.push(linear == Some(leaf));
            let way = answer.reading.intents.first().and_then(|intent| intent.parents.first());
            parents.0.push(under(way.and_then(|way| dag.parent(&way.parent)), leaf));
            // The linear model names no way in: any parent of its leaf counts.
            let mut ways = dag.edges.iter().filter(|(_, at)| Some(*at) == linear);
            parents.1.push(ways.any(|(parent, _)| under(Some(*parent), leaf)));
        }
        let leaves = first(bench, answers, language);
        table.hits(format!("{name}.{language}.leaf"), &leaves, Some(&linear_leaves));
        table.hits(format!("{name}.{language}.parent"), &parents.0, Some(&parents.1));
    }
}

/// How often two people gave the blind messages the same leaf.
pub fn agreement(table: &mut Table, material: &Material) {
    for language in Language::ALL {
        let pairs: Vec<(usize, usize)> = material
            .blind
            .iter()
            .filter(|message| message.language == language)
            .filter_map(|message| {
                let second = material.second.get(&(message.id.clone(), language))?;
                Some((message.leaf?, *second))
            })
            .collect();
        let same = pairs.iter().filter(|(first, second)| first == second).count();
        table.share(format!("agreement.{language}.raw"), same, pairs.len(), None);
        let n = (pairs.len(), pairs.len());
        table.drawn(format!("agreement.{language}.kappa"), Scale::Score, n, None, |drawn| {
            kappa(&pairs, drawn)
        });
    }
}
