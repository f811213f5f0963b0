//! Weights in the order in which the kernels take them.

use candle_core::{Result, bail};

/// Floats and sums that a kernel handles at once.
pub const LANES: usize = 16;
/// Bytes of a row that one dot-product instruction adds up.
pub const GROUP: usize = 4;
/// Panels of a dense matrix that are multiplied together.
pub const TOGETHER: usize = 4;

/// Has the processor bring a line of memory nearer that is read soon. A text alone is read as fast as its weights
/// come in, and the processor's own guesses end with every panel: one text takes a fifth longer without this. Nothing
/// is read, so any address will do.
#[expect(unsafe_code, reason = "hints that touch nothing, whatever the address")]
#[inline(always)]
pub fn fetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this kind has the instruction, and it cannot fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// A matrix as it is stored: `w = byte * scale`, with one scale a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Row by row, each -127 to 127.
    pub bytes: Vec<i8>,
    /// One for each row.
    pub scales: Vec<f32>,
    pub columns: usize,
}

impl Rows {
    pub fn count(&self) -> usize {
        self.scales.len()
    }

    /// Bytes and scale of a row; nothing behind the last.
    pub fn row(&self, at: usize) -> (&[i8], f32) {
        let bytes = self.bytes.get(at * self.columns..(at + 1) * self.columns);
        (bytes.unwrap_or_default(), self.scales.get(at).copied().unwrap_or_default())
    }

    /// The values, row by row.
    pub fn values(&self) -> Vec<f32> {
        let rows = self.bytes.chunks_exact(self.columns.max(1)).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |byte| f32::from(*byte) * scale)).collect()
    }
}

/// Eight-bit weights of a linear layer, [outer, inner], in panels of `LANES` rows: for every `GROUP` of columns
/// the bytes of the first row, then those of the second, and so on.
pub struct Matrix {
    pub outer: usize,
    pub inner: usize,
    pub panels: Vec<i8>,
    /// For every row -128 times the sum of its bytes: what makes up for activations that are stored 128 too high,
    /// where the instructions take them without a sign.
    pub base: Vec<i32>,
    pub scales: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Matrix {
    /// # Errors
    /// Rows that do not fill whole panels, columns that do not fill whole groups, another number of biases.
    pub fn new(rows: &Rows, bias: Vec<f32>) -> Result<Self> {
        let (outer, inner) = (rows.count(), rows.columns);
        // A panel more at once is what the widest kernel takes.
        if !outer.is_multiple_of(2 * LANES)
            || !inner.is_multiple_of(LANES)
            || inner == 0
            || bias.len() != outer
        {
            bail!("a matrix [{outer}, {inner}] with {} biases is not of the encoder's shape", bias.len());
        }
        let mut panels = Vec::with_capacity(outer * inner);
        for panel in rows.bytes.chunks_exact(LANES * inner) {
            for group in (0..inner).step_by(GROUP) {
                for row in panel.chunks_exact(inner) {
                    panels.extend_from_slice(row.get(group..group + GROUP).unwrap_or_default());
                }
            }
        }
        let sum = |row: &[i8]| row.iter().map(|byte| i32::from(*byte)).sum::<i32>();
        let base = rows.bytes.chunks_exact(inner).map(|row| -128 * sum(row)).collect();
        Ok(Self { outer, inner, panels, base, scales: rows.scales.clone(), bias })
    }

    /// As it was stored.
    pub fn rows(&self) -> Rows {
        let mut bytes = vec![0; self.outer * self.inner];
        let panels = self.panels.chunks_exact(LANES * self.inner);
        for (panel, rows) in panels.zip(bytes.chunks_exact_mut(LANES * self.inner)) {
            for (group, packed) in panel.chunks_exact(LANES * GROUP).enumerate() {
                for (row, packed) in rows.chunks_exact_mut(self.inner).zip(packed.chunks_exact(GROUP)) {
                    if let Some(row) = row.get_mut(group * GROUP..(group + 1) * GROUP) {
                        row.copy_from_slice(packed);
                    }
                }
            }
        }
        Rows { bytes, scales: self.scales.clone(), columns: self.inner }
    }
}

/// Full weights of a small layer, [outer, inner], in blocks of `TOGETHER * LANES` rows: for every column the values
/// of those rows. Rows that are missing from the last block are zero.
pub struct Dense {
    pub outer: usize,
    pub inner: usize,
    pub blocks: Vec<f32>,
    /// As long as the blocks have rows.
    pub bias: Vec<f32>,
}

impl Dense {
    /// `values` row by row, with one bias a row.
    ///
    /// # Errors
    /// Numbers of values and biases that do not fit.
    pub fn new(values: &[f32], inner: usize, mut bias: Vec<f32>) -> Result<Self> {
        const BLOCK: usize = TOGETHER * LANES;
        let outer = bias.len();
        if inner == 0 || values.len() != outer * inner {
            bail!("{} weights are not [{outer}, {inner}]", values.len());
        }
        bias.resize(outer.next_multiple_of(BLOCK), 0.0);
        let mut blocks = Vec::with_capacity(bias.len() * inner);
        for block in values.chunks(BLOCK * inner) {
            for column in 0..inner {
                let rows = block.chunks_exact(inner).filter_map(|row| row.get(column)).copied();
                blocks.extend(rows.chain(std::iter::repeat(0.0)).take(BLOCK));
            }
        }
        Ok(Self { outer, inner, blocks, bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let rows = Rows {
            bytes: (0..32 * 48).map(|n| (n % 255 - 127) as i8).collect(),
            scales: (0..32).map(|n| n as f32).collect(),
            columns: 48,
        };
        let matrix = Matrix::new(&rows, vec![0.0; 32]).unwrap();
        assert_eq!(matrix.rows(), rows);
        let sum: i32 = rows.row(3).0.iter().map(|byte| i32::from(*byte)).sum();
        assert_eq!(matrix.base[3], -128 * sum);
        assert_eq!(rows.values()[48 * 2 + 5], f32::from(rows.bytes[48 * 2 + 5]) * 2.0);
        assert!(Matrix::new(&rows, vec![0.0; 31]).is_err());
        assert!(Dense::new(&[0.0; 7], 2, vec![0.0; 3]).is_err());
        assert_eq!(Dense::new(&[1.0, 2.0, 3.0, 4.0], 2, vec![0.5; 2]).unwrap().blocks[..2], [1.0, 3.0]);
    }
}
