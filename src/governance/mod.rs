//! Whether it may be done: a plan's call, a read of account data, a disclosure.
//!
//! Enters: a request (who, which tool, which record, in what circumstances), the rules and the autonomy
//! dial. Leaves: a `Decision`, and for what is permitted one of the three grants. Governance is pure,
//! and nobody else makes a grant. A rule that errs permits nothing.

mod access;
mod administration;
mod approval;
mod autonomy;
mod bound;
mod decide;
mod dial;
mod evidence;
mod invariants;
pub mod prove;
mod request;
mod rules;
mod totals;

pub use access::{Principal, Role};
#[cfg(test)]
pub use administration::shipped as shipped_administration;
pub use administration::{
    ADMINISTRATION_BROKEN, ADMINISTRATION_FOLDER, ADMINISTRATION_INVARIANTS, Act, Administration,
};
pub use approval::{ApprovalRefused, ApprovalRequest, Vote, admit, admit_delegation};
pub use autonomy::{Autonomy, EvidenceSettings, Level};
pub use bound::upper_error;
pub use decide::{Decision, Governance, Request, Verdict};
pub use dial::{Asked, Book, DialEvent, DialRefused, Dialled, Dials, Draw, Measured, Review, Row, Said};
pub use evidence::{Demand, Detector, Observation, Source, Standing, THRESHOLDS};
pub use invariants::{BROKEN_FOLDER, INVARIANTS_FOLDER, Invariants};
pub use request::{Approver, Circumstances, Subject, ToolRisk};
pub use rules::{Evaluation, RULES_FOLDER, Rules};
pub use totals::{Counted, Scope, Spent, Sum, Totals, Window};
