//! What else an auditor asks about: who of the staff has looked at what, and which policies were in force when. Each is an
//! event of a stream that never changes what a case does.

use super::CaseError;
use super::run::{Cases, MOST_CONFLICTS, blocking};
use crate::base::{CaseId, Timestamp};
use crate::governance::Principal;
use crate::ledger::{Append, By, LedgerError, NewEvent, Stream, StreamKind};
use lru::LruCache;
use serde_json::json;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError};

/// Who looks at the same again within so many milliseconds is still looking.
const SAME_LOOK: i64 = 15 * 60_000;

/// So many looks are remembered.
pub(super) const LOOKS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Who looked last at what, and when.
pub(super) type Looks = LruCache<(String, &'static str, CaseId), Timestamp>;

const GENERATIONS: &str = "generations";

impl Cases {
    /// Writes down that somebody looks at cases, before they get to see them.
    ///
    /// # Errors
    /// A ledger that cannot be written: then nobody sees anything.
    pub async fn note_access(
        &self,
        by: &Principal,
        what: &'static str,
        cases: Vec<CaseId>,
    ) -> Result<(), CaseError> {
        let now = self.parts().clock.now();
        let own = |case: &CaseId| (by.name.clone(), what, case.clone());
        let cases: Vec<CaseId> = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let mut anew = |case: &CaseId| {
                let before = looked.get(&own(case));
                before.is_none_or(|before| now.since(*before) > SAME_LOOK || now < *before)
            };
            cases.into_iter().filter(|case| anew(case)).collect()
        };
        if cases.is_empty() {
            return Ok(());
        }
        let body = json!({ "by": by, "what": what, "cases": cases });
        let stream = Stream::new(StreamKind::Access, by.name.clone());
        let writes = self.clone();
        blocking(move || writes.note(&stream, NewEvent { kind: "looked", body })).await?;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        for case in &cases {
            looked.put(own(case), now);
        }
        Ok(())
    }

    /// Writes down which policies answer, when others do than the ledger says. Blocks.
    pub fn note_generation(&self) -> Result<(), LedgerError> {
        let parts = self.parts();
        let generation = parts.policies.current().digest().clone();
        let stream = Stream::new(StreamKind::Policies, GENERATIONS);
        let body = json!({ "generation": generation });
        let last = parts.ledger.store().head(&stream)?.map_or(0, |head| head.length.saturating_sub(1));
        if parts.ledger.stream(&stream, last)?.last().is_some_and(|entry| entry.body == body) {
            return Ok(());
        }
        self.note(&stream, NewEvent { kind: "answers", body })
    }

    /// Appends an event, whatever was there before.
    fn note(&self, stream: &Stream, event: NewEvent) -> Result<(), LedgerError> {
        let parts = self.parts();
        let ledger = Arc::clone(&parts.ledger);
        let mut conflicts = 0..MOST_CONFLICTS;
        loop {
            let batch = Append {
                stream: stream.clone(),
                expected: ledger.store().head(stream)?.map_or(0, |head| head.length),
                at: ledger.store().now()?,
                digests: self.digests(),
                events: vec![event.clone()],
                status: "kept".to_owned(),
                once: Vec::new(),
                due: None,
                subjects: Vec::new(),
                key: None,
            };
            match ledger.append(&batch, By::Anybody) {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict { .. }) if conflicts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
