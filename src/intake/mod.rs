//! intake (front page to be written with the room)

pub mod message;

pub use message::{Attachment, Assurance, Identity, Message};
