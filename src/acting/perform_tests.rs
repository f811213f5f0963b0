use super::*;
use crate::base::CallId;
use crate::base::clock::FixedClock;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Plays back what a system does, in order, and counts.
#[derive(Default)]
struct Script {
    sends: Mutex<VecDeque<Sent>>,
    finds: Mutex<VecDeque<Found>>,
    sent: Mutex<Vec<String>>,
    asked: Mutex<u32>,
}

impl Connector for Script {
    fn send<'a>(&'a self, _: &'a ToolDeclaration, call: &'a Call) -> BoxFuture<'a, Sent> {
        self.sent.lock().unwrap().push(call.key.clone());
        let next = self.sends.lock().unwrap().pop_front();
        Box::pin(async move { next.expect("one send too many") })
    }
    fn query<'a>(&'a self, _: &'a ToolDeclaration, _: &'a str) -> BoxFuture<'a, Found> {
        *self.asked.lock().unwrap() += 1;
        let next = self.finds.lock().unwrap().pop_front();
        Box::pin(async move { next.unwrap_or(Found::Unknown("status 503".to_owned())) })
    }
}

const INTENDED: Timestamp = Timestamp::from_millis(1_000_000);

struct Desk {
    acting: Acting,
    script: Arc<Script>,
    clock: Arc<FixedClock>,
}

/// A desk whose `card_block` has this rule; two retries and a window of a day, as shipped.
fn desk(rule: OnAmbiguous, sends: Vec<Sent>, finds: Vec<Found>) -> Desk {
    let mut tools = Tools::parse("tools.toml", include_str!("../../config/tools.toml")).unwrap();
    tools.by_name.get_mut("card_block").unwrap().on_ambiguous = rule;
    let script = Arc::new(Script {
        sends: Mutex::new(sends.into()),
        finds: Mutex::new(finds.into()),
        ..Script::default()
    });
    let clock = Arc::new(FixedClock::at(INTENDED));
    Desk { acting: Acting::new(Arc::new(tools), script.clone(), clock.clone()), script, clock }
}

fn block() -> Call {
    Call::new(CallId::new("call_1"), "card_block", json!({"card": "card_1", "reason": "lost"}))
}

fn permit(call: &Call) -> Permit {
    Permit::seal(call.id.clone(), call.tool.clone(), Digest::of_json(&call.arguments).unwrap())
}

fn result() -> Value {
    json!({"card": "card_1", "status": "blocked", "blocked_at": "2026-09-21T14:13:20Z"})
}

fn done() -> Outcome {
    Outcome::Done { result: result(), stale: false }
}

fn unclear() -> Sent {
    Sent::Unclear("no answer".to_owned())
}

fn not_sent() -> Sent {
    Sent::NotSent("no connection".to_owned())
}

impl Desk {
    async fn perform(&self) -> Outcome {
        self.acting.perform(permit(&block()), &block(), &|| true).await
    }
    fn sent(&self) -> usize {
        self.script.sent.lock().unwrap().len()
    }
    fn asked(&self) -> u32 {
        *self.script.asked.lock().unwrap()
    }
}

fn ambiguous(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ambiguous { .. })
}

fn failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { .. })
}

