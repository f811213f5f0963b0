//! The shared store: PostgreSQL, for several nodes that work on the same cases.

use super::super::entry::{Leaf, Once, Total};
use super::super::{LedgerError, Tile};
use super::{Batch, By, Claim, Head, NOT_LOOKED, Store, Stored, Stream, StreamKind, Told, totals};
use crate::base::Timestamp;
use crate::base::postgres::{NotConnected, Postgres as Connections};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

/// Settings of each session, whatever the server's are: a commit is on the disk before it is answered, who waits for a
/// row waits for a while only, and a node that stands still in a transaction does not keep its rows from the others.
pub const OPTIONS: &str = "-c synchronous_commit=on -c lock_timeout=10000 \
    -c idle_in_transaction_session_timeout=10000 -c default_transaction_isolation=read\\ committed";

/// A statement may take so long.
const STATEMENT: Duration = Duration::from_secs(30);

const SCHEMA_VERSION: i32 = 5;

/// `id` has gaps and grows as transactions begin, not as they are committed: what is committed waits in `unplaced` until
/// one node gives it its place in the log.
const SCHEMA: &str = "
CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (5);
CREATE TABLE entries (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream  text   NOT NULL,
  seq     bigint NOT NULL,
  kind    text   NOT NULL,
  at      bigint NOT NULL,
  digests text   NOT NULL,
  key     text,
  body    bytea  NOT NULL,
  leaf    bytea  NOT NULL,
  UNIQUE (stream, seq)
);
CREATE TABLE unplaced (entry bigint PRIMARY KEY REFERENCES entries);
CREATE TABLE places (index bigint PRIMARY KEY, entry bigint NOT NULL UNIQUE REFERENCES entries);
CREATE TABLE heads (
  kind     text    NOT NULL,
  name     text    NOT NULL,
  length   bigint  NOT NULL,
  status   text    NOT NULL,
  at       bigint  NOT NULL,
  key      text,
  due      bigint,
  node     text,
  epoch    bigint  NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, name)
);
CREATE INDEX heads_newest ON heads (kind, status, at);
CREATE INDEX heads_due ON heads (kind, due) WHERE due IS NOT NULL;
CREATE TABLE nodes (name text PRIMARY KEY, until bigint NOT NULL);
CREATE TABLE once (scope text NOT NULL, key text NOT NULL, value text NOT NULL, PRIMARY KEY (scope, key));
CREATE TABLE subjects (
  subject text NOT NULL, kind text NOT NULL, name text NOT NULL, PRIMARY KEY (subject, kind, name)
);
CREATE INDEX subjects_by_stream ON subjects (kind, name);
CREATE TABLE tiles (level smallint NOT NULL, number bigint NOT NULL, hashes bytea NOT NULL, PRIMARY KEY (level, number));
CREATE TABLE checkpoints (size bigint PRIMARY KEY, note bytea NOT NULL);
CREATE FUNCTION entries_are_final() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'entries are final'; END $$;
CREATE TRIGGER entries_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
  FOR EACH STATEMENT EXECUTE FUNCTION entries_are_final();
";

/// Statements that are sent one after the other.
type Parts = &'static [&'static str];

/// What brings an earlier program's schema up to the next one.
const EARLIER: &[(i32, Parts)] = &[
    (2, &[FROM_2]),
    (3, &[totals::POSTGRES, "UPDATE schema_version SET version = 4;"]),
    (4, &[super::schema::NEWEST, "UPDATE schema_version SET version = 5;"]),
];

const FROM_2: &str = "
CREATE TABLE subjects (
  subject text NOT NULL, kind text NOT NULL, name text NOT NULL, PRIMARY KEY (subject, kind, name)
);
CREATE INDEX subjects_by_stream ON subjects (kind, name);
INSERT INTO subjects SELECT '', kind, name FROM heads WHERE kind = 'case';
UPDATE schema_version SET version = 3;
";

/// Held by whoever makes the schema, or gives entries their places: any number will do.
const SEQUENCER: i64 = 0x7072_6f6b_7572_6131;

/// What nodes tell one another on it: a stream that has grown, with `due ` before it where nobody holds it.
const CHANNEL: &str = "prokura";
const DUE: &str = "due ";

/// So many entries get their places in one transaction.
const PLACED: i64 = 10_000;

const COLUMNS: &str = "e.stream, e.seq, e.kind, e.at, e.digests, e.key, e.body, e.leaf, p.index";

