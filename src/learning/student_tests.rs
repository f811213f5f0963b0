//! Against PyTorch, where the published model and Banking77 are there; and that everything learns.

use super::*;
use crate::learning::datasets::banking77::csv;
use crate::learning::datasets::{Line, Piece, Source, Split, Target, Tone};
use crate::learning::tasks::{Example, Tasks};
use crate::learning::train;
use crate::understanding::dag::{Leaf, Parent, Titles};
use crate::understanding::encoder::Encoder;
use crate::understanding::heads::intent;
use crate::understanding::model::Input;
use crate::understanding::model::unit;
use crate::understanding::tokens::Tokens;
use crate::understanding::{Dag, Extraction, Lexicon};
use std::sync::Arc;

/// First numbers of the mean-pooled, unit-length vectors that PyTorch 2.15 gives for the published weights.
const VECTORS: [(&str, [f32; 6]); 4] = [
    ("I am still waiting on my card?", [-0.035352, -0.042137, -0.002757, 0.031937, 0.02319, -0.018297]),
    (
        "Wir kommen nicht mehr in unser Konto rein.",
        [-0.140156, 0.075137, 0.071224, 0.009315, -0.0172, -0.037946],
    ),
    (
        "What can I do if my card still hasn't arrived after 2 weeks?",
        [0.022594, -0.013531, 0.024265, 0.043371, 0.020271, -0.049829],
    ),
    ("Überweisung nach Österreich, 49,99 €!", [-0.018657, 0.088952, 0.042141, 0.012298, 0.0004, 0.029204]),
];

/// Losses of the first steps in PyTorch 2.15: batch k takes the train lines (32 k + i) * 331 modulo 10,003, a
/// zero head over the 77 labels, label smoothing 0.05, AdamW at 1e-4 and 1e-3 without decay, no dropout.
const LOSSES: [f64; 4] = [4.343804, 4.320363, 4.353574, 4.339273];

fn base() -> Option<&'static Path> {
    let base = Path::new("models/base");
    let there = base.join("model.safetensors").exists();
    if !there {
        eprintln!("skipped: models/base/model.safetensors is not there; run `make base-model`");
    }
    there.then_some(base)
}

fn line(text: &str, leaf: usize, leaves: usize) -> Line {
    Line {
        source: Source::Banking77,
        split: Split::Train,
        language: crate::base::Language::En,
        pieces: vec![Piece { text: text.to_owned(), field: None }],
        target: Some(Target { leaf, parent: None, against: Arc::new(vec![true; leaves]) }),
        concerns: Vec::new(),
        tone: None,
        groups: vec![],
        meaning: None,
    }
}

/// A graph with one parent, whose leaves are then a plain choice.
fn flat(labels: &[String]) -> Dag {
    let leaf = |id: &String| Leaf { id: id.clone(), titles: Titles::default(), definition: String::new() };
    Dag {
        parents: vec![Parent { id: "all".to_owned(), titles: Titles::default() }],
        leaves: labels.iter().map(leaf).collect(),
        edges: (0..labels.len()).map(|leaf| (0, leaf)).collect(),
    }
}

const QUIET: Balance = Balance {
    smoothing: 0.05,
    parent: 0.0,
    spans: 0.0,
    tone: 0.0,
    retrieval: 0.0,
    segments: 0.0,
    teachers: 0.0,
};

#[test]
fn vectors_equal_those_of_pytorch() {
    let Some(base) = base() else { return };
    let encoder = MiniLm::new(&base_weights(&base.join("model.safetensors")).unwrap()).unwrap();
    let tokens = Tokens::from_file(&base.join("tokenizer.json"), encoder.reach()).unwrap();
    let read: Vec<_> = VECTORS.iter().map(|(text, _)| tokens.read(text).unwrap()).collect();
    let batch = Packed::new(read.iter().map(|tokens| tokens.ids.as_slice()));
    let hidden = encoder.vectors(&batch).unwrap();
    let pooled: Vec<Vec<f32>> = ops::means(&hidden, batch.sequences()).unwrap().to_vec2().unwrap();
    for ((text, want), vector) in VECTORS.iter().zip(pooled) {
        for (got, want) in unit(vector).iter().zip(want) {
            assert!((got - want).abs() < 2e-5, "{text}: {got} {want}");
        }
    }
}

