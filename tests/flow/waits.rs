//! Plans that wait: for a time, for another system, across restarts and over a change of the pack.

use crate::stage::{Stage, pack_with, shown, text, verified};
use prokura::base::{CaseId, Clock, FixedClock, SystemClock};
use prokura::cases::{CaseError, Cases, Notice, State, Status};
use prokura::governance::{Principal, Role};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000;
const MESSAGE: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

/// Announces a refund, waits for a day or for the other bank, and refunds.
const PLAN: &str = r#"
leaf = "transaction_charged_twice"
summary = "refunds after a day"
start = "announce"
# DOUBLE_CHARGE
[steps.announce]
reply = "working"
then = "grace"
[steps.grace]
wait = "24h"
event = "merchant_agreed"
then = "again"
arrived = "again_now"
[steps.again]
branch = [{ when = "size(records) == 1 && size(later) > 0", to = "refund" }, { to = "nothing" }]
[steps.again_now]
branch = [{ when = "size(records) == 1 && size(later) > 0", to = "refund_now" }, { to = "nothing" }]
[steps.nothing]
escalate = "disputes"
reason = "nothing_to_refund"
[steps.refund]
call = "refund"
arguments = { account = "record.id", transaction = "later[0].id", amount = "later[0].amount", reason = "'charged_twice'" }
done = "tell"
[steps.refund_now]
call = "refund"
arguments = { account = "record.id", transaction = "later[0].id", amount = "later[0].amount", reason = "'charged_twice'" }
done = "tell"
[steps.tell]
reply = "complaint_text"
[[test]]
name = "it waits"
from = "grace"
expect = { wait = 86400000, event = "merchant_agreed" }
"#;

fn plan() -> String {
    PLAN.replace("# DOUBLE_CHARGE", super::DOUBLE_CHARGE)
}

const TEMPLATE: &str = "\n[complaint_text]\ntext = \"\"\"\nErledigt nach Plan A.\"\"\"\n";

fn template(text: &str) -> [(&'static str, String); 2] {
    ["de", "en"].map(|language| {
        let name = if language == "de" { "templates/de.toml" } else { "templates/en.toml" };
        let shipped = std::fs::read_to_string(crate::stage::root().join("config").join(name)).unwrap();
        (name, shipped + text)
    })
}

pub fn waiting_pack(into: &Path, text: &str, further: &[(&str, String)]) -> PathBuf {
    let mut files = vec![("plans/transaction_charged_twice.toml", plan())];
    files.extend(template(text));
    files.extend(further.iter().cloned());
    pack_with(into, &files)
}

struct Waits {
    stage: Stage,
    clock: Arc<FixedClock>,
    pack: PathBuf,
}

impl Waits {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let pack = waiting_pack(&stage.directory.path().join("pack-a"), TEMPLATE, &[]);
        Self { stage, clock: Arc::new(FixedClock::at(SystemClock.now())), pack }
    }

    /// As a process that starts: what was held before is nobody's any more.
    fn engine(&self, pack: &Path) -> Cases {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let state = self.stage.directory.path().join("waits");
        std::fs::create_dir_all(&state).unwrap();
        crate::stage::engine_in(self.stage.bank, &state, pack, &clock)
    }

    fn later(&self, milliseconds: i64) {
        self.clock.set(self.clock.now().plus_millis(milliseconds));
    }

    async fn send(&self, cases: &Cases, case: &CaseId, text: &str, customer: &str) -> State {
        let incoming = crate::stage::incoming(case.clone(), text, verified(customer));
        cases.accept(incoming).await.unwrap();
        cases.drive(case).await.unwrap()
    }
}

fn case(name: &str) -> CaseId {
    CaseId::new(format!("case_{name}"))
}

fn system(name: &str) -> Principal {
    Principal::new(name, Role::System)
}

