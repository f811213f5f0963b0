//! SIGKILL at random moments, over and over: what was acknowledged is finished, and the bank acts once.

use super::bank::{Place, free_address};
use super::{Draw, Tally, all, amount, judge};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After so many kills there is a new bank and a new state: the bank has customers for no more.
const ROUND: u64 = 250;

/// So many clients write at the same time.
const CLIENTS: usize = 3;

/// Every answer of the bank takes so long, so that many deaths are around one.
const SLOWNESS: u64 = 15;

#[test]
fn a_service_that_is_killed_again_and_again_loses_no_case_and_doubles_no_effect() {
    let start = Instant::now();
    let kills = amount("PROKURA_TORTURE_KILLS", 5_000, 15);
    let mut draw = Draw::new();
    let seed = draw.0;
    let rounds: Vec<(u64, Draw)> =
        (0..kills.div_ceil(ROUND)).map(|n| ((kills - n * ROUND).min(ROUND), Draw(draw.next()))).collect();
    let (waiting, tallies) = (Mutex::new(rounds.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..if all() { 2 } else { 1 } {
            scope.spawn(|| {
                loop {
                    let Some((kills, draw)) = waiting.lock().unwrap().next() else { return };
                    let tally = round(kills, draw);
                    let mut tallies = tallies.lock().unwrap();
                    tallies.push(tally);
                    eprintln!(
                        "torture kills: {} rounds done, {} s",
                        tallies.len(),
                        start.elapsed().as_secs()
                    );
                }
            });
        }
    });
    let mut whole = Tally::default();
    for tally in tallies.into_inner().unwrap() {
        whole.cases += tally.cases;
        whole.done += tally.done;
        whole.unknown += tally.unknown;
    }
    assert!(whole.done as u64 >= kills / 2, "too little was under way: {whole}");
    println!("torture kills: {kills} kills, seed {seed}, {whole}, {} s", start.elapsed().as_secs());
}

fn round(kills: u64, mut draw: Draw) -> Tally {
    let place = Place::new();
    place.bank.switch(&serde_json::json!({"slowness": SLOWNESS}));
    let (state, address) = (place.state("state"), free_address());
    let (over, told) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let mut node = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| write(&place, address, &over, &told));
        }
        for _ in 0..kills {
            let mut node = place.serve_at(&state, address);
            // Some die while they start, and find what the one before left.
            if draw.percent(75) {
                assert!(node.ready(), "it does not start again");
            }
            std::thread::sleep(Duration::from_millis(draw.below(250)));
            node.process.kill();
        }
        let mut node = place.serve_at(&state, address);
        assert!(node.ready());
        over.store(true, Ordering::Relaxed);
        node
    });
    let mut cases = BTreeMap::new();
    for (customer, id) in told.into_inner().unwrap() {
        cases.insert(id.clone(), node.ended(&id, Duration::from_secs(60)));
        if cases.len() % 50 == 0 {
            let again = place.open(address, &customer).unwrap().1;
            assert_eq!(again["case"], id.as_str(), "the same key is another case now");
        }
    }
    let tally = judge(&cases, &place.bank.effects());
    node.process.kill();
    place.verify(&state);
    tally
}

/// One message after the other, each until it is acknowledged.
fn write(place: &Place, address: SocketAddr, over: &AtomicBool, told: &Mutex<BTreeMap<String, String>>) {
    while !over.load(Ordering::Relaxed) {
        let customer = place.bank.customer();
        let id = loop {
            match TcpStream::connect(address).and_then(|_| place.open(address, &customer)) {
                Ok((201 | 202, case)) => break case["case"].as_str().unwrap().to_owned(),
                Ok(other) => panic!("{customer} is refused: {other:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        told.lock().unwrap().insert(customer, id);
    }
}
