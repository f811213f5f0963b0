//! What was erased is nowhere: not in the store, its log, a backup of it, or anywhere for who has the master key.

use crate::stage::{Stage, incoming, verified};
use prokura::base::{CaseId, CustomerId, RecordId};
use prokura::cases::{Event, State, Status, erase, unfinished};
use prokura::intake::Identity;
use prokura::ledger::{
    Append, By, Digests, Key, LedgerError, NewEvent, Secret, Stream, StreamKind, Subject, master,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DAY: i64 = 86_400_000;

fn stream(case: &CaseId) -> Stream {
    Stream::new(StreamKind::Case, case.as_str())
}

fn ids<const N: usize>(ids: [&str; N]) -> [String; N] {
    ids.map(str::to_owned)
}

/// As if it were asked for so many days from now.
fn erased_after(stage: &Stage, days: i64, subjects: &[String]) -> prokura::cases::Erasure {
    let parts = stage.cases.parts();
    let now = parts.clock.now().plus_millis(days * DAY);
    erase(&parts.ledger, &Digests::new(), &parts.pack, (subjects, "test"), now).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_erased_when_nothing_holds_it_and_its_rule_is_told_when_one_does() {
    let stage = Stage::new().await;
    let refund = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    assert_eq!(refund.status, Status::Resolved);
    let asked = stage.send("Hallo, wie hoch ist mein Kontostand?", Identity::Anonymous).await;
    assert_eq!(asked.status, Status::WaitingCustomer);
    let mail = Identity::Claimed { from: "Max@Example.org".into() };
    let claimed = stage.send("Wie hoch ist mein Kontostand?", mail).await;
    let balance = stage.send("Wie hoch ist mein Kontostand?", verified("cus_015")).await;

    let found = erased_after(&stage, 0, &ids(["cus_015", "max@example.ORG", "cus_9999"]));
    assert_eq!(found.erased, [balance.case]);
    assert_eq!(found.unknown, ["cus_9999"]);
    let kept: Vec<_> = found.kept.iter().map(|kept| (&kept.case, kept.until.is_some())).collect();
    assert_eq!(kept, [(&refund.case, true), (&claimed.case, true)]);
    assert!(found.kept[0].reason.contains("HGB"), "{:?}", found.kept);
    assert!(found.kept[1].reason.contains("open"), "{:?}", found.kept);

    let found = erased_after(&stage, 31, &ids(["max@example.org"]));
    assert_eq!(found.erased, [claimed.case]);
    assert_eq!(erased_after(&stage, 2921, &ids(["cus_015"])).erased, []);
    assert_eq!(erased_after(&stage, 2923, &ids(["cus_015"])).erased, std::slice::from_ref(&refund.case));
    let gone = stage.cases.state(&refund.case).await.unwrap_err().to_string();
    assert!(gone.contains("were erased"), "{gone}");
    assert!(stage.cases.state(&asked.case).await.is_ok());
    // Twice is as once.
    assert_eq!(erased_after(&stage, 2923, &ids(["cus_015"])).unknown, ["cus_015"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_interrupted_is_told_and_ends_when_it_is_said_again() {
    let stage = Stage::new().await;
    let refund = stage.send("Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015")).await;
    let ledger = &stage.cases.parts().ledger;
    let late = stage.cases.parts().clock.now().plus_millis(3000 * DAY);
    // As far as the last event of the case and the note of it, and no further.
    let event = Event::Closed { by: "test".into() };
    let event = NewEvent { at: late, kind: event.kind(), body: serde_json::to_value(&event).unwrap() };
    let (length, digests) = (refund.length, Digests::new());
    let closed = Append::kept(stream(&refund.case), length, digests.clone(), vec![event]);
    ledger.append(&Append { status: "closed".into(), ..closed }, By::Anybody).unwrap();
    assert_eq!(unfinished(ledger).unwrap(), std::slice::from_ref(&refund.case));
    let body = serde_json::json!({"by": "test", "subjects": [], "erased": [refund.case], "kept": []});
    let erasures = Stream::new(StreamKind::Erasures, "erasures");
    ledger.note(&erasures, &digests, &NewEvent { at: late, kind: "erased", body }).unwrap();
    assert_eq!(unfinished(ledger).unwrap(), std::slice::from_ref(&refund.case));
    let more = incoming(refund.case.clone(), "Und?", verified("cus_015"));
    assert!(stage.cases.accept(more).await.unwrap_err().to_string().contains("erased"));
    // The rule that holds refunds counts from their own events, not from this one.
    assert_eq!(erased_after(&stage, 3000, &ids(["cus_015"])).erased, [refund.case]);
    assert_eq!(unfinished(ledger).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_of_two_customers_waits_for_both() {
    let stage = Stage::new().await;
    let state = stage.send("Wie hoch ist mein Kontostand?", verified("cus_015")).await;
    let ledger = &stage.cases.parts().ledger;
    let other = ledger.hidden(&Subject { kind: "customer", id: "cus_016".into() }).unwrap();
    ledger.store().note_subjects(&stream(&state.case), vec![other]).unwrap();
    let found = erased_after(&stage, 0, &ids(["cus_016"]));
    assert_eq!((found.erased.len(), found.kept.len()), (0, 1));
    assert!(found.kept[0].reason.contains("was not named"), "{:?}", found.kept);
    assert_eq!(erased_after(&stage, 0, &ids(["cus_015"])).erased, [state.case]);
}

/// What an attacker may have kept of a case, and what must be of no use.
struct Loot {
    case: CaseId,
    text: String,
    key: Key,
    wrapped: Vec<u8>,
}

fn wrapped(state: &Path, table: &str, name: &str) -> Vec<u8> {
    let connection = rusqlite::Connection::open(state.join("keys/keys.sqlite")).unwrap();
    let sql = format!("SELECT wrapped FROM {table} WHERE name = ?1");
    connection.query_row(&sql, [name], |row| row.get(0)).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(bytes, what).is_some()
}

/// PROKURA_TORTURE=all: a thousand.
fn subjects() -> usize {
    if std::env::var("PROKURA_TORTURE").as_deref() == Ok("all") { 1000 } else { 40 }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_erased_subjects_nothing_is_left_for_who_has_every_file_and_the_master_key() {
    let stage = Stage::new().await;
    let state = stage.directory.path();
    let ledger = &stage.cases.parts().ledger;
    let count = subjects();
    let mut loot = Vec::new();
    for number in 0..count + 5 {
        let text = format!("Wie hoch ist mein Kontostand? Kennwort Zaunkönig-{number:05}x");
        let done: State = stage.send(&text, verified(&format!("cus_{}", 2000 + number))).await;
        let key = ledger.key_of(&stream(&done.case)).unwrap();
        let wrapped = wrapped(state, "keys", &key.name);
        loot.push(Loot { case: done.case, text: format!("Zaunkönig-{number:05}x"), key, wrapped });
    }
    let (survivors, erased) = loot.split_at(5);
    let before = [wrapped(state, "named", "key-encryption key"), wrapped(state, "named", "names")];
    ledger.sign().unwrap();
    // A backup of the ledger, which keys are no part of.
    let backup = state.join("backup.sqlite");
    let copy = rusqlite::Connection::open(state.join("ledger.sqlite")).unwrap();
    copy.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    drop(copy);

    let wanted: Vec<String> = (5..count + 5).map(|number| format!("cus_{}", 2000 + number)).collect();
    let found = erased_after(&stage, 31, &wanted);
    let gone: BTreeSet<_> = erased.iter().map(|one| one.case.clone()).collect();
    assert_eq!(found.erased.into_iter().collect::<BTreeSet<_>>(), gone, "{:?}", found.kept);

    let master = master(&state.join("keys/master.key"), false).unwrap();
    let mut opened = BTreeSet::new();
    for file in files(state) {
        let bytes = std::fs::read(&file).unwrap();
        for one in erased {
            assert!(!holds(&bytes, one.text.as_bytes()), "plain text in {}", file.display());
            assert!(!holds(&bytes, &one.wrapped), "a wrapped key in {}", file.display());
            assert!(!holds(&bytes, one.key.secret.bytes()), "a key in {}", file.display());
        }
        for old in &before {
            assert!(!holds(&bytes, old), "an old wrapped key in {}", file.display());
        }
        // Whatever the master key opens, wherever it stands.
        for window in bytes.windows(72) {
            opened.extend(master.unwrap("key-encryption key", window).map(|key| *key.bytes()));
        }
    }
    assert_eq!(opened.len(), 1, "one key-encryption key, the new one");
    let new = Secret::of(&opened.pop_first().unwrap()).unwrap();
    for one in erased {
        assert!(new.unwrap(&one.key.name, &one.wrapped).is_none());
        assert!(matches!(ledger.stream(&stream(&one.case), 0), Err(LedgerError::Erased { .. })));
    }
    for one in survivors {
        let own = stage.cases.state(&one.case).await.unwrap();
        assert!(own.messages[0].text.contains(&one.text));
    }
    ledger.sign().unwrap();
    let verified = ledger.verify(&[], true).unwrap();
    assert_eq!((verified.damage, verified.unsigned), (None, 0));
    println!("erased {count} subjects; {} entries verify", verified.signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_people_whom_a_look_up_came_upon_are_an_id_and_a_score() {
    let stage = Stage::new().await;
    let state = stage.send(crate::stage::MESSAGE, verified("cus_001")).await;
    let facts = state.facts.unwrap();
    assert_eq!(facts.selected, [RecordId::new("acc_001")]);
    assert!(facts.candidates.len() > 1);
    for other in &facts.candidates {
        assert_eq!(other.matched.is_empty(), other.id.as_str() != "acc_001", "{other:?}");
    }
    let owner = facts.records.iter().map(|record| record.owner.clone());
    assert_eq!(owner.collect::<Vec<_>>(), [CustomerId::new("cus_001")]);
}
