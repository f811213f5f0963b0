//! The embedded store: SQLite in WAL mode with full synchronisation, one thread that writes.

use super::super::entry::{Leaf, Once, Total};
use super::super::{Keys, LedgerError, Tile};
use super::keys::truncate_wal;
use super::schema::{SCHEMA, SCHEMA_VERSION};
use super::thread::Writer;
use super::{Batch, By, Claim, Head, NOT_LOOKED, Store, Stored, Stream, StreamKind, migrate, totals};
use crate::base::{Clock, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const COLUMNS: &str = "stream, seq, kind, at, digests, key, body, leaf, position - 1";

/// From so many bytes on the write-ahead log is written back and cut; until then it is written over.
const LARGE_WAL: u64 = 32 << 20;

/// WAL lets readers go on while one thread writes.
pub struct Sqlite {
    path: PathBuf,
    writer: Writer,
    reader: Mutex<Connection>,
    clock: Arc<dyn Clock>,
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite's own texts name tables and columns, never bound values.
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt) => Self::Broken(error.to_string()),
            _ => Self::Store(error.to_string()),
        }
    }
}

impl Sqlite {
    /// Opens or creates `ledger.sqlite` in `directory`, which must exist. One of an earlier program is brought up to
    /// this one's schema, with these keys.
    pub fn open(directory: &Path, keys: &Keys, clock: Arc<dyn Clock>) -> Result<Self, LedgerError> {
        let path = directory.join("ledger.sqlite");
        let writer = connect(&path)?;
        let version: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            0 => writer.execute_batch(&format!(
                "BEGIN; {SCHEMA} {} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;",
                totals::SQLITE
            ))?,
            1 => migrate::from_1(&writer, keys)?,
            2..SCHEMA_VERSION => migrate::from_2(&writer, version)?,
            SCHEMA_VERSION => {}
            found => return Err(LedgerError::Schema { path, found, known: SCHEMA_VERSION }),
        }
        let reader = connect(&path)?;
        Ok(Self { path, writer: Writer::start(writer)?, reader: Mutex::new(reader), clock })
    }

    /// Keeps the write-ahead log from growing without bound where there is always somebody who reads.
    fn cut_wal(&self) -> Result<(), LedgerError> {
        let wal = self.path.with_extension("sqlite-wal");
        if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > LARGE_WAL) {
            self.writer.alone(|connection| {
                Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
            })?;
        }
        Ok(())
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves the connection usable: an open transaction rolls back when dropped.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open(path)
        .map_err(|error| LedgerError::Directory { path: path.to_path_buf(), reason: error.to_string() })?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // FULL: a commit is on stable storage before the answer that depends on it leaves. What is deleted is overwritten.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
             PRAGMA cache_size = -32768;",
        )?;
    Ok(connection)
}

impl Store for Sqlite {
    fn append(&self, batch: Batch) -> Result<Option<Claim>, LedgerError> {
        let now = self.clock.now();
        self.writer.write(move |connection| {
            let stream = batch.stream.to_string();
            let hold = hold_of(connection, &batch.stream)?;
            // All that may be refused comes before all that is written.
            unclaimed(connection, &batch.once)?;
            let alive = || living(connection, hold.node.as_deref(), now);
            let claim = match &batch.by {
                By::Anybody => None,
                By::Claiming(node) => (!alive()?).then(|| (node.clone(), hold.epoch + 1, 1)),
                By::Holder { epoch, .. } if *epoch != hold.epoch || hold.node.is_none() => {
                    return Err(LedgerError::Lost { stream });
                }
                By::Holder { done: true, .. } => None,
                By::Holder { epoch, .. } => hold.node.clone().map(|node| (node, *epoch, 0)),
            };
            if hold.length != batch.expected {
                return Err(LedgerError::Conflict { stream, expected: batch.expected, actual: hold.length });
            }
            batch.entries.iter().try_for_each(|entry| insert(connection, entry))?;
            batch.once.iter().try_for_each(|once| claim_one(connection, once))?;
            note_subjects(connection, &batch.stream, &batch.subjects)?;
            totals::sqlite_count(connection, &batch)?;
            let length = hold.length + batch.entries.len() as u64;
            let hold = match (&batch.by, &claim) {
                (By::Holder { done: true, .. }, _) => Hold { node: None, attempts: 0, ..hold },
                (_, Some((node, epoch, attempts))) => {
                    Hold { node: Some(node.clone()), epoch: *epoch, attempts: *attempts, ..hold }
                }
                _ => hold,
            };
            move_head(connection, &batch, &Hold { length, ..hold })?;
            let given = |(_, epoch, attempts)| Claim { stream: batch.stream.clone(), epoch, attempts };
            Ok(claim.map(given))
        })
    }

