//! Candidates by how well they agree, from what every source said about every field.

use super::agreement::Kind;
use super::ask::numbered;
use super::facts::{Candidate, Match, Origin};
use super::index::{Agreement, Found, Index, Question};
use super::lookup::Fields;
use super::score::Hit;
use super::weights::{Matching, Unit};
use crate::base::{CustomerId, RecordId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// The records of a source that Prokura indexes itself.
pub struct Indexed {
    pub index: Index,
    /// By row.
    pub ids: Vec<RecordId>,
    /// By row, where they are not the ids themselves.
    owners: Option<Vec<CustomerId>>,
    /// The rows in the order of their ids.
    by_id: Vec<u32>,
    /// When the source was read, where it changes.
    pub read_at: Option<Timestamp>,
    stale: AtomicBool,
}

/// How one record agrees with what was said of one field.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    pub id: RecordId,
    /// Whose record it is, where that is known.
    pub owner: Option<CustomerId>,
    pub source: String,
    pub field: String,
    /// The said value that agrees best.
    pub value: String,
    /// In words.
    pub agreement: String,
    pub agrees: bool,
    pub weight: f64,
    /// How many records have the value.
    pub holders: f64,
    /// Where its source puts the record, from 0.
    pub place: usize,
}

/// How a field reads that a source was asked for and did not have.
const NOT_FOUND: &str = "is not the record's";

impl Indexed {
    /// `ids` and, where they are others, `owners` by row.
    pub fn new(index: Index, ids: Vec<RecordId>, owners: Option<Vec<CustomerId>>) -> Self {
        let mut by_id: Vec<u32> = (0..ids.len() as u32).collect();
        by_id.sort_unstable_by_key(|row| ids.get(*row as usize));
        Self { index, ids, owners, by_id, read_at: None, stale: AtomicBool::new(false) }
    }

    /// Whether the source could not be read again.
    pub fn stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    pub fn set_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    pub fn row(&self, id: &RecordId) -> Option<u32> {
        let at = self.by_id.binary_search_by_key(&Some(id), |row| self.ids.get(*row as usize)).ok()?;
        self.by_id.get(at).copied()
    }

    fn owner(&self, row: usize) -> Option<CustomerId> {
        match &self.owners {
            Some(owners) => owners.get(row).filter(|owner| !owner.as_str().is_empty()).cloned(),
            None => self.ids.get(row).map(|id| CustomerId::new(id.as_str())),
        }
    }

    /// A number for the value that each record has in a field; see `ask`. `None` where a record, or the field, is not
    /// of this source.
    pub fn numbered(&self, field: &str, records: &[RecordId]) -> Option<Vec<Option<usize>>> {
        let (column, _) = self.index.column(field)?;
        let rows: Vec<u32> = records.iter().map(|id| self.row(id)).collect::<Option<_>>()?;
        Some(numbered(rows.into_iter().map(|row| self.index.value(column, row))))
    }

    /// How the best records agree with what was said. Where none is identified, first and last names are also tried in
    /// each other's place.
    pub fn compare(&self, source: &str, fields: &Fields, matching: &Matching) -> Vec<Compared> {
        let (question, said) = asked(&self.index, fields);
        let mut found: Vec<(Found, bool)> = self.found(&question, matching, false);
        let scores: Vec<f64> = found.iter().map(|(found, _)| found.score).collect();
        let sure =
            matching.probabilities(&scores, 0.0, self.ids.len() as f64).first().copied().unwrap_or(0.0);
        if sure < matching.identify
            && let Some(exchanged) = exchanged(&question, &said)
        {
            found.extend(self.found(&exchanged, matching, true));
            found.sort_by(|(a, _), (b, _)| a.row.cmp(&b.row).then(b.score.total_cmp(&a.score)));
            found.dedup_by_key(|(found, _)| found.row);
            found.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            found.truncate(matching.candidates);
        }
        let compared = |(place, (found, exchanged)): (usize, &(Found, bool))| {
            let mut all = self.compared(source, found, *exchanged, &said, matching);
            all.iter_mut().for_each(|one| one.place = place);
            all
        };
        found.iter().enumerate().flat_map(compared).collect()
    }

