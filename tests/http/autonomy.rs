//! The autonomy dial over the API: earned by blind reviews, taken back by errors, raised again by two people.

use super::Served;
use crate::stage::{Stage, pack_with, root};
use prokura::base::CaseId;
use prokura::cases::{dial_book, replay};
use prokura::ledger::{Stream, StreamKind};
use prokura::understanding::{Compute, Live, Schema};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const LOST: &str = "I have lost my card, please block it.";
const BALANCE: &str = "Wie hoch ist mein Kontostand?";

/// Every call and every other case is drawn, and a block has to be earned.
const DIAL: &str = r#"
[evidence]
review_share = 1.0
control_share = 1.0
false_alarm_every = 50
[[dial]]
leaf = "lost_or_stolen_card"
tool = "card_block"
level = "auto"
max_error = 0.2
[[dial]]
leaf = "lost_or_stolen_card"
tool = "card_replacement"
level = "suggest"
"#;

/// A bundle as it is before anybody measured it.
fn unmeasured(folder: &Path) -> Arc<Live> {
    let bundle = folder.join("bundle");
    std::fs::create_dir_all(&bundle).unwrap();
    for entry in std::fs::read_dir(root().join("models/default")).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("evidence.json") {
            std::fs::copy(&path, bundle.join(path.file_name().unwrap())).unwrap();
        }
    }
    let schema = Schema::read(&root().join("config")).unwrap();
    Arc::new(Live::open(folder, &bundle, &schema, Compute::default()).unwrap())
}

async fn served(folder: &Path) -> Served {
    let pack = pack_with(&folder.join("pack"), &[("autonomy.toml", DIAL.to_owned())]);
    Served::around(Stage::with_pack(unmeasured(folder), &pack).await).await
}

async fn dial(served: &Served) -> Value {
    let (status, told) = served.call("auditor", "GET", "/v1/autonomy", None).await;
    assert_eq!(status, 200, "{told}");
    let rows = told["dials"].as_array().unwrap();
    rows.iter().find(|row| row["tool"] == "card_block").unwrap().clone()
}

