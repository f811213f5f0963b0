//! Performs the effects of cases and feeds the results back as inputs. Decides nothing.

use super::CaseError;
use super::event::Event;
use super::node::Node;
use super::pack::Pack;
use super::state::{CallState, Effect, State, Status};
use super::step::{ABOVE_LIMIT, Input, Now, call_request, step, within_limit};
use super::view::{PendingApproval, circumstances, leaf_of, plan_view, subject};
use crate::acting::{Acting, Call, Outcome};
use crate::base::{CallId, CaseId, Clock, Digest, Language, Timestamp};
use crate::governance::{Decision, Principal, Vote, admit};
use crate::intake::{BankCodes, Message, Recognised};
use crate::ledger::{
    Append, By, Claim, Digests, Entry, Ledger, LedgerError, NewEvent, Once, Stream, StreamKind,
};
use crate::planning::{Next, advance};
use crate::policy::{Audience, Grounds, Passage, Policies, Question};
use crate::records::{Facts, Lookup};
use crate::understanding::{Known, Live, Order, Readers, Reading, Shadow, Urgency};
use futures::FutureExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tracing::Instrument;

/// The rooms that the engine drives.
pub struct Parts {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<dyn Clock>,
    pub pack: Arc<Pack>,
    pub models: Arc<Live>,
    pub readers: Arc<Readers>,
    pub bank_codes: Arc<BankCodes>,
    pub lookup: Arc<Lookup>,
    pub policies: Arc<Policies>,
    pub acting: Arc<Acting>,
    /// Digest of the program itself.
    pub program: Digest,
}

/// The case engine. Cloning shares it.
#[derive(Clone)]
pub struct Cases {
    parts: Arc<Parts>,
    node: Arc<Node>,
    /// Claims of cases that nobody drives yet.
    claims: Arc<Mutex<HashMap<CaseId, Claim>>>,
    /// One driver a case at a time.
    drivers: Arc<Mutex<HashMap<CaseId, Arc<tokio::sync::Mutex<()>>>>>,
    changed: broadcast::Sender<CaseId>,
    /// Calls whose intent this process recorded and which it has not sent yet. Only these are known not to
    /// have left: after a restart nobody knows.
    unsent: Arc<Mutex<HashSet<CallId>>>,
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

/// The text for a customer whose request waits for a human's approval.
const WORKING: &str = "working";
/// How often an effect may be tried again in further cases after it certainly failed.
const CLAIMS: u32 = 20;
/// A case whose driver ended without getting on so many times in a row is put aside.
const MOST_ATTEMPTS: u32 = 5;
/// So many cases are taken over at once.
const TAKEN: usize = 64;
/// How many passages a case's search keeps.
const PASSAGES: usize = 5;

impl Cases {
    /// Joins those who work on the cases of the ledger.
    ///
    /// # Errors
    /// A ledger that cannot be written.
    pub fn new(parts: Parts) -> Result<Self, CaseError> {
        let (changed, _) = broadcast::channel(1024);
        let node = Arc::new(Node::join(&parts.ledger)?);
        Ok(Self {
            parts: Arc::new(parts),
            node,
            claims: Arc::default(),
            drivers: Arc::default(),
            changed,
            unsent: Arc::default(),
        })
    }

