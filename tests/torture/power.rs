//! The power fails: what was not synchronised is on the disk in part, or not at all. From a recording of what the service
//! wrote, disks are built as a loss of power may leave them at any moment, and opened.

use super::bank::{Place, free_address};
use super::disk::{Did, Disk, recorded};
use super::tracing::{recording, refused};
use super::{Draw, amount};
use prokura::ledger::{Ledger, LedgerError, LedgerSettings, Stream, StreamKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Enough for the write-ahead log to be written back: a case takes some 30 pages of the 1,000.
const CASES: usize = 24;

/// What stands in the ledger of each case: hash, kind and body of every entry.
type Streams = BTreeMap<String, Vec<(String, String, String)>>;

#[test]
fn nothing_that_was_told_is_lost_with_the_power() {
    let place = Place::new();
    let start = Instant::now();
    let state = place.state("state");
    let Some(did) = record(&place, &state) else { return refused() };
    let truth = read(&LedgerSettings::default().open(&state).unwrap()).unwrap();
    let told = did.iter().filter(|did| matches!(did, Did::Told(_) | Did::Sent(_))).count();
    assert!(told >= 2 * CASES, "{told} messages to somebody outside were recorded");
    let later = did.iter().skip_while(|did| !matches!(did, Did::Told(_)));
    assert!(
        later.clone().any(|did| did.syncs("ledger.sqlite")),
        "the write-ahead log was never written back"
    );

    let images = amount("PROKURA_TORTURE_IMAGES", 1_000, 100);
    let mut trial = Trial { place: &place, truth: &truth, draw: Draw::new() };
    for number in 0..images {
        let lost = trial.image(&did, number);
        assert!(lost.is_empty(), "image {number}: {lost:?}");
    }
    // The same with a database that waits for nothing, as `PRAGMA synchronous` has it: such disks must show it.
    let without = |ending: &str| -> Vec<Did> {
        did.iter().map(|did| if did.syncs(ending) { Did::Nothing } else { did.clone() }).collect()
    };
    let mut first = images;
    let controls = [without("ledger.sqlite-wal"), without("")].map(|did| {
        let lost =
            (first..first + images / 4).filter(|number| !trial.image(&did, *number).is_empty()).count();
        first += images / 4;
        assert!(lost > 0, "a disk that is not synchronised loses nothing: the images prove nothing");
        lost
    });
    println!(
        "torture power: {} writes and syncs, {images} images with 0 of what was told lost; without the syncs of the log {} of \
         {} lose some, without any {}; {} s",
        did.len(),
        controls[0],
        images / 4,
        controls[1],
        start.elapsed().as_secs()
    );
}

/// What the service does to its state, through a sudden end and a second start.
fn record(place: &Place, state: &Path) -> Option<Vec<Did>> {
    let mut did = Vec::new();
    for run in 0..2 {
        let out = place.at(&format!("trace-{run}"));
        let mut service = place.serve_under(recording(&out), state, free_address(), &place.config);
        if !service.ready() {
            return None;
        }
        for _ in 0..CASES {
            let (status, case) = place.open(service.address, &place.bank.customer()).unwrap();
            assert!([201, 202].contains(&status), "{case}");
            let case = service.ended(case["case"].as_str().unwrap(), Duration::from_secs(20));
            assert_eq!(case["calls"][0]["outcome"], "done", "{case:#}");
        }
        service.process.kill();
        recorded(&out, state, &mut did);
    }
    Some(did)
}

fn read(ledger: &Ledger) -> Result<Streams, LedgerError> {
    let heads = ledger.heads(StreamKind::Case, None, None)?;
    let entries = |head: &prokura::ledger::Head| {
        let entries = ledger.stream(&Stream::new(StreamKind::Case, head.name.as_str()), 0)?;
        Ok::<_, LedgerError>(
            entries.into_iter().map(|e| (e.hash.to_string(), e.kind, e.body.to_string())).collect(),
        )
    };
    heads.iter().map(|head| Ok((head.name.clone(), entries(head)?))).collect()
}

struct Trial<'a> {
    place: &'a Place,
    truth: &'a Streams,
    draw: Draw,
}

impl Trial<'_> {
    /// Builds the disk as one loss of power leaves it and opens it. Returns what was told and is not there.
    fn image(&mut self, did: &[Did], number: u64) -> Vec<String> {
        let outside: Vec<usize> =
            (0..did.len()).filter(|at| matches!(did[*at], Did::Told(_) | Did::Sent(_))).collect();
        // Every other time just when something was told; and often before anything was, in the very first start.
        let end = match number % 4 {
            0 | 2 => outside[self.draw.below(outside.len() as u64) as usize] + 1,
            1 => self.draw.below(outside[0] as u64) as usize,
            _ => self.draw.below(did.len() as u64) as usize,
        };
        // Each has a name of its own: a ledger's threads close their files when they come to it, and remove them by name.
        let folder = self.place.at(&format!("image-{number}"));
        Disk::after(&did[..end]).build(&folder, &mut self.draw);
        let found = std::panic::catch_unwind(|| open(&folder))
            .unwrap_or_else(|_| panic!("image {number}, after {end} of {}", did.len()));
        std::fs::remove_dir_all(&folder).unwrap();
        self.missing(&did[..end], found)
    }

    fn missing(&self, did: &[Did], found: Result<Streams, String>) -> Vec<String> {
        let found = match found {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let mut missing = Vec::new();
        for (case, entries) in &found {
            if !self.truth.get(case).is_some_and(|truth| truth.starts_with(entries)) {
                missing.push(format!("{case} is not what was written"));
            }
        }
        for did in did {
            let (case, told) = match did {
                // The case had ended by then: everything of it was told.
                Did::Told(case) => (case.as_str(), self.truth[case].len()),
                // Whoever asks the bank for something has written so before.
                Did::Sent(key) => {
                    let case = key.rsplit_once(".c").unwrap().0;
                    let intended =
                        |e: &(String, String, String)| e.1 == "intended" && e.2.contains(key.as_str());
                    (case, self.truth[case].iter().position(intended).unwrap() + 1)
                }
                _ => continue,
            };
            let there = found.get(case).map_or(0, Vec::len);
            if there < told {
                missing.push(format!("{there} of {told} entries of {case}"));
            }
        }
        missing
    }
}

/// Opens the ledger and verifies it; then what is in it, or why it cannot be opened.
fn open(folder: &Path) -> Result<Streams, String> {
    let ledger = LedgerSettings::default().open(folder).map_err(|error| error.to_string())?;
    let verified = ledger.verify(&[], true).map_err(|error| error.to_string())?;
    match verified.damage {
        Some(damage) => Err(format!("{damage:?}")),
        None => read(&ledger).map_err(|error| error.to_string()),
    }
}
