//! `prokura tools`, and what `prokura check` says of tools that cannot be called.

use super::{failing, pack_copy, prokura};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DOCUMENT: &str = r#"
openapi: 3.1.0
info: { title: Card System, version: "1" }
paths:
  /cards/{card}/freeze:
    post:
      operationId: freezeCard
      parameters: [{ name: card, in: path, required: true, schema: { type: string } }]
      responses: { "204": { description: done } }
    get:
      operationId: tellCard
      parameters: [{ name: card, in: path, required: true, schema: { type: string } }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object } } } } }
"#;

fn stdout(arguments: &[&str]) -> String {
    let output = prokura(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn tools_are_listed_for_people_and_for_programs() {
    let table = stdout(&["tools", "list"]);
    let refund = table.lines().find(|line| line.starts_with("refund ")).unwrap();
    assert!(
        refund.contains("money") && refund.contains("core_bank") && refund.contains("€5,000.00"),
        "{table}"
    );
    let listed: Value = serde_json::from_str(&stdout(&["tools", "list", "--json"])).unwrap();
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"card_block"), "{names:?}");
    let (code, problem) = failing(&["tools", "list", "--from", "http://127.0.0.1:9"]);
    assert!(code == 2 && problem.contains("--key-file"), "{problem}");
}

#[test]
fn an_imported_tool_is_refused_until_a_person_has_chosen_its_risk() {
    let folder = tempfile::tempdir().unwrap();
    let document = write(folder.path(), "cards.yaml", DOCUMENT);
    let out = folder.path().join("cards.toml").display().to_string();
    stdout(&["tools", "import", &document, "--system", "core_bank", "--only", "freezeCard", "--out", &out]);
    let (code, problem) = failing(&["tools", "import", &document, "--out", &out]);
    assert!(code == 2 && problem.contains("not there yet"), "{problem}");
    let section = std::fs::read_to_string(&out).unwrap();

    let config = pack_copy(folder.path());
    let tools = folder.path().join("config/tools.toml");
    let shipped = std::fs::read_to_string(&tools).unwrap();
    std::fs::write(&tools, format!("{shipped}{section}")).unwrap();
    let (code, problem) = failing(&["check", "--config", &config]);
    let line = shipped.lines().count() + section.lines().position(|line| line == "risk = \"\"").unwrap() + 1;
    assert_eq!(code, 2, "{problem}");
    let told = format!("tools.toml:{line}: `risk` cannot be ``; allowed: read, protective");
    assert!(problem.contains(&told) && problem.contains("`scope` cannot be ``"), "{told}\n{problem}");

    let filled = section
        .replace("risk = \"\"", "risk = \"protective\"")
        .replace("scope = \"\"", "scope = \"cards:block\"")
        .replace("compensation_reason = \"\"", "compensation_reason = \"the customer asks for a new one\"");
    std::fs::write(&tools, format!("{shipped}{filled}")).unwrap();
    stdout(&["check", "--config", &config]);
}

#[test]
fn what_is_no_document_is_told_and_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    for (text, told) in [
        ("openapi: 2.0", "allowed: 3.0.x and 3.1.x"),
        ("openapi: [", "not YAML"),
        ("\u{0}\u{1}", "cards.yaml"),
        (
            "openapi: 3.0.0\npaths: { /x: { post: { requestBody: { $ref: '#/paths' } } } }",
            "nothing could be imported",
        ),
    ] {
        let file = write(folder.path(), "cards.yaml", text);
        let (code, problem) = failing(&["tools", "import", &file]);
        assert!(code == 2 && problem.contains(told), "{text}: {problem}");
    }
    let (code, problem) = failing(&["tools", "import", "/nowhere.yaml"]);
    assert!(code == 2 && problem.contains("name an OpenAPI document"), "{problem}");
    std::fs::write(folder.path().join("latin"), b"\xff\xfe").unwrap();
    let (code, problem) = failing(&["tools", "import", &folder.path().join("latin").display().to_string()]);
    assert!(code == 2 && problem.contains("not UTF-8"), "{problem}");
}

#[test]
fn a_secret_that_is_missing_open_or_too_small_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = pack_copy(folder.path());
    let tools = folder.path().join("config/tools.toml");
    let shipped = std::fs::read_to_string(&tools).unwrap();
    let with = |scopes: &str| {
        let auth = format!(
            "\n[auth]\ncore_bank = {{ bearer = \"file:core.token\", scopes = [{scopes}] }}\n\n[breaker]\n"
        );
        std::fs::write(&tools, shipped.replacen("\n[breaker]\n", &auth, 1)).unwrap();
    };
    let scopes: Vec<&str> = shipped.lines().filter_map(|line| line.strip_prefix("scope = ")).collect();
    with(&scopes.join(", "));
    let line = shipped.lines().position(|line| line == "[breaker]").unwrap() + 2;
    let (code, problem) = failing(&["check", "--config", &config]);
    let told = format!("tools.toml:{line}: `auth` of [auth] `core_bank`: ");
    assert!(code == 2 && problem.contains(&told) && problem.contains("chmod 600"), "{told}\n{problem}");
    let token = folder.path().join("config/core.token");
    std::fs::write(&token, "s3cret").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, problem) = failing(&["check", "--config", &config]);
    assert!(
        code == 2 && problem.contains("everybody on this machine") && !problem.contains("s3cret"),
        "{problem}"
    );
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    stdout(&["check", "--config", &config]);
    with("\"cards:block\"");
    let (code, problem) = failing(&["check", "--config", &config]);
    assert!(code == 2 && problem.contains("`scope` cannot be `refunds:write`"), "{problem}");
}
