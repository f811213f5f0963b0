//! Performs the effects of cases and feeds the results back as inputs. Decides nothing.

use super::CaseError;
use super::access::{LOOKS, Looks};
use super::alike::Remembered;
use super::dials::Followed;
use super::erase::subjects;
use super::event::Event;
use super::node::Node;
use super::pack::Pack;
use super::packs::Packs;
use super::state::{Effect, State, Status};
use super::step::{Dial, Input, Now, step};
use super::stops::Stop;
use super::totals::{freed_by, reserved_by};
use crate::acting::Acting;
use crate::base::{CallId, CaseId, Clock, Digest, Timestamp};
use crate::governance::Principal;
use crate::intake::{BankCodes, Message};
use crate::ledger::{
    Append, By, Claim, Digests, Entry, Key, Ledger, LedgerError, MOST_CONFLICTS, NewEvent, Once, Stream,
    StreamKind, Told,
};
use crate::policy::{Generation, Policies};
use crate::records::Lookup;
use crate::understanding::{Live, Readers};
use futures::FutureExt;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tracing::Instrument;

/// The rooms that the engine drives.
pub struct Parts {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<dyn Clock>,
    pub pack: Arc<Pack>,
    pub packs: Arc<Packs>,
    pub models: Arc<Live>,
    pub readers: Arc<Readers>,
    pub bank_codes: Arc<BankCodes>,
    pub lookup: Arc<Lookup>,
    pub policies: Arc<Policies>,
    pub acting: Arc<Acting>,
    /// Digest of the program itself.
    pub program: Digest,
}

impl Parts {
    /// What answers questions about policies now.
    pub fn generation(&self) -> Arc<Generation> {
        self.policies.current(self.models.current().searcher())
    }
}

/// The case engine. Cloning shares it.
#[derive(Clone)]
pub struct Cases {
    parts: Arc<Parts>,
    pub(super) node: Arc<Node>,
    /// Claims of cases that nobody drives yet.
    claims: Arc<Mutex<HashMap<CaseId, Claim>>>,
    /// Cases that this node may hold without knowing, because the store did not say what came of a claim or of its end:
    /// while it lives nobody else takes them.
    doubtful: Arc<Mutex<HashSet<CaseId>>>,
    /// Whether the store did not say which cases it gave this node.
    unheard: Arc<AtomicBool>,
    /// One driver a case at a time.
    drivers: Arc<Mutex<HashMap<CaseId, Arc<tokio::sync::Mutex<()>>>>>,
    /// What was stopped when somebody last looked.
    pub(super) stopped: Arc<RwLock<Vec<Stop>>>,
    /// How the dials stood when somebody last looked.
    pub(super) dial: Arc<Mutex<Followed>>,
    /// What staff has looked at lately.
    pub(super) looked: Arc<Mutex<Looks>>,
    /// What the open planner knows of resolved cases.
    pub(super) remembered: Arc<Mutex<Remembered>>,
    /// Told when another node leaves something that is due.
    wake: Arc<Notify>,
    changed: broadcast::Sender<CaseId>,
    /// Calls whose intent this process recorded and which it has not sent yet. Only these are known not to
    /// have left: after a restart nobody knows.
    pub(super) unsent: Arc<Mutex<HashSet<CallId>>>,
}

/// An accepted message on its way into a case.
pub struct Incoming {
    pub by: Principal,
    pub message: Message,
    /// The `jti` of the token that verified the sender.
    pub token: Option<String>,
    /// The caller's Idempotency-Key and the digest of the whole request.
    pub key: Option<(String, Digest)>,
}

/// A human's decision about an approval.
pub struct Decide {
    pub by: Principal,
    pub approve: bool,
    pub reason: Option<String>,
    /// What the approver saw, when they name it.
    pub binding: Option<Digest>,
}

