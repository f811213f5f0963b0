//! Tools that only read: a plan goes on with what they say, and one customer's reading stands in nobody's way.

use crate::stage::{Stage, engine_in, incoming, pack_with, shown, text, verified};
use prokura::base::{CaseId, Clock, SystemClock, ids};
use prokura::cases::Status;
use std::sync::Arc;

const PLAN: &str = r#"
leaf = "balance"
summary = "asks the bank once more"
start = "single"
[steps.single]
branch = [{ when = "size(records) == 1", to = "look" }, { to = "down" }]
[steps.look]
call = "account_tell"
arguments = { account = "record.id" }
done = "said"
failed = "down"
[steps.said]
branch = [
    { when = "calls.look.stale", to = "down" },
    { when = "calls.look.result.status == 'active'", to = "tell" },
    { to = "down" },
]
[steps.tell]
reply = "balance"
[steps.down]
escalate = "support"
reason = "down"
[[test]]
name = "what the bank said an hour ago is not told"
from = "said"
expect = { escalate = "support", reason = "down" }
[test.given]
calls = { look = { outcome = "done", stale = true, result = { status = "active" } } }
[[test]]
name = "what it says now is"
from = "said"
expect = { reply = "balance" }
[test.given]
calls = { look = { outcome = "done", stale = false, result = { status = "active" } } }
"#;

const TOOL: &str = r#"
[[tool]]
name = "account_tell"
purpose = "Tell the state of an account"
system = "core_bank"
method = "GET"
path = "/accounts/{account}"
timeout_ms = 1500
retries = 1
on_ambiguous = "human"
scope = "accounts:read"
risk = "read"
stale_ms = 60000
compensation = "none"
compensation_reason = "it changes nothing"
[tool.input]
type = "object"
required = ["account"]
additionalProperties = false
properties.account = { type = "string", pattern = "^[A-Za-z0-9_-]{1,64}$" }
[tool.output]
type = "object"
required = ["status"]
"#;

const RULE: &str = r#"
@id("tools-may-look")
@reason("What a customer may read, a tool may read for them")
permit (principal, action in Action::"read", resource is Record);
"#;

const DIAL: &str = "\n[[dial]]\nleaf = \"balance\"\ntool = \"account_tell\"\nlevel = \"auto\"\nevidence = \"none\"\n\
    reason = \"it only reads\"\n";

#[tokio::test]
async fn the_same_may_be_read_in_every_case() {
    let stage = Stage::new().await;
    let read = |name: &str| std::fs::read_to_string(crate::stage::root().join("config").join(name)).unwrap();
    let files = [
        ("plans/balance.toml", PLAN.to_owned()),
        ("tools.toml", read("tools.toml") + TOOL),
        ("rules/reads.cedar", RULE.to_owned()),
        ("autonomy.toml", read("autonomy.toml") + DIAL),
    ];
    let pack = pack_with(&stage.directory.path().join("pack"), &files);
    let state = stage.directory.path().join("reads");
    std::fs::create_dir_all(&state).unwrap();
    let cases = engine_in(stage.bank, &state, &pack, &(Arc::new(SystemClock) as Arc<dyn Clock>));
    for _ in 0..2 {
        let case = CaseId::new(ids::fresh("case"));
        let asked = incoming(case, "Wie viel Geld habe ich auf dem Konto?", verified("cus_022"));
        let case = cases.accept(asked).await.unwrap();
        let state = cases.drive(&case).await.unwrap();
        assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
        assert!(text(&state).contains("1.234,50 €"), "{}", text(&state));
        assert_eq!(state.calls[0].tool, "account_tell");
    }
}
