//! The model while it learns: variables, their moments, and a step.

use super::adamw::{self, Moments, Step};
use super::error::LearningError;
use super::tasks::{Balance, Example, Losses, Tasks};
use crate::understanding::encoder::{Dropout, MiniLm, Packed, Strain, Weights, ops};
use crate::understanding::heads::RETRIEVAL;
use candle_core::{Device, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;

/// How a step is taken.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub balance: Balance,
    /// Heads learn this many times faster than the trunk.
    pub head_factor: f32,
    /// Longer gradients are cut to this length.
    pub clip: f64,
    pub dropout: Dropout,
    /// Weights and activations are rounded to eight bits on the way forward.
    pub eight_bit: bool,
}

pub struct Student {
    variables: BTreeMap<String, (Var, Mutex<Moments>)>,
    /// The table of word vectors; only rows that occur in a batch take part in a step.
    words: Vec<f32>,
    word_moments: Moments,
    width: usize,
}

/// One pass of the encoder over a part of a batch, for a loss to be put on.
pub struct Pass {
    pub weights: Weights,
    pub batch: Packed,
    /// [tokens, width]
    pub hidden: Tensor,
    /// The rows of the table that the batch uses, [pieces, width].
    pub words: Tensor,
    /// Which piece each of those rows is.
    pub ids: Vec<u32>,
}

/// The texts of one part of a batch, as piece ids.
pub struct Part<'a> {
    pub texts: Vec<&'a [u32]>,
    /// Pieces that need a row in `Pass::words` beside those that stand in the texts.
    pub beside: &'a [u32],
}

/// What one part of a batch pulls at.
struct Pull {
    variables: BTreeMap<String, Tensor>,
    ids: Vec<u32>,
    words: Vec<f32>,
    losses: Losses,
}

impl Student {
    /// The trunk in `weights` with fresh heads where it has none.
    pub fn new(mut weights: Weights, tasks: &Tasks, seed: u64) -> Result<Self, LearningError> {
        let words = weights.remove(MiniLm::WORDS).ok_or_else(|| {
            LearningError::Broken("the weights to start from have no word vectors".to_owned())
        })?;
        let (_, width) = words.dims2()?;
        let mut rng = StdRng::seed_from_u64(seed);
        fresh_heads(&mut weights, tasks, width, &mut rng)?;
        let words: Vec<f32> = words.flatten_all()?.to_vec1()?;
        let mut variables = BTreeMap::new();
        for (name, tensor) in weights {
            let moments = Mutex::new(Moments::zero(tensor.elem_count()));
            variables.insert(name, (Var::from_tensor(&tensor)?, moments));
        }
        let word_moments = Moments::zero(words.len());
        Ok(Self { variables, words, word_moments, width })
    }

    /// A copy of the weights as they are, for evaluation and for the bundle.
    pub fn weights(&self) -> Result<Weights, LearningError> {
        let mut weights = Weights::new();
        for (name, (variable, _)) in &self.variables {
            weights.insert(name.clone(), variable.as_tensor().copy()?.detach());
        }
        let rows = self.words.len() / self.width;
        let words = Tensor::from_vec(self.words.clone(), (rows, self.width), &Device::Cpu)?;
        weights.insert(MiniLm::WORDS.to_owned(), words);
        Ok(weights)
    }

    /// Everything a later run needs to go on: weights and moments.
    pub fn state(&self) -> Result<HashMap<String, Tensor>, LearningError> {
        let mut state = self.weights()?;
        let mut keep = |name: &str, moments: &Moments| -> Result<(), LearningError> {
            let n = moments.first.len();
            state.insert(format!("first:{name}"), Tensor::from_slice(&moments.first, n, &Device::Cpu)?);
            state.insert(format!("second:{name}"), Tensor::from_slice(&moments.second, n, &Device::Cpu)?);
            Ok(())
        };
        keep(MiniLm::WORDS, &self.word_moments)?;
        for (name, (_, moments)) in &self.variables {
            keep(name, &moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        }
        Ok(state)
    }

    /// Goes on from a `state`.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<(), LearningError> {
        let missing = |name: &str| LearningError::Broken(format!("the checkpoint lacks `{name}`"));
        let floats = |name: &str| -> Result<Vec<f32>, LearningError> {
            Ok(state.get(name).ok_or_else(|| missing(name))?.flatten_all()?.to_vec1()?)
        };
        let moments = |name: &str| -> Result<Moments, LearningError> {
            Ok(Moments {
                first: floats(&format!("first:{name}"))?,
                second: floats(&format!("second:{name}"))?,
            })
        };
        for (name, (variable, slot)) in &mut self.variables {
            variable.set(state.get(name).ok_or_else(|| missing(name))?)?;
            *slot = Mutex::new(moments(name)?);
        }
        self.words = floats(MiniLm::WORDS)?;
        self.word_moments = moments(MiniLm::WORDS)?;
        Ok(())
    }

