//! Holds the source to the house that ARCHITECTURE.md describes. Fails with every file and line at once.
//!
//! The rules look at the text, not at the compiler's view of it: comments and the contents of strings are
//! blanked first, so a rule sees code only. Each rule is a function from one file to what is wrong with it,
//! and is shown below to catch a planted violation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, with the place")]

use regex::Regex;
use std::fs;
use std::path::Path;

/// The rooms from the ground up: a file may use rooms of a lower number. Faces share one number.
const ROOMS: [(&str, usize); 17] = [
    ("base", 0),
    ("ledger", 1),
    ("intake", 2),
    ("understanding", 3),
    ("records", 4),
    ("policy", 5),
    ("planning", 6),
    ("governance", 7),
    ("acting", 8),
    ("reply", 9),
    ("cases", 10),
    ("learning", 11),
    ("http", 12),
    ("console", 12),
    ("cli", 12),
    ("demo", 12),
    ("app", 13),
];

/// Rooms of the pipeline, which never see the ledger.
const STEPS: [&str; 8] =
    ["intake", "understanding", "records", "policy", "planning", "governance", "acting", "reply"];

/// Crates, and the only places that may name them.
const CRATES: [(&[&str], &[&str]); 9] = [
    (&["candle_core", "candle_nn", "candle_transformers"], &["src/understanding", "src/learning"]),
    (&["tantivy", "hnsw_rs"], &["src/policy"]),
    (&["rusqlite", "sqlx"], &["src/ledger/store", "src/records/source"]),
    (&["tokio_postgres"], &["src/ledger/store", "src/records/source", "src/base/postgres"]),
    (&["axum"], &["src/http", "src/console", "src/demo", "src/app"]),
    (&["reqwest", "hf_hub", "hyper", "ureq"], &["src/base/outbound"]),
    (&["cedar_policy_symcc"], &["src/governance/prove"]),
    (&["serde_saphyr"], &["src/planning/import"]),
    (
        &[
            "hayro_interpret",
            "hayro_syntax",
            "html5ever",
            "mail_parser",
            "quick_xml",
            "landlock",
            "seccompiler",
            "encoding_rs",
            // Beside it there are methods of that name.
            r"zip\s*::\s*\w+",
        ],
        &["src/intake/document"],
    ),
];

const PURE: [&str; 3] = ["src/planning", "src/governance", "src/cases/step"];
const IMPURE: [&str; 16] = [
    "tokio",
    "rusqlite",
    "candle_core",
    "candle_nn",
    "tantivy",
    "axum",
    "tracing",
    "reqwest",
    "rand",
    "uuid",
    "Clock",
    "SystemClock",
    "FixedClock",
    "SystemTime",
    "Instant",
    "fresh",
];

const SEAMS: [&str; 5] = ["Clock", "Store", "Source", "Connector", "Encoder"];
const VAGUE: [&str; 11] = [
    "util", "utils", "common", "types", "helper", "helpers", "service", "services", "manager", "managers",
    "misc",
];
const MOST_LINES: usize = 800;
const MOST_LINES_OF_FUNCTION: usize = 70;
const MOST_LINES_OF_FRONT_PAGE: usize = 15;

/// One file: its path from the repository's root with `/`, its text, and the text with comments and the
/// contents of strings blanked, byte for byte as long.
struct File {
    path: String,
    text: String,
    code: String,
}

#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

type Rule = fn(&File) -> Vec<Finding>;

