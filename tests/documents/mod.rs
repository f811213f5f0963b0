//! Documents of every format, good and hostile, read by workers of the built program.

mod hostile;
mod limits;
pub(crate) mod made;
mod office;
mod pdfs;
mod scans;

use prokura::base::Language;
use prokura::intake::document::{Limits, Text, Unreadable, read};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

fn limits() -> Limits {
    Limits { program: Some(PathBuf::from(env!("CARGO_BIN_EXE_prokura"))), ..Limits::default() }
}

fn taken(bytes: &[u8], name: &str) -> Result<Text, Unreadable> {
    read(bytes, name, &limits())
}

/// A program of this machine, or a line that says what is skipped without it.
fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("documents: skipped, {program} is not installed");
    }
    found
}

#[test]
fn every_format_is_read_by_a_worker() {
    for (name, bytes) in made::good() {
        let text = taken(&bytes, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.text.contains("Gebühr") || name.ends_with("pdf"), "{name}: {}", text.text);
        assert!(text.text.contains("fee"), "{name}: {}", text.text);
    }
}

#[test]
fn an_email_is_read_with_what_came_with_it() {
    let (_, docx) = made::good().into_iter().find(|(name, _)| name.ends_with("docx")).unwrap();
    let parts = [
        (
            "text/plain; charset=iso-8859-1",
            "",
            b"Guten Tag,\r\n\r\ndie Geb\xfchr stimmt nicht.\r\n".as_slice(),
        ),
        ("application/octet-stream", "Vertrag.docx", docx.as_slice()),
        ("image/png", "Bild.png", b"\x89PNG\r\n\x1a\n"),
        ("message/rfc822", "", b"Subject: Inner\r\nFrom: b@c.de\r\n\r\nAn inner fee\r\n"),
    ];
    let text = taken(&made::email("Geb=?utf-8?Q?=C3=BC?=hr", &parts), "a.eml").unwrap();
    assert!(text.text.contains("die Gebühr stimmt nicht."), "{}", text.text);
    assert!(text.text.starts_with("From: "), "{}", text.text);
    let read: Vec<(&str, String)> = text
        .attachments
        .iter()
        .map(|attached| {
            let read = attached.read.as_ref();
            (attached.name.as_str(), read.map_or_else(ToString::to_string, |text| text.text.clone()))
        })
        .collect();
    assert_eq!(read[0].0, "Vertrag.docx");
    assert!(read[0].1.contains("Gebühr"), "{}", read[0].1);
    assert_eq!(read[1].0, "Bild.png");
    assert!(read[1].1.starts_with("no format is known"), "{}", read[1].1);
    assert!(read[2].1.contains("An inner fee"), "{}", read[2].1);
}

#[test]
fn what_an_email_inside_an_email_says_is_in_the_policy() {
    let inner = made::email(
        "Inner",
        &[
            ("text/plain", "", b"What the inner one says.".as_slice()),
            ("text/markdown", "fees.md", b"The innermost fee is 5 EUR."),
            ("image/png", "Bild.png", b"\x89PNG\r\n\x1a\n"),
        ],
    );
    // Parts of the inner one end at a boundary of their own.
    let inner = String::from_utf8(inner).unwrap().replace("--b", "--c").replace("\"b\"", "\"c\"");
    let parts = [
        ("text/plain", "", b"What the outer one says.".as_slice()),
        ("message/rfc822", "", inner.as_bytes()),
    ];
    let email = made::email("Outer", &parts);
    let sent = ("mail.eml", email.as_slice());
    let found = prokura::policy::upload(sent, BTreeMap::new(), Language::En, &limits()).unwrap();
    let body = &found.documents[0].body;
    for said in ["What the outer one says.", "What the inner one says.", "The innermost fee is 5 EUR."] {
        assert_eq!(body.matches(said).count(), 1, "{body}");
    }
    assert!(found.notes.iter().any(|note| note.contains("Bild.png")), "{:?}", found.notes);
}

#[test]
fn an_attachment_that_stops_the_reader_leaves_the_email() {
    let bomb = made::flat_bomb("word/document.xml", "<w:document><w:body>", 100 << 20);
    let parts =
        [("text/plain", "", b"My question".as_slice()), ("application/zip", "a.docx", bomb.as_slice())];
    let email = made::email("Fees", &parts);
    let small = Limits { memory: 32 << 20, inflated: 1 << 30, ratio: 5000, ..limits() };
    let text = read(&email, "a.eml", &small).unwrap();
    assert!(text.text.contains("My question"));
    let read = &text.attachments[0].read;
    assert!(matches!(read, Err(Unreadable::LeftOut | Unreadable::Memory { .. })), "{read:?}");
}
