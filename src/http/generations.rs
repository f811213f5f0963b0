//! What other machines need to have the same policies: the generations of this one, and their files as they are.

use super::api::Api;
use super::auth::Access;
use super::body::Id;
use super::error::Refusal;
use super::routes::Route;
use crate::governance::Act;
use crate::policy::{self, Offer, Offered, PolicyError};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

/// Bytes of a file that are in memory at once.
const PART: usize = 256 << 10;

/// What can be had, and what of it answers.
#[derive(ToSchema)]
#[schema(as = GenerationsOffered)]
#[expect(dead_code, reason = "the document's picture of `Offer`")]
struct Offers {
    /// The newest first; one for each encoder.
    current: Vec<Answering>,
    generations: Vec<String>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's picture of `Current`")]
struct Answering {
    generation: String,
    /// Whose vectors its passages have; null where they are found by their words alone.
    #[schema(required = true)]
    encoder: Option<String>,
}

/// The files of a generation, its manifest first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's picture of `Offered`")]
struct GenerationFiles {
    generation: String,
    files: Vec<GenerationFile>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's picture of `OfferedFile`")]
struct GenerationFile {
    /// As the file's address has it, percent-encoded.
    name: String,
    digest: String,
    bytes: u64,
}

pub fn routes() -> Vec<Route> {
    // Documents that only some roles may read are in them.
    let all_seeing = Access::May(Act::SeeEveryDocument);
    vec![
        Route::get(
            "/v1/policies/generations",
            all_seeing,
            "What a machine whose policies are these fetches.",
            offers,
        )
        .gives::<Offers>(200, "which generations answer, and all that there are")
        .refuses(404, "nothing was published yet"),
        Route::get("/v1/policies/generations/{id}", all_seeing, "The files of a generation.", files)
            .gives::<GenerationFiles>(200, "with their digests and sizes"),
        Route::get(
            "/v1/policies/generations/{id}/files/{name}",
            all_seeing,
            "A file of a generation, as it is.",
            file,
        )
        .streams("application/octet-stream", "its bytes"),
    ]
}

fn none() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no_generation",
        "there is no such generation, or no such file in it",
        "GET /v1/policies/generations tells which there are",
    )
}

/// Work on files, on a thread that may wait.
async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PolicyError> + Send + 'static,
) -> Result<T, Refusal> {
    let read = tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::internal(&error))?;
    read.map_err(|error| match error {
        PolicyError::NotBuilt { .. } => none(),
        error => Refusal::internal(&error),
    })
}

async fn offers(State(api): State<Arc<Api>>) -> Result<Json<Offer>, Refusal> {
    read(move || policy::offer(api.cases.parts().policies.state())).await.map(Json)
}

async fn files(State(api): State<Arc<Api>>, Id(id): Id) -> Result<Json<Offered>, Refusal> {
    read(move || policy::offered(api.cases.parts().policies.state(), &id)).await?.map(Json).ok_or_else(none)
}

/// What stands in the path is held against what the generation lists, and only then is anything opened.
async fn file(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((id, name)) = path.map_err(|_| Refusal::no_route())?;
    let path = read(move || policy::offered_file(api.cases.parts().policies.state(), &id, &name))
        .await?
        .ok_or_else(none)?;
    // It may just have been let go.
    let file = File::open(path).await.map_err(|_| none())?;
    let length = file.metadata().await.map_err(|error| Refusal::internal(&error))?.len();
    let parts = stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; PART];
        let read = file.read(&mut part).await?;
        part.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(part), file)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}
