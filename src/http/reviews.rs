//! Blind reviews: what is open, what a reviewer gets to see, and what they say before they see more.

use super::api::Api;
use super::auth::Access;
use super::body::{Given, Id};
use super::error::Refusal;
use super::routes::Route;
use super::shapes::autonomy::{Answered, OpenReviews, ReviewShown};
use crate::cases::Answer;
use crate::governance::{Act, Principal};
use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Saying {
    /// What the message is about: the id of a leaf.
    pub leaf: String,
    /// Whether you would do for this customer what the plan for that leaf does.
    pub act: bool,
}

pub fn routes() -> Vec<Route> {
    let reviewers = Access::May(Act::Review);
    vec![
        Route::get("/v1/reviews", reviewers, "The reviews that wait for an answer.", list)
            .gives::<OpenReviews>(
                200,
                "oldest first; nothing says what was suggested, or whether anything was",
            ),
        Route::get("/v1/reviews/{id}", reviewers, "What a reviewer sees of a case.", show)
            .gives::<ReviewShown>(200, "the messages and what was found; not what it was read as")
            .refuses(403, "the key's holder took part in the case, or has looked at it")
            .refuses(404, "there is no such review")
            .refuses(409, "it is answered"),
        Route::post(
            "/v1/reviews/{id}",
            reviewers,
            "Says what a case is about and whether to act; only then the machine's own answer is told.",
            answer,
        )
        .takes::<Saying>()
        .gives::<Answered>(200, "what the machine had said, and whether it was right")
        .refuses(403, "the key's holder took part in the case, or has looked at it")
        .refuses(404, "there is no such review")
        .refuses(409, "it is answered"),
    ]
}

async fn list(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    let cases = api.cases.clone();
    let open = tokio::task::spawn_blocking(move || cases.open_reviews()).await;
    let open = open.map_err(|error| Refusal::internal(&error))??;
    Ok(Json(json!({ "reviews": open })))
}

async fn show(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(api.cases.show_review(&id, &who).await?))
}

async fn answer(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    Given(saying): Given<Saying>,
) -> Result<Json<Value>, Refusal> {
    let Saying { leaf, act } = saying;
    Ok(Json(api.cases.answer_review(&id, &who, Answer { leaf, act }).await?))
}
