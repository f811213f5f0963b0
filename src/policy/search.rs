//! A question finds passages.
//!
//! By their words (`lexical`) and, where the generation has vectors of the encoder that reads the question, by
//! their meaning: the nearest passages by the vector of the whole, and those that either way finds are compared piece
//! by piece. Audience, language, date, product and document ids limit what is looked at, so a passage that may not
//! be seen is never scored, counted or returned.

use super::chunk::characters;
use super::embed::read_as;
use super::error::PolicyError;
use super::generation::{Generation, Place, Vectors};
use super::grounds::{Clearance, Grounds, Passage};
use super::lexical::Asked;
use super::sentences;
use crate::base::{Language, Probability};
use crate::intake::detect;
use crate::understanding::Understanding;
use crate::understanding::search::{self, Embedded};
use jiff::civil::Date;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The passages that `answerable` looks at where words alone are compared.
const JUDGED: usize = 5;
/// Most passages in one answer.
pub const MOST_PASSAGES: usize = 100;
/// Passages whose words are scored.
const BY_WORDS: usize = 1_000;
/// Passages that are compared piece by piece, at least: half of them the best by their words, half by their vectors.
const COMPARED: usize = 100;

/// A passage in another language than the question's has to be nearer by this much: where both are there, people want
/// their own.
const OTHER_LANGUAGE: f64 = 0.1;

/// From this probability on a question counts as answered.
const ANSWERED: f64 = 0.5;

/// See [`Question::each`].
pub const PASSAGES_A_PLACE: usize = 20;

/// What is asked, and what the asker may see.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// Handed through to the answer.
    pub id: String,
    pub text: String,
    /// What else is known of what is meant: the concern that the text was read as, a product.
    pub about: Vec<String>,
    /// Only documents in this language; `None`: in all.
    pub language: Option<Language>,
    /// The most that may be returned.
    pub audience: Clearance,
    /// The day whose rules apply.
    pub as_of: Date,
    /// Only documents with these ids; `None`: all. An empty list finds nothing.
    pub documents: Option<Vec<String>>,
    /// Only documents of this product.
    pub product: Option<String>,
    /// Most passages wanted, 1..=100; values outside become the nearest bound.
    pub top: usize,
    /// Most passages of one document, each of another section; 0: any number of any; `None`: one, and one more for every [`PASSAGES_A_PLACE`] that it
    /// has, so that a short document leaves room for others and a long one counts as several.
    pub each: Option<usize>,
}

impl Question {
    /// The language that it is asked in.
    fn spoken(&self) -> Language {
        self.language.unwrap_or_else(|| detect(&self.text, Language::En))
    }

    /// The text, and behind it what else is known.
    pub(super) fn whole(&self) -> Cow<'_, str> {
        match self.about.is_empty() {
            true => Cow::Borrowed(&self.text),
            false => Cow::Owned(format!("{} ({})", self.text, self.about.join(", "))),
        }
    }
}

/// How near a passage is to a question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nearness {
    /// Its BM25 score; 0 where it shares no word with the question.
    pub words: f64,
    /// The cosine of their vectors.
    pub vector: f64,
    /// The mean over the question's pieces of the cosine of the nearest piece.
    pub pieces: f64,
    /// The mean over the quarter of them for which it is least: what the passage does not speak of.
    pub weakest: f64,
}

impl Generation {
    /// The best passages, best first, ties in the order of documents. `score` is comparable within one answer only.
    /// Any text is a question; one without words to look up finds nothing where words alone are compared.
    ///
    /// `answerable` is calibrated where the passages have vectors of `models`. Elsewhere it is the best over the first
    /// passages of c * s / (s + m): s the passage's score, m the sum of the inverse document frequencies of the
    /// question's words, and c the share of m whose words stand in the passage, its headings or its title.
    ///
    /// # Errors
    /// Only for a failure of the search engine or of the encoder.
    pub fn search(
        &self,
        question: &Question,
        models: Option<&Understanding>,
    ) -> Result<Grounds, PolicyError> {
        let mut asked = self.asked(question)?;
        let models = models.filter(|models| models.searcher().is_some());
        let own = models.filter(|models| models.searcher() == self.manifest.encoder.as_ref());
        let alone = self.vectors.is_none() || own.is_none();
        let by_words = self.by_words(question, &asked, (BY_WORDS, alone))?;
        let (found, answerable, answered) = match (&self.vectors, own) {
            (Some(vectors), Some(models)) if !question.text.trim().is_empty() => {
                let (passages, answerable) =
                    self.by_meaning(question, (vectors, models), (&mut asked, by_words))?;
                (passages, answerable, answerable.get() >= ANSWERED)
            }
            _ => {
                let chosen = self.chosen(question, by_words).into_iter();
                let passages: Vec<Passage> = chosen
                    .filter_map(|(number, score)| self.passage(self.places.get(number)?, score))
                    .collect();
                let answerable = self.answerable_by_words(&mut asked, &passages);
                let any = !passages.is_empty();
                (passages, answerable, any)
            }
        };
        Ok(Grounds {
            id: question.id.clone(),
            passages: found,
            answerable,
            answered,
            generation: self.digest().clone(),
        })
    }

