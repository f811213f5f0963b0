//! What holds of every store: the same tests run on each.

use super::super::entry::{Once, Reservation, Stored, Stream, StreamKind, Sum, Total};
use super::super::{Keys, LedgerError, Secret};
use super::{Batch, By, Claim, KeyTable, OPTIONS, Postgres, Sqlite, Store};
use crate::base::outbound::Outbound;
use crate::base::postgres::cluster::Cluster;
use crate::base::postgres::{self, Server};
use crate::base::{SystemClock, Timestamp};
use std::sync::Arc;

/// Two handles of one store, as two nodes have them.
struct Tried {
    one: Arc<dyn Store>,
    two: Arc<dyn Store>,
    _kept: Box<dyn std::any::Any>,
}

fn sqlite() -> Tried {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(KeyTable::sqlite(&folder.path().join("keys.sqlite")).unwrap(), Secret::fresh());
    let keys = keys.unwrap();
    let open = || Arc::new(Sqlite::open(folder.path(), &keys, Arc::new(SystemClock)).unwrap());
    Tried { one: open(), two: open(), _kept: Box::new(folder) }
}

fn connections(cluster: &Cluster) -> postgres::Postgres {
    let server = Server::read(&cluster.url("admin", ""), false).unwrap();
    let outbound = Outbound::new([cluster.host()]).unwrap();
    let password = cluster.folder.path().join("admin");
    postgres::Postgres::new(server, Some(&password), None, OPTIONS, &outbound).unwrap()
}

/// As the administrator, once the server is up.
fn run(cluster: &Cluster, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(cluster.run(sql));
}

fn safe() -> Cluster {
    let cluster = Cluster::with(&["fsync=on"]);
    run(&cluster, "SELECT 1");
    cluster
}

fn postgres() -> Tried {
    let cluster = safe();
    let open = || Arc::new(Postgres::open(connections(&cluster)).unwrap());
    Tried { one: open(), two: open(), _kept: Box::new(cluster) }
}

#[test]
fn postgresql_is_brought_up_from_the_schema_before() {
    let cluster = safe();
    drop(Postgres::open(connections(&cluster)).unwrap());
    let before = "DROP INDEX heads_newest; CREATE INDEX heads_by_status ON heads (kind, status);
                  UPDATE schema_version SET version = 4;";
    run(&cluster, before);
    drop(Postgres::open(connections(&cluster)).unwrap());
    // Each of these fails if the index is not there, or still is.
    run(&cluster, "DROP INDEX heads_newest; CREATE INDEX heads_by_status ON heads (kind, status);");
}

macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite { $(#[test] fn $name() { super::$name(&super::sqlite()); })* }
        mod on_postgresql { $(#[test] fn $name() { super::$name(&super::postgres()); })* }
    };
}

on_every_store!(
    entries_come_back_in_order_and_streams_stay_apart,
    an_older_state_and_a_used_thing_write_nothing,
    one_of_many_opens_a_stream_and_places_have_no_gaps,
    a_claim_keeps_others_out_until_its_node_is_gone,
    what_is_due_is_taken_once,
    checkpoints_follow_each_other,
    streams_are_found_by_their_subjects_until_these_are_forgotten,
    reservations_at_once_see_those_before_them_and_no_others,
    what_came_to_nothing_counts_no_longer_and_what_is_old_lapses,
);

fn stream(name: &str) -> Stream {
    Stream::new(StreamKind::Case, name)
}

fn batch(name: &str, expected: u64, bodies: &[&str], by: By) -> Batch {
    let at = Timestamp::from_millis(1_000);
    let entry = |(body, seq): (&&str, u64)| {
        Stored::new((&stream(name).to_string(), seq), "counted", at, "{}", None, body.as_bytes())
    };
    Batch {
        stream: stream(name),
        expected,
        entries: bodies.iter().zip(expected..).map(entry).collect(),
        status: "running".to_owned(),
        key: Some("key".to_owned()),
        once: vec![],
        due: None,
        subjects: vec![],
        reserve: vec![],
        free: vec![],
        by,
    }
}

const HOUR: i64 = 3_600_000;

fn reserving(name: &str, scopes: &[&str], hour: i64, amount: i64) -> Batch {
    let reserved = Reservation {
        call: format!("{name}.c1"),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        at: Timestamp::from_millis(hour * HOUR + 1),
        currency: "EUR".to_owned(),
        amount,
    };
    Batch { reserve: vec![reserved], ..batch(name, 0, &["1"], By::Anybody) }
}

fn found(store: &dyn Store, name: &str, scope: &str) -> (Sum, Sum) {
    let totals = store.reserved(&format!("{name}.c1")).unwrap().unwrap();
    let total = totals.into_iter().find(|total| total.scope == scope).unwrap();
    (total.day, total.month)
}

fn reservations_at_once_see_those_before_them_and_no_others(tried: &Tried) {
    std::thread::scope(|threads| {
        for n in 0..40_i64 {
            let store = if n % 2 == 0 { &tried.one } else { &tried.two };
            // Half of them just before a new hour begins: those of the hour before still count.
            threads.spawn(move || {
                let own = format!("own {n}");
                let scopes = if n % 3 == 0 { ["all", own.as_str()] } else { [own.as_str(), "all"] };
                store.append(reserving(&format!("c{n:02}"), &scopes, 1_000 + n % 2, 7)).unwrap();
            });
        }
    });
    let at = Timestamp::from_millis(1_001 * HOUR + 1);
    let all = Total {
        scope: "all".to_owned(),
        currency: "EUR".to_owned(),
        day: Sum { count: 40, amount: 280 },
        month: Sum { count: 40, amount: 280 },
    };
    assert_eq!(tried.one.totals(vec!["all".to_owned(), "none".to_owned()], at).unwrap(), [all]);
    let mut seen: Vec<i64> =
        (0..40).map(|n| found(&*tried.two, &format!("c{n:02}"), "all").1.count).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert_eq!(found(&*tried.one, "c07", "own 7").0, Sum { count: 1, amount: 7 });
}

fn what_came_to_nothing_counts_no_longer_and_what_is_old_lapses(tried: &Tried) {
    let store = &*tried.one;
    let day = |hour: i64| {
        let totals = store.totals(vec!["s".to_owned()], Timestamp::from_millis(hour * HOUR)).unwrap();
        totals.first().map(|total| (total.day.amount, total.month.amount, total.month.count))
    };
    store.append(reserving("a", &["s"], 100, 5)).unwrap();
    store.append(reserving("b", &["s"], 110, 3)).unwrap();
    assert_eq!((day(110), day(125), day(820)), (Some((8, 8, 2)), Some((3, 8, 2)), Some((0, 8, 2))));
    assert_eq!((day(825), day(831)), (Some((0, 3, 1)), None));
    let free = |call: &str, name: &str, expected| {
        store
            .append(Batch { free: vec![call.to_owned()], ..batch(name, expected, &["2"], By::Anybody) })
            .unwrap();
    };
    free("a.c1", "a", 1);
    // Once is all that it counted.
    free("a.c1", "a", 2);
    free("unknown", "a", 3);
    assert_eq!(day(110), Some((3, 3, 1)));
    assert!(store.reserved("a.c1").unwrap().is_none());
    store.forget_subjects(&[stream("b")]).unwrap();
    assert!(store.reserved("b.c1").unwrap().is_none());
    // What is forgotten of a case is whose it was, not that something was done.
    assert_eq!(day(110), Some((3, 3, 1)));
    // An append that is refused reserves nothing.
    store.append(batch("c", 0, &["1"], By::Anybody)).unwrap();
    assert!(store.append(reserving("c", &["s"], 110, 50)).is_err());
    assert_eq!(day(110), Some((3, 3, 1)));
}

fn bodies(store: &dyn Store, name: &str) -> Vec<String> {
    let rows = store.stream(&stream(name), 0).unwrap();
    rows.iter().map(|row| String::from_utf8(row.body.clone()).unwrap()).collect()
}

fn entries_come_back_in_order_and_streams_stay_apart(tried: &Tried) {
    tried.one.append(batch("a", 0, &["1", "2"], By::Anybody)).unwrap();
    tried.two.append(batch("b", 0, &["\u{0}\u{e4}"], By::Anybody)).unwrap();
    tried.two.append(batch("a", 2, &["3"], By::Anybody)).unwrap();
    assert_eq!(bodies(&*tried.one, "a"), ["1", "2", "3"]);
    assert_eq!(tried.one.stream(&stream("a"), 2).unwrap().len(), 1);
    assert!(tried.one.stream(&stream("c"), 0).unwrap().is_empty());
    assert_eq!(tried.one.sequence().unwrap(), 4);
    let all = tried.two.range(0, 10).unwrap();
    assert_eq!(all.iter().map(|row| row.index).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(3)]);
    assert!(all.iter().all(|row| row.leaf == row.computed_leaf()));
    assert_eq!(tried.two.range(3, 10).unwrap().len(), 1);
    let head = tried.two.head(&stream("a")).unwrap().unwrap();
    assert_eq!((head.length, head.status.as_str(), head.key.as_deref()), (3, "running", Some("key")));
    assert_eq!(tried.one.heads(StreamKind::Case, Some("running"), None).unwrap().len(), 2);
    assert!(tried.one.heads(StreamKind::Case, Some("closed"), None).unwrap().is_empty());
    assert!(tried.one.heads(StreamKind::Stops, None, None).unwrap().is_empty());
    let newest = |status| -> Vec<String> {
        let heads = tried.one.heads(StreamKind::Case, status, Some(1)).unwrap();
        heads.into_iter().map(|head| head.name).collect()
    };
    let all: Vec<String> =
        tried.one.heads(StreamKind::Case, None, None).unwrap().into_iter().map(|head| head.name).collect();
    assert_eq!((newest(None), newest(Some("running"))), (all[..1].to_vec(), all[..1].to_vec()));
}

fn an_older_state_and_a_used_thing_write_nothing(tried: &Tried) {
    let once = |key: &str, value: &str| Once { scope: "jti".into(), key: key.into(), value: value.into() };
    tried.one.append(Batch { once: vec![once("k", "a")], ..batch("a", 0, &["1"], By::Anybody) }).unwrap();
    let conflict = tried.two.append(batch("a", 0, &["2"], By::Anybody)).unwrap_err();
    assert!(matches!(conflict, LedgerError::Conflict { expected: 0, actual: 1, .. }), "{conflict}");
    let used = Batch { once: vec![once("new", "b"), once("k", "b")], ..batch("b", 0, &["1"], By::Anybody) };
    let used = tried.two.append(used).unwrap_err();
    assert!(matches!(&used, LedgerError::Used { value, .. } if value == "a"), "{used}");
    // Neither the entries nor the first of the two things.
    assert!(bodies(&*tried.one, "b").is_empty());
    assert_eq!(tried.one.claimed("jti", "new").unwrap(), None);
    assert_eq!(tried.one.claim(&once("x", "mine")).unwrap(), "mine");
    assert_eq!(tried.two.claim(&once("x", "theirs")).unwrap(), "mine");
    assert_eq!(tried.two.sequence().unwrap(), 1);
}

fn one_of_many_opens_a_stream_and_places_have_no_gaps(tried: &Tried) {
    let refused = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, refused) = (if thread % 2 == 0 { &tried.one } else { &tried.two }, &refused);
            scope.spawn(move || {
                for n in 0..10 {
                    store.append(batch(&format!("own-{thread}"), n, &["x"], By::Anybody)).unwrap();
                    match store.append(batch(&format!("shared-{n}"), 0, &["1", "2"], By::Anybody)) {
                        Ok(_) => {}
                        Err(LedgerError::Conflict { .. }) => {
                            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    store.sequence().unwrap();
                }
            });
        }
    });
    assert_eq!(refused.into_inner(), 7 * 10);
    let size = 8 * 10 + 2 * 10;
    assert_eq!(tried.one.sequence().unwrap(), size);
    let rows = tried.two.range(0, 1000).unwrap();
    assert_eq!(rows.iter().filter_map(|row| row.index).collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
    // Of each stream, the entries stand in their own order.
    for name in rows.iter().map(|row| &row.stream) {
        let seqs: Vec<u64> = rows.iter().filter(|row| row.stream == *name).map(|row| row.seq).collect();
        assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "{name}: {seqs:?}");
    }
}

