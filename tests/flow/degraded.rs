//! Calls that are refused, that fail or are in doubt: the customer reads what the bank's people wrote for it, and never
//! what went wrong.

use crate::stage::{Stage, shown, text, verified};
use prokura::acting::Outcome;
use prokura::cases::{Status, customer_view};
use prokura::planning::StepKind;
use serde_json::{Value, json};

/// Switches of the bank under which each call ends otherwise, and whether the block went through all the same.
const TROUBLE: [&[&str]; 5] = [
    &["refuse=card_block,refund"],
    &["lose=card_block,refund"],
    &["lose=card_block,refund", "no_effects"],
    &["no_idempotency", "lose=card_block,refund"],
    &["slowness=1200", "act_after_timeout=2500", "no_effects"],
];

const MESSAGES: [(&str, &str); 2] = [
    ("Ich habe meine Karte verloren, bitte sperren!", "cus_006"),
    ("Mir wurde derselbe Einkauf zweimal abgebucht!", "cus_015"),
];

/// What is said inside about what went wrong.
fn inside(state: &prokura::cases::State) -> Vec<String> {
    let mut said: Vec<String> =
        ["card_block", "refund_", "status 4", "status 5", "127.0.0.1", "ambiguous", "idempot"]
            .map(str::to_owned)
            .to_vec();
    for call in &state.calls {
        if let Some(Outcome::Failed { reason } | Outcome::Ambiguous { reason }) = &call.outcome {
            said.push(reason.clone());
        }
    }
    said.extend(state.escalation.iter().map(|escalation| escalation.reason.clone()));
    said.retain(|words| !words.is_empty());
    said
}

#[tokio::test]
async fn the_customer_never_reads_what_went_wrong() {
    for switches in TROUBLE {
        let stage = Stage::with_switches(switches).await;
        for (message, customer) in MESSAGES {
            let state = stage.send(message, verified(customer)).await;
            let told = customer_view(&state);
            let keys: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, ["case", "status", "reply"]);
            assert!(!text(&state).is_empty(), "{switches:?}: {}", shown(&state));
            for words in inside(&state) {
                let told = json!([told["status"], told["reply"]]).to_string();
                assert!(!told.contains(&words), "{switches:?}: `{words}` in {told}");
            }
            let went_wrong =
                state.calls.iter().any(|call| !matches!(call.outcome, Some(Outcome::Done { .. }) | None));
            if went_wrong {
                assert!(
                    matches!(state.status, Status::WithHuman | Status::WaitingApproval),
                    "{switches:?}: {}",
                    shown(&state)
                );
            }
        }
    }
}

/// What a text may be filled with: values of records, passages, and what a plan gives it; never how a call ended.
#[tokio::test]
async fn no_text_has_a_place_for_an_error_and_no_plan_gives_it_one() {
    let stage = Stage::new().await;
    let pack = stage.cases.pack();
    let mut ways = 0;
    for plan in pack.plans.by_name.values() {
        for (name, step) in &plan.steps {
            let with = match &step.kind {
                StepKind::Call { refused, failed, declined, .. } => {
                    // What names none is handed over with the text that every hand-over has.
                    ways += [refused, failed, declined].into_iter().flatten().count();
                    continue;
                }
                StepKind::Ask { with, .. } | StepKind::Reply { with, .. } => with,
                _ => continue,
            };
            for condition in with.values() {
                // What was asked of a tool may be told: an amount that a person has changed. Not how it went.
                let told = condition.source().split("calls.").skip(1);
                let asked =
                    |rest: &str| rest.split_once('.').is_some_and(|(_, of)| of.starts_with("arguments."));
                let roots = condition.roots();
                assert!(!roots.contains("reading"), "{}: {name}", plan.file);
                assert!(!roots.contains("calls") || told.clone().count() > 0, "{}: {name}", plan.file);
                assert!(told.into_iter().all(asked), "{}: {name}", plan.file);
            }
        }
    }
    assert!(ways >= 6, "the shipped plans say what happens when a call does not go through");
    for name in pack.templates.names() {
        for key in pack.templates.needs(name).unwrap().keys.iter() {
            let root = key.split('.').next().unwrap();
            assert!(
                !["calls", "call", "error", "reason", "outcome", "escalation", "tool"].contains(&root),
                "template `{name}` has a place for `{key}`"
            );
        }
    }
    // How a call ended is all that a plan sees of it: an error's text is not there to be told.
    let state = stage.send(MESSAGES[1].0, verified(MESSAGES[1].1)).await;
    let view = prokura::cases::staff_view(&state);
    assert_eq!(view["calls"][0]["reason"], Value::Null);
}
