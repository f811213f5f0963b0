//! The program. Commands of the models only, until the faces stand.

use prokura::base::Language;
use prokura::learning::train::{self, Options, Progress, Recipe};
use prokura::learning::{evaluate, finish};
use prokura::understanding::{Schema, Understanding};
use std::path::PathBuf;
use std::process::ExitCode;

struct Arguments(Vec<String>);

impl Arguments {
    fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|a| a == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn path(&self, name: &str, default: &str) -> PathBuf {
        PathBuf::from(self.value(name).unwrap_or(default))
    }

    fn options(&self) -> Options {
        let start = self.value("--start").map(PathBuf::from);
        let mut recipe = if start.is_some() { Recipe::second() } else { Recipe::default() };
        if let Some(n) = self.value("--steps").and_then(|n| n.parse().ok()) {
            recipe.steps = n;
        }
        if let Some(n) = self.value("--epochs").and_then(|n| n.parse().ok()) {
            recipe.epochs = n;
        }
        if let Some(only) = self.value("--only") {
            recipe.sources.retain(|source| only.split(',').any(|name| name == source.name()));
        }
        Options {
            data: std::env::var_os("PROKURA_DATA").map(PathBuf::from),
            own: self.path("--own", "models/data"),
            base: self.path("--base", "models/base"),
            config: self.path("--config", "config"),
            work: self.path("--work", ".state/train"),
            save_every: 500,
            start,
            recipe,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments(std::env::args().skip(1).collect());
    let outcome = match arguments.0.first().map(String::as_str) {
        Some("train") => train(&arguments),
        Some("bundle") => bundle(&arguments),
        Some("evaluate") => evaluate(&arguments),
        Some("understand") => understand(&arguments),
        _ => Err("commands: train, bundle, evaluate, understand".into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn train(arguments: &Arguments) -> Outcome {
    let options = arguments.options();
    let started = std::time::Instant::now();
    let mut sum = [0.0; 4];
    let mut count = 0;
    let mut tell = |progress: Progress| match progress {
        Progress::Note(note) => eprintln!("{note}"),
        Progress::Step { number, of, losses } => {
            let parts = [losses.intent, losses.spans, losses.tone, losses.retrieval];
            sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            count += 1;
            if number <= 5 || number % 25 == 0 {
                let mean = sum.map(|sum| format!("{:.4}", sum / f64::from(count))).join(" ");
                eprintln!("step {number}/{of} losses {mean} {:.0} s", started.elapsed().as_secs_f64());
                (sum, count) = ([0.0; 4], 0);
            }
        }
        Progress::Measured { step, figures } => {
            eprintln!("step {step} dev {}", serde_json::to_string(&figures).unwrap_or_default());
        }
    };
    let trained = train::run(&options, &mut tell)?;
    finish::run(&options, &trained.weights, &arguments.path("--out", "models/default"), &mut tell)?;
    Ok(ExitCode::SUCCESS)
}

fn bundle(arguments: &Arguments) -> Outcome {
    let options = arguments.options();
    let weights = finish::trained(&options.work)?;
    let out = arguments.path("--out", "models/default");
    let finished = finish::run(&options, &weights, &out, &mut |progress| {
        if let Progress::Note(note) = progress {
            eprintln!("{note}");
        }
    })?;
    eprintln!("{} {} bytes", finished.digest, finished.bytes);
    Ok(ExitCode::SUCCESS)
}

fn evaluate(arguments: &Arguments) -> Outcome {
    let options = evaluate::Options {
        bundle: arguments.path("--bundle", "models/default"),
        data: std::env::var_os("PROKURA_DATA").map(PathBuf::from),
        own: arguments.path("--own", "models/data"),
        config: arguments.path("--config", "config"),
    };
    let evaluation = evaluate::run(&options, &mut |note| eprintln!("{note}"))?;
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    let below = evaluation.below_bar();
    below.iter().for_each(|line| eprintln!("below the bar: {line}"));
    Ok(if below.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn understand(arguments: &Arguments) -> Outcome {
    let schema = Schema::read(&arguments.path("--config", "config"))?;
    let understanding = Understanding::load(&arguments.path("--bundle", "models/default"), &schema)?;
    let text = arguments.0.get(1).ok_or("name a text")?;
    let language = arguments.value("--language").and_then(Language::parse).unwrap_or(Language::De);
    let started = std::time::Instant::now();
    let reading = understanding.read("m1", text, language, &[])?;
    eprintln!("{:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
    println!("{}", serde_json::to_string_pretty(&reading)?);
    Ok(ExitCode::SUCCESS)
}
