//! What can go wrong for a caller of the engine.

use super::ReviewRefused;
use crate::base::{ApprovalId, CaseId};
use crate::governance::{ApprovalRefused, DialRefused};
use crate::ledger::LedgerError;
use crate::policy::PolicyError;
use crate::understanding::UnderstandingError;

#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("there is no case `{0}`")]
    NoCase(CaseId),
    #[error("there is no approval `{0}` that waits for a decision")]
    NoApproval(ApprovalId),
    #[error(transparent)]
    Approval(#[from] ApprovalRefused),
    #[error(transparent)]
    Dial(#[from] DialRefused),
    #[error(transparent)]
    Review(#[from] ReviewRefused),
    /// The same key came with another request.
    #[error("the Idempotency-Key was used before with another request; use a new key for a new request")]
    KeyReused,
    /// A token that was used before.
    #[error("the identity token was used before; ask the channel for a new one")]
    TokenReplayed,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The files of the models.
    #[error(transparent)]
    Models(#[from] UnderstandingError),
    /// The policy documents, or their index.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("there is no document `{0}`")]
    NoDocument(String),
    #[error("the plans {} cite the document `{document}`", .plans.join(", "))]
    Cited { document: String, plans: Vec<String> },
    /// What is left of the disk is for the cases that are open.
    #[error("the disk of the state directory is nearly full; no new case is opened")]
    NoRoom,
    #[error("case `{0}` is not stuck")]
    NotStuck(CaseId),
    /// Something that a person wants to do, and that the case does not allow as it is.
    #[error("case `{case}`: {why}")]
    NotNow { case: CaseId, why: &'static str },
    #[error("{0}")]
    BadEdit(String),
    #[error("no plan is for the event `{0}`")]
    NoEvent(String),
    #[error("an event of this id was told before, and it was another one")]
    EventReused,
    #[error("`{0}` is not stopped")]
    NotStopped(String),
    #[error("`{0}` has asked for it to be started; a second person must do so, too")]
    StartedAlone(String),
    /// A fault of this program; the log has it.
    #[error("the work on case `{0}` ended in a fault of the program; it is tried again")]
    Died(CaseId),
    #[error("an event of case `{case}` cannot be read: {reason}")]
    Unreadable { case: CaseId, reason: String },
}
