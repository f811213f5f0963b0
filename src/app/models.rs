//! Training, evaluation and model files.

use super::{Failure, output};
use crate::cli::{Evaluate, Models, Place, Train};

pub fn train(_place: &Place, _options: Train) -> Result<(), Failure> {
    Err(Failure::input("not wired yet"))
}

pub fn evaluate(_place: &Place, _options: Evaluate) -> Result<(), Failure> {
    let _ = output::line_out;
    Err(Failure::input("not wired yet"))
}

pub async fn models(_place: &Place, _options: Models) -> Result<(), Failure> {
    Err(Failure::input("not wired yet"))
}
