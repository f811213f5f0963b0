//! How near passages are to a question, and what that tells of whether the best of them answers.

use crate::understanding::search::{SIGNS, SearchWeights};
use std::collections::{BTreeMap, HashSet};

/// A passage in another language than the question's has to be nearer by this much: where both are there, people want
/// their own.
pub const OTHER_LANGUAGE: f64 = 0.2;
/// The documents behind the best one that it is held against.
const BEHIND: usize = 5;

/// How near a passage is to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearness {
    /// Its BM25 score; 0 where it shares no word with the question.
    pub words: f64,
    /// The cosine of their vectors.
    pub vector: f64,
    /// The mean over the question's pieces of the cosine of the nearest piece; rare words count more.
    pub pieces: f64,
    /// Of each of the question's pieces that cosine.
    pub each: Vec<f64>,
    /// It is in another language.
    pub foreign: bool,
}

impl Nearness {
    pub fn score(&self, weights: &SearchWeights) -> f64 {
        let score = weights.score(self.words, self.vector, self.pieces);
        if self.foreign { score - OTHER_LANGUAGE } else { score }
    }
}

/// A question and what was compared with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// How much each of the question's pieces counts; their sum is 1.
    pub weights: Vec<f64>,
    /// Passages by their numbers.
    pub near: BTreeMap<usize, Nearness>,
}

/// A passage in the order of the scores.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    pub document: usize,
    pub near: &'a Nearness,
    pub score: f64,
}

/// What tells whether the best passage answers. `ranked`: the best first; `covered`: the share of what the question's
/// words tell that stands in it.
///
/// - how near it is piece by piece;
/// - that share;
/// - by how much it stands out before other documents;
/// - how much better other passages speak of the question's pieces than its document does: in the mean, and of the one
///   piece that its document lacks most;
/// - how long the question is.
pub fn signs(weights: &[f64], ranked: &[Ranked], covered: f64) -> [f64; SIGNS] {
    let length = (weights.len().max(1) as f64).ln();
    let Some(best) = ranked.first() else { return [0.0, covered, 0.0, 0.0, 0.0, length] };
    let mut seen = HashSet::from([best.document]);
    let behind = ranked.iter().filter(|one| seen.insert(one.document)).take(BEHIND);
    let behind: Vec<f64> = behind.map(|one| one.score).collect();
    let stands_out = match behind.len() {
        0 => 0.0,
        n => best.score - behind.iter().sum::<f64>() / n as f64,
    };
    let highest = |own: bool| {
        let mut highest = vec![f64::NEG_INFINITY; weights.len()];
        for one in ranked.iter().filter(|one| !own || one.document == best.document) {
            highest.iter_mut().zip(&one.near.each).for_each(|(high, cosine)| *high = high.max(*cosine));
        }
        highest
    };
    let lacks: Vec<f64> = highest(false).iter().zip(&highest(true)).map(|(all, own)| all - own).collect();
    let lacks = lacks.iter().map(|lack| if lack.is_finite() { *lack } else { 0.0 });
    let mean = lacks.clone().zip(weights).map(|(lack, weight)| lack * weight).sum();
    [best.near.pieces, covered, stands_out, mean, lacks.fold(0.0, f64::max), length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(each: &[f64]) -> Nearness {
        Nearness { each: each.to_vec(), ..Nearness::default() }
    }

    #[test]
    fn what_other_documents_speak_of_is_lacking() {
        let (first, second, other) = (near(&[0.9, 0.1]), near(&[0.2, 0.3]), near(&[0.5, 0.8]));
        let first = Nearness { pieces: 0.7, ..first };
        let ranked = [(0, &first, 2.0), (0, &second, 1.8), (1, &other, 1.5)]
            .map(|(document, near, score)| Ranked { document, near, score });
        let [pieces, covered, stands_out, mean, most, length] = signs(&[0.25, 0.75], &ranked, 0.4);
        assert_eq!((pieces, covered, length), (0.7, 0.4, 2.0_f64.ln()));
        assert!((stands_out - 0.5).abs() < 1e-12 && (most - 0.5).abs() < 1e-12, "{stands_out} {most}");
        assert!((mean - 0.375).abs() < 1e-12, "{mean}");
        assert_eq!(signs(&[0.25, 0.75], &ranked[..2], 0.4)[2..5], [0.0; 3]);
        assert_eq!(signs(&[], &[], 0.0), [0.0; SIGNS]);
        assert_eq!(
            signs(&[1.0], &[Ranked { document: 0, near: &near(&[]), score: 1.0 }], 0.0)[2..4],
            [0.0; 2]
        );
    }

    #[test]
    fn the_own_language_comes_first_when_little_lies_between() {
        let weights = SearchWeights { words: 0.0, vector: 1.0, pieces: 0.0, ..SearchWeights::default() };
        let own = Nearness { vector: 0.5, ..Nearness::default() };
        let foreign = |vector| Nearness { vector, foreign: true, ..Nearness::default() };
        assert!(own.score(&weights) > foreign(0.69).score(&weights));
        assert!(own.score(&weights) < foreign(0.71).score(&weights));
    }
}
