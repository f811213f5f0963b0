//! What can go wrong with the ledger.

use std::path::PathBuf;

#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "state directory `{0}` is in use by another prokura process; stop that one, or choose another with --state"
    )]
    InUse(PathBuf),
    #[error("state directory `{path}` cannot be used: {reason}; check that it exists and is writable")]
    Directory { path: PathBuf, reason: String },
    #[error(
        "stream `{stream}` has {actual} entries, not {expected}: somebody else wrote in between; read it again"
    )]
    Conflict { stream: String, expected: u64, actual: u64 },
    /// The claimed thing happened before; nothing was written.
    #[error("`{scope}` was used before")]
    Used { scope: String, value: String },
    #[error("stream `{stream}` was taken over by another node; this one must not go on with it")]
    Lost { stream: String },
    #[error("ledger `{path}` has schema {found}, this program knows up to {known}; use a newer program")]
    Schema { path: PathBuf, found: i64, known: i64 },
    #[error("an entry of stream `{stream}` cannot be read back: {reason}; run `prokura audit verify`")]
    Damaged { stream: String, reason: String },
    #[error("the data of stream `{stream}` were erased")]
    Erased { stream: String },
    #[error("{section} of the settings: {problem}")]
    Setting { section: String, problem: String },
    #[error("{file}: {problem}")]
    Key { file: String, problem: String },
    #[error("the ledger's store failed: {0}")]
    Store(String),
    #[error(
        "the disk failed under the ledger ({0}); nothing is written and nothing is done until the program is started \
         again: check the disk first"
    )]
    Broken(String),
}

impl LedgerError {
    /// Whether the store works and this was not allowed.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Used { .. } | Self::Lost { .. })
    }
}
