//! One immutable state of the index: a folder `<state>/index/<hexadecimal digest>/` with
//!
//! - `documents.jsonl`: every document with its whole body, sorted by id and version;
//! - `passages.jsonl`: where each of their passages stands, in the order of the documents;
//! - `compounds.txt`: the words of German documents with their counts, by which compounds are taken apart;
//! - `tantivy/`: the inverted index over the passages;
//! - `vectors.json`: whose vectors the passages have, and the packs that hold them (see `vectors`);
//! - where the passages are very many, a graph over their vectors (see `neighbours`);
//! - `manifest.json`: the SHA-256 of each of these files, and what made them.
//!
//! The digest that names the folder covers `documents.jsonl`, the encoder, and the versions of chunker, analysis and
//! layout, so equal content has one name. A generation is read and checked whole when it is opened, and
//! is searched from memory: what was checked is what answers, and nothing writes into the folder again.

use super::analysis;
use super::chunk::{self, characters};
use super::compounds::Compounds;
use super::document::{Document, in_force};
use super::error::PolicyError;
use super::grounds::Passage;
use super::invert::{self, Fields};
use super::neighbours::{self, Neighbours};
use super::vectors::{self, Pack, Shelf};
use crate::base::{Digest, Timestamp, durable};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::{Index, Searcher};

/// Changes whenever the same documents may give another index.
const LAYOUT: &str = "layout-2";
const DOCUMENTS: &str = "documents.jsonl";
pub(super) const PASSAGES: &str = "passages.jsonl";
const COMPOUNDS: &str = "compounds.txt";
pub(super) const VECTORS: &str = "vectors.json";
pub(super) const MANIFEST: &str = "manifest.json";
const TANTIVY: &str = "tantivy";

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub generation: Digest,
    pub built_at: Timestamp,
    pub documents: usize,
    pub passages: usize,
    /// Whose vectors the passages have; `None`: they are found by their words alone.
    #[serde(default)]
    pub encoder: Option<Digest>,
    pub made_by: Vec<String>,
    /// Path within the folder, with `/`, to the SHA-256 of the file.
    pub files: BTreeMap<String, Digest>,
}

impl Manifest {
    /// # Errors
    /// [`PolicyError::Earlier`]: the index is of a program that searches otherwise.
    pub(super) fn of_this_program(&self) -> Result<(), PolicyError> {
        match self.made_by == made_by() {
            true => Ok(()),
            false => Err(PolicyError::Earlier { generation: self.generation.to_string() }),
        }
    }
}

/// Where a passage stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Counted in `documents`.
    pub document: usize,
    pub section: Vec<String>,
    /// Characters of the document's body.
    pub start: usize,
    pub end: usize,
    /// The head of the table that it begins in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<[usize; 2]>,
}

/// vectors.json
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Embeddings {
    /// In the order in which they are looked into.
    pub packs: Vec<Digest>,
    /// For each document the digest of what its passages were embedded as.
    pub documents: Vec<Digest>,
}

/// A generation that was opened and found whole.
pub struct Generation {
    pub(super) manifest: Manifest,
    pub(super) documents: Vec<Document>,
    /// On which days each document is in force.
    pub(super) days: Vec<Option<(Date, Date)>>,
    pub(super) places: Vec<Place>,
    /// For each document its passages.
    pub(super) passages: Vec<Range<usize>>,
    pub(super) searcher: Searcher,
    pub(super) fields: Fields,
    pub(super) compounds: Arc<Compounds>,
    pub(super) vectors: Option<Vectors>,
    /// Where the passages are very many.
    pub(super) neighbours: Option<Neighbours>,
}

/// The vectors of a generation's passages.
pub(super) struct Vectors {
    packs: Vec<Arc<Pack>>,
    /// For each document its pack, and its first passage there.
    at: Vec<(usize, usize)>,
}

impl Vectors {
    fn open(
        shelf: &Shelf,
        encoder: &Digest,
        wanted: &Embeddings,
        passages: &[Range<usize>],
    ) -> Result<Self, (String, String)> {
        let open = |digest| {
            let fault = |reason: &str| (vectors::path(digest), reason.to_owned());
            let pack = shelf.pack(digest).map_err(fault)?;
            if pack.encoder() == encoder { Ok(pack) } else { Err(fault("has another encoder's vectors")) }
        };
        let packs: Vec<Arc<Pack>> = wanted.packs.iter().map(open).collect::<Result<_, _>>()?;
        let lacks = || (VECTORS.to_owned(), "names vectors that no pack has".to_owned());
        let mut at = Vec::with_capacity(passages.len());
        for (texts, own) in wanted.documents.iter().zip(passages) {
            let found = packs.iter().enumerate().find_map(|(pack, held)| Some((pack, held.passages(texts)?)));
            let (pack, held) = found.filter(|(_, held)| held.len() == own.len()).ok_or_else(lacks)?;
            at.push((pack, held.start));
        }
        if at.len() == passages.len() { Ok(Self { packs, at }) } else { Err(lacks()) }
    }

