//! Eight-bit weights: every row of a matrix is stored as signed bytes with one scale, `w = byte * scale`.
//! At load they become f32 again, so the arithmetic is the same as with full weights.

use super::encoder::Weights;
use candle_core::{Device, Result, Tensor, bail};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;

/// Added to a matrix's name for its scales.
const SCALE: &str = ".scale";

/// Matrices as bytes with scales, everything else as f32; the safetensors format.
pub fn pack(weights: &Weights) -> Result<Vec<u8>> {
    let mut parts: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, tensor) in weights {
        let shape = tensor.dims().to_vec();
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        if let [rows, columns] = shape.as_slice() {
            let (bytes, scales) = quantised(&values, *columns);
            parts.insert(name.clone(), (Dtype::I8, shape.clone(), bytes));
            parts.insert(format!("{name}{SCALE}"), (Dtype::F32, vec![*rows], raw(&scales)));
        } else {
            parts.insert(name.clone(), (Dtype::F32, shape, raw(&values)));
        }
    }
    let views = parts
        .iter()
        .map(|(name, (dtype, shape, bytes))| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(candle_core::Error::wrap)?;
    safetensors::serialize(views, None).map_err(candle_core::Error::wrap)
}

/// What `pack` wrote, as f32.
pub fn unpack(bytes: &[u8]) -> Result<Weights> {
    let file = SafeTensors::deserialize(bytes).map_err(candle_core::Error::wrap)?;
    let mut weights = Weights::new();
    for (name, view) in file.iter() {
        if name.ends_with(SCALE) {
            continue;
        }
        let values = match view.dtype() {
            Dtype::F32 => floats(view.data()),
            Dtype::I8 => {
                let scales = file.tensor(&format!("{name}{SCALE}")).map_err(candle_core::Error::wrap)?;
                let scales = floats(scales.data());
                let columns = view.shape().get(1).copied().unwrap_or(0);
                if columns == 0 || scales.len() * columns != view.data().len() {
                    bail!("`{name}` has {} scales for {} bytes", scales.len(), view.data().len());
                }
                let rows = view.data().chunks_exact(columns).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |b| f32::from(b.cast_signed()) * scale))
                    .collect()
            }
            other => bail!("`{name}` is of type {other:?}; a bundle holds F32 and I8"),
        };
        weights.insert(name.to_owned(), Tensor::from_vec(values, view.shape(), &Device::Cpu)?);
    }
    Ok(weights)
}

fn quantised(values: &[f32], columns: usize) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(columns.max(1)) {
        let top = row.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
        let scale = if top > 0.0 { top / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|v| ((v / scale).round().clamp(-127.0, 127.0) as i8).cast_unsigned()));
        scales.push(scale);
    }
    (bytes, scales)
}

fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |b: &[u8]| b.try_into().map_or(0.0, f32::from_le_bytes);
    bytes.chunks_exact(4).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_within_half_a_step_and_vectors_exactly() {
        let matrix: Vec<f32> = vec![0.5, -1.27, 0.003, 0.0, 0.0, 0.0, 100.0, -30.0, 0.2];
        let mut weights = Weights::new();
        weights.insert("m".into(), Tensor::from_vec(matrix.clone(), (3, 3), &Device::Cpu).unwrap());
        weights.insert("v".into(), Tensor::from_vec(vec![0.1_f32, -7.0], 2, &Device::Cpu).unwrap());
        let back = unpack(&pack(&weights).unwrap()).unwrap();
        let m: Vec<f32> = back["m"].flatten_all().unwrap().to_vec1().unwrap();
        for (row, (got, want)) in m.chunks(3).zip(matrix.chunks(3)).enumerate() {
            let step = want.iter().fold(0.0_f32, |t, v| t.max(v.abs())) / 127.0;
            for (a, b) in got.iter().zip(want) {
                assert!((a - b).abs() <= step * 0.5 + 1e-6, "row {row}: {a} {b}");
            }
        }
        assert_eq!(back["v"].to_vec1::<f32>().unwrap(), vec![0.1, -7.0]);
        assert_eq!(back.len(), 2);
    }
}
