//! How often and how much was done of late, by scope and hour, in both stores. A reservation counts from the transaction
//! that writes its intent, and it keeps what the totals were then: whoever came later sees it, and it sees nobody who
//! came later.

use super::super::LedgerError;
use super::super::entry::{Reservation, Stream, Sum, Total};
use super::Batch;
use crate::base::Timestamp;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use tokio_postgres::{Row, Transaction};

const HOUR: i64 = 3_600_000;

/// The hour that runs counts, and so many full ones before it: a window is never shorter than it says.
const DAY: i64 = 24;
const MONTH: i64 = 30 * DAY;

pub const SQLITE: &str = "
CREATE TABLE totals (
  scope    TEXT NOT NULL,
  hour     INTEGER NOT NULL,
  currency TEXT NOT NULL,
  amount   INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  PRIMARY KEY (scope, hour, currency)
) STRICT, WITHOUT ROWID;
CREATE TABLE reserved (
  call     TEXT PRIMARY KEY,
  stream   TEXT NOT NULL,
  hour     INTEGER NOT NULL,
  currency TEXT NOT NULL,
  amount   INTEGER NOT NULL,
  scopes   TEXT NOT NULL,
  found    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reserved_by_stream ON reserved (stream);
CREATE INDEX reserved_by_hour ON reserved (hour);
";

pub const POSTGRES: &str = "
CREATE TABLE totals (
  scope text NOT NULL, hour bigint NOT NULL, currency text NOT NULL, amount bigint NOT NULL, count bigint NOT NULL,
  PRIMARY KEY (scope, hour, currency)
);
CREATE TABLE reserved (
  call text PRIMARY KEY, stream text NOT NULL, hour bigint NOT NULL, currency text NOT NULL, amount bigint NOT NULL,
  scopes text NOT NULL, found text NOT NULL
);
CREATE INDEX reserved_by_stream ON reserved (stream);
CREATE INDEX reserved_by_hour ON reserved (hour);
";

const fn hour_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR)
}

fn text<T: serde::Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Store(error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|_| LedgerError::Damaged {
        stream: "*".to_owned(),
        reason: "a reservation is not of the form in which it was written".to_owned(),
    })
}

/// The columns of a `Total`: `from` is the first hour that counts.
fn sums(day: &str, from: &str, scopes: &str) -> String {
    format!(
        "SELECT scope, currency,
           CAST(coalesce(sum(CASE WHEN hour >= {day} THEN count END), 0) AS BIGINT),
           CAST(coalesce(sum(CASE WHEN hour >= {day} THEN amount END), 0) AS BIGINT),
           CAST(sum(count) AS BIGINT), CAST(sum(amount) AS BIGINT)
         FROM totals WHERE scope IN ({scopes}) AND hour >= {from} GROUP BY scope, currency ORDER BY scope, currency"
    )
}

pub fn sqlite_totals(
    connection: &Connection,
    scopes: &[String],
    at: Timestamp,
) -> Result<Vec<Total>, LedgerError> {
    let hour = hour_of(at);
    let places: Vec<String> = (0..scopes.len()).map(|n| format!("?{}", n + 1)).collect();
    let sql = sums(&(hour - DAY).to_string(), &(hour - MONTH).to_string(), &places.join(", "));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(scopes), |row| {
        Ok(Total {
            scope: row.get(0)?,
            currency: row.get(1)?,
            day: Sum { count: row.get(2)?, amount: row.get(3)? },
            month: Sum { count: row.get(4)?, amount: row.get(5)? },
        })
    })?;
    rows.map(|row| Ok(row?)).collect()
}

/// What comes to nothing first: its place may be taken in the same batch.
pub fn sqlite_count(connection: &Connection, batch: &Batch) -> Result<(), LedgerError> {
    batch.free.iter().try_for_each(|call| sqlite_free(connection, call))?;
    batch.reserve.iter().try_for_each(|reserved| sqlite_reserve(connection, &batch.stream, reserved))
}

fn sqlite_reserve(
    connection: &Connection,
    stream: &Stream,
    reservation: &Reservation,
) -> Result<(), LedgerError> {
    let Reservation { call, scopes, at, currency, amount } = reservation;
    let hour = hour_of(*at);
    let mut add = connection.prepare_cached(
        "INSERT INTO totals (scope, hour, currency, amount, count) VALUES (?1, ?2, ?3, ?4, 1)
         ON CONFLICT (scope, hour, currency) DO UPDATE SET amount = amount + ?4, count = count + 1",
    )?;
    let mut lapse = connection.prepare_cached("DELETE FROM totals WHERE scope = ?1 AND hour < ?2")?;
    for scope in scopes {
        add.execute(params![scope, hour, currency, amount])?;
        lapse.execute(params![scope, hour - MONTH])?;
    }
    connection.prepare_cached("DELETE FROM reserved WHERE hour < ?1")?.execute(params![hour - MONTH])?;
    let found = sqlite_totals(connection, scopes, *at)?;
    connection
        .prepare_cached(
            "INSERT INTO reserved (call, stream, hour, currency, amount, scopes, found)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![call, stream.to_string(), hour, currency, amount, text(scopes)?, text(&found)?])?;
    Ok(())
}

fn sqlite_free(connection: &Connection, call: &str) -> Result<(), LedgerError> {
    let mut known = connection
        .prepare_cached("DELETE FROM reserved WHERE call = ?1 RETURNING scopes, hour, currency, amount")?;
    let freed = known.query_row(params![call], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
    });
    // It lapsed, or an earlier program made the call.
    let Some((scopes, hour, currency, amount)) = freed.optional()? else { return Ok(()) };
    let mut subtract = connection.prepare_cached(
        "UPDATE totals SET amount = amount - ?4, count = count - 1 WHERE scope = ?1 AND hour = ?2 AND currency = ?3",
    )?;
    for scope in parsed::<Vec<String>>(&scopes)? {
        subtract.execute(params![scope, hour, currency, amount])?;
    }
    Ok(())
}

