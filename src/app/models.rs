//! Training and model files.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::Digest;
use crate::base::outbound::hub::{self, BASE_FILES, BASE_REPOSITORY, Hub, Wanted};
use crate::cli::{Models, Place, Train};
use crate::learning::finish;
use crate::learning::train::{self as training, Progress, Recipe};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Steps between two lines of progress, and between two checkpoints.
const TELL_EVERY: usize = 25;
const SAVE_EVERY: usize = 500;

/// Two runs: the first from the base model over everything, the second from the first one's weights, in
/// which our own lines come more often. With `--start` only the second.
pub fn train(place: &Place, options: Train) -> Result<(), Failure> {
    let started = Instant::now();
    let mut tell = |progress: Progress| tell(&progress, started);
    let stage = |name: &str, start: Option<PathBuf>, recipe: Recipe| training::Options {
        data: options.data.clone(),
        own: options.own.clone(),
        base: options.base.clone(),
        config: pack_folder(place),
        work: options.work.join(name),
        save_every: SAVE_EVERY,
        start,
        recipe: Recipe { seed: options.seed.unwrap_or(recipe.seed), ..recipe },
    };
    let start = match options.start.clone() {
        Some(start) => start,
        None => {
            let recipe = Recipe::default();
            let epochs = options.epochs.unwrap_or(recipe.epochs);
            let first = stage("first", None, Recipe { epochs, ..recipe });
            std::fs::create_dir_all(&first.work).map_err(Failure::input)?;
            training::run(&first, &mut tell).map_err(Failure::input)?;
            first.work.join("trained.safetensors")
        }
    };
    let recipe = Recipe::second();
    let second =
        stage("second", Some(start), Recipe { steps: options.steps.unwrap_or(recipe.steps), ..recipe });
    std::fs::create_dir_all(&second.work).map_err(Failure::input)?;
    let trained = training::run(&second, &mut tell).map_err(Failure::input)?;
    let finished = finish::run(&second, &trained.weights, &options.out, &mut tell).map_err(Failure::input)?;
    output::json_pretty(&json!({
        "bundle": options.out, "model": finished.digest, "bytes": finished.bytes,
        "development": {"full": finished.full, "eight_bit": finished.eight_bit},
    }))
}

fn tell(progress: &Progress, started: Instant) {
    match progress {
        Progress::Note(note) => eprintln!("{note}"),
        Progress::Step { number, of, losses } if *number <= 5 || number % TELL_EVERY == 0 => {
            let left = started.elapsed().as_secs_f64() / *number as f64 * (of - number) as f64;
            eprintln!(
                "step {number} of {of}: intent {:.3}, spans {:.3}, tone {:.3}, retrieval {:.3}; about {:.0} min left",
                losses.intent,
                losses.spans,
                losses.tone,
                losses.retrieval,
                left / 60.0
            );
        }
        Progress::Step { .. } => {}
        Progress::Measured { step, figures } => {
            let line = serde_json::to_string(figures).unwrap_or_default();
            eprintln!("step {step}, development lines: {line}");
        }
    }
}

/// The settings file's folder is the pack; training needs no settings.
pub(super) fn pack_folder(place: &Place) -> PathBuf {
    place.config.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

pub async fn models(place: &Place, options: Models) -> Result<(), Failure> {
    let Models::Pull { hub: endpoint, out } = options;
    let settings = Settings::read(&place.config)?;
    let outbound = wire::outbound(&settings)?;
    let wanted = BASE_FILES
        .iter()
        .map(|(name, digest)| {
            let digest = Digest::parse(digest)
                .ok_or_else(|| Failure::Input(format!("the digest of `{name}` is not of the form")))?;
            Ok(Wanted { name: (*name).to_owned(), digest })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let hub = Hub { endpoint, token: None, revision: "main".to_owned() };
    hub::pull(&outbound, &hub, BASE_REPOSITORY, &wanted, &out).await.map_err(Failure::input)?;
    output::line_out(&format!("{} files of {BASE_REPOSITORY} are in {}", BASE_FILES.len(), out.display()))
}
