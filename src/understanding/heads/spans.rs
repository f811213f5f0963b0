//! Extraction: every group labels each whole word as outside, beginning or inside of one of its fields.
//!
//! The base model has no capitals and no accents, so the shape of a word goes in beside its vector.

#![expect(
    clippy::indexing_slicing,
    reason = "lengths are those of the group's labels, checked when the bundle is opened"
)]

use super::intent::softmax;
use crate::understanding::encoder::{Weights, ops};
use crate::understanding::lexicon::{LISTS, Lexicon};
use crate::understanding::tokens::Word;
use candle_core::{Result, Tensor};
use std::ops::Range;

/// Width of the layer between word and labels.
pub const HIDDEN: usize = 64;
/// Numbers that describe a word: its shape, then the lists that it stands in.
pub const SHAPE: usize = 14 + LISTS;

/// A run of words that a group takes for a value of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Position of the field in its group.
    pub field: usize,
    /// Words, as positions in the message.
    pub words: std::ops::Range<usize>,
    /// Mean probability of its labels.
    pub probability: f64,
}

/// Labels of a group with `fields` fields: outside, then beginning and inside of each.
pub const fn labels(fields: usize) -> usize {
    1 + 2 * fields
}

/// Scores of each label for each word: [words, labels]. `pooled` is [words, width], `shapes` [words, SHAPE];
/// a head that was trained before the lists came takes the numbers that it knows.
pub fn logits(weights: &Weights, group: &str, pooled: &Tensor, shapes: &Tensor) -> Result<Tensor> {
    let wide = weights.get(&format!("spans.{group}.hidden.weight")).map_or(Ok(0), |weight| weight.dim(1))?;
    let known = wide.saturating_sub(pooled.dim(1)?).min(SHAPE);
    let x = Tensor::cat(&[pooled, &shapes.narrow(1, 0, known)?], 1)?;
    let hidden = ops::gelu(&super::apply(weights, &format!("spans.{group}.hidden"), &x)?)?;
    super::apply(weights, &format!("spans.{group}.labels"), &hidden)
}

/// Of every word: capitals, digits, length, whether it opens a sentence, and its lists.
pub fn shapes(text: &[char], words: &[Word], lexicon: &Lexicon) -> Vec<f32> {
    let mut out = Vec::with_capacity(words.len() * SHAPE);
    let mut opens = true;
    for word in words {
        let letters = text.get(word.start..word.end).unwrap_or_default();
        let first = letters.first().copied().unwrap_or(' ');
        let count = |f: fn(char) -> bool| letters.iter().filter(|c| f(**c)).count();
        let (upper, digits) = (count(char::is_uppercase), count(char::is_numeric));
        let alphabetic = count(char::is_alphabetic);
        let n = letters.len();
        let mark = n == 1 && alphabetic == 0 && digits == 0;
        let touching = word.start > 0 && text.get(word.start - 1).is_some_and(|c| !c.is_whitespace());
        let flags = [
            first.is_uppercase(),
            upper == n && n > 1,
            upper > 1 && upper < n,
            digits > 0,
            digits == n && n > 0,
            digits > 0 && alphabetic > 0,
            mark,
            opens,
            touching,
            n <= 2,
            (3..=4).contains(&n),
            (5..=7).contains(&n),
            (8..=11).contains(&n),
            n > 11,
        ];
        let lists = lexicon.bits(&letters.iter().collect::<String>());
        out.extend(flags.into_iter().chain(lists).map(|flag| f32::from(u8::from(flag))));
        opens = mark && (opens || matches!(first, '.' | '!' | '?' | ':'));
    }
    out
}

/// Gives the words that lie within a value the labels of its field: the first begins it, the rest continue it.
pub fn mark(labels: &mut [usize], words: &[Word], field: usize, value: Range<usize>) {
    let mut label = 1 + 2 * field;
    for (slot, word) in labels.iter_mut().zip(words) {
        if word.start >= value.start && word.end <= value.end {
            *slot = label;
            label = 2 + 2 * field;
        }
    }
}

