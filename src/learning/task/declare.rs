//! The file that declares a task: TOML, see `models/tasks`.

use crate::learning::error::LearningError;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// A label set with its lines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Letters, digits and `_`.
    pub name: String,
    #[serde(default)]
    pub intents: Kind,
    pub form: Form,
    /// One file a fold, relative to the data folder.
    pub folds: Vec<PathBuf>,
    /// Folds, counted from 0, that are measured: each is held out once and the rest is trained on. All where
    /// this is left out.
    pub held_out: Option<Vec<usize>>,
    /// Folds for choosing the recipe: `--develop` holds them out together and measures them alone.
    #[serde(default)]
    pub develop: Vec<usize>,
    #[serde(default)]
    pub recipe: Recipe,
}

/// How many intents a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Any number: a yes or no for each.
    #[default]
    Several,
    /// Exactly one.
    One,
}

/// How a file of lines is written; see `lines`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// NLU++: an array of `{"text", "intents", "slots"}`.
    Json,
    /// Tab-separated columns `labels` (or `id`) and `text` with `[slot|value]` marks.
    Tsv,
}

/// What the result depends on, beside lines and trunk. Chosen on the development folds of NLU++.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the lines.
    pub epochs: f64,
    /// Lines a step.
    pub batch: usize,
    pub rate: f32,
    /// Heads learn this many times faster than the trunk.
    pub head_factor: f32,
    pub decay: f32,
    /// Part of the steps in which the rate rises.
    pub warm: f64,
    pub dropout: f32,
    /// How much the loss of a word's label counts beside that of a line's intents.
    pub slots: f64,
    /// How often a value gives way to another one of its slot.
    pub swapped: f64,
    /// How often a line's words are looked up in no list of names.
    pub unlisted: f64,
    /// Part of the steps, at the end, whose weights are averaged.
    pub averaged: f64,
    /// Part of the steps, at the end, in which weights and activations are rounded to eight bits.
    pub eight_bit: f64,
    /// An intent counts from this probability on, where a message may have several.
    pub threshold: f64,
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            epochs: 12.0,
            batch: 32,
            rate: 2e-4,
            head_factor: 10.0,
            decay: 0.01,
            warm: 0.1,
            dropout: 0.1,
            slots: 2.0,
            swapped: 0.2,
            unlisted: 0.35,
            averaged: 0.2,
            eight_bit: 0.1,
            threshold: 0.5,
            seed: 1,
        }
    }
}

impl Task {
    pub fn read(file: &Path) -> Result<Self, LearningError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            LearningError::file(file, error, "name a task file, such as models/tasks/*.toml")
        })?;
        Self::parse(file, &text)
    }

    /// `file` is for messages alone.
    pub fn parse(file: &Path, text: &str) -> Result<Self, LearningError> {
        let task: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            LearningError::Data {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1,
                problem: error.message().to_owned(),
                remedy: "see docs/models.md for what a task file holds".to_owned(),
            }
        })?;
        match task.fault() {
            None => Ok(task),
            Some((field, problem, remedy)) => {
                let at = text.lines().position(|line| line.trim_start().starts_with(field));
                Err(LearningError::Data {
                    file: file.to_owned(),
                    line: at.map_or(1, |at| at + 1),
                    column: 1,
                    problem: format!("`{field}` {problem}"),
                    remedy: remedy.to_owned(),
                })
            }
        }
    }

    /// The folds that are held out, one after the other.
    pub fn held_out(&self) -> Vec<usize> {
        self.held_out.clone().unwrap_or_else(|| (0..self.folds.len()).collect())
    }

    /// The first field that cannot be as it is, why, and what to write.
    fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        const COUNTED: &str = "count the files of `folds` from 0, each at most once";
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(letters) {
            return Some(("name", format!("is `{}`", self.name), "use letters, digits and _"));
        }
        let inside = |path: &PathBuf| path.components().all(|part| matches!(part, Component::Normal(_)));
        if self.folds.is_empty() || !self.folds.iter().all(inside) {
            let problem = "must name at least one file, each inside the data folder".to_owned();
            return Some(("folds", problem, "write paths relative to the data folder"));
        }
        for (field, numbers) in [("held_out", &self.held_out()), ("develop", &self.develop)] {
            let twice = |at: usize| numbers.iter().take(at).any(|other| numbers.get(at) == Some(other));
            let wrong = |(at, fold): (usize, &usize)| *fold >= self.folds.len() || twice(at);
            if numbers.iter().enumerate().any(wrong) {
                return Some((field, format!("is {numbers:?} of {} folds", self.folds.len()), COUNTED));
            }
        }
        self.recipe.fault()
    }
}

