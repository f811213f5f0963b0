//! Emergency stops. One person stops; two start again. Both are whoever the key names.

use super::api::Api;
use super::auth::Access;
use super::body::Given;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::Stops;
use crate::cases::{CaseError, Cases, Stop};
use crate::governance::{Act, Principal};
use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 2_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stopping {
    /// A tool, a leaf, or `all`.
    pub what: String,
    /// At most 2,000 characters, about no customer.
    pub reason: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Starting {
    /// What is stopped.
    pub what: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/stops", Access::May(Act::SeeService), "What is stopped.", list)
            .gives::<Stops>(200, "oldest first"),
        Route::post(
            "/v1/stops",
            Access::May(Act::Stop),
            "Stops every new call of a tool, for a leaf, or at all, within a second and on every node.",
            stop,
        )
        .takes::<Stopping>()
        .gives::<Stops>(200, "what is stopped then"),
        Route::post(
            "/v1/stops/start",
            Access::May(Act::Stop),
            "Wants something started again: the first person asks, a second one starts it.",
            start,
        )
        .takes::<Starting>()
        .gives::<Stops>(200, "what is stopped then")
        .refuses(403, "the key's role may not, or its holder has asked already")
        .refuses(404, "it is not stopped"),
    ]
}

async fn list(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    told(&api, |cases| cases.look_at_stops()).await
}

async fn stop(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(asked): Given<Stopping>,
) -> Result<Json<Value>, Refusal> {
    let Stopping { what, reason } = asked;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        let remedy = format!("send at most {LONGEST_REASON} characters");
        return Err(Refusal::bad("bad_body", "the field `reason` is too long", remedy));
    }
    if let Some(remedy) = api.cases.pack().cannot_stop(&what) {
        return Err(Refusal::bad("bad_body", "the field `what` names nothing that can be stopped", remedy));
    }
    told(&api, move |cases| cases.stop(&what, &who, reason.as_deref())).await
}

async fn start(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(asked): Given<Starting>,
) -> Result<Json<Value>, Refusal> {
    told(&api, move |cases| cases.start_again(&asked.what, &who)).await
}

async fn told(
    api: &Api,
    work: impl FnOnce(&Cases) -> Result<Vec<Stop>, CaseError> + Send + 'static,
) -> Result<Json<Value>, Refusal> {
    let cases = api.cases.clone();
    let stops = tokio::task::spawn_blocking(move || work(&cases)).await;
    let stops = stops.map_err(|error| Refusal::internal(&error))??;
    Ok(Json(json!({ "stops": stops })))
}
