//! The same orders and answers as benches/inference.rs, with candle-transformers' BertModel in f32:
//! `stock BASE IDS.jsonl`, where BASE holds config.json and model.safetensors.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde_json::{Value, json};
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, texts] = arguments.as_slice() else {
        eprintln!("usage: stock BASE IDS.jsonl");
        return Ok(());
    };
    let base = Path::new(base);
    let config: Config = serde_json::from_slice(&std::fs::read(base.join("config.json"))?).map_err(candle_core::Error::wrap)?;
    let weights = std::fs::read(base.join("model.safetensors"))?;
    let model = BertModel::load(VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?, &config)?;
    let texts: Vec<Vec<u32>> = std::fs::read_to_string(texts)?
        .lines()
        .map(|line| serde_json::from_str(line).map_err(candle_core::Error::wrap))
        .collect::<Result<_>>()?;
    println!("{}", json!({"kernel": "candle-f32", "texts": texts.len()}));
    for order in std::io::stdin().lock().lines() {
        let order = order?;
        let words: Vec<&str> = order.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["one"] => timed(&model, texts.chunks(1))?,
            ["batch", n] => timed(&model, texts.chunks(n.parse().unwrap_or(32)))?,
            ["sorted", n] => {
                let mut sorted = texts.clone();
                sorted.sort_by_key(Vec::len);
                timed(&model, sorted.chunks(n.parse().unwrap_or(32)))?
            }
            ["vectors"] => {
                let each = texts.iter().map(|text| vectors(&model, std::slice::from_ref(text))?.squeeze(0)?.to_vec1::<f32>());
                json!(each.collect::<Result<Vec<_>>>()?)
            }
            _ => json!({"error": "one, batch N, sorted N or vectors"}),
        };
        println!("{answer}");
    }
    Ok(())
}

/// The mean of each text's vectors, of length 1.
fn vectors(model: &BertModel, batch: &[Vec<u32>]) -> Result<Tensor> {
    let longest = batch.iter().map(Vec::len).max().unwrap_or(0);
    let padded = |fill: &dyn Fn(&[u32], usize) -> u32| {
        let all: Vec<u32> = batch.iter().flat_map(|text| (0..longest).map(|at| fill(text, at))).collect();
        Tensor::from_vec(all, (batch.len(), longest), &Device::Cpu)
    };
    let ids = padded(&|text, at| text.get(at).copied().unwrap_or(0))?;
    let mask = padded(&|text, at| u32::from(at < text.len()))?;
    let hidden = model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
    let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
    let mean = hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
    mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)
}

fn timed<'a>(model: &BertModel, batches: impl Iterator<Item = &'a [Vec<u32>]>) -> Result<Value> {
    let (mut each, mut texts, mut tokens) = (Vec::new(), 0_usize, 0_usize);
    let begun = Instant::now();
    for batch in batches {
        let one = Instant::now();
        std::hint::black_box(vectors(model, batch)?.to_vec2::<f32>()?);
        each.push(one.elapsed().as_secs_f64() * 1e3);
        texts += batch.len();
        tokens += batch.iter().map(Vec::len).sum::<usize>();
    }
    let seconds = begun.elapsed().as_secs_f64();
    each.sort_by(f64::total_cmp);
    let at = |share: f64| each.get((each.len() as f64 * share) as usize).copied();
    Ok(json!({
        "p50_ms": at(0.5), "p99_ms": at(0.99),
        "texts_per_second": texts as f64 / seconds, "tokens_per_second": tokens as f64 / seconds,
    }))
}
