//! The model while it learns: variables, their moments, and the loss of a batch.

use super::adamw::{self, Moments, Step};
use super::datasets::{Line, Tone};
use super::error::LearningError;
use super::loss::{self, IntentGoal};
use crate::understanding::encoder::{Dropout, MiniLm, Packed, Weights, ops};
use crate::understanding::heads::{self, intent, spans, tone};
use crate::understanding::model::{Input, RETRIEVAL};
use crate::understanding::{Dag, Extraction};
use candle_core::{Device, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

/// How much each part of the loss counts.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Balance {
    pub smoothing: f64,
    pub parent: f64,
    pub spans: f64,
    pub tone: f64,
    pub retrieval: f64,
}

/// How a step is taken.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub balance: Balance,
    /// Heads learn this many times faster than the trunk.
    pub head_factor: f32,
    /// Longer gradients are cut to this length.
    pub clip: f64,
    pub dropout: Dropout,
}

/// Losses of one batch, means over what each is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub intent: f64,
    pub spans: f64,
    pub tone: f64,
    pub retrieval: f64,
}

/// One text of a batch with everything that is to be said about it.
pub struct Example<'a> {
    pub input: Input,
    pub line: &'a Line,
    /// For every group the label of every word; `None` where the line says nothing about the group.
    pub labels: Vec<Option<Vec<usize>>>,
    /// The vector that retrieval is to keep.
    pub meaning: Option<&'a [f32]>,
}

pub struct Student {
    variables: BTreeMap<String, (Var, Mutex<Moments>)>,
    /// The table of word vectors; only rows that occur in a batch take part in a step.
    words: Vec<f32>,
    word_moments: Moments,
    width: usize,
    shape: intent::Shape,
    groups: Vec<(String, usize)>,
}

