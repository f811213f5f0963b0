//! The bundles of a state directory: `<state>/models/<hexadecimal digest>/`, and `history.jsonl`, one line for
//! every change with who made it and what was overridden. Which bundle reads follows from the history alone, so
//! no change can count that is not written down.
//!
//! A line counts once it is whole. `lock` is held by whoever changes anything; readers need none.

use super::bundle;
use super::encoder::Compute;
use super::error::UnderstandingError;
use super::read::{Schema, Understanding};
use crate::base::{Digest, Timestamp, durable, ids};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

const HISTORY: &str = "history.jsonl";
const BUILDING: &str = "building";
const RESTORE: &str = "see `prokura models list`; restore the state directory";
const PERMISSION: &str = "let the account that the program runs as write to the state directory";

/// What the changes so far come to; `None` where nobody chose a bundle.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The one that reads.
    pub current: Option<Digest>,
    /// The one that reads along, without effect.
    pub shadow: Option<Digest>,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub at: Timestamp,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<Digest>,
    /// Who made it, by the name that the command was given.
    pub by: String,
    /// Why the figures below the bar did not count, where somebody overrode them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forced: Option<String>,
    /// Figures below their bar when it was made.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub below: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Imported,
    Promoted,
    RolledBack,
    ShadowStarted,
    ShadowEnded,
    /// The file was put back to what the ledger has.
    Restored,
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "model_imported",
            Self::Promoted => "model_promoted",
            Self::RolledBack => "model_rolled_back",
            Self::ShadowStarted => "model_shadow_started",
            Self::ShadowEnded => "model_shadow_ended",
            Self::Restored => "model_history_restored",
        }
    }
}

/// One installed bundle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    pub model: Digest,
    pub current: bool,
    pub shadow: bool,
    pub bytes: u64,
}

/// The folder, of which nothing is held in memory.
#[derive(Clone, Debug)]
pub struct Installed {
    root: PathBuf,
}

/// Folds the changes, in order.
pub fn chosen(history: &[Change]) -> Chosen {
    let mut chosen = Chosen::default();
    for change in history {
        match change.action {
            Action::Imported | Action::Restored => {}
            Action::Promoted | Action::RolledBack => chosen.current.clone_from(&change.model),
            Action::ShadowStarted => chosen.shadow.clone_from(&change.model),
            Action::ShadowEnded => chosen.shadow = None,
        }
    }
    chosen
}

impl Installed {
    pub fn of(state: &Path) -> Self {
        Self { root: state.join("models") }
    }

    pub fn folder(&self, model: &Digest) -> PathBuf {
        self.root.join(model.hex())
    }

    /// Where a shadow's report on two bundles is kept.
    pub fn report(&self, current: &Digest, challenger: &Digest) -> PathBuf {
        let short = |model: &Digest| model.hex().get(..12).unwrap_or_default().to_owned();
        self.root.join(format!("shadow-{}-{}.json", short(current), short(challenger)))
    }

    /// All bundles, by digest.
    pub fn list(&self) -> Result<Vec<Listed>, UnderstandingError> {
        let Chosen { current, shadow } = self.chosen()?;
        let mut listed = Vec::new();
        for model in self.digests()? {
            let folder = self.folder(&model);
            let size = |name: &&str| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
            listed.push(Listed {
                current: current.as_ref() == Some(&model),
                shadow: shadow.as_ref() == Some(&model),
                bytes: bundle::FILES.iter().map(size).sum(),
                model,
            });
        }
        Ok(listed)
    }

