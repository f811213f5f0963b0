//! `prokura plans`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum Plans {
    /// What the service has a plan for: leaves, events, and the parts that plans share.
    List(ListPlans),
    /// Draw a plan as an SVG: each step, and what leads where.
    Graph(GraphPlan),
}

#[derive(Args, Debug)]
pub struct ListPlans {
    /// As JSON, with the tools and documents of each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct GraphPlan {
    /// A leaf, an event or a part that has a plan.
    #[arg(value_name = "LEAF")]
    pub name: String,
    /// Write to this file and not to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
