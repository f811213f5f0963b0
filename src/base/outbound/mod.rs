//! The one HTTP client, and the one place where other connections are opened: allow-listed hosts, own name resolution with the address pinned, no
//! redirects, no proxies, caps on size and time.

pub mod hub;

use super::Credential;
use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

/// What may be asked of the outside. Cloning shares connections.
#[derive(Clone)]
pub struct Outbound {
    allowed: Arc<BTreeSet<String>>,
    client: reqwest::Client,
    /// Speaks HTTP/2 from the first byte, so that many requests share a connection.
    http2: reqwest::Client,
    pinned: Pinned,
}

/// A connection is given up after so long.
const CONNECT: Duration = Duration::from_secs(2);

/// One request; nothing but these leaves.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub json: Option<serde_json::Value>,
    /// A body of plain text instead.
    pub text: Option<String>,
    /// Whole exchange, connection included.
    pub timeout: Duration,
    /// A longer answer is an error, not a truncated value.
    pub max_bytes: usize,
    /// The other side is known to speak HTTP/2 (RFC 9113, 3.3).
    pub http2: bool,
}

/// A header may hold a secret, and address and body what is about a customer.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Messages carry the host, never the path, the query or a body: those hold personal data.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("`{0}` is not a URL with a host")]
    BadUrl(String),
    #[error("host `{host}` is not on the allow-list; add it to `[outbound] hosts` in prokura.toml")]
    NotAllowed { host: String },
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
    /// The request certainly did not reach the other side.
    #[error("no connection to {host}")]
    Unreachable { host: String },
    /// The request may have arrived and may have been carried out.
    #[error("no complete answer from {host} within {millis} ms")]
    NoAnswer { host: String, millis: u128 },
    #[error("the answer from {host} is longer than {max_bytes} bytes")]
    TooLong { host: String, max_bytes: usize },
    /// The request was not sent.
    #[error("{0}")]
    NoSecret(String),
}

impl Outbound {
    /// `hosts` are `name` or `name:port`; a name without a port allows the scheme's default port.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Result<Self, OutboundError> {
        // A second initialisation in the same process is not an error: the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pinned = Pinned::default();
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT)
                .dns_resolver(Arc::new(pinned.clone()))
                .user_agent(concat!("prokura/", env!("CARGO_PKG_VERSION")))
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| OutboundError::Setup(error.to_string()))
        };
        Ok(Self {
            allowed: Arc::new(hosts.into_iter().collect()),
            client: built(builder())?,
            http2: built(builder().http2_prior_knowledge())?,
            pinned,
        })
    }

    /// Whether a request to this address could be sent: what is wrong with it otherwise.
    pub fn check(&self, url: &str) -> Result<(), OutboundError> {
        self.target(url).map(drop)
    }

    /// Whether a connection to this place could be opened.
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), OutboundError> {
        let host = format!("{host}:{port}");
        if self.allowed.contains(&host) { Ok(()) } else { Err(OutboundError::NotAllowed { host }) }
    }

    /// A connection for a protocol that is not HTTP, to a place on the list. Addresses are pinned as for HTTP.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, OutboundError> {
        self.check_host(host, port)?;
        let unreachable = || OutboundError::Unreachable { host: format!("{host}:{port}") };
        let addresses = self.pinned.of(host).await.map_err(|_| unreachable())?;
        let addresses: Vec<SocketAddr> =
            addresses.into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(addresses.as_slice())).await;
        let stream = stream.map_err(|_| unreachable())?.map_err(|_| unreachable())?;
        stream.set_nodelay(true).map_err(|_| unreachable())?;
        Ok(stream)
    }

    /// The address, and its host as the list has it.
    fn target(&self, url: &str) -> Result<(reqwest::Url, String), OutboundError> {
        let bad = || OutboundError::BadUrl(scheme_and_host(url));
        let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
        let name = parsed.host_str().ok_or_else(bad)?;
        let host = parsed.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        if self.allowed.contains(&host) {
            Ok((parsed, host))
        } else {
            Err(OutboundError::NotAllowed { host })
        }
    }

    /// Sends one request with what says who calls. A system that does not know the secret any more (401, so nothing was
    /// done) is asked again when there is another one.
    pub async fn send_as(
        &self,
        credential: Option<&Arc<Credential>>,
        request: Request,
    ) -> Result<Response, OutboundError> {
        let Some(credential) = credential else { return self.send(request).await };
        let own = Arc::clone(credential);
        let header = aside(move || own.header()).await?.map_err(OutboundError::NoSecret)?;
        let sent = header.1.clone();
        let answer = self.send(with(request.clone(), header)).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let own = Arc::clone(credential);
        match aside(move || own.renewed(&sent)).await? {
            Some(header) => self.send(with(request, header)).await,
            None => Ok(answer),
        }
    }

    /// Sends one request and reads the whole answer. Every status is an answer; the caller judges it.
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let (url, host) = self.target(&request.url)?;
        let client = if request.http2 { &self.http2 } else { &self.client };
        let mut builder = client.request(request.method.into(), url).timeout(request.timeout);
        for (name, value) in &request.headers {
            // Whatever logs or compresses headers passes over such a value.
            let mut value = reqwest::header::HeaderValue::from_str(value)
                .map_err(|_| OutboundError::Unreachable { host: host.clone() })?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        if let Some(json) = &request.json {
            builder = builder.json(json);
        } else if let Some(text) = request.text {
            builder = builder.header("content-type", "text/plain; charset=utf-8").body(text);
        }
        let millis = request.timeout.as_millis();
        let response = builder.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                OutboundError::Unreachable { host: host.clone() }
            } else {
                OutboundError::NoAnswer { host: host.clone(), millis }
            }
        })?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| OutboundError::NoAnswer { host: host.clone(), millis })?;
            if body.len() + chunk.len() > request.max_bytes {
                return Err(OutboundError::TooLong { host, max_bytes: request.max_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, body })
    }
}

