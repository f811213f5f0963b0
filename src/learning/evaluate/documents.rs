//! Whether questions find the documents that answer them, as `prokura search` finds them, beside BM25 alone, the base
//! encoder alone, and the two of them fused; and whether the search knows when nothing answers.
//!
//! tau_banking's development questions are for choosing among few configurations; the questions in
//! `models/data/questions/blind` were written for this and nothing is trained on them.

use super::figure::{Scale, Table};
use crate::base::{Language, ids};
use crate::learning::error::LearningError;
use crate::learning::search::material::{self, Collection};
use crate::learning::search::run::{asked, generation};
use crate::learning::student::base_weights;
use crate::policy::{Generation, Passage, Question};
use crate::understanding::Understanding;
use crate::understanding::encoder::{MiniLm, Packed, ops};
use crate::understanding::model::unit;
use crate::understanding::tokens::Tokens;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: Option<PathBuf>,
    /// The project's own lines.
    pub own: PathBuf,
    /// The sample policies.
    pub policies: PathBuf,
    pub base: PathBuf,
}

#[derive(Deserialize)]
struct Development {
    query: String,
    gold: Vec<String>,
    style: String,
    section: String,
}

/// Reciprocal rank fusion adds 1 / (60 + rank) (Cormack, Clarke, Büttcher 2009).
const FUSED: f64 = 60.0;
/// Passages that take part in it.
const RANKED: usize = 200;
/// Documents that are looked at.
const FIRST: usize = 10;

/// Indexes that are removed when they are no longer needed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is only in the way.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// # Errors
/// Files that cannot be read, or a search that fails.
pub fn run(
    table: &mut Table,
    models: &Understanding,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<(), LearningError> {
    let scratch = Scratch(std::env::temp_dir().join(ids::fresh("prokura-documents")));
    let blind = options.own.join("questions/blind");
    let data = options.data.as_deref();
    if let Some(folder) = data.map(|data| data.join("tau_banking")).filter(|folder| folder.is_dir()) {
        progress("searching tau_banking's documents");
        let files = [options.own.join("questions/tau_banking.en.jsonl"), blind.join("tau_banking.de.jsonl")];
        let documents = folder.join("documents.jsonl");
        let collection = material::collection("tau_banking", &[documents], Language::En, &files)?;
        let built = generation(&scratch.0.join("tau"), &collection, models)?;
        let questions: Vec<Development> = lines(&folder.join("dev_queries.jsonl"))?;
        development(table, (models, &built), &collection, &questions, (&options.base, progress))?;
        written(table, (models, &built), &collection)?;
    } else {
        progress("skipped tau_banking: not in the data folder");
    }
    progress("searching German documents");
    let laws = data.map(|data| data.join("german_law")).filter(|folder| folder.is_dir());
    let mut files = vec![blind.join("policies.de.jsonl")];
    let mut folders = vec![options.policies.clone()];
    match laws {
        Some(laws) => {
            files.push(blind.join("german_law.de.jsonl"));
            folders.push(laws);
        }
        None => progress("skipped german_law: not in the data folder"),
    }
    let collection = material::collection("german", &folders, Language::De, &files)?;
    let built = generation(&scratch.0.join("german"), &collection, models)?;
    german(table, (models, &built), &collection)
}

fn search(
    (models, built): (&Understanding, &Generation),
    question: &Question,
) -> Result<(Vec<Passage>, f64), LearningError> {
    let found = built.search(question, Some(models));
    let found = found.map_err(|error| LearningError::Broken(error.to_string()))?;
    Ok((found.passages, found.answerable.get()))
}

/// Counts from 0; `None` where none of the wanted is among the first.
fn place(documents: &[&str], gold: &[String]) -> Option<usize> {
    documents.iter().position(|document| gold.iter().any(|gold| gold == document))
}

/// Each document once, in the order of its first passage.
fn distinct<'a>(documents: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut first: Vec<&str> = Vec::new();
    for document in documents {
        if !first.contains(&document) {
            first.push(document);
        }
    }
    first.truncate(FIRST);
    first
}

fn hits(table: &mut Table, id: &str, places: &[Option<usize>], baseline: Option<&[Option<usize>]>) {
    for most in [1, 5, 10] {
        let within = |places: &[Option<usize>]| -> Vec<bool> {
            places.iter().map(|place| place.is_some_and(|place| place < most)).collect()
        };
        table.hits(format!("{id}.hit{most}"), &within(places), baseline.map(within).as_deref());
    }
}

