//! A source that is a table or view of PostgreSQL or SQLite. It is only read.

mod postgres;
mod sqlite;

use super::super::agreement::Kind;
use super::super::agreement::date::Day;
use super::super::error::{RecordsError, SourceError};
use super::super::matching::Indexed;
use super::declare::SqlDeclaration;
use super::{Entry, Hits, Query, Source, indexed, text_of};
use crate::base::outbound::Outbound;
use crate::base::postgres::Server;
use crate::base::{Clock, CustomerId, RecordId};
use futures::future::BoxFuture;
use postgres::Postgres;
use serde_json::{Map, Value};
use sqlite::Sqlite;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A search that finds more rows lists so many, and says that there are more.
const MOST: usize = 200;

/// Reading a whole table may take so long.
const WHOLE: Duration = Duration::from_secs(600);

type Row = Map<String, Value>;

pub struct SqlSource {
    /// Its form knows the columns of fields.
    declared: SqlDeclaration,
    database: Database,
    kinds: BTreeMap<String, Kind>,
    index: RwLock<Option<Arc<Indexed>>>,
    clock: Arc<dyn Clock>,
}

/// What both databases need of a declaration.
#[derive(Clone)]
struct Table {
    source: String,
    /// Quoted.
    name: String,
    id: String,
    owner: String,
    authorised: String,
    timeout: Duration,
}

impl Table {
    fn of(declared: &SqlDeclaration) -> Self {
        Self {
            source: declared.name.get_ref().clone(),
            name: quoted_table(&declared.table),
            id: declared.form.id.clone(),
            owner: declared.form.owner.clone(),
            authorised: declared.form.authorised.clone(),
            timeout: Duration::from_millis(*declared.timeout_ms.get_ref()),
        }
    }
}

enum Database {
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

/// What the url of a declaration names.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    Postgres(Box<Server>),
    Sqlite(PathBuf),
}

impl Place {
    /// # Errors
    /// What is allowed.
    pub fn read(declared: &SqlDeclaration) -> Result<Self, &'static str> {
        let url = declared.url.get_ref();
        match url.strip_prefix("sqlite:") {
            Some("") => Err("sqlite: and the path of a file"),
            Some(path) => Ok(Self::Sqlite(PathBuf::from(path))),
            None => Server::read(url, declared.certificate.is_some())
                .map(|server| Self::Postgres(Box::new(server))),
        }
    }
}

/// A url as an error may show it: without what stands before the host, where somebody may have put a password.
pub fn shown(url: &str) -> String {
    match url.split_once("://").zip(url.rsplit_once('@')) {
        Some(((scheme, _), (_, host))) => format!("{scheme}://...@{host}"),
        None => url.to_owned(),
    }
}

