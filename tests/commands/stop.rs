//! `prokura stop`, beside a service or without one.

use super::{failing, prokura};
use serde_json::Value;

#[test]
fn a_stop_is_written_where_the_state_is_and_needs_two_keys_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let told = |arguments: &[&str]| -> Value {
        let output = prokura(&[&["stop", "--state", &state], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (code, problem) = failing(&["stop", "all", "--state", &state]);
    assert_eq!(code, 2);
    assert!(problem.contains("there is no ledger"), "{problem}");
    prokura(&["resolve", "--demo", "--state", &state, "Wie hoch ist mein Kontostand?"]);
    assert_eq!(told(&[])["stops"], serde_json::json!([]));
    let stops = told(&["refund", "--reason", "wrong amounts"]);
    assert_eq!(stops["stops"][0]["reason"], "wrong amounts");
    assert!(stops["stops"][0]["by"].as_str().unwrap().starts_with("command-line:"));
    let (code, problem) = failing(&["stop", "refnd", "--state", &state]);
    assert_eq!(code, 2);
    assert!(problem.contains("did you mean `refund`?"), "{problem}");
    let (code, problem) = failing(&["stop", "refund", "--start", "--state", &state]);
    assert!(code == 2 && problem.contains("two people"), "{problem}");
    let key = folder.path().join("key");
    std::fs::write(&key, "prk_unknown").unwrap();
    let key = key.display().to_string();
    let (code, problem) = failing(&["stop", "refund", "--start", "--key-file", &key, "--state", &state]);
    assert!(code == 2 && problem.contains("no key of prokura.toml"), "{problem}");
    // It holds for whoever uses the state next.
    let message = "Mir wurde derselbe Einkauf zweimal abgebucht!";
    let output = prokura(&["resolve", "--demo", "--state", &state, "--as", "cus_015", "--json", message]);
    let case: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(case["status"], "with_human");
    assert!(case["escalation"]["reason"].as_str().unwrap().contains("refund"), "{case}");
}
