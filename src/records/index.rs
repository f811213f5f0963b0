//! Records in memory, found by values that may be garbled. Each field has several keys to each of its values (pieces
//! of the string, its sound, two parts of a date), so that no single slip loses the record; what the keys bring up is
//! compared in full, and the weights of all fields meet at the records.

use super::agreement::{Kept, Kind, Level, Said, fold};
use super::weights::Matching;
use std::cell::RefCell;
use std::collections::HashMap;

/// Values of a field that are compared in full for each value that was said.
const COMPARED: usize = 48;
/// Entries of lists of keys that are counted for a said value, the shortest lists first: what most values share tells
/// them apart least.
const KEYED: usize = 40_000;
/// The same for lists of records that have a value.
const HELD: usize = 200_000;
/// For each record that is told so many are scored in all fields.
const SPARE: usize = 4;

/// So many that are first together are compared in every value.
const IN_FULL: usize = 20;

/// A record's number, from 0.
pub type Row = u32;

pub struct Index {
    columns: Vec<Column>,
    rows: usize,
}

/// All values of one field.
struct Column {
    field: String,
    kind: Kind,
    /// The distinct values.
    values: Vec<Kept>,
    /// For each value the rows that have it.
    holders: Lists,
    /// For each key the values that have it.
    keyed: Lists,
    keys: HashMap<u64, u32>,
    /// For each row its value, or `NONE`.
    of: Vec<u32>,
}

const NONE: u32 = u32::MAX;

/// Lists one after the other.
#[derive(Default)]
struct Lists {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// `pairs` of list and item; items keep their order.
    fn new(count: usize, pairs: &[(u32, u32)]) -> Self {
        let mut starts = vec![0_u32; count + 1];
        for (list, _) in pairs {
            if let Some(start) = starts.get_mut(*list as usize + 1) {
                *start += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut items = vec![0; pairs.len()];
        for (list, item) in pairs {
            if let Some(at) = next.get_mut(*list as usize) {
                if let Some(place) = items.get_mut(*at as usize) {
                    *place = *item;
                }
                *at += 1;
            }
        }
        Self { starts, items }
    }

    fn of(&self, list: u32) -> &[u32] {
        let list = list as usize;
        let range = self.starts.get(list).zip(self.starts.get(list + 1));
        range.and_then(|(from, to)| self.items.get(*from as usize..*to as usize)).unwrap_or_default()
    }
}

/// How a record agrees with what was said of one field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Agreement {
    /// Which of the field's said values agrees best, from 0.
    pub said: usize,
    pub level: Level,
    /// The share of the records with the record's value.
    pub share: f64,
}

/// A record that something brought up.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    pub row: Row,
    /// By field of the question; `None` where the record has no value.
    pub agreements: Vec<Option<Agreement>>,
    pub score: f64,
}

/// Values of a column that agree with something said, sorted: value, which said value, how well.
type Near = Vec<(u32, usize, Level)>;

/// What was said: fields of the index with all values that each may have.
pub type Question = Vec<(usize, Vec<Said>)>;

impl Index {
    /// `rows` hold a text, or none, for every column.
    pub fn new(columns: &[(String, Kind)], rows: &[Vec<Option<&str>>]) -> Self {
        let column = |(at, (field, kind)): (usize, &(String, Kind))| {
            let texts = rows.iter().map(|row| row.get(at).copied().flatten());
            Column::new(field, *kind, texts)
        };
        Self { columns: columns.iter().enumerate().map(column).collect(), rows: rows.len() }
    }

    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// What a record has in a column.
    pub fn value(&self, column: usize, row: Row) -> Option<&Kept> {
        let column = self.columns.get(column)?;
        column.values.get(*column.of.get(row as usize)? as usize)
    }

    /// Where a field's column is, and what kind it is of.
    pub fn column(&self, field: &str) -> Option<(usize, Kind)> {
        let at = self.columns.iter().position(|column| column.field == field)?;
        self.columns.get(at).map(|column| (at, column.kind))
    }

    /// Finds the values that what was said may mean, once for all records.
    pub fn ask<'a>(&'a self, question: &'a Question) -> Asked<'a> {
        let near = question.iter().filter_map(|(at, said)| {
            let column = self.columns.get(*at)?;
            Some(Part { near: column.near(said), said, column })
        });
        Asked { index: self, near: near.collect() }
    }

