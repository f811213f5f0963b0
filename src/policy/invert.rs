//! The inverted index over passages: their words in each language, and what a question may be limited to.

use super::analysis::{Analysis, fold};
use super::compounds::Compounds;
use super::document::{Document, in_force};
use super::embed::read_as;
use super::error::PolicyError;
use super::generation::Place;
use super::grounds::Audience;
use crate::base::Language;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexWriter, TantivyDocument};

/// Memory of the index writer in bytes; tantivy wants at least 15 MB.
const WRITER_BYTES: usize = 64_000_000;

/// The name of the field with a passage's number.
pub(super) const PASSAGE: &str = "passage";

/// The fields of the inverted index; the text once for each language. Title and headings stand in the text: fields of
/// their own, each with its own lengths and rarities, rank worse.
#[derive(Clone)]
pub(super) struct Fields {
    pub id: Field,
    pub audience: Field,
    pub language: Field,
    pub product: Field,
    pub from: Field,
    pub to: Field,
    passage: Field,
    pub texts: BTreeMap<Language, Field>,
    /// The passage's own heading again, for searches by words alone.
    pub headings: BTreeMap<Language, Field>,
}

pub(super) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let text = |name: &str, builder: &mut tantivy::schema::SchemaBuilder| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqs);
        builder.add_text_field(name, TextOptions::default().set_indexing_options(indexing))
    };
    let texts = Language::ALL.map(|language| (language, text(&format!("text_{language}"), &mut builder)));
    let headings =
        Language::ALL.map(|language| (language, text(&format!("heading_{language}"), &mut builder)));
    let fields = Fields {
        headings: headings.into_iter().collect(),
        texts: texts.into_iter().collect(),
        id: builder.add_text_field("id", STRING),
        audience: builder.add_text_field("audience", STRING),
        language: builder.add_text_field("language", STRING),
        product: builder.add_text_field("product", STRING),
        from: builder.add_i64_field("from", INDEXED | FAST),
        to: builder.add_i64_field("to", INDEXED | FAST),
        passage: builder.add_u64_field(PASSAGE, FAST),
    };
    (builder.build(), fields)
}

/// The words that German documents are made of.
pub(super) fn compounds(documents: &[Document]) -> Compounds {
    let mut compounds = Compounds::default();
    for document in documents.iter().filter(|document| document.language == Language::De) {
        for text in [&document.title, &document.body] {
            compounds.add(&fold(text));
        }
    }
    compounds
}

/// Writes the inverted index into an empty folder. `progress` receives documents done and in all.
pub(super) fn invert(
    folder: &Path,
    documents: &[Document],
    places: &[Place],
    compounds: &Arc<Compounds>,
    progress: &dyn Fn(usize, usize),
) -> Result<(), PolicyError> {
    let (schema, fields) = schema();
    let index = Index::create_in_dir(folder, schema)?;
    let mut writer: IndexWriter<TantivyDocument> = index.writer_with_num_threads(1, WRITER_BYTES)?;
    let mut analyses: BTreeMap<Language, Analysis> =
        Language::ALL.map(|language| (language, Analysis::of(language, compounds))).into();
    let days = in_force(documents);
    let mut done = 0;
    for (number, place) in places.iter().enumerate() {
        let (Some(document), Some(days)) = (documents.get(place.document), days.get(place.document)) else {
            continue;
        };
        if let (Some(analysis), Some(texts)) =
            (analyses.get_mut(&document.language), fields.texts.get(&document.language))
        {
            writer.add_document(entry(&fields, *texts, analysis, document, (number, place), *days))?;
        }
        if place.document >= done {
            done = place.document + 1;
            progress(done, documents.len());
        }
    }
    writer.commit()?;
    writer.wait_merging_threads()?;
    Ok(())
}

fn entry(
    fields: &Fields,
    text: Field,
    analysis: &mut Analysis,
    document: &Document,
    (number, place): (usize, &Place),
    days: Option<(Date, Date)>,
) -> TantivyDocument {
    let mut entry = TantivyDocument::default();
    entry.add_text(text, analysis.words(&read_as(document, place).0).join(" "));
    if let Some((heading, field)) = place.section.last().zip(fields.headings.get(&document.language)) {
        entry.add_text(*field, analysis.words(heading).join(" "));
    }
    entry.add_text(fields.id, &document.id);
    for term in audience_terms(&document.audience) {
        entry.add_text(fields.audience, term);
    }
    entry.add_text(fields.language, document.language.code());
    if let Some(product) = &document.product {
        entry.add_text(fields.product, product_term(product));
    }
    // A document that is never in force ends before it begins.
    let (from, to) = days.map_or((1, 0), |(from, to)| (day(from), day(to)));
    entry.add_i64(fields.from, from);
    entry.add_i64(fields.to, to);
    entry.add_u64(fields.passage, number as u64);
    entry
}

/// What stands for an audience in the index: somebody may see a passage who has one of these.
pub(super) fn audience_terms(audience: &Audience) -> Vec<String> {
    match audience {
        Audience::Public => vec!["public".to_owned()],
        Audience::Internal => vec!["internal".to_owned()],
        Audience::Roles(roles) => roles.iter().map(|role| role_term(role)).collect(),
    }
}

/// No role is called like a word of the other audiences.
pub(super) fn role_term(role: &str) -> String {
    format!("role:{role}")
}

/// Products are the same however they are capitalised.
pub(super) fn product_term(product: &str) -> String {
    product.to_lowercase()
}

/// A day as a number that sorts like the date.
pub(super) fn day(date: Date) -> i64 {
    (i64::from(date.year()) * 100 + i64::from(date.month())) * 100 + i64::from(date.day())
}
