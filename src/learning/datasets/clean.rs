//! Keeps test lines out of training: a line goes when its letters and digits equal those of a test line, or
//! when one contains the other (from 40 characters on).

use super::{Line, Source, Split};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Shorter texts are compared for equality only: "how do I pay" is in many longer questions.
const WINDOW: usize = 40;

pub fn normalised(text: &str) -> Vec<char> {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Drops those training and development lines; says how many of each source went.
pub fn drop_test_lines(lines: &mut Vec<Line>) -> BTreeMap<Source, usize> {
    let tests: Vec<Vec<char>> =
        lines.iter().filter(|line| line.split == Split::Test).map(|line| normalised(&line.text())).collect();
    let whole: HashSet<&[char]> = tests.iter().map(Vec::as_slice).collect();
    let mut heads: HashMap<&[char], Vec<&[char]>> = HashMap::new();
    let mut windows: HashMap<&[char], Vec<&[char]>> = HashMap::new();
    for test in &tests {
        if let Some(head) = test.get(..WINDOW) {
            heads.entry(head).or_default().push(test);
        }
        for window in test.windows(WINDOW) {
            windows.entry(window).or_default().push(test);
        }
    }
    let mut dropped = BTreeMap::new();
    lines.retain(|line| {
        if line.split == Split::Test {
            return true;
        }
        let text = normalised(&line.text());
        let contains_test = || {
            text.windows(WINDOW).enumerate().any(|(at, window)| {
                let tail = text.get(at..).unwrap_or_default();
                heads.get(window).into_iter().flatten().any(|test| tail.starts_with(test))
            })
        };
        let inside_test = || {
            let head = text.get(..WINDOW).unwrap_or_default();
            let inside = |test: &&[char]| test.windows(text.len()).any(|window| window == text);
            windows.get(head).into_iter().flatten().any(inside)
        };
        let leaks = whole.contains(text.as_slice()) || contains_test() || inside_test();
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
        ];
        assert_eq!(drop_test_lines(&mut lines).get(&Source::Own), Some(&3));
        let left: Vec<String> = lines.iter().skip(2).map(Line::text).collect();
        assert_eq!(left, ["where is it now", "swallowed by the machine"]);
    }
}
