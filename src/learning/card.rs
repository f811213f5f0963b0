//! The model card: what a bundle was made of, what it can do, and what not.

use super::corpus::Corpus;
use super::datasets::{Source, Split};
use super::measure::Figures;
use super::multitask::Recipe;
use crate::understanding::Calibration;
use std::fmt::Write as _;

pub struct Card<'a> {
    pub recipe: &'a Recipe,
    pub corpus: &'a Corpus,
    pub full: &'a Figures,
    pub eight_bit: &'a Figures,
    pub calibration: &'a Calibration,
    /// How often the test lines had been opened when the bundle was made.
    pub openings: usize,
}

/// What a source is, and under which licence it may be used.
const fn origin(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::Banking77 => ("Banking77 (Casanueva et al. 2020)", "CC-BY-4.0"),
        Source::Clinc150 => ("CLINC150, banking and credit cards (Larson et al. 2019)", "CC-BY-3.0"),
        Source::Elsewhere => ("CLINC150, other domains and out-of-scope", "CC-BY-3.0"),
        Source::Own => ("models/data/utterances, written for this project", "Apache-2.0"),
        Source::Entities => ("models/data/extraction.tsv, written for this project", "Apache-2.0"),
        Source::Several => ("models/data/several.tsv, written for this project", "Apache-2.0"),
        Source::Policies => {
            ("index/policies, written for this project; tau_banking's documents", "Apache-2.0; MIT")
        }
        Source::Smartdata => {
            ("SmartData, German persons, training part (Schiersch et al. 2018)", "CC-BY-4.0")
        }
        Source::Mobie => ("MobIE, German persons and companies (Hennig et al. 2021)", "CC-BY-4.0"),
    }
}

/// On which lines a bundle is calibrated as it is trained.
pub const DEVELOPMENT: &str = "the development part of the project's own lines; the temperatures of values on \
    every development line whose values are marked";
const CALIBRATION: &str = "\n## Calibration\n";
const LIMITS: &str = "\n## Limits\n";

/// The card of a bundle that was calibrated anew on these lines.
pub fn recalibrated(old: &str, calibration: &Calibration, lines: &str) -> String {
    let head = old.split(CALIBRATION).next().unwrap_or_default();
    let limits = old.split_once(LIMITS).map(|(_, rest)| format!("{LIMITS}{rest}")).unwrap_or_default();
    format!("{head}{}{limits}", calibrated(calibration, lines))
}

/// The card of a bundle to which leaves were added.
pub fn extended(old: &str, leaves: &[String], calibration: &Calibration, lines: &str) -> String {
    let added = format!(
        "\n## Added leaves\n\n{}: from a few labelled tickets, the trunk as it was. The figures above are those \
         before.\n",
        leaves.join(", ")
    );
    recalibrated(old, calibration, lines).replacen(CALIBRATION, &format!("{added}{CALIBRATION}"), 1)
}

fn calibrated(calibration: &Calibration, lines: &str) -> String {
    let json = serde_json::to_string_pretty(calibration).unwrap_or_default();
    format!("{CALIBRATION}\nFitted with the eight-bit weights on {lines}.\n\n```json\n{json}\n```\n")
}

/// Markdown.
pub fn write(card: &Card) -> String {
    let mut out = String::from(
        "# Model card\n\nReads customers' messages to a retail bank in German and English: what they want, the \
         values that\nrecords are looked up by, urgency, sentiment, and a vector for retrieval. Meant for proposing \
         a plan whose\nsteps rules and people decide on; not for deciding about a customer.\n\n\
         Base: all-MiniLM-L6-v2 (Apache-2.0), 6 layers, width 384. Weights: 8 bits with a scale per row.\n\n\
         ## Lines\n\n| source | licence | train | development | test |\n|---|---|---|---|---|\n",
    );
    for source in Source::ALL {
        let count = |split| card.corpus.part(source, split).len();
        let (name, licence) = origin(source);
        let (train, dev, test) = (count(Split::Train), count(Split::Dev), count(Split::Test));
        let _ = writeln!(out, "| {name} | {licence} | {train} | {dev} | {test} |");
    }
    for note in &card.corpus.notes {
        let _ = writeln!(out, "\n{note}.");
    }
    let recipe = serde_json::to_string_pretty(card.recipe).unwrap_or_default();
    let _ = writeln!(out, "\n## Recipe\n\n```json\n{recipe}\n```");
    let _ = writeln!(
        out,
        "\n## Development lines\n\nTest lines are opened by `prokura evaluate` alone; when this bundle was made, the log of openings\n\
         (`models/data/openings.tsv`) had {} entries. Figures on test lines are in docs/models.md.\n",
        card.openings
    );
    out.push_str("| lines | n | leaf, full | leaf, 8 bits | leaf, closed, 8 bits | parent, 8 bits |\n|---|---|---|---|---|---|\n");
    for (name, eight) in card.eight_bit.iter().filter(|(_, task)| task.n > 0) {
        let full = card.full.get(name).map_or(0.0, |task| task.accuracy);
        let (n, open, closed, parent) =
            (eight.n, eight.accuracy, eight.accuracy_closed, eight.parent_accuracy);
        let _ = writeln!(out, "| {name} | {n} | {full:.4} | {open:.4} | {closed:.4} | {parent:.4} |");
    }
    out.push_str("\n| lines | field | n | precision | recall | F1 |\n|---|---|---|---|---|---|\n");
    for (name, task) in card.eight_bit.iter().filter(|(name, _)| name.contains('_') || *name == "mobie") {
        for (field, spans) in task.spans.iter().filter(|(_, spans)| spans.n > 0) {
            let (n, precision, recall, f1) = (spans.n, spans.precision, spans.recall, spans.f1);
            let _ = writeln!(out, "| {name} | {field} | {n} | {precision:.3} | {recall:.3} | {f1:.3} |");
        }
    }
    out.push_str(&calibrated(card.calibration, DEVELOPMENT));
    out.push_str(
        "\n## Limits\n\nThe base model was trained on English without capitals; German rests on the project's own \
         lines.\nDialects and speech-to-text were hardly seen. A probability\nsays how often lines like those above were right, not how a new kind of message \
         will fare.\n",
    );
    out
}
