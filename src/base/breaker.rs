//! A system that keeps failing is left alone for a while, then tried by a few.

use super::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// When a breaker opens, for how long, and how many try whether it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds until somebody is let through again.
    pub open_ms: u64,
    /// So many are let through at the same time to try.
    pub probes: u32,
}

/// What a breaker does with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// No call goes through.
    Open,
    /// A few go through, to try.
    HalfOpen,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// So many in a row failed.
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
struct Breaker {
    state: State,
    /// How many were let through to try and have not come back, also those of an earlier time.
    trying: u32,
}

impl Breaker {
    const START: Self = Self { state: State::Closed { failures: 0 }, trying: 0 };

    /// `Some(true)`: as one of those who try.
    fn admit(&mut self, now: Timestamp, settings: BreakerSettings) -> Option<bool> {
        match self.state {
            State::Closed { .. } => return Some(false),
            State::Open { until } if now < until => return None,
            State::Open { .. } | State::HalfOpen => {}
        }
        self.state = State::HalfOpen;
        let free = self.trying < settings.probes;
        self.trying += u32::from(free);
        free.then_some(true)
    }

    fn settle(&mut self, probe: bool, end: End, settings: BreakerSettings) {
        self.trying = self.trying.saturating_sub(u32::from(probe));
        self.state = match (self.state, end) {
            (state, End::GaveUp) => state,
            (State::Closed { .. }, End::Answered) => Self::START.state,
            (State::Closed { failures }, End::Failed(_)) if failures + 1 < settings.failures => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, End::Failed(now)) => State::Open { until: later(now, settings) },
            (_, End::Answered) if probe => Self::START.state,
            (State::HalfOpen, End::Failed(now)) if probe => State::Open { until: later(now, settings) },
            // What was sent before it opened says nothing new.
            (state, _) => state,
        };
    }
}

fn later(now: Timestamp, settings: BreakerSettings) -> Timestamp {
    now.plus_millis(i64::try_from(settings.open_ms).unwrap_or(i64::MAX))
}

/// How a call ended.
#[derive(Clone, Copy)]
enum End {
    Answered,
    Failed(Timestamp),
    GaveUp,
}

/// Breakers by name, all with the same settings.
pub struct Breakers {
    settings: BreakerSettings,
    states: Mutex<HashMap<String, Breaker>>,
}

/// One who was let through. Who goes without a word gave up, and somebody else may try.
pub struct Admitted<'a> {
    breakers: &'a Breakers,
    name: &'a str,
    probe: bool,
    end: End,
}

impl Admitted<'_> {
    /// The system answered, be it with a refusal.
    pub fn answered(mut self) {
        self.end = End::Answered;
    }

    pub fn failed(mut self, now: Timestamp) {
        self.end = End::Failed(now);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let (probe, end, settings) = (self.probe, self.end, self.breakers.settings);
        self.breakers.change(self.name, |breaker| breaker.settle(probe, end, settings));
    }
}

impl Breakers {
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, states: Mutex::new(HashMap::new()) }
    }

    /// Whether it may be called now; who is let through tells what came of it.
    pub fn admit<'a>(&'a self, name: &'a str, now: Timestamp) -> Option<Admitted<'a>> {
        let probe = self.change(name, |breaker| breaker.admit(now, self.settings))?;
        Some(Admitted { breakers: self, name, probe, end: End::GaveUp })
    }

    pub fn state(&self, name: &str, now: Timestamp) -> BreakerState {
        match self.change(name, |breaker| breaker.state) {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match states.get_mut(name) {
            Some(breaker) => change(breaker),
            None => change(states.entry(name.to_owned()).or_insert(Breaker::START)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures: 2, open_ms: 100, probes: 1 };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Two calls that fail at this time.
    fn open(breakers: &Breakers, millis: i64) {
        breakers.admit("t", at(millis)).unwrap().failed(at(millis));
        breakers.admit("t", at(millis)).unwrap().failed(at(millis));
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_success() {
        let breakers = Breakers::new(SETTINGS);
        breakers.admit("t", at(0)).unwrap().failed(at(0));
        breakers.admit("t", at(0)).unwrap().answered();
        open(&breakers, 3);
        assert_eq!(breakers.state("t", at(102)), BreakerState::Open);
        assert!(breakers.admit("t", at(102)).is_none());
        assert!(breakers.admit("other", at(102)).is_some());
        let probe = breakers.admit("t", at(103)).unwrap();
        assert_eq!(breakers.state("t", at(103)), BreakerState::HalfOpen);
        // However long it takes: one at a time.
        assert!(breakers.admit("t", at(104)).is_none() && breakers.admit("t", at(100_000)).is_none());
        probe.answered();
        assert!(breakers.admit("t", at(105)).is_some() && breakers.admit("t", at(105)).is_some());
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_a_lost_trial_does_not_shut_it_for_good() {
        let breakers = Breakers::new(SETTINGS);
        open(&breakers, 0);
        breakers.admit("t", at(100)).unwrap().failed(at(110));
        assert!(breakers.admit("t", at(209)).is_none());
        drop(breakers.admit("t", at(210)).unwrap());
        let next = breakers.admit("t", at(211)).unwrap();
        assert!(breakers.admit("t", at(212)).is_none());
        next.answered();
        assert_eq!(breakers.state("t", at(212)), BreakerState::Closed);
    }

    #[test]
    fn several_may_try_and_never_more_also_over_two_openings() {
        let breakers = Breakers::new(BreakerSettings { probes: 2, ..SETTINGS });
        open(&breakers, 0);
        let (first, slow) = (breakers.admit("t", at(100)).unwrap(), breakers.admit("t", at(100)).unwrap());
        assert!(breakers.admit("t", at(101)).is_none());
        first.failed(at(110));
        let again = breakers.admit("t", at(210)).unwrap();
        assert!(breakers.admit("t", at(211)).is_none(), "one of the first is still out");
        slow.failed(at(212));
        assert!(breakers.admit("t", at(213)).is_none(), "what it learned counts");
        again.answered();
        assert_eq!(breakers.state("t", at(214)), BreakerState::Closed);
    }

    #[test]
    fn what_was_sent_before_it_opened_neither_prolongs_nor_closes_it() {
        let breakers = Breakers::new(SETTINGS);
        let before = [breakers.admit("t", at(0)).unwrap(), breakers.admit("t", at(0)).unwrap()];
        open(&breakers, 0);
        let [failing, answering] = before;
        failing.failed(at(90));
        answering.answered();
        assert_eq!(breakers.state("t", at(99)), BreakerState::Open);
        assert!(breakers.admit("t", at(100)).is_some());
    }
}
