//! Questions and the passages that answer them in, a bundle that finds documents out.
//!
//! What readings go through is not touched: the last layer and the heads of search are trained over the trunk as it
//! is stored, in eight bits, and everything else of the bundle stays byte for byte what it was.

pub mod fit;
pub mod loss;
pub mod material;
pub mod run;
pub mod student;

pub use run::{Options, Trained, run};
