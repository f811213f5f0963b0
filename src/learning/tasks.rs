//! What a batch of lines is to teach: the losses of all heads over one pass of the encoder.

use super::datasets::{Line, Target, Tone};
use super::error::LearningError;
use super::loss::{self, IntentGoal};
use super::student::Pass;
use crate::understanding::encoder::{Packed, ops};
use crate::understanding::heads::RETRIEVAL;
use crate::understanding::heads::{self, intent, segments, spans, tone};
use crate::understanding::model::Input;
use crate::understanding::{Dag, Extraction};
use candle_core::{Device, Tensor};
use std::ops::Range;

/// How much each part of the loss counts.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Balance {
    pub smoothing: f64,
    pub parent: f64,
    pub spans: f64,
    pub tone: f64,
    pub retrieval: f64,
    pub segments: f64,
    /// Part of the intent loss that follows the teachers, 0..1, on lines that they have read.
    pub teachers: f64,
}

/// Losses of one batch, means over what each is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub intent: f64,
    pub spans: f64,
    pub tone: f64,
    pub retrieval: f64,
    pub segments: f64,
}

impl Losses {
    /// Adds a share of other losses.
    pub fn add(&mut self, other: &Self, share: f64) {
        self.intent += other.intent * share;
        self.spans += other.spans * share;
        self.tone += other.tone * share;
        self.retrieval += other.retrieval * share;
        self.segments += other.segments * share;
    }
}

/// One text of a batch with everything that is to be said about it.
pub struct Example<'a> {
    pub input: Input,
    /// What the whole text is about.
    pub target: Option<Target>,
    /// Runs of words with a concern of their own. The whole text has a target beside them only where all but
    /// one are orders to the system, which change nothing.
    pub concerns: Vec<(Range<usize>, Target)>,
    /// For every word whether a new concern begins with it, where that is known.
    pub boundaries: Vec<Option<bool>>,
    pub tone: Option<Tone>,
    /// For every group the label of every word; `None` where the line says nothing about the group.
    pub labels: Vec<Option<Vec<usize>>>,
    /// The vector that retrieval is to keep.
    pub meaning: Option<&'a [f32]>,
    /// What the teachers say about the whole text, by leaf; sums to 1.
    pub taught: Option<&'a [f32]>,
}

impl Example<'_> {
    /// The whole of a line about one thing, with nothing marked.
    pub fn of(line: &Line, input: Input) -> Self {
        let boundaries = (0..input.tokens.words.len()).map(|_| None).collect();
        Self {
            input,
            target: line.target.clone(),
            concerns: Vec::new(),
            boundaries,
            tone: line.tone,
            labels: Vec::new(),
            meaning: None,
            taught: None,
        }
    }
}

/// The heads and what they are for.
#[derive(Clone, Debug)]
pub struct Tasks {
    shape: intent::Shape,
    /// Group id and number of fields.
    groups: Vec<(String, usize)>,
}

impl Tasks {
    pub fn of(dag: &Dag, extraction: &Extraction) -> Self {
        let groups = extraction.groups.iter().map(|g| (g.id.clone(), g.fields.len())).collect();
        Self { shape: intent::Shape::of(dag), groups }
    }

    /// No heads: the trunk alone.
    pub fn none() -> Self {
        let shape = intent::Shape { parents: 0, leaves: 0, edges: Vec::new(), children: Vec::new() };
        Self { shape, groups: Vec::new() }
    }

    /// Name, rows and columns of every head's matrices, with the width of their random beginnings.
    pub fn heads(&self, width: usize) -> Vec<(String, usize, usize, f32)> {
        if self.shape.width() == 0 {
            return Vec::new();
        }
        let mut heads = vec![
            (intent::NAME.to_owned(), self.shape.width(), width, 0.02),
            (tone::NAME.to_owned(), tone::WIDTH, width, 0.02),
        ];
        let mut span_head = |id: &str, labels: usize| {
            heads.push((format!("spans.{id}.hidden"), spans::HIDDEN, width + spans::SHAPE, 0.05));
            heads.push((format!("spans.{id}.labels"), labels, spans::HIDDEN, 0.1));
        };
        for (id, fields) in &self.groups {
            span_head(id, spans::labels(*fields));
        }
        span_head(segments::NAME, 1);
        heads
    }

