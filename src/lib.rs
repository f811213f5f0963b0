//! Prokura (the map comes with the rooms).
pub mod base;
pub mod intake;
pub mod ledger;