#[tokio::test(start_paused = true)]
async fn a_permit_covers_one_call_with_these_arguments() {
    let call = block();
    let digest = || Digest::of_json(&call.arguments).unwrap();
    let wrong = [
        Permit::seal(CallId::new("call_2"), "card_block".into(), digest()),
        Permit::seal(call.id.clone(), "refund".into(), digest()),
        Permit::seal(call.id.clone(), "card_block".into(), Digest::of(b"{}")),
    ];
    for permit in wrong {
        let desk = desk(OnAmbiguous::Query, vec![], vec![]);
        assert!(failed(&desk.acting.perform(permit, &call, &|| true).await));
        assert_eq!(desk.sent(), 0);
    }
    for arguments in
        [json!({"card": "card_1"}), json!({"card": "card_1", "reason": "lost", "x": 1}), json!([])]
    {
        let desk = desk(OnAmbiguous::Query, vec![], vec![]);
        let call = Call { arguments, ..block() };
        assert!(failed(&desk.acting.perform(permit(&call), &call, &|| true).await));
        assert_eq!(desk.sent(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_certainly_did_not_act_is_sent_again_within_the_budget() {
    let desk1 = desk(OnAmbiguous::Human, vec![not_sent(), not_sent(), Sent::Answered(result())], vec![]);
    assert_eq!(desk1.perform().await, done());
    assert_eq!(*desk1.script.sent.lock().unwrap(), ["call_1", "call_1", "call_1"]);
    let desk2 = desk(OnAmbiguous::Human, vec![not_sent(), not_sent(), not_sent()], vec![]);
    assert!(failed(&desk2.perform().await));
    let desk3 = desk(OnAmbiguous::Query, vec![Sent::Refused("status 422".to_owned())], vec![]);
    assert!(failed(&desk3.perform().await));
    assert_eq!((desk3.sent(), desk3.asked()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_human_sends_once_and_leaves_the_doubt() {
    let desk = desk(OnAmbiguous::Human, vec![unclear()], vec![]);
    assert!(ambiguous(&desk.perform().await));
    assert_eq!((desk.sent(), desk.asked()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_query_believes_the_system() {
    let acted = desk(OnAmbiguous::Query, vec![unclear()], vec![Found::UnderWay, Found::Done(result())]);
    assert_eq!(acted.perform().await, done());
    assert_eq!((acted.sent(), acted.asked()), (1, 2));
    // It did not act: the call may go again.
    let lost = desk(OnAmbiguous::Query, vec![unclear(), Sent::Answered(result())], vec![Found::Nothing]);
    assert_eq!(lost.perform().await, done());
    assert_eq!(lost.sent(), 2);
    // It does not say: one request, and a human.
    let silent = desk(OnAmbiguous::Query, vec![unclear()], vec![]);
    assert!(ambiguous(&silent.perform().await));
    assert_eq!((silent.sent(), silent.asked()), (1, MOST_QUESTIONS));
    let untold = desk(OnAmbiguous::Query, vec![unclear()], vec![Found::Untold("status 501".to_owned())]);
    assert!(ambiguous(&untold.perform().await));
    assert_eq!((untold.sent(), untold.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_not_authoritative_proves_nothing() {
    let mut desk = desk(OnAmbiguous::Query, vec![unclear()], vec![Found::Nothing]);
    let tools = Arc::get_mut(&mut desk.acting.tools).unwrap();
    tools.by_name.get_mut("card_block").unwrap().query.as_mut().unwrap().authoritative = false;
    assert!(ambiguous(&desk.perform().await));
    assert_eq!(desk.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_retry_repeats_with_the_same_key_and_keeps_the_doubt() {
    let desk1 = desk(OnAmbiguous::Retry, vec![unclear(), Sent::Answered(result())], vec![]);
    assert_eq!(desk1.perform().await, done());
    assert_eq!(*desk1.script.sent.lock().unwrap(), ["call_1", "call_1"]);
    // A retry that never left, or was refused, says nothing about the first attempt.
    let desk2 = desk(OnAmbiguous::Retry, vec![unclear(), not_sent(), not_sent()], vec![]);
    assert!(ambiguous(&desk2.perform().await));
    let desk3 = desk(OnAmbiguous::Retry, vec![unclear(), Sent::Refused("status 422".to_owned())], vec![]);
    assert!(ambiguous(&desk3.perform().await));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_form_is_a_doubt_and_its_content_is_not_told() {
    let garbage = Sent::Answered(json!({"card": "Huber", "status": "Huber"}));
    let desk = desk(OnAmbiguous::Human, vec![garbage], vec![]);
    let outcome = desk.perform().await;
    assert!(ambiguous(&outcome) && !format!("{outcome:?}").contains("Huber"), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_tools_rule_settles_it() {
    let call = block();
    let at = INTENDED;
    let acted = desk(OnAmbiguous::Query, vec![], vec![Found::Done(result())]);
    assert_eq!(acted.acting.resolve_ambiguous(None, &call, at, &|| true).await, done());
    // Intended but never sent: with a fresh permit it goes now, without one it failed.
    let never = desk(OnAmbiguous::Query, vec![Sent::Answered(result())], vec![Found::Nothing]);
    assert_eq!(never.acting.resolve_ambiguous(Some(permit(&call)), &call, at, &|| true).await, done());
    let never = desk(OnAmbiguous::Query, vec![], vec![Found::Nothing]);
    assert!(failed(&never.acting.resolve_ambiguous(None, &call, at, &|| true).await));
    let retried = desk(OnAmbiguous::Retry, vec![Sent::Answered(result())], vec![]);
    assert_eq!(retried.acting.resolve_ambiguous(Some(permit(&call)), &call, at, &|| true).await, done());
    let human = desk(OnAmbiguous::Human, vec![], vec![]);
    assert!(ambiguous(&human.acting.resolve_ambiguous(Some(permit(&call)), &call, at, &|| true).await));
    let other = Call { arguments: json!({"card": "card_2", "reason": "lost"}), ..block() };
    let retried = desk(OnAmbiguous::Retry, vec![], vec![]);
    assert!(ambiguous(&retried.acting.resolve_ambiguous(Some(permit(&other)), &call, at, &|| true).await));
}

#[tokio::test(start_paused = true)]
async fn beyond_its_window_nothing_is_sent_again() {
    let call = block();
    for (rule, finds) in [(OnAmbiguous::Retry, vec![]), (OnAmbiguous::Query, vec![Found::Nothing])] {
        let desk = desk(rule, vec![], finds);
        desk.clock.set(INTENDED.plus_millis(24 * 60 * 60 * 1000));
        assert!(ambiguous(
            &desk.acting.resolve_ambiguous(Some(permit(&call)), &call, INTENDED, &|| true).await
        ));
        assert_eq!(desk.sent(), 0);
    }
    // What the system still remembers it may tell at any time.
    let desk = desk(OnAmbiguous::Query, vec![], vec![Found::Done(result())]);
    desk.clock.set(INTENDED.plus_millis(48 * 60 * 60 * 1000));
    assert_eq!(desk.acting.resolve_ambiguous(None, &call, INTENDED, &|| true).await, done());
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_sends_nothing_and_says_that_nothing_was_done() {
    let desk = desk(OnAmbiguous::Human, (0..6).map(|_| not_sent()).collect(), vec![]);
    assert!(failed(&desk.perform().await));
    assert!(failed(&desk.perform().await));
    // Five failures in a row opened it during the second call.
    assert_eq!(desk.sent(), 5);
    assert!(failed(&desk.perform().await));
    assert_eq!(desk.sent(), 5);
}
