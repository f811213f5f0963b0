use super::*;
use crate::planning::{Risk, Tools};
use serde_json::json;

const BANK: &str = r##"
openapi: 3.0.3
info: { title: Card System, version: "1" }
servers: [{ url: "https://cards.bank.example/v2/" }]
paths:
  /cards/{card}/limits:
    parameters:
      - { $ref: "#/components/parameters/Card" }
    get:
      operationId: getCardLimits
      summary: Tell the limits of a card
      parameters: [{ name: day, in: query, schema: { type: string, format: date } }]
      security: [{ login: ["cards:read"] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { $ref: "#/components/schemas/Limits" } } } } }
    put:
      operationId: setCardLimits
      x-prokura-risk: reversible
      parameters:
        - { name: Idempotency-Key, in: header, required: true, schema: { type: string } }
        - { name: X-Trace, in: header, schema: { type: string } }
      requestBody: { content: { "application/json; charset=utf-8": { schema: { $ref: "#/components/schemas/Limits" } } } }
      responses: { "204": { description: done } }
  /cards/{number}/close:
    post:
      summary: "Close \"for good\""
      parameters: [{ name: number, in: path, required: true, schema: { type: integer } }]
      requestBody:
        content:
          application/json:
            schema:
              allOf:
                - { type: object, required: [reason], properties: { reason: { enum: [lost, null] } } }
                - { type: object, properties: { at: { type: string, nullable: true, example: x } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { $ref: "#/components/schemas/Tree" } } } } }
  /upload:
    post: { operationId: upload, requestBody: { content: { text/csv: {} } }, responses: { "200": { description: ok } } }
components:
  securitySchemes: { login: { type: apiKey, in: header, name: X-Api-Key } }
  parameters:
    Card: { name: card, in: path, required: true, schema: { type: string, pattern: "^[a-z0-9]{1,64}$" } }
  schemas:
    Limits:
      type: object
      required: [minor, id]
      properties:
        id: { type: string, readOnly: true }
        minor: { type: integer, minimum: 0, exclusiveMinimum: true, maximum: 18446744073709551615 }
    Tree: { type: object, properties: { next: { $ref: "#/components/schemas/Tree" }, name: { type: string } } }
"##;

fn imported(text: &str, only: &[&str]) -> Imported {
    let only = only.iter().map(|id| (*id).to_owned()).collect();
    import("cards.yaml", text, &ImportSettings { system: None, only }).unwrap()
}

