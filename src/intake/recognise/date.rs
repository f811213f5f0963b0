//! Calendar dates in figures and words, German and English: `21.09.2026`, `21.9.`, `2026-09-21`,
//! `21. September 2026`, `Sept 3rd`, `03/09/2026`. Relative words (`gestern`) are not dates here.

use super::{Scan, before, pattern, preceded_by, slice};
use jiff::civil::Date;
use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// First letters of the months' names; `ä` also as two characters or as `ae`.
const MONTHS: &[(&str, i8)] = &[
    ("jan", 1),
    ("jän", 1),
    ("feb", 2),
    ("mar", 3),
    ("mär", 3),
    ("apr", 4),
    ("mai", 5),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("okt", 10),
    ("oct", 10),
    ("nov", 11),
    ("dez", 12),
    ("dec", 12),
];

const MONTH: &str = r"(?i:january?|januar|jan\.?|jänner|february|februar|feb\.?|m(?:ä|a\x{308}|ae)rz|m(?:ä|a\x{308})r\.|march|mar\.?|april|apr\.?|mai|may|juni|june|jun\.?|juli|july|jul\.?|august|aug\.?|september|sept\.?|sep\.?|oktober|october|okt\.?|oct\.?|november|nov\.?|dezember|december|dez\.?|dec\.?)";
const SPACE: &str = r"[ \t\x{a0}\x{2009}\x{202f}]";

/// One alternative a form. Named groups end in the form's number.
static FULL: LazyLock<Regex> = LazyLock::new(|| {
    let forms = [
        r"(?P<y1>[0-9]{4})[-/](?P<m1>[0-9]{2})[-/](?P<d1>[0-9]{2})".to_owned(),
        format!(
            r"(?P<d2>[0-9]{{1,2}})\.{SPACE}?(?P<m2>[0-9]{{1,2}})\.{SPACE}?(?P<y2>[0-9]{{4}}|[0-9]{{2}}\b)"
        ),
        r"(?P<d3>[0-9]{1,2})/(?P<m3>[0-9]{1,2})/(?P<y3>[0-9]{4}|[0-9]{2})".to_owned(),
        r"(?P<d4>[0-9]{1,2})-(?P<m4>[0-9]{1,2})-(?P<y4>[0-9]{4})".to_owned(),
        format!(
            "(?P<d5>[0-9]{{1,2}})(?P<th5>\\.|st|nd|rd|th)?{SPACE}?(?:of{SPACE})?(?P<name5>{MONTH})\
             (?:{SPACE}?,?{SPACE}?(?P<y5>[0-9]{{4}}))?"
        ),
        format!(
            "(?P<name6>{MONTH}){SPACE}(?:the{SPACE})?(?P<d6>[0-9]{{1,2}})(?P<th6>st|nd|rd|th)?\
             (?:,?{SPACE}(?P<y6>[0-9]{{4}}))?"
        ),
    ];
    pattern(&forms.join("|"))
});

/// Day and month in figures: `21.9.`, or `21.09` and `21/09` behind a word that announces a date.
static YEARLESS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(r"(?P<d7>[0-9]{{1,2}})(?P<mark>\.{SPACE}?|/)(?P<m7>[0-9]{{1,2}})(?P<dot>\.)?"))
});

static CUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:am|vom|seit|zum|bis|ab|den|dem|der|\p{L}*datum|termin|on|since|from|until|till|by|dated?|due|of)[\s:]+(?:the )?$",
    )
});

/// The forms that `parse_date` reads, alone in the text.
static WHOLE_FULL: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("^(?:{})$", FULL.as_str())));
static WHOLE_YEARLESS: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("^(?:{})$", YEARLESS.as_str())));

/// Day, month, and the year as far as it is written.
struct Written {
    day: i8,
    month: i8,
    year: Option<i16>,
    short_year: bool,
}

