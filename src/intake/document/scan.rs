//! Pages that are pictures: text recognition by `tesseract`, where it is installed.

use super::Text;
use super::ask;
use super::error::Unreadable;
use super::format::Format;
use super::limits::Limits;
use super::markdown::{Markdown, clean};
use super::worker::{Header, Task};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// How a picture begins: grey, in the plainest format there is, whatever the PDF had it in.
pub const PICTURE: &[u8] = b"P5\n";

const PROGRAMS: [&str; 2] = ["/usr/bin/tesseract", "/usr/local/bin/tesseract"];
const LANGUAGES: [&str; 2] = ["deu", "eng"];
const DATA: [&str; 4] = [
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/local/share/tessdata",
];

/// Memory that recognition takes for a page, beside the picture.
const MEMORY: u64 = 1 << 30;

/// The installed program: looked for at fixed places, never along a path that the environment names.
pub fn tesseract() -> Option<PathBuf> {
    PROGRAMS.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn languages() -> Option<String> {
    let installed = |language: &&&str| {
        DATA.iter().any(|data| Path::new(data).join(format!("{language}.traineddata")).is_file())
    };
    let found: Vec<&str> = LANGUAGES.iter().filter(installed).copied().collect();
    (!found.is_empty()).then(|| found.join("+"))
}

/// Puts what is written on scanned pages to their place in the text, and notes what was not read.
pub fn recognise(
    text: &mut Text,
    scanned: &[usize],
    (limits, until): (&Limits, Instant),
    picture: &dyn Fn(usize) -> Result<Vec<u8>, Unreadable>,
) {
    let (Some(program), Some(languages)) = (tesseract(), languages()) else {
        let remedy = "the operator can have it read by tesseract-ocr with its language data (deu, eng)";
        text.notes
            .extend(scanned.iter().map(|page| format!("page {page} has a picture and no text; {remedy}")));
        return;
    };
    let limits = Limits { memory: MEMORY, ..limits.clone() };
    let task = Task::Recognise { program, languages };
    let header = Header { format: Format::Pdf, task, limits: limits.clone() };
    for (index, page) in scanned.iter().enumerate() {
        if Instant::now() >= until || index >= limits.scans {
            let left = scanned.len() - index;
            text.notes.push(format!(
                "{left} pages from page {page} on have a picture and no text and were not read, for so much of one \
                 file is not recognised; split it"
            ));
            return;
        }
        match picture(*page).and_then(|picture| ask::recognised(&picture, &header, (&limits, until))) {
            Ok(words) => {
                let words = paragraphs(&words, &limits);
                if words.is_empty() {
                    text.notes.push(format!("page {page} has a picture in which no text was recognised"));
                } else {
                    insert(text, *page, &words);
                    text.notes.push(format!(
                        "page {page} is a picture; its text was recognised and may have errors"
                    ));
                }
            }
            Err(reason) => text.notes.push(format!("page {page} has a picture and was not read: {reason}")),
        }
    }
}

/// Lines of recognised text, with blank lines between paragraphs, as Markdown.
fn paragraphs(words: &str, limits: &Limits) -> String {
    let mut markdown = Markdown::new(limits.answer);
    for paragraph in words.replace('\u{c}', "\n\n").split("\n\n") {
        let mut joined = String::new();
        for line in paragraph.lines() {
            super::pdf::join_line(&mut joined, &clean(line));
        }
        markdown.paragraph(&joined);
    }
    markdown.finish().map(|(text, _)| text).unwrap_or_default()
}

/// Puts more text at the end of a page, counted from 1; the pages behind it move on.
fn insert(text: &mut Text, page: usize, more: &str) {
    let Some(start) = text.pages.get(page - 1).copied() else { return };
    let end = text.pages.get(page).copied().unwrap_or(usize::MAX);
    let byte_of =
        |offset: usize| text.text.char_indices().nth(offset).map_or(text.text.len(), |(byte, _)| byte);
    let (from, to) = (byte_of(start), byte_of(end));
    let before = text.text.get(from..to).unwrap_or_default();
    // The next page begins where its own first block does, behind the blank line.
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n\n" };
    let lead = if from > 0 && before.is_empty() && !text.text.get(..from).unwrap_or_default().ends_with('\n')
    {
        "\n\n"
    } else {
        ""
    };
    let trail = if to < text.text.len() { "\n\n" } else { "" };
    let more = format!("{lead}{gap}{more}{trail}");
    let added = more.chars().count();
    text.text.insert_str(to, &more);
    for offset in text.pages.iter_mut().skip(page) {
        *offset += added;
    }
    if let Some(offset) = text.pages.get_mut(page - 1) {
        *offset += lead.len();
    }
}

/// Turns this worker into `tesseract`, which reads the rest of standard input. Comes back only if that fails.
pub fn become_recognition(program: &Path, languages: &str) -> Unreadable {
    let error = Command::new(program)
        .args(["stdin", "stdout", "-l", languages])
        .env_clear()
        // Its threads only wait for one another, and a thread more is what this process may not have.
        .env("OMP_THREAD_LIMIT", "1")
        .exec();
    Unreadable::NotStarted { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recognised_stands_on_its_page() {
        let mut text = Text { text: "ä\n\nc".to_owned(), pages: vec![0, 3, 3], ..Text::default() };
        insert(&mut text, 2, "bb");
        assert_eq!((text.text.as_str(), &text.pages[..]), ("ä\n\nbb\n\nc", &[0, 3, 7][..]));
        let mut text = Text { text: "a".to_owned(), pages: vec![0, 1, 1], ..Text::default() };
        insert(&mut text, 2, "b");
        insert(&mut text, 3, "c");
        assert_eq!((text.text.as_str(), &text.pages[..]), ("a\n\nb\n\nc", &[0, 3, 6][..]));
        let mut text = Text { text: String::new(), pages: vec![0], ..Text::default() };
        insert(&mut text, 1, "a");
        assert_eq!((text.text.as_str(), &text.pages[..]), ("a", &[0][..]));
    }

    #[test]
    fn lines_become_paragraphs() {
        let text = paragraphs("Die Ge-\nbühr\n\n# zwei\n\u{c}", &Limits::default());
        assert_eq!(text, "Die Gebühr\n\n\\# zwei");
    }
}
