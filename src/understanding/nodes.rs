//! Other machines that read: they run the encoder and the heads, this one does the rest. Whoever waits longer than
//! usual is read for by a second one, and where none answers this machine reads itself.
//!
//! What a node answers is checked against the bundle and no more trusted than a model: the same bundle and the same
//! arithmetic give the same scores, here and there.

use super::model::Raw;
use super::readers::Urgency;
use crate::base::Digest;
use crate::base::outbound::{Method, Outbound, OutboundError, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Where a node answers.
pub const ROUTE: &str = "/v1/scores";
/// The longest answer: the scores of a text of the longest size that a message may have.
const MOST_BYTES: usize = 16 << 20;
/// Requests in a row without an answer, after which a node is left out.
const MISSED: usize = 5;
/// Of an arithmetic's name, in bytes.
const LONGEST_NAME: usize = 64;
/// Of a hundred texts so many may be given to a second node because the first is slow: nodes that are all slow would
/// only become slower.
const HEDGED: u64 = 10;
/// Texts that may be hedged in a row, after many that were not.
const SAVED: u64 = 20;
/// Between two looks at a node.
const LOOK: Duration = Duration::from_secs(1);

/// What a node is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The bundle that is to read.
    pub model: Digest,
    pub text: String,
    /// It has time: what customers wait for is read first.
    #[serde(default)]
    pub bulk: bool,
}

/// What a node answers: floats of 32 bits, the lowest byte first, in Base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// See `Encoder::arithmetic`.
    pub arithmetic: String,
    pub intent: String,
    pub tone: String,
    pub retrieval: String,
    /// For every group: labels of the first word, of the second, and so on.
    pub spans: Vec<String>,
    pub boundaries: String,
    /// First word, the one behind the last, and intent scores of every concern.
    pub concerns: Vec<(usize, usize, String)>,
}

/// Scores, and the arithmetic that they come from.
#[derive(Clone)]
pub struct Scored {
    pub arithmetic: String,
    pub raw: Raw,
    /// The machine that found them; this one, where there is none.
    pub node: Option<Arc<Node>>,
}

fn written(values: &[f32]) -> String {
    BASE64.encode(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn read(text: &str) -> Option<Vec<f32>> {
    let bytes = BASE64.decode(text).ok()?;
    let (values, []) = bytes.as_chunks() else { return None };
    let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    values.iter().all(|value| value.is_finite()).then_some(values)
}

impl Answer {
    pub fn new(arithmetic: String, raw: &Raw) -> Self {
        let concerns = raw.concerns.iter().map(|(words, scores)| (words.start, words.end, written(scores)));
        Self {
            arithmetic,
            intent: written(&raw.intent),
            tone: written(&raw.tone),
            retrieval: written(&raw.retrieval),
            spans: raw.spans.iter().map(|labels| written(labels)).collect(),
            boundaries: written(&raw.boundaries),
            concerns: concerns.collect(),
        }
    }

    /// `None` for what holds no finite floats, or names its arithmetic at length.
    pub fn raw(&self) -> Option<Raw> {
        if self.arithmetic.len() > LONGEST_NAME {
            return None;
        }
        let concerns = self.concerns.iter().map(|(start, end, scores)| Some((*start..*end, read(scores)?)));
        Some(Raw {
            intent: read(&self.intent)?,
            tone: read(&self.tone)?,
            retrieval: read(&self.retrieval)?,
            spans: self.spans.iter().map(|labels| read(labels)).collect::<Option<_>>()?,
            boundaries: read(&self.boundaries)?,
            concerns: concerns.collect::<Option<_>>()?,
        })
    }
}

/// A node as the settings name it.
pub struct Place {
    /// Scheme, host and port.
    pub url: String,
    pub key: Option<String>,
}

pub struct Nodes {
    outbound: Outbound,
    nodes: Vec<Arc<Node>>,
    /// After so long a second one is asked, too.
    hedge: Duration,
    /// After so long nobody is waited for.
    longest: Duration,
    /// Hundredths of a text that may still be hedged.
    saved: AtomicU64,
    counts: Arc<Counts>,
}

/// What became of the texts that nodes were asked about.
#[derive(Debug, Default)]
pub struct Counts {
    pub answered: AtomicU64,
    /// Texts that a second node was given because the first was slow.
    pub hedged: AtomicU64,
    /// Texts that this machine read because no node did.
    pub local: AtomicU64,
}

/// A machine that reads, as it is known here.
pub struct Node {
    place: Place,
    /// It is asked.
    up: AtomicBool,
    /// Requests under way.
    busy: AtomicUsize,
    /// Requests in a row that it did not answer.
    missed: AtomicUsize,
    /// Of all nodes together.
    counts: Arc<Counts>,
}

/// A request under way.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("it does not read this text: status {0}")]
    NotThis(u16),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is not understood")]
    Answer,
}

impl Fault {
    /// Whether it would meet every text; others tell nothing of the next before they have come in a row.
    const fn of_all(&self) -> bool {
        !matches!(self, Self::NotThis(_) | Self::Outbound(OutboundError::NoAnswer { .. }))
    }
}

impl Node {
    /// What it answered cannot be the scores of that text, which this machine reads after all.
    pub fn misfit(&self) {
        self.counts.answered.fetch_sub(1, Ordering::Relaxed);
        self.counts.local.fetch_add(1, Ordering::Relaxed);
        self.leave_out("its answer is of another shape than its bundle");
    }

    fn leave_out(&self, fault: &str) {
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!(node = self.place.url, fault, "an inference node is left out until it answers");
        }
    }

    async fn ask(
        self: Arc<Self>,
        outbound: Outbound,
        asked: Arc<Asked>,
        longest: Duration,
    ) -> Option<Scored> {
        match self.send(&outbound, &asked, longest).await {
            Ok((arithmetic, raw)) => {
                self.missed.store(0, Ordering::Relaxed);
                Some(Scored { arithmetic, raw, node: Some(Arc::clone(&self)) })
            }
            // It is there; another has more time.
            Err(Fault::NotThis(429 | 503)) => None,
            Err(fault) => {
                let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
                if fault.of_all() || missed >= MISSED {
                    self.leave_out(&fault.to_string());
                }
                None
            }
        }
    }

    async fn send(
        &self,
        outbound: &Outbound,
        asked: &Asked,
        longest: Duration,
    ) -> Result<(String, Raw), Fault> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        let _busy = Busy(&self.busy);
        let key = self.place.key.iter().map(|key| ("authorization".to_owned(), format!("Bearer {key}")));
        let request = Request {
            method: Method::Post,
            url: format!("{}{ROUTE}", self.place.url),
            headers: key.collect(),
            json: Some(serde_json::to_value(asked).map_err(|_| Fault::Answer)?),
            text: None,
            timeout: longest,
            max_bytes: MOST_BYTES,
            http2: true,
        };
        // A connection that is not made within the time is an answer that did not come.
        let host = self.place.url.clone();
        let late = || Fault::Outbound(OutboundError::NoAnswer { host, millis: longest.as_millis() });
        let sent = timeout(longest, outbound.send(request)).await;
        let Response { status, body } = sent.map_err(|_| late())??;
        match status {
            200 => {
                let answer: Answer = serde_json::from_slice(&body).map_err(|_| Fault::Answer)?;
                let raw = answer.raw().ok_or(Fault::Answer)?;
                Ok((answer.arithmetic, raw))
            }
            400 | 409 | 413 | 429 | 503 => Err(Fault::NotThis(status)),
            other => Err(Fault::Status(other)),
        }
    }
}

