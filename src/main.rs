//! The program: parse, run, exit.

fn main() -> std::process::ExitCode {
    prokura::app::run(prokura::cli::parse())
}
