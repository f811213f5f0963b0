//! What a person should look at before documents are published: links to nowhere, the same text twice, and sentences
//! that say the same with other numbers.

use super::chunk::characters;
use super::document::{Document, in_force};
use super::embed::{PassageText, passages};
use super::sentences;
use crate::base::Language;
use jiff::civil::Date;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One thing to look at. None of them keeps documents from being published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "concern", rename_all = "snake_case")]
pub enum Concern {
    /// A link leads to a document or heading that is not there.
    BrokenLink { document: String, version: String, target: String },
    /// What is superseded is not there.
    SupersedesNothing { document: String, version: String, supersedes: String },
    /// Two documents in force on the same day have the same text.
    Duplicate { documents: [String; 2] },
    /// Two sentences under headings of the same name say the same with other numbers, on the same day.
    Contradiction { documents: [String; 2], section: Vec<String>, sentences: [String; 2] },
}

/// Sentences with fewer words say too little to be the same by more than chance.
const SHORTEST: usize = 5;
/// More would not be read.
const MOST: usize = 500;

/// All concerns about documents that would be published together.
pub fn concerns(documents: &[Document]) -> Vec<Concern> {
    let mut found = all(documents);
    found.truncate(MOST);
    found
}

/// The concerns about documents that were none about those before.
pub fn raised(before: &[Document], after: &[Document]) -> Vec<Concern> {
    let known: HashSet<Concern> = all(before).into_iter().collect();
    all(after).into_iter().filter(|concern| !known.contains(concern)).take(MOST).collect()
}

fn all(documents: &[Document]) -> Vec<Concern> {
    let mut found = links(documents);
    let days = in_force(documents);
    found.extend(superseded(documents));
    found.extend(duplicates(documents, &days));
    found.extend(contradictions(documents, &days));
    found
}

fn links(documents: &[Document]) -> Vec<Concern> {
    let ids: BTreeSet<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    let mut found = Vec::new();
    for document in documents {
        let headings: BTreeSet<String> =
            super::chunk::headings(document).iter().map(|heading| anchor(heading)).collect();
        for event in Parser::new_ext(&document.body, Options::ENABLE_TABLES) {
            let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
            let outside =
                dest_url.contains("://") || dest_url.starts_with("mailto:") || dest_url.starts_with("tel:");
            let there = match dest_url.split_once('#') {
                _ if outside || dest_url.is_empty() => true,
                Some(("", heading)) => headings.contains(&anchor(heading)),
                Some((file, _)) => ids.contains(stem(file)),
                None => ids.contains(stem(&dest_url)),
            };
            if !there {
                found.push(Concern::BrokenLink {
                    document: document.id.clone(),
                    version: document.version.clone(),
                    target: dest_url.to_string(),
                });
            }
        }
    }
    found
}

/// A file's name without folders and extension, which is the id of a document that does not name one.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A heading as links name it: lower case, `-` between words.
fn anchor(heading: &str) -> String {
    let words = heading.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

fn superseded(documents: &[Document]) -> Vec<Concern> {
    let there = |named: &str| {
        let (id, version) = named.split_once('@').unwrap_or((named, ""));
        documents.iter().any(|d| d.id == id && (version.is_empty() || d.version == version))
    };
    let lacking = |document: &Document| {
        let supersedes = document.supersedes.clone().filter(|named| !there(named))?;
        let (id, version) = (document.id.clone(), document.version.clone());
        Some(Concern::SupersedesNothing { document: id, version, supersedes })
    };
    documents.iter().filter_map(lacking).collect()
}

type Days = Option<(Date, Date)>;

fn share_a_day(a: &Days, b: &Days) -> bool {
    a.zip(*b).is_some_and(|((a_from, a_to), (b_from, b_to))| a_from <= b_to && b_from <= a_to)
}

fn duplicates(documents: &[Document], days: &[Days]) -> Vec<Concern> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let first = *seen.entry(document.body.trim()).or_insert(at);
        let (Some(other), Some(a), Some(b)) = (documents.get(first), days.get(first), days.get(at)) else {
            continue;
        };
        if first != at && other.id != document.id && share_a_day(a, b) {
            found.push(Concern::Duplicate { documents: [other.id.clone(), document.id.clone()] });
        }
    }
    found
}

/// A sentence with `#` for each number, and the numbers.
fn masked(sentence: &str) -> (String, Vec<String>) {
    let (mut words, mut numbers) = (Vec::new(), Vec::new());
    for word in sentence.split_whitespace() {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if word.contains(|c: char| c.is_ascii_digit()) {
            words.push("#".to_owned());
            numbers.push(word);
        } else if !word.is_empty() {
            words.push(word);
        }
    }
    (words.join(" "), numbers)
}

/// A sentence of a passage that has numbers.
struct Said {
    document: usize,
    section: Vec<String>,
    sentence: String,
    numbers: Vec<String>,
}

