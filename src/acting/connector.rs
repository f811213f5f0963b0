//! The seam to the bank's tools: sending one call, and asking what came of one.

use crate::base::CallId;
use crate::planning::ToolDeclaration;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call of a tool.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    pub id: CallId,
    pub tool: String,
    /// A JSON object.
    pub arguments: Value,
    /// The idempotency key; the call's id unless the bank wants another form.
    pub key: String,
}

impl Call {
    /// A call whose key is its id.
    pub fn new(id: CallId, tool: impl Into<String>, arguments: Value) -> Self {
        let key = id.as_str().to_owned();
        Self { id, tool: tool.into(), arguments, key }
    }
}

/// Reaches the systems that have the tools. One of the five seams. It sends once and judges nothing: what
/// to do about an answer that did not come is the declaration's business.
pub trait Connector: Send + Sync {
    fn send<'a>(&'a self, tool: &'a ToolDeclaration, call: &'a Call) -> BoxFuture<'a, Sent>;

    /// Asks by key what came of a call.
    fn query<'a>(&'a self, tool: &'a ToolDeclaration, key: &'a str) -> BoxFuture<'a, Found>;
}

/// What came of sending a call once. Reasons carry no value of the call or the answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Sent {
    /// The system says that it acted.
    Answered(Value),
    /// The system says that it did not act, and would not when asked again.
    Refused(String),
    /// It certainly did not act: the request did not arrive, or was turned away unread.
    NotSent(String),
    /// It was not sent, would not be next time, and the system has nothing to do with it.
    Unable(String),
    /// It may have acted.
    Unclear(String),
}

/// What the system says about a key.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    Done(Value),
    UnderWay,
    /// It knows nothing of the key.
    Nothing,
    /// It did not say; asked again, it may.
    Unknown(String),
    /// It does not say, however often it is asked.
    Untold(String),
}
