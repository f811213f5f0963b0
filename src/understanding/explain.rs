//! Which words drove the leaf: integrated gradients (Sundararajan, Taly, Yan 2017) from a text whose pieces
//! are all hidden to the text as it is, and what found each value.
//!
//! The score is the leaf's calibrated log-odds, `ln(P / (1 - P))`: unlike a probability it still moves where
//! the model is sure. Gradients need floats and a reading has eight bits: what that changes is a part of its own,
//! `rounding`. It and the parts of all words add up to the score's distance from the hidden text's; `gap` says how far
//! they fall short.

use super::encoder::{Packed, Strain, ops};
use super::fields::{Known, Proposed};
use super::heads::{self, intent};
use super::model::{Input, Model, Shadow};
use super::nearest::{Near, Nearest};
use super::read::Understanding;
use super::reading::{Extracted, Reading};
use super::tokens::Tokenized;
use super::{Extraction, UnderstandingError};
use crate::base::Language;
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Why a reading says what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// One for each intent of the reading, in its order; none for a text that the encoder reads in windows.
    pub intents: Vec<Drivers>,
    /// One for each value of the reading, in the order of the text.
    pub values: Vec<Origin>,
    /// Labelled lines of training nearest to the text, the nearest first; empty where none are at hand.
    pub lines: Vec<Near>,
}

/// A reading, with its explanation where one was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    #[serde(flatten)]
    pub reading: Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drivers {
    pub leaf: String,
    /// Log-odds of the leaf, natural logarithm.
    pub score: f64,
    /// The same with every word hidden.
    pub hidden: f64,
    /// Every word of the message with what it adds to the score; below zero where it speaks against the leaf.
    pub words: Vec<Driver>,
    /// What it adds that readings are taken in eight bits; no word's doing.
    #[serde(default)]
    pub rounding: f64,
    /// What the words' parts and `rounding` miss of `score - hidden`, as a share of it.
    pub gap: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    pub text: String,
    /// Characters of the message.
    pub start: usize,
    pub end: usize,
    pub adds: f64,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub field: String,
    pub text: String,
    pub start: usize,
    pub end: usize,
    /// `recogniser: <field>` where its structure was checked, `head: <group>` where a model marked it; both
    /// where both did.
    pub found_by: Vec<String>,
}

/// Whether somebody still waits for an explanation.
pub type Wanted<'a> = &'a dyn Fn() -> bool;

/// The piece that stands for hidden text.
const HIDDEN: &str = "[MASK]";
/// Labelled lines that an explanation names.
const NEAREST: usize = 5;
/// Pieces of one pass forward and back; more would need gigabytes for a long text.
const PIECES: usize = 1_024;
/// Panels of eight points are doubled until the words' parts miss less than this share, or until the next
/// doubling would take more pieces than `PASSED` forward and back.
const GAP: f64 = 0.01;
const PASSED: usize = 32_768;
/// Nodes in 0..1 and weights of Gauss and Legendre's rule with eight points.
const NODES: [(f64, f64); 8] = [
    (0.019_855_071_751_231_856, 0.050_614_268_145_188_13),
    (0.101_666_761_293_186_64, 0.111_190_517_226_687_24),
    (0.237_233_795_041_835_5, 0.156_853_322_938_943_66),
    (0.408_282_678_752_175_1, 0.181_341_891_689_180_98),
    (0.591_717_321_247_825, 0.181_341_891_689_180_98),
    (0.762_766_204_958_164_5, 0.156_853_322_938_943_66),
    (0.898_333_238_706_813_4, 0.111_190_517_226_687_24),
    (0.980_144_928_248_768_2, 0.050_614_268_145_188_13),
];

impl Understanding {
    /// A text's reading, with its explanation where it is asked for.
    pub fn explained(
        &self,
        (id, text, language): (&str, &str, Language),
        known: &[Known],
        explain: Option<Wanted>,
        nearest: Option<&Nearest>,
    ) -> Result<Explained, UnderstandingError> {
        let reading = self.read(id, text, language, known)?;
        let explanation = explain.map(|wanted| self.explanation((text, &reading), known, wanted, nearest));
        let explanation = explanation.transpose()?;
        Ok(Explained { reading, explanation })
    }

