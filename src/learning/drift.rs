//! Whether messages and readings are still what they were: two windows of cases side by side.
//!
//! Enters: what was read in cases, from their events in the ledger. Leaves: how far the recent window is from the
//! one before it, and an event where something is beyond its threshold. No text leaves: words are compared as
//! numbers made of them.

use crate::base::{Digest, Timestamp};
use crate::cases::{CaseError, Cases, Event};
use crate::ledger::{Append, By, Entry, Ledger, LedgerError, NewEvent, Stream, StreamKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// `[drift]` of config/prokura.toml.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Days of the recent window, and of the one before it that it is held against.
    pub recent_days: u32,
    pub reference_days: u32,
    /// With fewer messages in either window nothing is said.
    pub least: usize,
    /// Population stability index of the leaves, and of the first leaf's probability.
    pub leaves: f64,
    pub confidence: f64,
    /// Difference of the mean out-of-scope probability.
    pub out_of_scope: f64,
    /// Difference of the share of word pairs that were never seen before.
    pub new_phrases: f64,
    /// Difference of mean probability and share right, in reviewed cases.
    pub calibration: f64,
    /// Fewer reviewed cases say nothing about calibration.
    pub least_reviewed: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            recent_days: 7,
            reference_days: 28,
            least: 200,
            leaves: 0.2,
            confidence: 0.2,
            out_of_scope: 0.05,
            new_phrases: 0.15,
            calibration: 0.1,
            least_reviewed: 50,
        }
    }
}

/// What drift needs to know of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When its first message was read.
    pub at: Timestamp,
    pub leaf: String,
    pub probability: f64,
    pub out_of_scope: f64,
    /// Numbers made of each pair of neighbouring words.
    pub pairs: BTreeSet<u64>,
    /// Whether a reviewer agreed with what followed from the reading; `None` where nobody was asked.
    pub agreed: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Messages of the two windows.
    pub reference: usize,
    pub recent: usize,
    pub figures: BTreeMap<String, Figure>,
    /// Leaves whose share moved most: before, now.
    pub leaves: Vec<(String, f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub value: f64,
    pub threshold: f64,
    pub crossed: bool,
}

impl Drift {
    /// The figures beyond their threshold.
    pub fn crossed(&self) -> BTreeSet<String> {
        self.figures.iter().filter(|(_, figure)| figure.crossed).map(|(name, _)| name.clone()).collect()
    }
}

/// Of the models, beside the stream of the bundles.
const STREAM: &str = "drift";
/// A share below this is counted with the others of its kind: few messages would move it far.
const SMALL: f64 = 0.02;
/// Leaves that are listed.
const LISTED: usize = 10;
const CONFIDENCE_BINS: usize = 10;

/// The cases as they were when they were last looked at, by name and length: a look reads only what is new.
#[derive(Default)]
pub struct Watch {
    cases: HashMap<String, (u64, Option<Seen>)>,
}

impl Watch {
    /// The two windows that end now; `None` where one has too few messages. Blocks.
    pub fn measured(
        &mut self,
        ledger: &Ledger,
        now: Timestamp,
        thresholds: &Thresholds,
    ) -> Result<Option<Drift>, LedgerError> {
        let days = i64::from(thresholds.recent_days) + i64::from(thresholds.reference_days);
        let from = now.plus_millis(-days * 86_400_000);
        let mut cases = HashMap::new();
        for head in ledger.heads(StreamKind::Case, None, None)? {
            // Newest first: what ended before the windows began is not in them.
            if head.at < from {
                break;
            }
            let known = self.cases.remove(&head.name).filter(|(length, _)| *length == head.length);
            let known = match known {
                Some(known) => known,
                None => {
                    match ledger.stream(&Stream::new(StreamKind::Case, head.name.clone()), 0) {
                        Ok(entries) => (head.length, seen(&entries)),
                        // What nobody may know any more is not measured either.
                        Err(LedgerError::Erased { .. }) => (head.length, None),
                        Err(error) => return Err(error),
                    }
                }
            };
            cases.insert(head.name, known);
        }
        self.cases = cases;
        let all = self.cases.values().filter_map(|(_, seen)| seen.clone()).collect();
        let (reference, recent) = windows(all, now, thresholds);
        Ok(drift(&reference, &recent, thresholds))
    }