/// What has been taken up in the background comes to its end.
async fn settled(cases: &Cases, case: &CaseId) -> State {
    for _ in 0..600 {
        let state = cases.state(case).await.unwrap();
        if !matches!(state.status, Status::Running | Status::WaitingEvent) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cases.state(case).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_grace_survives_a_restart_and_then_the_plan_goes_on() {
    let waits = Waits::new().await;
    let first = waits.engine(&waits.pack);
    let state = waits.send(&first, &case("a"), MESSAGE, "cus_015").await;
    assert_eq!(state.status, Status::WaitingEvent, "{}", shown(&state));
    assert!(text(&state).contains("angekommen"), "{}", text(&state));
    assert_eq!(state.waiting.unwrap().until, waits.clock.now().plus_millis(24 * HOUR));
    // Looking at it in vain, however often, is no fault of the case.
    for _ in 0..10 {
        first.drive(&case("a")).await.unwrap();
    }
    waits.later(24 * HOUR - 1);
    assert_eq!(first.recover().await.unwrap(), 0);
    drop(first);
    let second = waits.engine(&waits.pack);
    assert_eq!(second.recover().await.unwrap(), 0);
    assert_eq!(waits.stage.orders().len(), 0);
    waits.later(1);
    assert_eq!(second.recover().await.unwrap(), 1);
    let state = settled(&second, &case("a")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(waits.stage.effects().len(), 1);
    assert_eq!(state.calls[0].step, "refund");
    let kinds: Vec<String> =
        second.entries(&case("a")).await.unwrap().into_iter().map(|entry| entry.kind).collect();
    // The facts are looked at again before anything is done.
    let after = kinds.iter().position(|kind| kind == "elapsed").unwrap();
    assert_eq!(kinds[after..after + 3], ["elapsed", "found", "grounded"], "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_ends_the_wait_and_what_comes_late_or_twice_is_recognised() {
    let waits = Waits::new().await;
    let cases = waits.engine(&waits.pack);
    let case = case("b");
    waits.send(&cases, &case, MESSAGE, "cus_015").await;
    let shop = system("merchants");
    let tell = |id: &'static str, kind: &'static str| {
        let (cases, case, by) = (cases.clone(), case.clone(), shop.clone());
        async move { cases.notify(&case, &by, (id, kind)).await }
    };
    assert_eq!(tell("e1", "parcel_sent").await.unwrap(), Notice::NotAwaited);
    assert_eq!(tell("e2", "merchant_agreed").await.unwrap(), Notice::Taken);
    assert_eq!(tell("e2", "merchant_agreed").await.unwrap(), Notice::Duplicate);
    assert!(matches!(tell("e2", "parcel_sent").await, Err(CaseError::EventReused)));
    let state = cases.drive(&case).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(state.calls[0].step, "refund_now");
    assert_eq!(tell("e3", "merchant_agreed").await.unwrap(), Notice::NotAwaited);
    // The same id from somebody else is another event.
    assert_eq!(cases.notify(&case, &system("cards"), ("e2", "x")).await.unwrap(), Notice::NotAwaited);
    assert!(matches!(
        cases.notify(&CaseId::new("case_none"), &shop, ("e9", "x")).await,
        Err(CaseError::NoCase(_))
    ));
    waits.later(48 * HOUR);
    assert_eq!(cases.recover().await.unwrap(), 0);
    assert_eq!(
        (cases.state(&case).await.unwrap().status, waits.stage.effects().len()),
        (Status::Resolved, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_announced_is_taken_back_with_a_word_and_everything_else_goes_to_a_person() {
    let waits = Waits::new().await;
    let cases = waits.engine(&waits.pack);
    waits.send(&cases, &case("c"), MESSAGE, "cus_015").await;
    let state = waits.send(&cases, &case("c"), "Rückgängig!", "cus_015").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("rückgängig gemacht"), "{}", text(&state));
    waits.send(&cases, &case("d"), MESSAGE, "cus_015").await;
    let state = waits.send(&cases, &case("d"), "Wie lange dauert das denn noch?", "cus_015").await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert!(state.escalation.unwrap().reason.contains("waited"));
    // Somebody else takes nothing back.
    waits.send(&cases, &case("e"), MESSAGE, "cus_015").await;
    let state = waits.send(&cases, &case("e"), "Rückgängig", "cus_016").await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    waits.later(25 * HOUR);
    assert_eq!(cases.recover().await.unwrap(), 0);
    assert_eq!(waits.stage.orders().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_before_its_wait_begins_is_not_lost() {
    let waits = Waits::new().await;
    let cases = waits.engine(&waits.pack);
    cases.accept(crate::stage::incoming(case("early"), MESSAGE, verified("cus_015"))).await.unwrap();
    let told = cases.notify(&case("early"), &system("merchants"), ("e1", "merchant_agreed")).await.unwrap();
    assert_eq!(told, Notice::NotAwaited);
    let state = cases.drive(&case("early")).await.unwrap();
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(state.calls[0].step, "refund_now");
}

/// PROKURA_TORTURE=all: two hundred.
fn many() -> usize {
    if std::env::var("PROKURA_TORTURE").as_deref() == Ok("all") { 200 } else { 20 }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_in_a_wait_keep_their_plan_and_texts_over_an_upgrade_and_obey_the_rules_in_force() {
    let waits = Waits::new().await;
    let before = waits.engine(&waits.pack);
    let names: Vec<CaseId> = (0..many()).map(|n| case(&format!("up{n:03}"))).collect();
    for name in &names {
        let state = waits.send(&before, name, MESSAGE, "cus_015").await;
        assert_eq!(state.status, Status::WaitingEvent, "{}", shown(&state));
    }
    drop(before);
    let shipped = "\n[complaint_text]\ntext = \"\"\"\nErledigt nach Plan B.\"\"\"\n";
    let plan = plan().replace("wait = \"24h\"", "wait = \"48h\"").replace("86400000", "172800000");
    let plan = [("plans/transaction_charged_twice.toml", plan)];
    let other = waiting_pack(&waits.stage.directory.path().join("pack-b"), shipped, &plan);
    waits.later(24 * HOUR);
    let after = waits.engine(&other);
    while after.recover().await.unwrap() > 0 {}
    let (mut resolved, mut refused) = (0, 0);
    for name in &names {
        let state = settled(&after, name).await;
        assert_eq!(
            state.plan.as_ref().unwrap().path,
            ["announce", "grace", "again", "refund", "tell"][..state.plan.as_ref().unwrap().path.len()],
            "{}",
            shown(&state)
        );
        match state.status {
            Status::Resolved => {
                resolved += 1;
                assert!(text(&state).contains("Plan A"), "{}", text(&state));
            }
            // The same charge is refunded once, by whoever comes first.
            Status::WithHuman => refused += 1,
            other => panic!("{other:?}: {}", shown(&state)),
        }
    }
    assert_eq!((resolved, refused, waits.stage.effects().len()), (1, names.len() - 1, 1));
    // A new case has the new plan.
    let state = waits.send(&after, &case("new"), MESSAGE, "cus_015").await;
    let plan = state.plan.as_ref().map(|plan| plan.leaf.as_str());
    assert_eq!(plan, Some("transaction_charged_twice"));
    println!("{} cases kept their plan over an upgrade", names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_became_stricter_hold_for_a_case_that_began_under_others() {
    let waits = Waits::new().await;
    let before = waits.engine(&waits.pack);
    waits.send(&before, &case("r"), MESSAGE, "cus_015").await;
    drop(before);
    let rules = std::fs::read_to_string(crate::stage::root().join("config/rules/default.cedar")).unwrap()
        + "\n@id(\"no-refunds-today\")\n@reason(\"test\")\n@document(\"duplicate-charges\")\nforbid (principal, action == Action::\"refund\", resource);\n";
    let stricter = waiting_pack(
        &waits.stage.directory.path().join("pack-c"),
        TEMPLATE,
        &[("rules/default.cedar", rules)],
    );
    waits.later(24 * HOUR);
    let after = waits.engine(&stricter);
    assert_eq!(after.recover().await.unwrap(), 1);
    let state = settled(&after, &case("r")).await;
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert_eq!(waits.stage.orders().len(), 0);
    let last = &state.decisions.last().unwrap().1;
    assert!(last.policies.contains(&"no-refunds-today".to_owned()), "{last:?}");
}
