//! The room with an encoder: what is found by meaning, what generations share, and how they follow a bundle.

use super::vectors::Heads;
use super::*;
use crate::base::{Language, Timestamp};
use crate::understanding::bundle::{self, Searching};
use crate::understanding::{Schema, Understanding, quantise};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn load(folder: &Path) -> Understanding {
    Understanding::load(folder, &Schema::read(&root().join("config")).unwrap()).unwrap()
}

fn shipped() -> &'static Understanding {
    static SHIPPED: OnceLock<Understanding> = OnceLock::new();
    SHIPPED.get_or_init(|| load(&root().join("models/default")))
}

fn options(models: &Understanding) -> Options<'_> {
    Options {
        language: Language::En,
        now: Timestamp::from_millis(1_790_000_000_000),
        models: Some(models),
        bar: None,
        kept: None,
    }
}

fn samples() -> &'static Policies {
    static SAMPLES: OnceLock<(tempfile::TempDir, Policies)> = OnceLock::new();
    let (_, policies) = SAMPLES.get_or_init(|| {
        let state = tempfile::tempdir().unwrap();
        index(state.path(), &[root().join("index/policies")], options(shipped()), &|_, _| {}).unwrap();
        let policies = Policies::open(state.path()).unwrap();
        (state, policies)
    });
    policies
}

fn question(text: &str) -> Question {
    Question::public(text, parse_date("2026-09-21").unwrap())
}

fn found(question: &Question) -> Grounds {
    samples().search(question, Some(shipped())).unwrap()
}

#[test]
fn what_shares_no_word_with_the_question_is_found() {
    for (text, documents) in [
        ("the machine ate my card", ["atm-cash-en"]),
        ("billed double for one purchase", ["duplicate-charges-en"]),
    ] {
        let found = found(&question(text));
        let first: Vec<&str> = found.passages.iter().take(3).map(|p| p.document.as_str()).collect();
        assert!(documents.iter().all(|document| first.contains(document)), "{text}: {first:?}");
    }
}

#[test]
fn what_is_not_for_somebody_is_never_near() {
    let mut asked =
        question("internal approval limit for refunds, fraud flag F2, who approves above the limit?");
    asked.top = 100;
    asked.each = Some(0);
    assert!(found(&asked).passages.iter().all(|p| p.audience == Audience::Public));
    asked.audience = Clearance::All;
    assert_eq!(found(&asked).passages[0].audience, Audience::Internal);
    asked.audience = Clearance::Public;
    asked.documents = Some(vec!["internal-approval-limits-en".to_owned()]);
    let nothing = found(&asked);
    assert!(nothing.passages.is_empty() && !nothing.answered);
}

#[test]
fn language_day_and_product_limit_what_is_near() {
    let mut german = question("fees for the account");
    german.language = Some(Language::De);
    let all = found(&german).passages;
    assert!(!all.is_empty() && all.iter().all(|p| p.language == Language::De));
    let mut early = question("Was kostet die Kontoführung im Monat?");
    early.documents = Some(vec!["fees-de".to_owned()]);
    for (day, version) in [("2025-12-31", "1.0"), ("2026-01-01", "2.0")] {
        early.as_of = parse_date(day).unwrap();
        let all = found(&early).passages;
        assert!(!all.is_empty() && all.iter().all(|p| p.version == version), "{day}");
    }
    let mut product = question("fees");
    product.product = Some("Nothing of that name".to_owned());
    assert!(found(&product).passages.is_empty());
}

#[test]
fn sentences_stand_where_they_say_and_an_answer_is_known_from_none() {
    let known = found(&question("What does a new PIN letter cost?"));
    assert!(known.answered, "{:?}", known.answerable);
    let generation = samples().current(shipped().searcher());
    for passage in &known.passages {
        assert!(generation.holds(passage));
        assert!((1..=3).contains(&passage.sentences.len()), "{passage:?}");
        for sentence in &passage.sentences {
            let quote = Passage {
                text: sentence.text.clone(),
                start: sentence.start,
                end: sentence.end,
                ..passage.clone()
            };
            assert!(generation.holds(&quote) && passage.text.contains(&sentence.text), "{sentence:?}");
        }
    }
    let unknown = found(&question("How long must sourdough rest before it goes into the oven?"));
    assert!(!unknown.answered && unknown.answerable < known.answerable, "{:?}", unknown.answerable);
    assert!(found(&question("")).passages.is_empty());
}

