//! planning (front page to be written with the room)
pub mod tool;

pub use tool::*;
