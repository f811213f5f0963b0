//! Forged logs: every bit, every cut, every order, and the holder of the signing key. Each is found.

use super::{Draw, all};
use prokura::base::{Digest, Timestamp};
use prokura::ledger::{
    Append, By, Ledger, LedgerSettings, NewEvent, Root, Stream, StreamKind, export, verify_export,
};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Half of them are under an earlier checkpoint, which a witness has.
const EVENTS: u64 = 1_000;

/// Cases of ten events, and every tenth stream one that is not encrypted.
fn written(folder: &std::path::Path, changed: Option<u64>) -> (Ledger, Option<Root>) {
    let ledger = LedgerSettings::default().open(folder).unwrap();
    let mut seen = None;
    for number in 0..EVENTS / 10 {
        let kind = if number % 10 == 9 { StreamKind::Stops } else { StreamKind::Case };
        let event = |n: u64| {
            let amount = if changed == Some(number * 10 + n) { 1_000_000 } else { n };
            NewEvent {
                at: Timestamp::from_millis(1_800_000_000_000 + number as i64),
                kind: "counted",
                body: json!({ "amount": amount }),
            }
        };
        let batch = Append {
            status: "running".into(),
            ..Append::kept(
                Stream::new(kind, format!("stream_{number}")),
                0,
                [("pack".to_owned(), Digest::of(b"pack"))].into(),
                (0..10).map(event).collect(),
            )
        };
        ledger.append(&batch, By::Anybody).unwrap();
        if number + 1 == EVENTS / 20 {
            seen = ledger.sign().unwrap();
        }
    }
    ledger.sign().unwrap();
    (ledger, seen)
}

fn exported(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(export(ledger.store(), None, &mut bytes).unwrap(), EVENTS);
    bytes
}

#[test]
fn every_forgery_of_an_export_is_found() {
    let start = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let (ledger, seen) = written(folder.path(), None);
    let (bytes, key, witnessed) =
        (exported(&ledger), ledger.signer().unwrap().public_key.clone(), [seen.unwrap()]);
    let intact = |bytes: &[u8], witnessed: &[Root]| {
        let told = verify_export(&mut &*bytes, &key, witnessed);
        told.damage.is_none().then_some((told.entries, told.signed, told.witnessed))
    };
    assert_eq!(intact(&bytes, &witnessed), Some((EVENTS, EVENTS, EVENTS / 2)));

    let bits = chosen_bits(&bytes);
    each_in_lanes(
        &bits,
        || bytes.clone(),
        |forged, bit| {
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(intact(forged, &[]), None, "bit {bit} of {:?}", line_of(&bytes, bit / 8));
            forged[bit / 8] ^= 1 << (bit % 8);
        },
    );
    let bits_done = start.elapsed().as_secs();

    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1).collect();
    let mut draw = Draw::new();
    let mut cuts: Vec<usize> = ends.iter().copied().filter(|end| *end < bytes.len()).collect();
    cuts.extend((0..1_000).map(|_| draw.below(bytes.len() as u64) as usize));
    cuts.retain(|_| all() || draw.percent(10));
    each_in_lanes(&cuts, || (), |(), cut| assert_eq!(intact(&bytes[..cut], &[]), None, "cut at {cut}"));

    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut pairs: Vec<usize> = (0..lines.len() - 1).collect();
    pairs.retain(|_| all() || draw.percent(10));
    each_in_lanes(
        &pairs,
        || lines.clone(),
        |swapped, at| {
            swapped.swap(at, at + 1);
            assert_eq!(intact(&swapped.concat(), &[]), None, "lines {at} and {} swapped", at + 1);
            swapped.swap(at, at + 1);
        },
    );

    // Whoever has the signing key writes another history from any event on: the export alone shows nothing, the witness does.
    let changed: Vec<u64> = (0..EVENTS / 2).filter(|_| draw.percent(if all() { 20 } else { 1 })).collect();
    for event in &changed {
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir(other.path().join("keys")).unwrap();
        std::fs::copy(folder.path().join("keys/log.key"), other.path().join("keys/log.key")).unwrap();
        let forged = exported(&written(other.path(), Some(*event)).0);
        assert!(intact(&forged, &[]).is_some(), "a log that is signed anew is sound in itself");
        assert_eq!(intact(&forged, &witnessed), None, "event {event} was changed");
    }
    println!(
        "torture flips: {EVENTS} events, {} bytes: {} of {} bits in {bits_done} s, {} cuts, {} pairs of lines, {} histories \
         signed anew: all found; {} s",
        bytes.len(),
        bits.len(),
        bytes.len() * 8,
        cuts.len(),
        pairs.len(),
        changed.len(),
        start.elapsed().as_secs()
    );
}

fn line_of(bytes: &[u8], at: usize) -> String {
    let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&bytes[from..(at + 80).min(bytes.len())]).into_owned()
}

/// All, or of the lines of each kind one whole, and a few thousand of the others.
fn chosen_bits(bytes: &[u8]) -> Vec<usize> {
    let step = super::amount("PROKURA_TORTURE_STEP", 1, 0) as usize;
    if step > 0 {
        return (0..bytes.len() * 8).step_by(step).collect();
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut chosen = Vec::new();
    let mut from = 0;
    for (number, line) in lines.iter().enumerate() {
        // The header, the checkpoint, an encrypted entry, a plain one, and the end.
        if [0, 1, 2, 2 + 95, lines.len() - 1].contains(&number) {
            chosen.extend(from * 8..(from + line.len()) * 8);
        }
        from += line.len();
    }
    let mut draw = Draw::new();
    chosen.extend((0..2_000).map(|_| draw.below(bytes.len() as u64 * 8) as usize));
    chosen
}

/// Tries each, on every processor.
fn each_in_lanes<T>(tried: &[usize], own: impl Fn() -> T + Sync, one: impl Fn(&mut T, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                let mut own = own();
                while let Some(at) = tried.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(&mut own, *at);
                }
            });
        }
    });
}
