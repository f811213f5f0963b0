//! Training of trunk and all heads together: from lines and a trunk to begin with to weights.

use super::adamw::{self, Step};
use super::compose::{self, Around};
use super::corpus::{Corpus, Sampler, step_rng};
use super::datasets::{Line, Source, Split, Target};
use super::draw::{self, Drawn};
use super::error::LearningError;
use super::measure;
use super::student::{Course, Student};
use super::tasks::{Balance, Example, Tasks};
use super::train::Progress;
use crate::base::{Digest, Language};
use crate::understanding::encoder::{Dropout, Weights};
use crate::understanding::model::{Input, Model};
use crate::understanding::tokens::Tokens;
use crate::understanding::{Dag, Extraction, Lexicon};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

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
    /// Part of the steps, at the end, in which weights and activations are rounded to eight bits.
    pub eight_bit: f64,
    /// Part of the steps, at the end, whose weights are averaged.
    pub averaged: f64,
    /// How often an English line gets German words; a German line gets English ones half as often.
    pub switched: f64,
    /// Train on the development lines of public sets too: the recipe was chosen before.
    pub whole: bool,
    pub seed: u64,
    pub balance: Balance,
}

impl Default for Recipe {
    fn default() -> Self {
        let balance = Balance {
            smoothing: 0.05,
            parent: 0.3,
            spans: 2.0,
            tone: 0.3,
            retrieval: 1.0,
            segments: 0.5,
            teachers: 0.5,
        };
        Self {
            sources: Source::ALL.to_vec(),
            steps: 8_000,
            epochs: 7.0,
            own_factor: 2.0,
            batch: 32,
            rate: 1e-4,
            head_factor: 10.0,
            decay: 0.01,
            warm: 0.06,
            dropout: 0.1,
            eight_bit: 0.12,
            averaged: 0.1,
            switched: 0.15,
            whole: true,
            seed: 1,
            balance,
        }
    }
}

impl Recipe {
    /// A model of Banking77 alone, which is better at it than one that does everything.
    pub fn teacher() -> Self {
        Self {
            sources: vec![Source::Banking77],
            steps: 0,
            epochs: 14.0,
            eight_bit: 0.0,
            switched: 0.0,
            ..Self::default()
        }
    }
}

/// What a run works on.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    pub corpus: &'a Corpus,
    pub dag: &'a Dag,
    pub extraction: &'a Extraction,
    pub tokens: &'a Tokens,
    /// The base model's vectors by text.
    pub meanings: &'a HashMap<String, Vec<f32>>,
    /// What teachers say about lines, by text.
    pub taught: &'a HashMap<String, Vec<f32>>,
    /// Checkpoints go here.
    pub work: &'a Path,
    pub save_every: usize,
    pub threads: usize,
}

/// Steps between two looks at the development lines, and how many of each source are looked at.
const MEASURE_EVERY: usize = 2_000;
const MEASURED: usize = 500;
/// Steps between two of the weights that are averaged.
const STRIDE: usize = 20;
/// How often a line is joined with another one, and how often a leaf is left out so that its line belongs to
/// the parent's "other".
const JOINED: f64 = 0.16;
const LEFT_OUT: f64 = 0.02;
/// How often a line's words are looked up in no list: most names that customers bear stand in none.
const UNLISTED: f64 = 0.35;

