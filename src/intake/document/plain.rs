//! Markdown and plain text: what is there, if it is UTF-8.

use super::Text;
use super::error::Unreadable;
use super::format::Format;
use super::limits::Limits;
use super::markdown::PAGE;

/// Markdown stays as it is. Plain text does, too; form feeds in it begin pages.
pub fn read(bytes: &[u8], format: Format, limits: &Limits) -> Result<Text, Unreadable> {
    let text = utf8(bytes)?;
    if text.len() as u64 > limits.answer {
        return Err(Unreadable::TooMuchText { limit: limits.answer >> 20 });
    }
    if format == Format::Markdown || !text.contains('\u{c}') {
        return Ok(Text { text: text.to_owned(), ..Text::default() });
    }
    let mut paged = String::with_capacity(text.len());
    let mut pages = vec![0];
    for (offset, c) in text.chars().filter(|c| *c != PAGE).enumerate() {
        if c == '\u{c}' {
            // In its place stands a line break, and the page begins behind it.
            paged.push('\n');
            pages.push(offset + 1);
        } else {
            paged.push(c);
        }
    }
    Ok(Text { text: paged, pages, ..Text::default() })
}

/// The text without a mark of its byte order.
pub fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8 { byte: error.valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> Result<Text, Unreadable> {
        read(bytes, Format::Text, &Limits::default())
    }

    #[test]
    fn text_is_utf8_with_or_without_a_mark() {
        assert_eq!(taken("\u{feff}Gebühr".as_bytes()).unwrap().text, "Gebühr");
        assert_eq!(taken(b"ab\xff"), Err(Unreadable::NotUtf8 { byte: 2 }));
        assert_eq!(taken(b"\xff\xfea\0"), Err(Unreadable::NotUtf8 { byte: 0 }));
    }

    #[test]
    fn form_feeds_begin_pages() {
        let text = taken("Ä\u{c}b\n\u{c}c".as_bytes()).unwrap();
        assert_eq!((text.text.as_str(), text.pages), ("Ä\nb\n\nc", vec![0, 2, 5]));
        let markdown = read(b"a\x0cb", Format::Markdown, &Limits::default()).unwrap();
        assert_eq!((markdown.text.as_str(), markdown.pages.len()), ("a\u{c}b", 0));
    }
}
