//! Bodies and headers as callers send them.

use super::api::Api;
use super::error::Refusal;
use crate::intake::{FILES_IN_ANY_BODY, IntakeError, Limits};
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Most bytes of a body.
pub const MOST_BYTES: usize = 1 << 20;
/// How long a body may take to come.
const LONGEST: Duration = Duration::from_secs(30);
/// And one that is a file.
const LONGEST_FILE: Duration = Duration::from_secs(300);
/// And a customer's message. What is left of the time for a request is for reading its files and for recording it.
pub const LONGEST_MESSAGE: Duration = Duration::from_secs(15);
/// Counted from when the request came: then the message is recorded, whatever of its files was read.
pub const FILES_READ_BY: Duration = Duration::from_secs(26);
/// A message of up to so many bytes needs no place; longer ones have files.
const SHORT: usize = 256 * 1024;
/// So many messages with files are held at once, from their bytes to what is recorded of them.
static PLACES: Semaphore = Semaphore::const_new(16);
/// How long one of these waits for a place.
const WAITS: Duration = Duration::from_secs(5);
/// Longest Idempotency-Key, in characters.
const LONGEST_KEY: usize = 200;

/// A JSON body of the documented shape, and nothing beside it.
pub struct Given<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Given<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        is_json(request.headers())?;
        let bytes = tokio::time::timeout(LONGEST, Bytes::from_request(request, state)).await;
        let bytes = bytes.map_err(|_| Refusal::cut_off())?.map_err(|error| unread(&error))?;
        parse(&bytes).map(Self)
    }
}

/// The bytes of a file, at most so many: more are not kept, whatever the request says of their number.
pub async fn file(headers: &HeaderMap, body: Body, most: u64) -> Result<Vec<u8>, Refusal> {
    let too_large = || Refusal::too_large(usize::try_from(most).unwrap_or(usize::MAX));
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if media.to_ascii_lowercase().starts_with("multipart/") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "form",
            "the body is a form",
            "send the file's bytes alone, as `curl --data-binary @FILE` does",
        ));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > most) {
        return Err(too_large());
    }
    let collected = async {
        let (mut bytes, mut parts) = (Vec::new(), body.into_data_stream());
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| Refusal::cut_off())?;
            if (bytes.len() + part.len()) as u64 > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    tokio::time::timeout(LONGEST_FILE, collected).await.map_err(|_| Refusal::cut_off())?
}

/// The names and values of a query, each name at most once and one of these.
pub struct Pairs(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let bad = |message: String| Refusal::bad("bad_query", message, "see /openapi.json");
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|_| bad("the query cannot be read".to_owned()))?;
        let mut known = BTreeMap::new();
        for (name, value) in pairs {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            if known.insert(name, value).is_some() {
                return Err(bad(format!("the query has `{shown}` more than once")));
            }
        }
        Ok(Self(known))
    }
}

impl Pairs {
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// # Errors
    /// 400 when it is not there.
    pub fn needed(&mut self, name: &str) -> Result<String, Refusal> {
        let given = self.take(name).filter(|value| !value.is_empty());
        given.ok_or_else(|| {
            Refusal::bad("bad_query", format!("the query has no `{name}`"), "see /openapi.json")
        })
    }

    /// Whether it is `true`; not there is `false`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => {
                let message = format!("`{name}` is neither true nor false");
                Err(Refusal::bad("bad_query", message, "send `true`, or leave it out"))
            }
        }
    }

    /// What is left.
    ///
    /// # Errors
    /// 400 when one of the names is not known, or has no value: what a document says of itself would be lost.
    pub fn rest(self, known: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
        if let Some(other) = self.0.keys().find(|name| !known.contains(&name.as_str())) {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
            let message = format!("the query has `{shown}`, which is not known");
            return Err(Refusal::bad("bad_query", message, "see /openapi.json for what is"));
        }
        if let Some((name, _)) = self.0.iter().find(|(_, value)| value.trim().is_empty()) {
            let message = format!("`{name}` is empty");
            return Err(Refusal::bad("bad_query", message, "give it a value, or leave it out"));
        }
        Ok(self.0)
    }
}