/// The best labelling in which "inside" only continues its own field (Viterbi), as spans. `lean` is added to
/// the score of every label but "outside" when the labelling is chosen; `temperature` > 0 divides the scores
/// from which the probabilities come, and moves no label.
pub fn decode(logits: &[f32], fields: usize, lean: f64, temperature: f64) -> Vec<Span> {
    let n = labels(fields);
    let softened = |lean: f64, temperature: f64| -> Vec<Vec<f64>> {
        let rows = logits.chunks_exact(n).map(|row| {
            let mut row: Vec<f64> = row.iter().map(|&z| f64::from(z) / temperature).collect();
            row[1..].iter_mut().for_each(|z| *z += lean);
            softmax(&mut row);
            row
        });
        rows.collect()
    };
    let path = best_path(&softened(lean, 1.0), n);
    let rows = softened(0.0, temperature);
    let mut spans: Vec<Span> = Vec::new();
    for (word, &label) in path.iter().enumerate() {
        let probability = rows[word][label];
        match (label, spans.last_mut()) {
            (0, _) => {}
            (label, Some(last)) if label % 2 == 0 && last.words.end == word => {
                last.words.end = word + 1;
                last.probability += probability;
            }
            (label, _) => {
                spans.push(Span { field: (label - 1) / 2, words: word..word + 1, probability });
            }
        }
    }
    spans.iter_mut().for_each(|span| span.probability /= span.words.len() as f64);
    spans
}

/// Odd labels begin a field, the even one after each continues it.
fn best_path(rows: &[Vec<f64>], n: usize) -> Vec<usize> {
    let may_follow = |before: Option<usize>, label: usize| {
        label == 0 || label % 2 == 1 || before.is_some_and(|b| b == label || b + 1 == label)
    };
    let mut score: Vec<f64> = Vec::new();
    let mut back: Vec<Vec<usize>> = Vec::new();
    for row in rows {
        let mut next = vec![f64::NEG_INFINITY; n];
        let mut from = vec![0; n];
        for label in 0..n {
            let log = libm::log(row[label].max(1e-30));
            if back.is_empty() {
                if may_follow(None, label) {
                    next[label] = log;
                }
                continue;
            }
            for before in (0..n).filter(|b| may_follow(Some(*b), label)) {
                if score[before] + log > next[label] {
                    next[label] = score[before] + log;
                    from[label] = before;
                }
            }
        }
        score = next;
        back.push(from);
    }
    let mut label = (0..n).fold(0, |best, l| if score.get(l) > score.get(best) { l } else { best });
    let mut path = vec![0; rows.len()];
    for (word, from) in back.iter().enumerate().rev() {
        path[word] = label;
        label = from[label];
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_never_stands_without_its_beginning() {
        // two fields: labels O, B0, I0, B1, I1. Word 0 and 1 favour I1, which nothing began.
        let logits = [0.0, 1.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 5.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let spans = decode(&logits, 2, 0.0, 1.0);
        assert_eq!(spans.len(), 1);
        assert_eq!((spans[0].field, spans[0].words.clone()), (1, 0..2));
    }

    #[test]
    fn leaning_extracts_more() {
        let logits = [1.0, 0.5, 0.0];
        assert!(decode(&logits, 1, 0.0, 1.0).is_empty());
        let [span] = decode(&logits, 1, 1.0, 2.0).try_into().unwrap();
        // It moves what is marked, not how likely that is.
        let p = 0.25_f64.exp() / (0.5_f64.exp() + 0.25_f64.exp() + 1.0);
        assert!((span.probability - p).abs() < 1e-9, "{}", span.probability);
    }

    #[test]
    fn two_neighbours_of_one_field_stay_apart() {
        let logits = [0.0, 9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 9.0];
        let spans = decode(&logits, 1, 0.0, 1.0);
        assert_eq!(spans.iter().map(|s| s.words.clone()).collect::<Vec<_>>(), vec![0..1, 1..3]);
    }
}