/// What came of the event of another system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The case waited for it and goes on.
    Taken,
    /// The case does not wait for it, or not any more.
    NotAwaited,
    /// It came before.
    Duplicate,
    /// A case was opened for it.
    Opened,
}

/// A case whose driver ended without getting on so many times in a row is put aside.
const MOST_ATTEMPTS: u32 = 5;
/// So many cases are taken over at once.
const TAKEN: usize = 64;
/// Due now by every clock: that of the store decides, and this machine's may be ahead of it.
const AT_ONCE: Timestamp = Timestamp::from_millis(0);

impl Cases {
    /// Joins those who work on the cases of the ledger.
    ///
    /// # Errors
    /// A ledger that cannot be written.
    pub fn new(parts: Parts) -> Result<Self, CaseError> {
        let (changed, _) = broadcast::channel(1024);
        let (others, wake) = (changed.clone(), Arc::new(Notify::new()));
        let own = Arc::clone(&wake);
        parts.ledger.store().listen(Box::new(move |told| {
            let (Told::Grown(stream) | Told::Due(stream)) = told;
            if matches!(told, Told::Due(_)) {
                own.notify_one();
            }
            if let Some((_, name)) =
                stream.split_once('/').filter(|(kind, _)| *kind == StreamKind::Case.as_str())
            {
                let _ = others.send(CaseId::new(name));
            }
        }));
        let node = Arc::new(Node::join(&parts.ledger)?);
        let cases = Self {
            parts: Arc::new(parts),
            node,
            claims: Arc::default(),
            doubtful: Arc::default(),
            unheard: Arc::default(),
            drivers: Arc::default(),
            stopped: Arc::default(),
            dial: Arc::default(),
            looked: Arc::new(Mutex::new(Looks::new(LOOKS))),
            remembered: Arc::default(),
            wake,
            changed,
            unsent: Arc::default(),
        };
        cases.note_evaluation()?;
        Ok(cases)
    }

    pub fn pack(&self) -> &Pack {
        &self.parts.pack
    }

