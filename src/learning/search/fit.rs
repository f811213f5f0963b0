//! The weights of the search, and when it says that nothing answers: fitted on questions that were not trained on.

#![expect(clippy::indexing_slicing, reason = "rows of a fixed number of values")]

use super::material::{Asked, Collection};
use super::run::asked;
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::planning::bare;
use crate::policy::{
    Generation, Nearness, OTHER_LANGUAGE, PASSAGES_A_PLACE, PassageText, PolicyError, Ranked, signs,
};
use crate::understanding::Understanding;
use crate::understanding::search::{SIGNS, SearchWeights};
use std::collections::BTreeMap;

/// How often the first right document is among the first.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Judged {
    pub name: String,
    pub n: usize,
    pub hit1: f64,
    pub hit5: f64,
    pub hit10: f64,
    /// The passage at the top is the one that the answer stands in.
    pub section: f64,
}

/// A passage that was compared with a question.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub document: usize,
    pub passage: usize,
    pub near: Nearness,
    /// The share of what the question's words tell that stands in it.
    pub covered: f64,
    /// Of the very section that the answer stands in.
    pub same: bool,
    /// Of the document that answers, or of the same one in another language.
    pub kin: bool,
}

/// A question and what was compared with it.
pub struct Case<'a> {
    pub asked: &'a Asked,
    /// How much each of its pieces counts.
    pub weights: Vec<f64>,
    pub candidates: Vec<Candidate>,
    /// The document is so long that only the right section of it answers.
    pub long: bool,
}

impl Case<'_> {
    fn is_right(&self, candidate: &Candidate) -> bool {
        candidate.document == self.asked.document && (!self.long || candidate.same)
    }
}

/// # Errors
/// The search fails.
pub fn cases<'a>(
    collection: &'a Collection,
    generation: &Generation,
    models: &Understanding,
    wanted: impl Fn(&Asked) -> bool,
) -> Result<Vec<Case<'a>>, LearningError> {
    let mut cases = Vec::new();
    for question in collection.questions.iter().filter(|question| wanted(question)) {
        let (weights, mut candidates) = candidates(collection, generation, models, &question.query)?;
        let right = collection.passages.get(question.passage);
        let named = |document: usize| collection.documents.get(document).map(|one| bare(&one.id));
        for candidate in &mut candidates {
            let section = collection.passages.get(candidate.passage).map(|one| (one.document, &one.section));
            candidate.same = section == right.map(|right| (right.document, &right.section));
            candidate.kin = named(candidate.document) == named(question.document);
        }
        let own = collection.passages.iter().filter(|passage| passage.document == question.document).count();
        cases.push(Case { asked: question, weights, candidates, long: own > PASSAGES_A_PLACE });
    }
    Ok(cases)
}

/// What is compared with a question, as if nothing answered it; and how much its pieces count.
fn candidates(
    collection: &Collection,
    generation: &Generation,
    models: &Understanding,
    query: &str,
) -> Result<(Vec<f64>, Vec<Candidate>), LearningError> {
    let question = asked(query);
    let broken = |error: PolicyError| LearningError::Broken(error.to_string());
    let compared = generation.nearness(&question, models).map_err(broken)?;
    let numbers: Vec<usize> = compared.near.keys().copied().collect();
    let covered = generation.coverage(&question, &numbers).map_err(broken)?;
    let candidate = |((passage, near), covered): ((usize, Nearness), f64)| {
        let PassageText { document, .. } = collection.passages.get(passage)?;
        Some(Candidate { document: *document, passage, near, covered, same: false, kin: false })
    };
    let candidates = compared.near.into_iter().zip(covered).filter_map(candidate).collect();
    Ok((compared.weights, candidates))
}

/// A language with fewer held-out questions has no weights of its own.
const ENOUGH: usize = 50;

