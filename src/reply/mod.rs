//! reply (front page to be written with the room)

pub mod answer;

pub use answer::{Citation, Reply};
