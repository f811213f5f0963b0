//! What the ledger costs: cases a second beside raw inserts of the same bytes, and one more event as the log grows.
//!
//!     cargo bench --bench ledger -- throughput FOLDER [SECONDS]
//!     cargo bench --bench ledger -- postgres FOLDER [SECONDS]
//!     cargo bench --bench ledger -- growth FOLDER [MOST EVENTS]
//!
//! One line of JSON on standard output. FOLDER is on the disk that is measured, and is emptied afterwards. A case is what
//! the engine writes of a message that is answered at once: two batches with six events of the sizes that such a case
//! has. On PostgreSQL a server is started for it in a temporary folder (TMPDIR). Raw inserts put the very same stored bytes into one table, as many rows to a transaction as all writers
//! of the ledger bring together, on the same disk, in turns with it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot go on ends"
)]

#[path = "../src/base/postgres/cluster.rs"]
#[expect(dead_code, reason = "a test needs more of it")]
mod cluster;

use cluster::Cluster;
use prokura::base::outbound::Outbound;
use prokura::base::{Digest, Timestamp, ids};
use prokura::ledger::merkle;
use prokura::ledger::{Append, By, Digests, Ledger, LedgerSettings, NewEvent, Once};
use prokura::ledger::{Database, Stream, StreamKind, Subject};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Cases that are written at the same time.
const AT_ONCE: usize = 64;
/// Kind and size of each event of a case, in bytes of JSON, and how many come in each batch.
const EVENTS: [(&str, usize); 6] = [
    ("received", 700),
    ("understood", 2600),
    ("found", 4200),
    ("grounded", 3400),
    ("planned", 500),
    ("replied", 1100),
];
const BATCHES: [usize; 2] = [1, 5];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let told = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["throughput", folder] => throughput(Path::new(folder), 20),
        ["throughput", folder, seconds] => throughput(Path::new(folder), seconds.parse().unwrap()),
        ["postgres", folder] => postgres(Path::new(folder), 20),
        ["postgres", folder, seconds] => postgres(Path::new(folder), seconds.parse().unwrap()),
        ["growth", folder] => growth(Path::new(folder), 10_000_000),
        ["growth", folder, most] => growth(Path::new(folder), most.parse().unwrap()),
        _ => {
            eprintln!("see the head of benches/ledger.rs");
            return;
        }
    };
    println!("{told}");
}

fn digests() -> Digests {
    let names = ["program", "pack", "rules", "autonomy", "model", "generation"];
    names.iter().map(|name| ((*name).to_owned(), Digest::of(name.as_bytes()))).collect()
}

fn event(kind: &'static str, bytes: usize) -> NewEvent {
    NewEvent {
        at: Timestamp::from_millis(1_790_000_000_000),
        kind,
        body: json!({ "event": kind, "text": "x".repeat(bytes) }),
    }
}

fn batch(name: &str, expected: u64, events: Vec<NewEvent>, digests: &Digests) -> Append {
    let subject = Subject { kind: "customer", id: format!("cus_{name}") };
    Append {
        stream: Stream::new(StreamKind::Case, name),
        expected,
        digests: digests.clone(),
        events,
        status: "running".to_owned(),
        once: if expected == 0 { vec![request(name)] } else { Vec::new() },
        due: None,
        subjects: if expected == 0 { vec![subject] } else { Vec::new() },
        reserve: Vec::new(),
        free: Vec::new(),
        key: None,
    }
}

/// The client's own key of the request that a case begins with.
fn request(name: &str) -> Once {
    Once { scope: "request".to_owned(), key: Digest::of(name.as_bytes()).to_string(), value: name.to_owned() }
}

