//! The German stage: pieces for German words, then a trunk in which a German line stands where its English
//! twin stands under the base model.
//!
//! Three losses, each on twins of the project's own lines: the vector of both languages points where the
//! base model has the English line; a German line is nearer to its own twin than to other lines; and hidden
//! pieces of German text are guessed among the pieces of the batch. English lines of every source with German
//! words put into them count as German lines, too: the twins are few.

use super::adamw::{self, Step};
use super::corpus::{Corpus, step_rng};
use super::datasets::{Line, Source, Split};
use super::draw;
use super::error::LearningError;
use super::loss;
use super::student::{Course, Part, Pass, Student};
use super::tasks::{Balance, Losses, Tasks, by_rows};
use super::train::Progress;
use super::vocabulary::{self, Vocabulary};
use crate::base::Language;
use crate::understanding::encoder::{Dropout, MiniLm, Packed, Weights, ops};
use crate::understanding::heads;
use crate::understanding::model::unit;
use crate::understanding::tokens::Tokens;
use candle_core::{Device, Tensor};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// What the stage does; each part can be left out to see what it is worth.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct German {
    /// Rows of the table that go to German pieces.
    pub pieces: usize,
    /// Pieces begin as their English gloss.
    pub glosses: bool,
    pub steps: usize,
    /// Pairs of twins in a step.
    pub pairs: usize,
    pub rate: f32,
    /// Weights of the three losses.
    pub meaning: f64,
    pub contrast: f64,
    pub masked: f64,
    /// How often an English line with German words takes the place of a German one.
    pub switched: f64,
    /// How many other vectors a German line is to be farther from than from its twin's, beside those of the
    /// step.
    pub strangers: usize,
}

impl Default for German {
    fn default() -> Self {
        Self {
            pieces: 6_000,
            glosses: true,
            steps: 1_200,
            pairs: 16,
            rate: 2e-4,
            meaning: 1.0,
            contrast: 0.3,
            masked: 0.0,
            switched: 0.4,
            strangers: 256,
        }
    }
}

/// Own lines count more than news and law for which words get a piece.
const OWN_WEIGHT: u64 = 6;
/// The head that guesses hidden pieces; it is not kept.
const GUESS: &str = "masked";
const MASK: &str = "[MASK]";
/// Part of the pieces that are hidden.
const HIDDEN: f64 = 0.15;
const TEMPERATURE: f64 = 0.05;

/// Learns the pieces and gives the table that begins with them. `law` is more German text, may be empty.
pub fn pieces(
    german: &German,
    base: &Weights,
    tokenizer: &[u8],
    corpus: &Corpus,
    law: &str,
) -> Result<(Vocabulary, Weights), LearningError> {
    let train = || corpus.lines.iter().filter(|line| line.split == Split::Train);
    let texts: Vec<(String, Language, u64)> = train()
        .map(|line| {
            let own = line.language == Language::De && !line.is_news();
            (line.text(), line.language, if own { OWN_WEIGHT } else { 1 })
        })
        .collect();
    let mut learned: Vec<(&str, u64)> = texts
        .iter()
        .filter(|(_, language, _)| *language == Language::De)
        .map(|(t, _, w)| (t.as_str(), *w))
        .collect();
    learned.push((law, 1));
    let seen: Vec<&str> =
        texts.iter().filter(|(_, language, _)| *language == Language::En).map(|(t, ..)| t.as_str()).collect();
    let none = HashMap::new();
    let glossary = if german.glosses { &corpus.glossary } else { &none };
    let vocabulary = vocabulary::learn(tokenizer, &learned, &seen, glossary, german.pieces)?;
    let mut weights = base.clone();
    let table = base
        .get(MiniLm::WORDS)
        .ok_or_else(|| LearningError::Broken("the base model has no word vectors".to_owned()))?;
    let mut rows: Vec<Vec<f32>> = table.to_vec2()?;
    let old = rows.clone();
    let width = old.first().map_or(0, Vec::len);
    for (row, from) in &vocabulary.rows {
        let Some(slot) = rows.get_mut(*row as usize) else { continue };
        let mut mean = vec![0.0; width];
        let sources: Vec<&Vec<f32>> = from.iter().filter_map(|id| old.get(*id as usize)).collect();
        for source in &sources {
            mean.iter_mut().zip(*source).for_each(|(m, v)| *m += v / sources.len() as f32);
        }
        if !sources.is_empty() {
            *slot = mean;
        }
    }
    let count = rows.len();
    weights.insert(MiniLm::WORDS.to_owned(), Tensor::from_vec(rows.concat(), (count, width), &Device::Cpu)?);
    Ok((vocabulary, weights))
}

