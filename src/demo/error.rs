//! What can keep the demonstration bank from starting or from doing as told.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("no switch is called `{name}`; allowed: {allowed}")]
    UnknownSwitch { name: String, allowed: String },
    #[error("switch `{name}` cannot be `{value}`: {reason}")]
    SwitchValue { name: String, value: String, reason: String },
    #[error(
        "the demonstration bank cannot listen on {address}: {source}; choose another port or stop what uses it"
    )]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the demonstration bank listens on loopback only, and {0} is not")]
    NotLoopback(std::net::SocketAddr),
    #[error("the log {path} cannot be written: {source}")]
    Log { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}:{line}: not an effect that this bank wrote ({reason}); move the file away to start afresh"
    )]
    Effects { path: PathBuf, line: usize, reason: String },
    #[error("no signing key could be drawn")]
    Key,
    #[error("the server ended: {0}")]
    Serve(std::io::Error),
}
