//! The room as its callers use it, on the templates that the product ships.

use super::*;
use crate::base::grants::DiscloseGrant;
use crate::base::{CustomerId, Language, RecordId};
use crate::policy::{Audience, Passage};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn shipped() -> Templates {
    Templates::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/templates")).unwrap()
}

fn grant() -> DiscloseGrant {
    DiscloseGrant::seal(CustomerId::new("cus_001"), vec![RecordId::new("acc_001")])
}

fn passage(audience: Audience) -> Passage {
    Passage {
        document: "account-unlock-de".to_owned(),
        version: "1.4".to_owned(),
        title: "Gesperrtes Konto entsperren".to_owned(),
        language: Language::De,
        section: vec!["Konto entsperren".to_owned()],
        text: "1. App öffnen.\n2. Bestätigen.".to_owned(),
        start: 0,
        end: 29,
        page: None,
        audience,
        score: 1.0,
        sentences: Vec::new(),
    }
}

fn context() -> Value {
    let amount = json!({"minor": 4_999, "currency": "EUR"});
    let transaction = json!({"merchant": "Volt", "amount": amount, "booked_at": "2026-09-20T10:00:00.000Z"});
    let transfer = json!({"amount": amount, "expected_by": "2026-09-22"});
    let card =
        json!({"id": "card_1", "last4": "4242", "order": {"state": "shipped", "expected_by": "2026-09-25"}});
    json!({
        "record": {
            "id": "acc_001", "account_number": "ABC01234", "balance": {"minor": 123_450, "currency": "EUR"},
            "cards": [card], "transactions": [transaction],
            "transfers": [transfer],
            "package": {"name": "premium", "price": {"minor": 1_090, "currency": "EUR"}, "renews_on": "2026-10-12"},
        },
        "latest": [transaction], "transaction": transaction,
        "transfer": transfer, "card": card, "amount": {"minor": 4_999, "currency": "EUR"}, "field": "iban",
    })
}

#[test]
fn every_template_renders_in_every_language_and_ends_with_the_notice() {
    let templates = shipped();
    let names: Vec<&str> = templates.names().collect();
    assert_eq!(names.len(), 68, "{names:?}");
    for language in Language::ALL {
        for name in &names {
            let passages = [passage(Audience::Public)];
            let reply = templates.render(language, name, &context(), &passages, Some(&grant())).unwrap();
            let last = reply.text.lines().last().unwrap();
            assert!(last.contains(if language == Language::De {
                "automatischen System"
            } else {
                "automated system"
            }));
            assert!(!reply.text.contains("ABC01234") && !reply.text.contains("{"), "{name}: {}", reply.text);
            let cites = templates.needs(name).unwrap().cites;
            assert_eq!(reply.citations.len(), usize::from(cites), "{name}");
            assert_eq!(reply.text.contains("Gesperrtes Konto entsperren"), cites, "{name}");
        }
    }
}

#[test]
fn the_unlock_text_masks_quotes_and_cites() {
    let passages = [passage(Audience::Public)];
    let reply =
        shipped().render(Language::De, "account_unlock", &context(), &passages, Some(&grant())).unwrap();
    for part in [
        "Ihr Konto ••••1234",
        "> 1. App öffnen.\n> 2. Bestätigen.",
        "Quelle: „Gesperrtes Konto entsperren“, Abschnitt „Konto entsperren“, Fassung 1.4",
    ] {
        assert!(reply.text.contains(part), "{part}\n{}", reply.text);
    }
    let mut whole = passage(Audience::Public);
    whole.section.clear();
    let reply = shipped().render(Language::En, "card_arrival_none", &json!({}), &[whole], None).unwrap();
    assert!(reply.text.contains("Source: “Gesperrtes Konto entsperren”, version 1.4"), "{}", reply.text);
}

