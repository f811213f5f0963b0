//! The bytes of one file -> [`Text`].
//!
//! Enters: a file of a stranger, its name, and limits. Leaves: its text as Markdown with headings, lists, tables,
//! footnotes and page numbers, or a reason that says what the person can do.
//!
//! The parsing is done by a worker process of the same program that gives up every right before it reads the
//! first byte (`confine`), and that is ended when it takes too long. Nothing in a file may harm, stop or fill
//! the caller: it must never be parsed in the process that calls [`read`].

mod archive;
mod ask;
mod confine;
mod email;
mod error;
mod format;
mod html;
mod limits;
mod markdown;
mod office;
mod pdf;
mod plain;
mod scan;
mod worker;
mod xml;

pub use ask::read;
pub use error::Unreadable;
pub use format::Format;
pub use limits::Limits;
pub use worker::run as run_worker;

use serde::{Deserialize, Serialize};

/// What a file says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Text {
    /// The format's own title property.
    pub title: Option<String>,
    /// The format's own language property, without region: `de`.
    pub language: Option<String>,
    /// Markdown.
    pub text: String,
    /// Where page 1, 2, ... begin in `text`, in Unicode scalar values; empty where the format tells no pages.
    pub pages: Vec<usize>,
    /// What came with an e-mail.
    pub attachments: Vec<Attached>,
    /// What was left out, and what to do about it.
    pub notes: Vec<String>,
}

/// A file that came with an e-mail, read or not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attached {
    pub name: String,
    pub read: Result<Text, Unreadable>,
}
