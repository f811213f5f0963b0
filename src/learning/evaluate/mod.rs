//! `prokura evaluate`: the figures of a bundle, each with its interval and what a linear model reaches.
//!
//! Enters: a bundle, the pack, the labelled lines. Leaves: an `Evaluation`. This is the only code that measures
//! on test lines, and it writes a line to the log of openings before it does.
//!
//! `material` gathers the lines, `run` measures one subject after the other, each subject has a file; `judged` has
//! what follows from leaf and probability alone, `page` shows all of it.

mod bench;
pub mod documents;
mod evidence;
mod faithful;
mod figure;
mod judged;
mod leaves;
mod material;
pub mod openings;
mod page;
mod retrieval;
mod robust;
mod rounded;
mod run;
mod scope;
mod several;
mod tone;
mod values;

pub use evidence::{evidence, evidence_of_tickets};
pub use figure::{Figure, Scale, below};
pub use page::page;
pub use run::{Evaluation, Few, Lines, Options, Sets, few, run, searched};
