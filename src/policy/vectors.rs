//! What the encoder made of passages, in packs: files `<state>/index/vectors/<hexadecimal digest>` that never change
//! and are named by the SHA-256 of their bytes. Generations share them, so that a document is embedded once however
//! many generations it stands in.
//!
//! A pack is one line of JSON ([`Head`]), then the vectors of its passages, then those of their pieces, all signed
//! bytes.

use super::error::PolicyError;
use super::neighbours::Graph;
use crate::base::{Digest, durable, ids};
use crate::understanding::search::{Embedded, SHORT};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The folder of the packs, below that of the generations.
const FOLDER: &str = "vectors";
/// What a pack that is being written is called.
const WRITING: &str = "building";
/// Why a pack is not taken whose bytes are others than its name says.
pub const CHANGED: &str = "is not what was built";
/// Most documents of a pack.
pub const MOST: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// Whose vectors these are.
    encoder: Digest,
    /// Values of a passage's vector.
    width: usize,
    /// Values of a piece's vector.
    short: usize,
    documents: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Of the texts that were embedded.
    texts: Digest,
    /// For each passage its pieces.
    pieces: Vec<usize>,
}

/// One pack, as it was read and found whole.
pub struct Pack {
    encoder: Digest,
    width: usize,
    vectors: Vec<i8>,
    pieces: Vec<i8>,
    /// Where the pieces of each passage begin, and, last, where they end, counted in pieces.
    starts: Vec<usize>,
    /// The passages of each document.
    documents: HashMap<Digest, Range<usize>>,
}

