//! The room as its callers use it: publish, search, swap, damage.

use super::*;
use crate::base::{Digest, Language, Timestamp};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const OPTIONS: Options<'static> = Options {
    language: Language::En,
    now: Timestamp::from_millis(1_790_000_000_000),
    models: None,
    bar: None,
    kept: None,
};

fn publish(state: &Path, paths: &[PathBuf]) -> Published {
    index(state, paths, OPTIONS, &|_, _| {}).unwrap()
}

fn publish_lines(state: &Path, lines: &str) -> Published {
    let file = state.join("set.jsonl");
    fs::write(&file, lines).unwrap();
    publish(state, &[file])
}

fn question(text: &str) -> Question {
    Question { each: Some(0), ..Question::public(text, parse_date("2026-09-21").unwrap()) }
}

fn samples() -> &'static Policies {
    static SAMPLES: OnceLock<(tempfile::TempDir, Policies)> = OnceLock::new();
    let (_, policies) = SAMPLES.get_or_init(|| {
        let state = tempfile::tempdir().unwrap();
        publish(state.path(), &[Path::new(env!("CARGO_MANIFEST_DIR")).join("index/policies")]);
        let policies = Policies::open(state.path()).unwrap();
        (state, policies)
    });
    policies
}

fn best(question: &Question) -> (String, String) {
    let grounds = samples().search(question, None).unwrap();
    grounds.passages.first().map(|p| (p.document.clone(), p.section.join(" > "))).unwrap_or_default()
}

#[test]
fn questions_find_the_passage_that_answers_them() {
    for (text, document, section) in [
        ("Konto gesperrt, wie kann ich es entsperren?", "account-unlock-de", "Konto entsperren"),
        ("how do I unlock my account", "account-unlock-en", "Unlocking an account"),
        ("Wie hoch ist der Sollzins für die Überziehung?", "fees-de", "Zinsen"),
        ("Karte nicht angekommen", "card-delivery-de", "Karte nicht angekommen"),
    ] {
        assert_eq!(best(&question(text)), (document.to_owned(), section.to_owned()), "{text}");
    }
}

#[test]
fn the_version_in_force_on_the_day_answers() {
    for (day, version) in [("2025-12-31", Some("1.0")), ("2026-01-01", Some("2.0")), ("2023-12-31", None)] {
        let mut question = question("Kontoführung pro Monat Klassik");
        question.as_of = parse_date(day).unwrap();
        question.documents = Some(vec!["fees-de".to_owned()]);
        let grounds = samples().search(&question, None).unwrap();
        let versions: Vec<&str> = grounds.passages.iter().map(|p| p.version.as_str()).collect();
        assert!(versions.iter().all(|v| Some(*v) == version), "{day}: {versions:?}");
        assert_eq!(versions.is_empty(), version.is_none(), "{day}");
    }
}

#[test]
fn what_is_internal_is_found_by_insiders_only() {
    let mut question = question("Betrugskennzeichen F2 Geldwäsche Übergabe fraud escalation approval limit");
    question.top = 100;
    let public = samples().search(&question, None).unwrap();
    assert!(public.passages.iter().all(|p| p.audience == Audience::Public));
    question.audience = Clearance::All;
    let all = samples().search(&question, None).unwrap();
    assert_eq!(all.passages[0].audience, Audience::Internal);
    question.audience = Clearance::Public;
    question.documents = Some(vec!["internal-fraud-flag-de".to_owned()]);
    let asked_by_name = samples().search(&question, None).unwrap();
    assert!(asked_by_name.passages.is_empty() && asked_by_name.answerable.get() == 0.0);
}

#[test]
fn language_and_documents_limit_the_answer() {
    let mut german = question("account Konto");
    german.language = Some(Language::De);
    german.top = 100;
    let found = samples().search(&german, None).unwrap().passages;
    assert!(!found.is_empty() && found.iter().all(|p| p.language == Language::De));
    german.documents = Some(Vec::new());
    assert!(samples().search(&german, None).unwrap().passages.is_empty());
}

#[test]
fn answerable_is_higher_where_an_answer_is() {
    let answerable = |text| samples().search(&question(text), None).unwrap().answerable.get();
    let (known, unknown) =
        (answerable("unlock account at a branch"), answerable("bake bread with sourdough yeast"));
    assert!(known > 0.4 && unknown < 0.2 && unknown < known, "{known} {unknown}");
    assert_eq!(answerable(""), 0.0);
}