/// Once so many are there: a draw is written right behind what it is of.
async fn at_least(served: &Served, count: usize) -> Vec<String> {
    for _ in 0..200 {
        let open = open_reviews(served).await;
        if open.len() >= count {
            return open;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    open_reviews(served).await
}

async fn open_reviews(served: &Served) -> Vec<String> {
    let (status, told) = served.call("agent", "GET", "/v1/reviews", None).await;
    assert_eq!(status, 200, "{told}");
    let open = told["reviews"].as_array().unwrap();
    open.iter().map(|review| format!("/v1/reviews/{}", review["review"].as_str().unwrap())).collect()
}

/// Answers every open review, oldest first, by what `read` makes of its text. Gives how many were taken.
async fn review(served: &Served, key: &str, read: impl Fn(&str) -> &'static str) -> usize {
    let mut taken = 0;
    for path in open_reviews(served).await {
        let (status, shown) = served.call(key, "GET", &path, None).await;
        if status == 403 {
            continue;
        }
        assert_eq!(status, 200, "{shown}");
        let text = shown.to_string();
        for hidden in ["lost_or_stolen_card", "card_block", "confidence", "case_"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        let leaf = read(shown["messages"][0]["text"].as_str().unwrap());
        let (status, told) = served.call(key, "POST", &path, Some(json!({"leaf": leaf, "act": true}))).await;
        assert_eq!(status, 200, "{told}");
        assert!(told["machine"]["leaf"].is_string() && told["right"].is_boolean(), "{told}");
        taken += 1;
    }
    taken
}

fn honest(text: &str) -> &'static str {
    if text == LOST { "lost_or_stolen_card" } else { "balance" }
}

/// Somebody else lost their card.
async fn lost(served: &Served, customer: &mut u32) -> CaseId {
    *customer += 1;
    let (status, view) = served.open(&format!("cus_{customer:03}"), LOST).await;
    assert_eq!(status, 201, "{view}");
    CaseId::new(view["case"].as_str().unwrap())
}

fn blocks(served: &Served) -> usize {
    served.stage.effects().iter().filter(|effect| effect.to_string().contains("block")).count()
}

/// Everything is told, is there after a restart, and a case of before is decided again as it was.
async fn is_told(served: &Served, case: &CaseId) {
    let cases = &served.stage.cases;
    let ledger = &cases.parts().ledger;
    let entries = ledger.stream(&Stream::new(StreamKind::Autonomy, "dial"), 0).unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    for kind in ["drawn", "reviewed", "moved", "demoted", "raise_asked", "raised"] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    let autonomy = &cases.pack().governance.autonomy;
    let anew = dial_book(ledger).unwrap().dials(autonomy, cases.parts().models.current().digest());
    assert_eq!(anew, **cases.dials().as_ref().unwrap());
    let entries = cases.entries(case).await.unwrap();
    let key = ledger.key_of(&Stream::new(StreamKind::Case, case.as_str())).unwrap();
    let replayed = replay(case, &entries, &cases.parts().packs, &key.secret).unwrap();
    assert_eq!(replayed.differences, []);
    let decided = entries.iter().find(|entry| entry.kind == "decided").unwrap();
    assert_eq!(decided.body["dial"]["level"], "suggest", "{}", decided.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dial_is_earned_by_reviews_and_lost_by_errors() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(folder.path()).await;
    let before = dial(&served).await;
    assert_eq!((&before["effective"], &before["level"]), (&json!("suggest"), &json!("auto")), "{before}");
    let needed = before["missing"].as_u64().unwrap();
    assert!((10..25).contains(&needed), "{before}");

    // A reviewer must be seen to tell concerns apart.
    for _ in 0..10 {
        served.open("cus_022", BALANCE).await;
    }
    let mut customer = 100;
    let mut first = None;
    while dial(&served).await["effective"] == "suggest" {
        assert!(customer < 160, "{}", dial(&served).await);
        let case = lost(&served, &mut customer).await;
        first.get_or_insert(case);
        assert_eq!(blocks(&served), 0, "nothing is done before it is earned");
        review(&served, "agent", honest).await;
    }
    let earned = dial(&served).await;
    assert_eq!(
        (&earned["effective"], &earned["errors"], &earned["missing"]),
        (&json!("auto"), &json!(0), &json!(0))
    );
    assert!(
        earned["reviewed"].as_u64().unwrap() >= needed && earned["bound"].as_f64().unwrap() <= 0.2,
        "{earned}"
    );

    // Now a card is blocked at once, and that is looked at, too.
    lost(&served, &mut customer).await;
    assert_eq!(blocks(&served), 1);
    let (_, told) = served.call("auditor", "GET", "/v1/autonomy", None).await;
    assert_eq!(told["dials"].as_array().unwrap().len(), 2);

    // The world changes: what the machine takes for lost cards is something else.
    while dial(&served).await["demoted"] == false {
        assert!(customer < 200, "{}", dial(&served).await);
        lost(&served, &mut customer).await;
        review(&served, "agent", |_| "balance").await;
    }
    let taken_back = dial(&served).await;
    assert_eq!(taken_back["effective"], "suggest", "{taken_back}");
    assert!(taken_back["why"].as_str().unwrap().contains("two people"), "{taken_back}");
    let done = blocks(&served);
    lost(&served, &mut customer).await;
    assert_eq!(blocks(&served), done, "it is only suggested again");

    // Two people raise it, and it has to be earned again with what came after.
    let raise =
        json!({"leaf": "lost_or_stolen_card", "tool": "card_block", "level": "auto", "reason": "looked at"});
    let turn = |key: &'static str| served.call(key, "POST", "/v1/autonomy", Some(raise.clone()));
    assert_eq!(turn("agent").await.0, 403);
    assert_eq!(turn("supervisor").await.0, 200);
    assert_eq!(turn("supervisor-2").await.0, 403, "two keys of one person are one person");
    assert_eq!(turn("operator").await.0, 200);
    let raised = dial(&served).await;
    assert_eq!((&raised["demoted"], &raised["effective"]), (&json!(false), &json!("suggest")), "{raised}");
    assert!(raised["missing"].as_u64().unwrap() > 0);

    is_told(&served, &first.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_blind() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(folder.path()).await;
    let mut customer = 100;
    let case = lost(&served, &mut customer).await;
    let path = at_least(&served, 1).await.remove(0);
    assert_eq!(served.call("auditor", "GET", &path, None).await.0, 403);
    assert_eq!(served.call("agent", "GET", "/v1/reviews/rev_nowhere", None).await.0, 404);
    let said = |leaf: &str| Some(json!({"leaf": leaf, "act": true}));
    assert_eq!(served.call("agent", "POST", &path, said("lost_card")).await.0, 400);
    // Who has seen the list of approvals knows what was suggested.
    assert_eq!(served.call("supervisor", "GET", "/v1/approvals", None).await.0, 200);
    let (status, refused) = served.call("supervisor", "POST", &path, said("balance")).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("not_blind")), "{refused}");
    // Looking at the review itself is not looking at the case; looking at the case is.
    assert_eq!(served.call("agent", "GET", &path, None).await.0, 200);
    let second = lost(&served, &mut customer).await;
    let other = at_least(&served, 2).await.remove(1);
    served.call("agent", "GET", &format!("/v1/cases/{second}"), None).await;
    assert_eq!(served.call("agent", "GET", &other, None).await.0, 403);
    let (status, told) = served.call("agent", "POST", &path, said("lost_or_stolen_card")).await;
    assert_eq!((status, &told["right"], &told["case"]), (200, &json!(true), &json!(case)), "{told}");
    assert_eq!(served.call("agent", "POST", &path, said("balance")).await.0, 409);
    // One person who tells nothing apart raises nothing.
    let row = dial(&served).await;
    assert_eq!((&row["reviewed"], &row["held"], &row["open"]), (&json!(0), &json!(1), &json!(1)), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labelled_lines_carry_the_shipped_refund_and_drift_takes_it_back() {
    let served = Served::new().await;
    let refund = async || {
        let (_, told) = served.call("agent", "GET", "/v1/autonomy", None).await;
        let rows = told["dials"].as_array().unwrap();
        rows.iter().find(|row| row["tool"] == "refund").unwrap().clone()
    };
    let earned = refund().await;
    assert_eq!((&earned["effective"], &earned["threshold"]), (&json!("auto"), &json!(8_000)), "{earned}");
    assert!(earned["bound"].as_f64().unwrap() <= 0.1, "{earned}");
    let cases = served.stage.cases.clone();
    let crossed = ["confidence".to_owned()].into();
    tokio::task::spawn_blocking(move || cases.demote_for_drift(&crossed)).await.unwrap().unwrap();
    let demoted = refund().await;
    assert_eq!((&demoted["effective"], &demoted["demoted"]), (&json!("suggest"), &json!(true)), "{demoted}");
    assert!(demoted["why"].as_str().unwrap().contains("drift beyond its threshold: confidence"), "{demoted}");
    let (_, view) = served.open("cus_015", "Mir wurde derselbe Einkauf zweimal abgebucht!").await;
    assert!(served.stage.effects().is_empty(), "{view}");
    let (_, waiting) = served.call("agent", "GET", "/v1/approvals", None).await;
    assert_eq!(waiting["approvals"][0]["tool"], "refund", "{waiting}");
    served.open("cus_002", "Ich habe meine Karte verloren, bitte sperren!").await;
    assert_eq!(served.stage.effects().len(), 1, "a lost card is blocked at once, whatever drifts");
    // Somebody turns it off: one person is enough.
    let off = json!({"leaf": "transaction_charged_twice", "tool": "refund", "level": "off"});
    assert_eq!(served.call("supervisor", "POST", "/v1/autonomy", Some(off.clone())).await.0, 200);
    assert_eq!(served.call("supervisor", "POST", "/v1/autonomy", Some(off)).await.0, 409);
    assert_eq!(refund().await["effective"], "off");
    let unknown = json!({"leaf": "balance", "tool": "refund", "level": "off"});
    assert_eq!(served.call("supervisor", "POST", "/v1/autonomy", Some(unknown)).await.0, 404);
}
