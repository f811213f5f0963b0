//! The document as a value, its operations, and references within it.

use crate::base::finding::line_of;
use serde_json::{Map, Value};

/// Deeper documents are not read.
const MOST_DEPTH: usize = 64;
/// References that lead to references.
const MOST_HOPS: usize = 32;

pub(super) struct Document(Value);

/// One operation of a path.
pub(super) struct Found<'a> {
    /// Its `operationId`, else made of method and path.
    pub id: String,
    /// Lower case.
    pub method: &'static str,
    pub path: &'a str,
    pub item: &'a Map<String, Value>,
    pub operation: &'a Map<String, Value>,
}

/// Why something cannot be used.
pub(super) struct Refusal {
    pub why: String,
    /// The document is made so that reading it would not end, or is not what it says it is.
    pub is_hostile: bool,
}

impl Refusal {
    pub fn plain(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_hostile: false }
    }

    pub fn hostile(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_hostile: true }
    }
}

/// Those that can change or tell something; tools have no others.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Document {
    /// The line, from 1, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        if text.len() > super::MOST_BYTES {
            let most = super::MOST_BYTES >> 20;
            return Err((
                0,
                format!("the document is longer than {most} MiB; cut it down to what is needed"),
            ));
        }
        let value = if text.trim_start().starts_with('{') {
            serde_json::from_str::<Value>(text)
                .map_err(|error| (error.line(), format!("not JSON: {error}")))?
        } else {
            // It bounds depth, aliases and what they grow to.
            serde_saphyr::from_str::<Value>(text).map_err(|error| {
                let line = error.location().and_then(|place| usize::try_from(place.line()).ok());
                let told = error.without_snippet().to_string();
                (
                    line.unwrap_or(0),
                    format!("not YAML that can be read: {}", told.lines().next().unwrap_or_default()),
                )
            })?
        };
        if deeper(&value, MOST_DEPTH) {
            return Err((0, format!("the document is nested deeper than {MOST_DEPTH} levels")));
        }
        let version = value.get("openapi").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !(version.starts_with("3.0.") || version.starts_with("3.1.")) {
            let line =
                text.find("openapi").or_else(|| text.find("swagger")).map_or(1, |at| line_of(text, at));
            return Err((line, format!("`openapi` cannot be `{version}`; allowed: 3.0.x and 3.1.x")));
        }
        if !value.get("paths").is_some_and(Value::is_object) {
            return Err((1, "the document has no `paths`, so it has no operations".to_owned()));
        }
        Ok(Self(value))
    }

    pub fn title(&self) -> &str {
        self.0.pointer("/info/title").and_then(Value::as_str).unwrap_or("system")
    }

    /// In the order of the document. One that is not an object is none.
    pub fn operations(&self) -> impl Iterator<Item = Found<'_>> {
        let paths = self.0.get("paths").and_then(Value::as_object).into_iter().flatten();
        paths.filter_map(|(path, item)| Some((path.as_str(), item.as_object()?))).flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                let operation = item.get(method)?.as_object()?;
                let named = operation.get("operationId").and_then(Value::as_str).filter(|id| !id.is_empty());
                let id = named.map_or_else(|| format!("{method}_{}", slug(path)), str::to_owned);
                Some(Found { id, method, path, item, operation })
            })
        })
    }

    /// What a value stands for: itself, or what its `$ref` within the document names.
    pub fn resolved<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value, Refusal> {
        for _ in 0..MOST_HOPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            let shown: String = reference.chars().take(100).collect();
            let Some(pointer) = reference.strip_prefix('#') else {
                return Err(Refusal::plain(format!(
                    "`{shown}` is outside of the document, and nothing is fetched; put it into the document"
                )));
            };
            value = self
                .0
                .pointer(pointer)
                .ok_or_else(|| Refusal::plain(format!("`{shown}` leads nowhere in the document")))?;
        }
        Err(Refusal::hostile(format!("references lead in a circle, or over more than {MOST_HOPS} others")))
    }

    /// Where the system is, if the document says so.
    fn server(&self) -> Option<&str> {
        let url = self.0.pointer("/servers/0/url").and_then(Value::as_str)?;
        let plain = !url.chars().any(|c| c.is_control() || c == '"' || c == '\\' || c == '{');
        (plain && url.starts_with("http")).then(|| url.trim_end_matches('/'))
    }

    /// What stands before the sections: what else tools.toml and prokura.toml need.
    pub fn head(&self, system: &str) -> String {
        let title: String = self.title().chars().filter(|c| !c.is_control()).take(100).collect();
        let server = self.server().unwrap_or("https://HOST");
        let schemes = self.0.pointer("/components/securitySchemes").and_then(Value::as_object);
        let auth =
            schemes.into_iter().flatten().find_map(|(_, scheme)| credential(self.resolved(scheme).ok()?));
        let auth = auth.unwrap_or_else(|| "{ bearer = \"file:NAME.token\", scopes = [] }".to_owned());
        format!(
            "# Imported from the OpenAPI document \"{title}\". A section with a blank (\"\") is refused until a person has \
             filled it in:\n# `risk` always, unless the document says it; `scope` and `compensation_reason` where it does \
             not say them.\n# The system belongs into the sections at the head of tools.toml, its host onto the \
             `[outbound] hosts` list:\n#   [systems]\n#   {system} = \"{server}\"\n#   [auth]\n#   {system} = {auth}\n"
        )
    }
}

/// The form of `auth` that fits a security scheme.
fn credential(scheme: &Value) -> Option<String> {
    let text = |name: &str| scheme.get(name).and_then(Value::as_str).unwrap_or_default();
    match (text("type"), text("scheme"), text("in")) {
        ("http", "basic", _) => {
            Some("{ basic = \"USER\", secret = \"file:NAME.secret\", scopes = [] }".to_owned())
        }
        ("apiKey", _, "header") => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let name: String = text("name").chars().filter(|c| plain(*c)).take(64).collect();
            Some(format!("{{ header = \"{name}\", secret = \"file:NAME.secret\", scopes = [] }}"))
        }
        _ => None,
    }
}

/// Whether a value is nested deeper than so many levels.
fn deeper(value: &Value, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper(item, left)),
        Value::Object(members) => members.values().any(|member| deeper(member, left)),
        _ => false,
    }
}

/// A name for tools.toml: `getAccountById` and `/accounts/{id}` become `get_account_by_id` and `accounts_id`.
pub(super) fn slug(text: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    for c in text.chars().take(100) {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        before = c;
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}
