//! The Deutsche Bundesbank's file of bank codes (Bankleitzahlendatei), which the bank supplies: by which method
//! each bank computes the check digits of its account numbers.
//!
//! Either form is read as it is published ("Merkblatt Bankleitzahlendatei", annex 1): text in records of 168
//! characters, or 174 in the extended file, which adds the rule for IBANs; or CSV with semicolons and a header.
//! ISO 8859-1 is expected, and UTF-8 is understood.

use super::recognise::{CheckDigit, check};
use crate::base::{Digest, Finding};
use std::collections::BTreeMap;
use std::path::Path;

/// German banks by their codes. Without a file it is empty, and every account number counts as unchecked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BankCodes {
    banks: BTreeMap<String, Bank>,
    digest: Option<Digest>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Bank {
    /// Two characters, such as `00` or `C0`.
    method: String,
    /// Whether its IBANs are made of bank code and account alone, without a rule of the bank's own.
    plain_iban: bool,
}

/// The fields that are used, with their first and last character in the text form.
const FIELDS: [(&str, usize, usize); 6] = [
    ("Bankleitzahl", 1, 8),
    ("Merkmal", 9, 9),
    ("Prüfzifferberechnungsmethode", 151, 152),
    ("Bankleitzahllöschung", 160, 160),
    ("Nachfolge-Bankleitzahl", 161, 168),
    // In the extended file alone.
    ("IBAN-Regel", 169, 174),
];

const REMEDY: &str = "take the file as bundesbank.de publishes it (Bankleitzahlendatei, text or CSV)";

/// What a line says in each of [`FIELDS`].
type Cells = [Option<String>; 6];

impl BankCodes {
    /// # Errors
    /// A file that cannot be read or is not of a published form: line, field, value and remedy.
    pub fn read(path: &Path) -> Result<Self, Finding> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            let remedy = "correct `bank_codes` in the section `[intake]` of the settings, or leave it out";
            Finding::new(&shown, 0, format!("{error}; {remedy}"))
        })?;
        Self::parse(&shown, &bytes)
    }

    /// `file` is the file's name in messages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Finding> {
        let wrong = |line, message: String| Finding::new(file, line, format!("{message}; {REMEDY}"));
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()).peekable();
        let columns = match lines.next_if(|(line, _)| line.contains(';')) {
            Some((header, line)) => Some(columns(header).map_err(|message| wrong(line, message))?),
            None => None,
        };
        let mut banks: BTreeMap<String, Bank> = BTreeMap::new();
        for (text, line) in lines {
            let cells = columns.as_ref().map_or_else(|| record(text), |columns| row(text, columns));
            let bank = cells.and_then(|cells| bank(&cells)).map_err(|message| wrong(line, message))?;
            let Some((code, bank)) = bank else { continue };
            if banks.get(&code).is_some_and(|earlier| earlier.method != bank.method) {
                let message = "`Bankleitzahl` stood further up with another `Prüfzifferberechnungsmethode`";
                return Err(wrong(line, message.to_owned()));
            }
            banks.entry(code).or_insert(bank);
        }
        if banks.is_empty() {
            return Err(wrong(0, "there is no bank in it".to_owned()));
        }
        Ok(Self { banks, digest: Some(Digest::of(bytes)) })
    }

    /// Of the file's bytes; `None` without a file.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Checks an account number of 1 to 10 digits. A bank that the file does not name leaves it unchecked.
    pub(super) fn check(&self, bank_code: &str, account: &str) -> CheckDigit {
        match self.banks.get(bank_code) {
            Some(bank) => check(&bank.method, bank_code, account),
            None => CheckDigit::Unchecked,
        }
    }

    /// Whether the IBAN of an account at this bank follows from bank code and account number.
    pub(super) fn has_plain_iban(&self, bank_code: &str) -> bool {
        self.banks.get(bank_code).is_some_and(|bank| bank.plain_iban)
    }
}

