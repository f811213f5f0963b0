//! The head of a document: `key: value` lines between two lines of `---`.
//!
//! This is the part of YAML that front matter needs: plain values, also over several lines, values in single or
//! double quotes, and comments. Lists, maps, anchors and block texts are refused rather than guessed at. Other
//! programs have keys of their own, of any form: those are passed over and told, unless one looks like a key of ours
//! that was mistyped.

use super::document::{KEYS, Written};
use super::error::Flaw;
use std::collections::BTreeMap;
use std::path::Path;

/// More lines than any document needs; a fence that is never closed ends the search here.
const MAX_LINES: usize = 100;
/// So many lines behind something like a fence are looked at for keys of ours.
const MISPLACED: usize = 20;

/// What a text says of itself, and the rest of it.
#[derive(Debug)]
pub struct Split<'a> {
    pub fields: BTreeMap<String, Written>,
    /// Keys that are none of ours.
    pub foreign: Vec<String>,
    pub body: &'a str,
    /// On which the body begins.
    pub line: usize,
}

/// Splits a text into front matter and body. A text that does not
/// begin with `---` is all body.
///
/// # Errors
/// One flaw for each line that is not of the form, or one for a front matter that does not end.
pub fn split<'a>(file: &Path, text: &'a str) -> Result<Split<'a>, Vec<Flaw>> {
    let mut fields: BTreeMap<String, Written> = BTreeMap::new();
    let (mut flaws, mut foreign) = (Vec::new(), Vec::new());
    // What an indented line goes on with.
    let mut open: Option<Key> = None;
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return match misplaced(file, text) {
            Some(flaw) => Err(vec![flaw]),
            None => Ok(Split { fields, foreign, body: text, line: 1 }),
        };
    };
    let mut offset = first.len();
    for (index, line) in lines.enumerate().take(MAX_LINES) {
        let number = index + 2;
        offset += line.len();
        let content = line.trim();
        if line.trim_end() == "---" {
            return if flaws.is_empty() {
                Ok(Split { fields, foreign, body: text.get(offset..).unwrap_or(""), line: number + 1 })
            } else {
                Err(flaws)
            };
        }
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let flaw = |field: &str, remedy: &str| flaw_at(file, number, (field, content), remedy.to_owned());
        let indented = line.starts_with([' ', '\t']) || content.starts_with("- ");
        match &open {
            Some(Key::Foreign(_)) if indented => continue,
            Some(Key::Own(key)) if indented && !content.starts_with("- ") => {
                if let Some(Written { value, .. }) = fields.get_mut(key) {
                    value.push(' ');
                    value.push_str(content);
                }
                continue;
            }
            _ => {}
        }
        let split = content.split_once(':').map(|(key, value)| (key.trim(), value));
        let Some((key, value)) = split.filter(|(key, _)| is_key(key) && !indented) else {
            flaws.push(flaw("front matter", "write `key: value`, not indented"));
            continue;
        };
        let name = match Key::of(key) {
            Key::Foreign(key) => {
                foreign.push(key.clone());
                open = Some(Key::Foreign(key));
                continue;
            }
            Key::Own(name) => name.to_owned(),
        };
        let plain = !value.trim_start().starts_with(['"', '\'']) && !value.contains(" #");
        open = plain.then(|| Key::Own(name.clone()));
        match scalar(value) {
            Ok(value) if !fields.contains_key(&name) => {
                fields.insert(name, Written { value, line: number });
            }
            Ok(_) => flaws.push(flaw(key, "the key stands there twice; remove one")),
            Err(remedy) => flaws.push(flaw(key, remedy)),
        }
    }
    let remedy = format!("close it with a line `---` within {MAX_LINES} lines");
    flaws.push(flaw_at(file, 1, ("front matter", "---"), remedy));
    Err(flaws)
}