    fn found(&self, question: &Question, matching: &Matching, exchanged: bool) -> Vec<(Found, bool)> {
        let cost = if exchanged { 2.0 * EXCHANGED } else { 0.0 };
        let found = self.index.search(question, matching, matching.candidates);
        found.into_iter().map(|found| (Found { score: found.score - cost, ..found }, exchanged)).collect()
    }

    /// The fields of one record.
    fn compared(
        &self,
        source: &str,
        found: &Found,
        exchanged: bool,
        said: &Texts<'_>,
        matching: &Matching,
    ) -> Vec<Compared> {
        let Some(id) = self.ids.get(found.row as usize) else { return vec![] };
        let values = |field: &str| said.iter().find(|(known, ..)| *known == field).map(|(.., values)| values);
        let one = |(agreement, (field, kind, own)): (&Option<Agreement>, &(&str, Kind, Vec<&str>))| {
            let agreement = agreement.as_ref()?;
            let other =
                NAMES.iter().find(|(name, _)| name == field).map(|(_, other)| *other).filter(|_| exchanged);
            let values = other.and_then(values).unwrap_or(own);
            let level = usize::from(agreement.level);
            let words = kind.levels().get(level).copied().unwrap_or_default();
            let cost = if other.is_some() { EXCHANGED } else { 0.0 };
            let weight = matching.weight(field, agreement.level, agreement.share) - cost;
            Some(Compared {
                id: id.clone(),
                owner: self.owner(found.row as usize),
                source: source.to_owned(),
                field: (*field).to_owned(),
                value: values.get(agreement.said).map_or_else(String::new, |value| (*value).to_owned()),
                agreement: match other {
                    None => words.to_owned(),
                    Some(other) => format!("{words}, said as the {}", other.replace('_', " ")),
                },
                agrees: level + 1 < kind.levels().len() && weight > 0.0,
                weight,
                holders: agreement.share * self.ids.len() as f64,
                place: 0,
            })
        };
        found.agreements.iter().zip(said).filter_map(one).collect()
    }
}

/// Fields that people say in each other's place.
const NAMES: [(&str, &str); 2] = [("first_name", "last_name"), ("last_name", "first_name")];

/// Bits that each of two exchanged names loses: one person in a hundred says them so.
const EXCHANGED: f64 = 3.3;

