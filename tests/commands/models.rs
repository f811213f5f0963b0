//! Bundles imported, promoted, rolled back and compared by commands.

use super::{bank, failing, free_port, prokura, settings, start, until_ready};
use crate::stage::{reply, root};
use serde_json::Value;
use std::path::Path;

fn told(arguments: &[&str]) -> Value {
    let out = prokura(arguments);
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A hundred tickets about one thing, of which the models are sure.
fn tickets(file: &Path) {
    let row = |n: usize| {
        format!("{{\"text\": \"What is my balance {n}?\", \"leaf\": \"balance\", \"language\": \"en\"}}\n")
    };
    std::fs::write(file, (0..100).map(row).collect::<String>()).unwrap();
}

#[test]
fn a_bundle_is_calibrated_imported_promoted_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (file, state) = (at("tickets.jsonl"), at("state"));
    tickets(Path::new(&file));
    let mine = at("mine");
    let calibrated = told(&["calibrate", "--tickets", &file, "--mix", "assumed", "--out", &mine]);
    assert_eq!(calibrated["lines"], 100);
    let (shipped, model) = (&calibrated["previous"], calibrated["model"].as_str().unwrap());
    assert_ne!(shipped.as_str(), Some(model));
    assert!(std::fs::read_to_string(at("mine/card.md")).unwrap().contains("100 labelled tickets"));
    let imported = told(&["models", "import", &mine, "--state", &state]);
    assert_eq!(imported["model"].as_str(), Some(model));
    let reading = |text: &str| told(&["understand", text, "--state", &state])["digests"]["model"].clone();
    assert_eq!(&reading("What is my balance?"), shipped);

    // Below a bar: refused, unless somebody says why.
    let bars = at("bars.toml");
    std::fs::write(&bars, "[[figure]]\nid = \"tickets.en.leaf\"\nbar = 1\n").unwrap();
    let wrong = "{\"text\": \"My card was stolen!\", \"leaf\": \"balance\", \"language\": \"en\"}\n";
    std::fs::write(at("hard.jsonl"), std::fs::read_to_string(&file).unwrap() + wrong).unwrap();
    let hard = at("hard.jsonl");
    let promote = ["models", "promote", &model[7..15], "--tickets", &hard, "--bar", &bars, "--state", &state];
    let (code, said) = failing(&promote);
    assert!(code == 1 && said.contains("tickets.en.leaf: 0.9901, bar 1.0000"), "{code}: {said}");
    assert_eq!(&reading("What is my balance?"), shipped);
    let forced = told(&[&promote[..], &["--force", "the bar is a joke"]].concat());
    assert_eq!(forced["promoted"]["forced"], "the bar is a joke");
    assert_eq!(reading("What is my balance?").as_str(), Some(model));

    let listed = told(&["models", "list", "--state", &state]);
    assert_eq!(listed["reading"].as_str(), Some(model));
    assert_eq!(listed["installed"].as_array().unwrap().len(), 2, "what read before is kept");
    assert_eq!(listed["history"][1]["below"][0], "tickets.en.leaf: 0.9901, bar 1.0000");

    let back = told(&["models", "rollback", "--state", &state]);
    assert_eq!(&back["rolled_back"]["model"], shipped);
    assert_eq!(&reading("What is my balance?"), shipped);
    let (code, said) = failing(&["models", "promote", "abcdef", "--state", &state]);
    assert!(code == 2 && said.contains("abcdef") && said.contains("models import"), "{code}: {said}");
}

#[test]
fn two_bundles_are_compared_on_messages_and_damage_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (file, state, mine) = (at("tickets.jsonl"), at("state"), at("mine"));
    tickets(Path::new(&file));
    told(&["calibrate", "--tickets", &file, "--out", &mine]);
    std::fs::write(at("in.jsonl"), "{\"id\": \"a\", \"text\": \"My card was stolen!\"}\n{\"id\": \"b\", \"text\": \"Wo ist meine Karte?\"}\n").unwrap();
    let report = told(&["models", "shadow", &mine, "--input", &at("in.jsonl"), "--state", &state]);
    assert_eq!(report["messages"], 2);
    assert_eq!(
        report["same_leaf"].as_u64().unwrap() + report["examples"].as_array().unwrap().len() as u64,
        2
    );
    assert!(!report.to_string().contains("stolen!"), "a report holds no text");
    let (code, said) = failing(&["models", "shadow", "--state", &state]);
    assert!(code == 2 && said.contains("no challenger"), "{code}: {said}");
    let (code, said) = failing(&["models", "shadow", "--stop", "--state", &state]);
    assert!(code == 2 && said.contains("no challenger"), "{code}: {said}");
    std::fs::write(at("mine/card.md"), "forged").unwrap();
    let (code, said) = failing(&["models", "import", &mine, "--state", &state]);
    assert!(code == 2 && said.contains("card.md") && said.contains("digest"), "{code}: {said}");
    assert_eq!(told(&["models", "list", "--state", &state])["installed"].as_array().unwrap().len(), 0);
    let few = at("few.jsonl");
    std::fs::write(&few, "{\"text\": \"balance?\", \"leaf\": \"balance\"}\n").unwrap();
    let (code, said) = failing(&["calibrate", "--tickets", &few, "--out", &at("none")]);
    assert!(code == 2 && said.contains("few.jsonl") && said.contains("at least 100"), "{code}: {said}");
}

#[tokio::test]
async fn a_running_service_changes_over_and_writes_it_down() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let logs = folder.path().join("bank");
    let (_bank, bank) = bank(&logs, &[]);
    let config = settings(folder.path(), bank).await;
    let (file, state, mine) = (at("tickets.jsonl"), at("state"), at("mine"));
    tickets(Path::new(&file));
    let documents = root().join("index/policies");
    let indexed =
        prokura(&["policies", "index", documents.to_str().unwrap(), "--state", &state, "--config", &config]);
    assert!(indexed.status.success());
    let calibrated = told(&["calibrate", "--tickets", &file, "--out", &mine, "--config", &config]);
    let model = calibrated["model"].as_str().unwrap().to_owned();
    told(&["models", "import", &mine, "--state", &state, "--config", &config]);

    let address = free_port();
    let listen = address.to_string();
    let _service = start(&["serve", "--listen", &listen, "--state", &state, "--config", &config]);
    until_ready(address).await;
    let ask = |path: &'static str| async move {
        let headers = [("Authorization", "Bearer supervisor-key")];
        let (status, body) = reply(&address, "GET", path, &headers, None).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body))
    };
    assert_eq!(ask("/v1/models").await["digest"], calibrated["previous"]);
    told(&["models", "promote", &model, "--tickets", &file, "--state", &state, "--config", &config]);
    let begun = std::time::Instant::now();
    while ask("/v1/models").await["digest"].as_str() != Some(&model) {
        assert!(begun.elapsed().as_secs() < 30, "the service did not change over");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let models = ask("/v1/models").await;
    assert!(models["fault"].is_null() && models["shadow"].is_null());
    assert_eq!(models["installed"].as_array().unwrap().len(), 2);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let ledger = std::fs::read(folder.path().join("state/ledger.sqlite-wal")).unwrap_or_default();
    let ledger = [ledger, std::fs::read(folder.path().join("state/ledger.sqlite")).unwrap()].concat();
    assert!(String::from_utf8_lossy(&ledger).contains("model_promoted"), "the ledger knows of it");
    let verified = prokura(&["audit", "verify", "--state", &state, "--config", &config]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