/// Milliseconds since 1970, by the server's clock.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Connections to one server, for callers on any thread.
pub(super) struct Session {
    pool: Arc<Pool>,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever drops it may be on a thread that must not wait.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

pub struct Postgres(pub(super) Session);

pub(super) struct Pool {
    connections: Connections,
    idle: Mutex<Vec<Client>>,
    turns: Arc<Semaphore>,
}

/// A node has so many connections to a database at most, and one that listens: a server has 100 by default.
const MOST_CONNECTIONS: usize = 24;

/// A connection while somebody uses it. One that is not given back is closed.
pub(super) struct Lent {
    client: Client,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Pool {
    pub(super) async fn client(&self) -> Result<Lent, LedgerError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        self.lent(Some(turn.map_err(|error| LedgerError::Store(error.to_string()))?)).await
    }

    async fn lent(&self, _turn: Option<OwnedSemaphorePermit>) -> Result<Lent, LedgerError> {
        loop {
            let known = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match known {
                Some(client) if client.is_closed() => {}
                Some(client) => return Ok(Lent { client, _turn }),
                None => break,
            }
        }
        let made = self.connections.connect(STATEMENT).await.map_err(|error| match error {
            NotConnected::TimedOut | NotConnected::Refused => {
                LedgerError::Store("PostgreSQL does not answer".to_owned())
            }
            NotConnected::Failed(error) => failed(&error),
        });
        made.map(|client| Lent { client, _turn })
    }

    pub(super) fn give_back(&self, lent: Lent) {
        if !lent.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lent.client);
        }
    }
}

/// PostgreSQL's own texts may repeat values; the codes do not.
fn failed(error: &tokio_postgres::Error) -> LedgerError {
    match error.code() {
        Some(code) => LedgerError::Store(format!("PostgreSQL refused: SQLSTATE {}", code.code())),
        None => LedgerError::Store("the connection to PostgreSQL ended".to_owned()),
    }
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        failed(&error)
    }
}

pub(super) type Work<T> = Result<T, LedgerError>;

impl Session {
    /// Connects, makes the schema where there is none, and refuses a server that would lose what it has confirmed.
    pub(super) fn open(
        connections: Connections,
        schema: Parts,
        version: i32,
        earlier: &'static [(i32, Parts)],
    ) -> Work<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("ledger").enable_all().build();
        let runtime = Some(runtime.map_err(|error| LedgerError::Store(error.to_string()))?);
        let turns = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let session = Self { pool: Arc::new(Pool { connections, idle: Mutex::default(), turns }), runtime };
        session.run(move |pool| async move {
            let mut client = pool.client().await?;
            sound(&client).await?;
            make(&mut client, schema, version, earlier).await?;
            pool.give_back(client);
            Ok(())
        })?;
        Ok(session)
    }

    /// On threads of its own: a caller may be on a thread of another runtime.
    pub(super) fn run<T: Send + 'static, F: Future<Output = Work<T>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Pool>) -> F,
    ) -> Work<T> {
        let (tell, told) = std::sync::mpsc::channel();
        let work = work(Arc::clone(&self.pool));
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move { drop(tell.send(work.await)) });
        }
        told.recv().unwrap_or_else(|_| Err(LedgerError::Store("the store has ended".to_owned())))
    }

    pub(super) fn rows(&self, sql: String, values: Values) -> Work<Vec<Row>> {
        self.run(|pool| async move { answered(&pool, pool.client().await?, &sql, &values).await })
    }

    /// Without waiting for others: a node that cannot say that it lives loses all its cases.
    fn rows_at_once(&self, sql: String, values: Values) -> Work<Vec<Row>> {
        self.run(|pool| async move { answered(&pool, pool.lent(None).await?, &sql, &values).await })
    }
}

async fn answered(pool: &Pool, client: Lent, sql: &str, values: &Values) -> Work<Vec<Row>> {
    let rows = client.query(&client.prepare(sql).await?, &borrowed(values)).await;
    pool.give_back(client);
    Ok(rows?)
}

impl Postgres {
    /// # Errors
    /// A server that cannot be reached, or must not be trusted with a ledger; a schema of another program.
    pub fn open(connections: Connections) -> Work<Self> {
        Session::open(connections, &[SCHEMA, totals::POSTGRES], SCHEMA_VERSION, EARLIER).map(Self)
    }
}

pub(super) type Values = Vec<Box<dyn ToSql + Sync + Send>>;

