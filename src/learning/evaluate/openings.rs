//! The log of openings: every time that a bundle is measured on test lines, one line more.
//!
//! Columns at (UTC), bundle, program, sets. A recipe that was chosen after looking at test lines would make
//! their figures worthless, so whoever reads them is told how often they were looked at.

use crate::base::{Digest, Timestamp};
use crate::learning::error::LearningError;
use std::io::Write;
use std::path::Path;

const HEAD: &str = "at\tbundle\tprogram\tsets\n";

/// How many openings the log holds; 0 where there is none.
pub fn count(log: &Path) -> Result<usize, LearningError> {
    match std::fs::read_to_string(log) {
        Ok(text) => Ok(text.lines().skip(1).filter(|line| !line.trim().is_empty()).count()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(LearningError::file(log, error, "name another log with --log")),
    }
}

/// Writes one line and gives the count with it.
pub fn append(log: &Path, at: Timestamp, bundle: &Digest, sets: &[String]) -> Result<usize, LearningError> {
    let fail = |error: std::io::Error| LearningError::file(log, error, "name another log with --log");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(fail)?;
    let head = if file.metadata().map_err(fail)?.len() == 0 { HEAD } else { "" };
    let (program, sets) = (env!("CARGO_PKG_VERSION"), sets.join(","));
    let line = format!("{head}{at}\t{bundle}\t{program}\t{sets}\n");
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    count(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opening_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("openings.tsv");
        assert_eq!(count(&log).unwrap(), 0);
        let at = Timestamp::parse("2026-09-21T14:13:20Z").unwrap();
        let sets = ["banking77".to_owned(), "blind".to_owned()];
        let bundle = Digest::of(b"x");
        assert_eq!(append(&log, at, &bundle, &sets).unwrap(), 1);
        assert_eq!(append(&log, at, &bundle, &sets).unwrap(), 2);
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "at\tbundle\tprogram\tsets");
        let wanted =
            format!("2026-09-21T14:13:20.000Z\t{bundle}\t{}\tbanking77,blind", env!("CARGO_PKG_VERSION"));
        assert_eq!((lines[1], lines[2]), (wanted.as_str(), wanted.as_str()));
        let nowhere = folder.path().join("no/such/folder.tsv");
        assert!(append(&nowhere, at, &bundle, &sets).unwrap_err().to_string().contains("--log"));
    }
}
