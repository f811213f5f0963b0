//! Encoder and heads together: one pass over a batch gives the raw scores of everything.

use super::encoder::{Encoder, MiniLm, Packed, Weights, ops};
use super::heads::{self, intent, segments, spans, tone};
use super::lexicon::Lexicon;
use super::tokens::{Tokenized, Tokens};
use super::{Dag, Extraction, UnderstandingError};
use candle_core::{Device, Tensor};
use std::ops::Range;

/// Name of the projection from the mean vector to the retrieval vector.
pub const RETRIEVAL: &str = "retrieval";
/// Texts that are read at once.
const BATCH: usize = 16;

pub struct Model {
    encoder: Box<dyn Encoder>,
    weights: Weights,
    /// Probability from which a boundary between two concerns counts.
    pub boundary: f64,
    pub shape: intent::Shape,
    /// Group id and number of fields.
    pub groups: Vec<(String, usize)>,
}

/// A text ready for the encoder.
#[derive(Clone, Debug)]
pub struct Input {
    pub tokens: Tokenized,
    /// `spans::SHAPE` numbers per word.
    pub shapes: Vec<f32>,
}

impl Input {
    pub fn new(text: &str, tokens: Tokenized, lexicon: &Lexicon) -> Self {
        let letters: Vec<char> = text.chars().collect();
        let shapes = spans::shapes(&letters, &tokens.words, lexicon);
        Self { tokens, shapes }
    }

    /// The words that lie between two characters.
    pub fn words_in(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let words = &self.tokens.words;
        let first = words.iter().position(|word| word.start >= start)?;
        let behind = words.iter().position(|word| word.end > end).unwrap_or(words.len());
        (first < behind).then_some(first..behind)
    }

    /// The characters that a run of words covers.
    pub fn place(&self, words: std::ops::Range<usize>) -> Option<(usize, usize)> {
        let first = self.tokens.words.get(words.start)?;
        let last = self.tokens.words.get(words.end.checked_sub(1)?)?;
        Some((first.start, last.end))
    }
}

/// Scores before any calibration.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub intent: Vec<f32>,
    pub tone: Vec<f32>,
    /// Length 1.
    pub retrieval: Vec<f32>,
    /// For every group: labels of the first word, of the second, and so on.
    pub spans: Vec<Vec<f32>>,
    /// For every word whether a new concern begins with it.
    pub boundaries: Vec<f32>,
    /// The runs of words with a concern each, and their intent scores; empty where the message is one.
    pub concerns: Concerns,
}

/// Runs of words, and the intent scores of each.
pub type Concerns = Vec<(Range<usize>, Vec<f32>)>;

impl Model {
    pub fn new(weights: Weights, dag: &Dag, extraction: &Extraction) -> Result<Self, UnderstandingError> {
        let encoder = Box::new(MiniLm::new(&weights)?);
        let groups = extraction.groups.iter().map(|group| (group.id.clone(), group.fields.len())).collect();
        let model = Self { encoder, weights, boundary: 0.5, shape: intent::Shape::of(dag), groups };
        model.check()?;
        Ok(model)
    }

    /// The heads have the sizes that graph and groups ask for.
    fn check(&self) -> Result<(), UnderstandingError> {
        let width = self.encoder.width();
        let mut want = vec![
            (intent::NAME.to_owned(), [self.shape.width(), width]),
            (tone::NAME.to_owned(), [tone::WIDTH, width]),
            (RETRIEVAL.to_owned(), [width, width]),
        ];
        let mut span_head = |id: &str, labels: usize| {
            let hidden = format!("spans.{id}.hidden");
            want.push((hidden, [spans::HIDDEN, width + spans::SHAPE]));
            want.push((format!("spans.{id}.labels"), [labels, spans::HIDDEN]));
        };
        for (id, fields) in &self.groups {
            span_head(id, spans::labels(*fields));
        }
        span_head(segments::NAME, 1);
        for (name, [rows, columns]) in want {
            for (part, shape) in [("weight", vec![rows, columns]), ("bias", vec![rows])] {
                let found = self.weights.get(&format!("{name}.{part}")).map(|tensor| tensor.dims().to_vec());
                if found.as_ref() != Some(&shape) {
                    let problem = format!("weight `{name}.{part}` is {found:?} where {shape:?} is needed");
                    return Err(candle_core::Error::Msg(problem).into());
                }
            }
        }
        Ok(())
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn weight(&self, name: &str) -> Result<&Tensor, UnderstandingError> {
        let missing = || candle_core::Error::Msg(format!("weight `{name}` is missing"));
        Ok(self.weights.get(name).ok_or_else(missing)?)
    }

    /// The encoder with f32 arithmetic, through which gradients flow.
    pub(super) fn shadow(&self) -> Result<MiniLm, UnderstandingError> {
        Ok(MiniLm::new(&self.weights)?)
    }

    pub fn reach(&self) -> usize {
        self.encoder.reach()
    }

    /// The mean vector of every text, from which the intent head reads.
    pub fn means(&self, inputs: &[&Input]) -> Result<Vec<Vec<f32>>, UnderstandingError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Packed::new(inputs.iter().map(|input| input.tokens.ids.as_slice()));
        Ok(ops::means(&self.encoder.encode(&batch)?, batch.sequences())?.to_vec2()?)
    }

