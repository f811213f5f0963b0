//! AVX-512 with VNNI (Ice Lake, Zen 4 and later): 64 products of bytes an instruction.

#[path = "pass.rs"]
mod pass;

super::entrances!(pass, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

mod lanes {
    #![expect(
        unsafe_code,
        reason = "instructions of this kernel alone; all of it is inlined into the entrances above, which run only \
                  where `Kernel` has found the instructions, and memory is reached through arrays of the right size"
    )]
    #![expect(clippy::indexing_slicing, reason = "fixed-shape numeric loops; lengths are checked in `tile`")]

    use super::super::matrix::{GROUP, LANES, Matrix, fetch};
    use std::arch::x86_64::*;

    /// Rows and panels of a tile: 24 of 32 registers hold sums.
    pub const ROWS: usize = 12;
    pub const PANELS: usize = 2;
    /// A rounded value, 128 too high: the instruction takes it without a sign.
    pub type Byte = u8;
    pub type V = __m512;

    #[inline(always)]
    pub fn load(from: &[f32; LANES]) -> V {
        // SAFETY: reads the array and nothing else.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    pub fn store(v: V) -> [f32; LANES] {
        // SAFETY: sixteen floats are sixteen floats.
        unsafe { std::mem::transmute(v) }
    }

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        // SAFETY: registers only, as below.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    pub fn add(a: V, b: V) -> V {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    pub fn sub(a: V, b: V) -> V {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    pub fn mul(a: V, b: V) -> V {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    pub fn fma(a: V, b: V, c: V) -> V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    pub fn max(a: V, b: V) -> V {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    pub fn min(a: V, b: V) -> V {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    pub fn abs(a: V) -> V {
        unsafe { _mm512_abs_ps(a) }
    }

    #[inline(always)]
    pub fn nearest(a: V) -> V {
        unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEAREST_INT>(a) }
    }

    #[inline(always)]
    pub fn power(n: V) -> V {
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    pub fn float(sums: &[i32; LANES]) -> V {
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast())) }
    }

    #[inline(always)]
    pub fn round(a: V) -> [Byte; LANES] {
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a));
            std::mem::transmute(_mm_xor_si128(bytes, _mm_set1_epi8(-128)))
        }
    }

    #[inline(always)]
    fn halves(v: V) -> (__m256, __m256) {
        unsafe { (_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v)) }
    }

    #[inline(always)]
    pub fn sum(v: V) -> f32 {
        let (low, high) = halves(v);
        unsafe { super::super::avx2::sum_of(_mm256_add_ps(low, high)) }
    }

    #[inline(always)]
    pub fn top(v: V) -> f32 {
        let (low, high) = halves(v);
        unsafe { super::super::avx2::top_of(_mm256_max_ps(low, high)) }
    }

    #[inline(always)]
    pub fn tile(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        assert!(bytes.len() == sums.len() * w.inner && first + PANELS * LANES <= w.outer);
        // SAFETY: reached through the entrances alone, which have the same instructions.
        unsafe {
            match sums.len() {
                1 => rows::<1>(bytes, w, first, sums),
                2 => rows::<2>(bytes, w, first, sums),
                3 => rows::<3>(bytes, w, first, sums),
                4 => rows::<4>(bytes, w, first, sums),
                5 => rows::<5>(bytes, w, first, sums),
                6 => rows::<6>(bytes, w, first, sums),
                7 => rows::<7>(bytes, w, first, sums),
                8 => rows::<8>(bytes, w, first, sums),
                9 => rows::<9>(bytes, w, first, sums),
                10 => rows::<10>(bytes, w, first, sums),
                11 => rows::<11>(bytes, w, first, sums),
                _ => rows::<ROWS>(bytes, w, first, sums),
            }
        }
    }

    // Not inlined: it would be compiled again for every product.
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn rows<const R: usize>(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        let panel = |at: usize| &w.panels[(first + at * LANES) * w.inner..][..LANES * w.inner];
        let groups = panel(0).as_chunks().0.iter().zip(panel(1).as_chunks().0);
        let load = |from: &[i8; LANES * GROUP]| unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
        let base = |at: usize| {
            let base: &[i32; LANES] = &w.base[first + at * LANES..].as_chunks().0[0];
            unsafe { _mm512_loadu_si512(base.as_ptr().cast()) }
        };
        let mut acc = [[base(0), base(1)]; R];
        let start = bytes.as_ptr();
        for (group, (low, high)) in groups.enumerate() {
            fetch(low.as_ptr().wrapping_add(PANELS * LANES * w.inner));
            fetch(high.as_ptr().wrapping_add(PANELS * LANES * w.inner));
            let (low, high) = (load(low), load(high));
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: `tile` found R rows of w.inner bytes, and there are w.inner / GROUP groups.
                unsafe {
                    let four = start.add(r * w.inner + group * GROUP).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    acc[0] = _mm512_dpbusd_epi32(acc[0], four, low);
                    acc[1] = _mm512_dpbusd_epi32(acc[1], four, high);
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            *sums = unsafe { std::mem::transmute::<[__m512i; PANELS], [[i32; LANES]; PANELS]>(acc) };
        }
    }
}
