//! What the customer is told.
//!
//! Enters: the name of a template, what the case knows, the passages it stands on, and the
//! `DiscloseGrant` that governance sealed. Leaves: a `Reply` with its citations.
//!
//! It must never tell a value of a record without a grant that covers the record, cite an internal
//! document, let a text go out without the notice that an automated system answers, or choose which
//! template fits.

pub mod answer;
mod compose;
pub mod error;
mod templates;
mod words;

#[cfg(test)]
mod tests;

pub use answer::{Citation, Reply};
pub use error::ReplyError;
pub use templates::{Needs, Templates};
