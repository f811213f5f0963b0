//! Files made in the test: archives, PDFs and e-mails, written by hand so that they can be wrong by hand.

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use std::io::Write;

/// One entry of an archive, and what the archive claims of it.
pub struct Entry {
    pub name: String,
    /// As it lies in the archive.
    pub stored: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub claimed: u32,
    pub crc: u32,
    /// The entry whose place in the archive this one claims to have, too.
    pub at: Option<usize>,
}

pub fn entry(name: &str, content: &[u8]) -> Entry {
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflated.write_all(content).unwrap();
    Entry {
        name: name.to_owned(),
        stored: deflated.finish().unwrap(),
        method: 8,
        flags: 0x800,
        claimed: content.len() as u32,
        crc: crc(content),
        at: None,
    }
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut places = Vec::new();
    let describe = |file: &mut Vec<u8>, entry: &Entry| {
        for number in [20_u16, entry.flags, entry.method, 0, 0x5921] {
            file.extend(number.to_le_bytes());
        }
        for number in [entry.crc, entry.stored.len() as u32, entry.claimed] {
            file.extend(number.to_le_bytes());
        }
        file.extend((entry.name.len() as u16).to_le_bytes());
        file.extend(0_u16.to_le_bytes());
    };
    for entry in entries {
        if let Some(other) = entry.at {
            places.push(places[other]);
            continue;
        }
        places.push(file.len() as u32);
        file.extend(b"PK\x03\x04");
        describe(&mut file, entry);
        file.extend(entry.name.bytes());
        file.extend(&entry.stored);
    }
    let directory = file.len() as u32;
    for (entry, place) in entries.iter().zip(places) {
        file.extend(b"PK\x01\x02\x14\x00");
        describe(&mut file, entry);
        file.extend([0; 10]);
        file.extend(place.to_le_bytes());
        file.extend(entry.name.bytes());
    }
    let length = file.len() as u32 - directory;
    file.extend(b"PK\x05\x06\0\0\0\0");
    for number in [entries.len() as u16; 2] {
        file.extend(number.to_le_bytes());
    }
    file.extend(length.to_le_bytes());
    file.extend(directory.to_le_bytes());
    file.extend(0_u16.to_le_bytes());
    file
}

pub fn zip(parts: &[(&str, &str)]) -> Vec<u8> {
    archive(&parts.iter().map(|(name, content)| entry(name, content.as_bytes())).collect::<Vec<_>>())
}

/// A part that begins as given and goes on with blanks.
pub fn flat_bomb(part: &str, begin: &str, length: usize) -> Vec<u8> {
    let mut content = begin.as_bytes().to_vec();
    content.resize(length, b' ');
    archive(&[entry("[Content_Types].xml", b"<Types/>"), entry(part, &content)])
}

const WORD: &str = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";

pub fn docx(body: &str) -> Vec<u8> {
    let document = format!("<w:document xmlns:w=\"{WORD}\"><w:body>{body}</w:body></w:document>");
    zip(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", &document)])
}

pub fn odt(body: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content><office:body><office:text>{body}</office:text></office:body></office:document-content>"
    );
    zip(&[("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", &content)])
}

pub fn xlsx(rows: &str) -> Vec<u8> {
    let book = "<workbook><sheets><sheet name=\"Fees\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>";
    let relations = "<Relationships><Relationship Id=\"r1\" Type=\"x/worksheet\" Target=\"worksheets/s.xml\"/></Relationships>";
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    zip(&[
        ("[Content_Types].xml", "<Types/>"),
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", relations),
        ("xl/worksheets/s.xml", &sheet),
    ])
}

/// A PDF of these objects, numbered from 1; the first is the catalogue.
pub fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend(format!("{} 0 obj\n", index + 1).bytes());
        file.extend(object);
        file.extend(b"\nendobj\n");
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for place in places {
        file.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    file.extend(
        format!("trailer\n<</Size {size}/Root 1 0 R{trailer}>>\nstartxref\n{table}\n%%EOF\n").bytes(),
    );
    file
}

pub fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<<{dictionary}/Length {}>>\nstream\n", content.len()).into_bytes();
    object.extend(content);
    object.extend(b"\nendstream");
    object
}

pub fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A PDF with a page for each content, in Helvetica; `more` objects begin with number 4.
pub fn pages(contents: &[Vec<u8>], more: &[Vec<u8>]) -> Vec<u8> {
    let first = 4 + more.len();
    let kids: Vec<String> = (0..contents.len()).map(|index| format!("{} 0 R", first + 2 * index)).collect();
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R/Lang(de-DE)>>".to_vec(),
        format!("<</Type/Pages/Count {}/Kids[{}]>>", contents.len(), kids.join(" ")).into_bytes(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_vec(),
    ];
    objects.extend(more.iter().cloned());
    for (index, content) in contents.iter().enumerate() {
        let resources = "/Resources<</Font<</F 3 0 R>>/XObject<</X 4 0 R>>>>";
        let page = first + 2 * index;
        let content_at = page + 1;
        objects.push(
            format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]{resources}/Contents {content_at} 0 R>>")
                .into_bytes(),
        );
        objects.push(stream("/Filter/FlateDecode", &deflated(content)));
    }
    pdf(&objects, "")
}

pub fn email(subject: &str, parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut file = format!(
        "From: Max <max@example.org>\r\nTo: bank@example.org\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
    )
    .into_bytes();
    for (kind, name, content) in parts {
        let placed = match *name {
            "" => String::new(),
            name => format!("Content-Disposition: attachment; filename=\"{name}\"\r\n"),
        };
        file.extend(format!("--b\r\nContent-Type: {kind}\r\n{placed}").bytes());
        if name.is_empty() {
            file.extend(b"\r\n");
            file.extend(*content);
        } else {
            file.extend(b"Content-Transfer-Encoding: base64\r\n\r\n");
            use base64::Engine as _;
            let coded = base64::engine::general_purpose::STANDARD.encode(content);
            for line in coded.as_bytes().chunks(76) {
                file.extend(line);
                file.extend(b"\r\n");
            }
        }
        file.extend(b"\r\n");
    }
    file.extend(b"--b--\r\n");
    file
}

/// A small file of every format that says the same.
pub fn good() -> Vec<(&'static str, Vec<u8>)> {
    let paragraph = |text: &str| format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>");
    let drawn = b"BT /F 12 Tf 72 700 Td (The fee is 5 EUR.) Tj ET".to_vec();
    let cells = "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Gebühr fee</t></is></c><c r=\"B1\"><v>5</v></c></row>";
    let text = b"From: a@b.de\r\nSubject: fee\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe Geb\xc3\xbchr\r\n";
    vec![
        ("good.md", "# Gebühr\n\nThe fee is 5 EUR.\n".as_bytes().to_vec()),
        ("good.txt", "Gebühr\n\nThe fee is 5 EUR.\n".as_bytes().to_vec()),
        ("good.html", "<h1>Gebühr</h1><p>The fee is <b>5</b> EUR.</p>".as_bytes().to_vec()),
        ("good.pdf", pages(&[drawn.clone(), drawn], &[b"null".to_vec()])),
        ("good.docx", docx(&(paragraph("Gebühr") + &paragraph("The fee is 5 EUR.")))),
        ("good.odt", odt("<text:h>Gebühr</text:h><text:p>The fee is 5 EUR.</text:p>")),
        ("good.xlsx", xlsx(cells)),
        ("good.eml", text.to_vec()),
    ]
}

/// The same row of numbers in every run.
pub struct Draw(u64);

impl Draw {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub const fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}
