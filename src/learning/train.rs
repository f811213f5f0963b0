//! `prokura train`: the whole run, from folders of lines to weights on disk.

use super::adamw::{self, Step};
use super::corpus::{Corpus, Sampler, step_rng};
use super::datasets::{Line, Source, Split, bucket};
use super::draw::{self, Drawn};
use super::error::LearningError;
use super::measure::{self, Figures};
use super::student::{Balance, Course, Example, Losses, Student, base_weights};
use crate::base::Digest;
use crate::understanding::encoder::{Dropout, Encoder, MiniLm, Packed, Weights, ops};
use crate::understanding::model::{Input, Model, unit};
use crate::understanding::tokens::Tokens;
use crate::understanding::{Dag, Extraction};
use rand::Rng;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where things are and how long to learn.
#[derive(Clone, Debug)]
pub struct Options {
    /// Public sets; `None` trains on the project's own lines alone.
    pub data: Option<PathBuf>,
    /// The project's own lines (models/data).
    pub own: PathBuf,
    /// The base model (models/base).
    pub base: PathBuf,
    /// The pack (config).
    pub config: PathBuf,
    /// Checkpoints go here; outside of the repository.
    pub work: PathBuf,
    /// Steps between two checkpoints. A run that was killed goes on from the last one.
    pub save_every: usize,
    /// Weights of an earlier run (its trained.safetensors) to start from, instead of the base model's.
    pub start: Option<PathBuf>,
    pub recipe: Recipe,
}

/// What a run's result depends on, beside its data.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Recipe {
    pub sources: Vec<Source>,
    /// Steps; 0: as many as give Banking77 (or, without it, the own lines) `epochs` passes.
    pub steps: usize,
    pub epochs: f64,
    /// Multiplies the chance of the project's own lines.
    pub own_factor: f64,
    pub batch: usize,
    pub rate: f32,
    /// Heads learn this many times faster than the trunk.
    pub head_factor: f32,
    pub decay: f32,
    pub warm: f64,
    pub dropout: f32,
    pub seed: u64,
    pub balance: Balance,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            sources: Source::ALL.to_vec(),
            steps: 0,
            epochs: 7.0,
            own_factor: 1.0,
            batch: 32,
            rate: 1e-4,
            head_factor: 10.0,
            decay: 0.01,
            warm: 0.06,
            dropout: 0.1,
            seed: 1,
            balance: Balance { smoothing: 0.05, parent: 0.3, spans: 2.0, tone: 0.2, retrieval: 1.0 },
        }
    }
}

impl Recipe {
    /// A short second run from the first one's weights, in which the project's own lines come more often:
    /// they are few, alone in German, and draw the borders between the public sets.
    pub fn second() -> Self {
        Self { steps: 1_000, own_factor: 2.5, rate: 5e-5, ..Self::default() }
    }
}

/// What a run tells while it goes.
#[derive(Clone, Debug)]
pub enum Progress {
    Note(String),
    Step { number: usize, of: usize, losses: Losses },
    Measured { step: usize, figures: Figures },
}

/// A finished run.
pub struct Trained {
    pub weights: Weights,
    pub corpus: Corpus,
    pub dag: Dag,
    pub extraction: Extraction,
    pub tokens: Tokens,
    pub recipe: Recipe,
    pub steps: usize,
}

/// Longest training text, in pieces: longer ones are cut, which costs nothing but a tail of a few e-mails.
const REACH: usize = 128;
/// Steps between two looks at the development lines, and how many of each source are looked at.
const MEASURE_EVERY: usize = 2_000;
const MEASURED: usize = 500;

fn tell_corpus(corpus: &Corpus, progress: &mut dyn FnMut(Progress)) {
    corpus.notes.iter().for_each(|note| progress(Progress::Note(note.clone())));
    for source in Source::ALL {
        let count = |split| corpus.part(source, split).len();
        let (train, dev, test) = (count(Split::Train), count(Split::Dev), count(Split::Test));
        progress(Progress::Note(format!("{}: {train} train, {dev} dev, {test} test", source.name())));
    }
}

