//! A table of an SQLite file. Every query opens it anew, so that a file that was replaced is read as it is now.

use super::super::super::error::SourceError;
use super::{MOST, Row, Table, quoted};
use crate::records::source::SqlDeclaration;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub struct Sqlite {
    path: PathBuf,
    table: Table,
    /// For a lock that somebody holds.
    patience: Duration,
    /// For a query.
    longest: Duration,
    /// A thread keeps its slot until it is done, even if nobody waits for it any more.
    slots: Arc<Semaphore>,
}

impl Sqlite {
    pub fn new(path: PathBuf, declared: &SqlDeclaration) -> Self {
        Self {
            path,
            table: Table::of(declared),
            patience: Duration::from_millis(*declared.timeout_ms.get_ref()),
            longest: Duration::from_millis(*declared.timeout_ms.get_ref()),
            slots: Arc::new(Semaphore::new(declared.limits.parallel)),
        }
    }

    /// Rows whose column has one of these values, whatever the case of its letters.
    pub async fn with_value(&self, column: &str, values: Vec<String>) -> Result<Vec<Row>, SourceError> {
        // SQLite knows the case of ASCII letters alone.
        let cases =
            |value: &String| [value.clone(), value.to_lowercase(), value.to_uppercase(), capitals(value)];
        let values: Vec<String> = values.iter().flat_map(cases).collect();
        let places: Vec<String> = (1..=values.len()).map(|number| format!("?{number}")).collect();
        let condition = format!("{} COLLATE NOCASE IN ({})", quoted(column), places.join(", "));
        self.rows(format!("WHERE {condition} ORDER BY {} LIMIT {}", quoted(&self.table.id), MOST + 1), values)
            .await
    }

    pub async fn exactly(&self, column: &str, value: String) -> Result<Vec<Row>, SourceError> {
        self.rows(format!("WHERE {} = ?1 LIMIT 2", quoted(column)), vec![value]).await
    }

    pub async fn of_customer(&self, customer: String) -> Result<Vec<Row>, SourceError> {
        let mut condition = format!("{} = ?1", quoted(&self.table.owner));
        if self.columns().await?.contains(&self.table.authorised) {
            // Separated by semicolons, or a list in JSON.
            let column = quoted(&self.table.authorised);
            condition += &format!(
                " OR instr(';' || replace({column}, ' ', '') || ';', ';' || ?1 || ';') > 0 \
                 OR (json_valid({column}) AND json_type({column}) = 'array' \
                 AND EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?1))"
            );
        }
        self.rows(
            format!("WHERE {condition} ORDER BY {} LIMIT {}", quoted(&self.table.id), MOST + 1),
            vec![customer],
        )
        .await
    }

    pub async fn all(&self) -> Result<Vec<Row>, SourceError> {
        Self { longest: super::WHOLE, ..self.clone() }.rows(String::new(), vec![]).await
    }

    pub async fn columns(&self) -> Result<Vec<String>, SourceError> {
        let own = self.clone();
        self.blocking(move || {
            own.run(|connection| {
                let statement = connection.prepare(&format!("SELECT * FROM {} LIMIT 0", own.table.name))?;
                Ok(statement.column_names().map(str::to_owned).collect())
            })
        })
        .await
    }

    async fn rows(&self, rest: String, values: Vec<String>) -> Result<Vec<Row>, SourceError> {
        let own = self.clone();
        self.blocking(move || {
            own.run(|connection| {
                let mut statement =
                    connection.prepare(&format!("SELECT * FROM {} {rest}", own.table.name))?;
                let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
                let mut rows = statement.query(params_from_iter(&values))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    let mut object = Row::new();
                    for (at, name) in names.iter().enumerate() {
                        if let Some(value) = json(row.get_ref(at)?) {
                            object.insert(name.clone(), value);
                        }
                    }
                    all.push(object);
                }
                Ok(all)
            })
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        query: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| SourceError::Refused)?;
        let done = tokio::task::spawn_blocking(move || (query(), drop(slot)).0).await;
        done.unwrap_or(Err(SourceError::Refused))
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SourceError> {
        let open = || {
            let mut connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(self.patience)?;
            // A name in quotes that is no column's is an error, and not a text.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            let until = Instant::now() + self.longest;
            connection.progress_handler(1000, Some(move || Instant::now() >= until))?;
            query(&connection)
        };
        open().map_err(|error| {
            // The message may repeat a value; the code does not.
            let code = error.sqlite_error().map(|error| error.extended_code);
            tracing::warn!(source = self.table.source, code, "SQLite did not answer a query");
            match error.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted,
                ) => SourceError::TimedOut,
                _ => SourceError::Refused,
            }
        })
    }
}

/// Each word with a capital first.
fn capitals(text: &str) -> String {
    let mut first = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if first {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        first = !c.is_alphanumeric();
    }
    out
}

/// `None` for nothing, and for bytes.
fn json(value: ValueRef<'_>) -> Option<Value> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => None,
        ValueRef::Integer(number) => Some(number.into()),
        ValueRef::Real(number) => Some(number.into()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned().into()),
    }
}
