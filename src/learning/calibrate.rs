//! Fits what turns scores into probabilities, on development lines: temperatures by likelihood, the
//! prediction set's threshold by split conformal prediction.

use super::datasets::Source;
use super::measure::{self, Reading};
use crate::base::Language;
use crate::understanding::calibration::{Calibration, Prior, Temperatures};
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

/// What fitting needs beside the lines.
pub struct Target<'a> {
    pub dag: &'a Dag,
    pub extraction: &'a Extraction,
    pub shape: &'a intent::Shape,
    /// What the shares of leaves are: those of the lines, unless this says otherwise.
    pub prior: Option<Prior>,
}

/// `readings` are of lines that were not trained on, read with the weights that will be used. The project's own
/// lines count, since they are what customers of this bank write; without them all lines do. Values are marked
/// in too few of them, so span temperatures are fitted on every line whose marks are complete.
pub fn fit(readings: &[Reading], target: Target) -> Calibration {
    let Target { dag, extraction, shape, prior } = target;
    let own: Vec<&Reading> = readings.iter().filter(|r| r.line.source == Source::Own).collect();
    let lines: Vec<&Reading> = if own.len() < ENOUGH { readings.iter().collect() } else { own };
    let every: Vec<&Reading> = readings.iter().collect();
    let toned: Vec<&Reading> = lines.iter().copied().filter(|r| r.line.tone.is_some()).collect();
    let leaves = || dag.leaves.iter().map(|leaf| leaf.id.as_str());
    let known: Vec<&Reading> = lines.iter().copied().filter(|r| r.line.target.is_some()).collect();
    let prior = prior.unwrap_or_else(|| Prior { assumed: shares(&known, dag), ..Prior::default() });
    let mix = prior.weights(leaves());
    let gold = |r: &Reading, t: f64| {
        let scores = shape.scores(&r.raw.intent, t).weighted(&shape.edges, &mix);
        r.line.target.as_ref().and_then(|target| scores.leaves.get(target.leaf).copied())
    };
    let mut calibration = Calibration {
        intent: temperatures(&known, |r, t| gold(r, t).map_or(0.0, surprise)),
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
    let scores = |language: Option<Language>| -> Vec<f64> {
        let fits = |r: &&&Reading| language.is_none_or(|language| r.line.language == language);
        let leaf = |r: &&Reading| gold(r, calibration.intent.of(r.line.language));
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

/// The share of each leaf, each counted once more than it occurs (Laplace), so that none is nothing.
pub fn shares(known: &[&Reading], dag: &Dag) -> BTreeMap<String, f64> {
    let mut counts = vec![1_usize; dag.leaves.len()];
    for target in known.iter().filter_map(|r| r.line.target.as_ref()) {
        if let Some(count) = counts.get_mut(target.leaf) {
            *count += 1;
        }
    }
    let all = (known.len() + dag.leaves.len()) as f64;
    let share = |count: usize| (count as f64 / all * 1e6).round() / 1e6;
    dag.leaves.iter().zip(counts).map(|(leaf, count)| (leaf.id.clone(), share(count))).collect()
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

/// The probability that the k-th least sure line gives its leaf, where k is chosen so that a new line's leaf
/// lies at or above it with probability `coverage` (Vovk et al. 2005). 0 when there are too few lines. The
/// temperatures come from the same lines, one number for hundreds of them, so the coverage is a little less
/// certain than with lines of its own; `evaluate` shows it on others.
fn threshold(mut gold: Vec<f64>, coverage: f64) -> f64 {
    gold.sort_by(f64::total_cmp);
    let misses = ((gold.len() + 1) as f64 * (1.0 - coverage)).floor() as usize;
    misses.checked_sub(1).and_then(|at| gold.get(at)).copied().unwrap_or(0.0)
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
        let gold: Vec<f64> = (1..100).rev().map(|i| f64::from(i) / 100.0).collect();
        assert!((threshold(gold, 0.95) - 0.05).abs() < 1e-9);
        assert_eq!(threshold(vec![0.9; 10], 0.95), 0.0);
    }
}
