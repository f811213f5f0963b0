//! From the parts of a message to its intents: one for each concern, in the order of the text.

use super::heads::intent::Scores;
use super::read::{Schema, ranked};
use super::reading::{Extracted, Intent, ParentProbability};
use crate::base::Probability;
use std::collections::BTreeMap;

/// A stretch of the message with one concern.
#[derive(Clone, Debug)]
pub struct Part {
    /// Characters of the message.
    pub span: (usize, usize),
    /// The characters within them whose words `scores` speaks for: neighbours about one leaf are one part, for
    /// which the surer speaks.
    pub voice: (usize, usize),
    pub scores: Scores,
}

/// Group -> field -> values.
type Fields = BTreeMap<String, BTreeMap<String, Vec<Extracted>>>;

/// Who writes, from which account, and how to reach them holds for every concern, wherever it stands; an
/// amount, a date, a reference or a merchant belongs to the concern in whose words it is.
const WHO: [&str; 3] = ["persons", "account", "contact"];

pub fn intents(schema: &Schema, parts: &[Part], fields: &Fields) -> Vec<Intent> {
    let dag = &schema.intents;
    let mut intents = Vec::new();
    for (number, Part { span, scores, .. }) in parts.iter().enumerate() {
        let Some((best, probability)) = ranked(&scores.leaves).first().copied() else { continue };
        let mut ways: Vec<(usize, f64)> = dag
            .edges
            .iter()
            .zip(&scores.joint)
            .filter(|((_, leaf), _)| *leaf == best)
            .map(|((parent, _), joint)| (*parent, *joint))
            .collect();
        ways.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let parents = ways
            .into_iter()
            .filter_map(|(parent, _)| {
                let probability = Probability::new(*scores.parents.get(parent)?).rounded();
                Some(ParentProbability { parent: dag.parents.get(parent)?.id.clone(), probability })
            })
            .collect();
        let next = parts.get(number + 1).map_or(usize::MAX, |part| part.span.0);
        let from = if number == 0 { 0 } else { span.0 };
        intents.push(Intent {
            leaf: dag.leaves.get(best).map(|leaf| leaf.id.clone()).unwrap_or_default(),
            probability: Probability::new(probability).rounded(),
            span: *span,
            parents,
            fields: belonging(fields, from..next),
        });
    }
    intents
}

/// Values by field, of those that belong to the concern at these characters.
fn belonging(fields: &Fields, place: std::ops::Range<usize>) -> BTreeMap<String, Vec<String>> {
    let mut own = BTreeMap::new();
    for (group, fields) in fields {
        for (field, values) in fields {
            let here = |value: &&Extracted| WHO.contains(&group.as_str()) || place.contains(&value.start);
            let texts: Vec<String> = values.iter().filter(here).map(|value| value.text.clone()).collect();
            if !texts.is_empty() {
                own.insert(field.clone(), texts);
            }
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_belong_to_their_concern_and_names_to_all() {
        let value = |text: &str, start: usize| Extracted {
            text: text.to_owned(),
            start,
            end: start + text.len(),
            probability: Probability::new(1.0),
            variants: Vec::new(),
        };
        let group = |field: &str, values| BTreeMap::from([(field.to_owned(), values)]);
        let fields = BTreeMap::from([
            ("persons".to_owned(), group("last_name", vec![value("Huber", 90)])),
            ("money_and_time".to_owned(), group("amount", vec![value("5 €", 10), value("7 €", 40)])),
        ]);
        let first = belonging(&fields, 0..30);
        assert_eq!(
            (&first["amount"], &first["last_name"]),
            (&vec!["5 €".to_owned()], &vec!["Huber".to_owned()])
        );
        assert_eq!(belonging(&fields, 30..usize::MAX)["amount"], ["7 €"]);
        assert!(!belonging(&fields, 80..usize::MAX).contains_key("amount"));
    }
}
