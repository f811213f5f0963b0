//! A model bundle on disk: weights.safetensors, tokenizer.json, heads.json, calibration.json, card.md,
//! lexicon.json (lists of names), and manifest.json with the SHA-256 of each and of the whole. Nothing is parsed
//! before its digest was checked.

use super::calibration::Calibration;
use super::encoder::{MiniLm, Rows, Stored, Weights};
use super::error::{UnderstandingError, bare};
use super::tokens::Tokens;
use super::{Dag, Extraction, Lexicon, quantise, search};
use crate::base::{Digest, durable, ids};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Files of a bundle, beside the manifest.
pub const FILES: [&str; 6] =
    ["calibration.json", "card.md", "heads.json", "lexicon.json", "tokenizer.json", "weights.safetensors"];
/// The shipped bundle lives in the repository and travels with the program: its files together have at most this
/// size.
pub const MOST_SHIPPED: u64 = 25 * 1024 * 1024;
const MANIFEST: &str = "manifest.json";
/// What the bundle was measured at on lines that it was not made with. It names the bundle by digest and is no part of it:
/// it comes after the bundle, and another one may take its place.
pub const EVIDENCE: &str = "evidence.json";
const FORMAT: u32 = 1;
/// Pieces that a bundle must be able to read at once: a short message.
const LEAST_REACH: usize = 16;
const TRAIN: &str = "train a new bundle with `prokura train`";
/// No file of a bundle may be larger: a bank's own may have more than what is shipped, within reason.
pub const MOST_BYTES: u64 = 128 * 1024 * 1024;

/// What the heads' rows stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// (parent, leaf) in the order of the rows.
    pub edges: Vec<(String, String)>,
    /// Group and its fields in the order of the labels.
    pub groups: Vec<(String, Vec<String>)>,
    /// Longest sequence, in pieces.
    pub reach: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Digest>,
    bundle: Digest,
}

/// A bundle as it was read.
pub struct Bundle {
    pub digest: Digest,
    pub weights: Stored,
    pub tokens: Tokens,
    pub calibration: Calibration,
    pub lexicon: Lexicon,
    /// Of what search is made of: two bundles with the same one find the same.
    pub searcher: Option<Digest>,
}

impl Heads {
    pub fn of(dag: &Dag, extraction: &Extraction, reach: usize) -> Self {
        Self { edges: dag.edge_ids(), groups: extraction.field_ids(), reach }
    }
}

/// A bundle whatever pack it was trained for.
pub struct Opened {
    pub digest: Digest,
    pub heads: Heads,
    pub weights: Stored,
    /// tokenizer.json
    pub tokenizer: Vec<u8>,
    pub calibration: Calibration,
    pub lexicon: Lexicon,
    /// The model card, Markdown.
    pub card: String,
}

/// Reads and checks a bundle for a pack with these intents and fields.
pub fn read(folder: &Path, dag: &Dag, extraction: &Extraction) -> Result<Bundle, UnderstandingError> {
    let opened = open(folder)?;
    agree(folder, &opened.heads, dag, extraction)?;
    let Opened { digest, heads, weights, tokenizer, calibration, lexicon, .. } = opened;
    let rows = |name: &str| weights.matrices.get(name).map_or(0, Rows::count);
    let (positions, pieces) = (rows(MiniLm::POSITIONS), rows(MiniLm::WORDS));
    if !(LEAST_REACH..=positions).contains(&heads.reach) {
        let problem = format!("`reach` is {}; the weights have {positions} positions", heads.reach);
        return Err(fault(&folder.join("heads.json"), problem, TRAIN));
    }
    let fail = |problem: String| fault(&folder.join("tokenizer.json"), problem, TRAIN);
    let tokens = Tokens::from_bytes(&tokenizer, heads.reach).map_err(|error| fail(error.to_string()))?;
    if tokens.pieces() != pieces {
        return Err(fail(format!("it knows {} pieces, the weights {pieces}", tokens.pieces())));
    }
    let searcher = search::digest(&weights, &tokenizer);
    Ok(Bundle { digest, weights, tokens, calibration, lexicon, searcher })
}

