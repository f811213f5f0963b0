//! What was said about messages whose leaf is known, and every figure that follows from leaf, probability and
//! prediction set alone.

use crate::governance::upper_error;
use crate::learning::interval::{DRAWS, bootstrap};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::collections::BTreeMap;

/// One message: what it is about, and what was said.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Characters.
    pub length: usize,
    /// Chat, e-mail and the like, where it is known.
    pub channel: Option<String>,
    pub leaf: usize,
    /// Calibrated probabilities of all leaves; they sum to 1 where the message has one concern.
    pub probabilities: Vec<f64>,
    /// The parent that the reading names first is one of the leaf's.
    pub parent_right: bool,
    /// The prediction set holds the leaf.
    pub held: bool,
    /// Leaves in the prediction set.
    pub set: usize,
}

/// Bins of a reliability diagram, of equal width.
const BINS: usize = 15;
/// Thresholds of the curve of risk and coverage.
const STEPS: usize = 19;
/// With this confidence all bounds of one curve hold together.
const CONFIDENCE: f64 = 0.95;
/// Pairs of leaves that are shown as taken for each other.
const PAIRS: usize = 30;

/// Everything about one set of messages.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub n: usize,
    pub accuracy: f64,
    pub parent_accuracy: f64,
    /// The mean F1 of the leaves that occur.
    pub macro_f1: f64,
    pub calibration: Reliability,
    /// Mean of the squared distance from the truth over all leaves (Brier 1950), 0 to 2.
    pub brier: f64,
    /// Mean negative logarithm of the leaf's probability, natural.
    pub nll: f64,
    /// How often the prediction set holds the leaf, and its mean size.
    pub coverage: f64,
    pub set_size: f64,
    pub risk: Vec<Accepted>,
    /// By leaf: what was said of its messages, and of others.
    pub leaves: BTreeMap<String, Precision>,
    pub confusions: Vec<Confusion>,
    /// By length (characters) and by channel: messages and accuracy.
    pub lengths: BTreeMap<String, Part>,
    pub channels: BTreeMap<String, Part>,
}

/// How far the highest probability is from how often it is right.
#[derive(Clone, Debug, Serialize)]
pub struct Reliability {
    /// Expected calibration error over 15 bins of equal width (Naeini et al. 2015).
    pub ece: f64,
    /// The same without what chance alone adds (Kumar, Liang, Ma 2019), at least 0.
    pub debiased: f64,
    /// 95 % of the error without what chance adds, from messages drawn again.
    pub interval: [f64; 2],
    /// Messages, mean probability and share right of each bin that has any.
    pub bins: Vec<Bin>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    pub n: usize,
    pub probability: f64,
    pub right: f64,
}

