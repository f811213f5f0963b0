//! A question finds passages.
//!
//! Okapi BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over title, headings and body, each in the
//! document's language. Audience, language, date and document ids are clauses of the query itself, so a
//! passage that may not be seen is never scored, counted or returned.

use super::analysis::{Analysis, without_stop_words};
use super::chunk::characters;
use super::error::PolicyError;
use super::generation::{Generation, Stored, audience_term, day};
use super::grounds::{Audience, Grounds, Passage};
use crate::base::{Language, Probability};
use jiff::civil::Date;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use tantivy::collector::TopDocs;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, Occur, Query, RangeQuery, TermQuery, TermSetQuery,
};
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{DocAddress, Searcher, TantivyDocument, Term};

/// Weights of title, outer headings, the passage's own heading, and body.
const BOOSTS: [f32; 4] = [1.0, 0.5, 2.0, 1.0];
/// Further words of a question are not looked up.
const MOST_WORDS: usize = 128;
/// The passages that `answerable` looks at.
const JUDGED: usize = 5;
/// Most passages in one answer.
pub const MOST_PASSAGES: usize = 100;

/// What is asked, and what the asker may see.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// Handed through to the answer.
    pub id: String,
    pub text: String,
    /// Only documents in this language; `None`: in all.
    pub language: Option<Language>,
    /// The most that may be returned: `Internal` includes public documents.
    pub audience: Audience,
    /// The day whose rules apply.
    pub as_of: Date,
    /// Only documents with these ids; `None`: all. An empty list finds nothing.
    pub documents: Option<Vec<String>>,
    /// Most passages wanted, 1..=100; values outside become the nearest bound.
    pub top: usize,
}

/// A question's words in one language, each with its inverse document frequency.
struct Asked {
    analysis: Analysis,
    words: BTreeMap<String, f64>,
}

impl Asked {
    fn answered_by(&mut self, passage: &Passage) -> f64 {
        let text = format!("{} {} {}", passage.title, passage.section.join(" "), passage.text);
        let there: BTreeSet<String> = self.analysis.words(&text).into_iter().collect();
        let all: f64 = self.words.values().sum();
        let found: f64 = self.words.iter().filter(|(word, _)| there.contains(*word)).map(|(_, r)| r).sum();
        if all > 0.0 { found / all * passage.score / (passage.score + all) } else { 0.0 }
    }
}

