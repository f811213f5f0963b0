//! Several calls that belong together: what was done is undone when a later one fails, the last first, whatever dies in
//! between; an undoing that fails waits for an operator; a customer who changes their mind gets the undo.

use super::crash::Mortal;
use crate::stage::{Stage, engine_over, incoming, pack_with, shown, text, verified};
use prokura::acting::Outcome;
use prokura::base::{CaseId, Clock, SystemClock, ids};
use prokura::cases::{Cases, Decide, State, Status};
use prokura::governance::{Principal, Role};
use prokura::ledger::store::Sqlite;
use prokura::ledger::{Keys, LedgerSettings, Store};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MESSAGE: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

/// Two tickets and a refund between them; each that fails undoes what is before it.
const PLAN: &str = r#"
leaf = "transaction_charged_twice"
summary = "ticket, refund, ticket"
start = "single"
# DOUBLE_CHARGE
[steps.single]
branch = [{ when = "size(records) == 1 && size(later) > 0", to = "first" }, { to = "nothing" }]
[steps.nothing]
escalate = "disputes"
reason = "nothing_to_refund"
[steps.first]
call = "ticket_open"
arguments = { queue = "'disputes'", summary = "'first'", details = "record.id" }
done = "refund"
failed = "back"
[steps.refund]
call = "refund"
arguments = { account = "record.id", transaction = "later[0].id", amount = "later[0].amount", reason = "'charged_twice'" }
done = "second"
failed = "back"
[steps.second]
call = "ticket_open"
arguments = { queue = "'disputes'", summary = "'second'", details = "record.id" }
done = "tell"
failed = "back"
[steps.back]
undo = "all"
then = "sorry"
[steps.sorry]
reply = "handover"
[steps.tell]
reply = "refund_review"
[[test]]
name = "the first ticket"
from = "first"
expect = { call = "ticket_open" }
[test.given]
record = { id = "acc_1", transactions = [] }
"#;

fn pack(into: &Path) -> PathBuf {
    let config = crate::stage::root().join("config");
    let read = |name: &str| std::fs::read_to_string(config.join(name)).unwrap();
    let dial = |tool: &str, limit: &str| {
        // What the shipped bundle was measured at carries it easily.
        let demand = "max_error = 0.5\nconfidence = 0.5";
        format!("\n[[dial]]\nleaf = \"*\"\ntool = \"{tool}\"\nlevel = \"auto\"\n{demand}\n{limit}")
    };
    let autonomy = read("autonomy.toml").replace(
        "[[dial]]\nleaf = \"*\"\ntool = \"reverse_refund\"\nlevel = \"suggest\"\n",
        &(dial("reverse_refund", "") + &dial("ticket_open", "") + &dial("ticket_close", "")),
    );
    // What cannot be undone needs a person; in these tests the undoing itself is not that.
    let tools = read("tools.toml").replacen(
        "risk = \"irreversible\"\ncompensation = \"none\"\ncompensation_reason = \"it undoes a refund itself",
        "risk = \"protective\"\ncompensation = \"none\"\ncompensation_reason = \"it undoes a refund itself",
        1,
    );
    assert!(
        autonomy.contains("ticket_close")
            && !tools.contains(
                "risk = \"irreversible\"\ncompensation = \"none\"\ncompensation_reason = \"it undoes"
            )
    );
    let files = [
        ("plans/transaction_charged_twice.toml", PLAN.replace("# DOUBLE_CHARGE", super::DOUBLE_CHARGE)),
        ("autonomy.toml", autonomy),
        ("tools.toml", tools),
    ];
    pack_with(into, &files)
}

/// The tools that acted, in order.
fn acted(stage: &Stage) -> Vec<String> {
    stage.effects().iter().map(|effect| effect["tool"].as_str().unwrap().to_owned()).collect()
}

fn undone(done: &[&str]) -> Vec<String> {
    let undo = |tool: &&str| if *tool == "refund" { "reverse_refund" } else { "ticket_close" };
    let back = done.iter().rev().map(undo);
    done.iter().copied().chain(back).map(str::to_owned).collect()
}

