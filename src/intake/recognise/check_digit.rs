//! Check digits of German account numbers, as the Deutsche Bundesbank publishes them
//! ("Prüfzifferberechnungsmethoden zur Prüfung von Kontonummern auf ihre Richtigkeit", June 2018). Each bank
//! names its method by two characters in the Bundesbank's file of bank codes.
//!
//! As in that document, positions count from 1 at the left of the number filled up with zeros to ten digits.

#![expect(clippy::indexing_slicing, reason = "positions are constants from 1 to 10 in arrays of ten")]

/// What a method says of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckDigit {
    Holds,
    /// It holds once the zeros of the sub-account, which people leave out, are put behind the number.
    HoldsCompleted,
    Fails,
    /// The method is not known here, or by it this number has no check digit.
    Unchecked,
}

use CheckDigit::{Fails, Holds, HoldsCompleted, Unchecked};

/// Checks an account number of 1 to 10 digits by the method of its bank. The bank's code is part of the
/// account number of old by method C0 alone. What is no number of 1 to 10 digits fails.
pub(crate) fn check(method: &str, bank_code: &str, account: &str) -> CheckDigit {
    Account::parse(account).map_or(Fails, |account| by_method(method, bank_code, &account))
}

fn by_method(method: &str, bank_code: &str, account: &Account) -> CheckDigit {
    if let Some((_, sum)) = SUMS.iter().find(|(name, _)| *name == method) {
        return verdict(sum.holds(account));
    }
    if let Some((_, methods)) = CHAINS.iter().find(|(name, _)| *name == method) {
        let results = methods.iter().map(|method| by_method(method, bank_code, account));
        return results.into_iter().find(|result| *result != Fails).unwrap_or(Fails);
    }
    if method.bytes().all(|b| b.is_ascii_digit()) {
        return by_numbers_form(method, account);
    }
    by_lettered(method, bank_code, account)
}

fn verdict(holds: bool) -> CheckDigit {
    if holds { Holds } else { Fails }
}

/// Ten digits.
#[derive(Clone, Copy)]
struct Account {
    digits: [u8; 10],
    number: u64,
}

impl Account {
    fn parse(text: &str) -> Option<Self> {
        let right = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        Self::of(text.parse().ok().filter(|_| right)?)
    }

    /// `None` for more than ten digits.
    fn of(number: u64) -> Option<Self> {
        let mut digits = [0; 10];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = (rest % 10) as u8;
            rest /= 10;
        }
        (rest == 0).then_some(Self { digits, number })
    }

    fn at(&self, position: usize) -> u8 {
        self.digits[position - 1]
    }

    /// Without leading zeros.
    fn length(&self) -> usize {
        10 - self.digits.iter().take_while(|digit| **digit == 0).count()
    }

    /// With so many zeros put behind; `None` where that makes it longer than ten digits.
    fn completed(&self, zeros: u32) -> Option<Self> {
        Self::of(self.number * 10_u64.pow(zeros))
    }

    /// As it is, else with the zeros of a sub-account.
    fn or_completed(&self, zeros: u32, check: impl Fn(&Self) -> CheckDigit) -> CheckDigit {
        match (check(self), self.completed(zeros).map(|account| check(&account))) {
            (Holds, _) => Holds,
            (_, Some(Holds)) => HoldsCompleted,
            (Fails, Some(other)) => other,
            (first, _) => first,
        }
    }
}

/// A weighted sum, and how the check digit follows from it.
struct Sum {
    /// Factors from the last position that counts leftwards, over and over.
    factors: &'static [u32],
    /// First and last position that count.
    positions: (usize, usize),
    /// What of a product counts.
    part: fn(u32) -> u32,
    modulus: u32,
    /// The check digit where the modulus less the remainder is 10; `None`: such a number is not issued.
    ten: Option<u8>,
    /// Position of the check digit.
    check: usize,
}

/// Modulus 10 over the products.
const fn tens(factors: &'static [u32], positions: (usize, usize), check: usize) -> Sum {
    Sum { factors, positions, part: whole, modulus: 10, ten: None, check }
}

/// Modulus 10 over the products' digit sums.
const fn digit_sums(factors: &'static [u32], positions: (usize, usize), check: usize) -> Sum {
    Sum { factors, positions, part: digit_sum, modulus: 10, ten: None, check }
}

/// Modulus 11; a check digit of two digits becomes 0.
const fn elevens(factors: &'static [u32], positions: (usize, usize), check: usize) -> Sum {
    Sum { factors, positions, part: whole, modulus: 11, ten: Some(0), check }
}

