//! `prokura lookup` and `prokura lookup fit`.

use super::oneshot::Lines;
use super::resolve::Demonstration;
use super::settings::{Settings, folder_of};
use super::{Failure, output, wire};
use crate::base::outbound::Outbound;
use crate::base::{Clock, Finding, SystemClock};
use crate::cli::{Lookup, LookupCommand, LookupFit, Place};
use crate::records::fit::{Example, Label, fit};
use crate::records::matching::asked;
use crate::records::settings::Written;
use crate::records::source::csv;
use crate::records::weights::{Matching, Unit};
use crate::records::{self, Fields, LookupSettings, Question, SourceDeclarations};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All that a look-up needs.
struct Setup {
    lookup: LookupSettings,
    sources: SourceDeclarations,
    /// Paths of files are relative to it.
    folder: PathBuf,
    outbound: Outbound,
}

/// A file that holds nothing but a look-up: what is in lookup.toml and sources.toml of a pack, in two sections.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alone {
    lookup: Written,
    sources: SourceDeclarations,
    #[serde(default)]
    outbound: super::settings::OutboundSettings,
}

impl Setup {
    fn of_pack(settings: &Settings) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = settings.folder.join(name);
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Failure::Input(format!("{shown}: {error}")))?;
            Ok::<_, Failure>((shown, text))
        };
        let (file, text) = read("lookup.toml")?;
        let lookup = LookupSettings::parse(&file, &text)?;
        let (file, text) = read("sources.toml")?;
        let mut sources = SourceDeclarations::parse(&file, &text)?;
        for (name, url) in &settings.systems {
            sources.set_base_url(name, url);
        }
        Ok(Self { lookup, sources, folder: settings.folder.clone(), outbound: wire::outbound(settings)? })
    }

    /// Of a file with the sections of a look-up, `None` for any other.
    fn alone(config: &Path) -> Result<Option<Self>, Failure> {
        let shown = config.display().to_string();
        let Ok(text) = std::fs::read_to_string(config) else { return Ok(None) };
        let is_one = toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("lookup"));
        if !is_one {
            return Ok(None);
        }
        let alone: Alone = toml::from_str(&text)
            .map_err(|error| Failure::Findings(vec![Finding::of_toml(&shown, &text, &error)]))?;
        Ok(Some(Self {
            lookup: alone.lookup.checked(&shown, &text)?,
            sources: alone.sources.checked(&shown, &text)?,
            folder: folder_of(config),
            outbound: Outbound::new(alone.outbound.hosts).map_err(Failure::input)?,
        }))
    }
}

impl Setup {
    /// With what its sources hold in memory.
    async fn open(&self) -> Result<records::Lookup, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let kinds = self.lookup.kinds();
        let opened =
            self.sources.open(&self.folder, &self.outbound, &kinds, &clock).map_err(Failure::input)?;
        let lookup = records::Lookup::new(self.lookup.clone(), opened, clock);
        lookup.reload().await;
        Ok(lookup)
    }
}

pub async fn run(place: &Place, options: Lookup) -> Result<(), Failure> {
    if let Some(LookupCommand::Fit(options)) = &options.command {
        return estimate(place, options).await;
    }
    let mut demonstration = None;
    let setup = match Setup::alone(&place.config)?.filter(|_| !options.demo) {
        Some(setup) => setup,
        None => {
            let mut settings = Settings::read(&place.config)?;
            if options.demo {
                let (mut place, switches) = (place.clone(), &options.switches);
                demonstration = Some(Demonstration::start(&mut place, &mut settings, switches).await?);
            }
            Setup::of_pack(&settings)?
        }
    };
    wire::weighed(&place.config, &setup.lookup)?;
    let lookup = setup.open().await?;
    match &options.input {
        Some(input) => {
            let mut questions = Questions::open(input, &setup.sources)?;
            while let Some(question) = questions.next()? {
                output::json_line(&lookup.find(&question.id, &question.fields).await)?;
            }
        }
        None => output::json_line(&lookup.find("1", &values(&options.values)?).await)?,
    }
    drop(demonstration);
    Ok(())
}

/// Questions, one after the other.
enum Questions {
    Lines(Lines, String),
    Table(std::vec::IntoIter<Question>),
}

impl Questions {
    /// JSON lines, or the rows of a CSV file with the columns of the first file source.
    fn open(input: &Path, sources: &SourceDeclarations) -> Result<Self, Failure> {
        let shown = input.display().to_string();
        if input.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("csv")) {
            return Ok(Self::Lines(Lines::open(input)?, shown));
        }
        let Some(source) = sources.file.first() else {
            return Err(Failure::Input(format!(
                "{shown}: its columns cannot be told, because no file source is declared; use JSON lines"
            )));
        };
        let text =
            std::fs::read_to_string(input).map_err(|error| Failure::Input(format!("{shown}: {error}")))?;
        let rows = csv::rows(&text).map_err(|line| {
            Failure::Input(format!("{shown}:{line}: a quoted field does not end properly"))
        })?;
        let mut rows = rows.into_iter();
        let header: Vec<String> = rows
            .next()
            .map(|(_, row)| row.iter().map(|name| name.trim().to_owned()).collect())
            .unwrap_or_default();
        let column = |name: &str| header.iter().position(|column| column == name);
        let Some(id) = column(&source.form.id) else {
            return Err(Failure::Input(format!("{shown}:1: no column is named `{}`", source.form.id)));
        };
        let questions = rows.map(|(_, row)| {
            let cell = |at: usize| row.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
            let value = |(field, name): (&String, &String)| {
                Some((field.clone(), vec![cell(column(name)?)?.to_owned()]))
            };
            let fields = source.find.iter().filter_map(value).collect();
            Question { id: cell(id).unwrap_or_default().to_owned(), fields, record: None }
        });
        Ok(Self::Table(questions.collect::<Vec<_>>().into_iter()))
    }

    fn next(&mut self) -> Result<Option<Question>, Failure> {
        match self {
            Self::Table(rows) => Ok(rows.next()),
            Self::Lines(lines, shown) => match lines.next()? {
                None => Ok(None),
                Some((line, number)) => Question::parse(&line, number)
                    .map(Some)
                    .map_err(|error| Failure::Input(format!("{shown}: {error}"))),
            },
        }
    }
}

