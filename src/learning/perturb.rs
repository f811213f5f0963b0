//! Messages as they arrive when something goes wrong on the way. Pure functions of the random source.

use crate::base::Language;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Perturbation {
    /// About every fifth longer word has a slip of the finger.
    Typos,
    /// ü becomes u, ß becomes ss.
    PlainVowels,
    /// ü becomes ue, ß becomes ss.
    Digraphs,
    NoCapitals,
    /// Neither punctuation nor capitals, as speech recognition leaves it.
    Dictation,
    /// The head of a forwarded mail stands before it.
    Forwarded,
    /// A greeting before it, a signature behind.
    Letter,
    /// Some words are of the other language.
    Mixed,
}

impl Perturbation {
    pub const ALL: [Self; 8] = [
        Self::Typos,
        Self::PlainVowels,
        Self::Digraphs,
        Self::NoCapitals,
        Self::Dictation,
        Self::Forwarded,
        Self::Letter,
        Self::Mixed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Typos => "typos",
            Self::PlainVowels => "plain_vowels",
            Self::Digraphs => "digraphs",
            Self::NoCapitals => "no_capitals",
            Self::Dictation => "dictation",
            Self::Forwarded => "forwarded",
            Self::Letter => "letter",
            Self::Mixed => "mixed",
        }
    }

    /// The changed text; `None` where it would stay as it is.
    pub fn apply(self, text: &str, language: Language, rng: &mut StdRng) -> Option<String> {
        let changed = match self {
            Self::Typos => typos(text, rng),
            Self::PlainVowels => spelled(text, ["a", "o", "u"]),
            Self::Digraphs => spelled(text, ["ae", "oe", "ue"]),
            Self::NoCapitals => text.to_lowercase(),
            Self::Dictation => dictated(text),
            Self::Forwarded => format!("{}{text}", forwarded(language)),
            Self::Letter => letter(text, language, rng),
            Self::Mixed => mixed(text, language, rng),
        };
        (changed != text).then_some(changed)
    }
}

fn typos(text: &str, rng: &mut StdRng) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in letters.iter().chain([&' ']).enumerate() {
        match (c.is_alphabetic(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words.retain(|(from, to)| to - from >= 4);
    let sure = words.choose(rng).copied();
    // From the end, so that the places before stay what they were.
    for (from, to) in words.into_iter().rev() {
        if Some((from, to)) != sure && !rng.random_bool(0.2) {
            continue;
        }
        let at = rng.random_range(from + 1..to - 1);
        match rng.random_range(0..4_u8) {
            0 => letters.swap(at, at + 1),
            1 => {
                letters.remove(at);
            }
            2 => letters.insert(at, letters.get(at).copied().unwrap_or('e')),
            _ => {
                if let Some(letter) = letters.get_mut(at) {
                    *letter = beside(*letter);
                }
            }
        }
    }
    letters.into_iter().collect()
}

/// The key to the right on a German keyboard.
fn beside(letter: char) -> char {
    const ROWS: [&str; 3] = ["qwertzuiopü", "asdfghjklöä", "yxcvbnm"];
    let next = |row: &&str| row.chars().skip_while(|c| *c != letter).nth(1);
    ROWS.iter().find_map(next).unwrap_or('e')
}

fn spelled(text: &str, vowels: [&str; 3]) -> String {
    let [a, o, u] = vowels;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let lower: String = c.to_lowercase().collect();
        let plain = match lower.as_str() {
            "ä" => a,
            "ö" => o,
            "ü" => u,
            "ß" => "ss",
            _ => {
                out.push(c);
                continue;
            }
        };
        if c.is_uppercase() {
            let mut rest = plain.chars();
            out.extend(rest.next().map(|first| first.to_ascii_uppercase()));
            out.push_str(rest.as_str());
        } else {
            out.push_str(plain);
        }
    }
    out
}

/// Marks inside a word or number (1,50; a@b.de) stay: whoever recognises speech writes those.
fn dictated(text: &str) -> String {
    let letters: Vec<char> = text.to_lowercase().chars().collect();
    let solid = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric());
    let kept = letters.iter().enumerate().map(|(at, c)| {
        let inside = solid(at.checked_sub(1)) && solid(Some(at + 1));
        if c.is_alphanumeric() || inside || matches!(c, '€' | '$' | '£' | '+') { *c } else { ' ' }
    });
    let kept: String = kept.collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn forwarded(language: Language) -> &'static str {
    match language {
        Language::De => {
            "---------- Weitergeleitete Nachricht ---------\nVon: Petra Lindner <petra.lindner@example.org>\n\
             Datum: Mo., 3. März 2025 um 14:12 Uhr\nBetreff: WG: Anfrage\nAn: <service@example.org>\n\n"
        }
        Language::En => {
            "---------- Forwarded message ---------\nFrom: Petra Lindner <petra.lindner@example.org>\n\
             Date: Mon, 3 March 2025 at 14:12\nSubject: Fwd: Enquiry\nTo: <service@example.org>\n\n"
        }
    }
}

