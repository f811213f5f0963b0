//! Payment card numbers: 13 to 19 digits (ISO/IEC 7812-1) with a Luhn check digit (its annex B), the same
//! number already masked, and the last four digits where the text says that they are a card's.

use super::{Scan, after, before, iban, pattern, slice};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// First digits (lowest, highest) and lengths (shortest, longest) that the card schemes issue. Asked only
/// of a number that is part of a longer row of digits, where chance would find too many.
const ISSUED: &[(&str, &str, usize, usize)] = &[
    ("4", "4", 13, 19),
    ("51", "55", 16, 16),
    ("2221", "2720", 16, 16),
    ("34", "34", 15, 15),
    ("37", "37", 15, 15),
    ("300", "305", 14, 14),
    ("36", "36", 14, 14),
    ("38", "39", 14, 16),
    ("3528", "3589", 16, 19),
    ("50", "50", 13, 19),
    ("56", "69", 13, 19),
];

/// A digit of a number in groups: its byte range, its value, and the group it belongs to.
struct Digit {
    range: Range<usize>,
    value: u32,
    group: usize,
}

/// Digits with at most two separators between neighbours.
struct Row {
    digits: Vec<Digit>,
    /// A letter stands directly before or behind.
    glued: bool,
    /// Begins with `+`.
    phone: bool,
}

/// For each card number of the text the byte ranges of its digits, in order. IBANs are left alone, also
/// mistyped ones, and so are international phone numbers.
///
/// A row of 13 to 19 digits of its own is a card number when its check digit holds and it does not begin
/// with 0 (one in ten other numbers of that length does so by chance: masking too much is the safe side). In
/// a longer row, or one that letters touch, whole groups count that also begin as the schemes' numbers do.
pub(crate) fn card_digits(text: &str) -> Vec<Vec<Range<usize>>> {
    let ibans = iban::shapes(text);
    let mut cards = Vec::new();
    for row in rows(text) {
        let Some((first, last)) = row.digits.first().zip(row.digits.last()) else { continue };
        let whole = first.range.start..last.range.end;
        let next = ibans.partition_point(|shape| shape.range.end <= whole.start);
        if ibans.get(next).is_none_or(|shape| shape.range.start >= whole.end) {
            cards.extend(cards_in(&row));
        }
    }
    cards
}

/// The same for card numbers whose digits stand in several cells of a table's row, or fields of a form; `known` are those
/// that `card_digits` found. Only what begins as the schemes' numbers do counts: tables are full of numbers.
pub(crate) fn card_digits_in_cells(text: &str, known: &[Vec<Range<usize>>]) -> Vec<Vec<Range<usize>>> {
    if !text.contains(BAR) {
        return Vec::new();
    }
    let (joined, places) = without_bars(text, known);
    let mut cards = Vec::new();
    for row in rows(&joined) {
        let found = cards_in(&Row { glued: true, ..row });
        cards.extend(found.into_iter().filter_map(|card| {
            let place =
                |digit: &Range<usize>| Some(*places.get(digit.start)?..*places.get(digit.end - 1)? + 1);
            let card: Vec<Range<usize>> = card.iter().filter_map(place).collect();
            let whole = card.first()?.start..card.last()?.end;
            slice(text, whole).contains(BAR).then_some(card)
        }));
    }
    cards
}

/// What parts the cells of a row.
const BAR: char = '|';
/// Stands where a number of another kind does.
const OTHER: char = '#';