    /// How near the passages are that are worth comparing, by their numbers in the order of documents: for fitting
    /// weights. Nothing where the generation has no vectors of these models.
    ///
    /// # Errors
    /// As `search`.
    pub fn nearness(
        &self,
        question: &Question,
        models: &Understanding,
    ) -> Result<BTreeMap<usize, Nearness>, PolicyError> {
        let Some(vectors) = &self.vectors else { return Ok(BTreeMap::new()) };
        let asked = self.asked(question)?;
        let by_words = self.by_words(question, &asked, (BY_WORDS, false))?;
        let embedded = models.embedded(&[question.whole().as_ref()]).map_err(PolicyError::Encoder)?;
        let embedded = embedded.into_iter().next().unwrap_or_default();
        Ok(self.near(question, (vectors, models), &embedded, (by_words, true)))
    }

    /// For each of these passages, by their numbers, the share of what the question's words tell whose words stand
    /// there.
    ///
    /// # Errors
    /// A failure of the search engine.
    pub fn coverage(&self, question: &Question, passages: &[usize]) -> Result<Vec<f64>, PolicyError> {
        let mut asked = self.asked(question)?;
        let of =
            |passage: &usize| self.places.get(*passage).map_or(0.0, |place| self.covered(&mut asked, place));
        Ok(passages.iter().map(of).collect())
    }

    /// The best passages by their words alone, by their numbers in the order of documents, with their scores.
    ///
    /// # Errors
    /// A failure of the search engine.
    pub fn words(&self, question: &Question, most: usize) -> Result<Vec<(usize, f64)>, PolicyError> {
        self.by_words(question, &self.asked(question)?, (most, false))
    }

