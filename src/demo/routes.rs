//! What can be read, the login channel, and the switches.

use super::bank::SEARCHABLE;
use super::channel::Login;
use super::server::{Demo, refusal};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/", get(summary))
        .route("/accounts", get(find))
        .route("/accounts/search", post(find_several))
        .route("/accounts/{id}", get(account))
        .route("/cards/{id}", get(card))
        .route("/tickets/{id}", get(ticket))
        .route("/customers/{id}", get(customer))
        .route("/customers/{id}/accounts", get(accounts_of))
        .route("/channel/key", get(channel_key))
        .route("/channel/token", post(channel_token))
        .route("/switches", get(switches).post(switch))
}

async fn summary(State(demo): State<Arc<Demo>>) -> Json<Value> {
    let (accounts, locked) = demo.bank().size();
    Json(json!({"name": "demonstration bank", "accounts": accounts, "locked": locked}))
}

/// `GET /accounts?FIELD=VALUE`, one field: `{"ids": [...], "more": false}`.
async fn find(State(demo): State<Arc<Demo>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let [(field, value)] = query.as_slice() else {
        return refusal(StatusCode::BAD_REQUEST, "give exactly one FIELD=VALUE");
    };
    if !SEARCHABLE.contains(&field.as_str()) {
        return refusal(StatusCode::BAD_REQUEST, &format!("fields to search by: {}", SEARCHABLE.join(", ")));
    }
    let (ids, more) = demo.bank().find(field, value, &demo.switches());
    Json(json!({"ids": ids, "more": more})).into_response()
}

/// `POST /accounts/search` with `{"queries": [{"field": FIELD, "value": VALUE}, ...]}`, 50 at most: `{"answers": [...]}`
/// with what `find` answers to each, in their order.
async fn find_several(State(demo): State<Arc<Demo>>, body: Bytes) -> Response {
    let wrong = || refusal(StatusCode::BAD_REQUEST, "give 1 to 50 queries of a field and a value each");
    let Ok(Searches { queries }) = serde_json::from_slice(&body) else { return wrong() };
    let known = queries.iter().all(|query| SEARCHABLE.contains(&query.field.as_str()));
    if !known || !(1..=50).contains(&queries.len()) {
        return wrong();
    }
    let (bank, switches) = (demo.bank(), demo.switches());
    let answer = |query: &Search| {
        let (ids, more) = bank.find(&query.field, &query.value, &switches);
        json!({"ids": ids, "more": more})
    };
    Json(json!({"answers": queries.iter().map(answer).collect::<Vec<_>>()})).into_response()
}

#[derive(Deserialize)]
struct Searches {
    queries: Vec<Search>,
}

#[derive(Deserialize)]
struct Search {
    field: String,
    value: String,
}

async fn account(State(demo): State<Arc<Demo>>, Path(id): Path<String>) -> Response {
    let account = demo.bank().account(&id, &demo.switches());
    account.map_or_else(
        || refusal(StatusCode::NOT_FOUND, "no such account"),
        |account| Json(account).into_response(),
    )
}

async fn card(State(demo): State<Arc<Demo>>, Path(id): Path<String>) -> Response {
    let switches = demo.switches();
    let mut bank = demo.bank();
    let found = bank.account_of_card(&id).map(|account| account.id.clone());
    let account = found.and_then(|account| bank.account(&account, &switches));
    let card = account.and_then(|account| {
        let card = account.cards.iter().find(|card| card.id == id)?;
        Some(json!({"account": account.id, "card": card}))
    });
    card.map_or_else(|| refusal(StatusCode::NOT_FOUND, "no such card"), |card| Json(card).into_response())
}

async fn ticket(State(demo): State<Arc<Demo>>, Path(id): Path<String>) -> Response {
    let ticket = demo.bank().tickets.get(&id).cloned();
    ticket.map_or_else(
        || refusal(StatusCode::NOT_FOUND, "no such ticket"),
        |ticket| Json(ticket).into_response(),
    )
}

async fn customer(State(demo): State<Arc<Demo>>, Path(id): Path<String>) -> Response {
    let customer = demo.bank().customer(&id);
    customer.map_or_else(
        || refusal(StatusCode::NOT_FOUND, "no such customer"),
        |found| Json(found).into_response(),
    )
}

/// `{"accounts": [{"id", "relation": "owner" | "authorised", "product"}]}`, empty for an unknown customer.
async fn accounts_of(State(demo): State<Arc<Demo>>, Path(id): Path<String>) -> Json<Value> {
    Json(json!({"accounts": demo.bank().accounts_of(&id, &demo.switches())}))
}

async fn channel_key(State(demo): State<Arc<Demo>>) -> Json<Value> {
    Json(demo.channel.public_key())
}

async fn channel_token(State(demo): State<Arc<Demo>>, body: Bytes) -> Response {
    let login: Login = match serde_json::from_slice(&body) {
        Ok(login) => login,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("not a login: {error}")),
    };
    if !demo.bank().knows_customer(&login.customer) {
        return refusal(StatusCode::NOT_FOUND, "no such customer");
    }
    Json(json!({"token": demo.channel.token(&login, demo.clock.now())})).into_response()
}

async fn switches(State(demo): State<Arc<Demo>>) -> Response {
    Json(demo.switches()).into_response()
}

async fn switch(State(demo): State<Arc<Demo>>, body: Bytes) -> Response {
    let change: Map<String, Value> = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(error) => {
            return refusal(StatusCode::BAD_REQUEST, &format!("not an object of switches: {error}"));
        }
    };
    match demo.switch(|switches| switches.changed(&change)) {
        Ok(switches) => Json(switches).into_response(),
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}
