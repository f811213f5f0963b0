//! Labelled lines in, a model bundle out; and figures about a bundle.
//!
//! It must never be on the path of a message: nothing here runs while a case is decided.

pub mod adamw;
pub mod bar;
pub mod baseline;
pub mod calibrate;
pub mod card;
pub mod compose;
pub mod corpus;
pub mod datasets;
pub mod draw;
pub mod drift;
pub mod error;
pub mod evaluate;
pub mod extend;
pub mod finish;
pub mod german;
pub mod interval;
pub mod loss;
pub mod measure;
pub mod multitask;
pub mod perturb;
pub mod promote;
pub mod recalibrate;
pub mod search;
pub mod student;
pub mod switching;
pub mod task;
pub mod tasks;
pub mod train;
pub mod vocabulary;

pub use error::LearningError;
