//! The whole of it: negatives are what the search of the moment finds wrongly, so it is built and asked between the
//! rounds of training; at the end its weights are fitted.

use super::fit::{self, Judged};
use super::material::{self, Collection, Places};
use super::student::{Batch, Below, Losses, Student};
use crate::base::Digest;
use crate::base::{Language, Timestamp};
use crate::learning::adamw::Step;
use crate::learning::error::LearningError;
use crate::learning::finish::REACH as POSITIONS;
use crate::policy::{self, Clearance, Generation, Question};
use crate::understanding::bundle::{self, Searching};
use crate::understanding::encoder::{Dropout, Int8, Kernel};
use crate::understanding::search::{REACH, SearchWeights};
use crate::understanding::tokens::Tokens;
use crate::understanding::{Calibration, Schema, Understanding, quantise};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where things are and what is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bundle whose search is trained.
    pub start: PathBuf,
    pub out: PathBuf,
    /// Public sets.
    pub data: PathBuf,
    /// The project's own lines (models/data).
    pub own: PathBuf,
    /// The sample policies: weights are fitted by questions about them, too.
    pub policies: PathBuf,
    /// The pack (config).
    pub config: PathBuf,
    /// What is built between the rounds goes here; outside of the repository.
    pub work: PathBuf,
    pub threads: usize,
    pub recipe: Recipe,
}