fn values(pairs: &[String]) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    for pair in pairs {
        let (field, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::Input("a value is not FIELD=VALUE, as in last_name=Müller".to_owned()))?;
        fields.entry(field.to_owned()).or_default().push(value.to_owned());
    }
    Ok(fields)
}

async fn estimate(place: &Place, options: &LookupFit) -> Result<(), Failure> {
    let (setup, section) = match Setup::alone(&place.config)? {
        Some(setup) => (setup, "lookup.matching"),
        None => (Setup::of_pack(&Settings::read(&place.config)?)?, "matching"),
    };
    let shown = place.config.display();
    let Some(start) = setup.lookup.matching.clone() else {
        return Err(Failure::Input(format!(
            "{shown}: there is no section [{section}]; name the fields and their kinds there, as in \
             [{section}.fields.last_name] kind = \"name\""
        )));
    };
    let Some(indexed) = setup.open().await?.indexed() else {
        return Err(Failure::Input(format!(
            "{shown}: no file, and no table with `indexed`, is searched by a field of [{section}.fields]; weights are estimated over one"
        )));
    };
    let rows: std::collections::HashMap<&str, u32> =
        indexed.ids.iter().map(crate::base::RecordId::as_str).zip(0..).collect();
    let mut questions = Questions::open(&options.input, &setup.sources)?;
    let mut examples = Vec::new();
    while let Some(question) = questions.next()? {
        let label = match &question.record {
            None => Label::Unknown,
            Some(None) => Label::Absent,
            Some(Some(id)) => Label::Row(*rows.get(id.as_str()).ok_or_else(|| {
                let number = examples.len() + 1;
                let remedy =
                    "name the id of a record of the first indexed source, or null where nobody is meant";
                Failure::Input(format!(
                    "{}: question {number}: no record is `{id}`; {remedy}",
                    options.input.display()
                ))
            })?),
        };
        examples.push(Example { question: asked(&indexed.index, &question.fields).0, label });
    }
    let mut fitted = fit(&indexed.index, &examples, &start)
        .map_err(|problem| Failure::Input(format!("{shown}: {problem}")))?;
    for (field, weights) in start.fields {
        // Another source has it: what was known of it stays.
        if !weights.m.is_empty() {
            fitted.matching.fields.entry(field).or_insert(weights);
        } else if !fitted.matching.fields.contains_key(&field) {
            tracing::warn!(
                field,
                "the first indexed source does not have it, so it has no weights and is left out"
            );
        }
    }
    let matching = &fitted.matching;
    if let Some(out) = &options.out {
        std::fs::write(out, written(matching, section))
            .map_err(|error| Failure::Input(format!("{}: {error}", out.display())))?;
    }
    let fields = told(matching);
    output::json_line(&json!({
        "questions": examples.len(), "labelled": fitted.labelled, "records": indexed.ids.len(),
        "rounds": fitted.rounds, "present": matching.present, "slope": matching.slope, "fields": fields,
    }))
}

/// What every level of every field is worth.
fn told(matching: &Matching) -> serde_json::Map<String, serde_json::Value> {
    matching
        .fields
        .iter()
        .map(|(name, field)| {
            let level = |(at, words): (usize, &&str)| {
                let weight = (field.weight(at as u8, 0.0) * 100.0).round() / 100.0;
                json!({"agreement": words, "m": field.m.get(at), "u": field.u.get(at), "weight": weight})
            };
            let levels: Vec<_> = field.kind.levels().iter().enumerate().map(level).collect();
            (name.clone(), json!({"kind": field.kind, "levels": levels}))
        })
        .collect()
}

/// The section of the settings, with what every level is worth in a comment.
fn written(matching: &Matching, section: &str) -> String {
    let mut text =
        format!("[{section}]\nidentify = {:?}\ncandidates = {}\n", matching.identify, matching.candidates);
    if matching.unit == Unit::Customer {
        text.push_str("unit = \"customer\"\n");
    }
    text.extend(matching.records.map(|records| format!("records = {records}\n")));
    text.push_str(&format!("present = {:?}\nslope = {:?}\n", matching.present, matching.slope));
    for (name, field) in &matching.fields {
        let kind = serde_json::to_string(&field.kind).unwrap_or_default();
        text.push_str(&format!("\n[{section}.fields.{name}]\nkind = {kind}\nrarity = {}\n", field.rarity));
        for (level, words) in field.kind.levels().iter().enumerate() {
            text.push_str(&format!("# {words}: {:+.1}\n", field.weight(level as u8, 0.0)));
        }
        text.push_str(&format!("m = {:?}\nu = {:?}\n", field.m, field.u));
    }
    text
}
