//! Erasure (Regulation (EU) 2016/679, article 17): which cases hold data of somebody, which of them must be kept, and
//! the destruction of the keys of the others.
//!
//! A case that holds data of two customers is kept until both have asked for it: what one of them wants forgotten may be
//! what the other must be able to prove.

use super::event::Event;
use super::pack::Pack;
use super::run::{event_of, fold};
use super::state::Status;
use super::{CaseError, State};
use crate::base::{CaseId, Timestamp};
use crate::intake::Identity;
use crate::ledger::{
    Append, By, Digests, Entry, Ledger, LedgerError, NOT_LOOKED, NewEvent, Stream, StreamKind, Subject,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// The one stream of its kind.
const STREAM: &str = "erasures";
const ERASED: &str = "erased";

const CUSTOMER: &str = "customer";
const KINDS: [&str; 3] = [CUSTOMER, "record", "sender"];

const DAY: i64 = 86_400_000;

/// `[[retention]]` of config/cases.toml: what must be kept although somebody wants it erased.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// How people are told why.
    pub name: String,
    /// From the last event of the case on.
    pub days: i64,
    /// Cases in which one of these tools was called, and cases about one of these leaves; without either, all.
    #[serde(default)]
    pub tools: BTreeSet<String>,
    #[serde(default)]
    pub leaves: BTreeSet<String>,
}

/// A case that was not erased.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    pub case: CaseId,
    pub reason: String,
    /// Until then; `None` where it depends on somebody.
    pub until: Option<Timestamp>,
}

/// Why, and until when.
type Held = (String, Option<Timestamp>);

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Erasure {
    pub erased: Vec<CaseId>,
    pub kept: Vec<Kept>,
    /// Of whom the ledger knows nothing.
    pub unknown: Vec<String>,
}

/// Whom an event is about: the verified sender, or who it was said to be; the records that a look-up selected, and whose
/// they are.
pub(super) fn subjects(event: &Event) -> Vec<Subject> {
    let of = |kind, id: &str| Subject { kind, id: id.to_owned() };
    match event {
        Event::Received { message, .. } => match &message.identity {
            Identity::Verified { customer, .. } => vec![of(CUSTOMER, customer.as_str())],
            Identity::Claimed { from } => vec![of("sender", &from.trim().to_lowercase())],
            Identity::Anonymous => Vec::new(),
        },
        Event::Found { facts, .. } => {
            let selected = facts.selected.iter().map(|record| of("record", record.as_str()));
            let owners = facts.records.iter().map(|record| of(CUSTOMER, record.owner.as_str()));
            selected.chain(owners).collect()
        }
        _ => Vec::new(),
    }
}

/// Why a case must be kept, and until when; `None` when nothing holds it.
fn held(state: &State, events: &[Event], pack: &Pack, now: Timestamp) -> Option<Held> {
    let service = &pack.service;
    let last = state.updated_at.unwrap_or(now);
    let after = |days: i64| Timestamp::from_millis(last.as_millis().saturating_add(days.saturating_mul(DAY)));
    match state.status {
        Status::Running | Status::WaitingApproval | Status::WaitingEvent | Status::Stuck => {
            return Some(("the case is open".to_owned(), None));
        }
        Status::WaitingCustomer | Status::WithHuman if now < after(service.open_days) => {
            let reason = "the case is open: it waits for the customer, or a person has it".to_owned();
            return Some((reason, Some(after(service.open_days))));
        }
        _ => {}
    }
    let covers = |rule: &&Retention| {
        let all = rule.tools.is_empty() && rule.leaves.is_empty();
        all || events.iter().any(|event| match event {
            Event::Intended { tool, .. } => rule.tools.contains(tool),
            Event::Planned { leaf, .. } => rule.leaves.contains(leaf),
            _ => false,
        })
    };
    let longest = service.retention.iter().filter(covers).max_by_key(|rule| rule.days)?;
    let until = after(longest.days);
    (now < until).then(|| (longest.name.clone(), Some(until)))
}

/// What somebody asked for earlier: hidden, as the store has it.
#[derive(Deserialize)]
struct Asked {
    subjects: Vec<String>,
    erased: Vec<CaseId>,
}

