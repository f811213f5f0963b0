//! BERT (Devlin et al. 2019) in the size of all-MiniLM-L6-v2: 6 layers, width 384, 12 heads, inner width
//! 1,536, 512 positions, 30,522 word pieces. Queries, keys and values are one matrix.

use super::ops::{self, Strain};
use super::{Encoder, Packed, Top, Weights};
use candle_core::{Result, Tensor, bail};

/// Name of the table of word vectors among the weights.
pub const WORDS: &str = "encoder.words";

pub struct MiniLm {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: [Tensor; 2],
    layers: Vec<Layer>,
    /// In the place of the last.
    search: Option<Layer>,
    /// All of these by name.
    weights: Weights,
}

struct Layer {
    qkv: [Tensor; 2],
    out: [Tensor; 2],
    attention_norm: [Tensor; 2],
    up: [Tensor; 2],
    down: [Tensor; 2],
    norm: [Tensor; 2],
}

fn take(weights: &Weights, name: &str) -> Result<Tensor> {
    match weights.get(name) {
        Some(tensor) => Ok(tensor.clone()),
        None => bail!("weight `{name}` is missing"),
    }
}

fn pair(weights: &Weights, name: &str) -> Result<[Tensor; 2]> {
    Ok([take(weights, &format!("{name}.weight"))?, take(weights, &format!("{name}.bias"))?])
}

impl MiniLm {
    /// Of attention.
    pub const HEADS: usize = 12;
    pub const WORDS: &str = WORDS;
    pub const POSITIONS: &str = "encoder.positions";
    pub const SEARCH: &str = SEARCH;
    /// Said of weights that cannot search.
    pub(in crate::understanding) const NO_SEARCH: &str =
        "the weights have no last layer for search (`search.layer.*`)";

    /// Takes the weights named `encoder.*`; the tensors are shared, not copied.
    pub fn new(weights: &Weights) -> Result<Self> {
        let mut layers = Vec::new();
        while weights.contains_key(&format!("encoder.{}.qkv.weight", layers.len())) {
            layers.push(Layer::new(weights, &format!("encoder.{}", layers.len()))?);
        }
        if layers.is_empty() {
            bail!("weight `encoder.0.qkv.weight` is missing");
        }
        let encoder = Self {
            words: take(weights, WORDS)?,
            positions: take(weights, Self::POSITIONS)?,
            types: take(weights, "encoder.types")?,
            norm: pair(weights, "encoder.norm")?,
            layers,
            search: Self::searching(weights).then(|| Layer::new(weights, SEARCH)).transpose()?,
            weights: weights
                .iter()
                .filter(|(name, _)| Top::owns(name))
                .map(|(name, tensor)| (name.clone(), tensor.clone()))
                .collect(),
        };
        encoder.check()?;
        Ok(encoder)
    }

    /// Shapes fit together, so that a forward pass cannot fail on any valid batch.
    fn check(&self) -> Result<()> {
        let width = self.words.dim(1)?;
        let want = |tensor: &Tensor, shape: &[usize]| {
            if tensor.dims() == shape {
                return Ok(());
            }
            bail!("a weight of the encoder has shape {:?} where {shape:?} is needed", tensor.dims())
        };
        if !width.is_multiple_of(Self::HEADS) || width == 0 {
            bail!("width {width} does not divide into {} heads", Self::HEADS);
        }
        want(&self.positions, &[self.positions.dim(0)?, width])?;
        want(&self.types, &[self.types.dim(0)?, width])?;
        for layer in self.layers.iter().chain(&self.search) {
            let inner = layer.up[0].dim(0)?;
            want(&layer.qkv[0], &[3 * width, width])?;
            want(&layer.out[0], &[width, width])?;
            want(&layer.up[0], &[inner, width])?;
            want(&layer.down[0], &[width, inner])?;
            for (norm, size) in [
                (&layer.qkv[1], 3 * width),
                (&layer.out[1], width),
                (&layer.up[1], inner),
                (&layer.down[1], width),
                (&layer.attention_norm[0], width),
                (&layer.attention_norm[1], width),
                (&layer.norm[0], width),
                (&layer.norm[1], width),
                (&self.norm[0], width),
                (&self.norm[1], width),
            ] {
                want(norm, &[size])?;
            }
        }
        Ok(())
    }

