//! Whether explanations are true: how far the words' parts are from the score, and whether the words that are
//! said to drive the leaf do.

use super::bench::{Answer, Bench};
use super::figure::{Scale, Table};
use crate::learning::error::LearningError;
use crate::understanding::explain::Driver;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Messages that are explained, spread over all.
const MESSAGES: usize = 200;
/// The part of a message's words that is taken out.
const TAKEN: f64 = 0.2;
/// A gap above this is a failure.
const GAP: f64 = 0.02;

/// `explain.gap`: the share of messages whose parts miss more than 2 % of the score; `explain.rounding`: the share in
/// which eight bits are more than that; `explain.top` and `.random`:
/// how often the leaf changes when the words that add most, or any others, are taken out; `explain.ratio` of the
/// two.
pub fn run(table: &mut Table, bench: &Bench, answers: &[Answer]) -> Result<(), LearningError> {
    let one: Vec<&Answer> = answers.iter().filter(|answer| answer.reading.intents.len() == 1).collect();
    // Odd, because twins stand side by side.
    let stride = one.len().div_ceil(MESSAGES).max(1) | 1;
    let mut rng = StdRng::seed_from_u64(1);
    let (mut missed, mut rounded, mut top, mut random) = (0, 0, Vec::new(), Vec::new());
    for answer in one.into_iter().step_by(stride).take(MESSAGES) {
        let message = answer.message;
        let explained = bench.understanding.explain(&message.text, &answer.reading, &[], &|| true)?;
        let Some(drivers) = explained.intents.first() else { continue };
        missed += usize::from(drivers.gap > GAP);
        let way = (drivers.score - drivers.hidden).abs();
        rounded += usize::from(drivers.rounding.abs() > GAP * way);
        let count = (drivers.words.len() as f64 * TAKEN).ceil() as usize;
        let mut words: Vec<&Driver> = drivers.words.iter().collect();
        let changes = |words: &[&Driver]| -> Result<bool, LearningError> {
            let text = without(&message.text, words.get(..count).unwrap_or(words));
            let reading = bench.understanding.read("", &text, message.language, &[])?;
            Ok(reading.leaf() != Some(&drivers.leaf))
        };
        words.shuffle(&mut rng);
        random.push(changes(&words)?);
        words.sort_by(|a, b| b.adds.total_cmp(&a.adds));
        top.push(changes(&words)?);
    }
    let n = top.len();
    table.share("explain.gap", missed, n, None);
    table.share("explain.rounding", rounded, n, None);
    table.hits("explain.top", &top, None);
    table.hits("explain.random", &random, None);
    table.drawn("explain.ratio", Scale::Ratio, (n, n), None, |drawn| {
        let sum = |hits: &[bool]| -> f64 {
            hits.iter().zip(drawn).map(|(hit, times)| f64::from(u8::from(*hit)) * f64::from(*times)).sum()
        };
        // Half a message more on either side: few changes by chance would make it endless.
        Some((sum(&top) + 0.5) / (sum(&random) + 0.5))
    });
    Ok(())
}

/// The text without these words.
fn without(text: &str, words: &[&Driver]) -> String {
    let gone = |at: usize| words.iter().any(|word| (word.start..word.end).contains(&at));
    text.chars().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_out_where_they_stand() {
        let word = |start: usize, end: usize| Driver { text: String::new(), start, end, adds: 0.0 };
        let (first, last) = (word(0, 5), word(10, 12));
        assert_eq!(without("Größe und so", &[&first, &last]), " und ");
        assert_eq!(without("ab", &[]), "ab");
    }
}