/// Reads one date as `YYYY-MM-DD`. Figures with slashes are day, month, year unless that is no date (then
/// month, day, year). A year of two digits is the latest one that lies at most ten years ahead of `today`
/// (`YYYY-MM-DD`); without a year the date nearest to `today` is meant. `None` for what is no date.
pub fn parse_date(text: &str, today: &str) -> Option<String> {
    let text = text.trim();
    let captures = WHOLE_FULL.captures(text).or_else(|| WHOLE_YEARLESS.captures(text))?;
    let written = read(&captures)?;
    let today: Date = today.parse().ok()?;
    let date = match written.year {
        Some(year) if written.short_year => {
            let latest = today.year() + 10;
            let in_century = latest.div_euclid(100) * 100 + year;
            let year = if in_century > latest { in_century - 100 } else { in_century };
            Date::new(year, written.month, written.day).ok()?
        }
        Some(year) => Date::new(year, written.month, written.day).ok()?,
        None => nearest(written.day, written.month, today)?,
    };
    Some(date.to_string())
}

/// The date of that day and month nearest to `today`; 29 February may lie up to eight years away.
fn nearest(day: i8, month: i8, today: Date) -> Option<Date> {
    let distance = |date: &Date| today.until(*date).map_or(i32::MAX, |span| span.get_days().abs());
    (-8..=8)
        .filter_map(|years| Date::new(today.year().checked_add(years)?, month, day).ok())
        .min_by_key(distance)
}

pub(super) fn find_full(scan: &mut Scan<'_>) {
    scan.sweep("date", &FULL, |text, hit| {
        let captures = WHOLE_FULL.captures(slice(text, hit.clone()))?;
        read(&captures)?;
        let named = captures.name("name5").or_else(|| captures.name("name6"));
        if named.is_some_and(|name| is_rather_a_word(text, &hit, &captures, name.as_str())) {
            return None;
        }
        // A full stop behind the name of a month ends the sentence as likely as the word.
        let end = hit.end - usize::from(slice(text, hit.clone()).ends_with('.'));
        let range = hit.start..end;
        is_apart(text, &range).then_some(range)
    });
}

pub(super) fn find_yearless(scan: &mut Scan<'_>) {
    scan.sweep("date", &YEARLESS, |text, hit| {
        let captures = WHOLE_YEARLESS.captures(slice(text, hit.clone()))?;
        read(&captures)?;
        let dotted =
            captures.name("dot").is_some() && captures.name("mark").is_some_and(|mark| mark.as_str() != "/");
        let both_long = captures.name("m7").is_some_and(|month| month.len() == 2);
        let rest: String = slice(text, hit.end..text.len()).chars().take(8).collect();
        let clock = rest.trim_start().to_lowercase();
        let timed = ["uhr", "h ", "am ", "pm", "a.m", "p.m", "%", "prozent", "percent"]
            .iter()
            .any(|unit| clock.starts_with(unit));
        // `21.09` may be a price, a rate or a time, `1/2` a fraction, and the full stop behind `21.9.` the end
        // of the sentence: then only a word in front makes them dates.
        let cued = preceded_by(text, hit.start, &CUE);
        let ends_sentence = clock.is_empty() || rest.trim_start().starts_with(char::is_uppercase);
        let dotted = dotted && (cued || !ends_sentence);
        let announced = both_long && cued;
        let range = match captures.name("mark").map(|mark| mark.as_str()) {
            Some("/") => hit.start..hit.start + captures.name("m7")?.end(),
            _ => hit.clone(),
        };
        ((dotted || announced) && !timed && is_apart(text, &range)).then_some(range)
    });
}

/// Neither in the middle of a number or word, nor a part of a longer row (`1.2.3.4`, a version, an address).
fn is_apart(text: &str, range: &Range<usize>) -> bool {
    let digit_before = |at: usize| before(text, at).is_some_and(|c| c.is_ascii_digit());
    let left = match before(text, range.start) {
        None => true,
        Some(c) if c.is_alphanumeric() => false,
        Some('.' | ',' | '/' | ':' | '-') => !digit_before(range.start - 1),
        Some('€' | '$' | '£') => false,
        Some(_) => true,
    };
    let rest = slice(text, range.end..text.len());
    let mut next = rest.chars();
    let right = match next.next() {
        None => true,
        // ISO 8601: a time of day may follow the date.
        Some('T') => rest.len() > 1 && slice(rest, 1..2).bytes().all(|b| b.is_ascii_digit()),
        Some(c) if c.is_alphanumeric() => false,
        Some('.' | ',' | '/' | '-') => !next.next().is_some_and(|c| c.is_ascii_digit()),
        Some('€' | '$' | '£' | '%') => false,
        Some(_) => true,
    };
    left && right
}

