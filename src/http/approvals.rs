//! What waits for a human, and the human's answer. The approver is whoever the key names.

use super::api::Api;
use super::auth::Access;
use super::body::{Given, Id};
use super::cases::outcome;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::{Approvals, CaseView};
use crate::base::Digest;
use crate::cases::{CaseError, Decide};
use crate::governance::{Act, Principal};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 2_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    pub approve: bool,
    /// At most 2,000 characters.
    pub reason: Option<String>,
    /// The `binding` of what was shown; when the case has changed since, the decision is refused.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    pub binding: Option<String>,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/approvals",
            Access::May(Act::SeeApprovals),
            "The calls that wait for a human's approval.",
            list,
        )
        .gives::<Approvals>(200, "newest case first"),
        Route::post(
            "/v1/approvals/{id}/decision",
            Access::May(Act::Approve),
            "Approves or declines a call. The approver is whoever the key names.",
            decide,
        )
        .takes::<Decided>()
        .gives::<CaseView>(200, "the case, come to rest or waiting for a second person")
        .gives::<CaseView>(202, "the decision is recorded and the case is running")
        .refuses(403, "the key's role may not approve, or its holder opened the case or has decided already")
        .refuses(409, "the approval has expired, is settled, or the case has changed"),
    ]
}

async fn list(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
) -> Result<Json<Value>, Refusal> {
    let waiting = api.cases.approvals().await?;
    let cases = waiting.iter().map(|approval| approval.case.clone()).collect();
    api.cases.note_access(&who, "approvals", cases).await?;
    Ok(Json(json!({ "approvals": waiting })))
}

async fn decide(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(decided): Given<Decided>,
) -> Result<Response, Refusal> {
    let decide = checked(decided, who.clone())?;
    let cases = api.cases.clone();
    // A caller that hangs up must not leave a recorded decision behind that nobody follows.
    let recorded = tokio::spawn(async move {
        let case = cases.decide(&id, decide).await?;
        cases.start(case.clone());
        Ok::<_, CaseError>(case)
    });
    let case = recorded.await.map_err(|error| Refusal::internal(&error))??;
    Ok(outcome(&api, &who, &case, StatusCode::OK).await)
}

fn checked(decided: Decided, by: Principal) -> Result<Decide, Refusal> {
    let Decided { approve, reason, binding } = decided;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        let remedy = format!("send at most {LONGEST_REASON} characters");
        return Err(Refusal::bad("bad_body", "the field `reason` is too long", remedy));
    }
    let binding = binding.map(|text| {
        let remedy = "send the `binding` that GET /v1/approvals shows, or leave it out";
        Digest::parse(&text)
            .ok_or_else(|| Refusal::bad("bad_body", "the field `binding` is no digest", remedy))
    });
    Ok(Decide { by, approve, reason, binding: binding.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::super::body::parse;
    use super::*;
    use crate::governance::Role;

    fn sara() -> Principal {
        Principal::new("sara", Role::Supervisor)
    }

    #[test]
    fn the_approver_is_never_in_the_body() {
        for field in ["by", "approver", "principal"] {
            let body = format!(r#"{{"approve": true, "{field}": "tom"}}"#);
            assert_eq!(parse::<Decided>(body.as_bytes()).err().unwrap().status.as_u16(), 400);
        }
        let decide = checked(parse(br#"{"approve": true}"#).unwrap(), sara()).unwrap();
        assert_eq!(decide.by, sara());
        assert!(decide.approve);
    }

    #[test]
    fn a_binding_is_a_digest() {
        let body = format!(r#"{{"approve": false, "reason": "no", "binding": "{}"}}"#, Digest::of(b"x"));
        let decide = checked(parse(body.as_bytes()).unwrap(), sara()).unwrap();
        assert_eq!(decide.binding, Some(Digest::of(b"x")));
        let refused = checked(parse(br#"{"approve": true, "binding": "sha256:1"}"#).unwrap(), sara());
        assert_eq!(refused.err().unwrap().status.as_u16(), 400);
    }
}
