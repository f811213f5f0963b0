//! Readings for many callers: a few threads share the weights of each bundle and take what waits, the urgent first,
//! as many texts at once as fill a batch. Nobody waits for a batch to fill, and who has gone is not read for.
//!
//! In a batch a text gets the same bits as alone, so batches change how long a reading takes and nothing else.

use super::encoder::Compute;
use super::error::UnderstandingError;
use super::fields::Known;
use super::model::{Input, Raw};
use super::nodes::{Nodes, Scored};
use super::read::Understanding;
use super::reading::Reading;
use crate::base::Language;
use crate::intake::{BankCodes, Recognised, recognise_with};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// `[inference]` of the settings: what reads, and how its threads work.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// `cpu`, or `cuda:` and a number; a GPU that is not there is told in the log, and the CPU reads.
    pub device: String,
    /// The CPU's kernel by name; otherwise the fastest that the machine has.
    pub kernel: Option<String>,
    /// 0: as many as there are cores.
    pub threads: usize,
    /// Each thread stays on a core of its own.
    pub pin: bool,
    /// Texts of each urgency that may wait; more are refused.
    pub queue: usize,
    /// Pieces of a batch, about; one text may have more. 0: what suits the device.
    pub batch: usize,
    /// Machines that read for this one.
    pub node: Vec<NodeSettings>,
    /// Milliseconds after which a second node is asked about a text.
    pub hedge_ms: u64,
    /// Milliseconds after which no node is waited for, and this machine reads.
    pub timeout_ms: u64,
}

/// A machine that runs `prokura serve --role inference`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// Scheme, host and port; the host has to be among `[outbound] hosts`.
    pub url: String,
    /// Holds a key of that machine, relative to the settings.
    pub key_file: Option<PathBuf>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            kernel: None,
            threads: 0,
            pin: false,
            queue: 512,
            batch: 0,
            node: Vec::new(),
            hedge_ms: 30,
            timeout_ms: 1000,
        }
    }
}

/// Who waits for a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// A customer.
    Urgent,
    /// Work that has time.
    Bulk,
}

/// A text to be read.
pub struct Order {
    pub models: Arc<Understanding>,
    pub banks: Arc<BankCodes>,
    pub id: String,
    pub text: String,
    pub language: Language,
}

/// A text that was read.
pub struct Done {
    pub reading: Reading,
    /// What intake's recognisers found in it.
    pub found: Vec<Recognised>,
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("too many texts wait to be read; come again, or run more threads")]
    Full,
    #[error(transparent)]
    Failed(#[from] UnderstandingError),
    #[error("the reading was cut off")]
    CutOff,
}

/// What the threads have done since they started.
#[derive(Debug, Default)]
pub struct Counts {
    pub readings: AtomicU64,
    pub batches: AtomicU64,
    pub refused: AtomicU64,
    /// Texts for which nobody waited any more.
    pub unwanted: AtomicU64,
}

/// The threads, and what waits for them. They end with the last copy of this value.
pub struct Readers {
    queue: Arc<Queue>,
    room: usize,
    urgent: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    nodes: Option<Arc<Nodes>>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    counts: Counts,
    batch: usize,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Job>,
    bulk: VecDeque<Job>,
    /// Urgent texts that were taken since another was.
    passed: usize,
    ended: bool,
}

struct Job {
    models: Arc<Understanding>,
    text: String,
    wanted: Wanted,
    /// Its place in the queue, free again when the job ends.
    _place: OwnedSemaphorePermit,
}

enum Wanted {
    Reading {
        banks: Arc<BankCodes>,
        id: String,
        language: Language,
        /// What a node made of the text.
        scored: Option<Box<Scored>>,
        done: oneshot::Sender<Result<Done, UnderstandingError>>,
    },
    Scores(oneshot::Sender<Result<Raw, UnderstandingError>>),
}

impl Job {
    fn unwanted(&self) -> bool {
        match &self.wanted {
            Wanted::Reading { done, .. } => done.is_closed(),
            Wanted::Scores(done) => done.is_closed(),
        }
    }

    /// Makes of the scores what is wanted.
    fn done(self, input: &Input, scored: Scored) {
        match self.wanted {
            Wanted::Scores(done) => drop(done.send(Ok(scored.raw))),
            Wanted::Reading { banks, id, language, done, .. } => {
                let (models, text) = (self.models, self.text);
                let made = caught(|| {
                    let found = recognise_with(&text, &banks);
                    let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
                    let (mut reading, _) = models.reading((&id, &text, language), &known, input, &scored.raw);
                    reading.digests.arithmetic = scored.arithmetic;
                    drop(known);
                    Ok((reading, found))
                });
                drop(done.send(made.map(|(reading, found)| Done { reading, found, text })));
            }
        }
    }

