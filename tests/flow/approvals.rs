//! What waits for people, and who may decide.

use crate::stage::{Stage, shown, text, verified};
use prokura::base::Digest;
use prokura::cases::{CaseError, Decide, State, Status};
use prokura::governance::{ApprovalRefused, Principal, Role};

const CHARGED: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

fn who(name: &str, role: Role) -> Principal {
    Principal::new(name, role)
}

async fn decide(stage: &Stage, state: &State, by: Principal, approve: bool) -> Result<State, CaseError> {
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let decide = Decide { by, approve, reason: Some("looked at it".into()), binding: None };
    let case = stage.cases.decide(id.as_str(), decide).await?;
    stage.cases.drive(&case).await
}

#[tokio::test]
async fn a_refund_above_the_limit_is_done_after_approval_and_once() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    assert!(stage.effects().is_empty());
    assert!(!text(&state).is_empty(), "the customer hears that it is looked at");
    let pending = stage.cases.approvals().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].arguments["amount"]["minor"], 38_900);
    let done = decide(&stage, &state, who("sara", Role::Supervisor), true).await.unwrap();
    assert_eq!(done.status, Status::Resolved, "{}", shown(&done));
    assert_eq!(stage.effects().len(), 1);
    assert!(stage.cases.approvals().await.unwrap().is_empty());
    let again = decide(&stage, &state, who("tom", Role::Agent), true).await.unwrap_err();
    assert!(matches!(again, CaseError::Approval(ApprovalRefused::Settled)), "{again}");
    let (_, votes) = done.approval.as_ref().unwrap();
    assert_eq!(votes[0].policies, ["who-serves-customers-approves"]);
}

#[tokio::test]
async fn an_approved_replacement_is_ordered_after_the_block() {
    let stage = Stage::new().await;
    for customer in ["cus_006", "cus_007"] {
        let before = stage.effects().len();
        let state = stage.send("I have lost my card, please block it.", verified(customer)).await;
        assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
        let once = decide(&stage, &state, who("sara", Role::Supervisor), true).await.unwrap();
        assert_eq!(once.status, Status::WaitingApproval, "{}", shown(&once));
        assert_eq!(stage.effects().len(), before + 1, "one person is not enough");
        let twice = decide(&stage, &once, who("sara", Role::Supervisor), true).await.unwrap_err();
        assert!(matches!(twice, CaseError::Approval(ApprovalRefused::SamePerson(_))), "{twice}");
        let done = decide(&stage, &once, who("tom", Role::Agent), true).await.unwrap();
        assert_eq!(done.status, Status::Resolved, "{}", shown(&done));
        assert_eq!(stage.effects().len(), before + 2, "one block, one replacement");
    }
}

#[tokio::test]
async fn a_declined_refund_is_not_made() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    let declined = decide(&stage, &state, who("sara", Role::Supervisor), false).await.unwrap();
    assert_eq!(declined.status, Status::WithHuman, "{}", shown(&declined));
    assert!(stage.orders().is_empty());
}

#[tokio::test]
async fn channel_initiator_and_other_roles_do_not_approve() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    for by in [who("app", Role::Channel), who("eva", Role::Auditor), who("ops", Role::Operator)] {
        let refused = decide(&stage, &state, by, true).await.unwrap_err();
        assert!(matches!(refused, CaseError::Approval(ApprovalRefused::Role(_))), "{refused}");
    }
    let initiator = decide(&stage, &state, who("test-app", Role::Agent), true).await.unwrap_err();
    assert!(matches!(initiator, CaseError::Approval(ApprovalRefused::Initiator)), "{initiator}");
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let stale = Decide {
        by: who("sara", Role::Supervisor),
        approve: true,
        reason: None,
        binding: Some(Digest::of(b"another case")),
    };
    let refused = stage.cases.decide(id.as_str(), stale).await.unwrap_err();
    assert!(matches!(refused, CaseError::Approval(ApprovalRefused::Changed)), "{refused}");
    assert!(stage.orders().is_empty());
}

#[tokio::test]
async fn a_flag_that_rises_before_the_approval_stops_the_call() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    stage.switch(serde_json::json!({"fraud": ["acc_016"]})).await;
    let stopped = decide(&stage, &state, who("sara", Role::Supervisor), true).await.unwrap();
    assert_eq!(stopped.status, Status::WithHuman, "{}", shown(&stopped));
    assert!(stage.orders().is_empty(), "the last check reads the record again");
}

#[tokio::test]
async fn an_approval_that_was_delegated_is_for_that_role_alone() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let delegate =
        async |by: Principal, to| stage.cases.delegate(id.as_str(), &by, (to, Some("too much for me"))).await;
    for (by, to) in [
        (who("eva", Role::Auditor), Role::Supervisor),
        (who("test-app", Role::Agent), Role::Supervisor),
        (who("tom", Role::Agent), Role::Auditor),
    ] {
        let refused = delegate(by, to).await.unwrap_err();
        assert!(matches!(refused, CaseError::Approval(_)), "{refused}");
    }
    delegate(who("tom", Role::Agent), Role::Supervisor).await.unwrap();
    stage.cases.drive(&state.case).await.unwrap();
    let pending = stage.cases.approvals().await.unwrap();
    assert_eq!(pending[0].request.delegated, Some(Role::Supervisor));
    for by in [who("tom", Role::Agent), who("eve", Role::Security)] {
        let refused = decide(&stage, &state, by, true).await.unwrap_err();
        assert!(
            matches!(refused, CaseError::Approval(ApprovalRefused::Delegated(Role::Supervisor))),
            "{refused}"
        );
    }
    let again = delegate(who("tom", Role::Agent), Role::Agent).await.unwrap_err();
    assert!(
        matches!(again, CaseError::Approval(ApprovalRefused::Delegated(_))),
        "nobody takes it back: {again}"
    );
    assert!(stage.orders().is_empty());
    let done = decide(&stage, &state, who("sara", Role::Supervisor), true).await.unwrap();
    assert_eq!(done.status, Status::Resolved, "{}", shown(&done));
    let entries = stage.cases.entries(&done.case).await.unwrap();
    assert!(entries.iter().any(|entry| entry.kind == "delegated" && entry.body["by"]["name"] == "tom"));
    let stream = prokura::ledger::Stream::new(prokura::ledger::StreamKind::Case, done.case.as_str());
    let key = stage.cases.parts().ledger.key_of(&stream).unwrap();
    let replayed =
        prokura::cases::replay(&done.case, &entries, &stage.cases.parts().packs, &key.secret).unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

#[tokio::test]
async fn a_vote_about_what_has_changed_since_is_refused_and_the_next_one_counts() {
    let stage = Stage::new().await;
    let state = stage.send(CHARGED, verified("cus_016")).await;
    let state = stage.send_to(state.case.clone(), "Gibt es etwas Neues?", verified("cus_016")).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    let refused = decide(&stage, &state, who("sara", Role::Supervisor), true).await.unwrap_err();
    assert!(matches!(refused, CaseError::Approval(ApprovalRefused::Changed)), "{refused}");
    assert!(stage.orders().is_empty());
    let again = stage.cases.existing(&state.case).await.unwrap();
    assert_eq!(again.status, Status::WaitingApproval, "{}", shown(&again));
    let done = decide(&stage, &again, who("sara", Role::Supervisor), true).await.unwrap();
    assert_eq!(stage.effects().len(), 1, "{}", shown(&done));
}
