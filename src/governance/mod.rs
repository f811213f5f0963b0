//! Whether it may be done: a plan's call, a read of account data, a disclosure.
//!
//! Enters: a request (who, which tool, which record, in what circumstances), the rules and the autonomy
//! dial. Leaves: a `Decision`, and for what is permitted one of the three grants. Governance is pure,
//! and nobody else makes a grant. A rule that errs permits nothing.

mod access;
mod approval;
mod autonomy;
mod bound;
mod decide;
mod invariants;
pub mod prove;
mod rules;

pub use access::{Principal, Role};
pub use approval::{ApprovalRefused, ApprovalRequest, Vote, admit};
pub use autonomy::{Autonomy, Level};
pub use bound::upper_error;
pub use decide::{Decision, Governance, Request, Verdict};
pub use invariants::{BROKEN_FOLDER, INVARIANTS_FOLDER, Invariants};
pub use rules::{Circumstances, Evaluation, RULES_FOLDER, Rules, Subject, ToolRisk};