pub fn run(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Trained, LearningError> {
    let (dag, extraction) = pack(&options.config)?;
    let recipe = options.recipe.clone();
    let corpus = Corpus::read(options.data.as_deref(), &options.own, &dag, &extraction, &recipe.sources)?;
    tell_corpus(&corpus, progress);
    let tokens = Tokens::from_file(&options.base.join("tokenizer.json"), REACH)?;
    let base = options.base.join("model.safetensors");
    let mut student = Student::new(&base, &dag, &extraction, recipe.seed)?;
    let mut sampler = Sampler::new(&corpus, recipe.seed, recipe.own_factor);
    let steps = steps(&recipe, &sampler);
    let start = match &options.start {
        Some(file) => std::fs::read(file)
            .map_err(|error| LearningError::file(file, error, "run `prokura train` first"))?,
        None => Vec::new(),
    };
    if !start.is_empty() {
        student.begin(&candle_core::safetensors::load_buffer(&start, &candle_core::Device::Cpu)?)?;
    }
    let key = key(&recipe, &corpus, steps, &start)?;
    let checkpoint =
        options.work.join(format!("checkpoint-{}.safetensors", key.hex().get(..16).unwrap_or_default()));
    let meanings = meanings(&base, &tokens, &corpus, &options.work, progress)?;
    let done = resume(&checkpoint, &mut student, progress)?;
    let mut untouched = student.names();
    for number in 0..steps {
        let mut rng = step_rng(recipe.seed, number);
        let batch = sampler.batch(recipe.batch, &mut rng);
        if number < done {
            continue;
        }
        let examples = batch
            .iter()
            .filter_map(|at| corpus.lines.get(*at))
            .map(|line| {
                let drawn = draw::varied(line, &corpus.lists, &mut rng);
                example(line, &drawn, &tokens, &extraction, &meanings)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let warm = ((steps as f64 * recipe.warm) as usize).max(1);
        let rate = recipe.rate * adamw::schedule(number, warm, steps);
        let step = Step { number: number as i32 + 1, rate, decay: recipe.decay, scale: 1.0 };
        let course = Course {
            balance: recipe.balance,
            head_factor: recipe.head_factor,
            clip: 1.0,
            dropout: Dropout { rate: recipe.dropout, seed: rng.random() },
        };
        let losses = student.learn(&examples, &course, step, &mut untouched)?;
        if number == done + 20 {
            all_learn(&untouched, &recipe)?;
        }
        progress(Progress::Step { number: number + 1, of: steps, losses });
        let last = number + 1 == steps;
        if (number + 1).is_multiple_of(options.save_every.max(1)) && !last {
            save(&checkpoint, number + 1, &student)?;
        }
        if (number + 1).is_multiple_of(MEASURE_EVERY) || last {
            let model = Model::new(student.weights()?, &dag, &extraction)?;
            let figures = measure::run(&model, &tokens, &corpus, &dag, &extraction, Split::Dev, MEASURED)?;
            progress(Progress::Measured { step: number + 1, figures });
        }
    }
    let weights = student.weights()?;
    let file = options.work.join("trained.safetensors");
    write(&file, &weights)?;
    progress(Progress::Note(format!("weights in {}", file.display())));
    Ok(Trained { weights, corpus, dag, extraction, tokens, recipe, steps })
}

/// Intents and fields of a pack folder.
pub fn pack(config: &Path) -> Result<(Dag, Extraction), LearningError> {
    let read = |name: &str| -> Result<(String, String), LearningError> {
        let file = config.join(name);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "name the pack's folder with --config"))?;
        Ok((file.display().to_string(), text))
    };
    let (file, text) = read("intents.toml")?;
    let dag = Dag::parse(&file, &text)?;
    let (file, text) = read("extraction.toml")?;
    Ok((dag, Extraction::parse(&file, &text)?))
}

fn steps(recipe: &Recipe, sampler: &Sampler) -> usize {
    if recipe.steps > 0 {
        return recipe.steps;
    }
    let measure = if sampler.size(Source::Banking77) > 0 { Source::Banking77 } else { Source::Own };
    let lines = recipe.epochs * sampler.size(measure) as f64 / sampler.share(measure).max(1e-9);
    (lines / recipe.batch as f64).ceil() as usize
}

/// The digest of everything that a checkpoint depends on.
fn key(recipe: &Recipe, corpus: &Corpus, steps: usize, start: &[u8]) -> Result<Digest, LearningError> {
    let recipe = serde_json::to_vec(recipe).map_err(|error| LearningError::Broken(error.to_string()))?;
    let lines: Vec<String> = corpus
        .lines
        .iter()
        .filter(|line| line.split == Split::Train)
        .map(|line| format!("{:?}{:?}{:?}", line.pieces, line.target, line.tone))
        .collect();
    let steps = steps.to_le_bytes();
    let parts: Vec<&[u8]> =
        [recipe.as_slice(), &steps, start].into_iter().chain(lines.iter().map(String::as_bytes)).collect();
    Ok(Digest::of_parts(parts))
}

fn example<'a>(
    line: &'a Line,
    drawn: &Drawn,
    tokens: &Tokens,
    extraction: &Extraction,
    meanings: &'a HashMap<String, Vec<f32>>,
) -> Result<Example<'a>, LearningError> {
    let input = Input::new(&drawn.text, tokens.read(&drawn.text)?);
    let labels = measure::labels(line, drawn, &input, extraction);
    let meaning = line.meaning.as_ref().and_then(|text| meanings.get(text)).map(Vec::as_slice);
    Ok(Example { input, line, labels, meaning })
}

