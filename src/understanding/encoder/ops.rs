//! The operations of the encoder, each with its gradient, on packed rows: all sequences of a batch stand
//! one after the other without padding, so that a batch costs what its tokens cost and a sequence's result
//! depends on its neighbours in rounding only.
//!
//! They exist because candle's fused layer-norm has no backward and its GELU is slow both ways.

#![expect(
    clippy::indexing_slicing,
    reason = "fixed-shape numeric loops; every length is checked at the door"
)]

use super::kernels::{self, View, product};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::ops::Range;
use std::sync::Arc;

type Grads3 = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets().and_then(|(start, end)| data.get(start..end)) {
        Some(slice) => Ok(slice),
        None => bail!("the operand is not contiguous"),
    }
}

/// Calls `f` with the values of a CPU tensor, row-major.
pub(crate) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(floats(cpu, layout)?),
        _ => bail!("the encoder's own operations run on the CPU"),
    }
}

fn made(data: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape.into())
}

fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> Result<Option<Tensor>> {
    Ok(Some(Tensor::from_vec(data, shape, &candle_core::Device::Cpu)?))
}

/// `x w^T + b` for x [rows, in], w [out, in], b [out].
pub(crate) fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.apply_op3(w, b, Linear)
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inner) = lx.shape().dims2()?;
        let (outer, wide) = lw.shape().dims2()?;
        let (x, w, b) = (floats(x, lx)?, floats(w, lw)?, floats(b, lb)?);
        if wide != inner || b.len() != outer {
            bail!("linear: [{rows}, {inner}] does not fit weight [{outer}, {wide}] and bias [{}]", b.len());
        }
        let mut out = Vec::with_capacity(rows * outer);
        for _ in 0..rows {
            out.extend_from_slice(b);
        }
        let weights = View::rows(w, outer, inner).transposed();
        product(View::rows(x, rows, inner), weights, &mut out, outer, 1.0, 1.0);
        Ok(made(out, (rows, outer)))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grads3> {
        let (rows, inner) = x.dims2()?;
        let outer = b.dims1()?;
        let mut dx = vec![0.0; rows * inner];
        let mut dw = vec![0.0; outer * inner];
        let mut db = vec![0.0; outer];
        with_values(grad, |g| {
            with_values(w, |w| {
                product(View::rows(g, rows, outer), View::rows(w, outer, inner), &mut dx, inner, 0.0, 1.0);
                Ok(())
            })?;
            with_values(x, |x| {
                let transposed = View::rows(g, rows, outer).transposed();
                product(transposed, View::rows(x, rows, inner), &mut dw, inner, 0.0, 1.0);
                Ok(())
            })?;
            kernels::add_rows(g, &mut db);
            Ok(())
        })?;
        Ok((tensor(dx, (rows, inner))?, tensor(dw, (outer, inner))?, tensor(db, outer)?))
    }
}

/// Exact GELU, `x * Phi(x)`, absolute error below 2e-6 for |x| < 6.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = floats(x, layout)?.iter().map(|&x| x * kernels::normal(x).0).collect();
        Ok(made(out, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
        let out = with_values(x, |x| {
            with_values(grad, |g| {
                let slope = |(&x, &g): (&f32, &f32)| {
                    let (cumulative, e) = kernels::normal(x);
                    g * (cumulative + x * DENSITY * e)
                };
                Ok(x.iter().zip(g).map(slope).collect::<Vec<f32>>())
            })
        })?;
        tensor(out, x.shape().clone())
    }
}

/// Layer normalisation of each row (Ba, Kiros, Hinton 2016), epsilon 1e-12 as BERT has it.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, LayerNorm)
}

struct LayerNorm;

const EPSILON: f32 = 1e-12;

