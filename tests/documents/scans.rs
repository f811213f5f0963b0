//! Pages that are pictures.

use super::{installed, limits, made};
use prokura::intake::document::{Limits, Unreadable, read};
use std::process::Command;

fn text(size: u32, text: &str) -> Vec<u8> {
    format!("BT /F {size} Tf 72 700 Td ({text}) Tj ET").into_bytes()
}

/// Width, height and dots of a page as it is printed, at 150 dots an inch.
fn printed(page: &[u8]) -> (usize, usize, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (file, picture) = (folder.path().join("page.pdf"), folder.path().join("page"));
    std::fs::write(&file, page).unwrap();
    let arguments = ["-gray", "-r", "150", "-singlefile"];
    let status = Command::new("pdftoppm").args(arguments).arg(&file).arg(&picture).status().unwrap();
    assert!(status.success());
    let picture = std::fs::read(picture.with_extension("pgm")).unwrap();
    let mut lines = picture.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap();
    assert_eq!(next(), b"P5");
    let size = String::from_utf8(next().to_vec()).unwrap();
    let (width, height) = size.split_once(' ').unwrap();
    next();
    (width.parse().unwrap(), height.parse().unwrap(), next().to_vec())
}

/// A page with text, one that is a picture, and one with text.
fn with_scan(width: usize, height: usize, dots: &[u8]) -> Vec<u8> {
    let picture = made::stream(
        &format!(
            "/Type/XObject/Subtype/Image/Width {width}/Height {height}/BitsPerComponent 8/ColorSpace/DeviceGray\
             /Filter/FlateDecode"
        ),
        &made::deflated(dots),
    );
    let scan = b"q 595 0 0 842 0 0 cm /X Do Q".to_vec();
    made::pages(&[text(12, "First page."), scan, text(12, "Third page.")], &[picture])
}

#[test]
fn a_scanned_page_is_named_where_it_is_not_read() {
    let bytes = with_scan(1, 1, &[255]);
    let unread = read(&bytes, "a.pdf", &Limits { scans: 0, ..limits() }).unwrap();
    assert_eq!((unread.text.as_str(), unread.pages.len()), ("First page.\n\nThird page.", 3));
    assert_eq!(unread.notes.len(), 1, "{:?}", unread.notes);
    assert!(unread.notes[0].contains("page 2"), "{:?}", unread.notes);
}

#[test]
fn a_scanned_page_is_read_where_there_is_recognition() {
    if !installed("pdftoppm") || !installed("tesseract") {
        return;
    }
    let words = text(20, "Die Geb\\374hr betr\\344gt zehn Euro.");
    let (width, height, dots) = printed(&made::pages(&[words], &[b"null".to_vec()]));
    if dots.iter().all(|dot| *dot == 255) {
        println!("documents: skipped, no font to print with is installed");
        return;
    }
    let text = read(&with_scan(width, height, &dots), "a.pdf", &limits()).unwrap();
    assert!(text.text.contains("Die Gebühr beträgt zehn Euro."), "{} {:?}", text.text, text.notes);
    let page_of = |word: &str| {
        let at = text.text[..text.text.find(word).unwrap()].chars().count();
        text.pages.iter().filter(|begin| **begin <= at).count()
    };
    assert_eq!([page_of("First"), page_of("zehn"), page_of("Third")], [1, 2, 3]);
    assert!(text.notes[0].contains("page 2 is a picture"), "{:?}", text.notes);
}

#[test]
fn a_file_of_pictures_alone_says_what_would_help() {
    // A grey dot, blown up to the page.
    let dot = made::stream(
        "/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray",
        &[255],
    );
    let bytes = made::pages(&[b"q 595 0 0 842 0 0 cm /X Do Q".to_vec()], &[dot]);
    let error = read(&bytes, "a.pdf", &Limits { scans: 0, ..limits() }).unwrap_err();
    assert_eq!(error, Unreadable::OnlyPictures);
    let error = read(&bytes, "a.pdf", &limits()).unwrap_err();
    assert!(matches!(error, Unreadable::OnlyPictures | Unreadable::NothingRecognised), "{error}");
}
