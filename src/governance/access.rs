//! Who may ask the service for what. Roles come from API keys, never from a request's body.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An authenticated caller. Two keys of one person name the same principal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Principal {
    pub name: String,
    pub role: Role,
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
    /// Another system of the bank. Tells what happened, and sees nothing.
    System,
}

impl Role {
    pub const ALL: [Self; 8] = [
        Self::Channel,
        Self::Agent,
        Self::Supervisor,
        Self::PolicyAdmin,
        Self::ModelAdmin,
        Self::Auditor,
        Self::Operator,
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
            Self::System => "system",
        }
    }

    pub const fn may_open_cases(self) -> bool {
        matches!(self, Self::Channel | Self::Operator)
    }

    /// The staff view of a case: reading, facts, decisions, trace.
    pub const fn sees_cases(self) -> bool {
        matches!(self, Self::Agent | Self::Supervisor | Self::Auditor | Self::Operator)
    }

    pub const fn sees_approvals(self) -> bool {
        matches!(self, Self::Agent | Self::Supervisor | Self::Auditor)
    }

    pub const fn may_approve(self) -> bool {
        matches!(self, Self::Agent | Self::Supervisor)
    }

    /// Blind reviews.
    pub const fn may_review(self) -> bool {
        matches!(self, Self::Agent | Self::Supervisor)
    }

    /// Lowering the autonomy dial, and raising it again.
    pub const fn may_turn_dials(self) -> bool {
        matches!(self, Self::Supervisor | Self::Operator)
    }

    /// Events of other systems.
    pub const fn may_tell_events(self) -> bool {
        matches!(self, Self::System)
    }

    /// Letting a stuck case go on.
    pub const fn may_retry(self) -> bool {
        matches!(self, Self::Supervisor | Self::Operator)
    }

    /// Emergency stops, and starting again.
    pub const fn may_stop(self) -> bool {
        matches!(self, Self::Supervisor | Self::Operator)
    }

    /// Publishing policy documents, and taking them away.
    pub const fn may_change_policies(self) -> bool {
        matches!(self, Self::PolicyAdmin | Self::Operator)
    }

    /// Policy documents of every audience: who administers or audits.
    pub const fn sees_every_document(self) -> bool {
        matches!(self, Self::PolicyAdmin | Self::Auditor | Self::Operator)
    }

    /// Internal documents, in a search.
    pub const fn sees_internal_documents(self) -> bool {
        !matches!(self, Self::Channel | Self::System)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_reaches_nothing_of_the_staff() {
        let channel = Role::Channel;
        assert!(channel.may_open_cases());
        assert!(!channel.sees_cases() && !channel.sees_approvals());
        assert!(!channel.may_approve() && !channel.may_stop() && !channel.sees_internal_documents());
    }

    #[test]
    fn who_changes_policies_sees_them_all() {
        let changing: Vec<Role> = Role::ALL.into_iter().filter(|role| role.may_change_policies()).collect();
        assert_eq!(changing, [Role::PolicyAdmin, Role::Operator]);
        assert!(changing.into_iter().all(Role::sees_every_document));
        assert!(!Role::Supervisor.sees_every_document() && !Role::System.sees_internal_documents());
    }

    #[test]
    fn only_people_who_serve_customers_approve() {
        let approving: Vec<Role> = Role::ALL.into_iter().filter(|role| role.may_approve()).collect();
        assert_eq!(approving, [Role::Agent, Role::Supervisor]);
    }
}