const RULES: [Rule; 11] = [
    imports_point_upstream,
    crates_stay_in_their_rooms,
    decisions_are_pure,
    proofs_stay_off_the_decision_path,
    only_governance_seals,
    nothing_is_allowed,
    files_are_short,
    functions_are_short,
    names_say_something,
    rooms_have_a_front_page,
    traits_are_seams,
];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.len() > 9, "only {} files were found", files.len());
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    match fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(map) => findings.extend(named_paths_exist(&map, &|path| root.join(path).exists())),
        Err(_) => eprintln!("no ARCHITECTURE.md: the paths it names were not checked"),
    }
    let report: Vec<String> = findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect();
    assert!(report.is_empty(), "\n{}\n", report.join("\n"));
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.push(File::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    fn at(&self, byte: usize, what: impl Into<String>) -> Finding {
        self.line(self.text[..byte].matches('\n').count() + 1, what)
    }

    fn line(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    /// Whether the file is this module or inside it: `src/a/b`, `src/a/b.rs`, `src/a/b/...`.
    fn within(&self, place: &str) -> bool {
        self.path
            .strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
    }

    /// The room, for files under src; `main.rs` and `lib.rs` stand above all.
    fn room(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let first = first.strip_suffix(".rs").unwrap_or(first);
        Some(if matches!(first, "main" | "lib") { "app" } else { first })
    }

    /// How many modules below the crate's root the file is. `x_tests.rs` is taken to be the tests inside x.
    fn depth(&self) -> usize {
        let inside = usize::from(self.path.ends_with("_tests.rs"));
        let parts = self.path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        parts.filter(|part| !matches!(*part, "mod" | "lib" | "main")).count() + inside
    }

    /// The bytes of everything under `#[cfg(test)]`; a file that is a test module itself is all test.
    fn is_test(&self, byte: usize) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        let own = name == "tests.rs" || name.ends_with("_tests.rs") || self.path.contains("tests/");
        own || pattern(r"#\[cfg\(test\)\]")
            .find_iter(&self.code)
            .any(|found| block(&self.code, found.end()).is_some_and(|(from, to)| from < byte && byte < to))
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Where the code matches, and what stands there.
fn matches(file: &File, text: &str) -> Vec<(usize, String)> {
    pattern(text).find_iter(&file.code).map(|found| (found.start(), found.as_str().to_owned())).collect()
}

/// Blanks comments and the contents of strings and characters; everything else keeps its place.
fn code_of(text: &str) -> String {
    // \x22 is the quotation mark, so that this function reads itself.
    let token = pattern(concat!(
        r"(?s)//[^\n]*|/\*.*?\*/|\bb?r##\x22.*?\x22##|\bb?r#\x22.*?\x22#|\bb?r\x22[^\x22]*\x22",
        r"|\x22(?:\\.|[^\x22\\])*\x22|'(?:\\[^\n]{1,10}?|[^'\\\n])'",
    ));
    let mut code = String::with_capacity(text.len());
    let mut last = 0;
    for found in token.find_iter(text) {
        code.push_str(&text[last..found.start()]);
        code.extend(found.as_str().bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        last = found.end();
    }
    code.push_str(&text[last..]);
    code
}

/// The bytes of the first `{...}` from a position; `None` when a `;` comes first or it does not close.
fn block(code: &str, from: usize) -> Option<(usize, usize)> {
    let (mut nested, mut depth, mut start) = (0_i32, 0_i32, None);
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' if start.is_none() => nested += 1,
            b')' | b']' if start.is_none() => nested -= 1,
            b';' if start.is_none() && nested == 0 => return None,
            b'{' => {
                start = start.or(Some(offset));
                depth += 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((start?, offset));
                }
            }
            _ => {}
        }
    }
    None
}

/// Every room that the file names, and where: `crate::room`, groups and nested groups of a `use`, and
/// `super::` chains that climb to the root.
fn rooms_named(file: &File) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for found in pattern(r"\bcrate\s*::\s*").find_iter(&file.code) {
        named.extend(heads(&file.code, found.end()));
    }
    let modules: Vec<(usize, usize)> = pattern(r"\bmod\s+\w+\s*\{")
        .find_iter(&file.code)
        .filter_map(|found| block(&file.code, found.start()))
        .collect();
    for found in pattern(r"(?:\bsuper\s*::\s*)+").find_iter(&file.code) {
        let climbed = found.as_str().matches("super").count();
        let inline = modules.iter().filter(|(from, to)| *from < found.start() && found.start() < *to).count();
        if climbed == file.depth() + inline {
            named.extend(heads(&file.code, found.end()));
        }
    }
    named
}

