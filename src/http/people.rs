//! What people do in a case: taking it over, answering, giving it back, and changing a call before it is approved. Who it
//! is, the key says.

use super::api::Api;
use super::auth::Access;
use super::body::{Given, Id};
use super::cases::outcome;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::{CaseView, Handover};
use super::views::looked_at;
use crate::base::{CaseId, Digest};
use crate::cases::{CaseError, Cases, handover};
use crate::governance::{Act, Principal, Role};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest reason or note, and longest answer, in characters.
const LONGEST_REASON: usize = 2_000;
const LONGEST_ANSWER: usize = 20_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakingOver {
    /// At most 2,000 characters.
    reason: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivingBack {
    /// The concern whose plan goes on; without it the one that the case has.
    leaf: Option<String>,
    /// A step of that plan; without it the one at which the case stopped, or the first.
    step: Option<String>,
    /// At most 2,000 characters.
    note: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answering {
    /// What the customer is told, at most 20,000 characters.
    text: String,
    /// Whether that settles the case.
    #[serde(default)]
    resolves: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Editing {
    /// All arguments of the call. An amount may be lowered, and a value exchanged for another one that the tool lists.
    #[schema(value_type = Object)]
    arguments: Value,
    /// At most 2,000 characters.
    reason: Option<String>,
    /// The `binding` of what was shown.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    binding: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegating {
    /// `agent`, `supervisor`, `security`, or another role that the rules of administration let approve.
    role: String,
    /// At most 2,000 characters.
    reason: Option<String>,
}

pub fn routes() -> Vec<Route> {
    let taking = Access::May(Act::TakeCase);
    let changed = |route: Route| {
        route
            .gives::<CaseView>(200, "the case, come to rest")
            .gives::<CaseView>(202, "it is recorded and the case is running")
            .refuses(409, "the case does not allow it as it is")
    };
    vec![
        Route::get(
            "/v1/cases/{id}/handover",
            Access::May(Act::SeeCase),
            "What a person who takes the case over needs: reading, facts, passages, steps, why it stopped, the next move.",
            package,
        )
        .gives::<Handover>(200, "the package"),
        changed(
            Route::post("/v1/cases/{id}/take", taking, "Takes the case over: the machine does nothing more in it.", take)
                .takes::<TakingOver>(),
        ),
        changed(
            Route::post(
                "/v1/cases/{id}/give-back",
                taking,
                "Gives the case back: its plan goes on at a step, on facts that are read anew.",
                give_back,
            )
            .takes::<GivingBack>(),
        ),
        changed(
            Route::post("/v1/cases/{id}/answer", taking, "A person's own answer to the customer.", answer)
                .takes::<Answering>(),
        ),
        changed(
            Route::post(
                "/v1/approvals/{id}/edit",
                Access::May(Act::Approve),
                "Changes a call that waits for approval; everybody is asked anew, and the editor does not approve it.",
                edit,
            )
            .takes::<Editing>()
            .refuses(403, "the key's role may not, or its holder opened the case or has decided already"),
        ),
        changed(
            Route::post(
                "/v1/approvals/{id}/delegation",
                Access::May(Act::Approve),
                "Hands an approval on to a role: from then on only those who have it decide.",
                delegate,
            )
            .takes::<Delegating>()
            .refuses(403, "the key's role may not, or its holder opened the case or has decided already"),
        ),
    ]
}

async fn package(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
) -> Result<Json<Value>, Refusal> {
    let state = looked_at(&api, &who, "handover", &CaseId::new(id)).await?;
    Ok(Json(handover(&state, api.cases.pack())))
}

async fn take(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(asked): Given<TakingOver>,
) -> Result<Response, Refusal> {
    let reason = short("reason", asked.reason, LONGEST_REASON)?;
    done(&api, &who, CaseId::new(id), |cases, case, who| async move {
        cases.take_over(&case, &who, reason.as_deref()).await
    })
    .await
}

async fn give_back(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(asked): Given<GivingBack>,
) -> Result<Response, Refusal> {
    let note = short("note", asked.note, LONGEST_REASON)?;
    let (leaf, step) = (asked.leaf, asked.step);
    done(&api, &who, CaseId::new(id), |cases, case, who| async move {
        cases.give_back(&case, &who, (leaf.as_deref(), step.as_deref(), note.as_deref())).await
    })
    .await
}

async fn answer(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(asked): Given<Answering>,
) -> Result<Response, Refusal> {
    let text = short("text", Some(asked.text), LONGEST_ANSWER)?.unwrap_or_default();
    if text.trim().is_empty() {
        return Err(Refusal::bad("bad_body", "the field `text` is empty", "send what the customer is told"));
    }
    done(&api, &who, CaseId::new(id), |cases, case, who| async move {
        cases.answer(&case, &who, (&text, asked.resolves)).await
    })
    .await
}

async fn edit(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(asked): Given<Editing>,
) -> Result<Response, Refusal> {
    let reason = short("reason", asked.reason, LONGEST_REASON)?;
    let shown = asked.binding.map(|text| {
        let remedy = "send the `binding` that GET /v1/approvals shows, or leave it out";
        Digest::parse(&text)
            .ok_or_else(|| Refusal::bad("bad_body", "the field `binding` is no digest", remedy))
    });
    let shown = shown.transpose()?;
    let (cases, by) = (api.cases.clone(), who.clone());
    let edited = tokio::spawn(async move {
        let case = cases.edit(&id, &by, (&asked.arguments, reason.as_deref()), shown.as_ref()).await?;
        cases.start(case.clone());
        Ok::<_, CaseError>(case)
    });
    let case = edited.await.map_err(|error| Refusal::internal(&error))??;
    Ok(outcome(&api, &who, &case, StatusCode::OK).await)
}

async fn delegate(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(asked): Given<Delegating>,
) -> Result<Response, Refusal> {
    let reason = short("reason", asked.reason, LONGEST_REASON)?;
    let role = Role::ALL.into_iter().find(|role| role.as_str() == asked.role);
    let role = role.ok_or_else(|| {
        Refusal::bad("bad_body", "the field `role` names no role", "send agent, supervisor or security")
    })?;
    let (cases, by) = (api.cases.clone(), who.clone());
    let delegated = tokio::spawn(async move {
        let case = cases.delegate(&id, &by, (role, reason.as_deref())).await?;
        cases.start(case.clone());
        Ok::<_, CaseError>(case)
    });
    let case = delegated.await.map_err(|error| Refusal::internal(&error))??;
    Ok(outcome(&api, &who, &case, StatusCode::OK).await)
}

/// A caller that hangs up must not leave a recorded deed behind that nobody follows.
async fn done<F>(
    api: &Arc<Api>,
    who: &Principal,
    case: CaseId,
    deed: impl FnOnce(Cases, CaseId, Principal) -> F,
) -> Result<Response, Refusal>
where
    F: Future<Output = Result<(), CaseError>> + Send + 'static,
{
    let (cases, id) = (api.cases.clone(), case.clone());
    let deed = deed(api.cases.clone(), case.clone(), who.clone());
    let recorded = tokio::spawn(async move {
        deed.await?;
        cases.start(id);
        Ok::<_, CaseError>(())
    });
    recorded.await.map_err(|error| Refusal::internal(&error))??;
    Ok(outcome(api, who, &case, StatusCode::OK).await)
}

fn short(name: &str, text: Option<String>, most: usize) -> Result<Option<String>, Refusal> {
    if text.as_ref().is_some_and(|text| text.chars().count() > most) {
        let message = format!("the field `{name}` is too long");
        return Err(Refusal::bad("bad_body", &message, format!("send at most {most} characters")));
    }
    Ok(text)
}
