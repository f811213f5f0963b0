//! What stands between a look-up and a system that may be slow, down or overrun: a cap on requests at the same time, a
//! breaker, and lists that were fetched before. Records themselves are never taken from a cache.

use super::super::error::SourceError;
use super::super::matching::Indexed;
use super::{Entry, Hits, Query, Source};
use crate::base::{BreakerSettings, Breakers, Clock, CustomerId, RecordId, Timestamp};
use futures::future::BoxFuture;
use lru::LruCache;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// `[http.limits]` and `[sql.limits]` of sources.toml.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests at the same time.
    pub parallel: usize,
    /// So many failures in a row, and it is left alone.
    pub failures: u32,
    /// For so long.
    pub open_ms: u64,
    /// Then so many at a time try whether it is back.
    pub probes: u32,
    /// A list that was fetched at most so long ago is used again without asking; 0: never.
    pub fresh_ms: u64,
    /// One that was fetched at most so long ago stands in when the source fails; 0: never.
    pub stale_ms: u64,
    /// So many lists are kept.
    pub lists: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 16,
            failures: 5,
            open_ms: 10_000,
            probes: 1,
            fresh_ms: 0,
            stale_ms: 0,
            lists: 10_000,
        }
    }
}

impl Limits {
    /// The name, the value and what is allowed of each that is out of its range.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
        const DAY: u64 = 86_400_000;
        let ranged = [
            ("parallel", self.parallel as u64, 1..=256, "1 to 256"),
            ("failures", self.failures.into(), 1..=1000, "1 to 1000"),
            ("open_ms", self.open_ms, 1..=3_600_000, "1 to 3600000"),
            ("probes", self.probes.into(), 1..=100, "1 to 100"),
            ("fresh_ms", self.fresh_ms, 0..=DAY, "0 to 86400000 (a day)"),
            ("stale_ms", self.stale_ms, 0..=DAY, "0 to 86400000 (a day)"),
            ("lists", self.lists as u64, 1..=1_000_000, "1 to 1000000"),
        ];
        let out = ranged.into_iter().filter(|(_, value, allowed, _)| !allowed.contains(value));
        out.map(|(name, value, _, words)| (name, value, words))
    }

    const fn kept_ms(&self) -> u64 {
        if self.fresh_ms > self.stale_ms { self.fresh_ms } else { self.stale_ms }
    }
}

/// What a list was asked by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Value(String, String),
    Customer(CustomerId),
}

/// A source behind its limits.
pub struct Guarded {
    source: Arc<dyn Source>,
    limits: Limits,
    slots: Semaphore,
    breakers: Breakers,
    lists: Mutex<LruCache<Key, (Timestamp, Hits)>>,
    clock: Arc<dyn Clock>,
}

impl Guarded {
    pub fn new(source: Arc<dyn Source>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let lists = NonZeroUsize::new(limits.lists).unwrap_or(NonZeroUsize::MIN);
        Self {
            source,
            slots: Semaphore::new(limits.parallel),
            breakers: Breakers::new(BreakerSettings {
                failures: limits.failures,
                open_ms: limits.open_ms,
                probes: limits.probes,
            }),
            lists: Mutex::new(LruCache::new(lists)),
            limits,
            clock,
        }
    }

    /// Asks the source, unless it is left alone or too busy to be asked in time.
    async fn ask<T>(&self, answer: BoxFuture<'_, Result<T, SourceError>>) -> Result<T, SourceError> {
        let (name, longest) = (self.source.name(), self.source.timeout());
        // A source that is too busy has not failed.
        let slot = tokio::time::timeout(longest, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Err(SourceError::TimedOut) };
        let admitted = self.breakers.admit(name, self.clock.now()).ok_or(SourceError::LeftAlone)?;
        // Who never comes back counts as a failure, so its time runs in here.
        let answer = tokio::time::timeout(longest, answer).await.unwrap_or(Err(SourceError::TimedOut));
        match answer {
            Ok(_) | Err(SourceError::Rejected) => admitted.answered(),
            Err(_) => admitted.failed(self.clock.now()),
        }
        answer
    }

    /// What was fetched for this at most so long ago.
    fn kept(&self, key: &Key, most_ms: u64) -> Option<Hits> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, hits) = lists.get(key)?;
        let age = u64::try_from(self.clock.now().since(*at)).ok()?;
        (most_ms > 0 && age <= most_ms).then(|| Hits { cached_at: Some(*at), ..hits.clone() })
    }

    fn keep(&self, key: Key, hits: &Hits) {
        if self.limits.kept_ms() > 0 {
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.put(key, (self.clock.now(), hits.clone()));
        }
    }

    /// What was said before of this, where the source fails.
    fn stand_in(&self, key: &Key, error: SourceError) -> Hits {
        let kept = self.kept(key, self.limits.stale_ms).map(|hits| Hits { stale: true, ..hits });
        kept.unwrap_or(Hits { failed: Some(error), ..Hits::default() })
    }
}