/// Which column of the CSV form holds each field, found by the header's letters.
fn columns(header: &str) -> Result<[Option<usize>; 6], String> {
    let letters = |name: &str| name.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
    let names: Vec<String> = split(header).iter().map(|name| letters(name)).collect();
    let found = FIELDS.map(|(name, ..)| names.iter().position(|column| *column == letters(name)));
    match FIELDS.iter().zip(&found).find(|((name, ..), at)| at.is_none() && *name != "IBAN-Regel") {
        Some(((name, ..), _)) => Err(format!("the header has no column `{name}`")),
        None => Ok(found),
    }
}

fn row(line: &str, columns: &[Option<usize>; 6]) -> Result<Cells, String> {
    let mut cells = split(line);
    let last = columns.iter().flatten().max().copied().unwrap_or_default();
    if cells.len() <= last {
        return Err(format!("the line has {} columns, the header has more", cells.len()));
    }
    Ok(columns.map(|at| at.and_then(|at| cells.get_mut(at)).map(std::mem::take)))
}

/// Parts a line at its semicolons. Quotation marks are left out.
fn split(line: &str) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

fn record(line: &str) -> Result<Cells, String> {
    let length = line.chars().count();
    if length != 168 && length != 174 {
        return Err(format!(
            "the record has {length} characters; 168 are expected, or 174 in the extended file"
        ));
    }
    Ok(FIELDS.map(|(_, first, last)| {
        (last <= length).then(|| line.chars().skip(first - 1).take(last + 1 - first).collect())
    }))
}

/// The bank of a line; `None` where the line is a further office of a bank that has a line of its own.
fn bank(
    [code, feature, method, deletion, successor, rule]: &Cells,
) -> Result<Option<(String, Bank)>, String> {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let code = expect("Bankleitzahl", code, "eight digits", |text| digits(text, 8))?;
    let feature = expect("Merkmal", feature, "1 or 2", |text| matches!(text, "1" | "2"))?;
    let method = expect("Prüfzifferberechnungsmethode", method, "two digits or capitals", |text| {
        text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    })?;
    let deletion = expect("Bankleitzahllöschung", deletion, "0 or 1", |text| matches!(text, "0" | "1"))?;
    let successor = expect("Nachfolge-Bankleitzahl", successor, "eight digits", |text| digits(text, 8))?;
    let rule = match rule {
        Some(_) => expect("IBAN-Regel", rule, "six digits", |text| digits(text, 6))?,
        None => "000000",
    };
    // The first four digits are the rule, the others its version.
    let plain_iban = deletion == "0" && successor == "00000000" && rule.starts_with("0000");
    Ok((feature == "1").then(|| (code.to_owned(), Bank { method: method.to_owned(), plain_iban })))
}

