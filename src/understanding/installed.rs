//! The bundles of a state directory: `<state>/models/<hexadecimal digest>/`, the pointers `current` and
//! `shadow`, and `history.jsonl`, one line for every change with who made it and what was overridden.
//!
//! A pointer is replaced by renaming, so a reader sees the old name or the new one. `lock` is held by whoever
//! changes anything; readers need none.

use super::bundle;
use super::error::UnderstandingError;
use super::read::{Schema, Understanding};
use crate::base::{Digest, Timestamp, durable, ids};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const HISTORY: &str = "history.jsonl";
const BUILDING: &str = "building";

/// Which bundle is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pointer {
    /// The one that reads.
    Current,
    /// The one that reads along, without effect.
    Shadow,
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
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "model_imported",
            Self::Promoted => "model_promoted",
            Self::RolledBack => "model_rolled_back",
            Self::ShadowStarted => "model_shadow_started",
            Self::ShadowEnded => "model_shadow_ended",
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

impl Pointer {
    const fn file(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Shadow => "shadow",
        }
    }
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
        let (current, shadow) = (self.pointer(Pointer::Current)?, self.pointer(Pointer::Shadow)?);
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
            entries => entries.map_err(|error| self.fault(&self.root, error))?,
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
            (Some(_), Some(_)) => Err(self.fault(&self.root, format!("several begin with `{asked}`"))),
            (None, _) => {
                let problem = format!("no installed bundle begins with `{asked}`");
                Err(UnderstandingError::Bundle {
                    file: self.root.clone(),
                    problem,
                    remedy: "see `prokura models list`, or install it with `prokura models import DIR`",
                })
            }
        }
    }

    /// Checks a bundle whole, also that it can read with this pack, and copies it here.
    pub fn import(&self, from: &Path, schema: &Schema) -> Result<Digest, UnderstandingError> {
        let loaded = Understanding::load(from, schema)?;
        loaded.warm()?;
        let model = loaded.digest().clone();
        let target = self.folder(&model);
        if target.is_dir() && bundle::verified_digest(&target).is_ok_and(|there| there == model) {
            return Ok(model);
        }
        let io = |error: std::io::Error| self.fault(&target, error);
        fs::create_dir_all(&self.root).map_err(io)?;
        let next = self.root.join(ids::fresh(BUILDING));
        bundle::copy(from, &next)?;
        if target.exists() {
            // It is damaged, or it would have been taken above.
            let aside = self.root.join(ids::fresh(BUILDING));
            fs::rename(&target, &aside).and_then(|()| fs::remove_dir_all(&aside)).map_err(io)?;
        }
        fs::rename(&next, &target).and_then(|()| durable::sync_folder(&self.root)).map_err(io)?;
        Ok(model)
    }

    /// What a pointer names; `None` where nobody set it.
    pub fn pointer(&self, which: Pointer) -> Result<Option<Digest>, UnderstandingError> {
        let path = self.root.join(which.file());
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| self.fault(&path, error))?,
        };
        let named = Digest::parse(text.trim());
        named.map(Some).ok_or_else(|| self.fault(&path, "it does not name a bundle"))
    }

    /// Sets a pointer, or removes it, and writes the change down. The caller holds the lock.
    pub fn point(
        &self,
        which: Pointer,
        model: Option<&Digest>,
        change: &Change,
    ) -> Result<(), UnderstandingError> {
        let path = self.root.join(which.file());
        self.note(change)?;
        let done = match model {
            Some(model) => durable::replace(&path, BUILDING, format!("{model}\n").as_bytes()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        done.map_err(|error| self.fault(&path, error))
    }

    /// Adds a line to the history.
    pub fn note(&self, change: &Change) -> Result<(), UnderstandingError> {
        let path = self.root.join(HISTORY);
        let line = serde_json::to_string(change).map_err(|error| self.fault(&path, error))?;
        let open = || File::options().create(true).append(true).open(&path);
        let write = |mut file: File| writeln!(file, "{line}").and_then(|()| file.sync_all());
        open().and_then(write).map_err(|error| self.fault(&path, error))
    }

    /// Every change so far, in order.
    pub fn history(&self) -> Result<Vec<Change>, UnderstandingError> {
        let path = self.root.join(HISTORY);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|error| self.fault(&path, error))?,
        };
        let line = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|error| self.fault(&path, format!("line {}: {error}", number + 1)))
        };
        text.lines().enumerate().map(line).collect()
    }

    /// Held while something is changed; let go when it is dropped, also when the process dies.
    pub fn lock(&self) -> Result<File, UnderstandingError> {
        let path = self.root.join("lock");
        let open = || fs::create_dir_all(&self.root).and_then(|()| File::create(&path));
        let file = open().map_err(|error| self.fault(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(self.fault(&path, "another command changes the models")),
            Err(TryLockError::Error(error)) => Err(self.fault(&path, error)),
        }
    }

    fn fault(&self, file: &Path, problem: impl ToString) -> UnderstandingError {
        UnderstandingError::Bundle {
            file: file.to_owned(),
            problem: problem.to_string(),
            remedy: "see `prokura models list`; restore the state directory",
        }
    }
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
        installed.point(Pointer::Current, Some(&model), &change).unwrap();
        drop(lock);
        assert!(installed.lock().is_ok());
        assert_eq!(installed.pointer(Pointer::Current).unwrap(), Some(model.clone()));
        assert_eq!(installed.pointer(Pointer::Shadow).unwrap(), None);
        assert_eq!(installed.history().unwrap(), std::slice::from_ref(&change));
        let listed = installed.list().unwrap();
        assert!(listed.len() == 1 && listed[0].current && !listed[0].shadow && listed[0].bytes > 1_000_000);
        // A damaged copy is replaced.
        std::fs::write(installed.folder(&model).join("card.md"), "other").unwrap();
        installed.import(Path::new("models/default"), &schema).unwrap();
        assert_eq!(bundle::verified_digest(&installed.folder(&model)).unwrap(), model);
        installed.point(Pointer::Current, None, &change).unwrap();
        assert_eq!(installed.pointer(Pointer::Current).unwrap(), None);
        std::fs::write(state.path().join("models/current"), "nonsense").unwrap();
        assert!(installed.pointer(Pointer::Current).is_err());
    }
}
