//! A table of a PostgreSQL server.

use super::super::super::error::SourceError;
use super::{MOST, Row, Table, WHOLE, iso_date, quoted};
use crate::base;
use crate::base::outbound::Outbound;
use crate::base::postgres::{NotConnected, Server};
use crate::records::source::SqlDeclaration;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// A connection that nobody used for so long is not used again: something on the way may have dropped it.
const IDLE: Duration = Duration::from_secs(60);

/// A column's type, as the server has it.
type ColumnKinds = HashMap<String, String>;

pub struct Postgres {
    connections: base::postgres::Postgres,
    table: Table,
    /// Connections that nobody uses now. How many there are follows from the source's cap.
    idle: Mutex<Vec<(Instant, Client)>>,
    /// Read once, and again after an error that a changed table would explain.
    kinds: Mutex<Option<Arc<ColumnKinds>>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    kind: String,
}

impl Postgres {
    /// # Errors
    /// What is wrong with the files, or the list of hosts.
    pub fn new(
        server: Server,
        declared: &SqlDeclaration,
        folder: &Path,
        outbound: &Outbound,
    ) -> Result<Self, String> {
        let beside = |file: &Option<PathBuf>| file.as_ref().map(|file| folder.join(file));
        let (password, certificate) = (beside(&declared.password_file), beside(&declared.certificate));
        let connections = base::postgres::Postgres::new(
            server,
            password.as_deref(),
            certificate.as_deref(),
            // Whatever the rights of the user are, nothing is written.
            "-c default_transaction_read_only=on -c DateStyle=ISO",
            outbound,
        )?;
        Ok(Self { connections, table: Table::of(declared), idle: Mutex::default(), kinds: Mutex::default() })
    }

    /// Rows whose column has one of these values; texts whatever the case of their letters.
    pub async fn with_value(&self, column: &str, values: Vec<String>) -> Result<Vec<Row>, SourceError> {
        let kind = self.kind(column).await?;
        let name = quoted(column);
        let (condition, values) = if is_text(&kind) {
            let places: Vec<String> = (1..=values.len()).map(|number| format!("lower(${number})")).collect();
            (format!("lower({name}::text) IN ({})", places.join(", ")), values)
        } else {
            let date = values.first().filter(|_| kind == "date").map(|value| iso_date(value));
            let value = match date {
                // What is no date is no row's date.
                Some(None) => return Ok(vec![]),
                Some(Some(date)) => date,
                None => values.into_iter().next().unwrap_or_default(),
            };
            if !self.fits(&kind, &value).await? {
                return Ok(vec![]);
            }
            (format!("{name} = CAST($1 AS {kind})"), vec![value])
        };
        let order = quoted(&self.table.id);
        self.rows(&format!("WHERE {condition} ORDER BY {order} LIMIT {}", MOST + 1), &values).await
    }

    pub async fn exactly(&self, column: &str, value: String) -> Result<Vec<Row>, SourceError> {
        let Some(condition) = self.equals(column, &value).await? else { return Ok(vec![]) };
        self.rows(&format!("WHERE {condition} LIMIT 2"), &[value]).await
    }

    pub async fn of_customer(&self, customer: String) -> Result<Vec<Row>, SourceError> {
        let owner = self.equals(&self.table.owner, &customer).await?;
        let mut condition = owner.unwrap_or_else(|| "false".to_owned());
        let column = quoted(&self.table.authorised);
        match self.kinds().await?.get(&self.table.authorised).map(String::as_str) {
            None => {}
            Some("jsonb" | "json") => condition += &format!(" OR {column}::jsonb ? $1"),
            Some(list) if list.ends_with("[]") => condition += &format!(" OR $1 = ANY({column}::text[])"),
            Some(_) => {
                condition += &format!(" OR $1 = ANY(string_to_array(replace({column}::text, ' ', ''), ';'))");
            }
        }
        let order = quoted(&self.table.id);
        self.rows(&format!("WHERE {condition} ORDER BY {order} LIMIT {}", MOST + 1), &[customer]).await
    }

    /// The whole table, on a connection of its own.
    pub async fn all(&self) -> Result<Vec<Row>, SourceError> {
        // The server may be gone without a word.
        let late = |_| SourceError::TimedOut;
        let client =
            tokio::time::timeout(self.table.timeout, self.connected(WHOLE)).await.map_err(late)??;
        let sql = format!("SELECT to_jsonb(t)::text FROM {} t", self.table.name);
        tokio::time::timeout(WHOLE, self.query(&client, &sql, &[])).await.map_err(late)?
    }

    /// The type of a column.
    async fn kind(&self, column: &str) -> Result<String, SourceError> {
        let kinds = self.kinds().await?;
        kinds.get(column).cloned().ok_or_else(|| {
            tracing::warn!(source = self.table.source, column, "the table has no such column");
            SourceError::Refused
        })
    }