    /// The explanation of a reading of this text, and the nearest labelled lines where they were read by this bundle.
    pub fn explanation(
        &self,
        (text, reading): (&str, &Reading),
        known: &[Known],
        wanted: Wanted,
        nearest: Option<&Nearest>,
    ) -> Result<Explanation, UnderstandingError> {
        let mut explanation = self.explain(text, reading, known, wanted)?;
        if let Some(nearest) = nearest.filter(|nearest| nearest.model() == self.digest()) {
            explanation.lines = nearest.find(self, text, NEAREST)?;
        }
        Ok(explanation)
    }

    /// Explains a reading of this text. Costs some fifty readings, up to `PASSED` pieces forward and back where
    /// the way is uneven: a second for a short message, up to a minute for 512 pieces.
    ///
    /// # Errors
    /// `Unwanted` soon after nobody wants it any more.
    pub fn explain(
        &self,
        text: &str,
        reading: &Reading,
        known: &[Known],
        wanted: Wanted,
    ) -> Result<Explanation, UnderstandingError> {
        let tokens = self.tokens().read(text)?;
        let letters: Vec<char> = text.chars().collect();
        let input = Input::new(text, tokens.clone(), self.lexicon());
        let hidden = self.tokens().id(HIDDEN).unwrap_or_default();
        let raw = self.model().run(&[&input])?.into_iter().next().unwrap_or_default();
        let parts = self.parts(&input, &raw, letters.len(), reading.language);
        let shadow = self.model().shadow()?;
        let mut intents = Vec::new();
        // What was read in windows has no one way from hidden to shown.
        let explained = if tokens.truncated { &[] } else { reading.intents.as_slice() };
        for (intent, part) in explained.iter().zip(&parts) {
            let Some(leaf) = self.schema().intents.leaf(&intent.leaf) else { continue };
            let place = if parts.len() < 2 { None } else { input.words_in(part.voice.0, part.voice.1) };
            let pieces = place.and_then(|words| {
                let first = tokens.words.get(words.start)?;
                Some(first.pieces.start..tokens.words.get(words.end.checked_sub(1)?)?.pieces.end)
            });
            let goal = Goal {
                model: self.model(),
                shadow: &shadow,
                temperature: self.calibration().intent.of(reading.language),
                mix: self.mix(),
                leaf,
                score: part.scores.log_odds(&self.model().shape.edges, leaf),
                most: PASSED / reading.intents.len().max(1),
                pieces: pieces.unwrap_or(0..tokens.ids.len()),
                wanted,
            };
            intents.push(goal.drivers(&tokens, hidden, &letters, &intent.leaf)?);
        }
        let values = origins(reading, &self.spans(text, reading.language)?, known, &self.schema().extraction);
        Ok(Explanation { intents, values, lines: Vec::new() })
    }
}

/// The log-odds of a leaf over these pieces' mean vector.
struct Goal<'a> {
    model: &'a Model,
    shadow: &'a Shadow,
    temperature: f64,
    mix: &'a [f64],
    leaf: usize,
    /// What the reading says, with its eight bits.
    score: f64,
    /// Pieces that may be passed forward and back.
    most: usize,
    pieces: Range<usize>,
    wanted: Wanted<'a>,
}

