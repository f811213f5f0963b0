//! Being allowed is a value. Records, acting and reply each demand one of these; only governance
//! makes them (`tests/tidy.rs` holds every call of `seal` to that room). They are neither cloned nor
//! serialised: after a restart governance decides again from what was recorded.

use super::{CallId, CustomerId, Digest, RecordId};

/// Lets records read account data that `customer` owns or is registered to act for.
#[derive(Debug)]
pub struct ReadGrant {
    customer: CustomerId,
}

impl ReadGrant {
    pub(crate) fn seal(customer: CustomerId) -> Self {
        Self { customer }
    }

    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }
}

/// Lets acting perform one call, with exactly these arguments.
#[derive(Debug)]
pub struct Permit {
    call: CallId,
    tool: String,
    arguments: Digest,
}

impl Permit {
    pub(crate) fn seal(call: CallId, tool: String, arguments: Digest) -> Self {
        Self { call, tool, arguments }
    }

    pub fn call(&self) -> &CallId {
        &self.call
    }

    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// Digest of the JSON arguments that were judged.
    pub fn arguments(&self) -> &Digest {
        &self.arguments
    }
}

/// Lets reply put data of these records into a text for `customer`.
#[derive(Debug)]
pub struct DiscloseGrant {
    customer: CustomerId,
    records: Vec<RecordId>,
}

impl DiscloseGrant {
    pub(crate) fn seal(customer: CustomerId, records: Vec<RecordId>) -> Self {
        Self { customer, records }
    }

    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }

    pub fn covers(&self, record: &RecordId) -> bool {
        self.records.contains(record)
    }
}
