//! A verified customer who names somebody else's account, in every plan that acts or tells something.

use crate::stage::{Stage, path, reply, shown, text, verified};
use prokura::cases::{Decide, Status};
use prokura::governance::{Principal, Role};
use prokura::planning::{PlanFor, PlanKind};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A leaf, what is written, and an account for which its plan acts, or tells something.
const PLANS: [(&str, &str, &str); 44] = [
    (
        "account_locked",
        "Ich komme nicht mehr in mein Konto rein, es ist gesperrt. Meine IBAN ist {iban}.",
        "002",
    ),
    ("balance", "Wie viel Geld habe ich auf dem Konto mit der IBAN {iban}?", "022"),
    ("card_arrival", "Wo bleibt meine neue Karte? Ich warte schon so lange. Meine IBAN ist {iban}.", "009"),
    ("login_problem", "Die Anmeldung im Online-Banking klappt nicht. Meine IBAN ist {iban}.", "006"),
    ("lost_or_stolen_card", "Ich habe meine Karte verloren, bitte sperren! Meine IBAN ist {iban}.", "006"),
    (
        "password_reset",
        "Ich habe mein Passwort vergessen und brauche ein neues. Meine IBAN ist {iban}.",
        "006",
    ),
    ("pin_blocked", "Meine PIN ist nach drei falschen Eingaben gesperrt. Meine IBAN ist {iban}.", "005"),
    (
        "transaction_charged_twice",
        "Mir wurde derselbe Einkauf zweimal abgebucht! Meine IBAN ist {iban}.",
        "015",
    ),
    (
        "card_payment_not_recognised",
        "Auf meinem Konto ist eine Kartenzahlung, die ich nicht kenne und nicht gemacht habe. Meine IBAN ist {iban}.",
        "037",
    ),
    (
        "direct_debit_payment_not_recognised",
        "Von meinem Konto wurde eine Lastschrift abgebucht, die ich nicht kenne und nie erlaubt habe. Meine IBAN ist {iban}.",
        "037",
    ),
    (
        "cash_withdrawal_not_recognised",
        "Auf meinem Konto steht eine Bargeldabhebung am Automaten, die ich nicht gemacht habe. Meine IBAN ist {iban}.",
        "037",
    ),
    (
        "wrong_amount_of_cash_received",
        "Der Geldautomat hat mir zu wenig Geld ausgezahlt. Meine IBAN ist {iban}.",
        "037",
    ),
    (
        "card_payment_fee_charged",
        "Warum wurde mir für eine Kartenzahlung eine Gebühr berechnet? Meine IBAN ist {iban}.",
        "038",
    ),
    (
        "cash_withdrawal_charge",
        "Warum wurde mir für das Abheben am Geldautomaten eine Gebühr berechnet? Meine IBAN ist {iban}.",
        "038",
    ),
    (
        "transfer_fee_charged",
        "Warum wurde mir für eine Überweisung eine Gebühr berechnet? Meine IBAN ist {iban}.",
        "038",
    ),
    ("exchange_charge", "Was kostet der Umtausch in eine andere Währung? Mein Konto ist {iban}", "038"),
    ("failed_transfer", "Meine Überweisung ist fehlgeschlagen. Meine IBAN ist {iban}.", "034"),
    (
        "transfer_not_received_by_recipient",
        "Der Empfänger hat meine Überweisung nicht erhalten. Meine IBAN ist {iban}.",
        "035",
    ),
    ("pending_transfer", "Warum ist meine Überweisung noch in Bearbeitung? Meine IBAN ist {iban}.", "036"),
    ("cancel_transfer", "Ich möchte eine Überweisung stornieren. Meine IBAN ist {iban}.", "036"),
    (
        "balance_not_updated_after_bank_transfer",
        "Ich habe Geld auf mein Konto überwiesen, aber der Kontostand hat sich nicht geändert. Meine IBAN ist {iban}.",
        "006",
    ),
    (
        "pending_card_payment",
        "Warum ist meine Kartenzahlung immer noch vorgemerkt? Meine IBAN ist {iban}.",
        "039",
    ),
    (
        "reverted_card_payment",
        "Warum wurde meine Kartenzahlung wieder zurückgebucht? Meine IBAN ist {iban}.",
        "039",
    ),
    (
        "refund_not_showing_up",
        "Der Händler hat mir das Geld erstattet, aber die Erstattung ist nicht auf meinem Konto angekommen. Meine IBAN ist {iban}.",
        "006",
    ),
    ("declined_card_payment", "Meine Kartenzahlung wurde im Laden abgelehnt. Meine IBAN ist {iban}.", "039"),
    ("change_pin", "Wie kann ich die PIN meiner Karte ändern? Meine IBAN ist {iban}.", "006"),
    ("get_physical_card", "Wo finde ich die PIN zu meiner Karte? Meine IBAN ist {iban}.", "006"),
    ("activate_my_card", "Wie aktiviere ich meine neue Karte? Meine IBAN ist {iban}.", "006"),
    ("card_not_working", "Meine Karte funktioniert nicht mehr. Meine IBAN ist {iban}.", "006"),
    ("card_about_to_expire", "Meine Karte läuft bald ab. Meine IBAN ist {iban}.", "006"),
    (
        "compromised_card",
        "Ich habe meine Karte noch, aber jemand benutzt meine Kartendaten. Meine IBAN ist {iban}.",
        "014",
    ),
    ("card_swallowed", "Der Automat hat meine Karte eingezogen. Meine IBAN ist {iban}.", "010"),
    (
        "edit_personal_details",
        "Ich bin umgezogen und möchte meine Adresse ändern. Meine IBAN ist {iban}.",
        "033",
    ),
    ("cancel_plan", "Ich möchte mein Premium-Paket kündigen. Meine IBAN ist {iban}.", "033"),
    ("terminate_account", "Ich möchte mein Konto auflösen. Meine IBAN ist {iban}.", "006"),
    (
        "lost_or_stolen_phone",
        "Ich habe mein Handy mit der Banking-App verloren. Meine IBAN ist {iban}.",
        "006",
    ),
    ("verify_my_identity", "Wie kann ich meine Identität bestätigen? Meine IBAN ist {iban}.", "006"),
    (
        "unable_to_verify_identity",
        "Die Identitätsprüfung schlägt bei mir immer fehl. Meine IBAN ist {iban}.",
        "006",
    ),
    (
        "extra_charge_on_statement",
        "Auf meinem Kontoauszug steht ein kleiner Betrag, den ich nicht zuordnen kann. Was ist das für eine Gebühr? Meine IBAN ist {iban}.",
        "042",
    ),
    ("request_refund", "Ich möchte mein Geld für einen Einkauf zurück. Meine IBAN ist {iban}.", "042"),
    (
        "pending_cash_withdrawal",
        "Meine Abhebung am Automaten ist immer noch vorgemerkt. Meine IBAN ist {iban}.",
        "042",
    ),
    ("transactions", "Zeigen Sie mir bitte meine letzten Umsätze. Meine IBAN ist {iban}.", "042"),
    ("interest_rate", "Wie viel Zinsen bekomme ich auf mein Guthaben? Meine IBAN ist {iban}.", "042"),
    ("freeze_account", "Bitte sperren Sie mein ganzes Konto vorübergehend. Meine IBAN ist {iban}.", "042"),
];

