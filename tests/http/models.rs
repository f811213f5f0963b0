//! What the service says of its models.

use super::Served;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn models_and_metrics_are_told_to_those_who_may_know() {
    let served = Served::new().await;
    let (status, models) = served.call("supervisor", "GET", "/v1/models", None).await;
    assert_eq!(status, 200, "{models}");
    let digest = models["digest"].as_str().unwrap();
    assert!(digest.starts_with("sha256:") && models["shadow"].is_null() && models["fault"].is_null());
    let (status, metrics) = served.call("operator", "GET", "/metrics", None).await;
    let Value::String(metrics) = metrics else { panic!("not text: {metrics}") };
    assert_eq!(status, 200);
    assert!(metrics.contains(&format!("prokura_model_info{{digest=\"{digest}\"}} 1")), "{metrics}");
    assert!(metrics.contains("prokura_arithmetic_info{arithmetic=\"int8.1 "), "{metrics}");
    assert!(metrics.contains("prokura_model_fault 0"));
    for role in ["channel", "agent"] {
        assert_eq!(served.call(role, "GET", "/metrics", None).await.0, 403, "{role}");
    }
    assert_eq!(served.call("channel", "GET", "/v1/models", None).await.0, 403);
}

#[tokio::test]
async fn explaining_ends_when_whoever_asked_has_gone() {
    let served = Served::new().await;
    let long = "Meine Karte wurde gestern am Bahnhof gestohlen, und ich brauche bald Hilfe. ".repeat(50);
    let body = json!({"text": long, "explain": true}).to_string();
    let request = format!(
        "POST /v1/understand HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer agent\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let short = json!({"text": "Karte gestohlen", "explain": true});
    let busy = async || served.call("agent", "POST", "/v1/understand", Some(short.clone())).await.0 == 429;
    let until = async |wanted: bool| {
        let begun = Instant::now();
        while busy().await != wanted {
            assert!(begun.elapsed() < Duration::from_secs(20), "busy is not {wanted}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until(true).await;
    drop(stream);
    until(false).await;
}