/// Under one heading, about one product, in one language: the sentences that are the same but for their numbers. The
/// title is left out of it only where both documents name their product.
fn contradictions(documents: &[Document], days: &[Days]) -> Vec<Concern> {
    type Key = (Language, Option<String>, String, String);
    let mut said: BTreeMap<Key, Vec<Said>> = BTreeMap::new();
    for PassageText { document: at, section, start, end, .. } in passages(documents) {
        let Some(document) = documents.get(at) else { continue };
        let text = characters(&document.body, start, end).unwrap_or("");
        let letters: Vec<char> = text.chars().collect();
        let heading = section.last().unwrap_or(&document.title).to_lowercase();
        let about =
            document.product.clone().unwrap_or_else(|| format!("title:{}", document.title)).to_lowercase();
        for range in sentences::split(text) {
            let sentence: String = letters.get(range).unwrap_or_default().iter().collect();
            let (words, numbers) = masked(&sentence);
            if numbers.is_empty() || words.split(' ').count() < SHORTEST {
                continue;
            }
            let key = (document.language, Some(about.clone()), heading.clone(), words);
            said.entry(key).or_default().push(Said {
                document: at,
                section: section.clone(),
                sentence,
                numbers,
            });
        }
    }
    let mut found = Vec::new();
    for group in said.values() {
        // Of those with the same numbers on the same days two of different documents stand for all.
        let mut standing: Vec<&Said> = Vec::new();
        for other in group {
            let Some(b) = documents.get(other.document) else { continue };
            let days_of = |said: &Said| days.get(said.document).copied().flatten();
            let contradicts = |one: &&&Said| {
                one.numbers != other.numbers
                    && documents.get(one.document).is_some_and(|a| a.id != b.id)
                    && share_a_day(&days_of(one), &days_of(other))
            };
            // Each is told once, beside the first that it contradicts.
            let first = standing.iter().find(contradicts).copied();
            if let Some((first, a)) = first.and_then(|first| Some((first, documents.get(first.document)?))) {
                found.push(Concern::Contradiction {
                    documents: [a.id.clone(), b.id.clone()],
                    section: other.section.clone(),
                    sentences: [first.sentence.clone(), other.sentence.clone()],
                });
            }
            let same = |one: &&&Said| one.numbers == other.numbers && days_of(one) == days_of(other);
            let own = |one: &Said| documents.get(one.document).is_some_and(|a| a.id == b.id);
            let alike: Vec<&&Said> = standing.iter().filter(same).collect();
            if alike.len() < 2 && !alike.iter().any(|one| own(one)) {
                standing.push(other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::tests::document;

    fn with(id: &str, title: &str, body: &str) -> Document {
        Document { title: title.to_owned(), body: body.to_owned(), ..document(id, "1", "", "") }
    }

    #[test]
    fn links_lead_somewhere() {
        let all = [
            with(
                "fees",
                "Fees",
                "See [cards](../cards.md#limits), [below](#How-much), [us](https://bank.example).\n\n# How much?",
            ),
            with("cards", "Cards", "[gone](nothing.md), [nowhere](#nowhere)"),
        ];
        let targets: Vec<String> = concerns(&all)
            .into_iter()
            .map(|concern| match concern {
                Concern::BrokenLink { document, target, .. } => format!("{document} {target}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(targets, ["cards nothing.md", "cards #nowhere"]);
    }

    #[test]
    fn the_same_with_other_numbers_is_told_where_it_is_about_the_same() {
        let fees = "# Cash abroad\n\nCash at a machine abroad costs 2.50 € for each withdrawal.";
        let other = fees.replace("2.50", "3.00");
        let all = [with("a", "Fees", fees), with("b", "Fees", &other), with("c", "Fees of Gold", &other)];
        let found = concerns(&all);
        let [Concern::Contradiction { documents, section, sentences }, Concern::Duplicate { .. }] = &{
            let mut sorted = found.clone();
            sorted.reverse();
            sorted
        }[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (documents, section.as_slice()),
            (&["a".to_owned(), "b".to_owned()], ["Cash abroad".to_owned()].as_slice())
        );
        assert!(sentences[0].contains("2.50") && sentences[1].contains("3.00"));
        // The first is not the measure of all: two that agree with each other on other days may differ from a third.
        let third = with("d", "Fees", &fees.replace("2.50", "4.00"));
        let mut dated = vec![all[0].clone(), all[1].clone(), third];
        dated[0].valid_to = crate::policy::parse_date("2025-12-31");
        dated[1].valid_from = crate::policy::parse_date("2026-01-01");
        dated[2].valid_from = crate::policy::parse_date("2026-01-01");
        let found = concerns(&dated);
        assert!(
            matches!(&found[..], [Concern::Contradiction { documents, .. }] if documents == &["b", "d"]),
            "{found:?}"
        );
        // What was in force before is no contradiction.
        let mut old = all[..2].to_vec();
        old[0].valid_to = crate::policy::parse_date("2025-12-31");
        old[1].valid_from = crate::policy::parse_date("2026-01-01");
        assert_eq!(concerns(&old), []);
    }

    #[test]
    fn what_is_superseded_is_there() {
        let mut new = with("new", "New", "text");
        new.supersedes = Some("old@2".to_owned());
        let found = concerns(&[new.clone(), with("old", "Old", "other")]);
        assert!(
            matches!(&found[..], [Concern::SupersedesNothing { supersedes, .. }] if supersedes == "old@2")
        );
        // Only what a change brings is its concern.
        let (before, fees) = ([new.clone()], with("fees", "Fees", "[gone](nothing.md)"));
        let raised = raised(&before, &[new.clone(), fees]);
        assert!(matches!(&raised[..], [Concern::BrokenLink { document, .. }] if document == "fees"));
        new.supersedes = Some("old".to_owned());
        assert_eq!(concerns(&[new, with("old", "Old", "other")]), []);
    }
}
