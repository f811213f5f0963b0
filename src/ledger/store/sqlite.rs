//! The embedded store: SQLite in WAL mode with full synchronisation, one writer.

use super::super::entry::{Written, genesis};
use super::{Append, Entry, Head, LedgerError, Scanned, Store, Stream, StreamKind};
use crate::base::{Digest, Timestamp};
use crate::ledger::Once;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE entries (
  position INTEGER PRIMARY KEY,
  stream   TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  at       INTEGER NOT NULL,
  digests  TEXT NOT NULL,
  body     TEXT NOT NULL,
  hash     TEXT NOT NULL,
  UNIQUE (stream, seq)
) STRICT;
CREATE TABLE heads (
  kind   TEXT NOT NULL,
  name   TEXT NOT NULL,
  length INTEGER NOT NULL,
  status TEXT NOT NULL,
  at     INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX heads_by_status ON heads (kind, status);
CREATE TABLE once (
  scope TEXT NOT NULL,
  key   TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
CREATE TRIGGER entries_stay BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
";

/// One connection writes, another reads; WAL lets both go on at once.
pub struct Sqlite {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite's own texts name tables and columns, never bound values.
        Self::Store(error.to_string())
    }
}

impl Sqlite {
    /// Opens or creates `ledger.sqlite` in `directory`, which must exist.
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join("ledger.sqlite");
        let writer = connect(&path)?;
        let version: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            0 => writer
                .execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?,
            SCHEMA_VERSION => {}
            found => return Err(LedgerError::Schema { path, found, known: SCHEMA_VERSION }),
        }
        let reader = connect(&path)?;
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open(path)
        .map_err(|error| LedgerError::Directory { path: path.to_path_buf(), reason: error.to_string() })?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // FULL: a commit is on stable storage before the answer that depends on it leaves.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic elsewhere leaves the connection usable: an open transaction rolls back when dropped.
    connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Store for Sqlite {
    fn append(&self, batch: &Append) -> Result<Vec<Entry>, LedgerError> {
        let mut connection = lock(&self.writer);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stream = batch.stream.to_string();
        let length = length_of(&tx, &batch.stream)?;
        claim(&tx, &batch.once)?;
        if length != batch.expected {
            return Err(LedgerError::Conflict { stream, expected: batch.expected, actual: length });
        }
        let (mut position, mut previous) = last(&tx)?;
        let mut entries = Vec::with_capacity(batch.events.len());
        let digests = serde_json::to_string(&batch.digests).map_err(|e| LedgerError::Store(e.to_string()))?;
        for (event, seq) in batch.events.iter().zip(length..) {
            position += 1;
            let body = serde_json::to_string(&event.body).map_err(|e| LedgerError::Store(e.to_string()))?;
            let written = Written {
                position,
                stream: &stream,
                seq,
                kind: event.kind,
                at: batch.at,
                digests: &digests,
                body: &body,
            };
            let hash = written.hash(&previous);
            tx.prepare_cached(
                "INSERT INTO entries (position, stream, seq, kind, at, digests, body, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                position,
                stream,
                seq,
                event.kind,
                batch.at.as_millis(),
                digests,
                body,
                hash.as_str()
            ])?;
            entries.push(Entry {
                position,
                stream: stream.clone(),
                seq,
                kind: event.kind.to_owned(),
                at: batch.at,
                digests: batch.digests.clone(),
                body: event.body.clone(),
                hash: hash.clone(),
            });
            previous = hash;
        }
        move_head(&tx, batch, length + batch.events.len() as u64)?;
        tx.commit()?;
        Ok(entries)
    }

    fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let connection = lock(&self.reader);
        let name = stream.to_string();
        let mut statement = connection.prepare_cached(
            "SELECT position, stream, seq, kind, at, digests, body, hash FROM entries
             WHERE stream = ?1 AND seq >= ?2 ORDER BY seq",
        )?;
        let rows = statement.query_map(params![name, from], scanned)?;
        rows.map(|row| entry(row?)).collect()
    }

    fn heads(&self, kind: StreamKind, status: Option<&str>) -> Result<Vec<Head>, LedgerError> {
        let connection = lock(&self.reader);
        let mut statement = connection.prepare_cached(
            "SELECT name, length, status, at FROM heads
             WHERE kind = ?1 AND (?2 IS NULL OR status = ?2) ORDER BY at DESC, name",
        )?;
        let rows = statement.query_map(params![kind.as_str(), status], |row| {
            Ok(Head {
                name: row.get(0)?,
                length: row.get(1)?,
                status: row.get(2)?,
                at: Timestamp::from_millis(row.get(3)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn claim(&self, once: &Once) -> Result<String, LedgerError> {
        let connection = lock(&self.writer);
        connection.execute(
            "INSERT INTO once (scope, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![once.scope, once.key, once.value],
        )?;
        Ok(connection.query_row(
            "SELECT value FROM once WHERE scope = ?1 AND key = ?2",
            params![once.scope, once.key],
            |row| row.get(0),
        )?)
    }

    fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError> {
        let connection = lock(&self.reader);
        Ok(connection
            .query_row("SELECT value FROM once WHERE scope = ?1 AND key = ?2", params![scope, key], |row| {
                row.get(0)
            })
            .optional()?)
    }

    fn scan(&self, each: &mut dyn FnMut(Scanned)) -> Result<(), LedgerError> {
        let connection = lock(&self.reader);
        let mut statement = connection.prepare(
            "SELECT position, stream, seq, kind, at, digests, body, hash FROM entries ORDER BY position",
        )?;
        for row in statement.query_map([], scanned)? {
            each(row?);
        }
        Ok(())
    }
}

fn length_of(tx: &Connection, stream: &Stream) -> Result<u64, LedgerError> {
    let length: Option<u64> = tx
        .query_row(
            "SELECT length FROM heads WHERE kind = ?1 AND name = ?2",
            params![stream.kind.as_str(), stream.name],
            |row| row.get(0),
        )
        .optional()?;
    Ok(length.unwrap_or(0))
}

fn move_head(tx: &Connection, batch: &Append, length: u64) -> Result<(), LedgerError> {
    tx.execute(
        "INSERT INTO heads (kind, name, length, status, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, name) DO UPDATE SET length = ?3, status = ?4, at = ?5",
        params![batch.stream.kind.as_str(), batch.stream.name, length, batch.status, batch.at.as_millis()],
    )?;
    Ok(())
}

/// Claims what may happen once; fails when somebody did before.
fn claim(tx: &Connection, once: &[Once]) -> Result<(), LedgerError> {
    for once in once {
        let known: Option<String> = tx
            .query_row(
                "SELECT value FROM once WHERE scope = ?1 AND key = ?2",
                params![once.scope, once.key],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(value) = known {
            return Err(LedgerError::Used { scope: once.scope.clone(), value });
        }
        tx.execute(
            "INSERT INTO once (scope, key, value) VALUES (?1, ?2, ?3)",
            params![once.scope, once.key, once.value],
        )?;
    }
    Ok(())
}

fn last(tx: &Connection) -> Result<(u64, Digest), LedgerError> {
    let row: Option<(u64, String)> = tx
        .query_row("SELECT position, hash FROM entries ORDER BY position DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((position, hash)) = row else { return Ok((0, genesis())) };
    let damaged = || LedgerError::Damaged { stream: "*".into(), reason: format!("hash of entry {position}") };
    Ok((position, Digest::parse(&hash).ok_or_else(damaged)?))
}

fn scanned(row: &Row<'_>) -> rusqlite::Result<Scanned> {
    Ok(Scanned {
        position: row.get(0)?,
        stream: row.get(1)?,
        seq: row.get(2)?,
        kind: row.get(3)?,
        at: Timestamp::from_millis(row.get(4)?),
        digests: row.get(5)?,
        body: row.get(6)?,
        hash: row.get(7)?,
    })
}

fn entry(row: Scanned) -> Result<Entry, LedgerError> {
    let damaged = |reason: String| LedgerError::Damaged { stream: row.stream.clone(), reason };
    Ok(Entry {
        position: row.position,
        seq: row.seq,
        at: row.at,
        digests: serde_json::from_str(&row.digests).map_err(|e| damaged(e.to_string()))?,
        body: serde_json::from_str(&row.body).map_err(|e| damaged(e.to_string()))?,
        hash: Digest::parse(&row.hash).ok_or_else(|| damaged("its hash is not a digest".into()))?,
        kind: row.kind,
        stream: row.stream,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::{Digests, NewEvent};
    use super::*;
    use serde_json::json;

    fn batch(name: &str, expected: u64, bodies: &[i64]) -> Append {
        Append {
            stream: Stream::new(StreamKind::Case, name),
            expected,
            at: Timestamp::from_millis(1_000),
            digests: Digests::from([("pack".to_owned(), Digest::of(b"pack"))]),
            events: bodies.iter().map(|n| NewEvent { kind: "counted", body: json!({ "n": n }) }).collect(),
            status: "running".into(),
            once: vec![],
        }
    }

    #[test]
    fn sqlite_is_new_enough_for_wal() {
        // Earlier versions can corrupt a database in WAL mode.
        assert!(rusqlite::version_number() >= 3_051_003, "bundled SQLite is {}", rusqlite::version());
    }

    #[test]
    fn the_store_synchronises_fully() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(directory.path()).unwrap();
        let connection = lock(&store.writer);
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[test]
    fn entries_come_back_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let stream = Stream::new(StreamKind::Case, "a");
        let written = {
            let store = Sqlite::open(directory.path()).unwrap();
            store.append(&batch("a", 0, &[1, 2])).unwrap();
            store.append(&batch("b", 0, &[9])).unwrap();
            store.append(&batch("a", 2, &[3])).unwrap();
            store.stream(&stream, 0).unwrap()
        };
        let store = Sqlite::open(directory.path()).unwrap();
        let read = store.stream(&stream, 0).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.iter().map(|e| (e.seq, e.position)).collect::<Vec<_>>(), [(0, 1), (1, 2), (2, 4)]);
        assert_eq!(store.stream(&stream, 2).unwrap().len(), 1);
        assert_eq!(store.heads(StreamKind::Case, Some("running")).unwrap().len(), 2);
        assert!(store.heads(StreamKind::Case, Some("resolved")).unwrap().is_empty());
    }

    #[test]
    fn a_writer_that_read_an_older_state_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(directory.path()).unwrap();
        store.append(&batch("a", 0, &[1])).unwrap();
        let error = store.append(&batch("a", 0, &[2])).unwrap_err();
        assert!(matches!(error, LedgerError::Conflict { expected: 0, actual: 1, .. }));
        assert_eq!(store.stream(&Stream::new(StreamKind::Case, "a"), 0).unwrap().len(), 1);
    }

    #[test]
    fn what_may_happen_once_happens_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(directory.path()).unwrap();
        let mut first = batch("a", 0, &[1]);
        first.once = vec![Once { scope: "jti".into(), key: "k".into(), value: "a".into() }];
        store.append(&first).unwrap();
        let mut second = batch("b", 0, &[1]);
        second.once.clone_from(&first.once);
        assert!(
            matches!(store.append(&second).unwrap_err(), LedgerError::Used { value, .. } if value == "a")
        );
        assert!(store.stream(&Stream::new(StreamKind::Case, "b"), 0).unwrap().is_empty());
        assert_eq!(store.claimed("jti", "k").unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn the_store_itself_refuses_to_change_an_entry() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(directory.path()).unwrap();
        store.append(&batch("a", 0, &[1])).unwrap();
        let connection = lock(&store.writer);
        assert!(connection.execute("UPDATE entries SET body = '{}'", []).is_err());
        assert!(connection.execute("DELETE FROM entries", []).is_err());
    }

    #[test]
    fn a_changed_entry_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(directory.path()).unwrap();
        store.append(&batch("a", 0, &[1, 2, 3])).unwrap();
        assert!(super::super::super::verify(&store).unwrap().is_none());
        lock(&store.writer)
            .execute_batch(
                "DROP TRIGGER entries_are_final; UPDATE entries SET body = '{\"n\":7}' WHERE position = 2;",
            )
            .unwrap();
        let damage = super::super::super::verify(&store).unwrap().unwrap();
        assert_eq!(damage.position, 2);
    }
}