/// Reads and checks a bundle.
pub fn open(folder: &Path) -> Result<Opened, UnderstandingError> {
    let (digest, mut files) = verified(folder)?;
    let mut take = |name: &'static str| (name, files.remove(name).unwrap_or_default());
    let heads: Heads = parsed(folder, take("heads.json"))?;
    let calibration: Calibration = parsed(folder, take("calibration.json"))?;
    let damaged = |name: &str, problem: String| fault(&folder.join(name), problem, TRAIN);
    calibration.check().map_err(|problem| damaged("calibration.json", problem))?;
    let (name, bytes) = take("weights.safetensors");
    let weights = quantise::unpack(&bytes).map_err(|error| damaged(name, bare(error).to_string()))?;
    let lexicon: Lexicon = parsed(folder, take("lexicon.json"))?;
    let (_, tokenizer) = take("tokenizer.json");
    let card = String::from_utf8_lossy(&take("card.md").1).into_owned();
    Ok(Opened { digest, heads, weights, tokenizer, calibration, lexicon, card })
}

/// The digest of a bundle whose files are those of its manifest.
pub fn verified_digest(folder: &Path) -> Result<Digest, UnderstandingError> {
    Ok(verified(folder)?.0)
}

/// Copies a bundle whose files are those of its manifest, and its evidence; gives its digest.
pub fn copy(from: &Path, to: &Path) -> Result<Digest, UnderstandingError> {
    let (_, files) = verified(from)?;
    let digest = save(to, files)?;
    if let Ok(evidence) = std::fs::read(from.join(EVIDENCE)) {
        let file = to.join(EVIDENCE);
        durable::write(&file, &evidence)
            .map_err(|error| fault(&file, error, "name a folder that can be written"))?;
    }
    Ok(digest)
}

/// Weights and tokenizer.json of a bundle, whatever pack it was trained for, to train on from. Without its search: that
/// stands on a trunk that does not move.
pub fn trunk(folder: &Path) -> Result<(Weights, Vec<u8>), UnderstandingError> {
    let (_, mut files) = verified(folder)?;
    let mut take = |name: &str| files.remove(name).unwrap_or_default();
    let mut weights = quantise::full(&quantise::unpack(&take("weights.safetensors"))?)?;
    weights.retain(|name, _| !name.starts_with("search."));
    Ok((weights, take("tokenizer.json")))
}

fn fault(file: &Path, problem: impl ToString, remedy: &'static str) -> UnderstandingError {
    UnderstandingError::Bundle { file: file.to_owned(), problem: problem.to_string(), remedy }
}

