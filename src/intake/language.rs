//! Which of the product's languages a message is in.
//!
//! Short messages decide by their function words, where trigrams have too little to count; what function
//! words leave open, whatlang's trigrams over the two languages decide.

use crate::base::Language;
use whatlang::{Detector, Lang};

/// Words that one of the two languages uses often and the other hardly ever. Words of both (`in`, `an`,
/// `was`, `so`, `die`, `man`, `am`, `war`, `bin`, `hat`) say nothing; `i` stands
/// in both lists, for Austrians and Swiss write it for `ich`.
const GERMAN: &[&str] = &[
    "aber",
    "alle",
    "alles",
    "als",
    "auch",
    "auf",
    "aus",
    "beim",
    "bekomme",
    "bekommen",
    "bitte",
    "da",
    "danke",
    "dann",
    "das",
    "dass",
    "dem",
    "den",
    "denn",
    "der",
    "des",
    "dich",
    "dies",
    "diese",
    "diesem",
    "diesen",
    "dieser",
    "dieses",
    "dir",
    "doch",
    "du",
    "durch",
    "ein",
    "eine",
    "einem",
    "einen",
    "einer",
    "eines",
    "er",
    "es",
    "etwas",
    "euch",
    "euer",
    "eure",
    "für",
    "fuer",
    "geht",
    "gerade",
    "gibt",
    "guten",
    "habe",
    "haben",
    "habt",
    "hallo",
    "ich",
    "ihr",
    "ihre",
    "ihrem",
    "ihren",
    "ihrer",
    "ihnen",
    "im",
    "immer",
    "ist",
    "ja",
    "jemand",
    "jetzt",
    "kann",
    "kannst",
    "karte",
    "kein",
    "keine",
    "keinen",
    "klappt",
    "komme",
    "kommt",
    "konto",
    "können",
    "koennen",
    "könnte",
    "könnten",
    "könnt",
    "lautet",
    "mal",
    "mehr",
    "mein",
    "meine",
    "meinem",
    "meinen",
    "meiner",
    "mich",
    "mir",
    "mit",
    "möchte",
    "moechte",
    "muss",
    "müssen",
    "nach",
    "nicht",
    "nichts",
    "noch",
    "nun",
    "nur",
    "ob",
    "oder",
    "ohne",
    "schon",
    "sehr",
    "sein",
    "seine",
    "seit",
    "sich",
    "sie",
    "sind",
    "sofort",
    "soll",
    "sollte",
    "sperren",
    "über",
    "um",
    "und",
    "uns",
    "unser",
    "unsere",
    "unter",
    "vom",
    "von",
    "vor",
    "wann",
    "warum",
    "weil",
    "welche",
    "welchem",
    "welchen",
    "welcher",
    "welches",
    "wenn",
    "wer",
    "werde",
    "werden",
    "wie",
    "wieder",
    "wird",
    "wieso",
    "wieviel",
    "wir",
    "wo",
    "wollen",
    "worden",
    "wurde",
    "wurden",
    "zu",
    "zum",
    "zur",
    "zurück",
    "überweisung",
    "hab",
    "hilfe",
    "geld",
    "nö",
    "isch",
    "mini",
    "nöd",
    "ned",
    "i",
    "gesperrt",
    "verloren",
    "gestohlen",
    "brauche",
    "kostet",
    "kosten",
    "rechnung",
    "kreditkarte",
    "zahlung",
    "überweisen",
    "neue",
    "neuen",
];

const ENGLISH: &[&str] = &[
    "a", "about", "after", "again", "all", "and", "any", "anyone", "are", "as", "at", "be", "because",
    "been", "before", "but", "by", "can", "can't", "cannot", "cant", "could", "did", "didn't", "do", "does",
    "doesn't", "doesnt", "don't", "dont", "for", "from", "get", "getting", "got", "had", "has", "have",
    "haven't", "hello", "help", "how", "i", "i'd", "i'm", "i've", "if", "into", "is", "isn't", "isnt", "it",
    "it's", "its", "just", "made", "make", "me", "money", "my", "need", "never", "no", "not", "of", "off",
    "on", "or", "our", "out", "over", "please", "should", "since", "some", "someone", "still", "than",
    "thanks", "that", "the", "their", "them", "then", "there", "these", "they", "this", "to", "too", "up",
    "us", "use", "using", "want", "wants", "we", "were", "what", "what's", "when", "where", "which", "who",
    "whose", "why", "with", "won't", "wont", "work", "working", "would", "you", "your", "yours", "account",
    "balance", "bank", "block", "blocked", "charge", "charged", "fee", "fees", "lost", "stolen", "transfer",
    "card", "cards", "refund", "bill", "due", "currency", "payment", "payments", "you're", "like", "missing",
];

