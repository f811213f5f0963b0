//! Trains and measures a task: once for every fold that is held out, then once on all lines for the weights
//! that are kept.
//!
//! What came of a held-out fold is kept in the work folder under a name made of what it depends on, so that a
//! run that was killed goes on with the next fold.

use super::declare::{Recipe, Task};
use super::figures::{self, Count, Figures, Outcome, Score};
use super::heads::{self, Example, Labels, Reader};
use super::lines::{self, Line};
use crate::base::Digest;
use crate::learning::adamw::{self, Step};
use crate::learning::corpus::{self, step_rng};
use crate::learning::datasets::clean::normalised;
use crate::learning::error::LearningError;
use crate::learning::multitask::Average;
use crate::learning::student::{Course, Part, Pass, Student, base_weights};
use crate::learning::tasks::{Balance, Losses, Tasks};
use crate::learning::train::Progress;
use crate::understanding::encoder::{Dropout, Weights};
use crate::understanding::model::Input;
use crate::understanding::tokens::Tokens;
use crate::understanding::{Lexicon, bundle, quantise};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Where things are and what is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The task file.
    pub task: PathBuf,
    /// The folder that its paths are relative to.
    pub data: PathBuf,
    /// The project's own lines, for their lists of names.
    pub own: PathBuf,
    /// The base model.
    pub base: PathBuf,
    /// A bundle whose trunk and pieces to start from instead.
    pub start: Option<PathBuf>,
    pub work: PathBuf,
    pub out: PathBuf,
    pub threads: usize,
    /// Instead of what the task file says.
    pub epochs: Option<f64>,
    pub seed: Option<u64>,
    /// Steps of every training instead of epochs.
    pub steps: Option<usize>,
    /// Hold out these folds alone; empty: those of the task file.
    pub folds: Vec<usize>,
    /// Hold out the development folds together, and measure nothing else; no weights are kept.
    pub develop: bool,
}

/// report.json.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub task: String,
    /// Digest of the trunk and tokenizer that training started from.
    pub start: Digest,
    pub recipe: Recipe,
    pub lines: usize,
    pub intents: usize,
    pub slots: usize,
    /// Over the messages of all held-out folds. Weights are rounded to eight bits.
    pub all: Figures,
    /// Over the folds on which no recipe was chosen, where some were used for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_develop: Option<Figures>,
    /// The mean of the folds' F1, as Casanueva et al. (2022) report it.
    pub mean_of_folds: Mean,
    pub by_slot: BTreeMap<String, Score>,
    pub folds: Vec<Fold>,
    /// Digest of weights.safetensors, where weights were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Digest>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mean {
    pub intents: f64,
    pub slots: f64,
}

/// One training and what came of the lines that it was kept from.
#[derive(Clone, Debug, Serialize)]
pub struct Fold {
    pub held_out: Vec<usize>,
    pub messages: usize,
    pub intents: f64,
    pub slots: f64,
}

/// Everything that trainings share.
struct Material<'a> {
    start: Weights,
    /// tokenizer.json
    tokenizer: Vec<u8>,
    tokens: Tokens,
    lexicon: Lexicon,
    labels: Labels,
    recipe: Recipe,
    steps: Option<usize>,
    threads: usize,
    digest: Digest,
    folds: &'a [Vec<Line>],
}

/// The encoder's positions.
const REACH: usize = 512;
/// How many weights along the way are averaged, at most.
const AVERAGED: usize = 12;
/// Messages that are read at once.
const CHUNK: usize = 32;
const SPACE: &str = "name a folder that can be written";

