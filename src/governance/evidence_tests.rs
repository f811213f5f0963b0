use super::*;
use proptest::prelude::*;

/// SplitMix64 (Steele, Lea, Flood 2014): draws that are the same in every run.
struct Draws(u64);

impl Draws {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn is(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

const DRAWS: u64 = 1_000;
/// What chance adds to a share of 5 % in 1,000 draws, in all but one of a thousand runs.
const SLACK: f64 = 0.022;

fn demand(max_error: f64) -> Demand {
    Demand { max_error, confidence: 0.95 }
}

fn seen(confidence: i64, right: bool) -> Observation {
    Observation { confidence, right, source: Source::Review }
}

#[test]
fn what_is_needed_without_an_error_is_near_what_no_method_goes_below() {
    // ln(20) / -ln(1 - m): what a bank needs that looks once alone, with all on no error.
    for (max_error, least) in [(0.1, 29), (0.05, 59), (0.01, 299)] {
        let needed = demand(max_error).missing(0, 0);
        assert!(needed >= least && needed <= least + least / 6 + 3, "{max_error}: {needed}");
        assert!(demand(max_error).bound(0, needed) <= max_error);
        assert!(demand(max_error).bound(0, needed - 1) > max_error);
        assert_eq!(demand(max_error).missing(0, needed), 0);
    }
    assert_eq!(demand(0.01).missing(0, 0), 339);
    assert_eq!(demand(0.1).bound(0, 0), 1.0);
    assert_eq!(demand(0.1).bound(3, 3), 1.0);
}

#[test]
fn thresholds_are_tested_in_their_order_and_never_past_one_that_fails() {
    let strict = vec![seen(9_700, true); 60];
    let standing = demand(0.1).standing(&strict);
    assert_eq!((standing.threshold, standing.reviewed, standing.missing), (Some(5_000), 60, 0));
    // Errors between 90 and 95 % end it there, although there are enough below that are right.
    let mut mixed = strict.clone();
    mixed.extend(vec![seen(9_100, false); 12]);
    mixed.extend(vec![seen(5_500, true); 3_000]);
    let standing = demand(0.1).standing(&mixed);
    assert_eq!((standing.threshold, standing.errors), (Some(9_500), 0));
    // Nothing at the strictest: nothing at all, and what is missing is told.
    let standing = demand(0.1).standing(&vec![seen(9_100, true); 3_000]);
    assert_eq!((standing.threshold, standing.reviewed, standing.bound), (None, 0, 1.0));
    assert_eq!(standing.missing, demand(0.1).missing(0, 0));
}

/// Readings as a model gives them: how sure it is, and how often it is wrong then.
fn draw(draws: &mut Draws, error: impl Fn(f64) -> f64) -> Observation {
    // Most are sure.
    let confidence = 1.0 - 0.6 * draws.unit().powi(3);
    seen((confidence * 10_000.0) as i64, !draws.is(error(confidence)))
}

/// The error rate among readings of at least this confidence, and how many of all those are.
fn truth(threshold: i64, error: &impl Fn(f64) -> f64) -> (f64, f64) {
    let (mut wrong, mut taken, n) = (0.0, 0.0, 200_000);
    for at in 0..n {
        let confidence = 1.0 - 0.6 * ((f64::from(at) + 0.5) / f64::from(n)).powi(3);
        if (confidence * 10_000.0) as i64 >= threshold {
            taken += 1.0;
            wrong += error(confidence).clamp(0.0, 1.0);
        }
    }
    (wrong / f64::max(taken, 1.0), taken / f64::from(n))
}

/// Looks after every review. How often a threshold was ever taken whose true error is above what is accepted, and the mean
/// share of cases that the last one takes.
fn looked_at((draws, reviews): (u64, u64), wanted: Demand, error: impl Fn(f64) -> f64 + Copy) -> (f64, f64) {
    let truths: Vec<(i64, (f64, f64))> = THRESHOLDS.into_iter().map(|t| (t, truth(t, &error))).collect();
    let (mut broken, mut coverage) = (0.0, 0.0);
    for seed in 0..draws {
        let mut own = Draws(seed);
        let mut counts = [(0_u64, 0_u64); THRESHOLDS.len()];
        let (mut worst, mut last) = (0.0_f64, 0.0);
        for _ in 0..reviews {
            let one = draw(&mut own, error);
            for (count, threshold) in counts.iter_mut().zip(THRESHOLDS) {
                if one.confidence >= threshold {
                    *count = (count.0 + u64::from(!one.right), count.1 + 1);
                }
            }
            let passed = counts.iter().take_while(|count| wanted.is_met(count.0, count.1)).count();
            last = 0.0;
            if let Some((_, (rate, share))) = passed.checked_sub(1).map(|at| truths[at]) {
                (worst, last) = (worst.max(rate), share);
            }
        }
        broken += f64::from(u8::from(worst > wanted.max_error)) / draws as f64;
        coverage += last / draws as f64;
    }
    (broken, coverage)
}

#[test]
fn looking_after_every_review_the_accepted_error_is_broken_no_more_often_than_stated() {
    // The rate is what is accepted, or just above it, at every confidence: each threshold that is taken is wrong.
    for error in [0.0501, 0.055, 0.08] {
        let (broken, _) = looked_at((DRAWS, 1_500), demand(0.05), |_| error);
        assert!(broken <= 0.05 + SLACK, "{error}: {broken}");
    }
    // A model that is right where it is sure: the lower thresholds are the wrong ones.
    let (broken, _) = looked_at((DRAWS, 1_500), demand(0.05), |confidence| 1.6 * (1.0 - confidence));
    assert!(broken <= 0.05 + SLACK, "{broken}");
}

#[test]
fn in_time_nearly_all_is_taken_that_could_be() {
    let error = |confidence: f64| 0.9 * (1.0 - confidence);
    let best = THRESHOLDS.into_iter().map(|threshold| truth(threshold, &error));
    let best = best.filter(|(rate, _)| *rate <= 0.05).map(|(_, share)| share).fold(0.0, f64::max);
    let (_, early) = looked_at((60, 1_000), demand(0.05), error);
    let (_, late) = looked_at((60, 4_000), demand(0.05), error);
    assert!(early > 0.6 * best && late > 0.85 * best, "{early} {late} {best}");
}

#[test]
fn the_detector_finds_a_rise_soon_and_seldom_errs() {
    let mut own = Draws(7);
    let first = |draws: &mut Draws, rate: f64, most: u32| {
        let mut detector = Detector::new(0.05, 1_000);
        (1..=most).find(|_| detector.sees(!draws.is(rate))).unwrap_or(most)
    };
    let mean = |draws: &mut Draws, rate: f64, most: u32| -> f64 {
        (0..200).map(|_| f64::from(first(draws, rate, most))).sum::<f64>() / 200.0
    };
    let [at_limit, below, doubled, broken] = [0.05, 0.02, 0.1, 0.3].map(|rate| mean(&mut own, rate, 20_000));
    assert!(at_limit > 900.0 && below > 10_000.0, "{at_limit} {below}");
    assert!(doubled < 350.0 && broken < 40.0, "{doubled} {broken}");
}

proptest! {
    #[test]
    fn the_bound_is_what_the_test_does_not_rule_out(
        reviewed in 1_u64..3_000,
        share in 0.0_f64..0.3,
        max_error in 0.002_f64..0.4,
        confidence in 0.5_f64..0.999,
    ) {
        let errors = (reviewed as f64 * share) as u64;
        let wanted = Demand { max_error, confidence };
        let bound = wanted.bound(errors, reviewed);
        prop_assert!(bound >= errors as f64 / reviewed as f64);
        prop_assert_eq!(wanted.is_met(errors, reviewed), bound <= max_error);
        prop_assert!(wanted.bound(errors + 1, reviewed + 1) >= bound);
        prop_assert!(wanted.bound(errors, reviewed + 1) <= bound);
        let missing = wanted.missing(errors, reviewed);
        prop_assert!(missing == MOST_MISSING || wanted.is_met(errors, reviewed + missing));
        prop_assert!(missing == 0 || !wanted.is_met(errors, reviewed + missing - 1));
    }

    #[test]
    fn the_order_of_reviews_changes_nothing(
        all in proptest::collection::vec((4_000_i64..10_000, any::<bool>()), 0..200),
        seed in any::<u64>(),
    ) {
        let mut draws = Draws(seed);
        let all: Vec<Observation> = all.into_iter().map(|(confidence, right)| seen(confidence, right)).collect();
        let mut keyed: Vec<(u64, Observation)> = all.iter().map(|one| (draws.bits(), *one)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let other: Vec<Observation> = keyed.into_iter().map(|(_, one)| one).collect();
        prop_assert_eq!(demand(0.3).standing(&all), demand(0.3).standing(&other));
    }
}
