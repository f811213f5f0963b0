//! What can be done: each order at most once per idempotency key, and the effects by key.

use super::account::Address;
use super::journal::Effect;
use super::line::Cutter;
use super::orders::{Order, Refusal, carry_out};
use super::server::{Demo, refusal};
use super::switches::Switches;
use crate::base::{Money, Timestamp};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/cards/{id}/block", post(block))
        .route("/cards/{id}/replacements", post(replace))
        .route("/refunds", post(refund))
        .route("/refunds/{id}/reverse", post(reverse))
        .route("/accounts/{id}/unlock", post(unlock))
        .route("/accounts/{id}/lock", post(lock))
        .route("/accounts/{id}/disputes", post(dispute))
        .route("/accounts/{id}/disputes/{transaction}/withdraw", post(withdraw))
        .route("/accounts/{id}/address/confirm", post(confirm_address))
        .route("/accounts/{id}/address/restore", post(restore_address))
        .route("/accounts/{id}/package/cancel", post(cancel_package))
        .route("/accounts/{id}/package/restore", post(restore_package))
        .route("/accounts/{id}/transfers/{transfer}/trace", post(trace))
        .route("/accounts/{id}/transfers/{transfer}/trace/close", post(close_trace))
        .route("/accounts/{id}/transfers/{transfer}/cancel", post(cancel_transfer))
        .route("/accounts/{id}/transfers/{transfer}/release", post(release_transfer))
        .route("/tickets", post(open_ticket))
        .route("/tickets/{id}/close", post(close_ticket))
        .route("/effects/{key}", get(effect))
}

/// Which keys were seen, for which order, and what came of it.
#[derive(Default)]
pub struct Keys(HashMap<String, Seen>);

struct Seen {
    order: Order,
    at: Timestamp,
    /// `None` while the order is under way.
    result: Option<Value>,
}

/// What a key says about an order.
enum Known {
    New,
    UnderWay,
    Done(Value),
    AnotherOrder,
}

impl Keys {
    /// Takes in an effect of an earlier run.
    pub fn remember(&mut self, effect: &Effect) {
        if let (Some(key), true) = (&effect.key, effect.idempotent) {
            let seen =
                Seen { order: effect.order.clone(), at: effect.at, result: Some(effect.result.clone()) };
            self.0.insert(key.clone(), seen);
        }
    }

    /// Notes the order under a key that is new or whose window has passed.
    fn note(&mut self, key: &str, order: &Order, at: Timestamp, window_s: u64) -> Known {
        match self.get(key, at, window_s) {
            Some(seen) if seen.order != *order => Known::AnotherOrder,
            Some(Seen { result: Some(result), .. }) => Known::Done(result.clone()),
            Some(_) => Known::UnderWay,
            None => {
                self.0.insert(key.to_owned(), Seen { order: order.clone(), at, result: None });
                Known::New
            }
        }
    }

    fn get(&self, key: &str, now: Timestamp, window_s: u64) -> Option<&Seen> {
        let window = i64::try_from(window_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        self.0.get(key).filter(|seen| seen.result.is_none() || now.since(seen.at) < window)
    }

    /// A refused order leaves its key free.
    fn settle(&mut self, key: &str, result: Option<&Value>) {
        match (result, self.0.get_mut(key)) {
            (Some(result), Some(seen)) => seen.result = Some(result.clone()),
            (None, Some(_)) => {
                self.0.remove(key);
            }
            (_, None) => {}
        }
    }
}

/// Carries out what was ordered. The work runs apart from the connection: a client that hangs up does not
/// stop it.
async fn act(demo: Arc<Demo>, line: Cutter, headers: &HeaderMap, order: Order) -> Response {
    let switches = demo.switches();
    let unwanted = match &order {
        Order::TicketOpen { summary, .. } => switches.refuse_tickets.contains(summary),
        _ => false,
    };
    if unwanted || switches.refuse.contains(order.tool()) {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "the bank does not want this");
    }
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let (Some(key), false) = (&key, switches.no_idempotency) {
        match demo.keys().note(key, &order, demo.clock.now(), switches.idempotency_window) {
            Known::New => {}
            Known::UnderWay => return refusal(StatusCode::CONFLICT, "an order with this key is under way"),
            Known::Done(result) => return ([("idempotent-replay", "true")], Json(result)).into_response(),
            Known::AnotherOrder => {
                return refusal(StatusCode::UNPROCESSABLE_ENTITY, "this key was used for another order");
            }
        }
    }
    let lose_answer = switches.answer_lost_after_acting || switches.lose.contains(order.tool());
    let work = tokio::spawn(work(demo, switches, key, order));
    let answer = work
        .await
        .unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "the order was not completed"));
    if lose_answer {
        line.cut();
    }
    answer
}

