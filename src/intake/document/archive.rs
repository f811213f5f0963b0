//! The parts of a ZIP archive, inflated within limits. What the archive claims of itself counts for nothing.

use super::error::{Flaw, Found, Unreadable};
use super::format::Format;
use super::limits::Limits;
use std::io::{Cursor, ErrorKind, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// A part up to this long is not asked how many times its own length it is: short ones repeat themselves.
const SHORT: u64 = 1 << 20;

pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    format: Format,
    /// Bytes that may still be inflated.
    left: u64,
    limits: &'a Limits,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8], format: Format, limits: &'a Limits) -> Result<Self, Unreadable> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|_| Unreadable::Damaged { format, what: Flaw::Archive })?;
        Ok(Self { zip, format, left: limits.inflated, limits })
    }

    pub fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// A part's text; `None` where there is no part of that name.
    ///
    /// # Errors
    /// It is encrypted, damaged, or more than may be inflated.
    pub fn part(&mut self, name: &str) -> Result<Option<String>, Unreadable> {
        let damaged = Unreadable::Damaged { format: self.format, what: Flaw::Part };
        let mut file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword) => {
                return Err(Unreadable::Encrypted);
            }
            Err(_) => return Err(damaged),
        };
        let by_ratio = file.compressed_size().saturating_mul(self.limits.ratio).max(SHORT);
        let allowed = self.left.min(by_ratio);
        let mut bytes = Vec::new();
        let read = file.by_ref().take(allowed.saturating_add(1)).read_to_end(&mut bytes);
        let length = bytes.len() as u64;
        if length > allowed {
            return Err(if allowed == by_ratio {
                Unreadable::Ratio { limit: self.limits.ratio }
            } else {
                Unreadable::Inflated { limit: self.limits.inflated >> 20 }
            });
        }
        self.left -= length;
        read.map_err(|error| match error.kind() {
            ErrorKind::OutOfMemory => Unreadable::Memory { limit: self.limits.memory >> 20 },
            _ => damaged.clone(),
        })?;
        String::from_utf8(bytes).map(Some).map_err(|_| damaged)
    }

    /// A part without which there is no document.
    pub fn main_part(&mut self, name: &str) -> Result<String, Unreadable> {
        let missing = Unreadable::Damaged { format: self.format, what: Flaw::PartMissing };
        self.part(name)?.ok_or(missing)
    }

    /// What the archive is by its list of parts, where that is not what it was named.
    ///
    /// # Errors
    /// Another format than the one it was opened as.
    pub fn expect(&mut self) -> Result<(), Unreadable> {
        let kind = self.part("mimetype").ok().flatten().unwrap_or_default();
        let found = if kind.starts_with("application/vnd.oasis.opendocument.text") {
            Found::Format(Format::Odt)
        } else if self.has("word/document.xml") {
            Found::Format(Format::Docx)
        } else if self.has("xl/workbook.xml") {
            Found::Format(Format::Xlsx)
        } else if self.has("[Content_Types].xml") && self.format != Format::Odt {
            // The main part may have another name; its absence is found when it is looked for.
            Found::Format(self.format)
        } else {
            Found::Archive
        };
        if found == Found::Format(self.format) {
            return Ok(());
        }
        Err(Unreadable::OtherFormat { named: self.format, found })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    /// An archive of these parts.
    pub fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in parts {
            let how = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
            zip.start_file(*name, how).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn what_inflates_too_much_is_refused() {
        let bytes = zipped(&[("a", &" ".repeat(3 << 20)), ("b", &"x\n".repeat(100))]);
        let part = |limits: &Limits, name: &str| {
            Archive::open(&bytes, Format::Docx, limits).and_then(|mut archive| archive.part(name))
        };
        let limits = Limits::default();
        assert_eq!(part(&limits, "a"), Err(Unreadable::Ratio { limit: 200 }));
        assert_eq!(part(&limits, "b").unwrap().unwrap().len(), 200);
        assert_eq!(part(&limits, "c"), Ok(None));
        let loose = Limits { ratio: 2000, ..Limits::default() };
        assert_eq!(part(&loose, "a").unwrap().unwrap().len(), 3 << 20);
        // The limit is for all parts together.
        let tight = Limits { inflated: 4 << 20, ..loose };
        let mut archive = Archive::open(&bytes, Format::Docx, &tight).unwrap();
        assert!(archive.part("a").is_ok());
        assert_eq!(archive.part("a"), Err(Unreadable::Inflated { limit: 4 }));
    }

    #[test]
    fn the_list_of_parts_tells_what_it_is() {
        let limits = Limits::default();
        let found = |parts: &[(&str, &str)], format| {
            let bytes = zipped(parts);
            Archive::open(&bytes, format, &limits).and_then(|mut archive| archive.expect())
        };
        let odt = ("mimetype", "application/vnd.oasis.opendocument.text");
        assert_eq!(found(&[odt], Format::Odt), Ok(()));
        let other = |named, found| Err(Unreadable::OtherFormat { named, found });
        assert_eq!(found(&[odt], Format::Docx), other(Format::Docx, Found::Format(Format::Odt)));
        assert_eq!(
            found(&[("xl/workbook.xml", "")], Format::Docx),
            other(Format::Docx, Found::Format(Format::Xlsx))
        );
        assert_eq!(found(&[("a.txt", "")], Format::Xlsx), other(Format::Xlsx, Found::Archive));
    }
}
