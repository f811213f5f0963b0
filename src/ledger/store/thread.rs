//! The one thread that writes to SQLite. Work that waits is committed together, so that many cases share one wait for
//! the disk.

use super::super::LedgerError;
use rusqlite::Connection;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Its name, by which it can be traced.
const NAME: &str = "ledger";

/// So much work at most is one transaction.
const MOST: usize = 256;

/// What is called with the error of the commit, or `None`.
type Answer = Box<dyn FnOnce(Option<&LedgerError>) + Send>;

/// Work in a transaction; `None` where none could be begun. Says whether what it did is to stay.
type Work = Box<dyn FnOnce(Option<&Connection>) -> (bool, Answer) + Send>;

enum Job {
    Write(Work),
    /// Outside of a transaction.
    Alone(Box<dyn FnOnce(&Connection) + Send>),
}

pub struct Writer {
    jobs: Sender<Job>,
}

fn gone<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Store("the thread that writes has ended".to_owned()))
}

impl Writer {
    pub fn start(connection: Connection) -> Result<Self, LedgerError> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new().name(NAME.to_owned());
        thread
            .spawn(move || serve(&connection, &waiting))
            .map_err(|error| LedgerError::Store(error.to_string()))?;
        Ok(Self { jobs })
    }

    /// Does some work in a transaction, and returns when that is on stable storage. What failed leaves nothing behind; it
    /// must refuse before it writes, or it fails the work of others that is committed with it.
    pub fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (tell, told) = channel();
        let job = move |connection: Option<&Connection>| {
            let done = connection.map(work);
            let stays = matches!(done, Some(Ok(_)));
            let answer: Answer = Box::new(move |failed: Option<&LedgerError>| {
                // Whoever asked may have gone.
                let _ = tell.send(match (done, failed) {
                    // What was refused because of others' work may be right once that is undone.
                    (Some(Err(own)), Some(_)) if !own.is_refusal() => Err(own),
                    (_, Some(error)) => Err(error.clone()),
                    (Some(done), None) => done,
                    (None, None) => gone(),
                });
            });
            (stays, answer)
        };
        if self.jobs.send(Job::Write(Box::new(job))).is_err() {
            return gone();
        }
        told.recv().unwrap_or_else(|_| gone())
    }

    /// Does some work that opens transactions itself, or none.
    pub fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (tell, told) = channel();
        let job = move |connection: &Connection| drop(tell.send(work(connection)));
        if self.jobs.send(Job::Alone(Box::new(job))).is_err() {
            return gone();
        }
        told.recv().unwrap_or_else(|_| gone())
    }
}

fn serve(connection: &Connection, jobs: &Receiver<Job>) {
    let mut broken = None;
    let mut next = jobs.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Alone(work) => work(connection),
            Job::Write(first) => next = together(connection, first, jobs, &mut broken),
        }
        next = next.or_else(|| jobs.recv().ok());
    }
}

/// Commits this work and what else waits. Returns what waits and is not for a transaction.
///
/// After a fault of the disk nobody knows what is on it, and what an `fsync` said once it may not say again
/// (Rebello et al. 2020): nothing is written any more until the process starts anew and reads what is there.
fn together(
    connection: &Connection,
    first: Work,
    jobs: &Receiver<Job>,
    broken: &mut Option<LedgerError>,
) -> Option<Job> {
    let mut failed = broken.clone();
    if failed.is_none() {
        failed = connection.execute_batch("BEGIN IMMEDIATE").map_err(LedgerError::from).err();
    }
    let (mut answers, mut left, mut work) = (Vec::new(), None, Some(first));
    while let Some(one) = work.take() {
        let (answer, fault) = within(connection, failed.is_none(), one);
        answers.push(answer);
        failed = failed.or(fault);
        // Who waits behind a failure tries for himself.
        if failed.is_none() && answers.len() < MOST {
            match jobs.try_recv() {
                Ok(Job::Write(one)) => work = Some(one),
                Ok(other) => left = Some(other),
                Err(_) => {}
            }
        }
    }
    if failed.is_none() {
        failed = connection.execute_batch("COMMIT").map_err(LedgerError::from).err();
    }
    if failed.is_some() && !connection.is_autocommit() {
        // It may be what just failed that this fails of; the next transaction would then not begin.
        let _ = connection.execute_batch("ROLLBACK");
    }
    if broken.is_none() && matches!(failed, Some(LedgerError::Broken(_))) {
        broken.clone_from(&failed);
    }
    for answer in answers {
        answer(failed.as_ref());
    }
    left
}

/// One piece of work. A fault is one of the whole transaction: what was refused has changed nothing, and half of anything
/// else must not be committed with the work of others.
fn within(connection: &Connection, begun: bool, work: Work) -> (Answer, Option<LedgerError>) {
    if !begun {
        return (work(None).1, None);
    }
    let before = connection.total_changes();
    let (stays, answer) = work(Some(connection));
    // SQLite undoes the whole transaction itself where the disk is full.
    let half = !stays && connection.total_changes() != before;
    let undone = || LedgerError::Store("the transaction was undone".to_owned());
    (answer, (half || connection.is_autocommit()).then(undone))
}
