//! How far the machine goes now: what the bank lets it do, what the evidence carries, and what people or the figures took
//! back. All of it is the fold of the events of one stream, for the model that reads.

use super::autonomy::{Autonomy, Dial, Level};
use super::evidence::{Demand, Detector, Observation, Source, Standing};
use super::request::Circumstances;
use crate::base::{CallId, CaseId, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A reviewer's answers for a leaf count once they have looked at so many cases that were read as another one, ...
const LEAST_OTHERS: u64 = 10;
/// ... and called at most one in so many of those by this leaf: who says the same of everything tells nothing.
const MOST_OTHERS: u64 = 5;

/// What can happen to the dial. Stored as it stands here: a field may be added, never renamed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum DialEvent {
    /// A bundle was measured on labelled lines that it was not made with.
    Evaluated(Measured),
    Drawn(Draw),
    /// What a reviewer said before they saw what the machine had said.
    Reviewed {
        review: String,
        by: String,
        leaf: String,
        act: bool,
    },
    /// The case of a review is gone.
    Withdrawn {
        review: String,
    },
    /// The evidence carries another level, or another threshold, than before.
    Moved {
        leaf: String,
        tool: String,
        level: Level,
        threshold: Option<i64>,
        model: Digest,
        why: String,
    },
    /// The figures took it back; two people raise it again.
    Demoted {
        leaves: Vec<String>,
        tool: String,
        why: String,
    },
    Lowered(Asked),
    RaiseAsked(Asked),
    Raised(Asked),
}

/// What a person wants a dial to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub leaf: String,
    pub tool: String,
    pub level: Level,
    pub by: String,
    #[serde(default)]
    pub reason: Option<String>,
}

/// How sure a bundle was on labelled lines, and how often right: by the leaf that it read, for each confidence (basis
/// points) the right ones and the wrong ones.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub model: Digest,
    /// Lines by set.
    pub sets: BTreeMap<String, u64>,
    pub leaves: BTreeMap<String, Vec<(i64, u32, u32)>>,
}

/// A case that was drawn for a review.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Draw {
    pub review: String,
    pub case: CaseId,
    /// The last event of the case that a reviewer is shown.
    pub seq: u64,
    pub leaf: String,
    /// The call that it is about; none for a case that is put among the others.
    pub call: Option<CallId>,
    pub tool: Option<String>,
    pub source: Option<Source>,
    /// Basis points.
    pub confidence: i64,
    pub model: Digest,
}

/// A review from draw to answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Review {
    pub draw: Draw,
    pub at: Timestamp,
    seq: u64,
    pub said: Option<Said>,
    pub withdrawn: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Said {
    pub by: String,
    pub leaf: String,
    pub act: bool,
}

impl Review {
    pub fn is_open(&self) -> bool {
        self.said.is_none() && !self.withdrawn
    }

    /// Whether the machine had read what the reviewer read, and the reviewer would have acted; `None` before they said so.
    pub fn right(&self) -> Option<bool> {
        self.said.as_ref().map(|said| said.leaf == self.draw.leaf && (said.act || self.draw.call.is_none()))
    }
}

/// The fold.
#[derive(Clone, Default, Debug)]
pub struct Book {
    /// How many events were folded.
    pub length: u64,
    evaluations: Vec<(u64, Measured)>,
    reviews: Vec<Review>,
    settings: BTreeMap<(String, String), Setting>,
}

/// What happened to one dial.
#[derive(Clone, Default, Debug)]
struct Setting {
    /// What a person lowered it to.
    lowered: Option<Asked>,
    demoted: Option<String>,
    /// Evidence counts from this event of the stream on, and the detector looks from `watched` on.
    since: u64,
    watched: u64,
    asked: Option<Asked>,
    moved: Option<(Level, Option<i64>, Digest)>,
}

/// What a decision gets to know of the dial, and records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dialled {
    pub level: Level,
    /// At `auto`: only for readings of this confidence (basis points) or more; `None`: nothing has to be shown.
    #[serde(default)]
    pub threshold: Option<i64>,
    /// Over everything that it follows from.
    pub evidence: Digest,
}

