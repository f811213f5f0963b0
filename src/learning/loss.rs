//! Losses with their gradients by the logits, written out: each returns the loss of one line and adds its
//! gradient to `out`.

#![expect(clippy::indexing_slicing, reason = "lengths are those of the intent graph and of the label sets")]

use crate::understanding::heads::intent::{Scores, Shape, softmax};

/// What the intent head is to say about a line.
pub struct IntentGoal<'a> {
    pub leaf: usize,
    pub parent: Option<usize>,
    /// Leaves over which the probability is normalised.
    pub against: &'a [bool],
    /// Label smoothing, 0..1: this much of the goal is spread over all leaves in `against`.
    pub smoothing: f64,
    pub parent_weight: f64,
    /// What teachers say, by leaf, and the part of the goal that it makes up, 0..1.
    pub taught: Option<(&'a [f32], f64)>,
}

/// `-sum q(leaf) log (P(leaf) / P(against))`, where P(leaf) is the mass over all ways in, plus the loss of
/// the way in where it is named.
pub fn intent(shape: &Shape, logits: &[f32], goal: &IntentGoal, scale: f64, out: &mut [f32]) -> f64 {
    let scores = shape.scores(logits, 1.0);
    let counted = |leaf: usize| leaf == goal.leaf || goal.against.get(leaf).copied().unwrap_or(true);
    let n = (0..shape.leaves).filter(|l| counted(*l)).count() as f64;
    let mass: f64 = (0..shape.leaves).filter(|l| counted(*l)).map(|l| scores.leaves[l]).sum();
    let heard: f64 = goal
        .taught
        .map_or(0.0, |(says, _)| (0..shape.leaves).filter(|l| counted(*l)).map(|l| f64::from(says[l])).sum());
    let q = |leaf: usize| {
        let spread = goal.smoothing / n;
        let labelled = if leaf == goal.leaf { 1.0 - goal.smoothing + spread } else { spread };
        match goal.taught {
            Some((says, part)) if heard > 0.0 => {
                (1.0 - part) * labelled + part * f64::from(says[leaf]) / heard
            }
            _ => labelled,
        }
    };
    let log = |p: f64| p.max(1e-300).ln();
    let mut loss: f64 =
        (0..shape.leaves).filter(|l| counted(*l)).map(|l| -q(l) * (log(scores.leaves[l]) - log(mass))).sum();
    let mut by_edge: Vec<f64> = shape
        .edges
        .iter()
        .enumerate()
        .map(|(edge, (_, leaf))| {
            if !counted(*leaf) {
                return 0.0;
            }
            let joint = scores.joint[edge];
            joint / mass - q(*leaf) * joint / scores.leaves[*leaf].max(1e-300)
        })
        .collect();
    by_edge.iter_mut().for_each(|a| *a *= scale);
    let total: f64 = by_edge.iter().sum();
    for (parent, range) in shape.children.iter().enumerate() {
        let own: f64 = by_edge[range.clone()].iter().sum();
        out[parent] += (own - scores.parents[parent] * total) as f32;
        for edge in range.clone() {
            out[shape.parents + edge] += (by_edge[edge] - scores.within[edge] * own) as f32;
        }
    }
    loss *= scale;
    if let Some(parent) = goal.parent {
        loss += way_in(shape, &scores, (parent, goal.leaf), goal.parent_weight * scale, out);
    }
    loss
}

/// `-log P(parent) P(leaf | parent)`: the marginal alone leaves it open by which way a leaf is reached. Naming
/// the parent alone would not do: its mass could go to another leaf below it.
fn way_in(shape: &Shape, scores: &Scores, edge: (usize, usize), weight: f64, out: &mut [f32]) -> f64 {
    let Some(at) = shape.edges.iter().position(|known| *known == edge) else { return 0.0 };
    for (parent, p) in scores.parents.iter().enumerate() {
        out[parent] += (weight * (p - f64::from(u8::from(parent == edge.0)))) as f32;
    }
    for child in shape.children[edge.0].clone() {
        out[shape.parents + child] +=
            (weight * (scores.within[child] - f64::from(u8::from(child == at)))) as f32;
    }
    -weight * scores.joint[at].max(1e-300).ln()
}

/// Cross-entropy of one softmax.
pub fn choice(logits: &[f32], goal: usize, smoothing: f64, scale: f64, out: &mut [f32]) -> f64 {
    let mut p: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
    softmax(&mut p);
    let spread = smoothing / p.len() as f64;
    let mut loss = 0.0;
    for (at, p) in p.iter().enumerate() {
        let q = spread + if at == goal { 1.0 - smoothing } else { 0.0 };
        loss -= scale * q * p.max(1e-300).ln();
        out[at] += (scale * (p - q)) as f32;
    }
    loss
}

