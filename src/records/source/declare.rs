//! config/sources.toml.

use super::super::agreement::Kind;
use super::super::error::{RecordsError, SourceError};
use super::{Entry, FileSource, Guarded, HttpSource, Limits, Source, SqlSource};
use crate::base::outbound::Outbound;
use crate::base::{Auth, Clock, CustomerId, Finding, RecordId};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;

/// All declared sources, in the order in which a record is looked for: HTTP first, then tables, then files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDeclarations {
    #[serde(default)]
    pub http: Vec<HttpDeclaration>,
    #[serde(default)]
    pub sql: Vec<SqlDeclaration>,
    #[serde(default)]
    pub file: Vec<FileDeclaration>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpDeclaration {
    pub name: Spanned<String>,
    pub base_url: Spanned<String>,
    /// How the system is told who asks.
    pub auth: Option<Spanned<Auth>>,
    pub timeout_ms: Spanned<u64>,
    pub max_bytes: usize,
    /// JSON pointers (RFC 6901).
    pub ids: String,
    pub more: Option<String>,
    /// Path with `{id}`.
    pub record: Spanned<String>,
    /// Path with `{customer}`.
    pub accounts_of: Spanned<String>,
    pub accounts: String,
    pub account_id: String,
    /// Path with `{value}`, by field.
    pub find: BTreeMap<String, Spanned<String>>,
    pub batch: Option<Batch>,
    #[serde(default)]
    pub limits: Limits,
    pub form: Form,
}

/// How several searches go in one request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub path: Spanned<String>,
    /// Searches a request.
    pub most: Spanned<usize>,
    /// JSON pointer to the list of results.
    pub answers: String,
    /// The system's name of a field, where it is another.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlDeclaration {
    pub name: Spanned<String>,
    /// `postgres://USER@HOST:PORT/DATABASE` or `sqlite:FILE`.
    pub url: Spanned<String>,
    pub password_file: Option<PathBuf>,
    /// PEM; the authorities that a server's certificate may come from.
    pub certificate: Option<PathBuf>,
    /// A table or view, with or without its schema.
    pub table: String,
    pub timeout_ms: Spanned<u64>,
    /// Fields whose values have no spaces in the table.
    #[serde(default)]
    pub compact: BTreeSet<String>,
    #[serde(default)]
    pub indexed: bool,
    #[serde(default = "five_minutes")]
    pub reload_s: u64,
    /// Column by field.
    pub find: BTreeMap<String, String>,
    #[serde(default)]
    pub limits: Limits,
    pub form: Form,
}

const fn five_minutes() -> u64 {
    300
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDeclaration {
    pub name: Spanned<String>,
    pub path: PathBuf,
    pub format: FileFormat,
    /// Fields whose spaces do not matter.
    #[serde(default)]
    pub compact: BTreeSet<String>,
    /// Column (or JSON member) by field.
    pub find: BTreeMap<String, String>,
    pub form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    Jsonl,
    Csv,
}

/// Which members of a record are what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    pub id: String,
    pub owner: String,
    pub authorised: String,
    pub system: Vec<Field>,
    pub free_text: Vec<String>,
    /// Members that are called otherwise than the field that they hold: member by field. For tables and files `find`
    /// says so already.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Before every id of this source, where other sources have the same ids for other records.
    #[serde(default)]
    pub prefix: String,
    /// What system-owned fields hold, as dotted names; `[]` behind a name makes it a list. Plans are
    /// checked against it.
    #[serde(default)]
    pub members: Vec<Field>,
}

/// A name, and what is said of it for the checking of plans: `order?.state: ordered|shipped` may be missing, and is one of
/// two words.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Field {
    pub name: String,
    /// As it was written.
    pub declared: String,
}

impl From<String> for Field {
    fn from(declared: String) -> Self {
        let name = declared.split(':').next().unwrap_or_default().trim().replace('?', "");
        Self { name, declared }
    }
}

