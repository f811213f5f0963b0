//! Training and model files.

use super::settings::{Settings, folder_of};
use super::{Failure, output, wire};
use crate::base::Digest;
use crate::base::outbound::hub::{self, BASE_FILES, BASE_REPOSITORY, Hub, Wanted};
use crate::cli::{Calibrate, Part, Place, Train};
use crate::learning::calibrate::Mix;
use crate::learning::datasets::Source;
use crate::learning::extend;
use crate::learning::finish;
use crate::learning::german::German;
use crate::learning::multitask::Recipe;
use crate::learning::recalibrate::{self, Lines};
use crate::learning::search;
use crate::learning::train::{self as training, Progress};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Steps between two lines of progress, and between two checkpoints.
const TELL_EVERY: usize = 25;
const SAVE_EVERY: usize = 500;
/// Single-set models whose views are handed on.
const TEACHERS: usize = 1;

/// All stages, then the bundle.
pub fn train(place: &Place, options: Train) -> Result<(), Failure> {
    let started = Instant::now();
    let mut tell = |progress: Progress| tell(&progress, started);
    let options = plan(place, options)?;
    let trained = training::run(&options.0, &mut tell).map_err(Failure::input)?;
    let finished = finish::run(&options.0, &trained, &options.1, &mut tell).map_err(Failure::input)?;
    output::json_pretty(&json!({
        "bundle": options.1, "model": finished.digest, "bytes": finished.bytes,
        "seconds": started.elapsed().as_secs(),
        "development": {"full": finished.full, "eight_bit": finished.eight_bit},
    }))
}

/// New leaves from a few tickets.
pub fn extend(place: &Place, options: Train) -> Result<(), Failure> {
    let started = Instant::now();
    let settings = Settings::read(&place.config)?;
    let (Some(bundle), Some(tickets)) = (options.start, options.tickets) else {
        return Err(Failure::Input("--heads-only needs --start and --tickets".to_owned()));
    };
    let asked = extend::Options {
        bundle,
        out: options.out,
        config: pack_folder(place),
        tickets,
        usual: settings.intake.language,
        own: options.own,
        threads: threads(options.threads)?,
    };
    let done = extend::run(&asked, &mut |note| eprintln!("{note}")).map_err(Failure::input)?;
    output::json_pretty(&json!({"extended": done, "seconds": started.elapsed().as_secs_f64()}))
}

/// The last layer and the heads that documents are found by.
pub fn search(place: &Place, options: Train) -> Result<(), Failure> {
    let started = Instant::now();
    let (Some(start), Some(data), Some(work)) = (options.start, options.data, options.work) else {
        return Err(Failure::Input("--search-only needs --start, --data and --work".to_owned()));
    };
    let mut recipe = search::run::Recipe::default();
    recipe.epochs = options.epochs.unwrap_or(recipe.epochs);
    recipe.seed = options.seed.unwrap_or(recipe.seed);
    let settings = Settings::read(&place.config)?;
    let asked = search::Options {
        policies: settings.beside(&settings.policies.documents),
        start,
        out: options.out,
        data,
        own: options.own,
        config: pack_folder(place),
        work,
        threads: threads(options.threads)?,
        recipe,
    };
    let mut tell = |note: String| eprintln!("{:.0} s: {note}", started.elapsed().as_secs_f64());
    let done = search::run(&asked, &mut tell).map_err(Failure::input)?;
    output::json_pretty(
        &json!({"search": done, "recipe": asked.recipe, "seconds": started.elapsed().as_secs()}),
    )
}

/// What the options ask for, and where the bundle goes.
fn plan(place: &Place, options: Train) -> Result<(training::Options, PathBuf), Failure> {
    let without = |part: Part| options.without.contains(&part);
    let mut german = German::default();
    german.pieces = if without(Part::Pieces) { 0 } else { german.pieces };
    german.steps = options.german_steps.unwrap_or(german.steps);
    german.glosses = !without(Part::Glosses);
    german.meaning = if without(Part::Twins) { 0.0 } else { german.meaning };
    german.contrast = if without(Part::Contrast) { 0.0 } else { german.contrast };
    german.switched = if without(Part::Switching) { 0.0 } else { german.switched };
    german.masked = options.masked.unwrap_or(german.masked);
    if [german.meaning, german.contrast, german.masked] == [0.0; 3] {
        german.steps = 0;
    }
    let mut recipe = Recipe::default();
    recipe.steps = options.steps.unwrap_or(if options.epochs.is_some() { 0 } else { recipe.steps });
    recipe.epochs = options.epochs.unwrap_or(recipe.epochs);
    recipe.seed = options.seed.unwrap_or(recipe.seed);
    recipe.eight_bit = if without(Part::EightBit) { 0.0 } else { recipe.eight_bit };
    recipe.switched = if without(Part::Switching) { 0.0 } else { recipe.switched };
    recipe.whole = !without(Part::Whole);
    recipe.averaged = if without(Part::Averaging) { 0.0 } else { recipe.averaged };
    if without(Part::Public) {
        recipe.sources.retain(|source| matches!(source, Source::Own | Source::Entities | Source::Several));
    }
    let threads = threads(options.threads)?;
    let training = training::Options {
        data: options.data,
        own: options.own,
        base: options.base,
        config: pack_folder(place),
        work: options.work.ok_or_else(|| Failure::Input("--work is missing".to_owned()))?,
        save_every: SAVE_EVERY,
        threads,
        start: options.start,
        german,
        german_from: options.german_from,
        teachers: if without(Part::Public) { 0 } else { options.teachers.unwrap_or(TEACHERS) },
        merged: !without(Part::Merging),
        teacher: Recipe { whole: recipe.whole, ..Recipe::teacher() },
        recipe,
    };
    Ok((training, options.out))
}

/// As asked for, or all cores.
pub fn threads(asked: Option<usize>) -> Result<usize, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = asked.unwrap_or(cores);
    if (1..=64).contains(&threads) {
        return Ok(threads);
    }
    Err(Failure::Input(format!("--threads is {threads}; name a number from 1 to 64")))
}

pub fn tell(progress: &Progress, started: Instant) {
    match progress {
        Progress::Note(note) => eprintln!("{note}"),
        Progress::Step { number, of, losses } if *number <= 5 || number % TELL_EVERY == 0 => {
            eprintln!(
                "step {number} of {of}: intent {:.3}, spans {:.3}, segments {:.3}, tone {:.3}, retrieval {:.3}; \
                 {:.0} min",
                losses.intent,
                losses.spans,
                losses.segments,
                losses.tone,
                losses.retrieval,
                started.elapsed().as_secs_f64() / 60.0
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
    folder_of(&place.config)
}

pub fn calibrate(place: &Place, options: Calibrate) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let mix = match options.mix.as_deref() {
        None if options.tickets.is_some() => Mix::Lines,
        Some("lines") => Mix::Lines,
        None | Some("assumed") => Mix::Assumed,
        Some(file) => Mix::Shares(recalibrate::shares(Path::new(file)).map_err(Failure::input)?),
    };
    let lines = match options.tickets {
        Some(file) => Lines::Tickets { file, usual: settings.intake.language },
        None => Lines::Development { own: options.own, data: options.data },
    };
    let asked = recalibrate::Options {
        bundle: match options.bundle {
            Some(bundle) => bundle,
            None => wire::bundle(place, &settings)?,
        },
        out: options.out,
        config: pack_folder(place),
        lines,
        mix,
    };
    output::json_pretty(&recalibrate::run(&asked).map_err(Failure::input)?)
}

pub async fn pull(place: &Place, endpoint: String, out: PathBuf) -> Result<(), Failure> {
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
