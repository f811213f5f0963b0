//! The message that the product is explained with, and what must not change its answer.

use crate::stage::{MESSAGE, Stage, incoming, path, root, shown, text, verified};
use prokura::base::{CaseId, Clock, Digest, SystemClock};
use prokura::cases::{Stage as At, State, Status, replay, reread, search_again};
use prokura::intake::{BankCodes, Identity};
use prokura::ledger::{Entry, Stream, StreamKind};
use prokura::policy::Generation;
use prokura::understanding::installed::{Action, Change};
use prokura::understanding::{Compute, Live, Schema, bundle};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn values(state: &State, group: &str, field: &str) -> Vec<String> {
    let reading = state.reading.as_ref().unwrap();
    reading.fields[group][field].iter().map(|value| value.text.clone()).collect()
}

fn scores(state: &State) -> Vec<(String, u32)> {
    let facts = state.facts.as_ref().unwrap();
    facts.candidates.iter().map(|found| (found.id.to_string(), found.score as u32)).collect()
}

fn score(state: &State, id: &str) -> Option<u32> {
    scores(state).into_iter().find(|(known, _)| known == id).map(|(_, score)| score)
}

#[tokio::test]
async fn the_german_message_is_resolved() {
    let stage = Stage::new().await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    let reading = state.reading.as_ref().unwrap();
    assert_eq!(reading.language.code(), "de");
    assert_eq!(reading.intents[0].leaf, "account_locked", "{}", shown(&state));
    assert_eq!(reading.intents[0].parents[0].parent, "account_access");
    let login = reading.leaves.iter().find(|leaf| leaf.leaf == "login_problem");
    assert!(login.is_some_and(|leaf| leaf.probability.get() >= 0.01), "login_problem has no visible mass");
    assert_eq!(values(&state, "persons", "first_name"), ["Max", "Angelika"]);
    assert_eq!(values(&state, "persons", "last_name"), ["Müller"]);
    assert_eq!(values(&state, "account", "branch"), ["Sparkasse Nürnberg"]);
    let account = &reading.fields["account"]["account_number"];
    assert_eq!(account.len(), 1);
    assert_eq!(account[0].variants, ["ABC01234", "ABCO1234"]);

    let found = ["acc_001", "acc_017", "acc_204", "acc_388"].map(|id| score(&state, id));
    assert_eq!(found, [Some(10), Some(3), Some(2), Some(1)]);
    assert!(scores(&state)[1..].iter().all(|(_, score)| *score <= 3));
    let selected = &state.facts.as_ref().unwrap().selected;
    assert_eq!(selected.iter().map(ToString::to_string).collect::<Vec<_>>(), ["acc_001"]);

    assert_eq!(path(&state), ["found", "single", "not_flagged", "unlock"]);
    assert_eq!(state.status, Status::Resolved);
    let reply = state.replies.last().unwrap();
    assert_eq!(reply.language.code(), "de");
    assert!(reply.text.contains("••••1234") && !reply.text.contains("ABC01234"), "{}", reply.text);
    assert!(reply.text.contains("automatischen System"), "{}", reply.text);
    assert_eq!(reply.citations[0].document, "account-unlock-de");
    assert!(stage.effects().is_empty(), "an answer changes nothing at the bank");
}

#[tokio::test]
async fn the_english_message_is_resolved() {
    let stage = Stage::new().await;
    let message = "I'm a customer of Sparkasse Nürnberg, my name is Max Müller, my partner is Angelika Müller, \
        account number ABCO1234. We can't get into our account any more.";
    let state = stage.send(message, verified("cus_001")).await;
    assert_eq!(state.reading.as_ref().unwrap().language.code(), "en");
    assert_eq!(path(&state), ["found", "single", "not_flagged", "unlock"], "{}", shown(&state));
    assert_eq!(score(&state, "acc_001"), Some(10));
    let reply = state.replies.last().unwrap();
    assert!(reply.text.contains("automated system"), "{}", reply.text);
    assert_eq!(reply.citations[0].document, "account-unlock-en");
}

