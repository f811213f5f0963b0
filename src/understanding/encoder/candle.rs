//! The encoder in candle's own operations, in any precision and on any device that candle knows: what runs on a GPU,
//! and, on the CPU, the reference that the eight-bit kernels are held against.
//!
//! Linear layers take all tokens of a batch without padding. Attention takes sequences of about one length together.

use super::{Encoder, MiniLm, Packed, Top, Weights};
use candle_core::{D, DType, Device, DeviceLocation, Result, Tensor, bail};
use candle_nn::ops::{layer_norm, softmax_last_dim};

/// As BERT has it.
const EPSILON: f32 = 1e-12;

pub struct Candle {
    device: Device,
    precision: DType,
    words: Tensor,
    positions: Tensor,
    /// The first token type's vector, which is every token's.
    kind: Tensor,
    norm: [Tensor; 2],
    layers: Vec<Layer>,
    /// In the place of the last.
    search: Option<Layer>,
    heads: usize,
    /// As they came, for what needs gradients.
    full: Weights,
}

struct Layer {
    qkv: Linear,
    out: Linear,
    attention_norm: [Tensor; 2],
    up: Linear,
    down: Linear,
    norm: [Tensor; 2],
}

/// `x w + b`, the matrix stored transposed.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// Sequences of about one length.
struct Bucket {
    sequences: usize,
    /// The longest; the others are filled up with the batch's first token, which nobody attends to.
    length: usize,
    /// The batch's token at each place, [sequences * length].
    tokens: Tensor,
    /// 0 for a token and minus infinity for filling, [sequences, 1, 1, length].
    mask: Tensor,
}

/// A batch, laid out for attention.
struct Layout {
    buckets: Vec<Bucket>,
    /// The place in the buckets, one after the other, of every token.
    back: Tensor,
}

/// Lengths are filled up to this: multiples of 16 to 64, then powers of two.
fn filled(length: usize) -> usize {
    if length <= 64 { length.next_multiple_of(16) } else { length.next_power_of_two() }
}

impl Candle {
    /// Takes the encoder's weights.
    ///
    /// # Errors
    /// Weights that are missing or do not fit together; a device that has no room for them.
    pub fn new(weights: Weights, device: &Device, precision: DType) -> Result<Self> {
        // Checks names and shapes.
        let shape = MiniLm::new(&weights)?;
        let (heads, width) = (MiniLm::HEADS, shape.width());
        let there = |name: &str| -> Result<Tensor> {
            match weights.get(name) {
                Some(tensor) => tensor.to_device(device)?.to_dtype(precision),
                None => bail!("weight `{name}` is missing"),
            }
        };
        let pair = |name: &str| -> Result<[Tensor; 2]> {
            Ok([there(&format!("{name}.weight"))?, there(&format!("{name}.bias"))?])
        };
        let linear = |name: &str| -> Result<Linear> {
            let [weight, bias] = pair(name)?;
            Ok(Linear { weight: weight.t()?.contiguous()?, bias })
        };
        let layer = |name: &str| -> Result<Layer> {
            let name = |part: &str| format!("{name}.{part}");
            Ok(Layer {
                qkv: linear(&name("qkv"))?,
                out: linear(&name("out"))?,
                attention_norm: pair(&name("attention_norm"))?,
                up: linear(&name("up"))?,
                down: linear(&name("down"))?,
                norm: pair(&name("norm"))?,
            })
        };
        let mut layers = Vec::new();
        while weights.contains_key(&format!("encoder.{}.qkv.weight", layers.len())) {
            layers.push(layer(&format!("encoder.{}", layers.len()))?);
        }
        Ok(Self {
            device: device.clone(),
            precision,
            words: there(MiniLm::WORDS)?,
            positions: there(MiniLm::POSITIONS)?,
            kind: there("encoder.types")?.narrow(0, 0, 1)?.reshape((1, width))?,
            norm: pair("encoder.norm")?,
            layers,
            search: MiniLm::searching(&weights).then(|| layer(MiniLm::SEARCH)).transpose()?,
            heads,
            full: weights.into_iter().filter(|(name, _)| Top::owns(name)).collect(),
        })
    }