/// Modulus 11; a number whose check digit would have two digits is not issued.
const fn strict_elevens(factors: &'static [u32], positions: (usize, usize), check: usize) -> Sum {
    Sum { factors, positions, part: whole, modulus: 11, ten: None, check }
}

fn whole(product: u32) -> u32 {
    product
}

fn digit_sum(product: u32) -> u32 {
    product / 10 + product % 10
}

fn units(product: u32) -> u32 {
    product % 10
}

impl Sum {
    fn total(&self, account: &Account) -> u32 {
        let (first, last) = self.positions;
        let digits = account.digits[first - 1..last].iter().rev();
        digits.zip(self.factors.iter().cycle()).map(|(digit, f)| (self.part)(u32::from(*digit) * f)).sum()
    }

    fn remainder(&self, account: &Account) -> u32 {
        self.total(account) % self.modulus
    }

    fn holds(&self, account: &Account) -> bool {
        let digit = match (self.modulus - self.remainder(account)) % self.modulus {
            10 => self.ten,
            digit => Some(digit as u8),
        };
        digit == Some(account.at(self.check))
    }
}

const LUHN: &[u32] = &[2, 1];
const TO_6: &[u32] = &[2, 3, 4, 5, 6];
const TO_7: &[u32] = &[2, 3, 4, 5, 6, 7];
const TO_8: &[u32] = &[2, 3, 4, 5, 6, 7, 8];
const TO_9: &[u32] = &[2, 3, 4, 5, 6, 7, 8, 9];
const TO_10: &[u32] = &[2, 3, 4, 5, 6, 7, 8, 9, 10];
/// Powers of two, modulo 11.
const POWERS: &[u32] = &[2, 4, 8, 5, 10, 9, 7, 3, 6];

const METHOD_00: Sum = digit_sums(LUHN, (1, 9), 10);
const METHOD_06: Sum = elevens(TO_7, (1, 9), 10);
const METHOD_10: Sum = elevens(TO_10, (1, 9), 10);
const METHOD_19: Sum = elevens(&[2, 3, 4, 5, 6, 7, 8, 9, 1], (1, 9), 10);
const METHOD_20: Sum = elevens(&[2, 3, 4, 5, 6, 7, 8, 9, 3], (1, 9), 10);
const METHOD_28: Sum = elevens(TO_8, (1, 7), 8);
const METHOD_32: Sum = elevens(TO_7, (4, 9), 10);
const METHOD_33: Sum = elevens(TO_6, (5, 9), 10);
const METHOD_42: Sum = elevens(TO_9, (2, 9), 10);
const METHOD_67: Sum = digit_sums(LUHN, (1, 7), 8);
/// Method 00 without what stands before position 4: part of several methods.
const LAST_SIX: Sum = digit_sums(LUHN, (4, 9), 10);

/// Methods that are one sum.
const SUMS: &[(&str, Sum)] = &[
    ("00", METHOD_00),
    ("01", tens(&[3, 7, 1], (1, 9), 10)),
    ("02", strict_elevens(TO_9, (1, 9), 10)),
    ("03", tens(LUHN, (1, 9), 10)),
    ("04", strict_elevens(TO_7, (1, 9), 10)),
    ("05", tens(&[7, 3, 1], (1, 9), 10)),
    ("06", METHOD_06),
    ("07", strict_elevens(TO_10, (1, 9), 10)),
    ("10", METHOD_10),
    ("11", Sum { ten: Some(9), ..METHOD_10 }),
    ("14", strict_elevens(TO_7, (4, 9), 10)),
    ("15", elevens(&[2, 3, 4, 5], (6, 9), 10)),
    ("18", tens(&[3, 9, 7, 1], (1, 9), 10)),
    ("19", METHOD_19),
    ("20", METHOD_20),
    ("22", Sum { part: units, ..tens(&[3, 1], (1, 9), 10) }),
    ("28", METHOD_28),
    ("30", tens(&[2, 1, 2, 1, 0, 0, 0, 0, 2], (1, 9), 10)),
    ("32", METHOD_32),
    ("33", METHOD_33),
    ("34", elevens(POWERS, (1, 7), 8)),
    ("36", elevens(POWERS, (6, 9), 10)),
    ("37", elevens(POWERS, (5, 9), 10)),
    ("38", elevens(POWERS, (4, 9), 10)),
    ("39", elevens(POWERS, (3, 9), 10)),
    ("40", elevens(POWERS, (1, 9), 10)),
    ("42", METHOD_42),
    ("43", tens(&[1, 2, 3, 4, 5, 6, 7, 8, 9], (1, 9), 10)),
    ("44", elevens(POWERS, (5, 9), 10)),
    ("46", elevens(TO_6, (3, 7), 8)),
    ("47", elevens(TO_6, (4, 8), 9)),
    ("48", elevens(TO_7, (3, 8), 9)),
    ("60", digit_sums(LUHN, (3, 9), 10)),
    ("64", elevens(POWERS, (1, 6), 7)),
    ("67", METHOD_67),
    ("92", tens(&[3, 7, 1], (4, 9), 10)),
    ("94", digit_sums(&[1, 2], (1, 9), 10)),
];