/// With fewer letters trigrams are chance.
const FEWEST_LETTERS: usize = 8;

/// The language of a text. `default` answers where nothing in the text does: numbers, names, no words.
pub fn detect(text: &str, default: Language) -> Language {
    let (german, english) = votes(text);
    if german != english {
        return if german > english { Language::De } else { Language::En };
    }
    if text.chars().filter(|c| c.is_alphabetic()).count() < FEWEST_LETTERS {
        return default;
    }
    match Detector::with_allowlist(vec![Lang::Deu, Lang::Eng]).detect_lang(text) {
        Some(Lang::Deu) => Language::De,
        Some(Lang::Eng) => Language::En,
        _ => default,
    }
}

/// How many words speak for German and for English.
fn votes(text: &str) -> (usize, usize) {
    let lower = text.to_lowercase().replace('’', "'");
    let mut votes = (0, 0);
    for word in lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')) {
        votes.0 += usize::from(GERMAN.contains(&word));
        votes.1 += usize::from(ENGLISH.contains(&word));
    }
    votes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    #[test]
    fn short_messages_are_told_apart() {
        for (text, language) in [
            ("Wir kommen nicht mehr in unser Konto rein.", Language::De),
            ("We can no longer get into our account.", Language::En),
            ("karte weg!!", Language::De),
            ("card gone!!", Language::En),
            ("My name is Angelika Müller, Sparkasse Nürnberg", Language::En),
            ("Ich nutze Apple Pay und Online Banking", Language::De),
        ] {
            assert_eq!(detect(text, Language::De), language, "{text}");
            assert_eq!(detect(text, Language::En), language, "{text}");
        }
    }

    #[test]
    fn where_nothing_tells_the_default_holds() {
        for text in ["", "????", "4711", "PIN 1", "👍"] {
            assert_eq!(detect(text, Language::De), Language::De, "{text}");
            assert_eq!(detect(text, Language::En), Language::En, "{text}");
        }
    }

    /// At least 99 % over labelled utterances, with the wrong language as the default so that it never helps.
    #[test]
    fn labelled_utterances_are_told_apart() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/data/utterances");
        let mut labelled = Vec::new();
        for file in std::fs::read_dir(&own).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            labelled.extend(text.lines().skip(1).filter_map(utterance));
        }
        let banking = std::env::var_os("PROKURA_DATA")
            .map(PathBuf::from)
            .unwrap_or_default()
            .join("banking77/test.csv");
        let english = std::fs::read_to_string(&banking).unwrap_or_default();
        labelled.extend(english.lines().skip(1).map(|line| (Language::En, line.to_owned())));
        for (path, there) in [(&own, own.is_dir()), (&banking, banking.is_file())] {
            if !there {
                eprintln!("skipped {}: not there", path.display());
            }
        }
        let wrong = labelled.iter().filter(|(language, text)| {
            let other = if *language == Language::De { Language::En } else { Language::De };
            detect(text, other) != *language
        });
        assert!(wrong.count() * 100 <= labelled.len());
    }

    /// A line `id, language, tone, text`, the text without its `[field|value]` marks.
    fn utterance(line: &str) -> Option<(Language, String)> {
        let columns: Vec<&str> = line.split('\t').collect();
        let mut text = String::new();
        for part in columns.get(3)?.split('[') {
            let (value, rest) = part.split_once(']').unwrap_or(("", part));
            text.push_str(value.split_once('|').map_or(value, |(_, value)| value));
            text.push_str(rest);
        }
        Some((Language::parse(columns.get(1)?)?, text))
    }
}
