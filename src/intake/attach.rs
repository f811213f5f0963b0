//! A file that came with a message -> its text, and what staff is told about it.

use super::accept::{Limits, printable};
use super::document::{self, Text, Unreadable};

/// A customer waits meanwhile: for all workers of a file, in seconds.
pub const FILE_SECONDS: u64 = 10;
/// Pages without text that are recognised.
const SCANS: usize = 3;
/// Bytes of memory.
const MEMORY: u64 = 256 << 20;

/// What a file says, as far as it was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadFile {
    pub text: String,
    /// What was not read, and why.
    pub notes: Vec<String>,
}

impl ReadFile {
    /// Nothing of it.
    pub fn unread(reason: &Unreadable) -> Self {
        Self { text: String::new(), notes: vec![format!("not read: {reason}")] }
    }

    /// Nobody has tried.
    pub fn not_looked_at() -> Self {
        let note = "not looked at: there was no room or time for it; the file may be in order, so have it sent again";
        Self { text: String::new(), notes: vec![note.to_owned()] }
    }
}

/// Reads a file in a worker (see `document`); whatever it is, the message that it came with is taken. Blocks.
pub fn read_file(name: &str, bytes: &[u8], limits: &Limits) -> ReadFile {
    let costs = document::Limits {
        bytes: limits.attachment_bytes as u64,
        memory: MEMORY,
        seconds: FILE_SECONDS,
        all_seconds: FILE_SECONDS,
        scans: SCANS,
        attachments: limits.attachments,
        ..document::Limits::default()
    };
    match document::read(bytes, name, &costs) {
        Ok(text) => kept(text, limits.text_bytes),
        Err(reason) => {
            if reason.is_ours() {
                tracing::error!(%reason, "a customer's file was not read");
            }
            ReadFile::unread(&reason)
        }
    }
}

/// Of one file.
const MOST_NOTES: usize = 20;
/// Bytes.
const LONGEST_NOTE: usize = 400;

/// Bytes behind a cut that are looked at: a card number that the cut parts is known by them.
const BEHIND: usize = 64 * 1024;

/// As much of it as an attachment may have. Card numbers are masked before anything is cut: half of one is not known as
/// one any more.
fn kept(text: Text, most: usize) -> ReadFile {
    let Text { text, notes, .. } = text.flattened("##", MOST_NOTES);
    let mut file = ReadFile { text, notes };
    let looked_at = most.saturating_add(BEHIND);
    let longer = file.text.len() > looked_at;
    file.text.truncate(file.text.floor_char_boundary(looked_at));
    file.text = printable(&file.text);
    for note in &mut file.notes {
        note.truncate(note.floor_char_boundary(BEHIND));
        *note = printable(note);
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    }
    if longer || file.text.len() > most {
        file.text.truncate(file.text.floor_char_boundary(most));
        file.notes.push(format!("only the first {most} bytes of its text are kept"));
    }
    file
}

#[cfg(test)]
mod tests {
    use super::super::document::Attached;
    use super::*;

    fn text(text: &str, attachments: Vec<Attached>) -> Text {
        Text { text: text.to_owned(), attachments, ..Text::default() }
    }

    #[test]
    fn an_emails_files_stand_behind_it_and_what_is_too_long_is_cut_between_characters() {
        let inner = Attached { name: "a.pdf".to_owned(), read: Ok(text("Gebühr", Vec::new())) };
        let empty = Attached { name: "b.pdf".to_owned(), read: Err(Unreadable::Encrypted) };
        let email = || text("Guten Tag", vec![inner.clone(), empty.clone()]);
        let whole = kept(email(), 1000);
        assert_eq!(whole.text, "Guten Tag\n\n## a.pdf\n\nGebühr");
        assert!(whole.notes.len() == 1 && whole.notes[0].starts_with("`b.pdf` in it is not read"));
        let up_to_umlaut = whole.text.find('ü').unwrap() + 1;
        let cut = kept(email(), up_to_umlaut);
        assert!(cut.text.ends_with("Geb") && cut.notes[1].contains(&up_to_umlaut.to_string()), "{cut:?}");
    }

    #[test]
    fn no_cut_leaves_a_part_of_a_card_number() {
        let said = "pay 4111 1111 1111 1111 now";
        for most in 1..60 {
            let file = kept(text(said, Vec::new()), most);
            assert!(!file.text.contains('4'), "{file:?}");
        }
        let long = format!("{}4111 1111 1111 1111", "x".repeat(LONGEST_NOTE - 10));
        let noted = Text { notes: vec![long], ..text("a", Vec::new()) };
        assert!(!kept(noted, 10).notes[0].contains('4'));
    }
}