/// What is accepted when only readings of at least this probability count (selective classification, Geifman
/// and El-Yaniv 2017).
#[derive(Clone, Debug, Serialize)]
pub struct Accepted {
    pub threshold: f64,
    pub n: usize,
    /// The share of all messages.
    pub coverage: f64,
    /// The share of wrong ones among them.
    pub error: f64,
    /// The true share is at most this; with 95 % confidence for all thresholds of the curve together, whatever
    /// threshold is then chosen (Clopper and Pearson 1934, Bonferroni).
    pub at_most: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Precision {
    /// Messages of the leaf.
    pub n: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    pub leaf: String,
    pub said: String,
    pub n: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Part {
    pub n: usize,
    pub accuracy: f64,
}

impl Judged {
    /// The likeliest leaf and its probability; the earlier one among equals.
    pub fn said(&self) -> (usize, f64) {
        let all = self.probabilities.iter().copied().enumerate();
        all.fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
    }

    pub fn right(&self) -> bool {
        self.said().0 == self.leaf
    }
}

/// `None` where there are no messages. `leaves` are the ids in the order of the probabilities.
pub fn report(judged: &[Judged], leaves: &[String]) -> Option<Report> {
    let n = judged.len();
    if n == 0 {
        return None;
    }
    let mean = |value: &dyn Fn(&Judged) -> f64| judged.iter().map(value).sum::<f64>() / n as f64;
    let share = |hit: &dyn Fn(&Judged) -> bool| judged.iter().filter(|j| hit(j)).count() as f64 / n as f64;
    let by_leaf = precision(judged, leaves);
    let occurring: Vec<f64> = by_leaf.values().filter(|leaf| leaf.n > 0).map(|leaf| leaf.f1).collect();
    Some(Report {
        n,
        accuracy: share(&Judged::right),
        parent_accuracy: share(&|j| j.parent_right),
        macro_f1: occurring.iter().sum::<f64>() / occurring.len().max(1) as f64,
        calibration: reliability(judged)?,
        brier: mean(&brier),
        nll: mean(&|j| -j.probabilities.get(j.leaf).copied().unwrap_or(0.0).max(1e-12).ln()),
        coverage: share(&|j| j.held),
        set_size: mean(&|j| j.set as f64),
        risk: risk(judged),
        leaves: by_leaf,
        confusions: confusions(judged, leaves),
        lengths: parts(judged, |j| Some(length(j.length).to_owned())),
        channels: parts(judged, |j| j.channel.clone()),
    })
}

fn brier(judged: &Judged) -> f64 {
    let distance = |(at, p): (usize, &f64)| (p - f64::from(u8::from(at == judged.leaf))).powi(2);
    judged.probabilities.iter().enumerate().map(distance).sum()
}

const fn length(characters: usize) -> &'static str {
    match characters {
        0..60 => "up to 59",
        60..120 => "60 to 119",
        120..300 => "120 to 299",
        _ => "300 and more",
    }
}

fn parts(judged: &[Judged], name: impl Fn(&Judged) -> Option<String>) -> BTreeMap<String, Part> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for judged in judged {
        let Some(name) = name(judged) else { continue };
        let (n, right) = counts.entry(name).or_default();
        *n += 1;
        *right += usize::from(judged.right());
    }
    let part = |(n, right): (usize, usize)| Part { n, accuracy: right as f64 / n as f64 };
    counts.into_iter().map(|(name, count)| (name, part(count))).collect()
}

pub fn reliability(judged: &[Judged]) -> Option<Reliability> {
    let items: Vec<(f64, bool)> = judged.iter().map(|j| (j.said().1, j.right())).collect();
    let all = bins(&items, &vec![1; items.len()]);
    let (ece, debiased) = errors(&all);
    let [low, high] = bootstrap(items.len(), |drawn| Some(errors(&bins(&items, drawn)).0))?;
    // Messages drawn again are as far above what was counted as that is above the truth: the interval is
    // reflected (the basic bootstrap, Davison and Hinkley 1997, 5.2). At zero, where the error cannot fall
    // further, that does not hold, so zero is in it wherever calibrated probabilities could show as much.
    // On 300 drawn messages it held the true error in nine of ten cases: a guide, not a guarantee.
    let low_end = if ece <= by_chance(&items) { 0.0 } else { (2.0 * ece - high).max(0.0) };
    let interval = [low_end.min(debiased), (2.0 * ece - low).max(debiased)];
    Some(Reliability { ece, debiased, interval, bins: all.into_iter().filter(|bin| bin.n > 0).collect() })
}

/// The counted error that calibrated probabilities stay below in 97.5 % of outcomes drawn from them
/// (consistency resampling, Broecker and Smith 2007).
fn by_chance(items: &[(f64, bool)]) -> f64 {
    let mut rng = StdRng::seed_from_u64(items.len() as u64);
    let once = vec![1; items.len()];
    let mut drawn = items.to_vec();
    let mut counted: Vec<f64> = (0..DRAWS)
        .map(|_| {
            for (p, right) in &mut drawn {
                *right = rng.random_bool(p.clamp(0.0, 1.0));
            }
            errors(&bins(&drawn, &once)).0
        })
        .collect();
    counted.sort_by(f64::total_cmp);
    counted.get(DRAWS * 39 / 40).copied().unwrap_or(0.0)
}