    fn now(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.clock.now())
    }

    fn beat(&self, node: &str, milliseconds: i64) -> Result<(), LedgerError> {
        let (node, now) = (node.to_owned(), self.clock.now());
        self.writer.write(move |connection| {
            if milliseconds == 0 {
                connection.execute("UPDATE heads SET node = NULL WHERE node = ?1", [&node])?;
                connection.execute("DELETE FROM nodes WHERE name = ?1", [&node])?;
                return Ok(());
            }
            connection.execute(
                "INSERT INTO nodes (name, until) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET until = ?2",
                params![node, now.plus_millis(milliseconds).as_millis()],
            )?;
            Ok(())
        })
    }

    fn forget_nodes(&self) -> Result<(), LedgerError> {
        self.writer.write(|connection| {
            connection.execute("UPDATE heads SET node = NULL WHERE node IS NOT NULL", [])?;
            connection.execute("DELETE FROM nodes", [])?;
            Ok(())
        })
    }

    fn take(&self, kind: StreamKind, node: &str, most: usize) -> Result<Vec<Claim>, LedgerError> {
        let (node, now) = (node.to_owned(), self.clock.now().as_millis());
        self.writer.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, epoch + 1, attempts + 1 FROM heads
                 WHERE kind = ?1 AND due <= ?2
                   AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.name = node AND until > ?2))
                 ORDER BY due LIMIT ?3",
            )?;
            let due = statement.query_map(params![kind.as_str(), now, most as u64], |row| {
                let stream = Stream::new(kind, row.get::<_, String>(0)?);
                Ok(Claim { stream, epoch: row.get(1)?, attempts: row.get(2)? })
            })?;
            let due: Vec<Claim> = due.collect::<Result<_, _>>()?;
            for claim in &due {
                set_hold(connection, &claim.stream, Some(&node), claim.epoch, claim.attempts)?;
            }
            Ok(due)
        })
    }

    fn held(&self, kind: StreamKind, node: &str) -> Result<Vec<String>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection
            .prepare_cached("SELECT name FROM heads WHERE kind = ?1 AND node = ?2 ORDER BY name")?;
        let names = statement.query_map(params![kind.as_str(), node], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn take_one(&self, stream: &Stream, node: &str) -> Result<Option<Claim>, LedgerError> {
        let (stream, node, now) = (stream.clone(), node.to_owned(), self.clock.now());
        self.writer.write(move |connection| {
            let hold = hold_of(connection, &stream)?;
            let other = hold.node.as_deref().filter(|holder| *holder != node);
            if hold.length == 0 || living(connection, other, now)? {
                return Ok(None);
            }
            let claim = Claim { stream, epoch: hold.epoch + 1, attempts: hold.attempts + 1 };
            set_hold(connection, &claim.stream, Some(&node), claim.epoch, claim.attempts)?;
            Ok(Some(claim))
        })
    }

    fn holds(&self, claim: &Claim, node: &str, length: u64) -> Result<bool, LedgerError> {
        let connection = self.reader();
        let hold = hold_of(&connection, &claim.stream)?;
        let own = hold.node.as_deref() == Some(node) && hold.epoch == claim.epoch && hold.length == length;
        Ok(own && living(&connection, Some(node), self.clock.now())?)
    }

    fn release(&self, claim: &Claim, due: Option<Timestamp>, attempts: u32) -> Result<(), LedgerError> {
        let claim = claim.clone();
        self.writer.write(move |connection| {
            let due = due.map(Timestamp::as_millis);
            connection.execute(
                "UPDATE heads SET node = NULL, due = coalesce(?4, due), attempts = ?5
                 WHERE kind = ?1 AND name = ?2 AND epoch = ?3 AND node IS NOT NULL",
                params![claim.stream.kind.as_str(), claim.stream.name, claim.epoch, due, attempts],
            )?;
            Ok(())
        })
    }

    fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Stored>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE stream = ?1 AND seq >= ?2 ORDER BY seq"
        ))?;
        let rows = statement.query_map(params![stream.to_string(), from], stored)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn head(&self, stream: &Stream) -> Result<Option<Head>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection.prepare_cached(
            "SELECT name, length, status, at, key FROM heads WHERE kind = ?1 AND name = ?2",
        )?;
        Ok(statement.query_row(params![stream.kind.as_str(), stream.name], head).optional()?)
    }

    fn heads(
        &self,
        kind: StreamKind,
        status: Option<&str>,
        most: Option<u32>,
    ) -> Result<Vec<Head>, LedgerError> {
        let connection = self.reader();
        // One statement each, so that the index serves.
        let within = if status.is_some() { "status = ?2" } else { "?2 IS NULL" };
        let mut statement = connection.prepare_cached(&format!(
            "SELECT name, length, status, at, key FROM heads WHERE kind = ?1 AND {within} ORDER BY at DESC, name LIMIT ?3"
        ))?;
        // A negative limit is none.
        let most = most.map_or(-1, i64::from);
        let rows = statement.query_map(params![kind.as_str(), status, most], head)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn claim(&self, once: &Once) -> Result<String, LedgerError> {
        let once = once.clone();
        self.writer.write(move |connection| {
            connection.execute(
                "INSERT INTO once (scope, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![once.scope, once.key, once.value],
            )?;
            let holder = claimed(connection, &once.scope, &once.key)?;
            Ok(holder.unwrap_or(once.value))
        })
    }

    fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError> {
        claimed(&self.reader(), scope, key)
    }

    fn totals(&self, scopes: Vec<String>, at: Timestamp) -> Result<Vec<Total>, LedgerError> {
        totals::sqlite_totals(&self.reader(), &scopes, at)
    }

    fn reserved(&self, call: &str) -> Result<Option<Vec<Total>>, LedgerError> {
        totals::sqlite_reserved(&self.reader(), call)
    }

    fn streams_of(&self, kind: StreamKind, subject: &str) -> Result<Vec<String>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection
            .prepare_cached("SELECT name FROM subjects WHERE subject = ?1 AND kind = ?2 ORDER BY name")?;
        let names = statement.query_map(params![subject, kind.as_str()], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn subjects_of(&self, stream: &Stream) -> Result<Vec<String>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection
            .prepare_cached("SELECT subject FROM subjects WHERE kind = ?1 AND name = ?2 ORDER BY subject")?;
        let subjects = statement.query_map(params![stream.kind.as_str(), stream.name], |row| row.get(0))?;
        Ok(subjects.collect::<Result<_, _>>()?)
    }

    fn note_subjects(&self, stream: &Stream, subjects: Vec<String>) -> Result<(), LedgerError> {
        let stream = stream.clone();
        self.writer.write(move |connection| {
            note_subjects(connection, &stream, &subjects)?;
            connection.execute(
                "DELETE FROM subjects WHERE subject = ?1 AND kind = ?2 AND name = ?3",
                params![NOT_LOOKED, stream.kind.as_str(), stream.name],
            )?;
            Ok(())
        })
    }

    fn forget_subjects(&self, streams: &[Stream]) -> Result<(), LedgerError> {
        let streams = streams.to_vec();
        self.writer.write(move |connection| {
            let mut delete = connection.prepare("DELETE FROM subjects WHERE kind = ?1 AND name = ?2")?;
            let mut forget = connection.prepare("DELETE FROM reserved WHERE stream = ?1")?;
            for stream in &streams {
                forget.execute(params![stream.to_string()])?;
                delete.execute(params![stream.kind.as_str(), stream.name])?;
            }
            Ok(())
        })?;
        truncate_wal(&self.writer, &self.path)
    }

    fn sequence(&self) -> Result<u64, LedgerError> {
        // One thread writes, and nothing is ever deleted: the row's number is its place.
        Ok(self.reader().query_row("SELECT coalesce(max(position), 0) FROM entries", [], |row| row.get(0))?)
    }

    fn range(&self, from: u64, most: usize) -> Result<Vec<Stored>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE position > ?1 ORDER BY position LIMIT ?2"
        ))?;
        let rows = statement.query_map(params![from, most as u64], stored)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let connection = self.reader();
        let mut statement =
            connection.prepare_cached("SELECT hashes FROM tiles WHERE level = ?1 AND number = ?2")?;
        Ok(statement.query_row(params![level, number], |row| row.get(0)).optional()?)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        newest(&self.reader())
    }

    fn checkpoints(&self) -> Result<Vec<Vec<u8>>, LedgerError> {
        let connection = self.reader();
        let mut statement = connection.prepare_cached("SELECT note FROM checkpoints ORDER BY size")?;
        let notes = statement.query_map([], |row| row.get(0))?;
        Ok(notes.collect::<Result<_, _>>()?)
    }

    fn publish(
        &self,
        previous: Option<Vec<u8>>,
        tiles: Vec<Tile>,
        size: u64,
        checkpoint: Vec<u8>,
    ) -> Result<bool, LedgerError> {
        let published = self.writer.write(move |connection| {
            if newest(connection)? != previous {
                return Ok(false);
            }
            for tile in &tiles {
                connection.execute(
                    "INSERT INTO tiles (level, number, hashes) VALUES (?1, ?2, ?3)
                     ON CONFLICT (level, number) DO UPDATE SET hashes = ?3",
                    params![tile.level, tile.number, tile.hashes],
                )?;
            }
            connection
                .execute("INSERT INTO checkpoints (size, note) VALUES (?1, ?2)", params![size, checkpoint])?;
            Ok(true)
        })?;
        self.cut_wal()?;
        Ok(published)
    }
}