impl SourceDeclarations {
    /// `file` is named in findings only.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let declared: Self =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        declared.checked(file, text)
    }

    /// `text` is what it was read from.
    pub fn checked(self, file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let mut declared = self;
        let mut findings = Vec::new();
        let mut wrong = |at: usize, field: &str, value: &str, allowed: &str| {
            let message = format!("`{field}` cannot be `{value}`; allowed: {allowed}");
            findings.push(Finding::at(file, text, at, message));
        };
        let mut names = BTreeSet::new();
        for name in declared.names() {
            if name.get_ref().is_empty() || !names.insert(name.get_ref().as_str()) {
                wrong(name.span().start, "name", name.get_ref(), "a name that no other source has");
            }
        }
        for source in &declared.http {
            let url = source.base_url.get_ref();
            if !(url.starts_with("http://") || url.starts_with("https://")) || url.ends_with('/') {
                let allowed = "http:// or https:// and a host, without a slash at the end";
                wrong(source.base_url.span().start, "base_url", url, allowed);
            }
            let paths = source.find.iter().map(|(field, path)| (field.as_str(), path, "{value}"));
            let fixed =
                [("record", &source.record, "{id}"), ("accounts_of", &source.accounts_of, "{customer}")];
            for (field, path, slot) in paths.chain(fixed) {
                let text = path.get_ref();
                if !text.starts_with('/') || text.matches(slot).count() != 1 {
                    let allowed = format!("a path that starts with / and has {slot} once");
                    wrong(path.span().start, field, text, &allowed);
                }
            }
            if let Some(Batch { path, most, .. }) = &source.batch {
                if !path.get_ref().starts_with('/') {
                    wrong(path.span().start, "path", path.get_ref(), "a path that starts with /");
                }
                if !(2..=1000).contains(most.get_ref()) {
                    wrong(most.span().start, "most", &most.get_ref().to_string(), "2 to 1000");
                }
            }
        }
        for source in &declared.sql {
            if !(10..=86_400).contains(&source.reload_s) {
                let given = source.reload_s.to_string();
                wrong(source.name.span().start, "reload_s", &given, "10 to 86400 (a day)");
            }
            if let Err(allowed) = super::sql::Place::read(source) {
                wrong(source.url.span().start, "url", &super::sql::shown(source.url.get_ref()), allowed);
            }
        }
        for (name, timeout, limits) in declared.asked() {
            if !(1..=60_000).contains(timeout.get_ref()) {
                let given = timeout.get_ref().to_string();
                wrong(timeout.span().start, "timeout_ms", &given, "1 to 60000");
            }
            for (limit, value, allowed) in limits.faults() {
                wrong(name.span().start, &format!("limits.{limit}"), &value.to_string(), allowed);
            }
        }
        for form in declared.forms() {
            findings.extend(form.faults().into_iter().map(|(member, message)| {
                let offset = text.find(&format!("\"{member}\"")).unwrap_or(0);
                Finding::at(file, text, offset, message)
            }));
        }
        for source in &mut declared.http {
            source.auth = source.auth.take().map(|auth| {
                let (span, line) = (auth.span(), crate::base::finding::line_of(text, auth.span().start));
                Spanned::new(span, auth.into_inner().on_line(line))
            });
        }
        if findings.is_empty() { Ok(declared) } else { Err(findings) }
    }

    /// What a plan may use of a record, as dotted names with their types where they are said.
    pub fn shape_paths(&self) -> BTreeSet<&str> {
        let fields = self.forms().flat_map(|form| form.system.iter().chain(&form.members));
        fields.map(|field| field.declared.as_str()).collect()
    }

    /// Every credential, and whose it is.
    pub fn credentials(&self) -> impl Iterator<Item = (String, &Auth)> {
        self.http.iter().filter_map(|source| {
            Some((format!("source `{}`", source.name.get_ref()), source.auth.as_ref()?.get_ref()))
        })
    }

    /// Those that people type, wherever it is.
    pub fn free_paths(&self) -> BTreeSet<&str> {
        self.forms().flat_map(|form| &form.free_text).map(String::as_str).collect()
    }

    fn names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let asked = self.asked().map(|(name, ..)| name);
        asked.chain(self.file.iter().map(|source| &source.name))
    }

    /// Name, time and limits of those that are systems.
    fn asked(&self) -> impl Iterator<Item = (&Spanned<String>, &Spanned<u64>, &Limits)> {
        let http = self.http.iter().map(|source| (&source.name, &source.timeout_ms, &source.limits));
        http.chain(self.sql.iter().map(|source| (&source.name, &source.timeout_ms, &source.limits)))
    }

    fn forms(&self) -> impl Iterator<Item = &Form> {
        let http = self.http.iter().map(|source| &source.form);
        let sql = self.sql.iter().map(|source| &source.form);
        http.chain(sql).chain(self.file.iter().map(|source| &source.form))
    }

    /// Points an HTTP source to another address; `false` when there is none of that name.
    pub fn set_base_url(&mut self, name: &str, base_url: &str) -> bool {
        let found = self.http.iter_mut().find(|source| source.name.get_ref() == name);
        found.is_some_and(|source| {
            base_url.trim_end_matches('/').clone_into(source.base_url.get_mut());
            true
        })
    }

    /// The sources, ready to be asked. Paths of files are relative to `folder`; files are read here.
    /// Files, and tables that ask for it, are indexed by the fields of `kinds`.
    pub fn open(
        &self,
        folder: &Path,
        outbound: &Outbound,
        kinds: &BTreeMap<String, Kind>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn Source>>, RecordsError> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        let guarded = |source, limits: &Limits| {
            Arc::new(Guarded::new(source, limits.clone(), Arc::clone(clock))) as Arc<dyn Source>
        };
        for declared in &self.http {
            if let Err(problem) = outbound.check(declared.base_url.get_ref()) {
                let (source, problem) = (declared.name.get_ref(), problem.to_string());
                tracing::warn!(source, problem, "this source can never be asked");
            }
            if let Some(problem) = declared.auth.as_ref().and_then(|auth| auth.get_ref().fault(folder)) {
                tracing::warn!(
                    source = declared.name.get_ref(),
                    problem,
                    "this source is asked without success"
                );
            }
            let source = HttpSource::new(declared.clone(), outbound.clone(), folder);
            sources.push(guarded(Arc::new(source), &declared.limits));
        }
        for declared in &self.sql {
            let source = SqlSource::open(declared, folder, outbound, kinds, clock)?;
            sources.push(guarded(source, &declared.limits));
        }
        for declared in &self.file {
            sources.push(Arc::new(FileSource::open(declared, folder, kinds)?));
        }
        Ok(sources)
    }
}