fn bins(items: &[(f64, bool)], drawn: &[u32]) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); BINS];
    for ((p, right), times) in items.iter().zip(drawn) {
        let at = ((p * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(at) {
            bin.n += *times as usize;
            bin.probability += p * f64::from(*times);
            bin.right += f64::from(u8::from(*right)) * f64::from(*times);
        }
    }
    for bin in bins.iter_mut().filter(|bin| bin.n > 0) {
        bin.probability /= bin.n as f64;
        bin.right /= bin.n as f64;
    }
    bins
}

/// The calibration error as it is counted, and without its bias: in a bin of n messages the share right varies
/// by a normal distribution's standard deviation, so that the distance is above zero even where both agree. Its
/// mean under that distribution around what was seen, less what was seen, estimates the bias.
fn errors(bins: &[Bin]) -> (f64, f64) {
    let all: usize = bins.iter().map(|bin| bin.n).sum();
    let (mut counted, mut expected) = (0.0, 0.0);
    for bin in bins.iter().filter(|bin| bin.n > 0) {
        let weight = bin.n as f64 / all.max(1) as f64;
        let distance = bin.right - bin.probability;
        let deviation = (bin.right * (1.0 - bin.right) / bin.n as f64).sqrt();
        counted += weight * distance.abs();
        expected += weight * folded(distance, deviation);
    }
    (counted, (2.0 * counted - expected).max(0.0))
}

/// The mean of |X| for X normal with this mean and deviation.
fn folded(mean: f64, deviation: f64) -> f64 {
    if deviation <= 0.0 {
        return mean.abs();
    }
    let z = mean / deviation;
    let density = (2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp();
    deviation * density + mean * libm::erf(z / std::f64::consts::SQRT_2)
}

/// The curve of risk and coverage over a fixed grid, so that its bounds hold for a threshold chosen from it.
fn risk(judged: &[Judged]) -> Vec<Accepted> {
    let confidence = 1.0 - (1.0 - CONFIDENCE) / STEPS as f64;
    let accepted = |step: usize| {
        let threshold = step as f64 / (STEPS + 1) as f64;
        let taken: Vec<&Judged> = judged.iter().filter(|j| j.said().1 >= threshold).collect();
        let wrong = taken.iter().filter(|j| !j.right()).count();
        Accepted {
            threshold,
            n: taken.len(),
            coverage: taken.len() as f64 / judged.len().max(1) as f64,
            error: wrong as f64 / taken.len().max(1) as f64,
            at_most: upper_error(wrong, taken.len(), confidence),
        }
    };
    (1..=STEPS).map(accepted).collect()
}

fn precision(judged: &[Judged], leaves: &[String]) -> BTreeMap<String, Precision> {
    let mut counts = vec![(0_usize, 0_usize, 0_usize); leaves.len()];
    for judged in judged {
        let said = judged.said().0;
        if let Some(count) = counts.get_mut(judged.leaf) {
            count.0 += 1;
            count.2 += usize::from(said == judged.leaf);
        }
        if let Some(count) = counts.get_mut(said) {
            count.1 += 1;
        }
    }
    let of = |(n, said, right): (usize, usize, usize)| Precision {
        n,
        precision: right as f64 / said.max(1) as f64,
        recall: right as f64 / n.max(1) as f64,
        f1: 2.0 * right as f64 / (n + said).max(1) as f64,
    };
    let seen = leaves.iter().zip(counts).filter(|(_, (n, said, _))| n + said > 0);
    seen.map(|(leaf, count)| (leaf.clone(), of(count))).collect()
}

/// The pairs that are mistaken most often, the most frequent first.
fn confusions(judged: &[Judged], leaves: &[String]) -> Vec<Confusion> {
    let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for judged in judged.iter().filter(|judged| !judged.right()) {
        *counts.entry((judged.leaf, judged.said().0)).or_default() += 1;
    }
    let mut pairs: Vec<((usize, usize), usize)> = counts.into_iter().collect();
    pairs.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let named = |at: usize| leaves.get(at).cloned().unwrap_or_default();
    let pairs = pairs.into_iter().take(PAIRS);
    pairs.map(|((leaf, said), n)| Confusion { leaf: named(leaf), said: named(said), n }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(leaf: usize, probabilities: &[f64]) -> Judged {
        Judged {
            length: 80,
            channel: None,
            leaf,
            probabilities: probabilities.to_vec(),
            parent_right: true,
            held: true,
            set: 2,
        }
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn figures_are_those_counted_by_hand() {
        let all = [
            judged(0, &[0.7, 0.2, 0.1]),
            judged(1, &[0.6, 0.3, 0.1]),
            judged(1, &[0.1, 0.8, 0.1]),
            judged(2, &[0.1, 0.5, 0.4]),
        ];
        let report = report(&all, &names()).unwrap();
        assert_eq!((report.n, report.accuracy), (4, 0.5));
        // a: 1 of 1, said twice; b: 1 of 2, said twice; c: never found.
        assert_eq!(report.leaves["a"], Precision { n: 1, precision: 0.5, recall: 1.0, f1: 2.0 / 3.0 });
        assert_eq!(report.leaves["b"].f1, 0.5);
        assert!((report.macro_f1 - (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
        let brier = (0.09 + 0.04 + 0.01) + (0.36 + 0.49 + 0.01) + (0.01 + 0.04 + 0.01) + (0.01 + 0.25 + 0.36);
        assert!((report.brier - brier / 4.0).abs() < 1e-12);
        let nll = -(0.7_f64.ln() + 0.3_f64.ln() + 0.8_f64.ln() + 0.4_f64.ln()) / 4.0;
        assert!((report.nll - nll).abs() < 1e-12);
        let first = Confusion { leaf: "b".to_owned(), said: "a".to_owned(), n: 1 };
        assert_eq!(report.confusions[0], first);
        let at =
            |threshold: f64| report.risk.iter().find(|r| (r.threshold - threshold).abs() < 1e-9).unwrap();
        assert_eq!((at(0.65).n, at(0.65).error), (2, 0.0));
        assert_eq!((at(0.55).n, at(0.55).error), (3, 1.0 / 3.0));
        assert!(at(0.65).at_most > 0.9 && at(0.95).at_most == 1.0);
        assert_eq!(report.lengths["60 to 119"].n, 4);
        assert!(super::report(&[], &names()).is_none());
    }

    #[test]
    fn the_debiased_error_of_a_calibrated_model_is_near_zero_where_the_counted_one_is_not() {
        let mut rng = StdRng::seed_from_u64(3);
        let draw = |rng: &mut StdRng, off: f64| -> Vec<(f64, bool)> {
            (0..600)
                .map(|_| {
                    let p: f64 = rng.random_range(0.3..1.0);
                    (p, rng.random_bool((p - off).clamp(0.0, 1.0)))
                })
                .collect()
        };
        let (mut counted, mut debiased, mut shifted) = (0.0, 0.0, 0.0);
        for _ in 0..40 {
            let all = vec![1; 600];
            let (a, b) = errors(&bins(&draw(&mut rng, 0.0), &all));
            counted += a / 40.0;
            debiased += b / 40.0;
            shifted += errors(&bins(&draw(&mut rng, 0.15), &all)).1 / 40.0;
        }
        assert!(counted > 0.035 && debiased < 0.6 * counted, "{counted} {debiased}");
        assert!((shifted - 0.15).abs() < 0.01, "{shifted}");
    }

    #[test]
    fn the_interval_of_the_error_holds_what_is_true() {
        let mut rng = StdRng::seed_from_u64(5);
        for (off, held_at_least) in [(0.0, 36), (0.05, 30), (0.15, 30)] {
            let mut held = 0;
            for _ in 0..40 {
                let items: Vec<Judged> = (0..300)
                    .map(|_| {
                        let p: f64 = rng.random_range(0.5..0.99);
                        let right = rng.random_bool(p - off);
                        let leaf = usize::from(!right);
                        Judged { probabilities: vec![p, 1.0 - p], leaf, ..judged(0, &[]) }
                    })
                    .collect();
                let found = reliability(&items).unwrap();
                let [low, high] = found.interval;
                assert!(low <= found.debiased && found.debiased <= high, "{found:?}");
                held += u32::from(low <= off && off <= high);
            }
            assert!(held >= held_at_least, "{off}: {held} of 40");
        }
    }

    #[test]
    fn the_folded_mean_is_that_of_draws() {
        assert_eq!(folded(-0.2, 0.0), 0.2);
        // |N(0, 1)| has mean sqrt(2 / pi).
        assert!((folded(0.0, 1.0) - 0.797_884_56).abs() < 1e-7);
        assert!((folded(5.0, 0.1) - 5.0).abs() < 1e-9 && (folded(-5.0, 0.1) - 5.0).abs() < 1e-9);
    }
}
