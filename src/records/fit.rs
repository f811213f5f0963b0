//! Estimates what agreements are worth from questions and the records that they are about: without labels by
//! expectation and maximisation (Dempster, Laird and Rubin 1977; for record linkage Winkler 1988), where at most one
//! record is meant by a question; with labels by counting.

use super::index::{Agreement, Asked, Index, Question, Row};
use super::weights::{FieldWeights, Matching};
use std::collections::BTreeMap;

const ROUNDS: usize = 40;
/// Changes of all shares below this end the rounds.
const STILL: f64 = 1e-6;
/// Added to every count, so that nothing is impossible.
const SMOOTHING: f64 = 0.5;
/// The share of labels that may be mistaken: otherwise a handful of them would decide the slope.
const MISTAKEN: f64 = 0.01;
/// With so many labels the slope is fitted, too.
const LABELS: usize = 100;

/// One question with what is known about it.
pub struct Example {
    pub question: Question,
    pub label: Label,
}

/// Which record a question is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    Unknown,
    /// None of the records.
    Absent,
    Row(Row),
}

/// What came out.
#[derive(Clone, PartialEq, Debug)]
pub struct Fitted {
    pub matching: Matching,
    pub labelled: usize,
    /// Of expectation and maximisation.
    pub rounds: usize,
}

/// A question's candidates: how each agrees, and which one is meant, if somebody says so.
struct Case {
    agreements: Vec<Vec<Option<Agreement>>>,
    /// Index of a field in `Shares` for each of its agreements.
    fields: Vec<usize>,
    meant: Option<Option<usize>>,
}

/// Counts by field and level.
type Counts = Vec<Vec<f64>>;

/// `start` names the fields with their kinds, and holds what stays as it is.
///
/// # Errors
/// What is missing.
pub fn fit(index: &Index, examples: &[Example], start: &Matching) -> Result<Fitted, String> {
    let names: Vec<&String> = start.fields.keys().filter(|name| index.column(name).is_some()).collect();
    let guess = expected(&names, start);
    if names.is_empty() {
        return Err("no field of [matching.fields] is one that the source is searched by".to_owned());
    }
    if examples.is_empty() || index.rows() == 0 {
        return Err("there are no questions, or no records".to_owned());
    }
    let mut matching = start.clone();
    matching.fields.retain(|name, _| names.contains(&name));
    let everybody = everybody(index, examples, &names);
    set(&mut matching, &names, &guess, &everybody);
    let labelled = examples.iter().filter(|example| example.label != Label::Unknown).count();
    let mut rounds = 0;
    // Twice: what the first estimates bring up may be other records than what the guesses did.
    for _ in 0..2 {
        let cases: Vec<Case> = examples.iter().map(|one| case(index, one, &matching, &names)).collect();
        for round in 0..ROUNDS {
            rounds += 1;
            let before = matching.clone();
            let (mut meant, mut sum) = (empty(&names, start), 0.0);
            for case in &cases {
                sum += credit(case, &matching, &names, index.rows() as f64, &mut meant);
            }
            let others = less(&everybody, &meant);
            set(&mut matching, &names, &meant, &others);
            matching.present =
                ((sum + SMOOTHING) / (cases.len() as f64 + 2.0 * SMOOTHING)).clamp(0.001, 0.999_999);
            if round > 0 && change(&before, &matching) < STILL {
                break;
            }
        }
        if labelled >= LABELS {
            matching.slope = slope(&cases, &matching, &names, index.rows() as f64);
        }
    }
    round(&mut matching);
    Ok(Fitted { matching, labelled, rounds })
}

/// A first guess of how often what belongs together agrees: mostly well.
fn expected(names: &[&String], matching: &Matching) -> Counts {
    let guess = |levels: usize| (0..levels).map(|level| 100.0 / 3_f64.powi(level as i32) + 2.0).collect();
    names.iter().map(|name| guess(levels(matching, name))).collect()
}

fn levels(matching: &Matching, name: &str) -> usize {
    matching.fields.get(name).map_or(2, |field| field.kind.levels().len())
}

fn empty(names: &[&String], matching: &Matching) -> Counts {
    names.iter().map(|name| vec![0.0; levels(matching, name)]).collect()
}

fn count(counts: &mut Counts, field: usize, level: u8, by: f64) {
    if let Some(count) = counts.get_mut(field).and_then(|levels| levels.get_mut(usize::from(level))) {
        *count += by;
    }
}

/// Which of `names` each field of a question is.
fn places(asked: &Asked<'_>, names: &[&String]) -> Vec<usize> {
    asked.fields().map(|field| names.iter().position(|name| *name == field).unwrap_or(usize::MAX)).collect()
}

/// How questions agree with all records; the few that are meant are among them.
fn everybody(index: &Index, examples: &[Example], names: &[&String]) -> Counts {
    let mut counts: Counts = names.iter().map(|_| vec![0.0; usize::from(u8::MAX)]).collect();
    for example in examples {
        let asked = index.ask(&example.question);
        for (place, levels) in places(&asked, names).into_iter().zip(asked.levels()) {
            for (level, rows) in levels {
                count(&mut counts, place, level, rows as f64);
            }
        }
    }
    counts
}

