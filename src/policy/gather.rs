//! Files and folders become documents.

use super::chunk;
use super::document::{Document, Draft, Format, Written, conflicts};
use super::error::{Flaw, PolicyError};
use super::front_matter;
use crate::base::{Digest, Language};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes. A set of many documents in one JSONL file may be larger.
const MAX_FILE: u64 = 16 << 20;
const MAX_JSONL: u64 = 1 << 30;
/// Deepest folder below a given path.
const MAX_DEPTH: usize = 32;

/// What was found, sorted by id and version.
pub struct Gathered {
    pub documents: Vec<Document>,
    /// Files that were passed over because of their format.
    pub skipped: Vec<PathBuf>,
    /// What was passed over within files.
    pub notes: Vec<String>,
}

/// Reads all documents under the given files and folders. Folders are read recursively; hidden files and
/// symbolic links in them are passed over. `progress` receives files done and files in all.
///
/// # Errors
/// Everything that is wrong with any document, at once.
pub fn gather(
    paths: &[PathBuf],
    language: Language,
    progress: &dyn Fn(usize, usize),
) -> Result<Gathered, PolicyError> {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(PolicyError::io(path))?;
        if kind.is_dir() {
            walk(path, 0, &mut files, &mut skipped)?;
        } else if Kind::of(path).is_some() {
            files.push(path.clone());
        } else {
            return Err(PolicyError::NoDocuments(format!("`{}`", path.display())));
        }
    }
    files.sort();
    files.dedup();
    let (mut found, mut flaws, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (done, file) in files.iter().enumerate() {
        for draft in read(file)? {
            let checked = draft.and_then(|draft| {
                let (file, line) = (draft.file.clone(), draft.line);
                notes.extend(draft.foreign());
                Ok((file, line, draft.finish(language)?))
            });
            match checked {
                Ok(document) => found.push(document),
                Err(more) => flaws.extend(more),
            }
        }
        progress(done + 1, files.len());
    }
    flaws.extend(conflicts(&found));
    if !flaws.is_empty() {
        return Err(PolicyError::Flaws(flaws));
    }
    let mut documents: Vec<Document> = found.into_iter().map(|(_, _, document)| document).collect();
    if documents.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(PolicyError::NoDocuments(paths.join(", ")));
    }
    documents.sort_by(|a, b| (&a.id, &a.version).cmp(&(&b.id, &b.version)));
    Ok(Gathered { documents, skipped, notes })
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Document(Format),
    Lines,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Self::Document(Format::Markdown)),
            "txt" => Some(Self::Document(Format::Text)),
            "jsonl" => Some(Self::Lines),
            _ => None,
        }
    }
}

fn walk(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    skipped: &mut Vec<PathBuf>,
) -> Result<(), PolicyError> {
    for entry in fs::read_dir(folder).map_err(PolicyError::io(folder))? {
        let entry = entry.map_err(PolicyError::io(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(PolicyError::io(&path))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, files, skipped)?;
        } else if kind.is_file() && Kind::of(&path).is_some() {
            files.push(path);
        } else {
            skipped.push(path);
        }
    }
    Ok(())
}

type Drafts = Vec<Result<Draft, Vec<Flaw>>>;

fn read(file: &Path) -> Result<Drafts, PolicyError> {
    let kind = Kind::of(file);
    let limit = if kind == Some(Kind::Lines) { MAX_JSONL } else { MAX_FILE };
    let length = fs::metadata(file).map_err(PolicyError::io(file))?.len();
    let whole = |field: &str, line: usize, value: String, remedy: &str| {
        let (field, remedy) = (field.to_owned(), remedy.to_owned());
        Ok(vec![Err(vec![Flaw { file: file.to_path_buf(), line, field, value, remedy }])])
    };
    if length > limit {
        return whole(
            "size",
            1,
            format!("{length} bytes"),
            &format!("split the file; at most {limit} bytes are read"),
        );
    }
    let bytes = fs::read(file).map_err(PolicyError::io(file))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
            return whole("text", line, format!("byte {}", error.valid_up_to()), "save the file as UTF-8");
        }
    };
    Ok(match kind {
        Some(Kind::Document(format)) => vec![one(file, text, format)],
        Some(Kind::Lines) => lines(file, text),
        None => Vec::new(),
    })
}

fn one(file: &Path, text: &str, format: Format) -> Result<Draft, Vec<Flaw>> {
    let front_matter::Split { fields, foreign, body, line } = front_matter::split(file, text)?;
    Ok(Draft {
        file: file.to_path_buf(),
        line,
        fields,
        foreign,
        default_id: file.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        first_heading: chunk::first_heading(format, body),
        format,
        pages: Vec::new(),
        source: Some(Digest::of(text.as_bytes())),
        body: body.to_owned(),
    })
}