fn a_claim_keeps_others_out_until_its_node_is_gone(tried: &Tried) {
    let (one, two) = (&*tried.one, &*tried.two);
    one.beat("n1", 60_000).unwrap();
    two.beat("n2", 60_000).unwrap();
    let first = one.append(batch("a", 0, &["1"], By::Claiming("n1".into()))).unwrap().unwrap();
    assert_eq!((first.epoch, first.attempts), (1, 1));
    // Another node's message is written, and the claim stays.
    assert_eq!(two.append(batch("a", 1, &["2"], By::Claiming("n2".into()))).unwrap(), None);
    assert_eq!(two.take_one(&stream("a"), "n2").unwrap(), None);
    assert!(one.holds(&first, "n1", 2).unwrap() && !one.holds(&first, "n1", 1).unwrap());
    assert!(!one.holds(&first, "n2", 2).unwrap());
    // The node ends; another takes over, and what the first one writes is refused.
    one.beat("n1", 1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!one.holds(&first, "n1", 2).unwrap(), "its time is over, though nobody took the stream");
    let second = two.take_one(&stream("a"), "n2").unwrap().unwrap();
    assert_eq!((second.epoch, second.attempts), (2, 2));
    let late = one.append(batch("a", 2, &["3"], By::Holder { epoch: 1, done: false })).unwrap_err();
    assert!(matches!(late, LedgerError::Lost { .. }), "{late}");
    // Also where the stream has grown since: it must not try again.
    let late = one.append(batch("a", 1, &["3"], By::Holder { epoch: 1, done: false })).unwrap_err();
    assert!(matches!(late, LedgerError::Lost { .. }), "{late}");
    one.release(&first, None, 0).unwrap();
    assert!(two.holds(&second, "n2", 2).unwrap(), "what was lost cannot be given up");
    let on = two.append(batch("a", 2, &["3"], By::Holder { epoch: 2, done: false })).unwrap().unwrap();
    assert_eq!((on.epoch, on.attempts), (2, 0));
    assert_eq!(two.append(batch("a", 3, &["4"], By::Holder { epoch: 2, done: true })).unwrap(), None);
    assert!(!two.holds(&second, "n2", 4).unwrap());
    let after = two.append(batch("a", 4, &["5"], By::Holder { epoch: 2, done: true })).unwrap_err();
    assert!(matches!(after, LedgerError::Lost { .. }), "{after}");
    assert_eq!(one.take_one(&stream("none"), "n1").unwrap(), None);
    // A node that does not know of its claim gets another; the one before is worth nothing.
    let unknown = one.append(batch("b", 0, &["1"], By::Claiming("n2".into()))).unwrap().unwrap();
    assert_eq!(one.take_one(&stream("b"), "n2").unwrap().unwrap().epoch, 2);
    assert!(!one.holds(&unknown, "n2", 1).unwrap());
    assert_eq!(two.held(StreamKind::Case, "n2").unwrap(), ["b"]);
    assert_eq!(two.held(StreamKind::Case, "n1").unwrap(), [""; 0]);
    assert_eq!(bodies(one, "a"), ["1", "2", "3", "4"]);
}

