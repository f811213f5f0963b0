//! The service, alone or with the demonstration bank beside it.

use super::settings::{Key, Settings};
use super::{Failure, background, wire};
use crate::base::{Clock, SystemClock, ids};
use crate::cli::{Demo, DemoBank, Place, Serve, ServeRole};
use crate::console;
use crate::governance::{Principal, Role};
use crate::http::{self, Administration, Api, ApiKey};
use crate::intake::{Algorithm, IdentityConfig, IdentityKeys, document};
use crate::understanding::{Live, Readers, Schema};
use crate::{base::Digest, demo};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

pub async fn serve(place: &Place, asked: &Serve) -> Result<(), Failure> {
    let mut settings = Settings::read(&place.config)?;
    settings.service.listen = asked.listen.unwrap_or(settings.service.listen);
    let listener = bind(settings.service.listen).await?;
    match asked.role {
        ServeRole::Api => {
            run(place, &settings, listener, |address| eprintln!("prokura listens on http://{address}")).await
        }
        ServeRole::Inference => inference(place, &settings, listener).await,
    }
}

/// Readings for other machines: models and nothing else.
async fn inference(place: &Place, settings: &Settings, listener: TcpListener) -> Result<(), Failure> {
    let schema = Schema::read(&settings.folder).map_err(Failure::input)?;
    let shipped = settings.beside(&settings.models.bundle);
    let compute = wire::compute(settings)?;
    let work = wire::work(settings, &compute)?;
    let models =
        Live::open(&wire::state(place, settings), &shipped, &schema, compute).map_err(Failure::input)?;
    models.current().warm(&shipped).map_err(Failure::input)?;
    let models = Arc::new(models);
    background::follow(&models).map_err(Failure::input)?;
    let administration = crate::cases::administration(&settings.folder).map_err(Failure::Findings)?;
    let node = http::Node {
        administration: Arc::new(administration),
        models,
        readers: Arc::new(Readers::start(&work).map_err(Failure::input)?),
        banks: Arc::new(wire::bank_codes(settings)?),
        clock: Arc::new(SystemClock),
        keys: settings.keys.iter().map(api_key).collect(),
        limits: settings.limits(),
    };
    let address = listener.local_addr().map_err(Failure::input)?;
    eprintln!("prokura reads for other machines on http://{address}");
    http::serve(listener, http::node_router(node), shutdown()).await.map_err(Failure::input)
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        Failure::Input(format!(
            "cannot listen on {listen}: {error}; stop what uses it, or choose another with --listen"
        ))
    })
}

async fn run(
    place: &Place,
    settings: &Settings,
    listener: TcpListener,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    let engine = wire::engine(place, settings)?;
    let identity = settings.identity.as_ref().map(IdentityKeys::new).transpose().map_err(Failure::input)?;
    let keys = settings.keys.iter().map(api_key).collect();
    let api = Api {
        cases: engine.cases.clone(),
        keys,
        identity,
        limits: settings.limits(),
        wait: settings.wait(),
        drift: Arc::default(),
        nearest: Arc::default(),
        explaining: Arc::new(Semaphore::new(1)),
        administration: Administration::new(wire::bar_file(settings), document::Limits::default()),
    };
    let unfinished = crate::cases::unfinished(&engine.cases.parts().ledger).map_err(Failure::input)?;
    if !unfinished.is_empty() {
        tracing::error!(cases = unfinished.len(), "an erasure was interrupted: say `prokura erase` again");
    }
    let recovered = engine.cases.recover().await.map_err(Failure::input)?;
    if recovered > 0 {
        tracing::info!(cases = recovered, "going on with cases that were under way");
    }
    let (witness, origin) = (wire::witness(place, settings)?, engine.origin.as_ref());
    background::start(witness, place, settings, &engine.cases, &api, origin).map_err(Failure::input)?;
    ready(listener.local_addr().map_err(Failure::input)?);
    let ledger = Arc::clone(&engine.cases.parts().ledger);
    let administration = api.administration.clone();
    let router = http::router(api).merge(console::router());
    let told = administration.clone();
    let asked_to_end = async move {
        shutdown().await;
        told.end();
    };
    http::serve(listener, router, asked_to_end).await.map_err(Failure::input)?;
    // A publication that goes on is published and in the ledger then, or neither.
    administration.end();
    administration.ended().await;
    // What was written last is not left unsigned.
    ledger.sign().map_err(Failure::input)?;
    if let Some(witness) = wire::witness(place, settings)? {
        witness.keep(&ledger, SystemClock.now()).map_err(Failure::input)?;
    }
    Ok(())
}