    /// The vectors of a document's `count` passages, one after the other.
    pub fn of(&self, document: usize, count: usize) -> &[i8] {
        let Some((pack, first)) = self.at.get(document) else { return &[] };
        self.packs.get(*pack).map_or(&[], |pack| pack.vectors(*first..first + count))
    }

    /// The vector of one of a document's passages.
    pub fn vector(&self, document: usize, passage: usize) -> &[i8] {
        let Some((pack, first)) = self.at.get(document) else { return &[] };
        self.packs.get(*pack).map_or(&[], |pack| pack.vectors(first + passage..first + passage + 1))
    }

    /// Values of a vector.
    fn width(&self) -> usize {
        self.vector(0, 0).len()
    }

    /// The vectors of the pieces of a document's passage.
    pub fn pieces(&self, document: usize, passage: usize) -> &[i8] {
        let Some((pack, first)) = self.at.get(document) else { return &[] };
        self.packs.get(*pack).map_or(&[], |pack| pack.pieces(first + passage))
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.packs.iter().map(|pack| pack.bytes()).sum()
    }
}

impl Generation {
    pub fn digest(&self) -> &Digest {
        &self.manifest.generation
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Sorted by id and version.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Each document with the number of its passages.
    pub fn held(&self) -> impl Iterator<Item = (&Document, usize)> {
        self.documents.iter().zip(self.passages.iter().map(ExactSizeIterator::len))
    }

    /// Bytes that its vectors take in memory, about; generations share them.
    pub fn vector_bytes(&self) -> usize {
        self.vectors.as_ref().map_or(0, Vectors::bytes)
    }

    /// Whether a quote is what the named version of the document says at that place.
    pub fn holds(&self, passage: &Passage) -> bool {
        let document =
            self.documents.iter().find(|d| d.id == passage.document && d.version == passage.version);
        document.and_then(|d| characters(&d.body, passage.start, passage.end)) == Some(passage.text.as_str())
    }

    /// Reads the generation's folder and compares every file with the manifest, and the manifest with the
    /// name.
    ///
    /// # Errors
    /// [`PolicyError::Damaged`] with the file that differs.
    pub(super) fn read(root: &Path, digest: &Digest, shelf: &Shelf) -> Result<Self, PolicyError> {
        Self::read_in(&root.join(digest.hex()), digest, shelf)
    }

    /// As `read`, of a folder that may have another name yet.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn read_in(folder: &Path, digest: &Digest, shelf: &Shelf) -> Result<Self, PolicyError> {
        let damaged = |file: &str, reason: &str| PolicyError::Damaged {
            generation: digest.to_string(),
            file: file.to_owned(),
            reason: reason.to_owned(),
        };
        let manifest = manifest_in(folder, digest)?;
        let ram = RamDirectory::create();
        let mut own: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (name, expected) in &manifest.files {
            let bytes = fs::read(folder.join(name)).map_err(|_| damaged(name, "cannot be read"))?;
            if Digest::of(&bytes) != *expected {
                return Err(damaged(name, "is not what was built"));
            }
            match name.strip_prefix("tantivy/") {
                Some(file) => ram.atomic_write(Path::new(file), &bytes).map_err(PolicyError::io(folder))?,
                // It is large, and opened from the disk.
                None if name == neighbours::GRAPH => {}
                None => drop(own.insert(name, bytes)),
            }
        }
        let mut take = |name: &str| own.remove(name).unwrap_or_default();
        let lines = take(DOCUMENTS);
        if name_of(&lines, &manifest.made_by, manifest.encoder.as_ref()) != *digest {
            return Err(damaged(DOCUMENTS, "does not have the generation's digest"));
        }
        manifest.of_this_program()?;
        let form = "is not of this program's form";
        let documents: Vec<Document> = parsed(&lines).ok_or_else(|| damaged(DOCUMENTS, form))?;
        let places: Vec<Place> = parsed(&take(PASSAGES)).ok_or_else(|| damaged(PASSAGES, form))?;
        let passages = by_document(&places, documents.len()).ok_or_else(|| damaged(PASSAGES, form))?;
        let compounds = std::str::from_utf8(&take(COMPOUNDS)).ok().and_then(Compounds::read);
        let compounds = Arc::new(compounds.ok_or_else(|| damaged(COMPOUNDS, form))?);
        let (mut vectors, mut neighbours) = (None, None);
        if let Some(encoder) = &manifest.encoder {
            let wanted: Embeddings =
                serde_json::from_slice(&take(VECTORS)).map_err(|_| damaged(VECTORS, form))?;
            let opened = Vectors::open(shelf, encoder, &wanted, &passages);
            let opened = opened.map_err(|(file, reason)| damaged(&file, &reason))?;
            let of = (wanted.documents.as_slice(), passages.as_slice(), opened.width());
            let graph = Neighbours::open(folder, &manifest.files, &mut take, of, shelf);
            neighbours = graph.map_err(|file| damaged(file, form))?;
            vectors = Some(opened);
        }
        let (_, fields) = invert::schema();
        let searcher = Index::open(ram)?.reader()?.searcher();
        let days = in_force(&documents);
        Ok(Self {
            manifest,
            documents,
            days,
            places,
            passages,
            searcher,
            fields,
            compounds,
            vectors,
            neighbours,
        })
    }
}

