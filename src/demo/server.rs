//! Starting and running the bank, and what happens to every request before a route sees it.

use super::bank::Bank;
use super::channel::Channel;
use super::draw::Draw;
use super::error::DemoError;
use super::generate::DAY_MS;
use super::journal::{Arrived, Journal};
use super::line::{Cutter, Lines};
use super::orders::carry_out;
use super::switches::Switches;
use super::tools::Keys;
use super::{routes, tools};
use crate::base::{Clock, Timestamp};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// The largest body that is read.
const MOST_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Options {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where requests.jsonl and effects.jsonl are kept. Effects of earlier runs are repeated at start.
    pub logs: PathBuf,
    pub seed: u64,
    /// `name=value` pairs, see [`Switches::parse`].
    pub switches: Vec<String>,
}

/// The bank, listening but not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    demo: Arc<Demo>,
}

/// Everything that the routes share.
pub struct Demo {
    bank: Mutex<Bank>,
    keys: Mutex<Keys>,
    switches: Mutex<Switches>,
    errors: Mutex<Draw>,
    effects: Mutex<u64>,
    pub journal: Journal,
    pub channel: Channel,
    pub clock: Arc<dyn Clock>,
}

/// Opens the bank and answers until the process ends.
pub async fn serve(options: Options, clock: Arc<dyn Clock>) -> Result<(), DemoError> {
    Server::open(options, clock).await?.run(std::future::pending()).await
}

impl Server {
    /// Draws the data as of the clock's day, repeats the logged effects and takes the address.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, DemoError> {
        if !options.listen.ip().is_loopback() {
            return Err(DemoError::NotLoopback(options.listen));
        }
        let switches = Switches::parse(&options.switches)?;
        let (journal, earlier) = Journal::open(&options.logs)?;
        let listen = |source| DemoError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let now = clock.now();
        let day = Timestamp::from_millis(now.as_millis() - now.as_millis().rem_euclid(DAY_MS));
        let mut bank = Bank::new(options.seed, day);
        let mut keys = Keys::default();
        for effect in &earlier {
            // A refusal now means that the data was drawn with another seed; the effect still happened.
            let _ = carry_out(&mut bank, &effect.order, effect.effect, effect.at);
            keys.remember(effect);
        }
        let demo = Demo {
            bank: Mutex::new(bank),
            keys: Mutex::new(keys),
            switches: Mutex::new(switches),
            errors: Mutex::new(Draw::new(options.seed, u64::MAX)),
            effects: Mutex::new(earlier.iter().map(|effect| effect.effect).max().unwrap_or(0)),
            journal,
            channel: Channel::new()?,
            clock,
        };
        Ok(Self { listener, address, demo: Arc::new(demo) })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `until` is ready, then finishes what is under way.
    pub async fn run(self, until: impl Future<Output = ()> + Send + 'static) -> Result<(), DemoError> {
        let router = Router::new()
            .merge(routes::routes())
            .merge(tools::routes())
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&self.demo), admit))
            .with_state(self.demo);
        axum::serve(Lines(self.listener), router.into_make_service_with_connect_info::<Cutter>())
            .with_graceful_shutdown(until)
            .await
            .map_err(DemoError::Serve)
    }
}

impl Demo {
    pub fn bank(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn switches(&self) -> Switches {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the switches to what `change` makes of them.
    pub fn switch(
        &self,
        change: impl FnOnce(&Switches) -> Result<Switches, DemoError>,
    ) -> Result<Switches, DemoError> {
        let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        *switches = change(&switches)?;
        Ok(switches.clone())
    }

    /// The number of the next effect.
    pub fn next_effect(&self) -> u64 {
        let mut effects = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        *effects += 1;
        *effects
    }

    /// Whether this request is one that the error switches let fail.
    fn fails(&self) -> bool {
        let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        if switches.errors_next > 0 {
            switches.errors_next -= 1;
            return true;
        }
        switches.errors > 0.0
            && self.errors.lock().unwrap_or_else(PoisonError::into_inner).share() < switches.errors
    }
}

/// Logs the request, then lets the switches at it. The switches themselves and the login channel always
/// work.
async fn admit(State(demo): State<Arc<Demo>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MOST_BYTES).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 1 MiB");
    };
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes)))
    };
    let line = Arrived {
        at: demo.clock.now(),
        method: parts.method.as_str(),
        path: &path,
        idempotency_key: key,
        body,
    };
    if demo.journal.request(&line).is_err() {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request log cannot be written");
    }
    let reads = parts.method == axum::http::Method::GET;
    let request = Request::from_parts(parts, Body::from(bytes));
    if path == "/" || path.starts_with("/switches") || path.starts_with("/channel") {
        return next.run(request).await;
    }
    if demo.fails() {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "an error on demand");
    }
    let switches = demo.switches();
    if reads && switches.slowness > 0 {
        tokio::time::sleep(Duration::from_millis(switches.slowness)).await;
    }
    let answer = next.run(request).await;
    if switches.garbage && answer.status() == StatusCode::OK {
        return "<html>\u{0}not what you expected".into_response();
    }
    answer
}

/// `{"error": why}` with the status.
pub fn refusal(status: StatusCode, why: &str) -> Response {
    (status, axum::Json(serde_json::json!({"error": why}))).into_response()
}
