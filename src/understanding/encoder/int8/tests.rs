//! Every kernel that this machine has, against the portable one, against floats, and in every company.

use super::*;
use crate::understanding::bundle;
use crate::understanding::encoder::MiniLm;
use crate::understanding::quantise;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::path::Path;

const TEXTS: [&str; 8] = [
    "Karte weg",
    "Wie hoch ist mein Kontostand?",
    "My card was stolen at the station, please block it before somebody pays with it!",
    "Ich heiße Angelika Müller-Lüdenscheidt, meine Kontonummer ist ABCO1234, und ich komme nicht mehr hinein.",
    "Hi",
    "Warum wurde mir im Ausland eine Gebühr von 3,50 EUR berechnet, obwohl die Karte kostenlos sein soll?",
    "transfer still pending since tuesday",
    "",
];

fn shipped() -> (Stored, Vec<Vec<u32>>) {
    let opened = bundle::open(Path::new("models/default")).unwrap();
    let tokens = crate::understanding::tokens::Tokens::from_bytes(&opened.tokenizer, 512).unwrap();
    (opened.weights, TEXTS.iter().map(|text| tokens.read(text).unwrap().ids).collect())
}

fn with(stored: &Stored, kernel: Kernel) -> Int8 {
    Int8::new(&mut stored.clone(), kernel).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The vectors of each sequence of a batch.
fn encoded(encoder: &Int8, sequences: &[&[u32]]) -> Vec<Vec<u32>> {
    let batch = Packed::new(sequences.iter().copied());
    let all = encoder.encode(&batch, Top::Reading).unwrap();
    let width = encoder.width();
    batch.sequences().into_iter().map(|s| bits(&all[s.start * width..s.end * width])).collect()
}

#[test]
fn a_texts_vectors_are_the_same_bits_in_any_company_and_from_any_kernel() {
    let (stored, texts) = shipped();
    let reference = with(&stored, Kernel::named("portable").unwrap());
    let alone: Vec<Vec<u32>> = texts.iter().map(|ids| encoded(&reference, &[ids]).remove(0)).collect();
    for kernel in Kernel::here() {
        let encoder = with(&stored, kernel);
        let mut rng = StdRng::seed_from_u64(7);
        for size in [1, 7, 32] {
            let mut order: Vec<usize> = (0..size).map(|n| n % texts.len()).collect();
            order.shuffle(&mut rng);
            if kernel == reference.kernel() && size > 7 {
                continue;
            }
            let batch: Vec<&[u32]> = order.iter().map(|at| texts[*at].as_slice()).collect();
            for (at, vectors) in order.iter().zip(encoded(&encoder, &batch)) {
                assert!(vectors == alone[*at], "{} among {size}: {:?}", kernel.as_str(), TEXTS[*at]);
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let (stored, texts) = shipped();
    let encoder = with(&stored, Kernel::best());
    let alone: Vec<Vec<u32>> = texts.iter().map(|ids| encoded(&encoder, &[ids]).remove(0)).collect();
    std::thread::scope(|scope| {
        for from in 0..4 {
            let (encoder, texts, alone) = (&encoder, &texts, &alone);
            scope.spawn(move || {
                for n in 0..texts.len() {
                    let at = (from + n) % texts.len();
                    assert!(encoded(encoder, &[&texts[at]])[0] == alone[at]);
                }
            });
        }
    });
}

#[test]
fn eight_bits_stay_close_to_floats() {
    let (stored, texts) = shipped();
    let encoder = with(&stored, Kernel::best());
    let floats = MiniLm::new(&encoder.full().unwrap()).unwrap();
    let full = quantise::full(&stored).unwrap();
    for (name, tensor) in encoder.full().unwrap() {
        let (a, b) = (tensor.flatten_all().unwrap(), full[&name].flatten_all().unwrap());
        assert_eq!(a.to_vec1::<f32>().unwrap(), b.to_vec1::<f32>().unwrap(), "{name}");
    }
    for (ids, text) in texts.iter().zip(TEXTS) {
        let batch = Packed::new([ids.as_slice()]);
        let mean = |vectors: Vec<f32>| {
            crate::understanding::encoder::kernels::means(&vectors, 384, &batch.sequences())
        };
        let (a, b) = (
            mean(encoder.encode(&batch, Top::Reading).unwrap()),
            mean(floats.encode(&batch, Top::Reading).unwrap()),
        );
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        assert!(cosine > 0.99, "{cosine} {text:?}");
    }
}

/// Weights of a trunk of one layer, drawn.
fn drawn(rng: &mut StdRng, width: usize, inner: usize) -> Stored {
    let mut stored = Stored::default();
    let mut rows = |name: &str, count: usize, columns: usize| {
        let bytes = (0..count * columns).map(|_| rng.random_range(-127..=127)).collect();
        let scales = (0..count).map(|_| rng.random_range(0.0005..0.003)).collect();
        stored.matrices.insert(name.to_owned(), Rows { bytes, scales, columns });
    };
    rows("encoder.words", 50, width);
    rows("encoder.positions", 40, width);
    rows("encoder.types", 2, width);
    for (name, outer, from) in
        [("qkv", 3 * width, width), ("out", width, width), ("up", inner, width), ("down", width, inner)]
    {
        rows(&format!("encoder.0.{name}.weight"), outer, from);
    }
    let mut vector = |name: &str, size: usize, around: f32| {
        let values = (0..size).map(|_| around + rng.random_range(-0.3..0.3)).collect();
        stored.vectors.insert(name.to_owned(), values);
    };
    for (name, size) in [("qkv", 3 * width), ("out", width), ("up", inner), ("down", width)] {
        vector(&format!("encoder.0.{name}.bias"), size, 0.0);
    }
    for name in ["encoder.norm", "encoder.0.attention_norm", "encoder.0.norm"] {
        vector(&format!("{name}.weight"), width, 1.0);
        vector(&format!("{name}.bias"), width, 0.0);
    }
    stored
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_agree_on_any_shape(
        seed in any::<u64>(), heads in 1_usize..4, inner in 1_usize..5, lengths in prop::collection::vec(0_usize..40, 1..6)
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let stored = drawn(&mut rng, heads * HEAD, inner * HEAD);
        let sequences: Vec<Vec<u32>> =
            lengths.iter().map(|n| (0..*n).map(|_| rng.random_range(0..50)).collect()).collect();
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let reference = encoded(&with(&stored, Kernel::named("portable").unwrap()), &sequences);
        for kernel in Kernel::here() {
            prop_assert!(encoded(&with(&stored, kernel), &sequences) == reference, "{}", kernel.as_str());
        }
    }

    #[test]
    fn dense_layers_are_what_they_are_defined_as(
        seed in any::<u64>(), rows in 0_usize..6, inner in 1_usize..70, outer in 1_usize..140, more in 0_usize..3
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut some = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (stride, values, bias) = (inner + more, some(inner * outer), some(outer));
        let x = some(rows * stride);
        let dense = Dense::new(&values, inner, bias.clone()).unwrap();
        let all: Vec<Vec<f32>> = Kernel::here().iter().map(|kernel| kernel.dense(&x, stride, &dense)).collect();
        for out in &all {
            prop_assert_eq!(bits(out), bits(&all[0]));
            prop_assert_eq!(out.len(), rows * outer);
            for (at, y) in out.iter().enumerate() {
                let (row, column) = (at / outer, at % outer);
                let products = (0..inner).map(|k| x[row * stride + k] * values[column * inner + k]);
                let want = bias[column] + products.sum::<f32>();
                prop_assert!((y - want).abs() < 1e-4, "{} {}", y, want);
            }
        }
    }
}

#[test]
fn gelu_is_close_to_its_definition_and_the_same_from_every_kernel() {
    let x: Vec<f32> = (-8000..8003).map(|n| n as f32 * 0.001).collect();
    let results = Kernel::here().into_iter().map(|kernel| {
        let mut y = x.clone();
        kernel.gelu(&mut y);
        y
    });
    let results: Vec<Vec<f32>> = results.collect();
    for y in &results {
        assert_eq!(bits(y), bits(&results[0]));
        for (x, y) in x.iter().zip(y) {
            let want =
                0.5 * f64::from(*x) * (1.0 + libm::erf(f64::from(*x) * std::f64::consts::FRAC_1_SQRT_2));
            assert!((f64::from(*y) - want).abs() < 3e-6, "{x}: {y} {want}");
        }
    }
}

#[test]
fn weights_that_do_not_fit_and_pieces_that_are_not_there_are_refused() {
    let stored = drawn(&mut StdRng::seed_from_u64(1), HEAD, 2 * HEAD);
    let refused = |change: &dyn Fn(&mut Stored)| {
        let mut stored = stored.clone();
        change(&mut stored);
        Int8::new(&mut stored, Kernel::best()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(&|_| {}), "");
    assert!(refused(&|s| drop(s.matrices.remove("encoder.0.up.weight"))).contains("encoder.0.up.weight"));
    assert!(refused(&|s| drop(s.vectors.remove("encoder.0.norm.bias"))).contains("encoder.0.norm.bias"));
    assert!(refused(&|s| s.vectors.get_mut("encoder.0.qkv.bias").unwrap().truncate(3)).contains("3 biases"));
    assert!(
        refused(&|s| s.matrices.retain(|name, _| !name.contains(".0."))).contains("encoder.0.qkv.weight")
    );
    let encoder = with(&stored, Kernel::best());
    assert!(encoder.encode(&Packed::new([[50].as_slice()]), Top::Reading).is_err());
    assert!(encoder.encode(&Packed::new([[1; 41].as_slice()]), Top::Reading).is_err());
    assert_eq!(encoder.encode(&Packed::new(std::iter::empty()), Top::Reading).unwrap().len(), 0);
    assert!(Kernel::named("abacus").is_none() && Kernel::here().contains(&Kernel::best()));
}

/// What `int8.1` means, to the bit: where this fails, the arithmetic has changed, and takes the next number.
#[test]
fn the_arithmetic_is_the_one_that_records_name() {
    assert_eq!(ARITHMETIC, "int8.1");
    let mut state = 7_u64;
    // Knuth's MMIX generator: nothing that another version of a library draws otherwise.
    let mut next = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let (width, inner, mut stored) = (2 * HEAD, 4 * HEAD, Stored::default());
    for (name, count, columns) in [
        ("encoder.words", 50, width),
        ("encoder.positions", 40, width),
        ("encoder.types", 2, width),
        ("encoder.0.qkv.weight", 3 * width, width),
        ("encoder.0.out.weight", width, width),
        ("encoder.0.up.weight", inner, width),
        ("encoder.0.down.weight", width, inner),
    ] {
        let bytes = (0..count * columns).map(|_| next(255) as i8).map(|byte| byte.max(-127)).collect();
        let scales = (0..count).map(|_| (1 + next(64)) as f32 / 16_384.0).collect();
        stored.matrices.insert(name.to_owned(), Rows { bytes, scales, columns });
    }
    for (name, count) in
        [("encoder.norm", width), ("encoder.0.attention_norm", width), ("encoder.0.norm", width)]
    {
        for part in ["weight", "bias"] {
            let values = (0..count).map(|_| next(256) as f32 / 128.0 - 0.5).collect();
            stored.vectors.insert(format!("{name}.{part}"), values);
        }
    }
    for (name, count) in [("qkv", 3 * width), ("out", width), ("up", inner), ("down", width)] {
        let values = (0..count).map(|_| next(256) as f32 / 256.0 - 0.5).collect();
        stored.vectors.insert(format!("encoder.0.{name}.bias"), values);
    }
    let texts: [&[u32]; 3] = [&[1, 2, 3], &[4; 17], &[9, 8, 7, 6, 5, 4, 3]];
    let wide: Vec<f32> = (-600..600).map(|n| n as f32 / 64.0).collect();
    for kernel in Kernel::here() {
        let mut out = with(&stored, kernel).encode(&Packed::new(texts), Top::Reading).unwrap();
        let mut gelu = wide.clone();
        kernel.gelu(&mut gelu);
        out.extend(gelu);
        let head = Dense::new(&wide[..384], 48, vec![0.25; 8]).unwrap();
        out.extend(kernel.dense(&wide[400..880], 48, &head));
        let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        assert_eq!(crate::base::Digest::of(&bytes).to_string(), MEANING, "{}", kernel.as_str());
    }
}

const MEANING: &str = "sha256:47d5b2202886cdb9eec1fc0a35932c5c308f69f3f8aefab67ab56ce5d58ff685";
