//! Candidates by how well they agree, from what every source said about every field.

use super::agreement::Kind;
use super::facts::{Candidate, Match};
use super::index::{Index, Question};
use super::lookup::Fields;
use super::weights::Matching;
use crate::base::RecordId;
use std::collections::BTreeMap;

/// The records of a source that Prokura indexes itself.
pub struct Indexed {
    pub index: Index,
    /// By row.
    pub ids: Vec<RecordId>,
}

/// How one record agrees with what was said of one field.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    pub id: RecordId,
    pub field: String,
    /// The said value that agrees best.
    pub value: String,
    /// In words.
    pub agreement: &'static str,
    pub agrees: bool,
    pub weight: f64,
}

/// How a field reads that a source was asked for and did not have.
const NOT_FOUND: &str = "is not the record's";

impl Indexed {
    /// How the best records agree with what was said.
    pub fn compare(&self, fields: &Fields, matching: &Matching) -> Vec<Compared> {
        let (question, said) = asked(&self.index, fields);
        let mut all = Vec::new();
        for found in self.index.search(&question, matching, matching.candidates) {
            let Some(id) = self.ids.get(found.row as usize) else { continue };
            for (agreement, (field, kind, values)) in found.agreements.iter().zip(&said) {
                let Some(agreement) = agreement else { continue };
                let level = usize::from(agreement.level);
                all.push(Compared {
                    id: id.clone(),
                    field: (*field).to_owned(),
                    value: values.get(agreement.said).map_or_else(String::new, |value| (*value).to_owned()),
                    agreement: kind.levels().get(level).copied().unwrap_or_default(),
                    agrees: level + 1 < kind.levels().len(),
                    weight: matching.weight(field, agreement.level, agreement.share),
                });
            }
        }
        all
    }
}

/// The fields that an index has, their kinds, and the texts of the values that can be compared.
type Texts<'a> = Vec<(&'a str, Kind, Vec<&'a str>)>;

/// What was said, for an index.
pub fn asked<'a>(index: &Index, fields: &'a Fields) -> (Question, Texts<'a>) {
    let (mut question, mut texts) = (Vec::new(), Vec::new());
    for (field, values) in fields {
        let Some((column, kind)) = index.column(field) else { continue };
        let mut said = Vec::new();
        let mut kept: Vec<&str> = Vec::new();
        for value in values {
            if let Some(value) = super::lookup::usable(value)
                && !kept.contains(&value)
                && let Some(one) = kind.said(value)
            {
                said.push(one);
                kept.push(value);
            }
        }
        if !said.is_empty() {
            question.push((column, said));
            texts.push((field.as_str(), kind, kept));
        }
    }
    (question, texts)
}

/// A source that only says which records have a value: those it lists have it, and those it lists for one field do not
/// have what was asked of another.
pub fn listed<'a>(
    hits: impl Iterator<Item = (&'a str, &'a str, &'a [RecordId])> + Clone,
    matching: &Matching,
) -> Vec<Compared> {
    let mut asked: BTreeMap<&str, &str> = BTreeMap::new();
    let mut has: BTreeMap<&RecordId, BTreeMap<&str, &str>> = BTreeMap::new();
    for (field, value, ids) in hits {
        asked.entry(field).or_insert(value);
        for id in ids {
            has.entry(id).or_default().entry(field).or_insert(value);
        }
    }
    let mut all = Vec::new();
    for (id, found) in has {
        for (field, value) in &asked {
            let Some(weights) = matching.fields.get(*field) else { continue };
            let (agrees, value) = found.get(field).map_or((false, *value), |value| (true, *value));
            all.push(Compared {
                id: id.clone(),
                field: (*field).to_owned(),
                value: value.to_owned(),
                agreement: if agrees { "agrees" } else { NOT_FOUND },
                agrees,
                weight: if agrees { weights.weight(0, 0.0) } else { weights.differs() },
            });
        }
    }
    all
}

