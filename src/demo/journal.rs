//! Two logs on disk: every request as it arrived, and every effect as it was made. A line is handed to
//! the operating system before the answer leaves, so that a killed process loses none.

use super::error::DemoError;
use super::orders::Order;
use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub struct Journal {
    requests: Mutex<File>,
    effects: Mutex<File>,
}

/// A line of requests.jsonl.
#[derive(Serialize)]
pub struct Arrived<'a> {
    pub at: Timestamp,
    pub method: &'a str,
    pub path: &'a str,
    pub idempotency_key: Option<&'a str>,
    pub body: Value,
}

/// A line of effects.jsonl.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Effect {
    pub at: Timestamp,
    pub effect: u64,
    pub key: Option<String>,
    /// Whether the bank took notice of the key.
    pub idempotent: bool,
    #[serde(flatten)]
    pub order: Order,
    pub result: Value,
}

impl Journal {
    /// Opens both logs in `dir` (made when it is not there) and reads the effects of earlier runs.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Effect>), DemoError> {
        std::fs::create_dir_all(dir).map_err(|source| DemoError::Log { path: dir.to_owned(), source })?;
        let earlier = read(&dir.join("effects.jsonl"))?;
        let requests = Mutex::new(append(dir.join("requests.jsonl"))?);
        let effects = Mutex::new(append(dir.join("effects.jsonl"))?);
        Ok((Self { requests, effects }, earlier))
    }

    pub fn request(&self, line: &Arrived<'_>) -> std::io::Result<()> {
        write(&self.requests, line)
    }

    pub fn effect(&self, line: &Effect) -> std::io::Result<()> {
        write(&self.effects, line)
    }
}

fn append(path: PathBuf) -> Result<File, DemoError> {
    OpenOptions::new().create(true).append(true).open(&path).map_err(|source| DemoError::Log { path, source })
}

fn write(file: &Mutex<File>, line: &impl Serialize) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(&bytes)?;
    file.flush()
}

fn read(path: &Path) -> Result<Vec<Effect>, DemoError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => return Err(DemoError::Log { path: path.to_owned(), source }),
    };
    let mut effects = Vec::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| DemoError::Log { path: path.to_owned(), source })?;
        let effect = serde_json::from_str(&line).map_err(|error| DemoError::Effects {
            path: path.to_owned(),
            line: at + 1,
            reason: error.to_string(),
        })?;
        effects.push(effect);
    }
    Ok(effects)
}
