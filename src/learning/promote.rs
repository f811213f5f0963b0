//! Which bundle may read: one that can read with the pack (every head is there) and is not below a bar, unless
//! somebody overrides the bar and says why.

use super::evaluate::{self, Evaluation};
use crate::base::{Digest, Timestamp};
use crate::understanding::UnderstandingError;
use crate::understanding::installed::{Action, Change, Installed};

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
    #[error(
        "no figure of {ENOUGH} lines or more is held to a bar; name more lines, or bars for {0}, or promote it \
         with --force REASON"
    )]
    Unmeasured(String),
    #[error("--force is empty; say why the bar does not count")]
    NoReason,
    #[error("{0} reads already")]
    Reads(Digest),
    #[error("nothing was promoted that could be taken back")]
    Nothing,
    #[error("{0} never read here; promote it with `prokura models promote`")]
    NeverRead(Digest),
    #[error(transparent)]
    Files(#[from] UnderstandingError),
}

/// A figure of fewer lines says too little.
const ENOUGH: usize = 50;

/// Has the model read from now on, and writes down what was overridden. The caller holds the lock of `installed`.
pub fn promote(installed: &Installed, promotion: Promotion) -> Result<Change, Refused> {
    if promotion.model == promotion.previous {
        return Err(Refused::Reads(promotion.model));
    }
    let figures = &promotion.measured.figures;
    let mut below = evaluate::below(figures);
    let held = figures.iter().any(|figure| figure.bar.is_some() && figure.n >= ENOUGH);
    match &promotion.force {
        Some(reason) if reason.trim().is_empty() => return Err(Refused::NoReason),
        None if !below.is_empty() => return Err(Refused::Below(below)),
        None if !held => {
            let known: Vec<&str> = figures.iter().map(|figure| figure.id.as_str()).collect();
            return Err(Refused::Unmeasured(known.join(", ")));
        }
        _ => {}
    }
    if !held {
        below.push("held to no bar".to_owned());
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
    installed.note(&change)?;
    Ok(change)
}

/// The bundle to go back to: the one that read before what reads now, or the one `asked` for if it has read here.
/// Going back twice goes back by two.
pub fn before(history: &[Change], asked: Option<&Digest>) -> Result<Digest, Refused> {
    let promoted = |change: &&Change| change.action == Action::Promoted;
    let Some(model) = asked else {
        let mut reads = read_so_far(history);
        reads.pop();
        return reads.pop().ok_or(Refused::Nothing);
    };
    let read = |change: &Change| [&change.model, &change.previous].contains(&&Some(model.clone()));
    match history.iter().filter(promoted).any(read) {
        true => Ok(model.clone()),
        false => Err(Refused::NeverRead(model.clone())),
    }
}

/// The bundles that led to the one that reads now, which is the last; those that were taken back are not there.
fn read_so_far(history: &[Change]) -> Vec<Digest> {
    let mut reads: Vec<Digest> = Vec::new();
    for change in history {
        let Some(model) = &change.model else { continue };
        match change.action {
            Action::Promoted => {
                let previous = change.previous.iter().filter(|previous| reads.last() != Some(previous));
                let previous: Vec<Digest> = previous.cloned().collect();
                reads.extend(previous);
                reads.push(model.clone());
            }
            Action::RolledBack => match reads.iter().rposition(|read| read == model) {
                Some(at) => reads.truncate(at + 1),
                None => reads.push(model.clone()),
            },
            Action::Imported | Action::Restored | Action::ShadowStarted | Action::ShadowEnded => {}
        }
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::bar::Better;
    use crate::learning::evaluate::{Figure, Scale};
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
        assert!(installed.history().unwrap().is_empty());
        let forced = ask(&weak, Some("new leaf needed today")).unwrap();
        assert_eq!(forced.forced.as_deref(), Some("new leaf needed today"));
        assert_eq!(installed.history().unwrap()[0].below.len(), 1);
        assert_eq!(installed.chosen().unwrap().current.as_ref(), Some(&new));
        let plain = ask(&measured(0.8), Some("not needed")).unwrap();
        assert_eq!((plain.forced, plain.below.len()), (None, 0));
        let again = Promotion {
            model: new.clone(),
            previous: new.clone(),
            measured: &measured(0.8),
            by: "sara".to_owned(),
            at: Timestamp::from_millis(6),
            force: None,
        };
        assert!(matches!(promote(&installed, again), Err(Refused::Reads(_))));
    }

    #[test]
    fn what_was_held_to_nothing_is_not_promoted_without_a_reason() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(state.path().join("models")).unwrap();
        let installed = Installed::of(state.path());
        let (mut unheld, mut few) = (measured(0.9), measured(0.9));
        unheld.figures[0].bar = None;
        few.figures[0].n = ENOUGH - 1;
        for measured in [&unheld, &few] {
            let ask = |force: Option<&str>| {
                let promotion = Promotion {
                    model: Digest::of(b"new"),
                    previous: Digest::of(b"old"),
                    measured,
                    by: "sara".to_owned(),
                    at: Timestamp::from_millis(5),
                    force: force.map(str::to_owned),
                };
                promote(&installed, promotion)
            };
            let refused = ask(None).unwrap_err().to_string();
            assert!(refused.contains("own.de.leaf") && refused.contains("--force"), "{refused}");
            assert_eq!(ask(Some("first bundle")).unwrap().below, ["held to no bar"]);
        }
    }

    #[test]
    fn going_back_ends_where_it_began_and_never_goes_in_circles() {
        let model = |name: &str| Digest::of(name.as_bytes());
        let change = |action: Action, to: &str, from: &str| Change {
            at: Timestamp::from_millis(1),
            action,
            model: Some(model(to)),
            previous: Some(model(from)),
            by: "sara".to_owned(),
            forced: None,
            below: Vec::new(),
        };
        let mut history = vec![
            change(Action::Imported, "b", "a"),
            change(Action::Promoted, "b", "a"),
            change(Action::Promoted, "c", "b"),
            change(Action::ShadowStarted, "d", "c"),
            change(Action::Promoted, "b", "c"),
        ];
        for (now, back) in [("b", "c"), ("c", "b"), ("b", "a")] {
            assert_eq!(before(&history, None).unwrap(), model(back));
            history.push(change(Action::RolledBack, back, now));
        }
        assert!(matches!(before(&history, None), Err(Refused::Nothing)));
        assert!(matches!(before(&[], None), Err(Refused::Nothing)));
        assert_eq!(before(&history, Some(&model("c"))).unwrap(), model("c"));
        assert!(matches!(before(&history, Some(&model("d"))), Err(Refused::NeverRead(_))));
        history.push(change(Action::RolledBack, "c", "a"));
        assert_eq!(before(&history, None).unwrap(), model("a"));
    }
}
