//! Reading a text and searching the bank's documents, without a case.

use super::api::Api;
use super::auth::Access;
use super::body::Given;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::{Grounds, Reading, Seen};
use crate::base::{CaseId, Language, MessageId, Timestamp, ids};
use crate::governance::{Act, Administration, Principal};
use crate::intake::{self, BankCodes, Envelope, Identity, IntakeError, Limits, RawMessage};
use crate::policy::{self, Clearance, Question};
use crate::understanding::{Explained, Known, Order, Understanding, UnderstandingError, Urgency};
use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use utoipa::ToSchema;

const MOST_PASSAGES: usize = 100;
const PASSAGES: usize = 5;
/// Longest id that is handed through, in characters.
const LONGEST_ID: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Handed through to the answer, at most 200 characters.
    pub id: Option<String>,
    pub text: String,
    #[schema(value_type = Option<String>, pattern = "^(de|en)$")]
    pub language: Option<Language>,
    /// Say which words drove each intent, and what found each value; costs some fifty readings.
    #[serde(default)]
    pub explain: bool,
    /// It has time: what customers wait for is read first.
    #[serde(default)]
    pub bulk: bool,
}

impl Text {
    pub const fn urgency(&self) -> Urgency {
        if self.bulk { Urgency::Bulk } else { Urgency::Urgent }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Handed through to the answer, at most 200 characters.
    pub id: Option<String>,
    pub query: String,
    /// Only documents in this language.
    #[schema(value_type = Option<String>, pattern = "^(de|en)$")]
    pub language: Option<Language>,
    /// Narrows what the key's role allows; never widens it.
    #[schema(value_type = Option<Seen>)]
    pub audience: Option<String>,
    /// Only documents of this product.
    pub product: Option<String>,
    /// The day whose documents count, YYYY-MM-DD; today, when it is not there.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    pub as_of: Option<String>,
    /// How many passages, 1 to 100; 5, when it is not there.
    #[schema(minimum = 1, maximum = 100)]
    pub top: Option<usize>,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/understand",
            Access::May(Act::SeeService),
            "Reads a text: intents, fields, tone.",
            understand,
        )
        .takes::<Text>()
        .gives::<Reading>(200, "the reading")
        .refuses(503, "too many texts wait, or the request took too long"),
        Route::post(
            "/v1/search",
            Access::May(Act::SeeService),
            "Finds passages of the bank's documents.",
            search,
        )
        .takes::<Query>()
        .gives::<Grounds>(200, "the passages, best first"),
    ]
}

async fn understand(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(given): Given<Text>,
) -> Result<Json<Explained>, Refusal> {
    // It costs as much as fifty readings, which customers wait for.
    let permit = match given.explain {
        true => Some(Arc::clone(&api.explaining).try_acquire_owned().map_err(|_| Refusal::busy())?),
        false => None,
    };
    let parts = api.cases.parts();
    let models = parts.models.current();
    let urgency = given.urgency();
    let order = order(given, who, parts.clock.now(), &api.limits, (&models, &parts.bank_codes))?;
    let done = parts.readers.read(order, urgency).await?;
    let Some(permit) = permit else {
        return Ok(Json(Explained { reading: done.reading, explanation: None }));
    };
    let nearest = api.nearest.read().unwrap_or_else(PoisonError::into_inner).clone();
    let waiting = Arc::new(AtomicBool::new(true));
    // The server drops this call when the client goes.
    let gone = Gone(Arc::clone(&waiting));
    let explained = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let wanted = || waiting.load(Ordering::Relaxed);
        let known: Vec<Known<'_>> = done.found.iter().map(Known::from).collect();
        let explanation =
            models.explanation((&done.text, &done.reading), &known, &wanted, nearest.as_deref())?;
        Ok::<_, UnderstandingError>(Explained { reading: done.reading, explanation: Some(explanation) })
    });
    let explained = explained.await.map_err(|error| Refusal::internal(&error))?;
    drop(gone);
    explained.map(Json).map_err(|error| Refusal::internal(&error))
}

/// A text as the readers take it.
pub fn order(
    given: Text,
    who: Principal,
    now: Timestamp,
    limits: &Limits,
    (models, banks): (&Arc<Understanding>, &Arc<BankCodes>),
) -> Result<Order, Refusal> {
    let raw = RawMessage { text: given.text.as_bytes(), language: given.language, attachments: Vec::new() };
    let envelope = Envelope {
        id: MessageId::new(checked_id(given.id, "msg")?),
        case: CaseId::new("none"),
        channel: who.name,
        identity: Identity::Anonymous,
        received_at: now,
    };
    let message = intake::accept(&raw, envelope, limits)?;
    Ok(Order {
        models: Arc::clone(models),
        banks: Arc::clone(banks),
        id: message.id.to_string(),
        text: message.text,
        language: message.language,
    })
}

