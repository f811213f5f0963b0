//! A source that is asked over HTTP, through the one client.

use super::super::error::SourceError;
use super::declare::{Batch, HttpDeclaration};
use super::{Entry, Hits, Query, Source};
use crate::base::outbound::{Method, Outbound, OutboundError, Request, path_segment};
use crate::base::{Credential, CustomerId, RecordId};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct HttpSource {
    declared: HttpDeclaration,
    outbound: Outbound,
    credential: Option<Arc<Credential>>,
}

impl HttpSource {
    /// A secret is in a file relative to `folder`.
    pub fn new(declared: HttpDeclaration, outbound: Outbound, folder: &Path) -> Self {
        let credential = declared.auth.as_ref().map(|auth| {
            let auth = auth.get_ref().clone();
            Arc::new(Credential::new(auth, folder.to_owned()))
        });
        Self { declared, outbound, credential }
    }

    /// The JSON at a path; `None` for 404.
    async fn get(&self, path: String) -> Result<Option<Value>, SourceError> {
        self.send(Method::Get, &path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        json: Option<Value>,
    ) -> Result<Option<Value>, SourceError> {
        let request = Request {
            method,
            url: format!("{}{path}", self.declared.base_url.get_ref()),
            headers: vec![("Accept".to_owned(), "application/json".to_owned())],
            json,
            text: None,
            timeout: self.timeout(),
            max_bytes: self.declared.max_bytes,
            http2: false,
        };
        let answer =
            self.outbound.send_as(self.credential.as_ref(), request).await.map_err(|error| match error {
                OutboundError::NoAnswer { .. } => SourceError::TimedOut,
                OutboundError::TooLong { .. } => SourceError::Garbage,
                _ => SourceError::Refused,
            })?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map(Some).map_err(|_| SourceError::Garbage),
            404 => Ok(None),
            // The value is what is wrong with the request.
            400 | 422 => Err(SourceError::Rejected),
            _ => Err(SourceError::Refused),
        }
    }

    /// The records with one value, by the path that the field has.
    async fn one(&self, Query { field, value }: &Query) -> Result<Hits, SourceError> {
        let Some(path) = self.declared.find.get(field) else { return Ok(Hits::default()) };
        let Some(slot) = path_segment(value) else { return Ok(Hits::default()) };
        let path = path.get_ref().replace("{value}", &slot);
        // A search that is not there is a wrong declaration, not an empty result.
        let answer = self.get(path).await?.ok_or(SourceError::Refused)?;
        self.hits(&answer)
    }

    /// The records with each of several values, in one request.
    async fn several(&self, batch: &Batch, queries: &[Query]) -> Result<Vec<Hits>, SourceError> {
        let named = |query: &Query| {
            let name = batch.names.get(&query.field).unwrap_or(&query.field);
            json!({"field": name, "value": query.value})
        };
        let body = json!({"queries": queries.iter().map(named).collect::<Vec<_>>()});
        let answer = self.send(Method::Post, batch.path.get_ref(), Some(body)).await?;
        let answer = answer.ok_or(SourceError::Refused)?;
        let all = answer.pointer(&batch.answers).and_then(Value::as_array).ok_or(SourceError::Garbage)?;
        // Fewer answers than queries would give one query's records to another.
        if all.len() != queries.len() {
            return Err(SourceError::Garbage);
        }
        all.iter().map(|one| self.hits(one)).collect()
    }

    fn record_id(&self, id: Option<&Value>) -> Result<RecordId, SourceError> {
        let id = id.and_then(Value::as_str).and_then(|id| self.declared.form.record_id(id));
        id.ok_or(SourceError::Garbage)
    }

    fn hits(&self, answer: &Value) -> Result<Hits, SourceError> {
        let list =
            answer.pointer(&self.declared.ids).and_then(Value::as_array).ok_or(SourceError::Garbage)?;
        let ids = list.iter().map(|id| self.record_id(Some(id))).collect::<Result<_, _>>()?;
        let more = self.declared.more.as_deref().and_then(|more| answer.pointer(more));
        Ok(Hits { more: more == Some(&Value::Bool(true)), ..Hits::of(ids) })
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        self.declared.name.get_ref()
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(*self.declared.timeout_ms.get_ref())
    }

    fn searches(&self, field: &str) -> bool {
        self.declared.find.contains_key(field)
    }

