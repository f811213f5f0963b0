//! The pack: everything in config/ that decides, loaded together, checked against each other, digested.

use super::erase::Retention;
use super::stops::ALL;
use super::view::plan_shape;
use crate::base::finding::suggestion;
use crate::base::{Digest, Finding, Language};
use crate::governance::{
    ADMINISTRATION_BROKEN, ADMINISTRATION_FOLDER, ADMINISTRATION_INVARIANTS, Administration, Autonomy,
    BROKEN_FOLDER, Governance, INVARIANTS_FOLDER, Invariants, RULES_FOLDER, Rules, ToolRisk,
};
use crate::planning::{self, Coverage, Names, Plan, PlanKind, Plans, Risk, Shape, Tools};
use crate::records::{LookupSettings, SourceDeclarations};
use crate::reply::Templates;
use crate::understanding::Schema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A pack that passed every check.
pub struct Pack {
    pub schema: Schema,
    pub plans: Plans,
    pub tools: Arc<Tools>,
    pub governance: Governance,
    pub invariants: Invariants,
    /// The same for the rules of administration.
    pub administration_invariants: Invariants,
    pub templates: Templates,
    pub lookup: LookupSettings,
    pub sources: SourceDeclarations,
    pub service: CaseSettings,
    pub digest: Digest,
}

impl Pack {
    /// Why nothing of this name can be stopped; `None` where it can: a tool, a leaf, or everything.
    pub fn cannot_stop(&self, what: &str) -> Option<String> {
        let leaves = self.schema.intents.leaves.iter().map(|leaf| leaf.id.as_str());
        let known: Vec<&str> =
            self.tools.by_name.keys().map(String::as_str).chain(leaves).chain([ALL]).collect();
        let near = suggestion(what, known.iter().copied());
        (!known.contains(&what)).then(|| format!("name a tool, a leaf, or `{ALL}`{near}"))
    }
}

/// config/cases.toml.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseSettings {
    /// A leaf less probable than this is handed to a human.
    pub hand_over_below: f64,
    /// A customer who wishes to speak with a person, with at least this probability, does; 0 to 1.
    pub person_from: f64,
    /// Words that, alone in a message, say the same; lower case.
    pub person_words: BTreeSet<String>,
    /// Words that, alone in a message, take back what was done or announced last; lower case.
    #[serde(default)]
    pub undo_words: BTreeSet<String>,
    /// Hours until a request for approval expires.
    pub approval_hours: i64,
    /// Leaves that are heard also when a plan waits for an answer, from this probability on.
    pub interrupting: BTreeSet<String>,
    pub interrupt_from: f64,
    /// The queues that plans may hand over to.
    pub queues: BTreeSet<String>,
    /// A case that waits for the customer, or that a person has, counts as open for so many days.
    #[serde(default = "a_month")]
    pub open_days: i64,
    #[serde(default)]
    pub retention: Vec<Retention>,
    /// From this probability of a negative tone and of great urgency, both, a person has the case; 0 to 1.
    #[serde(default = "surely")]
    pub upset_from: f64,
    /// So many calls for one concern may fail; the next one is for a person.
    #[serde(default = "twice")]
    pub attempts: usize,
    /// The share of the plans' branches that their own tests must take for `prokura check` to pass; 0 to 1.
    #[serde(default = "nearly_all")]
    pub branches_tested: f64,
    /// What the open planner may propose; without it, it proposes nothing.
    pub open: Option<OpenSettings>,
}

/// `[open]` in config/cases.toml.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSettings {
    /// The tools that may be proposed for a concern without a plan.
    pub tools: BTreeSet<String>,
    /// Cases count as alike from this cosine of their messages' vectors on; 0 to 1.
    pub alike_from: f64,
    /// So many of the cases that were resolved last are compared.
    pub cases: u32,
}

const fn surely() -> f64 {
    0.9
}

const fn twice() -> usize {
    2
}

const fn nearly_all() -> f64 {
    0.95
}

const fn a_month() -> i64 {
    30
}