fn borrowed(values: &Values) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}

/// Values of a statement.
macro_rules! values {
    ($($value:expr),*) => { vec![$(Box::new($value) as Box<dyn tokio_postgres::types::ToSql + Sync + Send>),*] };
}

pub(super) use values;

/// # Errors
/// Settings of the server with which a power cut loses what was confirmed, or tears pages.
async fn sound(client: &Client) -> Work<()> {
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await?;
        let value: String = row.try_get(0)?;
        if value == "off" {
            let problem =
                format!("PostgreSQL runs with {name} = off, and a power cut would lose events; turn it on");
            return Err(LedgerError::Store(problem));
        }
    }
    Ok(())
}

/// `earlier` are the versions that can be brought up to the next one, and how, in order.
async fn make(client: &mut Client, schema: Parts, version: i32, earlier: &[(i32, Parts)]) -> Work<()> {
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&SEQUENCER]).await?;
    let there: bool =
        tx.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?.try_get(0)?;
    if !there {
        for part in schema {
            tx.batch_execute(part).await?;
        }
    }
    let version_of = "SELECT version FROM schema_version";
    let mut found: i32 = tx.query_one(version_of, &[]).await?.try_get(0)?;
    for (earlier, changes) in earlier {
        if *earlier != found {
            continue;
        }
        let living = format!("SELECT count(*) FROM nodes WHERE until > {NOW}");
        if tx.query_one(&living, &[]).await?.try_get::<_, i64>(0)? > 0 {
            // They would go on writing as the earlier program does.
            let problem = "a node of an earlier program works on this ledger; stop all of them before the first of this one";
            return Err(LedgerError::Store(problem.to_owned()));
        }
        for part in *changes {
            tx.batch_execute(part).await?;
        }
        found = tx.query_one(version_of, &[]).await?.try_get(0)?;
    }
    if found != version {
        let (found, known) = (found.into(), version.into());
        return Err(LedgerError::Schema { path: "PostgreSQL".into(), found, known });
    }
    Ok(tx.commit().await?)
}

