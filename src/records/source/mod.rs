//! The seam to the bank's systems: what a source must answer, and how config/sources.toml declares them.

pub mod csv;
pub mod declare;
pub mod file;
pub mod http;

pub use declare::{FileDeclaration, Form, HttpDeclaration, SourceDeclarations};
pub use file::FileSource;
pub use http::HttpSource;

use super::error::SourceError;
use super::matching::Indexed;
use crate::base::{CustomerId, RecordId};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// A system that has records. One of the five seams.
pub trait Source: Send + Sync {
    fn name(&self) -> &str;

    /// How long one query may take.
    fn timeout(&self) -> Duration;

    /// Whether it can be searched by this field.
    fn searches(&self, field: &str) -> bool;

    /// The records whose field has exactly this value.
    fn find<'a>(&'a self, field: &'a str, value: &'a str) -> BoxFuture<'a, Result<Hits, SourceError>>;

    /// The records of a source that Prokura indexes itself: values need not be exactly as they were said.
    fn indexed(&self) -> Option<Arc<Indexed>> {
        None
    }

    /// One record; `None` when the source says that there is none.
    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>>;

    /// The accounts that the customer owns or is registered to act for.
    fn accounts_of<'a>(
        &'a self,
        customer: &'a CustomerId,
    ) -> BoxFuture<'a, Result<Vec<RecordId>, SourceError>>;
}

/// What a search found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hits {
    pub ids: Vec<RecordId>,
    /// The source has more than it listed.
    pub more: bool,
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

/// An id as a source may give it: 1 to 128 bytes without control characters.
fn record_id(value: &Value) -> Option<RecordId> {
    let id = value.as_str()?;
    (!id.is_empty() && id.len() <= 128 && !id.chars().any(char::is_control)).then(|| RecordId::new(id))
}
