//! A bundle calibrated anew, its weights as they are: on the project's development lines, or on a bank's own
//! tickets and for the mix of concerns that its customers have.

use super::calibrate::{self, Target};
use super::card;
use super::corpus::Corpus;
use super::datasets::{Line, Source, Split, tickets};
use super::error::LearningError;
use super::measure;
use crate::base::{Digest, Language};
use crate::understanding::calibration::{Calibration, Prior};
use crate::understanding::{Schema, Understanding, bundle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fewer tickets say too little.
pub const FEWEST: usize = 100;

pub struct Options {
    pub bundle: PathBuf,
    pub out: PathBuf,
    pub config: PathBuf,
    pub lines: Lines,
    pub mix: Mix,
}

/// What is calibrated on; none of it was trained on.
pub enum Lines {
    /// The project's development lines, and those of the public sets that are there.
    Development { own: PathBuf, data: Option<PathBuf> },
    /// Labelled tickets; `usual` is the language of a text that does not tell its own.
    Tickets { file: PathBuf, usual: Language },
}

/// The shares of leaves that probabilities are to hold for.
pub enum Mix {
    /// Those that the bundle was calibrated for when it was trained.
    Assumed,
    /// Those of the lines.
    Lines,
    /// A JSON object of leaf and share.
    File(PathBuf),
}

#[derive(Debug, Serialize)]
pub struct Recalibrated {
    pub model: Digest,
    pub previous: Digest,
    /// Lines with an intent.
    pub lines: usize,
    pub calibration: Calibration,
}

pub fn run(options: &Options) -> Result<Recalibrated, LearningError> {
    let schema = Schema::read(&options.config)?;
    let Schema { intents: dag, extraction } = &schema;
    let understanding = Understanding::load(&options.bundle, &schema)?;
    let model = (understanding.model(), (understanding.tokens(), understanding.lexicon()));
    let old = understanding.calibration();
    let (lines, told) = gathered(options, &schema)?;
    let lines: Vec<&Line> = lines.iter().collect();
    let readings = measure::readings(model.0, model.1, &lines)?;
    let known: Vec<_> = readings.iter().filter(|reading| reading.line.target.is_some()).collect();
    let expected = match &options.mix {
        Mix::Assumed => BTreeMap::new(),
        Mix::Lines => calibrate::shares(&known, dag),
        Mix::File(file) => shares(file)?,
    };
    let prior = match &options.lines {
        Lines::Development { .. } if expected.is_empty() => None,
        Lines::Development { .. } => Some(Prior { assumed: calibrate::shares(&known, dag), expected }),
        // What the bundle assumed is not known: then it is the mix of these tickets.
        Lines::Tickets { .. } if old.prior.assumed.is_empty() && !matches!(options.mix, Mix::File(_)) => None,
        Lines::Tickets { .. } => Some(Prior { assumed: old.prior.assumed.clone(), expected }),
    };
    let fitted =
        calibrate::fit(&readings, Target { dag, extraction, shape: &understanding.model().shape, prior });
    let calibration = match &options.lines {
        Lines::Development { .. } => fitted,
        // Tickets say nothing of tone, values and borders between concerns.
        Lines::Tickets { .. } => Calibration {
            intent: fitted.intent,
            thresholds: fitted.thresholds,
            prior: fitted.prior,
            ..old.clone()
        },
    };
    let wrong = |problem| LearningError::file(&options.out, problem, "correct the shares of --mix");
    calibration.check().map_err(wrong)?;
    let card = |card: &str| card::recalibrated(card, &calibration, &told);
    let model = bundle::recalibrated(&options.bundle, &options.out, &calibration, card)?;
    Ok(Recalibrated { model, previous: understanding.digest().clone(), lines: known.len(), calibration })
}

/// The lines, and what the card says of them.
fn gathered(options: &Options, schema: &Schema) -> Result<(Vec<Line>, String), LearningError> {
    let Schema { intents: dag, extraction } = schema;
    match &options.lines {
        Lines::Development { own, data } => {
            let mut corpus = Corpus::read(data.as_deref(), own, dag, extraction, &Source::ALL)?;
            corpus.take_whole();
            corpus.lines.retain(|line| line.split == Split::Dev);
            Ok((corpus.lines, card::DEVELOPMENT.to_owned()))
        }
        Lines::Tickets { file, usual } => {
            let tickets = tickets::read(file, (dag, extraction), Split::Dev, *usual)?;
            if tickets.len() < FEWEST {
                let problem = format!("{} tickets are too few", tickets.len());
                return Err(LearningError::file(file, problem, "give at least 100 that were not trained on"));
            }
            let told = format!("{} labelled tickets", tickets.len());
            Ok((tickets.into_iter().map(|ticket| ticket.line).collect(), told))
        }
    }
}

fn shares(file: &Path) -> Result<BTreeMap<String, f64>, LearningError> {
    let remedy = r#"write a JSON object of leaf and share, as {"balance": 0.04}"#;
    let text = std::fs::read_to_string(file).map_err(|error| LearningError::file(file, error, remedy))?;
    serde_json::from_str(&text).map_err(|error| LearningError::file(file, error, remedy))
}