/// The bytes of every file, once its digest is the one in the manifest.
fn verified(folder: &Path) -> Result<(Digest, BTreeMap<String, Vec<u8>>), UnderstandingError> {
    const RESTORE: &str = "restore the folder, put it back with `prokura models import DIR`, read with another by \
         `prokura models promote`, or train one with `prokura train`";
    if !folder.is_dir() {
        return Err(fault(folder, "there is no such folder", RESTORE));
    }
    let load = |name: &str| -> Result<Vec<u8>, UnderstandingError> {
        let file = folder.join(name);
        let found = std::fs::metadata(&file).map_err(|error| fault(&file, error, RESTORE))?;
        if !found.is_file() {
            return Err(fault(&file, "it is no plain file", RESTORE));
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&file)
            .and_then(|open| open.take(MOST_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| fault(&file, error, RESTORE))?;
        if read as u64 > MOST_BYTES {
            return Err(fault(&file, format!("more than {MOST_BYTES} bytes are too many"), RESTORE));
        }
        Ok(bytes)
    };
    let at = folder.join(MANIFEST);
    let manifest: Manifest =
        serde_json::from_slice(&load(MANIFEST)?).map_err(|error| fault(&at, error, RESTORE))?;
    if manifest.format != FORMAT {
        let problem =
            format!("format {} is not known to this program, which reads {FORMAT}", manifest.format);
        return Err(fault(&at, problem, "use the program that the bundle was made for"));
    }
    if !manifest.files.keys().map(String::as_str).eq(FILES) {
        return Err(fault(&at, format!("it must list {}", FILES.join(", ")), RESTORE));
    }
    if whole(&manifest.files) != manifest.bundle {
        return Err(fault(&at, "the digest of the whole does not fit the digests of its files", RESTORE));
    }
    let mut files = BTreeMap::new();
    for (name, digest) in &manifest.files {
        let bytes = load(name)?;
        if Digest::of(&bytes) != *digest {
            return Err(fault(&folder.join(name), "its digest is not the one in manifest.json", RESTORE));
        }
        files.insert(name.clone(), bytes);
    }
    Ok((manifest.bundle, files))
}

/// The digest of a bundle: that of its files' names and digests.
fn whole(files: &BTreeMap<String, Digest>) -> Digest {
    let parts: Vec<&[u8]> =
        files.iter().flat_map(|(name, digest)| [name.as_bytes(), digest.as_str().as_bytes()]).collect();
    Digest::of_parts(parts)
}

fn parsed<T: serde::de::DeserializeOwned>(
    folder: &Path,
    (name, bytes): (&str, Vec<u8>),
) -> Result<T, UnderstandingError> {
    serde_json::from_slice(&bytes)
        .map_err(|error| fault(&folder.join(name), error, "use a bundle that this program wrote"))
}

/// The bundle was trained for the intents and fields of this pack.
fn agree(folder: &Path, heads: &Heads, dag: &Dag, extraction: &Extraction) -> Result<(), UnderstandingError> {
    const RETRAIN: &str = "promote a bundle that was made for this pack (`prokura train`, with --heads-only for new \
         leaves), or restore config/ to what this one was made for";
    let file = folder.join("heads.json");
    let wanted = Heads::of(dag, extraction, heads.reach);
    let edge = |(parent, leaf): &(String, String)| format!("`{parent}` > `{leaf}`");
    if let Some(missing) = wanted.edges.iter().find(|e| !heads.edges.contains(e)) {
        return Err(fault(
            &file,
            format!("it knows nothing of {} in config/intents.toml", edge(missing)),
            RETRAIN,
        ));
    }
    if let Some(extra) = heads.edges.iter().find(|e| !wanted.edges.contains(e)) {
        return Err(fault(&file, format!("config/intents.toml lacks {}", edge(extra)), RETRAIN));
    }
    if heads.edges != wanted.edges {
        return Err(fault(&file, "its intents stand in another order than in config/intents.toml", RETRAIN));
    }
    if heads.groups != wanted.groups {
        return Err(fault(&file, "its groups and fields are not those of config/extraction.toml", RETRAIN));
    }
    Ok(())
}

/// What `write` puts into a folder.
pub struct Contents<'a> {
    pub weights: &'a Weights,
    pub tokenizer: &'a [u8],
    pub heads: &'a Heads,
    pub calibration: &'a Calibration,
    pub lexicon: &'a Lexicon,
    /// The model card, Markdown.
    pub card: &'a str,
}

/// Writes a bundle with 8-bit weights in the folder's place; gives its digest and its size in bytes.
///
/// # Errors
/// More than `most` bytes, or a folder that cannot be written; what stood there then stays.
pub fn write(folder: &Path, contents: &Contents, most: u64) -> Result<(Digest, u64), UnderstandingError> {
    let files = [
        ("calibration.json", json(contents.calibration)),
        ("card.md", contents.card.as_bytes().to_vec()),
        ("heads.json", json(contents.heads)),
        ("lexicon.json", json(contents.lexicon)),
        ("tokenizer.json", contents.tokenizer.to_vec()),
        ("weights.safetensors", quantise::pack(contents.weights)?),
    ];
    let size: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if size > most {
        let problem = format!("the bundle would have {size} bytes, more than the {most} allowed");
        return Err(fault(folder, problem, "remove word pieces or heads"));
    }
    Ok((save(folder, files.map(|(name, bytes)| (name.to_owned(), bytes)).into())?, size))
}