    /// What a case keeps to: the pack that its plan is of, as long as that can be had.
    pub(super) async fn pack_of(&self, state: &State) -> Result<Arc<Pack>, LedgerError> {
        let current = &self.parts.pack;
        let pinned = state.plan.as_ref().and_then(|plan| plan.pack.clone());
        let Some(pinned) = pinned.filter(|pinned| *pinned != current.digest) else {
            return Ok(Arc::clone(current));
        };
        let packs = Arc::clone(&self.parts.packs);
        let loaded = blocking(move || packs.pinned(&pinned)).await?;
        // Without it the plan is another one, and the case goes to a person.
        Ok(loaded.unwrap_or_else(|| Arc::clone(current)))
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Told the id of every case whose events grew.
    pub fn subscribe(&self) -> broadcast::Receiver<CaseId> {
        self.changed.subscribe()
    }

    /// Writes the message into the ledger and returns the case: a new one, or the one that the same
    /// Idempotency-Key opened before. The caller then drives it.
    pub async fn accept(&self, incoming: Incoming) -> Result<CaseId, CaseError> {
        let scope = scope_of(&incoming.by);
        // What stands of a request in the clear must not tell what it was.
        let key = match incoming.key {
            Some((key, digest)) => Some((key, self.hidden("request", digest.to_string()).await?)),
            None => None,
        };
        if let Some((key, digest)) = &key
            && let Some(case) = self.known_key(&scope, key, digest).await?
        {
            return Ok(case);
        }
        let case = incoming.message.case.clone();
        let mut once = Vec::new();
        // The key first: the same request sent twice at once is one request, not a replayed token.
        if let Some((key, digest)) = &key {
            once.push(Once { scope: scope.clone(), key: key.clone(), value: format!("{case} {digest}") });
        }
        if let Some(token) = incoming.token {
            once.push(Once { scope: "identity token".into(), key: token, value: case.to_string() });
        }
        let Incoming { by, message, .. } = incoming;
        let received = |state: &State, _| match state.length == 0 && !self.parts.ledger.has_room() {
            true => Err(CaseError::NoRoom),
            false => Ok(Input::Received { by: by.clone(), message: message.clone() }),
        };
        match self.bring(&case, once, received).await {
            Ok(()) => Ok(case),
            Err(CaseError::Ledger(LedgerError::Used { scope: used, value })) => match (&key, used == scope) {
                (Some((_, digest)), true) => same_request(&value, digest),
                _ => Err(CaseError::TokenReplayed),
            },
            Err(error) => Err(error),
        }
    }

    /// Brings something from outside into a case, whoever works on it just then; `input` gets the case as it is and the
    /// time. The caller then drives it.
    pub(super) async fn bring(
        &self,
        case: &CaseId,
        once: Vec<Once>,
        input: impl Fn(&State, Timestamp) -> Result<Input, CaseError>,
    ) -> Result<(), CaseError> {
        let mut conflicts = 0..MOST_CONFLICTS;
        loop {
            let (state, at) = (self.state(case).await?, self.now().await?);
            if state.status == Status::Closed {
                return Err(LedgerError::Erased { stream: case.to_string() }.into());
            }
            let input = input(&state, at)?;
            let (key, pack) = (self.key_of(case).await?, self.pack_of(&state).await?);
            let dials = self.dials_for(&state).await?;
            let dial = Dial::InForce(&dials);
            let events = step(&state, input, &Now { at, pack: &pack, key: &key.secret, dial });
            if events.is_empty() {
                return Ok(());
            }
            let claiming = By::Claiming(self.node.name.clone());
            let (mut next, mut new) = (state, Vec::new());
            take(&mut next, events, at, &mut new);
            match self.append((&next, &key, &pack), &new, once.clone(), claiming).await {
                Ok(()) => return Ok(()),
                // Something else happened in the case meanwhile; this comes after it.
                Err(CaseError::Ledger(LedgerError::Conflict { .. })) if conflicts.next().is_some() => {}
                Err(error) => {
                    if matches!(&error, CaseError::Ledger(failed) if !failed.is_refusal()) {
                        self.kept_doubtful().insert(case.clone());
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The time that decides: that of the store, which all nodes share.
    pub(super) async fn now(&self) -> Result<Timestamp, LedgerError> {
        let ledger = Arc::clone(&self.parts.ledger);
        blocking(move || ledger.store().now()).await
    }

    /// The keyed digest of something personal that stands outside of a case.
    pub(super) async fn hidden(&self, purpose: &'static str, what: String) -> Result<Digest, LedgerError> {
        let ledger = Arc::clone(&self.parts.ledger);
        blocking(move || ledger.keys().hide(purpose, &what)).await
    }

    /// The case that this very request brought a message into before; a request is its Idempotency-Key and its digest.
    /// Nothing of a request that came before has to be read again.
    ///
    /// # Errors
    /// The key came with another request; the case was erased since; a ledger that cannot be read.
    pub async fn known(
        &self,
        by: &Principal,
        (key, digest): &(String, Digest),
    ) -> Result<Option<CaseId>, CaseError> {
        let digest = self.hidden("request", digest.to_string()).await?;
        self.known_key(&scope_of(by), key, &digest).await
    }

    async fn known_key(&self, scope: &str, key: &str, digest: &Digest) -> Result<Option<CaseId>, CaseError> {
        let (ledger, scope, key) = (Arc::clone(&self.parts.ledger), scope.to_owned(), key.to_owned());
        let value = blocking(move || ledger.claimed(&scope, &key)).await?;
        let case = value.map(|value| same_request(&value, digest)).transpose()?;
        if let Some(case) = &case {
            // What it held may have been erased since.
            self.key_of(case).await?;
        }
        Ok(case)
    }

    /// One driver in this process; the claim keeps those of others out.
    fn lock_of(&self, case: &CaseId) -> Arc<tokio::sync::Mutex<()>> {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.retain(|id, lock| id == case || Arc::strong_count(lock) > 1);
        Arc::clone(drivers.entry(case.clone()).or_default())
    }

    fn kept_claims(&self) -> MutexGuard<'_, HashMap<CaseId, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_doubtful(&self) -> MutexGuard<'_, HashSet<CaseId>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claim that came with a message, or a new one; `None` when another node has the case.
    async fn claim_of(&self, case: &CaseId) -> Result<Option<Claim>, CaseError> {
        if let Some(claim) = self.kept_claims().remove(case) {
            return Ok(Some(claim));
        }
        let (ledger, node) = (Arc::clone(&self.parts.ledger), self.node.name.clone());
        let stream = Stream::new(StreamKind::Case, case.as_str());
        let taken = blocking(move || ledger.store().take_one(&stream, &node)).await;
        if taken.is_err() {
            self.kept_doubtful().insert(case.clone());
        }
        Ok(taken?)
    }

    /// Does what is due in a case until it waits for somebody, unless another node does. Errors are of the store: the
    /// case stays as it is and goes on when it is driven again.
    pub async fn drive(&self, case: &CaseId) -> Result<State, CaseError> {
        let lock = self.lock_of(case);
        let _one = lock.lock().await;
        let Some(claim) = self.claim_of(case).await? else { return self.state(case).await };
        let done = AssertUnwindSafe(self.drive_on(case, &claim)).catch_unwind().await;
        let done = done.unwrap_or_else(|_| Err(CaseError::Died(case.clone())));
        let lost = matches!(done, Err(CaseError::Ledger(LedgerError::Lost { .. })));
        // What was erased is due never again.
        let erased = matches!(done, Err(CaseError::Ledger(LedgerError::Erased { .. })));
        let left_alone = (done.is_err() && !erased).then(|| backoff(claim.attempts));
        let attempts = match &done {
            Ok(_) => 0,
            // A store that does not answer says nothing about the case.
            Err(CaseError::Ledger(error)) if !matches!(error, LedgerError::Damaged { .. }) => {
                claim.attempts.saturating_sub(1)
            }
            Err(_) => claim.attempts,
        };
        let ledger = Arc::clone(&self.parts.ledger);
        let release = move || {
            let store = ledger.store();
            let now = left_alone.map(|_| store.now()).transpose()?;
            let due = now.zip(left_alone).map(|(now, wait)| now.plus_millis(wait));
            store.release(&claim, due, attempts)
        };
        let released = blocking(release).await;
        if released.is_err() {
            self.kept_doubtful().insert(case.clone());
        }
        if lost {
            tracing::warn!(%case, "another node has taken the case over");
            return self.state(case).await;
        }
        let state = done?;
        released?;
        Ok(state)
    }

    async fn drive_on(&self, case: &CaseId, claim: &Claim) -> Result<State, CaseError> {
        let (mut state, key) = (self.state(case).await?, self.key_of(case).await?);
        let (mut done, mut conflicts, mut attempts) = (None, 0..MOST_CONFLICTS, claim.attempts);
        // What has just begun is read in one go. Where somebody's work on it ended before, or something happened meanwhile,
        // each step is kept, and it gets on however often that happens; so is what an answer adds.
        let mut begins = state.length == 1 && claim.attempts <= 1;
        let mut unwritten = Vec::new();
        loop {
            let mut at = self.now().await?;
            let input = match (done.take(), state.due()) {
                (Some(done), _) => done,
                _ if state.deadline().is_some_and(|deadline| at >= deadline) => Input::Expired,
                (None, Some(_)) if attempts > MOST_ATTEMPTS => Input::Parked { attempts },
                (None, Some(effect)) => match self.timed(&state, effect, claim).await {
                    Err(CaseError::Ledger(LedgerError::Conflict { .. })) if conflicts.next().is_some() => {
                        state = self.state(case).await?;
                        continue;
                    }
                    performed => {
                        at = self.now().await?;
                        performed?
                    }
                },
                (None, None) => return Ok(state),
            };
            let (pack, dials) = (self.pack_of(&state).await?, self.dials_for(&state).await?);
            let dial = Dial::InForce(&dials);
            let events = step(&state, input.clone(), &Now { at, pack: &pack, key: &key.secret, dial });
            let stands = events.is_empty();
            take(&mut state, events, at, &mut unwritten);
            if begins && !stands && only_read(&input, state.due()) {
                continue;
            }
            let holder = By::Holder { epoch: claim.epoch, done: state.due().is_none() };
            match self.append((&state, &key, &pack), &unwritten, Vec::new(), holder).await {
                Ok(()) if stands => return Ok(state),
                // It has got on.
                Ok(()) => {
                    unwritten.clear();
                    attempts = 0;
                }
                Err(CaseError::Ledger(LedgerError::Conflict { .. })) if conflicts.next().is_some() => {
                    // A message came. What a call brought about stays true; everything else is looked at anew.
                    state = self.state(case).await?;
                    unwritten.clear();
                    begins = false;
                    done = Some(input).filter(|input| {
                        matches!(input, Input::Returned { .. } | Input::Stopped { .. } | Input::Several(_))
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn timed(&self, state: &State, effect: Effect, claim: &Claim) -> Result<Input, CaseError> {
        let (room, began) = (room_of(&effect), self.parts.clock.now());
        let performed =
            self.perform(state, effect, claim).instrument(tracing::info_span!("room", room)).await;
        let milliseconds = self.parts.clock.now().since(began);
        tracing::debug!(case = %state.case, room, milliseconds, "effect performed");
        performed
    }

    /// Until another node has left something that is due.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Drives a case in the background.
    pub fn start(&self, case: CaseId) {
        let cases = self.clone();
        tokio::spawn(async move {
            if let Err(error) = cases.drive(&case).await {
                tracing::error!(%case, %error, "the case stands still");
            }
        });
    }

    /// Takes over the cases that are due and that no living node has: those of a node that ended, and those whose time
    /// has come. Returns how many.
    pub async fn recover(&self) -> Result<usize, CaseError> {
        if self.unheard.load(Ordering::SeqCst) {
            let (ledger, node) = (Arc::clone(&self.parts.ledger), self.node.name.clone());
            let held = blocking(move || ledger.store().held(StreamKind::Case, &node)).await?;
            // Those that are driven just then go on under another claim.
            self.kept_doubtful().extend(held.into_iter().map(CaseId::new));
            self.unheard.store(false, Ordering::SeqCst);
        }
        let doubtful = std::mem::take(&mut *self.kept_doubtful());
        doubtful.into_iter().for_each(|case| self.start(case));
        let mut count = 0;
        loop {
            let (ledger, node) = (Arc::clone(&self.parts.ledger), Arc::clone(&self.node));
            let take = move || {
                node.beat()?;
                ledger.store().take(StreamKind::Case, &node.name, TAKEN)
            };
            let taken = blocking(take).await;
            if taken.is_err() {
                // It may have been done, and nobody knows of what.
                self.unheard.store(true, Ordering::SeqCst);
            }
            let taken = taken?;
            count += taken.len();
            let last = taken.len() < TAKEN;
            for claim in taken {
                let case = CaseId::new(claim.stream.name.clone());
                self.kept_claims().insert(case.clone(), claim);
                self.start(case);
            }
            if last {
                return Ok(count);
            }
        }
    }

    /// The state of a case, folded from the ledger. A case without events has length 0.
    pub async fn state(&self, case: &CaseId) -> Result<State, CaseError> {
        let entries = self.entries(case).await?;
        fold(case, &entries)
    }

    pub async fn entries(&self, case: &CaseId) -> Result<Vec<Entry>, CaseError> {
        let (ledger, stream) = (Arc::clone(&self.parts.ledger), Stream::new(StreamKind::Case, case.as_str()));
        Ok(blocking(move || ledger.stream(&stream, 0)).await?)
    }

    /// A case that exists.
    pub async fn existing(&self, case: &CaseId) -> Result<State, CaseError> {
        let state = self.state(case).await?;
        if state.length == 0 { Err(CaseError::NoCase(case.clone())) } else { Ok(state) }
    }

    /// Waits until the case needs somebody else, or the time is over.
    pub async fn wait(&self, case: &CaseId, limit: Duration) -> Result<State, CaseError> {
        let mut changes = self.subscribe();
        let waited = tokio::time::timeout(limit, async {
            loop {
                let state = self.existing(case).await?;
                if state.status != Status::Running {
                    return Ok::<State, CaseError>(state);
                }
                loop {
                    match changes.recv().await {
                        Ok(changed) if changed == *case => break,
                        Ok(_) => {}
                        // Too many changes to keep up with: look again.
                        Err(broadcast::error::RecvError::Lagged(_)) => break,
                        Err(broadcast::error::RecvError::Closed) => return self.existing(case).await,
                    }
                }
            }
        });
        match waited.await {
            Ok(result) => result,
            Err(_) => self.existing(case).await,
        }
    }

    /// Lets a stuck case go on. The caller then drives it.
    pub async fn retry(&self, case: &CaseId, by: &Principal) -> Result<(), CaseError> {
        let retried = |state: &State, _| match state.status {
            _ if state.length == 0 => Err(CaseError::NoCase(case.clone())),
            Status::Stuck => Ok(Input::Retried { by: by.clone() }),
            _ => Err(CaseError::NotStuck(case.clone())),
        };
        self.bring(case, Vec::new(), retried).await
    }

    /// The key of a case, a new one for a new case.
    async fn key_of(&self, case: &CaseId) -> Result<Key, CaseError> {
        let (ledger, stream) = (Arc::clone(&self.parts.ledger), Stream::new(StreamKind::Case, case.as_str()));
        Ok(blocking(move || ledger.key_of(&stream)).await?)
    }

    /// Writes these last events of a case, whole or not at all. The state is the one that they lead to.
    async fn append(
        &self,
        (state, key, pack): (&State, &Key, &Pack),
        events: &[(Event, Timestamp)],
        once: Vec<Once>,
        by: By,
    ) -> Result<(), CaseError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut new = Vec::with_capacity(events.len());
        for (event, at) in events {
            let body = serde_json::to_value(event).map_err(|error| unreadable(&state.case, &error))?;
            new.push(NewEvent { at: *at, kind: event.kind(), body });
        }
        let batch = Append {
            stream: Stream::new(StreamKind::Case, state.case.as_str()),
            expected: state.length - events.len() as u64,
            digests: self.digests_of(state, pack),
            events: new,
            status: state.status.as_str().to_owned(),
            once,
            due: if state.due().is_some() { Some(AT_ONCE) } else { state.deadline() },
            subjects: events.iter().flat_map(|(event, _)| subjects(event)).collect(),
            reserve: events.iter().filter_map(|(event, at)| reserved_by(state, event, *at)).collect(),
            free: events.iter().filter_map(|(event, _)| freed_by(event)).collect(),
            key: Some(key.clone()),
        };
        let claiming = matches!(by, By::Claiming(_));
        let ledger = Arc::clone(&self.parts.ledger);
        let claim = blocking(move || ledger.append(&batch, by)).await?;
        if let Some(claim) = claim.filter(|_| claiming) {
            self.kept_claims().insert(state.case.clone(), claim);
        }
        let intended = events.iter().filter_map(|(event, _)| match event {
            Event::Intended { call, .. } => Some(call.clone()),
            _ => None,
        });
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner).extend(intended);
        self.draw(state, events).await;
        // Nobody may be listening.
        let _ = self.changed.send(state.case.clone());
        Ok(())
    }

    /// What is in force now: everything that decides.
    pub fn digests(&self) -> Digests {
        self.digests_with(&self.parts.pack)
    }

    fn digests_with(&self, pack: &Pack) -> Digests {
        let parts = &self.parts;
        let mut digests = Digests::from([
            ("program".to_owned(), parts.program.clone()),
            ("pack".to_owned(), pack.digest.clone()),
            ("rules".to_owned(), pack.governance.rules.digest().clone()),
            ("autonomy".to_owned(), pack.governance.autonomy.digest().clone()),
            ("administration".to_owned(), pack.governance.administration.digest().clone()),
            ("model".to_owned(), parts.models.current().digest().clone()),
            ("generation".to_owned(), parts.generation().digest().clone()),
        ]);
        digests.extend(parts.bank_codes.digest().map(|digest| ("bank_codes".to_owned(), digest.clone())));
        digests
    }

    /// The same, with what the case keeps to: its pack, the bundle that read the message at hand, and the policies that
    /// were searched.
    fn digests_of(&self, state: &State, pack: &Pack) -> Digests {
        let mut digests = self.digests_with(pack);
        digests.extend(
            state.grounds.as_ref().map(|grounds| ("generation".to_owned(), grounds.generation.clone())),
        );
        digests.extend(
            state.reading.as_ref().map(|reading| ("model".to_owned(), reading.digests.model.clone())),
        );
        digests
    }
}

/// Folds what happened just now, and puts it to what is not written yet.
fn take(state: &mut State, events: Vec<Event>, at: Timestamp, unwritten: &mut Vec<(Event, Timestamp)>) {
    events.iter().for_each(|event| state.apply(event, at));
    unwritten.extend(events.into_iter().map(|event| (event, at)));
}

/// Whether what was done and what comes next only read. It is written with what comes of it, and done anew if the process
/// ends before: nothing of it was seen outside.
fn only_read(done: &Input, next: Option<Effect>) -> bool {
    let read = matches!(done, Input::Understood(_) | Input::Found { .. } | Input::Grounded { .. });
    read && matches!(next, Some(Effect::LookUp | Effect::Search | Effect::Compose))
}

/// How long a case whose work failed is left alone, in milliseconds: a second, then twice as long each time.
fn backoff(attempts: u32) -> i64 {
    1000 * 2_i64.pow(attempts.clamp(1, 9) - 1)
}

fn room_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Understand => "understanding",
        Effect::LookUp => "records",
        Effect::Search => "policy",
        Effect::Call(_) | Effect::Calls(_) => "acting",
        Effect::Compose => "reply",
    }
}

fn scope_of(by: &Principal) -> String {
    format!("idempotency/{}", by.name)
}

fn same_request(value: &str, digest: &Digest) -> Result<CaseId, CaseError> {
    match value.split_once(' ') {
        Some((case, known)) if known == digest.as_str() => Ok(CaseId::new(case)),
        _ => Err(CaseError::KeyReused),
    }
}

/// Folds a case's entries.
pub fn fold(case: &CaseId, entries: &[Entry]) -> Result<State, CaseError> {
    let mut state = State::new(case.clone());
    for entry in entries {
        state.apply(&event_of(case, entry)?, entry.at);
    }
    Ok(state)
}

pub(super) fn event_of(case: &CaseId, entry: &Entry) -> Result<Event, CaseError> {
    serde_json::from_value(entry.body.clone()).map_err(|error| unreadable(case, &error))
}

fn unreadable(case: &CaseId, error: &serde_json::Error) -> CaseError {
    // Serde's own text may quote a value.
    let reason = format!("not the form of an event, at column {}", error.column());
    CaseError::Unreadable { case: case.clone(), reason }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(LedgerError::Store("the store's thread ended".to_owned())))
}
