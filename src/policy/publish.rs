//! Building generations and making them current.
//!
//! `<state>/index/current` names the generations in force: a line for each encoder whose vectors there are, the
//! newest first. It is replaced by writing a new file and renaming it, so a reader sees the old names or the new
//! ones. `<state>/index/lock` is held by whoever changes anything there; readers need no lock. Where
//! `<state>/index/from` names another machine, its policies are fetched (see `fetch`) and none are published.

use super::bar::{RetrievalBar, Tested};
use super::document::{Document, conflicts, parse_date};
use super::embed::{embed, made_of};
use super::error::PolicyError;
use super::gather::{Gathered, gather};
use super::generation::{
    Blueprint, Embeddings, Generation, Manifest, documents_of, packs_of, places, read_manifest, root,
    sync_folder,
};
use super::neighbours::{self, LIMIT};
use super::vectors::{self, Shelf};
use crate::base::{Digest, Language, Timestamp, durable, ids};
use crate::understanding::Understanding;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const CURRENT: &str = "current";
const LOCK: &str = "lock";
pub(super) const BUILDING: &str = "building";
/// Whose policies these are, where another machine publishes them.
const FROM: &str = "from";

/// How to index.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The language of documents that do not say theirs.
    pub language: Language,
    /// When the generation counts as built.
    pub now: Timestamp,
    /// What embeds the passages; without it, or where it cannot, they are found by their words alone.
    pub models: Option<&'a Understanding>,
    /// What must be found before it is published.
    pub bar: Option<&'a RetrievalBar>,
    /// Of the documents before and after a removal or a rollback one that must not go.
    pub kept: Option<&'a Kept<'a>>,
}

/// See [`Options::kept`].
pub type Kept<'a> = dyn Fn(&[Document], &[Document]) -> Option<String> + 'a;

impl Options<'_> {
    fn keeps(&self, before: &[Document], after: &[Document]) -> Result<(), PolicyError> {
        match self.kept.and_then(|kept| kept(before, after)) {
            Some(document) => Err(PolicyError::Cited(document)),
            None => Ok(()),
        }
    }
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
    /// Whose vectors the passages have.
    pub encoder: Option<Digest>,
    /// How it did on the saved questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Files in the given folders whose format is not read.
    pub skipped: Vec<PathBuf>,
    /// What was passed over within files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One generation of a state directory.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Listed {
    pub generation: Digest,
    pub current: bool,
    pub built_at: Timestamp,
    pub documents: usize,
    pub passages: usize,
    pub encoder: Option<Digest>,
    /// Why it cannot be searched, where its manifest is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Reads the documents under `paths`, builds the generation that holds exactly these, and makes it the
