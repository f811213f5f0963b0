//! Training of heads for a label set of one's own.

use super::{Failure, models, output};
use crate::cli::Train;
use crate::learning::task;
use std::time::Instant;

/// Trains and measures; the report goes to stdout as well as to the folder.
pub fn train(options: Train) -> Result<(), Failure> {
    let started = Instant::now();
    let missing = |what: &str| Failure::Input(format!("{what} is missing"));
    let asked = task::Options {
        task: options.task.ok_or_else(|| missing("--task"))?,
        data: options.data.ok_or_else(|| missing("--data (or PROKURA_DATA), where the task's lines are,"))?,
        own: options.own,
        base: options.base,
        start: options.start,
        work: options.work.ok_or_else(|| missing("--work"))?,
        out: options.out,
        threads: models::threads(options.threads)?,
        epochs: options.epochs,
        seed: options.seed,
        steps: options.steps,
        folds: options.folds,
        develop: options.develop,
    };
    let report =
        task::run(&asked, &mut |progress| models::tell(&progress, started)).map_err(Failure::input)?;
    output::json_pretty(&report)
}
