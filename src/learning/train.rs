//! `prokura train`: the stages, from folders of lines to weights on disk.
//!
//! German (pieces and a trunk that knows their meaning), teachers (single-set models whose views are handed
//! on), all tasks together with rounding to eight bits at the end. Every stage leaves its result in the work
//! folder under a name made of what it depends on, and is skipped where that is there already.

use super::corpus::Corpus;
use super::datasets::{Source, Split, bucket};
use super::error::LearningError;
use super::german::{self, German};
use super::measure::{self, Figures};
use super::multitask::{self, Material, Recipe};
use super::student::base_weights;
use super::tasks::Losses;
use crate::base::Digest;
use crate::understanding::encoder::{MiniLm, Weights};
use crate::understanding::model::Model;
use crate::understanding::tokens::Tokens;
use crate::understanding::{Dag, Extraction, bundle};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where things are and what is done.
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
    /// Checkpoints and results of stages go here; outside of the repository.
    pub work: PathBuf,
    /// Steps between two checkpoints. A run that was killed goes on from the last one.
    pub save_every: usize,
    /// Threads that share the lines of a step; results depend on their number in the last digits.
    pub threads: usize,
    /// A bundle whose trunk, heads and pieces to start from, instead of the base model and its German stage.
    pub start: Option<PathBuf>,
    pub german: German,
    /// The result of an earlier German stage, its tokenizer beside it, instead of a new one.
    pub german_from: Option<PathBuf>,
    /// How many single-set models hand on their views.
    pub teachers: usize,
    /// Begin with what the teachers learned added to what the German stage did (Ilharco et al. 2023).
    pub merged: bool,
    pub teacher: Recipe,
    pub recipe: Recipe,
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
    /// tokenizer.json
    pub tokenizer: Vec<u8>,
    pub steps: usize,
}

/// Longest training text, in pieces: longer ones are cut, which costs nothing but a tail of a few e-mails.
const REACH: usize = 128;
/// Teachers speak softer than they learned to.
const SOFT: f64 = 2.0;
const SPACE: &str = "name a folder that can be written with --work";

