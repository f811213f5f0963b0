//! Opening cases, going on with them, and looking at them.

use super::api::Api;
use super::attachments::{Taken, take};
use super::auth::Access;
use super::body::{FILES_READ_BY, Id, Sent, idempotency_key, single};
use super::error::Refusal;
use super::routes::Route;
use super::shapes::{CaseList, CaseStatus, CaseView, Trace};
use super::views::{existing, looked_at, view};
use crate::base::{CaseId, Digest, Language, MessageId, ids};
use crate::cases::{CaseError, Cases, Incoming, State as Case, Status, trace};
use crate::governance::{Act, Principal};
use crate::intake::{self, Envelope, Identity, Message, RawMessage};
use crate::ledger::{LedgerError, StreamKind};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most cases in one list.
const MOST_LISTED: usize = 100;
/// How often a message is tried when other events of its case come in between.
const TRIES: usize = 5;
/// Longest claim of a sender, in characters: that of an e-mail address and a name beside it.
const LONGEST_SENDER: usize = 400;

const KEY: &str = "the same key with the same body is the same message, 1 to 200 visible characters";
const TOKEN: &str = "the channel's signed identity token for this message, a compact JWS";

const CROWDED: &str = "as many messages with files as there is room for are being taken";

/// A customer's message.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// As the customer wrote it.
    pub text: String,
    /// What the channel believes; decides where the text does not tell.
    #[schema(value_type = Option<String>, pattern = "^(de|en)$")]
    pub language: Option<Language>,
    /// Who the sender says to be. It unlocks nothing.
    pub from: Option<String>,
    #[serde(default)]
    pub attachments: Vec<SaidAttachment>,
}

/// Something that came with the message: its text, or the file itself.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaidAttachment {
    /// The ending says what a file is.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes of a file in Base64 (RFC 4648, section 4), in the place of `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Byte)]
    pub content: Option<String>,
}

pub fn routes() -> Vec<Route> {
    let openers = Access::May(Act::OpenCase);
    let staff = Access::May(Act::SeeCase);
    let knowing = Access::May(Act::KnowCase);
    vec![
        Route::post(
            "/v1/cases",
            openers,
            "Opens a case with a message and waits briefly for the outcome.",
            open,
        )
        .takes::<Said>()
        .header("Idempotency-Key", KEY)
        .header("Prokura-Identity", TOKEN)
        .gives::<CaseView>(201, "the case, come to rest; a channel gets `case`, `status` and `reply` only")
        .gives::<CaseView>(202, "the message is recorded and the case is running")
        .refuses(401, "no valid API key, or the identity token was not accepted")
        .refuses(409, "the Idempotency-Key was used with another request")
        .refuses(429, CROWDED)
        .refuses(507, "the disk is nearly full: no new case is opened"),
        Route::get("/v1/cases", staff, "The newest cases, at most 100.", list)
            .query("status", "only cases with this status")
            .refuses(400, "an unknown status")
            .gives::<CaseList>(200, "newest first"),
        Route::get("/v1/cases/{id}", knowing, "One case.", show)
            .gives::<CaseView>(200, "the case; a channel gets `case`, `status` and `reply` only"),
        Route::post("/v1/cases/{id}/messages", openers, "The customer's next message.", say)
            .takes::<Said>()
            .header("Idempotency-Key", KEY)
            .header("Prokura-Identity", TOKEN)
            .gives::<CaseView>(200, "the case, come to rest")
            .gives::<CaseView>(202, "the message is recorded and the case is running")
            .refuses(401, "no valid API key, or the identity token was not accepted")
            .refuses(409, "the Idempotency-Key was used with another request")
            .refuses(429, CROWDED),
        Route::get(
            "/v1/cases/{id}/trace",
            staff,
            "Every step with its inputs, outputs, digests and times.",
            steps,
        )
        .gives::<Trace>(200, "in order"),
        Route::post(
            "/v1/cases/{id}/retry",
            Access::May(Act::RetryCase),
            "Lets a stuck case go on: with what was due, or with what is left to be undone.",
            retry,
        )
        .gives::<CaseView>(200, "the case, come to rest")
        .gives::<CaseView>(202, "it is recorded and the case is running")
        .refuses(409, "the case is not stuck"),
    ]
}

async fn open(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    sent: Sent<Said>,
) -> Result<Response, Refusal> {
    let case = receive(&api, &who, &headers, sent, None).await?;
    Ok(outcome(&api, &who, &case, StatusCode::CREATED).await)
}