impl Form {
    /// What is wrong with the lists, and which member it is about.
    fn faults(&self) -> Vec<(&str, String)> {
        let root = |member: &str| member.split(['.', '[']).next().unwrap_or_default().to_owned();
        let near = |name: &str| {
            crate::base::finding::suggestion(name, self.system.iter().map(|field| field.name.as_str()))
        };
        let is_system = |name: &String| self.system.iter().any(|field| field.name == *name);
        let mut faults = Vec::new();
        for Field { name: member, declared } in
            self.members.iter().filter(|member| !is_system(&root(&member.name)))
        {
            let (root, near) = (root(member), near(&root(member)));
            faults.push((
                declared.as_str(),
                format!("`members` has `{member}`, but `{root}` is not in `system`{near}"),
            ));
        }
        for member in &self.free_text {
            let within = root(member) != *member;
            let told = if !within && is_system(member) {
                format!(
                    "`{member}` is in `system` and in `free_text`; either the bank's systems write it or people do"
                )
            } else if within && self.members.iter().all(|known| known.name != *member) {
                let names = self.members.iter().map(|known| known.name.as_str());
                let near = crate::base::finding::suggestion(member, names);
                format!("`free_text` has `{member}`, which is not in `members`{near}")
            } else {
                continue;
            };
            faults.push((member.as_str(), told));
        }
        faults
    }

    /// Sorts a record's members. Without an owner there is no telling whose it is, so that is garbage.
    pub fn entry(&self, object: &Map<String, Value>) -> Result<Entry, SourceError> {
        let garbage = SourceError::Garbage;
        let id =
            object.get(&self.id).and_then(Value::as_str).and_then(|id| self.record_id(id)).ok_or(garbage)?;
        let owner = object.get(&self.owner).and_then(Value::as_str).filter(|owner| !owner.is_empty());
        let authorised = match object.get(&self.authorised) {
            None | Some(Value::Null) => vec![],
            Some(Value::Array(list)) => list
                .iter()
                .map(|id| id.as_str().map(CustomerId::new).ok_or(garbage))
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err(garbage),
        };
        let pick = |names: &mut dyn Iterator<Item = &String>| -> Map<String, Value> {
            names.filter_map(|name| Some((name.clone(), object.get(name)?.clone()))).collect()
        };
        let mut fields = pick(&mut self.system.iter().map(|field| &field.name));
        for (field, member) in &self.fields {
            if let Some(value) = fields.get(member).cloned() {
                fields.entry(field.clone()).or_insert(value);
            }
        }
        Ok(Entry {
            id,
            owner: CustomerId::new(owner.ok_or(garbage)?),
            authorised,
            fields,
            notes: pick(&mut self.free_text.iter()),
        })
    }

