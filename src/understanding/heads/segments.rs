//! Several concerns in one message: for every word whether a new concern begins with it.

use crate::understanding::encoder::Weights;
use candle_core::{Result, Tensor};
use std::ops::Range;

/// Name of the head among the weights; it is made like a span head with one label.
pub const NAME: &str = "segments";
/// A concern has at least as many words.
const SHORTEST: usize = 2;
/// More concerns than this are not told apart.
const MOST: usize = 4;

/// One score for each word, [words, 1]; `pooled` is [words, width], `shapes` [words, spans::SHAPE].
pub fn logits(weights: &Weights, pooled: &Tensor, shapes: &Tensor) -> Result<Tensor> {
    super::spans::logits(weights, NAME, pooled, shapes)
}

/// The runs of words that each hold one concern, all words together. `threshold` is the probability from
/// which a boundary counts; where there are too many, the likeliest count.
pub fn decode(logits: &[f32], threshold: f64) -> Vec<Range<usize>> {
    let n = logits.len();
    let mut likely: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    likely.retain(|(_, z)| 1.0 / (1.0 + libm::exp(-f64::from(*z))) >= threshold);
    likely.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut starts = vec![0, n];
    for (at, _) in likely {
        let clear = starts.iter().all(|start| at.abs_diff(*start) >= SHORTEST);
        if clear && starts.len() <= MOST {
            starts.push(at);
        }
    }
    starts.sort_unstable();
    starts
        .windows(2)
        .filter_map(|pair| Some(*pair.first()?..*pair.last()?))
        .filter(|run| !run.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_where_a_concern_begins() {
        let cut = |logits: &[f32]| decode(logits, 0.5);
        assert_eq!(cut(&[5.0, -1.0, -1.0]), vec![0..3], "the first word begins anyway");
        assert_eq!(cut(&[-1.0, -1.0, 2.0, -1.0, -1.0]), vec![0..2, 2..5]);
        assert_eq!(
            cut(&[-1.0, -1.0, 2.0, 1.0, -1.0]),
            vec![0..2, 2..5],
            "two words at least, the likelier first"
        );
        assert_eq!(cut(&[-1.0, -1.0, -1.0, 2.0]), vec![0..4]);
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[1.0; 40]).len(), MOST);
        assert_eq!(decode(&[-1.0, -1.0, 2.0, -1.0, -1.0], 0.95), vec![0..5]);
    }
}
