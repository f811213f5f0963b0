//! The policy documents: what there is, how a file would be read, and changes of what is published. Reading is for
//! staff, as far as a document is for them; changing for administrators. A change goes on to its end also when nobody
//! waits for it any more, and the answer comes when what was published answers.

use super::api::Api;
use super::auth::Access;
use super::body::{Given, Id, Pairs, file};
use super::error::Refusal;
use super::routes::Route;
use super::shapes::Generations;
use super::shapes::policies::{
    Concerns, DocumentList, Forgotten, GenerationsVerified, PoliciesRolledBack, PolicyDifference, Previewed,
    Published, QuestionsTested,
};
use super::stateless::clearance;
use crate::base::priority::behind;
use crate::base::{Digest, Finding};
use crate::cases;
use crate::governance::{Act, Principal};
use crate::intake::document::Limits;
use crate::policy::bar::{RetrievalBar, Wanted};
use crate::policy::document::KEYS;
use crate::policy::{self, Clearance, Document, Gathered, Generation, validate};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

/// So many of these requests work at once; the others wait, and leave the threads to customers. Customers' files have
/// turns of their own.
const AT_ONCE: usize = 2;
/// So many files that somebody sent are held, coming, waiting or being worked on; each may have tens of MiB.
const HELD: usize = 4;
/// Longest name of a file, in characters.
const LONGEST_NAME: usize = 200;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// What administering the policies needs beside the engine.
#[derive(Clone)]
pub struct Administration {
    /// The file of the questions that must be answered before something is published.
    bar: PathBuf,
    /// Of a file that somebody sends.
    limits: Limits,
    at_once: Arc<Semaphore>,
    held: Arc<Semaphore>,
    ending: Arc<AtomicBool>,
}

