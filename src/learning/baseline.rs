//! What a linear model makes of the same lines: the figure that an encoder has to beat.
//!
//! Words, pairs of words, and runs of 3 to 5 characters inside words (their ends marked), weighted by TF-IDF
//! with a logarithmic count (Manning, Raghavan and Schütze 2008, 6.4), hashed; multinomial logistic
//! regression by AdaGrad (Duchi, Hazan and Singer 2011) with one rate a feature.

#![expect(clippy::indexing_slicing, reason = "features are masked to the table's size, classes are counted")]

use crate::understanding::heads::intent::softmax;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Buckets of the feature hash.
const BUCKETS: usize = 1 << 18;
const EPOCHS: usize = 10;
const RATE: f32 = 0.5;

type Row = Vec<(usize, f32)>;

pub struct Baseline {
    classes: usize,
    /// Inverse document frequency by bucket.
    rarity: Vec<f32>,
    /// By bucket, then class; the last row is the bias.
    weights: Vec<f32>,
}

impl Baseline {
    /// Learns from texts and their classes, each below `classes`. Takes seconds a ten thousand lines.
    pub fn train(lines: &[(String, usize)], classes: usize, seed: u64) -> Self {
        let counted: Vec<Row> = lines.iter().map(|(text, _)| counts(text)).collect();
        let mut rarity = vec![0.0_f32; BUCKETS];
        for (bucket, _) in counted.iter().flatten() {
            rarity[*bucket] += 1.0;
        }
        let n = lines.len() as f32;
        rarity.iter_mut().for_each(|df| *df = ((1.0 + n) / (1.0 + *df)).ln() + 1.0);
        let mut model = Self { classes, rarity, weights: vec![0.0; (BUCKETS + 1) * classes] };
        let rows: Vec<Row> = counted.into_iter().map(|row| model.weighted(row)).collect();
        let mut steepness = vec![1e-8_f32; BUCKETS + 1];
        let mut order: Vec<usize> = (0..lines.len()).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..EPOCHS {
            order.shuffle(&mut rng);
            for at in &order {
                model.step(&rows[*at], lines[*at].1, &mut steepness);
            }
        }
        model
    }

    fn step(&mut self, row: &Row, class: usize, steepness: &mut [f32]) {
        let mut wrong: Vec<f32> = self.of(row).into_iter().map(|p| p as f32).collect();
        wrong[class] -= 1.0;
        let size: f32 = wrong.iter().map(|g| g * g).sum();
        for (bucket, value) in row {
            steepness[*bucket] += size * value * value;
            let by = RATE * value / steepness[*bucket].sqrt();
            let weights = &mut self.weights[bucket * self.classes..(bucket + 1) * self.classes];
            weights.iter_mut().zip(&wrong).for_each(|(weight, g)| *weight -= by * g);
        }
    }

    /// The probability of every class.
    pub fn probabilities(&self, text: &str) -> Vec<f64> {
        self.of(&self.weighted(counts(text)))
    }

    fn of(&self, row: &Row) -> Vec<f64> {
        let mut scores = vec![0.0_f32; self.classes];
        for (bucket, value) in row {
            let weights = &self.weights[bucket * self.classes..(bucket + 1) * self.classes];
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight * value);
        }
        let mut scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        softmax(&mut scores);
        scores
    }

    /// Length 1, and the bias behind.
    fn weighted(&self, mut row: Row) -> Row {
        row.iter_mut().for_each(|(bucket, count)| *count = (1.0 + count.ln()) * self.rarity[*bucket]);
        let length = row.iter().map(|(_, value)| value * value).sum::<f32>().sqrt().max(1e-9);
        row.iter_mut().for_each(|(_, value)| *value /= length);
        row.push((BUCKETS, 0.2));
        row
    }
}

/// How often each feature stands in the text.
fn counts(text: &str) -> Row {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let mut found: Vec<usize> = words.iter().map(|word| bucket("w", word)).collect();
    found.extend(words.windows(2).map(|pair| bucket("p", &pair.join(" "))));
    for word in &words {
        let letters: Vec<char> = format!(" {word} ").chars().collect();
        for length in 3..=5 {
            let runs = letters.windows(length).map(|run| bucket("c", &run.iter().collect::<String>()));
            found.extend(runs);
        }
    }
    found.sort_unstable();
    let mut row: Row = Vec::new();
    for feature in found {
        match row.last_mut() {
            Some((last, count)) if *last == feature => *count += 1.0,
            _ => row.push((feature, 1.0)),
        }
    }
    row
}

/// FNV-1a, 64 bits (draft-eastlake-fnv).
fn bucket(kind: &str, text: &str) -> usize {
    let hash = kind.bytes().chain(text.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as usize & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_and_meets_unknown_forms_by_their_letters() {
        let texts = [
            ("Meine Karte ist weg", 0),
            ("Karte verloren", 0),
            ("I lost my card", 0),
            ("Wie hoch ist mein Kontostand?", 1),
            ("Stand des Kontos", 1),
            ("what is my balance", 1),
            ("Überweisung nicht angekommen", 2),
            ("where is my transfer", 2),
        ];
        let lines: Vec<(String, usize)> = texts.iter().map(|(t, c)| ((*t).to_owned(), *c)).collect();
        let model = Baseline::train(&lines, 3, 1);
        for (text, class) in [
            ("Die Kreditkarte habe ich verloren", 0),
            ("kontostände", 1),
            ("Überweisungen", 2),
            ("lost card", 0),
        ] {
            let p = model.probabilities(text);
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-6);
            assert!(p.iter().all(|other| *other <= p[class]), "{text}: {p:?}");
        }
        assert_eq!(Baseline::train(&lines, 3, 1).probabilities("Karte"), model.probabilities("Karte"));
        assert_eq!(model.probabilities("").len(), 3);
    }

    #[test]
    fn features_are_words_pairs_and_runs_of_letters() {
        // " ab ": two runs of 3 and one of 4; twice the word, once the pair
        let row = counts("Ab ab");
        assert_eq!(row.iter().map(|(_, n)| *n).sum::<f32>(), 2.0 + 1.0 + 2.0 * 3.0);
        assert_eq!(row.len(), 1 + 1 + 3);
    }
}