#[tokio::test]
async fn an_account_blocked_after_a_card_problem_comes_through_cards() {
    let stage = Stage::new().await;
    for message in [
        "Nach dem Ärger mit meiner Karte wurde mein ganzes Konto gesperrt. Wie bekomme ich es wieder frei?",
        "After the trouble with my card you blocked my whole account. How do I get it unlocked?",
    ] {
        let state = stage.send(message, verified("cus_001")).await;
        let intent = &state.reading.as_ref().unwrap().intents[0];
        assert_eq!(intent.leaf, "account_locked", "{}", shown(&state));
        assert_eq!(intent.parents[0].parent, "cards", "{}", shown(&state));
        assert_eq!(path(&state), ["found", "single", "not_flagged", "unlock"]);
    }
}

#[tokio::test]
async fn a_pin_typed_wrongly_three_times_ends_in_the_same_sub_plan() {
    let stage = Stage::new().await;
    for message in [
        "Ich habe meine PIN dreimal falsch eingegeben, jetzt geht nichts mehr.",
        "I typed my PIN wrong three times and now it is blocked.",
    ] {
        let state = stage.send(message, verified("cus_005")).await;
        assert_eq!(state.reading.as_ref().unwrap().intents[0].leaf, "pin_blocked", "{}", shown(&state));
        assert!(path(&state).ends_with(&["found", "single", "not_flagged", "unlock"]), "{}", shown(&state));
    }
}

