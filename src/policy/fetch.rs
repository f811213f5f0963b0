//! Generations that another machine built: what it offers, and how they come here.
//!
//! All that the origin keeps is fetched, and not only what answers there: a case that another node began is searched in
//! the generation that it began with, also when the origin is out of reach just then.
//!
//! A generation comes into `<state>/index/fetching-<hexadecimal digest>`, its packs of vectors to the others. Once every
//! file has its digest and the whole can be opened, the folder is renamed; the pointer follows when all that it is to
//! name is there. What is whole when a transfer is cut off is not asked for again.

use super::error::PolicyError;
use super::generation::{Generation, MANIFEST, is_plain, manifest_in, packs_of, read_manifest, root};
use super::publish::{BUILDING, Current, Lock, Pointed, generations, point, pointer};
use super::vectors::{self, Shelf};
use crate::base::outbound::percent_encoded;
use crate::base::{Digest, durable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the origin answers.
pub const ROUTE: &str = "/v1/policies/generations";
/// What a generation that is being fetched is called, before its digest.
const FETCHING: &str = "fetching-";
/// Of a list of files or generations, in bytes.
const MOST_LISTED: u64 = 8 << 20;
/// Of one file: it is held in memory once, as it is when the generation is opened.
const MOST_OF_A_FILE: u64 = 2 << 30;
/// Of all files of a generation.
const MOST_IN_ALL: u64 = 32 << 30;

/// Asks the origin for what stands at a path, of at most so many bytes; why it was not had, otherwise.
pub type Ask = dyn Fn(&str, u64) -> Result<Vec<u8>, String> + Send + Sync;

/// What an origin has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// What answers there, for each encoder; the newest first.
    pub current: Vec<Current>,
    /// All that can be had.
    pub generations: Vec<Digest>,
}

/// One generation, as an origin has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offered {
    pub generation: Digest,
    /// The manifest first.
    pub files: Vec<OfferedFile>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OfferedFile {
    /// With `/`; a pack of vectors is `vectors/` and its hexadecimal digits.
    pub name: String,
    pub digest: Digest,
    pub bytes: u64,
}

/// What came of a look at the origin.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Fetched {
    pub fetched: Vec<Digest>,
    /// What is the newest current one here now, where it was another before.
    pub current: Option<Digest>,
    /// Of those that answer no new question, what could not be had, and why.
    pub left: Vec<String>,
}

/// What this state directory offers to others.
///
/// # Errors
/// That nothing was published yet.
pub fn offer(state: &Path) -> Result<Offer, PolicyError> {
    let (all, _) = pointer(state)?.ok_or_else(|| PolicyError::NotBuilt { state: state.to_path_buf() })?;
    Ok(Offer { current: all.all().cloned().collect(), generations: generations(&root(state))? })
}

/// The files of one generation, by the digest that somebody wrote down; `None`: there is none of it.
///
/// # Errors
/// A damaged generation, or the disk.
pub fn offered(state: &Path, digest: &str) -> Result<Option<Offered>, PolicyError> {
    let root = root(state);
    let Some(digest) = known(&root, digest)? else { return Ok(None) };
    let manifest = root.join(digest.hex()).join(MANIFEST);
    let bytes = fs::read(&manifest).map_err(PolicyError::io(&manifest))?;
    let mut names = vec![(MANIFEST.to_owned(), Digest::of(&bytes))];
    names.extend(read_manifest(&root, &digest)?.files);
    names.extend(packs_of(&root, &digest)?.into_iter().map(|pack| (vectors::path(&pack), pack)));
    let mut files = Vec::with_capacity(names.len());
    for (name, of) in names {
        let path = place(&root, &root.join(digest.hex()), &name);
        let bytes = fs::metadata(&path).map_err(PolicyError::io(&path))?.len();
        files.push(OfferedFile { name, digest: of, bytes });
    }
    Ok(Some(Offered { generation: digest, files }))
}