struct Saga {
    stage: Stage,
    pack: PathBuf,
}

impl Saga {
    async fn new(switches: Value) -> Self {
        let stage = Stage::new().await;
        let pack = pack(&stage.directory.path().join("pack"));
        stage.switch(switches).await;
        Self { stage, pack }
    }

    fn state_of(&self, name: &str) -> PathBuf {
        let state = self.stage.directory.path().join(name);
        std::fs::create_dir_all(&state).unwrap();
        state
    }

    fn engine(&self, name: &str, lives: Option<(i64, bool)>) -> Cases {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = self.state_of(name);
        let store = |keys: &Keys| {
            let inner = Sqlite::open(&state, keys, Arc::new(SystemClock))?;
            Ok(match lives {
                Some((lives, after_writing)) => {
                    Arc::new(Mortal::new(inner, lives, after_writing)) as Arc<dyn Store>
                }
                None => Arc::new(inner) as Arc<dyn Store>,
            })
        };
        let ledger = Arc::new(LedgerSettings::default().over(&state, store).unwrap());
        if lives.is_none() {
            // The dead one still counts as living; the lock of its directory would say that it does not.
            ledger.store().forget_nodes().unwrap();
        }
        engine_over(self.stage.bank, ledger, &self.pack, &clock)
    }

    async fn send(&self, cases: &Cases) -> State {
        let case = CaseId::new(ids::fresh("case"));
        cases.accept(incoming(case.clone(), MESSAGE, verified("cus_015"))).await.unwrap();
        cases.drive(&case).await.unwrap()
    }
}

const NODES: [(&str, &str, &[&str]); 4] = [
    ("none", "", &[]),
    ("first", "first", &[]),
    ("refund", "refund", &["ticket_open"]),
    ("second", "second", &["ticket_open", "refund"]),
];

/// The bank refuses the call of one step, or of none.
fn refusing(step: &str) -> Value {
    match step {
        "first" | "second" => json!({ "refuse_tickets": [step] }),
        "refund" => json!({ "refuse": ["refund"] }),
        _ => json!({}),
    }
}