impl CaseSettings {
    fn check(&self, file: &str, text: &str, findings: &mut Vec<Finding>) {
        let shares = [
            ("hand_over_below", self.hand_over_below),
            ("person_from", self.person_from),
            ("interrupt_from", self.interrupt_from),
            ("branches_tested", self.branches_tested),
            ("upset_from", self.upset_from),
        ];
        let mut fault = |name: &str, value: String, allowed: &str| {
            let offset = text.find(&format!("\n{name}")).map_or(0, |at| at + 1);
            findings.push(Finding::at(
                file,
                text,
                offset,
                format!("`{name}` cannot be `{value}`; allowed: {allowed}"),
            ));
        };
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                fault(name, value.to_string(), "0 to 1");
            }
        }
        if !self.queues.contains(planning::GENERAL_QUEUE) {
            let allowed =
                format!("a list with `{}`, where what no plan covers goes", planning::GENERAL_QUEUE);
            fault("queues", "without it".to_owned(), &allowed);
        }
        if !(1..=720).contains(&self.approval_hours) {
            fault("approval_hours", self.approval_hours.to_string(), "1 to 720");
        }
        if !(0..=3650).contains(&self.open_days) {
            fault("open_days", self.open_days.to_string(), "0 to 3650");
        }
        if let Some(open) = &self.open {
            if !(0.0..=1.0).contains(&open.alike_from) {
                fault("alike_from", open.alike_from.to_string(), "0 to 1");
            }
            if !(0..=100_000).contains(&open.cases) {
                fault("cases", open.cases.to_string(), "0 to 100000");
            }
        }
        for rule in self.retention.iter().filter(|rule| !(1..=36_525).contains(&rule.days)) {
            fault("[[retention]]", format!("days = {}", rule.days), "1 to 36525 days");
        }
    }
}

/// What `check` found besides faults.
pub struct Checked {
    pub pack: Pack,
    pub files: PackFiles,
    pub trials: usize,
    pub coverage: Coverage,
}

/// The files beside the folders. What else lies there decides nothing.
const DECIDING: [&str; 7] = [
    "autonomy.toml",
    "cases.toml",
    "extraction.toml",
    "intents.toml",
    "lookup.toml",
    "sources.toml",
    "tools.toml",
];

const FOLDERS: [&str; 9] = [
    "",
    "plans",
    "templates",
    RULES_FOLDER,
    INVARIANTS_FOLDER,
    BROKEN_FOLDER,
    ADMINISTRATION_FOLDER,
    ADMINISTRATION_INVARIANTS,
    ADMINISTRATION_BROKEN,
];

/// Packs of before have none of them.
const LATER: [&str; 2] = [INVARIANTS_FOLDER, ADMINISTRATION_FOLDER];

/// The texts of a pack folder, by path relative to it.
pub struct PackFiles {
    pub folder: PathBuf,
    files: Vec<(String, String)>,
}

impl PackFiles {
    /// Reads every .toml and .cedar file of the folder and its plans, templates and rules.
    pub fn read(folder: &Path) -> Result<Self, Vec<Finding>> {
        let mut files = Vec::new();
        let mut findings = Vec::new();
        for part in FOLDERS {
            let directory = folder.join(part);
            let listed = match std::fs::read_dir(&directory) {
                Ok(listed) => listed,
                // Packs of before have none.
                Err(error)
                    if error.kind() == NotFound && LATER.iter().any(|later| part.starts_with(later)) =>
                {
                    continue;
                }
                Err(error) => {
                    let message = format!(
                        "cannot be read: {error}; a pack has plans, templates and rules beside its files"
                    );
                    findings.push(Finding::new(&directory.display().to_string(), 0, message));
                    continue;
                }
            };
            for entry in listed.flatten() {
                let path = entry.path();
                let known = path.extension().is_some_and(|e| e == "toml" || e == "cedar");
                if !known || !path.is_file() {
                    continue;
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = if part.is_empty() { name } else { format!("{part}/{name}") };
                match std::fs::read_to_string(&path) {
                    Ok(text) => files.push((name, text)),
                    Err(error) => {
                        findings.push(Finding::new(&path.display().to_string(), 0, error.to_string()))
                    }
                }
            }
        }
        files.sort();
        if findings.is_empty() { Ok(Self { folder: folder.to_path_buf(), files }) } else { Err(findings) }
    }

    /// The service's own file holds addresses and keys, and bars.toml what model bundles are held to: neither
    /// decides anything about a case, and neither is part of the digest.
    fn decides(name: &str) -> bool {
        name.contains('/') || DECIDING.contains(&name)
    }

    pub fn digest(&self) -> Digest {
        let decide = self.files.iter().filter(|(name, _)| Self::decides(name));
        let parts: Vec<&[u8]> = decide.flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]).collect();
        Digest::of_parts(parts)
    }

    /// Path and text of every file that is part of the digest.
    pub(super) fn deciding(&self) -> impl Iterator<Item = (String, String)> {
        self.files.iter().filter(|(name, _)| Self::decides(name)).cloned()
    }

    fn shown(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn text(&self, name: &str, findings: &mut Vec<Finding>) -> Option<&str> {
        let found = self.files.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        if found.is_none() {
            findings.push(Finding::new(&self.shown(name), 0, "the file is missing; a pack needs it"));
        }
        found
    }

    fn under(&self, folder: &str) -> Vec<(String, String)> {
        let prefix = format!("{folder}/");
        self.files
            .iter()
            .filter(|(name, _)| name.strip_prefix(&prefix).is_some_and(|name| !name.contains('/')))
            .map(|(name, text)| (self.shown(name), text.clone()))
            .collect()
    }
}