impl Recipe {
    /// As `Task::fault`.
    pub fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let share = "write a number from 0 to 1";
        let f = f64::from;
        let ranges = [
            ("epochs", self.epochs, 1e-3..=1e4, "write a number from 0.001 to 10000"),
            ("batch", self.batch as f64, 1.0..=4096.0, "write a number from 1 to 4096"),
            ("rate", f(self.rate), 1e-8..=1.0, "write a number up to 1, such as 2e-4"),
            ("head_factor", f(self.head_factor), 1e-3..=1e3, "write a number from 0.001 to 1000"),
            ("decay", f(self.decay), 0.0..=1.0, share),
            ("warm", self.warm, 0.0..=1.0, share),
            ("dropout", f(self.dropout), 0.0..=0.9, "write a number from 0 to 0.9"),
            ("slots", self.slots, 0.0..=1e3, "write a number from 0 to 1000"),
            ("swapped", self.swapped, 0.0..=1.0, share),
            ("unlisted", self.unlisted, 0.0..=1.0, share),
            ("averaged", self.averaged, 0.0..=1.0, share),
            ("eight_bit", self.eight_bit, 0.0..=1.0, share),
            ("threshold", self.threshold, 0.0..=1.0, share),
        ];
        let wrong = ranges.into_iter().find(|(_, value, range, _)| !range.contains(value));
        wrong.map(|(field, value, _, remedy)| (field, format!("is {value}"), remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "name = \"toy\"\nform = \"tsv\"\nfolds = [\"a.tsv\", \"b.tsv\"]\n";

    fn fails(text: &str) -> String {
        Task::parse(Path::new("t.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_fold_is_held_out_unless_said_otherwise() {
        let task = Task::parse(Path::new("t.toml"), TASK).unwrap();
        assert_eq!((task.held_out(), task.intents), (vec![0, 1], Kind::Several));
        let one = Task::parse(Path::new("t.toml"), &format!("{TASK}held_out = [1]\n[recipe]\nrate = 1e-4\n"));
        let one = one.unwrap();
        assert_eq!((one.held_out(), one.recipe.rate), (vec![1], 1e-4));
    }

    #[test]
    fn a_fault_names_line_field_and_value() {
        let message = fails(&format!("{TASK}develop = [2]\n"));
        assert!(message.starts_with("t.toml:4:1: `develop` is [2] of 2 folds"), "{message}");
        let message = fails(&format!("{TASK}[recipe]\nthreshold = 1.5\n"));
        assert!(message.starts_with("t.toml:5:1: `threshold` is 1.5"), "{message}");
        assert!(fails(&format!("{TASK}helt_out = [1]\n")).starts_with("t.toml:4:1: unknown field"));
        assert!(fails(&TASK.replace("a.tsv", "../a.tsv")).contains("inside the data folder"));
        assert!(fails(&format!("{TASK}[recipe]\nrate = nan\n")).contains("`rate` is NaN"));
    }

    #[test]
    fn the_shipped_task_files_parse() {
        let files = std::fs::read_dir("models/tasks").unwrap().map(|entry| entry.unwrap().path());
        let tasks: Vec<Task> = files.map(|file| Task::read(&file).unwrap()).collect();
        assert!(tasks.iter().any(|task| task.name == "nlupp_banking" && task.folds.len() == 20));
    }
}
