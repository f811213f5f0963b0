//! What a caller is told when a request is not served: one shape, and never more than they may know.

use crate::cases::{CaseError, ReviewRefused};
use crate::governance::{ApprovalRefused, DialRefused};
use crate::intake::{IdentityError, IntakeError};
use crate::ledger::LedgerError;
use crate::policy::bar::Tested;
use crate::policy::{Flaw, PolicyError};
use crate::understanding::Unread;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A request that is not served. Every field may be shown to the caller.
///
/// A body that is not as documented is 400, whatever is wrong with it. 422 is for a document that came whole and cannot
/// be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}; {remedy}")]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub remedy: String,
}

/// The body of every answer that is not a success.
#[derive(Serialize, ToSchema)]
pub struct Error {
    pub error: Explained,
}

#[derive(Serialize, ToSchema)]
pub struct Explained {
    /// For programs; does not change.
    #[schema(value_type = String, example = "bad_body")]
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), remedy: remedy.into() }
    }

    /// From a text of the form "what is wrong; what to do".
    pub fn told(status: StatusCode, code: &'static str, text: &str) -> Self {
        let (message, remedy) = text.split_once("; ").unwrap_or((text, "see /openapi.json"));
        Self::new(status, code, message, remedy)
    }

    pub fn bad(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, remedy)
    }

    pub fn no_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the request has no valid API key",
            "send `Authorization: Bearer KEY` with a key of the configuration",
        )
    }

    pub fn role(role: &str, allowed: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("role `{role}` may not use this route"),
            format!("use a key of one of the roles {allowed}"),
        )
    }

    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_route",
            "there is no such route",
            "see /openapi.json for all routes",
        )
    }

    pub fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the route does not take this method",
            "see the header `Allow`, or /openapi.json",
        )
    }

    /// The same for a case that does not exist and for one that the caller may not know of.
    pub fn no_case() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_case",
            "there is no such case",
            "use an id that POST /v1/cases answered to the same key",
        )
    }

    /// One text, whatever is wrong with the token.
    pub fn identity() -> Self {
        Self::told(StatusCode::UNAUTHORIZED, "identity_refused", IdentityError::Signature.public())
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is longer than {limit} bytes"),
            "send a shorter one",
        )
    }

    pub fn cut_off() -> Self {
        Self::bad("bad_body", "the body could not be read to its end", "send it whole")
    }

    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_slow",
            "the request took too long",
            "send it again with the same Idempotency-Key; what was accepted is not lost",
        )
    }

    pub fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "another text is being explained",
            "send the request again later; a long text takes up to a minute",
        )
    }

    /// Too much that is long is held in memory.
    pub fn crowded() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "as many files as there is room for are being taken",
            "send the request again in some seconds, with the same Idempotency-Key if it has one",
        )
    }

    pub fn ending() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ending",
            "the service is about to end, and nothing was done",
            "send the request again when it has started",
        )
    }

    pub fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many texts wait to be read",
            "send the request again in a second",
        )
    }

    /// The cause goes to the log.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service failed",
            "see its log; sending the request again may help",
        )
    }

    /// The cause goes to the log.
    pub fn store(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the ledger failed");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_failed",
            "the ledger cannot be reached",
            "send the request again later with the same Idempotency-Key; /readyz tells when",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message, remedy } = self;
        let mut response =
            (status, Json(Error { error: Explained { code, message, remedy } })).into_response();
        if code == "overloaded" {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if code == "unauthorized" {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Unread> for Refusal {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Full => Self::overloaded(),
            Unread::Failed(_) | Unread::CutOff => Self::internal(&error),
        }
    }
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Self {
        let (status, code) = match error {
            IntakeError::Empty => (StatusCode::BAD_REQUEST, "empty_message"),
            IntakeError::TooLong { .. } | IntakeError::FilesTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            IntakeError::NotUtf8 { .. } => (StatusCode::BAD_REQUEST, "not_utf8"),
            IntakeError::TooManyAttachments { .. } => (StatusCode::BAD_REQUEST, "too_many_attachments"),
        };
        Self::told(status, code, &error.to_string())
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        tracing::info!(reason = %error, "an identity token was refused");
        Self::identity()
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Erased { .. } => Self::new(
                StatusCode::GONE,
                "erased",
                "what this case held was erased".to_owned(),
                "open a new case".to_owned(),
            ),
            error => Self::store(&error),
        }
    }
}

