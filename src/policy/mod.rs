//! policy (front page to be written with the room)

pub mod grounds;

pub use grounds::{Audience, Grounds, Passage};