impl Store for Postgres {
    fn append(&self, batch: Batch) -> Work<Option<Claim>> {
        self.0.run(|pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            let claim = match write(&tx, &batch).await {
                Ok(claim) => claim,
                Err(refused) => {
                    // The next one need not connect again, where this works.
                    if refused.is_refusal() && tx.rollback().await.is_ok() {
                        pool.give_back(client);
                    }
                    return Err(refused);
                }
            };
            let committed = tx.commit().await;
            pool.give_back(client);
            match committed {
                Ok(()) => {}
                // Nobody knows what came of it: the entries say so themselves.
                Err(_) if settled(&pool, &batch).await? => {}
                Err(error) => return Err(failed(&error)),
            }
            let free = claim.is_none() && batch.due.is_some();
            tokio::spawn(tell(pool, batch.stream.to_string(), free));
            Ok(claim)
        })
    }

    fn now(&self) -> Work<Timestamp> {
        let rows = self.0.rows(format!("SELECT {NOW}"), values![])?;
        one(&rows)?.try_get(0).map(Timestamp::from_millis).map_err(|error| failed(&error))
    }

    fn beat(&self, node: &str, milliseconds: i64) -> Work<()> {
        if milliseconds == 0 {
            self.0
                .rows("UPDATE heads SET node = NULL WHERE node = $1".to_owned(), values![node.to_owned()])?;
            self.0.rows("DELETE FROM nodes WHERE name = $1".to_owned(), values![node.to_owned()])?;
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO nodes (name, until) VALUES ($1, {NOW} + $2)
             ON CONFLICT (name) DO UPDATE SET until = excluded.until"
        );
        self.0.rows_at_once(sql, values![node.to_owned(), milliseconds]).map(drop)
    }

    fn forget_nodes(&self) -> Work<()> {
        self.0.rows("UPDATE heads SET node = NULL WHERE node IS NOT NULL".to_owned(), values![])?;
        self.0.rows("DELETE FROM nodes".to_owned(), values![]).map(drop)
    }

    fn take(&self, kind: StreamKind, node: &str, most: usize) -> Work<Vec<Claim>> {
        let sql = format!(
            "WITH due AS (
               SELECT kind, name FROM heads h WHERE kind = $1 AND due <= {NOW}
                 AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.name = h.node AND n.until > {NOW}))
               ORDER BY due LIMIT $3 FOR UPDATE SKIP LOCKED)
             UPDATE heads h SET node = $2, epoch = epoch + 1, attempts = attempts + 1
             FROM due WHERE h.kind = due.kind AND h.name = due.name RETURNING h.name, h.epoch, h.attempts"
        );
        let rows = self.0.rows(sql, values![kind.as_str(), node.to_owned(), most as i64])?;
        rows.iter().map(|row| claim_of(kind, row)).collect()
    }

    fn held(&self, kind: StreamKind, node: &str) -> Work<Vec<String>> {
        let sql = "SELECT name FROM heads WHERE kind = $1 AND node = $2 ORDER BY name COLLATE \"C\"";
        let rows = self.0.rows(sql.to_owned(), values![kind.as_str(), node.to_owned()])?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    fn take_one(&self, stream: &Stream, node: &str) -> Work<Option<Claim>> {
        let sql = format!(
            "UPDATE heads h SET node = $3, epoch = epoch + 1, attempts = attempts + 1
             WHERE kind = $1 AND name = $2
               AND (node IS NULL OR node = $3 OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.name = h.node AND n.until > {NOW}))
             RETURNING h.name, h.epoch, h.attempts"
        );
        let rows = self.0.rows(sql, values![stream.kind.as_str(), stream.name.clone(), node.to_owned()])?;
        rows.first().map(|row| claim_of(stream.kind, row)).transpose()
    }

    fn holds(&self, claim: &Claim, node: &str, length: u64) -> Work<bool> {
        let sql = format!(
            "SELECT 1 FROM heads h JOIN nodes n ON n.name = h.node AND n.until > {NOW}
             WHERE h.kind = $1 AND h.name = $2 AND h.node = $3 AND h.epoch = $4 AND h.length = $5"
        );
        let (kind, name) = (claim.stream.kind.as_str(), claim.stream.name.clone());
        let values = values![kind, name, node.to_owned(), claim.epoch as i64, length as i64];
        Ok(!self.0.rows(sql, values)?.is_empty())
    }

    fn release(&self, claim: &Claim, due: Option<Timestamp>, attempts: u32) -> Work<()> {
        let sql = "UPDATE heads SET node = NULL, due = coalesce($4, due), attempts = $5
             WHERE kind = $1 AND name = $2 AND epoch = $3 AND node IS NOT NULL";
        let (kind, name) = (claim.stream.kind.as_str(), claim.stream.name.clone());
        let due = due.map(Timestamp::as_millis);
        self.0.rows(sql.to_owned(), values![kind, name, claim.epoch as i64, due, attempts as i32]).map(drop)
    }

    fn stream(&self, stream: &Stream, from: u64) -> Work<Vec<Stored>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entries e LEFT JOIN places p ON p.entry = e.id
             WHERE e.stream = $1 AND e.seq >= $2 ORDER BY e.seq"
        );
        self.0.rows(sql, values![stream.to_string(), from as i64])?.iter().map(stored).collect()
    }

    fn head(&self, stream: &Stream) -> Work<Option<Head>> {
        let sql = "SELECT name, length, status, at, key FROM heads WHERE kind = $1 AND name = $2";
        let rows = self.0.rows(sql.to_owned(), values![stream.kind.as_str(), stream.name.clone()])?;
        rows.first().map(head).transpose()
    }

    fn heads(&self, kind: StreamKind, status: Option<&str>, most: Option<u32>) -> Work<Vec<Head>> {
        let within = if status.is_some() { "status = $2" } else { "$2::text IS NULL" };
        let sql = format!(
            "SELECT name, length, status, at, key FROM heads
             WHERE kind = $1 AND {within} ORDER BY at DESC, name COLLATE \"C\" LIMIT $3"
        );
        let rows =
            self.0.rows(sql, values![kind.as_str(), status.map(str::to_owned), most.map(i64::from)])?;
        rows.iter().map(head).collect()
    }

    fn claim(&self, once: &Once) -> Work<String> {
        let Once { scope, key, value } = once.clone();
        let sql = "INSERT INTO once (scope, key, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        self.0.rows(sql.to_owned(), values![scope, key, value])?;
        Ok(self.claimed(&once.scope, &once.key)?.unwrap_or_else(|| once.value.clone()))
    }

    fn claimed(&self, scope: &str, key: &str) -> Work<Option<String>> {
        let sql = "SELECT value FROM once WHERE scope = $1 AND key = $2";
        let rows = self.0.rows(sql.to_owned(), values![scope.to_owned(), key.to_owned()])?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn totals(&self, scopes: Vec<String>, at: Timestamp) -> Work<Vec<Total>> {
        let rows = self.0.rows(totals::postgres_sums(at), values![scopes])?;
        rows.iter().map(totals::postgres_total).collect()
    }

    fn reserved(&self, call: &str) -> Work<Option<Vec<Total>>> {
        totals::postgres_found(&self.0.rows(totals::OF_CALL.to_owned(), values![call.to_owned()])?)
    }

    fn streams_of(&self, kind: StreamKind, subject: &str) -> Work<Vec<String>> {
        let sql = "SELECT name FROM subjects WHERE subject = $1 AND kind = $2 ORDER BY name COLLATE \"C\"";
        let rows = self.0.rows(sql.to_owned(), values![subject.to_owned(), kind.as_str()])?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    fn subjects_of(&self, stream: &Stream) -> Work<Vec<String>> {
        let sql = "SELECT subject FROM subjects WHERE kind = $1 AND name = $2 ORDER BY subject COLLATE \"C\"";
        let rows = self.0.rows(sql.to_owned(), values![stream.kind.as_str(), stream.name.clone()])?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    fn note_subjects(&self, stream: &Stream, subjects: Vec<String>) -> Work<()> {
        let stream = stream.clone();
        self.0.run(|pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            note_subjects(&tx, &stream, &subjects).await?;
            let sql = "DELETE FROM subjects WHERE subject = $1 AND kind = $2 AND name = $3";
            tx.execute(sql, &[&NOT_LOOKED, &stream.kind.as_str(), &stream.name]).await?;
            tx.commit().await?;
            pool.give_back(client);
            Ok(())
        })
    }

    fn forget_subjects(&self, streams: &[Stream]) -> Work<()> {
        for stream in streams {
            let sql = "DELETE FROM subjects WHERE kind = $1 AND name = $2";
            self.0.rows(sql.to_owned(), values![stream.kind.as_str(), stream.name.clone()])?;
            self.0.rows("DELETE FROM reserved WHERE stream = $1".to_owned(), values![stream.to_string()])?;
        }
        Ok(())
    }

    fn listen(&self, told: Box<dyn Fn(Told<'_>) + Send + Sync>) {
        let (pool, told) = (Arc::clone(&self.0.pool), Arc::new(told));
        let hear = async move {
            loop {
                let told = Arc::clone(&told);
                let heard = move |payload: &str| {
                    told(payload.strip_prefix(DUE).map_or(Told::Grown(payload), Told::Due));
                };
                if let Ok(client) = pool.connections.connect_and_hear(STATEMENT, heard).await
                    && client.batch_execute(&format!("LISTEN {CHANNEL}")).await.is_ok()
                {
                    while !client.is_closed() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        if let Some(runtime) = &self.0.runtime {
            runtime.spawn(hear);
        }
    }

    fn sequence(&self) -> Work<u64> {
        self.0.run(|pool| async move {
            let mut client = pool.client().await?;
            let mut placed = PLACED as u64;
            let mut size = 0;
            while placed == PLACED as u64 {
                let tx = client.transaction().await?;
                // One node at a time; its lock ends with its transaction, however that ends.
                tx.execute("SELECT pg_advisory_xact_lock($1)", &[&SEQUENCER]).await?;
                placed = tx
                    .execute(
                        "WITH next AS (DELETE FROM unplaced WHERE entry IN
                           (SELECT entry FROM unplaced ORDER BY entry LIMIT $1) RETURNING entry)
                         INSERT INTO places (index, entry)
                         SELECT (SELECT coalesce(max(index) + 1, 0) FROM places) + row_number() OVER (ORDER BY entry) - 1,
                                entry FROM next",
                        &[&PLACED],
                    )
                    .await?;
                let row = tx.query_one("SELECT coalesce(max(index) + 1, 0) FROM places", &[]).await?;
                size = row.try_get::<_, i64>(0)? as u64;
                tx.commit().await?;
            }
            pool.give_back(client);
            Ok(size)
        })
    }

    fn range(&self, from: u64, most: usize) -> Work<Vec<Stored>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM places p JOIN entries e ON e.id = p.entry
             WHERE p.index >= $1 ORDER BY p.index LIMIT $2"
        );
        self.0.rows(sql, values![from as i64, most as i64])?.iter().map(stored).collect()
    }

    fn tile(&self, level: u8, number: u64) -> Work<Option<Vec<u8>>> {
        let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
        let rows = self.0.rows(sql.to_owned(), values![i16::from(level), number as i64])?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn checkpoint(&self) -> Work<Option<Vec<u8>>> {
        let rows =
            self.0.rows("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1".to_owned(), values![])?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    fn checkpoints(&self) -> Work<Vec<Vec<u8>>> {
        let rows = self.0.rows("SELECT note FROM checkpoints ORDER BY size".to_owned(), values![])?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    fn publish(
        &self,
        previous: Option<Vec<u8>>,
        tiles: Vec<Tile>,
        size: u64,
        checkpoint: Vec<u8>,
    ) -> Work<bool> {
        self.0.run(move |pool| async move {
            let mut client = pool.client().await?;
            let tx = client.transaction().await?;
            tx.execute("SELECT pg_advisory_xact_lock($1)", &[&SEQUENCER]).await?;
            let newest = tx.query_opt("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1", &[]).await?;
            let newest: Option<Vec<u8>> = newest.map(|row| row.try_get(0)).transpose()?;
            let same = newest == previous;
            if same {
                let insert = "INSERT INTO tiles (level, number, hashes) VALUES ($1, $2, $3)
                    ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes";
                for tile in &tiles {
                    let (level, number) = (i16::from(tile.level), tile.number as i64);
                    tx.execute(insert, &[&level, &number, &tile.hashes]).await?;
                }
                let insert = "INSERT INTO checkpoints (size, note) VALUES ($1, $2)";
                tx.execute(insert, &[&(size as i64), &checkpoint]).await?;
            }
            tx.commit().await?;
            pool.give_back(client);
            Ok(same)
        })
    }
}

/// Apart from the transaction: a notification in it would have every commit wait for every other one. Who does not hear
/// it looks for himself soon after.
async fn tell(pool: Arc<Pool>, stream: String, due: bool) {
    let payload = if due { format!("{DUE}{stream}") } else { stream };
    if let Ok(client) = pool.client().await
        && client.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &payload]).await.is_ok()
    {
        pool.give_back(client);
    }
}

/// Everything of a batch, in a transaction.
async fn write(tx: &Transaction<'_>, batch: &Batch) -> Work<Option<Claim>> {
    let (kind, name, stream) = (batch.stream.kind.as_str(), &batch.stream.name, batch.stream.to_string());
    for once in &batch.once {
        let insert = "INSERT INTO once (scope, key, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        if tx.execute(insert, &[&once.scope, &once.key, &once.value]).await? == 0 {
            let sql = "SELECT value FROM once WHERE scope = $1 AND key = $2";
            let value = tx.query_one(sql, &[&once.scope, &once.key]).await?.try_get(0)?;
            return Err(LedgerError::Used { scope: once.scope.clone(), value });
        }
    }
    let sql = format!(
        "SELECT length, node, epoch,
           EXISTS (SELECT 1 FROM nodes n WHERE n.name = h.node AND n.until > {NOW})
         FROM heads h WHERE kind = $1 AND name = $2 FOR UPDATE"
    );
    let (mut length, mut node, mut epoch, mut alive) = (0, None::<String>, 0, false);
    if let Some(row) = tx.query_opt(&sql, &[&kind, name]).await? {
        length = row.try_get::<_, i64>(0)? as u64;
        (node, epoch, alive) = (row.try_get(1)?, row.try_get::<_, i64>(2)? as u64, row.try_get(3)?);
    }
    let (node, given) = match &batch.by {
        By::Holder { epoch: held, .. } if *held != epoch || node.is_none() => {
            return Err(LedgerError::Lost { stream });
        }
        By::Anybody => (node, None),
        By::Claiming(own) if !alive => (Some(own.clone()), Some((epoch + 1, 1))),
        By::Claiming(_) => (node, None),
        By::Holder { done: true, .. } => (None, None),
        By::Holder { .. } => (node, Some((epoch, 0))),
    };
    if length != batch.expected {
        return Err(LedgerError::Conflict { stream, expected: batch.expected, actual: length });
    }
    let attempts = match (&batch.by, given) {
        (_, Some((_, attempts))) => Some(attempts),
        (By::Holder { .. }, None) => Some(0),
        _ => None,
    };
    let epoch = given.map_or(epoch, |(epoch, _)| epoch);
    let (at, due) = (batch.at().as_millis(), batch.due.map(Timestamp::as_millis));
    let after = (length + batch.entries.len() as u64) as i64;
    let changed = tx
        .execute(
            "INSERT INTO heads (kind, name, length, status, at, key, due, node, epoch, attempts)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, 0))
             ON CONFLICT (kind, name) DO UPDATE SET length = $3, status = $4, at = $5, due = $7, node = $8, epoch = $9,
               attempts = coalesce($10, heads.attempts)
             WHERE heads.length = $11",
            &[
                &kind, name, &after, &batch.status, &at, &batch.key, &due, &node, &(epoch as i64), &attempts,
                &(length as i64),
            ],
        )
        .await?;
    if changed == 0 {
        // Two opened the same stream at once, and this one came second.
        return Err(LedgerError::Conflict { stream, expected: batch.expected, actual: 1 });
    }
    insert(tx, &batch.entries).await?;
    totals::postgres_count(tx, batch).await?;
    note_subjects(tx, &batch.stream, &batch.subjects).await?;
    Ok(given.map(|(epoch, attempts)| Claim {
        stream: batch.stream.clone(),
        epoch,
        attempts: attempts as u32,
    }))
}

async fn note_subjects(tx: &Transaction<'_>, stream: &Stream, subjects: &[String]) -> Work<()> {
    let insert = "INSERT INTO subjects (subject, kind, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    for subject in subjects {
        tx.execute(insert, &[subject, &stream.kind.as_str(), &stream.name]).await?;
    }
    Ok(())
}

async fn insert(tx: &Transaction<'_>, entries: &[Stored]) -> Work<()> {
    let statement = tx
        .prepare(
            "WITH entry AS (INSERT INTO entries (stream, seq, kind, at, digests, key, body, leaf)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id)
             INSERT INTO unplaced SELECT id FROM entry",
        )
        .await?;
    for entry in entries {
        let (seq, at, leaf) = (entry.seq as i64, entry.at.as_millis(), entry.leaf.as_slice());
        let values: [&(dyn ToSql + Sync); 8] =
            [&entry.stream, &seq, &entry.kind, &at, &entry.digests, &entry.key, &entry.body, &leaf];
        tx.execute(&statement, &values).await?;
    }
    Ok(())
}

/// Whether a batch whose commit nobody answered is written: by its first entry, which nobody else can have.
async fn settled(pool: &Pool, batch: &Batch) -> Work<bool> {
    let Some(first) = batch.entries.first() else { return Ok(false) };
    let client = pool.client().await?;
    let sql = "SELECT 1 FROM entries WHERE stream = $1 AND seq = $2 AND leaf = $3";
    let found = client.query_opt(sql, &[&first.stream, &(first.seq as i64), &first.leaf.as_slice()]).await?;
    pool.give_back(client);
    Ok(found.is_some())
}

fn one(rows: &[Row]) -> Work<&Row> {
    rows.first().ok_or_else(|| LedgerError::Store("PostgreSQL gave no row".to_owned()))
}

fn claim_of(kind: StreamKind, row: &Row) -> Work<Claim> {
    Ok(Claim {
        stream: Stream::new(kind, row.try_get::<_, String>(0)?),
        epoch: row.try_get::<_, i64>(1)? as u64,
        attempts: row.try_get::<_, i32>(2)? as u32,
    })
}

fn stored(row: &Row) -> Work<Stored> {
    let leaf: &[u8] = row.try_get(7)?;
    let stream: String = row.try_get(0)?;
    let short = |_| LedgerError::Damaged { stream: stream.clone(), reason: "a leaf is no hash".to_owned() };
    let leaf = Leaf::try_from(leaf).map_err(short)?;
    Ok(Stored {
        seq: row.try_get::<_, i64>(1)? as u64,
        kind: row.try_get(2)?,
        at: Timestamp::from_millis(row.try_get(3)?),
        digests: row.try_get(4)?,
        key: row.try_get(5)?,
        body: row.try_get(6)?,
        leaf,
        index: row.try_get::<_, Option<i64>>(8)?.map(|index| index as u64),
        stream,
    })
}

fn head(row: &Row) -> Work<Head> {
    Ok(Head {
        name: row.try_get(0)?,
        length: row.try_get::<_, i64>(1)? as u64,
        status: row.try_get(2)?,
        at: Timestamp::from_millis(row.try_get(3)?),
        key: row.try_get(4)?,
    })
}
