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
use super::nearness::{Compared, Nearness, Ranked, signs};
use super::sentences;
use crate::base::{Language, Probability};
use crate::intake::detect;
use crate::understanding::Understanding;
use crate::understanding::encoder::Kernel;
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

/// A further section of a document has to be better by this much for each that comes before it (by this share of the
/// best, where words alone are compared): what else there is to read is worth more than more of the same.
const FURTHER: f64 = 0.15;

/// The inverse document frequency of a word that is everywhere, or no word.
const LEAST_RARE: f64 = 1.0;

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
    /// Most passages of one document, each of another section; 0: any number of any; `None`: as many as are much better
    /// than those of others. A document that is [`PASSAGES_A_PLACE`] times as long counts as several.
    pub each: Option<usize>,
}

impl Question {
    /// What anybody may ask on a day: five public passages, in any language.
    pub fn public(text: &str, as_of: Date) -> Self {
        Self {
            id: String::new(),
            text: text.to_owned(),
            about: Vec::new(),
            language: None,
            audience: Clearance::Public,
            as_of,
            documents: None,
            product: None,
            top: 5,
            each: None,
        }
    }

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
                let further = FURTHER * by_words.first().map_or(0.0, |(_, best)| *best);
                let chosen = self.chosen(question, by_words, further).into_iter();
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
    pub fn nearness(&self, question: &Question, models: &Understanding) -> Result<Compared, PolicyError> {
        let Some(vectors) = &self.vectors else { return Ok(Compared::default()) };
        let mut asked = self.asked(question)?;
        let by_words = self.by_words(question, &asked, (BY_WORDS, false))?;
        let embedded = models.embedded(&[question.whole().as_ref()]).map_err(PolicyError::Encoder)?;
        let embedded = embedded.into_iter().next().unwrap_or_default();
        let weights = piece_weights(question, models, &mut asked)?;
        let near = self.near(question, (vectors, models), (&embedded, Some(&weights)), &by_words);
        Ok(Compared { weights, near })
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
        let pieces = match weights.pieces {
            0.0 => None,
            _ => Some(piece_weights(question, models, asked)?),
        };
        let near = self.near(question, (vectors, models), (&embedded, pieces.as_deref()), &by_words);
        let mut ranked: Vec<(usize, f64)> =
            near.iter().map(|(passage, near)| (*passage, near.score(weights))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let of = |(passage, score): &(usize, f64)| {
            let (near, place) = (near.get(passage)?, self.places.get(*passage)?);
            Some(Ranked { document: place.document, near, score: *score })
        };
        let answerable = match ranked.first().and_then(|(best, _)| self.places.get(*best)) {
            Some(place) => {
                let compared: Vec<Ranked> = ranked.iter().filter_map(of).collect();
                let covered = self.covered(asked, place);
                weights.answerable(&signs(&pieces.unwrap_or_default(), &compared, covered))
            }
            None => Probability::ZERO,
        };
        let mut passages = Vec::new();
        for (number, score) in self.chosen(question, ranked, FURTHER) {
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

    /// The nearest of the passages that the question admits, by the vectors of the whole.
    fn by_vector(
        &self,
        question: &Question,
        (vectors, kernel): (&Vectors, Kernel),
        asked: &[i8],
        wanted: usize,
    ) -> Vec<usize> {
        let documents = 0..self.passages.len();
        let admitted: Vec<bool> = documents.clone().map(|document| self.admits(question, document)).collect();
        let seen = |document: &usize| admitted.get(*document) == Some(&true);
        let own = |document: usize| self.passages.get(document).cloned().unwrap_or_default();
        let all = documents.clone().filter(seen).map(|document| own(document).len()).sum();
        let mut sums: Vec<(usize, i32)> = Vec::new();
        let mut scan = |document: usize| {
            let found = kernel.dots(asked, vectors.of(document, own(document).len()));
            sums.extend(own(document).zip(found));
        };
        match self.neighbours.as_ref().filter(|neighbours| neighbours.serves(all)) {
            None => documents.filter(seen).for_each(scan),
            Some(neighbours) => {
                neighbours.uncovered().iter().copied().filter(seen).for_each(&mut scan);
                for (document, passage) in neighbours.nearest(asked, wanted, &admitted) {
                    let vector = vectors.vector(document, passage - own(document).start);
                    sums.extend(kernel.dots(asked, vector).pop().map(|sum| (passage, sum)));
                }
            }
        }
        if sums.len() > wanted {
            sums.select_nth_unstable_by(wanted, |a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            sums.truncate(wanted);
        }
        sums.into_iter().map(|(passage, _)| passage).collect()
    }

    /// The vector of a passage.
    fn vector<'a>(&self, vectors: &'a Vectors, passage: usize, place: &Place) -> &'a [i8] {
        let first = self.passages.get(place.document).map_or(passage, |own| own.start);
        vectors.vector(place.document, passage - first)
    }

    /// The vectors of a passage's pieces.
    fn pieces<'a>(&self, vectors: &'a Vectors, passage: usize, place: &Place) -> &'a [i8] {
        let first = self.passages.get(place.document).map_or(passage, |own| own.start);
        vectors.pieces(place.document, passage - first)
    }