#[tokio::test]
async fn a_flagged_account_goes_to_security_and_the_customer_cannot_tell() {
    let stage = Stage::with_switches(&["fraud=acc_001"]).await;
    let flagged = stage.send(MESSAGE, verified("cus_001")).await;
    let escalation = flagged.escalation.as_ref().unwrap();
    assert_eq!(escalation.queue, "security");
    let view = prokura::cases::staff_view(&flagged);
    let attached = &view["escalation"]["investigation"];
    assert_eq!(attached["facts"]["selected"], json!(["acc_001"]));
    assert_eq!(attached["reading"]["intents"][0]["leaf"], "account_locked");
    assert!(attached["grounds"]["passages"].as_array().is_some_and(|found| !found.is_empty()));

    let other = stage.send("Ich möchte mit einem Mitarbeiter sprechen, bitte.", verified("cus_006")).await;
    assert_eq!(other.status, Status::WithHuman, "{}", shown(&other));
    let unknown = stage.send("Ich möchte ein neues Scheckheft bestellen.", verified("cus_006")).await;
    assert_eq!(unknown.status, Status::WithHuman);
    assert_eq!(text(&flagged), text(&unknown), "any other hand-over reads the same");
    let customer = prokura::cases::customer_view(&flagged);
    assert_eq!(customer["status"], prokura::cases::customer_view(&unknown)["status"]);
    assert_eq!(customer.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn two_candidates_are_told_apart_by_a_question_that_reveals_neither() {
    let stage = Stage::with_switches(&["doubled"]).await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(state.facts.as_ref().unwrap().selected.len(), 2);
    assert_eq!(state.status, Status::WaitingCustomer, "{}", shown(&state));
    let question = text(&state).to_owned();
    assert!(question.contains("IBAN"), "{question}");
    let records = &state.facts.as_ref().unwrap().records;
    for record in records {
        for field in ["iban", "account_number", "date_of_birth", "postcode"] {
            let value = record.fields[field].as_str().unwrap();
            assert!(!question.contains(value), "the question shows {field}");
        }
    }
    let iban = records.iter().find(|record| record.id.as_str() == "acc_001").unwrap().fields["iban"].clone();
    let answer = format!("Die IBAN ist {}", iban.as_str().unwrap());
    let answered = stage.send_to(state.case.clone(), &answer, verified("cus_001")).await;
    assert_eq!(answered.status, Status::Resolved, "{}", shown(&answered));
    assert_eq!(path(&answered).last(), Some(&"unlock"));
}

#[tokio::test]
async fn an_answer_is_read_by_the_bundle_that_read_the_question() {
    let state = tempfile::tempdir().unwrap();
    let shipped = root().join("models/default");
    let models = Live::open(
        state.path(),
        &shipped,
        &Schema::read(&root().join("config")).unwrap(),
        Compute::default(),
    )
    .unwrap();
    let models = Arc::new(models);
    let first = models.current().digest().clone();
    let mut calibration = models.current().calibration().clone();
    calibration.intent.all *= 1.01;
    let folder = state.path().join("second");
    bundle::recalibrated(&shipped, &folder, &calibration, str::to_owned).unwrap();

    let stage = Stage::with_models(&["doubled"], Arc::clone(&models)).await;
    let asked = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(asked.status, Status::WaitingCustomer, "{}", shown(&asked));
    let second = models.installed().import(&folder, models.current().schema()).unwrap();
    let promoted = Change {
        at: SystemClock.now(),
        action: Action::Promoted,
        model: Some(second.clone()),
        previous: Some(first.clone()),
        by: "sara".to_owned(),
        forced: None,
        below: Vec::new(),
    };
    models.installed().note(&promoted).unwrap();
    assert_eq!(models.refresh().unwrap().to, second);

    let answer = "Die IBAN ist DE02120300000000202051";
    let answered = stage.send_to(asked.case.clone(), answer, verified("cus_001")).await;
    assert_eq!(answered.reading.as_ref().unwrap().digests.model, first);
    let stream = Stream::new(StreamKind::Case, answered.case.as_str());
    let entries = stage.cases.parts().ledger.stream(&stream, 0).unwrap();
    let last = entries.iter().rfind(|entry| entry.kind == "understood").unwrap();
    assert_eq!(last.digests["model"], first, "the ledger names the bundle that read");
    let other = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(other.reading.as_ref().unwrap().digests.model, second);
    // What the ledger has of the history is restored, whatever becomes of the file, and what reads goes on reading.
    let history = stage.cases.record_models().unwrap();
    assert_eq!(history.len(), 1);
    let file = state.path().join("models/history.jsonl");
    let whole = std::fs::read(&file).unwrap();
    for (times, damaged) in [&b""[..], b"nonsense\n", &whole[..whole.len() - 5]].into_iter().enumerate() {
        std::fs::write(&file, damaged).unwrap();
        let restored = stage.cases.record_models().unwrap();
        assert_eq!(restored.len(), times + 2);
        assert_eq!((&restored[0], restored[times + 1].action), (&history[0], Action::Restored));
        assert_eq!(models.follow(&restored), None);
        assert_eq!((models.current().digest(), models.fault()), (&second, None));
        assert_eq!(models.installed().history().unwrap(), restored);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(stage.cases.record_models().unwrap().len(), 5);
    let kept = std::fs::read_dir(state.path().join("models")).unwrap();
    let kept = kept.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("found"));
    assert_eq!(kept.count(), 3, "what was found is kept");
}

#[tokio::test]
async fn the_word_that_every_reply_offers_leads_to_a_person() {
    let stage = Stage::with_switches(&["missing=acc_001"]).await;
    for word in ["Mitarbeiter", "„Mitarbeiter“", "agent"] {
        let state = stage.send(MESSAGE, verified("cus_001")).await;
        assert_eq!(state.status, Status::WaitingCustomer);
        let after = stage.send_to(state.case.clone(), word, verified("cus_001")).await;
        assert_eq!(after.status, Status::WithHuman, "{}", shown(&after));
        assert!(after.escalation.unwrap().reason.contains("person"));
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_leads_to_a_request_for_its_details() {
    let stage = Stage::with_switches(&["missing=acc_001"]).await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(path(&state), ["found", "ask_account"], "{}", shown(&state));
    assert_eq!(state.status, Status::WaitingCustomer);
}

#[tokio::test]
async fn who_is_not_verified_gets_one_answer_whatever_the_records_say() {
    let mut answers = Vec::new();
    for switches in [&[][..], &["doubled"], &["fraud=acc_001"], &["missing=acc_001"]] {
        let stage = Stage::with_switches(switches).await;
        for identity in [Identity::Anonymous, Identity::Claimed { from: "max@example.org".into() }] {
            let state = stage.send(MESSAGE, identity).await;
            let facts = state.facts.as_ref().unwrap();
            assert!(facts.records.is_empty(), "no account data is read for nobody");
            if switches.is_empty() {
                assert_eq!(score(&state, "acc_001"), Some(10), "the staff still sees the scores");
            }
            let mut view = prokura::cases::customer_view(&state);
            view["case"] = Value::Null;
            answers.push(view.to_string());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[tokio::test]
async fn somebody_elses_account_is_neither_told_nor_touched() {
    let stage = Stage::new().await;
    let strangers = [
        MESSAGE.to_owned(),
        "Meine Karte wurde gestohlen, bitte sofort sperren! Kontonummer ABC01234".to_owned(),
        "Wie ist der Kontostand von Konto ABC01234?".to_owned(),
    ];
    for message in strangers {
        let state = stage.send(&message, verified("cus_006")).await;
        assert!(state.facts.as_ref().unwrap().records.is_empty(), "{}", shown(&state));
        assert!(!text(&state).contains("1234"), "{}", text(&state));
        assert_eq!(state.status, Status::WaitingCustomer, "{}", shown(&state));
    }
    assert!(stage.effects().is_empty() && stage.orders().is_empty());
}

#[tokio::test]
async fn an_anonymous_message_in_a_verified_case_gets_nothing_of_it() {
    let stage = Stage::with_switches(&["missing=acc_001"]).await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(state.status, Status::WaitingCustomer);
    stage.switch(json!({"missing": []})).await;
    let later = stage.send_to(state.case.clone(), MESSAGE, Identity::Anonymous).await;
    assert!(later.facts.as_ref().unwrap().records.is_empty());
    let anonymous = stage.send(MESSAGE, Identity::Anonymous).await;
    assert_eq!(text(&later), text(&anonymous));
    // What an unverified sender said does not stand behind what a verified one asks for next.
    let stolen = "Meine Karte wurde gestohlen, bitte sofort sperren!";
    let planted = stage.send(stolen, Identity::Anonymous).await;
    let after =
        stage.send_to(planted.case.clone(), "Hallo, wie ist mein Kontostand?", verified("cus_006")).await;
    assert!(after.calls.is_empty(), "{}", shown(&after));
    assert!(stage.orders().is_empty());
}

/// The bundle and arithmetic of a recorded reading decide what reading again must show.
#[tokio::test]
async fn a_message_that_is_read_again_says_the_same_bit_for_bit() {
    let stage = Stage::new().await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    let mut entries = stage.cases.entries(&state.case).await.unwrap();
    let current = stage.cases.parts().models.current();
    let banks = BankCodes::default();
    let digests = stage.cases.digests();
    let open = |model: &Digest| (model == current.digest()).then(|| Arc::clone(&current));
    let again = |entries: &[Entry]| reread(&state.case, entries, (&digests, &banks), open).unwrap();
    let read = again(&entries);
    assert_eq!((read.len(), read[0].promised, read[0].broken()), (1, true, false), "{read:?}");
    assert!(read[0].differs.is_empty() && read[0].recorded.starts_with("int8.1 "), "{read:?}");
    let gone = &reread(&state.case, &entries, (&digests, &banks), |_| None).unwrap()[0];
    assert_eq!((&gone.now, gone.broken()), (&None, false), "nobody can show it, or refute it");
    // The policies are searched again in the generation that was searched, and give the same.
    let parts = stage.cases.parts();
    let searched = |open: &dyn Fn(&Digest) -> Option<Arc<Generation>>| {
        let models = |_: &Digest| Some(Arc::clone(&current));
        search_again(&state.case, &entries, &parts.packs, open, models).unwrap()[0].same
    };
    assert_eq!(searched(&|generation| parts.policies.pinned(generation).ok()), Some(true));
    assert_eq!(searched(&|_| None), None);

    let at = entries.iter().position(|entry| entry.kind == "understood").unwrap();
    let recorded = entries[at].body.clone();
    let probability = |body: &mut serde_json::Value, arithmetic: &str| {
        body["reading"]["out_of_scope"] = 0.4321.into();
        body["reading"]["digests"]["arithmetic"] = arithmetic.into();
    };
    // A GPU promises nothing; what it read stays as it is in the record, and the difference is told.
    probability(&mut entries[at].body, "bf16 cuda:0");
    let read = again(&entries);
    assert_eq!(
        (read[0].promised, read[0].broken(), read[0].differs.as_slice()),
        (false, false, ["out_of_scope".to_owned()].as_slice())
    );
    entries[at].body = recorded;
    probability(&mut entries[at].body, "int8.1 avx2");
    assert!(again(&entries)[0].broken());
    // Another program may recognise more: told, and no fault.
    entries[at].digests.insert("program".to_owned(), Digest::of(b"an earlier one"));
    assert_eq!((again(&entries)[0].promised, again(&entries)[0].broken()), (false, false));
}

#[tokio::test]
async fn the_trace_shows_every_step_and_replays_to_the_same_state() {
    let stage = Stage::new().await;
    let state = stage.send(MESSAGE, verified("cus_001")).await;
    let entries = stage.cases.entries(&state.case).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["received", "understood", "found", "grounded", "planned", "replied"]);
    for entry in &entries {
        for name in ["program", "pack", "rules", "autonomy", "model", "generation"] {
            assert!(entry.digests.contains_key(name), "{} lacks {name}", entry.kind);
        }
    }
    let again = stage.cases.state(&state.case).await.unwrap();
    assert_eq!(again, state);
    let stream = Stream::new(StreamKind::Case, state.case.as_str());
    let key = stage.cases.parts().ledger.key_of(&stream).unwrap();
    let replayed = replay(&state.case, &entries, &stage.cases.parts().packs, &key.secret).unwrap();
    assert_eq!(replayed.differences, []);
    assert_eq!(replayed.state, state);
    assert!(replayed.same_pack);
    let unknown = stage.cases.existing(&CaseId::new("case_nowhere")).await;
    assert!(unknown.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_while_a_call_is_under_way_is_answered_after_it() {
    let stage = Stage::with_switches(&["slowness=700"]).await;
    let case = CaseId::new("case_double");
    let first = incoming(case.clone(), "Mir wurde derselbe Einkauf zweimal abgebucht!", verified("cus_015"));
    stage.cases.accept(first).await.unwrap();
    stage.cases.start(case.clone());
    while stage.cases.state(&case).await.unwrap().stage != At::Calling {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = incoming(case.clone(), "Wie hoch ist mein Kontostand?", verified("cus_015"));
    stage.cases.accept(second).await.unwrap();
    let mut state = stage.cases.drive(&case).await.unwrap();
    for _ in 0..200 {
        if state.replies.len() == 2 && state.status == Status::Resolved {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        state = stage.cases.state(&case).await.unwrap();
    }
    assert_eq!((state.replies.len(), state.status), (2, Status::Resolved), "{}", shown(&state));
    assert_eq!(state.plan.as_ref().unwrap().leaf, "balance");
    assert_eq!(stage.effects().len(), 1);
}