    /// The mean vectors of many texts, which the threads share.
    pub fn means_of(
        &self,
        texts: &[&str],
        (tokens, lexicon): (&Tokens, &Lexicon),
        threads: usize,
    ) -> Result<Vec<Vec<f32>>, UnderstandingError> {
        let read = |texts: &[&str]| -> Result<Vec<Vec<f32>>, UnderstandingError> {
            let mut vectors = Vec::with_capacity(texts.len());
            for chunk in texts.chunks(BATCH) {
                let input = |text: &&str| Ok(Input::new(text, tokens.read(text)?, lexicon));
                let inputs: Vec<Input> =
                    chunk.iter().map(input).collect::<Result<_, UnderstandingError>>()?;
                vectors.extend(self.means(&inputs.iter().collect::<Vec<_>>())?);
            }
            Ok(vectors)
        };
        let share = texts.len().div_ceil(threads.max(1)).max(1);
        let parts: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = texts.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
            running.into_iter().map(|thread| thread.join()).collect()
        });
        let mut vectors = Vec::with_capacity(texts.len());
        for part in parts {
            let ended = || candle_core::Error::Msg("a thread ended".to_owned());
            vectors.extend(part.map_err(|_| ended())??);
        }
        Ok(vectors)
    }

    /// The retrieval vector alone.
    pub fn embed(&self, text: &Tokenized) -> Result<Vec<f32>, UnderstandingError> {
        let batch = Packed::new([text.ids.as_slice()]);
        let pooled = ops::means(&self.encoder.encode(&batch)?, batch.sequences())?;
        Ok(unit(heads::apply(&self.weights, RETRIEVAL, &pooled)?.flatten_all()?.to_vec1()?))
    }

    /// Scores of every text of a batch. The others change a text's scores in the last digits at most: a text
    /// that must come out the same again is read alone.
    pub fn run(&self, inputs: &[&Input]) -> Result<Vec<Raw>, UnderstandingError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Packed::new(inputs.iter().map(|input| input.tokens.ids.as_slice()));
        let hidden = self.encoder.encode(&batch)?;
        let pooled = ops::means(&hidden, batch.sequences())?;
        let rows = |name: &str| -> Result<Vec<Vec<f32>>, UnderstandingError> {
            Ok(heads::apply(&self.weights, name, &pooled)?.to_vec2()?)
        };
        let (intents, tones, vectors) = (rows(intent::NAME)?, rows(tone::NAME)?, rows(RETRIEVAL)?);
        let mut out: Vec<Raw> = intents
            .into_iter()
            .zip(tones)
            .zip(vectors)
            .map(|((intent, tone), vector)| Raw { intent, tone, retrieval: unit(vector), ..Raw::default() })
            .collect();
        self.spans(inputs, &batch, &hidden, &mut out)?;
        Ok(out)
    }

    fn spans(
        &self,
        inputs: &[&Input],
        batch: &Packed,
        hidden: &Tensor,
        out: &mut [Raw],
    ) -> Result<(), UnderstandingError> {
        let starts = batch.starts.iter();
        let places = inputs.iter().zip(starts).flat_map(|(input, start)| {
            input.tokens.words.iter().map(move |word| start + word.pieces.start..start + word.pieces.end)
        });
        let places: Vec<_> = places.collect();
        if places.is_empty() {
            out.iter_mut().for_each(|raw| raw.spans = vec![Vec::new(); self.groups.len()]);
            return Ok(());
        }
        let count = places.len();
        let words = ops::means(hidden, places.clone())?;
        let shapes: Vec<f32> = inputs.iter().flat_map(|input| input.shapes.iter().copied()).collect();
        let shapes = Tensor::from_vec(shapes, (count, spans::SHAPE), &Device::Cpu)?;
        for (id, _) in &self.groups {
            let mut rows = spans::logits(&self.weights, id, &words, &shapes)?.to_vec2::<f32>()?.into_iter();
            for (raw, input) in out.iter_mut().zip(inputs) {
                raw.spans.push(rows.by_ref().take(input.tokens.words.len()).flatten().collect());
            }
        }
        let scores = segments::logits(&self.weights, &words, &shapes)?.flatten_all()?.to_vec1::<f32>()?;
        let mut scores = scores.into_iter();
        let mut from = 0;
        for (raw, input) in out.iter_mut().zip(inputs) {
            let n = input.tokens.words.len();
            raw.boundaries = scores.by_ref().take(n).collect();
            let own = places.get(from..from + n).unwrap_or_default();
            raw.concerns = self.concerns(&raw.boundaries, own, hidden)?;
            from += n;
        }
        Ok(())
    }

    /// Intent scores of every run of words with a concern of its own. `places` are the words' rows in `hidden`.
    fn concerns(
        &self,
        boundaries: &[f32],
        places: &[Range<usize>],
        hidden: &Tensor,
    ) -> Result<Concerns, UnderstandingError> {
        let runs = segments::decode(boundaries, self.boundary);
        if runs.len() < 2 {
            return Ok(Vec::new());
        }
        let rows = runs
            .iter()
            .filter_map(|run| Some(places.get(run.start)?.start..places.get(run.end.checked_sub(1)?)?.end));
        let pooled = ops::means(hidden, rows.collect())?;
        let scores = heads::apply(&self.weights, intent::NAME, &pooled)?.to_vec2()?;
        Ok(runs.into_iter().zip(scores).collect())
    }
}

/// Scaled to length 1.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|v| *v /= norm);
    vector
}
