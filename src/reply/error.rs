//! Why a template or a reply was refused. None of these says a value of a record.

use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ReplyError {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}`: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("{}:{line}: template `{name}`: {remedy}", path.display())]
    Template { path: PathBuf, line: usize, name: String, remedy: String },
    #[error("there is no template `{name}`; known: {known}")]
    Unknown { name: String, known: String },
    #[error("template `{name}` needs `{key}`, which the case does not give")]
    Missing { name: String, key: String },
    #[error("template `{name}` would tell `{key}`, which no grant covers")]
    Undisclosed { name: String, key: String },
    #[error("template `{name}` would cite `{document}`, which is internal")]
    Internal { name: String, document: String },
    #[error("template `{name}` failed in its line {line}: {reason}")]
    Render { name: String, line: usize, reason: String },
}