pub fn run(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report, LearningError> {
    let mut task = Task::read(&options.task)?;
    task.recipe.epochs = options.epochs.unwrap_or(task.recipe.epochs);
    task.recipe.seed = options.seed.unwrap_or(task.recipe.seed);
    if let Some((field, problem, remedy)) = task.recipe.fault() {
        return Err(LearningError::file(&options.task, format!("`{field}` {problem}"), remedy));
    }
    let rounds = rounds(options, &task)?;
    let folds = lines::read(&task, &options.data)?;
    let material = material(options, &task, &folds)?;
    for folder in [&options.work, &options.out] {
        std::fs::create_dir_all(folder).map_err(|error| LearningError::file(folder, error, SPACE))?;
    }
    let mut measured = Vec::new();
    for held_out in rounds {
        progress(Progress::Note(format!("held out: {held_out:?} of {} folds", folds.len())));
        let outcomes = round(&material, &held_out, &options.work, progress)?;
        let fold = told(&held_out, &outcomes);
        let percent = |share: f64| share * 100.0;
        let (intents, slots) = (percent(fold.intents), percent(fold.slots));
        progress(Progress::Note(format!("F1 in percent: intents {intents:.1}, slots {slots:.1}")));
        measured.push((fold, outcomes));
    }
    let weights = if options.develop {
        None
    } else {
        progress(Progress::Note("training on all folds".to_owned()));
        let lines: Vec<&Line> = folds.iter().flatten().collect();
        Some(keep(&material, &learn(&material, &lines, progress)?, &options.out)?)
    };
    let report = report(&task, &material, &measured, weights);
    write(&options.out, "report.json", &json(&report)?)?;
    write(&options.out, "counts.jsonl", &counts(&measured)?)?;
    Ok(report)
}

/// The groups of folds that are held out, one after the other.
fn rounds(options: &Options, task: &Task) -> Result<Vec<Vec<usize>>, LearningError> {
    let bad = |problem: &str, remedy: &str| Err(LearningError::file(&options.task, problem, remedy));
    if options.develop && task.develop.is_empty() {
        return bad("`develop` names no folds", "name those on which the recipe may be chosen");
    }
    if let Some(fold) = options.folds.iter().find(|fold| **fold >= task.folds.len()) {
        let problem = format!("--folds names {fold} of {} folds", task.folds.len());
        return bad(&problem, "folds are counted from 0");
    }
    let rounds: Vec<Vec<usize>> = if options.develop {
        vec![task.develop.clone()]
    } else if options.folds.is_empty() {
        task.held_out().into_iter().map(|fold| vec![fold]).collect()
    } else {
        options.folds.iter().map(|fold| vec![*fold]).collect()
    };
    if rounds.iter().any(|held_out| held_out.len() == task.folds.len()) {
        return bad("nothing is left to train on", "name more files in `folds`, or set `held_out = []`");
    }
    Ok(rounds)
}

fn material<'a>(
    options: &Options,
    task: &Task,
    folds: &'a [Vec<Line>],
) -> Result<Material<'a>, LearningError> {
    let labels = Labels::of(task.intents, folds.iter().flatten());
    if labels.intents.is_empty() && labels.slots.is_empty() {
        return Err(LearningError::file(&options.task, "its lines have no labels", "mark intents or slots"));
    }
    let (mut start, tokenizer) = match &options.start {
        Some(folder) => bundle::trunk(folder)?,
        None => {
            let file = options.base.join("tokenizer.json");
            let tokenizer = std::fs::read(&file)
                .map_err(|error| LearningError::file(&file, error, "run `make base-model`"))?;
            (base_weights(&options.base.join("model.safetensors"))?, tokenizer)
        }
    };
    start.retain(|name, _| name.starts_with("encoder."));
    let lexicon = corpus::lexicon(&options.own)?;
    let digest = Digest::of_parts([quantise::pack(&start)?.as_slice(), &tokenizer]);
    labels.begin(&mut start, task.recipe.seed)?;
    Ok(Material {
        start,
        tokens: Tokens::from_bytes(&tokenizer, REACH)?,
        tokenizer,
        lexicon,
        labels,
        recipe: task.recipe.clone(),
        steps: options.steps,
        threads: options.threads,
        digest,
        folds,
    })
}

