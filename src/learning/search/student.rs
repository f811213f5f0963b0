//! The last layer and the heads of search while they learn.

use super::loss::{self, Side};
use crate::learning::adamw::{self, Moments, Step};
use crate::learning::error::LearningError;
use crate::understanding::encoder::{Dropout, Int8, MiniLm, Packed, Strain, Weights, ops};
use crate::understanding::search::{PIECE, SHORT, VECTOR};
use candle_core::{Device, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Similarities are multiplied by these before the softmax.
const WHOLE_SCALE: f32 = 20.0;
const NEAREST_SCALE: f32 = 32.0;
/// The heads are new, the layer starts as a copy of one that can read.
const HEAD_FACTOR: f32 = 10.0;
/// Longer gradients are cut to this length.
const CLIP: f64 = 1.0;

pub struct Student {
    variables: BTreeMap<String, (Var, Mutex<Moments>)>,
    width: usize,
}

/// What the trunk makes of texts below the last layer, kept: it does not learn.
pub struct Below {
    encoder: Int8,
    width: usize,
    kept: Mutex<HashMap<Vec<u32>, Arc<Vec<f32>>>>,
}

/// Texts as piece ids, and the place among the passages of what answers each question.
pub struct Batch<'a> {
    pub questions: Vec<&'a [u32]>,
    pub passages: Vec<&'a [u32]>,
    pub right: Vec<usize>,
}

/// By the vectors of the whole, and piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub whole: f64,
    pub nearest: f64,
}

/// What one part of a batch gives: tensors to pull at, and their values.
struct Part {
    vectors: Tensor,
    short: Tensor,
    texts: Vec<Range<usize>>,
}

impl Below {
    pub fn new(encoder: Int8, width: usize) -> Self {
        Self { encoder, width, kept: Mutex::default() }
    }

    fn of(&self, text: &[u32]) -> Result<Arc<Vec<f32>>, LearningError> {
        let kept = || self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(there) = kept().get(text) {
            return Ok(Arc::clone(there));
        }
        let made = Arc::new(self.encoder.below(&Packed::new([text]))?);
        kept().insert(text.to_vec(), Arc::clone(&made));
        Ok(made)
    }
}