/// A value a line.
fn parsed<T: serde::de::DeserializeOwned>(lines: &[u8]) -> Option<Vec<T>> {
    std::str::from_utf8(lines).ok()?.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

/// For each document its passages, which stand in the order of the documents; `None` where they do not.
fn by_document(places: &[Place], documents: usize) -> Option<Vec<Range<usize>>> {
    let mut ranges = Vec::with_capacity(documents);
    let mut from = 0;
    for document in 0..documents {
        let rest = places.get(from..)?;
        let count = rest.iter().take_while(|place| place.document == document).count();
        ranges.push(from..from + count);
        from += count;
    }
    (from == places.len()).then_some(ranges)
}

pub(super) fn read_manifest(root: &Path, digest: &Digest) -> Result<Manifest, PolicyError> {
    manifest_in(&root.join(digest.hex()), digest)
}

pub(super) fn manifest_in(folder: &Path, digest: &Digest) -> Result<Manifest, PolicyError> {
    let damaged = |reason: &str| PolicyError::Damaged {
        generation: digest.to_string(),
        file: MANIFEST.to_owned(),
        reason: reason.to_owned(),
    };
    let bytes = fs::read(folder.join(MANIFEST)).map_err(|_| damaged("cannot be read"))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|_| damaged("is not of this program's form"))?;
    if manifest.generation != *digest {
        return Err(damaged("names another generation"));
    }
    if !manifest.files.contains_key(DOCUMENTS) || !manifest.files.keys().all(|name| is_plain(name)) {
        return Err(damaged("does not list the generation's files"));
    }
    Ok(manifest)
}

/// Whether a file's name leads nowhere but into the folder that it is put behind.
pub(super) fn is_plain(name: &str) -> bool {
    let parts = Path::new(name).components();
    !name.is_empty()
        && !name.contains('\0')
        && parts.into_iter().all(|part| matches!(part, Component::Normal(_)))
}

/// The packs that a generation of this program's layout needs; nothing of one of another.
///
/// # Errors
/// The disk: then nobody knows.
pub(super) fn packs_of(root: &Path, digest: &Digest) -> Result<Vec<Digest>, PolicyError> {
    Ok(embeddings_of(root, digest)?.map(|Embeddings { packs, .. }| packs).unwrap_or_default())
}

/// What a generation of this program's layout says of its vectors.
///
/// # Errors
/// The disk.
pub(super) fn embeddings_of(root: &Path, digest: &Digest) -> Result<Option<Embeddings>, PolicyError> {
    let path = root.join(digest.hex()).join(VECTORS);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(PolicyError::io(&path))?,
    };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// The documents of a generation of any layout, so that one from before can be built anew.
pub(super) fn documents_of(root: &Path, digest: &Digest) -> Result<Vec<Document>, PolicyError> {
    let damaged = |reason: &str| PolicyError::Damaged {
        generation: digest.to_string(),
        file: DOCUMENTS.to_owned(),
        reason: reason.to_owned(),
    };
    let manifest = read_manifest(root, digest)?;
    let lines = fs::read(root.join(digest.hex()).join(DOCUMENTS)).map_err(|_| damaged("cannot be read"))?;
    if name_of(&lines, &manifest.made_by, manifest.encoder.as_ref()) != *digest {
        return Err(damaged("does not have the generation's digest"));
    }
    parsed(&lines).ok_or_else(|| damaged("is not of this program's form"))
}

