//! What the default pack promises, from a real message to the bank's own log of what was done there.

use crate::stage::{Stage, engine_in, incoming, path, reply, root, shown, text, verified};
use prokura::base::{CaseId, Clock, CustomerId, FixedClock, Language, MessageId, SystemClock, ids};
use prokura::cases::{Cases, Decide, Occurrence, State, Status};
use prokura::governance::{Principal, Role};
use serde_json::{Value, json};
use std::sync::Arc;

const HOUR: i64 = 3_600_000;

async fn approved_by(cases: &Cases, state: &State, name: &str) -> State {
    let id = state.approval.as_ref().unwrap_or_else(|| panic!("{}", shown(state))).0.id.clone();
    let by = Principal::new(name, Role::Supervisor);
    let decide = Decide { by, approve: true, reason: Some("looked at it".into()), binding: None };
    let case = cases.decide(id.as_str(), decide).await.unwrap();
    cases.drive(&case).await.unwrap()
}

/// Sends the message, and has a person approve the one call that it leads to.
async fn done_with_approval(stage: &Stage, message: &str, customer: &str) -> State {
    let state = stage.send(message, verified(customer)).await;
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    assert!(stage.orders().is_empty(), "nothing is done before: {}", shown(&state));
    let state = approved_by(&stage.cases, &state, "sara").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    state
}

/// What the bank's log says of the only thing that was done.
fn only_effect(stage: &Stage, tool: &str) -> Value {
    let effects = stage.effects();
    assert_eq!(effects.len(), 1, "{effects:?}");
    assert_eq!(effects[0]["tool"], tool, "{effects:?}");
    effects[0]["arguments"].clone()
}

async fn account(stage: &Stage, number: u32) -> Value {
    let (status, account) = reply(&stage.bank, "GET", &format!("/accounts/acc_{number:03}"), &[], None).await;
    assert_eq!(status, 200, "{account}");
    serde_json::from_str(&account).unwrap()
}

#[tokio::test]
async fn the_one_booking_that_it_can_be_is_disputed_and_which_of_several_is_for_people() {
    for (message, leaf, booking) in [
        (
            "Auf meinem Konto ist eine Kartenzahlung, die ich nicht kenne und nicht gemacht habe.",
            "card_payment_not_recognised",
            "txn_037_91",
        ),
        (
            "Von meinem Konto wurde eine Lastschrift abgebucht, die ich nicht kenne und nie erlaubt habe.",
            "direct_debit_payment_not_recognised",
            "txn_037_92",
        ),
        (
            "Auf meinem Konto steht eine Bargeldabhebung am Automaten, die ich nicht gemacht habe.",
            "cash_withdrawal_not_recognised",
            "txn_037_93",
        ),
    ] {
        let stage = Stage::new().await;
        let state = done_with_approval(&stage, message, "cus_037").await;
        assert_eq!(state.plan.as_ref().unwrap().leaf, leaf, "{}", shown(&state));
        assert_eq!(only_effect(&stage, "dispute_open")["transaction"], booking, "{}", shown(&state));
        // Another customer has none.
        let other = stage.send(message, verified("cus_036")).await;
        assert_eq!(other.plan.as_ref().unwrap().leaf, leaf, "{}", shown(&other));
        assert!(other.calls.is_empty() && stage.effects().len() == 1, "{}", shown(&other));
    }
}

#[tokio::test]
async fn an_address_is_confirmed_as_the_bank_has_it_and_never_as_a_message_does() {
    let stage = Stage::new().await;
    let message =
        "Ich bin umgezogen und möchte meine Adresse ändern, bitte auf Hauptstraße 99, 10115 Berlin.";
    let state = done_with_approval(&stage, message, "cus_033").await;
    let told = only_effect(&stage, "address_confirm");
    assert_eq!(told["address"]["street"], "Seeweg 4", "{}", shown(&state));
    let now = account(&stage, 33).await;
    assert_eq!(now["address"]["city"], "Kiel", "{now}");
    // Who has entered none is told how.
    let state = stage.send("Ich bin umgezogen und möchte meine Adresse ändern.", verified("cus_006")).await;
    assert_eq!(path(&state).last(), Some(&"tell_enter"), "{}", shown(&state));
    assert_eq!(stage.effects().len(), 1);
}