#[test]
fn the_same_question_finds_the_same_bits_again() {
    let asked = question("Wie entsperre ich mein Konto?");
    assert_eq!(found(&asked), found(&asked));
}

fn document(id: &str, body: &str) -> String {
    serde_json::json!({"id": id, "title": id, "content": body}).to_string()
}

fn packs(state: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(state.join("index/vectors")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_did_not_change_is_not_embedded_again() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let file = state.join("set.jsonl");
    let publish = |lines: &[String]| {
        fs::write(&file, lines.join("\n")).unwrap();
        index(state, std::slice::from_ref(&file), options(shipped()), &|_, _| {}).unwrap()
    };
    let all: Vec<String> =
        (0..5).map(|n| document(&format!("d{n}"), &format!("The fee is {n} euros."))).collect();
    let first = publish(&all);
    let before = packs(state);
    assert_eq!(before.len(), 1);
    let mut changed = all.clone();
    changed[3] = document("d3", "The fee is waived.");
    publish(&changed);
    let heads = Heads::read(&state.join("index"), shipped().searcher().unwrap()).unwrap();
    let new: Vec<String> = packs(state).difference(&before).cloned().collect();
    let [new] = &new[..] else { panic!("{new:?}") };
    assert_eq!(heads.documents(&crate::base::Digest::parse(&format!("sha256:{new}")).unwrap()), 1);

    // A generation that was lost, as by a build that was killed after its vectors were made, costs no embedding.
    let kept = packs(state);
    fs::remove_dir_all(state.join("index").join(first.generation.hex())).unwrap();
    assert!(publish(&all).built);
    assert_eq!(packs(state), kept);

    // Vectors that were damaged are found, and made again.
    let pack = state.join("index/vectors").join(before.first().unwrap());
    let mut bytes = fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pack, bytes).unwrap();
    assert!(matches!(Policies::open(state), Err(PolicyError::Damaged { .. })));
    assert!(publish(&all).built);
    assert!(Policies::open(state).is_ok());

    // What no generation needs goes with the generations.
    forget(state, Timestamp::from_millis(i64::MAX), &BTreeSet::new()).unwrap();
    assert_eq!(list(state).unwrap().len(), 1);
    assert_eq!(packs(state).len(), 1);
}

/// The shipped bundle with other vectors.
fn another(folder: &Path) -> Understanding {
    let shipped = root().join("models/default");
    let opened = bundle::open(&shipped).unwrap();
    let mut weights = quantise::full(&opened.weights).unwrap();
    weights.retain(|name, _| name.starts_with("search."));
    let piece = weights.get_mut("search.piece.weight").unwrap();
    *piece = piece.neg().unwrap();
    let searching = Searching { weights: &weights, calibration: &opened.calibration, card: &opened.card };
    bundle::searching(&shipped, folder, &searching, bundle::MOST_BYTES).unwrap();
    load(folder)
}

#[test]
fn a_generation_follows_its_encoder_and_each_finds_its_own() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let other = another(&state.join("bundle"));
    assert_ne!(other.searcher(), shipped().searcher());
    let file = state.join("set.jsonl");
    fs::write(&file, document("a", "The fee is five euros.")).unwrap();
    let first = index(state, std::slice::from_ref(&file), options(shipped()), &|_, _| {}).unwrap();
    let policies = Policies::open(state).unwrap();
    // Until it has a generation of its own, a bundle finds by words.
    let by_words = policies.search(&question("fee"), Some(&other)).unwrap();
    assert_eq!(by_words.generation, first.generation);
    assert!(by_words.passages[0].sentences.is_empty());

    let following = follow(state, options(&other), &|_, _| {}).unwrap();
    assert!(matches!(
        index(state, std::slice::from_ref(&file), options(shipped()), &|_, _| {}),
        Err(PolicyError::Busy { .. })
    ));
    let second = following.published.generation.clone();
    drop(following);
    let of = |models: &Understanding| policies.search(&question("fee"), Some(models)).unwrap();
    assert_eq!((of(shipped()).generation, of(&other).generation), (first.generation.clone(), second.clone()));
    assert_eq!(list(state).unwrap().iter().filter(|one| one.current).count(), 2);

    // What is published next has one encoder's vectors; the others find it by words, and nothing that is old.
    fs::write(&file, document("a", "The fee is six euros.")).unwrap();
    let third = index(state, std::slice::from_ref(&file), options(&other), &|_, _| {}).unwrap();
    assert_eq!(
        (of(shipped()).generation, of(&other).generation),
        (third.generation.clone(), third.generation)
    );
    assert!(policies.pinned(&first.generation).is_ok());
}

