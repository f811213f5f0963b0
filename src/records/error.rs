//! What can be wrong with the configuration, with a source, and with reading one record.

use super::facts::SourceReport;
use std::path::PathBuf;

/// Configuration that cannot be used. Values named here come from configuration, never from a message.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("{file}:{line}: {reason}")]
    Form { file: String, line: usize, reason: String },
    #[error("{file}:{line}: `{field}` cannot be `{value}`; allowed: {allowed}")]
    Setting { file: String, line: usize, field: String, value: String, allowed: String },
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// A line of a file source. The line's content is not repeated.
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

/// The line, counted from 1, of a byte offset.
pub fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}
