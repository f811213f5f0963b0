//! Events of the bank's other systems: what a case waits for. The sender is whoever the key names.

use super::api::Api;
use super::auth::Access;
use super::body::Given;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::Noticed;
use crate::base::CaseId;
use crate::cases::{CaseError, Notice};
use crate::governance::{Act, Principal};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest id and kind, in characters.
const LONGEST: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The sender's own id of the event: the same one counts once. 1 to 200 visible characters.
    pub id: String,
    /// What happened, as plans name it in `event`. 1 to 200 visible characters.
    pub kind: String,
    /// The case, or the key of one of its calls.
    pub case: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/events",
            Access::May(Act::TellEvent),
            "Tells what happened elsewhere, to the case that waits for it.",
            tell,
        )
        .takes::<Told>()
        .gives::<Noticed>(200, "what came of it: late and repeated events change nothing")
        .refuses(404, "there is no such case")
        .refuses(409, "another event of this id was told before"),
    ]
}

async fn tell(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(told): Given<Told>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let Told { id, kind, case } = told;
    for (field, value) in [("id", &id), ("kind", &kind), ("case", &case)] {
        let fits =
            (1..=LONGEST).contains(&value.chars().count()) && value.chars().all(|c| c.is_ascii_graphic());
        if !fits {
            let problem = format!("the field `{field}` is not 1 to {LONGEST} visible characters of ASCII");
            return Err(Refusal::bad("bad_body", &problem, "mend it and send the event again"));
        }
    }
    // A call's key begins with its case's id.
    let case = CaseId::new(case.rsplit_once(".c").map_or(case.as_str(), |(case, _)| case));
    let (cases, about) = (api.cases.clone(), case.clone());
    // Whoever hangs up must not leave a recorded event behind that nobody follows.
    let recorded = tokio::spawn(async move {
        let notice = cases.notify(&about, &who, (&id, &kind)).await?;
        cases.start(about);
        Ok::<Notice, CaseError>(notice)
    });
    let notice = recorded.await.map_err(|error| Refusal::internal(&error))??;
    Ok((StatusCode::OK, Json(json!({ "case": case, "outcome": notice }))))
}

#[cfg(test)]
mod tests {
    use super::super::routes::table;

    #[test]
    fn a_system_tells_events_and_reaches_nothing_else() {
        let rules = crate::governance::shipped_administration();
        let reached: Vec<&str> = table()
            .into_iter()
            .filter(|route| route.access.roles(&rules).contains(&"system"))
            .map(|route| route.path)
            .collect();
        assert_eq!(reached, ["/v1/events"]);
    }
}
