//! The labelled lines that explanations name, read once for each bundle.

use super::settings::Settings;
use super::{Failure, wire};
use crate::cli::Place;
use crate::learning::datasets::{Line, Source, Split, own};
use crate::understanding::nearest::Labelled;
use crate::understanding::{Nearest, Schema, Understanding};
use std::path::Path;

/// Those of the folder, or of the one that the settings name; `None` where neither names one.
pub fn lines(
    place: &Place,
    settings: &Settings,
    asked: Option<&Path>,
    understanding: &Understanding,
    threads: usize,
) -> Result<Option<Nearest>, Failure> {
    let named = settings.models.lines.as_ref().map(|lines| settings.beside(lines));
    let Some(folder) = asked.map(Path::to_owned).or(named) else { return Ok(None) };
    let Schema { intents: dag, extraction } = understanding.schema();
    let lines = own::read(&folder, dag, extraction).map_err(Failure::input)?;
    // What the models did not learn from is no reason for what they say.
    let trained = |line: &&Line| line.source == Source::Own && line.split == Split::Train;
    let labelled = |line: &Line| {
        let leaf = dag.leaves.get(line.target.as_ref()?.leaf)?.id.clone();
        Some(Labelled { leaf, language: line.language, text: line.text() })
    };
    let lines = lines.iter().filter(trained).filter_map(labelled).collect();
    let cache = wire::state(place, settings).join("models").join("nearest.bin");
    Nearest::of(understanding, lines, &cache, threads).map(Some).map_err(Failure::input)
}
