//! Connections to PostgreSQL, to hosts on the list and no others. What is asked there is others' business.

#[cfg(test)]
pub mod cluster;

use super::outbound::{Outbound, OutboundError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where a server is and who asks.
#[derive(Clone, PartialEq, Debug)]
pub struct Server {
    config: Config,
    host: String,
    port: u16,
}

impl Server {
    /// # Errors
    /// What is allowed.
    pub fn read(url: &str, certificate: bool) -> Result<Self, &'static str> {
        const FORM: &str =
            "postgres://USER@HOST:PORT/DATABASE, or sqlite:FILE; the password stands in `password_file`";
        let mut config: Config = url.parse().map_err(|_| FORM)?;
        let [Host::Tcp(host)] = config.get_hosts() else { return Err(FORM) };
        let (host, port) = (host.clone(), config.get_ports().first().copied().unwrap_or(5432));
        if config.get_user().is_none() || config.get_dbname().is_none() || config.get_password().is_some() {
            return Err(FORM);
        }
        let here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let plain = config.get_ssl_mode() == SslMode::Disable || (here && !certificate);
        if !plain && !certificate {
            return Err("a `certificate` beside it, or ?sslmode=disable where the network is trusted");
        }
        config.ssl_mode(if plain { SslMode::Disable } else { SslMode::Require });
        config.application_name("prokura");
        Ok(Self { config, host, port })
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NotConnected {
    /// Nobody answered in time.
    TimedOut,
    Refused,
    /// The server said why.
    Failed(tokio_postgres::Error),
}

/// Opens connections to one server.
pub struct Postgres {
    server: Server,
    tls: Option<MakeRustlsConnect>,
    outbound: Outbound,
}

impl Postgres {
    /// `options` are settings of each session, as `-c name=value`.
    ///
    /// # Errors
    /// What is wrong with the files, or the list of hosts.
    pub fn new(
        mut server: Server,
        password_file: Option<&Path>,
        certificate: Option<&Path>,
        options: &str,
        outbound: &Outbound,
    ) -> Result<Self, String> {
        outbound.check_host(&server.host, server.port).map_err(|problem| problem.to_string())?;
        if let Some(file) = password_file {
            let password = std::fs::read_to_string(file);
            let password = password.map_err(|error| format!("{}: {error}", file.display()))?;
            server.config.password(password.trim_end_matches(['\r', '\n']));
        }
        server.config.options(options);
        let certificate = certificate.filter(|_| server.config.get_ssl_mode() == SslMode::Require);
        Ok(Self { tls: certificate.map(tls).transpose()?, server, outbound: outbound.clone() })
    }

    /// A connection whose statements may take so long.
    pub async fn connect(&self, statement: Duration) -> Result<Client, NotConnected> {
        self.connect_and_hear(statement, |_: &str| ()).await
    }

    /// The same; `told` gets the payload of every notification that the connection listens for.
    pub async fn connect_and_hear(
        &self,
        statement: Duration,
        told: impl Fn(&str) + Send + 'static,
    ) -> Result<Client, NotConnected> {
        let Server { config, host, port } = &self.server;
        let stream = self.outbound.connect(host, *port).await.map_err(|error| match error {
            OutboundError::NoAnswer { .. } => NotConnected::TimedOut,
            _ => NotConnected::Refused,
        })?;
        let client = match &self.tls {
            None => {
                let (client, connection) =
                    config.connect_raw(stream, NoTls).await.map_err(NotConnected::Failed)?;
                tokio::spawn(serve(connection, told));
                client
            }
            Some(tls) => {
                let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host);
                let connect = connect.map_err(|_| NotConnected::Refused)?;
                let (client, connection) =
                    config.connect_raw(stream, connect).await.map_err(NotConnected::Failed)?;
                tokio::spawn(serve(connection, told));
                client
            }
        };
        let limit = format!("SET statement_timeout = {}", statement.as_millis());
        client.batch_execute(&limit).await.map_err(NotConnected::Failed)?;
        Ok(client)
    }
}

/// Moves a connection's messages until it ends; what the client waits for is told to the client.
async fn serve<S, T>(mut connection: Connection<S, T>, told: impl Fn(&str) + Send)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            told(notification.payload());
        }
    }
}

/// TLS 1.2 or 1.3 with the authorities of a PEM file and no others.
fn tls(file: &Path) -> Result<MakeRustlsConnect, String> {
    let wrong = |problem: String| format!("{}: {problem}", file.display());
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate (PEM)".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
