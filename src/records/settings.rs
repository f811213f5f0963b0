//! config/lookup.toml: which fields are looked up, what they weigh and how long it may take.

use super::agreement::Kind;
use super::weights::Matching;
use crate::base::Finding;
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
    /// Fields that tell records of a customer apart, and that the customer knows: what may be asked for, best first.
    pub ask: Vec<String>,
    /// A look-up for somebody whom nobody verified takes so long, whatever it finds.
    pub unverified_ms: u64,
    /// Fields that describe the person, and how their values are compared: what several sources have of one customer.
    pub person: BTreeMap<String, Kind>,
    /// Weights that were estimated: with them a record need not have a value exactly as it was said.
    pub matching: Option<Matching>,
}

/// As written, not checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    #[serde(default = "number::<5>")]
    threshold: Spanned<i64>,
    #[serde(default = "number::<200>")]
    max_queries: Spanned<i64>,
    #[serde(default = "number::<16>")]
    parallel: Spanned<i64>,
    #[serde(default = "number::<4000>")]
    deadline_ms: Spanned<i64>,
    #[serde(default = "number::<20>")]
    max_records: Spanned<i64>,
    weights: Spanned<BTreeMap<String, Spanned<i64>>>,
    #[serde(default = "askable")]
    ask: Vec<String>,
    #[serde(default = "number::<500>")]
    unverified_ms: Spanned<i64>,
    #[serde(default)]
    person: BTreeMap<String, Kind>,
    matching: Option<Spanned<Matching>>,
}

fn askable() -> Vec<String> {
    ["iban", "account_number", "date_of_birth", "postcode"].map(str::to_owned).to_vec()
}

/// What holds where nothing is written.
fn number<const N: i64>() -> Spanned<i64> {
    Spanned::new(0..0, N)
}

impl LookupSettings {
    /// `file` is named in findings only.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let written: Written =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        written.checked(file, text)
    }

    pub fn weight(&self, field: &str) -> Option<u32> {
        self.weights.get(field).copied()
    }

    /// Whether this field identifies an account by itself.
    pub fn identifies(&self, field: &str) -> bool {
        self.weight(field).is_some_and(|weight| weight >= self.threshold)
    }

    /// How the values of fields are compared where Prokura indexes the records itself.
    pub fn kinds(&self) -> BTreeMap<String, Kind> {
        let fields = self.matching.iter().flat_map(|matching| &matching.fields);
        fields.map(|(field, weights)| (field.clone(), weights.kind)).collect()
    }
}

impl Written {
    /// `text` is what it was read from.
    pub fn checked(self, file: &str, text: &str) -> Result<LookupSettings, Vec<Finding>> {
        let raw = self;
        let mut findings = Vec::new();
        let mut number = |field: &str, value: &Spanned<i64>, allowed: RangeInclusive<u32>| {
            let fits = u32::try_from(*value.get_ref()).ok().filter(|number| allowed.contains(number));
            fits.unwrap_or_else(|| {
                let (least, most, given) = (allowed.start(), allowed.end(), value.get_ref());
                let message = format!("`{field}` cannot be `{given}`; allowed: {least} to {most}");
                findings.push(Finding::at(file, text, value.span().start, message));
                *least
            })
        };
        let settings = LookupSettings {
            threshold: number("threshold", &raw.threshold, 1..=1000),
            max_queries: number("max_queries", &raw.max_queries, 1..=10_000) as usize,
            parallel: number("parallel", &raw.parallel, 1..=256) as usize,
            deadline_ms: number("deadline_ms", &raw.deadline_ms, 1..=60_000).into(),
            max_records: number("max_records", &raw.max_records, 1..=1000) as usize,
            ask: raw.ask,
            unverified_ms: number("unverified_ms", &raw.unverified_ms, 0..=60_000).into(),
            person: raw.person,
            weights: raw
                .weights
                .get_ref()
                .iter()
                .map(|(field, weight)| (field.clone(), number(field, weight, 1..=100)))
                .collect(),
            matching: raw.matching.as_ref().map(|matching| matching.get_ref().clone()),
        };
        if let Some(matching) = &raw.matching {
            findings.extend(matching.get_ref().findings(file, text, matching.span().start));
        }
        if settings.weights.is_empty() {
            let message = "`[weights]` names no field, so nothing could be looked up; name at least one";
            findings.push(Finding::at(file, text, raw.weights.span().start, message));
        }
        if findings.is_empty() { Ok(settings) } else { Err(findings) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/lookup.toml");

    #[test]
    fn the_shipped_weights_are_those_of_the_design() {
        let settings = LookupSettings::parse("lookup.toml", SHIPPED).unwrap();
        let of = |field| settings.weight(field).unwrap();
        assert_eq!([of("first_name"), of("last_name"), of("branch"), of("account_number")], [1, 2, 2, 5]);
        assert_eq!(settings.threshold, 5);
        assert!(
            settings.identifies("iban") && !settings.identifies("last_name") && !settings.identifies("email")
        );
    }

    #[test]
    fn what_is_shipped_holds_where_nothing_is_written() {
        let of = |text: &str| LookupSettings::parse("lookup.toml", text).unwrap();
        let (bare, shipped) = (of("weights = { iban = 5 }"), of(SHIPPED));
        let same =
            LookupSettings { weights: shipped.weights.clone(), person: shipped.person.clone(), ..bare };
        assert_eq!(same, shipped);
    }

    #[test]
    fn an_error_names_file_line_value_and_what_is_allowed() {
        let bad = SHIPPED.replace("branch = 2", "branch = 0");
        let line = bad.lines().position(|line| line == "branch = 0").unwrap() + 1;
        let error = LookupSettings::parse("lookup.toml", &bad).unwrap_err()[0].to_string();
        assert_eq!(error, format!("lookup.toml:{line}: `branch` cannot be `0`; allowed: 1 to 100"));
        let bad = SHIPPED.replace("parallel = 16", "paralel = 16");
        let error = LookupSettings::parse("lookup.toml", &bad).unwrap_err()[0].to_string();
        assert!(error.starts_with("lookup.toml:") && error.contains("`paralel`"), "{error}");
    }
}
