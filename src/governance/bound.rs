//! How large the error of what was accepted can be, given how often it was seen to be wrong.

/// Above this many items the sum below would be slow and the bound has long stopped moving.
const MOST: usize = 1_000_000;

/// The upper end of the one-sided interval for an error rate after `errors` in `n` independent cases
/// (Clopper, Pearson 1934): with probability `confidence`, in 0..1, over the draw of the cases the true
/// rate lies at or below it, however few they are. In 0..=1; 1 where nothing was seen.
pub fn upper_error(errors: usize, n: usize, confidence: f64) -> f64 {
    if n == 0 || errors >= n || !(0.0..1.0).contains(&confidence) {
        return 1.0;
    }
    if n > MOST {
        return upper_error((errors as f64 / n as f64 * MOST as f64).ceil() as usize, MOST, confidence);
    }
    let slack = 1.0 - confidence;
    // At the bound so few errors would be seen only with probability `slack`.
    let (mut low, mut high) = (errors as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(errors, n, middle) > slack {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of at most `k` errors in `n` at rate `p`, 0 < p < 1.
fn at_most(k: usize, n: usize, p: f64) -> f64 {
    let odds = (p / (1.0 - p)).ln();
    let mut log = n as f64 * (-p).ln_1p();
    let mut sum = log.exp();
    for i in 0..k {
        log += ((n - i) as f64 / (i + 1) as f64).ln() + odds;
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_published_one() {
        // Without an error in closed form: 1 - slack^(1/n).
        for n in [1_usize, 10, 59, 300, 5_000] {
            let closed = 1.0 - 0.05_f64.powf(1.0 / n as f64);
            assert!((upper_error(0, n, 0.95) - closed).abs() < 1e-9, "{n}");
        }
        // Clopper and Pearson's two-sided 95 % interval of 10 in 100 ends at 0.1762.
        assert!((upper_error(10, 100, 0.975) - 0.1762).abs() < 5e-5);
        assert_eq!(upper_error(0, 0, 0.95), 1.0);
        assert_eq!(upper_error(7, 7, 0.95), 1.0);
    }

    #[test]
    fn more_errors_or_more_confidence_raise_it_and_more_cases_lower_it() {
        assert!(upper_error(3, 100, 0.95) > upper_error(2, 100, 0.95));
        assert!(upper_error(2, 100, 0.99) > upper_error(2, 100, 0.95));
        assert!(upper_error(20, 1_000, 0.95) < upper_error(2, 100, 0.95));
        let (many, fewer) = (upper_error(40_000, 2_000_000, 0.95), upper_error(20_000, 1_000_000, 0.95));
        assert!((many - fewer).abs() < 1e-4 && many >= 0.02, "{many} {fewer}");
    }
}
