//! Files that are broken, or made to break their reader. Each is read or refused with a reason, within the limits,
//! and nothing comes of it for the caller.

use super::made::{self, Draw, Entry, archive, entry, good};
use super::{limits, pdfs};
use prokura::intake::document::{Limits, Unreadable, read};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type File = (String, Vec<u8>);

/// How many there are: a change of the corpus is to be seen.
const FILES: usize = 312;
const SECONDS: u64 = 20;

fn corpus() -> Vec<File> {
    let mut files = Vec::new();
    truncated(&mut files);
    flipped(&mut files);
    random(&mut files);
    misnamed(&mut files);
    inflating(&mut files);
    nested(&mut files);
    encrypted(&mut files);
    entities(&mut files);
    emails(&mut files);
    texts(&mut files);
    sheets(&mut files);
    files.extend(pdfs::hostile());
    files
}

/// Good files that end too early.
fn truncated(files: &mut Vec<File>) {
    for (name, bytes) in good() {
        for tenth in 0..10 {
            let length = bytes.len() * tenth / 10;
            files.push((format!("truncated-{tenth}-{name}"), bytes[..length].to_vec()));
        }
    }
}

/// Good files in which a few bits are others.
fn flipped(files: &mut Vec<File>) {
    let mut draw = Draw::new(7);
    for (name, bytes) in good() {
        for round in 0..8 {
            let mut bytes = bytes.clone();
            for _ in 0..=round * 2 {
                let at = draw.below(bytes.len());
                bytes[at] ^= 1 << draw.below(8);
            }
            files.push((format!("flipped-{round}-{name}"), bytes));
        }
    }
}

fn random(files: &mut Vec<File>) {
    let mut draw = Draw::new(11);
    for (name, bytes) in good() {
        files.push((format!("random-{name}"), draw.bytes(5000)));
        // With the beginning that the format has.
        let mut begun = bytes[..8].to_vec();
        begun.extend(draw.bytes(5000));
        files.push((format!("begun-{name}"), begun));
    }
}

/// Each content under the ending of the next two.
fn misnamed(files: &mut Vec<File>) {
    let good = good();
    for (index, (_, bytes)) in good.iter().enumerate() {
        for step in [1, 3] {
            let (name, _) = &good[(index + step) % good.len()];
            files.push((format!("misnamed-{index}-{name}"), bytes.clone()));
        }
    }
}

/// Archives that become large, or say so.
fn inflating(files: &mut Vec<File>) {
    let mains = [("docx", "word/document.xml"), ("odt", "content.xml"), ("xlsx", "xl/workbook.xml")];
    let mut flat = vec![b' '; 300 << 20];
    flat[..7].copy_from_slice(b"<a><b/>");
    let flat = entry("", &flat);
    let other = |name: &str, like: &Entry| Entry {
        name: name.to_owned(),
        stored: like.stored.clone(),
        method: like.method,
        flags: like.flags,
        claimed: like.claimed,
        crc: like.crc,
        at: None,
    };
    let kind = |name: &str| match name {
        "odt" => entry("mimetype", b"application/vnd.oasis.opendocument.text"),
        _ => entry("[Content_Types].xml", b"<Types/>"),
    };
    for (ending, main) in mains {
        files.push((format!("flat.{ending}"), archive(&[kind(ending), other(main, &flat)])));
        // A smaller one, over and over at the same place.
        let portion = entry("part", &vec![b' '; 900_000]);
        let mut entries = vec![kind(ending), portion];
        let parts =
            ["word/styles.xml", "word/numbering.xml", "styles.xml", "meta.xml", "xl/styles.xml", main];
        for name in parts {
            entries.push(Entry { at: Some(1), ..other(name, &entries[1]) });
        }
        files.push((format!("overlapping.{ending}"), archive(&entries)));
        // An archive in an archive in an archive.
        let mut inner = archive(&[kind(ending), other(main, &entry("", &vec![b'a'; 1 << 20]))]);
        for _ in 0..5 {
            inner = archive(&[kind(ending), entry(main, &inner)]);
        }
        files.push((format!("nested-archive.{ending}"), inner));
        for (what, claimed) in [("huge", 500_000_000), ("largest", u32::MAX), ("none", 0)] {
            let lying = Entry { claimed, ..entry(main, b"<a/>") };
            files.push((format!("claims-{what}.{ending}"), archive(&[kind(ending), lying])));
        }
        let many: Vec<Entry> = (0..20_000)
            .map(|number| Entry { at: (number > 0).then_some(0), ..entry(main, b"<a/>") })
            .collect();
        files.push((format!("many-entries.{ending}"), archive(&many)));
    }
}

const DEEP: usize = 100_000;

