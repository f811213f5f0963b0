//! Passages by their words: Okapi BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over a passage with its title and headings, in the
//! document's language.

use super::analysis::{Analysis, without_stop_words};
use super::error::PolicyError;
use super::generation::Generation;
use super::grounds::Clearance;
use super::invert::{PASSAGE, audience_terms, day, product_term, role_term};
use super::search::Question;
use crate::base::Language;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use tantivy::collector::TopDocs;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, FuzzyTermQuery, Occur, Query, RangeQuery, TermQuery,
    TermSetQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{Searcher, Term};

/// Weight of a word in the passage's own heading, where words alone are compared.
const HEADING: f32 = 2.0;
/// Further words of a question are not looked up.
const MOST_WORDS: usize = 128;
/// A word that is in no document counts as the words that one letter makes of it, with this weight.
const MISTYPED: f32 = 0.5;
/// Shorter words have too many neighbours to be taken for mistyped ones (characters).
const SHORTEST_MISTYPED: usize = 5;

/// A question's words in one language, each with its inverse document frequency.
pub(super) struct Asked {
    analysis: Analysis,
    words: BTreeMap<String, f64>,
}

impl Asked {
    /// The sum over all words.
    pub fn rarity(&self) -> f64 {
        self.words.values().sum()
    }

    /// Of a word of the question, the rarest of its parts; 0 where it is no word that is looked up.
    pub fn rarity_of(&mut self, word: &str) -> f64 {
        let parts = self.analysis.words(word);
        parts.iter().filter_map(|part| self.words.get(part)).copied().fold(0.0, f64::max)
    }

    /// The share of it whose words stand in a text, 0..=1.
    pub fn covered_by(&mut self, text: &str) -> f64 {
        let there: BTreeSet<String> = self.analysis.words(text).into_iter().collect();
        let found: f64 = self.words.iter().filter(|(word, _)| there.contains(*word)).map(|(_, r)| r).sum();
        let all = self.rarity();
        if all > 0.0 { found / all } else { 0.0 }
    }
}

impl Generation {
    /// The question's words in each language that is searched.
    pub(super) fn asked(&self, question: &Question) -> Result<BTreeMap<Language, Asked>, PolicyError> {
        let text = match question.language {
            Some(_) => question.whole(),
            None => Cow::Owned(without_stop_words(&question.whole())),
        };
        let mut all = BTreeMap::new();
        for (language, text_of) in &self.fields.texts {
            if question.language.is_none_or(|wanted| wanted == *language) {
                let mut analysis = Analysis::of(*language, &self.compounds);
                let mut words = BTreeMap::new();
                for word in analysis.distinct(&text, MOST_WORDS) {
                    let rarity = rarity(&self.searcher, &Term::from_field_text(*text_of, &word))?;
                    words.insert(word, rarity);
                }
                all.insert(*language, Asked { analysis, words });
            }
        }
        Ok(all)
    }

