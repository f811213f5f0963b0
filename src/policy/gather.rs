//! Files and folders become documents.

use super::chunk;
use super::document::{Document, Draft, Format, Written, conflicts};
use super::error::{Flaw, PolicyError};
use super::front_matter;
use crate::base::{Digest, Language};
use crate::intake::{detect, document as intake};
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
    let mut drafts = Vec::new();
    let together = std::thread::available_parallelism().map_or(1, usize::from);
    for part in files.chunks(together) {
        // Workers read at the same time; what they read stays in the order of the files.
        let read: Vec<Result<Drafts, PolicyError>> = std::thread::scope(|scope| {
            let running: Vec<_> = part.iter().map(|file| scope.spawn(move || read(file))).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or(Err(PolicyError::Ended))).collect()
        });
        for found in read {
            drafts.extend(found?);
        }
        let done = drafts.len().min(files.len());
        progress(done, files.len());
    }
    let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    let gathered = checked(drafts, language, &paths.join(", "))?;
    Ok(Gathered { skipped, ..gathered })
}

/// Most bytes that are read of a file of this name; `None`: no format is known by it.
pub fn most_bytes(name: &str) -> Option<u64> {
    Kind::of(Path::new(name)).map(Kind::most_bytes)
}

/// A document as somebody sends it, without a file: `fields` take the place of what its front matter says.
///
/// # Errors
/// Everything that is wrong with it.
pub fn upload(
    (name, bytes): (&str, &[u8]),
    fields: BTreeMap<String, String>,
    language: Language,
    limits: &intake::Limits,
) -> Result<Gathered, PolicyError> {
    let file = Path::new(name);
    let kind = Kind::of(file).ok_or_else(|| PolicyError::NoDocuments(format!("`{name}`")))?;
    let written = fields.into_iter().map(|(key, value)| (key, Written { value, line: 1 })).collect();
    let drafts = drafts(file, kind, bytes, (&written, limits))?;
    checked(drafts, language, &format!("`{name}`"))
}

/// Checks drafts, alone and against one another.
fn checked(drafts: Drafts, language: Language, from: &str) -> Result<Gathered, PolicyError> {
    let (mut found, mut flaws, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for draft in drafts {
        let checked = draft.and_then(|draft| {
            let (file, line) = (draft.file.clone(), draft.line);
            notes.extend(draft.passed_over());
            Ok((file, line, draft.finish(language)?))
        });
        match checked {
            Ok(document) => found.push(document),
            Err(more) => flaws.extend(more),
        }
    }
    flaws.extend(conflicts(&found));
    if !flaws.is_empty() {
        return Err(PolicyError::Flaws(flaws));
    }
    let mut documents: Vec<Document> = found.into_iter().map(|(_, _, document)| document).collect();
    if documents.is_empty() {
        return Err(PolicyError::NoDocuments(from.to_owned()));
    }
    documents.sort_by(|a, b| (&a.id, &a.version).cmp(&(&b.id, &b.version)));
    Ok(Gathered { documents, skipped: Vec::new(), notes })
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Text that we read as it is.
    Plain(Format),
    /// What a worker process reads.
    Foreign,
    /// A document a line.
    Lines,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name.to_ascii_lowercase().ends_with(".jsonl") {
            return Some(Self::Lines);
        }
        Some(match intake::Format::of_name(name)? {
            intake::Format::Markdown => Self::Plain(Format::Markdown),
            intake::Format::Text => Self::Plain(Format::Text),
            _ => Self::Foreign,
        })
    }

    const fn most_bytes(self) -> u64 {
        match self {
            Self::Plain(_) => MAX_FILE,
            // The reader has a limit of its own.
            Self::Foreign | Self::Lines => MAX_JSONL,
        }
    }
}

/// What a file that is not ours to write in says of itself stands in a file beside it, as front matter without its
/// fences.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".meta");
    file.with_file_name(name)
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
        let has_keys = path.extension().is_some_and(|ending| ending == "meta");
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, files, skipped)?;
        } else if kind.is_file() && (Kind::of(&path).is_some() || has_keys) {
            files.push(path);
        } else {
            skipped.push(path);
        }
    }
    Ok(())
}