/// Has an account, and nothing to do with those above.
const STRANGER: &str = "cus_029";

/// Its check digits are right, and the demonstration bank does not have it.
const NOBODYS: &str = "DE89370400440532013000";

#[tokio::test]
async fn who_names_somebody_elses_account_gets_what_nobodys_account_gets() {
    let stage = Stage::new().await;
    let plans = stage.cases.pack().plans.by_name.values();
    let looking: BTreeSet<&str> = plans
        .filter(|plan| plan.kind == PlanKind::Leaf && plan.audience == PlanFor::Verified)
        .map(|plan| plan.name.as_str())
        .collect();
    let tried: BTreeSet<&str> = PLANS.iter().map(|(leaf, ..)| *leaf).collect();
    assert_eq!(looking, tried, "each plan that sees records is tried here: add a line for a new one");
    for (leaf, message, number) in PLANS {
        let (status, account) =
            reply(&stage.bank, "GET", &format!("/accounts/acc_{number}"), &[], None).await;
        assert_eq!(status, 200, "{account}");
        let account: Value = serde_json::from_str(&account).unwrap();
        let named = message.replace("{iban}", account["iban"].as_str().unwrap());
        let before = stage.orders().len();

        let theirs = stage.send(&named, verified(STRANGER)).await;
        assert_eq!(theirs.plan.as_ref().unwrap().leaf, leaf, "{}", shown(&theirs));
        assert!(theirs.facts.as_ref().unwrap().records.is_empty(), "{leaf}: {}", shown(&theirs));
        assert!(theirs.calls.is_empty() && stage.orders().len() == before, "{leaf}: {}", shown(&theirs));
        let nobodys = stage.send(&message.replace("{iban}", NOBODYS), verified(STRANGER)).await;
        assert_eq!(path(&theirs), path(&nobodys), "{leaf}");
        assert_eq!(text(&theirs), text(&nobodys), "{leaf}: not even that the account exists is told");

        // The same words of the owner do something, or the row says nothing.
        let owners = stage.send(&named, verified(&format!("cus_{number}"))).await;
        assert_eq!(owners.plan.as_ref().unwrap().leaf, leaf, "{}", shown(&owners));
        assert_ne!(path(&owners), path(&theirs), "{leaf}: {}", shown(&owners));
        assert_ne!(text(&owners), text(&theirs), "{leaf}");
        assert_eq!(owners.facts.as_ref().unwrap().records[0].id.as_str(), format!("acc_{number}"));
        for call in &owners.calls {
            assert_eq!(call.record.as_ref().unwrap().as_str(), format!("acc_{number}"), "{}", shown(&owners));
        }
    }
    assert!(stage.effects().len() >= 2, "a card was blocked, a charge given back");
}

