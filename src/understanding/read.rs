//! One message in, its reading out.

use super::bundle;
use super::calibration::Calibration;
use super::concerns::{self, Part};
use super::encoder::Compute;
use super::error::UnderstandingError;
use super::fields::{self, Known, Proposed};
use super::heads::intent::Scores;
use super::heads::{spans, tone};
use super::model::{Input, Model, Raw};
use super::reading::{Digests, Labelled, LeafProbability, Reading, Tone};
use super::search::{Embedded, REACH};
use super::tokens::{Tokenized, Tokens};
use super::{Dag, Extraction, Lexicon};
use crate::base::{Digest, Language, Probability};
use std::path::Path;

/// Leaves below this are not listed.
const SMALLEST: f64 = 0.01;

/// The two files of the pack that the models are trained for.
#[derive(Clone, Debug)]
pub struct Schema {
    pub intents: Dag,
    pub extraction: Extraction,
}

impl Schema {
    /// Reads intents.toml and extraction.toml of a pack folder.
    pub fn read(config: &Path) -> Result<Self, UnderstandingError> {
        let read = |name: &str| -> Result<(String, String), UnderstandingError> {
            let file = config.join(name);
            let shown = file.display().to_string();
            match std::fs::read_to_string(&file) {
                Ok(text) => Ok((shown, text)),
                Err(error) => Err(UnderstandingError::Pack {
                    file: shown,
                    problem: error.to_string(),
                    remedy: "restore the file, or name the pack's folder".to_owned(),
                }),
            }
        };
        let (file, text) = read("intents.toml")?;
        let intents = Dag::parse(&file, &text)?;
        let (file, text) = read("extraction.toml")?;
        Ok(Self { intents, extraction: Extraction::parse(&file, &text)? })
    }
}

/// A loaded bundle. Calls are synchronous and take milliseconds to a second; from async code use a blocking
/// thread. A reading depends on the text and the bundle alone.
pub struct Understanding {
    schema: Schema,
    model: Model,
    tokens: Tokens,
    calibration: Calibration,
    lexicon: Lexicon,
    digest: Digest,
    searcher: Option<Digest>,
    /// How much likelier than assumed each leaf is; empty: as assumed.
    mix: Vec<f64>,
}

impl Understanding {
    /// Opens a bundle; refuses one that is missing, damaged or trained for another pack.
    pub fn load(folder: &Path, schema: &Schema) -> Result<Self, UnderstandingError> {
        Self::load_on(folder, schema, &Compute::default())
    }

    /// Opens a bundle to read on this device.
    pub fn load_on(folder: &Path, schema: &Schema, compute: &Compute) -> Result<Self, UnderstandingError> {
        let bundle = bundle::read(folder, &schema.intents, &schema.extraction)?;
        let model = Model::stored(bundle.weights, compute, &schema.intents, &schema.extraction);
        let mut model = model.map_err(|error| UnderstandingError::Bundle {
            file: folder.join("weights.safetensors"),
            problem: error.to_string(),
            remedy: "train a new bundle with `prokura train`",
        })?;
        model.boundary = bundle.calibration.boundary;
        let leaves = schema.intents.leaves.iter().map(|leaf| leaf.id.as_str());
        let mix = bundle.calibration.prior.weights(leaves);
        Ok(Self {
            schema: schema.clone(),
            model,
            tokens: bundle.tokens,
            calibration: bundle.calibration,
            lexicon: bundle.lexicon,
            digest: bundle.digest,
            searcher: bundle.searcher,
            mix,
        })
    }

    /// Reads a message a language, so that the first customer does not wait for memory to be touched. The bundle
    /// comes from `folder`.
    ///
    /// # Errors
    /// Weights that cannot read: better found here than by that customer.
    pub fn warm(&self, folder: &Path) -> Result<(), UnderstandingError> {
        let fault = |problem: String| UnderstandingError::Bundle {
            file: folder.join("weights.safetensors"),
            problem,
            remedy: "train a new bundle with `prokura train`",
        };
        for (text, language) in [
            ("Guten Tag, wo finde ich meinen Kontostand?", Language::De),
            ("Good morning, where do I find my balance?", Language::En),
        ] {
            let read = self.read_whole("warm", text, language, &[]);
            let (_, leaves) = read.map_err(|error| fault(error.to_string()))?;
            let sum: f64 = leaves.iter().sum();
            if !(sum.is_finite() && sum > 0.5) {
                return Err(fault(format!("the probabilities of all leaves sum to {sum}")));
            }
        }
        Ok(())
    }

