//! How a customer can be reached: e-mail, phone, postcode.

use super::{Scan, after, before, next_boundary, pattern, preceded_by, slice};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// RFC 5321, section 4.5.3.1.1: a local part has at most 64 octets.
const LOCAL_PART: usize = 64;
/// RFC 5321, section 4.5.3.1.2.
const DOMAIN: usize = 255;

/// Addresses as people have them: letters of any script, digits and `._%+'-` before the sign, a domain of at
/// least two labels behind it (quoted local parts and literal addresses of RFC 5322 are not looked for).
pub(super) fn find_emails(scan: &mut Scan<'_>) {
    let text = scan.text;
    for (at, _) in text.match_indices('@') {
        if let Some(range) = email_around(text, at)
            && scan.is_free(&range)
        {
            scan.take("email", range);
        }
    }
}

fn email_around(text: &str, at: usize) -> Option<Range<usize>> {
    let local = slice(text, 0..at).char_indices().rev();
    let local =
        local.take_while(|(from, c)| at - from <= LOCAL_PART && (is_word(*c) || "._%+'-".contains(*c)));
    let start = local.last().map(|(from, _)| from)?;
    let start = start + slice(text, start..at).find(is_word)?;
    let domain = slice(text, at + 1..text.len());
    let length = domain
        .char_indices()
        .take_while(|(length, c)| *length < DOMAIN && (is_word(*c) || matches!(c, '.' | '-')))
        .last()
        .map(|(from, c)| from + c.len_utf8())?;
    let domain = slice(domain, 0..length).trim_end_matches(['.', '-']);
    let mut labels = domain.split('.');
    let well_formed =
        labels.all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let (_, top) = domain.rsplit_once('.')?;
    let named = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    let local_ends = before(text, at).is_some_and(|c| c != '.');
    (well_formed && named && local_ends).then(|| start..at + 1 + domain.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// International (`+49…`, `0049…`), national (`0911 …`, `(0911) …`), or American in its groups.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    const GAP: &str = r"[ \t\x{a0}\x{2009}-\x{2015}\x{202f}/.()-]{0,3}";
    pattern(&format!(
        r"(?:\+{GAP}[1-9]|\(?00[1-9]|\(?0[1-9])(?:{GAP}[0-9]){{5,16}}|\(?[2-9][0-9]{{2}}[). -]{{1,2}}[0-9]{{3}}[ .-][0-9]{{4}}"
    ))
});

/// Words behind which a row of digits is another kind of number.
static OTHER_NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)(?: konto | kto | account | iban | bic | blz | bankleitzahl | kunden | customer | referenz | reference | ref\b
          | order | bestell | auftrag | vertrag | contract | rechnung | invoice | mandat | sendung | tracking | paket
          | parcel | beleg | vorgang | ticket | aktenzeichen | steuer | tax | karten | card\  | depot | transaktion
          | transaction | nr\.\ \#? ) [\p{L}.-]{0,12}
          (?: [\s:.\#-]{1,3} (?: number | num | no | nummer | nr | id | ist | is | lautet | war | was | mit | mit\ der | with | the )\b ){0,3}
          [\s:.\#-]{0,3}$",
    )
});

const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

pub(super) fn find_phones(scan: &mut Scan<'_>) {
    scan.sweep("phone", &PHONE, |text, hit| {
        let range = shortened(text, hit);
        let digits = slice(text, range.clone()).chars().filter(char::is_ascii_digit).count();
        let international = slice(text, range.clone()).starts_with('+');
        let left = match before(text, range.start) {
            Some(c) if c.is_alphanumeric() => false,
            Some('-' | '/' | '.' | ',' | '+' | '_' | '#' | ':') => {
                let c = before(text, range.start - 1);
                !c.is_some_and(char::is_alphanumeric) || slice(text, 0..range.start).ends_with(':')
            }
            Some('€' | '$' | '£') => false,
            _ => true,
        };
        let rest = slice(text, range.end..text.len());
        let right = match after(text, range.end) {
            Some(c) if c.is_alphanumeric() => false,
            Some('-' | '/' | '.' | ',' | '_') => !rest.chars().nth(1).is_some_and(char::is_alphanumeric),
            Some('€' | '$' | '£' | '%') => false,
            _ => true,
        };
        let other = !international && preceded_by(text, range.start, &OTHER_NUMBER);
        (PHONE_DIGITS.contains(&digits) && left && right && !other).then_some(range)
    });
}

/// Without groups that belong to what follows: a postcode before its place, or more digits than a number of
/// the national plan has (13 with the leading 0).
fn shortened(text: &str, hit: Range<usize>) -> Range<usize> {
    let mut range = hit;
    loop {
        let number = slice(text, range.clone());
        let digits = number.chars().filter(char::is_ascii_digit).count();
        let most = if number.starts_with(['+']) || number.starts_with("00") { 15 } else { 13 };
        let Some((head, tail)) = number.rsplit_once([' ', '\t', '\u{a0}']) else { return range };
        let place = tail.len() == 5 && digits >= 12 && before_a_place(text, range.end);
        let trailing = tail.is_empty();
        if digits <= most && !place && !trailing {
            return range;
        }
        range.end = range.start + head.trim_end().len();
    }
}

/// Five digits before a place, behind `D-`, or four or five behind a word for them. Four digits before a
/// place (Austria, Switzerland) only behind a house number and a comma, as years stand before nouns too.
static POSTCODE: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9]{4,5}"));

