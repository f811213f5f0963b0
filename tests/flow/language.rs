//! What plans can say, run by the engine: parts, loops, reads side by side, events of other systems, what was tried.

use crate::stage::{Stage, engine_in, incoming, pack_with, path, root, shown, text, verified};
use prokura::base::{CaseId, Clock, CustomerId, FixedClock, Language, MessageId, SystemClock, ids};
use prokura::cases::{CaseError, Cases, Event, Notice, Occurrence, State, Status};
use prokura::governance::{Principal, Role};
use std::sync::Arc;

const TOOL: &str = r#"
[[tool]]
name = "account_tell"
purpose = "Tell the state of an account"
system = "core_bank"
method = "GET"
path = "/accounts/{account}"
timeout_ms = 1500
retries = 1
on_ambiguous = "human"
scope = "accounts:read"
risk = "read"
compensation = "none"
compensation_reason = "it changes nothing"
[tool.input]
type = "object"
required = ["account"]
additionalProperties = false
properties.account = { type = "string", pattern = "^[A-Za-z0-9_-]{1,64}$" }
[tool.output]
type = "object"
required = ["status"]
properties.status = { enum = ["active", "locked"] }
"#;

const RULE: &str = r#"
@id("tools-may-look")
@reason("What a customer may read, a tool may read for them")
permit (principal, action in Action::"read", resource is Record);
"#;

const DIAL: &str = "\n[[dial]]\nleaf = \"balance\"\ntool = \"account_tell\"\nlevel = \"auto\"\nevidence = \"none\"\n\
    reason = \"it only reads\"\n";

/// Asks the bank twice at once, within a part.
const SIDE_BY_SIDE: &str = r#"
leaf = "balance"
summary = "asks the bank twice"
start = "look"
[steps.look]
plan = "twice"
then = "tell"
[steps.tell]
reply = "balance"
[[test]]
name = "both"
expect = { parallel = ["one", "other"] }
[test.given]
records = [{ id = "acc_1" }]
record = { id = "acc_1" }
"#;

const TWICE: &str = r#"
part = "twice"
summary = "asks the bank twice, side by side"
start = "single"
[steps.single]
branch = [{ when = "size(records) == 1", to = "both" }, { to = "several" }]
[steps.several]
escalate = "support"
reason = "several_accounts"
[steps.both]
parallel = [
    { name = "one", call = "account_tell", arguments = { account = "record.id" } },
    { name = "other", call = "account_tell", arguments = { account = "ARGUMENT" } },
]
then = "said"
failed = "down"
[steps.said]
branch = [
    { when = "calls.one.result.status == 'active' && calls.other.result.status == 'active'", to = "active" },
    { to = "down" },
]
[steps.active]
resolve = "active"
[steps.down]
escalate = "support"
reason = "the_bank_says_no"
[[test]]
name = "several"
expect = { escalate = "support", reason = "several_accounts" }
given = { records = [{ id = "a" }, { id = "b" }] }
[[test]]
name = "locked"
from = "said"
expect = { escalate = "support", reason = "the_bank_says_no" }
given = { calls = { one = { outcome = "done", result = { status = "active" } }, other = { outcome = "done", result = { status = "locked" } } } }
[[test]]
name = "active"
from = "said"
expect = { resolve = "active" }
given = { calls = { one = { outcome = "done", result = { status = "active" } }, other = { outcome = "done", result = { status = "active" } } } }
"#;

fn engine(stage: &Stage, name: &str, files: &[(&str, String)], clock: &Arc<dyn Clock>) -> Cases {
    let pack = pack_with(&stage.directory.path().join(format!("pack-{name}")), files);
    let state = stage.directory.path().join(name);
    std::fs::create_dir_all(&state).unwrap();
    engine_in(stage.bank, &state, &pack, clock)
}

