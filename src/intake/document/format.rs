//! What a file is: by the ending of its name, and only if the content agrees.

use super::error::{Found, Unreadable};
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Markdown,
    Html,
    Text,
    Pdf,
    Docx,
    Odt,
    Xlsx,
    Eml,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Markdown => "Markdown (.md)",
            Self::Html => "HTML (.html)",
            Self::Text => "plain text (.txt)",
            Self::Pdf => "PDF (.pdf)",
            Self::Docx => "a Word document (.docx)",
            Self::Odt => "an OpenDocument text (.odt)",
            Self::Xlsx => "an Excel workbook (.xlsx)",
            Self::Eml => "an e-mail (.eml)",
        })
    }
}

/// How far into a file readers look for `%PDF-`, as other readers do.
const PDF_WITHIN: usize = 1024;

impl Format {
    /// By the ending of the name alone.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "txt" | "text" => Self::Text,
            "pdf" => Self::Pdf,
            "docx" | "docm" | "dotx" => Self::Docx,
            "odt" | "ott" => Self::Odt,
            "xlsx" | "xlsm" | "xltx" => Self::Xlsx,
            "eml" => Self::Eml,
            _ => return None,
        })
    }

    /// By the name, and checked against the content.
    ///
    /// # Errors
    /// No ending that is known, or a content that is something else.
    pub fn of(name: &str, bytes: &[u8]) -> Result<Self, Unreadable> {
        let named = Self::of_name(name).ok_or(Unreadable::UnknownEnding)?;
        if bytes.is_empty() {
            return Err(Unreadable::Empty);
        }
        let found = marked(bytes);
        let fits = match (named, found) {
            (Self::Pdf, Some(Found::Format(Self::Pdf))) => true,
            // Only the archive's own list tells which of them it is; the worker looks at it.
            (Self::Docx | Self::Odt | Self::Xlsx, Some(Found::Archive)) => true,
            (Self::Docx | Self::Xlsx, Some(Found::OldOffice)) if is_encrypted_office(bytes) => {
                return Err(Unreadable::Encrypted);
            }
            (Self::Markdown | Self::Html | Self::Text | Self::Eml, None) => !is_binary(bytes),
            _ => false,
        };
        let content = |found| Unreadable::OtherFormat { named, found };
        if !fits {
            let otherwise = if is_binary(bytes) { Found::Binary } else { Found::Other };
            return Err(content(found.unwrap_or(otherwise)));
        }
        match named {
            Self::Html if !has_tag(bytes) => Err(content(Found::Format(Self::Text))),
            Self::Eml if !has_header(bytes) => Err(content(Found::Other)),
            _ => Ok(named),
        }
    }
}

/// What the first bytes give away.
fn marked(bytes: &[u8]) -> Option<Found> {
    const MARKS: [(&[u8], Found); 11] = [
        (b"PK\x03\x04", Found::Archive),
        (b"PK\x05\x06", Found::Archive),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Found::OldOffice),
        (b"\x89PNG\r\n\x1a\n", Found::Picture),
        (b"\xff\xd8\xff", Found::Picture),
        (b"GIF8", Found::Picture),
        (b"II*\0", Found::Picture),
        (b"MM\0*", Found::Picture),
        (b"{\\rtf", Found::Rtf),
        (b"\x1f\x8b", Found::Archive),
        (b"7z\xbc\xaf\x27\x1c", Found::Archive),
    ];
    let mark = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, found)| *found);
    let pdf = || {
        // A text may speak of `%PDF-`; a PDF has it first, or behind what is no text.
        let begin = bytes.get(..PDF_WITHIN).unwrap_or(bytes);
        let at = begin.windows(5).position(|five| five == b"%PDF-")?;
        let before = begin.get(..at)?;
        let text = std::str::from_utf8(before).is_ok_and(|text| text.chars().any(char::is_alphanumeric));
        (!text).then_some(Found::Format(Format::Pdf))
    };
    mark.or_else(pdf)
}

/// Office encrypts a file by putting it into a container of the old format, as a stream of this name.
fn is_encrypted_office(bytes: &[u8]) -> bool {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.windows(name.len()).any(|part| part == name)
}

/// A null byte stands in no text of one byte a character. Text in UTF-16 is left to the reason that names the byte.
fn is_binary(bytes: &[u8]) -> bool {
    let wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    !wide && bytes.contains(&0)
}

fn has_tag(bytes: &[u8]) -> bool {
    let begins = |next: &u8| next.is_ascii_alphabetic() || matches!(next, b'!' | b'?');
    bytes.windows(2).any(|pair| matches!(pair, [b'<', next] if begins(next)))
}

/// The first line that is not blank is a field: a name without blanks, and a colon.
fn has_header(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n');
    let Some(first) = lines.map(<[u8]>::trim_ascii).find(|line| !line.is_empty()) else { return false };
    // Mailboxes put this line before the message.
    if first.starts_with(b"From ") {
        return true;
    }
    let name: Vec<u8> = first.iter().copied().take_while(|byte| *byte != b':').collect();
    name.len() < first.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_has_to_agree_with_the_name() {
        let of = |name: &str, bytes: &[u8]| Format::of(name, bytes);
        assert_eq!(of("a.PDF", b"%PDF-1.7"), Ok(Format::Pdf));
        assert_eq!(of("a.pdf", b"\0\x01junk\xff%PDF-1.7"), Ok(Format::Pdf));
        assert_eq!(of("a.md", b"# A %PDF-1.7 begins with %PDF-"), Ok(Format::Markdown));
        assert_eq!(of("a.docx", b"PK\x03\x04"), Ok(Format::Docx));
        assert_eq!(of("a.eml", b"From: a@b.de\n\nx"), Ok(Format::Eml));
        assert_eq!(of("a.html", b"<p>x"), Ok(Format::Html));
        let other = |named, found| Err(Unreadable::OtherFormat { named, found });
        assert_eq!(of("a.pdf", b"PK\x03\x04"), other(Format::Pdf, Found::Archive));
        assert_eq!(of("a.docx", b"%PDF-1.7"), other(Format::Docx, Found::Format(Format::Pdf)));
        assert_eq!(of("a.txt", b"\x89PNG\r\n\x1a\n\0"), other(Format::Text, Found::Picture));
        assert_eq!(of("a.txt", b"a\0b"), other(Format::Text, Found::Binary));
        assert_eq!(of("a.html", b"only words"), other(Format::Html, Found::Format(Format::Text)));
        assert_eq!(of("a.eml", b"only words"), other(Format::Eml, Found::Other));
        assert_eq!(of("a.doc", b"x"), Err(Unreadable::UnknownEnding));
        assert_eq!(of("pdf", b"%PDF-1.7"), Err(Unreadable::UnknownEnding));
        assert_eq!(of("a.txt", b""), Err(Unreadable::Empty));
    }

    #[test]
    fn an_encrypted_office_file_is_named_as_such() {
        let mut bytes = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 ".to_vec();
        let old = Unreadable::OtherFormat { named: Format::Docx, found: Found::OldOffice };
        assert_eq!(Format::of("a.docx", &bytes), Err(old));
        bytes.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(Format::of("a.docx", &bytes), Err(Unreadable::Encrypted));
    }
}
