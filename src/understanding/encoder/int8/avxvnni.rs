//! AVX2 with its own VNNI (Alder Lake, Sierra Forest, Zen 5 and later): 32 products of bytes an instruction.

#[path = "pass.rs"]
mod pass;

super::entrances!(pass, "avx2,fma,avxvnni");

mod lanes {
    #![expect(
        unsafe_code,
        reason = "instructions of this kernel alone; all of it is inlined into the entrances above, which run only \
                  where `Kernel` has found the instructions, and memory is reached through arrays of the right size"
    )]
    #![expect(clippy::indexing_slicing, reason = "fixed-shape numeric loops; lengths are checked in `tile`")]

    use super::super::avx2::lanes as avx2;
    use super::super::matrix::{GROUP, LANES, Matrix, fetch};
    use std::arch::x86_64::*;

    pub use avx2::{
        V, abs, add, float, fma, load, max, min, mul, nearest, power, splat, store, sub, sum, top,
    };

    /// Rows and panels of a tile: 12 of 16 registers hold sums.
    pub const ROWS: usize = 6;
    pub const PANELS: usize = 1;
    /// A rounded value, 128 too high: the instruction takes it without a sign.
    pub type Byte = u8;

    #[inline(always)]
    pub fn round(a: V) -> [Byte; LANES] {
        avx2::round(a).map(|value| (value + 128) as u8)
    }

    #[inline(always)]
    pub fn tile(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        assert!(bytes.len() == sums.len() * w.inner && first + LANES <= w.outer);
        // SAFETY: reached through the entrances alone, which have the same instructions.
        unsafe {
            match sums.len() {
                1 => rows::<1>(bytes, w, first, sums),
                2 => rows::<2>(bytes, w, first, sums),
                3 => rows::<3>(bytes, w, first, sums),
                4 => rows::<4>(bytes, w, first, sums),
                5 => rows::<5>(bytes, w, first, sums),
                _ => rows::<ROWS>(bytes, w, first, sums),
            }
        }
    }

    super::product!("avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
}

/// The product of a tile with an instruction that adds four products of bytes to each sum. AVX-512 has the same one
/// under another name: so the tests run this also on machines without this kernel.
macro_rules! product {
    ($instructions:literal, $dot:ident) => {
        // Not inlined: it would be compiled again for every product.
        #[target_feature(enable = $instructions)]
        fn rows<const R: usize>(
            bytes: &[Byte],
            w: &Matrix,
            first: usize,
            sums: &mut [[[i32; LANES]; PANELS]],
        ) {
            let groups: &[[i8; LANES * GROUP]] = w.panels[first * w.inner..][..LANES * w.inner].as_chunks().0;
            let base: &[i32; LANES] = &w.base[first..].as_chunks().0[0];
            // SAFETY: half an array of sixteen.
            let half = |at: usize| unsafe { _mm256_loadu_si256(base.as_ptr().add(at).cast()) };
            let mut acc = [[half(0), half(8)]; R];
            let start = bytes.as_ptr();
            for (at, group) in groups.iter().enumerate() {
                fetch(group.as_ptr().wrapping_add(LANES * w.inner));
                // SAFETY: `tile` found R rows of w.inner bytes, and there are w.inner / GROUP groups of 64 bytes.
                unsafe {
                    let low = _mm256_loadu_si256(group.as_ptr().cast());
                    let high = _mm256_loadu_si256(group.as_ptr().add(32).cast());
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let four = start.add(r * w.inner + at * GROUP).cast::<i32>().read_unaligned();
                        let four = _mm256_set1_epi32(four);
                        acc[0] = $dot(acc[0], four, low);
                        acc[1] = $dot(acc[1], four, high);
                    }
                }
            }
            for (sums, acc) in sums.iter_mut().zip(acc) {
                // SAFETY: sixteen sums are sixteen sums.
                sums[0] = unsafe { std::mem::transmute::<[__m256i; 2], [i32; LANES]>(acc) };
            }
        }
    };
}
use product;

#[cfg(test)]
mod tests {
    #![expect(unsafe_code, reason = "the test asks the machine before it calls what needs the instructions")]

    use super::super::matrix::{GROUP, LANES, Matrix, Rows, fetch};
    use super::lanes::{Byte, PANELS};
    use std::arch::x86_64::*;

    super::product!("avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);

    #[test]
    fn the_tile_is_right_where_only_the_other_name_can_be_run() {
        if !(is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni")) {
            return;
        }
        let (outer, inner) = (32, 48);
        let weights: Vec<i8> = (0..outer * inner).map(|n| (n * 37 % 255 - 127) as i8).collect();
        let rows_of =
            Rows { bytes: weights.clone(), scales: vec![1.0; outer as usize], columns: inner as usize };
        let matrix = Matrix::new(&rows_of, vec![0.0; outer as usize]).unwrap();
        let bytes: Vec<Byte> = (0..5 * inner).map(|n| (n * 91 % 255 + 1) as u8).collect();
        let mut sums = [[[0; LANES]; PANELS]; 5];
        // SAFETY: asked above; five rows of 48 bytes.
        unsafe { rows::<5>(&bytes, &matrix, 16, &mut sums) };
        for (row, sums) in bytes.chunks(inner as usize).zip(&sums) {
            for (at, sum) in sums[0].iter().enumerate() {
                let weights = &weights[(16 + at) * inner as usize..][..inner as usize];
                let want: i32 =
                    row.iter().zip(weights).map(|(a, w)| (i32::from(*a) - 128) * i32::from(*w)).sum();
                assert_eq!(*sum, want);
            }
        }
    }
}