type Drafts = Vec<Result<Draft, Vec<Flaw>>>;
type Fields = BTreeMap<String, Written>;

fn flaw(file: &Path, line: usize, field: &str, value: String, remedy: impl Into<String>) -> Flaw {
    Flaw { file: file.to_path_buf(), line, field: field.to_owned(), value, remedy: remedy.into() }
}

fn read(file: &Path) -> Result<Drafts, PolicyError> {
    let Some(kind) = Kind::of(file) else { return Ok(alone(file).into_iter().collect()) };
    let length = fs::metadata(file).map_err(PolicyError::io(file))?.len();
    let most = kind.most_bytes();
    if length > most {
        let remedy = format!("split the file; at most {most} bytes are read");
        return Ok(vec![Err(vec![flaw(file, 1, "size", format!("{length} bytes"), remedy)])]);
    }
    let bytes = fs::read(file).map_err(PolicyError::io(file))?;
    let (fields, others) = match kind {
        Kind::Foreign => match meta(&beside(file)) {
            Ok(read) => read,
            Err(flaws) => return Ok(vec![Err(flaws)]),
        },
        Kind::Plain(_) | Kind::Lines if beside(file).exists() => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let remedy =
                format!("put these keys into `{name}` itself and remove this file: it would not be read");
            return Ok(vec![Err(vec![flaw(&beside(file), 1, "file", format!("{name}.meta"), remedy)])]);
        }
        Kind::Plain(_) | Kind::Lines => Default::default(),
    };
    let mut drafts = drafts(file, kind, &bytes, (&fields, &intake::Limits::default()))?;
    drafts.iter_mut().flatten().for_each(|draft| draft.foreign.extend(others.iter().cloned()));
    Ok(drafts)
}

/// What is wrong with keys that stand beside no document.
fn alone(file: &Path) -> Option<Result<Draft, Vec<Flaw>>> {
    let has_keys = file.extension().is_some_and(|ending| ending == "meta");
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let remedy = "there is no file of this name without `.meta` whose keys these could be: capitals count";
    let is_alone = has_keys && !file.with_extension("").is_file();
    is_alone.then(|| Err(vec![flaw(file, 1, "file", name, remedy)]))
}

/// The keys in a file beside a document, and those that are none of ours. What cannot be understood is refused: the
/// document might be published to more people than may see it.
fn meta(file: &Path) -> Result<(Fields, Vec<String>), Vec<Flaw>> {
    let refused = |line, value: &str, remedy: &str| {
        Err(vec![flaw(file, line, "front matter", value.to_owned(), remedy)])
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return refused(1, "no UTF-8", "save the file as UTF-8");
        }
        Err(error) => return refused(1, &error.to_string(), "see that the file can be read"),
    };
    // With fences or without.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end();
    let (text, added) = match text.strip_prefix("---") {
        Some(_) => (format!("{}\n---\n", text.strip_suffix("\n---").unwrap_or(text)), 0),
        None => (format!("---\n{text}\n---\n"), 1),
    };
    let mut split = front_matter::split(file, &text).map_err(|mut flaws| {
        flaws.iter_mut().for_each(|flaw| flaw.line -= added.min(flaw.line));
        flaws
    })?;
    match split.body.trim().lines().next() {
        None => {
            split.fields.values_mut().for_each(|written| written.line -= added.min(written.line));
            Ok((split.fields, split.foreign))
        }
        Some(rest) => refused(split.line - added, rest, "write `key: value` lines and nothing behind them"),
    }
}

