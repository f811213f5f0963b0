//! The dial's stream: the evidence, and what people and figures made of it. Every node reads what is new of it before it
//! decides, and a restart folds it again.

use super::CaseError;
use super::run::{Cases, blocking};
use super::state::State;
use crate::base::{Digest, Timestamp};
use crate::governance::{Asked, Autonomy, Book, DialEvent, Dials, Draw, Level, Measured};
use crate::ledger::{Append, By, Digests, Ledger, LedgerError, MOST_CONFLICTS, NewEvent, Stream, StreamKind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

/// The one stream of its kind.
const STREAM: &str = "dial";

/// So often what follows from what was just written is written, too: a demotion, and the move that comes of it.
const ROUNDS: usize = 3;

/// What was read of the stream so far, and how the dials stand by it, for each model that was asked about.
#[derive(Default)]
pub(super) struct Followed {
    book: Book,
    dials: Vec<Arc<Dials>>,
}

impl Followed {
    fn refresh(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        let before = self.book.length;
        follow(ledger, &mut self.book)?;
        if self.book.length != before {
            self.dials.clear();
        }
        Ok(())
    }

    fn dials(&mut self, autonomy: &Autonomy, model: &Digest) -> Arc<Dials> {
        if let Some(known) = self.dials.iter().find(|known| known.model == *model) {
            return Arc::clone(known);
        }
        let dials = Arc::new(self.book.dials(autonomy, model));
        self.dials.push(Arc::clone(&dials));
        dials
    }
}

fn follow(ledger: &Ledger, book: &mut Book) -> Result<(), LedgerError> {
    for entry in ledger.stream(&Stream::new(StreamKind::Autonomy, STREAM), book.length)? {
        let event = serde_json::from_value(entry.body).map_err(|_| LedgerError::Damaged {
            stream: entry.stream,
            reason: "it is not the form of an event of the dial".to_owned(),
        })?;
        book.apply(event, entry.seq, entry.at);
    }
    Ok(())
}

/// The whole stream. Blocks.
///
/// # Errors
/// A ledger that cannot be read.
pub fn dial_book(ledger: &Ledger) -> Result<Book, LedgerError> {
    let mut book = Book::default();
    follow(ledger, &mut book)?;
    Ok(book)
}

/// Writes what `decide` makes of the stream as it is, of which the book knows the beginning; what somebody else wrote
/// meanwhile comes first. Blocks. Gives how many events were written.
fn write<E: From<LedgerError>>(
    (ledger, mut book): (&Ledger, Book),
    digests: &Digests,
    at: Timestamp,
    decide: impl Fn(&Book) -> Result<Vec<DialEvent>, E>,
) -> Result<usize, E> {
    let mut conflicts = 0..MOST_CONFLICTS;
    loop {
        follow(ledger, &mut book)?;
        let events = decide(&book)?;
        if events.is_empty() {
            return Ok(0);
        }
        let count = events.len();
        let events = events.into_iter().map(|event| entry(&event, at)).collect();
        let stream = Stream::new(StreamKind::Autonomy, STREAM);
        match ledger.append(&Append::kept(stream, book.length, digests.clone(), events), By::Anybody) {
            Ok(_) => return Ok(count),
            Err(LedgerError::Conflict { .. }) if conflicts.next().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn entry(event: &DialEvent, at: Timestamp) -> NewEvent {
    NewEvent { at, kind: kind_of(event), body: serde_json::to_value(event).unwrap_or(Value::Null) }
}

const fn kind_of(event: &DialEvent) -> &'static str {
    match event {
        DialEvent::Evaluated(_) => "evaluated",
        DialEvent::Drawn(_) => "drawn",
        DialEvent::Reviewed { .. } => "reviewed",
        DialEvent::Withdrawn { .. } => "withdrawn",
        DialEvent::Moved { .. } => "moved",
        DialEvent::Demoted { .. } => "demoted",
        DialEvent::Lowered(_) => "lowered",
        DialEvent::RaiseAsked(_) => "raise_asked",
        DialEvent::Raised(_) => "raised",
    }
}

impl Cases {
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the dials stand for a model, by what the ledger says now. Blocks.
    pub fn look_at_dials(&self, model: &Digest) -> Result<Arc<Dials>, CaseError> {
        let mut followed = self.followed();
        followed.refresh(&self.parts().ledger)?;
        Ok(followed.dials(&self.parts().pack.governance.autonomy, model))
    }

    /// The same for the model that reads now. Blocks.
    pub fn dials(&self) -> Result<Arc<Dials>, CaseError> {
        self.look_at_dials(self.parts().models.current().digest())
    }

    /// The stream as it is. Blocks.
    pub(super) fn dial_events(&self) -> Result<Book, LedgerError> {
        let mut followed = self.followed();
        followed.refresh(&self.parts().ledger)?;
        Ok(followed.book.clone())
    }

    /// How the dials stand for the model that read the case at hand.
    pub(super) async fn dials_for(&self, state: &State) -> Result<Arc<Dials>, LedgerError> {
        let read_by = state.reading.as_ref().map(|reading| reading.digests.model.clone());
        let model = read_by.unwrap_or_else(|| self.parts().models.current().digest().clone());
        let own = self.clone();
        blocking(move || {
            let mut followed = own.followed();
            followed.refresh(&own.parts().ledger)?;
            Ok(followed.dials(&own.parts().pack.governance.autonomy, &model))
        })
        .await
    }

    /// Writes into the stream, and then what follows from it. Blocks.
    pub(super) fn write_dial(
        &self,
        decide: impl Fn(&Book) -> Result<Vec<DialEvent>, CaseError>,
    ) -> Result<(), CaseError> {
        let parts = self.parts();
        let at = parts.ledger.store().now()?;
        write((&parts.ledger, self.dial_events()?), &self.digests(), at, decide)?;
        self.note_moves()
    }

    /// Puts a draw behind whatever came before it. Blocks.
    pub(super) fn note_draw(&self, draw: Draw) -> Result<(), LedgerError> {
        let ledger = &self.parts().ledger;
        let event = entry(&DialEvent::Drawn(draw), ledger.store().now()?);
        ledger.note(&Stream::new(StreamKind::Autonomy, STREAM), &self.digests(), &event)
    }

    /// Writes down where the evidence has moved a dial, or the figures took one back. Blocks.
    pub fn note_moves(&self) -> Result<(), CaseError> {
        let parts = self.parts();
        let (at, model) = (parts.ledger.store().now()?, parts.models.current().digest().clone());
        let news = |book: &Book| {
            let news = book.news(&parts.pack.governance.autonomy, &model);
            news.iter().for_each(tell);
            Ok::<_, CaseError>(news)
        };
        for _ in 0..ROUNDS {
            if write((&parts.ledger, self.dial_events()?), &self.digests(), at, news)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes what the bundle that reads now was measured at as evidence, once. Blocks.
    pub fn note_evaluation(&self) -> Result<(), CaseError> {
        let models = &self.parts().models;
        let model = models.current().digest().clone();
        let Some(evaluation) = models.evidence(&model).and_then(|text| measured(&text, &model)) else {
            return self.note_moves();
        };
        self.write_dial(|book| match book.knows(&evaluation) {
            true => Ok(Vec::new()),
            false => Ok(vec![DialEvent::Evaluated(evaluation.clone())]),
        })
    }

    /// Turns a dial: down at once, up when a second person asks, too. Blocks.
    ///
    /// # Errors
    /// There is no such dial, it is that already, the bank does not let it, or the same person has asked before.
    pub fn turn_dial(&self, asked: &Asked) -> Result<Arc<Dials>, CaseError> {
        let parts = self.parts();
        let model = parts.models.current().digest().clone();
        self.write_dial(|book| {
            Ok(vec![book.asked(&parts.pack.governance.autonomy, &model, asked.clone())?])
        })?;
        self.look_at_dials(&model)
    }

    /// Messages or readings are not what they were: what was earned on those before does not count. Blocks.
    pub fn demote_for_drift(&self, crossed: &BTreeSet<String>) -> Result<(), CaseError> {
        let parts = self.parts();
        let autonomy = &parts.pack.governance.autonomy;
        let counting: Vec<&str> = autonomy.evidence.drift.intersection(crossed).map(String::as_str).collect();
        if counting.is_empty() {
            return Ok(());
        }
        let model = parts.models.current().digest().clone();
        let why = format!("drift beyond its threshold: {}", counting.join(", "));
        self.write_dial(|book| {
            // Also what is not earned yet: it must not be earned by what was before.
            let rows = book.dials(autonomy, &model).rows.into_values();
            let earning =
                rows.filter(|row| row.level == Level::Auto && row.max_error.is_some() && !row.demoted);
            Ok(earning
                .map(|row| DialEvent::Demoted { leaves: vec![row.leaf], tool: row.tool, why: why.clone() })
                .inspect(tell)
                .collect())
        })
    }
}

/// What the operators of a service hear.
fn tell(event: &DialEvent) {
    match event {
        DialEvent::Demoted { leaves, tool, why } => tracing::warn!(?leaves, tool, why, "a dial is demoted"),
        DialEvent::Moved { leaf, tool, level, threshold, why, .. } => {
            tracing::info!(leaf, tool, level = level.as_str(), threshold, why, "a dial has moved");
        }
        _ => {}
    }
}

/// What a bundle was measured at; `None` where that is of another one, or not readable.
pub fn measured(text: &str, model: &Digest) -> Option<Measured> {
    let read: Result<Measured, _> = serde_json::from_str(text);
    match read {
        Ok(evaluation) if evaluation.model == *model => Some(evaluation),
        Ok(evaluation) => {
            tracing::warn!(of = %evaluation.model, %model, "the evidence beside the bundle is of another one");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the evidence beside the bundle cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerSettings;

    #[test]
    fn what_was_written_is_there_after_a_restart_and_behind_what_came_first() {
        let folder = tempfile::tempdir().unwrap();
        let open = || LedgerSettings::default().open(folder.path()).unwrap();
        let ledger = open();
        let at = Timestamp::from_millis(1);
        let evaluation = Measured {
            model: Digest::of(b"m"),
            sets: Default::default(),
            leaves: [("a".to_owned(), vec![(9_000, 3, 1)])].into(),
        };
        let note = |ledger: &Ledger| {
            write((ledger, Book::default()), &Digests::new(), at, |book: &Book| {
                let known = book.knows(&evaluation);
                Ok::<_, LedgerError>(
                    (!known).then(|| DialEvent::Evaluated(evaluation.clone())).into_iter().collect(),
                )
            })
            .unwrap()
        };
        assert_eq!((note(&ledger), note(&ledger)), (1, 0));
        drop(ledger);
        let book = dial_book(&open()).unwrap();
        assert!(book.length == 1 && book.knows(&evaluation));
    }
}