/// Trains from `start` (trunk, perhaps with heads) and gives the weights; a run that was killed goes on from
/// its last checkpoint.
pub fn run(
    material: &Material,
    recipe: &Recipe,
    start: Weights,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Weights, usize), LearningError> {
    let Material { corpus, dag, extraction, .. } = material;
    let tasks = Tasks::of(dag, extraction);
    let mut sampler = Sampler::new(corpus, &recipe.sources, recipe.seed, recipe.own_factor);
    let steps = steps(recipe, &sampler);
    let key = key(recipe, material, steps, &start)?;
    let named = |what: &str| {
        material.work.join(format!("{what}-{}.safetensors", key.hex().get(..16).unwrap_or_default()))
    };
    let (checkpoint, finished) = (named("checkpoint"), named("trained"));
    if let Ok(bytes) = std::fs::read(&finished) {
        progress(Progress::Note(format!("taken from {}", finished.display())));
        return Ok((candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?, steps));
    }
    progress(Progress::Note(format!("{steps} steps, to {}", finished.display())));
    let mut student = Student::new(start, &tasks, recipe.seed)?;
    let (done, mut average) = resume(&checkpoint, &mut student, progress)?;
    let mut untouched = student.names();
    for number in 0..steps {
        let mut rng = step_rng(recipe.seed, number);
        let batch = sampler.batch(recipe.batch, &mut rng);
        if number < done {
            continue;
        }
        let lines = batch.iter().filter_map(|at| corpus.lines.get(*at));
        let examples = lines
            .map(|line| example(line, material, recipe, &mut rng))
            .collect::<Result<Vec<_>, LearningError>>()?;
        let warm = ((steps as f64 * recipe.warm) as usize).max(1);
        let rate = recipe.rate * adamw::schedule(number, warm, steps);
        let step = Step { number: number as i32 + 1, rate, decay: recipe.decay, scale: 1.0 };
        let late = |part: f64| number as f64 >= steps as f64 * (1.0 - part);
        let course = course(recipe, rng.random(), late(recipe.eight_bit));
        let losses = student.learn(&examples, &tasks, &course, step, material.threads, &mut untouched)?;
        if number == done + 40 {
            all_learn(&untouched, recipe)?;
        }
        if late(recipe.averaged) && number.is_multiple_of(STRIDE) {
            average.add(&student.weights()?)?;
        }
        progress(Progress::Step { number: number + 1, of: steps, losses });
        let last = number + 1 == steps;
        if (number + 1).is_multiple_of(material.save_every.max(1)) && !last {
            save(&checkpoint, number + 1, &student, &average)?;
        }
        if (number + 1).is_multiple_of(MEASURE_EVERY) || last {
            look(number + 1, student.weights()?, material, progress)?;
        }
    }
    let weights = match average.mean()? {
        Some(mean) => {
            progress(Progress::Note("with averaged weights:".to_owned()));
            look(steps, mean.clone(), material, progress)?;
            mean
        }
        None => student.weights()?,
    };
    write(&finished, &weights)?;
    Ok((weights, steps))
}

fn course(recipe: &Recipe, seed: u64, eight_bit: bool) -> Course {
    let dropout = Dropout { rate: recipe.dropout, seed };
    Course { balance: recipe.balance, head_factor: recipe.head_factor, clip: 1.0, dropout, eight_bit }
}

fn look(
    step: usize,
    weights: Weights,
    material: &Material,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), LearningError> {
    let Material { corpus, dag, extraction, tokens, .. } = material;
    let model = Model::new(weights, dag, extraction)?;
    let figures = measure::run(&model, tokens, corpus, dag, extraction, Split::Dev, MEASURED)?;
    progress(Progress::Measured { step, figures });
    Ok(())
}

fn steps(recipe: &Recipe, sampler: &Sampler) -> usize {
    if recipe.steps > 0 {
        return recipe.steps;
    }
    let measure = if sampler.size(Source::Banking77) > 0 { Source::Banking77 } else { Source::Own };
    let lines = recipe.epochs * sampler.size(measure) as f64 / sampler.share(measure).max(1e-9);
    (lines / recipe.batch as f64).ceil() as usize
}

/// The digest of everything that a checkpoint depends on. The number of threads is one of it: the lines of a
/// step are shared among them, and each share has its own dropout and its own mean.
fn key(recipe: &Recipe, material: &Material, steps: usize, start: &Weights) -> Result<Digest, LearningError> {
    let Material { corpus, taught, threads, .. } = material;
    let sources = &recipe.sources;
    let recipe = serde_json::to_vec(recipe).map_err(|error| LearningError::Broken(error.to_string()))?;
    let lines: Vec<String> = corpus
        .lines
        .iter()
        .filter(|line| line.split == Split::Train && sources.contains(&line.source))
        .map(|line| format!("{line:?}"))
        .chain(corpus.injections.iter().map(|(_, text)| text.clone()))
        .chain(corpus.lists())
        .collect();
    let mut names: Vec<&String> = start.keys().collect();
    names.sort();
    let mut begun: Vec<u8> = Vec::new();
    for name in names {
        if let Some(tensor) = start.get(name) {
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            begun.extend_from_slice(name.as_bytes());
            begun.extend_from_slice(Digest::of(&bytes).as_str().as_bytes());
        }
    }
    let mut views: Vec<_> = taught.iter().map(|(text, view)| format!("{text}{view:?}")).collect();
    views.sort();
    let numbers = [steps.to_le_bytes(), threads.to_le_bytes()].concat();
    let texts = lines.iter().chain(&views).map(String::as_bytes);
    let parts: Vec<&[u8]> = [recipe.as_slice(), &numbers, &begun].into_iter().chain(texts).collect();
    Ok(Digest::of_parts(parts))
}

