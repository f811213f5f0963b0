//! One training text from a line: values replaced at random, spelling roughened. A pure function of the
//! random source, so that a run can be repeated.

use super::datasets::{Concern, Line, Piece, Target};
use super::error::LearningError;
use super::switching::Dictionary;
use crate::base::Language;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Names and places to put into the marked values of training lines.
#[derive(Debug, Default)]
pub struct Lists {
    pub first: Vec<String>,
    pub last: Vec<String>,
    pub banks: Vec<String>,
    pub postcodes: Vec<String>,
}

impl Lists {
    /// Reads the folder `german` of the data folder.
    pub fn read(folder: &Path) -> Result<Self, LearningError> {
        let open = |name: &str| {
            let file = folder.join(name);
            std::fs::read_to_string(&file)
                .map_err(|error| LearningError::file(&file, error, "restore the data folder"))
        };
        let column = |text: String, at: usize| -> Vec<String> {
            let rows = super::datasets::banking77::csv(&text);
            let mut values: Vec<String> =
                rows.into_iter().skip(1).filter_map(|(_, r)| r.get(at).cloned()).collect();
            let mut seen = HashSet::new();
            values.retain(|value| !value.is_empty() && seen.insert(value.clone()));
            values
        };
        let last =
            open("last_names.txt")?.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        let kind =
            |name: &String| ["sparkasse", "bank", "kasse"].iter().any(|k| name.to_lowercase().contains(k));
        let banks = column(open("banks.csv")?, 2).into_iter().filter(kind).map(|name| tidy(&name)).collect();
        Ok(Self {
            first: column(open("first_names.csv")?, 0),
            last,
            banks,
            postcodes: column(open("postcodes.csv")?, 0),
        })
    }

    pub fn first_names(&self) -> HashSet<String> {
        self.first.iter().map(|name| name.to_lowercase()).collect()
    }
}

/// Bank names as customers write them: without legal forms and branch codes.
fn tidy(name: &str) -> String {
    let words = name.split(' ').filter(|w| !["eG", "AG", "e.G.", "eG.", "Ndl", "-alt-"].contains(w));
    words.collect::<Vec<_>>().join(" ")
}

/// A text with the character ranges of its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    pub text: String,
    /// (field, first character, character behind the last)
    pub values: Vec<(String, usize, usize)>,
    /// Concerns that do not fill the whole text, in its order: (target, first, behind the last).
    pub concerns: Vec<(Target, usize, usize)>,
}

/// The line as it is written.
pub fn plain(line: &Line) -> Drawn {
    joined(&line.pieces, &line.concerns)
}

/// The line with other values and rougher spelling. Only marked lines change their values; public sets with
/// no marks stay as they are.
pub fn varied(line: &Line, lists: &Lists, rng: &mut StdRng) -> Drawn {
    use super::datasets::Source;
    if !matches!(line.source, Source::Own | Source::Entities | Source::Several) && !line.is_news() {
        return plain(line);
    }
    let mut pieces = line.pieces.clone();
    if rng.random_bool(0.75) {
        substitute(&mut pieces, lists, rng);
    }
    let rough = if line.language == Language::De { 0.45 } else { 0.35 };
    if rng.random_bool(rough) {
        roughen(&mut pieces, line.language, rng);
    }
    joined(&pieces, &line.concerns)
}

/// The line with some words in the other language; values stay as they are.
pub fn switched(line: &Line, dictionary: &Dictionary, rng: &mut StdRng) -> Line {
    let most = if line.language == Language::En { 0.9 } else { 0.5 };
    let share = rng.random_range(0.1..most);
    let mut line = line.clone();
    for piece in line.pieces.iter_mut().filter(|piece| piece.field.is_none()) {
        piece.text = dictionary.switched(&piece.text, line.language, share, rng);
    }
    line
}

/// The line's text with rougher spelling now and then, its values as they are.
pub fn rough(line: &Line, rng: &mut StdRng) -> String {
    let mut pieces = line.pieces.clone();
    if rng.random_bool(0.35) {
        roughen(&mut pieces, line.language, rng);
    }
    joined(&pieces, &[]).text
}

fn joined(pieces: &[Piece], concerns: &[Concern]) -> Drawn {
    let mut drawn = Drawn::default();
    let mut starts = Vec::with_capacity(pieces.len() + 1);
    let mut at = 0;
    for piece in pieces {
        starts.push(at);
        let end = at + piece.text.chars().count();
        drawn.text.push_str(&piece.text);
        if let Some(field) = &piece.field {
            drawn.values.push((field.clone(), at, end));
        }
        at = end;
    }
    starts.push(at);
    for Concern { pieces, target } in concerns {
        if let (Some(start), Some(end)) = (starts.get(pieces.start), starts.get(pieces.end)) {
            drawn.concerns.push((target.clone(), *start, *end));
        }
    }
    drawn
}

