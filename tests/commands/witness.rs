//! A witness on another machine, asked over HTTP as C2SP tlog-witness says: it signs what continues what it saw.

use super::{failing, pack_copy, prokura};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prokura::ledger::Root;
use prokura::ledger::{checkpoint, merkle};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, Mutex};

const NAME: &str = "witness.example/w1";

struct Seen {
    key: Ed25519KeyPair,
    log_key: String,
    root: Mutex<Option<Root>>,
}

impl Seen {
    fn public(&self) -> Vec<u8> {
        [&[4_u8], self.key.public_key().as_ref()].concat()
    }

    fn id(&self) -> [u8; 4] {
        let hash =
            Sha256::new().chain_update(NAME).chain_update([b'\n']).chain_update(self.public()).finalize();
        hash[..4].try_into().unwrap()
    }

    fn verifier_key(&self) -> String {
        format!("{NAME}+{:08x}+{}", u32::from_be_bytes(self.id()), STANDARD.encode(self.public()))
    }
}

async fn add(State(seen): State<Arc<Seen>>, body: Bytes) -> (StatusCode, String) {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let (head, note) = body.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
    let hash = |line: &str| merkle::hash_of(&STANDARD.decode(line).unwrap()).unwrap();
    let proof: Vec<_> = lines.map(hash).collect();
    let Ok(root) = checkpoint::read(note.as_bytes(), &seen.log_key) else {
        return (StatusCode::FORBIDDEN, String::new());
    };
    let mut last = seen.root.lock().unwrap();
    let size = last.map_or(0, |last| last.size);
    if old != size {
        return (StatusCode::CONFLICT, format!("{size}\n"));
    }
    if last.is_some_and(|last| !merkle::consistent(&proof, root, last)) {
        return (StatusCode::UNPROCESSABLE_ENTITY, String::new());
    }
    *last = Some(root);
    let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
    let time = 1_795_000_000_u64;
    let signature = seen.key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let bytes = [&seen.id()[..], &time.to_be_bytes(), signature.as_ref()].concat();
    (StatusCode::OK, format!("\u{2014} {NAME} {}\n", STANDARD.encode(bytes)))
}

/// Serves until the test ends, on a thread of its own.
fn witness(log_key: &str) -> (String, String) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let seen = Arc::new(Seen { key, log_key: log_key.to_owned(), root: Mutex::default() });
    let verifier_key = seen.verifier_key();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let router = Router::new().route("/w/add-checkpoint", post(add)).with_state(seen);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    (address, verifier_key)
}

fn resolved(state: &str) {
    let output = prokura(&["resolve", "--demo", "--state", state, "Wie hoch ist mein Kontostand?"]);
    assert!(output.status.success());
}

fn configured(folder: &Path, address: &str, key: &str) -> String {
    let config = pack_copy(folder);
    let text = std::fs::read_to_string(&config).unwrap();
    let hosts = text.find("hosts = [").map(|at| at + "hosts = [".len()).unwrap();
    let text = format!("{}\"{address}\", {}", &text[..hosts], &text[hosts..]);
    let section = format!("[ledger.witness]\nurl = \"http://{address}/w/\"\nkey = \"{key}\"");
    let (before, after) = text.split_once("[ledger.witness]").unwrap();
    std::fs::write(&config, format!("{before}{section}{after}")).unwrap();
    config
}

#[test]
fn only_what_a_witness_elsewhere_has_signed_is_witnessed_and_another_history_it_does_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    resolved(&state);
    let public = std::fs::read_to_string(format!("{state}/keys/log.pub")).unwrap();
    let (address, key) = witness(public.trim());
    let config = configured(folder.path(), &address, &key);
    let signed = |state: &str| prokura(&["audit", "checkpoint", "--config", &config, "--state", state]);
    assert!(signed(&state).status.success());
    resolved(&state);
    // The witness has another size than is known here, when its folder is lost.
    std::fs::remove_dir_all(format!("{state}-witness")).unwrap();
    let output = signed(&state);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let export = folder.path().join("log.jsonl").display().to_string();
    assert!(prokura(&["audit", "export", "--state", &state, "--out", &export]).status.success());
    let kept = format!("{state}-witness");
    let verified = |further: &[&str]| {
        let own = ["audit", "verify", "--export", &export, "--public-key", public.trim(), "--witness", &kept];
        let output = prokura(&[&own[..], further].concat());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), told["found"]["witnessed"].as_u64().unwrap())
    };
    let (code, all) = verified(&["--witness-key", &key]);
    assert!(code == 0 && all >= 10, "{code}: {all}");
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let stranger = Seen { key: stranger, log_key: String::new(), root: Mutex::default() }.verifier_key();
    assert_eq!(verified(&["--witness-key", &stranger]), (0, 0));

    // The same key, another history.
    let other = folder.path().join("other").display().to_string();
    std::fs::create_dir_all(format!("{other}/keys")).unwrap();
    std::fs::copy(format!("{state}/keys/log.key"), format!("{other}/keys/log.key")).unwrap();
    for _ in 0..4 {
        resolved(&other);
    }
    let (code, said) = failing(&["audit", "checkpoint", "--config", &config, "--state", &other]);
    assert!(code != 0 && said.contains("does not continue"), "{code}: {said}");
    let (code, said) =
        failing(&["audit", "checkpoint", "--config", &config.replace("prokura.toml", "none.toml")]);
    assert_eq!(code, 2, "{said}");
}
