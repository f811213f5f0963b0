//! An origin and a machine that follows it, in one process: what is asked for stands in for the network.

use super::super::{Options, Policies, Question, follow, forget, index, parse_date, rollback, take_from};
use super::*;
use crate::base::{Language, Timestamp};
use crate::understanding::{Schema, Understanding};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

fn shipped() -> &'static Understanding {
    static SHIPPED: OnceLock<Understanding> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    SHIPPED.get_or_init(|| {
        Understanding::load(&root.join("models/default"), &Schema::read(&root.join("config")).unwrap())
            .unwrap()
    })
}

fn options() -> Options<'static> {
    Options {
        language: Language::En,
        now: Timestamp::from_millis(1_790_000_000_000),
        models: Some(shipped()),
        bar: None,
        kept: None,
    }
}

fn publish(state: &Path, bodies: &[&str]) -> Digest {
    let line = |(n, body): (usize, &&str)| {
        serde_json::json!({"id": format!("d{n}"), "title": "Fees", "content": body}).to_string()
    };
    let file = state.join("set.jsonl");
    fs::write(&file, bodies.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    index(state, &[file], options(), &|_, _| {}).unwrap().generation
}

/// What the origin's routes answer, and every path that was asked for.
fn answering(origin: &Path) -> (Arc<Ask>, Arc<Mutex<Vec<String>>>) {
    let (state, asked) = (origin.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let ask = move |path: &str, most: u64| {
        log.lock().unwrap().push(path.to_owned());
        let bytes = answer(&state, path).ok_or("status 404")?;
        if bytes.len() as u64 > most { Err("too long".to_owned()) } else { Ok(bytes) }
    };
    (Arc::new(ask), asked)
}

fn answer(state: &Path, path: &str) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(ROUTE)?;
    if rest.is_empty() {
        return serde_json::to_vec(&offer(state).ok()?).ok();
    }
    match rest[1..].split_once("/files/") {
        None => serde_json::to_vec(&offered(state, &rest[1..]).unwrap()?).ok(),
        Some((digest, name)) => {
            let name = name.replace("%2F", "/");
            fs::read(offered_file(state, digest, &name).unwrap()?).ok()
        }
    }
}

fn says(policies: &Policies) -> (Digest, String) {
    let question = Question::public("fee", parse_date("2026-09-21").unwrap());
    let grounds = policies.search(&question, Some(shipped())).unwrap();
    let fee = grounds.passages.iter().find(|passage| passage.text.contains("fee")).unwrap();
    (grounds.generation, fee.text.clone())
}

#[test]
fn what_another_machine_built_answers_here_and_only_what_is_new_is_asked_for() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = publish(origin.path(), &["The fee is five euros.", "Cards are free."]);
    let (ask, asked) = answering(origin.path());
    let found = fetch(here.path(), &*ask).unwrap();
    assert_eq!((found.fetched, found.current), (vec![first.clone()], Some(first.clone())));
    let policies = Policies::open(here.path()).unwrap();
    assert_eq!(says(&policies), (first.clone(), "The fee is five euros.".to_owned()));

    let second = publish(origin.path(), &["The fee is six euros.", "Cards are free."]);
    asked.lock().unwrap().clear();
    let found = policies.fetch(&*ask, true).unwrap();
    assert_eq!((&found.fetched, &found.current), (&vec![second.clone()], &Some(second.clone())));
    assert_eq!(says(&policies), (second.clone(), "The fee is six euros.".to_owned()));
    let packs = asked.lock().unwrap().iter().filter(|path| path.contains("/files/vectors%2F")).count();
    assert_eq!(packs, 1, "the pack of what did not change is here");
    // A case that began with it searches it here, too.
    assert_eq!(policies.pinned(&first).unwrap().digest(), &first);

    asked.lock().unwrap().clear();
    assert_eq!(policies.fetch(&*ask, true).unwrap(), Fetched::default());
    assert_eq!(*asked.lock().unwrap(), [ROUTE]);
    rollback(origin.path(), first.as_str(), options(), &|_, _| {}).unwrap();
    assert_eq!(policies.fetch(&*ask, true).unwrap().current, Some(first.clone()));
    assert_eq!(says(&policies).0, first);

    // What the origin lets go goes here as well, unless it is needed.
    forget(origin.path(), Timestamp::from_millis(i64::MAX), &BTreeSet::new()).unwrap();
    let kept = offered_now(&*ask).unwrap();
    let all = Timestamp::from_millis(i64::MAX);
    let needed: BTreeSet<Digest> = kept.iter().chain([&second]).cloned().collect();
    assert_eq!(forget(here.path(), all, &needed).unwrap(), []);
    assert_eq!(forget(here.path(), all, &kept).unwrap(), [second]);
    assert_eq!(fetch(here.path(), &*ask).unwrap(), Fetched::default());
}

