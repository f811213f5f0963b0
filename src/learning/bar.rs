//! Which lines are test lines (`models/data/bar.toml`), and the figures that a bundle is held to
//! (`config/bars.toml`): one format.

use super::datasets::{Split, injections, own, smartdata};
use super::error::LearningError;
use crate::understanding::{Dag, Extraction};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

#[derive(Clone, Debug, Default)]
pub struct Bar {
    pub sets: Vec<TestSet>,
    /// By the figure's id.
    pub marks: BTreeMap<String, Mark>,
    /// The folder of the bar file.
    folder: PathBuf,
}

/// A named file of test lines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSet {
    pub name: String,
    pub under: Under,
    pub file: PathBuf,
    pub form: Form,
}

/// The folder that a set's file is relative to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Under {
    /// The public sets (PROKURA_DATA).
    Data,
    /// The folder of the bar file.
    Own,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The test part of a source that the corpus reads by itself.
    Source,
    /// Lines as in utterances/.
    Marked,
    /// See `datasets::injections`.
    Instructions,
    /// See `datasets::smartdata`.
    Smartdata,
    /// Columns id, lang, leaf: another person's labels of a set's lines.
    Labels,
}

/// What one figure is held to.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub better: Better,
    /// Beyond it a bundle is not shipped.
    pub bar: Option<f64>,
    /// What is to be reached.
    pub goal: Option<f64>,
    /// How far beyond the linear baseline the goal also is.
    pub over_baseline: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    /// Of a figure, by the last part of its id: errors and false alarms are better when there are fewer.
    pub fn of(id: &str) -> Self {
        const FEWER: [&str; 8] =
            ["ece", "false", "false_second", "human_false", "fall", "to_leaf", "differ", "gap"];
        match id.rsplit('.').next() {
            Some(last) if FEWER.contains(&last) || last == PER_THOUSAND => Self::Lower,
            _ => Self::Higher,
        }
    }

    /// Whether the value is at the mark or beyond it.
    pub fn reaches(self, value: f64, mark: f64) -> bool {
        match self {
            Self::Higher => value >= mark,
            Self::Lower => value <= mark,
        }
    }
}

/// The last parts of the ids whose values are no shares.
const PER_THOUSAND: &str = "per_thousand";
const RATIO: &str = "ratio";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    set: Vec<Spanned<TestSet>>,
    #[serde(default)]
    figure: Vec<Spanned<RawMark>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMark {
    id: String,
    better: Option<Better>,
    bar: Option<f64>,
    goal: Option<f64>,
    over_baseline: Option<f64>,
}

