//! One figure of the table, and how figures are made from counted items.

use crate::learning::bar::{Bar, Better};
use crate::learning::interval::{Interval, bootstrap, wilson};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Stable: subject, language where there is one, and what was measured.
    pub id: String,
    /// Lines, values or pairs that it was measured on.
    pub n: usize,
    pub value: f64,
    /// 95 %.
    pub interval: Interval,
    pub scale: Scale,
    /// The same figure of the linear model, or of a list of words for tone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    pub better: Better,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<f64>,
    /// With the distance to the baseline that the bar file asks for counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// 0 to 1, and what counts as such: F1, agreement.
    Share,
    /// Area under a curve, kappa: 0 to 1, not shown in percent.
    Score,
    /// A difference of two shares.
    Points,
    /// In a thousand messages.
    PerThousand,
    /// How many times as often.
    Ratio,
}

impl Figure {
    pub fn below_bar(&self) -> bool {
        self.bar.is_some_and(|bar| !self.better.reaches(self.value, bar))
    }

    /// `None` where nothing is to be reached.
    pub fn reached(&self) -> Option<bool> {
        self.goal.map(|goal| self.better.reaches(self.value, goal))
    }
}

/// Each figure below its bar, with both.
pub fn below(figures: &[Figure]) -> Vec<String> {
    let below = figures.iter().filter(|figure| figure.below_bar());
    below
        .map(|figure| format!("{}: {:.4}, bar {:.4}", figure.id, figure.value, figure.bar.unwrap_or(0.0)))
        .collect()
}

/// The figures so far, in the order of the table.
#[derive(Default)]
pub struct Table {
    pub figures: Vec<Figure>,
}

impl Table {
    /// `right` of `n`; nothing where there is nothing to count.
    pub fn share(&mut self, id: impl Into<String>, right: usize, n: usize, baseline: Option<f64>) {
        if n > 0 {
            self.push(id.into(), n, right as f64 / n as f64, wilson(right, n), Scale::Share, baseline);
        }
    }

    /// The share of `true`, and of the baseline's.
    pub fn hits(&mut self, id: impl Into<String>, hits: &[bool], baseline: Option<&[bool]>) {
        let count = |hits: &[bool]| hits.iter().filter(|hit| **hit).count();
        let baseline = baseline.filter(|b| !b.is_empty()).map(|b| count(b) as f64 / b.len() as f64);
        self.share(id, count(hits), hits.len(), baseline);
    }

    /// A figure of `items` items, given how often each counts; its interval comes from drawing them again.
    pub fn drawn(
        &mut self,
        id: impl Into<String>,
        scale: Scale,
        (n, items): (usize, usize),
        baseline: Option<f64>,
        figure: impl Fn(&[u32]) -> Option<f64>,
    ) {
        let value = if n > 0 { figure(&vec![1; items]) } else { None };
        if let Some((value, interval)) = value.zip(bootstrap(items, figure)) {
            self.push(id.into(), n, value, interval, scale, baseline);
        }
    }

    /// A figure that was measured elsewhere.
    pub fn given(&mut self, id: String, n: usize, value: f64, interval: Interval) {
        self.push(id, n, value, interval, Scale::Score, None);
    }

    fn push(
        &mut self,
        id: String,
        n: usize,
        value: f64,
        interval: Interval,
        scale: Scale,
        baseline: Option<f64>,
    ) {
        let better = Better::of(&id);
        self.figures.push(Figure { id, n, value, interval, scale, baseline, better, bar: None, goal: None });
    }

    pub fn per_thousand(&mut self, id: &str, right: usize, n: usize) {
        if n > 0 {
            let [low, high] = wilson(right, n);
            let value = right as f64 * 1000.0 / n as f64;
            self.push(id.to_owned(), n, value, [low * 1000.0, high * 1000.0], Scale::PerThousand, None);
        }
    }

    /// Sets what each figure is held to; gives the ids of the bar file that nothing was measured for.
    pub fn hold(&mut self, bar: &Bar) -> Vec<String> {
        for figure in &mut self.figures {
            let Some(mark) = bar.marks.get(&figure.id) else { continue };
            figure.bar = mark.bar;
            let over = mark.over_baseline.zip(figure.baseline).map(|(over, baseline)| match mark.better {
                Better::Higher => baseline + over,
                Better::Lower => baseline - over,
            });
            figure.goal = match (mark.goal, over, mark.better) {
                (Some(goal), Some(over), Better::Higher) => Some(goal.max(over)),
                (Some(goal), Some(over), Better::Lower) => Some(goal.min(over)),
                (goal, over, _) => goal.or(over),
            };
        }
        let measured = |id: &&String| !self.figures.iter().any(|figure| figure.id == **id);
        bar.marks.keys().filter(measured).cloned().collect()
    }
}