impl From<CaseError> for Refusal {
    fn from(error: CaseError) -> Self {
        let text = error.to_string();
        match error {
            CaseError::NoCase(_) => Self::no_case(),
            CaseError::NoRoom => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "no_room",
                text,
                "make room on the disk, then send it again".to_owned(),
            ),
            CaseError::NotStuck(_) => Self::new(
                StatusCode::CONFLICT,
                "not_stuck",
                text,
                "only a stuck case is let go on".to_owned(),
            ),
            CaseError::NotNow { why, .. } => not_now(why),
            CaseError::BadEdit(why) => {
                Self::bad("bad_edit", why, "send all arguments, with only such changes")
            }
            CaseError::NoEvent(_) => Self::new(
                StatusCode::NOT_FOUND,
                "no_event",
                text,
                "name as `kind` what a plan has as its `event`",
            ),
            CaseError::EventReused => Self::new(
                StatusCode::CONFLICT,
                "event_reused",
                text,
                "send each event with an id of its own".to_owned(),
            ),
            CaseError::NotStopped(_) | CaseError::StartedAlone(_) => stopped(&error, text),
            CaseError::Died(_) => Self::internal(&text),
            CaseError::NoApproval(_) => Self::new(
                StatusCode::NOT_FOUND,
                "no_approval",
                "there is no such approval that waits for a decision",
                "see GET /v1/approvals",
            ),
            CaseError::Approval(refused) => approval(&refused, &text),
            CaseError::Dial(refused) => dial(&refused, text),
            CaseError::Review(refused) => review(&refused, text),
            CaseError::KeyReused => Self::told(StatusCode::CONFLICT, "key_reused", &text),
            CaseError::TokenReplayed => {
                tracing::info!(reason = %text, "an identity token was refused");
                Self::identity()
            }
            CaseError::Ledger(cause) => cause.into(),
            CaseError::Policy(cause) => cause.into(),
            CaseError::NoDocument(_) => no_document(),
            CaseError::Cited { .. } => Self::new(
                StatusCode::CONFLICT,
                "cited",
                text,
                "take it out of the plans first, and start the service with them",
            ),
            CaseError::Unreadable { .. } | CaseError::Models(_) => Self::internal(&text),
        }
    }
}

fn stopped(error: &CaseError, text: String) -> Refusal {
    match error {
        CaseError::StartedAlone(_) => {
            let remedy = "ask a colleague whose role allows it";
            Refusal::new(StatusCode::FORBIDDEN, "same_person", text, remedy)
        }
        _ => Refusal::new(StatusCode::NOT_FOUND, "not_stopped", text, "GET /v1/stops names what is"),
    }
}

fn no_document() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no_document",
        "there is no document of this id",
        "GET /v1/policies/documents names those that are",
    )
}

fn not_now(why: &str) -> Refusal {
    let problem = format!("the case does not allow it as it is: {why}");
    Refusal::new(StatusCode::CONFLICT, "not_now", problem, "look at the case, GET /v1/cases/{id}/handover")
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        let conflict =
            |code, message: String, remedy: &str| Self::new(StatusCode::CONFLICT, code, message, remedy);
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            PolicyError::UnknownGeneration { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "no_generation",
                "there is no such generation",
                "GET /v1/policies names those that are",
            ),
            PolicyError::Busy { .. } => conflict(
                "publishing",
                "somebody else is changing the policies".to_owned(),
                "send it again when that has ended",
            ),
            PolicyError::Follows { .. } => conflict(
                "follows",
                "the policies of this machine are fetched from another one".to_owned(),
                "send it to that one; what it publishes comes here by itself",
            ),
            PolicyError::BelowBar(tested) => conflict("below_bar", below_bar(&tested), BELOW_BAR),
            PolicyError::Damaged { .. } | PolicyError::Earlier { .. } => conflict(
                "damaged",
                "the generation is damaged, or another version of this program built it".to_owned(),
                "GET /v1/policies/verify says which can be searched",
            ),
            PolicyError::Flaws(flaws) => {
                let message = match flaws.len() {
                    1 => "one thing is wrong with what was sent".to_owned(),
                    many => format!("{many} things are wrong with what was sent"),
                };
                let told: Vec<String> = flaws.iter().take(MOST_FLAWS).map(Flaw::told).collect();
                Self::new(unprocessable, "bad_document", message, told.join("\n"))
            }
            PolicyError::NoReader(cause) => {
                tracing::error!(%cause, "a file of policy documents was not read");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no_reader",
                    "files cannot be read here just now; nothing is wrong with this one",
                    "let the operator see the log, and send it again then",
                )
            }
            PolicyError::NoDocuments(_) => Self::new(
                unprocessable,
                "no_documents",
                "there would be no document",
                "send one; the last one that is there cannot be taken away",
            ),
            PolicyError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Self::from(CaseError::NoRoom)
            }
            error => Self::internal(&error),
        }
    }
}