/// The text with a space in the place of the bars between two cells and what surrounds them, and where in `text` each of
/// its bytes stands. IBANs, phone numbers and the cards that are known are no digits in it.
fn without_bars(text: &str, known: &[Vec<Range<usize>>]) -> (String, Vec<usize>) {
    let cards = known.iter().filter_map(|card| Some(card.first()?.start..card.last()?.end));
    let mut taken: Vec<Range<usize>> = iban::shapes(text).into_iter().map(|shape| shape.range).collect();
    taken.extend(cards);
    taken.sort_by_key(|range| range.start);
    let mut taken = taken.into_iter().peekable();
    let (mut joined, mut places) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let (mut behind_bar, mut phone) = (false, false);
    for (at, c) in text.char_indices() {
        while taken.next_if(|range| range.end <= at).is_some() {}
        behind_bar &= matches!(c, ' ' | '\\' | BAR);
        phone = if phone { c != BAR && c != '\n' && !c.is_alphabetic() } else { c == '+' };
        if c == BAR && !behind_bar {
            let kept = joined.trim_end_matches([' ', '\\']).len();
            joined.truncate(kept);
            places.truncate(kept);
        }
        let c = match c {
            ' ' | '\\' | BAR if behind_bar => continue,
            BAR => {
                behind_bar = true;
                ' '
            }
            _ if taken.peek().is_some_and(|range| range.contains(&at)) => OTHER,
            _ if phone && digit(c).is_some() => OTHER,
            _ => c,
        };
        joined.push(c);
        places.extend(at..at + c.len_utf8());
    }
    (joined, places)
}

fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = Row { digits: Vec::new(), glued: false, phone: false };
    let (mut gap, mut group, mut previous) = (0, 0, ' ');
    for (at, c) in text.char_indices() {
        if let Some(value) = digit(c) {
            if row.digits.is_empty() {
                row.glued = previous.is_alphabetic();
                row.phone = previous == '+';
            } else if gap > 0 {
                group += 1;
            }
            gap = 0;
            row.digits.push(Digit { range: at..at + c.len_utf8(), value, group });
        } else if !row.digits.is_empty() && gap < 2 && joins(&row, c) {
            gap += 1;
        } else if !row.digits.is_empty() {
            row.glued |= gap == 0 && c.is_alphabetic();
            rows.push(std::mem::replace(&mut row, Row { digits: Vec::new(), glued: false, phone: false }));
            gap = 0;
        }
        previous = c;
    }
    rows.push(row);
    rows.retain(|row| row.digits.len() >= 13 && !row.phone);
    rows
}

/// Whether a number may go on behind this separator. Full stops and hyphens behind one or two digits are a
/// date's: two dates in a row have as many digits as a card.
fn joins(row: &Row, c: char) -> bool {
    let group = row.digits.last().map(|digit| digit.group);
    let long = row.digits.iter().rev().take_while(|digit| Some(digit.group) == group).count() >= 3;
    if matches!(c, '-' | '.' | '\u{2010}'..='\u{2015}') { long } else { iban::is_gap(c) }
}

/// ASCII digits and their full-width forms.
fn digit(c: char) -> Option<u32> {
    match c {
        '0'..='9' => c.to_digit(10),
        '\u{ff10}'..='\u{ff19}' => Some(u32::from(c) - 0xff10),
        _ => None,
    }
}

fn cards_in(row: &Row) -> Vec<Vec<Range<usize>>> {
    let digits = &row.digits;
    let own = !row.glued && (13..=19).contains(&digits.len());
    if own && digits.first().is_some_and(|d| d.value != 0) && luhn_holds(digits) {
        return vec![digits.iter().map(|digit| digit.range.clone()).collect()];
    }
    let group_of = |at: usize| digits.get(at).map(|digit| digit.group);
    let mut cards = Vec::new();
    let mut from = 0;
    while from < digits.len() {
        let starts = from == 0 || group_of(from - 1) != group_of(from);
        let found = (13..=19).rev().filter(|_| starts).find_map(|length| {
            let window = digits.get(from..from + length)?;
            let ends = group_of(from + length - 1) != group_of(from + length);
            (ends && is_issued(window) && luhn_holds(window)).then_some(window)
        });
        match found {
            Some(window) => {
                cards.push(window.iter().map(|digit| digit.range.clone()).collect());
                from += window.len();
            }
            None => from += 1,
        }
    }
    cards
}

fn is_issued(digits: &[Digit]) -> bool {
    let head: String = digits.iter().take(4).filter_map(|d| char::from_digit(d.value, 10)).collect();
    ISSUED.iter().any(|(lowest, highest, shortest, longest)| {
        let head = slice(&head, 0..lowest.len());
        (*lowest..=*highest).contains(&head) && (*shortest..=*longest).contains(&digits.len())
    })
}

