//! New leaves from a few labelled tickets, the trunk as it is: the rows of the new leaves are learned, and those
//! of the others moved as little as that asks for.
//!
//! Every line's mean vector is made once; what is left is a regression over them, which takes seconds. Fitted
//! by Adam (Kingma, Ba 2015) over all lines at once, with a penalty on the distance of old rows from what they
//! were, so that old leaves keep what they know.

use super::calibrate::{self, Mix, Target as Calibrated};
use super::card;
use super::datasets::{Line, Source, Split, own, tickets};
use super::error::LearningError;
use super::loss::{self, IntentGoal};
use super::measure;
use crate::base::{Digest, Language};
use crate::understanding::bundle::{self, Contents, Heads, Opened};
use crate::understanding::encoder::{Compute, Weights};
use crate::understanding::heads::intent::{self, Shape};
use crate::understanding::model::Model;
use crate::understanding::tokens::Tokens;
use crate::understanding::{Calibration, Dag, Extraction, Schema, UnderstandingError, quantise};
use candle_core::{Device, Tensor};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub struct Options {
    pub bundle: PathBuf,
    pub out: PathBuf,
    /// The pack that names the new leaves.
    pub config: PathBuf,
    /// Labelled tickets, those of the new leaves among them.
    pub tickets: PathBuf,
    /// The language of a ticket that does not tell its own.
    pub usual: Language,
    /// Lines of the other leaves.
    pub own: PathBuf,
    pub threads: usize,
}

/// A leaf needs as many tickets.
const FEWEST: usize = 10;
/// Lines of each old leaf and language that stand against the new ones, and that are measured.
const BESIDE: usize = 8;
const MEASURED: usize = 8;
const STEPS: usize = 150;
const RATE: f64 = 0.02;
/// Of the squared distance of an old row from what it was, beside the mean loss of all lines.
const KEEP: f64 = 0.005;
/// The lines of a new leaf count as much as so many of another.
const WEIGHT: f64 = 8.0;

#[derive(Debug, Serialize)]
pub struct Extended {
    pub model: Digest,
    pub previous: Digest,
    pub new_leaves: Vec<String>,
    /// Tickets of the new leaves, and lines of others beside them.
    pub tickets: usize,
    pub beside: usize,
    /// Accuracy on development lines of the old leaves.
    pub old_before: f64,
    pub old_after: f64,
    pub measured: usize,
}

/// A line's mean vector and what it is about.
struct Fact {
    vector: Vec<f32>,
    leaf: usize,
    weight: f64,
}

pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Extended, LearningError> {
    let schema = Schema::read(&options.config)?;
    let Schema { intents: dag, extraction } = &schema;
    let opened = bundle::open(&options.bundle)?;
    let new = fresh(&opened.heads, dag, options)?;
    let weights = widened(&opened, dag)?;
    let tokens = Tokens::from_bytes(&opened.tokenizer, opened.heads.reach)?;
    let model = Model::stored(quantise::rounded(&weights)?, &Compute::default(), dag, extraction)?;
    let (taught, held_out) = lines(options, dag, extraction, &new)?;
    progress(&format!("reading {} lines", taught.len() + held_out.len()));
    let vectors = |texts: &[&str]| model.means_of(texts, (&tokens, &opened.lexicon), options.threads);
    let taught = facts(&taught, vectors, &new)?;
    let mut measured = facts(&held_out, vectors, &new)?;
    measured.retain(|fact| !new.contains(&fact.leaf));
    let shape = Shape::of(dag);
    let before = Rows::of(&weights)?;
    progress("learning the rows of the new leaves");
    let old = kept_rows(&opened.heads, dag);
    let after = fitted(&shape, &taught, &before, &old)?;
    let mut weights = weights;
    after.put(&mut weights)?;
    let stored = quantise::rounded(&weights)?;
    let after = Rows::of(&quantise::full(&stored)?)?;
    let model = Model::stored(stored, &Compute::default(), dag, extraction)?;
    let held: Vec<&Line> = held_out.iter().collect();
    let readings = measure::readings(&model, (&tokens, &opened.lexicon), &held)?;
    let old_mix = &opened.calibration.prior;
    let mix = if old_mix.expected.is_empty() { Mix::Assumed } else { Mix::Shares(old_mix.expected.clone()) };
    let target =
        Calibrated { dag, extraction, shape: &shape, assumed: with_new(&old_mix.assumed, dag, &new), mix };
    let fit = calibrate::fit(&readings, target);
    let calibration = Calibration {
        intent: fit.intent,
        thresholds: fit.thresholds,
        prior: fit.prior,
        ..opened.calibration.clone()
    };
    let told = format!("{} lines of development, after leaves were added", held_out.len());
    let card = card::extended(&opened.card, &new_ids(dag, &new), &calibration, &told);
    let heads = Heads::of(dag, extraction, opened.heads.reach);
    let contents = Contents {
        weights: &weights,
        tokenizer: &opened.tokenizer,
        heads: &heads,
        calibration: &calibration,
        lexicon: &opened.lexicon,
        card: &card,
    };
    let (digest, _) = bundle::write(&options.out, &contents, bundle::MOST_BYTES)?;
    let tickets = taught.iter().filter(|fact| new.contains(&fact.leaf)).count();
    Ok(Extended {
        model: digest,
        previous: opened.digest,
        new_leaves: new_ids(dag, &new),
        tickets,
        beside: taught.len() - tickets,
        old_before: right(&shape, &measured, (&before, &opened.calibration), dag, |leaf| {
            !new.contains(&leaf)
        })?,
        old_after: right(&shape, &measured, (&after, &calibration), dag, |_| true)?,
        measured: measured.len(),
    })
}

