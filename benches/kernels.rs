//! What each kernel of this machine takes for a text, a head and GELU: `cargo bench --bench kernels`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use divan::Bencher;
use prokura::understanding::bundle;
use prokura::understanding::encoder::{Dense, Encoder, Int8, Kernel, Packed, Top};
use std::path::Path;

fn main() {
    divan::main();
}

fn here() -> Vec<&'static str> {
    Kernel::here().into_iter().map(Kernel::as_str).collect()
}

/// The encoder of the shipped bundle on texts of 15 and 128 pieces.
#[divan::bench(args = here(), consts = [15, 128])]
fn text<const PIECES: usize>(bencher: Bencher, kernel: &str) {
    let mut stored = bundle::open(Path::new("models/default")).unwrap().weights;
    let encoder = Int8::new(&mut stored, Kernel::named(kernel).unwrap()).unwrap();
    let ids: Vec<u32> = (0..PIECES as u32).map(|at| 2_000 + at).collect();
    let batch = Packed::new([ids.as_slice()]);
    bencher
        .counter(divan::counter::ItemsCount::new(PIECES))
        .bench(|| encoder.encode(&batch, Top::Reading).unwrap());
}

/// A head of 160 outputs over 20 words.
#[divan::bench(args = here())]
fn dense(bencher: Bencher, kernel: &str) {
    let kernel = Kernel::named(kernel).unwrap();
    let weights: Vec<f32> = (0..160 * 384).map(|at| (at % 97) as f32 / 97.0).collect();
    let head = Dense::new(&weights, 384, vec![0.0; 160]).unwrap();
    let words = vec![0.5; 20 * 384];
    bencher.bench(|| kernel.dense(&words, 384, &head));
}

#[divan::bench(args = here())]
fn gelu(bencher: Bencher, kernel: &str) {
    let kernel = Kernel::named(kernel).unwrap();
    bencher.with_inputs(|| vec![0.7; 15 * 1536]).bench_local_values(|mut x| {
        kernel.gelu(&mut x);
        x
    });
}
