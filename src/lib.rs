//! Prokura: autonomous customer-support resolution inside a bank.

pub mod base;
pub mod ledger;
pub mod intake;
pub mod understanding;
pub mod records;
pub mod policy;
pub mod planning;
pub mod governance;
pub mod acting;
pub mod reply;
pub mod cases;
pub mod learning;
pub mod http;
pub mod cli;
pub mod demo;