fn nested(files: &mut Vec<File>) {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(DEEP), close.repeat(DEEP));
    files.push(("deep.docx".into(), made::docx(&deep("<w:p>", "</w:p>"))));
    files.push((
        "deep-tables.docx".into(),
        made::docx(&deep("<w:tbl><w:tr><w:tc>", "</w:tc></w:tr></w:tbl>")),
    ));
    files.push((
        "deep.odt".into(),
        made::odt(&deep("<text:list><text:list-item>", "</text:list-item></text:list>")),
    ));
    files.push(("deep.xlsx".into(), made::xlsx(&deep("<row>", "</row>"))));
    for tag in
        ["div", "b", "blockquote", "table", "ul", "font", "a", "p", "svg", "template", "select", "frameset"]
    {
        let open = format!("<{tag}>");
        files.push((format!("deep-{tag}.html"), format!("<p>x{}", open.repeat(DEEP)).into_bytes()));
    }
    let tables = "<table><tr><td>".repeat(DEEP / 3);
    files.push(("deep-cells.html".into(), tables.into_bytes()));
    let misnested = "<b><p><i></b></p></i>x".repeat(20_000);
    files.push(("misnested.html".into(), misnested.into_bytes()));
    let attributes: String = (0..DEEP).map(|number| format!(" a{number}=1")).collect();
    files.push(("attributes.html".into(), format!("<p{attributes}>x").into_bytes()));
    files.push(("attributes.docx".into(), made::docx(&format!("<w:p{attributes}/>"))));
    files.push((
        "spans.html".into(),
        "<table><tr>".bytes().chain("<td rowspan=65534 colspan=1000>x".repeat(2000).bytes()).collect(),
    ));
}

fn encrypted(files: &mut Vec<File>) {
    let mut office = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    office.extend([0; 600]);
    for name in ["old.docx", "old.xlsx"] {
        files.push((name.into(), office.clone()));
    }
    office.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    for name in ["locked.docx", "locked.xlsx"] {
        files.push((name.into(), office.clone()));
    }
    let main = Entry { flags: 0x801, ..entry("word/document.xml", b"<w:document/>") };
    files.push(("locked-entry.docx".into(), archive(&[entry("[Content_Types].xml", b"<Types/>"), main])));
    let manifest = "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    let kind = "application/vnd.oasis.opendocument.text";
    let parts = [("mimetype", kind), ("META-INF/manifest.xml", manifest), ("content.xml", "\u{1}")];
    files.push(("locked.odt".into(), made::zip(&parts)));
}

/// A billion laughs, and entities that name files.
fn entities(files: &mut Vec<File>) {
    let mut declared = String::from("<!DOCTYPE d [<!ENTITY a0 \"ha\">");
    for level in 1..10 {
        let inner = format!("&a{};", level - 1).repeat(10);
        declared.push_str(&format!("<!ENTITY a{level} \"{inner}\">"));
    }
    let laughs = format!("{declared}]><d><p>&a9;</p></d>");
    let external = "<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><d><p>&x;</p></d>";
    for (what, xml) in [("laughs", laughs.as_str()), ("external", external)] {
        files.push((format!("{what}.docx"), made::zip(&[("word/document.xml", xml)])));
        let kind = ("mimetype", "application/vnd.oasis.opendocument.text");
        files.push((format!("{what}.odt"), made::zip(&[kind, ("content.xml", xml)])));
        files.push((format!("{what}.xlsx"), made::zip(&[("xl/workbook.xml", xml)])));
        files.push((format!("{what}.html"), xml.as_bytes().to_vec()));
    }
}

