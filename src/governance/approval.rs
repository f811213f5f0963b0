//! What a human approves, and who may.

use super::Principal;
use crate::base::{ApprovalId, CallId, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One request for approval. `binding` is a digest over everything the approver is shown: plan,
/// arguments, record version, customer and rules. When any of it changes, the approval is void.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ApprovalRequest {
    pub id: ApprovalId,
    pub call: CallId,
    pub binding: Digest,
    /// How many different people must approve, 1 or 2.
    pub needed: u32,
    pub expires_at: Timestamp,
}

/// One person's answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vote {
    pub by: String,
    pub approve: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApprovalRefused {
    #[error("role `{0}` may not approve; an agent or a supervisor may")]
    Role(String),
    #[error("who sent a message of the case may not approve its calls")]
    Initiator,
    #[error("`{0}` has already decided; four eyes are two people")]
    SamePerson(String),
    #[error("the approval expired at {0}; the case is with the people of its queue")]
    Expired(Timestamp),
    #[error("the case has changed since the approval was shown (`binding` differs); look at it again")]
    Changed,
    #[error("the approval is already decided")]
    Settled,
}

/// Whether `who` may answer this request now. `senders` are the principals that sent messages of the case,
/// `shown` the binding that the approver saw, when they name it.
pub fn admit(
    request: &ApprovalRequest,
    votes: &[Vote],
    senders: &BTreeSet<String>,
    who: &Principal,
    shown: Option<&Digest>,
    now: Timestamp,
) -> Result<(), ApprovalRefused> {
    if !who.role.may_approve() {
        return Err(ApprovalRefused::Role(who.role.to_string()));
    }
    if senders.contains(&who.name) {
        return Err(ApprovalRefused::Initiator);
    }
    let approvals = votes.iter().filter(|vote| vote.approve).count() as u32;
    if votes.iter().any(|vote| !vote.approve) || approvals >= request.needed {
        return Err(ApprovalRefused::Settled);
    }
    if votes.iter().any(|vote| vote.by == who.name) {
        return Err(ApprovalRefused::SamePerson(who.name.clone()));
    }
    if now >= request.expires_at {
        return Err(ApprovalRefused::Expired(request.expires_at));
    }
    if shown.is_some_and(|shown| *shown != request.binding) {
        return Err(ApprovalRefused::Changed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn request(needed: u32) -> ApprovalRequest {
        ApprovalRequest {
            id: ApprovalId::new("apr_1"),
            call: CallId::new("c"),
            binding: Digest::of(b"shown"),
            needed,
            expires_at: Timestamp::from_millis(100),
        }
    }

    fn who(name: &str, role: Role) -> Principal {
        Principal { name: name.into(), role }
    }

    fn yes(by: &str) -> Vote {
        Vote { by: by.into(), approve: true, reason: None, at: Timestamp::from_millis(1) }
    }

    fn ask(needed: u32, votes: &[Vote], who: &Principal, at: i64) -> Result<(), ApprovalRefused> {
        admit(
            &request(needed),
            votes,
            &BTreeSet::from(["chat".to_owned()]),
            who,
            None,
            Timestamp::from_millis(at),
        )
    }

    #[test]
    fn a_supervisor_approves() {
        assert_eq!(ask(1, &[], &who("sara", Role::Supervisor), 1), Ok(()));
    }

    #[test]
    fn the_wrong_role_the_initiator_and_the_same_person_do_not() {
        assert!(matches!(ask(1, &[], &who("eva", Role::Auditor), 1), Err(ApprovalRefused::Role(_))));
        assert!(matches!(ask(1, &[], &who("app", Role::Channel), 1), Err(ApprovalRefused::Role(_))));
        assert_eq!(ask(1, &[], &who("chat", Role::Agent), 1), Err(ApprovalRefused::Initiator));
        assert!(matches!(
            ask(2, &[yes("sara")], &who("sara", Role::Supervisor), 1),
            Err(ApprovalRefused::SamePerson(_))
        ));
        assert_eq!(ask(2, &[yes("sara")], &who("tom", Role::Agent), 1), Ok(()));
    }

    #[test]
    fn late_changed_and_settled_requests_are_refused() {
        let sara = who("sara", Role::Supervisor);
        assert!(matches!(ask(1, &[], &sara, 100), Err(ApprovalRefused::Expired(_))));
        assert_eq!(ask(1, &[yes("tom")], &sara, 1), Err(ApprovalRefused::Settled));
        let other = Digest::of(b"something else");
        let refused =
            admit(&request(1), &[], &BTreeSet::new(), &sara, Some(&other), Timestamp::from_millis(1));
        assert_eq!(refused, Err(ApprovalRefused::Changed));
    }
}
