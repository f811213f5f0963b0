//! One message in, its reading out.

use super::bundle;
use super::calibration::Calibration;
use super::error::UnderstandingError;
use super::fields::{self, Known, Proposed};
use super::heads::intent::Scores;
use super::heads::{spans, tone};
use super::model::{Input, Model, Raw};
use super::reading::{Digests, Intent, Labelled, LeafProbability, ParentProbability, Reading, Tone};
use super::tokens::Tokens;
use super::{Dag, Extraction};
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
    digest: Digest,
}

impl Understanding {
    /// Opens a bundle; refuses one that is missing, damaged or trained for another pack.
    pub fn load(folder: &Path, schema: &Schema) -> Result<Self, UnderstandingError> {
        let bundle = bundle::read(folder, &schema.intents, &schema.extraction)?;
        let model = Model::new(bundle.weights, &schema.intents, &schema.extraction).map_err(|error| {
            UnderstandingError::Bundle {
                file: folder.join("weights.safetensors"),
                problem: error.to_string(),
                remedy: "train a new bundle with `prokura train`",
            }
        })?;
        if bundle.tokens.vocabulary() > model.vocabulary() {
            return Err(UnderstandingError::Bundle {
                file: folder.join("tokenizer.json"),
                problem: "it knows more pieces than the weights".to_owned(),
                remedy: "train a new bundle with `prokura train`",
            });
        }
        Ok(Self {
            schema: schema.clone(),
            model,
            tokens: bundle.tokens,
            calibration: bundle.calibration,
            digest: bundle.digest,
        })
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
        let tokenized = self.tokens.read(text)?;
        let truncated = tokenized.truncated;
        let input = Input::new(text, tokenized);
        let raw = self.model.run(&[&input])?.into_iter().next().unwrap_or_default();
        let scores = self.model.shape.scores(&raw.intent, self.calibration.intent_temperature);
        let proposed = self.proposed(&input, &raw);
        Ok(Reading {
            id: id.to_owned(),
            language,
            intents: self.intents(&scores, text.chars().count()),
            prediction_set: self
                .calibration
                .prediction_set(&scores.leaves, language)
                .into_iter()
                .filter_map(|at| Some(self.schema.intents.leaves.get(at)?.id.clone()))
                .collect(),
            out_of_scope: self.out_of_scope(&scores),
            fields: fields::merge(text, &self.schema.extraction, &proposed, known),
            tone: self.tone(&raw),
            truncated,
            leaves: self.leaves(&scores),
            digests: Digests { model: self.digest.clone() },
        })
    }

    /// What the heads mark by themselves: neither trimmed nor met with recognised values, repetitions
    /// included. For measuring; `read` is what a case gets.
    pub fn spans(&self, text: &str) -> Result<Vec<Proposed>, UnderstandingError> {
        let input = Input::new(text, self.tokens.read(text)?);
        let raw = self.model.run(&[&input])?.into_iter().next().unwrap_or_default();
        Ok(self.proposed(&input, &raw))
    }

    /// Vectors for retrieval, each of length 1: two texts of one meaning point the same way, also across
    /// languages. A text beyond the encoder's reach counts with its beginning.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, UnderstandingError> {
        // One at a time: in company a text's vector would change in the last digits.
        texts.iter().map(|text| self.model.embed(&self.tokens.read(text)?)).collect()
    }

    fn intents(&self, scores: &Scores, length: usize) -> Vec<Intent> {
        let dag = &self.schema.intents;
        let ranked = ranked(&scores.leaves);
        let Some((best, probability)) = ranked.first().copied() else { return Vec::new() };
        let mut ways: Vec<(usize, f64)> = dag
            .edges
            .iter()
            .zip(&scores.joint)
            .filter(|((_, leaf), _)| *leaf == best)
            .map(|((parent, _), joint)| (*parent, *joint))
            .collect();
        ways.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let parents = ways
            .into_iter()
            .filter_map(|(parent, _)| {
                let probability = Probability::new(*scores.parents.get(parent)?).rounded();
                Some(ParentProbability { parent: dag.parents.get(parent)?.id.clone(), probability })
            })
            .collect();
        let leaf = dag.leaves.get(best).map(|leaf| leaf.id.clone()).unwrap_or_default();
        vec![Intent {
            leaf,
            probability: Probability::new(probability).rounded(),
            span: (0, length),
            parents,
        }]
    }

    fn leaves(&self, scores: &Scores) -> Vec<LeafProbability> {
        let named = |(at, p): (usize, f64)| {
            let leaf = self.schema.intents.leaves.get(at)?.id.clone();
            Some(LeafProbability { leaf, probability: Probability::new(p).rounded() })
        };
        ranked(&scores.leaves).into_iter().filter(|(_, p)| *p >= SMALLEST).filter_map(named).collect()
    }

    fn out_of_scope(&self, scores: &Scores) -> Probability {
        let other = self.schema.intents.parent("other").and_then(|at| scores.parents.get(at));
        Probability::new(other.copied().unwrap_or(0.0)).rounded()
    }

    fn proposed(&self, input: &Input, raw: &Raw) -> Vec<Proposed> {
        let mut out = Vec::new();
        for ((at, group), logits) in self.schema.extraction.groups.iter().enumerate().zip(&raw.spans) {
            let temperature = self.calibration.span_temperature(&group.id);
            for span in spans::decode(logits, group.fields.len(), group.lean, temperature) {
                if let Some((start, end)) = input.place(span.words) {
                    let probability = span.probability;
                    out.push(Proposed { group: at, field: span.field, start, end, probability });
                }
            }
        }
        out
    }

    fn tone(&self, raw: &Raw) -> Tone {
        let scores = tone::scores(&raw.tone, self.calibration.tone_temperature);
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

/// Positions and values, the highest first, the earlier first among equals.
fn ranked(values: &[f64]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
