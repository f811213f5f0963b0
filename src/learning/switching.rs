//! Words of the other language put into a line (code switching; Qin et al. 2020, CoSDA-ML): what the many
//! English lines teach about intents reaches German words, and customers mix languages, too.

use super::vocabulary::spelled;
use crate::base::Language;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::collections::HashMap;

/// A glossary in both directions.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// German word in the tokenizer's spelling -> English gloss.
    english: HashMap<String, String>,
    /// English gloss -> German words, each with how often it occurs.
    german: HashMap<String, Vec<(String, u64)>>,
}

impl Dictionary {
    /// `texts` are German lines: of several German words for a gloss the usual one is taken more often.
    pub fn of<'a>(glossary: &HashMap<String, String>, texts: impl Iterator<Item = &'a str>) -> Self {
        let mut count: HashMap<String, u64> = HashMap::new();
        for text in texts {
            for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
                *count.entry(spelled(word)).or_default() += 1;
            }
        }
        let mut german: HashMap<String, Vec<(String, u64)>> = HashMap::new();
        for (word, gloss) in glossary {
            let seen = count.get(word).copied().unwrap_or(0);
            german.entry(gloss.to_lowercase()).or_default().push((word.clone(), seen + 1));
        }
        german.values_mut().for_each(|words| words.sort());
        Self { english: glossary.clone(), german }
    }

    /// The text with about `share` (0..1) of the words that the glossary knows in the other language.
    pub fn switched(&self, text: &str, language: Language, share: f64, rng: &mut StdRng) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(char::is_alphabetic) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_alphabetic() && c != '\'').unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            out.push_str(before);
            let other = if rng.random_bool(share) { self.other(word, language, rng) } else { None };
            out.push_str(other.as_deref().unwrap_or(word));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn other(&self, word: &str, language: Language, rng: &mut StdRng) -> Option<String> {
        match language {
            Language::De => self.english.get(&spelled(word)).cloned(),
            Language::En => {
                let words = self.german.get(&word.to_lowercase())?;
                words.choose_weighted(rng, |(_, seen)| *seen as f64).ok().map(|(word, _)| word.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn dictionary() -> Dictionary {
        let glossary =
            [("karte", "card"), ("chaertli", "card"), ("ueberweisung", "transfer"), ("nicht", "not")];
        let glossary = glossary.map(|(german, english)| (german.to_owned(), english.to_owned()));
        Dictionary::of(&HashMap::from(glossary), ["Meine Karte, die KARTE!"].into_iter())
    }

    #[test]
    fn known_words_change_and_the_rest_stays() {
        let mut rng = StdRng::seed_from_u64(1);
        let words = dictionary();
        let german = words.switched("Die Überweisung ging nicht!", Language::De, 1.0, &mut rng);
        assert_eq!(german, "Die transfer ging not!");
        let english = words.switched("(transfer) isn't not 5 €", Language::En, 1.0, &mut rng);
        assert_eq!(english, "(ueberweisung) isn't nicht 5 €");
        assert_eq!(words.switched("card", Language::En, 0.0, &mut rng), "card");
        assert_eq!(words.switched("", Language::En, 1.0, &mut rng), "");
    }

    #[test]
    fn the_usual_word_is_taken_more_often() {
        let mut rng = StdRng::seed_from_u64(2);
        let words = dictionary();
        let drawn: Vec<String> =
            (0..200).map(|_| words.switched("card", Language::En, 1.0, &mut rng)).collect();
        let usual = drawn.iter().filter(|word| *word == "karte").count();
        let rare = drawn.iter().filter(|word| *word == "chaertli").count();
        assert_eq!(usual + rare, 200);
        assert!(usual > 120 && rare > 20, "{usual} {rare}");
    }
}