/// Weights for each language from the held-out questions of all collections, and how the search does on each with
/// them. `strays` are about nothing that any document speaks of.
///
/// # Errors
/// As `cases`.
pub fn run(
    collections: &[Collection],
    strays: &[(Language, String)],
    generations: &[Generation],
    models: &Understanding,
) -> Result<(BTreeMap<Language, SearchWeights>, Vec<Judged>), LearningError> {
    let mut sets = Vec::new();
    for (collection, generation) in collections.iter().zip(generations) {
        sets.push((collection.name, cases(collection, generation, models, |asked| asked.dev)?));
    }
    let mut all = BTreeMap::new();
    for language in Language::ALL {
        let own = sets.iter().flat_map(|(_, cases)| cases).filter(|case| case.asked.language == language);
        let own: Vec<&Case> = own.collect();
        if own.len() >= ENOUGH {
            let mut weights = ranking(&own);
            let mut stray = Vec::new();
            for (_, text) in strays.iter().filter(|(of, _)| *of == language) {
                // Each is asked of one collection, in turns.
                let at = stray.len() % collections.len().max(1);
                if let (Some(collection), Some(generation)) = (collections.get(at), generations.get(at)) {
                    stray.push(candidates(collection, generation, models, text)?);
                }
            }
            weights.answerable = answerable(&own, &stray, &weights);
            all.insert(language, weights);
        }
    }
    let mut told = Vec::new();
    for (name, cases) in &sets {
        for language in Language::ALL {
            let own: Vec<&Case> = cases.iter().filter(|case| case.asked.language == language).collect();
            let weights = all.get(&language).cloned().unwrap_or_default();
            if !own.is_empty() {
                told.push(judged(&format!("{name}.{language}"), &own, &weights));
            }
        }
    }
    Ok((all, told))
}

fn features(near: &Nearness) -> [f64; 3] {
    [near.words, near.vector, near.pieces]
}

/// Maximises the probability of the right document's passages in a softmax over all that were compared, by gradient
/// ascent on the three weights.
fn ranking(cases: &[&Case]) -> SearchWeights {
    // BM25 scores are tens of times as large as cosines.
    const SCALE: [f64; 3] = [0.05, 1.0, 1.0];
    let mut w = [10.0, 10.0, 10.0];
    for step in 0..400 {
        let mut gradient = [0.0; 3];
        // The weights of the cosines are brought to a sum of 2 afterwards.
        let foreign = OTHER_LANGUAGE * (w[1] + w[2]) / 2.0;
        for case in cases {
            let score = |near: &Nearness| {
                let score: f64 = features(near).iter().zip(&w).zip(SCALE).map(|((f, w), s)| f * w * s).sum();
                if near.foreign { score - foreign } else { score }
            };
            let scores: Vec<f64> = case.candidates.iter().map(|c| score(&c.near)).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            let is_right = |c: &Candidate| case.is_right(c);
            let right: f64 = case
                .candidates
                .iter()
                .zip(&scores)
                .filter(|(c, _)| is_right(c))
                .map(|(_, s)| (s - top).exp())
                .sum();
            if right <= 0.0 {
                continue;
            }
            for (candidate, score) in case.candidates.iter().zip(&scores) {
                let p = (score - top).exp();
                let pull = if is_right(candidate) { p / right } else { 0.0 } - p / all;
                for ((g, f), s) in gradient.iter_mut().zip(features(&candidate.near)).zip(SCALE) {
                    *g += pull * f * s;
                }
            }
        }
        let rate = 60.0 * (1.0 - f64::from(step) / 400.0) / cases.len().max(1) as f64;
        for (w, g) in w.iter_mut().zip(gradient) {
            *w = (*w + rate * g).max(0.0);
        }
    }
    let [words, vector, pieces] = w;
    let sum = (vector + pieces).max(1e-9);
    // Only their ratio counts for the order; cosines are kept near their own scale.
    SearchWeights {
        words: words * 0.05 * 2.0 / sum,
        vector: vector * 2.0 / sum,
        pieces: pieces * 2.0 / sum,
        answerable: [0.0; SIGNS + 1],
    }
}

/// The candidates with their scores, the best first.
fn ranked<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    weights: &SearchWeights,
) -> Vec<(&'a Candidate, f64)> {
    let mut ranked: Vec<(&Candidate, f64)> = candidates.map(|c| (c, c.near.score(weights))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.passage.cmp(&b.0.passage)));
    ranked
}

/// The share of the questions that are taken to have no answer. The more there are, the fewer count as answered; their
/// order stays the same.
const UNANSWERED: f64 = 0.25;

/// What the weights of the signs may be: more of a question in a passage never tells against it, and what its document
/// lacks never for it.
const BOUNDS: [(f64, f64); SIGNS] = {
    const ANY: f64 = f64::INFINITY;
    [(0.0, ANY), (0.0, ANY), (0.0, ANY), (-ANY, 0.0), (-ANY, 0.0), (-ANY, ANY)]
};

/// Of these the share that is about something else altogether; the others are what only one document answers, and it
/// is gone.
const STRAY: f64 = 0.4;

