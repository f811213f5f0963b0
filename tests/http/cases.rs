use super::Served;
use crate::stage::MESSAGE;
use serde_json::json;

#[tokio::test]
async fn a_channel_gets_the_answer_and_only_that() {
    let served = Served::new().await;
    let (status, view) = served.open("cus_001", MESSAGE).await;
    assert_eq!(status, 201, "{view}");
    let names: Vec<&str> = view.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["case", "status", "reply"]);
    assert_eq!(view["status"], "resolved", "{view}");
    assert!(view["reply"]["text"].as_str().unwrap().contains("••••1234"));
    let case = view["case"].as_str().unwrap();
    let (_, again) = served.call("channel", "GET", &format!("/v1/cases/{case}"), None).await;
    assert_eq!(again, view);
    let (status, _) = served.call("other", "GET", &format!("/v1/cases/{case}"), None).await;
    assert_eq!(status, 404, "another channel's case does not exist for this one");
    let (status, _) = served.call("channel", "GET", &format!("/v1/cases/{case}/trace"), None).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn the_staff_sees_why() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_001", MESSAGE).await;
    let case = view["case"].as_str().unwrap();
    let (status, staff) = served.call("agent", "GET", &format!("/v1/cases/{case}"), None).await;
    assert_eq!(status, 200);
    assert_eq!(staff["plan"]["path"], json!(["found", "single", "not_flagged", "unlock"]));
    assert_eq!(staff["facts"]["selected"], json!(["acc_001"]));
    let (status, trace) = served.call("auditor", "GET", &format!("/v1/cases/{case}/trace"), None).await;
    assert_eq!(status, 200);
    let text = trace.to_string();
    for wanted in ["received", "understood", "found", "grounded", "planned", "replied", "sha256:", "acc_017"]
    {
        assert!(text.contains(wanted), "the trace lacks {wanted}");
    }
    let (status, sound) = served.call("auditor", "GET", "/v1/audit/verify", None).await;
    assert_eq!(status, 200, "{sound}");
}

#[tokio::test]
async fn the_same_request_twice_is_one_case() {
    let served = Served::new().await;
    let token = served.token("cus_001", MESSAGE, None).await;
    let headers = [("Prokura-Identity", token.as_str()), ("Idempotency-Key", "k-1")];
    let body = json!({"text": MESSAGE});
    let (_, first) = served.call_with("channel", "POST", "/v1/cases", &headers, Some(body.clone())).await;
    let (status, second) = served.call_with("channel", "POST", "/v1/cases", &headers, Some(body)).await;
    assert!(status == 200 || status == 201, "{status}: {second}");
    assert_eq!(first["case"], second["case"]);
    let other = json!({"text": "something else"});
    let key = [("Idempotency-Key", "k-1")];
    let (status, refused) = served.call_with("channel", "POST", "/v1/cases", &key, Some(other)).await;
    assert_eq!(status, 409, "{refused}");
}

#[tokio::test]
async fn an_approval_is_decided_by_its_authenticated_caller() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_016", "Mir wurde derselbe Einkauf zweimal abgebucht!").await;
    assert_eq!(
        view["status"], "with_human",
        "a channel does not learn that an approval is waited for: {view}"
    );
    let (_, waiting) = served.call("supervisor", "GET", "/v1/approvals", None).await;
    let id = waiting.to_string().split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let path = format!("/v1/approvals/{id}/decision");
    let (status, _) = served.call("channel", "POST", &path, Some(json!({"approve": true}))).await;
    assert_eq!(status, 403);
    let forged = json!({"approve": true, "approver": "tom"});
    let (status, _) = served.call("supervisor", "POST", &path, Some(forged)).await;
    assert_eq!(status, 400, "the approver is never a field of the body");
    let (status, decided) = served.call("supervisor", "POST", &path, Some(json!({"approve": true}))).await;
    assert_eq!(status, 200, "{decided}");
    let case = view["case"].as_str().unwrap();
    for _ in 0..100 {
        let (_, now) = served.call("channel", "GET", &format!("/v1/cases/{case}"), None).await;
        if now["status"] == "resolved" {
            assert_eq!(served.stage.effects().len(), 1);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the approved refund was not made");
}

#[tokio::test]
async fn reading_and_searching_need_no_case() {
    let served = Served::new().await;
    let (status, reading) =
        served.call("agent", "POST", "/v1/understand", Some(json!({"text": MESSAGE}))).await;
    assert_eq!(status, 200, "{reading}");
    assert_eq!(reading["intents"][0]["leaf"], "account_locked");
    assert!(reading.get("explanation").is_none());
    let asked = json!({"text": MESSAGE, "explain": true});
    let (_, explained) = served.call("agent", "POST", "/v1/understand", Some(asked)).await;
    assert_eq!(explained["intents"], reading["intents"]);
    assert_eq!(explained["explanation"]["intents"][0]["leaf"], "account_locked");
    assert!(explained["explanation"]["intents"][0]["gap"].as_f64().unwrap() <= 0.02);
    let query = json!({"query": "Konto gesperrt entsperren"});
    let (status, grounds) = served.call("agent", "POST", "/v1/search", Some(query)).await;
    assert_eq!(status, 200, "{grounds}");
    assert!(grounds["passages"][0]["document"].as_str().unwrap().starts_with("account-unlock"));
    let (status, _) = served.call("channel", "POST", "/v1/search", Some(json!({"query": "x"}))).await;
    assert_eq!(status, 403);
}
