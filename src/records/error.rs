//! What can be wrong with a file source, a question, a query to a source, and reading one record.

use super::facts::SourceReport;
use std::path::PathBuf;

/// A file that cannot be used. Nothing of its content is repeated.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: the environment has no variable `{name}`; set it to the folder that it stands for")]
    Variable { path: PathBuf, name: String },
    #[error("source `{name}`: {problem}")]
    Source { name: String, problem: String },
    #[error("{path}:{line}: {reason}")]
    Line { path: PathBuf, line: usize, reason: String },
    #[error(
        "input line {line}: {reason}; expected {{\"id\": \"...\", \"fields\": {{\"FIELD\": [\"...\"]}}}}"
    )]
    Question { line: usize, reason: String },
}

/// How one query to a source failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no answer in time")]
    TimedOut,
    #[error("unreachable, or an error status")]
    Refused,
    #[error("an answer that does not have the declared form")]
    Garbage,
    #[error("the value was refused")]
    Rejected,
    #[error("not asked: it failed too often in a row")]
    LeftAlone,
}

/// Why a record was not given.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such record, or it is somebody else's: the two are not told apart.
    #[error("no such record of this customer")]
    NotTheirs,
    #[error("no source could say")]
    Unavailable(Vec<SourceReport>),
}