/// The question with first and last names in each other's place; `None` unless both were said.
fn exchanged(question: &Question, said: &Texts<'_>) -> Option<Question> {
    let place = |name: &str| said.iter().position(|(field, kind, _)| *field == name && *kind == Kind::Name);
    let (first, last) = (place("first_name")?, place("last_name")?);
    let mut question = question.clone();
    let (of_first, of_last) = (question.get(first)?.1.clone(), question.get(last)?.1.clone());
    question.get_mut(first)?.1 = of_last;
    question.get_mut(last)?.1 = of_first;
    Some(question)
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
/// have what was asked of another, unless others have it that it did not list.
pub fn listed(source: &str, hits: &[Hit], matching: &Matching) -> Vec<Compared> {
    let mut asked: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    let mut has: BTreeMap<&RecordId, BTreeMap<&str, &str>> = BTreeMap::new();
    for hit in hits {
        let (_, more) = asked.entry(&hit.field).or_insert((&hit.value, false));
        *more |= hit.more;
        for id in &hit.ids {
            has.entry(id).or_default().entry(&hit.field).or_insert(&hit.value);
        }
    }
    let mut all = Vec::new();
    for (id, found) in has {
        for (field, (value, more)) in &asked {
            let Some(weights) = matching.fields.get(*field) else { continue };
            let (agrees, value) = found.get(field).map_or((false, *value), |value| (true, *value));
            if !agrees && *more {
                continue;
            }
            all.push(Compared {
                id: id.clone(),
                owner: None,
                source: source.to_owned(),
                field: (*field).to_owned(),
                value: value.to_owned(),
                agreement: if agrees { "agrees" } else { NOT_FOUND }.to_owned(),
                agrees,
                weight: if agrees { weights.weight(0, 0.0) } else { weights.differs() },
                holders: 0.0,
                place: 0,
            });
        }
    }
    all
}

/// So many candidates are told even if they are hardly possible: near misses explain a choice.
const ALWAYS: usize = 5;

/// Others only if they are not so much less likely than the best.
const NEGLIGIBLE: f64 = 1e-4;

/// All that was compared of one record, or of one customer.
#[derive(Default)]
struct Evidence {
    /// By field, at its best.
    fields: BTreeMap<String, Compared>,
    records: BTreeSet<Origin>,
    /// Fields in which one source agrees with what was said and another does not.
    conflicts: BTreeSet<String>,
    place: usize,
}

impl Evidence {
    fn add(&mut self, one: Compared, person: &BTreeMap<String, Kind>) {
        self.place = if self.records.is_empty() { one.place } else { self.place.min(one.place) };
        self.records.insert(Origin { source: one.source.clone(), record: one.id.clone() });
        match self.fields.get(&one.field) {
            Some(known) => {
                if known.agrees != one.agrees && known.source != one.source && person.contains_key(&one.field)
                {
                    self.conflicts.insert(one.field.clone());
                }
                if one.weight > known.weight {
                    self.fields.insert(one.field.clone(), one);
                }
            }
            None => drop(self.fields.insert(one.field.clone(), one)),
        }
    }

    fn score(&self) -> f64 {
        self.fields.values().map(|one| one.weight).sum()
    }
}

/// The candidates, best first, ties as their sources order them, then by id. Where several sources know a record, or a
/// customer, a field counts once, at its best. `person` are the fields that are the same in all records of a customer.
pub fn candidates(
    compared: Vec<Compared>,
    matching: &Matching,
    records: f64,
    person: &BTreeMap<String, Kind>,
) -> Vec<Candidate> {
    // A customer and a record may have the same id.
    let mut by_id: BTreeMap<(bool, RecordId), Evidence> = BTreeMap::new();
    for one in compared {
        let owner = one.owner.as_ref().filter(|_| matching.unit == Unit::Customer);
        let id = owner.map_or_else(|| one.id.clone(), |owner| RecordId::new(owner.as_str()));
        by_id.entry((owner.is_some(), id)).or_default().add(one, person);
    }
    let mut scored: Vec<(f64, RecordId, Evidence)> =
        by_id.into_iter().map(|((_, id), evidence)| (evidence.score(), id, evidence)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.place.cmp(&b.2.place)).then_with(|| a.1.cmp(&b.1)));
    let cut = scored.len() >= matching.candidates;
    scored.truncate(matching.candidates);
    let scores: Vec<f64> = scored.iter().map(|(score, ..)| *score).collect();
    let unseen = if cut { scored.last().map_or(0.0, |last| unseen(last, &scores)) } else { 0.0 };
    let probabilities = matching.probabilities(&scores, unseen, records);
    let least = probabilities.first().map_or(0.0, |best| best * NEGLIGIBLE);
    let worth = |(at, (_, probability)): &(usize, (_, f64))| *at < ALWAYS || *probability >= least;
    let told = scored.into_iter().zip(probabilities).enumerate().take_while(worth).map(|(_, one)| one);
    let of_customer = matching.unit == Unit::Customer;
    told.map(|((score, id, found), probability)| candidate(id, score, probability, found, of_customer))
        .collect()
}

/// How many records at most agree like the last of those that are told, and are not among them: no more than have the
/// rarest of its values.
fn unseen((score, _, last): &(f64, RecordId, Evidence), scores: &[f64]) -> f64 {
    let agreeing = last.fields.values().filter(|one| one.agrees);
    let like = agreeing.map(|one| one.holders).fold(f64::INFINITY, f64::min);
    let told = scores.iter().filter(|other| (**other - score).abs() < 1e-9).count();
    if like.is_finite() { (like - told as f64).max(0.0) } else { 0.0 }
}