    fn layout(&self, batch: &Packed) -> Result<Layout> {
        let mut sequences: Vec<_> = batch.sequences().into_iter().filter(|range| !range.is_empty()).collect();
        sequences.sort_by_key(ExactSizeIterator::len);
        let mut back = vec![0; batch.tokens()];
        let (mut buckets, mut place) = (Vec::new(), 0);
        for bucket in sequences.chunk_by(|a, b| filled(a.len()) == filled(b.len())) {
            let length = bucket.last().map_or(0, ExactSizeIterator::len);
            let (mut tokens, mut mask) = (Vec::new(), Vec::new());
            for range in bucket {
                for (to, token) in back.iter_mut().skip(range.start).take(range.len()).zip(place..) {
                    *to = token;
                }
                place += u32::try_from(length).map_err(candle_core::Error::wrap)?;
                let filling = length - range.len();
                tokens.extend((range.start as u32..range.end as u32).chain(std::iter::repeat_n(0, filling)));
                mask.extend(std::iter::repeat_n(0.0_f32, range.len()));
                mask.extend(std::iter::repeat_n(f32::NEG_INFINITY, filling));
            }
            buckets.push(Bucket {
                sequences: bucket.len(),
                length,
                tokens: Tensor::new(tokens, &self.device)?,
                mask: Tensor::from_vec(mask, (bucket.len(), 1, 1, length), &self.device)?
                    .to_dtype(self.precision)?,
            });
        }
        Ok(Layout { buckets, back: Tensor::new(back, &self.device)? })
    }

    /// Word, position and type of every token, added up, [tokens, width].
    fn embedded(&self, batch: &Packed) -> Result<Tensor> {
        let mut positions = Vec::with_capacity(batch.tokens());
        for range in batch.sequences() {
            if range.len() > self.reach() {
                bail!("a sequence of {} tokens, {} positions", range.len(), self.reach());
            }
            positions.extend(0..range.len() as u32);
        }
        let words = Tensor::new(batch.rows.as_slice(), &self.device)?;
        let positions = self.positions.index_select(&Tensor::new(positions, &self.device)?, 0)?;
        (self.words.index_select(&words, 0)? + positions)?.broadcast_add(&self.kind)
    }

    /// Self-attention within each sequence, [tokens, width].
    fn attention(&self, qkv: &Tensor, layout: &Layout) -> Result<Tensor> {
        let width = qkv.dim(1)? / 3;
        let size = width / self.heads;
        let scale = 1.0 / (size as f64).sqrt();
        let mut mixed = Vec::with_capacity(layout.buckets.len());
        for Bucket { sequences, length, tokens, mask } in &layout.buckets {
            let split = qkv.index_select(tokens, 0)?.reshape((*sequences, *length, 3, self.heads, size))?;
            let part = |at: usize| split.narrow(2, at, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
            let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
            let scores = (queries.matmul(&keys.transpose(2, 3)?)? * scale)?.broadcast_add(mask)?;
            let mix = softmax_last_dim(&scores)?.matmul(&values)?;
            mixed.push(mix.transpose(1, 2)?.reshape((sequences * length, width))?);
        }
        Tensor::cat(&mixed, 0)?.index_select(&layout.back, 0)
    }

    fn vectors(&self, batch: &Packed, top: Top) -> Result<Tensor> {
        let last = match top {
            Top::Reading => self.layers.last(),
            Top::Search => self.search.as_ref(),
        };
        let Some(last) = last else { bail!("{}", MiniLm::NO_SEARCH) };
        let below = self.layers.len().saturating_sub(1);
        let layout = self.layout(batch)?;
        let norm = |x: &Tensor, [weight, bias]: &[Tensor; 2]| layer_norm(x, weight, bias, EPSILON);
        let mut x = norm(&self.embedded(batch)?, &self.norm)?;
        for layer in self.layers.iter().take(below).chain([last]) {
            let mixed = self.attention(&layer.qkv.forward(&x)?, &layout)?;
            x = norm(&(x + layer.out.forward(&mixed)?)?, &layer.attention_norm)?;
            let inner = layer.down.forward(&layer.up.forward(&x)?.gelu_erf()?)?;
            x = norm(&(x + inner)?, &layer.norm)?;
        }
        Ok(x)
    }
}

impl Encoder for Candle {
    fn encode(&self, batch: &Packed, top: Top) -> Result<Vec<f32>> {
        if batch.tokens() == 0 {
            return Ok(Vec::new());
        }
        self.vectors(batch, top)?.to_dtype(DType::F32)?.flatten(0, D::Minus1)?.to_vec1()
    }

