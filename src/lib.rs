//! Prokura: autonomous customer-support resolution inside a bank.
//!
//! The map: `base < ledger < intake < understanding < records < policy < planning < governance < acting <
//! reply < cases < learning < http, console, cli, demo < app`. A room uses only rooms to its left; ARCHITECTURE.md tells
//! what each takes and gives, and `tests/tidy.rs` holds the code to it.

pub mod acting;
pub mod app;
pub mod base;
pub mod cases;
pub mod cli;
pub mod console;
pub mod demo;
pub mod governance;
pub mod http;
pub mod intake;
pub mod learning;
pub mod ledger;
pub mod planning;
pub mod policy;
pub mod records;
pub mod reply;
pub mod understanding;
