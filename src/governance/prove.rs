//! Proves by SMT that rules keep their invariants: never on the path of a decision, only before rules are put in force.
//!
//! Each query is translated by Cedar's symbolic compiler (Cutler et al. 2024, "Cedar: A New Language for Expressive,
//! Fast, Safe, and Analyzable Authorization") for every kind of request that the schema knows, and put to cvc5, a
//! program of its own with limited time and memory. What it does not answer is not proven.

use super::invariants::{Invariant, Invariants};
use super::rules::Rules;
use crate::base::Digest;
use cedar_policy::{Authorizer, Policy, PolicyId, PolicySet, RequestEnv};
use cedar_policy_symcc::err::Error as SymccError;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use thiserror::Error;

/// The solver and what it may use.
#[derive(Clone, Debug)]
pub struct Solver {
    /// cvc5, by its path or its name.
    pub program: PathBuf,
    /// For each query.
    pub query: Duration,
    /// For all of them.
    pub whole: Duration,
    /// Address space in bytes.
    pub memory: u64,
}

impl Default for Solver {
    fn default() -> Self {
        Self {
            program: PathBuf::from("cvc5"),
            query: Duration::from_secs(10),
            whole: Duration::from_secs(120),
            memory: 4 << 30,
        }
    }
}

/// Why nothing is proven.
#[derive(Debug, Error)]
pub enum NotProven {
    #[error(
        "the solver `{0}` does not run: install cvc5 1.0.3 or newer (Debian: `apt-get install cvc5`), or name it with \
         --solver"
    )]
    NoSolver(String),
    #[error("the rules cannot be translated for the solver: {0}")]
    Untranslated(String),
    #[error("the solver did not end within {0} seconds; give it more with --seconds")]
    TooLong(u64),
    #[error("the solver could not be waited for: {0}")]
    Io(#[from] std::io::Error),
}

/// What came of the proofs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What the solver says of itself.
    pub solver: String,
    /// Of its program, where it can be read.
    pub solver_digest: Option<Digest>,
    /// By the id of the invariant; the last is that no rule can err.
    pub invariants: Vec<Judged>,
    /// Rules that no request can match.
    pub dead: Vec<String>,
    /// Rules without which everything would be decided as with them.
    pub shadowed: Vec<String>,
    /// Questions that were put to the solver, or answered without it.
    pub queries: usize,
}

impl Report {
    pub fn is_proven(&self) -> bool {
        self.invariants.iter().all(|judged| judged.verdict == Verdict::Proven)
    }

    /// Both, with the names of the other one under a prefix.
    #[must_use]
    pub fn and(mut self, prefix: &str, other: Self) -> Self {
        let named = |name: String| format!("{prefix}/{name}");
        let judged = |one: Judged| Judged { invariant: named(one.invariant), ..one };
        self.invariants.extend(other.invariants.into_iter().map(judged));
        self.dead.extend(other.dead.into_iter().map(named));
        self.shadowed.extend(other.shadowed.into_iter().map(named));
        self.queries += other.queries;
        self
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Judged {
    pub invariant: String,
    pub reason: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Proven,
    /// A request that the rules permit, and the rules that permit it.
    Refuted {
        request: String,
        policies: Vec<String>,
    },
    /// The rules that should break the invariant keep it.
    Vacuous,
    /// The solver does not say.
    Unknown {
        why: String,
    },
}

/// The name of the invariant that every pack has.
const NEVER_ERRS: &str = "no-rule-errs";

/// Proves every invariant of the rules, and looks for rules that do nothing. Blocks.
///
/// # Errors
/// The solver cannot be had, or does not end: then nothing is proven.
pub fn prove(rules: &Rules, invariants: &Invariants, solver: &Solver) -> Result<Report, NotProven> {
    let version = version(solver)?;
    let asked = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let whole = tokio::time::timeout(solver.whole, proven(rules, invariants, solver));
            whole.await.map_err(|_| NotProven::TooLong(solver.whole.as_secs()))?
        })
    };
    // The caller may be in a runtime already, and a thread has one.
    let report = std::thread::scope(|scope| scope.spawn(asked).join());
    let report = report.map_err(|_| NotProven::Untranslated("the translation ended early".to_owned()))??;
    Ok(Report { solver: version, solver_digest: digest(&solver.program), ..report })
}