#[test]
fn every_quote_is_in_its_document() {
    let mut all =
        question("Konto Karte account card the die der und Zugang payment Zahlung transfer Überweisung");
    (all.audience, all.top) = (Clearance::All, 100);
    let grounds = samples().search(&all, None).unwrap();
    let generation = samples().current(None);
    assert!(grounds.passages.len() > 50);
    for passage in &grounds.passages {
        assert!(generation.holds(passage));
        let mut moved = passage.clone();
        moved.start += 1;
        assert!(!generation.holds(&moved));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_a_question(text in "(\\PC|[\"+*()\\[\\]{}:^~\\\\/&|!<>\u{0}\u{202e}]|AND|OR|NOT|konto|account| ){0,60}", top in 0_usize..1_000) {
        let mut question = question(&text);
        question.top = top;
        let grounds = samples().search(&question, None).unwrap();
        prop_assert!(grounds.passages.len() <= top.max(1));
        prop_assert!(grounds.passages.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }
}

#[test]
fn a_very_long_question_is_answered() {
    let text = "konto entsperren ".repeat(60_000);
    assert_eq!(best(&question(&text)).0, "account-unlock-de");
}

const FIRST: &str = r#"{"id": "a", "title": "Fees", "content": "The fee is five euros."}"#;
const SECOND: &str = r#"{"id": "a", "title": "Fees", "content": "The fee is six euros."}"#;

#[test]
fn a_running_handle_sees_what_is_published_and_rolled_back() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let error = Policies::open(state).err().unwrap().to_string();
    assert!(error.contains("prokura policies index index/policies"), "{error}");
    let first = publish_lines(state, FIRST);
    let policies = Policies::open(state).unwrap();
    let says = |text: &str| {
        let grounds = policies.search(&question("fee"), None).unwrap();
        assert!(grounds.passages[0].text.contains(text), "{grounds:?}");
        grounds.generation
    };
    assert_eq!(says("five"), first.generation);
    let second = publish_lines(state, SECOND);
    assert_eq!(second.previous, Some(first.generation.clone()));
    assert_eq!(says("six"), second.generation);

    // The same content again is the same generation.
    let again = publish_lines(state, FIRST);
    assert_eq!((again.built, &again.generation), (false, &first.generation));
    assert_eq!(says("five"), first.generation);
    let hex = &second.generation.hex()[..12];
    let rolled = rollback(state, hex, OPTIONS, &|_, _| {}).unwrap();
    assert_eq!(
        (rolled.current, rolled.previous),
        (second.generation.clone(), Some(first.generation.clone()))
    );
    assert_eq!(says("six"), second.generation);
    let listed = list(state).unwrap();
    assert_eq!(
        listed.iter().filter(|l| l.current).map(|l| &l.generation).collect::<Vec<_>>(),
        [&second.generation]
    );
    assert_eq!(listed.len(), 2);
    let old = open_generation(state, first.generation.as_str()).unwrap();
    let quote = policies.search(&question("fee"), None).unwrap().passages.remove(0);
    assert!(!old.holds(&quote) && policies.current(None).holds(&quote));
    assert!(
        rollback(state, "sha256:ffff", OPTIONS, &|_, _| {})
            .unwrap_err()
            .to_string()
            .contains(first.generation.as_str())
    );
    assert_eq!(diff(state, first.generation.as_str(), hex, &Clearance::All).unwrap().documents.len(), 1);
}

#[test]
fn a_damaged_generation_is_refused_and_rebuilt_and_a_running_handle_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let first = publish_lines(state, FIRST);
    let policies = Policies::open(state).unwrap();
    let second = publish_lines(state, SECOND);
    let folder = state.join("index").join(second.generation.hex());
    let documents = fs::read_to_string(folder.join("documents.jsonl")).unwrap();
    fs::write(folder.join("documents.jsonl"), documents.replace("six", "ten")).unwrap();

    let error = Policies::open(state).err().unwrap().to_string();
    assert!(error.contains("documents.jsonl") && error.contains(second.generation.as_str()), "{error}");
    assert!(rollback(state, second.generation.as_str(), OPTIONS, &|_, _| {}).is_err());
    let whole = verify(state, None).unwrap().into_iter().map(|one| (one.generation, one.whole));
    let mut expected = vec![(first.generation.clone(), true), (second.generation.clone(), false)];
    expected.sort();
    assert_eq!(whole.collect::<Vec<_>>(), expected);
    assert_eq!(policies.search(&question("fee"), None).unwrap().generation, first.generation);
    assert!(policies.fault().unwrap().contains("documents.jsonl"));

    // A manifest that was changed along with the file does not help: the folder's name covers the content.
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let (was, is) =
        (Digest::of(documents.as_bytes()), Digest::of(documents.replace("six", "ten").as_bytes()));
    fs::write(folder.join("manifest.json"), manifest.replace(was.as_str(), is.as_str())).unwrap();
    assert!(
        Policies::open(state).err().unwrap().to_string().contains("does not have the generation's digest")
    );

    assert!(publish_lines(state, SECOND).built);
    assert_eq!(policies.search(&question("fee"), None).unwrap().generation, second.generation);
    assert_eq!(policies.fault(), None);
    for file in fs::read_dir(folder.join("tantivy")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(Policies::open(state), Err(PolicyError::Damaged { .. })), "{path:?}");
        fs::write(&path, bytes).unwrap();
    }
    assert!(Policies::open(state).is_ok());
}