pub(super) fn insert(connection: &Connection, entry: &Stored) -> Result<(), LedgerError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries (stream, seq, kind, at, digests, key, body, leaf)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    statement.execute(params![
        entry.stream,
        entry.seq,
        entry.kind,
        entry.at.as_millis(),
        entry.digests,
        entry.key,
        entry.body,
        entry.leaf
    ])?;
    Ok(())
}

fn note_subjects(connection: &Connection, stream: &Stream, subjects: &[String]) -> Result<(), LedgerError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO subjects (subject, kind, name) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    for subject in subjects {
        statement.execute(params![subject, stream.kind.as_str(), stream.name])?;
    }
    Ok(())
}

fn newest(connection: &Connection) -> Result<Option<Vec<u8>>, LedgerError> {
    let mut statement =
        connection.prepare_cached("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

fn claimed(connection: &Connection, scope: &str, key: &str) -> Result<Option<String>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT value FROM once WHERE scope = ?1 AND key = ?2")?;
    Ok(statement.query_row(params![scope, key], |row| row.get(0)).optional()?)
}

/// What a head says about who goes on with its stream.
#[derive(Default)]
struct Hold {
    length: u64,
    node: Option<String>,
    epoch: u64,
    attempts: u32,
}

fn hold_of(connection: &Connection, stream: &Stream) -> Result<Hold, LedgerError> {
    let mut statement = connection
        .prepare_cached("SELECT length, node, epoch, attempts FROM heads WHERE kind = ?1 AND name = ?2")?;
    let hold = statement.query_row(params![stream.kind.as_str(), stream.name], |row| {
        Ok(Hold { length: row.get(0)?, node: row.get(1)?, epoch: row.get(2)?, attempts: row.get(3)? })
    });
    Ok(hold.optional()?.unwrap_or_default())
}

fn set_hold(
    connection: &Connection,
    stream: &Stream,
    node: Option<&str>,
    epoch: u64,
    attempts: u32,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE heads SET node = ?3, epoch = ?4, attempts = ?5 WHERE kind = ?1 AND name = ?2",
        )?
        .execute(params![stream.kind.as_str(), stream.name, node, epoch, attempts])?;
    Ok(())
}