/// The first names of a path or of each path in a `{...}` group.
fn heads(code: &str, from: usize) -> Vec<(usize, String)> {
    let name = |at: usize| -> Option<(usize, String)> {
        let text: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (!text.is_empty()).then_some((at, text))
    };
    if !code[from..].starts_with('{') {
        return name(from).into_iter().collect();
    }
    let (mut depth, mut expecting, mut found) = (0, false, Vec::new());
    for (offset, c) in code[from..].char_indices() {
        match c {
            '{' => {
                depth += 1;
                expecting = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' => expecting = depth == 1,
            c if expecting && !c.is_whitespace() => {
                expecting = false;
                found.extend(name(from + offset));
            }
            _ => {}
        }
    }
    found
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn imports_point_upstream(file: &File) -> Vec<Finding> {
    let Some(room) = file.room() else { return Vec::new() };
    let Some(own) = rank(room) else {
        return vec![file.line(1, format!("`{room}` is no room; the rooms are in tests/tidy.rs"))];
    };
    let wrong = |other: &str| -> Option<String> {
        let Some(rank) = rank(other) else {
            return Some(format!("`crate::{other}` is no room"));
        };
        if other == room {
            None
        } else if room == "demo" && other != "base" {
            Some("demo imports only base".to_owned())
        } else if other == "ledger" && STEPS.contains(&room) {
            Some(format!("{room} never imports the ledger"))
        } else if rank >= own && !(room == "console" && other == "http") {
            Some(format!("{room} must not import {other}: imports point only upstream"))
        } else {
            None
        }
    };
    let named = rooms_named(file);
    named.into_iter().filter_map(|(at, other)| Some(file.at(at, wrong(&other)?))).collect()
}

fn crates_stay_in_their_rooms(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (crates, places) in CRATES {
        if !places.iter().any(|place| file.within(place)) {
            for (at, name) in matches(file, &format!(r"\b(?:{})\b", crates.join("|"))) {
                findings.push(file.at(at, format!("`{name}` belongs only in {}", places.join(", "))));
            }
        }
    }
    findings
}

fn decisions_are_pure(file: &File) -> Vec<Finding> {
    if !PURE.iter().any(|place| file.within(place)) || file.within("src/governance/prove") {
        return Vec::new();
    }
    let found = matches(file, &format!(r"\b(?:{})\b", IMPURE.join("|"))).into_iter();
    let what = |word: &str| format!("`{word}` in a pure room: time, ids and facts are arguments");
    found.map(|(at, word)| file.at(at, what(&word))).collect()
}

fn proofs_stay_off_the_decision_path(file: &File) -> Vec<Finding> {
    let decides = file.room().and_then(rank).is_some_and(|own| own <= 10);
    if !decides || file.within("src/governance/prove") {
        return Vec::new();
    }
    let found = matches(file, r"\bprove\s*::|::\s*prove\b").into_iter();
    found.map(|(at, _)| file.at(at, "nothing on the decision path uses governance/prove")).collect()
}

fn only_governance_seals(file: &File) -> Vec<Finding> {
    if file.within("src/governance") {
        return Vec::new();
    }
    let found = matches(file, r"::\s*seal\b").into_iter().filter(|(at, _)| !file.is_test(*at));
    found.map(|(at, _)| file.at(at, "only governance seals a grant")).collect()
}

fn nothing_is_allowed(file: &File) -> Vec<Finding> {
    let found = matches(file, r"#!?\[\s*(?:cfg_attr\s*\([^\]]*,\s*)?allow\s*\(").into_iter();
    found.map(|(at, _)| file.at(at, "use `expect` with a reason in place of `allow`")).collect()
}

fn files_are_short(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if lines <= MOST_LINES {
        return Vec::new();
    }
    vec![file.line(lines, format!("{lines} lines; a file has at most {MOST_LINES}"))]
}

fn functions_are_short(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in pattern(r"\bfn\s+(\w+)").captures_iter(&file.code) {
        let (at, name) = (found.get(0).unwrap().start(), &found[1]);
        if let Some((_, end)) = block(&file.code, at) {
            let lines = file.code[at..end].matches('\n').count() + 1;
            if lines > MOST_LINES_OF_FUNCTION {
                let what =
                    format!("`{name}` has {lines} lines; a function has at most {MOST_LINES_OF_FUNCTION}");
                findings.push(file.at(at, what));
            }
        }
    }
    findings
}

fn names_say_something(file: &File) -> Vec<Finding> {
    let what = |name: &str| format!("`{name}` says nothing: name it for what it does");
    let mut findings = Vec::new();
    for part in file.path.trim_end_matches(".rs").split('/') {
        if VAGUE.contains(&part) {
            findings.push(file.line(1, what(part)));
        }
    }
    let defined = pattern(r"\b(?:mod|struct|enum|trait|type|fn)\s+(\w+)");
    let ending = pattern(r"(?:Util|Utils|Common|Types|Helper|Helpers|Service|Services|Manager|Managers)$");
    for found in defined.captures_iter(&file.code) {
        let name = &found[1];
        if VAGUE.contains(&name) || ending.is_match(name) {
            findings.push(file.at(found.get(0).unwrap().start(), what(name)));
        }
    }
    findings
}

fn rooms_have_a_front_page(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("src/") || !file.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    match file.text.lines().filter(|line| line.trim_start().starts_with("//!")).count() {
        0 => vec![
            file.line(1, "the front page is missing: say in `//!` what enters, leaves and must never be"),
        ],
        lines if lines > MOST_LINES_OF_FRONT_PAGE => {
            let what = format!("the front page has {lines} lines; at most {MOST_LINES_OF_FRONT_PAGE}");
            vec![file.line(MOST_LINES_OF_FRONT_PAGE + 1, what)]
        }
        _ => Vec::new(),
    }
}

fn traits_are_seams(file: &File) -> Vec<Finding> {
    let found = pattern(r"\btrait\s+(\w+)");
    let found = found.captures_iter(&file.code).filter(|found| !SEAMS.contains(&&found[1]));
    let what = |name: &str| format!("`{name}` is a sixth seam; traits are {}", SEAMS.join(", "));
    found.map(|found| file.at(found.get(0).unwrap().start(), what(&found[1]))).collect()
}

/// What stands in backticks in the map and looks like a path must be there, from the root or from src.
fn named_paths_exist(map: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let file = File { path: "ARCHITECTURE.md".to_owned(), text: map.to_owned(), code: String::new() };
    let path = pattern(r"`([A-Za-z0-9_.][A-Za-z0-9_./-]*)`");
    let endings = [".rs", ".toml", ".md", ".json", ".lock"];
    let mut findings = Vec::new();
    for found in path.captures_iter(map) {
        let name = found[1].trim_end_matches('/');
        let is_path = found[1].contains('/') || endings.iter().any(|ending| name.ends_with(ending));
        if is_path && !exists(name) && !exists(&format!("src/{name}")) {
            findings.push(file.at(found.get(1).unwrap().start(), format!("`{name}` does not exist")));
        }
    }
    findings
}

// Each rule catches what was planted, on its line, and leaves the like alone.

fn lines_found(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&File::new(path, text)).into_iter().map(|finding| finding.line).collect()
}

#[test]
fn an_import_downstream_is_caught_in_every_form() {
    for text in [
        "use crate::cases::Case;",
        "use crate::{base::Digest, cases::{Case, State}};",
        "use crate::{\n    base::{Digest, ids::fresh},\n    cases,\n};",
        "fn f() { crate::cases::open(); }",
        "use super::super::cases::Case;",
        "mod tests { use super::super::super::cases; }",
        "use super::super::{base, cases};",
        "use crate::nowhere::X;",
    ] {
        let found = lines_found(imports_point_upstream, "src/policy/search.rs", text);
        assert_eq!(found.len(), 1, "{text}");
    }
    let grouped = "use crate::{\n    base::{Digest, cases::X},\n    cases::Y,\n};";
    assert_eq!(lines_found(imports_point_upstream, "src/policy/search.rs", grouped), [3]);
    for text in
        ["use crate::base::X;", "// crate::cases", "\"crate::cases\"", "mod tests { use super::super::X; }"]
    {
        assert!(lines_found(imports_point_upstream, "src/policy/search.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn faces_steps_and_strange_rooms_are_caught() {
    let caught = |path: &str, text: &str| lines_found(imports_point_upstream, path, text) == [1];
    assert!(caught("src/reply/compose.rs", "use crate::ledger::Entry;"));
    assert!(!caught("src/cases/run.rs", "use crate::ledger::Entry;"));
    assert!(caught("src/cli/mod.rs", "use crate::http::Router;"));
    assert!(caught("src/http/mod.rs", "use crate::console::Page;"));
    assert!(!caught("src/console/mod.rs", "use crate::http::answers::Answer;"));
    assert!(caught("src/demo/mod.rs", "use crate::intake::Message;"));
    assert!(caught("src/http/mod.rs", "use crate::app::run;"));
    assert!(!caught("src/app.rs", "use crate::{http, cli, demo};"));
    assert!(caught("src/attic/mod.rs", ""));
}

#[test]
fn crates_and_impurity_are_caught() {
    let caught = |rule: Rule, path: &str, text: &str| lines_found(rule, path, text) == [2];
    for (path, name) in [
        ("src/learning/promote.rs", "tantivy"),
        ("src/policy/search.rs", "candle_core"),
        ("src/ledger/append.rs", "rusqlite"),
        ("src/ledger/storehouse.rs", "rusqlite"),
        ("src/records/http.rs", "reqwest"),
        ("src/cli/mod.rs", "axum"),
        ("src/policy/gather.rs", "zip"),
        ("src/intake/language.rs", "encoding_rs"),
    ] {
        let text = format!("//! {name}\nuse {name}::X;");
        assert!(caught(crates_stay_in_their_rooms, path, &text), "{path}");
    }
    for (path, name) in [("src/ledger/store/sqlite.rs", "rusqlite"), ("src/app.rs", "axum")] {
        assert!(!caught(crates_stay_in_their_rooms, path, &format!("\nuse {name}::X;")), "{path}");
    }
    assert!(!caught(crates_stay_in_their_rooms, "src/policy/gather.rs", "\nfor one in a.iter().zip(b) {}"));
    assert!(!caught(crates_stay_in_their_rooms, "src/intake/document/archive.rs", "\nuse zip::ZipArchive;"));
    for text in ["\nuse crate::base::Clock;", "\nlet id = ids::fresh(\"x\");", "\ntracing::info!(\"x\");"] {
        for path in
            ["src/planning/plan.rs", "src/governance/mod.rs", "src/cases/step.rs", "src/cases/step/ask.rs"]
        {
            assert!(caught(decisions_are_pure, path, text), "{path} {text}");
        }
        for path in ["src/governance/prove.rs", "src/cases/run.rs"] {
            assert!(!caught(decisions_are_pure, path, text), "{path} {text}");
        }
    }
    assert!(caught(
        proofs_stay_off_the_decision_path,
        "src/cases/run.rs",
        "\nuse crate::governance::prove::check;"
    ));
    assert!(!caught(proofs_stay_off_the_decision_path, "src/cli/mod.rs", "\nuse crate::governance::prove;"));
}

#[test]
fn seals_and_allows_are_caught() {
    let sealed = "fn f() {\n    DiscloseGrant::seal(a, b)\n}";
    assert_eq!(lines_found(only_governance_seals, "src/cases/run.rs", sealed), [2]);
    assert!(lines_found(only_governance_seals, "src/governance/judge.rs", sealed).is_empty());
    let in_test = format!("#[cfg(test)]\nmod tests {{ {sealed} }}");
    assert!(lines_found(only_governance_seals, "src/cases/run.rs", &in_test).is_empty());
    let beside_a_test = format!("#[cfg(test)]\nmod tests;\n{sealed}");
    assert_eq!(lines_found(only_governance_seals, "src/cases/run.rs", &beside_a_test), [4]);
    for text in ["#[allow(dead_code)]", "#![allow(unused)]", "#[cfg_attr(test, allow(unused))]"] {
        assert_eq!(lines_found(nothing_is_allowed, "tests/x.rs", text), [1], "{text}");
    }
    assert!(
        lines_found(nothing_is_allowed, "src/x.rs", "#[expect(dead_code, reason = \"allow(\")]").is_empty()
    );
}

#[test]
fn length_names_front_pages_and_traits_are_caught() {
    assert_eq!(lines_found(files_are_short, "src/x.rs", &"\n".repeat(801)), [801]);
    assert!(lines_found(files_are_short, "src/x.rs", &"\n".repeat(800)).is_empty());
    let function = |lines: usize| format!("\nfn long(a: [u8; 3]) {{\n{}}}", "    \"}\";\n".repeat(lines - 2));
    assert_eq!(lines_found(functions_are_short, "src/x.rs", &function(71)), [2]);
    assert!(lines_found(functions_are_short, "src/x.rs", &function(70)).is_empty());
    assert_eq!(lines_found(names_say_something, "src/base/utils.rs", ""), [1]);
    assert_eq!(
        lines_found(names_say_something, "src/base/x.rs", "\nmod common;\nstruct CaseManager;"),
        [2, 3]
    );
    assert!(
        lines_found(names_say_something, "src/base/x.rs", "struct Service2;\nlet service = 1;").is_empty()
    );
    assert_eq!(lines_found(rooms_have_a_front_page, "src/base/mod.rs", "mod x;"), [1]);
    assert_eq!(lines_found(rooms_have_a_front_page, "src/base/mod.rs", &"//! a\n".repeat(16)), [16]);
    assert!(lines_found(rooms_have_a_front_page, "src/base/mod.rs", "//! a").is_empty());
    assert_eq!(lines_found(traits_are_seams, "src/base/x.rs", "\npub trait Plugin {}\ntrait Store {}"), [2]);
}

#[test]
fn a_path_that_is_gone_is_caught() {
    let map = "See `src/base/mod.rs`, `policy/search.rs` and\n`src/attic/`, `case.step`, `app.rs`.";
    let there = |path: &str| ["src/base/mod.rs", "src/policy/search.rs", "src/app.rs"].contains(&path);
    let found: Vec<usize> = named_paths_exist(map, &there).into_iter().map(|finding| finding.line).collect();
    assert_eq!(found, [2]);
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let code = code_of("a /* b\n */ 'c' \"d\\\"\" r#\"e\"f\"# 'x: &'static str = '\\'' // g\nh");
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "'x:", "&'static", "str", "=", "h"]);
    assert_eq!(code_of("\"ä\" b").find('b'), Some(5));
}
