//! Wires the rooms together and runs a command. Nothing is decided here.
//!
//! Enters: a parsed command. Leaves: an exit code. It must never hold a rule, a threshold or a text for
//! a customer.

mod audit;
mod autonomy;
mod background;
mod drift;
mod erase;
mod evaluation;
mod failure;
mod installed;
mod lookup;
mod models;
mod nearest;
mod oneshot;
mod output;
mod plans;
mod policies;
mod replay;
mod resolve;
mod rules;
mod serve;
mod settings;
mod stop;
mod task;
mod tools;
mod wire;

use crate::cli::{Arguments, Command};
pub use failure::Failure;
use std::process::ExitCode;
use std::time::Duration;

/// Threads for readings, the store and files, for each core. A reading takes a core: more of them would wait for
/// one another. They stay, for each has memory of its own that it goes on using.
const BLOCKING: usize = 8;

/// Runs a command to its end.
pub fn run(arguments: Arguments) -> ExitCode {
    // Before there is a thread, a descriptor or a log: it has to give up what it would get here.
    if matches!(arguments.command, Command::ReadDocument) {
        return crate::intake::document::run_worker();
    }
    output::start_logging();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let done = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING * cores)
        .thread_keep_alive(Duration::from_secs(3600))
        .enable_all()
        .build()
        .map_err(|error| Failure::input(format!("the runtime cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(dispatch(arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let place = arguments.place;
    match arguments.command {
        Command::Serve(serve) => serve::serve(&place, &serve).await,
        Command::Demo(demo) => serve::demo(&place, demo).await,
        Command::DemoBank(bank) => serve::demo_bank(&place, bank).await,
        Command::Resolve(resolve) => resolve::resolve(&place, resolve).await,
        Command::Understand(understand) => oneshot::understand(&place, understand),
        Command::Lookup(lookup) => lookup::run(&place, lookup).await,
        Command::Search(search) => oneshot::search(&place, search),
        Command::Policies(asked) => policies::run(&place, asked),
        Command::Check(check) => oneshot::check(&place, check.json),
        Command::Plans(asked) => plans::run(&place, &asked),
        Command::Tools(asked) => tools::run(&place, asked),
        Command::Rules(asked) => rules::run(&place, &asked),
        Command::Train(train) if train.task.is_some() => task::train(*train),
        Command::Train(train) if train.search_only => models::search(&place, *train),
        Command::Train(train) if train.heads_only => models::extend(&place, *train),
        Command::Train(train) => models::train(&place, *train),
        Command::Evaluate(evaluate) => evaluation::evaluate(&place, evaluate),
        Command::Calibrate(calibrate) => models::calibrate(&place, calibrate),
        Command::Models(crate::cli::Models::Pull { hub, out }) => models::pull(&place, hub, out).await,
        Command::Models(crate::cli::Models::Drift) => drift::show(&place),
        Command::Models(crate::cli::Models::Installed(asked)) => installed::run(&place, asked),
        Command::Audit(asked) => audit::run(&place, &asked),
        Command::Stop(asked) => stop::run(&place, &asked),
        Command::Autonomy(shown) => autonomy::show(&place, &shown),
        Command::Erase(asked) => erase::erase(&place, &asked),
        Command::RotateKeys(asked) => erase::rotate(&place, &asked),
        Command::Replay(replay) => replay::replay(&place, &replay),
        Command::Key(key) => oneshot::key(&key),
        Command::ReadDocument => Err(Failure::input("it runs before all else")),
    }
}