pub fn sqlite_reserved(connection: &Connection, call: &str) -> Result<Option<Vec<Total>>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT found FROM reserved WHERE call = ?1")?;
    let found: Option<String> = statement.query_row(params![call], |row| row.get(0)).optional()?;
    found.map(|found| parsed(&found)).transpose()
}

pub const OF_CALL: &str = "SELECT found FROM reserved WHERE call = $1";

pub fn postgres_found(rows: &[Row]) -> Result<Option<Vec<Total>>, LedgerError> {
    let Some(row) = rows.first() else { return Ok(None) };
    parsed(row.try_get(0)?).map(Some)
}

/// The statement whose first value is the list of scopes.
pub fn postgres_sums(at: Timestamp) -> String {
    let hour = hour_of(at);
    sums(&(hour - DAY).to_string(), &(hour - MONTH).to_string(), "SELECT unnest($1::text[])")
}

pub fn postgres_total(row: &Row) -> Result<Total, LedgerError> {
    Ok(Total {
        scope: row.try_get(0)?,
        currency: row.try_get(1)?,
        day: Sum { count: row.try_get(2)?, amount: row.try_get(3)? },
        month: Sum { count: row.try_get(4)?, amount: row.try_get(5)? },
    })
}

/// Until the transaction ends, nobody else changes these totals. Everybody takes them in the same order.
async fn alone(tx: &Transaction<'_>, scopes: &[String]) -> Result<(), LedgerError> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(s, 0))
         FROM (SELECT s FROM unnest($1::text[]) s ORDER BY s COLLATE \"C\") sorted";
    tx.query(sql, &[&scopes]).await?;
    Ok(())
}

pub async fn postgres_count(tx: &Transaction<'_>, batch: &Batch) -> Result<(), LedgerError> {
    for call in &batch.free {
        postgres_free(tx, call).await?;
    }
    for reserved in &batch.reserve {
        postgres_reserve(tx, &batch.stream, reserved).await?;
    }
    Ok(())
}

async fn postgres_reserve(
    tx: &Transaction<'_>,
    stream: &Stream,
    reservation: &Reservation,
) -> Result<(), LedgerError> {
    let Reservation { call, scopes, at, currency, amount } = reservation;
    let (hour, oldest) = (hour_of(*at), hour_of(*at) - MONTH);
    alone(tx, scopes).await?;
    let add = "INSERT INTO totals (scope, hour, currency, amount, count)
         SELECT s, $2, $3, $4, 1 FROM unnest($1::text[]) s
         ON CONFLICT (scope, hour, currency)
         DO UPDATE SET amount = totals.amount + excluded.amount, count = totals.count + 1";
    tx.execute(add, &[scopes, &hour, currency, amount]).await?;
    tx.execute("DELETE FROM totals WHERE scope = ANY($1) AND hour < $2", &[scopes, &oldest]).await?;
    tx.execute("DELETE FROM reserved WHERE hour < $1", &[&oldest]).await?;
    let rows = tx.query(&postgres_sums(*at), &[scopes]).await?;
    let found = rows.iter().map(postgres_total).collect::<Result<Vec<_>, _>>()?;
    let insert = "INSERT INTO reserved (call, stream, hour, currency, amount, scopes, found)
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (stream, of, found) = (stream.to_string(), text(scopes)?, text(&found)?);
    tx.execute(insert, &[call, &stream, &hour, currency, amount, &of, &found]).await?;
    Ok(())
}

async fn postgres_free(tx: &Transaction<'_>, call: &str) -> Result<(), LedgerError> {
    let known = "DELETE FROM reserved WHERE call = $1 RETURNING scopes, hour, currency, amount";
    let Some(row) = tx.query_opt(known, &[&call]).await? else { return Ok(()) };
    let scopes: Vec<String> = parsed(row.try_get(0)?)?;
    let (hour, currency, amount): (i64, String, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    alone(tx, &scopes).await?;
    let subtract = "UPDATE totals SET amount = amount - $4, count = count - 1
         WHERE scope = ANY($1) AND hour = $2 AND currency = $3";
    tx.execute(subtract, &[&scopes, &hour, &currency, &amount]).await?;
    Ok(())
}
