//! What a monitoring system asks for, in the text format of Prometheus (exposition format 0.0.4). Counts and
//! shares alone: nothing about a person.

use super::api::Api;
use super::auth::Access;
use super::error::Refusal;
use super::routes::Route;
use crate::governance::Act;
use crate::learning::drift::Drift;
use crate::understanding::nodes::Nodes;
use crate::understanding::{Live, Readers};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/metrics", WATCHING, "What monitoring asks for.", metrics)
            .streams("text/plain", "one line a value, as Prometheus reads it"),
    ]
}

async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let drift = api.drift.read().unwrap_or_else(PoisonError::into_inner).clone();
    let models = &api.cases.parts().models;
    let mut out = String::new();
    reading(&mut out, models, &api.cases.parts().readers);
    if let Some(report) = models.shadow().map(|shadow| shadow.report()) {
        family(&mut out, "prokura_shadow_messages", "Messages that the challenger read, by what it said.");
        let (same, other) = (report.same_leaf, report.messages - report.same_leaf);
        for (outcome, count) in [("same_leaf", same), ("other_leaf", other), ("skipped", report.skipped)] {
            let _ = writeln!(out, "prokura_shadow_messages{{outcome=\"{outcome}\"}} {count}");
        }
    }
    if let Some(drift) = drift {
        shown(&mut out, &drift);
    }
    Ok(answer(out))
}

pub fn answer(text: String) -> Response {
    ([(CONTENT_TYPE, FORMAT)], text).into_response()
}

/// Who may watch.
pub const WATCHING: Access = Access::May(Act::SeeMetrics);

/// What reads, and how much it has to do.
pub fn reading(out: &mut String, models: &Live, readers: &Readers) {
    family(out, "prokura_model_info", "The model bundle that reads.");
    let current = models.current();
    let (digest, arithmetic) = (current.digest(), current.model().arithmetic());
    let _ = writeln!(out, "prokura_model_info{{digest=\"{digest}\"}} 1");
    family(out, "prokura_arithmetic_info", "What the encoder calculates with here.");
    let _ = writeln!(out, "prokura_arithmetic_info{{arithmetic=\"{arithmetic}\"}} 1");
    family(out, "prokura_model_fault", "1 when what was promoted last is not what reads.");
    let _ = writeln!(out, "prokura_model_fault {}", u8::from(models.fault().is_some()));
    let counts = readers.counts();
    let (urgent, bulk) = readers.waiting();
    family(out, "prokura_reading_waiting", "Texts that wait to be read, by urgency.");
    for (urgency, waiting) in [("urgent", urgent), ("bulk", bulk)] {
        let _ = writeln!(out, "prokura_reading_waiting{{urgency=\"{urgency}\"}} {waiting}");
    }
    for (name, help, count) in [
        ("prokura_readings_total", "Texts that were read.", &counts.readings),
        ("prokura_reading_batches_total", "Batches that they were read in.", &counts.batches),
        ("prokura_readings_refused_total", "Texts that found too many waiting.", &counts.refused),
        ("prokura_readings_unwanted_total", "Texts for which nobody waited any more.", &counts.unwanted),
    ] {
        counter(out, name, help, count);
    }
    if let Some(nodes) = readers.nodes() {
        inference_nodes(out, nodes);
    }
}

fn inference_nodes(out: &mut String, nodes: &Nodes) {
    family(out, "prokura_inference_node_up", "1 when the inference node answered when it was last asked.");
    for (url, up) in nodes.states() {
        let _ = writeln!(out, "prokura_inference_node_up{{node=\"{url}\"}} {}", u8::from(up));
    }
    let counts = nodes.counts();
    for (name, help, count) in [
        ("prokura_inference_answered_total", "Texts that a node read.", &counts.answered),
        (
            "prokura_inference_hedged_total",
            "Texts that a second node was given because the first was slow.",
            &counts.hedged,
        ),
        ("prokura_inference_local_total", "Texts that no node read, and this machine did.", &counts.local),
    ] {
        counter(out, name, help, count);
    }
}

fn counter(out: &mut String, name: &str, help: &str, count: &AtomicU64) {
    let count = count.load(Ordering::Relaxed);
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}");
}

fn shown(out: &mut String, drift: &Drift) {
    family(out, "prokura_drift", "How far the recent messages are from those before, by figure.");
    for (name, figure) in &drift.figures {
        let _ = writeln!(out, "prokura_drift{{figure=\"{name}\"}} {}", figure.value);
    }
    family(out, "prokura_drift_threshold", "Beyond it a figure counts as drift.");
    for (name, figure) in &drift.figures {
        let _ = writeln!(out, "prokura_drift_threshold{{figure=\"{name}\"}} {}", figure.threshold);
    }
    family(out, "prokura_drift_messages", "Messages of the two windows.");
    for (window, count) in [("reference", drift.reference), ("recent", drift.recent)] {
        let _ = writeln!(out, "prokura_drift_messages{{window=\"{window}\"}} {count}");
    }
}

fn family(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::drift::Figure;

    #[test]
    fn each_family_is_described_before_its_values() {
        let figure = Figure { value: 0.31, threshold: 0.2, crossed: true };
        let drift = Drift {
            reference: 900,
            recent: 250,
            figures: [("leaves".to_owned(), figure)].into(),
            leaves: Vec::new(),
        };
        let mut out = String::new();
        shown(&mut out, &drift);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[1], "# TYPE prokura_drift gauge");
        assert_eq!(lines[2], "prokura_drift{figure=\"leaves\"} 0.31");
        assert!(lines.contains(&"prokura_drift_messages{window=\"recent\"} 250"));
    }
}
