//! The look-up: one query per value to each source, all at once, and what the verified customer may read.

use super::ask::{self, Ask};
use super::error::{ReadError, RecordsError, SourceError};
use super::facts::{Basis, Candidate, Facts, Match, Record, Relation, SourceReport, SourceStatus};
use super::identity::{self, Customer};
use super::matching::{self, Compared, Indexed};
use super::score::{Hit, candidates, select};
use super::settings::LookupSettings;
use super::source::{Entry, Hits, Query, Source};
use super::weights::{Matching, Unit};
use crate::base::grants::ReadGrant;
use crate::base::{Clock, CustomerId, RecordId, Timestamp};
use futures::StreamExt;
use futures::future::join_all;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Values, variants included, by field id.
pub type Fields = BTreeMap<String, Vec<String>>;

/// So many records a source counts as having that does not say how many.
const UNKNOWN: u64 = 1_000_000;

/// The levels at which a field that identifies an account by itself does so: equal, but for what is easily mistaken.
const CLOSE: usize = 2;

/// A longer value is no value of any field.
const LONGEST_VALUE: usize = 200;

/// One line of `prokura lookup --input`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub id: String,
    pub fields: Fields,
    /// For `prokura lookup fit`: the record that is meant, or `null` where none is. A look-up pays no heed to it.
    #[serde(default, deserialize_with = "said")]
    pub record: Option<Option<RecordId>>,
}

/// Tells `null` from a member that is not there.
fn said<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<RecordId>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Question {
    /// `line` is the line's number, for the error, which does not repeat the content.
    pub fn parse(text: &str, line: usize) -> Result<Self, RecordsError> {
        serde_json::from_str(text).map_err(|error| {
            let reason = match error.classify() {
                serde_json::error::Category::Data => format!("another form at column {}", error.column()),
                _ => format!("not JSON at column {}", error.column()),
            };
            RecordsError::Question { line, reason }
        })
    }
}

/// Looks up in all sources with one set of weights.
pub struct Lookup {
    settings: LookupSettings,
    /// In the order in which a record is looked for.
    sources: Vec<Arc<dyn Source>>,
    clock: Arc<dyn Clock>,
    /// Comparing keeps a core busy: no more at the same time than there are cores.
    comparing: Arc<Semaphore>,
}

/// What one source said.
enum Answered {
    /// Which records have a value.
    Listed(Vec<Hit>),
    Compared(Vec<Compared>),
}

impl Answered {
    fn hits(self) -> Vec<Hit> {
        match self {
            Self::Listed(hits) => hits,
            Self::Compared(_) => vec![],
        }
    }
}

impl Lookup {
    pub fn new(settings: LookupSettings, sources: Vec<Arc<dyn Source>>, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { settings, sources, clock, comparing: Arc::new(Semaphore::new(cores)) }
    }

    pub const fn settings(&self) -> &LookupSettings {
        &self.settings
    }

    /// Reads what sources hold in memory. Who asks once and goes waits for it.
    pub async fn reload(&self) {
        join_all(self.sources.iter().map(|source| source.reload())).await;
    }

    /// The same at once and then again and again, beside everything else, as long as the look-up is there.
    pub fn keep_loaded(&self) {
        for source in &self.sources {
            let source = Arc::downgrade(source);
            tokio::spawn(async move {
                while let Some(source) = source.upgrade() {
                    let Some(pause) = source.reload().await else { return };
                    drop(source);
                    tokio::time::sleep(pause).await;
                }
            });
        }
    }

    /// Forgets what was fetched before: somebody's data were erased.
    pub fn forget(&self) {
        self.sources.iter().for_each(|source| source.forget());
    }

    /// The records of the first source that is indexed here.
    pub fn indexed(&self) -> Option<Arc<Indexed>> {
        self.sources.iter().find_map(|source| source.indexed())
    }

    /// As `find`, for somebody whom nobody verified: it takes the same time whether there is such a record or not, and
    /// what a source has not said by then is left out.
    pub async fn find_evenly(&self, id: &str, fields: &Fields) -> Facts {
        let until = Instant::now() + Duration::from_millis(self.settings.unverified_ms);
        let facts = self.find_until(id, fields, until.min(self.deadline())).await;
        tokio::time::sleep_until(until).await;
        facts
    }

