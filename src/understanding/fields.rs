//! Brings model spans and recognised values together into the fields of a reading.
//!
//! 1. A recognised value (an IBAN whose check digits fit, an amount, a date, ...) wins over every model span
//!    that shares a character with it: its structure was checked.
//! 2. But a recognised date that the model takes for a date of birth is one.
//! 3. Of two model spans that overlap, in whatever groups, both stay: groups are independent.
//! 4. A value that a field already holds (same letters and digits) is not listed again.
//! 5. A recognised bank code is no value of a reading, but no model span may take its characters either.

use super::extraction::{Extraction, Field};
use super::reading::Extracted;
use super::variants;
use crate::base::Probability;
use std::collections::{BTreeMap, BTreeSet};

/// A value whose structure says what it is, from intake's recognisers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known<'a> {
    pub field: &'a str,
    /// Characters of the message.
    pub start: usize,
    pub end: usize,
    /// The value: usually these characters, but a card's last four digits for a whole card number.
    pub text: &'a str,
}

impl<'a> From<&'a crate::intake::Recognised> for Known<'a> {
    fn from(found: &'a crate::intake::Recognised) -> Self {
        Self { field: &found.field, start: found.start, end: found.end, text: &found.text }
    }
}

/// A model's span: (group, field) in the pack, and characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposed {
    pub group: usize,
    pub field: usize,
    pub start: usize,
    pub end: usize,
    pub probability: f64,
}

/// (start, end, group, field), probability, the recognised text
type Found<'a> = ((usize, usize, usize, usize), f64, Option<&'a str>);
type Fields = BTreeMap<String, BTreeMap<String, Vec<Extracted>>>;

/// A value does not begin or end with what only separates it from the rest of the sentence.
fn trimmed(span: &Proposed, letters: &[char]) -> Proposed {
    let separates =
        |at: usize| letters.get(at).is_some_and(|c| c.is_whitespace() || ",;:!?()[]{}\"„“”»«".contains(*c));
    let mut span = *span;
    while span.end > span.start && separates(span.end - 1) {
        span.end -= 1;
    }
    while span.start < span.end && separates(span.start) {
        span.start += 1;
    }
    span
}

/// Every group and field of the pack, with its values in the order of the text.
pub fn merge(text: &str, extraction: &Extraction, proposed: &[Proposed], known: &[Known]) -> Fields {
    let letters: Vec<char> = text.chars().collect();
    let overlap = |a: (usize, usize), b: (usize, usize)| a.0 < b.1 && b.0 < a.1;
    let birth = extraction.find("date_of_birth");
    let mut found: Vec<Found> = Vec::new();
    for value in known {
        let Some(mut place) = extraction.find(value.field) else { continue };
        let is_birth = |p: &&Proposed| {
            Some((p.group, p.field)) == birth && overlap((p.start, p.end), (value.start, value.end))
        };
        let mut probability = 1.0;
        if let (Some(birth), "date", Some(span)) = (birth, value.field, proposed.iter().find(is_birth)) {
            place = birth;
            probability = span.probability;
        }
        found.push(((value.start, value.end, place.0, place.1), probability, Some(value.text)));
    }
    for span in proposed {
        let span = &trimmed(span, &letters);
        let covered = known.iter().any(|value| {
            (value.field == "bank_code" || extraction.find(value.field).is_some())
                && overlap((span.start, span.end), (value.start, value.end))
        });
        if !covered {
            found.push(((span.start, span.end, span.group, span.field), span.probability, None));
        }
    }
    found.sort_by_key(|(place, ..)| *place);
    let mut seen = BTreeSet::new();
    let mut fields: Fields = BTreeMap::new();
    for group in &extraction.groups {
        let empty = group.fields.iter().map(|field| (field.id.clone(), Vec::new())).collect();
        fields.insert(group.id.clone(), empty);
    }
    for ((start, end, group, field), probability, text) in found {
        let Some(group) = extraction.groups.get(group) else { continue };
        let Some(field) = group.fields.get(field) else { continue };
        let Some(slice) = letters.get(start..end).filter(|slice| !slice.is_empty()) else { continue };
        let value = text.map_or_else(|| slice.iter().collect(), str::to_owned);
        if seen.insert((field.id.clone(), same(&value)))
            && let Some(list) = fields.get_mut(&group.id).and_then(|fields| fields.get_mut(&field.id))
        {
            let variants = variants_of(field, &value);
            let probability = Probability::new(probability).rounded();
            list.push(Extracted { text: value, start, end, probability, variants });
        }
    }
    fields
}

