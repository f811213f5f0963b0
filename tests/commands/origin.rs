//! Two machines: one publishes policies, the other one has them.

use super::{Running, bank, failing, free_port, prokura, settings, start, until_ready};
use crate::stage::{raw, reply, root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What stands between two machines.
struct Between {
    address: SocketAddr,
    /// Files that were asked for and given.
    given: Mutex<Vec<String>>,
    /// Files that may still be given; the next one never comes.
    left: AtomicUsize,
    waiting: AtomicBool,
    /// Every file has a wrong byte.
    wrong: AtomicBool,
}

fn between(origin: SocketAddr) -> Arc<Between> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = Arc::new(Between {
        address: listener.local_addr().unwrap(),
        given: Mutex::default(),
        left: AtomicUsize::new(3),
        waiting: AtomicBool::new(false),
        wrong: AtomicBool::new(false),
    });
    let own = Arc::clone(&between);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (own, stream) = (Arc::clone(&own), stream.unwrap());
            std::thread::spawn(move || drop(own.pass(stream, origin)));
        }
    });
    between
}

impl Between {
    fn pass(&self, mut stream: TcpStream, origin: SocketAddr) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let file = path.contains("/files/");
        if file && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
            self.waiting.store(true, Ordering::SeqCst);
            // Until whoever asked is gone.
            return stream.read(&mut byte).map(drop);
        }
        let mut there = TcpStream::connect(origin)?;
        there.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        let mut answer = Vec::new();
        there.read_to_end(&mut answer)?;
        if file && self.wrong.load(Ordering::SeqCst) {
            let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_default() + 4;
            let middle = body + (answer.len() - body) / 2;
            answer[middle] ^= 1;
        } else if file {
            self.given.lock().unwrap().push(path);
        }
        stream.write_all(&answer)
    }
}

/// The settings of a machine in a folder of its own, with a key for who keeps policies.
async fn machine(folder: &Path, bank: SocketAddr, policies: &str, host: &str) -> String {
    std::fs::create_dir(folder).unwrap();
    let config = settings(folder, bank).await;
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\n[policies]\n", &format!("\n[policies]\n{policies}"));
    let text = text.replace("hosts = [", &format!("hosts = [\"{host}\", "));
    let hash = prokura::base::Digest::of(b"policy-key");
    let key = format!(
        "\n[[key]]\nname = \"policies\"\nprincipal = \"paul\"\nrole = \"policy_admin\"\nsha256 = \"{}\"\n",
        hash.hex()
    );
    std::fs::write(&config, text + &key).unwrap();
    std::fs::write(folder.join("config/origin.key"), "policy-key\n").unwrap();
    config
}

async fn generation(address: &SocketAddr) -> String {
    let headers = [("Authorization", "Bearer supervisor-key")];
    let asked = json!({"query": "Konto gesperrt"});
    let (status, body) = reply(address, "POST", "/v1/search", &headers, Some(&asked)).await;
    assert_eq!(status, 200, "{body}");
    let grounds: Value = serde_json::from_str(&body).unwrap();
    grounds["generation"].as_str().unwrap().to_owned()
}

async fn get(address: &SocketAddr, path: &str, key: &str) -> (u16, String) {
    raw(address, "GET", path, &[("Authorization", &format!("Bearer {key}"))], b"").await
}