    fn failed(self, error: UnderstandingError) {
        // Nobody hears it who has gone meanwhile.
        match self.wanted {
            Wanted::Reading { done, .. } => drop(done.send(Err(error))),
            Wanted::Scores(done) => drop(done.send(Err(error))),
        }
    }
}

/// So many urgent texts are taken before one of the others that wait.
const URGENT_FIRST: usize = 8;

impl Readers {
    /// # Errors
    /// The system has no thread to give.
    pub fn start(work: &Work) -> std::io::Result<Self> {
        Self::before(work, None)
    }

    /// With other machines that read first.
    pub fn before(work: &Work, nodes: Option<Arc<Nodes>>) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if work.threads == 0 { cores } else { work.threads };
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            more: Condvar::new(),
            counts: Counts::default(),
            batch: if work.batch == 0 { Compute::default().pieces() } else { work.batch },
        });
        let allowed = if work.pin { allowed() } else { Vec::new() };
        for number in 0..threads {
            let core = allowed.get(number % allowed.len().max(1)).copied();
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("reader-{number}")).spawn(move || {
                if let Some(core) = core {
                    stay_on(core);
                }
                queue.work();
            })?;
        }
        let places = || Arc::new(Semaphore::new(work.queue.min(Semaphore::MAX_PERMITS)));
        let room = work.queue.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self { queue, room, urgent: places(), bulk: places(), nodes })
    }

    pub fn nodes(&self) -> Option<&Arc<Nodes>> {
        self.nodes.as_ref()
    }

    /// Reads a text when its turn has come. A text whose future was dropped is not read.
    ///
    /// # Errors
    /// `Full` at once where too many wait already.
    pub async fn read(&self, order: Order, urgency: Urgency) -> Result<Done, Unread> {
        let place = self.place(urgency)?;
        self.reading(order, urgency, place).await
    }

    /// Reads a text that must be read, however many wait: it waits for a place, too.
    pub async fn read_surely(&self, order: Order, urgency: Urgency) -> Result<Done, Unread> {
        let place = Arc::clone(self.places(urgency)).acquire_owned().await.map_err(|_| Unread::CutOff)?;
        self.reading(order, urgency, place).await
    }

    /// The scores of a text, for a machine that does the rest.
    ///
    /// # Errors
    /// As `read`.
    pub async fn scores(
        &self,
        models: Arc<Understanding>,
        text: String,
        urgency: Urgency,
    ) -> Result<Raw, Unread> {
        let (done, answer) = oneshot::channel();
        let job = Job { models, text, wanted: Wanted::Scores(done), _place: self.place(urgency)? };
        self.queue.push(job, urgency);
        Ok(answer.await.map_err(|_| Unread::CutOff)??)
    }

    fn place(&self, urgency: Urgency) -> Result<OwnedSemaphorePermit, Unread> {
        Arc::clone(self.places(urgency)).try_acquire_owned().map_err(|_| {
            self.queue.counts.refused.fetch_add(1, Ordering::Relaxed);
            Unread::Full
        })
    }

    async fn reading(
        &self,
        order: Order,
        urgency: Urgency,
        place: OwnedSemaphorePermit,
    ) -> Result<Done, Unread> {
        let Order { models, banks, id, text, language } = order;
        let scored = match &self.nodes {
            Some(nodes) => nodes.scores(models.digest(), &text, urgency).await.map(Box::new),
            None => None,
        };
        let (done, answer) = oneshot::channel();
        let wanted = Wanted::Reading { banks, id, language, scored, done };
        self.queue.push(Job { models, text, wanted, _place: place }, urgency);
        Ok(answer.await.map_err(|_| Unread::CutOff)??)
    }

    /// How many texts of each urgency may be under way at once.
    pub const fn room(&self) -> usize {
        self.room
    }

    const fn places(&self, urgency: Urgency) -> &Arc<Semaphore> {
        match urgency {
            Urgency::Urgent => &self.urgent,
            Urgency::Bulk => &self.bulk,
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.queue.counts
    }

    /// Texts that wait, the urgent and the others.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.queue.lock();
        (waiting.urgent.len(), waiting.bulk.len())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.lock().ended = true;
        self.queue.more.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job, urgency: Urgency) {
        let mut waiting = self.lock();
        match urgency {
            Urgency::Urgent => waiting.urgent.push_back(job),
            Urgency::Bulk => waiting.bulk.push_back(job),
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn work(&self) {
        while let Some(batch) = self.next() {
            let size = batch.len() as u64;
            self.counts.batches.fetch_add(1, Ordering::Relaxed);
            self.counts.readings.fetch_add(size, Ordering::Relaxed);
            // A fault in one batch must not take the thread from those behind it; their callers learn of it.
            if catch_unwind(AssertUnwindSafe(|| answer(batch))).is_err() {
                tracing::error!("a batch of {size} texts could not be read");
            }
        }
    }

    /// The next batch, for one bundle; `None` at the end. Blocks while nothing waits.
    fn next(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            let mut batch: Vec<Job> = Vec::new();
            let mut pieces = 0;
            while let Some(next) = waiting.front() {
                let fits = batch.first().is_none_or(|first| {
                    let same = Arc::ptr_eq(&first.models, &next.models);
                    same && pieces + about(&next.text) <= self.batch
                });
                if !fits {
                    break;
                }
                pieces += about(&next.text);
                let Some(job) = waiting.pop() else { break };
                if job.unwanted() {
                    self.counts.unwanted.fetch_add(1, Ordering::Relaxed);
                } else {
                    batch.push(job);
                }
            }
            if !batch.is_empty() {
                return Some(batch);
            }
            if waiting.ended {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Waiting {
    /// Whether it is a text's turn that is not urgent.
    fn turn_of_bulk(&self) -> bool {
        self.urgent.is_empty() || (self.passed >= URGENT_FIRST && !self.bulk.is_empty())
    }

    fn front(&self) -> Option<&Job> {
        if self.turn_of_bulk() { self.bulk.front() } else { self.urgent.front() }
    }

    fn pop(&mut self) -> Option<Job> {
        if self.turn_of_bulk() {
            self.passed = 0;
            return self.bulk.pop_front();
        }
        self.passed += 1;
        self.urgent.pop_front()
    }
}

/// Pieces of a text, roughly: enough to size a batch.
fn about(text: &str) -> usize {
    text.len() / 4 + 2
}

/// Reads a batch for one bundle. What goes wrong with one text is that text's alone.
fn answer(batch: Vec<Job>) {
    let mut read: Vec<(Job, Input)> = Vec::with_capacity(batch.len());
    for job in batch {
        match caught(|| job.models.input(&job.text)) {
            Ok(input) => read.push((job, input)),
            Err(error) => job.failed(error),
        }
    }
    let Some(models) = read.first().map(|(job, _)| Arc::clone(&job.models)) else { return };
    let taken: Vec<Option<Scored>> = read.iter_mut().map(|(job, input)| taken(job, input)).collect();
    let (mut here, mut jobs) = (Vec::new(), Vec::new());
    for ((job, input), scored) in read.into_iter().zip(taken) {
        match scored {
            Some(scored) => job.done(&input, scored),
            None => {
                here.push(input);
                jobs.push(job);
            }
        }
    }
    let own = |raw| Scored { arithmetic: models.model().arithmetic().to_owned(), raw, node: None };
    match caught(|| models.model().run(&here.iter().collect::<Vec<_>>())) {
        Ok(raw) => {
            for ((job, input), raw) in jobs.into_iter().zip(&here).zip(raw) {
                job.done(input, own(raw));
            }
        }
        Err(_) => {
            for (job, input) in jobs.into_iter().zip(&here) {
                match caught(|| models.model().run(&[input])).map(Vec::into_iter) {
                    Ok(mut raw) => job.done(input, own(raw.next().unwrap_or_default())),
                    Err(error) => job.failed(error),
                }
            }
        }
    }
}

/// A fault of the code counts as one of the text.
fn caught<T>(work: impl FnOnce() -> Result<T, UnderstandingError>) -> Result<T, UnderstandingError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("a text could not be read");
        Err(candle_core::Error::Msg("a text could not be read".to_owned()).into())
    })
}

/// What a node made of the text, unless that cannot be true.
fn taken(job: &mut Job, input: &Input) -> Option<Scored> {
    let Wanted::Reading { scored, .. } = &mut job.wanted else { return None };
    let scored = scored.take()?;
    let fits = job.models.model().fits(&scored.raw, input);
    if !fits {
        scored.node.iter().for_each(|node| node.misfit());
    }
    fits.then_some(*scored)
}

/// The cores that this process may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// A thread that cannot be kept on a core runs anywhere.
fn stay_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "a reader cannot be kept on its core");
    }
}

#[cfg(test)]
#[path = "readers_tests.rs"]
mod tests;
