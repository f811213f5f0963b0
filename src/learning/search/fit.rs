//! The weights of the search, and when it says that nothing answers: fitted on questions that were not trained on.

use super::material::{Asked, Collection};
use super::run::asked;
use crate::learning::error::LearningError;
use crate::policy::{Generation, Nearness};
use crate::understanding::Understanding;
use crate::understanding::search::SearchWeights;

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
}

/// A question and what was compared with it.
pub struct Case<'a> {
    pub asked: &'a Asked,
    pub candidates: Vec<Candidate>,
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
        let near = generation.nearness(&asked(&question.query), models);
        let near = near.map_err(|error| LearningError::Broken(error.to_string()))?;
        let candidate = |(passage, near): (usize, Nearness)| {
            let document = collection.passages.get(passage)?.document;
            Some(Candidate { document, passage, near })
        };
        cases.push(Case { asked: question, candidates: near.into_iter().filter_map(candidate).collect() });
    }
    Ok(cases)
}

/// Weights from the held-out questions of all collections, and how the search does on each with them.
///
/// # Errors
/// As `cases`.
pub fn run(
    collections: &[Collection],
    generations: &[Generation],
    models: &Understanding,
) -> Result<(SearchWeights, Vec<Judged>), LearningError> {
    let mut sets = Vec::new();
    for (collection, generation) in collections.iter().zip(generations) {
        sets.push((collection.name, cases(collection, generation, models, |asked| asked.dev)?));
    }
    let all: Vec<&Case> = sets.iter().flat_map(|(_, cases)| cases).collect();
    let mut weights = ranking(&all);
    weights.answerable = answerable(&all, &weights);
    let judged = sets.iter().map(|(name, cases)| judged(name, &cases.iter().collect::<Vec<_>>(), &weights));
    Ok((weights.clone(), judged.collect()))
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
        for case in cases {
            let scores: Vec<f64> = case
                .candidates
                .iter()
                .map(|c| features(&c.near).iter().zip(&w).zip(SCALE).map(|((f, w), s)| f * w * s).sum())
                .collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            let is_right = |c: &Candidate| c.document == case.asked.document;
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
        answerable: [0.0; 5],
    }
}

/// The candidates with their scores, the best first.
fn ranked<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    weights: &SearchWeights,
) -> Vec<(&'a Candidate, f64)> {
    let score = |near: &Nearness| weights.score(near.words, near.vector, near.pieces);
    let mut ranked: Vec<(&Candidate, f64)> = candidates.map(|c| (c, score(&c.near))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.passage.cmp(&b.0.passage)));
    ranked
}

/// What the probability of an answer is made of; `None` where nothing was compared.
pub fn signs(ranked: &[(&Candidate, f64)]) -> Option<[f64; 4]> {
    let (best, score) = ranked.first()?;
    let next: Vec<f64> = ranked.iter().skip(1).take(5).map(|(_, score)| *score).collect();
    let out = if next.is_empty() { 0.0 } else { score - next.iter().sum::<f64>() / next.len() as f64 };
    Some([best.near.words, best.near.vector, best.near.pieces, out])
}

/// Each question once as it is, and once without the documents that answer it. Logistic regression.
fn answerable(cases: &[&Case], weights: &SearchWeights) -> [f64; 5] {
    let mut rows: Vec<([f64; 5], f64)> = Vec::new();
    for case in cases {
        let with = ranked(case.candidates.iter(), weights);
        let right = with.first().is_some_and(|(best, _)| best.document == case.asked.document);
        let without = ranked(case.candidates.iter().filter(|c| c.document != case.asked.document), weights);
        for (signs, there) in [(signs(&with), right), (signs(&without), false)] {
            if let Some([a, b, c, d]) = signs {
                rows.push(([1.0, a * 0.05, b, c, d], if there { 1.0 } else { 0.0 }));
            }
        }
    }
    let mut w = [0.0; 5];
    for step in 0..4_000 {
        let mut gradient = [0.0; 5];
        for (x, y) in &rows {
            let z: f64 = x.iter().zip(&w).map(|(x, w)| x * w).sum();
            let error = y - 1.0 / (1.0 + (-z).exp());
            gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
        }
        let rate = 20.0 * (1.0 - f64::from(step) / 4_000.0) / rows.len().max(1) as f64;
        w.iter_mut().zip(gradient).for_each(|(w, g)| *w += rate * g);
    }
    [w[0], w[1] * 0.05, w[2], w[3], w[4]]
}

pub fn judged(name: &str, cases: &[&Case], weights: &SearchWeights) -> Judged {
    let n = cases.len().max(1) as f64;
    let mut judged = Judged { name: name.to_owned(), n: cases.len(), ..Judged::default() };
    for case in cases {
        let ranked = ranked(case.candidates.iter(), weights);
        let mut documents: Vec<usize> = Vec::new();
        for (candidate, _) in &ranked {
            if !documents.contains(&candidate.document) {
                documents.push(candidate.document);
            }
        }
        let place =
            documents.iter().position(|document| *document == case.asked.document).unwrap_or(usize::MAX);
        judged.hit1 += f64::from(u8::from(place < 1)) / n;
        judged.hit5 += f64::from(u8::from(place < 5)) / n;
        judged.hit10 += f64::from(u8::from(place < 10)) / n;
        let section = ranked.first().is_some_and(|(best, _)| best.passage == case.asked.passage);
        judged.section += f64::from(u8::from(section)) / n;
    }
    judged
}
