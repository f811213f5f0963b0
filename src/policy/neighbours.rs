//! The nearest of very many vectors. Beyond [`LIMIT`] passages a generation has a graph over their vectors (HNSW; Malkov
//! and Yashunin 2018), so that a question is compared with some thousands of them instead of with all.
//!
//! A point of the graph is a vector; passages with the same one share it. What a graph covers is listed by the digests
//! of what documents were embedded as (see `vectors`), so a generation can take over the graph of the one before: what
//! it does not cover is compared one by one, and points that stand for no admitted passage are passed over within the
//! search. In a generation's folder:
//!
//! - `neighbours.json`: the limit, and the points of each document ([`List`]);
//! - `neighbours.hnsw.graph`, `neighbours.hnsw.data`: the graph and its vectors, as hnsw_rs writes them.
//!
//! Vectors are inserted one after the other by a seeded generator of layers, so the same vectors make the same graph.

use super::error::PolicyError;
use super::generation::{Embeddings, Manifest};
use super::vectors::{self, Shelf};
use crate::base::Digest;
use crate::understanding::search;
use hnsw_rs::prelude::{AnnT, Distance, FilterT, Hnsw, HnswIo, load_description};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Up to so many passages that a question admits are all compared.
pub const LIMIT: usize = 200_000;

const LIST: &str = "neighbours.json";
/// hnsw_rs ends the names of its two files itself.
const NAME: &str = "neighbours";
pub(super) const GRAPH: &str = "neighbours.hnsw.graph";
const DATA: &str = "neighbours.hnsw.data";
const FILES: [&str; 3] = [LIST, GRAPH, DATA];

/// Neighbours of a point in the upper layers; in the lowest it has twice as many.
const NEIGHBOURS: usize = 16;
/// Points that are kept in view while a point is inserted.
const VIEW_TO_INSERT: usize = 200;
/// Points that are kept in view while a question is searched, for each that is wanted.
const VIEW: usize = 4;
/// At least so many: with none hnsw_rs panics.
const LEAST_VIEW: usize = 200;
/// As many as hnsw_rs can write.
const LAYERS: usize = 16;
/// Bytes of the data file before its first vector, of what stands before each, and of the vector's length in that.
const HEAD: usize = 12;
const VECTOR_HEAD: usize = 20;
const LENGTH: Range<usize> = 12..20;

/// 1 - the cosine of stored vectors. The sum is one of integers: every machine finds the same. Its name stands in the
/// files.
#[derive(Clone, Copy, Default)]
struct Angle;

impl Distance<i8> for Angle {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        let sum = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        // Rounded vectors can be a little longer than 1, and a distance is never negative.
        (1.0 - search::cosine(sum)).max(0.0) as f32
    }
}

/// A graph over vectors that are numbered from 0.
pub struct Graph(Hnsw<'static, i8, Angle>);

impl Graph {
    /// `progress` receives vectors done and in all.
    pub fn build(vectors: &[&[i8]], progress: &dyn Fn(usize, usize)) -> Self {
        let graph = Hnsw::new(NEIGHBOURS, vectors.len(), LAYERS, VIEW_TO_INSERT, Angle);
        for (number, vector) in vectors.iter().enumerate() {
            graph.insert((vector, number));
            progress(number + 1, vectors.len());
        }
        Self(graph)
    }

    /// Writes its two files durably.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, folder: &Path) -> Result<(), PolicyError> {
        let failed = |error| PolicyError::io(folder)(std::io::Error::other(error));
        self.0.file_dump(folder, NAME).map_err(failed)?;
        for name in [GRAPH, DATA] {
            let path = folder.join(name);
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(PolicyError::io(&path))?;
        }
        Ok(())
    }

    /// Opens files that were found to be what was written: hnsw_rs takes them for whole. `data` is what the file of the
    /// vectors holds. `None`: they are not a graph over so many vectors of this width.
    pub fn open(folder: &Path, data: &[u8], (points, width): (usize, usize)) -> Option<Self> {
        let described = load_description(&mut fs::File::open(folder.join(GRAPH)).ok()?).ok()?;
        let length = (width as u64).to_ne_bytes();
        let vectors = data.get(HEAD..)?.chunks_exact(VECTOR_HEAD + width);
        // hnsw_rs reads vectors by the width that the graph says, whatever the length that stands before each.
        let whole = vectors.remainder().is_empty()
            && vectors.len() == points
            && vectors.clone().all(|vector| vector.get(LENGTH) == Some(length.as_slice()))
            && (described.nb_point, described.dimension) == (points, width);
        if !whole {
            return None;
        }
        // A graph borrows its reader, and can outlive any place that could own both. The reader is a path and a few
        // numbers, and stays: some hundred bytes for each graph that is opened.
        let reader: &'static mut HnswIo = Box::leak(Box::new(HnswIo::new(folder, NAME)));
        reader.load_hnsw::<i8, Angle>().ok().map(Self)
    }

    /// The numbers of the nearest vectors, of those that are admitted: nearly always the `wanted` nearest.
    pub fn nearest(
        &self,
        vector: &[i8],
        wanted: usize,
        admits: Option<&dyn Fn(&usize) -> bool>,
    ) -> Vec<usize> {
        let filter = admits.as_ref().map(|admits| admits as &dyn FilterT);
        let found = self.0.search_filter(vector, wanted, LEAST_VIEW.max(VIEW * wanted), filter);
        found.into_iter().map(|neighbour| neighbour.d_id).collect()
    }
}

