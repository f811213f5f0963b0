//! IBANs (ISO 13616-1:2020): country, two check digits (ISO/IEC 7064, MOD 97-10), account.

use super::{Scan, before, next_boundary, slice};
use std::ops::Range;

/// Country and length in characters, from the IBAN registry, release 100.
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// Something of an IBAN's form and length; `valid` says whether its check digits hold.
pub(super) struct Shape {
    pub(super) range: Range<usize>,
    pub(super) valid: bool,
}

pub(super) fn find(scan: &mut Scan<'_>) {
    for shape in shapes(scan.text) {
        match scan.is_free(&shape.range) {
            true if shape.valid => scan.take("iban", shape.range),
            // A mistyped IBAN is nothing else either, so that its parts are no phone number.
            true => scan.block(shape.range),
            false => {}
        }
    }
}

/// Every place that has an IBAN's form: a country of the registry, two digits, and as many letters and
/// digits as that country has, with at most one space or hyphen (and one line break) between two of them.
pub(super) fn shapes(text: &str) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut from = 0;
    while let Some(start) = slice(text, from..text.len()).find(|c: char| c.is_ascii_alphabetic()) {
        let start = from + start;
        from = match shape_at(text, start) {
            Some(shape) => {
                let end = shape.range.end;
                shapes.push(shape);
                end
            }
            None => next_boundary(text, start),
        };
    }
    shapes
}

fn shape_at(text: &str, start: usize) -> Option<Shape> {
    if before(text, start).is_some_and(char::is_alphanumeric) {
        return None;
    }
    let code = text.get(start..start + 2)?;
    let (_, length) = LENGTHS.iter().find(|(country, _)| country.eq_ignore_ascii_case(code))?;
    let upper = code.bytes().all(|b| b.is_ascii_uppercase());
    let mut symbols = String::new();
    let (mut gap, mut end, mut spaced) = (0, start, false);
    for (at, c) in slice(text, start..text.len()).char_indices() {
        if c.is_ascii_alphanumeric() {
            if symbols.len() == *length {
                // A letter or digit that follows at once: longer than the country's IBANs.
                if gap == 0 {
                    return None;
                }
                break;
            }
            let in_check_digits = (2..4).contains(&symbols.len());
            let other_case = c.is_ascii_alphabetic() && c.is_ascii_uppercase() != upper;
            if (in_check_digits && !c.is_ascii_digit()) || (symbols.len() >= 2 && other_case) {
                return None;
            }
            spaced |= symbols.len() == 2 && gap > 0;
            symbols.push(c.to_ascii_uppercase());
            end = start + at + 1;
            gap = 0;
        } else if is_gap(c) && gap < 2 && symbols.len() != 1 && symbols.len() != 3 {
            gap += 1;
        } else if c.is_alphanumeric() && gap == 0 {
            return None;
        } else {
            break;
        }
    }
    let valid = check_digits_hold(&symbols);
    // `is 41 ...` is a sentence: a country apart from its check digits must be in capitals and hold.
    let plausible = upper && !spaced || valid && (upper || !spaced);
    (symbols.len() == *length && plausible).then_some(Shape { range: start..end, valid })
}

/// Spaces of every width, hyphens, and a line break, as numbers are broken when they are copied.
pub(super) fn is_gap(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | '-' | '\u{a0}' | '\u{ad}' | '\u{2009}'
            ..='\u{2015}' | '\u{202f}' | '\u{2060}'
    )
}

/// ISO/IEC 7064 MOD 97-10 over the number with its first four characters moved to the end. Check digits
/// outside 02..=98 are never issued.
fn check_digits_hold(symbols: &str) -> bool {
    let Some((head, account)) = symbols.split_at_checked(4) else { return false };
    let issued =
        head.get(2..).and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|d| (2..=98).contains(&d));
    remainder(account.chars().chain(head.chars())) == 1 && issued
}

/// Of division by 97; letters count as 10 to 35.
fn remainder(symbols: impl Iterator<Item = char>) -> u32 {
    symbols.fold(0, |remainder, c| {
        let value = c.to_digit(36).unwrap_or(0);
        (remainder * if value < 10 { 10 } else { 100 } + value) % 97
    })
}

/// The IBAN of a German bank code of eight digits and an account number of up to ten.
pub(super) fn german(bank_code: &str, account: &str) -> String {
    let check = 98 - remainder(format!("{bank_code}{account:0>10}DE00").chars());
    format!("DE{check:02}{bank_code}{account:0>10}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_89_countries_in_order() {
        assert_eq!(LENGTHS.len(), 89);
        assert!(LENGTHS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    /// The registry's own examples, one for each form.
    #[test]
    fn examples_of_the_registry_hold_and_a_changed_digit_does_not() {
        for iban in [
            "AD1200012030200359100100",
            "AE070331234567890123456",
            "AL47212110090000000235698741",
            "AT611904300234573201",
            "BE68539007547034",
            "BR1800360305000010009795493C1",
            "CH9300762011623852957",
            "DE89370400440532013000",
            "FR1420041010050500013M02606",
            "GB29NWBK60161331926819",
            "IT60X0542811101000000123456",
            "LC55HEMM000100010012001200023015",
            "MT84MALT011000012345MTLCAST001S",
            "NL91ABNA0417164300",
            "NO9386011117947",
            "PL61109010140000071219812874",
            "SC18SSCB11010000000000001497USD",
            "SE4550000000058398257466",
            "XK051212012345678906",
            "UA213223130000026007233566001",
        ] {
            let found = shapes(iban);
            assert!(found.len() == 1 && found[0].valid && found[0].range == (0..iban.len()), "{iban}");
            let last = iban.chars().next_back().unwrap();
            let other = if last == '1' { '2' } else { '1' };
            let changed = format!("{}{other}", &iban[..iban.len() - 1]);
            assert!(!shapes(&changed)[0].valid, "{changed}");
        }
    }

    #[test]
    fn german_ibans_follow_from_bank_code_and_account() {
        assert_eq!(german("37040044", "532013000"), "DE89370400440532013000");
        assert_eq!(german("50010517", "648489890"), "DE12500105170648489890");
        assert!((1..500).all(|account| check_digits_hold(&german("10000001", &account.to_string()))));
    }
}