/// What makes documents be found.
pub struct Searching<'a> {
    /// `search.*`
    pub weights: &'a Weights,
    pub calibration: &'a Calibration,
    pub card: &'a str,
}

/// Writes the bundle `from` with another search to `folder`, which may be the same; every other weight stays as it is
/// stored. Gives its digest and its size in bytes.
///
/// # Errors
/// As [`read`] and [`write`].
pub fn searching(
    from: &Path,
    folder: &Path,
    search: &Searching,
    most: u64,
) -> Result<(Digest, u64), UnderstandingError> {
    let (_, mut files) = verified(from)?;
    let mut stored = quantise::unpack(files.get("weights.safetensors").map_or(&[], Vec::as_slice))?;
    stored.matrices.retain(|name, _| !name.starts_with("search."));
    stored.vectors.retain(|name, _| !name.starts_with("search."));
    let new = quantise::rounded(search.weights)?;
    stored.matrices.extend(new.matrices);
    stored.vectors.extend(new.vectors);
    files.insert("weights.safetensors".to_owned(), quantise::packed(stored)?);
    files.insert("calibration.json".to_owned(), json(search.calibration));
    files.insert("card.md".to_owned(), search.card.as_bytes().to_vec());
    let size: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    if size > most {
        let problem = format!("the bundle would have {size} bytes, more than the {most} allowed");
        return Err(fault(folder, problem, "remove word pieces or heads"));
    }
    Ok((save(folder, files)?, size))
}

/// Writes the bundle `from` with another calibration and card to `folder`, which may be the same.
///
/// # Errors
/// As [`read`] and [`write`].
pub fn recalibrated(
    from: &Path,
    folder: &Path,
    calibration: &Calibration,
    card: impl FnOnce(&str) -> String,
) -> Result<Digest, UnderstandingError> {
    let (_, mut files) = verified(from)?;
    let old = files.remove("card.md").unwrap_or_default();
    files.insert("card.md".to_owned(), card(&String::from_utf8_lossy(&old)).into_bytes());
    files.insert("calibration.json".to_owned(), json(calibration));
    save(folder, files)
}

/// Writes the files beside the folder, then puts them in its place. What stood there is put back when that fails;
/// a crash between the two renames leaves it beside, under a name that ends in `.gone` and a number.
fn save(folder: &Path, files: BTreeMap<String, Vec<u8>>) -> Result<Digest, UnderstandingError> {
    const SPACE: &str = "name a folder that can be written";
    let digests: BTreeMap<String, Digest> =
        files.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect();
    let bundle = whole(&digests);
    let manifest = json(&Manifest { format: FORMAT, files: digests, bundle: bundle.clone() });
    let beside = |what: &str| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        folder.with_file_name(format!(".{name}.{}", ids::fresh(what)))
    };
    let (next, gone) = (beside("next"), beside("gone"));
    std::fs::create_dir_all(&next).map_err(|error| fault(&next, error, SPACE))?;
    for (name, bytes) in files.iter().chain([(&MANIFEST.to_owned(), &manifest)]) {
        let file = next.join(name);
        durable::write(&file, bytes).map_err(|error| fault(&file, error, SPACE))?;
    }
    let there = folder.exists();
    if there {
        std::fs::rename(folder, &gone).map_err(|error| fault(folder, error, SPACE))?;
    }
    if let Err(error) = std::fs::rename(&next, folder) {
        if there {
            std::fs::rename(&gone, folder).map_err(|error| fault(&gone, error, "put it back by hand"))?;
        }
        return Err(fault(folder, error, SPACE));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    durable::sync_folder(parent.unwrap_or(Path::new("."))).map_err(|error| fault(folder, error, SPACE))?;
    if there {
        // The new one stands: what cannot be removed is only in the way.
        let _ = std::fs::remove_dir_all(&gone);
    }
    Ok(bundle)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
