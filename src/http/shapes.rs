//! The shapes of answers, for the document. Most are serialised by other rooms, as plain JSON; the tests
//! below hold these descriptions to what is really sent.
#![expect(dead_code, reason = "descriptions of JSON that other rooms make are read by the derive alone")]

pub mod autonomy;
pub mod policies;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Alive {
    #[schema(value_type = String)]
    pub status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready` or `not_ready`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Empty when ready.
    pub faults: Vec<Fault>,
}

/// Why the service is not ready.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Fault {
    pub component: String,
    pub reason: String,
    pub remedy: String,
}

/// A channel sees `waiting_approval` and `stuck` as `with_human`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    Running,
    Resolved,
    WaitingCustomer,
    WaitingApproval,
    WaitingEvent,
    WithHuman,
    Closed,
    Stuck,
}

impl CaseStatus {
    const ALL: [crate::cases::Status; 8] = {
        use crate::cases::Status as S;
        [
            S::Running,
            S::Resolved,
            S::WaitingCustomer,
            S::WaitingApproval,
            S::WaitingEvent,
            S::WithHuman,
            S::Closed,
            S::Stuck,
        ]
    };

    pub const fn as_str(self) -> &'static str {
        use crate::cases::Status as S;
        match self {
            Self::Running => S::Running.as_str(),
            Self::Resolved => S::Resolved.as_str(),
            Self::WaitingCustomer => S::WaitingCustomer.as_str(),
            Self::WaitingApproval => S::WaitingApproval.as_str(),
            Self::WaitingEvent => S::WaitingEvent.as_str(),
            Self::WithHuman => S::WithHuman.as_str(),
            Self::Closed => S::Closed.as_str(),
            Self::Stuck => S::Stuck.as_str(),
        }
    }

    pub fn names() -> String {
        Self::ALL.map(crate::cases::Status::as_str).join(", ")
    }
}

/// One case. A channel gets `case`, `status` and `reply`; staff gets every field.
#[derive(ToSchema)]
pub struct CaseView {
    case: String,
    status: CaseStatus,
    /// The latest answer to the customer; null before the first, and for a channel when it was made for
    /// another sender than the one who wrote last.
    #[schema(required = true)]
    reply: Option<Reply>,
    #[schema(format = DateTime)]
    opened_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    messages: Option<Vec<Value>>,
    reading: Option<Reading>,
    facts: Option<Facts>,
    grounds: Option<Grounds>,
    plan: Option<PlanWalked>,
    /// Plans of other concerns that were suggested where the concern has none: where each leads, and why.
    proposals: Option<Vec<Value>>,
    decisions: Option<Vec<Decision>>,
    calls: Option<Vec<Call>>,
    /// `request` and `votes`.
    approval: Option<Value>,
    /// The step of the plan that waits, until when, and for what event.
    waiting: Option<Value>,
    /// The person who took the case over.
    held_by: Option<String>,
    /// Why the case is stuck.
    stuck: Option<String>,
    escalation: Option<Escalation>,
}

#[derive(ToSchema)]
struct Reply {
    #[schema(pattern = "^(de|en)$")]
    language: String,
    text: String,
    citations: Vec<Citation>,
}

#[derive(ToSchema)]
struct Citation {
    document: String,
    version: String,
    section: Vec<String>,
}

#[derive(ToSchema)]
struct PlanWalked {
    /// The plan that was proposed, where the leaf has none.
    proposed: Option<String>,
    leaf: String,
    /// The steps that were taken.
    path: Vec<String>,
    #[schema(required = true)]
    digest: Option<String>,
}

#[derive(ToSchema)]
struct Decision {
    tool: String,
    /// `permit`, `ask` or `refuse`.
    verdict: String,
    /// The ids of the rules that determined it.
    policies: Vec<String>,
    reason: String,
    call: String,
}

#[derive(ToSchema)]
struct Call {
    tool: String,
    /// The idempotency key that the tool was sent.
    key: String,
    record: Option<String>,
    /// `intended`, `done`, `failed`, `ambiguous` or `compensated`.
    outcome: String,
    result: Option<Value>,
    /// The system failed, and the result is what it said before.
    stale: bool,
    reason: Option<String>,
}

#[derive(ToSchema)]
struct Escalation {
    queue: String,
    reason: String,
    summary: Vec<String>,
    /// Everything that was found.
    investigation: Value,
}

/// What a text says. Offsets are characters (Unicode scalar values) of the text as sent; probabilities are
/// calibrated.
#[derive(ToSchema)]
pub struct Reading {
    id: String,
    #[schema(pattern = "^(de|en)$")]
    language: String,
    /// One for each concern, in the order of the text.
    intents: Vec<Intent>,
    /// Leaves that cannot be excluded.
    prediction_set: Vec<String>,
    out_of_scope: f64,
    /// The text is longer than the models read; its end was not read.
    truncated: bool,
    /// Group, then field.
    fields: BTreeMap<String, BTreeMap<String, Vec<Extracted>>>,
    tone: Tone,
    /// All leaves of at least one percent.
    leaves: Vec<LeafProbability>,
    /// `model`: the bundle.
    digests: BTreeMap<String, String>,
    /// There where it was asked for.
    explanation: Option<Explanation>,
}

/// Which words drove each intent (integrated gradients), and what found each value.
#[derive(ToSchema)]
struct Explanation {
    /// One for each intent, in its order.
    intents: Vec<Drivers>,
    /// One for each value, in the order of the text.
    values: Vec<Origin>,
    /// Labelled lines nearest to the text; empty where the settings name none.
    lines: Vec<NearLine>,
}

#[derive(ToSchema)]
struct NearLine {
    leaf: String,
    text: String,
    /// Cosine, -1 to 1.
    similarity: f64,
}

#[derive(ToSchema)]
struct Drivers {
    leaf: String,
    /// Log-odds of the leaf, natural logarithm.
    score: f64,
    /// The same with every word hidden.
    hidden: f64,
    words: Vec<Driver>,
    /// What it adds that readings are taken in eight bits; no word's doing.
    rounding: f64,
    /// What the words' parts and `rounding` miss of `score - hidden`, as a share of it.
    gap: f64,
}

#[derive(ToSchema)]
struct Driver {
    text: String,
    start: usize,
    end: usize,
    /// What the word adds to the score; below zero where it speaks against the leaf.
    adds: f64,
}

#[derive(ToSchema)]
struct Origin {
    field: String,
    text: String,
    start: usize,
    end: usize,
    /// `recogniser: <field>`, `head: <group>`, or both.
    found_by: Vec<String>,
}

#[derive(ToSchema)]
struct Intent {
    leaf: String,
    probability: f64,
    #[schema(min_items = 2, max_items = 2)]
    span: Vec<usize>,
    parents: Vec<ParentProbability>,
    /// Values that belong to this concern, by field.
    fields: BTreeMap<String, Vec<String>>,
}

#[derive(ToSchema)]
struct ParentProbability {
    parent: String,
    probability: f64,
}

#[derive(ToSchema)]
struct LeafProbability {
    leaf: String,
    probability: f64,
}

#[derive(ToSchema)]
struct Extracted {
    text: String,
    start: usize,
    end: usize,
    probability: f64,
    /// Ways in which a reference may have been meant.
    variants: Vec<String>,
}

#[derive(ToSchema)]
struct Tone {
    /// `low`, `normal` or `high`.
    urgency: Labelled,
    /// `negative`, `neutral` or `positive`.
    sentiment: Labelled,
    wants_human: f64,
}

#[derive(ToSchema)]
struct Labelled {
    label: String,
    probability: f64,
}

/// The look-up: the whole scored list, best first.
#[derive(ToSchema)]
struct Facts {
    id: String,
    candidates: Vec<Candidate>,
    selected: Vec<String>,
    sources: Vec<SourceReport>,
    /// What to ask where several records are selected.
    ask: Option<Ask>,
    /// The verified customer as all sources have them, where `person` of lookup.toml says what describes a person.
    customer: Option<Customer>,
    /// `values`: the message's values selected; `identity`: the verified customer's own records.
    basis: String,
    /// Data of the selected records that belong to the verified customer.
    records: Vec<Value>,
}

/// The field whose answer is expected to tell most; no value of any record.
#[derive(ToSchema)]
struct Ask {
    field: String,
    count: usize,
    bits: f64,
}

#[derive(ToSchema)]
struct Customer {
    id: String,
    /// By field every value, with the sources and records that have it.
    values: BTreeMap<String, Vec<Known>>,
    /// Fields in which sources disagree.
    conflicts: Vec<String>,
}

#[derive(ToSchema)]
struct Known {
    value: Value,
    sources: Vec<RecordOrigin>,
}

#[derive(ToSchema)]
struct RecordOrigin {
    source: String,
    record: String,
}

#[derive(ToSchema)]
struct Candidate {
    id: String,
    /// Points, or bits where weights are estimated.
    score: f64,
    matched: Vec<Match>,
    /// Where a customer is looked for: their records that were compared.
    records: Option<Vec<RecordOrigin>>,
    /// Where a customer is looked for: fields in which one source agrees with what was said and another does not.
    conflicts: Option<Vec<String>>,
    /// Fields that speak against it, where weights are estimated.
    against: Option<Vec<Match>>,
    /// That this is the record which was meant, where weights are estimated.
    probability: Option<f64>,
    /// Every field in words with its weight, where weights are estimated.
    explanation: Option<String>,
}

#[derive(ToSchema)]
struct Match {
    field: String,
    /// What was said.
    value: String,
    weight: f64,
    /// How it agrees with the record, where weights are estimated.
    agreement: Option<String>,
    /// Where a customer is looked for: whose record agrees.
    source: Option<String>,
}

#[derive(ToSchema)]
struct SourceReport {
    name: String,
    /// `answered`, `partial`, `timed_out`, `refused`, `garbage`, `left_alone` (it failed too often in a row) or `stale`
    /// (it failed, and what it said at `cached_at` stands in).
    status: String,
    milliseconds: f64,
    /// When the oldest list that was used was fetched, where one came from a cache.
    #[schema(format = DateTime)]
    cached_at: Option<String>,
}

/// Passages found, best first.
#[derive(ToSchema)]
pub struct Grounds {
    id: String,
    passages: Vec<Passage>,
    answerable: f64,
    /// False: no passage answers this.
    answered: bool,
    generation: String,
}

#[derive(ToSchema)]
struct Passage {
    document: String,
    version: String,
    title: String,
    #[schema(pattern = "^(de|en)$")]
    language: String,
    section: Vec<String>,
    text: String,
    start: usize,
    end: usize,
    #[schema(required = true)]
    page: Option<u32>,
    audience: Seen,
    score: f64,
    /// What of the text answers; absent where the search compares words alone.
    sentences: Option<Vec<Sentence>>,
}

/// Exactly the characters `start..end` of the document's body.
#[derive(ToSchema)]
struct Sentence {
    text: String,
    start: usize,
    end: usize,
}

/// Whom a document is for: `public`, `internal`, or names of roles with commas between them.
#[derive(ToSchema)]
#[schema(value_type = String)]
pub struct Seen(#[expect(dead_code, reason = "its form alone is told")] String);

#[derive(ToSchema)]
pub struct CaseList {
    cases: Vec<CaseLine>,
}

#[derive(ToSchema)]
struct CaseLine {
    case: String,
    status: CaseStatus,
    #[schema(format = DateTime)]
    updated_at: String,
    events: u64,
}

#[derive(ToSchema)]
pub struct Trace {
    case: String,
    events: Vec<TraceStep>,
}

#[derive(ToSchema)]
struct TraceStep {
    seq: u64,
    /// In the whole log, from 1.
    #[schema(required = true)]
    position: Option<u64>,
    event: String,
    #[schema(format = DateTime)]
    at: String,
    milliseconds_since_previous: i64,
    /// What was in force.
    digests: BTreeMap<String, String>,
    /// Chained to the entry before it in the log.
    hash: String,
    body: Value,
}

#[derive(ToSchema)]
pub struct Stops {
    stops: Vec<StopInForce>,
}

#[derive(ToSchema)]
struct StopInForce {
    /// A tool, a leaf, or `all`.
    what: String,
    by: String,
    #[schema(required = true)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    at: String,
    /// Who wants to start it again, and waits for a second person.
    #[schema(required = true)]
    starting: Option<String>,
}

#[derive(ToSchema)]
pub struct Noticed {
    case: String,
    outcome: NoticeOutcome,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum NoticeOutcome {
    /// The case waited for it and goes on.
    Taken,
    /// A case was opened for it.
    Opened,
    /// The case does not wait for it, or not any more.
    NotAwaited,
    /// It came before.
    Duplicate,
}

#[derive(ToSchema)]
pub struct Approvals {
    approvals: Vec<WaitingApproval>,
}

#[derive(ToSchema)]
struct WaitingApproval {
    request: ApprovalRequest,
    votes: Vec<Value>,
    case: String,
    leaf: String,
    path: Vec<String>,
    /// The plan that was proposed, and why, where the leaf has none.
    proposal: Option<Value>,
    tool: String,
    arguments: Value,
    record: Value,
    summary: Vec<String>,
    /// What the customer has written since.
    since: Vec<String>,
}

#[derive(ToSchema)]
struct ApprovalRequest {
    id: String,
    call: String,
    /// Digest of everything that is shown.
    binding: String,
    /// How many different people must approve.
    needed: u32,
    /// Whether one of them must have the role `security`; left out when not.
    security: Option<bool>,
    /// The role to which it was delegated, and whose holders alone decide; left out when not.
    delegated: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(ToSchema)]
pub struct Handover {
    case: String,
    status: String,
    held_by: Option<String>,
    summary: Vec<String>,
    identity: Value,
    messages: Vec<Value>,
    reading: Value,
    facts: Value,
    passages: Vec<Value>,
    /// Plans of other concerns that were suggested where the concern has none: where each leads, and why.
    proposals: Vec<Value>,
    /// What was tried, with what the rules said and what came of it.
    steps: Vec<Value>,
    replies: Vec<Value>,
    /// Where and why the machine stopped.
    stopped: Value,
    /// The next move: `action`, at which `step`, and `why`.
    proposed: Value,
    /// The steps at which the case can be given back.
    goes_on_at: Vec<String>,
}

#[derive(ToSchema)]
pub struct ToolList {
    tools: Vec<Tool>,
}

#[derive(ToSchema)]
struct Tool {
    name: String,
    purpose: String,
    system: String,
    path: String,
    scope: String,
    /// `read`, `protective`, `reversible`, `money` or `irreversible`.
    risk: String,
    /// Of a tool that may be called with one currency alone.
    limit: Option<Value>,
    /// One amount for each currency; empty: no limit.
    limits: Vec<Value>,
    /// It gives access to an account or a card back.
    restores_access: bool,
    /// Arguments that are not of weight.
    free: Vec<String>,
    /// `closed`, `open` (nothing is sent to the system for a while) or `half_open` (a few try), on the node that answers.
    breaker: String,
    /// Requests that are under way, on the node that answers.
    in_flight: usize,
    /// So many may be.
    parallel: usize,
    /// So old may be what stands in when the system fails; 0: nothing does.
    stale_ms: u64,
    idempotency_window_seconds: Option<u64>,
    timeout_ms: u64,
    retries: u32,
    /// `query`, `retry` or `human`.
    on_ambiguous: String,
    /// `tool`, or `none` with the reason.
    compensation: Value,
    /// JSON schema of the arguments.
    input: Value,
    /// JSON schema of the result.
    output: Value,
}

#[derive(ToSchema)]
pub struct RulesInForce {
    digest: String,
    /// How many there are.
    policies: usize,
}

#[derive(ToSchema)]
pub struct ModelsInForce {
    /// Of the bundle that reads.
    digest: String,
    installed: Vec<InstalledModel>,
    /// What a challenger that reads along has said so far; null where none does.
    shadow: Value,
    /// Why what was promoted last is not what reads; null where it is.
    fault: Option<String>,
}

#[derive(ToSchema)]
struct InstalledModel {
    model: String,
    current: bool,
    shadow: bool,
    bytes: u64,
}

#[derive(ToSchema)]
pub struct Generations {
    generations: Vec<Generation>,
}

#[derive(ToSchema)]
struct Generation {
    generation: String,
    current: bool,
    #[schema(format = DateTime)]
    built_at: String,
    documents: usize,
    passages: usize,
    /// Whose vectors its passages have; null where they are found by their words alone.
    encoder: Option<String>,
    /// Why it cannot be searched, where its manifest is damaged.
    #[schema(required = false)]
    fault: Option<String>,
}

#[derive(ToSchema)]
pub struct Verified {
    intact: bool,
    /// The first place where the log is not what was written.
    #[schema(required = true)]
    damage: Option<Damage>,
    entries: u64,
    /// Entries under the newest checkpoint.
    signed: u64,
    /// Entries that no checkpoint covers yet.
    unsigned: u64,
}

#[derive(ToSchema)]
struct Damage {
    /// From 0.
    index: u64,
    reason: String,
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::base::{CaseId, Digest, Probability, Timestamp};
    use crate::cases::{State, Status, customer_view, staff_view};
    use serde_json::json;
    use std::collections::BTreeSet;
    use utoipa::PartialSchema;

    fn described<T: PartialSchema>() -> (BTreeSet<String>, BTreeSet<String>) {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let keys = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let required = schema["required"].as_array().into_iter().flatten();
        (keys, required.filter_map(|key| key.as_str().map(str::to_owned)).collect())
    }

    /// Every field that is sent is described, and every one that is required is sent.
    pub fn agrees<T: PartialSchema>(sent: &Value) {
        let (keys, required) = described::<T>();
        let sent: BTreeSet<String> = sent.as_object().unwrap().keys().cloned().collect();
        assert!(sent.is_subset(&keys), "not described: {:?}", sent.difference(&keys));
        assert!(required.is_subset(&sent), "not sent: {:?}", required.difference(&sent));
    }

    #[test]
    fn views_are_as_described() {
        let state = State::new(CaseId::new("case_1"));
        agrees::<CaseView>(&customer_view(&state));
        agrees::<CaseView>(&staff_view(&state));
        let (keys, _) = described::<CaseView>();
        let staff: BTreeSet<String> = staff_view(&state).as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, staff);
    }

    #[test]
    fn readings_facts_and_grounds_are_as_described() {
        let probability = json!(0.5);
        let labelled = json!({"label": "low", "probability": probability});
        let reading: crate::understanding::Reading = serde_json::from_value(json!({
            "id": "m1", "language": "de", "prediction_set": [], "out_of_scope": probability, "fields": {},
            "intents": [{"leaf": "a", "probability": probability, "span": [0, 1],
                         "parents": [{"parent": "b", "probability": probability}]}],
            "tone": {"urgency": labelled, "sentiment": labelled, "wants_human": probability},
            "leaves": [{"leaf": "a", "probability": probability}], "digests": {"model": Digest::of(b"m")},
        }))
        .unwrap();
        let reading = serde_json::to_value(reading).unwrap();
        agrees::<Reading>(&reading);
        agrees::<Intent>(&reading["intents"][0]);
        agrees::<Tone>(&reading["tone"]);
        agrees::<Facts>(&serde_json::to_value(crate::records::Facts::default()).unwrap());
        let grounds = crate::policy::Grounds {
            id: "q".into(),
            passages: Vec::new(),
            answerable: Probability::ZERO,
            answered: false,
            generation: Digest::of(b"g"),
        };
        agrees::<Grounds>(&serde_json::to_value(grounds).unwrap());
    }

    #[test]
    fn approvals_and_steps_are_as_described() {
        let request = crate::governance::ApprovalRequest {
            id: crate::base::ApprovalId::new("apr_1"),
            call: crate::base::CallId::new("c"),
            binding: Digest::of(b"b"),
            needed: 1,
            security: true,
            delegated: Some(crate::governance::Role::Security),
            expires_at: Timestamp::from_millis(0),
        };
        agrees::<ApprovalRequest>(&serde_json::to_value(&request).unwrap());
        let pending = crate::cases::PendingApproval {
            request,
            votes: Vec::new(),
            case: CaseId::new("case_1"),
            leaf: String::new(),
            path: Vec::new(),
            tool: String::new(),
            arguments: Value::Null,
            record: Value::Null,
            summary: Vec::new(),
            since: Vec::new(),
            proposal: None,
        };
        agrees::<WaitingApproval>(&serde_json::to_value(pending).unwrap());
        let entry = crate::ledger::Entry {
            stream: "case/case_1".into(),
            seq: 0,
            kind: "received".into(),
            at: Timestamp::from_millis(0),
            digests: Default::default(),
            body: Value::Null,
            hash: Digest::of(b"h"),
            index: None,
        };
        agrees::<TraceStep>(&crate::cases::trace(&[entry])[0]);
    }

    #[test]
    fn a_status_has_one_name() {
        for status in CaseStatus::ALL {
            let parsed: CaseStatus = serde_json::from_value(json!(status)).unwrap();
            assert_eq!(parsed.as_str(), status.as_str());
        }
        assert!(CaseStatus::names().contains(Status::WithHuman.as_str()));
    }
}
