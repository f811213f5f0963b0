//! The encoder in eight-bit integers on the CPU: weights as they are stored, activations rounded token by token, so
//! that a token's vector depends on its own text alone. Sequences stand one after the other without padding.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod kernel;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

pub use kernel::Kernel;
pub use matrix::{Dense, Rows};

use super::{Encoder, MiniLm, Packed, Stored, Top, Weights};
use candle_core::{Device, Result, Tensor, bail};
use kernel::entrances;
use matrix::{LANES, Matrix};

/// Names this way to round, to add up and to approximate; all kernels share it. A change that alters a bit of any
/// result takes the next number.
const ARITHMETIC: &str = "int8.1";

/// Tokens of one pass, where no sequence alone has more.
const TOKENS: usize = 512;

/// Values of an attention head.
const HEAD: usize = 2 * LANES;

pub struct Int8 {
    kernel: Kernel,
    words: Rows,
    positions: Vec<f32>,
    /// The first token type's vector, which is every token's.
    kind: Vec<f32>,
    /// Token types that the stored weights have.
    kinds: Rows,
    places: Rows,
    trunk: Trunk,
}

/// What the kernels go through.
struct Trunk {
    width: usize,
    norm: [Vec<f32>; 2],
    layers: Vec<Layer>,
    /// In the place of the last.
    search: Option<Layer>,
}

impl Trunk {
    /// What a text goes through to this top; empty where there are no weights for it.
    fn layers(&self, top: Top) -> Vec<&Layer> {
        let last = match top {
            Top::Reading => self.layers.last(),
            Top::Search => self.search.as_ref(),
        };
        let below = self.layers.iter().take(self.layers.len().saturating_sub(1));
        last.map_or_else(Vec::new, |last| below.chain([last]).collect())
    }
}

struct Layer {
    qkv: Matrix,
    out: Matrix,
    attention_norm: [Vec<f32>; 2],
    up: Matrix,
    down: Matrix,
    norm: [Vec<f32>; 2],
}

/// Takes weights out of what was stored.
struct Taken<'a>(&'a mut Stored);

