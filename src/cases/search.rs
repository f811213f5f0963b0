//! What a case asks of the policies. Pure: the same state and plan ask the same, at any time.

use super::pack::Pack;
use super::state::State;
use super::view::leaf_of;
use crate::base::Language;
use crate::policy::{Clearance, Grounds, Passage, PolicyError, Question, parse_date};
use std::collections::BTreeSet;

/// How many passages a case's search keeps.
const PASSAGES: usize = 5;

/// The questions of one search: what the message asks, for the staff, and what the leaf's plan asks within the documents
/// that it rests on. Only public passages: a reply is made of them. In force on the day of the case's last event.
pub(super) fn questions(state: &State, pack: &Pack) -> Option<Vec<Question>> {
    let message = state.message()?;
    let leaf = state.plan.as_ref().map(|plan| plan.leaf.as_str());
    let leaf = leaf.or_else(|| state.reading.as_ref().map(leaf_of));
    let plan = leaf.and_then(|leaf| pack.plans.by_leaf.get(leaf));
    let base = Question {
        id: message.id.to_string(),
        text: message.text.clone(),
        about: about(state, pack, leaf, message.language),
        language: Some(message.language),
        audience: Clearance::Public,
        as_of: parse_date(&state.updated_at?.date())?,
        documents: None,
        product: None,
        top: PASSAGES,
        each: Some(0),
    };
    let of_plan = plan.and_then(|plan| Some((plan, plan.question.get(message.language.code())?)));
    let documents =
        of_plan.into_iter().flat_map(|(plan, asked)| plan.documents.iter().map(move |id| (id, asked)));
    let within = documents.map(|(document, asked)| Question {
        text: asked.clone(),
        about: Vec::new(),
        documents: Some(vec![localised(document, message.language)]),
        top: 2,
        ..base.clone()
    });
    Some(std::iter::once(base.clone()).chain(within).collect())
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

/// What one generation says to all of them; a passage that two of them found counts once, with the better score.
pub(super) fn answered(
    questions: &[Question],
    search: impl Fn(&Question) -> Result<Grounds, PolicyError>,
) -> Result<Option<Grounds>, PolicyError> {
    let mut all = questions.iter().map(search);
    let Some(first) = all.next() else { return Ok(None) };
    let mut first = first?;
    for further in all {
        for passage in further?.passages {
            let same = |known: &&mut Passage| {
                known.document == passage.document
                    && known.start == passage.start
                    && known.version == passage.version
            };
            match first.passages.iter_mut().find(same) {
                Some(known) => known.score = known.score.max(passage.score),
                None => first.passages.push(passage),
            }
        }
    }
    Ok(Some(first))
}

/// A document is named in plans without its language: `account-unlock` stands for `account-unlock-de`.
fn localised(document: &str, language: Language) -> String {
    format!("{document}-{language}")
}

/// The best passage of each cited document.
pub(super) fn cited(state: &State, cite: &[String], language: Language) -> Vec<Passage> {
    let found = state.grounds.as_ref().map_or(&[][..], |grounds| grounds.passages.as_slice());
    cite.iter()
        .filter_map(|document| {
            let wanted = localised(document, language);
            // The search for the plan's own question comes last and ranks within the document.
            let of_document = found.iter().filter(|passage| passage.document == wanted);
            of_document.max_by(|a, b| a.score.total_cmp(&b.score)).cloned()
        })
        .collect()
}
