//! `prokura autonomy`: the dials as they stand, beside a service or without one.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{Clock, SystemClock};
use crate::cases::{dial_book, measured};
use crate::cli::{Place, Shown};
use crate::governance::{DialEvent, Row};
use crate::understanding::bundle::{EVIDENCE, verified_digest};
use serde_json::json;

pub fn show(place: &Place, shown: &Shown) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let autonomy = wire::pack(&settings, None)?.pack.governance.autonomy;
    let folder = wire::bundle(place, &settings)?;
    let model = verified_digest(&folder).map_err(Failure::input)?;
    let ledger = wire::found_ledger(place, &settings)?;
    let mut book =
        ledger.map(|ledger| dial_book(&ledger)).transpose().map_err(Failure::input)?.unwrap_or_default();
    // What a service would take as evidence when it starts with this bundle.
    let beside = std::fs::read_to_string(folder.join(EVIDENCE)).ok();
    if let Some(found) = beside.and_then(|text| measured(&text, &model)).filter(|found| !book.knows(found)) {
        book.apply(DialEvent::Evaluated(found), book.length, SystemClock.now());
    }
    let dials = book.dials(&autonomy, &model);
    let rows: Vec<Row> = dials.rows.into_values().collect();
    if shown.json {
        return output::json_pretty(&json!({"digest": autonomy.digest(), "model": model, "dials": rows}));
    }
    output::line_out(&format!("model {model}\n"))?;
    output::line_out(&format!(
        "{:<28}{:<18}{:<9}{:<9}{:>7}{:>9}{:>7}{:>9}{:>9}  why",
        "leaf", "tool", "at most", "now", "from", "reviewed", "wrong", "below", "missing"
    ))?;
    rows.iter().try_for_each(|row| output::line_out(&line(row)))
}

fn line(row: &Row) -> String {
    let from =
        row.threshold.map_or_else(|| "-".to_owned(), |least| format!("{:.2}", least as f64 / 10_000.0));
    // Where nothing has to be shown, there are no figures.
    let figure = |text: String| if row.max_error.is_some() { text } else { "-".to_owned() };
    format!(
        "{:<28}{:<18}{:<9}{:<9}{from:>7}{:>9}{:>7}{:>9}{:>9}  {}",
        row.leaf,
        row.tool,
        row.level.as_str(),
        row.effective.as_str(),
        figure(row.reviewed.to_string()),
        figure(row.errors.to_string()),
        figure(format!("{:.4}", row.bound)),
        figure(row.missing.to_string()),
        row.why
    )
}