/// Files are read where waiting for them holds up nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, OutboundError> {
    let told = |_| OutboundError::NoSecret("the secret could not be read".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(told)
}

fn with(mut request: Request, (name, value): (String, zeroize::Zeroizing<String>)) -> Request {
    request.headers.push((name, value.to_string()));
    request
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Patch => Self::PATCH,
            Method::Delete => Self::DELETE,
        }
    }
}

/// A value for a place in a URL: everything but unreserved characters (RFC 3986) is encoded, so that the
/// value stays one value.
pub fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = std::fmt::Write::write_fmt(&mut encoded, format_args!("%{byte:02X}"));
        }
    }
    encoded
}

/// A value for one segment of a path, or nothing for a value that cannot be one: URL parsers take `.`
/// and `..` for steps through the path, encoded or not.
pub fn path_segment(value: &str) -> Option<String> {
    (!matches!(value, "" | "." | "..")).then(|| percent_encoded(value))
}

fn scheme_and_host(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().chars().take(60).collect()
}

/// Resolves a name once and keeps the addresses for the life of the process, so that a name server
/// cannot move an allowed name to another machine between two calls.
#[derive(Clone, Default)]
struct Pinned {
    addresses: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
}

impl Pinned {
    async fn of(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        let known = self.addresses.lock().ok().and_then(|pinned| pinned.get(name).cloned());
        if let Some(found) = known {
            return Ok(found);
        }
        let found: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
        if let Ok(mut pinned) = self.addresses.lock() {
            pinned.insert(name.to_owned(), found.clone());
        }
        Ok(found)
    }
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let pinned = self.clone();
        Box::pin(async move { Ok(Box::new(pinned.of(name.as_str()).await?.into_iter()) as Addrs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(url: &str) -> Request {
        Request {
            method: Method::Get,
            url: url.to_owned(),
            headers: vec![],
            json: None,
            text: None,
            timeout: Duration::from_millis(500),
            max_bytes: 1024,
            http2: false,
        }
    }

    #[tokio::test]
    async fn a_host_outside_the_list_is_refused_before_any_connection() {
        let outbound = Outbound::new(["127.0.0.1:9".to_owned()]).unwrap();
        let error = outbound.send(get("http://127.0.0.1:10/x?name=Huber")).await.unwrap_err();
        assert!(matches!(&error, OutboundError::NotAllowed { host } if host == "127.0.0.1:10"));
        assert!(!error.to_string().contains("Huber"));
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_a_url() {
        assert_eq!(percent_encoded("Müller & Söhne/?#%"), "M%C3%BCller%20%26%20S%C3%B6hne%2F%3F%23%25");
        assert_eq!(path_segment("a/../b").as_deref(), Some("a%2F..%2Fb"));
        assert_eq!((path_segment(".."), path_segment("."), path_segment("")), (None, None, None));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let outbound = Outbound::new([address.clone()]).unwrap();
        let error = outbound.send(get(&format!("http://{address}/"))).await.unwrap_err();
        assert!(matches!(error, OutboundError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_told_apart_from_no_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let outbound = Outbound::new([address.clone()]).unwrap();
        let error = outbound.send(get(&format!("http://{address}/"))).await.unwrap_err();
        assert!(matches!(error, OutboundError::NoAnswer { .. }), "{error}");
        drop(listener);
    }
}
