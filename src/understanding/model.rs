//! Encoder and heads together: one pass over a batch gives the raw scores of everything.

use super::encoder::{Compute, Encoder, Kernel, MiniLm, Packed, Stored, Top, Weights, kernels};
use super::heads::{Heads, OfWords, RETRIEVAL, intent, segments, spans, tone};
use super::lexicon::Lexicon;
use super::search::{Embedded, SearchHeads};
use super::tokens::{Tokenized, Tokens};
use super::{Dag, Extraction, UnderstandingError, quantise};
use candle_core::Tensor;
use std::ops::Range;

/// Texts that are read at once.
const BATCH: usize = 16;

pub struct Model {
    encoder: Box<dyn Encoder>,
    arithmetic: String,
    heads: Heads,
    /// What documents are found by, where the bundle has it.
    search: Option<SearchHeads>,
    kernel: Kernel,
    /// Of the heads.
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
#[derive(Clone, Debug, Default, PartialEq)]
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

/// The encoder in f32, through which gradients flow, and its word vectors.
pub(super) struct Shadow {
    pub encoder: MiniLm,
    pub words: Tensor,
}

/// Runs of words, and the intent scores of each.
pub type Concerns = Vec<(Range<usize>, Vec<f32>)>;

impl Model {
    /// With weights and activations as floats: what training looks at.
    pub fn new(weights: Weights, dag: &Dag, extraction: &Extraction) -> Result<Self, UnderstandingError> {
        let encoder = Box::new(MiniLm::new(&weights)?);
        let weights = weights.into_iter().filter(|(name, _)| !Top::owns(name)).collect();
        Self::of(encoder, weights, Kernel::best(), dag, extraction)
    }

    /// In eight bits, as a bundle stores it and a reading uses it.
    pub fn stored(
        mut stored: Stored,
        compute: &Compute,
        dag: &Dag,
        extraction: &Extraction,
    ) -> Result<Self, UnderstandingError> {
        let kernel = match compute {
            Compute::Cpu(kernel) => *kernel,
            Compute::Gpu(_) => Kernel::best(),
        };
        let encoder = compute.encoder(&mut stored)?;
        Self::of(encoder, quantise::full(&stored)?, kernel, dag, extraction)
    }

    fn of(
        encoder: Box<dyn Encoder>,
        weights: Weights,
        kernel: Kernel,
        dag: &Dag,
        extraction: &Extraction,
    ) -> Result<Self, UnderstandingError> {
        let groups: Vec<(String, usize)> =
            extraction.groups.iter().map(|group| (group.id.clone(), group.fields.len())).collect();
        let shape = intent::Shape::of(dag);
        check(&weights, &shape, &groups, encoder.width())?;
        let heads = Heads::new(&weights, groups.iter().map(|(id, _)| id.as_str()), kernel)?;
        let search = match encoder.searches() {
            true => SearchHeads::new(&weights, encoder.width(), kernel)?,
            false => None,
        };
        let arithmetic = encoder.arithmetic();
        Ok(Self { arithmetic, encoder, heads, search, kernel, weights, boundary: 0.5, shape, groups })
    }

    /// Weights of the heads.
    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Takes a tenth of a second.
    pub(super) fn shadow(&self) -> Result<Shadow, UnderstandingError> {
        let weights = self.encoder.full()?;
        let missing = || candle_core::Error::Msg(format!("weight `{}` is missing", MiniLm::WORDS));
        let words = weights.get(MiniLm::WORDS).ok_or_else(missing)?.clone();
        Ok(Shadow { encoder: MiniLm::new(&weights)?, words })
    }

    /// What does the arithmetic: see `Encoder::arithmetic`.
    pub fn arithmetic(&self) -> &str {
        &self.arithmetic
    }

    pub fn reach(&self) -> usize {
        self.encoder.reach()
    }

    /// The mean vector of every text, from which the intent head reads.
    pub fn means(&self, inputs: &[&Input]) -> Result<Vec<Vec<f32>>, UnderstandingError> {
        let (hidden, batch) = self.vectors(&ids(inputs), Top::Reading)?;
        let pooled = self.pooled(&hidden, &batch.sequences());
        Ok(pooled.chunks(self.encoder.width().max(1)).map(<[f32]>::to_vec).collect())
    }