/// A customer's message: the same, and longer by the files that may come with it. It is refused as soon as it is too long.
pub struct Sent<T> {
    pub said: T,
    /// When the request came.
    pub began: Instant,
    /// Of one that is long, until it is recorded.
    pub place: Option<SemaphorePermit<'static>>,
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refusal> {
        let began = Instant::now();
        is_json(request.headers())?;
        let collected = message(request.into_body(), most_bytes(&api.limits));
        let collected = tokio::time::timeout(LONGEST_MESSAGE, collected).await;
        let (bytes, place) = collected.map_err(|_| Refusal::cut_off())??;
        Ok(Self { said: parse(&bytes)?, began, place })
    }
}

/// The bytes of a message, and its place among the long ones. What waits for one is not taken from the connection.
async fn message(body: Body, most: usize) -> Result<(Vec<u8>, Option<SemaphorePermit<'static>>), Refusal> {
    let mut parts = body.into_data_stream();
    let (mut bytes, mut place) = (Vec::new(), None);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Refusal::cut_off())?;
        if bytes.len() + part.len() > most {
            return Err(Refusal::too_large(most));
        }
        if place.is_none() && bytes.len() + part.len() > SHORT {
            let waited = tokio::time::timeout(WAITS, PLACES.acquire()).await;
            place = Some(waited.ok().and_then(Result::ok).ok_or_else(Refusal::crowded)?);
        }
        bytes.extend_from_slice(&part);
    }
    Ok((bytes, place))
}

/// Of a message with files, which are in Base64.
fn most_bytes(limits: &Limits) -> usize {
    MOST_BYTES + limits.attachment_bytes.saturating_sub(FILES_IN_ANY_BODY).div_ceil(3) * 4
}

/// The id in the path. One that is no text names nothing.
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Refusal::no_route())
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media = value.split(';').next().unwrap_or("").trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "the body's Content-Type is not application/json",
        "send JSON with `Content-Type: application/json`",
    ))
}

fn unread(error: &BytesRejection) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Refusal::too_large(MOST_BYTES)
    } else {
        Refusal::cut_off()
    }
}

/// Parses a body. The error names line and column, and the field where it is an unknown or missing one,
/// but no value: a value may be personal.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(IntakeError::NotUtf8 { part: "body", position: error.valid_up_to() }.into());
    }
    // Serde would take the values of an array for the fields, one by one.
    if bytes.trim_ascii_start().first() == Some(&b'[') && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    {
        return Err(Refusal::bad("bad_body", "the body is a JSON array", "send a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if !error.is_data() {
            let message = format!("the body is no valid JSON at line {line} column {column}");
            return Refusal::bad("bad_json", message, "correct the JSON at that place");
        }
        let (what, remedy) = fault(&error.to_string());
        Refusal::bad("bad_body", format!("the body has {what} at line {line} column {column}"), remedy)
    })
}

/// What serde says, without the values that it quotes.
fn fault(text: &str) -> (String, String) {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let (what, expected) = match text.split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (text, None),
    };
    let naming = ["unknown field", "missing field", "duplicate field"];
    if naming.iter().any(|start| what.starts_with(start)) {
        let what: String = what.chars().take(80).collect();
        let remedy = match (what.starts_with("unknown field"), expected) {
            (true, Some(expected)) => format!(
                "remove it; known are {}; who the customer is comes only from the header Prokura-Identity",
                expected.trim_start_matches("one of ")
            ),
            (true, None) => "remove it".to_owned(),
            _ => "send the field exactly once".to_owned(),
        };
        return ((if remedy.starts_with("remove") { "the " } else { "a " }).to_owned() + &what, remedy);
    }
    let remedy = match expected {
        None => "see /openapi.json".to_owned(),
        // Its name in the program says nothing to whoever sends it.
        Some(expected) if expected.starts_with("struct ") => "expected is a JSON object".to_owned(),
        Some("usize" | "u64" | "u32") => "expected is a whole number".to_owned(),
        Some(expected) => format!("expected is {expected}"),
    };
    ("a value of the wrong kind".to_owned(), remedy)
}

