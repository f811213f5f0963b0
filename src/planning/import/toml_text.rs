//! Values as TOML, on one line each.

use serde_json::{Map, Value};

/// A basic string. The escapes of JSON are those of TOML, which wants one more.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// A bare key where it can be one.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// TOML has no null: members and elements that are null are left out.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter(|item| !item.is_null()).map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => table(members),
    }
}

fn table(members: &Map<String, Value>) -> String {
    let members = members.iter().filter(|(_, value)| !value.is_null());
    let members: Vec<String> =
        members.map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
    if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
}

/// A schema under a header of its own, a line for each property.
pub(super) fn section(header: &str, schema: &Value) -> String {
    let Value::Object(members) = schema else { return format!("{header}\n") };
    let mut text = format!("{header}\n");
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) if !properties.is_empty() => {
                for (property, schema) in properties {
                    text.push_str(&format!("properties.{} = {}\n", key(property), inline(schema)));
                }
            }
            _ => text.push_str(&format!("{} = {}\n", key(name), inline(value))),
        }
    }
    text
}