/// neighbours.json
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// See [`LIMIT`].
    limit: usize,
    points: usize,
    documents: BTreeMap<Digest, Vec<usize>>,
}

impl List {
    /// Whether a graph is worth having for these documents: nine of ten passages have a point, and nine of ten points a
    /// passage.
    fn suffices(&self, made: &Embeddings, passages: usize) -> bool {
        let covered = || made.documents.iter().filter_map(|name| self.documents.get(name));
        let held: usize = covered().map(Vec::len).sum();
        let alive = covered().flatten().collect::<BTreeSet<_>>().len();
        held * 10 >= passages * 9 && alive * 10 >= self.points * 9
    }
}

/// Puts a graph into the folder of a generation that is being built, where that has more passages than `limit`: the graph of
/// the generation `before`, with its folder, or another one. Gives the files with their digests.
///
/// # Errors
/// The disk, or vectors that are damaged.
pub(super) fn put(
    folder: &Path,
    before: Option<(&Path, &Manifest)>,
    (made, passages): (&Embeddings, usize),
    (limit, shelf): (usize, &Shelf),
    progress: &dyn Fn(usize, usize),
) -> Result<BTreeMap<String, Digest>, PolicyError> {
    if passages <= limit {
        return Ok(BTreeMap::new());
    }
    fs::create_dir_all(folder).map_err(PolicyError::io(folder))?;
    if let Some((from, manifest)) = before
        && let Some(files) = whole(from, manifest)
        && let Some(list) = fs::read(from.join(LIST)).ok().and_then(|json| serde_json::from_slice(&json).ok())
        && List::suffices(&list, made, passages)
        && list.limit == limit
    {
        for name in FILES {
            let (old, new) = (from.join(name), folder.join(name));
            // Nothing ever writes into these files, so two generations can have the same.
            let copied = || fs::copy(&old, &new).and_then(|_| fs::File::open(&new)?.sync_all());
            fs::hard_link(&old, &new).or_else(|_| copied()).map_err(PolicyError::io(&new))?;
        }
        return Ok(files);
    }
    let held = held(made, shelf)?;
    let mut numbers: HashMap<&[i8], usize> = HashMap::new();
    let mut points: Vec<&[i8]> = Vec::new();
    let mut documents = BTreeMap::new();
    // In the order of the digests: what documents are called does not change the graph.
    for (name, own) in &held {
        let mut number = |vector| {
            *numbers.entry(vector).or_insert_with(|| {
                points.push(vector);
                points.len() - 1
            })
        };
        documents.insert((*name).clone(), own.iter().map(|vector| number(vector.as_slice())).collect());
    }
    Graph::build(&points, progress).write(folder)?;
    let list = List { limit, points: points.len(), documents };
    let json = serde_json::to_vec(&list).map_err(|error| PolicyError::io(folder)(error.into()))?;
    super::generation::write_durably(&folder.join(LIST), &json)?;
    let digest = |name: &str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(PolicyError::io(&path))?;
        Ok((name.to_owned(), Digest::of(&bytes)))
    };
    FILES.into_iter().map(digest).collect()
}

