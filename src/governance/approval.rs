//! What a human approves, and who may.

use super::{Approver, Principal, Role};
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
    /// Whether one of them must be of the bank's security.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
    /// The role to which it was delegated: only its holders decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<Role>,
    pub expires_at: Timestamp,
}

/// One person's answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vote {
    pub by: String,
    /// What they were then; earlier programs did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The rules that let them decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    pub approve: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Vote {
    pub fn approver(&self) -> Approver {
        Approver { name: self.by.clone(), security: self.role == Some(Role::Security) }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApprovalRefused {
    #[error("no rule of administration lets role `{0}` approve")]
    Role(String),
    #[error(
        "the account is flagged, and nobody of the bank's security has approved yet; the last to approve must be of it"
    )]
    Security,
    #[error("the approval was delegated to role `{0}`")]
    Delegated(Role),
    #[error("it cannot be delegated to role `{0}`: {1}")]
    NoDelegate(Role, &'static str),
    #[error("who sent a message of the case, gave it back or changed the call may not approve it")]
    Initiator,
    #[error("`{0}` has already decided; four eyes are two people")]
    SamePerson(String),
    #[error("the approval expired at {0}; the case is with the people of its queue")]
    Expired(Timestamp),
    #[error("the case has changed since the approval was shown; look at it again")]
    Changed,
    #[error("the approval is already decided")]
    Settled,
}

/// Whether `who`, whose role may approve, may give this answer to the request now. `senders` are the principals that sent messages of the case,
/// `shown` the binding that the approver saw, when they name it.
pub fn admit(
    request: &ApprovalRequest,
    votes: &[Vote],
    senders: &BTreeSet<String>,
    (who, approve): (&Principal, bool),
    shown: Option<&Digest>,
    now: Timestamp,
) -> Result<(), ApprovalRefused> {
    if let Some(role) = request.delegated.filter(|role| *role != who.role) {
        return Err(ApprovalRefused::Delegated(role));
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
    let secured = who.role == Role::Security || votes.iter().any(|vote| vote.approver().security);
    if request.security && approve && !secured && approvals + 1 >= request.needed {
        return Err(ApprovalRefused::Security);
    }
    if shown.is_some_and(|shown| *shown != request.binding) {
        return Err(ApprovalRefused::Changed);
    }
    Ok(())
}

/// Whether those who have a role can decide the request when it is theirs alone; `may_approve`: whether the rules of
/// administration let them. That somebody may hand it on is looked at before.
pub fn admit_delegation(
    request: &ApprovalRequest,
    votes: &[Vote],
    (to, may_approve): (Role, bool),
) -> Result<(), ApprovalRefused> {
    let secured = to == Role::Security || votes.iter().any(|vote| vote.approver().security);
    let refused = |why| Err(ApprovalRefused::NoDelegate(to, why));
    if !may_approve {
        return refused("no rule of administration lets it approve");
    }
    if request.delegated == Some(to) {
        return refused("it has it already");
    }
    if request.security && !secured {
        return refused("somebody of the bank's security has to approve it");
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
            security: false,
            delegated: None,
            expires_at: Timestamp::from_millis(100),
        }
    }

    fn who(name: &str, role: Role) -> Principal {
        Principal::new(name, role)
    }

    fn yes(by: &str) -> Vote {
        Vote {
            by: by.into(),
            role: None,
            policies: vec![],
            approve: true,
            reason: None,
            at: Timestamp::from_millis(1),
        }
    }

    fn ask(needed: u32, votes: &[Vote], who: &Principal, at: i64) -> Result<(), ApprovalRefused> {
        admit(
            &request(needed),
            votes,
            &BTreeSet::from(["chat".to_owned()]),
            (who, true),
            None,
            Timestamp::from_millis(at),
        )
    }

    #[test]
    fn a_supervisor_approves() {
        assert_eq!(ask(1, &[], &who("sara", Role::Supervisor), 1), Ok(()));
    }

    #[test]
    fn the_initiator_and_the_same_person_do_not() {
        assert_eq!(ask(1, &[], &who("chat", Role::Agent), 1), Err(ApprovalRefused::Initiator));
        assert!(matches!(
            ask(2, &[yes("sara")], &who("sara", Role::Supervisor), 1),
            Err(ApprovalRefused::SamePerson(_))
        ));
        assert_eq!(ask(2, &[yes("sara")], &who("tom", Role::Agent), 1), Ok(()));
    }

    #[test]
    fn what_was_delegated_is_decided_by_that_role_alone() {
        let delegated = ApprovalRequest { delegated: Some(Role::Supervisor), ..request(1) };
        let answer = |who: &Principal| {
            admit(&delegated, &[], &BTreeSet::new(), (who, true), None, Timestamp::from_millis(1))
        };
        assert_eq!(answer(&who("sara", Role::Supervisor)), Ok(()));
        for role in [Role::Agent, Role::Security] {
            assert_eq!(answer(&who("tom", role)), Err(ApprovalRefused::Delegated(Role::Supervisor)));
        }
        let to = |request: &ApprovalRequest, votes: &[Vote], role, may| {
            admit_delegation(request, votes, (role, may)).is_ok()
        };
        assert!(to(&request(1), &[], Role::Supervisor, true) && to(&delegated, &[], Role::Security, true));
        assert!(!to(&request(1), &[], Role::Auditor, false) && !to(&delegated, &[], Role::Supervisor, true));
        // Nobody could decide it any more.
        let flagged = ApprovalRequest { security: true, ..request(2) };
        assert!(!to(&flagged, &[yes("tom")], Role::Supervisor, true));
        assert!(to(&flagged, &[Vote { role: Some(Role::Security), ..yes("eve") }], Role::Supervisor, true));
        assert!(to(&flagged, &[], Role::Security, true));
    }

    #[test]
    fn late_changed_and_settled_requests_are_refused() {
        let sara = who("sara", Role::Supervisor);
        assert!(matches!(ask(1, &[], &sara, 100), Err(ApprovalRefused::Expired(_))));
        assert_eq!(ask(1, &[yes("tom")], &sara, 1), Err(ApprovalRefused::Settled));
        let other = Digest::of(b"something else");
        let refused =
            admit(&request(1), &[], &BTreeSet::new(), (&sara, true), Some(&other), Timestamp::from_millis(1));
        assert_eq!(refused, Err(ApprovalRefused::Changed));
    }

    #[test]
    fn security_is_among_those_who_approve_for_a_flagged_account() {
        let flagged = ApprovalRequest { security: true, ..request(2) };
        let answer = |votes: &[Vote], who: &Principal, approve| {
            admit(&flagged, votes, &BTreeSet::new(), (who, approve), None, Timestamp::from_millis(1))
        };
        let (sara, eve) = (who("sara", Role::Supervisor), who("eve", Role::Security));
        assert_eq!(answer(&[], &sara, true), Ok(()));
        assert_eq!(answer(&[yes("tom")], &sara, true), Err(ApprovalRefused::Security));
        assert_eq!(answer(&[yes("tom")], &sara, false), Ok(()));
        assert_eq!(answer(&[yes("tom")], &eve, true), Ok(()));
        let first = Vote { role: Some(Role::Security), ..yes("eve") };
        assert_eq!(answer(&[first], &sara, true), Ok(()));
    }
}