#[test]
fn the_first_losses_equal_those_of_pytorch() {
    let Some(base) = base() else { return };
    let Some(data) = std::env::var_os("PROKURA_DATA") else {
        eprintln!("skipped: PROKURA_DATA is not set, so there is no banking77/train.csv");
        return;
    };
    let text = std::fs::read_to_string(Path::new(&data).join("banking77/train.csv")).unwrap();
    let rows: Vec<Vec<String>> = csv(&text).into_iter().skip(1).map(|(_, row)| row).collect();
    let mut labels: Vec<String> = rows.iter().map(|row| row[1].clone()).collect();
    labels.sort();
    labels.dedup();
    let dag = flat(&labels);
    let extraction = Extraction { groups: vec![] };
    let tasks = Tasks::of(&dag, &extraction);
    let mut student =
        Student::new(base_weights(&base.join("model.safetensors")).unwrap(), &tasks, 1).unwrap();
    for (name, (variable, _)) in &student.variables {
        if name.starts_with(intent::NAME) {
            variable.set(&variable.zeros_like().unwrap()).unwrap();
        }
    }
    let tokens = Tokens::from_file(&base.join("tokenizer.json"), 512).unwrap();
    let course = Course {
        balance: QUIET,
        head_factor: 10.0,
        clip: f64::INFINITY,
        dropout: Dropout::default(),
        eight_bit: false,
    };
    for (number, want) in LOSSES.iter().enumerate() {
        let chosen = (0..32).map(|i| &rows[(number * 32 + i) * 331 % rows.len()]);
        let lines: Vec<Line> =
            chosen.map(|row| line(&row[0], labels.binary_search(&row[1]).unwrap(), labels.len())).collect();
        let examples: Vec<Example> = lines
            .iter()
            .map(|line| {
                let text = line.text();
                Example::of(line, Input::new(&text, tokens.read(&text).unwrap(), &Lexicon::default()))
            })
            .collect();
        let step = Step { number: number as i32 + 1, rate: 1e-4, decay: 0.0, scale: 1.0 };
        let losses = student.learn(&examples, &tasks, &course, step, 1, &mut BTreeSet::new()).unwrap();
        assert!((losses.intent - want).abs() < 2e-4, "step {number}: {} {want}", losses.intent);
    }
}

#[test]
fn every_variable_receives_a_gradient() {
    let Some(base) = base() else { return };
    let (dag, extraction) = train::pack(Path::new("config")).unwrap();
    let tasks = Tasks::of(&dag, &extraction);
    let mut student =
        Student::new(base_weights(&base.join("model.safetensors")).unwrap(), &tasks, 1).unwrap();
    let tokens = Tokens::from_file(&base.join("tokenizer.json"), 512).unwrap();
    let text = "Hallo, ich bin Max aus Ulm";
    let mut line = line(text, 3, dag.leaves.len());
    line.tone = Some(Tone { urgency: 1, sentiment: 2, wants_human: true });
    let input = Input::new(text, tokens.read(text).unwrap(), &Lexicon::default());
    let labels = extraction.groups.iter().map(|_| Some(vec![1; input.tokens.words.len()])).collect();
    let meaning = unit(vec![1.0; 384]);
    let boundaries = vec![Some(true); input.tokens.words.len()];
    let example = Example { labels, boundaries, meaning: Some(&meaning), ..Example::of(&line, input) };
    let balance = Balance { spans: 1.0, tone: 1.0, retrieval: 1.0, segments: 1.0, ..QUIET };
    let course =
        Course { balance, head_factor: 10.0, clip: 1.0, dropout: Dropout::default(), eight_bit: true };
    let mut untouched = student.names();
    let step = Step { number: 1, rate: 1e-4, decay: 0.0, scale: 1.0 };
    let before = student.words.clone();
    student.learn(&[example], &tasks, &course, step, 2, &mut untouched).unwrap();
    assert!(untouched.is_empty(), "no gradient reaches {untouched:?}");
    let moved = before.iter().zip(&student.words).filter(|(a, b)| a != b).count();
    assert!(moved > 0 && moved < 20 * 384, "only rows of the text move: {moved} values did");
}
