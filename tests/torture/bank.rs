//! A demonstration bank in a process of its own, and services around it.

use super::{Process, exchange, program, prokura};
use crate::commands::settings;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// It blocks the customer's card, without asking anybody.
const MESSAGE: &str = "Meine Karte ist weg!";

/// Customers from here on are drawn ones.
const FIRST: u64 = 400;
/// The bank has no more customers than that.
const LAST: u64 = 9_999;

pub struct Bank {
    _process: Process,
    pub address: SocketAddr,
    pub logs: PathBuf,
    next: AtomicU64,
}

impl Bank {
    fn start(logs: PathBuf) -> Self {
        let mut command = prokura();
        command.args(["demo-bank", "--listen", "127.0.0.1:0", "--logs"]).arg(&logs);
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let line = BufReader::new(process.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        Self { _process: process, address: line.parse().unwrap(), logs, next: AtomicU64::new(FIRST) }
    }

    /// A customer who has written nothing yet, with one account and one card.
    pub fn customer(&self) -> String {
        let seen = |path: String| exchange(self.address, ("GET", &path), &[], None).unwrap().1;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            assert!(number <= LAST, "the bank has no more customers");
            let customer = format!("cus_{number:03}");
            let accounts = seen(format!("/customers/{customer}/accounts"));
            let one = accounts["accounts"].as_array().is_some_and(|accounts| accounts.len() == 1);
            let cards = &seen(format!("/accounts/acc_{number:03}"))["cards"];
            let usable =
                cards.as_array().is_some_and(|cards| cards.len() == 1 && cards[0]["status"] == "active");
            if one && usable {
                return customer;
            }
        }
    }

    fn token(&self, customer: &str) -> String {
        let login = json!({"customer": customer, "text": MESSAGE});
        let answer = exchange(self.address, ("POST", "/channel/token"), &[], Some(&login)).unwrap();
        answer.1["token"].as_str().unwrap().to_owned()
    }

    pub fn switch(&self, change: &Value) {
        let answer = exchange(self.address, ("POST", "/switches"), &[], Some(change)).unwrap();
        assert_eq!(answer.0, 200, "{}", answer.1);
    }

    /// What the bank did, in order.
    pub fn effects(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.logs.join("effects.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An address of loopback that nothing else has: from the one that clients have, ports are drawn.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = GIVEN.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high.max(1), low, (number % 250) as u8 + 1], 7180))
}

/// A bank, settings that name it, and a folder for the state of services.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub bank: Bank,
    pub config: String,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bank = Bank::start(folder.path().join("bank"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = runtime.block_on(settings(folder.path(), bank.address));
        let place = Self { folder, bank, config };
        // Whoever waits for an outcome that a fault took away waits for the whole of it.
        place.set("wait_ms = 3000", "wait_ms = 300");
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the settings.
    pub fn set(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(old), "the settings have no `{old}`");
        std::fs::write(&self.config, text.replacen(old, new, 1)).unwrap();
    }

    /// A state directory with indexed policies and nothing else.
    pub fn state(&self, name: &str) -> PathBuf {
        let state = self.at(name);
        let documents = crate::stage::root().join("index/policies");
        let mut command = prokura();
        command.args(["policies", "index"]).arg(documents).arg("--config").arg(&self.config);
        let output = command.arg("--state").arg(&state).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        state
    }

    /// The service is started and not waited for.
    pub fn serve(&self, state: &Path) -> Node {
        self.serve_at(state, free_address())
    }

    pub fn serve_at(&self, state: &Path, address: SocketAddr) -> Node {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        self.serve_under(command, state, address, &self.config)
    }

    /// The same under a command that goes before, with other settings.
    pub fn serve_under(&self, mut command: Command, state: &Path, address: SocketAddr, config: &str) -> Node {
        command.arg(program()).current_dir(crate::stage::root()).env("PROKURA_LOG", "error");
        command.args(["serve", "--listen", &address.to_string(), "--config", config]);
        let log = std::fs::File::options().create(true).append(true).open(self.at("serve.log")).unwrap();
        command.arg("--state").arg(state).stdout(Stdio::null()).stderr(log);
        Node { process: Process::start(&mut command), address }
    }

    /// Sends the customer's message once; the same key is the same message.
    pub fn open(&self, service: SocketAddr, customer: &str) -> std::io::Result<(u16, Value)> {
        let token = self.bank.token(customer);
        let headers = [
            ("Authorization", "Bearer channel-key"),
            ("Idempotency-Key", customer),
            ("Prokura-Identity", token.as_str()),
        ];
        exchange(service, ("POST", "/v1/cases"), &headers, Some(&json!({"text": MESSAGE})))
    }

    /// `prokura audit verify --full` of a state directory that nobody uses.
    pub fn verify(&self, state: &Path) -> Value {
        let mut command = prokura();
        command.args(["audit", "verify", "--full", "--config", &self.config]).arg("--state").arg(state);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

pub struct Node {
    pub process: Process,
    pub address: SocketAddr,
}

impl Node {
    /// Whether it answers within a minute; `false` when it ended.
    pub fn ready(&mut self) -> bool {
        let start = Instant::now();
        while !exchange(self.address, ("GET", "/readyz"), &[], None).is_ok_and(|answer| answer.0 == 200) {
            if self.process.ended() {
                return false;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the service did not become ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// The case as the staff sees it.
    pub fn case(&self, id: &str) -> std::io::Result<Value> {
        let headers = [("Authorization", "Bearer supervisor-key")];
        let answer = exchange(self.address, ("GET", &format!("/v1/cases/{id}")), &headers, None)?;
        // Who cannot be written down to have looked does not get to see it.
        if answer.0 == 503 {
            return Ok(json!({ "case": id, "status": "running" }));
        }
        assert_eq!(answer.0, 200, "{id} is not there: {}", answer.1);
        Ok(answer.1)
    }

    /// The case when it has ended, or as it stands when the time is over.
    pub fn ended(&self, id: &str, limit: Duration) -> Value {
        let start = Instant::now();
        loop {
            let case = self.case(id).unwrap();
            if case["status"] != "running" || start.elapsed() > limit {
                return case;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
