//! The plans of the default pack against the demonstration bank.

use crate::stage::{Stage, path, shown, text, verified};
use prokura::cases::Status;

#[tokio::test]
async fn a_stolen_card_is_blocked_at_once_and_its_replacement_waits_for_a_person() {
    let stage = Stage::new().await;
    for (message, customer) in [
        ("Meine Karte wurde mir gerade in der U-Bahn gestohlen, bitte sofort sperren!", "cus_006"),
        ("My card has just been stolen, please block it right now!", "cus_007"),
    ] {
        let before = stage.effects().len();
        let state = stage.send(message, verified(customer)).await;
        assert_eq!(
            state.reading.as_ref().unwrap().intents[0].leaf,
            "lost_or_stolen_card",
            "{}",
            shown(&state)
        );
        assert_eq!(state.status, Status::WaitingApproval, "{}", shown(&state));
        let effects = stage.effects();
        assert_eq!(effects.len(), before + 1, "the block happened, the replacement did not");
        assert_eq!(state.calls[0].tool, "card_block");
        assert_eq!(state.call().unwrap().tool, "card_replacement");
        assert!(!text(&state).is_empty(), "the customer is told meanwhile");
    }
}

#[tokio::test]
async fn a_card_that_is_blocked_already_is_not_blocked_again() {
    let stage = Stage::new().await;
    let state = stage.send("Ich habe meine Karte verloren, bitte sperren!", verified("cus_008")).await;
    assert_eq!(path(&state).last(), Some(&"already_blocked"), "{}", shown(&state));
    assert!(stage.orders().is_empty());
}

#[tokio::test]
async fn a_card_on_its_way_is_answered_from_the_order() {
    let stage = Stage::new().await;
    let mut texts = Vec::new();
    for customer in ["cus_009", "cus_010", "cus_011", "cus_012", "cus_013"] {
        let state =
            stage.send("Wo bleibt meine neue Karte? Ich warte schon so lange.", verified(customer)).await;
        assert_eq!(state.reading.as_ref().unwrap().intents[0].leaf, "card_arrival", "{}", shown(&state));
        assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
        texts.push(text(&state).to_owned());
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 5, "every state of the order has its own answer: {texts:#?}");
}

#[tokio::test]
async fn a_double_charge_within_the_limit_is_refunded_once() {
    let stage = Stage::new().await;
    let state = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    assert_eq!(
        state.reading.as_ref().unwrap().intents[0].leaf,
        "transaction_charged_twice",
        "{}",
        shown(&state)
    );
    assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
    let effects = stage.effects();
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["result"]["amount"]["minor"], 4_999, "{}", effects[0]);
    assert!(text(&state).contains("49,99 €"), "{}", text(&state));
}

#[tokio::test]
async fn no_double_charge_no_refund() {
    let stage = Stage::new().await;
    for customer in ["cus_018", "cus_019"] {
        let state = stage.send("I was charged twice for the same purchase.", verified(customer)).await;
        assert_eq!(path(&state).last(), Some(&"tell_none"), "{}", shown(&state));
    }
    assert!(stage.orders().is_empty());
}

#[tokio::test]
async fn the_balance_is_told_to_its_owner_only() {
    let stage = Stage::new().await;
    let own = stage.send("Wie viel Geld habe ich auf dem Konto?", verified("cus_022")).await;
    assert_eq!(own.reading.as_ref().unwrap().intents[0].leaf, "balance", "{}", shown(&own));
    assert!(text(&own).contains("1.234,50 €"), "{}", text(&own));
    let anonymous =
        stage.send("Wie viel Geld habe ich auf dem Konto?", prokura::intake::Identity::Anonymous).await;
    assert!(!text(&anonymous).contains("1.234"), "{}", text(&anonymous));
}

#[tokio::test]
async fn complaints_wishes_for_a_person_and_the_rest_go_to_people() {
    let stage = Stage::new().await;
    for (message, leaf) in [
        ("Hiermit lege ich förmlich Beschwerde gegen Ihre Bank ein.", "formal_complaint"),
        ("I want to talk to a real person, please.", "talk_to_human"),
        ("Können Sie mir ein Rezept für Apfelstrudel geben?", "other"),
    ] {
        let state = stage.send(message, verified("cus_006")).await;
        assert_eq!(state.reading.as_ref().unwrap().intents[0].leaf, leaf, "{}", shown(&state));
        assert_eq!(state.status, Status::WithHuman);
    }
    let unplanned = stage.send("I would like to order a new chequebook.", verified("cus_006")).await;
    let escalation = unplanned.escalation.as_ref().unwrap();
    assert!(escalation.reason.contains("order_cheques"), "{}", escalation.reason);
}

#[tokio::test]
async fn a_source_that_is_slow_fails_or_answers_garbage_leads_to_a_person_and_not_to_a_guess() {
    for switch in ["errors=1", "garbage", "slowness=6000"] {
        let stage = Stage::with_switches(&[switch]).await;
        let state = stage.send(crate::stage::MESSAGE, verified("cus_001")).await;
        assert_eq!(state.status, Status::WithHuman, "{switch}: {}", shown(&state));
        assert_eq!(path(&state).last(), Some(&"source_down"), "{switch}: {}", shown(&state));
    }
}