impl Options {
    pub fn places(&self) -> Places<'_> {
        Places { data: &self.data, own: &self.own, policies: &self.policies }
    }
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Recipe {
    pub rounds: usize,
    /// Passes over the questions, in all rounds together.
    pub epochs: f64,
    /// Questions of a step.
    pub batch: usize,
    /// Passages of a step that the search found wrongly, for each question.
    pub hard: usize,
    pub rate: f32,
    pub decay: f32,
    pub warm: f64,
    pub dropout: f32,
    /// The last part of the steps in which weights and activations are rounded to eight bits.
    pub eight_bit: f64,
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rounds: 2,
            epochs: 5.0,
            batch: 48,
            hard: 3,
            rate: 2.5e-4,
            decay: 0.01,
            warm: 0.06,
            dropout: 0.1,
            eight_bit: 0.15,
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Trained {
    pub model: Digest,
    pub bytes: u64,
    pub questions: usize,
    pub steps: usize,
    pub weights: BTreeMap<Language, SearchWeights>,
    /// On questions that were not trained on.
    pub held_out: Vec<Judged>,
}

/// A question that is trained on, as piece ids, with its passages among all.
struct Example {
    ids: Vec<u32>,
    passage: usize,
    wrong: Vec<usize>,
}

/// How many wrongly found passages are kept for each question.
const WRONG: usize = 24;

/// # Errors
/// A file that is missing or wrong, or a folder that cannot be written.
pub fn run(options: &Options, progress: &mut dyn FnMut(String)) -> Result<Trained, LearningError> {
    let schema = Schema::read(&options.config)?;
    let opened = bundle::open(&options.start)?;
    let tokens = Tokens::from_bytes(&opened.tokenizer, POSITIONS)?;
    let collections = material::read(options.places(), &mut |note| progress(note.to_owned()))?;
    let student = Student::new(&quantise::full(&opened.weights)?, options.recipe.seed)?;
    let width = opened.weights.matrices.get("encoder.words").map_or(0, |rows| rows.columns);
    let below = Below::new(Int8::new(&mut opened.weights.clone(), Kernel::best())?, width);
    // The passages of all collections, one after the other.
    let mut passages: Vec<Vec<u32>> = Vec::new();
    for passage in collections.iter().flat_map(|collection| &collection.passages) {
        passages.push(tokens.read_first(&passage.text, REACH)?.ids);
    }
    let mut examples = Vec::new();
    for (first, question) in numbered(&collections).filter(|(_, question)| !question.dev) {
        let ids = tokens.read_first(&question.query, REACH)?.ids;
        examples.push(Example { ids, passage: first + question.passage, wrong: Vec::new() });
    }
    if examples.is_empty() {
        return Err(LearningError::Broken(
            "there are no questions to train on; name the data folder".to_owned(),
        ));
    }
    let recipe = &options.recipe;
    let steps = (recipe.epochs * examples.len() as f64 / recipe.batch as f64).ceil() as usize;
    let mut order = Vec::new();
    for round in 0..recipe.rounds.max(1) {
        let (from, to) = (steps * round / recipe.rounds.max(1), steps * (round + 1) / recipe.rounds.max(1));
        if from == to {
            continue;
        }
        progress(format!("round {}: looking for what is found wrongly", round + 1));
        let built = Built::new(options, &schema, &collections, &student)?;
        mine(&built, &collections, &mut examples)?;
        let course = Course { below: &below, passages: &passages, examples: &examples, steps };
        for step in from..to {
            let losses = course.step(&student, step, &mut order, options)?;
            progress(format!(
                "step {} of {steps}: whole {:.3}, nearest {:.3}",
                step + 1,
                losses.whole,
                losses.nearest
            ));
        }
    }
    progress("fitting the weights of the search".to_owned());
    let built = Built::new(options, &schema, &collections, &student)?;
    let (weights, held_out) =
        fit::run(&collections, &material::strays(&options.own, &schema)?, &built.generations, &built.models)?;
    let calibration = Calibration { search: weights.clone(), ..opened.calibration.clone() };
    let card = match steps {
        0 => opened.card.clone(),
        _ => format!(
            "{}\n\n## Search\n\nTrained on {} questions of our own about documents of tau_banking and German banking laws \
             (models/data/questions), in {steps} steps.\n",
            before_search(&opened.card).trim_end(),
            examples.len()
        ),
    };
    let searching = Searching { weights: &student.weights()?, calibration: &calibration, card: &card };
    let (model, bytes) = bundle::searching(&options.start, &options.out, &searching, bundle::MOST_SHIPPED)?;
    Ok(Trained { model, bytes, questions: examples.len(), steps, weights, held_out })
}

/// A card without what an earlier training of the search wrote.
fn before_search(card: &str) -> &str {
    card.split("\n## Search\n").next().unwrap_or(card)
}

/// All questions, each with the number of the first passage of its collection.
fn numbered(collections: &[Collection]) -> impl Iterator<Item = (usize, &material::Asked)> {
    let mut first = 0;
    collections.iter().flat_map(move |collection| {
        let from = first;
        first += collection.passages.len();
        collection.questions.iter().map(move |question| (from, question))
    })
}

/// The search of the moment.
struct Built {
    models: Understanding,
    generations: Vec<Generation>,
}

impl Built {
    fn new(
        options: &Options,
        schema: &Schema,
        collections: &[Collection],
        student: &Student,
    ) -> Result<Self, LearningError> {
        let folder = options.work.join("bundle");
        let space = |error: std::io::Error| {
            LearningError::file(&options.work, error, "name a folder that can be written")
        };
        std::fs::create_dir_all(&options.work).map_err(space)?;
        let opened = bundle::open(&options.start)?;
        let calibration = Calibration { search: BTreeMap::new(), ..opened.calibration };
        let searching =
            Searching { weights: &student.weights()?, calibration: &calibration, card: &opened.card };
        bundle::searching(&options.start, &folder, &searching, bundle::MOST_BYTES)?;
        let models = Understanding::load(&folder, schema)?;
        let mut generations = Vec::new();
        for collection in collections {
            let state = options.work.join(collection.name);
            generations.push(generation(&state, collection, &models)?);
        }
        Ok(Self { models, generations })
    }
}

/// The documents of a collection as they are searched with a bundle.
pub fn generation(
    state: &Path,
    collection: &Collection,
    models: &Understanding,
) -> Result<Generation, LearningError> {
    let options = policy::Options {
        language: Language::En,
        now: Timestamp::from_millis(0),
        models: Some(models),
        bar: None,
        kept: None,
    };
    let broken = |error: policy::PolicyError| LearningError::Broken(error.to_string());
    let published = policy::publish(state, &collection.documents, options, &|_, _| {}).map_err(broken)?;
    policy::open_generation(state, published.generation.as_str()).map_err(broken)
}

/// A question as the training asks it: nothing is hidden from it.
pub fn asked(query: &str) -> Question {
    Question {
        id: String::new(),
        text: query.to_owned(),
        about: Vec::new(),
        language: None,
        audience: Clearance::All,
        as_of: jiff::civil::date(2026, 9, 21),
        documents: None,
        product: None,
        top: 10,
        each: None,
    }
}

/// What the search finds for each question and is not its answer, the nearest first.
fn mine(built: &Built, collections: &[Collection], examples: &mut [Example]) -> Result<(), LearningError> {
    let questions: Vec<(usize, usize, &material::Asked)> = collections
        .iter()
        .enumerate()
        .scan(0, |first, (at, collection)| {
            let from = *first;
            *first += collection.passages.len();
            Some(collection.questions.iter().filter(|q| !q.dev).map(move |question| (at, from, question)))
        })
        .flatten()
        .collect();
    for ((at, first, question), example) in questions.into_iter().zip(examples) {
        let (Some(generation), Some(collection)) = (built.generations.get(at), collections.get(at)) else {
            continue;
        };
        let near = generation.nearness(&asked(&question.query), &built.models);
        let near = near.map_err(|error| LearningError::Broken(error.to_string()))?;
        let weights = SearchWeights::default();
        let mut ranked: Vec<(usize, f64)> =
            near.near.iter().map(|(at, near)| (*at, near.score(&weights))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let answer = collection.answer(question);
        let wrong = ranked.into_iter().map(|(at, _)| at).filter(|at| {
            *at != question.passage
                && collection.passages.get(*at).is_some_and(|passage| !passage.text.contains(&answer))
        });
        example.wrong = wrong.take(WRONG).map(|at| first + at).collect();
    }
    Ok(())
}

/// What all steps share.
struct Course<'a> {
    below: &'a Below,
    passages: &'a [Vec<u32>],
    examples: &'a [Example],
    steps: usize,
}

impl Course<'_> {
    fn step(
        &self,
        student: &Student,
        number: usize,
        order: &mut Vec<usize>,
        options: &Options,
    ) -> Result<Losses, LearningError> {
        let recipe = &options.recipe;
        let mut rng = StdRng::seed_from_u64(recipe.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        if order.len() < recipe.batch {
            *order = (0..self.examples.len()).collect();
            order.shuffle(&mut rng);
        }
        let own = order.split_off(order.len().saturating_sub(recipe.batch));
        let own: Vec<&Example> = own.into_iter().filter_map(|at| self.examples.get(at)).collect();
        let mut chosen: Vec<usize> = own.iter().map(|example| example.passage).collect();
        for example in &own {
            chosen.extend(example.wrong.choose_multiple(&mut rng, recipe.hard));
        }
        chosen.sort_unstable();
        chosen.dedup();
        let place = |passage: usize| chosen.binary_search(&passage).unwrap_or(0);
        let batch = Batch {
            questions: own.iter().map(|example| example.ids.as_slice()).collect(),
            passages: chosen.iter().filter_map(|at| self.passages.get(*at)).map(Vec::as_slice).collect(),
            right: own.iter().map(|example| place(example.passage)).collect(),
        };
        let done = number as f64 / self.steps.max(1) as f64;
        let factor = (done / recipe.warm).min(1.0).min((1.0 - done).max(0.02));
        let step = Step {
            number: i32::try_from(number + 1).unwrap_or(i32::MAX),
            rate: recipe.rate * factor.max(0.01) as f32,
            decay: recipe.decay,
            scale: 1.0,
        };
        let dropout = Dropout { rate: recipe.dropout, seed: recipe.seed ^ (number as u64) << 20 };
        let eight_bit = done >= 1.0 - recipe.eight_bit;
        student.step(self.below, &batch, (step, dropout, eight_bit), options.threads)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
