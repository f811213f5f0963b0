//! The API over real connections, with the demonstration bank's login channel signing identities.

mod autonomy;
mod cases;
mod identity;
mod inference;
mod models;
mod people;
mod policies;
mod refusals;
mod stops;

use crate::stage::{Stage, raw, reply, root};
use prokura::base::Digest;
use prokura::governance::{Principal, Role};
use prokura::http::{Administration, Api, ApiKey, router};
use prokura::intake::{Algorithm, IdentityConfig, IdentityKeys, Limits, document};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A service around a stage. Every role has a key of its own name; `other` is a second channel.
pub struct Served {
    pub stage: Stage,
    pub address: SocketAddr,
}

impl Served {
    pub async fn new() -> Self {
        Self::around(Stage::new().await).await
    }

    pub async fn around(stage: Stage) -> Self {
        let (_, key) = reply(&stage.bank, "GET", "/channel/key", &[], None).await;
        let key: Value = serde_json::from_str(&key).unwrap();
        let identity = IdentityConfig {
            issuer: key["issuer"].as_str().unwrap().into(),
            audience: key["audience"].as_str().unwrap().into(),
            algorithm: Algorithm::EdDsa,
            public_key: key["x"].as_str().unwrap().into(),
        };
        let keys = Role::ALL
            .into_iter()
            .map(|role| (role.as_str(), role.as_str(), role))
            // A second key of the same person, and a second channel.
            .chain([("supervisor-2", "supervisor", Role::Supervisor), ("other", "other", Role::Channel)])
            .map(|(key, principal, role)| ApiKey {
                name: key.into(),
                principal: Principal::new(principal, role),
                sha256: Digest::of(key.as_bytes()).hex().to_owned(),
            })
            .collect();
        let api = Api {
            cases: stage.cases.clone(),
            keys,
            identity: Some(IdentityKeys::new(&identity).unwrap()),
            limits: Limits::default(),
            wait: Duration::from_secs(20),
            drift: Arc::default(),
            nearest: Arc::default(),
            explaining: Arc::new(Semaphore::new(1)),
            administration: Administration::new(
                root().join("config/retrieval-bar.toml"),
                document::Limits {
                    program: Some(env!("CARGO_BIN_EXE_prokura").into()),
                    ..document::Limits::default()
                },
            ),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(api).merge(prokura::console::router());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { stage, address }
    }

    /// A token of the bank's channel for one message.
    pub async fn token(&self, customer: &str, text: &str, case: Option<&str>) -> String {
        let login = json!({"customer": customer, "text": text, "case": case});
        let (status, body) = reply(&self.stage.bank, "POST", "/channel/token", &[], Some(&login)).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["token"].as_str().unwrap().to_owned()
    }

    pub async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(key, method, path, &[], body).await
    }

    pub async fn call_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(more);
        let (status, text) = reply(&self.address, method, path, &headers, body.as_ref()).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Sends a file's bytes.
    pub async fn send(&self, key: &str, path: &str, bytes: &[u8]) -> (u16, Value) {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/octet-stream")];
        let (status, text) = raw(&self.address, "POST", path, &headers, bytes).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Opens a case as a verified customer of the channel.
    pub async fn open(&self, customer: &str, text: &str) -> (u16, Value) {
        let token = self.token(customer, text, None).await;
        let headers = [("Prokura-Identity", token.as_str())];
        self.call_with("channel", "POST", "/v1/cases", &headers, Some(json!({"text": text}))).await
    }
}