    /// Scores only: who asks plays no part, and no record is read.
    pub async fn find(&self, id: &str, fields: &Fields) -> Facts {
        self.find_until(id, fields, self.deadline()).await
    }

    async fn find_until(&self, id: &str, fields: &Fields, deadline: Instant) -> Facts {
        let matching = self.settings.matching.as_ref().filter(|matching| matching.estimated());
        let (queries, dropped) = self.queries(fields);
        let asked = self.sources.iter().map(|source| async {
            match (matching, source.indexed()) {
                (Some(matching), Some(indexed)) => {
                    self.compare(source.as_ref(), indexed, fields, matching, deadline).await
                }
                _ => {
                    let (hits, report) = self.search(source.as_ref(), &queries, dropped, deadline).await;
                    (Answered::Listed(hits), report)
                }
            }
        });
        let mut answers = Vec::new();
        let mut sources = Vec::new();
        for (answered, report) in join_all(asked).await {
            answers.push(answered);
            sources.extend(report);
        }
        let (candidates, selected) = match matching {
            None => {
                let candidates =
                    candidates(&answers.into_iter().flat_map(Answered::hits).collect::<Vec<_>>());
                let selected = select(&candidates, self.settings.threshold);
                (candidates, selected)
            }
            Some(matching) => {
                let candidates = self.matched(answers, matching);
                let selected = matching::select(&candidates, matching, self.settings.max_records);
                (candidates, selected)
            }
        };
        let ask = self.ask(&candidates, &selected);
        Facts { id: id.to_owned(), candidates, selected, sources, ask, ..Facts::default() }
    }

    /// What to ask where several records of one source that is indexed here are selected.
    fn ask(&self, candidates: &[Candidate], selected: &[RecordId]) -> Option<Ask> {
        let indexed = self.sources.iter().filter_map(|source| source.indexed());
        let indexed: Vec<_> =
            indexed.filter(|there| selected.iter().all(|id| there.row(id).is_some())).collect();
        let weight = |id: &RecordId| {
            let found = candidates.iter().find(|candidate| candidate.id == *id);
            found.and_then(|candidate| candidate.probability).unwrap_or(1.0)
        };
        let weights: Vec<f64> = selected.iter().map(weight).collect();
        let values = self.settings.ask.iter().filter_map(|field| {
            let of = indexed.iter().find_map(|there| there.numbered(field, selected))?;
            Some((field.as_str(), of))
        });
        ask::best(&weights, values).filter(|_| selected.len() > 1)
    }

    /// What a source that is indexed here says. The comparing keeps a core busy, so it has a thread of its own.
    async fn compare(
        &self,
        source: &dyn Source,
        indexed: Arc<Indexed>,
        fields: &Fields,
        matching: &Matching,
        deadline: Instant,
    ) -> (Answered, Option<SourceReport>) {
        let start = Instant::now();
        let (fields, incomplete) = self.capped(fields);
        let (name, matching) = (source.name().to_owned(), matching.clone());
        let mut tally =
            Tally { incomplete, stale: indexed.stale(), cached_at: indexed.read_at, ..Tally::default() };
        let slots = Arc::clone(&self.comparing);
        let comparing = async {
            // The slot is free when the thread is, even if nobody waits for it any more.
            let slot = slots.acquire_owned().await.map_err(|_| SourceError::Refused)?;
            let compare = move || (indexed.compare(&name, &fields, &matching), drop(slot)).0;
            tokio::task::spawn_blocking(compare).await.map_err(|_| SourceError::Refused)
        };
        let compared =
            tokio::time::timeout_at(deadline, comparing).await.unwrap_or(Err(SourceError::TimedOut));
        tally.add(&[], compared.as_ref().err());
        let report = tally.report(source.name(), start.elapsed());
        (Answered::Compared(compared.unwrap_or_default()), Some(report))
    }

