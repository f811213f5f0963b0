//! Message text in, Reading out: intents with calibrated probabilities, the values that records are
//! looked up by, tone, and the vector that retrieval uses. One encoder pass gives everything.
//!
//! Which bundle reads is in the state directory (`installed`); a promoted one takes over without a stall
//! (`live`), and a challenger reads along without effect (`shadow`).
//!
//! Callers wait in a queue by urgency, and threads read what waits in batches (`readers`); other machines may run the
//! encoder for this one (`nodes`).
//!
//! It must never decide what happens: no plans, no rules, no records, and no call but to those machines.

pub mod bundle;
pub mod calibration;
pub mod concerns;
pub mod dag;
pub mod encoder;
pub mod error;
pub mod explain;
pub mod extraction;
pub mod fields;
pub mod heads;
pub mod installed;
pub mod lexicon;
pub mod live;
pub mod model;
pub mod nearest;
pub mod nodes;
pub mod quantise;
pub mod read;
pub mod readers;
pub mod reading;
pub mod search;
pub mod shadow;
pub mod tokens;
pub mod variants;

pub use calibration::Calibration;
pub use dag::Dag;
pub use encoder::{Compute, Encoder, MiniLm};
pub use error::UnderstandingError;
pub use explain::{Explained, Explanation};
pub use extraction::Extraction;
pub use fields::Known;
pub use installed::Installed;
pub use lexicon::Lexicon;
pub use live::Live;
pub use nearest::Nearest;
pub use read::{Schema, Understanding};
pub use readers::{Order, Readers, Unread, Urgency, Work};
pub use reading::{Labelled, Reading, Tone};
pub use shadow::Shadow;
