//! Passages become vectors: those of documents that were embedded before are taken over, the others are embedded and
//! put into packs as they are ready, so that a run that was killed has nothing to do twice.

use super::chunk::characters;
use super::document::Document;
use super::error::PolicyError;
use super::generation::{Embeddings, Generation, PASSAGES, Place, VECTORS, embeddings_of, places};
use super::vectors::{self, Heads, MOST, Shelf};
use crate::base::Digest;
use crate::understanding::Understanding;
use crate::understanding::search::Embedded;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Texts that go through the encoder at once.
const BATCH: usize = 16;
/// So many packs with few documents, or with many that nobody needs, are put together.
const CROWDED: usize = 16;

/// A passage as the encoder reads it: many documents never name their product, or what they are about, in the text.
/// Also gives the number of characters before the passage's own.
pub(super) fn read_as(document: &Document, place: &Place) -> (String, usize) {
    let text = characters(&document.body, place.start, place.end).unwrap_or("");
    let product = document.product.iter().filter(|product| !document.title.contains(*product));
    let path = product.chain([&document.title]).chain(&place.section);
    let head = place.head.and_then(|[start, end]| characters(&document.body, start, end)).unwrap_or("");
    let path = path.cloned().collect::<Vec<_>>().join(" > ");
    let before = if head.is_empty() { format!("{path}: ") } else { format!("{path}: {head}\n") };
    let length = before.chars().count();
    (before + text, length)
}