/// One line as a step sees it: other values and spelling, words around it, now and then joined with another
/// line or with its leaf left out.
fn example<'a>(
    line: &'a Line,
    material: &'a Material,
    recipe: &Recipe,
    rng: &mut StdRng,
) -> Result<Example<'a>, LearningError> {
    let Material { corpus, dag, extraction, tokens, meanings, taught, .. } = *material;
    let all = || Arc::new(vec![true; dag.leaves.len()]);
    let aside = dag.leaf("other").map(|leaf| Target { leaf, parent: None, against: all() });
    let mut drawn = varied(line, corpus, recipe, rng);
    let mut target = line.target.clone();
    let mut groups = line.groups.clone();
    let mut tone = line.tone;
    let mut meaning = line.meaning.as_ref().and_then(|text| meanings.get(text)).map(Vec::as_slice);
    let plain = matches!(line.source, Source::Own | Source::Banking77 | Source::Clinc150);
    if plain && rng.random_bool(JOINED) {
        if let (Some(one), Some((second, other))) = (&target, partner(line, corpus, rng)) {
            let next = varied(second, corpus, recipe, rng);
            drawn = compose::joined((drawn, one.clone()), (next, other.clone()), line.language, rng);
            groups.iter_mut().zip(&second.groups).for_each(|(marked, also)| *marked = *marked && *also);
            (target, meaning) = (None, None);
            tone = tone.zip(second.tone).map(|(one, two)| one.with(two));
        }
    } else if line.source == Source::Own && rng.random_bool(LEFT_OUT) {
        target = target.map(|target| left_out(target, dag));
    }
    if plain || line.source == Source::Entities {
        let words = Around { orders: &corpus.injections, lists: &corpus.lists, aside: aside.as_ref() };
        drawn = compose::around(drawn, target.as_ref(), line.language, &words, rng);
    }
    if let (None, [(only, ..)]) = (&target, drawn.concerns.as_slice()) {
        target = Some(only.clone());
        drawn.concerns.clear();
    }
    let none = Lexicon::default();
    let lexicon = if rng.random_bool(UNLISTED) { &none } else { &corpus.lexicon };
    let input = Input::new(&drawn.text, tokens.read(&drawn.text)?, lexicon);
    let labels = measure::labels(&groups, &drawn, &input, extraction);
    let known = target.is_some() && !line.is_news() && line.source != Source::Elsewhere;
    let boundaries = boundaries(&drawn, &input, known);
    let concerns = drawn
        .concerns
        .iter()
        .filter_map(|(target, start, end)| Some((input.words_in(*start, *end)?, target.clone())))
        .collect();
    let taught = match target.is_some() && line.source != Source::Own {
        true => taught.get(&line.text()).map(Vec::as_slice),
        false => None,
    };
    Ok(Example { input, target, concerns, boundaries, tone, labels, meaning, taught })
}

/// Other values, rougher spelling, now and then words of the other language.
fn varied(line: &Line, corpus: &Corpus, recipe: &Recipe, rng: &mut StdRng) -> Drawn {
    let often = if line.language == Language::En { recipe.switched } else { recipe.switched / 2.0 };
    if rng.random_bool(often) && !line.is_news() {
        return draw::varied(&draw::switched(line, &corpus.dictionary, rng), &corpus.lists, rng);
    }
    draw::varied(line, &corpus.lists, rng)
}

/// For every word whether a concern begins with it: the first word behind the one before, so that a word
/// between two concerns belongs to the second. Nobody knows of lines without an intent.
fn boundaries(drawn: &Drawn, input: &Input, known: bool) -> Vec<Option<bool>> {
    let words = &input.tokens.words;
    if drawn.concerns.is_empty() && !known {
        return vec![None; words.len()];
    }
    let mut goals: Vec<Option<bool>> = vec![Some(false); words.len()];
    if let Some(first) = goals.first_mut() {
        *first = None;
    }
    let letters: Vec<char> = drawn.text.chars().collect();
    for (_, _, end) in drawn.concerns.iter().rev().skip(1) {
        let closes = |at: usize| letters.get(at).is_some_and(|c| matches!(c, '.' | ',' | '!' | '?' | ';'));
        let begins = words.iter().position(|word| word.start >= *end && !closes(word.start));
        if let Some(goal) = begins.and_then(|at| goals.get_mut(at)) {
            *goal = Some(true);
        }
    }
    goals
}

