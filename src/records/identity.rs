//! One customer as several sources have them. Values that differ are kept side by side, each with where it comes from;
//! none is taken for the right one.

use super::agreement::Kind;
use super::facts::{Origin, Record};
use crate::base::CustomerId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the sources say of one customer, by field.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Customer {
    pub id: CustomerId,
    pub values: BTreeMap<String, Vec<Known>>,
    /// Fields in which two sources disagree: not in spelling alone.
    pub conflicts: Vec<String>,
}

/// One value and who has it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Known {
    pub value: Value,
    pub sources: Vec<Origin>,
}

/// `read` are the customer's own records with the source of each; `fields` describe the person and how their values are
/// compared. A value that is the same in several records stands once, with all of them.
pub fn customer(id: &CustomerId, read: &[(String, Record)], fields: &BTreeMap<String, Kind>) -> Customer {
    let mut values = BTreeMap::new();
    let mut conflicts = Vec::new();
    for (field, kind) in fields {
        let mut known: Vec<Known> = Vec::new();
        for (source, record) in read {
            let Some(value) = record.fields.get(field).filter(|value| !value.is_null()) else { continue };
            let origin = Origin { source: source.clone(), record: record.id.clone() };
            match known.iter_mut().find(|known| known.value == *value) {
                Some(known) => known.sources.push(origin),
                None => known.push(Known { value: value.clone(), sources: vec![origin] }),
            }
        }
        let pairs = known
            .iter()
            .enumerate()
            .flat_map(|(at, one)| known.iter().skip(at + 1).map(move |other| (one, other)));
        if pairs.into_iter().any(|(one, other)| differ(*kind, &one.value, &other.value)) {
            conflicts.push(field.clone());
        }
        if !known.is_empty() {
            values.insert(field.clone(), known);
        }
    }
    Customer { id: id.clone(), values, conflicts }
}

/// Whether two values are not one in two spellings.
fn differ(kind: Kind, one: &Value, other: &Value) -> bool {
    // The levels of a name that are spellings of one: exactly, in another spelling or order.
    let spelling = if matches!(kind, Kind::Name | Kind::Place) { 1 } else { 0 };
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => match (kind.said(one), kind.kept(other)) {
            (Some(one), Some(other)) => one.level(&other) > spelling,
            _ => true,
        },
        _ => one != other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Relation;
    use super::*;
    use crate::base::{RecordId, Timestamp};
    use serde_json::{Map, json};

    fn record(id: &str, fields: Value) -> Record {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        Record {
            id: RecordId::new(id),
            owner: CustomerId::new("c"),
            relation: Relation::Owner,
            fields,
            notes: Map::new(),
            read_at: Timestamp::from_millis(7),
        }
    }

    #[test]
    fn values_keep_their_origin_and_conflicts_are_told() {
        let read = [
            (
                "crm".to_owned(),
                record("p1", json!({"last_name": "Müller", "born": "1980-02-03", "postcode": "90402"})),
            ),
            (
                "bank".to_owned(),
                record("a1", json!({"last_name": "Mueller", "born": "03.02.1980", "balance": 7})),
            ),
            (
                "cards".to_owned(),
                record("k1", json!({"last_name": "Müller", "born": null, "postcode": "90403"})),
            ),
        ];
        let fields = [
            ("last_name", Kind::Name),
            ("born", Kind::Date),
            ("postcode", Kind::Identifier),
            ("email", Kind::Email),
        ];
        let fields = fields.into_iter().map(|(field, kind)| (field.to_owned(), kind)).collect();
        let told = customer(&CustomerId::new("c"), &read, &fields);
        assert_eq!(told.conflicts, ["postcode"]);
        assert_eq!(told.values.keys().collect::<Vec<_>>(), ["born", "last_name", "postcode"]);
        let names = &told.values["last_name"];
        assert_eq!(
            (names.len(), names[0].sources.len(), names[1].sources[0].source.as_str()),
            (2, 2, "bank")
        );
        assert_eq!(names[0].sources[1].record, RecordId::new("k1"));
    }
}
