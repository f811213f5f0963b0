//! The bank's texts: `de.toml` and `en.toml`, each a table of named templates.
//!
//! ```toml
//! [balance]
//! needs = ["record.balance"]     # what the text uses, checked against the text
//! cites = false                  # whether the passage handed over is cited below the text
//! text = "Ihr Kontostand: {{ record.balance|money }}"
//! ```
//!
//! Every language has the same names with the same needs. `notice` and `citation` are part of every reply
//! and cannot be asked for by name.

use super::error::ReplyError;
use super::words;
use crate::base::Language;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const NOTICE: &str = "notice";
pub(super) const CITATION: &str = "citation";
/// What a template may use of the passage.
const QUOTABLE: [&str; 4] = ["passage.section", "passage.text", "passage.title", "passage.version"];

/// Context that tells nothing of a record: what a question asks for, and the number of the case.
pub(super) const FREE: [&str; 2] = ["field", "reference"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    needs: BTreeSet<String>,
    #[serde(default)]
    cites: bool,
    text: String,
}

/// What a template uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needs {
    /// Paths into the context, such as `record.account_number`; `passage.text` is the first passage.
    pub keys: BTreeSet<String>,
    pub cites: bool,
}

/// The checked templates of all languages.
pub struct Templates {
    pub(super) texts: BTreeMap<Language, Environment<'static>>,
    needs: BTreeMap<String, Needs>,
}

impl Templates {
    /// Reads and checks `de.toml` and `en.toml`.
    ///
    /// # Errors
    /// A file that cannot be read, a template that does not parse, needs that differ from its text or
    /// between languages, a name that one language lacks.
    pub fn load(folder: &Path) -> Result<Self, ReplyError> {
        let mut texts = BTreeMap::new();
        let mut needs: Option<(PathBuf, BTreeMap<String, Needs>)> = None;
        for language in Language::ALL {
            let path = folder.join(format!("{language}.toml"));
            let text =
                fs::read_to_string(&path).map_err(|source| ReplyError::Io { path: path.clone(), source })?;
            let file = File { path, text };
            let (environment, found) = file.templates(language)?;
            texts.insert(language, environment);
            if let Some((first, expected)) = &needs {
                file.same(&found, first, expected)?;
            } else {
                needs = Some((file.path, found));
            }
        }
        let needs = needs.map(|(_, needs)| needs).unwrap_or_default();
        Ok(Self { texts, needs })
    }

    /// The names that `render` takes, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.needs.keys().map(String::as_str).filter(|name| ![NOTICE, CITATION].contains(name))
    }

    /// What a template uses; `None` when there is no such template.
    pub fn needs(&self, name: &str) -> Option<&Needs> {
        if [NOTICE, CITATION].contains(&name) { None } else { self.needs.get(name) }
    }
}

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn templates(
        &self,
        language: Language,
    ) -> Result<(Environment<'static>, BTreeMap<String, Needs>), ReplyError> {
        let entries: BTreeMap<String, Entry> = toml::from_str(&self.text)
            .map_err(|error| ReplyError::Syntax { path: self.path.clone(), reason: error.to_string() })?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        words::register(&mut environment, language);
        let mut needs = BTreeMap::new();
        for (name, entry) in entries {
            needs.insert(name.clone(), self.add(&mut environment, &name, entry)?);
        }
        for (reserved, keys) in [(NOTICE, &[][..]), (CITATION, &["section", "title", "version"][..])] {
            let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            match needs.get(reserved) {
                None => return Err(self.wrong(reserved, "add it: every reply needs it".to_owned())),
                Some(found) if found.keys != keys => {
                    return Err(self.wrong(reserved, format!("use exactly {}", shown(&keys))));
                }
                Some(_) => {}
            }
        }
        Ok((environment, needs))
    }

    fn add(
        &self,
        environment: &mut Environment<'static>,
        name: &str,
        entry: Entry,
    ) -> Result<Needs, ReplyError> {
        if entry.text.trim().is_empty() {
            return Err(self.wrong(name, "write its text".to_owned()));
        }
        environment.add_template_owned(name.to_owned(), entry.text.trim().to_owned()).map_err(|error| {
            let line = error.line().unwrap_or(1);
            self.wrong(
                name,
                format!("line {line} of the text: {}", error.detail().unwrap_or("not a template")),
            )
        })?;
        let parsed = environment.get_template(name).map_err(|error| self.wrong(name, error.to_string()))?;
        let used: BTreeSet<String> = parsed.undeclared_variables(true).into_iter().collect();
        if used != entry.needs {
            let remedy = format!("the text uses {}, so write needs = {}", shown(&used), shown(&used));
            return Err(self.wrong(name, remedy));
        }
        let of_passage = |key: &&String| *key == "passage" || key.starts_with("passage.");
        if let Some(key) = used.iter().filter(of_passage).find(|key| !QUOTABLE.contains(&key.as_str())) {
            return Err(self.wrong(name, format!("`{key}` is not known; use {}", QUOTABLE.join(", "))));
        }
        Ok(Needs { cites: entry.cites || used.iter().any(|key| key.starts_with("passage.")), keys: used })
    }

    fn same(
        &self,
        found: &BTreeMap<String, Needs>,
        first: &Path,
        expected: &BTreeMap<String, Needs>,
    ) -> Result<(), ReplyError> {
        let first = first.display();
        for name in expected.keys().chain(found.keys()) {
            let remedy = match (expected.get(name), found.get(name)) {
                (Some(_), None) => format!("it is in `{first}` and must be here too"),
                (None, Some(_)) => format!("it is not in `{first}`: add it there or remove it here"),
                (Some(a), Some(b)) if a.keys != b.keys => {
                    format!("needs {} here and {} in `{first}`", shown(&b.keys), shown(&a.keys))
                }
                (Some(a), Some(b)) if a.cites != b.cites => format!("cites differs from `{first}`"),
                _ => continue,
            };
            return Err(self.wrong(name, remedy));
        }
        Ok(())
    }

    fn wrong(&self, name: &str, remedy: String) -> ReplyError {
        let header = format!("[{name}]");
        let line = self.text.lines().position(|line| line.trim() == header).map_or(1, |index| index + 1);
        ReplyError::Template { path: self.path.clone(), line, name: name.to_owned(), remedy }
    }
}

fn shown(keys: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
