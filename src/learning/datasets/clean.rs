//! Keeps test lines out of training: a line goes when its letters and digits equal those of a test line, or
//! when one contains the other (from 40 characters on).

use super::{Line, Source, Split};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Shorter texts are compared for equality only: "how do I pay" is in many longer questions.
const WINDOW: usize = 40;

pub fn normalised(text: &str) -> Vec<char> {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Normalised texts, and the index that finds them.
pub struct Texts<'a> {
    whole: HashSet<&'a [char]>,
    heads: HashMap<&'a [char], Vec<&'a [char]>>,
    windows: HashMap<&'a [char], Vec<&'a [char]>>,
}

impl<'a> Texts<'a> {
    /// `texts` are normalised.
    pub fn new(texts: &'a [Vec<char>]) -> Self {
        let mut heads: HashMap<&[char], Vec<&[char]>> = HashMap::new();
        let mut windows: HashMap<&[char], Vec<&[char]>> = HashMap::new();
        for text in texts {
            if let Some(head) = text.get(..WINDOW) {
                heads.entry(head).or_default().push(text);
            }
            for window in text.windows(WINDOW) {
                windows.entry(window).or_default().push(text);
            }
        }
        Self {
            whole: texts.iter().map(Vec::as_slice).filter(|text| !text.is_empty()).collect(),
            heads,
            windows,
        }
    }

    /// Whether one of them equals the text, contains it or is contained in it.
    pub fn share(&self, text: &str) -> bool {
        let text = normalised(text);
        let contains_one = || {
            text.windows(WINDOW).enumerate().any(|(at, window)| {
                let tail = text.get(at..).unwrap_or_default();
                self.heads.get(window).into_iter().flatten().any(|known| tail.starts_with(known))
            })
        };
        let inside_one = || {
            let head = text.get(..WINDOW).unwrap_or_default();
            let inside = |known: &&[char]| known.windows(text.len()).any(|window| window == text);
            self.windows.get(head).into_iter().flatten().any(inside)
        };
        self.whole.contains(text.as_slice()) || contains_one() || inside_one()
    }
}

/// Drops training and development lines that share the text of a test line, or one of `more` (test lines that
/// are not among `lines`); says how many of each source went.
pub fn drop_test_lines(lines: &mut Vec<Line>, more: &[String]) -> BTreeMap<Source, usize> {
    let own = lines.iter().filter(|line| line.split == Split::Test).map(|line| normalised(&line.text()));
    let tests: Vec<Vec<char>> = own.chain(more.iter().map(|text| normalised(text))).collect();
    let tests = Texts::new(&tests);
    let mut dropped = BTreeMap::new();
    lines.retain(|line| {
        let leaks = line.split != Split::Test && tests.share(&line.text());
        if leaks {
            *dropped.entry(line.source).or_default() += 1;
        }
        !leaks
    });
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Language;
    use crate::learning::datasets::Piece;

    #[test]
    fn equal_containing_and_contained_lines_go() {
        let long = "My card was swallowed by the machine in the main street today";
        let line = |text: &str, split| Line {
            source: Source::Own,
            split,
            language: Language::En,
            pieces: vec![Piece { text: text.to_owned(), field: None }],
            target: None,
            concerns: Vec::new(),
            tone: None,
            groups: vec![],
            meaning: None,
        };
        let mut lines = vec![
            line(long, Split::Test),
            line("Where is it?", Split::Test),
            line("where is IT", Split::Train),
            line("where is it now", Split::Train),
            line(&format!("Hello. {long}!"), Split::Train),
            line("card was swallowed by the machine in the main street to", Split::Dev),
            line("swallowed by the machine", Split::Train),
            line("blind?", Split::Train),
            line("!", Split::Train),
        ];
        let more = ["Blind".to_owned(), "?".to_owned()];
        assert_eq!(drop_test_lines(&mut lines, &more).get(&Source::Own), Some(&4));
        let left: Vec<String> = lines.iter().skip(2).map(Line::text).collect();
        assert_eq!(left, ["where is it now", "swallowed by the machine", "!"]);
    }
}