    fn searches(&self) -> bool {
        self.search.is_some()
    }

    fn width(&self) -> usize {
        self.words.dim(1).unwrap_or(0)
    }

    fn reach(&self) -> usize {
        self.positions.dim(0).unwrap_or(0)
    }

    fn arithmetic(&self) -> String {
        let place = match self.device.location() {
            DeviceLocation::Cpu => "cpu".to_owned(),
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        };
        format!("{} {place}", self.precision.as_str())
    }

    fn full(&self) -> Result<Weights> {
        Ok(self.full.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::understanding::bundle;
    use crate::understanding::encoder::kernels;
    use crate::understanding::quantise;
    use crate::understanding::tokens::Tokens;
    use std::path::Path;

    const TEXTS: [&str; 5] = [
        "Karte weg",
        "My card was stolen at the station, please block it before somebody pays with it!",
        "Hi",
        "Ich heiße Angelika Müller-Lüdenscheidt, meine Kontonummer ist ABCO1234, und ich komme nicht mehr hinein, \
         obwohl ich das Kennwort gestern erst geändert habe und die App auf dem neuen Gerät installiert ist, das ich \
         von meiner Bank bekommen habe, als ich in der Filiale war und mich ausgewiesen habe; was kann ich jetzt tun?",
        "transfer still pending since tuesday",
    ];

    fn shipped() -> (Weights, Vec<Vec<u32>>) {
        let opened = bundle::open(Path::new("models/default")).unwrap();
        let tokens = Tokens::from_bytes(&opened.tokenizer, 512).unwrap();
        let texts = TEXTS.iter().map(|text| tokens.read(text).unwrap().ids).collect();
        (quantise::full(&opened.weights).unwrap(), texts)
    }

    fn farthest(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn in_f32_it_says_what_the_trained_encoder_says() {
        let (weights, texts) = shipped();
        let (trained, candle) =
            (MiniLm::new(&weights).unwrap(), Candle::new(weights, &Device::Cpu, DType::F32).unwrap());
        // An empty sequence among the others, and two of one length.
        let batch = Packed::new(texts.iter().map(Vec::as_slice).chain([[].as_slice(), texts[0].as_slice()]));
        let (a, b) =
            (trained.encode(&batch, Top::Reading).unwrap(), candle.encode(&batch, Top::Reading).unwrap());
        assert!(farthest(&a, &b) < 1e-4, "{}", farthest(&a, &b));
        let alone = candle.encode(&Packed::new([texts[1].as_slice()]), Top::Reading).unwrap();
        let range = batch.sequences()[1].clone();
        assert!(farthest(&alone, &b[range.start * 384..range.end * 384]) < 1e-4);
        assert_eq!(candle.arithmetic(), "f32 cpu");
        assert_eq!(candle.encode(&Packed::new([]), Top::Reading).unwrap(), [] as [f32; 0]);
        assert!(candle.encode(&Packed::new([[1; 513].as_slice()]), Top::Reading).is_err());
    }

    #[test]
    fn in_sixteen_bits_it_stays_close() {
        let (weights, texts) = shipped();
        let trained = MiniLm::new(&weights).unwrap();
        let candle = Candle::new(weights, &Device::Cpu, DType::BF16).unwrap();
        let batch = Packed::new(texts.iter().map(Vec::as_slice));
        let mean = |encoder: &dyn Encoder| {
            kernels::means(
                &encoder.encode(&batch, Top::Reading).unwrap(),
                encoder.width(),
                &batch.sequences(),
            )
        };
        let (a, b) = (mean(&trained), mean(&candle));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for (a, b) in a.chunks(384).zip(b.chunks(384)) {
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine > 0.999, "{cosine}");
        }
    }
}
