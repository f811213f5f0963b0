//! German accounts as they were written before the IBAN, and often still are: a bank code (Bankleitzahl) beside
//! an account number, each behind its word. `BLZ 500 105 17, Kto.-Nr. 0648 489 890`.
//!
//! With the Bundesbank's file of bank codes the check digit is verified, and a number that fails is not
//! reported. A number that cannot be checked counts as one that fits its form.

use super::check_digit::CheckDigit;
use super::{Scan, after, iban, pattern, slice};
use crate::intake::bank_codes::BankCodes;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Most bytes from the first number to the second one's word: a bank's name and a line break have room.
const APART: usize = 80;

const GAP: &str = r"[ \t\x{a0}\x{ad}\x{2009}-\x{2015}\x{202f}\x{2060}-]";

/// What may stand between the word and its number.
const LINK: &str = r"[\s:.=\#(-]{0,4}(?:(?:ist|lautet|is)[\s:]{1,3}(?:die\s)?)?";

/// Eight digits. The first is the clearing area, 1 to 8.
static BANK_CODE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)\b(?:blz|bankleitzahl|bank\s?code|(?:bank\s)?sort(?:ing)?\scode){LINK}(?P<number>[1-8](?:{GAP}?[0-9]){{7}})"
    ))
});

/// A row of digits, or groups of them.
static ACCOUNT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)(?:konto|kto|account|acct)[\s.-]{{0,2}}(?:nummer|nr|number|num|no)?{LINK}(?P<number>[0-9]{{1,10}}(?:{GAP}[0-9]{{1,10}}){{0,4}})"
    ))
});

/// Digits behind which one of these stands are counted or money.
static UNIT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^\s{0,2}(?:€|%|\$|£|(?:euros?|eur|cent|chf|usd|uhr|prozent|tage?n?)\b)"));

/// A number behind its word.
struct Labelled {
    /// With the word.
    whole: Range<usize>,
    number: Range<usize>,
    is_bank_code: bool,
}

pub(super) fn find(scan: &mut Scan<'_>, banks: &BankCodes) {
    let mut numbers = labelled(scan);
    numbers.sort_by_key(|found| found.number.start);
    let mut waiting: Option<Labelled> = None;
    for found in numbers {
        if found.is_bank_code {
            scan.take("bank_code", found.number.clone());
        }
        let pair = waiting.take().filter(|earlier| {
            earlier.is_bank_code != found.is_bank_code
                && found.whole.start.saturating_sub(earlier.number.end) <= APART
        });
        match pair {
            Some(earlier) if found.is_bank_code => report(scan, banks, found.number, earlier.number),
            Some(earlier) => report(scan, banks, earlier.number, found.number),
            None => waiting = Some(found),
        }
    }
}

/// Every bank code and every account number behind its word that nobody has taken.
fn labelled(scan: &Scan<'_>) -> Vec<Labelled> {
    let mut found = Vec::new();
    for (pattern, is_bank_code) in [(&BANK_CODE, true), (&ACCOUNT, false)] {
        for captures in pattern.captures_iter(scan.text) {
            let (Some(whole), Some(number)) = (captures.get(0), captures.name("number")) else { continue };
            let narrowed = if is_bank_code { bank_code } else { account };
            if let Some(number) = narrowed(scan.text, number.range())
                && scan.is_free(&number)
            {
                found.push(Labelled { whole: whole.range(), number, is_bank_code });
            }
        }
    }
    found
}

fn bank_code(text: &str, number: Range<usize>) -> Option<Range<usize>> {
    (!after(text, number.end).is_some_and(char::is_alphanumeric)).then_some(number)
}

/// The groups that make up the number: 4 to 10 digits. Behind a space only groups of up to four digits go on;
/// what follows a longer row is another number.
fn account(text: &str, number: Range<usize>) -> Option<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, _) in slice(text, number.clone()).char_indices().filter(|(_, c)| c.is_ascii_digit()) {
        let at = number.start + at;
        match groups.last_mut() {
            Some(group) if group.end == at => group.end += 1,
            _ => groups.push(at..at + 1),
        }
    }
    let mut kept: Vec<Range<usize>> = Vec::new();
    for group in groups {
        let joined = kept.last().is_none_or(|last| {
            slice(text, last.end..group.start) == "-" || last.len() <= 4 && group.len() <= 4
        });
        if !joined {
            break;
        }
        kept.push(group);
    }
    if kept.last().is_some_and(|last| UNIT.is_match(slice(text, last.end..text.len()))) {
        kept.pop();
    }
    let (start, end) = (kept.first()?.start, kept.last()?.end);
    let digits: usize = kept.iter().map(Range::len).sum();
    let rest = slice(text, end..text.len());
    let goes_on = match after(text, end) {
        Some(c) if c.is_alphanumeric() => true,
        Some('.' | ',' | '/' | '-') => rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    };
    ((4..=10).contains(&digits) && !goes_on).then_some(start..end)
}

fn report(scan: &mut Scan<'_>, banks: &BankCodes, bank_code: Range<usize>, account: Range<usize>) {
    let digits =
        |range: &Range<usize>| slice(scan.text, range.clone()).chars().filter(char::is_ascii_digit).collect();
    let (code, number): (String, String) = (digits(&bank_code), digits(&account));
    if number.bytes().all(|digit| digit == b'0') {
        return;
    }
    match banks.check(&code, &number) {
        // Mistyped, it is still nothing else.
        CheckDigit::Fails => scan.block(account),
        CheckDigit::Holds if banks.has_plain_iban(&code) => {
            scan.take("account_number", account.clone());
            scan.found.push(("iban", account, iban::german(&code, &number)));
        }
        CheckDigit::Holds | CheckDigit::HoldsCompleted | CheckDigit::Unchecked => {
            scan.take("account_number", account);
        }
    }
}