    /// Digest of the whole bundle.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Reads one message. `known` are the values that intake's recognisers found in the same text.
    pub fn read(
        &self,
        id: &str,
        text: &str,
        language: Language,
        known: &[Known],
    ) -> Result<Reading, UnderstandingError> {
        Ok(self.read_whole(id, text, language, known)?.0)
    }

    /// A reading, and the probability of every leaf of the pack in its order: of each the highest in any part.
    pub fn read_whole(
        &self,
        id: &str,
        text: &str,
        language: Language,
        known: &[Known],
    ) -> Result<(Reading, Vec<f64>), UnderstandingError> {
        let input = self.input(text)?;
        let raw = self.model.run(&[&input])?.into_iter().next().unwrap_or_default();
        Ok(self.reading((id, text, language), known, &input, &raw))
    }

    /// A text as the model takes it.
    pub(super) fn input(&self, text: &str) -> Result<Input, UnderstandingError> {
        Ok(Input::new(text, self.tokens.read_all(text)?, &self.lexicon))
    }

    /// What the scores of a text say.
    pub(super) fn reading(
        &self,
        (id, text, language): (&str, &str, Language),
        known: &[Known],
        input: &Input,
        raw: &Raw,
    ) -> (Reading, Vec<f64>) {
        let proposed = self.proposed(input, raw, language);
        let fields = fields::merge(text, &self.schema.extraction, &proposed, known);
        let parts = self.parts(input, raw, text.chars().count(), language);
        let leaf =
            |at: usize| parts.iter().filter_map(|p| p.scores.leaves.get(at)).copied().fold(0.0, f64::max);
        let leaves: Vec<f64> = (0..self.schema.intents.leaves.len()).map(leaf).collect();
        let outside = parts.iter().map(|part| self.out_of_scope(&part.scores)).product();
        let reading = Reading {
            id: id.to_owned(),
            language,
            intents: concerns::intents(&self.schema, &parts, &fields),
            prediction_set: self.prediction_set(&parts, language),
            out_of_scope: Probability::new(outside).rounded(),
            fields,
            tone: self.tone(raw, language),
            truncated: input.tokens.truncated,
            leaves: self.leaves(&leaves),
            digests: Digests { model: self.digest.clone(), arithmetic: self.model.arithmetic().to_owned() },
        };
        (reading, leaves)
    }

    /// What the heads mark by themselves: neither trimmed nor met with recognised values, repetitions
    /// included. For measuring; `read` is what a case gets.
    pub fn spans(&self, text: &str, language: Language) -> Result<Vec<Proposed>, UnderstandingError> {
        let input = self.input(text)?;
        let raw = self.model.run(&[&input])?.into_iter().next().unwrap_or_default();
        Ok(self.proposed(&input, &raw, language))
    }

    /// The stretches of the message with a concern each. Neighbours about the same leaf are one, and where
    /// only one is left the whole message speaks for it.
    pub(super) fn parts(&self, input: &Input, raw: &Raw, length: usize, language: Language) -> Vec<Part> {
        let scores = |logits: &[f32]| self.scores(logits, language);
        let mut parts: Vec<Part> = Vec::new();
        for (words, logits) in &raw.concerns {
            let (Some(span), scores) = (input.place(words.clone()), scores(logits)) else { continue };
            match parts.last_mut() {
                Some(last) if best(&last.scores.leaves) == best(&scores.leaves) => {
                    last.span.1 = span.1;
                    if highest(&scores.leaves) > highest(&last.scores.leaves) {
                        (last.voice, last.scores) = (span, scores);
                    }
                }
                _ => parts.push(Part { span, voice: span, scores }),
            }
        }
        if parts.len() < 2 {
            let span = (0, length);
            return vec![Part { span, voice: span, scores: scores(&raw.intent) }];
        }
        parts
    }