/// Until it is so, for a minute.
async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < Duration::from_secs(90), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn published(config: &str, state: &str, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["policies"]
        .iter()
        .chain(arguments)
        .chain(&["--state", state, "--config", config])
        .copied()
        .collect();
    let output = prokura(&all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn folders(state: &str, begin: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(state).join("index")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(begin)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_has_the_policies_of_another_whatever_happens_to_the_transfer() {
    let directory = tempfile::tempdir().unwrap();
    let (_bank, bank) = bank(&directory.path().join("bank"), &[]);
    let (one, two) = (free_port(), free_port());
    let between = between(one);
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    let config_a = machine(&a, bank, "keep_days = 0\n", "a.example").await;
    let from = format!("from = \"http://{}\"\nkey_file = \"origin.key\"\n", between.address);
    let config_b = machine(&b, bank, &from, &between.address.to_string()).await;
    let [state_a, state_b] = [a, b].map(|folder| folder.join("state").to_str().unwrap().to_owned());
    let documents = root().join("index/policies");
    let extra = directory.path().join("extra.en.md");
    std::fs::write(&extra, "---\nid: extra-en\n---\n# Extra\n\nExtra keys cost one euro.\n").unwrap();
    published(&config_a, &state_a, &["index", extra.to_str().unwrap(), "--force"]);
    published(&config_a, &state_a, &["index", documents.to_str().unwrap()]);

    let _one = serve(one, (&state_a, &config_a));
    until_ready(one).await;
    until("what is older than the rule allows is let go", || async {
        folders(&state_a, "").iter().filter(|path| path.join("manifest.json").exists()).count() == 1
    })
    .await;

    let _two = killed_in_the_middle(&between, two, (&state_b, &config_b)).await;
    let first = generation(&one).await;
    assert_eq!(generation(&two).await, first);
    assert!(folders(&state_b, "fetching-").is_empty());

    // It publishes none of its own.
    let arguments =
        ["policies", "index", documents.to_str().unwrap(), "--state", &state_b, "--config", &config_b];
    let (code, said) = failing(&arguments);
    assert!(code == 2 && said.contains(&between.address.to_string()) && said.contains("`from`"), "{said}");

    // A wrong byte changes nothing, and is told.
    between.wrong.store(true, Ordering::SeqCst);
    published(&config_a, &state_a, &["put", extra.to_str().unwrap()]);
    until("the fault is told", || async {
        let (status, body) = raw(&two, "GET", "/readyz", &[], b"").await;
        status == 503 && body.contains("policy index") && body.contains("is not what the origin says")
    })
    .await;
    let new = generation(&one).await;
    assert!(new != first && generation(&two).await == first);
    between.wrong.store(false, Ordering::SeqCst);
    until("the other generation has come", || async { generation(&two).await == new }).await;
    until_ready(two).await;

    refusals(&one, &new).await;
    // Once, by hand.
    let (third, key) = (directory.path().join("third"), Path::new(&config_b).with_file_name("origin.key"));
    let (third, key) = (third.to_str().unwrap(), key.to_str().unwrap());
    let url = format!("http://{}", between.address);
    let config = machine(&directory.path().join("c"), bank, "", &between.address.to_string()).await;
    published(&config, third, &["fetch", "--from", &url, "--key-file", key]);
    assert!(published(&config, third, &["verify"]).lines().any(|line| line.contains(&new)));
}

fn serve(address: SocketAddr, (state, config): (&str, &str)) -> Running {
    start(&["serve", "--listen", &address.to_string(), "--state", state, "--config", config])
}

/// A machine that is killed while it fetches goes on where it was.
async fn killed_in_the_middle(between: &Between, address: SocketAddr, place: (&str, &str)) -> Running {
    let mut first = serve(address, place);
    until("the transfer stands still", || async { between.waiting.load(Ordering::SeqCst) }).await;
    assert!(folders(place.0, "fetching-").len() == 1 && folders(place.0, "current").is_empty());
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    between.left.store(usize::MAX, Ordering::SeqCst);
    let second = serve(address, place);
    until_ready(address).await;
    let given = between.given.lock().unwrap().clone();
    let once: BTreeSet<&String> = given.iter().collect();
    assert!(given.len() > 6 && once.len() == given.len(), "{given:#?}");
    second
}

/// Nothing but the files of a generation, and only for who may read all documents.
async fn refusals(address: &SocketAddr, generation: &str) {
    let files = format!("/v1/policies/generations/{generation}/files");
    assert_eq!(get(address, &format!("{files}/manifest.json"), "policy-key").await.0, 200);
    for name in
        ["..%2Fcurrent", "%2Fetc%2Fpasswd", "..%2F..%2Fledger.sqlite", "current", "vectors%2Fx", "%00"]
    {
        let (status, body) = get(address, &format!("{files}/{name}"), "policy-key").await;
        assert_eq!(status, 404, "{name}: {body}");
    }
    let (status, _) = get(address, "/v1/policies/generations/..%2F..", "policy-key").await;
    assert_eq!(status, 404);
    for key in ["channel-key", "supervisor-key"] {
        for path in ["/v1/policies/generations", &format!("{files}/manifest.json")] {
            assert_eq!(get(address, path, key).await.0, 403, "{path}");
        }
    }
}
