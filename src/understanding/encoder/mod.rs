//! Text pieces in, one vector per piece out. The trait is a seam: another encoder can take its place.

mod candle;
mod compute;
mod int8;
pub(crate) mod kernels;
mod minilm;
pub(crate) mod ops;

pub use candle::Candle;
pub use compute::Compute;
pub use int8::{Dense, Int8, Kernel, Rows};
pub use minilm::MiniLm;
pub use ops::{Dropout, Strain};

use candle_core::{Result, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Named weights, f32 on the CPU.
pub type Weights = HashMap<String, Tensor>;

/// Weights as a bundle stores them.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub matrices: BTreeMap<String, Rows>,
    pub vectors: BTreeMap<String, Vec<f32>>,
}

impl Stored {
    /// Takes away what belongs to the encoder.
    fn encoder(&mut self) -> Self {
        let matrices = self.matrices.extract_if(.., |name, _| Top::owns(name)).collect();
        Self { matrices, vectors: self.vectors.extract_if(.., |name, _| Top::owns(name)).collect() }
    }
}

/// Several sequences one after the other, without padding.
#[derive(Clone, Debug)]
pub struct Packed {
    /// For every token its row in the table of word vectors.
    pub rows: Arc<Vec<u32>>,
    /// First token of every sequence and, last, the number of tokens.
    pub starts: Arc<Vec<usize>>,
}

impl Packed {
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let (mut rows, mut starts) = (Vec::new(), vec![0]);
        for sequence in sequences {
            rows.extend_from_slice(sequence);
            starts.push(rows.len());
        }
        Self { rows: Arc::new(rows), starts: Arc::new(starts) }
    }

    pub fn tokens(&self) -> usize {
        self.rows.len()
    }

    /// The rows of every sequence.
    pub fn sequences(&self) -> Vec<std::ops::Range<usize>> {
        self.starts.windows(2).filter_map(|pair| Some(*pair.first()?..*pair.last()?)).collect()
    }
}

/// Which last layer a text goes through. Those below are one trunk: a layer of its own lets search be trained without
/// moving a bit of any reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Top {
    /// What intents, values and tone are read from: weights `encoder.<last>.*`.
    Reading,
    /// What documents are found by: weights `search.*`.
    Search,
}

impl Top {
    /// Whether a weight belongs to an encoder.
    pub(in crate::understanding) fn owns(name: &str) -> bool {
        name.starts_with("encoder.") || name.starts_with("search.layer.")
    }
}

/// One of the five seams. An implementation is a pure function of weights and input.
pub trait Encoder: Send + Sync {
    /// One vector of `width` floats per token of the batch, one after the other.
    ///
    /// # Errors
    /// A piece or a length that the weights do not have; no weights for this top.
    fn encode(&self, batch: &Packed, top: Top) -> Result<Vec<f32>>;
    /// Whether there are weights for `Top::Search`.
    fn searches(&self) -> bool;
    /// Floats per vector.
    fn width(&self) -> usize;
    /// The longest sequence, in tokens with the two special ones.
    fn reach(&self) -> usize;
    /// What does the arithmetic, as records of decisions name it: the arithmetic, which decides every bit of the result
    /// where it is promised, then after a blank what carries it out.
    fn arithmetic(&self) -> String;
    /// Its weights as floats, for what needs gradients.
    fn full(&self) -> Result<Weights>;
}
