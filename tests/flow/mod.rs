//! Cases from the message to the reply.

mod approvals;
mod crash;
mod erase;
mod ledgers;
mod message;
mod nodes;
mod plans;
mod sagas;
mod simulated;
mod variants;
mod waits;