/// English `may`, `march` and `mar` are words too: written small they name a month only with an ordinal, a
/// year, or a word in front that announces a date.
fn is_rather_a_word(text: &str, hit: &Range<usize>, captures: &Captures<'_>, name: &str) -> bool {
    let doubtful = matches!(name, "may" | "march" | "mar" | "dec" | "sep" | "jan" | "mai");
    let firm = ["th5", "th6", "y5", "y6"].iter().any(|group| captures.name(group).is_some());
    doubtful && !firm && !preceded_by(text, hit.start, &CUE)
}

fn read(captures: &Captures<'_>) -> Option<Written> {
    let number = |name: &str| captures.name(name).and_then(|group| group.as_str().parse::<i16>().ok());
    let any = |kind: char| (1..=7).find_map(|form| number(&format!("{kind}{form}")));
    let small = |value: i16| i8::try_from(value).ok();
    let mut day = small(any('d')?)?;
    let name = captures.name("name5").or_else(|| captures.name("name6"));
    let mut month = match name {
        Some(name) => month_of(name.as_str())?,
        None => small(any('m')?)?,
    };
    let year = any('y');
    let short_year =
        ["y2", "y3"].iter().any(|name| captures.name(name).is_some_and(|group| group.len() == 2));
    if captures.name("m3").is_some() && month > 12 {
        std::mem::swap(&mut day, &mut month);
    }
    // 2000 has a 29 February: without a year, or with a short one, that is the most a date can be.
    let checked_year = year.filter(|_| !short_year).unwrap_or(2000);
    let plausible = (1900..2200).contains(&checked_year) && Date::new(checked_year, month, day).is_ok();
    plausible.then_some(Written { day, month, year, short_year })
}

fn month_of(name: &str) -> Option<i8> {
    let head: String =
        name.to_lowercase().replace("a\u{308}", "ä").replace("ae", "ä").chars().take(3).collect();
    MONTHS.iter().find(|(prefix, _)| *prefix == head).map(|(_, month)| *month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_in_both_languages() {
        for (text, date) in [
            ("21.09.2026", "2026-09-21"),
            ("21.9.26", "2026-09-21"),
            ("2026-09-21", "2026-09-21"),
            ("21. September 2026", "2026-09-21"),
            ("21 September", "2026-09-21"),
            ("Sept 3rd", "2026-09-03"),
            ("03/09/2026", "2026-09-03"),
            ("09/21/2026", "2026-09-21"),
            ("3. Ma\u{308}rz", "2027-03-03"),
            ("3. Maerz 2025", "2025-03-03"),
            ("1. Jänner 2026", "2026-01-01"),
            ("August 3, 2026", "2026-08-03"),
            ("21.9.", "2026-09-21"),
            ("30.12.", "2026-12-30"),
            ("2.1.", "2027-01-02"),
            ("01.01.78", "1978-01-01"),
            ("29.02.", "2028-02-29"),
            ("1st of May 2020", "2020-05-01"),
            ("2026/09/21", "2026-09-21"),
            ("21-09-2026", "2026-09-21"),
            ("4 Nov", "2026-11-04"),
            ("31.12.36", "2036-12-31"),
            ("31.12.37", "1937-12-31"),
        ] {
            assert_eq!(parse_date(text, "2026-10-20").unwrap_or_default(), date, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "31.02.2026",
            "2026-13-01",
            "0.9.",
            "32.1.",
            "12,50",
            "September",
            "1.2.3.4",
            "30. Februar",
            "29.02.2026",
        ] {
            assert_eq!(parse_date(text, "2026-10-20"), None, "{text}");
        }
        assert_eq!(parse_date("21.9.2026", "today"), None);
    }

    #[test]
    fn a_date_without_a_year_is_the_nearest() {
        assert_eq!(parse_date("28.12.", "2026-01-03").as_deref(), Some("2025-12-28"));
        assert_eq!(parse_date("3.1.", "2025-12-28").as_deref(), Some("2026-01-03"));
    }
}
