//! A process that dies, a disk that fails and a disk that is full, at every single call that the threads which write make
//! to the file system during a case.

use super::bank::{Node, Place};
use super::tracing::{CALLS, attach, refused, writers};
use super::{Draw, Tally, all, judge};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A write-ahead log of so many bytes is written back within the next cases: SQLite does that from 1,000 pages on.
const NEARLY_FULL: u64 = 920 * 4120;

/// After so many starts more it must have been.
const MOST_MORE: usize = 24;

/// How long after a case a checkpoint is signed at the latest.
const SIGNED: Duration = Duration::from_millis(1_300);

/// A call that was listed is made within so long, however slow the disk: case after case is opened until then.
const REACHED: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    Kill,
    Error,
    Full,
}

impl Fault {
    const fn injected(self) -> &'static str {
        match self {
            Self::Kill => "signal=KILL",
            Self::Error => "error=EIO",
            Self::Full => "error=ENOSPC",
        }
    }
}

/// The `nth` time that a thread makes a call.
#[derive(Clone, Debug)]
struct Point {
    writer: usize,
    call: String,
    nth: usize,
}

/// What came of one fault.
struct Struck {
    cases: BTreeMap<String, Value>,
    /// The service had to be started again.
    restarted: bool,
}

#[test]
fn every_call_to_the_disk_may_be_the_last_one_or_fail() {
    let place = Place::new();
    let start = Instant::now();
    let (template, mut cases) = nearly_full(&place);
    // The case that is listed is the one in which the log is written back.
    let mut listed = None;
    for number in 0..MOST_MORE {
        let Some((points, case, written_back)) = enumerate(&place, &template, number) else {
            return refused();
        };
        cases.extend([case]);
        if written_back {
            listed = Some(points);
            break;
        }
        // A start writes less than a case: no step is so long that the log is written back in the start alone.
        fill(&place, &template, &mut cases, |_| true);
    }
    let points = listed.expect("the write-ahead log was written back in none of the cases");
    let mut chosen: Vec<(Point, Fault)> = points
        .iter()
        .flat_map(|point| [Fault::Kill, Fault::Error, Fault::Full].map(|fault| (point.clone(), fault)))
        .collect();
    let mut draw = Draw::new();
    chosen.retain(|_| all() || draw.below(chosen_of(points.len())) == 0);
    let struck = in_lanes(&place, &template, &chosen);
    assert_eq!(struck.len(), chosen.len());
    let mut restarted = BTreeMap::new();
    for ((_, fault), struck) in chosen.iter().zip(struck) {
        *restarted.entry(format!("{fault:?}")).or_insert(0) += usize::from(struck.restarted);
        cases.extend(struck.cases);
    }
    let tally = judge(&cases, &place.bank.effects());
    println!(
        "torture points: {} calls of a case, {} faults of {} hit, started again after {restarted:?}, {tally}, {} s",
        points.len(),
        chosen.len(),
        points.len() * 3,
        start.elapsed().as_secs()
    );
}

/// One of so many is in the sample: about 18 faults.
fn chosen_of(points: usize) -> u64 {
    (points as u64 * 3 / 18).max(1)
}

/// A state whose write-ahead log is full enough, and the cases in it.
fn nearly_full(place: &Place) -> (std::path::PathBuf, BTreeMap<String, Value>) {
    let state = place.state("template");
    let mut cases = BTreeMap::new();
    let log = state.join("ledger.sqlite-wal");
    fill(place, &state, &mut cases, |_| std::fs::metadata(&log).unwrap().len() >= NEARLY_FULL);
    (state, cases)
}

/// Cases are written until it is enough; it is asked with how many there are.
fn fill(place: &Place, state: &Path, cases: &mut BTreeMap<String, Value>, enough: impl Fn(&usize) -> bool) {
    let mut service = place.serve(state);
    assert!(service.ready());
    let mut written = 0;
    while !enough(&written) {
        let (status, case) = place.open(service.address, &place.bank.customer()).unwrap();
        assert!([201, 202].contains(&status), "{case}");
        let id = case["case"].as_str().unwrap().to_owned();
        let ended = service.ended(&id, Duration::from_secs(20));
        cases.insert(id, ended);
        written += 1;
    }
    service.process.kill();
}

fn copy(template: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(template).arg(to).status().unwrap().success());
}

