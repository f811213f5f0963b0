//! What a tool is: its declaration in config/tools.toml. Acting knows how to call one; rules and plans
//! know what it is.

use super::Condition;
use crate::base::outbound::Method;
use crate::base::{BreakerSettings, Finding, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// All declared tools.
#[derive(Clone, PartialEq, Debug)]
pub struct Tools {
    /// Base URL by the name of the system.
    pub systems: BTreeMap<String, String>,
    /// When a failing tool is left alone.
    pub breaker: BreakerSettings,
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
    /// No call above this amount, whatever else permits it.
    pub limit: Option<Money>,
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

impl ToolDeclaration {
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
        faults.range(&raw.breaker.failures, "failures", 1..=1000);
        faults.range(&raw.breaker.open_ms, "open_ms", 1..=3_600_000);
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
            faults.check(tool, &names, &raw.systems);
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
            breaker: BreakerSettings {
                failures: u32::try_from(*raw.breaker.failures.get_ref()).unwrap_or(1),
                open_ms: *raw.breaker.open_ms.get_ref(),
            },
            by_name: raw
                .tool
                .into_iter()
                .map(RawTool::declared)
                .map(|tool| (tool.name.clone(), tool))
                .collect(),
        })
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
    breaker: RawBreaker,
    tool: Vec<RawTool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBreaker {
    failures: Spanned<u64>,
    open_ms: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    name: Spanned<String>,
    purpose: String,
    system: Spanned<String>,
    method: Spanned<Method>,
    path: Spanned<String>,
    idempotency: Option<Idempotency>,
    timeout_ms: Spanned<u64>,
    retries: Spanned<u64>,
    on_ambiguous: Spanned<OnAmbiguous>,
    query: Option<Spanned<QueryByKey>>,
    scope: String,
    risk: Spanned<Risk>,
    #[serde(default)]
    restores_access: bool,
    compensation: Spanned<String>,
    compensation_reason: Option<String>,
    #[serde(default)]
    undo: BTreeMap<String, Spanned<String>>,
    grace_seconds: Option<Spanned<u64>>,
    limit: Option<Spanned<Money>>,
    input: Spanned<Value>,
    output: Spanned<Value>,
}

impl RawTool {
    fn declared(self) -> ToolDeclaration {
        let seconds = self.grace_seconds.map_or(0, Spanned::into_inner);
        let arguments = self.undo.into_iter().map(|(name, source)| (name, source.into_inner())).collect();
        let undo = Undo {
            tool: self.compensation.get_ref().clone(),
            arguments,
            grace_ms: i64::try_from(seconds).unwrap_or(0).saturating_mul(1000),
        };
        ToolDeclaration {
            undo: self.compensation_reason.is_none().then_some(undo),
            name: self.name.into_inner(),
            purpose: self.purpose,
            system: self.system.into_inner(),
            method: self.method.into_inner(),
            path: self.path.into_inner(),
            idempotency: self.idempotency,
            timeout_ms: self.timeout_ms.into_inner(),
            retries: u32::try_from(self.retries.into_inner()).unwrap_or(0),
            on_ambiguous: self.on_ambiguous.into_inner(),
            query: self.query.map(Spanned::into_inner),
            scope: self.scope,
            risk: self.risk.into_inner(),
            restores_access: self.restores_access,
            compensation: match (self.compensation.into_inner(), self.compensation_reason) {
                (tool, None) => Compensation::Tool(tool),
                (_, Some(reason)) => Compensation::None { reason },
            },
            limit: self.limit.map(Spanned::into_inner),
            input: self.input.into_inner(),
            output: self.output.into_inner(),
        }
    }
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

    fn check(&mut self, tool: &RawTool, names: &BTreeSet<&str>, systems: &BTreeMap<String, Spanned<String>>) {
        if !systems.contains_key(tool.system.get_ref()) {
            let known = systems.keys().cloned().collect::<Vec<_>>().join(", ");
            self.wrong(&tool.system, "system", tool.system.get_ref(), &known);
        }
        self.range(&tool.timeout_ms, "timeout_ms", 1..=60_000);
        self.range(&tool.retries, "retries", 0..=10);
        if (*tool.method.get_ref() == Method::Get) != (*tool.risk.get_ref() == Risk::Read) {
            self.wrong(&tool.method, "method", "GET", "GET for risk \"read\", and for no other risk");
        }
        self.schemas(tool);
        self.path(tool);
        self.ambiguity(tool);
        self.undoing(tool, names);
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
        if let Some(limit) = &tool.limit
            && !properties(input).any(|(name, _)| name == "amount")
        {
            self.wrong(limit, "limit", "an amount", "a limit only where the input has `amount`");
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
            if matches!(tool.risk.get_ref(), Risk::Reversible | Risk::Money) {
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
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/tools.toml");

    #[test]
    fn the_shipped_tools_are_sound_and_undo_each_other() {
        let mut tools = Tools::parse("tools.toml", SHIPPED).unwrap();
        let risks: Vec<_> = tools.by_name.iter().map(|(name, tool)| (name.as_str(), tool.risk)).collect();
        assert_eq!(
            risks,
            [
                ("card_block", Risk::Protective),
                ("card_replacement", Risk::Irreversible),
                ("refund", Risk::Money),
                ("reverse_refund", Risk::Irreversible),
                ("ticket_close", Risk::Protective),
                ("ticket_open", Risk::Reversible),
            ]
        );
        let refund = &tools.by_name["refund"];
        assert_eq!(refund.compensation, Compensation::Tool("reverse_refund".to_owned()));
        assert_eq!(refund.arguments().len(), 4);
        assert_eq!(tools.by_name["card_block"].path_arguments(), ["card"]);
        assert!(tools.set_system("core_bank", "http://127.0.0.1:1/") && !tools.set_system("x", "http://y"));
        assert_eq!(tools.systems["core_bank"], "http://127.0.0.1:1");
    }

    /// One planted fault, and what the finding must say.
    #[test]
    fn each_fault_is_found_with_its_line_and_what_is_allowed() {
        let cases = [
            ("path = \"/cards/{card}/block\"", "path = \"/cards/{crad}/block\"", "{crad}"),
            ("timeout_ms = 3000", "timeout_ms = 0", "1 to 60000"),
            ("retries = 2", "retries = 99", "0 to 10"),
            ("system = \"core_bank\"", "system = \"core\"", "core_bank"),
            ("method = \"POST\"", "method = \"GET\"", "read"),
            ("method = \"POST\"", "method = \"PATCH\"", "PATCH"),
            ("on_ambiguous = \"query\"\nquery = ", "on_ambiguous = \"query\"\n#", "`query`"),
            ("path = \"/effects/{key}\"", "path = \"/effects/{id}\"", "{key}"),
            ("compensation = \"reverse_refund\"", "compensation = \"reverse_refnd\"", "reverse_refund"),
            ("compensation = \"reverse_refund\"", "compensation = \"none\"", "a tool"),
            ("compensation_reason = \"a blocked", "scope2 = \"a blocked", "scope2"),
            ("additionalProperties = false\nproperties.card", "properties.card", "additionalProperties"),
            ("name = \"refund\"", "name = \"card_block\"", "no other tool"),
            (
                "{ type = \"string\", pattern = \"^[A-Za-z",
                "{ type = \"strong\", pattern = \"^[A-Za-z",
                "schema",
            ),
            (
                "limit = { minor = 100000, currency = \"EUR\" }",
                "limit = { minor = 1.5, currency = \"EUR\" }",
                "1.5",
            ),
            ("failures = 5", "failures = 0", "1 to 1000"),
        ];
        for (from, to, told) in cases {
            assert!(SHIPPED.contains(from), "{from}");
            let found = Tools::parse("tools.toml", &SHIPPED.replacen(from, to, 1)).unwrap_err();
            let line = SHIPPED.split(from).next().unwrap().matches('\n').count() + 1;
            let near = found
                .iter()
                .any(|finding| finding.line.abs_diff(line) <= 4 && finding.message.contains(told));
            assert!(near, "{to} at line {line}: {found:?}");
        }
    }

    #[test]
    fn retry_needs_a_key_that_is_remembered() {
        let tickets = SHIPPED.find("name = \"ticket_open\"").unwrap();
        let (head, tail) = SHIPPED.split_at(tickets);
        let tail = tail.replacen("idempotency = ", "# ", 1).replacen("\"query\"", "\"retry\"", 1);
        let bad = format!("{head}{tail}");
        let found = Tools::parse("tools.toml", &bad).unwrap_err();
        assert!(found[0].message.contains("`idempotency`"), "{found:?}");
    }
}
