//! Whether a value fits a declared JSON schema.

use serde_json::Value;

/// Says where a value does not fit, as a JSON pointer, and never what stands there.
pub fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(_) => return Some("the declared schema cannot be used".to_owned()),
    };
    let error = validator.iter_errors(value).next()?;
    let place = error.instance_path().to_string();
    let rule = error.schema_path().to_string();
    // Names of members that a caller or a system chose could hold anything; only the schema's are told.
    let place = if known(schema, &place) { place } else { String::new() };
    Some(format!("`{place}` breaks {rule}"))
}

/// Whether every part of the pointer is a property that the schema declares.
fn known(schema: &Value, pointer: &str) -> bool {
    let mut at = schema;
    pointer.split('/').skip(1).all(|part| {
        at.get("properties").and_then(|properties| properties.get(part)).is_some_and(|inner| {
            at = inner;
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_place_is_told_and_the_value_is_not() {
        let schema = json!({"type": "object", "additionalProperties": false,
            "properties": {"amount": {"type": "object", "properties": {"minor": {"type": "integer"}}}}});
        assert_eq!(misfit(&schema, &json!({"amount": {"minor": 1}})), None);
        let told = misfit(&schema, &json!({"amount": {"minor": "Huber"}})).unwrap();
        assert!(told.contains("/amount/minor") && !told.contains("Huber"), "{told}");
        let told = misfit(&schema, &json!({"Huber": 1})).unwrap();
        assert!(!told.contains("Huber"), "{told}");
    }
}
