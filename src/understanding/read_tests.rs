//! On the shipped bundle.

use super::*;
use std::sync::OnceLock;

fn schema() -> Schema {
    Schema::read(Path::new("config")).unwrap()
}

fn shipped() -> &'static Understanding {
    static SHIPPED: OnceLock<Understanding> = OnceLock::new();
    SHIPPED.get_or_init(|| Understanding::load(Path::new("models/default"), &schema()).unwrap())
}

fn german(text: &str) -> Reading {
    shipped().read("m1", text, Language::De, &[]).unwrap()
}

fn texts(reading: &Reading, field: &str) -> Vec<String> {
    reading.values(field).iter().map(|value| value.text.clone()).collect()
}

#[test]
fn names_branch_and_account_number_are_found_where_they_stand() {
    let text = "Guten Tag, mein Name ist Heike Brandt, ich bin bei der Volksbank Ulm, Kontonummer KTR4O718.";
    let reading = german(text);
    assert_eq!(texts(&reading, "first_name"), ["Heike"]);
    assert_eq!(texts(&reading, "last_name"), ["Brandt"]);
    assert_eq!(texts(&reading, "branch"), ["Volksbank Ulm"]);
    let account = &reading.values("account_number")[0];
    assert_eq!(account.variants, ["KTR40718", "KTR4O718"]);
    let letters: Vec<char> = text.chars().collect();
    assert_eq!(letters[account.start..account.end].iter().collect::<String>(), account.text);
}

#[test]
fn what_customers_want_is_read_in_both_languages() {
    let read = |text: &str, language| {
        let reading = shipped().read("m1", text, language, &[]).unwrap();
        reading.leaf().map(str::to_owned)
    };
    assert_eq!(
        read("Wo bleibt meine Karte? Sie ist nach zwei Wochen noch nicht da.", Language::De).as_deref(),
        Some("card_arrival")
    );
    assert_eq!(
        read("Ich möchte mit einem Menschen sprechen.", Language::De).as_deref(),
        Some("talk_to_human")
    );
    assert_eq!(
        read("My card was stolen on the train!", Language::En).as_deref(),
        Some("lost_or_stolen_card")
    );
    assert_eq!(read("Which wine goes well with trout?", Language::En).as_deref(), Some("other"));
}

#[test]
fn a_shared_leaf_names_the_way_in() {
    let way = |text: &str| {
        let intent = german(text).intents.into_iter().next().unwrap();
        (intent.leaf, intent.parents[0].parent.clone())
    };
    let found = |leaf: &str, parent: &str| (leaf.to_owned(), parent.to_owned());
    let cards = way("Erst war meine Karte weg, und jetzt habt ihr deswegen das ganze Konto gesperrt.");
    assert_eq!(cards, found("account_locked", "cards"));
    assert_eq!(way("Mein Konto ist gesperrt, warum?"), found("account_locked", "account_access"));
}

#[test]
fn a_reading_is_complete_consistent_and_repeatable() {
    let text = "Meine Karte wurde am Automaten eingezogen, was nun?";
    let reading = german(text);
    assert_eq!(german(text), reading);
    assert_eq!(reading.intents[0].span, (0, text.chars().count()));
    assert_eq!(reading.prediction_set[0], reading.intents[0].leaf);
    assert_eq!(reading.leaves[0].leaf, reading.intents[0].leaf);
    let total: f64 = reading.leaves.iter().map(|leaf| leaf.probability.get()).sum();
    assert!(total <= 1.001 && reading.leaves.iter().all(|leaf| leaf.probability.get() >= 0.01));
    assert_eq!(&reading.digests.model, shipped().digest());
    let json = serde_json::to_string(&reading).unwrap();
    assert_eq!(serde_json::from_str::<Reading>(&json).unwrap(), reading);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(
        value["fields"]["persons"]["last_name"].is_array() && value["tone"]["urgency"]["label"].is_string()
    );
    assert!(
        value["intents"][0]["parents"][0]["probability"].is_number()
            && value["intents"][0]["span"][1].is_u64()
    );
}

#[test]
fn any_text_has_a_reading() {
    for text in ["", " ", "\u{0}", "👩‍👩‍👧", "?", &"Konto gesperrt. ".repeat(3000)] {
        let reading = german(text);
        assert_eq!(reading.intents.len(), 1);
        assert!(!reading.prediction_set.is_empty());
    }
}

#[test]
fn vectors_have_length_one_and_do_not_depend_on_the_company_they_keep() {
    let texts = ["Gebühren für Bargeld im Ausland", "fees for cash abroad", "Passwort vergessen"];
    let all = shipped().embed(&texts).unwrap();
    assert_eq!(all[1], shipped().embed(&texts[1..2]).unwrap()[0]);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!((dot(&all[0], &all[0]) - 1.0).abs() < 1e-4);
    assert!(dot(&all[0], &all[1]) > dot(&all[0], &all[2]), "a text is nearer to its translation");
}

#[test]
fn missing_and_damaged_bundles_are_refused_by_name() {
    let error = |folder: &Path| match Understanding::load(folder, &schema()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(error(Path::new("models/none")).contains("models/none"));
    let folder = tempfile::tempdir().unwrap();
    let restore = || {
        for name in bundle::FILES.iter().chain(&["manifest.json"]) {
            std::fs::copy(Path::new("models/default").join(name), folder.path().join(name)).unwrap();
        }
    };
    for name in bundle::FILES {
        restore();
        let mut bytes = std::fs::read(folder.path().join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let told = error(folder.path());
        assert!(told.contains(name) && told.contains("digest") && told.contains("restore"), "{told}");
    }
    restore();
    std::fs::remove_file(folder.path().join("heads.json")).unwrap();
    assert!(error(folder.path()).contains("heads.json"));
    restore();
    std::fs::write(folder.path().join("manifest.json"), "{").unwrap();
    assert!(error(folder.path()).contains("manifest.json"));
}

#[test]
fn a_bundle_for_other_intents_is_refused() {
    let mut schema = schema();
    schema.intents.leaves[0].id = "something_new".to_owned();
    let Err(error) = Understanding::load(Path::new("models/default"), &schema) else {
        panic!("the bundle was taken")
    };
    assert!(error.to_string().contains("something_new") && error.to_string().contains("prokura train"));
}

#[test]
fn a_calibrated_bundle_takes_the_old_ones_place_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("bundle");
    let mut calibration = shipped().calibration().clone();
    calibration.intent.languages.clear();
    calibration.intent.all = 3.0;
    let write = |calibration: &Calibration| {
        bundle::recalibrated(Path::new("models/default"), &folder, calibration, str::to_uppercase).unwrap()
    };
    let first = write(shipped().calibration());
    let digest = write(&calibration);
    assert_ne!(first, digest);
    let names = std::fs::read_dir(parent.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside it");
    let softer = Understanding::load(&folder, &schema()).unwrap();
    assert_eq!((softer.digest(), softer.calibration()), (&digest, &calibration));
    let text = "Where is my card?";
    let p = |models: &Understanding| {
        let reading = models.read("m1", text, Language::En, &[]).unwrap();
        (reading.leaf().unwrap().to_owned(), reading.intents[0].probability)
    };
    let ((leaf, sure), (same, less)) = (p(shipped()), p(&softer));
    assert!(leaf == same && less < sure, "{less:?} {sure:?}");
    let card = std::fs::read_to_string(folder.join("card.md")).unwrap();
    assert!(card.starts_with("# MODEL CARD"), "{card}");
}
