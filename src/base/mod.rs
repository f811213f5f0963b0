//! What every room may use: typed ids, money, time, probabilities, digests, languages,
//! the grants that governance seals, breakers, waits and budgets, references to secrets, the one HTTP client, and
//! connections to PostgreSQL.
//!
//! Enters: nothing. Leaves: values. It must never know a room above it, read a file of the
//! pack, or hold state of a case.

pub mod breaker;
pub mod clock;
pub mod credential;
pub mod digest;
pub mod durable;
pub mod finding;
pub mod grants;
pub mod ids;
pub mod language;
pub mod money;
pub mod outbound;
pub mod postgres;
pub mod priority;
pub mod probability;
pub mod retries;

pub use breaker::{Admitted, BreakerSettings, BreakerState, Breakers};
pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use credential::{Auth, Credential};
pub use digest::Digest;
pub use finding::Finding;
pub use ids::{ApprovalId, CallId, CaseId, CustomerId, MessageId, RecordId};
pub use language::Language;
pub use money::{Currency, Money};
pub use probability::Probability;
pub use retries::{Backoff, RetryBudgets, RetrySettings};
