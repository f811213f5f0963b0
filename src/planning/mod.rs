//! Reading, facts and grounds become a plan: which steps of the leaf's plan file are taken, and what
//! is to be done next.
//!
//! Enters: the parsed plan files and a view of the case (a JSON value). Leaves: `Next`, one thing to
//! do, with the path that led there. Planning is pure: no clock, no randomness, no input or output.
//! A condition that cannot be decided is unknown, and unknown escalates; it is never false.

mod check;
mod condition;
mod flow;
mod import;
mod known;
mod open;
mod parse;
mod plan;
mod provenance;
mod shape;
mod structure;
mod tool;
mod trial;
mod typing;
mod walk;

pub use check::{Names, check};
pub use condition::{Condition, Truth};
pub use import::{ImportSettings, Imported, MOST_BYTES as MOST_IMPORT_BYTES, import};
pub use open::{Alike, Brief, Leads, Proposal, Quoted, Reason, Suggestion, Untrusted, judge, suggest};
pub use plan::{Branch, HANDOVER, Look, Plan, PlanFor, PlanKind, Plans, Step, StepKind, bare};
pub use shape::Shape;
pub use tool::*;
pub use trial::{Coverage, Trial, TrialOutcome, run as run_trials};
pub use walk::{Advanced, Back, Cursor, GENERAL_QUEUE, LookUp, Next, Open, advance};