fn moments(row: &[f32]) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lanes(row, |x| x) / n;
    let variance = lanes(row, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

/// A sum in eight lanes: vectorises, and rounds less than one long chain.
#[inline(always)]
fn lanes(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; 8];
    let chunks = row.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|&x| f(x)).sum();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f(x);
        }
    }
    sums.iter().sum::<f32>() + rest
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (floats(x, lx)?, floats(w, lw)?, floats(b, lb)?);
        let (_, width) = lx.shape().dims2()?;
        if w.len() != width || b.len() != width {
            bail!("layer_norm: width {width} does not fit weight [{}] and bias [{}]", w.len(), b.len());
        }
        let mut out = vec![0.0; x.len()];
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = moments(row);
            for i in 0..width {
                out[i] = (row[i] - mean) * scale * w[i] + b[i];
            }
        }
        Ok(made(out, lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grads3> {
        let (rows, width) = x.dims2()?;
        let (mut dx, mut dw, mut db) = (vec![0.0; rows * width], vec![0.0; width], vec![0.0; width]);
        with_values(x, |x| {
            with_values(w, |w| {
                with_values(grad, |g| {
                    let rows = x.chunks_exact(width).zip(g.chunks_exact(width));
                    for ((x, g), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                        layer_norm_row(x, g, w, dx, &mut dw, &mut db);
                    }
                    Ok(())
                })
            })
        })?;
        Ok((tensor(dx, (rows, width))?, tensor(dw, width)?, tensor(db, width)?))
    }
}

fn layer_norm_row(x: &[f32], g: &[f32], w: &[f32], dx: &mut [f32], dw: &mut [f32], db: &mut [f32]) {
    let width = x.len();
    let (mean, scale) = moments(x);
    let (mut sum, mut dot) = (0.0_f32, 0.0_f32);
    for i in 0..width {
        let normal = (x[i] - mean) * scale;
        let weighted = g[i] * w[i];
        dx[i] = weighted;
        sum += weighted;
        dot += weighted * normal;
        dw[i] += g[i] * normal;
        db[i] += g[i];
    }
    let (sum, dot) = (sum / width as f32, dot / width as f32);
    for i in 0..width {
        dx[i] = (dx[i] - sum - (x[i] - mean) * scale * dot) * scale;
    }
}

/// Self-attention within each sequence. `qkv` is [tokens, 3 * width] with queries, keys and values side by
/// side, `starts` the first row of every sequence and, last, the number of tokens.
pub(crate) fn attention(qkv: &Tensor, starts: &Arc<Vec<usize>>, heads: usize) -> Result<Tensor> {
    qkv.apply_op1(Attention { starts: Arc::clone(starts), heads })
}

struct Attention {
    starts: Arc<Vec<usize>>,
    heads: usize,
}

impl Attention {
    /// The sizes: width of the model, width of a head.
    fn widths(&self, columns: usize, rows: usize) -> Result<(usize, usize)> {
        let width = columns / 3;
        if !columns.is_multiple_of(3)
            || !width.is_multiple_of(self.heads)
            || self.starts.last() != Some(&rows)
        {
            bail!(
                "attention: {rows} rows of {columns} do not fit {} heads and the sequence starts",
                self.heads
            );
        }
        Ok((width, width / self.heads))
    }

    fn sequences(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }
}

/// Probabilities [length, length] of one head of one sequence.
fn weights(q: View, k: View, scores: &mut Vec<f32>) {
    scores.clear();
    scores.resize(q.rows * q.rows, 0.0);
    product(q, k.transposed(), scores, q.rows, 0.0, 1.0 / (q.columns as f32).sqrt());
    kernels::softmax_rows(scores, q.rows);
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let (width, size) = self.widths(columns, rows)?;
        let qkv = floats(qkv, layout)?;
        let mut out = vec![0.0; rows * width];
        let mut scores = Vec::new();
        for span in self.sequences() {
            let length = span.len();
            for head in 0..self.heads {
                let part = |which: usize| {
                    let from = span.start * columns + which * width + head * size;
                    View::strided(&qkv[from..], length, size, columns)
                };
                weights(part(0), part(1), &mut scores);
                let target = &mut out[span.start * width + head * size..];
                product(View::rows(&scores, length, length), part(2), target, width, 0.0, 1.0);
            }
        }
        Ok(made(out, (rows, width)))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, columns) = qkv.dims2()?;
        let (width, size) = self.widths(columns, rows)?;
        let mut out = vec![0.0; rows * columns];
        with_values(qkv, |qkv| {
            with_values(grad, |grad| {
                let (mut scores, mut slopes) = (Vec::new(), Vec::new());
                for span in self.sequences() {
                    for head in 0..self.heads {
                        let at = |which: usize| span.start * columns + which * width + head * size;
                        let part = |which: usize| View::strided(&qkv[at(which)..], span.len(), size, columns);
                        let g = &grad[span.start * width + head * size..];
                        let g = View::strided(g, span.len(), size, width);
                        weights(part(0), part(1), &mut scores);
                        attention_slopes(&scores, g, part(2), &mut slopes);
                        let (p, s) = (
                            View::rows(&scores, span.len(), span.len()),
                            View::rows(&slopes, span.len(), span.len()),
                        );
                        let scale = 1.0 / (size as f32).sqrt();
                        product(s, part(1), &mut out[at(0)..], columns, 0.0, scale);
                        product(s.transposed(), part(0), &mut out[at(1)..], columns, 0.0, scale);
                        product(p.transposed(), g, &mut out[at(2)..], columns, 0.0, 1.0);
                    }
                }
                Ok(())
            })
        })?;
        tensor(out, (rows, columns))
    }
}

