//! The project's own lines: `models/data/utterances/*.tsv`, `extraction.tsv` and `several.tsv`.
//!
//! Columns id, lang, tone, text. The id is `<leaf>.<situation>` or `<leaf>@<parent>.<situation>`, shared by a
//! German line and its English twin; `entities.<n>` for lines without an intent, `several.<n>` for lines in
//! which each concern is marked `{leaf: text}`. The tone is urgency (`l`, `n`, `h`), sentiment (`-`, `0`,
//! `+`) and `H` where a person is asked for. Values are marked `[field|text]`.

use super::{Concern, Line, Piece, Source, Split, Target, Tone, bucket, marks};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads every `.tsv` of `folder/utterances`, `folder/extraction.tsv` and, where it is there,
/// `folder/several.tsv`, in the order of their names.
pub fn read(folder: &Path, dag: &Dag, extraction: &Extraction) -> Result<Vec<Line>, LearningError> {
    let inner = folder.join("utterances");
    let remedy = "it belongs to the repository; restore it";
    let entries = std::fs::read_dir(&inner).map_err(|error| LearningError::file(&inner, error, remedy))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "tsv"));
    files.push(folder.join("extraction.tsv"));
    files.extend(Some(folder.join("several.tsv")).filter(|file| file.exists()));
    files.sort();
    read_files(files, dag, extraction)
}

/// Reads these files.
pub fn read_files(
    files: Vec<PathBuf>,
    dag: &Dag,
    extraction: &Extraction,
) -> Result<Vec<Line>, LearningError> {
    Ok(read_named(files, dag, extraction)?.into_iter().map(|(_, line)| line).collect())
}

/// Reads these files, each line with its id.
pub fn read_named(
    files: Vec<PathBuf>,
    dag: &Dag,
    extraction: &Extraction,
) -> Result<Vec<(String, Line)>, LearningError> {
    let mut lines = Vec::new();
    let mut ids = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "it belongs to the repository; restore it"))?;
        for (number, row) in text.lines().enumerate().skip(1).filter(|(_, row)| !row.trim().is_empty()) {
            let parsed = parse(row, dag, extraction).map_err(|fault| LearningError::Data {
                file: file.clone(),
                line: number + 1,
                column: fault.column,
                problem: fault.problem,
                remedy: fault.remedy.to_owned(),
            })?;
            ids.push((parsed.0, file.clone()));
            lines.push(parsed.1);
        }
    }
    meet(&mut lines, &ids);
    Ok(ids.into_iter().map(|(id, _)| id).zip(lines).collect())
}

/// Gives every line the text of its English twin (or its own) as its meaning.
fn meet(lines: &mut [Line], ids: &[(String, PathBuf)]) {
    let english: HashMap<_, _> = lines
        .iter()
        .zip(ids)
        .filter(|(line, _)| line.language == Language::En)
        .map(|(l, id)| (id, l.text()))
        .collect();
    for (line, id) in lines.iter_mut().zip(ids) {
        line.meaning = english.get(id).cloned();
    }
}

struct Fault {
    column: usize,
    problem: String,
    remedy: &'static str,
}

fn fault<T>(column: usize, problem: impl Into<String>, remedy: &'static str) -> Result<T, Fault> {
    Err(Fault { column, problem: problem.into(), remedy })
}

