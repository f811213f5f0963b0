//! A label set of one's own: a file that names lines and folds in, the trunk with two new heads out, measured
//! on lines that it was not trained on.
//!
//! One head says for every intent whether a message has it, the other labels the words of slots.

mod declare;
mod figures;
mod heads;
mod lines;
mod run;

pub use declare::{Form, Kind, Recipe, Task};
pub use figures::{Count, Figures, Score};
pub use heads::Labels;
pub use run::{Options, Report, run};
