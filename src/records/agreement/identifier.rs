//! Account numbers, postcodes, references, telephone numbers, e-mail addresses: strings in which every character
//! counts, and some are mistaken for others.

use super::{Level, fold, spoken};

pub const LEVELS: &[&str] = &[
    "agrees",
    "agrees but for characters that are easily mistaken",
    "differs in one character",
    "differs in two characters",
    "agrees in part",
    "differs in three characters",
    "disagrees",
];

/// Characters that look or sound alike, in both languages. One for another counts half an edit.
const CONFUSED: &[&str] = &[
    "0OQD",
    "1IL",
    "5SF",
    "8B",
    "2Z",
    "6G",
    "BDPTVEGC3",
    "MN",
    "FS",
    "AH8",
    "IYE",
    "QU",
    "5V",
    "5F",
    "9NI",
    "XS",
    "JGK",
    "AI",
    "1N",
    "RA",
    "UV",
    "27",
    "4R",
    "WM",
];
/// Edits are counted in halves.
const EDIT: u16 = 2;
/// Longer values are cut.
const LONGEST: usize = 64;
/// So many last digits of a telephone number tell it from others, whatever stands before it.
const PHONE: usize = 9;

/// A string of characters that count, read in one or more ways.
#[derive(Clone, PartialEq, Debug)]
pub struct Identifier {
    /// In upper case, without anything but letters and digits.
    readings: Vec<Vec<char>>,
}

impl Identifier {
    /// As it was written, and as it reads when its words spell characters.
    pub fn said(text: &str) -> Option<Self> {
        let words = fold::words(text);
        Self::of([words.concat().to_uppercase(), spoken::spelled(&words)])
    }

    pub fn kept(text: &str) -> Option<Self> {
        Self::of([fold::words(text).concat().to_uppercase()])
    }

    /// The last digits.
    pub fn phone(text: &str) -> Option<Self> {
        let digits = |text: &str| -> String {
            let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
            digits.iter().skip(digits.len().saturating_sub(PHONE)).collect()
        };
        Self::of([digits(text), digits(&spoken::spelled(&fold::words(text)))])
    }

    /// In lower case, with its marks; `at` and `dot` said for them.
    pub fn email(text: &str) -> Option<Self> {
        let text = text.to_lowercase().replace(" at ", "@").replace(" ät ", "@");
        let text = text.replace(" dot ", ".").replace(" punkt ", ".");
        Self::of([text.chars().filter(|c| !c.is_whitespace()).collect()])
    }

    fn of(readings: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut kept: Vec<Vec<char>> = Vec::new();
        for reading in readings {
            let reading: Vec<char> = reading.chars().take(LONGEST).collect();
            if !reading.is_empty() && !kept.contains(&reading) {
                kept.push(reading);
            }
        }
        (!kept.is_empty()).then_some(Self { readings: kept })
    }

    pub fn readings(&self) -> &[Vec<char>] {
        &self.readings
    }

    /// The best of all readings.
    pub fn level(&self, kept: &Self) -> Level {
        let pairs = self.readings.iter().flat_map(|said| kept.readings.iter().map(move |kept| (said, kept)));
        pairs.map(|(said, kept)| level(said, kept)).min().unwrap_or(6)
    }
}

fn level(said: &[char], kept: &[char]) -> Level {
    if said == kept {
        return 0;
    }
    let halves = edits(said, kept);
    // Of short strings few characters may differ.
    let room = kept.len().min(said.len());
    match halves {
        0..=1 => 1,
        2 if room >= 3 => 2,
        3..=4 if room >= 4 => 3,
        _ if part(said, kept) => 4,
        5..=6 if room >= 5 => 5,
        _ => 6,
    }
}

/// Whether at least three characters in a row, and half of the record's, were said.
fn part(said: &[char], kept: &[char]) -> bool {
    let least = kept.len().div_ceil(2).max(3);
    let inside = |part: &[char]| said.windows(part.len()).any(|window| window == part);
    kept.len() >= least && kept.windows(least).any(inside)
}

/// Insertions, deletions, substitutions and swaps of neighbours, in halves (optimal string alignment).
fn edits(a: &[char], b: &[char]) -> u16 {
    let mut before: Vec<u16> = vec![0; b.len() + 1];
    let mut above: Vec<u16> = (0..=b.len()).map(|n| EDIT * n as u16).collect();
    let mut last = None;
    for (row, x) in a.iter().enumerate() {
        let mut line = Vec::with_capacity(b.len() + 1);
        let mut left = EDIT * (row as u16 + 1);
        line.push(left);
        let mut previous = None;
        let columns = b.iter().zip(above.iter().zip(above.iter().skip(1))).enumerate();
        for (column, (y, (diagonal, up))) in columns {
            let change = if x == y {
                0
            } else if confused(*x, *y) {
                1
            } else {
                EDIT
            };
            let mut least = (diagonal + change).min(up + EDIT).min(left + EDIT);
            if let (Some(above), Some(beside)) = (last, previous)
                && above == *y
                && beside == *x
                && x != y
                && let Some(corner) = column.checked_sub(1).and_then(|at| before.get(at))
            {
                least = least.min(corner + EDIT);
            }
            line.push(least);
            left = least;
            previous = Some(*y);
        }
        last = Some(*x);
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

fn confused(a: char, b: char) -> bool {
    CONFUSED.iter().any(|set| set.contains(a) && set.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(said: &str, kept: &str) -> Level {
        Identifier::said(said).unwrap().level(&Identifier::kept(kept).unwrap())
    }

    #[test]
    fn characters_that_are_mistaken_left_out_or_swapped() {
        assert_eq!(level("abc 01234", "ABC01234"), 0);
        assert_eq!(level("ABCO1234", "ABC01234"), 1);
        assert_eq!(level("ABC0124", "ABC01234"), 2);
        assert_eq!(level("ABC02134", "ABC01234"), 2);
        assert_eq!(level("whiskey 2 0 alpha bravo", "W2 0AB"), 0);
        assert_eq!(level("w20 a bee", "W2 0AB"), 0);
        assert_eq!(level("ABC012", "ABC0123456"), 4);
        assert_eq!(level("XY", "ABC01234"), 6);
        let phone = |text| Identifier::phone(text).unwrap();
        assert_eq!(phone("+49 171 2345678").level(&phone("0171/2345678")), 0);
        let email = |text| Identifier::email(text).unwrap();
        assert_eq!(email("anna at example dot org").level(&email("anna@example.org")), 0);
    }

    #[test]
    fn edits_are_counted_in_halves() {
        let edits =
            |a: &str, b: &str| super::edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(edits("", "AB"), 4);
        assert_eq!(edits("AB", "BA"), 2);
        assert_eq!(edits("A0C", "AOC"), 1);
        assert_eq!(edits("KXK", "K5KA"), 4);
    }
}
