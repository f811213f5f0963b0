//! Builds the rooms from the settings.

use super::Failure;
use super::settings::{Policies as Published, Settings};
use crate::acting::{Acting, HttpConnector};
use crate::base::outbound::{Method, Outbound, Request, Response};
use crate::base::{Clock, Digest, Finding, SystemClock};
use crate::cases::{self, Cases, Checked, Parts, load_pack};
use crate::cli::Place;
use crate::intake::BankCodes;
use crate::ledger::{Ledger, Post, StateLock, Witness};
use crate::planning::bare;
use crate::policy::bar::RetrievalBar;
use crate::policy::{self, Policies, PolicyError};
use crate::records::weights::Matching;
use crate::records::{Lookup, LookupSettings};
use crate::understanding::installed::Installed;
use crate::understanding::nodes::{self, Nodes};
use crate::understanding::{Compute, Live, Readers, Schema, Understanding, Work};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A running engine and what keeps its state directory to itself.
pub struct Engine {
    pub cases: Cases,
    /// The machine whose policies these are.
    pub origin: Option<Arc<policy::Ask>>,
    _lock: StateLock,
}

/// The state directory: as the command says, else as the settings say.
pub fn state(place: &Place, settings: &Settings) -> PathBuf {
    place.state.clone().unwrap_or_else(|| settings.service.state.clone())
}

/// Loads and checks the pack, and points it to the systems that the settings name.
pub fn pack(settings: &Settings, documents: Option<&BTreeSet<String>>) -> Result<Checked, Failure> {
    let mut checked = load_pack(&settings.folder, documents)?;
    let nobody = checked.pack.governance.administration.forbidden_to_all();
    if !nobody.is_empty() {
        return Err(Failure::Input(format!(
            "no rule lets anybody {}: give each of these actions a `permit` in administration/*.cedar",
            nobody.join(", ")
        )));
    }
    for (name, url) in &settings.systems {
        let source = checked.pack.sources.set_base_url(name, url);
        let tools = Arc::make_mut(&mut checked.pack.tools).set_system(name, url);
        if !source && !tools {
            return Err(Failure::Input(format!(
                "`[systems]` names `{name}`, which neither sources.toml nor tools.toml knows"
            )));
        }
    }
    Ok(checked)
}

pub fn outbound(settings: &Settings) -> Result<Outbound, Failure> {
    Outbound::new(settings.outbound.hosts.iter().cloned()).map_err(Failure::input)
}

/// The bundle that was promoted last in the state directory, else the one that the settings name.
pub fn bundle(place: &Place, settings: &Settings) -> Result<PathBuf, Failure> {
    let installed = Installed::of(&state(place, settings));
    let current = installed.chosen().map_err(Failure::input)?.current;
    Ok(current.map_or_else(|| settings.beside(&settings.models.bundle), |model| installed.folder(&model)))
}

/// What reads, as `[inference]` asks for it.
pub fn compute(settings: &Settings) -> Result<Compute, Failure> {
    let Work { device, kernel, .. } = &settings.inference;
    Compute::named(device, kernel.as_deref())
        .map_err(|problem| Failure::Input(format!("prokura.toml, [inference] {problem}")))
}

/// More threads than any machine has cores for.
const MOST_THREADS: usize = 1024;

/// How the threads that read work, on this device.
pub fn work(settings: &Settings, compute: &Compute) -> Result<Work, Failure> {
    let asked = settings.inference.clone();
    if asked.queue == 0 {
        let problem =
            "prokura.toml, [inference] `queue` is 0, and no text could wait; leave it out, or set 1 or more";
        return Err(Failure::Input(problem.to_owned()));
    }
    if asked.threads > MOST_THREADS {
        let problem = format!(
            "`threads` cannot be `{}`; allowed: 0 (as many as cores) to {MOST_THREADS}",
            asked.threads
        );
        return Err(Failure::Input(format!("prokura.toml, [inference] {problem}")));
    }
    let batch = if asked.batch == 0 { compute.pieces() } else { asked.batch };
    Ok(Work { batch, ..asked })
}

/// The machines that read for this one, or none.
fn nodes(settings: &Settings) -> Result<Option<Arc<Nodes>>, Failure> {
    let Work { node, hedge_ms, timeout_ms, .. } = &settings.inference;
    if node.is_empty() {
        return Ok(None);
    }
    let outbound = outbound(settings)?;
    let places = node.iter().map(|node| {
        outbound.check(&node.url).map_err(|problem| {
            let remedy = "it needs http:// or https://, and its host and port on the [outbound] hosts list";
            Failure::Input(format!("prokura.toml, [[inference.node]] url: {problem}; {remedy}"))
        })?;
        let key = node.key_file.as_ref().map(|file| key_in(&settings.beside(file))).transpose()?;
        Ok(nodes::Place { url: node.url.trim_end_matches('/').to_owned(), key })
    });
    let places = places.collect::<Result<_, Failure>>()?;
    let (hedge, longest) = (Duration::from_millis(*hedge_ms), Duration::from_millis(*timeout_ms));
    Ok(Some(Arc::new(Nodes::new(outbound, places, hedge, longest))))
}