impl Source for Guarded {
    fn name(&self) -> &str {
        self.source.name()
    }

    /// For a slot, and for the answer.
    fn timeout(&self) -> Duration {
        self.source.timeout() * 2
    }

    fn searches(&self, field: &str) -> bool {
        self.source.searches(field)
    }

    fn at_once(&self) -> usize {
        self.source.at_once()
    }

    fn forget(&self) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.source.forget();
    }

    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
        Box::pin(async move {
            let key = |query: &Query| Key::Value(query.field.clone(), query.value.clone());
            let keys: Vec<Key> = queries.iter().map(key).collect();
            let mut found: Vec<Option<Hits>> =
                keys.iter().map(|key| self.kept(key, self.limits.fresh_ms)).collect();
            let open: Vec<usize> =
                (0..).zip(&found).filter_map(|(at, hits)| hits.is_none().then_some(at)).collect();
            let asked: Vec<Query> = open.iter().filter_map(|at| queries.get(*at).cloned()).collect();
            if !asked.is_empty() {
                let keys: Vec<Key> = open.iter().filter_map(|at| keys.get(*at).cloned()).collect();
                let answer = match self.ask(self.source.find(&asked)).await {
                    Ok(all) if all.len() == keys.len() => {
                        keys.into_iter().zip(&all).for_each(|(key, hits)| self.keep(key, hits));
                        all
                    }
                    Ok(_) => keys.iter().map(|key| self.stand_in(key, SourceError::Garbage)).collect(),
                    Err(error) => keys.iter().map(|key| self.stand_in(key, error)).collect(),
                };
                for (at, hits) in open.into_iter().zip(answer) {
                    if let Some(place) = found.get_mut(at) {
                        *place = Some(hits);
                    }
                }
            }
            Ok(found.into_iter().flatten().collect())
        })
    }

    fn indexed(&self) -> Option<Arc<Indexed>> {
        self.source.indexed()
    }

    fn may_have(&self, id: &RecordId) -> bool {
        self.source.may_have(id)
    }

    fn reload(&self) -> BoxFuture<'_, Option<Duration>> {
        self.source.reload()
    }

    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(self.ask(self.source.entry(id)))
    }

    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
        Box::pin(async move {
            let key = Key::Customer(customer.clone());
            if let Some(hits) = self.kept(&key, self.limits.fresh_ms) {
                return Ok(hits);
            }
            match self.ask(self.source.accounts_of(customer)).await {
                Ok(hits) => {
                    self.keep(key, &hits);
                    Ok(hits)
                }
                Err(error) => {
                    let hits = self.stand_in(&key, error);
                    hits.failed.map_or(Ok(hits), Err)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::FixedClock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says who it was asked for, and does as it is told.
    #[derive(Default)]
    struct Told {
        asked: AtomicUsize,
        at_once: AtomicUsize,
        most: AtomicUsize,
        does: Mutex<Option<SourceError>>,
    }

    impl Told {
        fn does(&self, error: Option<SourceError>) {
            *self.does.lock().unwrap() = error;
        }

        async fn answer(&self) -> Result<(), SourceError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let does = *self.does.lock().unwrap();
            let wait = if does == Some(SourceError::TimedOut) { 10_000 } else { 5 };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            does.map_or(Ok(()), Err)
        }
    }

    impl Source for Told {
        fn name(&self) -> &'static str {
            "told"
        }
        fn timeout(&self) -> Duration {
            Duration::from_millis(100)
        }
        fn searches(&self, _: &str) -> bool {
            true
        }
        fn at_once(&self) -> usize {
            2
        }
        fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
            Box::pin(async move {
                self.answer().await?;
                Ok(queries.iter().map(|query| Hits::of(vec![RecordId::new(query.value.as_str())])).collect())
            })
        }
        fn entry<'a>(&'a self, _: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
            Box::pin(async move { self.answer().await.map(|()| None) })
        }
        fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
            Box::pin(async move {
                self.answer().await?;
                Ok(Hits::of(vec![RecordId::new(customer.as_str())]))
            })
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn guarded(limits: Limits) -> (Arc<Told>, Arc<FixedClock>, Guarded) {
        let (told, clock) = (Arc::new(Told::default()), Arc::new(FixedClock::at(at(0))));
        let guarded = Guarded::new(Arc::clone(&told) as _, limits, Arc::clone(&clock) as _);
        (told, clock, guarded)
    }

    fn query(value: &str) -> Query {
        Query { field: "iban".to_owned(), value: value.to_owned() }
    }

    async fn failed(guarded: &Guarded, value: &str) -> Option<SourceError> {
        guarded.find(&[query(value)]).await.unwrap().remove(0).failed
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_used_again_while_fresh_and_stand_in_while_stale() {
        let (told, clock, guarded) = guarded(Limits { fresh_ms: 10, stale_ms: 100, ..Limits::default() });
        let asked = [query("a"), query("b")];
        let first = guarded.find(&asked[..1]).await.unwrap();
        assert_eq!((first[0].cached_at, told.asked.load(Ordering::SeqCst)), (None, 1));
        clock.set(at(10));
        // One is known and one is not: the order stays.
        let both = guarded.find(&asked).await.unwrap();
        assert_eq!((both[0].cached_at, both[1].cached_at), (Some(at(0)), None));
        assert_eq!((both[0].ids[0].as_str(), both[1].ids[0].as_str(), both[0].stale), ("a", "b", false));
        clock.set(at(60));
        told.does(Some(SourceError::Refused));
        let old = guarded.find(&asked).await.unwrap();
        assert!(old.iter().all(|hits| hits.stale) && old[1].cached_at == Some(at(10)));
        // What is known is told, whatever else was asked with it.
        let mixed = guarded.find(&[query("a"), query("c")]).await.unwrap();
        assert_eq!(
            (mixed[0].stale, mixed[0].failed, mixed[1].failed),
            (true, None, Some(SourceError::Refused))
        );
        clock.set(at(111));
        assert_eq!(failed(&guarded, "a").await, Some(SourceError::Refused));
    }

    #[tokio::test(start_paused = true)]
    async fn customers_have_lists_and_records_are_always_asked_for() {
        let (told, _, guarded) = guarded(Limits { fresh_ms: 10, ..Limits::default() });
        let customer = CustomerId::new("c");
        for cached in [None, Some(at(0))] {
            assert_eq!(guarded.accounts_of(&customer).await.unwrap().cached_at, cached);
        }
        guarded.entry(&RecordId::new("a")).await.unwrap();
        guarded.entry(&RecordId::new("a")).await.unwrap();
        assert_eq!(told.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_unless_it_is_asked_for() {
        let (told, _, guarded) = guarded(Limits::default());
        guarded.find(&[query("a")]).await.unwrap();
        told.does(Some(SourceError::Garbage));
        assert_eq!(failed(&guarded, "a").await, Some(SourceError::Garbage));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_left_alone_and_tried_again() {
        let (told, clock, guarded) = guarded(Limits { failures: 2, open_ms: 50, ..Limits::default() });
        told.does(Some(SourceError::TimedOut));
        for _ in 0..2 {
            assert_eq!(failed(&guarded, "a").await, Some(SourceError::TimedOut));
        }
        assert_eq!(failed(&guarded, "a").await, Some(SourceError::LeftAlone));
        assert_eq!(guarded.entry(&RecordId::new("a")).await, Err(SourceError::LeftAlone));
        assert_eq!(told.asked.load(Ordering::SeqCst), 2);
        clock.set(at(50));
        // Who tries and goes leaves the trial to the next.
        let gone = tokio::time::timeout(Duration::from_millis(1), failed(&guarded, "a")).await;
        assert!(gone.is_err());
        told.does(None);
        assert_eq!(failed(&guarded, "a").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_refused_is_no_failure_of_the_source() {
        let (told, _, guarded) = guarded(Limits { failures: 2, ..Limits::default() });
        told.does(Some(SourceError::Rejected));
        for _ in 0..5 {
            assert_eq!(failed(&guarded, "a").await, Some(SourceError::Rejected));
        }
        assert_eq!(told.asked.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_cap_are_out_at_once() {
        let (told, _, guarded) = guarded(Limits { parallel: 3, ..Limits::default() });
        let values: Vec<Query> = (0..20).map(|number| query(&number.to_string())).collect();
        let all = futures::future::join_all(values.chunks(1).map(|one| guarded.find(one))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!((told.most.load(Ordering::SeqCst), told.asked.load(Ordering::SeqCst)), (3, 20));
    }

    #[test]
    fn a_limit_out_of_its_range_is_named() {
        let bad = Limits { parallel: 0, stale_ms: 90_000_000, ..Limits::default() };
        let told: Vec<_> = bad.faults().map(|(name, value, _)| (name, value)).collect();
        assert_eq!(told, [("parallel", 0), ("stale_ms", 90_000_000)]);
        assert_eq!(Limits::default().faults().count(), 0);
    }
}