fn letter(text: &str, language: Language, rng: &mut StdRng) -> String {
    let (greetings, closings) = match language {
        Language::De => (
            ["Sehr geehrte Damen und Herren,", "Guten Tag,", "Hallo zusammen,", "Grüß Gott,"],
            ["Mit freundlichen Grüßen", "Vielen Dank und beste Grüße", "Liebe Grüße", "Freundliche Grüsse"],
        ),
        Language::En => (
            ["Dear Sir or Madam,", "Hello,", "Hi there,", "Good morning,"],
            ["Kind regards", "Many thanks and best wishes", "Best", "Yours faithfully"],
        ),
    };
    let names = ["Petra Lindner", "T. Akbulut", "Jonas Reindl\nTel. 0151 2345678", "M. Okafor\nOkafor & Co."];
    let pick = |from: &[&'static str], rng: &mut StdRng| from.choose(rng).copied().unwrap_or_default();
    let (greeting, closing, name) = (pick(&greetings, rng), pick(&closings, rng), pick(&names, rng));
    format!("{greeting}\n\n{text}\n\n{closing}\n{name}")
}

const WORDS: [(&str, &str); 44] = [
    ("Konto", "account"),
    ("Karte", "card"),
    ("Überweisung", "transfer"),
    ("Geld", "money"),
    ("Rechnung", "bill"),
    ("Gebühr", "fee"),
    ("Passwort", "password"),
    ("Kontostand", "balance"),
    ("Zahlung", "payment"),
    ("Betrag", "amount"),
    ("Kredit", "loan"),
    ("Vertrag", "contract"),
    ("Beschwerde", "complaint"),
    ("Adresse", "address"),
    ("Handy", "phone"),
    ("Hilfe", "help"),
    ("Woche", "week"),
    ("Tage", "days"),
    ("Urlaub", "holiday"),
    ("Händler", "merchant"),
    ("Wechselkurs", "rate"),
    ("Filiale", "branch"),
    ("gesperrt", "blocked"),
    ("abgelehnt", "declined"),
    ("kostenlos", "free"),
    ("bitte", "please"),
    ("danke", "thanks"),
    ("hallo", "hello"),
    ("heute", "today"),
    ("gestern", "yesterday"),
    ("morgen", "tomorrow"),
    ("jetzt", "now"),
    ("wieder", "again"),
    ("immer", "always"),
    ("schon", "already"),
    ("warum", "why"),
    ("wann", "when"),
    ("wie", "how"),
    ("wo", "where"),
    ("aber", "but"),
    ("und", "and"),
    ("nicht", "not"),
    ("meine", "my"),
    ("neue", "new"),
];

/// Two of three words that the list knows, at least one.
fn mixed(text: &str, language: Language, rng: &mut StdRng) -> String {
    let other = |word: &str| {
        let lower = word.to_lowercase();
        WORDS.iter().find_map(|(de, en)| match language {
            Language::De => (de.to_lowercase() == lower).then_some(*en),
            Language::En => (*en == lower).then_some(*de),
        })
    };
    let parts: Vec<&str> = text.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
    let core = |part: &str| -> usize { part.trim_end_matches(|c: char| !c.is_alphanumeric()).len() };
    let known = |part: &str| part.get(..core(part)).and_then(other);
    let places: Vec<usize> =
        parts.iter().enumerate().filter(|(_, part)| known(part).is_some()).map(|(at, _)| at).collect();
    let sure = places.choose(rng).copied();
    let mut out = String::with_capacity(text.len());
    for (at, part) in parts.iter().enumerate() {
        match known(part) {
            Some(word) if Some(at) == sure || rng.random_bool(0.66) => {
                out.push_str(word);
                out.push_str(part.get(core(part)..).unwrap_or_default());
            }
            _ => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const TEXT: &str = "Grüß Gott, meine Überweisung über 1.250,50 € ist nicht da! Ärgerlich (seit Montag).";

    fn changed(kind: Perturbation, text: &str, language: Language) -> Option<String> {
        kind.apply(text, language, &mut StdRng::seed_from_u64(7))
    }

    #[test]
    fn each_changes_what_it_says_and_nothing_else() {
        let de = |kind| changed(kind, TEXT, Language::De).unwrap();
        assert_eq!(
            de(Perturbation::PlainVowels),
            "Gruss Gott, meine Uberweisung uber 1.250,50 € ist nicht da! Argerlich (seit Montag)."
        );
        assert_eq!(
            de(Perturbation::Digraphs),
            "Gruess Gott, meine Ueberweisung ueber 1.250,50 € ist nicht da! Aergerlich (seit Montag)."
        );
        assert_eq!(
            de(Perturbation::Dictation),
            "grüß gott meine überweisung über 1.250,50 € ist nicht da ärgerlich seit montag"
        );
        assert_eq!(de(Perturbation::NoCapitals), TEXT.to_lowercase());
        for kind in [Perturbation::Forwarded, Perturbation::Letter] {
            assert!(de(kind).contains(TEXT) && de(kind).len() > TEXT.len() + 20);
        }
        assert_eq!(changed(Perturbation::Mixed, "Meine Karte", Language::De).unwrap().split(' ').count(), 2);
        assert_eq!(changed(Perturbation::Mixed, "card?", Language::En).unwrap(), "Karte?");
    }

    #[test]
    fn typos_touch_longer_words_only_and_at_least_one() {
        for seed in 0..200 {
            let rough = Perturbation::Typos.apply(TEXT, Language::De, &mut StdRng::seed_from_u64(seed));
            let rough = rough.unwrap_or_else(|| TEXT.to_owned());
            assert!(rough.contains("1.250,50 €") && rough.contains(" da!"), "{rough}");
            let words = |text: &str| text.split(' ').count();
            assert_eq!(words(&rough), words(TEXT));
        }
        let same = (0..200).filter(|seed| {
            Perturbation::Typos.apply("Karte", Language::De, &mut StdRng::seed_from_u64(*seed)).is_none()
        });
        assert!(same.count() < 10);
        assert_eq!(changed(Perturbation::Typos, "a b 12", Language::De), None);
    }

    #[test]
    fn what_has_nothing_to_change_says_so_and_seeds_repeat() {
        assert_eq!(changed(Perturbation::PlainVowels, "where is my card", Language::En), None);
        assert_eq!(changed(Perturbation::NoCapitals, "where is my card", Language::En), None);
        assert_eq!(changed(Perturbation::Mixed, "xyz", Language::En), None);
        for kind in Perturbation::ALL {
            assert_eq!(changed(kind, TEXT, Language::De), changed(kind, TEXT, Language::De));
            assert!(changed(kind, "", Language::De).is_none_or(|text| text.len() > 20));
        }
    }
}
