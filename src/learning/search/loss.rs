//! What is to be near: each question to its passage, against all passages of the batch, by the vectors of the whole
//! and piece by piece (InfoNCE; van den Oord et al. 2018). Gradients are written out.

#![expect(clippy::indexing_slicing, reason = "lengths are those of the batch")]

use crate::understanding::encoder::kernels::{View, product};
use std::ops::Range;

/// Vectors before they are made as long as one, one after the other, `width` wide.
pub struct Side<'a> {
    pub values: &'a [f32],
    pub width: usize,
    /// The rows of each text; for whole texts, one row each.
    pub texts: &'a [Range<usize>],
}

/// A loss, and its gradients by the values of either side.
pub struct Pull {
    pub loss: f64,
    pub questions: Vec<f32>,
    pub passages: Vec<f32>,
}

/// Rows of length one, and the lengths that they had.
fn units(values: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let mut units = values.to_vec();
    let lengths = units
        .chunks_exact_mut(width)
        .map(|row| {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            row.iter_mut().for_each(|v| *v /= length);
            length
        })
        .collect();
    (units, lengths)
}

/// The gradient by a vector, given that by the vector of length one that was made of it.
fn through(units: &[f32], lengths: &[f32], width: usize, gradient: &mut [f32]) {
    for ((unit, length), gradient) in
        units.chunks_exact(width).zip(lengths).zip(gradient.chunks_exact_mut(width))
    {
        let along: f32 = unit.iter().zip(&*gradient).map(|(u, g)| u * g).sum();
        for (g, u) in gradient.iter_mut().zip(unit) {
            *g = (*g - along * u) / length;
        }
    }
}

/// Cross-entropy of scaled similarities, [questions, passages], `right` the passage of each question. Turns
/// the similarities into its gradient by them.
fn cross_entropy(similar: &mut [f32], passages: usize, right: &[usize], scale: f32) -> f64 {
    let mut loss = 0.0;
    let share = scale / right.len().max(1) as f32;
    for (row, right) in similar.chunks_exact_mut(passages).zip(right) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = ((*value - top) * scale).exp();
            sum += *value;
        }
        row.iter_mut().for_each(|value| *value /= sum);
        loss -= f64::from(row[*right].max(1e-30)).ln();
        row[*right] -= 1.0;
        row.iter_mut().for_each(|value| *value *= share);
    }
    loss / right.len().max(1) as f64
}

/// By one vector a text.
pub fn whole(questions: &Side, passages: &Side, right: &[usize], scale: f32) -> Pull {
    let width = questions.width;
    let (q, q_lengths) = units(questions.values, width);
    let (p, p_lengths) = units(passages.values, width);
    let (n, m) = (q_lengths.len(), p_lengths.len());
    let mut similar = vec![0.0; n * m];
    let (q_view, p_view) = (View::rows(&q, n, width), View::rows(&p, m, width));
    product(q_view, p_view.transposed(), &mut similar, m, 0.0, 1.0);
    let loss = cross_entropy(&mut similar, m, right, scale);
    let (mut by_q, mut by_p) = (vec![0.0; q.len()], vec![0.0; p.len()]);
    let gradient = View::rows(&similar, n, m);
    product(gradient, p_view, &mut by_q, width, 0.0, 1.0);
    product(gradient.transposed(), q_view, &mut by_p, width, 0.0, 1.0);
    through(&q, &q_lengths, width, &mut by_q);
    through(&p, &p_lengths, width, &mut by_p);
    Pull { loss, questions: by_q, passages: by_p }
}

