//! The German SmartData corpus (Schiersch et al. 2018): texts with persons marked, JSON objects one behind
//! the other, compressed with gzip.

use super::{Line, Piece, Source, Split, Target, bucket, mobie};
use crate::base::Language;
use crate::learning::error::LearningError;
use crate::understanding::{Dag, Extraction};
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::collections::HashSet;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

/// A sentence with its persons, as characters: (first, behind the last). Titles and forms of address
/// ("Herr", "Dr.") that the corpus counts to a name are left out, as in the project's own lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    pub text: String,
    pub persons: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Document {
    text: Wrapped<String>,
    #[serde(rename = "conceptMentions")]
    mentions: Option<Array>,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    string: T,
}

#[derive(Deserialize)]
struct Array {
    array: Vec<Mention>,
}

#[derive(Deserialize)]
struct Mention {
    span: Place,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Place {
    start: usize,
    end: usize,
}

/// Sentences that occur twice are given once.
pub fn read(file: &Path) -> Result<Vec<Sentence>, LearningError> {
    let opened = std::fs::File::open(file)
        .map_err(|error| LearningError::file(file, error, "restore the data folder"))?;
    let documents = serde_json::Deserializer::from_reader(BufReader::new(GzDecoder::new(opened)));
    let mut out = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for document in documents.into_iter::<Document>() {
        let document =
            document.map_err(|error| LearningError::file(file, error, "restore the data folder"))?;
        let persons: Vec<(usize, usize)> = document
            .mentions
            .into_iter()
            .flat_map(|mentions| mentions.array)
            .filter(|mention| mention.kind == "person")
            .map(|mention| (mention.span.start, mention.span.end))
            .collect();
        let found = sentences(&document.text.string, &persons).into_iter();
        out.extend(found.filter(|sentence| seen.insert(sentence.text.clone())));
    }
    Ok(out)
}

/// The training part as lines with first and last names marked; what is a company here is no customer's use
/// of the word ("the group"), so that group stays unknown. Sentences without persons are many; half of them are
/// enough.
pub fn lines(
    folder: &Path,
    dag: &Dag,
    extraction: &Extraction,
    known_first: &HashSet<String>,
) -> Result<Vec<Line>, LearningError> {
    let against = Arc::new(vec![true; dag.leaves.len()]);
    let mut found = read(&folder.join("train.json.gz"))?;
    let words = |sentence: &Sentence| sentence.text.split_whitespace().count();
    found.retain(|sentence| (4..=60).contains(&words(sentence)));
    found.retain(|sentence| !sentence.persons.is_empty() || bucket(&sentence.text) < 50);
    let line = |sentence: Sentence| Line {
        source: Source::Smartdata,
        split: if bucket(&sentence.text) % 10 == 3 { Split::Dev } else { Split::Train },
        language: Language::De,
        pieces: pieces(&sentence, known_first),
        target: dag.leaf("other").map(|leaf| Target { leaf, parent: None, against: Arc::clone(&against) }),
        concerns: Vec::new(),
        tone: None,
        groups: extraction.groups.iter().map(|group| group.id == "persons").collect(),
        meaning: None,
    };
    Ok(found.into_iter().map(line).collect())
}

fn pieces(sentence: &Sentence, known_first: &HashSet<String>) -> Vec<Piece> {
    let letters: Vec<char> = sentence.text.chars().collect();
    let text =
        |from: usize, to: usize| -> String { letters.get(from..to).unwrap_or_default().iter().collect() };
    let mut pieces = Vec::new();
    let mut at = 0;
    let plain = |from: usize, to: usize, pieces: &mut Vec<Piece>| {
        if from < to {
            pieces.push(Piece { text: text(from, to), field: None });
        }
    };
    for (start, end) in &sentence.persons {
        if *start < at {
            continue;
        }
        plain(at, *start, &mut pieces);
        let name = text(*start, *end);
        let solid = name.trim_end_matches(|c: char| !c.is_alphanumeric());
        mobie::person(&solid.split_whitespace().collect::<Vec<_>>(), known_first, &mut pieces);
        at = start + solid.chars().count();
    }
    plain(at, letters.len(), &mut pieces);
    pieces
}

/// Cuts at line breaks and behind `.`, `!` and `?` before a space and a capital, but not inside a person nor
/// behind a word of one or two letters ("F.", "Dr.") or a number ("3. März").
fn sentences(text: &str, persons: &[(usize, usize)]) -> Vec<Sentence> {
    let letters: Vec<char> = text.chars().collect();
    let at = |place: usize| letters.get(place).copied().unwrap_or(' ');
    let mut cuts = vec![0];
    for place in 1..letters.len() {
        let inside = persons.iter().any(|(start, end)| *start < place && place < *end);
        let before = letters.get(..place.saturating_sub(1)).unwrap_or_default();
        let word = before.iter().rev().take_while(|c| c.is_alphanumeric()).count();
        let number = before.last().is_some_and(|c| c.is_numeric());
        let stop = matches!(at(place - 1), '.' | '!' | '?')
            && at(place).is_whitespace()
            && at(place + 1).is_uppercase()
            && (at(place - 1) != '.' || (word > 2 && !number));
        if !inside && (stop || at(place) == '\n') {
            cuts.push(place);
        }
    }
    cuts.push(letters.len());
    let mut out = Vec::new();
    for pair in cuts.windows(2) {
        let [mut from, mut to] = *pair else { continue };
        while from < to && at(from).is_whitespace() {
            from += 1;
        }
        while from < to && at(to - 1).is_whitespace() {
            to -= 1;
        }
        if from == to {
            continue;
        }
        let own = persons.iter().filter(|(start, end)| from <= *start && *end <= to);
        let own = own.map(|(start, end)| untitled(&letters, *start, *end)).filter(|(start, end)| start < end);
        out.push(Sentence {
            text: letters.get(from..to).unwrap_or_default().iter().collect(),
            persons: own.map(|(start, end)| (start - from, end - from)).collect(),
        });
    }
    out
}

/// The place without the titles at its beginning.
pub fn untitled(letters: &[char], mut start: usize, end: usize) -> (usize, usize) {
    const TITLES: [&str; 10] =
        ["herr", "herrn", "frau", "dr", "prof", "professor", "ing", "mag", "dipl", "doktor"];
    loop {
        let rest = letters.get(start..end).unwrap_or_default();
        let word: String = rest.iter().take_while(|c| c.is_alphabetic()).collect();
        if !TITLES.contains(&word.to_lowercase().as_str()) {
            return (start, end);
        }
        start += word.chars().count();
        while start < end && letters.get(start).is_some_and(|c| !c.is_alphanumeric()) {
            start += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn texts_are_cut_to_sentences_and_persons_keep_their_letters() {
        let text = "Müller kommt. Dann sprach Dr. F. Gary Gray am 3. März!\nHerr Grube fehlt";
        let gray = text.find("Dr. F").map(|at| text[..at].chars().count()).unwrap();
        let grube = text.find("Herr").map(|at| text[..at].chars().count()).unwrap();
        let found = sentences(text, &[(0, 6), (gray, gray + 16), (grube, grube + 10)]);
        let name = |s: &Sentence| -> Vec<String> {
            s.persons.iter().map(|(a, b)| s.text.chars().skip(*a).take(b - a).collect()).collect()
        };
        assert_eq!(
            found.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(),
            ["Müller kommt.", "Dann sprach Dr. F. Gary Gray am 3. März!", "Herr Grube fehlt"]
        );
        assert_eq!(found.iter().flat_map(name).collect::<Vec<_>>(), ["Müller", "F. Gary Gray", "Grube"]);
        assert!(sentences("", &[]).is_empty());
    }

    #[test]
    fn a_line_has_first_and_last_name_and_the_text_as_it_was() {
        let sentence = Sentence {
            text: "Es sprach Heinz Rudolf Kunze: nichts, sagt Eva.".to_owned(),
            persons: vec![(10, 29), (43, 46)],
        };
        let known = HashSet::from(["eva".to_owned()]);
        let pieces = pieces(&sentence, &known);
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), sentence.text);
        let marked: Vec<(&str, &str)> =
            pieces.iter().filter_map(|piece| Some((piece.field.as_deref()?, piece.text.as_str()))).collect();
        assert_eq!(marked, [("first_name", "Heinz Rudolf"), ("last_name", "Kunze"), ("first_name", "Eva")]);
    }

    #[test]
    fn a_compressed_file_of_objects_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json.gz");
        let object = |text: &str| {
            format!(
                "{{\"text\": {{\"string\": \"{text}\"}}, \"conceptMentions\": {{\"array\": [{{\"type\": \
                 \"person\", \"span\": {{\"start\": 0, \"end\": 3}}}}]}}}}\n"
            )
        };
        let mut out =
            flate2::write::GzEncoder::new(std::fs::File::create(&file).unwrap(), Default::default());
        write!(out, "{}{}{}", object("Max ruft"), object("Max ruft"), object("Eva geht")).unwrap();
        out.finish().unwrap();
        let found = read(&file).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Sentence { text: "Eva geht".to_owned(), persons: vec![(0, 3)] });
        std::fs::write(&file, "no gzip").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("a.json.gz"));
    }
}
