//! AVX2 with FMA (Haswell, Zen and later). Bytes are multiplied as 16-bit integers, because the instruction for
//! bytes clips the sum of two products.

#[path = "pass.rs"]
mod pass;

super::entrances!(pass, "avx2,fma");

pub(super) use lanes::{sum_of, top_of};

pub(super) mod lanes {
    #![expect(
        unsafe_code,
        reason = "instructions of this kernel alone; all of it is inlined into the entrances above, which run only \
                  where `Kernel` has found the instructions, and memory is reached through arrays of the right size"
    )]
    #![expect(clippy::indexing_slicing, reason = "fixed-shape numeric loops; lengths are checked in `tile`")]

    use super::super::matrix::{GROUP, LANES, Matrix, fetch};
    use std::arch::x86_64::*;

    /// Rows and panels of a tile. Half a panel at a time 8 of 16 registers hold sums; more rows, or whole panels, measure
    /// a tenth to a third slower.
    pub const ROWS: usize = 4;
    pub const PANELS: usize = 1;
    /// A rounded value.
    pub type Byte = i16;
    pub type V = [__m256; 2];

    #[inline(always)]
    fn each(a: V, f: impl Fn(__m256) -> __m256) -> V {
        [f(a[0]), f(a[1])]
    }

    #[inline(always)]
    fn both(a: V, b: V, f: impl Fn(__m256, __m256) -> __m256) -> V {
        [f(a[0], b[0]), f(a[1], b[1])]
    }

    #[inline(always)]
    pub fn load(from: &[f32; LANES]) -> V {
        // SAFETY: reads the array and nothing else.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }

    #[inline(always)]
    pub fn store(v: V) -> [f32; LANES] {
        // SAFETY: sixteen floats are sixteen floats.
        unsafe { std::mem::transmute(v) }
    }

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        // SAFETY: registers only, as below.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    pub fn add(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { _mm256_add_ps(a, b) })
    }

    #[inline(always)]
    pub fn sub(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { _mm256_sub_ps(a, b) })
    }

    #[inline(always)]
    pub fn mul(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { _mm256_mul_ps(a, b) })
    }

    #[inline(always)]
    pub fn fma(a: V, b: V, c: V) -> V {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    pub fn max(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { _mm256_max_ps(a, b) })
    }

    #[inline(always)]
    pub fn min(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { _mm256_min_ps(a, b) })
    }

    #[inline(always)]
    pub fn abs(a: V) -> V {
        each(a, |a| unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) })
    }

    #[inline(always)]
    pub fn nearest(a: V) -> V {
        each(a, |a| unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) })
    }

    #[inline(always)]
    pub fn power(n: V) -> V {
        each(n, |n| unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        })
    }

    #[inline(always)]
    pub fn float(sums: &[i32; LANES]) -> V {
        // SAFETY: reads the array and nothing else.
        let load = |at: usize| unsafe { _mm256_loadu_si256(sums.as_ptr().add(at).cast()) };
        unsafe { [_mm256_cvtepi32_ps(load(0)), _mm256_cvtepi32_ps(load(8))] }
    }

    #[inline(always)]
    pub fn round(a: V) -> [Byte; LANES] {
        unsafe {
            let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1]));
            std::mem::transmute(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed))
        }
    }

    /// Of eight lanes: halves are added until one is left.
    #[inline(always)]
    pub fn sum_of(v: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    pub fn top_of(v: __m256) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    pub fn sum(v: V) -> f32 {
        sum_of(unsafe { _mm256_add_ps(v[0], v[1]) })
    }

    #[inline(always)]
    pub fn top(v: V) -> f32 {
        top_of(unsafe { _mm256_max_ps(v[0], v[1]) })
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
                _ => rows::<ROWS>(bytes, w, first, sums),
            }
        }
    }

    // Not inlined: it would be compiled again for every product.
    #[target_feature(enable = "avx2,fma")]
    fn rows<const R: usize>(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        let groups: &[[i8; LANES * GROUP]] = w.panels[first * w.inner..][..LANES * w.inner].as_chunks().0;
        let start = bytes.as_ptr();
        let mut halves = [[_mm256_setzero_si256(); 2]; R];
        for half in 0..2 {
            // Each holds four outputs, two sums of each.
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for (at, group) in groups.iter().enumerate() {
                fetch(group.as_ptr().wrapping_add(LANES * w.inner));
                // SAFETY: `tile` found R rows of w.inner values, and there are w.inner / GROUP groups of 64 bytes.
                unsafe {
                    let load = |quarter: usize| {
                        let bytes = _mm_loadu_si128(group.as_ptr().add(quarter * LANES).cast());
                        _mm256_cvtepi8_epi16(bytes)
                    };
                    let weights = [load(2 * half), load(2 * half + 1)];
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let four = start.add(r * w.inner + at * GROUP).cast::<i64>().read_unaligned();
                        let four = _mm256_set1_epi64x(four);
                        acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(weights[0], four));
                        acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(weights[1], four));
                    }
                }
            }
            for (halves, acc) in halves.iter_mut().zip(acc) {
                halves[half] = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(acc[0], acc[1]));
            }
        }
        for (sums, halves) in sums.iter_mut().zip(halves) {
            // SAFETY: sixteen sums are sixteen sums.
            sums[0] = unsafe { std::mem::transmute::<[__m256i; 2], [i32; LANES]>(halves) };
        }
    }
}