impl Student {
    /// Starts from `weights`, those of a bundle: where it has no search yet, the last layer is a copy of the one that
    /// readings go through, the vector of the whole that of the retrieval head, and the pieces' are drawn.
    pub fn new(weights: &Weights, seed: u64) -> Result<Self, LearningError> {
        let missing = |name: &str| LearningError::Broken(format!("the bundle has no weight `{name}`"));
        let layers = (0..).take_while(|n| weights.contains_key(&format!("encoder.{n}.qkv.weight"))).count();
        let last = format!("encoder.{}", layers.saturating_sub(1));
        let width = weights.get(MiniLm::WORDS).ok_or_else(|| missing(MiniLm::WORDS))?.dim(1)?;
        let mut start: Vec<(String, Tensor)> = Vec::new();
        for part in ["qkv", "out", "attention_norm", "up", "down", "norm"] {
            for kind in ["weight", "bias"] {
                let own = format!("{}.{part}.{kind}", MiniLm::SEARCH);
                let from = format!("{last}.{part}.{kind}");
                let tensor =
                    weights.get(&own).or_else(|| weights.get(&from)).ok_or_else(|| missing(&from))?;
                start.push((own, tensor.clone()));
            }
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let scale = (3.0 / width as f32).sqrt();
        let drawn: Vec<f32> = (0..SHORT * width).map(|_| rng.random_range(-scale..scale)).collect();
        for kind in ["weight", "bias"] {
            let own = format!("{VECTOR}.{kind}");
            let from = format!("{}.{kind}", crate::understanding::heads::RETRIEVAL);
            let tensor = weights.get(&own).or_else(|| weights.get(&from)).ok_or_else(|| missing(&from))?;
            start.push((own, tensor.clone()));
            let own = format!("{PIECE}.{kind}");
            let tensor = match (weights.get(&own), kind) {
                (Some(tensor), _) => tensor.clone(),
                (None, "weight") => Tensor::from_vec(drawn.clone(), (SHORT, width), &Device::Cpu)?,
                (None, _) => Tensor::zeros(SHORT, candle_core::DType::F32, &Device::Cpu)?,
            };
            start.push((own, tensor));
        }
        let mut variables = BTreeMap::new();
        for (name, tensor) in start {
            let moments = Mutex::new(Moments::zero(tensor.elem_count()));
            variables.insert(name, (Var::from_tensor(&tensor.copy()?)?, moments));
        }
        Ok(Self { variables, width })
    }

    /// A copy of the weights as they are.
    pub fn weights(&self) -> Result<Weights, LearningError> {
        let copy = |(name, (variable, _)): (&String, &(Var, Mutex<Moments>))| {
            Ok((name.clone(), variable.as_tensor().copy()?.detach()))
        };
        self.variables.iter().map(copy).collect()
    }

    /// One step of a batch, whose texts the threads share.
    pub fn step(
        &self,
        below: &Below,
        batch: &Batch,
        (step, dropout, eight_bit): (Step, Dropout, bool),
        threads: usize,
    ) -> Result<Losses, LearningError> {
        let texts: Vec<&[u32]> = batch.questions.iter().chain(&batch.passages).copied().collect();
        let parts = shares(&texts, threads);
        let weights = self.rounded(eight_bit)?;
        let strain = |at: usize| Strain { dropout: dropout.of_part(at), eight_bit };
        let forward = |at: usize| -> Result<Part, LearningError> {
            let own = parts.get(at).cloned().unwrap_or_default();
            self.forward(below, &weights, texts.get(own).unwrap_or_default(), strain(at))
        };
        let done = in_threads(parts.len(), &forward)?;
        let (losses, pulls) = self.pulls(&done, batch)?;
        let backward = |at: usize| -> Result<Vec<(String, Tensor)>, LearningError> {
            let (Some(part), Some((vectors, short))) = (done.get(at), pulls.get(at)) else {
                return Ok(Vec::new());
            };
            let total = ((&part.vectors * vectors)?.sum_all()? + (&part.short * short)?.sum_all()?)?;
            let grads = total.backward()?;
            let own = self
                .variables
                .iter()
                .filter_map(|(name, (variable, _))| Some((name.clone(), grads.get(variable)?.clone())));
            Ok(own.collect())
        };
        let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, gradient) in in_threads(parts.len(), &backward)?.into_iter().flatten() {
            let sum = match sums.remove(&name) {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            };
            sums.insert(name, sum);
        }
        self.moved(sums, step)?;
        Ok(losses)
    }

    fn rounded(&self, eight_bit: bool) -> Result<Weights, LearningError> {
        let mut weights = Weights::new();
        for (name, (variable, _)) in &self.variables {
            let tensor = variable.as_tensor();
            let matrix = eight_bit && tensor.rank() == 2;
            weights.insert(name.clone(), if matrix { ops::eight_bit(tensor)? } else { tensor.clone() });
        }
        Ok(weights)
    }

    fn forward(
        &self,
        below: &Below,
        weights: &Weights,
        texts: &[&[u32]],
        strain: Strain,
    ) -> Result<Part, LearningError> {
        let mut rows = Vec::new();
        for text in texts {
            rows.extend_from_slice(&below.of(text)?);
        }
        let batch = Packed::new(texts.iter().copied());
        let x = Tensor::from_vec(rows, (batch.tokens(), below.width), &Device::Cpu)?;
        let hidden = MiniLm::search_layer(weights, &x, &batch, strain)?;
        let texts = batch.sequences();
        let means = ops::means(&hidden, texts.clone())?;
        let vectors = crate::understanding::heads::apply(weights, VECTOR, &means)?;
        let short = crate::understanding::heads::apply(weights, PIECE, &hidden)?;
        Ok(Part { vectors, short, texts })
    }

