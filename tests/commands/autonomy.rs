//! `prokura autonomy`, where a service ran and where none ever did.

use super::prokura;
use serde_json::Value;

#[test]
fn the_shipped_dials_stand_as_the_shipped_evidence_says() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let told = || -> Value {
        let output = prokura(&["autonomy", "--json", "--state", &state]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let before = told();
    let rows = before["dials"].as_array().unwrap();
    let of = |tool: &str| rows.iter().find(|row| row["tool"] == tool).unwrap();
    assert_eq!(of("card_block")["effective"], "auto");
    assert_eq!(of("reverse_refund")["effective"], "suggest");
    let refund = of("refund");
    assert_eq!((&refund["effective"], &refund["missing"]), (&"auto".into(), &0.into()), "{refund}");
    assert!(refund["bound"].as_f64().unwrap() <= refund["max_error"].as_f64().unwrap(), "{refund}");
    prokura(&["resolve", "--demo", "--state", &state, "Wie hoch ist mein Kontostand?"]);
    // What the service took into its ledger says the same.
    assert_eq!(told(), before);
    let table = String::from_utf8(prokura(&["autonomy", "--state", &state]).stdout).unwrap();
    assert!(table.contains("transaction_charged_twice") && table.contains("with 95 % confidence"), "{table}");
}