fn dial(refused: &DialRefused, text: String) -> Refusal {
    let (status, code, remedy) = match refused {
        DialRefused::Unknown { .. } => {
            (StatusCode::NOT_FOUND, "no_dial", "GET /v1/autonomy names those that are")
        }
        DialRefused::NotLet(_) => {
            (StatusCode::CONFLICT, "not_let", "change config/autonomy.toml, and start the service with it")
        }
        DialRefused::Unchanged(_) => {
            (StatusCode::CONFLICT, "unchanged", "GET /v1/autonomy tells how it stands")
        }
        DialRefused::Alone(_) => {
            (StatusCode::FORBIDDEN, "same_person", "ask a colleague whose role allows it")
        }
    };
    Refusal::new(status, code, text, remedy)
}

fn review(refused: &ReviewRefused, text: String) -> Refusal {
    let (status, code, remedy) = match refused {
        ReviewRefused::Unknown(_) => {
            (StatusCode::NOT_FOUND, "no_review", "GET /v1/reviews names those that are open")
        }
        ReviewRefused::Answered => {
            (StatusCode::CONFLICT, "answered", "GET /v1/reviews names those that are open")
        }
        ReviewRefused::TookPart => (StatusCode::FORBIDDEN, "took_part", "leave it to a colleague"),
        ReviewRefused::Seen => (
            StatusCode::FORBIDDEN,
            "not_blind",
            "leave it to a colleague who has not looked at the case or its approval",
        ),
        ReviewRefused::NoLeaf(_) => {
            (StatusCode::BAD_REQUEST, "bad_body", "send the id of a leaf of config/intents.toml")
        }
    };
    Refusal::new(status, code, text, remedy)
}

/// So many flaws are told at once.
const MOST_FLAWS: usize = 20;

const BELOW_BAR: &str = "correct the documents or retrieval-bar.toml, or send it again with `force=true`; nothing was \
    published";

fn below_bar(tested: &Tested) -> String {
    let missed: Vec<&str> = tested.failed.iter().take(5).map(|failed| failed.document.as_str()).collect();
    format!(
        "{} of {} saved questions found their document, at least {:.0} % must; not found: {}",
        tested.passed,
        tested.asked,
        tested.least * 100.0,
        missed.join(", ")
    )
}