    /// The best records, best first, ties at the top by what no key brought up, others by row; a record that agrees in
    /// nothing is not among them.
    pub fn search(&self, question: &Question, matching: &Matching, room: usize) -> Vec<Found> {
        self.ask(question).best(matching, room)
    }

    fn share(&self, holders: &[u32]) -> f64 {
        holders.len() as f64 / self.rows.max(1) as f64
    }
}

/// A question held against the values of an index.
pub struct Asked<'a> {
    index: &'a Index,
    near: Vec<Part<'a>>,
}

/// One field of a question.
struct Part<'a> {
    near: Near,
    said: &'a [Said],
    column: &'a Column,
}

impl Asked<'_> {
    fn best(&self, matching: &Matching, room: usize) -> Vec<Found> {
        let mut lists: Vec<(&[u32], f32)> = Vec::new();
        for Part { near, column, .. } in &self.near {
            let Some(field) = matching.fields.get(&column.field) else { continue };
            for (value, _, level) in near {
                let holders = column.holders.of(*value);
                let weight = field.weight(*level, self.index.share(holders));
                if weight > 0.0 {
                    lists.push((holders, (weight - field.disagrees()) as f32));
                }
            }
        }
        let best = Tally::best(self.index.rows, lists, HELD, room.saturating_mul(SPARE));
        let found = |row, agreements: Vec<Option<Agreement>>| {
            let parts = agreements.iter().zip(&self.near);
            let weight = |(agreement, part): (&Option<Agreement>, &Part<'_>)| {
                let weight = |one: &Agreement| matching.weight(&part.column.field, one.level, one.share);
                agreement.as_ref().map_or(0.0, weight)
            };
            Found { row, score: parts.map(weight).sum(), agreements }
        };
        let by_score = |a: &Found, b: &Found| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row));
        let mut all: Vec<Found> = best.into_iter().map(|row| found(row, self.agreements(row))).collect();
        all.sort_by(by_score);
        all.truncate(room);
        // What no key brought up may still be alike: it decides between records that are first together.
        let first = all.first().map_or(0.0, |one| one.score);
        let tied = all.iter().take(IN_FULL).take_while(|one| (one.score - first).abs() < 1e-9).count();
        if tied > 1 {
            let mut full: Vec<(f64, Found)> =
                all.drain(..tied).map(|one| (found(one.row, self.in_full(&one)).score, one)).collect();
            full.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.row.cmp(&y.row)));
            all.splice(..0, full.into_iter().map(|(_, one)| one));
        }
        all
    }

    /// How a record agrees in each field of the question, as far as keys brought its values up.
    pub fn agreements(&self, row: Row) -> Vec<Option<Agreement>> {
        let agreement = |Part { near, column, .. }: &Part<'_>| {
            let value = column.of.get(row as usize).copied().filter(|value| *value != NONE)?;
            let worst = (column.kind.levels().len() - 1) as Level;
            let known = near.binary_search_by_key(&value, |near| near.0).ok().and_then(|at| near.get(at));
            let (said, level) = known.map_or((0, worst), |(_, said, level)| (*said, *level));
            Some(Agreement { said, level, share: self.index.share(column.holders.of(value)) })
        };
        self.near.iter().map(agreement).collect()
    }

    /// The same with the values compared that no key brought up. Weights were not estimated for such agreements, so they
    /// order records and count for nothing else.
    fn in_full(&self, found: &Found) -> Vec<Option<Agreement>> {
        let agreement = |(Part { said, column, .. }, known): (&Part<'_>, &Option<Agreement>)| {
            let known = (*known)?;
            if usize::from(known.level) + 1 < column.kind.levels().len() {
                return Some(known);
            }
            let kept = column.values.get(*column.of.get(found.row as usize)? as usize)?;
            let levels = said.iter().enumerate().map(|(at, one)| (one.level(kept), at));
            let (level, said) = levels.min()?;
            Some(Agreement { said, level: level.min(known.level), ..known })
        };
        self.near.iter().zip(&found.agreements).map(agreement).collect()
    }

    /// For each field of the question how many records agree at which level; levels may come several times.
    pub fn levels(&self) -> Vec<Vec<(Level, usize)>> {
        let of = |Part { near: values, column, .. }: &Part<'_>| {
            let mut levels: Vec<(Level, usize)> =
                values.iter().map(|(value, _, level)| (*level, column.holders.of(*value).len())).collect();
            let near: usize = levels.iter().map(|(_, rows)| rows).sum();
            levels.push(((column.kind.levels().len() - 1) as Level, column.holders.items.len() - near));
            levels
        };
        self.near.iter().map(of).collect()
    }

    /// The fields of the question, in the order of the agreements.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.near.iter().map(|part| part.column.field.as_str())
    }
}

