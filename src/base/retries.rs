//! When something is tried again, and how often that may be: waits that grow and are drawn at random, so that those who
//! failed together do not come back together, and a budget, so that trying again never becomes the load that keeps a
//! failing system down.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The wait before the first repetition, at most; it doubles with each.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Draws waits.
pub struct Backoff(Mutex<StdRng>);

impl Backoff {
    /// Tests name the seed and get the same waits.
    pub fn seeded(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64)))
    }

    /// Anything from nothing to the bound, which doubles with each repetition (full jitter).
    pub fn before_retry(&self, repetition: u32) -> Duration {
        bound(repetition).mul_f64(self.draw())
    }

    /// At least the bound, at most twice that: what is asked about is given time to be done.
    pub fn before_question(&self, repetition: u32) -> Duration {
        bound(repetition).mul_f64(1.0 + self.draw())
    }

    fn draw(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0.0..1.0)
    }
}

/// `repetition` counts from 1.
fn bound(repetition: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(repetition.saturating_sub(1))).min(LONGEST)
}

/// How many repetitions there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetrySettings {
    /// Of a hundred first attempts, so many repetitions.
    pub percent: u32,
    /// So many may come at once after a quiet time.
    pub reserve: u32,
}

/// Budgets by name, all with the same settings. Each first attempt adds its share, each repetition takes one.
pub struct RetryBudgets {
    settings: RetrySettings,
    /// In hundredths of a repetition.
    left: Mutex<HashMap<String, u64>>,
}

const ONE: u64 = 100;

impl RetryBudgets {
    pub fn new(settings: RetrySettings) -> Self {
        Self { settings, left: Mutex::default() }
    }

    /// Something is sent for the first time.
    pub fn first(&self, name: &str) {
        self.change(name, |left, most| {
            *left = left.saturating_add(self.settings.percent.into()).min(most);
        });
    }

    /// Takes one repetition, if there is one left.
    pub fn take(&self, name: &str) -> bool {
        self.change(name, |left, _| {
            let rest = left.checked_sub(ONE);
            *left = rest.unwrap_or(*left);
            rest.is_some()
        })
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut u64, u64) -> T) -> T {
        let most = ONE.saturating_mul(self.settings.reserve.into());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.get_mut(name) {
            Some(known) => change(known, most),
            None => change(left.entry(name.to_owned()).or_insert(most), most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_are_drawn_and_can_be_drawn_again() {
        let (one, other) = (Backoff::seeded(Some(7)), Backoff::seeded(Some(7)));
        let mut seen = Vec::new();
        for repetition in 1..=20 {
            let wait = one.before_retry(repetition);
            assert_eq!(wait, other.before_retry(repetition));
            assert!(wait <= bound(repetition) && bound(repetition) <= LONGEST);
            seen.push(wait);
        }
        seen.dedup();
        assert!(seen.len() > 15, "{seen:?}");
        assert_eq!((bound(1), bound(3), bound(u32::MAX)), (FIRST, FIRST * 4, LONGEST));
        let asked = one.before_question(2);
        assert!((bound(2)..=bound(2) * 2).contains(&asked));
        assert_ne!(Backoff::seeded(None).before_retry(9), Backoff::seeded(None).before_retry(9));
    }

    #[test]
    fn repetitions_are_a_share_of_first_attempts_beyond_the_reserve() {
        let budgets = RetryBudgets::new(RetrySettings { percent: 10, reserve: 3 });
        let mut taken = 0;
        for _ in 0..1000 {
            budgets.first("core");
            taken += u32::from(budgets.take("core"));
        }
        assert!((100..=103).contains(&taken), "{taken}");
        assert!(budgets.take("other"), "each has its own");
        let none = RetryBudgets::new(RetrySettings { percent: 0, reserve: 0 });
        none.first("core");
        assert!(!none.take("core"));
    }
}