/// The API key in a file.
fn key_in(file: &Path) -> Result<String, Failure> {
    let told = |problem: &dyn std::fmt::Display| Failure::Input(format!("{}: {problem}", file.display()));
    let key = std::fs::read_to_string(file).map_err(|error| {
        told(&format!("{error}; put the key of that machine into it, or mend `key_file` in prokura.toml"))
    })?;
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(told(
            &"this holds no key; put the one in that `prokura key` printed on the other machine",
        ));
    }
    Ok(key.to_owned())
}

/// The machine whose policies this one has, ready to be asked; `None`: they are its own.
pub fn origin(settings: &Settings) -> Result<Option<Arc<policy::Ask>>, Failure> {
    let Published { from, key_file, keep_days, .. } = &settings.policies;
    let wrong = |problem: &str| Err(Failure::Input(format!("prokura.toml, [policies] {problem}")));
    match (from, key_file) {
        (None, None) => Ok(None),
        (None, Some(_)) => wrong("`key_file` is of no use without `from`; leave it out, or name the machine"),
        (Some(_), None) => {
            wrong("`from` needs a `key_file`: with a key that `prokura key` made on that machine")
        }
        (Some(_), Some(_)) if keep_days.is_some() => wrong(
            "`keep_days` belongs to the machine that `from` names: what that lets go is let go here, too",
        ),
        (Some(from), Some(file)) => asking(settings, from, &settings.beside(file)).map(Some),
    }
}

/// Between a request and its answer, for the smallest and for every 100 KiB.
const LEAST_SECONDS: u64 = 10;
const BYTES_A_SECOND: u64 = 100 << 10;

/// Asks another machine for its generations, on whatever thread.
pub fn asking(settings: &Settings, from: &str, key_file: &Path) -> Result<Arc<policy::Ask>, Failure> {
    let outbound = outbound(settings)?;
    outbound.check(from).map_err(|problem| {
        let remedy = "it needs http:// or https://, and its host and port on the [outbound] hosts list";
        Failure::Input(format!("where policies come from: {problem}; {remedy}"))
    })?;
    let (url, key) = (from.trim_end_matches('/').to_owned(), key_in(key_file)?);
    let runtime = tokio::runtime::Handle::current();
    Ok(Arc::new(move |path: &str, most: u64| {
        let request = Request {
            method: Method::Get,
            url: format!("{url}{path}"),
            headers: vec![("authorization".to_owned(), format!("Bearer {key}"))],
            json: None,
            text: None,
            timeout: Duration::from_secs(LEAST_SECONDS + most / BYTES_A_SECOND),
            max_bytes: usize::try_from(most).unwrap_or(usize::MAX),
            http2: false,
        };
        let answer = sent(&runtime, &outbound, request)?;
        match answer.status {
            200 => Ok(answer.body),
            401 | 403 => Err(format!(
                "status {}: the key must be one of that machine, of a policy_admin, an auditor or an operator",
                answer.status
            )),
            status => Err(format!("status {status}")),
        }
    }))
}

/// Sends a request and waits for its answer, on whatever thread.
fn sent(runtime: &tokio::runtime::Handle, outbound: &Outbound, request: Request) -> Result<Response, String> {
    let (outbound, (tell, told)) = (outbound.clone(), std::sync::mpsc::channel());
    runtime.spawn(async move { drop(tell.send(outbound.send(request).await)) });
    let answer = told.recv().map_err(|_| "the program ends".to_owned())?;
    answer.map_err(|error| error.to_string())
}

/// The file of bank codes, or none.
pub fn bank_codes(settings: &Settings) -> Result<BankCodes, Failure> {
    let file = settings.intake.bank_codes.as_ref();
    let read = file.map(|file| BankCodes::read(&settings.beside(file))).transpose();
    read.map(Option::unwrap_or_default).map_err(|finding| Failure::Findings(vec![finding]))
}

/// Whether every field of a matching has weights, or none has: one without would be left out in silence.
pub fn weighed(config: &Path, lookup: &LookupSettings) -> Result<(), Failure> {
    match lookup.matching.as_ref().and_then(Matching::unweighed) {
        None => Ok(()),
        Some(field) => Err(Failure::Input(format!(
            "{}: `{field}` of the matching has no `m` and `u` while others have them; \
             `prokura lookup fit` writes them, or leave it out",
            config.display()
        ))),
    }
}