#[test]
fn what_is_rolled_back_to_has_its_vectors_before_it_answers() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let other = another(&state.join("bundle"));
    let file = state.join("set.jsonl");
    let publish = |fee: &str, models: &Understanding| {
        fs::write(&file, document("a", &format!("The fee is {fee} euros."))).unwrap();
        index(state, std::slice::from_ref(&file), options(models), &|_, _| {}).unwrap().generation
    };
    let first = publish("five", &other);
    let second = publish("six", shipped());
    let policies = Policies::open(state).unwrap();
    let found = || policies.search(&question("fee"), Some(shipped())).unwrap();
    let looks = std::cell::Cell::new(0);
    let meanwhile = |_, _| {
        let found = found();
        assert!(found.generation == second && !found.passages[0].sentences.is_empty());
        looks.set(looks.get() + 1);
    };
    let rolled = rollback(state, first.as_str(), options(shipped()), &meanwhile).unwrap();
    assert!(looks.get() > 0);
    let after = found();
    assert_eq!((&rolled.current, &rolled.previous), (&after.generation, &Some(second)));
    assert_ne!(rolled.current, first);
    assert!(after.passages[0].text.contains("five") && !after.passages[0].sentences.is_empty());
    assert_eq!(policies.search(&question("fee"), Some(&other)).unwrap().generation, first);
}

#[test]
fn too_few_answers_keep_what_is_current() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let file = state.join("set.jsonl");
    let bar = bar::RetrievalBar::parse(
        "bar.toml",
        "top = 1\nleast = 1.0\n[[question]]\nquery = \"what is the fee\"\ndocument = \"fees\"\n",
    )
    .unwrap();
    let with = Options { bar: Some(&bar), ..options(shipped()) };
    let publish = |lines: &[String]| {
        fs::write(&file, lines.join("\n")).unwrap();
        index(state, std::slice::from_ref(&file), with, &|_, _| {})
    };
    let fees = document("fees", "The fee is five euros.");
    let first = publish(&[fees.clone(), document("cards", "A card is sent by post.")]).unwrap();
    assert_eq!(first.tested.as_ref().map(|tested| (tested.asked, tested.passed)), Some((1, 1)));
    let worse = [document("fees", "Nothing."), document("cards", "What is the fee? The fee is six euros.")];
    let error = publish(&worse).unwrap_err();
    assert!(
        matches!(&error, PolicyError::BelowBar(tested) if tested.failed[0].found == ["cards"]),
        "{error}"
    );
    assert!(error.to_string().contains("`what is the fee` should find `fees`"), "{error}");
    assert_eq!(Policies::open(state).unwrap().current(shipped().searcher()).digest(), &first.generation);
    // Nor may all that is asked about be taken away from among the others.
    let error = publish(&[document("cards", "A card is sent by post.")]).unwrap_err();
    assert!(matches!(&error, PolicyError::BelowBar(tested) if tested.asked == 1), "{error}");
    // Questions about documents that are not there say nothing of quite others.
    let other = publish(&[document("loans", "A loan is repaid each month.")]).unwrap();
    assert!(other.tested.unwrap().enough);
    let wrong = bar::RetrievalBar::parse(
        "bar.toml",
        "top = 0\n[[question]]\nquery = \"\"\ndocument = \"a\"\naudience = \"X\"\n",
    );
    let lines: Vec<String> = wrong.unwrap_err().iter().map(ToString::to_string).collect();
    assert!(
        lines[0].starts_with("bar.toml:1: `top` is 0") && lines[1].starts_with("bar.toml:3: `query`"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("bar.toml:5: `audience` is `X`"), "{lines:?}");
}
