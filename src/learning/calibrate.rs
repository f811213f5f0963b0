//! Fits what turns scores into probabilities, on development lines: temperatures by likelihood, the
//! prediction set's threshold by split conformal prediction.

use super::datasets::Source;
use super::measure::{self, Reading};
use crate::base::Language;
use crate::understanding::calibration::{Calibration, Prior, Temperatures};
use crate::understanding::dag::Leaf;
use crate::understanding::heads::intent::{self, softmax};
use crate::understanding::heads::{segments, spans, tone};
use crate::understanding::{Dag, Extraction};
use std::collections::BTreeMap;

/// The part of messages whose leaf the prediction set is to hold.
const COVERAGE: f64 = 0.95;
/// Of messages with one concern at most this part may be cut in two.
const FALSE_CUTS: f64 = 0.01;
/// A language with fewer lines takes temperature and threshold of all lines together.
const ENOUGH: usize = 100;
/// Lines that are added to those that are counted for the shares of leaves.
const MORE: f64 = 20.0;

/// What fitting needs beside the lines.
pub struct Target<'a> {
    pub dag: &'a Dag,
    pub extraction: &'a Extraction,
    pub shape: &'a intent::Shape,
    /// The shares of leaves that scores hold for as they are: those of the lines where it is not known.
    pub assumed: Option<BTreeMap<String, f64>>,
    pub mix: Mix,
}

/// The shares of leaves that probabilities are to hold for.
#[derive(Clone, Debug)]
pub enum Mix {
    /// Those that are assumed.
    Assumed,
    /// Those of the lines.
    Lines,
    /// These, and of the other leaves what is left.
    Shares(BTreeMap<String, f64>),
}

/// `readings` are of lines that were not trained on, read with the weights that will be used. The project's own
/// lines count, since they are what customers of this bank write; without them all lines do. Values are marked
/// in too few of them, so span temperatures are fitted on every line whose marks are complete.
///
/// Where the lines are mixed otherwise than the messages that probabilities are to hold for, a line counts as
/// much as its leaf comes more often there (importance weights; for the sets Podkopaev and Ramdas 2021).
pub fn fit(readings: &[Reading], target: Target) -> Calibration {
    let Target { dag, extraction, shape, assumed, mix } = target;
    let own: Vec<&Reading> = readings.iter().filter(|r| r.line.source == Source::Own).collect();
    let lines: Vec<&Reading> = if own.len() < ENOUGH { readings.iter().collect() } else { own };
    let every: Vec<&Reading> = readings.iter().collect();
    let toned: Vec<&Reading> = lines.iter().copied().filter(|r| r.line.tone.is_some()).collect();
    let leaves = || dag.leaves.iter().map(|leaf| leaf.id.as_str());
    let known: Vec<&Reading> = lines.iter().copied().filter(|r| r.line.target.is_some()).collect();
    let drawn = shares(&known, dag, assumed.as_ref());
    let expected = match mix {
        Mix::Assumed => BTreeMap::new(),
        Mix::Lines => drawn.clone(),
        Mix::Shares(shares) => shares,
    };
    let prior = Prior { assumed: assumed.unwrap_or_else(|| drawn.clone()), expected };
    let mix = prior.weights(leaves());
    let counts = importance(&prior, &mix, &drawn, dag);
    let counts =
        |r: &Reading| r.line.target.as_ref().and_then(|t| counts.get(t.leaf).copied()).unwrap_or(0.0);
    let gold = |r: &Reading, t: f64| {
        let scores = shape.scores(&r.raw.intent, t).weighted(&shape.edges, &mix);
        r.line.target.as_ref().and_then(|target| scores.leaves.get(target.leaf).copied())
    };
    let mut calibration = Calibration {
        intent: temperatures(&known, |r, t| counts(r) * gold(r, t).map_or(0.0, surprise)),
        urgency: temperatures(&toned, |r, t| tone_loss(r, t, 0)),
        sentiment: temperatures(&toned, |r, t| tone_loss(r, t, 1)),
        wants_human: temperatures(&toned, |r, t| tone_loss(r, t, 2)),
        boundary: boundary(readings),
        coverage: COVERAGE,
        prior,
        ..Calibration::none([])
    };
    for (at, group) in extraction.groups.iter().enumerate() {
        let fitted = temperatures(&every, |r, t| span_loss(r, extraction, at, t));
        calibration.spans.insert(group.id.clone(), fitted);
    }
    let scores = |language: Option<Language>| -> Vec<(f64, f64)> {
        let fits = |r: &&&Reading| language.is_none_or(|language| r.line.language == language);
        let leaf = |r: &&Reading| Some((gold(r, calibration.intent.of(r.line.language))?, counts(r)));
        known.iter().filter(fits).filter_map(leaf).collect()
    };
    let all = scores(None);
    let mut thresholds = BTreeMap::new();
    for language in Language::ALL {
        let own = scores(Some(language));
        let chosen = if own.len() < ENOUGH { all.clone() } else { own };
        thresholds.insert(language, threshold(chosen, COVERAGE));
    }
    Calibration { thresholds, ..calibration }
}

