//! A tool or a source that keeps failing is left alone for a while, then tried once.

use super::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds until one call is let through again.
    pub open_ms: u64,
}

/// One breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Calls go through; so many in a row failed.
    Closed { failures: u32 },
    /// No call goes through.
    Open { until: Timestamp },
    /// One call is out to try; should it never come back, another may go at that time.
    HalfOpen { next: Timestamp },
}

impl State {
    const START: Self = Self::Closed { failures: 0 };

    /// Whether a call may go now, and what that makes of the breaker.
    fn admit(self, now: Timestamp, settings: BreakerSettings) -> (bool, Self) {
        match self {
            Self::Closed { .. } => (true, self),
            Self::Open { until: at } | Self::HalfOpen { next: at } if now < at => (false, self),
            Self::Open { .. } | Self::HalfOpen { .. } => {
                (true, Self::HalfOpen { next: later(now, settings) })
            }
        }
    }

    fn failed(self, now: Timestamp, settings: BreakerSettings) -> Self {
        match self {
            Self::Closed { failures } if failures + 1 < settings.failures => {
                Self::Closed { failures: failures + 1 }
            }
            // A call from before the opening does not prolong it.
            Self::Open { .. } => self,
            Self::Closed { .. } | Self::HalfOpen { .. } => Self::Open { until: later(now, settings) },
        }
    }
}

fn later(now: Timestamp, settings: BreakerSettings) -> Timestamp {
    now.plus_millis(i64::try_from(settings.open_ms).unwrap_or(i64::MAX))
}

/// Breakers by name, all with the same settings.
pub struct Breakers {
    settings: BreakerSettings,
    states: Mutex<HashMap<String, State>>,
}

impl Breakers {
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, states: Mutex::new(HashMap::new()) }
    }

    /// Whether it may be called now. Who is let through must tell what came of it.
    pub fn admit(&self, name: &str, now: Timestamp) -> bool {
        let mut admitted = false;
        self.change(name, |state| {
            let next;
            (admitted, next) = state.admit(now, self.settings);
            next
        });
        admitted
    }

    /// The system answered, be it with a refusal.
    pub fn answered(&self, name: &str) {
        self.change(name, |_| State::START);
    }

    /// Who was let through went before there was an answer: somebody else may try.
    pub fn gave_up(&self, name: &str, now: Timestamp) {
        self.change(name, |state| match state {
            State::HalfOpen { .. } => State::Open { until: now },
            other => other,
        });
    }

    pub fn failed(&self, name: &str, now: Timestamp) {
        self.change(name, |state| state.failed(now, self.settings));
    }

    fn change(&self, name: &str, change: impl FnOnce(State) -> State) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.get(name).copied().unwrap_or(State::START);
        states.insert(name.to_owned(), change(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures: 2, open_ms: 100 };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_success() {
        let breakers = Breakers::new(SETTINGS);
        breakers.failed("t", at(0));
        breakers.answered("t");
        breakers.failed("t", at(1));
        assert!(breakers.admit("t", at(2)));
        breakers.failed("t", at(3));
        assert!(!breakers.admit("t", at(102)));
        assert!(breakers.admit("other", at(102)));
        assert!(breakers.admit("t", at(103)));
        // Half open: one at a time.
        assert!(!breakers.admit("t", at(104)));
        breakers.answered("t");
        assert!(breakers.admit("t", at(105)) && breakers.admit("t", at(105)));
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_a_lost_trial_does_not_shut_it_for_good() {
        let breakers = Breakers::new(SETTINGS);
        breakers.failed("t", at(0));
        breakers.failed("t", at(0));
        assert!(breakers.admit("t", at(100)));
        breakers.failed("t", at(110));
        assert!(!breakers.admit("t", at(209)));
        assert!(breakers.admit("t", at(210)));
        assert!(!breakers.admit("t", at(309)));
        assert!(breakers.admit("t", at(310)));
        breakers.gave_up("t", at(320));
        assert!(breakers.admit("t", at(320)) && !breakers.admit("t", at(321)));
    }
}