fn living(connection: &Connection, node: Option<&str>, now: Timestamp) -> Result<bool, LedgerError> {
    let Some(node) = node else { return Ok(false) };
    let mut statement = connection.prepare_cached("SELECT until > ?2 FROM nodes WHERE name = ?1")?;
    let alive = statement.query_row(params![node, now.as_millis()], |row| row.get(0)).optional()?;
    Ok(alive.unwrap_or(false))
}

fn move_head(connection: &Connection, batch: &Batch, hold: &Hold) -> Result<(), LedgerError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO heads (kind, name, length, status, at, key, due, node, epoch, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (kind, name) DO UPDATE
         SET length = ?3, status = ?4, at = ?5, due = ?7, node = ?8, epoch = ?9, attempts = ?10",
    )?;
    let (kind, name) = (batch.stream.kind.as_str(), &batch.stream.name);
    let (at, due) = (batch.at().as_millis(), batch.due.map(Timestamp::as_millis));
    let Hold { length, node, epoch, attempts } = hold;
    statement.execute(params![
        kind,
        name,
        length,
        batch.status,
        at,
        batch.key,
        due,
        node,
        epoch,
        attempts
    ])?;
    Ok(())
}

/// Fails where something that may happen once did.
fn unclaimed(connection: &Connection, once: &[Once]) -> Result<(), LedgerError> {
    once.iter().try_for_each(|once| match claimed(connection, &once.scope, &once.key)? {
        Some(value) => Err(LedgerError::Used { scope: once.scope.clone(), value }),
        None => Ok(()),
    })
}

