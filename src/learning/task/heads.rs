//! The two heads of a task, their losses, and what they find in a message.

use super::declare::{Kind, Recipe};
use super::figures::{Count, Outcome};
use super::lines::{Line, Value};
use crate::learning::error::LearningError;
use crate::learning::loss;
use crate::learning::student::{Pass, small};
use crate::learning::tasks::{Losses, by_rows};
use crate::understanding::encoder::{MiniLm, Packed, Weights, ops};
use crate::understanding::heads::{self, spans};
use crate::understanding::model::Input;
use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// The head over the mean of a message's vectors: one row an intent.
pub const INTENTS: &str = "task.intents";
/// The group name under which `heads::spans` finds the head over words.
pub const SLOTS: &str = "task";

/// What the heads' rows stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    pub kind: Kind,
    pub intents: Vec<String>,
    pub slots: Vec<String>,
}

impl Labels {
    /// All labels of these lines, in the order of their names.
    pub fn of<'a>(kind: Kind, lines: impl Iterator<Item = &'a Line>) -> Self {
        let (mut intents, mut slots) = (BTreeSet::new(), BTreeSet::new());
        for line in lines {
            intents.extend(line.intents.iter().cloned());
            slots.extend(line.values.iter().map(|value| value.slot.clone()));
        }
        Self { kind, intents: intents.into_iter().collect(), slots: slots.into_iter().collect() }
    }

    /// Puts fresh heads beside the trunk in `weights`.
    pub fn begin(&self, weights: &mut Weights, seed: u64) -> Result<(), LearningError> {
        let width = weights.get(MiniLm::WORDS).map_or(Ok(0), |words| words.dim(1))?;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut put = |name: &str, rows: usize, columns: usize, scale: f32| -> Result<(), LearningError> {
            weights.insert(format!("{name}.weight"), small(rows, columns, scale, &mut rng)?);
            weights.insert(format!("{name}.bias"), Tensor::zeros(rows, DType::F32, &Device::Cpu)?);
            Ok(())
        };
        if !self.intents.is_empty() {
            put(INTENTS, self.intents.len(), width, 0.02)?;
        }
        if !self.slots.is_empty() {
            put(&format!("spans.{SLOTS}.hidden"), spans::HIDDEN, width + spans::SHAPE, 0.05)?;
            put(&format!("spans.{SLOTS}.labels"), spans::labels(self.slots.len()), spans::HIDDEN, 0.1)?;
        }
        Ok(())
    }
}

impl Labels {
    /// Lets the heads begin with how frequent each label is, instead of half and half: the first steps would
    /// go into nothing else, and through the trunk (Lin et al. 2017, section 4.1).
    pub fn expect(&self, weights: &mut Weights, examples: &[Example]) -> Result<(), LearningError> {
        let mut intents = vec![0.5; self.intents.len()];
        let mut words = vec![0.5; spans::labels(self.slots.len())];
        for example in examples {
            let goals = example.goals.iter().map(|goal| f32::from(u8::from(*goal)));
            intents.iter_mut().zip(goals).for_each(|(sum, goal)| *sum += goal);
            for label in &example.words {
                words.get_mut(*label).into_iter().for_each(|sum| *sum += 1.0);
            }
        }
        let lines = examples.len() as f32 + 1.0;
        let several = self.kind == Kind::Several;
        intents.iter_mut().for_each(|n| *n = (*n / if several { lines - *n } else { lines }).ln());
        let all: f32 = words.iter().sum();
        words.iter_mut().for_each(|n| *n = (*n / all).ln());
        for (name, bias) in [(INTENTS.to_owned(), intents), (format!("spans.{SLOTS}.labels"), words)] {
            if let Some(slot) = weights.get_mut(&format!("{name}.bias")) {
                let n = bias.len();
                *slot = Tensor::from_vec(bias, n, &Device::Cpu)?;
            }
        }
        Ok(())
    }
}

/// A line as the heads see it.
pub struct Example {
    pub input: Input,
    /// For every intent whether the message has it.
    goals: Vec<bool>,
    /// The label of every word.
    words: Vec<usize>,
}

impl Example {
    pub fn of(line: &Line, input: Input, labels: &Labels) -> Self {
        let goals = labels.intents.iter().map(|intent| line.intents.contains(intent)).collect();
        let mut words = vec![0; input.tokens.words.len()];
        for value in &line.values {
            let Some(slot) = labels.slots.iter().position(|slot| *slot == value.slot) else { continue };
            spans::mark(&mut words, &input.tokens.words, slot, value.start..value.end);
        }
        Self { input, goals, words }
    }
}

