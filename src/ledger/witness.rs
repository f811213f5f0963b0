//! A witness: checkpoints kept where whoever holds the signing key cannot reach them. Without one that person could write
//! another history and sign it.
//!
//! A folder outside of the state directory, best on a write-once mount or another machine's share: one file for each
//! checkpoint, made once and never changed. Where a witness on another machine signs, too, only what it signed counts.

use super::checkpoint::{self, NotSigned};
use super::cosign::{self, Answer, Cosigner};
use super::merkle::{self, Root};
use super::{Ledger, LedgerError};
use crate::base::{Timestamp, durable};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXTENSION: &str = "checkpoint";

/// Sends a body to the witness on another machine.
pub type Post = Arc<dyn Fn(String) -> Result<Answer, String> + Send + Sync>;

/// A folder of checkpoints, in one folder a day.
#[derive(Clone)]
pub struct Witness {
    folder: PathBuf,
    cosigner: Option<Cosigner>,
    post: Option<Post>,
}

impl Witness {
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, cosigner: None, post: None }
    }

    /// Only checkpoints count that this one has signed, too.
    #[must_use]
    pub fn with_cosigner(self, cosigner: Cosigner) -> Self {
        Self { cosigner: Some(cosigner), ..self }
    }

    /// Where the cosigner is asked.
    #[must_use]
    pub fn asking(self, post: Post) -> Self {
        Self { post: Some(post), ..self }
    }

    /// What a note says that counts.
    pub fn read(&self, note: &[u8], public_key: &str) -> Result<Root, NotSigned> {
        let root = checkpoint::read(note, public_key)?;
        let signed = self.cosigner.as_ref().is_none_or(|cosigner| cosigner.has_signed(note));
        if signed { Ok(root) } else { Err(NotSigned::Witness) }
    }

    /// Keeps the ledger's newest checkpoint, if it has none or an older one. Returns what it has then.
    ///
    /// # Errors
    /// A checkpoint that does not continue what is kept: somebody has changed the log. A folder that cannot be written.
    pub fn keep(&self, ledger: &Ledger, now: Timestamp) -> Result<Option<Root>, LedgerError> {
        let Some(signer) = ledger.signer() else { return Ok(None) };
        let Some((root, note)) = cosign::newest(ledger, &signer.public_key)? else {
            return self.newest(&signer.public_key);
        };
        let damaged = |reason: String| LedgerError::Damaged { stream: "*".to_owned(), reason };
        let kept = self.newest(&signer.public_key)?;
        if let Some(kept) = kept.filter(|kept| *kept != root) {
            merkle::consistency(ledger.store(), root, kept).map_err(|_| {
                let (size, witness) = (kept.size, self.shown());
                damaged(format!("it does not continue the {size} entries that the witness {witness} saw"))
            })?;
        }
        if kept != Some(root) {
            let note = match (&self.cosigner, &self.post) {
                (Some(cosigner), Some(post)) => {
                    cosigner.ask(ledger, (root, &note), kept.map_or(0, |kept| kept.size), &**post)?
                }
                _ => note,
            };
            self.write(root, &note, now).map_err(|error| self.failed(&error))?;
        }
        Ok(Some(root))
    }

    fn shown(&self) -> String {
        self.folder.display().to_string()
    }

    fn failed(&self, error: &io::Error) -> LedgerError {
        LedgerError::Directory { path: self.folder.clone(), reason: error.to_string() }
    }

    fn write(&self, root: Root, note: &[u8], now: Timestamp) -> io::Result<()> {
        let day = self.folder.join(now.date());
        fs::create_dir_all(&day)?;
        let place = |n: u32| match n {
            0 => day.join(format!("{:020}.{EXTENSION}", root.size)),
            n => day.join(format!("{:020}-{n}.{EXTENSION}", root.size)),
        };
        // One that is there and does not count was cut off, or lacks the signature that is wanted now.
        let free = (0..).map(place).find(|path| !path.exists()).unwrap_or_else(|| place(0));
        let mut file = fs::File::options().write(true).create_new(true).mode(0o444).open(free)?;
        file.write_all(note)?;
        file.sync_all()?;
        durable::sync_folder(&day)
    }

    fn days(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let mut days = listed(&self.folder).map_err(|error| self.failed(&error))?;
        days.retain(|day| day.is_dir());
        Ok(days)
    }

    /// The largest that is kept and signed by this key.
    fn newest(&self, public_key: &str) -> Result<Option<Root>, LedgerError> {
        for day in self.days()?.iter().rev() {
            let files = listed(day).map_err(|error| self.failed(&error))?;
            // One whose writing was cut off is no checkpoint.
            if let Some(root) =
                files.iter().rev().find_map(|file| self.read(&content(file)?, public_key).ok())
            {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// Every checkpoint that is kept and signed by this key, and the files that hold none.
    pub fn checkpoints(&self, public_key: &str) -> Result<(Vec<Root>, Vec<PathBuf>), LedgerError> {
        let (mut roots, mut others) = (Vec::new(), Vec::new());
        for day in self.days()? {
            for file in listed(&day).map_err(|error| self.failed(&error))? {
                match content(&file).and_then(|note| self.read(&note, public_key).ok()) {
                    Some(root) => roots.push(root),
                    None => others.push(file),
                }
            }
        }
        Ok((roots, others))
    }
}

/// No checkpoint has so many bytes.
const LONGEST: u64 = 64 << 10;

/// What is in a file that may be a checkpoint. Others can write into the folder, too: pipes and devices are not waited for.
fn content(file: &Path) -> Option<Vec<u8>> {
    let known = fs::symlink_metadata(file).ok()?;
    (known.is_file() && known.len() <= LONGEST).then(|| fs::read(file).ok()).flatten()
}

/// What is in a folder, by name; nothing where there is no folder.
fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::super::{Append, By, LedgerSettings, NewEvent, Stream, StreamKind};
    use super::*;
    use serde_json::json;

    fn write(ledger: &Ledger, expected: u64, n: u64) {
        let batch = Append {
            status: "running".into(),
            ..Append::kept(
                Stream::new(StreamKind::Case, "a"),
                expected,
                Default::default(),
                vec![NewEvent { at: Timestamp::from_millis(0), kind: "counted", body: json!(n) }],
            )
        };
        ledger.append(&batch, By::Anybody).unwrap();
        ledger.sign().unwrap();
    }

    #[test]
    fn another_history_is_not_witnessed() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::at(folder.path().join("witness"));
        let now = Timestamp::from_millis(1_795_000_000_000);
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::create_dir(&one).unwrap();
        let ledger = LedgerSettings::default().open(&one).unwrap();
        assert_eq!(witness.keep(&ledger, now).unwrap(), None);
        for n in 0..3 {
            write(&ledger, n, n);
            assert_eq!(witness.keep(&ledger, now).unwrap().unwrap().size, n + 1);
            assert_eq!(witness.keep(&ledger, now.plus_millis(86_400_000)).unwrap().unwrap().size, n + 1);
        }
        let key = ledger.signer().unwrap().public_key.clone();
        let (roots, others) = witness.checkpoints(&key).unwrap();
        assert!(others.is_empty(), "{others:?}");
        // Whatever else lies there is not waited for.
        let day = witness.days().unwrap().pop().unwrap();
        std::os::unix::fs::symlink("/dev/zero", day.join("9.checkpoint")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(day.join("99.checkpoint")).status().unwrap();
        assert!(pipe.success());
        assert_eq!(witness.checkpoints(&key).unwrap().1.len(), 2);
        assert_eq!(witness.newest(&key).unwrap().unwrap().size, 3);
        assert_eq!(roots.iter().map(|root| root.size).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(ledger.verify(&roots, true).unwrap().witnessed, 3);
        // The same key, another log: shorter, as long, longer.
        fs::create_dir_all(two.join("keys")).unwrap();
        fs::copy(one.join("keys/log.key"), two.join("keys/log.key")).unwrap();
        let forged = LedgerSettings::default().open(&two).unwrap();
        for n in 0..4 {
            write(&forged, n, n + 7);
            let refused = witness.keep(&forged, now).unwrap_err().to_string();
            assert!(refused.contains("3 entries that the witness"), "{refused}");
            assert!(forged.verify(&roots, false).unwrap().damage.is_some());
        }
        // A file that was cut off when the power failed stands in nobody's way.
        let day = folder.path().join("witness").join(now.date());
        fs::write(day.join(format!("{:020}.{EXTENSION}", 9)), "prokura").unwrap();
        fs::write(folder.path().join("witness/readme.txt"), "not a day").unwrap();
        write(&ledger, 3, 3);
        assert_eq!(witness.keep(&ledger, now).unwrap().unwrap().size, 4);
    }
}
