//! Words as the index compares them, the same for documents and questions.
//!
//! Lower case, without stop words, umlauts folded so that `Gebühren`, `Gebuehren` and `Gebuhren` meet,
//! then the Snowball stemmer of the language (Porter 1980; snowballstem.org). German compounds stand there with their
//! parts.

use super::compounds::Compounds;
use crate::base::Language;
use std::collections::HashSet;
use std::sync::Arc;
use tantivy::tokenizer::{
    Language as Snowball, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter,
    TextAnalyzer,
};

/// Changes whenever the same text may give other words.
pub const VERSION: &str = "words-3";

/// Longer "words" are no words (bytes).
const LONGEST_WORD: usize = 60;

/// German stop words whose umlauts are folded when the filter sees them.
const FOLDED_STOP_WORDS: [&str; 18] = [
    "fur", "uber", "konnen", "konnte", "konnten", "wurde", "wurden", "ware", "waren", "hatte", "hatten",
    "wahrend", "musste", "mussen", "durfen", "mochte", "mochten", "grussen",
];

/// Makes words of one language's text.
#[derive(Clone)]
pub struct Analysis {
    analyzer: TextAnalyzer,
    compounds: Arc<Compounds>,
}

impl Analysis {
    /// `compounds` are those of German; other languages have none.
    pub fn of(language: Language, compounds: &Arc<Compounds>) -> Self {
        let snowball = match language {
            Language::De => Snowball::German,
            Language::En => Snowball::English,
        };
        let folded = match language {
            Language::De => FOLDED_STOP_WORDS.map(str::to_owned).to_vec(),
            Language::En => Vec::new(),
        };
        let start = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST_WORD))
            .filter(LowerCaser)
            .filter(StopWordFilter::remove(folded));
        let analyzer = match StopWordFilter::new(snowball) {
            Some(stop_words) => start.filter(stop_words).filter(Stemmer::new(snowball)).build(),
            None => start.filter(Stemmer::new(snowball)).build(),
        };
        let compounds = match language {
            Language::De => Arc::clone(compounds),
            Language::En => Arc::default(),
        };
        Self { analyzer, compounds }
    }

    /// The words in their order.
    pub fn words(&mut self, text: &str) -> Vec<String> {
        let folded = self.compounds.taken_apart(&fold(text));
        let mut stream = self.analyzer.token_stream(&folded);
        let mut words = Vec::new();
        while let Some(token) = stream.next() {
            words.push(token.text.clone());
        }
        words
    }

    /// Each word once, in order of first appearance, at most `limit`.
    pub fn distinct(&mut self, text: &str, limit: usize) -> Vec<String> {
        let mut seen = HashSet::new();
        let words = self.words(text).into_iter().filter(|word| seen.insert(word.clone()));
        words.take(limit).collect()
    }
}

/// The text without the stop words of any language: in an English index, the German "die" is no word
/// either. For questions whose language is not known.
pub fn without_stop_words(text: &str) -> String {
    let mut analyzer = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).dynamic();
    for language in [Snowball::German, Snowball::English] {
        if let Some(filter) = StopWordFilter::new(language) {
            analyzer = analyzer.filter_dynamic(filter);
        }
    }
    let mut analyzer = analyzer.build();
    let mut stream = analyzer.token_stream(text);
    let mut kept = Vec::new();
    while let Some(token) = stream.next() {
        kept.push(token.text.clone());
    }
    kept.join(" ")
}

/// Umlauts and their two-letter spellings become the plain vowel, `ß` becomes `ss`, accents go. `ue` after
/// a vowel or q is not an umlaut (neue, Steuer, Quelle).
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = c.to_lowercase().next().unwrap_or(c);
        match c {
            'ß' | 'ẞ' => folded.push_str("ss"),
            '\u{300}'..='\u{36f}' => {}
            _ => folded.push(plain(c)),
        }
        let umlaut = matches!(c, 'a' | 'o' | 'u') && !matches!(before, 'a' | 'e' | 'i' | 'o' | 'u' | 'q');
        if umlaut && matches!(chars.peek(), Some('e' | 'E')) {
            chars.next();
        }
        before = c;
    }
    folded
}

fn plain(c: char) -> char {
    match c {
        'ä' | 'à' | 'á' | 'â' | 'ã' | 'å' => 'a',
        'ö' | 'ò' | 'ó' | 'ô' | 'õ' => 'o',
        'ü' | 'ù' | 'ú' | 'û' => 'u',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(language: Language, text: &str) -> Vec<String> {
        Analysis::of(language, &Arc::default()).words(text)
    }

    #[test]
    fn spellings_of_one_word_meet() {
        for (language, group) in [
            (Language::De, "Gebühren Gebuehren gebühr Gebuhren GEBÜHR gebu\u{308}hr"),
            (Language::De, "Karte Karten KARTE"),
            (Language::De, "Straße Strasse STRASSEN"),
            (Language::De, "gesperrt gesperrtes gesperrten"),
            (Language::En, "unlock unlocked unlocking Unlocks"),
        ] {
            let found: HashSet<String> = words(language, group).into_iter().collect();
            assert_eq!(found.len(), 1, "{group}: {found:?}");
        }
        assert_ne!(words(Language::De, "Steuer"), words(Language::De, "Stur"));
    }

    #[test]
    fn stop_words_and_signs_go() {
        assert_eq!(without_stop_words("Die Fee and the Gebühr, für uns"), "fee gebühr");
        assert_eq!(words(Language::De, "Was ist das für ein Konto?!"), ["konto"]);
        assert_eq!(words(Language::En, "what is the (fee) && \"AND\" +*:^~"), ["what", "fee"]);
        assert!(words(Language::En, "👩‍👩‍👧 \u{0} ???").is_empty());
        assert_eq!(Analysis::of(Language::En, &Arc::default()).distinct("fee fees card", 9), ["fee", "card"]);
    }
}