fn api_key(key: &Key) -> ApiKey {
    ApiKey {
        name: key.name.clone(),
        principal: Principal::new(key.principal.clone(), key.role),
        sha256: key.sha256.to_lowercase(),
    }
}

/// Ends at an interrupt or a request to terminate.
async fn shutdown() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupted.await;
        }
    }
}

pub async fn demo(place: &Place, options: Demo) -> Result<(), Failure> {
    let mut settings = Settings::read(&place.config)?;
    settings.service.listen = options.listen.unwrap_or(settings.service.listen);
    let listener = bind(settings.service.listen).await?;
    let bank = DemoProcess::start(place, &settings, Some(options.bank), &options.switches).await?;
    bank.point(&mut settings);
    settings.identity = Some(bank.identity().await?);
    wire::index_if_missing(place, &settings)?;
    let mut shown = Vec::new();
    for (principal, role) in [
        ("demo-app", Role::Channel),
        ("sara", Role::Supervisor),
        ("tom", Role::Agent),
        ("paula", Role::PolicyAdmin),
    ] {
        let key = fresh_key();
        settings.keys.push(Key {
            name: format!("demo {principal}"),
            principal: principal.to_owned(),
            role,
            sha256: Digest::of(key.as_bytes()).hex().to_owned(),
        });
        shown.push(key);
    }
    let address = bank.address;
    run(place, &settings, listener, |service| explain(service, address, &shown)).await
}

/// 256 bits from the system's generator, in hexadecimal, behind a prefix that scanners for leaked keys
/// can know.
pub fn fresh_key() -> String {
    let random = [ids::fresh("k"), ids::fresh("k")].concat();
    let strong: [u8; 32] = rand::random();
    let digest = Digest::of_parts([random.as_bytes(), strong.as_slice()]);
    format!("prk_{}", digest.hex())
}

const MESSAGE: &str = "Ich bin Kunde bei der Sparkasse Nürnberg, mein Name ist Max Müller, meine Partnerin \
    Angelika Müller, Kontonummer ABCO1234. Wir kommen nicht mehr in unser Konto rein.";

fn explain(service: SocketAddr, bank: SocketAddr, keys: &[String]) {
    let [channel, supervisor, agent, administrator] = keys else { return };
    eprintln!(
        "\nprokura listens on http://{service}, the demonstration bank on http://{bank}\n\n\
         A customer who is logged in writes (the bank's channel signs who it is, prokura answers):\n\n\
         TEXT='{MESSAGE}'; \
         TOKEN=$(curl -s http://{bank}/channel/token -H 'Content-Type: application/json' \
         -d \"{{\\\"customer\\\":\\\"cus_001\\\",\\\"text\\\":\\\"$TEXT\\\"}}\" | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/'); \
         curl -s http://{service}/v1/cases -H 'Authorization: Bearer {channel}' -H \"Prokura-Identity: $TOKEN\" \
         -H 'Content-Type: application/json' -d \"{{\\\"text\\\":\\\"$TEXT\\\"}}\"\n\n\
         What the staff sees, with why (put the case's id in place of CASE):\n\n\
         curl -s http://{service}/v1/cases/CASE -H 'Authorization: Bearer {supervisor}'\n\
         curl -s http://{service}/v1/cases/CASE/trace -H 'Authorization: Bearer {supervisor}'\n\
         curl -s http://{service}/v1/approvals -H 'Authorization: Bearer {agent}'\n\n\
         Raise a fraud flag and send the message again; the customer's text gives nothing away:\n\n\
         curl -s http://{bank}/switches -H 'Content-Type: application/json' -d '{{\"fraud\":[\"acc_001\"]}}'\n\n\
         Policies, in a browser: http://{service}/console/policies with the key {administrator}\n\n\
         The API: http://{service}/openapi.json. End with Ctrl-C.\n"
    );
}