fn variants_of(field: &Field, value: &str) -> Vec<String> {
    if field.variants { variants::variants(value, field.pattern.as_ref()) } else { Vec::new() }
}

/// Two mentions with the same letters and digits are one value.
fn same(value: &str) -> String {
    let key: String = value.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    if key.is_empty() { value.to_owned() } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Extraction {
        Extraction::parse("config/extraction.toml", include_str!("../../config/extraction.toml")).unwrap()
    }

    fn span(extraction: &Extraction, field: &str, start: usize, end: usize) -> Proposed {
        let (group, field) = extraction.find(field).unwrap();
        Proposed { group, field, start, end, probability: 0.8 }
    }

    #[test]
    fn a_name_mentioned_twice_is_listed_once_where_it_first_stands() {
        let pack = pack();
        let text = "Max Müller und Angelika MÜLLER";
        let spans = [span(&pack, "last_name", 24, 30), span(&pack, "last_name", 4, 10)];
        let fields = merge(text, &pack, &spans, &[]);
        let names = &fields["persons"]["last_name"];
        assert_eq!(names.len(), 1);
        assert_eq!((names[0].text.as_str(), names[0].start, names[0].end), ("Müller", 4, 10));
        assert!(fields["persons"]["first_name"].is_empty() && fields.contains_key("company"));
    }

    #[test]
    fn a_recognised_value_wins_over_what_it_touches() {
        let pack = pack();
        let text = "IBAN DE89370400440532013000 bitte";
        let known = [Known { field: "iban", start: 5, end: 27, text: "DE89370400440532013000" }];
        let spans = [span(&pack, "account_number", 5, 12), span(&pack, "iban", 5, 20)];
        let fields = merge(text, &pack, &spans, &known);
        assert!(fields["account"]["account_number"].is_empty());
        assert_eq!(fields["account"]["iban"][0].text, "DE89370400440532013000");
        assert_eq!(fields["account"]["iban"].len(), 1);
    }

    #[test]
    fn a_bank_code_is_neither_a_value_nor_a_models_account() {
        let pack = pack();
        let text = "BLZ 50010517 Konto 648489890";
        let known = [
            Known { field: "bank_code", start: 4, end: 12, text: "50010517" },
            Known { field: "account_number", start: 19, end: 28, text: "648489890" },
        ];
        let fields = merge(text, &pack, &[span(&pack, "account_number", 0, 12)], &known);
        let values: Vec<&str> =
            fields.values().flat_map(|g| g.values().flatten()).map(|v| v.text.as_str()).collect();
        assert_eq!(values, ["648489890"]);
    }

    #[test]
    fn a_date_that_the_model_takes_for_a_birthday_is_one() {
        let pack = pack();
        let text = "geboren am 02.11.1968";
        let known = [Known { field: "date", start: 11, end: 21, text: "02.11.1968" }];
        let fields = merge(text, &pack, &[span(&pack, "date_of_birth", 11, 17)], &known);
        assert!(fields["money_and_time"]["date"].is_empty());
        assert_eq!(fields["money_and_time"]["date_of_birth"][0].text, "02.11.1968");
    }

    #[test]
    fn unknown_fields_and_wild_positions_are_left_out() {
        let pack = pack();
        let known = [
            Known { field: "shoe_size", start: 0, end: 2, text: "ab" },
            Known { field: "iban", start: 7, end: 3, text: "" },
        ];
        let fields = merge("ab", &pack, &[span(&pack, "branch", 1, 99)], &known);
        assert!(fields.values().flat_map(|g| g.values()).all(Vec::is_empty));
    }
}
