//! What the ledger costs: cases a second beside raw inserts of the same bytes, and one more event as the log grows.
//!
//!     cargo bench --bench ledger -- throughput FOLDER [SECONDS]
//!     cargo bench --bench ledger -- growth FOLDER [MOST EVENTS]
//!
//! One line of JSON on standard output. FOLDER is on the disk that is measured, and is emptied afterwards. A case is what
//! the engine writes of a message that is answered at once: four batches with six events of the sizes that such a case
//! has. Raw inserts put the very same stored bytes into one table, as many rows to a transaction as the ledger's own
//! group commit had on average, on the same disk, in turns with it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

use prokura::base::Timestamp;
use prokura::ledger::merkle;
use prokura::ledger::{Append, By, Digests, Ledger, LedgerSettings, NewEvent, Stream, StreamKind, Subject};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
const BATCHES: [usize; 4] = [1, 1, 1, 3];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let told = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["throughput", folder] => throughput(Path::new(folder), 20),
        ["throughput", folder, seconds] => throughput(Path::new(folder), seconds.parse().unwrap()),
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
    names.iter().map(|name| ((*name).to_owned(), prokura::base::Digest::of(name.as_bytes()))).collect()
}

fn event(kind: &'static str, bytes: usize) -> NewEvent {
    NewEvent { kind, body: json!({ "event": kind, "text": "x".repeat(bytes) }) }
}

fn batch(name: &str, expected: u64, events: Vec<NewEvent>, digests: &Digests) -> Append {
    let subject = Subject { kind: "customer", id: format!("cus_{name}") };
    Append {
        stream: Stream::new(StreamKind::Case, name),
        expected,
        at: Timestamp::from_millis(1_790_000_000_000),
        digests: digests.clone(),
        events,
        status: "running".to_owned(),
        once: Vec::new(),
        due: None,
        subjects: if expected == 0 { vec![subject] } else { Vec::new() },
        key: None,
    }
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
fn cases(ledger: &Arc<Ledger>, round: usize, long: Duration) -> f64 {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..AT_ONCE {
            let (done, stop) = (&done, &stop);
            scope.spawn(move || {
                let digests = digests();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    case(ledger, &format!("case_{round:03}_{writer:03}_{number:06}"), &digests);
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
    /// Rows to a transaction.
    together: usize,
    next: i64,
}

impl Raw {
    fn new(folder: &Path, rows: Vec<Vec<u8>>, together: usize) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let connection = Connection::open(folder.join("raw.sqlite")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;",
            )
            .unwrap();
        Self { connection, rows, together, next: 0 }
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
                for _ in 0..self.together {
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

/// Commits of the process so far, as the disk sees them: each waits for an `fdatasync` of the write-ahead log.
fn throughput(folder: &Path, seconds: u64) -> Value {
    const ROUNDS: usize = 5;
    let long = Duration::from_secs_f64(seconds as f64 / (2 * ROUNDS) as f64);
    let ledger = open(&folder.join("ledger"));
    case(&ledger, "case_first", &digests());
    let rows = stored_bytes(&ledger, "case_first");
    let bytes: usize = rows.iter().map(Vec::len).sum();
    // A batch of a case on average, times the writers that are committed together.
    let together = AT_ONCE * EVENTS.len() / BATCHES.len();
    let mut raw = Raw::new(&folder.join("raw"), rows, together);
    cases(&ledger, 999, long / 4);
    raw.cases(long / 4);
    let (mut own, mut raws) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        own.push(cases(&ledger, round, long));
        raws.push(raw.cases(long));
    }
    let mut ratios: Vec<f64> = own.iter().zip(&raws).map(|(own, raw)| own / raw).collect();
    let told = json!({
        "cases_per_second": median(&mut own), "raw_cases_per_second": median(&mut raws),
        "ratio": median(&mut ratios), "ratio_lowest": ratios[0], "ratio_highest": ratios[ratios.len() - 1],
        "bytes_per_case": bytes, "events_per_case": EVENTS.len(), "writers": AT_ONCE,
        "raw_rows_per_commit": together, "rounds": ROUNDS, "seconds": seconds,
    });
    drop(ledger);
    std::fs::remove_dir_all(folder).unwrap();
    told
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
    let ledger = open(folder);
    let (mut size, mut points) = (0, Vec::new());
    let mut next = 10_000;
    while next <= most {
        fill(&ledger, size, next);
        size = next;
        points.push(measured(&ledger, size));
        eprintln!("{}", points[points.len() - 1]);
        next *= 10;
    }
    let of = |point: &Value, what: &str| point[what].as_f64().unwrap();
    let grown = |what: &str| of(&points[points.len() - 1], what) / of(&points[0], what);
    let told = json!({
        "points": points,
        "last_over_first": {
            "append": grown("append_ms"), "append_together": grown("append_together_ms"),
            "proof": grown("proof_ms"), "case_read": grown("case_read_ms"),
        },
    });
    drop(ledger);
    std::fs::remove_dir_all(folder).unwrap();
    told
}

/// A step that visits every place of a log in an order that is not that of the disk.
const STRIDE: u64 = 7_919;

fn measured(ledger: &Arc<Ledger>, size: u64) -> Value {
    let digests = Digests::new();
    let cases = size / PER_CASE;
    let one = |number: u64| {
        let name = format!("grown_{size:010}_{number:06}");
        ledger.append(&batch(&name, 0, vec![event("counted", SMALL)], &digests), By::Anybody).unwrap();
    };
    // Warm, and a pool of keys made.
    timed(200, |number| one(number + 900_000));
    let mut append = timed(1000, one);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..AT_ONCE as u64 {
            let one = &one;
            scope.spawn(move || (0..100).for_each(|number| one(100_000 + writer * 1000 + number)));
        }
    });
    let together = began.elapsed().as_secs_f64() * 1000.0 / (AT_ONCE as f64 * 100.0);
    let root = ledger.checkpoint().unwrap().unwrap();
    let mut proof = timed(1000, |number| {
        let index = number * STRIDE % size;
        let leaf = ledger.store().range(index, 1).unwrap()[0].leaf;
        assert!(!merkle::inclusion(ledger.store(), root, index, &leaf).unwrap().is_empty());
    });
    let mut read = timed(2000, |number| {
        let stream = Stream::new(StreamKind::Case, name(number * STRIDE % cases));
        assert_eq!(ledger.stream(&stream, 0).unwrap().len() as u64, PER_CASE);
    });
    ledger.sign().unwrap();
    json!({
        "events": size, "append_ms": median(&mut append), "append_together_ms": together,
        "proof_ms": median(&mut proof), "case_read_ms": median(&mut read),
    })
}