async fn say(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
    headers: HeaderMap,
    sent: Sent<Said>,
) -> Result<Response, Refusal> {
    let known = existing(&api, &who, &CaseId::new(id)).await?;
    let case = receive(&api, &who, &headers, sent, Some(&known.case)).await?;
    Ok(outcome(&api, &who, &case, StatusCode::OK).await)
}

async fn retry(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let case = CaseId::new(id);
    let (cases, own, by) = (api.cases.clone(), case.clone(), who.clone());
    let recorded = tokio::spawn(async move {
        cases.retry(&own, &by).await?;
        cases.start(own);
        Ok::<_, CaseError>(())
    });
    recorded.await.map_err(|error| Refusal::internal(&error))??;
    Ok(outcome(&api, &who, &case, StatusCode::OK).await)
}

/// Records the message and sets the case in motion, before the time for the request is over. `case` exists, or is `None` for a new one.
async fn receive(
    api: &Api,
    who: &Principal,
    headers: &HeaderMap,
    sent: Sent<Said>,
    case: Option<&CaseId>,
) -> Result<CaseId, Refusal> {
    let Sent { said, began, place: _place } = sent;
    let said = &said;
    let key = idempotency_key(headers)?;
    let (identity, token) = identified(api, headers, said, case)?;
    let digest = request_digest(said, case, &identity)?;
    let key = key.map(|key| (key, digest));
    // The files of a request that came before have been read.
    if let Some(key) = key.as_ref().filter(|_| said.attachments.iter().any(|one| one.content.is_some()))
        && let Some(case) = api.cases.known(who, key).await?
    {
        api.cases.start(case.clone());
        return Ok(case);
    }
    let id = case.cloned().unwrap_or_else(|| CaseId::new(ids::fresh("case")));
    let attachments = take(&said.attachments, &api.limits, began + FILES_READ_BY).await?;
    let message = message(api, who, (said, &attachments), id, identity)?;
    let (cases, by) = (api.cases.clone(), who.clone());
    // A caller that hangs up must not leave a recorded message behind that nobody answers.
    let accepted = tokio::spawn(async move {
        let case = record(&cases, &by, &message, token.as_ref(), key.as_ref()).await?;
        cases.start(case.clone());
        Ok::<CaseId, CaseError>(case)
    });
    Ok(accepted.await.map_err(|error| Refusal::internal(&error))??)
}

/// A case that is being worked on grows in between; the message then goes behind what was written.
async fn record(
    cases: &Cases,
    by: &Principal,
    message: &Message,
    token: Option<&String>,
    key: Option<&(String, Digest)>,
) -> Result<CaseId, CaseError> {
    let mut tried = 1;
    loop {
        let incoming =
            Incoming { by: by.clone(), message: message.clone(), token: token.cloned(), key: key.cloned() };
        match cases.accept(incoming).await {
            Err(CaseError::Ledger(LedgerError::Conflict { .. })) if tried < TRIES => tried += 1,
            // The same request came twice at once: by now the other one's key is recorded.
            Err(CaseError::TokenReplayed) if key.is_some() && tried < TRIES => tried = TRIES,
            other => return other,
        }
    }
}

/// Who sent this message, and the `jti` of the token that says so.
fn identified(
    api: &Api,
    headers: &HeaderMap,
    said: &Said,
    case: Option<&CaseId>,
) -> Result<(Identity, Option<String>), Refusal> {
    if let Some(token) = single(headers, "prokura-identity") {
        let token = token.map_err(|()| Refusal::identity())?;
        let Some(keys) = &api.identity else {
            tracing::warn!("an identity token was sent, and the configuration names no key for them");
            return Err(Refusal::identity());
        };
        let now = api.cases.parts().clock.now();
        let verified = intake::verify(token, keys, case, &said.text, now)?;
        return Ok((verified.identity, Some(verified.jti)));
    }
    let Some(from) = &said.from else { return Ok((Identity::Anonymous, None)) };
    let length = from.chars().count();
    if from.trim().is_empty() || length > LONGEST_SENDER || from.chars().any(char::is_control) {
        let remedy = format!("send 1 to {LONGEST_SENDER} visible characters, or leave it out");
        return Err(Refusal::bad("bad_body", "the field `from` is not a sender", remedy));
    }
    Ok((Identity::Claimed { from: intake::mask_cards(from) }, None))
}