impl Administration {
    pub fn new(bar: PathBuf, limits: Limits) -> Self {
        Self {
            bar,
            limits,
            ending: Arc::default(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            held: Arc::new(Semaphore::new(HELD)),
        }
    }

    /// From now on nothing begins, neither what comes nor what waits for its turn.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Waits, after `end`, until what is being done has ended and is in the ledger.
    pub async fn ended(&self) {
        let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        // Those that waited before have no turn any more, and give it on at once.
        let _ = self.at_once.acquire_many(all).await;
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn =
            Arc::clone(&self.at_once).acquire_owned().await.map_err(|error| Refusal::internal(&error))?;
        if self.ending.load(Ordering::SeqCst) { Err(Refusal::ending()) } else { Ok(turn) }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollingBack {
    /// A digest, or the beginning of one.
    pub generation: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Testing {
    /// A digest, or the beginning of one; the current generation, when it is not there.
    pub generation: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgetting {
    /// Generations that are not current and were built before so many days.
    pub days: u32,
}

const ENDING: &str = "the file's name; its ending says the format (.md, .txt, .html, .pdf, .docx, .odt, .xlsx, .eml or \
    .jsonl), and what stands before it is the id of a document that names none";
const BYTES: &str = "the file's bytes, as they are";
const FORCE: &str = "`true`: publish also what does not answer the saved questions";
const GENERATION: &str = "a digest, or the beginning of one; the current generation, when it is not there";
pub fn routes() -> Vec<Route> {
    [looking(), judging(), changing()].into_iter().flatten().collect()
}

fn looking() -> Vec<Route> {
    let everyone = Access::May(Act::SeeService);
    vec![
        Route::get("/v1/policies", everyone, "The generations of the policy index.", generations)
            .gives::<Generations>(200, "oldest first"),
        Route::get(
            "/v1/policies/documents",
            everyone,
            "The documents of a generation that the key's role may read.",
            documents,
        )
        .takes_time()
        .query("generation", GENERATION)
        .refuses(404, "there is no such generation")
        .refuses(409, "the generation is damaged")
        .gives::<DocumentList>(200, "by id and version"),
        Route::get(
            "/v1/policies/diff",
            everyone,
            "What changed between two generations in the documents that the key's role may read, clause by clause.",
            diff,
        )
        .takes_time()
        .query("from", "a digest, or the beginning of one")
        .query("to", "a digest, or the beginning of one")
        .refuses(404, "there is no such generation")
        .refuses(409, "a generation is damaged")
        .gives::<PolicyDifference>(200, "by document, with the plans that cite it"),
    ]
}

fn judging() -> Vec<Route> {
    let seeing = Access::May(Act::SeeEveryDocument);
    let preview = Route::post(
        "/v1/policies/preview",
        Access::May(Act::ChangePolicies),
        "How a file is read and cut, and what a person should look at before it is published; publishes nothing.",
        preview,
    );
    vec![
        of_a_file(preview).gives::<Previewed>(200, "what it was read as"),
        Route::post(
            "/v1/policies/validate",
            seeing,
            "What of the current documents a person should look at.",
            validate,
        )
        .takes_time()
        .gives::<Concerns>(200, "at most 500"),
        Route::get(
            "/v1/policies/verify",
            seeing,
            "Reads generations whole and holds every file against its digest.",
            verify,
        )
        .takes_time()
        .query("generation", "a digest, or the beginning of one; all, when it is not there")
        .refuses(404, "there is no such generation")
        .gives::<GenerationsVerified>(200, "each with whether it can be searched"),
        Route::post(
            "/v1/policies/test",
            seeing,
            "Asks a generation the saved questions (retrieval-bar.toml beside the settings).",
            test,
        )
        .takes_time()
        .takes::<Testing>()
        .gives::<QuestionsTested>(200, "what was found, also where that is too little")
        .refuses(404, "there is no such generation, or no saved question")
        .refuses(409, "the generation is damaged"),
    ]
}

fn changing() -> Vec<Route> {
    let changing = Access::May(Act::ChangePolicies);
    let upload = Route::post(
        "/v1/policies/documents",
        changing,
        "Puts a file's documents in the place of those with the same id and version, or beside the others, and \
         publishes them.",
        upload,
    );
    vec![
        of_a_file(upload)
            .query("force", FORCE)
            .gives::<Published>(200, "published, and answering")
            .refuses(409, "somebody else is changing the policies, or too few saved questions are answered")
            .refuses(507, "the disk is full"),
        Route::delete(
            "/v1/policies/documents/{id}",
            changing,
            "Takes a document away in all its versions, and publishes what is left.",
            remove,
        )
        .takes_time()
        .query("force", FORCE)
        .gives::<Published>(200, "published, and answering")
        .refuses(
            409,
            "somebody else is changing the policies, too few saved questions are answered, or plans cite it",
        )
        .refuses(422, "it is the last one"),
        Route::post(
            "/v1/policies/rollback",
            changing,
            "Makes an earlier generation the current one.",
            rollback,
        )
        .takes_time()
        .takes::<RollingBack>()
        .gives::<PoliciesRolledBack>(200, "it answers")
        .refuses(404, "there is no such generation")
        .refuses(409, "somebody else is changing the policies, plans cite what it lacks, or it is damaged"),
        Route::post(
            "/v1/policies/forget",
            changing,
            "Removes generations that are not current; cases that were answered from them cannot be searched again.",
            forget,
        )
        .takes_time()
        .takes::<Forgetting>()
        .gives::<Forgotten>(200, "what is gone")
        .refuses(409, "somebody else is changing the policies"),
    ]
}

/// A route that takes a file, and beside it whatever the file could say of itself.
fn of_a_file(route: Route) -> Route {
    let route = route.takes_time().takes_file(BYTES).query("name", ENDING);
    let route = route.refuses(429, "as many files as there is room for are being taken");
    let route = route.refuses(503, "the store failed, or files cannot be read here just now");
    KEYS.into_iter()
        .fold(route, |route, key| route.query(key, "takes the place of what the file says of itself"))
}

/// Looks at what is at hand.
async fn looked<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<T, Refusal> + Send + 'static,
) -> Result<Json<T>, Refusal> {
    let api = Arc::clone(api);
    let done = tokio::task::spawn_blocking(move || work(&api)).await;
    done.map_err(|error| Refusal::internal(&error))?.map(Json)
}

/// Does work that takes its time, behind those who wait for an answer to a customer. It ends also when the caller has
/// gone.
async fn worked<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<T, Refusal> + Send + 'static,
) -> Result<Json<T>, Refusal> {
    let api = Arc::clone(api);
    // Also a change that waits for its turn is made when the caller has gone.
    let done = tokio::spawn(async move {
        let permit = api.administration.turn().await?;
        looked(&api, move |api| {
            let _permit = permit;
            behind(|| work(api)).map_err(|error| Refusal::internal(&error))?
        })
        .await
    });
    done.await.map_err(|error| Refusal::internal(&error))?
}

async fn generations(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    looked(&api, |api| Ok(json!({"generations": policy::list(api.cases.parts().policies.state())?}))).await
}

async fn documents(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    mut asked: Pairs,
) -> Result<Json<Value>, Refusal> {
    let name = asked.take("generation");
    asked.rest(&[])?;
    let seen = clearance(&api.cases.pack().governance.administration, &who);
    match name {
        None => looked(&api, move |api| Ok(listed(&api.cases.parts().generation(), &seen))).await,
        Some(name) => worked(&api, move |api| Ok(listed(&*generation(api, Some(&name))?, &seen))).await,
    }
}

fn listed(generation: &Generation, seen: &Clearance) -> Value {
    let held = generation.held().filter(|(document, _)| seen.sees(&document.audience));
    let documents: Vec<Value> = held.map(line).collect();
    json!({"generation": generation.digest(), "documents": documents})
}

pub fn line((document, passages): (&Document, usize)) -> Value {
    json!({
        "id": document.id,
        "version": document.version,
        "title": document.title,
        "language": document.language,
        "audience": document.audience,
        "product": document.product,
        "valid_from": document.valid_from,
        "valid_to": document.valid_to,
        "supersedes": document.supersedes,
        "owner": document.owner,
        "source": document.source,
        "passages": passages,
    })
}

/// The one that is asked for, or the one that answers.
fn generation(api: &Api, name: Option<&str>) -> Result<Arc<Generation>, Refusal> {
    let parts = api.cases.parts();
    match name {
        Some(name) => Ok(Arc::new(policy::open_generation(parts.policies.state(), name)?)),
        None => Ok(parts.generation()),
    }
}

/// A file that somebody sent, and what is said of it beside.
struct Sent {
    name: String,
    fields: BTreeMap<String, String>,
    bytes: Vec<u8>,
    /// As long as there is anything of it.
    _place: OwnedSemaphorePermit,
}

impl Sent {
    /// What of the query can be refused is refused before the file is read.
    async fn of(api: &Api, headers: &HeaderMap, mut asked: Pairs, body: Body) -> Result<Self, Refusal> {
        let name = asked.needed("name")?;
        let fields = asked.rest(&KEYS)?;
        let fits = |c: char| !c.is_control() && c != '/' && c != '\\';
        if name.chars().count() > LONGEST_NAME || name.starts_with('.') || !name.chars().all(fits) {
            let remedy =
                format!("send a file's name without its folder, of at most {LONGEST_NAME} characters");
            return Err(Refusal::bad("bad_query", "`name` is no name of a file", remedy));
        }
        let most = policy::most_bytes(&name).ok_or_else(|| {
            Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "no_format",
                "no format is known by the ending of `name`",
                "send a file that ends in .md, .txt, .html, .pdf, .docx, .odt, .xlsx, .eml or .jsonl",
            )
        })?;
        let place =
            Arc::clone(&api.administration.held).try_acquire_owned().map_err(|_| Refusal::crowded())?;
        let bytes = file(headers, body, most.min(api.administration.limits.bytes)).await?;
        Ok(Self { name, fields, bytes, _place: place })
    }

    fn read(&self, api: &Api) -> Result<Gathered, Refusal> {
        let (language, limits) = (api.limits.language, &api.administration.limits);
        Ok(policy::upload((&self.name, &self.bytes), self.fields.clone(), language, limits)?)
    }
}

fn bar(api: &Api) -> Result<Option<RetrievalBar>, Refusal> {
    RetrievalBar::read(&api.administration.bar).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        tracing::error!(findings = lines.join("\n"), "the saved questions cannot be read");
        let remedy = "let the operator correct retrieval-bar.toml; the log says where";
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bad_bar",
            "the saved questions cannot be read",
            remedy,
        )
    })
}

