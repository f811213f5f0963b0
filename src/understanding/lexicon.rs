//! Lists of names that travel with the model: whether a word stands in one is a hint beside its vector,
//! never a decision. Lower case has lost what a capital would have said.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many lists there are.
pub const LISTS: usize = 3;

/// Words in lower case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lexicon {
    pub first_names: BTreeSet<String>,
    pub last_names: BTreeSet<String>,
    pub places: BTreeSet<String>,
}

impl Lexicon {
    /// The words of three texts, one a line.
    pub fn of(first_names: &str, last_names: &str, places: &str) -> Self {
        let words = |text: &str| {
            let lines = text.lines().map(|line| line.trim().to_lowercase());
            lines.filter(|word| !word.is_empty()).collect()
        };
        Self { first_names: words(first_names), last_names: words(last_names), places: words(places) }
    }

    /// In which lists a word stands.
    pub fn bits(&self, word: &str) -> [bool; LISTS] {
        let word = word.to_lowercase();
        [&self.first_names, &self.last_names, &self.places].map(|list| list.contains(&word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_may_stand_in_several_lists_in_any_case() {
        let lexicon = Lexicon::of("Max\nWerner\n", "Huber\nWerner\n\n", "Ulm");
        assert_eq!(lexicon.bits("WERNER"), [true, true, false]);
        assert_eq!((lexicon.bits("ulm"), lexicon.bits("")), ([false, false, true], [false; LISTS]));
    }
}
