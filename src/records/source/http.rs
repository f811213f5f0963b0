//! A source that is asked over HTTP, through the one client.

use super::super::error::SourceError;
use super::declare::HttpDeclaration;
use super::{Entry, Hits, Source, record_id};
use crate::base::outbound::{Method, Outbound, OutboundError, Request, path_segment};
use crate::base::{CustomerId, RecordId};
use futures::future::BoxFuture;
use serde_json::Value;
use std::time::Duration;

pub struct HttpSource {
    declared: HttpDeclaration,
    outbound: Outbound,
}

impl HttpSource {
    pub const fn new(declared: HttpDeclaration, outbound: Outbound) -> Self {
        Self { declared, outbound }
    }

    /// The JSON at a path; `None` for 404.
    async fn get(&self, path: String) -> Result<Option<Value>, SourceError> {
        let request = Request {
            method: Method::Get,
            url: format!("{}{path}", self.declared.base_url.get_ref()),
            headers: vec![("Accept".to_owned(), "application/json".to_owned())],
            json: None,
            timeout: self.timeout(),
            max_bytes: self.declared.max_bytes,
            http2: false,
        };
        let answer = self.outbound.send(request).await.map_err(|error| match error {
            OutboundError::NoAnswer { .. } => SourceError::TimedOut,
            OutboundError::TooLong { .. } => SourceError::Garbage,
            _ => SourceError::Refused,
        })?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map(Some).map_err(|_| SourceError::Garbage),
            404 => Ok(None),
            _ => Err(SourceError::Refused),
        }
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

    fn find<'a>(&'a self, field: &'a str, value: &'a str) -> BoxFuture<'a, Result<Hits, SourceError>> {
        Box::pin(async move {
            let Some(path) = self.declared.find.get(field) else { return Ok(Hits::default()) };
            let Some(slot) = path_segment(value) else { return Ok(Hits::default()) };
            let path = path.get_ref().replace("{value}", &slot);
            // A search that is not there is a wrong declaration, not an empty result.
            let answer = self.get(path).await?.ok_or(SourceError::Refused)?;
            let list =
                answer.pointer(&self.declared.ids).and_then(Value::as_array).ok_or(SourceError::Garbage)?;
            let ids =
                list.iter().map(|id| record_id(id).ok_or(SourceError::Garbage)).collect::<Result<_, _>>()?;
            let more = self.declared.more.as_deref().and_then(|more| answer.pointer(more));
            Ok(Hits { ids, more: more == Some(&Value::Bool(true)) })
        })
    }

    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(async move {
            let Some(slot) = path_segment(id.as_str()) else { return Ok(None) };
            let path = self.declared.record.get_ref().replace("{id}", &slot);
            let Some(answer) = self.get(path).await? else { return Ok(None) };
            let entry = self.declared.form.entry(answer.as_object().ok_or(SourceError::Garbage)?)?;
            // Another record than the one asked for would carry another owner.
            if entry.id == *id { Ok(Some(entry)) } else { Err(SourceError::Garbage) }
        })
    }

    fn accounts_of<'a>(
        &'a self,
        customer: &'a CustomerId,
    ) -> BoxFuture<'a, Result<Vec<RecordId>, SourceError>> {
        Box::pin(async move {
            let Some(slot) = path_segment(customer.as_str()) else { return Ok(vec![]) };
            let path = self.declared.accounts_of.get_ref().replace("{customer}", &slot);
            let Some(answer) = self.get(path).await? else { return Ok(vec![]) };
            let list = answer.pointer(&self.declared.accounts).and_then(Value::as_array);
            list.ok_or(SourceError::Garbage)?
                .iter()
                .map(|account| {
                    account.get(&self.declared.account_id).and_then(record_id).ok_or(SourceError::Garbage)
                })
                .collect()
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
        HttpSource::new(declared.http.remove(0), Outbound::new([address.to_owned()]).unwrap())
    }

    async fn found(bytes: &'static str) -> Result<Hits, SourceError> {
        source(&answering(bytes).0).find("last_name", "Huber").await
    }

    #[tokio::test]
    async fn a_value_stays_one_value() {
        let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n{\"ids\":[\"a\"],\"more\":true}  ";
        let (address, requests) = answering(ok);
        let hits = source(&address).find("branch", "Müller & Söhne?x=1#/../y").await.unwrap();
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
    async fn a_record_that_is_not_the_one_asked_for_is_garbage() {
        let other = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 25\r\n\r\n{\"id\":\"b\",\"customer\":\"c\"}";
        let source = source(&answering(other).0);
        assert_eq!(source.entry(&RecordId::new("a")).await, Err(SourceError::Garbage));
        assert_eq!(source.entry(&RecordId::new("b")).await.unwrap().unwrap().owner, CustomerId::new("c"));
    }
}