    pub fn pack(&self) -> &Pack {
        &self.parts.pack
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
        let scope = format!("idempotency/{}", incoming.by.name);
        if let Some((key, digest)) = &incoming.key
            && let Some(case) = self.known_key(&scope, key, digest).await?
        {
            return Ok(case);
        }
        let case = incoming.message.case.clone();
        let mut once = Vec::new();
        // The key first: the same request sent twice at once is one request, not a replayed token.
        if let Some((key, digest)) = &incoming.key {
            once.push(Once { scope: scope.clone(), key: key.clone(), value: format!("{case} {digest}") });
        }
        if let Some(token) = incoming.token {
            once.push(Once { scope: "identity token".into(), key: token, value: case.to_string() });
        }
        let Incoming { by, message, key, .. } = incoming;
        loop {
            let state = self.state(&case).await?;
            let input = Input::Received { by: by.clone(), message: message.clone() };
            let at = self.parts.clock.now();
            let events = step(&state, input, &Now { at, pack: &self.parts.pack });
            let claiming = By::Claiming(self.node.name.clone());
            match self.append(&state, &events, at, once.clone(), claiming).await {
                Ok(_) => return Ok(case),
                // Something else happened in the case meanwhile; the message comes after it.
                Err(CaseError::Ledger(LedgerError::Conflict { .. })) => {}
                Err(CaseError::Ledger(LedgerError::Used { scope: used, value })) => {
                    return match (&key, used == scope) {
                        (Some((_, digest)), true) => same_request(&value, digest),
                        _ => Err(CaseError::TokenReplayed),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn known_key(&self, scope: &str, key: &str, digest: &Digest) -> Result<Option<CaseId>, CaseError> {
        let (ledger, scope, key) = (Arc::clone(&self.parts.ledger), scope.to_owned(), key.to_owned());
        let value = blocking(move || ledger.claimed(&scope, &key)).await?;
        value.map(|value| same_request(&value, digest)).transpose()
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

    /// The claim that came with a message, or a new one; `None` when another node has the case.
    async fn claim_of(&self, case: &CaseId) -> Result<Option<Claim>, CaseError> {
        if let Some(claim) = self.kept_claims().remove(case) {
            return Ok(Some(claim));
        }
        let (ledger, node) = (Arc::clone(&self.parts.ledger), self.node.name.clone());
        let stream = Stream::new(StreamKind::Case, case.as_str());
        Ok(blocking(move || ledger.store().take_one(&stream, &node)).await?)
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
        let again = done.is_err().then(|| self.parts.clock.now().plus_millis(backoff(claim.attempts)));
        let ledger = Arc::clone(&self.parts.ledger);
        let released = blocking(move || ledger.store().release(&claim, again)).await;
        if lost {
            tracing::warn!(%case, "another node has taken the case over");
            return self.state(case).await;
        }
        let state = done?;
        released?;
        Ok(state)
    }

    async fn drive_on(&self, case: &CaseId, claim: &Claim) -> Result<State, CaseError> {
        let mut state = self.state(case).await?;
        let mut done = None;
        loop {
            let at = self.parts.clock.now();
            let input = match (done.take(), state.due()) {
                (Some(done), _) => done,
                _ if state.deadline().is_some_and(|deadline| self.passed(deadline)) => Input::Expired,
                (None, Some(_)) if claim.attempts > MOST_ATTEMPTS => {
                    Input::Parked { attempts: claim.attempts }
                }
                (None, Some(effect)) => match self.timed(&state, effect, claim).await {
                    Err(CaseError::Ledger(LedgerError::Conflict { .. })) => {
                        state = self.state(case).await?;
                        continue;
                    }
                    performed => performed?,
                },
                (None, None) => return Ok(state),
            };
            // What the store says is over is over, whatever this machine's clock says.
            let over = state.deadline().filter(|_| input == Input::Expired);
            let now = self.parts.clock.now().max(over.unwrap_or(at));
            let events = step(&state, input.clone(), &Now { at: now, pack: &self.parts.pack });
            if events.is_empty() {
                return Ok(state);
            }
            let holder = By::Holder { epoch: claim.epoch, done: false };
            match self.append(&state, &events, now, Vec::new(), holder).await {
                Ok(next) => state = next,
                Err(CaseError::Ledger(LedgerError::Conflict { .. })) => {
                    // A message came. What a call brought about stays true; everything else is looked at anew.
                    state = self.state(case).await?;
                    done = Some(input)
                        .filter(|input| matches!(input, Input::Returned { .. } | Input::Stopped { .. }));
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

    /// By the time of the store, which all nodes share.
    fn passed(&self, deadline: Timestamp) -> bool {
        self.parts.ledger.store().now().is_ok_and(|now| now >= deadline)
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
        let mut count = 0;
        loop {
            let (ledger, node) = (Arc::clone(&self.parts.ledger), self.node.name.clone());
            let taken = blocking(move || ledger.store().take(StreamKind::Case, &node, TAKEN)).await?;
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

    /// Every approval that waits for a decision, newest first.
    pub async fn approvals(&self) -> Result<Vec<PendingApproval>, CaseError> {
        let ledger = Arc::clone(&self.parts.ledger);
        let waiting =
            blocking(move || ledger.heads(StreamKind::Case, Some(Status::WaitingApproval.as_str()))).await?;
        let mut pending = Vec::new();
        for head in waiting {
            let state = self.state(&CaseId::new(head.name)).await?;
            pending.extend(PendingApproval::of(&state));
        }
        Ok(pending)
    }

    /// Records a human's decision. When it was the last one needed, the caller drives the case.
    pub async fn decide(&self, approval: &str, decide: Decide) -> Result<CaseId, CaseError> {
        let unknown = || CaseError::NoApproval(crate::base::ApprovalId::new(approval));
        // An approval's id begins with its case's.
        let case = CaseId::new(approval.rsplit_once(".a").ok_or_else(unknown)?.0);
        loop {
            let state = self.state(&case).await?;
            let Some((request, votes)) = state.approval.clone() else { return Err(unknown()) };
            if request.id.as_str() != approval || state.status != Status::WaitingApproval {
                return Err(unknown());
            }
            let at = self.parts.clock.now();
            admit(&request, &votes, &state.senders, &decide.by, decide.binding.as_ref(), at)?;
            let (by, reason) = (decide.by.name.clone(), decide.reason.clone());
            let vote = Vote { by, approve: decide.approve, reason, at };
            let events = step(&state, Input::Voted { vote }, &Now { at, pack: &self.parts.pack });
            let claiming = By::Claiming(self.node.name.clone());
            match self.append(&state, &events, at, Vec::new(), claiming).await {
                Ok(_) => return Ok(case),
                Err(CaseError::Ledger(LedgerError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn append(
        &self,
        state: &State,
        events: &[Event],
        at: Timestamp,
        once: Vec<Once>,
        by: By,
    ) -> Result<State, CaseError> {
        let mut next = state.clone();
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            next.apply(event, at);
            let body = serde_json::to_value(event).map_err(|error| unreadable(&state.case, &error))?;
            new.push(NewEvent { kind: event.kind(), body });
        }
        let batch = Append {
            stream: Stream::new(StreamKind::Case, state.case.as_str()),
            expected: state.length,
            at,
            digests: self.digests_of(&next),
            events: new,
            status: next.status.as_str().to_owned(),
            once,
            due: if next.due().is_some() { Some(at) } else { next.deadline() },
        };
        // The last thing for now: nobody needs to hold the case any more.
        let by = match by {
            By::Holder { epoch, .. } => By::Holder { epoch, done: next.due().is_none() },
            other => other,
        };
        let claiming = matches!(by, By::Claiming(_));
        let ledger = Arc::clone(&self.parts.ledger);
        let claim = blocking(move || ledger.append(&batch, by)).await?;
        if let Some(claim) = claim.filter(|_| claiming) {
            self.kept_claims().insert(state.case.clone(), claim);
        }
        let intended = events.iter().filter_map(|event| match event {
            Event::Intended { call, .. } => Some(call.clone()),
            _ => None,
        });
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner).extend(intended);
        // Nobody may be listening.
        let _ = self.changed.send(state.case.clone());
        Ok(next)
    }

    /// What is in force now: everything that decides.
    pub fn digests(&self) -> Digests {
        let parts = &self.parts;
        let mut digests = Digests::from([
            ("program".to_owned(), parts.program.clone()),
            ("pack".to_owned(), parts.pack.digest.clone()),
            ("rules".to_owned(), parts.pack.governance.rules.digest().clone()),
            ("autonomy".to_owned(), parts.pack.governance.autonomy.digest().clone()),
            ("model".to_owned(), parts.models.current().digest().clone()),
            ("generation".to_owned(), parts.policies.current().digest().clone()),
        ]);
        digests.extend(parts.bank_codes.digest().map(|digest| ("bank_codes".to_owned(), digest.clone())));
        digests
    }

    /// The same, with the bundle that read the message at hand.
    fn digests_of(&self, state: &State) -> Digests {
        let mut digests = self.digests();
        digests.extend(
            state.reading.as_ref().map(|reading| ("model".to_owned(), reading.digests.model.clone())),
        );
        digests
    }

    /// # Errors
    /// The claim is lost, or something happened in the case, just before a call.
    async fn perform(&self, state: &State, effect: Effect, claim: &Claim) -> Result<Input, CaseError> {
        let done = match effect {
            Effect::Understand => self.understand(state).await,
            Effect::LookUp => self.look_up(state).await,
            Effect::Search => self.search(state).await,
            Effect::Compose => self.compose(state),
            Effect::Call(id) => match state.calls.iter().find(|call| call.id == id) {
                Some(call) => Ok(self.call(state, call, claim).await?),
                None => Err(("acting", "the call is not recorded".to_owned())),
            },
        };
        Ok(done.unwrap_or_else(|(room, reason)| Input::Failed { room, reason }))
    }

    async fn understand(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let Some(message) = state.message().cloned() else {
            return Err(("understanding", "no message".into()));
        };
        let models = Arc::clone(&self.parts.models);
        // An answer is read by the bundle that read what it answers.
        let began_with = state.reading.as_ref().map(|reading| reading.digests.model.clone());
        let case = state.case.to_string();
        let own = Arc::clone(&models);
        // Another bundle than the current one may have to be loaded.
        let reads = tokio::task::spawn_blocking(move || match began_with {
            Some(model) => (own.pinned(&model), Some(model)),
            None => (own.current(), None),
        });
        let (reads, began_with) =
            reads.await.map_err(|_| ("understanding", "the bundle was not loaded".to_owned()))?;
        if let Some(model) = began_with.filter(|model| model != reads.digest()) {
            let reads = reads.digest();
            tracing::warn!(%case, %model, %reads, "the bundle that the case began with cannot be loaded");
        }
        let order = Order {
            models: reads,
            banks: Arc::clone(&self.parts.bank_codes),
            id: message.id.to_string(),
            text: message.text,
            language: message.language,
        };
        let done = self.parts.readers.read_surely(order, Urgency::Urgent).await;
        let done = done.map_err(|error| ("understanding", error.to_string()))?;
        if let Some(shadow) = models.shadow() {
            read_along(shadow, case, done.text, done.found, done.reading.clone());
        }
        Ok(Input::Understood(done.reading))
    }

    async fn look_up(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let id = state.message().map_or_else(String::new, |message| message.id.to_string());
        let lookup = &self.parts.lookup;
        let Some(circumstances) = circumstances(state) else {
            // How long it takes must not tell whether there is such a record.
            return Ok(Input::Found(lookup.find_evenly(&id, &state.fields).await));
        };
        let mut facts: Facts = lookup.find(&id, &state.fields).await;
        if let Some(grant) = self.parts.pack.governance.read(&circumstances.customer, &circumstances) {
            lookup.read(&grant, &mut facts, &state.fields).await;
        }
        Ok(Input::Found(facts))
    }

    /// Two searches in one: what the message asks, for the staff, and the documents that the leaf's plan
    /// rests on. Only public passages: a reply is made of them.
    async fn search(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let Some(message) = state.message() else { return Err(("policy", "no message".into())) };
        let leaf = state.plan.as_ref().map(|plan| plan.leaf.as_str());
        let leaf = leaf.or_else(|| state.reading.as_ref().map(leaf_of));
        let plan = leaf.and_then(|leaf| self.parts.pack.plans.by_leaf.get(leaf));
        let day = self.parts.clock.now().date();
        let Some(as_of) = crate::policy::parse_date(&day) else { return Err(("policy", "no date".into())) };
        let base = Question {
            id: message.id.to_string(),
            text: message.text.clone(),
            language: Some(message.language),
            audience: Audience::Public,
            as_of,
            documents: None,
            top: PASSAGES,
        };
        let mut questions = vec![base.clone()];
        for (document, question) in plan.into_iter().flat_map(|plan| {
            plan.documents
                .iter()
                .filter_map(|document| Some((document, plan.question.get(message.language.code())?)))
        }) {
            questions.push(Question {
                text: question.clone(),
                documents: Some(vec![localised(document, message.language)]),
                top: 2,
                ..base.clone()
            });
        }
        let policies = Arc::clone(&self.parts.policies);
        let found = tokio::task::spawn_blocking(move || {
            let generation = policies.current();
            questions.iter().map(|question| generation.search(question)).collect::<Result<Vec<Grounds>, _>>()
        });
        match found.await {
            Ok(Ok(all)) => merged(all).map(Input::Grounded).ok_or(("policy", "nothing was asked".to_owned())),
            Ok(Err(error)) => Err(("policy", error.to_string())),
            Err(_) => Err(("policy", "the search was cut off".to_owned())),
        }
    }

    fn compose(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let nothing = || ("reply", "there is nothing to compose".to_owned());
        let Some(next) = &state.next else { return Err(nothing()) };
        let working = WORKING.to_owned();
        let (template, with, cite) = match next {
            Next::Ask { template, with, .. } => (template, with.clone(), Vec::new()),
            Next::Reply { template, with, cite, .. } => (template, with.clone(), cite.clone()),
            Next::Escalate { template, .. } => (template, json!({}), Vec::new()),
            Next::Call { .. } => (&working, json!({}), Vec::new()),
        };
        let language = state.message().map_or(Language::De, |message| message.language);
        let records = state.facts.as_ref().map_or(&[][..], |facts| facts.records.as_slice());
        let mut context = with;
        if let ([record], Value::Object(members)) = (records, &mut context) {
            let mut fields = record.fields.clone();
            fields.insert("id".to_owned(), json!(record.id));
            members.insert("record".to_owned(), Value::Object(fields));
        }
        let subjects: Vec<_> = records.iter().map(subject).collect();
        let grant = circumstances(state)
            .and_then(|circumstances| self.parts.pack.governance.disclose(&subjects, &circumstances));
        let passages = cited(state, &cite, language);
        if passages.is_empty() && !cite.is_empty() {
            return Err(("policy", format!("no passage of {} is in force", cite.join(", "))));
        }
        let rendered =
            self.parts.pack.templates.render(language, template, &context, &passages, grant.as_ref());
        rendered.map(Input::Composed).map_err(|error| ("reply", error.to_string()))
    }

    async fn call(&self, state: &State, call: &CallState, held: &Claim) -> Result<Input, CaseError> {
        let arguments = Call::new(call.id.clone(), call.tool.clone(), call.arguments.clone());
        let permit = match self.permit(state, call).await {
            Ok(permit) => self.claim(call).await.map(|()| permit),
            Err(decision) => Err(decision),
        };
        let id = call.id.clone();
        self.still_holds(held, state.length).await?;
        if self.unsent.lock().unwrap_or_else(PoisonError::into_inner).remove(&call.id) {
            return Ok(match permit {
                Ok(permit) => {
                    Input::Returned { call: id, outcome: self.parts.acting.perform(permit, &arguments).await }
                }
                Err(decision) => Input::Stopped { call: id, decision },
            });
        }
        // Intent without result: it may have happened. The tool's own rule settles it.
        let intended_at = call.intended_at.unwrap_or_else(|| self.parts.clock.now());
        let (permit, refused) = match permit {
            Ok(permit) => (Some(permit), None),
            Err(decision) => (None, Some(decision)),
        };
        Ok(match (self.parts.acting.resolve_ambiguous(permit, &arguments, intended_at).await, refused) {
            (Outcome::Failed { .. }, Some(decision)) => Input::Stopped { call: id, decision },
            (outcome, _) => Input::Returned { call: id, outcome },
        })
    }

    /// Just before a call: this node lives, the case is still its own, and nothing has happened in it since.
    async fn still_holds(&self, claim: &Claim, length: u64) -> Result<(), CaseError> {
        let (ledger, node, own) = (Arc::clone(&self.parts.ledger), self.node.name.clone(), claim.clone());
        let checked = blocking(move || {
            let store = ledger.store();
            let stream = own.stream.to_string();
            match (store.holds(&own, &node, length)?, store.head(&own.stream)?) {
                (true, _) => Ok(()),
                (false, Some(head)) if head.length != length => {
                    Err(LedgerError::Conflict { stream, expected: length, actual: head.length })
                }
                (false, _) => Err(LedgerError::Lost { stream }),
            }
        });
        Ok(checked.await?)
    }

    /// One effect, one case: two cases about the same thing do not both bring it about. A claim whose call
    /// certainly did not act is passed on.
    async fn claim(&self, call: &CallState) -> Result<(), Decision> {
        let refused = |reason: &str| Decision::refused(&call.tool, reason);
        let what = json!([call.tool, call.record, call.arguments]).to_string();
        let digest = Digest::of(what.as_bytes());
        for turn in 0..CLAIMS {
            let once = Once {
                scope: format!("effect/{}", call.tool),
                key: format!("{digest}/{turn}"),
                value: call.id.to_string(),
            };
            let ledger = Arc::clone(&self.parts.ledger);
            let holder = blocking(move || ledger.claim(&once)).await;
            let holder = holder.map_err(|_| refused("the ledger could not record the claim"))?;
            if holder == call.id.as_str() {
                return Ok(());
            }
            let case = holder.rsplit_once(".c").map_or(holder.as_str(), |(case, _)| case);
            let other = self.state(&CaseId::new(case)).await;
            let failed = other.is_ok_and(|other| {
                let found = other.calls.iter().find(|known| known.id.as_str() == holder);
                matches!(found.and_then(|known| known.outcome.as_ref()), Some(Outcome::Failed { .. }))
            });
            if !failed {
                return Err(refused(&format!("the same is done or under way in case `{case}`")));
            }
        }
        Err(refused("the same was tried too often"))
    }

    /// The last check, on the record as it is now and the rules and dial in force now.
    async fn permit(&self, state: &State, call: &CallState) -> Result<crate::base::grants::Permit, Decision> {
        let refused = |reason: &str| Decision::refused(&call.tool, reason);
        if !within_limit(&self.parts.pack, call) {
            return Err(refused(ABOVE_LIMIT));
        }
        let at = self.parts.clock.now();
        let circumstances = circumstances(state).ok_or_else(|| refused("the sender is not verified"))?;
        let governance = &self.parts.pack.governance;
        let grant = governance
            .read(&circumstances.customer, &circumstances)
            .ok_or_else(|| refused("account data may not be read"))?;
        let id = call.record.as_ref().ok_or_else(|| refused("the call has no record"))?;
        let record = self
            .parts
            .lookup
            .refresh(&grant, id)
            .await
            .map_err(|error| refused(&format!("the record cannot be read again: {error}")))?;
        let mut fresh = state.clone();
        if let Some(facts) = &mut fresh.facts {
            facts.records = vec![record];
        }
        // The same arguments must follow from the record as it is now: what was judged is what is done.
        if let Some(plan) = &fresh.plan {
            let again = advance(&self.parts.pack.plans, &plan.cursor, &plan_view(&fresh, at), &fresh.asked);
            if !matches!(&again.next, Next::Call { arguments, .. } if *arguments == call.arguments) {
                return Err(refused("the record has changed since the call was proposed"));
            }
        }
        let votes = match &state.approval {
            Some((request, votes)) if request.call == call.id => votes.clone(),
            _ => Vec::new(),
        };
        let request = call_request(&fresh, call, &votes).ok_or_else(|| refused("the record has changed"))?;
        let digest = Digest::of_json(&call.arguments).map_err(|_| refused("the arguments are not JSON"))?;
        governance.permit(&request, &call.id, &digest)
    }
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
        Effect::Call(_) => "acting",
        Effect::Compose => "reply",
    }
}

/// A document is named in plans without its language: `account-unlock` stands for `account-unlock-de`.
fn localised(document: &str, language: Language) -> String {
    format!("{document}-{language}")
}

/// The best passage of each cited document.
fn cited(state: &State, cite: &[String], language: Language) -> Vec<Passage> {
    let found = state.grounds.as_ref().map_or(&[][..], |grounds| grounds.passages.as_slice());
    cite.iter()
        .filter_map(|document| {
            let wanted = localised(document, language);
            // The search for the plan's own question comes last and ranks within the document.
            let of_document = found.iter().filter(|passage| passage.document == wanted);
            of_document.max_by(|a, b| a.score.total_cmp(&b.score)).cloned()
        })
        .collect()
}

/// One grounds out of several searches of one generation; a passage that two of them found counts once,
/// with the better score.
fn merged(all: Vec<Grounds>) -> Option<Grounds> {
    let mut all = all.into_iter();
    let mut first = all.next()?;
    for further in all {
        for passage in further.passages {
            let same = |known: &&mut Passage| {
                known.document == passage.document
                    && known.start == passage.start
                    && known.version == passage.version
            };
            match first.passages.iter_mut().find(same) {
                Some(known) => known.score = known.score.max(passage.score),
                None => first.passages.push(passage),
            }
        }
    }
    Some(first)
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(LedgerError::Store("the store's thread ended".to_owned())))
}

/// Lets a challenger read the same message, where nobody waits for it.
fn read_along(shadow: Arc<Shadow>, case: String, text: String, found: Vec<Recognised>, said: Reading) {
    tokio::task::spawn_blocking(move || {
        let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
        if let Err(error) = shadow.read(&case, (&text, said.language), &known, &said) {
            tracing::warn!(%error, "the challenger could not read a message");
        }
    });
}
