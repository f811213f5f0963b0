//! `prokura rules`: the shipped rules keep their invariants, and rules that do not are told with a request.

use super::{failing, pack_copy, prokura};
use crate::stage::root;
use prokura::cases::load_pack;
use prokura::governance::prove::{NotProven, Report, Solver, Verdict, prove};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The shipped pack with one thing in its rules changed.
fn changed(folder: &Path, from: &str, to: &str) {
    let file = folder.join("rules/default.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    std::fs::write(&file, text.replace(from, to)).unwrap();
}

fn proven(folder: &Path, solver: &Solver) -> Result<Report, NotProven> {
    let pack = load_pack(folder, None).unwrap().pack;
    let calls = prove(&pack.governance.rules, &pack.invariants, solver)?;
    let of_people = prove(pack.governance.administration.rules(), &pack.administration_invariants, solver)?;
    Ok(calls.and("administration", of_people))
}

fn refuted(report: &Report) -> Vec<(&str, &str)> {
    let told = report.invariants.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Refuted { request, .. } => Some((judged.invariant.as_str(), request.as_str())),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_shipped_rules_keep_every_invariant_and_none_of_them_is_idle() {
    let report = proven(&root().join("config"), &Solver::default()).unwrap();
    assert!(report.is_proven(), "{report:#?}");
    assert!(report.invariants.len() > 10, "{report:#?}");
    assert_eq!((report.dead, report.shadowed), (Vec::<String>::new(), Vec::<String>::new()));
}

/// What somebody might do to the rules: what stands there, what would, and an invariant that it breaks.
const MUTATIONS: [(&str, &str, &str); 26] = [
    ("context.amount <= 15000 &&\n", "context.amount <= 15001 &&\n", "money-alone-is-small"),
    ("context.amount > 0 && context.amount <= 15000", "context.amount <= 15000", "money-alone-is-small"),
    (
        "context.amount > 0 && context.amount <= 100000",
        "context.amount > 0 && context.amount <= 200000",
        "much-money-needs-two-people",
    ),
    (
        "    context.totals.account.month.amount <= 1000000 &&\n    context has currency && context.currency == \"EUR\"",
        "    context.totals.account.month.amount <= 1000000",
        "money-is-bounded",
    ),
    (
        "context has amount && context.amount <= 500000 &&\n    context.totals.customer",
        "context has amount && context.amount <= 500000 ||\n    context.totals.customer",
        "money-is-bounded",
    ),
    ("context.currency == \"EUR\"", "[\"EUR\", \"USD\"].contains(context.currency)", "money-is-bounded"),
    (
        "resource == context.customer &&\n    [\"login\", \"sca\"].contains(context.assurance)",
        "resource == context.customer",
        "nobody-unknown",
    ),
    ("    resource == context.customer &&\n", "", "own-data-only"),
    (
        "@document(\"identity-verification\")\npermit (principal, action == Action::\"disclose\", resource)\nwhen {\n    (resource.owner == context.customer || resource.authorised.contains(context.customer)) &&\n",
        "@document(\"identity-verification\")\npermit (principal, action == Action::\"disclose\", resource)\nwhen {\n",
        "own-records-only",
    ),
    (
        "when { context.identity_age_seconds > 900 };",
        "when { context.identity_age_seconds > 9000 };",
        "identity-is-fresh",
    ),
    (
        "forbid (principal, action, resource)\nwhen { context.identity_age_seconds > 900 };",
        "forbid (principal, action == Action::\"disclose\", resource)\nwhen { context.identity_age_seconds > 900 };",
        "identity-is-fresh",
    ),
    (
        "when { resource.flagged }",
        "when { resource.flagged && context.assurance == \"login\" }",
        "flagged-is-for-security",
    ),
    (
        "unless { action in Action::\"protective\" ||",
        "unless { action in Action::\"protective\" || action in Action::\"money\" ||",
        "flagged-is-for-security",
    ),
    (
        "unless { context has approver_1 && context has approver_2 };",
        "unless { context has approver_1 && context has approver_2 || context.confidence > 9900 };",
        "irreversible-needs-two-people",
    ),
    ("    context.totals.customer.day.amount <= 30000 &&\n", "", "money-alone-is-small"),
    ("    context.totals.customer.month.amount <= 1000000 &&\n", "", "money-is-bounded"),
    ("unless { action in Action::\"restores_access\" };", ";", "access-needs-two-factors"),
    (
        "    (context has approver_1 && context.approver_1 == context.initiator) ||\n",
        "",
        "nobody-approves-their-own",
    ),
    ("(context.by_security && context has approver_1)", "context has approver_1", "flagged-is-for-security"),
    (
        "forbid (principal, action in Action::\"irreversible\", resource)",
        "forbid (principal, action == Action::\"card_replacement\", resource)",
        "irreversible-needs-two-people",
    ),
    (
        "context.approver_1 == context.approver_2)\n",
        "context.approver_1 == context.approver_2 && context.confidence < 9000)\n",
        "much-money-needs-two-people",
    ),
    (
        "permit (principal, action in Action::\"reversible\", resource)\nwhen {\n    (resource.owner == context.customer || resource.authorised.contains(context.customer)) &&\n",
        "permit (principal, action in Action::\"reversible\", resource)\nwhen {\n",
        "own-records-only",
    ),
    (
        "permit (principal, action in Action::\"protective\", resource)\nwhen {\n    (resource.owner == context.customer || resource.authorised.contains(context.customer)) &&\n    context.assurance == \"sca\" &&\n",
        "permit (principal, action in Action::\"protective\", resource)\nwhen {\n    (resource.owner == context.customer || resource.authorised.contains(context.customer)) &&\n",
        "nobody-unknown",
    ),
    (
        "    resource.owner == context.customer &&\n    context.assurance == \"sca\" &&\n    context.confidence >= 5000 &&\n    context has amount",
        "    context.assurance == \"sca\" &&\n    context.confidence >= 5000 &&\n    context has amount",
        "money-needs-two-factors",
    ),
    (
        "when { context.open }\nunless { context has approver_1 };",
        "when { context.open && context has amount }\nunless { context has approver_1 };",
        "proposals-are-approved",
    ),
    (
        "    resource.owner == context.customer &&\n    context.assurance == \"sca\" &&\n    context has amount && context.amount > 0 && context.amount <= 100000 &&\n",
        "    resource.owner == context.customer &&\n    context has amount && context.amount > 0 && context.amount <= 100000 &&\n",
        "money-needs-two-factors",
    ),
];

#[test]
fn each_of_many_broken_rule_sets_is_refuted_with_a_request() {
    for (from, to, invariant) in MUTATIONS {
        let folder = tempfile::tempdir().unwrap();
        pack_copy(folder.path());
        changed(&folder.path().join("config"), from, to);
        let pack = load_pack(&folder.path().join("config"), None).unwrap().pack;
        let report = prove(&pack.governance.rules, &pack.invariants, &Solver::default()).unwrap();
        let found = refuted(&report);
        let request = found.iter().find(|(known, _)| *known == invariant);
        let (_, request) = request.unwrap_or_else(|| panic!("{to}: {report:#?}"));
        assert!(request.contains("action: Action::") && request.contains("context.assurance"), "{request}");
    }
}

#[test]
fn what_the_solver_does_not_say_is_not_proven() {
    let folder = root().join("config");
    let gone = Solver { program: "no-such-solver".into(), ..Solver::default() };
    assert!(matches!(proven(&folder, &gone), Err(NotProven::NoSolver(name)) if name == "no-such-solver"));
    let short = Solver { whole: Duration::from_millis(1), ..Solver::default() };
    assert!(matches!(proven(&folder, &short), Err(NotProven::TooLong(_))));
    let small = Solver { memory: 1 << 20, ..Solver::default() };
    assert!(!proven(&folder, &small).is_ok_and(|report| report.is_proven()));
}

#[test]
fn the_command_tells_what_is_proven_and_what_is_not() {
    let output = prokura(&["rules", "prove", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["invariants"].as_array().unwrap().iter().all(|judged| judged["verdict"] == "proven"));
    let folder = tempfile::tempdir().unwrap();
    let config = pack_copy(folder.path());
    changed(&folder.path().join("config"), "context.amount <= 15000 &&\n", "context.amount <= 20000 &&\n");
    let output = prokura(&["rules", "prove", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("REFUTED     money-alone-is-small") && said.contains("permitted by refund-small"),
        "{said}"
    );
    std::fs::remove_dir_all(folder.path().join("config/rules/invariants")).unwrap();
    let (code, told) = failing(&["rules", "prove", "--config", &config]);
    assert!(code == 1 && told.contains("no invariants"), "{code}: {told}");
    let (code, said) = failing(&["rules", "prove", "--solver", "no-such-solver"]);
    assert!(code == 1 && said.contains("no-such-solver") && said.contains("--solver"), "{said}");
}

#[test]
fn no_other_rules_than_proven_ones_are_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let config = pack_copy(folder.path());
    for beside in ["models", "index"] {
        std::os::unix::fs::symlink(root().join(beside), folder.path().join(beside)).unwrap();
    }
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let resolve = ["resolve", "--demo", "--json", "--config", &config, "--state", state, "My card is lost."];
    let activate = ["rules", "activate", "--config", &config, "--state", state];
    // Proven where the program is tested.
    assert!(prokura(&resolve).status.success());
    // Another number keeps the invariants as well, but nobody has proven it.
    let rules = folder.path().join("config");
    changed(
        &rules,
        "context.amount > 0 && context.amount <= 15000 &&\n",
        "context.amount > 0 && context.amount <= 14000 &&\n",
    );
    let (code, said) = failing(&resolve);
    assert!(code == 2 && said.contains("prokura rules activate"), "{code}: {said}");
    assert!(prokura(&activate).status.success());
    assert!(prokura(&resolve).status.success());
    // What is refuted does not come into force.
    changed(
        &rules,
        "context.amount > 0 && context.amount <= 14000 &&\n",
        "context.amount > 0 && context.amount <= 20000 &&\n",
    );
    assert_eq!(failing(&activate).0, 1);
    assert_eq!(failing(&resolve).0, 2);
}

#[test]
fn an_invariant_that_nothing_breaks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    pack_copy(folder.path());
    let config = folder.path().join("config");
    let broken = config.join("rules/invariants/broken/identity-is-fresh.cedar");
    std::fs::copy(config.join("rules/default.cedar"), &broken).unwrap();
    let report = proven(&config, &Solver::default()).unwrap();
    let vacuous = report.invariants.iter().filter(|judged| judged.verdict == Verdict::Vacuous);
    assert_eq!(vacuous.map(|judged| judged.invariant.as_str()).collect::<Vec<_>>(), ["identity-is-fresh"]);
    std::fs::remove_file(broken).unwrap();
    let Err(told) = load_pack(&config, None) else { panic!("the pack was loaded") };
    assert!(told[0].message.contains("nothing breaks invariant `identity-is-fresh`"), "{told:?}");
}