impl Generation {
    /// The best passages, best first, ties in the order of documents. `score` is the BM25 score, comparable
    /// within one answer only. Any text is a question; one without words to look up finds nothing.
    ///
    /// `answerable` is not calibrated yet. It is the best over the first passages of c * s / (s + m): s the
    /// passage's score, m the sum of the inverse document frequencies of the question's words, and c the
    /// share of m whose words stand in the passage, its headings or its title. So it is low where words
    /// that carry the question are in no document, and never 1.
    ///
    /// # Errors
    /// Only for a failure of the search engine.
    pub fn search(&self, question: &Question) -> Result<Grounds, PolicyError> {
        let mut asked = self.asked(question)?;
        let mut grounds = Grounds {
            id: question.id.clone(),
            passages: Vec::new(),
            answerable: Probability::ZERO,
            generation: self.digest().clone(),
        };
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Must, self.any_of(&asked))];
        clauses.extend(self.filters(question).into_iter().map(|filter| {
            let silent: Box<dyn Query> = Box::new(ConstScoreQuery::new(filter, 0.0));
            (Occur::Must, silent)
        }));
        let top = TopDocs::with_limit(question.top.clamp(1, MOST_PASSAGES)).order_by_score();
        for (score, address) in self.searcher.search(&BooleanQuery::new(clauses), &top)? {
            grounds.passages.extend(self.passage(address, f64::from(score))?);
        }
        for passage in grounds.passages.iter().take(JUDGED) {
            if let Some(asked) = asked.get_mut(&passage.language) {
                let share = Probability::new(asked.answered_by(passage)).rounded();
                grounds.answerable = if share > grounds.answerable { share } else { grounds.answerable };
            }
        }
        Ok(grounds)
    }

    /// The question's words in each language that is searched.
    fn asked(&self, question: &Question) -> Result<BTreeMap<Language, Asked>, PolicyError> {
        let text = match question.language {
            Some(_) => Cow::Borrowed(question.text.as_str()),
            None => Cow::Owned(without_stop_words(&question.text)),
        };
        let mut all = BTreeMap::new();
        for (language, [_, _, _, body]) in &self.fields.texts {
            if question.language.is_none_or(|wanted| wanted == *language) {
                let mut analysis = Analysis::of(*language);
                let mut words = BTreeMap::new();
                for word in analysis.distinct(&text, MOST_WORDS) {
                    let rarity = rarity(&self.searcher, &Term::from_field_text(*body, &word))?;
                    words.insert(word, rarity);
                }
                all.insert(*language, Asked { analysis, words });
            }
        }
        Ok(all)
    }

    /// Matches what has at least one of the words in one of its texts.
    fn any_of(&self, asked: &BTreeMap<Language, Asked>) -> Box<dyn Query> {
        let mut either: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (language, texts) in &self.fields.texts {
            for word in asked.get(language).into_iter().flat_map(|asked| asked.words.keys()) {
                for (field, boost) in texts.iter().zip(BOOSTS) {
                    let term =
                        TermQuery::new(Term::from_field_text(*field, word), IndexRecordOption::WithFreqs);
                    either.push((Occur::Should, Box::new(BoostQuery::new(Box::new(term), boost))));
                }
            }
        }
        Box::new(BooleanQuery::new(either))
    }

    fn filters(&self, question: &Question) -> Vec<Box<dyn Query>> {
        let fields = &self.fields;
        let is = |field, text: &str| -> Box<dyn Query> {
            Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::Basic))
        };
        let today = day(question.as_of);
        let begun =
            RangeQuery::new(Bound::Unbounded, Bound::Included(Term::from_field_i64(fields.from, today)));
        let not_over =
            RangeQuery::new(Bound::Included(Term::from_field_i64(fields.to, today)), Bound::Unbounded);
        let mut filters: Vec<Box<dyn Query>> = vec![Box::new(begun), Box::new(not_over)];
        match question.audience {
            Audience::Public => filters.push(is(fields.audience, audience_term(Audience::Public))),
            Audience::Internal => {}
        }
        if let Some(language) = question.language {
            filters.push(is(fields.language, language.code()));
        }
        if let Some(ids) = &question.documents {
            let terms = ids.iter().map(|id| Term::from_field_text(fields.id, id));
            filters.push(Box::new(TermSetQuery::new(terms)));
        }
        filters
    }

    fn passage(&self, address: DocAddress, score: f64) -> Result<Option<Passage>, PolicyError> {
        let entry: TantivyDocument = self.searcher.doc(address)?;
        let stored = entry.get_first(self.fields.passage).and_then(|value| value.as_bytes());
        let stored: Option<Stored> = stored.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let Some(stored) = stored else { return Ok(None) };
        let Some(document) = self.documents.get(stored.document) else { return Ok(None) };
        let Some(text) = characters(&document.body, stored.start, stored.end) else { return Ok(None) };
        Ok(Some(Passage {
            document: document.id.clone(),
            version: document.version.clone(),
            title: document.title.clone(),
            language: document.language,
            section: stored.section,
            text: text.to_owned(),
            start: stored.start,
            end: stored.end,
            page: None,
            audience: document.audience,
            score: (score * 10_000.0).round() / 10_000.0,
        }))
    }
}

/// The inverse document frequency as BM25 has it.
fn rarity(searcher: &Searcher, term: &Term) -> Result<f64, PolicyError> {
    let all = searcher.num_docs() as f64;
    let with = searcher.doc_freq(term)? as f64;
    Ok((1.0 + (all - with + 0.5) / (with + 0.5)).ln())
}