    /// The losses, and for each part their gradients by its two tensors.
    fn pulls(&self, parts: &[Part], batch: &Batch) -> Result<(Losses, Vec<(Tensor, Tensor)>), LearningError> {
        let (mut vectors, mut short, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let before = short.len() / SHORT;
            vectors.extend(part.vectors.flatten_all()?.to_vec1::<f32>()?);
            short.extend(part.short.flatten_all()?.to_vec1::<f32>()?);
            texts.extend(part.texts.iter().map(|text| before + text.start..before + text.end));
        }
        let count = batch.questions.len();
        let cut = |values: &[f32], at: usize| -> (Vec<f32>, Vec<f32>) {
            let (a, b) = values.split_at(at.min(values.len()));
            (a.to_vec(), b.to_vec())
        };
        let rows: Vec<Range<usize>> = (0..texts.len()).map(|row| row..row + 1).collect();
        let (q, p) = cut(&vectors, count * self.width);
        let side = |values, width, texts| Side { values, width, texts };
        let (own, other) =
            (rows.get(..count).unwrap_or_default(), rows.get(..texts.len() - count).unwrap_or_default());
        let whole =
            loss::whole(&side(&q, self.width, own), &side(&p, self.width, other), &batch.right, WHOLE_SCALE);
        let first = texts.get(count).map_or(0, |text| text.start);
        let (q, p) = cut(&short, first * SHORT);
        let passages: Vec<Range<usize>> =
            texts.iter().skip(count).map(|text| text.start - first..text.end - first).collect();
        let own = texts.get(..count).unwrap_or_default();
        let nearest =
            loss::nearest(&side(&q, SHORT, own), &side(&p, SHORT, &passages), &batch.right, NEAREST_SCALE);
        let losses = Losses { whole: whole.loss, nearest: nearest.loss };
        let vectors: Vec<f32> = whole.questions.into_iter().chain(whole.passages).collect();
        let short: Vec<f32> = nearest.questions.into_iter().chain(nearest.passages).collect();
        let (mut text, mut piece, mut out) = (0, 0, Vec::new());
        for part in parts {
            let (texts, pieces) = (part.vectors.dim(0)?, part.short.dim(0)?);
            let of = |values: &[f32], from: usize, rows: usize, width: usize| {
                let own = values.get(from * width..(from + rows) * width).unwrap_or_default();
                Tensor::from_slice(own, (rows, width), &Device::Cpu)
            };
            out.push((of(&vectors, text, texts, self.width)?, of(&short, piece, pieces, SHORT)?));
            text += texts;
            piece += pieces;
        }
        Ok((losses, out))
    }

    fn moved(&self, sums: BTreeMap<String, Tensor>, step: Step) -> Result<(), LearningError> {
        let mut square = 0.0;
        for gradient in sums.values() {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        if !square.is_finite() {
            return Err(LearningError::Broken(format!("the gradient of step {} is not finite", step.number)));
        }
        let step = Step { scale: (CLIP / square.sqrt().max(1e-12)).min(1.0) as f32, ..step };
        for (name, gradient) in sums {
            let Some((variable, moments)) = self.variables.get(&name) else { continue };
            let factor = if name.starts_with(PIECE) { HEAD_FACTOR } else { 1.0 };
            let decay = if name.ends_with(".bias") || name.contains("norm") { 0.0 } else { step.decay };
            let step = Step { rate: step.rate * factor, decay, ..step };
            adamw::apply(step, variable, &gradient, moments)?;
        }
        Ok(())
    }
}

/// Neighbouring texts of about as many pieces for each thread.
fn shares(texts: &[&[u32]], threads: usize) -> Vec<Range<usize>> {
    let all: usize = texts.iter().map(|text| text.len()).sum();
    let (mut shares, mut from, mut pieces) = (Vec::new(), 0, 0);
    for (at, text) in texts.iter().enumerate() {
        pieces += text.len();
        if pieces * threads.max(1) >= all * (shares.len() + 1) {
            shares.push(from..at + 1);
            from = at + 1;
        }
    }
    if from < texts.len() {
        shares.push(from..texts.len());
    }
    shares
}

fn in_threads<R: Send>(
    count: usize,
    work: &(impl Fn(usize) -> Result<R, LearningError> + Sync),
) -> Result<Vec<R>, LearningError> {
    let ended = || LearningError::Broken("a thread broke off".to_owned());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|at| scope.spawn(move || work(at))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(ended()))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_share_a_batch_evenly_and_whole() {
        let lengths = [5_usize, 9, 3, 40, 2, 8, 8, 1];
        let texts: Vec<Vec<u32>> = lengths.iter().map(|n| vec![1; *n]).collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        for threads in 1..5 {
            let shares = shares(&texts, threads);
            assert!(shares.len() <= threads, "{shares:?}");
            let all: Vec<usize> = shares.into_iter().flatten().collect();
            assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
        }
    }
}
