//! From trained weights to a bundle: eight-bit weights, calibration fitted on them, a model card.

use super::calibrate;
use super::card::{self, Card};
use super::corpus::Corpus;
use super::datasets::Split;
use super::error::LearningError;
use super::evaluate::openings;
use super::measure::{self, Figures};
use super::train::{self, Options, Progress, Trained};
use crate::base::Digest;
use crate::understanding::bundle::{self, Contents, Heads};
use crate::understanding::encoder::Compute;
use crate::understanding::model::Model;
use crate::understanding::quantise;
use crate::understanding::tokens::Tokens;
use std::path::Path;

/// All development lines are measured and calibrated on.
const MEASURED: usize = 0;
/// The encoder's positions.
pub const REACH: usize = 512;

pub struct Finished {
    pub digest: Digest,
    /// Development figures with full and with eight-bit weights.
    pub full: Figures,
    pub eight_bit: Figures,
    pub bytes: u64,
}

/// Writes the bundle `out` from trained weights.
pub fn run(
    options: &Options,
    trained: &Trained,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Finished, LearningError> {
    let (dag, extraction) = train::pack(&options.config)?;
    let sources = &options.recipe.sources;
    let mut corpus = Corpus::read(options.data.as_deref(), &options.own, &dag, &extraction, sources)?;
    if options.recipe.whole {
        corpus.take_whole();
    }
    let Trained { weights, tokenizer, .. } = trained;
    let tokens = Tokens::from_bytes(tokenizer, REACH)?;
    let model = Model::new(weights.clone(), &dag, &extraction)?;
    progress(Progress::Note("measuring the full weights".to_owned()));
    let full = measure::run(&model, &tokens, &corpus, &dag, &extraction, Split::Dev, MEASURED)?;
    let model = Model::stored(quantise::rounded(weights)?, &Compute::default(), &dag, &extraction)?;
    progress(Progress::Note("measuring and calibrating the eight-bit weights".to_owned()));
    let readings = measure::read(&model, &tokens, &corpus, Split::Dev, MEASURED)?;
    let eight_bit = measure::figures(&readings, &model.shape, &dag, &extraction);
    let calibration = calibrate::fit(
        &readings,
        calibrate::Target {
            dag: &dag,
            extraction: &extraction,
            shape: &model.shape,
            assumed: None,
            mix: calibrate::Mix::Assumed,
        },
    );
    let card = card::write(&Card {
        recipe: &options.recipe,
        corpus: &corpus,
        full: &full,
        eight_bit: &eight_bit,
        calibration: &calibration,
        openings: openings::count(&options.own.join("openings.tsv"))?,
    });
    let heads = Heads::of(&dag, &extraction, REACH);
    let contents = Contents {
        weights,
        tokenizer,
        heads: &heads,
        calibration: &calibration,
        lexicon: &corpus.lexicon,
        card: &card,
    };
    let (digest, bytes) = bundle::write(out, &contents, bundle::MOST_SHIPPED)?;
    Ok(Finished { digest, full, eight_bit, bytes })
}