    /// No more values than `max_queries`, each field's first ones first, and whether some had to be left out.
    fn capped(&self, fields: &Fields) -> (Fields, bool) {
        let known = |field: &&String| self.settings.kinds().contains_key(*field);
        let fields: Fields = fields
            .keys()
            .filter(known)
            .filter_map(|field| Some((field.clone(), fields.get(field)?.clone())))
            .collect();
        if fields.values().map(Vec::len).sum::<usize>() <= self.settings.max_queries {
            return (fields, false);
        }
        let most = (self.settings.max_queries / fields.len().max(1)).max(1);
        let dropped = fields.values().any(|values| values.len() > most);
        let first = |values: &Vec<String>| values.iter().take(most).cloned().collect();
        (fields.iter().map(|(field, values)| (field.clone(), first(values))).collect(), dropped)
    }

    /// The candidates of all sources, by how well they agree.
    fn matched(&self, answers: Vec<Answered>, matching: &Matching) -> Vec<Candidate> {
        let rows: Vec<usize> = self
            .sources
            .iter()
            .filter_map(|source| source.indexed())
            .map(|indexed| indexed.ids.len())
            .collect();
        // Nobody is taken for found by a common name because it is not known how many there are.
        let unknown = matching.records.unwrap_or(if rows.len() < self.sources.len() { UNKNOWN } else { 0 });
        let records = rows.into_iter().max().map_or(0, |rows| rows as u64).max(unknown);
        let mut compared = Vec::new();
        for (answer, source) in answers.into_iter().zip(&self.sources) {
            match answer {
                Answered::Compared(found) => compared.extend(found),
                Answered::Listed(hits) => compared.extend(matching::listed(source.name(), &hits, matching)),
            }
        }
        matching::candidates(compared, matching, records as f64, &self.settings.person)
    }

    /// Whether one of the given fields identifies an account by itself.
    pub fn identifies(&self, fields: &Fields) -> bool {
        fields.iter().any(|(field, values)| {
            self.settings.identifies(field) && values.iter().any(|value| usable(value).is_some())
        })
    }

    /// Fills `facts.records` with those selected records that the grant's customer owns or is registered
    /// to act for, as the records themselves say; of all others nothing is given. When no given field
    /// identifies an account by itself, the customer's own accounts are selected instead.
    pub async fn read(&self, grant: &ReadGrant, facts: &mut Facts, fields: &Fields) {
        let customer = grant.customer();
        let mut sums = Sums::default();
        let by_customer =
            self.settings.matching.as_ref().is_some_and(|matching| matching.unit == Unit::Customer);
        let by_identity = !self.identifies(fields);
        let deadline = self.deadline();
        let wanted = if by_identity || by_customer {
            self.accounts_of(customer, &mut sums, deadline).await
        } else {
            self.identified(facts)
        };
        let wanted: Vec<RecordId> = wanted.into_iter().take(self.settings.max_records).collect();
        let entries: Vec<_> = futures::stream::iter(wanted)
            .map(|id| async move { self.entry(&id, deadline).await })
            .buffered(self.settings.parallel)
            .collect()
            .await;
        let mut read: Vec<(String, Record)> = Vec::new();
        for (entry, asked) in entries {
            let source = asked.last().map_or_else(String::new, |asked| asked.source.clone());
            sums.add_all(asked);
            read.extend(entry.and_then(|entry| Some((source, self.record(customer, entry)?))));
        }
        facts.records = read.iter().map(|(_, record)| record.clone()).collect();
        if by_customer && !by_identity {
            // The message names an account: the customer's others are not meant.
            facts.records.retain(|record| self.named(record, fields));
            facts.selected = facts.records.iter().map(|record| record.id.clone()).collect();
        }
        if by_identity {
            facts.records.retain(|record| record.relation == Relation::Owner);
            facts.selected = facts.records.iter().map(|record| record.id.clone()).collect();
            facts.basis = Basis::Identity;
        }
        facts.ask = self.ask_among(&facts.records);
        if !self.settings.person.is_empty() && self.sources.len() > 1 {
            facts.customer = Some(self.customer(customer, read, &mut sums, deadline).await);
        }
        sums.into_reports(&mut facts.sources);
    }

    /// Whether a record has what was said of a field that identifies an account by itself.
    fn named(&self, record: &Record, fields: &Fields) -> bool {
        fields.iter().filter(|(field, _)| self.settings.identifies(field)).any(|(field, values)| {
            let kind = self.settings.kinds().get(field).copied().unwrap_or_default();
            let kept =
                record.fields.get(field).and_then(serde_json::Value::as_str).and_then(|text| kind.kept(text));
            let agrees = |value: &String| {
                usable(value).and_then(|value| kind.said(value)).zip(kept.as_ref()).is_some_and(
                    |(said, kept)| usize::from(said.level(kept)) < CLOSE.min(kind.levels().len() - 1),
                )
            };
            values.iter().any(agrees)
        })
    }

