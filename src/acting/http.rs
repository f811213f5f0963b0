//! Tools over HTTP, through the one client.

use super::connector::{Call, Connector, Found, Sent};
use crate::base::Credential;
use crate::base::outbound::{
    Method, Outbound, OutboundError, Request, Response, path_segment, percent_encoded,
};
use crate::planning::{ToolDeclaration, Tools};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A longer answer is not read.
const MOST_BYTES: usize = 1 << 20;

pub struct HttpConnector {
    outbound: Outbound,
    /// Base URL by the name of the system.
    systems: BTreeMap<String, String>,
    /// By the name of the tool.
    credentials: BTreeMap<String, Arc<Credential>>,
}

impl HttpConnector {
    /// Secrets are in files relative to `folder`.
    pub fn new(outbound: Outbound, tools: &Tools, folder: &Path) -> Self {
        let own = tools.by_name.values().filter_map(|tool| {
            let credential = Credential::new(tools.auth_of(tool)?.clone(), folder.to_owned());
            Some((tool.name.clone(), Arc::new(credential)))
        });
        Self { outbound, systems: tools.systems.clone(), credentials: own.collect() }
    }

    async fn ask(&self, tool: &ToolDeclaration, request: Request) -> Result<Response, OutboundError> {
        self.outbound.send_as(self.credentials.get(&tool.name), request).await
    }

    fn request(&self, tool: &ToolDeclaration, call: &Call) -> Option<Request> {
        let mut rest: Map<String, Value> = call.arguments.as_object()?.clone();
        let mut url = format!("{}{}", self.systems.get(&tool.system)?, tool.path);
        for name in tool.path_arguments() {
            // Taken once; a name that stands twice in the path is replaced in both places.
            if let Some(value) = rest.shift_remove(name) {
                url = url.replace(&format!("{{{name}}}"), &path_segment(value.as_str()?)?);
            }
        }
        let json = if tool.method == Method::Get {
            for (at, (name, value)) in rest.iter().enumerate() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let separator = if at == 0 { '?' } else { '&' };
                url.push_str(&format!("{separator}{}={}", percent_encoded(name), percent_encoded(&text)));
            }
            None
        } else {
            Some(Value::Object(rest))
        };
        let key = tool.idempotency.as_ref().map(|idempotency| (idempotency.header.clone(), call.key.clone()));
        Some(Request {
            method: tool.method,
            url,
            headers: key.into_iter().collect(),
            json,
            text: None,
            timeout: Duration::from_millis(tool.timeout_ms),
            max_bytes: MOST_BYTES,
            http2: false,
        })
    }
}

impl Connector for HttpConnector {
    fn send<'a>(&'a self, tool: &'a ToolDeclaration, call: &'a Call) -> BoxFuture<'a, Sent> {
        Box::pin(async move {
            let Some(request) = self.request(tool, call) else {
                return Sent::Unable("the call cannot be put into a request".to_owned());
            };
            match self.ask(tool, request).await {
                Ok(answer) => sent(&answer),
                Err(error @ (OutboundError::NoAnswer { .. } | OutboundError::TooLong { .. })) => {
                    Sent::Unclear(error.to_string())
                }
                Err(error @ OutboundError::Unreachable { .. }) => Sent::NotSent(error.to_string()),
                Err(error @ (OutboundError::NotAllowed { .. } | OutboundError::NoSecret(_))) => {
                    Sent::Unable(error.to_string())
                }
                Err(_) => Sent::Unable("the request could not be made".to_owned()),
            }
        })
    }

    fn query<'a>(&'a self, tool: &'a ToolDeclaration, key: &'a str) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            let (Some(query), Some(base)) = (&tool.query, self.systems.get(&tool.system)) else {
                return Found::Untold("the system cannot be asked".to_owned());
            };
            let Some(slot) = path_segment(key) else {
                return Found::Untold("the question could not be made".to_owned());
            };
            let request = Request {
                method: Method::Get,
                url: format!("{base}{}", query.path.replace("{key}", &slot)),
                headers: vec![],
                json: None,
                text: None,
                timeout: Duration::from_millis(tool.timeout_ms),
                max_bytes: MOST_BYTES,
                http2: false,
            };
            match self.ask(tool, request).await {
                Ok(answer) => found(&answer, &query.result),
                Err(OutboundError::BadUrl(_)) => Found::Untold("the question could not be made".to_owned()),
                Err(error) => Found::Unknown(error.to_string()),
            }
        })
    }
}

