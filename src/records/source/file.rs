//! A source that is a file: JSON lines or CSV, read once at start.

use super::super::agreement::Kind;
use super::super::error::{RecordsError, SourceError};
use super::super::matching::Indexed;
use super::declare::{FileDeclaration, FileFormat};
use super::{Entry, Hits, Query, Source, csv, indexed, text_of};
use crate::base::{CustomerId, RecordId};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub struct FileSource {
    name: String,
    searched: BTreeSet<String>,
    compact: BTreeSet<String>,
    entries: BTreeMap<RecordId, Entry>,
    /// Ids by field and comparable value.
    exact: HashMap<(String, String), Vec<RecordId>>,
    indexed: Option<Arc<Indexed>>,
}

impl FileSource {
    /// Fields with a kind are indexed, so that garbled values find their records, too.
    pub fn open(
        declared: &FileDeclaration,
        folder: &Path,
        kinds: &BTreeMap<String, Kind>,
    ) -> Result<Self, RecordsError> {
        let path = folder.join(named_folder(&declared.path)?);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| RecordsError::Unreadable { path: path.clone(), source })?;
        let wrong =
            |line, reason: &str| RecordsError::Line { path: path.clone(), line, reason: reason.to_owned() };
        let objects = match declared.format {
            FileFormat::Jsonl => json_lines(&text).map_err(|line| wrong(line, "not a JSON object"))?,
            FileFormat::Csv => {
                table(&text, &declared.form.authorised).map_err(|(line, reason)| wrong(line, reason))?
            }
        };
        let mut source = Self {
            name: declared.name.get_ref().clone(),
            searched: declared.find.keys().cloned().collect(),
            compact: declared.compact.clone(),
            entries: BTreeMap::new(),
            exact: HashMap::new(),
            indexed: None,
        };
        let form = &declared.form.with_fields(&declared.find);
        let index = indexed(&declared.find, form, kinds, objects.iter().map(|(_, object)| object));
        source.indexed = index.map(Arc::new);
        let header = columns(&text, declared.format);
        for (line, object) in objects {
            let entry = form.entry(&object).map_err(|_| {
                wrong(
                    line,
                    &format!(
                        "a record needs `{}` and `{}` as non-empty strings, and `{}` as a list of strings",
                        form.id, form.owner, form.authorised
                    ),
                )
            })?;
            for (field, column) in &declared.find {
                if let Some(value) = object.get(column).and_then(text_of) {
                    let key = (field.clone(), source.comparable(field, &value));
                    source.exact.entry(key).or_default().push(entry.id.clone());
                }
            }
            if source.entries.insert(entry.id.clone(), entry).is_some() {
                return Err(wrong(line, "a record with this id came before; ids must be unique"));
            }
        }
        if let Some(column) =
            declared.find.values().find(|column| header.as_ref().is_some_and(|row| !row.contains(*column)))
        {
            return Err(wrong(1, &format!("no column is named `{column}`, which `find` names")));
        }
        Ok(source)
    }

    /// Upper and lower case are the same; runs of spaces are one space, or none in compact fields.
    fn comparable(&self, field: &str, value: &str) -> String {
        let separator = if self.compact.contains(field) { "" } else { " " };
        value.to_lowercase().split_whitespace().collect::<Vec<_>>().join(separator)
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn searches(&self, field: &str) -> bool {
        self.searched.contains(field)
    }

    fn at_once(&self) -> usize {
        usize::MAX
    }

    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
        let key = |query: &Query| (query.field.clone(), self.comparable(&query.field, &query.value));
        let ids = |query| self.exact.get(&key(query)).cloned().unwrap_or_default();
        let found = queries.iter().map(|query| Hits::of(ids(query))).collect();
        Box::pin(async move { Ok(found) })
    }

    fn indexed(&self) -> Option<Arc<Indexed>> {
        self.indexed.clone()
    }

    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(async move { Ok(self.entries.get(id).cloned()) })
    }

    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
        let theirs = |entry: &&Entry| entry.owner == *customer || entry.authorised.contains(customer);
        let ids = self.entries.values().filter(theirs).map(|entry| entry.id.clone());
        Box::pin(std::future::ready(Ok(Hits::of(ids.collect()))))
    }
}

/// A path whose first part is `$NAME` begins with what that variable of the environment holds.
pub fn named_folder(path: &Path) -> Result<PathBuf, RecordsError> {
    let mut parts = path.components();
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let Some(name) = first.strip_prefix('$') else { return Ok(path.to_owned()) };
    match std::env::var_os(name) {
        Some(folder) => Ok(Path::new(&folder).join(parts.as_path())),
        None => Err(RecordsError::Variable { path: path.to_owned(), name: name.to_owned() }),
    }
}

