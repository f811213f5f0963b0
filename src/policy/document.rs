//! One policy document: its front matter and its body.
//!
//! Defaults for what a document does not say: `id` is the file's name without its extension (a JSON
//! line must name one), `version` is `1`, `title` is the first heading or else the id, `language` is
//! the one given to `policies index`, `audience` is `internal` when the title says "internal" or
//! "intern" and else `public`, and the document is valid without limits.

use super::error::Flaw;
use super::front_matter;
use super::grounds::Audience;
use crate::base::{Digest, Language};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The front-matter keys, in the order in which documentation names them.
pub const KEYS: [&str; 10] = [
    "id",
    "version",
    "title",
    "language",
    "audience",
    "product",
    "valid_from",
    "valid_to",
    "supersedes",
    "owner",
];

/// Longest value of a front-matter key, in characters.
const MAX_VALUE: usize = 500;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub id: String,
    pub version: String,
    pub title: String,
    pub language: Language,
    pub audience: Audience,
    pub product: Option<String>,
    /// First day in force; `None`: since ever.
    pub valid_from: Option<Date>,
    /// Last day in force, inclusive; `None`: without end.
    pub valid_to: Option<Date>,
    /// `id@version` or `id` of what this document replaces.
    pub supersedes: Option<String>,
    pub owner: Option<String>,
    pub format: Format,
    /// Where the pages of a paged format begin, in characters of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<usize>,
    /// Of the file as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Digest>,
    /// What follows the front matter, unchanged, or what was read from the file of another format. Passages are ranges
    /// of its characters.
    pub body: String,
}

impl Document {
    /// The page that a character of the body stands on, counted from 1.
    pub fn page_of(&self, character: usize) -> Option<u32> {
        let begun = self.pages.partition_point(|start| *start <= character);
        u32::try_from(begun).ok().filter(|page| *page > 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Markdown,
    Text,
}

/// A front-matter value as it was written, and its line, counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    pub value: String,
    pub line: usize,
}

/// A document as it was read, not yet checked.
#[derive(Clone, Debug)]
pub struct Draft {
    pub file: PathBuf,
    /// Where the document begins in its file.
    pub line: usize,
    pub fields: BTreeMap<String, Written>,
    /// Keys of its front matter that are none of ours.
    pub foreign: Vec<String>,
    pub default_id: Option<String>,
    pub first_heading: Option<String>,
    pub format: Format,
    pub pages: Vec<usize>,
    pub source: Option<Digest>,
    /// What was left out when it was read, and what to do about it.
    pub notes: Vec<String>,
    pub body: String,
}

impl Draft {
    /// What of it is passed over, each with the file.
    pub fn passed_over(&self) -> Vec<String> {
        let keys: Vec<String> = self.foreign.iter().map(|key| format!("`{key}`")).collect();
        let keys = (!keys.is_empty()).then(|| format!("not read in the front matter: {}", keys.join(", ")));
        let all = self.notes.iter().cloned().chain(keys);
        all.map(|note| format!("{}: {note}", self.file.display())).collect()
    }

