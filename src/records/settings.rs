//! config/lookup.toml: which fields are looked up, what they weigh and how long it may take.

use super::error::{RecordsError, line_at};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use toml::Spanned;

/// The checked settings.
#[derive(Clone, PartialEq, Debug)]
pub struct LookupSettings {
    /// The least score that selects a record.
    pub threshold: u32,
    pub max_queries: usize,
    pub parallel: usize,
    pub deadline_ms: u64,
    pub max_records: usize,
    /// Weight by field id.
    pub weights: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    threshold: Spanned<i64>,
    max_queries: Spanned<i64>,
    parallel: Spanned<i64>,
    deadline_ms: Spanned<i64>,
    max_records: Spanned<i64>,
    weights: Spanned<BTreeMap<String, Spanned<i64>>>,
}

impl LookupSettings {
    /// `file` is named in errors only.
    pub fn parse(text: &str, file: &str) -> Result<Self, RecordsError> {
        let raw: Raw = toml::from_str(text).map_err(|error| form(&error, text, file))?;
        let number = |field: &str, value: &Spanned<i64>, allowed: RangeInclusive<u32>| {
            u32::try_from(*value.get_ref()).ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
                RecordsError::Setting {
                    file: file.to_owned(),
                    line: line_at(text, value.span().start),
                    field: field.to_owned(),
                    value: value.get_ref().to_string(),
                    allowed: format!("{} to {}", allowed.start(), allowed.end()),
                }
            })
        };
        if raw.weights.get_ref().is_empty() {
            return Err(RecordsError::Form {
                file: file.to_owned(),
                line: line_at(text, raw.weights.span().start),
                reason: "`[weights]` names no field, so nothing could be looked up; name at least one"
                    .to_owned(),
            });
        }
        let mut weights = BTreeMap::new();
        for (field, weight) in raw.weights.get_ref() {
            weights.insert(field.clone(), number(field, weight, 1..=100)?);
        }
        Ok(Self {
            threshold: number("threshold", &raw.threshold, 1..=1000)?,
            max_queries: number("max_queries", &raw.max_queries, 1..=10_000)? as usize,
            parallel: number("parallel", &raw.parallel, 1..=256)? as usize,
            deadline_ms: number("deadline_ms", &raw.deadline_ms, 1..=60_000)?.into(),
            max_records: number("max_records", &raw.max_records, 1..=1000)? as usize,
            weights,
        })
    }

    pub fn weight(&self, field: &str) -> Option<u32> {
        self.weights.get(field).copied()
    }

    /// Whether this field identifies an account by itself.
    pub fn identifies(&self, field: &str) -> bool {
        self.weight(field).is_some_and(|weight| weight >= self.threshold)
    }
}

/// A TOML error with the line it is about.
pub fn form(error: &toml::de::Error, text: &str, file: &str) -> RecordsError {
    let line = error.span().map_or(1, |span| line_at(text, span.start));
    RecordsError::Form { file: file.to_owned(), line, reason: error.message().replace('\n', ", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/lookup.toml");

    #[test]
    fn the_shipped_weights_are_those_of_the_design() {
        let settings = LookupSettings::parse(SHIPPED, "lookup.toml").unwrap();
        let of = |field| settings.weight(field).unwrap();
        assert_eq!([of("first_name"), of("last_name"), of("branch"), of("account_number")], [1, 2, 2, 5]);
        assert_eq!(settings.threshold, 5);
        assert!(
            settings.identifies("iban") && !settings.identifies("last_name") && !settings.identifies("email")
        );
    }

    #[test]
    fn an_error_names_file_line_value_and_what_is_allowed() {
        let bad = SHIPPED.replace("branch = 2", "branch = 0");
        let line = bad.lines().position(|line| line == "branch = 0").unwrap() + 1;
        let error = LookupSettings::parse(&bad, "lookup.toml").unwrap_err().to_string();
        assert_eq!(error, format!("lookup.toml:{line}: `branch` cannot be `0`; allowed: 1 to 100"));
        let bad = SHIPPED.replace("parallel = 16", "paralel = 16");
        let error = LookupSettings::parse(&bad, "lookup.toml").unwrap_err().to_string();
        assert!(error.starts_with("lookup.toml:") && error.contains("`paralel`"), "{error}");
    }
}