impl SqlSource {
    /// Paths are relative to `folder`. No connection is made yet.
    pub fn open(
        declared: &SqlDeclaration,
        folder: &Path,
        outbound: &Outbound,
        kinds: &BTreeMap<String, Kind>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn Source>, RecordsError> {
        let unusable =
            |problem: String| RecordsError::Source { name: declared.name.get_ref().clone(), problem };
        let database =
            match Place::read(declared).map_err(|allowed| unusable(format!("`url` needs {allowed}")))? {
                Place::Sqlite(path) => {
                    Database::Sqlite(Sqlite::new(folder.join(super::file::named_folder(&path)?), declared))
                }
                Place::Postgres(server) => Database::Postgres(Box::new(
                    Postgres::new(*server, declared, folder, outbound).map_err(unusable)?,
                )),
            };
        let kinds = if declared.indexed { kinds.clone() } else { BTreeMap::new() };
        let form = declared.form.with_fields(&declared.find);
        let declared = SqlDeclaration { form, ..declared.clone() };
        Ok(Arc::new(Self { declared, database, kinds, index: RwLock::new(None), clock: Arc::clone(clock) }))
    }

    /// Whether garbled values are to be found, too.
    fn wants_index(&self) -> bool {
        self.declared.find.keys().any(|field| self.kinds.contains_key(field))
    }

    /// The spellings that a value may have in the table: as it was said, without spaces where the table has none, and a
    /// date also as ISO 8601 has it.
    fn spellings(&self, field: &str, value: &str) -> Vec<String> {
        let bare = self.declared.compact.contains(field);
        let value = if bare { value.split_whitespace().collect() } else { value.to_owned() };
        let date = iso_date(&value).filter(|date| *date != value);
        std::iter::once(value).chain(date).collect()
    }

    /// Whether the table has every column that is searched.
    async fn there(&self) -> Result<(), SourceError> {
        let columns = match &self.database {
            Database::Postgres(database) => database.columns().await?,
            Database::Sqlite(database) => database.columns().await?,
        };
        match self.declared.find.values().find(|column| !columns.contains(column)) {
            None => Ok(()),
            Some(column) => {
                tracing::warn!(source = self.declared.name.get_ref(), column, "the table has no such column");
                Err(SourceError::Refused)
            }
        }
    }

    async fn one(&self, query: &Query) -> Result<Hits, SourceError> {
        let Some(column) = self.declared.find.get(&query.field) else { return Ok(Hits::default()) };
        let values = self.spellings(&query.field, &query.value);
        let rows = match &self.database {
            Database::Postgres(database) => database.with_value(column, values).await?,
            Database::Sqlite(database) => database.with_value(column, values).await?,
        };
        let more = rows.len() > MOST || (self.wants_index() && self.indexed().is_none());
        Ok(Hits { more, ..Hits::of(self.ids(rows)?) })
    }

    /// Of the first rows.
    fn ids(&self, rows: Vec<Row>) -> Result<Vec<RecordId>, SourceError> {
        let id = |row: Row| {
            let id = row.get(&self.declared.form.id).and_then(text_of);
            let id = id.and_then(|id| self.declared.form.record_id(id.trim_end()));
            id.ok_or(SourceError::Garbage)
        };
        rows.into_iter().take(MOST).map(id).collect()
    }

    /// Ids that the table has as numbers are texts, and who is authorised is a list.
    fn entry_of(&self, mut row: Row) -> Result<Entry, SourceError> {
        let form = &self.declared.form;
        for column in [&form.id, &form.owner] {
            if let Some(text) = row.get(column).and_then(text_of) {
                // PostgreSQL fills `character(n)` up with blanks.
                row.insert(column.clone(), Value::String(text.trim_end().to_owned()));
            }
        }
        if let Some(Value::String(text)) = row.get(&form.authorised) {
            let list = match serde_json::from_str(text) {
                Ok(Value::Array(list)) => Value::Array(list),
                _ => text.split(';').map(str::trim).filter(|id| !id.is_empty()).map(Value::from).collect(),
            };
            row.insert(form.authorised.clone(), list);
        }
        form.entry(&row)
    }
}

/// A date that leaves no doubt, as ISO 8601 has it.
fn iso_date(text: &str) -> Option<String> {
    let Day { year, month, day } = Day::kept(text)?;
    (year >= 1000).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

impl Source for SqlSource {
    fn name(&self) -> &str {
        self.declared.name.get_ref()
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(*self.declared.timeout_ms.get_ref())
    }

    fn searches(&self, field: &str) -> bool {
        self.declared.find.contains_key(field)
    }

    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
        Box::pin(futures::future::try_join_all(queries.iter().map(|query| self.one(query))))
    }

    fn indexed(&self) -> Option<Arc<Indexed>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self) -> BoxFuture<'_, Option<Duration>> {
        Box::pin(async move {
            if !self.wants_index() {
                return None;
            }
            let rows = match (self.there().await, &self.database) {
                (Err(error), _) => Err(error),
                (Ok(()), Database::Postgres(database)) => database.all().await,
                (Ok(()), Database::Sqlite(database)) => database.all().await,
            };
            match rows {
                Ok(rows) => {
                    let (declared, kinds, read_at) =
                        (self.declared.clone(), self.kinds.clone(), Some(self.clock.now()));
                    let of = move || indexed(&declared.find, &declared.form, &kinds, rows.iter());
                    if let Ok(Some(mut index)) = tokio::task::spawn_blocking(of).await {
                        index.read_at = read_at;
                        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(index));
                    }
                }
                Err(error) => {
                    self.indexed().iter().for_each(|index| index.set_stale());
                    let problem = error.to_string();
                    tracing::warn!(
                        source = self.name(),
                        problem,
                        "the table was not read; its index stays as it was"
                    );
                }
            }
            Some(Duration::from_secs(self.declared.reload_s))
        })
    }

    fn may_have(&self, id: &RecordId) -> bool {
        self.declared.form.own_id(id).is_some()
    }

    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(async move {
            let Some(value) = self.declared.form.own_id(id).map(str::to_owned) else { return Ok(None) };
            let column = &self.declared.form.id;
            let rows = match &self.database {
                Database::Postgres(database) => database.exactly(column, value).await?,
                Database::Sqlite(database) => database.exactly(column, value).await?,
            };
            // A view that has an id twice may have it for two customers.
            match <[Row; 1]>::try_from(rows) {
                Ok([row]) => self.entry_of(row).map(Some),
                Err(rows) if rows.is_empty() => Ok(None),
                Err(_) => Err(SourceError::Garbage),
            }
        })
    }

    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
        Box::pin(async move {
            let customer = customer.as_str().to_owned();
            let rows = match &self.database {
                Database::Postgres(database) => database.of_customer(customer).await?,
                Database::Sqlite(database) => database.of_customer(customer).await?,
            };
            let more = rows.len() > MOST;
            Ok(Hits { more, ..Hits::of(self.ids(rows)?) })
        })
    }
}

/// A name for SQL, whatever it holds.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name with or without its schema.
fn quoted_table(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
