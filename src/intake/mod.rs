//! Raw channel input -> [`Message`].
//!
//! Enters: text and attachments as a channel delivered them, and the channel's signed token. Leaves: a
//! `Message` with card numbers masked, its language, and who sent it; and, for any text, the structured
//! values that form and check digit give away.
//!
//! Offsets are Unicode scalar positions in the text as sent: whatever is changed here keeps its length.
//! It must never keep a card number, take an identity from anywhere but a verified token, look at a record,
//! or decide what the customer wants.

pub mod accept;
mod attach;
pub mod bank_codes;
pub mod document;
pub mod error;
pub mod identity;
pub mod language;
pub mod message;
pub mod recognise;
pub mod redact;

pub use accept::{Envelope, FILES_IN_ANY_BODY, Limits, RawAttachment, RawMessage, accept};
pub use attach::{FILE_SECONDS, ReadFile, read_file};
pub use bank_codes::BankCodes;
pub use error::{IdentityError, IdentityKeyError, IntakeError};
pub use identity::{Algorithm, IdentityConfig, IdentityKeys, VerifiedToken, verify};
pub use language::detect;
pub use message::{Assurance, Attachment, Identity, Message};
pub use recognise::{Recognised, parse_amount, parse_date, recognise, recognise_with};
pub use redact::mask_cards;
