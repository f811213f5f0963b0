//! The bank's own documents, and the passages in them that answer a question.
//!
//! Enters: files with front matter (`index`), and questions with what their asker may see.
//! Leaves: `Grounds`, quotable passages with document, version, section and character range,
//! always from one immutable generation of the index.
//!
//! It must never return a passage that the question's audience may not see, answer from a document
//! that is not in force, change a generation once it is published, or know who asks.

mod analysis;
pub mod bar;
mod chunk;
mod compounds;
mod diff;
pub mod document;
mod embed;
pub mod error;
pub mod fetch;
mod front_matter;
mod gather;
mod generation;
pub mod grounds;
mod invert;
mod lexical;
mod live;
mod nearness;
pub mod neighbours;
mod preview;
mod publish;
mod search;
mod sentences;
pub mod validate;
mod vectors;

pub use diff::{Change, Difference, DocumentChange, SectionChange, diff};
pub use document::{Document, in_force, parse_date};
pub use embed::{PassageText, passages};
pub use error::{Flaw, PolicyError};
pub use fetch::{
    Ask, Fetched, Offer, Offered, OfferedFile, fetch, offer, offered, offered_file, offered_now,
};
pub use gather::{Gathered, gather, most_bytes, upload};
pub use generation::{Generation, Manifest};
pub use grounds::{Audience, Clearance, Grounds, Passage, Sentence};
pub use live::Policies;
pub use nearness::{Compared, Nearness, OTHER_LANGUAGE, Ranked, signs};
pub use preview::{Preview, preview};
pub use publish::{
    Current, Following, Kept, Listed, Options, Published, RolledBack, Verified, amend, amended, follow,
    forget, index, list, open_generation, publish, rollback, take_from, verify,
};
pub use search::{PASSAGES_A_PLACE, Question};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod meaning_tests;