/// The demonstration bank in its own process; it ends with this value, or with this process.
pub struct DemoProcess {
    pub address: SocketAddr,
    _child: Child,
}

impl DemoProcess {
    pub async fn start(
        place: &Place,
        settings: &Settings,
        listen: Option<SocketAddr>,
        switches: &[String],
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::input)?;
        let logs = wire::state(place, settings).join("demo-bank");
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut command = Command::new(program);
        command.args(["demo-bank", "--with-parent", "--listen", &listen.to_string()]);
        command.arg("--config").arg(&place.config).arg("--logs").arg(logs);
        for switch in switches {
            command.args(["--switch", switch]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::Input(format!("the demonstration bank cannot start: {error}")))?;
        let failed =
            || Failure::Input("the demonstration bank did not start; its message is above".to_owned());
        let stdout = child.stdout.take().ok_or_else(failed)?;
        let line = BufReader::new(stdout).lines().next_line().await.map_err(Failure::input)?;
        let address = line.and_then(|line| line.parse().ok()).ok_or_else(failed)?;
        Ok(Self { address, _child: child })
    }

    /// Makes the settings use this bank.
    pub fn point(&self, settings: &mut Settings) {
        settings.systems.insert("core_bank".to_owned(), format!("http://{}", self.address));
        settings.outbound.hosts.push(self.address.to_string());
    }

    /// What the bank's login channel signs with.
    async fn identity(&self) -> Result<IdentityConfig, Failure> {
        use crate::base::outbound::{Method, Outbound, Request};
        let outbound = Outbound::new([self.address.to_string()]).map_err(Failure::input)?;
        let request = Request {
            method: Method::Get,
            url: format!("http://{}/channel/key", self.address),
            headers: vec![],
            json: None,
            text: None,
            timeout: std::time::Duration::from_secs(5),
            max_bytes: 4096,
            http2: false,
        };
        let response = outbound.send(request).await.map_err(Failure::input)?;
        let key: serde_json::Value = serde_json::from_slice(&response.body).map_err(Failure::input)?;
        let text =
            |name: &str| key.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(IdentityConfig {
            issuer: text("issuer"),
            audience: text("audience"),
            algorithm: Algorithm::EdDsa,
            public_key: text("x"),
        })
    }
}

pub async fn demo_bank(place: &Place, options: DemoBank) -> Result<(), Failure> {
    let logs = match options.logs {
        Some(logs) => logs,
        None => wire::state(place, &Settings::read(&place.config)?).join("demo-bank"),
    };
    let server = demo::Server::open(
        demo::Options { listen: options.listen, logs, seed: options.seed, switches: options.switches },
        Arc::new(SystemClock),
    )
    .await
    .map_err(Failure::input)?;
    super::output::line_out(&server.address().to_string())?;
    let with_parent = options.with_parent;
    let until = async move {
        if with_parent {
            // The parent holds the other end; it closes when the parent dies, however it dies. Ctrl-C
            // reaches the parent, which needs the bank to the end.
            let (ended, end) = tokio::sync::oneshot::channel::<()>();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                drop(ended);
            });
            let _ = end.await;
        } else {
            shutdown().await;
        }
    };
    server.run(until).await.map_err(Failure::input)
}