/// One dial as it stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub leaf: String,
    pub tool: String,
    /// The most that config/autonomy.toml lets it be.
    pub level: Level,
    /// What it is now; at `auto` from `threshold` on.
    pub effective: Level,
    pub threshold: Option<i64>,
    pub max_error: Option<f64>,
    pub confidence: Option<f64>,
    pub reviewed: u64,
    pub errors: u64,
    pub bound: f64,
    /// Reviews without an error that are missing.
    pub missing: u64,
    /// Drawn and not answered yet.
    pub open: u64,
    /// Answered, and not counted: behind an open one, or by somebody who says the same of everything.
    pub held: u64,
    /// Leaves that count together with this one.
    pub pool: Vec<String>,
    pub demoted: bool,
    /// Who wants to raise it, and waits for a second person.
    pub raising: Option<String>,
    pub why: String,
    /// What the reviews of automatic calls showed, before it is written down.
    #[serde(skip)]
    breach: Option<String>,
    pub evidence: Digest,
}

/// Every dial as it stands for one model.
#[derive(Clone, PartialEq, Debug)]
pub struct Dials {
    pub model: Digest,
    pub rows: BTreeMap<(String, String), Row>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DialRefused {
    #[error("no line of autonomy.toml is about leaf `{leaf}` and tool `{tool}`")]
    Unknown { leaf: String, tool: String },
    #[error("autonomy.toml lets it be `{}` at most", .0.as_str())]
    NotLet(Level),
    #[error("it is `{}` already", .0.as_str())]
    Unchanged(Level),
    #[error("`{0}` has asked for it; a second person must do so, too")]
    Alone(String),
}

impl Dials {
    /// What holds for a call.
    pub fn of(&self, leaf: &str, tool: &str) -> Dialled {
        let row = |leaf: &str| self.rows.get(&(leaf.to_owned(), tool.to_owned()));
        match row(leaf).or_else(|| row("*")) {
            Some(row) => {
                Dialled { level: row.effective, threshold: row.threshold, evidence: row.evidence.clone() }
            }
            None => Dialled { level: Level::Suggest, threshold: None, evidence: Digest::of(b"") },
        }
    }

    /// The same; of a plan that was proposed, the lower one of its own concern's and that of the message's.
    pub fn of_call(&self, circumstances: &Circumstances, tool: &str) -> Dialled {
        let dialled = self.of(&circumstances.leaf, tool);
        let own = circumstances.open.as_ref().map(|plan| self.of(plan, tool));
        own.filter(|own| own.level < dialled.level).unwrap_or(dialled)
    }
}

/// What counts for one dial.
#[derive(Default)]
struct Counted {
    all: Vec<Observation>,
    /// Of calls that were made without a person, in the order in which they were drawn.
    watched: Vec<bool>,
    open: u64,
    held: u64,
}

/// What one reviewer said so far, by leaf: how often they named it, how often it was read, how often both.
#[derive(Default)]
struct Tally<'a> {
    answers: u64,
    leaves: BTreeMap<&'a str, (u64, u64, u64)>,
}

impl Tally<'_> {
    fn tells(&self, leaf: &str) -> bool {
        let (said, read, both) = self.leaves.get(leaf).copied().unwrap_or_default();
        let others = self.answers - read;
        others >= LEAST_OTHERS && (said - both) * MOST_OTHERS <= others
    }
}

impl Book {
    /// Folds one event, which stands at `seq` of the stream.
    pub fn apply(&mut self, event: DialEvent, seq: u64, at: Timestamp) {
        self.length = seq + 1;
        match event {
            DialEvent::Evaluated(evaluation) => self.evaluations.push((seq, evaluation)),
            DialEvent::Drawn(draw) => {
                self.reviews.push(Review { draw, at, seq, said: None, withdrawn: false });
            }
            DialEvent::Reviewed { review, by, leaf, act } => {
                if let Some(known) = self.find(&review).filter(|known| known.is_open()) {
                    known.said = Some(Said { by, leaf, act });
                }
            }
            DialEvent::Withdrawn { review } => {
                if let Some(known) = self.find(&review) {
                    known.withdrawn = true;
                }
            }
            DialEvent::Moved { leaf, tool, level, threshold, model, .. } => {
                self.setting(leaf, tool).moved = Some((level, threshold, model));
            }
            DialEvent::Demoted { leaves, tool, why } => {
                for leaf in leaves {
                    let setting = self.setting(leaf, tool.clone());
                    (setting.since, setting.watched, setting.asked) = (seq, seq, None);
                    setting.demoted = Some(why.clone());
                }
            }
            DialEvent::Lowered(asked) => {
                let setting = self.setting(asked.leaf.clone(), asked.tool.clone());
                (setting.lowered, setting.asked) = (Some(asked), None);
            }
            DialEvent::RaiseAsked(asked) => {
                let setting = self.setting(asked.leaf.clone(), asked.tool.clone());
                setting.asked = Some(asked);
            }
            DialEvent::Raised(asked) => {
                let setting = self.setting(asked.leaf.clone(), asked.tool.clone());
                if asked.level == Level::Auto {
                    (setting.demoted, setting.watched) = (None, seq);
                }
                (setting.lowered, setting.asked) = (Some(asked), None);
            }
        }
    }

