//! German word pieces for an encoder whose pieces are English.
//!
//! The published tokenizer strips accents, reads schön as schon and Überweisung as four scraps. Here umlauts
//! and sharp s are written out before that (ä as ae, ß as ss), so that both spellings that customers use are
//! one, and pieces learned from German lines take the place of rows that no English line needs. A piece
//! begins as the mean of the vectors of its English gloss, and without one as that of its old pieces.

use super::error::LearningError;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::{AddedToken, Model, Trainer};

/// Letters that are written out, and how.
const WRITTEN_OUT: [(&str, &str); 8] =
    [("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue"), ("ß", "ss"), ("ẞ", "SS")];
const INSIDE: &str = "##";
/// A piece that occurs less often is not worth a row.
const SELDOM: u64 = 3;

/// A tokenizer with other pieces, and what their rows begin as.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// tokenizer.json
    pub tokenizer: Vec<u8>,
    /// Row -> rows of the old table whose mean it begins as.
    pub rows: BTreeMap<u32, Vec<u32>>,
    /// How many rows begin as their gloss.
    pub glossed: usize,
}

/// German word -> English gloss, from a file of two columns with a tab between; words in the tokenizer's
/// spelling (lower case, ae for ä).
pub fn glossary(file: &Path) -> Result<HashMap<String, String>, LearningError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| LearningError::file(file, error, "it belongs to the repository; restore it"))?;
    let mut words = HashMap::new();
    for (number, row) in text.lines().enumerate().filter(|(_, row)| !row.is_empty()) {
        match row.split_once('\t') {
            Some((german, english)) if !german.is_empty() && !english.is_empty() => {
                words.insert(spelled(german), english.to_owned());
            }
            _ => {
                return Err(LearningError::Data {
                    file: file.to_owned(),
                    line: number + 1,
                    column: 1,
                    problem: "not two columns".to_owned(),
                    remedy: "write the German word, a tab, the English gloss".to_owned(),
                });
            }
        }
    }
    Ok(words)
}

/// A text as the tokenizer's normaliser leaves it, letters only.
pub(super) fn spelled(text: &str) -> String {
    let mut text = text.to_owned();
    for (letter, written) in WRITTEN_OUT {
        text = text.replace(letter, written);
    }
    text.to_lowercase()
}

/// `german` are texts to learn pieces from, with the weight that each counts with; `seen` all texts whose old
/// pieces must stay. `old` is the published tokenizer.json; at most `most` of its rows change.
pub fn learn(
    old: &[u8],
    german: &[(&str, u64)],
    seen: &[&str],
    glossary: &HashMap<String, String>,
    most: usize,
) -> Result<Vocabulary, LearningError> {
    let broken = |problem: &str| LearningError::Broken(format!("tokenizer.json: {problem}"));
    let mut file: Value = serde_json::from_slice(old).map_err(|error| broken(&error.to_string()))?;
    let table = file
        .pointer("/model/vocab")
        .and_then(Value::as_object)
        .ok_or_else(|| broken("it has no model.vocab"))?;
    let ids: HashMap<String, u32> = table
        .iter()
        .filter_map(|(piece, id)| Some((piece.clone(), u32::try_from(id.as_u64()?).ok()?)))
        .collect();
    let used: HashSet<u32> =
        seen.iter().flat_map(|text| old_words(text)).flat_map(|word| scraps(&word, &ids)).collect();
    let fresh: Vec<String> =
        pieces(german)?.into_iter().filter(|piece| !ids.contains_key(piece)).take(most).collect();
    let free = free_rows(&ids, &used);
    let mut vocabulary = Vocabulary { tokenizer: Vec::new(), rows: BTreeMap::new(), glossed: 0 };
    let mut names = table.clone();
    for (piece, (gone, row)) in fresh.into_iter().zip(free) {
        let gloss = glossary.get(piece.trim_start_matches(INSIDE));
        let from: Vec<u32> = match gloss {
            Some(gloss) => old_words(gloss).iter().flat_map(|word| scraps(word, &ids)).collect(),
            None => scraps(&piece, &ids),
        };
        vocabulary.glossed += usize::from(gloss.is_some());
        vocabulary.rows.insert(row, from);
        names.remove(&gone);
        names.insert(piece, json!(row));
    }
    let replace = |(letter, written): (&str, &str)| json!({"type": "Replace", "pattern": {"String": letter}, "content": written});
    let published = file.get("normalizer").cloned().unwrap_or(Value::Null);
    let steps = std::iter::once(json!({"type": "NFC"})).chain(WRITTEN_OUT.map(replace)).chain([published]);
    let normalizer = json!({"type": "Sequence", "normalizers": steps.collect::<Vec<_>>()});
    for (place, value) in [("/normalizer", normalizer), ("/model/vocab", Value::Object(names))] {
        *file.pointer_mut(place).ok_or_else(|| broken(&format!("it has no {place}")))? = value;
    }
    vocabulary.tokenizer = serde_json::to_vec(&file).map_err(|error| broken(&error.to_string()))?;
    Ok(vocabulary)
}

