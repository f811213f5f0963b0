//! A fault in a file that somebody wrote: where it is, what stands there, what would be right.

use serde::Serialize;
use std::fmt;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    pub file: String,
    /// From 1; 0 when the fault is the file itself.
    pub line: usize,
    /// What is wrong, with the field, the value in backticks, and the remedy.
    pub message: String,
}

impl Finding {
    pub fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }

    /// A finding at a byte offset of the file's text.
    pub fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self::new(file, line_of(text, offset), message)
    }

    /// What the TOML parser said, with its line.
    pub fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        Self::at(file, text, offset, error.message().trim())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// The line, from 1, of a byte offset.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// `; did you mean `x`?` when a known name is near, else the list of what is allowed.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|candidate| (strsim::osa_distance(name, candidate), *candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + name.chars().count() / 4 => {
            format!("; did you mean `{candidate}`?")
        }
        _ if known.len() <= 20 => format!("; allowed: {}", known.join(", ")),
        _ => format!("; {} names are allowed here, none is near", known.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(suggestion("recrod", ["record", "facts"]), "; did you mean `record`?");
        assert_eq!(suggestion("zebra", ["record", "facts"]), "; allowed: record, facts");
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(Finding::at("plans/x.toml", "a\nb", 2, "bad").to_string(), "plans/x.toml:2: bad");
    }
}
