//! The head of a document: `key: value` lines between two lines of `---`.
//!
//! This is the part of YAML that front matter needs: plain values, values in single or double quotes, and
//! comments. Lists, maps, anchors and block texts are refused rather than guessed at.

use super::document::Written;
use super::error::Flaw;
use std::collections::BTreeMap;
use std::path::Path;

/// More lines than any document needs; a fence that is never closed ends the search here.
const MAX_LINES: usize = 100;

/// The fields of a text, its body, and the line on which the body begins.
pub type Split<'a> = (BTreeMap<String, Written>, &'a str, usize);

/// Splits a text into front matter and body. A text that does not
/// begin with `---` is all body.
///
/// # Errors
/// One flaw for each line that is not of the form, or one for a front matter that does not end.
pub fn split<'a>(file: &Path, text: &'a str) -> Result<Split<'a>, Vec<Flaw>> {
    let mut fields = BTreeMap::new();
    let mut flaws = Vec::new();
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return Ok((fields, text, 1));
    };
    let mut offset = first.len();
    for (index, line) in lines.enumerate().take(MAX_LINES) {
        let number = index + 2;
        offset += line.len();
        let content = line.trim();
        if line.trim_end() == "---" {
            return if flaws.is_empty() {
                Ok((fields, text.get(offset..).unwrap_or(""), number + 1))
            } else {
                Err(flaws)
            };
        }
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let flaw = |field: &str, remedy: &str| Flaw {
            file: file.to_path_buf(),
            line: number,
            field: field.to_owned(),
            value: content.to_owned(),
            remedy: remedy.to_owned(),
        };
        let split = content.split_once(':').map(|(key, value)| (key.trim(), value));
        let Some((key, value)) = split.filter(|(key, _)| is_key(key) && !line.starts_with([' ', '\t']))
        else {
            flaws.push(flaw("front matter", "write `key: value`, not indented"));
            continue;
        };
        match scalar(value) {
            Ok(value) if !fields.contains_key(key) => {
                fields.insert(key.to_owned(), Written { value, line: number });
            }
            Ok(_) => flaws.push(flaw(key, "the key stands there twice; remove one")),
            Err(remedy) => flaws.push(flaw(key, remedy)),
        }
    }
    flaws.push(Flaw {
        file: file.to_path_buf(),
        line: 1,
        field: "front matter".to_owned(),
        value: "---".to_owned(),
        remedy: format!("close it with a line `---` within {MAX_LINES} lines"),
    });
    Err(flaws)
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// One value. Empty, `~` and `null` are the empty string.
fn scalar(written: &str) -> Result<String, &'static str> {
    if !written.is_empty() && !written.starts_with([' ', '\t']) {
        return Err("put a space after the colon");
    }
    let value = written.trim();
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(value, quote),
        Some('[' | ']' | '{' | '}' | '>' | '|' | '&' | '*' | '!' | '%' | '@' | '`') => {
            Err("only a plain value is allowed; put it in quotes")
        }
        _ => {
            let plain =
                value.find(" #").map_or(value, |comment| value.get(..comment).unwrap_or(value)).trim();
            let plain = if plain.starts_with('#') { "" } else { plain };
            Ok(if matches!(plain, "~" | "null") { String::new() } else { plain.to_owned() })
        }
    }
}

fn quoted(value: &str, quote: char) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut chars = value.chars().skip(1).peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && quote == '"' {
            match chars.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => return Err("only \\\" and \\\\ may be escaped"),
            }
        } else if c == quote && quote == '\'' && chars.peek() == Some(&'\'') {
            chars.next();
            text.push(quote);
        } else if c == quote {
            let rest: String = chars.collect();
            let rest = rest.trim_start();
            return if rest.is_empty() || rest.starts_with('#') {
                Ok(text)
            } else {
                Err("remove what follows the quotes")
            };
        } else {
            text.push(c);
        }
    }
    Err("close the quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Result<String, String> {
        let text = format!("---\n{line}\n---\nbody");
        split(Path::new("a.md"), &text)
            .map(|(fields, _, _)| fields.into_values().next().map(|w| w.value).unwrap_or_default())
            .map_err(|flaws| flaws[0].to_string())
    }

    #[test]
    fn values_are_read_as_yaml_reads_them() {
        assert_eq!(value("version: \"2.0\"").unwrap(), "2.0");
        assert_eq!(value("title: 'It''s: #1' # note").unwrap(), "It's: #1");
        assert_eq!(value("title: Fees: 2026 # note").unwrap(), "Fees: 2026");
        assert_eq!(value("valid_to:").unwrap(), "");
        assert_eq!(value("valid_to: ~").unwrap(), "");
        assert_eq!(value("title: \"say \\\"no\\\"\"\r").unwrap(), "say \"no\"");
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_line() {
        for bad in [
            "title: [a]",
            "title: &a x",
            "title: |",
            "title: \"open",
            "title:x",
            "  title: x",
            "no colon",
            "a b: c",
        ] {
            let error = value(bad).unwrap_err();
            assert!(error.starts_with("a.md:2: "), "{bad}: {error}");
        }
        let twice = split(Path::new("a.md"), "---\nid: a\nid: b\n---\n").unwrap_err();
        assert_eq!((twice[0].line, twice[0].field.as_str()), (3, "id"));
    }

    #[test]
    fn the_body_begins_after_the_fence_and_an_open_fence_is_an_error() {
        let (_, body, line) = split(Path::new("a.md"), "---\r\nid: a\r\n---\r\n\r\n# T").unwrap();
        assert_eq!((body, line), ("\r\n# T", 4));
        let (fields, body, _) = split(Path::new("a.md"), "# T\n---\nx: y\n").unwrap();
        assert!(fields.is_empty() && body.starts_with("# T"));
        assert!(split(Path::new("a.md"), "---\nid: a\n").is_err());
        assert!(split(Path::new("a.md"), &format!("---\n{}", "a: b\n".repeat(1000))).is_err());
    }
}
