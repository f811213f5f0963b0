//! Names of persons, places and streets.

use super::{Level, fold, spoken};
use rphonetic::{Cologne, Encoder};

pub const LEVELS: &[&str] = &[
    "agrees",
    "agrees in another spelling or order",
    "agrees closely",
    "is similar",
    "agrees in part",
    "is somewhat similar",
    "has something in common",
    "disagrees",
];

/// Similarity from which on a level counts, for levels 2, 3, 5 and 6.
const CLOSE: f64 = 0.9;
const SIMILAR: f64 = 0.8;
const SOMEWHAT: f64 = 0.7;
const SOMETHING: f64 = 0.58;
/// How alike a part must be to count as a part.
const PART: f64 = 0.88;
/// Names that sound the same are taken for the same if they are at least so alike in letters.
const SOUNDS: f64 = 0.6;
/// More words than a name has: the rest is left out.
const WORDS: usize = 12;

/// A name, folded.
#[derive(Clone, PartialEq, Debug)]
pub struct Name {
    /// In lower case, with accents, umlauts as they are written.
    plain: String,
    /// Without accents, umlauts as one letter.
    words: Vec<String>,
    /// The words without blanks.
    joined: String,
    /// How each word sounds: Kölner Phonetik (Postel 1969).
    sounds: Vec<String>,
    /// Whether parts of it and another order count.
    person: bool,
    /// What it is if its words spell letters: some are both, such as `Otto`.
    spelled: Option<Box<Self>>,
}

impl Name {
    /// What was said: a name, or its letters one after the other.
    pub fn said(text: &str) -> Option<Self> {
        let words = fold::words(text);
        if !spoken::spells(&words) {
            return Self::of(text, true);
        }
        let letters = |word: &String| if word.as_str() == "space" { " ".into() } else { word.clone() };
        let spoken: Vec<String> = words.iter().map(letters).collect();
        let spelled = Self::of(&spoken::spelled(&spoken).to_lowercase(), true);
        // Single letters are no names, and would pass for the initials of many.
        let single = words.iter().filter(|word| word.chars().count() == 1).count();
        match Self::of(text, true).filter(|_| single * 2 < words.len()) {
            Some(written) => Some(Self { spelled: spelled.map(Box::new), ..written }),
            None => spelled,
        }
    }