/// The gradient of the scores before softmax.
fn attention_slopes(p: &[f32], g: View, v: View, slopes: &mut Vec<f32>) {
    let length = g.rows;
    slopes.clear();
    slopes.resize(length * length, 0.0);
    product(g, v.transposed(), slopes, length, 0.0, 1.0);
    for (p, s) in p.chunks_exact(length).zip(slopes.chunks_exact_mut(length)) {
        let dot: f32 = p.iter().zip(s.iter()).map(|(p, s)| p * s).sum();
        for (s, p) in s.iter_mut().zip(p) {
            *s = p * (*s - dot);
        }
    }
}

/// Word row + position row + the first token-type row, for every token.
pub(crate) fn embed(
    words: &Tensor,
    positions: &Tensor,
    types: &Tensor,
    batch: &super::Packed,
) -> Result<Tensor> {
    words.apply_op3(
        positions,
        types,
        Embed { rows: Arc::clone(&batch.rows), starts: Arc::clone(&batch.starts) },
    )
}

struct Embed {
    rows: Arc<Vec<u32>>,
    starts: Arc<Vec<usize>>,
}

impl Embed {
    /// (token, position in its sequence)
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.starts.windows(2).flat_map(|pair| (pair[0]..pair[1]).map(move |token| (token, token - pair[0])))
    }
}

impl CustomOp3 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        lw: &Layout,
        p: &CpuStorage,
        lp: &Layout,
        t: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (known, width) = lw.shape().dims2()?;
        let (reach, _) = lp.shape().dims2()?;
        let (w, p, t) = (floats(w, lw)?, floats(p, lp)?, floats(t, lt)?);
        let longest = self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        if longest > reach || self.rows.iter().any(|&row| row as usize >= known) {
            bail!("embed: a sequence of {longest} tokens, {reach} positions, {known} rows of words");
        }
        let mut out = Vec::with_capacity(self.rows.len() * width);
        for (token, position) in self.places() {
            let word = &w[self.rows[token] as usize * width..][..width];
            let place = &p[position * width..][..width];
            out.extend(word.iter().zip(place).zip(&t[..width]).map(|((w, p), t)| w + p + t));
        }
        Ok(made(out, (self.rows.len(), width)))
    }

    fn bwd(&self, w: &Tensor, p: &Tensor, t: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Grads3> {
        let width = w.dim(1)?;
        let (mut dw, mut dp) = (vec![0.0; w.elem_count()], vec![0.0; p.elem_count()]);
        let mut dt = vec![0.0; t.elem_count()];
        with_values(grad, |g| {
            for (token, position) in self.places() {
                let g = &g[token * width..][..width];
                kernels::add_rows(g, &mut dw[self.rows[token] as usize * width..][..width]);
                kernels::add_rows(g, &mut dp[position * width..][..width]);
                kernels::add_rows(g, &mut dt[..width]);
            }
            Ok(())
        })?;
        Ok((tensor(dw, w.shape().clone())?, tensor(dp, p.shape().clone())?, tensor(dt, t.shape().clone())?))
    }
}