/// Another line of the same source and language about something else.
fn partner<'a>(line: &Line, corpus: &'a Corpus, rng: &mut StdRng) -> Option<(&'a Line, &'a Target)> {
    let lines = corpus.alike(line.source, line.language);
    (0..4).find_map(|_| {
        let other = corpus.lines.get(*lines.choose(rng)?)?;
        let target = other.target.as_ref()?;
        let same = line.target.as_ref().is_some_and(|own| own.leaf == target.leaf);
        (!same).then_some((other, target))
    })
}

/// The same message if its leaf were none of the pack's: the parent's "other" covers it.
fn left_out(target: Target, dag: &Dag) -> Target {
    let parents: Vec<usize> =
        dag.edges.iter().filter(|(_, leaf)| *leaf == target.leaf).map(|(p, _)| *p).collect();
    let [parent] = parents.as_slice() else { return target };
    let other = dag.parents.get(*parent).and_then(|parent| dag.leaf(&format!("{}_other", parent.id)));
    match other {
        Some(other) if other != target.leaf => {
            let mut against = target.against.as_ref().clone();
            if let Some(gone) = against.get_mut(target.leaf) {
                *gone = false;
            }
            Target { leaf: other, parent: target.parent, against: Arc::new(against) }
        }
        _ => target,
    }
}

/// The mean of weights along the way (Izmailov et al. 2018).
#[derive(Default)]
pub(super) struct Average {
    sums: HashMap<String, candle_core::Tensor>,
    count: usize,
}

impl Average {
    pub(super) fn add(&mut self, weights: &Weights) -> Result<(), LearningError> {
        for (name, tensor) in weights {
            let sum = match self.sums.remove(name) {
                Some(sum) => (sum + tensor)?,
                None => tensor.clone(),
            };
            self.sums.insert(name.clone(), sum);
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn mean(&self) -> Result<Option<Weights>, LearningError> {
        if self.count < 2 {
            return Ok(None);
        }
        let share = 1.0 / self.count as f64;
        let mean = |(name, sum): (&String, &candle_core::Tensor)| Ok((name.clone(), (sum * share)?));
        Ok(Some(self.sums.iter().map(mean).collect::<Result<_, LearningError>>()?))
    }
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

pub(super) fn write(
    file: &Path,
    tensors: &HashMap<String, candle_core::Tensor>,
) -> Result<(), LearningError> {
    let part = file.with_extension("part");
    candle_core::safetensors::save(tensors, &part)?;
    std::fs::rename(&part, file).map_err(|error| LearningError::file(file, error, "free some space"))
}

/// Names of what a checkpoint holds beside the student's state.
const STEP: &str = "step";
const COUNT: &str = "averaged";
const SUM: &str = "sum:";

fn save(file: &Path, step: usize, student: &Student, average: &Average) -> Result<(), LearningError> {
    let mut state = student.state()?;
    for (name, number) in [(STEP, step), (COUNT, average.count)] {
        let number = candle_core::Tensor::new(&[number as u32], &candle_core::Device::Cpu)?;
        state.insert(name.to_owned(), number);
    }
    state.extend(average.sums.iter().map(|(name, sum)| (format!("{SUM}{name}"), sum.clone())));
    write(file, &state)
}

fn resume(
    file: &Path,
    student: &mut Student,
    progress: &mut dyn FnMut(Progress),
) -> Result<(usize, Average), LearningError> {
    let Ok(bytes) = std::fs::read(file) else { return Ok((0, Average::default())) };
    let state = candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?;
    let number = |name: &str| -> Result<usize, LearningError> {
        let missing = || LearningError::Broken(format!("the checkpoint lacks `{name}`"));
        let values: Vec<u32> = state.get(name).ok_or_else(missing)?.to_vec1()?;
        Ok(values.first().copied().unwrap_or(0) as usize)
    };
    let (step, count) = (number(STEP)?, number(COUNT)?);
    student.restore(&state)?;
    let sum = |(name, tensor): (&String, &candle_core::Tensor)| {
        Some((name.strip_prefix(SUM)?.to_owned(), tensor.clone()))
    };
    progress(Progress::Note(format!("going on after step {step}")));
    Ok((step, Average { sums: state.iter().filter_map(sum).collect(), count }))
}
