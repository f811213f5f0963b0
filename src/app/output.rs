//! What the terminal sees: JSON on stdout, logs and progress on stderr.

use super::Failure;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Logs go to stderr: plain for a terminal, JSON otherwise. `PROKURA_LOG` sets the level (default warn,
/// and info for the service's own lines).
pub fn start_logging() {
    let filter = std::env::var("PROKURA_LOG").unwrap_or_else(|_| "warn,prokura=info".to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}

/// One line of JSON on stdout. A reader who closed the pipe ends the command quietly.
pub fn json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(Failure::input)?;
    line_out(&line)
}

/// Indented JSON for people.
pub fn json_pretty<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::input)?;
    line_out(&text)
}

pub fn line_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Input(format!("standard output cannot be written: {error}")),
    })
}

/// A text as it is.
pub fn out(text: &str) -> Result<(), Failure> {
    text.trim_end().lines().try_for_each(line_out)
}

/// A bar on stderr that appears only on a terminal, after two seconds of work.
pub fn progress(what: &'static str) -> impl Fn(usize, usize) {
    let bar = indicatif::ProgressBar::hidden();
    let style = indicatif::ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    let shown = std::sync::atomic::AtomicBool::new(false);
    move |done, all| {
        use std::sync::atomic::Ordering::Relaxed;
        if bar.elapsed().as_secs() >= 2 && std::io::stderr().is_terminal() && !shown.swap(true, Relaxed) {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}
