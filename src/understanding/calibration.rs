//! Turns scores into probabilities that mean what they say. Fitted on lines that were not trained on, with the
//! eight-bit weights (`learning::calibrate`); read from a bundle's calibration.json.

use super::heads::intent::Scores;
use super::heads::tone;
use super::search::SearchWeights;
use crate::base::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub intent: Temperatures,
    pub urgency: Temperatures,
    pub sentiment: Temperatures,
    pub wants_human: Temperatures,
    /// By extraction group.
    pub spans: BTreeMap<String, Temperatures>,
    /// Probability from which a word begins a new concern.
    pub boundary: f64,
    /// The part of messages whose leaf is to be in the prediction set.
    pub coverage: f64,
    /// By language: leaves with at least this probability cannot be excluded (split conformal prediction,
    /// Vovk et al. 2005; score 1 - P(leaf)).
    pub thresholds: BTreeMap<Language, f64>,
    pub prior: Prior,
    /// How documents are ranked, by the language of the question.
    #[serde(default)]
    pub search: BTreeMap<Language, SearchWeights>,
}

/// The scores of a head are divided by its temperature (Guo et al. 2017), which is above zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temperatures {
    /// Where a language had too few lines for one of its own.
    pub all: f64,
    /// A model is not equally sure in all languages.
    pub languages: BTreeMap<Language, f64>,
}

/// How often messages are about each leaf. Probabilities hold for messages mixed like that, and for no others:
/// a leaf that comes twice as often as assumed is twice as likely before a word is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// The share of every leaf among the lines that the temperatures were fitted on; each above zero. Empty:
    /// not known, and then no other mix can be expected.
    pub assumed: BTreeMap<String, f64>,
    /// The shares that are expected instead; leaves that are left out share the rest in the ratio that they have.
    /// Empty: as assumed.
    pub expected: BTreeMap<String, f64>,
}

/// Shares are written with six digits; their sum is off by as much.
const ROUNDED: f64 = 1e-4;
/// A fitted temperature lies within; one beyond it comes from damage.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.02..=50.0;

impl Temperatures {
    pub fn even() -> Self {
        Self { all: 1.0, languages: BTreeMap::new() }
    }

    pub fn of(&self, language: Language) -> f64 {
        self.languages.get(&language).copied().unwrap_or(self.all)
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.languages.values().copied().chain([self.all])
    }
}

impl Prior {
    /// How much likelier than assumed each leaf is, in the order of `leaves`; empty where nothing else is
    /// expected (Saerens, Latinne, Decaestecker 2002).
    pub fn weights(&self, leaves: impl Iterator<Item = impl AsRef<str>>) -> Vec<f64> {
        if self.expected.is_empty() {
            return Vec::new();
        }
        let ratio = |leaf: &str| {
            let (expected, assumed) = (self.expected.get(leaf)?, self.assumed.get(leaf)?);
            Some(expected / assumed.max(f64::MIN_POSITIVE))
        };
        let others = match self.left_out() {
            rest if rest > 0.0 => (1.0 - self.stated()).max(0.0) / rest,
            _ => 1.0,
        };
        leaves.map(|leaf| ratio(leaf.as_ref()).unwrap_or(others)).collect()
    }

    /// The sum of the expected shares.
    fn stated(&self) -> f64 {
        self.expected.values().sum()
    }

    /// The sum of the assumed shares of leaves of which nothing else is expected.
    fn left_out(&self) -> f64 {
        let left = self.assumed.iter().filter(|(leaf, _)| !self.expected.contains_key(*leaf));
        left.map(|(_, share)| share).sum()
    }

    fn check(&self) -> Result<(), String> {
        let shares = self.assumed.iter().chain(&self.expected);
        if let Some((leaf, bad)) = shares.clone().find(|(_, share)| !(**share > 0.0 && **share <= 1.0)) {
            return Err(format!("the share of `{leaf}` is {bad}; it lies above 0 and up to 1"));
        }
        if let Some(leaf) = self.expected.keys().find(|leaf| !self.assumed.contains_key(*leaf)) {
            return Err(format!("`{leaf}` is expected, and its assumed share is not known"));
        }
        let stated = self.stated();
        if stated > 1.0 + ROUNDED {
            return Err(format!("the expected shares add up to {stated:.4}; at most 1"));
        }
        match self.left_out() > 0.0 && stated > 1.0 - ROUNDED && !self.expected.is_empty() {
            true => Err("the expected shares leave nothing for the other leaves".to_owned()),
            false => Ok(()),
        }
    }
}

impl Calibration {
    /// Leaves scores as they are.
    pub fn none(groups: impl IntoIterator<Item = String>) -> Self {
        Self {
            intent: Temperatures::even(),
            urgency: Temperatures::even(),
            sentiment: Temperatures::even(),
            wants_human: Temperatures::even(),
            spans: groups.into_iter().map(|group| (group, Temperatures::even())).collect(),
            boundary: 0.5,
            coverage: 0.95,
            thresholds: Language::ALL.into_iter().map(|language| (language, 0.0)).collect(),
            prior: Prior::default(),
            search: BTreeMap::new(),
        }
    }

    /// How documents are ranked for a question in this language.
    pub fn search(&self, language: Language) -> SearchWeights {
        self.search.get(&language).cloned().unwrap_or_default()
    }

    pub fn span_temperature(&self, group: &str, language: Language) -> f64 {
        self.spans.get(group).map_or(1.0, |temperatures| temperatures.of(language))
    }

