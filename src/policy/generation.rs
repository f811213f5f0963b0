//! One immutable state of the index: a folder `<state>/index/<hexadecimal digest>/` with
//!
//! - `documents.jsonl`: every document with its whole body, sorted by id and version;
//! - `tantivy/`: the inverted index over the passages;
//! - `manifest.json`: the SHA-256 of each of these files, and what made them.
//!
//! The digest that names the folder covers `documents.jsonl` and the versions of chunker, analysis and
//! layout, so equal content has one name. A generation is read and checked whole when it is opened, and
//! is searched from memory: what was checked is what answers, and nothing writes into the folder again.

use super::analysis::{self, Analysis};
use super::chunk::{self, Chunk, characters};
use super::document::{Document, in_force};
use super::error::PolicyError;
use super::grounds::{Audience, Passage};
use crate::base::{Digest, Language, Timestamp, durable};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tantivy::directory::{Directory, RamDirectory};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexWriter, Searcher, TantivyDocument};

/// Changes whenever the same documents may give another index.
const LAYOUT: &str = "layout-1";
const DOCUMENTS: &str = "documents.jsonl";
const MANIFEST: &str = "manifest.json";
const TANTIVY: &str = "tantivy";
/// Memory of the index writer in bytes; tantivy wants at least 15 MB.
const WRITER_BYTES: usize = 64_000_000;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub generation: Digest,
    pub built_at: Timestamp,
    pub documents: usize,
    pub passages: usize,
    pub made_by: Vec<String>,
    /// Path within the folder, with `/`, to the SHA-256 of the file.
    pub files: BTreeMap<String, Digest>,
}

/// The fields of the inverted index; the text fields once for each language.
#[derive(Clone)]
pub(super) struct Fields {
    pub id: Field,
    pub audience: Field,
    pub language: Field,
    pub from: Field,
    pub to: Field,
    pub passage: Field,
    pub texts: BTreeMap<Language, [Field; 4]>,
}

/// A generation that was opened and found whole.
pub struct Generation {
    pub(super) manifest: Manifest,
    pub(super) documents: Vec<Document>,
    pub(super) searcher: Searcher,
    pub(super) fields: Fields,
}

/// What the inverted index stores of a passage; its text is cut from the document.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub document: usize,
    pub section: Vec<String>,
    pub start: usize,
    pub end: usize,
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
    pub(super) fn read(root: &Path, digest: &Digest) -> Result<Self, PolicyError> {
        let folder = root.join(digest.hex());
        let damaged = |file: &str, reason: &str| PolicyError::Damaged {
            generation: digest.to_string(),
            file: file.to_owned(),
            reason: reason.to_owned(),
        };
        let manifest = read_manifest(root, digest)?;
        let ram = RamDirectory::create();
        let mut lines = Vec::new();
        for (name, expected) in &manifest.files {
            let bytes = fs::read(folder.join(name)).map_err(|_| damaged(name, "cannot be read"))?;
            if Digest::of(&bytes) != *expected {
                return Err(damaged(name, "is not what was built"));
            }
            match name.strip_prefix("tantivy/") {
                Some(file) => ram.atomic_write(Path::new(file), &bytes).map_err(PolicyError::io(&folder))?,
                None => lines = bytes,
            }
        }
        if name_of(&lines, &manifest.made_by) != *digest {
            return Err(damaged(DOCUMENTS, "does not have the generation's digest"));
        }
        let text = std::str::from_utf8(&lines).map_err(|_| damaged(DOCUMENTS, "is not UTF-8"))?;
        let documents: Vec<Document> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|_| damaged(DOCUMENTS, "is not of this program's form"))?;
        let index = Index::open(ram)?;
        let (_, fields) = schema();
        let searcher = index.reader()?.searcher();
        Ok(Self { manifest, documents, searcher, fields })
    }
}

pub(super) fn read_manifest(root: &Path, digest: &Digest) -> Result<Manifest, PolicyError> {
    let damaged = |reason: &str| PolicyError::Damaged {
        generation: digest.to_string(),
        file: MANIFEST.to_owned(),
        reason: reason.to_owned(),
    };
    let bytes = fs::read(root.join(digest.hex()).join(MANIFEST)).map_err(|_| damaged("cannot be read"))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|_| damaged("is not of this program's form"))?;
    if manifest.generation != *digest {
        return Err(damaged("names another generation"));
    }
    if !manifest.files.contains_key(DOCUMENTS) || manifest.files.keys().any(|name| name.contains("..")) {
        return Err(damaged("does not list the generation's files"));
    }
    Ok(manifest)
}

fn made_by() -> Vec<String> {
    [chunk::VERSION, analysis::VERSION, LAYOUT].map(str::to_owned).to_vec()
}

/// The name of the generation that holds these documents.
fn name_of(lines: &[u8], made_by: &[String]) -> Digest {
    Digest::of_parts(made_by.iter().map(String::as_bytes).chain([lines]).collect::<Vec<_>>())
}