    /// Measures, and appends an event where other figures are beyond their threshold than at the last event.
    /// Blocks.
    pub fn look(&mut self, cases: &Cases, thresholds: &Thresholds) -> Result<Option<Drift>, CaseError> {
        let parts = cases.parts();
        let now = parts.clock.now();
        let Some(found) = self.measured(&parts.ledger, now, thresholds)? else { return Ok(None) };
        let stream = Stream::new(StreamKind::Models, STREAM);
        let entries = parts.ledger.stream(&stream, 0)?;
        let before: BTreeSet<String> = entries
            .last()
            .and_then(|entry| serde_json::from_value(entry.body.get("crossed")?.clone()).ok())
            .unwrap_or_default();
        let crossed = found.crossed();
        if crossed == before {
            return Ok(Some(found));
        }
        let kind = if crossed.is_empty() { "drift_passed" } else { "drift_crossed" };
        match crossed.is_empty() {
            true => tracing::info!("messages and readings are again what they were"),
            false => tracing::warn!(figures = ?crossed, "messages or readings are not what they were"),
        }
        // What was earned before does not count any more. Should this fail, the event below is not written either, and both
        // are done at the next look.
        if crossed.difference(&before).next().is_some() {
            cases.demote_for_drift(&crossed)?;
        }
        let body = json!({"crossed": crossed, "model": parts.models.current().digest(), "drift": found});
        let event = NewEvent { at: now, kind, body };
        let batch = Append::kept(stream, entries.len() as u64, cases.digests(), vec![event]);
        parts.ledger.append(&batch, By::Anybody)?;
        Ok(Some(found))
    }
}

/// What the events of a case say; `None` where no message was read.
pub fn seen(entries: &[Entry]) -> Option<Seen> {
    let (mut text, mut first, mut agreed) = (None, None, None);
    for entry in entries {
        match serde_json::from_value::<Event>(entry.body.clone()).ok()? {
            Event::Received { message, .. } if text.is_none() => text = Some(message.text),
            Event::Understood { reading, .. } if first.is_none() => first = Some((entry.at, reading)),
            Event::Voted { vote, .. } => agreed = Some(vote.approve && agreed != Some(false)),
            _ => {}
        }
    }
    let ((at, reading), text) = (first?, text?);
    let intent = reading.intents.first()?;
    Some(Seen {
        at,
        leaf: intent.leaf.clone(),
        probability: intent.probability.get(),
        out_of_scope: reading.out_of_scope.get(),
        pairs: pairs(&text),
        agreed,
    })
}

/// Pairs of neighbouring words without digits, each as 64 bits of its SHA-256.
fn pairs(text: &str) -> BTreeSet<u64> {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let number = |pair: &[&str]| {
        let digest = Digest::of(pair.join(" ").as_bytes());
        digest.hex().get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    };
    words.windows(2).map(number).collect()
}

/// Splits what was seen into the windows that end now.
pub fn windows(all: Vec<Seen>, now: Timestamp, thresholds: &Thresholds) -> (Vec<Seen>, Vec<Seen>) {
    let day = 86_400_000;
    let recent = now.plus_millis(-i64::from(thresholds.recent_days) * day);
    let reference = recent.plus_millis(-i64::from(thresholds.reference_days) * day);
    let kept = all.into_iter().filter(|seen| seen.at >= reference && seen.at <= now);
    kept.partition(|seen| seen.at < recent)
}

/// `None` where a window has too few messages.
pub fn drift(reference: &[Seen], recent: &[Seen], thresholds: &Thresholds) -> Option<Drift> {
    if reference.len().min(recent.len()) < thresholds.least.max(1) {
        return None;
    }
    let (before, now) = (shares(reference), shares(recent));
    let (small_before, small_now) = (merged(&before, &before, &now), merged(&now, &before, &now));
    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64, threshold: f64| {
        let value = (value * 10_000.0).round() / 10_000.0;
        figures.insert(name.to_owned(), Figure { value, threshold, crossed: value > threshold });
    };
    let sizes = (reference.len(), recent.len());
    put("leaves", stability(&small_before, &small_now, sizes), thresholds.leaves);
    let bin = |seen: &Seen| format!("{}", ((seen.probability * CONFIDENCE_BINS as f64) as usize).min(9));
    let (sure_before, sure_now) = (counted(reference, bin), counted(recent, bin));
    put("confidence", stability(&sure_before, &sure_now, sizes), thresholds.confidence);
    let outside = |seen: &[Seen]| seen.iter().map(|s| s.out_of_scope).sum::<f64>() / seen.len() as f64;
    put("out_of_scope", (outside(recent) - outside(reference)).abs(), thresholds.out_of_scope);
    put("new_phrases", new_phrases(reference, recent), thresholds.new_phrases);
    if let Some(gap) = calibration(recent, thresholds.least_reviewed) {
        put("calibration", gap, thresholds.calibration);
    }
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let of = |shares: &BTreeMap<String, f64>, leaf: &str| shares.get(leaf).copied().unwrap_or(0.0);
    let mut leaves: Vec<(String, f64, f64)> =
        names.into_iter().map(|leaf| (leaf.clone(), of(&before, leaf), of(&now, leaf))).collect();
    leaves.sort_by(|a, b| (b.2 - b.1).abs().total_cmp(&(a.2 - a.1).abs()).then(a.0.cmp(&b.0)));
    leaves.truncate(LISTED);
    Some(Drift { reference: reference.len(), recent: recent.len(), figures, leaves })
}