/// Erases every case that holds data of these, each a customer's id, a record's id or a sender's address, unless it must
/// be kept. Blocks. What was to be erased is an event before any key is destroyed; whoever was interrupted does it again.
///
/// # Errors
/// A ledger that cannot be read or written.
pub fn erase(
    ledger: &Ledger,
    digests: &Digests,
    pack: &Pack,
    (wanted, by): (&[String], &str),
    now: Timestamp,
) -> Result<Erasure, CaseError> {
    let mut found = Erasure { erased: Vec::new(), kept: look_at_earlier(ledger)?, unknown: Vec::new() };
    let (mut asking, mut cases) = (BTreeSet::new(), BTreeSet::new());
    for id in wanted {
        let mut known = false;
        for kind in KINDS {
            let id = if kind == "sender" { id.trim().to_lowercase() } else { id.trim().to_owned() };
            let subject = Subject { kind, id };
            let names = ledger.streams_of(StreamKind::Case, &subject)?;
            known |= !names.is_empty();
            cases.extend(names);
            asking.insert(ledger.hidden(&subject)?);
        }
        if !known {
            found.unknown.push(id.clone());
        }
    }
    let earlier = asked(ledger)?;
    let willing: BTreeSet<&String> =
        asking.iter().chain(earlier.iter().flat_map(|asked| &asked.subjects)).collect();
    for name in cases {
        let stream = Stream::new(StreamKind::Case, name.clone());
        let case = CaseId::new(name);
        let entries = match ledger.stream(&stream, 0) {
            Ok(entries) => entries,
            // Somebody was interrupted after the key was destroyed.
            Err(LedgerError::Erased { .. }) => {
                found.erased.push(case);
                continue;
            }
            Err(error) => {
                found.kept.push(unread(case, error.into())?);
                continue;
            }
        };
        let held = match reason(ledger, &stream, (&case, &entries), pack, &willing, now) {
            Ok(Some(held)) => Some(held),
            Ok(None) => closed(ledger, digests, (&stream, &entries), by, now)?,
            Err(error) => {
                found.kept.push(unread(case, error)?);
                continue;
            }
        };
        match held {
            Some((reason, until)) => found.kept.push(Kept { case, reason, until }),
            None => found.erased.push(case),
        }
    }
    if !found.erased.is_empty() || !found.kept.is_empty() {
        let body = json!({"by": by, "subjects": asking, "erased": found.erased, "kept": found.kept});
        let stream = Stream::new(StreamKind::Erasures, STREAM);
        ledger.note(&stream, digests, &NewEvent { at: now, kind: ERASED, body })?;
        let streams: Vec<Stream> =
            found.erased.iter().map(|case| Stream::new(StreamKind::Case, case.as_str())).collect();
        if !streams.is_empty() {
            ledger.erase(&streams)?;
        }
    }
    Ok(found)
}

/// A case that cannot be read must not stand in the way of the others; it is told.
fn unread(case: CaseId, error: CaseError) -> Result<Kept, CaseError> {
    match error {
        CaseError::Ledger(LedgerError::Damaged { reason, .. }) => Ok(Kept { case, reason, until: None }),
        CaseError::Unreadable { reason, .. } => Ok(Kept { case, reason, until: None }),
        error => Err(error),
    }
}

/// Writes the last event of a case: whoever wants to write into it from then on is refused, so that nothing is accepted
/// that nobody could read. Why not, when something has happened in it just then.
fn closed(
    ledger: &Ledger,
    digests: &Digests,
    (stream, entries): (&Stream, &[Entry]),
    by: &str,
    at: Timestamp,
) -> Result<Option<Held>, CaseError> {
    let event = Event::Closed { by: by.to_owned() };
    if entries.last().is_some_and(|last| last.kind == event.kind()) {
        return Ok(None);
    }
    let body = serde_json::to_value(&event).map_err(|error| LedgerError::Store(error.to_string()))?;
    let events = vec![NewEvent { at, kind: event.kind(), body }];
    let last = Append::kept(stream.clone(), entries.len() as u64, digests.clone(), events);
    let batch = Append { status: Status::Closed.as_str().to_owned(), ..last };
    match ledger.append(&batch, By::Anybody) {
        Ok(_) => Ok(None),
        Err(LedgerError::Conflict { .. }) => {
            Ok(Some(("something happens in it just now; do it again".to_owned(), None)))
        }
        Err(error) => Err(error.into()),
    }
}

