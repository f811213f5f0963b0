//! Questions that the policies must answer before they are published (config/retrieval-bar.toml).

use super::document::Document;
use super::error::PolicyError;
use super::generation::Generation;
use super::grounds::Clearance;
use super::search::{MOST_PASSAGES, Question};
use crate::base::{Finding, Language};
use crate::understanding::Understanding;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use toml::Spanned;

/// What must be found.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalBar {
    /// Among so many first passages.
    #[serde(default = "five")]
    pub top: Spanned<usize>,
    /// The share of the questions that must find what they should, 0 to 1.
    #[serde(default = "all")]
    pub least: Spanned<f64>,
    #[serde(default, rename = "question")]
    pub questions: Vec<Wanted>,
}

/// A question, and where its answer stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub query: Spanned<String>,
    /// A document's id.
    pub document: String,
    /// A heading above the passage.
    pub section: Option<String>,
    /// `public`, `internal`, `all` or a role; who asks. Default: `public`.
    pub audience: Option<Spanned<String>>,
    pub language: Option<Language>,
}

fn five() -> Spanned<usize> {
    Spanned::new(0..0, 5)
}

fn all() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// What came of the questions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tested {
    pub asked: usize,
    pub passed: usize,
    pub least: f64,
    /// Whether that is enough. It is where no question is about a document that is here, unless these are what is left
    /// of documents that the questions were about.
    pub enough: bool,
    pub failed: Vec<Failed>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    pub query: String,
    pub document: String,
    pub section: Option<String>,
    /// The documents that were found instead, the best first.
    pub found: Vec<String>,
}

impl RetrievalBar {
    /// Of the file beside the settings; `None`: there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or what is wrong in it, with its line.
    pub fn read(file: &Path) -> Result<Option<Self>, Vec<Finding>> {
        let shown = file.display().to_string();
        match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(vec![Finding::new(&shown, 0, error.to_string())]),
            Ok(text) => Self::parse(&shown, &text).map(Some),
        }
    }

    /// # Errors
    /// What is wrong in the file, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let bar: Self = toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut findings = Vec::new();
        let mut wrong =
            |place: usize, message: String| findings.push(Finding::at(file, text, place, message));
        let top = &bar.top;
        if !(1..=MOST_PASSAGES).contains(top.get_ref()) {
            wrong(top.span().start, format!("`top` is {}: write a number from 1 to 100", top.get_ref()));
        }
        let least = &bar.least;
        if !(0.0..=1.0).contains(least.get_ref()) {
            wrong(least.span().start, format!("`least` is {}: write a share from 0 to 1", least.get_ref()));
        }
        for question in &bar.questions {
            let query = &question.query;
            if query.get_ref().trim().is_empty() {
                wrong(query.span().start, "`query` is empty: write what is asked".to_owned());
            }
            let unknown = question.audience.iter().find(|who| Clearance::parse(who.get_ref()).is_none());
            if let Some(who) = unknown {
                let remedy = "write `public`, `internal`, `all` or the name of a role";
                wrong(who.span().start, format!("`audience` is `{}`: {remedy}", who.get_ref()));
            }
        }
        if findings.is_empty() { Ok(bar) } else { Err(findings) }
    }

    /// Whether a question is about one of these documents.
    fn is_about(&self, documents: &[Document]) -> bool {
        let here = |wanted: &Wanted| documents.iter().any(|document| document.id == wanted.document);
        self.questions.iter().any(here)
    }

    /// Asks a generation all of them; `before` are the documents of the one that it is to replace.
    ///
    /// # Errors
    /// The search fails.
    pub fn test(
        &self,
        generation: &Generation,
        before: &[Document],
        models: Option<&Understanding>,
        as_of: Date,
    ) -> Result<Tested, PolicyError> {
        let mut failed = Vec::new();
        for wanted in &self.questions {
            let audience = wanted.audience.as_ref().and_then(|who| Clearance::parse(who.get_ref()));
            let question = Question {
                language: wanted.language,
                audience: audience.unwrap_or(Clearance::Public),
                top: *self.top.get_ref(),
                ..Question::public(wanted.query.get_ref(), as_of)
            };
            let found = generation.search(&question, models)?.passages;
            let is_wanted = |passage: &super::Passage| {
                let section = wanted.section.as_ref().is_none_or(|section| passage.section.contains(section));
                passage.document == wanted.document && section
            };
            if !found.iter().any(is_wanted) {
                failed.push(Failed {
                    query: wanted.query.get_ref().clone(),
                    document: wanted.document.clone(),
                    section: wanted.section.clone(),
                    found: found.into_iter().map(|passage| passage.document).collect(),
                });
            }
        }
        let (asked, passed) = (self.questions.len(), self.questions.len() - failed.len());
        let known: BTreeSet<&str> = before.iter().map(|document| document.id.as_str()).collect();
        let left_over = generation.documents().iter().any(|document| known.contains(document.id.as_str()));
        let concerned = self.is_about(generation.documents()) || left_over && self.is_about(before);
        let enough = !concerned || passed as f64 >= self.least.get_ref() * asked as f64 - 1e-9;
        Ok(Tested { asked, passed, least: *self.least.get_ref(), enough, failed })
    }
}