fn counted(seen: &[Seen], name: impl Fn(&Seen) -> String) -> BTreeMap<String, f64> {
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for seen in seen {
        *shares.entry(name(seen)).or_default() += 1.0;
    }
    shares.values_mut().for_each(|share| *share /= seen.len() as f64);
    shares
}

fn shares(seen: &[Seen]) -> BTreeMap<String, f64> {
    counted(seen, |seen| seen.leaf.clone())
}

/// The shares with all leaves that are small in both windows as one.
fn merged(
    of: &BTreeMap<String, f64>,
    before: &BTreeMap<String, f64>,
    now: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let large =
        |leaf: &String| [before, now].iter().any(|s| s.get(leaf).is_some_and(|share| *share >= SMALL));
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    for (leaf, share) in of {
        let name = if large(leaf) { leaf.as_str() } else { "" };
        *out.entry(name.to_owned()).or_default() += share;
    }
    out
}

/// Population stability index, `sum (q - p) ln(q / p)`, less what chance alone gives for windows of these sizes,
/// `(bins - 1) (1/n + 1/m)` (Yurdakul, Naranjo 2020); at least 0. An empty bin counts as half a message.
fn stability(before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>, (n, m): (usize, usize)) -> f64 {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let share = |of: &BTreeMap<String, f64>, name: &String, size: usize| {
        of.get(name).copied().unwrap_or(0.0).max(0.5 / size as f64)
    };
    let bins = names.len();
    let sum: f64 = names
        .into_iter()
        .map(|name| {
            let (p, q) = (share(before, name, n), share(now, name, m));
            (q - p) * (q / p).ln()
        })
        .sum();
    let by_chance = bins.saturating_sub(1) as f64 * (1.0 / n as f64 + 1.0 / m as f64);
    (sum - by_chance).max(0.0)
}

/// How much larger the share of unknown pairs is in recent messages than it was when the last fifth of the
/// reference met the rest of it: some are always new.
fn new_phrases(reference: &[Seen], recent: &[Seen]) -> f64 {
    let mut ordered: Vec<&Seen> = reference.iter().collect();
    ordered.sort_by_key(|seen| seen.at);
    let (known, last) = ordered.split_at(ordered.len() * 4 / 5);
    let known: HashSet<u64> = known.iter().flat_map(|seen| seen.pairs.iter().copied()).collect();
    let unknown = |seen: &mut dyn Iterator<Item = &Seen>| {
        let (mut new, mut all) = (0_usize, 0_usize);
        for pair in seen.flat_map(|seen| seen.pairs.iter()) {
            all += 1;
            new += usize::from(!known.contains(pair));
        }
        new as f64 / all.max(1) as f64
    };
    (unknown(&mut recent.iter()) - unknown(&mut last.iter().copied())).max(0.0)
}

