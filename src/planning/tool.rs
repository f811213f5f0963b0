//! What a tool is: its declaration in config/tools.toml. Acting knows how to call one; rules and plans
//! know what it is.

use super::Condition;
use crate::base::finding::line_of;
use crate::base::outbound::Method;
use crate::base::{Auth, BreakerSettings, Finding, Money, RetrySettings};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// All declared tools.
#[derive(Clone, PartialEq, Debug)]
pub struct Tools {
    /// Base URL by the name of the system.
    pub systems: BTreeMap<String, String>,
    /// How each system is told who calls, where its tools do not say otherwise.
    pub auth: BTreeMap<String, Auth>,
    /// When a failing system is left alone.
    pub breaker: BreakerSettings,
    /// How much may be tried again.
    pub retry_budget: RetrySettings,
    pub by_name: BTreeMap<String, ToolDeclaration>,
}

/// One tool. The fields are explained in config/tools.toml.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolDeclaration {
    pub name: String,
    pub purpose: String,
    pub system: String,
    pub method: Method,
    /// Path with `{argument}` places.
    pub path: String,
    pub idempotency: Option<Idempotency>,
    pub timeout_ms: u64,
    pub retries: u32,
    pub on_ambiguous: OnAmbiguous,
    pub query: Option<QueryByKey>,
    pub scope: String,
    pub risk: Risk,
    /// Whether it opens an account or a card again, which rules treat like money.
    pub restores_access: bool,
    pub compensation: Compensation,
    /// How the compensation is called; there if it is a tool.
    pub undo: Option<Undo>,
    /// No call above the amount of its currency, whatever else permits it, and none in another currency; empty: no
    /// limit.
    pub limits: Vec<Money>,
    /// Arguments that are not of weight: text of anybody may become them.
    pub free: BTreeSet<String>,
    /// So many requests at the same time.
    pub parallel: usize,
    /// An answer that is not older may stand in when the system fails; 0: never.
    pub stale_ms: u64,
    /// In the place of the system's.
    pub auth: Option<Auth>,
    /// JSON schemas.
    pub input: Value,
    pub output: Value,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    pub header: String,
    /// How long the system remembers a key.
    pub window_seconds: u64,
}

/// What settles a call whose answer did not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAmbiguous {
    Query,
    Retry,
    Human,
}

/// How to ask what came of a key.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryByKey {
    /// Path with `{key}`.
    pub path: String,
    /// JSON pointer (RFC 6901) to the result in a 200 answer.
    pub result: String,
    /// Whether 404 within the window proves that the system did not act.
    pub authoritative: bool,
}

/// What kind of harm a call can do, rising.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    Read,
    Protective,
    Reversible,
    Money,
    Irreversible,
}

/// How a call is undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compensation {
    Tool(String),
    None { reason: String },
}

/// The call that undoes another one. It is recorded before that one is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undo {
    pub tool: String,
    /// Conditions over `arguments` and `result` of the call that is undone.
    pub arguments: BTreeMap<String, String>,
    /// For so long after the call a customer who asks for it gets it undone.
    pub grace_ms: i64,
}

impl Undo {
    /// The arguments of the undoing call.
    ///
    /// # Errors
    /// Why one of them cannot be told.
    pub fn call(&self, arguments: &Value, result: &Value) -> Result<Value, String> {
        let view = serde_json::json!({ "arguments": arguments, "result": result });
        let evaluated = self
            .arguments
            .iter()
            .map(|(name, source)| Ok((name.clone(), Condition::compile(source)?.evaluate(&view)?)));
        evaluated.collect::<Result<_, String>>().map(Value::Object)
    }
}

impl Risk {
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Protective, Self::Reversible, Self::Money, Self::Irreversible];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Protective => "protective",
            Self::Reversible => "reversible",
            Self::Money => "money",
            Self::Irreversible => "irreversible",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.as_str() == text)
    }
}