/// The pack's sources and weights, ready to be asked.
pub fn lookup(settings: &Settings, checked: &Checked, clock: Arc<dyn Clock>) -> Result<Lookup, Failure> {
    let pack = &checked.pack;
    weighed(&settings.folder.join("lookup.toml"), &pack.lookup)?;
    let (kinds, outbound) = (pack.lookup.kinds(), outbound(settings)?);
    let sources = pack.sources.open(&settings.folder, &outbound, &kinds, &clock).map_err(Failure::input)?;
    Ok(Lookup::new(pack.lookup.clone(), sources, clock))
}

/// The ids of the indexed documents without their language suffix, which is how plans name them.
pub fn documents(policies: &Policies) -> BTreeSet<String> {
    let generation = policies.current(None);
    generation.documents().iter().map(|document| bare(&document.id).to_owned()).collect()
}

/// The ledger of the state directory. Reading beside a running service is safe: the store lets readers in while one
/// process writes.
pub fn existing_ledger(place: &Place, settings: &Settings) -> Result<Ledger, Failure> {
    found_ledger(place, settings)?.ok_or_else(|| {
        let state = state(place, settings);
        Failure::Input(format!("there is no ledger in `{}`; name it with --state", state.display()))
    })
}

/// The same; `None` where no service ever ran.
pub fn found_ledger(place: &Place, settings: &Settings) -> Result<Option<Ledger>, Failure> {
    let state = state(place, settings);
    let there = settings.ledger.postgres.is_some() || state.join("ledger.sqlite").exists();
    there.then(|| ledger(settings, &state)).transpose()
}

/// Made where there is none.
pub fn ledger(settings: &Settings, state: &Path) -> Result<Ledger, Failure> {
    settings.ledger.connect(state, &settings.folder, &outbound(settings)?).map_err(Failure::input)
}

/// The witness of a state directory, and the one on another machine, if there is one.
pub fn witness(place: &Place, settings: &Settings) -> Result<Option<Witness>, Failure> {
    let Some(witness) = settings.ledger.witness(&state(place, settings)) else { return Ok(None) };
    let Some((url, cosigner)) = settings.ledger.cosigner().map_err(Failure::input)? else {
        return Ok(Some(witness));
    };
    let outbound = outbound(settings)?;
    outbound.check(&url).map_err(Failure::input)?;
    Ok(Some(witness.with_cosigner(cosigner).asking(post(outbound, url))))
}

/// Sends a text to an address and waits for the answer, on whatever thread.
fn post(outbound: Outbound, url: String) -> Post {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |text: String| {
        let request = Request {
            method: Method::Post,
            url: url.clone(),
            headers: Vec::new(),
            json: None,
            text: Some(text),
            timeout: Duration::from_secs(10),
            max_bytes: 64 << 10,
            http2: false,
        };
        let answer = sent(&runtime, &outbound, request)?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    })
}

/// The policies of the state directory: those of the origin where there is one, and built anew where this program cannot
/// read what is there.
fn policies(place: &Place, settings: &Settings, origin: Option<&policy::Ask>) -> Result<Policies, Failure> {
    let state = state(place, settings);
    policy::take_from(&state, settings.policies.from.as_deref()).map_err(Failure::input)?;
    let opened = match (Policies::open(&state), origin) {
        (
            Err(PolicyError::NotBuilt { .. } | PolicyError::Damaged { .. } | PolicyError::Earlier { .. }),
            Some(origin),
        ) => {
            policy::fetch(&state, origin).map_err(Failure::input)?;
            Policies::open(&state)
        }
        (Err(error @ (PolicyError::Damaged { .. } | PolicyError::Earlier { .. })), None) => {
            tracing::warn!(%error, "the policies are built anew from their documents");
            let models = understanding(place, settings)?;
            policy::follow(&state, indexing(settings, &models), &|_, _| {}).map_err(Failure::input)?;
            Policies::open(&state)
        }
        (opened, _) => opened,
    };
    opened.map_err(Failure::input)
}

