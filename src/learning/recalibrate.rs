//! A bundle calibrated anew, its weights as they are: on the project's development lines, or on a bank's own
//! tickets and for the mix of concerns that its customers have.

use super::calibrate::{self, Mix, Target};
use super::card;
use super::corpus::Corpus;
use super::datasets::{Line, Source, Split, tickets};
use super::error::LearningError;
use super::measure;
use crate::base::{Digest, Language};
use crate::understanding::calibration::Calibration;
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
    let known = readings.iter().filter(|reading| reading.line.target.is_some()).count();
    let assumed = match &options.lines {
        Lines::Development { .. } => None,
        // Where it is not known what the bundle assumed, it is the mix of these tickets.
        Lines::Tickets { .. } => Some(old.prior.assumed.clone()).filter(|assumed| !assumed.is_empty()),
    };
    let shape = &understanding.model().shape;
    let mix = options.mix.clone();
    let fitted = calibrate::fit(&readings, Target { dag, extraction, shape, assumed, mix });
    let calibration = match &options.lines {
        Lines::Development { .. } => Calibration { search: old.search.clone(), ..fitted },
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
    Ok(Recalibrated { model, previous: understanding.digest().clone(), lines: known, calibration })
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

/// The shares of leaves in a JSON file.
pub fn shares(file: &Path) -> Result<BTreeMap<String, f64>, LearningError> {
    let remedy = r#"write a JSON object of leaf and share, as {"balance": 0.04}"#;
    let text = std::fs::read_to_string(file).map_err(|error| LearningError::file(file, error, remedy))?;
    serde_json::from_str(&text).map_err(|error| LearningError::file(file, error, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, lines: Lines, mix: Mix) -> Options {
        Options {
            bundle: Path::new("models/default").to_owned(),
            out: folder.join("out"),
            config: Path::new("config").to_owned(),
            lines,
            mix,
        }
    }

    #[test]
    fn a_stated_mix_is_what_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        std::fs::create_dir_all(own.join("utterances")).unwrap();
        let head = "id\tlang\ttone\ttext\n";
        let row = |leaf: &str, n: usize, text: &str| {
            format!("{leaf}.{n}\tde\tn0\t{text} {n}\n{leaf}.{n}\ten\tn0\tEnglish {text} {n}\n")
        };
        let rows: String =
            (0..200).map(|n| row("balance", n, "Kontostand") + &row("change_pin", n, "PIN ändern")).collect();
        std::fs::write(own.join("utterances/a.tsv"), format!("{head}{rows}")).unwrap();
        std::fs::write(own.join("extraction.tsv"), head).unwrap();
        std::fs::copy("models/data/labels.toml", own.join("labels.toml")).unwrap();
        let lines = Lines::Development { own, data: None };
        let mix = Mix::Shares(BTreeMap::from([("balance".to_owned(), 0.8)]));
        let done = run(&options(folder.path(), lines, mix)).unwrap();
        let prior = &done.calibration.prior;
        let schema = Schema::read(Path::new("config")).unwrap();
        let ids: Vec<&str> = schema.intents.leaves.iter().map(|leaf| leaf.id.as_str()).collect();
        let delivered: BTreeMap<&str, f64> = ids
            .iter()
            .zip(prior.weights(ids.iter()))
            .map(|(id, weight)| (*id, prior.assumed[*id] * weight))
            .collect();
        assert!((delivered["balance"] - 0.8).abs() < 1e-9, "{delivered:?}");
        assert!((delivered.values().sum::<f64>() - 1.0).abs() < 1e-3, "{delivered:?}");
        // What is left goes to the others as they were mixed among the lines.
        let ratio = |of: &BTreeMap<&str, f64>| of["change_pin"] / of["top_up_other"];
        let assumed = prior.assumed.iter().map(|(id, share)| (id.as_str(), *share)).collect();
        assert!((ratio(&delivered) - ratio(&assumed)).abs() < 1e-6 && ratio(&assumed) > 50.0);
        let half = done.lines as f64 / 2.0;
        let share = (half + 20.0 / ids.len() as f64) / (2.0 * half + 20.0);
        assert!((prior.assumed["change_pin"] - share).abs() < 0.1, "{}", prior.assumed["change_pin"]);
    }

    #[test]
    fn the_mix_of_tickets_is_taken_with_a_little_of_what_was_assumed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tickets.jsonl");
        let row = |leaf: &str, text: &str| format!("{{\"text\": \"{text}\", \"leaf\": \"{leaf}\"}}\n");
        let rows = row("balance", "Wie hoch ist mein Kontostand?").repeat(150)
            + &row("change_pin", "Ich will eine andere PIN.").repeat(50);
        std::fs::write(&file, rows).unwrap();
        let before = bundle::open(Path::new("models/default")).unwrap().calibration;
        let lines = Lines::Tickets { file: file.clone(), usual: Language::De };
        let done = run(&options(folder.path(), lines, Mix::Lines)).unwrap();
        let prior = &done.calibration.prior;
        assert_eq!(prior.assumed, before.prior.assumed);
        let expected = |leaf: &str, count: f64| (count + 20.0 * before.prior.assumed[leaf]) / 220.0;
        for (leaf, count) in [("balance", 150.0), ("change_pin", 50.0), ("card_arrival", 0.0)] {
            assert!((prior.expected[leaf] - expected(leaf, count)).abs() < 1e-5, "{leaf}");
        }
        assert_eq!(done.calibration.urgency, before.urgency, "tickets say nothing of tone");
        std::fs::write(&file, row("balance", "a").repeat(FEWEST - 1)).unwrap();
        let lines = Lines::Tickets { file, usual: Language::De };
        let error = run(&options(folder.path(), lines, Mix::Lines)).unwrap_err().to_string();
        assert!(error.contains("99 tickets are too few"), "{error}");
    }
}
