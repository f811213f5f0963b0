//! Where wrapped keys are kept: a table of its own, never part of the ledger's.

use super::super::LedgerError;
use super::sqlite::connect;
use super::thread::Writer;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A name and the key in it, wrapped.
pub type Row = (String, Vec<u8>);

pub struct KeyTable {
    path: PathBuf,
    writer: Writer,
    reader: Mutex<Connection>,
}

/// `secure_delete`: what is deleted is overwritten.
const SCHEMA: &str = "
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS named (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

impl KeyTable {
    /// Opens or creates the file.
    pub fn sqlite(path: &Path) -> Result<Self, LedgerError> {
        let writer = connect(path)?;
        writer.execute_batch(SCHEMA)?;
        let reader = Mutex::new(connect(path)?);
        Ok(Self { path: path.to_owned(), writer: Writer::start(writer)?, reader })
    }

    /// How messages name it.
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The rows that there is one of, unless another process wrote them first.
    pub fn begin(&self, rows: Vec<Row>) -> Result<(), LedgerError> {
        self.writer.write(move |connection| {
            let there: i64 = connection.query_row("SELECT count(*) FROM named", [], |row| row.get(0))?;
            for (name, wrapped) in rows.iter().filter(|_| there == 0) {
                connection
                    .execute("INSERT INTO named (name, wrapped) VALUES (?1, ?2)", params![name, wrapped])?;
            }
            Ok(())
        })
    }

    pub fn named(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.one("SELECT wrapped FROM named WHERE name = ?1", name)
    }

    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.one("SELECT wrapped FROM keys WHERE name = ?1", name)
    }

    fn one(&self, sql: &str, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reader.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Writes keys; `false`, and nothing is written, when the named row is another one by now.
    pub fn insert(
        &self,
        rows: Vec<Row>,
        (name, known): (&'static str, Vec<u8>),
    ) -> Result<bool, LedgerError> {
        self.writer.write(move |connection| {
            let now: Vec<u8> =
                connection
                    .query_row("SELECT wrapped FROM named WHERE name = ?1", [name], |row| row.get(0))?;
            if now != known {
                return Ok(false);
            }
            let mut insert = connection.prepare_cached("INSERT INTO keys (name, wrapped) VALUES (?1, ?2)")?;
            for (name, wrapped) in &rows {
                insert.execute(params![name, wrapped])?;
            }
            Ok(true)
        })
    }
}
