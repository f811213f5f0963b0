//! `prokura evaluate`: the figures of a bundle, as a table or as JSON.

use super::models::pack_folder;
use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{Clock, SystemClock};
use crate::cli::{Evaluate, Place};
use crate::intake::BankCodes;
use crate::learning::bar::Bar;
use crate::learning::datasets::Split;
use crate::learning::evaluate::{self as evaluation, Evaluation, Few, Figure, Lines, Scale};
use std::path::{Path, PathBuf};

pub fn evaluate(place: &Place, options: Evaluate) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let bundle = match options.bundle.clone() {
        Some(bundle) => bundle,
        None => wire::bundle(place, &settings)?,
    };
    let (config, bank_codes) = (pack_folder(place), wire::bank_codes(&settings)?);
    if let Some(out) = options.evidence.clone() {
        return evidence(&out, &settings, (bundle, config, bank_codes), options);
    }
    let own_tickets = options.tickets.is_some();
    // Development lines are held to nothing.
    let named = options.bar.clone().filter(|_| own_tickets || options.split != "dev");
    let bar = bar(options.bar, &settings)?;
    let done = match options.tickets {
        _ if options.task.is_some() => {
            let asked = evaluation::documents::Options {
                data: options.data,
                own: options.own,
                policies: settings.beside(&settings.policies.documents),
                base: options.base,
            };
            evaluation::searched((&bundle, &config), &asked, &bar, &mut |note| eprintln!("{note}"))
        }
        Some(file) => {
            let lines = Lines::Tickets { file, usual: settings.intake.language };
            evaluation::few(&Few { bundle, config, lines, bank_codes, bar })
        }
        None => {
            let asked = evaluation::Options {
                bundle,
                data: options.data,
                own: options.own,
                config,
                base: options.base,
                split: if options.split == "dev" { Split::Dev } else { Split::Test },
                explanations: options.explanations,
                full: options.full,
                log: options.log,
                at: SystemClock.now(),
                bank_codes,
                marks: bar.marks,
            };
            evaluation::run(&asked, &mut |note| eprintln!("{note}"))
        }
    };
    let done = done.map_err(Failure::input)?;
    if own_tickets {
        done.notes.iter().for_each(|note| eprintln!("{note}"));
    }
    if let Some(file) = named.filter(|_| done.figures.iter().all(|f| f.bar.or(f.goal).is_none())) {
        return Err(unmeasured(&file, &done));
    }
    if let Some(file) = &options.html {
        write_page(file, &done)?;
    }
    if options.json {
        output::json_pretty(&done)?;
    } else {
        table(&done)?;
    }
    let below = done.below_bar();
    if below.is_empty() {
        Ok(())
    } else {
        Err(Failure::Check(format!("below the bar: {}", below.join("; "))))
    }
}

/// What the autonomy dial begins with.
fn evidence(
    out: &Path,
    settings: &Settings,
    (bundle, config, bank_codes): (PathBuf, PathBuf, BankCodes),
    options: Evaluate,
) -> Result<(), Failure> {
    let progress = &mut |note: &str| eprintln!("{note}");
    let measured = match options.tickets {
        Some(file) => {
            let lines = Lines::Tickets { file, usual: settings.intake.language };
            let few = Few { bundle, config, lines, bank_codes, bar: Bar::default() };
            evaluation::evidence_of_tickets(&few, progress)
        }
        None => {
            let asked = evaluation::Options {
                bundle,
                data: options.data,
                own: options.own,
                config,
                base: options.base,
                split: Split::Test,
                explanations: false,
                full: None,
                log: options.log,
                at: SystemClock.now(),
                bank_codes,
                marks: Default::default(),
            };
            evaluation::evidence(&asked, progress)
        }
    };
    let text = serde_json::to_string(&measured.map_err(Failure::input)?).map_err(Failure::input)?;
    std::fs::write(out, text + "\n").map_err(|error| {
        Failure::Input(format!("{}: {error}; name a file that can be written with --evidence", out.display()))
    })
}

/// A bar was named that none of the figures is held to.
fn unmeasured(file: &Path, done: &Evaluation) -> Failure {
    let known: Vec<&str> = done.figures.iter().map(|figure| figure.id.as_str()).collect();
    let (file, known) = (file.display(), known.join(", "));
    Failure::Input(format!("{file}: it holds no figure that was measured; these were: {known}"))
}

