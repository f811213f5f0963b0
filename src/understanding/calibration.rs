//! Turns scores into probabilities that mean what they say. Fitted on lines that were not trained on
//! (`learning::calibrate`), read from a bundle's calibration.json.

use crate::base::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Scores are divided by these (Guo et al. 2017); each is above zero.
    pub intent_temperature: f64,
    /// In place of it for these languages: a model is not equally sure in all.
    #[serde(default)]
    pub intent_temperatures: BTreeMap<Language, f64>,
    pub tone_temperature: f64,
    /// By extraction group.
    pub span_temperatures: BTreeMap<String, f64>,
    /// Probability from which a word begins a new concern.
    #[serde(default = "even")]
    pub boundary: f64,
    /// The part of messages whose leaf is to be in the prediction set.
    pub coverage: f64,
    /// By language: leaves with at least this probability cannot be excluded (split conformal prediction,
    /// Vovk et al. 2005; score 1 - P(leaf)).
    pub thresholds: BTreeMap<Language, f64>,
}

const fn even() -> f64 {
    0.5
}

impl Calibration {
    /// Leaves scores as they are.
    pub fn none(groups: impl IntoIterator<Item = String>) -> Self {
        Self {
            intent_temperature: 1.0,
            intent_temperatures: BTreeMap::new(),
            tone_temperature: 1.0,
            span_temperatures: groups.into_iter().map(|group| (group, 1.0)).collect(),
            boundary: even(),
            coverage: 0.95,
            thresholds: Language::ALL.into_iter().map(|language| (language, 0.0)).collect(),
        }
    }

    pub fn intent_temperature(&self, language: Language) -> f64 {
        self.intent_temperatures.get(&language).copied().unwrap_or(self.intent_temperature)
    }

    pub fn span_temperature(&self, group: &str) -> f64 {
        self.span_temperatures.get(group).copied().unwrap_or(1.0)
    }

    /// Positions of the leaves that cannot be excluded, the likeliest first; never empty when there are leaves.
    pub fn prediction_set(&self, leaves: &[f64], language: Language) -> Vec<usize> {
        let threshold = self.thresholds.get(&language).copied().unwrap_or(0.0);
        let mut ranked: Vec<(usize, f64)> = leaves.iter().copied().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let fits = |(at, (_, p)): &(usize, &(usize, f64))| *at == 0 || *p >= threshold;
        ranked.iter().enumerate().take_while(fits).map(|(_, (leaf, _))| *leaf).collect()
    }

    /// Every number is in its range; the problem otherwise.
    pub fn check(&self) -> Result<(), String> {
        let temperatures = self
            .span_temperatures
            .values()
            .chain(self.intent_temperatures.values())
            .chain([&self.intent_temperature, &self.tone_temperature]);
        if let Some(bad) = temperatures.copied().find(|t| !(t.is_finite() && *t > 0.0)) {
            return Err(format!("a temperature is {bad}"));
        }
        if !(0.0..=1.0).contains(&self.boundary) {
            return Err(format!("the boundary is {}", self.boundary));
        }
        match self.thresholds.values().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(bad) => Err(format!("a threshold is {bad}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_without_a_temperature_takes_that_of_all() {
        let mut calibration = Calibration { intent_temperature: 1.4, ..Calibration::none([]) };
        calibration.intent_temperatures.insert(Language::De, 2.0);
        assert_eq!(calibration.intent_temperature(Language::De), 2.0);
        assert_eq!(calibration.intent_temperature(Language::En), 1.4);
        calibration.intent_temperatures.insert(Language::En, 0.0);
        assert!(calibration.check().unwrap_err().contains("temperature"));
    }

    #[test]
    fn the_set_holds_all_above_the_threshold_and_never_nothing() {
        let mut calibration = Calibration::none([]);
        calibration.thresholds.insert(Language::De, 0.2);
        assert_eq!(calibration.prediction_set(&[0.25, 0.05, 0.7], Language::De), [2, 0]);
        assert_eq!(calibration.prediction_set(&[0.1, 0.15], Language::De), [1]);
        assert_eq!(calibration.prediction_set(&[0.1, 0.9], Language::En), [1, 0]);
    }
}