/// Covers the body and whose message it is, but not the token: a retry may come with a fresh one.
fn request_digest(said: &Said, case: Option<&CaseId>, identity: &Identity) -> Result<Digest, Refusal> {
    let body = serde_json::to_vec(said).map_err(|error| Refusal::internal(&error))?;
    let case = case.map_or("", CaseId::as_str);
    let customer = identity.customer().map_or("", |customer| customer.as_str());
    Ok(Digest::of_parts([body.as_slice(), case.as_bytes(), customer.as_bytes()]))
}

fn message(
    api: &Api,
    who: &Principal,
    (said, attachments): (&Said, &[Taken<'_>]),
    case: CaseId,
    identity: Identity,
) -> Result<Message, Refusal> {
    let attachments = attachments.iter().map(Taken::raw).collect();
    let raw = RawMessage { text: said.text.as_bytes(), language: said.language, attachments };
    let envelope = Envelope {
        id: MessageId::new(ids::fresh("msg")),
        case,
        channel: who.name.clone(),
        identity,
        received_at: api.cases.parts().clock.now(),
    };
    Ok(intake::accept(&raw, envelope, &api.limits)?)
}

/// Waits for the case to come to rest. The message is recorded by now, so whatever fails here is no reason
/// to send it again.
pub async fn outcome(api: &Api, who: &Principal, case: &CaseId, done: StatusCode) -> Response {
    let waited: Result<(Case, Value), Refusal> = async {
        let state = api.cases.wait(case, api.wait).await?;
        let view = view(api, who, &state);
        Ok((state, view))
    }
    .await;
    let (status, view) = match waited {
        Ok((state, view)) if state.status != Status::Running => (done, view),
        Ok((_, view)) => (StatusCode::ACCEPTED, view),
        Err(_) => (StatusCode::ACCEPTED, json!({"case": case, "status": Status::Running, "reply": null})),
    };
    (status, [(header::LOCATION, format!("/v1/cases/{case}"))], Json(view)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    status: Option<CaseStatus>,
}

async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Ok(Query(Listed { status })) = query else {
        let remedy = format!("the only parameter is `status`, one of {}", CaseStatus::names());
        return Err(Refusal::bad("bad_query", "the query is not understood", remedy));
    };
    let ledger = Arc::clone(&api.cases.parts().ledger);
    let heads = tokio::task::spawn_blocking(move || {
        ledger.heads(StreamKind::Case, status.map(CaseStatus::as_str), None)
    });
    let heads = heads.await.map_err(|error| Refusal::internal(&error))??;
    let cases: Vec<Value> = heads
        .into_iter()
        .take(MOST_LISTED)
        .map(|head| json!({"case": head.name, "status": head.status, "updated_at": head.at, "events": head.length}))
        .collect();
    Ok(Json(json!({"cases": cases})))
}

async fn show(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
) -> Result<Json<Value>, Refusal> {
    let state = looked_at(&api, &who, "case", &CaseId::new(id)).await?;
    Ok(Json(view(&api, &who, &state)))
}

async fn steps(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Id(id): Id,
) -> Result<Json<Value>, Refusal> {
    let case = looked_at(&api, &who, "trace", &CaseId::new(id)).await?.case;
    let entries = api.cases.entries(&case).await?;
    Ok(Json(json!({"case": case, "events": trace(&entries)})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CustomerId, Timestamp};
    use crate::intake::Assurance;

    fn said(text: &str) -> Said {
        Said { text: text.into(), language: None, from: None, attachments: Vec::new() }
    }

    #[test]
    fn a_request_is_the_same_with_a_fresh_token_and_another_with_another_customer() {
        let verified = |customer: &str, at| Identity::Verified {
            customer: CustomerId::new(customer),
            assurance: Assurance::Login,
            at: Timestamp::from_millis(at),
        };
        let case = CaseId::new("case_1");
        let digest =
            |text: &str, case, identity: &Identity| request_digest(&said(text), case, identity).unwrap();
        let first = digest("a", None, &verified("cus_1", 1));
        assert_eq!(first, digest("a", None, &verified("cus_1", 2)));
        for other in [
            digest("b", None, &verified("cus_1", 1)),
            digest("a", None, &verified("cus_2", 1)),
            digest("a", None, &Identity::Anonymous),
            digest("a", Some(&case), &verified("cus_1", 1)),
        ] {
            assert_ne!(first, other);
        }
    }
}