    /// With what `find` says of the fields' members.
    pub fn with_fields(&self, find: &BTreeMap<String, String>) -> Self {
        let mut form = self.clone();
        for (field, member) in find {
            form.fields.entry(field.clone()).or_insert_with(|| member.clone());
        }
        form
    }

    /// An id as a source may give it: 1 to 128 bytes without control characters.
    pub fn record_id(&self, id: &str) -> Option<RecordId> {
        let fits = !id.is_empty() && id.len() <= 128 && !id.chars().any(char::is_control);
        fits.then(|| RecordId::new(format!("{}{id}", self.prefix)))
    }

    /// The id as the source has it, if it is one of the source's.
    pub fn own_id<'a>(&self, id: &'a RecordId) -> Option<&'a str> {
        id.as_str().strip_prefix(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../config/sources.toml");

    fn error(from: &str, to: &str) -> String {
        SourceDeclarations::parse("sources.toml", &SHIPPED.replacen(from, to, 1)).unwrap_err()[0].to_string()
    }

    #[test]
    fn the_shipped_file_declares_the_core_bank() {
        let mut declared = SourceDeclarations::parse("sources.toml", SHIPPED).unwrap();
        assert_eq!(declared.http[0].name.get_ref(), "core_bank");
        assert!(declared.set_base_url("core_bank", "http://127.0.0.1:9/"));
        assert_eq!(declared.http[0].base_url.get_ref(), "http://127.0.0.1:9");
        assert!(!declared.set_base_url("other", "http://127.0.0.1:9"));
    }

    #[test]
    fn errors_name_the_line_and_what_is_allowed() {
        let line = SHIPPED.lines().position(|line| line.starts_with("record =")).unwrap() + 1;
        let told = error("record = \"/accounts/{id}\"", "record = \"/accounts/{di}\"");
        assert!(
            told.starts_with(&format!("sources.toml:{line}: `record`")) && told.contains("{id}"),
            "{told}"
        );
        assert!(error("timeout_ms = 1500", "timeout_ms = 0").contains("1 to 60000"));
        assert!(error("http://127.0.0.1:4380", "ftp://x").contains("http://"));
        assert!(error("max_bytes =", "max_byte =").contains("max_byte"));
    }

    #[test]
    fn what_people_type_is_not_what_the_banks_systems_write() {
        assert!(
            error("free_text = [\"notes\", \"transfers[].payee\"]", "free_text = [\"status\"]")
                .contains("either the bank's")
        );
        let told =
            error("free_text = [\"notes\", \"transfers[].payee\"]", "free_text = [\"transactions[].memo\"]");
        assert!(told.contains("not in `members`"), "{told}");
        let text = SHIPPED.replacen("[\"notes\", ", "[\"notes\", \"transactions[].merchant\", ", 1);
        let declared = SourceDeclarations::parse("sources.toml", &text).unwrap();
        assert!(declared.free_paths().contains("transactions[].merchant"));
    }

    #[test]
    fn a_record_without_an_owner_is_garbage_and_unlisted_members_are_dropped() {
        let form = &SourceDeclarations::parse("sources.toml", SHIPPED).unwrap().http[0].form.clone();
        let entry = |value: Value| form.entry(value.as_object().unwrap());
        let good =
            entry(serde_json::json!({"id": "a", "customer": "c", "status": "locked", "notes": "hm", "x": 1}));
        let good = good.unwrap();
        assert_eq!(good.fields.keys().collect::<Vec<_>>(), ["status"]);
        assert_eq!(good.notes.keys().collect::<Vec<_>>(), ["notes"]);
        assert!(entry(serde_json::json!({"id": "a"})).is_err());
        assert!(entry(serde_json::json!({"id": "", "customer": "c"})).is_err());
        assert!(entry(serde_json::json!({"id": "a", "customer": "c", "authorised": "all"})).is_err());
        assert!(entry(serde_json::json!({"id": "a", "customer": "c", "authorised": [7]})).is_err());
    }
}
