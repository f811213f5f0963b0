//! Sections of the sample policies (`index/policies/*.md`), English ones, and of tau_banking's documents (never its
//! questions): text of the kind that retrieval reads, on which the vector is to stay what the base model makes of it. German ones have no twin sentence by
//! sentence, and what the base model makes of German is not worth keeping.

use super::{Line, Piece, Source, Split};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::Extraction;
use std::path::Path;

/// Shorter paragraphs say nothing alone.
const SHORTEST: usize = 40;

/// `file` is documents.jsonl of tau_banking: an object a line with `title` and `content`.
pub fn documents(file: &Path, extraction: &Extraction) -> Result<Vec<Line>, LearningError> {
    #[derive(serde::Deserialize)]
    struct Document {
        title: String,
        content: String,
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| LearningError::file(file, error, "restore the data folder"))?;
    let mut lines = Vec::new();
    for (number, row) in text.lines().enumerate() {
        let document: Document = serde_json::from_str(row).map_err(|error| LearningError::Data {
            file: file.to_owned(),
            line: number + 1,
            column: error.column(),
            problem: "not an object with `title` and `content`".to_owned(),
            remedy: "restore the data folder".to_owned(),
        })?;
        let found = paragraphs(&document.content).into_iter();
        lines.extend(found.map(|text| line(format!("{} {text}", document.title), extraction)));
    }
    Ok(lines)
}

fn line(text: String, extraction: &Extraction) -> Line {
    Line {
        source: Source::Policies,
        split: Split::Train,
        language: Language::En,
        meaning: Some(text.clone()),
        pieces: vec![Piece { text, field: None }],
        target: None,
        concerns: Vec::new(),
        tone: None,
        groups: vec![false; extraction.groups.len()],
    }
}

/// `folder` is index/policies; nothing where it is not there.
pub fn read(folder: &Path, extraction: &Extraction) -> Result<Vec<Line>, LearningError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "it belongs to the repository; restore it"))?;
        let body = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        let Some((head, body)) = body else { continue };
        if !head.lines().any(|line| line.trim() == "language: en") {
            continue;
        }
        lines.extend(paragraphs(body).into_iter().map(|text| line(text, extraction)));
    }
    Ok(lines)
}

/// Each paragraph behind its nearest heading, as a passage is.
fn paragraphs(body: &str) -> Vec<String> {
    let (mut heading, mut found) = (String::new(), Vec::new());
    for block in body.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        if block.starts_with('#') && !block.contains('\n') {
            heading = block.trim_start_matches('#').trim().to_owned();
        } else if block.chars().count() >= SHORTEST {
            let plain = block.replace(['*', '|', '#'], " ");
            found.push(format!("{heading}: {}", plain.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_paragraphs_stand_behind_their_heading() {
        let extraction = crate::learning::train::pack(Path::new("config")).unwrap().1;
        let lines = read(Path::new("index/policies"), &extraction).unwrap();
        assert!(lines.len() > 60, "{}", lines.len());
        assert!(lines.iter().all(|line| line.meaning.as_deref() == Some(line.text().as_str())));
        assert_eq!(
            paragraphs("# A\n\n## Fees\n\nCash abroad costs **one** percent of the\namount.\n\nshort"),
            ["Fees: Cash abroad costs one percent of the amount."]
        );
    }
}
