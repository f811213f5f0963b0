use super::*;

/// A tiny folder of own lines.
fn own(folder: &Path) {
    std::fs::create_dir_all(folder.join("utterances")).unwrap();
    let head = "id\tlang\ttone\ttext\n";
    let rows: String = (0..30)
        .map(|n| {
            format!(
                "balance.{n}\tde\tn0\tStand {n} für [last_name|Huber]\nbalance.{n}\ten\tl+\tbalance {n}\n"
            )
        })
        .collect();
    std::fs::write(folder.join("utterances/a.tsv"), format!("{head}{rows}")).unwrap();
    std::fs::write(folder.join("extraction.tsv"), head).unwrap();
    std::fs::copy("models/data/labels.toml", folder.join("labels.toml")).unwrap();
}

#[test]
fn a_run_that_was_killed_ends_with_the_same_weights() {
    if !Path::new("models/base/model.safetensors").exists() {
        eprintln!("skipped: models/base/model.safetensors is not there; run `make base-model`");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    own(folder.path());
    let recipe = Recipe { steps: 4, batch: 3, sources: vec![Source::Own], ..Recipe::default() };
    let options = Options {
        data: None,
        own: folder.path().to_owned(),
        base: PathBuf::from("models/base"),
        config: PathBuf::from("config"),
        work: folder.path().join("work"),
        save_every: 2,
        threads: 2,
        start: None,
        german: German { pieces: 40, steps: 2, pairs: 2, ..German::default() },
        teachers: 0,
        merged: true,
        teacher: Recipe::teacher(),
        recipe,
    };
    let mut notes = Vec::new();
    let mut run = || {
        let mut tell = |progress| {
            if let Progress::Note(note) = progress {
                notes.push(note);
            }
        };
        super::run(&options, &mut tell).unwrap().weights
    };
    // The second run finds what the first would have left behind had it been killed in step 3.
    let whole = run();
    let files = std::fs::read_dir(folder.path().join("work")).unwrap().map(|entry| entry.unwrap().path());
    let finished = files.filter(|path| path.to_string_lossy().contains("trained-"));
    assert_eq!(finished.map(|path| std::fs::remove_file(path).unwrap()).count(), 1);
    let resumed = run();
    for (name, tensor) in &whole {
        let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values(tensor) == values(&resumed[name]), "{name} differs");
    }
    assert!(notes.iter().any(|note| note.contains("going on after step 2")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("skipped banking77")), "{notes:?}");
}
