//! Figures of a model on a part of the lines.

use super::corpus::Corpus;
use super::datasets::{Line, Source, Split};
use super::draw::{self, Drawn};
use super::error::LearningError;
use crate::understanding::heads::{intent, spans};
use crate::understanding::model::{Input, Model, Raw};
use crate::understanding::tokens::Tokens;
use crate::understanding::{Dag, Extraction, Lexicon};
use std::collections::{BTreeMap, BTreeSet};

/// By source (own lines also by language): see `Task`.
pub type Figures = BTreeMap<String, Task>;

/// Figures of one task, each in 0..1; absent where nothing was counted.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Task {
    /// Lines with an intent.
    pub n: usize,
    /// Highest leaf right, of all leaves.
    pub accuracy: f64,
    /// Highest leaf right, of the leaves that the set has labels for.
    pub accuracy_closed: f64,
    pub parent_accuracy: f64,
    /// By field: exact spans.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spans: BTreeMap<String, Spans>,
    /// Of lines with marked concerns: exactly their leaves were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concerns_exact: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment_accuracy: Option<f64>,
}

#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Spans {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    /// Values in the lines.
    pub n: usize,
    #[serde(skip)]
    found: usize,
    #[serde(skip)]
    right: usize,
}

/// A line with what the model says about it.
pub struct Reading<'a> {
    pub line: &'a Line,
    pub drawn: Drawn,
    pub input: Input,
    pub raw: Raw,
}

/// Reads the lines of a part, at most `most` of each source (0: all), as they are written.
pub fn read<'a>(
    model: &Model,
    tokens: &Tokens,
    corpus: &'a Corpus,
    split: Split,
    most: usize,
) -> Result<Vec<Reading<'a>>, LearningError> {
    let mut out = Vec::new();
    for source in Source::ALL {
        let mut part = corpus.part(source, split);
        if most > 0 && part.len() > most {
            // Odd, because twins stand side by side: every other line would be one language.
            let stride = part.len().div_ceil(most) | 1;
            part = part.into_iter().step_by(stride).collect();
        }
        let lines: Vec<&Line> = part.iter().filter_map(|at| corpus.lines.get(*at)).collect();
        out.extend(readings(model, (tokens, &corpus.lexicon), &lines)?);
    }
    Ok(out)
}

/// Reads lines as they are written.
pub fn readings<'a>(
    model: &Model,
    (tokens, lexicon): (&Tokens, &Lexicon),
    lines: &[&'a Line],
) -> Result<Vec<Reading<'a>>, LearningError> {
    let mut out = Vec::with_capacity(lines.len());
    for chunk in lines.chunks(32) {
        let drawn: Vec<Drawn> = chunk.iter().map(|line| draw::plain(line)).collect();
        let inputs: Vec<Input> = drawn
            .iter()
            .map(|drawn| Ok(Input::new(&drawn.text, tokens.read(&drawn.text)?, lexicon)))
            .collect::<Result<_, LearningError>>()?;
        let raws = model.run(&inputs.iter().collect::<Vec<_>>())?;
        for (((line, drawn), input), raw) in chunk.iter().zip(drawn).zip(inputs).zip(raws) {
            out.push(Reading { line, drawn, input, raw });
        }
    }
    Ok(out)
}

/// Scores of a few lines as they are written.
pub fn raw(
    model: &Model,
    tokens: &Tokens,
    corpus: &Corpus,
    lines: &[&Line],
) -> Result<Vec<Raw>, LearningError> {
    let input = |line: &&Line| {
        let text = line.text();
        Ok(Input::new(&text, tokens.read(&text)?, &corpus.lexicon))
    };
    let inputs: Vec<Input> = lines.iter().map(input).collect::<Result<_, LearningError>>()?;
    Ok(model.run(&inputs.iter().collect::<Vec<_>>())?)
}

pub fn run(
    model: &Model,
    tokens: &Tokens,
    corpus: &Corpus,
    dag: &Dag,
    extraction: &Extraction,
    split: Split,
    most: usize,
) -> Result<Figures, LearningError> {
    let readings = read(model, tokens, corpus, split, most)?;
    Ok(figures(&readings, &model.shape, dag, extraction))
}

/// The figures of these readings, before any calibration (which does not move the highest leaf).
pub fn figures(readings: &[Reading], shape: &intent::Shape, dag: &Dag, extraction: &Extraction) -> Figures {
    let mut groups: BTreeMap<String, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        let line = reading.line;
        groups.entry(line.source.name().to_owned()).or_default().push(reading);
        if matches!(line.source, Source::Own | Source::Entities) {
            groups.entry(format!("{}_{}", line.source.name(), line.language)).or_default().push(reading);
        }
    }
    groups.into_iter().map(|(name, readings)| (name, task(&readings, shape, dag, extraction))).collect()
}