    /// `$1` is a text; what the column has decides how it is compared, so that an index on it is of use.
    /// `None` where the text cannot be a value of the column.
    async fn equals(&self, column: &str, value: &str) -> Result<Option<String>, SourceError> {
        let kind = match self.kind(column).await?.as_str() {
            // As a cast it is one character.
            "character" => "bpchar".to_owned(),
            kind => kind.to_owned(),
        };
        let fits = is_text(&kind) || self.fits(&kind, value).await?;
        Ok(fits.then(|| format!("{} = CAST($1 AS {kind})", quoted(column))))
    }

    /// Whether a text can be a value of this type. Asked alone, so that a fault of a view is not taken for one.
    async fn fits(&self, kind: &str, value: &str) -> Result<bool, SourceError> {
        let sql = format!("SELECT to_jsonb(CAST($1 AS {kind}) IS NOT NULL)::text");
        match self.with_client::<bool>(&sql, &[value.to_owned()]).await {
            Ok(_) => Ok(true),
            Err(SourceError::Rejected) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn kinds(&self) -> Result<Arc<ColumnKinds>, SourceError> {
        const SQL: &str = "SELECT jsonb_build_object('name', a.attname, 'kind', format_type(a.atttypid, NULL))::text \
             FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let columns: Vec<Column> = self.with_client(SQL, std::slice::from_ref(&self.table.name)).await?;
        if columns.is_empty() {
            tracing::warn!(source = self.table.source, "there is no such table, or it must not be seen");
            return Err(SourceError::Refused);
        }
        let kinds: ColumnKinds = columns.into_iter().map(|column| (column.name, column.kind)).collect();
        let kinds = Arc::new(kinds);
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&kinds));
        Ok(kinds)
    }

    /// The names of the table's columns.
    pub async fn columns(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.kinds().await?.keys().cloned().collect())
    }

    async fn rows(&self, rest: &str, values: &[String]) -> Result<Vec<Row>, SourceError> {
        self.with_client(&format!("SELECT to_jsonb(t)::text FROM {} t {rest}", self.table.name), values).await
    }

    async fn with_client<T: for<'de> Deserialize<'de>>(
        &self,
        sql: &str,
        values: &[String],
    ) -> Result<Vec<T>, SourceError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut idle = idle();
            idle.retain(|(used, client)| !client.is_closed() && used.elapsed() < IDLE);
            idle.pop().map(|(_, client)| client)
        };
        let client = match known {
            Some(client) => client,
            None => self.connected(self.table.timeout).await?,
        };
        // A query that is given up takes its connection with it: nobody else gets its answer.
        let answer = self.query(&client, sql, values).await;
        if !client.is_closed() {
            idle().push((Instant::now(), client));
        }
        answer
    }

    async fn query<T: for<'de> Deserialize<'de>>(
        &self,
        client: &Client,
        sql: &str,
        values: &[String],
    ) -> Result<Vec<T>, SourceError> {
        let typed: Vec<_> = values
            .iter()
            .map(|value| (value as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT))
            .collect();
        let rows = match client.query_typed(sql, &typed).await {
            Ok(rows) => rows,
            Err(error) => return Err(self.failed(&error)),
        };
        let parsed = |row: &tokio_postgres::Row| {
            let text: &str = row.try_get(0).map_err(|_| SourceError::Garbage)?;
            serde_json::from_str(text).map_err(|_| SourceError::Garbage)
        };
        rows.iter().map(parsed).collect()
    }

    fn failed(&self, error: &tokio_postgres::Error) -> SourceError {
        let code = error.code().map(|code| code.code().to_owned());
        let means = match code.as_deref() {
            // 57014: cancelled, which is what the server does when its time is over.
            Some("57014") => return SourceError::TimedOut,
            // Class 22: data exception. 23514: a check of a domain.
            Some(code) if code.starts_with("22") || code == "23514" => SourceError::Rejected,
            _ => SourceError::Refused,
        };
        // Class 42: what the query names is not there, or not of that type: the table was changed.
        if code.as_deref().is_some_and(|code| code.starts_with("42")) {
            *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        // The message may repeat a value; the code does not.
        if means == SourceError::Refused {
            tracing::warn!(source = self.table.source, sqlstate = code, "PostgreSQL did not answer a query");
        }
        means
    }

    async fn connected(&self, statement: Duration) -> Result<Client, SourceError> {
        self.connections.connect(statement).await.map_err(|error| match error {
            NotConnected::TimedOut => SourceError::TimedOut,
            NotConnected::Refused => SourceError::Refused,
            NotConnected::Failed(error) => self.failed(&error),
        })
    }
}

fn is_text(kind: &str) -> bool {
    matches!(kind, "text" | "character varying" | "character" | "bpchar" | "citext" | "name")
}