/// Methods that are others, one after the other until one holds.
const CHAINS: &[(&str, &[&str])] = &[
    ("49", &["00", "01"]),
    ("A2", &["00", "04"]),
    ("A3", &["00", "10"]),
    ("A7", &["00", "03"]),
    ("B1", &["05", "01", "00"]),
    ("C2", &["22", "00", "04"]),
    ("C7", &["63", "06"]),
    ("C8", &["00", "04", "07"]),
    ("C9", &["00", "07"]),
    ("D2", &["95", "00", "68"]),
    ("D6", &["07", "03", "00"]),
    ("E4", &["02", "00"]),
];

/// Methods 01 to 99 that look at the number's length, range or single digits first.
fn by_numbers_form(method: &str, account: &Account) -> CheckDigit {
    let by = |sum: &Sum| verdict(sum.holds(account));
    let n = account.number;
    match method {
        "08" if n >= 60_000 => by(&METHOD_00),
        "13" => {
            let sum = digit_sums(LUHN, (2, 7), 8);
            account.or_completed(2, |account| verdict(sum.holds(account)))
        }
        "16" => {
            let alike = METHOD_06.remainder(account) == 1 && account.at(9) == account.at(10);
            verdict(alike || METHOD_06.holds(account))
        }
        "17" => verdict(less_one(account, (2, 7), 8)),
        "24" => method_24(account),
        "25" if METHOD_42.remainder(account) == 1 && !matches!(account.at(2), 8 | 9) => Fails,
        "25" => by(&METHOD_42),
        "26" => method_26(account),
        "27" if n < 1_000_000_000 => by(&METHOD_00),
        "27" | "29" => verdict(method_29(account)),
        "41" => by(if account.at(4) == 9 { &LAST_SIX } else { &METHOD_00 }),
        "50" => {
            let sum = elevens(TO_7, (1, 6), 7);
            account.or_completed(3, |account| verdict(sum.holds(account)))
        }
        "51" => verdict(method_51(account)),
        "56" => verdict(method_56(account)),
        "57" => method_57(account),
        "59" if account.length() >= 9 => by(&METHOD_00),
        "61" => by(if account.at(9) == 8 { &WITH_SUBACCOUNT } else { &METHOD_67 }),
        "63" => method_63(account),
        "65" => by(if account.at(9) == 9 { &WITH_SUBACCOUNT } else { &METHOD_67 }),
        "68" => method_68(account),
        "76" => account.or_completed(2, method_76),
        "78" if account.length() != 8 => by(&METHOD_00),
        "88" if account.at(3) == 9 => by(&elevens(TO_8, (3, 9), 10)),
        "88" => by(&METHOD_32),
        "91" => verdict(method_91(account)),
        "95" if !NOT_BY_95.iter().any(|(low, high)| (*low..=*high).contains(&n)) => by(&METHOD_06),
        "93" => verdict(method_93(account)),
        "96" if METHOD_19.holds(account) || METHOD_00.holds(account) => Holds,
        "96" if !(1_300_000..=99_399_999).contains(&n) => Fails,
        "99" if !(396_000_000..=499_999_999).contains(&n) => by(&METHOD_06),
        // Among them 09, by which no number has a check digit.
        _ => Unchecked,
    }
}