/// The header's value, if it is there; more than one is none that can be relied on.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<Result<&'h str, ()>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { Err(()) } else { first.to_str().map_err(|_| ()) })
}

/// The Idempotency-Key: 1 to 200 visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = single(headers, "idempotency-key") else { return Ok(None) };
    match value {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Refusal::bad(
            "bad_idempotency_key",
            "the header Idempotency-Key is not understood",
            "send it once, with 1 to 200 visible ASCII characters",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::Said;
    use super::*;
    use axum::http::HeaderValue;

    fn refused(body: &str) -> Refusal {
        parse::<Said>(body.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_body_is_taken() {
        let said: Said =
            parse(r#"{"text": "Hallo", "language": "en", "from": "max@example.org"}"#.as_bytes()).unwrap();
        assert_eq!(said.text, "Hallo");
        assert!(said.attachments.is_empty());
    }

    #[test]
    fn identity_in_the_body_is_refused_by_name() {
        for field in ["identity", "customer", "verified", "role", "by"] {
            let refusal = refused(&format!(r#"{{"text": "a", "{field}": "cus_1"}}"#));
            assert_eq!((refusal.status.as_u16(), refusal.code), (400, "bad_body"));
            assert!(refusal.message.contains(&format!("unknown field `{field}`")), "{refusal}");
            assert!(refusal.remedy.contains("Prokura-Identity"));
        }
    }

    #[tokio::test]
    async fn a_file_is_counted_as_it_comes() {
        let parts = || futures::stream::iter([Ok::<_, std::io::Error>("abc"), Ok("def")]);
        let sent = |headers: HeaderMap, most| async move {
            file(&headers, Body::from_stream(parts()), most).await.map_err(|refusal| refusal.status.as_u16())
        };
        let with =
            |name, value: &'static str| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        assert_eq!(sent(HeaderMap::new(), 6).await, Ok(b"abcdef".to_vec()));
        assert_eq!(sent(HeaderMap::new(), 5).await, Err(413));
        assert_eq!(sent(with(header::CONTENT_LENGTH, "7"), 6).await, Err(413));
        assert_eq!(sent(with(header::CONTENT_TYPE, "Multipart/form-data; boundary=x"), 6).await, Err(415));
        let broken = Body::from_stream(futures::stream::iter([Err::<&str, _>(std::io::Error::other("x"))]));
        assert_eq!(file(&HeaderMap::new(), broken, 6).await.unwrap_err().status.as_u16(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_long_messages_are_held_and_short_ones_need_no_place() {
        let sent = |bytes: usize| message(Body::from(vec![b'a'; bytes]), MOST_BYTES);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(sent(SHORT + 1).await.unwrap());
        }
        assert!(held.iter().all(|(_, place)| place.is_some()));
        let crowded = sent(SHORT + 1).await.unwrap_err();
        assert_eq!((crowded.status.as_u16(), crowded.code), (429, "busy"));
        assert!(sent(SHORT).await.unwrap().1.is_none());
        assert_eq!(sent(MOST_BYTES + 1).await.unwrap_err().status.as_u16(), 413);
        held.pop();
        assert!(sent(SHORT + 1).await.unwrap().1.is_some());
    }

    #[test]
    fn a_message_is_recorded_before_the_time_for_its_request_is_over() {
        let to_record = Duration::from_secs(4);
        assert!(FILES_READ_BY + to_record <= super::super::serve::LONGEST);
        // A message that comes as slowly as it may has a turn for its first files.
        assert!(LONGEST_MESSAGE + super::super::attachments::OF_ONE_FILE <= FILES_READ_BY);
    }

    #[tokio::test]
    async fn a_query_has_each_name_once_and_none_that_is_not_known() {
        async fn asked(query: &str) -> Result<Pairs, Refusal> {
            let request = axum::http::Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
            Pairs::from_request_parts(&mut request.into_parts().0, &()).await
        }
        let mut pairs = asked("name=a%20b&force=true&empty=").await.unwrap();
        assert_eq!((pairs.needed("name").unwrap().as_str(), pairs.flag("force").unwrap()), ("a b", true));
        assert!(!pairs.flag("force").unwrap() && pairs.needed("none").is_err());
        let refused = pairs.rest(&["name"]).unwrap_err();
        assert!(refused.message.contains("`empty`"), "{refused}");
        assert_eq!(asked("a=1&a=2").await.err().unwrap().code, "bad_query");
        assert!(asked("force=yes").await.unwrap().flag("force").unwrap_err().message.contains("force"));
    }

    #[test]
    fn broken_json_is_placed() {
        let refusal = refused("{\"text\": \"a\",\n  \"language\" \"de\"}");
        assert_eq!(refusal.code, "bad_json");
        assert!(refusal.message.contains("line 2 column 14"), "{refusal}");
        assert_eq!(refused("").code, "bad_json");
        assert_eq!(refused(r#"{"text": "a"} x"#).code, "bad_json");
        assert_eq!(refused(&"[".repeat(100_000)).status.as_u16(), 400);
        assert_eq!(refused(r#"{"text": "a", "attachments": {}}"#).status.as_u16(), 400);
        for array in ["[]", r#"["Hallo", "de"]"#] {
            assert_eq!(
                (refused(array).code, refused(array).remedy.as_str()),
                ("bad_body", "send a JSON object")
            );
        }
    }

    #[test]
    fn values_are_never_repeated() {
        for body in [
            r#"{"text": "a", "language": "Max Müller"}"#,
            r#"{"text": "a", "attachments": "Max Müller"}"#,
            r#"{"text": "a", "attachments": [{"name": "Max Müller", "text": 7}]}"#,
            r#""Max Müller""#,
        ] {
            let refusal = refused(body);
            assert!(!refusal.to_string().contains("Müller"), "{refusal}");
            assert!(refusal.message.contains("line 1"), "{refusal}");
        }
        assert!(refused(r#"{"language": "de"}"#).message.contains("missing field `text`"));
        assert!(refused(r#"{"text": "a", "text": "b"}"#).message.contains("duplicate field `text`"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_placed() {
        let refusal = parse::<Said>(b"{\"text\": \"\xff\"}").err().unwrap();
        assert_eq!((refusal.status.as_u16(), refusal.code), (400, "not_utf8"));
        assert!(refusal.message.contains("byte 10"));
    }

    #[test]
    fn a_body_is_as_long_as_the_settings_want_and_no_longer() {
        let most = |attachment_bytes| most_bytes(&Limits { attachment_bytes, ..Limits::default() });
        assert_eq!([most(0), most_bytes(&Limits::default())], [MOST_BYTES; 2]);
        assert_eq!(most(FILES_IN_ANY_BODY + 3_000_000), MOST_BYTES + 4_000_000);
    }

    #[test]
    fn only_json_is_read() {
        let typed = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_json(&headers)
        };
        assert!(typed("application/json").is_ok() && typed("Application/JSON; charset=utf-8").is_ok());
        assert_eq!(typed("text/plain").unwrap_err().status.as_u16(), 415);
        assert_eq!(is_json(&HeaderMap::new()).unwrap_err().status.as_u16(), 415);
    }

    #[test]
    fn an_idempotency_key_is_visible_and_single() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_str(value).unwrap());
            }
            idempotency_key(&headers)
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&["order-1"]), Ok(Some("order-1".to_owned())));
        let (long, longest) = ("k".repeat(201), "k".repeat(200));
        assert!(with(&[&longest]).is_ok());
        for bad in [&[""][..], &["a b"], &["ä"], &[&long], &["a", "a"]] {
            assert_eq!(with(bad).unwrap_err().status.as_u16(), 400, "{bad:?}");
        }
    }
}