fn development(
    table: &mut Table,
    searched: (&Understanding, &Generation),
    collection: &Collection,
    questions: &[Development],
    (base, progress): (&Path, &mut dyn FnMut(&str)),
) -> Result<(), LearningError> {
    let (mut own, mut sections, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let all: Vec<&str> = collection.documents.iter().map(|document| document.id.as_str()).collect();
    for question in questions {
        let (passages, answerable) = search(searched, &asked(&question.query))?;
        let documents = distinct(passages.iter().map(|passage| passage.document.as_str()));
        own.push(place(&documents, &question.gold));
        let right = passages.first().is_some_and(|passage| {
            let within = passage.section.contains(&question.section);
            question.gold.contains(&passage.document) && (within || passage.title == question.section)
        });
        sections.push(right);
        known.push((answerable, true));
        let rest = all.iter().filter(|id| !question.gold.iter().any(|gold| gold == **id));
        let without =
            Question { documents: Some(rest.map(|id| (*id).to_owned()).collect()), ..asked(&question.query) };
        known.push((search(searched, &without)?.1, false));
    }
    let words = by_words(searched.1, questions)?;
    let near = by_base(base, collection, questions, progress)?;
    let docs = |ranked: &[usize]| {
        let ids = ranked.iter().filter_map(|passage| {
            let document = collection.passages.get(*passage)?.document;
            Some(collection.documents.get(document)?.id.as_str())
        });
        distinct(ids)
    };
    let places = |ranked: &[Vec<usize>]| -> Vec<Option<usize>> {
        ranked.iter().zip(questions).map(|(ranked, question)| place(&docs(ranked), &question.gold)).collect()
    };
    let words_places = places(&words);
    let fused = near.as_ref().map(|near| {
        places(&words.iter().zip(near).map(|(words, near)| fused(words, near)).collect::<Vec<_>>())
    });
    hits(table, "documents.dev", &own, fused.as_deref().or(Some(&words_places)));
    table.hits("documents.dev.section", &sections, None);
    hits(table, "documents.dev.bm25", &words_places, None);
    if let (Some(near), Some(fused)) = (&near, &fused) {
        hits(table, "documents.dev.base", &places(near), None);
        hits(table, "documents.dev.fused", fused, None);
        let first = |places: &[Option<usize>]| {
            places.iter().map(|p| f64::from(u8::from(*p == Some(0)))).collect::<Vec<_>>()
        };
        let differences: Vec<f64> = first(&own).iter().zip(first(fused)).map(|(a, b)| a - b).collect();
        paired(table, "documents.dev.over_fused", &differences);
    }
    for style in ["customer", "agent", "keyword"] {
        let of = |places: &[Option<usize>]| -> Vec<Option<usize>> {
            places.iter().zip(questions).filter(|(_, q)| q.style == style).map(|(p, _)| *p).collect()
        };
        let baseline = fused.as_deref().map(of);
        hits(table, &format!("documents.dev.{style}"), &of(&own), baseline.as_deref());
    }
    auroc(table, "documents.dev.answerable", &known);
    Ok(())
}

/// By BM25 alone, as the search does without vectors.
fn by_words(built: &Generation, questions: &[Development]) -> Result<Vec<Vec<usize>>, LearningError> {
    let one = |question: &Development| {
        let found = built.words(&asked(&question.query), RANKED);
        Ok(found
            .map_err(|error| LearningError::Broken(error.to_string()))?
            .into_iter()
            .map(|(at, _)| at)
            .collect())
    };
    questions.iter().map(one).collect()
}

/// By the cosine of the base encoder's mean vectors; `None` where it is not there.
fn by_base(
    base: &Path,
    collection: &Collection,
    questions: &[Development],
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Vec<Vec<usize>>>, LearningError> {
    let file = base.join("model.safetensors");
    if !file.exists() {
        progress("skipped the base encoder: run `make base-model`");
        return Ok(None);
    }
    progress("searching with the base encoder");
    let encoder = MiniLm::new(&base_weights(&file)?)?;
    let tokens = Tokens::from_file(&base.join("tokenizer.json"), 512)?;
    let embed = |text: &str| -> Result<Vec<f32>, LearningError> {
        let read = tokens.read(text)?;
        let batch = Packed::new([read.ids.as_slice()]);
        let pooled = ops::means(&encoder.vectors(&batch)?, batch.sequences())?;
        Ok(unit(pooled.flatten_all()?.to_vec1()?))
    };
    let passages: Vec<Vec<f32>> =
        collection.passages.iter().map(|passage| embed(&passage.text)).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for question in questions {
        let asked = embed(&question.query)?;
        let near = |passage: &Vec<f32>| asked.iter().zip(passage).map(|(a, b)| a * b).sum::<f32>();
        let mut ranked: Vec<(usize, f32)> = passages.iter().map(near).enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.push(ranked.into_iter().take(RANKED).map(|(at, _)| at).collect());
    }
    Ok(Some(all))
}

fn fused(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut scores: HashMap<usize, f64> = HashMap::new();
    for ranked in [a, b] {
        for (rank, passage) in ranked.iter().enumerate() {
            *scores.entry(*passage).or_default() += 1.0 / (FUSED + rank as f64 + 1.0);
        }
    }
    let mut ranked: Vec<(usize, f64)> = scores.into_iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.into_iter().map(|(passage, _)| passage).collect()
}

/// The mean of differences of the same questions, drawn again together.
fn paired(table: &mut Table, id: &str, differences: &[f64]) {
    let n = differences.len();
    table.drawn(id, Scale::Points, (n, n), None, |drawn| {
        let sum: f64 = differences.iter().zip(drawn).map(|(d, count)| d * f64::from(*count)).sum();
        Some(sum / n as f64)
    });
}

/// The area under the curve of (probability, whether there is an answer).
fn auroc(table: &mut Table, id: &str, known: &[(f64, bool)]) {
    let n = known.len();
    table.drawn(id, Scale::Score, (n, n), None, |drawn| {
        let (mut above, mut pairs) = (0.0, 0.0);
        for ((a, there), count) in known.iter().zip(drawn).filter(|((_, there), count)| *there && **count > 0)
        {
            debug_assert!(there);
            for ((b, _), other) in
                known.iter().zip(drawn).filter(|((_, there), other)| !*there && **other > 0)
            {
                let weight = f64::from(*count) * f64::from(*other);
                pairs += weight;
                above += weight
                    * if a > b {
                        1.0
                    } else if a < b {
                        0.0
                    } else {
                        0.5
                    };
            }
        }
        (pairs > 0.0).then(|| above / pairs)
    });
}

/// Our own held-out questions, and German ones about the English documents.
fn written(
    table: &mut Table,
    searched: (&Understanding, &Generation),
    collection: &Collection,
) -> Result<(), LearningError> {
    let (mut own, mut sections, mut cross) = (Vec::new(), Vec::new(), Vec::new());
    for question in &collection.questions {
        let german = question.language == Language::De;
        if !german && !question.dev {
            continue;
        }
        let (passages, _) = search(searched, &asked(&question.query))?;
        let documents = distinct(passages.iter().map(|passage| passage.document.as_str()));
        let gold =
            collection.documents.get(question.document).map(|d| d.id.clone()).into_iter().collect::<Vec<_>>();
        if german {
            cross.push(place(&documents, &gold));
            continue;
        }
        own.push(place(&documents, &gold));
        let right = collection.passages.get(question.passage);
        let first = passages.first().zip(right);
        sections.push(first.is_some_and(|(p, right)| gold.contains(&p.document) && p.start == right.start));
    }
    hits(table, "documents.own", &own, None);
    table.hits("documents.own.section", &sections, None);
    hits(table, "documents.cross", &cross, None);
    Ok(())
}

/// German questions: a passage of the section counts that the answer stands in.
fn german(
    table: &mut Table,
    searched: (&Understanding, &Generation),
    collection: &Collection,
) -> Result<(), LearningError> {
    let (mut laws, mut policies) = (Vec::new(), Vec::new());
    for question in &collection.questions {
        let (passages, _) = search(searched, &asked(&question.query))?;
        let Some(document) = collection.documents.get(question.document) else { continue };
        let Some(right) = collection.passages.get(question.passage) else { continue };
        let holds = |passage: &Passage| {
            let here = passage.document == document.id && passage.version == document.version;
            here && passage.section == right.section
        };
        let place = passages.iter().position(holds);
        // A law is named by capital letters alone.
        let law = document.id.chars().next().is_some_and(char::is_uppercase);
        if law { laws.push(place) } else { policies.push(place) }
    }
    hits(table, "documents.german", &[laws.clone(), policies.clone()].concat(), None);
    hits(table, "documents.german.laws", &laws, None);
    hits(table, "documents.german.policies", &policies, None);
    Ok(())
}

fn lines<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Vec<T>, LearningError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| LearningError::file(file, error, "restore the data folder"))?;
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| LearningError::Data {
            file: file.to_owned(),
            line: at + 1,
            column: error.column(),
            problem: "the line is not the JSON that is expected".to_owned(),
            remedy: "restore the data folder".to_owned(),
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}