fn refused(text: &str) -> String {
    let found = import("cards.yaml", text, &ImportSettings::default()).unwrap_err();
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// tools.toml with the sections, and whatever a person still has to fill in.
fn filled(imported: &Imported) -> String {
    let head = "[systems]\ncard_system = \"https://cards.bank.example/v2\"\n[breaker]\nfailures = 5\nopen_ms = 20000\n";
    format!("{head}{}", imported.text)
}

#[test]
fn what_a_person_fills_in_makes_tools_of_operations() {
    let all = imported(BANK, &[]);
    assert_eq!(all.tools, ["get_card_limits", "set_card_limits", "post_cards_number_close"]);
    assert!(all.notes.iter().any(|note| note.contains("`upload` is left out") && note.contains("not JSON")));
    assert!(all.notes.iter().any(|note| note.contains("X-Trace")), "{:?}", all.notes);
    assert!(
        all.text.contains("card_system = \"https://cards.bank.example/v2\"")
            && all.text.contains("X-Api-Key")
    );
    let text = filled(&all);
    let found = Tools::parse("tools.toml", &text).unwrap_err();
    for told in
        ["`risk` cannot be ``", "`scope` cannot be ``", "window_seconds", "`compensation` cannot be `none`"]
    {
        let finding = found.iter().find(|finding| finding.message.contains(told));
        assert!(finding.is_some_and(|finding| finding.line > 5), "{told}: {found:#?}");
    }
    let text = text
        .replace("risk = \"\"", "risk = \"irreversible\"")
        .replace("risk = \"reversible\"", "risk = \"protective\"")
        .replace("scope = \"\"", "scope = \"cards:write\"")
        .replace("window_seconds = 0", "window_seconds = 3600")
        .replace("compensation_reason = \"\"", "compensation_reason = \"nothing undoes it\"");
    let tools = Tools::parse("tools.toml", &text).unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
    let read = &tools.by_name["get_card_limits"];
    assert_eq!((read.risk, read.scope.as_str(), read.retries), (Risk::Read, "cards:read", 2));
    assert_eq!(read.arguments().into_iter().collect::<Vec<_>>(), ["card", "day"]);
    let set = &tools.by_name["set_card_limits"];
    assert_eq!(set.idempotency.as_ref().unwrap().header, "Idempotency-Key");
    assert_eq!(set.output, json!({"type": "null"}));
    assert_eq!(set.input["properties"]["minor"], json!({"type": "integer", "exclusiveMinimum": 0}));
    assert_eq!(set.required().into_iter().collect::<Vec<_>>(), ["card", "minor"], "ids are the system's");
    let close = &tools.by_name["post_cards_number_close"];
    assert_eq!(close.purpose, "Close \"for good\"");
    assert_eq!(close.input["properties"]["number"]["type"], "string");
    assert_eq!(close.input["properties"]["at"]["anyOf"], json!([{"type": "string"}, {"type": "null"}]));
    assert_eq!(close.output["properties"]["next"], json!(true), "what is made of itself is not followed");
}

#[test]
fn one_operation_is_taken_and_json_is_read() {
    let json = serde_saphyr::from_str::<serde_json::Value>(BANK).unwrap().to_string();
    let one = imported(&json, &["getCardLimits"]);
    assert_eq!(one.tools, ["get_card_limits"]);
    assert_eq!(one, imported(BANK, &["getCardLimits"]));
    let settings =
        ImportSettings { system: Some("cards".to_owned()), only: ["getCardLimit".to_owned()].into() };
    let found = import("cards.yaml", BANK, &settings).unwrap_err();
    assert!(found[0].message.contains("did you mean `getCardLimits`"), "{found:?}");
}

#[test]
fn what_is_no_document_of_openapi_is_told_with_its_line() {
    for (text, told) in [
        ("a: [", "cards.yaml:1: not YAML"),
        ("{\"openapi\": ", "cards.yaml:1: not JSON"),
        ("info: {}\nswagger: '2.0'\n", "cards.yaml:2: `openapi` cannot be ``"),
        ("openapi: 4.0.0\npaths: {}\n", "`4.0.0`; allowed: 3.0.x and 3.1.x"),
        ("openapi: 3.1.0\n", "no `paths`"),
        ("openapi: 3.1.0\npaths: {}\n", "no operations"),
        ("just text", "`openapi` cannot be"),
        ("", "`openapi` cannot be"),
    ] {
        let found = refused(text);
        assert!(found.contains(told), "{text}: {found}");
    }
    let risk = BANK.replace("x-prokura-risk: reversible", "x-prokura-risk: harmless");
    assert!(refused(&risk).contains("`x-prokura-risk` cannot be `harmless`; allowed: read"));
    let read = BANK.replace("x-prokura-risk: reversible", "x-prokura-risk: read");
    assert!(refused(&read).contains("GET alone"));
}

/// One operation with this schema as its body.
fn with_schema(schema: &str, more: &str) -> String {
    format!(
        "openapi: 3.1.0\npaths:\n  /x:\n    post:\n      operationId: x\n      requestBody: {{ content: {{ application/json: \
         {{ schema: {schema} }} }} }}\n      responses: {{ \"204\": {{ description: ok }} }}\ncomponents:\n  schemas:\n{more}\n"
    )
}

#[test]
fn a_document_that_does_not_end_is_refused_and_nothing_is_fetched() {
    let circle = "    A: { $ref: '#/components/schemas/B' }\n    B: { $ref: '#/components/schemas/A' }\n";
    assert!(refused(&with_schema("{ $ref: '#/components/schemas/A' }", circle)).contains("in a circle"));
    let own = "    A: { type: object, properties: { a: { $ref: '#/components/schemas/A' } } }\n";
    assert!(refused(&with_schema("{ $ref: '#/components/schemas/A' }", own)).contains("made of itself"));
    let outside = refused(&with_schema("{ $ref: 'http://127.0.0.1:9/a.yaml#/A' }", "    A: {}"));
    assert!(outside.contains("nothing is fetched"), "{outside}");
    assert!(refused(&with_schema("{ $ref: '#/nowhere' }", "    A: {}")).contains("leads nowhere"));
    // Each level names the next one ten times.
    let levels: String = (0..12)
        .map(|level| {
            let next: Vec<String> =
                (0..10).map(|n| format!("p{n}: {{ $ref: '#/components/schemas/L{}' }}", level + 1)).collect();
            format!("    L{level}: {{ type: object, properties: {{ {} }} }}\n", next.join(", "))
        })
        .chain(["    L12: { type: string }\n".to_owned()])
        .collect();
    assert!(refused(&with_schema("{ $ref: '#/components/schemas/L0' }", &levels)).contains("grows beyond"));
    let deep = format!("openapi: 3.1.0\npaths: {}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(refused(&deep).contains("cards.yaml"));
    let deep = format!("{{\"openapi\": \"3.1.0\", \"paths\": {}1{}}}", "[".repeat(90), "]".repeat(90));
    assert!(refused(&deep).contains("deeper than 64"));
    // Aliases that grow.
    let bomb: String =
        (1..40).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "))).collect();
    assert!(
        refused(&format!("a0: &a0 x\n{bomb}openapi: 3.1.0\npaths: {{}}\n"))
            .contains("not YAML that can be read")
    );
    assert!(refused(&"x".repeat(MOST_BYTES + 1)).contains("longer than 8 MiB"));
    let many: String = (0..=MOST_OPERATIONS).map(|n| format!("  /p{n}: {{ get: {{}} }}\n")).collect();
    assert!(refused(&format!("openapi: 3.1.0\npaths:\n{many}")).contains("with --only"));
}

#[test]
fn what_the_document_says_cannot_break_out_of_its_place() {
    let text = BANK.replace(
        "summary: Tell the limits of a card",
        "summary: \"a\\\"\\nrisk = \\\"read\\\"\\n[systems]\"",
    );
    let text = text.replace("title: Card System", "title: \"x\\n[systems]\\ncore = 'y'\"");
    let imported = imported(&text, &["setCardLimits", "getCardLimits"]);
    let parsed: toml::Table = toml::from_str(&imported.text).unwrap();
    assert_eq!(parsed.keys().collect::<Vec<_>>(), ["tool"], "{}", imported.text);
}