    /// What to ask a customer of whose records several are left.
    fn ask_among(&self, records: &[Record]) -> Option<Ask> {
        let values = self.settings.ask.iter().map(|field| {
            (field.as_str(), ask::numbered(records.iter().map(|record| record.fields.get(field))))
        });
        ask::best(&vec![1.0; records.len()], values)
    }

    /// The customer's own records, each as every source that lists it has it, in one view.
    /// `read` are those that were read already, with their sources.
    async fn customer(
        &self,
        customer: &CustomerId,
        read: Vec<(String, Record)>,
        sums: &mut Sums,
        deadline: Instant,
    ) -> Customer {
        let known = &read;
        let asked = self.sources.iter().map(|source| async move {
            let (start, source) = (Instant::now(), source.as_ref());
            let listed = within(source, deadline, source.accounts_of(customer)).await;
            let mut tally = Tally::default();
            tally.add(listed.as_ref().map_or(&[][..], std::slice::from_ref), listed.as_ref().err());
            let mut ids = listed.unwrap_or_default().ids;
            ids.retain(|id| !known.iter().any(|(name, record)| name == source.name() && record.id == *id));
            tally.incomplete |= ids.len() > self.settings.max_records;
            ids.truncate(self.settings.max_records);
            let entries: Vec<_> = futures::stream::iter(ids)
                .map(|id| async move { within(source, deadline, source.entry(&id)).await })
                .buffered(self.settings.parallel)
                .collect()
                .await;
            let mut records = Vec::new();
            for entry in entries {
                tally.add(&[], entry.as_ref().err());
                let record = entry.unwrap_or_default().and_then(|entry| self.record(customer, entry));
                records.extend(record.map(|record| (source.name().to_owned(), record)));
            }
            (source.name(), records, tally, start.elapsed())
        });
        let mut all = Vec::new();
        for (name, records, tally, took) in join_all(asked).await {
            sums.of(name, took).merge(tally);
            all.extend(records);
        }
        all.extend(read);
        all.retain(|(_, record)| record.relation == Relation::Owner);
        all.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.id.cmp(&y.id)));
        identity::customer(customer, &all, &self.settings.person)
    }

    /// The selected records that match a field which identifies an account by itself: names and a branch that
    /// happen to fit do not make up for an account number that does not.
    fn identified(&self, facts: &Facts) -> Vec<RecordId> {
        let fits = |id: &RecordId| {
            let found = facts.candidates.iter().find(|candidate| candidate.id == *id);
            found.is_some_and(|found| found.matched.iter().any(|matched| self.close(matched)))
        };
        facts.selected.iter().filter(|id| fits(id)).cloned().collect()
    }

    /// Whether a match of a field that identifies an account by itself is close enough to do so.
    fn close(&self, matched: &Match) -> bool {
        let kind = self.settings.kinds().get(&matched.field).copied().unwrap_or_default();
        let levels = kind.levels().iter().take(CLOSE.min(kind.levels().len() - 1));
        let close = |words: &String| levels.clone().any(|level| level == words);
        self.settings.identifies(&matched.field) && matched.agreement.as_ref().is_none_or(close)
    }

    /// Reads one record again, for a check on fresh facts just before a call.
    pub async fn refresh(&self, grant: &ReadGrant, id: &RecordId) -> Result<Record, ReadError> {
        let (entry, asked) = self.entry(id, self.deadline()).await;
        match entry {
            Some(entry) => self.record(grant.customer(), entry).ok_or(ReadError::NotTheirs),
            None if asked.iter().all(|asked| asked.failed.is_none()) => Err(ReadError::NotTheirs),
            None => {
                let mut sums = Sums::default();
                sums.add_all(asked);
                let mut reports = Vec::new();
                sums.into_reports(&mut reports);
                Err(ReadError::Unavailable(reports))
            }
        }
    }

    /// Every distinct value of a weighted field, the heaviest fields first, and whether some had to be
    /// left out.
    fn queries(&self, fields: &Fields) -> (Vec<Query>, bool) {
        let matching = self.settings.matching.as_ref();
        let weighed = |field: &str| matching.is_some_and(|matching| matching.fields.contains_key(field));
        let weight = |field: &str| self.settings.weight(field).or_else(|| weighed(field).then_some(0));
        let mut seen = BTreeSet::new();
        let mut queries = Vec::new();
        for (field, values) in fields.iter().filter(|(field, _)| weight(field).is_some()) {
            for value in values.iter().filter_map(|value| usable(value)) {
                if seen.insert((field, value)) {
                    queries.push(Query { field: field.clone(), value: value.to_owned() });
                }
            }
        }
        queries.sort_by(|a, b| weight(&b.field).cmp(&weight(&a.field)).then_with(|| a.field.cmp(&b.field)));
        let dropped = queries.len() > self.settings.max_queries;
        queries.truncate(self.settings.max_queries);
        (queries, dropped)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.settings.deadline_ms)
    }

    /// All queries that one source can answer, some at a time. No report when there is none.
    async fn search(
        &self,
        source: &dyn Source,
        queries: &[Query],
        dropped: bool,
        deadline: Instant,
    ) -> (Vec<Hit>, Option<SourceReport>) {
        let start = Instant::now();
        let fitting: Vec<Query> =
            queries.iter().filter(|query| source.searches(&query.field)).cloned().collect();
        if fitting.is_empty() {
            return (vec![], None);
        }
        let requests: Vec<Vec<Query>> =
            fitting.chunks(source.at_once().max(1)).map(<[Query]>::to_vec).collect();
        let answers: Vec<_> = futures::stream::iter(requests)
            .map(|queries| async move {
                let found = within(source, deadline, source.find(&queries)).await;
                (queries, found)
            })
            .buffered(self.settings.parallel)
            .collect()
            .await;
        let mut hits = Vec::new();
        let mut tally = Tally { incomplete: dropped, ..Tally::default() };
        for (queries, found) in answers {
            tally.add(found.as_deref().unwrap_or_default(), found.as_ref().err());
            for (Query { field, value }, found) in queries.into_iter().zip(found.unwrap_or_default()) {
                let weight = self.settings.weight(&field).unwrap_or(0);
                hits.push(Hit { field, value, weight, ids: found.ids, more: found.more });
            }
        }
        (hits, Some(tally.report(source.name(), start.elapsed())))
    }

    /// The accounts that the sources list for a customer, sorted. What they are to the customer is read
    /// from each record, not from this list.
    async fn accounts_of(&self, customer: &CustomerId, sums: &mut Sums, deadline: Instant) -> Vec<RecordId> {
        let asked = self.sources.iter().map(|source| async move {
            let start = Instant::now();
            let found = within(source.as_ref(), deadline, source.accounts_of(customer)).await;
            (source.name(), found, start.elapsed())
        });
        let mut ids = BTreeSet::new();
        for (name, found, took) in join_all(asked).await {
            let hits = found.as_ref().map_or(&[][..], std::slice::from_ref);
            sums.of(name, took).add(hits, found.as_ref().err());
            ids.extend(found.unwrap_or_default().ids);
        }
        ids.into_iter().collect()
    }

    /// The record from the first source that has it, and which sources were asked.
    async fn entry(&self, id: &RecordId, deadline: Instant) -> (Option<Entry>, Vec<Asked>) {
        let mut asked = Vec::new();
        for source in self.sources.iter().filter(|source| source.may_have(id)) {
            let start = Instant::now();
            let found = within(source.as_ref(), deadline, source.entry(id)).await;
            asked.push(Asked {
                source: source.name().to_owned(),
                failed: found.as_ref().err().copied(),
                took: start.elapsed(),
            });
            match found {
                Ok(Some(entry)) if entry.id == *id => return (Some(entry), asked),
                // A source that fails may be the one that would have the record: a later one does not
                // stand in for it.
                Err(_) => break,
                Ok(_) => {}
            }
        }
        (None, asked)
    }

    /// The record as the customer may have it, or nothing.
    fn record(&self, customer: &CustomerId, entry: Entry) -> Option<Record> {
        let relation = if entry.owner == *customer {
            Relation::Owner
        } else if entry.authorised.contains(customer) {
            Relation::Authorised
        } else {
            return None;
        };
        Some(Record {
            id: entry.id,
            owner: entry.owner,
            relation,
            fields: entry.fields,
            notes: entry.notes,
            read_at: self.clock.now(),
        })
    }
}

