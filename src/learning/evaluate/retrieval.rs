//! Whether the vector still finds documents as the base model's does: hit@5 by vectors alone, on questions for
//! choosing a configuration (tau_banking, development questions), with the base model as the baseline.

use super::bench::Bench;
use super::figure::Table;
use crate::learning::error::LearningError;
use crate::learning::student::base_weights;
use crate::understanding::encoder::{Encoder, MiniLm, Packed, ops};
use crate::understanding::model::unit;
use crate::understanding::tokens::Tokens;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

#[derive(Deserialize)]
struct Document {
    id: String,
    title: String,
    content: String,
}

#[derive(Deserialize)]
struct Question {
    query: String,
    gold: Vec<String>,
}

/// Words of a passage, at most about.
const WORDS: usize = 120;
const FIRST: usize = 5;

/// `data` is the folder of public sets, `base` that of the base model; without either nothing is measured.
pub fn run(
    table: &mut Table,
    bench: &Bench,
    data: Option<&Path>,
    base: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), LearningError> {
    let Some(folder) = data.map(|data| data.join("tau_banking")).filter(|folder| folder.is_dir()) else {
        progress("skipped tau_banking: not in the data folder");
        return Ok(());
    };
    let documents: Vec<Document> = lines(&folder.join("documents.jsonl"))?;
    let questions: Vec<Question> = lines(&folder.join("dev_queries.jsonl"))?;
    let passages: Vec<(usize, String)> = documents
        .iter()
        .enumerate()
        .flat_map(|(at, document)| passages(document).into_iter().map(move |text| (at, text)))
        .collect();
    let measure = |embed: &dyn Fn(&str) -> Result<Vec<f32>, LearningError>| {
        let vectors: Vec<(usize, Vec<f32>)> = passages
            .iter()
            .map(|(at, text)| Ok((*at, embed(text)?)))
            .collect::<Result<_, LearningError>>()?;
        let hit = |question: &Question| {
            let best = first(&embed(&question.query)?, &vectors, documents.len());
            let found = |at: &usize| documents.get(*at).is_some_and(|d| question.gold.contains(&d.id));
            Ok(best.iter().any(found))
        };
        questions.iter().map(hit).collect::<Result<Vec<bool>, LearningError>>()
    };
    progress("searching documents with the vector alone");
    let own = measure(&|text| Ok(bench.understanding.embed(&[text])?.pop().unwrap_or_default()))?;
    let file = base.join("model.safetensors");
    let before = if file.exists() {
        let encoder = MiniLm::new(&base_weights(&file)?)?;
        let tokens = Tokens::from_file(&base.join("tokenizer.json"), encoder.reach())?;
        measure(&|text| {
            let read = tokens.read(text)?;
            let batch = Packed::new([read.ids.as_slice()]);
            let pooled = ops::means(&encoder.vectors(&batch)?, batch.sequences())?;
            Ok(unit(pooled.flatten_all()?.to_vec1()?))
        })?
    } else {
        progress("skipped the base model's retrieval: run `make base-model`");
        Vec::new()
    };
    table.hits("retrieval.hit5", &own, Some(&before));
    Ok(())
}

/// The documents whose best passage is nearest.
fn first(question: &[f32], passages: &[(usize, Vec<f32>)], documents: usize) -> Vec<usize> {
    let mut best = vec![f32::NEG_INFINITY; documents];
    for (at, vector) in passages {
        let near: f32 = question.iter().zip(vector).map(|(a, b)| a * b).sum();
        if let Some(best) = best.get_mut(*at) {
            *best = best.max(near);
        }
    }
    let mut ranked: Vec<(usize, f32)> = best.into_iter().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.into_iter().take(FIRST).map(|(at, _)| at).collect()
}

/// Paragraphs put together up to the length of a passage, each behind the document's title.
fn passages(document: &Document) -> Vec<String> {
    let mut passages: Vec<(usize, String)> = Vec::new();
    for paragraph in document.content.split("\n\n").filter(|text| !text.trim().is_empty()) {
        let words = paragraph.split_whitespace().count();
        match passages.last_mut() {
            Some((before, text)) if *before + words <= WORDS => {
                *before += words;
                text.push('\n');
                text.push_str(paragraph);
            }
            _ => passages.push((words, format!("{}: {paragraph}", document.title))),
        }
    }
    passages.into_iter().map(|(_, text)| text).collect()
}

fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, LearningError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_with_its_best_passage() {
        let passages =
            vec![(0, vec![0.0, 1.0]), (0, vec![1.0, 0.0]), (1, vec![0.8, 0.6]), (2, vec![-1.0, 0.0])];
        assert_eq!(first(&[1.0, 0.0], &passages, 3), [0, 1, 2]);
        assert_eq!(first(&[0.0, 1.0], &passages[1..], 3), [1, 0, 2]);
    }

    #[test]
    fn paragraphs_are_put_together_up_to_a_length() {
        let long = "word ".repeat(100);
        let content = format!("one\n\ntwo\n\n{long}\n\n{long}");
        let document = Document { id: "d".into(), title: "T".into(), content };
        let all = super::passages(&document);
        assert_eq!(all.len(), 2);
        assert!(all[0].starts_with("T: one\ntwo\nword") && all[1].starts_with("T: word"));
    }
}
