//! The worker's side: gives up its rights, reads the file from its standard input and answers with one JSON
//! value.

use super::error::{Flaw, Unreadable};
use super::format::Format;
use super::limits::Limits;
use super::{Text, ask, confine, email, html, office, pdf, plain, scan};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// The first line that a worker gets. The file follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    pub format: Format,
    pub task: Task,
    pub limits: Limits,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Text,
    /// The picture that fills a page of a PDF, pages counted from 1.
    Picture {
        page: usize,
    },
    /// What is written in a picture, by `tesseract`.
    Recognise {
        program: std::path::PathBuf,
        languages: String,
    },
}

/// What a worker answers, or an `Unreadable` in its place.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub text: Text,
    /// Pages, counted from 1, that have a picture and no text.
    pub scanned: Vec<usize>,
}

/// Longest first line.
const LONGEST_HEADER: usize = 1 << 14;

/// Runs a worker: the hidden command `read-document`.
pub fn run() -> ExitCode {
    let answer = work().unwrap_or_else(|reason| json(&Err(reason)));
    let mut out = std::io::stdout().lock();
    match out.write_all(&answer).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn json(answer: &Result<Answer, Unreadable>) -> Vec<u8> {
    // Nothing of it can fail to be written; an empty answer is a reason, too.
    serde_json::to_vec(answer).unwrap_or_default()
}

fn work() -> Result<Vec<u8>, Unreadable> {
    // What a panic says would go to whoever watches the caller.
    std::panic::set_hook(Box::new(|_| {}));
    confine::begin()?;
    let header = header()?;
    let limits = &header.limits;
    if let Task::Recognise { program, languages } = &header.task {
        confine::for_recognition(program, limits.memory, limits.seconds)?;
        return Err(scan::become_recognition(program, languages));
    }
    confine::for_reading(limits.memory, limits.seconds)?;
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(limits.bytes).read_to_end(&mut bytes);
    read.map_err(|error| match error.kind() {
        ErrorKind::OutOfMemory => Unreadable::Memory { limit: limits.memory >> 20 },
        _ => Unreadable::NoAnswer,
    })?;
    let flaw = Unreadable::Damaged { format: header.format, what: Flaw::Unexpected };
    let done = catch_unwind(AssertUnwindSafe(|| match header.task {
        Task::Picture { page } => pdf::picture(bytes, page, limits),
        _ => answered(bytes, &header),
    }));
    done.unwrap_or(Err(flaw))
}

fn answered(bytes: Vec<u8>, header: &Header) -> Result<Vec<u8>, Unreadable> {
    let answer = json(&Ok(text_of(bytes, header.format, &header.limits)?));
    if answer.len() as u64 > ask::longest_answer(&header.limits) {
        return Err(Unreadable::TooMuchText { limit: header.limits.answer >> 20 });
    }
    Ok(answer)
}

/// Reads a file in this process: in a worker, or an attachment inside the e-mail that a worker reads.
pub fn text_of(bytes: Vec<u8>, format: Format, limits: &Limits) -> Result<Answer, Unreadable> {
    let answer = match format {
        Format::Markdown | Format::Text => plain::read(&bytes, format, limits)?.into(),
        Format::Html => html::read(&bytes, limits)?.into(),
        Format::Docx => office::docx::read(&bytes, limits)?.into(),
        Format::Odt => office::odt::read(&bytes, limits)?.into(),
        Format::Xlsx => office::xlsx::read(&bytes, limits)?.into(),
        Format::Eml => email::read(&bytes, limits)?.into(),
        Format::Pdf => pdf::read(bytes, limits)?,
    };
    let empty = answer.text.text.trim().is_empty();
    if empty && answer.text.attachments.is_empty() && answer.scanned.is_empty() {
        return Err(Unreadable::Empty);
    }
    Ok(answer)
}

impl From<Text> for Answer {
    fn from(text: Text) -> Self {
        Self { text, scanned: Vec::new() }
    }
}

/// Byte by byte: what follows the line is not to be read yet, and may be for another program.
fn header() -> Result<Header, Unreadable> {
    let input = std::io::stdin();
    let mut line = Vec::new();
    let mut byte = [0_u8];
    loop {
        match rustix::io::read(input.as_fd(), &mut byte) {
            Ok(1) if byte == *b"\n" => break,
            Ok(1) if line.len() < LONGEST_HEADER => line.extend(byte),
            Err(rustix::io::Errno::INTR) => {}
            _ => return Err(Unreadable::NoAnswer),
        }
    }
    serde_json::from_slice(&line).map_err(|_| Unreadable::NoAnswer)
}
