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
    desk_with(sends, finds, |tool| tool.on_ambiguous = rule)
}

/// The same with another change.
fn desk_with(sends: Vec<Sent>, finds: Vec<Found>, change: impl FnOnce(&mut ToolDeclaration)) -> Desk {
    let mut tools = Tools::parse("tools.toml", include_str!("../../config/tools.toml")).unwrap();
    change(tools.by_name.get_mut("card_block").unwrap());
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
    let desk = desk_with(vec![unclear()], vec![Found::Nothing], |tool| {
        tool.query.as_mut().unwrap().authoritative = false;
    });
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

/// A tool that reads, and answers that are kept for so long.
fn reading(stale_ms: u64, sends: Vec<Sent>) -> Desk {
    desk_with(sends, vec![], |tool| {
        (tool.risk, tool.on_ambiguous) = (Risk::Read, OnAmbiguous::Human);
        (tool.stale_ms, tool.retries) = (stale_ms, 1);
    })
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_is_read_again_and_an_earlier_answer_stands_in_marked() {
    let twice = reading(0, vec![unclear(), Sent::Answered(result())]);
    assert_eq!(twice.perform().await, done(), "reading twice is reading once");
    let lost = reading(0, vec![unclear(), unclear()]);
    assert!(failed(&lost.perform().await), "no case waits for whether something was read");

    let desk = reading(
        60_000,
        vec![Sent::Answered(result()), unclear(), not_sent(), unclear(), unclear(), unclear()],
    );
    assert_eq!(desk.perform().await, done());
    desk.clock.set(INTENDED.plus_millis(60_000));
    assert_eq!(desk.perform().await, Outcome::Done { result: result(), stale: true });
    let json = serde_json::to_string(&done()).unwrap();
    assert!(!json.contains("stale"), "what is fresh is recorded as before: {json}");
    // Other arguments, another time, and what was erased have none.
    let other = Call { arguments: json!({"card": "card_2", "reason": "lost"}), ..block() };
    desk.clock.set(INTENDED.plus_millis(60_001));
    assert!(failed(&desk.acting.perform(permit(&other), &other, &|| true).await));
    assert!(failed(&desk.perform().await), "nothing is fresh enough");
    desk.clock.set(INTENDED);
    desk.acting.forget();
    assert!(failed(&desk.perform().await));
}

#[tokio::test(start_paused = true)]
async fn what_the_system_refuses_is_not_read_from_before() {
    let desk = reading(60_000, vec![Sent::Answered(result()), Sent::Refused("status 404".to_owned())]);
    assert_eq!(desk.perform().await, done());
    assert!(failed(&desk.perform().await));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_under_way_and_who_cannot_be_sent_in_time_certainly_was_not() {
    /// Answers after two seconds.
    struct Slow(Mutex<u32>);
    impl Connector for Slow {
        fn send<'a>(&'a self, _: &'a ToolDeclaration, _: &'a Call) -> BoxFuture<'a, Sent> {
            *self.0.lock().unwrap() += 1;
            Box::pin(async {
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                Sent::Answered(result())
            })
        }
        fn query<'a>(&'a self, _: &'a ToolDeclaration, _: &'a str) -> BoxFuture<'a, Found> {
            Box::pin(async { Found::Nothing })
        }
    }
    let mut tools = Tools::parse("tools.toml", include_str!("../../config/tools.toml")).unwrap();
    tools.by_name.get_mut("card_block").unwrap().parallel = 2;
    let slow = Arc::new(Slow(Mutex::new(0)));
    let acting = Acting::new(Arc::new(tools), slow.clone(), Arc::new(FixedClock::at(INTENDED)));
    let calls: Vec<Call> = (0..6).map(|n| Call { id: CallId::new(format!("call_{n}")), ..block() }).collect();
    let performed = calls.iter().map(|call| acting.perform(permit(call), call, &|| true));
    let outcomes = futures::future::join_all(performed).await;
    // Two at once, two after two seconds; the rest waited three.
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == done()).count(), 4);
    assert_eq!(outcomes.iter().filter(|outcome| failed(outcome)).count(), 2);
    assert_eq!(*slow.0.lock().unwrap(), 4);
    // Who was stopped while it waited is not sent.
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let may_send = || !stopped.load(std::sync::atomic::Ordering::SeqCst);
    let performed = calls.iter().take(3).map(|call| acting.perform(permit(call), call, &may_send));
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        stopped.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (outcomes, ()) = futures::future::join(futures::future::join_all(performed), stop).await;
    assert!(matches!(&outcomes[2], Outcome::Failed { reason } if reason.contains("stopped")), "{outcomes:?}");
    assert_eq!(*slow.0.lock().unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn tools_of_one_machine_are_left_alone_together_and_tried_by_one() {
    let desk = desk(OnAmbiguous::Human, (0..5).map(|_| not_sent()).collect(), vec![]);
    desk.perform().await;
    desk.perform().await;
    let arguments = json!({"refund": "ref_1", "reason": "x"});
    let other = Call::new(CallId::new("call_9"), "reverse_refund", arguments);
    let outcome = desk.acting.perform(permit(&other), &other, &|| true).await;
    assert!(matches!(&outcome, Outcome::Failed { reason } if reason.contains("left alone")), "{outcome:?}");
    assert_eq!(desk.sent(), 5);
    let tools = Tools::parse("tools.toml", include_str!("../../config/tools.toml")).unwrap();
    let condition = desk.acting.condition(&tools.by_name["refund"]);
    assert_eq!((condition.breaker, condition.in_flight), (crate::base::BreakerState::Open, 0));
    desk.clock.set(INTENDED.plus_millis(20_000));
    desk.script.sends.lock().unwrap().push_back(Sent::Answered(result()));
    assert_eq!(desk.perform().await, done());
    assert_eq!(desk.acting.condition(&tools.by_name["refund"]).breaker, crate::base::BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_this_side_could_not_send_says_nothing_about_the_system() {
    let unable = || Sent::Unable("the secret cannot be read".to_owned());
    let desk = desk(OnAmbiguous::Human, (0..9).map(|_| unable()).collect(), vec![]);
    for _ in 0..9 {
        assert!(failed(&desk.perform().await));
    }
    assert_eq!(desk.sent(), 9);
}