/// Of the program, which a name without a folder stands for as in a shell.
fn digest(program: &Path) -> Option<Digest> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let named = program.components().count() == 1;
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file());
    let file = if named { found? } else { program.to_owned() };
    std::fs::read(file).ok().map(|bytes| Digest::of(&bytes))
}

/// The first line of what the solver says of itself.
fn version(solver: &Solver) -> Result<String, NotProven> {
    let missing = || NotProven::NoSolver(solver.program.display().to_string());
    let said = Command::new(&solver.program).arg("--version").output().map_err(|_| missing())?;
    let said = String::from_utf8_lossy(&said.stdout);
    said.lines().next().filter(|line| line.contains("cvc5")).map(str::to_owned).ok_or_else(missing)
}

/// One kind of request, with the rules translated for it.
struct Kind {
    env: RequestEnv,
    rules: CompiledPolicySet,
}

/// Puts questions to one solver, one after the other.
struct Questions {
    compiler: CedarSymCompiler<LocalSolver>,
    asked: usize,
}

impl Questions {
    fn begin(solver: &Solver) -> Result<Self, NotProven> {
        let none = |_| NotProven::NoSolver(solver.program.display().to_string());
        // A process limits itself before it becomes the solver.
        let mut command = tokio::process::Command::new("sh");
        command
            .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
            .arg((solver.memory / 1024).to_string())
            .arg(&solver.program)
            .args(["--lang", "smt"])
            .arg(format!("--tlimit-per={}", solver.query.as_millis()))
            .kill_on_drop(true);
        let local = LocalSolver::from_command(&mut command).map_err(none)?;
        let compiler = CedarSymCompiler::new(local).map_err(untranslated)?;
        Ok(Self { compiler, asked: 0 })
    }

    /// What one set of rules permits and the other does not.
    async fn beyond(&mut self, rules: &CompiledPolicySet, bound: &CompiledPolicySet) -> Answer {
        self.asked += 1;
        self.compiler.check_implies_with_counterexample_opt(rules, bound).await.into()
    }

    /// What a rule errs on.
    async fn erring(&mut self, policy: &CompiledPolicy) -> Answer {
        self.asked += 1;
        self.compiler.check_never_errors_with_counterexample_opt(policy).await.into()
    }

    async fn matches_nothing(&mut self, policy: &CompiledPolicy) -> bool {
        self.asked += 1;
        self.compiler.check_never_matches_opt(policy).await.unwrap_or(false)
    }

    async fn are_equal(&mut self, a: &CompiledPolicySet, b: &CompiledPolicySet) -> bool {
        self.asked += 1;
        self.compiler.check_equivalent_opt(a, b).await.unwrap_or(false)
    }
}

/// What the solver says of a question.
enum Answer {
    None,
    Found(Box<Env>),
    Unknown(String),
}

