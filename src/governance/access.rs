//! Who asks the service. Roles come from API keys, never from a request's body.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An authenticated caller. Two keys of one person name the same principal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Principal {
    pub name: String,
    pub role: Role,
    /// The rules that let them do what they ask for just now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

impl Principal {
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, policies: Vec::new() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A channel of the bank (chat, app, e-mail gateway). Opens cases, sends messages, sees the
    /// customer's view of the cases that it opened.
    Channel,
    Agent,
    Supervisor,
    PolicyAdmin,
    ModelAdmin,
    Auditor,
    Operator,
    /// The bank's security: approves what is done on flagged accounts.
    Security,
    /// Another system of the bank. Tells what happened, and sees nothing.
    System,
}

impl Role {
    pub const ALL: [Self; 9] = [
        Self::Channel,
        Self::Agent,
        Self::Supervisor,
        Self::PolicyAdmin,
        Self::ModelAdmin,
        Self::Auditor,
        Self::Operator,
        Self::Security,
        Self::System,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::PolicyAdmin => "policy_admin",
            Self::ModelAdmin => "model_admin",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Security => "security",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
