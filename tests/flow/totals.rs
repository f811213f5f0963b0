//! Limits on what is done of late: cases at the same time do not pass them together.

use crate::stage::{Stage, engine_over, incoming, pack_with, root, shown, verified};
use futures::future::join_all;
use prokura::base::{CaseId, Clock, SystemClock, ids};
use prokura::cases::{State, Status};
use prokura::governance::Verdict;
use prokura::ledger::LedgerSettings;
use std::sync::Arc;

/// Refunds a payment that no rule but those about money looks at.
const PLAN: &str = r#"
leaf = "transaction_charged_twice"
summary = "refunds a small payment"
start = "single"
[[let]]
name = "small"
value = "record.transactions.filter(t, t.kind == 'card_payment' && t.status == 'booked' && t.amount.minor <= 15000)"
[steps.single]
branch = [{ when = "size(records) == 1 && size(small) > 0", to = "refund" }, { to = "nothing" }]
[steps.nothing]
escalate = "disputes"
reason = "nothing_to_refund"
[steps.refund]
call = "refund"
arguments = { account = "record.id", transaction = "small[0].id", amount = "small[0].amount", reason = "'charged_twice'" }
done = "tell"
[steps.tell]
reply = "refund_review"
[[test]]
name = "refunds"
expect = { call = "refund" }
[test.given]
records = [{ id = "acc_1" }]
[test.given.record]
id = "acc_1"
transactions = [{ id = "t", kind = "card_payment", status = "booked", amount = { minor = 1, currency = "EUR" } }]
"#;

const LIMIT: i64 = 100_000;

fn amount(effect: &serde_json::Value) -> i64 {
    effect["arguments"]["amount"]["minor"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_refunds_at_once_stay_within_the_limit_of_the_bank() {
    let stage = Stage::new().await;
    let rules = std::fs::read_to_string(root().join("config/rules/default.cedar")).unwrap();
    let limited = "context.totals.bank.day.amount <= 5000000";
    assert!(rules.contains(limited));
    let rules = rules.replace(limited, &format!("context.totals.bank.day.amount <= {LIMIT}"));
    let files = [("plans/transaction_charged_twice.toml", PLAN.to_owned()), ("rules/default.cedar", rules)];
    let pack = pack_with(&stage.directory.path().join("pack"), &files);
    let state = stage.directory.path().join("limited");
    std::fs::create_dir_all(&state).unwrap();
    let ledger = Arc::new(LedgerSettings::default().open(&state).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cases = engine_over(stage.bank, ledger, &pack, &clock);
    let sent = (100..200).map(|n| {
        let cases = cases.clone();
        async move {
            let case = CaseId::new(ids::fresh("case"));
            let customer = verified(&format!("cus_{n}"));
            let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
            cases.accept(incoming(case.clone(), message, customer)).await.unwrap();
            cases.drive(&case).await.unwrap()
        }
    });
    let states: Vec<State> = join_all(sent).await;
    let effects = stage.effects();
    let whole: i64 = effects.iter().map(amount).sum();
    let done = states.iter().filter(|state| state.status == Status::Resolved).count();
    assert_eq!(done, effects.len());
    // Not one cent above it, and what was turned away would have been above it.
    assert!(whole <= LIMIT, "{whole}");
    let turned_away = states.iter().filter(|state| state.calls.iter().any(|call| call.outcome.is_none()));
    let asked = states.iter().filter(|state| state.status == Status::WaitingApproval);
    let least = asked
        .clone()
        .filter_map(|state| state.call().and_then(|call| call.amount()))
        .map(|amount| amount.minor)
        .min();
    assert!(asked.count() + turned_away.count() > 20, "{}", shown(&states[0]));
    assert!(whole > LIMIT - 15_000, "{whole}, and {least:?} was turned away");
    // Those that were too late in the race were stopped by the last check, and say why.
    for state in states.iter().filter(|state| state.status == Status::WithHuman) {
        let last = state.decisions.last().map(|(_, decision)| decision.verdict);
        assert!(state.calls.is_empty() || last != Some(Verdict::Permit), "{}", shown(state));
    }
    // What was not done does not count.
    let totals = cases.parts().ledger.totals(&["bank refund".to_owned()], SystemClock.now()).unwrap();
    assert_eq!((totals[0].day.amount, totals[0].day.count), (whole, effects.len() as i64));
}

/// How many payments of the record the plan would refund.
fn small(state: &State) -> usize {
    let record = &state.facts.as_ref().unwrap().records[0];
    let transactions = record.fields["transactions"].as_array().unwrap();
    let fits = |one: &&serde_json::Value| {
        one["kind"] == "card_payment"
            && one["status"] == "booked"
            && one["amount"]["minor"].as_i64().is_some_and(|minor| minor <= 15_000)
    };
    transactions.iter().filter(fits).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_refund_in_a_month_is_for_a_person() {
    let stage = Stage::new().await;
    let rules = std::fs::read_to_string(root().join("config/rules/default.cedar")).unwrap();
    let twice = "context.totals.tool.month.count <= 2";
    assert!(rules.contains(twice));
    let files = [
        ("plans/transaction_charged_twice.toml", PLAN.to_owned()),
        ("rules/default.cedar", rules.replace(twice, "context.totals.tool.month.count <= 1")),
    ];
    let pack = pack_with(&stage.directory.path().join("pack"), &files);
    let state = stage.directory.path().join("once");
    std::fs::create_dir_all(&state).unwrap();
    let ledger = Arc::new(LedgerSettings::default().open(&state).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cases = engine_over(stage.bank, ledger, &pack, &clock);
    let send = async |customer: &str| {
        let case = CaseId::new(ids::fresh("case"));
        let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
        cases.accept(incoming(case.clone(), message, verified(customer))).await.unwrap();
        cases.drive(&case).await.unwrap()
    };
    // Somebody with two payments that the plan would refund.
    let mut twice = None;
    for n in 100..200 {
        let first = send(&format!("cus_{n}")).await;
        if small(&first) > 1 {
            assert_eq!(first.status, Status::Resolved, "{}", shown(&first));
            twice = Some(n);
            break;
        }
    }
    let before = stage.effects().len();
    let second = send(&format!("cus_{}", twice.expect("a customer with two small payments"))).await;
    assert_eq!(second.status, Status::WaitingApproval, "{}", shown(&second));
    assert_eq!(stage.effects().len(), before);
}
