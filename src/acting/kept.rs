//! Answers of tools that only read. One stands in, marked as stale, when the system fails.

use crate::base::{Digest, Timestamp};
use lru::LruCache;
use serde_json::Value;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// So many answers are kept.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// By tool and arguments.
pub(super) struct Kept(Mutex<LruCache<(String, Digest), (Timestamp, Value)>>);

impl Kept {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }

    pub fn keep(&self, tool: &str, arguments: &Value, result: &Value, now: Timestamp) {
        let Ok(digest) = Digest::of_json(arguments) else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put((tool.to_owned(), digest), (now, result.clone()));
    }

    /// What was answered to the same arguments at most so long ago.
    pub fn of(&self, tool: &str, arguments: &Value, most_ms: u64, now: Timestamp) -> Option<Value> {
        let digest = Digest::of_json(arguments).ok()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, result) = kept.get(&(tool.to_owned(), digest))?;
        let age = u64::try_from(now.since(*at)).ok()?;
        (age <= most_ms).then(|| result.clone())
    }

    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
