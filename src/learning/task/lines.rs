//! Lines with intents and slots, from the two forms that a task file can name.
//!
//! JSON, as NLU++ has it (Casanueva et al. 2022): an array of `{"text", "intents": [..], "slots": {slot:
//! {"span": [start, end]}}}`, positions in characters, other keys ignored; a slot with several values holds an
//! array of such marks. TSV: a header names the columns, of which `text` is needed and `labels` (divided by
//! commas, may be empty) or `id` (`<label>.<number>` or `<label>@<parent>.<number>`, `entities.<number>` for a
//! line without a label, as in models/data) are read; values are marked `[slot|value]`.

use super::declare::{Form, Task};
use crate::learning::datasets::{Piece, marks};
use crate::learning::error::LearningError;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A message with everything that is marked in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub intents: BTreeSet<String>,
    /// In the order of the text; none overlaps another.
    pub values: Vec<Value>,
}

/// A value of a slot: characters of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub slot: String,
    pub start: usize,
    pub end: usize,
}

/// The lines of every fold, in the order of the task file.
pub fn read(task: &Task, data: &Path) -> Result<Vec<Vec<Line>>, LearningError> {
    let fold = |path: &std::path::PathBuf| {
        let file = data.join(path);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            LearningError::file(&file, error, "name the data folder with --data or PROKURA_DATA")
        })?;
        match task.form {
            Form::Json => json(&file, &text),
            Form::Tsv => tsv(&file, &text),
        }
    };
    task.folds.iter().map(fold).collect()
}

#[derive(Deserialize)]
struct Row {
    text: String,
    #[serde(default)]
    intents: BTreeSet<String>,
    #[serde(default)]
    slots: BTreeMap<String, Marks>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Marks {
    One(Mark),
    Several(Vec<Mark>),
}

#[derive(Deserialize)]
struct Mark {
    span: [usize; 2],
}

fn json(file: &Path, text: &str) -> Result<Vec<Line>, LearningError> {
    let rows: Vec<Row> = serde_json::from_str(text).map_err(|error| LearningError::Data {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
        // The parser's own words may quote a value.
        problem: format!("{:?} error", error.classify()).to_lowercase(),
        remedy: "write an array of objects with text, intents and slots".to_owned(),
    })?;
    let mut lines = Vec::with_capacity(rows.len());
    for (number, row) in rows.into_iter().enumerate() {
        let bad = |problem: String| {
            let problem = format!("message {} of the file: {problem}", number + 1);
            LearningError::file(file, problem, "a span is [first character, character behind the last]")
        };
        let length = row.text.chars().count();
        let mut values = Vec::new();
        for (slot, marks) in row.slots {
            let marks = match marks {
                Marks::One(mark) => vec![mark],
                Marks::Several(marks) => marks,
            };
            for Mark { span: [start, end] } in marks {
                if start >= end || end > length {
                    let text = format!("`{slot}` is at [{start}, {end}] in a text of {length} characters");
                    return Err(bad(text));
                }
                values.push(Value { slot: slot.clone(), start, end });
            }
        }
        values.sort_by_key(|value| value.start);
        if let Some([one, two]) = values.windows(2).find(|pair| overlap(pair)) {
            return Err(bad(format!("`{}` and `{}` overlap", one.slot, two.slot)));
        }
        lines.push(Line { text: row.text, intents: row.intents, values });
    }
    Ok(lines)
}

fn overlap(pair: &[Value]) -> bool {
    matches!(pair, [one, two] if two.start < one.end)
}

fn tsv(file: &Path, text: &str) -> Result<Vec<Line>, LearningError> {
    let bad = |line: usize, column: usize, problem: String, remedy: &str| LearningError::Data {
        file: file.to_owned(),
        line: line + 1,
        column: column + 1,
        problem,
        remedy: remedy.to_owned(),
    };
    let mut rows = text.lines().enumerate();
    let header: Vec<&str> = rows.next().map(|(_, row)| row.split('\t').collect()).unwrap_or_default();
    let at = |name: &str| header.iter().position(|column| *column == name);
    let (Some(text_at), Some(label_at)) = (at("text"), at("labels").or(at("id"))) else {
        let problem = "the header lacks `text`, or both `labels` and `id`".to_owned();
        return Err(bad(
            0,
            0,
            problem,
            "write the names of the columns into the first line, with tabs between",
        ));
    };
    let by_id = at("labels").is_none();
    let mut lines = Vec::new();
    for (number, row) in rows.filter(|(_, row)| !row.trim().is_empty()) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (Some(text), Some(label), true) =
            (columns.get(text_at), columns.get(label_at), columns.len() == header.len())
        else {
            let problem = format!("{} columns where the header has {}", columns.len(), header.len());
            return Err(bad(number, 0, problem, "give every line the columns of the header"));
        };
        let intents = if by_id { of_id(label) } else { Some(of_list(label)) };
        let intents = intents.ok_or_else(|| {
            let problem = format!("`{label}` does not name a label");
            bad(number, label_at, problem, "write <label>.<number>, or add a column `labels`")
        })?;
        let (text, values) =
            marked(text).map_err(|(problem, remedy)| bad(number, text_at, problem.to_owned(), remedy))?;
        lines.push(Line { text, intents, values });
    }
    Ok(lines)
}