impl Nodes {
    /// Nodes count as up until they are asked.
    pub fn new(outbound: Outbound, places: Vec<Place>, hedge: Duration, longest: Duration) -> Self {
        let counts = Arc::<Counts>::default();
        let node = |place| {
            Arc::new(Node {
                place,
                up: AtomicBool::new(true),
                busy: AtomicUsize::new(0),
                missed: AtomicUsize::new(0),
                counts: Arc::clone(&counts),
            })
        };
        let nodes = places.into_iter().map(node).collect();
        Self { outbound, nodes, hedge, longest, saved: AtomicU64::new(SAVED * 100), counts }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Addresses, and whether each is asked.
    pub fn states(&self) -> Vec<(&str, bool)> {
        self.nodes.iter().map(|node| (node.place.url.as_str(), node.up.load(Ordering::Relaxed))).collect()
    }

    /// The scores of a text; `None` where this machine is to read it.
    pub async fn scores(&self, model: &Digest, text: &str, urgency: Urgency) -> Option<Scored> {
        let asked = Asked { model: model.clone(), text: text.to_owned(), bulk: urgency == Urgency::Bulk };
        let earn = |saved: u64| Some((saved + HEDGED).min(SAVED * 100));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
        let found = timeout(self.longest, self.hedged(Arc::new(asked))).await.ok().flatten();
        let count = if found.is_some() { &self.counts.answered } else { &self.counts.local };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Asks the one that has least to do, and another when it fails or is slow.
    async fn hedged(&self, asked: Arc<Asked>) -> Option<Scored> {
        let mut up: Vec<&Arc<Node>> =
            self.nodes.iter().filter(|node| node.up.load(Ordering::Relaxed)).collect();
        up.sort_by_key(|node| node.busy.load(Ordering::Relaxed));
        let mut up = up.into_iter();
        let mut first = self.ask(up.next()?, &asked);
        let Some(second) = up.next() else { return first.await.ok()? };
        let early = tokio::select! {
            found = &mut first => Some(found.ok()?),
            () = sleep(self.hedge) => None,
        };
        if let Some(Some(found)) = early {
            return Some(found);
        }
        if early.is_some() {
            return self.ask(second, &asked).await.ok()?;
        }
        let spend = |saved: u64| saved.checked_sub(100);
        if self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            return match first.await.ok()? {
                Some(found) => Some(found),
                None => self.ask(second, &asked).await.ok()?,
            };
        }
        self.counts.hedged.fetch_add(1, Ordering::Relaxed);
        let mut second = self.ask(second, &asked);
        tokio::select! {
            found = &mut first => match found.ok()? {
                Some(found) => Some(found),
                None => second.await.ok()?,
            },
            found = &mut second => match found.ok()? {
                Some(found) => Some(found),
                None => first.await.ok()?,
            },
        }
    }

    /// A task of its own: who is slow is known as busy, and in the end as silent, also when nobody waits any more.
    fn ask(&self, node: &Arc<Node>, asked: &Arc<Asked>) -> JoinHandle<Option<Scored>> {
        tokio::spawn(Arc::clone(node).ask(self.outbound.clone(), Arc::clone(asked), self.longest))
    }

    /// Asks every node that is left out whether it reads again, once a second, with a text of its own; never ends.
    pub async fn watch(&self, model: impl Fn() -> Digest) {
        loop {
            for node in self.nodes.iter().filter(|node| !node.up.load(Ordering::Relaxed)) {
                let asked = Asked { model: model(), text: "Hallo".to_owned(), bulk: false };
                if node.send(&self.outbound, &asked, LOOK).await.is_ok() {
                    node.missed.store(0, Ordering::Relaxed);
                    node.up.store(true, Ordering::Relaxed);
                    tracing::info!(node = node.place.url, "an inference node answers again");
                }
            }
            sleep(LOOK).await;
        }
    }
}