/// A pair of twins with the vector that both shall have.
struct Pair<'a> {
    german: Vec<u32>,
    english: Vec<u32>,
    /// The German line with some pieces hidden, and where, with the piece that stood there.
    hidden: Vec<u32>,
    guesses: Vec<(usize, u32)>,
    meaning: &'a [f32],
}

/// Trains the trunk on twins. `meanings` are the base model's vectors by text.
pub fn run(
    german: &German,
    weights: Weights,
    tokens: &Tokens,
    corpus: &Corpus,
    meanings: &HashMap<String, Vec<f32>>,
    (seed, threads): (u64, usize),
    progress: &mut dyn FnMut(Progress),
) -> Result<Weights, LearningError> {
    let mut weights = weights;
    let width = weights.get(MiniLm::WORDS).map_or(Ok(0), |words| words.dim(1))?;
    weights.insert(format!("{GUESS}.weight"), Tensor::eye(width, candle_core::DType::F32, &Device::Cpu)?);
    weights.insert(format!("{GUESS}.bias"), Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu)?);
    let names: BTreeSet<String> = weights.keys().cloned().collect();
    let mut student = Student::new(weights, &Tasks::none(), seed)?;
    let mut lines: Vec<usize> = (0..corpus.lines.len())
        .filter(|at| {
            let line = corpus.lines.get(*at);
            line.is_some_and(|line| {
                line.split == Split::Train && line.language == Language::De && line.meaning.is_some()
            })
        })
        .collect();
    let english: Vec<(&Line, &[f32])> = corpus
        .lines
        .iter()
        .filter(|line| line.split == Split::Train && line.language == Language::En)
        .filter_map(|line| Some((line, meanings.get(line.meaning.as_ref()?)?.as_slice())))
        .collect();
    if lines.is_empty() || german.steps == 0 {
        return Ok(kept(&student.weights()?, &names));
    }
    let course = |seed: u64| Course {
        balance: Balance::default(),
        head_factor: 1.0,
        clip: 1.0,
        dropout: Dropout { rate: 0.1, seed },
        eight_bit: false,
    };
    for number in 0..german.steps {
        let mut rng = step_rng(seed ^ 0x6465, number);
        let mut pairs = Vec::with_capacity(german.pairs);
        for slot in 0..german.pairs {
            let drawn = number * german.pairs + slot;
            if drawn.is_multiple_of(lines.len()) {
                lines.sort_unstable();
                lines.shuffle(&mut step_rng(seed, drawn));
            }
            let line = lines.get(drawn % lines.len()).and_then(|at| corpus.lines.get(*at));
            let stranger = if rng.random_bool(german.switched) { english.choose(&mut rng) } else { None };
            let twins = match stranger {
                Some((line, meaning)) => Some(switched(line, meaning, corpus, &mut rng)),
                None => line.and_then(|line| twin(line, meanings, &mut rng)),
            };
            if let Some(twins) = twins {
                pairs.push(pair(twins, tokens, &mut rng)?);
            }
        }
        let warm = (german.steps / 16).max(1);
        let rate = german.rate * adamw::schedule(number, warm, german.steps);
        let step = Step { number: number as i32 + 1, rate, decay: 0.01, scale: 1.0 };
        let strangers: Vec<&[f32]> =
            english.choose_multiple(&mut rng, german.strangers).map(|(_, meaning)| *meaning).collect();
        let way = (&course(rng.random()), step, threads);
        let losses = learn(german, &mut student, &pairs, &strangers, way)?;
        progress(Progress::Step { number: number + 1, of: german.steps, losses });
    }
    Ok(kept(&student.weights()?, &names))
}