/// The share of each leaf among lines, as if a few more lines had been there, mixed as is assumed or evenly, so
/// that no share is nothing.
fn shares(known: &[&Reading], dag: &Dag, assumed: Option<&BTreeMap<String, f64>>) -> BTreeMap<String, f64> {
    let even = 1.0 / dag.leaves.len() as f64;
    let mut counts = vec![0_usize; dag.leaves.len()];
    for target in known.iter().filter_map(|r| r.line.target.as_ref()) {
        if let Some(count) = counts.get_mut(target.leaf) {
            *count += 1;
        }
    }
    let all = known.len() as f64 + MORE;
    let share = |(leaf, count): (&Leaf, usize)| {
        let before = assumed.map_or(even, |assumed| assumed.get(&leaf.id).copied().unwrap_or(even));
        (leaf.id.clone(), ((count as f64 + MORE * before) / all * 1e6).round() / 1e6)
    };
    dag.leaves.iter().zip(counts).map(share).collect()
}

/// How much a line of each leaf counts: how much more often its leaf comes in what probabilities are to hold for
/// than among the lines.
fn importance(prior: &Prior, mix: &[f64], drawn: &BTreeMap<String, f64>, dag: &Dag) -> Vec<f64> {
    let ratio = |(at, leaf): (usize, &Leaf)| {
        let of = |shares: &BTreeMap<String, f64>| shares.get(&leaf.id).copied().unwrap_or(0.0);
        of(&prior.assumed) * mix.get(at).copied().unwrap_or(1.0) / of(drawn).max(f64::MIN_POSITIVE)
    };
    dag.leaves.iter().enumerate().map(ratio).collect()
}

/// The temperatures with the lowest loss, over all lines and by language.
fn temperatures(lines: &[&Reading], loss: impl Fn(&Reading, f64) -> f64) -> Temperatures {
    let fitted = |lines: &[&Reading]| coolest(|t| lines.iter().map(|r| loss(r, t)).sum());
    if lines.is_empty() {
        return Temperatures::even();
    }
    let mut languages = BTreeMap::new();
    for language in Language::ALL {
        let own: Vec<&Reading> = lines.iter().copied().filter(|r| r.line.language == language).collect();
        if own.len() >= ENOUGH {
            languages.insert(language, fitted(&own));
        }
    }
    Temperatures { all: fitted(lines), languages }
}

/// The highest probability below which leaves can be excluded and a new line's leaf still lies at or above it
/// with probability `coverage` (Vovk et al. 2005), from each line's probability of its leaf and how much the line
/// counts. The new line counts as the one that counts most, which errs towards larger sets. 0 when there are too
/// few lines. The temperatures come from the same lines, one number for hundreds of them, so the coverage is a
/// little less certain than with lines of its own; `evaluate` shows it on others.
fn threshold(mut gold: Vec<(f64, f64)>, coverage: f64) -> f64 {
    gold.sort_by(|a, b| a.0.total_cmp(&b.0));
    let new = gold.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let most = (1.0 - coverage) * (gold.iter().map(|(_, count)| count).sum::<f64>() + new);
    let (mut excluded, mut threshold) = (new, 0.0);
    for (probability, count) in gold {
        // What chance alone adds to a sum must not decide.
        if excluded > most * (1.0 + 1e-12) {
            break;
        }
        threshold = probability;
        excluded += count;
    }
    threshold
}