fn what_is_due_is_taken_once(tried: &Tried) {
    let now = tried.one.now().unwrap();
    for node in ["n1", "n2"] {
        tried.one.beat(node, 60_000).unwrap();
    }
    for n in 0..40 {
        let due = match n % 4 {
            0 => None,
            1 => Some(now.plus_millis(3_600_000)),
            _ => Some(now.plus_millis(-n)),
        };
        tried.one.append(Batch { due, ..batch(&format!("c{n:02}"), 0, &["x"], By::Anybody) }).unwrap();
    }
    let mut taken: Vec<Claim> = Vec::new();
    std::thread::scope(|scope| {
        let work = [(&tried.one, "n1"), (&tried.two, "n2"), (&tried.one, "n2")].map(|(store, node)| {
            scope.spawn(move || {
                let mut all = Vec::new();
                loop {
                    let some = store.take(StreamKind::Case, node, 3).unwrap();
                    if some.is_empty() {
                        return all;
                    }
                    all.extend(some);
                }
            })
        });
        taken.extend(work.into_iter().flat_map(|work| work.join().unwrap()));
    });
    let mut names: Vec<&str> = taken.iter().map(|claim| claim.stream.name.as_str()).collect();
    names.sort_unstable();
    let due: Vec<String> = (0..40).filter(|n| n % 4 > 1).map(|n| format!("c{n:02}")).collect();
    assert_eq!(names, due);
    assert!(taken.iter().all(|claim| (claim.epoch, claim.attempts) == (1, 1)));
    // Given up with a later time, one is due then; the others are when their nodes are gone.
    tried.one.release(&taken[0], Some(now.plus_millis(3_600_000)), 0).unwrap();
    tried.two.forget_nodes().unwrap();
    tried.two.beat("n3", 60_000).unwrap();
    let again = tried.two.take(StreamKind::Case, "n3", 100).unwrap();
    assert_eq!(again.len(), taken.len() - 1);
    assert!(again.iter().all(|claim| (claim.epoch, claim.attempts) == (2, 2)));
}

