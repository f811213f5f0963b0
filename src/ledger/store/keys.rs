//! Where wrapped keys are kept: a table of its own, never part of the ledger's.

use super::super::LedgerError;
use super::postgres::{Session, values};
use super::sqlite::connect;
use super::thread::Writer;
use crate::base::postgres::Postgres as Connections;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A name and the key in it, wrapped.
pub type Row = (String, Vec<u8>);

/// In a file of this node, or in a database that nodes share.
pub enum KeyTable {
    Sqlite(Box<File>),
    Postgres(Shared),
}

pub struct File {
    path: PathBuf,
    writer: Writer,
    reader: Mutex<Connection>,
}

pub struct Shared(Session);

/// `secure_delete`: what is deleted is overwritten.
const SCHEMA: &str = "
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS named (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

const SHARED_SCHEMA: &str = "
CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (1);
CREATE TABLE named (name text PRIMARY KEY, wrapped bytea NOT NULL);
CREATE TABLE keys (name text PRIMARY KEY, wrapped bytea NOT NULL);
";

impl KeyTable {
    /// Opens or creates the file.
    pub fn sqlite(path: &Path) -> Result<Self, LedgerError> {
        let writer = connect(path)?;
        writer.execute_batch(SCHEMA)?;
        let reader = Mutex::new(connect(path)?);
        Ok(Self::Sqlite(Box::new(File { path: path.to_owned(), writer: Writer::start(writer)?, reader })))
    }

    /// A database of its own: one that is not part of the ledger's backups.
    pub fn postgres(connections: Connections) -> Result<Self, LedgerError> {
        Ok(Self::Postgres(Shared(Session::open(connections, &[SHARED_SCHEMA], 1, &[])?)))
    }

    /// How messages name it.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(file) => file.path.display().to_string(),
            Self::Postgres(_) => "the database of the keys".to_owned(),
        }
    }

    /// The rows that there is one of, unless another process wrote them first.
    pub fn begin(&self, rows: Vec<Row>) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(file) => file.begin(rows),
            Self::Postgres(shared) => shared.begin(rows),
        }
    }

    pub fn named(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        match self {
            Self::Sqlite(file) => file.one("SELECT wrapped FROM named WHERE name = ?1", name),
            Self::Postgres(shared) => shared.one("SELECT wrapped FROM named WHERE name = $1", name),
        }
    }

    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        match self {
            Self::Sqlite(file) => file.one("SELECT wrapped FROM keys WHERE name = ?1", name),
            Self::Postgres(shared) => shared.one("SELECT wrapped FROM keys WHERE name = $1", name),
        }
    }

    /// Writes keys; `false`, and nothing is written, when the named row is another one by now.
    pub fn insert(&self, rows: Vec<Row>, known: (&'static str, Vec<u8>)) -> Result<bool, LedgerError> {
        match self {
            Self::Sqlite(file) => file.insert(rows, known),
            Self::Postgres(shared) => shared.insert(rows, known),
        }
    }

    /// Puts for each key what `each` makes of it, or nothing, and new named rows, all at once; `false`, and nothing is
    /// written, when the named row is another one by now.
    pub fn rewrap(
        &self,
        known: (&'static str, Vec<u8>),
        named: Vec<Row>,
        each: impl Fn(&str, &[u8]) -> Result<Option<Vec<u8>>, LedgerError> + Send + Sync + 'static,
    ) -> Result<bool, LedgerError> {
        match self {
            Self::Sqlite(file) => file.rewrap(known, named, each),
            Self::Postgres(shared) => shared.rewrap(known, named, each),
        }
    }

    /// Leaves nothing in the table's files of what was deleted or written over.
    pub fn forget_deleted(&self) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(file) => truncate_wal(&file.writer, &file.path),
            Self::Postgres(shared) => shared.forget_deleted(),
        }
    }
}

/// How long another process may hold the write-ahead log up.
const TRUNCATED_WITHIN: Duration = Duration::from_secs(10);

