//! What a system that fails gets to see of the calls that are asked for meanwhile.

use super::*;
use crate::acting::HttpConnector;
use crate::base::outbound::Outbound;
use crate::base::{BreakerState, CallId, SystemClock};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

const RATE: u64 = 200;
const PROBES: u32 = 2;

/// Accepts everything, reads it, and never answers.
async fn hung() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read) = stream.read(&mut buffer).await {
                    if read == 0 {
                        break;
                    }
                    // A body may come for itself; only heads are counted.
                    let head = String::from_utf8_lossy(&buffer[..read]).contains(" HTTP/1.1\r\n");
                    count.fetch_add(usize::from(head), SeqCst);
                }
            });
        }
    });
    (address, requests)
}

/// Counts what passes, and how many of those that try whether it is back are out at the same time.
struct Counted {
    inner: HttpConnector,
    acting: OnceLock<std::sync::Weak<Acting>>,
    sent: AtomicUsize,
    asked: AtomicUsize,
    sent_open: AtomicUsize,
    trying: AtomicUsize,
    most_trying: AtomicUsize,
}

impl Counted {
    fn is_closed(&self, tool: &ToolDeclaration) -> bool {
        let acting = self.acting.get().and_then(std::sync::Weak::upgrade).unwrap();
        acting.condition(tool).breaker == BreakerState::Closed
    }
}

impl Connector for Counted {
    fn send<'a>(&'a self, tool: &'a ToolDeclaration, call: &'a Call) -> BoxFuture<'a, Sent> {
        Box::pin(async move {
            self.sent.fetch_add(1, SeqCst);
            let tries = !self.is_closed(tool);
            if tries {
                self.sent_open.fetch_add(1, SeqCst);
                self.most_trying.fetch_max(self.trying.fetch_add(1, SeqCst) + 1, SeqCst);
            }
            let answer = self.inner.send(tool, call).await;
            self.trying.fetch_sub(usize::from(tries), SeqCst);
            answer
        })
    }

    fn query<'a>(&'a self, tool: &'a ToolDeclaration, key: &'a str) -> BoxFuture<'a, Found> {
        self.asked.fetch_add(1, SeqCst);
        self.inner.query(tool, key)
    }
}

fn block(number: u64) -> Call {
    Call::new(
        CallId::new(format!("call_{number}")),
        "card_block",
        json!({"card": "card_1", "reason": "lost"}),
    )
}

fn permit(call: &Call) -> Permit {
    Permit::seal(call.id.clone(), call.tool.clone(), Digest::of_json(&call.arguments).unwrap())
}

/// Prints the figures, and writes them where a file is named.
fn told(figures: &Value) {
    println!("{figures}");
    if let Ok(file) = std::env::var("PROKURA_FIGURES") {
        let text = serde_json::to_string_pretty(&json!({ "hung": figures })).unwrap();
        std::fs::write(file, text + "\n").unwrap();
    }
}

