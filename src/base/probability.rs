//! A number between 0 and 1, and the basis points that rules compare.

use serde::{Deserialize, Serialize};

/// A probability in 0..=1. Values outside, and NaN, become the nearest bound (NaN becomes 0).
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Serialize, Deserialize)]
#[serde(from = "f64")]
pub struct Probability(f64);

impl Probability {
    pub const ZERO: Self = Self(0.0);
    pub const ONE: Self = Self(1.0);

    pub fn new(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    pub const fn get(self) -> f64 {
        self.0
    }

    /// Hundredths of a percent, 0..=10000, rounded down: rules compare integers (Cedar has no floats).
    pub fn basis_points(self) -> i64 {
        (self.0 * 10_000.0).floor() as i64
    }

    /// Rounded to four decimals, as it is shown and recorded.
    pub fn rounded(self) -> Self {
        Self((self.0 * 10_000.0).round() / 10_000.0)
    }
}

impl From<f64> for Probability {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        assert_eq!(Probability::new(1.2).get(), 1.0);
        assert_eq!(Probability::new(f64::NAN).get(), 0.0);
        assert_eq!(Probability::new(0.812_39).basis_points(), 8_123);
        assert_eq!(serde_json::from_str::<Probability>("7.5").unwrap(), Probability::ONE);
    }
}
