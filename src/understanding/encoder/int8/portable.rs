//! Any processor. What the other kernels are held against.

#[path = "pass.rs"]
mod pass;

pub use pass::{dense, dots, gelu_all, layers};

mod lanes {
    #![expect(clippy::indexing_slicing, reason = "fixed-shape numeric loops")]

    use super::super::matrix::{GROUP, LANES, Matrix};

    pub const ROWS: usize = 4;
    pub const PANELS: usize = 1;
    /// A rounded value.
    pub type Byte = i8;
    pub type V = [f32; LANES];

    #[inline(always)]
    fn each(f: impl Fn(usize) -> f32) -> V {
        std::array::from_fn(f)
    }

    #[inline(always)]
    pub fn load(from: &[f32; LANES]) -> V {
        *from
    }

    #[inline(always)]
    pub fn store(v: V) -> [f32; LANES] {
        v
    }

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        [x; LANES]
    }

    #[inline(always)]
    pub fn add(a: V, b: V) -> V {
        each(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    pub fn sub(a: V, b: V) -> V {
        each(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    pub fn mul(a: V, b: V) -> V {
        each(|lane| a[lane] * b[lane])
    }

    /// `a b + c`, rounded once.
    #[inline(always)]
    pub fn fma(a: V, b: V, c: V) -> V {
        each(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    /// The second of two that are equal, or no numbers.
    #[inline(always)]
    pub fn max(a: V, b: V) -> V {
        each(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    pub fn min(a: V, b: V) -> V {
        each(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    pub fn abs(a: V) -> V {
        each(|lane| a[lane].abs())
    }

    /// To the nearest integer, to the even one of two that are as near.
    #[inline(always)]
    pub fn nearest(a: V) -> V {
        each(|lane| a[lane].round_ties_even())
    }

    /// 2^n for an integer n from -126 to 127.
    #[inline(always)]
    pub fn power(n: V) -> V {
        each(|lane| f32::from_bits(((n[lane] as i32 + 127) << 23).cast_unsigned()))
    }

    #[inline(always)]
    pub fn float(sums: &[i32; LANES]) -> V {
        each(|lane| sums[lane] as f32)
    }

    /// To the nearest integer, which is -127 to 127.
    #[inline(always)]
    pub fn round(a: V) -> [Byte; LANES] {
        a.map(|x| x.round_ties_even() as i8)
    }

    /// Halves are added until one lane is left.
    #[inline(always)]
    pub fn sum(v: V) -> f32 {
        folded(v, |a, b| a + b)
    }

    #[inline(always)]
    pub fn top(v: V) -> f32 {
        folded(v, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn folded(mut v: V, f: impl Fn(f32, f32) -> f32) -> f32 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                v[lane] = f(v[lane], v[lane + half]);
            }
        }
        v[0]
    }

    /// For each of up to `ROWS` rows of rounded values the sums of products with `PANELS` panels of the matrix, from
    /// row `first` of it on.
    #[inline(always)]
    pub fn tile(bytes: &[Byte], w: &Matrix, first: usize, sums: &mut [[[i32; LANES]; PANELS]]) {
        let groups: &[[i8; LANES * GROUP]] = w.panels[first * w.inner..][..LANES * w.inner].as_chunks().0;
        for (row, [sums]) in bytes.chunks_exact(w.inner).zip(sums) {
            *sums = [0; LANES];
            let fours: &[[i8; GROUP]] = row.as_chunks().0;
            for (four, weights) in fours.iter().zip(groups) {
                for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<GROUP>().0) {
                    let products = four.iter().zip(weights).map(|(a, b)| i32::from(*a) * i32::from(*b));
                    *sum += products.sum::<i32>();
                }
            }
        }
    }
}