    /// Scalars whose gradients are those of the losses, and the losses themselves.
    pub fn losses(
        &self,
        examples: &[Example],
        pass: &Pass,
        balance: Balance,
    ) -> Result<(Vec<Tensor>, Losses), LearningError> {
        let weights = &pass.weights;
        let pooled = ops::means(&pass.hidden, pass.batch.sequences())?;
        let mut parts = Vec::new();
        let mut losses = Losses::default();
        self.intents(examples, pass, &pooled, balance, &mut parts, &mut losses)?;
        tones(examples, &heads::apply(weights, tone::NAME, &pooled)?, balance, &mut parts, &mut losses)?;
        meanings(examples, &heads::apply(weights, RETRIEVAL, &pooled)?, balance, &mut parts, &mut losses)?;
        let (words, shapes, origin) = marked_words(examples, &pass.batch);
        if !words.is_empty() {
            let shapes = Tensor::from_vec(shapes, (words.len(), spans::SHAPE), &Device::Cpu)?;
            let pooled = ops::means(&pass.hidden, words)?;
            let words = [&pooled, &shapes];
            losses.spans = self.spans(examples, &origin, pass, words, balance, &mut parts)?;
            losses.segments = boundaries(examples, &origin, pass, words, balance, &mut parts)?;
        }
        Ok((parts, losses))
    }

    /// Whole texts and marked concerns are rows of one matrix: the head sees no difference.
    fn intents(
        &self,
        examples: &[Example],
        pass: &Pass,
        pooled: &Tensor,
        balance: Balance,
        parts: &mut Vec<Tensor>,
        losses: &mut Losses,
    ) -> Result<(), LearningError> {
        let mut goals: Vec<(Option<&Target>, Option<&[f32]>)> =
            examples.iter().map(|example| (example.target.as_ref(), example.taught)).collect();
        let mut places = Vec::new();
        for (example, start) in examples.iter().zip(pass.batch.starts.iter()) {
            for (words, target) in &example.concerns {
                let word = |at: usize| example.input.tokens.words.get(at);
                if let (Some(first), Some(last)) = (word(words.start), word(words.end.saturating_sub(1))) {
                    places.push(start + first.pieces.start..start + last.pieces.end);
                    goals.push((Some(target), None));
                }
            }
        }
        let rows = if places.is_empty() {
            pooled.clone()
        } else {
            Tensor::cat(&[pooled, &ops::means(&pass.hidden, places)?], 0)?
        };
        let logits = heads::apply(&pass.weights, intent::NAME, &rows)?;
        let count = goals.iter().filter(|(target, _)| target.is_some()).count();
        let scale = 1.0 / count.max(1) as f64;
        losses.intent = by_rows(&logits, count > 0, parts, |at, row, out| {
            let Some((Some(target), taught)) = goals.get(at) else { return 0.0 };
            let goal = IntentGoal {
                leaf: target.leaf,
                parent: target.parent,
                against: &target.against,
                smoothing: balance.smoothing,
                parent_weight: balance.parent,
                taught: taught.map(|taught| (taught, balance.teachers)),
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
        pass: &Pass,
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
            let logits = spans::logits(&pass.weights, id, pooled, shapes)?;
            let scale = balance.spans / known as f64;
            total += by_rows(&logits, true, parts, |row, values, out| match label(row) {
                Some(label) => loss::choice(values, label, 0.0, scale, out),
                None => 0.0,
            })?;
        }
        Ok(total)
    }
}

fn boundaries(
    examples: &[Example],
    origin: &[(usize, usize)],
    pass: &Pass,
    words: [&Tensor; 2],
    balance: Balance,
    parts: &mut Vec<Tensor>,
) -> Result<f64, LearningError> {
    let goal = |row: usize| {
        let (example, word) = origin.get(row)?;
        *examples.get(*example)?.boundaries.get(*word)?
    };
    let known = (0..origin.len()).filter(|row| goal(*row).is_some()).count();
    if known == 0 || balance.segments == 0.0 {
        return Ok(0.0);
    }
    let scale = balance.segments / known as f64;
    let logits = segments::logits(&pass.weights, words[0], words[1])?;
    by_rows(&logits, true, parts, |row, values, out| match (goal(row), values.first(), out.first_mut()) {
        (Some(goal), Some(logit), Some(out)) => loss::yes_or_no(*logit, goal, scale, out),
        _ => 0.0,
    })
}

/// Of every word: its pieces in the batch, its shape, and (example, word).
type Marked = (Vec<Range<usize>>, Vec<f32>, Vec<(usize, usize)>);

/// The words of the texts that have marks or boundaries.
fn marked_words(examples: &[Example], batch: &Packed) -> Marked {
    let (mut places, mut shapes, mut origin) = (Vec::new(), Vec::new(), Vec::new());
    for ((at, example), start) in examples.iter().enumerate().zip(batch.starts.iter()) {
        if example.labels.iter().all(Option::is_none) && example.boundaries.iter().all(Option::is_none) {
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
pub fn by_rows(
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
    let count = examples.iter().filter(|example| example.tone.is_some()).count();
    let scale = balance.tone / count.max(1) as f64;
    losses.tone = by_rows(logits, count > 0, parts, |at, row, out| {
        let Some(Tone { urgency, sentiment, wants_human }) = examples.get(at).and_then(|e| e.tone) else {
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
