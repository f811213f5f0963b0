//! Cases from the message to the reply.

mod approvals;
mod crash;
mod message;
mod plans;
mod variants;
