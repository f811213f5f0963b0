//! Whether what the autonomy dial promises holds on data with known error rates: looked at after every review.
//!
//! Prints JSON; bench/autonomy.py runs it and draws it. `cargo bench --profile dev --bench autonomy`.

#![expect(clippy::indexing_slicing, reason = "a measurement that cannot go on ends")]

use prokura::governance::{Demand, Detector, THRESHOLDS, upper_error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const DRAWS: u64 = 1_000;
const CONFIDENCE: f64 = 0.95;

/// How often a reading is wrong that is this sure.
type Error = fn(f64, f64) -> f64;

/// Most readings are sure.
fn confidence(place: f64) -> f64 {
    1.0 - 0.6 * place.powi(3)
}

/// By threshold: the error rate of what it takes, and the share that it takes.
fn truth(max_error: f64, error: Error) -> Vec<(f64, f64)> {
    let n = 200_000;
    let of = |threshold: i64| {
        let taken = (0..n).map(|at| confidence((f64::from(at) + 0.5) / f64::from(n)));
        let taken: Vec<f64> = taken.filter(|sure| (sure * 10_000.0) as i64 >= threshold).collect();
        let wrong: f64 = taken.iter().map(|sure| error(*sure, max_error).clamp(0.0, 1.0)).sum();
        (wrong / taken.len() as f64, taken.len() as f64 / f64::from(n))
    };
    THRESHOLDS.into_iter().map(of).collect()
}

/// Reviews one after the other; after each, how many thresholds pass.
fn reviewed(
    seed: u64,
    reviews: usize,
    (max_error, error): (f64, Error),
    passes: impl Fn(u64, u64) -> bool,
    mut each: impl FnMut(usize, usize),
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counts = [(0_u64, 0_u64); THRESHOLDS.len()];
    for at in 1..=reviews {
        let sure = confidence(rng.random());
        let wrong = rng.random_bool(error(sure, max_error).clamp(0.0, 1.0));
        for (count, threshold) in counts.iter_mut().zip(THRESHOLDS) {
            if (sure * 10_000.0) as i64 >= threshold {
                *count = (count.0 + u64::from(wrong), count.1 + 1);
            }
        }
        each(at, counts.iter().take_while(|count| passes(count.0, count.1)).count());
    }
}

/// How often, in all draws, something was ever taken that is wrong more often than accepted.
fn broken(max_error: f64, error: Error, reviews: usize, passes: impl Fn(u64, u64) -> bool) -> f64 {
    let truth = truth(max_error, error);
    let draw = |seed| {
        let mut ever = false;
        reviewed(seed, reviews, (max_error, error), &passes, |_, passed| {
            ever |= passed > 0 && truth[passed - 1].0 > max_error;
        });
        u64::from(ever)
    };
    (0..DRAWS).map(draw).sum::<u64>() as f64 / DRAWS as f64
}

/// The share of the best possible coverage that is taken after so many reviews.
fn coverage(max_error: f64, error: Error, reviews: &[usize]) -> Vec<f64> {
    let (truth, wanted) = (truth(max_error, error), Demand { max_error, confidence: CONFIDENCE });
    let best =
        truth.iter().filter(|(rate, _)| *rate <= max_error).map(|(_, share)| *share).fold(0.0, f64::max);
    let mut sums = vec![0.0; reviews.len()];
    let draws = 200;
    for seed in 0..draws {
        let most = reviews.iter().max().copied().unwrap_or(0);
        reviewed(
            seed,
            most,
            (max_error, error),
            |k, n| wanted.is_met(k, n),
            |at, passed| {
                if let Some(place) = reviews.iter().position(|wanted| *wanted == at) {
                    sums[place] += passed.checked_sub(1).map_or(0.0, |last| truth[last].1) / best;
                }
            },
        );
    }
    sums.into_iter().map(|sum| sum / draws as f64).collect()
}

/// The most errors with which an exact interval that is made for one look would pass, by number of reviews.
fn one_look(max_error: f64, most: usize) -> Vec<Option<u64>> {
    let mut last: Option<usize> = None;
    let at = |n: usize| {
        let mut next = last.map_or(0, |k| k + 1);
        while next < n && upper_error(next, n, CONFIDENCE) <= max_error {
            last = Some(next);
            next += 1;
        }
        last.map(|k| k as u64)
    };
    (0..=most).map(at).collect()
}

fn delay(max_error: f64, rate: f64) -> f64 {
    let draws = 300;
    let mut sum = 0.0;
    for seed in 0..draws {
        let (mut rng, mut detector) = (StdRng::seed_from_u64(seed), Detector::new(max_error, 1_000));
        let found = (1..=20_000).find(|_| detector.sees(!rng.random_bool(rate)));
        sum += f64::from(found.unwrap_or(20_000));
    }
    sum / draws as f64
}

fn main() {
    let shapes: [(&str, Error); 4] = [
        ("wrong a little more often than accepted, everywhere", |_, limit| limit * 1.002),
        ("wrong a tenth more often than accepted, everywhere", |_, limit| limit * 1.1),
        ("wrong twice as often as accepted, everywhere", |_, limit| limit * 2.0),
        ("right where it is sure", |sure, limit| 32.0 * limit * (1.0 - sure)),
    ];
    let mut risk: Vec<Value> = Vec::new();
    for (max_error, reviews) in [(0.1, 1_000), (0.05, 1_500), (0.01, 5_000)] {
        let (wanted, single) = (Demand { max_error, confidence: CONFIDENCE }, one_look(max_error, reviews));
        for (shape, error) in shapes {
            let own = broken(max_error, error, reviews, |k, n| wanted.is_met(k, n));
            let naive =
                broken(max_error, error, reviews, |k, n| single[n as usize].is_some_and(|most| k <= most));
            risk.push(json!({
                "max_error": max_error, "reviews": reviews, "data": shape, "broken": own,
                "broken_by_an_interval_for_one_look": naive, "stated": 1.0 - CONFIDENCE,
            }));
            eprintln!("{max_error} {shape}: {own} {naive}");
        }
    }
    let reviews = [100, 200, 300, 500, 1_000, 2_000, 4_000, 8_000];
    let taken = |max_error: f64| {
        let error: Error = |sure, limit| 18.0 * limit * (1.0 - sure);
        json!({"max_error": max_error, "reviews": reviews, "of_best": coverage(max_error, error, &reviews)})
    };
    let delays = [(0.05, 0.02), (0.05, 0.05), (0.05, 0.1), (0.05, 0.3), (0.1, 0.3), (0.01, 0.05)];
    let delays = delays.map(|(max_error, rate)| {
        json!({"max_error": max_error, "rate": rate, "false_alarm_every": 1_000, "mean_reviews": delay(max_error, rate)})
    });
    println!(
        "{}",
        json!({
            "draws": DRAWS, "confidence": CONFIDENCE, "risk": risk,
            "coverage": [taken(0.1), taken(0.05), taken(0.01)], "detector": delays,
        })
    );
}
