//! Messages with several concerns, and long ones with a single one that must not be split.

use super::bench::{Answer, of};
use super::figure::{Found, Scale, Table, f1};
use crate::base::Language;
use crate::understanding::Dag;

/// Least overlap of a found stretch with the marked one, in words: intersection over union.
const OVERLAP: f64 = 0.5;

pub fn run(table: &mut Table, dag: &Dag, answers: &[Answer]) {
    for language in Language::ALL {
        let (mut exact, mut stretches, mut split) = (Vec::new(), Vec::new(), Vec::new());
        for answer in of(answers, language) {
            let wanted = &answer.message.concerns;
            let intents = answer.reading.intents.iter();
            let found: Vec<(usize, usize, usize)> =
                intents.filter_map(|i| Some((dag.leaf(&i.leaf)?, i.span.0, i.span.1))).collect();
            if wanted.len() < 2 {
                split.push(found.len() > 1);
            } else {
                exact.push(leaves(wanted) == leaves(&found));
                stretches.push(compared(&answer.message.text, wanted, &found));
            }
        }
        table.hits(format!("several.{language}.exact"), &exact, None);
        let n = (stretches.iter().map(|item: &Found| item.wanted).sum(), stretches.len());
        let id = format!("several.{language}.segment_f1");
        table.drawn(id, Scale::Share, n, None, |drawn| f1(&stretches, drawn));
        table.hits(format!("several.{language}.false_second"), &split, None);
    }
}

fn leaves(concerns: &[(usize, usize, usize)]) -> std::collections::BTreeSet<usize> {
    concerns.iter().map(|(leaf, ..)| *leaf).collect()
}

/// A found stretch is right when its leaf is and its words are, by half, those of a marked one.
fn compared(text: &str, wanted: &[(usize, usize, usize)], found: &[(usize, usize, usize)]) -> Found {
    let words = words(text);
    let mut open: Vec<_> = wanted.iter().collect();
    let mut right = 0;
    for (leaf, start, end) in found {
        let fits = |w: &&(usize, usize, usize)| {
            w.0 == *leaf && overlap(&words, (w.1, w.2), (*start, *end)) >= OVERLAP
        };
        if let Some(at) = open.iter().position(fits) {
            open.swap_remove(at);
            right += 1;
        }
    }
    Found { wanted: wanted.len(), found: found.len(), right }
}

/// Runs of letters and digits, as characters.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.chars().chain([' ']).enumerate() {
        match (c.is_alphanumeric(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn overlap(words: &[(usize, usize)], a: (usize, usize), b: (usize, usize)) -> f64 {
    let (mut both, mut either) = (0.0_f64, 0.0_f64);
    for (start, end) in words {
        let within = |span: (usize, usize)| *start < span.1 && span.0 < *end;
        both += f64::from(u8::from(within(a) && within(b)));
        either += f64::from(u8::from(within(a) || within(b)));
    }
    if either > 0.0 { both / either } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_needs_its_leaf_and_half_of_the_words() {
        let text = "Karte ist weg, und neue PIN bitte";
        let wanted = [(1, 0, 13), (2, 19, 33)];
        let right = |found: &[(usize, usize, usize)]| compared(text, &wanted, found).right;
        assert_eq!(right(&[(1, 0, 14), (2, 15, 33)]), 2);
        assert_eq!(right(&[(2, 0, 14), (1, 15, 33)]), 0);
        // "Karte" alone is a third of "Karte ist weg"; the whole text holds it, but is too long
        assert_eq!(right(&[(1, 0, 5)]), 0);
        assert_eq!(right(&[(1, 0, 33)]), 0);
        // one marked stretch is found once
        assert_eq!(
            compared(text, &wanted, &[(1, 0, 13), (1, 0, 13)]),
            Found { wanted: 2, found: 2, right: 1 }
        );
        assert_eq!(overlap(&words(text), (0, 9), (0, 13)), 2.0 / 3.0);
        assert_eq!(overlap(&[], (0, 9), (0, 13)), 0.0);
    }
}
