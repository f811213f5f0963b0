//! Structured values in a text: IBAN, German account, card, amount, date, e-mail, phone, postcode.
//!
//! Enters: any text. Leaves: [`Recognised`] spans that never overlap, in the order of the text. They are
//! found by form and check digit alone; nothing here knows a bank's records or guesses a meaning.
//!
//! Where two recognisers want the same characters, the earlier of this list has them: e-mail, IBAN, card,
//! account beside a bank code, date with a year or a month's name, amount, date without a year, phone, postcode.

mod account;
mod amount;
mod card;
mod check_digit;
mod contact;
mod date;
mod iban;

pub use amount::parse_amount;
pub use date::parse_date;

pub(super) use card::{card_digits, card_digits_in_cells};
pub(super) use check_digit::{CheckDigit, check};

use super::bank_codes::BankCodes;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One value found in a text. `start..end` counts Unicode scalar values and covers the characters of
/// `text`, except that the last four digits of a card are given without separators, and that an IBAN which
/// follows from a bank code and an account number stands over the account number's characters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recognised {
    /// `iban`, `bank_code`, `account_number`, `card_last4`, `amount`, `date`, `email`, `phone` or `postcode`.
    pub field: String,
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// Finds every structured value, without a file of bank codes. Takes time linear in the length of the text.
pub fn recognise(text: &str) -> Vec<Recognised> {
    recognise_with(text, &BankCodes::default())
}

/// Finds every structured value. `banks` verify the check digits of German account numbers: a number that
/// fails is left out, and beside one that holds stands the IBAN that follows from it.
pub fn recognise_with(text: &str, banks: &BankCodes) -> Vec<Recognised> {
    let mut scan = Scan { text, taken: Vec::new(), found: Vec::new() };
    contact::find_emails(&mut scan);
    iban::find(&mut scan);
    card::find(&mut scan);
    account::find(&mut scan, banks);
    date::find_full(&mut scan);
    amount::find(&mut scan);
    date::find_yearless(&mut scan);
    contact::find_phones(&mut scan);
    contact::find_postcodes(&mut scan);
    scan.into_recognised()
}

/// The text, and what has been found in it so far. Ranges are in bytes, on character boundaries.
struct Scan<'a> {
    text: &'a str,
    /// Sorted, not overlapping.
    taken: Vec<Range<usize>>,
    found: Vec<(&'static str, Range<usize>, String)>,
}

impl<'a> Scan<'a> {
    /// Offers every match of the pattern to `accept`, which answers with the range of the value (or
    /// `None`). After a refusal the search goes on one character later, so that a refused long match
    /// does not hide a good short one.
    fn sweep(
        &mut self,
        field: &'static str,
        pattern: &Regex,
        accept: impl Fn(&'a str, Range<usize>) -> Option<Range<usize>>,
    ) {
        let mut from = 0;
        while let Some(hit) = pattern.find_at(self.text, from) {
            let accepted = accept(self.text, hit.range()).filter(|range| self.is_free(range));
            from = match accepted {
                Some(range) => {
                    let end = range.end.max(next_boundary(self.text, hit.start()));
                    self.take(field, range);
                    end
                }
                None => next_boundary(self.text, hit.start()),
            };
        }
    }

    fn is_free(&self, range: &Range<usize>) -> bool {
        let after = self.taken.partition_point(|taken| taken.end <= range.start);
        self.taken.get(after).is_none_or(|taken| taken.start >= range.end)
    }

    /// Takes the range, and reports its text as the value.
    fn take(&mut self, field: &'static str, range: Range<usize>) {
        let value = slice(self.text, range.clone()).to_owned();
        self.take_part(field, range.clone(), range, value);
    }

    /// Takes `whole`, so that nobody else reads it, and reports `part` of it.
    fn take_part(&mut self, field: &'static str, whole: Range<usize>, part: Range<usize>, value: String) {
        self.block(whole);
        self.found.push((field, part, value));
    }

    fn block(&mut self, range: Range<usize>) {
        let at = self.taken.partition_point(|taken| taken.start < range.start);
        self.taken.insert(at, range);
    }

    fn into_recognised(mut self) -> Vec<Recognised> {
        self.found.sort_by_key(|(_, range, _)| range.start);
        let (mut bytes, mut start) = (0, 0);
        let mut recognised = Vec::with_capacity(self.found.len());
        for (field, range, text) in self.found {
            start += slice(self.text, bytes..range.start).chars().count();
            bytes = range.start;
            let end = start + slice(self.text, range).chars().count();
            recognised.push(Recognised { field: field.to_owned(), start, end, text });
        }
        recognised
    }
}

/// A part of the text; empty where the range is not one of the text's.
fn slice(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// The first character boundary after `at`.
fn next_boundary(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

fn before(text: &str, at: usize) -> Option<char> {
    slice(text, 0..at).chars().next_back()
}

fn after(text: &str, at: usize) -> Option<char> {
    slice(text, at..text.len()).chars().next()
}

/// Whether what stands before the range, up to a few words back, matches the pattern.
fn preceded_by(text: &str, at: usize, cue: &Regex) -> bool {
    let mut from = at.saturating_sub(60);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    cue.is_match(slice(text, from..at))
}

/// Compiles one of this room's own patterns.
#[expect(clippy::expect_used, reason = "the patterns are constants, and every one is compiled in the tests")]
fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("a constant pattern")
}

#[cfg(test)]
mod tests;
