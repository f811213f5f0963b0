//! Which bundle may read: one that can read with the pack (every head is there) and is not below a bar, unless
//! somebody overrides the bar and says why.

use super::evaluate::{Evaluation, Figure};
use crate::base::{Digest, Timestamp};
use crate::understanding::UnderstandingError;
use crate::understanding::installed::{Action, Change, Installed, Pointer};

/// Who promotes, when, and in spite of what.
#[derive(Clone, Debug)]
pub struct Promotion<'a> {
    pub model: Digest,
    /// What reads now.
    pub previous: Digest,
    pub measured: &'a Evaluation,
    pub by: String,
    pub at: Timestamp,
    pub force: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("below the bar: {}; improve it, or promote it with --force REASON", .0.join("; "))]
    Below(Vec<String>),
    #[error("--force is empty; say why the bar does not count")]
    NoReason,
    #[error(transparent)]
    Files(#[from] UnderstandingError),
}

/// Points to the model, and writes down what was overridden. The caller holds the lock of `installed`.
pub fn promote(installed: &Installed, promotion: Promotion) -> Result<Change, Refused> {
    let below = below(&promotion.measured.figures);
    match &promotion.force {
        Some(reason) if reason.trim().is_empty() => return Err(Refused::NoReason),
        None if !below.is_empty() => return Err(Refused::Below(below)),
        _ => {}
    }
    let change = Change {
        at: promotion.at,
        action: Action::Promoted,
        model: Some(promotion.model.clone()),
        previous: Some(promotion.previous),
        by: promotion.by,
        // A bar that was not missed needs no override.
        forced: promotion.force.filter(|_| !below.is_empty()),
        below,
    };
    installed.point(Pointer::Current, Some(&promotion.model), &change)?;
    Ok(change)
}

/// Each figure below its bar, with both.
pub fn below(figures: &[Figure]) -> Vec<String> {
    let below = figures.iter().filter(|figure| figure.below_bar());
    below
        .map(|figure| format!("{}: {:.4}, bar {:.4}", figure.id, figure.value, figure.bar.unwrap_or(0.0)))
        .collect()
}

/// The bundle that read before the one that reads now: what the last promotion that still counts replaced.
/// `None` where nothing was promoted.
pub fn before(history: &[Change], current: Option<&Digest>) -> Option<Digest> {
    let promotions = history.iter().rev().filter(|change| change.action == Action::Promoted);
    promotions.into_iter().find(|change| change.model.as_ref() == current).and_then(|c| c.previous.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::bar::Better;
    use crate::learning::evaluate::Scale;
    use std::collections::BTreeMap;

    fn measured(value: f64) -> Evaluation {
        let figure = Figure {
            id: "own.de.leaf".to_owned(),
            n: 100,
            value,
            interval: [0.0, 1.0],
            scale: Scale::Share,
            baseline: None,
            better: Better::Higher,
            bar: Some(0.7),
            goal: None,
        };
        Evaluation {
            split: "dev",
            openings: None,
            tasks: BTreeMap::new(),
            out_of_scope_auroc: None,
            prediction_sets: BTreeMap::new(),
            figures: vec![figure],
            reports: BTreeMap::new(),
            model: Digest::of(b"new"),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_bar_is_overridden_with_a_reason_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(state.path().join("models")).unwrap();
        let installed = Installed::of(state.path());
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let ask = |measured: &Evaluation, force: Option<&str>| {
            let promotion = Promotion {
                model: new.clone(),
                previous: old.clone(),
                measured,
                by: "sara".to_owned(),
                at: Timestamp::from_millis(5),
                force: force.map(str::to_owned),
            };
            promote(&installed, promotion)
        };
        let weak = measured(0.6);
        let refused = ask(&weak, None).unwrap_err().to_string();
        assert!(
            refused.contains("own.de.leaf: 0.6000, bar 0.7000") && refused.contains("--force"),
            "{refused}"
        );
        assert!(matches!(ask(&weak, Some(" ")), Err(Refused::NoReason)));
        assert_eq!(
            (installed.pointer(Pointer::Current).unwrap(), installed.history().unwrap().len()),
            (None, 0)
        );
        let forced = ask(&weak, Some("new leaf needed today")).unwrap();
        assert_eq!(forced.forced.as_deref(), Some("new leaf needed today"));
        assert_eq!(installed.history().unwrap()[0].below.len(), 1);
        assert_eq!(installed.pointer(Pointer::Current).unwrap().as_ref(), Some(&new));
        let plain = ask(&measured(0.8), Some("not needed")).unwrap();
        assert_eq!((plain.forced, plain.below.len()), (None, 0));
        assert_eq!(before(&installed.history().unwrap(), Some(&new)), Some(old));
        assert_eq!(before(&[], Some(&new)), None);
    }
}