/// How far the mean probability is from the share that reviewers agreed with.
fn calibration(recent: &[Seen], least: usize) -> Option<f64> {
    let reviewed: Vec<(f64, bool)> =
        recent.iter().filter_map(|seen| Some((seen.probability, seen.agreed?))).collect();
    if reviewed.len() < least.max(1) {
        return None;
    }
    let n = reviewed.len() as f64;
    let said = reviewed.iter().map(|(p, _)| p).sum::<f64>() / n;
    let right = reviewed.iter().filter(|(_, agreed)| *agreed).count() as f64 / n;
    Some((said - right).abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn message(rng: &mut StdRng, day: i64, leaves: &[(&str, f64)], sure: f64, words: &[&str]) -> Seen {
        let mut at = rng.random_range(0.0..1.0);
        let leaf = leaves.iter().find(|(_, share)| {
            at -= share;
            at <= 0.0
        });
        let word = |rng: &mut StdRng| words[rng.random_range(0..words.len())].to_owned();
        let text: Vec<String> = (0..8).map(|_| word(rng)).collect();
        Seen {
            at: Timestamp::from_millis(day * 86_400_000),
            leaf: leaf.map_or("other", |(leaf, _)| leaf).to_owned(),
            probability: (sure + rng.random_range(-0.1..0.1)).clamp(0.0, 1.0),
            out_of_scope: 0.03,
            pairs: pairs(&text.join(" ")),
            agreed: rng.random_bool(0.3).then(|| rng.random_bool(0.9)),
        }
    }

    const MIX: [(&str, f64); 4] =
        [("balance", 0.4), ("card_arrival", 0.3), ("fees", 0.2), ("atm_support", 0.1)];
    const WORDS: [&str; 8] = ["meine", "karte", "ist", "noch", "nicht", "da", "wann", "kommt"];

    fn many(seed: u64, day: i64, mix: &[(&str, f64)], sure: f64, words: &[&str]) -> Vec<Seen> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..600).map(|_| message(&mut rng, day, mix, sure, words)).collect()
    }

    #[test]
    fn nothing_is_crossed_where_nothing_changed() {
        let thresholds = Thresholds::default();
        let (before, now) = (many(1, 1, &MIX, 0.9, &WORDS), many(2, 30, &MIX, 0.9, &WORDS));
        let found = drift(&before, &now, &thresholds).unwrap();
        assert!(found.figures.values().all(|figure| !figure.crossed), "{found:?}");
        assert_eq!(found.figures.len(), 5);
        assert!(found.figures["leaves"].value < 0.05);
        assert_eq!(drift(&before, &now[..100], &thresholds), None);
    }

    #[test]
    fn each_change_is_told_by_its_figure_alone() {
        let thresholds = Thresholds::default();
        let before = many(1, 1, &MIX, 0.9, &WORDS);
        let crossed = |now: &[Seen]| -> Vec<String> {
            drift(&before, now, &thresholds).unwrap().crossed().into_iter().collect()
        };
        let mix = [("balance", 0.1), ("card_arrival", 0.1), ("fees", 0.2), ("chargeback", 0.6)];
        assert_eq!(crossed(&many(3, 30, &mix, 0.9, &WORDS)), ["leaves"]);
        let words = ["sepa", "instant", "klappt", "seit", "gestern", "gar", "überhaupt", "mehr"];
        assert_eq!(crossed(&many(4, 30, &MIX, 0.9, &words)), ["new_phrases"]);
        let mut outside = many(5, 30, &MIX, 0.9, &WORDS);
        outside.iter_mut().for_each(|seen| seen.out_of_scope = 0.2);
        assert_eq!(crossed(&outside), ["out_of_scope"]);
        let mut declined = many(6, 30, &MIX, 0.9, &WORDS);
        declined.iter_mut().step_by(2).for_each(|seen| seen.agreed = seen.agreed.map(|_| false));
        assert_eq!(crossed(&declined), ["calibration"]);
        assert!(crossed(&many(7, 30, &MIX, 0.6, &WORDS)).contains(&"confidence".to_owned()));
    }

    #[test]
    fn windows_end_now_and_older_messages_count_for_nothing() {
        let thresholds = Thresholds::default();
        let all: Vec<Seen> =
            (0..60).flat_map(|day| many(9, day, &MIX, 0.9, &WORDS).into_iter().take(1)).collect();
        let now = Timestamp::from_millis(59 * 86_400_000);
        let (reference, recent) = windows(all, now, &thresholds);
        assert_eq!((reference.len(), recent.len()), (28, 8));
        assert!(reference.iter().all(|seen| seen.at < recent[0].at));
    }

    #[test]
    fn pairs_tell_words_apart_and_not_their_case() {
        assert_eq!(pairs("Meine Karte, 12!"), pairs("meine  KARTE"));
        assert_ne!(pairs("meine karte"), pairs("karte meine"));
        assert!(pairs("eins").is_empty() && pairs("").is_empty());
    }
}
