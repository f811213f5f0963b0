//! The program as a person or a script runs it.

mod attachments;
mod audit;
mod autonomy;
mod evaluate;
mod lookup;
mod models;
mod origin;
mod published;
mod rules;
mod stop;
mod tools;
mod witness;

use crate::stage::{MESSAGE, raw, reply, root};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn prokura(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prokura")).args(arguments).current_dir(root()).output().unwrap()
}

/// Exit code, and what was said on stderr.
fn failing(arguments: &[&str]) -> (i32, String) {
    let output = prokura(arguments);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_pack_is_sound() {
    let output = prokura(&["check", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(counts["plans"].as_u64().unwrap() >= 10);
    assert_eq!(counts["branches"], counts["branches_covered"]);
}

#[test]
fn resolve_prints_the_case_as_json() {
    let output = prokura(&["resolve", "--demo", "--json", MESSAGE]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let case: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(case["plan"]["path"], json!(["found", "single", "not_flagged", "unlock"]));
    assert_eq!(
        case["facts"]["candidates"][0],
        json!({"id": "acc_001", "score": 10, "matched": case["facts"]["candidates"][0]["matched"]})
    );
}

#[test]
fn lookup_scores_values() {
    let values = [
        "lookup",
        "--demo",
        "first_name=Max",
        "first_name=Angelika",
        "last_name=Müller",
        "branch=Sparkasse Nürnberg",
        "account_number=ABCO1234",
        "account_number=ABC01234",
    ];
    let output = prokura(&values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let score = |id: &str| {
        facts["candidates"].as_array().unwrap().iter().find(|c| c["id"] == id).map(|c| c["score"].clone())
    };
    assert_eq!(
        [score("acc_001"), score("acc_017"), score("acc_204"), score("acc_388")],
        [Some(json!(10)), Some(json!(3)), Some(json!(2)), Some(json!(1))]
    );
    assert_eq!(facts["selected"], json!(["acc_001"]));
}

#[test]
fn what_is_missing_or_damaged_is_named_with_its_remedy() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let (code, said) = failing(&["search", "Konto", "--state", state]);
    assert!(code == 2 && said.contains("policies index"), "{code}: {said}");
    let (code, said) = failing(&["understand", ""]);
    assert!(code == 2 && said.contains("no text"), "{code}: {said}");
    let (code, said) = failing(&["check", "--config", "nowhere.toml"]);
    assert!(code == 2 && said.contains("nowhere.toml") && said.contains("--config"), "{code}: {said}");
    let (code, said) = failing(&["launch"]);
    assert!(code == 2 && said.contains("launch"), "{code}: {said}");
}

/// A copy of the pack that a test may damage.
fn pack_copy(into: &Path) -> String {
    let copied = Command::new("cp").arg("-r").arg(root().join("config")).arg(into).status().unwrap();
    assert!(copied.success());
    into.join("config/prokura.toml").to_str().unwrap().to_owned()
}

#[test]
fn a_bundle_that_is_missing_or_damaged_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = pack_copy(directory.path());
    let (code, said) = failing(&["understand", "hello", "--config", &config]);
    assert!(code == 2 && said.contains("models/default"), "{code}: {said}");
    let bundle = directory.path().join("models/default");
    std::fs::create_dir_all(bundle.parent().unwrap()).unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(root().join("models/default")).arg(&bundle).status().unwrap();
    assert!(copied.success());
    assert!(prokura(&["understand", "hello", "--config", &config]).status.success());
    let weights = bundle.join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let (code, said) = failing(&["understand", "hello", "--config", &config]);
    assert!(code == 2 && said.contains("weights.safetensors"), "{code}: {said}");
}

#[test]
fn faults_in_the_pack_are_told_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let config = pack_copy(directory.path());
    let plan = directory.path().join("config/plans/account_locked.toml");
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replace("record.flags.fraud", "record.flags.fruad")).unwrap();
    let (code, said) = failing(&["check", "--config", &config]);
    assert!(code == 2 && said.contains("account_locked.toml:") && said.contains("fraud"), "{code}: {said}");
}

/// A started process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_prokura"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

fn bank(logs: &Path, switches: &[&str]) -> (Running, SocketAddr) {
    let mut arguments = vec!["demo-bank", "--listen", "127.0.0.1:0", "--logs", logs.to_str().unwrap()];
    for switch in switches {
        arguments.extend(["--switch", *switch]);
    }
    let mut running = start(&arguments);
    let stdout = running.0.stdout.take().unwrap();
    let line = BufReader::new(stdout).lines().next().unwrap().unwrap();
    (running, line.parse().unwrap())
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn until_ready(address: SocketAddr) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if std::net::TcpStream::connect(address).is_ok()
            && raw(&address, "GET", "/readyz", &[], b"").await.0 == 200
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the service did not become ready");
}

/// Settings that use this bank and its channel, with a key of a channel and one of a supervisor.
pub(crate) async fn settings(directory: &Path, bank: SocketAddr) -> String {
    let config = pack_copy(directory);
    std::os::unix::fs::symlink(root().join("models"), directory.join("models")).unwrap();
    let (_, key) = reply(&bank, "GET", "/channel/key", &[], None).await;
    let key: Value = serde_json::from_str(&key).unwrap();
    let hash = |key: &str| prokura::base::Digest::of(key.as_bytes()).hex().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("hosts = [", &format!("hosts = [\"{bank}\", "));
    let more = format!(
        "\n[systems]\ncore_bank = \"http://{bank}\"\n[identity]\nissuer = {}\naudience = {}\nalgorithm = \"EdDSA\"\n\
         public_key = {}\n[[key]]\nname = \"app\"\nprincipal = \"app\"\nrole = \"channel\"\nsha256 = \"{}\"\n\
         [[key]]\nname = \"boss\"\nprincipal = \"sara\"\nrole = \"supervisor\"\nsha256 = \"{}\"\n",
        key["issuer"],
        key["audience"],
        key["x"],
        hash("channel-key"),
        hash("supervisor-key")
    );
    std::fs::write(&config, text + &more).unwrap();
    config
}

#[tokio::test]
async fn a_killed_service_finishes_its_cases_after_the_restart_with_one_effect() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("bank");
    // Slow enough to be killed in the middle, at another place each time.
    let (_bank, bank) = bank(&logs, &["slowness=150"]);
    let config = settings(directory.path(), bank).await;
    let state = directory.path().join("state");
    let state = state.to_str().unwrap();
    let documents = root().join("index/policies");
    let indexed =
        prokura(&["policies", "index", documents.to_str().unwrap(), "--state", state, "--config", &config]);
    assert!(indexed.status.success(), "{}", String::from_utf8_lossy(&indexed.stderr));
    let text = "Mir wurde derselbe Einkauf zweimal abgebucht!";
    let mut cases = Vec::new();
    for (customer, millis) in [("cus_015", 250), ("cus_015", 450), ("cus_015", 650), ("cus_030", 850)] {
        let address = free_port();
        let listen = address.to_string();
        let mut service = start(&["serve", "--listen", &listen, "--state", state, "--config", &config]);
        until_ready(address).await;
        let login = json!({"customer": customer, "text": text});
        let (_, token) = reply(&bank, "POST", "/channel/token", &[], Some(&login)).await;
        let token = serde_json::from_str::<Value>(&token).unwrap()["token"].as_str().unwrap().to_owned();
        let answer = tokio::spawn(async move {
            let headers = [("Authorization", "Bearer channel-key"), ("Prokura-Identity", token.as_str())];
            reply(&address, "POST", "/v1/cases", &headers, Some(&json!({"text": text}))).await
        });
        tokio::time::sleep(Duration::from_millis(millis)).await;
        service.0.kill().unwrap();
        service.0.wait().unwrap();
        let _ = answer.await;
        cases.push(customer);
    }
    let address = free_port();
    let listen = address.to_string();
    let _service = start(&["serve", "--listen", &listen, "--state", state, "--config", &config]);
    until_ready(address).await;
    let effects = || {
        let text = std::fs::read_to_string(logs.join("effects.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) && effects().len() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let found = effects();
    let mut keys: Vec<String> = found.iter().map(|effect| effect["key"].to_string()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), found.len(), "no key has two effects: {found:#?}");
    let transactions: std::collections::BTreeSet<String> =
        found.iter().map(|effect| effect["result"]["transaction"].to_string()).collect();
    assert_eq!(transactions.len(), found.len(), "no charge was refunded twice: {found:#?}");
    assert_eq!(transactions.len(), 2, "both customers got their refund: {found:#?}");
    let output = prokura(&["audit", "verify", "--state", state, "--config", &config]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_port_in_use_and_a_state_directory_in_use_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_bank, bank) = bank(&directory.path().join("bank"), &[]);
    let config = settings(directory.path(), bank).await;
    let state = directory.path().join("state");
    let state = state.to_str().unwrap();
    let documents = root().join("index/policies");
    assert!(
        prokura(&["policies", "index", documents.to_str().unwrap(), "--state", state, "--config", &config])
            .status
            .success()
    );
    let address = free_port();
    let listen = address.to_string();
    let _service = start(&["serve", "--listen", &listen, "--state", state, "--config", &config]);
    until_ready(address).await;
    let (code, said) = failing(&["serve", "--listen", &listen, "--state", state, "--config", &config]);
    assert!(code == 2 && said.contains(&listen) && said.contains("--listen"), "{code}: {said}");
    let other = free_port().to_string();
    let (code, said) = failing(&["serve", "--listen", &other, "--state", state, "--config", &config]);
    assert!(code == 2 && said.contains("in use") && said.contains("--state"), "{code}: {said}");
}
