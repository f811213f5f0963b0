//! `prokura tools`: what can be done in the bank's systems.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::Language;
use crate::cli::{ImportTools, ListTools, Place, Tools as Asked};
use crate::planning::{ImportSettings, MOST_IMPORT_BYTES, ToolDeclaration, import};
use serde_json::{Value, json};
use std::io::Read;

pub fn run(place: &Place, asked: Asked) -> Result<(), Failure> {
    match asked {
        Asked::List(asked) => list(place, &asked),
        Asked::Import(asked) => sections(asked),
    }
}

/// An answer is not longer.
const MOST_BYTES: u64 = 4 << 20;

fn list(place: &Place, asked: &ListTools) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let tools: Vec<Value> = match (&asked.from, &asked.key_file) {
        (Some(from), Some(file)) => {
            let told = wire::asking(&settings, from, file)?("/v1/tools", MOST_BYTES)
                .map_err(|problem| Failure::Input(format!("{from} does not tell its tools: {problem}")))?;
            let told: Value = serde_json::from_slice(&told)
                .map_err(|_| Failure::Input(format!("{from} does not answer as this program does")))?;
            told.get("tools").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        _ => wire::pack(&settings, None)?.pack.tools.by_name.values().map(declared).collect(),
    };
    if asked.json {
        return output::json_pretty(&json!({ "tools": tools }));
    }
    let rows: Vec<[String; 7]> = tools.iter().map(row).collect();
    let head = ["TOOL", "RISK", "SYSTEM", "LIMITS", "BREAKER", "UNDER WAY", "PURPOSE"].map(str::to_owned);
    let all: Vec<&[String; 7]> = std::iter::once(&head).chain(&rows).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|at| {
            all.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    all.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        output::line_out(cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}

fn declared(tool: &ToolDeclaration) -> Value {
    json!({
        "name": tool.name, "purpose": tool.purpose, "system": tool.system, "risk": tool.risk, "scope": tool.scope,
        "limits": tool.limits, "restores_access": tool.restores_access, "free": tool.free, "parallel": tool.parallel,
        "retries": tool.retries, "stale_ms": tool.stale_ms,
    })
}

fn row(tool: &Value) -> [String; 7] {
    let text = |name: &str| tool.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let limits = tool.get("limits").and_then(Value::as_array).into_iter().flatten();
    let limits: Vec<String> = limits
        .filter_map(|limit| serde_json::from_value::<crate::base::Money>(limit.clone()).ok())
        .map(|limit| limit.display(Language::En))
        .collect();
    let under_way = tool.get("in_flight").map_or_else(|| "-".to_owned(), Value::to_string);
    let limits = if limits.is_empty() { "-".to_owned() } else { limits.join(", ") };
    [text("name"), text("risk"), text("system"), limits, text("breaker"), under_way, text("purpose")]
}

fn sections(asked: ImportTools) -> Result<(), Failure> {
    let shown = asked.file.display().to_string();
    let told = |problem: &dyn std::fmt::Display| Failure::Input(format!("{shown}: {problem}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&asked.file)
        .map_err(|error| told(&format!("{error}; name an OpenAPI document, YAML or JSON")))?;
    // One byte more than is read says that it is too long.
    file.take(MOST_IMPORT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| told(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| told(&"it is not UTF-8; convert the file"))?;
    let system = asked.system.filter(|name| !name.trim().is_empty());
    let settings = ImportSettings { system, only: asked.only.into_iter().collect() };
    let imported = import(&shown, &text, &settings)?;
    imported.notes.iter().for_each(|note| eprintln!("{note}"));
    match &asked.out {
        None => output::out(&imported.text)?,
        Some(out) => {
            let made = std::fs::File::create_new(out)
                .and_then(|mut file| std::io::Write::write_all(&mut file, imported.text.as_bytes()));
            made.map_err(|error| {
                Failure::Input(format!("{}: {error}; name a file that is not there yet", out.display()))
            })?;
        }
    }
    let count = imported.tools.len();
    eprintln!(
        "{count} operations; choose the risk of each, fill in what is blank, put them into tools.toml, run `prokura check`"
    );
    Ok(())
}
