//! Telling messages about something else from those that the pack covers.

use super::bench::{Answer, Bench, of};
use super::figure::{Scale, Table};
use crate::base::Language;
use crate::learning::datasets::Source;
use crate::learning::measure::Reading;

/// Messages of the pack that may be taken for something else.
const FALSE_ALARMS: f64 = 0.05;

/// How strongly a message seems to be about something else, and whether it is.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    pub score: f64,
    pub outside: bool,
}

/// CLINC150's other domains and out-of-scope lines against its lines of our leaves.
pub fn elsewhere(table: &mut Table, bench: &Bench, readings: &[Reading]) {
    let dag = bench.dag();
    let (parent, leaf) = (dag.parent("other"), dag.leaf("other"));
    let (mut scores, mut linear) = (Vec::new(), Vec::new());
    for reading in readings.iter().filter(|r| matches!(r.line.source, Source::Elsewhere | Source::Clinc150)) {
        let outside = reading.line.source == Source::Elsewhere;
        let parents = bench.understanding.model().shape.scores(&reading.raw.intent, 1.0).parents;
        let by_text = bench.baseline.probabilities(&reading.drawn.text);
        let of = |values: &[f64], at: Option<usize>| at.and_then(|at| values.get(at)).copied().unwrap_or(0.0);
        scores.push(Scored { score: of(&parents, parent), outside });
        linear.push(Scored { score: of(&by_text, leaf), outside });
    }
    let outside = scores.iter().filter(|scored| scored.outside).count();
    let (scores, linear) = (ranked(scores), ranked(linear));
    let (n, ones) = ((scores.len(), scores.len()), vec![1; scores.len()]);
    table.drawn("scope.auroc", Scale::Score, n, auroc(&linear, &ones), |drawn| auroc(&scores, drawn));
    let n = (outside, scores.len());
    table.drawn("scope.recall", Scale::Share, n, recall(&linear, &ones), |drawn| recall(&scores, drawn));
}

/// Banking that the pack does not cover, at the threshold that lets 5 % of the messages that it covers be
/// taken for something else; by language.
pub fn near(table: &mut Table, bench: &Bench, covered: &[Answer], near: &[Answer]) {
    let other = bench.dag().leaf("other");
    for language in Language::ALL {
        let covered =
            of(covered, language).into_iter().filter(|a| a.message.leaf != other).map(|a| (a, false));
        let near = of(near, language).into_iter().map(|a| (a, true));
        let (mut scores, mut linear) = (Vec::new(), Vec::new());
        for (answer, outside) in covered.chain(near) {
            scores.push(Scored { score: answer.reading.out_of_scope.get(), outside });
            let by_text = other.and_then(|at| answer.linear.get(at)).copied().unwrap_or(0.0);
            linear.push(Scored { score: by_text, outside });
        }
        let outside = scores.iter().filter(|scored| scored.outside).count();
        let (scores, linear) = (ranked(scores), ranked(linear));
        let baseline = recall(&linear, &vec![1; linear.len()]);
        let (id, n) = (format!("near_scope.{language}.recall"), (outside, scores.len()));
        table.drawn(id, Scale::Share, n, baseline, |drawn| recall(&scores, drawn));
    }
}

/// The highest score first.
pub fn ranked(mut scored: Vec<Scored>) -> Vec<Scored> {
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    scored
}

/// Runs of equal score: how often lines outside and inside were drawn.
fn steps<'a>(ranked: &'a [Scored], drawn: &'a [u32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let score = ranked.get(at)?.score;
        let (mut outside, mut inside) = (0.0, 0.0);
        while let Some(scored) = ranked.get(at).filter(|scored| scored.score == score) {
            let times = f64::from(drawn.get(at).copied().unwrap_or(0));
            if scored.outside {
                outside += times;
            } else {
                inside += times;
            }
            at += 1;
        }
        Some((outside, inside))
    })
}

/// The chance that a line outside scores higher than one inside, ties by half (Hanley and McNeil 1982).
pub fn auroc(ranked: &[Scored], drawn: &[u32]) -> Option<f64> {
    let (mut outside, mut inside, mut wins) = (0.0, 0.0, 0.0);
    for (out, within) in steps(ranked, drawn) {
        wins += within * (outside + out / 2.0);
        outside += out;
        inside += within;
    }
    (outside > 0.0 && inside > 0.0).then(|| wins / (outside * inside))
}

/// The share of lines outside that score above a threshold which at most 5 % of those inside reach.
pub fn recall(ranked: &[Scored], drawn: &[u32]) -> Option<f64> {
    let all = steps(ranked, drawn).fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
    let (mut outside, mut inside) = (0.0, 0.0);
    for (out, within) in steps(ranked, drawn) {
        inside += within;
        if inside > all.1 * FALSE_ALARMS {
            break;
        }
        outside += out;
    }
    (all.0 > 0.0 && all.1 > 0.0).then(|| outside / all.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(outside: &[f64], inside: &[f64]) -> Vec<Scored> {
        let with = |values: &[f64], outside| -> Vec<Scored> {
            values.iter().map(|score| Scored { score: *score, outside }).collect()
        };
        ranked([with(outside, true), with(inside, false)].concat())
    }

    #[test]
    fn the_area_counts_pairs_and_halves_ties() {
        let ranked = scored(&[0.9, 0.5, 0.2], &[0.5, 0.1]);
        // pairs won: 0.9 both, 0.5 one and a half, 0.2 one: 4.5 of 6
        assert_eq!(auroc(&ranked, &[1; 5]), Some(0.75));
        assert_eq!(auroc(&scored(&[1.0], &[0.0]), &[1, 1]), Some(1.0));
        assert_eq!(auroc(&scored(&[1.0], &[]), &[1]), None);
        // the first drawn twice, 0.5 outside not at all, is the same as [0.9, 0.9, 0.2]
        let at = ranked.iter().position(|s| s.outside && s.score == 0.5).unwrap();
        let mut drawn = [1; 5];
        drawn[0] = 2;
        drawn[at] = 0;
        assert_eq!(auroc(&ranked, &drawn), auroc(&scored(&[0.9, 0.9, 0.2], &[0.5, 0.1]), &[1; 5]));
    }

    #[test]
    fn recall_stands_at_five_percent_false_alarms() {
        // 20 inside: one false alarm is allowed
        let inside: Vec<f64> = (0..20).map(|at| f64::from(at) / 100.0).collect();
        let ranked = scored(&[0.5, 0.185, 0.175, 0.01], &inside);
        assert_eq!(recall(&ranked, &[1; 24]), Some(0.5));
        let tied = scored(&[0.19, 0.5], &inside[..19].iter().copied().chain([0.5]).collect::<Vec<_>>());
        assert_eq!(recall(&tied, &[1; 22]), Some(1.0));
        let few = scored(&[0.5], &[0.5]);
        assert_eq!(recall(&few, &[1; 2]), Some(0.0));
    }
}