fn checkpoints_follow_each_other(tried: &Tried) {
    let tile = |hashes: &[u8]| super::Tile { level: 0, number: 0, hashes: hashes.to_vec() };
    let publish = |store: &dyn Store, before: Option<&[u8]>, size, note: &[u8]| {
        store.publish(before.map(<[u8]>::to_vec), vec![tile(note)], size, note.to_vec()).unwrap()
    };
    assert_eq!(tried.one.checkpoint().unwrap(), None);
    assert!(publish(&*tried.one, None, 1, b"one"));
    assert!(!publish(&*tried.two, None, 2, b"two"), "it did not know of the first");
    assert!(publish(&*tried.two, Some(b"one"), 2, b"two"));
    assert_eq!(tried.one.checkpoint().unwrap().unwrap(), b"two");
    assert_eq!(tried.one.checkpoints().unwrap(), [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(tried.one.tile(0, 0).unwrap().unwrap(), b"two");
    assert_eq!(tried.one.tile(0, 1).unwrap(), None);
}

fn streams_are_found_by_their_subjects_until_these_are_forgotten(tried: &Tried) {
    let write = |name: &str, expected, subjects: &[&str]| {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        tried.one.append(Batch { subjects, ..batch(name, expected, &["1"], By::Anybody) }).unwrap();
    };
    write("b", 0, &["customer 1"]);
    write("a", 0, &["customer 1", "record 2"]);
    write("a", 1, &["record 2", "customer 3"]);
    let of = |subject: &str| tried.two.streams_of(StreamKind::Case, subject).unwrap();
    assert_eq!(of("customer 1"), ["a", "b"]);
    assert_eq!(of("customer 9"), [""; 0]);
    let subjects = ["customer 1", "customer 3", "record 2"];
    assert_eq!(tried.two.subjects_of(&stream("a")).unwrap(), subjects);
    tried.one.forget_subjects(&[stream("a")]).unwrap();
    assert_eq!(of("customer 1"), ["b"]);
    assert_eq!(of("record 2"), [""; 0]);
    tried.two.note_subjects(&stream("a"), vec!["customer 4".to_owned()]).unwrap();
    assert_eq!(of("customer 4"), ["a"]);
}

#[test]
fn a_server_that_may_lose_what_it_confirmed_is_refused() {
    let cluster = Cluster::with(&["fsync=off"]);
    run(&cluster, "SELECT 1");
    let refused = Postgres::open(connections(&cluster)).err().unwrap().to_string();
    assert!(refused.contains("fsync = off"), "{refused}");
}

#[test]
fn entries_of_postgresql_are_final() {
    let cluster = safe();
    let store = Postgres::open(connections(&cluster)).unwrap();
    store.append(batch("a", 0, &["1"], By::Anybody)).unwrap();
    let change = |sql: &str| store.0.rows(sql.to_owned(), vec![]).map(drop);
    for sql in ["UPDATE entries SET at = 1", "DELETE FROM entries", "TRUNCATE entries CASCADE"] {
        assert!(change(sql).is_err(), "{sql}");
    }
    // The connections end while nobody looks; the next call opens others.
    run(&cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    let outcomes: Vec<bool> = (0..3).map(|_| store.stream(&stream("a"), 0).is_ok()).collect();
    assert_eq!(outcomes.last(), Some(&true), "{outcomes:?}");
}
