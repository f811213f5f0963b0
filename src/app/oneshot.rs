//! Commands that answer and end.

use super::serve::fresh_key;
use super::settings::Settings;
use super::{Failure, models, nearest, output, wire};
use crate::base::{CaseId, Clock, Digest, Language, SystemClock};
use crate::cases::Checked;
use crate::cli::{Key, Place, Search, Understand};
use crate::governance::Role;
use crate::intake::{BankCodes, Envelope, Identity, Limits, Message, RawMessage, accept, recognise_with};
use crate::policy::{self, Clearance, Policies, Question};
use crate::understanding::{Explained, Known, Nearest, Understanding};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// One JSON line longer than this is refused.
const LONGEST_LINE: usize = 1 << 20;

/// Calls `each` with every non-empty line of a file, or of standard input for `-`, and its number.
pub(super) struct Lines {
    shown: String,
    reader: BufReader<Box<dyn Read>>,
    number: usize,
}

impl Lines {
    pub(super) fn open(input: &Path) -> Result<Self, Failure> {
        let shown = input.display().to_string();
        let reader: Box<dyn Read> = if shown == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(input).map_err(|error| Failure::Input(format!("{shown}: {error}")))?)
        };
        Ok(Self { shown, reader: BufReader::new(reader), number: 0 })
    }

    /// The next line that is not empty, and its number; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(String, usize)>, Failure> {
        loop {
            let mut bytes = Vec::new();
            let limit = LONGEST_LINE as u64 + 1;
            let read =
                self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(|error| {
                    Failure::Input(format!("{}:{}: {error}", self.shown, self.number + 1))
                })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let bad = |problem: &str| Failure::Input(format!("{}:{}: {problem}", self.shown, self.number));
            if read > LONGEST_LINE {
                return Err(bad(&format!("the line is longer than {LONGEST_LINE} bytes")));
            }
            let text = std::str::from_utf8(&bytes);
            let text = text.map_err(|_| bad("the line is not UTF-8; convert the file"))?;
            // Some editors begin a file with a mark of its byte order.
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Ok(Some((text.to_owned(), self.number)));
            }
        }
    }
}

fn lines(input: &Path, mut each: impl FnMut(&str, usize) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut lines = Lines::open(input)?;
    while let Some((line, number)) = lines.next()? {
        each(&line, number)?;
    }
    Ok(())
}

fn parse_line<'a, T: Deserialize<'a>>(input: &Path, text: &'a str, number: usize) -> Result<T, Failure> {
    // Serde's own text may quote a value.
    serde_json::from_str(text).map_err(|error| {
        let what =
            if error.is_data() { "has other fields or types than are expected" } else { "is not JSON" };
        Failure::Input(format!("{}:{number}: the line {what}, at column {}", input.display(), error.column()))
    })
}

pub fn language(code: Option<&str>) -> Result<Option<Language>, Failure> {
    code.map(|code| {
        Language::parse(code)
            .ok_or_else(|| Failure::Input(format!("language `{code}` is not known; allowed: de, en")))
    })
    .transpose()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextLine {
    id: String,
    text: String,
    language: Option<String>,
}

pub fn understand(place: &Place, options: Understand) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let understanding = wire::understanding(place, &settings)?;
    let hint = language(options.language.as_deref())?;
    let nearest = match options.explain {
        true => nearest::lines(
            place,
            &settings,
            options.lines.as_deref(),
            &understanding,
            models::threads(None)?,
        )?,
        false => None,
    };
    let asked = Asked {
        limits: settings.limits(),
        banks: wire::bank_codes(&settings)?,
        explain: options.explain,
        nearest,
    };
    match (&options.input, options.text) {
        (Some(input), _) => messages(input, hint, &asked.limits, |id, message| {
            output::json_line(&read(&understanding, id, &message, &asked)?)
        }),
        (None, Some(text)) => {
            let mut bytes = text.into_bytes();
            if bytes == b"-" {
                bytes.clear();
                std::io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::input)?;
            }
            output::json_pretty(&read(
                &understanding,
                "1",
                &message("1", &bytes, hint, &asked.limits)?,
                &asked,
            )?)
        }
        (None, None) => Err(Failure::Input("a text or --input FILE is needed".to_owned())),
    }
}

/// Calls `each` with the id and the accepted message of every line of a file of texts; `hint` is the language of
/// lines that name none.
pub(super) fn messages(
    input: &Path,
    hint: Option<Language>,
    limits: &Limits,
    mut each: impl FnMut(&str, Message) -> Result<(), Failure>,
) -> Result<(), Failure> {
    lines(input, |line, number| {
        let line: TextLine = parse_line(input, line, number)?;
        let hint = language(line.language.as_deref())?.or(hint);
        let accepted = message(&line.id, line.text.as_bytes(), hint, limits);
        accepted.and_then(|message| each(&line.id, message)).map_err(|error| match error {
            Failure::Input(problem) => Failure::Input(format!("{}:{number}: {problem}", input.display())),
            other => other,
        })
    })
}

/// How texts are to be read.
struct Asked {
    limits: Limits,
    banks: BankCodes,
    explain: bool,
    nearest: Option<Nearest>,
}

/// A text that belongs to no case, as intake accepts it.
fn message(id: &str, text: &[u8], hint: Option<Language>, limits: &Limits) -> Result<Message, Failure> {
    let envelope = Envelope {
        id: crate::base::MessageId::new(id),
        case: CaseId::new("none"),
        channel: "command-line".to_owned(),
        identity: Identity::Anonymous,
        received_at: SystemClock.now(),
    };
    let raw = RawMessage { text, language: hint, attachments: vec![] };
    accept(&raw, envelope, limits).map_err(Failure::input)
}

