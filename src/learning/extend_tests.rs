//! On the shipped bundle, with a leaf that it never saw.

use super::*;
use crate::understanding::Understanding;
use std::path::Path;

const TICKETS: [&str; 12] = [
    "Ich möchte mein Aktiendepot zu einer anderen Bank übertragen.",
    "Wie eröffne ich bei euch ein Wertpapierdepot?",
    "Meine Aktien im Depot werden nicht angezeigt.",
    "Was kostet bei euch ein Depot im Jahr?",
    "Kann ich Fondsanteile aus dem Depot verkaufen?",
    "Der Depotauszug für das letzte Jahr fehlt mir.",
    "How do I open a securities account?",
    "I want to move my shares to your brokerage.",
    "My stocks are missing from the depot.",
    "What does the brokerage account cost a year?",
    "Please sell ten shares from my securities account.",
    "Where is the yearly statement of my share portfolio?",
];

/// A pack like the shipped one, with one more leaf.
fn pack(folder: &Path) -> std::path::PathBuf {
    let config = folder.join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::copy("config/extraction.toml", config.join("extraction.toml")).unwrap();
    let text = std::fs::read_to_string("config/intents.toml").unwrap();
    let at = text.find("id = \"account_services\"").unwrap();
    let leaves = at + text[at..].find("leaves = [").unwrap() + "leaves = [".len();
    let more = "\n[leaf.securities_account]\nen = \"Securities account\"\nde = \"Wertpapierdepot\"\n\
         definition = \"Shares and funds in a securities account. Not savings.\"\n";
    let text = format!("{}\"securities_account\", {}{more}", &text[..leaves], &text[leaves..]);
    std::fs::write(config.join("intents.toml"), text).unwrap();
    config
}

/// Few lines of three old leaves.
fn own(folder: &Path) -> std::path::PathBuf {
    const OLD: [(&str, &str, &str); 3] = [
        ("balance", "Wie hoch ist mein Kontostand?", "What is my balance?"),
        ("lost_or_stolen_card", "Meine Karte wurde gestohlen!", "My card was stolen!"),
        ("change_pin", "Ich möchte meine PIN ändern.", "I want to change my PIN."),
    ];
    let own = folder.join("own");
    std::fs::create_dir_all(own.join("utterances")).unwrap();
    let head = "id\tlang\ttone\ttext\n";
    let mut rows = String::new();
    for (leaf, german, english) in OLD {
        for n in 0..60 {
            rows.push_str(&format!("{leaf}.{n}\tde\tn0\t{german} {n}\n{leaf}.{n}\ten\tn0\t{english} {n}\n"));
        }
    }
    std::fs::write(own.join("utterances/a.tsv"), format!("{head}{rows}")).unwrap();
    std::fs::write(own.join("extraction.tsv"), head).unwrap();
    own
}

fn options(folder: &Path, tickets: &[&str]) -> Options {
    let rows: String = tickets
        .iter()
        .map(|text| format!("{}\n", serde_json::json!({"text": text, "leaf": "securities_account"})))
        .collect();
    std::fs::write(folder.join("tickets.jsonl"), rows).unwrap();
    Options {
        bundle: Path::new("models/default").to_owned(),
        out: folder.join("out"),
        config: pack(folder),
        tickets: folder.join("tickets.jsonl"),
        usual: Language::De,
        own: own(folder),
        threads: 2,
    }
}

#[test]
fn a_new_leaf_is_read_and_old_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &TICKETS);
    let done = run(&options, &mut |_| {}).unwrap();
    assert_eq!((done.new_leaves.as_slice(), done.tickets), (&["securities_account".to_owned()][..], 12));
    assert!(done.old_after >= done.old_before - 0.01 && done.measured > 20, "{done:?}");
    assert!(done.old_before > 0.9, "{done:?}");
    let schema = Schema::read(&options.config).unwrap();
    let models = Understanding::load(&options.out, &schema).unwrap();
    let leaf = |text: &str, language| {
        models.read("m", text, language, &[]).unwrap().leaf().map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(leaf("Wo sehe ich die Aktien in meinem Depot?", Language::De), "securities_account");
    assert_eq!(leaf("Meine Karte wurde gestohlen!", Language::De), "lost_or_stolen_card");
    assert_eq!(leaf("What is my balance?", Language::En), "balance");
    let card = std::fs::read_to_string(options.out.join("card.md")).unwrap();
    assert!(card.contains("## Added leaves\n\nsecurities_account") && card.contains("## Limits"));
    assert_eq!(models.digest(), &done.model);
    // The mix that the bundle was calibrated for stays, with the new leaf beside it.
    let (before, after) =
        (&bundle::open(&options.bundle).unwrap().calibration.prior, &models.calibration().prior);
    assert!(!before.expected.is_empty() && before.expected == after.expected, "{:?}", after.expected);
    assert!((after.assumed["securities_account"] - 1.0 / after.assumed.len() as f64).abs() < 1e-9);
    assert!((after.assumed.values().sum::<f64>() - 1.0).abs() < 1e-3);
}

#[test]
fn too_few_tickets_and_packs_without_a_new_leaf_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), &TICKETS[..4]);
    let said = run(&options, &mut |_| {}).unwrap_err().to_string();
    assert!(said.contains("`securities_account` has 4 tickets") && said.contains("tickets.jsonl"), "{said}");
    options.config = Path::new("config").to_owned();
    std::fs::write(folder.path().join("tickets.jsonl"), "").unwrap();
    let said = run(&options, &mut |_| {}).unwrap_err().to_string();
    assert!(said.contains("knows every leaf"), "{said}");
}
