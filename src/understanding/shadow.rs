//! A challenger that reads along: what it would have said, beside what was said. It has no effect, and keeps
//! no text: an example names its case.

use super::error::UnderstandingError;
use super::fields::Known;
use super::read::Understanding;
use super::reading::Reading;
use crate::base::{Digest, Language};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Disagreements that are kept as examples, those that the challenger is surest of.
const EXAMPLES: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub current: Digest,
    pub challenger: Digest,
    /// Messages that both read.
    pub messages: usize,
    /// Messages that the challenger did not read, because it was still at another one.
    pub skipped: usize,
    /// Messages with the same first leaf, and with the same leaves in the same order.
    pub same_leaf: usize,
    pub same_leaves: usize,
    /// Means of the first leaf's probability.
    pub confidence: Pair,
    pub out_of_scope: Pair,
    /// How often the one said this leaf and the other that, `current > challenger`.
    pub differences: BTreeMap<String, usize>,
    pub examples: Vec<Example>,
}

/// A value of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub current: f64,
    pub challenger: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The case, or the line's id.
    pub id: String,
    pub current: String,
    pub challenger: String,
    pub probability: Pair,
}

/// A challenger beside the bundle that reads.
pub struct Shadow {
    challenger: Arc<Understanding>,
    report: Mutex<Report>,
    /// Held while the challenger reads: a message that comes meanwhile is skipped, so that reading along never
    /// holds anybody up.
    busy: Mutex<()>,
}

impl Report {
    pub fn new(current: &Digest, challenger: &Digest) -> Self {
        Self {
            current: current.clone(),
            challenger: challenger.clone(),
            messages: 0,
            skipped: 0,
            same_leaf: 0,
            same_leaves: 0,
            confidence: Pair::default(),
            out_of_scope: Pair::default(),
            differences: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    /// Adds what both said about one message.
    pub fn add(&mut self, id: &str, current: &Reading, challenger: &Reading) {
        let (Some(one), Some(other)) = (current.intents.first(), challenger.intents.first()) else { return };
        let n = self.messages as f64;
        let mean = |old: &mut f64, new: f64| *old = (*old * n + new) / (n + 1.0);
        mean(&mut self.confidence.current, one.probability.get());
        mean(&mut self.confidence.challenger, other.probability.get());
        mean(&mut self.out_of_scope.current, current.out_of_scope.get());
        mean(&mut self.out_of_scope.challenger, challenger.out_of_scope.get());
        self.messages += 1;
        let leaves = |reading: &Reading| -> Vec<String> {
            reading.intents.iter().map(|intent| intent.leaf.clone()).collect()
        };
        self.same_leaves += usize::from(leaves(current) == leaves(challenger));
        if one.leaf == other.leaf {
            self.same_leaf += 1;
            return;
        }
        *self.differences.entry(format!("{} > {}", one.leaf, other.leaf)).or_default() += 1;
        self.examples.push(Example {
            id: id.to_owned(),
            current: one.leaf.clone(),
            challenger: other.leaf.clone(),
            probability: Pair { current: one.probability.get(), challenger: other.probability.get() },
        });
        let sure = |example: &Example| example.probability.challenger;
        self.examples.sort_by(|a, b| sure(b).total_cmp(&sure(a)).then(a.id.cmp(&b.id)));
        self.examples.truncate(EXAMPLES);
    }
}

impl Shadow {
    pub fn new(current: &Digest, challenger: Arc<Understanding>) -> Self {
        let report = Report::new(current, challenger.digest());
        Self { challenger, report: Mutex::new(report), busy: Mutex::new(()) }
    }

    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with an earlier report on the same two bundles.
    pub fn resume(&self, earlier: Report) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if (&report.current, &report.challenger) == (&earlier.current, &earlier.challenger) {
            *report = earlier;
        }
    }

    /// Reads a message that was read already. Takes as long as a reading: call it where nobody waits.
    pub fn read(
        &self,
        id: &str,
        (text, language): (&str, Language),
        known: &[Known],
        said: &Reading,
    ) -> Result<(), UnderstandingError> {
        let Ok(_reading) = self.busy.try_lock() else {
            self.report.lock().unwrap_or_else(PoisonError::into_inner).skipped += 1;
            return Ok(());
        };
        let other = self.challenger.read(id, text, language, known)?;
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.current == said.digests.model {
            report.add(id, said, &other);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understanding::Schema;
    use std::path::Path;

    #[test]
    fn disagreements_are_counted_with_their_case_and_without_their_text() {
        let schema = Schema::read(Path::new("config")).unwrap();
        let models = Understanding::load(Path::new("models/default"), &schema).unwrap();
        let read = |text: &str| models.read("m1", text, Language::En, &[]).unwrap();
        let (stolen, balance) = (read("My card was stolen!"), read("What is my balance?"));
        let mut report = Report::new(models.digest(), models.digest());
        report.add("case_1", &stolen, &stolen);
        report.add("case_2", &stolen, &balance);
        assert_eq!((report.messages, report.same_leaf, report.same_leaves), (2, 1, 1));
        let [example] = report.examples.as_slice() else { panic!("{report:?}") };
        assert_eq!((example.id.as_str(), example.challenger.as_str()), ("case_2", "balance"));
        assert_eq!(report.differences.len(), 1);
        let mean = (stolen.intents[0].probability.get() + balance.intents[0].probability.get()) / 2.0;
        assert!((report.confidence.challenger - mean).abs() < 1e-12);
        assert!(!serde_json::to_string(&report).unwrap().contains("stolen!"));
    }

    #[test]
    fn a_shadow_reads_along_and_skips_what_it_has_no_time_for() {
        let schema = Schema::read(Path::new("config")).unwrap();
        let models = Arc::new(Understanding::load(Path::new("models/default"), &schema).unwrap());
        let said = models.read("m1", "What is my balance?", Language::En, &[]).unwrap();
        let shadow = Shadow::new(models.digest(), Arc::clone(&models));
        shadow.read("case_1", ("What is my balance?", Language::En), &[], &said).unwrap();
        let held = shadow.busy.lock().unwrap();
        shadow.read("case_2", ("What is my balance?", Language::En), &[], &said).unwrap();
        drop(held);
        let report = shadow.report();
        assert_eq!((report.messages, report.same_leaves, report.skipped), (1, 1, 1));
        let again = Shadow::new(models.digest(), Arc::clone(&models));
        again.resume(report.clone());
        assert_eq!(again.report(), report);
    }
}