/// A German text, its English twin, and the vector of that.
type Twins<'a> = (String, String, &'a [f32]);

fn twin<'a>(line: &Line, meanings: &'a HashMap<String, Vec<f32>>, rng: &mut StdRng) -> Option<Twins<'a>> {
    let english = line.meaning.clone()?;
    let meaning = meanings.get(&english)?;
    Some((draw::rough(line, rng), english, meaning))
}

/// An English line with German words in it takes the place of a German one.
fn switched<'a>(line: &Line, meaning: &'a [f32], corpus: &Corpus, rng: &mut StdRng) -> Twins<'a> {
    let share = rng.random_range(0.3..1.0);
    (corpus.dictionary.switched(&line.text(), Language::En, share, rng), line.text(), meaning)
}

fn pair<'a>(
    (german, english, meaning): Twins<'a>,
    tokens: &Tokens,
    rng: &mut StdRng,
) -> Result<Pair<'a>, LearningError> {
    let german = tokens.read(&german)?.ids;
    let (hidden, guesses) = mask(&german, tokens, rng);
    Ok(Pair { german, english: tokens.read(&english)?.ids, hidden, guesses, meaning })
}

/// Of the own German development lines, the part whose vector is nearest to that of its English twin under
/// the base model, among the twins of all of them; and how many they are.
pub fn twins_found(
    (base, base_tokens): (&Weights, &Tokens),
    (weights, tokens): (&Weights, &Tokens),
    corpus: &Corpus,
) -> Result<(f64, usize), LearningError> {
    let own = |line: &&Line| {
        line.split == Split::Dev && line.source == Source::Own && line.language == Language::De
    };
    let pairs: Vec<(String, &String)> = corpus
        .lines
        .iter()
        .filter(own)
        .filter_map(|line| Some((line.text(), line.meaning.as_ref()?)))
        .collect();
    let german: Vec<&str> = pairs.iter().map(|(text, _)| text.as_str()).collect();
    let english: Vec<&str> = pairs.iter().map(|(_, twin)| twin.as_str()).collect();
    let german = vectors(&MiniLm::new(weights)?, tokens, &german)?;
    let english = vectors(&MiniLm::new(base)?, base_tokens, &english)?;
    let near = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let found = german.iter().zip(&english).filter(|(own, twin)| {
        let right = near(own, twin);
        english.iter().all(|other| near(own, other) <= right)
    });
    Ok((found.count() as f64 / german.len().max(1) as f64, german.len()))
}

/// Mean vectors of texts, of length 1.
pub fn vectors(encoder: &MiniLm, tokens: &Tokens, texts: &[&str]) -> Result<Vec<Vec<f32>>, LearningError> {
    let mut vectors = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(32) {
        let read: Vec<_> = chunk.iter().map(|text| tokens.read(text)).collect::<Result<_, _>>()?;
        let batch = Packed::new(read.iter().map(|tokens| tokens.ids.as_slice()));
        let pooled = ops::means(&encoder.vectors(&batch)?, batch.sequences())?;
        vectors.extend(pooled.to_vec2::<f32>()?.into_iter().map(unit));
    }
    Ok(vectors)
}

fn kept(weights: &Weights, names: &BTreeSet<String>) -> Weights {
    let keep = |name: &&String| names.contains(*name) && !name.starts_with(GUESS);
    weights.iter().filter(|(name, _)| keep(name)).map(|(n, t)| (n.clone(), t.clone())).collect()
}