/// Loads a pack and checks it whole. `documents` are the ids of the policy documents that plans may cite,
/// without their language suffix; `None` when no index is at hand, and citations are then not checked.
pub fn load(folder: &Path, documents: Option<&BTreeSet<String>>) -> Result<Checked, Vec<Finding>> {
    read(folder, documents, true)
}

/// Loads a pack that was in force before. The program of its time has checked its plans; what this one would find in them
/// besides does not keep cases from going on that began with it.
pub fn load_kept(folder: &Path) -> Result<Pack, Vec<Finding>> {
    Ok(read(folder, None, false)?.pack)
}

fn read(folder: &Path, documents: Option<&BTreeSet<String>>, checks: bool) -> Result<Checked, Vec<Finding>> {
    let files = PackFiles::read(folder)?;
    let mut findings = Vec::new();
    let schema = collect(&mut findings, Schema::read(folder).map_err(|error| finding(folder, &error)));
    let plans = parse_plans(&files, &mut findings);
    let tools = files.text("tools.toml", &mut findings).map(str::to_owned);
    let tools =
        tools.and_then(|text| collect(&mut findings, Tools::parse(&files.shown("tools.toml"), &text)));
    let lookup = files.text("lookup.toml", &mut findings).map(str::to_owned);
    let lookup = lookup
        .and_then(|text| collect(&mut findings, LookupSettings::parse(&files.shown("lookup.toml"), &text)));
    let sources = files.text("sources.toml", &mut findings).map(str::to_owned);
    let sources = sources.and_then(|text| {
        collect(&mut findings, SourceDeclarations::parse(&files.shown("sources.toml"), &text))
    });
    let service = files.text("cases.toml", &mut findings).map(str::to_owned);
    let service = service.and_then(|text| {
        let parsed: Result<CaseSettings, _> = toml::from_str(&text);
        if let Ok(settings) = &parsed {
            settings.check(&files.shown("cases.toml"), &text, &mut findings);
        }
        collect(
            &mut findings,
            parsed.map_err(|error| vec![Finding::of_toml(&files.shown("cases.toml"), &text, &error)]),
        )
    });
    let templates =
        collect(&mut findings, Templates::load(&folder.join("templates")).map_err(|e| finding(folder, &e)));
    let (Some(schema), Some(tools), Some(lookup), Some(sources), Some(service), Some(templates)) =
        (schema, tools, lookup, sources, service, templates)
    else {
        return Err(findings);
    };
    check_lookup(&files, &schema, &lookup, &mut findings);
    check_named(&files, &schema, &tools, &service, &mut findings);
    let governance = govern(&files, &schema, (&tools, &plans), &mut findings);
    let record = record_shape(&files, &sources, &mut findings);
    let known = names((&schema, &tools, &templates), &service, record, documents, &plans);
    if checks {
        findings.extend(planning::check(&plans, &known));
    }
    let (outcomes, coverage) = planning::run_trials(&plans);
    let trials = outcomes.len();
    for outcome in outcomes.into_iter().filter(|_| checks) {
        if let Some(failure) = outcome.failure {
            let message = format!("test `{}` fails: {failure}", outcome.trial.name);
            findings.push(Finding::new(&outcome.plan.file, outcome.trial.line, message));
        }
    }
    let invariants = governance.as_ref().and_then(|governance| never(&files, governance, &mut findings));
    let Some((governance, invariants)) = governance.zip(invariants).filter(|_| findings.is_empty()) else {
        findings.sort();
        return Err(findings);
    };
    let digest = files.digest();
    let pack = Pack {
        schema,
        plans,
        tools: Arc::new(tools),
        governance,
        invariants: invariants.0,
        administration_invariants: invariants.1,
        templates,
        lookup,
        sources,
        service,
        digest,
    };
    Ok(Checked { pack, files, trials, coverage })
}