    /// Checks every field.
    ///
    /// # Errors
    /// One flaw for each field that is not what it must be.
    pub fn finish(mut self, default_language: Language) -> Result<Document, Vec<Flaw>> {
        let mut flaws = Vec::new();
        self.check_common(&mut flaws);
        let language = self.parsed(&mut flaws, "language", "use `de` or `en`", Language::parse);
        let audience =
            self.parsed(&mut flaws, "audience", &format!("write {}", Audience::FORM), Audience::parse);
        if self.fields.get("audience").is_some_and(|written| written.value.is_empty()) {
            flaws.push(self.flaw("audience", "", &format!("write {}, or take the key out", Audience::FORM)));
        }
        let date = "write a date as YYYY-MM-DD";
        let valid_from = self.parsed(&mut flaws, "valid_from", date, parse_date);
        let valid_to = self.parsed(&mut flaws, "valid_to", date, parse_date);
        if let (Some(from), Some(to)) = (valid_from, valid_to)
            && to < from
        {
            flaws.push(self.flaw("valid_to", &to.to_string(), "must not be before valid_from"));
        }
        let id = self.take("id").or_else(|| self.default_id.clone()).unwrap_or_default();
        if id.is_empty() || id.chars().any(|c| c.is_whitespace() || c == '@') {
            flaws.push(self.flaw("id", &id, "give an id without spaces and without `@`"));
        }
        if self.body.trim().is_empty() {
            flaws.push(self.flaw("body", "", "the document has no text; write it or remove the document"));
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let title = self.take("title").or_else(|| self.first_heading.take()).unwrap_or_else(|| id.clone());
        Ok(Document {
            version: self.take("version").unwrap_or_else(|| "1".to_owned()),
            language: language.unwrap_or(default_language),
            audience: audience.unwrap_or_else(|| audience_by_title(&title)),
            product: self.take("product"),
            valid_from,
            valid_to,
            supersedes: self.take("supersedes"),
            owner: self.take("owner"),
            format: self.format,
            pages: std::mem::take(&mut self.pages),
            source: self.source.take(),
            body: std::mem::take(&mut self.body),
            title,
            id,
        })
    }

    fn check_common(&self, flaws: &mut Vec<Flaw>) {
        for (key, written) in &self.fields {
            if !KEYS.contains(&key.as_str()) {
                let remedy = match front_matter::meant(key) {
                    Some(meant) => format!("unknown field; did you mean `{meant}`?"),
                    None => format!("unknown field; allowed: {}", KEYS.join(", ")),
                };
                flaws.push(self.flaw(key, &written.value, &remedy));
            }
            if written.value.chars().nth(MAX_VALUE).is_some() {
                flaws.push(self.flaw(key, &written.value, "longer than 500 characters; shorten it"));
            }
            if written.value.chars().any(char::is_control) {
                flaws.push(self.flaw(key, &written.value, "remove the control characters"));
            }
        }
    }

    fn parsed<T>(
        &self,
        flaws: &mut Vec<Flaw>,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = &self.fields.get(key)?.value;
        if value.is_empty() {
            return None;
        }
        let parsed = parse(value);
        if parsed.is_none() {
            flaws.push(self.flaw(key, value, remedy));
        }
        parsed
    }

    /// The value, `None` when missing or empty.
    fn take(&mut self, key: &str) -> Option<String> {
        self.fields.remove(key).map(|written| written.value).filter(|value| !value.is_empty())
    }

    fn flaw(&self, field: &str, value: &str, remedy: &str) -> Flaw {
        Flaw {
            file: self.file.clone(),
            line: self.fields.get(field).map_or(self.line, |written| written.line),
            field: field.to_owned(),
            value: value.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// `YYYY-MM-DD` and nothing else.
pub fn parse_date(text: &str) -> Option<Date> {
    let shaped = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    if shaped { text.parse().ok() } else { None }
}

fn audience_by_title(title: &str) -> Audience {
    const INTERNAL: [&str; 6] = ["intern", "interne", "interner", "internes", "internen", "internem"];
    let title = title.to_lowercase();
    let named = title.contains("internal")
        || title.split(|c: char| !c.is_alphanumeric()).any(|word| INTERNAL.contains(&word));
    if named { Audience::Internal } else { Audience::Public }
}

/// The days, both inclusive, on which each document is in force.
///
/// A document ends at its `valid_to`, and at the latest on the day before a document begins that
/// supersedes it: one that names it in `supersedes`, or a later-beginning version of the same id. Who names an id alone
/// means those of its documents that do not begin later; a document of another id that says no beginning, all. So two
/// versions of one document are never in force on the same day. `None` where the document is never in force because its successor begins no later.
pub fn in_force(documents: &[Document]) -> Vec<Option<(Date, Date)>> {
    let begin = |document: &Document| document.valid_from.unwrap_or(Date::MIN);
    let mut successors: HashMap<&str, Vec<&Document>> = HashMap::new();
    for document in documents {
        successors.entry(&document.id).or_default().push(document);
        if let Some(old) = &document.supersedes {
            let id = old.split('@').next().unwrap_or(old);
            if id != document.id {
                successors.entry(id).or_default().push(document);
            }
        }
    }
    let range = |document: &Document| {
        let from = begin(document);
        let mut to = document.valid_to.unwrap_or(Date::MAX);
        for next in successors.get(document.id.as_str()).into_iter().flatten() {
            let named = supersedes(next, document);
            if named || (next.id == document.id && begin(next) > from) {
                to = to.min(begin(next).yesterday().ok()?);
            }
        }
        (from <= to).then_some((from, to))
    };
    documents.iter().map(range).collect()
}

fn supersedes(new: &Document, old: &Document) -> bool {
    let is_itself = new.id == old.id && new.version == old.version;
    let named = match new.supersedes.as_deref().map(|s| s.split_once('@').unwrap_or((s, ""))) {
        Some((id, "")) => {
            let always = new.valid_from.is_none() && new.id != old.id;
            id == old.id && (always || old.valid_from <= new.valid_from)
        }
        Some((id, version)) => id == old.id && version == old.version,
        None => false,
    };
    named && !is_itself
}

/// Versions of one id that would be in force on the same day, and ids that two documents share.
pub fn conflicts(documents: &[(PathBuf, usize, Document)]) -> Vec<Flaw> {
    let mut seen: HashMap<(&str, &str), &Path> = HashMap::new();
    let mut begins: HashMap<(&str, Option<Date>), Vec<&Document>> = HashMap::new();
    let mut flaws = Vec::new();
    for (file, line, document) in documents {
        let flaw = |field: &str, value: &str, remedy: String| Flaw {
            file: file.clone(),
            line: *line,
            field: field.to_owned(),
            value: value.to_owned(),
            remedy,
        };
        if let Some(first) = seen.insert((&document.id, &document.version), file) {
            let remedy =
                format!("version `{}` of it is also in `{}`; change one", document.version, first.display());
            flaws.push(flaw("id", &document.id, remedy));
            continue;
        }
        let beside = begins.entry((&document.id, document.valid_from)).or_default();
        let clashes = |other: &&&Document| !supersedes(document, other) && !supersedes(other, document);
        if let Some(other) = beside.iter().find(clashes) {
            let remedy = format!("version `{}` of it begins on the same day; set valid_from", other.version);
            flaws.push(flaw("id", &document.id, remedy));
        }
        beside.push(document);
    }
    for (file, line, document) in documents.iter().filter(|(_, _, document)| document.valid_from.is_none()) {
        let earlier = |(_, _, other): &&(PathBuf, usize, Document)| {
            other.id == document.id
                && other.valid_from.is_some()
                && follows(&document.version, &other.version)
        };
        if let Some((_, _, other)) = documents.iter().find(earlier) {
            let remedy = format!(
                "version `{}` has one, which this one would never end: write from which day version `{}` is in force",
                other.version, document.version
            );
            let (file, line, field) = (file.clone(), *line, "valid_from".to_owned());
            flaws.push(Flaw { file, line, field, value: String::new(), remedy });
        }
    }
    flaws
}

/// Whether a version comes behind another by its numbers; false where they are not numbers.
fn follows(version: &str, other: &str) -> bool {
    let numbers =
        |text: &str| text.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    numbers(version).zip(numbers(other)).is_some_and(|(version, other)| version > other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn document(id: &str, version: &str, from: &str, to: &str) -> Document {
        Document {
            id: id.to_owned(),
            version: version.to_owned(),
            title: id.to_owned(),
            language: Language::En,
            audience: Audience::Public,
            product: None,
            valid_from: parse_date(from),
            valid_to: parse_date(to),
            supersedes: None,
            owner: None,
            format: Format::Markdown,
            pages: Vec::new(),
            source: None,
            body: "The fee is due.".to_owned(),
        }
    }

    #[test]
    fn a_later_version_says_from_when_it_is_in_force() {
        let place = |document: Document| (PathBuf::from(format!("{}.md", document.version)), 1, document);
        let told = |version: &str| {
            let all =
                [place(document("fees", "2.0", "2026-01-01", "")), place(document("fees", version, "", ""))];
            conflicts(&all).into_iter().map(|flaw| (flaw.file, flaw.field)).collect::<Vec<_>>()
        };
        assert_eq!(told("3"), [(PathBuf::from("3.md"), "valid_from".to_owned())]);
        assert_eq!(told("2.0.1").len(), 1);
        assert!(told("1.9").is_empty() && told("first").is_empty());
    }

    #[test]
    fn a_later_version_ends_the_earlier_one() {
        let mut documents = [
            document("fees", "1", "2024-01-01", ""),
            document("fees", "2", "2026-01-01", ""),
            document("new", "1", "", ""),
        ];
        let day = |text| parse_date(text).unwrap();
        assert_eq!(
            in_force(&documents)[..2],
            [Some((day("2024-01-01"), day("2025-12-31"))), Some((day("2026-01-01"), Date::MAX))]
        );
        // A replacement without a beginning leaves nothing of what it replaces.
        documents[2].supersedes = Some("fees@2".to_owned());
        assert_eq!(in_force(&documents)[1], None);
        assert!(in_force(&documents)[0].is_some());
    }

    #[test]
    fn an_id_alone_ends_what_begins_earlier() {
        let day = |text| parse_date(text).unwrap();
        let mut documents = [
            document("fees", "1", "2024-01-01", ""),
            document("fees", "2", "2026-01-01", ""),
            document("fees", "3", "2027-01-01", ""),
            document("prices", "1", "2028-01-01", ""),
            document("fees", "4", "2029-01-01", ""),
        ];
        for at in [1, 2, 3, 4] {
            documents[at].supersedes = Some("fees".to_owned());
        }
        let ends = ["2025-12-31", "2026-12-31", "2027-12-31"].map(day);
        let found: Vec<Date> = in_force(&documents).into_iter().map(|range| range.unwrap().1).collect();
        assert_eq!(found[..3], ends);
        assert_eq!(found[3..], [Date::MAX; 2]);
        documents[3].valid_from = None;
        assert!([0, 1, 2, 4].iter().all(|at| in_force(&documents)[*at].is_none()));
    }

    #[test]
    fn versions_that_begin_on_one_day_are_refused_in_any_order() {
        let mut all = ["1", "2", "3"].map(|version| document("fees", version, "2026-01-01", ""));
        all[0].supersedes = Some("fees@2".to_owned());
        all[2].supersedes = Some("fees@2".to_owned());
        let entries = all.map(|document| (PathBuf::from("a.md"), 1, document));
        assert_eq!(conflicts(&entries).len(), 1);
    }

    #[test]
    fn the_title_makes_a_document_internal_but_not_an_international_one() {
        assert_eq!(audience_by_title("INTERNAL: fraud"), Audience::Internal);
        assert_eq!(audience_by_title("Nur intern: Betrug"), Audience::Internal);
        assert_eq!(audience_by_title("International transfers on the internet"), Audience::Public);
    }

    #[test]
    fn two_documents_of_one_version_are_refused() {
        let entry = |name: &str, version: &str| (PathBuf::from(name), 1, document("fees", version, "", ""));
        let flaws = conflicts(&[entry("a.md", "1"), entry("b.md", "1")]);
        assert!(flaws[0].to_string().starts_with("b.md:1: id `fees`: version `1` of it is also in `a.md`"));
        assert_eq!(conflicts(&[entry("a.md", "1"), entry("b.md", "2")]).len(), 1);
    }

    #[test]
    fn a_date_has_one_form() {
        assert!(parse_date("2026-02-28").is_some());
        for bad in ["2026-02-30", "20260228", "2026-2-8", "2026-02-28T00:00:00", "äöü-01-01"] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }
}
