//! What people do over the API: approving with four eyes, editing, taking over, answering, giving back.

use super::Served;
use serde_json::{Value, json};

const CHARGED: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

async fn waiting(served: &Served) -> Value {
    let (_, waiting) = served.call("supervisor", "GET", "/v1/approvals", None).await;
    waiting["approvals"][0].clone()
}

fn decision(approval: &Value) -> String {
    format!("/v1/approvals/{}/decision", approval["request"]["id"].as_str().unwrap())
}

fn yes() -> Option<Value> {
    Some(json!({"approve": true}))
}

#[tokio::test]
async fn a_refund_over_the_limit_takes_two_people() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_029", CHARGED).await;
    let approval = waiting(&served).await;
    assert_eq!(
        (&approval["request"]["needed"], &approval["arguments"]["amount"]["minor"]),
        (&json!(2), &json!(129_000))
    );
    let path = decision(&approval);
    // Neither the channel, nor who has no part in it, nor one person twice, whatever key they use.
    for who in ["channel", "auditor", "operator", "policy_admin", "model_admin", "system"] {
        assert_eq!(served.call(who, "POST", &path, yes()).await.0, 403, "{who}");
    }
    let (status, once) = served.call("supervisor", "POST", &path, yes()).await;
    assert_eq!((status, &once["status"]), (200, &json!("waiting_approval")), "{once}");
    assert!(served.stage.effects().is_empty());
    for key in ["supervisor", "supervisor-2"] {
        let (status, refused) = served.call(key, "POST", &path, yes()).await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("same_person")), "{key}");
    }
    let (status, done) = served.call("agent", "POST", &path, yes()).await;
    assert_eq!((status, &done["status"]), (200, &json!("resolved")), "{done}");
    assert_eq!(served.stage.effects().len(), 1);
    let (status, refused) = served.call("security", "POST", &path, yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("settled")));
    // What let it happen stands in the trace.
    let case = view["case"].as_str().unwrap();
    let (_, trace) = served.call("auditor", "GET", &format!("/v1/cases/{case}/trace"), None).await;
    let events = trace["events"].as_array().unwrap();
    let of = |kind: &str| {
        events.iter().filter(|event| event["event"] == kind).map(|event| &event["body"]).collect::<Vec<_>>()
    };
    assert_eq!(of("received")[0]["by"]["policies"], json!(["channels-bring-messages"]));
    assert_eq!(of("found")[0]["read"]["policies"], json!(["read-own-account-data"]));
    assert!(
        of("voted").iter().all(|vote| vote["vote"]["policies"] == json!(["who-serves-customers-approves"]))
    );
    assert_eq!(of("decided").last().unwrap()["decision"]["policies"], json!(["refund-two-approvers"]));
    assert_eq!(of("replied").last().unwrap()["disclosed"]["policies"], json!(["tell-owner-or-authorised"]));
}

#[tokio::test]
async fn what_is_handed_on_to_a_role_is_for_that_role_also_when_people_are_asked_again() {
    let served = Served::new().await;
    served.open("cus_016", CHARGED).await;
    let approval = waiting(&served).await;
    let id = approval["request"]["id"].as_str().unwrap();
    let path = format!("/v1/approvals/{id}/delegation");
    let hand_on = async |key: &str, role: &str| {
        let (status, told) = served.call(key, "POST", &path, Some(json!({"role": role}))).await;
        (status, told["error"]["code"].clone())
    };
    for who in ["channel", "auditor", "operator", "system"] {
        assert_eq!(hand_on(who, "supervisor").await.0, 403, "{who}");
    }
    assert_eq!(hand_on("agent", "boss").await.0, 400);
    assert_eq!(hand_on("agent", "auditor").await, (409, json!("no_delegate")));
    assert_eq!(hand_on("agent", "supervisor").await.0, 200);
    let (status, refused) = served.call("agent", "POST", &decision(&approval), yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("delegated")));
    assert_eq!(hand_on("agent", "agent").await, (403, json!("delegated")));
    assert_eq!(waiting(&served).await["request"]["delegated"], "supervisor");
    let mut arguments = approval["arguments"].clone();
    arguments["amount"]["minor"] = json!(10_000);
    let edit = format!("/v1/approvals/{id}/edit");
    let (status, edited) =
        served.call("supervisor", "POST", &edit, Some(json!({"arguments": arguments}))).await;
    assert_eq!(status, 200, "{edited}");
    let again = waiting(&served).await;
    assert_eq!(again["request"]["delegated"], "supervisor", "{again}");
    let (status, refused) = served.call("agent", "POST", &decision(&again), yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("delegated")));
    assert!(served.stage.effects().is_empty());
}