    fn find(&mut self, review: &str) -> Option<&mut Review> {
        self.reviews.iter_mut().find(|known| known.draw.review == review)
    }

    fn setting(&mut self, leaf: String, tool: String) -> &mut Setting {
        self.settings.entry((leaf, tool)).or_default()
    }

    pub fn review(&self, review: &str) -> Option<&Review> {
        self.reviews.iter().find(|known| known.draw.review == review)
    }

    /// Whether somebody has answered a review of this case: they were told then what the machine had said.
    pub fn was_told(&self, by: &str, case: &CaseId) -> bool {
        let of = |review: &Review| review.draw.case == *case;
        self.reviews.iter().any(|known| of(known) && known.said.as_ref().is_some_and(|said| said.by == by))
    }

    /// Reviews that wait for an answer, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Review> {
        self.reviews.iter().filter(|review| review.is_open())
    }

    pub fn knows(&self, evaluation: &Measured) -> bool {
        let last = self.evaluations.iter().rev().find(|(_, known)| known.model == evaluation.model);
        last.is_some_and(|(_, known)| known == evaluation)
    }

    /// What has come of the evidence and is not told yet: a breach that demotes, a level or threshold that moved. What the
    /// same model had earned and the evidence does not carry any more is a breach, too.
    pub fn news(&self, autonomy: &Autonomy, model: &Digest) -> Vec<DialEvent> {
        let mut news: Vec<DialEvent> = Vec::new();
        for (place, row) in self.dials(autonomy, model).rows {
            let setting = self.settings.get(&place);
            let told = setting.and_then(|setting| setting.moved.as_ref());
            let earned = told.is_some_and(|told| told.0 == Level::Auto && told.2 == *model);
            let lost = earned && row.level == Level::Auto && row.max_error.is_some() && row.missing > 0;
            let why = row.breach.clone().or_else(|| lost.then(|| row.why.clone()));
            if let Some(why) = why.filter(|_| setting.is_none_or(|setting| setting.demoted.is_none())) {
                let leaves = if row.pool.is_empty() { vec![row.leaf] } else { row.pool };
                let demoted = DialEvent::Demoted { leaves, tool: row.tool, why };
                if !news.contains(&demoted) {
                    news.push(demoted);
                }
                continue;
            }
            if row.level < Level::Auto || row.max_error.is_none() {
                continue;
            }
            let now = (row.effective, row.threshold, model.clone());
            let same = told.map_or(row.effective < Level::Auto, |told| {
                *told == now || (told.0 == now.0 && now.0 < Level::Auto)
            });
            if !same {
                let (level, threshold) = (row.effective, row.threshold);
                let model = model.clone();
                news.push(DialEvent::Moved {
                    leaf: row.leaf,
                    tool: row.tool,
                    level,
                    threshold,
                    model,
                    why: row.why,
                });
            }
        }
        news
    }

    fn tallies(&self) -> BTreeMap<&str, Tally<'_>> {
        let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
        for review in &self.reviews {
            let Some(said) = &review.said else { continue };
            let tally = tallies.entry(&said.by).or_default();
            tally.answers += 1;
            tally.leaves.entry(&said.leaf).or_default().0 += 1;
            let read = tally.leaves.entry(&review.draw.leaf).or_default();
            read.1 += 1;
            read.2 += u64::from(said.leaf == review.draw.leaf);
        }
        tallies
    }

    /// What counts for these leaves. Reviews count in the order in which they were drawn, and one that nobody has answered
    /// holds up those behind it: which cases count must not depend on which ones somebody liked to answer.
    fn counted(
        &self,
        leaves: &[String],
        tool: &str,
        model: &Digest,
        (since, watched): (u64, u64),
        tallies: &BTreeMap<&str, Tally<'_>>,
    ) -> Counted {
        let mut counted = Counted::default();
        let known = self.evaluations.iter().rev().find(|(_, known)| known.model == *model);
        if let Some((_, evaluation)) = known.filter(|(seq, _)| *seq >= since) {
            for (confidence, right, wrong) in
                leaves.iter().filter_map(|leaf| evaluation.leaves.get(leaf)).flatten().copied()
            {
                let one = |right| Observation { confidence, right, source: Source::Evaluation };
                counted.all.extend(std::iter::repeat_n(one(true), right as usize));
                counted.all.extend(std::iter::repeat_n(one(false), wrong as usize));
            }
        }
        let own = self.reviews.iter().filter(|review| {
            let draw = &review.draw;
            draw.tool.as_deref() == Some(tool)
                && draw.model == *model
                && review.seq >= since
                && !review.withdrawn
                && leaves.contains(&draw.leaf)
        });
        for review in own {
            let (Some(source), Some(said), Some(right)) = (review.draw.source, &review.said, review.right())
            else {
                counted.open += 1;
                continue;
            };
            let tells = tallies.get(said.by.as_str()).is_some_and(|tally| tally.tells(&review.draw.leaf));
            if counted.open > 0 || !tells {
                counted.held += 1;
                continue;
            }
            counted.all.push(Observation { confidence: review.draw.confidence, right, source });
            if source == Source::Quality && review.seq >= watched {
                counted.watched.push(right);
            }
        }
        counted
    }

    /// Every dial as it stands for a model.
    pub fn dials(&self, autonomy: &Autonomy, model: &Digest) -> Dials {
        let tallies = self.tallies();
        let row = |(leaf, tool): (String, String)| {
            let dial = autonomy.dial(&leaf, &tool)?;
            let row = self.row((leaf.clone(), tool.clone()), dial, autonomy, (model, &tallies));
            Some(((leaf, tool), row))
        };
        Dials { model: model.clone(), rows: autonomy.places().into_iter().filter_map(row).collect() }
    }

    fn row(
        &self,
        place: (String, String),
        dial: &Dial,
        autonomy: &Autonomy,
        (model, tallies): (&Digest, &BTreeMap<&str, Tally<'_>>),
    ) -> Row {
        let setting = self.settings.get(&place).cloned().unwrap_or_default();
        let (leaf, tool) = place;
        let pool = autonomy.pooled(&leaf, &tool);
        let begins = |of: fn(&Setting) -> u64| {
            let known = pool.iter().filter_map(|leaf| self.settings.get(&(leaf.clone(), tool.clone())));
            known.map(of).max().unwrap_or(0)
        };
        let from = (begins(|setting| setting.since), begins(|setting| setting.watched));
        let counted = match (&dial.demand, leaf.as_str()) {
            (Err(_), _) | (_, "*") => Counted::default(),
            _ => self.counted(&pool, &tool, model, from, tallies),
        };
        let standing = dial.demand.as_ref().ok().map(|demand| demand.standing(&counted.all));
        let breached = dial.demand.as_ref().ok().filter(|_| setting.demoted.is_none()).and_then(|demand| {
            let mut detector = Detector::new(demand.max_error, autonomy.evidence.false_alarm_every);
            let alarm = counted.watched.iter().any(|right| detector.sees(*right));
            let wrong = counted.watched.iter().filter(|right| !**right).count();
            alarm.then(|| {
                format!(
                    "{wrong} of {} reviewed automatic calls were wrong, more than {} allows",
                    counted.watched.len(),
                    percent(demand.max_error)
                )
            })
        });
        let demoted = setting.demoted.clone().or_else(|| breached.clone());
        let (effective, threshold, why) =
            effective(dial, &setting, demoted.as_deref(), standing.as_ref(), &counted);
        let shown =
            standing.unwrap_or(Standing { threshold: None, reviewed: 0, errors: 0, bound: 1.0, missing: 0 });
        let of = (&leaf, &tool, effective, threshold, &standing, dial.demand.as_ref().ok(), from, model);
        Row {
            evidence: Digest::of(&serde_json::to_vec(&of).unwrap_or_default()),
            level: dial.level,
            effective,
            threshold,
            max_error: dial.demand.as_ref().ok().map(|demand| demand.max_error),
            confidence: dial.demand.as_ref().ok().map(|demand| demand.confidence),
            reviewed: shown.reviewed,
            errors: shown.errors,
            bound: shown.bound,
            missing: shown.missing,
            open: counted.open,
            held: counted.held,
            pool: if pool.len() > 1 { pool } else { Vec::new() },
            demoted: demoted.is_some(),
            raising: setting.asked.map(|asked| asked.by),
            breach: breached,
            why,
            leaf,
            tool,
        }
    }

    /// What comes of a person who wants a dial to be something else: lowering takes one, raising two.
    ///
    /// # Errors
    /// There is no such dial, it is that already, the bank does not let it, or the same person has asked before.
    pub fn asked(&self, autonomy: &Autonomy, model: &Digest, asked: Asked) -> Result<DialEvent, DialRefused> {
        let dials = self.dials(autonomy, model);
        let place = (asked.leaf.clone(), asked.tool.clone());
        let Some(row) = dials.rows.get(&place) else {
            return Err(DialRefused::Unknown { leaf: asked.leaf, tool: asked.tool });
        };
        let setting = self.settings.get(&place);
        let lowered = setting.and_then(|setting| setting.lowered.as_ref()).map_or(Level::Auto, |by| by.level);
        let demoted = if row.demoted { Level::Suggest } else { Level::Auto };
        let now = row.level.min(lowered).min(demoted);
        if asked.level > row.level {
            return Err(DialRefused::NotLet(row.level));
        }
        match asked.level.cmp(&now) {
            std::cmp::Ordering::Equal => Err(DialRefused::Unchanged(now)),
            std::cmp::Ordering::Less => Ok(DialEvent::Lowered(asked)),
            std::cmp::Ordering::Greater => match setting.and_then(|setting| setting.asked.as_ref()) {
                Some(first) if first.level != asked.level => Ok(DialEvent::RaiseAsked(asked)),
                Some(first) if first.by == asked.by => Err(DialRefused::Alone(asked.by)),
                Some(_) => Ok(DialEvent::Raised(asked)),
                None => Ok(DialEvent::RaiseAsked(asked)),
            },
        }
    }
}

