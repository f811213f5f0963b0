//! How much one file may take.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

/// What reading one file may cost. The worker gets all of it but the path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of memory that the worker takes beside what the program itself takes.
    pub memory: u64,
    /// Seconds for one worker, by the clock on the wall and of the processor.
    pub seconds: u64,
    /// Seconds for all workers of a file, one after another.
    pub all_seconds: u64,
    /// Bytes of the answer.
    pub answer: u64,
    /// Bytes that all parts of an archive may inflate to.
    pub inflated: u64,
    /// How many times its own length one part of an archive may inflate to, once it is above a MiB.
    pub ratio: u64,
    /// Elements inside one another.
    pub depth: usize,
    /// E-mails inside one another.
    pub emails: usize,
    /// Files that come with an e-mail, all levels together.
    pub attachments: usize,
    /// Pages without text whose pictures are given to text recognition.
    pub scans: usize,
    /// The program that has the worker; `None`: this very program.
    #[serde(skip)]
    pub program: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32 * MIB,
            memory: 512 * MIB,
            seconds: 30,
            all_seconds: 300,
            answer: 16 * MIB,
            inflated: 128 * MIB,
            ratio: 200,
            depth: 256,
            emails: 3,
            attachments: 50,
            scans: 20,
            program: None,
        }
    }
}
