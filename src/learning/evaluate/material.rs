//! The lines that are measured on, in one form.

use super::run::Options;
use crate::base::Language;
use crate::learning::bar::Bar;
use crate::learning::corpus::Corpus;
use crate::learning::datasets::clean::{Texts, normalised};
use crate::learning::datasets::smartdata::{self, Sentence};
use crate::learning::datasets::tickets::Ticket;
use crate::learning::datasets::{Line, Source, Split, Tone, injections, mobie, own};
use crate::learning::draw;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A message with what is to be said about it.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub language: Language,
    /// Where it came in, as the ticket says.
    pub channel: Option<String>,
    pub text: String,
    pub leaf: Option<usize>,
    pub tone: Option<Tone>,
    /// (field, first character, behind the last)
    pub values: Vec<(String, usize, usize)>,
    /// (leaf, first character, behind the last)
    pub concerns: Vec<(usize, usize, usize)>,
}

impl Message {
    pub fn of_ticket(ticket: &Ticket) -> Self {
        Self { channel: ticket.channel.clone(), ..Self::of(ticket.id.clone(), &ticket.line) }
    }

    pub(super) fn of(id: String, line: &Line) -> Self {
        let drawn = draw::plain(line);
        Self {
            id,
            language: line.language,
            channel: None,
            text: drawn.text,
            leaf: line.target.as_ref().map(|target| target.leaf),
            tone: line.tone,
            values: drawn.values,
            concerns: drawn.concerns.into_iter().map(|(target, a, b)| (target.leaf, a, b)).collect(),
        }
    }
}

/// On development lines the project's own take the place of the blind ones, and sets that have no
/// development part are empty.
#[derive(Default)]
pub struct Material {
    /// Own lines with an intent.
    pub own: Vec<Message>,
    /// Written by people who saw the definitions alone; empty on development lines.
    pub blind: Vec<Message>,
    /// By id and language: the leaf that a second person gave.
    pub second: BTreeMap<(String, Language), usize>,
    pub several: Vec<Message>,
    /// Banking that the pack does not cover.
    pub near_scope: Vec<Message>,
    pub persons: Vec<Message>,
    /// Own lines with marked values that are not among `persons`.
    pub marked: Vec<Message>,
    pub sentences: Vec<Sentence>,
    /// Orders to the system that somebody appends; on development lines those that are trained on.
    pub instructions: Vec<(Language, String)>,
    pub notes: Vec<String>,
}

impl Material {
    /// The lines of a part as messages.
    pub fn part(corpus: &Corpus, sources: &[Source], split: Split) -> Vec<Message> {
        let wanted = |line: &&Line| sources.contains(&line.source) && line.split == split;
        corpus.lines.iter().filter(wanted).map(|line| Message::of(String::new(), line)).collect()
    }

    pub fn read(
        options: &Options,
        bar: &Bar,
        corpus: &Corpus,
        schema: &Schema,
    ) -> Result<Self, LearningError> {
        let part = |sources: &[Source]| Self::part(corpus, sources, options.split);
        let mut material =
            Self { own: part(&[Source::Own]), marked: part(&[Source::Own]), ..Self::default() };
        let public = options.data.as_deref();
        let test = options.split == Split::Test;
        if let Some(file) = bar.file("injections", public) {
            let part = if test { Split::Test } else { Split::Train };
            material.instructions = injections::read(&file, part)?;
        }
        if !test {
            material.several = part(&[Source::Several]);
            material.persons = part(&[Source::Entities]);
            return Ok(material);
        }
        material.marked.extend(part(&[Source::Entities]));
        let read = |name: &str| -> Result<Vec<Message>, LearningError> {
            let Some(file) = bar.file(name, public) else { return Ok(Vec::new()) };
            let lines = own::read_named(vec![file], &schema.intents, &schema.extraction)?;
            Ok(lines.into_iter().map(|(id, line)| Message::of(id, &line)).collect())
        };
        material.blind = read("blind")?;
        material.several = read("blind_several")?;
        material.near_scope = read("blind_near_scope")?;
        material.persons = read("blind_persons")?;
        if let Some(file) = bar.file("blind_second", public) {
            material.second = second(&file, &schema.intents)?;
        }
        if let Some(file) = bar.file("smartdata", public) {
            material.sentences = smartdata::read(&file)?;
            material.clean(options, corpus, schema)?;
        }
        Ok(material)
    }

    /// Takes out the sentences that also stand in MobIE, which shares documents with SmartData, or among
    /// the other training lines.
    fn clean(&mut self, options: &Options, corpus: &Corpus, schema: &Schema) -> Result<(), LearningError> {
        let trained = corpus.lines.iter().filter(|line| line.split != Split::Test);
        let mut known: Vec<Vec<char>> = trained.map(|line| normalised(&line.text())).collect();
        let folder =
            options.data.as_ref().map(|folder| folder.join("mobie")).filter(|folder| folder.is_dir());
        if let Some(folder) = folder {
            let names = corpus.lists.first_names();
            let lines = mobie::read(&folder, &schema.intents, &schema.extraction, &names)?;
            known.extend(lines.iter().map(|line| normalised(&line.text())));
        }
        let known = Texts::new(&known);
        let before = self.sentences.len();
        self.sentences.retain(|sentence| !known.share(&sentence.text));
        let dropped = before - self.sentences.len();
        self.notes
            .push(format!("dropped {dropped} of {before} sentences of smartdata that stand in training"));
        Ok(())
    }
}

/// Columns id, lang, leaf.
fn second(file: &Path, dag: &Dag) -> Result<BTreeMap<(String, Language), usize>, LearningError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| LearningError::file(file, error, "it belongs to the repository; restore it"))?;
    let mut labels = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (at, row) in text.lines().enumerate().skip(1).filter(|(_, row)| !row.trim().is_empty()) {
        let fault = |column: usize, problem: String, remedy: &str| LearningError::Data {
            file: file.to_owned(),
            line: at + 1,
            column,
            problem,
            remedy: remedy.to_owned(),
        };
        let columns: Vec<&str> = row.split('\t').collect();
        let [id, language, leaf] = columns.as_slice() else {
            let problem = format!("{} columns", columns.len());
            return Err(fault(1, problem, "write id, lang and leaf with tabs between"));
        };
        let language = Language::parse(language)
            .ok_or_else(|| fault(2, format!("`{language}` is not a language"), "write de or en"))?;
        let leaf = dag.leaf(leaf).ok_or_else(|| {
            fault(3, format!("`{leaf}` is not a leaf"), "use a leaf of config/intents.toml")
        })?;
        if !seen.insert(((*id).to_owned(), language)) {
            return Err(fault(1, format!("`{id}` appears twice in one language"), "remove one"));
        }
        labels.insert(((*id).to_owned(), language), leaf);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_labels_are_read_and_faults_name_their_place() {
        let (dag, _) = crate::learning::train::pack(Path::new("config")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("second.tsv");
        let head = "id\tlang\tleaf\n";
        std::fs::write(&file, format!("{head}balance.1\tde\tbalance\nbalance.1\ten\tapr\n")).unwrap();
        let labels = second(&file, &dag).unwrap();
        assert_eq!(labels.get(&("balance.1".to_owned(), Language::En)), dag.leaf("apr").as_ref());
        for (row, place) in [
            ("a\tde", ":2:1:"),
            ("a\tfr\tapr", ":2:2:"),
            ("a\tde\tnone", ":2:3:"),
            ("a\tde\tapr\na\tde\tapr", ":3:1:"),
        ] {
            std::fs::write(&file, format!("{head}{row}\n")).unwrap();
            let error = second(&file, &dag).unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
    }
}