    /// One step over a batch of lines, in as many threads as `threads`. `untouched` loses the names of the
    /// variables that received a gradient.
    pub fn learn(
        &mut self,
        examples: &[Example],
        tasks: &Tasks,
        course: &Course,
        step: Step,
        threads: usize,
        untouched: &mut BTreeSet<String>,
    ) -> Result<Losses, LearningError> {
        let shares: Vec<&[Example]> =
            examples.chunks(examples.len().div_ceil(threads.max(1)).max(1)).collect();
        let parts: Vec<Part> = shares
            .iter()
            .map(|share| Part {
                texts: share.iter().map(|example| example.input.tokens.ids.as_slice()).collect(),
                beside: &[],
            })
            .collect();
        let lose = |at: usize, pass: &Pass| {
            let share = shares.get(at).copied().unwrap_or_default();
            tasks.losses(share, pass, course.balance)
        };
        self.step(&parts, course, step, untouched, &lose)
    }

    /// One step: forward and backward of every part in a thread of its own, then the update with the mean of
    /// their gradients.
    pub fn step<F>(
        &mut self,
        parts: &[Part],
        course: &Course,
        step: Step,
        untouched: &mut BTreeSet<String>,
        lose: &F,
    ) -> Result<Losses, LearningError>
    where
        F: Fn(usize, &Pass) -> Result<(Vec<Tensor>, Losses), LearningError> + Sync,
    {
        let this = &*self;
        let pulls: Vec<Result<Pull, LearningError>> = std::thread::scope(|scope| {
            let later: Vec<_> = parts
                .iter()
                .enumerate()
                .skip(1)
                .map(|(at, part)| scope.spawn(move || this.pull(at, part, course, lose)))
                .collect();
            let first = parts.first().map(|part| this.pull(0, part, course, lose));
            let later = later.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(LearningError::Broken("a thread broke off".to_owned())))
            });
            first.into_iter().chain(later).collect()
        });
        let pulls: Vec<Pull> = pulls.into_iter().collect::<Result<_, _>>()?;
        let threads = parts.len();
        let sums = in_threads(threads, self.variables.keys().collect(), |name| summed(name, &pulls))?;
        let (ids, words, losses) = shared(&pulls, self.width);
        let mut square = squares(&words);
        let mut gradients = Vec::new();
        for (name, gradient, size) in sums.into_iter().flatten() {
            if size > 0.0 {
                untouched.remove(name);
            }
            square += size;
            gradients.push((name.clone(), gradient));
        }
        if !square.is_finite() {
            return Err(LearningError::Broken(format!("the gradient of step {} is not finite", step.number)));
        }
        let step = Step { scale: (course.clip / square.sqrt().max(1e-12)).min(1.0) as f32, ..step };
        in_threads(threads, gradients, |(name, gradient)| {
            let Some((variable, moments)) = self.variables.get(&name) else { return Ok(()) };
            // The retrieval projection starts where it should stay near: at the identity.
            let slow = name.starts_with("encoder.") || name.starts_with(RETRIEVAL);
            let factor = if slow { 1.0 } else { course.head_factor };
            let decay = if name.ends_with(".bias") || name.contains("norm") { 0.0 } else { step.decay };
            let step = Step { rate: step.rate * factor, decay, ..step };
            Ok(adamw::apply(step, variable, &gradient, moments)?)
        })?;
        self.move_words(&ids, &words, step);
        Ok(losses)
    }

    /// Forward and backward of one part.
    fn pull<F>(&self, at: usize, part: &Part, course: &Course, lose: &F) -> Result<Pull, LearningError>
    where
        F: Fn(usize, &Pass) -> Result<(Vec<Tensor>, Losses), LearningError>,
    {
        let (batch, ids) = packed(part);
        let mut rows = Vec::with_capacity(ids.len() * self.width);
        for id in &ids {
            rows.extend_from_slice(row(&self.words, *id, self.width)?);
        }
        let words = Var::from_vec(rows, (ids.len(), self.width), &Device::Cpu)?;
        let strain = Strain { dropout: course.dropout.of_part(at), eight_bit: course.eight_bit };
        let round = |tensor: &Tensor| -> Result<Tensor, LearningError> {
            let matrix = course.eight_bit && tensor.rank() == 2;
            Ok(if matrix { ops::eight_bit(tensor)? } else { tensor.clone() })
        };
        let mut weights = Weights::new();
        for (name, (variable, _)) in &self.variables {
            weights.insert(name.clone(), round(variable.as_tensor())?);
        }
        let table = round(words.as_tensor())?;
        weights.insert(MiniLm::WORDS.to_owned(), table.clone());
        let hidden = MiniLm::new(&weights)?.forward(&table, &batch, strain)?;
        let pass = Pass { weights, batch, hidden, words: table, ids };
        let (scalars, losses) = lose(at, &pass)?;
        let total = scalars
            .into_iter()
            .map(Ok)
            .reduce(|sum: Result<Tensor, candle_core::Error>, part| sum? + part?)
            .ok_or_else(|| LearningError::Broken("a batch has nothing to learn".to_owned()))??;
        let grads = total.backward()?;
        let mut variables = BTreeMap::new();
        for (name, (variable, _)) in &self.variables {
            if let Some(gradient) = grads.get(variable) {
                variables.insert(name.clone(), gradient.contiguous()?);
            }
        }
        let words = match grads.get(&words) {
            Some(gradient) => gradient.flatten_all()?.to_vec1()?,
            None => vec![0.0; pass.ids.len() * self.width],
        };
        Ok(Pull { variables, ids: pass.ids, words, losses })
    }

    fn move_words(&mut self, ids: &[u32], gradient: &[f32], step: Step) {
        let width = self.width;
        for (id, gradient) in ids.iter().zip(gradient.chunks_exact(width)) {
            let place = *id as usize * width..(*id as usize + 1) * width;
            let moments = &mut self.word_moments;
            if let (Some(w), Some(m), Some(v)) = (
                self.words.get_mut(place.clone()),
                moments.first.get_mut(place.clone()),
                moments.second.get_mut(place),
            ) {
                adamw::update(step, w, gradient, m, v);
            }
        }
    }

    /// The names of all variables.
    pub fn names(&self) -> BTreeSet<String> {
        self.variables.keys().cloned().collect()
    }
}

