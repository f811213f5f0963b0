//! One process a state directory.

use super::LedgerError;
use crate::base::durable;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// Held for as long as the process uses the directory; the operating system releases it when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl StateLock {
    pub fn take(directory: &Path) -> Result<Self, LedgerError> {
        let broken = |error: std::io::Error| LedgerError::Directory {
            path: directory.to_path_buf(),
            reason: error.to_string(),
        };
        durable::private(directory).map_err(broken)?;
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(directory.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_is_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let first = StateLock::take(directory.path()).unwrap();
        let error = StateLock::take(directory.path()).unwrap_err();
        assert!(matches!(error, LedgerError::InUse(_)));
        assert!(error.to_string().contains("--state"));
        drop(first);
        assert!(StateLock::take(directory.path()).is_ok());
    }
}
