//! Why a file was not read, and what to do about it.

use super::format::Format;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The text holds nothing of the file and may be shown to whoever sent it.
#[derive(Clone, PartialEq, Eq, Debug, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    #[error(
        "no format is known by the ending of the file's name; files ending in .md, .txt, .html, .pdf, .docx, .odt, \
         .xlsx and .eml are read: save it as one of them"
    )]
    UnknownEnding,
    #[error("the file has {bytes} bytes, the limit is {limit}; split it, or leave large pictures out")]
    TooLarge { bytes: u64, limit: u64 },
    #[error(
        "the name says {named}, but the content is {found}; give the file the ending of what it is, or save it again \
         as {named}"
    )]
    OtherFormat { named: Format, found: Found },
    #[error("the text is not UTF-8 at byte {byte}; save the file encoded in UTF-8")]
    NotUtf8 { byte: usize },
    #[error("the file has no text; if it shows text on a screen, save it anew or send the text itself")]
    Empty,
    #[error("the file is encrypted; save it without a password and send it again")]
    Encrypted,
    #[error(
        "the file's encryption is not of a kind that is read; save it without encryption and send it again"
    )]
    UnknownEncryption,
    #[error("the file is damaged ({what}); open it where it was made and save it anew as {format}")]
    Damaged { format: Format, what: Flaw },
    #[error("elements stand inside one another more than {limit} deep; save the file anew in a simpler form")]
    Nested { limit: usize },
    #[error("the parts of the file inflate to more than {limit} MiB; split it, or leave large pictures out")]
    Inflated { limit: u64 },
    #[error("a part of the file inflates to more than {limit} times its length; save the file anew")]
    Ratio { limit: u64 },
    #[error("the text that comes out is longer than {limit} MiB; split the file")]
    TooMuchText { limit: u64 },
    #[error("reading took more than {limit} MiB of memory; split the file, or leave large pictures out")]
    Memory { limit: u64 },
    #[error("reading took longer than {limit} s; split the file, or save it anew in a simpler form")]
    Time { limit: u64 },
    #[error(
        "the reader stopped (signal {signal}); the file is damaged or too deeply nested: save it anew, or send it as \
         another format"
    )]
    Stopped { signal: i32 },
    #[error(
        "the reader ended without an answer; save the file anew, or send it as another format, and tell the operator \
         if that does not help"
    )]
    NoAnswer,
    #[error("the reader could not be started ({why}); this is for the operator, the file is not at fault")]
    NotStarted { why: String },
    #[error(
        "the reader could not give up its rights ({what}) and so read nothing; this is for the operator: the kernel \
         must offer {what} to this process"
    )]
    NotConfined { what: String },
    #[error("e-mails stand inside one another more than {limit} deep; send the inner one by itself")]
    NestedEmails { limit: usize },
    #[error("more than {limit} files came with the e-mail; send this one by itself")]
    TooManyAttachments { limit: usize },
    #[error(
        "its pages are pictures without text; send a file that has text, or let the operator install tesseract-ocr and \
         its language data (deu, eng) where this program runs"
    )]
    OnlyPictures,
    #[error("its pages are pictures in which no text was recognised; send a file that has text")]
    NothingRecognised,
    #[error("it was left out, for with the attachments the e-mail could not be read; send it by itself")]
    LeftOut,
}

impl Unreadable {
    /// Whether the file is not at fault, but where this program runs.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::NotStarted { .. } | Self::NotConfined { .. })
    }
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    #[error("its archive cannot be opened")]
    Archive,
    #[error("its main part is missing")]
    PartMissing,
    #[error("a part of its archive is cut off or altered")]
    Part,
    #[error("a part is no well-formed XML")]
    Xml,
    #[error("a part declares a document type, as no such file does")]
    Declaration,
    #[error("its structure cannot be followed")]
    Structure,
    #[error("it has no pages")]
    NoPages,
    #[error("the reader met what it does not expect")]
    Unexpected,
}

/// What the content is, where the name says something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    #[error("{0}")]
    Format(Format),
    #[error("an archive of something else")]
    Archive,
    #[error("an Office file in the format used up to 2003")]
    OldOffice,
    #[error("a picture")]
    Picture,
    #[error("RTF")]
    Rtf,
    #[error("not text")]
    Binary,
    #[error("something else")]
    Other,
}
