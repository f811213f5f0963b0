//! intake (front page to be written with the room)

pub mod language;
pub mod message;
pub mod recognise;
pub mod redact;

pub use message::{Assurance, Attachment, Identity, Message};
