//! acting (front page to be written with the room)

pub mod outcome;

pub use outcome::{Outcome};
