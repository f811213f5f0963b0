//! One operation as a tool: its arguments are those of path and query and the members of its body.

use super::document::{Document, Found, Refusal};
use super::schema::{Expansion, Side};
use super::toml_text::{quoted, section};
use crate::planning::Risk;
use serde_json::{Map, Value, json};

pub(super) struct Operation<'a> {
    found: &'a Found<'a>,
    risk: Option<Risk>,
    scope: Option<String>,
    /// The header that carries a key.
    key: Option<String>,
    input: Value,
    output: Value,
    pub notes: Vec<String>,
}

/// What a tool is called with, as it is gathered.
#[derive(Default)]
struct Arguments {
    properties: Map<String, Value>,
    required: Vec<Value>,
    key: Option<String>,
    notes: Vec<String>,
}

impl<'a> Operation<'a> {
    pub fn read(document: &Document, found: &'a Found<'a>) -> Result<Self, Refusal> {
        let mut arguments = Arguments::default();
        for parameter in parameters(document, found)? {
            arguments.parameter(document, found, parameter)?;
        }
        if let Some(body) = found.operation.get("requestBody") {
            arguments.body(document, found, document.resolved(body)?)?;
        }
        let risk = risk(found)?;
        let output = output(document, found)?;
        let Arguments { properties, required, key, mut notes } = arguments;
        let scopes = scopes(found);
        if scopes.len() > 1 {
            notes.push(format!("it needs several scopes ({}); a tool has one", scopes.join(", ")));
        }
        let scope = scopes.first().filter(|_| scopes.len() == 1).cloned();
        let mut input = Map::from_iter([("type".to_owned(), json!("object"))]);
        input.insert("required".to_owned(), Value::Array(required));
        input.insert("additionalProperties".to_owned(), json!(false));
        input.insert("properties".to_owned(), Value::Object(properties));
        let input = Value::Object(input);
        for (what, schema) in [("input", &input), ("output", &output)] {
            if let Err(error) = jsonschema::validator_for(schema) {
                return Err(Refusal::plain(format!("its {what} is no JSON schema: {error}")));
            }
        }
        Ok(Self { found, risk, scope, key, input, output, notes })
    }

    /// The section of tools.toml.
    pub fn section(&self, name: &str, system: &str) -> String {
        let Found { method, path, operation, id, .. } = self.found;
        let text = |member: &str| operation.get(member).and_then(Value::as_str);
        let purpose = text("summary").or_else(|| text("description")).unwrap_or(id.as_str());
        let purpose: String = purpose
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(120)
            .collect();
        let reads = self.risk == Some(Risk::Read);
        let reason = if reads { "it changes nothing" } else { "" };
        let key = self.key.as_ref().map_or_else(String::new, |header| {
            format!("# for how long the system remembers a key:\nidempotency = {{ header = {}, window_seconds = 0 }}\n", quoted(header))
        });
        format!(
            "\n[[tool]]\nname = {}\npurpose = {}\nsystem = {}\nmethod = {}\npath = {}\n{key}timeout_ms = 3000\nretries = {}\n\
             on_ambiguous = \"human\"\nscope = {}\nrisk = {}\ncompensation = \"none\"\ncompensation_reason = {}\n{}{}",
            quoted(name),
            quoted(&purpose),
            quoted(system),
            quoted(&method.to_ascii_uppercase()),
            quoted(path),
            if reads { 2 } else { 0 },
            quoted(self.scope.as_deref().unwrap_or_default()),
            quoted(self.risk.map_or("", Risk::as_str)),
            quoted(reason),
            section("[tool.input]", &self.input),
            section("[tool.output]", &self.output),
        )
    }
}

/// Those of the path and those of the operation, which go before them.
fn parameters<'d>(document: &'d Document, found: &'d Found<'_>) -> Result<Vec<&'d Value>, Refusal> {
    let listed =
        |of: &'d Map<String, Value>| of.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let own = listed(found.operation).map(|one| document.resolved(one)).collect::<Result<Vec<_>, _>>()?;
    let shared = listed(found.item).map(|one| document.resolved(one)).collect::<Result<Vec<_>, _>>()?;
    let same =
        |one: &Value, other: &Value| one.get("name") == other.get("name") && one.get("in") == other.get("in");
    let kept = shared.into_iter().filter(|one| !own.iter().any(|other| same(one, other)));
    Ok(kept.chain(own.iter().copied()).collect())
}

/// As a person says it in the document; a call that reads is read by its method.
fn risk(found: &Found<'_>) -> Result<Option<Risk>, Refusal> {
    let reads = found.method == "get";
    let Some(given) = found.operation.get("x-prokura-risk") else { return Ok(reads.then_some(Risk::Read)) };
    let shown = given.as_str().unwrap_or_default();
    match Risk::parse(shown) {
        Some(risk) if (risk == Risk::Read) == reads => Ok(Some(risk)),
        Some(_) => Err(Refusal::hostile(format!(
            "`x-prokura-risk` cannot be `{shown}`: read is for GET, and for GET alone"
        ))),
        None => Err(Refusal::hostile(format!(
            "`x-prokura-risk` cannot be `{shown}`; allowed: {}",
            Risk::ALL.map(Risk::as_str).join(", ")
        ))),
    }
}