static POSTCODE_CUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)(?:\b(?:plz|postleitzahl|postcode|postal code|zip(?: code)?)(?:[\s:]+(?:ist|is|lautet|war|was))?[\s:]*|\b(?:wohne|wohnhaft|lebe|live|living) (?:in|near) )$",
    )
});

static HOUSE_NUMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\p{L}[\p{L}.]* [0-9]{1,3} ?[a-z]?(?:,? in|,|\n)\s{0,2}$"));

/// Nouns that are counted, so that digits before them are no postcode.
const COUNTED: &[&str] = &[
    "Euro",
    "Euros",
    "EUR",
    "USD",
    "CHF",
    "GBP",
    "Dollar",
    "Franken",
    "Pfund",
    "Cent",
    "Stück",
    "Uhr",
    "Punkte",
    "Meilen",
    "Kunden",
    "Kilometer",
    "Km",
    "Tage",
    "Jahre",
    "Mark",
    "Kronen",
    "Zloty",
    "Yen",
    "Aktien",
    "Anteile",
    "Payback",
];

pub(super) fn find_postcodes(scan: &mut Scan<'_>) {
    scan.sweep("postcode", &POSTCODE, |text, hit| {
        let left = before(text, hit.start);
        let apart = !left.is_some_and(|c| c.is_alphanumeric() || "./€$£#".contains(c))
            && !after(text, hit.end).is_some_and(|c| c.is_alphanumeric() || "/-€%".contains(c));
        if !apart {
            return None;
        }
        let cued = preceded_by(text, hit.start, &POSTCODE_CUE);
        let country = if hit.len() == 5 { &["D-", "DE-", "I-", "F-"][..] } else { &["A-", "AT-", "CH-"][..] };
        let head = slice(text, 0..hit.start);
        let country =
            country.iter().any(|code| head.strip_suffix(code).is_some_and(|rest| !rest.ends_with(is_word)));
        let place = (country || left != Some('-'))
            && before_a_place(text, hit.end)
            && !slice(text, hit.clone()).starts_with("00")
            && !preceded_by(text, hit.start, &OTHER_NUMBER)
            && (hit.len() == 5 || country || preceded_by(text, hit.start, &HOUSE_NUMBER));
        (cued || place).then_some(hit)
    });
}

/// Whether a space and a capitalised word that is no counted noun follow.
fn before_a_place(text: &str, at: usize) -> bool {
    let gap = after(text, at).is_some_and(|c| matches!(c, ' ' | '\u{a0}' | '\t'));
    let rest = slice(text, next_boundary(text, at)..text.len());
    let word = rest
        .split(|c: char| !c.is_alphanumeric() && !matches!(c, '\u{300}'..='\u{36f}'))
        .next()
        .unwrap_or_default();
    let capitalised = word.chars().next().is_some_and(char::is_uppercase)
        && word.chars().nth(1).is_some_and(char::is_lowercase);
    gap && capitalised && !COUNTED.contains(&word)
}
