//! A demonstration bank and an engine around the shipped pack and models, in a directory that goes away.

#[path = "../../src/base/postgres/cluster.rs"]
pub mod cluster;

use prokura::acting::{Acting, HttpConnector};
use prokura::base::outbound::Outbound;
use prokura::base::{CaseId, Clock, CustomerId, Digest, MessageId, SystemClock, ids};
use prokura::cases::{Cases, Incoming, Packs, Parts, State, load_pack, record_pack, staff_view};
use prokura::demo;
use prokura::governance::{Principal, Role};
use prokura::intake::{Assurance, Envelope, Identity, Limits, RawMessage, accept};
use prokura::ledger::store::Sqlite;
use prokura::ledger::{Keys, Ledger, LedgerSettings, Store};
use prokura::policy::{self, Policies};
use prokura::records::{Lookup, Source};
use prokura::understanding::{Compute, Live, Readers, Schema, Work};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The message that the whole product is explained with.
pub const MESSAGE: &str = "Ich bin Kunde bei der Sparkasse Nürnberg, mein Name ist Max Müller, meine Partnerin \
    Angelika Müller, Kontonummer ABCO1234. Wir kommen nicht mehr in unser Konto rein.";

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The shipped bundle, loaded once; nothing is promoted over it.
pub fn models() -> Arc<Live> {
    static LOADED: OnceLock<Arc<Live>> = OnceLock::new();
    let load = || {
        let schema = Schema::read(&root().join("config")).unwrap();
        Arc::new(
            Live::open(&root().join("tests"), &root().join("models/default"), &schema, Compute::default())
                .unwrap(),
        )
    };
    Arc::clone(LOADED.get_or_init(load))
}

/// The sample policies, indexed once.
fn index() -> &'static Path {
    static INDEX: OnceLock<tempfile::TempDir> = OnceLock::new();
    INDEX.get_or_init(|| indexed(&[root().join("index/policies")])).path()
}

/// A state directory with an index of these documents.
pub fn indexed(documents: &[PathBuf]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let models = models().current();
    let options = policy::Options {
        language: prokura::base::Language::De,
        now: SystemClock.now(),
        models: Some(&models),
        bar: None,
        kept: None,
    };
    policy::index(directory.path(), documents, options, &|_, _| {}).unwrap();
    directory
}

pub struct Stage {
    pub bank: SocketAddr,
    pub directory: tempfile::TempDir,
    pub cases: Cases,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with_switches(&[]).await
    }

    pub async fn with_switches(switches: &[&str]) -> Self {
        Self::with_models(switches, models()).await
    }

    pub async fn with_models(switches: &[&str], models: Arc<Live>) -> Self {
        Self::with(switches, models, false, &root().join("config")).await
    }

    /// With policies that nobody else has, so that they can be changed.
    pub async fn with_own_policies() -> Self {
        Self::with(&[], models(), true, &root().join("config")).await
    }

    /// With another pack.
    pub async fn with_pack(models: Arc<Live>, pack: &Path) -> Self {
        Self::with(&[], models, false, pack).await
    }

    async fn with(switches: &[&str], models: Arc<Live>, own_policies: bool, config: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = demo::Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            logs: directory.path().join("bank"),
            seed: 1,
            switches: switches.iter().map(|switch| (*switch).to_owned()).collect(),
        };
        let server = demo::Server::open(options, Arc::new(SystemClock)).await.unwrap();
        let bank = server.address();
        tokio::spawn(server.run(std::future::pending()));
        let ledger = Arc::new(LedgerSettings::default().open(directory.path()).unwrap());
        let policies = if own_policies {
            copy(&index().join("index"), &directory.path().join("index"));
            directory.path()
        } else {
            index()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let cases = engine_of((bank, ledger), models, (config, policies), &clock);
        Self { bank, directory, cases }
    }

    /// One line of the bank's log of effects each.
    pub fn effects(&self) -> Vec<Value> {
        self.log("effects.jsonl")
    }

    /// Requests that would change something.
    pub fn orders(&self) -> Vec<Value> {
        let orders = self.log("requests.jsonl");
        orders.into_iter().filter(|r| r["method"] == "POST" && r["path"] != "/switches").collect()
    }

    fn log(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("bank").join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub async fn switch(&self, change: Value) {
        let response = reply(&self.bank, "POST", "/switches", &[], Some(&change)).await;
        assert_eq!(response.0, 200, "{}", response.1);
    }

    /// Takes a message to where its case waits.
    pub async fn send(&self, text: &str, identity: Identity) -> State {
        let case = CaseId::new(ids::fresh("case"));
        self.send_to(case, text, identity).await
    }

    pub async fn send_to(&self, case: CaseId, text: &str, identity: Identity) -> State {
        let incoming = incoming(case, text, identity);
        let case = self.cases.accept(incoming).await.unwrap();
        self.cases.drive(&case).await.unwrap()
    }
}

