//! Who of the staff has looked at what: an event of a stream for each person, which never changes what a case does.

use super::CaseError;
use super::run::{Cases, blocking};
use crate::base::{CaseId, Timestamp};
use crate::governance::Principal;
use crate::ledger::{NewEvent, Stream, StreamKind};
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
        let (ledger, digests, at) = (Arc::clone(&self.parts().ledger), self.digests(), self.now().await?);
        let event = NewEvent { at, kind: "looked", body };
        blocking(move || ledger.note(&stream, &digests, &event)).await?;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        for case in &cases {
            looked.put(own(case), now);
        }
        Ok(())
    }
}
