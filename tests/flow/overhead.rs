//! What the engine itself costs: a case with three calls, beside the same three calls made by a bare client. Nothing is read
//! by models: another system tells the event. PROKURA_OVERHEAD=N: so many cases, with a report in target/overhead.json.

use crate::stage::{Stage, engine_in, pack_with, root, shown};
use prokura::base::outbound::{Method, Outbound, Request};
use prokura::base::{CaseId, Clock, CustomerId, Language, MessageId, SystemClock, ids};
use prokura::cases::{Occurrence, Status};
use prokura::governance::{Principal, Role};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOOL: &str = r#"
[[tool]]
name = "note_leave"
purpose = "Leave a note"
system = "core_bank"
method = "POST"
path = "/tickets"
idempotency = { header = "Idempotency-Key", window_seconds = 86400 }
timeout_ms = 3000
retries = 0
on_ambiguous = "query"
query = { path = "/effects/{key}", result = "/result", authoritative = true }
scope = "tickets:write"
risk = "protective"
compensation = "none"
compensation_reason = "a note does no harm"
[tool.input]
type = "object"
required = ["queue", "summary", "details", "account"]
additionalProperties = false
properties.queue = { type = "string" }
properties.summary = { type = "string" }
properties.details = { type = "string" }
properties.account = { type = "string" }
[tool.output]
type = "object"
required = ["ticket"]
properties.ticket = { type = "string" }
"#;

const RULE: &str = r#"
@id("notes")
@reason("A note may be left by whoever is logged in")
permit (principal, action == Action::"note_leave", resource)
when { resource.owner == context.customer };
"#;

const DIAL: &str = "\n[[dial]]\nleaf = \"*\"\ntool = \"note_leave\"\nlevel = \"auto\"\nevidence = \"none\"\n\
    reason = \"a note does no harm\"\n";

fn plan() -> String {
    let step = |at: &str, then: &str| {
        format!(
            "[steps.{at}]\ncall = \"note_leave\"\narguments = {{ queue = \"'support'\", summary = \"'{at}'\", details = \"'x'\", \
             account = \"record.id\" }}\ndone = \"{then}\"\n"
        )
    };
    let calls = [step("first", "second"), step("second", "third"), step("third", "end")].concat();
    format!(
        "event = \"noted\"\nsummary = \"leaves three notes\"\nstart = \"single\"\n[steps.single]\nbranch = [{{ when = \
         \"size(records) == 1\", to = \"first\" }}, {{ to = \"end\" }}]\n{calls}[steps.end]\nresolve = \"noted\"\n[[test]]\nname = \
         \"none\"\nexpect = {{ resolve = \"noted\" }}\ngiven = {{ records = [] }}\n"
    )
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
}

async fn bare_calls(bare: &Outbound, stage: &Stage, number: usize) {
    for at in 0..3 {
        let request = Request {
            method: Method::Post,
            url: format!("http://{}/tickets", stage.bank),
            headers: vec![("idempotency-key".to_owned(), format!("bare-{number}-{at}"))],
            json: Some(json!({"queue": "support", "summary": "x", "details": "y", "account": "acc_022"})),
            text: None,
            timeout: Duration::from_secs(3),
            max_bytes: 65_536,
            http2: false,
        };
        assert_eq!(bare.send(request).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_with_three_calls_makes_three_and_its_cost_can_be_measured() {
    let asked_for = std::env::var("PROKURA_OVERHEAD").ok().and_then(|number| number.parse::<usize>().ok());
    let stage = Stage::with_switches(&["slowness=1"]).await;
    let read = |name: &str| std::fs::read_to_string(root().join("config").join(name)).unwrap();
    let files = [
        ("plans/noted.toml", plan()),
        ("tools.toml", read("tools.toml") + TOOL),
        ("rules/notes.cedar", RULE.to_owned()),
        ("autonomy.toml", read("autonomy.toml") + DIAL),
    ];
    let pack = pack_with(&stage.directory.path().join("pack"), &files);
    let state = stage.directory.path().join("measured");
    std::fs::create_dir_all(&state).unwrap();
    let cases = engine_in(stage.bank, &state, &pack, &(Arc::new(SystemClock) as Arc<dyn Clock>));
    let core = Principal::new("core", Role::System);
    let bare = Outbound::new([stage.bank.to_string()]).unwrap();
    let (mut whole, mut calls) = (Vec::new(), Vec::new());
    // One case for a customer, so that each effect is one of its own.
    for number in 100_usize.. {
        if whole.len() == asked_for.unwrap_or(3) {
            break;
        }
        let began = Instant::now();
        let ids = (CaseId::new(ids::fresh("case")), MessageId::new(ids::fresh("msg")));
        let told = Occurrence {
            id: format!("e{number}"),
            kind: "noted".to_owned(),
            customer: CustomerId::new(format!("cus_{number}")),
            channel: "test-app".to_owned(),
            language: Language::De,
        };
        let (case, _) = cases.occurred(ids, &core, told).await.unwrap();
        let state = cases.drive(&case).await.unwrap();
        let took = began.elapsed();
        if state.calls.is_empty() {
            // Several accounts, or none of their own.
            continue;
        }
        whole.push(took);
        assert_eq!((state.status, state.calls.len()), (Status::Resolved, 3), "{}", shown(&state));
        // The same requests alone, in the same minute.
        let began = Instant::now();
        bare_calls(&bare, &stage, number).await;
        calls.push(began.elapsed());
    }
    assert_eq!(stage.effects().len(), 6 * whole.len());
    if asked_for.is_some() {
        whole.sort();
        calls.sort();
        let (all, own) = (quantile(&whole, 0.5), quantile(&calls, 0.5));
        let report = json!({
            "cases": whole.len(), "case_ms": {"p50": all, "p99": quantile(&whole, 0.99)},
            "three_calls_alone_ms": {"p50": own, "p99": quantile(&calls, 0.99)},
            "overhead_ms": all - own, "overhead_share": (all - own) / all,
        });
        let text = serde_json::to_string_pretty(&report).unwrap();
        println!("{text}");
        std::fs::write(root().join("target/overhead.json"), text).unwrap();
    }
}
