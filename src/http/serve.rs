//! The router, what every request passes before its route, and the way to an orderly end.

use super::api::Api;
use super::auth::{Access, ApiKey, admit};
use super::body::MOST_BYTES;
use super::error::Refusal;
use super::events::Stopping;
use super::inference::{self, Node};
use super::routes::{Route, table};
use crate::governance::Administration;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{Instrument, field};

/// How long a request may take, beside what it waits for a case.
pub const LONGEST: Duration = Duration::from_secs(30);
/// How long requests that are under way may go on after the process was asked to stop.
const GRACE: Duration = Duration::from_secs(20);

/// All routes.
pub fn router(api: Api) -> Router {
    let limit = api.wait.saturating_add(LONGEST);
    let rules = Arc::clone(&api.cases.pack().governance.administration);
    routed(table(), (&api.keys, rules), limit).with_state(Arc::new(api))
}

/// The routes of a node.
pub fn node_router(node: Node) -> Router {
    routed(inference::routes(), (&node.keys, Arc::clone(&node.administration)), LONGEST)
        .with_state(Arc::new(node))
}

fn routed<S: Clone + Send + Sync + 'static>(
    table: Vec<Route<S>>,
    (keys, rules): (&[ApiKey], Arc<Administration>),
    limit: Duration,
) -> Router<S> {
    let keys: Arc<[ApiKey]> = keys.into();
    let mut router = Router::new();
    for route in table {
        let Route { method: _, path, access, handler, about: _, takes_time } = route;
        let limit = (!takes_time).then_some(limit);
        let door = Arc::new(Door { path, access, keys: Arc::clone(&keys), rules: Arc::clone(&rules), limit });
        router = router.route(path, handler.route_layer(from_fn_with_state(door, enter)));
    }
    finished(router)
}

/// What holds for every path, also for those that do not exist.
fn finished<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { Refusal::no_route() })
        .method_not_allowed_fallback(|| async { Refusal::method() })
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

/// Answers until `shutdown` is ready, then finishes what is under way, for at most 20 seconds.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let mut stopped = stopping.clone();
    let graceful = async move {
        shutdown.await;
        // Receivers see the last value even when the sender is gone.
        stop.send_replace(true);
    };
    let router = router.layer(Extension(Stopping(stopping)));
    let served = axum::serve(listener, router).with_graceful_shutdown(graceful).into_future();
    let overdue = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = served => served,
        () = overdue => {
            tracing::warn!("requests were still under way when the time to stop was over");
            Ok(())
        }
    }
}

/// What stands before one route.
struct Door {
    /// As in the table: the span has no path that a caller made up.
    path: &'static str,
    access: Access,
    keys: Arc<[ApiKey]>,
    rules: Arc<Administration>,
    /// `None`: an answer before the end of the work would be a guess.
    limit: Option<Duration>,
}

async fn enter(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = door.path,
        key = field::Empty,
        role = field::Empty,
    );
    async {
        let started = Instant::now();
        let mut response = admitted(&door, request, next).await;
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(status = response.status().as_u16(), milliseconds, "answered");
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
    .instrument(span)
    .await
}