fn approval(refused: &ApprovalRefused, text: &str) -> Refusal {
    let (status, code) = match refused {
        ApprovalRefused::Role(_) => (StatusCode::FORBIDDEN, "forbidden"),
        ApprovalRefused::Security => (StatusCode::FORBIDDEN, "needs_security"),
        ApprovalRefused::Delegated(_) => (StatusCode::FORBIDDEN, "delegated"),
        ApprovalRefused::NoDelegate(..) => (StatusCode::CONFLICT, "no_delegate"),
        ApprovalRefused::Initiator => (StatusCode::FORBIDDEN, "initiator"),
        ApprovalRefused::SamePerson(_) => (StatusCode::FORBIDDEN, "same_person"),
        ApprovalRefused::Expired(_) => (StatusCode::CONFLICT, "expired"),
        ApprovalRefused::Changed => (StatusCode::CONFLICT, "changed"),
        ApprovalRefused::Settled => (StatusCode::CONFLICT, "settled"),
    };
    let mut refusal = Refusal::told(status, code, text);
    match refused {
        ApprovalRefused::Initiator => {
            "let another agent or supervisor decide".clone_into(&mut refusal.remedy)
        }
        ApprovalRefused::Security => {
            "let somebody with the role `security` decide".clone_into(&mut refusal.remedy)
        }
        ApprovalRefused::Delegated(role) => {
            refusal.remedy = format!("let somebody with the role `{role}` decide");
        }
        ApprovalRefused::NoDelegate(..) => {
            "name a role that could decide it".clone_into(&mut refusal.remedy);
        }
        ApprovalRefused::Settled => "see GET /v1/approvals".clone_into(&mut refusal.remedy),
        _ => {}
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CaseId, Timestamp};
    use crate::intake::document::Unreadable;

    fn status(error: CaseError) -> (u16, &'static str) {
        let refusal = Refusal::from(error);
        (refusal.status.as_u16(), refusal.code)
    }

    #[test]
    fn every_error_of_the_engine_has_its_status() {
        assert_eq!(status(CaseError::NoCase(CaseId::new("c"))), (404, "no_case"));
        assert_eq!(status(CaseError::KeyReused), (409, "key_reused"));
        assert_eq!(status(CaseError::TokenReplayed), (401, "identity_refused"));
        assert_eq!(status(CaseError::Ledger(LedgerError::Store("disk".into()))), (503, "store_failed"));
        assert_eq!(status(ApprovalRefused::Initiator.into()), (403, "initiator"));
        assert_eq!(status(ApprovalRefused::SamePerson("sara".into()).into()), (403, "same_person"));
        assert_eq!(status(ApprovalRefused::Expired(Timestamp::from_millis(0)).into()), (409, "expired"));
    }

    #[test]
    fn a_reader_that_is_missing_is_our_fault() {
        let missing = Unreadable::NotStarted { why: "/opt/prokura is gone".into() };
        let refusal = Refusal::from(PolicyError::NoReader(missing));
        assert_eq!((refusal.status.as_u16(), refusal.code), (503, "no_reader"));
        assert!(!refusal.to_string().contains("/opt"), "{refusal}");
    }

    #[test]
    fn what_only_the_log_may_know_stays_there() {
        let unreadable = CaseError::Unreadable { case: CaseId::new("c"), reason: "`Max Müller`".into() };
        for error in [unreadable, CaseError::Ledger(LedgerError::Store("/srv/secret".into()))] {
            let told = Refusal::from(error).to_string();
            assert!(!told.contains("Müller") && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_document_is_told_without_what_it_says() {
        let flaw = |field: &str, value: &str, remedy: &str| Flaw {
            file: "Max Müller.md".into(),
            line: 3,
            field: field.to_owned(),
            value: value.to_owned(),
            remedy: remedy.to_owned(),
        };
        let flaws =
            vec![flaw("valid_from", "Müller", "write a date"), flaw("audience", "Müller", "write whom")];
        let refusal = Refusal::from(PolicyError::Flaws(flaws));
        assert_eq!((refusal.status.as_u16(), refusal.code), (422, "bad_document"));
        assert_eq!(refusal.remedy, "line 3, valid_from: write a date\nline 3, audience: write whom");
        assert!(!refusal.to_string().contains("Müller"));
        let state = std::path::PathBuf::from("/srv/secret");
        assert_eq!(status(PolicyError::Busy { state: state.clone() }.into()), (409, "publishing"));
        let unknown = PolicyError::UnknownGeneration { asked: "Müller".into(), known: String::new() };
        let refusal = Refusal::from(unknown);
        assert!(refusal.status.as_u16() == 404 && !refusal.to_string().contains("Müller"), "{refusal}");
        let cited = CaseError::Cited { document: "fees-de".into(), plans: vec!["fees".into()] };
        assert_eq!(status(cited), (409, "cited"));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(status(PolicyError::Io { path: state.clone(), source: full }.into()), (507, "no_room"));
        let refusal = Refusal::from(PolicyError::NotBuilt { state });
        assert!(refusal.status.as_u16() == 500 && !refusal.to_string().contains("secret"), "{refusal}");
    }

    #[test]
    fn every_bad_token_gets_one_text() {
        let replayed = Refusal::from(CaseError::TokenReplayed);
        for error in [IdentityError::Expired, IdentityError::Signature, IdentityError::OtherCase] {
            assert_eq!(Refusal::from(error), replayed);
        }
    }

    #[test]
    fn a_message_of_intake_is_split_into_fault_and_remedy() {
        let long = Refusal::from(IntakeError::TooLong { part: "message", bytes: 9, limit: 8 });
        assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(long.message, "the message has 9 bytes, the limit is 8");
        assert!(long.remedy.starts_with("send a shorter text"));
    }
}
