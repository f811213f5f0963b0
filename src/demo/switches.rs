//! What can go wrong, on demand: at the start with `--switch name=value`, later with `POST /switches`.

use super::error::DemoError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// All switches. JSON names are the field names; a change names only what it changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// Milliseconds that every answer (and every act) waits.
    pub slowness: u64,
    /// Share of requests, 0..=1, that get status 500 before anything is done.
    pub errors: f64,
    /// The next so many requests get status 500.
    pub errors_next: u32,
    /// Answers with status 200 are replaced by bytes that are no JSON.
    pub garbage: bool,
    /// Accounts that carry the fraud flag besides those that have it anyway.
    pub fraud: BTreeSet<String>,
    /// Accounts that nobody can find.
    pub missing: BTreeSet<String>,
    /// Accounts that belong to somebody else by now.
    pub passed_on: BTreeSet<String>,
    /// The account of the worked example has a look-alike twin of the same owner.
    pub doubled: bool,
    /// Idempotency keys are ignored, and effects cannot be asked for by key.
    pub no_idempotency: bool,
    /// Seconds for which a key is remembered.
    pub idempotency_window: u64,
    /// A tool acts, and the connection closes without an answer.
    pub answer_lost_after_acting: bool,
    /// Tools whose orders are refused.
    pub refuse: BTreeSet<String>,
    /// Tickets with these summaries are refused.
    pub refuse_tickets: BTreeSet<String>,
    /// Tools whose answers are lost after they acted.
    pub lose: BTreeSet<String>,
    /// Effects cannot be asked for by key at the moment.
    pub no_effects: bool,
    /// A tool acts only so many milliseconds after it was asked: choose more than the client waits.
    pub act_after_timeout: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            slowness: 0,
            errors: 0.0,
            errors_next: 0,
            garbage: false,
            fraud: BTreeSet::new(),
            missing: BTreeSet::new(),
            passed_on: BTreeSet::new(),
            doubled: false,
            no_idempotency: false,
            idempotency_window: 24 * 60 * 60,
            answer_lost_after_acting: false,
            refuse: BTreeSet::new(),
            refuse_tickets: BTreeSet::new(),
            lose: BTreeSet::new(),
            no_effects: false,
            act_after_timeout: 0,
        }
    }
}

impl Switches {
    /// `name=value` pairs as given on the command line; a bare name means `true`; lists are separated by
    /// commas. Later pairs win.
    pub fn parse(pairs: &[String]) -> Result<Self, DemoError> {
        let mut change = Map::new();
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = match name {
                "fraud" | "missing" | "passed_on" | "refuse" | "refuse_tickets" | "lose" => {
                    value.split(',').filter(|id| !id.is_empty()).map(Value::from).collect()
                }
                _ => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
            };
            change.insert(name.to_owned(), value);
        }
        Self::default().changed(&change)
    }

    /// These switches with the named ones changed. Nothing changes when one of them is unknown or has a
    /// value that does not fit.
    pub fn changed(&self, change: &Map<String, Value>) -> Result<Self, DemoError> {
        let whole = serde_json::to_value(self).unwrap_or_default();
        let Value::Object(mut whole) = whole else { return Ok(self.clone()) };
        for (name, value) in change {
            if !whole.contains_key(name) {
                let allowed = whole.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(DemoError::UnknownSwitch { name: name.clone(), allowed });
            }
            let mut one = Map::new();
            one.insert(name.clone(), value.clone());
            if let Err(error) = serde_json::from_value::<Self>(Value::Object(one)) {
                return Err(DemoError::SwitchValue {
                    name: name.clone(),
                    value: value.to_string(),
                    reason: error.to_string(),
                });
            }
            whole.insert(name.clone(), value.clone());
        }
        let changed: Self =
            serde_json::from_value(Value::Object(whole)).map_err(|error| DemoError::SwitchValue {
                name: "switches".to_owned(),
                value: String::new(),
                reason: error.to_string(),
            })?;
        if !(0.0..=1.0).contains(&changed.errors) {
            return Err(DemoError::SwitchValue {
                name: "errors".to_owned(),
                value: changed.errors.to_string(),
                reason: "a share lies between 0 and 1; for a count use `errors_next`".to_owned(),
            });
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[&str]) -> Result<Switches, DemoError> {
        Switches::parse(&pairs.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_sets_switches() {
        let set = parse(&["slowness=250", "fraud=acc_001,acc_002", "doubled", "errors=0.25"]).unwrap();
        assert_eq!((set.slowness, set.doubled, set.errors), (250, true, 0.25));
        assert!(set.fraud.contains("acc_001") && set.fraud.contains("acc_002"));
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        let unknown = parse(&["slow=1"]).unwrap_err().to_string();
        assert!(unknown.contains("`slow`") && unknown.contains("slowness"), "{unknown}");
        let value = parse(&["slowness=fast"]).unwrap_err().to_string();
        assert!(value.contains("`slowness`") && value.contains("fast"), "{value}");
        assert!(parse(&["errors=3"]).unwrap_err().to_string().contains("errors_next"));
    }

    #[test]
    fn a_change_leaves_the_others_alone() {
        let set = parse(&["doubled"]).unwrap();
        let change = serde_json::json!({"slowness": 5});
        let changed = set.changed(change.as_object().unwrap()).unwrap();
        assert!(changed.doubled && changed.slowness == 5);
    }
}
