//! The process dies between any two events; the case finishes and the bank acted once.

use crate::stage::{Stage, engine, incoming, shown, verified};
use prokura::acting::Outcome;
use prokura::base::{CaseId, SystemClock, Timestamp, ids};
use prokura::cases::{CaseError, Status};
use prokura::ledger::store::{Batch, Sqlite};
use prokura::ledger::{
    Claim, Head, Keys, LedgerError, LedgerSettings, Once, Store, Stored, Stream, StreamKind, Tile, Total,
};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A store that dies: after so many appends nothing is written any more, as if the process had ended.
pub struct Mortal {
    inner: Sqlite,
    left: AtomicI64,
    /// Dies before the write, or after it and before the answer.
    after_writing: bool,
}

impl Mortal {
    pub const fn new(inner: Sqlite, lives: i64, after_writing: bool) -> Self {
        Self { inner, left: AtomicI64::new(lives), after_writing }
    }
}

fn dead<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Store("the process ended here".into()))
}

impl Store for Mortal {
    fn append(&self, batch: Batch) -> Result<Option<Claim>, LedgerError> {
        if batch.stream.kind != StreamKind::Case {
            return self.inner.append(batch);
        }
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => self.inner.append(batch),
            0 if self.after_writing => self.inner.append(batch).and_then(|_| dead()),
            _ => dead(),
        }
    }
    fn claim(&self, once: &Once) -> Result<String, LedgerError> {
        if self.left.load(Ordering::SeqCst) < 0 { dead() } else { self.inner.claim(once) }
    }
    fn totals(&self, scopes: Vec<String>, at: Timestamp) -> Result<Vec<Total>, LedgerError> {
        self.inner.totals(scopes, at)
    }
    fn reserved(&self, call: &str) -> Result<Option<Vec<Total>>, LedgerError> {
        self.inner.reserved(call)
    }
    fn now(&self) -> Result<Timestamp, LedgerError> {
        self.inner.now()
    }
    fn beat(&self, node: &str, milliseconds: i64) -> Result<(), LedgerError> {
        if self.left.load(Ordering::SeqCst) < 0 { dead() } else { self.inner.beat(node, milliseconds) }
    }
    fn forget_nodes(&self) -> Result<(), LedgerError> {
        self.inner.forget_nodes()
    }
    fn take(&self, kind: StreamKind, node: &str, most: usize) -> Result<Vec<Claim>, LedgerError> {
        self.inner.take(kind, node, most)
    }
    fn held(&self, kind: StreamKind, node: &str) -> Result<Vec<String>, LedgerError> {
        self.inner.held(kind, node)
    }
    fn take_one(&self, stream: &Stream, node: &str) -> Result<Option<Claim>, LedgerError> {
        self.inner.take_one(stream, node)
    }
    fn holds(&self, claim: &Claim, node: &str, length: u64) -> Result<bool, LedgerError> {
        self.inner.holds(claim, node, length)
    }
    fn release(&self, claim: &Claim, due: Option<Timestamp>, attempts: u32) -> Result<(), LedgerError> {
        if self.left.load(Ordering::SeqCst) < 0 { dead() } else { self.inner.release(claim, due, attempts) }
    }
    super::reads_of_inner!();
}

/// Runs a case on an engine that dies after `lives` appends, then on a fresh one over the same store.
/// `None` when the case finished before the engine died.
async fn die_and_recover(
    stage: &Stage,
    lives: i64,
    after_writing: bool,
    customer: &str,
) -> Option<(CaseId, bool)> {
    let directory = stage.directory.path().join(format!("{lives}-{after_writing}"));
    std::fs::create_dir_all(&directory).unwrap();
    let settings = LedgerSettings::default();
    let mortal = |keys: &Keys| {
        let inner = Sqlite::open(&directory, keys, Arc::new(SystemClock))?;
        Ok(Arc::new(Mortal::new(inner, lives, after_writing)) as Arc<dyn Store>)
    };
    let dying = engine(stage.bank, Arc::new(settings.over(&directory, mortal).unwrap()));
    let case = CaseId::new(ids::fresh("case"));
    let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
    if dying.accept(incoming(case.clone(), message, verified(customer))).await.is_ok()
        && dying.drive(&case).await.is_ok()
    {
        return None;
    }
    let ledger = settings.open(&directory).unwrap();
    // The dead one still counts as living; the lock of its directory would say that it does not.
    ledger.store().forget_nodes().unwrap();
    let risen = engine(stage.bank, Arc::new(ledger));
    risen.recover().await.unwrap();
    let state = risen.state(&case).await.unwrap();
    let mut in_doubt = false;
    if state.length > 0 {
        let state = risen.wait(&case, Duration::from_secs(20)).await.unwrap();
        assert_eq!(state.status, Status::Resolved, "after {lives} appends: {}", shown(&state));
        // Whoever finds an intent without a result says so; nobody else does.
        let entries = risen.entries(&case).await.unwrap();
        let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        let after = |kind: &str| kinds.iter().position(|known| *known == kind);
        let (intended, returned) = (after("intended").unwrap(), after("returned").unwrap());
        assert!(matches!(returned - intended, 1 | 2), "{kinds:?}");
        in_doubt = kinds.contains(&"doubted");
        assert_eq!(returned - intended == 2, in_doubt, "{kinds:?}");
    }
    Some((case, in_doubt))
}