fn expect<'a>(
    field: &str,
    value: &'a Option<String>,
    expected: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<&'a str, String> {
    let value = value.as_deref().unwrap_or_default();
    if fits(value) { Ok(value) } else { Err(format!("`{field}` is `{value}`; {expected} are expected")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Bankleitzahl;Merkmal;Bezeichnung;PLZ;Ort;Kurzbezeichnung;PAN;BIC;Prüfzifferberechnungsmethode;\
                          Datensatznummer;Änderungskennzeichen;Bankleitzahllöschung;Nachfolge-Bankleitzahl";

    /// A record of the text form, of banks that do not exist.
    fn record(code: &str, feature: &str, method: &str, rest: &str) -> String {
        format!(
            "{code}{feature}{:<58}12345{:<35}{:<27}     {:<11}{method}000001U{rest}",
            "Börde eG", "Ort", "Ö", "BIC"
        )
    }

    fn latin_1(text: &str) -> Vec<u8> {
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    fn parse(text: &str) -> Result<BankCodes, String> {
        BankCodes::parse("blz.txt", &latin_1(text)).map_err(|finding| finding.to_string())
    }

    #[test]
    fn both_forms_give_the_same_banks() {
        let plain = "000000000";
        let lines = [
            record("10000001", "1", "00", plain),
            record("10000001", "2", "00", plain),
            record("20000002", "1", "C0", "120000009"),
        ];
        let text = lines.join("\r\n") + "\r\n";
        let rows = [
            "\"10000001\";\"1\";\"Börde; eG\";\"12345\";\"Ort\";\"Ö\";\"\";\"BIC\";\"00\";\"000001\";\"U\";\"0\";\"00000000\"",
            "20000002;1;Ö;;;;;;C0;000003;D;1;20000009",
        ];
        let csv = format!("{HEADER}\r\n{}\r\n", rows.join("\r\n"));
        let (text, csv, utf_8) = (
            parse(&text).unwrap(),
            parse(&csv).unwrap(),
            BankCodes::parse("blz.csv", csv.as_bytes()).unwrap(),
        );
        assert_eq!((text.banks.len(), &text.banks, &text.banks), (2, &csv.banks, &utf_8.banks));
        assert!(text.has_plain_iban("10000001") && !text.has_plain_iban("20000002"));
        assert!(!text.has_plain_iban("30000003"));
        assert!(text.digest() != csv.digest() && text.digest().is_some());
        assert_eq!(text.check("10000001", "9290701"), CheckDigit::Holds);
        assert_eq!(text.check("10000001", "9290702"), CheckDigit::Fails);
        assert_eq!(text.check("30000003", "9290702"), CheckDigit::Unchecked, "not in the file");
    }

    #[test]
    fn the_extended_file_tells_whose_ibans_have_a_rule() {
        let rule = |rule: &str| parse(&record("10000001", "1", "00", &format!("000000000{rule}"))).unwrap();
        assert!(rule("000000").has_plain_iban("10000001"));
        assert!(rule("000003").has_plain_iban("10000001"), "a version of the rule that there is none");
        assert!(!rule("000503").has_plain_iban("10000001"));
    }

    #[test]
    fn a_bad_file_is_told_with_line_field_value_and_remedy() {
        let good = record("10000001", "1", "00", "000000000");
        let csv = |row: &str| format!("{HEADER}\n{row}");
        for (text, told) in [
            (
                format!("{good}\n{}", record("1000000A", "1", "00", "000000000")),
                "blz.txt:2: `Bankleitzahl` is `1000000A`; eight digits",
            ),
            (
                format!("{good}\n\n{}", record("10000002", "3", "00", "000000000")),
                "blz.txt:3: `Merkmal` is `3`",
            ),
            (record("10000001", "1", "0 ", "000000000"), "blz.txt:1: `Prüfzifferberechnungsmethode` is `0 `"),
            (record("10000001", "1", "00", "x00000000"), "`Bankleitzahllöschung` is `x`"),
            (record("10000001", "1", "00", "00000000 "), "`Nachfolge-Bankleitzahl` is `0000000 `"),
            (record("10000001", "1", "00", "00000000000050x"), "`IBAN-Regel` is `00050x`"),
            (format!("{good} "), "blz.txt:1: the record has 169 characters"),
            (
                format!("{good}\n{}", record("10000001", "1", "01", "000000000")),
                "blz.txt:2: `Bankleitzahl` stood",
            ),
            (HEADER.replace("Merkmal", "Mal"), "blz.txt:1: the header has no column `Merkmal`"),
            (csv("10000001;1;Bank"), "blz.txt:2: the line has 3 columns"),
            (csv("10000001;1;;;;;;;;;;0;00000000"), "blz.txt:2: `Prüfzifferberechnungsmethode` is ``"),
            (String::new(), "blz.txt:0: there is no bank in it"),
            (record("10000001", "2", "00", "000000000"), "there is no bank in it"),
        ] {
            let message = parse(&text).unwrap_err();
            assert!(message.starts_with(told) || message.contains(told), "{message}");
            assert!(message.contains("; take the file as bundesbank.de publishes it"), "{message}");
        }
        let missing = BankCodes::read(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("no/such/file:0: ") && missing.contains("`bank_codes`"), "{missing}");
    }
}
