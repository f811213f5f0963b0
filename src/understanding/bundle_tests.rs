//! Damage of every kind, on copies of the shipped bundle.

use super::*;
use crate::understanding::{Schema, Understanding};
use candle_core::{Device, Tensor};

fn schema() -> Schema {
    Schema::read(Path::new("config")).unwrap()
}

/// The shipped bundle's files, changed, with a manifest that fits them.
fn sealed(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
    let (_, mut files) = verified(Path::new("models/default")).unwrap();
    change(&mut files);
    save(folder, files).unwrap();
}

fn refusal(folder: &Path) -> String {
    match Understanding::load(folder, &schema()).and_then(|loaded| loaded.warm(folder).map(|()| loaded)) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// The shipped weights, changed.
fn weights(change: impl FnOnce(&mut Weights)) -> Vec<u8> {
    let mut weights = quantise::full(&open(Path::new("models/default")).unwrap().weights).unwrap();
    change(&mut weights);
    quantise::pack(&weights).unwrap()
}

#[test]
fn whole_bundles_with_wrong_contents_are_refused_and_say_what_is_wrong() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    sealed(&at("whole"), |_| {});
    assert_eq!(refusal(&at("whole")), "");
    let put = |name: &'static str, bytes: Vec<u8>| {
        move |files: &mut BTreeMap<String, Vec<u8>>| drop(files.insert(name.to_owned(), bytes))
    };
    let headless = weights(|weights| drop(weights.remove("tone.weight")));
    sealed(&at("headless"), put("weights.safetensors", headless));
    let said = refusal(&at("headless"));
    assert!(said.contains("tone.weight") && said.contains("prokura train"), "{said}");
    let broken = weights(|weights| {
        let bias = weights.get("intent.bias").unwrap().dim(0).unwrap();
        let mut values = vec![0.0_f32; bias];
        values[3] = f32::NAN;
        weights.insert("intent.bias".to_owned(), Tensor::from_vec(values, bias, &Device::Cpu).unwrap());
    });
    sealed(&at("broken"), put("weights.safetensors", broken));
    let said = refusal(&at("broken"));
    assert!(said.contains("intent.bias") && said.contains("no number"), "{said}");
    sealed(&at("strange"), |files| {
        let heads = String::from_utf8(files["heads.json"].clone()).unwrap();
        files.insert("heads.json".to_owned(), heads.replacen("balance", "unknown_leaf", 1).into_bytes());
    });
    assert!(refusal(&at("strange")).contains("balance"), "{}", refusal(&at("strange")));
    // A header that claims a hundred megabytes, and one that is garbage.
    for (name, header) in [("long", 100_000_000_u64), ("garbage", 16)] {
        let mut bytes = header.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[b'{'; 64]);
        sealed(&at(name), put("weights.safetensors", bytes));
        assert!(refusal(&at(name)).contains("weights.safetensors"), "{}", refusal(&at(name)));
    }
    for file in ["calibration.json", "heads.json", "lexicon.json", "tokenizer.json"] {
        sealed(&at("empty"), put(file, b"{}".to_vec()));
        assert!(refusal(&at("empty")).contains(file), "{file}: {}", refusal(&at("empty")));
    }
    // What no training writes, though every digest fits.
    for (file, from, to, said) in [
        (
            "heads.json",
            "\"reach\": 512",
            "\"reach\": 100000",
            "`reach` is 100000; the weights have 512 positions",
        ),
        ("heads.json", "\"reach\": 512", "\"reach\": 1", "`reach` is 1;"),
        (
            "tokenizer.json",
            "\"knight\":5000",
            "\"knight\":10000000",
            "it knows 10000001 pieces, the weights 30522",
        ),
        ("calibration.json", "\"all\": ", "\"all\": 9999", "a temperature is 9999"),
    ] {
        sealed(&at("forged"), |files| {
            let text = String::from_utf8(files[file].clone()).unwrap();
            assert!(text.contains(from), "{file} has no {from}");
            files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
        });
        let refused = refusal(&at("forged"));
        assert!(refused.contains(file) && refused.contains(said), "{refused}");
    }
    // A device gives bytes without end.
    std::fs::remove_file(at("forged/card.md")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("forged/card.md")).unwrap();
    assert!(refusal(&at("forged")).contains("card.md: it is no plain file"), "{}", refusal(&at("forged")));
    std::fs::copy(at("empty").join(MANIFEST), at("whole").join(MANIFEST)).unwrap();
    let said = refusal(&at("whole"));
    assert!(said.contains("its digest is not the one in manifest.json"), "{said}");
}

#[test]
fn a_bundle_that_is_too_large_leaves_what_stood_there() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("bundle");
    sealed(&folder, |_| {});
    let before = verified_digest(&folder).unwrap();
    let opened = open(&folder).unwrap();
    let contents = Contents {
        weights: &quantise::full(&opened.weights).unwrap(),
        tokenizer: &opened.tokenizer,
        heads: &opened.heads,
        calibration: &opened.calibration,
        lexicon: &opened.lexicon,
        card: &"x".repeat(MOST_SHIPPED as usize),
    };
    let error = write(&folder, &contents, MOST_SHIPPED).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
    assert_eq!(verified_digest(&folder).unwrap(), before);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    assert_eq!(copy(&folder, &parent.path().join("copy")).unwrap(), before);
    assert_eq!(verified_digest(&parent.path().join("copy")).unwrap(), before);
}
