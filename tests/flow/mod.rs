//! Cases from the message to the reply.

mod approvals;
mod crash;
mod ledgers;
mod message;
mod nodes;
mod plans;
mod variants;
