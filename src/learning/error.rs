//! What can go wrong while learning.

use crate::understanding::UnderstandingError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// A file of training data.
    #[error("{}:{line}:{column}: {problem}; {remedy}", file.display())]
    Data { file: PathBuf, line: usize, column: usize, problem: String, remedy: String },
    /// A file cannot be read or written.
    #[error("{}: {problem}; {remedy}", file.display())]
    File { file: PathBuf, problem: String, remedy: String },
    #[error(transparent)]
    Understanding(#[from] UnderstandingError),
    #[error("training failed: {0}")]
    Numeric(#[from] candle_core::Error),
    /// A promise of the trainer does not hold.
    #[error("training stopped: {0}")]
    Broken(String),
}

impl LearningError {
    pub(crate) fn file(file: &std::path::Path, problem: impl ToString, remedy: &str) -> Self {
        Self::File { file: file.to_owned(), problem: problem.to_string(), remedy: remedy.to_owned() }
    }
}