/// The files of a generation's graph, where it has one that is what was built.
fn whole(folder: &Path, manifest: &Manifest) -> Option<BTreeMap<String, Digest>> {
    let file = |name: &str| {
        let digest = manifest.files.get(name)?;
        let bytes = fs::read(folder.join(name)).ok()?;
        (Digest::of(&bytes) == *digest).then(|| (name.to_owned(), digest.clone()))
    };
    FILES.into_iter().map(file).collect()
}

/// The vectors of each document's passages.
fn held<'a>(made: &'a Embeddings, shelf: &Shelf) -> Result<BTreeMap<&'a Digest, Vec<Vec<i8>>>, PolicyError> {
    let mut held = BTreeMap::new();
    for digest in &made.packs {
        let damaged =
            |reason: &str| PolicyError::Pack { file: vectors::path(digest), reason: reason.to_owned() };
        let pack = shelf.pack(digest).map_err(damaged)?;
        for name in &made.documents {
            if let Some(own) = pack.passages(name) {
                let vector = |passage| pack.vectors(passage..passage + 1).to_vec();
                held.entry(name).or_insert_with(|| own.map(vector).collect());
            }
        }
    }
    Ok(held)
}

/// The graph of one generation, and which passages its points stand for. Generations share graphs.
pub(super) struct Neighbours {
    graph: Arc<Graph>,
    limit: usize,
    /// For each point, the passages with their documents.
    held: Vec<Vec<(usize, usize)>>,
    /// Some point has no passage here.
    thinned: bool,
    /// Documents that have no points.
    uncovered: Vec<usize>,
}

impl Neighbours {
    /// Of files that have the digests that `files` gives them; `None` where there is no graph. `taken` gives what
    /// a file holds; `width` is that of the vectors.
    ///
    /// # Errors
    /// The file that is not what it should be.
    pub fn open(
        folder: &Path,
        files: &BTreeMap<String, Digest>,
        taken: &mut dyn FnMut(&str) -> Vec<u8>,
        (names, passages, width): (&[Digest], &[Range<usize>], usize),
        shelf: &Shelf,
    ) -> Result<Option<Self>, &'static str> {
        let digests: Vec<&[u8]> = FILES
            .iter()
            .filter_map(|name| files.get(*name))
            .map(|digest| digest.as_str().as_bytes())
            .collect();
        if digests.is_empty() {
            return Ok(None);
        }
        let list: List = serde_json::from_slice(&taken(LIST)).map_err(|_| LIST)?;
        let opened = || Graph::open(folder, &taken(DATA), (list.points, width));
        let graph = shelf.graph(&Digest::of_parts(digests), opened).ok_or(GRAPH)?;
        let mut held = vec![Vec::new(); list.points];
        let mut uncovered = Vec::new();
        for (document, (name, own)) in names.iter().zip(passages).enumerate() {
            let Some(points) = list.documents.get(name).filter(|points| points.len() == own.len()) else {
                uncovered.push(document);
                continue;
            };
            for (point, passage) in points.iter().zip(own.clone()) {
                held.get_mut(*point).ok_or(LIST)?.push((document, passage));
            }
        }
        let thinned = held.iter().any(Vec::is_empty);
        Ok(Some(Self { graph, limit: list.limit, held, thinned, uncovered }))
    }

    /// Whether a question that admits so many passages is searched by the graph.
    pub const fn serves(&self, admitted: usize) -> bool {
        admitted > self.limit
    }

    /// The documents whose passages the graph does not know.
    pub fn uncovered(&self) -> &[usize] {
        &self.uncovered
    }

    /// The nearest passages that it knows, with their documents: about `wanted`, more where several have one vector. Of
    /// each document `admitted` says whether it is looked at.
    pub fn nearest(&self, vector: &[i8], wanted: usize, admitted: &[bool]) -> Vec<(usize, usize)> {
        let seen = |(document, _): &&(usize, usize)| admitted.get(*document) == Some(&true);
        let of = |point: usize| self.held.get(point).into_iter().flatten().filter(seen);
        let admits = |point: &usize| of(*point).next().is_some();
        // Without a filter the search ends earlier.
        let all = !self.thinned && admitted.iter().all(|admitted| *admitted);
        let points = self.graph.nearest(vector, wanted, (!all).then_some(&admits));
        points.into_iter().flat_map(of).copied().collect()
    }
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
