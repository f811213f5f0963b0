//! The seam to the bank's systems: what a source must answer, and how config/sources.toml declares them.

pub mod csv;
pub mod declare;
pub mod file;
pub mod guard;
pub mod http;
pub mod sql;

pub use declare::{FileDeclaration, Form, HttpDeclaration, SourceDeclarations, SqlDeclaration};
pub use file::FileSource;
pub use guard::{Guarded, Limits};
pub use http::HttpSource;
pub use sql::SqlSource;

use super::agreement::Kind;
use super::error::SourceError;
use super::index::Index;
use super::matching::Indexed;
use crate::base::{CustomerId, RecordId, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A system that has records. One of the five seams.
pub trait Source: Send + Sync {
    fn name(&self) -> &str;

    /// How long one query may take.
    fn timeout(&self) -> Duration;

    /// Whether it can be searched by this field.
    fn searches(&self, field: &str) -> bool;

    /// How many queries one request may carry.
    fn at_once(&self) -> usize {
        1
    }

    /// For each query, of which there are `at_once` at most, the records whose field has exactly its value.
    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>>;

    /// The records of a source that Prokura indexes itself: values need not be exactly as they were said.
    fn indexed(&self) -> Option<Arc<Indexed>> {
        None
    }

    /// Forgets what it was told of customers.
    fn forget(&self) {}

    /// Reads again what it holds in memory, and tells after how long that is to be done again; `None` where it holds
    /// nothing that changes.
    fn reload(&self) -> BoxFuture<'_, Option<Duration>> {
        Box::pin(std::future::ready(None))
    }

    /// Whether a record of this id can be one of its own.
    fn may_have(&self, _id: &RecordId) -> bool {
        true
    }

    /// One record; `None` when the source says that there is none.
    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>>;

    /// The accounts that the customer owns or is registered to act for.
    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>>;
}

/// One value of one field to search for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub field: String,
    pub value: String,
}

/// What a search found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hits {
    pub ids: Vec<RecordId>,
    /// The source has more than it listed.
    pub more: bool,
    /// When the source said so, where it was not asked now.
    pub cached_at: Option<Timestamp>,
    /// It was asked now and failed; what it said before stands in.
    pub stale: bool,
    /// It failed on this query, and nothing stands in.
    pub failed: Option<SourceError>,
}

impl Hits {
    pub fn of(ids: Vec<RecordId>) -> Self {
        Self { ids, ..Self::default() }
    }
}

/// One record as its source has it, whoever asks.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub id: RecordId,
    pub owner: CustomerId,
    pub authorised: Vec<CustomerId>,
    pub fields: Map<String, Value>,
    pub notes: Map<String, Value>,
}

/// Records by the fields that have a kind; nothing where no field has. `find` has the column of every field.
fn indexed<'a>(
    find: &BTreeMap<String, String>,
    form: &Form,
    kinds: &BTreeMap<String, Kind>,
    records: impl Iterator<Item = &'a Map<String, Value>>,
) -> Option<Indexed> {
    let columns: Vec<(String, Kind)> =
        find.keys().filter_map(|field| Some((field.clone(), *kinds.get(field)?))).collect();
    if columns.is_empty() {
        return None;
    }
    let (mut ids, mut owners, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        let Some(id) = record.get(&form.id).and_then(text_of).and_then(|id| form.record_id(&id)) else {
            continue;
        };
        let owner = record.get(&form.owner).and_then(text_of).unwrap_or_default();
        owners.push(CustomerId::new(owner));
        ids.push(id);
        let columns = columns.iter().filter_map(|(field, _)| find.get(field));
        let row: Vec<Option<String>> = columns.map(|column| record.get(column).and_then(text_of)).collect();
        texts.push(row);
    }
    let rows: Vec<Vec<Option<&str>>> =
        texts.iter().map(|row| row.iter().map(Option::as_deref).collect()).collect();
    let owners = (form.owner != form.id).then_some(owners);
    Some(Indexed::new(Index::new(&columns, &rows), ids, owners))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