fn reason(
    ledger: &Ledger,
    stream: &Stream,
    (case, entries): (&CaseId, &[Entry]),
    pack: &Pack,
    willing: &BTreeSet<&String>,
    now: Timestamp,
) -> Result<Option<Held>, CaseError> {
    let events: Vec<Event> = entries.iter().map(|entry| event_of(case, entry)).collect::<Result<_, _>>()?;
    let state = fold(case, entries)?;
    if state.status == Status::Closed {
        // It was let go before, and whoever did it was interrupted: time that passed since holds nothing.
        return Ok(None);
    }
    if let Some(held) = held(&state, &events, pack, now) {
        return Ok(Some(held));
    }
    let others = ledger.store().subjects_of(stream)?;
    let shared = others.iter().any(|other| other.starts_with(CUSTOMER) && !willing.contains(other));
    let reason =
        "it holds data of a customer who was not named; it is erased when they ask for it, too".to_owned();
    Ok(shared.then_some((reason, None)))
}

fn asked(ledger: &Ledger) -> Result<Vec<Asked>, LedgerError> {
    let entries = ledger.stream(&Stream::new(StreamKind::Erasures, STREAM), 0)?;
    let damaged = |_| LedgerError::Damaged {
        stream: STREAM.to_owned(),
        reason: "it is not the form of an erasure".to_owned(),
    };
    let all = entries.iter().map(|entry| serde_json::from_value(entry.body.clone()).map_err(damaged));
    all.collect()
}

/// Cases that were to be erased and whose keys are still there: whoever began was interrupted. Blocks.
pub fn unfinished(ledger: &Ledger) -> Result<Vec<CaseId>, LedgerError> {
    let closed = ledger.heads(StreamKind::Case, Some(Status::Closed.as_str()), None)?;
    let begun: BTreeSet<CaseId> =
        erased(ledger)?.into_iter().chain(closed.into_iter().map(|head| CaseId::new(head.name))).collect();
    let mut left = Vec::new();
    for case in begun {
        match ledger.key_of(&Stream::new(StreamKind::Case, case.as_str())) {
            Ok(_) => left.push(case),
            Err(LedgerError::Erased { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Every case that was erased: a program with a copy of it must not keep that. Blocks.
pub fn erased(ledger: &Ledger) -> Result<Vec<CaseId>, LedgerError> {
    Ok(asked(ledger)?.into_iter().flat_map(|asked| asked.erased).collect())
}

/// Finds whom the cases of an earlier program are about. Returns those of which nobody can tell.
fn look_at_earlier(ledger: &Ledger) -> Result<Vec<Kept>, CaseError> {
    let mut unclear = Vec::new();
    for name in ledger.store().streams_of(StreamKind::Case, NOT_LOOKED)? {
        let stream = Stream::new(StreamKind::Case, name.clone());
        let case = CaseId::new(name);
        let about = || -> Result<BTreeSet<Subject>, CaseError> {
            let events = ledger.stream(&stream, 0)?;
            let events: Vec<Event> =
                events.iter().map(|entry| event_of(&case, entry)).collect::<Result<_, _>>()?;
            Ok(events.iter().flat_map(subjects).collect())
        };
        let of_case = match about() {
            Ok(of_case) => of_case,
            Err(CaseError::Ledger(LedgerError::Erased { .. })) => continue,
            Err(error) => {
                let Kept { case, reason, until } = unread(case, error)?;
                let reason = format!("nobody can tell whom it is about: {reason}");
                unclear.push(Kept { case, reason, until });
                continue;
            }
        };
        let hidden = of_case.iter().map(|subject| ledger.hidden(subject)).collect::<Result<_, _>>()?;
        ledger.store().note_subjects(&stream, hidden)?;
    }
    Ok(unclear)
}