/// `-log softmax_j(cos(x, goals_j) / temperature)` at `right`: the text is nearer to its own goal than to those
/// of its neighbours (van den Oord et al. 2018). Goals have length 1.
pub fn contrast(
    x: &[f32],
    goals: &[&[f32]],
    right: usize,
    temperature: f64,
    scale: f64,
    out: &mut [f32],
) -> f64 {
    let norm = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
    let dot = |goal: &&[f32]| x.iter().zip(*goal).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cos: Vec<f64> = goals.iter().map(|goal| dot(goal) / norm).collect();
    let mut p: Vec<f64> = cos.iter().map(|cos| cos / temperature).collect();
    softmax(&mut p);
    for (at, goal) in goals.iter().enumerate() {
        let pull = scale * (p[at] - f64::from(u8::from(at == right))) / temperature / norm;
        for ((out, &x), &goal) in out.iter_mut().zip(x).zip(*goal) {
            *out += (pull * (f64::from(goal) - cos[at] * f64::from(x) / norm)) as f32;
        }
    }
    -scale * p[right].max(1e-300).ln()
}

/// Cross-entropy of one yes-or-no.
pub fn yes_or_no(logit: f32, goal: bool, scale: f64, out: &mut f32) -> f64 {
    let z = f64::from(logit);
    let p = 1.0 / (1.0 + (-z).exp());
    let q = f64::from(u8::from(goal));
    *out += (scale * (p - q)) as f32;
    -scale * (q * p.max(1e-300).ln() + (1.0 - q) * (1.0 - p).max(1e-300).ln())
}

/// `1 - cos(x, goal)`; `goal` has length 1.
pub fn direction(x: &[f32], goal: &[f32], scale: f64, out: &mut [f32]) -> f64 {
    let norm = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
    let cos = x.iter().zip(goal).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / norm;
    for ((out, &x), &goal) in out.iter_mut().zip(x).zip(goal) {
        *out -= (scale * (f64::from(goal) - cos * f64::from(x) / norm) / norm) as f32;
    }
    scale * (1.0 - cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(logits: &[f32], f: impl Fn(&[f32], &mut [f32]) -> f64) {
        let mut got = vec![0.0; logits.len()];
        f(logits, &mut got);
        for at in 0..logits.len() {
            let moved = |delta: f32| {
                let mut z = logits.to_vec();
                z[at] += delta;
                f(&z, &mut vec![0.0; z.len()])
            };
            let want = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((f64::from(got[at]) - want).abs() < 1e-3, "{at}: {} {want}", got[at]);
        }
    }

    fn shape() -> Shape {
        // parent 0: leaves 0, 1, 2; parent 1: leaves 1, 3; parent 2 is a leaf itself.
        let edges = vec![(0, 0), (0, 1), (0, 2), (1, 1), (1, 3), (2, 4)];
        Shape { parents: 3, leaves: 5, edges, children: vec![0..3, 3..5, 5..6] }
    }

    #[test]
    fn intent_gradient_with_a_shared_leaf_a_partial_set_and_a_way_in() {
        let shape = shape();
        let logits = [0.3, -0.4, 0.1, 1.0, 0.2, -0.7, 0.5, 0.9, 0.0];
        let against = [true, true, false, true, true];
        for parent in [None, Some(0), Some(1)] {
            for taught in [None, Some((&[0.1, 0.5, 0.1, 0.3, 0.0][..], 0.5))] {
                let goal = IntentGoal {
                    leaf: 1,
                    parent,
                    against: &against,
                    smoothing: 0.05,
                    parent_weight: 0.3,
                    taught,
                };
                differences(&logits, |z, out| intent(&shape, z, &goal, 0.7, out));
            }
        }
    }

    #[test]
    fn a_leaf_outside_the_set_is_not_punished() {
        let shape = shape();
        let mut logits = [0.0_f32; 9];
        logits[5] = 3.0; // leaf 2
        let loss = |against: &[bool]| {
            let goal = IntentGoal {
                leaf: 0,
                parent: None,
                against,
                smoothing: 0.0,
                parent_weight: 0.0,
                taught: None,
            };
            intent(&shape, &logits, &goal, 1.0, &mut [0.0; 9])
        };
        let (counted, left_out) = (loss(&[true; 5]), loss(&[true, true, false, true, true]));
        assert!(left_out < counted - 0.3, "{left_out} {counted}");
    }

    #[test]
    fn the_other_gradients() {
        differences(&[0.2, -1.0, 0.6], |z, out| choice(z, 2, 0.1, 0.5, out));
        differences(&[0.4], |z, out| yes_or_no(z[0], true, 2.0, &mut out[0]));
        let goals: [&[f32]; 2] = [&[0.6, 0.8, 0.0], &[0.0, 0.6, -0.8]];
        differences(&[0.4, -0.3, 0.8], |z, out| contrast(z, &goals, 1, 0.5, 0.7, out));
        differences(&[0.4, -0.3, 0.8], |z, out| direction(z, &[0.6, 0.8, 0.0], 1.5, out));
    }
}