/// What the first line of a table names.
fn columns(text: &str, format: FileFormat) -> Option<Vec<String>> {
    let first = || csv::rows(text).ok()?.into_iter().next().map(|(_, row)| row);
    let row = if format == FileFormat::Csv { first()? } else { return None };
    Some(row.iter().map(|column| column.trim().to_owned()).collect())
}

type Objects = Vec<(usize, Map<String, Value>)>;

fn json_lines(text: &str) -> Result<Objects, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| serde_json::from_str(line).map(|object| (at + 1, object)).map_err(|_| at + 1))
        .collect()
}

/// Rows as objects named by the first row; empty cells are absent, `authorised` is split at semicolons.
fn table(text: &str, authorised: &str) -> Result<Objects, (usize, &'static str)> {
    let rows = csv::rows(text).map_err(|line| (line, "a quoted field does not end properly"))?;
    let mut rows = rows.into_iter();
    let Some((_, header)) = rows.next() else { return Ok(vec![]) };
    rows.map(|(line, row)| {
        if row.len() != header.len() {
            return Err((line, "the row has another number of fields than the first line"));
        }
        let cells = header.iter().zip(&row).map(|(column, cell)| (column.trim(), cell.trim()));
        let object = cells.filter(|(_, cell)| !cell.is_empty()).map(|(column, cell)| {
            let value = if column == authorised {
                cell.split(';').map(str::trim).filter(|id| !id.is_empty()).map(Value::from).collect()
            } else {
                Value::from(cell)
            };
            (column.to_owned(), value)
        });
        Ok((line, object.collect()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::SourceDeclarations;
    use super::*;

    fn open(format: &str, content: &str) -> Result<FileSource, RecordsError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data"), content).unwrap();
        let text = format!(
            "[[file]]\nname = \"f\"\npath = \"data\"\nformat = \"{format}\"\ncompact = [\"iban\"]\n\
             find = {{ iban = \"iban\", last_name = \"surname\" }}\n\
             [file.form]\nid = \"id\"\nowner = \"customer\"\nauthorised = \"authorised\"\n\
             system = [\"status\"]\nfree_text = []\n"
        );
        let declared = SourceDeclarations::parse("sources.toml", &text).unwrap();
        FileSource::open(&declared.file[0], folder.path(), &BTreeMap::new())
    }

    async fn check(source: &FileSource) {
        let found = async |field: &str, value: &str| {
            let query = Query { field: field.to_owned(), value: value.to_owned() };
            source.find(&[query]).await.unwrap().remove(0)
        };
        let ids = |hits: Hits| hits.ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(found("iban", "de12 3456").await), ["a1"]);
        assert_eq!(ids(found("last_name", "VON  BERG").await), ["a1", "a2"]);
        assert!(found("last_name", "vonberg").await.ids.is_empty());
        let entry = source.entry(&RecordId::new("a2")).await.unwrap().unwrap();
        assert_eq!(entry.authorised, [CustomerId::new("c1"), CustomerId::new("c9")]);
        assert_eq!(source.accounts_of(&CustomerId::new("c1")).await.unwrap().ids.len(), 2);
    }

    #[tokio::test]
    async fn both_formats_answer_alike() {
        check(&open("csv", "id,customer,authorised,surname,iban,status\na1,c1,,von Berg,DE123456,active\na2,c2,c1; c9,von Berg,DE9,locked\n").unwrap()).await;
        check(&open("jsonl", concat!(
            "{\"id\":\"a1\",\"customer\":\"c1\",\"surname\":\"von Berg\",\"iban\":\"DE123456\"}\n\n",
            "{\"id\":\"a2\",\"customer\":\"c2\",\"authorised\":[\"c1\",\"c9\"],\"surname\":\"von Berg\",\"iban\":\"DE9\"}\n",
        )).unwrap()).await;
    }

    #[test]
    fn a_bad_line_is_named_without_its_content() {
        let told = |format, content| open(format, content).err().unwrap().to_string();
        let bad = told("jsonl", "{\"id\":\"a\",\"customer\":\"c\"}\n{Huber\n");
        assert!(bad.contains("data:2:") && !bad.contains("Huber"), "{bad}");
        assert!(told("csv", "id,customer\na,c,Huber\n").contains("data:2:"));
        assert!(told("csv", "id,customer,iban\na,c,DE1\n").contains("data:1: no column is named `surname`"));
        assert!(told("csv", "id,customer\na,\n").contains("`customer`"));
        assert!(told("csv", "id,customer\na,c\na,d\n").contains("data:3:"));
    }
}
