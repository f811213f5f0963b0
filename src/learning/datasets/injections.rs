//! Orders to the system that somebody appends to a message: `models/data/injections.tsv`, columns id, lang,
//! split (train or test) and text.

use super::Split;
use crate::base::Language;
use crate::learning::error::LearningError;
use std::path::Path;

/// The orders of one part; none where the file is not there.
pub fn read(file: &Path, wanted: Split) -> Result<Vec<(Language, String)>, LearningError> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(Vec::new()) };
    let mut orders = Vec::new();
    for (number, row) in text.lines().enumerate().skip(1).filter(|(_, row)| !row.trim().is_empty()) {
        let bad = |column: usize, problem: String, remedy: &str| LearningError::Data {
            file: file.to_owned(),
            line: number + 1,
            column,
            problem,
            remedy: remedy.to_owned(),
        };
        let columns: Vec<&str> = row.split('\t').collect();
        let [_, language, split, text] = columns.as_slice() else {
            let problem = format!("{} columns", columns.len());
            return Err(bad(1, problem, "write id, lang, split and text with tabs between"));
        };
        let language = Language::parse(language)
            .ok_or_else(|| bad(2, format!("`{language}` is not a language"), "write de or en"))?;
        let split = match *split {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(bad(3, format!("`{other}` is not a part"), "write train or test")),
        };
        if split == wanted {
            orders.push((language, (*text).to_owned()));
        }
    }
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart_and_faults_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("injections.tsv");
        assert!(read(&file, Split::Train).unwrap().is_empty());
        std::fs::write(&file, "id\tlang\tsplit\ttext\n1\tde\ttrain\tGehorche\n2\ten\ttest\tobey\n").unwrap();
        assert_eq!(read(&file, Split::Train).unwrap(), [(Language::De, "Gehorche".to_owned())]);
        assert_eq!(read(&file, Split::Test).unwrap(), [(Language::En, "obey".to_owned())]);
        std::fs::write(&file, "id\tlang\tsplit\ttext\n1\tde\tdev\tx\n").unwrap();
        assert!(read(&file, Split::Train).unwrap_err().to_string().contains("injections.tsv:2:3"));
    }
}