fn expected(step: &str, before: &[&str]) -> Vec<String> {
    match step {
        "" => ["ticket_open", "refund", "ticket_open"].map(str::to_owned).to_vec(),
        _ => undone(before),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_what_was_done_before_is_undone_in_reverse() {
    for (name, step, before) in NODES {
        let saga = Saga::new(refusing(step)).await;
        let state = saga.send(&saga.engine(name, None)).await;
        assert_eq!(state.status, Status::Resolved, "{name}: {}", shown(&state));
        assert_eq!(acted(&saga.stage), expected(step, before), "{name}");
        let compensated =
            state.calls.iter().filter(|call| matches!(call.outcome, Some(Outcome::Compensated { .. })));
        assert_eq!(compensated.count(), before.len(), "{name}");
        // What undoes a call was recorded with the intent, before it was made.
        let entries = saga.engine(name, None).entries(&state.case).await.unwrap();
        for entry in entries.iter().filter(|entry| entry.kind == "intended" && !before.is_empty()) {
            let tool = entry.body["tool"].as_str().unwrap();
            assert_eq!(
                entry.body["undo"].is_object(),
                ["refund", "ticket_open"].contains(&tool),
                "{entry:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_do_and_undo_may_be_repeated_by_a_successor_and_happens_once() {
    let full = std::env::var("PROKURA_TORTURE").as_deref() == Ok("all");
    let mut deaths = 0;
    for (name, step, before) in NODES {
        for after_writing in [false, true] {
            // Each round dies one append later; a sample takes every second.
            for lives in (1..).step_by(if full { 1 } else { 2 }) {
                let saga = Saga::new(refusing(step)).await;
                let place = format!("{name}-{lives}-{after_writing}");
                let dying = saga.engine(&place, Some((lives, after_writing)));
                let case = CaseId::new(ids::fresh("case"));
                let accepted = dying.accept(incoming(case.clone(), MESSAGE, verified("cus_015"))).await;
                if accepted.is_ok() && dying.drive(&case).await.is_ok() {
                    break;
                }
                deaths += 1;
                let risen = saga.engine(&place, None);
                let state = risen.state(&case).await.unwrap();
                if state.length > 0 {
                    let state = risen.drive(&case).await.unwrap();
                    assert_eq!(state.status, Status::Resolved, "{place}: {}", shown(&state));
                    assert_eq!(acted(&saga.stage), expected(step, before), "{place}");
                }
            }
        }
    }
    assert!(deaths >= if full { 40 } else { 20 }, "only {deaths} deaths");
    println!("saga matrix: {} places to fail, {deaths} deaths", NODES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undoing_that_fails_is_stuck_and_goes_on_when_an_operator_says_so() {
    let saga = Saga::new(json!({ "refuse_tickets": ["second"], "refuse": ["reverse_refund"] })).await;
    let cases = saga.engine("stuck", None);
    let state = saga.send(&cases).await;
    assert_eq!(state.status, Status::Stuck, "{}", shown(&state));
    assert_eq!(acted(&saga.stage), ["ticket_open", "refund"]);
    let operator = Principal::new("olga", Role::Operator);
    cases.retry(&state.case, &operator).await.unwrap();
    assert_eq!(cases.drive(&state.case).await.unwrap().status, Status::Stuck, "still refused");
    saga.stage.switch(json!({ "refuse": [] })).await;
    cases.retry(&state.case, &operator).await.unwrap();
    let state = cases.drive(&state.case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(acted(&saga.stage), undone(&["ticket_open", "refund"]));
    assert!(cases.retry(&state.case, &operator).await.is_err(), "it is not stuck any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undoing_whose_answer_is_lost_is_settled_before_it_is_tried_again() {
    let saga = Saga::new(json!({ "refuse_tickets": ["second"] })).await;
    let cases = saga.engine("lost", None);
    saga.stage.switch(json!({ "lose": ["reverse_refund"], "no_effects": true })).await;
    let state = saga.send(&cases).await;
    assert_eq!(state.status, Status::Stuck, "{}", shown(&state));
    let operator = Principal::new("olga", Role::Operator);
    saga.stage.switch(json!({ "lose": [], "no_effects": false })).await;
    cases.retry(&state.case, &operator).await.unwrap();
    let state = cases.drive(&state.case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(acted(&saga.stage), undone(&["ticket_open", "refund"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_changes_their_mind_in_time_gets_the_refund_undone_by_two_people() {
    let stage = Stage::new().await;
    let state = stage.send(MESSAGE, verified("cus_015")).await;
    assert_eq!(state.status, Status::Resolved);
    let state = stage.send_to(state.case, "UNDO", verified("cus_015")).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    assert_eq!(state.call().unwrap().tool, "reverse_refund");
    let approval = state.approval.as_ref().unwrap().0.id.to_string();
    for (name, role) in [("sara", Role::Supervisor), ("tom", Role::Agent)] {
        let by = Principal::new(name, role);
        let decide = Decide { by, approve: true, reason: None, binding: None };
        stage.cases.decide(&approval, decide).await.unwrap();
    }
    let state = stage.cases.drive(&state.case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("rückgängig") || text(&state).contains("undone"), "{}", text(&state));
    assert_eq!(acted(&stage), ["refund", "reverse_refund"]);
    // There is nothing left to take back: it is told again that it was.
    let state = stage.send_to(state.case, "UNDO", verified("cus_015")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("rückgängig") || text(&state).contains("undone"), "{}", text(&state));
    assert_eq!(acted(&stage).len(), 2);
    // What was undone may be asked for again.
    let state = stage.send(MESSAGE, verified("cus_015")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(acted(&stage), ["refund", "reverse_refund", "refund"]);
}
