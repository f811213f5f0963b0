//! Scoring, apart from any source: hits are merged by record, a field counts once per record.

use super::facts::{Candidate, Match};
use crate::base::RecordId;
use std::collections::BTreeMap;

/// The records that one value of one field was found in.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    pub field: String,
    pub value: String,
    pub weight: u32,
    pub ids: Vec<RecordId>,
    /// Others have it, too.
    pub more: bool,
}

/// The scored candidates: best first, ties by id; in each, the heaviest match first, ties by field. When
/// several values of a field match a record, the first of the greatest weight is told.
pub fn candidates(hits: &[Hit]) -> Vec<Candidate> {
    let mut matched: BTreeMap<&RecordId, BTreeMap<&str, &Hit>> = BTreeMap::new();
    for hit in hits {
        for id in &hit.ids {
            let best = matched.entry(id).or_default().entry(&hit.field).or_insert(hit);
            if hit.weight > best.weight {
                *best = hit;
            }
        }
    }
    let mut candidates: Vec<Candidate> = matched
        .into_iter()
        .map(|(id, fields)| {
            let mut matched: Vec<Match> = fields
                .into_values()
                .map(|hit| Match {
                    field: hit.field.clone(),
                    value: hit.value.clone(),
                    weight: hit.weight.into(),
                    agreement: None,
                    source: None,
                })
                .collect();
            matched.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.field.cmp(&b.field)));
            let score = matched.iter().map(|hit| hit.weight).sum();
            Candidate {
                id: id.clone(),
                score,
                matched,
                records: vec![],
                conflicts: vec![],
                against: vec![],
                probability: None,
                explanation: String::new(),
            }
        })
        .collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    candidates
}

/// The ids with `score >= threshold && score == max`, in the order of the candidates.
pub fn select(candidates: &[Candidate], threshold: u32) -> Vec<RecordId> {
    let max = candidates.iter().map(|candidate| candidate.score).fold(0.0, f64::max);
    candidates
        .iter()
        .filter(|candidate| candidate.score >= threshold.into() && candidate.score >= max)
        .map(|candidate| candidate.id.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(field: &str, value: &str, weight: u32, ids: &[&str]) -> Hit {
        let ids = ids.iter().map(|id| RecordId::new(*id)).collect();
        Hit { field: field.to_owned(), value: value.to_owned(), weight, ids, more: false }
    }

    #[test]
    fn a_field_counts_once_per_record_at_its_best_value() {
        let hits = [
            hit("first_name", "Max", 1, &["b"]),
            hit("first_name", "Maxi", 1, &["b"]),
            hit("last_name", "Müller", 2, &["b", "a"]),
            hit("iban", "rough", 3, &["b"]),
            hit("iban", "exact", 5, &["b"]),
        ];
        let found = candidates(&hits);
        let told: Vec<_> = found.iter().map(|c| (c.id.as_str(), c.score)).collect();
        assert_eq!(told, [("b", 8.0), ("a", 2.0)]);
        let matched: Vec<_> = found[0].matched.iter().map(|m| m.value.as_str()).collect();
        assert_eq!(matched, ["exact", "Müller", "Max"]);
    }

    #[test]
    fn only_the_maximum_that_reaches_the_threshold_is_selected() {
        let found = candidates(&[hit("iban", "x", 5, &["a", "b"]), hit("postcode", "9", 1, &["b", "c"])]);
        assert_eq!(select(&found, 5), [RecordId::new("b")]);
        assert!(select(&found, 7).is_empty());
        let tied = candidates(&[hit("iban", "x", 5, &["b", "a"])]);
        assert_eq!(select(&tied, 5), [RecordId::new("a"), RecordId::new("b")]);
        assert!(select(&[], 1).is_empty());
    }
}
