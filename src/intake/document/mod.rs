//! The bytes of one file -> [`Text`].
//!
//! Enters: a file of a stranger, its name, and limits. Leaves: its text as Markdown with headings, lists, tables,
//! footnotes and page numbers, or a reason that says what the person can do.
//!
//! The parsing is done by a worker process of the same program that gives up every right before it reads the
//! first byte (`confine`), and that is ended when it takes too long. Nothing in a file may harm, stop or fill
//! the caller: it must never be parsed in the process that calls [`read`].

mod archive;
mod ask;
mod confine;
mod email;
mod error;
mod format;
mod html;
mod limits;
mod markdown;
mod office;
mod pdf;
mod plain;
mod scan;
mod worker;
mod xml;

pub use ask::read;
pub use error::Unreadable;
pub use format::Format;
pub use limits::Limits;
pub use worker::run as run_worker;

use serde::{Deserialize, Serialize};

/// What a file says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Text {
    /// The format's own title property.
    pub title: Option<String>,
    /// The format's own language property, without region: `de`.
    pub language: Option<String>,
    /// Markdown.
    pub text: String,
    /// Where page 1, 2, ... begin in `text`, in Unicode scalar values; empty where the format tells no pages.
    pub pages: Vec<usize>,
    /// What came with an e-mail.
    pub attachments: Vec<Attached>,
    /// What was left out, and what to do about it.
    pub notes: Vec<String>,
}

/// A file that came with an e-mail, read or not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attached {
    pub name: String,
    pub read: Result<Text, Unreadable>,
}

impl Text {
    /// With what came with an e-mail behind its text, each file under its name as such a `heading`, on all levels. Of
    /// the notes the first so many are kept, and how many more there are: a file can be made to have a million.
    pub fn flattened(self, heading: &str, most_notes: usize) -> Self {
        let mut notes = Notes { kept: Vec::new(), most: most_notes, more: 0 };
        let mut whole =
            Self { title: self.title.clone(), language: self.language.clone(), ..Self::default() };
        whole.pages = self.pages.clone();
        self.put_behind(&mut whole.text, heading, &mut notes);
        if notes.more > 0 {
            notes.kept.push(format!("and {} more", notes.more));
        }
        Self { notes: notes.kept, ..whole }
    }

    fn put_behind(self, whole: &mut String, heading: &str, notes: &mut Notes) {
        whole.push_str(&self.text);
        self.notes.into_iter().for_each(|note| notes.add(note));
        for Attached { name, read } in self.attachments {
            let name = name.replace(char::is_control, " ");
            match read {
                Ok(inner) => {
                    whole.push_str(&format!("\n\n{heading} {name}\n\n"));
                    inner.put_behind(whole, heading, notes);
                }
                Err(reason) => notes.add(format!("`{name}` in it is not read: {reason}")),
            }
        }
    }
}

struct Notes {
    kept: Vec<String>,
    most: usize,
    more: usize,
}

impl Notes {
    fn add(&mut self, note: String) {
        if self.kept.len() < self.most { self.kept.push(note) } else { self.more += 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_email_in_an_email_stands_behind_it() {
        let text = |text: &str, attachments| Text { text: text.to_owned(), attachments, ..Text::default() };
        let named = |name: &str, read| Attached { name: name.to_owned(), read };
        let innermost = named("c\n# d.txt", Ok(text("three", Vec::new())));
        let inner = text("two", vec![innermost, named("e.png", Err(Unreadable::UnknownEnding))]);
        let mail = Text {
            notes: vec!["a note".to_owned(); 3],
            title: Some("t".to_owned()),
            pages: vec![0],
            ..text("one", vec![named("b.eml", Ok(inner))])
        };
        let flat = mail.clone().flattened("##", 4);
        assert_eq!(flat.text, "one\n\n## b.eml\n\ntwo\n\n## c # d.txt\n\nthree");
        assert_eq!((flat.title, flat.pages, flat.attachments.len()), (Some("t".to_owned()), vec![0], 0));
        assert!(flat.notes.len() == 4 && flat.notes[3].starts_with("`e.png` in it is not read: "));
        assert_eq!(mail.flattened("#", 1).notes, ["a note", "and 3 more"]);
    }
}