/// Of values: in the lines, found, and found right. Also the share 2 r / (w + f) of drawn items.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    pub wanted: usize,
    pub found: usize,
    pub right: usize,
}

/// F1 over drawn items; no value where there is nothing to find and nothing was found.
pub fn f1(items: &[Found], drawn: &[u32]) -> Option<f64> {
    let (mut right, mut all) = (0.0, 0.0);
    for (item, times) in items.iter().zip(drawn) {
        right += f64::from(*times) * item.right as f64;
        all += f64::from(*times) * (item.wanted + item.found) as f64;
    }
    (all > 0.0).then(|| 2.0 * right / all)
}

/// The mean F1 of the classes below `classes` that occur; items are (class, said).
pub fn macro_f1(items: &[(usize, usize)], classes: usize, drawn: &[u32]) -> Option<f64> {
    let mut counts = vec![(0.0, 0.0); classes];
    for ((class, said), times) in items.iter().zip(drawn) {
        let times = f64::from(*times);
        for (at, right) in [(class, class == said), (said, class == said)] {
            if let Some((all, hits)) = counts.get_mut(*at) {
                *all += times;
                *hits += if right { times } else { 0.0 };
            }
        }
    }
    counts.retain(|(all, _)| *all > 0.0);
    let sum: f64 = counts.iter().map(|(all, hits)| hits / all).sum();
    (!counts.is_empty()).then(|| sum / counts.len() as f64)
}

/// Agreement of two people beyond chance (Cohen 1960) over drawn items; 1 is always.
pub fn kappa(items: &[(usize, usize)], drawn: &[u32]) -> Option<f64> {
    let (mut same, mut all) = (0.0, 0.0);
    let mut by_label: std::collections::BTreeMap<usize, (f64, f64)> = std::collections::BTreeMap::new();
    for ((first, second), times) in items.iter().zip(drawn) {
        let times = f64::from(*times);
        all += times;
        same += if first == second { times } else { 0.0 };
        by_label.entry(*first).or_default().0 += times;
        by_label.entry(*second).or_default().1 += times;
    }
    let chance: f64 = by_label.values().map(|(a, b)| a * b).sum::<f64>() / (all * all);
    (all > 0.0 && chance < 1.0).then(|| (same / all - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn agreement_and_f1_have_their_known_values() {
        // Cohen's kappa of 50 answers: both yes 20, only the first 5, only the second 10, both no 15: 0.4.
        let mut items = vec![(1, 1); 20];
        items.extend(vec![(1, 0); 5]);
        items.extend(vec![(0, 1); 10]);
        items.extend(vec![(0, 0); 15]);
        assert!((kappa(&items, &[1; 50]).unwrap() - 0.4).abs() < 1e-9);
        // class 0: 2 * 15 / (25 + 20), class 1: 2 * 20 / (25 + 30)
        let wanted = (30.0 / 45.0 + 40.0 / 55.0) / 2.0;
        assert!((macro_f1(&items, 3, &[1; 50]).unwrap() - wanted).abs() < 1e-9);
        let found = [Found { wanted: 2, found: 1, right: 1 }, Found { wanted: 0, found: 1, right: 0 }];
        assert_eq!(f1(&found, &[1, 1]), Some(0.5));
        assert_eq!(f1(&found, &[2, 0]), Some(2.0 / 3.0));
        assert_eq!(f1(&found, &[0, 0]), None);
    }

    #[test]
    fn a_goal_counts_the_distance_to_the_baseline_in() {
        let text = "[[figure]]\nid = \"a\"\nbar = 0.5\ngoal = 0.7\nover_baseline = 0.05\n[[figure]]\nid = \"b.ece\"\n\
                    better = \"lower\"\nbar = 0.1\n[[figure]]\nid = \"c\"\ngoal = 1\n";
        let bar = Bar::parse(Path::new("bar.toml"), text).unwrap();
        let mut table = Table::default();
        table.share("a", 72, 100, Some(0.69));
        table.share("b.ece", 20, 100, None);
        table.share("nothing", 0, 0, None);
        assert_eq!(table.hold(&bar), ["c"]);
        let [a, b] = table.figures.as_slice() else { panic!("{:?}", table.figures) };
        assert!((a.goal.unwrap() - 0.74).abs() < 1e-9 && a.reached() == Some(false) && !a.below_bar());
        assert!(b.below_bar() && b.reached().is_none());
    }
}
