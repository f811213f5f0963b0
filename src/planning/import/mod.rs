//! Operations of an OpenAPI 3 document become declarations of tools, as text for tools.toml.
//!
//! Enters: the document's text; nothing is fetched. Leaves: sections that pass the check once a person has filled in
//! what such a document does not say, and what had to be left out, with why. What harm a call can do is always chosen by
//! a person, in the document (`x-prokura-risk`) or in the section.

mod document;
mod operation;
mod schema;
mod toml_text;

use crate::base::Finding;
use document::{Document, Found, slug};
use operation::Operation;
use std::collections::BTreeSet;

/// What of a document becomes tools.
#[derive(Clone, Debug, Default)]
pub struct ImportSettings {
    /// The system's name; else it is made of the document's title.
    pub system: Option<String>,
    /// Ids of operations; empty: all.
    pub only: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// For tools.toml.
    pub text: String,
    /// Names of the tools.
    pub tools: Vec<String>,
    /// What was left out, or is otherwise than the document says.
    pub notes: Vec<String>,
}

/// A longer document is not read.
pub const MOST_BYTES: usize = 8 << 20;

/// Nobody chooses the risk of more at once.
const MOST_OPERATIONS: usize = 500;

/// `file` is named in findings only.
///
/// # Errors
/// Why the document is none that can be imported.
pub fn import(file: &str, text: &str, asked: &ImportSettings) -> Result<Imported, Vec<Finding>> {
    let refused = |line: usize, message: String| vec![Finding::new(file, line, message)];
    let document = Document::parse(text).map_err(|(line, message)| refused(line, message))?;
    let system = asked.system.clone().unwrap_or_else(|| slug(document.title()));
    let (mut tools, mut notes, mut sections) = (Vec::new(), Vec::new(), Vec::new());
    let mut missing = asked.only.clone();
    let is_asked = |found: &Found<'_>| asked.only.is_empty() || asked.only.contains(&found.id);
    if document.operations().filter(is_asked).nth(MOST_OPERATIONS).is_some() {
        let message =
            format!("it has more than {MOST_OPERATIONS} operations; name those that are needed with --only");
        return Err(refused(0, message));
    }
    for operation in document.operations() {
        missing.remove(&operation.id);
        if !is_asked(&operation) {
            continue;
        }
        match Operation::read(&document, &operation) {
            Ok(read) => {
                let mut name = slug(&operation.id);
                while tools.contains(&name) {
                    name.push('_');
                }
                sections.push(read.section(&name, &system));
                notes.extend(read.notes.iter().map(|note| format!("`{}`: {note}", operation.id)));
                tools.push(name);
            }
            Err(refusal) if refusal.is_hostile => {
                return Err(refused(0, format!("operation `{}`: {}", operation.id, refusal.why)));
            }
            Err(refusal) => notes.push(format!("`{}` is left out: {}", operation.id, refusal.why)),
        }
    }
    if let Some(id) = missing.first() {
        let ids: Vec<String> = document.operations().map(|operation| operation.id).collect();
        let near = crate::base::finding::suggestion(id, ids.iter().map(String::as_str));
        return Err(refused(0, format!("there is no operation `{id}`{near}")));
    }
    if tools.is_empty() {
        let why = if notes.is_empty() { "it has no operations".to_owned() } else { notes.join("; ") };
        return Err(refused(0, format!("nothing could be imported: {why}")));
    }
    let text = format!("{}{}", document.head(&system), sections.concat());
    Ok(Imported { text, tools, notes })
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