/// The assumed shares with the new leaves: of all messages as many as of a leaf on the average. `None` where
/// they are not known.
fn with_new(
    assumed: &BTreeMap<String, f64>,
    dag: &Dag,
    new: &BTreeSet<usize>,
) -> Option<BTreeMap<String, f64>> {
    let share = 1.0 / dag.leaves.len() as f64;
    let rest = 1.0 - share * new.len() as f64;
    let mut assumed: BTreeMap<String, f64> =
        assumed.iter().map(|(leaf, of)| (leaf.clone(), of * rest)).collect();
    if assumed.is_empty() {
        return None;
    }
    assumed.extend(new_ids(dag, new).into_iter().map(|leaf| (leaf, share)));
    Some(assumed)
}

fn new_ids(dag: &Dag, new: &BTreeSet<usize>) -> Vec<String> {
    new.iter().filter_map(|at| dag.leaves.get(*at)).map(|leaf| leaf.id.clone()).collect()
}

/// The leaves that the bundle does not know.
fn fresh(heads: &Heads, dag: &Dag, options: &Options) -> Result<BTreeSet<usize>, LearningError> {
    let wrong = |problem: String, remedy: &str| {
        Err(LearningError::file(&options.config.join("intents.toml"), problem, remedy))
    };
    let wanted = dag.edge_ids();
    if let Some((parent, leaf)) = heads.edges.iter().find(|edge| !wanted.contains(edge)) {
        let problem = format!("`{parent}` > `{leaf}` is gone");
        return wrong(problem, "restore it: leaves can be added to a bundle, and not taken from it");
    }
    let known: BTreeSet<&str> = heads.edges.iter().map(|(_, leaf)| leaf.as_str()).collect();
    let new: BTreeSet<usize> = (0..dag.leaves.len())
        .filter(|at| dag.leaves.get(*at).is_some_and(|leaf| !known.contains(leaf.id.as_str())))
        .collect();
    let parents: BTreeSet<&str> = heads.edges.iter().map(|(parent, _)| parent.as_str()).collect();
    if let Some(parent) = dag.parents.iter().find(|parent| !parents.contains(parent.id.as_str())) {
        let problem = format!("parent `{}` is new", parent.id);
        return wrong(problem, "put the leaf under a parent that is there, or train a bundle");
    }
    if new.is_empty() {
        return wrong("the bundle knows every leaf".to_owned(), "add the new leaf under one of the parents");
    }
    Ok(new)
}

/// The weights with a row for every edge of the pack: a new edge begins as its parent's "other", a little below.
fn widened(opened: &Opened, dag: &Dag) -> Result<Weights, LearningError> {
    let opened_weights = quantise::full(&opened.weights)?;
    let rows = Rows::of(&opened_weights)?;
    let old_parents: Vec<&str> = parents(&opened.heads);
    let at_edge = |parent: &str, leaf: &str| {
        let edge = opened.heads.edges.iter().position(|(p, l)| (p.as_str(), l.as_str()) == (parent, leaf));
        edge.map(|edge| old_parents.len() + edge)
    };
    let at_parent = |parent: &str| old_parents.iter().position(|known| *known == parent);
    let missing = || LearningError::Broken("a row of the intent head is missing".to_owned());
    let mut wide = Rows { width: rows.width, weight: Vec::new(), bias: Vec::new() };
    for parent in &dag.parents {
        wide.push(&rows, at_parent(&parent.id).ok_or_else(missing)?, 0.0);
    }
    for (parent, leaf) in dag.edge_ids() {
        match at_edge(&parent, &leaf) {
            Some(row) => wide.push(&rows, row, 0.0),
            None => {
                let other = at_edge(&parent, &format!("{parent}_other")).ok_or_else(missing)?;
                wide.push(&rows, other, -2.0);
            }
        }
    }
    let mut weights = opened_weights;
    wide.put(&mut weights)?;
    Ok(weights)
}

