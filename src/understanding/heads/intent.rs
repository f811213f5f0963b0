//! One head over all edges of the intent graph.
//!
//! The logits are one per parent and then one per edge. `P(leaf) = sum over its parents of
//! P(parent) * P(leaf | parent)`: mass that arrives by different ways meets on the shared leaf.

#![expect(
    clippy::indexing_slicing,
    reason = "lengths are those of the graph, checked when the bundle is opened"
)]

use crate::understanding::dag::Dag;
use std::ops::Range;

/// Name of the head among the weights.
pub const NAME: &str = "intent";

/// The graph as the arithmetic needs it.
#[derive(Clone, Debug)]
pub struct Shape {
    pub parents: usize,
    pub leaves: usize,
    /// (parent, leaf), grouped by parent.
    pub edges: Vec<(usize, usize)>,
    pub children: Vec<Range<usize>>,
}

/// Probabilities of one message; each of the three sums to 1.
#[derive(Clone, Debug)]
pub struct Scores {
    pub parents: Vec<f64>,
    pub leaves: Vec<f64>,
    /// P(parent) * P(leaf | parent), by edge.
    pub joint: Vec<f64>,
    /// P(leaf | parent), by edge.
    pub within: Vec<f64>,
}

impl Scores {
    /// `ln(P / (1 - P))` of a leaf; `edges` are those of the graph.
    pub fn log_odds(&self, edges: &[(usize, usize)], leaf: usize) -> f64 {
        let joint = || self.joint.iter().zip(edges);
        let own: f64 = joint().filter(|(_, edge)| edge.1 == leaf).map(|(p, _)| p).sum();
        // Not 1 - P, which is nothing but rounding where the model is sure.
        let others: f64 = joint().filter(|(_, edge)| edge.1 != leaf).map(|(p, _)| p).sum();
        libm::log(own.max(f64::MIN_POSITIVE) / others.max(f64::MIN_POSITIVE))
    }
}

impl Shape {
    pub fn of(dag: &Dag) -> Self {
        Self {
            parents: dag.parents.len(),
            leaves: dag.leaves.len(),
            edges: dag.edges.clone(),
            children: dag.children(),
        }
    }

    /// Rows of the head.
    pub fn width(&self) -> usize {
        self.parents + self.edges.len()
    }

    /// `logits` has `width` entries; `temperature` > 0 divides them.
    pub fn scores(&self, logits: &[f32], temperature: f64) -> Scores {
        let scaled: Vec<f64> = logits.iter().map(|&z| f64::from(z) / temperature).collect();
        let mut parents = scaled[..self.parents].to_vec();
        softmax(&mut parents);
        let mut within = scaled[self.parents..].to_vec();
        for range in &self.children {
            softmax(&mut within[range.clone()]);
        }
        let joint: Vec<f64> =
            self.edges.iter().zip(&within).map(|((parent, _), p)| parents[*parent] * p).collect();
        let mut leaves = vec![0.0; self.leaves];
        for ((_, leaf), p) in self.edges.iter().zip(&joint) {
            leaves[*leaf] += p;
        }
        Scores { parents, leaves, joint, within }
    }

    /// `ln(P / (1 - P))` of a leaf where leaves are `mix` times as frequent as assumed (empty: as assumed), and
    /// its slope by every logit.
    pub fn log_odds(&self, logits: &[f32], temperature: f64, mix: &[f64], leaf: usize) -> (f64, Vec<f32>) {
        let scores = self.scores(logits, temperature);
        let weight = |child: usize| mix.get(child).copied().unwrap_or(1.0);
        let own = self.sum(&scores, |child| if child == leaf { weight(child) } else { 0.0 });
        // Not 1 - P, which is nothing but rounding where the model is sure.
        let others = self.sum(&scores, |child| if child == leaf { 0.0 } else { weight(child) });
        let (p, rest) = (own.0.max(f64::MIN_POSITIVE), others.0.max(f64::MIN_POSITIVE));
        let slope = own.1.iter().zip(&others.1).map(|(own, other)| (own / p - other / rest) / temperature);
        (libm::log(p / rest), slope.map(|slope| slope as f32).collect())
    }

    /// The sum of all leaves' probabilities, each times its weight, and its slope by every logit (before the
    /// temperature).
    fn sum(&self, scores: &Scores, weight: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
        let mut given = vec![0.0; self.parents];
        for ((parent, child), within) in self.edges.iter().zip(&scores.within) {
            given[*parent] += weight(*child) * within;
        }
        let all: f64 = scores.parents.iter().zip(&given).map(|(parent, given)| parent * given).sum();
        let by_parent = scores.parents.iter().zip(&given).map(|(parent, given)| parent * (given - all));
        let by_edge = self
            .edges
            .iter()
            .zip(&scores.joint)
            .map(|((parent, child), joint)| joint * (weight(*child) - given[*parent]));
        (all, by_parent.chain(by_edge).collect())
    }
}

/// In place, numerically safe.
pub(crate) fn softmax(values: &mut [f64]) {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = libm::exp(*value - top);
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parents; the second leaf stands under both.
    fn shape() -> Shape {
        Shape {
            parents: 2,
            leaves: 3,
            edges: vec![(0, 0), (0, 1), (1, 1), (1, 2)],
            children: vec![0..2, 2..4],
        }
    }

    #[test]
    fn the_slope_of_the_log_odds_is_that_of_small_steps() {
        let shape = shape();
        let logits = [0.3, -0.2, 1.1, 0.4, -0.7, 0.9];
        for (leaf, mix) in (0..3).flat_map(|leaf| [(leaf, vec![]), (leaf, vec![0.5, 3.0, 1.2])]) {
            let (_, slope) = shape.log_odds(&logits, 1.3, &mix, leaf);
            for (at, slope) in slope.iter().enumerate() {
                let moved = |by: f32| {
                    let mut logits = logits;
                    logits[at] += by;
                    shape.log_odds(&logits, 1.3, &mix, leaf).0
                };
                let small = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((small - f64::from(*slope)).abs() < 1e-3, "leaf {leaf}, logit {at}: {small} {slope}");
            }
        }
    }

    #[test]
    fn log_odds_stay_finite_where_the_model_is_sure() {
        let (score, slope) = shape().log_odds(&[90.0, -90.0, 90.0, -90.0, 0.0, 0.0], 1.0, &[], 0);
        assert!(
            score > 80.0 && score.is_finite() && slope.iter().all(|s| s.is_finite()),
            "{score} {slope:?}"
        );
    }
}