fn write_page(file: &Path, done: &Evaluation) -> Result<(), Failure> {
    let page = evaluation::page(done).map_err(Failure::input)?;
    std::fs::write(file, page).map_err(|error| {
        Failure::Input(format!("{}: {error}; name a file that can be written with --html", file.display()))
    })
}

/// What figures are held to: the file that was named, or the one beside the settings where there is one.
pub(super) fn bar(named: Option<PathBuf>, settings: &Settings) -> Result<Bar, Failure> {
    let file = named.clone().unwrap_or_else(|| settings.folder.join("bars.toml"));
    match Bar::read(&file).map_err(Failure::input)? {
        None if named.is_some() => {
            Err(Failure::Input(format!("{}: there is no such file; name it with --bar", file.display())))
        }
        bar => Ok(bar.unwrap_or_default()),
    }
}

fn table(done: &Evaluation) -> Result<(), Failure> {
    output::line_out(&format!("model {}", done.model))?;
    output::line_out(&match done.openings {
        Some(count) => format!("test lines, opened {count} times with this one"),
        None if done.split == "tickets" => "your tickets".to_owned(),
        None if done.split == "retrieval" => "questions about documents".to_owned(),
        None => "development lines".to_owned(),
    })?;
    output::line_out(&format!(
        "\n{:<34}{:>7}{:>9}  {:<17}{:>9}{:>9}{:>9}",
        "figure", "n", "value", "95 %", "baseline", "bar", "goal"
    ))?;
    for figure in &done.figures {
        output::line_out(&row(figure))?;
    }
    spans(done)?;
    for (language, sets) in &done.prediction_sets {
        let (coverage, size) = (shown(sets.coverage, Scale::Share), sets.size);
        output::line_out(&format!(
            "prediction sets, {language}: coverage {coverage} %, mean size {size:.2}"
        ))?;
    }
    Ok(())
}

/// A goal that is not reached carries a mark.
fn row(figure: &Figure) -> String {
    let shown = |value: f64| shown(value, figure.scale);
    let maybe = |value: Option<f64>| value.map_or_else(String::new, shown);
    let [low, high] = figure.interval;
    let interval = format!("{} to {}", shown(low), shown(high));
    let missed = if figure.reached() == Some(false) { " !" } else { "" };
    let line = format!(
        "{:<34}{:>7}{:>9}  {interval:<17}{:>9}{:>9}{:>9}{missed}",
        figure.id,
        figure.n,
        shown(figure.value),
        maybe(figure.baseline),
        maybe(figure.bar),
        maybe(figure.goal)
    );
    line.trim_end().to_owned()
}

fn shown(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Share | Scale::Points => format!("{:.2}", value * 100.0),
        Scale::Score => format!("{value:.4}"),
        Scale::PerThousand => format!("{value:.1}"),
        Scale::Ratio => format!("{value:.2}"),
    }
}

/// The values of each field, on own lines.
fn spans(done: &Evaluation) -> Result<(), Failure> {
    output::line_out(&format!("\n{:<24}{:<20}{:>7}{:>9}", "lines", "field", "values", "span F1"))?;
    for (name, task) in done.tasks.iter().filter(|(name, _)| name.contains('_')) {
        for (field, spans) in task.spans.iter().filter(|(_, spans)| spans.n > 0) {
            let f1 = shown(spans.f1, Scale::Share);
            output::line_out(&format!("{name:<24}{field:<20}{:>7}{f1:>9}", spans.n))?;
        }
    }
    output::line_out("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::bar::Better;

    #[test]
    fn a_row_shows_percent_and_marks_what_is_missed() {
        let mut figure = Figure {
            id: "blind.de.leaf".to_owned(),
            n: 1_100,
            value: 0.8,
            interval: [0.775, 0.823],
            scale: Scale::Share,
            baseline: Some(0.7),
            better: Better::Higher,
            bar: None,
            goal: Some(0.82),
        };
        assert_eq!(
            row(&figure).split_whitespace().collect::<Vec<_>>(),
            ["blind.de.leaf", "1100", "80.00", "77.50", "to", "82.30", "70.00", "82.00", "!"]
        );
        figure.goal = None;
        figure.scale = Scale::Score;
        assert!(row(&figure).ends_with("0.7750 to 0.8230    0.7000"), "{}", row(&figure));
    }
}
