//! Which instructions do the arithmetic. All kernels give the same bits; they differ in speed.

use super::matrix::Dense;
use super::{Layer, Trunk, portable};

/// Compiles the ways into a kernel's module with its instructions.
macro_rules! entrances {
    ($pass:ident, $instructions:literal) => {
        #[target_feature(enable = $instructions)]
        pub fn layers(trunk: &super::Trunk, layers: &[&super::Layer], x: &mut [f32], starts: &[usize]) {
            $pass::layers(trunk, layers, x, starts);
        }

        #[target_feature(enable = $instructions)]
        pub fn dots(a: &[i8], b: &[i8], out: &mut [i32]) {
            $pass::dots(a, b, out);
        }

        #[target_feature(enable = $instructions)]
        pub fn dense(x: &[f32], stride: usize, w: &super::Dense, out: &mut [f32]) {
            $pass::dense(x, stride, w, out);
        }

        #[target_feature(enable = $instructions)]
        pub fn gelu_all(x: &mut [f32]) {
            $pass::gelu_all(x);
        }
    };
}
pub(super) use entrances;

/// A kernel that this machine can run: there is no other way to one than `Kernel::here`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// Calls an entrance of the kernel's module.
macro_rules! enter {
    ($kernel:expr, $entrance:ident($($argument:expr),*)) => {
        match $kernel.0 {
            // SAFETY: `Kernel::here` found the instructions that the module is compiled with.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { super::avx512::$entrance($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => unsafe { super::avxvnni::$entrance($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { super::avx2::$entrance($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { super::neon::$entrance($($argument),*) },
            Kind::Portable => portable::$entrance($($argument),*),
        }
    };
}

#[expect(unsafe_code, reason = "calls into code that is compiled for instructions which this machine has")]
impl Kernel {
    /// Those that this machine can run, the fastest first.
    pub fn here() -> Vec<Self> {
        let mut kinds = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            if avx2 && wide && has!("avx512vnni") {
                kinds.push(Kind::Avx512);
            }
            if avx2 && has!("avxvnni") {
                kinds.push(Kind::AvxVnni);
            }
            if avx2 {
                kinds.push(Kind::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            kinds.push(Kind::Neon);
        }
        kinds.push(Kind::Portable);
        kinds.into_iter().map(Self).collect()
    }

    /// The fastest.
    pub fn best() -> Self {
        Self::here().into_iter().next().unwrap_or(Self(Kind::Portable))
    }

    /// The one of this name, if this machine can run it.
    pub fn named(name: &str) -> Option<Self> {
        Self::here().into_iter().find(|kernel| kernel.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Portable => "portable",
        }
    }

    /// Takes embedded rows, [tokens, width], through the trunk's norm and these layers of it, in their place. `starts` are the first token
    /// of every sequence and, last, the number of tokens.
    pub(super) fn layers(self, trunk: &Trunk, layers: &[&Layer], x: &mut [f32], starts: &[usize]) {
        enter!(self, layers(trunk, layers, x, starts));
    }

    /// `x w^T + b` for rows of `stride` floats, of which the first that the matrix has columns for count. A row's
    /// result depends on that row alone. Rows that are shorter give nothing.
    pub fn dense(self, x: &[f32], stride: usize, w: &Dense) -> Vec<f32> {
        let rows = if stride < w.inner { 0 } else { x.len().div_ceil(stride.max(1)) };
        let whole = rows > 0 && x.len() >= (rows - 1) * stride + w.inner;
        let mut out = vec![0.0; if whole { rows * w.outer } else { 0 }];
        enter!(self, dense(x, stride, w, &mut out));
        out
    }

    /// The sum of products of `a` with each row of `b`, whose rows are as long as `a`; exact to 2^16 values.
    pub fn dots(self, a: &[i8], b: &[i8]) -> Vec<i32> {
        let mut out = vec![0; b.len() / a.len().max(1)];
        if !a.is_empty() {
            enter!(self, dots(a, b, &mut out));
        }
        out
    }

    /// `x * Phi(x)` of every value, in its place; absolute error below 3e-6 for |x| <= 8.
    pub fn gelu(self, x: &mut [f32]) {
        enter!(self, gelu_all(x));
    }
}