/// The rows of every word of a batch, and the shapes of all of them.
type Words = (Vec<Range<usize>>, Tensor);

/// `None` where the batch has no word.
fn words(inputs: &[&Input], batch: &Packed) -> Result<Option<Words>, LearningError> {
    let of = |(input, start): (&&Input, &usize)| {
        let places = input.tokens.words.iter().map(|word| &word.pieces);
        places.map(|pieces| start + pieces.start..start + pieces.end).collect::<Vec<_>>()
    };
    let places: Vec<Range<usize>> = inputs.iter().zip(batch.starts.iter()).flat_map(of).collect();
    if places.is_empty() {
        return Ok(None);
    }
    let shapes: Vec<f32> = inputs.iter().flat_map(|input| input.shapes.iter().copied()).collect();
    let shapes = Tensor::from_vec(shapes, (places.len(), spans::SHAPE), &Device::Cpu)?;
    Ok(Some((places, shapes)))
}

/// Scalars whose gradients are those of the losses; `intent` and `spans` are the losses themselves. The loss
/// of a message's intents is a sum over them, that of its words a mean.
pub fn losses(
    examples: &[Example],
    pass: &Pass,
    labels: &Labels,
    recipe: &Recipe,
) -> Result<(Vec<Tensor>, Losses), LearningError> {
    let (mut parts, mut losses) = (Vec::new(), Losses::default());
    if !labels.intents.is_empty() {
        let pooled = ops::means(&pass.hidden, pass.batch.sequences())?;
        let logits = heads::apply(&pass.weights, INTENTS, &pooled)?;
        let scale = 1.0 / examples.len().max(1) as f64;
        losses.intent = by_rows(&logits, true, &mut parts, |at, row, out| {
            let Some(goals) = examples.get(at).map(|example| &example.goals) else { return 0.0 };
            match (labels.kind, goals.iter().position(|goal| *goal)) {
                (Kind::One, Some(goal)) => loss::choice(row, goal, 0.0, scale, out),
                (Kind::One, None) => 0.0,
                (Kind::Several, _) => {
                    let each = row.iter().zip(goals).zip(out);
                    each.map(|((logit, goal), out)| loss::yes_or_no(*logit, *goal, scale, out)).sum()
                }
            }
        })?;
    }
    let inputs: Vec<&Input> = examples.iter().map(|example| &example.input).collect();
    if let (false, Some((places, shapes))) = (labels.slots.is_empty(), words(&inputs, &pass.batch)?) {
        let goals: Vec<usize> = examples.iter().flat_map(|example| example.words.iter().copied()).collect();
        let scale = recipe.slots / places.len() as f64;
        let logits = spans::logits(&pass.weights, SLOTS, &ops::means(&pass.hidden, places)?, &shapes)?;
        losses.spans = by_rows(&logits, true, &mut parts, |at, row, out| match goals.get(at) {
            Some(goal) => loss::choice(row, *goal, 0.0, scale, out),
            None => 0.0,
        })?;
    }
    Ok((parts, losses))
}

/// What stands in a message, as far as the heads can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub intents: BTreeSet<String>,
    pub values: Vec<Value>,
}

/// Trunk and heads that read messages.
pub struct Reader<'a> {
    encoder: MiniLm,
    weights: &'a Weights,
    labels: &'a Labels,
    threshold: f64,
}

impl<'a> Reader<'a> {
    pub fn new(weights: &'a Weights, labels: &'a Labels, threshold: f64) -> Result<Self, LearningError> {
        Ok(Self { encoder: MiniLm::new(weights)?, weights, labels, threshold })
    }

    pub fn read(&self, inputs: &[&Input]) -> Result<Vec<Found>, LearningError> {
        let batch = Packed::new(inputs.iter().map(|input| input.tokens.ids.as_slice()));
        let mut found = vec![Found::default(); inputs.len()];
        if inputs.is_empty() {
            return Ok(found);
        }
        let hidden = self.encoder.vectors(&batch)?;
        if !self.labels.intents.is_empty() {
            let pooled = ops::means(&hidden, batch.sequences())?;
            let rows: Vec<Vec<f32>> = heads::apply(self.weights, INTENTS, &pooled)?.to_vec2()?;
            found.iter_mut().zip(rows).for_each(|(found, row)| found.intents = self.intents(&row));
        }
        if let (false, Some((places, shapes))) = (self.labels.slots.is_empty(), words(inputs, &batch)?) {
            let logits = spans::logits(self.weights, SLOTS, &ops::means(&hidden, places)?, &shapes)?;
            let mut rows = logits.to_vec2::<f32>()?.into_iter();
            for (found, input) in found.iter_mut().zip(inputs) {
                let own: Vec<f32> = rows.by_ref().take(input.tokens.words.len()).flatten().collect();
                found.values = self.values(&own, input);
            }
        }
        Ok(found)
    }

