//! Blocks become Markdown, and marks of pages become offsets.
//!
//! What stands in a document is text: where it would be taken for Markdown's own marks, it is escaped.

use super::error::Unreadable;

/// Where a page begins, while the text is put together. It is a noncharacter, which Unicode keeps for a
/// program's own use; documents do not get it past [`clean`].
pub const PAGE: char = '\u{fdd0}';

const DEEPEST_ITEM: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    Bullet,
    Number(u64),
    /// A further paragraph of the item before.
    None,
}

#[derive(PartialEq)]
enum Last {
    Nothing,
    Item,
    Other,
}

/// Markdown as it grows.
pub struct Markdown {
    text: String,
    last: Last,
    /// Pages that begin before the next block.
    pending: usize,
    /// Whether no word followed the last page mark yet.
    fresh: bool,
    notes: Vec<String>,
    shown: usize,
    limit: usize,
    over: bool,
}

impl Markdown {
    /// `limit`: bytes that the text may have.
    pub fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            text: String::new(),
            last: Last::Nothing,
            pending: 0,
            fresh: false,
            notes: Vec::new(),
            shown: 0,
            limit,
            over: false,
        }
    }

    /// Whether the limit has been passed: whatever is added now is dropped, and [`Markdown::finish`] refuses.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    pub fn heading(&mut self, level: usize, text: &str) {
        let line = one_line(text);
        let line = line.trim_end_matches('#').trim_end();
        if has_words(line) {
            let (marks, words) = leading_pages(line);
            self.pending += marks;
            self.block(&format!("{} {}", "#".repeat(level.clamp(1, 6)), words.trim_start()), Last::Other);
        } else {
            self.pages_of(line);
        }
    }

    /// One paragraph; line breaks inside stay.
    pub fn paragraph(&mut self, text: &str) {
        let lines = lines_of(text);
        if lines.iter().any(|line| has_words(line)) {
            let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            self.block(&lines.join("\n"), Last::Other);
        } else {
            self.pages_of(text);
        }
    }

    /// Of a block only the pages that begin in it.
    pub fn pages_of(&mut self, text: &str) {
        for _ in text.matches(PAGE) {
            self.page();
        }
    }

    /// An item of a list, `depth` counted from 0.
    pub fn item(&mut self, depth: usize, marker: Marker, text: &str) {
        let lines = lines_of(text);
        if !lines.iter().any(|line| has_words(line)) {
            self.pages_of(text);
            return;
        }
        // Four blanks a level are inside an item of either kind, whatever the number's length up to 999.
        let indent = "    ".repeat(depth.min(DEEPEST_ITEM));
        let mark = match marker {
            Marker::Bullet => "- ".to_owned(),
            Marker::Number(number) => format!("{number}. "),
            Marker::None => "    ".to_owned(),
        };
        let mut item = String::new();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                item.push('\n');
            }
            item.push_str(&indent);
            item.push_str(if index == 0 { &mark } else { "    " });
            item.push_str(&escaped(line));
        }
        let kind = if marker == Marker::None { Last::Other } else { Last::Item };
        self.block(&item, kind);
    }

    /// A table; its first row is the header. Rows are made equally long.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        if !rows.iter().flatten().any(|cell| has_words(cell)) {
            rows.iter().flatten().for_each(|cell| self.pages_of(cell));
            return;
        }
        self.block("", Last::Other);
        for (index, row) in rows.iter().enumerate() {
            let mut line = String::from("|");
            for column in 0..width {
                let cell = row.get(column).map(String::as_str).unwrap_or_default();
                line.push(' ');
                line.push_str(&one_line(cell).replace('|', "\\|"));
                line.push_str(" |");
            }
            // A page that begins in a cell begins with the row.
            let marks = line.matches(PAGE).count();
            let line = if marks > 0 { line.replace(PAGE, "") } else { line };
            if index > 0 {
                self.text.push('\n');
            }
            self.text.extend(std::iter::repeat_n(PAGE, marks));
            self.text.push_str(&line);
            if index == 0 {
                self.text.push('\n');
                self.text.push('|');
                self.text.push_str(&" --- |".repeat(width));
            }
            self.over |= self.text.len() > self.limit;
            if self.over {
                return;
            }
        }
        self.fresh = false;
    }

    /// Text whose blanks and lines count.
    pub fn code(&mut self, text: &str) {
        let text = text.trim_matches('\n');
        if has_words(text) {
            let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(longest.max(2) + 1);
            self.block(&format!("{fence}\n{text}\n{fence}"), Last::Other);
        }
    }

    /// The next block begins a page.
    pub fn page(&mut self) {
        self.pending += 1;
        self.fresh = true;
    }

    /// As [`Markdown::page`], unless one began just now: formats mark a wanted break and the page it led to.
    pub fn page_unless_fresh(&mut self) {
        if !self.fresh && !self.text.is_empty() {
            self.page();
        }
    }

    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Takes a footnote; gives the mark that stands in the text.
    pub fn footnote(&mut self, text: &str) -> String {
        self.notes.push(one_line(text).replace(PAGE, ""));
        format!("[^{}]", self.notes.len())
    }

    /// Puts down the footnotes that were taken since the last time.
    pub fn put_footnotes(&mut self) {
        let from = std::mem::replace(&mut self.shown, self.notes.len());
        let lines: Vec<String> = self.notes.iter().enumerate().skip(from).map(definition).collect();
        if !lines.is_empty() {
            self.block(&lines.join("\n"), Last::Other);
        }
    }

    fn block(&mut self, text: &str, kind: Last) {
        if self.over || self.text.len() + text.len() > self.limit {
            self.over = true;
            return;
        }
        match (&self.last, &kind) {
            (Last::Nothing, _) => {}
            (Last::Item, Last::Item) => self.text.push('\n'),
            _ => self.text.push_str("\n\n"),
        }
        self.text.extend(std::iter::repeat_n(PAGE, self.pending));
        self.pending = 0;
        // A page that begins behind the last word begins with the next block.
        let shown = text.trim_end_matches([PAGE, ' ']);
        self.text.push_str(shown);
        self.fresh = false;
        self.pages_of(text.get(shown.len()..).unwrap_or_default());
        self.last = kind;
    }

    /// The text, and where its pages begin.
    ///
    /// # Errors
    /// The text is longer than the limit, or there is none.
    pub fn finish(mut self) -> Result<(String, Vec<usize>), Unreadable> {
        self.put_footnotes();
        if self.over {
            return Err(Unreadable::TooMuchText { limit: (self.limit as u64) >> 20 });
        }
        self.text.extend(std::iter::repeat_n(PAGE, self.pending));
        let mut text = String::with_capacity(self.text.len());
        let mut pages = Vec::new();
        let mut offset = 0;
        for c in self.text.chars() {
            if c == PAGE {
                pages.push(offset);
            } else {
                text.push(c);
                offset += 1;
            }
        }
        Ok((text, pages))
    }
}