pub(super) fn usable(value: &str) -> Option<&str> {
    let value = value.trim();
    (!value.is_empty() && value.len() <= LONGEST_VALUE).then_some(value)
}

fn milliseconds(took: Duration) -> f64 {
    rounded(took.as_secs_f64() * 1000.0)
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 10.0).round() / 10.0
}

/// The answer, unless the source's time or the look-up's is over first.
async fn within<T>(
    source: &dyn Source,
    deadline: Instant,
    answer: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let until = deadline.min(Instant::now() + source.timeout());
    tokio::time::timeout_at(until, answer).await.unwrap_or(Err(SourceError::TimedOut))
}

/// One query to one source.
struct Asked {
    source: String,
    failed: Option<SourceError>,
    took: Duration,
}

/// How many queries ended how.
#[derive(Default)]
struct Tally {
    answered: usize,
    failed: Option<SourceError>,
    incomplete: bool,
    stale: bool,
    cached_at: Option<Timestamp>,
}

impl Tally {
    /// What a request found, or how it failed.
    fn add(&mut self, found: &[Hits], failed: Option<&SourceError>) {
        let each = found.iter().map(|hits| hits.failed);
        let alone = found.is_empty().then_some(failed.copied());
        for failed in each.chain(alone) {
            match failed {
                None => self.answered += 1,
                // The first failure is told; a source rarely fails in two ways at once.
                Some(error) => self.failed = self.failed.or(Some(error)),
            }
        }
        for hits in found {
            self.incomplete |= hits.more;
            self.stale |= hits.stale;
            self.cached_at = [self.cached_at, hits.cached_at].into_iter().flatten().min();
        }
    }

    fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed = self.failed.or(other.failed);
        self.incomplete |= other.incomplete;
        self.stale |= other.stale;
        self.cached_at = [self.cached_at, other.cached_at].into_iter().flatten().min();
    }

    const fn status(&self) -> SourceStatus {
        match (self.answered, self.failed) {
            (_, None) if self.stale => SourceStatus::Stale,
            (_, None) if !self.incomplete => SourceStatus::Answered,
            (0, Some(SourceError::TimedOut)) => SourceStatus::TimedOut,
            (0, Some(SourceError::Refused | SourceError::Rejected)) => SourceStatus::Refused,
            (0, Some(SourceError::Garbage)) => SourceStatus::Garbage,
            (0, Some(SourceError::LeftAlone)) => SourceStatus::LeftAlone,
            _ => SourceStatus::Partial,
        }
    }

    fn report(&self, name: &str, took: Duration) -> SourceReport {
        let (name, status) = (name.to_owned(), self.status());
        SourceReport { name, status, milliseconds: milliseconds(took), cached_at: self.cached_at }
    }
}

/// What the sources did while records were read, to be added to what they did before.
#[derive(Default)]
struct Sums(BTreeMap<String, (Tally, Duration)>);

impl Sums {
    /// The tally of a source, which took so long this time.
    fn of(&mut self, source: &str, this_time: Duration) -> &mut Tally {
        let (tally, took) = self.0.entry(source.to_owned()).or_default();
        *took = (*took).max(this_time);
        tally
    }

    fn add_all(&mut self, asked: Vec<Asked>) {
        for Asked { source, failed, took } in asked {
            self.of(&source, took).add(&[], failed.as_ref());
        }
    }

    /// Equal statuses stay; of two different ones the source did some and not all.
    fn into_reports(self, reports: &mut Vec<SourceReport>) {
        for (name, (tally, took)) in self.0 {
            let new = tally.report(&name, took);
            match reports.iter_mut().find(|report| report.name == name) {
                Some(report) => {
                    report.milliseconds = rounded(report.milliseconds + new.milliseconds);
                    report.cached_at = [report.cached_at, new.cached_at].into_iter().flatten().min();
                    if report.status != new.status {
                        report.status = SourceStatus::Partial;
                    }
                }
                None => reports.push(new),
            }
        }
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
