//! Publishing generations, and the handle that always answers from the current one.
//!
//! `<state>/index/current` names the generation in force. It is replaced by writing a new file and renaming
//! it, so a reader sees the old name or the new one. `<state>/index/lock` is held by whoever changes
//! anything there; readers need no lock.

use super::document::Document;
use super::error::PolicyError;
use super::gather::gather;
use super::generation::{Blueprint, Generation, Manifest, read_manifest, root, sync_folder};
use super::grounds::Grounds;
use super::search::Question;
use crate::base::{Digest, Language, Timestamp, durable, ids};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

const CURRENT: &str = "current";
const LOCK: &str = "lock";
const BUILDING: &str = "building";

/// How to index.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The language of documents that do not say theirs.
    pub language: Language,
    /// When the generation counts as built.
    pub now: Timestamp,
}

/// What `index` did.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Published {
    pub generation: Digest,
    /// What was current before.
    pub previous: Option<Digest>,
    /// False when a generation with this very content was there already.
    pub built: bool,
    pub documents: usize,
    pub passages: usize,
    /// Files in the given folders whose format is not read.
    pub skipped: Vec<PathBuf>,
}

/// One generation of a state directory.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Listed {
    pub generation: Digest,
    pub current: bool,
    pub built_at: Timestamp,
    pub documents: usize,
    pub passages: usize,
}

/// Reads the documents under `paths`, builds the generation that holds exactly these, and makes it the
/// current one. The same content again changes nothing but the pointer. `progress` receives done and all,
/// first of files read, then of documents indexed.
///
/// # Errors
/// Flaws in the documents, another process at work, or the disk; the current generation then stays.
pub fn index(
    state: &Path,
    paths: &[PathBuf],
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Published, PolicyError> {
    let gathered = gather(paths, options.language, progress)?;
    let root = root(state);
    durable::private(&root).map_err(PolicyError::io(&root))?;
    let _lock = lock(state)?;
    remove_leftovers(&root)?;
    let blueprint = Blueprint::of(&gathered.documents)?;
    let digest = blueprint.digest.clone();
    let (manifest, built) = match Generation::read(&root, &digest) {
        Ok(there) => (there.manifest, false),
        Err(_) => (build(&root, blueprint, &gathered.documents, options.now, progress)?, true),
    };
    let previous = pointer(state)?.map(|(digest, _)| digest);
    point(&root, &digest)?;
    Ok(Published {
        generation: digest,
        previous,
        built,
        documents: manifest.documents,
        passages: manifest.passages,
        skipped: gathered.skipped,
    })
}

/// All generations, oldest first.
///
/// # Errors
/// When a manifest cannot be read.
pub fn list(state: &Path) -> Result<Vec<Listed>, PolicyError> {
    let root = root(state);
    let current = pointer(state)?.map(|(digest, _)| digest);
    let mut listed = Vec::new();
    for digest in generations(&root)? {
        let Manifest { built_at, documents, passages, .. } = read_manifest(&root, &digest)?;
        let current = current.as_ref() == Some(&digest);
        listed.push(Listed { generation: digest, current, built_at, documents, passages });
    }
    listed.sort_by(|a, b| (a.built_at, &a.generation).cmp(&(b.built_at, &b.generation)));
    Ok(listed)
}

/// Makes a generation the current one after checking it whole. The digest may be shortened to a beginning
/// that only one generation has. Returns what is current now.
///
/// # Errors
/// An unknown or damaged generation; the current one then stays.
pub fn rollback(state: &Path, digest: &str) -> Result<Digest, PolicyError> {
    let digest = find(state, digest)?;
    let _lock = lock(state)?;
    let root = root(state);
    Generation::read(&root, &digest)?;
    point(&root, &digest)?;
    Ok(digest)
}

/// Opens one generation, current or not, by its digest or the beginning of it.
///
/// # Errors
/// An unknown or damaged generation.
pub fn open_generation(state: &Path, digest: &str) -> Result<Generation, PolicyError> {
    Generation::read(&root(state), &find(state, digest)?)
}

/// The generation that a digest or the beginning of one names.
fn find(state: &Path, asked: &str) -> Result<Digest, PolicyError> {
    let known = generations(&root(state))?;
    if known.is_empty() {
        return Err(PolicyError::NotBuilt { state: state.to_path_buf() });
    }
    let hex = asked.strip_prefix("sha256:").unwrap_or(asked);
    let mut matching = known.iter().filter(|digest| hex.len() >= 4 && digest.hex().starts_with(hex));
    match (matching.next(), matching.next()) {
        (Some(digest), None) => Ok(digest.clone()),
        _ => {
            let known: Vec<&str> = known.iter().map(Digest::as_str).collect();
            Err(PolicyError::UnknownGeneration { asked: asked.to_owned(), known: known.join(", ") })
        }
    }
}

fn generations(root: &Path) -> Result<Vec<Digest>, PolicyError> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PolicyError::io(root))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(PolicyError::io(root))?.file_name();
        found.extend(Digest::parse(&format!("sha256:{}", name.to_string_lossy())));
    }
    found.sort();
    Ok(found)
}