impl Student {
    /// The base model with fresh heads. `file` is a model.safetensors in the names of the published BERT.
    pub fn new(file: &Path, dag: &Dag, extraction: &Extraction, seed: u64) -> Result<Self, LearningError> {
        let mut weights = base_weights(file)?;
        let words = weights.remove(MiniLm::WORDS).ok_or_else(|| {
            LearningError::file(file, "the word vectors are missing", "run `make base-model`")
        })?;
        let (_, width) = words.dims2()?;
        let shape = intent::Shape::of(dag);
        let groups: Vec<_> = extraction.groups.iter().map(|g| (g.id.clone(), g.fields.len())).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        fresh_heads(&mut weights, width, &shape, &groups, &mut rng)?;
        let words: Vec<f32> = words.flatten_all()?.to_vec1()?;
        let mut variables = BTreeMap::new();
        for (name, tensor) in weights {
            let moments = Mutex::new(Moments::zero(tensor.elem_count()));
            variables.insert(name, (Var::from_tensor(&tensor)?, moments));
        }
        let word_moments = Moments::zero(words.len());
        Ok(Self { variables, words, word_moments, width, shape, groups })
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

    /// Starts from weights that were trained before, with fresh moments.
    pub fn begin(&mut self, weights: &Weights) -> Result<(), LearningError> {
        let get = |name: &str| {
            weights
                .get(name)
                .ok_or_else(|| LearningError::Broken(format!("the weights to start from lack `{name}`")))
        };
        for (name, (variable, _)) in &self.variables {
            variable.set(get(name)?)?;
        }
        self.words = get(MiniLm::WORDS)?.flatten_all()?.to_vec1()?;
        Ok(())
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

    /// One step: forward, backward, update. `untouched` loses the names of the variables that received a
    /// gradient.
    pub fn learn(
        &mut self,
        examples: &[Example],
        course: &Course,
        step: Step,
        untouched: &mut BTreeSet<String>,
    ) -> Result<Losses, LearningError> {
        let (batch, ids) = packed(examples);
        let mut rows = Vec::with_capacity(ids.len() * self.width);
        for id in &ids {
            rows.extend_from_slice(row(&self.words, *id, self.width)?);
        }
        let words = Var::from_vec(rows, (ids.len(), self.width), &Device::Cpu)?;
        let (surrogate, losses) = self.loss(examples, &batch, &words, course)?;
        let grads = surrogate.backward()?;
        let mut found = Vec::new();
        let mut square = 0.0_f64;
        for (name, (variable, moments)) in &self.variables {
            if let Some(gradient) = grads.get(variable) {
                let size = ops::with_values(gradient, |g| Ok(squares(g)))?;
                if size > 0.0 {
                    untouched.remove(name);
                }
                square += size;
                found.push((name, variable, gradient, moments));
            }
        }
        let word_grads: Option<Vec<f32>> = match grads.get(&words) {
            Some(gradient) => Some(gradient.flatten_all()?.to_vec1()?),
            None => None,
        };
        square += word_grads.as_deref().map_or(0.0, squares);
        if !square.is_finite() {
            return Err(LearningError::Broken(format!("the gradient of step {} is not finite", step.number)));
        }
        let step = Step { scale: (course.clip / square.sqrt().max(1e-12)).min(1.0) as f32, ..step };
        for (name, variable, gradient, moments) in found {
            // The retrieval projection starts where it should stay near: at the identity.
            let slow = name.starts_with("encoder.") || name.starts_with(RETRIEVAL);
            let factor = if slow { 1.0 } else { course.head_factor };
            let decay = if name.ends_with(".bias") || name.contains("norm") { 0.0 } else { step.decay };
            adamw::apply(Step { rate: step.rate * factor, decay, ..step }, variable, gradient, moments)?;
        }
        if let Some(gradient) = word_grads {
            self.move_words(&ids, &gradient, step);
        }
        Ok(losses)
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

    /// A scalar whose gradient is the loss's gradient, and the losses themselves.
    fn loss(
        &self,
        examples: &[Example],
        batch: &Packed,
        words: &Var,
        course: &Course,
    ) -> Result<(Tensor, Losses), LearningError> {
        let Course { balance, dropout, .. } = *course;
        let mut weights: Weights = self
            .variables
            .iter()
            .map(|(name, (variable, _))| (name.clone(), variable.as_tensor().clone()))
            .collect();
        weights.insert(MiniLm::WORDS.to_owned(), words.as_tensor().clone());
        let encoder = MiniLm::new(&weights)?;
        let hidden = encoder.forward(words.as_tensor(), batch, dropout)?;
        let pooled = ops::means(&hidden, batch.sequences())?;
        let mut parts = Vec::new();
        let mut losses = Losses::default();
        self.intents(
            examples,
            &heads::apply(&weights, intent::NAME, &pooled)?,
            balance,
            &mut parts,
            &mut losses,
        )?;
        tones(examples, &heads::apply(&weights, tone::NAME, &pooled)?, balance, &mut parts, &mut losses)?;
        meanings(examples, &heads::apply(&weights, RETRIEVAL, &pooled)?, balance, &mut parts, &mut losses)?;
        let (words, shapes, origin) = marked_words(examples, batch);
        if !words.is_empty() {
            let shapes = Tensor::from_vec(shapes, (words.len(), spans::SHAPE), &Device::Cpu)?;
            let pooled = ops::means(&hidden, words)?;
            losses.spans =
                self.spans(examples, &origin, &weights, [&pooled, &shapes], balance, &mut parts)?;
        }
        let mut total: Option<Tensor> = None;
        for part in parts {
            total = Some(match total {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let total = total.ok_or_else(|| LearningError::Broken("a batch has nothing to learn".to_owned()))?;
        Ok((total, losses))
    }

    fn intents(
        &self,
        examples: &[Example],
        logits: &Tensor,
        balance: Balance,
        parts: &mut Vec<Tensor>,
        losses: &mut Losses,
    ) -> Result<(), LearningError> {
        let goals: Vec<_> = examples.iter().map(|example| example.line.target.as_ref()).collect();
        let count = goals.iter().flatten().count();
        let scale = 1.0 / count.max(1) as f64;
        losses.intent = by_rows(logits, count > 0, parts, |at, row, out| {
            let Some(Some(target)) = goals.get(at) else { return 0.0 };
            let goal = IntentGoal {
                leaf: target.leaf,
                parent: target.parent,
                against: &target.against,
                smoothing: balance.smoothing,
                parent_weight: balance.parent,
            };
            loss::intent(&self.shape, row, &goal, scale, out)
        })?;
        Ok(())
    }

    /// `words` are the vectors and the shapes of the words in `origin`, which says (example, word).
    fn spans(
        &self,
        examples: &[Example],
        origin: &[(usize, usize)],
        weights: &Weights,
        words: [&Tensor; 2],
        balance: Balance,
        parts: &mut Vec<Tensor>,
    ) -> Result<f64, LearningError> {
        let [pooled, shapes] = words;
        let mut total = 0.0;
        for (group, (id, _)) in self.groups.iter().enumerate() {
            let label = |row: usize| {
                let (example, word) = origin.get(row)?;
                examples.get(*example)?.labels.get(group)?.as_ref()?.get(*word).copied()
            };
            let known = (0..origin.len()).filter(|row| label(*row).is_some()).count();
            if known == 0 {
                continue;
            }
            let logits = spans::logits(weights, id, pooled, shapes)?;
            let scale = balance.spans / known as f64;
            total += by_rows(&logits, true, parts, |row, values, out| match label(row) {
                Some(label) => loss::choice(values, label, 0.0, scale, out),
                None => 0.0,
            })?;
        }
        Ok(total)
    }
}

/// Of every word: its pieces in the batch, its shape, and (example, word).
type Marked = (Vec<Range<usize>>, Vec<f32>, Vec<(usize, usize)>);

/// The words of the lines that have marks.
fn marked_words(examples: &[Example], batch: &Packed) -> Marked {
    let (mut places, mut shapes, mut origin) = (Vec::new(), Vec::new(), Vec::new());
    for ((at, example), start) in examples.iter().enumerate().zip(batch.starts.iter()) {
        if example.labels.iter().all(Option::is_none) {
            continue;
        }
        for (word, place) in example.input.tokens.words.iter().enumerate() {
            places.push(start + place.pieces.start..start + place.pieces.end);
            origin.push((at, word));
        }
        shapes.extend_from_slice(&example.input.shapes);
    }
    (places, shapes, origin)
}

/// Runs a loss over every row of `logits` and adds the scalar with its gradient to `parts`.
fn by_rows(
    logits: &Tensor,
    counts: bool,
    parts: &mut Vec<Tensor>,
    mut loss: impl FnMut(usize, &[f32], &mut [f32]) -> f64,
) -> Result<f64, LearningError> {
    if !counts {
        return Ok(0.0);
    }
    let (rows, width) = logits.dims2()?;
    let mut gradient = vec![0.0; rows * width];
    let total = ops::with_values(logits, |values| {
        let rows = values.chunks_exact(width).zip(gradient.chunks_exact_mut(width));
        Ok(rows.enumerate().map(|(at, (row, out))| loss(at, row, out)).sum::<f64>())
    })?;
    let gradient = Tensor::from_vec(gradient, (rows, width), &Device::Cpu)?;
    parts.push((logits * gradient)?.sum_all()?);
    Ok(total)
}

fn tones(
    examples: &[Example],
    logits: &Tensor,
    balance: Balance,
    parts: &mut Vec<Tensor>,
    losses: &mut Losses,
) -> Result<(), LearningError> {
    let count = examples.iter().filter(|example| example.line.tone.is_some()).count();
    let scale = balance.tone / count.max(1) as f64;
    losses.tone = by_rows(logits, count > 0, parts, |at, row, out| {
        let Some(Tone { urgency, sentiment, wants_human }) = examples.get(at).and_then(|e| e.line.tone)
        else {
            return 0.0;
        };
        let ((first, rest), (out_first, out_rest)) = (row.split_at(3), out.split_at_mut(3));
        let ((second, last), (out_second, out_last)) = (rest.split_at(3), out_rest.split_at_mut(3));
        let mut sum = loss::choice(first, urgency, 0.1, scale, out_first);
        sum += loss::choice(second, sentiment, 0.1, scale, out_second);
        if let (Some(logit), Some(out)) = (last.first(), out_last.first_mut()) {
            sum += loss::yes_or_no(*logit, wants_human, scale, out);
        }
        sum
    })?;
    Ok(())
}

fn meanings(
    examples: &[Example],
    vectors: &Tensor,
    balance: Balance,
    parts: &mut Vec<Tensor>,
    losses: &mut Losses,
) -> Result<(), LearningError> {
    let count = examples.iter().filter(|example| example.meaning.is_some()).count();
    let scale = balance.retrieval / count.max(1) as f64;
    losses.retrieval = by_rows(vectors, count > 0, parts, |at, row, out| {
        match examples.get(at).and_then(|example| example.meaning) {
            Some(goal) => loss::direction(row, goal, scale, out),
            None => 0.0,
        }
    })?;
    Ok(())
}

/// The batch with rows that count the distinct pieces from 0, and which piece each row is.
fn packed(examples: &[Example]) -> (Packed, Vec<u32>) {
    let mut rows: HashMap<u32, u32> = HashMap::new();
    let mut ids = Vec::new();
    let mut sequences = Vec::new();
    for example in examples {
        let sequence: Vec<u32> = example
            .input
            .tokens
            .ids
            .iter()
            .map(|id| {
                *rows.entry(*id).or_insert_with(|| {
                    ids.push(*id);
                    ids.len() as u32 - 1
                })
            })
            .collect();
        sequences.push(sequence);
    }
    (Packed::new(sequences.iter().map(Vec::as_slice)), ids)
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

/// Small random heads; the retrieval projection starts as the identity.
fn fresh_heads(
    weights: &mut Weights,
    width: usize,
    shape: &intent::Shape,
    groups: &[(String, usize)],
    rng: &mut StdRng,
) -> Result<(), LearningError> {
    let mut head = |name: String, rows: usize, columns: usize, scale: f32| -> Result<(), LearningError> {
        // The sum of four uniform numbers is normal enough.
        let mut draw = || (0..4).map(|_| rng.random::<f32>() - 0.5).sum::<f32>() * 1.732 * scale;
        let values: Vec<f32> = (0..rows * columns).map(|_| draw()).collect();
        weights.insert(format!("{name}.weight"), Tensor::from_vec(values, (rows, columns), &Device::Cpu)?);
        weights.insert(format!("{name}.bias"), Tensor::zeros(rows, candle_core::DType::F32, &Device::Cpu)?);
        Ok(())
    };
    head(intent::NAME.to_owned(), shape.width(), width, 0.02)?;
    head(tone::NAME.to_owned(), tone::WIDTH, width, 0.02)?;
    for (id, fields) in groups {
        head(format!("spans.{id}.hidden"), spans::HIDDEN, width + spans::SHAPE, 0.05)?;
        head(format!("spans.{id}.labels"), spans::labels(*fields), spans::HIDDEN, 0.1)?;
    }
    let identity = Tensor::eye(width, candle_core::DType::F32, &Device::Cpu)?;
    weights.insert(format!("{RETRIEVAL}.weight"), identity);
    weights.insert(format!("{RETRIEVAL}.bias"), Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu)?);
    Ok(())
}

#[cfg(test)]
#[path = "student_tests.rs"]
mod tests;
