//! What came of one call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The end of one call. There is no "probably": what is not known is `Ambiguous`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The tool said that it acted, in the declared form.
    Done { result: Value },
    /// The tool certainly did not act.
    Failed { reason: String },
    /// The request may have been carried out; the tool's own rule did not settle it.
    Ambiguous { reason: String },
    /// The act was undone.
    Compensated { reason: String },
}
