//! `prokura evaluate`: the figures of a bundle on the test lines. The only code that opens them.

use super::corpus::Corpus;
use super::datasets::{Source, Split};
use super::error::LearningError;
use super::measure::{self, Figures, Reading};
use crate::base::{Digest, Language};
use crate::understanding::{Schema, Understanding};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The least share of Banking77 test lines, over its own 77 leaves, that a shipped bundle gets right.
pub const BANKING77_BAR: f64 = 0.92;

#[derive(Clone, Debug)]
pub struct Options {
    pub bundle: PathBuf,
    /// Public sets; without them only the project's own lines are measured.
    pub data: Option<PathBuf>,
    pub own: PathBuf,
    pub config: PathBuf,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Evaluation {
    pub tasks: Figures,
    /// How well messages about something else are told apart: 1 is always, 0.5 is by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_scope_auroc: Option<f64>,
    /// By language, on own test lines: how often the prediction set holds the leaf, and its mean size.
    pub prediction_sets: BTreeMap<Language, Sets>,
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
    /// What keeps the bundle from being shipped; empty when nothing does.
    pub fn below_bar(&self) -> Vec<String> {
        let closed = self.tasks.get("banking77").filter(|task| task.n > 0).map(|task| task.accuracy_closed);
        match closed {
            Some(share) if share < BANKING77_BAR => {
                vec![format!("banking77: {:.2} % of {:.1} %", share * 100.0, BANKING77_BAR * 100.0)]
            }
            _ => Vec::new(),
        }
    }
}

pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Evaluation, LearningError> {
    let schema = Schema::read(&options.config)?;
    let understanding = Understanding::load(&options.bundle, &schema)?;
    let (dag, extraction) = (&schema.intents, &schema.extraction);
    let corpus = Corpus::read(options.data.as_deref(), &options.own, dag, extraction, &Source::ALL)?;
    let notes: Vec<String> =
        corpus.notes.iter().filter(|note| note.starts_with("skipped")).cloned().collect();
    notes.iter().for_each(|note| progress(note));
    progress("reading the test lines");
    let readings = measure::read(understanding.model(), understanding.tokens(), &corpus, Split::Test, 0)?;
    let shape = &understanding.model().shape;
    let mut sets = BTreeMap::new();
    for language in Language::ALL {
        sets.extend(self::sets(&readings, &understanding, language).map(|sets| (language, sets)));
    }
    Ok(Evaluation {
        tasks: measure::figures(&readings, shape, dag, extraction),
        out_of_scope_auroc: auroc(&readings, &understanding),
        prediction_sets: sets,
        model: understanding.digest().clone(),
        notes,
    })
}

fn sets(readings: &[Reading], understanding: &Understanding, language: Language) -> Option<Sets> {
    let (mut n, mut held, mut size) = (0_usize, 0_usize, 0_usize);
    let own = readings.iter().filter(|r| r.line.source == Source::Own && r.line.language == language);
    for reading in own {
        let Some(target) = &reading.line.target else { continue };
        let temperature = understanding.calibration().intent_temperature;
        let scores = understanding.model().shape.scores(&reading.raw.intent, temperature);
        let set = understanding.calibration().prediction_set(&scores.leaves, language);
        n += 1;
        size += set.len();
        held += usize::from(set.contains(&target.leaf));
    }
    (n > 0).then(|| Sets { n, coverage: held as f64 / n as f64, size: size as f64 / n as f64 })
}

/// CLINC150's other lines against its lines of our leaves, by the probability of the root's "other".
fn auroc(readings: &[Reading], understanding: &Understanding) -> Option<f64> {
    let other = understanding.schema().intents.parent("other")?;
    let score = |reading: &Reading| {
        understanding
            .model()
            .shape
            .scores(&reading.raw.intent, 1.0)
            .parents
            .get(other)
            .copied()
            .unwrap_or(0.0)
    };
    let of = |source| readings.iter().filter(move |r| r.line.source == source);
    let mut ranked: Vec<(f64, bool)> = of(Source::Elsewhere).map(|r| (score(r), true)).collect();
    ranked.extend(of(Source::Clinc150).map(|r| (score(r), false)));
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut inside, mut wins, mut outside) = (0.0, 0.0, 0.0);
    for (_, elsewhere) in ranked {
        if elsewhere {
            outside += 1.0;
            wins += inside;
        } else {
            inside += 1.0;
        }
    }
    (inside > 0.0 && outside > 0.0).then(|| wins / (inside * outside))
}
