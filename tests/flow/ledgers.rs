//! Ledgers of earlier programs are opened, and their cases stand where they stood.

use crate::stage::root;
use prokura::base::CaseId;
use prokura::cases::{Packs, load_pack, replay};
use prokura::ledger::{LedgerSettings, Stream, StreamKind};
use rusqlite::Connection;
use std::collections::BTreeMap;
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
