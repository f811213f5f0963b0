//! What can go wrong between a text and its reading.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum UnderstandingError {
    /// A model bundle is missing, damaged or does not fit the pack.
    #[error("model bundle: {}: {problem}; {remedy}", file.display())]
    Bundle { file: PathBuf, problem: String, remedy: &'static str },
    /// A file of the pack (config/intents.toml, config/extraction.toml).
    #[error("{file}: {problem}; {remedy}")]
    Pack { file: String, problem: String, remedy: String },
    /// The tokenizer refused; never for text, whatever it holds.
    #[error("the tokenizer failed: {0}")]
    Tokens(String),
    /// A numeric operation failed: weights and code do not fit.
    #[error("the encoder failed: {0}")]
    Encoder(candle_core::Error),
    /// Whoever asked has gone.
    #[error("nobody waits for the explanation any more")]
    Unwanted,
}

impl From<candle_core::Error> for UnderstandingError {
    fn from(error: candle_core::Error) -> Self {
        Self::Encoder(bare(error))
    }
}

/// Without the places in the program that it came through, which are nobody's business but a debugger's.
pub(super) fn bare(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => bare(*inner),
        other => other,
    }
}
