//! Calls the bank's tools: each call once, and never a guess about what came of it.
//!
//! Enters: a `Permit` and the call that it covers; after a restart, a call that was intended and has
//! no result. Leaves: an `Outcome`. It must never act without a permit for exactly these arguments,
//! send a call again that may have been carried out unless the tool's own rule allows it, or put a
//! value of a call into a reason.

pub mod connector;
mod guard;
pub mod http;
mod kept;
pub mod outcome;
pub mod perform;
pub mod schema;

pub use connector::{Call, Connector, Found, Sent};
pub use guard::Condition;
pub use http::HttpConnector;
pub use outcome::Outcome;
pub use perform::{Acting, MaySend};
