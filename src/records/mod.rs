//! Looks up what the bank's own systems say.
//!
//! Enters: the extracted values of a message, and for account data a `ReadGrant`. Leaves: `Facts`,
//! the scored candidates, what was selected, what to ask where several are left, what every source did,
//! and the records that the grant's customer owns or is registered to act for, with the customer as all
//! sources have them. It must never take a relation from a message, give
//! anything of somebody else's record, let a slow or broken source hang or end a look-up, or put a
//! value of a record or message into an error.

pub mod agreement;
pub mod ask;
pub mod error;
pub mod facts;
pub mod fit;
pub mod identity;
pub mod index;
pub mod lookup;
pub mod matching;
pub mod score;
pub mod settings;
pub mod source;
pub mod weights;

pub use ask::Ask;
pub use error::{ReadError, RecordsError, SourceError};
pub use facts::{Basis, Candidate, Facts, Match, Record, Relation, SourceReport, SourceStatus};
pub use lookup::{Fields, Lookup, Question};
pub use settings::LookupSettings;
pub use source::{Entry, Hits, Query, Source, SourceDeclarations};
