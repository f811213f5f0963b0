//! Reads plan files. Every fault is found, not only the first.

use super::Condition;
use super::plan::{Branch, HANDOVER, Look, Plan, PlanFor, PlanKind, Step, StepKind};
use crate::base::Finding;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    leaf: Option<Spanned<String>>,
    event: Option<Spanned<String>>,
    part: Option<Spanned<String>>,
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
struct RawLook {
    name: Spanned<String>,
    call: String,
    #[serde(default)]
    arguments: BTreeMap<String, Spanned<String>>,
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
    parallel: Option<Vec<RawLook>>,
    repeat: Option<String>,
    #[serde(rename = "while")]
    condition: Option<Spanned<String>>,
    most: Option<u32>,
    resolve: Option<Spanned<String>>,
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

/// A loop is not taken more often, and not more is read side by side.
const MOST_TURNS: u32 = 100;
const MOST_LOOKS: usize = 8;

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
        let mut raw: RawPlan =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut reader = Reader { file, text, findings: Vec::new() };
        let named = reader.named(&mut raw);
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
        let Some((kind, name)) = named.filter(|_| reader.findings.is_empty()) else {
            return Err(reader.findings);
        };
        Ok(Self {
            kind,
            name,
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

    /// What the plan is for.
    fn named(&mut self, raw: &mut RawPlan) -> Option<(PlanKind, String)> {
        let given = [
            (PlanKind::Leaf, raw.leaf.take()),
            (PlanKind::Event, raw.event.take()),
            (PlanKind::Part, raw.part.take()),
        ];
        let mut given = given.into_iter().filter_map(|(kind, name)| Some((kind, name?)));
        match (given.next(), given.next()) {
            (Some((kind, name)), None) => Some((kind, name.into_inner())),
            _ => {
                self.fault(0, "a plan must have exactly one of leaf, event, part".to_owned());
                None
            }
        }
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
            ("parallel", raw.parallel.is_some()),
            ("repeat", raw.repeat.is_some()),
            ("resolve", raw.resolve.is_some()),
            ("wait", raw.wait.is_some()),
            ("undo", raw.undo.is_some()),
        ];
        let named: Vec<&str> = kinds.iter().filter(|(_, present)| *present).map(|(kind, _)| *kind).collect();
        let [kind] = named.as_slice() else {
            let message = format!(
                "step `{name}` must have exactly one of branch, call, parallel, ask, reply, wait, undo, repeat, escalate, \
                 plan, resolve; it has {}",
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
            "parallel" => StepKind::Parallel {
                calls: self.looks(name, offset, raw.parallel?)?,
                then: self.need(name, offset, kind, "then", raw.then)?,
                failed: raw.failed,
            },
            "repeat" => {
                let condition = self.need(name, offset, kind, "while", raw.condition)?;
                let most = self.need(name, offset, kind, "most", raw.most)?;
                if !(1..=MOST_TURNS).contains(&most) {
                    let message =
                        format!("step `{name}`: `most` cannot be {most}; allowed: 1 to {MOST_TURNS}");
                    self.fault(offset, message);
                }
                StepKind::Repeat {
                    body: raw.repeat?,
                    condition: self.condition(&condition)?,
                    most,
                    then: self.need(name, offset, kind, "then", raw.then)?,
                }
            }
            "resolve" => StepKind::Resolve(self.outcome(name, raw.resolve?)?),
            _ => StepKind::Plan { name: raw.plan.unwrap_or_default(), then: raw.then },
        })
    }

    fn looks(&mut self, step: &str, offset: usize, raw: Vec<RawLook>) -> Option<Vec<Look>> {
        if !(2..=MOST_LOOKS).contains(&raw.len()) {
            let message = format!(
                "step `{step}`: `parallel` must list 2 to {MOST_LOOKS} calls; it lists {}",
                raw.len()
            );
            self.fault(offset, message);
            return None;
        }
        let look = |look: RawLook| Look {
            arguments: self.conditions(look.arguments),
            name: look.name.into_inner(),
            tool: look.call,
        };
        Some(raw.into_iter().map(look).collect())
    }

    /// What came of it, in one word.
    fn outcome(&mut self, step: &str, given: Spanned<String>) -> Option<String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let fits = (1..=64).contains(&given.get_ref().len()) && given.get_ref().chars().all(word);
        if !fits {
            let message = format!(
                "step `{step}`: `resolve` cannot be `{}`; allowed: one word of up to 64 letters, digits, `_` and `-` that \
                 says what came of it",
                given.get_ref()
            );
            self.fault(given.span().start, message);
        }
        fits.then(|| given.into_inner())
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
            ("then", raw.then.is_some(), "ask reply wait undo plan parallel repeat"),
            ("while", raw.condition.is_some(), "repeat"),
            ("most", raw.most.is_some(), "repeat"),
            ("event", raw.event.is_some(), "wait"),
            ("arrived", raw.arrived.is_some() && raw.event.is_some(), "wait"),
            // Without an event nothing arrives.
            ("arrived", raw.arrived.is_some() && raw.event.is_none(), "wait-with-`event`"),
            ("done", raw.done.is_some(), "call"),
            ("refused", raw.refused.is_some(), "call"),
            ("failed", raw.failed.is_some(), "call parallel"),
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
