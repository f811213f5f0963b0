//! One binary for everything that needs several rooms at once: the demonstration bank over real HTTP, the
//! shipped models, the default pack.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, with the place"
)]

mod adversary;
mod commands;
mod documents;
mod flow;
mod http;
mod stage;
mod torture;