    /// The vectors of every piece of a batch, and the batch. A text that is longer than the encoder reaches is read
    /// in windows; a piece gets its vector from the window in which it stands farthest from a cut.
    fn vectors(&self, texts: &[&[u32]], top: Top) -> Result<(Vec<f32>, Packed), UnderstandingError> {
        let (reach, width) = (self.encoder.reach(), self.encoder.width());
        let texts = texts.iter().copied();
        let batch = Packed::new(texts.clone());
        if texts.clone().all(|ids| ids.len() <= reach) {
            return Ok((self.encoder.encode(&batch, top)?, batch));
        }
        let windows: Vec<Vec<Window>> = texts.clone().map(|ids| windows(ids.len(), reach)).collect();
        let mut sequences = Vec::new();
        for (ids, windows) in texts.zip(&windows) {
            sequences.extend(windows.iter().map(|window| window.of(ids)));
        }
        let vectors = self.encoder.encode(&Packed::new(sequences.iter().map(Vec::as_slice)), top)?;
        let (mut whole, mut from) = (Vec::with_capacity(batch.tokens() * width), 0);
        for window in windows.iter().flatten() {
            let kept = from + window.kept.start..from + window.kept.end;
            whole.extend_from_slice(vectors.get(kept.start * width..kept.end * width).unwrap_or_default());
            from += window.length();
        }
        Ok((whole, batch))
    }

    fn pooled(&self, hidden: &[f32], ranges: &[Range<usize>]) -> Vec<f32> {
        kernels::means(hidden, self.encoder.width(), ranges)
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
    pub fn embed(&self, input: &Input) -> Result<Vec<f32>, UnderstandingError> {
        let (hidden, batch) = self.vectors(&[input.tokens.ids.as_slice()], Top::Reading)?;
        let pooled = self.pooled(&hidden, &batch.sequences());
        Ok(unit(self.heads.retrieval(&pooled).concat()))
    }

    /// Whether documents can be found by it.
    pub const fn searches(&self) -> bool {
        self.search.is_some()
    }

    /// What compares the bytes of search.
    pub const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// What search compares texts by, given as piece ids.
    ///
    /// # Errors
    /// A model that has no search; ids that it has no pieces for.
    pub fn embedded(&self, texts: &[&[u32]]) -> Result<Vec<Embedded>, UnderstandingError> {
        let Some(search) = &self.search else {
            return Err(candle_core::Error::Msg(MiniLm::NO_SEARCH.to_owned()).into());
        };
        let (hidden, batch) = self.vectors(texts, Top::Search)?;
        let sequences = batch.sequences();
        Ok(search.embedded(&hidden, &self.pooled(&hidden, &sequences), &sequences))
    }

    /// Scores of every text of a batch. With eight-bit weights they are the same, bit for bit, in any company.
    pub fn run(&self, inputs: &[&Input]) -> Result<Vec<Raw>, UnderstandingError> {
        let (hidden, batch) = self.vectors(&ids(inputs), Top::Reading)?;
        let pooled = self.pooled(&hidden, &batch.sequences());
        let heads = &self.heads;
        let each = heads.intent(&pooled).into_iter().zip(heads.tone(&pooled)).zip(heads.retrieval(&pooled));
        let mut out: Vec<Raw> = each
            .map(|((intent, tone), vector)| Raw { intent, tone, retrieval: unit(vector), ..Raw::default() })
            .collect();
        self.words(inputs, &batch, &hidden, &mut out);
        Ok(out)
    }

    /// Whether these can be the scores of this text.
    pub fn fits(&self, raw: &Raw, input: &Input) -> bool {
        let n = input.tokens.words.len();
        let intent = |scores: &[f32]| scores.len() == self.shape.width();
        let mut groups = raw.spans.iter().zip(&self.groups);
        intent(&raw.intent)
            && raw.tone.len() == tone::WIDTH
            && raw.retrieval.len() == self.encoder.width()
            && raw.spans.len() == self.groups.len()
            && groups.all(|(labels, (_, fields))| labels.len() == n * spans::labels(*fields))
            && raw.boundaries.len() == n
            && raw
                .concerns
                .iter()
                .all(|(words, scores)| words.start < words.end && words.end <= n && intent(scores))
    }

    /// What the heads say of words, and of the concerns that they form.
    fn words(&self, inputs: &[&Input], batch: &Packed, hidden: &[f32], out: &mut [Raw]) {
        let starts = batch.starts.iter();
        let places = inputs.iter().zip(starts).flat_map(|(input, start)| {
            input.tokens.words.iter().map(move |word| start + word.pieces.start..start + word.pieces.end)
        });
        let places: Vec<_> = places.collect();
        let means = self.pooled(hidden, &places);
        let shapes = inputs.iter().flat_map(|input| input.shapes.chunks_exact(spans::SHAPE));
        let words = means.chunks_exact(self.encoder.width().max(1)).zip(shapes);
        let words: Vec<f32> = words.flat_map(|(mean, shape)| mean.iter().chain(shape)).copied().collect();
        let OfWords { labels, boundaries } = self.heads.words(&words);
        let mut from = 0;
        for (raw, input) in out.iter_mut().zip(inputs) {
            let n = input.tokens.words.len();
            let part = |all: &[f32], width: usize| {
                all.get(from * width..(from + n) * width).unwrap_or_default().to_vec()
            };
            let groups = labels.iter().zip(&self.groups);
            raw.spans = groups.map(|(labels, (_, fields))| part(labels, spans::labels(*fields))).collect();
            raw.boundaries = part(&boundaries, 1);
            raw.concerns =
                self.concerns(&raw.boundaries, places.get(from..from + n).unwrap_or_default(), hidden);
            from += n;
        }
    }

    /// Intent scores of every run of words with a concern of its own. `places` are the words' rows in `hidden`.
    fn concerns(&self, boundaries: &[f32], places: &[Range<usize>], hidden: &[f32]) -> Concerns {
        let runs = segments::decode(boundaries, self.boundary);
        if runs.len() < 2 {
            return Vec::new();
        }
        let rows = runs
            .iter()
            .filter_map(|run| Some(places.get(run.start)?.start..places.get(run.end.checked_sub(1)?)?.end));
        let scores = self.heads.intent(&self.pooled(hidden, &rows.collect::<Vec<_>>()));
        runs.into_iter().zip(scores).collect()
    }
}

fn ids<'a>(inputs: &[&'a Input]) -> Vec<&'a [u32]> {
    inputs.iter().map(|input| input.tokens.ids.as_slice()).collect()
}

