//! What documents are found by: of a text one vector for the whole, and a short one for each of its pieces, compared
//! by late interaction (MaxSim; Khattab and Zaharia 2020, ColBERT). All in signed bytes: a cosine is a sum of
//! integers, the same on every machine.

use super::encoder::{Dense, Kernel, Stored, Weights};
use super::heads::dense;
use super::model::unit;
use crate::base::{Digest, Probability};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The layer from the mean of the pieces' vectors to the vector of the text.
pub const VECTOR: &str = "search.vector";
/// The layer from a piece's vector to its short one.
pub const PIECE: &str = "search.piece";
/// Values of a piece's short vector.
pub const SHORT: usize = 64;
/// Pieces of a text that count; what comes behind them is not read.
pub const REACH: usize = 384;
/// What tells whether a question is answered: so many numbers.
pub const SIGNS: usize = 6;
/// What 1 is stored as.
const ONE: f32 = 127.0;

/// A text as search compares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// Of length 127.
    pub vector: Vec<i8>,
    /// [pieces, SHORT], each of length 127, in the order of the text with the special pieces at both ends.
    pub pieces: Vec<i8>,
}

/// A rounded vector has about length `ONE`.
fn rounded(vector: Vec<f32>) -> impl Iterator<Item = i8> {
    unit(vector).into_iter().map(|value| (value * ONE).round_ties_even() as i8)
}

/// The cosine that a sum of products of two stored vectors stands for.
pub fn cosine(sum: i32) -> f64 {
    f64::from(sum) / f64::from(ONE * ONE)
}

/// For each piece of the question the cosine of the nearest of `pieces`, [pieces, SHORT]. Nothing where there are
/// none.
pub fn nearest(kernel: Kernel, question: &Embedded, pieces: &[i8]) -> Vec<f64> {
    let of_piece = |piece: &[i8]| kernel.dots(piece, pieces).into_iter().max().map(cosine);
    question.pieces.chunks_exact(SHORT).filter_map(of_piece).collect()
}

/// Names everything that a vector of search depends on: the trunk without the last layer that readings go through,
/// the last layer and the heads of search, and the pieces. `None` where there is no search.
pub fn digest(weights: &Stored, tokenizer: &[u8]) -> Option<Digest> {
    if !weights.matrices.contains_key(&format!("{VECTOR}.weight")) {
        return None;
    }
    let numbered = |name: &str| name.strip_prefix("encoder.")?.split('.').next()?.parse::<usize>().ok();
    let last = weights.matrices.keys().filter_map(|name| numbered(name)).max();
    let counts = |name: &str| {
        (name.starts_with("search.") || name.starts_with("encoder."))
            && (numbered(name).is_none() || numbered(name) != last)
    };
    let mut parts = vec![tokenizer.to_vec()];
    for (name, rows) in weights.matrices.iter().filter(|(name, _)| counts(name)) {
        parts.push(name.as_bytes().to_vec());
        parts.push(rows.bytes.iter().map(|byte| byte.cast_unsigned()).collect());
        parts.push(rows.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect());
    }
    for (name, values) in weights.vectors.iter().filter(|(name, _)| counts(name)) {
        parts.push(name.as_bytes().to_vec());
        parts.push(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    Some(Digest::of_parts(parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// What makes one score of how near a passage is to a question, and of the scores the probability that the question is
/// answered. Fitted on questions that were not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchWeights {
    /// Of the BM25 score.
    pub words: f64,
    /// Of the cosine of the vectors.
    pub vector: f64,
    /// Of the mean cosine of the nearest pieces.
    pub pieces: f64,
    /// Logistic regression: a constant, and the weights of what tells whether the best passage answers
    /// (`policy::signs`).
    pub answerable: [f64; SIGNS + 1],
}

impl Default for SearchWeights {
    fn default() -> Self {
        Self { words: 0.02, vector: 1.0, pieces: 1.0, answerable: [0.0; SIGNS + 1] }
    }
}

impl SearchWeights {
    /// Of a passage with this BM25 score and these cosines.
    pub fn score(&self, words: f64, vector: f64, pieces: f64) -> f64 {
        self.words * words + self.vector * vector + self.pieces * pieces
    }

    /// The probability that the best passage answers.
    pub fn answerable(&self, signs: &[f64; SIGNS]) -> Probability {
        let [base, weights @ ..] = &self.answerable;
        let z = base + weights.iter().zip(signs).map(|(w, sign)| w * sign).sum::<f64>();
        Probability::new(1.0 / (1.0 + (-z).exp())).rounded()
    }

    /// Every number is one; the problem otherwise.
    pub fn check(&self) -> Result<(), String> {
        let all = [self.words, self.vector, self.pieces].into_iter().chain(self.answerable);
        match all.into_iter().find(|weight| !weight.is_finite()) {
            Some(bad) => Err(format!("a weight of the search is {bad}")),
            None => Ok(()),
        }
    }
}

/// The layers on top of the encoder's.
pub struct SearchHeads {
    kernel: Kernel,
    vector: Dense,
    piece: Dense,
}

impl SearchHeads {
    /// `None` where the weights have none.
    ///
    /// # Errors
    /// Weights of other shapes than these.
    pub fn new(weights: &Weights, width: usize, kernel: Kernel) -> candle_core::Result<Option<Self>> {
        if !weights.contains_key(&format!("{VECTOR}.weight")) {
            return Ok(None);
        }
        let (vector, piece) = (dense(weights, VECTOR)?, dense(weights, PIECE)?);
        if (vector.inner, vector.outer, piece.inner, piece.outer) != (width, width, width, SHORT) {
            candle_core::bail!("`{VECTOR}` is not [{width}, {width}] or `{PIECE}` not [{SHORT}, {width}]");
        }
        Ok(Some(Self { kernel, vector, piece }))
    }

    /// `hidden`: the vectors of all pieces, one after the other; `pooled`: their means.
    pub fn embedded(&self, hidden: &[f32], pooled: &[f32], sequences: &[Range<usize>]) -> Vec<Embedded> {
        let short = self.kernel.dense(hidden, self.piece.inner, &self.piece);
        let vectors = self.kernel.dense(pooled, self.vector.inner, &self.vector);
        let texts = vectors.chunks_exact(self.vector.outer.max(1)).zip(sequences);
        let embed = |(vector, pieces): (&[f32], &Range<usize>)| Embedded {
            vector: rounded(vector.to_vec()).collect(),
            pieces: short
                .get(pieces.start * SHORT..pieces.end * SHORT)
                .unwrap_or_default()
                .chunks_exact(SHORT)
                .flat_map(|piece| rounded(piece.to_vec()))
                .collect(),
        };
        texts.map(embed).collect()
    }
}