#[tokio::test]
async fn a_case_survives_death_between_any_two_events_with_one_effect() {
    // The refund of acc_015 is what the case is about; every round has a bank of its own.
    let (mut rounds, mut doubted) = (0, 0);
    for after_writing in [false, true] {
        for lives in 0.. {
            let stage = Stage::new().await;
            let Some((case, in_doubt)) = die_and_recover(&stage, lives, after_writing, "cus_015").await
            else {
                break;
            };
            rounds += 1;
            doubted += u32::from(in_doubt);
            let accepted = lives > 0 || after_writing;
            let effects = stage.effects();
            assert_eq!(effects.len(), usize::from(accepted), "{case}, died after {lives} appends");
        }
    }
    // Before and after: the message, what was read up to the intent, the result, the answer.
    assert_eq!(rounds, 2 * 4);
    assert!(doubted >= 1, "nobody died between intent and result");
}

/// Whoever works on it dies again and again, soon after it began: each time the case gets on by a step.
#[tokio::test]
async fn a_case_gets_on_by_a_step_in_each_short_life() {
    let stage = Stage::new().await;
    let directory = stage.directory.path().join("short");
    std::fs::create_dir_all(&directory).unwrap();
    let settings = LedgerSettings::default();
    let mortal = |keys: &Keys| {
        let inner = Sqlite::open(&directory, keys, Arc::new(SystemClock))?;
        Ok(Arc::new(Mortal::new(inner, 0, true)) as Arc<dyn Store>)
    };
    let one_life = || engine(stage.bank, Arc::new(settings.over(&directory, mortal).unwrap()));
    let case = CaseId::new(ids::fresh("case"));
    let message =
        incoming(case.clone(), "Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015"));
    one_life().accept(message).await.unwrap_err();
    for step in ["understood", "found", "intended"] {
        let life = one_life();
        life.parts().ledger.store().forget_nodes().unwrap();
        life.drive(&case).await.unwrap_err();
        assert_eq!(life.entries(&case).await.unwrap().last().unwrap().kind, step);
    }
    let ledger = settings.open(&directory).unwrap();
    ledger.store().forget_nodes().unwrap();
    let risen = engine(stage.bank, Arc::new(ledger));
    let state = risen.drive(&case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(stage.effects().len(), 1);
}

/// The store fails for a while, and is then as it was: at every append, before it is written or after.
#[tokio::test]
async fn a_store_that_failed_for_a_while_leaves_no_case_lying() {
    let stage = Stage::new().await;
    let message = "Wie hoch ist mein Kontostand?";
    for (lives, after_writing) in (0..6).flat_map(|lives| [(lives, false), (lives, true)]) {
        let directory = stage.directory.path().join(format!("sick-{lives}-{after_writing}"));
        std::fs::create_dir_all(&directory).unwrap();
        let sick = OnceLock::new();
        let store = |keys: &Keys| {
            let inner = Sqlite::open(&directory, keys, Arc::new(SystemClock))?;
            let store = Arc::new(Mortal { inner, left: AtomicI64::new(lives), after_writing });
            Ok(Arc::clone(sick.get_or_init(|| store)) as Arc<dyn Store>)
        };
        let cases = engine(stage.bank, Arc::new(LedgerSettings::default().over(&directory, store).unwrap()));
        let case = CaseId::new(ids::fresh("case"));
        if cases.accept(incoming(case.clone(), message, verified("cus_015"))).await.is_ok() {
            let _ = cases.drive(&case).await;
        }
        sick.get().unwrap().left.store(i64::MAX, Ordering::SeqCst);
        if cases.state(&case).await.unwrap().length == 0 {
            assert!(lives == 0 && !after_writing, "what was accepted is there");
            continue;
        }
        for _ in 0..50 {
            cases.recover().await.unwrap();
            if cases.state(&case).await.unwrap().status != Status::Running {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let state = cases.state(&case).await.unwrap();
        assert_ne!(state.status, Status::Running, "{lives} {after_writing}: {}", shown(&state));
    }
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_asking_the_bank() {
    let stage = Stage::with_switches(&["answer_lost_after_acting"]).await;
    let state = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!((stage.effects().len(), stage.orders().len()), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_of_a_bank_without_idempotency_ends_with_a_person_and_one_request() {
    let stage = Stage::with_switches(&["answer_lost_after_acting", "no_idempotency"]).await;
    let state = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    let call = state.calls.last().unwrap();
    assert!(matches!(call.outcome, Some(Outcome::Ambiguous { .. })), "{}", shown(&state));
    assert_eq!(state.status, Status::WithHuman);
    assert_eq!((stage.effects().len(), stage.orders().len()), (1, 1));
}

#[tokio::test]
async fn a_bank_that_acts_after_the_time_out_acts_once() {
    let stage = Stage::with_switches(&["act_after_timeout=6500"]).await;
    let state = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    assert!(matches!(state.status, Status::Resolved | Status::WithHuman), "{}", shown(&state));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.effects().len(), 1);
}

#[tokio::test]
async fn a_full_disk_takes_no_new_case_and_lets_open_ones_end() {
    let stage = Stage::new().await;
    let open = |reserve_bytes| {
        let settings = LedgerSettings { reserve_bytes, ..LedgerSettings::default() };
        let state = stage.directory.path().join("full");
        std::fs::create_dir_all(&state).unwrap();
        engine(stage.bank, Arc::new(settings.open(&state).unwrap()))
    };
    let case = CaseId::new(ids::fresh("case"));
    let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
    open(0).accept(incoming(case.clone(), message, verified("cus_015"))).await.unwrap();
    let full = open(u64::MAX);
    let refused = full.accept(incoming(CaseId::new("case_new"), message, verified("cus_015"))).await;
    assert!(matches!(refused, Err(CaseError::NoRoom)), "{refused:?}");
    assert_eq!(full.state(&CaseId::new("case_new")).await.unwrap().length, 0);
    let state = full.drive(&case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    full.accept(incoming(case.clone(), "Danke!", verified("cus_015"))).await.unwrap();
}
