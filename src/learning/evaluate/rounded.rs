//! What eight bits change: the same texts read with the weights as training left them.

use super::bench::Bench;
use super::figure::Table;
use crate::learning::error::LearningError;
use crate::learning::measure::highest;
use crate::understanding::encoder::Weights;
use crate::understanding::model::{Input, Model};
use candle_core::{Device, safetensors};
use std::collections::BTreeSet;
use std::path::Path;

/// Texts that are read at once.
const BATCH: usize = 16;

/// The share of texts whose first leaf, over the whole text, is another one with the weights of `full`: 32-bit
/// floats in one safetensors file, as a training run keeps them.
pub fn run(
    table: &mut Table,
    bench: &Bench,
    full: &Path,
    texts: BTreeSet<String>,
) -> Result<(), LearningError> {
    let fault = |error: &dyn std::fmt::Display| {
        LearningError::file(
            full,
            error,
            "name the file that training left in its work folder, trained-*.safetensors",
        )
    };
    let weights: Weights =
        safetensors::load(full, &Device::Cpu).map_err(|error| fault(&error))?.into_iter().collect();
    let schema = bench.understanding.schema();
    let full = Model::new(weights, &schema.intents, &schema.extraction).map_err(|error| fault(&error))?;
    let texts: Vec<String> = texts.into_iter().collect();
    let mut differ = 0;
    for chunk in texts.chunks(BATCH) {
        let first = leaves(bench, bench.understanding.model(), chunk)?;
        let second = leaves(bench, &full, chunk)?;
        differ += first.iter().zip(&second).filter(|(a, b)| a != b).count();
    }
    table.share("eight_bit.differ", differ, texts.len(), None);
    Ok(())
}

fn leaves(bench: &Bench, model: &Model, texts: &[String]) -> Result<Vec<Option<usize>>, LearningError> {
    let (tokens, lexicon) = (bench.understanding.tokens(), bench.understanding.lexicon());
    let input = |text: &String| Ok(Input::new(text, tokens.read(text)?, lexicon));
    let inputs: Vec<Input> = texts.iter().map(input).collect::<Result<_, LearningError>>()?;
    let raw = model.run(&inputs.iter().collect::<Vec<_>>())?;
    let first = |intent: &[f32]| {
        let scores = model.shape.scores(intent, 1.0).weighted(&model.shape.edges, bench.understanding.mix());
        highest(&scores.leaves, |_| true)
    };
    Ok(raw.iter().map(|raw| first(&raw.intent)).collect())
}