/// Piece by piece: the mean over a question's pieces of the similarity of the nearest piece of a passage.
pub fn nearest(questions: &Side, passages: &Side, right: &[usize], scale: f32) -> Pull {
    let width = questions.width;
    let (q, q_lengths) = units(questions.values, width);
    let (p, p_lengths) = units(passages.values, width);
    let (m, all) = (passages.texts.len(), p_lengths.len());
    let mut similar = vec![0.0; questions.texts.len() * m];
    // For every piece of a question and every passage the row of the nearest piece.
    let mut chosen: Vec<Vec<u32>> = Vec::with_capacity(questions.texts.len());
    for (own, similar) in questions.texts.iter().zip(similar.chunks_exact_mut(m)) {
        let rows = own.len();
        let mut products = vec![0.0; rows * all];
        let view = View::rows(&q[own.start * width..own.end * width], rows, width);
        product(view, View::rows(&p, all, width).transposed(), &mut products, all, 0.0, 1.0);
        let mut best = Vec::with_capacity(rows * m);
        for row in products.chunks_exact(all) {
            for (text, similar) in passages.texts.iter().zip(similar.iter_mut()) {
                let (mut at, mut top) = (text.start, f32::NEG_INFINITY);
                for (place, value) in row[text.clone()].iter().enumerate() {
                    if *value > top {
                        (at, top) = (text.start + place, *value);
                    }
                }
                best.push(at as u32);
                *similar += top / rows as f32;
            }
        }
        chosen.push(best);
    }
    let loss = cross_entropy(&mut similar, m, right, scale);
    let (mut by_q, mut by_p) = (vec![0.0; q.len()], vec![0.0; p.len()]);
    for ((own, best), gradients) in questions.texts.iter().zip(&chosen).zip(similar.chunks_exact(m)) {
        let share = 1.0 / own.len() as f32;
        for (piece, best) in own.clone().zip(best.chunks_exact(m)) {
            let place = piece * width..(piece + 1) * width;
            for (gradient, at) in gradients.iter().zip(best) {
                // What pulls at nothing is most of it.
                if gradient.abs() < 1e-7 {
                    continue;
                }
                let g = gradient * share;
                let near = *at as usize * width..(*at as usize + 1) * width;
                for ((to, from), (other_to, other)) in by_q[place.clone()]
                    .iter_mut()
                    .zip(&p[near.clone()])
                    .zip(by_p[near].iter_mut().zip(&q[place.clone()]))
                {
                    *to += g * from;
                    *other_to += g * other;
                }
            }
        }
    }
    through(&q, &q_lengths, width, &mut by_q);
    through(&p, &p_lengths, width, &mut by_p);
    Pull { loss, questions: by_q, passages: by_p }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn draw(rng: &mut StdRng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    type Loss = fn(&Side, &Side, &[usize], f32) -> Pull;

    fn differences(of: Loss, questions: &[Range<usize>], passages: &[Range<usize>]) {
        let mut rng = StdRng::seed_from_u64(3);
        let width = 4;
        let last = |texts: &[Range<usize>]| texts.last().unwrap().end * width;
        let (q, p) = (draw(&mut rng, last(questions)), draw(&mut rng, last(passages)));
        let right: Vec<usize> = (0..questions.len()).collect();
        let run = |q: &[f32], p: &[f32]| {
            let q = Side { values: q, width, texts: questions };
            of(&q, &Side { values: p, width, texts: passages }, &right, 5.0)
        };
        let pull = run(&q, &p);
        assert!(pull.loss > 0.01, "{}", pull.loss);
        let close = |got: f32, want: f64, at: usize| {
            assert!((f64::from(got) - want).abs() < 2e-3, "{at}: {got} {want}");
        };
        for at in 0..q.len() {
            let moved = |by: f32| {
                let mut q = q.clone();
                q[at] += by;
                run(&q, &p).loss
            };
            close(pull.questions[at], (moved(5e-3) - moved(-5e-3)) / 1e-2, at);
        }
        for at in 0..p.len() {
            let moved = |by: f32| {
                let mut p = p.clone();
                p[at] += by;
                run(&q, &p).loss
            };
            close(pull.passages[at], (moved(5e-3) - moved(-5e-3)) / 1e-2, at);
        }
    }

    #[test]
    fn the_gradients_are_those_of_the_losses() {
        differences(whole, &[0..1, 1..2], &[0..1, 1..2, 2..3]);
        differences(nearest, &[0..2, 2..5], &[0..3, 3..5, 5..9]);
    }
}