    fn by_meaning(
        &self,
        question: &Question,
        (vectors, models): (&Vectors, &Understanding),
        (asked, by_words): (&mut BTreeMap<Language, Asked>, Vec<(usize, f64)>),
    ) -> Result<(Vec<Passage>, Probability), PolicyError> {
        let embedded = models.embedded(&[question.whole().as_ref()]).map_err(PolicyError::Encoder)?;
        let embedded = embedded.into_iter().next().unwrap_or_default();
        let weights = &models.calibration().search(question.spoken());
        let near = self.near(question, (vectors, models), &embedded, (by_words, weights.pieces != 0.0));
        let other = |passage: usize| {
            let document = self.places.get(passage).and_then(|place| self.documents.get(place.document));
            document.is_some_and(|document| document.language != question.spoken())
        };
        let score = |passage: usize, near: &Nearness| {
            let score = weights.score(near.words, near.vector, near.pieces);
            if other(passage) { score - OTHER_LANGUAGE } else { score }
        };
        let mut ranked: Vec<(usize, f64)> =
            near.iter().map(|(passage, near)| (*passage, score(*passage, near))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let answerable = match ranked.first().and_then(|(best, _)| near.get(best).zip(self.places.get(*best)))
        {
            Some((best, place)) => {
                let scores: Vec<f64> = ranked.iter().map(|(_, score)| *score).collect();
                weights.answerable(&signs(best, &scores, self.covered(asked, place)))
            }
            None => Probability::ZERO,
        };
        let mut passages = Vec::new();
        for (number, score) in self.chosen(question, ranked) {
            let Some(place) = self.places.get(number) else { continue };
            let (Some(document), Some(mut passage)) =
                (self.documents.get(place.document), self.passage(place, score))
            else {
                continue;
            };
            let (read, before) = read_as(document, place);
            let pieces = (read.as_str(), before, self.pieces(vectors, number, place));
            passage.sentences = sentences::answering(&passage, &embedded, pieces, models)?;
            passages.push(passage);
        }
        Ok((passages, answerable))
    }

    /// The vectors of a passage's pieces.
    fn pieces<'a>(&self, vectors: &'a Vectors, passage: usize, place: &Place) -> &'a [i8] {
        let first = self.passages.get(place.document).map_or(passage, |own| own.start);
        vectors.pieces(place.document, passage - first)
    }

    /// How near the passages are that are worth comparing.
    fn near(
        &self,
        question: &Question,
        (vectors, models): (&Vectors, &Understanding),
        embedded: &Embedded,
        (by_words, compared): (Vec<(usize, f64)>, bool),
    ) -> BTreeMap<usize, Nearness> {
        let kernel = models.model().kernel();
        let mut cosines: Vec<(usize, i32)> = Vec::with_capacity(self.places.len());
        for (document, passages) in self.passages.iter().enumerate() {
            if self.admits(question, document) {
                let sums = kernel.dots(&embedded.vector, vectors.of(document, passages.len()));
                cosines.extend(passages.clone().zip(sums));
            }
        }
        let by_number: HashMap<usize, i32> = cosines.iter().copied().collect();
        let words: HashMap<usize, f64> = by_words.iter().copied().collect();
        let wanted = COMPARED.max(2 * question.top.clamp(1, MOST_PASSAGES)) / 2;
        if cosines.len() > wanted {
            cosines.select_nth_unstable_by(wanted, |a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            cosines.truncate(wanted);
        }
        let candidates = cosines.iter().map(|(passage, _)| *passage);
        let candidates = candidates.chain(by_words.iter().take(wanted).map(|(passage, _)| *passage));
        let mut near = BTreeMap::new();
        for passage in candidates {
            let Some(place) = self.places.get(passage) else { continue };
            let pieces = if compared { self.pieces(vectors, passage, place) } else { &[] };
            let cosines = search::nearest(kernel, embedded, pieces);
            let mut cosines = cosines;
            cosines.sort_by(f64::total_cmp);
            let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
            let quarter = cosines.get(..cosines.len().div_ceil(4)).unwrap_or_default();
            near.insert(
                passage,
                Nearness {
                    words: words.get(&passage).copied().unwrap_or(0.0),
                    vector: by_number.get(&passage).map_or(0.0, |sum| search::cosine(*sum)),
                    pieces: mean(&cosines),
                    weakest: mean(quarter),
                },
            );
        }
        near
    }

    /// The first of the ranked passages, at most so many of one document.
    fn chosen(&self, question: &Question, mut ranked: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
        let mut taken: HashMap<usize, usize> = HashMap::new();
        let mut sections: HashSet<(usize, &[String])> = HashSet::new();
        ranked.retain(|(passage, _)| {
            let Some(place) = self.places.get(*passage) else { return false };
            if question.each != Some(0) && !sections.insert((place.document, &place.section)) {
                return false;
            }
            let count = taken.entry(place.document).or_default();
            *count += 1;
            let passages = self.passages.get(place.document).map_or(0, ExactSizeIterator::len);
            match question.each {
                Some(most) => most == 0 || *count <= most,
                None => *count <= 1 + passages / PASSAGES_A_PLACE,
            }
        });
        ranked.truncate(question.top.clamp(1, MOST_PASSAGES));
        ranked
    }

    fn passage(&self, place: &Place, score: f64) -> Option<Passage> {
        let document = self.documents.get(place.document)?;
        Some(Passage {
            document: document.id.clone(),
            version: document.version.clone(),
            title: document.title.clone(),
            language: document.language,
            section: place.section.clone(),
            text: characters(&document.body, place.start, place.end)?.to_owned(),
            start: place.start,
            end: place.end,
            page: document.page_of(place.start),
            audience: document.audience.clone(),
            score: (score * 10_000.0).round() / 10_000.0,
            sentences: Vec::new(),
        })
    }

    /// The share of what a question's words tell whose words stand in a passage, its title or its headings.
    fn covered(&self, asked: &mut BTreeMap<Language, Asked>, place: &Place) -> f64 {
        let Some(document) = self.documents.get(place.document) else { return 0.0 };
        let Some(asked) = asked.get_mut(&document.language) else { return 0.0 };
        asked.covered_by(&read_as(document, place).0)
    }

    fn answerable_by_words(
        &self,
        asked: &mut BTreeMap<Language, Asked>,
        passages: &[Passage],
    ) -> Probability {
        let mut best = Probability::ZERO;
        for passage in passages.iter().take(JUDGED) {
            let Some(asked) = asked.get_mut(&passage.language) else { continue };
            let text = format!("{} {} {}", passage.title, passage.section.join(" "), passage.text);
            let all = asked.rarity();
            let share =
                if all > 0.0 { asked.covered_by(&text) * passage.score / (passage.score + all) } else { 0.0 };
            let share = Probability::new(share).rounded();
            best = if share > best { share } else { best };
        }
        best
    }
}

/// What tells whether the best passage answers: how near it is, how much it stands out, and which share of what the
/// question's words tell stands in it. `score`s are those of the passages in their order.
pub fn signs(best: &Nearness, scores: &[f64], covered: f64) -> [f64; 5] {
    let next = scores.get(1..scores.len().min(1 + JUDGED)).unwrap_or_default();
    let stands_out = match scores.first() {
        Some(first) if !next.is_empty() => first - next.iter().sum::<f64>() / next.len() as f64,
        _ => 0.0,
    };
    [best.vector, best.pieces, best.weakest, stands_out, covered]
}