/// Trains without some folds and says what came of their messages. A line that a held-out one repeats but for
/// case, spaces and punctuation is not trained on.
fn round(
    material: &Material,
    held_out: &[usize],
    work: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Outcome>, LearningError> {
    let part = |held: bool| {
        let folds = material.folds.iter().enumerate();
        folds.filter(move |(at, _)| held_out.contains(at) == held).flat_map(|(_, lines)| lines)
    };
    let test: Vec<&Line> = part(true).collect();
    let known: HashSet<Vec<char>> = test.iter().map(|line| normalised(&line.text)).collect();
    let all: Vec<&Line> = part(false).collect();
    let train: Vec<&Line> =
        all.iter().filter(|line| !known.contains(&normalised(&line.text))).copied().collect();
    let dropped = all.len() - train.len();
    progress(Progress::Note(format!("{} lines, {dropped} dropped that are held out too", train.len())));
    let key = key(material, &train, &test)?;
    let file = work.join(format!("task-{}.json", key.hex().get(..16).unwrap_or_default()));
    if let Some(kept) = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        progress(Progress::Note(format!("taken from {}", file.display())));
        return Ok(kept);
    }
    let weights = learn(material, &train, progress)?;
    let eight_bit = quantise::full(&quantise::rounded(&weights)?)?;
    let outcomes = measure(material, &eight_bit, &test)?;
    let part = file.with_extension("part");
    std::fs::write(&part, json(&outcomes)?)
        .and_then(|()| std::fs::rename(&part, &file))
        .map_err(|error| LearningError::file(&file, error, SPACE))?;
    Ok(outcomes)
}

/// The digest of everything that a round's outcomes depend on.
fn key(material: &Material, train: &[&Line], test: &[&Line]) -> Result<Digest, LearningError> {
    let Material { labels, recipe, lexicon, digest, .. } = material;
    let told = format!("{:?} {}", material.steps, material.threads);
    let fixed = [json(recipe)?, json(labels)?, json(lexicon)?, digest.as_str().into(), told.into()];
    let lines: Vec<String> = train.iter().map(|line| format!("train {line:?}")).collect();
    let test: Vec<String> = test.iter().map(|line| format!("test {line:?}")).collect();
    let lines = lines.iter().chain(&test).map(String::as_bytes);
    Ok(Digest::of_parts(fixed.iter().map(Vec::as_slice).chain(lines).collect::<Vec<_>>()))
}

fn measure(material: &Material, weights: &Weights, lines: &[&Line]) -> Result<Vec<Outcome>, LearningError> {
    let reader = Reader::new(weights, &material.labels, material.recipe.threshold)?;
    let mut outcomes = Vec::with_capacity(lines.len());
    for chunk in lines.chunks(CHUNK) {
        let input =
            |line: &&Line| Ok(Input::new(&line.text, material.tokens.read(&line.text)?, &material.lexicon));
        let inputs: Vec<Input> = chunk.iter().map(input).collect::<Result<_, LearningError>>()?;
        let found = reader.read(&inputs.iter().collect::<Vec<_>>())?;
        outcomes.extend(
            chunk.iter().zip(&found).map(|(line, found)| heads::outcome(found, line, &material.labels)),
        );
    }
    Ok(outcomes)
}

/// One training from the start: the weights of trunk and heads.
fn learn(
    material: &Material,
    lines: &[&Line],
    progress: &mut dyn FnMut(Progress),
) -> Result<Weights, LearningError> {
    let recipe = &material.recipe;
    if lines.is_empty() {
        return Err(LearningError::Broken("there is no line to train on".to_owned()));
    }
    let steps = (recipe.epochs * lines.len() as f64 / recipe.batch as f64).ceil() as usize;
    let steps = material.steps.unwrap_or(steps).max(1);
    let mut start = material.start.clone();
    let examples = lines.iter().map(|line| {
        let input = Input::new(&line.text, material.tokens.read(&line.text)?, &material.lexicon);
        Ok(Example::of(line, input, &material.labels))
    });
    material.labels.expect(&mut start, &examples.collect::<Result<Vec<_>, LearningError>>()?)?;
    let mut student = Student::new(start, &Tasks::none(), recipe.seed)?;
    let mut untouched = student.names();
    let pool = values(lines);
    let mut order: Vec<&Line> = lines.to_vec();
    let mut average = Average::default();
    let stride = ((steps as f64 * recipe.averaged) as usize / AVERAGED).max(1);
    for number in 0..steps {
        let mut rng = step_rng(recipe.seed, number);
        let mut examples = Vec::with_capacity(recipe.batch);
        for drawn in number * recipe.batch..(number + 1) * recipe.batch {
            if drawn.is_multiple_of(order.len()) {
                let pass = (drawn / order.len()) as u64;
                order = lines.to_vec();
                order.shuffle(&mut StdRng::seed_from_u64(recipe.seed.rotate_left(32) ^ pass));
            }
            if let Some(line) = order.get(drawn % order.len()) {
                examples.push(example(material, line, &pool, &mut rng)?);
            }
        }
        let losses = step(material, &mut student, &examples, (number, steps), rng.random(), &mut untouched)?;
        progress(Progress::Step { number: number + 1, of: steps, losses });
        if late(number, steps, recipe.averaged) && (steps - 1 - number).is_multiple_of(stride) {
            average.add(&student.weights()?)?;
        }
    }
    if let Some(dead) = untouched.iter().find(|name| material.start.contains_key(*name)) {
        return Err(LearningError::Broken(format!("no gradient reaches {dead}")));
    }
    let mut weights = average.mean()?.map_or_else(|| student.weights(), Ok)?;
    weights.retain(|name, _| material.start.contains_key(name));
    Ok(weights)
}

