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
}

/// In place, numerically safe.
pub(crate) fn softmax(values: &mut [f64]) {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - top).exp();
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}