/// The mean of each range of rows: pools a sequence, or the pieces of a word. No range may be empty.
pub(crate) fn means(x: &Tensor, ranges: Vec<Range<usize>>) -> Result<Tensor> {
    x.apply_op1(Means { ranges })
}

struct Means {
    ranges: Vec<Range<usize>>,
}

impl CustomOp1 for Means {
    fn name(&self) -> &'static str {
        "means"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let x = floats(x, layout)?;
        if self.ranges.iter().any(|range| range.is_empty() || range.end > rows) {
            bail!("means: a range is empty or ends behind row {rows}");
        }
        Ok(made(kernels::means(x, width, &self.ranges), (self.ranges.len(), width)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = x.dim(1)?;
        let mut out = vec![0.0; x.elem_count()];
        with_values(grad, |g| {
            for (range, g) in self.ranges.iter().zip(g.chunks_exact(width)) {
                let scale = 1.0 / range.len() as f32;
                for row in out[range.start * width..range.end * width].chunks_exact_mut(width) {
                    row.iter_mut().zip(g).for_each(|(out, g)| *out += g * scale);
                }
            }
            Ok(())
        })?;
        tensor(out, x.shape().clone())
    }
}

/// Each row rounded to 255 steps of its own scale, as eight-bit arithmetic has it; gradients pass straight
/// through (Bengio, Leonard, Courville 2013).
pub(crate) fn eight_bit(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(EightBit)
}

struct EightBit;

impl CustomOp1 for EightBit {
    fn name(&self) -> &'static str {
        "eight_bit"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let mut out = floats(x, layout)?.to_vec();
        for row in out.chunks_exact_mut(width.max(1)) {
            let top = row.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
            let scale = if top > 0.0 { top / 127.0 } else { 1.0 };
            row.iter_mut().for_each(|v| *v = (*v / scale).round_ties_even() * scale);
        }
        Ok(made(out, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}

/// What training does to a pass: dropout, and rounding of activations to eight bits a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strain {
    pub dropout: Dropout,
    pub eight_bit: bool,
}

/// `x + dropped(y)`: the residual, with dropout of `y` in training (rate 0 otherwise).
pub(crate) fn residual(x: &Tensor, y: &Tensor, dropout: Dropout) -> Result<Tensor> {
    x.apply_op2(y, dropout)
}

/// Drops values at `rate` and scales the others up. Which ones is a function of the seed and the place, so
/// that the backward pass drops the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropout {
    pub rate: f32,
    pub seed: u64,
}

impl Dropout {
    /// The same rate with another seed, for the next place in the model.
    #[must_use]
    pub fn next(self) -> Self {
        Self { rate: self.rate, seed: mixed(self.seed, 0x9e37) }
    }

    /// The same rate for another part of a batch.
    #[must_use]
    pub fn of_part(self, part: usize) -> Self {
        Self { rate: self.rate, seed: mixed(self.seed, part as u64) }
    }

    fn factor(self, index: usize) -> f32 {
        let draw = (mixed(self.seed, index as u64) >> 40) as f32 / (1_u64 << 24) as f32;
        if draw < self.rate { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014) of two numbers.
fn mixed(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl CustomOp2 for Dropout {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, y) = (floats(x, lx)?, floats(y, ly)?);
        if x.len() != y.len() {
            bail!("residual: {} and {} values", x.len(), y.len());
        }
        let out: Vec<f32> = if self.rate > 0.0 {
            x.iter().zip(y).enumerate().map(|(i, (x, y))| x + y * self.factor(i)).collect()
        } else {
            x.iter().zip(y).map(|(x, y)| x + y).collect()
        };
        Ok(made(out, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if self.rate <= 0.0 {
            return Ok((Some(grad.clone()), Some(grad.clone())));
        }
        let dropped = with_values(grad, |g| {
            Ok(g.iter().enumerate().map(|(i, g)| g * self.factor(i)).collect::<Vec<f32>>())
        })?;
        Ok((Some(grad.clone()), tensor(dropped, x.shape().clone())?))
    }
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
