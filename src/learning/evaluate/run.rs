//! The whole table, subject by subject.

use super::bench::Bench;
use super::figure::{Figure, Table};
use super::material::Material;
use super::{leaves, openings, retrieval, robust, scope, several, tone, values};
use crate::base::{Digest, Language, Timestamp};
use crate::cases::load_pack;
use crate::learning::bar::Bar;
use crate::learning::baseline::Baseline;
use crate::learning::corpus::Corpus;
use crate::learning::datasets::{Source, Split};
use crate::learning::error::LearningError;
use crate::learning::measure::{self, Figures, Reading};
use crate::understanding::{Schema, Understanding};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Options {
    pub bundle: PathBuf,
    /// Public sets; without them only the project's own lines are measured.
    pub data: Option<PathBuf>,
    pub own: PathBuf,
    pub config: PathBuf,
    /// The base model, whose retrieval the bundle's is held against.
    pub base: PathBuf,
    /// Test or development lines.
    pub split: Split,
    /// Where the opening of test lines is written down; development lines are not logged.
    pub log: PathBuf,
    pub at: Timestamp,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Evaluation {
    /// "test" or "dev".
    pub split: &'static str,
    /// How often test lines were opened, this time included; absent on development lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openings: Option<usize>,
    pub tasks: Figures,
    /// How well messages about something else are told apart: 1 is always, 0.5 is by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_scope_auroc: Option<f64>,
    /// By language, on own lines: how often the prediction set holds the leaf, and its mean size.
    pub prediction_sets: BTreeMap<Language, Sets>,
    pub figures: Vec<Figure>,
    pub model: Digest,
    /// What was not there.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Sets {
    pub n: usize,
    pub coverage: f64,
    pub size: f64,
}

impl Evaluation {
    /// What keeps the bundle from being shipped; empty when nothing does. Bars are for test lines.
    pub fn below_bar(&self) -> Vec<String> {
        let below = self.figures.iter().filter(|figure| self.split == "test" && figure.below_bar());
        below
            .map(|figure| format!("{}: {:.4}, bar {:.4}", figure.id, figure.value, figure.bar.unwrap_or(0.0)))
            .collect()
    }
}

pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Evaluation, LearningError> {
    let pack = load_pack(&options.config, None).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        LearningError::file(&options.config, first, "run `prokura check` for the rest")
    })?;
    let pack = pack.pack;
    let understanding = Understanding::load(&options.bundle, &pack.schema)?;
    let Schema { intents: dag, extraction } = &pack.schema;
    let mut corpus = Corpus::read(options.data.as_deref(), &options.own, dag, extraction, &Source::ALL)?;
    let bar = Bar::read(&options.own.join("bar.toml"))?.unwrap_or_default();
    let openings = match options.split {
        Split::Test => Some(open(options, &bar, understanding.digest())?),
        _ => None,
    };
    if options.split == Split::Test {
        // As a bundle that is shipped does: public development lines are only for choosing a recipe.
        corpus.take_whole();
    }
    let material = Material::read(options, &bar, &corpus, &pack.schema)?;
    let skipped = corpus.notes.iter().filter(|note| note.starts_with("skipped"));
    let mut notes: Vec<String> = skipped.chain(&material.notes).cloned().collect();
    notes.iter().for_each(|note| progress(note));
    progress("learning the linear baseline");
    let baseline = baseline(&corpus, dag.leaves.len());
    let bench = Bench { understanding: &understanding, baseline: &baseline, pack: &pack };
    progress("reading the lines");
    let (model, tokens) = (understanding.model(), understanding.tokens());
    let readings = measure::read(model, tokens, &corpus, options.split, 0)?;
    let mut table = Table::default();
    measured(&mut table, &bench, &material, options.split, &readings, progress)?;
    retrieval::run(&mut table, &bench, options.data.as_deref(), &options.base, progress)?;
    let unmeasured = table.hold(&bar);
    if !unmeasured.is_empty() {
        notes.push(format!("not measured: {}", unmeasured.join(", ")));
    }
    let auroc = table.figures.iter().find(|figure| figure.id == "scope.auroc").map(|figure| figure.value);
    let sets = Language::ALL.into_iter().filter_map(|l| Some((l, sets(&readings, &understanding, l)?)));
    Ok(Evaluation {
        split: if options.split == Split::Test { "test" } else { "dev" },
        openings,
        tasks: measure::figures(&readings, &model.shape, dag, extraction),
        out_of_scope_auroc: auroc,
        prediction_sets: sets.collect(),
        figures: table.figures,
        model: understanding.digest().clone(),
        notes,
    })
}

/// Before the first test line is measured on, so that a run that fails is counted too.
fn open(options: &Options, bar: &Bar, bundle: &Digest) -> Result<usize, LearningError> {
    let there = bar.sets.iter().filter(|set| bar.file(&set.name, options.data.as_deref()).is_some());
    let sets: Vec<String> = there.map(|set| set.name.clone()).collect();
    openings::append(&options.log, options.at, bundle, &sets)
}

/// On every training line with an intent.
fn baseline(corpus: &Corpus, leaves: usize) -> Baseline {
    let trained = corpus.lines.iter().filter(|line| line.split == Split::Train);
    let lines: Vec<(String, usize)> =
        trained.filter_map(|line| Some((line.text(), line.target.as_ref()?.leaf))).collect();
    Baseline::train(&lines, leaves, 1)
}

fn measured(
    table: &mut Table,
    bench: &Bench,
    material: &Material,
    split: Split,
    readings: &[Reading],
    progress: &mut dyn FnMut(&str),
) -> Result<(), LearningError> {
    leaves::public(table, bench, readings);
    scope::elsewhere(table, bench, readings);
    let own = bench.answers(&material.own)?;
    let blind = bench.answers(&material.blind)?;
    let messages = if split == Split::Test { &blind } else { &own };
    scope::near(table, bench, messages, &bench.answers(&material.near_scope)?);
    leaves::messages(table, bench, "own", &own);
    leaves::messages(table, bench, "blind", &blind);
    leaves::agreement(table, material);
    progress("reading messages with several concerns, persons and numbers");
    several::run(table, bench.dag(), &bench.answers(&material.several)?);
    values::sentences(table, bench, &material.sentences)?;
    values::messages(table, bench, &material.persons)?;
    values::numbers(table, bench, material)?;
    tone::run(table, messages, bench.pack.service.person_from);
    robust::effects(table, bench, messages);
    progress("reading messages with instructions in them");
    robust::injections(table, bench, messages, &material.instructions)?;
    progress("reading damaged messages");
    let all: Vec<_> = own.into_iter().chain(blind).collect();
    robust::perturbations(table, bench, &all)
}

fn sets(readings: &[Reading], understanding: &Understanding, language: Language) -> Option<Sets> {
    let (mut n, mut held, mut size) = (0_usize, 0_usize, 0_usize);
    let own = readings.iter().filter(|r| r.line.source == Source::Own && r.line.language == language);
    for reading in own {
        let Some(target) = &reading.line.target else { continue };
        let temperature = understanding.calibration().intent_temperature(language);
        let scores = understanding.model().shape.scores(&reading.raw.intent, temperature);
        let set = understanding.calibration().prediction_set(&scores.leaves, language);
        n += 1;
        size += set.len();
        held += usize::from(set.contains(&target.leaf));
    }
    (n > 0).then(|| Sets { n, coverage: held as f64 / n as f64, size: size as f64 / n as f64 })
}
