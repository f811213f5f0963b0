use super::*;
use crate::learning::task::lines::Value;
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;

/// A base of one layer and width 24 under the names of the published one, with random weights.
fn base(folder: &Path) {
    let mut rng = StdRng::seed_from_u64(3);
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut put = |name: String, rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-0.2..0.2)).collect();
        tensors.insert(name, Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap());
    };
    for (name, rows) in [("word", 30_522), ("position", 512), ("token_type", 2)] {
        put(format!("embeddings.{name}_embeddings.weight"), rows, 24);
    }
    let layer = "encoder.layer.0";
    for name in
        ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    {
        put(format!("{layer}.{name}.weight"), 24, 24);
    }
    put(format!("{layer}.intermediate.dense.weight"), 48, 24);
    put(format!("{layer}.output.dense.weight"), 24, 48);
    let biases: Vec<(String, usize)> = tensors
        .iter()
        .filter(|(name, _)| name.starts_with(layer))
        .map(|(name, tensor)| (name.replace(".weight", ".bias"), tensor.dim(0).unwrap()))
        .collect();
    for (name, rows) in biases {
        tensors.insert(name, Tensor::zeros(rows, DType::F32, &Device::Cpu).unwrap());
    }
    for name in ["embeddings".to_owned(), format!("{layer}.attention.output"), format!("{layer}.output")] {
        let ones = Tensor::ones(24, DType::F32, &Device::Cpu).unwrap();
        tensors.insert(format!("{name}.LayerNorm.weight"), ones);
        let zeros = Tensor::zeros(24, DType::F32, &Device::Cpu).unwrap();
        tensors.insert(format!("{name}.LayerNorm.bias"), zeros);
    }
    std::fs::create_dir_all(folder).unwrap();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    std::fs::copy("models/default/tokenizer.json", folder.join("tokenizer.json")).unwrap();
}

/// Three folds: card, pin or both, on a day; the last repeats a line of the first.
fn lines(folder: &Path) {
    let days = ["monday", "tuesday", "friday", "may 3"];
    for fold in 0..3 {
        let rows: String = (0..16)
            .map(|n| {
                let (labels, what) = [("card", "card"), ("pin", "pin"), ("card,pin", "card and pin")][n % 3];
                format!("{labels}\tmy {what} came on [day|{}] {fold} {n}\n", days[(n + fold) % 4])
            })
            .collect();
        let again = if fold == 2 { "card\tMy card came on [day|Monday]! 0 0\n" } else { "" };
        std::fs::write(folder.join(format!("{fold}.tsv")), format!("labels\ttext\n{rows}{again}")).unwrap();
    }
    let task = "name = \"toy\"\nform = \"tsv\"\nfolds = [\"0.tsv\", \"1.tsv\", \"2.tsv\"]\nheld_out = [0, 1]\n\
                develop = [1]\n[recipe]\nbatch = 8\nrate = 3e-3\nhead_factor = 3\n";
    std::fs::write(folder.join("task.toml"), task).unwrap();
}

fn options(folder: &Path) -> Options {
    Options {
        task: folder.join("task.toml"),
        data: folder.to_owned(),
        own: folder.to_owned(),
        base: folder.join("base"),
        start: None,
        work: folder.join("work"),
        out: folder.join("out"),
        threads: 2,
        epochs: None,
        seed: None,
        steps: Some(120),
        folds: Vec::new(),
        develop: false,
    }
}

#[test]
fn a_toy_task_is_learned_measured_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    base(&folder.join("base"));
    lines(folder);
    let (mut notes, mut losses) = (Vec::new(), Vec::new());
    let mut tell = |progress| match progress {
        Progress::Note(note) => notes.push(note),
        Progress::Step { losses: now, .. } => losses.push(now.intent + now.spans),
        Progress::Measured { .. } => {}
    };
    let report = run(&options(folder), &mut tell).unwrap();
    assert_eq!((report.lines, report.intents, report.slots, report.folds.len()), (49, 2, 1, 2));
    assert!(losses[119] < losses[0] / 3.0, "{} {}", losses[0], losses[119]);
    assert!(report.all.intents.f1 > 0.9 && report.all.slots.f1 > 0.9, "{:?}", report.all);
    assert_eq!((report.all.messages, report.all.slots.n), (32, 32));
    assert_eq!(report.without_develop.as_ref().map(|figures| figures.messages), Some(16));
    assert!(notes.iter().any(|note| note.contains("32 lines, 1 dropped")), "{notes:?}");
    for name in ["report.json", "counts.jsonl", "tokenizer.json", "lexicon.json", "task.json"] {
        assert!(folder.join("out").join(name).exists(), "{name}");
    }
    let kept = std::fs::read(folder.join("out/weights.safetensors")).unwrap();
    assert_eq!(report.weights, Some(Digest::of(&kept)));

    // What was kept reads messages.
    let labels: Labels =
        serde_json::from_slice(&std::fs::read(folder.join("out/task.json")).unwrap()).unwrap();
    let weights = quantise::full(&quantise::unpack(&kept).unwrap()).unwrap();
    let tokens = Tokens::from_file(&folder.join("out/tokenizer.json"), REACH).unwrap();
    let text = "my pin came on may 3 2 1";
    let input = Input::new(text, tokens.read(text).unwrap(), &Lexicon::default());
    let found = Reader::new(&weights, &labels, 0.5).unwrap().read(&[&input]).unwrap().remove(0);
    assert_eq!(found.intents, BTreeSet::from(["pin".to_owned()]));
    assert_eq!(found.values, [Value { slot: "day".to_owned(), start: 15, end: 20 }]);

    // Held-out folds are taken from the work folder; a smaller run leaves the others out.
    let mut notes = Vec::new();
    let only = Options { folds: vec![1], ..options(folder) };
    let again = run(&only, &mut |progress| {
        if let Progress::Note(note) = progress {
            notes.push(note);
        }
    });
    let again = again.unwrap();
    assert!(notes.iter().any(|note| note.starts_with("taken from")), "{notes:?}");
    assert_eq!(again.folds[0].slots, report.folds[1].slots);
    assert_eq!(again.weights, report.weights, "the same lines and seed give the same weights");
}

#[test]
fn development_folds_are_measured_alone_and_leave_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    base(&folder.join("base"));
    lines(folder);
    let asked = Options { develop: true, steps: Some(1), ..options(folder) };
    let report = run(&asked, &mut |_| {}).unwrap();
    assert_eq!((report.folds.len(), report.all.messages, report.weights), (1, 16, None));
    assert!(!folder.join("out/weights.safetensors").exists());
    let outside = Options { folds: vec![3], ..options(folder) };
    let error = run(&outside, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("--folds names 3 of 3"), "{error}");
}

#[test]
fn a_swapped_value_keeps_its_marks() {
    let line = Line {
        text: "Am 3. für Öz!".to_owned(),
        intents: BTreeSet::new(),
        values: vec![
            Value { slot: "day".to_owned(), start: 3, end: 5 },
            Value { slot: "name".to_owned(), start: 10, end: 12 },
        ],
    };
    let pool = BTreeMap::from([("day", vec!["übermorgen".to_owned()])]);
    let got = swapped(&line, &pool, 1.0, &mut StdRng::seed_from_u64(1));
    assert_eq!(got.text, "Am übermorgen für Öz!");
    let places: Vec<(usize, usize)> = got.values.iter().map(|value| (value.start, value.end)).collect();
    assert_eq!(places, [(3, 13), (18, 20)]);
}