fn scopes(found: &Found<'_>) -> Vec<String> {
    let security = found.operation.get("security").and_then(Value::as_array);
    let schemes = security.into_iter().flatten().filter_map(Value::as_object).flatten();
    let mut scopes: Vec<String> = schemes
        .filter_map(|(_, scopes)| scopes.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    scopes.sort();
    scopes.dedup();
    scopes
}

/// What it answers when it is done.
fn output(document: &Document, found: &Found<'_>) -> Result<Value, Refusal> {
    let responses = found.operation.get("responses").and_then(Value::as_object);
    let done = ["200", "201", "202", "203", "204", "2XX", "default"];
    let response = done.iter().find_map(|status| responses?.get(*status));
    let Some(response) = response else { return Err(Refusal::plain("no answer of success is described")) };
    let response = document.resolved(response)?;
    let Some(content) =
        response.get("content").and_then(Value::as_object).filter(|content| !content.is_empty())
    else {
        // Nothing comes back.
        return Ok(json!({ "type": "null" }));
    };
    let Some(schema) = json_of(content) else {
        return Err(Refusal::plain("it does not answer in JSON"));
    };
    let written = Expansion::new(document, Side::Response).of(schema)?;
    Ok(if written.is_object() { written } else { json!({}) })
}

/// The schema of the JSON among the media types.
fn json_of(content: &Map<String, Value>) -> Option<&Value> {
    let is_json = |media: &str| {
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json" || media.ends_with("+json")
    };
    content.iter().find(|(media, _)| is_json(media)).and_then(|(_, content)| content.get("schema"))
}

impl Arguments {
    fn add(&mut self, name: &str, schema: Value, needed: bool) -> Result<(), Refusal> {
        if self.properties.insert(name.to_owned(), schema).is_some() {
            return Err(Refusal::plain(format!("two of its arguments are called `{name}`")));
        }
        if needed {
            self.required.push(Value::from(name));
        }
        Ok(())
    }

    fn parameter(&mut self, document: &Document, found: &Found<'_>, given: &Value) -> Result<(), Refusal> {
        let text = |member: &str| given.get(member).and_then(Value::as_str).unwrap_or_default();
        let (name, place) = (text("name"), text("in"));
        let needed = given.get("required") == Some(&Value::Bool(true));
        let unfit = |why: &str| Refusal::plain(format!("its parameter `{name}` ({place}) {why}"));
        if place == "header" && name.eq_ignore_ascii_case("idempotency-key") {
            self.key = Some("Idempotency-Key".to_owned());
            return Ok(());
        }
        let schema = match given.get("schema") {
            Some(schema) => Expansion::new(document, Side::Request).of(schema)?,
            None => json!({}),
        };
        let nested = matches!(schema.get("type").and_then(Value::as_str), Some("array" | "object"));
        match place {
            "path" => self.add(name, in_path(schema).ok_or_else(|| unfit("is not a single value"))?, true),
            // Headers that say what is wanted back say nothing of what is done.
            "header"
                if ["accept", "content-type", "authorization"]
                    .contains(&name.to_ascii_lowercase().as_str()) =>
            {
                Ok(())
            }
            "query" if found.method == "get" && !nested => self.add(name, schema, needed),
            _ if needed => Err(unfit("must be sent, and a tool cannot send it there")),
            _ => {
                self.notes.push(format!("`{name}` ({place}) is not sent"));
                Ok(())
            }
        }
    }

    fn body(&mut self, document: &Document, found: &Found<'_>, body: &Value) -> Result<(), Refusal> {
        let content = body.get("content").and_then(Value::as_object);
        let Some(schema) = content.and_then(json_of) else {
            return Err(Refusal::plain("its body is not JSON"));
        };
        if found.method == "get" {
            return Err(Refusal::plain("it reads, and wants a body"));
        }
        let written = Expansion::new(document, Side::Request).of(schema)?;
        self.object(&written)
    }

    /// The members of an object, or of several that are all meant.
    fn object(&mut self, schema: &Value) -> Result<(), Refusal> {
        let unfit = || Refusal::plain("its body is not one object whose members are known");
        for one in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.object(one)?;
        }
        let typed = schema.get("type").and_then(Value::as_str);
        let choice = ["oneOf", "anyOf", "if", "not", "patternProperties"]
            .iter()
            .any(|word| schema.get(word).is_some());
        let properties = schema.get("properties").and_then(Value::as_object);
        if choice
            || !matches!(typed, None | Some("object"))
            || (properties.is_none() && schema.get("allOf").is_none())
        {
            return Err(unfit());
        }
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, schema) in properties.into_iter().flatten() {
            self.add(name, schema.clone(), required.contains(&Value::from(name.as_str())))?;
        }
        Ok(())
    }
}

/// A value in a path is a text; a number is one with digits alone.
fn in_path(schema: Value) -> Option<Value> {
    let kind = schema.get("type").and_then(Value::as_str).map(str::to_owned);
    match (kind.as_deref(), schema) {
        (Some("string"), schema) => Some(schema),
        (Some("integer"), _) => Some(json!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" })),
        (None, Value::Object(mut members)) if members.is_empty() || members.contains_key("enum") => {
            members.insert("type".to_owned(), json!("string"));
            Some(Value::Object(members))
        }
        _ => None,
    }
}