    /// The best passages by their words, at most `most`, with their scores: the best first, the earlier first of two
    /// that are as good. Words in headings count again where nothing else is compared (`headings`).
    pub(super) fn by_words(
        &self,
        question: &Question,
        asked: &BTreeMap<Language, Asked>,
        (most, headings): (usize, bool),
    ) -> Result<Vec<(usize, f64)>, PolicyError> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Must, self.any_of(asked, headings)?)];
        clauses.extend(self.filters(question).into_iter().map(|filter| {
            let silent: Box<dyn Query> = Box::new(ConstScoreQuery::new(filter, 0.0));
            (Occur::Must, silent)
        }));
        let top = TopDocs::with_limit(most.max(1)).order_by_score();
        let mut found = Vec::new();
        for (score, address) in self.searcher.search(&BooleanQuery::new(clauses), &top)? {
            let segment = self.searcher.segment_reader(address.segment_ord);
            let numbers = segment.fast_fields().u64(PASSAGE)?;
            let passage = numbers.first(address.doc_id).and_then(|number| usize::try_from(number).ok());
            found.extend(passage.map(|passage| (passage, f64::from(score))));
        }
        // What the documents themselves say goes before what the index was built with.
        found.retain(|(passage, _)| {
            self.places.get(*passage).is_some_and(|place| self.admits(question, place.document))
        });
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(found)
    }

    /// Matches what has at least one of the words.
    fn any_of(
        &self,
        asked: &BTreeMap<Language, Asked>,
        headings: bool,
    ) -> Result<Box<dyn Query>, PolicyError> {
        let mut either: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (language, text) in &self.fields.texts {
            for word in asked.get(language).into_iter().flat_map(|asked| asked.words.keys()) {
                let heading = self.fields.headings.get(language).filter(|_| headings);
                if let Some(heading) = heading {
                    let term = Term::from_field_text(*heading, word);
                    let again = TermQuery::new(term, IndexRecordOption::WithFreqs);
                    either.push((Occur::Should, Box::new(BoostQuery::new(Box::new(again), HEADING))));
                }
                let term = Term::from_field_text(*text, word);
                let query: Box<dyn Query> = if self.searcher.doc_freq(&term)? > 0 {
                    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
                } else if word.chars().count() >= SHORTEST_MISTYPED {
                    let near = FuzzyTermQuery::new(term, 1, true);
                    Box::new(BoostQuery::new(Box::new(near), MISTYPED))
                } else {
                    continue;
                };
                either.push((Occur::Should, query));
            }
        }
        Ok(Box::new(BooleanQuery::new(either)))
    }

    fn filters(&self, question: &Question) -> Vec<Box<dyn Query>> {
        let fields = &self.fields;
        let is = |field, text: &str| -> Box<dyn Query> {
            Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::Basic))
        };
        let one_of = |field, words: Vec<String>| -> Box<dyn Query> {
            Box::new(TermSetQuery::new(words.iter().map(|word| Term::from_field_text(field, word))))
        };
        let today = day(question.as_of);
        let begun =
            RangeQuery::new(Bound::Unbounded, Bound::Included(Term::from_field_i64(fields.from, today)));
        let not_over =
            RangeQuery::new(Bound::Included(Term::from_field_i64(fields.to, today)), Bound::Unbounded);
        let mut filters: Vec<Box<dyn Query>> = vec![Box::new(begun), Box::new(not_over)];
        let public = || audience_terms(&super::grounds::Audience::Public);
        match &question.audience {
            Clearance::Public => filters.push(one_of(fields.audience, public())),
            Clearance::Internal(roles) => {
                let internal = audience_terms(&super::grounds::Audience::Internal);
                let own = roles.iter().map(|role| role_term(role));
                filters
                    .push(one_of(fields.audience, public().into_iter().chain(internal).chain(own).collect()));
            }
            Clearance::All => {}
        }
        if let Some(language) = question.language {
            filters.push(is(fields.language, language.code()));
        }
        if let Some(product) = &question.product {
            filters.push(is(fields.product, &product_term(product)));
        }
        if let Some(ids) = &question.documents {
            filters.push(one_of(fields.id, ids.clone()));
        }
        filters
    }

    /// Whether a question may find a document: what the filters of the inverted index say, for the vectors.
    pub(super) fn admits(&self, question: &Question, document: usize) -> bool {
        let Some(of) = self.documents.get(document) else { return false };
        let days = self.days.get(document).copied().flatten();
        let product = |wanted: &String| of.product.as_deref().map(product_term) == Some(product_term(wanted));
        days.is_some_and(|(from, to)| from <= question.as_of && question.as_of <= to)
            && question.audience.sees(&of.audience)
            && question.language.is_none_or(|language| language == of.language)
            && question.product.as_ref().is_none_or(product)
            && question.documents.as_ref().is_none_or(|ids| ids.contains(&of.id))
    }
}

/// The inverse document frequency as BM25 has it.
fn rarity(searcher: &Searcher, term: &Term) -> Result<f64, PolicyError> {
    let all = searcher.num_docs() as f64;
    let with = searcher.doc_freq(term)? as f64;
    Ok((1.0 + (all - with + 0.5) / (with + 0.5)).ln())
}