/// Does `work` with every item, the items shared out in turn; results come in the order of the items.
fn in_threads<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, LearningError> + Sync,
) -> Result<Vec<R>, LearningError> {
    let mut shares: Vec<Vec<(usize, T)>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
    let count = shares.len();
    for (at, item) in items.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(at % count) {
            share.push((at, item));
        }
    }
    let work = &work;
    let done: Vec<Result<Vec<(usize, R)>, LearningError>> = std::thread::scope(|scope| {
        let run = move |share: Vec<(usize, T)>| {
            share.into_iter().map(|(at, item)| Ok((at, work(item)?))).collect::<Result<Vec<_>, _>>()
        };
        let running: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || run(share))).collect();
        running
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(LearningError::Broken("a thread broke off".to_owned())))
            })
            .collect()
    });
    let mut done: Vec<(usize, R)> =
        done.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The mean gradient of one variable over the parts, with the sum of its squares; `None` where no part
/// pulled at it.
fn summed<'a>(name: &'a String, pulls: &[Pull]) -> Result<Option<(&'a String, Tensor, f64)>, LearningError> {
    let found: Vec<&Tensor> = pulls.iter().filter_map(|pull| pull.variables.get(name)).collect();
    let Some((first, rest)) = found.split_first() else { return Ok(None) };
    let mut sum = (*first).clone();
    for other in rest {
        sum = (sum + *other)?;
    }
    if pulls.len() > 1 {
        sum = (sum / pulls.len() as f64)?;
    }
    let square = ops::with_values(&sum, |g| Ok(squares(g)))?;
    Ok(Some((name, sum, square)))
}

/// Word vectors' mean gradients in the order of their pieces, so that sums do not depend on how threads were
/// scheduled, and the mean losses.
fn shared(pulls: &[Pull], width: usize) -> (Vec<u32>, Vec<f32>, Losses) {
    let share = 1.0 / pulls.len().max(1) as f64;
    let mut words: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
    let mut losses = Losses::default();
    for pull in pulls {
        for (id, row) in pull.ids.iter().zip(pull.words.chunks_exact(width)) {
            let sum = words.entry(*id).or_insert_with(|| vec![0.0; width]);
            sum.iter_mut().zip(row).for_each(|(sum, g)| *sum += g * share as f32);
        }
        losses.add(&pull.losses, share);
    }
    let (ids, rows): (Vec<u32>, Vec<Vec<f32>>) = words.into_iter().unzip();
    (ids, rows.concat(), losses)
}

