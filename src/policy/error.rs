//! What can go wrong with the bank's documents and their index.

use super::bar::Tested;
use crate::intake::document::Unreadable;
use crate::understanding::UnderstandingError;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("the policy index is not built in `{}`: run `prokura policies index index/policies`", state.display())]
    NotBuilt { state: PathBuf },
    #[error(
        "policy generation `{generation}` is damaged: `{file}` {reason}; run `prokura policies index PATH...` \
         again, or `prokura policies rollback DIGEST` to another generation"
    )]
    Damaged { generation: String, file: String, reason: String },
    #[error(
        "policy generation `{generation}` was built by another version of this program, which searches otherwise; \
         run `prokura policies index PATH...`"
    )]
    Earlier { generation: String },
    #[error("there is no policy generation `{asked}`; known: {known}")]
    UnknownGeneration { asked: String, known: String },
    #[error(
        "what was built does not answer the saved questions and is not published: {} of {} found their document, at \
         least {:.0} % must; first: `{}` should find `{}`; correct the documents or retrieval-bar.toml, or publish it \
         with --force",
        .0.passed, .0.asked, .0.least * 100.0,
        .0.failed.first().map_or("", |failed| failed.query.as_str()),
        .0.failed.first().map_or("", |failed| failed.document.as_str())
    )]
    BelowBar(Box<Tested>),
    #[error("there is no document `{0}`")]
    NoDocument(String),
    #[error(
        "plans cite the document `{0}`, which would be gone: take it out of the plans first, or use --force"
    )]
    Cited(String),
    #[error("{}", list(.0))]
    Flaws(Vec<Flaw>),
    /// No file is at fault.
    #[error("nothing is read of the files: {0}")]
    NoReader(Unreadable),
    #[error(
        "no documents found in {0}; expected files ending in .md, .txt, .html, .pdf, .docx, .odt, .xlsx, .eml or .jsonl"
    )]
    NoDocuments(String),
    #[error(
        "the policies of `{}` are those of {origin}: publish there, and they come by themselves; or take `from` out of \
         `[policies]` in prokura.toml", state.display()
    )]
    Follows { state: PathBuf, origin: String },
    #[error(
        "the machine whose policies these are does not say what it has: {reason}; see that it runs, and that `[policies] \
         from` names it"
    )]
    Origin { reason: String },
    #[error("policy generation `{generation}` was not fetched: `{file}` {reason}")]
    NotFetched { generation: String, file: String, reason: String },
    #[error("another process is changing the policy index in `{}`: wait for it to end", state.display())]
    Busy { state: PathBuf },
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "the vectors in `{file}` are damaged: the file {reason}; remove it, and run `prokura policies index PATH...` again"
    )]
    Pack { file: String, reason: String },
    #[error("the encoder cannot read: {0}")]
    Encoder(UnderstandingError),
    #[error("a thread that embeds passages ended early; run the command again")]
    Ended,
    #[error("the search engine failed: {0}")]
    Engine(#[from] tantivy::TantivyError),
}

impl PolicyError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// One fault of one document: where it stands, what stands there, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    pub field: String,
    pub value: String,
    pub remedy: String,
}

impl Flaw {
    /// For somebody who sent the document: nothing of what it says is repeated.
    pub fn told(&self) -> String {
        format!("line {}, {}: {}", self.line, shortened(&self.field), self.remedy)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, field, value, remedy } = self;
        write!(f, "{}:{line}: {field} `{}`: {remedy}", file.display(), shortened(value))
    }
}

/// The value as an error shows it: one line, at most 80 characters, no control characters.
fn shortened(value: &str) -> String {
    let mut shown: String = value.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN: usize = 20;

fn list(flaws: &[Flaw]) -> String {
    let mut lines: Vec<String> = flaws.iter().take(SHOWN).map(Flaw::to_string).collect();
    if flaws.len() > SHOWN {
        lines.push(format!("and {} more", flaws.len() - SHOWN));
    }
    lines.join("\n")
}