/// Methods A0 to E4 that do.
fn by_lettered(method: &str, bank_code: &str, account: &Account) -> CheckDigit {
    let by = |sum: &Sum| verdict(sum.holds(account));
    let other = |method| by_method(method, bank_code, account);
    let n = account.number;
    let first = account.at(1);
    match method {
        "A4" => verdict(method_a4(account)),
        "A5" if first == 9 => by(&METHOD_00),
        "A5" => other("A3"),
        "A6" => other(if account.at(2) == 8 { "00" } else { "01" }),
        "A8" if account.at(3) == 9 => other("51"),
        "A8" => verdict(METHOD_32.holds(account) || LAST_SIX.holds(account)),
        "B2" => other(if first >= 8 { "00" } else { "02" }),
        "B3" => by(if first == 9 { &METHOD_06 } else { &METHOD_32 }),
        "B5" if other("05") == Holds => Holds,
        "B5" => verdict(first < 8 && METHOD_00.holds(account)),
        "B7" if matches!(n, 1_000_000..=5_999_999 | 700_000_000..=899_999_999) => other("01"),
        "B8" if METHOD_20.holds(account) || method_29(account) => Holds,
        "B8" if !matches!(n / 10_000_000, 510..=599 | 901..=910) => Fails,
        "C0" if is_of_old_system(bank_code, account) => Holds,
        "C0" => by(&METHOD_20),
        "C1" if first == 5 => verdict(less_one(account, (1, 9), 10)),
        "C1" => other("17"),
        "D0" if n / 100_000_000 != 57 => by(&METHOD_20),
        "D8" if n >= 1_000_000_000 => by(&METHOD_00),
        "D8" if !(10_000_000..=99_999_999).contains(&n) => Fails,
        _ => Unchecked,
    }
}

/// Branch, stem, and the sub-account behind the check digit in position 8 (methods 61 and 65).
const WITH_SUBACCOUNT: Sum = digit_sums(&[2, 1, 0, 2, 1, 2, 1, 2, 1, 2], (1, 10), 8);

/// Ranges without a check digit in method 95.
const NOT_BY_95: [(u64, u64); 5] = [
    (1, 1_999_999),
    (9_000_000, 25_999_999),
    (396_000_000, 499_999_999),
    (700_000_000, 799_999_999),
    (910_000_000, 989_999_999),
];

/// Digit sums with the factors 1 and 2 from the left, less one, modulus 11, from 10. An even number of digits
/// ends with factor 2, an odd one with factor 1.
fn less_one(account: &Account, positions: (usize, usize), check: usize) -> bool {
    let factors = if (positions.1 - positions.0).is_multiple_of(2) { &[1, 2] } else { &[2, 1] };
    // Ten more in place of one less keep the sum above zero and the remainder the same.
    let remainder = (digit_sums(factors, positions, check).total(account) + 10) % 11;
    u32::from(account.at(check)) == (10 - remainder) % 10
}

/// Factors from the first digit that is not zero, and a remainder a digit.
fn method_24(account: &Account) -> CheckDigit {
    let skipped = match account.at(1) {
        3..=6 => 1,
        9 => 3,
        _ => 0,
    };
    let counted = account.digits[skipped..9].iter().skip_while(|digit| **digit == 0);
    let remainders = counted.zip([1, 2, 3].iter().cycle()).map(|(digit, f)| (u32::from(*digit) * f + f) % 11);
    verdict(remainders.sum::<u32>() % 10 == u32::from(account.at(10)))
}

fn method_26(account: &Account) -> CheckDigit {
    let sum = elevens(TO_7, (1, 7), 8);
    match account.completed(2) {
        Some(whole) if sum.holds(&whole) => HoldsCompleted,
        Some(_) => Fails,
        None => verdict(sum.holds(account)),
    }
}

/// Each digit is exchanged by a row of a table ("iterierte Transformation").
fn method_29(account: &Account) -> bool {
    const ROWS: [[u32; 10]; 4] = [
        [0, 1, 5, 9, 3, 7, 4, 8, 2, 6],
        [0, 1, 7, 6, 9, 8, 3, 2, 5, 4],
        [0, 1, 8, 4, 6, 2, 9, 5, 7, 3],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ];
    let digits = account.digits[..9].iter().rev().zip(ROWS.iter().cycle());
    let sum: u32 = digits.map(|(digit, row)| row[usize::from(*digit)]).sum();
    (sum + u32::from(account.at(10))).is_multiple_of(10)
}

fn method_51(account: &Account) -> bool {
    if account.at(3) == 9 {
        return elevens(TO_8, (3, 9), 10).holds(account) || METHOD_10.holds(account);
    }
    let sevens = Sum { modulus: 7, ..METHOD_33 };
    [METHOD_32, METHOD_33, LAST_SIX, sevens].iter().any(|sum| sum.holds(account))
}

