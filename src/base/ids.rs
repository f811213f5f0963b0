//! Typed ids: a case id cannot be passed where a customer id is wanted.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One case: a conversation with one customer about one concern. `case_` and a UUIDv7.
    CaseId
);
id!(
    /// One inbound message of a case.
    MessageId
);
id!(
    /// A customer as the bank's own systems name them.
    CustomerId
);
id!(
    /// A record of a source (an account, a card, a transaction), as the source names it.
    RecordId
);
id!(
    /// One call of a tool within a case; also the idempotency key sent to the tool.
    CallId
);
id!(
    /// One request for a human's approval.
    ApprovalId
);

/// A fresh id with the given prefix: `prefix_` and a UUIDv7 (RFC 9562) in hexadecimal, so that ids sort
/// by creation. The only place in the product that draws ids at random.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place with randomness that the lint points to"
)]
pub fn fresh(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_differ_and_carry_their_prefix() {
        let (a, b) = (fresh("case"), fresh("case"));
        assert!(a.starts_with("case_") && a.len() == 37);
        assert_ne!(a, b);
    }

    #[test]
    fn an_id_is_a_plain_string_in_json() {
        let id = CaseId::new("case_1");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"case_1\"");
        assert_eq!(serde_json::from_str::<CaseId>("\"case_1\"").unwrap(), id);
    }
}
