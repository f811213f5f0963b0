//! Small PDFs, written by hand.

use super::super::{Limits, Unreadable};
use super::{Answer, join_line, read};

/// A file with a page for each content; `F` is Helvetica, `X` a picture.
fn pdf(contents: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len()).map(|index| format!("{} 0 R", 5 + 2 * index)).collect();
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R/Lang(de-AT)>>".to_owned(),
        format!("<</Type/Pages/Count {}/Kids[{}]>>", contents.len(), kids.join(" ")),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned(),
        "<</Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray/Length 1>>\nstream\nx\nendstream".to_owned(),
    ];
    for (index, content) in contents.iter().enumerate() {
        let resources = "/Resources<</Font<</F 3 0 R>>/XObject<</X 4 0 R>>>>";
        let at = 6 + 2 * index;
        objects
            .push(format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]{resources}/Contents {at} 0 R>>"));
        objects.push(format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()));
    }
    let mut file = "%PDF-1.7\n".to_owned();
    let mut table = String::new();
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let (start, size) = (file.len(), objects.len() + 1);
    file.push_str(&format!("xref\n0 {size}\n0000000000 65535 f \n{table}"));
    file.push_str(&format!(
        "trailer\n<</Size {size}/Root 1 0 R/Info<</Title(Prices)>>>>\nstartxref\n{start}\n%%EOF"
    ));
    file.into_bytes()
}

/// Text at a place, from the left and from the bottom, in a size.
fn at(x: u32, y: u32, size: u32, text: &str) -> String {
    format!("BT /F {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n")
}

fn taken(contents: &[String]) -> Answer {
    let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
    read(pdf(&contents), &Limits::default()).unwrap()
}

const LONG: &str = "The bank charges a fee for each of the following services, as it is laid down";

#[test]
fn lines_become_headings_and_paragraphs() {
    let page = [
        at(72, 760, 24, "Terms"),
        at(72, 720, 16, "1. Fees and"),
        at(72, 702, 16, "charges"),
        at(72, 670, 11, LONG),
        at(72, 656, 11, "in the price list, and informs its customers of each change in wri-"),
        at(72, 642, 11, "ting two months before."),
        at(72, 620, 11, "A second paragraph."),
    ];
    let answer = taken(&[page.concat()]);
    assert_eq!((answer.text.title.as_deref(), answer.text.language.as_deref()), (Some("Prices"), Some("de")));
    assert_eq!(
        answer.text.text,
        format!(
            "# Terms\n\n## 1. Fees and charges\n\n{LONG} in the price list, and informs its customers of each change in \
             writing two months before.\n\nA second paragraph."
        )
    );
    assert_eq!(answer.text.pages, [0]);
}

#[test]
fn gaps_make_tables_and_bullets_lists() {
    let row = |y: u32, cells: [&str; 3]| {
        at(72, y, 11, cells[0]) + &at(250, y, 11, cells[1]) + &at(400, y, 11, cells[2])
    };
    let page = [
        at(72, 760, 11, LONG),
        row(730, ["Service", "Fee", "From"]),
        row(714, ["Account", "4,90 EUR", "January"]),
        at(72, 700, 11, "management"),
        row(684, ["Card", "12 EUR", ""]),
        at(72, 660, 11, "\\225") + &at(90, 660, 11, "first item"),
        at(90, 646, 11, "goes on"),
        at(100, 632, 11, "- inner item"),
        at(72, 618, 11, "\\225 second item"),
        at(72, 590, 11, "Date: today") + &at(400, 590, 11, "Page of it"),
    ];
    assert_eq!(
        taken(&[page.concat()]).text.text,
        format!(
            "{LONG}\n\n| Service | Fee | From |\n| --- | --- | --- |\n| Account management | 4,90 EUR | January |\n\
             | Card | 12 EUR |  |\n\n- first item goes on\n    - inner item\n- second item\n\nDate: today | Page of it"
        )
    );
}

/// Level lines at these heights and upright ones at these places, from 72 to 500 and from 600 to 700.
fn ruled(levels: &[u32], uprights: &[u32]) -> String {
    let level = |y: &u32| format!("72 {y} m 500 {y} l S\n");
    let upright = |x: &u32| format!("{x} 600 0.5 100 re f\n");
    levels.iter().map(level).chain(uprights.iter().map(upright)).collect()
}

