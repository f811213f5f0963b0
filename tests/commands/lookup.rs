//! `prokura lookup` with estimated weights, over a file of its own.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = r#"
[lookup]
threshold = 5
max_queries = 200
parallel = 16
deadline_ms = 4000
max_records = 20

[lookup.weights]
last_name = 5

[[sources.file]]
name = "people"
path = "people.csv"
format = "csv"
find = { first_name = "first", last_name = "last", date_of_birth = "born", account_number = "account" }

[sources.file.form]
id = "id"
owner = "id"
authorised = "authorised"
system = []
free_text = []

[lookup.matching]
identify = 0.9
candidates = 10
present = 0.9
slope = 1.0

[lookup.matching.fields]
first_name = { kind = "name" }
last_name = { kind = "name" }
date_of_birth = { kind = "date" }
account_number = { kind = "identifier" }
"#;

fn prokura(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prokura")).args(arguments).current_dir(folder).output().unwrap()
}

/// Three hundred people, and what is said of each: every third name is misspelt, every fourth number has a slip.
fn world(folder: &Path) {
    let first = ["Anna", "Peter", "Jürgen", "Sabine", "Max", "Zeynep", "Olaf"];
    let last =
        ["Müller", "Schneider", "Kowalski", "Öztürk", "Baumgartner", "Wolff", "Richter", "Engel", "Lang"];
    let (mut table, mut questions) = ("id,first,last,born,account\n".to_owned(), String::new());
    for n in 0..300 {
        let (a, b) = (first[n % 7], last[n / 7 % 9]);
        let (year, month, day) = (1930 + n * 37 % 75, n * 5 % 12 + 1, n * 11 % 28 + 1);
        let account = format!("ABC{:05}", n * 7919 % 100_000);
        table.push_str(&format!("p{n},{a},{b},{year}-{month:02}-{day:02},{account}\n"));
        let said = if n % 3 == 0 { b.replace('ü', "ue").replace("er", "re") } else { b.to_owned() };
        let number = if n % 4 == 0 { account.replace('0', "O") } else { account };
        let fields = json!({"first_name": [a], "last_name": [said], "date_of_birth": [format!("{day}.{month}.{year}")],
            "account_number": [number]});
        questions.push_str(&format!("{}\n", json!({"id": format!("q{n}"), "fields": fields})));
    }
    std::fs::write(folder.join("people.csv"), table).unwrap();
    std::fs::write(folder.join("questions.jsonl"), questions).unwrap();
    std::fs::write(folder.join("people.toml"), CONFIG).unwrap();
}

#[test]
fn fitted_weights_find_garbled_records_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    world(folder);
    let fit =
        ["lookup", "fit", "--config", "people.toml", "--input", "questions.jsonl", "--out", "section.toml"];
    let told = prokura(folder, &fit);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&told["questions"], &told["labelled"], &told["records"]),
        (&json!(300), &json!(0), &json!(300))
    );
    let worth = |level: usize| told["fields"]["last_name"]["levels"][level]["weight"].as_f64().unwrap();
    assert!(worth(0) > 2.0 && worth(7) < 0.0, "{told}");

    let section = std::fs::read_to_string(folder.join("section.toml")).unwrap();
    let before = CONFIG.split("[lookup.matching]").next().unwrap();
    std::fs::write(folder.join("fitted.toml"), format!("{before}{section}")).unwrap();
    let answers = prokura(folder, &["lookup", "--config", "fitted.toml", "--input", "questions.jsonl"]);
    let answers = String::from_utf8(answers.stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let right = answers
        .iter()
        .filter(|one| one["selected"] == json!([one["id"].as_str().unwrap().replace('q', "p")]));
    assert!(right.count() >= 297, "{}", answers[0]);
    let best = &answers[0]["candidates"][0];
    assert!(best["probability"].as_f64().unwrap() > 0.9);
    assert!(best["explanation"].as_str().unwrap().contains("date of birth agrees +"), "{best}");

    let nobody = prokura(
        folder,
        &[
            "lookup",
            "--config",
            "fitted.toml",
            "last_name=Brandt",
            "first_name=Iwo",
            "date_of_birth=1.1.1901",
        ],
    );
    assert_eq!(serde_json::from_slice::<Value>(&nobody.stdout).unwrap()["selected"], json!([]));
}

#[test]
fn what_is_wrong_with_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    world(folder);
    let told = |config: String, arguments: &[&str]| {
        std::fs::write(folder.join("bad.toml"), config).unwrap();
        let told = prokura(folder, arguments);
        assert_eq!(told.status.code(), Some(2));
        String::from_utf8(told.stderr).unwrap()
    };
    let ask = ["lookup", "--config", "bad.toml", "last_name=Lang"];
    let error = told(CONFIG.replace("identify = 0.9", "identify = 3.0"), &ask);
    assert!(error.contains("bad.toml:") && error.contains("`identify` cannot be `3`"), "{error}");
    let error = told(CONFIG.replace("path = \"people.csv\"", "path = \"$NO_SUCH_FOLDER/people.csv\""), &ask);
    assert!(error.contains("`NO_SUCH_FOLDER`"), "{error}");
    let fit = ["lookup", "fit", "--config", "bad.toml", "--input", "questions.jsonl"];
    let error = told(CONFIG.split("[lookup.matching]").next().unwrap().to_owned(), &fit);
    assert!(error.contains("[lookup.matching]"), "{error}");
}

#[test]
fn the_examples_are_look_ups_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("evi")).unwrap();
    let records = "scenario_id,postcode,name,dob\nen.GB.1,W2 0AB,Katie Marshall,1979-09-27\nen.GB.2,NG9 2TD,Georgina Taylor,2012-11-04\n";
    std::fs::write(folder.path().join("evi/records.en.csv"), records).unwrap();
    let config = super::root().join("config/examples/evi.en.toml");
    let arguments =
        ["lookup", "--config", config.to_str().unwrap(), "postcode=w20 a bee", "full_name=Katy martial"];
    let told = Command::new(env!("CARGO_BIN_EXE_prokura"))
        .args(arguments)
        .arg("date_of_birth=27th of the 9th 1979")
        .env("PROKURA_DATA", folder.path())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["selected"], json!(["en.GB.1"]));
}
