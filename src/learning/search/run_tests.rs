//! A training on four documents, from the folders to a bundle that finds them.

use super::*;
use crate::policy::Policies;
use serde_json::json;
use std::fs;

fn lines(values: &[serde_json::Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

fn options(folder: &Path, epochs: f64) -> Options {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = folder.join("data/tau_banking");
    fs::create_dir_all(&documents).unwrap();
    fs::create_dir_all(folder.join("own/questions")).unwrap();
    let bodies = [
        ("teal", "Withdrawals from machines abroad cost four euros each."),
        ("ochre", "The yearly price of the card is sixty euros."),
        ("mauve", "A lost card is replaced within three working days."),
        ("plum", "The password is changed in the settings of the app."),
    ];
    let set: Vec<_> =
        bodies.iter().map(|(id, text)| json!({"id": id, "title": "Card", "content": text})).collect();
    fs::write(documents.join("documents.jsonl"), lines(&set)).unwrap();
    let asked = [("teal", "zork"), ("ochre", "blick"), ("mauve", "snarf"), ("plum", "quux")];
    let question = |(id, query): &(&str, &str)| json!({"document": id, "at": [0, 9], "style": "keyword", "query": query, "language": "en"});
    let questions: Vec<_> = asked.iter().map(question).collect();
    fs::write(folder.join("own/questions/tau_banking.en.jsonl"), lines(&questions)).unwrap();
    fs::write(folder.join("own/questions/tau_banking.de.jsonl"), "").unwrap();
    Options {
        start: root.join("models/default"),
        out: folder.join("out"),
        data: folder.join("data"),
        own: folder.join("own"),
        policies: folder.join("policies"),
        config: root.join("config"),
        work: folder.join("work"),
        threads: 2,
        recipe: Recipe {
            rounds: 1,
            epochs,
            batch: 4,
            hard: 1,
            rate: 1e-3,
            dropout: 0.0,
            ..Recipe::default()
        },
    }
}

/// The losses of a run in their order, and what came of it.
fn trained(options: &Options) -> (Vec<f64>, Trained) {
    let mut losses = Vec::new();
    let done = run(options, &mut |note| {
        let nearest = note.split("nearest ").nth(1).and_then(|loss| loss.parse::<f64>().ok());
        losses.extend(nearest.filter(|_| note.contains("whole")));
    });
    (losses, done.unwrap())
}

#[test]
fn made_up_words_lead_to_their_documents_and_readings_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), 40.0);
    let (losses, done) = trained(&options);
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(losses.len() == done.steps && last < first / 4.0, "{losses:?}");
    let (before, after) = (bundle::open(&options.start).unwrap(), bundle::open(&options.out).unwrap());
    assert!(after.card.contains("## Search") && before.tokenizer == after.tokenizer);
    for (name, rows) in before.weights.matrices.iter().filter(|(name, _)| !name.starts_with("search.")) {
        assert_eq!(after.weights.matrices.get(name), Some(rows), "{name}");
    }
    for (name, values) in before.weights.vectors.iter().filter(|(name, _)| !name.starts_with("search.")) {
        assert_eq!(after.weights.vectors.get(name), Some(values), "{name}");
    }
    // The words are in no document: the search must have learned them.
    let models = Understanding::load(&options.out, &Schema::read(&options.config).unwrap()).unwrap();
    let collections = material::read(options.places(), &mut |_| {}).unwrap();
    let state = folder.path().join("state");
    generation(&state, &collections[0], &models).unwrap();
    let policies = Policies::open(&state).unwrap();
    for (query, document) in [("zork", "teal"), ("blick", "ochre"), ("snarf", "mauve"), ("quux", "plum")] {
        let found = policies.search(&asked(query), Some(&models)).unwrap();
        assert_eq!(found.passages[0].document, document, "{query}");
    }
}

#[test]
fn what_is_wrong_with_a_question_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), 1.0);
    let file = folder.path().join("own/questions/tau_banking.en.jsonl");
    for (line, problem) in [
        (
            json!({"document": "gone", "at": [0, 1], "style": "agent", "query": "q", "language": "en"}),
            "no such document",
        ),
        (
            json!({"document": "teal", "at": [0, 999], "style": "agent", "query": "q", "language": "en"}),
            "does not stand",
        ),
        (json!({"document": "teal", "style": "agent", "query": "q", "language": "en"}), "does not stand"),
        (json!({"document": "teal"}), "missing field"),
    ] {
        fs::write(&file, line.to_string()).unwrap();
        let error = run(&options, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("tau_banking.en.jsonl") && error.contains(problem), "{error}");
    }
    fs::remove_dir_all(&options.data).unwrap();
    assert!(run(&options, &mut |_| {}).unwrap_err().to_string().contains("name the data folder"));
}