fn of_list(labels: &str) -> BTreeSet<String> {
    labels.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

fn of_id(id: &str) -> Option<BTreeSet<String>> {
    let (label, number) = id.rsplit_once('.')?;
    let label = label.split_once('@').map_or(label, |(leaf, _)| leaf);
    // Lines with marked concerns carry their labels inside of the text.
    let named = !label.is_empty() && label != "several" && number.parse::<u64>().is_ok();
    named.then(|| if label == "entities" { BTreeSet::new() } else { BTreeSet::from([label.to_owned()]) })
}

/// The text without its marks, and what they say.
fn marked(text: &str) -> Result<(String, Vec<Value>), marks::Fault> {
    let (mut out, mut values) = (String::new(), Vec::new());
    for Piece { text, field } in marks::pieces(text)? {
        let start = out.chars().count();
        out.push_str(&text);
        values.extend(field.map(|slot| Value { slot, start, end: out.chars().count() }));
    }
    if out.trim().is_empty() {
        return Err(("the text is empty", "write a text"));
    }
    Ok((out, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(slot: &str, start: usize, end: usize) -> Value {
        Value { slot: slot.to_owned(), start, end }
    }

    #[test]
    fn json_lines_carry_intents_and_spans_in_characters() {
        let text = r#"[{"text": "Grüße an Max am 3.", "intents": ["greet", "when"],
            "slots": {"name": {"span": [9, 12], "text": "Max", "value": 1}, "day": [{"span": [16, 18]}]}},
            {"text": "ok"}]"#;
        let lines = json(Path::new("f.json"), text).unwrap();
        assert_eq!(lines[0].values, [value("name", 9, 12), value("day", 16, 18)]);
        assert_eq!(lines[0].intents.len(), 2);
        assert_eq!(lines[1], Line { text: "ok".to_owned(), ..Line::default() });
    }

    #[test]
    fn a_span_outside_of_the_text_is_refused_without_telling_the_text() {
        let text = r#"[{"text": "secret", "slots": {"name": {"span": [2, 7]}}}]"#;
        let error = json(Path::new("f.json"), text).unwrap_err().to_string();
        assert!(
            error.contains("message 1") && error.contains("[2, 7]") && !error.contains("secret"),
            "{error}"
        );
        let text = r#"[{"text": "abcdef", "slots": {"a": {"span": [0, 3]}, "b": {"span": [2, 4]}}}]"#;
        assert!(json(Path::new("f.json"), text).unwrap_err().to_string().contains("overlap"));
    }

    #[test]
    fn tab_separated_lines_name_labels_or_an_id() {
        let lines =
            tsv(Path::new("f.tsv"), "labels\ttext\nup, new\tab [day|Über\u{301}morgen] da\n\tnichts\n");
        let lines = lines.unwrap();
        assert_eq!(lines[0].intents, BTreeSet::from(["new".to_owned(), "up".to_owned()]));
        assert_eq!(
            (lines[0].text.as_str(), &lines[0].values[..]),
            ("ab Über\u{301}morgen da", &[value("day", 3, 14)][..])
        );
        assert!(lines[1].intents.is_empty());
        let text = "id\tlang\ttone\ttext\npin@cards.7\tde\tn0\tPIN weg\nentities.1\tde\tn0\t[n|Max]\n";
        let lines = tsv(Path::new("f.tsv"), text).unwrap();
        assert_eq!(lines[0].intents, BTreeSet::from(["pin".to_owned()]));
        assert!(lines[1].intents.is_empty());
        let error = tsv(Path::new("f.tsv"), "id\ttext\nseveral.1\tx\n").unwrap_err().to_string();
        assert!(error.starts_with("f.tsv:2:1: `several.1`"), "{error}");
        assert!(tsv(Path::new("f.tsv"), "labels\ttext\na\tx [b|\n").is_err());
    }
}