/// As `ask`, but that what stands at paths with this ending has one wrong byte.
fn with_a_wrong_byte(ask: &Arc<Ask>, ending: String) -> Arc<Ask> {
    let ask = Arc::clone(ask);
    Arc::new(move |path: &str, most: u64| {
        let mut bytes = ask(path, most)?;
        if path.ends_with(&ending) {
            let middle = bytes.len() / 2;
            match bytes.get_mut(middle) {
                Some(byte) => *byte ^= 1,
                None => bytes.push(0),
            }
        }
        Ok(bytes)
    })
}

#[test]
fn a_wrong_byte_changes_nothing_and_is_told_until_the_right_one_comes() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = publish(origin.path(), &["The fee is five euros."]);
    let (ask, _) = answering(origin.path());
    fetch(here.path(), &*ask).unwrap();
    let policies = Policies::open(here.path()).unwrap();
    let second = publish(origin.path(), &["The fee is six euros."]);
    let files = offered(origin.path(), second.as_str()).unwrap().unwrap().files;
    assert!(files.len() > 6 && files[0].name == MANIFEST, "{files:?}");
    let begun = root(here.path()).join(format!("{FETCHING}{}", second.hex()));
    for OfferedFile { name, .. } in files {
        let wrong = with_a_wrong_byte(&ask, format!("/files/{}", percent_encoded(&name)));
        let error = policies.fetch(&*wrong, true).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains(second.as_str()), "{name}: {error}");
        assert_eq!((says(&policies).0, policies.behind()), (first.clone(), Some(error)));
        assert!(!place(&root(here.path()), &begun, &name).exists(), "{name}");
    }
    // An origin that is away says nothing about what is here.
    let behind = policies.behind();
    let away = |_: &str, _: u64| Err("no connection".to_owned());
    assert!(matches!(policies.fetch(&away, true), Err(PolicyError::Origin { .. })));
    assert_eq!(policies.behind(), behind);
    assert_eq!(policies.fetch(&*ask, true).unwrap().current, Some(second.clone()));
    assert_eq!((says(&policies).0, policies.behind()), (second, None));
}

#[test]
fn a_transfer_that_was_cut_off_goes_on_where_it_was() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let generation = publish(origin.path(), &["The fee is five euros."]);
    let (ask, asked) = answering(origin.path());
    let files = offered(origin.path(), generation.as_str()).unwrap().unwrap().files.len();
    for cut in 0..files {
        let (own, given) = (Arc::clone(&ask), AtomicUsize::new(0));
        let cut_off = move |path: &str, most: u64| {
            let more = !path.contains("/files/") || given.fetch_add(1, Ordering::Relaxed) == 0;
            if more { own(path, most) } else { Err("no complete answer".to_owned()) }
        };
        let done = fetch(here.path(), &cut_off);
        assert_eq!(done.is_ok(), cut + 1 == files, "{cut}: {done:?}");
    }
    let mut asked: Vec<String> =
        asked.lock().unwrap().iter().filter(|path| path.contains("/files/")).cloned().collect();
    asked.sort();
    let mut once = asked.clone();
    once.dedup();
    assert_eq!((asked.len(), once), (files, asked));
    assert_eq!(Policies::open(here.path()).unwrap().current(None).digest(), &generation);
    // What was begun of a generation that is gone is removed; a damaged one is fetched anew.
    let begun = root(here.path()).join(format!("{FETCHING}{}", "0".repeat(64)));
    fs::create_dir(&begun).unwrap();
    let documents = root(here.path()).join(generation.hex()).join("documents.jsonl");
    fs::write(&documents, "{}").unwrap();
    assert!(Policies::open(here.path()).is_err());
    assert_eq!(fetch(here.path(), &*ask).unwrap().fetched, [generation]);
    assert!(Policies::open(here.path()).is_ok() && !begun.exists());
}

