//! The plan language: a plan is data, a set of named steps for one leaf.

use super::Condition;
use crate::base::{Finding, Language};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// The plans of a pack, by leaf.
#[derive(Debug, Default)]
pub struct Plans {
    pub by_leaf: BTreeMap<String, Plan>,
}

/// A document's id as plans name it: without its language.
pub fn bare(document: &str) -> &str {
    let suffix = Language::ALL.into_iter().find_map(|l| document.strip_suffix(&format!("-{l}")));
    suffix.unwrap_or(document)
}

impl Plans {
    /// The leaves whose plans rest on a document, named with its language or without.
    pub fn citing(&self, document: &str) -> Vec<String> {
        let document = bare(document);
        let resting = |plan: &Plan| plan.documents.iter().any(|id| id == document);
        self.by_leaf.iter().filter(|(_, plan)| resting(plan)).map(|(leaf, _)| leaf.clone()).collect()
    }
}

/// One plan file.
#[derive(Debug)]
pub struct Plan {
    pub leaf: String,
    pub file: String,
    pub summary: String,
    pub audience: PlanFor,
    pub start: String,
    /// The policy documents that this plan rests on, without their language suffix.
    pub documents: Vec<String>,
    /// The question put to the policy search, by language code.
    pub question: BTreeMap<String, String>,
    /// Named values, in order; a later one may use an earlier one.
    pub bindings: Vec<(String, Condition, usize)>,
    pub steps: BTreeMap<String, Step>,
    pub trials: Vec<super::Trial>,
    /// Digest of the file's text.
    pub digest: crate::base::Digest,
}

/// For whom a plan runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanFor {
    /// Only for a verified customer; everybody else gets the uniform answer.
    Verified,
    /// For every sender. Such a plan cannot see records.
    Anyone,
}

#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub kind: StepKind,
}

#[derive(Debug)]
pub enum StepKind {
    /// The first branch whose condition is true; the last one may have none.
    Branch(Vec<Branch>),
    /// A tool call. `refused`, `failed` and `declined` default to the hand-over.
    Call {
        tool: String,
        arguments: BTreeMap<String, Condition>,
        done: String,
        refused: Option<String>,
        failed: Option<String>,
        declined: Option<String>,
    },
    /// A question to the customer. When the answer has come the plan goes on at `then`, with new facts.
    Ask { template: String, with: BTreeMap<String, Condition>, then: String, limit: u32 },
    /// A text to the customer; without `then` the case is resolved by it.
    Reply { template: String, with: BTreeMap<String, Condition>, cite: Vec<String>, then: Option<String> },
    /// Nothing is done until a time is over; `then` follows. An event of another system, if one is named, ends the wait
    /// earlier, and `arrived` follows, or `then` where that is not given.
    Wait { milliseconds: i64, event: Option<String>, then: String, arrived: Option<String> },
    /// Undoes what was done for this concern, the last first: the calls of these steps, or all.
    Undo { calls: Option<Vec<String>>, then: String },
    /// To a human, with everything found. The customer's text is the same for every reason.
    Escalate { queue: String, reason: String, template: String },
    /// Goes on in another leaf's plan and does not come back.
    Plan(String),
}

#[derive(Debug)]
pub struct Branch {
    pub when: Option<Condition>,
    pub to: String,
    pub line: usize,
}

/// The hand-over text that every escalation uses when a plan names none.
pub const HANDOVER: &str = "handover";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    leaf: Spanned<String>,
    summary: String,
    #[serde(rename = "for", default = "verified")]
    audience: PlanFor,
    start: Spanned<String>,
    #[serde(default)]
    policy: RawPolicy,
    #[serde(default, rename = "let")]
    bindings: Vec<RawBinding>,
    steps: BTreeMap<String, Spanned<RawStep>>,
    #[serde(default, rename = "test")]
    trials: Vec<Spanned<super::trial::RawTrial>>,
}