    fn digests(&self) -> Result<Vec<Digest>, UnderstandingError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| fault(&self.root, error, RESTORE))?,
        };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        let mut found: Vec<Digest> =
            names.filter_map(|name| Digest::parse(&format!("sha256:{name}"))).collect();
        found.sort();
        Ok(found)
    }

    /// The bundle that a digest or the beginning of one (four digits at least) names.
    pub fn find(&self, asked: &str) -> Result<Digest, UnderstandingError> {
        let hex = asked.strip_prefix("sha256:").unwrap_or(asked);
        let known = self.digests()?;
        let mut fitting = known.iter().filter(|model| hex.len() >= 4 && model.hex().starts_with(hex));
        match (fitting.next(), fitting.next()) {
            (Some(model), None) => Ok(model.clone()),
            (Some(_), Some(_)) => {
                let problem = format!("several installed bundles begin with `{asked}`");
                Err(fault(&self.root, problem, "give more of the digest; see `prokura models list`"))
            }
            (None, _) => {
                let problem = format!("no installed bundle begins with `{asked}`");
                let remedy = "see `prokura models list`, or install it with `prokura models import DIR`";
                Err(fault(&self.root, problem, remedy))
            }
        }
    }

    /// Checks a bundle whole, also that it can read with this pack, and copies it here. The caller holds the lock.
    pub fn import(&self, from: &Path, schema: &Schema) -> Result<Digest, UnderstandingError> {
        let loaded = Understanding::load(from, schema)?;
        loaded.warm(from)?;
        self.keep(from)
    }

    /// Copies a bundle here that may have been made for another pack. The caller holds the lock.
    pub fn keep(&self, from: &Path) -> Result<Digest, UnderstandingError> {
        let model = bundle::verified_digest(from)?;
        let target = self.folder(&model);
        if target.is_dir() && bundle::verified_digest(&target).is_ok_and(|there| there == model) {
            return Ok(model);
        }
        let io = |error: std::io::Error| fault(&target, error, PERMISSION);
        durable::private(&self.root).map_err(io)?;
        self.remove_leftovers().map_err(io)?;
        let next = self.root.join(ids::fresh(BUILDING));
        if bundle::copy(from, &next)? != model {
            return Err(fault(from, "it changed while it was read", "import it again"));
        }
        if target.exists() {
            // It is damaged, or it would have been taken above.
            let aside = self.root.join(ids::fresh(BUILDING));
            fs::rename(&target, &aside).map_err(io)?;
        }
        fs::rename(&next, &target).and_then(|()| durable::sync_folder(&self.root)).map_err(io)?;
        self.remove_leftovers().map_err(io)?;
        Ok(model)
    }

    /// What imports and caches that were cut off left behind.
    fn remove_leftovers(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name.trim_start_matches('.').starts_with(BUILDING) {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    /// Reads an installed bundle for a pack, and makes sure that it is the one that was asked for.
    pub fn load(
        &self,
        model: &Digest,
        schema: &Schema,
        compute: &Compute,
    ) -> Result<Understanding, UnderstandingError> {
        let folder = self.folder(model);
        let loaded = Understanding::load_on(&folder, schema, compute)?;
        match loaded.digest() == model {
            true => Ok(loaded),
            false => Err(fault(&folder, format!("it holds {}", loaded.digest()), RESTORE)),
        }
    }

    /// This bundle: an installed one, or the shipped one where it is that.
    pub fn open(
        &self,
        model: &Digest,
        shipped: &Path,
        schema: &Schema,
        compute: &Compute,
    ) -> Option<Understanding> {
        let shipped = || Understanding::load_on(shipped, schema, compute).ok();
        let found = self.load(model, schema, compute).ok().or_else(shipped);
        found.filter(|found| found.digest() == model)
    }

    /// Which bundles are to read now.
    pub fn chosen(&self) -> Result<Chosen, UnderstandingError> {
        Ok(chosen(&self.history()?))
    }

    /// Makes a change: adds its line to the history, behind the last whole one. The caller holds the lock.
    pub fn note(&self, change: &Change) -> Result<(), UnderstandingError> {
        let path = self.root.join(HISTORY);
        let line = serde_json::to_string(change).map_err(|error| fault(&path, error, RESTORE))?;
        let write = || {
            let mut file = File::options().create(true).append(true).read(true).open(&path)?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            file.set_len(whole(&text).len() as u64)?;
            writeln!(file, "{line}")?;
            file.sync_all()?;
            durable::sync_folder(&self.root)
        };
        write().map_err(|error| fault(&path, error, PERMISSION))
    }

    /// Every change so far, in order.
    pub fn history(&self) -> Result<Vec<Change>, UnderstandingError> {
        let path = self.root.join(HISTORY);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|error| fault(&path, error, RESTORE))?,
        };
        let line = |(number, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| {
                let remedy = "start `prokura serve`, which restores the file from the ledger";
                fault(&path, format!("line {}: {error}", number + 1), remedy)
            })
        };
        let lines = whole(&text).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.enumerate().map(line).collect()
    }

    /// Puts another history in the place of the file; gives where what was found is kept. The caller holds the lock.
    pub fn restore(&self, changes: &[Change]) -> Result<Option<PathBuf>, UnderstandingError> {
        let path = self.root.join(HISTORY);
        let kept = self.root.join(format!("{}.jsonl", ids::fresh("history_found")));
        let io = |error: std::io::Error| fault(&path, error, PERMISSION);
        let there = path.exists();
        if there {
            fs::copy(&path, &kept).map_err(io)?;
        }
        let mut text = String::new();
        for change in changes {
            text += &serde_json::to_string(change).map_err(|error| fault(&path, error, RESTORE))?;
            text.push('\n');
        }
        durable::replace(&path, BUILDING, text.as_bytes()).map_err(io)?;
        Ok(there.then_some(kept))
    }

    /// Held while something is changed; let go when it is dropped, also when the process dies.
    pub fn lock(&self) -> Result<File, UnderstandingError> {
        let path = self.root.join("lock");
        let open = || durable::private(&self.root).and_then(|()| File::create(&path));
        let file = open().map_err(|error| fault(&path, error, PERMISSION))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(fault(&path, "another command changes the models", "wait until it has ended"))
            }
            Err(TryLockError::Error(error)) => Err(fault(&path, error, RESTORE)),
        }
    }
}