    fn intents(&self, row: &[f32]) -> BTreeSet<String> {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let counts = |logit: f32| match self.labels.kind {
            Kind::One => logit >= highest,
            Kind::Several => 1.0 / (1.0 + (-f64::from(logit)).exp()) >= self.threshold,
        };
        let named = row.iter().zip(&self.labels.intents).filter(|(logit, _)| counts(**logit));
        named.map(|(_, name)| name.clone()).collect()
    }

    fn values(&self, logits: &[f32], input: &Input) -> Vec<Value> {
        let spans = spans::decode(logits, self.labels.slots.len(), 0.0, 1.0);
        let value = |span: spans::Span| {
            let (start, end) = input.place(span.words)?;
            Some(Value { slot: self.labels.slots.get(span.field)?.clone(), start, end })
        };
        spans.into_iter().filter_map(value).collect()
    }
}

/// Compares what was found in a message with what stands in it.
pub fn outcome(found: &Found, line: &Line, labels: &Labels) -> Outcome {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let intents = Count {
        right: number(found.intents.intersection(&line.intents).count()),
        found: number(found.intents.len()),
        wanted: number(line.intents.len()),
    };
    let of = |slot: &String| {
        let own = |values: &[Value]| number(values.iter().filter(|value| value.slot == *slot).count());
        let right = found.values.iter().filter(|value| value.slot == *slot && line.values.contains(value));
        Count { right: number(right.count()), found: own(&found.values), wanted: own(&line.values) }
    };
    let by_slot: Vec<Count> = labels.slots.iter().map(of).collect();
    Outcome { intents, slots: by_slot.iter().copied().sum(), by_slot }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(intents: &[&str], values: &[(&str, usize, usize)]) -> Line {
        let value = |(slot, start, end): &(&str, usize, usize)| Value {
            slot: (*slot).to_owned(),
            start: *start,
            end: *end,
        };
        Line {
            text: String::new(),
            intents: intents.iter().map(|intent| (*intent).to_owned()).collect(),
            values: values.iter().map(value).collect(),
        }
    }

    #[test]
    fn heads_begin_with_how_frequent_labels_are() {
        let example = |yes: bool| Example {
            input: Input { tokens: Default::default(), shapes: Vec::new() },
            goals: vec![yes],
            words: vec![0, usize::from(yes)],
        };
        let examples = [example(true), example(false), example(false), example(false)];
        let one = |text: &str| vec![text.to_owned()];
        let labels = Labels { kind: Kind::Several, intents: one("a"), slots: one("b") };
        let zeros = |n: usize| Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap();
        let names = [INTENTS.to_owned() + ".bias", format!("spans.{SLOTS}.labels.bias")];
        let mut weights = Weights::from([(names[0].clone(), zeros(1)), (names[1].clone(), zeros(3))]);
        labels.expect(&mut weights, &examples).unwrap();
        let bias = |at: usize| weights[&names[at]].to_vec1::<f32>().unwrap();
        assert!((bias(0)[0] - (1.5_f32 / 3.5).ln()).abs() < 1e-6);
        let words: f32 = bias(1).iter().map(|log| log.exp()).sum();
        assert!((words - 1.0).abs() < 1e-6 && (bias(1)[0] - (7.5_f32 / 9.5).ln()).abs() < 1e-6);
    }

    #[test]
    fn a_value_with_another_end_or_slot_is_wrong_and_missed() {
        let want = line(&["a", "b"], &[("day", 0, 3), ("name", 5, 9)]);
        let labels = Labels::of(Kind::Several, std::iter::once(&want));
        let got = line(&["b", "c"], &[("day", 0, 3), ("name", 5, 8), ("day", 5, 9)]);
        let found = Found { intents: got.intents, values: got.values };
        let outcome = outcome(&found, &want, &labels);
        assert_eq!(outcome.intents, Count { right: 1, found: 2, wanted: 2 });
        assert_eq!(outcome.slots, Count { right: 1, found: 3, wanted: 2 });
        assert_eq!(
            outcome.by_slot,
            [Count { right: 1, found: 2, wanted: 1 }, Count { right: 0, found: 1, wanted: 1 }]
        );
    }
}
