//! All training lines, cleaned, and which of them a step takes.

use super::bar::Bar;
use super::datasets::{self, Line, Source, Split};
use super::draw::Lists;
use super::error::LearningError;
use super::switching::Dictionary;
use super::vocabulary;
use crate::base::Language;
use crate::understanding::{Dag, Extraction, Lexicon};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::Path;

pub struct Corpus {
    pub lines: Vec<Line>,
    pub lists: Lists,
    /// Lists of names that travel with the bundle.
    pub lexicon: Lexicon,
    /// German words and their English glosses.
    pub glossary: HashMap<String, String>,
    pub dictionary: Dictionary,
    /// Orders to the system that a message must be readable in spite of.
    pub injections: Vec<(Language, String)>,
    /// Training lines by source and language, as positions in `lines`.
    alike: HashMap<(Source, Language), Vec<usize>>,
    /// What was skipped or dropped, one sentence each.
    pub notes: Vec<String>,
}

impl Corpus {
    /// `public` is the folder of public sets (each optional, its absence noted), `own` the project's.
    pub fn read(
        public: Option<&Path>,
        own: &Path,
        dag: &Dag,
        extraction: &Extraction,
        wanted: &[Source],
    ) -> Result<Self, LearningError> {
        let labels = datasets::labels::Labels::read(&own.join("labels.toml"), dag)?;
        let mut notes = Vec::new();
        let mut present = |name: &str| {
            let folder = public.map(|folder| folder.join(name)).filter(|folder| folder.is_dir());
            if folder.is_none() {
                notes.push(format!("skipped {name}: not in the data folder (set PROKURA_DATA)"));
            }
            folder
        };
        let lists = match present("german") {
            Some(folder) => Lists::read(&folder)?,
            None => Lists::default(),
        };
        let mut lines = datasets::own::read(own, dag, extraction)?;
        if let Some(folder) = present("banking77") {
            lines.extend(datasets::banking77::read(&folder, dag, extraction, &labels)?);
        }
        if let Some(folder) = present("clinc150") {
            lines.extend(datasets::clinc150::read(&folder, dag, extraction, &labels)?);
        }
        if let Some(folder) = present("mobie") {
            lines.extend(datasets::mobie::read(&folder, dag, extraction, &lists.first_names())?);
        }
        if let Some(folder) = present("smartdata") {
            lines.extend(datasets::smartdata::lines(&folder, dag, extraction, &lists.first_names())?);
        }
        if let Some(folder) = present("tau_banking") {
            lines.extend(datasets::policies::documents(&folder.join("documents.jsonl"), extraction)?);
        }
        // models/data and index/policies lie in one repository.
        if let Some(root) = own.parent().and_then(Path::parent) {
            lines.extend(datasets::policies::read(&root.join("index/policies"), extraction)?);
        }
        let bar = Bar::read(&own.join("bar.toml"))?;
        if bar.is_none() {
            notes.push(format!("skipped the bar file: {} has none", own.display()));
        }
        let bar = bar.unwrap_or_default();
        notes.extend(bar.missing(public));
        let blind = bar.texts(public, dag, extraction)?;
        for (source, count) in datasets::clean::drop_test_lines(&mut lines, &blind) {
            notes.push(format!("dropped {count} lines of {} that stand in a test set", source.name()));
        }
        lines.retain(|line| wanted.contains(&line.source));
        let lexicon = lexicon(own)?;
        let words = own.join("glossary.tsv");
        let glossary = if words.exists() { vocabulary::glossary(&words)? } else { HashMap::new() };
        let injections = orders(own, &blind, &mut notes)?;
        let mut alike: HashMap<(Source, Language), Vec<usize>> = HashMap::new();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.split == Split::Train) {
            alike.entry((line.source, line.language)).or_default().push(at);
        }
        let german: Vec<String> = lines
            .iter()
            .filter(|line| line.split == Split::Train && line.language == Language::De)
            .map(Line::text)
            .collect();
        let dictionary = Dictionary::of(&glossary, german.iter().map(String::as_str));
        Ok(Self { lines, lists, lexicon, glossary, dictionary, injections, alike, notes })
    }

    /// The lists that training draws names, numbers and words from, as one text each.
    pub fn lists(&self) -> Vec<String> {
        let mut glossary: Vec<String> =
            self.glossary.iter().map(|(word, gloss)| format!("{word} {gloss}")).collect();
        glossary.sort();
        vec![format!("{:?}", self.lists), format!("{:?}", self.lexicon), glossary.join(" ")]
    }

    /// Training lines of one source and language.
    pub fn alike(&self, source: Source, language: Language) -> &[usize] {
        self.alike.get(&(source, language)).map_or(&[], Vec::as_slice)
    }

    /// Lets the development lines of public sets be trained on as well.
    pub fn take_whole(&mut self) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            let public = matches!(line.source, Source::Banking77 | Source::Clinc150 | Source::Elsewhere);
            if public && line.split == Split::Dev {
                line.split = Split::Train;
                self.alike.entry((line.source, line.language)).or_default().push(at);
            }
        }
    }

    pub fn part(&self, source: Source, split: Split) -> Vec<usize> {
        let fits = |line: &Line| line.source == source && line.split == split;
        self.lines.iter().enumerate().filter(|(_, line)| fits(line)).map(|(at, _)| at).collect()
    }
}