/// RFC 9110: a 4xx says that the request was not carried out, but for those that a retry or a race can
/// cause; about everything else but success nothing is certain.
fn sent(answer: &Response) -> Sent {
    match answer.status {
        204 if answer.body.is_empty() => Sent::Answered(Value::Null),
        200..=299 => serde_json::from_slice(&answer.body)
            .map_or_else(|_| Sent::Unclear("an answer that is no JSON".to_owned()), Sent::Answered),
        429 => Sent::NotSent("status 429".to_owned()),
        status @ (408 | 409 | 425) => Sent::Unclear(format!("status {status}")),
        status @ 400..=499 => Sent::Refused(format!("status {status}")),
        status => Sent::Unclear(format!("status {status}")),
    }
}

fn found(answer: &Response, result: &str) -> Found {
    match answer.status {
        200 => {
            let told = serde_json::from_slice::<Value>(&answer.body).ok();
            let told = told.and_then(|told| told.pointer(result).cloned());
            told.map_or_else(
                || Found::Unknown("an answer that does not have the declared form".to_owned()),
                Found::Done,
            )
        }
        202 => Found::UnderWay,
        404 => Found::Nothing,
        status @ (408 | 425 | 429) => Found::Unknown(format!("status {status}")),
        status @ (400..=499 | 501) => Found::Untold(format!("status {status}")),
        status => Found::Unknown(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::CallId;
    use crate::planning::Tools;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one connection with these bytes; gives the address and what was asked.
    async fn answering(bytes: String) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let mut read = 0;
            // Head and body may come in two pieces.
            while !String::from_utf8_lossy(&buffer[..read]).trim_end().ends_with(['}', '\n'])
                || !buffer[..read].windows(4).any(|w| w == b"\r\n\r\n")
            {
                match stream.read(&mut buffer[read..]).await.unwrap() {
                    0 => break,
                    n => read += n,
                }
                if buffer.starts_with(b"GET") && buffer[..read].ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            stream.write_all(bytes.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..read]).into_owned()
        });
        (address, asked)
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn connector(address: &str) -> (HttpConnector, ToolDeclaration) {
        let text = include_str!("../../config/tools.toml").replace("timeout_ms = 3000", "timeout_ms = 300");
        let mut tools = Tools::parse("tools.toml", &text).unwrap();
        tools.set_system("core_bank", &format!("http://{address}"));
        let outbound = Outbound::new([address.to_owned()]).unwrap();
        let connector = HttpConnector::new(outbound, &tools, Path::new("."));
        (connector, tools.by_name.remove("card_block").unwrap())
    }

    fn block() -> Call {
        Call::new(CallId::new("call_1"), "card_block", json!({"card": "card/../7", "reason": "lost"}))
    }

    #[tokio::test]
    async fn path_body_and_key_go_where_they_belong() {
        let (address, asked) = answering(http("200 OK", "{\"status\":\"blocked\"}")).await;
        let (connector, tool) = connector(&address);
        assert_eq!(connector.send(&tool, &block()).await, Sent::Answered(json!({"status": "blocked"})));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("POST /cards/card%2F..%2F7/block HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("\r\nidempotency-key: call_1\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{\"reason\":\"lost\"}"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_certain_is_told_from_what_is_not() {
        for (status, certain) in [
            ("204 Nothing", Sent::Answered(Value::Null)),
            ("400 Bad", Sent::Refused("status 400".into())),
            ("404 None", Sent::Refused("status 404".into())),
            ("422 No", Sent::Refused("status 422".into())),
            ("409 Race", Sent::Unclear("status 409".into())),
            ("429 Busy", Sent::NotSent("status 429".into())),
            ("302 There", Sent::Unclear("status 302".into())),
            ("500 Oops", Sent::Unclear("status 500".into())),
            ("503 Later", Sent::Unclear("status 503".into())),
        ] {
            let (connector, tool) = connector(&answering(http(status, "{}")).await.0);
            assert_eq!(connector.send(&tool, &block()).await, certain);
        }
        for bytes in [
            http("200 OK", "<html>"),
            String::new(),
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
        ] {
            let (connector, tool) = connector(&answering(bytes).await.0);
            assert!(matches!(connector.send(&tool, &block()).await, Sent::Unclear(_)));
        }
        let up = Call::new(CallId::new("c"), "card_block", json!({"card": "..", "reason": "lost"}));
        let (upward, tool) = connector("127.0.0.1:9");
        assert!(matches!(upward.send(&tool, &up).await, Sent::Unable(_)));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let (connector, tool) = connector(&closed);
        assert!(matches!(connector.send(&tool, &block()).await, Sent::NotSent(_)));
    }

    /// A bank that knows the second secret alone, and what it was told of who calls. The file changes when it is asked.
    async fn strict(token: std::path::PathBuf) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let told = tokio::spawn(async move {
            let mut told = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 8192];
                let read = stream.read(&mut buffer).await.unwrap();
                let head = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
                let line = head.lines().find(|line| line.starts_with("x-api-key: ")).unwrap_or("").to_owned();
                let known = line == "x-api-key: second";
                told.push(line);
                std::fs::write(&token, "second\n").unwrap();
                let answer = if known { http("200 OK", "{}") } else { http("401 Who", "{}") };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            told
        });
        (address, told)
    }

    #[tokio::test]
    async fn a_system_is_told_who_calls_and_asked_again_with_a_secret_that_changed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("core.token");
        std::fs::write(&token, "first").unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (address, told) = strict(token.clone()).await;
        let shipped = include_str!("../../config/tools.toml");
        let tools = Tools::parse("tools.toml", shipped).unwrap();
        let scopes: Vec<String> = tools.by_name.values().map(|tool| format!("\"{}\"", tool.scope)).collect();
        let auth = format!(
            "[auth]\ncore_bank = {{ header = \"X-Api-Key\", secret = \"file:core.token\", scopes = [{}] }}\n[breaker]",
            scopes.join(", ")
        );
        let text = shipped.replacen("[breaker]", &auth, 1);
        let mut tools = Tools::parse("tools.toml", &text).unwrap_or_else(|found| panic!("{found:?}"));
        tools.set_system("core_bank", &format!("http://{address}"));
        let connector = HttpConnector::new(Outbound::new([address]).unwrap(), &tools, folder.path());
        let tool = &tools.by_name["card_block"];
        assert_eq!(connector.send(tool, &block()).await, Sent::Answered(json!({})));
        assert_eq!(told.await.unwrap(), ["x-api-key: first", "x-api-key: second"]);
        std::fs::remove_file(&token).unwrap();
        let Sent::Unable(reason) = connector.send(tool, &block()).await else { panic!("it was sent") };
        assert!(reason.contains("core.token") && reason.contains("chmod 600"), "{reason}");
    }

    #[tokio::test]
    async fn a_system_says_what_it_knows_of_a_key() {
        for (status, body, expected) in [
            ("200 OK", "{\"result\": {\"card\": \"c\"}}", Found::Done(json!({"card": "c"}))),
            ("200 OK", "{}", Found::Unknown("an answer that does not have the declared form".into())),
            ("202 Wait", "{}", Found::UnderWay),
            ("404 None", "{}", Found::Nothing),
            ("501 No", "{}", Found::Untold("status 501".into())),
            ("503 Later", "{}", Found::Unknown("status 503".into())),
        ] {
            let (address, asked) = answering(http(status, body)).await;
            let (connector, tool) = connector(&address);
            assert_eq!(connector.query(&tool, "call 1").await, expected);
            assert!(asked.await.unwrap().starts_with("GET /effects/call%201 HTTP/1.1"));
        }
    }
}
