//! Ledgers of earlier programs are opened, and their cases stand where they stood.

use crate::stage::root;
use prokura::base::{CaseId, Clock, Digest, SystemClock};
use prokura::cases::{Comparison, Packs, erase, load_pack, replay};
use prokura::ledger::{Digests, LedgerSettings, Stream, StreamKind};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Stream, number and kind of an event, and its body.
type Events = BTreeMap<(String, u64), (String, String)>;

fn of_schema_1(file: &std::path::Path) -> (Events, BTreeMap<String, String>) {
    let connection = Connection::open(file).unwrap();
    let mut events = connection.prepare("SELECT stream, seq, kind, body FROM entries").unwrap();
    let events =
        events.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))).unwrap();
    let events: Events = events.map(Result::unwrap).collect();
    let mut heads = connection.prepare("SELECT name, status FROM heads WHERE kind = 'case'").unwrap();
    let heads = heads.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let heads = heads.map(Result::unwrap).collect();
    (events, heads)
}

#[test]
fn a_ledger_of_schema_1_comes_to_the_same_states_and_loses_its_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let file = state.join("ledger.sqlite");
    std::fs::copy(root().join("tests/ledgers/1.sqlite"), &file).unwrap();
    let (events, statuses) = of_schema_1(&file);
    assert_eq!((events.len(), statuses.len()), (42, 5));
    assert!(holds(&state, "abgebucht"), "the copy has no plain text to lose");

    let settings = LedgerSettings::default();
    let ledger = Arc::new(settings.open(&state).unwrap());
    let pack = load_pack(&root().join("config"), None).map_err(|found| format!("{found:?}")).unwrap().pack;
    let packs = Packs::new(Arc::clone(&ledger), &state, Arc::new(pack));
    let mut seen = 0;
    for (case, status) in &statuses {
        let entries = ledger.stream(&Stream::new(StreamKind::Case, case.as_str()), 0).unwrap();
        for entry in &entries {
            let (kind, body) = &events[&(entry.stream.clone(), entry.seq)];
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&entry.kind, &entry.body), (kind, &body));
            seen += 1;
        }
        let key = ledger.key_of(&Stream::new(StreamKind::Case, case.as_str())).unwrap().secret;
        let replayed = replay(&CaseId::new(case.as_str()), &entries, &packs, &key).unwrap();
        assert_eq!(replayed.state.status.as_str(), status, "{case}");
    }
    assert_eq!(seen, events.len());
    assert!(!holds(&state, "abgebucht"), "plain text is left");
    ledger.sign().unwrap();
    let found = ledger.verify(&[], true).unwrap();
    assert_eq!((found.signed, found.damage), (42, None));
    drop((ledger, packs));
    // Once is enough.
    assert_eq!(settings.open(&state).unwrap().store().sequence().unwrap(), 42);
}

#[test]
fn a_damaged_ledger_of_schema_1_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.sqlite");
    std::fs::copy(root().join("tests/ledgers/1.sqlite"), &file).unwrap();
    let change = "DROP TRIGGER entries_are_final; UPDATE entries SET at = at + 1 WHERE position = 7";
    Connection::open(&file).unwrap().execute_batch(change).unwrap();
    let error = LedgerSettings::default().open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("entry 7 of a ledger of schema 1"), "{error}");
    assert_eq!(of_schema_1(&file).0.len(), 42);
}

/// Whether any file of a folder holds this text.
fn holds(folder: &std::path::Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| match path.is_dir() {
        true => holds(&path, text),
        false => std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()),
    })
}

fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copied(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_ledger_of_schema_2_comes_to_the_same_states_and_knows_whom_it_is_about() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    copied(&root().join("tests/ledgers/2"), &state);
    let statuses = {
        let connection = Connection::open(state.join("ledger.sqlite")).unwrap();
        let mut heads = connection.prepare("SELECT name, status FROM heads WHERE kind = 'case'").unwrap();
        let heads = heads.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        heads.map(Result::unwrap).collect::<BTreeMap<String, String>>()
    };
    let ends: BTreeSet<&str> = statuses.values().map(String::as_str).collect();
    assert_eq!(ends, ["resolved", "waiting_approval", "waiting_customer", "with_human"].into());
    let ledger = Arc::new(LedgerSettings::default().open(&state).unwrap());
    let before = ledger.verify(&[], true).unwrap();
    assert_eq!((before.damage, before.unsigned), (None, 0));
    let pack = load_pack(&root().join("config"), None).map_err(|found| format!("{found:?}")).unwrap().pack;
    let pack = Arc::new(pack);
    let packs = Packs::new(Arc::clone(&ledger), &state, Arc::clone(&pack));
    for (case, status) in &statuses {
        let stream = Stream::new(StreamKind::Case, case.as_str());
        let (entries, key) = (ledger.stream(&stream, 0).unwrap(), ledger.key_of(&stream).unwrap().secret);
        let replayed = replay(&CaseId::new(case.as_str()), &entries, &packs, &key).unwrap();
        assert_eq!(replayed.state.status.as_str(), status, "{case}");
        // It was another program that decided, with a pack that is not here: that is no mismatch.
        let comparison = replayed.comparison(&entries, &Digest::of(b"this one"));
        assert!(matches!(comparison, Comparison::Same | Comparison::OtherProgram), "{comparison:?}");
    }
    let later = SystemClock.now().plus_millis(31 * 86_400_000);
    let wanted = ["cus_001".to_owned()];
    let found = erase(&ledger, &Digests::new(), &pack, (&wanted, "test"), later).unwrap();
    assert_eq!((found.erased.len(), found.kept.len(), found.unknown.len()), (1, 0, 0));
    ledger.sign().unwrap();
    assert_eq!(ledger.verify(&[], true).unwrap().damage, None);
}

#[test]
fn a_ledger_whose_keys_are_missing_is_refused_and_none_are_made() {
    for missing in ["keys/keys.sqlite", "keys/log.key", "keys"] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        copied(&root().join("tests/ledgers/2"), &state);
        let gone = state.join(missing);
        if gone.is_dir() {
            std::fs::remove_dir_all(&gone).unwrap();
        } else {
            std::fs::remove_file(&gone).unwrap();
        }
        let refused = LedgerSettings::default().open(&state).err().unwrap().to_string();
        assert!(refused.contains("it is missing"), "{missing}: {refused}");
        assert!(!state.join("keys/log.pub").exists() && !gone.is_file());
    }
}

#[test]
fn a_tile_that_is_not_full_is_held_against_the_entries_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    copied(&root().join("tests/ledgers/2"), &state);
    let open = || LedgerSettings::default().open(&state).unwrap();
    assert_eq!(open().verify(&[], true).unwrap().damage, None);
    let change = "UPDATE tiles SET hashes = zeroblob(length(hashes))";
    assert_eq!(Connection::open(state.join("ledger.sqlite")).unwrap().execute(change, []).unwrap(), 1);
    let found = open().verify(&[], true).unwrap().damage.unwrap();
    assert!(found.reason.contains("edge of the tree"), "{found:?}");
}