fn reading(argument: &str, dial: &str) -> Vec<(&'static str, String)> {
    let read = |name: &str| std::fs::read_to_string(root().join("config").join(name)).unwrap();
    vec![
        ("plans/balance.toml", SIDE_BY_SIDE.to_owned()),
        ("plans/twice.toml", TWICE.replace("ARGUMENT", argument)),
        ("tools.toml", read("tools.toml") + TOOL),
        ("rules/reads.cedar", RULE.to_owned()),
        ("autonomy.toml", read("autonomy.toml") + dial),
    ]
}

async fn ask(cases: &Cases, customer: &str) -> State {
    let case = CaseId::new(ids::fresh("case"));
    let asked = incoming(case, "Wie viel Geld habe ich auf dem Konto?", verified(customer));
    let case = cases.accept(asked).await.unwrap();
    cases.drive(&case).await.unwrap()
}

async fn kinds(cases: &Cases, case: &CaseId) -> Vec<String> {
    cases.entries(case).await.unwrap().into_iter().map(|entry| entry.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_is_called_side_by_side_within_a_part() {
    let stage = Stage::new().await;
    let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
    let cases = engine(&stage, "both", &reading("record.id", DIAL), &clock);
    let state = ask(&cases, "cus_022").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(path(&state), ["look", "single", "both", "said", "active", "tell"]);
    assert!(text(&state).contains("1.234,50 €"), "{}", text(&state));
    let kinds = kinds(&cases, &state.case).await;
    let calls: Vec<&str> = kinds
        .iter()
        .map(String::as_str)
        .filter(|kind| ["decided", "intended", "returned"].contains(kind))
        .collect();
    assert_eq!(calls, ["decided", "intended", "decided", "intended", "returned", "returned"]);
    // Where people are asked, they are asked about one after the other.
    let cases = engine(&stage, "asked", &reading("record.id", ""), &clock);
    let state = ask(&cases, "cus_022").await;
    assert_eq!((state.status, state.calls.len()), (Status::WaitingApproval, 1), "{}", shown(&state));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_them_fails_the_plan_goes_the_way_of_that() {
    let stage = Stage::new().await;
    let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
    let cases = engine(&stage, "fails", &reading("'acc_nobodys'", DIAL), &clock);
    let state = ask(&cases, "cus_022").await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert_eq!(state.escalation.as_ref().unwrap().reason, "the_bank_says_no", "{}", shown(&state));
    assert_eq!(state.calls.len(), 2);
    assert!(state.calls.iter().all(|call| call.outcome.is_some()), "{}", shown(&state));
}

const EVENT: &str = r#"
event = "statement_ready"
summary = "tells the balance"
start = "single"
[steps.single]
branch = [{ when = "size(records) == 1", to = "tell" }, { to = "quiet" }]
[steps.tell]
reply = "balance"
[steps.quiet]
resolve = "no_single_account"
[[test]]
name = "one"
expect = { reply = "balance" }
given = { records = [{ id = "acc_1" }] }
[[test]]
name = "none"
expect = { resolve = "no_single_account" }
given = { records = [] }
"#;

fn occurred(id: &str, kind: &str, customer: &str) -> Occurrence {
    Occurrence {
        id: id.to_owned(),
        kind: kind.to_owned(),
        customer: CustomerId::new(customer),
        channel: "test-app".to_owned(),
        language: Language::De,
    }
}

fn fresh() -> (CaseId, MessageId) {
    (CaseId::new(ids::fresh("case")), MessageId::new(ids::fresh("msg")))
}

#[tokio::test]
async fn what_another_system_tells_of_a_customer_opens_a_case_once() {
    let stage = Stage::new().await;
    let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
    let cases = engine(&stage, "events", &[("plans/statement_ready.toml", EVENT.to_owned())], &clock);
    let core = Principal::new("core", Role::System);
    let told = cases.occurred(fresh(), &core, occurred("e1", "statement_ready", "cus_022")).await;
    let (case, notice) = told.unwrap();
    assert_eq!(notice, Notice::Opened);
    let state = cases.drive(&case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("1.234,50 €"), "{}", text(&state));
    // Nobody wrote anything that could be read.
    assert!(!kinds(&cases, &case).await.contains(&"understood".to_owned()));
    let again = cases.occurred(fresh(), &core, occurred("e1", "statement_ready", "cus_022")).await;
    assert_eq!(again.unwrap(), (case.clone(), Notice::Duplicate));
    let other = cases.occurred(fresh(), &core, occurred("e1", "statement_ready", "cus_015")).await;
    assert!(matches!(other, Err(CaseError::EventReused)), "{other:?}");
    let unknown = cases.occurred(fresh(), &core, occurred("e2", "statement_red", "cus_022")).await;
    assert!(matches!(&unknown, Err(CaseError::NoEvent(kind)) if kind == "statement_red"), "{unknown:?}");
    // A leaf is no event.
    let leaf = cases.occurred(fresh(), &core, occurred("e3", "balance", "cus_022")).await;
    assert!(matches!(leaf, Err(CaseError::NoEvent(_))), "{leaf:?}");
    // The customer of another bank has no account: the case ends without a word.
    let told = cases.occurred(fresh(), &core, occurred("e4", "statement_ready", "cus_999999")).await;
    let state = cases.drive(&told.unwrap().0).await.unwrap();
    assert_eq!((state.status, state.replies.len()), (Status::Resolved, 0), "{}", shown(&state));
    // What the customer writes in such a case is read as any message.
    let answer = incoming(case.clone(), "Wie viel Geld habe ich auf dem Konto?", verified("cus_022"));
    cases.accept(answer).await.unwrap();
    let state = cases.drive(&case).await.unwrap();
    assert_eq!(state.plan.as_ref().unwrap().leaf, "balance", "{}", shown(&state));
}

const AGAIN: &str = r#"
leaf = "balance"
summary = "asks the bank again and again"
start = "single"
[steps.single]
branch = [{ when = "size(records) == 1", to = "again" }, { to = "human" }]
[steps.again]
repeat = "pause"
while = "memory.failed < 9"
most = 5
then = "human"
[steps.pause]
wait = "1h"
then = "look"
[steps.look]
call = "account_tell"
arguments = { account = "'acc_nobodys'" }
done = "human"
failed = "again"
[steps.human]
escalate = "support"
reason = "ended"
[[test]]
name = "waits first"
expect = { wait = 3600000 }
given = { records = [{ id = "acc_1" }], record = { id = "acc_1" }, memory = { failed = 0 } }
[[test]]
name = "and gives up"
from = "again"
expect = { escalate = "support" }
given = { memory = { failed = 9 } }
[[test]]
name = "none"
expect = { escalate = "support" }
given = { records = [] }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_has_failed_twice_is_for_a_person_whatever_the_plan_says() {
    let stage = Stage::new().await;
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let own = Arc::clone(&clock) as Arc<dyn Clock>;
    let mut files = reading("record.id", DIAL);
    files.retain(|(name, _)| !name.starts_with("plans/"));
    files.push(("plans/balance.toml", AGAIN.to_owned()));
    let mut cases = engine(&stage, "again", &files, &own);
    let mut state = ask(&cases, "cus_022").await;
    let mut turns = 0;
    while state.status == Status::WaitingEvent {
        clock.set(clock.now().plus_millis(3_700_000));
        // As a process that starts: an hour without a sign of life, and what it held is nobody's any more.
        cases = engine(&stage, "again", &files, &own);
        state = cases.drive(&state.case).await.unwrap();
        turns += 1;
        assert!(turns < 9, "{}", shown(&state));
    }
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert_eq!(state.calls.len(), 2, "{}", shown(&state));
    assert!(state.escalation.as_ref().unwrap().reason.contains("attempts"), "{}", shown(&state));
    let entries = cases.entries(&state.case).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "waiting").count(), 3, "{kinds:?}");
    let events = entries.iter().filter_map(|e| serde_json::from_value::<Event>(e.body.clone()).ok()).count();
    assert_eq!(events, entries.len());
}
