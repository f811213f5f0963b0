//! What no plan is for: a plan of another concern is proposed, and a person decides.

use crate::stage::{Stage, engine_in, incoming, root, shown, verified};
use prokura::base::{CaseId, Clock, FixedClock, SystemClock, ids};
use prokura::cases::{CaseError, Cases, Decide, State, Status, handover, replay, search_again};
use prokura::governance::{ApprovalRefused, Principal, Role};
use prokura::ledger::{Stream, StreamKind};
use prokura::planning::{Leads, Reason};
use serde_json::json;
use std::sync::Arc;

const LOCK: &str = "A stranger knows how to get into my account, please lock my whole account at once.";
const FRAUD: &str =
    "I have to report a fraud. A stranger tricked me, and he knows now how to get into my account.";

fn sara() -> Principal {
    Principal::new("sara", Role::Supervisor)
}

async fn decide(stage: &Stage, state: &State, approve: bool) -> State {
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let decide = Decide { by: sara(), approve, reason: None, binding: None };
    let case = stage.cases.decide(id.as_str(), decide).await.unwrap();
    stage.cases.drive(&case).await.unwrap()
}

/// A case that was resolved with the plan of its concern.
async fn resolved(stage: &Stage, customer: &str) -> CaseId {
    let state = stage.send(LOCK, verified(customer)).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(state.plan.as_ref().unwrap().leaf, "freeze_account");
    state.case
}

#[tokio::test]
async fn what_a_like_case_was_resolved_with_is_proposed_and_done_when_a_person_approves() {
    let stage = Stage::new().await;
    let before = resolved(&stage, "cus_006").await;
    let done = stage.effects().len();

    let state = stage.send(FRAUD, verified("cus_007")).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    let first = &state.proposals[0];
    assert_eq!(
        (first.plan.as_str(), &first.leads),
        ("freeze_account", &Leads::Call(vec!["account_lock".into()]))
    );
    let like = |reason: &Reason| matches!(reason, Reason::Case { case, calls, .. } if *case == before && calls == &["account_lock"]);
    assert!(first.because.iter().any(like), "{:?}", first.because);
    // The dial lets the same call be made at once where the message is read as what the plan is for.
    let (_, decision) = state.decisions.last().unwrap();
    assert_eq!(decision.reason, "the rules want a human's approval");
    assert!(decision.policies.contains(&"protect-as-proposed".to_owned()), "{decision:?}");
    assert_eq!(stage.effects().len(), done, "nothing is done before");
    let pending = stage.cases.approvals().await.unwrap();
    assert_eq!(pending[0].proposal.as_ref(), Some(first));
    assert_eq!(pending[0].leaf, "report_fraud");
    let told = &pending[0].summary;
    assert!(
        told.iter().any(|line| line.contains("suggested plan `freeze_account` would call `account_lock`")),
        "{told:?}"
    );

    let settled = decide(&stage, &state, true).await;
    assert_eq!(settled.status, Status::Resolved, "{}", shown(&settled));
    assert_eq!(stage.effects().len(), done + 1);
    assert_eq!(stage.effects().last().unwrap()["arguments"]["account"], "acc_007");
    // It is quoted as the plan quotes it, although the message did not ask for that.
    assert_eq!(settled.replies.last().unwrap().citations[0].document, "account-unlock-en");
}

#[tokio::test]
async fn what_was_proposed_is_replayed_from_the_record() {
    let stage = Stage::new().await;
    resolved(&stage, "cus_006").await;
    let state = decide(&stage, &stage.send(FRAUD, verified("cus_007")).await, true).await;
    let entries = stage.cases.entries(&state.case).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds[3..6], ["grounded", "proposed", "planned"], "{kinds:?}");
    let ledger = &stage.cases.parts().ledger;
    let stream = Stream::new(StreamKind::Case, state.case.as_str());
    let key = ledger.key_of(&stream).unwrap();
    let packs = &stage.cases.parts().packs;
    let replayed = replay(&state.case, &entries, packs, &key.secret).unwrap();
    assert!(replayed.same_pack && replayed.differences.is_empty(), "{:?}", replayed.differences);
    assert_eq!(replayed.state.proposals, state.proposals);
    let generation = stage.cases.parts().generation();
    let models = stage.cases.parts().models.current();
    let again = search_again(
        &state.case,
        &entries,
        packs,
        |_| Some(Arc::clone(&generation)),
        |_| Some(Arc::clone(&models)),
    );
    assert!(again.unwrap().iter().all(|searched| searched.same == Some(true)));
}