fn claim_one(connection: &Connection, once: &Once) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO once (scope, key, value) VALUES (?1, ?2, ?3)")?
        .execute(params![once.scope, once.key, once.value])?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let leaf: Leaf = row.get(7)?;
    Ok(Stored {
        stream: row.get(0)?,
        seq: row.get(1)?,
        kind: row.get(2)?,
        at: Timestamp::from_millis(row.get(3)?),
        digests: row.get(4)?,
        key: row.get(5)?,
        body: row.get(6)?,
        leaf,
        index: row.get(8)?,
    })
}

fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        name: row.get(0)?,
        length: row.get(1)?,
        status: row.get(2)?,
        at: Timestamp::from_millis(row.get(3)?),
        key: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::{Append, Ledger, LedgerSettings, NewEvent};
    use super::*;
    use crate::base::Digest;
    use serde_json::json;

    fn open(folder: &Path) -> Ledger {
        LedgerSettings::default().open(folder).unwrap()
    }

    fn batch(name: &str, expected: u64, bodies: &[i64]) -> Append {
        Append {
            status: "running".into(),
            ..Append::kept(
                Stream::new(StreamKind::Case, name),
                expected,
                [("pack".to_owned(), Digest::of(b"pack"))].into(),
                bodies
                    .iter()
                    .map(|n| NewEvent {
                        at: Timestamp::from_millis(1_000),
                        kind: "counted",
                        body: json!({ "n": n }),
                    })
                    .collect(),
            )
        }
    }

    #[test]
    fn sqlite_is_new_enough_for_wal() {
        // Earlier versions can corrupt a database in WAL mode.
        assert!(rusqlite::version_number() >= 3_051_003, "bundled SQLite is {}", rusqlite::version());
    }

    #[test]
    fn the_store_synchronises_fully() {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&folder.path().join("x.sqlite")).unwrap();
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[test]
    fn entries_come_back_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let stream = Stream::new(StreamKind::Case, "a");
        let written = {
            let ledger = open(folder.path());
            ledger.append(&batch("a", 0, &[1, 2]), By::Anybody).unwrap();
            ledger.append(&batch("b", 0, &[9]), By::Anybody).unwrap();
            ledger.append(&batch("a", 2, &[3]), By::Anybody).unwrap();
            ledger.stream(&stream, 0).unwrap()
        };
        let ledger = open(folder.path());
        let read = ledger.stream(&stream, 0).unwrap();
        assert_eq!(read, written);
        let places: Vec<_> = read.iter().map(|entry| (entry.seq, entry.index)).collect();
        assert_eq!(places, [(0, Some(0)), (1, Some(1)), (2, Some(3))]);
        assert_eq!(ledger.stream(&stream, 2).unwrap().len(), 1);
        assert_eq!(ledger.heads(StreamKind::Case, Some("running"), None).unwrap().len(), 2);
        assert!(ledger.heads(StreamKind::Case, Some("resolved"), None).unwrap().is_empty());
    }

    #[test]
    fn a_ledger_of_schema_4_gets_the_index_of_the_newest_streams() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        let connect = || Connection::open(folder.path().join("ledger.sqlite")).unwrap();
        connect()
            .execute_batch(
                "DROP INDEX heads_newest; CREATE INDEX heads_by_status ON heads (kind, status); PRAGMA user_version = 4;",
            )
            .unwrap();
        drop(open(folder.path()));
        let (connection, of_heads) =
            (connect(), "SELECT name FROM sqlite_schema WHERE tbl_name = 'heads' AND sql IS NOT NULL");
        let mut indexes = connection.prepare(of_heads).unwrap();
        let indexes = indexes.query_map([], |row| row.get(0)).unwrap();
        let indexes: Vec<String> = indexes.map(Result::unwrap).collect();
        assert_eq!(indexes, ["heads", "heads_due", "heads_newest"]);
        let mut plan = connection
            .prepare(
                "EXPLAIN QUERY PLAN SELECT name FROM heads WHERE kind = 'case' AND status = 'resolved' \
                 ORDER BY at DESC, name LIMIT 9",
            )
            .unwrap();
        let plan = plan.query_map([], |row| row.get::<_, String>("detail")).unwrap();
        let plan: Vec<String> = plan.map(Result::unwrap).collect();
        assert!(plan[0].contains("heads_newest"), "{plan:?}");
        // Only those of one instant are sorted.
        assert!(!plan.iter().any(|row| row.ends_with("B-TREE FOR ORDER BY")), "{plan:?}");
    }

    #[test]
    fn a_writer_that_read_an_older_state_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        ledger.append(&batch("a", 0, &[1]), By::Anybody).unwrap();
        let error = ledger.append(&batch("a", 0, &[2]), By::Anybody).unwrap_err();
        assert!(matches!(error, LedgerError::Conflict { expected: 0, actual: 1, .. }));
        assert_eq!(ledger.stream(&Stream::new(StreamKind::Case, "a"), 0).unwrap().len(), 1);
    }

    #[test]
    fn what_may_happen_once_happens_once() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let mut first = batch("a", 0, &[1]);
        first.once = vec![Once { scope: "jti".into(), key: "k".into(), value: "a".into() }];
        ledger.append(&first, By::Anybody).unwrap();
        let mut second = batch("b", 0, &[1]);
        second.once.clone_from(&first.once);
        let error = ledger.append(&second, By::Anybody).unwrap_err();
        assert!(matches!(error, LedgerError::Used { value, .. } if value == "a"));
        assert!(ledger.stream(&Stream::new(StreamKind::Case, "b"), 0).unwrap().is_empty());
        assert_eq!(ledger.claimed("jti", "k").unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn many_writers_at_once_each_get_their_own_answer() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let refused = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (ledger, refused) = (&ledger, &refused);
                scope.spawn(move || {
                    for n in 0..25 {
                        ledger.append(&batch(&format!("own-{thread}"), n, &[1]), By::Anybody).unwrap();
                        // All of them want to be the one that opens this stream.
                        if ledger.append(&batch(&format!("shared-{n}"), 0, &[1, 2]), By::Anybody).is_err() {
                            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(refused.into_inner(), 7 * 25);
        assert_eq!(ledger.store().sequence().unwrap(), 8 * 25 + 2 * 25);
        assert_eq!(ledger.verify(&[], true).unwrap().damage, None);
    }

    #[test]
    fn the_store_itself_refuses_to_change_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).append(&batch("a", 0, &[1]), By::Anybody).unwrap();
        let connection = connect(&folder.path().join("ledger.sqlite")).unwrap();
        assert!(connection.execute("UPDATE entries SET body = '{}'", []).is_err());
        assert!(connection.execute("DELETE FROM entries", []).is_err());
    }

    #[test]
    fn a_changed_entry_is_found_read_by_nobody_and_signed_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        ledger.append(&batch("a", 0, &[1, 2, 3]), By::Anybody).unwrap();
        assert_eq!(ledger.verify(&[], false).unwrap().damage, None);
        let connection = connect(&folder.path().join("ledger.sqlite")).unwrap();
        let change = "DROP TRIGGER entries_are_final; UPDATE entries SET at = at + 1 WHERE position = 2;";
        connection.execute_batch(change).unwrap();
        assert_eq!(ledger.verify(&[], false).unwrap().damage.unwrap().index, 1);
        assert!(ledger.stream(&Stream::new(StreamKind::Case, "a"), 0).is_err());
        assert!(ledger.sign().unwrap_err().to_string().contains("nothing is signed"));
    }

    #[test]
    fn the_write_ahead_log_is_cut_when_a_checkpoint_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let wal = || std::fs::metadata(folder.path().join("ledger.sqlite-wal")).unwrap().len();
        let large = json!("x".repeat(1 << 20));
        // Somebody reads all the time, so nothing can be written over.
        let reader = connect(&folder.path().join("ledger.sqlite")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM entries;").unwrap();
        for n in 0..3 {
            let events = (0..15)
                .map(|_| NewEvent { at: Timestamp::from_millis(1_000), kind: "counted", body: large.clone() })
                .collect();
            ledger.append(&Append { events, ..batch("a", n * 15, &[]) }, By::Anybody).unwrap();
        }
        assert!(wal() > LARGE_WAL);
        drop(reader);
        ledger.sign().unwrap();
        assert!(wal() < LARGE_WAL);
    }

    #[test]
    fn work_that_fails_half_done_takes_along_only_what_would_be_committed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(crate::base::SystemClock);
        let ledger = Sqlite::open(folder.path(), open(folder.path()).keys(), clock).unwrap();
        let put = |connection: &Connection, key: &str| {
            let once = Once { scope: "s".into(), key: key.into(), value: "v".into() };
            claim_one(connection, &once)
        };
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // The first one waits until the others stand behind it.
            let before = scope.spawn(|| {
                ledger.writer.write(move |connection| {
                    began.send(()).unwrap();
                    held.recv().unwrap();
                    put(connection, "before")
                })
            });
            begun.recv().unwrap();
            let behind = |half: bool| {
                ledger.writer.write(move |connection| {
                    put(connection, if half { "half" } else { "behind" })?;
                    if half { Err(LedgerError::Store("it failed".into())) } else { Ok(()) }
                })
            };
            let half = scope.spawn(move || behind(true));
            std::thread::sleep(Duration::from_millis(100));
            let behind = scope.spawn(move || behind(false));
            std::thread::sleep(Duration::from_millis(100));
            hold.send(()).unwrap();
            assert!(before.join().unwrap().unwrap_err().to_string().contains("undone"));
            assert!(half.join().unwrap().unwrap_err().to_string().contains("it failed"));
            behind.join().unwrap().unwrap();
        });
        let there = ["before", "half", "behind"].map(|key| ledger.claimed("s", key).unwrap().is_some());
        assert_eq!(there, [false, false, true]);
    }

    #[test]
    fn a_full_disk_stops_nothing_but_what_it_hits() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(crate::base::SystemClock);
        let ledger = Sqlite::open(folder.path(), open(folder.path()).keys(), clock).unwrap();
        let pages: i64 = ledger
            .writer
            .alone(|connection| {
                let pages = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
                connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
                Ok(pages)
            })
            .unwrap();
        let once = |key: &str, value: String| Once { scope: "s".into(), key: key.into(), value };
        let error = ledger.claim(&once("large", "x".repeat(100_000))).unwrap_err();
        assert!(matches!(&error, LedgerError::Store(reason) if reason.contains("full")), "{error}");
        let more = move |connection: &Connection| {
            Ok(connection.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 1000))?)
        };
        ledger.writer.alone(more).unwrap();
        assert_eq!(ledger.claim(&once("large", "x".repeat(100_000))).unwrap().len(), 100_000);
    }
}
