//! A template, what the case knows, and a passage become the customer's text.

use super::answer::{Citation, Reply};
use super::error::ReplyError;
use super::templates::{CITATION, FREE, NOTICE, Needs, Templates};
use crate::base::grants::DiscloseGrant;
use crate::base::{Language, RecordId};
use crate::policy::{Audience, Passage};
use serde_json::{Map, Value, json};

impl Templates {
    /// Fills a template. Below it come the citation, when the template cites and a passage was handed over
    /// (the first one), and always the notice that an automated system answers.
    ///
    /// `context` is a JSON object. Only the paths that the template needs reach it. `field` and `reference`
    /// are free; everything else is told only with a grant, and only when it is part of a record that the
    /// grant covers: an object whose `id` is covered, or a value found inside `context.record`, whose `id`
    /// is covered. Control characters in values become spaces.
    ///
    /// # Errors
    /// An unknown template, a missing value, a value that no grant covers, an internal passage, or a filter
    /// that refuses a value. The caller hands such a case over to a human.
    pub fn render(
        &self,
        language: Language,
        name: &str,
        context: &Value,
        passages: &[Passage],
        grant: Option<&DiscloseGrant>,
    ) -> Result<Reply, ReplyError> {
        let needs = self.needs(name).ok_or_else(|| ReplyError::Unknown {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })?;
        let cited = self.citable(name, needs, passages)?;
        let mut told = Map::new();
        for path in &needs.keys {
            // What is quoted comes from the passage alone, never from a context of that name.
            let value = match path.strip_prefix("passage.") {
                Some(part) => cited.and_then(|passage| quotable(passage, part)),
                None => known(context, path).cloned().map(plain),
            };
            let value = value.ok_or_else(|| missing(name, path))?;
            if !covered(context, path, grant) {
                return Err(ReplyError::Undisclosed { name: name.to_owned(), key: path.clone() });
            }
            place(&mut told, path, value);
        }
        let mut text = self.fill(language, name, &Value::Object(told))?;
        let mut citations = Vec::new();
        if let Some(passage) = cited {
            let source = json!({
                "title": passage.title, "version": passage.version, "section": passage.section.join(" – "),
            });
            text.push_str("\n\n");
            text.push_str(&self.fill(language, CITATION, &source)?);
            citations.push(Citation {
                document: passage.document.clone(),
                version: passage.version.clone(),
                section: passage.section.clone(),
            });
        }
        text.push_str("\n\n");
        text.push_str(&self.fill(language, NOTICE, &Value::Null)?);
        Ok(Reply { language, text, citations })
    }

    fn citable<'a>(
        &self,
        name: &str,
        needs: &Needs,
        passages: &'a [Passage],
    ) -> Result<Option<&'a Passage>, ReplyError> {
        if !needs.cites {
            return Ok(None);
        }
        match passages.iter().find(|passage| passage.audience != Audience::Public) {
            Some(internal) => {
                Err(ReplyError::Internal { name: name.to_owned(), document: internal.document.clone() })
            }
            None => Ok(passages.first()),
        }
    }

    fn fill(&self, language: Language, name: &str, context: &Value) -> Result<String, ReplyError> {
        let failed = |error: &minijinja::Error| ReplyError::Render {
            name: name.to_owned(),
            line: error.line().unwrap_or(1),
            reason: error.kind().to_string(),
        };
        let environment = self.texts.get(&language);
        let environment = environment.ok_or_else(|| missing(name, language.code()))?;
        let template = environment.get_template(name).map_err(|error| failed(&error))?;
        Ok(template
            .render(minijinja::value::Serde(context))
            .map_err(|error| failed(&error))?
            .trim()
            .to_owned())
    }
}

fn missing(name: &str, key: &str) -> ReplyError {
    ReplyError::Missing { name: name.to_owned(), key: key.to_owned() }
}

/// The value at a dotted path; null counts as not known.
fn known<'a>(context: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(context, |value, key| value.get(key)).filter(|value| !value.is_null())
}

fn quotable(passage: &Passage, part: &str) -> Option<Value> {
    let text = match part {
        "text" => passage.text.clone(),
        "title" => passage.title.clone(),
        "version" => passage.version.clone(),
        "section" => passage.section.join(" – "),
        _ => return None,
    };
    Some(Value::String(text.chars().filter(|c| *c == '\n' || !unsafe_in_text(*c)).collect()))
}

/// Whether the value at the path may be told.
fn covered(context: &Value, path: &str, grant: Option<&DiscloseGrant>) -> bool {
    let key = path.split('.').next().unwrap_or(path);
    if path.starts_with("passage.") || FREE.contains(&key) {
        return true;
    }
    let (Some(grant), Some(value)) = (grant, context.get(key)) else { return false };
    let named = |value: &Value| {
        let id = value.get("id").and_then(Value::as_str);
        id.is_some_and(|id| grant.covers(&RecordId::new(id)))
    };
    named(value) || context.get("record").is_some_and(|record| named(record) && contains(record, value))
}

fn contains(whole: &Value, part: &Value) -> bool {
    whole == part
        || match whole {
            Value::Array(items) => items.iter().any(|item| contains(item, part)),
            Value::Object(fields) => fields.values().any(|field| contains(field, part)),
            _ => false,
        }
}

/// Puts a value at its dotted path, making the objects on the way.
fn place(into: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            into.insert(path.to_owned(), value);
        }
        Some((key, rest)) => {
            let inner = into.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

/// The value with control and direction-changing characters made spaces.
fn plain(value: Value) -> Value {
    match value {
        Value::String(text) => {
            Value::String(text.chars().map(|c| if unsafe_in_text(c) { ' ' } else { c }).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        other => other,
    }
}

/// Control characters, and those that turn the direction of writing (Unicode TR 9, section 2).
fn unsafe_in_text(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}
