//! Eight-bit weights: every row of a matrix is stored as signed bytes with one scale, `w = byte * scale`.

use super::encoder::{Rows, Stored, Weights};
use candle_core::{Device, Result, Tensor, bail};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;

/// Added to a matrix's name for its scales.
const SCALE: &str = ".scale";

/// Matrices as bytes with scales, everything else as f32; the safetensors format.
pub fn pack(weights: &Weights) -> Result<Vec<u8>> {
    packed(rounded(weights)?)
}

/// What `unpack` gives back.
pub fn packed(Stored { matrices, vectors }: Stored) -> Result<Vec<u8>> {
    let mut parts: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, Rows { bytes, scales, columns }) in matrices {
        let rows = scales.len();
        parts.insert(format!("{name}{SCALE}"), (Dtype::F32, vec![rows], raw(&scales)));
        let bytes = bytes.into_iter().map(i8::cast_unsigned).collect();
        parts.insert(name, (Dtype::I8, vec![rows, columns], bytes));
    }
    for (name, values) in vectors {
        parts.insert(name, (Dtype::F32, vec![values.len()], raw(&values)));
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

/// As `pack` stores them.
pub fn rounded(weights: &Weights) -> Result<Stored> {
    let mut stored = Stored::default();
    for (name, tensor) in weights {
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        match *tensor.dims() {
            [_, columns] => stored.matrices.insert(name.clone(), quantised(&values, columns)).map(drop),
            [_] => stored.vectors.insert(name.clone(), values).map(drop),
            ref dims => bail!("`{name}` has the shape {dims:?}; a bundle holds matrices and vectors"),
        };
    }
    Ok(stored)
}

/// What `pack` wrote.
///
/// # Errors
/// Bytes that are not of the format, other types than F32 and I8, or a value that is no number.
pub fn unpack(bytes: &[u8]) -> Result<Stored> {
    let file = SafeTensors::deserialize(bytes).map_err(candle_core::Error::wrap)?;
    let mut stored = Stored::default();
    let finite = |name: &str, values: Vec<f32>| match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => bail!("weight `{name}` holds a value that is no number"),
    };
    for (name, view) in file.iter() {
        if name.ends_with(SCALE) {
            continue;
        }
        match (view.dtype(), view.shape()) {
            (Dtype::F32, [_]) => {
                stored.vectors.insert(name.to_owned(), finite(name, floats(view.data()))?);
            }
            (Dtype::I8, [rows, columns]) if *columns > 0 => {
                let scales = file.tensor(&format!("{name}{SCALE}")).map_err(candle_core::Error::wrap)?;
                let scales = finite(name, floats(scales.data()))?;
                if scales.len() != *rows {
                    bail!("`{name}` has {} scales for {rows} rows", scales.len());
                }
                let bytes = view.data().iter().map(|byte| byte.cast_signed()).collect();
                stored.matrices.insert(name.to_owned(), Rows { bytes, scales, columns: *columns });
            }
            (dtype, shape) => {
                bail!(
                    "`{name}` is of type {dtype:?} and shape {shape:?}; a bundle holds F32 vectors and I8 matrices"
                )
            }
        }
    }
    Ok(stored)
}

/// As f32.
pub fn full(stored: &Stored) -> Result<Weights> {
    let matrices = stored.matrices.iter().map(|(name, rows)| {
        let shape = (rows.count(), rows.columns);
        Ok((name.clone(), Tensor::from_vec(rows.values(), shape, &Device::Cpu)?))
    });
    let vectors = stored
        .vectors
        .iter()
        .map(|(name, values)| Ok((name.clone(), Tensor::from_slice(values, values.len(), &Device::Cpu)?)));
    matrices.chain(vectors).collect()
}

fn quantised(values: &[f32], columns: usize) -> Rows {
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(columns.max(1)) {
        let top = row.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
        let scale = if top > 0.0 { top / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8));
        scales.push(scale);
    }
    Rows { bytes, scales, columns }
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
        let stored = unpack(&pack(&weights).unwrap()).unwrap();
        assert_eq!(stored.matrices, rounded(&weights).unwrap().matrices);
        let back = full(&stored).unwrap();
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