/// What the bytes of a file hold. `given` are fields that count before those of the file; `limits` are what a worker
/// may take.
fn drafts(
    file: &Path,
    kind: Kind,
    bytes: &[u8],
    (given, limits): (&Fields, &intake::Limits),
) -> Result<Drafts, PolicyError> {
    if kind == Kind::Foreign {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        return match intake::read(bytes, &name, limits) {
            Ok(read) => Ok(vec![Ok(foreign(file, bytes, read, given))]),
            Err(reason) if reason.is_ours() => Err(PolicyError::NoReader(reason)),
            Err(reason) => Ok(vec![Err(vec![flaw(file, 1, "file", name.to_string(), reason.to_string())])]),
        };
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
            let value = format!("byte {}", error.valid_up_to());
            return Ok(vec![Err(vec![flaw(file, line, "text", value, "save the file as UTF-8")])]);
        }
    };
    Ok(match kind {
        Kind::Plain(format) => vec![plain(file, text, format, given)],
        Kind::Lines | Kind::Foreign => lines(file, text, given),
    })
}

fn stem(file: &Path) -> Option<String> {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

fn plain(file: &Path, text: &str, format: Format, given: &Fields) -> Result<Draft, Vec<Flaw>> {
    let front_matter::Split { mut fields, foreign, body, line } = front_matter::split(file, text)?;
    fields.extend(given.clone());
    Ok(Draft {
        file: file.to_path_buf(),
        line,
        fields,
        foreign,
        default_id: stem(file),
        first_heading: chunk::first_heading(format, body),
        format,
        pages: Vec::new(),
        source: Some(Digest::of(text.as_bytes())),
        notes: Vec::new(),
        body: body.to_owned(),
    })
}

/// Of one file.
const MOST_NOTES: usize = 100;
/// Longest title that is taken over from a file, in characters.
const LONGEST_TITLE: usize = 300;

/// What a worker process read, which gives Markdown.
fn foreign(file: &Path, bytes: &[u8], read: intake::Text, given: &Fields) -> Draft {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let intake::Text { title, language, text, pages, mut notes, .. } = read.flattened("#", MOST_NOTES);
    let mut fields = given.clone();
    let own = |key: &str, value: Option<String>, fields: &mut Fields| {
        if let Some(value) = value.filter(|_| !fields.contains_key(key)) {
            fields.insert(key.to_owned(), Written { value, line: 1 });
        }
    };
    let title = title.map(|title| {
        let one_line: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        one_line.trim().chars().take(LONGEST_TITLE).collect::<String>()
    });
    own("title", title.filter(|title| !title.is_empty()), &mut fields);
    let claimed = language.and_then(|code| Language::parse(&code));
    let spoken = spoken(&text, claimed);
    if let (Some(claimed), Some(spoken), None) = (claimed, spoken, given.get("language"))
        && claimed != spoken
    {
        notes.push(format!(
            "{name}: the file says that its language is `{claimed}`; its text is in `{spoken}`"
        ));
    }
    own("language", spoken.map(|language| language.to_string()), &mut fields);
    Draft {
        file: file.to_path_buf(),
        line: 1,
        fields,
        foreign: Vec::new(),
        default_id: stem(file),
        first_heading: chunk::first_heading(Format::Markdown, &text),
        format: Format::Markdown,
        pages,
        source: Some(Digest::of(bytes)),
        notes,
        body: text,
    }
}

/// With fewer letters a text does not tell its language.
const ENOUGH_LETTERS: usize = 200;

/// The language of a text. What a file says of it is what the program that wrote it was set to.
fn spoken(text: &str, claimed: Option<Language>) -> Option<Language> {
    let letters = text.chars().filter(|c| c.is_alphabetic()).take(ENOUGH_LETTERS).count();
    if letters < ENOUGH_LETTERS { claimed } else { Some(detect(text, claimed.unwrap_or(Language::En))) }
}

fn lines(file: &Path, text: &str, given: &Fields) -> Drafts {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered.map(|(index, line)| json_line(file, (index + 1, line), given)).collect()
}

fn json_line(file: &Path, (line, text): (usize, &str), given: &Fields) -> Result<Draft, Vec<Flaw>> {
    let flaw = |field: &str, value: &str, remedy: String| {
        vec![Flaw {
            file: file.to_path_buf(),
            line,
            field: field.to_owned(),
            value: value.to_owned(),
            remedy,
        }]
    };
    // What the parser says may quote the line.
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let place = error.column();
        flaw("line", text, format!("write one JSON object a line; this is none at column {place}"))
    })?;
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
    fields.extend(given.clone());
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
        notes: Vec::new(),
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
    fn the_text_tells_its_language_before_the_file_does() {
        let german = "Die Gebühr für eine Überweisung ins Ausland beträgt zehn Euro. ".repeat(6);
        assert_eq!(spoken(&german, Some(Language::En)), Some(Language::De));
        assert_eq!(spoken(&german, None), Some(Language::De));
        assert_eq!(spoken("Die Gebühr", Some(Language::En)), Some(Language::En));
        assert_eq!(spoken("Die Gebühr", None), None);
    }

    #[test]
    fn the_keys_beside_a_file_count_or_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fees.pdf.meta");
        assert!(meta(&file).unwrap().0.is_empty());
        for text in ["audience: internal\nteam: cards\n", "---\naudience: internal\nteam: cards\n---\n"] {
            fs::write(&file, text).unwrap();
            let (fields, others) = meta(&file).unwrap();
            assert_eq!((fields["audience"].value.as_str(), others), ("internal", vec!["team".to_owned()]));
            assert_eq!(fields["audience"].line, 1 + usize::from(text.starts_with("---")));
        }
        for (bytes, line) in [
            (b"owner: M\xfcller\naudience: internal\n".as_slice(), 1),
            (b"version: 1\n---\naudience: internal\n", 3),
            (b"---\nversion: 1\n---\n\naudience: internal\n", 4),
            (b"version: 1\naudience internal\n", 2),
        ] {
            fs::write(&file, bytes).unwrap();
            let flaws = meta(&file).unwrap_err();
            assert_eq!(flaws[0].line, line, "{flaws:?}");
        }
    }

    #[test]
    fn keys_that_would_count_for_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            fs::write(folder.path().join(name), "audience: internal\n").unwrap();
            let gathered = gather(&[folder.path().to_path_buf()], Language::En, &|_, _| {});
            let Err(PolicyError::Flaws(flaws)) = gathered else { panic!("{name}") };
            assert_eq!(flaws[0].file, folder.path().join(name));
            fs::remove_file(folder.path().join(name)).unwrap();
        };
        fs::write(folder.path().join("memo.md"), "# Memo\n\nText.").unwrap();
        refused("memo.md.meta");
        refused("Memo.pdf.meta");
        fs::write(folder.path().join("memo.md"), "---\naudience:\n---\nText.").unwrap();
        let error = gather(&[folder.path().to_path_buf()], Language::En, &|_, _| {}).err().unwrap();
        assert!(error.to_string().contains("memo.md:2: audience"), "{error}");
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
    fn what_is_said_with_an_upload_counts_before_what_the_file_says() {
        let sent = |name: &str, text: &str| {
            let fields = BTreeMap::from([("audience".to_owned(), "internal".to_owned())]);
            let found = upload((name, text.as_bytes()), fields, Language::De, &intake::Limits::default());
            found.unwrap().documents.remove(0)
        };
        let fees = sent("fees.md", "---\naudience: public\nlanguage: en\n---\n# Fees\n\nText");
        assert_eq!(
            (fees.id.as_str(), fees.audience, fees.language),
            ("fees", Audience::Internal, Language::En)
        );
        let line = sent("a.jsonl", r#"{"id": "a", "audience": "public", "content": "Text."}"#);
        assert_eq!(line.audience, Audience::Internal);
        assert_eq!((most_bytes("a.md"), most_bytes("a.pages")), (Some(MAX_FILE), None));
    }

    #[test]
    fn a_reader_that_cannot_start_is_no_flaw_of_the_file() {
        let limits = intake::Limits { program: Some("/nowhere/prokura".into()), ..intake::Limits::default() };
        let refused = upload(("a.html", b"<p>Text"), BTreeMap::new(), Language::De, &limits).err();
        assert!(matches!(refused, Some(PolicyError::NoReader(_))), "{refused:?}");
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
        let unknown = folder.path().join("a.pages");
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