fn case(index: &Index, example: &Example, matching: &Matching, names: &[&String]) -> Case {
    let asked = index.ask(&example.question);
    let mut rows: Vec<Row> = index
        .search(&example.question, matching, matching.candidates)
        .into_iter()
        .map(|found| found.row)
        .collect();
    let meant = match example.label {
        Label::Unknown => None,
        Label::Absent => Some(None),
        Label::Row(row) => {
            if !rows.contains(&row) {
                rows.push(row);
            }
            Some(rows.iter().position(|known| *known == row))
        }
    };
    let agreements = rows.iter().map(|row| asked.agreements(*row)).collect();
    Case { agreements, fields: places(&asked, names), meant }
}

/// Bits of every candidate.
fn scores(case: &Case, matching: &Matching, names: &[&String]) -> Vec<f64> {
    let weight = |(agreement, field): (&Option<Agreement>, &usize)| match (agreement, names.get(*field)) {
        (Some(one), Some(name)) => matching.weight(name, one.level, one.share),
        _ => 0.0,
    };
    case.agreements.iter().map(|agreements| agreements.iter().zip(&case.fields).map(weight).sum()).collect()
}

/// Counts each candidate's agreements by how likely it is the one that is meant, and gives how likely one of them is.
fn credit(case: &Case, matching: &Matching, names: &[&String], records: f64, meant: &mut Counts) -> f64 {
    let shares = match case.meant {
        None => matching.probabilities(&scores(case, matching, names), 0.0, records),
        Some(which) => (0..case.agreements.len()).map(|at| f64::from(u8::from(which == Some(at)))).collect(),
    };
    for (agreements, share) in case.agreements.iter().zip(&shares) {
        for (agreement, field) in agreements.iter().zip(&case.fields) {
            if let Some(agreement) = agreement {
                count(meant, *field, agreement.level, *share);
            }
        }
    }
    shares.iter().sum()
}

/// Everybody but those that are meant.
fn less(everybody: &Counts, meant: &Counts) -> Counts {
    let less = |(all, meant): (&f64, &f64)| (all - meant).max(0.0);
    everybody.iter().zip(meant).map(|(all, meant)| all.iter().zip(meant).map(less).collect()).collect()
}

fn set(matching: &mut Matching, names: &[&String], m: &Counts, u: &Counts) {
    let shares = |counts: &[f64], levels: usize| {
        let smooth: Vec<f64> =
            (0..levels).map(|level| counts.get(level).copied().unwrap_or(0.0) + SMOOTHING).collect();
        let sum: f64 = smooth.iter().sum();
        smooth.into_iter().map(|count| count / sum).collect::<Vec<f64>>()
    };
    for (name, (m, u)) in names.iter().zip(m.iter().zip(u)) {
        if let Some(field) = matching.fields.get_mut(*name) {
            let levels = field.kind.levels().len();
            field.u = shares(u, levels);
            field.m = ordered(&shares(m, levels), &field.u);
        }
    }
}

