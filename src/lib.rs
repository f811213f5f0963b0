//! Prokura: autonomous customer-support resolution inside a bank.

pub mod acting;
pub mod app;
pub mod base;
pub mod cases;
pub mod cli;
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
