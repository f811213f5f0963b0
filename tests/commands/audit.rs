//! `prokura audit`: a log is exported, and verified where nothing of the service is.

use super::prokura;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The program in an empty folder, without settings or state.
fn elsewhere(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prokura"));
    command.args(["audit", "verify"]).args(arguments).current_dir(folder).output().unwrap()
}

fn found(output: &Output) -> (i32, Value) {
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[test]
fn an_export_is_verified_with_the_public_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let state = at("state").display().to_string();
    let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
    let resolved = prokura(&["resolve", "--demo", "--state", &state, "--as", "cus_015", "--json", message]);
    assert!(resolved.status.success(), "{}", String::from_utf8_lossy(&resolved.stderr));
    let case: Value = serde_json::from_slice(&resolved.stdout).unwrap();
    let note = prokura(&["audit", "checkpoint", "--state", &state]);
    assert!(String::from_utf8_lossy(&note.stdout).starts_with("prokura.invalid/"), "{note:?}");
    fs::write(at("first"), &note.stdout).unwrap();
    prokura(&["resolve", "--demo", "--state", &state, "Wie hoch ist mein Kontostand?"]);

    let (log, one) = (at("log.jsonl").display().to_string(), at("one.jsonl").display().to_string());
    assert!(prokura(&["audit", "export", "--state", &state, "--out", &log]).status.success());
    let asked =
        ["audit", "export", "--state", &state, "--case", case["case"].as_str().unwrap(), "--out", &one];
    assert!(prokura(&asked).status.success());
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("abgebucht") && text.lines().count() > 12);

    let key = fs::read_to_string(at("state/keys/log.pub")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let arguments = ["--export", &log, "--public-key", key.trim()];
    let (code, told) = found(&elsewhere(empty.path(), &arguments));
    assert_eq!((code, &told["intact"], &told["found"]["unsigned"]), (0, &true.into(), &0.into()));
    assert_eq!(told["found"]["witnessed"], 0);
    let first = at("first").display().to_string();
    let arguments = [&arguments[..], &["--witness", &first]].concat();
    let output = elsewhere(empty.path(), &arguments);
    assert!(found(&output).1["found"]["witnessed"].as_u64().unwrap() >= 10);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no witness has seen the last"));
    let (code, told) = found(&elsewhere(empty.path(), &["--export", &one, "--public-key", key.trim()]));
    assert_eq!((code, &told["found"]["entries"]), (0, &told["found"]["signed"]));

    let changed = text.replacen("\"kind\":\"received\"", "\"kind\":\"receiver\"", 1);
    fs::write(&log, changed).unwrap();
    let output = elsewhere(empty.path(), &["--export", &log, "--public-key", key.trim()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not those of the signed checkpoint"));
    let output = elsewhere(empty.path(), &["--export", &log]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_ledger_is_verified_with_its_witness() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    prokura(&["resolve", "--demo", "--state", &state, "Wie hoch ist mein Kontostand?"]);
    let (code, told) = found(&prokura(&["audit", "verify", "--state", &state]));
    assert_eq!((code, &told["found"]["signed"]), (0, &0.into()), "{told}");
    assert!(told["found"]["unsigned"].as_u64().unwrap() > 0);
    prokura(&["audit", "checkpoint", "--state", &state]);
    let (code, told) = found(&prokura(&["audit", "verify", "--full", "--state", &state]));
    assert_eq!(
        (code, &told["found"]["witnessed"], &told["found"]["unsigned"]),
        (0, &told["found"]["entries"], &0.into())
    );
    let witness = folder.path().join("state-witness");
    let day = fs::read_dir(&witness).unwrap().next().unwrap().unwrap().path();
    fs::write(day.join("9.checkpoint"), "no note").unwrap();
    let output = prokura(&["audit", "verify", "--state", &state]);
    assert_eq!(found(&output).0, 0);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("1 files of the witness are no checkpoint that counts"), "{told}");
    assert!(told.contains("9.checkpoint"), "{told}");
}

#[test]
fn nobody_has_no_name() {
    for arguments in
        [&["erase", ""][..], &["erase", "  "], &["key", "", "channel"], &["key", "a\"b", "channel"]]
    {
        let output = prokura(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("a name is not empty"));
    }
}