async fn admitted(door: &Door, mut request: Request, next: Next) -> Response {
    match admit(request.headers(), &door.keys, door.access, &door.rules) {
        Err(refusal) => return refusal.into_response(),
        Ok(None) => {}
        Ok(Some((key, principal))) => {
            let span = tracing::Span::current();
            span.record("key", key.name.as_str()).record("role", principal.role.as_str());
            request.extensions_mut().insert(principal);
        }
    }
    let answered = next.run(request);
    let Some(limit) = door.limit else { return answered.await };
    match tokio::time::timeout(limit, answered).await {
        Ok(response) => response,
        Err(_) => Refusal::too_slow().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::{Given, Id};
    use super::*;
    use crate::base::Digest;
    use crate::governance::{Act, Principal, Role, shipped_administration};
    use axum::routing::{get, post};
    use serde_json::Value;
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    fn door(access: Access, limit: Option<Duration>) -> Arc<Door> {
        let principal = Principal::new("sara", Role::Supervisor);
        let key = ApiKey { name: "sara".into(), principal, sha256: Digest::of(b"secret").hex().into() };
        Arc::new(Door {
            path: "/x",
            access,
            keys: vec![key].into(),
            rules: Arc::new(shipped_administration()),
            limit,
        })
    }

    fn small() -> Router {
        let behind = |access, limit| from_fn_with_state(door(access, limit), enter);
        let (long, short) = (Some(Duration::from_secs(30)), Some(Duration::from_millis(20)));
        let name = |Extension(who): Extension<Principal>| async move { who.name };
        let echo = |Given(value): Given<Value>| async move { axum::Json(value) };
        let slow = || async { tokio::time::sleep(Duration::from_secs(60)).await };
        let later = || async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "done"
        };
        let roles = Access::May(Act::Approve);
        let router = Router::new()
            .route("/name", get(name).route_layer(behind(roles, long)))
            .route("/channel", get(name).route_layer(behind(Access::May(Act::OpenCase), long)))
            .route("/echo", post(echo).route_layer(behind(roles, long)))
            .route("/thing/{id}", get(|Id(id): Id| async { id }))
            .route("/slow", get(slow).route_layer(behind(Access::Everybody, short)))
            .route("/takes-time", get(later).route_layer(behind(Access::Everybody, None)));
        finished(router)
    }

    /// Sends raw requests, each on its own connection, and gives status, head and body of each.
    fn answers(requests: Vec<String>) -> Vec<(u16, String, Value)> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let server = tokio::spawn(serve(listener, small(), async {
                let _ = stopped.await;
            }));
            let sent =
                tokio::task::spawn_blocking(move || requests.iter().map(|r| send(address, r)).collect());
            let answers = sent.await.unwrap();
            stop.send(()).unwrap();
            server.await.unwrap().unwrap();
            answers
        })
    }

    fn send(address: SocketAddr, request: &str) -> (u16, String, Value) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..count]);
        }
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::from(body)))
    }

    fn request(line: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    }

    const KEY: &str = "authorization: Bearer secret\r\n";
    const JSON: &str = "authorization: Bearer secret\r\ncontent-type: application/json\r\n";

    #[test]
    fn every_refusal_has_the_one_shape() {
        let long = format!("\"{}\"", "a".repeat(MOST_BYTES));
        let asked = [
            (request("GET /name", "", ""), 401, "unauthorized"),
            (request("GET /channel", KEY, ""), 403, "forbidden"),
            (request("GET /nowhere", "", ""), 404, "no_route"),
            (request("GET /thing/%ff", "", ""), 404, "no_route"),
            (request("DELETE /name", KEY, ""), 405, "method_not_allowed"),
            (request("POST /echo", JSON, "{\"a\": }"), 400, "bad_json"),
            (request("POST /echo", KEY, "{}"), 415, "not_json"),
            (request("POST /echo", JSON, &long), 413, "too_large"),
            (request("POST /echo", "content-type: application/json\r\n", "{"), 401, "unauthorized"),
            (request("GET /slow", "", ""), 503, "too_slow"),
        ];
        let answers = answers(asked.iter().map(|(request, _, _)| request.clone()).collect());
        for ((request, status, code), (got, head, body)) in asked.iter().zip(&answers) {
            let line = request.lines().next().unwrap();
            assert_eq!((got, body["error"]["code"].as_str()), (status, Some(*code)), "{line}");
            assert!(body["error"]["message"].is_string() && body["error"]["remedy"].is_string(), "{line}");
            assert!(head.contains("content-type: application/json"), "{line}");
        }
        assert!(answers[0].1.contains("www-authenticate: bearer"));
        assert!(answers[4].1.contains("allow: get,head"));
    }

    #[test]
    fn the_route_learns_who_calls_and_nothing_is_cached() {
        let answers = answers(vec![
            request("GET /name", KEY, ""),
            request("POST /echo", JSON, "{\"a\": 1}"),
            request("GET /takes-time", "", ""),
        ]);
        let (status, head, body) = &answers[0];
        assert_eq!((*status, body), (200, &Value::from("sara")));
        assert!(head.contains("cache-control: no-store"));
        assert_eq!(answers[1].2, serde_json::json!({"a": 1}));
        assert_eq!((answers[2].0, &answers[2].2), (200, &Value::from("done")));
    }
}