/// Tells, when it is dropped, that nobody waits any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn search(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(query): Given<Query>,
) -> Result<Json<policy::Grounds>, Refusal> {
    let today = api.cases.parts().clock.now().date();
    let most = clearance(&api.cases.pack().governance.administration, &who);
    let question = question(query, most, &today, api.limits.text_bytes)?;
    let parts = api.cases.parts();
    let (policies, models) = (Arc::clone(&parts.policies), parts.models.current());
    let found = tokio::task::spawn_blocking(move || policies.search(&question, Some(&models)));
    let found = found.await.map_err(|error| Refusal::internal(&error))?;
    found.map(Json).map_err(|error| Refusal::internal(&error))
}

fn question(query: Query, most: Clearance, today: &str, most_bytes: usize) -> Result<Question, Refusal> {
    let bad = |message: &str, remedy: &str| Refusal::bad("bad_body", message, remedy);
    if query.query.trim().is_empty() {
        return Err(bad("the field `query` is empty", "send what is to be found"));
    }
    if query.query.len() > most_bytes {
        return Err(
            IntakeError::TooLong { part: "query", bytes: query.query.len(), limit: most_bytes }.into()
        );
    }
    let as_of = query.as_of.as_deref().unwrap_or(today);
    let as_of = policy::parse_date(as_of)
        .ok_or_else(|| bad("the field `as_of` is no date", "write it as YYYY-MM-DD"))?;
    let top = query.top.unwrap_or(PASSAGES);
    if !(1..=MOST_PASSAGES).contains(&top) {
        return Err(bad("the field `top` is out of range", "send a number from 1 to 100"));
    }
    let wanted = query.audience.as_deref().map(|wanted| {
        let remedy = "send `public`, `internal`, `all` or the name of a role";
        Clearance::parse(wanted).ok_or_else(|| bad("the field `audience` is not known", remedy))
    });
    Ok(Question {
        id: checked_id(query.id, "query")?,
        text: query.query,
        about: Vec::new(),
        language: query.language,
        audience: match wanted.transpose()? {
            Some(wanted) => most.narrowed(wanted),
            None => most,
        },
        as_of,
        documents: None,
        product: query.product,
        top,
        each: None,
    })
}

/// Who administers or audits sees every document, other staff what is internal or for their role.
pub fn clearance(rules: &Administration, who: &Principal) -> Clearance {
    let may = |act| rules.evaluate(who, act).allowed;
    match who.role {
        _ if may(Act::SeeEveryDocument) => Clearance::All,
        role if may(Act::SeeInternalDocuments) => Clearance::role(role.as_str()),
        _ => Clearance::Public,
    }
}

fn checked_id(given: Option<String>, prefix: &str) -> Result<String, Refusal> {
    let Some(id) = given else { return Ok(ids::fresh(prefix)) };
    if id.chars().count() > LONGEST_ID {
        return Err(Refusal::bad("bad_body", "the field `id` is too long", "send at most 200 characters"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::super::body::parse;
    use super::*;
    use crate::governance::{Role, shipped_administration};

    fn asked(body: &str, role: Role) -> Result<Question, Refusal> {
        let most = clearance(&shipped_administration(), &Principal::new("x", role));
        question(parse(body.as_bytes())?, most, "2026-09-24", 1_000)
    }

    #[test]
    fn an_audience_only_narrows() {
        let audience = |body: &str, role| asked(body, role).unwrap().audience;
        assert_eq!(audience(r#"{"query": "fees"}"#, Role::Agent), Clearance::role("agent"));
        assert_eq!(audience(r#"{"query": "fees", "audience": "public"}"#, Role::Agent), Clearance::Public);
        for wanted in ["internal", "all", "supervisor"] {
            let body = format!(r#"{{"query": "fees", "audience": "{wanted}"}}"#);
            assert_eq!(audience(&body, Role::Channel), Clearance::Public);
            assert!(!audience(&body, Role::Agent).sees(&policy::Audience::parse("supervisor").unwrap()));
        }
        assert_eq!(audience(r#"{"query": "fees"}"#, Role::Auditor), Clearance::All);
    }

    #[test]
    fn a_question_has_defaults_and_bounds() {
        let question = asked(r#"{"id": "q1", "query": "fees"}"#, Role::Agent).unwrap();
        assert_eq!((question.id.as_str(), question.top), ("q1", 5));
        assert_eq!(question.as_of.to_string(), "2026-09-24");
        for body in [
            r#"{"query": " "}"#,
            r#"{"query": "a", "top": 0}"#,
            r#"{"query": "a", "top": 101}"#,
            r#"{"query": "a", "top": -1}"#,
            r#"{"query": "a", "as_of": "tomorrow"}"#,
            r#"{"query": "a", "audience": "All"}"#,
            r#"{"query": "a", "extra": 1}"#,
        ] {
            assert_eq!(asked(body, Role::Agent).unwrap_err().status.as_u16(), 400, "{body}");
        }
        let long = format!(r#"{{"query": "{}"}}"#, "a".repeat(1_001));
        assert_eq!(asked(&long, Role::Agent).unwrap_err().status.as_u16(), 413);
    }
}