/// One case from its message to its reply; the key is looked up once, as the engine does.
fn case(ledger: &Ledger, name: &str, digests: &Digests) {
    let key = ledger.key_of(&Stream::new(StreamKind::Case, name)).unwrap();
    let (mut expected, mut events) = (0, EVENTS.iter());
    let mut epoch = None;
    for count in BATCHES {
        let events: Vec<NewEvent> =
            events.by_ref().take(count).map(|(kind, bytes)| event(kind, *bytes)).collect();
        let written = events.len() as u64;
        let append = Append { key: Some(key.clone()), ..batch(name, expected, events, digests) };
        let by = match epoch {
            None => By::Claiming("node".to_owned()),
            Some(epoch) => By::Holder { epoch, done: expected + written == EVENTS.len() as u64 },
        };
        let claim = ledger.append(&append, by).unwrap();
        epoch = epoch.or(claim.map(|claim| claim.epoch));
        expected += written;
    }
}

fn open(folder: &Path) -> Arc<Ledger> {
    std::fs::create_dir_all(folder).unwrap();
    Arc::new(LedgerSettings::default().open(folder).unwrap())
}

/// How many cases a second many writers bring in, for so long.
fn cases(ledger: &Arc<Ledger>, long: Duration) -> f64 {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (done, stop) = (&done, &stop);
            scope.spawn(move || {
                let digests = digests();
                while !stop.load(Ordering::Relaxed) {
                    case(ledger, &ids::fresh("case"), &digests);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(long);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// A table with the bytes of the entries and nothing else.
struct Raw {
    connection: Connection,
    /// The stored bytes of each event of one case.
    rows: Vec<Vec<u8>>,
    next: i64,
}

impl Raw {
    fn new(folder: &Path, rows: Vec<Vec<u8>>) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let connection = Connection::open(folder.join("raw.sqlite")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
                 CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;",
            )
            .unwrap();
        Self { connection, rows, next: 0 }
    }

    /// The same, as cases a second.
    fn cases(&mut self, long: Duration) -> f64 {
        let began = Instant::now();
        let mut written = 0_usize;
        while began.elapsed() < long {
            self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            {
                let mut insert =
                    self.connection.prepare_cached("INSERT INTO rows (id, row) VALUES (?1, ?2)").unwrap();
                for _ in 0..TOGETHER {
                    self.next += 1;
                    insert
                        .execute(rusqlite::params![self.next, self.rows[written % self.rows.len()]])
                        .unwrap();
                    written += 1;
                }
            }
            self.connection.execute_batch("COMMIT").unwrap();
        }
        written as f64 / EVENTS.len() as f64 / began.elapsed().as_secs_f64()
    }
}

fn stored_bytes(ledger: &Ledger, name: &str) -> Vec<Vec<u8>> {
    let rows = ledger.store().stream(&Stream::new(StreamKind::Case, name), 0).unwrap();
    let bytes = |row: &prokura::ledger::Stored| {
        [row.stream.as_bytes(), row.kind.as_bytes(), row.digests.as_bytes(), &row.body, &row.leaf].concat()
    };
    rows.iter().map(bytes).collect()
}

/// Rounds of the ledger and of raw inserts in turns.
const ROUNDS: usize = 5;

fn throughput(folder: &Path, seconds: u64) -> Value {
    let ledger = open(&folder.join("ledger"));
    case(&ledger, "case_first", &digests());
    let mut raw = Raw::new(&folder.join("raw"), stored_bytes(&ledger, "case_first"));
    let told = in_turns(&ledger, seconds, |long| raw.cases(long));
    drop(ledger);
    std::fs::remove_dir_all(folder).unwrap();
    told
}

/// So many rows come under one commit where all writers wait for it.
const TOGETHER: usize = AT_ONCE * EVENTS.len() / BATCHES.len();

fn in_turns(ledger: &Arc<Ledger>, seconds: u64, mut raw: impl FnMut(Duration) -> f64) -> Value {
    let long = Duration::from_secs_f64(seconds as f64 / (2 * ROUNDS) as f64);
    let bytes: usize = stored_bytes(ledger, "case_first").iter().map(Vec::len).sum();
    cases(ledger, long / 4);
    raw(long / 4);
    let (mut own, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(cases(ledger, long));
        raws.push(raw(long));
    }
    let mut ratios: Vec<f64> = own.iter().zip(&raws).map(|(own, raw)| own / raw).collect();
    json!({
        "cases_per_second": median(&mut own), "raw_cases_per_second": median(&mut raws),
        "ratio": median(&mut ratios), "ratio_lowest": ratios[0], "ratio_highest": ratios[ratios.len() - 1],
        "bytes_per_case": bytes, "events_per_case": EVENTS.len(), "commits_per_case": BATCHES.len(),
        "writers": AT_ONCE, "raw_rows_per_commit": TOGETHER, "rounds": ROUNDS, "seconds": seconds,
    })
}

/// The same on a server that waits for its disk at each commit; raw inserts over one connection.
fn postgres(folder: &Path, seconds: u64) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cluster = Cluster::with(&["fsync=on"]);
    for sql in ["CREATE DATABASE ledger", "CREATE DATABASE keys"] {
        runtime.block_on(cluster.run(sql));
    }
    runtime.block_on(cluster.run("CREATE TABLE rows (id bigint PRIMARY KEY, row bytea NOT NULL)"));
    std::fs::write(cluster.folder.path().join("master.key"), "0f".repeat(32)).unwrap();
    let of = |name: &str| Database {
        url: format!("postgres://admin@{}/{name}", cluster.host()),
        password_file: Some("admin".into()),
        certificate: None,
    };
    let settings = LedgerSettings {
        postgres: Some(of("ledger")),
        key_database: Some(of("keys")),
        master_key: Some(cluster.folder.path().join("master.key")),
        ..LedgerSettings::default()
    };
    std::fs::create_dir_all(folder.join("keys")).unwrap();
    let outbound = Outbound::new([cluster.host()]).unwrap();
    let ledger = Arc::new(settings.connect(folder, cluster.folder.path(), &outbound).unwrap());
    case(&ledger, "case_first", &digests());
    let rows = stored_bytes(&ledger, "case_first");
    let mut config: tokio_postgres::Config = cluster.url("admin", "").parse().unwrap();
    config.password("admin secret");
    let mut client = runtime.block_on(async {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    let mut next = 0;
    let told = in_turns(&ledger, seconds, |long| {
        runtime.block_on(raw_on_postgres(&mut client, &rows, &mut next, long))
    });
    drop(ledger);
    std::fs::remove_dir_all(folder).unwrap();
    told
}

async fn raw_on_postgres(
    client: &mut tokio_postgres::Client,
    rows: &[Vec<u8>],
    next: &mut i64,
    long: Duration,
) -> f64 {
    let insert = client.prepare("INSERT INTO rows (id, row) VALUES ($1, $2)").await.unwrap();
    let (began, first) = (Instant::now(), *next);
    while began.elapsed() < long {
        let transaction = client.transaction().await.unwrap();
        // Sent one after the other without waiting.
        let inserted = (0..TOGETHER).map(|n| {
            *next += 1;
            let (transaction, insert, id) = (&transaction, &insert, *next);
            async move { transaction.execute(insert, &[&id, &rows[n % rows.len()]]).await }
        });
        futures::future::try_join_all(inserted).await.unwrap();
        transaction.commit().await.unwrap();
    }
    (*next - first) as f64 / EVENTS.len() as f64 / began.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Events of a case while the log is filled: small, so that ten million fit on a disk.
const SMALL: usize = 120;
const PER_CASE: u64 = 10;

fn fill(ledger: &Arc<Ledger>, from: u64, to: u64) {
    let next = AtomicU64::new(from / PER_CASE);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let next = &next;
            scope.spawn(move || {
                let digests = Digests::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to / PER_CASE {
                        return;
                    }
                    let events = (0..PER_CASE).map(|_| event("counted", SMALL)).collect();
                    ledger.append(&batch(&name(number), 0, events, &digests), By::Anybody).unwrap();
                }
            });
        }
    });
    ledger.sign().unwrap();
}

fn name(number: u64) -> String {
    format!("case_{number:010}")
}

/// Milliseconds of each of many, one after the other.
fn timed(count: u64, mut work: impl FnMut(u64)) -> Vec<f64> {
    (0..count)
        .map(|number| {
            let began = Instant::now();
            work(number);
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect()
}

fn growth(folder: &Path, most: u64) -> Value {
    let (mut size, mut points) = (0, Vec::new());
    let mut next = 10_000;
    while next <= most {
        fill(&open(folder), size, next);
        size = next;
        // A program that has just started: nothing is in its own caches.
        points.push(measured(&open(folder), size));
        eprintln!("{}", points[points.len() - 1]);
        next *= 10;
    }
    let of = |point: &Value, what: &str| point[what].as_f64().unwrap();
    let grown = |what: &str| of(&points[points.len() - 1], what) / of(&points[0], what);
    let told = json!({
        "points": points,
        "last_over_first": {
            "append": grown("append_ms"), "append_together": grown("append_together_ms"),
            "case_opened": grown("case_opened_ms"), "case_opened_together": grown("case_opened_together_ms"),
            "proof": grown("proof_ms"), "case_read": grown("case_read_ms"),
            "case_read_again": grown("case_read_again_ms"),
        },
    });
    std::fs::remove_dir_all(folder).unwrap();
    told
}

/// A step that visits every place of a log in an order that is not that of the disk.
const STRIDE: u64 = 7_919;

fn measured(ledger: &Arc<Ledger>, size: u64) -> Value {
    // What was written before is on the disk, and nobody waits for it.
    rustix::fs::sync();
    let (digests, cases) = (Digests::new(), size / PER_CASE);
    let more = |case: &str, length: u64| {
        ledger.append(&batch(case, length, vec![event("counted", SMALL)], &digests), By::Anybody).unwrap();
    };
    // Each case once, and some of them again.
    let read = |number: u64| {
        let stream = Stream::new(StreamKind::Case, name(number * STRIDE % cases));
        assert_eq!(ledger.stream(&stream, 0).unwrap().len() as u64, PER_CASE);
    };
    let mut first = timed(1000, read);
    let mut again = timed(1000, |number| read(number % 100));
    // Warm, and a pool of keys made.
    let own = |writer: u64| format!("open_{size:010}_{writer:03}");
    timed(200, |number| more(&own(AT_ONCE as u64), number));
    let mut append = timed(1000, |number| more(&own(AT_ONCE as u64), 200 + number));
    let append_together = together(|writer, number| more(&own(writer), number));
    let new = |writer: u64, number: u64| format!("open_{size:010}_{writer:03}_{number:06}");
    let mut opened = timed(1000, |number| more(&new(AT_ONCE as u64, number), 0));
    let opened_together = together(|writer, number| more(&new(writer, number), 0));
    let root = ledger.checkpoint().unwrap().unwrap();
    let mut proof = timed(1000, |number| {
        let index = number * STRIDE % size;
        let leaf = ledger.store().range(index, 1).unwrap()[0].leaf;
        assert!(!merkle::inclusion(ledger.store(), root, index, &leaf).unwrap().is_empty());
    });
    ledger.sign().unwrap();
    json!({
        "events": size, "append_ms": median(&mut append), "append_together_ms": append_together,
        "case_opened_ms": median(&mut opened), "case_opened_together_ms": opened_together,
        "proof_ms": median(&mut proof), "case_read_ms": median(&mut first), "case_read_again_ms": median(&mut again),
    })
}

/// Milliseconds of each, where every writer does a hundred at the same time as the others.
fn together(one: impl Fn(u64, u64) + Sync) -> f64 {
    const EACH: u64 = 100;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..AT_ONCE as u64 {
            let one = &one;
            scope.spawn(move || (0..EACH).for_each(|number| one(writer, number)));
        }
    });
    began.elapsed().as_secs_f64() * 1000.0 / (AT_ONCE as u64 * EACH) as f64
}