fn method_56(account: &Account) -> bool {
    let digit = match 11 - METHOD_06.remainder(account) {
        10 if account.at(1) == 9 => 7,
        11 if account.at(1) == 9 => 8,
        digit => digit,
    };
    digit == u32::from(account.at(10))
}

/// The first two digits say where the check digit is, if there is one.
fn method_57(account: &Account) -> CheckDigit {
    let (n, head) = (account.number, account.number / 100_000_000);
    match head {
        0 => Fails,
        // Month and a short number, but no check digit; and the one exception that the document names.
        1..=31 => match (n / 1_000_000 % 100, n / 10 % 1_000) {
            (1..=12, 0..=499) => Unchecked,
            _ if n == 185_125_434 => Unchecked,
            _ => Fails,
        },
        40 | 50 | 91 | 99 => Unchecked,
        _ if matches!(n / 10_000, 777_777 | 888_888) => Unchecked,
        51 | 55 | 61 | 64..=66 | 70 | 73..=82 | 88 | 94 | 95 => {
            verdict(digit_sums(&[1, 2], (1, 9), 10).holds(account))
        }
        _ => verdict(digit_sums(&[1, 2, 1, 2, 1, 2, 1, 0, 2, 1], (1, 10), 3).holds(account)),
    }
}

fn method_63(account: &Account) -> CheckDigit {
    if account.at(1) != 0 {
        return Fails;
    }
    let sum = digit_sums(LUHN, (2, 7), 8);
    account.or_completed(2, |account| verdict(account.at(1) == 0 && sum.holds(account)))
}

fn method_68(account: &Account) -> CheckDigit {
    // Positions 3 and 4 may be of any digits.
    let with_gap = digit_sums(&[2, 1, 2, 1, 2, 0, 0, 1], (2, 9), 10);
    match account.length() {
        10 => verdict(account.at(4) == 9 && LAST_SIX.holds(account)),
        9 if account.at(2) == 4 => Unchecked,
        6..=9 => verdict(METHOD_00.holds(account) || with_gap.holds(account)),
        _ => Fails,
    }
}

/// The remainder itself is the check digit.
fn method_76(account: &Account) -> CheckDigit {
    if !matches!(account.at(1), 0 | 4 | 6..=9) {
        return Fails;
    }
    match elevens(TO_7, (2, 7), 8).remainder(account) {
        10 => Unchecked,
        remainder => verdict(remainder == u32::from(account.at(8))),
    }
}

fn method_91(account: &Account) -> bool {
    let sums = [
        elevens(TO_7, (1, 6), 7),
        elevens(&[7, 6, 5, 4, 3, 2], (1, 6), 7),
        elevens(&[2, 3, 4, 0, 5, 6, 7, 8, 9, 10], (1, 10), 7),
        elevens(POWERS, (1, 6), 7),
    ];
    sums.iter().any(|sum| sum.holds(account))
}

fn method_93(account: &Account) -> bool {
    let short = account.number < 1_000_000;
    let sum = if short { METHOD_33 } else { elevens(TO_6, (1, 5), 6) };
    sum.holds(account) || Sum { modulus: 7, ..sum }.holds(account)
}

fn method_a4(account: &Account) -> bool {
    let first = match (account.at(3), account.at(4)) {
        (9, 9) => METHOD_33.holds(account),
        _ => METHOD_32.holds(account) || Sum { modulus: 7, ..METHOD_32 }.holds(account),
    };
    first || method_93(account)
}

/// Method 52: an account of eight digits, whose number in the system of old was made of the end of the bank's
/// code, the first two digits with the check digit as the second, and the rest without leading zeros.
fn is_of_old_system(bank_code: &str, account: &Account) -> bool {
    const FACTORS: [u32; 12] = [2, 4, 8, 5, 10, 9, 7, 3, 6, 1, 2, 4];
    let Some(bank) = bank_code.get(4..8).filter(|_| account.length() == 8) else { return false };
    let tail = account.digits[4..].iter().skip_while(|digit| **digit == 0);
    let head = bank.bytes().map(|digit| digit.wrapping_sub(b'0')).chain([account.at(3), account.at(4)]);
    let number: Vec<u8> = head.chain(tail.copied()).collect();
    // The check digit takes part like any other, and makes the remainder 10.
    let products = number.iter().rev().zip(FACTORS).map(|(digit, factor)| u32::from(*digit) * factor);
    products.sum::<u32>() % 11 == 10
}

#[cfg(test)]
#[path = "check_digit_tests.rs"]
mod tests;
