//! A bank's own labelled tickets: JSON lines, `{"text": "…", "leaf": "balance"}` and, where they are known,
//! `"id"`, `"language"` (de or en; the text decides otherwise), `"parent"` (the way in, for a leaf that stands
//! under several) and `"channel"` (chat, e-mail, or what the bank calls it).

use super::{Line, Piece, Source, Split, Target};
use crate::base::Language;
use crate::intake::detect;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    id: String,
    text: String,
    leaf: String,
    parent: Option<String>,
    language: Option<String>,
    channel: Option<String>,
}

/// A ticket as a line, with what only tickets have.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: String,
    pub channel: Option<String>,
    pub line: Line,
}

/// Reads every line as one of this part. `usual` is the language of a text that does not tell its own.
///
/// # Errors
/// A line that is no such object, or names a leaf that the pack does not know: with its place, and without its
/// text.
pub fn read(
    file: &Path,
    (dag, extraction): (&Dag, &Extraction),
    split: Split,
    usual: Language,
) -> Result<Vec<Ticket>, LearningError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| LearningError::file(file, error, "name a file of labelled tickets"))?;
    let mut tickets = Vec::new();
    for (number, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let fault = |column: usize, problem: String, remedy: &str| LearningError::Data {
            file: file.to_owned(),
            line: number + 1,
            column,
            problem,
            remedy: remedy.to_owned(),
        };
        let row: Row = serde_json::from_str(row).map_err(|error| {
            // The parser's own words may quote the text.
            fault(error.column(), "not a labelled ticket".to_owned(), r#"write {"text": "…", "leaf": "…"}"#)
        })?;
        if row.text.trim().is_empty() {
            return Err(fault(1, "`text` is empty".to_owned(), "remove the line"));
        }
        let leaf = dag.leaf(&row.leaf).ok_or_else(|| {
            let known =
                crate::base::finding::suggestion(&row.leaf, dag.leaves.iter().map(|leaf| leaf.id.as_str()));
            let shown = shown(&row.leaf);
            fault(1, format!("`leaf`: {shown} is not known{known}"), "use a leaf of intents.toml")
        })?;
        let under = |id: &String| dag.parent(id).filter(|parent| dag.edges.contains(&(*parent, leaf)));
        let parent = match &row.parent {
            Some(id) => Some(under(id).ok_or_else(|| {
                let problem = format!("`parent`: `{}` does not stand under {}", row.leaf, shown(id));
                fault(1, problem, "name one of its parents, or leave it out")
            })?),
            None => None,
        };
        let language = match &row.language {
            Some(code) => Language::parse(code).ok_or_else(|| {
                let problem = format!("`language`: {} is not known", shown(code));
                fault(1, problem, "write de or en, or leave it out")
            })?,
            None => detect(&row.text, usual),
        };
        let line = Line {
            source: Source::Own,
            split,
            language,
            pieces: vec![Piece { text: row.text, field: None }],
            target: Some(Target { leaf, parent, against: Arc::new(vec![true; dag.leaves.len()]) }),
            concerns: Vec::new(),
            tone: None,
            groups: vec![false; extraction.groups.len()],
            meaning: None,
        };
        tickets.push(Ticket { id: row.id, channel: row.channel, line });
    }
    if tickets.is_empty() {
        let remedy = r#"write one JSON object a line, as {"text": "…", "leaf": "balance"}"#;
        return Err(LearningError::file(file, "it holds no ticket", remedy));
    }
    Ok(tickets)
}

/// An id as it may be shown; whatever else stands in its place may be a customer's words.
fn shown(id: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !id.is_empty() && id.len() <= 64 && id.chars().all(plain) {
        true => format!("`{id}`"),
        false => "what stands there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Ticket>, LearningError> {
        let (dag, extraction) = crate::learning::train::pack(Path::new("config")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tickets.jsonl");
        std::fs::write(&file, text).unwrap();
        read(&file, (&dag, &extraction), Split::Dev, Language::De)
    }

    #[test]
    fn a_ticket_is_a_line_with_its_leaf() {
        let text = "{\"text\": \"Wie hoch ist mein Kontostand?\", \"leaf\": \"balance\"}\n\n\
             {\"id\": \"7\", \"text\": \"[x] ok\", \"leaf\": \"balance\", \"language\": \"en\", \"channel\": \"chat\"}\n";
        let tickets = read_text(text).unwrap();
        assert_eq!(tickets[0].line.language, Language::De);
        assert_eq!((tickets[1].id.as_str(), tickets[1].channel.as_deref()), ("7", Some("chat")));
        assert_eq!((tickets[1].line.text().as_str(), tickets[1].line.language), ("[x] ok", Language::En));
    }

    #[test]
    fn faults_name_line_and_field_and_never_the_text() {
        for (row, said) in [
            ("{\"text\": \"geheim\"}", "not a labelled ticket"),
            ("{\"text\": \"geheim\", \"leaf\": 7}", "not a labelled ticket"),
            ("{\"text\": \"geheim\", \"leaf\": \"balanc\"}", "`balanc` is not known"),
            ("{\"text\": \"geheim\", \"leaf\": \"balance\", \"parent\": \"cards\"}", "does not stand under"),
            ("{\"text\": \"geheim\", \"leaf\": \"balance\", \"language\": \"fr\"}", "`language`"),
            ("{\"text\": \"balance\", \"leaf\": \"Mein Name ist geheim\"}", "what stands there is not known"),
            (
                "{\"text\": \"a\", \"leaf\": \"balance\", \"language\": \"Ist geheim\"}",
                "`language`: what stands there",
            ),
            ("{\"text\": \" \", \"leaf\": \"balance\"}", "`text` is empty"),
        ] {
            let text = format!("{{\"text\": \"a\", \"leaf\": \"balance\"}}\n{row}\n");
            let error = read_text(&text).unwrap_err().to_string();
            assert!(error.contains("tickets.jsonl:2:") && error.contains(said), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(read_text("\n\n").unwrap_err().to_string().contains("it holds no ticket"));
    }
}