/// The engine over the given ledger, with the shipped bundle.
pub fn engine(bank: SocketAddr, ledger: Arc<Ledger>) -> Cases {
    engine_over(bank, ledger, &root().join("config"), &(Arc::new(SystemClock) as Arc<dyn Clock>))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

/// A copy of the shipped pack with these files in the place of its own.
pub fn pack_with(into: &Path, files: &[(&str, String)]) -> PathBuf {
    let shipped = root().join("config");
    for part in ["", "plans", "templates", "rules", "administration"] {
        std::fs::create_dir_all(into.join(part)).unwrap();
        for entry in std::fs::read_dir(shipped.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, into.join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    for (name, text) in files {
        std::fs::write(into.join(name), text).unwrap();
    }
    into.to_owned()
}

/// The engine of a state directory, as after a start, with another pack and clock.
pub fn engine_in(bank: SocketAddr, state: &Path, pack: &Path, clock: &Arc<dyn Clock>) -> Cases {
    let own = Arc::clone(clock);
    let store = |keys: &Keys| Ok(Arc::new(Sqlite::open(state, keys, own)?) as Arc<dyn Store>);
    let ledger = Arc::new(LedgerSettings::default().over(state, store).unwrap());
    ledger.store().forget_nodes().unwrap();
    engine_over(bank, ledger, pack, clock)
}

/// The engine over the given ledger, with another pack and clock.
pub fn engine_over(bank: SocketAddr, ledger: Arc<Ledger>, pack: &Path, clock: &Arc<dyn Clock>) -> Cases {
    engine_of((bank, ledger), models(), (pack, index()), clock)
}

/// What is done to the sources before they are asked.
pub type Sources = fn(Vec<Arc<dyn Source>>) -> Vec<Arc<dyn Source>>;

/// What of the wiring is another's: who reads, and what the sources become.
pub struct Hands {
    pub readers: Readers,
    pub sources: Sources,
    /// A state directory with an index; without it the sample policies are searched.
    pub policies: Option<PathBuf>,
}

/// The engine over the given ledger, in other hands.
pub fn engine_with(bank: SocketAddr, ledger: Arc<Ledger>, pack: &Path, hands: Hands) -> Cases {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let policies = hands.policies.clone().unwrap_or_else(|| index().to_owned());
    wired((bank, ledger), models(), (pack, &policies), &clock, hands)
}

/// The engine over the given ledger, as the program wires it.
fn engine_of(
    at: (SocketAddr, Arc<Ledger>),
    models: Arc<Live>,
    folders: (&Path, &Path),
    clock: &Arc<dyn Clock>,
) -> Cases {
    let readers = Readers::start(&Work { threads: 2, ..Work::default() }).unwrap();
    wired(at, models, folders, clock, Hands { readers, sources: |sources| sources, policies: None })
}

fn wired(
    (bank, ledger): (SocketAddr, Arc<Ledger>),
    models: Arc<Live>,
    (config, state): (&Path, &Path),
    clock: &Arc<dyn Clock>,
    hands: Hands,
) -> Cases {
    let policies = Policies::open(state).unwrap();
    let checked = load_pack(config, None).unwrap_or_else(|found| panic!("{found:?}"));
    record_pack(&ledger, &checked.files, clock.now()).unwrap();
    let mut pack = checked.pack;
    let url = format!("http://{bank}");
    assert!(pack.sources.set_base_url("core_bank", &url));
    assert!(Arc::make_mut(&mut pack.tools).set_system("core_bank", &url));
    let outbound = Outbound::new([bank.to_string()]).unwrap();
    let clock = Arc::clone(clock);
    let kinds = pack.lookup.kinds();
    let sources = pack.sources.open(config, &outbound, &kinds, &clock).unwrap();
    let tools = Arc::clone(&pack.tools);
    let pack = Arc::new(pack);
    let connector = Arc::new(HttpConnector::new(outbound, &tools, config));
    let parts = Parts {
        packs: Arc::new(Packs::new(Arc::clone(&ledger), state, Arc::clone(&pack))),
        ledger,
        lookup: Arc::new(Lookup::new(pack.lookup.clone(), (hands.sources)(sources), Arc::clone(&clock))),
        acting: Arc::new(Acting::new(tools, connector, Arc::clone(&clock))),
        clock,
        pack,
        models,
        readers: Arc::new(hands.readers),
        bank_codes: Arc::default(),
        policies: Arc::new(policies),
        program: Digest::of(b"test"),
    };
    Cases::new(parts).unwrap()
}

pub fn incoming(case: CaseId, text: &str, identity: Identity) -> Incoming {
    let envelope = Envelope {
        id: MessageId::new(ids::fresh("msg")),
        case,
        channel: "test-app".into(),
        identity,
        received_at: SystemClock.now(),
    };
    let raw = RawMessage { text: text.as_bytes(), language: None, attachments: vec![] };
    let message = accept(&raw, envelope, &Limits::default()).unwrap();
    Incoming { by: Principal::new("test-app", Role::Channel), message, token: None, key: None }
}

pub fn verified(customer: &str) -> Identity {
    Identity::Verified {
        customer: CustomerId::new(customer),
        assurance: Assurance::Sca,
        at: SystemClock.now(),
    }
}

pub fn path(state: &State) -> Vec<&str> {
    state.plan.as_ref().map_or_else(Vec::new, |plan| plan.path.iter().map(String::as_str).collect())
}

pub fn text(state: &State) -> &str {
    state.replies.last().map_or("", |reply| reply.text.as_str())
}

/// A failing assertion prints the whole case.
pub fn shown(state: &State) -> String {
    let stuck = state.stuck.as_deref().map_or_else(String::new, |reason| format!("stuck: {reason}\n"));
    stuck + &serde_json::to_string_pretty(&staff_view(state)).unwrap()
}

/// A plain HTTP exchange with a server of this test: status and body.
pub async fn reply(
    address: &SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> (u16, String) {
    let body = body.map(Value::to_string).unwrap_or_default();
    raw(address, method, path, headers, body.as_bytes()).await
}

pub async fn raw(
    address: &SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String) {
    use std::io::{Read, Write};
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !body.is_empty() && !typed {
        head.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let (address, body) = (*address, body.to_vec());
    tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses a large body may close before it has read all of it.
        let _ = stream.write_all(&body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunked(body) } else { body.to_owned() })
    })
    .await
    .unwrap()
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(rest.get(..size).unwrap_or(rest));
        body = rest.get(size + 2..).unwrap_or("");
    }
    whole
}