/// current one. The same content again changes nothing but the pointer. `progress` receives done and all:
/// of files read, of documents embedded, of vectors put into a graph (see `neighbours`), of documents indexed.
///
/// # Errors
/// Flaws in the documents, another process at work, or the disk; the current generation then stays.
pub fn index(
    state: &Path,
    paths: &[PathBuf],
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Published, PolicyError> {
    let Gathered { documents, skipped, notes } = gather(paths, options.language, progress)?;
    let lock = Lock::to_publish(state)?;
    let published = lock.publish(&documents, options, progress)?;
    Ok(Published { skipped, notes, ..published })
}

/// Builds the generation that holds exactly these documents, sorted by id and version, and makes it the current one.
///
/// # Errors
/// As `index`.
pub fn publish(
    state: &Path,
    documents: &[Document],
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Published, PolicyError> {
    Lock::to_publish(state)?.publish(documents, options, progress)
}

/// Puts documents in the place of those with the same id and version, or beside the others, and takes those of the
/// ids in `removed` away; publishes what comes of it.
///
/// # Errors
/// As `index`; that there is no document to take away, that it has to be kept, that none would be left.
pub fn amend(
    state: &Path,
    (put, removed): (Vec<Document>, &BTreeSet<String>),
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Published, PolicyError> {
    let lock = Lock::to_publish(state)?;
    let before = lock.documents()?;
    if let Some(unknown) = removed.iter().find(|id| !before.iter().any(|document| document.id == **id)) {
        return Err(PolicyError::NoDocument(unknown.clone()));
    }
    let documents = amended(before.clone(), put, removed)?;
    options.keeps(&before, &documents)?;
    lock.publish(&documents, options, progress)
}

/// What `amend` would publish in the place of these documents, sorted by id and version.
///
/// # Errors
/// Versions that would be in force on the same day; that no document would be left.
pub fn amended(
    mut documents: Vec<Document>,
    put: Vec<Document>,
    removed: &BTreeSet<String>,
) -> Result<Vec<Document>, PolicyError> {
    let key = |document: &Document| (document.id.clone(), document.version.clone());
    let new: BTreeSet<_> = put.iter().map(key).collect();
    documents.retain(|document| !removed.contains(&document.id) && !new.contains(&key(document)));
    documents.extend(put);
    documents.sort_by(|a, b| (&a.id, &a.version).cmp(&(&b.id, &b.version)));
    let places = |document: &Document| (PathBuf::from(&document.id), 1, document.clone());
    let flaws = conflicts(&documents.iter().map(places).collect::<Vec<_>>());
    if !flaws.is_empty() {
        return Err(PolicyError::Flaws(flaws));
    }
    if documents.is_empty() {
        return Err(PolicyError::NoDocuments("what would be left".to_owned()));
    }
    Ok(documents)
}

/// What is current stays so while this value lives.
pub struct Following {
    pub published: Published,
    _lock: Lock,
}

/// Builds what is current anew for another encoder, or for this program where another one built it. Nothing is done
/// where it is there already. The generation of every other encoder stays current for it. Nobody can publish anything
/// before the result is dropped: time to have that encoder read.
///
/// # Errors
/// That nothing was published yet, or not by the machine whose policies these are; as `index`.
pub fn follow(
    state: &Path,
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Following, PolicyError> {
    let lock = Lock::take(state)?;
    let published = match origin(state)? {
        Some(origin) => lock.there(options, origin)?,
        None => lock.make(&lock.documents()?, options, true, progress)?,
    };
    Ok(Following { published, _lock: lock })
}

/// All generations, oldest first.
///
/// # Errors
/// The disk. What cannot be read is listed with its fault, as old as its folder.
pub fn list(state: &Path) -> Result<Vec<Listed>, PolicyError> {
    let root = root(state);
    let pointed = pointer(state)?.map(|(all, _)| all);
    let current: Vec<&Digest> = pointed.iter().flat_map(Pointed::all).map(|one| &one.generation).collect();
    let mut listed = Vec::new();
    for digest in generations(&root)? {
        let current = current.contains(&&digest);
        listed.push(match read_manifest(&root, &digest) {
            Ok(Manifest { built_at, documents, passages, encoder, .. }) => {
                Listed { generation: digest, current, built_at, documents, passages, encoder, fault: None }
            }
            Err(error) => {
                let path = root.join(digest.hex());
                let modified = fs::metadata(&path).and_then(|meta| meta.modified());
                let since = modified.map_err(PolicyError::io(&path))?.duration_since(SystemTime::UNIX_EPOCH);
                let millis = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
                let built_at = Timestamp::from_millis(millis);
                let fault = Some(error.to_string());
                Listed {
                    generation: digest,
                    current,
                    built_at,
                    documents: 0,
                    passages: 0,
                    encoder: None,
                    fault,
                }
            }
        });
    }
    listed.sort_by(|a, b| (a.built_at, &a.generation).cmp(&(b.built_at, &b.generation)));
    Ok(listed)
}

/// What `rollback` did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RolledBack {
    pub current: Digest,
    /// What was current before.
    pub previous: Option<Digest>,
}

/// Makes a generation the current one after checking it whole. The digest may be shortened to a beginning that only one
/// generation has. Where it has not the vectors of the encoder that searches, its documents are embedded for that before
/// anything changes, and what is current answers meanwhile.
///
/// # Errors
/// An unknown or damaged generation, one that lacks what has to be kept; the current one then stays.
pub fn rollback(
    state: &Path,
    digest: &str,
    options: Options,
    progress: &dyn Fn(usize, usize),
) -> Result<RolledBack, PolicyError> {
    let digest = find(state, digest)?;
    Lock::to_publish(state)?.roll_back(digest, options, progress)
}

/// Opens one generation, current or not, by its digest or the beginning of it.
///
/// # Errors
/// An unknown or damaged generation.
pub fn open_generation(state: &Path, digest: &str) -> Result<Generation, PolicyError> {
    let root = root(state);
    Generation::read(&root, &find(state, digest)?, &Shelf::new(root.clone()))
}

/// Whether a generation can be searched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    pub generation: Digest,
    pub whole: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<usize>,
    pub encoder: Option<Digest>,
    /// Bytes that its vectors take in memory, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_bytes: Option<usize>,
}

/// Reads generations whole and holds every file against its digest, and what was cut out of the documents against the
/// documents, which give the generation its name: each, or the one that is asked for.
///
/// # Errors
/// An unknown generation, the disk.
pub fn verify(state: &Path, asked: Option<&str>) -> Result<Vec<Verified>, PolicyError> {
    let names = match asked {
        Some(asked) => vec![find(state, asked)?],
        None => generations(&root(state))?,
    };
    let opened = |name: &Digest| {
        let opened = open_generation(state, name.as_str())?;
        made_of(&root(state), &opened)?;
        Ok(opened)
    };
    let verified = |name: Digest| match opened(&name) {
        Ok(found) => Ok(Verified {
            generation: name.clone(),
            whole: true,
            reason: None,
            documents: Some(found.documents().len()),
            encoder: found.manifest().encoder.clone(),
            vector_bytes: Some(found.vector_bytes()),
        }),
        Err(error @ (PolicyError::Damaged { .. } | PolicyError::Earlier { .. })) => Ok(Verified {
            generation: name.clone(),
            whole: false,
            reason: Some(error.to_string()),
            documents: None,
            encoder: None,
            vector_bytes: None,
        }),
        Err(error) => Err(error),
    };
    names.into_iter().map(verified).collect()
}

/// Removes generations that were built before `before` and are neither current nor needed, and the vectors that no
/// other has. Returns what is gone.
///
/// # Errors
/// The disk, or another process at work.
pub fn forget(
    state: &Path,
    before: Timestamp,
    needed: &BTreeSet<Digest>,
) -> Result<Vec<Digest>, PolicyError> {
    let lock = Lock::take(state)?;
    let old = list(state)?.into_iter().filter(|one| !one.current && one.built_at < before);
    let gone: Vec<Digest> = old.map(|one| one.generation).filter(|digest| !needed.contains(digest)).collect();
    gone.iter().try_for_each(|digest| lock.put_away(digest))?;
    // Without a generation that goes, there may be packs of a build that was cut off and goes on later.
    if !gone.is_empty() {
        lock.keep_packs()?;
    }
    Ok(gone)
}

/// From now on the policies of this state directory are those of another machine, at this address, and nothing else is
/// published here; `None`: they are its own.
///
/// # Errors
/// The disk.
pub fn take_from(state: &Path, address: Option<&str>) -> Result<(), PolicyError> {
    let root = root(state);
    let path = root.join(FROM);
    if origin(state)?.as_deref() == address {
        return Ok(());
    }
    match address {
        Some(address) => {
            durable::private(&root).map_err(PolicyError::io(&root))?;
            durable::replace(&path, BUILDING, address.as_bytes()).map_err(PolicyError::io(&path))
        }
        None => fs::remove_file(&path).map_err(PolicyError::io(&path)),
    }
}

/// Whose policies these are, where another machine publishes them.
fn origin(state: &Path) -> Result<Option<String>, PolicyError> {
    let path = root(state).join(FROM);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(PolicyError::io(&path)),
    }
}

/// The right to change the index of a state directory; others are told that it is taken. It is let go with the value, also
/// when the process dies.
pub(super) struct Lock {
    pub state: PathBuf,
    pub root: PathBuf,
    /// See [`LIMIT`].
    pub limit: usize,
    _file: fs::File,
}

impl Lock {
    /// Of who decides what the policies are.
    fn to_publish(state: &Path) -> Result<Self, PolicyError> {
        let lock = Self::take(state)?;
        match origin(state)? {
            Some(origin) => Err(PolicyError::Follows { state: state.to_path_buf(), origin }),
            None => Ok(lock),
        }
    }

    pub fn take(state: &Path) -> Result<Self, PolicyError> {
        let root = root(state);
        durable::private(&root).map_err(PolicyError::io(&root))?;
        let path = root.join(LOCK);
        let file = fs::File::create(&path).map_err(PolicyError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(PolicyError::Busy { state: state.to_path_buf() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(PolicyError::io(&path)(error)),
        }
        remove_leftovers(&root)?;
        Ok(Self { state: state.to_path_buf(), root, limit: LIMIT, _file: file })
    }

    /// Of the newest current generation, whoever built it.
    fn documents(&self) -> Result<Vec<Document>, PolicyError> {
        let (all, _) =
            pointer(&self.state)?.ok_or_else(|| PolicyError::NotBuilt { state: self.state.clone() })?;
        documents_of(&self.root, &all.newest.generation)
    }

    /// What is current for an encoder, where another machine publishes it.
    fn there(&self, options: Options, origin: String) -> Result<Published, PolicyError> {
        let encoder = options.models.and_then(Understanding::searcher);
        let known = pointer(&self.state)?.map(|(all, _)| all);
        let own = known.iter().flat_map(Pointed::all).find(|one| one.encoder.as_ref() == encoder);
        let own = own.or(known.as_ref().map(|all| &all.newest).filter(|_| encoder.is_none()));
        let Some(own) = own else {
            return Err(PolicyError::Follows { state: self.state.clone(), origin });
        };
        let manifest = read_manifest(&self.root, &own.generation)?;
        Ok(Published {
            generation: own.generation.clone(),
            previous: Some(own.generation.clone()),
            built: false,
            documents: manifest.documents,
            passages: manifest.passages,
            encoder: manifest.encoder,
            tested: None,
            skipped: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub fn publish(
        &self,
        documents: &[Document],
        options: Options,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Published, PolicyError> {
        self.make(documents, options, false, progress)
    }

    /// Builds a generation where there is none, and makes it current: for its encoder alone when it stands `beside`
    /// what is current for others.
    fn make(
        &self,
        documents: &[Document],
        options: Options,
        beside: bool,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Published, PolicyError> {
        let encoder = options.models.and_then(Understanding::searcher);
        let shelf = Shelf::new(self.root.clone());
        let (digest, manifest, built) = self.there_or_built(documents, options, &shelf, progress)?;
        let tested = match self.tested(&digest, options, &shelf) {
            // Nobody shall roll back to what was never let through.
            Err(error @ PolicyError::BelowBar(_)) if built => {
                self.put_away(&digest)?;
                return Err(error);
            }
            tested => tested?,
        };
        let known = match pointer(&self.state) {
            // What it named cannot be read any more, and what is published takes its place.
            Err(PolicyError::Damaged { .. }) => None,
            known => known?.map(|(all, _)| all),
        };
        let own = known.iter().flat_map(Pointed::all).find(|one| one.encoder.as_ref() == encoder);
        let previous = own.or(known.as_ref().map(|all| &all.newest)).map(|one| one.generation.clone());
        let searched = |one: &&Current| {
            let manifest = read_manifest(&self.root, &one.generation);
            manifest.and_then(|manifest| manifest.of_this_program()).is_ok()
        };
        let others =
            known.iter().flat_map(Pointed::all).filter(|one| beside && one.encoder.as_ref() != encoder);
        let others = others.filter(searched).cloned().collect();
        let newest = Current { generation: digest.clone(), encoder: encoder.cloned() };
        point(&self.root, &Pointed { newest, others })?;
        self.keep_packs()?;
        Ok(Published {
            generation: digest,
            previous,
            built,
            documents: manifest.documents,
            passages: manifest.passages,
            encoder: manifest.encoder,
            tested,
            skipped: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The generation of these documents, and whether there was none.
    fn there_or_built(
        &self,
        documents: &[Document],
        options: Options,
        shelf: &Shelf,
        progress: &dyn Fn(usize, usize),
    ) -> Result<(Digest, Manifest, bool), PolicyError> {
        let blueprint = Blueprint::of(documents, options.models.and_then(Understanding::searcher))?;
        let digest = blueprint.digest.clone();
        match Generation::read(&self.root, &digest, shelf) {
            Ok(there) => Ok((digest, there.manifest, false)),
            Err(_) => Ok((digest, self.build(blueprint, documents, options, shelf, progress)?, true)),
        }
    }

    fn roll_back(
        &self,
        digest: Digest,
        options: Options,
        progress: &dyn Fn(usize, usize),
    ) -> Result<RolledBack, PolicyError> {
        let shelf = Shelf::new(self.root.clone());
        let generation = Generation::read(&self.root, &digest, &shelf)?;
        let asked = Current { generation: digest, encoder: generation.manifest().encoder.clone() };
        // One that cannot be read is what somebody may want to get away from.
        let before = self.documents().unwrap_or_default();
        options.keeps(&before, generation.documents())?;
        let searcher = options.models.and_then(Understanding::searcher);
        let all = match searcher.filter(|searcher| asked.encoder.as_ref() != Some(*searcher)) {
            None => Pointed { newest: asked, others: Vec::new() },
            Some(searcher) => {
                match self.there_or_built(generation.documents(), options, &shelf, progress) {
                    Ok((generation, ..)) => Pointed {
                        newest: Current { generation, encoder: Some(searcher.clone()) },
                        others: vec![asked],
                    },
                    // Its documents are what was asked for; they are found by their words alone until the next start.
                    Err(error) => {
                        tracing::warn!(%error, "what is rolled back to could not be embedded anew");
                        Pointed { newest: asked, others: Vec::new() }
                    }
                }
            }
        };
        // One that cannot be read is what somebody may want to get away from.
        let previous = pointer(&self.state).ok().flatten().map(|(all, _)| all.newest.generation);
        point(&self.root, &all)?;
        Ok(RolledBack { current: all.newest.generation, previous })
    }

    /// Removes a generation, at once for whoever looks.
    fn put_away(&self, digest: &Digest) -> Result<(), PolicyError> {
        let aside = self.root.join(ids::fresh(BUILDING));
        fs::rename(self.root.join(digest.hex()), &aside).map_err(PolicyError::io(&aside))?;
        sync_folder(&self.root)?;
        remove_leftovers(&self.root)
    }

    /// Asks what was built the saved questions.
    fn tested(
        &self,
        digest: &Digest,
        options: Options,
        shelf: &Shelf,
    ) -> Result<Option<Tested>, PolicyError> {
        let Some(bar) = options.bar.filter(|bar| !bar.questions.is_empty()) else { return Ok(None) };
        let generation = Generation::read(&self.root, digest, shelf)?;
        let today = parse_date(&options.now.date()).unwrap_or(jiff::civil::Date::MAX);
        // Nothing that can be read is before the first.
        let before = self.documents().unwrap_or_default();
        let tested = bar.test(&generation, &before, options.models, today)?;
        if tested.enough { Ok(Some(tested)) } else { Err(PolicyError::BelowBar(Box::new(tested))) }
    }

    fn build(
        &self,
        blueprint: Blueprint,
        documents: &[Document],
        options: Options,
        shelf: &Shelf,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Manifest, PolicyError> {
        let places = places(documents);
        let embeddings = match options.models.filter(|models| models.searcher().is_some()) {
            None => None,
            Some(models) => {
                let embedded = || embed(&self.root, documents, &places, models, progress);
                let made = embedded()?;
                // Vectors that were damaged since they were made are made again.
                Some(if remove_damaged(&self.root, &made, shelf)? { embedded()? } else { made })
            }
        };
        let digest = blueprint.digest.clone();
        let folder = self.root.join(ids::fresh(BUILDING));
        let graph = match &embeddings {
            None => BTreeMap::new(),
            Some(made) => {
                let before = options.models.and_then(|models| self.before(models.searcher()));
                let before = before.as_ref().map(|(folder, manifest)| (folder.as_path(), manifest));
                neighbours::put(&folder, before, (made, places.len()), (self.limit, shelf), progress)?
            }
        };
        let manifest = blueprint.build(
            &folder,
            documents,
            (&places, embeddings.as_ref(), graph),
            options.now,
            progress,
        )?;
        self.put_in_place(&folder, &digest)?;
        Ok(manifest)
    }

    /// What is current with the vectors of an encoder, where it can be had.
    fn before(&self, encoder: Option<&Digest>) -> Option<(PathBuf, Manifest)> {
        let (all, _) = pointer(&self.state).ok().flatten()?;
        let own = all.all().find(|one| one.encoder.as_ref() == encoder)?;
        let manifest = read_manifest(&self.root, &own.generation).ok()?;
        Some((self.root.join(own.generation.hex()), manifest))
    }

    /// Makes a folder that is whole the generation of this digest.
    pub fn put_in_place(&self, folder: &Path, digest: &Digest) -> Result<(), PolicyError> {
        let target = self.root.join(digest.hex());
        if target.exists() {
            // It was found damaged, or it would not be made again.
            let aside = self.root.join(ids::fresh(BUILDING));
            fs::rename(&target, &aside).map_err(PolicyError::io(&target))?;
        }
        fs::rename(folder, &target).map_err(PolicyError::io(&target))?;
        sync_folder(&self.root)?;
        remove_leftovers(&self.root)
    }

    /// Lets go the packs that no generation needs.
    fn keep_packs(&self) -> Result<(), PolicyError> {
        let mut needed = BTreeSet::new();
        for digest in generations(&self.root)? {
            needed.extend(packs_of(&self.root, &digest)?);
        }
        vectors::keep(&self.root, |pack| needed.contains(pack))
    }
}

/// Whether there were any.
fn remove_damaged(root: &Path, made: &Embeddings, shelf: &Shelf) -> Result<bool, PolicyError> {
    let mut any = false;
    for pack in &made.packs {
        if shelf.pack(pack).err() == Some(vectors::CHANGED) {
            let path = root.join(vectors::path(pack));
            fs::remove_file(&path).map_err(PolicyError::io(&path))?;
            any = true;
        }
    }
    Ok(any)
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

pub(super) fn generations(root: &Path) -> Result<Vec<Digest>, PolicyError> {
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

/// A line of the pointer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Current {
    pub generation: Digest,
    /// For whose questions; `None`: for those that are compared by their words alone.
    pub encoder: Option<Digest>,
}

/// What the pointer names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pointed {
    pub newest: Current,
    /// The same documents for other encoders.
    pub others: Vec<Current>,
}

impl Pointed {
    pub fn all(&self) -> impl Iterator<Item = &Current> {
        std::iter::once(&self.newest).chain(&self.others)
    }
}

pub(super) fn point(root: &Path, all: &Pointed) -> Result<(), PolicyError> {
    let current = root.join(CURRENT);
    let line = |one: &Current| match &one.encoder {
        Some(encoder) => format!("{} {encoder}\n", one.generation),
        None => format!("{}\n", one.generation),
    };
    let text: String = all.all().map(line).collect();
    durable::replace(&current, BUILDING, text.as_bytes()).map_err(PolicyError::io(&current))
}

/// When the pointer was written tells two writings of the same names apart.
pub(super) type Stamp = (Pointed, Option<SystemTime>);

/// What the pointer names; `None` when nothing was ever published.
pub(super) fn pointer(state: &Path) -> Result<Option<Stamp>, PolicyError> {
    let path = root(state).join(CURRENT);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(PolicyError::io(&path))?,
    };
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let generation = Digest::parse(words.next()?)?;
        let encoder = words.next().map(|word| Digest::parse(word).ok_or(())).transpose().ok()?;
        Some(Current { generation, encoder })
    };
    let mut all = text.lines().map(line);
    let (newest, others) = (all.next().flatten(), all.collect::<Option<Vec<_>>>());
    let (Some(newest), Some(others)) = (newest, others) else {
        return Err(PolicyError::Damaged {
            generation: CURRENT.to_owned(),
            file: CURRENT.to_owned(),
            reason: "does not name a generation".to_owned(),
        });
    };
    let all = Pointed { newest, others };
    Ok(Some((all, fs::metadata(&path).and_then(|meta| meta.modified()).ok())))
}
