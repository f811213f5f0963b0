//! What `prokura serve --role inference` answers: readings, and for other machines the scores and vectors that they
//! make readings and searches of. No case, no ledger, no documents.

use super::auth::{Access, ApiKey};
use super::body::Given;
use super::error::Refusal;
use super::metrics::{self, WATCHING};
use super::routes::Route;
use super::shapes::{Alive, Reading, Ready};
use super::stateless::{Text, order};
use super::{health, openapi};
use crate::base::{Clock, Digest};
use crate::governance::{Act, Administration, Principal};
use crate::intake::{BankCodes, Limits};
use crate::understanding::model::Raw;
use crate::understanding::nodes::{self, Answer, Asked};
use crate::understanding::{Live, Readers, Reading as Read, Understanding, Urgency};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Texts of one request for vectors.
const MOST_TEXTS: usize = 256;

/// Of these, so many are read at once.
const AT_ONCE: usize = 16;

/// Everything that the routes work with.
pub struct Node {
    pub administration: Arc<Administration>,
    pub models: Arc<Live>,
    pub readers: Arc<Readers>,
    pub banks: Arc<BankCodes>,
    pub clock: Arc<dyn Clock>,
    pub keys: Vec<ApiKey>,
    pub limits: Limits,
}

/// A text whose scores another machine asks for.
#[derive(ToSchema)]
#[schema(as = ScoresAsked)]
#[expect(dead_code, reason = "the document's picture of `Asked`")]
struct ScoresAsked {
    /// The bundle that is to read.
    model: String,
    text: String,
    /// It has time: what customers wait for is read first.
    #[schema(default = false)]
    bulk: bool,
}

/// Floats of 32 bits, the lowest byte first, in Base64.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's picture of `Answer`")]
struct Scores {
    arithmetic: String,
    intent: String,
    tone: String,
    retrieval: String,
    spans: Vec<String>,
    boundaries: String,
    /// First word, the one behind the last, and intent scores of every concern.
    concerns: Vec<Vec<String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Texts {
    /// At most 256.
    texts: Vec<String>,
    /// The bundle that is to read them; the current one, when it is not there.
    #[schema(value_type = Option<String>)]
    model: Option<Digest>,
}

#[derive(Serialize, ToSchema)]
struct Vectors {
    #[schema(value_type = String)]
    model: Digest,
    arithmetic: String,
    /// One a text, each of length 1.
    vectors: Vec<Vec<f32>>,
}

pub fn routes() -> Vec<Route<Arc<Node>>> {
    let roles = Access::May(Act::SeeService);
    vec![
        Route::get("/healthz", Access::Everybody, "The process lives.", health::alive)
            .gives::<Alive>(200, "it lives"),
        Route::get("/readyz", Access::Everybody, "The node can read.", ready)
            .gives::<Ready>(200, "it can")
            .gives::<Ready>(503, "it cannot, and why"),
        Route::get("/openapi.json", Access::Everybody, "This document.", document)
            .streams("application/json", "an OpenAPI 3.1 document"),
        Route::get("/metrics", WATCHING, "What monitoring asks for.", measured)
            .streams("text/plain", "one line a value, as Prometheus reads it"),
        Route::post("/v1/understand", roles, "Reads a text: intents, fields, tone.", understand)
            .takes::<Text>()
            .gives::<Reading>(200, "the reading")
            .refuses(503, "too many texts wait"),
        Route::post(
            nodes::ROUTE,
            roles,
            "Scores of a text, for a machine that makes a reading of them.",
            scores,
        )
        .takes::<ScoresAsked>()
        .gives::<Scores>(200, "the scores")
        .refuses(409, "the node has another bundle")
        .refuses(503, "too many texts wait"),
        Route::post("/v1/embeddings", roles, "Vectors of texts, for a search.", embeddings)
            .takes::<Texts>()
            .gives::<Vectors>(200, "the vectors")
            .refuses(409, "the node has another bundle")
            .refuses(503, "too many texts wait"),
    ]
}

async fn document(State(node): State<Arc<Node>>) -> Response {
    Json(openapi::document(&routes(), &node.administration)).into_response()
}

async fn ready(State(node): State<Arc<Node>>) -> Response {
    health::answer(health::models(&node.models).into_iter().collect())
}

async fn measured(State(node): State<Arc<Node>>) -> Response {
    let mut out = String::new();
    metrics::reading(&mut out, &node.models, &node.readers);
    metrics::answer(out)
}

async fn understand(
    State(node): State<Arc<Node>>,
    Extension(who): Extension<Principal>,
    Given(given): Given<Text>,
) -> Result<Json<Read>, Refusal> {
    if given.explain {
        return Err(Refusal::bad(
            "bad_body",
            "an inference node explains nothing",
            "ask the service, or leave `explain` out",
        ));
    }
    let urgency = given.urgency();
    let order = order(given, who, node.clock.now(), &node.limits, (&node.models.current(), &node.banks))?;
    Ok(Json(node.readers.read(order, urgency).await?.reading))
}

async fn scores(State(node): State<Arc<Node>>, Given(asked): Given<Asked>) -> Result<Json<Answer>, Refusal> {
    let models = bundle(&node.models, Some(&asked.model))?;
    let urgency = if asked.bulk { Urgency::Bulk } else { Urgency::Urgent };
    let arithmetic = models.model().arithmetic().to_owned();
    let raw = node.readers.scores(models, asked.text, urgency).await?;
    Ok(Json(Answer::new(arithmetic, &raw)))
}

async fn embeddings(
    State(node): State<Arc<Node>>,
    Given(Texts { texts, model }): Given<Texts>,
) -> Result<Json<Vectors>, Refusal> {
    if texts.len() > MOST_TEXTS {
        let message = format!("{} texts, at most {MOST_TEXTS}", texts.len());
        return Err(Refusal::bad("bad_body", message, "send them in several requests"));
    }
    let models = bundle(&node.models, model.as_ref())?;
    // Several are asked for at once, so that they share batches, and few, so that others find a place.
    let asked = texts.into_iter().map(|text| node.readers.scores(Arc::clone(&models), text, Urgency::Bulk));
    let raw: Vec<Raw> = stream::iter(asked).buffered(AT_ONCE.min(node.readers.room())).try_collect().await?;
    let vectors = raw.into_iter().map(|raw| raw.retrieval).collect();
    let arithmetic = models.model().arithmetic().to_owned();
    Ok(Json(Vectors { model: models.digest().clone(), arithmetic, vectors }))
}

/// The bundle that reads, if it is the one that is asked for: nobody waits for another to be loaded.
fn bundle(models: &Live, asked: Option<&Digest>) -> Result<Arc<Understanding>, Refusal> {
    let there = models.current();
    if asked.is_none_or(|asked| there.digest() == asked) {
        return Ok(there);
    }
    Err(Refusal::new(
        StatusCode::CONFLICT,
        "other_model",
        format!("this node reads with {}", there.digest()),
        "import and promote the same bundle on both machines",
    ))
}
