//! One encoder pass serves them all: intents and tone read the mean of a message's vectors, extraction
//! reads one vector per word.

pub mod intent;
pub mod segments;
pub mod spans;
pub mod tone;

use super::encoder::{Weights, ops};
use candle_core::{Result, Tensor, bail};

/// A linear layer from the weights `<name>.weight` and `<name>.bias`.
pub(crate) fn apply(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = weights.get(&format!("{name}.weight"));
    let bias = weights.get(&format!("{name}.bias"));
    match (weight, bias) {
        (Some(weight), Some(bias)) => ops::linear(x, weight, bias),
        _ => bail!("weight `{name}` is missing"),
    }
}
