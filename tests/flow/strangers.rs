//! A verified customer who names somebody else's account, in every plan that acts or tells something.

use crate::stage::{Stage, path, reply, shown, text, verified};
use prokura::cases::{Decide, Status};
use prokura::governance::{Principal, Role};
use prokura::planning::PlanFor;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A leaf, what is written, and an account for which its plan acts, or tells something.
const PLANS: [(&str, &str, &str); 8] = [
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
];

/// Has an account, and nothing to do with those above.
const STRANGER: &str = "cus_029";

/// Its check digits are right, and the demonstration bank does not have it.
const NOBODYS: &str = "DE89370400440532013000";

#[tokio::test]
async fn who_names_somebody_elses_account_gets_what_nobodys_account_gets() {
    let stage = Stage::new().await;
    let plans = stage.cases.pack().plans.by_name.values();
    let looking: BTreeSet<&str> =
        plans.filter(|plan| plan.audience == PlanFor::Verified).map(|plan| plan.name.as_str()).collect();
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
