//! What the rules must never permit, whatever they say: forbids that change nothing (rules/invariants/*.cedar).
//!
//! An invariant holds where every request that it forbids is refused by the rules as they are. Beside each lies a set of
//! rules that breaks it (rules/invariants/broken/ID.cedar): an invariant that nothing could break says nothing.

use super::rules::{Rules, faults, parsed, place_of};
use crate::base::{Digest, Finding};
use cedar_policy::{Effect, PolicyId, PolicySet};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Where a pack keeps its invariants, and what breaks them.
pub const INVARIANTS_FOLDER: &str = "rules/invariants";
pub const BROKEN_FOLDER: &str = "rules/invariants/broken";

/// The invariants of a pack, validated against the schema of its rules.
pub struct Invariants {
    pub(super) all: Vec<Invariant>,
    digest: Digest,
}

pub(super) struct Invariant {
    pub id: String,
    pub reason: String,
    /// Everything is permitted but what the invariant forbids.
    pub bound: PolicySet,
    /// Rules that break it.
    pub broken: PolicySet,
}

impl std::fmt::Debug for Invariants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invariants({})", self.digest)
    }
}

impl Invariants {
    /// Parses the invariants and the rule sets that break them.
    ///
    /// # Errors
    /// All that is wrong in the files, with lines.
    pub fn parse(
        files: &[(String, String)],
        broken: &[(String, String)],
        rules: &Rules,
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut names = BTreeSet::new();
        let mut all = Vec::new();
        for (file, policy) in parsed(files, &mut findings) {
            let (Some(id), Some(reason)) = (policy.annotation("id"), policy.annotation("reason")) else {
                let message = "every invariant needs `@id(\"…\")` and `@reason(\"…\")`";
                findings.push(Finding::new(file, 0, message));
                continue;
            };
            let (_, line) = place_of(files, id);
            let mut fault = |message: String| findings.push(Finding::new(file, line, message));
            if policy.effect() != Effect::Forbid {
                fault(format!("invariant `{id}` permits: write what must never be as a `forbid`"));
            }
            if !names.insert(id.to_owned()) {
                fault(format!("invariant `{id}` is there twice"));
                continue;
            }
            let mut bound = everything();
            if let Err(error) = bound.add(policy.new_id(PolicyId::new(id))) {
                fault(error.to_string());
            }
            let Some(source) = broken.iter().find(|(file, _)| stem(file) == id) else {
                fault(format!(
                    "nothing breaks invariant `{id}`: write rules that do in {BROKEN_FOLDER}/{id}.cedar"
                ));
                continue;
            };
            let source = std::slice::from_ref(source);
            findings.extend(faults(&rules.schema, &bound, files));
            let breaking = parsed(source, &mut findings).into_iter().map(|(_, policy)| policy);
            let breaking = PolicySet::from_policies(breaking).unwrap_or_default();
            findings.extend(faults(&rules.schema, &breaking, source));
            all.push(Invariant { id: id.to_owned(), reason: reason.to_owned(), bound, broken: breaking });
        }
        for (file, _) in broken {
            let stem = stem(file);
            if !names.contains(stem) {
                findings.push(Finding::new(
                    file,
                    0,
                    format!("there is no invariant `{stem}` that it breaks"),
                ));
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let texts = files.iter().chain(broken).map(|(_, text)| text.as_bytes());
        Ok(Self { all, digest: Digest::of_parts(texts.collect::<Vec<_>>()) })
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// A set that permits everything.
fn everything() -> PolicySet {
    PolicySet::from_str("permit (principal, action, resource);").unwrap_or_default()
}

/// A file's name without folders and extension.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".cedar").unwrap_or(name)
}