    /// The tone head's probabilities.
    pub fn tone(&self, logits: &[f32], language: Language) -> tone::Scores {
        let [urgency, sentiment, wish] =
            [&self.urgency, &self.sentiment, &self.wants_human].map(|temperatures| temperatures.of(language));
        tone::scores(logits, [urgency, sentiment, wish])
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
        let heads = [&self.intent, &self.urgency, &self.sentiment, &self.wants_human];
        let mut temperatures = heads.into_iter().chain(self.spans.values()).flat_map(Temperatures::values);
        if let Some(bad) = temperatures.find(|t| !TEMPERATURES.contains(t)) {
            return Err(format!("a temperature is {bad}, outside of {TEMPERATURES:?}"));
        }
        for (name, value) in [("boundary", self.boundary), ("coverage", self.coverage)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("`{name}` is {value}"));
            }
        }
        if let Some(bad) = self.thresholds.values().find(|t| !(0.0..=1.0).contains(*t)) {
            return Err(format!("a threshold is {bad}"));
        }
        self.prior.check()?;
        self.search.values().try_for_each(SearchWeights::check)
    }
}

impl Scores {
    /// As they would be if leaves were `weights` times as frequent; nothing changes where there are none.
    pub fn weighted(mut self, edges: &[(usize, usize)], weights: &[f64]) -> Self {
        if weights.is_empty() {
            return self;
        }
        let weight = |leaf: usize| weights.get(leaf).copied().unwrap_or(1.0);
        for (joint, (_, leaf)) in self.joint.iter_mut().zip(edges) {
            *joint *= weight(*leaf);
        }
        let all = self.joint.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        self.joint.iter_mut().for_each(|joint| *joint /= all);
        self.leaves.iter_mut().chain(&mut self.parents).for_each(|p| *p = 0.0);
        for (joint, (parent, leaf)) in self.joint.iter().zip(edges) {
            for p in [self.leaves.get_mut(*leaf), self.parents.get_mut(*parent)].into_iter().flatten() {
                *p += joint;
            }
        }
        for ((within, joint), (parent, _)) in self.within.iter_mut().zip(&self.joint).zip(edges) {
            *within = joint / self.parents.get(*parent).copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understanding::heads::intent::Shape;

    #[test]
    fn a_language_without_a_temperature_takes_that_of_all() {
        let mut calibration = Calibration::none(["persons".to_owned()]);
        calibration.intent = Temperatures { all: 1.4, languages: BTreeMap::from([(Language::De, 2.0)]) };
        assert_eq!(calibration.intent.of(Language::De), 2.0);
        assert_eq!(calibration.intent.of(Language::En), 1.4);
        assert_eq!(calibration.check(), Ok(()));
        calibration.spans.insert("persons".to_owned(), Temperatures { all: 0.0, ..Temperatures::even() });
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

    #[test]
    fn another_mix_of_messages_moves_probabilities_by_its_ratio() {
        // Two parents; the second leaf stands under both.
        let shape = Shape {
            parents: 2,
            leaves: 3,
            edges: vec![(0, 0), (0, 1), (1, 1), (1, 2)],
            children: vec![0..2, 2..4],
        };
        let before = shape.scores(&[0.3, -0.2, 1.1, 0.4, -0.7, 0.9], 1.0);
        let prior = Prior {
            assumed: [("a", 0.2), ("b", 0.4), ("c", 0.4)].map(|(l, p)| (l.to_owned(), p)).into(),
            expected: [("a", 0.6), ("b", 0.2)].map(|(l, p)| (l.to_owned(), p)).into(),
        };
        let weights = prior.weights(["a", "b", "c"].iter());
        assert!(weights.iter().zip([3.0, 0.5, 0.5]).all(|(a, b)| (a - b).abs() < 1e-12), "{weights:?}");
        let after = before.clone().weighted(&shape.edges, &weights);
        let odds = |p: &Scores, a: usize, b: usize| p.leaves[a] / p.leaves[b];
        assert!((odds(&after, 0, 2) / odds(&before, 0, 2) - 6.0).abs() < 1e-9);
        assert!((odds(&after, 1, 2) / odds(&before, 1, 2) - 1.0).abs() < 1e-9);
        for sum in [&after.leaves, &after.parents, &after.joint].map(|p| p.iter().sum::<f64>()) {
            assert!((sum - 1.0).abs() < 1e-9);
        }
        assert!((after.within[0] + after.within[1] - 1.0).abs() < 1e-9);
        assert_eq!(
            before.clone().weighted(&shape.edges, &Prior::default().weights(["a"].iter())).leaves,
            before.leaves
        );
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        let mut calibration = Calibration::none([]);
        calibration.prior.expected.insert("apr".to_owned(), 0.5);
        assert!(calibration.check().unwrap_err().contains("apr"));
        calibration.prior.assumed.insert("apr".to_owned(), 0.0);
        assert!(calibration.check().unwrap_err().contains("above 0"));
        let mut of = |assumed: [f64; 2], expected: f64| {
            calibration.prior.assumed =
                [("apr", assumed[0]), ("balance", assumed[1])].map(|(l, p)| (l.to_owned(), p)).into();
            calibration.prior.expected.insert("apr".to_owned(), expected);
            calibration.check()
        };
        assert_eq!(of([0.4, 0.6], 0.7), Ok(()));
        assert!(of([0.4, 0.6], 1.0).unwrap_err().contains("leave nothing"));
        calibration.prior.expected.insert("balance".to_owned(), 0.5);
        assert!(calibration.check().unwrap_err().contains("add up to 1.5"));
    }
}
