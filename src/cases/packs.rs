//! The packs that cases began with. Each pack that was ever in force is an event with all its files, so that a case that
//! waits keeps to its plan, its texts and its rules, and so that a decision can be taken again from the ledger alone.

use super::CaseError;
use super::pack::{Pack, PackFiles, load_kept};
use crate::base::{Digest, Timestamp, durable};
use crate::ledger::{Append, By, Digests, Ledger, LedgerError, MOST_CONFLICTS, NewEvent, Stream, StreamKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The one stream of its kind.
const STREAM: &str = "packs";

#[derive(Serialize, Deserialize)]
struct Recorded {
    pack: Digest,
    /// Texts by path.
    files: BTreeMap<String, String>,
}

fn all(ledger: &Ledger) -> Result<Vec<Recorded>, LedgerError> {
    let entries = ledger.stream(&Stream::new(StreamKind::Rules, STREAM), 0)?;
    let damaged = |_| LedgerError::Damaged {
        stream: STREAM.to_owned(),
        reason: "it is not the form of a pack".to_owned(),
    };
    entries.into_iter().map(|entry| serde_json::from_value(entry.body).map_err(damaged)).collect()
}

/// Writes a pack into the ledger, unless it is there. Blocks.
///
/// # Errors
/// A ledger that cannot be read or written.
pub fn record(ledger: &Ledger, files: &PackFiles, at: Timestamp) -> Result<(), CaseError> {
    let pack = files.digest();
    let mut conflicts = 0..MOST_CONFLICTS;
    loop {
        let known = all(ledger)?;
        if known.iter().any(|known| known.pack == pack) {
            return Ok(());
        }
        let body = Recorded { pack: pack.clone(), files: files.deciding().collect() };
        let body = serde_json::to_value(body).map_err(|error| LedgerError::Store(error.to_string()))?;
        let (stream, digests) =
            (Stream::new(StreamKind::Rules, STREAM), Digests::from([("pack".to_owned(), pack.clone())]));
        let events = vec![NewEvent { at, kind: "pack", body }];
        match ledger.append(&Append::kept(stream, known.len() as u64, digests, events), By::Anybody) {
            Ok(_) => return Ok(()),
            // Another node that starts, too, may have written it.
            Err(LedgerError::Conflict { .. }) if conflicts.next().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Packs by their digest: those of the ledger, and the current one.
pub struct Packs {
    ledger: Arc<Ledger>,
    /// Where recorded packs are unpacked: a pack is read from files.
    folder: PathBuf,
    current: Arc<Pack>,
    /// `None`: it is not there, or this program cannot read it.
    known: Mutex<BTreeMap<Digest, Option<Arc<Pack>>>>,
}

impl Packs {
    pub fn new(ledger: Arc<Ledger>, state: &Path, current: Arc<Pack>) -> Self {
        Self { ledger, folder: state.join("packs"), current, known: Mutex::default() }
    }

    pub fn current(&self) -> Arc<Pack> {
        Arc::clone(&self.current)
    }

    /// The pack of this digest; `None` when the ledger does not have it, or this program cannot read it. Blocks.
    ///
    /// # Errors
    /// A ledger or disk that fails: then nobody knows.
    pub fn pinned(&self, digest: &Digest) -> Result<Option<Arc<Pack>>, LedgerError> {
        if *digest == self.current.digest {
            return Ok(Some(Arc::clone(&self.current)));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(digest) {
            return Ok(known.clone());
        }
        let loaded = self.load(digest)?.map_err(|reason| {
            tracing::warn!(pack = %digest, reason, "a pack that cases wait with cannot be had");
        });
        let loaded = loaded.ok().map(Arc::new);
        known.insert(digest.clone(), loaded.clone());
        Ok(loaded)
    }

    fn load(&self, digest: &Digest) -> Result<Result<Pack, String>, LedgerError> {
        let Some(recorded) = all(&self.ledger)?.into_iter().find(|known| known.pack == *digest) else {
            return Ok(Err("the ledger does not have it".to_owned()));
        };
        let folder = self.folder.join(digest.hex());
        let failed = |error: std::io::Error| LedgerError::Directory {
            path: folder.clone(),
            reason: error.to_string(),
        };
        for (name, text) in &recorded.files {
            let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let path = folder.join(name);
            let (Some(parent), Some(last)) = (path.parent().filter(|_| plain), path.file_name()) else {
                return Ok(Err("it names a file outside of itself".to_owned()));
            };
            durable::private(parent).map_err(failed)?;
            let unfinished = format!("{}.part", last.to_string_lossy());
            durable::replace(&path, &unfinished, text.as_bytes()).map_err(failed)?;
        }
        let loaded = load_kept(&folder).map_err(|found| {
            let first = found.first().map(ToString::to_string).unwrap_or_default();
            format!("{} faults; the first: {first}", found.len())
        });
        Ok(loaded.and_then(|loaded| match loaded.digest == *digest {
            true => Ok(loaded),
            false => Err("its files are not those that its digest is of".to_owned()),
        }))
    }
}
