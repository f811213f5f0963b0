//! The forward pass, compiled once for every kernel with its lanes and its tile (`super::lanes`). Sums of integers
//! are exact; everything else goes lane by lane, or in an order that follows from the row alone. So a text gets the
//! same bits in any company and from any kernel.

#![expect(
    clippy::indexing_slicing,
    reason = "fixed-shape numeric loops; every length is checked when the encoder is made"
)]

use super::super::matrix::{Dense, LANES, Matrix, TOGETHER};
use super::super::{Layer, Trunk};
use super::lanes::{self, Byte, PANELS, ROWS, V};
use std::cell::RefCell;

/// Queries of a head that are handled together.
const QUERIES: usize = 4;
/// Rows of a dense product that are handled together.
const DENSE_ROWS: usize = 2;
/// As BERT has it.
const EPSILON: f32 = 1e-12;

/// What one pass writes to; kept by each thread for its next pass.
#[derive(Default)]
struct Scratch {
    bytes: Vec<Byte>,
    /// Of each row of `bytes`.
    scales: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    keys: Vec<f32>,
    shares: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[inline(always)]
fn chunks(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

#[inline(always)]
fn chunks_mut(row: &mut [f32]) -> &mut [[f32; LANES]] {
    row.as_chunks_mut().0
}

/// e^x for x <= 88, relative error below 2e-7 (Cephes `expf`); below -87 about 1e-38.
#[inline(always)]
fn exp(x: V) -> V {
    const C: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = lanes::max(x, lanes::splat(-87.0));
    let n = lanes::nearest(lanes::mul(x, lanes::splat(std::f32::consts::LOG2_E)));
    let r = lanes::fma(n, lanes::splat(2.121_944_4e-4), lanes::fma(n, lanes::splat(-0.693_359_4), x));
    let p = polynomial(r, &C);
    let value = lanes::add(lanes::fma(lanes::mul(p, r), r, r), lanes::splat(1.0));
    lanes::mul(value, lanes::power(n))
}

/// The polynomial at x, the coefficient of its highest power first (Horner).
#[inline(always)]
fn polynomial(x: V, coefficients: &[f32]) -> V {
    let mut p = lanes::splat(coefficients[0]);
    for c in &coefficients[1..] {
        p = lanes::fma(p, x, lanes::splat(*c));
    }
    p
}

/// `x * Phi(x)`, absolute error below 3e-6 for |x| <= 8 and below 4e-7 |x| beyond: erf(z) / z as a minimax polynomial in z^2 on |z| <= 3.5, found by
/// Lawson's iteration, in a variable from -1 to 1 so that nothing cancels.
#[inline(always)]
fn gelu(x: V) -> V {
    const END: f32 = 3.5;
    const C: [f32; 13] = [
        0.001_480_919_1,
        -0.003_987_353_8,
        0.004_474_332,
        -0.007_227_942,
        0.017_049_571,
        -0.030_031_735,
        0.045_015_465,
        -0.064_770_654,
        0.088_402_174,
        -0.114_612_75,
        0.146_750_18,
        -0.200_701_04,
        0.403_873,
    ];
    let z = lanes::mul(x, lanes::splat(std::f32::consts::FRAC_1_SQRT_2));
    let z = lanes::min(lanes::max(z, lanes::splat(-END)), lanes::splat(END));
    let u = lanes::fma(lanes::mul(z, z), lanes::splat(2.0 / (END * END)), lanes::splat(-1.0));
    let erf = lanes::mul(polynomial(u, &C), z);
    let half = lanes::mul(x, lanes::splat(0.5));
    lanes::fma(half, erf, half)
}

/// Rounds each row to signed bytes of its own scale.
#[inline(always)]
fn rounded(x: &[f32], columns: usize, bytes: &mut [Byte], scales: &mut [f32]) {
    for ((row, bytes), scale) in x.chunks_exact(columns).zip(bytes.chunks_exact_mut(columns)).zip(scales) {
        let mut most = lanes::splat(0.0);
        for x in chunks(row) {
            most = lanes::max(lanes::abs(lanes::load(x)), most);
        }
        let most = lanes::top(most);
        // Weights that no training leaves could make a row that has no bytes: it counts as zero, from every kernel.
        let (inverse, step) =
            if most > 1e-30 && most.is_finite() { (127.0 / most, most / 127.0) } else { (0.0, 1.0) };
        *scale = step;
        let inverse = lanes::splat(inverse);
        for (x, bytes) in chunks(row).iter().zip(bytes.as_chunks_mut().0) {
            // What is no number becomes one.
            let x = lanes::max(lanes::mul(lanes::load(x), inverse), lanes::splat(-127.0));
            *bytes = lanes::round(x);
        }
    }
}

/// `x w^T + b` of rounded rows.
#[inline(always)]
fn product<const GELU: bool>(bytes: &[Byte], scales: &[f32], w: &Matrix, out: &mut [f32]) {
    let mut sums = [[[0; LANES]; PANELS]; ROWS];
    let tiles = scales.len().div_ceil(ROWS);
    for first in (0..w.outer).step_by(PANELS * LANES) {
        let columns = first..first + PANELS * LANES;
        let mut row = 0;
        for tile in 0..tiles {
            let rows = (scales.len() - row).div_ceil(tiles - tile);
            lanes::tile(&bytes[row * w.inner..(row + rows) * w.inner], w, first, &mut sums[..rows]);
            for (sums, scale) in sums.iter().zip(&scales[row..row + rows]) {
                let scale = lanes::splat(*scale);
                let out = chunks_mut(&mut out[row * w.outer..][columns.clone()]);
                let each = chunks(&w.scales[columns.clone()]).iter().zip(chunks(&w.bias[columns.clone()]));
                for ((sum, (step, bias)), out) in sums.iter().zip(each).zip(out) {
                    let scale = lanes::mul(scale, lanes::load(step));
                    let y = lanes::fma(lanes::float(sum), scale, lanes::load(bias));
                    *out = lanes::store(if GELU { gelu(y) } else { y });
                }
                row += 1;
            }
        }
    }
}

/// Layer normalisation of `x + y`, in the place of x; of x alone where y is empty.
#[inline(always)]
fn add_norm(x: &mut [f32], y: &[f32], [weight, bias]: &[Vec<f32>; 2]) {
    let width = weight.len();
    for (at, row) in x.chunks_exact_mut(width).enumerate() {
        let mut sum = lanes::splat(0.0);
        if y.is_empty() {
            for x in chunks(row) {
                sum = lanes::add(sum, lanes::load(x));
            }
        } else {
            for (x, y) in chunks_mut(row).iter_mut().zip(chunks(&y[at * width..][..width])) {
                let both = lanes::add(lanes::load(x), lanes::load(y));
                *x = lanes::store(both);
                sum = lanes::add(sum, both);
            }
        }
        let mean = lanes::splat(lanes::sum(sum) / width as f32);
        let mut squares = lanes::splat(0.0);
        for x in chunks(row) {
            let away = lanes::sub(lanes::load(x), mean);
            squares = lanes::fma(away, away, squares);
        }
        let scale = lanes::splat(1.0 / (lanes::sum(squares) / width as f32 + EPSILON).sqrt());
        for ((x, w), b) in chunks_mut(row).iter_mut().zip(chunks(weight)).zip(chunks(bias)) {
            let normal = lanes::mul(lanes::sub(lanes::load(x), mean), scale);
            *x = lanes::store(lanes::fma(normal, lanes::load(w), lanes::load(b)));
        }
    }
}

/// One head of one sequence.
struct Head<'a> {
    /// Queries, keys and values of all heads, from this head's queries of the sequence's first token on.
    qkv: &'a [f32],
    width: usize,
    length: usize,
    /// [size, padded length], each value already divided by the root of the size.
    keys: &'a [f32],
    padded: usize,
}

/// Softmax of each row's first `length` values; the others become 0.
#[inline(always)]
fn softmax(row: &mut [f32], length: usize) {
    row[length..].fill(f32::NEG_INFINITY);
    let mut most = lanes::splat(f32::NEG_INFINITY);
    for x in chunks(row) {
        most = lanes::max(lanes::load(x), most);
    }
    let most = lanes::splat(lanes::top(most));
    for x in chunks_mut(row) {
        *x = lanes::store(exp(lanes::sub(lanes::load(x), most)));
    }
    row[length..].fill(0.0);
    let mut sum = lanes::splat(0.0);
    for x in chunks(row) {
        sum = lanes::add(sum, lanes::load(x));
    }
    let scale = lanes::splat(1.0 / lanes::sum(sum));
    for x in chunks_mut(row) {
        *x = lanes::store(lanes::mul(lanes::load(x), scale));
    }
}

/// What N tokens from `token` on take from the others.
#[inline(always)]
fn attend<const N: usize, const PARTS: usize>(
    head: &Head,
    token: usize,
    shares: &mut [f32],
    out: &mut [f32],
) {
    let (stride, padded) = (3 * head.width, head.padded);
    for first in (0..padded).step_by(LANES) {
        let mut scores = [lanes::splat(0.0); N];
        for d in 0..PARTS * LANES {
            let keys = lanes::load(&chunks(&head.keys[d * padded + first..])[0]);
            for (n, score) in scores.iter_mut().enumerate() {
                let query = lanes::splat(head.qkv[(token + n) * stride + d]);
                *score = lanes::fma(query, keys, *score);
            }
        }
        for (n, score) in scores.iter().enumerate() {
            chunks_mut(&mut shares[n * padded + first..])[0] = lanes::store(*score);
        }
    }
    for row in shares[..N * padded].chunks_exact_mut(padded) {
        softmax(row, head.length);
    }
    let mut mixed = [[lanes::splat(0.0); PARTS]; N];
    for at in 0..head.length {
        let values = chunks(&head.qkv[at * stride + 2 * head.width..][..PARTS * LANES]);
        for (n, mixed) in mixed.iter_mut().enumerate() {
            let share = lanes::splat(shares[n * padded + at]);
            for (mixed, value) in mixed.iter_mut().zip(values) {
                *mixed = lanes::fma(share, lanes::load(value), *mixed);
            }
        }
    }
    for (n, mixed) in mixed.iter().enumerate() {
        let out = chunks_mut(&mut out[(token + n) * head.width..][..PARTS * LANES]);
        for (out, mixed) in out.iter_mut().zip(mixed) {
            *out = lanes::store(*mixed);
        }
    }
}

/// Self-attention within each sequence, heads of `PARTS * LANES`.
#[inline(always)]
fn attention<const PARTS: usize>(
    qkv: &[f32],
    starts: &[usize],
    width: usize,
    (keys, shares): (&mut Vec<f32>, &mut Vec<f32>),
    out: &mut [f32],
) {
    let (size, stride) = (PARTS * LANES, 3 * width);
    let scale = 1.0 / (size as f32).sqrt();
    for pair in starts.windows(2) {
        let (first, length) = (pair[0], pair[1] - pair[0]);
        if length == 0 {
            continue;
        }
        let padded = length.next_multiple_of(LANES);
        keys.clear();
        keys.resize(size * padded, 0.0);
        shares.resize(QUERIES * padded, 0.0);
        for from in (0..width).step_by(size) {
            for token in 0..length {
                let key = &qkv[(first + token) * stride + width + from..][..size];
                for (d, key) in key.iter().enumerate() {
                    keys[d * padded + token] = key * scale;
                }
            }
            let head = Head { qkv: &qkv[first * stride + from..], width, length, keys, padded };
            let out = &mut out[first * width + from..];
            let mut token = 0;
            while token < length {
                match length - token {
                    1 => attend::<1, PARTS>(&head, token, shares, out),
                    2 => attend::<2, PARTS>(&head, token, shares, out),
                    3 => attend::<3, PARTS>(&head, token, shares, out),
                    _ => attend::<QUERIES, PARTS>(&head, token, shares, out),
                }
                token += QUERIES;
            }
        }
    }
}

#[inline(always)]
fn layer(layer: &Layer, x: &mut [f32], starts: &[usize], scratch: &mut Scratch) {
    let (width, inner) = (layer.qkv.inner, layer.up.outer);
    let rows = x.len() / width;
    let Scratch { bytes, scales, wide, narrow, keys, shares } = scratch;
    rounded(x, width, bytes, scales);
    product::<false>(bytes, scales, &layer.qkv, wide);
    attention::<2>(wide, starts, width, (keys, shares), narrow);
    rounded(narrow, width, bytes, scales);
    product::<false>(bytes, scales, &layer.out, narrow);
    add_norm(x, narrow, &layer.attention_norm);
    rounded(x, width, bytes, scales);
    product::<true>(bytes, scales, &layer.up, wide);
    rounded(&wide[..rows * inner], inner, bytes, scales);
    product::<false>(bytes, scales, &layer.down, narrow);
    add_norm(x, narrow, &layer.norm);
}

/// Takes the embedded rows of all sequences, [tokens, width], through norm and layers, in their place.
#[inline(always)]
pub fn layers(trunk: &Trunk, layers: &[&Layer], x: &mut [f32], starts: &[usize]) {
    add_norm(x, &[], &trunk.norm);
    let rows = x.len() / trunk.width;
    // Taken, not borrowed in a closure: a closure would be compiled without the kernel's instructions.
    let mut scratch = SCRATCH.take();
    let wide = layers.iter().map(|layer| layer.up.outer.max(layer.qkv.outer)).max().unwrap_or(0);
    scratch.bytes.resize(rows * wide, Byte::default());
    scratch.scales.resize(rows, 0.0);
    scratch.wide.resize(rows * wide, 0.0);
    scratch.narrow.resize(rows * trunk.width, 0.0);
    for each in layers {
        layer(each, x, starts, &mut scratch);
    }
    SCRATCH.set(scratch);
}

/// `x w^T + b` for rows of `stride` floats, of which the first `w.inner` count; each row's sums run from the first
/// column to the last.
#[inline(always)]
pub fn dense(x: &[f32], stride: usize, w: &Dense, out: &mut [f32]) {
    let rows = x.chunks(stride * DENSE_ROWS).zip(out.chunks_mut(w.outer * DENSE_ROWS));
    for (x, out) in rows {
        match out.len() / w.outer {
            DENSE_ROWS => dense_rows::<DENSE_ROWS>(x, stride, w, out),
            _ => dense_rows::<1>(x, stride, w, out),
        }
    }
}

#[inline(always)]
fn dense_rows<const N: usize>(x: &[f32], stride: usize, w: &Dense, out: &mut [f32]) {
    const BLOCK: usize = TOGETHER * LANES;
    let blocks = w.blocks.chunks_exact(w.inner * BLOCK).zip(w.bias.chunks_exact(BLOCK)).enumerate();
    for (block, (weights, bias)) in blocks {
        let mut sums = [[lanes::splat(0.0); TOGETHER]; N];
        for (column, weights) in weights.chunks_exact(BLOCK).enumerate() {
            for (n, sums) in sums.iter_mut().enumerate() {
                let x = lanes::splat(x[n * stride + column]);
                for (sum, weights) in sums.iter_mut().zip(chunks(weights)) {
                    *sum = lanes::fma(x, lanes::load(weights), *sum);
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            let mut row = [0.0; BLOCK];
            for ((to, sum), bias) in chunks_mut(&mut row).iter_mut().zip(sums).zip(chunks(bias)) {
                *to = lanes::store(lanes::add(*sum, lanes::load(bias)));
            }
            let first = block * BLOCK;
            let count = BLOCK.min(w.outer - first);
            out[n * w.outer + first..][..count].copy_from_slice(&row[..count]);
        }
    }
}

/// The sum of products of `a` with each row of `b`, whose rows are as long.
#[inline(always)]
pub fn dots(a: &[i8], b: &[i8], out: &mut [i32]) {
    for (row, out) in b.chunks_exact(a.len()).zip(out) {
        *out = a.iter().zip(row).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    }
}

/// GELU of every value, in its place.
#[inline(always)]
pub fn gelu_all(x: &mut [f32]) {
    let (whole, rest) = x.as_chunks_mut();
    for x in whole {
        *x = lanes::store(gelu(lanes::load(x)));
    }
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let last = lanes::store(gelu(lanes::load(&last)));
    rest.copy_from_slice(&last[..rest.len()]);
}