async fn work(demo: Arc<Demo>, switches: Switches, key: Option<String>, order: Order) -> Response {
    let wait = switches.slowness.saturating_add(switches.act_after_timeout);
    if wait > 0 {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let at = demo.clock.now();
    let idempotent = !switches.no_idempotency;
    // The bank stays locked from the act to the log, so that effects are logged in the order made.
    let mut bank = demo.bank();
    let number = demo.next_effect();
    let done = carry_out(&mut bank, &order, number, at);
    let logged = match &done {
        Ok(result) => {
            let line =
                Effect { at, effect: number, key: key.clone(), idempotent, order, result: result.clone() };
            demo.journal.effect(&line)
        }
        Err(_) => Ok(()),
    };
    drop(bank);
    if let (Some(key), true) = (&key, idempotent) {
        demo.keys().settle(key, done.as_ref().ok());
    }
    match (done, logged) {
        (Ok(_), Err(_)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the effect log cannot be written"),
        (Ok(result), Ok(())) => Json(result).into_response(),
        (Err(Refusal::Unknown(what)), _) => refusal(StatusCode::NOT_FOUND, &format!("no such {what}")),
        (Err(Refusal::Impossible(why)), _) => refusal(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

/// 200 with the result, 202 while under way, 404 when no order with this key came in within the window,
/// 501 while keys are ignored.
async fn effect(State(demo): State<Arc<Demo>>, Path(key): Path<String>) -> Response {
    let switches = demo.switches();
    if switches.no_effects {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "effects cannot be asked for at the moment");
    }
    if switches.no_idempotency {
        return refusal(StatusCode::NOT_IMPLEMENTED, "effects cannot be asked for by key");
    }
    let keys = demo.keys();
    match keys.get(&key, demo.clock.now(), switches.idempotency_window) {
        None => refusal(StatusCode::NOT_FOUND, "no order with this key"),
        Some(Seen { result: None, .. }) => {
            (StatusCode::ACCEPTED, Json(json!({"key": key, "state": "under_way"}))).into_response()
        }
        Some(Seen { result: Some(result), at, .. }) => {
            Json(json!({"key": key, "state": "done", "at": at, "result": result})).into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    address: Address,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    account: String,
    transaction: String,
    amount: Money,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    queue: String,
    summary: String,
    details: String,
    customer: Option<String>,
    account: Option<String>,
}

type Shared = State<Arc<Demo>>;
type Connection = ConnectInfo<Cutter>;

async fn block(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(card): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => act(demo, line, &headers, Order::CardBlock { card, reason }).await,
        Err(answer) => answer,
    }
}

async fn replace(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(card): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Replacement>(&body) {
        Ok(Replacement { address }) => {
            act(demo, line, &headers, Order::CardReplacement { card, address }).await
        }
        Err(answer) => answer,
    }
}

async fn refund(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<RefundBody>(&body) {
        Ok(RefundBody { account, transaction, amount, reason }) => {
            act(demo, line, &headers, Order::Refund { account, transaction, amount, reason }).await
        }
        Err(answer) => answer,
    }
}

async fn reverse(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(refund): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => act(demo, line, &headers, Order::ReverseRefund { refund, reason }).await,
        Err(answer) => answer,
    }
}

/// Without a body.
async fn unlock(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    act(demo, line, &headers, Order::AccountUnlock { account }).await
}

async fn lock(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => act(demo, line, &headers, Order::AccountLock { account, reason }).await,
        Err(answer) => answer,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dispute {
    transaction: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addressed {
    address: Address,
}

async fn dispute(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Dispute>(&body) {
        Ok(Dispute { transaction, reason }) => {
            act(demo, line, &headers, Order::DisputeOpen { account, transaction, reason }).await
        }
        Err(answer) => answer,
    }
}

async fn withdraw(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path((account, transaction)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => {
            act(demo, line, &headers, Order::DisputeWithdraw { account, transaction, reason }).await
        }
        Err(answer) => answer,
    }
}

async fn confirm_address(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Addressed>(&body) {
        Ok(Addressed { address }) => {
            act(demo, line, &headers, Order::AddressConfirm { account, address }).await
        }
        Err(answer) => answer,
    }
}

async fn restore_address(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Addressed>(&body) {
        Ok(Addressed { address }) => {
            act(demo, line, &headers, Order::AddressRestore { account, address }).await
        }
        Err(answer) => answer,
    }
}

/// Without a body.
async fn cancel_package(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    act(demo, line, &headers, Order::PackageCancel { account }).await
}

async fn restore_package(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => act(demo, line, &headers, Order::PackageRestore { account, reason }).await,
        Err(answer) => answer,
    }
}

/// Without a body.
async fn trace(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path((account, transfer)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    act(demo, line, &headers, Order::TransferTrace { account, transfer }).await
}

/// Without a body.
async fn cancel_transfer(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path((account, transfer)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    act(demo, line, &headers, Order::TransferCancel { account, transfer }).await
}

async fn release_transfer(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path((account, transfer)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => {
            act(demo, line, &headers, Order::TransferRelease { account, transfer, reason }).await
        }
        Err(answer) => answer,
    }
}

async fn close_trace(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path((account, transfer)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => {
            act(demo, line, &headers, Order::TransferTraceClose { account, transfer, reason }).await
        }
        Err(answer) => answer,
    }
}

async fn open_ticket(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Ticket>(&body) {
        Ok(Ticket { queue, summary, details, customer, account }) => {
            act(demo, line, &headers, Order::TicketOpen { queue, summary, details, customer, account }).await
        }
        Err(answer) => answer,
    }
}

async fn close_ticket(
    State(demo): Shared,
    ConnectInfo(line): Connection,
    Path(ticket): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match parse::<Reason>(&body) {
        Ok(Reason { reason }) => act(demo, line, &headers, Order::TicketClose { ticket, reason }).await,
        Err(answer) => answer,
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer that the caller sends on")]
fn parse<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    serde_json::from_slice(body)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, &format!("not an order: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::server::{Options, Server};
    use super::*;
    use crate::base::clock::{Clock, FixedClock};
    use crate::base::outbound::{Method, Outbound, OutboundError, Request};

    struct Desk {
        base: String,
        outbound: Outbound,
        clock: Arc<FixedClock>,
        logs: tempfile::TempDir,
    }

    async fn desk(switches: &[&str]) -> Desk {
        desk_in(tempfile::tempdir().unwrap(), switches).await
    }

    async fn desk_in(logs: tempfile::TempDir, switches: &[&str]) -> Desk {
        let clock = Arc::new(FixedClock::at(Timestamp::from_millis(1_790_064_000_000)));
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            logs: logs.path().to_owned(),
            seed: 1,
            switches: switches.iter().map(ToString::to_string).collect(),
        };
        let server = Server::open(options, clock.clone()).await.unwrap();
        let base = server.address().to_string();
        tokio::spawn(server.run(std::future::pending()));
        Desk { outbound: Outbound::new([base.clone()]).unwrap(), base, clock, logs }
    }

    impl Desk {
        async fn send(
            &self,
            method: Method,
            path: &str,
            key: Option<&str>,
            json: Option<Value>,
            millis: u64,
        ) -> Result<(u16, Value), OutboundError> {
            let request = Request {
                method,
                url: format!("http://{}{path}", self.base),
                headers: key.map(|key| ("Idempotency-Key".to_owned(), key.to_owned())).into_iter().collect(),
                json,
                text: None,
                timeout: Duration::from_millis(millis),
                max_bytes: 1 << 20,
                http2: false,
            };
            let answer = self.outbound.send(request).await?;
            Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
        }

        async fn get(&self, path: &str) -> (u16, Value) {
            self.send(Method::Get, path, None, None, 2_000).await.unwrap()
        }

        async fn block(&self, key: &str) -> Result<(u16, Value), OutboundError> {
            let body = json!({"reason": "lost"});
            self.send(Method::Post, "/cards/card_006/block", Some(key), Some(body), 2_000).await
        }

        fn lines(&self, file: &str) -> Vec<Value> {
            let text = std::fs::read_to_string(self.logs.path().join(file)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn a_key_acts_once_and_its_effect_can_be_asked_for() {
        let desk = desk(&[]).await;
        assert_eq!(desk.get("/effects/k1").await.0, 404);
        let (first, second) = (desk.block("k1").await.unwrap(), desk.block("k1").await.unwrap());
        assert_eq!((first.0, &first.1["status"]), (200, &json!("blocked")));
        assert_eq!(first, second);
        assert_eq!(desk.get("/effects/k1").await.1["result"], first.1);
        assert_eq!(desk.lines("effects.jsonl").len(), 1);
        let requests = desk.lines("requests.jsonl");
        assert_eq!(requests.iter().filter(|line| line["method"] == "POST").count(), 2);
        let other =
            desk.send(Method::Post, "/cards/card_007/block", Some("k1"), Some(json!({"reason": "x"})), 2_000);
        assert_eq!(other.await.unwrap().0, 422);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_effect_and_no_answer() {
        let desk = desk(&["answer_lost_after_acting"]).await;
        let lost = desk.block("k1").await.unwrap_err();
        assert!(matches!(lost, OutboundError::NoAnswer { .. }), "{lost}");
        assert_eq!(desk.lines("effects.jsonl").len(), 1);
        let (status, told) = desk.get("/effects/k1").await;
        assert_eq!((status, &told["state"]), (200, &json!("done")));
    }

    #[tokio::test]
    async fn without_idempotency_a_key_means_nothing() {
        let desk = desk(&["no_idempotency"]).await;
        desk.block("k1").await.unwrap();
        desk.block("k1").await.unwrap();
        assert_eq!(desk.lines("effects.jsonl").len(), 2);
        assert_eq!(desk.get("/effects/k1").await.0, 501);
    }

    #[tokio::test]
    async fn after_its_window_a_key_is_forgotten() {
        let desk = desk(&["idempotency_window=60"]).await;
        desk.block("k1").await.unwrap();
        let later = desk.clock.now().plus_millis(60_000);
        desk.clock.set(later);
        assert_eq!(desk.get("/effects/k1").await.0, 404);
        desk.block("k1").await.unwrap();
        assert_eq!(desk.lines("effects.jsonl").len(), 2);
    }

    #[tokio::test]
    async fn an_act_after_the_clients_time_out_is_under_way_until_it_is_done() {
        let desk = desk(&["act_after_timeout=400"]).await;
        let body = Some(json!({"reason": "lost"}));
        let gone = desk.send(Method::Post, "/cards/card_006/block", Some("k1"), body, 100).await;
        assert!(matches!(gone, Err(OutboundError::NoAnswer { .. })));
        assert!(desk.lines("effects.jsonl").is_empty());
        assert_eq!(desk.get("/effects/k1").await.0, 202);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(desk.get("/effects/k1").await.0, 200);
        assert_eq!(desk.lines("effects.jsonl").len(), 1);
    }

    #[tokio::test]
    async fn switches_change_at_run_time() {
        let desk = desk(&[]).await;
        let change = json!({"errors_next": 1, "fraud": ["acc_001"]});
        let (status, set) = desk.send(Method::Post, "/switches", None, Some(change), 2_000).await.unwrap();
        assert_eq!((status, &set["fraud"]), (200, &json!(["acc_001"])));
        assert_eq!(desk.get("/accounts/acc_001").await.0, 500);
        let (status, account) = desk.get("/accounts/acc_001").await;
        assert_eq!((status, &account["flags"]["fraud"]), (200, &json!(true)));
        let wrong =
            desk.send(Method::Post, "/switches", None, Some(json!({"slow": 1})), 2_000).await.unwrap();
        assert_eq!(wrong.0, 400);
        desk.send(Method::Post, "/switches", None, Some(json!({"garbage": true})), 2_000).await.unwrap();
        assert_eq!(desk.get("/accounts/acc_001").await, (200, Value::Null));
        assert_eq!(desk.get("/switches").await.1["garbage"], true);
    }

    #[tokio::test]
    async fn a_restart_remembers_effects_and_keys() {
        let first = desk(&[]).await;
        first.block("k1").await.unwrap();
        let again = desk_in(first.logs, &[]).await;
        assert_eq!(again.get("/accounts/acc_006").await.1["cards"][0]["status"], "blocked");
        again.block("k1").await.unwrap();
        assert_eq!(again.lines("effects.jsonl").len(), 1);
        again.block("k2").await.unwrap();
        assert_eq!(again.lines("effects.jsonl")[1]["effect"], 2);
    }

    #[tokio::test]
    async fn what_is_refused_or_malformed_has_no_effect() {
        let desk = desk(&[]).await;
        let post =
            |path: &'static str, body: Value| desk.send(Method::Post, path, Some("k"), Some(body), 2_000);
        assert_eq!(post("/cards/card_0/block", json!({"reason": "x"})).await.unwrap().0, 404);
        assert_eq!(post("/cards/card_006/block", json!({"why": "x"})).await.unwrap().0, 400);
        assert_eq!(post("/refunds", json!({})).await.unwrap().0, 400);
        assert_eq!(desk.get("/accounts?iban=x&branch=y").await.0, 400);
        assert_eq!(desk.get("/accounts?shoe_size=44").await.0, 400);
        assert!(desk.lines("effects.jsonl").is_empty());
        // A refused key is free again.
        assert_eq!(desk.block("k").await.unwrap().0, 200);
    }

    #[tokio::test]
    async fn the_channel_speaks_for_known_customers_only() {
        let desk = desk(&["errors=1.0"]).await;
        let login = |customer: &str| Some(json!({"customer": customer, "text": "Hallo"}));
        let known = desk.send(Method::Post, "/channel/token", None, login("cus_001"), 2_000).await.unwrap();
        assert_eq!(known.1["token"].as_str().unwrap().split('.').count(), 3);
        assert_eq!(
            desk.send(Method::Post, "/channel/token", None, login("cus_0"), 2_000).await.unwrap().0,
            404
        );
        assert_eq!(desk.get("/channel/key").await.1["crv"], "Ed25519");
        assert_eq!(desk.get("/accounts/acc_001").await.0, 500);
    }
}