async fn upload(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    mut asked: Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<policy::Published>, Refusal> {
    let forced = asked.flag("force")?;
    let sent = Sent::of(&api, &headers, asked, body).await?;
    worked(&api, move |api| {
        let source = Digest::of(&sent.bytes);
        let Gathered { documents, notes, skipped: _ } = sent.read(api)?;
        let bar = bar(api)?;
        let done = api.cases.put_policies(&who, (documents, &source), (bar.as_ref(), forced))?;
        Ok(policy::Published { notes, ..done })
    })
    .await
}

async fn remove(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    mut asked: Pairs,
) -> Result<Json<policy::Published>, Refusal> {
    let forced = asked.flag("force")?;
    asked.rest(&[])?;
    worked(&api, move |api| {
        let bar = bar(api)?;
        Ok(api.cases.remove_policy(&who, &id, (bar.as_ref(), forced))?)
    })
    .await
}

async fn preview(
    State(api): State<Arc<Api>>,
    asked: Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let sent = Sent::of(&api, &headers, asked, body).await?;
    worked(&api, move |api| {
        let Gathered { documents, notes, skipped: _ } = sent.read(api)?;
        let current = api.cases.parts().generation();
        let previews: Vec<policy::Preview> = documents.iter().map(policy::preview).collect();
        let after = policy::amended(current.documents().to_vec(), documents, &BTreeSet::new())?;
        let concerns = validate::raised(current.documents(), &after);
        Ok(json!({"documents": previews, "concerns": concerns, "notes": notes}))
    })
    .await
}

async fn validate(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    worked(&api, |api| {
        let concerns = validate::concerns(api.cases.parts().generation().documents());
        Ok(json!({"concerns": concerns}))
    })
    .await
}

async fn rollback(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(asked): Given<RollingBack>,
) -> Result<Json<policy::RolledBack>, Refusal> {
    worked(&api, move |api| Ok(api.cases.roll_policies_back(&who, &asked.generation)?)).await
}

async fn forget(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(asked): Given<Forgetting>,
) -> Result<Json<Value>, Refusal> {
    worked(&api, move |api| {
        let before = api.cases.parts().clock.now().plus_millis(-i64::from(asked.days) * DAY);
        Ok(json!({"forgotten": api.cases.forget_policies(&who, before)?}))
    })
    .await
}

async fn diff(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    mut asked: Pairs,
) -> Result<Json<cases::PolicyDifference>, Refusal> {
    let (from, to) = (asked.needed("from")?, asked.needed("to")?);
    asked.rest(&[])?;
    worked(&api, move |api| {
        let (state, pack) = (api.cases.parts().policies.state(), api.cases.pack());
        let seen = clearance(&pack.governance.administration, &who);
        Ok(cases::difference(state, &pack.plans, (&from, &to), &seen)?)
    })
    .await
}

async fn verify(State(api): State<Arc<Api>>, mut asked: Pairs) -> Result<Json<Value>, Refusal> {
    let name = asked.take("generation");
    asked.rest(&[])?;
    worked(&api, move |api| {
        let verified = policy::verify(api.cases.parts().policies.state(), name.as_deref())?;
        Ok(json!({"generations": verified}))
    })
    .await
}

async fn test(State(api): State<Arc<Api>>, Given(asked): Given<Testing>) -> Result<Json<Value>, Refusal> {
    worked(&api, move |api| {
        let bar = bar(api)?.filter(|bar| !bar.questions.is_empty()).ok_or_else(|| {
            let remedy = "let the operator write some into retrieval-bar.toml beside the settings";
            Refusal::new(StatusCode::NOT_FOUND, "no_questions", "there are no saved questions", remedy)
        })?;
        let generation = generation(api, asked.generation.as_deref())?;
        let parts = api.cases.parts();
        let models = parts.models.current();
        let now = parts.clock.now().date();
        let today = policy::parse_date(&now).ok_or_else(|| Refusal::internal(&"the clock gives no date"))?;
        let tested = bar.test(&generation, &[], Some(&models), today)?;
        let questions: Vec<Value> = bar.questions.iter().map(question).collect();
        Ok(json!({
            "generation": generation.digest(), "top": bar.top.get_ref(), "asked": tested.asked,
            "passed": tested.passed, "least": tested.least, "enough": tested.enough, "failed": tested.failed,
            "questions": questions,
        }))
    })
    .await
}

pub fn question(wanted: &Wanted) -> Value {
    let audience = wanted.audience.as_ref().map_or("public", |audience| audience.get_ref());
    json!({
        "query": wanted.query.get_ref(), "document": wanted.document, "section": wanted.section,
        "audience": audience, "language": wanted.language,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::pin::pin;

    #[tokio::test]
    async fn what_is_being_done_ends_and_what_waits_does_not_begin() {
        let administration = Administration::new(PathBuf::new(), Limits::default());
        let doing = [administration.turn().await.unwrap(), administration.turn().await.unwrap()];
        let mut waiting = pin!(administration.turn());
        assert!(poll!(&mut waiting).is_pending());
        administration.end();
        let mut ended = pin!(administration.ended());
        assert!(poll!(&mut ended).is_pending());
        let [first, second] = doing;
        drop(first);
        let refused = waiting.await.err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.code), (503, "ending"));
        assert!(poll!(&mut ended).is_pending(), "one is still being done");
        drop(second);
        ended.await;
    }
}