#[test]
fn what_answers_is_had_without_what_does_not() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = publish(origin.path(), &["The fee is four euros."]);
    let (ask, _) = answering(origin.path());
    fetch(here.path(), &*ask).unwrap();
    let policies = Policies::open(here.path()).unwrap();
    let lost = publish(origin.path(), &["The fee is five euros."]);
    let third = publish(origin.path(), &["The fee is six euros."]);
    let wrong = with_a_wrong_byte(&ask, format!("{ROUTE}/{lost}/files/{MANIFEST}"));
    let found = policies.fetch(&*wrong, true).unwrap();
    assert_eq!((&found.fetched, found.left.len()), (&vec![third.clone()], 1));
    assert_eq!(policies.fetch(&*wrong, false).unwrap(), Fetched::default());
    let fourth = publish(origin.path(), &["The fee is seven euros."]);
    let found = policies.fetch(&*wrong, false).unwrap();
    assert_eq!((&found.fetched, found.left.len()), (&vec![fourth.clone()], 0));
    assert_eq!(says(&policies), (fourth, "The fee is seven euros.".to_owned()));
    assert!(policies.pinned(&first).is_ok() && policies.pinned(&lost).is_err());
    assert_eq!(policies.fetch(&*ask, true).unwrap().fetched, [lost]);
}

#[test]
fn no_name_leads_out_of_a_generation() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = publish(origin.path(), &["The fee is five euros."]);
    publish(origin.path(), &["The fee is six euros."]);
    fs::write(root(origin.path()).join("secret"), "x").unwrap();
    let file = |digest: &str, name: &str| offered_file(origin.path(), digest, name).unwrap();
    assert!(file(first.as_str(), MANIFEST).is_some() && file(first.as_str(), "documents.jsonl").is_some());
    let other = Digest::of(b"other").hex().to_owned();
    for name in ["../secret", "../current", "/etc/passwd", "", ".", "tantivy", &format!("vectors/{other}")] {
        assert_eq!(file(first.as_str(), name), None, "{name}");
    }
    for digest in ["", "..", first.hex(), &format!("sha256:{other}")] {
        assert_eq!(file(digest, MANIFEST), None, "{digest}");
    }
    // Nor does one that an origin names.
    let (ask, _) = answering(origin.path());
    for name in ["../secret", "/tmp/secret", "a/../../secret", "", &format!("vectors/../{other}")] {
        let (own, name) = (Arc::clone(&ask), name.to_owned());
        let lying = move |path: &str, most: u64| {
            let bytes = own(path, most)?;
            let Ok(mut listed) = serde_json::from_slice::<Offered>(&bytes) else { return Ok(bytes) };
            listed.files[1].name.clone_from(&name);
            Ok(serde_json::to_vec(&listed).unwrap())
        };
        let error = fetch(here.path(), &lying).unwrap_err();
        assert!(matches!(error, PolicyError::NotFetched { .. }), "{error}");
        assert_eq!(generations(&root(here.path())).unwrap(), []);
    }
}

#[test]
fn who_has_another_machines_policies_publishes_none() {
    let (origin, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let generation = publish(origin.path(), &["The fee is five euros."]);
    let (ask, _) = answering(origin.path());
    take_from(here.path(), Some("https://a:7180")).unwrap();
    fetch(here.path(), &*ask).unwrap();
    let set = [origin.path().join("set.jsonl")];
    for refused in [
        index(here.path(), &set, options(), &|_, _| {}).err(),
        rollback(here.path(), generation.as_str(), options(), &|_, _| {}).err(),
    ] {
        let refused = refused.unwrap().to_string();
        assert!(refused.contains("https://a:7180") && refused.contains("`from`"), "{refused}");
    }
    // A bundle whose vectors have come may read.
    let following = follow(here.path(), options(), &|_, _| {}).unwrap();
    assert_eq!((following.published.generation.clone(), following.published.built), (generation, false));
    drop(following);
    take_from(here.path(), None).unwrap();
    assert!(index(here.path(), &set, options(), &|_, _| {}).is_ok());
}
