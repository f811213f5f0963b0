//! NEON with dot products (Armv8.2 and later: Graviton 2, Ampere Altra, Apple M1).

#[path = "pass.rs"]
mod pass;

super::entrances!(pass, "neon,dotprod");

mod lanes {
    #![expect(
        unsafe_code,
        reason = "instructions of this kernel alone; all of it is inlined into the entrances above, which run only \
                  where `Kernel` has found the instructions, and memory is reached through arrays of the right size"
    )]
    #![expect(clippy::indexing_slicing, reason = "fixed-shape numeric loops; lengths are checked in `tile`")]

    use super::super::matrix::{GROUP, LANES, Matrix, fetch};
    use std::arch::aarch64::*;

    /// Rows and panels of a tile: 16 of 32 registers hold sums.
    pub const ROWS: usize = 4;
    pub const PANELS: usize = 1;
    /// A rounded value.
    pub type Byte = i8;
    pub type V = [float32x4_t; 4];

    #[inline(always)]
    fn each(a: V, f: impl Fn(float32x4_t) -> float32x4_t) -> V {
        a.map(f)
    }

    #[inline(always)]
    fn both(a: V, b: V, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> V {
        std::array::from_fn(|part| f(a[part], b[part]))
    }

    #[inline(always)]
    pub fn load(from: &[f32; LANES]) -> V {
        // SAFETY: reads the array and nothing else.
        std::array::from_fn(|part| unsafe { vld1q_f32(from.as_ptr().add(part * 4)) })
    }

    #[inline(always)]
    pub fn store(v: V) -> [f32; LANES] {
        // SAFETY: sixteen floats are sixteen floats.
        unsafe { std::mem::transmute(v) }
    }

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        // SAFETY: registers only, as below.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    pub fn add(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    pub fn sub(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    pub fn mul(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    pub fn fma(a: V, b: V, c: V) -> V {
        std::array::from_fn(|part| unsafe { vfmaq_f32(c[part], a[part], b[part]) })
    }

    // Not vmaxq_f32, which treats zeros of two signs and what is no number in another way than the other kernels.
    #[inline(always)]
    pub fn max(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }

    #[inline(always)]
    pub fn min(a: V, b: V) -> V {
        both(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }

    #[inline(always)]
    pub fn abs(a: V) -> V {
        each(a, |a| unsafe { vabsq_f32(a) })
    }

    #[inline(always)]
    pub fn nearest(a: V) -> V {
        each(a, |a| unsafe { vrndnq_f32(a) })
    }

    #[inline(always)]
    pub fn power(n: V) -> V {
        each(n, |n| unsafe {
            let exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }

    #[inline(always)]
    pub fn float(sums: &[i32; LANES]) -> V {
        // SAFETY: reads the array and nothing else.
        std::array::from_fn(|part| unsafe { vcvtq_f32_s32(vld1q_s32(sums.as_ptr().add(part * 4))) })
    }

    #[inline(always)]
    pub fn round(a: V) -> [Byte; LANES] {
        unsafe {
            let narrow =
                |low, high| vcombine_s16(vmovn_s32(vcvtnq_s32_f32(low)), vmovn_s32(vcvtnq_s32_f32(high)));
            let bytes = vcombine_s8(vmovn_s16(narrow(a[0], a[1])), vmovn_s16(narrow(a[2], a[3])));
            std::mem::transmute(bytes)
        }
    }

    #[inline(always)]
    pub fn sum(v: V) -> f32 {
        folded(store(v), |a, b| a + b)
    }

    #[inline(always)]
    pub fn top(v: V) -> f32 {
        folded(store(v), |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn folded(mut v: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                v[lane] = f(v[lane], v[lane + half]);
            }
        }
        v[0]
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

    /// Four products of bytes added to each sum: `vdotq_s32`, which this Rust has for its nightly users alone.
    #[inline(always)]
    fn dot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: registers only, in a module that is compiled for and reached with the instruction.
        unsafe {
            std::arch::asm!(
                "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                sums = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }

    // Not inlined: it would be compiled again for every product.
    #[target_feature(enable = "neon,dotprod")]
    fn rows<const R: usize>(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        let groups: &[[i8; LANES * GROUP]] = w.panels[first * w.inner..][..LANES * w.inner].as_chunks().0;
        let mut acc = [[vdupq_n_s32(0); 4]; R];
        let start = bytes.as_ptr();
        for (at, group) in groups.iter().enumerate() {
            fetch(group.as_ptr().wrapping_add(LANES * w.inner));
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: `tile` found R rows of w.inner bytes, and there are w.inner / GROUP groups of 64 bytes.
                unsafe {
                    let four = start.add(r * w.inner + at * GROUP).cast::<i32>().read_unaligned();
                    let four = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    for (part, acc) in acc.iter_mut().enumerate() {
                        *acc = dot(*acc, vld1q_s8(group.as_ptr().add(part * LANES)), four);
                    }
                }
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            sums[0] = unsafe { std::mem::transmute::<[int32x4_t; 4], [i32; LANES]>(acc) };
        }
    }
}