fn candidate(id: RecordId, score: f64, probability: f64, found: Evidence, of_customer: bool) -> Candidate {
    let two = |value: f64| (value * 100.0).round() / 100.0;
    let mut fields: Vec<Compared> = found.fields.into_values().collect();
    fields.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.field.cmp(&b.field)));
    let words: Vec<String> = fields
        .iter()
        .map(|one| format!("{} {} {:+.1}", one.field.replace('_', " "), one.agreement, one.weight))
        .collect();
    let told = |one: Compared| Match {
        field: one.field,
        value: one.value,
        weight: two(one.weight),
        agreement: Some(one.agreement),
        source: of_customer.then_some(one.source),
    };
    let (matched, against): (Vec<_>, Vec<_>) = fields.into_iter().partition(|one| one.agrees);
    Candidate {
        id,
        score: two(score),
        matched: matched.into_iter().map(told).collect(),
        records: found.records.into_iter().filter(|_| of_customer).collect(),
        conflicts: found.conflicts.into_iter().filter(|_| of_customer).collect(),
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
            unit: Unit::Record,
            identify: 0.9,
            candidates: 10,
            records: None,
            present: 0.5,
            slope: 1.0,
            fields: BTreeMap::from([("iban".to_owned(), field.clone()), ("last_name".to_owned(), field)]),
        }
    }

    fn told(hits: &[(&str, &str, &[&str])], records: f64) -> (Vec<Candidate>, Vec<RecordId>) {
        let hit = |(field, value, ids): &(&str, &str, &[&str])| Hit {
            field: (*field).to_owned(),
            value: (*value).to_owned(),
            weight: 1,
            ids: ids.iter().map(|id| RecordId::new(*id)).collect(),
            more: ids.len() > 2,
        };
        let hits: Vec<Hit> = hits.iter().map(hit).collect();
        let candidates = candidates(listed("s", &hits, &matching()), &matching(), records, &BTreeMap::new());
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
        // A list that was cut says nothing of those that are not on it.
        let (candidates, _) = told(&[("iban", "X", &["z"]), ("last_name", "Huber", &["a", "b", "c"])], 100.0);
        assert!(candidates.iter().any(|one| one.id.as_str() == "z" && one.against.is_empty()));
        let (_, selected) = told(&[("last_name", "Huber", &["a", "b"])], 50.0);
        assert_eq!(selected.len(), 2);
        let (candidates, selected) = told(&[("last_name", "Huber", &["a", "b"])], 1e6);
        assert!(selected.is_empty() && candidates.len() == 2);
        assert!(candidates[0].probability.unwrap() < 0.01);
    }

    #[test]
    fn records_that_are_like_those_told_and_are_not_told_count() {
        let of = |id: usize| Compared {
            source: "s".to_owned(),
            id: RecordId::new(format!("r{id}")),
            owner: None,
            field: "last_name".to_owned(),
            value: "M\u{fc}ller".to_owned(),
            agreement: "agrees".to_owned(),
            weight: 9.8,
            agrees: true,
            holders: 35.0,
            place: 0,
        };
        let matching = Matching { candidates: 10, ..matching() };
        let cut = candidates((0..35).map(of).collect(), &matching, 100.0, &BTreeMap::new());
        let shares: f64 = cut.iter().filter_map(|one| one.probability).sum();
        assert!(!cut.is_empty() && cut.iter().all(|one| one.probability.unwrap() <= 1.0 / 35.0), "{cut:?}");
        assert!(shares <= 10.0 / 35.0 && select(&cut, &matching, 10).is_empty());
        // All of them told, so many are selected that the one who was meant is among them with the asked probability.
        let matching = Matching { candidates: 50, present: 0.999, ..matching };
        let all = candidates((0..35).map(of).collect(), &matching, 100.0, &BTreeMap::new());
        assert_eq!((all.len(), select(&all, &matching, 50).len()), (35, 32));
    }

    #[test]
    fn whole_scores_are_written_without_a_point_and_read_back() {
        let (candidates, _) = told(&[("iban", "X", &["a"])], 100.0);
        let text = serde_json::to_string(&candidates[0]).unwrap();
        assert!(text.contains("\"score\":9.81"), "{text}");
        assert_eq!(serde_json::from_str::<Candidate>(&text).unwrap(), candidates[0]);
        let whole =
            Match { field: "iban".into(), value: "X".into(), weight: 5.0, agreement: None, source: None };
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            "{\"field\":\"iban\",\"value\":\"X\",\"weight\":5}"
        );
    }
}
