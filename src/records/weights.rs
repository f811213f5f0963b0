//! What an agreement is worth: the log-likelihood ratio of Fellegi and Sunter (1969), in bits. `m` is how often a
//! record and what is said of it agree at a level, `u` how often what is said and somebody else's record do.

use super::agreement::{Kind, Level};
use crate::base::Finding;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Weights of all fields, as `prokura lookup fit` finds them: `[matching]` of lookup.toml.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// What is looked for: a record, or a customer, whom several sources may have.
    #[serde(default, skip_serializing_if = "Unit::is_record")]
    pub unit: Unit,
    /// From this probability on a record is taken for the one that was meant: 0.5 to 1.
    pub identify: f64,
    /// So many of the best records are compared in all fields, and told where they are not next to impossible.
    #[serde(default = "fifty")]
    pub candidates: usize,
    /// How many records there are, where the sources that are searched cannot say it: those over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The probability that what is asked for is among the records.
    pub present: f64,
    /// What bits are multiplied by before they become a probability: fields are not independent of each other.
    #[serde(default = "one")]
    pub slope: f64,
    pub fields: BTreeMap<String, FieldWeights>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Record,
    Customer,
}

impl Unit {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    const fn is_record(&self) -> bool {
        matches!(self, Self::Record)
    }
}

const fn fifty() -> usize {
    50
}

const fn one() -> f64 {
    1.0
}

/// Of one field.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldWeights {
    /// How its values are compared.
    pub kind: Kind,
    /// Whether a rare value that agrees is worth more than a common one (Winkler 1989).
    #[serde(default)]
    pub rarity: bool,
    /// By level, best first; each sums to 1. Empty where nothing was estimated yet.
    #[serde(default)]
    pub m: Vec<f64>,
    #[serde(default)]
    pub u: Vec<f64>,
}

impl Matching {
    /// What is wrong with it. `at` is where the section stands in `text`.
    pub fn findings(&self, file: &str, text: &str, at: usize) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut wrong =
            |what: String| findings.push(Finding::at(file, text, at, format!("`[matching]`: {what}")));
        let mut within = |name: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                wrong(format!("`{name}` cannot be `{value}`; allowed: {least} to {most}"));
            }
        };
        within("identify", self.identify, 0.5, 1.0);
        within("present", self.present, 0.001, 0.999_999);
        within("slope", self.slope, 0.05, 5.0);
        within("candidates", self.candidates as f64, 1.0, 1000.0);
        for (field, weights) in &self.fields {
            let levels = weights.kind.levels().len();
            for (name, shares) in [("m", &weights.m), ("u", &weights.u)] {
                let sum: f64 = shares.iter().sum();
                let positive = shares.iter().all(|share| *share > 0.0 && *share <= 1.0);
                if !shares.is_empty() && (shares.len() != levels || !positive || (sum - 1.0).abs() > 0.02) {
                    let message =
                        format!("`{name}` of `{field}` must be {levels} numbers above 0 that sum to 1");
                    wrong(format!("{message}; `prokura lookup fit` writes them"));
                }
            }
            if weights.m.len() != weights.u.len() {
                wrong(format!("`{field}` has `m` or `u` alone; `prokura lookup fit` writes both"));
            }
        }
        findings
    }

    /// Whether every field has been weighed.
    pub fn estimated(&self) -> bool {
        !self.fields.is_empty() && self.fields.values().all(|field| !field.m.is_empty())
    }

    /// A field without weights where others have them: nothing could be compared with both.
    pub fn unweighed(&self) -> Option<&str> {
        let some = self.fields.values().any(|field| !field.m.is_empty());
        self.fields.iter().find(|(_, field)| some && field.m.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Bits for an agreement in a field; nothing in one that has no weights.
    pub fn weight(&self, field: &str, level: Level, share: f64) -> f64 {
        self.fields.get(field).map_or(0.0, |weights| weights.weight(level, share))
    }

    /// Probabilities of candidates with these scores, of which one at most is meant, among so many records; what is
    /// missing to 1 is that none of them is. `unseen` records have the last one's score and were left out.
    pub fn probabilities(&self, scores: &[f64], unseen: f64, records: f64) -> Vec<f64> {
        let odds: Vec<f64> = scores.iter().map(|score| (score * self.slope).exp2()).collect();
        let none = records.max(1.0) * (1.0 - self.present) / self.present;
        let all = odds.iter().sum::<f64>() + unseen * odds.last().copied().unwrap_or(0.0) + none;
        odds.into_iter().map(|odds| odds / all).collect()
    }
}

impl FieldWeights {
    /// Bits for an agreement of this level with a value that this share of the records have.
    pub fn weight(&self, level: Level, share: f64) -> f64 {
        let level = usize::from(level);
        let (Some(m), Some(u)) = (self.m.get(level), self.u.get(level)) else { return 0.0 };
        let u = if self.rarity && level == 0 && share > 0.0 { share } else { *u };
        (m / u).log2()
    }

    /// Bits where the values are as different as can be.
    pub fn disagrees(&self) -> f64 {
        self.weight((self.m.len().max(1) - 1) as Level, 0.0)
    }

    /// Bits where all that is known is that the values are not equal.
    pub fn differs(&self) -> f64 {
        match (self.m.first(), self.u.first()) {
            (Some(m), Some(u)) if *m < 1.0 && *u < 1.0 => ((1.0 - m) / (1.0 - u)).log2(),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching() -> Matching {
        let exact = FieldWeights { kind: Kind::Exact, rarity: true, m: vec![0.9, 0.1], u: vec![0.01, 0.99] };
        Matching {
            unit: Unit::Record,
            identify: 0.95,
            candidates: 50,
            records: None,
            present: 0.5,
            slope: 1.0,
            fields: BTreeMap::from([("branch".to_owned(), exact)]),
        }
    }

    #[test]
    fn bits_are_likelihood_ratios_and_rare_values_are_worth_more() {
        let field = &matching().fields["branch"];
        assert!((field.weight(0, 0.0) - 90_f64.log2()).abs() < 1e-12);
        assert!((field.weight(0, 0.001) - 900_f64.log2()).abs() < 1e-12);
        assert!(field.disagrees() < -3.0 && (field.differs() - field.disagrees()).abs() < 1e-12);
        assert_eq!(field.weight(9, 0.1), 0.0);
    }

    #[test]
    fn probabilities_leave_room_for_none() {
        let told = matching().probabilities(&[10.0, 9.0, -20.0], 0.0, 1000.0);
        assert!((told[0] - 1024.0 / (1024.0 + 512.0 + 1000.0)).abs() < 1e-6);
        assert!(told.iter().sum::<f64>() < 1.0 && told[1] < told[0]);
        assert!(matching().probabilities(&[], 0.0, 5.0).is_empty());
        // Nine that are as good and were cut off are as likely as the one that was not.
        let cut = matching().probabilities(&[10.0], 9.0, 1.0);
        assert!((cut[0] - 0.1).abs() < 0.001, "{cut:?}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut bad = matching();
        bad.identify = 0.2;
        bad.fields.get_mut("branch").unwrap().u.pop();
        let told: Vec<String> = bad.findings("lookup.toml", "", 0).iter().map(ToString::to_string).collect();
        assert!(told[0].contains("`identify` cannot be `0.2`; allowed: 0.5 to 1"), "{told:?}");
        assert!(told[1].contains("`u` of `branch` must be 2 numbers"), "{told:?}");
        assert!(matching().findings("lookup.toml", "", 0).is_empty() && matching().estimated());
    }
}
