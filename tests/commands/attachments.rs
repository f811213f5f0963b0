//! Files that customers send with a message.

use super::{Running, bank, free_port, prokura, settings, start, until_ready};
use crate::documents::made;
use crate::stage::{raw, reply, root};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn sent(address: &SocketAddr, path: &str, attachments: Value) -> (u16, Value) {
    sent_with(address, path, &[("Authorization", "Bearer channel-key")], attachments).await
}

async fn sent_with(
    address: &SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    attachments: Value,
) -> (u16, Value) {
    let body = json!({"text": "Was kostet die Kontoführung im Monat?", "attachments": attachments});
    let (status, text) = reply(address, "POST", path, headers, Some(&body)).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The attachments of the last message, as staff sees them.
async fn seen(address: &SocketAddr, case: &str) -> Vec<Value> {
    let headers = [("Authorization", "Bearer supervisor-key")];
    let path = format!("/v1/cases/{case}");
    let (status, text) = raw(address, "GET", &path, &headers, b"").await;
    assert_eq!(status, 200, "{text}");
    let view: Value = serde_json::from_str(&text).unwrap();
    view["messages"].as_array().unwrap().last().unwrap()["attachments"].as_array().unwrap().clone()
}

fn file(name: &str, bytes: &[u8]) -> Value {
    json!({"name": name, "content": BASE64.encode(bytes)})
}

/// Minor faults of the children that a process has waited for: more after each of them.
fn of_children(service: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.0.id())).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    behind_name.split_whitespace().nth(8).unwrap().parse().unwrap()
}

async fn the_same_request_again_starts_no_worker(address: &SocketAddr, service: &Running) {
    until_ready(*address).await;
    let keyed = [("Authorization", "Bearer channel-key"), ("Idempotency-Key", "one")];
    let one = json!([file("a.txt", b"The fee is 5 EUR.")]);
    let before = of_children(service);
    let (_, first) = sent_with(address, "/v1/cases", &keyed, one.clone()).await;
    let after = of_children(service);
    assert!(after > before, "{after}");
    let (_, again) = sent_with(address, "/v1/cases", &keyed, one).await;
    assert_eq!((&again["case"], of_children(service)), (&first["case"], after));
    let (status, other) =
        sent_with(address, "/v1/cases", &keyed, json!([file("b.txt", b"something else")])).await;
    assert_eq!((status, of_children(service)), (409, after), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_text_and_one_that_cannot_be_read_opens_the_case_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (_bank, bank) = bank(&directory.path().join("bank"), &[]);
    let config = settings(directory.path(), bank).await;
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("attachment_bytes = 4194304"), "as it is shipped");
    let state = directory.path().join("state");
    let (state, documents) = (state.to_str().unwrap(), root().join("index/policies"));
    let index = ["policies", "index", documents.to_str().unwrap(), "--state", state, "--config", &config];
    assert!(prokura(&index).status.success());
    let address = free_port();
    let service = start(&["serve", "--listen", &address.to_string(), "--state", state, "--config", &config]);
    the_same_request_again_starts_no_worker(&address, &service).await;

    let good: Vec<Value> = made::good().iter().map(|(name, bytes)| file(name, bytes)).collect();
    let (status, view) = sent(&address, "/v1/cases", json!(good)).await;
    assert!(matches!(status, 201 | 202), "{view}");
    let case = view["case"].as_str().unwrap().to_owned();
    assert!(view.get("messages").is_none(), "a channel sees none of it");
    let all = seen(&address, &case).await;
    assert_eq!(all.len(), good.len());
    for attachment in &all {
        assert!(attachment["text"].as_str().unwrap().contains("fee"), "{attachment}");
    }
    let path = format!("/v1/cases/{case}/trace");
    let (_, trace) = raw(&address, "GET", &path, &[("Authorization", "Bearer supervisor-key")], b"").await;
    assert!(trace.contains("Gebühr"));

    // The rest: encrypted, a bomb, nothing, another format, a card number, more than is kept.
    let bomb = made::flat_bomb("word/document.xml", "<w:document><w:body>", 100 << 20);
    let hostile = json!([
        file("bomb.docx", &bomb),
        file("cut.pdf", b"%PDF-1.7 and nothing else"),
        file("empty.txt", b""),
        file("picture.png", b"\x89PNG\r\n\x1a\n"),
        file("4111111111111111.txt", b"pay 4111 1111 1111 1111"),
        file("long.txt", "ä".repeat(70_000).as_bytes()),
        json!({"name": "said.txt", "text": "as ever"}),
    ]);
    let (status, view) = sent(&address, &format!("/v1/cases/{case}/messages"), hostile).await;
    assert!(matches!(status, 200 | 202), "{view}");
    let all = seen(&address, &case).await;
    for unread in &all[..4] {
        let note = unread["notes"][0].as_str().unwrap();
        assert!(unread["text"] == "" && note.starts_with("not read: "), "{unread}");
    }
    assert_eq!(all[4]["text"], "pay •••• •••• •••• 1111");
    assert_eq!((all[4]["name"].as_str(), all[4].get("notes")), (Some("••••••••••••1111.txt"), None));
    assert_eq!(all[5]["text"].as_str().unwrap().len(), 65_536);
    assert!(all[5]["notes"][0].as_str().unwrap().contains("only the first 65536 bytes"));
    assert_eq!(all[6], json!({"name": "said.txt", "text": "as ever"}));

    let (status, refused) = sent(&address, "/v1/cases", json!([{"name": "a.pdf", "content": "?"}])).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("`attachments[0].content`"), "{refused}");
    // More than a MiB, and more than the settings allow.
    let (status, _) = sent(&address, "/v1/cases", json!([file("a.txt", &vec![b'a'; 3 << 20])])).await;
    assert!(matches!(status, 201 | 202));
    for bytes in [4_300_000_usize, 9 << 20] {
        let (status, view) = sent(&address, "/v1/cases", json!([file("a.txt", &vec![b'a'; bytes])])).await;
        assert_eq!((status, &view["error"]["code"]), (413, &json!("too_large")), "{view}");
    }
    let body = json!({"query": "a".repeat(2 << 20)});
    let headers = [("Authorization", "Bearer supervisor-key")];
    assert_eq!(
        reply(&address, "POST", "/v1/search", &headers, Some(&body)).await.0,
        413,
        "other routes stay as they are"
    );
}
