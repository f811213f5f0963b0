//! Persons by the heads alone; IBAN and account numbers on the whole way of a message.

use super::bench::Bench;
use super::figure::{Found, Scale, Table, f1};
use super::material::{Material, Message};
use crate::base::Language;
use crate::learning::datasets::clean::normalised;
use crate::learning::datasets::smartdata::{Sentence, untitled};
use crate::learning::error::LearningError;

const PERSON: [&str; 3] = ["first_name", "last_name", "full_name"];
/// Marks in which a person would be a false one.
const NO_PERSON: [&str; 3] = ["company", "branch", "address"];

/// (field, first character, behind the last)
type Value = (String, usize, usize);
type Place = (usize, usize);

/// SmartData's sentences.
pub fn sentences(table: &mut Table, bench: &Bench, sentences: &[Sentence]) -> Result<(), LearningError> {
    let mut items = Vec::new();
    for sentence in sentences {
        let letters: Vec<char> = sentence.text.chars().collect();
        let found = persons(&letters, &names(bench, &sentence.text, Language::De)?);
        let found = found.into_iter().map(|(start, end)| untitled(&letters, start, end));
        items.push(compared(&sentence.persons, &found.collect::<Vec<_>>()));
    }
    span_f1(table, "persons.smartdata.f1".to_owned(), &items);
    Ok(())
}

/// The project's own messages with persons: found whole, told first from last name, and not seen where
/// there are none.
pub fn messages(table: &mut Table, bench: &Bench, messages: &[Message]) -> Result<(), LearningError> {
    for language in Language::ALL {
        let (mut items, mut assigned, mut fooled) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages.iter().filter(|message| message.language == language) {
            let letters: Vec<char> = message.text.chars().collect();
            let found = names(bench, &message.text, message.language)?;
            let own = |fields: &[&str]| -> Vec<Value> {
                message.values.iter().filter(|value| fields.contains(&value.0.as_str())).cloned().collect()
            };
            let wanted = own(&PERSON);
            items.push(compared(&persons(&letters, &wanted), &persons(&letters, &found)));
            assigned.extend(wanted.iter().filter_map(|value| assignment(value, &found)));
            fooled.extend(own(&NO_PERSON).iter().map(|mark| found.iter().any(|value| meet(mark, value))));
        }
        span_f1(table, format!("persons.{language}.f1"), &items);
        table.hits(format!("persons.{language}.assignment"), &assigned, None);
        table.hits(format!("persons.{language}.false"), &fooled, None);
    }
    Ok(())
}

/// Whether a reading lists each marked IBAN and account number, as it was typed.
pub fn numbers(table: &mut Table, bench: &Bench, material: &Material) -> Result<(), LearningError> {
    for field in ["iban", "account_number"] {
        let mut hits = Vec::new();
        for message in material.marked.iter().chain(&material.persons) {
            let mut wanted = message.values.iter().filter(|value| value.0 == field).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            let reading = bench.read(&message.text, message.language)?;
            for (_, start, end) in wanted {
                let text: String = message.text.chars().skip(*start).take(end - start).collect();
                let same = |found: &str| normalised(found) == normalised(&text);
                hits.push(reading.values(field).iter().any(|found| same(&found.text)));
            }
        }
        table.hits(format!("numbers.{field}.recall"), &hits, None);
    }
    Ok(())
}

fn span_f1(table: &mut Table, id: String, items: &[Found]) {
    let n = (items.iter().map(|item| item.wanted).sum(), items.len());
    table.drawn(id, Scale::Share, n, None, |drawn| f1(items, drawn));
}

/// The heads' spans of persons, without what only separates them from the sentence.
fn names(bench: &Bench, text: &str, language: Language) -> Result<Vec<Value>, LearningError> {
    let letters: Vec<char> = text.chars().collect();
    let groups = &bench.understanding.schema().extraction.groups;
    let mut found = Vec::new();
    for span in bench.understanding.spans(text, language)? {
        let field = groups.get(span.group).and_then(|group| group.fields.get(span.field));
        let Some(field) = field.filter(|field| PERSON.contains(&field.id.as_str())) else { continue };
        let solid = |at: usize| letters.get(at).is_some_and(|c| c.is_alphanumeric());
        let (mut start, mut end) = (span.start, span.end);
        while start < end && !solid(start) {
            start += 1;
        }
        while start < end && !solid(end - 1) {
            end -= 1;
        }
        if start < end {
            found.push((field.id.clone(), start, end));
        }
    }
    Ok(found)
}

/// First and last names with only space between them are one person.
fn persons(letters: &[char], values: &[Value]) -> Vec<Place> {
    let mut places: Vec<Place> = values.iter().map(|(_, start, end)| (*start, *end)).collect();
    places.sort_unstable();
    let mut merged: Vec<Place> = Vec::new();
    for (start, end) in places {
        match merged.last_mut() {
            Some(last)
                if last.1 >= start
                    || letters
                        .get(last.1..start)
                        .is_some_and(|gap| gap.iter().all(|c| c.is_whitespace())) =>
            {
                last.1 = last.1.max(end);
            }
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn compared(wanted: &[Place], found: &[Place]) -> Found {
    let right = found.iter().filter(|place| wanted.contains(place)).count();
    Found { wanted: wanted.len(), found: found.len(), right }
}

fn meet(a: &Value, b: &Value) -> bool {
    a.1 < b.2 && b.1 < a.2
}

/// Of a first or last name that was taken for a person's: whether it stands alone in the right field.
fn assignment(wanted: &Value, found: &[Value]) -> Option<bool> {
    let seen = wanted.0 != "full_name" && found.iter().any(|value| meet(wanted, value));
    seen.then(|| found.contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: &str, start: usize, end: usize) -> Value {
        (field.to_owned(), start, end)
    }

    #[test]
    fn neighbouring_names_are_one_person() {
        let letters: Vec<char> = "Max Müller, Eva  Lang und Otto".chars().collect();
        let values = [
            value("last_name", 4, 10),
            value("first_name", 0, 3),
            value("first_name", 12, 15),
            value("last_name", 17, 21),
            value("first_name", 26, 30),
        ];
        assert_eq!(persons(&letters, &values), [(0, 10), (12, 21), (26, 30)]);
        let found = compared(&persons(&letters, &values), &[(0, 10), (12, 15)]);
        assert_eq!(found, Found { wanted: 3, found: 2, right: 1 });
    }

    #[test]
    fn a_name_is_assigned_when_it_was_seen_at_all() {
        let first = value("first_name", 0, 3);
        assert_eq!(assignment(&first, &[value("first_name", 0, 3)]), Some(true));
        assert_eq!(assignment(&first, &[value("last_name", 0, 3)]), Some(false));
        assert_eq!(assignment(&first, &[value("first_name", 0, 10)]), Some(false));
        assert_eq!(assignment(&first, &[value("first_name", 4, 10)]), None);
        assert_eq!(assignment(&value("full_name", 0, 3), &[value("first_name", 0, 3)]), None);
    }
}