/// A passage as the encoder reads it, and where it stands: characters of its document's body.
#[derive(Clone, Debug)]
pub struct PassageText {
    /// Counted in the documents.
    pub document: usize,
    pub section: Vec<String>,
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// The passages of documents, in their order.
pub fn passages(documents: &[Document]) -> Vec<PassageText> {
    let text = |place: Place| {
        let (text, _) = read_as(documents.get(place.document)?, &place);
        let Place { document, section, start, end, .. } = place;
        Some(PassageText { document, section, start, end, text })
    };
    places(documents).into_iter().filter_map(text).collect()
}

/// Whether the passages of a generation, and the texts that its vectors are of, are what this program makes of its
/// documents. Its name covers the documents alone: whoever could write both a file and the manifest would not be found
/// otherwise.
///
/// # Errors
/// [`PolicyError::Damaged`] with the file that differs.
pub(super) fn made_of(root: &Path, generation: &Generation) -> Result<(), PolicyError> {
    let other = |file: &str| PolicyError::Damaged {
        generation: generation.digest().to_string(),
        file: file.to_owned(),
        reason: "is not what the documents give".to_owned(),
    };
    let places = places(generation.documents());
    if places != generation.places {
        return Err(other(PASSAGES));
    }
    let Some(embeddings) = embeddings_of(root, generation.digest())? else { return Ok(()) };
    let names = texts(generation.documents(), &places).into_iter().map(|(name, _)| name);
    if names.eq(embeddings.documents) { Ok(()) } else { Err(other(VECTORS)) }
}

/// The texts of each document, and their name.
fn texts(documents: &[Document], places: &[Place]) -> Vec<(Digest, Vec<String>)> {
    let mut all: Vec<Vec<String>> = documents.iter().map(|_| Vec::new()).collect();
    for place in places {
        if let (Some(document), Some(own)) = (documents.get(place.document), all.get_mut(place.document)) {
            own.push(read_as(document, place).0);
        }
    }
    all.into_iter().map(|own| (vectors::name_of(&own), own)).collect()
}

/// Sees to it that the passages of all documents have vectors in packs. `progress` receives documents done and in
/// all.
///
/// # Errors
/// The disk, or an encoder that cannot read.
pub(super) fn embed(
    root: &Path,
    documents: &[Document],
    places: &[Place],
    models: &Understanding,
    progress: &dyn Fn(usize, usize),
) -> Result<Embeddings, PolicyError> {
    let Some(encoder) = models.searcher() else { return Ok(Embeddings::default()) };
    let texts = texts(documents, places);
    let known = Heads::read(root, encoder)?;
    let mut wanted: BTreeMap<&Digest, &Vec<String>> = BTreeMap::new();
    for (name, own) in &texts {
        if !own.is_empty() && known.pack(name).is_none() {
            wanted.insert(name, own);
        }
    }
    let mut done = documents.len() - wanted.len();
    progress(done, documents.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for part in wanted.into_iter().collect::<Vec<_>>().chunks(MOST) {
        let embedded = part_embedded(models, part, threads)?;
        vectors::write(root, encoder, &embedded)?;
        done += part.len();
        progress(done, documents.len());
    }
    let names: Vec<Digest> = texts.into_iter().map(|(name, _)| name).collect();
    let packs = together(root, encoder, &names)?;
    Ok(Embeddings { packs, documents: names })
}

/// Embeds some documents; texts of about one length go through the encoder together.
fn part_embedded(
    models: &Understanding,
    part: &[(&Digest, &Vec<String>)],
    threads: usize,
) -> Result<Vec<(Digest, Vec<Embedded>)>, PolicyError> {
    let mut order: Vec<(usize, &str)> = part
        .iter()
        .enumerate()
        .flat_map(|(at, (_, own))| own.iter().map(move |text| (at, text.as_str())))
        .collect();
    let all: Vec<&str> = order.iter().map(|(_, text)| *text).collect();
    let mut sorted: Vec<usize> = (0..all.len()).collect();
    sorted.sort_by_key(|at| all.get(*at).map_or(0, |text| text.len()));
    let batches: Vec<&[usize]> = sorted.chunks(BATCH).collect();
    let share = |thread: usize| -> Result<Vec<(usize, Embedded)>, PolicyError> {
        let mut made = Vec::new();
        for batch in batches.iter().skip(thread).step_by(threads) {
            let texts: Vec<&str> = batch.iter().filter_map(|at| all.get(*at).copied()).collect();
            let embedded = models.embedded(&texts).map_err(PolicyError::Encoder)?;
            made.extend(batch.iter().copied().zip(embedded));
        }
        Ok(made)
    };
    let shares: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let mut made: Vec<(usize, Embedded)> = Vec::with_capacity(all.len());
    for share in shares {
        made.extend(share.map_err(|_| PolicyError::Ended)??);
    }
    made.sort_by_key(|(at, _)| *at);
    order.sort_by_key(|(document, _)| *document);
    let mut out: Vec<(Digest, Vec<Embedded>)> =
        part.iter().map(|(name, own)| ((*name).clone(), Vec::with_capacity(own.len()))).collect();
    for ((document, _), (_, embedded)) in order.into_iter().zip(made) {
        if let Some((_, own)) = out.get_mut(document) {
            own.push(embedded);
        }
    }
    Ok(out)
}

/// The packs that hold the documents of these names. When many of them are small, or half of what they hold is not
/// needed, what is needed of those goes into new ones. One that is damaged stays as it is: whoever opens it next says so.
fn together(root: &Path, encoder: &Digest, names: &[Digest]) -> Result<Vec<Digest>, PolicyError> {
    let known = Heads::read(root, encoder)?;
    let mut used: BTreeMap<&Digest, BTreeSet<&Digest>> = BTreeMap::new();
    for name in names {
        if let Some(pack) = known.pack(name) {
            used.entry(pack).or_default().insert(name);
        }
    }
    let thin = |pack: &Digest, own: &BTreeSet<&Digest>| {
        own.len() < MOST / 2 || own.len() * 2 < known.documents(pack)
    };
    let thin: Vec<&Digest> =
        used.iter().filter(|(pack, own)| thin(pack, own)).map(|(pack, _)| *pack).collect();
    let mut packs: Vec<Digest> = used.keys().map(|pack| (*pack).clone()).collect();
    if thin.len() <= CROWDED {
        return Ok(packs);
    }
    let shelf = Shelf::new(root.to_owned());
    let mut held: Vec<(Digest, Vec<Embedded>)> = Vec::new();
    let mut merged: BTreeSet<Digest> = BTreeSet::new();
    for digest in thin {
        let Ok(pack) = shelf.pack(digest) else { continue };
        merged.insert(digest.clone());
        for name in used.get(digest).into_iter().flatten() {
            let passages = pack.passages(name).unwrap_or_default();
            held.push(((*name).clone(), passages.map(|passage| pack.embedded(passage)).collect()));
        }
    }
    packs.retain(|pack| !merged.contains(pack));
    for part in held.chunks(MOST) {
        packs.push(vectors::write(root, encoder, part)?);
    }
    Ok(packs)
}