/// Each question once as it is, and once without what answers it; and the strays. Logistic regression on what is
/// standardised.
fn answerable(
    cases: &[&Case],
    strays: &[(Vec<f64>, Vec<Candidate>)],
    weights: &SearchWeights,
) -> [f64; SIGNS + 1] {
    // What tells, whether the first passage answers, and how much the row counts.
    let mut rows: Vec<([f64; SIGNS], f64, f64)> = Vec::new();
    let mut push = |pieces: &[f64], ranked: &[(&Candidate, f64)], there: bool, counts: f64| {
        let compared: Vec<Ranked> = ranked
            .iter()
            .map(|(c, score)| Ranked { document: c.document, near: &c.near, score: *score })
            .collect();
        if let Some((best, _)) = ranked.first() {
            rows.push((signs(pieces, &compared, best.covered), f64::from(u8::from(there)), counts));
        }
    };
    let stray = if strays.is_empty() { 0.0 } else { UNANSWERED * STRAY };
    for case in cases {
        let answers = |c: &Candidate| if case.long { case.is_right(c) } else { c.kin };
        let with = ranked(case.candidates.iter(), weights);
        let right = with.first().is_some_and(|(best, _)| answers(best));
        let without = ranked(case.candidates.iter().filter(|c| !answers(c)), weights);
        push(&case.weights, &with, right, 1.0 - UNANSWERED);
        push(&case.weights, &without, false, UNANSWERED - stray);
    }
    for (pieces, candidates) in strays {
        let counts = stray * cases.len() as f64 / strays.len() as f64;
        push(pieces, &ranked(candidates.iter(), weights), false, counts);
    }
    let all: f64 = rows.iter().map(|(.., counts)| counts).sum::<f64>().max(1e-9);
    let n = rows.len().max(1) as f64;
    let mean: [f64; SIGNS] = std::array::from_fn(|at| rows.iter().map(|(x, ..)| x[at]).sum::<f64>() / n);
    let spread: [f64; SIGNS] = std::array::from_fn(|at| {
        let square = rows.iter().map(|(x, ..)| (x[at] - mean[at]).powi(2)).sum::<f64>() / n;
        square.sqrt().max(1e-6)
    });
    let (mut base, mut w) = (0.0, [0.0; SIGNS]);
    for step in 0..2_000 {
        let (mut by_base, mut gradient) = (0.0, [0.0; SIGNS]);
        for (x, y, counts) in &rows {
            let x: [f64; SIGNS] = std::array::from_fn(|at| (x[at] - mean[at]) / spread[at]);
            let z: f64 = base + x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>();
            let error = counts * (y - 1.0 / (1.0 + (-z).exp()));
            by_base += error;
            gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
        }
        let rate = 2.0 * (1.0 - f64::from(step) / 2_000.0) / all;
        base += rate * by_base;
        w.iter_mut()
            .zip(gradient)
            .zip(BOUNDS)
            .for_each(|((w, g), (low, high))| *w = (*w + rate * g).clamp(low, high));
    }
    let scaled: [f64; SIGNS] = std::array::from_fn(|at| w[at] / spread[at]);
    let shift: f64 = scaled.iter().zip(&mean).map(|(w, mean)| w * mean).sum();
    let [a, b, c, d, e, f] = scaled;
    [base - shift, a, b, c, d, e, f]
}

pub fn judged(name: &str, cases: &[&Case], weights: &SearchWeights) -> Judged {
    let n = cases.len().max(1) as f64;
    let mut judged = Judged { name: name.to_owned(), n: cases.len(), ..Judged::default() };
    for case in cases {
        let ranked = ranked(case.candidates.iter(), weights);
        let mut places: Vec<(usize, bool)> = Vec::new();
        for (candidate, _) in &ranked {
            // One place for each document, unless it is long: then one for each passage that is wrong.
            let known = places.iter().any(|(document, _)| *document == candidate.document && !case.long);
            if !known {
                places.push((candidate.document, case.is_right(candidate)));
            }
        }
        let place = places.iter().position(|(_, right)| *right).unwrap_or(usize::MAX);
        judged.hit1 += f64::from(u8::from(place < 1)) / n;
        judged.hit5 += f64::from(u8::from(place < 5)) / n;
        judged.hit10 += f64::from(u8::from(place < 10)) / n;
        let section = ranked.first().is_some_and(|(best, _)| best.same);
        judged.section += f64::from(u8::from(section)) / n;
    }
    judged
}