fn finding(folder: &Path, error: &dyn std::fmt::Display) -> Vec<Finding> {
    vec![Finding::new(&folder.display().to_string(), 0, error.to_string())]
}

fn collect<T>(findings: &mut Vec<Finding>, result: Result<T, Vec<Finding>>) -> Option<T> {
    result.map_err(|found| findings.extend(found)).ok()
}

fn parse_plans(files: &PackFiles, findings: &mut Vec<Finding>) -> Plans {
    let mut plans = Plans::default();
    for (file, text) in files.under("plans") {
        let Some(plan) = collect(findings, Plan::parse(&file, &text)) else { continue };
        if let Some(other) = plans.by_name.get(&plan.name) {
            let message = format!("`{}` has a plan already, in {}", plan.name, other.file);
            findings.push(Finding::new(&file, 1, message));
            continue;
        }
        plans.by_name.insert(plan.name.clone(), plan);
    }
    plans
}

fn check_lookup(files: &PackFiles, schema: &Schema, lookup: &LookupSettings, findings: &mut Vec<Finding>) {
    let known: BTreeSet<String> =
        schema.extraction.field_ids().into_iter().flat_map(|(_, fields)| fields).collect();
    for field in lookup.weights.keys() {
        if !known.contains(field) {
            let near = suggestion(field, known.iter().map(String::as_str));
            let message = format!("field `{field}` is not extracted{near}");
            findings.push(Finding::new(&files.shown("lookup.toml"), 0, message));
        }
    }
}

/// A rule that names what there is not would keep nothing, and nothing of it would be proposed.
fn check_named(
    files: &PackFiles,
    schema: &Schema,
    tools: &Tools,
    service: &CaseSettings,
    findings: &mut Vec<Finding>,
) {
    let leaves: BTreeSet<&str> = schema.intents.leaves.iter().map(|leaf| leaf.id.as_str()).collect();
    let tools: BTreeSet<&str> = tools.by_name.keys().map(String::as_str).collect();
    for name in service.open.iter().flat_map(|open| &open.tools).filter(|name| !tools.contains(name.as_str()))
    {
        let near = suggestion(name, tools.iter().copied());
        let message = format!("[open]: there is no tool `{name}`{near}");
        findings.push(Finding::new(&files.shown("cases.toml"), 0, message));
    }
    for rule in &service.retention {
        let named = [("tool", &rule.tools, &tools), ("leaf", &rule.leaves, &leaves)];
        for (kind, names, known) in named {
            for name in names.iter().filter(|name| !known.contains(name.as_str())) {
                let near = suggestion(name, known.iter().copied());
                let message = format!("[[retention]] `{}`: there is no {kind} `{name}`{near}", rule.name);
                findings.push(Finding::new(&files.shown("cases.toml"), 0, message));
            }
        }
    }
}

fn govern(
    files: &PackFiles,
    schema: &Schema,
    (tools, plans): (&Tools, &Plans),
    findings: &mut Vec<Finding>,
) -> Option<Governance> {
    let risks: Vec<ToolRisk> = tools
        .by_name
        .values()
        .map(|tool| ToolRisk {
            name: tool.name.clone(),
            risk: tool.risk,
            restores_access: tool.restores_access,
        })
        .collect();
    let rules = collect(findings, Rules::parse(&files.under(RULES_FOLDER), &risks));
    // A dial may name the event of a plan as well.
    let events = plans.by_name.values().filter(|plan| plan.kind == PlanKind::Event).map(|plan| &plan.name);
    let leaves = schema.intents.leaves.iter().map(|leaf| &leaf.id).chain(events).cloned().collect();
    let text = files.text("autonomy.toml", findings)?.to_owned();
    let autonomy = Autonomy::parse(&files.shown("autonomy.toml"), &text, &leaves, &risks);
    let autonomy = collect(findings, autonomy);
    let administration = collect(findings, Administration::parse(&files.under(ADMINISTRATION_FOLDER)));
    Some(Governance { rules: rules?, autonomy: autonomy?, administration: Arc::new(administration?) })
}

/// The rules of administration alone, for a node that has no pack.
///
/// # Errors
/// All that is wrong in them.
pub fn administration(folder: &Path) -> Result<Administration, Vec<Finding>> {
    Administration::parse(&PackFiles::read(folder)?.under(ADMINISTRATION_FOLDER))
}

