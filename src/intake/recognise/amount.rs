//! Amounts of money in figures, with a currency's sign, code or word: `1.234,56 €`, `€1,234.56`, `EUR 20,-`.

use super::{Scan, after, before, pattern, slice};
use crate::base::{Currency, Money};
use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// Spaces that people and word processors put into numbers.
const SPACE: &str = r"[ \t\x{a0}\x{2009}\x{202f}]";

/// Digits, grouped by thousands or not, with cents or a dash in their place.
const NUMBER: &str = r"(?:[0-9]{1,3}(?:[.,'’\x20\x{a0}\x{2009}\x{202f}][0-9]{3}){1,4}(?:[.,][0-9]{1,2})?|[0-9]{1,12}(?:[.,][0-9]{1,2})?)";
const DASH: &str = r"(?:[.,](?:--?|–|—))?";
const TIMES: &str = r"(?:[kK]|Tsd\.?|Mio\.?|(?i:tausend|thousand|millionen|million))";

/// Codes that may also be written small. Others only in capitals: `try`, `all` and `sek` are words.
const CODES: &str = r"(?:(?i:eur|usd|gbp|chf)|JPY|PLN|CZK|SEK|NOK|DKK|HUF|RON|BGN|TRY|RUB|UAH|ISK|AUD|CAD|NZD|SGD|HKD|CNY|INR|THB|ZAR|BRL|MXN|ILS|AED|SAR|KRW|KWD|BHD|TND)";
const SIGNS: &str = r"(?:(?:US|CA|AU|NZ)?\$|€|£|¥|zł)";
const WORDS: &str = r"(?i:euros?|cents?|(?:US[ -]?)?dollars?|bucks|(?:british )?pounds?(?: sterling)?|quid|pence|pfund|franken?|francs?|rappen|yen|z[lł]oty)";

/// Value in figures, then the currency; or the other way round.
static AMOUNT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        "(?:(?P<before>EURO|SFr\\.?|{CODES}|{SIGNS}){SPACE}{{0,2}}(?P<n1>{NUMBER}){DASH}(?:{SPACE}?(?P<k1>{TIMES}))?\
         |(?P<n2>{NUMBER}){DASH}(?:{SPACE}?(?P<k2>{TIMES}))?{SPACE}{{0,2}}(?P<after>{SIGNS}|(?:{WORDS}|{CODES})\\b))"
    ))
});

static WHOLE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!("^(?P<sign>[-−–]?){SPACE}?(?:{})$", AMOUNT.as_str())));

/// Reads one amount, with nothing around it but spaces. A single separator with three digits behind it
/// groups thousands (`1.234 €` and `€1,234`); with one or two digits it parts off the cents. `$` means US
/// dollars and cents are euro cents. `None` for anything else, and for more decimals than the currency has.
pub fn parse_amount(text: &str) -> Option<Money> {
    let captures = WHOLE.captures(text.trim())?;
    let minor = minor_of(&captures)?;
    let sign = captures.name("sign").map_or(1, |sign| if sign.is_empty() { 1 } else { -1 });
    Some(Money::new(minor.checked_mul(sign)?, currency_of(&captures)?.0))
}

pub(super) fn find(scan: &mut Scan<'_>) {
    scan.sweep("amount", &AMOUNT, |text, hit| {
        // The shortest readings first would cut `50 k`; the multiplier is dropped only when a word goes on.
        let range = trimmed(text, hit)?;
        let starts = starts_a_number(text, range.start);
        let ends = ends_a_number(text, range.end);
        (starts && ends && parse_amount(slice(text, range.clone())).is_some()).then_some(range)
    });
}

/// Without a multiplier or a separator that belongs to what follows: `€5 kaufen` has no thousand.
fn trimmed(text: &str, hit: Range<usize>) -> Option<Range<usize>> {
    let captures = AMOUNT.captures(slice(text, hit.clone()))?;
    let word_goes_on = after(text, hit.end).is_some_and(char::is_alphanumeric);
    match captures.name("k1") {
        Some(_) if word_goes_on => Some(hit.start..hit.start + captures.name("n1")?.end()),
        _ => Some(hit),
    }
}

fn starts_a_number(text: &str, at: usize) -> bool {
    match before(text, at) {
        None => true,
        Some(c) if c.is_alphanumeric() => false,
        Some(c) if matches!(c, '.' | ',' | '/' | ':' | '\'' | '’') => {
            !before(text, at - c.len_utf8()).is_some_and(|c| c.is_ascii_digit())
        }
        Some(_) => true,
    }
}

fn ends_a_number(text: &str, at: usize) -> bool {
    match after(text, at) {
        Some(c) if c.is_alphanumeric() => false,
        Some('.' | ',') => !after(text, at + 1).is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    }
}