/// Counts only: how fast this machine is, nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_system_is_tried_by_few_and_never_gets_more_than_was_asked_for() {
    let seconds =
        std::env::var("PROKURA_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4_u64);
    let (address, requests) = hung().await;
    let text = include_str!("../../config/tools.toml")
        .replace("timeout_ms = 3000", "timeout_ms = 300")
        .replace("open_ms = 20000", &format!("open_ms = 400\nprobes = {PROBES}"));
    let mut tools = Tools::parse("tools.toml", &text).unwrap();
    tools.set_system("core_bank", &format!("http://{address}"));
    let inner = HttpConnector::new(Outbound::new([address]).unwrap(), &tools, Path::new("."));
    let zero = AtomicUsize::default;
    let counted = Arc::new(Counted {
        inner,
        acting: OnceLock::new(),
        sent: zero(),
        asked: zero(),
        sent_open: zero(),
        trying: zero(),
        most_trying: zero(),
    });
    let (parallel, failures) = (tools.by_name["card_block"].parallel, tools.breaker.failures as usize);
    let acting = Arc::new(Acting::new(Arc::new(tools), counted.clone(), Arc::new(SystemClock)));
    counted.acting.set(Arc::downgrade(&acting)).unwrap();
    let outcomes: Arc<Mutex<[usize; 3]>> = Arc::default();
    let mut ticks = tokio::time::interval(Duration::from_millis(1000 / RATE));
    let mut calls = Vec::new();
    for number in 0..RATE * seconds {
        ticks.tick().await;
        let (acting, outcomes) = (Arc::clone(&acting), Arc::clone(&outcomes));
        calls.push(tokio::spawn(async move {
            let call = block(number);
            let outcome = acting.perform(permit(&call), &call, &|| true).await;
            let kind = match outcome {
                Outcome::Failed { .. } => 0,
                Outcome::Ambiguous { .. } => 1,
                _ => 2,
            };
            outcomes.lock().await[kind] += 1;
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    let [failed, ambiguous, done] = *outcomes.lock().await;
    let calls = failed + ambiguous + done;
    let (sent, asked) = (counted.sent.load(SeqCst), counted.asked.load(SeqCst));
    let (sent_open, most_trying) = (counted.sent_open.load(SeqCst), counted.most_trying.load(SeqCst));
    let amplification = (sent + asked) as f64 / calls as f64;
    let figures = json!({
        "calls": calls, "calls_a_second": RATE, "seconds": seconds, "sent": sent, "questions": asked,
        "requests_at_the_system": requests.load(SeqCst), "amplification": (amplification * 1e4).round() / 1e4,
        "probes": sent_open, "probes_at_once": most_trying, "probes_allowed_at_once": PROBES,
        "sent_before_it_opened": sent - sent_open, "parallel": parallel,
        "certainly_not_sent": failed, "ambiguous": ambiguous,
    });
    told(&figures);
    assert_eq!((calls as u64, done), (RATE * seconds, 0));
    assert!((1..=PROBES as usize).contains(&most_trying), "{figures}");
    // No more than may be under way, and one for each failure that does not open it yet.
    assert!(sent - sent_open < parallel + failures, "{figures}");
    assert!(amplification <= 1.1, "{figures}");
    assert!(requests.load(SeqCst) <= sent + asked, "{figures}");
    // What was sent may have been done; everything else certainly was not.
    assert_eq!(ambiguous, sent, "{figures}");
}

/// Turns away every other request.
struct Busy(AtomicUsize);

impl Connector for Busy {
    fn send<'a>(&'a self, _: &'a ToolDeclaration, _: &'a Call) -> BoxFuture<'a, Sent> {
        let turned_away = self.0.fetch_add(1, SeqCst).is_multiple_of(2);
        let done: Value =
            json!({"card": "card_1", "status": "blocked", "blocked_at": "2026-09-21T14:13:20Z"});
        Box::pin(async move {
            if turned_away { Sent::NotSent("status 429".to_owned()) } else { Sent::Answered(done) }
        })
    }

    fn query<'a>(&'a self, _: &'a ToolDeclaration, _: &'a str) -> BoxFuture<'a, Found> {
        Box::pin(async { Found::Nothing })
    }
}

#[tokio::test(start_paused = true)]
async fn trying_again_is_a_share_of_what_is_asked_for_also_when_no_breaker_opens() {
    let tools = Tools::parse("tools.toml", include_str!("../../config/tools.toml")).unwrap();
    let (percent, reserve) = (tools.retry_budget.percent as usize, tools.retry_budget.reserve as usize);
    let busy = Arc::new(Busy(AtomicUsize::new(0)));
    let acting = Acting::new(Arc::new(tools), busy.clone(), Arc::new(SystemClock)).seeded(1);
    let calls = 2_000;
    for number in 0..calls {
        let call = block(number);
        acting.perform(permit(&call), &call, &|| true).await;
    }
    let repeated = busy.0.load(SeqCst) - calls as usize;
    assert!(repeated <= calls as usize * percent / 100 + reserve, "{repeated}");
    assert!(repeated > 100, "{repeated}");
}
