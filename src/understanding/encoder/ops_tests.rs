//! Every gradient against central differences.

use super::*;
use candle_core::{Device, Var};

fn noise(seed: u64, n: usize) -> Vec<f32> {
    (0..n).map(|i| (mixed(seed, i as u64) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// Compares the gradient of `sum(f(inputs) * noise)` with differences, for a sample of entries.
fn check(inputs: &[(Vec<f32>, Vec<usize>)], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let loss = |values: &[Vec<f32>]| -> (Vec<Var>, Tensor) {
        let vars: Vec<Var> = values
            .iter()
            .zip(inputs)
            .map(|(v, (_, shape))| Var::from_vec(v.clone(), shape.as_slice(), &Device::Cpu).unwrap())
            .collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let out = f(&tensors).unwrap();
        let weight = Tensor::from_vec(noise(99, out.elem_count()), out.shape(), &Device::Cpu).unwrap();
        let total = (out * weight).unwrap().sum_all().unwrap();
        (vars, total)
    };
    let values: Vec<Vec<f32>> = inputs.iter().map(|(v, _)| v.clone()).collect();
    let (vars, total) = loss(&values);
    let grads = total.backward().unwrap();
    for (which, var) in vars.iter().enumerate() {
        let got: Vec<f32> = grads.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for entry in (0..got.len()).step_by((got.len() / 12).max(1)) {
            let at = |delta: f32| {
                let mut moved = values.clone();
                moved[which][entry] += delta;
                f64::from(loss(&moved).1.to_scalar::<f32>().unwrap())
            };
            let want = (at(5e-3) - at(-5e-3)) / 1e-2;
            let error = (f64::from(got[entry]) - want).abs();
            assert!(error < 2e-2 * (1.0 + want.abs()), "input {which} entry {entry}: {} {want}", got[entry]);
        }
    }
}

#[test]
fn linear_gradient() {
    let inputs = [(noise(1, 15), vec![3, 5]), (noise(2, 20), vec![4, 5]), (noise(3, 4), vec![4])];
    check(&inputs, |t| linear(&t[0], &t[1], &t[2]));
}

#[test]
fn gelu_gradient() {
    check(&[(noise(4, 40).iter().map(|x| x * 4.0).collect(), vec![4, 10])], |t| gelu(&t[0]));
}

#[test]
fn layer_norm_gradient() {
    let inputs = [(noise(5, 48), vec![3, 16]), (noise(6, 16), vec![16]), (noise(7, 16), vec![16])];
    check(&inputs, |t| layer_norm(&t[0], &t[1], &t[2]));
}

#[test]
fn attention_gradient_and_independence_of_sequences() {
    let starts = Arc::new(vec![0, 3, 4, 9]);
    let inputs = [(noise(8, 9 * 24), vec![9, 24])];
    check(&inputs, |t| attention(&t[0], &starts, 2));
    let whole = Tensor::from_vec(noise(8, 9 * 24), (9, 24), &Device::Cpu).unwrap();
    let all: Vec<Vec<f32>> = attention(&whole, &starts, 2).unwrap().to_vec2().unwrap();
    let last = whole.narrow(0, 4, 5).unwrap().contiguous().unwrap();
    let alone: Vec<Vec<f32>> = attention(&last, &Arc::new(vec![0, 5]), 2).unwrap().to_vec2().unwrap();
    assert_eq!(all[4..], alone[..]);
}

#[test]
fn embed_means_and_residual_gradients() {
    let batch = super::super::Packed { rows: Arc::new(vec![2, 0, 2, 1]), starts: Arc::new(vec![0, 3, 4]) };
    let inputs = [(noise(9, 12), vec![3, 4]), (noise(10, 16), vec![4, 4]), (noise(11, 8), vec![2, 4])];
    check(&inputs, |t| embed(&t[0], &t[1], &t[2], &batch));
    check(&[(noise(12, 24), vec![6, 4])], |t| means(&t[0], vec![0..2, 1..6]));
    let inputs = [(noise(13, 24), vec![6, 4]), (noise(14, 24), vec![6, 4])];
    check(&inputs, |t| residual(&t[0], &t[1], Dropout { rate: 0.3, seed: 7 }));
}

#[test]
fn dropout_keeps_the_mean() {
    let drop = Dropout { rate: 0.25, seed: 3 };
    let mean = (0..10_000).map(|i| drop.factor(i)).sum::<f32>() / 10_000.0;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
}
