//! What a channel delivered, made uniform.

use crate::base::{CaseId, CustomerId, Language, MessageId, Timestamp};
use serde::{Deserialize, Serialize};

/// One inbound message. `text` has card numbers masked digit for digit, so offsets are those of the
/// original text, counted in Unicode scalar values.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub case: CaseId,
    /// The name of the channel as its API key says it, never as the body does.
    pub channel: String,
    pub language: Language,
    pub text: String,
    /// What another system told of the customer, who has written nothing: the text is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    pub identity: Identity,
    pub received_at: Timestamp,
}

/// Text taken from something that came with the message. It is data, never instruction.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub name: String,
    pub text: String,
    /// What of its file was not read, and why: for staff.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Who sent this message, and how surely we know. It belongs to the message, not to the case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Identity {
    /// The channel's signed token said so. The only kind that unlocks account data.
    Verified {
        customer: CustomerId,
        assurance: Assurance,
        at: Timestamp,
    },
    /// Somebody said so: an e-mail's sender, a name in a form.
    Claimed {
        from: String,
    },
    Anonymous,
}

/// How the channel made sure (strong customer authentication: Directive (EU) 2015/2366, article 97).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    Login,
    Sca,
}

impl Assurance {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Sca => "sca",
        }
    }
}

impl Identity {
    /// The customer, when verified.
    pub fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::Verified { customer, .. } => Some(customer),
            Self::Claimed { .. } | Self::Anonymous => None,
        }
    }
}
