//! A node stands still in the middle of its work, past its lease, while the other takes over; then it wakes up. What it
//! has lost it does not do.

use super::bank::Place;
use super::pair::Pair;
use super::{Draw, Tally, all, amount};
use prokura::base::{Clock, SystemClock};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than a node's lease.
const STILL: Duration = Duration::from_secs(16);

/// Every answer of the bank takes so long, so that cases are acknowledged before they end, and a node is often stopped
/// around a call.
const SLOWNESS: u64 = 150;

/// So many stops are one pair's; pairs stand beside each other, because a stop is waiting for the lease.
const PAIRS: u64 = 4;

/// The keys that a node ordered something with, and when.
type Orders = Arc<Mutex<Vec<(Instant, String)>>>;

#[derive(Default)]
struct Found {
    tally: Tally,
    /// Cases that were under way when a node was stopped, and that the other one ended.
    taken: usize,
    /// Orders that a node sent when it woke up, for what it had lost.
    late: usize,
}

#[test]
fn a_node_that_wakes_up_does_nothing_that_another_has_taken_over() {
    let start = Instant::now();
    let stops = amount("PROKURA_TORTURE_STOPS", 200, 2);
    let pairs = if all() { PAIRS.min(stops) } else { 1 };
    let mut draw = Draw::new();
    let seed = draw.0;
    let found: Vec<Found> = std::thread::scope(|scope| {
        let one = |n| {
            let own = Draw(draw.next());
            scope.spawn(move || round(stops / pairs + u64::from(n < stops % pairs), own))
        };
        let pairs: Vec<_> = (0..pairs).map(one).collect();
        pairs.into_iter().map(|pair| pair.join().unwrap()).collect()
    });
    let mut whole = Found::default();
    for found in found {
        whole.tally.cases += found.tally.cases;
        whole.tally.done += found.tally.done;
        whole.tally.unknown += found.tally.unknown;
        whole.taken += found.taken;
        whole.late += found.late;
    }
    assert!(
        whole.taken as u64 >= stops / 2,
        "the nodes were stopped while they did nothing: {}",
        whole.taken
    );
    println!(
        "torture stopped: {stops} stops, seed {seed}, {} cases taken over, {} orders sent too late, 0 of them an effect, {}, \
         {} s",
        whole.taken,
        whole.late,
        whole.tally,
        start.elapsed().as_secs()
    );
}

fn round(stops: u64, mut draw: Draw) -> Found {
    let orders: [Orders; 2] = Default::default();
    let pair = Pair::new(|place| [0, 1].map(|node| watched(place, &orders[node])));
    pair.place.bank.switch(&serde_json::json!({"slowness": SLOWNESS}));
    let over = AtomicBool::new(false);
    let (mut taken, mut late, mut ended) = (0, 0, BTreeSet::new());
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (pair, over) = (&pair, &over);
            scope.spawn(move || pair.write(client % 2, Duration::from_millis(200), over));
        }
        // A failure here must not wait for clients that nobody tells to end.
        let ending = Ending(&over);
        for _ in 0..stops {
            std::thread::sleep(Duration::from_millis(500 + draw.below(1_000)));
            let (sleeper, other) = if draw.percent(50) { (0, 1) } else { (1, 0) };
            pair.nodes[sleeper].process.signal("STOP");
            let stopped = Instant::now();
            let waking = Waking(&pair, sleeper);
            let running = |id: &String| pair.nodes[other].case(id).unwrap()["status"] == "running";
            taken += pair.told().values().filter(|id| !ended.contains(*id) && running(id)).count();
            std::thread::sleep(STILL.saturating_sub(stopped.elapsed()));
            let known: BTreeSet<String> = pair.told().values().cloned().collect();
            for id in known.difference(&ended) {
                let case = pair.nodes[other].ended(id, Duration::from_secs(60));
                assert_ne!(case["status"], "running", "not taken over: {case:#}");
            }
            let (woken, at) = (Instant::now(), SystemClock.now().to_string());
            drop(waking);
            std::thread::sleep(Duration::from_secs(2));
            ended = known;
            let of = |key: &str| ended.contains(key.rsplit_once(".c").unwrap().0);
            let sent = orders[sleeper].lock().unwrap();
            late += sent.iter().filter(|(when, key)| *when >= woken && of(key)).count();
            for effect in pair.place.bank.effects() {
                let after = effect["at"].as_str().unwrap() >= at.as_str();
                assert!(
                    !after || !of(effect["key"].as_str().unwrap()),
                    "done when its case had ended: {effect}"
                );
            }
        }
        drop(ending);
    });
    Found { tally: pair.settle(), taken, late }
}

/// Tells the clients to end, however this ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Wakes the node up.
struct Waking<'a>(&'a Pair, usize);

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        self.0.nodes[self.1].process.signal("CONT");
    }
}

/// An address that passes everything on to the bank, and notes what is ordered.
fn watched(place: &Place, orders: &Orders) -> SocketAddr {
    let (listener, bank) = (TcpListener::bind("127.0.0.1:0").unwrap(), place.bank.address);
    let address = listener.local_addr().unwrap();
    let orders = Arc::clone(orders);
    std::thread::spawn(move || {
        for node in listener.incoming() {
            let (Ok(node), Ok(bank), orders) = (node, TcpStream::connect(bank), Arc::clone(&orders)) else {
                return;
            };
            let (back, to) = (bank.try_clone().unwrap(), node.try_clone().unwrap());
            std::thread::spawn(move || pass(back, to, |_| {}));
            std::thread::spawn(move || pass(node, bank, |text| note(text, &orders)));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, seen: impl Fn(&str)) {
    let mut bytes = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        seen(&String::from_utf8_lossy(&bytes[..length]));
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// The head of a request comes whole: it is written at once.
fn note(text: &str, orders: &Orders) {
    let key = text.split_once("POST /cards/").and_then(|(_, rest)| rest.split_once("idempotency-key: "));
    if let Some(key) = key.and_then(|(_, rest)| rest.lines().next()) {
        orders.lock().unwrap().push((Instant::now(), key.to_owned()));
    }
}