fn lines(file: &Path, text: &str) -> Drafts {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered.map(|(index, line)| json_line(file, index + 1, line)).collect()
}

fn json_line(file: &Path, line: usize, text: &str) -> Result<Draft, Vec<Flaw>> {
    let flaw = |field: &str, value: &str, remedy: String| {
        vec![Flaw {
            file: file.to_path_buf(),
            line,
            field: field.to_owned(),
            value: value.to_owned(),
            remedy,
        }]
    };
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| flaw("line", text, format!("write one JSON object a line ({error})")))?;
    let mut fields = BTreeMap::new();
    for (key, value) in object {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Null => String::new(),
            other => return Err(flaw(&key, &other.to_string(), "write a string".to_owned())),
        };
        fields.insert(key, Written { value, line });
    }
    let Some(body) = fields.remove("content").map(|written| written.value) else {
        return Err(flaw("content", "", "add the document's text".to_owned()));
    };
    Ok(Draft {
        file: file.to_path_buf(),
        line,
        fields,
        foreign: Vec::new(),
        default_id: None,
        first_heading: chunk::first_heading(Format::Markdown, &body),
        format: Format::Markdown,
        pages: Vec::new(),
        source: None,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Audience;

    fn gathered(files: &[(&str, &str)]) -> Result<Gathered, PolicyError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        gather(&[folder.path().to_path_buf()], Language::De, &|_, _| {})
    }

    #[test]
    fn json_lines_take_the_defaults() {
        let line = r#"{"id": 7, "title": "Internal limits", "content": "Text.", "version": 2}
            {"id": "b", "title": "Open", "content": "Text.", "language": "en", "audience": "internal"}"#;
        let found = gathered(&[("set.jsonl", line), ("image.png", "")]).unwrap();
        let [first, second] = &found.documents[..] else { panic!() };
        assert_eq!(
            (first.id.as_str(), first.version.as_str(), first.audience.clone()),
            ("7", "2", Audience::Internal)
        );
        assert_eq!((first.language, second.language), (Language::De, Language::En));
        assert_eq!(second.audience, Audience::Internal);
        assert_eq!(found.skipped.len(), 1);
    }

    #[test]
    fn every_flaw_is_told_at_once() {
        let error = gathered(&[
            ("a.md", "---\naudience: Secret\nvalid_from: soon\ntitel: x\n---\nText"),
            ("b.jsonl", "{\"id\": \"b\"}\n{\"id\": \"c\", \"content\": \"\"}\nnot json"),
            ("c.txt", "---\nvalid_from: 2026-02-01\nvalid_to: 2026-01-01\n---\nText"),
        ]);
        let text = error.err().unwrap().to_string();
        for expected in [
            "a.md:2: audience `Secret`: write `public`, `internal`, or names of roles with commas between them",
            "a.md:4: titel `x`: unknown field; did you mean `title`?",
            "a.md:3: valid_from `soon`: write a date as YYYY-MM-DD",
            "b.jsonl:1: content ``: add the document's text",
            "b.jsonl:2: body ``: the document has no text",
            "b.jsonl:3: line `not json`",
            "c.txt:3: valid_to `2026-01-01`: must not be before valid_from",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf8_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.md");
        fs::write(&file, b"one\ntwo \xff").unwrap();
        let error = gather(std::slice::from_ref(&file), Language::De, &|_, _| {}).err().unwrap().to_string();
        assert!(error.ends_with("a.md:2: text `byte 8`: save the file as UTF-8"), "{error}");
        let missing =
            gather(&[folder.path().join("none")], Language::De, &|_, _| {}).err().unwrap().to_string();
        assert!(missing.contains("none"));
        let unknown = folder.path().join("a.pdf");
        fs::write(&unknown, "x").unwrap();
        assert!(matches!(gather(&[unknown], Language::De, &|_, _| {}), Err(PolicyError::NoDocuments(_))));
    }

    #[test]
    fn a_file_without_front_matter_is_named_by_its_name_and_heading() {
        let found = gathered(&[("card-fees.md", "# Card *fees*\n\nText")]).unwrap();
        assert_eq!(
            (found.documents[0].id.as_str(), found.documents[0].title.as_str()),
            ("card-fees", "Card fees")
        );
        assert!(gathered(&[]).is_err());
    }
}