/// Whether a step belongs to this part at the end.
fn late(number: usize, steps: usize, part: f64) -> bool {
    number as f64 >= steps as f64 * (1.0 - part)
}

fn step(
    material: &Material,
    student: &mut Student,
    examples: &[Example],
    (number, steps): (usize, usize),
    seed: u64,
    untouched: &mut BTreeSet<String>,
) -> Result<Losses, LearningError> {
    let recipe = &material.recipe;
    let warm = ((steps as f64 * recipe.warm) as usize).max(1);
    let rate = recipe.rate * adamw::schedule(number, warm, steps);
    let step = Step { number: number as i32 + 1, rate, decay: recipe.decay, scale: 1.0 };
    let course = Course {
        balance: Balance::default(),
        head_factor: recipe.head_factor,
        clip: 1.0,
        dropout: Dropout { rate: recipe.dropout, seed },
        eight_bit: late(number, steps, recipe.eight_bit),
    };
    let shares: Vec<&[Example]> =
        examples.chunks(examples.len().div_ceil(material.threads.max(1)).max(1)).collect();
    let parts: Vec<Part> = shares
        .iter()
        .map(|share| {
            let texts = share.iter().map(|example| example.input.tokens.ids.as_slice()).collect();
            Part { texts, beside: &[] }
        })
        .collect();
    let lose = |at: usize, pass: &Pass| {
        heads::losses(shares.get(at).copied().unwrap_or_default(), pass, &material.labels, recipe)
    };
    student.step(&parts, &course, step, untouched, &lose)
}

/// All values of every slot.
fn values<'a>(lines: &[&'a Line]) -> BTreeMap<&'a str, Vec<String>> {
    let mut pool: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in lines {
        let letters: Vec<char> = line.text.chars().collect();
        for value in &line.values {
            let text = letters.get(value.start..value.end).unwrap_or_default().iter().collect();
            pool.entry(&value.slot).or_default().push(text);
        }
    }
    pool
}

fn example(
    material: &Material,
    line: &Line,
    pool: &BTreeMap<&str, Vec<String>>,
    rng: &mut StdRng,
) -> Result<Example, LearningError> {
    let swapped = swapped(line, pool, material.recipe.swapped, rng);
    let none = Lexicon::default();
    let lexicon = if rng.random_bool(material.recipe.unlisted) { &none } else { &material.lexicon };
    let input = Input::new(&swapped.text, material.tokens.read(&swapped.text)?, lexicon);
    Ok(Example::of(&swapped, input, &material.labels))
}

/// The line with some of its values replaced by others of their slots.
fn swapped(line: &Line, pool: &BTreeMap<&str, Vec<String>>, part: f64, rng: &mut StdRng) -> Line {
    let letters: Vec<char> = line.text.chars().collect();
    let (mut text, mut done) = (Vec::with_capacity(letters.len()), 0);
    let mut out = line.clone();
    for value in &mut out.values {
        text.extend_from_slice(letters.get(done..value.start).unwrap_or_default());
        let start = text.len();
        let other = pool.get(value.slot.as_str()).filter(|_| rng.random_bool(part));
        match other.and_then(|others| others.choose(rng)) {
            Some(other) => text.extend(other.chars()),
            None => text.extend_from_slice(letters.get(value.start..value.end).unwrap_or_default()),
        }
        done = value.end;
        (value.start, value.end) = (start, text.len());
    }
    text.extend_from_slice(letters.get(done..).unwrap_or_default());
    out.text = text.into_iter().collect();
    out
}

