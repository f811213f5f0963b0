//! An evaluation as one page of HTML that needs nothing beside it: tables, and plots as SVG.

use super::judged::{Accepted, Reliability, Report};
use super::run::Evaluation;
use crate::learning::error::LearningError;
use minijinja::Environment;
use minijinja::value::Serde;
use plotters::prelude::*;
use serde::Serialize;

const WIDE: u32 = 440;
const HIGH: u32 = 300;

#[derive(Serialize)]
struct Shown<'a> {
    evaluation: &'a Evaluation,
    sections: Vec<Section<'a>>,
}

#[derive(Serialize)]
struct Section<'a> {
    name: &'a str,
    report: &'a Report,
    /// SVG.
    reliability: String,
    risk: String,
    /// Leaves, those with the lowest F1 first.
    leaves: Vec<Leaf<'a>>,
}

#[derive(Serialize)]
struct Leaf<'a> {
    leaf: &'a str,
    n: usize,
    precision: f64,
    recall: f64,
    f1: f64,
}

/// The page, UTF-8.
pub fn page(evaluation: &Evaluation) -> Result<String, LearningError> {
    let broken = |error: &dyn std::fmt::Display| LearningError::Broken(format!("the page: {error}"));
    let mut sections = Vec::new();
    for (name, report) in &evaluation.reports {
        let mut leaves: Vec<Leaf> = report
            .leaves
            .iter()
            .map(|(leaf, of)| Leaf { leaf, n: of.n, precision: of.precision, recall: of.recall, f1: of.f1 })
            .collect();
        leaves.sort_by(|a, b| a.f1.total_cmp(&b.f1).then(a.leaf.cmp(b.leaf)));
        let draw = |plot: Result<String, Fault>| plot.map_err(|error| broken(&error));
        sections.push(Section {
            name,
            report,
            reliability: draw(reliability(&report.calibration))?,
            risk: draw(risk(&report.risk))?,
            leaves,
        });
    }
    let mut templates = Environment::new();
    templates.add_filter("percent", |value: f64| format!("{:.1}", value * 100.0));
    templates.add_filter("decimal", |value: f64| format!("{value:.3}"));
    templates
        .add_template("evaluation.html", include_str!("evaluation.html"))
        .and_then(|()| templates.get_template("evaluation.html"))
        .and_then(|template| template.render(Serde(Shown { evaluation, sections })))
        .map_err(|error| broken(&error))
}

type Fault = Box<dyn std::error::Error>;

/// What was right in each bin of probability; where the model means what it says the points lie on the line.
fn reliability(reliability: &Reliability) -> Result<String, Fault> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDE, HIGH)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(28)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        let labels = |value: &f64| format!("{:.0} %", value * 100.0);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("probability of the first leaf")
            .y_desc("share right")
            .x_label_formatter(&labels)
            .y_label_formatter(&labels)
            .x_labels(6)
            .y_labels(6)
            .draw()?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.3)))?;
        let bins = &reliability.bins;
        chart.draw_series(LineSeries::new(bins.iter().map(|bin| (bin.probability, bin.right)), &BLUE))?;
        let most = bins.iter().map(|bin| bin.n).max().unwrap_or(1) as f64;
        chart.draw_series(bins.iter().map(|bin| {
            let radius = 2.0 + 8.0 * (bin.n as f64 / most).sqrt();
            Circle::new((bin.probability, bin.right), radius as i32, BLUE.mix(0.5).filled())
        }))?;
        area.present()?;
    }
    Ok(svg)
}

/// The error of what is accepted, and its bound, by the share accepted.
fn risk(curve: &[Accepted]) -> Result<String, Fault> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDE, HIGH)).into_drawing_area();
        let taken = || curve.iter().filter(|accepted| accepted.n > 0);
        let top = taken().map(|accepted| accepted.at_most).fold(0.05, f64::max).min(1.0);
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(28)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d(0.0..1.0, 0.0..top)?;
        let labels = |value: &f64| format!("{:.0} %", value * 100.0);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("messages accepted")
            .y_desc("wrong among them")
            .x_label_formatter(&labels)
            .y_label_formatter(&labels)
            .x_labels(6)
            .y_labels(6)
            .draw()?;
        chart
            .draw_series(LineSeries::new(taken().map(|a| (a.coverage, a.at_most)), RED.mix(0.7)))?
            .label("at most, 95 %")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RED.mix(0.7)));
        chart
            .draw_series(LineSeries::new(taken().map(|a| (a.coverage, a.error)), &BLUE))?
            .label("seen")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::learning::evaluate::judged::{Judged, report};
    use std::collections::BTreeMap;

    #[test]
    fn the_page_stands_alone_and_escapes_what_it_shows() {
        let judged: Vec<Judged> = (0..60)
            .map(|at| Judged {
                length: 40 + at,
                channel: Some("<chat>".to_owned()),
                leaf: usize::from(at % 4 == 0),
                probabilities: vec![0.9 - 0.005 * at as f64, 0.1 + 0.005 * at as f64],
                parent_right: true,
                held: at % 9 > 0,
                set: 1,
            })
            .collect();
        let leaves = ["balance".to_owned(), "apr".to_owned()];
        let evaluation = Evaluation {
            split: "dev",
            openings: None,
            tasks: BTreeMap::new(),
            out_of_scope_auroc: None,
            prediction_sets: BTreeMap::new(),
            figures: Vec::new(),
            reports: BTreeMap::from([("own.en".to_owned(), report(&judged, &leaves).unwrap())]),
            model: Digest::of(b"x"),
            notes: vec!["<script>".to_owned()],
        };
        let page = page(&evaluation).unwrap();
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("&lt;chat&gt;") && !page.contains("<script>"), "{page}");
        let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for fetching in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!without_namespace.contains(fetching), "`{fetching}` fetches something");
        }
        assert!(page.contains("balance") && page.contains("75.0"));
    }
}