fn learn(
    german: &German,
    student: &mut Student,
    pairs: &[Pair],
    strangers: &[&[f32]],
    (course, step, threads): (&Course, Step, usize),
) -> Result<Losses, LearningError> {
    let shares: Vec<&[Pair]> = pairs.chunks(pairs.len().div_ceil(threads.max(1)).max(1)).collect();
    let beside: Vec<Vec<u32>> = shares
        .iter()
        .map(|share| share.iter().flat_map(|p| p.guesses.iter().map(|(_, id)| *id)).collect())
        .collect();
    let parts: Vec<Part> = shares
        .iter()
        .zip(&beside)
        .map(|(share, beside)| {
            let german_texts = share.iter().map(|pair| pair.german.as_slice());
            let english = share.iter().map(|pair| pair.english.as_slice());
            let hidden = share.iter().filter(|_| german.masked > 0.0).map(|pair| pair.hidden.as_slice());
            Part { texts: german_texts.chain(english).chain(hidden).collect(), beside }
        })
        .collect();
    let lose =
        |at: usize, pass: &Pass| losses(german, shares.get(at).copied().unwrap_or_default(), strangers, pass);
    student.step(&parts, course, step, &mut BTreeSet::new(), &lose)
}

/// `retrieval` of the result is the loss of both vectors, `intent` that of the nearest twin, `spans` that of
/// hidden pieces.
fn losses(
    german: &German,
    pairs: &[Pair],
    strangers: &[&[f32]],
    pass: &Pass,
) -> Result<(Vec<Tensor>, Losses), LearningError> {
    let n = pairs.len();
    let sequences = pass.batch.sequences();
    let pooled =
        ops::means(&pass.hidden, sequences.iter().take(2 * n).cloned().collect::<Vec<Range<usize>>>())?;
    let mut parts = Vec::new();
    let mut losses = Losses::default();
    let scale = 1.0 / n.max(1) as f64;
    let goals: Vec<&[f32]> = pairs.iter().map(|pair| pair.meaning).collect();
    losses.retrieval = by_rows(&pooled, n > 0, &mut parts, |at, row, out| match goals.get(at % n.max(1)) {
        Some(goal) => loss::direction(row, goal, german.meaning * scale, out),
        None => 0.0,
    })?;
    let all: Vec<&[f32]> = goals.iter().chain(strangers).copied().collect();
    losses.intent = by_rows(&pooled, all.len() > 1, &mut parts, |at, row, out| {
        if at < n { loss::contrast(row, &all, at, TEMPERATURE, german.contrast * scale, out) } else { 0.0 }
    })?;
    let row_of: HashMap<u32, usize> = pass.ids.iter().enumerate().map(|(row, id)| (*id, row)).collect();
    let mut places = Vec::new();
    let mut right = Vec::new();
    for (pair, range) in pairs.iter().zip(sequences.iter().skip(2 * n)) {
        for (at, id) in &pair.guesses {
            if let Some(row) = row_of.get(id) {
                places.push(range.start + at..range.start + at + 1);
                right.push(*row);
            }
        }
    }
    if !places.is_empty() {
        let count = places.len() as f64;
        let guess = heads::apply(&pass.weights, GUESS, &ops::means(&pass.hidden, places)?)?;
        let scores = guess.matmul(&pass.words.t()?.contiguous()?)?;
        losses.spans = by_rows(&scores, true, &mut parts, |at, row, out| match right.get(at) {
            Some(right) => loss::choice(row, *right, 0.0, german.masked / count, out),
            None => 0.0,
        })?;
    }
    Ok((parts, losses))
}

/// Hides some pieces (Devlin et al. 2019, without its random replacements): the text, and what stood where.
fn mask(ids: &[u32], tokens: &Tokens, rng: &mut StdRng) -> (Vec<u32>, Vec<(usize, u32)>) {
    let (mut hidden, mut guesses) = (ids.to_vec(), Vec::new());
    let Some(mask) = tokens.id(MASK) else { return (hidden, guesses) };
    let last = ids.len().saturating_sub(1);
    for (at, id) in hidden.iter_mut().enumerate().take(last).skip(1) {
        if rng.random_bool(HIDDEN) {
            guesses.push((at, *id));
            *id = mask;
        }
    }
    (hidden, guesses)
}