/// The candidates, best first, ties by id. Where several sources know a record, a field counts once, at its best.
pub fn candidates(compared: Vec<Compared>, matching: &Matching, records: f64) -> Vec<Candidate> {
    let mut by_record: BTreeMap<RecordId, BTreeMap<String, Compared>> = BTreeMap::new();
    for one in compared {
        let fields = by_record.entry(one.id.clone()).or_default();
        match fields.get(&one.field) {
            Some(known) if known.weight >= one.weight => {}
            _ => drop(fields.insert(one.field.clone(), one)),
        }
    }
    let mut scored: Vec<(f64, RecordId, Vec<Compared>)> = by_record
        .into_iter()
        .map(|(id, fields)| {
            let fields: Vec<Compared> = fields.into_values().collect();
            (fields.iter().map(|one| one.weight).sum(), id, fields)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.truncate(matching.candidates);
    let scores: Vec<f64> = scored.iter().map(|(score, ..)| *score).collect();
    let probabilities = matching.probabilities(&scores, records);
    let told = scored.into_iter().zip(probabilities);
    told.map(|((score, id, fields), probability)| candidate(id, score, probability, fields)).collect()
}

fn candidate(id: RecordId, score: f64, probability: f64, mut fields: Vec<Compared>) -> Candidate {
    let two = |value: f64| (value * 100.0).round() / 100.0;
    fields.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.field.cmp(&b.field)));
    let words: Vec<String> = fields
        .iter()
        .map(|one| format!("{} {} {:+.1}", one.field.replace('_', " "), one.agreement, one.weight))
        .collect();
    let told = |one: Compared| Match {
        field: one.field,
        value: one.value,
        weight: two(one.weight),
        agreement: Some(one.agreement.to_owned()),
    };
    let (matched, against): (Vec<_>, Vec<_>) = fields.into_iter().partition(|one| one.agrees);
    Candidate {
        id,
        score: two(score),
        matched: matched.into_iter().map(told).collect(),
        against: against.into_iter().map(told).collect(),
        probability: Some((probability * 1e6).round() / 1e6),
        explanation: words.join(", "),
    }
}

/// The smallest set of best candidates that holds the record which was meant with the probability that identifies: one
/// is found, several need a question, and none where that is more likely.
pub fn select(candidates: &[Candidate], matching: &Matching, most: usize) -> Vec<RecordId> {
    let (mut sum, mut chosen) = (0.0, Vec::new());
    for candidate in candidates.iter().take(most) {
        sum += candidate.probability.unwrap_or(0.0);
        chosen.push(candidate.id.clone());
        if sum >= matching.identify {
            return chosen;
        }
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use super::super::weights::FieldWeights;
    use super::*;

    fn matching() -> Matching {
        let field =
            FieldWeights { kind: Kind::Exact, rarity: false, m: vec![0.9, 0.1], u: vec![0.001, 0.999] };
        Matching {
            identify: 0.9,
            candidates: 10,
            records: None,
            present: 0.5,
            slope: 1.0,
            fields: BTreeMap::from([("iban".to_owned(), field.clone()), ("last_name".to_owned(), field)]),
        }
    }

    fn told(hits: &[(&str, &str, &[&str])], records: f64) -> (Vec<Candidate>, Vec<RecordId>) {
        let ids: Vec<Vec<RecordId>> =
            hits.iter().map(|(.., ids)| ids.iter().map(|id| RecordId::new(*id)).collect()).collect();
        let hits: Vec<_> =
            hits.iter().zip(&ids).map(|((field, value, _), ids)| (*field, *value, ids.as_slice())).collect();
        let candidates = candidates(listed(hits.into_iter(), &matching()), &matching(), records);
        let selected = select(&candidates, &matching(), 5);
        (candidates, selected)
    }

    #[test]
    fn one_is_found_several_are_left_or_none_is() {
        let (candidates, selected) =
            told(&[("iban", "X", &["a"]), ("last_name", "Huber", &["a", "b"])], 100.0);
        assert_eq!(selected, [RecordId::new("a")]);
        assert_eq!(candidates[0].explanation, "iban agrees +9.8, last name agrees +9.8");
        assert_eq!(candidates[1].against[0].field, "iban");
        assert!(candidates[1].explanation.ends_with("iban is not the record's -3.3"));
        let (_, selected) = told(&[("last_name", "Huber", &["a", "b"])], 50.0);
        assert_eq!(selected.len(), 2);
        let (candidates, selected) = told(&[("last_name", "Huber", &["a", "b"])], 1e6);
        assert!(selected.is_empty() && candidates.len() == 2);
        assert!(candidates[0].probability.unwrap() < 0.01);
    }

    #[test]
    fn whole_scores_are_written_without_a_point_and_read_back() {
        let (candidates, _) = told(&[("iban", "X", &["a"])], 100.0);
        let text = serde_json::to_string(&candidates[0]).unwrap();
        assert!(text.contains("\"score\":9.81"), "{text}");
        assert_eq!(serde_json::from_str::<Candidate>(&text).unwrap(), candidates[0]);
        let whole = Match { field: "iban".into(), value: "X".into(), weight: 5.0, agreement: None };
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            "{\"field\":\"iban\",\"value\":\"X\",\"weight\":5}"
        );
    }
}