/// Writes the write-ahead log back and cuts it to nothing.
///
/// # Errors
/// Somebody reads what it held before for too long.
pub(super) fn truncate_wal(writer: &Writer, path: &Path) -> Result<(), LedgerError> {
    let began = Instant::now();
    loop {
        let held: bool = writer.alone(|connection| {
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?)
        })?;
        if !held {
            return Ok(());
        }
        if began.elapsed() > TRUNCATED_WITHIN {
            let path = path.display();
            let problem =
                "its write-ahead log is read by another process and still holds what was erased; do it again";
            return Err(LedgerError::Store(format!("{path}: {problem}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl File {
    fn begin(&self, rows: Vec<Row>) -> Result<(), LedgerError> {
        self.writer.write(move |connection| {
            let there: i64 = connection.query_row("SELECT count(*) FROM named", [], |row| row.get(0))?;
            for (name, wrapped) in rows.iter().filter(|_| there == 0) {
                connection
                    .execute("INSERT INTO named (name, wrapped) VALUES (?1, ?2)", params![name, wrapped])?;
            }
            Ok(())
        })
    }

    fn one(&self, sql: &str, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reader.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
    }

    fn insert(&self, rows: Vec<Row>, (name, known): (&'static str, Vec<u8>)) -> Result<bool, LedgerError> {
        self.writer.write(move |connection| {
            if !is_now(connection, name, &known)? {
                return Ok(false);
            }
            let mut insert = connection.prepare_cached("INSERT INTO keys (name, wrapped) VALUES (?1, ?2)")?;
            for (name, wrapped) in &rows {
                insert.execute(params![name, wrapped])?;
            }
            Ok(true)
        })
    }

    fn rewrap(
        &self,
        (name, known): (&'static str, Vec<u8>),
        named: Vec<Row>,
        each: impl Fn(&str, &[u8]) -> Result<Option<Vec<u8>>, LedgerError> + Send + 'static,
    ) -> Result<bool, LedgerError> {
        self.writer.write(move |connection| {
            if !is_now(connection, name, &known)? {
                return Ok(false);
            }
            let mut all = connection.prepare("SELECT name, wrapped FROM keys")?;
            let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let all: Vec<Row> = all.collect::<Result<_, _>>()?;
            let wrap = |(name, wrapped): Row| Ok((each(&name, &wrapped)?, name));
            let all: Vec<(Option<Vec<u8>>, String)> =
                all.into_iter().map(wrap).collect::<Result<_, LedgerError>>()?;
            let mut put = connection.prepare("UPDATE keys SET wrapped = ?2 WHERE name = ?1")?;
            let mut delete = connection.prepare("DELETE FROM keys WHERE name = ?1")?;
            for (wrapped, name) in &all {
                match wrapped {
                    Some(wrapped) => put.execute(params![name, wrapped])?,
                    None => delete.execute([name])?,
                };
            }
            for (name, wrapped) in &named {
                connection
                    .execute("UPDATE named SET wrapped = ?2 WHERE name = ?1", params![name, wrapped])?;
            }
            Ok(true)
        })
    }
}

fn is_now(connection: &Connection, name: &str, known: &[u8]) -> Result<bool, LedgerError> {
    let now: Vec<u8> =
        connection.query_row("SELECT wrapped FROM named WHERE name = ?1", [name], |row| row.get(0))?;
    Ok(now == known)
}

impl Shared {
    fn begin(&self, rows: Vec<Row>) -> Result<(), LedgerError> {
        self.0.run(|pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            tx.batch_execute("LOCK TABLE named").await?;
            let there: i64 = tx.query_one("SELECT count(*) FROM named", &[]).await?.try_get(0)?;
            for (name, wrapped) in rows.iter().filter(|_| there == 0) {
                tx.execute("INSERT INTO named (name, wrapped) VALUES ($1, $2)", &[name, wrapped]).await?;
            }
            tx.commit().await?;
            pool.give_back(client);
            Ok(())
        })
    }

    fn one(&self, sql: &str, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let rows = self.0.rows(sql.to_owned(), values![name.to_owned()])?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn insert(&self, rows: Vec<Row>, (name, known): (&'static str, Vec<u8>)) -> Result<bool, LedgerError> {
        self.0.run(move |pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            // Nobody wraps the keys anew meanwhile.
            let now = tx.query_one("SELECT wrapped FROM named WHERE name = $1 FOR SHARE", &[&name]).await?;
            let same = now.try_get::<_, Vec<u8>>(0)? == known;
            for (name, wrapped) in rows.iter().filter(|_| same) {
                tx.execute("INSERT INTO keys (name, wrapped) VALUES ($1, $2)", &[name, wrapped]).await?;
            }
            tx.commit().await?;
            pool.give_back(client);
            Ok(same)
        })
    }

    fn rewrap(
        &self,
        (name, known): (&'static str, Vec<u8>),
        named: Vec<Row>,
        each: impl Fn(&str, &[u8]) -> Result<Option<Vec<u8>>, LedgerError> + Send + Sync + 'static,
    ) -> Result<bool, LedgerError> {
        self.0.run(move |pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            let now = tx.query_one("SELECT wrapped FROM named WHERE name = $1 FOR UPDATE", &[&name]).await?;
            if now.try_get::<_, Vec<u8>>(0)? != known {
                return Ok(false);
            }
            let (mut names, mut wraps, mut gone) = (Vec::new(), Vec::new(), Vec::new());
            for row in tx.query("SELECT name, wrapped FROM keys", &[]).await? {
                let (name, wrapped): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
                match each(&name, &wrapped)? {
                    Some(wrapped) => {
                        names.push(name);
                        wraps.push(wrapped);
                    }
                    None => gone.push(name),
                }
            }
            let update =
                "UPDATE keys k SET wrapped = u.wrapped FROM unnest($1::text[], $2::bytea[]) u(name, wrapped)
                WHERE k.name = u.name";
            tx.execute(update, &[&names, &wraps]).await?;
            tx.execute("DELETE FROM keys WHERE name = ANY($1)", &[&gone]).await?;
            for (name, wrapped) in &named {
                tx.execute("UPDATE named SET wrapped = $2 WHERE name = $1", &[name, wrapped]).await?;
            }
            tx.commit().await?;
            pool.give_back(client);
            Ok(true)
        })
    }

    /// Row versions that nobody sees stay in a table's file until it is written anew. The server's own log is beyond
    /// reach from here: a new master key makes what it holds worthless.
    fn forget_deleted(&self) -> Result<(), LedgerError> {
        self.0.run(|pool| async move {
            // However long it takes. The connection is not given back: others' statements have their limit.
            let client = pool.client().await?;
            for statement in ["SET statement_timeout = 0", "VACUUM FULL keys", "VACUUM FULL named"] {
                client.batch_execute(statement).await?;
            }
            Ok(())
        })
    }
}
