//! One encoder pass serves them all: intents and tone read the mean of a message's vectors, extraction
//! reads one vector per word.

pub mod intent;
pub mod segments;
pub mod spans;
pub mod tone;

use super::encoder::{Dense, Kernel, Weights, ops};
use candle_core::{Result, Tensor, bail};

/// Name of the projection from the mean vector to the retrieval vector.
pub const RETRIEVAL: &str = "retrieval";

/// All heads as a reading uses them. What they say of a message, or of a word, depends on its vector alone.
pub struct Heads {
    kernel: Kernel,
    intent: Dense,
    tone: Dense,
    retrieval: Dense,
    /// The layers between word and labels of all groups, and behind them that of the boundaries.
    hidden: Dense,
    groups: Vec<Dense>,
    boundaries: Dense,
}

/// What the heads say of words, one word after the other.
pub struct OfWords {
    /// For every group the scores of its labels.
    pub labels: Vec<Vec<f32>>,
    /// Whether a new concern begins.
    pub boundaries: Vec<f32>,
}

impl Heads {
    /// `groups` are the ids of the extraction groups.
    pub fn new<'a>(weights: &Weights, groups: impl Iterator<Item = &'a str>, kernel: Kernel) -> Result<Self> {
        let names: Vec<String> = groups.map(|id| format!("spans.{id}")).collect();
        let segments = format!("spans.{}", segments::NAME);
        let hidden = names.iter().chain([&segments]).map(|name| layer(weights, &format!("{name}.hidden")));
        let (mut values, mut bias, mut inner) = (Vec::new(), Vec::new(), 0);
        for layer in hidden {
            let (more, columns, biases) = layer?;
            values.extend(more);
            bias.extend(biases);
            inner = columns;
        }
        let dense = |name: &str| dense(weights, name);
        Ok(Self {
            kernel,
            intent: dense(intent::NAME)?,
            tone: dense(tone::NAME)?,
            retrieval: dense(RETRIEVAL)?,
            hidden: Dense::new(&values, inner, bias)?,
            groups: names.iter().map(|name| dense(&format!("{name}.labels"))).collect::<Result<_>>()?,
            boundaries: dense(&format!("{segments}.labels"))?,
        })
    }

    fn rows(&self, pooled: &[f32], head: &Dense) -> Vec<Vec<f32>> {
        let all = self.kernel.dense(pooled, head.inner, head);
        all.chunks(head.outer.max(1)).map(<[f32]>::to_vec).collect()
    }

    /// `pooled`: mean vectors, one after the other.
    pub fn intent(&self, pooled: &[f32]) -> Vec<Vec<f32>> {
        self.rows(pooled, &self.intent)
    }

    pub fn tone(&self, pooled: &[f32]) -> Vec<Vec<f32>> {
        self.rows(pooled, &self.tone)
    }

    pub fn retrieval(&self, pooled: &[f32]) -> Vec<Vec<f32>> {
        self.rows(pooled, &self.retrieval)
    }

    /// `words`: for each the mean of its pieces and behind it `spans::SHAPE` numbers.
    pub fn words(&self, words: &[f32]) -> OfWords {
        let mut hidden = self.kernel.dense(words, self.hidden.inner, &self.hidden);
        self.kernel.gelu(&mut hidden);
        let of = |at: usize, head: &Dense| {
            let own = hidden.get(at * spans::HIDDEN..).unwrap_or_default();
            self.kernel.dense(own, self.hidden.outer, head)
        };
        OfWords {
            labels: self.groups.iter().enumerate().map(|(at, head)| of(at, head)).collect(),
            boundaries: of(self.groups.len(), &self.boundaries),
        }
    }
}

/// The linear layer of this name, for a kernel.
pub(super) fn dense(weights: &Weights, name: &str) -> Result<Dense> {
    let (values, inner, bias) = layer(weights, name)?;
    Dense::new(&values, inner, bias)
}

/// Values row by row, columns, and biases of a linear layer.
fn layer(weights: &Weights, name: &str) -> Result<(Vec<f32>, usize, Vec<f32>)> {
    match (weights.get(&format!("{name}.weight")), weights.get(&format!("{name}.bias"))) {
        (Some(weight), Some(bias)) => Ok((weight.flatten_all()?.to_vec1()?, weight.dim(1)?, bias.to_vec1()?)),
        _ => bail!("weight `{name}` is missing"),
    }
}

/// A linear layer from the weights `<name>.weight` and `<name>.bias`.
pub(crate) fn apply(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = weights.get(&format!("{name}.weight"));
    let bias = weights.get(&format!("{name}.bias"));
    match (weight, bias) {
        (Some(weight), Some(bias)) => ops::linear(x, weight, bias),
        _ => bail!("weight `{name}` is missing"),
    }
}
