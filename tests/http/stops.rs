//! Emergency stops over the API.

use super::Served;
use prokura::base::Digest;
use prokura::cases::Who;
use serde_json::json;

const MESSAGE: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

#[tokio::test]
async fn what_one_person_stops_two_start_again() {
    let served = Served::new().await;
    let stop = |what: &str| json!({"what": what, "reason": "test"});
    assert_eq!(served.call("agent", "POST", "/v1/stops", Some(stop("all"))).await.0, 403);
    let (status, refused) = served.call("supervisor", "POST", "/v1/stops", Some(stop("refnd"))).await;
    assert_eq!(status, 400);
    assert!(refused.to_string().contains("did you mean `refund`?"), "{refused}");
    let (status, told) = served.call("supervisor", "POST", "/v1/stops", Some(stop("refund"))).await;
    assert_eq!((status, &told["stops"][0]["by"]), (200, &json!("supervisor")));

    // The customer hears that a person looks; nothing was done.
    let (_, view) = served.open("cus_015", MESSAGE).await;
    assert_eq!(view["status"], "with_human", "{view}");
    assert!(served.stage.effects().is_empty());
    let case = format!("/v1/cases/{}", view["case"].as_str().unwrap());
    let (_, staff) = served.call("supervisor", "GET", &case, None).await;
    assert!(staff.to_string().contains("stopped by the bank's staff"), "{staff}");
    // Another tool is not stopped.
    let (_, other) = served.open("cus_002", "Ich habe meine Karte verloren, bitte sperren!").await;
    assert_eq!(served.stage.effects().len(), 1, "{other}");

    let start = Some(json!({"what": "refund"}));
    let (status, asked) = served.call("supervisor", "POST", "/v1/stops/start", start.clone()).await;
    assert_eq!((status, &asked["stops"][0]["starting"]), (200, &json!("supervisor")));
    // Two keys of one person are one person.
    assert_eq!(served.call("supervisor-2", "POST", "/v1/stops/start", start.clone()).await.0, 403);
    let (status, started) = served.call("operator", "POST", "/v1/stops/start", start.clone()).await;
    assert_eq!((status, &started["stops"]), (200, &json!([])));
    assert_eq!(served.call("operator", "POST", "/v1/stops/start", start).await.0, 404);
    let (_, view) = served.open("cus_015", MESSAGE).await;
    assert_eq!(view["status"], "resolved", "{view}");
    assert_eq!(served.stage.effects().len(), 2);
}

#[tokio::test]
async fn a_stop_that_another_process_wrote_counts_at_once() {
    let served = Served::new().await;
    let ledger = &served.stage.cases.parts().ledger;
    let digests = [("program".to_owned(), Digest::of(b"other"))].into();
    let at = prokura::base::Timestamp::from_millis(1);
    let leaf = "transaction_charged_twice";
    let who = Who { name: "command-line:0", policies: &[] };
    prokura::cases::stop(ledger, &digests, (leaf, who, None), at).unwrap();
    let (_, view) = served.open("cus_015", MESSAGE).await;
    assert_eq!(view["status"], "with_human", "{view}");
    assert!(served.stage.effects().is_empty());
    let (_, stops) = served.call("auditor", "GET", "/v1/stops", None).await;
    assert_eq!(stops["stops"][0]["what"], leaf);
}
