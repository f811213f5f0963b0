//! The program: parse, run, exit.

/// Returns freed blocks to the system from every thread: a bundle that was read on one thread and freed on another
/// leaves nothing behind. It is also faster where a step of training frees what the next one asks for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    prokura::app::run(prokura::cli::parse())
}
