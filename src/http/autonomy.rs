//! The autonomy dial: how it stands, and people who turn it. One person turns it down; two turn it up.

use super::api::Api;
use super::auth::Access;
use super::body::Given;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::autonomy::DialsInForce;
use crate::cases::{CaseError, Cases};
use crate::governance::{Act, Asked, Dials, Level, Principal};
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
pub struct Turning {
    /// A leaf as GET /v1/autonomy names it.
    pub leaf: String,
    pub tool: String,
    /// `off`, `suggest` or `auto`; at most what config/autonomy.toml says.
    #[schema(value_type = String, pattern = "^(off|suggest|auto)$")]
    pub level: Level,
    /// At most 2,000 characters, about no customer.
    pub reason: Option<String>,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/autonomy",
            Access::May(Act::SeeService),
            "How far the machine goes by itself, for each leaf and tool, why, and how many reviews are missing.",
            list,
        )
        .gives::<DialsInForce>(200, "every dial as it stands"),
        Route::post(
            "/v1/autonomy",
            Access::May(Act::TurnDial),
            "Turns a dial: down at once; up the first person asks, and a second one does it.",
            turn,
        )
        .takes::<Turning>()
        .gives::<DialsInForce>(200, "every dial as it stands then")
        .refuses(403, "the key's role may not, or its holder has asked already")
        .refuses(404, "no dial is about this leaf and tool")
        .refuses(409, "it is that already, or more than config/autonomy.toml lets it be"),
    ]
}

async fn list(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    told(&api, Cases::dials).await
}

async fn turn(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(turning): Given<Turning>,
) -> Result<Json<Value>, Refusal> {
    let Turning { leaf, tool, level, reason } = turning;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        let remedy = format!("send at most {LONGEST_REASON} characters");
        return Err(Refusal::bad("bad_body", "the field `reason` is too long", remedy));
    }
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    let asked = Asked { leaf, tool, level, by: who.name, reason };
    told(&api, move |cases| cases.turn_dial(&asked)).await
}

async fn told(
    api: &Api,
    work: impl FnOnce(&Cases) -> Result<Arc<Dials>, CaseError> + Send + 'static,
) -> Result<Json<Value>, Refusal> {
    let cases = api.cases.clone();
    let told = tokio::task::spawn_blocking(move || {
        let dials = work(&cases)?;
        let rows: Vec<_> = dials.rows.values().collect();
        let digest = cases.pack().governance.autonomy.digest();
        Ok::<_, CaseError>(json!({"digest": digest, "model": dials.model, "dials": rows}))
    });
    Ok(Json(told.await.map_err(|error| Refusal::internal(&error))??))
}
