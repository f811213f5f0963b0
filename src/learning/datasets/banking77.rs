//! Banking77 (Casanueva et al. 2020): `text,category` lines, 77 intents.

use super::labels::Labels;
use super::{Line, Piece, Source, Split, Target, bucket};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use std::path::Path;

/// Groups of which the set has no values, so that its lines teach what is none.
const EMPTY: [&str; 3] = ["persons", "contact", "reference"];

/// `folder` holds train.csv and test.csv. A tenth of train, chosen by its text, is the development part.
pub fn read(
    folder: &Path,
    dag: &Dag,
    extraction: &Extraction,
    labels: &Labels,
) -> Result<Vec<Line>, LearningError> {
    let against = labels.banking77.against(dag);
    let mut lines = Vec::new();
    for (name, test) in [("train.csv", false), ("test.csv", true)] {
        let file = folder.join(name);
        let bytes = std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "restore the data folder"))?;
        for (number, fields) in csv(&bytes) {
            let bad = |column: usize, problem: String| LearningError::Data {
                file: file.clone(),
                line: number,
                column,
                problem,
                remedy: "a line is `text,category`".to_owned(),
            };
            let [text, label] = fields.as_slice() else {
                return Err(bad(1, format!("{} columns", fields.len())));
            };
            if label == "category" {
                continue;
            }
            let plain = label.to_lowercase().replace('?', "");
            let id = labels.banking77.leaf.get(label).unwrap_or(&plain);
            let leaf = dag.leaf(id).ok_or_else(|| bad(2, format!("`{label}` is not a known label")))?;
            let split = match (test, bucket(text)) {
                (true, _) => Split::Test,
                (false, 0..10) => Split::Dev,
                (false, _) => Split::Train,
            };
            let against = against.get(leaf).cloned().unwrap_or_default();
            let text = text.trim().to_owned();
            lines.push(Line {
                source: Source::Banking77,
                split,
                language: Language::En,
                meaning: Some(text.clone()),
                pieces: vec![Piece { text, field: None }],
                target: Some(Target { leaf, parent: None, against }),
                concerns: Vec::new(),
                tone: None,
                groups: extraction.groups.iter().map(|group| EMPTY.contains(&group.id.as_str())).collect(),
            });
        }
    }
    Ok(lines)
}

/// RFC 4180 records with the number of the line each begins on.
pub(crate) fn csv(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut began) = (false, 1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                records.push((began, std::mem::take(&mut fields)));
                began = line;
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() || !fields.is_empty() {
        fields.push(field);
        records.push((began, fields));
    }
    records
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_commas_and_line_breaks_inside_a_field() {
        let records = super::csv("text,category\n\"a, \"\"b\"\"\nc\",x\r\ny,z");
        assert_eq!(records[1], (2, vec!["a, \"b\"\nc".to_owned(), "x".to_owned()]));
        assert_eq!(records[2], (4, vec!["y".to_owned(), "z".to_owned()]));
    }
}