fn emails(files: &mut Vec<File>) {
    let mut add = |name: &str, bytes: Vec<u8>| files.push((format!("{name}.eml"), bytes));
    let mut inner = b"Subject: innermost\r\n\r\nx\r\n".to_vec();
    for _ in 0..40 {
        inner = made::email("outer", &[("message/rfc822", "", &inner)]);
    }
    add("nested", inner);
    let mut coded = b"Subject: innermost\r\n\r\nx\r\n".to_vec();
    for _ in 0..8 {
        coded = made::email("outer", &[("message/rfc822", "inner.eml", &coded)]);
    }
    add("nested-coded", coded);
    let mut parts = String::from("From: a@b.de\r\n");
    for level in 0..10_000 {
        parts.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    add("multiparts", parts.into_bytes());
    let begin = "From: a@b.de\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    add("boundaries", format!("{begin}{}", "--b\r\n".repeat(200_000)).into_bytes());
    add(
        "one-boundary",
        format!("{begin}--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n".repeat(2000))
            .into_bytes(),
    );
    let boundary = "x".repeat(1 << 20);
    add(
        "long-boundary",
        format!("From: a@b.de\r\nContent-Type: multipart/mixed; boundary={boundary}\r\n\r\n--{boundary}\r\n")
            .into_bytes(),
    );
    add("long-header", format!("From: {}\r\n\r\nx", "a@b.de, ".repeat(300_000)).into_bytes());
    add("many-headers", format!("{}\r\nx", "Received: x\r\n".repeat(200_000)).into_bytes());
    add("comments", format!("From: {}a@b.de\r\n\r\nx", "(".repeat(DEEP)).into_bytes());
    add("words", format!("Subject: {}\r\n\r\nx", "=?utf-8?B?4pi6?= ".repeat(DEEP)).into_bytes());
    let many: Vec<(&str, &str, &[u8])> =
        (0..1000).map(|_| ("text/plain", "a.txt", b"x".as_slice())).collect();
    add("attachments", made::email("many", &many));
    let bomb = made::flat_bomb("word/document.xml", "<w:document><w:p>", 64 << 20);
    let bombs: Vec<(&str, &str, &[u8])> =
        (0..20).map(|_| ("application/zip", "a.docx", bomb.as_slice())).collect();
    add("bombs", made::email("bombs", &bombs));
    add(
        "charset",
        b"From: a@b.de\r\nContent-Type: text/plain; charset=\"x-nothing\"\r\n\r\n\xff\xfe\x80".to_vec(),
    );
    add("base64", b"From: a@b.de\r\nContent-Transfer-Encoding: base64\r\n\r\n====!!!!\xff".to_vec());
    add(
        "html",
        format!("From: a@b.de\r\nContent-Type: text/html\r\n\r\n{}", "<div>".repeat(DEEP)).into_bytes(),
    );
}

fn texts(files: &mut Vec<File>) {
    let mut add = |name: &str, bytes: &[u8]| files.push((name.to_owned(), bytes.to_vec()));
    add("empty.txt", b"");
    add("blank.md", b" \n\t\n");
    add("mark.txt", b"\xef\xbb\xbf");
    add("wide.txt", b"\xff\xfea\0b\0");
    add("latin.txt", b"Geb\xfchr");
    add("null.md", b"a\0b");
    add("surrogate.md", b"\xed\xa0\x80");
    add("overlong.txt", b"\xc0\xaf");
    add("controls.html", b"<p>\x01\x02\x1b[31m\xe2\x80\xae");
    add("long.txt", &vec![b'a'; 20 << 20]);
    add("noending", b"x");
    add("picture.png", b"\x89PNG\r\n\x1a\n");
}

/// Cells far apart, and more strings than there are.
fn sheets(files: &mut Vec<File>) {
    let mut add = |name: &str, rows: &str| files.push((format!("{name}.xlsx"), made::xlsx(rows)));
    add(
        "corners",
        "<row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c></row>",
    );
    let diagonal: String = (1..6000)
        .map(|row| {
            let column: String = [(row / 676) % 26, (row / 26) % 26, row % 26]
                .map(|n| char::from(b'A' + n as u8))
                .iter()
                .collect();
            format!("<row r=\"{row}\"><c r=\"{column}{row}\"><v>{row}</v></c></row>")
        })
        .collect();
    add("diagonal", &diagonal);
    add("strings", "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>99999999999</v></c><c t=\"s\"><v>-1</v></c></row>");
    add(
        "numbers",
        "<row r=\"99999999999999999999\"><c r=\"ZZZZZ1\" s=\"77\"><v>1e999</v></c><c><v>NaN</v></c></row>",
    );
}

#[test]
fn nothing_that_is_in_a_file_harms_who_reads_it() {
    let files = corpus();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::<String, usize>::new());
    let slowest = Mutex::new((Duration::ZERO, String::new()));
    let limits = Limits { seconds: SECONDS, ..limits() };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((name, bytes)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begin = Instant::now();
                    let read = read(bytes, name, &limits);
                    let took = begin.elapsed();
                    // An e-mail may be tried again without its attachments.
                    assert!(took < Duration::from_secs(2 * SECONDS + 10), "{name} took {took:?}");
                    let outcome = match &read {
                        Ok(_) => "read".to_owned(),
                        Err(reason) => {
                            said_well(name, reason);
                            format!("{reason:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
                        }
                    };
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                    let mut slowest = slowest.lock().unwrap();
                    if took > slowest.0 {
                        *slowest = (took, name.clone());
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!(
        "documents: {} files in {:?}, slowest {:?}: {outcomes:?}",
        files.len(),
        start.elapsed(),
        slowest.into_inner().unwrap()
    );
    assert_eq!((files.len(), outcomes.values().sum::<usize>()), (FILES, FILES));
    assert!(outcomes["read"] >= 40);
}

/// A reason is a sentence for a person, not a value for a programmer.
fn said_well(name: &str, reason: &Unreadable) {
    let text = reason.to_string();
    let written = ["{", "}", "\"", "::", "Some(", "Err(", "_"].iter().find(|mark| text.contains(**mark));
    assert!(text.len() > 30 && written.is_none(), "{name}: {text}");
    assert!(text.starts_with(|c: char| c.is_lowercase()), "{name}: {text}");
}