pub fn run(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Trained, LearningError> {
    let (dag, extraction) = pack(&options.config)?;
    let recipe = &options.recipe;
    let mut corpus = Corpus::read(options.data.as_deref(), &options.own, &dag, &extraction, &recipe.sources)?;
    if recipe.whole {
        corpus.take_whole();
    }
    tell_corpus(&corpus, progress);
    std::fs::create_dir_all(&options.work)
        .map_err(|error| LearningError::file(&options.work, error, SPACE))?;
    let file = options.base.join("tokenizer.json");
    let published =
        std::fs::read(&file).map_err(|error| LearningError::file(&file, error, "run `make base-model`"))?;
    let base = base_weights(&options.base.join("model.safetensors"))?;
    let base_tokens = Tokens::from_bytes(&published, REACH)?;
    let meanings = meanings(&base, &base_tokens, &corpus, &options.work, options.threads, progress)?;
    let (start, tokenizer) = match (&options.start, &options.german_from) {
        (Some(folder), _) => bundle::trunk(folder)?,
        (None, Some(file)) => german_result(file)?,
        (None, None) => german(options, &base, (&published, &base_tokens), &corpus, &meanings, progress)?,
    };
    let taught = HashMap::new();
    let mut material = Material {
        corpus: &corpus,
        dag: &dag,
        extraction: &extraction,
        tokens: &base_tokens,
        meanings: &meanings,
        taught: &taught,
        work: &options.work,
        save_every: options.save_every,
        threads: options.threads,
    };
    let Teachers { taught, steps_away } = teachers(options, &base, &material, progress)?;
    let start = if options.merged && options.start.is_none() { added(start, &steps_away)? } else { start };
    let tokens = Tokens::from_bytes(&tokenizer, REACH)?;
    progress(Progress::Note("training all tasks".to_owned()));
    material = Material { tokens: &tokens, taught: &taught, ..material };
    let (weights, steps) = multitask::run(&material, recipe, start, progress)?;
    Ok(Trained { weights, tokenizer, steps })
}

/// Pieces and trunk of the German stage.
fn german(
    options: &Options,
    base: &Weights,
    (published, base_tokens): (&[u8], &Tokens),
    corpus: &Corpus,
    meanings: &HashMap<String, Vec<f32>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Weights, Vec<u8>), LearningError> {
    let plan = &options.german;
    let law = options.data.as_deref().map(law).unwrap_or_default();
    let (vocabulary, weights) = german::pieces(plan, base, published, corpus, &law)?;
    let told =
        format!("{} German pieces, {} of them from their gloss", vocabulary.rows.len(), vocabulary.glossed);
    progress(Progress::Note(told));
    let recipe = serde_json::to_vec(plan).map_err(|error| LearningError::Broken(error.to_string()))?;
    let lines: Vec<String> =
        corpus.lines.iter().filter(|l| l.split == Split::Train).map(super::datasets::Line::text).collect();
    let seed = options.recipe.seed.to_le_bytes();
    let parts = [recipe.as_slice(), &vocabulary.tokenizer, &seed]
        .into_iter()
        .chain(lines.iter().map(String::as_bytes));
    let key = Digest::of_parts(parts.collect::<Vec<_>>());
    let file = options.work.join(format!("german-{}.safetensors", key.hex().get(..16).unwrap_or_default()));
    let beside = file.with_extension("tokenizer.json");
    std::fs::write(&beside, &vocabulary.tokenizer)
        .map_err(|error| LearningError::file(&beside, error, SPACE))?;
    if file.exists() {
        return german_result(&file);
    }
    let tokens = Tokens::from_bytes(&vocabulary.tokenizer, REACH)?;
    let way = (options.recipe.seed, options.threads);
    let tell = |when: &str, weights: &Weights, progress: &mut dyn FnMut(Progress)| {
        let (share, n) = german::twins_found((base, base_tokens), (weights, &tokens), corpus)?;
        progress(Progress::Note(format!("{when} {:.1} % of {n} twins are found", 100.0 * share)));
        Ok::<_, LearningError>(())
    };
    tell("before it,", &weights, progress)?;
    let weights = german::run(plan, weights, &tokens, corpus, meanings, way, progress)?;
    tell("behind it,", &weights, progress)?;
    multitask::write(&file, &weights)?;
    Ok((weights, vocabulary.tokenizer))
}

/// Weights and tokenizer of a German stage: `x.safetensors` and `x.tokenizer.json`.
fn german_result(file: &Path) -> Result<(Weights, Vec<u8>), LearningError> {
    let read = |file: &Path| {
        let remedy = "name the result of a German stage, with its tokenizer beside it";
        std::fs::read(file).map_err(|error| LearningError::file(file, error, remedy))
    };
    let weights = candle_core::safetensors::load_buffer(&read(file)?, &candle_core::Device::Cpu)?;
    Ok((weights, read(&file.with_extension("tokenizer.json"))?))
}

/// German law as Markdown, where it is among the public data: more words to learn pieces from.
fn law(data: &Path) -> String {
    let names = ["KWG.md", "ZAG.md", "GwG.md", "ZKG.md"];
    names.iter().filter_map(|name| std::fs::read_to_string(data.join("german_law").join(name)).ok()).collect()
}

/// What the teachers know.
#[derive(Default)]
struct Teachers {
    /// The mean of their leaf probabilities for the lines of their set, by text.
    taught: HashMap<String, Vec<f32>>,
    /// How far their weights are from the base model's, in the mean; their intent head as it is.
    steps_away: Weights,
}

/// Adds to the trunk what the teachers learned beyond the base model. Rows of word vectors that now belong to
/// another piece have another meaning; what the teachers did to them is small beside it.
fn added(start: Weights, steps_away: &Weights) -> Result<Weights, LearningError> {
    let mut sum = start;
    for (name, away) in steps_away {
        let together = match sum.get(name) {
            Some(tensor) => (tensor + away)?,
            None => away.clone(),
        };
        sum.insert(name.clone(), together);
    }
    Ok(sum)
}

fn teachers(
    options: &Options,
    base: &Weights,
    material: &Material,
    progress: &mut dyn FnMut(Progress),
) -> Result<Teachers, LearningError> {
    let mut teachers = Teachers::default();
    let share = 1.0 / options.teachers.max(1) as f64;
    let lines: Vec<_> = material
        .corpus
        .lines
        .iter()
        .filter(|line| line.split == Split::Train && options.teacher.sources.contains(&line.source))
        .collect();
    if lines.is_empty() {
        return Ok(teachers);
    }
    for number in 1..=options.teachers as u64 {
        progress(Progress::Note(format!("teacher {number} of {}", options.teachers)));
        let recipe = Recipe { seed: options.recipe.seed + 100 * number, ..options.teacher.clone() };
        let (weights, _) = multitask::run(material, &recipe, base.clone(), progress)?;
        for (name, tensor) in
            weights.iter().filter(|(n, _)| n.starts_with("encoder.") || n.starts_with("intent."))
        {
            let away = match base.get(name) {
                Some(before) => ((tensor - before)? * share)?,
                None => (tensor * share)?,
            };
            teachers.steps_away =
                added(std::mem::take(&mut teachers.steps_away), &Weights::from([(name.clone(), away)]))?;
        }
        let model = Model::new(weights, material.dag, material.extraction)?;
        for chunk in lines.chunks(32) {
            for (line, raw) in
                chunk.iter().zip(measure::raw(&model, material.tokens, material.corpus, chunk)?)
            {
                let leaves = model.shape.scores(&raw.intent, SOFT).leaves;
                let sum = teachers.taught.entry(line.text()).or_insert_with(|| vec![0.0; leaves.len()]);
                sum.iter_mut().zip(leaves).for_each(|(s, p)| *s += (p * share) as f32);
            }
        }
    }
    Ok(teachers)
}

fn tell_corpus(corpus: &Corpus, progress: &mut dyn FnMut(Progress)) {
    corpus.notes.iter().for_each(|note| progress(Progress::Note(note.clone())));
    for source in Source::ALL {
        let count = |split| corpus.part(source, split).len();
        let (train, dev, test) = (count(Split::Train), count(Split::Dev), count(Split::Test));
        progress(Progress::Note(format!("{}: {train} train, {dev} dev, {test} test", source.name())));
    }
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

/// The base model's vectors of all lines that have a meaning; kept in the work folder for the next run.
fn meanings(
    base: &Weights,
    tokens: &Tokens,
    corpus: &Corpus,
    work: &Path,
    threads: usize,
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
    if let Ok(bytes) = std::fs::read(&file) {
        let kept = candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?;
        if let Some(table) = kept.get("meanings").filter(|table| table.dim(0).is_ok_and(|n| n == texts.len()))
        {
            return Ok(texts.into_iter().cloned().zip(table.to_vec2()?).collect());
        }
    }
    progress(Progress::Note(format!("reading {} texts with the base model", texts.len())));
    let encoder = MiniLm::new(base)?;
    let read = |share: &[&String]| {
        german::vectors(&encoder, tokens, &share.iter().map(|text| text.as_str()).collect::<Vec<_>>())
    };
    // Whole chunks a thread, so that a text is read in the same company however many threads there are.
    let share = texts.len().div_ceil(threads.max(1)).next_multiple_of(32);
    let shares: Vec<Result<Vec<Vec<f32>>, LearningError>> = std::thread::scope(|scope| {
        let running: Vec<_> = texts.chunks(share.max(1)).map(|share| scope.spawn(|| read(share))).collect();
        running
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(LearningError::Broken("a thread broke off".to_owned())))
            })
            .collect()
    });
    let vectors: Vec<Vec<f32>> = shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let table = candle_core::Tensor::new(vectors.clone(), &candle_core::Device::Cpu)?;
    multitask::write(&file, &HashMap::from([("meanings".to_owned(), table)]))?;
    Ok(texts.into_iter().cloned().zip(vectors).collect())
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
