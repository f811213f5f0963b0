//! How a command fails: a message for a person, and an exit code.

use crate::base::Finding;
use std::process::ExitCode;

#[derive(Debug)]
pub enum Failure {
    /// Bad usage or bad input, or something is not there (code 2).
    Input(String),
    /// Faults in files of the pack (code 2).
    Findings(Vec<Finding>),
    /// Whoever read the output went away: nothing to tell, and nothing failed (code 0).
    Closed,
    /// The check that was asked for did not pass (code 1).
    Check(String),
}

impl Failure {
    pub fn input(error: impl std::fmt::Display) -> Self {
        Self::Input(error.to_string())
    }

    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Closed => 0,
            Self::Check(_) => 1,
            Self::Input(_) | Self::Findings(_) => 2,
        })
    }

    pub fn print(&self) {
        match self {
            Self::Closed => {}
            Self::Input(message) | Self::Check(message) => eprintln!("prokura: {message}"),
            Self::Findings(findings) => {
                for finding in findings {
                    eprintln!("{finding}");
                }
                let plural = if findings.len() == 1 { "fault" } else { "faults" };
                eprintln!("prokura: {} {plural}; nothing was started", findings.len());
            }
        }
    }
}

impl From<Vec<Finding>> for Failure {
    fn from(findings: Vec<Finding>) -> Self {
        Self::Findings(findings)
    }
}