/// The calls of one case and the checkpoint after it, and whether the write-ahead log was written back.
fn enumerate(place: &Place, template: &Path, number: usize) -> Option<(Vec<Point>, (String, Value), bool)> {
    let state = place.at(&format!("enumerated-{number}"));
    copy(template, &state);
    let mut service = place.serve(&state);
    assert!(service.ready());
    let outs = [0, 1].map(|writer| place.at(&format!("calls-{number}-{writer}")));
    let mut straces = Vec::new();
    for (thread, out) in writers(&service).into_iter().zip(&outs) {
        straces.push(attach(thread, &["-y", "-e", CALLS], out)?);
    }
    let (_, case) = place.open(service.address, &place.bank.customer()).unwrap();
    let id = case["case"].as_str().unwrap().to_owned();
    let ended = service.ended(&id, Duration::from_secs(20));
    std::thread::sleep(SIGNED);
    drop(straces);
    let (mut points, mut written_back) = (Vec::new(), false);
    for (writer, out) in outs.iter().enumerate() {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for line in std::fs::read_to_string(out).unwrap().lines() {
            let Some((call, _)) = line.split_once('(').filter(|(call, _)| !call.contains(' ')) else {
                continue;
            };
            written_back |= call == "pwrite64" && line.contains("/ledger.sqlite>");
            let nth = times.entry(call.to_owned()).or_default();
            *nth += 1;
            points.push(Point { writer, call: call.to_owned(), nth: *nth });
        }
        println!("torture points: writer {writer} makes {times:?}");
    }
    assert!(points.len() > 100 && ended["calls"][0]["outcome"] == "done", "{points:?} {ended:#}");
    Some((points, (id, ended), written_back))
}

/// Several at a time: most of it is waiting.
fn in_lanes(place: &Place, template: &Path, chosen: &[(Point, Fault)]) -> Vec<Struck> {
    let struck = Mutex::new(BTreeMap::new());
    let next = Mutex::new(0..chosen.len());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(number) = next.lock().unwrap().next() else { return };
                    let (point, fault) = &chosen[number];
                    let state = place.at(&format!("state-{number}"));
                    copy(template, &state);
                    let found = strike(place, &state, point, *fault);
                    struck.lock().unwrap().insert(number, found);
                    std::fs::remove_dir_all(&state).unwrap();
                    let _ = std::fs::remove_dir_all(place.at(&format!("state-{number}-witness")));
                }
            });
        }
    });
    struck.into_inner().unwrap().into_values().collect()
}

/// One fault in a fresh state: whatever it hits, the case ends after it, and what was told stays true.
fn strike(place: &Place, state: &Path, point: &Point, fault: Fault) -> Struck {
    let what = format!("{fault:?} at {point:?}");
    let mut service = place.serve(state);
    assert!(service.ready(), "{what}");
    let out = state.join("calls");
    let inject = format!("inject={}:{}:when={}", point.call, fault.injected(), point.nth);
    let strace = attach(writers(&service)[point.writer], &["-e", CALLS, "-e", &inject], &out).unwrap();
    // The same key again is the same message: it is sent until it is acknowledged.
    let mut told: BTreeMap<String, Option<String>> = BTreeMap::new();
    let begun = Instant::now();
    while !hit(&mut service, &out) {
        assert!(begun.elapsed() < REACHED, "never reached: {what}");
        let customer = place.bank.customer();
        let answer = place.open(service.address, &customer).ok();
        told.insert(customer, answer.and_then(|answer| acknowledged(&answer)));
        let start = Instant::now();
        while !hit(&mut service, &out) && start.elapsed() < SIGNED {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(service.process.ended(), fault == Fault::Kill, "{what}");
    drop(strace);
    let restarted = fault == Fault::Kill || !goes_on(place, &service, &told);
    if restarted {
        service.process.kill();
        service = place.serve(state);
        assert!(service.ready(), "the service does not start after {what}");
    }
    let mut cases = BTreeMap::new();
    for (customer, told) in told {
        let id = until_acknowledged(place, &service, &customer);
        assert!(told.is_none_or(|told| told == id), "another case was told before {what}");
        let case = service.ended(&id, Duration::from_secs(30));
        let done = case["calls"][0]["outcome"] == "done";
        assert!(done || fault != Fault::Kill, "{what}: {case:#}");
        cases.insert(id, case);
    }
    service.process.kill();
    place.verify(state);
    let mut effects = place.bank.effects();
    effects
        .retain(|effect| cases.keys().any(|case| effect["key"].as_str().unwrap().starts_with(case.as_str())));
    let _: Tally =
        std::panic::catch_unwind(|| judge(&cases, &effects)).unwrap_or_else(|_| panic!("after {what}"));
    Struck { cases, restarted }
}

fn hit(service: &mut Node, out: &Path) -> bool {
    service.process.ended() || std::fs::read_to_string(out).unwrap().contains("(INJECTED)")
}

/// The case's id, once the service has said that it has the message.
fn acknowledged((status, body): &(u16, Value)) -> Option<String> {
    [201, 202].contains(status).then(|| body["case"].as_str().unwrap().to_owned())
}

fn until_acknowledged(place: &Place, service: &Node, customer: &str) -> String {
    let start = Instant::now();
    loop {
        let answer = place.open(service.address, customer).unwrap();
        if let Some(id) = acknowledged(&answer) {
            return id;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{customer} is refused: {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the service takes the same messages, and ends their cases, without being started again.
fn goes_on(place: &Place, service: &Node, told: &BTreeMap<String, Option<String>>) -> bool {
    told.keys().all(|customer| {
        let start = Instant::now();
        loop {
            let answer = place.open(service.address, customer).unwrap();
            if let Some(id) = acknowledged(&answer) {
                // What failed is tried again after a second or two.
                return service.ended(&id, Duration::from_secs(5))["status"] != "running";
            }
            if start.elapsed() > Duration::from_secs(2) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}
