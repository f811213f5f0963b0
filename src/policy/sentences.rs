//! Which sentences of a passage answer a question.

use super::error::PolicyError;
use super::grounds::{Passage, Sentence};
use crate::understanding::Understanding;
use crate::understanding::search::{self, Embedded, REACH, SHORT};
use std::ops::Range;

/// Most sentences that are pointed out in one passage.
const MOST: usize = 3;
/// A further sentence is pointed out that is at least this near, as a share of the nearest.
const AS_NEAR: f64 = 0.93;

/// The sentences, list items and table rows of a text, as characters of it; white space around them is left out, and
/// what has no letter or digit, such as the line below a table's head.
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    let letters: Vec<char> = text.chars().collect();
    let at = |place: usize| letters.get(place).copied();
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut close = |start: usize, end: usize| {
        let blank = |place: &usize| at(*place).is_some_and(char::is_whitespace);
        let first = (start..end).find(|place| !blank(place));
        let last = (start..end).rev().find(|place| !blank(place));
        let says = |place: usize| at(place).is_some_and(char::is_alphanumeric);
        if let (Some(first), Some(last)) = (first, last)
            && (first..=last).any(says)
        {
            sentences.push(first..last + 1);
        }
    };
    for place in 0..letters.len() {
        let ends = match at(place) {
            Some('\n') => begins_anew(&letters, place + 1),
            Some('.' | '!' | '?') => {
                at(place + 1).is_some_and(char::is_whitespace) && !abbreviates(&letters, place)
            }
            _ => false,
        };
        if ends {
            close(start, place + 1);
            start = place + 1;
        }
    }
    close(start, letters.len());
    sentences
}

/// Whether a line that begins here is no continuation of the one before: a blank one, a list item, a table row, a
/// heading.
fn begins_anew(letters: &[char], start: usize) -> bool {
    let line: Vec<char> = letters
        .iter()
        .skip(start)
        .copied()
        .take_while(|c| *c != '\n')
        .skip_while(|c| c.is_whitespace())
        .collect();
    match line.first() {
        None => true,
        Some('-' | '*' | '+' | '|' | '#' | '>' | '•') => true,
        Some(c) if c.is_ascii_digit() => {
            let rest = line.iter().skip_while(|c| c.is_ascii_digit()).take(2).collect::<Vec<_>>();
            matches!(rest.as_slice(), ['.' | ')', c] if c.is_whitespace())
        }
        Some(_) => false,
    }
}

/// Whether the full stop at this place belongs to an abbreviation or an ordinal: one letter or a number before it, or
/// a small letter behind it.
fn abbreviates(letters: &[char], place: usize) -> bool {
    let word: Vec<char> =
        letters.iter().take(place).rev().copied().take_while(|c| c.is_alphanumeric()).collect();
    let next = letters.iter().skip(place + 1).find(|c| !c.is_whitespace());
    let small = next.is_some_and(|c| c.is_lowercase());
    let short = word.len() == 1 || (!word.is_empty() && word.iter().all(char::is_ascii_digit));
    letters.get(place) == Some(&'.') && (small || (short && letters.get(place + 1) != Some(&'\n')))
}

/// The sentences whose pieces are nearest to the question's, in the order of the text. `read` is what was embedded:
/// `before` characters, then the passage; `pieces` are its pieces' vectors.
///
/// # Errors
/// The text cannot be cut into pieces.
pub(super) fn answering(
    passage: &Passage,
    question: &Embedded,
    (read, before, pieces): (&str, usize, &[i8]),
    models: &Understanding,
) -> Result<Vec<Sentence>, PolicyError> {
    let ranges = split(&passage.text);
    if ranges.len() < 2 {
        return Ok(ranges.into_iter().filter_map(|range| sentence(passage, range)).collect());
    }
    let words = models.tokens().read_first(read, REACH).map_err(PolicyError::Encoder)?.words;
    let kernel = models.model().kernel();
    let mut scored: Vec<(f64, Range<usize>)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (start, end) = (before + range.start, before + range.end);
        let own = words.iter().filter(|word| start <= word.start && word.end <= end);
        let own: Vec<i8> = own
            .filter_map(|word| pieces.get(word.pieces.start * SHORT..word.pieces.end * SHORT))
            .flatten()
            .copied()
            .collect();
        let cosines = search::nearest(kernel, question, &own);
        scored.push((cosines.iter().sum::<f64>() / cosines.len().max(1) as f64, range));
    }
    let best = scored.iter().map(|(score, _)| *score).fold(0.0, f64::max);
    scored.retain(|(score, _)| *score >= best * AS_NEAR);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.start.cmp(&b.1.start)));
    scored.truncate(MOST);
    scored.sort_by_key(|(_, range)| range.start);
    Ok(scored.into_iter().filter_map(|(_, range)| sentence(passage, range)).collect())
}

fn sentence(passage: &Passage, range: Range<usize>) -> Option<Sentence> {
    let text = super::chunk::characters(&passage.text, range.start, range.end)?.to_owned();
    Some(Sentence { text, start: passage.start + range.start, end: passage.start + range.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_items_and_rows_are_told_apart() {
        let of = |text: &str| -> Vec<String> {
            let letters: Vec<char> = text.chars().collect();
            split(text).into_iter().map(|range| letters[range].iter().collect()).collect()
        };
        assert_eq!(
            of("It costs 4 €. Really? Yes!\nNext line. "),
            ["It costs 4 €.", "Really?", "Yes!", "Next line."]
        );
        assert_eq!(
            of("Am 1. Mai z. B. um 3.50 Uhr.\nDanach nicht."),
            ["Am 1. Mai z. B. um 3.50 Uhr.", "Danach nicht."]
        );
        assert_eq!(
            of("Steps:\n1. Call us\n2) Wait\n- stay\n  calm\n| a | b |"),
            ["Steps:", "1. Call us", "2) Wait", "- stay\n  calm", "| a | b |"]
        );
        assert_eq!(of("| a | b |\n|---|:-:|\n| 1 | 2 |"), ["| a | b |", "| 1 | 2 |"]);
        assert!(of(" \n\n ").is_empty());
    }
}
