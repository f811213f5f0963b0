//! Fits what turns scores into probabilities, on development lines: temperatures by likelihood, the
//! prediction set's threshold by split conformal prediction.

use super::datasets::Source;
use super::measure::{self, Reading};
use crate::base::Language;
use crate::understanding::heads::intent::{self, softmax};
use crate::understanding::heads::{segments, spans, tone};
use crate::understanding::{Calibration, Extraction};

/// The part of messages whose leaf the prediction set is to hold.
const COVERAGE: f64 = 0.95;
/// Of messages with one concern at most this part may be cut in two.
const FALSE_CUTS: f64 = 0.01;
/// A language with fewer lines takes temperature and threshold of all lines together.
const ENOUGH: usize = 100;

/// `readings` are of the development part. The project's own lines count, since they are what customers of
/// this bank write; without them all lines do.
pub fn fit(readings: &[Reading], shape: &intent::Shape, extraction: &Extraction) -> Calibration {
    let own: Vec<&Reading> = readings.iter().filter(|r| r.line.source == Source::Own).collect();
    let lines: Vec<&Reading> = if own.len() < ENOUGH { readings.iter().collect() } else { own };
    let mut calibration = Calibration::none(extraction.groups.iter().map(|group| group.id.clone()));
    calibration.coverage = COVERAGE;
    calibration.intent_temperature = coolest(|t| lines.iter().map(|r| intent_loss(r, shape, t)).sum());
    for language in Language::ALL {
        let own: Vec<&&Reading> = lines.iter().filter(|r| r.line.language == language).collect();
        if own.len() >= ENOUGH {
            let temperature = coolest(|t| own.iter().map(|r| intent_loss(r, shape, t)).sum());
            calibration.intent_temperatures.insert(language, temperature);
        }
    }
    calibration.tone_temperature = coolest(|t| lines.iter().map(|r| tone_loss(r, t)).sum());
    calibration.boundary = boundary(readings);
    for (at, group) in extraction.groups.iter().enumerate() {
        let temperature = coolest(|t| readings.iter().map(|r| span_loss(r, extraction, at, t)).sum());
        calibration.span_temperatures.insert(group.id.clone(), temperature);
    }
    let temperatures = calibration.clone();
    let scores = |language: Option<Language>| -> Vec<f64> {
        let fits = |r: &&&Reading| language.is_none_or(|language| r.line.language == language);
        lines
            .iter()
            .filter(fits)
            .filter_map(|r| gold(r, shape, temperatures.intent_temperature(r.line.language)))
            .collect()
    };
    let all = scores(None);
    for language in Language::ALL {
        let own = scores(Some(language));
        let chosen = if own.len() < ENOUGH { all.clone() } else { own };
        calibration.thresholds.insert(language, threshold(chosen, COVERAGE));
    }
    calibration
}

/// The probability that the k-th least sure line gives its leaf, where k is chosen so that a new line's leaf
/// lies at or above it with probability `coverage` (Vovk et al. 2005). 0 when there are too few lines.
fn threshold(mut gold: Vec<f64>, coverage: f64) -> f64 {
    gold.sort_by(f64::total_cmp);
    let misses = ((gold.len() + 1) as f64 * (1.0 - coverage)).floor() as usize;
    misses.checked_sub(1).and_then(|at| gold.get(at)).copied().unwrap_or(0.0)
}

fn gold(reading: &Reading, shape: &intent::Shape, temperature: f64) -> Option<f64> {
    let target = reading.line.target.as_ref()?;
    shape.scores(&reading.raw.intent, temperature).leaves.get(target.leaf).copied()
}

fn intent_loss(reading: &Reading, shape: &intent::Shape, temperature: f64) -> f64 {
    gold(reading, shape, temperature).map_or(0.0, |p| -p.max(1e-12).ln())
}

fn tone_loss(reading: &Reading, temperature: f64) -> f64 {
    let Some(wanted) = reading.line.tone else { return 0.0 };
    let says = tone::scores(&reading.raw.tone, temperature);
    let wish = if wanted.wants_human { says.wants_human } else { 1.0 - says.wants_human };
    let of = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(0.0);
    [of(&says.urgency, wanted.urgency), of(&says.sentiment, wanted.sentiment), wish]
        .iter()
        .map(|p| -p.max(1e-12).ln())
        .sum()
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
        -p.get(*label).copied().unwrap_or(0.0).max(1e-12).ln()
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

/// The lowest probability from which a boundary counts so that few own lines with one concern are cut.
fn boundary(readings: &[Reading]) -> f64 {
    let whole: Vec<&Reading> =
        readings.iter().filter(|r| r.line.source == Source::Own && !r.raw.boundaries.is_empty()).collect();
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
