//! `prokura lookup` with estimated weights, over a file of its own.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = r#"
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
fn names_said_in_each_others_place_are_found_and_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    world(folder);
    let weights = |kind: &str, u: f64| {
        let levels = if kind == "name" { 8 } else { 7 };
        let rest = |least: f64, first: f64| {
            let mut all = vec![least; levels];
            (all[0], all[levels - 1]) = (first, 1.0 - first - least * (levels as f64 - 2.0));
            all
        };
        format!("{{ kind = \"{kind}\", m = {:?}, u = {:?} }}", rest(0.005, 0.95), rest(0.0005, u))
    };
    let mut config = CONFIG.to_owned();
    for (field, kind, u) in [
        ("first_name", "name", 0.01),
        ("last_name", "name", 0.01),
        ("date_of_birth", "date", 0.001),
        ("account_number", "identifier", 0.0001),
    ] {
        config = config.replace(
            &format!("{field} = {{ kind = \"{kind}\" }}"),
            &format!("{field} = {}", weights(kind, u)),
        );
    }
    std::fs::write(folder.join("known.toml"), config).unwrap();
    let row = std::fs::read_to_string(folder.join("people.csv")).unwrap();
    let row = row.lines().find(|line| line.starts_with("p16,")).unwrap().split(',').map(str::to_owned);
    let [_, first, last, born, _] = <[String; 5]>::try_from(row.collect::<Vec<_>>()).unwrap();
    let ask = |first: &str, last: &str| {
        let values =
            [format!("first_name={first}"), format!("last_name={last}"), format!("date_of_birth={born}")];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let told = prokura(folder, &[&["lookup", "--config", "known.toml"][..], &values].concat());
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        serde_json::from_slice::<Value>(&told.stdout).unwrap()
    };
    let (right, exchanged) = (ask(&first, &last), ask(&last, &first));
    assert_eq!(
        (&right["selected"], &exchanged["selected"]),
        (&json!(["p16"]), &json!(["p16"])),
        "{exchanged}"
    );
    let score = |told: &Value| told["candidates"][0]["score"].as_f64().unwrap();
    assert!((score(&right) - score(&exchanged) - 6.6).abs() < 0.1, "{} {}", score(&right), score(&exchanged));
    let why = exchanged["candidates"][0]["explanation"].as_str().unwrap();
    assert!(why.contains("last name agrees, said as the first name"), "{why}");
    let said = exchanged["candidates"][0]["matched"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["field"] == "last_name");
    assert_eq!(said.unwrap()["value"], json!(last));
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
    let records = "scenario_id,postcode,name,dob\nen.GB.1,W2 0AB,Katie Marshall,1979-09-27\nen.GB.2,NG9 2TD,Georgina Taylor,2012-11-04\n\
        en.GB.3,G4 1RH,Victoria Smith,1914-03-02\nen.GB.4,PR73 3HL,Victoria Smith,1951-05-07\n";
    std::fs::write(folder.path().join("evi/records.en.csv"), records).unwrap();
    let config = super::root().join("config/examples/evi.en.toml");
    let ask = |values: &[&str]| -> Value {
        let told = Command::new(env!("CARGO_BIN_EXE_prokura"))
            .args(["lookup", "--config", config.to_str().unwrap()])
            .args(values)
            .env("PROKURA_DATA", folder.path())
            .output()
            .unwrap();
        serde_json::from_slice(&told.stdout).unwrap()
    };
    let told = ask(&["postcode=w20 a bee", "full_name=Katy martial", "date_of_birth=27th of the 9th 1979"]);
    assert_eq!(told["selected"], json!(["en.GB.1"]));
    // However garbled, the date decides between two of one name.
    let told = ask(&["full_name=Victoria Smith", "date_of_birth=unit 70 5191"]);
    let best = &told["candidates"][0];
    assert_eq!(best["id"], json!("en.GB.4"), "{told}");
    assert_eq!(told["candidates"][1]["id"], json!("en.GB.3"), "{told}");
}

/// A CRM and a card system with records of their own about the same customers.
const TWO: &str = r#"
[lookup]
ask = ["postcode", "card_last4", "date_of_birth"]
person = { last_name = "name", postcode = "identifier" }

[lookup.weights]
last_name = 5

[[sources.file]]
name = "crm"
path = "crm.csv"
format = "csv"
find = { last_name = "name", date_of_birth = "born", postcode = "plz" }
form = { id = "id", owner = "customer", authorised = "authorised", system = [], free_text = [] }

[[sources.file]]
name = "cards"
path = "cards.csv"
format = "csv"
find = { last_name = "name", card_last4 = "last4", postcode = "plz" }
form = { id = "id", owner = "customer", authorised = "authorised", system = [], free_text = [] }

[lookup.matching]
unit = "UNIT"
identify = 0.9
candidates = 10
present = 0.9