fn definition((index, text): (usize, &String)) -> String {
    format!("[^{}]: {text}", index + 1)
}

/// Text of a document: without control characters and those that turn the direction of writing, and without
/// what would be taken for a footnote. Tabs and line breaks become blanks.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            PAGE | '\u{ad}' | '\u{200b}' | '\u{feff}' => {}
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => cleaned.push(' '),
            '^' if cleaned.ends_with('[') => {
                cleaned.pop();
                cleaned.push_str("\\[^");
            }
            c if c.is_control() || c.is_whitespace() => cleaned.push(' '),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// Several blanks as one, none at the ends.
pub fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        // A mark of a page is no word.
        if !squeezed.is_empty() && !squeezed.ends_with(PAGE) {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

fn one_line(text: &str) -> String {
    squeezed(text)
}

fn lines_of(text: &str) -> Vec<String> {
    text.split('\n').map(squeezed).filter(|line| !line.is_empty()).collect()
}

/// Anything but blanks and marks of pages.
fn has_words(text: &str) -> bool {
    text.chars().any(|c| c != PAGE && !c.is_whitespace())
}

/// The marks of pages at the beginning, and the rest.
fn leading_pages(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(PAGE);
    ((text.len() - rest.len()) / PAGE.len_utf8(), rest)
}

/// The line with a backslash where its beginning would be taken for a heading, an item, a quote, a rule, a
/// table, a fence or a tag.
fn escaped(line: &str) -> String {
    let (marks, line) = leading_pages(line);
    let pages: String = std::iter::repeat_n(PAGE, marks).collect();
    let line = line.trim_start();
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut after = line.chars().skip(digits);
    if (1..10).contains(&digits) && matches!(after.next(), Some('.' | ')')) && is_blank(after.next()) {
        let (number, rest) = line.split_at(digits);
        return format!("{pages}{number}\\{rest}");
    }
    let mut chars = line.chars();
    let (first, second) = (chars.next(), chars.next());
    let mark = match first {
        Some('#') => is_blank(line.trim_start_matches('#').chars().next()),
        Some('>' | '|') => true,
        Some('-' | '+' | '*') => is_blank(second) || is_rule(line),
        Some('_' | '=') => is_rule(line),
        Some('`' | '~') => line.starts_with("```") || line.starts_with("~~~"),
        Some('<') => second.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')),
        _ => false,
    };
    let backslash = if mark { "\\" } else { "" };
    format!("{pages}{backslash}{line}")
}

const fn is_blank(c: Option<char>) -> bool {
    matches!(c, None | Some(' '))
}

fn is_rule(line: &str) -> bool {
    let first = line.chars().next();
    line.chars().all(|c| c == ' ' || Some(c) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(build: impl FnOnce(&mut Markdown)) -> (String, Vec<usize>) {
        let mut markdown = Markdown::new(1 << 20);
        build(&mut markdown);
        markdown.finish().unwrap()
    }

    #[test]
    fn blocks_stand_apart_and_items_together() {
        let (text, pages) = made(|m| {
            m.heading(2, " Fees \n of 2026 ");
            m.paragraph("One\n two");
            m.item(0, Marker::Bullet, "a");
            m.item(1, Marker::Number(3), "b\nc");
            m.table(&[vec!["x".into(), "y|z".into()], vec!["1".into()]]);
        });
        let table = "| x | y\\|z |\n| --- | --- |\n| 1 |  |";
        assert_eq!(text, format!("## Fees of 2026\n\nOne\ntwo\n\n- a\n    3. b\n        c\n\n{table}"));
        assert!(pages.is_empty());
    }

    #[test]
    fn pages_are_where_the_text_goes_on() {
        let (text, pages) = made(|m| {
            m.page();
            m.heading(1, "Ä");
            m.paragraph(&format!("one {PAGE}two"));
            m.page();
            m.page_unless_fresh();
            m.paragraph(&PAGE.to_string());
            m.paragraph("three");
        });
        assert_eq!(text, "# Ä\n\none two\n\nthree");
        let at = |word: &str| text.find(word).map(|byte| text[..byte].chars().count()).unwrap();
        assert_eq!(pages, [0, at("two"), at("three"), at("three")]);
    }

    #[test]
    fn what_looks_like_markdown_is_text() {
        for (line, expected) in [
            ("# x", "\\# x"),
            ("#x", "#x"),
            ("1. x", "1\\. x"),
            ("1.5 x", "1.5 x"),
            ("- x", "\\- x"),
            ("-5", "-5"),
            ("---", "\\---"),
            ("===", "\\==="),
            ("<b>x", "\\<b>x"),
            ("< 5", "< 5"),
            ("```", "\\```"),
            ("> x", "\\> x"),
            ("| x", "\\| x"),
        ] {
            assert_eq!(escaped(line), expected);
            assert_eq!(escaped(&format!("{PAGE}{line}")), format!("{PAGE}{expected}"));
        }
        assert_eq!(clean("a[^1]\u{202e}b\u{0}\u{ad}c\t"), "a\\[^1] b c ");
    }

    #[test]
    fn footnotes_are_numbered_and_put_down_once() {
        let (text, _) = made(|m| {
            let mark = m.footnote("first\nnote");
            m.paragraph(&format!("a{mark}"));
            m.put_footnotes();
            let mark = m.footnote("second");
            m.paragraph(&format!("b{mark}"));
        });
        assert_eq!(text, "a[^1]\n\n[^1]: first note\n\nb[^2]\n\n[^2]: second");
    }

    #[test]
    fn text_beyond_the_limit_is_refused() {
        let mut markdown = Markdown::new(10);
        markdown.paragraph("0123456789");
        assert!(!markdown.is_over());
        markdown.paragraph("1");
        assert!(markdown.finish().is_err());
        let mut markdown = Markdown::new(100);
        markdown.table(&vec![vec!["x".to_owned()]; 100]);
        assert!(markdown.finish().is_err());
    }
}
