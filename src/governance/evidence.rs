//! What reviewed cases say about an error rate, at any moment somebody looks.
//!
//! The test of "the rate is at least m" is a mixture of likelihood ratios (Wald 1945, Robbins 1970) against rates below
//! m; as bets it is one of Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting").
//! While the rate is m or more, the value is a supermartingale with mean 1 at most, so it ever reaches 1 / slack with
//! probability `slack` at most (Ville 1939), however often one looks and whenever one stops. It depends on two counts
//! alone, in any order, and it grows with m: the rates that it does not rule out are those below one bound.

use serde::{Deserialize, Serialize};

/// Tested in this order, the strictest first, as basis points; testing ends at the first that does not pass, so all of
/// them share one slack (fixed sequence testing: Angelopoulos et al. 2021, "Learn then Test"). They are part of the
/// program: a grid that somebody changes after looking at reviews proves nothing.
pub const THRESHOLDS: [i64; 7] = [9_500, 9_000, 8_500, 8_000, 7_000, 6_000, 5_000];

/// The rates below m that are bet on, as shares of m, and how much is put on each. Half is on none at all: evidence
/// without an error is what a bank waits for.
const BETS: [(f64, f64); 5] = [(0.0, 0.5), (0.125, 0.125), (0.25, 0.125), (0.5, 0.125), (0.75, 0.125)];

/// Nobody reviews more; what is missing beyond it is told as this.
const MOST_MISSING: u64 = 10_000_000;

/// Where an observation comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A labelled line that the bundle was not made with.
    Evaluation,
    /// A blind review of a call that was suggested.
    Review,
    /// A blind review of a call that was made without a person.
    Quality,
}

/// One case whose truth is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observation {
    /// Of the reading, in basis points.
    pub confidence: i64,
    pub right: bool,
    pub source: Source,
}

/// What a bank accepts: in at most a share of `1 - confidence` of such proofs the true rate is above `max_error`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Demand {
    pub max_error: f64,
    pub confidence: f64,
}

/// How far the evidence carries.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Standing {
    /// From this confidence on (basis points) the error is shown to be below what is accepted; `None`: nowhere.
    pub threshold: Option<i64>,
    /// At that threshold, or at the strictest one where there is none.
    pub reviewed: u64,
    pub errors: u64,
    /// The error rate is below this.
    pub bound: f64,
    /// How many more reviews without an error are needed; 0 where there is a threshold.
    pub missing: u64,
}

impl Demand {
    /// The value that the evidence has to reach.
    fn proof(self) -> f64 {
        1.0 / (1.0 - self.confidence)
    }

    /// Whether so many errors in so many cases show that the rate is below what is accepted.
    pub fn is_met(self, errors: u64, reviewed: u64) -> bool {
        evidence_against(errors, reviewed, self.max_error) >= self.proof()
    }

    /// The upper end of the error rates that are not ruled out; 1 where nothing was seen.
    pub fn bound(self, errors: u64, reviewed: u64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        // What is left of the interval after so many halvings is below what a double tells apart.
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if evidence_against(errors, reviewed, middle) >= self.proof() {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// How many more reviews without an error it takes.
    pub fn missing(self, errors: u64, reviewed: u64) -> u64 {
        let met = |more: u64| self.is_met(errors, reviewed.saturating_add(more));
        let mut enough = 1;
        while enough < MOST_MISSING && !met(enough) {
            enough *= 2;
        }
        let (mut low, mut high) = (0, enough.min(MOST_MISSING));
        while low < high {
            let middle = u64::midpoint(low, high);
            if met(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        high
    }

    /// What the observations show, in any order.
    pub fn standing(self, observations: &[Observation]) -> Standing {
        let counts = |threshold: i64| {
            let taken = observations.iter().filter(|seen| seen.confidence >= threshold);
            taken.fold((0, 0), |(errors, reviewed), seen| (errors + u64::from(!seen.right), reviewed + 1))
        };
        let passing = THRESHOLDS.into_iter().map(|threshold| (threshold, counts(threshold)));
        let last = passing.take_while(|(_, (errors, reviewed))| self.is_met(*errors, *reviewed)).last();
        let strictest = THRESHOLDS.first().map_or((0, 0), |threshold| counts(*threshold));
        let (errors, reviewed) = last.map_or(strictest, |(_, counts)| counts);
        Standing {
            threshold: last.map(|(threshold, _)| threshold),
            reviewed,
            errors,
            bound: self.bound(errors, reviewed),
            missing: self.missing(errors, reviewed),
        }
    }
}

/// How strongly so many errors in so many independent cases speak against a rate of `rate` or more, `rate` above 0 and
/// below 1: an e-value, 1 where nothing was seen. By libm, which gives the same bits on every machine.
pub fn evidence_against(errors: u64, reviewed: u64, rate: f64) -> f64 {
    let right = reviewed.saturating_sub(errors) as f64;
    let bet = |(share, stake): (f64, f64)| {
        let lost = if errors == 0 { 0.0 } else { errors as f64 * libm::log(share) };
        stake * libm::exp(lost + right * (libm::log1p(-share * rate) - libm::log1p(-rate)))
    };
    BETS.into_iter().map(bet).sum()
}

/// Tells when errors become more than what is accepted, whenever that begins: the sum over all beginnings of the bets on a
/// larger rate (Shiryaev 1963, Roberts 1966; as an e-detector, Shin, Ramdas and Rinaldo 2024). While the rate is
/// `max_error` or less, the sum grows by 1 at most in the mean, so that it takes `false_alarm_every` reviews in the mean
/// at least until it is reached by chance.
#[derive(Clone, PartialEq, Debug)]
pub struct Detector {
    max_error: f64,
    false_alarm_every: f64,
    sums: [f64; RISES.len()],
}

/// The larger rates that are bet on, as multiples of what is accepted.
const RISES: [f64; 3] = [1.5, 2.0, 4.0];

impl Detector {
    pub fn new(max_error: f64, false_alarm_every: u64) -> Self {
        Self { max_error, false_alarm_every: false_alarm_every as f64, sums: [0.0; RISES.len()] }
    }

    /// One more review of a call that was made without a person; whether there is an alarm now.
    pub fn sees(&mut self, right: bool) -> bool {
        let least = self.max_error;
        for (sum, rise) in self.sums.iter_mut().zip(RISES) {
            let rate = (rise * least).min(f64::midpoint(1.0, least));
            let bet = if right { (1.0 - rate) / (1.0 - least) } else { rate / least };
            *sum = (*sum + 1.0) * bet;
        }
        self.sums.iter().sum::<f64>() / RISES.len() as f64 >= self.false_alarm_every
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
