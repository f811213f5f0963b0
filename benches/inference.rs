//! Our encoder as one of the engines of `make bench-inference`: takes texts, then orders on standard input, a line
//! each, and answers each with one line of JSON.
//!
//!     cargo bench --bench inference -- encoder MODEL.safetensors IDS.jsonl [WHERE]
//!     cargo bench --bench inference -- reading BUNDLE CONFIG TEXTS.jsonl [WHERE]
//!
//! WHERE: a kernel of the CPU, `cuda:0` (it ends where that is not there), or `bf16`, the operations of a GPU on the CPU.
//!
//! `one`: every text alone. `batch N`: N at a time, as they come. `sorted N`: the same, sorted by length. `threads N`:
//! batches of 32 by N threads. `vectors`: the mean vector of every text, of length 1. `peak`: what the core can do.
//! With a bundle, `reading`: whole readings, each alone; `encoder`: the encoder alone on the same pieces; `leaves`: the
//! likeliest leaf of every text, and its probability.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use candle_core::{DType, Device};
use prokura::base::Language;
use prokura::intake::{BankCodes, recognise_with};
use prokura::learning::student::base_weights;
use prokura::understanding::encoder::{Candle, Encoder, Int8, Kernel, Packed, Top};
use prokura::understanding::{Compute, Known, Schema, Understanding, bundle, quantise};
use serde_json::{Value, json};
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["encoder", model, texts, place @ ..] => encoder(model, texts, &compute(place)),
        ["reading", bundle, config, texts, place @ ..] => {
            reading(Path::new(bundle), Path::new(config), texts, &compute(place));
        }
        _ => eprintln!("see the head of benches/inference.rs"),
    }
}

fn lines<T: serde::de::DeserializeOwned>(file: &str) -> Vec<T> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn answer(mut to: impl FnMut(&[&str]) -> Value) {
    for order in std::io::stdin().lock().lines() {
        let order = order.unwrap();
        println!("{}", to(&order.split_whitespace().collect::<Vec<&str>>()));
    }
}

/// What a name asks for, or the fastest kernel. A GPU that is not there ends the benchmark: nothing else may stand in.
fn compute(place: &[&str]) -> Compute {
    match place {
        [] => Compute::default(),
        ["bf16"] => Compute::Gpu(Device::Cpu),
        [place] if place.starts_with("cuda:") => match Compute::named(place, None).unwrap() {
            Compute::Cpu(_) => {
                eprintln!("{place} cannot be used: it needs a GPU and a program built with --features cuda");
                std::process::exit(2);
            }
            gpu @ Compute::Gpu(_) => gpu,
        },
        [kernel, ..] => Compute::Cpu(Kernel::named(kernel).unwrap()),
    }
}

fn encoder(model: &str, texts: &str, compute: &Compute) {
    let weights = base_weights(Path::new(model)).unwrap();
    let encoder: Box<dyn Encoder> = match compute {
        Compute::Cpu(kernel) => {
            Box::new(Int8::new(&mut quantise::rounded(&weights).unwrap(), *kernel).unwrap())
        }
        Compute::Gpu(device) => Box::new(Candle::new(weights, device, DType::BF16).unwrap()),
    };
    let encoder = encoder.as_ref();
    let texts: Vec<Vec<u32>> = lines(texts);
    println!("{}", json!({"kernel": encoder.arithmetic(), "texts": texts.len()}));
    answer(|order| match order {
        ["one"] => timed(encoder, texts.iter().map(|text| vec![text.as_slice()])),
        ["batch", n] => timed(encoder, texts.chunks(n.parse().unwrap()).map(slices)),
        ["sorted", n] => {
            let mut sorted = texts.clone();
            sorted.sort_by_key(Vec::len);
            timed(encoder, sorted.chunks(n.parse().unwrap()).map(slices))
        }
        ["threads", n] => together(encoder, &texts, n.parse().unwrap()),
        ["vectors"] => json!(texts.iter().map(|text| mean(encoder, text)).collect::<Vec<_>>()),
        ["peak"] => {
            let most = match compute {
                Compute::Cpu(kernel) => peak::of(*kernel),
                Compute::Gpu(_) => None,
            };
            json!({"macs_per_second": most, "macs_per_token": macs(encoder)})
        }
        _ => json!({"error": "an order that nobody knows"}),
    });
}

fn slices(texts: &[Vec<u32>]) -> Vec<&[u32]> {
    texts.iter().map(Vec::as_slice).collect()
}

/// Products of the linear layers for one token: what the peak is compared with.
fn macs(encoder: &dyn Encoder) -> usize {
    let full = encoder.full().unwrap();
    let layers = full.iter().filter(|(name, _)| {
        name.ends_with(".weight") && ["qkv", "out", "up", "down"].iter().any(|part| name.contains(part))
    });
    layers.map(|(_, weight)| weight.elem_count()).sum()
}

/// Milliseconds of a call, and texts and tokens a second.
fn timed<'a>(encoder: &dyn Encoder, batches: impl Iterator<Item = Vec<&'a [u32]>>) -> Value {
    let (mut each, mut texts, mut tokens) = (Vec::new(), 0, 0);
    let begun = Instant::now();
    for batch in batches {
        let one = Instant::now();
        tokens += run(encoder, &batch);
        each.push(one.elapsed().as_secs_f64() * 1e3);
        texts += batch.len();
    }
    summary(each, texts, tokens, begun.elapsed().as_secs_f64())
}

