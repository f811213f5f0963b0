//! The program. Commands of the models only, until the faces stand.

use prokura::learning::train::{self, Options, Progress, Recipe};
use std::path::PathBuf;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value =
        |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let path = |name: &str, default: &str| PathBuf::from(value(name).unwrap_or_else(|| default.to_owned()));
    match arguments.first().map(String::as_str) {
        Some("train") => {
            let mut recipe = Recipe::default();
            if let Some(n) = value("--steps").and_then(|n| n.parse().ok()) {
                recipe.steps = n;
            }
            if let Some(n) = value("--epochs").and_then(|n| n.parse().ok()) {
                recipe.epochs = n;
            }
            if let Some(only) = value("--only") {
                recipe.sources.retain(|source| only.split(',').any(|name| name == source.name()));
            }
            let options = Options {
                data: std::env::var_os("PROKURA_DATA").map(PathBuf::from),
                own: path("--own", "models/data"),
                base: path("--base", "models/base"),
                config: path("--config", "config"),
                work: path("--work", ".state/train"),
                recipe,
            };
            let started = std::time::Instant::now();
            let mut sum = (0.0, 0.0, 0.0, 0.0, 0);
            let outcome = train::run(&options, &mut |progress| match progress {
                Progress::Note(note) => eprintln!("{note}"),
                Progress::Step { number, of, losses } => {
                    sum = (
                        sum.0 + losses.intent,
                        sum.1 + losses.spans,
                        sum.2 + losses.tone,
                        sum.3 + losses.retrieval,
                        sum.4 + 1,
                    );
                    if number <= 5 || number % 25 == 0 {
                        let n = f64::from(sum.4);
                        eprintln!(
                            "step {number}/{of} intent {:.4} spans {:.4} tone {:.4} retrieval {:.4} {:.0} s",
                            sum.0 / n,
                            sum.1 / n,
                            sum.2 / n,
                            sum.3 / n,
                            started.elapsed().as_secs_f64()
                        );
                        sum = (0.0, 0.0, 0.0, 0.0, 0);
                    }
                }
                Progress::Measured { step, figures } => {
                    eprintln!("step {step} dev {}", serde_json::to_string(&figures).unwrap_or_default());
                }
            });
            match outcome {
                Ok(_) => std::process::ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    std::process::ExitCode::from(2)
                }
            }
        }
        _ => std::process::ExitCode::from(2),
    }
}
