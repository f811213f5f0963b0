//! What is measured: the bundle as customers meet it, and the linear model beside it.

use super::material::Message;
use crate::base::Language;
use crate::cases::Pack;
use crate::intake::{BankCodes, mask_cards, recognise_with};
use crate::learning::baseline::Baseline;
use crate::learning::error::LearningError;
use crate::learning::measure::highest;
use crate::understanding::{Dag, Known, Reading, Understanding};

pub struct Bench<'a> {
    pub understanding: &'a Understanding,
    pub baseline: &'a Baseline,
    pub pack: &'a Pack,
    pub bank_codes: &'a BankCodes,
}

/// A message, and what both models say.
pub struct Answer<'a> {
    pub message: &'a Message,
    pub reading: Reading,
    /// Calibrated probabilities of all leaves.
    pub leaves: Vec<f64>,
    /// Leaves by the linear model.
    pub linear: Vec<f64>,
}

impl Bench<'_> {
    pub fn dag(&self) -> &Dag {
        &self.understanding.schema().intents
    }

    /// A message on its whole way: cards masked, structured values recognised, then read.
    pub fn read(&self, text: &str, language: Language) -> Result<Reading, LearningError> {
        Ok(self.read_whole(text, language)?.0)
    }

    fn read_whole(&self, text: &str, language: Language) -> Result<(Reading, Vec<f64>), LearningError> {
        let text = mask_cards(text);
        let found = recognise_with(&text, self.bank_codes);
        let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
        Ok(self.understanding.read_whole("", &text, language, &known)?)
    }

    pub fn answers<'a>(&self, messages: &'a [Message]) -> Result<Vec<Answer<'a>>, LearningError> {
        let answer = |message: &'a Message| {
            let (reading, leaves) = self.read_whole(&message.text, message.language)?;
            let linear = self.baseline.probabilities(&message.text);
            Ok(Answer { message, reading, leaves, linear })
        };
        messages.iter().map(answer).collect()
    }

    /// The leaf that a reading puts first.
    pub fn leaf(&self, reading: &Reading) -> Option<usize> {
        self.dag().leaf(reading.leaf()?)
    }

    pub fn linear(&self, text: &str) -> Option<usize> {
        highest(&self.baseline.probabilities(text), |_| true)
    }
}

/// Those in one language.
pub fn of<'m, 'a>(answers: &'m [Answer<'a>], language: Language) -> Vec<&'m Answer<'a>> {
    answers.iter().filter(|answer| answer.message.language == language).collect()
}