#[tokio::test]
async fn an_account_that_changed_hands_before_the_call_is_left_alone() {
    for switch in ["passed_on", "missing"] {
        let stage = Stage::new().await;
        let state = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_016")).await;
        assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
        stage.switch(json!({ switch: ["acc_016"] })).await;
        let id = state.approval.as_ref().unwrap().0.id.clone();
        let by = Principal::new("sara", Role::Supervisor);
        let decide = Decide { by, approve: true, reason: Some("looked at it".into()), binding: None };
        let case = stage.cases.decide(id.as_str(), decide).await.unwrap();
        let after = stage.cases.drive(&case).await.unwrap();
        assert_eq!(after.status, Status::WithHuman, "{switch}: {}", shown(&after));
        assert!(stage.orders().is_empty(), "{switch}: {}", shown(&after));
    }
}

#[tokio::test]
async fn who_is_registered_for_an_account_may_have_done_what_the_rules_let_them() {
    let stage = Stage::new().await;
    let (_, account) = reply(&stage.bank, "GET", "/accounts/acc_025", &[], None).await;
    let account: Value = serde_json::from_str(&account).unwrap();
    let message = format!(
        "Ich habe meine Karte verloren, bitte sperren! Meine IBAN ist {}.",
        account["iban"].as_str().unwrap()
    );
    let state = stage.send(&message, verified("cus_024")).await;
    assert_eq!(state.facts.as_ref().unwrap().records[0].id.as_str(), "acc_025", "{}", shown(&state));
    assert_eq!(stage.effects().len(), 1, "{}", shown(&state));
}
