//! A service that is told to end while policies are published.

use super::{bank, free_port, prokura, settings, start, until_ready};
use crate::stage::{raw, root};
use prokura::ledger::{LedgerSettings, Stream, StreamKind};
use prokura::policy;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// So many documents take a while.
fn many() -> String {
    let line = |n: usize| {
        let body = format!("# Box {n}\n\nA safe deposit box of size {n} costs {n} EUR a year.");
        json!({"id": format!("box-{n}"), "title": format!("Box {n}"), "language": "en", "content": body})
            .to_string()
    };
    (0..400).map(line).collect::<Vec<_>>().join("\n")
}

fn current(state: &Path) -> String {
    let listed = policy::list(state).unwrap();
    listed.iter().find(|one| one.current).unwrap().generation.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_ends_before_the_service_does_and_both_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (_bank, bank) = bank(&directory.path().join("bank"), &[]);
    let config = settings(directory.path(), bank).await;
    let operator = prokura::base::Digest::of(b"operator-key").hex().to_owned();
    let key = format!(
        "[[key]]\nname = \"op\"\nprincipal = \"olga\"\nrole = \"operator\"\nsha256 = \"{operator}\"\n"
    );
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + &key).unwrap();
    let state = directory.path().join("state");
    let (place, documents) = (state.to_str().unwrap(), root().join("index/policies"));
    let index = ["policies", "index", documents.to_str().unwrap(), "--state", place, "--config", &config];
    assert!(prokura(&index).status.success());
    let before = current(&state);
    let address = free_port();
    let mut service =
        start(&["serve", "--listen", &address.to_string(), "--state", place, "--config", &config]);
    until_ready(address).await;

    let upload = |name: &'static str| async move {
        let headers =
            [("Authorization", "Bearer operator-key"), ("Content-Type", "application/octet-stream")];
        let path = format!("/v1/policies/documents?name={name}.jsonl&force=true");
        raw(&address, "POST", &path, &headers, many().as_bytes()).await
    };
    // Two are at work, of which one holds the policies, and a third waits for its turn.
    let sent: Vec<_> = ["a", "b", "c"].map(|name| tokio::spawn(upload(name))).into_iter().collect();
    let begun = Instant::now();
    let building = || {
        let mut entries = std::fs::read_dir(state.join("index/vectors")).into_iter().flatten().flatten();
        entries.any(|entry| {
            entry.metadata().is_ok_and(|meta| {
                meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < begun.elapsed()))
            })
        })
    };
    while !building() && begun.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(Command::new("kill").arg(service.0.id().to_string()).status().unwrap().success());
    let ended = service.0.wait().unwrap();
    assert!(ended.success(), "{ended}");
    for answer in sent {
        answer.abort();
    }

    let ledger = LedgerSettings::default().open(&state).unwrap();
    let stream = Stream::new(StreamKind::Policies, "changes");
    let changes = ledger.stream(&stream, 0).unwrap();
    drop(ledger);
    let of = |kind: &str| changes.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!(of("asked"), of("done") + of("refused"), "{changes:?}");
    let last = changes.iter().rfind(|entry| entry.kind == "done").map(|entry| entry.body["after"].clone());
    assert_eq!(last.unwrap_or_else(|| Value::from(before)), json!(current(&state)));
    let output = prokura(&["audit", "verify", "--state", place, "--config", &config]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let address = free_port();
    let _service = start(&["serve", "--listen", &address.to_string(), "--state", place, "--config", &config]);
    until_ready(address).await;
}