/// What the rules must never permit.
fn never(
    files: &PackFiles,
    governance: &Governance,
    findings: &mut Vec<Finding>,
) -> Option<(Invariants, Invariants)> {
    let mut of = |own, broken, rules| {
        collect(findings, Invariants::parse(&files.under(own), &files.under(broken), rules))
    };
    let calls = of(INVARIANTS_FOLDER, BROKEN_FOLDER, &governance.rules);
    let administration = governance.administration.rules();
    calls.zip(of(ADMINISTRATION_INVARIANTS, ADMINISTRATION_BROKEN, administration))
}

fn of_risk(tools: &Tools, is: impl Fn(Risk) -> bool) -> BTreeSet<String> {
    tools.by_name.values().filter(|tool| is(tool.risk)).map(|tool| tool.name.clone()).collect()
}

/// What a record holds, as sources.toml says it.
fn record_shape(files: &PackFiles, sources: &SourceDeclarations, findings: &mut Vec<Finding>) -> Shape {
    let text = files.files.iter().find(|(name, _)| name == "sources.toml").map_or("", |(_, text)| text);
    let shape = Shape::declared(sources.shape_paths()).unwrap_or_else(|faults| {
        let file = files.shown("sources.toml");
        findings.extend(faults.into_iter().map(|(declared, message)| {
            let offset = text.find(&format!("\"{declared}\"")).unwrap_or(0);
            Finding::at(&file, text, offset, message)
        }));
        Shape::Any
    });
    shape.with_free(sources.free_paths())
}

fn names(
    (schema, tools, templates): (&Schema, &Tools, &Templates),
    service: &CaseSettings,
    record: Shape,
    documents: Option<&BTreeSet<String>>,
    plans: &Plans,
) -> Names {
    let cited = || plans.by_name.values().flat_map(|plan| plan.documents.iter().cloned()).collect();
    Names {
        leaves: schema.intents.leaves.iter().map(|leaf| leaf.id.clone()).collect(),
        tools: tools.by_name.iter().map(|(name, tool)| (name.clone(), tool.arguments())).collect(),
        free: tools.by_name.iter().map(|(name, tool)| (name.clone(), tool.free.clone())).collect(),
        takes: tools
            .by_name
            .iter()
            .map(|(name, tool)| (name.clone(), Shape::of_schema(&tool.input)))
            .collect(),
        gives: tools
            .by_name
            .iter()
            .map(|(name, tool)| (name.clone(), Shape::of_schema(&tool.output)))
            .collect(),
        changing: of_risk(tools, |risk| risk != Risk::Read),
        undoable: tools
            .by_name
            .values()
            .filter(|tool| tool.undo.is_some())
            .map(|tool| tool.name.clone())
            .collect(),
        irreversible: of_risk(tools, |risk| risk == Risk::Irreversible),
        templates: templates
            .names()
            .map(|name| {
                (
                    name.to_owned(),
                    templates.needs(name).map(|n| n.keys.iter().cloned().collect()).unwrap_or_default(),
                )
            })
            .collect(),
        queues: service.queues.clone(),
        documents: documents.cloned().unwrap_or_else(cited),
        languages: Language::ALL.iter().map(|language| language.code().to_owned()).collect(),
        view: plan_shape(
            record,
            schema.intents.leaves.iter().map(|leaf| leaf.id.as_str()),
            tools.by_name.keys().map(String::as_str),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copied(&path, &target);
            } else {
                std::fs::copy(&path, target).unwrap();
            }
        }
    }

    #[test]
    fn what_was_in_force_is_read_although_its_plans_would_not_pass_any_more() {
        let folder = tempfile::tempdir().unwrap();
        copied(Path::new("config"), folder.path());
        let file = folder.path().join("plans/transaction_charged_twice.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let loose = text.replace("size(later) > 0 && ", "");
        assert_ne!(text, loose);
        std::fs::write(&file, loose).unwrap();
        let Err(found) = load(folder.path(), None) else { panic!("it passed") };
        assert!(found.iter().all(|finding| finding.message.contains("`later`")), "{found:?}");
        let kept = load_kept(folder.path()).unwrap();
        assert_eq!(kept.digest, PackFiles::read(folder.path()).unwrap().digest());
        // What cannot be read at all is not there.
        std::fs::write(&file, "leaf = 1").unwrap();
        assert!(load_kept(folder.path()).is_err());
    }
}