fn surprise(p: f64) -> f64 {
    -p.max(1e-12).ln()
}

/// `part`: 0 urgency, 1 sentiment, 2 the wish for a person.
fn tone_loss(reading: &Reading, temperature: f64, part: usize) -> f64 {
    let Some(wanted) = reading.line.tone else { return 0.0 };
    let says = tone::scores(&reading.raw.tone, [temperature; 3]);
    let of = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(0.0);
    surprise(match part {
        0 => of(&says.urgency, wanted.urgency),
        1 => of(&says.sentiment, wanted.sentiment),
        _ if wanted.wants_human => says.wants_human,
        _ => 1.0 - says.wants_human,
    })
}

fn span_loss(reading: &Reading, extraction: &Extraction, group: usize, temperature: f64) -> f64 {
    let labels = measure::labels(&reading.line.groups, &reading.drawn, &reading.input, extraction);
    let (Some(Some(labels)), Some(logits), Some(fields)) = (
        labels.get(group),
        reading.raw.spans.get(group),
        extraction.groups.get(group).map(|g| g.fields.len()),
    ) else {
        return 0.0;
    };
    let rows = logits.chunks_exact(spans::labels(fields)).zip(labels);
    rows.map(|(row, label)| {
        let mut p: Vec<f64> = row.iter().map(|&z| f64::from(z) / temperature).collect();
        softmax(&mut p);
        surprise(p.get(*label).copied().unwrap_or(0.0))
    })
    .sum()
}

/// The temperature in 0.25..4 with the lowest loss: golden-section search over its logarithm, in which the
/// loss of a softmax falls and then rises.
fn coolest(loss: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_895;
    let (mut low, mut high) = (0.25_f64.ln(), 4.0_f64.ln());
    let inner = |low: f64, high: f64| (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut a, mut b) = inner(low, high);
    let (mut at_a, mut at_b) = (loss(a.exp()), loss(b.exp()));
    for _ in 0..30 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = inner(low, high).0;
            at_a = loss(a.exp());
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = inner(low, high).1;
            at_b = loss(b.exp());
        }
    }
    ((((low + high) / 2.0).exp()) * 10_000.0).round() / 10_000.0
}

/// The lowest probability from which a boundary counts so that few lines with one concern are cut: own lines,
/// and the long ones that were written for this. Even where there are none.
fn boundary(readings: &[Reading]) -> f64 {
    let one = |r: &&Reading| match r.line.source {
        Source::Own => true,
        Source::Several => r.line.concerns.len() < 2,
        _ => false,
    };
    let whole: Vec<&Reading> = readings.iter().filter(one).filter(|r| !r.raw.boundaries.is_empty()).collect();
    if whole.is_empty() {
        return 0.5;
    }
    let fits = |threshold: &f64| {
        let cut = whole.iter().filter(|r| segments::decode(&r.raw.boundaries, *threshold).len() > 1).count();
        cut as f64 <= FALSE_CUTS * whole.len() as f64
    };
    (5..20).map(|twentieth| f64::from(twentieth) / 20.0).find(fits).unwrap_or(0.95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_lowest_point() {
        assert!((coolest(|t| (t.ln() - 0.5).powi(2)) - 0.5_f64.exp()).abs() < 1e-3);
        assert!(coolest(|t| t) < 0.26 && coolest(|t| -t) > 3.9);
    }

    #[test]
    fn the_threshold_leaves_out_what_coverage_allows() {
        // 99 lines at 0.01 to 0.99: floor(100 * 0.05) = 5, the fifth lowest.
        let gold: Vec<(f64, f64)> = (1..100).rev().map(|i| (f64::from(i) / 100.0, 1.0)).collect();
        assert!((threshold(gold, 0.95) - 0.05).abs() < 1e-9);
        assert_eq!(threshold(vec![(0.9, 1.0); 10], 0.95), 0.0);
        assert_eq!(threshold(Vec::new(), 0.95), 0.0);
        // Lines that count a hundred times less are excluded as if they were not there.
        let mut gold = vec![(0.1, 0.01); 100];
        gold.extend((1..100).map(|i| (0.2 + f64::from(i) / 1_000.0, 1.0)));
        assert!((threshold(gold, 0.95) - 0.205).abs() < 2e-3);
    }
}