fn build(
    root: &Path,
    blueprint: Blueprint,
    documents: &[Document],
    now: Timestamp,
    progress: &dyn Fn(usize, usize),
) -> Result<Manifest, PolicyError> {
    let target = root.join(blueprint.digest.hex());
    let folder = root.join(ids::fresh(BUILDING));
    let manifest = blueprint.build(&folder, documents, now, progress)?;
    if target.exists() {
        // It was found damaged, or it would not be built again.
        let aside = root.join(ids::fresh(BUILDING));
        fs::rename(&target, &aside).map_err(PolicyError::io(&target))?;
    }
    fs::rename(&folder, &target).map_err(PolicyError::io(&target))?;
    sync_folder(root)?;
    remove_leftovers(root)?;
    Ok(manifest)
}

/// Removes what a build that was cut off left behind. Only the holder of the lock may.
fn remove_leftovers(root: &Path) -> Result<(), PolicyError> {
    for entry in fs::read_dir(root).map_err(PolicyError::io(root))? {
        let entry = entry.map_err(PolicyError::io(root))?;
        if entry.file_name().to_string_lossy().starts_with(BUILDING) {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(PolicyError::io(&path))?;
        }
    }
    Ok(())
}

/// The lock is let go when the file closes, also when the process dies.
fn lock(state: &Path) -> Result<fs::File, PolicyError> {
    let path = root(state).join(LOCK);
    let file = fs::File::create(&path).map_err(PolicyError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(PolicyError::Busy { state: state.to_path_buf() }),
        Err(fs::TryLockError::Error(error)) => Err(PolicyError::io(&path)(error)),
    }
}

fn point(root: &Path, digest: &Digest) -> Result<(), PolicyError> {
    let current = root.join(CURRENT);
    durable::replace(&current, BUILDING, format!("{digest}\n").as_bytes()).map_err(PolicyError::io(&current))
}

/// When the pointer was written: tells two writings of the same name apart.
type Stamp = (Digest, Option<SystemTime>);

/// What the pointer names; `None` when nothing was ever published.
fn pointer(state: &Path) -> Result<Option<Stamp>, PolicyError> {
    let path = root(state).join(CURRENT);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(PolicyError::io(&path))?,
    };
    let Some(digest) = Digest::parse(text.trim()) else {
        return Err(PolicyError::Damaged {
            generation: "current".to_owned(),
            file: CURRENT.to_owned(),
            reason: "does not name a generation".to_owned(),
        });
    };
    Ok(Some((digest, fs::metadata(&path).and_then(|meta| meta.modified()).ok())))
}

/// The policies of a state directory. Each search answers from one generation: the one that is current
/// when it begins. Cheap to share between threads.
pub struct Policies {
    state: PathBuf,
    live: Mutex<Live>,
    /// The earlier generation that was asked for last.
    earlier: Mutex<Option<Arc<Generation>>>,
}

struct Live {
    generation: Arc<Generation>,
    stamp: Stamp,
    /// Why the generation that `stamp` names could not be loaded.
    fault: Option<String>,
}

impl Policies {
    /// # Errors
    /// [`PolicyError::NotBuilt`] when nothing was published yet; a damaged generation.
    pub fn open(state: &Path) -> Result<Self, PolicyError> {
        let stamp = pointer(state)?.ok_or_else(|| PolicyError::NotBuilt { state: state.to_path_buf() })?;
        let generation = Arc::new(Generation::read(&root(state), &stamp.0)?);
        Ok(Self {
            state: state.to_path_buf(),
            live: Mutex::new(Live { generation, stamp, fault: None }),
            earlier: Mutex::default(),
        })
    }

    /// See [`Generation::search`]. Reads the pointer first; a newly published generation is loaded by the
    /// search that first sees it.
    ///
    /// # Errors
    /// Only for a failure of the search engine.
    pub fn search(&self, question: &Question) -> Result<Grounds, PolicyError> {
        self.current().search(question)
    }

    /// The current generation. When a newly published one cannot be loaded, the last good one goes on
    /// answering and [`Policies::fault`] says why.
    pub fn current(&self) -> Arc<Generation> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match pointer(&self.state) {
            Ok(Some(stamp)) if stamp != live.stamp => {
                let same = stamp.0 == *live.generation.digest();
                let loaded =
                    if same { Ok(None) } else { Generation::read(&root(&self.state), &stamp.0).map(Some) };
                live.stamp = stamp;
                live.fault = loaded.as_ref().err().map(PolicyError::to_string);
                if let Ok(Some(generation)) = loaded {
                    live.generation = Arc::new(generation);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => live.fault = Some("the pointer to the current generation is gone".to_owned()),
            Err(error) => live.fault = Some(error.to_string()),
        }
        Arc::clone(&live.generation)
    }

    /// The generation of this digest, for a case that began with it; `None` where it cannot be had any more.
    pub fn pinned(&self, digest: &Digest) -> Option<Arc<Generation>> {
        let current = self.current();
        if current.digest() == digest {
            return Some(current);
        }
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        if earlier.as_ref().is_none_or(|known| known.digest() != digest) {
            *earlier = Generation::read(&root(&self.state), digest).ok().map(Arc::new);
        }
        earlier.clone()
    }

    /// Why what was published last is not what answers, if so. For the readiness of the service.
    pub fn fault(&self) -> Option<String> {
        self.current();
        self.live.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }
}