/// The check of ISO/IEC 7812-1, annex B: every second digit from the right doubled, sum divisible by ten.
fn luhn_holds(digits: &[Digit]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit.value,
            _ => digit.value * 2 / 10 + digit.value * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `•••• •••• •••• 1234`, `**** 1234`, `xxxx-xxxx-xxxx-1234`.
static MASKED: LazyLock<Regex> = LazyLock::new(|| {
    const GAP: &str = r"[ \t\r\n\x{a0}\x{ad}\x{2009}-\x{2015}\x{202f}\x{2060}.-]{0,2}";
    pattern(&format!("(?:[•*]|[xX]{{3}})(?:{GAP}[•*xX]){{0,16}}{GAP}[0-9](?:{GAP}[0-9]){{3}}"))
});

/// Words that announce the last four digits of a card.
static CUED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)
        (?: \b(?: endziffern? | endung | endend | endet | mit\ ende | ending | ends | last\ (?:four|4)
              | final | letzten?n?\ (?:vier|4) | letzten )
            (?: [\s:]+ (?: digits? | numbers? | ziffern | stellen | zahlen | in | with | on | auf | mit | are | is | ist | sind
                | lauten | nummer | number ) ){0,3} [\s:(\x22'„“]{1,3}
          | (?:karten?(?:nummer|nr\.?)? | cards?(?:\ (?:number|no\.?))? ) \ ?[(:]?\ ? (?: \#|nr\.?\ |no\.?\ )?
        )
        [0-9]{4} \b",
    )
});

pub(super) fn find(scan: &mut Scan<'_>) {
    for digits in card_digits(scan.text) {
        report(scan, &digits);
    }
    let text = scan.text;
    for hit in MASKED.find_iter(text) {
        let masks = hit.as_str().chars().filter(|c| matches!(c, '•' | '*' | 'x' | 'X')).count();
        let lettered = before(text, hit.start()).is_some_and(char::is_alphabetic);
        let goes_on = after(text, hit.end()).is_some_and(char::is_alphanumeric);
        if masks >= 3 && !lettered && !goes_on {
            let digits = hit.as_str().char_indices().filter(|(_, c)| c.is_ascii_digit());
            let digits: Vec<_> = digits.map(|(at, _)| hit.start() + at..hit.start() + at + 1).collect();
            report_masked(scan, hit.range(), &digits);
        }
    }
    scan.sweep("card_last4", &CUED, |text, hit| {
        let part = hit.end.checked_sub(4)?..hit.end;
        let bare = !slice(text, hit.start..part.start).chars().any(|c| c == 'n' || c == 'N');
        let year = slice(text, part.clone()).parse::<u32>().is_ok_and(|year| (1990..2040).contains(&year));
        let goes_on = matches!(after(text, part.end), Some('.' | ',' | '/' | '-'))
            && slice(text, part.end + 1..text.len()).starts_with(|c: char| c.is_ascii_digit());
        let told = !bare || !year;
        (told && !goes_on).then_some(part)
    });
}

/// Reports the last four digits of a card whose digits are given.
fn report(scan: &mut Scan<'_>, digits: &[Range<usize>]) {
    if let Some((first, last)) = digits.first().zip(digits.last()) {
        report_masked(scan, first.start..last.end, digits);
    }
}

fn report_masked(scan: &mut Scan<'_>, whole: Range<usize>, digits: &[Range<usize>]) {
    let four = digits.get(digits.len().saturating_sub(4)..).unwrap_or_default();
    let Some((first, last)) = four.first().zip(four.last()) else { return };
    let symbols = four.iter().flat_map(|range| slice(scan.text, range.clone()).chars());
    let value = symbols.filter_map(digit).filter_map(|value| char::from_digit(value, 10)).collect();
    if scan.is_free(&whole) {
        let part = first.start..last.end;
        scan.take_part("card_last4", whole, part, value);
    }
}
