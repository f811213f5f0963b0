//! MobIE (Hennig et al. 2021): German text with persons and companies marked, CoNLL columns. Documents that
//! occur twice are taken once; its test part is never read.

use super::{Line, Piece, Source, Split, Target};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

/// `known_first` decides whether a single-word person is a first name (it gives lower-case names).
pub fn read(
    folder: &Path,
    dag: &Dag,
    extraction: &Extraction,
    known_first: &HashSet<String>,
) -> Result<Vec<Line>, LearningError> {
    // News and messages of travellers: nothing that a bank's customer wants.
    let against = Arc::new(vec![true; dag.leaves.len()]);
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for (name, split) in [("train.conll2003", Split::Train), ("dev.conll2003", Split::Dev)] {
        let file = folder.join(name);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "restore the data folder"))?;
        for block in text.split("\n\n") {
            let words: Vec<(&str, &str)> = block
                .lines()
                .filter(|line| !line.starts_with("-DOCSTART-"))
                .filter_map(|line| Some((line.split('\t').next()?, line.split('\t').nth(3)?)))
                .collect();
            let pieces = pieces(&words, known_first);
            let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            if words.len() < 4 || words.len() > 60 || !seen.insert(whole) {
                continue;
            }
            lines.push(Line {
                source: Source::Mobie,
                split,
                language: Language::De,
                pieces,
                target: dag.leaf("other").map(|leaf| Target {
                    leaf,
                    parent: None,
                    against: Arc::clone(&against),
                }),
                concerns: Vec::new(),
                tone: None,
                groups: extraction.groups.iter().map(|g| g.id == "persons" || g.id == "company").collect(),
                meaning: None,
            });
        }
    }
    // Sentences without a marked person or company are many; a part of them is enough.
    let marked = |line: &Line| line.pieces.iter().any(|piece| piece.field.is_some());
    lines.retain(|line| marked(line) || super::bucket(&line.text()) < 15);
    Ok(lines)
}

fn pieces(words: &[(&str, &str)], known_first: &HashSet<String>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = words;
    while let Some(((word, label), after)) = rest.split_first() {
        let kind = label.strip_prefix("B-").unwrap_or("O");
        let inside = format!("I-{kind}");
        let more = if kind == "O" { 0 } else { after.iter().take_while(|(_, l)| *l == inside).count() };
        let (own, next) = after.split_at(more.min(after.len()));
        let all: Vec<&str> = std::iter::once(*word).chain(own.iter().map(|(w, _)| *w)).collect();
        let glue = if pieces.is_empty() || is_closing(word) { "" } else { " " };
        if !glue.is_empty() {
            pieces.push(Piece { text: glue.to_owned(), field: None });
        }
        match kind {
            "person" => person(&all, known_first, &mut pieces),
            "organization-company" => pieces.push(marked(all.join(" "), "company")),
            _ => pieces.push(Piece { text: all.join(" "), field: None }),
        }
        rest = next;
    }
    pieces
}

fn is_closing(word: &str) -> bool {
    matches!(word, "." | "," | ":" | ";" | "!" | "?" | ")")
}

fn marked(text: String, field: &str) -> Piece {
    Piece { text, field: Some(field.to_owned()) }
}

/// The last word is the last name, what stands before it the first names.
pub(super) fn person(words: &[&str], known_first: &HashSet<String>, pieces: &mut Vec<Piece>) {
    match words {
        [only] if known_first.contains(&only.to_lowercase()) => {
            pieces.push(marked((*only).to_owned(), "first_name"))
        }
        [first @ .., last] => {
            if !first.is_empty() {
                pieces.push(marked(first.join(" "), "first_name"));
                pieces.push(Piece { text: " ".to_owned(), field: None });
            }
            pieces.push(marked((*last).to_owned(), "last_name"));
        }
        [] => {}
    }
}
