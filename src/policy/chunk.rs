//! A document's body becomes passages that follow its sections.
//!
//! A passage is what stands between two headings, without the white space at its ends. One that is longer
//! than [`LONGEST`] characters is cut between blocks (paragraphs, list items, table rows), and a block
//! that is longer still is cut at a line, a sentence, a space, or hard. No other text is left out. A passage that
//! goes on with a section begins with the end of the one before it, and one that begins among the rows of a table
//! knows the table's head.

use super::document::{Document, Format};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::ops::Range;

/// Changes whenever the same document may give other passages.
pub const VERSION: &str = "sections-2";

/// Longest passage, in characters: about what a person reads in one go, and within an encoder's window.
pub const LONGEST: usize = 1_200;

/// Where one passage stands. Offsets count characters (Unicode scalar values) of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The headings above the passage, outermost first, without one that repeats the document's title.
    pub section: Vec<String>,
    pub start: usize,
    pub end: usize,
    /// Where the head of the table stands among whose rows the passage begins.
    pub head: Option<[usize; 2]>,
}

/// Most characters that a passage repeats of the one before it in its section.
const REPEATED: usize = 160;

/// What the structure of a body says about where to cut it; all in bytes.
#[derive(Default)]
struct Outline {
    headings: Vec<Heading>,
    /// Where blocks begin.
    cuts: Vec<usize>,
    /// Tables, and the heads of each.
    tables: Vec<(Range<usize>, Range<usize>)>,
}

/// A heading: its level from 1, its text, and its bytes in the body.
struct Heading {
    level: usize,
    text: String,
    bytes: Range<usize>,
}

/// The passages of a document in their order. A document whose headings stand above no text at all gives
/// one passage with the whole body.
pub fn chunks(document: &Document) -> Vec<Chunk> {
    let body = document.body.as_str();
    let Outline { headings, cuts, tables } = outline(document.format, body);
    let mut pieces: Vec<(Vec<String>, Range<usize>)> = Vec::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut from = 0;
    let ends = headings.iter().map(|h| h.bytes.start).chain([body.len()]);
    let next = headings.iter().map(Some).chain([None]);
    for (to, heading) in ends.zip(next) {
        let section: Vec<String> = path.iter().map(|(_, text)| text.clone()).collect();
        split(body, from..to, &cuts, &mut |piece| pieces.push((section.clone(), piece)));
        if let Some(heading) = heading {
            path.retain(|(level, _)| *level < heading.level);
            if heading.text != document.title && !heading.text.is_empty() {
                path.push((heading.level, heading.text.clone()));
            }
            from = heading.bytes.end;
        }
    }
    if pieces.is_empty() {
        split(body, 0..body.len(), &cuts, &mut |piece| pieces.push((Vec::new(), piece)));
    }
    in_characters(body, pieces, &tables)
}

/// The texts of all headings.
pub fn headings(document: &Document) -> Vec<String> {
    outline(document.format, &document.body).headings.into_iter().map(|heading| heading.text).collect()
}

/// The text of the first heading, if there is one.
pub fn first_heading(format: Format, body: &str) -> Option<String> {
    outline(format, body).headings.into_iter().map(|heading| heading.text).find(|text| !text.is_empty())
}

/// Of headings those that stand at the top level.
fn outline(format: Format, body: &str) -> Outline {
    if format == Format::Text {
        return Outline::default();
    }
    let mut headings: Vec<Heading> = Vec::new();
    let mut tables: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let mut cuts = Vec::new();
    let mut depth = 0_usize;
    let mut open = false;
    for (event, bytes) in Parser::new_ext(body, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if let Tag::Heading { level, .. } = &tag
                    && depth == 0
                {
                    open = true;
                    headings.push(Heading {
                        level: *level as usize,
                        text: String::new(),
                        bytes: bytes.clone(),
                    });
                }
                match &tag {
                    Tag::Table(_) => tables.push((bytes.clone(), bytes.start..bytes.start)),
                    Tag::TableHead => {
                        if let Some((_, head)) = tables.last_mut() {
                            *head = bytes.clone();
                        }
                    }
                    _ => {}
                }
                if depth == 0 || matches!(tag, Tag::Item | Tag::TableRow) {
                    cuts.push(bytes.start);
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                if matches!(tag, TagEnd::Heading(_)) {
                    open = false;
                }
            }
            Event::Text(text) | Event::Code(text) if open => add_words(&mut headings, &text),
            Event::SoftBreak | Event::HardBreak if open => add_words(&mut headings, " "),
            _ => {}
        }
    }
    for heading in &mut headings {
        heading.text = heading.text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    cuts.sort_unstable();
    Outline { headings, cuts, tables }
}

fn add_words(headings: &mut [Heading], text: &str) {
    if let Some(heading) = headings.last_mut() {
        heading.text.push_str(text);
    }
}