/// The currency, and whether the word means its hundredth part.
fn currency_of(captures: &Captures<'_>) -> Option<(Currency, bool)> {
    let word = captures.name("before").or_else(|| captures.name("after"))?.as_str();
    let lower = word.to_lowercase();
    let (code, hundredth) = match lower.trim_end_matches('.') {
        "€" | "euro" | "euros" => ("EUR", false),
        "cent" | "cents" => ("EUR", true),
        "$" | "us$" | "bucks" => ("USD", false),
        "ca$" => ("CAD", false),
        "au$" => ("AUD", false),
        "nz$" => ("NZD", false),
        "£" | "quid" | "pfund" => ("GBP", false),
        "pence" => ("GBP", true),
        "sfr" | "franke" | "franken" | "franc" | "francs" => ("CHF", false),
        "rappen" => ("CHF", true),
        "¥" | "yen" => ("JPY", false),
        "zł" | "zloty" | "złoty" => ("PLN", false),
        other if other.contains("dollar") => ("USD", false),
        other if other.contains("pound") => ("GBP", false),
        _ => return Currency::parse(&word.to_uppercase()).map(|currency| (currency, false)),
    };
    Currency::parse(code).map(|currency| (currency, hundredth))
}

fn minor_of(captures: &Captures<'_>) -> Option<i64> {
    let (currency, hundredth) = currency_of(captures)?;
    let number = captures.name("n1").or_else(|| captures.name("n2"))?.as_str();
    let (whole, decimals) = parts_of(number)?;
    let times = captures
        .name("k1")
        .or_else(|| captures.name("k2"))
        .map_or(0, |word| if word.as_str().to_lowercase().starts_with('m') { 6 } else { 3 });
    let places = if hundredth { 0 } else { currency.exponent() } + times;
    let kept = decimals.get(0..decimals.len().min(places as usize))?;
    if decimals.get(kept.len()..)?.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let padding = "0".repeat(places as usize - kept.len());
    format!("{whole}{kept}{padding}").parse().ok()
}

/// Splits a number into its digits before and behind the decimal sign.
fn parts_of(number: &str) -> Option<(String, String)> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let marks: Vec<(usize, char)> = number.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
    let Some((at, mark)) = marks.last().copied() else { return Some((number.to_owned(), String::new())) };
    let tail = slice(number, at + mark.len_utf8()..number.len());
    let head = slice(number, 0..at);
    let grouping = &marks.get(..marks.len() - 1)?;
    if tail.len() == 3 {
        // `0.500` is no thousand, and thousands are parted off by one sign throughout.
        let uniform = grouping.iter().all(|(_, other)| *other == mark);
        return (uniform && !number.starts_with('0')).then(|| (digits(number), String::new()));
    }
    let uniform = grouping.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
    let differs = grouping.iter().all(|(_, other)| *other != mark);
    (uniform && differs && matches!(mark, '.' | ',')).then(|| (digits(head), tail.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_in_both_languages() {
        for (text, minor, code) in [
            ("1.234,56 €", 123_456, "EUR"),
            ("€1,234.56", 123_456, "EUR"),
            ("49,99 Euro", 4_999, "EUR"),
            ("EUR 20,-", 2_000, "EUR"),
            ("20,-- EUR", 2_000, "EUR"),
            ("20 euros", 2_000, "EUR"),
            ("1.234 €", 123_400, "EUR"),
            ("€1,234", 123_400, "EUR"),
            ("1,5 €", 150, "EUR"),
            ("CHF 2'450", 245_000, "CHF"),
            ("CHF 310.–", 31_000, "CHF"),
            ("1 234,50 €", 123_450, "EUR"),
            ("$3,200", 320_000, "USD"),
            ("£0.99", 99, "GBP"),
            ("35 Cent", 35, "EUR"),
            ("900,000 yen", 900_000, "JPY"),
            ("JPY 100.00", 100, "JPY"),
            ("€5k", 500_000, "EUR"),
            ("1,5 Mio. Euro", 150_000_000, "EUR"),
            ("-12,00 €", -1_200, "EUR"),
            ("2 US dollars", 200, "USD"),
            ("20 pounds", 2_000, "GBP"),
            (" 7 eur ", 700, "EUR"),
            ("1.234.567,89 EUR", 123_456_789, "EUR"),
            ("KWD 1.25", 1_250, "KWD"),
        ] {
            let money = parse_amount(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((money.minor, money.currency.code()), (minor, code), "{text}");
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused() {
        for text in [
            "",
            "20",
            "fünfzig Euro",
            "1.23.4 €",
            "1,234.567 €",
            "1.234.56 €",
            "0,500 €",
            "€",
            "20 €uro",
            "12.05.2026",
            "0,5 Cent",
            "999999999999 Mio. Euro Euro",
            "99 %",
            "20 € 30 €",
            "1,2,3 €",
        ] {
            assert_eq!(parse_amount(text), None, "{text}");
        }
    }
}