fn told(held_out: &[usize], outcomes: &[Outcome]) -> Fold {
    let f1 = |pick: fn(&Outcome) -> Count| outcomes.iter().map(pick).sum::<Count>().f1();
    Fold {
        held_out: held_out.to_vec(),
        messages: outcomes.len(),
        intents: f1(|outcome| outcome.intents),
        slots: f1(|outcome| outcome.slots),
    }
}

fn report(
    task: &Task,
    material: &Material,
    measured: &[(Fold, Vec<Outcome>)],
    weights: Option<Digest>,
) -> Report {
    let all: Vec<&Outcome> = measured.iter().flat_map(|(_, outcomes)| outcomes).collect();
    let chosen_on = |fold: &Fold| fold.held_out.iter().any(|at| task.develop.contains(at));
    let rest: Vec<&Outcome> =
        measured.iter().filter(|(fold, _)| !chosen_on(fold)).flat_map(|(_, outcomes)| outcomes).collect();
    let mean = |pick: fn(&Fold) -> f64| {
        measured.iter().map(|(fold, _)| pick(fold)).sum::<f64>() / measured.len().max(1) as f64
    };
    let slot = |(at, name): (usize, &String)| {
        let count: Count = all.iter().filter_map(|outcome| outcome.by_slot.get(at)).copied().sum();
        (name.clone(), count.score())
    };
    Report {
        task: task.name.clone(),
        start: material.digest.clone(),
        recipe: material.recipe.clone(),
        lines: material.folds.iter().map(Vec::len).sum(),
        intents: material.labels.intents.len(),
        slots: material.labels.slots.len(),
        all: figures::figures(&all),
        without_develop: (!rest.is_empty() && rest.len() < all.len()).then(|| figures::figures(&rest)),
        mean_of_folds: Mean { intents: mean(|fold| fold.intents), slots: mean(|fold| fold.slots) },
        by_slot: material.labels.slots.iter().enumerate().map(slot).collect(),
        folds: measured.iter().map(|(fold, _)| fold.clone()).collect(),
        weights,
    }
}

/// Writes the eight-bit weights and what is needed to use them.
fn keep(material: &Material, weights: &Weights, out: &Path) -> Result<Digest, LearningError> {
    #[derive(Serialize)]
    struct Kept<'a> {
        #[serde(flatten)]
        labels: &'a Labels,
        threshold: f64,
        reach: usize,
    }
    let kept = Kept { labels: &material.labels, threshold: material.recipe.threshold, reach: REACH };
    let packed = quantise::pack(weights)?;
    write(out, "weights.safetensors", &packed)?;
    write(out, "tokenizer.json", &material.tokenizer)?;
    write(out, "lexicon.json", &json(&material.lexicon)?)?;
    write(out, "task.json", &json(&kept)?)?;
    Ok(Digest::of(&packed))
}

/// One line a held-out message, in the order of the files: no text, only what was right in it.
fn counts(measured: &[(Fold, Vec<Outcome>)]) -> Result<Vec<u8>, LearningError> {
    #[derive(Serialize)]
    struct Message<'a> {
        folds: &'a [usize],
        at: usize,
        intents: Count,
        slots: Count,
    }
    let mut out = Vec::new();
    for (fold, outcomes) in measured {
        for (at, outcome) in outcomes.iter().enumerate() {
            let (intents, slots) = (outcome.intents, outcome.slots);
            let line = serde_json::to_vec(&Message { folds: &fold.held_out, at, intents, slots });
            out.extend(line.map_err(|error| LearningError::Broken(error.to_string()))?);
            out.push(b'\n');
        }
    }
    Ok(out)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, LearningError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| LearningError::Broken(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LearningError> {
    let file = folder.join(name);
    std::fs::write(&file, bytes).map_err(|error| LearningError::file(&file, error, SPACE))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