/// Hands on the trimmed pieces of `range`, each at most [`LONGEST`] characters.
fn split(body: &str, range: Range<usize>, cuts: &[usize], take: &mut dyn FnMut(Range<usize>)) {
    let mut rest = trimmed(body, range);
    let mut behind = rest.start;
    while !rest.is_empty() {
        let text = body.get(rest.clone()).unwrap_or("");
        let Some((limit, _)) = text.char_indices().nth(LONGEST) else {
            take(rest);
            return;
        };
        let window = text.get(..limit).unwrap_or(text);
        let end = rest.start + cut_in(window, (rest.start, behind), cuts);
        let piece = trimmed(body, rest.start..end);
        if piece.end <= behind {
            // Nothing but what is repeated, and white space behind it.
            rest = trimmed(body, end..rest.end);
            continue;
        }
        behind = piece.end;
        take(piece.clone());
        rest = trimmed(body, again_from(body, piece, cuts).unwrap_or(end)..rest.end);
    }
}

/// How many bytes of the window to take: up to the last block, else paragraph, line, sentence or word
/// that leaves at least a quarter of the window and ends behind the passage before, else all of it.
fn cut_in(window: &str, (start, behind): (usize, usize), cuts: &[usize]) -> usize {
    let least = (window.len() / 4).max(behind.saturating_sub(start) + 1);
    let inside = cuts.partition_point(|cut| *cut <= start + window.len());
    let block = cuts.get(..inside).and_then(|cuts| cuts.last()).map(|cut| cut.saturating_sub(start));
    if let Some(block) = block.filter(|block| *block >= least) {
        return block;
    }
    let separators = ["\n\n", "\n", ". ", " "];
    let found = separators.iter().find_map(|separator| {
        window.rfind(separator).map(|at| at + separator.len()).filter(|at| *at >= least)
    });
    found.unwrap_or(window.len())
}

/// Where the next passage begins, behind the beginning of this one, so that it repeats the last block of it, or its last
/// sentence; `None` where those are too long.
fn again_from(body: &str, piece: Range<usize>, cuts: &[usize]) -> Option<usize> {
    let text = body.get(piece.clone())?;
    let (window, _) = text.char_indices().rev().nth(REPEATED - 1)?;
    let inside = cuts.partition_point(|cut| *cut < piece.end);
    let block = cuts.get(..inside)?.last().filter(|cut| **cut >= piece.start + window);
    let sentence = || text.get(window..)?.find(". ").map(|at| piece.start + window + at + 2);
    block.copied().filter(|from| *from > piece.start).or_else(sentence).filter(|from| *from < piece.end)
}

fn trimmed(body: &str, range: Range<usize>) -> Range<usize> {
    let text = body.get(range.clone()).unwrap_or("");
    let start = range.start + (text.len() - text.trim_start().len());
    start..(start + text.trim().len())
}

/// Bytes to characters, in one pass over all places that are named.
fn in_characters(
    body: &str,
    pieces: Vec<(Vec<String>, Range<usize>)>,
    tables: &[(Range<usize>, Range<usize>)],
) -> Vec<Chunk> {
    let head = |piece: &Range<usize>| {
        let within =
            tables.iter().find(|(table, head)| table.contains(&piece.start) && head.end <= piece.start);
        within.map(|(_, head)| trimmed(body, head.clone()))
    };
    let pieces: Vec<_> = pieces.into_iter().map(|(section, piece)| (section, head(&piece), piece)).collect();
    let mut places: Vec<usize> = pieces
        .iter()
        .flat_map(|(_, head, piece)| head.iter().chain([piece]).flat_map(|range| [range.start, range.end]))
        .collect();
    places.sort_unstable();
    places.dedup();
    let (mut byte, mut character) = (0, 0);
    let mut characters = Vec::with_capacity(places.len());
    for place in &places {
        character += body.get(byte..*place).map_or(0, |text| text.chars().count());
        byte = *place;
        characters.push(character);
    }
    let at = |byte: usize| {
        places.binary_search(&byte).ok().and_then(|at| characters.get(at).copied()).unwrap_or(0)
    };
    let chunk = |(section, head, piece): (Vec<String>, Option<Range<usize>>, Range<usize>)| Chunk {
        section,
        start: at(piece.start),
        end: at(piece.end),
        head: head.map(|head| [at(head.start), at(head.end)]),
    };
    pieces.into_iter().map(chunk).collect()
}

