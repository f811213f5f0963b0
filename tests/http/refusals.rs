use super::Served;
use crate::stage::raw;
use serde_json::{Value, json};

#[tokio::test]
async fn bad_input_is_refused_with_the_thing_and_the_remedy() {
    let served = Served::new().await;
    let big = format!("{{\"text\": \"{}\"}}", "a".repeat(2 << 20));
    let long = format!("{{\"text\": \"{}\"}}", "a".repeat(200_000));
    let cases: [(&[u8], u16); 8] = [
        (b"{\"text\": \"\"}", 400),
        (b"{\"text\": \"   \"}", 400),
        (b"{\"text\": 5}", 400),
        (b"{\"text\": \"a\", \"colour\": \"red\"}", 400),
        (b"{\"text\": ", 400),
        (b"{\"text\": \"\xff\xfe\"}", 400),
        (long.as_bytes(), 413),
        (big.as_bytes(), 413),
    ];
    for (body, wanted) in cases {
        let headers = [("Authorization", "Bearer channel")];
        let (status, answer) = raw(&served.address, "POST", "/v1/cases", &headers, body).await;
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(status, wanted, "{start}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        for part in ["code", "message", "remedy"] {
            assert!(answer["error"][part].as_str().is_some_and(|text| !text.is_empty()), "{start}: {answer}");
        }
    }
    let (_, cases) = served.call("agent", "GET", "/v1/cases", None).await;
    assert!(!cases.to_string().contains("case_0"), "nothing was recorded: {cases}");
}

#[tokio::test]
async fn keys_and_roles_are_asked_for() {
    let served = Served::new().await;
    let body = json!({"text": "hello"});
    assert_eq!(served.call("wrong", "POST", "/v1/cases", Some(body.clone())).await.0, 401);
    assert_eq!(served.call("auditor", "POST", "/v1/cases", Some(body)).await.0, 403);
    assert_eq!(served.call("channel", "GET", "/v1/approvals", None).await.0, 403);
    assert_eq!(served.call("agent", "GET", "/v1/nowhere", None).await.0, 404);
    assert_eq!(served.call("agent", "DELETE", "/v1/cases", None).await.0, 405);
    assert_eq!(served.call("agent", "GET", "/v1/cases/case_unknown", None).await.0, 404);
}

#[tokio::test]
async fn the_service_says_that_it_is_ready_and_what_it_offers() {
    let served = Served::new().await;
    assert_eq!(raw(&served.address, "GET", "/healthz", &[], b"").await.0, 200);
    let (status, ready) = raw(&served.address, "GET", "/readyz", &[], b"").await;
    assert_eq!(status, 200, "{ready}");
    let (status, document) = raw(&served.address, "GET", "/openapi.json", &[], b"").await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&document).unwrap();
    for path in ["/v1/cases", "/v1/cases/{id}/messages", "/v1/approvals/{id}/decision", "/v1/understand"] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
}
