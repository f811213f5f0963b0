//! BERT (Devlin et al. 2019) in the size of all-MiniLM-L6-v2: 6 layers, width 384, 12 heads, inner width
//! 1,536, 512 positions, 30,522 word pieces. Queries, keys and values are one matrix.

use super::ops::{self, Strain};
use super::{Encoder, Packed, Weights};
use candle_core::{Result, Tensor, bail};

/// Name of the table of word vectors among the weights.
pub const WORDS: &str = "encoder.words";

pub struct MiniLm {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: [Tensor; 2],
    layers: Vec<Layer>,
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

    /// Takes the weights named `encoder.*`; the tensors are shared, not copied.
    pub fn new(weights: &Weights) -> Result<Self> {
        let mut layers = Vec::new();
        while weights.contains_key(&format!("encoder.{}.qkv.weight", layers.len())) {
            let part = |name: &str| pair(weights, &format!("encoder.{}.{name}", layers.len()));
            let layer = Layer {
                qkv: part("qkv")?,
                out: part("out")?,
                attention_norm: part("attention_norm")?,
                up: part("up")?,
                down: part("down")?,
                norm: part("norm")?,
            };
            layers.push(layer);
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
            weights: weights
                .iter()
                .filter(|(name, _)| name.starts_with("encoder."))
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
        for layer in &self.layers {
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

    /// The forward pass with another table of word vectors, to which the batch's rows point: training uses
    /// the few rows that occur in a batch, so that a step does not touch all 30,522.
    pub fn forward(&self, words: &Tensor, batch: &Packed, strain: Strain) -> Result<Tensor> {
        let mut strain = strain;
        let [weight, bias] = &self.norm;
        let x = ops::embed(words, &self.positions, &self.types, batch)?;
        let mut x = ops::layer_norm(&x, weight, bias)?;
        for layer in &self.layers {
            x = layer.forward(&x, batch, strain)?;
            strain.dropout = strain.dropout.next().next();
        }
        Ok(x)
    }
}

impl Layer {
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
    fn encode(&self, batch: &Packed) -> Result<Vec<f32>> {
        self.vectors(batch)?.flatten_all()?.to_vec1()
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