/// Opens everything that a case needs. Takes the state directory's lock.
pub fn engine(place: &Place, settings: &Settings) -> Result<Engine, Failure> {
    let state = state(place, settings);
    let lock = StateLock::take(&state).map_err(Failure::input)?;
    let ledger = Arc::new(ledger(settings, &state)?);
    let origin = origin(settings)?;
    let policies = policies(place, settings, origin.as_deref())?;
    let checked = pack(settings, Some(&documents(&policies)))?;
    if !cases::is_proven(&ledger, &checked.pack).map_err(Failure::input)? {
        return Err(Failure::Input(
            "nobody has proven that these rules keep their invariants: run `prokura rules activate` (it needs cvc5; after \
             every change of rules, invariants or tools)"
                .to_owned(),
        ));
    }
    let program = program_digest()?;
    let digests = [("program".to_owned(), program.clone())].into();
    cases::note_shipped(&ledger, &digests, &checked.pack).map_err(Failure::input)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shipped = settings.beside(&settings.models.bundle);
    cases::recorded(&ledger, &Installed::of(&state), clock.now()).map_err(Failure::input)?;
    let compute = compute(settings)?;
    let work = work(settings, &compute)?;
    let models = Live::open(&state, &shipped, &checked.pack.schema, compute).map_err(Failure::input)?;
    follow_models(&state, settings, &policies, &models.current())?;
    let lookup = lookup(settings, &checked, Arc::clone(&clock))?;
    cases::record_pack(&ledger, &checked.files, clock.now()).map_err(Failure::input)?;
    let tools = Arc::clone(&checked.pack.tools);
    let connector = Arc::new(HttpConnector::new(outbound(settings)?, tools.systems.clone()));
    let pack = Arc::new(checked.pack);
    let parts = Parts {
        packs: Arc::new(cases::Packs::new(Arc::clone(&ledger), &state, Arc::clone(&pack))),
        ledger,
        acting: Arc::new(Acting::new(tools, connector, Arc::clone(&clock))),
        clock,
        pack,
        models: Arc::new(models),
        readers: Arc::new(Readers::before(&work, nodes(settings)?).map_err(Failure::input)?),
        bank_codes: Arc::new(bank_codes(settings)?),
        lookup: Arc::new(lookup),
        policies: Arc::new(policies),
        program,
    };
    if settings.ledger.postgres.is_none() {
        // The lock says that no other process lives which works on these cases.
        parts.ledger.store().forget_nodes().map_err(Failure::input)?;
    }
    let cases = Cases::new(parts).map_err(Failure::input)?;
    Ok(Engine { cases, origin, _lock: lock })
}

/// Indexes the sample documents when the state directory has no index yet.
pub fn index_if_missing(place: &Place, settings: &Settings) -> Result<(), Failure> {
    let state = state(place, settings);
    if !matches!(Policies::open(&state), Err(PolicyError::NotBuilt { .. })) {
        return Ok(());
    }
    let documents = settings.beside(&settings.policies.documents);
    let models = understanding(place, settings)?;
    policy::index(&state, &[documents], indexing(settings, &models), &|_, _| {}).map_err(Failure::input)?;
    Ok(())
}

/// Embeds the current policies by the bundle that reads now, where another one's vectors are in them.
fn follow_models(
    state: &Path,
    settings: &Settings,
    policies: &Policies,
    models: &Understanding,
) -> Result<(), Failure> {
    let encoder = models.searcher();
    if encoder.is_some() && policies.current(encoder).manifest().encoder.as_ref() != encoder {
        if settings.policies.from.is_some() {
            tracing::warn!(
                "the origin has no vectors of the bundle that reads here: words alone are compared"
            );
            return Ok(());
        }
        tracing::info!("the policies are embedded by the bundle that reads now");
        policy::follow(state, indexing(settings, models), &|_, _| {}).map_err(Failure::input)?;
    }
    Ok(())
}

pub fn indexing<'a>(settings: &Settings, models: &'a Understanding) -> policy::Options<'a> {
    policy::Options {
        language: settings.intake.language,
        now: SystemClock.now(),
        models: Some(models),
        bar: None,
        kept: None,
    }
}

/// The questions beside the settings that policies must answer before they are published.
pub fn bar_file(settings: &Settings) -> PathBuf {
    settings.folder.join("retrieval-bar.toml")
}

/// `None`: there are none.
pub fn retrieval_bar(settings: &Settings) -> Result<Option<RetrievalBar>, Failure> {
    let shown = |findings: Vec<Finding>| {
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        Failure::Input(lines.join("\n"))
    };
    RetrievalBar::read(&bar_file(settings)).map_err(shown)
}

/// The bundle that reads now.
pub fn understanding(place: &Place, settings: &Settings) -> Result<Understanding, Failure> {
    let schema = Schema::read(&settings.folder).map_err(Failure::input)?;
    Understanding::load_on(&bundle(place, settings)?, &schema, &compute(settings)?).map_err(Failure::input)
}

/// What runs, by its content.
pub fn program_digest() -> Result<Digest, Failure> {
    let read = std::env::current_exe().and_then(std::fs::read);
    let bytes = read.map_err(|error| Failure::Input(format!("the program cannot read itself: {error}")))?;
    Ok(Digest::of(&bytes))
}
