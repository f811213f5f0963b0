//! The whole table, subject by subject.

use super::bench::{Answer, Bench, of};
use super::figure::{self, Figure, Table};
use super::judged::{self, Judged, Report};
use super::material::{Material, Message};
use super::{
    documents, faithful, leaves, openings, retrieval, robust, rounded, scope, several, tone, values,
};
use crate::base::{Digest, Language, Timestamp};
use crate::cases::{Pack, load_pack};
use crate::intake::BankCodes;
use crate::learning::bar::{Bar, Mark};
use crate::learning::baseline::Baseline;
use crate::learning::corpus::Corpus;
use crate::learning::datasets::{Source, Split, clean::normalised, tickets};
use crate::learning::error::LearningError;
use crate::learning::measure::{self, Figures, Reading};
use crate::understanding::{Dag, Schema, Understanding};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

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
    /// Explain some messages, too, and check that what is said of them is true; takes minutes.
    pub explanations: bool,
    /// The weights as training left them, to tell what eight bits change.
    pub full: Option<PathBuf>,
    /// Where the opening of test lines is written down; development lines are not logged.
    pub log: PathBuf,
    /// What each figure is held to, by its id.
    pub marks: BTreeMap<String, Mark>,
    /// To verify the check digits of account numbers, as the service does.
    pub bank_codes: BankCodes,
    pub at: Timestamp,
}

/// What a few labelled messages are measured with.
#[derive(Clone, Debug)]
pub struct Few {
    pub bundle: PathBuf,
    pub config: PathBuf,
    pub lines: Lines,
    pub bank_codes: BankCodes,
    pub bar: Bar,
}

/// Messages with their leaf; none may have been trained on.
#[derive(Clone, Debug)]
pub enum Lines {
    /// A bank's own, see `datasets::tickets`; `usual` is the language of a text that does not tell its own.
    Tickets { file: PathBuf, usual: Language },
    /// The development part of the project's lines in this folder.
    Own(PathBuf),
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Evaluation {
    /// "test", "dev" or "tickets".
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
    /// By set, and by language where a set has both.
    pub reports: BTreeMap<String, Report>,
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
    /// What keeps the bundle from being shipped; empty when nothing does. Development lines are for choosing
    /// among recipes: they keep nothing back.
    pub fn below_bar(&self) -> Vec<String> {
        if self.split == "dev" { Vec::new() } else { figure::below(&self.figures) }
    }
}

pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Evaluation, LearningError> {
    let pack = pack(&options.config)?;
    let understanding = Understanding::load(&options.bundle, &pack.schema)?;
    let Schema { intents: dag, extraction } = &pack.schema;
    let mut corpus = Corpus::read(options.data.as_deref(), &options.own, dag, extraction, &Source::ALL)?;
    let file = options.own.join("bar.toml");
    let mut bar = Bar::read(&file)?.unwrap_or_default();
    if let Some(id) = bar.marks.keys().next() {
        let problem = format!("figure `{id}` is held to something here");
        return Err(LearningError::file(&file, problem, "move it to config/bars.toml, or the file of --bar"));
    }
    bar.marks.clone_from(&options.marks);
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
    let bench = Bench {
        understanding: &understanding,
        baseline: &baseline,
        pack: &pack,
        bank_codes: &options.bank_codes,
    };
    progress("reading the lines");
    let (model, tokens) = (understanding.model(), understanding.tokens());
    let readings = measure::read(model, tokens, &corpus, options.split, 0)?;
    let mut table = Table::default();
    let own = bench.answers(&material.own)?;
    let sets = Language::ALL.into_iter().filter_map(|l| Some((l, held(dag, &own, l)?))).collect();
    let explained = options.explanations.then_some(options.split);
    let reports =
        measured(&mut table, &bench, &material, own, (options.split, explained, &readings), progress)?;
    retrieval::run(&mut table, &bench, options.data.as_deref(), &options.base, progress)?;
    if let Some(full) = &options.full {
        progress("reading all lines with the weights as training left them");
        let lines = readings.iter().filter(|reading| reading.line.target.is_some());
        let texts = lines.map(|reading| reading.line.text());
        let messages = material.own.iter().chain(&material.blind).map(|message| message.text.clone());
        rounded::run(&mut table, &bench, full, texts.chain(messages).collect())?;
    }
    let unmeasured = table.hold(&bar);
    if !unmeasured.is_empty() {
        notes.push(format!("not measured: {}", unmeasured.join(", ")));
    }
    let auroc = table.figures.iter().find(|figure| figure.id == "scope.auroc").map(|figure| figure.value);
    Ok(Evaluation {
        split: if options.split == Split::Test { "test" } else { "dev" },
        openings,
        tasks: measure::figures(&readings, &model.shape, dag, extraction),
        out_of_scope_auroc: auroc,
        prediction_sets: sets,
        figures: table.figures,
        reports,
        model: understanding.digest().clone(),
        notes,
    })
}

pub(super) fn pack(config: &Path) -> Result<Pack, LearningError> {
    let checked = load_pack(config, None).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        LearningError::file(config, first, "run `prokura check` for the rest")
    })?;
    Ok(checked.pack)
}

