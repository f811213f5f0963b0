//! PDF -> [`Text`](super::Text).
//!
//! Enters: the bytes of a file, in a worker. Leaves: the text of its pages in the order in which one reads it,
//! with what size, place and repetition of lines tell: headings, paragraphs, lists, tables, footnotes. Pages that
//! are pictures are named, and given out as pictures when asked for. It must never follow an action or a link,
//! or try a password other than the empty one.

mod arrange;
mod blocks;
mod glyphs;
mod lines;
mod picture;
mod rules;
mod table;

use super::Text;
use super::error::{Flaw, Unreadable};
use super::format::Format;
use super::limits::Limits;
use super::markdown::{clean, squeezed};
use super::worker::Answer;
pub use blocks::join_line;
use hayro_interpret::InterpreterCache;
use hayro_syntax::object::{Dict, String as PdfString};
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
pub use picture::picture;

/// A picture that covers this share of a page without text is what the page says.
const SCANNED_SHARE: f64 = 0.25;

/// How far from its end a file says that it ends.
const END_WITHIN: usize = 2048;

fn damaged(what: Flaw) -> Unreadable {
    Unreadable::Damaged { format: Format::Pdf, what }
}

fn opened(bytes: Vec<u8>) -> Result<Pdf, Unreadable> {
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => Unreadable::Encrypted,
        LoadPdfError::Decryption(_) => Unreadable::UnknownEncryption,
        LoadPdfError::Invalid => damaged(Flaw::Structure),
    })?;
    if pdf.pages().is_empty() {
        return Err(damaged(Flaw::NoPages));
    }
    Ok(pdf)
}

pub fn read(bytes: Vec<u8>, limits: &Limits) -> Result<Answer, Unreadable> {
    let mut notes = Vec::new();
    if !has_end(&bytes) {
        notes.push(
            "the end of the file is missing, and pages with it, perhaps; compare it with the original"
                .to_owned(),
        );
    }
    let pdf = opened(bytes)?;
    let cache = InterpreterCache::new();
    let mut pages = Vec::new();
    let mut scanned = Vec::new();
    // What is drawn takes memory until the whole file is arranged: it is bounded as the text is.
    let mut room = usize::try_from(limits.answer).unwrap_or(usize::MAX);
    for (index, page) in pdf.pages().iter().enumerate() {
        let sheet = glyphs::sheet(page, &cache, room)
            .ok_or(Unreadable::TooMuchText { limit: limits.answer >> 20 })?;
        room = room.saturating_sub(sheet.length());
        let number = index + 1;
        if sheet.words() == 0 && sheet.picture >= SCANNED_SHARE {
            scanned.push(number);
        }
        if sheet.unnamed * 10 > sheet.words() + sheet.unnamed {
            let note = format!(
                "on page {number} {} characters could not be told, for their font does not say what they stand for; \
                 save the file anew with its fonts, or send it as another format",
                sheet.unnamed
            );
            notes.push(note);
        }
        pages.push(sheet);
    }
    let (text, pages) = blocks::put(pages.into_iter().map(lines::page).collect(), limits)?;
    let metadata = pdf.metadata();
    let title = metadata.title.as_deref().map(text_string).map(|title| squeezed(&clean(&title)));
    let title = title.filter(|title| !title.is_empty());
    let catalog = pdf.xref().get::<Dict<'_>>(pdf.xref().root_id());
    let language = catalog
        .and_then(|catalog| catalog.get::<PdfString<'_>>("Lang"))
        .and_then(|language| language_of(&text_string(language.as_bytes())));
    let text = Text { title, language, text, pages, notes, attachments: Vec::new() };
    Ok(Answer { text, scanned })
}

/// A file that is whole says so near its end.
fn has_end(bytes: &[u8]) -> bool {
    let end = bytes.get(bytes.len().saturating_sub(END_WITHIN)..).unwrap_or(bytes);
    end.windows(5).any(|five| five == b"%%EOF")
}

/// A text string of a PDF: UTF-16 or UTF-8 with a mark, else (nearly) Latin-1.
fn text_string(bytes: &[u8]) -> String {
    if let Some(wide) = bytes.strip_prefix(b"\xfe\xff") {
        let units: Vec<u16> =
            wide.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect();
        return String::from_utf16_lossy(&units);
    }
    match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn language_of(text: &str) -> Option<String> {
    let first = text.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    ((2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(first)
}

#[cfg(test)]
mod tests;
