//! CLINC150 (Larson et al. 2019): our 30 labels of banking and credit cards; every other domain and the
//! out-of-scope lines are the root's "other".

use super::labels::Labels;
use super::{Line, Piece, Source, Split, Target};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use std::collections::BTreeMap;
use std::path::Path;

/// Names of the lists in data_full.json.
const LISTS: [(&str, Split); 6] = [
    ("train", Split::Train),
    ("val", Split::Dev),
    ("test", Split::Test),
    ("oos_train", Split::Train),
    ("oos_val", Split::Dev),
    ("oos_test", Split::Test),
];

pub fn read(
    folder: &Path,
    dag: &Dag,
    extraction: &Extraction,
    labels: &Labels,
) -> Result<Vec<Line>, LearningError> {
    let file = folder.join("data_full.json");
    let bytes =
        std::fs::read(&file).map_err(|error| LearningError::file(&file, error, "restore the data folder"))?;
    let lists: BTreeMap<String, Vec<(String, String)>> = serde_json::from_slice(&bytes)
        .map_err(|error| LearningError::file(&file, error, "it holds lists of [text, label] pairs"))?;
    let against = labels.clinc150.against(dag);
    let other = dag.leaf("other").unwrap_or_default();
    let mut lines = Vec::new();
    for (name, split) in LISTS {
        for (text, label) in lists.get(name).into_iter().flatten() {
            let ours = labels.clinc150.leaf.get(label).and_then(|id| dag.leaf(id));
            let leaf = ours.unwrap_or(other);
            lines.push(Line {
                source: if ours.is_some() { Source::Clinc150 } else { Source::Elsewhere },
                split,
                language: Language::En,
                pieces: vec![Piece { text: text.trim().to_owned(), field: None }],
                target: Some(Target {
                    leaf,
                    parent: None,
                    against: against.get(leaf).cloned().unwrap_or_default(),
                }),
                concerns: Vec::new(),
                tone: None,
                groups: vec![false; extraction.groups.len()],
                meaning: Some(text.trim().to_owned()),
            });
        }
    }
    Ok(lines)
}