fn read(
    understanding: &Understanding,
    id: &str,
    message: &Message,
    asked: &Asked,
) -> Result<Explained, Failure> {
    let found = recognise_with(&message.text, &asked.banks);
    let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
    understanding
        .explained(
            (id, &message.text, message.language),
            &known,
            asked.explain.then_some(&|| true),
            asked.nearest.as_ref(),
        )
        .map_err(Failure::input)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryLine {
    id: String,
    query: String,
    as_of: Option<String>,
    audience: Option<String>,
    language: Option<String>,
    product: Option<String>,
}

pub fn search(place: &Place, options: Search) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let policies = Policies::open(&wire::state(place, &settings)).map_err(Failure::input)?;
    let models = wire::understanding(place, &settings)?;
    let ask = |line: QueryLine| -> Result<policy::Grounds, Failure> {
        let day = line.as_of.or_else(|| options.as_of.clone()).unwrap_or_else(|| SystemClock.now().date());
        let as_of = policy::parse_date(&day)
            .ok_or_else(|| Failure::Input(format!("`{day}` is not a date; write YYYY-MM-DD")))?;
        let audience = line.audience.as_deref().unwrap_or(&options.audience);
        let audience = Clearance::parse(audience).ok_or_else(|| {
            Failure::Input(format!(
                "audience `{audience}` is not known; allowed: public, internal, all, or a role's name"
            ))
        })?;
        let language = language(line.language.as_deref().or(options.language.as_deref()))?;
        let question = Question {
            id: line.id,
            text: line.query,
            about: Vec::new(),
            language,
            audience,
            as_of,
            documents: None,
            product: line.product.or_else(|| options.product.clone()),
            top: usize::try_from(options.top).unwrap_or(1),
            each: options.each,
        };
        policies.search(&question, Some(&models)).map_err(Failure::input)
    };
    match (&options.input, &options.query) {
        (Some(input), _) => {
            lines(input, |line, number| output::json_line(&ask(parse_line(input, line, number)?)?))
        }
        (None, Some(query)) => {
            let line = QueryLine {
                id: "1".to_owned(),
                query: query.clone(),
                as_of: None,
                audience: None,
                language: None,
                product: None,
            };
            output::json_pretty(&ask(line)?)
        }
        (None, None) => Err(Failure::Input("a query or --input FILE is needed".to_owned())),
    }
}

pub fn check(place: &Place, as_json: bool) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let policies = Policies::open(&wire::state(place, &settings)).ok();
    let documents = policies.as_ref().map(wire::documents);
    let checked = wire::pack(&settings, documents.as_ref())?;
    wire::secrets(&settings, &checked.pack)?;
    wire::bank_codes(&settings)?;
    wire::retrieval_bar(&settings)?;
    let pack = &checked.pack;
    let counts = json!({
        "pack": pack.digest,
        "leaves": pack.schema.intents.leaves.len(),
        "plans": pack.plans.by_name.len(),
        "tools": pack.tools.by_name.len(),
        "rules": pack.governance.rules.len(),
        "templates": pack.templates.names().count(),
        "tests": checked.trials,
        "branches": checked.coverage.branches,
        "branches_covered": checked.coverage.taken,
        "branches_tested": pack.service.branches_tested,
        "branches_missed": checked.coverage.missed.iter().map(|(plan, step, to)| format!("{plan}: {step} > {to}")).collect::<Vec<_>>(),
        "citations_checked": documents.is_some(),
    });
    if as_json {
        output::json_pretty(&counts)?;
        return enough_tested(&checked);
    }
    if documents.is_none() {
        eprintln!(
            "there is no index yet: cited documents were not checked (prokura policies index index/policies)"
        );
    }
    output::line_out(&format!(
        "the pack is sound: {} leaves, {} plans with {} tests ({} of {} branches taken), {} tools, {} rules, {} templates",
        pack.schema.intents.leaves.len(),
        pack.plans.by_name.len(),
        checked.trials,
        checked.coverage.taken,
        checked.coverage.branches,
        pack.tools.by_name.len(),
        pack.governance.rules.len(),
        pack.templates.names().count(),
    ))?;
    enough_tested(&checked)
}

/// Whether the plans' own tests take as many of their branches as the pack asks for.
fn enough_tested(checked: &Checked) -> Result<(), Failure> {
    let (coverage, bar) = (&checked.coverage, checked.pack.service.branches_tested);
    if coverage.taken as f64 >= bar * coverage.branches as f64 {
        return Ok(());
    }
    let missed = coverage.missed.iter().map(|(plan, step, to)| format!("\n  {plan}: {step} > {to}"));
    Err(Failure::Check(format!(
        "the plans' tests take {} of {} branches, and cases.toml asks for {:.0} % (`branches_tested`); no test takes{}",
        coverage.taken,
        coverage.branches,
        bar * 100.0,
        missed.collect::<String>()
    )))
}

pub fn key(options: &Key) -> Result<(), Failure> {
    let role = Role::ALL.into_iter().find(|role| role.as_str() == options.role).ok_or_else(|| {
        let allowed: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        Failure::Input(format!("role `{}` is not known; allowed: {}", options.role, allowed.join(", ")))
    })?;
    let key = fresh_key();
    eprintln!("the key, shown once; give it to its holder:");
    output::line_out(&key)?;
    let hash = Digest::of(key.as_bytes());
    eprintln!(
        "\nfor prokura.toml:\n\n[[key]]\nname = \"{0}\"\nprincipal = \"{0}\"\nrole = \"{role}\"\nsha256 = \"{1}\"",
        options.principal,
        hash.hex()
    );
    Ok(())
}