fn parse(row: &str, dag: &Dag, extraction: &Extraction) -> Result<(String, Line), Fault> {
    let columns: Vec<&str> = row.split('\t').collect();
    let [id, language, tone, text] = columns.as_slice() else {
        return fault(
            1,
            format!("{} columns", columns.len()),
            "write id, lang, tone and text with tabs between",
        );
    };
    let Some(language) = Language::parse(language) else {
        return fault(2, format!("`{language}` is not a language"), "write de or en");
    };
    let tone = self::tone(tone)?;
    let (pieces, concerns) = marked(text, dag, extraction)?;
    let situation =
        id.rsplit_once('.').filter(|(_, n)| n.chars().all(|c| c.is_ascii_digit()) && !n.is_empty());
    let Some((label, _)) = situation else {
        return fault(1, format!("`{id}` has no situation number"), "write <leaf>.<number>");
    };
    let (source, target) = match label {
        "entities" => (Source::Entities, None),
        "several" if concerns.is_empty() => {
            return fault(4, "no concern is marked", "mark each as {leaf: text}");
        }
        "several" => (Source::Several, None),
        label => (Source::Own, Some(target(label, dag)?)),
    };
    if source != Source::Several && !concerns.is_empty() {
        return fault(4, "a concern is marked", "name the line several.<number>, or remove the braces");
    }
    let split = match bucket(id) {
        0..10 => Split::Test,
        10..20 => Split::Dev,
        _ => Split::Train,
    };
    let groups = vec![true; extraction.groups.len()];
    let tone = Some(tone);
    let line = Line { source, split, language, pieces, target, concerns, tone, groups, meaning: None };
    Ok(((*id).to_owned(), line))
}

fn target(label: &str, dag: &Dag) -> Result<Target, Fault> {
    let (leaf, parent) = match label.split_once('@') {
        Some((leaf, parent)) => (leaf, Some(parent)),
        None => (label, None),
    };
    let Some(at) = dag.leaf(leaf) else {
        return fault(1, format!("`{leaf}` is not a leaf"), "use a leaf of config/intents.toml");
    };
    let parent = match parent {
        None => None,
        Some(id) => match dag.parent(id).filter(|p| dag.edges.contains(&(*p, at))) {
            Some(parent) => Some(parent),
            None => {
                return fault(1, format!("`{leaf}` does not stand under `{id}`"), "name one of its parents");
            }
        },
    };
    Ok(Target { leaf: at, parent, against: Arc::new(vec![true; dag.leaves.len()]) })
}

fn tone(text: &str) -> Result<Tone, Fault> {
    let mut letters = text.chars();
    let urgency = letters.next().and_then(|c| "lnh".find(c));
    let sentiment = letters.next().and_then(|c| "-0+".find(c));
    let rest = letters.as_str();
    match (urgency, sentiment, rest) {
        (Some(urgency), Some(sentiment), "" | "H") => {
            Ok(Tone { urgency, sentiment, wants_human: rest == "H" })
        }
        _ => fault(
            3,
            format!("`{text}` is not a tone"),
            "write l, n or h, then -, 0 or +, then H if a person is asked for",
        ),
    }
}

/// Pieces of the text, and which of them stand in `{leaf: text}`.
fn marked(text: &str, dag: &Dag, extraction: &Extraction) -> Result<(Vec<Piece>, Vec<Concern>), Fault> {
    const REMEDY: &str = "mark each concern as {leaf: text}";
    let (mut all, mut concerns, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some((before, opened)) = rest.split_once('{') {
        let Some((inside, after)) = opened.split_once('}') else {
            return fault(4, "a concern has no end", REMEDY);
        };
        let Some((leaf, words)) = inside.split_once(": ") else {
            return fault(4, "braces that name no concern", REMEDY);
        };
        if !before.is_empty() {
            all.extend(pieces(before, extraction)?);
        }
        let from = all.len();
        all.extend(pieces(words, extraction)?);
        concerns.push(Concern { pieces: from..all.len(), target: target(leaf, dag)? });
        rest = after;
    }
    if rest.contains('}') {
        return fault(4, "a } without its {", REMEDY);
    }
    if !rest.is_empty() || all.is_empty() {
        all.extend(pieces(rest, extraction)?);
    }
    Ok((all, concerns))
}

/// Splits `[field|text]` marks from the text around them; only fields of the pack are marked.
fn pieces(text: &str, extraction: &Extraction) -> Result<Vec<Piece>, Fault> {
    let pieces = marks::pieces(text).map_err(|(problem, remedy)| Fault {
        column: 4,
        problem: problem.to_owned(),
        remedy,
    })?;
    match pieces.iter().filter_map(|piece| piece.field.as_deref()).find(|f| extraction.find(f).is_none()) {
        Some(field) => fault(4, format!("`{field}` is not a field"), "use a field of config/extraction.toml"),
        None => Ok(pieces),
    }
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
