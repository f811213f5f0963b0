//! Ledgers of earlier programs.

use super::super::entry::{Stored, Stream, StreamKind};
use super::super::secret::Secret;
use super::super::{Keys, LedgerError};
use super::NOT_LOOKED;
use super::schema::{NEWEST, SCHEMA, SCHEMA_VERSION};
use super::sqlite::{connect, insert};
use super::totals::SQLITE;
use crate::base::{Digest, Timestamp};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::path::Path;

/// Whether there is a ledger of a form that is encrypted.
pub fn has_keys(path: &Path) -> bool {
    let version =
        || connect(path)?.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(LedgerError::from);
    path.exists() && version().is_ok_and(|version: i64| version >= 2)
}

/// Schema 1 had plain bodies in a chain of hashes. Every entry gets its place in the tree, in the same order, and what
/// is about customers is encrypted; then nothing of the plain text is left in the file.
///
/// # Errors
/// An entry that is not what was written, a store that fails. Then the ledger stays as it was.
pub fn from_1(connection: &Connection, keys: &Keys) -> Result<(), LedgerError> {
    connection.execute_batch(
        "PRAGMA secure_delete = ON;
         BEGIN IMMEDIATE;
         DROP TRIGGER IF EXISTS entries_are_final; DROP TRIGGER IF EXISTS entries_stay; DROP INDEX heads_by_status;
         ALTER TABLE entries RENAME TO entries_1; ALTER TABLE heads RENAME TO heads_1; ALTER TABLE once RENAME TO once_1;",
    )?;
    let copied = connection
        .execute_batch(&format!("{SCHEMA} {SQLITE}"))
        .map_err(LedgerError::from)
        .and_then(|()| copy(connection, keys));
    if let Err(error) = copied {
        connection.execute_batch("ROLLBACK")?;
        return Err(error);
    }
    connection.execute_batch(&format!(
        "DROP TABLE entries_1; DROP TABLE heads_1; DROP TABLE once_1;
         PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;
         VACUUM; PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

/// Schema 2 did not have the index of subjects, and neither it nor schema 3 counted what is done: totals begin now. Schema
/// 4 could not list the newest streams without all the others.
pub fn from_2(connection: &Connection, version: i64) -> Result<(), LedgerError> {
    let subjects = format!(
        "CREATE TABLE subjects (
           subject TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (subject, kind, name)
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX subjects_by_stream ON subjects (kind, name);
         INSERT INTO subjects SELECT '{NOT_LOOKED}', kind, name FROM heads WHERE kind = 'case';"
    );
    let subjects = if version == 2 { subjects.as_str() } else { "" };
    let totals = if version < 4 { SQLITE } else { "" };
    let made = connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {subjects} {totals} {NEWEST} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ));
    if made.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(made?)
}

fn copy(connection: &Connection, keys: &Keys) -> Result<(), LedgerError> {
    let mut of_stream: HashMap<String, (String, Secret)> = HashMap::new();
    let mut previous = Digest::of(b"prokura ledger 1");
    let mut rows = connection.prepare(
        "SELECT position, stream, seq, kind, at, digests, body, hash FROM entries_1 ORDER BY position",
    )?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (position, seq, at): (u64, u64, i64) = (row.get(0)?, row.get(2)?, row.get(4)?);
        let (stream, kind): (String, String) = (row.get(1)?, row.get(3)?);
        let (digests, body, hash): (String, String, String) = (row.get(5)?, row.get(6)?, row.get(7)?);
        previous = Digest::of_parts([
            previous.as_str().as_bytes(),
            position.to_le_bytes().as_slice(),
            stream.as_bytes(),
            seq.to_le_bytes().as_slice(),
            kind.as_bytes(),
            at.to_le_bytes().as_slice(),
            digests.as_bytes(),
            body.as_bytes(),
        ]);
        if previous.as_str() != hash {
            let reason = format!("entry {position} of a ledger of schema 1 is not what was written");
            return Err(LedgerError::Damaged { stream, reason });
        }
        let personal = stream.starts_with(&Stream::new(StreamKind::Case, "").to_string());
        if personal && !of_stream.contains_key(&stream) {
            of_stream.insert(stream.clone(), keys.fresh()?);
        }
        let key = of_stream.get(&stream).map(|(name, secret)| (name.as_str(), secret));
        let place = (stream.as_str(), seq);
        insert(
            connection,
            &Stored::new(place, &kind, Timestamp::from_millis(at), &digests, key, body.as_bytes()),
        )?;
    }
    connection.execute_batch(
        "INSERT INTO once SELECT * FROM once_1;
         INSERT INTO heads (kind, name, length, status, at) SELECT kind, name, length, status, at FROM heads_1;
         INSERT INTO subjects SELECT '', kind, name FROM heads WHERE kind = 'case';",
    )?;
    for (stream, (key, _)) in of_stream {
        let name = stream.split_once('/').map_or("", |(_, name)| name);
        connection
            .execute("UPDATE heads SET key = ?1 WHERE kind = 'case' AND name = ?2", params![key, name])?;
    }
    Ok(())
}