fn substitute(pieces: &mut [Piece], lists: &Lists, rng: &mut StdRng) {
    // The same name twice in a line stays the same name.
    let mut chosen: HashMap<String, String> = HashMap::new();
    for piece in pieces.iter_mut() {
        let Some(field) = piece.field.as_deref() else { continue };
        if let Some(known) = chosen.get(&piece.text) {
            piece.text.clone_from(known);
            continue;
        }
        let new = match field {
            "first_name" if !piece.text.contains(' ') => lists.first.choose(rng).cloned(),
            "last_name" if !piece.text.contains(' ') => lists.last.choose(rng).cloned(),
            "company" if rng.random_bool(0.3) => lists.last.choose(rng).map(|name| merchant(name, rng)),
            "address" if rng.random_bool(0.3) => {
                lists.last.choose(rng).map(|name| street(&piece.text, name, rng))
            }
            "branch" if names_a_bank(&piece.text) && rng.random_bool(0.7) => lists.banks.choose(rng).cloned(),
            "account_number" => Some(account_number(&piece.text, rng)),
            "iban" | "card_last4" | "phone" | "transaction_ref" | "order_ref" => {
                Some(reshuffled(&piece.text, rng))
            }
            "postcode" if piece.text.len() == 5 => lists.postcodes.choose(rng).cloned(),
            "amount" | "date" | "date_of_birth" => Some(other_digits(&piece.text, rng)),
            _ => None,
        };
        if let Some(new) = new {
            let lower =
                piece.text.chars().all(|c| !c.is_uppercase()) && matches!(field, "first_name" | "last_name");
            let upper = piece.text.chars().count() > 3 && piece.text.chars().all(|c| !c.is_lowercase());
            let new = match (lower, upper && matches!(field, "first_name" | "last_name")) {
                (true, _) => new.to_lowercase(),
                (_, true) => new.to_uppercase(),
                _ => new,
            };
            chosen.insert(piece.text.clone(), new.clone());
            piece.text = new;
        }
    }
}

fn names_a_bank(text: &str) -> bool {
    let text = text.to_lowercase();
    ["sparkasse", "volksbank", "raiffeisen", "bank"].iter().any(|kind| text.contains(kind))
        && !text.contains("filiale")
}

/// A merchant that is called like a person.
fn merchant(name: &str, rng: &mut StdRng) -> String {
    const BEFORE: [&str; 22] = [
        "Bäckerei",
        "Metzgerei",
        "Autohaus",
        "Apotheke",
        "Gasthaus",
        "Optik",
        "Möbel",
        "Elektro",
        "Kanzlei",
        "Praxis Dr.",
        "Blumen",
        "Foto",
        "Fahrrad",
        "Café",
        "Hotel",
        "Reisebüro",
        "Schuhhaus",
        "Modehaus",
        "Weingut",
        "Buchhandlung",
        "Fitness",
        "Juwelier",
    ];
    const BEHIND: [&str; 10] =
        ["GmbH", "KG", "AG", "& Söhne", "& Co.", "Moden", "Touristik", "Bau", "Online", "Versand"];
    match rng.random_range(0..4) {
        0 => name.to_owned(),
        1 => format!("{name} {}", BEHIND.choose(rng).copied().unwrap_or_default()),
        _ => format!("{} {name}", BEFORE.choose(rng).copied().unwrap_or_default()),
    }
}

/// A street that is called like a person, with the house number and town that stood there.
fn street(old: &str, name: &str, rng: &mut StdRng) -> String {
    let kind = ["straße", "weg", "platz", "gasse", "allee", "ring", "str."].choose(rng).copied();
    let rest = old.find(|c: char| c.is_ascii_digit()).and_then(|at| old.get(at..)).unwrap_or_default();
    format!("{name}{} {rest}", kind.unwrap_or_default()).trim_end().to_owned()
}

/// Another number of the same make; one in four gets letters and digits mixed up, as customers do.
fn account_number(old: &str, rng: &mut StdRng) -> String {
    let new = reshuffled(old, rng);
    if !rng.random_bool(0.25) {
        return new;
    }
    let swaps =
        [('0', 'O'), ('1', 'I'), ('5', 'S'), ('8', 'B'), ('O', '0'), ('I', '1'), ('S', '5'), ('B', '8')];
    new.chars().map(|c| swaps.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to)).collect()
}