/// The parents of a bundle, in the order of their rows.
fn parents(heads: &Heads) -> Vec<&str> {
    let mut parents: Vec<&str> = Vec::new();
    for (parent, _) in &heads.edges {
        if parents.last() != Some(&parent.as_str()) {
            parents.push(parent);
        }
    }
    parents
}

/// For every row of the new head whether the bundle had it.
fn kept_rows(heads: &Heads, dag: &Dag) -> Vec<bool> {
    let parents = dag.parents.iter().map(|_| true);
    parents.chain(dag.edge_ids().iter().map(|edge| heads.edges.contains(edge))).collect()
}

/// What is learned from, and what is measured and calibrated on: development lines of leaves.
fn lines(
    options: &Options,
    dag: &Dag,
    extraction: &Extraction,
    new: &BTreeSet<usize>,
) -> Result<(Vec<Line>, Vec<Line>), LearningError> {
    let tickets = tickets::read(&options.tickets, (dag, extraction), Split::Train, options.usual)?;
    let mut taught: Vec<Line> = tickets.into_iter().map(|ticket| ticket.line).collect();
    for leaf in new {
        let about = |line: &&Line| line.target.as_ref().is_some_and(|target| target.leaf == *leaf);
        let count = taught.iter().filter(about).count();
        if count < FEWEST {
            let id = dag.leaves.get(*leaf).map(|leaf| leaf.id.clone()).unwrap_or_default();
            let problem = format!("`{id}` has {count} tickets");
            return Err(LearningError::file(&options.tickets, problem, "give at least 10, better 20"));
        }
    }
    let own = own::read(&options.own, dag, extraction)?;
    let some = |split: Split, most: usize| -> Vec<Line> {
        let mut counts = std::collections::HashMap::new();
        let mut take = |line: &&Line| {
            let Some(target) = &line.target else { return false };
            let count: &mut usize = counts.entry((target.leaf, line.language)).or_default();
            *count += 1;
            line.source == Source::Own && line.split == split && *count <= most
        };
        own.iter().filter(|line| line.split == split).filter(|line| take(line)).cloned().collect()
    };
    taught.extend(some(Split::Train, BESIDE));
    Ok((taught, some(Split::Dev, MEASURED)))
}

