//! records (front page to be written with the room)

pub mod facts;

pub use facts::{Basis, Candidate, Facts, Match, Record, Relation, SourceReport, SourceStatus};