    /// Calibrated probabilities from the intent head's scores.
    pub fn scores(&self, logits: &[f32], language: Language) -> Scores {
        let shape = &self.model.shape;
        shape.scores(logits, self.calibration.intent.of(language)).weighted(&shape.edges, &self.mix)
    }

    /// How much likelier than assumed each leaf is; empty: as assumed.
    pub fn mix(&self) -> &[f64] {
        &self.mix
    }

    /// What no part can exclude, the likeliest of the first part first.
    fn prediction_set(&self, parts: &[Part], language: Language) -> Vec<String> {
        let mut set: Vec<String> = Vec::new();
        for part in parts {
            for at in self.calibration.prediction_set(&part.scores.leaves, language) {
                let leaf = self.schema.intents.leaves.get(at).map(|leaf| leaf.id.clone());
                set.extend(leaf.filter(|leaf| !set.contains(leaf)));
            }
        }
        set
    }

    /// Whether it finds documents by meaning; one that does not finds them by their words alone.
    pub fn searcher(&self) -> Option<&Digest> {
        self.searcher.as_ref()
    }

    /// What search compares texts by; of a text that is longer than `search::REACH` pieces, its beginning.
    ///
    /// # Errors
    /// A bundle without search.
    pub fn embedded(&self, texts: &[&str]) -> Result<Vec<Embedded>, UnderstandingError> {
        let read: Vec<Tokenized> = texts
            .iter()
            .map(|text| self.tokens.read_first(text, REACH))
            .collect::<std::result::Result<_, _>>()?;
        self.model.embedded(&read.iter().map(|tokens| tokens.ids.as_slice()).collect::<Vec<_>>())
    }

    /// Vectors for retrieval, each of length 1: two texts of one meaning point the same way, also across
    /// languages.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, UnderstandingError> {
        texts.iter().map(|text| self.model.embed(&self.input(text)?)).collect()
    }

    fn leaves(&self, leaves: &[f64]) -> Vec<LeafProbability> {
        let named = |(at, p): (usize, f64)| {
            let leaf = self.schema.intents.leaves.get(at)?.id.clone();
            Some(LeafProbability { leaf, probability: Probability::new(p).rounded() })
        };
        ranked(leaves).into_iter().filter(|(_, p)| *p >= SMALLEST).filter_map(named).collect()
    }

    fn out_of_scope(&self, scores: &Scores) -> f64 {
        let other = self.schema.intents.parent("other").and_then(|at| scores.parents.get(at));
        other.copied().unwrap_or(0.0)
    }

    fn proposed(&self, input: &Input, raw: &Raw, language: Language) -> Vec<Proposed> {
        let mut out = Vec::new();
        for ((at, group), logits) in self.schema.extraction.groups.iter().enumerate().zip(&raw.spans) {
            let temperature = self.calibration.span_temperature(&group.id, language);
            for span in spans::decode(logits, group.fields.len(), group.lean, temperature) {
                if let Some((start, end)) = input.place(span.words) {
                    let probability = span.probability;
                    out.push(Proposed { group: at, field: span.field, start, end, probability });
                }
            }
        }
        out
    }

    fn tone(&self, raw: &Raw, language: Language) -> Tone {
        let scores = self.calibration.tone(&raw.tone, language);
        let labelled = |values: &[f64], labels: &[&str]| {
            let best = ranked(values).into_iter().next();
            let (at, p) = best.unwrap_or((0, 0.0));
            let label = labels.get(at).copied().unwrap_or_default().to_owned();
            Labelled { label, probability: Probability::new(p).rounded() }
        };
        Tone {
            urgency: labelled(&scores.urgency, &tone::URGENCY),
            sentiment: labelled(&scores.sentiment, &tone::SENTIMENT),
            wants_human: Probability::new(scores.wants_human).rounded(),
        }
    }
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The position of the highest value.
fn best(values: &[f64]) -> Option<usize> {
    ranked(values).first().map(|(at, _)| *at)
}

/// Positions and values, the highest first, the earlier first among equals.
pub(super) fn ranked(values: &[f64]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