#[tokio::test]
async fn an_edit_asks_again_and_whoever_edits_does_not_approve() {
    let served = Served::new().await;
    served.open("cus_016", CHARGED).await;
    let approval = waiting(&served).await;
    let edit = format!("/v1/approvals/{}/edit", approval["request"]["id"].as_str().unwrap());
    let mut arguments = approval["arguments"].clone();
    arguments["amount"]["minor"] = json!(39_000);
    let (status, refused) = served.call("agent", "POST", &edit, Some(json!({"arguments": arguments}))).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("bad_edit")), "{refused}");
    // Within what the machine may do alone; a person changed it, so another one looks.
    arguments["amount"]["minor"] = json!(10_000);
    let body = json!({"arguments": arguments, "reason": "the shop gave back the rest"});
    assert_eq!(served.call("channel", "POST", &edit, Some(body.clone())).await.0, 403);
    let (status, edited) = served.call("agent", "POST", &edit, Some(body)).await;
    assert_eq!((status, &edited["status"]), (200, &json!("waiting_approval")), "{edited}");
    let (status, refused) = served.call("supervisor", "POST", &decision(&approval), yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("settled")), "what was shown is no more");
    let again = waiting(&served).await;
    assert_eq!(again["arguments"]["amount"]["minor"], 10_000);
    let (status, refused) = served.call("agent", "POST", &decision(&again), yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("initiator")));
    let (_, done) = served.call("supervisor", "POST", &decision(&again), yes()).await;
    assert_eq!(done["status"], "resolved", "{done}");
    assert!(done["reply"]["text"].as_str().unwrap().contains("100,00"), "{}", done["reply"]["text"]);
    let effects = served.stage.effects();
    assert_eq!((effects.len(), &effects[0]["arguments"]["amount"]["minor"]), (1, &json!(10_000)));
}

#[tokio::test]
async fn a_person_steps_in_answers_and_gives_the_case_back_where_it_stood() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_016", CHARGED).await;
    let case = view["case"].as_str().unwrap();
    let path = |what: &str| format!("/v1/cases/{case}/{what}");
    let (approval, none) = (waiting(&served).await, Some(json!({})));
    for who in ["channel", "auditor", "operator", "system"] {
        assert_eq!(served.call(who, "POST", &path("take"), none.clone()).await.0, 403, "{who}");
    }
    let (status, refused) = served.call("agent", "POST", &path("give-back"), none.clone()).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("not_now")));
    let (status, taken) =
        served.call("agent", "POST", &path("take"), Some(json!({"reason": "the customer called"}))).await;
    assert_eq!((status, &taken["status"], &taken["held_by"]), (200, &json!("with_human"), &json!("agent")));
    // What waited is void, and nobody else goes on with it.
    assert_eq!(served.call("supervisor", "POST", &decision(&approval), yes()).await.0, 409);
    assert_eq!(served.call("security", "POST", &path("give-back"), none.clone()).await.0, 409);
    let (_, package) = served.call("agent", "GET", &path("handover"), None).await;
    assert_eq!(package["stopped"]["step"], "refund", "{package:#}");
    assert_eq!(package["steps"][0]["tool"], "refund");
    assert_eq!(package["reading"]["leaf"], "transaction_charged_twice");
    assert!(package["goes_on_at"].as_array().unwrap().contains(&json!("refund")));
    assert!(package["proposed"]["action"].is_string() && !package["passages"].as_array().unwrap().is_empty());
    let said = json!({"text": "Wir prüfen das gerade."});
    let (_, answered) = served.call("agent", "POST", &path("answer"), Some(said)).await;
    assert_eq!(answered["status"], "with_human");
    let (_, seen) = served.call("channel", "GET", &format!("/v1/cases/{case}"), None).await;
    assert_eq!(seen["reply"]["text"], "Wir prüfen das gerade.");
    let (status, refused) =
        served.call("agent", "POST", &path("give-back"), Some(json!({"step": "refnd"}))).await;
    assert_eq!(status, 409, "{refused}");
    let (_, back) = served.call("agent", "POST", &path("give-back"), none.clone()).await;
    assert_eq!(back["status"], "waiting_approval", "{back}");
    let again = waiting(&served).await;
    // It is what they began.
    let (status, refused) = served.call("agent", "POST", &decision(&again), yes()).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("initiator")));
    let (_, done) = served.call("supervisor", "POST", &decision(&again), yes()).await;
    assert_eq!(done["status"], "resolved", "{done}");
    assert_eq!(served.stage.effects().len(), 1);
}

#[tokio::test]
async fn a_case_that_no_plan_covers_goes_on_with_the_concern_that_a_person_names() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_015", "Bitte verbinden Sie mich mit einem Mitarbeiter.").await;
    assert_eq!(view["status"], "with_human", "{view}");
    let path = |what: &str| format!("/v1/cases/{}/{what}", view["case"].as_str().unwrap());
    assert_eq!(served.call("agent", "POST", &path("take"), Some(json!({}))).await.0, 200);
    let named = Some(json!({"leaf": "transaction_charged_twice"}));
    let (_, back) = served.call("supervisor", "POST", &path("give-back"), named).await;
    // The reading was not sure of this concern, so that people are asked about the refund.
    assert_eq!(back["status"], "waiting_approval", "{back}");
    assert!(served.stage.effects().is_empty());
    // A person's own answer ends it.
    assert_eq!(served.call("agent", "POST", &path("take"), Some(json!({}))).await.0, 200);
    let end = Some(json!({"text": "Erledigt.", "resolves": true}));
    let (_, ended) = served.call("agent", "POST", &path("answer"), end).await;
    assert_eq!(ended["status"], "resolved", "{ended}");
}