impl From<Result<Option<Env>, SymccError>> for Answer {
    fn from(said: Result<Option<Env>, SymccError>) -> Self {
        match said {
            Ok(None) => Self::None,
            Ok(Some(found)) => Self::Found(Box::new(found)),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}

fn untranslated(error: SymccError) -> NotProven {
    NotProven::Untranslated(error.to_string())
}

/// Most solvers at once.
const SOLVERS: usize = 4;

/// What one of several solvers was asked, each with the place of what it is about.
struct Share {
    judged: Vec<(usize, Verdict)>,
    /// The first policy that can err, or of which that is not known.
    errs: Option<(usize, Verdict)>,
    dead: Vec<String>,
    shadowed: Vec<String>,
    queries: usize,
}

async fn proven(rules: &Rules, invariants: &Invariants, solver: &Solver) -> Result<Report, NotProven> {
    let kind = |env: RequestEnv| {
        let compiled = CompiledPolicySet::compile(&rules.policies, &env, &rules.schema);
        Ok(Kind { rules: compiled.map_err(untranslated)?, env })
    };
    let kinds = distinct(rules, invariants).map(kind).collect::<Result<Vec<_>, NotProven>>()?;
    let of = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(SOLVERS));
    let parts = (0..of).map(|part| share((rules, invariants), &kinds, solver, (part, of)));
    let shares = futures::future::try_join_all(parts).await?;
    let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
    let (mut errs, mut dead, mut shadowed, mut queries) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for share in shares {
        verdicts.extend(share.judged);
        errs.extend(share.errs);
        dead.extend(share.dead);
        shadowed.extend(share.shadowed);
        queries += share.queries;
    }
    verdicts.sort_by_key(|(at, _)| *at);
    errs.sort_by_key(|(at, _)| *at);
    dead.sort();
    shadowed.sort();
    let all = invariants.all.iter().zip(verdicts).map(|(invariant, (_, verdict))| Judged {
        invariant: invariant.id.clone(),
        reason: invariant.reason.clone(),
        verdict,
    });
    let never_errs = Judged {
        invariant: NEVER_ERRS.to_owned(),
        reason: "A forbid that errs would be passed over".to_owned(),
        verdict: errs.into_iter().next().map_or(Verdict::Proven, |(_, verdict)| verdict),
    };
    let judged = all.chain([never_errs]).collect();
    Ok(Report { solver: String::new(), solver_digest: None, invariants: judged, dead, shadowed, queries })
}

/// Every `of`th invariant and policy, from the one at `part` on.
async fn share(
    (rules, invariants): (&Rules, &Invariants),
    kinds: &[Kind],
    solver: &Solver,
    (part, of): (usize, usize),
) -> Result<Share, NotProven> {
    let mut questions = Questions::begin(solver)?;
    let mut judged = Vec::new();
    for (at, invariant) in invariants.all.iter().enumerate().skip(part).step_by(of) {
        judged.push((at, judge(rules, invariant, kinds, &mut questions).await?));
    }
    let (mut errs, mut dead, mut shadowed) = (None, Vec::new(), Vec::new());
    for (at, policy) in rules.policies.policies().enumerate().skip(part).step_by(of) {
        if errs.is_none() {
            let said = never_errs(rules, policy, kinds, &mut questions).await?;
            errs = (said != Verdict::Proven).then_some((at, said));
        }
        match idle(rules, policy, kinds, &mut questions).await? {
            (true, _) => dead.push(policy.id().to_string()),
            (_, true) => shadowed.push(policy.id().to_string()),
            _ => {}
        }
    }
    Ok(Share { judged, errs, dead, shadowed, queries: questions.asked })
}

/// One of each sort of request. Two actions of the same groups that no policy names are the same to all of them, so that
/// what is proven for the one holds for the other.
fn distinct(rules: &Rules, invariants: &Invariants) -> impl Iterator<Item = RequestEnv> {
    let sets = invariants.all.iter().flat_map(|invariant| [&invariant.bound, &invariant.broken]);
    let policies = sets.chain([&rules.policies]).flat_map(PolicySet::policies);
    // Where a policy does not say whom it names, it may be anybody.
    let named: Option<Vec<BTreeSet<String>>> = policies.map(actions_of).collect();
    let actions = rules.schema.action_entities().unwrap_or_default();
    let mut seen = BTreeSet::new();
    let envs: Vec<RequestEnv> = rules.schema.request_envs().collect();
    envs.into_iter().filter(move |env| {
        let action = env.action();
        let is_named =
            |named: &Vec<BTreeSet<String>>| named.iter().any(|names| names.contains(action.id().unescaped()));
        // One that cannot be looked up is a sort of its own.
        let known = actions.get(action).is_some() && !named.as_ref().is_none_or(is_named);
        let groups = actions.ancestors(action).into_iter().flatten().map(ToString::to_string);
        let groups: BTreeSet<String> = groups.collect();
        let types = (env.principal().to_string(), env.resource().to_string());
        seen.insert((types, groups, (!known).then(|| action.to_string())))
    })
}

/// The actions that a policy names anywhere.
fn actions_of(policy: &Policy) -> Option<BTreeSet<String>> {
    fn named(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                let text = |name: &str| members.get(name).and_then(Value::as_str);
                if let (Some("Action"), Some(id)) = (text("type"), text("id")) {
                    found.insert(id.to_owned());
                }
                members.values().for_each(|value| named(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| named(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    named(&policy.to_json().ok()?, &mut found);
    Some(found)
}

async fn judge(
    rules: &Rules,
    invariant: &Invariant,
    kinds: &[Kind],
    questions: &mut Questions,
) -> Result<Verdict, NotProven> {
    let mut vacuous = true;
    for Kind { env, rules: own } in kinds {
        let compiled = |set| CompiledPolicySet::compile(set, env, &rules.schema).map_err(untranslated);
        let bound = compiled(&invariant.bound)?;
        match questions.beyond(own, &bound).await {
            Answer::None => {}
            Answer::Found(found) => return Ok(refuted(&rules.policies, &found)),
            Answer::Unknown(why) => return Ok(Verdict::Unknown { why }),
        }
        if vacuous {
            let broken = compiled(&invariant.broken)?;
            vacuous = !matches!(questions.beyond(&broken, &bound).await, Answer::Found(_));
        }
    }
    Ok(if vacuous { Verdict::Vacuous } else { Verdict::Proven })
}

async fn never_errs(
    rules: &Rules,
    policy: &Policy,
    kinds: &[Kind],
    questions: &mut Questions,
) -> Result<Verdict, NotProven> {
    for Kind { env, .. } in kinds {
        let compiled = CompiledPolicy::compile(policy, env, &rules.schema).map_err(untranslated)?;
        match questions.erring(&compiled).await {
            Answer::None => {}
            Answer::Found(found) => {
                let (request, policies) = (readable(&found), vec![policy.id().to_string()]);
                return Ok(Verdict::Refuted { request, policies });
            }
            Answer::Unknown(why) => return Ok(Verdict::Unknown { why }),
        }
    }
    Ok(Verdict::Proven)
}

/// Whether no request matches a rule, and whether its absence changes nothing.
async fn idle(
    rules: &Rules,
    policy: &Policy,
    kinds: &[Kind],
    questions: &mut Questions,
) -> Result<(bool, bool), NotProven> {
    let without = without(&rules.policies, policy.id());
    let (mut never, mut equal) = (true, true);
    for Kind { env, rules: own } in kinds {
        if never {
            let compiled = CompiledPolicy::compile(policy, env, &rules.schema).map_err(untranslated)?;
            never = questions.matches_nothing(&compiled).await;
        }
        if equal {
            let rest = CompiledPolicySet::compile(&without, env, &rules.schema).map_err(untranslated)?;
            equal = questions.are_equal(own, &rest).await;
        }
    }
    Ok((never, equal))
}

fn without(policies: &PolicySet, id: &PolicyId) -> PolicySet {
    let kept = policies.policies().filter(|policy| policy.id() != id).cloned();
    PolicySet::from_policies(kept).unwrap_or_default()
}

fn refuted(policies: &PolicySet, found: &Env) -> Verdict {
    let response = Authorizer::new().is_authorized(&found.request, policies, &found.entities);
    let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    policies.sort();
    Verdict::Refuted { request: readable(found), policies }
}

/// A request, a line for each thing that it says.
fn readable(found: &Env) -> String {
    let request = &found.request;
    let named = |uid: Option<&cedar_policy::EntityUid>| uid.map_or_else(String::new, ToString::to_string);
    let mut text = String::new();
    let parts =
        [("principal", request.principal()), ("action", request.action()), ("resource", request.resource())];
    for (name, uid) in parts {
        let _ = writeln!(text, "{name}: {}", named(uid));
    }
    for (of, uid) in [("principal", request.principal()), ("resource", request.resource())] {
        let entity = uid.and_then(|uid| found.entities.get(uid));
        for (name, value) in entity.into_iter().flat_map(cedar_policy::Entity::attrs) {
            let value = value.map_or_else(|_| "unknown".to_owned(), |value| value.to_string());
            let _ = writeln!(text, "{of}.{name}: {value}");
        }
    }
    let context = request.context();
    let names = context.cloned().into_iter().flatten().map(|(name, _)| name);
    let said = |name: &str| context.and_then(|context| context.get(name)).map(|value| value.to_string());
    let mut members: Vec<(String, String)> =
        names.filter_map(|name| Some((said(&name)?, name))).map(|(value, name)| (name, value)).collect();
    members.sort();
    for (name, value) in members {
        let _ = writeln!(text, "context.{name}: {value}");
    }
    text.trim_end().to_owned()
}