impl Column {
    fn new<'a>(field: &str, kind: Kind, texts: impl Iterator<Item = Option<&'a str>>) -> Self {
        let (mut values, mut of, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for text in texts {
            let at = text.and_then(|text| {
                // What differs in case alone is one value, and as common as all of them together.
                let folded = fold::plain(text);
                if let Some(at) = seen.get(&folded) {
                    return Some(*at);
                }
                values.push(kind.kept(text)?);
                seen.insert(folded, values.len() as u32 - 1);
                Some(values.len() as u32 - 1)
            });
            of.push(at.unwrap_or(NONE));
        }
        let held: Vec<(u32, u32)> = of
            .iter()
            .zip(0..)
            .filter(|(value, _)| **value != NONE)
            .map(|(value, row)| (*value, row))
            .collect();
        let holders = Lists::new(values.len(), &held);
        let (mut keys, mut pairs) = (HashMap::new(), Vec::new());
        for (value, kept) in values.iter().enumerate() {
            for key in kept.keys() {
                let next = keys.len() as u32;
                pairs.push((*keys.entry(key).or_insert(next), value as u32));
            }
        }
        let keyed = Lists::new(keys.len(), &pairs);
        Self { field: field.to_owned(), kind, values, holders, keyed, keys, of }
    }

    /// Values that agree with something that was said better than not at all, with what and how well.
    fn near(&self, said: &[Said]) -> Near {
        let worst = (self.kind.levels().len() - 1) as Level;
        let mut near: HashMap<u32, (usize, Level)> = HashMap::new();
        let all = self.values.len().max(1) as f32;
        for (at, one) in said.iter().enumerate() {
            let lists = one.keys().into_iter().filter_map(|key| {
                let values = self.keyed.of(*self.keys.get(&key)?);
                Some((values, 0.1 - (values.len() as f32 / all).log2()))
            });
            for value in Tally::best(self.values.len(), lists.collect(), KEYED, COMPARED) {
                let Some(kept) = self.values.get(value as usize) else { continue };
                let level = one.level(kept);
                let known = near.get(&value).map_or(worst, |(_, level)| *level);
                if level < known {
                    near.insert(value, (at, level));
                }
            }
        }
        let mut near: Near = near.into_iter().map(|(value, (said, level))| (value, said, level)).collect();
        near.sort_unstable();
        near
    }
}

/// Adds up what lists say about items; kept by each thread, because clearing a million sums costs more than a search.
#[derive(Default)]
struct Tally {
    sums: Vec<f32>,
    touched: Vec<u32>,
}

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::default();
}