fn task(readings: &[&Reading], shape: &intent::Shape, dag: &Dag, extraction: &Extraction) -> Task {
    let mut task = Task::default();
    let labels: BTreeSet<usize> =
        readings.iter().filter_map(|r| Some(r.line.target.as_ref()?.leaf)).collect();
    let (mut urgency, mut sentiment, mut toned) = (0, 0, 0);
    let (mut marked, mut exact) = (0_usize, 0_usize);
    for reading in readings {
        if let Some(target) = &reading.line.target {
            let scores = shape.scores(&reading.raw.intent, 1.0);
            let best = highest(&scores.leaves, |_| true);
            let closed = highest(&scores.leaves, |leaf| labels.contains(&leaf));
            let parent = highest(&scores.parents, |_| true);
            let holds = parent.is_some_and(|parent| dag.edges.contains(&(parent, target.leaf)));
            task.n += 1;
            task.accuracy += f64::from(u8::from(best == Some(target.leaf)));
            task.accuracy_closed += f64::from(u8::from(closed == Some(target.leaf)));
            task.parent_accuracy += f64::from(u8::from(holds));
        }
        if !reading.line.concerns.is_empty() {
            let want: BTreeSet<usize> = reading.line.concerns.iter().map(|c| c.target.leaf).collect();
            marked += 1;
            exact += usize::from(want == leaf_set(&reading.raw, shape));
        }
        if let Some(tone) = reading.line.tone {
            let says = crate::understanding::heads::tone::scores(&reading.raw.tone, [1.0; 3]);
            toned += 1;
            urgency += usize::from(highest(&says.urgency, |_| true) == Some(tone.urgency));
            sentiment += usize::from(highest(&says.sentiment, |_| true) == Some(tone.sentiment));
        }
        count_spans(reading, extraction, &mut task.spans);
    }
    let n = task.n.max(1) as f64;
    task.accuracy /= n;
    task.accuracy_closed /= n;
    task.parent_accuracy /= n;
    task.concerns_exact = (marked > 0).then(|| exact as f64 / marked as f64);
    if toned > 0 {
        task.urgency_accuracy = Some(f64::from(urgency as u32) / f64::from(toned));
        task.sentiment_accuracy = Some(f64::from(sentiment as u32) / f64::from(toned));
    }
    task.spans.values_mut().for_each(|spans| {
        spans.precision = spans.right as f64 / spans.found.max(1) as f64;
        spans.recall = spans.right as f64 / spans.n.max(1) as f64;
        spans.f1 = 2.0 * spans.right as f64 / (spans.found + spans.n).max(1) as f64;
    });
    task
}

/// The highest leaf of every concern, or of the whole text where it is not cut.
fn leaf_set(raw: &Raw, shape: &intent::Shape) -> BTreeSet<usize> {
    let best = |logits: &[f32]| highest(&shape.scores(logits, 1.0).leaves, |_| true);
    let parts: BTreeSet<usize> = raw.concerns.iter().filter_map(|(_, logits)| best(logits)).collect();
    if parts.len() > 1 { parts } else { best(&raw.intent).into_iter().collect() }
}

fn count_spans(reading: &Reading, extraction: &Extraction, spans: &mut BTreeMap<String, Spans>) {
    for (at, group) in extraction.groups.iter().enumerate() {
        if !reading.line.groups.get(at).copied().unwrap_or(false) {
            continue;
        }
        let Some(logits) = reading.raw.spans.get(at) else { continue };
        let found = spans::decode(logits, group.fields.len(), group.lean, 1.0);
        for (number, field) in group.fields.iter().enumerate() {
            let wanted: Vec<(usize, usize)> = reading
                .drawn
                .values
                .iter()
                .filter(|(id, ..)| *id == field.id)
                .map(|(_, start, end)| (*start, *end))
                .collect();
            let given: Vec<(usize, usize)> = found
                .iter()
                .filter(|span| span.field == number)
                .filter_map(|span| reading.input.place(span.words.clone()))
                .collect();
            if wanted.is_empty() && given.is_empty() {
                continue;
            }
            let entry = spans.entry(field.id.clone()).or_default();
            entry.n += wanted.len();
            entry.found += given.len();
            entry.right += given.iter().filter(|span| wanted.contains(span)).count();
        }
    }
}

/// The position of the highest value among those that count.
pub fn highest(values: &[f64], counts: impl Fn(usize) -> bool) -> Option<usize> {
    let counted = values.iter().enumerate().filter(|(at, _)| counts(*at));
    counted.max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
}

/// For every group the label of every word; `None` where the line says nothing about the group
/// (`groups`).
pub fn labels(
    groups: &[bool],
    drawn: &Drawn,
    input: &Input,
    extraction: &Extraction,
) -> Vec<Option<Vec<usize>>> {
    let mut out: Vec<Option<Vec<usize>>> =
        groups.iter().map(|marked| marked.then(|| vec![0; input.tokens.words.len()])).collect();
    for (field, start, end) in &drawn.values {
        let Some((group, number)) = extraction.find(field) else { continue };
        let Some(Some(labels)) = out.get_mut(group) else { continue };
        spans::mark(labels, &input.tokens.words, number, *start..*end);
    }
    out
}