[lookup.matching.fields]
last_name = { kind = "name", m = [0.9, 0.03, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01], u = [0.01, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.984] }
date_of_birth = { kind = "date", m = [0.9, 0.02, 0.02, 0.02, 0.01, 0.01, 0.02], u = [0.0001, 0.0001, 0.001, 0.001, 0.001, 0.001, 0.9958] }
postcode = { kind = "identifier", m = [0.9, 0.02, 0.02, 0.02, 0.01, 0.01, 0.02], u = [0.0001, 0.0001, 0.001, 0.001, 0.001, 0.001, 0.9958] }
card_last4 = { kind = "identifier", m = [0.9, 0.02, 0.02, 0.02, 0.01, 0.01, 0.02], u = [0.0001, 0.0001, 0.001, 0.001, 0.001, 0.001, 0.9958] }
"#;

fn two(folder: &Path, unit: &str, values: &[&str]) -> Value {
    let (mut crm, mut cards) =
        ("id,customer,name,born,plz\n".to_owned(), "id,customer,name,last4,plz\n".to_owned());
    for n in 0..120 {
        let name = ["Huber", "Müller", "Aydin", "Wolff"][n % 4];
        let born = format!("{}-{:02}-{:02}", 1940 + n % 60, n % 12 + 1, n % 12 + 1);
        crm.push_str(&format!("p{n},c{n},{name},{born},{:05}\n", 10_000 + n * 37));
        // Customer 5 has moved, and the card system knows.
        let plz = if n == 5 { 99_999 } else { 10_000 + n * 37 };
        cards.push_str(&format!("k{n},c{n},{name},{:04},{plz:05}\n", 1000 + n * 13));
    }
    std::fs::write(folder.join("crm.csv"), crm).unwrap();
    std::fs::write(folder.join("cards.csv"), cards).unwrap();
    std::fs::write(folder.join("two.toml"), TWO.replace("UNIT", unit)).unwrap();
    let told = prokura(folder, &[&["lookup", "--config", "two.toml"], values].concat());
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

#[test]
fn what_several_systems_know_of_a_customer_adds_up_and_conflicts_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The CRM has the date, the card system the digits: neither alone says who it is.
    let said = ["date_of_birth=6.6.1945", "card_last4=1065", "last_name=Mueller", "postcode=10185"];
    let told = two(folder, "customer", &said);
    assert_eq!(told["selected"], json!(["c5"]), "{told}");
    let best = &told["candidates"][0];
    assert_eq!(
        best["records"],
        json!([{"source": "cards", "record": "k5"}, {"source": "crm", "record": "p5"}])
    );
    let of = |field: &str| {
        let matched = best["matched"].as_array().unwrap().iter().find(|one| one["field"] == field);
        matched.unwrap()["source"].clone()
    };
    assert_eq!(
        (of("date_of_birth"), of("card_last4"), of("postcode")),
        (json!("crm"), json!("cards"), json!("crm"))
    );
    assert_eq!(best["conflicts"], json!(["postcode"]));
    // Looked for as records, they stay apart.
    let told = two(folder, "record", &said);
    assert!(told["candidates"].as_array().unwrap().iter().all(|one| one.get("records").is_none()), "{told}");
}

#[test]
fn where_several_are_left_the_field_that_splits_them_best_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Customers 5 and 65 were born on one day of one month, and have one name.
    let told = two(folder, "record", &["last_name=Müller", "date_of_birth=6.6.1945"]);
    assert_eq!(told["selected"], json!(["p5", "p65"]), "{told}");
    assert_eq!(told["ask"], json!({"field": "postcode", "count": 2, "bits": 1.0}));
    assert!(!told.to_string().contains("10185"), "a record's postcode must not leave: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_searches_go_to_a_system_in_one_request() {
    let stage = crate::stage::Stage::new().await;
    let text = std::fs::read_to_string(super::root().join("config/sources.toml")).unwrap();
    let sources = text
        .replace("[[http]]", "[[sources.http]]")
        .replace("[http.", "[sources.http.")
        .replace("http://127.0.0.1:4380", &format!("http://{}", stage.bank))
        .replace("# [sources.http.batch]\n# path", "[sources.http.batch]\npath")
        .replace("# most = 50\n# answers", "most = 50\nanswers");
    let lookup = CONFIG
        .split("[[sources.file]]")
        .next()
        .unwrap()
        .replace("last_name = 5", "last_name = 2\niban = 5\naccount_number = 5");
    let config = format!("{lookup}[outbound]\nhosts = [\"{}\"]\n\n{sources}", stage.bank);
    std::fs::write(stage.directory.path().join("batch.toml"), config).unwrap();
    let values = ["last_name=Müller", "account_number=ABCO1234", "account_number=ABC01234", "iban=x"];
    let ask = [&["lookup", "--config", "batch.toml"][..], &values].concat();
    let told = prokura(stage.directory.path(), &ask);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["selected"], &told["sources"][0]["status"]), (&json!(["acc_001"]), &json!("answered")));
    assert_eq!(stage.orders().len(), 1, "one search carries all four values");
}