/// Every digit another digit, every letter another letter of its case; the rest stays.
fn reshuffled(old: &str, rng: &mut StdRng) -> String {
    let swap = |c: char| match c {
        '0'..='9' => char::from(b'0' + rng.random_range(0..10_u8)),
        'A'..='Z' => char::from(b'A' + rng.random_range(0..26_u8)),
        'a'..='z' => char::from(b'a' + rng.random_range(0..26_u8)),
        c => c,
    };
    let keep_country = old.starts_with("DE") || old.starts_with("AT") || old.starts_with("CH");
    let (head, tail) = old.split_at(if keep_country { 2 } else { 0 });
    head.chars().chain(tail.chars().map(swap)).collect()
}

fn other_digits(old: &str, rng: &mut StdRng) -> String {
    let swap =
        |c: char| if matches!(c, '1'..='9') { char::from(b'1' + rng.random_range(0..9_u8)) } else { c };
    old.chars().map(swap).collect()
}

/// Lost capitals, a for ä, no full stops, slips of the finger in some words or in many.
fn roughen(pieces: &mut [Piece], language: Language, rng: &mut StdRng) {
    match rng.random_range(0..8) {
        0 => pieces.iter_mut().for_each(|piece| piece.text = piece.text.to_lowercase()),
        1 if language == Language::De => {
            for piece in pieces.iter_mut() {
                for (from, to) in
                    [("ä", "a"), ("ö", "o"), ("ü", "u"), ("Ä", "A"), ("Ö", "O"), ("Ü", "U"), ("ß", "s")]
                {
                    piece.text = piece.text.replace(from, to);
                }
            }
        }
        2 => {
            for piece in pieces.iter_mut() {
                piece.text = piece.text.to_lowercase();
                if piece.field.is_none() {
                    piece.text.retain(|c| !matches!(c, '.' | ',' | '!' | '?' | ';' | ':'));
                }
            }
        }
        _ => {
            let share = rng.random_range(0.04..0.3);
            for piece in pieces.iter_mut().filter(|piece| piece.field.is_none()) {
                piece.text = slipped(&piece.text, share, rng);
            }
        }
    }
}

/// A share of the words of four and more letters gets a slip each.
fn slipped(text: &str, share: f64, rng: &mut StdRng) -> String {
    let words = text.split_inclusive(|c: char| !c.is_alphabetic());
    let slip = |word: &str, rng: &mut StdRng| match word.chars().count() {
        5.. if rng.random_bool(share) => mistyped(word, rng),
        _ => word.to_owned(),
    };
    words.map(|word| slip(word, rng)).collect()
}

/// Two neighbouring letters swapped, one left out, twice, or another in its place.
fn mistyped(text: &str, rng: &mut StdRng) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = rng.random_range(0..letters.len().max(2) - 1);
    let pair = (letters.get(at).copied(), letters.get(at + 1).copied());
    if let (Some(a), Some(b)) = pair
        && a.is_alphabetic()
        && b.is_alphabetic()
    {
        match rng.random_range(0..4) {
            0 => letters.swap(at, at + 1),
            1 => {
                letters.remove(at);
            }
            2 => letters.insert(at, a),
            _ => letters.splice(at..=at, [char::from(b'a' + rng.random_range(0..26_u8))]).for_each(drop),
        }
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn slips_change_some_longer_words_and_nothing_else() {
        let text = "ich habe meine Karte verloren und brauche bitte sofort eine neue Karte";
        let mut changed = 0;
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let rough = slipped(text, 0.2, &mut rng);
            let pairs: Vec<(&str, &str)> = text.split(' ').zip(rough.split(' ')).collect();
            assert_eq!(rough.split(' ').count(), 12, "{rough}");
            changed += pairs.iter().filter(|(old, new)| old != new).count();
            assert!(pairs.iter().all(|(old, new)| old == new || old.len() > 3), "{rough}");
        }
        // 9 longer words, a fifth of them; a letter may be swapped with its like.
        assert!((50..=110).contains(&changed), "{changed}");
    }

    #[test]
    fn streets_keep_their_number_and_merchants_their_name() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20 {
            let street = street("Lindenweg 14, 4020 Linz", "Huber", &mut rng);
            assert!(street.starts_with("Huber") && street.ends_with(" 14, 4020 Linz"), "{street}");
            assert!(merchant("Huber", &mut rng).contains("Huber"));
        }
        assert!(!super::street("Am Anger", "Huber", &mut rng).ends_with(' '));
    }
}