fn fault(file: &Path, problem: impl ToString, remedy: &'static str) -> UnderstandingError {
    UnderstandingError::Bundle { file: file.to_owned(), problem: problem.to_string(), remedy }
}

/// A history without a last line that was never finished.
fn whole(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_installed_pointed_to_and_written_down() {
        let state = tempfile::tempdir().unwrap();
        let installed = Installed::of(state.path());
        let schema = Schema::read(Path::new("config")).unwrap();
        assert_eq!((installed.list().unwrap().len(), installed.history().unwrap().len()), (0, 0));
        let model = installed.import(Path::new("models/default"), &schema).unwrap();
        assert_eq!(installed.import(Path::new("models/default"), &schema).unwrap(), model);
        assert_eq!(installed.find(&model.hex()[..6]).unwrap(), model);
        assert!(installed.find("0000").unwrap_err().to_string().contains("prokura models import"));
        assert!(installed.find("").is_err());
        let change = Change {
            at: Timestamp::from_millis(1_000),
            action: Action::Promoted,
            model: Some(model.clone()),
            previous: None,
            by: "sara".to_owned(),
            forced: Some("a test".to_owned()),
            below: vec!["own.de.leaf".to_owned()],
        };
        let lock = installed.lock().unwrap();
        assert!(installed.lock().is_err());
        installed.note(&change).unwrap();
        drop(lock);
        assert!(installed.lock().is_ok());
        let reads = Chosen { current: Some(model.clone()), shadow: None };
        assert_eq!(installed.chosen().unwrap(), reads);
        assert_eq!(installed.history().unwrap(), std::slice::from_ref(&change));
        let listed = installed.list().unwrap();
        assert!(listed.len() == 1 && listed[0].current && !listed[0].shadow && listed[0].bytes > 1_000_000);
        // A damaged copy is replaced.
        std::fs::write(installed.folder(&model).join("card.md"), "other").unwrap();
        installed.import(Path::new("models/default"), &schema).unwrap();
        assert_eq!(bundle::verified_digest(&installed.folder(&model)).unwrap(), model);
        // A line that a crash cut short counts for nothing, and the next one begins where it began.
        let file = state.path().join("models/history.jsonl");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, [whole.as_slice(), b"{\"at\":12,\"act"].concat()).unwrap();
        assert_eq!(installed.chosen().unwrap(), reads);
        installed.note(&Change { action: Action::ShadowStarted, ..change.clone() }).unwrap();
        assert_eq!(installed.history().unwrap().len(), 2);
        assert_eq!(installed.chosen().unwrap().shadow, Some(model));
        installed.note(&Change { action: Action::ShadowEnded, model: None, ..change }).unwrap();
        assert_eq!(installed.chosen().unwrap(), reads);
        std::fs::write(&file, "nonsense\n").unwrap();
        assert!(installed.chosen().unwrap_err().to_string().contains("line 1"));
    }
}
