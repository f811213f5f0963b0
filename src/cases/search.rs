//! What a case asks of the policies. Pure: the same state and plan ask the same, at any time.

use super::pack::Pack;
use super::state::{PlanState, State};
use crate::base::Language;
use crate::intake::Message;
use crate::planning::Suggestion;
use crate::policy::{Clearance, Grounds, Passage, PolicyError, Question, parse_date};
use std::collections::BTreeSet;

/// How many passages a case's search keeps.
const PASSAGES: usize = 5;

/// The questions of one search: what the message asks, for the staff, and what the leaf's plan asks within the documents
/// that it rests on; of a leaf without a plan, what those ask that are suggested for it. Only public passages: a reply is made of them. In force on the day of the case's last event.
pub(super) fn questions(state: &State, pack: &Pack, suggestions: &[Suggestion]) -> Option<Vec<Question>> {
    let message = state.message()?;
    let leaf = state.plan.as_ref().map(|plan| plan.leaf.as_str());
    let leaf = leaf.or_else(|| state.concern());
    let own = state.plan.as_ref().map(PlanState::name).or(leaf);
    // What was asked last stands first among a document's passages: that is for the best suggestion.
    let suggested = suggestions.iter().rev().map(|suggestion| suggestion.plan.as_str());
    let plans = own.into_iter().chain(suggested).filter_map(|name| pack.plans.by_name.get(name));
    let base = Question {
        id: message.id.to_string(),
        text: without_values(state, pack, message),
        about: about(state, pack, leaf, message.language),
        language: Some(message.language),
        audience: Clearance::Public,
        as_of: parse_date(&state.updated_at?.date())?,
        documents: None,
        product: None,
        top: PASSAGES,
        each: Some(0),
    };
    let of_plan = plans.filter_map(|plan| Some((plan, plan.question.get(message.language.code())?)));
    let documents = of_plan.flat_map(|(plan, asked)| plan.documents.iter().map(move |id| (id, asked)));
    let within = documents.map(|(document, asked)| Question {
        text: asked.clone(),
        about: Vec::new(),
        documents: Some(vec![localised(document, message.language)]),
        top: 2,
        ..base.clone()
    });
    Some(std::iter::once(base.clone()).chain(within).collect())
}

/// The message without what only names a record: a value that the look-up compares finds an account and no clause, and
/// would count as a rare word that no clause has.
fn without_values(state: &State, pack: &Pack, message: &Message) -> String {
    let reading = state.reading.as_ref().filter(|reading| reading.id == message.id.to_string());
    let fields = reading.into_iter().flat_map(|reading| reading.fields.values().flatten());
    let named: Vec<(usize, usize)> = fields
        .filter(|(field, _)| pack.lookup.weights.contains_key(*field))
        .flat_map(|(_, values)| values.iter().map(|value| (value.start, value.end)))
        .collect();
    without(&message.text, &named)
}

/// A text without these ranges of characters; the whole, where no word is left.
fn without(text: &str, ranges: &[(usize, usize)]) -> String {
    let is_kept = |at: usize| !ranges.iter().any(|(start, end)| (*start..*end).contains(&at));
    let kept = text.chars().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, letter)| letter);
    let kept: String = kept.collect();
    if kept.chars().any(char::is_alphabetic) { kept } else { text.to_owned() }
}

/// The concern by its name, unless it is an "other", and the products of the customer's records.
fn about(state: &State, pack: &Pack, leaf: Option<&str>, language: Language) -> Vec<String> {
    let leaves = &pack.schema.intents.leaves;
    let known = leaves.iter().find(|known| Some(known.id.as_str()) == leaf && !known.id.ends_with("other"));
    let records = state.facts.iter().flat_map(|facts| &facts.records);
    let products = records.filter_map(|record| record.fields.get("product")?.as_str().map(str::to_owned));
    let products: BTreeSet<String> = products.collect();
    known.map(|leaf| leaf.titles.of(language).to_owned()).into_iter().chain(products).collect()
}

/// What one generation says to all of them. A passage that two of them found counts once, with the better score. What is
/// found within a document for a plan stands before what else was found of that document: it is what is quoted, and
/// scores for different questions cannot be compared.
pub(super) fn answered(
    questions: &[Question],
    search: impl Fn(&Question) -> Result<Grounds, PolicyError>,
) -> Result<Option<Grounds>, PolicyError> {
    let mut all = questions.iter().map(search);
    let Some(first) = all.next() else { return Ok(None) };
    let mut first = first?;
    for further in all {
        // The last becomes the first of its document's at last.
        for mut passage in further?.passages.into_iter().rev() {
            let passages = &mut first.passages;
            let same = |known: &Passage| {
                known.document == passage.document
                    && known.start == passage.start
                    && known.version == passage.version
            };
            if let Some(known) = passages.iter().position(same).map(|at| passages.remove(at)) {
                passage.score = passage.score.max(known.score);
            }
            let before = passages.iter().position(|known| known.document == passage.document);
            passages.insert(before.unwrap_or(passages.len()), passage);
        }
    }
    Ok(Some(first))
}

/// A document is named in plans without its language: `account-unlock` stands for `account-unlock-de`.
fn localised(document: &str, language: Language) -> String {
    format!("{document}-{language}")
}

/// The passage of each cited document that comes first (see [`answered`]).
pub(super) fn cited(state: &State, cite: &[String], language: Language) -> Vec<Passage> {
    let found = state.grounds.as_ref().map_or(&[][..], |grounds| grounds.passages.as_slice());
    cite.iter()
        .filter_map(|document| {
            let wanted = localised(document, language);
            found.iter().find(|passage| passage.document == wanted).cloned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Digest, Probability};
    use crate::policy::Audience;

    fn grounds(found: &[(&str, usize, f64)]) -> Grounds {
        let passage = |(document, start, score): &(&str, usize, f64)| Passage {
            document: (*document).to_owned(),
            version: "1".to_owned(),
            title: String::new(),
            language: Language::En,
            section: Vec::new(),
            text: "text".to_owned(),
            start: *start,
            end: start + 4,
            page: None,
            audience: Audience::Public,
            score: *score,
            sentences: Vec::new(),
        };
        Grounds {
            id: "m".to_owned(),
            passages: found.iter().map(passage).collect(),
            answerable: Probability::ZERO,
            answered: true,
            generation: Digest::of(b""),
        }
    }

    #[test]
    fn what_a_plan_asks_decides_which_clause_of_its_document_comes_first() {
        let search = |asked: &Question| {
            Ok(match asked.text.as_str() {
                "message" => grounds(&[("fees", 0, 9.0), ("cards", 0, 8.0), ("fees", 50, 7.0)]),
                _ => grounds(&[("fees", 50, 0.5), ("fees", 90, 0.4)]),
            })
        };
        let day = parse_date("2026-09-21").unwrap();
        let asked = ["message", "plan"].map(|text| Question::public(text, day));
        let found = answered(&asked, search).unwrap().unwrap().passages;
        let found: Vec<_> = found.iter().map(|one| (one.document.as_str(), one.start, one.score)).collect();
        assert_eq!(found, [("fees", 50, 7.0), ("fees", 90, 0.4), ("fees", 0, 9.0), ("cards", 0, 8.0)]);
    }

    #[test]
    fn what_names_a_record_is_not_asked_for() {
        assert_eq!(without("Ünlock ABC12345, please", &[(7, 15)]), "Ünlock , please");
        assert_eq!(without("ABC12345", &[(0, 8)]), "ABC12345");
    }
}
