use super::Served;
use crate::stage::MESSAGE;
use serde_json::{Value, json};

/// Opens a case with this token and returns the status and view.
async fn with_token(served: &Served, token: &str, text: &str) -> (u16, Value) {
    let headers = [("Prokura-Identity", token)];
    served.call_with("channel", "POST", "/v1/cases", &headers, Some(json!({"text": text}))).await
}

#[tokio::test]
async fn a_token_that_is_not_the_channels_own_is_refused_with_one_text() {
    let served = Served::new().await;
    let good = served.token("cus_001", MESSAGE, None).await;
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none"} in front of the same claims, without a signature.
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let mut forged = parts[2].to_owned();
    forged.replace_range(0..1, if forged.starts_with('A') { "B" } else { "A" });
    let tampered = format!("{}.{}.{forged}", parts[0], parts[1]);
    let other_message = served.token("cus_001", "another text", None).await;
    let other_case = served.token("cus_001", MESSAGE, Some("case_of_somebody")).await;
    let mut answers = Vec::new();
    for token in [none.as_str(), &tampered, &other_message, &other_case, "nonsense"] {
        let (status, body) = with_token(&served, token, MESSAGE).await;
        assert_eq!(status, 401, "{body}");
        answers.push(body.to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (_, cases) = served.call("agent", "GET", "/v1/cases", None).await;
    assert!(!cases.to_string().contains("case_0"), "nothing was recorded: {cases}");
}

#[tokio::test]
async fn a_token_is_good_once() {
    let served = Served::new().await;
    let token = served.token("cus_001", MESSAGE, None).await;
    assert_eq!(with_token(&served, &token, MESSAGE).await.0, 201);
    assert_eq!(with_token(&served, &token, MESSAGE).await.0, 401);
}

#[tokio::test]
async fn identity_in_the_body_is_refused() {
    let served = Served::new().await;
    for field in ["identity", "customer", "as", "assurance"] {
        let body = json!({"text": MESSAGE, field: "cus_001"});
        let (status, refused) = served.call("channel", "POST", "/v1/cases", Some(body)).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains(field), "{refused}");
    }
}

#[tokio::test]
async fn an_anonymous_message_later_in_a_verified_case_is_anonymous() {
    let served = Served::new().await;
    let (_, view) = served.open("cus_001", MESSAGE).await;
    let case = view["case"].as_str().unwrap();
    let path = format!("/v1/cases/{case}/messages");
    let (status, later) = served.call("channel", "POST", &path, Some(json!({"text": MESSAGE}))).await;
    assert_eq!(status, 200, "{later}");
    assert!(!later.to_string().contains("1234"), "{later}");
    let body = json!({"text": MESSAGE});
    let (_, anonymous) = served.call("channel", "POST", "/v1/cases", Some(body)).await;
    assert_eq!(later["reply"]["text"], anonymous["reply"]["text"]);
}
