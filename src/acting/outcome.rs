//! What came of one call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The end of one call. There is no "probably": what is not known is `Ambiguous`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The tool said that it acted, in the declared form. `stale`: it only reads, it failed, and this is what it said
    /// before.
    Done {
        result: Value,
        #[serde(default, skip_serializing_if = "is_fresh")]
        stale: bool,
    },
    /// The tool certainly did not act.
    Failed { reason: String },
    /// The request may have been carried out; the tool's own rule did not settle it.
    Ambiguous { reason: String },
    /// The act was undone.
    Compensated { reason: String },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_fresh(stale: &bool) -> bool {
    !*stale
}
