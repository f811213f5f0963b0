//! What the service says of its models.

use super::Served;
use serde_json::Value;

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
    assert!(metrics.contains("prokura_model_fault 0"));
    for role in ["channel", "agent"] {
        assert_eq!(served.call(role, "GET", "/metrics", None).await.0, 403, "{role}");
    }
    assert_eq!(served.call("channel", "GET", "/v1/models", None).await.0, 403);
}
