//! What the autonomy dial may count on before anybody has reviewed a case: how sure the bundle is of labelled lines that it
//! was not made with, and how often right, by the leaf that it reads.

use super::bench::Bench;
use super::material::{Material, Message};
use super::run::{Few, Lines, Options, open, pack};
use crate::governance::Measured;
use crate::learning::bar::Bar;
use crate::learning::baseline::Baseline;
use crate::learning::corpus::Corpus;
use crate::learning::datasets::{Source, Split, clean::normalised, own, tickets};
use crate::learning::error::LearningError;
use crate::understanding::{Schema, Understanding};
use std::collections::{BTreeMap, HashSet};

/// Sets of messages that the corpus does not read by itself. Those about something else are in it, too: what is taken for
/// a leaf and is none counts against it.
const BLIND: [&str; 2] = ["blind", "blind_near_scope"];

/// Of the test lines. Writes a line to the log of openings.
pub fn evidence(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Measured, LearningError> {
    let pack = pack(&options.config)?;
    let understanding = Understanding::load(&options.bundle, &pack.schema)?;
    let Schema { intents: dag, extraction } = &pack.schema;
    let sources = [Source::Banking77, Source::Clinc150, Source::Elsewhere, Source::Own];
    let corpus = Corpus::read(options.data.as_deref(), &options.own, dag, extraction, &sources)?;
    let bar = Bar::read(&options.own.join("bar.toml"))?.unwrap_or_default();
    open(options, &bar, understanding.digest())?;
    let mut sets: Vec<(&str, Vec<Message>)> =
        sources.map(|source| (source.name(), Material::part(&corpus, &[source], Split::Test))).into();
    for name in BLIND {
        let Some(file) = bar.file(name, options.data.as_deref()) else { continue };
        let lines = own::read_named(vec![file], dag, extraction)?;
        sets.push((name, lines.iter().map(|(id, line)| Message::of(id.clone(), line)).collect()));
    }
    let skipped = corpus.notes.iter().filter(|note| note.starts_with("skipped"));
    skipped.for_each(|note| progress(note));
    let bench = Bench {
        understanding: &understanding,
        baseline: &Baseline::train(&[], dag.leaves.len(), 1),
        pack: &pack,
        bank_codes: &options.bank_codes,
    };
    measured(&bench, sets, progress)
}

/// Of a bank's own tickets, none of which the bundle was trained or calibrated on.
pub fn evidence_of_tickets(few: &Few, progress: &mut dyn FnMut(&str)) -> Result<Measured, LearningError> {
    let pack = pack(&few.config)?;
    let understanding = Understanding::load(&few.bundle, &pack.schema)?;
    let Schema { intents: dag, extraction } = &pack.schema;
    let messages = match &few.lines {
        Lines::Tickets { file, usual } => {
            let tickets = tickets::read(file, (dag, extraction), Split::Test, *usual)?;
            tickets.iter().map(Message::of_ticket).collect()
        }
        Lines::Own(_) => Vec::new(),
    };
    let bench = Bench {
        understanding: &understanding,
        baseline: &Baseline::train(&[], dag.leaves.len(), 1),
        pack: &pack,
        bank_codes: &few.bank_codes,
    };
    measured(&bench, vec![("tickets", messages)], progress)
}

fn measured(
    bench: &Bench,
    sets: Vec<(&str, Vec<Message>)>,
    progress: &mut dyn FnMut(&str),
) -> Result<Measured, LearningError> {
    let (dag, mut seen) = (bench.dag(), HashSet::new());
    let mut counts: BTreeMap<(String, i64), (u32, u32)> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (name, messages) in sets {
        progress(&format!("reading {} lines of {name}", messages.len()));
        for message in messages {
            // The same text again says nothing new.
            if !seen.insert(normalised(&message.text)) {
                continue;
            }
            *lines.entry(name.to_owned()).or_default() += 1;
            let reading = bench.read(&message.text, message.language)?;
            // Several concerns go to a person.
            let [intent] = reading.intents.as_slice() else { continue };
            let right = message.leaf.is_some() && dag.leaf(&intent.leaf) == message.leaf;
            let count = counts.entry((intent.leaf.clone(), intent.probability.basis_points())).or_default();
            count.0 += u32::from(right);
            count.1 += u32::from(!right);
        }
    }
    let mut leaves: BTreeMap<String, Vec<(i64, u32, u32)>> = BTreeMap::new();
    for ((leaf, confidence), (right, wrong)) in counts {
        leaves.entry(leaf).or_default().push((confidence, right, wrong));
    }
    Ok(Measured { model: bench.understanding.digest().clone(), sets: lines, leaves })
}