/// The base model's vectors of all lines that have a meaning; kept in the work folder for the next run.
fn meanings(
    base: &Path,
    tokens: &Tokens,
    corpus: &Corpus,
    work: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<HashMap<String, Vec<f32>>, LearningError> {
    let train = corpus.lines.iter().filter(|line| line.split == Split::Train);
    // A quarter of the many lines from elsewhere is enough.
    let taken = train.filter(|line| line.source != Source::Elsewhere || bucket(&line.text()) < 25);
    let mut texts: Vec<&String> = taken.filter_map(|line| line.meaning.as_ref()).collect();
    texts.sort();
    texts.dedup();
    let parts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let digest = Digest::of_parts(parts);
    let file = work.join(format!("meanings-{}.safetensors", digest.hex().get(..16).unwrap_or_default()));
    let remedy = "name a folder that can be written with --work";
    std::fs::create_dir_all(work).map_err(|error| LearningError::file(work, error, remedy))?;
    if let Ok(bytes) = std::fs::read(&file) {
        let kept = candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?;
        if let Some(table) = kept.get("meanings").filter(|table| table.dim(0).is_ok_and(|n| n == texts.len()))
        {
            return Ok(texts.into_iter().cloned().zip(table.to_vec2()?).collect());
        }
    }
    progress(Progress::Note(format!("reading {} texts with the base model", texts.len())));
    let encoder = MiniLm::new(&base_weights(base)?)?;
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(32) {
        let read: Vec<_> = chunk.iter().map(|text| tokens.read(text)).collect::<Result<_, _>>()?;
        let batch = Packed::new(read.iter().map(|tokens| tokens.ids.as_slice()));
        let pooled = ops::means(&encoder.encode(&batch)?, batch.sequences())?;
        vectors.extend(pooled.to_vec2::<f32>()?.into_iter().map(unit));
    }
    let table = candle_core::Tensor::new(vectors.clone(), &candle_core::Device::Cpu)?;
    write(&file, &HashMap::from([("meanings".to_owned(), table)]))?;
    Ok(texts.into_iter().cloned().zip(vectors).collect())
}

/// After some batches every variable must have received a gradient: a layer without a backward pass would
/// otherwise stay as it was, silently.
fn all_learn(untouched: &std::collections::BTreeSet<String>, recipe: &Recipe) -> Result<(), LearningError> {
    let own = recipe.sources.contains(&Source::Own);
    let due = |name: &&String| own || name.starts_with("encoder.") || name.starts_with("intent.");
    let dead: Vec<&str> = untouched.iter().filter(due).map(String::as_str).collect();
    if dead.is_empty() {
        return Ok(());
    }
    Err(LearningError::Broken(format!("no gradient reaches {}", dead.join(", "))))
}

fn write(file: &Path, tensors: &HashMap<String, candle_core::Tensor>) -> Result<(), LearningError> {
    let part = file.with_extension("part");
    candle_core::safetensors::save(tensors, &part)?;
    std::fs::rename(&part, file).map_err(|error| LearningError::file(file, error, "free some space"))
}

fn save(file: &Path, step: usize, student: &Student) -> Result<(), LearningError> {
    let mut state = student.state()?;
    let number = candle_core::Tensor::new(&[step as u32], &candle_core::Device::Cpu)?;
    state.insert("step".to_owned(), number);
    write(file, &state)
}

fn resume(
    file: &Path,
    student: &mut Student,
    progress: &mut dyn FnMut(Progress),
) -> Result<usize, LearningError> {
    let Ok(bytes) = std::fs::read(file) else { return Ok(0) };
    let state = candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?;
    let step = match state.get("step") {
        Some(step) => step.to_vec1::<u32>()?.first().copied().unwrap_or(0) as usize,
        None => return Ok(0),
    };
    student.restore(&state)?;
    progress(Progress::Note(format!("going on after step {step}")));
    Ok(step)
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
