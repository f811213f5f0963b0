//! What was right, message by message, and the figures over many messages with how sure they are.

use crate::learning::interval::bootstrap;
use serde::{Deserialize, Serialize};

/// How many of something were found, stood there, and both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub right: u32,
    pub found: u32,
    pub wanted: u32,
}

/// What came of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub intents: Count,
    /// A value is right when slot, first and last character are.
    pub slots: Count,
    /// `slots` by slot, in the order of the labels.
    pub by_slot: Vec<Count>,
}

/// Micro-averaged figures, each in 0..1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    /// How many stood in the messages.
    pub n: u32,
    /// 95 % of F1 when messages are drawn anew; absent where nobody drew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// Figures over some messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub messages: usize,
    pub intents: Score,
    pub slots: Score,
    /// Part of the messages in which exactly the right intents and values were found.
    pub exact: f64,
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            right: self.right + other.right,
            found: self.found + other.found,
            wanted: self.wanted + other.wanted,
        }
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), std::ops::Add::add)
    }
}

impl Count {
    pub fn f1(self) -> f64 {
        2.0 * f64::from(self.right) / f64::from((self.found + self.wanted).max(1))
    }

    pub fn exact(self) -> bool {
        self.right == self.found && self.right == self.wanted
    }

    /// Without an interval.
    pub fn score(self) -> Score {
        Score {
            f1: self.f1(),
            precision: f64::from(self.right) / f64::from(self.found.max(1)),
            recall: f64::from(self.right) / f64::from(self.wanted.max(1)),
            n: self.wanted,
            interval: None,
        }
    }
}

/// Figures with percentile bootstrap intervals over messages (Efron 1979).
pub fn figures(outcomes: &[&Outcome]) -> Figures {
    let scored = |pick: fn(&Outcome) -> Count| {
        let counts: Vec<Count> = outcomes.iter().map(|outcome| pick(outcome)).collect();
        let score = counts.iter().copied().sum::<Count>().score();
        Score { interval: interval(&counts), ..score }
    };
    let exact = outcomes.iter().filter(|outcome| outcome.intents.exact() && outcome.slots.exact()).count();
    Figures {
        messages: outcomes.len(),
        intents: scored(|outcome| outcome.intents),
        slots: scored(|outcome| outcome.slots),
        exact: exact as f64 / outcomes.len().max(1) as f64,
    }
}

fn interval(counts: &[Count]) -> Option<[f64; 2]> {
    bootstrap(counts.len(), |drawn| {
        let times = |(count, times): (&Count, &u32)| Count {
            right: count.right * times,
            found: count.found * times,
            wanted: count.wanted * times,
        };
        Some(counts.iter().zip(drawn).map(times).sum::<Count>().f1())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(right: u32, found: u32, wanted: u32) -> Outcome {
        let count = Count { right, found, wanted };
        Outcome { intents: count, slots: Count::default(), by_slot: Vec::new() }
    }

    #[test]
    fn counts_are_summed_before_they_are_divided() {
        let outcomes = [outcome(1, 1, 1), outcome(1, 3, 2), outcome(0, 0, 1)];
        let figures = figures(&outcomes.iter().collect::<Vec<_>>());
        let score = &figures.intents;
        assert_eq!((score.f1, score.precision, score.recall, score.n), (0.5, 0.5, 0.5, 4));
        assert_eq!(figures.exact, 1.0 / 3.0);
        assert_eq!(figures.slots.f1, 0.0);
    }

    #[test]
    fn the_interval_is_that_of_a_share_where_the_f1_is_one() {
        // 100 messages with one intent each, 80 of them right: F1 is the share, deviation .04.
        let outcomes: Vec<Outcome> = (0..100).map(|n| outcome(u32::from(n < 80), 1, 1)).collect();
        let score = figures(&outcomes.iter().collect::<Vec<_>>()).intents;
        let [low, high] = score.interval.unwrap();
        assert!((low - 0.72).abs() < 0.02 && (high - 0.88).abs() < 0.02, "{low} {high}");
    }
}