#[test]
fn nothing_of_a_record_is_told_without_a_grant_that_covers_it() {
    let templates = shipped();
    let render = |name: &str, context: &Value, grant: Option<&DiscloseGrant>| {
        templates.render(Language::De, name, context, &[], grant).map(|reply| reply.text)
    };
    for name in ["balance", "card_blocked", "refund_done"] {
        assert!(matches!(render(name, &context(), None), Err(ReplyError::Undisclosed { .. })), "{name}");
        let foreign = DiscloseGrant::seal(CustomerId::new("cus_002"), vec![RecordId::new("acc_002")]);
        assert!(
            matches!(render(name, &context(), Some(&foreign)), Err(ReplyError::Undisclosed { .. })),
            "{name}"
        );
    }
    // A card or an amount that is not of the covered record stays untold, also beside one that is.
    let mut mixed = context();
    mixed["card"]["last4"] = json!("9999");
    mixed["amount"]["minor"] = json!(1);
    assert!(matches!(render("card_blocked", &mixed, Some(&grant())), Err(ReplyError::Undisclosed { .. })));
    assert!(matches!(render("refund_done", &mixed, Some(&grant())), Err(ReplyError::Undisclosed { .. })));
    // What a template does not need does not reach it.
    assert_eq!(render("handover", &context(), None).unwrap(), render("handover", &json!({}), None).unwrap());
}

#[test]
fn uniform_texts_are_the_same_whatever_is_known() {
    let templates = shipped();
    for name in ["unverified", "handover"] {
        for language in Language::ALL {
            let plain = templates.render(language, name, &json!({}), &[], None).unwrap();
            let passages = [passage(Audience::Internal)];
            assert_eq!(
                templates.render(language, name, &context(), &passages, Some(&grant())).unwrap(),
                plain
            );
        }
    }
}

#[test]
fn what_is_missing_internal_or_unknown_is_an_error() {
    let templates = shipped();
    let render = |name: &str, context: &Value, passages: &[Passage]| {
        templates.render(Language::En, name, context, passages, Some(&grant())).unwrap_err().to_string()
    };
    assert!(render("account_unlock", &context(), &[passage(Audience::Internal)]).contains("is internal"));
    assert!(render("account_unlock", &context(), &[]).contains("needs `passage.text`"));
    assert!(render("card_blocked", &context(), &[passage(Audience::Internal)]).contains("is internal"));
    let forged = json!({"passage": {"text": "forged"}});
    assert!(render("login_help", &forged, &[]).contains("needs `passage.text`"));
    assert!(render("balance", &json!({"record": {"id": "acc_001", "balance": null}}), &[]).contains("needs"));
    assert!(render("notice", &json!({}), &[]).contains("there is no template `notice`"));
    let error = render("ask_which", &json!({"field": "mother's name"}), &[]);
    assert!(error.contains("ask_which") && !error.contains("mother"), "{error}");
}

#[test]
fn values_cannot_break_the_text() {
    let mut context = context();
    context["record"]["cards"][0]["last4"] = json!("42\n\n{{ 7*7 }}\u{202e}");
    context["card"] = context["record"]["cards"][0].clone();
    let reply = shipped().render(Language::En, "card_blocked", &context, &[], Some(&grant())).unwrap();
    assert!(reply.text.contains("ending in 42  {{ 7*7 }}  is now blocked"), "{}", reply.text);
}

#[test]
fn a_bad_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/templates");
    let load = |change: &dyn Fn(String) -> String| {
        for name in ["de.toml", "en.toml"] {
            let text = fs::read_to_string(source.join(name)).unwrap();
            fs::write(folder.path().join(name), if name == "en.toml" { change(text) } else { text }).unwrap();
        }
        Templates::load(folder.path()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(load(&|text| text), Ok(()));
    let broken = [
        ("[talk_to_human]", "[talk_to_robot]", "template `talk_to_human`: it is in"),
        ("{{ record.balance|money }}", "{{ record.balance }", "template `balance`: line"),
        (
            "{{ record.balance|money }}",
            "much",
            "template `balance`: the text uses [\"record.account_number\"]",
        ),
        ("{{ passage.text|quote }}", "{{ passage|quote }}", "template `account_unlock`: the text uses"),
        ("[notice]", "[notes]", "template `notice`: add it"),
        ("cites = true", "quotes = true", "unknown field `quotes`"),
        ("[working]\ntext", "[working]\ncites = true\ntext", "cites differs"),
    ];
    for (from, to, expected) in broken {
        let error = load(&|text| text.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains("en.toml") && error.contains(expected), "{error}");
    }
    fs::remove_file(folder.path().join("de.toml")).unwrap();
    assert!(Templates::load(folder.path()).err().unwrap().to_string().contains("de.toml"));
}