fn made_by() -> Vec<String> {
    [chunk::VERSION, analysis::VERSION, LAYOUT].map(str::to_owned).to_vec()
}

/// The name of the generation that holds these documents.
fn name_of(lines: &[u8], made_by: &[String], encoder: Option<&Digest>) -> Digest {
    let encoder = encoder.map(|encoder| encoder.as_str().as_bytes());
    Digest::of_parts(made_by.iter().map(String::as_bytes).chain(encoder).chain([lines]).collect::<Vec<_>>())
}

/// What [`Blueprint::build`] would make.
pub(super) struct Blueprint {
    pub digest: Digest,
    encoder: Option<Digest>,
    lines: Vec<u8>,
}

impl Blueprint {
    /// `documents` are sorted by id and version.
    ///
    /// # Errors
    /// Never for documents that were read; a document is always JSON.
    pub fn of(documents: &[Document], encoder: Option<&Digest>) -> Result<Self, PolicyError> {
        let lines = lines_of(DOCUMENTS, documents)?;
        Ok(Self { digest: name_of(&lines, &made_by(), encoder), encoder: encoder.cloned(), lines })
    }

    /// Builds the generation in a folder that is empty but for `files`. `embeddings` are there where there is an encoder.
    /// `progress` receives documents done and in all.
    pub fn build(
        self,
        folder: &Path,
        documents: &[Document],
        (places, embeddings, mut files): (&[Place], Option<&Embeddings>, BTreeMap<String, Digest>),
        now: Timestamp,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Manifest, PolicyError> {
        let tantivy = folder.join(TANTIVY);
        fs::create_dir_all(&tantivy).map_err(PolicyError::io(&tantivy))?;
        let compounds = Arc::new(invert::compounds(documents));
        invert::invert(&tantivy, documents, places, &compounds, progress)?;
        let mut own = vec![
            (DOCUMENTS, self.lines),
            (PASSAGES, lines_of(PASSAGES, places)?),
            (COMPOUNDS, compounds.written().into_bytes()),
        ];
        if let Some(embeddings) = embeddings {
            let json = serde_json::to_vec(embeddings).map_err(|e| PolicyError::io(folder)(e.into()))?;
            own.push((VECTORS, json));
        }
        for (name, bytes) in own {
            write_durably(&folder.join(name), &bytes)?;
            files.insert(name.to_owned(), Digest::of(&bytes));
        }
        for entry in fs::read_dir(&tantivy).map_err(PolicyError::io(&tantivy))? {
            let path = entry.map_err(PolicyError::io(&tantivy))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.ends_with(".lock") {
                fs::remove_file(&path).map_err(PolicyError::io(&path))?;
                continue;
            }
            let bytes = fs::read(&path).map_err(PolicyError::io(&path))?;
            files.insert(format!("{TANTIVY}/{name}"), Digest::of(&bytes));
        }
        let manifest = Manifest {
            generation: self.digest,
            built_at: now,
            documents: documents.len(),
            passages: places.len(),
            encoder: self.encoder,
            made_by: made_by(),
            files,
        };
        let json = serde_json::to_vec_pretty(&manifest).map_err(|e| PolicyError::io(folder)(e.into()))?;
        write_durably(&folder.join(MANIFEST), &json)?;
        sync_folder(&tantivy)?;
        sync_folder(folder)?;
        Ok(manifest)
    }
}

fn lines_of<T: Serialize>(name: &str, values: &[T]) -> Result<Vec<u8>, PolicyError> {
    let mut lines = Vec::new();
    for value in values {
        serde_json::to_writer(&mut lines, value)
            .map_err(|error| PolicyError::io(Path::new(name))(error.into()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The passages of all documents, in their order.
pub(super) fn places(documents: &[Document]) -> Vec<Place> {
    let of = |(document, of): (usize, &Document)| {
        let place = move |chunk: chunk::Chunk| {
            let chunk::Chunk { section, start, end, head } = chunk;
            Place { document, section, start, end, head }
        };
        chunk::chunks(of).into_iter().map(place).collect::<Vec<_>>()
    };
    documents.iter().enumerate().flat_map(of).collect()
}

/// Writes a file and waits until it is on the disk.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), PolicyError> {
    durable::write(path, bytes).map_err(PolicyError::io(path))
}

/// Waits until the folder's entries are on the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), PolicyError> {
    durable::sync_folder(folder).map_err(PolicyError::io(folder))
}

/// Where the generations of a state directory live.
pub(super) fn root(state: &Path) -> PathBuf {
    state.join("index")
}