#[tokio::test]
async fn what_a_person_declines_is_not_done_and_goes_to_people() {
    let stage = Stage::new().await;
    resolved(&stage, "cus_006").await;
    let done = stage.effects().len();
    let state = decide(&stage, &stage.send(FRAUD, verified("cus_007")).await, false).await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert_eq!(stage.effects().len(), done);
}

#[tokio::test]
async fn nothing_is_proposed_to_a_stranger_and_an_answer_only_to_the_person_who_takes_the_case() {
    let stage = Stage::new().await;
    resolved(&stage, "cus_006").await;
    let stranger = stage.send(FRAUD, prokura::intake::Identity::Anonymous).await;
    assert!(stranger.proposals.is_empty() && stranger.suggestions.is_empty(), "{}", shown(&stranger));
    assert_eq!(stranger.status, Status::WithHuman, "{}", shown(&stranger));

    let state = stage.send("Can you print my name differently on the card?", verified("cus_008")).await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    let answers = |leads: &Leads| matches!(leads, Leads::Reply(_) | Leads::Ask(_));
    let first = state.proposals.iter().find(|proposal| answers(&proposal.leads)).unwrap();
    let package = handover(&state, stage.cases.pack());
    assert_eq!(package["proposed"]["action"], json!("give_back"));
    assert!(
        package["proposed"]["why"].as_str().unwrap().contains(&format!("`leaf` {}", first.plan)),
        "{package}"
    );
    // It is possible as it is proposed.
    stage.cases.take_over(&state.case, &sara(), None).await.unwrap();
    stage.cases.give_back(&state.case, &sara(), (Some(&first.plan), None, None)).await.unwrap();
    let given = stage.cases.drive(&state.case).await.unwrap();
    assert!(matches!(given.status, Status::Resolved | Status::WaitingCustomer), "{}", shown(&given));
}

#[tokio::test]
async fn a_plan_that_a_person_chose_asks_somebody_else_for_each_call() {
    let stage = Stage::new().await;
    let state = stage.send(FRAUD, verified("cus_008")).await;
    stage.cases.take_over(&state.case, &sara(), None).await.unwrap();
    stage.cases.give_back(&state.case, &sara(), (Some("freeze_account"), None, None)).await.unwrap();
    let given = stage.cases.drive(&state.case).await.unwrap();
    assert_eq!(given.status, Status::WaitingApproval, "{}", shown(&given));
    let id = given.approval.as_ref().unwrap().0.id.clone();
    let vote = |by| Decide { by, approve: true, reason: None, binding: None };
    let refused = stage.cases.decide(id.as_str(), vote(sara())).await.unwrap_err();
    assert!(matches!(refused, CaseError::Approval(ApprovalRefused::Initiator)), "{refused}");
    assert!(stage.effects().is_empty());
    let tom = Principal::new("tom", Role::Agent);
    let case = stage.cases.decide(id.as_str(), vote(tom)).await.unwrap();
    let done = stage.cases.drive(&case).await.unwrap();
    assert_eq!(done.status, Status::Resolved, "{}", shown(&done));
    assert_eq!(stage.effects().len(), 1);
}

