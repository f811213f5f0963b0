//! German words that are made of others, taken apart: `kontofuhrungsgebuhr` is about a Konto, its Fuhrung and a
//! Gebuhr. Parts are words of the documents themselves, and a word is split where its parts are more frequent than it
//! (Koehn and Knight 2003: the geometric mean of the parts' counts), so no dictionary is needed, and what a bank calls
//! its products is known.

use std::collections::BTreeMap;

/// Shorter parts are endings more often than words (characters).
const SHORTEST: usize = 4;
/// Words of more parts than this are names of chemicals (parts).
const MOST_PARTS: usize = 4;
/// What may stand between two parts (Langer 1998).
const LINKS: [&str; 6] = ["", "s", "n", "en", "es", "er"];

/// How often each word stands in the documents of one language; lower case, umlauts folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compounds {
    counts: BTreeMap<String, u32>,
}

/// Letters in a row.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty())
}

impl Compounds {
    /// Counts the words of a text, lower case and folded.
    pub fn add(&mut self, text: &str) {
        for word in words(text).filter(|word| word.chars().nth(SHORTEST - 1).is_some()) {
            match self.counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(word.to_owned(), 1)),
            }
        }
    }

    /// A word and its count a line.
    pub fn written(&self) -> String {
        self.counts.iter().map(|(word, count)| format!("{word} {count}\n")).collect()
    }

    /// What `written` gives; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let (word, count) = line.split_once(' ')?;
            Some((word.to_owned(), count.parse().ok()?))
        };
        Some(Self { counts: text.lines().map(line).collect::<Option<_>>()? })
    }

    /// The text with the parts of each compound behind it.
    pub fn taken_apart(&self, text: &str) -> String {
        if self.counts.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(char::is_alphabetic) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_alphabetic()).unwrap_or(from.len());
            let (word, behind) = from.split_at(end);
            out.push_str(before);
            out.push_str(word);
            for part in self.parts(&word.to_lowercase()) {
                out.push(' ');
                out.push_str(part);
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    fn count(&self, word: &str) -> u32 {
        self.counts.get(word).copied().unwrap_or(0)
    }

    /// The parts of a word; none where it is better left whole.
    pub fn parts<'a>(&self, word: &'a str) -> Vec<&'a str> {
        if word.len() < 2 * SHORTEST {
            return Vec::new();
        }
        let mut best = Best { mean: f64::from(self.count(word)), parts: Vec::new() };
        self.split(word, &mut Vec::new(), 0.0, &mut best);
        best.parts
    }

    /// Tries every first part of `rest`; `logs` is the sum over the parts before it.
    fn split<'a>(&self, rest: &'a str, before: &mut Vec<&'a str>, logs: f64, best: &mut Best<'a>) {
        if !before.is_empty() {
            let count = self.count(rest);
            let mean = ((logs + f64::from(count).ln()) / (before.len() + 1) as f64).exp();
            if count > 0 && mean > best.mean {
                let mut parts = before.clone();
                parts.push(rest);
                *best = Best { mean, parts };
            }
        }
        if before.len() + 1 >= MOST_PARTS {
            return;
        }
        let ends = rest.char_indices().map(|(at, _)| at).skip(SHORTEST);
        for end in ends.take_while(|end| end + SHORTEST <= rest.len()) {
            let Some((part, behind)) = rest.split_at_checked(end) else { continue };
            let count = self.count(part);
            if count == 0 {
                continue;
            }
            before.push(part);
            for next in LINKS.iter().filter_map(|link| behind.strip_prefix(link)) {
                if next.len() >= SHORTEST {
                    self.split(next, before, logs + f64::from(count).ln(), best);
                }
            }
            before.pop();
        }
    }
}

struct Best<'a> {
    mean: f64,
    parts: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Compounds {
        let mut compounds = Compounds::default();
        compounds.add(&"konto fuhrung gebuhr karte sperre uberweisung unternehmen ".repeat(9));
        compounds.add("kontofuhrungsgebuhr nehmen unter 2026 ab");
        compounds
    }

    #[test]
    fn compounds_fall_apart_into_words_of_the_documents() {
        let known = known();
        for (word, parts) in [
            ("kontofuhrungsgebuhr", &["konto", "fuhrung", "gebuhr"][..]),
            ("kartensperre", &["karte", "sperre"]),
            ("unternehmen", &[]),
            ("konto", &[]),
            ("sparbuch", &[]),
        ] {
            assert_eq!(known.parts(word), parts, "{word}");
        }
        assert_eq!(known.taken_apart("die Kartensperre: 5 €"), "die Kartensperre karte sperre: 5 €");
        assert_eq!(Compounds::read(&known.written()), Some(known));
        assert_eq!(Compounds::read("a\n"), None);
    }
}
