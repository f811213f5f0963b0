//! The HTTP face: routes, keys and roles, status codes.
//!
//! Enters: requests with an API key, at most 1 MiB but for files. Leaves: JSON in the contract's shapes, errors in one
//! shape of their own, and `/openapi.json`, made from the same table as the routes: `routes` for the service,
//! `inference` for a machine that only reads. Status codes are decided here and nowhere else.
//! It must never take an identity or a role from a body, show a channel more than the customer's view, or
//! log what a request holds.

mod admin;
mod api;
mod approvals;
mod attachments;
mod auth;
mod autonomy;
mod body;
mod cases;
mod error;
mod events;
mod generations;
mod health;
mod inference;
mod metrics;
mod notices;
mod openapi;
mod people;
mod policies;
mod reviews;
mod routes;
mod serve;
pub mod shapes;
mod stateless;
mod stops;
mod views;

pub use api::Api;
pub use auth::ApiKey;
pub use error::Refusal;
pub use inference::Node;
pub use policies::Administration;
pub use serve::{node_router, router, serve};