/// The texts with rows that count the distinct pieces from 0, and which piece each row is.
fn packed(part: &Part) -> (Packed, Vec<u32>) {
    let mut rows: HashMap<u32, u32> = HashMap::new();
    let mut ids = Vec::new();
    let mut row = |id: u32| {
        *rows.entry(id).or_insert_with(|| {
            ids.push(id);
            ids.len() as u32 - 1
        })
    };
    let texts: Vec<Vec<u32>> =
        part.texts.iter().map(|text| text.iter().map(|id| row(*id)).collect()).collect();
    part.beside.iter().for_each(|id| {
        row(*id);
    });
    (Packed::new(texts.iter().map(Vec::as_slice)), ids)
}

fn row(table: &[f32], id: u32, width: usize) -> Result<&[f32], LearningError> {
    let from = id as usize * width;
    table.get(from..from + width).ok_or_else(|| {
        LearningError::Broken(format!("piece {id} has no vector: tokenizer and model do not fit"))
    })
}

fn squares(values: &[f32]) -> f64 {
    values.chunks(4096).map(|chunk| f64::from(chunk.iter().map(|v| v * v).sum::<f32>())).sum()
}

/// The published BERT weights under our names; queries, keys and values become one matrix.
pub fn base_weights(file: &Path) -> Result<Weights, LearningError> {
    let remedy = "run `make base-model`";
    let bytes = std::fs::read(file).map_err(|error| LearningError::file(file, error, remedy))?;
    let base = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    let get = |name: &str| {
        base.get(name)
            .cloned()
            .ok_or_else(|| LearningError::file(file, format!("`{name}` is missing"), remedy))
    };
    let mut weights = Weights::new();
    weights.insert(MiniLm::WORDS.to_owned(), get("embeddings.word_embeddings.weight")?);
    weights.insert("encoder.positions".to_owned(), get("embeddings.position_embeddings.weight")?);
    weights.insert("encoder.types".to_owned(), get("embeddings.token_type_embeddings.weight")?);
    let parts = ["weight", "bias"];
    for part in parts {
        weights.insert(format!("encoder.norm.{part}"), get(&format!("embeddings.LayerNorm.{part}"))?);
    }
    let mut layer = 0;
    while base.contains_key(&format!("encoder.layer.{layer}.output.dense.weight")) {
        for part in parts {
            let of = |name: &str| get(&format!("encoder.layer.{layer}.{name}.{part}"));
            let qkv = [of("attention.self.query")?, of("attention.self.key")?, of("attention.self.value")?];
            let mut put =
                |name: &str, tensor: Tensor| weights.insert(format!("encoder.{layer}.{name}.{part}"), tensor);
            put("qkv", Tensor::cat(&qkv, 0)?);
            put("out", of("attention.output.dense")?);
            put("attention_norm", of("attention.output.LayerNorm")?);
            put("up", of("intermediate.dense")?);
            put("down", of("output.dense")?);
            put("norm", of("output.LayerNorm")?);
        }
        layer += 1;
    }
    Ok(weights)
}

/// A matrix of small random numbers with mean 0 and the standard deviation `scale`.
pub(super) fn small(
    rows: usize,
    columns: usize,
    scale: f32,
    rng: &mut StdRng,
) -> Result<Tensor, LearningError> {
    // The sum of four uniform numbers is normal enough.
    let mut draw = || (0..4).map(|_| rng.random::<f32>() - 0.5).sum::<f32>() * 1.732 * scale;
    let values: Vec<f32> = (0..rows * columns).map(|_| draw()).collect();
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// Small random heads where there are none yet; the retrieval projection starts as the identity.
fn fresh_heads(
    weights: &mut Weights,
    tasks: &Tasks,
    width: usize,
    rng: &mut StdRng,
) -> Result<(), LearningError> {
    for (name, rows, columns, scale) in tasks.heads(width) {
        let weight = small(rows, columns, scale, rng)?;
        let known = weights.get(&format!("{name}.weight")).is_some_and(|old| old.dims() == [rows, columns]);
        if !known {
            weights.insert(format!("{name}.weight"), weight);
            let bias = Tensor::zeros(rows, candle_core::DType::F32, &Device::Cpu)?;
            weights.insert(format!("{name}.bias"), bias);
        }
    }
    if !weights.contains_key(&format!("{RETRIEVAL}.weight")) {
        let identity = Tensor::eye(width, candle_core::DType::F32, &Device::Cpu)?;
        weights.insert(format!("{RETRIEVAL}.weight"), identity);
        let bias = Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu)?;
        weights.insert(format!("{RETRIEVAL}.bias"), bias);
    }
    Ok(())
}

#[cfg(test)]
#[path = "student_tests.rs"]
mod tests;
