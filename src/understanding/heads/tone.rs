//! Urgency, sentiment, and the wish to speak with a person.

use super::intent::softmax;

/// Name of the head among the weights; rows: three for urgency, three for sentiment, one for the wish.
pub const NAME: &str = "tone";
pub const WIDTH: usize = 7;
pub const URGENCY: [&str; 3] = ["low", "normal", "high"];
pub const SENTIMENT: [&str; 3] = ["negative", "neutral", "positive"];

#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub urgency: [f64; 3],
    pub sentiment: [f64; 3],
    pub wants_human: f64,
}

/// `logits` has `WIDTH` entries (missing ones count as 0); the temperatures of urgency, sentiment and wish, each
/// above 0, divide them.
pub fn scores(logits: &[f32], [urgent, felt, wished]: [f64; 3]) -> Scores {
    let at = |i: usize, temperature: f64| logits.get(i).map_or(0.0, |&z| f64::from(z) / temperature);
    let mut urgency = [0, 1, 2].map(|i| at(i, urgent));
    let mut sentiment = [3, 4, 5].map(|i| at(i, felt));
    softmax(&mut urgency);
    softmax(&mut sentiment);
    Scores { urgency, sentiment, wants_human: 1.0 / (1.0 + libm::exp(-at(6, wished))) }
}