fn verified() -> PlanFor {
    PlanFor::Verified
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(default)]
    documents: Vec<String>,
    #[serde(default)]
    question: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBinding {
    name: Spanned<String>,
    value: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBranch {
    when: Option<Spanned<String>>,
    to: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    branch: Option<Vec<RawBranch>>,
    call: Option<String>,
    ask: Option<String>,
    reply: Option<String>,
    escalate: Option<String>,
    plan: Option<String>,
    wait: Option<Spanned<String>>,
    undo: Option<Spanned<toml::Value>>,
    event: Option<String>,
    arrived: Option<String>,
    #[serde(default)]
    arguments: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    with: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    cite: Vec<String>,
    then: Option<String>,
    done: Option<String>,
    refused: Option<String>,
    failed: Option<String>,
    declined: Option<String>,
    reason: Option<String>,
    template: Option<String>,
    limit: Option<u32>,
}

/// The longest wait: a year.
const LONGEST: i64 = 366 * 86_400_000;

/// `90s`, `15m`, `24h`, `14d`, in milliseconds.
fn duration(text: &str) -> Option<i64> {
    let units = [('s', 1000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let (_, milliseconds) = units.into_iter().find(|(letter, _)| unit.starts_with(*letter))?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let whole: i64 = number.parse().ok().filter(|_| digits)?;
    whole.checked_mul(milliseconds).filter(|waited| (1..=LONGEST).contains(waited))
}

impl Plan {
    /// Parses one plan file. Every fault found is reported, not only the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let raw: RawPlan =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut reader = Reader { file, text, findings: Vec::new() };
        let bindings = raw
            .bindings
            .into_iter()
            .filter_map(|binding| {
                let line = reader.line(binding.name.span().start);
                Some((binding.name.into_inner(), reader.condition(&binding.value)?, line))
            })
            .collect();
        let mut steps = BTreeMap::new();
        for (name, step) in raw.steps {
            let offset = step.span().start;
            if let Some(kind) = reader.step(&name, offset, step.into_inner()) {
                steps.insert(name, Step { line: reader.line(offset), kind });
            }
        }
        let trials = raw
            .trials
            .into_iter()
            .map(|trial| {
                let line = reader.line(trial.span().start);
                super::Trial::from_raw(trial.into_inner(), line)
            })
            .collect();
        if !reader.findings.is_empty() {
            return Err(reader.findings);
        }
        Ok(Self {
            leaf: raw.leaf.into_inner(),
            file: file.to_owned(),
            summary: raw.summary,
            audience: raw.audience,
            start: raw.start.into_inner(),
            documents: raw.policy.documents,
            question: raw.policy.question,
            bindings,
            steps,
            trials,
            digest: crate::base::Digest::of(text.as_bytes()),
        })
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        crate::base::finding::line_of(self.text, offset)
    }

    fn fault(&mut self, offset: usize, message: String) {
        self.findings.push(Finding::at(self.file, self.text, offset, message));
    }

    fn condition(&mut self, source: &Spanned<String>) -> Option<Condition> {
        match Condition::compile(source.get_ref()) {
            Ok(condition) => Some(condition),
            Err(reason) => {
                let message = format!("condition `{}` is not CEL: {reason}", source.get_ref());
                self.fault(source.span().start, message);
                None
            }
        }
    }

    fn conditions(&mut self, sources: BTreeMap<String, Spanned<String>>) -> BTreeMap<String, Condition> {
        sources.into_iter().filter_map(|(name, source)| Some((name, self.condition(&source)?))).collect()
    }

    fn step(&mut self, name: &str, offset: usize, raw: RawStep) -> Option<StepKind> {
        let kinds = [
            ("branch", raw.branch.is_some()),
            ("call", raw.call.is_some()),
            ("ask", raw.ask.is_some()),
            ("reply", raw.reply.is_some()),
            ("escalate", raw.escalate.is_some()),
            ("plan", raw.plan.is_some()),
            ("wait", raw.wait.is_some()),
            ("undo", raw.undo.is_some()),
        ];
        let named: Vec<&str> = kinds.iter().filter(|(_, present)| *present).map(|(kind, _)| *kind).collect();
        let [kind] = named.as_slice() else {
            let message = format!(
                "step `{name}` must have exactly one of branch, call, ask, reply, wait, undo, escalate, plan; it \
                 has {}",
                if named.is_empty() { "none".to_owned() } else { named.join(", ") }
            );
            self.fault(offset, message);
            return None;
        };
        let kind = *kind;
        self.check_keys(name, offset, kind, &raw);
        self.kind(name, offset, kind, raw)
    }

    /// A key that the kind cannot do without.
    fn need<T>(&mut self, name: &str, offset: usize, kind: &str, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(offset, format!("step `{name}` ({kind}) needs `{key}`"));
        }
        value
    }

    fn kind(&mut self, name: &str, offset: usize, kind: &str, raw: RawStep) -> Option<StepKind> {
        Some(match kind {
            "branch" => StepKind::Branch(self.branches(name, offset, raw.branch.unwrap_or_default())),
            "call" => StepKind::Call {
                tool: raw.call.unwrap_or_default(),
                arguments: self.conditions(raw.arguments),
                done: self.need(name, offset, kind, "done", raw.done)?,
                refused: raw.refused,
                failed: raw.failed,
                declined: raw.declined,
            },
            "ask" => StepKind::Ask {
                template: raw.ask.unwrap_or_default(),
                with: self.conditions(raw.with),
                then: self.need(name, offset, kind, "then", raw.then)?,
                limit: raw.limit.unwrap_or(2),
            },
            "reply" => StepKind::Reply {
                template: raw.reply.unwrap_or_default(),
                with: self.conditions(raw.with),
                cite: raw.cite,
                then: raw.then,
            },
            "escalate" => StepKind::Escalate {
                queue: raw.escalate.unwrap_or_default(),
                reason: self.need(name, offset, kind, "reason", raw.reason)?,
                template: raw.template.unwrap_or_else(|| HANDOVER.to_owned()),
            },
            "wait" => StepKind::Wait {
                milliseconds: self.duration(name, raw.wait?)?,
                event: self.event(name, offset, raw.event),
                then: self.need(name, offset, kind, "then", raw.then)?,
                arrived: raw.arrived,
            },
            "undo" => StepKind::Undo {
                calls: self.undone(name, &raw.undo?)?,
                then: self.need(name, offset, kind, "then", raw.then)?,
            },
            _ => StepKind::Plan(raw.plan.unwrap_or_default()),
        })
    }

    /// As `POST /v1/events` takes them.
    fn event(&mut self, name: &str, offset: usize, given: Option<String>) -> Option<String> {
        let fits = |event: &String| {
            (1..=200).contains(&event.len()) && event.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if given.as_ref().is_some_and(|event| !fits(event)) {
            let message =
                format!("step `{name}`: `event` must be 1 to 200 visible characters of ASCII without blanks");
            self.fault(offset, message);
        }
        given
    }

    /// `"all"` is `None`.
    fn undone(&mut self, name: &str, given: &Spanned<toml::Value>) -> Option<Option<Vec<String>>> {
        let listed = |steps: &[toml::Value]| {
            steps.iter().map(|step| step.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        };
        let understood = match given.get_ref() {
            toml::Value::String(all) if all == "all" => Some(None),
            toml::Value::Array(steps) => listed(steps).filter(|steps| !steps.is_empty()).map(Some),
            _ => None,
        };
        if understood.is_none() {
            let message =
                format!("step `{name}`: `undo` must be \"all\", or a list of steps that call something");
            self.fault(given.span().start, message);
        }
        understood
    }

    fn duration(&mut self, name: &str, given: Spanned<String>) -> Option<i64> {
        let milliseconds = duration(given.get_ref());
        if milliseconds.is_none() {
            let message = format!(
                "step `{name}`: `wait` cannot be `{}`; allowed: a whole number and s, m, h or d, up to a year, such as 24h",
                given.get_ref()
            );
            self.fault(given.span().start, message);
        }
        milliseconds
    }

    fn branches(&mut self, name: &str, offset: usize, raw: Vec<RawBranch>) -> Vec<Branch> {
        let last = raw.len().saturating_sub(1);
        if raw.last().is_none_or(|branch| branch.when.is_some()) {
            let message = format!(
                "step `{name}` (branch) must end with a branch without `when`, taken when no other is"
            );
            self.fault(offset, message);
        }
        raw.into_iter()
            .enumerate()
            .map(|(i, branch)| {
                let at = branch.to.span().start;
                if branch.when.is_none() && i < last {
                    self.fault(
                        at,
                        format!("step `{name}`: what follows a branch without `when` is never reached"),
                    );
                }
                let when = branch.when.as_ref().and_then(|source| self.condition(source));
                Branch { when, to: branch.to.into_inner(), line: self.line(at) }
            })
            .collect()
    }

    /// A key that the step's kind does not use is a mistake, not an extra.
    fn check_keys(&mut self, name: &str, offset: usize, kind: &str, raw: &RawStep) {
        let used = [
            ("arguments", !raw.arguments.is_empty(), "call"),
            ("with", !raw.with.is_empty(), "ask reply"),
            ("cite", !raw.cite.is_empty(), "reply"),
            ("then", raw.then.is_some(), "ask reply wait undo"),
            ("event", raw.event.is_some(), "wait"),
            ("arrived", raw.arrived.is_some() && raw.event.is_some(), "wait"),
            // Without an event nothing arrives.
            ("arrived", raw.arrived.is_some() && raw.event.is_none(), "wait-with-`event`"),
            ("done", raw.done.is_some(), "call"),
            ("refused", raw.refused.is_some(), "call"),
            ("failed", raw.failed.is_some(), "call"),
            ("declined", raw.declined.is_some(), "call"),
            ("reason", raw.reason.is_some(), "escalate"),
            ("template", raw.template.is_some(), "escalate"),
            ("limit", raw.limit.is_some(), "ask"),
        ];
        for (key, present, kinds) in used {
            if present && !kinds.split(' ').any(|allowed| allowed == kind) {
                self.fault(
                    offset,
                    format!("step `{name}` ({kind}) has `{key}`, which belongs to {kinds}; remove it"),
                );
            }
        }
    }
}

impl StepKind {
    /// The steps of the same plan that may follow.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::Branch(branches) => branches.iter().map(|branch| branch.to.as_str()).collect(),
            Self::Call { done, refused, failed, declined, .. } => {
                let optional = [refused, failed, declined];
                std::iter::once(done.as_str())
                    .chain(optional.into_iter().filter_map(|step| step.as_deref()))
                    .collect()
            }
            Self::Ask { then, .. } => vec![then],
            Self::Reply { then, .. } => then.as_deref().into_iter().collect(),
            Self::Wait { then, arrived, .. } => {
                std::iter::once(then.as_str()).chain(arrived.as_deref()).collect()
            }
            Self::Undo { then, .. } => vec![then],
            Self::Escalate { .. } | Self::Plan(_) => vec![],
        }
    }
}
