//! The tables of the embedded store, and what brings those of the program before up to them, in both stores.

pub(super) const SCHEMA_VERSION: i64 = 5;

/// `position` counts from 1.
pub(super) const SCHEMA: &str = "
CREATE TABLE entries (
  position INTEGER PRIMARY KEY,
  stream   TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  at       INTEGER NOT NULL,
  digests  TEXT NOT NULL,
  key      TEXT,
  body     BLOB NOT NULL,
  leaf     BLOB NOT NULL,
  UNIQUE (stream, seq)
) STRICT;
CREATE TABLE heads (
  kind   TEXT NOT NULL,
  name   TEXT NOT NULL,
  length INTEGER NOT NULL,
  status TEXT NOT NULL,
  at     INTEGER NOT NULL,
  key    TEXT,
  due      INTEGER,
  node     TEXT,
  epoch    INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX heads_newest ON heads (kind, status, at);
CREATE INDEX heads_due ON heads (kind, due) WHERE due IS NOT NULL;
CREATE TABLE nodes (
  name  TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE once (
  scope TEXT NOT NULL,
  key   TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE subjects (
  subject TEXT NOT NULL,
  kind    TEXT NOT NULL,
  name    TEXT NOT NULL,
  PRIMARY KEY (subject, kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX subjects_by_stream ON subjects (kind, name);
CREATE TABLE tiles (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, number)
) STRICT;
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,
  note BLOB NOT NULL
) STRICT;
CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
CREATE TRIGGER entries_stay BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are final'); END;
";

/// What brings schema 4 up to schema 5.
pub(super) const NEWEST: &str =
    "DROP INDEX heads_by_status; CREATE INDEX heads_newest ON heads (kind, status, at);";
