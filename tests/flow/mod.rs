//! Cases from the message to the reply.

mod approvals;
mod crash;
mod ledgers;
mod message;
mod plans;
mod variants;
