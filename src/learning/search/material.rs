//! Our own questions about documents (models/data/questions), and the passages of those documents.
//!
//! They were written from the documents alone, by writers who had seen no other questions about them.

use crate::base::Language;
use crate::learning::datasets::own;
use crate::learning::error::LearningError;
use crate::policy::{self, Document, PassageText};
use crate::understanding::Schema;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A question, and where its answer stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub document: String,
    /// Characters of the document's body.
    pub at: Option<[usize; 2]>,
    /// The answer, where the document is our own.
    pub quote: Option<String>,
    pub style: String,
    pub query: String,
    pub language: Language,
    /// Not to be trained on: weights are fitted, and configurations chosen, by it.
    #[serde(default)]
    pub dev: bool,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub query: String,
    pub style: String,
    pub language: Language,
    pub dev: bool,
    pub document: usize,
    /// The passage that the answer stands in, or most of it.
    pub passage: usize,
    /// The answer, in characters of the body.
    pub answer: [usize; 2],
}

/// Documents that are searched together, and questions about them.
pub struct Collection {
    pub name: &'static str,
    pub documents: Vec<Document>,
    pub passages: Vec<PassageText>,
    pub questions: Vec<Asked>,
}

impl Collection {
    /// The words of an answer.
    pub fn answer(&self, asked: &Asked) -> String {
        let body = self.documents.get(asked.document).map_or("", |document| document.body.as_str());
        let [start, end] = asked.answer;
        body.chars().skip(start).take(end - start).collect()
    }
}

/// A collection's name, the documents' place below the data folder (`None`: the sample policies), the language of
/// documents that do not say theirs, and the files of questions.
type Set = (&'static str, Option<&'static str>, Language, &'static [&'static str]);
const SETS: [Set; 3] = [
    (
        "tau_banking",
        Some("tau_banking/documents.jsonl"),
        Language::En,
        &["tau_banking.en.jsonl", "tau_banking.de.jsonl"],
    ),
    ("german_law", Some("german_law"), Language::De, &["german_law.de.jsonl"]),
    ("policies", None, Language::En, &["policies.de.jsonl", "policies.en.jsonl"]),
];

/// Where documents and questions are.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Public sets.
    pub data: &'a Path,
    /// The project's own lines (models/data).
    pub own: &'a Path,
    /// The sample policies.
    pub policies: &'a Path,
}

/// Everything that there is to train on and to fit by; what is not there is told to `note` and left out.
///
/// # Errors
/// A file that cannot be read, or a question about nothing.
pub fn read(places: Places, note: &mut dyn FnMut(&str)) -> Result<Vec<Collection>, LearningError> {
    let mut all = Vec::new();
    for (name, documents, language, files) in SETS {
        let path = documents.map_or_else(|| places.policies.to_path_buf(), |below| places.data.join(below));
        if !path.exists() {
            note(&format!("skipped {name}: {} is not there", path.display()));
            continue;
        }
        let files = files.iter().map(|file| places.own.join("questions").join(file)).collect::<Vec<_>>();
        all.push(collection(name, &[path], language, &files)?);
    }
    Ok(all)
}

/// Messages about nothing that any of the documents speaks of, by their language; none where the file is not there.
///
/// # Errors
/// A file that cannot be read.
pub fn strays(own: &Path, schema: &Schema) -> Result<Vec<(Language, String)>, LearningError> {
    let file = own.join("utterances/other.tsv");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let lines = own::read_files(vec![file], &schema.intents, &schema.extraction)?;
    Ok(lines.iter().map(|line| (line.language, line.text())).collect())
}

/// # Errors
/// As `read`.
pub fn collection(
    name: &'static str,
    paths: &[PathBuf],
    language: Language,
    questions: &[PathBuf],
) -> Result<Collection, LearningError> {
    let documents = policy::gather(paths, language, &|_, _| {}).map_err(|error| {
        LearningError::file(
            paths.first().map_or(Path::new("."), PathBuf::as_path),
            error,
            "restore the documents",
        )
    })?;
    let documents = documents.documents;
    let passages = policy::passages(&documents);
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    for (at, document) in documents.iter().enumerate() {
        // Of several versions the last: questions are about what is in force.
        by_id.insert(&document.id, at);
    }
    let mut all = Vec::new();
    for file in questions {
        let text = std::fs::read_to_string(file)
            .map_err(|error| LearningError::file(file, error, "it belongs to the repository; restore it"))?;
        for (number, row) in text.lines().enumerate() {
            let wrong = |problem: &str| LearningError::Data {
                file: file.clone(),
                line: number + 1,
                column: 1,
                problem: problem.to_owned(),
                remedy: "correct the line, or remove it".to_owned(),
            };
            let line: Line = serde_json::from_str(row).map_err(|error| wrong(&error.to_string()))?;
            let document = by_id.get(line.document.as_str()).copied();
            let document = document.ok_or_else(|| wrong("there is no such document"))?;
            let body = documents.get(document).map_or("", |document| document.body.as_str());
            let answer =
                place(&line, body).ok_or_else(|| wrong("the answer does not stand in the document"))?;
            let passage = holding(&passages, document, answer);
            let passage = passage.ok_or_else(|| wrong("the answer stands in no passage"))?;
            let Line { query, style, language, dev, .. } = line;
            all.push(Asked { query, style, language, dev, document, passage, answer });
        }
    }
    Ok(Collection { name, documents, passages, questions: all })
}

fn place(line: &Line, body: &str) -> Option<[usize; 2]> {
    match (&line.at, &line.quote) {
        (Some(at), None) => (at[0] < at[1] && at[1] <= body.chars().count()).then_some(*at),
        (None, Some(quote)) => {
            let start = body.get(..body.find(quote.as_str())?)?.chars().count();
            Some([start, start + quote.chars().count()])
        }
        _ => None,
    }
}

/// The passage of a document that most of these characters stand in, the first of two.
pub fn holding(passages: &[PassageText], document: usize, [start, end]: [usize; 2]) -> Option<usize> {
    let shared = |passage: &PassageText| passage.end.min(end).saturating_sub(passage.start.max(start));
    let own = passages.iter().enumerate().filter(|(_, passage)| passage.document == document);
    let best = own.map(|(at, passage)| (shared(passage), std::cmp::Reverse(at))).max()?;
    (best.0 > 0).then_some(best.1.0)
}
