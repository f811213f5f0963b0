//! The few numeric kernels that everything is made of: a matrix product, `exp`, the Gaussian error
//! function. Plain loops over slices that the compiler turns into vector code.

#![expect(
    clippy::indexing_slicing,
    reason = "fixed-shape numeric loops; every length is checked at the door"
)]

/// A read-only matrix inside a slice: entry (r, c) is at `r * row + c * column`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    pub row: usize,
    pub column: usize,
}

impl<'a> View<'a> {
    /// Row-major, without gaps.
    pub fn rows(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row: columns, column: 1 }
    }

    /// Row-major with `stride` floats from one row to the next.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, row: stride, column: 1 }
    }

    pub fn transposed(self) -> Self {
        Self { data: self.data, rows: self.columns, columns: self.rows, row: self.column, column: self.row }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row + (self.columns - 1) * self.column < self.data.len()
    }
}

/// `out = keep * out + scale * a b`, with `stride` floats from one row of `out` to the next.
///
/// Shapes that do not fit together leave `out` as it is: the callers derive every shape from tensors that
/// were checked when they were made.
#[expect(unsafe_code, reason = "gemm takes raw pointers; bounds are checked here for every operand")]
pub(crate) fn product(a: View, b: View, out: &mut [f32], stride: usize, keep: f32, scale: f32) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let room = m == 0 || n == 0 || (m - 1) * stride + (n - 1) < out.len();
    if b.rows != k || !a.fits() || !b.fits() || !room || (n > stride && m > 1) || m == 0 || n == 0 {
        debug_assert!(m == 0 || n == 0, "shapes do not fit");
        return;
    }
    // SAFETY: the three checks above bound every entry that gemm reads or writes inside its slice, rows of
    // `out` do not overlap because stride >= n, and `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            keep,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// e^x for x <= 88, relative error below 2e-7 (degree-6 polynomial on [-ln2/2, ln2/2], Cephes `expf`);
/// below -87 the result is about 1e-38.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting it rounds to an integer
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    let power = f32::from_bits(((shifted.to_bits() & 0x1ff).wrapping_add(127) << 23) & 0x7f80_0000);
    value * power
}

/// The normal distribution function and e^(-x^2/2), absolute error below 3e-7
/// (Abramowitz and Stegun 7.1.26, in single precision).
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let e = exp(-z * z);
    let poly =
        ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t;
    let tail = 0.5 * poly * e;
    (if x >= 0.0 { 1.0 - tail } else { tail }, e)
}

/// Softmax of each row of `columns` floats, in place.
pub(crate) fn softmax_rows(data: &mut [f32], columns: usize) {
    for row in data.chunks_exact_mut(columns.max(1)) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = exp(*value - top);
            sum += *value;
        }
        let scale = 1.0 / sum;
        for value in row.iter_mut() {
            *value *= scale;
        }
    }
}

/// Adds each row of `data` to `sums`.
pub(crate) fn add_rows(data: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    for row in data.chunks_exact(columns) {
        let row = &row[..columns];
        for i in 0..columns {
            sums[i] += row[i];
        }
    }
}

/// The mean of each range of rows, one after the other; ranges lie within `data` and are not empty.
pub(crate) fn means(data: &[f32], width: usize, ranges: &[std::ops::Range<usize>]) -> Vec<f32> {
    let mut out = vec![0.0; ranges.len() * width];
    for (range, out) in ranges.iter().zip(out.chunks_exact_mut(width)) {
        add_rows(&data[range.start * width..range.end * width], out);
        let scale = 1.0 / range.len() as f32;
        out.iter_mut().for_each(|value| *value *= scale);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_normal_are_close_to_the_reference() {
        for i in -8600..=8600 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) - want).abs() <= 4e-7 * want, "exp({x}): {} {want}", exp(x));
        }
        // Values of the distribution function from tables (NIST Handbook, 26.2).
        for (x, want) in
            [(0.0, 0.5), (1.0, 0.841_344_7), (-1.0, 0.158_655_3), (2.5, 0.993_790_3), (-4.0, 3.167e-5)]
        {
            assert!((normal(x).0 - want).abs() < 3e-7, "{x}: {}", normal(x).0);
        }
    }

    #[test]
    fn product_equals_the_definition_with_strides_and_transposes() {
        let a: Vec<f32> = (0..12).map(|i| i as f32 * 0.5 - 2.0).collect();
        let b: Vec<f32> = (0..8).map(|i| (i * i) as f32 * 0.1).collect();
        // a: 3x4, b: 2x4 transposed -> out 3x2 with stride 3
        let mut out = vec![1.0; 9];
        product(View::rows(&a, 3, 4), View::rows(&b, 2, 4).transposed(), &mut out, 3, 1.0, 2.0);
        for r in 0..3 {
            for c in 0..2 {
                let want: f32 = 1.0 + 2.0 * (0..4).map(|k| a[r * 4 + k] * b[c * 4 + k]).sum::<f32>();
                assert!((out[r * 3 + c] - want).abs() < 1e-5);
            }
            assert_eq!(out[r * 3 + 2], 1.0);
        }
    }
}