fn summary(mut each: Vec<f64>, texts: usize, tokens: usize, seconds: f64) -> Value {
    each.sort_by(f64::total_cmp);
    let at = |share: f64| each.get((each.len() as f64 * share) as usize).copied();
    json!({
        "p50_ms": at(0.5), "p99_ms": at(0.99),
        "texts_per_second": texts as f64 / seconds, "tokens_per_second": tokens as f64 / seconds,
    })
}

/// Reads a batch, pooled and of length 1 as the other engines do it.
fn run(encoder: &dyn Encoder, batch: &[&[u32]]) -> usize {
    let packed = Packed::new(batch.iter().copied());
    let vectors = encoder.encode(&packed, Top::Reading).unwrap();
    for range in packed.sequences() {
        std::hint::black_box(pooled(&vectors, encoder.width(), range));
    }
    packed.tokens()
}

/// Threads that share the weights and take batches of 32 in turn.
fn together(encoder: &dyn Encoder, texts: &[Vec<u32>], threads: usize) -> Value {
    let begun = Instant::now();
    let tokens: usize = std::thread::scope(|scope| {
        let share = |number: usize| {
            let own = texts.chunks(32).skip(number).step_by(threads);
            own.map(|batch| run(encoder, &slices(batch))).sum::<usize>()
        };
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || share(number))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    summary(Vec::new(), texts.len(), tokens, begun.elapsed().as_secs_f64())
}

fn mean(encoder: &dyn Encoder, text: &[u32]) -> Vec<f32> {
    let packed = Packed::new([text]);
    pooled(&encoder.encode(&packed, Top::Reading).unwrap(), encoder.width(), 0..text.len())
}

fn pooled(vectors: &[f32], width: usize, range: std::ops::Range<usize>) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in vectors.chunks_exact(width).skip(range.start).take(range.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let norm = sums.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    sums.iter().map(|x| x / norm).collect()
}

/// Whole readings (pieces, encoder, heads, recognisers, calibration) beside the encoder alone.
fn reading(folder: &Path, config: &Path, texts: &str, compute: &Compute) {
    let schema = Schema::read(config).unwrap();
    let models = Understanding::load_on(folder, &schema, compute).unwrap();
    let encoder = Int8::new(&mut bundle::open(folder).unwrap().weights, Kernel::best()).unwrap();
    let (texts, banks): (Vec<String>, _) = (lines(texts), BankCodes::default());
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| models.tokens().read(text).unwrap().ids).collect();
    println!("{}", json!({"kernel": models.model().arithmetic(), "texts": texts.len()}));
    let read = |text: &str| {
        let found = recognise_with(text, &banks);
        let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
        models.read("m", text, Language::De, &known).unwrap()
    };
    answer(|order| match order {
        ["encoder"] => timed(&encoder, ids.iter().map(|text| vec![text.as_slice()])),
        ["reading"] => {
            let begun = Instant::now();
            let each = texts.iter().map(|text| {
                let one = Instant::now();
                std::hint::black_box(read(text));
                one.elapsed().as_secs_f64() * 1e3
            });
            let each = each.collect();
            summary(each, texts.len(), ids.iter().map(Vec::len).sum(), begun.elapsed().as_secs_f64())
        }
        ["leaves"] => {
            let leaf = |text: &String| {
                let reading = read(text);
                reading.intents.first().map(|intent| json!([intent.leaf, intent.probability]))
            };
            json!(texts.iter().map(leaf).collect::<Vec<_>>())
        }
        _ => json!({"error": "an order that nobody knows"}),
    });
}

/// What a core can multiply at most, measured with the kernel's own instruction on registers alone.
mod peak {
    #![cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "the kernel was found on this machine; registers only")
    )]

    use prokura::understanding::encoder::Kernel;
    use std::time::Instant;

    const ROUNDS: usize = 4_000_000;

    /// Products a second; `None` where nobody knows the instruction. The best of nine.
    pub fn of(kernel: Kernel) -> Option<f64> {
        let best = |products: usize, loops: &dyn Fn()| {
            let once = || {
                let begun = Instant::now();
                loops();
                products as f64 / begun.elapsed().as_secs_f64()
            };
            (0..9).map(|_| once()).fold(0.0, f64::max)
        };
        match kernel.as_str() {
            #[cfg(target_arch = "x86_64")]
            "avx512" => Some(best(ROUNDS * 12 * 64, &|| unsafe { x86::vnni() })),
            #[cfg(target_arch = "x86_64")]
            "avx2" => Some(best(ROUNDS * 12 * 16, &|| unsafe { x86::madd() })),
            _ => None,
        }
    }

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::x86_64::*;
        use std::hint::black_box;

        #[target_feature(enable = "avx512f,avx512vnni")]
        pub fn vnni() {
            let mut sums = [_mm512_setzero_si512(); 12];
            let (a, b) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(5)));
            for _ in 0..super::ROUNDS {
                for sum in &mut sums {
                    *sum = _mm512_dpbusd_epi32(*sum, a, b);
                }
            }
            black_box(sums);
        }

        #[target_feature(enable = "avx2")]
        pub fn madd() {
            let mut sums = [_mm256_setzero_si256(); 12];
            let (a, b) = black_box((_mm256_set1_epi16(3), _mm256_set1_epi16(5)));
            for _ in 0..super::ROUNDS {
                for sum in &mut sums {
                    // The second operand follows from the sum, so that no product can be left out.
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_xor_si256(a, *sum), b));
                }
            }
            black_box(sums);
        }
    }
}
