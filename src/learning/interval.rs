//! Intervals of 95 % around figures.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Low and high end.
pub type Interval = [f64; 2];

/// The normal distribution's quantile at 97.5 %.
const Z: f64 = 1.959_963_984_540_054;
/// Samples that a distribution is drawn from.
pub const DRAWS: usize = 1_000;

/// Of a share, `right` of `n` (Wilson 1927): holds its 95 % also for few lines and shares near 0 and 1.
/// Nothing is known of 0 lines: 0 to 1.
pub fn wilson(right: usize, n: usize) -> Interval {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (right, n) = (right.min(n) as f64, n as f64);
    let share = right / n;
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)]
}

/// Of any figure of `items` items (percentile bootstrap, Efron 1979): `figure` is given how often each item
/// was drawn, and says nothing for a draw that has no value. The same items give the same interval.
pub fn bootstrap(items: usize, figure: impl Fn(&[u32]) -> Option<f64>) -> Option<Interval> {
    if items == 0 {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(items as u64);
    let mut values = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let mut drawn = vec![0_u32; items];
        for _ in 0..items {
            if let Some(count) = drawn.get_mut(rng.random_range(0..items)) {
                *count += 1;
            }
        }
        values.extend(figure(&drawn).filter(|value| value.is_finite()));
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((values.len() as f64 * share) as usize);
    Some([*at(0.025)?, *at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_published_intervals() {
        // Newcombe 1998, table I, method 3.
        for (right, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let [a, b] = wilson(right, n);
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{right} of {n}: {a} {b}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        assert!(wilson(9, 9)[1] <= 1.0 && wilson(9, 9)[0] > 0.69);
    }

    #[test]
    fn drawing_again_agrees_with_the_formula_where_there_is_one() {
        let right: Vec<f64> = (0..400).map(|at| f64::from(u8::from(at % 5 == 0))).collect();
        let mean = |drawn: &[u32]| {
            let sum: f64 = drawn.iter().zip(&right).map(|(n, x)| f64::from(*n) * x).sum();
            Some(sum / 400.0)
        };
        let ([a, b], [low, high]) = (bootstrap(400, mean).unwrap(), wilson(80, 400));
        assert!((a - low).abs() < 0.01 && (b - high).abs() < 0.01, "{a} {b} {low} {high}");
        assert_eq!(bootstrap(400, mean), Some([a, b]));
        assert_eq!(bootstrap(0, mean), None);
        assert_eq!(bootstrap(3, |_| None), None);
    }
}