#[tokio::test]
async fn a_transfer_that_was_not_sent_is_cancelled_and_an_overdue_one_traced() {
    let stage = Stage::new().await;
    let state = done_with_approval(&stage, "Ich möchte eine Überweisung stornieren.", "cus_036").await;
    assert_eq!(only_effect(&stage, "transfer_cancel")["transfer"], "trf_036", "{}", shown(&state));
    assert_eq!(account(&stage, 36).await["transfers"][0]["state"], "cancelled");
    // It is cancelled; there is nothing more to cancel.
    let state = stage.send("Ich möchte eine Überweisung stornieren.", verified("cus_036")).await;
    assert_eq!(path(&state).last(), Some(&"tell_none"), "{}", shown(&state));

    let stage = Stage::new().await;
    let message = "Der Empfänger hat meine Überweisung nicht erhalten.";
    let state = done_with_approval(&stage, message, "cus_035").await;
    assert_eq!(only_effect(&stage, "transfer_trace")["transfer"], "trf_035", "{}", shown(&state));
    let state = stage.send(message, verified("cus_035")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(stage.effects().len(), 1, "what is traced is not traced again");
}

#[tokio::test]
async fn an_account_is_unlocked_once_its_owner_has_shown_who_they_are() {
    let stage = Stage::new().await;
    let message = "Ich komme nicht mehr in mein Konto rein, es ist gesperrt.";
    // Failed logins locked this one as well, and nobody has shown a document since.
    let state = stage.send(message, verified("cus_002")).await;
    assert_eq!(path(&state).last(), Some(&"unlock"), "{}", shown(&state));
    assert!(stage.orders().is_empty());
    let state = done_with_approval(&stage, message, "cus_041").await;
    assert_eq!(only_effect(&stage, "account_unlock")["account"], "acc_041", "{}", shown(&state));
    assert_eq!(account(&stage, 41).await["status"], "active");
}

#[tokio::test]
async fn what_protects_the_customer_is_done_at_once() {
    let stage = Stage::new().await;
    let state = stage.send("Bitte sperren Sie mein ganzes Konto vorübergehend.", verified("cus_006")).await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(only_effect(&stage, "account_lock")["account"], "acc_006");
    assert_eq!(account(&stage, 6).await["lock_reason"], "asked_by_customer");
    let state = stage.send("Bitte sperren Sie mein ganzes Konto vorübergehend.", verified("cus_006")).await;
    assert_eq!(path(&state).last(), Some(&"tell_locked"), "{}", shown(&state));

    let stage = Stage::new().await;
    let message = "Ich habe meine Karte noch, aber jemand benutzt meine Kartendaten.";
    let state = stage.send(message, verified("cus_014")).await;
    assert_eq!(state.plan.as_ref().unwrap().leaf, "compromised_card", "{}", shown(&state));
    assert_eq!(only_effect(&stage, "card_block")["card"], "card_014", "{}", shown(&state));
}

#[tokio::test]
async fn what_is_asked_is_answered_from_the_record_and_quoted_from_the_policy() {
    let stage = Stage::new().await;
    for (message, customer, leaf, told) in [
        (
            "Warum wurde mir für eine Kartenzahlung eine Gebühr berechnet?",
            "cus_038",
            "card_payment_fee_charged",
            ["1,75 €", "1,50"],
        ),
        (
            "Auf meinem Kontoauszug steht ein kleiner Betrag, den ich nicht zuordnen kann. Was ist das für eine Gebühr?",
            "cus_042",
            "extra_charge_on_statement",
            ["5,00 €", "PIN-Brief"],
        ),
        (
            "Zeigen Sie mir bitte meine letzten Umsätze.",
            "cus_042",
            "transactions",
            ["Fitnesswerk: 39,90 €", "Geldautomat Markt: 100,00 €"],
        ),
        (
            "Meine Abhebung am Automaten ist immer noch vorgemerkt.",
            "cus_042",
            "pending_cash_withdrawal",
            ["100,00 €", "vorgemerkt"],
        ),
        (
            "Ich möchte mein Geld für einen Einkauf zurück.",
            "cus_042",
            "request_refund",
            ["39,90 €", "acht Wochen"],
        ),
        (
            "Wie viel Zinsen bekomme ich auf mein Guthaben?",
            "cus_042",
            "interest_rate",
            ["Girokonto", "nicht verzinst"],
        ),
    ] {
        let state = stage.send(message, verified(customer)).await;
        assert_eq!(state.plan.as_ref().unwrap().leaf, leaf, "{}", shown(&state));
        assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
        for words in told {
            assert!(text(&state).contains(words), "{words}: {}", text(&state));
        }
    }
    assert!(stage.orders().is_empty());
}

/// A package's end over two processes, with a clock that the test moves.
struct Package {
    stage: Stage,
    clock: Arc<FixedClock>,
    case: CaseId,
}

impl Package {
    async fn new() -> Self {
        let clock = Arc::new(FixedClock::at(SystemClock.now()));
        Self { stage: Stage::new().await, clock, case: CaseId::new("case_package") }
    }

    /// As a process that starts.
    fn engine(&self) -> Cases {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let state = self.stage.directory.path().join("package");
        std::fs::create_dir_all(&state).unwrap();
        engine_in(self.stage.bank, &state, &root().join("config"), &clock)
    }

    async fn send(&self, cases: &Cases, text: &str) -> State {
        cases.accept(incoming(self.case.clone(), text, verified("cus_033"))).await.unwrap();
        cases.drive(&self.case).await.unwrap()
    }

    /// The offer is heard and not taken, so that the end is announced.
    async fn announced(&self, cases: &Cases) -> State {
        let state = self.send(cases, "Ich möchte mein Premium-Paket kündigen.").await;
        assert_eq!(state.status, Status::WaitingCustomer, "first comes an offer: {}", shown(&state));
        let state = self.send(cases, "Ja, ich möchte das Premium-Paket trotzdem kündigen.").await;
        assert_eq!(state.status, Status::WaitingEvent, "{}", shown(&state));
        assert!(self.stage.orders().is_empty());
        state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_ends_after_an_offer_and_a_day_and_comes_back_with_a_word() {
    let package = Package::new().await;
    let first = package.engine();
    let state = package.announced(&first).await;
    assert_eq!(state.waiting.as_ref().unwrap().until, package.clock.now().plus_millis(24 * HOUR));
    drop(first);
    package.clock.set(package.clock.now().plus_millis(24 * HOUR));
    let second = package.engine();
    let state = second.drive(&package.case).await.unwrap();
    assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
    let state = approved_by(&second, &state, "sara").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(only_effect(&package.stage, "package_cancel")["account"], "acc_033");
    assert_eq!(account(&package.stage, 33).await["package"]["change"], "basic");

    let mut state = package.send(&second, "rückgängig").await;
    if state.status == Status::WaitingApproval {
        assert!(text(&state).contains("bearbeite Ihr Anliegen noch"), "{}", text(&state));
        state = approved_by(&second, &state, "sara").await;
    }
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert_eq!(account(&package.stage, 33).await["package"]["change"], Value::Null, "{}", shown(&state));

    // Whoever asks again is told so again, and nothing more is done.
    let effects = package.stage.effects().len();
    let state = package.send(&second, "Rückgängig!").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("rückgängig gemacht"), "{}", text(&state));
    assert_eq!(package.stage.effects().len(), effects);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_end_is_taken_back_over_a_restart() {
    let package = Package::new().await;
    let first = package.engine();
    package.announced(&first).await;
    drop(first);
    package.clock.set(package.clock.now().plus_millis(23 * HOUR));
    let second = package.engine();
    let state = package.send(&second, "Rückgängig!").await;
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    assert!(text(&state).contains("rückgängig gemacht"), "{}", text(&state));
    package.clock.set(package.clock.now().plus_millis(48 * HOUR));
    assert_eq!(second.recover().await.unwrap(), 0);
    assert!(package.stage.orders().is_empty(), "nothing was cancelled");
}

#[tokio::test]
async fn what_other_systems_tell_reaches_the_customer_from_the_record() {
    let stage = Stage::new().await;
    let core = Principal::new("core", Role::System);
    for (number, (kind, customer, status, told)) in [
        ("subscription_expiring", "cus_033", Status::Resolved, "10,90 €"),
        ("subscription_expiring", "cus_042", Status::Resolved, ""),
        ("payment_failed", "cus_040", Status::Resolved, "98,00 €"),
        ("payment_failed", "cus_042", Status::WithHuman, "ein anderes unserer Systeme"),
        // Nobody is asked for an account who has not written.
        ("payment_failed", "cus_nosuch", Status::WithHuman, "ein anderes unserer Systeme"),
    ]
    .into_iter()
    .enumerate()
    {
        let told_of = Occurrence {
            id: format!("e{number}"),
            kind: kind.to_owned(),
            customer: CustomerId::new(customer),
            channel: "test-app".to_owned(),
            language: Language::De,
        };
        let ids = (CaseId::new(ids::fresh("case")), MessageId::new(ids::fresh("msg")));
        let (case, _) = stage.cases.occurred(ids, &core, told_of).await.unwrap();
        let state = stage.cases.drive(&case).await.unwrap();
        assert_eq!(state.status, status, "{kind} {customer}: {}", shown(&state));
        assert!(text(&state).contains(told), "{kind} {customer}: {}", text(&state));
        let silent = told.is_empty() && status == Status::Resolved;
        assert!(!silent || state.replies.is_empty(), "{kind} {customer}: {}", shown(&state));
    }
    // A flag keeps what a record holds from being told.
    stage.switch(json!({"fraud": ["acc_040"]})).await;
    let told_of = Occurrence {
        id: "e9".to_owned(),
        kind: "payment_failed".to_owned(),
        customer: CustomerId::new("cus_040"),
        channel: "test-app".to_owned(),
        language: Language::De,
    };
    let ids = (CaseId::new(ids::fresh("case")), MessageId::new(ids::fresh("msg")));
    let (case, _) = stage.cases.occurred(ids, &core, told_of).await.unwrap();
    let state = stage.cases.drive(&case).await.unwrap();
    assert_eq!(state.status, Status::WithHuman, "{}", shown(&state));
    assert!(!text(&state).contains("98,00"), "{}", text(&state));
    assert!(stage.orders().is_empty());
}
