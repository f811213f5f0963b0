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
    Encoder(#[from] candle_core::Error),
}