/// The plan of a swallowed card goes on in that of a lost one, and keeps its name all the same.
#[tokio::test]
async fn a_plan_that_goes_on_in_another_is_held_by_its_own_name() {
    let stage = Stage::new().await;
    let tom = || Principal::new("tom", Role::Agent);
    let chosen = async |leaf: Option<&str>, step: Option<&str>, case: Option<&CaseId>| {
        let case = match case {
            Some(case) => case.clone(),
            None => stage.send(FRAUD, verified("cus_007")).await.case,
        };
        stage.cases.take_over(&case, &sara(), None).await.unwrap();
        stage.cases.give_back(&case, &sara(), (leaf, step, None)).await.unwrap();
        let state = stage.cases.drive(&case).await.unwrap();
        assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
        let plan = state.plan.as_ref().unwrap();
        assert_eq!((plan.name(), plan.cursor.plan.as_str()), ("card_swallowed", "lost_or_stolen_card"));
        state
    };
    let answered = async |state: &State, approve| {
        let id = state.approval.as_ref().unwrap().0.id.clone();
        let decide = Decide { by: tom(), approve, reason: None, binding: None };
        let case = stage.cases.decide(id.as_str(), decide).await.unwrap();
        stage.cases.drive(&case).await.unwrap()
    };
    let state = chosen(Some("card_swallowed"), None, None).await;
    let declined = answered(&state, false).await;
    assert_eq!(declined.status, Status::WithHuman, "{}", shown(&declined));
    // It goes on in the plan in which it stood, and is not taken for one that was changed.
    let state = chosen(None, Some("block"), Some(&declined.case)).await;
    stage.cases.stop("card_swallowed", &Principal::new("olga", Role::Operator), None).unwrap();
    let stopped = answered(&state, true).await;
    assert_eq!(stopped.status, Status::WithHuman, "{}", shown(&stopped));
    assert!(stage.effects().is_empty());
}

#[tokio::test]
async fn a_proposal_that_was_declined_can_be_given_back_to_as_it_is() {
    let stage = Stage::new().await;
    resolved(&stage, "cus_006").await;
    let done = stage.effects().len();
    let state = stage.send(FRAUD, verified("cus_007")).await;
    assert_eq!(state.plan.as_ref().unwrap().cursor.proposed(), Some("freeze_account"), "{}", shown(&state));
    let declined = decide(&stage, &state, false).await;
    assert_eq!(declined.status, Status::WithHuman, "{}", shown(&declined));
    stage.cases.take_over(&declined.case, &sara(), None).await.unwrap();
    stage.cases.give_back(&declined.case, &sara(), (None, None, None)).await.unwrap();
    let given = stage.cases.drive(&declined.case).await.unwrap();
    assert_eq!(given.status, Status::WaitingApproval, "{}", shown(&given));
    let plan = given.plan.as_ref().unwrap();
    assert_eq!((plan.name(), plan.cursor.proposed()), ("freeze_account", None), "a person chose it");
    assert_eq!(stage.effects().len(), done);
}

#[tokio::test]
async fn what_is_stopped_for_the_concern_of_the_plan_is_stopped_for_what_is_proposed_of_it() {
    let stage = Stage::new().await;
    resolved(&stage, "cus_006").await;
    let done = stage.effects().len();
    let state = stage.send(FRAUD, verified("cus_007")).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    stage.cases.stop("freeze_account", &Principal::new("olga", Role::Operator), None).unwrap();
    let stopped = decide(&stage, &state, true).await;
    assert_eq!(stopped.status, Status::WithHuman, "{}", shown(&stopped));
    assert_eq!(stage.effects().len(), done);
}

#[tokio::test]
async fn nothing_is_told_of_an_account_that_was_flagged_while_a_person_was_asked() {
    let stage = Stage::new().await;
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let folder = stage.directory.path().join("flagged");
    std::fs::create_dir_all(&folder).unwrap();
    let own = Arc::clone(&clock) as Arc<dyn Clock>;
    let engine = || engine_in(stage.bank, &folder, &root().join("config"), &own);
    let send = async |cases: &Cases, text: &str, customer: &str| {
        let case = CaseId::new(ids::fresh("case"));
        let case = cases.accept(incoming(case, text, verified(customer))).await.unwrap();
        cases.drive(&case).await.unwrap()
    };
    let first = engine();
    send(&first, LOCK, "cus_006").await;
    let state = send(&first, FRAUD, "cus_007").await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    // A node whose time has jumped has lost its lease, and calls nothing: another one goes on.
    drop(first);
    clock.set(clock.now().plus_millis(5 * 60_000));
    stage.switch(json!({"fraud": ["acc_007"]})).await;
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let decide = Decide { by: sara(), approve: true, reason: None, binding: None };
    let second = engine();
    let case = second.decide(id.as_str(), decide).await.unwrap();
    let state = second.drive(&case).await.unwrap();
    // What protects is done, and nothing of the account is told.
    assert_eq!(stage.effects().last().unwrap()["arguments"]["account"], "acc_007");
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    let told = &state.replies.last().unwrap().text;
    assert!(!told.contains('\u{2022}'), "{told}");
}