/// Before the first test line is measured on, so that a run that fails is counted too.
pub(super) fn open(options: &Options, bar: &Bar, bundle: &Digest) -> Result<usize, LearningError> {
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
    own: Vec<Answer>,
    (split, explained, readings): (Split, Option<Split>, &[Reading]),
    progress: &mut dyn FnMut(&str),
) -> Result<BTreeMap<String, Report>, LearningError> {
    leaves::public(table, bench, readings);
    scope::elsewhere(table, bench, readings);
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
    let mut judged = Vec::new();
    for source in [Source::Banking77, Source::Clinc150] {
        judged.push((source.name().to_owned(), leaves::judged_lines(bench, readings, source)));
    }
    for (name, answers) in [("own", &own), ("blind", &blind)] {
        for language in Language::ALL {
            judged.push((format!("{name}.{language}"), leaves::judged(bench, answers, language)));
        }
    }
    let reports = reports(table, bench.dag(), judged);
    if let Some(messages) = explained {
        progress("explaining messages");
        faithful::run(table, bench, if messages == Split::Test { &blind } else { &own })?;
    }
    progress("reading damaged messages");
    let all: Vec<_> = own.into_iter().chain(blind).collect();
    robust::perturbations(table, bench, &all)?;
    Ok(reports)
}

/// Of every set that has messages: its report, and the figures that a bar may hold.
fn reports(table: &mut Table, dag: &Dag, judged: Vec<(String, Vec<Judged>)>) -> BTreeMap<String, Report> {
    let leaves: Vec<String> = dag.leaves.iter().map(|leaf| leaf.id.clone()).collect();
    let mut reports = BTreeMap::new();
    for (name, judged) in judged {
        let Some(report) = judged::report(&judged, &leaves) else { continue };
        let calibration = &report.calibration;
        table.given(format!("{name}.ece"), report.n, calibration.debiased, calibration.interval);
        let held = judged.iter().filter(|judged| judged.held).count();
        table.share(format!("{name}.coverage"), held, report.n, None);
        reports.insert(name, report);
    }
    reports
}

/// Whether documents are found, and nothing else; no test line is opened.
pub fn searched(
    (bundle, config): (&Path, &Path),
    options: &documents::Options,
    bar: &Bar,
    progress: &mut dyn FnMut(&str),
) -> Result<Evaluation, LearningError> {
    let understanding = Understanding::load(bundle, &Schema::read(config)?)?;
    let mut table = Table::default();
    documents::run(&mut table, &understanding, options, progress)?;
    table.hold(bar);
    Ok(Evaluation {
        split: "retrieval",
        openings: None,
        tasks: Figures::new(),
        out_of_scope_auroc: None,
        prediction_sets: BTreeMap::new(),
        figures: table.figures,
        reports: BTreeMap::new(),
        model: understanding.digest().clone(),
        notes: Vec::new(),
    })
}

/// Leaves and probabilities of a few messages, and of the project's own tone and persons; nothing else is read,
/// and nothing is logged.
pub fn few(options: &Few) -> Result<Evaluation, LearningError> {
    let pack = pack(&options.config)?;
    let understanding = Understanding::load(&options.bundle, &pack.schema)?;
    let Schema { intents: dag, extraction } = &pack.schema;
    let (name, mut messages) = match &options.lines {
        Lines::Tickets { file, usual } => {
            let tickets = tickets::read(file, (dag, extraction), Split::Test, *usual)?;
            ("tickets", tickets.iter().map(Message::of_ticket).collect())
        }
        Lines::Own(folder) => {
            let corpus = Corpus::read(None, folder, dag, extraction, &[Source::Own])?;
            ("own", Material::part(&corpus, &[Source::Own], Split::Dev))
        }
    };
    // The same text again says nothing new, and would make intervals narrower than they are.
    let (all, mut seen) = (messages.len(), HashSet::new());
    messages.retain(|message: &Message| seen.insert((normalised(&message.text), message.leaf)));
    let repeated = all - messages.len();
    let bench = Bench {
        understanding: &understanding,
        baseline: &Baseline::train(&[], dag.leaves.len(), 1),
        pack: &pack,
        bank_codes: &options.bank_codes,
    };
    let answers = bench.answers(&messages)?;
    let mut table = Table::default();
    let mut judged = Vec::new();
    for language in Language::ALL {
        table.hits(format!("{name}.{language}.leaf"), &leaves::first(&bench, &answers, language), None);
        judged.push((format!("{name}.{language}"), leaves::judged(&bench, &answers, language)));
    }
    let reports = reports(&mut table, dag, judged);
    if let Lines::Own(_) = &options.lines {
        tone::run(&mut table, &answers, pack.service.person_from);
        values::messages(&mut table, &bench, &messages)?;
    }
    let unmeasured: Vec<String> =
        table.hold(&options.bar).into_iter().filter(|id| id.split('.').next() == Some(name)).collect();
    let unmeasured = (!unmeasured.is_empty()).then(|| format!("not measured: {}", unmeasured.join(", ")));
    let repeated = (repeated > 0).then(|| format!("{repeated} repeated messages count once"));
    let sets = Language::ALL.into_iter().filter_map(|l| Some((l, held(dag, &answers, l)?))).collect();
    Ok(Evaluation {
        split: if name == "tickets" { name } else { "dev" },
        openings: None,
        tasks: Figures::new(),
        out_of_scope_auroc: None,
        prediction_sets: sets,
        figures: table.figures,
        reports,
        model: understanding.digest().clone(),
        notes: unmeasured.into_iter().chain(repeated).collect(),
    })
}

fn held(dag: &Dag, own: &[Answer], language: Language) -> Option<Sets> {
    let (mut n, mut holding, mut size) = (0_usize, 0_usize, 0_usize);
    for Answer { message, reading, .. } in of(own, language) {
        let Some(leaf) = message.leaf.and_then(|at| dag.leaves.get(at)) else { continue };
        n += 1;
        size += reading.prediction_set.len();
        holding += usize::from(reading.prediction_set.contains(&leaf.id));
    }
    (n > 0).then(|| Sets { n, coverage: holding as f64 / n as f64, size: size as f64 / n as f64 })
}