impl Taken<'_> {
    fn rows(&mut self, name: &str) -> Result<Rows> {
        match self.0.matrices.remove(name) {
            Some(rows) => Ok(rows),
            None => bail!("weight `{name}` is missing"),
        }
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>> {
        match self.0.vectors.remove(name) {
            Some(vector) => Ok(vector),
            None => bail!("weight `{name}` is missing"),
        }
    }

    fn matrix(&mut self, name: &str, [outer, inner]: [usize; 2]) -> Result<Matrix> {
        let rows = self.rows(&format!("{name}.weight"))?;
        if (rows.count(), rows.columns) != (outer, inner) {
            let found = [rows.count(), rows.columns];
            bail!("weight `{name}.weight` has shape {found:?} where {:?} is needed", [outer, inner]);
        }
        Matrix::new(&rows, self.vector(&format!("{name}.bias"))?)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<[Vec<f32>; 2]> {
        let pair = [self.vector(&format!("{name}.weight"))?, self.vector(&format!("{name}.bias"))?];
        if pair.iter().any(|vector| vector.len() != width) {
            bail!(
                "the weights of `{name}` have {} and {} values where {width} are needed",
                pair[0].len(),
                pair[1].len()
            );
        }
        Ok(pair)
    }
}

impl Int8 {
    /// Takes the encoder's weights away from what was stored.
    pub fn new(stored: &mut Stored, kernel: Kernel) -> Result<Self> {
        let mut taken = Taken(stored);
        let words = taken.rows(MiniLm::WORDS)?;
        let width = words.columns;
        if width == 0 || !width.is_multiple_of(HEAD) {
            bail!("width {width} does not divide into heads of {HEAD}");
        }
        let (places, kinds) = (taken.rows(MiniLm::POSITIONS)?, taken.rows("encoder.types")?);
        if places.columns != width || kinds.columns != width || kinds.count() == 0 {
            bail!("positions and token types are not {width} wide");
        }
        let mut layers = Vec::new();
        while taken.0.matrices.contains_key(&format!("encoder.{}.qkv.weight", layers.len())) {
            layers.push(Layer::new(&mut taken, &format!("encoder.{}", layers.len()), width)?);
        }
        if layers.is_empty() {
            bail!("weight `encoder.0.qkv.weight` is missing");
        }
        let searches = taken.0.matrices.contains_key(&format!("{}.qkv.weight", MiniLm::SEARCH));
        let search = searches.then(|| Layer::new(&mut taken, MiniLm::SEARCH, width)).transpose()?;
        let trunk = Trunk { width, norm: taken.norm("encoder.norm", width)?, layers, search };
        let mut kind = kinds.values();
        kind.truncate(width);
        Ok(Self { kernel, words, positions: places.values(), kind, kinds, places, trunk })
    }

    /// Of attention, in each layer.
    pub fn heads(&self) -> usize {
        self.trunk.width / HEAD
    }

    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// What the trunk makes of a batch below its last layer, which no training of search moves.
    pub(crate) fn below(&self, batch: &Packed) -> Result<Vec<f32>> {
        let below = self.trunk.layers.len().saturating_sub(1);
        self.through(&self.trunk.layers.iter().take(below).collect::<Vec<_>>(), batch)
    }

    fn through(&self, layers: &[&Layer], batch: &Packed) -> Result<Vec<f32>> {
        let mut x = self.embedded(batch)?;
        let (width, mut from) = (self.trunk.width, 0);
        // A few sequences at a time: what a pass writes to stays small, however long the texts are.
        while from + 1 < batch.starts.len() {
            let starts = batch.starts.get(from..).unwrap_or_default();
            let first = starts.first().copied().unwrap_or(0);
            let fit = starts.iter().skip(1).take_while(|end| **end - first <= TOKENS).count().max(1);
            let own: Vec<usize> = starts.iter().take(fit + 1).map(|start| start - first).collect();
            let rows = first * width..(first + own.last().copied().unwrap_or(0)) * width;
            if let Some(x) = x.get_mut(rows).filter(|x| !x.is_empty()) {
                self.kernel.layers(&self.trunk, layers, x, &own);
            }
            from += fit;
        }
        Ok(x)
    }

    /// All layers with what their weights' names begin with.
    fn named(&self) -> impl Iterator<Item = (String, &Layer)> {
        let numbered = self.trunk.layers.iter().enumerate();
        let numbered = numbered.map(|(number, layer)| (format!("encoder.{number}"), layer));
        numbered.chain(self.trunk.search.iter().map(|layer| (MiniLm::SEARCH.to_owned(), layer)))
    }

    /// Word, position and type of every token, added up.
    fn embedded(&self, batch: &Packed) -> Result<Vec<f32>> {
        let width = self.trunk.width;
        let mut x = Vec::with_capacity(batch.tokens() * width);
        for sequence in batch.sequences() {
            let words = batch.rows.get(sequence).unwrap_or_default();
            if words.len() > self.places.count() {
                bail!("a sequence of {} tokens, {} positions", words.len(), self.places.count());
            }
            for (word, position) in words.iter().zip(self.positions.chunks_exact(width)) {
                let (bytes, scale) = self.words.row(*word as usize);
                if bytes.is_empty() {
                    bail!("piece {word} has no row among {}", self.words.count());
                }
                let parts = bytes.iter().zip(position).zip(&self.kind);
                x.extend(parts.map(|((byte, position), kind)| f32::from(*byte) * scale + position + kind));
            }
        }
        Ok(x)
    }
}

impl Layer {
    fn new(taken: &mut Taken, name: &str, width: usize) -> Result<Self> {
        let name = |part: &str| format!("{name}.{part}");
        let up = format!("{}.weight", name("up"));
        let inner = taken.0.matrices.get(&up).map_or(0, Rows::count);
        Ok(Self {
            qkv: taken.matrix(&name("qkv"), [3 * width, width])?,
            out: taken.matrix(&name("out"), [width, width])?,
            attention_norm: taken.norm(&name("attention_norm"), width)?,
            up: taken.matrix(&name("up"), [inner, width])?,
            down: taken.matrix(&name("down"), [width, inner])?,
            norm: taken.norm(&name("norm"), width)?,
        })
    }

    fn matrices(&self) -> [(&'static str, &Matrix); 4] {
        [("qkv", &self.qkv), ("out", &self.out), ("up", &self.up), ("down", &self.down)]
    }
}

impl Encoder for Int8 {
    fn encode(&self, batch: &Packed, top: Top) -> Result<Vec<f32>> {
        let layers = self.trunk.layers(top);
        if layers.is_empty() {
            bail!("{}", MiniLm::NO_SEARCH);
        }
        self.through(&layers, batch)
    }

    fn searches(&self) -> bool {
        self.trunk.search.is_some()
    }

    fn width(&self) -> usize {
        self.trunk.width
    }

    fn reach(&self) -> usize {
        self.places.count()
    }

    fn arithmetic(&self) -> String {
        format!("{ARITHMETIC} {}", self.kernel.as_str())
    }

    fn full(&self) -> Result<Weights> {
        let mut full = Weights::new();
        let mut rows = |name: &str, rows: &Rows| {
            let values = Tensor::from_vec(rows.values(), (rows.count(), rows.columns), &Device::Cpu)?;
            full.insert(name.to_owned(), values);
            Result::Ok(())
        };
        rows(MiniLm::WORDS, &self.words)?;
        rows(MiniLm::POSITIONS, &self.places)?;
        rows("encoder.types", &self.kinds)?;
        let mut vectors = vec![("encoder.norm".to_owned(), &self.trunk.norm)];
        for (name, layer) in self.named() {
            let name = |part: &str| format!("{name}.{part}");
            for (part, matrix) in layer.matrices() {
                rows(&format!("{}.weight", name(part)), &matrix.rows())?;
            }
            vectors.extend([(name("attention_norm"), &layer.attention_norm), (name("norm"), &layer.norm)]);
        }
        let mut vector = |name: String, values: &Vec<f32>| {
            full.insert(name, Tensor::from_slice(values, values.len(), &Device::Cpu)?);
            Result::Ok(())
        };
        for (name, [weight, bias]) in vectors {
            vector(format!("{name}.weight"), weight)?;
            vector(format!("{name}.bias"), bias)?;
        }
        for (name, layer) in self.named() {
            for (part, matrix) in layer.matrices() {
                vector(format!("{name}.{part}.bias"), &matrix.bias)?;
            }
        }
        Ok(full)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