/// A head that was meant as front matter and is none: what it says of who may read the document would be text, and the
/// document public.
fn misplaced(file: &Path, text: &str) -> Option<Flaw> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| line.trim().is_empty());
    let (number, fence) = lines.next()?;
    let marks = fence.trim();
    let is_fence = marks.len() > 2 && ["-", "+"].iter().any(|mark| marks.replace(mark, "").is_empty());
    let own = |(_, line): (usize, &str)| {
        let key = line.split([':', '=']).next().unwrap_or_default().trim().to_ascii_lowercase();
        line.contains([':', '=']) && KEYS.contains(&key.as_str())
    };
    let remedy =
        "begin the first line of the file with `---` and nothing else, and write `key: value` below it";
    let meant = is_fence && lines.take(MISPLACED).any(own);
    meant.then(|| flaw_at(file, number + 1, ("front matter", marks), remedy.to_owned()))
}

fn flaw_at(file: &Path, line: usize, (field, value): (&str, &str), remedy: String) -> Flaw {
    Flaw { file: file.to_path_buf(), line, field: field.to_owned(), value: value.to_owned(), remedy }
}

/// Whose a key is.
#[derive(Debug)]
enum Key {
    /// One of ours, however it is capitalised, or nearly one: the document is refused that has it.
    Own(String),
    Foreign(String),
}

impl Key {
    fn of(written: &str) -> Self {
        let lower = written.to_ascii_lowercase();
        let own = KEYS.contains(&lower.as_str()) || meant(&lower).is_some();
        if own { Self::Own(lower) } else { Self::Foreign(written.to_owned()) }
    }
}

/// The key of ours that was probably meant.
pub fn meant(key: &str) -> Option<&'static str> {
    let near = |own: &&str| {
        let allowed = if own.len() > 4 { 2 } else { 0 };
        strsim::damerau_levenshtein(own, &key.to_ascii_lowercase().replace('-', "_")) <= allowed
    };
    KEYS.into_iter().find(near)
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
            .map(|split| split.fields.into_values().next().map(|w| w.value).unwrap_or_default())
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
        assert_eq!(
            value("Title: Gesetz über\n  Konten\njurabk: X\ntags:\n  - [a").unwrap(),
            "Gesetz über Konten"
        );
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_line() {
        for bad in ["title: [a]", "title: &a x", "title: |", "title: \"open", "title:x", "no colon", "a b: c"]
        {
            let error = value(bad).unwrap_err();
            assert!(error.starts_with("a.md:2: "), "{bad}: {error}");
        }
        let twice = split(Path::new("a.md"), "---\nid: a\nid: b\n---\n").unwrap_err();
        assert_eq!((twice[0].line, twice[0].field.as_str()), (3, "id"));
    }

    #[test]
    fn a_head_that_is_no_front_matter_is_not_published_as_text() {
        for text in [
            "\n---\naudience: internal\n---\nText",
            "----\nid: a\n----\nText",
            "+++\naudience = \"internal\"\n+++\nText",
            " ---\ntitle: x\n---\n",
        ] {
            let flaws = split(Path::new("a.md"), text).unwrap_err();
            assert!(flaws[0].remedy.contains("first line"), "{text}");
        }
        for text in ["----\nText: with a colon\n", "# T\n\n---\n\nid: of something\n", "\n\nText"] {
            assert_eq!(split(Path::new("a.md"), text).unwrap().body, text);
        }
    }

    #[test]
    fn the_body_begins_after_the_fence_and_an_open_fence_is_an_error() {
        let found = split(Path::new("a.md"), "---\r\nid: a\r\n---\r\n\r\n# T").unwrap();
        assert_eq!((found.body, found.line), ("\r\n# T", 4));
        let found = split(Path::new("a.md"), "# T\n---\nx: y\n").unwrap();
        assert!(found.fields.is_empty() && found.body.starts_with("# T"));
        let found = split(Path::new("a.md"), "---\nlayout: default\nid: a\n---\n").unwrap();
        assert_eq!((found.foreign.as_slice(), found.fields.len()), (["layout".to_owned()].as_slice(), 1));
        assert!(split(Path::new("a.md"), "---\nid: a\n").is_err());
        assert!(split(Path::new("a.md"), &format!("---\n{}", "a: b\n".repeat(1000))).is_err());
    }
}