/// The lists of names of `own/lexicon`; empty where there is no such folder.
pub fn lexicon(own: &Path) -> Result<Lexicon, LearningError> {
    let folder = own.join("lexicon");
    if !folder.is_dir() {
        return Ok(Lexicon::default());
    }
    let list = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file)
            .map_err(|error| LearningError::file(&file, error, "restore it, or remove the folder `lexicon`"))
    };
    Ok(Lexicon::of(&list("first_names.txt")?, &list("last_names.txt")?, &list("places.txt")?))
}

/// The orders to the system that training may see: those that stand in no test set.
fn orders(
    own: &Path,
    blind: &[String],
    notes: &mut Vec<String>,
) -> Result<Vec<(Language, String)>, LearningError> {
    let mut orders = datasets::injections::read(&own.join("injections.tsv"), Split::Train)?;
    let before = orders.len();
    let blind: Vec<Vec<char>> = blind.iter().map(|text| datasets::clean::normalised(text)).collect();
    let blind = datasets::clean::Texts::new(&blind);
    orders.retain(|(_, text)| !blind.share(text));
    if orders.len() < before {
        let dropped = before - orders.len();
        notes.push(format!("dropped {dropped} lines of injections that stand in a test set"));
    }
    Ok(orders)
}

/// Draws lines source by source: a source's chance is the root of its size, its lines come in random order
/// and every one before any comes twice.
pub struct Sampler {
    sources: Vec<(Source, f64, Vec<usize>, usize)>,
    seed: u64,
}

impl Sampler {
    /// `own_factor` multiplies the chance of the project's own lines.
    pub fn new(corpus: &Corpus, wanted: &[Source], seed: u64, own_factor: f64) -> Self {
        let mut sources = Vec::new();
        for source in Source::ALL.into_iter().filter(|source| wanted.contains(source)) {
            let lines = corpus.part(source, Split::Train);
            // "Other" would drown the rest; sentences from the news teach names only.
            let cap = match source {
                Source::Elsewhere => 900.0,
                Source::Mobie => 600.0,
                Source::Smartdata => 1_600.0,
                Source::Policies => 500.0,
                _ => f64::INFINITY,
            };
            if !lines.is_empty() {
                let factor = if source == Source::Own { own_factor } else { 1.0 };
                sources.push((source, (lines.len() as f64).min(cap).sqrt() * factor, lines, 0));
            }
        }
        Self { sources, seed }
    }

    /// How large a part of all lines this source gives.
    pub fn share(&self, source: Source) -> f64 {
        let total: f64 = self.sources.iter().map(|(_, weight, ..)| weight).sum();
        self.sources.iter().find(|(s, ..)| *s == source).map_or(0.0, |(_, weight, ..)| weight / total)
    }

    pub fn size(&self, source: Source) -> usize {
        self.sources.iter().find(|(s, ..)| *s == source).map_or(0, |(_, _, lines, _)| lines.len())
    }

    /// The lines of one step.
    pub fn batch(&mut self, size: usize, rng: &mut StdRng) -> Vec<usize> {
        let mut batch = Vec::with_capacity(size);
        let ways: Vec<usize> = (0..self.sources.len()).collect();
        while batch.len() < size && !self.sources.is_empty() {
            let weight = |at: &usize| self.sources.get(*at).map_or(0.0, |(_, weight, ..)| *weight);
            let Ok(which) = ways.choose_weighted(rng, weight) else { break };
            let seed = self.seed;
            if let Some((source, _, lines, drawn)) = self.sources.get_mut(*which) {
                if *drawn % lines.len() == 0 {
                    // The order of a pass depends only on seed, source and pass, so that a run can be resumed.
                    let pass = (*drawn / lines.len()) as u64;
                    let mut order = StdRng::seed_from_u64(seed ^ (*source as u64) << 32 ^ pass);
                    lines.sort_unstable();
                    lines.shuffle(&mut order);
                }
                batch.extend(lines.get(*drawn % lines.len()));
                *drawn += 1;
            }
        }
        batch
    }
}

/// The random source of one step, a function of seed and step alone.
pub fn step_rng(seed: u64, step: usize) -> StdRng {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step as u64);
    rng.random::<u64>();
    rng
}