    /// How near the passages are that are worth comparing; piece by piece where the pieces have `weights`.
    fn near(
        &self,
        question: &Question,
        (vectors, models): (&Vectors, &Understanding),
        (embedded, weights): (&Embedded, Option<&[f64]>),
        by_words: &[(usize, f64)],
    ) -> BTreeMap<usize, Nearness> {
        let kernel = models.model().kernel();
        let words: HashMap<usize, f64> = by_words.iter().copied().collect();
        let wanted = COMPARED.max(2 * question.top.clamp(1, MOST_PASSAGES)) / 2;
        let candidates = self.by_vector(question, (vectors, kernel), &embedded.vector, wanted).into_iter();
        let candidates = candidates.chain(by_words.iter().take(wanted).map(|(passage, _)| *passage));
        let spoken = question.spoken();
        let mut near = BTreeMap::new();
        for passage in candidates {
            let Some(place) = self.places.get(passage) else { continue };
            let sum = kernel.dots(&embedded.vector, self.vector(vectors, passage, place)).pop();
            let each = match weights {
                Some(_) => search::nearest(kernel, embedded, self.pieces(vectors, passage, place)),
                None => Vec::new(),
            };
            let weighted =
                each.iter().zip(weights.unwrap_or_default()).map(|(cosine, weight)| cosine * weight);
            let nearness = Nearness {
                words: words.get(&passage).copied().unwrap_or(0.0),
                vector: sum.map_or(0.0, search::cosine),
                pieces: weighted.sum(),
                each,
                foreign: self.documents.get(place.document).is_some_and(|one| one.language != spoken),
            };
            near.insert(passage, nearness);
        }
        near
    }

    /// The first of the ranked passages, each of another section unless any are wanted.
    fn chosen(&self, question: &Question, ranked: Vec<(usize, f64)>, further: f64) -> Vec<(usize, f64)> {
        let mut taken: HashMap<usize, usize> = HashMap::new();
        let mut sections: HashSet<(usize, &[String])> = HashSet::new();
        // The score that decides the place, and what is ranked.
        let mut placed: Vec<(f64, (usize, f64))> = Vec::with_capacity(ranked.len());
        for (passage, score) in ranked {
            let Some(place) = self.places.get(passage) else { continue };
            if question.each != Some(0) && !sections.insert((place.document, &place.section)) {
                continue;
            }
            let before = taken.entry(place.document).or_default();
            let passages = self.passages.get(place.document).map_or(0, ExactSizeIterator::len);
            let share = *before as f64 / (1.0 + passages as f64 / PASSAGES_A_PLACE as f64);
            *before += 1;
            match question.each {
                Some(most) if most > 0 && *before > most => {}
                Some(_) => placed.push((score, (passage, score))),
                None => placed.push((score - further * share, (passage, score))),
            }
        }
        placed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.0.cmp(&b.1.0)));
        placed.truncate(question.top.clamp(1, MOST_PASSAGES));
        placed.into_iter().map(|(_, one)| one).collect()
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

/// How much each piece of a question counts: as its word is rare, at least [`LEAST_RARE`]; the special pieces as much as
/// the others do in the mean. Their sum is 1.
fn piece_weights(
    question: &Question,
    models: &Understanding,
    asked: &mut BTreeMap<Language, Asked>,
) -> Result<Vec<f64>, PolicyError> {
    let text = question.whole();
    let read = models.tokens().read_first(&text, search::REACH).map_err(PolicyError::Encoder)?;
    let mut weights = vec![0.0; read.ids.len()];
    for word in &read.words {
        let Some(letters) = characters(&text, word.start, word.end) else { continue };
        let rarity = asked.values_mut().map(|asked| asked.rarity_of(letters)).fold(f64::INFINITY, f64::min);
        let weight = if rarity.is_finite() { rarity.max(LEAST_RARE) } else { LEAST_RARE };
        weights.get_mut(word.pieces.clone()).into_iter().flatten().for_each(|own| *own = weight);
    }
    let counted: Vec<f64> = weights.iter().copied().filter(|weight| *weight > 0.0).collect();
    let mean = counted.iter().sum::<f64>() / counted.len().max(1) as f64;
    let mean = if mean > 0.0 { mean } else { 1.0 };
    weights.iter_mut().filter(|weight| **weight == 0.0).for_each(|weight| *weight = mean);
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}