/// The digest of what a document's passages are embedded as.
pub fn name_of(texts: &[String]) -> Digest {
    Digest::of_parts(texts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

impl Pack {
    pub const fn encoder(&self) -> &Digest {
        &self.encoder
    }

    pub fn passages(&self, texts: &Digest) -> Option<Range<usize>> {
        self.documents.get(texts).cloned()
    }

    /// The vectors of neighbouring passages, one after the other.
    pub fn vectors(&self, passages: Range<usize>) -> &[i8] {
        self.vectors.get(passages.start * self.width..passages.end * self.width).unwrap_or_default()
    }

    /// The vectors of a passage's pieces, one after the other.
    pub fn pieces(&self, passage: usize) -> &[i8] {
        let bounds = (self.starts.get(passage), self.starts.get(passage + 1));
        let (Some(start), Some(end)) = bounds else { return &[] };
        self.pieces.get(start * SHORT..end * SHORT).unwrap_or_default()
    }

    /// As it was embedded, for a pack that takes over what others hold.
    pub fn embedded(&self, passage: usize) -> Embedded {
        Embedded {
            vector: self.vectors(passage..passage + 1).to_vec(),
            pieces: self.pieces(passage).to_vec(),
        }
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.vectors.len() + self.pieces.len() + self.starts.len() * size_of::<usize>()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let (mut starts, mut documents) = (vec![0_usize], HashMap::new());
        for entry in head.documents {
            let first = starts.len() - 1;
            for pieces in &entry.pieces {
                starts.push(starts.last()?.checked_add(*pieces)?);
            }
            documents.insert(entry.texts, first..starts.len() - 1);
        }
        let body: Vec<i8> = bytes.get(end + 1..)?.iter().map(|byte| byte.cast_signed()).collect();
        let split = (starts.len() - 1).checked_mul(head.width)?;
        let all = split.checked_add(starts.last()?.checked_mul(SHORT)?)?;
        if head.short != SHORT || head.width == 0 || body.len() != all {
            return None;
        }
        let pieces = body.get(split..)?.to_vec();
        let mut vectors = body;
        vectors.truncate(split);
        Some(Self { encoder: head.encoder, width: head.width, vectors, pieces, starts, documents })
    }
}

/// Writes a pack durably and returns its digest. Every document has at least one passage.
pub fn write(
    root: &Path,
    encoder: &Digest,
    documents: &[(Digest, Vec<Embedded>)],
) -> Result<Digest, PolicyError> {
    let passages = || documents.iter().flat_map(|(_, passages)| passages);
    let entry = |(texts, passages): &(Digest, Vec<Embedded>)| Entry {
        texts: texts.clone(),
        pieces: passages.iter().map(|passage| passage.pieces.len() / SHORT).collect(),
    };
    let head = Head {
        encoder: encoder.clone(),
        width: passages().next().map_or(0, |passage| passage.vector.len()),
        short: SHORT,
        documents: documents.iter().map(entry).collect(),
    };
    let folder = root.join(FOLDER);
    let mut bytes = serde_json::to_vec(&head).map_err(|error| PolicyError::io(&folder)(error.into()))?;
    bytes.push(b'\n');
    bytes.extend(passages().flat_map(|passage| &passage.vector).map(|byte| byte.cast_unsigned()));
    bytes.extend(passages().flat_map(|passage| &passage.pieces).map(|byte| byte.cast_unsigned()));
    let digest = Digest::of(&bytes);
    durable::private(&folder).map_err(PolicyError::io(&folder))?;
    let path = folder.join(digest.hex());
    let writing = folder.join(ids::fresh(WRITING));
    durable::write(&writing, &bytes).map_err(PolicyError::io(&writing))?;
    fs::rename(&writing, &path).map_err(PolicyError::io(&path))?;
    durable::sync_folder(&folder).map_err(PolicyError::io(&folder))?;
    Ok(digest)
}

/// All packs that are there, whoever made them, in the order of their names; files that are no packs are left out.
pub fn there(root: &Path) -> Result<Vec<Digest>, PolicyError> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PolicyError::io(&folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(PolicyError::io(&folder))?.file_name();
        found.extend(Digest::parse(&format!("sha256:{}", name.to_string_lossy())));
    }
    found.sort();
    Ok(found)
}

/// Removes what is not kept, and what a process that was killed left half written. Only the holder of the index's
/// lock may.
pub fn keep(root: &Path, kept: impl Fn(&Digest) -> bool) -> Result<(), PolicyError> {
    let folder = root.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(PolicyError::io(&folder))?,
    };
    for entry in entries {
        let path = entry.map_err(PolicyError::io(&folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let pack = Digest::parse(&format!("sha256:{name}"));
        if name.starts_with(WRITING) || pack.is_some_and(|digest| !kept(&digest)) {
            fs::remove_file(&path).map_err(PolicyError::io(&path))?;
        }
    }
    Ok(())
}

/// Which documents the packs of one encoder hold, by their first lines alone.
pub struct Heads {
    /// The pack of each document.
    by_name: HashMap<Digest, Digest>,
    documents: HashMap<Digest, usize>,
}

impl Heads {
    /// Files that are no packs, or another encoder's, hold nothing. A file that was damaged since is found when the
    /// generation is opened.
    pub fn read(root: &Path, encoder: &Digest) -> Result<Self, PolicyError> {
        let mut heads = Self { by_name: HashMap::new(), documents: HashMap::new() };
        for digest in there(root)? {
            let path = root.join(FOLDER).join(digest.hex());
            let mut line = Vec::new();
            let file = fs::File::open(&path).map_err(PolicyError::io(&path))?;
            std::io::BufReader::new(file).read_until(b'\n', &mut line).map_err(PolicyError::io(&path))?;
            let Ok(head) = serde_json::from_slice::<Head>(&line) else { continue };
            if head.encoder != *encoder || head.short != SHORT {
                continue;
            }
            heads.documents.insert(digest.clone(), head.documents.len());
            for entry in head.documents {
                heads.by_name.insert(entry.texts, digest.clone());
            }
        }
        Ok(heads)
    }

    pub fn pack(&self, texts: &Digest) -> Option<&Digest> {
        self.by_name.get(texts)
    }

    pub fn documents(&self, pack: &Digest) -> usize {
        self.documents.get(pack).copied().unwrap_or(0)
    }
}

/// The packs and graphs that this process has open, so that two generations share them in memory, too.
pub struct Shelf {
    root: PathBuf,
    open: Mutex<HashMap<Digest, Weak<Pack>>>,
    graphs: Mutex<HashMap<Digest, Weak<Graph>>>,
}

impl Shelf {
    pub fn new(root: PathBuf) -> Self {
        Self { root, open: Mutex::default(), graphs: Mutex::default() }
    }

    /// Reads a pack, unless it is open already.
    ///
    /// # Errors
    /// Why it cannot be had, without its name.
    pub fn pack(&self, digest: &Digest) -> Result<Arc<Pack>, &'static str> {
        if let Some(pack) = self.lock().get(digest).and_then(Weak::upgrade) {
            return Ok(pack);
        }
        let bytes = fs::read(self.root.join(FOLDER).join(digest.hex())).map_err(|_| "cannot be read")?;
        if Digest::of(&bytes) != *digest {
            return Err(CHANGED);
        }
        let pack = Arc::new(Pack::parse(&bytes).ok_or("is not of this program's form")?);
        let mut open = self.lock();
        open.retain(|_, pack| pack.strong_count() > 0);
        open.insert(digest.clone(), Arc::downgrade(&pack));
        Ok(pack)
    }

    /// Opens the graph that this digest stands for, unless it is open already.
    pub fn graph(&self, digest: &Digest, open: impl FnOnce() -> Option<Graph>) -> Option<Arc<Graph>> {
        let graphs = || self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = graphs().get(digest).and_then(Weak::upgrade) {
            return Some(graph);
        }
        let graph = Arc::new(open()?);
        graphs().retain(|_, graph| graph.strong_count() > 0);
        graphs().insert(digest.clone(), Arc::downgrade(&graph));
        Some(graph)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Weak<Pack>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a pack lies below the folder of the generations, as errors name it.
pub fn path(digest: &Digest) -> String {
    format!("{FOLDER}/{}", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(fill: i8, pieces: usize) -> Embedded {
        Embedded { vector: vec![fill; 8], pieces: vec![fill; pieces * SHORT] }
    }

    #[test]
    fn a_pack_gives_back_what_was_written_and_nothing_that_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let encoder = Digest::of(b"encoder");
        let names = [name_of(&["a".to_owned()]), name_of(&["b".to_owned(), "c".to_owned()])];
        let documents = [
            (names[0].clone(), vec![embedded(1, 3)]),
            (names[1].clone(), vec![embedded(2, 0), embedded(3, 2)]),
        ];
        let digest = write(folder.path(), &encoder, &documents).unwrap();
        let shelf = Shelf::new(folder.path().to_owned());
        let pack = shelf.pack(&digest).unwrap();
        assert_eq!(pack.encoder(), &encoder);
        assert_eq!(pack.passages(&names[1]), Some(1..3));
        assert_eq!(pack.embedded(2), embedded(3, 2));
        assert_eq!(pack.vectors(0..2), [[1; 8], [2; 8]].concat());
        assert!(pack.pieces(1).is_empty() && pack.pieces(9).is_empty());
        assert!(Arc::ptr_eq(&pack, &shelf.pack(&digest).unwrap()));

        assert_eq!(there(folder.path()).unwrap(), std::slice::from_ref(&digest));
        let file = folder.path().join(path(&digest));
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        drop(pack);
        assert_eq!(shelf.pack(&digest).err(), Some("is not what was built"));
        bytes.pop();
        assert!(Pack::parse(&bytes).is_none() && Pack::parse(b"{}\n").is_none());
        keep(folder.path(), |_| false).unwrap();
        assert_eq!(there(folder.path()).unwrap(), []);
    }
}
