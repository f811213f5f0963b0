//! The database goes away and comes back while two nodes work: every case ends, and the bank acts once.

use super::pair::Pair;
use super::{Draw, all, amount};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Every answer of the bank takes so long, so that the database goes away around calls, too.
const SLOWNESS: u64 = 15;

#[test]
fn a_database_that_restarts_again_and_again_loses_no_case_and_doubles_no_effect() {
    let start = Instant::now();
    let wanted = amount("PROKURA_TORTURE_CASES", 5_000, 60) as usize;
    let mut draw = Draw::new();
    let seed = draw.0;
    let pair = Pair::new(|place| [place.bank.address; 2]);
    pair.place.bank.switch(&serde_json::json!({"slowness": SLOWNESS}));
    let over = AtomicBool::new(false);
    let mut restarts = 0;
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (pair, over) = (&pair, &over);
            scope.spawn(move || pair.write(client % 2, Duration::ZERO, over));
        }
        while pair.told().len() < wanted || restarts < 2 {
            let (least, most) = if all() { (5_000, 40_000) } else { (1_000, 3_000) };
            std::thread::sleep(Duration::from_millis(least + draw.below(most - least)));
            let mut cluster = pair.cluster.lock().unwrap();
            cluster.stop(["QUIT", "INT"][restarts % 2]);
            std::thread::sleep(Duration::from_millis(draw.below(2_000)));
            cluster.start();
            restarts += 1;
            assert!(
                start.elapsed() < Duration::from_secs(3_600),
                "only {} cases in an hour",
                pair.told().len()
            );
        }
        over.store(true, Ordering::Relaxed);
    });
    let tally = pair.settle();
    assert!(tally.done >= wanted / 2, "the bank was hardly asked: {tally}");
    println!(
        "torture restarts: {restarts} restarts of PostgreSQL, immediate and fast in turns, seed {seed}, {tally}, {} s",
        start.elapsed().as_secs()
    );
}