/// Where a file of a generation lies; `None` for a name that the generation does not list, whatever it is.
///
/// # Errors
/// A damaged generation.
pub fn offered_file(state: &Path, digest: &str, name: &str) -> Result<Option<PathBuf>, PolicyError> {
    let root = root(state);
    let Some(digest) = known(&root, digest)? else { return Ok(None) };
    let listed = name == MANIFEST
        || match pack(name) {
            Some(pack) => packs_of(&root, &digest)?.contains(&pack),
            None => read_manifest(&root, &digest)?.files.contains_key(name),
        };
    Ok(listed.then(|| place(&root, &root.join(digest.hex()), name)))
}

fn known(root: &Path, digest: &str) -> Result<Option<Digest>, PolicyError> {
    let Some(digest) = Digest::parse(digest) else { return Ok(None) };
    Ok(generations(root)?.contains(&digest).then_some(digest))
}

/// The pack that a name stands for.
fn pack(name: &str) -> Option<Digest> {
    let digest = Digest::parse(&format!("sha256:{}", name.rsplit('/').next()?))?;
    (vectors::path(&digest) == name).then_some(digest)
}

/// Packs lie beside the generations that share them.
fn place(root: &Path, folder: &Path, name: &str) -> PathBuf {
    if pack(name).is_some() { root.join(name) } else { folder.join(name) }
}

/// What the origin has at this moment.
///
/// # Errors
/// It does not say.
pub fn offered_now(ask: &Ask) -> Result<BTreeSet<Digest>, PolicyError> {
    let offer: Offer = list(ask, ROUTE)?;
    Ok(offer.generations.into_iter().collect())
}

/// Fetches what the origin has and this state directory lacks, and lets the pointer follow. Each current generation is
/// read whole, and fetched anew where it is damaged.
///
/// # Errors
/// As [`super::Policies::fetch`].
pub fn fetch(state: &Path, ask: &Ask) -> Result<Fetched, PolicyError> {
    look(state, &Shelf::new(root(state)), ask, (true, true))
}

/// See `fetch`; generations that are there are only looked through where `thorough`, and those that answer no new
/// question only had where `older`.
pub(super) fn look(
    state: &Path,
    shelf: &Shelf,
    ask: &Ask,
    (thorough, older): (bool, bool),
) -> Result<Fetched, PolicyError> {
    let offer: Offer = list(ask, ROUTE)?;
    let mut lines = offer.current.clone().into_iter();
    let no_current = || PolicyError::Origin { reason: "it names no current generation".to_owned() };
    let all = Pointed { newest: lines.next().ok_or_else(no_current)?, others: lines.collect() };
    let there = generations(&root(state))?;
    let pointed = pointer(state).ok().flatten().map(|(pointed, _)| pointed);
    let mut lacking: Vec<Digest> =
        offer.generations.iter().filter(|digest| !there.contains(digest)).cloned().collect();
    lacking.retain(|digest| older || all.all().any(|one| one.generation == *digest));
    if !thorough && lacking.is_empty() && pointed.as_ref() == Some(&all) {
        return Ok(Fetched::default());
    }
    let lock = Lock::take(state)?;
    remove_stale(&lock.root, &offer)?;
    let mut found = Fetched::default();
    for Current { generation, .. } in all.all() {
        lacking.retain(|digest| digest != generation);
        let whole = there.contains(generation) && Generation::read(&lock.root, generation, shelf).is_ok();
        if !whole {
            bring(&lock, shelf, ask, generation)?;
            found.fetched.push(generation.clone());
        }
    }
    if pointed.as_ref() != Some(&all) {
        point(&lock.root, &all)?;
        found.current = Some(all.newest.generation.clone());
    }
    for digest in lacking {
        match bring(&lock, shelf, ask, &digest) {
            Ok(()) => found.fetched.push(digest),
            Err(error) => found.left.push(error.to_string()),
        }
    }
    Ok(found)
}