impl ToolDeclaration {
    /// Whether an amount keeps the tool's own limit. A missing one, and one in a currency without a limit, does not.
    pub fn within_limit(&self, amount: Option<Money>) -> bool {
        let kept = |amount: Money| {
            let limit = self.limits.iter().find(|limit| limit.currency == amount.currency);
            limit.is_some_and(|limit| amount.minor <= limit.minor)
        };
        self.limits.is_empty() || amount.is_some_and(kept)
    }

    /// The names of the arguments.
    pub fn arguments(&self) -> BTreeSet<String> {
        properties(&self.input).map(|(name, _)| name.clone()).collect()
    }

    /// The names of the arguments that must be given.
    pub fn required(&self) -> BTreeSet<String> {
        let required = self.input.get("required").and_then(Value::as_array);
        required.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The names of the arguments that stand in the path, in order.
    pub fn path_arguments(&self) -> Vec<&str> {
        places(&self.path)
    }

    /// How long the system remembers a key, in milliseconds; 0 when it knows no keys.
    pub fn window_ms(&self) -> i64 {
        let seconds = self.idempotency.as_ref().map_or(0, |idempotency| idempotency.window_seconds);
        i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
    }
}

impl Tools {
    /// `file` is named in findings only. All findings are told, not only the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let raw: Raw = toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut faults = Faults { file, text, found: Vec::new() };
        for url in raw.systems.values() {
            let given = url.get_ref();
            if !(given.starts_with("http://") || given.starts_with("https://")) || given.ends_with('/') {
                faults.wrong(
                    url,
                    "systems",
                    given,
                    "http:// or https:// and a host, without a slash at the end",
                );
            }
        }
        faults.systems(&raw);
        let names: BTreeSet<&str> = raw.tool.iter().map(|tool| tool.name.get_ref().as_str()).collect();
        let mut seen = BTreeSet::new();
        for tool in &raw.tool {
            let name = tool.name.get_ref();
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                faults.wrong(&tool.name, "name", name, "lower-case letters, digits and _");
            }
            if !seen.insert(name) {
                faults.wrong(&tool.name, "name", name, "a name that no other tool has");
            }
            faults.check(tool, &names, &raw);
            let compensation =
                raw.tool.iter().find(|other| other.name.get_ref() == tool.compensation.get_ref());
            faults.undo(tool, compensation);
        }
        if !faults.found.is_empty() {
            faults.found.sort();
            return Err(faults.found);
        }
        let plain = |(name, url): (String, Spanned<String>)| (name, url.into_inner());
        Ok(Self {
            systems: raw.systems.into_iter().map(plain).collect(),
            auth: raw.auth.into_iter().map(|(name, auth)| (name, told(auth, text))).collect(),
            breaker: raw.breaker.settings(),
            retry_budget: raw.retry_budget.settings(),
            by_name: raw
                .tool
                .into_iter()
                .map(|tool| tool.declared(text))
                .map(|tool| (tool.name.clone(), tool))
                .collect(),
        })
    }

    /// What the tool's system is told: the tool's own credential, else the system's.
    pub fn auth_of<'a>(&'a self, tool: &'a ToolDeclaration) -> Option<&'a Auth> {
        tool.auth.as_ref().or_else(|| self.auth.get(&tool.system))
    }

    /// Every credential, and whose it is.
    pub fn credentials(&self) -> impl Iterator<Item = (String, &Auth)> {
        let systems = self.auth.iter().map(|(name, auth)| (format!("[auth] `{name}`"), auth));
        let tools = self.by_name.values();
        let own = tools.filter_map(|tool| Some((format!("tool `{}`", tool.name), tool.auth.as_ref()?)));
        systems.chain(own)
    }

    /// What tools of one machine share: scheme, host and port of the tool's system.
    pub fn machine<'a>(&'a self, tool: &'a ToolDeclaration) -> &'a str {
        let url = self.systems.get(&tool.system).map_or(tool.system.as_str(), String::as_str);
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
        url.get(..end).unwrap_or(url)
    }

    /// Points a system to another address; `false` when there is none of that name.
    pub fn set_system(&mut self, name: &str, base_url: &str) -> bool {
        self.systems.get_mut(name).is_some_and(|url| {
            base_url.trim_end_matches('/').clone_into(url);
            true
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    systems: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    auth: BTreeMap<String, Spanned<Auth>>,
    breaker: RawBreaker,
    #[serde(default)]
    retry_budget: RawRetryBudget,
    tool: Vec<RawTool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBreaker {
    failures: Spanned<u64>,
    open_ms: Spanned<u64>,
    probes: Option<Spanned<u64>>,
}

impl RawBreaker {
    fn settings(&self) -> BreakerSettings {
        let number = |given: &Spanned<u64>| u32::try_from(*given.get_ref()).unwrap_or(1);
        BreakerSettings {
            failures: number(&self.failures),
            open_ms: *self.open_ms.get_ref(),
            probes: self.probes.as_ref().map_or(1, number),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRetryBudget {
    percent: Option<Spanned<u64>>,
    reserve: Option<Spanned<u64>>,
}

impl RawRetryBudget {
    fn settings(&self) -> RetrySettings {
        let number = |given: &Option<Spanned<u64>>| {
            given.as_ref().map_or(10, |given| u32::try_from(*given.get_ref()).unwrap_or(0))
        };
        RetrySettings { percent: number(&self.percent), reserve: number(&self.reserve) }
    }
}

/// One amount, or a list with one a currency.
struct Limits(Vec<Money>);

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Limits;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("{ minor, currency }, or a list with one for each currency")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limits, A::Error> {
                Money::deserialize(MapAccessDeserializer::new(map)).map(|one| Limits(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Limits, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Limits)
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    name: Spanned<String>,
    purpose: String,
    system: Spanned<String>,
    method: Spanned<Method>,
    path: Spanned<String>,
    idempotency: Option<Spanned<Idempotency>>,
    timeout_ms: Spanned<u64>,
    retries: Spanned<u64>,
    on_ambiguous: Spanned<OnAmbiguous>,
    query: Option<Spanned<QueryByKey>>,
    scope: Spanned<String>,
    /// A word, so that a blank that an import left is told as one.
    risk: Spanned<String>,
    compensation: Spanned<String>,
    compensation_reason: Option<String>,
    #[serde(default)]
    undo: BTreeMap<String, Spanned<String>>,
    grace_seconds: Option<Spanned<u64>>,
    limit: Option<Spanned<Limits>>,
    #[serde(default)]
    restores_access: bool,
    #[serde(default)]
    free: Vec<Spanned<String>>,
    parallel: Option<Spanned<u64>>,
    stale_ms: Option<Spanned<u64>>,
    auth: Option<Spanned<Auth>>,
    input: Spanned<Value>,
    output: Spanned<Value>,
}

/// Requests of a tool at the same time, where it does not say.
const PARALLEL: usize = 16;

impl RawTool {
    fn risk(&self) -> Option<Risk> {
        Risk::parse(self.risk.get_ref())
    }

    fn declared(self, text: &str) -> ToolDeclaration {
        // What is none was found before.
        let risk = self.risk().unwrap_or(Risk::Irreversible);
        let seconds = self.grace_seconds.map_or(0, Spanned::into_inner);
        let arguments = self.undo.into_iter().map(|(name, source)| (name, source.into_inner())).collect();
        let undo = Undo {
            tool: self.compensation.get_ref().clone(),
            arguments,
            grace_ms: i64::try_from(seconds).unwrap_or(0).saturating_mul(1000),
        };
        ToolDeclaration {
            undo: self.compensation_reason.is_none().then_some(undo),
            risk,
            name: self.name.into_inner(),
            purpose: self.purpose,
            system: self.system.into_inner(),
            method: self.method.into_inner(),
            path: self.path.into_inner(),
            idempotency: self.idempotency.map(Spanned::into_inner),
            timeout_ms: self.timeout_ms.into_inner(),
            retries: u32::try_from(self.retries.into_inner()).unwrap_or(0),
            on_ambiguous: self.on_ambiguous.into_inner(),
            query: self.query.map(Spanned::into_inner),
            scope: self.scope.into_inner(),
            compensation: match (self.compensation.into_inner(), self.compensation_reason) {
                (tool, None) => Compensation::Tool(tool),
                (_, Some(reason)) => Compensation::None { reason },
            },
            limits: self.limit.map_or_else(Vec::new, |limit| limit.into_inner().0),
            restores_access: self.restores_access,
            free: self.free.into_iter().map(Spanned::into_inner).collect(),
            parallel: self
                .parallel
                .map_or(PARALLEL, |most| usize::try_from(most.into_inner()).unwrap_or(PARALLEL)),
            stale_ms: self.stale_ms.map_or(0, Spanned::into_inner),
            auth: self.auth.map(|auth| told(auth, text)),
            input: self.input.into_inner(),
            output: self.output.into_inner(),
        }
    }
}

/// With the line that it is declared on.
fn told(auth: Spanned<Auth>, text: &str) -> Auth {
    let line = line_of(text, auth.span().start);
    auth.into_inner().on_line(line)
}

/// Collects what is wrong.
struct Faults<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Finding>,
}

impl Faults<'_> {
    fn wrong<T>(&mut self, place: &Spanned<T>, field: &str, value: &str, allowed: &str) {
        let message = format!("`{field}` cannot be `{value}`; allowed: {allowed}");
        self.found.push(Finding::at(self.file, self.text, place.span().start, message));
    }

    fn range(&mut self, value: &Spanned<u64>, field: &str, allowed: std::ops::RangeInclusive<u64>) {
        if !allowed.contains(value.get_ref()) {
            let range = format!("{} to {}", allowed.start(), allowed.end());
            self.wrong(value, field, &value.get_ref().to_string(), &range);
        }
    }

    /// What is said of systems and not of a tool.
    fn systems(&mut self, raw: &Raw) {
        self.range(&raw.breaker.failures, "failures", 1..=1000);
        self.range(&raw.breaker.open_ms, "open_ms", 1..=3_600_000);
        if let Some(probes) = &raw.breaker.probes {
            self.range(probes, "probes", 1..=100);
        }
        if let Some(percent) = &raw.retry_budget.percent {
            self.range(percent, "percent", 0..=100);
        }
        if let Some(reserve) = &raw.retry_budget.reserve {
            self.range(reserve, "reserve", 0..=1000);
        }
        for (name, auth) in raw.auth.iter().filter(|(name, _)| !raw.systems.contains_key(*name)) {
            let known = raw.systems.keys().cloned().collect::<Vec<_>>().join(", ");
            self.wrong(auth, "auth", name, &known);
        }
    }

    fn check(&mut self, tool: &RawTool, names: &BTreeSet<&str>, raw: &Raw) {
        if !raw.systems.contains_key(tool.system.get_ref()) {
            let known = raw.systems.keys().cloned().collect::<Vec<_>>().join(", ");
            self.wrong(&tool.system, "system", tool.system.get_ref(), &known);
        }
        self.range(&tool.timeout_ms, "timeout_ms", 1..=60_000);
        self.range(&tool.retries, "retries", 0..=10);
        if let Some(parallel) = &tool.parallel {
            self.range(parallel, "parallel", 1..=1000);
        }
        if let Some(keys) = &tool.idempotency
            && keys.get_ref().window_seconds == 0
        {
            let allowed = "how long the system remembers a key, in seconds; leave `idempotency` out where it knows none";
            self.wrong(keys, "idempotency.window_seconds", "0", allowed);
        }
        self.risk(tool);
        self.scope(tool, raw);
        self.free(tool);
        self.schemas(tool);
        self.path(tool);
        self.ambiguity(tool);
        self.undoing(tool, names);
    }

    fn risk(&mut self, tool: &RawTool) {
        let Some(risk) = tool.risk() else {
            let allowed = format!(
                "{}; what harm a call can do is chosen by a person (see the head of this file)",
                Risk::ALL.map(Risk::as_str).join(", ")
            );
            return self.wrong(&tool.risk, "risk", tool.risk.get_ref(), &allowed);
        };
        if (*tool.method.get_ref() == Method::Get) != (risk == Risk::Read) {
            self.wrong(&tool.method, "method", "GET", "GET for risk \"read\", and for no other risk");
        }
        if let Some(stale) = &tool.stale_ms {
            self.range(stale, "stale_ms", 0..=86_400_000);
            if risk != Risk::Read {
                let allowed =
                    "none, because the risk is not \"read\": what was done before is not done again";
                self.wrong(stale, "stale_ms", &stale.get_ref().to_string(), allowed);
            }
        }
    }

    /// A call that the credential does not cover would fail when a customer waits for it.
    fn scope(&mut self, tool: &RawTool, raw: &Raw) {
        let scope = tool.scope.get_ref();
        if scope.trim().is_empty() {
            return self.wrong(&tool.scope, "scope", scope, "what the credential for this tool must cover");
        }
        let auth = tool.auth.as_ref().or_else(|| raw.auth.get(tool.system.get_ref()));
        let Some(covered) =
            auth.map(|auth| &auth.get_ref().scopes).filter(|covered| !covered.contains(scope))
        else {
            return;
        };
        let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
        let allowed = format!(
            "what the credential covers, which is {}; add it to `scopes` of `auth` if the bank lets \
                               this credential do it",
            if covered.is_empty() { "nothing".to_owned() } else { covered.join(", ") }
        );
        self.wrong(&tool.scope, "scope", scope, &allowed);
    }

    /// What says which account, which card or how much is of weight whatever the file says.
    fn free(&mut self, tool: &RawTool) {
        let of_weight = places(tool.path.get_ref());
        let open: Vec<&str> = properties(tool.input.get_ref())
            .filter(|(name, schema)| {
                let text = schema.get("type").and_then(Value::as_str) == Some("string");
                text && schema.get("enum").is_none() && !of_weight.contains(&name.as_str())
            })
            .map(|(name, _)| name.as_str())
            .collect();
        for name in &tool.free {
            if !open.contains(&name.get_ref().as_str()) {
                let allowed = format!("texts of the input that are not in the path: {}", open.join(", "));
                self.wrong(name, "free", name.get_ref(), &allowed);
            }
        }
    }

    fn schemas(&mut self, tool: &RawTool) {
        for (field, schema) in [("input", &tool.input), ("output", &tool.output)] {
            if let Err(error) = jsonschema::validator_for(schema.get_ref()) {
                self.wrong(
                    schema,
                    field,
                    &error.instance_path().to_string(),
                    &format!("a JSON schema ({error})"),
                );
            }
        }
        let input = tool.input.get_ref();
        let closed = input.get("additionalProperties") == Some(&Value::Bool(false));
        if input.get("type").and_then(Value::as_str) != Some("object") || !closed {
            let allowed = "type = \"object\" with additionalProperties = false";
            self.wrong(&tool.input, "input", "an open schema", allowed);
        }
        let Some(limit) = &tool.limit else { return };
        if !properties(input).any(|(name, _)| name == "amount") {
            self.wrong(limit, "limit", "an amount", "a limit only where the input has `amount`");
        }
        let amounts = &limit.get_ref().0;
        let currencies: BTreeSet<_> = amounts.iter().map(|amount| amount.currency).collect();
        if amounts.is_empty() || currencies.len() < amounts.len() {
            let given = if amounts.is_empty() { "[]" } else { "two amounts of one currency" };
            self.wrong(limit, "limit", given, "one amount for each currency that may be used");
        }
        for amount in amounts.iter().filter(|amount| amount.minor < 1) {
            self.wrong(limit, "limit", &amount.minor.to_string(), "`minor` from 1 on");
        }
    }

    fn path(&mut self, tool: &RawTool) {
        let path = tool.path.get_ref();
        if !path.starts_with('/') {
            self.wrong(&tool.path, "path", path, "a path that starts with /");
        }
        let input = tool.input.get_ref();
        let required = input.get("required").and_then(Value::as_array);
        for place in places(path) {
            let needed = required.is_some_and(|names| names.iter().any(|name| name == place));
            let is_text = properties(input).any(|(name, schema)| {
                name == place && schema.get("type").and_then(Value::as_str) == Some("string")
            });
            if !needed || !is_text {
                let allowed = "places named after required arguments of type string";
                self.wrong(&tool.path, "path", &format!("{{{place}}}"), allowed);
            }
        }
    }

    fn ambiguity(&mut self, tool: &RawTool) {
        let rule = &tool.on_ambiguous;
        match rule.get_ref() {
            OnAmbiguous::Query if tool.query.is_none() => {
                self.wrong(rule, "on_ambiguous", "query", "query only with a `query` to ask by");
            }
            OnAmbiguous::Retry if tool.idempotency.is_none() => {
                self.wrong(rule, "on_ambiguous", "retry", "retry only with `idempotency`");
            }
            _ => {}
        }
        if let Some(query) = &tool.query
            && !(query.get_ref().path.starts_with('/') && places(&query.get_ref().path) == ["key"])
        {
            self.wrong(
                query,
                "query.path",
                &query.get_ref().path,
                "a path that starts with / and has {key} once",
            );
        }
    }

    fn undoing(&mut self, tool: &RawTool, names: &BTreeSet<&str>) {
        let (given, place) = (tool.compensation.get_ref().as_str(), &tool.compensation);
        if given == "none" {
            if tool.compensation_reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
                self.wrong(place, "compensation", given, "none only with a `compensation_reason`");
            }
            if matches!(tool.risk(), Some(Risk::Reversible | Risk::Money)) {
                self.wrong(place, "compensation", given, "a tool, because the risk is reversible or money");
            }
        } else if !names.contains(given) || tool.name.get_ref() == given {
            let others = names.iter().filter(|name| *name != tool.name.get_ref()).copied();
            let others = others.collect::<Vec<_>>().join(", ");
            self.wrong(place, "compensation", given, &format!("none, {others}"));
        } else if tool.compensation_reason.is_some() {
            self.wrong(place, "compensation", given, "a tool without a `compensation_reason`");
        }
    }

    /// Whether the compensation can be called with what is known once the call was made.
    fn undo(&mut self, tool: &RawTool, compensation: Option<&RawTool>) {
        if let Some(grace) = &tool.grace_seconds {
            self.range(grace, "grace_seconds", 0..=30 * 86_400);
        }
        let Some(compensation) = compensation else {
            if let Some((name, given)) = tool.undo.first_key_value() {
                self.wrong(given, "undo", name, "nothing, because there is no compensation");
            }
            return;
        };
        let input = compensation.input.get_ref();
        for (name, source) in &tool.undo {
            let known: Vec<&str> = properties(input).map(|(name, _)| name.as_str()).collect();
            if !known.contains(&name.as_str()) {
                self.wrong(source, "undo", name, &known.join(", "));
            }
            let roots = Condition::compile(source.get_ref()).map(|condition| condition.roots());
            let fits = roots
                .is_ok_and(|roots| roots.iter().all(|root| ["arguments", "result"].contains(&root.as_str())));
            if !fits {
                let allowed = "a condition over `arguments` and `result` of the call that is undone";
                self.wrong(source, "undo", source.get_ref(), allowed);
            }
        }
        let required = input.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !tool.undo.contains_key(*name)) {
            let allowed = format!("every argument that `{}` needs", compensation.name.get_ref());
            self.wrong(&tool.compensation, "undo", &format!("without {name}"), &allowed);
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The names in braces, in order.
fn places(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
