//! The demonstration bank: a small HTTP server on loopback that plays the bank's own systems.
//!
//! Enters: options and a clock. Leaves: answers over HTTP, and two logs on disk, of every request
//! and of every effect. The product knows it only as a source and as tools that config/ names, like
//! any bank's system. It must never import a room other than base, hold anything of a case, or
//! listen anywhere but on loopback: its data is made up and its login asks for no password.

pub mod account;
pub mod bank;
pub mod channel;
pub mod draw;
pub mod error;
pub mod generate;
pub mod journal;
pub mod line;
pub mod names;
pub mod orders;
pub mod routes;
pub mod server;
pub mod stories;
pub mod switches;
pub mod tools;

pub use error::DemoError;
pub use server::{Options, Server, serve};
pub use switches::Switches;