/// The mean vector of every line with a leaf.
fn facts(
    lines: &[Line],
    vectors: impl Fn(&[&str]) -> Result<Vec<Vec<f32>>, UnderstandingError>,
    new: &BTreeSet<usize>,
) -> Result<Vec<Fact>, LearningError> {
    let about = lines.iter().filter_map(|line| Some((line.target.as_ref()?.leaf, line.text())));
    let (leaves, texts): (Vec<usize>, Vec<String>) = about.unzip();
    let vectors = vectors(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    let fact = |(vector, leaf): (Vec<f32>, usize)| {
        let weight = if new.contains(&leaf) { WEIGHT } else { 1.0 };
        Fact { vector, leaf, weight }
    };
    Ok(vectors.into_iter().zip(leaves).map(fact).collect())
}

/// The intent head.
#[derive(Clone)]
struct Rows {
    width: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Rows {
    fn of(weights: &Weights) -> Result<Self, LearningError> {
        let take = |part: &str| {
            let name = format!("{}.{part}", intent::NAME);
            weights.get(&name).ok_or_else(|| LearningError::Broken(format!("weight `{name}` is missing")))
        };
        let (weight, bias) = (take("weight")?, take("bias")?);
        Ok(Self { width: weight.dim(1)?, weight: weight.flatten_all()?.to_vec1()?, bias: bias.to_vec1()? })
    }

    fn push(&mut self, from: &Self, row: usize, lower: f32) {
        let (start, end) = (row * from.width, (row + 1) * from.width);
        self.weight.extend_from_slice(from.weight.get(start..end).unwrap_or_default());
        self.bias.push(from.bias.get(row).copied().unwrap_or(0.0) + lower);
    }

    fn put(&self, weights: &mut Weights) -> Result<(), LearningError> {
        let rows = self.bias.len();
        let weight = Tensor::from_slice(&self.weight, (rows, self.width), &Device::Cpu)?;
        weights.insert(format!("{}.weight", intent::NAME), weight);
        weights.insert(format!("{}.bias", intent::NAME), Tensor::from_slice(&self.bias, rows, &Device::Cpu)?);
        Ok(())
    }

    /// Scores of every fact, a row each.
    fn scores(&self, facts: &Tensor) -> Result<Vec<Vec<f32>>, LearningError> {
        let rows = self.bias.len();
        let weight = Tensor::from_slice(&self.weight, (rows, self.width), &Device::Cpu)?;
        let bias = Tensor::from_slice(&self.bias, (1, rows), &Device::Cpu)?;
        Ok(facts.matmul(&weight.t()?)?.broadcast_add(&bias)?.to_vec2()?)
    }
}

fn matrix(facts: &[Fact], width: usize) -> Result<Tensor, LearningError> {
    let all: Vec<f32> = facts.iter().flat_map(|fact| fact.vector.iter().copied()).collect();
    Ok(Tensor::from_vec(all, (facts.len(), width), &Device::Cpu)?)
}

/// Rows that fit the facts and stay near what they were where `old` says that they were there.
fn fitted(shape: &Shape, facts: &[Fact], before: &Rows, old: &[bool]) -> Result<Rows, LearningError> {
    let width = before.width;
    let vectors = matrix(facts, width)?;
    let across = vectors.t()?.contiguous()?;
    let against = vec![true; shape.leaves];
    let total: f64 = facts.iter().map(|fact| fact.weight).sum();
    let (mut rows, count) = (before.clone(), before.bias.len());
    let mut adam = (Adam::new(count * width), Adam::new(count));
    for step in 1..=STEPS {
        let mut slopes = vec![0.0_f32; facts.len() * count];
        let scores = rows.scores(&vectors)?;
        for ((fact, logits), out) in facts.iter().zip(&scores).zip(slopes.chunks_mut(count)) {
            let goal = IntentGoal {
                leaf: fact.leaf,
                parent: None,
                against: &against,
                smoothing: 0.0,
                parent_weight: 0.0,
                taught: None,
            };
            loss::intent(shape, logits, &goal, fact.weight / total, out);
        }
        let slopes = Tensor::from_vec(slopes, (facts.len(), count), &Device::Cpu)?;
        let mut by_bias: Vec<f32> = slopes.sum(0)?.to_vec1()?;
        let mut by_weight: Vec<f32> = across.matmul(&slopes)?.t()?.contiguous()?.flatten_all()?.to_vec1()?;
        for row in (0..count).filter(|row| old.get(*row).copied().unwrap_or(false)) {
            let held = |now: &f32, then: &f32| (2.0 * KEEP * f64::from(now - then)) as f32;
            let span = row * width..(row + 1) * width;
            let (Some(now), Some(then), Some(slope)) =
                (rows.weight.get(span.clone()), before.weight.get(span.clone()), by_weight.get_mut(span))
            else {
                continue;
            };
            slope.iter_mut().zip(now.iter().zip(then)).for_each(|(s, (now, then))| *s += held(now, then));
            if let (Some(slope), Some(now), Some(then)) =
                (by_bias.get_mut(row), rows.bias.get(row), before.bias.get(row))
            {
                *slope += held(now, then);
            }
        }
        // The steps grow smaller to the end, so that they come to rest.
        let rate = RATE * (1.0 - (step as f64 - 1.0) / STEPS as f64);
        adam.0.step(&mut rows.weight, &by_weight, rate, step);
        adam.1.step(&mut rows.bias, &by_bias, rate, step);
    }
    Ok(rows)
}

/// First and second moments of the slopes.
struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Adam {
    fn new(size: usize) -> Self {
        Self { first: vec![0.0; size], second: vec![0.0; size] }
    }

    fn step(&mut self, values: &mut [f32], slopes: &[f32], rate: f64, number: usize) {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let (fast, slow) = (1.0 - 0.9_f64.powi(number), 1.0 - 0.999_f64.powi(number));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, slope), (first, second)) in values.iter_mut().zip(slopes).zip(moments) {
            let slope = f64::from(*slope);
            *first = 0.9 * *first + 0.1 * slope;
            *second = 0.999 * *second + 0.001 * slope * slope;
            *value -= (rate * (*first / fast) / ((*second / slow).sqrt() + 1e-8)) as f32;
        }
    }
}

/// The share of these lines whose highest leaf among those that `open` is theirs.
fn right(
    shape: &Shape,
    facts: &[Fact],
    (rows, calibration): (&Rows, &Calibration),
    dag: &Dag,
    open: impl Fn(usize) -> bool,
) -> Result<f64, LearningError> {
    if facts.is_empty() {
        return Ok(0.0);
    }
    let mix = calibration.prior.weights(dag.leaves.iter().map(|leaf| leaf.id.as_str()));
    let scores = rows.scores(&matrix(facts, rows.width)?)?;
    let best = |logits: &[f32]| {
        let scores = shape.scores(logits, calibration.intent.all).weighted(&shape.edges, &mix);
        measure::highest(&scores.leaves, &open)
    };
    let hits = scores.iter().zip(facts).filter(|(logits, fact)| best(logits) == Some(fact.leaf)).count();
    Ok(hits as f64 / facts.len() as f64)
}

#[cfg(test)]
#[path = "extend_tests.rs"]
mod tests;