#[test]
fn drawn_lines_make_tables() {
    let cells = [
        at(76, 685, 11, "Service"),
        at(204, 685, 11, "Fee"),
        at(76, 660, 11, "Account with a"),
        at(76, 646, 11, "long name"),
        at(204, 660, 11, "4,90 EUR"),
        at(304, 660, 11, "from January"),
        at(76, 615, 11, "On request, whatever it may be for"),
    ];
    // The line between the first two columns ends above the last row.
    let lines = ruled(&[600, 635, 675, 700], &[72, 300, 500]) + "200 635 0.5 65 re f\n";
    let around = at(72, 730, 11, "Before.") + &at(72, 560, 11, "After.");
    let table = "| Service | Fee |  |\n| --- | --- | --- |\n| Account with a long name | 4,90 EUR | from January |\n\
        | On request, whatever it may be for |  |  |";
    let page = lines.clone() + &cells.concat() + &around;
    assert_eq!(taken(std::slice::from_ref(&page)).text.text, format!("Before.\n\n{table}\n\nAfter."));
    // On the next page it goes on, and its columns have the names that they had.
    let next = lines + &at(76, 685, 11, "Card") + &at(204, 685, 11, "1 EUR") + &at(304, 660, 11, "x");
    let both = taken(&[page.replace("(After.)", "()"), next]).text.text;
    assert!(
        both.ends_with("| Service | Fee |  |\n| --- | --- | --- |\n| Card | 1 EUR |  |\n|  |  | x |"),
        "{both}"
    );
}

#[test]
fn what_runs_along_is_dropped_and_paragraphs_go_on() {
    let page = |number: u32, lines: &str| {
        at(72, 810, 9, "Sample Bank") + lines + &at(280, 30, 9, &format!("Page {number} of 3"))
    };
    let answer = taken(&[
        page(1, &(at(72, 700, 11, "One.") + &at(72, 300, 11, &format!("{LONG} and")))),
        page(2, &(at(72, 760, 11, "written down.") + &at(72, 700, 11, "Two 5."))),
        page(3, &at(72, 700, 11, "Three.")),
    ]);
    let text = answer.text.text;
    assert_eq!(text, format!("One.\n\n{LONG} and written down.\n\nTwo 5.\n\nThree."));
    let offset = |word: &str| text.find(word).unwrap();
    assert_eq!(answer.text.pages, [0, offset("written"), offset("Three")]);
}

#[test]
fn footnotes_stand_with_their_marks() {
    let page = [
        at(72, 760, 11, LONG),
        at(72, 746, 11, "in the price list"),
        at(153, 750, 6, "1"),
        at(160, 746, 11, "of 10 m"),
        at(199, 750, 6, "2"),
        at(72, 80, 8, "1 It lies in every branch, and"),
        at(72, 70, 8, "on the site."),
    ];
    assert_eq!(
        taken(&[page.concat()]).text.text,
        format!("{LONG} in the price list[^1] of 10 m2\n\n[^1]: It lies in every branch, and on the site.")
    );
}

#[test]
fn columns_are_read_one_after_the_other() {
    let mut page =
        at(72, 780, 11, "A heading line that stands across both of the columns of this page, all along");
    for line in 0..8 {
        page.push_str(&at(72, 740 - 14 * line, 11, &format!("left column with its line {line} and words")));
        page.push_str(&at(320, 737 - 14 * line, 11, &format!("right column with its line {line} and more")));
    }
    let text = taken(&[page]).text.text;
    let place = |word: &str| text.find(word).unwrap();
    assert!(place("across") < place("left column with its line 0"), "{text}");
    assert!(place("left column with its line 7") < place("right column with its line 0"), "{text}");
    assert!(!text.contains('|'), "{text}");
}

#[test]
fn pages_of_pictures_are_named() {
    let scan = "q 500 0 0 700 0 0 cm /X Do Q".to_owned();
    let answer =
        taken(&[at(72, 700, 11, "Text."), scan.clone(), at(72, 700, 11, "More.") + &scan, String::new()]);
    assert_eq!(answer.scanned, [2]);
    assert_eq!(answer.text.pages.len(), 4);
    let picture = super::picture(pdf(&[&scan]), 1, &Limits::default()).unwrap();
    assert_eq!(picture, b"P5\n1 1\n255\nx");
    assert!(super::picture(pdf(&[""]), 1, &Limits::default()).is_err());
    assert!(super::picture(pdf(&[""]), 9, &Limits::default()).is_err());
}

#[test]
fn rotated_text_is_text() {
    let turned = "BT /F 11 Tf 0 1 -1 0 40 100 Tm (Form 4711) Tj ET".to_owned();
    assert_eq!(taken(&[at(72, 700, 11, "Body text.") + &turned]).text.text, "Body text.\n\nForm 4711");
}

#[test]
fn words_that_were_parted_are_whole() {
    let joined = |lines: &[&str]| {
        let mut text = String::new();
        lines.iter().for_each(|line| join_line(&mut text, line));
        text
    };
    assert_eq!(joined(&["Konto-", "führung"]), "Kontoführung");
    assert_eq!(joined(&["E-Mail-", "Adresse"]), "E-Mail-Adresse");
    assert_eq!(joined(&["Ein-", "und Auszahlung"]), "Ein- und Auszahlung");
    assert_eq!(joined(&["2024 -", "2026"]), "2024 - 2026");
    assert_eq!(joined(&["Konto\u{ad}", "führung ist", ""]), "Kontoführung ist");
}

#[test]
fn what_is_no_pdf_is_refused() {
    for bytes in [b"%PDF-1.7".to_vec(), b"%PDF-1.7\nxref\ntrailer<</Root 9 0 R>>".to_vec()] {
        assert!(matches!(read(bytes, &Limits::default()), Err(Unreadable::Damaged { .. })));
    }
}