    /// The ways to read it.
    pub fn readings(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.spelled.as_deref())
    }

    pub fn kept(text: &str) -> Option<Self> {
        Self::of(text, true)
    }

    pub fn place(text: &str) -> Option<Self> {
        Self::of(text, false)
    }

    fn of(text: &str, person: bool) -> Option<Self> {
        let mut words = fold::words(text);
        words.truncate(WORDS);
        let words: Vec<String> = words.iter().map(|word| fold::umlauts(word)).collect();
        let joined = words.concat();
        let sounds = words.iter().map(|word| Cologne.encode(word)).collect();
        (!joined.is_empty()).then(|| Self {
            plain: fold::plain(text),
            words,
            joined,
            sounds,
            person,
            spelled: None,
        })
    }

    /// The folded words, and their letters without blanks: what an index looks for.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    pub fn joined(&self) -> &str {
        &self.joined
    }

    pub fn sounds(&self) -> &[String] {
        &self.sounds
    }

    /// How well what was said agrees with a record's name.
    pub fn level(&self, kept: &Self) -> Level {
        let spelled = self.spelled.as_ref().map_or(Level::MAX, |spelled| spelled.level(kept));
        self.as_written(kept).min(spelled)
    }

    fn as_written(&self, kept: &Self) -> Level {
        if self.plain == kept.plain {
            return 0;
        }
        if self.joined == kept.joined || self.person && kept.person && same_words(&self.words, &kept.words) {
            return 1;
        }
        let alike = self.alike(kept);
        let sounds = alike >= SOUNDS && self.sounds.concat() == kept.sounds.concat();
        if alike >= CLOSE || sounds {
            2
        } else if alike >= SIMILAR {
            3
        } else if self.person && kept.person && self.part(kept) {
            4
        } else if alike >= SOMEWHAT {
            5
        } else if alike >= SOMETHING {
            6
        } else {
            7
        }
    }

    /// 0 to 1: as one string, in another order, or word by word.
    pub fn alike(&self, kept: &Self) -> f64 {
        let mut best = alike(&self.joined, &kept.joined);
        if self.person && kept.person && kept.words.len() > 1 {
            let mut turned = kept.words.clone();
            turned.rotate_right(1);
            best = best.max(alike(&self.joined, &turned.concat()) * 0.98);
        }
        if kept.words.len() > 1 && self.words.len() > 1 {
            best = best.max(self.by_word(kept) * 0.98);
        }
        best
    }

    /// The mean over the record's letters of how alike each of its words is to the said word that is most so.
    fn by_word(&self, kept: &Self) -> f64 {
        let letters = |word: &str| word.chars().count() as f64;
        let sum: f64 = kept
            .words
            .iter()
            .map(|word| {
                let best = self.words.iter().map(|said| alike(said, word)).fold(0.0, f64::max);
                best * letters(word)
            })
            .sum();
        sum / letters(&kept.joined).max(1.0)
    }

    /// Whether one of several names was said, or initials for some of them.
    fn part(&self, kept: &Self) -> bool {
        let is = |said: &str, word: &str| {
            let mut letters = said.chars();
            match (letters.next(), letters.next()) {
                (Some(initial), None) => word.starts_with(initial),
                _ => alike(said, word) >= PART,
            }
        };
        let whole = |said: &String| said.chars().count() > 1;
        let one_of_theirs = kept.words.len() > 1 && kept.words.iter().any(|word| is(&self.joined, word));
        let mine_among_theirs = self.words.iter().any(whole)
            && self.words.iter().all(|said| kept.words.iter().any(|word| is(said, word)));
        let theirs_among_mine =
            kept.words.iter().all(|word| self.words.iter().any(|said| whole(said) && is(said, word)));
        one_of_theirs || mine_among_theirs || theirs_among_mine
    }
}

fn same_words(a: &[String], b: &[String]) -> bool {
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

/// The greater of Jaro-Winkler, less what strings of this length have by chance, and one less the share of edits
/// (optimal string alignment).
fn alike(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    let longer = a.chars().count().max(b.chars().count()).max(1) as f64;
    let edits = 1.0 - strsim::osa_distance(a, b) as f64 / longer;
    edits.max(strsim::jaro_winkler(a, b) * 1.5 - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(said: &str, kept: &str) -> Level {
        Name::said(said).unwrap().level(&Name::kept(kept).unwrap())
    }

    #[test]
    fn spellings_order_and_sound() {
        assert_eq!(level("müller", "Müller"), 0);
        assert_eq!(level("Mueller", "Müller"), 1);
        assert_eq!(level("Schmidt Anna", "Anna Schmidt"), 1);
        assert_eq!(level("Leutheusser Schnarrenberger", "Leutheusser-Schnarrenberger"), 1);
        assert!(level("Maier", "Meyer") <= 3);
        assert!(level("Schnarrenberger", "Leutheusser-Schnarrenberger") <= 4);
        assert!(level("Leutheusser", "Leutheusser-Schnarrenberger") <= 4);
        assert!(level("M. Müller", "Max Müller") <= 4);
        assert_eq!(level("Kowalski", "Brandt"), 7);
        assert_eq!(level("g a v i n", "Gavin"), 0);
        // First names that are also letters of a spelling alphabet, and short words that are names.
        for name in ["Friedrich Wilhelm Müller", "Otto Wilhelm Bauer", "Oscar de la Hoya", "De La Cruz"] {
            assert_eq!(level(name, name), 0, "{name}");
        }
        assert_eq!(level("Sierra Oscar Papa", "Sop"), 0);
        assert!(Name::said(" -- ").is_none());
    }
}
