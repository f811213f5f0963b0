//! AdamW (Loshchilov and Hutter 2019), one pass over each tensor.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use std::sync::Mutex;

/// What is the same for every tensor in one step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The number of this step, from 1.
    pub number: i32,
    pub rate: f32,
    pub decay: f32,
    /// Gradients are multiplied by this (clipping).
    pub scale: f32,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// First and second moments of one tensor.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl Moments {
    pub fn zero(n: usize) -> Self {
        Self { first: vec![0.0; n], second: vec![0.0; n] }
    }
}

/// Moves `weights` against `gradient`.
pub fn update(step: Step, weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
    let correct1 = 1.0 / (1.0 - BETA1.powi(step.number));
    let correct2 = 1.0 / (1.0 - BETA2.powi(step.number));
    let keep = 1.0 - step.rate * step.decay;
    let moments = first.iter_mut().zip(second.iter_mut());
    for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
        let g = g * step.scale;
        *m = BETA1 * *m + (1.0 - BETA1) * g;
        *v = BETA2 * *v + (1.0 - BETA2) * g * g;
        *w = *w * keep - step.rate * (*m * correct1) / ((*v * correct2).sqrt() + EPSILON);
    }
}

/// Updates a variable in place.
pub fn apply(step: Step, variable: &Tensor, gradient: &Tensor, moments: &Mutex<Moments>) -> Result<()> {
    variable.inplace_op2(&gradient.contiguous()?, &InPlace { step, moments })
}

struct InPlace<'a> {
    step: Step,
    moments: &'a Mutex<Moments>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, lw: &Layout, g: &CpuStorage, lg: &Layout) -> Result<()> {
        let (CpuStorage::F32(w), CpuStorage::F32(g)) = (w, g) else { bail!("adamw takes f32 values") };
        let (Some((w0, w1)), Some((g0, g1))) = (lw.contiguous_offsets(), lg.contiguous_offsets()) else {
            bail!("adamw takes contiguous values")
        };
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Moments { first, second } = &mut *moments;
        let (Some(w), Some(g)) = (w.get_mut(w0..w1), g.get(g0..g1)) else { bail!("adamw: wrong offsets") };
        if w.len() != g.len() || w.len() != first.len() || w.len() != second.len() {
            bail!("adamw: {} weights, {} gradients, {} moments", w.len(), g.len(), first.len());
        }
        update(self.step, w, g, first, second);
        Ok(())
    }
}

/// The rate at a step: rises linearly over the first `warm` steps, then falls linearly to 0 at `total`.
pub fn schedule(step: usize, warm: usize, total: usize) -> f32 {
    if step < warm {
        (step + 1) as f32 / warm as f32
    } else {
        (total.saturating_sub(step)) as f32 / (total - warm).max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_rate_against_the_gradient() {
        let step = Step { number: 1, rate: 0.1, decay: 0.01, scale: 1.0 };
        let (mut w, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
        update(step, &mut w, &[0.5, -3.0], &mut m, &mut v);
        // Bias correction makes the first step rate * sign(gradient), after decoupled decay.
        assert!((w[0] - (1.0 - 0.001 - 0.1)).abs() < 1e-5 && (w[1] - (1.0 - 0.001 + 0.1)).abs() < 1e-5);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert_eq!(schedule(0, 10, 110), 0.1);
        assert_eq!(schedule(10, 10, 110), 1.0);
        assert!(schedule(109, 10, 110) > 0.0 && schedule(110, 10, 110) == 0.0);
    }
}