/// What [`build`] would make.
pub(super) struct Blueprint {
    pub digest: Digest,
    lines: Vec<u8>,
}

impl Blueprint {
    /// # Errors
    /// Never for documents that were read; a document is always JSON.
    pub fn of(documents: &[Document]) -> Result<Self, PolicyError> {
        let mut lines = Vec::new();
        for document in documents {
            serde_json::to_writer(&mut lines, document)
                .map_err(|error| PolicyError::io(Path::new(DOCUMENTS))(error.into()))?;
            lines.push(b'\n');
        }
        Ok(Self { digest: name_of(&lines, &made_by()), lines })
    }

    /// Builds the generation in an empty folder. `progress` receives documents done and in all.
    pub fn build(
        self,
        folder: &Path,
        documents: &[Document],
        now: Timestamp,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Manifest, PolicyError> {
        let tantivy = folder.join(TANTIVY);
        fs::create_dir_all(&tantivy).map_err(PolicyError::io(&tantivy))?;
        let passages = invert(&tantivy, documents, progress)?;
        write_durably(&folder.join(DOCUMENTS), &self.lines)?;
        let mut files = BTreeMap::from([(DOCUMENTS.to_owned(), Digest::of(&self.lines))]);
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
            passages,
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

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let text = |name: &str, builder: &mut tantivy::schema::SchemaBuilder| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqs);
        builder.add_text_field(name, TextOptions::default().set_indexing_options(indexing))
    };
    let texts = Language::ALL.map(|language| {
        let fields = ["title", "above", "heading", "body"]
            .map(|name| text(&format!("{name}_{language}"), &mut builder));
        (language, fields)
    });
    let fields = Fields {
        texts: texts.into_iter().collect(),
        id: builder.add_text_field("id", STRING),
        audience: builder.add_text_field("audience", STRING),
        language: builder.add_text_field("language", STRING),
        from: builder.add_i64_field("from", INDEXED | FAST),
        to: builder.add_i64_field("to", INDEXED | FAST),
        passage: builder.add_bytes_field("passage", STORED),
    };
    (builder.build(), fields)
}

/// Writes the inverted index and returns the number of passages.
fn invert(
    folder: &Path,
    documents: &[Document],
    progress: &dyn Fn(usize, usize),
) -> Result<usize, PolicyError> {
    let (schema, fields) = schema();
    let index = Index::create_in_dir(folder, schema)?;
    let mut writer: IndexWriter<TantivyDocument> = index.writer_with_num_threads(1, WRITER_BYTES)?;
    let mut analyses: BTreeMap<Language, Analysis> =
        Language::ALL.map(|language| (language, Analysis::of(language))).into();
    let days = in_force(documents);
    let mut passages = 0;
    for (number, (document, days)) in documents.iter().zip(days).enumerate() {
        if let (Some(analysis), Some(texts)) =
            (analyses.get_mut(&document.language), fields.texts.get(&document.language))
        {
            for chunk in chunk::chunks(document) {
                writer.add_document(entry(&fields, *texts, analysis, (number, document), &chunk, days)?)?;
                passages += 1;
            }
        }
        progress(number + 1, documents.len());
    }
    writer.commit()?;
    writer.wait_merging_threads()?;
    Ok(passages)
}

fn entry(
    fields: &Fields,
    [title, above, heading, body]: [Field; 4],
    analysis: &mut Analysis,
    (number, document): (usize, &Document),
    chunk: &Chunk,
    days: Option<(Date, Date)>,
) -> Result<TantivyDocument, PolicyError> {
    let mut words = |text: &str| analysis.words(text).join(" ");
    let mut entry = TantivyDocument::default();
    entry.add_text(title, words(&document.title));
    if let Some((own, outer)) = chunk.section.split_last() {
        entry.add_text(above, words(&outer.join(" ")));
        entry.add_text(heading, words(own));
    }
    entry.add_text(body, words(characters(&document.body, chunk.start, chunk.end).unwrap_or("")));
    entry.add_text(fields.id, &document.id);
    entry.add_text(fields.audience, audience_term(document.audience));
    entry.add_text(fields.language, document.language.code());
    // A document that is never in force ends before it begins.
    let (from, to) = days.map_or((1, 0), |(from, to)| (day(from), day(to)));
    entry.add_i64(fields.from, from);
    entry.add_i64(fields.to, to);
    let stored =
        Stored { document: number, section: chunk.section.clone(), start: chunk.start, end: chunk.end };
    let json = serde_json::to_vec(&stored).map_err(|e| PolicyError::io(Path::new(TANTIVY))(e.into()))?;
    entry.add_bytes(fields.passage, &json);
    Ok(entry)
}

pub(super) const fn audience_term(audience: Audience) -> &'static str {
    match audience {
        Audience::Public => "public",
        Audience::Internal => "internal",
    }
}

/// A day as a number that sorts like the date.
pub(super) fn day(date: Date) -> i64 {
    (i64::from(date.year()) * 100 + i64::from(date.month())) * 100 + i64::from(date.day())
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