impl Tally {
    /// The items with the greatest sums, in any order but always the same; ties by item. Lists are taken from the
    /// shortest on until `budget` entries were added.
    fn best(items: usize, mut lists: Vec<(&[u32], f32)>, mut budget: usize, room: usize) -> Vec<u32> {
        lists.sort_by_key(|(list, _)| list.len());
        let mut tally = TALLY.take();
        if tally.sums.len() < items {
            tally.sums.resize(items, 0.0);
        }
        for (list, gain) in lists {
            if list.len() > budget {
                break;
            }
            budget -= list.len();
            for item in list {
                if let Some(sum) = tally.sums.get_mut(*item as usize) {
                    if *sum == 0.0 {
                        tally.touched.push(*item);
                    }
                    *sum += gain;
                }
            }
        }
        let sum = |item: &u32| tally.sums.get(*item as usize).copied().unwrap_or(0.0);
        let mut best = std::mem::take(&mut tally.touched);
        let by_sum = |a: &u32, b: &u32| sum(b).total_cmp(&sum(a)).then(a.cmp(b));
        if best.len() > room && room > 0 {
            best.select_nth_unstable_by(room - 1, by_sum);
        }
        let chosen: Vec<u32> = best.iter().take(room).copied().collect();
        for item in best.drain(..) {
            if let Some(sum) = tally.sums.get_mut(item as usize) {
                *sum = 0.0;
            }
        }
        tally.touched = best;
        TALLY.set(tally);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::{FieldWeights, Unit};
    use super::*;

    fn matching() -> Matching {
        let field = |kind: Kind| {
            let levels = kind.levels().len();
            let share = |top: f64, at: usize| if at == 0 { top } else { (1.0 - top) / (levels - 1) as f64 };
            let m = (0..levels).map(|at| share(0.8, at)).collect();
            let mut u: Vec<f64> = (0..levels).map(|at| 0.01 / (1 << (levels - at)) as f64).collect();
            u[levels - 1] = 0.99;
            FieldWeights { kind, rarity: false, m, u }
        };
        let kinds = [("last_name", Kind::Name), ("date_of_birth", Kind::Date), ("account", Kind::Identifier)];
        Matching {
            unit: Unit::Record,
            identify: 0.9,
            candidates: 50,
            records: None,
            present: 0.9,
            slope: 1.0,
            fields: kinds.into_iter().map(|(name, kind)| (name.to_owned(), field(kind))).collect(),
        }
    }

    fn index() -> Index {
        let columns: Vec<(String, Kind)> =
            matching().fields.iter().map(|(name, field)| (name.clone(), field.kind)).collect();
        // account, date_of_birth, last_name
        let rows = [
            vec![Some("ABC01234"), Some("1980-03-04"), Some("Müller")],
            vec![Some("ABC01299"), Some("1980-03-04"), Some("Meyer")],
            vec![Some("XYZ55555"), None, Some("Schmidt-Müller")],
            vec![Some("QRS77777"), Some("1955-12-30"), Some("Nowak")],
        ];
        Index::new(&columns, &rows)
    }

    fn ask(index: &Index, said: &[(&str, &str)]) -> Question {
        said.iter()
            .map(|(field, value)| {
                let (column, kind) = index.column(field).unwrap();
                (column, vec![kind.said(value).unwrap()])
            })
            .collect()
    }

    #[test]
    fn no_single_garbled_field_loses_the_record() {
        let index = index();
        for said in [
            [("account", "ABCO1234"), ("date_of_birth", "4.3.1980"), ("last_name", "Mueller")],
            [("account", "nonsense"), ("date_of_birth", "4.3.1980"), ("last_name", "Müller")],
            [("account", "ABC01234"), ("date_of_birth", "5.3.1980"), ("last_name", "Quark")],
            [("account", "ABC0124"), ("date_of_birth", "1.1.1901"), ("last_name", "Möller")],
        ] {
            let found = index.search(&ask(&index, &said), &matching(), 10);
            assert_eq!(found[0].row, 0, "{said:?}: {found:?}");
        }
    }

    #[test]
    fn a_record_without_a_value_loses_nothing_by_it() {
        let index = index();
        let question = ask(&index, &[("account", "XYZ55555"), ("date_of_birth", "1.1.1970")]);
        let found = index.search(&question, &matching(), 10);
        assert_eq!(found[0].row, 2);
        assert_eq!(found[0].agreements[1], None);
        assert!(index.search(&ask(&index, &[("account", "00")]), &matching(), 10).is_empty());
    }

    #[test]
    fn the_score_is_the_sum_of_the_fields_and_the_same_every_time() {
        let (index, matching) = (index(), matching());
        let question = ask(&index, &[("account", "ABC01234"), ("last_name", "Muller")]);
        let found = index.search(&question, &matching, 10);
        for one in &found {
            let fields = ["account", "last_name"].iter().zip(&one.agreements);
            let sum: f64 = fields
                .filter_map(|(field, one)| Some(matching.weight(field, one.as_ref()?.level, 0.0)))
                .sum();
            assert!((sum - one.score).abs() < 1e-9);
        }
        for _ in 0..5 {
            assert_eq!(index.search(&question, &matching, 10), found);
        }
        assert_eq!(index.search(&question, &matching, 1), found[..1]);
    }
}