/// The characters `start..end` of a text; `None` when the text is shorter.
pub fn characters(text: &str, start: usize, end: usize) -> Option<&str> {
    let mut offsets = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    let from = offsets.nth(start)?;
    let to = if end == start { from } else { offsets.nth(end.checked_sub(start)?.checked_sub(1)?)? };
    text.get(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::tests::document;
    use proptest::prelude::*;

    fn of(format: Format, title: &str, body: &str) -> Vec<(String, String)> {
        let mut document = document("d", "1", "", "");
        (document.format, document.title, document.body) = (format, title.to_owned(), body.to_owned());
        chunks(&document)
            .into_iter()
            .map(|c| (c.section.join(" > "), characters(body, c.start, c.end).unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn passages_follow_the_headings() {
        let body = "# Gebühren\n\nEinleitung.\n\n## Bargeld\n\n### `Automat` & Schalter\n\nÄ kostet 4 €.\n\n## Zinsen\n\n> # kein Abschnitt\n";
        let found = of(Format::Markdown, "Gebühren", body);
        let expected = [
            ("", "Einleitung."),
            ("Bargeld > Automat & Schalter", "Ä kostet 4 €."),
            ("Zinsen", "> # kein Abschnitt"),
        ];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn a_passage_that_would_be_repeated_whole_is_not() {
        for first in [REPEATED - 1, REPEATED, REPEATED + 1] {
            let body = format!("{}{}{}", "a".repeat(first), "\n".repeat(160), "Wort und Satz. ".repeat(120));
            let found = of(Format::Markdown, "T", &body);
            assert!((2..9).contains(&found.len()), "{first}: {}", found.len());
        }
        let body = format!("{}\n\n{}", "€".repeat(REPEATED), "Wort und Satz. ".repeat(120));
        assert!(of(Format::Text, "T", &body).len() < 9);
    }

    #[test]
    fn a_long_section_is_cut_between_its_blocks() {
        let paragraph = "Wort und Satz. ".repeat(41);
        let body = format!("# T\n\n{0}\n\n{0}\n\n{0}", paragraph.trim());
        let found = of(Format::Markdown, "T", &body);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(_, text)| text.ends_with(paragraph.trim())));
        // The second begins with the end of the first.
        assert!(
            found[1].1.starts_with("Wort und Satz.") && found[1].1.chars().count() > paragraph.trim().len()
        );
        // One endless word has no better place.
        let found = of(Format::Text, "T", &"ß".repeat(3_000));
        assert_eq!(found.iter().map(|(_, t)| t.chars().count()).collect::<Vec<_>>(), [1_200, 1_200, 600]);
    }

    #[test]
    fn rows_of_a_long_table_know_its_head() {
        let rows: String = (0..80).map(|n| format!("| Leistung Nummer {n} | {n},50 € |\n")).collect();
        let body = format!("# T\n\nVorab.\n\n| Leistung | Preis |\n|---|---|\n{rows}\nDanach.");
        let mut document = document("d", "1", "", "");
        document.body = body.clone();
        let all = chunks(&document);
        assert!(all.len() > 2, "{}", all.len());
        assert_eq!(all[0].head, None);
        for chunk in &all[1..] {
            let [start, end] = chunk.head.unwrap();
            assert_eq!(characters(&body, start, end), Some("| Leistung | Preis |"));
            assert!(characters(&body, chunk.start, chunk.end).unwrap().starts_with("| Leistung Nummer"));
        }
    }

    #[test]
    fn headings_alone_are_still_quotable() {
        assert_eq!(of(Format::Markdown, "T", "# A\n\n## B"), [(String::new(), "# A\n\n## B".to_owned())]);
    }

    proptest! {
        #[test]
        fn passages_are_in_order_within_bounds_and_lose_nothing(
            parts in prop::collection::vec("(\\PC{0,400}|#{1,6} \\PC{0,20}|[\\-\\|>`*_\\[\\]:#~= \\t\u{301}\u{1f469}äß€]{0,30}|(wort ){0,400})", 0..12),
            separator in "(\n|\n\n|\r\n)",
            format in prop_oneof![Just(Format::Markdown), Just(Format::Text)],
        ) {
            let mut document = document("d", "1", "", "");
            (document.format, document.body) = (format, parts.join(&separator));
            let body: Vec<char> = document.body.chars().collect();
            let mut covered = vec![false; body.len()];
            let (mut start, mut last) = (0, 0);
            for chunk in chunks(&document) {
                prop_assert!(start <= chunk.start && last < chunk.end && chunk.end <= body.len());
                prop_assert!(chunk.start + REPEATED >= last);
                prop_assert!(chunk.end - chunk.start <= LONGEST);
                let text: String = body[chunk.start..chunk.end].iter().collect();
                prop_assert_eq!(characters(&document.body, chunk.start, chunk.end), Some(text.as_str()));
                prop_assert_eq!(text.trim(), text.as_str());
                covered[chunk.start..chunk.end].fill(true);
                (start, last) = (chunk.start, chunk.end);
            }
            let headings: String = outline(format, &document.body).headings.iter().map(|h| document.body[h.bytes.clone()].to_owned()).collect();
            let lost = body.iter().zip(&covered).filter(|(c, covered)| !*covered && !c.is_whitespace()).map(|(c, _)| *c);
            for c in lost {
                prop_assert!(headings.contains(c), "{c:?} is in no passage");
            }
        }
    }
}