    fn at_once(&self) -> usize {
        self.declared.batch.as_ref().map_or(1, |batch| *batch.most.get_ref())
    }

    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
        Box::pin(async move {
            match (&self.declared.batch, queries) {
                (Some(batch), queries) => self.several(batch, queries).await,
                (None, queries) => {
                    futures::future::try_join_all(queries.iter().map(|one| self.one(one))).await
                }
            }
        })
    }

    fn may_have(&self, id: &RecordId) -> bool {
        self.declared.form.own_id(id).is_some()
    }

    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(async move {
            let Some(slot) = self.declared.form.own_id(id).and_then(path_segment) else { return Ok(None) };
            let path = self.declared.record.get_ref().replace("{id}", &slot);
            let Some(answer) = self.get(path).await? else { return Ok(None) };
            let entry = self.declared.form.entry(answer.as_object().ok_or(SourceError::Garbage)?)?;
            // Another record than the one asked for would carry another owner.
            if entry.id == *id { Ok(Some(entry)) } else { Err(SourceError::Garbage) }
        })
    }

    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
        Box::pin(async move {
            let Some(slot) = path_segment(customer.as_str()) else { return Ok(Hits::default()) };
            let path = self.declared.accounts_of.get_ref().replace("{customer}", &slot);
            let Some(answer) = self.get(path).await? else { return Ok(Hits::default()) };
            let list = answer.pointer(&self.declared.accounts).and_then(Value::as_array);
            let ids = list
                .ok_or(SourceError::Garbage)?
                .iter()
                .map(|account| self.record_id(account.get(&self.declared.account_id)));
            Ok(Hits::of(ids.collect::<Result<_, _>>()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceDeclarations;
    use super::*;
    use std::io::{Read, Write};

    /// Answers every connection with the same bytes and gives the request lines it saw.
    fn answering(bytes: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap_or(0);
                let request =
                    String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or("").to_owned();
                let _ = stream.write_all(bytes.as_bytes());
                let _ = seen.send(request);
            }
        });
        (address, requests)
    }

    fn source(address: &str) -> HttpSource {
        let text =
            include_str!("../../../config/sources.toml").replace("timeout_ms = 1500", "timeout_ms = 300");
        let mut declared = SourceDeclarations::parse("sources.toml", &text).unwrap();
        declared.set_base_url("core_bank", &format!("http://{address}"));
        HttpSource::new(declared.http.remove(0), Outbound::new([address.to_owned()]).unwrap(), Path::new("."))
    }

    fn query(field: &str, value: &str) -> Query {
        Query { field: field.to_owned(), value: value.to_owned() }
    }

    async fn one(source: &HttpSource, field: &str, value: &str) -> Result<Hits, SourceError> {
        Ok(source.find(&[query(field, value)]).await?.remove(0))
    }

    async fn found(bytes: &'static str) -> Result<Hits, SourceError> {
        one(&source(&answering(bytes).0), "last_name", "Huber").await
    }

    #[tokio::test]
    async fn a_value_stays_one_value() {
        let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n{\"ids\":[\"a\"],\"more\":true}  ";
        let (address, requests) = answering(ok);
        let hits = one(&source(&address), "branch", "Müller & Söhne?x=1#/../y").await.unwrap();
        assert_eq!((hits.ids, hits.more), (vec![RecordId::new("a")], true));
        let line = requests.recv().unwrap();
        assert_eq!(line, "GET /accounts?branch=M%C3%BCller%20%26%20S%C3%B6hne%3Fx%3D1%23%2F..%2Fy HTTP/1.1");
    }

    #[tokio::test]
    async fn what_a_broken_source_does_is_told_apart() {
        let garbage = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>";
        assert_eq!(found(garbage).await, Err(SourceError::Garbage));
        let form = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n{\"ids\":[7]}";
        assert_eq!(found(form).await, Err(SourceError::Garbage));
        let error = "HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(found(error).await, Err(SourceError::Refused));
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"ids\":";
        assert_eq!(found(cut).await, Err(SourceError::TimedOut));
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(found(elsewhere).await, Err(SourceError::Refused));
    }

    #[tokio::test]
    async fn several_searches_go_in_one_request_and_come_back_in_their_order() {
        let text = include_str!("../../../config/sources.toml");
        let section = "[http.batch]\npath = \"/accounts/search\"\nmost = 50\nanswers = \"/answers\"\nnames = { iban = \"IBAN\" }\n";
        let text = &text.replace("[http.limits]", &format!("{section}[http.limits]"));
        let batched = |bytes| {
            let (address, requests) = answering(bytes);
            let mut declared = SourceDeclarations::parse("sources.toml", text).unwrap();
            declared.set_base_url("core_bank", &format!("http://{address}"));
            (
                HttpSource::new(declared.http.remove(0), Outbound::new([address]).unwrap(), Path::new(".")),
                requests,
            )
        };
        let queries = [query("iban", "DE1"), query("branch", "x\"y")];
        let two = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\n{\"answers\":[{\"ids\":[\"a\"]},{\"ids\":[],\"more\":true}]}";
        let (source, requests) = batched(two);
        assert_eq!(source.at_once(), 50);
        let found = source.find(&queries).await.unwrap();
        assert_eq!(found[0], Hits::of(vec![RecordId::new("a")]));
        assert_eq!(found[1], Hits { more: true, ..Hits::default() });
        assert_eq!(requests.recv().unwrap(), "POST /accounts/search HTTP/1.1");
        let one = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n{\"answers\":[{\"ids\":[\"a\"]}]}";
        assert_eq!(batched(one).0.find(&queries).await, Err(SourceError::Garbage));
    }

    #[tokio::test]
    async fn a_record_that_is_not_the_one_asked_for_is_garbage() {
        let other = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 25\r\n\r\n{\"id\":\"b\",\"customer\":\"c\"}";
        let source = source(&answering(other).0);
        assert_eq!(source.entry(&RecordId::new("a")).await, Err(SourceError::Garbage));
        assert_eq!(source.entry(&RecordId::new("b")).await.unwrap().unwrap().owner, CustomerId::new("c"));
    }
}