/// A part of a long text as the encoder takes it: pieces with the text's special pieces around them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// Pieces of the text, without its special ones.
    pieces: Range<usize>,
    /// What of the window, with its special pieces, stands for the text.
    kept: Range<usize>,
}

impl Window {
    fn length(&self) -> usize {
        self.pieces.len() + 2
    }

    fn of(&self, ids: &[u32]) -> Vec<u32> {
        let ends = (ids.first().copied(), ids.last().copied());
        let inside = ids.get(self.pieces.clone()).unwrap_or_default();
        ends.0.into_iter().chain(inside.iter().copied()).chain(ends.1).collect()
    }
}

/// The windows of a text of `length` pieces with its two special ones, each at most `reach` long, neighbours sharing
/// a quarter of that, cut in the middle of what they share.
fn windows(length: usize, reach: usize) -> Vec<Window> {
    if length <= reach || reach < 6 {
        let pieces = 1..length.saturating_sub(1).max(1);
        return vec![Window { kept: 0..length, pieces }];
    }
    let (end, size) = (length - 1, reach - 2);
    let shared = reach / 4;
    let mut found: Vec<Window> = Vec::new();
    let mut start = 1;
    loop {
        let pieces = start..(start + size).min(end);
        let last = pieces.end == end;
        // Positions in the window: its first piece stands behind a special one.
        let from = if start == 1 { 0 } else { 1 + shared / 2 };
        let to = if last { pieces.len() + 2 } else { 1 + pieces.len() - (shared - shared / 2) };
        found.push(Window { pieces: pieces.clone(), kept: from..to });
        if last {
            return found;
        }
        start = pieces.end - shared;
    }
}

/// The heads have the sizes that graph and groups ask for.
fn check(
    weights: &Weights,
    shape: &intent::Shape,
    groups: &[(String, usize)],
    width: usize,
) -> Result<(), UnderstandingError> {
    let mut want = vec![
        (intent::NAME.to_owned(), [shape.width(), width]),
        (tone::NAME.to_owned(), [tone::WIDTH, width]),
        (RETRIEVAL.to_owned(), [width, width]),
    ];
    let mut span_head = |id: &str, labels: usize| {
        let hidden = format!("spans.{id}.hidden");
        want.push((hidden, [spans::HIDDEN, width + spans::SHAPE]));
        want.push((format!("spans.{id}.labels"), [labels, spans::HIDDEN]));
    };
    for (id, fields) in groups {
        span_head(id, spans::labels(*fields));
    }
    span_head(segments::NAME, 1);
    for (name, [rows, columns]) in want {
        for (part, shape) in [("weight", vec![rows, columns]), ("bias", vec![rows])] {
            let found = weights.get(&format!("{name}.{part}")).map(|tensor| tensor.dims().to_vec());
            if found.as_ref() != Some(&shape) {
                let problem = format!("weight `{name}.{part}` is {found:?} where {shape:?} is needed");
                return Err(candle_core::Error::Msg(problem).into());
            }
        }
    }
    Ok(())
}

/// Scaled to length 1.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|v| *v /= norm);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_every_piece_once_and_none_near_a_cut() {
        assert_eq!(windows(512, 512), [Window { pieces: 1..511, kept: 0..512 }]);
        for (length, reach) in [(513, 512), (900, 512), (5_000, 512), (17, 16), (41, 16), (100, 7), (2, 512)]
        {
            let windows = windows(length, reach);
            // The text's pieces that the windows stand for, special ones included.
            let mut next = 0;
            for (at, window) in windows.iter().enumerate() {
                assert!(window.length() <= reach, "{window:?}");
                let first = if at == 0 { 0 } else { window.pieces.start + window.kept.start - 1 };
                assert_eq!(first, next, "{length} by {reach}: {windows:?}");
                next = first + window.kept.len();
                if at > 0 {
                    assert!(window.kept.start > reach / 8);
                }
            }
            assert_eq!(next, length, "{length} by {reach}: {windows:?}");
        }
    }
}