/// The level in force, from which confidence on, and why.
fn effective(
    dial: &Dial,
    setting: &Setting,
    demoted: Option<&str>,
    standing: Option<&Standing>,
    counted: &Counted,
) -> (Level, Option<i64>, String) {
    let lowered = setting.lowered.as_ref().filter(|lowered| lowered.level < dial.level);
    if let Some(lowered) = lowered.filter(|lowered| demoted.is_none() || lowered.level == Level::Off) {
        let reason = lowered.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        return (lowered.level, None, format!("lowered by {}{reason}", lowered.by));
    }
    if dial.level < Level::Auto {
        return (dial.level, None, format!("autonomy.toml lets it be `{}`", dial.level.as_str()));
    }
    if let Some(why) = demoted {
        return (Level::Suggest, None, format!("demoted: {why}; two people raise it again"));
    }
    let (demand, standing) = match (&dial.demand, standing) {
        (Ok(demand), Some(standing)) => (demand, standing),
        (Err(reason), _) => return (Level::Auto, None, reason.clone()),
        (Ok(_), None) => return (Level::Suggest, None, "nothing was reviewed".to_owned()),
    };
    let level = if standing.threshold.is_some() { Level::Auto } else { Level::Suggest };
    (level, standing.threshold, told(*demand, standing, counted))
}

fn told(demand: Demand, standing: &Standing, counted: &Counted) -> String {
    let Standing { threshold, reviewed, errors, bound, missing } = standing;
    let of = |source: Source| counted.all.iter().filter(|seen| seen.source == source).count();
    let sources = format!(
        "{} evaluated, {} reviewed, {} of quality",
        of(Source::Evaluation),
        of(Source::Review),
        of(Source::Quality)
    );
    let sure = percent(demand.confidence);
    match threshold {
        Some(_) => format!(
            "{errors} of {reviewed} wrong: below {} with {sure} confidence ({sources})",
            percent(*bound)
        ),
        None => format!(
            "not enough evidence that fewer than {} are wrong: {errors} of {reviewed} among the surest, {missing} more \
             without an error are needed for {sure} confidence ({sources})",
            percent(demand.max_error)
        ),
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