impl Bar {
    /// `None` where there is no such file: a bank may train on its own lines without one.
    pub fn read(file: &Path) -> Result<Option<Self>, LearningError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(file, &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LearningError::file(file, error, "make it readable")),
        }
    }

    pub fn parse(file: &Path, text: &str) -> Result<Self, LearningError> {
        let fault = |offset: usize, problem: String, remedy: &str| {
            let head = text.get(..offset).unwrap_or_default();
            LearningError::Data {
                file: file.to_owned(),
                line: head.matches('\n').count() + 1,
                column: head.chars().rev().take_while(|c| *c != '\n').count() + 1,
                problem,
                remedy: remedy.to_owned(),
            }
        };
        let parsed: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            fault(offset, error.message().trim().to_owned(), "see the comments at the top of the file")
        })?;
        let mut bar =
            Self { folder: file.parent().map_or_else(PathBuf::new, Path::to_path_buf), ..Self::default() };
        for set in parsed.set {
            let offset = set.span().start;
            let set = set.into_inner();
            if bar.set(&set.name).is_some() {
                return Err(fault(offset, format!("`name`: set `{}` appears twice", set.name), "remove one"));
            }
            bar.sets.push(set);
        }
        for raw in parsed.figure {
            let offset = raw.span().start;
            let RawMark { id, better, bar: least, goal, over_baseline } = raw.into_inner();
            let numbers = [("bar", least), ("goal", goal), ("over_baseline", over_baseline)];
            if let Some((field, value)) =
                numbers.iter().find_map(|(field, value)| Some((*field, value.filter(|v| !v.is_finite())?)))
            {
                let problem = format!("`{field}` of figure `{id}` is {value}");
                return Err(fault(offset, problem, "write a number, shares as 0 to 1"));
            }
            if numbers.iter().all(|(_, value)| value.is_none()) {
                let problem = format!("figure `{id}` is held to nothing");
                return Err(fault(offset, problem, "write `bar`, `goal` or `over_baseline`"));
            }
            let share = !id.ends_with(PER_THOUSAND) && !id.ends_with(RATIO);
            if let Some((field, value)) = numbers
                .iter()
                .find_map(|(field, value)| Some((*field, value.filter(|v| share && v.abs() > 1.0)?)))
            {
                let problem = format!("`{field}` of figure `{id}` is {value}");
                return Err(fault(offset, problem, "write a share as 0 to 1"));
            }
            let known = Better::of(&id);
            if better.is_some_and(|better| better != known) {
                let problem = format!("`better` of figure `{id}` is not what it is");
                return Err(fault(offset, problem, "remove the field"));
            }
            let mark = Mark { better: known, bar: least, goal, over_baseline };
            if bar.marks.insert(id.clone(), mark).is_some() {
                return Err(fault(offset, format!("`id`: figure `{id}` appears twice"), "remove one"));
            }
        }
        Ok(bar)
    }

    pub fn set(&self, name: &str) -> Option<&TestSet> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// Where a set's file is; `None` where it is not there.
    pub fn file(&self, name: &str, public: Option<&Path>) -> Option<PathBuf> {
        let set = self.set(name)?;
        let folder = match set.under {
            Under::Own => Some(self.folder.as_path()),
            Under::Data => public,
        };
        folder.map(|folder| folder.join(&set.file)).filter(|file| file.exists())
    }

    /// One sentence for every set that is not there.
    pub fn missing(&self, public: Option<&Path>) -> Vec<String> {
        let gone = self.sets.iter().filter(|set| self.file(&set.name, public).is_none());
        gone.map(|set| format!("skipped test set {}: {} is not there", set.name, set.file.display()))
            .collect()
    }

    /// The texts of the sets that the corpus does not read by itself, by set: no line is trained on that
    /// shares one.
    pub fn texts(
        &self,
        public: Option<&Path>,
        dag: &Dag,
        extraction: &Extraction,
    ) -> Result<Vec<String>, LearningError> {
        let mut texts = Vec::new();
        for set in &self.sets {
            let Some(file) = self.file(&set.name, public) else { continue };
            match set.form {
                Form::Source | Form::Labels => {}
                Form::Marked => {
                    let lines = own::read_files(vec![file], dag, extraction)?;
                    texts.extend(lines.iter().map(super::datasets::Line::text));
                }
                Form::Instructions => {
                    texts.extend(injections::read(&file, Split::Test)?.into_iter().map(|(_, text)| text));
                }
                Form::Smartdata => {
                    texts.extend(smartdata::read(&file)?.into_iter().map(|sentence| sentence.text));
                }
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Bar::parse(Path::new("x/bar.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_file_is_sound() {
        let bar = Bar::read(Path::new("models/data/bar.toml")).unwrap().unwrap();
        assert!(bar.set("blind").is_some() && bar.set("banking77").is_some() && bar.marks.is_empty());
        let bars = Bar::read(Path::new("config/bars.toml")).unwrap().unwrap();
        assert_eq!(bars.marks["banking77.leaf_closed"].bar, Some(0.92));
        assert!(bar.missing(None).iter().any(|note| note.contains("banking77")));
    }

    #[test]
    fn faults_name_file_line_and_field() {
        let set = "[[set]]\nname = \"a\"\nunder = \"own\"\nfile = \"a.tsv\"\nform = \"marked\"\n";
        assert!(error(&format!("{set}{set}")).starts_with("x/bar.toml:6:1: `name`: set `a` appears twice"));
        assert!(error(&set.replace("own", "here")).contains("x/bar.toml:3:9"));
        assert!(error("[[figure]]\nid = \"a\"\n").contains("figure `a` is held to nothing"));
        assert!(error("[[figure]]\nid = \"a\"\nbar = nan\n").contains("`bar` of figure `a` is NaN"));
        let figure = "[[figure]]\nid = \"a\"\ngoal = 1\n";
        assert!(error(&format!("\n{figure}\n{figure}")).starts_with("x/bar.toml:6:1: `id`"));
        assert!(error("[[figure]]\nid = \"a\"\nleast = 1\n").contains("least"));
        assert!(
            error("[[figure]]\nid = \"a\"\nbar = 99\n").contains("`bar` of figure `a` is 99; write a share")
        );
        let upward = "[[figure]]\nid = \"x.de.ece\"\nbetter = \"higher\"\nbar = 0.1\n";
        assert!(error(upward).contains("`better` of figure `x.de.ece`"));
        assert_eq!(Bar::read(Path::new("models/data/nothing.toml")).unwrap().map(|_| ()), None);
    }

    #[test]
    fn lower_can_be_better() {
        assert_eq!(
            [Better::of("tickets.de.ece"), Better::of("own.de.leaf")],
            [Better::Lower, Better::Higher]
        );
        assert!(Better::Lower.reaches(0.02, 0.03) && !Better::Lower.reaches(0.04, 0.03));
        assert!(Better::Higher.reaches(0.9, 0.9) && !Better::Higher.reaches(0.8, 0.9));
    }
}
