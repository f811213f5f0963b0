//! Whether the process lives, whether it can work, and what it offers.

use super::api::Api;
use super::auth::Access;
use super::openapi;
use super::routes::{Route, table};
use super::shapes::{Alive, Fault, Ready};
use crate::understanding::Live;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", Access::Everybody, "The process lives.", alive)
            .gives::<Alive>(200, "it lives"),
        Route::get("/readyz", Access::Everybody, "The service can take messages.", ready)
            .gives::<Ready>(200, "it can")
            .gives::<Ready>(503, "it cannot, and why"),
        Route::get("/openapi.json", Access::Everybody, "This document.", document)
            .streams("application/json", "an OpenAPI 3.1 document"),
    ]
}

pub async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

async fn document(State(api): State<Arc<Api>>) -> Response {
    Json(openapi::document(&table(), &api.cases.pack().governance.administration)).into_response()
}

/// The models and the pack were loaded and checked before anything listened; what can break later is asked.
async fn ready(State(api): State<Arc<Api>>) -> Response {
    let checked = tokio::task::spawn_blocking(move || faults(&api)).await;
    answer(checked.unwrap_or_else(|_| vec![fault("service", "the checks did not end", "see the log")]))
}

/// Whether it is ready: without faults.
pub fn answer(faults: Vec<Fault>) -> Response {
    let (code, status) = match faults.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, Json(Ready { status, faults })).into_response()
}

fn faults(api: &Api) -> Vec<Fault> {
    let mut faults = Vec::new();
    let parts = api.cases.parts();
    if let Err(error) = parts.ledger.claimed("readiness", "probe") {
        tracing::error!(%error, "the ledger does not answer");
        faults.push(fault("ledger", "it does not answer", "see the log; check the state directory's disk"));
    }
    faults.extend(models(&parts.models));
    if let Some(reason) = parts.policies.fault() {
        let remedy = "run `prokura policies index PATH...`, or `prokura policies rollback DIGEST`";
        faults.push(fault("policy index", &reason, remedy));
    }
    if let Some(reason) = parts.policies.behind() {
        let remedy = "what was there goes on answering, and it is tried again; `prokura policies verify` on the machine \
                      that `[policies] from` names tells whether it is at fault";
        faults.push(fault("policy index", &reason, remedy));
    }
    faults
}

/// What reads is not what was promoted.
pub fn models(models: &Live) -> Option<Fault> {
    let remedy = "run `prokura models list`, then `prokura models promote` or `rollback`";
    models.fault().map(|reason| fault("models", &reason, remedy))
}

pub fn fault(component: &str, reason: &str, remedy: &str) -> Fault {
    Fault { component: component.to_owned(), reason: reason.to_owned(), remedy: remedy.to_owned() }
}