/// Word vectors of a text, one row a piece.
struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Goal<'_> {
    fn drivers(
        &self,
        tokens: &Tokenized,
        hidden: u32,
        letters: &[char],
        leaf: &str,
    ) -> Result<Drivers, UnderstandingError> {
        let inside = |at: usize| tokens.words.iter().any(|word| word.pieces.contains(&at));
        let masked: Vec<u32> =
            tokens.ids.iter().enumerate().map(|(at, id)| if inside(at) { hidden } else { *id }).collect();
        let (from, to) = (self.rows(&masked)?, self.rows(&tokens.ids)?);
        let ends = self.scores(&[from.values.clone(), to.values.clone()].concat(), from.width, 2)?;
        let (Some((hidden, _)), Some((full, _))) = (ends.first(), ends.get(1)) else {
            return Err(candle_core::Error::Msg("no score".to_owned()).into());
        };
        let mut panels = 1;
        let missed = |parts: &[f64]| {
            (full - hidden - parts.iter().sum::<f64>()).abs() / (self.score - hidden).abs().max(1e-9)
        };
        let parts = loop {
            let parts = self.integral(&from, &to, panels)?;
            if missed(&parts) <= GAP || 2 * panels * NODES.len() * tokens.ids.len() > self.most {
                break parts;
            }
            panels *= 2;
        };
        let driver = |word: &super::tokens::Word| Driver {
            text: letters.get(word.start..word.end).unwrap_or_default().iter().collect(),
            start: word.start,
            end: word.end,
            adds: rounded(parts.get(word.pieces.clone()).unwrap_or_default().iter().sum()),
        };
        Ok(Drivers {
            leaf: leaf.to_owned(),
            score: rounded(self.score),
            hidden: rounded(*hidden),
            words: tokens.words.iter().map(driver).collect(),
            rounding: rounded(self.score - full),
            gap: rounded(missed(&parts)),
        })
    }

    fn rows(&self, ids: &[u32]) -> Result<Rows, UnderstandingError> {
        let table = &self.shadow.words;
        let width = table.dim(1)?;
        let rows = table.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        Ok(Rows { values: rows.flatten_all()?.to_vec1()?, width })
    }

    /// What every piece adds on the straight way from one text to the other.
    fn integral(&self, from: &Rows, to: &Rows, panels: usize) -> Result<Vec<f64>, UnderstandingError> {
        let (width, pieces) = (from.width, from.values.len() / from.width.max(1));
        let points: Vec<(f64, f64)> = (0..panels)
            .flat_map(|panel| {
                let share = 1.0 / panels as f64;
                NODES.iter().map(move |(at, weight)| ((panel as f64 + at) * share, weight * share))
            })
            .collect();
        let mut parts = vec![0.0; pieces];
        for chunk in points.chunks((PIECES / pieces.max(1)).max(1)) {
            if !(self.wanted)() {
                return Err(UnderstandingError::Unwanted);
            }
            let mut rows = Vec::with_capacity(chunk.len() * from.values.len());
            for (at, _) in chunk {
                let between = |(a, b): (&f32, &f32)| a + (b - a) * *at as f32;
                rows.extend(from.values.iter().zip(&to.values).map(between));
            }
            let found = self.scores(&rows, width, chunk.len())?;
            for ((_, weight), (_, gradient)) in chunk.iter().zip(found) {
                let steps = gradient.chunks_exact(width).zip(from.values.chunks_exact(width));
                let steps = steps.zip(to.values.chunks_exact(width));
                for (part, ((gradient, from), to)) in parts.iter_mut().zip(steps) {
                    let moved = gradient.iter().zip(from.iter().zip(to));
                    *part += weight * moved.map(|(g, (a, b))| f64::from(*g) * f64::from(b - a)).sum::<f64>();
                }
            }
        }
        Ok(parts)
    }

    /// For every one of `count` texts of the same length, given as word vectors: its score, and the score's
    /// slope by those vectors.
    fn scores(
        &self,
        rows: &[f32],
        width: usize,
        count: usize,
    ) -> Result<Vec<(f64, Vec<f32>)>, UnderstandingError> {
        let length = rows.len() / width.max(1) / count.max(1);
        let places: Vec<u32> = (0..length * count).map(|at| at as u32).collect();
        let batch = Packed::new(places.chunks(length.max(1)));
        let words = Var::from_slice(rows, (length * count, width), &Device::Cpu)?;
        let hidden = self.shadow.encoder.forward(words.as_tensor(), &batch, Strain::default())?;
        let pooled = (0..count).map(|text| {
            let start = text * length;
            start + self.pieces.start..start + self.pieces.end
        });
        let logits =
            heads::apply(self.model.weights(), intent::NAME, &ops::means(&hidden, pooled.collect())?)?;
        let (scores, slopes): (Vec<f64>, Vec<Vec<f32>>) = logits
            .to_vec2::<f32>()?
            .iter()
            .map(|logits| self.model.shape.log_odds(logits, self.temperature, self.mix, self.leaf))
            .unzip();
        let slopes = Tensor::from_vec(slopes.concat(), logits.dims2()?, &Device::Cpu)?;
        let gradients = (logits * slopes)?.sum_all()?.backward()?;
        let gradients: Vec<f32> = match gradients.get(&words) {
            Some(gradient) => gradient.flatten_all()?.to_vec1()?,
            None => vec![0.0; rows.len()],
        };
        let each = gradients.chunks(length.max(1) * width.max(1)).map(<[f32]>::to_vec);
        Ok(scores.into_iter().zip(each).collect())
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn origins(
    reading: &Reading,
    proposed: &[Proposed],
    known: &[Known],
    extraction: &Extraction,
) -> Vec<Origin> {
    let mut origins = Vec::new();
    let values = reading.fields.values().flatten();
    for (field, value) in values.flat_map(|(field, values)| values.iter().map(move |value| (field, value))) {
        let meets = |start: usize, end: usize| start < value.end && value.start < end;
        let mut found_by: Vec<String> = known
            .iter()
            .filter(|known| meets(known.start, known.end) && known.text == value.text)
            .map(|known| format!("recogniser: {}", known.field))
            .collect();
        let heads = proposed.iter().filter(|span| meets(span.start, span.end));
        let marks = |span: &Proposed| {
            let group = extraction.groups.get(span.group)?;
            (group.fields.get(span.field)?.id == *field).then(|| format!("head: {}", group.id))
        };
        found_by.extend(heads.filter_map(marks));
        found_by.dedup();
        let Extracted { text, start, end, .. } = value;
        origins.push(Origin { field: field.clone(), text: text.clone(), start: *start, end: *end, found_by });
    }
    origins.sort_by_key(|origin| (origin.start, origin.end));
    origins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Language;
    use crate::understanding::Schema;
    use std::path::Path;

    fn shipped() -> Understanding {
        let schema = Schema::read(Path::new("config")).unwrap();
        Understanding::load(Path::new("models/default"), &schema).unwrap()
    }

    #[test]
    fn the_words_add_up_to_the_score() {
        let models = shipped();
        for (text, language) in [
            ("Meine Karte wurde im Zug gestohlen, bitte sofort sperren!", Language::De),
            ("How long does a transfer to Spain take?", Language::En),
        ] {
            let reading = models.read("m1", text, language, &[]).unwrap();
            let explained = models.explain(text, &reading, &[], &|| true).unwrap();
            assert_eq!(explained, models.explain(text, &reading, &[], &|| true).unwrap());
            let [drivers] = explained.intents.as_slice() else { panic!("{explained:?}") };
            assert_eq!(Some(drivers.leaf.as_str()), reading.leaf());
            let sum: f64 = drivers.words.iter().map(|word| word.adds).sum::<f64>() + drivers.rounding;
            let distance = drivers.score - drivers.hidden;
            assert!(drivers.gap <= 0.02 && (sum - distance).abs() <= 0.021 * distance.abs(), "{drivers:?}");
            let p = reading.intents[0].probability.get();
            assert!((1.0 / (1.0 + (-drivers.score).exp()) - p).abs() < 1e-3, "{drivers:?}");
        }
    }

    #[test]
    fn the_word_that_names_the_concern_adds_most() {
        let models = shipped();
        let text = "Hello, I would like to know the exchange rate please";
        let reading = models.read("m1", text, Language::En, &[]).unwrap();
        assert_eq!(reading.leaf(), Some("exchange_rate"));
        let explained = models.explain(text, &reading, &[], &|| true).unwrap();
        let mut words = explained.intents[0].words.clone();
        words.sort_by(|a, b| b.adds.total_cmp(&a.adds));
        assert!(["exchange", "rate"].contains(&words[0].text.as_str()), "{words:?}");
    }

    #[test]
    fn a_value_says_what_found_it() {
        let models = shipped();
        let text = "Mein Name ist Heike Brandt, es geht um 50 €.";
        let known = [Known { field: "amount", start: 39, end: 43, text: "50 €" }];
        let reading = models.read("m1", text, Language::De, &known).unwrap();
        let explained = models.explain(text, &reading, &known, &|| true).unwrap();
        let by = |field: &str| {
            let origin = explained.values.iter().find(|origin| origin.field == field);
            origin.map(|origin| origin.found_by.clone()).unwrap_or_default()
        };
        assert_eq!(by("last_name"), ["head: persons"]);
        assert_eq!(by("amount").first().map(String::as_str), Some("recogniser: amount"));
    }

    #[test]
    fn nothing_is_explained_without_panic() {
        let models = shipped();
        for text in ["", " ", "🙂", "?"] {
            let reading = models.read("m1", text, Language::De, &[]).unwrap();
            let explained = models.explain(text, &reading, &[], &|| true).unwrap();
            assert_eq!(explained.intents.len(), 1);
        }
    }
}