/// What was begun of a generation that the origin does not have any more.
fn remove_stale(root: &Path, offer: &Offer) -> Result<(), PolicyError> {
    let wanted: BTreeSet<String> =
        offer.generations.iter().map(|digest| format!("{FETCHING}{}", digest.hex())).collect();
    for entry in fs::read_dir(root).map_err(PolicyError::io(root))? {
        let entry = entry.map_err(PolicyError::io(root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(FETCHING) && !wanted.contains(&name) {
            fs::remove_dir_all(entry.path()).map_err(PolicyError::io(&entry.path()))?;
        }
    }
    Ok(())
}

/// A list of the origin.
fn list<T: serde::de::DeserializeOwned>(ask: &Ask, path: &str) -> Result<T, PolicyError> {
    let bytes = ask(path, MOST_LISTED).map_err(|reason| PolicyError::Origin { reason })?;
    serde_json::from_slice(&bytes)
        .map_err(|_| PolicyError::Origin { reason: "its answer is not of this program's form".to_owned() })
}

/// Fetches one generation whole, or nothing of it that counts.
fn bring(lock: &Lock, shelf: &Shelf, ask: &Ask, digest: &Digest) -> Result<(), PolicyError> {
    let failed = |file: &str, reason: &str| PolicyError::NotFetched {
        generation: digest.to_string(),
        file: file.to_owned(),
        reason: reason.to_owned(),
    };
    let offered: Offered = list(ask, &format!("{ROUTE}/{digest}")).map_err(|error| match error {
        PolicyError::Origin { reason } => {
            failed("the list of its files", &format!("did not come whole: {reason}"))
        }
        error => error,
    })?;
    check(&offered, digest).map_err(|(file, reason)| failed(&file, reason))?;
    let folder = lock.root.join(format!("{FETCHING}{}", digest.hex()));
    durable::private(&folder).map_err(PolicyError::io(&folder))?;
    for OfferedFile { name, digest: of, bytes } in &offered.files {
        let path = place(&lock.root, &folder, name);
        let whole = match pack(name) {
            Some(pack) => shelf.pack(&pack).is_ok(),
            None => fs::read(&path).is_ok_and(|there| Digest::of(&there) == *of),
        };
        if !whole {
            let asked = ask(&format!("{ROUTE}/{digest}/files/{}", percent_encoded(name)), *bytes);
            let taken = asked.map_err(|reason| failed(name, &format!("did not come whole: {reason}")))?;
            if Digest::of(&taken) != *of {
                return Err(failed(name, "is not what the origin says that it is; it is asked for again"));
            }
            write(&path, &taken, pack(name).is_some())?;
        }
        if name == MANIFEST {
            // It says whether the rest is of any use here.
            manifest_in(&folder, digest)?.of_this_program()?;
        }
    }
    if let Err(error) = Generation::read_in(&folder, digest, shelf) {
        // What the origin lists is no generation: nothing of it is worth keeping.
        fs::remove_dir_all(&folder).map_err(PolicyError::io(&folder))?;
        return Err(error);
    }
    lock.put_in_place(&folder, digest)
}

/// What is wrong with a list of files; nothing of it has been used yet.
fn check(offered: &Offered, digest: &Digest) -> Result<(), (String, &'static str)> {
    let first = offered.files.first().map(|file| file.name.as_str());
    if offered.generation != *digest || first != Some(MANIFEST) {
        return Err((MANIFEST.to_owned(), "is not what the origin begins its list with"));
    }
    let mut all = 0_u64;
    for OfferedFile { name, digest, bytes } in &offered.files {
        all = all.saturating_add(*bytes);
        let other = pack(name).is_some_and(|pack| pack != *digest);
        if !is_plain(name) || other {
            return Err(("a file".to_owned(), "of the origin's list has a name that no file can have"));
        }
        if *bytes > MOST_OF_A_FILE || all > MOST_IN_ALL {
            return Err((name.clone(), "would be larger than any generation may be"));
        }
    }
    Ok(())
}

/// A file that is cut off is found by its digest and written anew; a pack, which others may need, is never there in part.
fn write(path: &Path, bytes: &[u8], shared: bool) -> Result<(), PolicyError> {
    let folder = path.parent().unwrap_or(path);
    durable::private(folder).map_err(PolicyError::io(folder))?;
    match shared {
        true => durable::replace(path, BUILDING, bytes),
        false => durable::write(path, bytes).and_then(|()| durable::sync_folder(folder)),
    }
    .map_err(PolicyError::io(path))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
