//! The bank's own documents, and the passages in them that answer a question.
//!
//! Enters: files with front matter (`index`), and questions with what their asker may see.
//! Leaves: `Grounds`, quotable passages with document, version, section and character range,
//! always from one immutable generation of the index.
//!
//! It must never return a passage that the question's audience may not see, answer from a document
//! that is not in force, change a generation once it is published, or know who asks.

mod analysis;
mod chunk;
mod diff;
pub mod document;
pub mod error;
mod front_matter;
mod gather;
mod generation;
pub mod grounds;
mod live;
mod search;

pub use diff::{Change, Difference, DocumentChange, SectionChange, diff};
pub use document::{Document, parse_date};
pub use error::{Flaw, PolicyError};
pub use generation::{Generation, Manifest};
pub use grounds::{Audience, Grounds, Passage};
pub use live::{Listed, Options, Policies, Published, index, list, open_generation, rollback};
pub use search::Question;

#[cfg(test)]
mod tests;