    /// One vector per token, [tokens, width].
    pub fn vectors(&self, batch: &Packed) -> Result<Tensor> {
        self.forward(&self.words, batch, Strain::default())
    }

    /// The search's last layer alone, over what those below it made of a batch, [tokens, width].
    pub(crate) fn search_layer(
        weights: &Weights,
        below: &Tensor,
        batch: &Packed,
        strain: Strain,
    ) -> Result<Tensor> {
        Layer::new(weights, SEARCH)?.forward(below, batch, strain)
    }

    /// Whether the weights have a last layer for search.
    pub fn searching(weights: &Weights) -> bool {
        weights.contains_key(&format!("{SEARCH}.qkv.weight"))
    }

    /// The forward pass with another table of word vectors, to which the batch's rows point: training uses
    /// the few rows that occur in a batch, so that a step does not touch all 30,522.
    pub fn forward(&self, words: &Tensor, batch: &Packed, strain: Strain) -> Result<Tensor> {
        let mut strain = strain;
        let mut x = self.embedded(words, batch)?;
        for layer in &self.layers {
            x = layer.forward(&x, batch, strain)?;
            strain.dropout = strain.dropout.next().next();
        }
        Ok(x)
    }

    fn embedded(&self, words: &Tensor, batch: &Packed) -> Result<Tensor> {
        let [weight, bias] = &self.norm;
        ops::layer_norm(&ops::embed(words, &self.positions, &self.types, batch)?, weight, bias)
    }

    /// One vector per token, [tokens, width], by the search's last layer.
    fn search_vectors(&self, batch: &Packed) -> Result<Tensor> {
        let Some(search) = &self.search else { bail!("{}", Self::NO_SEARCH) };
        let mut x = self.embedded(&self.words, batch)?;
        let below = self.layers.len().saturating_sub(1);
        for layer in self.layers.iter().take(below).chain([search]) {
            x = layer.forward(&x, batch, Strain::default())?;
        }
        Ok(x)
    }
}

/// What the names of the search's last layer begin with.
pub const SEARCH: &str = "search.layer";

impl Layer {
    fn new(weights: &Weights, name: &str) -> Result<Self> {
        let part = |part: &str| pair(weights, &format!("{name}.{part}"));
        Ok(Self {
            qkv: part("qkv")?,
            out: part("out")?,
            attention_norm: part("attention_norm")?,
            up: part("up")?,
            down: part("down")?,
            norm: part("norm")?,
        })
    }

    fn forward(&self, x: &Tensor, batch: &Packed, Strain { dropout, eight_bit }: Strain) -> Result<Tensor> {
        let apply = |x: &Tensor, [weight, bias]: &[Tensor; 2]| match eight_bit {
            true => ops::linear(&ops::eight_bit(x)?, weight, bias),
            false => ops::linear(x, weight, bias),
        };
        let norm = |x: &Tensor, [weight, bias]: &[Tensor; 2]| ops::layer_norm(x, weight, bias);
        let mixed = ops::attention(&apply(x, &self.qkv)?, &batch.starts, MiniLm::HEADS)?;
        let x = norm(&ops::residual(x, &apply(&mixed, &self.out)?, dropout)?, &self.attention_norm)?;
        let inner = ops::gelu(&apply(&x, &self.up)?)?;
        norm(&ops::residual(&x, &apply(&inner, &self.down)?, dropout.next())?, &self.norm)
    }
}

impl Encoder for MiniLm {
    fn encode(&self, batch: &Packed, top: Top) -> Result<Vec<f32>> {
        let vectors = match top {
            Top::Reading => self.vectors(batch)?,
            Top::Search => self.search_vectors(batch)?,
        };
        vectors.flatten_all()?.to_vec1()
    }

    fn searches(&self) -> bool {
        self.search.is_some()
    }

    fn arithmetic(&self) -> String {
        "f32 cpu".to_owned()
    }

    fn full(&self) -> Result<Weights> {
        Ok(self.weights.clone())
    }

    fn width(&self) -> usize {
        self.words.dim(1).unwrap_or(0)
    }

    fn reach(&self) -> usize {
        self.positions.dim(0).unwrap_or(0)
    }
}
