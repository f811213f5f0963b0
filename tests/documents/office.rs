//! Files as an office suite writes them.

use super::{installed, taken};
use prokura::intake::document::Text;
use std::process::{Command, Stdio};

/// A text of three pages with all that is to be kept, in the flat form of OpenDocument.
const FLAT: &str = include_str!("terms.fodt");

/// What the office suite makes of a file; `None` where it does not come to it.
pub fn converted(bytes: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let input = place.join(format!("terms.{from}"));
    std::fs::write(&input, bytes).unwrap();
    let status = Command::new("soffice")
        .arg(format!("-env:UserInstallation=file://{}/profile", place.display()))
        .args(["--headless", "--convert-to", to, "--outdir"])
        .arg(place.join("out"))
        .arg(&input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let ending = to.split(':').next()?;
    status.success().then(|| std::fs::read(place.join("out").join(format!("terms.{ending}"))).ok())?
}

/// The page of a word, counted from 1.
fn page_of(text: &Text, word: &str) -> usize {
    let at =
        text.text[..text.text.find(word).unwrap_or_else(|| panic!("{word}: {}", text.text))].chars().count();
    text.pages.iter().filter(|begin| **begin <= at).count()
}

fn check(format: &str, title: bool) {
    let bytes = converted(FLAT.as_bytes(), "fodt", format).unwrap();
    let text = taken(&bytes, &format!("terms.{format}")).unwrap_or_else(|error| panic!("{format}: {error}"));
    println!("--- {format}\n{}\n{:?} {:?}\n", text.text, text.pages, text.notes);
    let lines: Vec<&str> = text.text.lines().collect();
    for line in [
        "# Bedingungen für Girokonten",
        "## Entgelte",
        "## Kündigung",
        "- Barauszahlung am Schalter",
        "- Überweisung auf Papier",
        "    - auch im Ausland",
        "| Leistung | Entgelt | Gültig ab |",
        "| Kontoführung | 4,90 EUR | 1. Januar 2026 |",
        "| Zweitkarte | 12,00 EUR | 1. März 2026 |",
    ] {
        assert!(lines.contains(&line), "{format}: {line}\n{}", text.text);
    }
    let paragraph = lines.iter().find(|line| line.starts_with("Die Bank berechnet")).unwrap();
    assert!(
        paragraph.contains("Preisverzeichnis[^1]") && paragraph.ends_with("mitgeteilt."),
        "{format}: {paragraph}"
    );
    assert!(lines.contains(&"[^1]: Es liegt in jeder Filiale aus."), "{format}: {}", text.text);
    assert!(
        !text.text.contains("Musterbank AG") && !text.text.contains("Seite 2"),
        "{format}: {}",
        text.text
    );
    assert_eq!(text.pages.len(), 3, "{format}: {:?}", text.pages);
    let pages = ["Bedingungen", "Entgelte", "Kontoführung", "Kündigung", "Monatsende"]
        .map(|word| page_of(&text, word));
    assert_eq!(pages, [1, 1, 2, 3, 3], "{format}: {}", text.text);
    if title {
        assert_eq!(text.title.as_deref(), Some("Bedingungen"), "{format}");
    }
    assert_eq!(text.language.as_deref(), Some("de"), "{format}");
}

#[test]
fn what_an_office_suite_writes_keeps_its_structure() {
    if !installed("soffice") {
        return;
    }
    check("odt", true);
    check("docx", true);
    check("pdf", true);
}

#[test]
fn a_workbook_keeps_its_sheets_and_cells() {
    if !installed("soffice") {
        return;
    }
    let sheet = "Leistung;Entgelt;Gültig ab\nKontoführung;4,90;01.01.2026\n;;\nZweitkarte;12;01.03.2026\n";
    let filter = "xlsx:Calc MS Excel 2007 XML";
    let Some(bytes) = converted(sheet.as_bytes(), "csv", filter) else {
        println!("documents: skipped, the spreadsheet of the office suite is not installed");
        return;
    };
    let text = taken(&bytes, "terms.xlsx").unwrap();
    assert!(text.text.starts_with("## terms\n\n|"), "{}", text.text);
    assert!(text.text.contains("Zweitkarte"), "{}", text.text);
}