/// Words as the published tokenizer cuts them: letters and digits together, every mark alone.
fn old_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for c in text.to_lowercase().chars() {
        if !c.is_alphanumeric() {
            open = false;
            if !c.is_whitespace() {
                words.push(c.to_string());
            }
            continue;
        }
        match words.last_mut() {
            Some(word) if open => word.push(c),
            _ => words.push(c.to_string()),
        }
        open = true;
    }
    words
}

/// The longest pieces that make up a word, from its beginning (WordPiece: Wu et al. 2016); nothing for a word
/// with a letter that has no piece. A word that begins with `##` stands inside of another.
fn scraps(word: &str, ids: &HashMap<String, u32>) -> Vec<u32> {
    let (mut inside, word) = match word.strip_prefix(INSIDE) {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let letters: Vec<char> = word.chars().collect();
    let (mut from, mut out) = (0, Vec::new());
    while from < letters.len() {
        let found = (from + 1..=letters.len()).rev().find_map(|to| {
            let part: String = letters.get(from..to)?.iter().collect();
            let piece = if inside { format!("{INSIDE}{part}") } else { part };
            Some((to, *ids.get(&piece)?))
        });
        let Some((to, id)) = found else { return Vec::new() };
        out.push(id);
        (from, inside) = (to, true);
    }
    out
}

/// Pieces of German words, the most useful first.
fn pieces(german: &[(&str, u64)]) -> Result<Vec<String>, LearningError> {
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for (text, weight) in german {
        let text = spelled(text);
        for word in text.split(|c: char| !c.is_ascii_lowercase()).filter(|word| word.len() > 1) {
            *words.entry(word.to_owned()).or_default() += weight;
        }
    }
    let broken = |error: tokenizers::Error| LearningError::Broken(format!("word pieces: {error}"));
    // The trainer numbers letters inside of words as it meets them, in the order of a hash map, and settles
    // ties by these numbers: naming them first makes the result the same every time.
    let letters = ('a'..='z').map(|letter| AddedToken::from(format!("{INSIDE}{letter}"), false)).collect();
    let mut trainer = WordPieceTrainerBuilder::new()
        .min_frequency(SELDOM)
        .vocab_size(12_000)
        .special_tokens(letters)
        .show_progress(false)
        .build();
    let fed = words
        .iter()
        .flat_map(|(word, count)| std::iter::repeat_n(word, usize::try_from(*count).unwrap_or(0)));
    trainer.feed(fed, |word| Ok(vec![word.to_owned()])).map_err(broken)?;
    let mut model = WordPiece::default();
    trainer.train(&mut model).map_err(broken)?;
    let mut learned: Vec<(String, u32)> = model.get_vocab().into_iter().collect();
    // Pieces come in the order in which they were joined: the most frequent joint first.
    learned.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.cmp(&b.0)));
    Ok(learned
        .into_iter()
        .map(|(piece, _)| piece)
        .filter(|piece| piece.trim_start_matches(INSIDE).len() > 1)
        .collect())
}

/// Pieces that may go, with their rows: the unused first, then those of other scripts, then the English ones
/// that no text uses, the rarest (the highest rows) first.
fn free_rows(ids: &HashMap<String, u32>, used: &HashSet<u32>) -> Vec<(String, u32)> {
    let rank = |piece: &str| -> Option<u8> {
        let bare = piece.trim_start_matches(INSIDE);
        if piece.starts_with("[unused") {
            return Some(0);
        }
        if piece.starts_with('[') {
            return None;
        }
        if bare.chars().any(|c| c as u32 > 0x24f && c.is_alphabetic()) {
            return Some(1);
        }
        // Single letters and digits keep every word readable.
        (bare.chars().count() > 1).then_some(2)
    };
    let mut free: Vec<(u8, std::cmp::Reverse<u32>, String)> = ids
        .iter()
        .filter(|(_, id)| !used.contains(id))
        .filter_map(|(piece, id)| Some((rank(piece)?, std::cmp::Reverse(*id), piece.clone())))
        .collect();
    free.sort();
    free.into_iter().map(|(_, id, piece)| (piece, id.0)).collect()
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
