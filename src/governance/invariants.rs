//! What the rules must never permit, whatever they say: forbids that change nothing (rules/invariants/*.cedar).
//!
//! An invariant holds where every request that it forbids is refused by the rules as they are. Beside each lies a set of
//! rules that breaks it (rules/invariants/broken/ID.cedar): an invariant that nothing could break says nothing.

use super::rules::{Rules, parse_findings, place_of};
use crate::base::{Digest, Finding};
use cedar_policy::{Effect, PolicyId, PolicySet, ValidationMode, Validator};
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
        for (file, text) in files {
            let parsed = match PolicySet::from_str(text) {
                Ok(parsed) => parsed,
                Err(error) => {
                    findings.extend(parse_findings(file, text, &error));
                    continue;
                }
            };
            for policy in parsed.policies() {
                let (Some(id), Some(reason)) = (policy.annotation("id"), policy.annotation("reason")) else {
                    let message = "every invariant needs `@id(\"…\")` and `@reason(\"…\")`";
                    findings.push(Finding::new(file, 0, message));
                    continue;
                };
                let (_, line) = place_of(files, id);
                if policy.effect() != Effect::Forbid {
                    let message = format!("invariant `{id}` permits: write what must never be as a `forbid`");
                    findings.push(Finding::new(file, line, message));
                }
                if !names.insert(id.to_owned()) {
                    findings.push(Finding::new(file, line, format!("invariant `{id}` is there twice")));
                    continue;
                }
                let mut bound = everything();
                if let Err(error) = bound.add(policy.new_id(PolicyId::new(id))) {
                    findings.push(Finding::new(file, line, error.to_string()));
                }
                findings.extend(faults(&bound, rules, files));
                match broken_for(id, broken) {
                    Ok((sources, set)) => {
                        findings.extend(faults(&set, rules, &sources));
                        let (id, reason) = (id.to_owned(), reason.to_owned());
                        all.push(Invariant { id, reason, bound, broken: set });
                    }
                    Err(found) => findings.extend(found.into_iter().map(|found| match found.line {
                        0 => Finding::new(file, line, found.message),
                        _ => found,
                    })),
                }
            }
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

type Sources = Vec<(String, String)>;

/// The rules that break an invariant, and their file.
fn broken_for(id: &str, broken: &[(String, String)]) -> Result<(Sources, PolicySet), Vec<Finding>> {
    let Some((file, text)) = broken.iter().find(|(file, _)| stem(file) == id) else {
        let message =
            format!("nothing breaks invariant `{id}`: write rules that do in {BROKEN_FOLDER}/{id}.cedar");
        return Err(vec![Finding::new("", 0, message)]);
    };
    let set = PolicySet::from_str(text).map_err(|error| parse_findings(file, text, &error))?;
    Ok((vec![(file.clone(), text.clone())], set))
}

/// A file's name without folders and extension.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".cedar").unwrap_or(name)
}

fn faults(set: &PolicySet, rules: &Rules, files: &[(String, String)]) -> Vec<Finding> {
    let result = Validator::new(rules.schema.clone()).validate(set, ValidationMode::Strict);
    let fault = |error: &cedar_policy::ValidationError| {
        let id = error.policy_id().to_string();
        let (file, line) = place_of(files, &id);
        Finding::new(&file, line, format!("policy `{id}`: {error}"))
    };
    result.validation_errors().map(fault).collect()
}
