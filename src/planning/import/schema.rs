//! Schemas of OpenAPI 3.0 and 3.1 as JSON schemas of draft 2020-12 without references, so that a declaration stands for
//! itself.

use super::document::{Document, Refusal};
use serde_json::{Map, Value, json};

/// A schema that would become longer, or deeper, is not written out.
const MOST_NODES: usize = 2_000;
const MOST_DEPTH: usize = 24;

/// What OpenAPI adds to JSON schemas and what says nothing about a value.
const DROPPED: [&str; 13] = [
    "example",
    "examples",
    "discriminator",
    "xml",
    "externalDocs",
    "deprecated",
    "nullable",
    "readOnly",
    "writeOnly",
    "default",
    "$comment",
    "$schema",
    "title",
];

/// Which side sends the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

pub(super) struct Expansion<'a> {
    document: &'a Document,
    side: Side,
    nodes: usize,
}

impl<'a> Expansion<'a> {
    pub const fn new(document: &'a Document, side: Side) -> Self {
        Self { document, side, nodes: 0 }
    }

    pub fn of(&mut self, schema: &Value) -> Result<Value, Refusal> {
        self.at(schema, 0, &mut Vec::new())
    }

    fn at(&mut self, schema: &Value, depth: usize, within: &mut Vec<String>) -> Result<Value, Refusal> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > MOST_DEPTH {
            return Err(Refusal::hostile(format!(
                "a schema grows beyond {MOST_NODES} parts or {MOST_DEPTH} levels when its references are written out"
            )));
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        let Some(reference) = reference else { return self.plain(schema, depth, within) };
        if within.iter().any(|outer| outer == reference) {
            // What a system answers is checked as far as it is not of itself; what it is sent must be known whole.
            return match self.side {
                Side::Response => Ok(json!(true)),
                Side::Request => Err(Refusal::plain(format!(
                    "the schema `{reference}` is made of itself, and an argument must be known whole"
                ))),
            };
        }
        within.push(reference.to_owned());
        let document = self.document;
        let found = self.at(document.resolved(schema)?, depth + 1, within);
        within.pop();
        found
    }

    fn plain(&mut self, schema: &Value, depth: usize, within: &mut Vec<String>) -> Result<Value, Refusal> {
        let Value::Object(members) = schema else {
            // `true` and `false` are schemas, too.
            return match schema {
                Value::Bool(_) => Ok(schema.clone()),
                _ => Err(Refusal::plain("a schema is neither an object nor true or false")),
            };
        };
        let mut written = Map::new();
        for (name, value) in members {
            if name.starts_with("x-") || DROPPED.contains(&name.as_str()) {
                continue;
            }
            let value = match (name.as_str(), value) {
                ("properties" | "patternProperties" | "$defs" | "dependentSchemas", Value::Object(inner)) => {
                    self.members(inner, depth, within)?
                }
                (
                    "items"
                    | "additionalProperties"
                    | "not"
                    | "contains"
                    | "propertyNames"
                    | "if"
                    | "then"
                    | "else",
                    inner,
                ) => self.at(inner, depth + 1, within)?,
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(list)) => {
                    let list = list.iter().map(|inner| self.at(inner, depth + 1, within));
                    Value::Array(list.collect::<Result<_, _>>()?)
                }
                // Descriptions are for people and may be as long as they like.
                ("description", _) => continue,
                (_, value) => value.clone(),
            };
            written.insert(name.clone(), value);
        }
        bounds(&mut written);
        self.without_the_other_side(members, &mut written);
        Ok(nullable(members, written))
    }

    fn members(
        &mut self,
        inner: &Map<String, Value>,
        depth: usize,
        within: &mut Vec<String>,
    ) -> Result<Value, Refusal> {
        let mut written = Map::new();
        for (name, schema) in inner {
            written.insert(name.clone(), self.at(schema, depth + 1, within)?);
        }
        Ok(Value::Object(written))
    }

    /// What only the other side sends is not sent by this one.
    fn without_the_other_side(&self, members: &Map<String, Value>, written: &mut Map<String, Value>) {
        let mark = if self.side == Side::Request { "readOnly" } else { "writeOnly" };
        let properties = members.get("properties").and_then(Value::as_object).into_iter().flatten();
        let theirs = properties.filter(|(_, schema)| schema.get(mark) == Some(&Value::Bool(true)));
        for (name, _) in theirs {
            if let Some(Value::Object(kept)) = written.get_mut("properties") {
                kept.shift_remove(name);
            }
            if let Some(Value::Array(required)) = written.get_mut("required") {
                required.retain(|needed| needed != name);
            }
        }
    }
}

/// In 3.0 exclusive bounds are marks beside the bound.
fn bounds(written: &mut Map<String, Value>) {
    for (mark, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match written.get(mark) {
            Some(Value::Bool(true)) => match written.shift_remove(bound) {
                Some(value) => drop(written.insert(mark.to_owned(), value)),
                None => drop(written.shift_remove(mark)),
            },
            Some(Value::Bool(false)) => drop(written.shift_remove(mark)),
            _ => {}
        }
    }
    // Beyond what tools.toml can hold, and beyond what is ever compared.
    written.retain(|_, value| value.as_u64().is_none_or(|number| i64::try_from(number).is_ok()));
}

/// In 3.0 `nullable` is a mark, in 3.1 `null` is a type. A list of values cannot have null in tools.toml.
fn nullable(members: &Map<String, Value>, mut written: Map<String, Value>) -> Value {
    let mut null = members.get("nullable") == Some(&Value::Bool(true));
    if let Some(Value::Array(values)) = written.get_mut("enum") {
        let before = values.len();
        values.retain(|value| !value.is_null());
        null |= values.len() < before;
    }
    if written.get("const") == Some(&Value::Null) {
        written.shift_remove("const");
        written.insert("type".to_owned(), json!("null"));
    }
    match null {
        true => json!({ "anyOf": [Value::Object(written), { "type": "null" }] }),
        false => Value::Object(written),
    }
}