#[test]
fn passages_that_were_moved_together_with_the_manifest_are_found() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let folder = state.join("index").join(publish_lines(state, FIRST).generation.hex());
    let passages = fs::read_to_string(folder.join("passages.jsonl")).unwrap();
    let moved = passages.replacen("\"start\":0,", "\"start\":1,", 1);
    assert_ne!(passages, moved);
    fs::write(folder.join("passages.jsonl"), &moved).unwrap();
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let (was, is) = (Digest::of(passages.as_bytes()), Digest::of(moved.as_bytes()));
    fs::write(folder.join("manifest.json"), manifest.replace(was.as_str(), is.as_str())).unwrap();
    let verified = verify(state, None).unwrap().remove(0);
    assert!(!verified.whole && verified.reason.unwrap().contains("is not what the documents give"));
    fs::write(folder.join("passages.jsonl"), passages).unwrap();
    fs::write(folder.join("manifest.json"), manifest).unwrap();
    assert!(verify(state, None).unwrap().remove(0).whole);
}

#[test]
fn what_has_to_be_kept_is_not_taken_away_or_rolled_back_from() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let line = |id: &str| format!("{{\"id\":\"{id}\",\"title\":\"T\",\"content\":\"Text of {id}.\"}}\n");
    let first = publish_lines(state, &line("a"));
    let both = publish_lines(state, &(line("a") + &line("b")));
    let is_kept = |before: &[Document], after: &[Document]| {
        let has = |all: &[Document]| all.iter().any(|document| document.id == "b");
        (has(before) && !has(after)).then(|| "b".to_owned())
    };
    let with = Options { kept: Some(&is_kept), ..OPTIONS };
    let remove =
        |id: &str, options: Options| amend(state, (Vec::new(), &[id.to_owned()].into()), options, &|_, _| {});
    let error = remove("b", with).unwrap_err();
    assert!(matches!(&error, PolicyError::Cited(document) if document == "b"), "{error}");
    assert!(matches!(remove("c", with), Err(PolicyError::NoDocument(id)) if id == "c"));
    let back = |options: Options| rollback(state, first.generation.as_str(), options, &|_, _| {});
    assert!(matches!(back(with), Err(PolicyError::Cited(_))));
    assert_eq!(Policies::open(state).unwrap().current(None).digest(), &both.generation);
    assert_eq!(remove("a", with).unwrap().documents, 1);
    assert_eq!(back(OPTIONS).unwrap().current, first.generation);
}

#[test]
fn flaws_leave_the_current_generation_and_two_writers_do_not_meet() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let first = publish_lines(state, FIRST);
    let file = state.join("bad.md");
    fs::write(&file, "---\nvalid_from: soon\n---\nText").unwrap();
    let options = Options {
        language: Language::En,
        now: Timestamp::from_millis(0),
        models: None,
        bar: None,
        kept: None,
    };
    assert!(matches!(index(state, &[file], options, &|_, _| {}), Err(PolicyError::Flaws(_))));
    let held = fs::File::create(state.join("index/lock")).unwrap();
    held.lock().unwrap();
    let set = [state.join("set.jsonl")];
    assert!(matches!(index(state, &set, options, &|_, _| {}), Err(PolicyError::Busy { .. })));
    drop(held);
    // What a killed build left behind goes with the next one.
    fs::create_dir(state.join("index/building_x")).unwrap();
    assert_eq!(publish_lines(state, FIRST).generation, first.generation);
    assert!(!state.join("index/building_x").exists());
}