/// Shares `m` of which no worse level is worth more than a better one: neighbours that are the wrong way round are taken
/// together (pool adjacent violators, Ayer et al. 1955). Levels that hardly ever come would be worth anything.
fn ordered(m: &[f64], u: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (m, u) in m.iter().zip(u) {
        let mut pool = (*m, *u, 1);
        while let Some((before_m, before_u, count)) = pools.last().copied()
            && before_m * pool.1 < pool.0 * before_u
        {
            pool = (before_m + pool.0, before_u + pool.1, count + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    let ratios = pools.iter().flat_map(|(m, u, count)| std::iter::repeat_n(m / u, *count));
    ratios.zip(u).map(|(ratio, u)| ratio * u).collect()
}

fn change(before: &Matching, after: &Matching) -> f64 {
    let shares = |field: &FieldWeights| field.m.clone();
    let pairs = before.fields.values().flat_map(shares).zip(after.fields.values().flat_map(shares));
    pairs.map(|(a, b)| (a - b).abs()).fold((before.present - after.present).abs(), f64::max)
}

/// The factor of the bits with which the labels are likeliest (golden section search); never more than the bits say.
fn slope(cases: &[Case], matching: &Matching, names: &[&String], records: f64) -> f64 {
    let scored: Vec<(Vec<f64>, Option<usize>)> =
        cases.iter().filter_map(|case| Some((scores(case, matching, names), case.meant?))).collect();
    let unlikely = |slope: f64| {
        let matching = Matching { slope, fields: BTreeMap::new(), ..matching.clone() };
        let each = scored.iter().map(|(scores, meant)| {
            let shares = matching.probabilities(scores, 0.0, records);
            let likely = match meant {
                Some(at) => shares.get(*at).copied().unwrap_or(0.0),
                None => 1.0 - shares.iter().sum::<f64>(),
            };
            -likely.mul_add(1.0 - MISTAKEN, MISTAKEN * MISTAKEN).ln()
        });
        each.sum::<f64>()
    };
    let golden = (5_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.1, 1.0);
    for _ in 0..40 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if unlikely(a) < unlikely(b) { high = b } else { low = a }
    }
    f64::midpoint(low, high)
}

/// To six places, so that a file shows what was found.
fn round(matching: &mut Matching) {
    let six = |value: f64| ((value * 1e6).round() / 1e6).max(1e-6);
    for field in matching.fields.values_mut() {
        field.m.iter_mut().chain(&mut field.u).for_each(|share| *share = six(*share));
    }
    matching.present = six(matching.present).min(0.999_999);
    matching.slope = (matching.slope * 1e3).round() / 1e3;
}

#[cfg(test)]
mod tests {
    use super::super::agreement::Kind;
    use super::super::weights::Unit;
    use super::*;

    const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

    /// Records with four exact fields of twenty values each; a question errs in the first field one time in five and in
    /// the second one time in twenty.
    fn world(labels: bool) -> (Index, Vec<Example>) {
        let columns = FIELDS.map(|field| (field.to_owned(), Kind::Exact));
        let values = |n: usize| [n % 20, n / 20, (n * 7 + n / 20) % 20, (n * 11 + n / 20 * 3) % 20];
        let texts: Vec<Vec<String>> =
            (0..400).map(|n| values(n).iter().map(ToString::to_string).collect()).collect();
        let rows: Vec<Vec<Option<&str>>> =
            texts.iter().map(|row| row.iter().map(|text| Some(text.as_str())).collect()).collect();
        let index = Index::new(&columns, &rows);
        let examples = (0..2000_usize)
            .map(|n| {
                let row = n * 7919 % 400;
                let mut said = values(row);
                said[0] = if n % 5 == 0 { (said[0] + 1) % 20 } else { said[0] };
                said[1] = if n % 20 == 1 { (said[1] + 1) % 20 } else { said[1] };
                let one = |value: &usize| vec![Kind::Exact.said(&value.to_string()).unwrap()];
                let label = if labels { Label::Row(row as Row) } else { Label::Unknown };
                Example { question: said.iter().map(one).enumerate().collect(), label }
            })
            .collect();
        (index, examples)
    }

    fn start() -> Matching {
        let field = || FieldWeights { kind: Kind::Exact, ..FieldWeights::default() };
        Matching {
            unit: Unit::Record,
            identify: 0.9,
            candidates: 50,
            records: None,
            present: 0.9,
            slope: 1.0,
            fields: FIELDS.iter().map(|name| ((*name).to_owned(), field())).collect(),
        }
    }

    #[test]
    fn labels_give_the_shares_that_they_were_made_with() {
        let (index, examples) = world(true);
        let fitted = fit(&index, &examples, &start()).unwrap();
        assert_eq!(fitted.labelled, 2000);
        let field = |name: &str| &fitted.matching.fields[name];
        assert!((field("a").m[0] - 0.8).abs() < 0.01 && (field("b").m[0] - 0.95).abs() < 0.01);
        assert!((field("a").u[0] - 0.05).abs() < 0.01 && (field("b").u[0] - 0.05).abs() < 0.01);
        assert!(fitted.matching.estimated());
    }

    #[test]
    fn without_labels_the_better_field_is_worth_more() {
        let (index, examples) = world(false);
        let fitted = fit(&index, &examples, &start()).unwrap();
        let field = |name: &str| &fitted.matching.fields[name];
        assert!((field("a").m[0] - 0.8).abs() < 0.05 && (field("b").m[0] - 0.95).abs() < 0.05, "{fitted:?}");
        assert!(field("c").m[0] > 0.98 && field("a").u[0] < 0.1, "{fitted:?}");
        assert_eq!(fit(&index, &examples, &start()).unwrap(), fitted);
    }

    #[test]
    fn a_worse_level_is_never_worth_more() {
        let m = ordered(&[0.7, 0.1, 0.15, 0.05], &[0.01, 0.05, 0.04, 0.9]);
        let worth: Vec<f64> = m.iter().zip([0.01, 0.05, 0.04, 0.9]).map(|(m, u)| m / u).collect();
        assert!(worth.windows(2).all(|pair| pair[0] >= pair[1] - 1e-12), "{worth:?}");
        assert!((m.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((worth[1] - worth[2]).abs() < 1e-12 && (m[0] - 0.7).abs() < 1e-12);
    }

    #[test]
    fn what_is_missing_is_told() {
        let (index, examples) = world(true);
        assert!(fit(&index, &[], &start()).unwrap_err().contains("no questions"));
        let mut other = start();
        other.fields = BTreeMap::from([("other".to_owned(), FieldWeights::default())]);
        assert!(fit(&index, &examples, &other).unwrap_err().contains("[matching.fields]"));
    }
}
