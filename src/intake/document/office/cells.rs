//! Values of cells as a person sees them: a day is not the number of days since 1900.

use jiff::ToSpan;
use jiff::civil::Date;

/// What a cell's number means, by the format it is shown in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    Number,
    Percent(usize),
    Day,
    Time,
    DayAndTime,
}

/// Formats that every workbook has, by number (ECMA-376, part 1, 18.8.30).
pub const fn built_in(number: usize) -> Meaning {
    match number {
        9 => Meaning::Percent(0),
        10 => Meaning::Percent(2),
        14..=17 | 27..=31 | 36 | 50..=54 | 57..=58 => Meaning::Day,
        18..=21 | 32..=35 | 45..=47 | 55..=56 => Meaning::Time,
        22 => Meaning::DayAndTime,
        _ => Meaning::Number,
    }
}

/// A format that the workbook brings, such as `dd.mm.yyyy` or `0.0%`.
pub fn of_code(code: &str) -> Meaning {
    let mut bare = String::new();
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            // Negative numbers and text have sections of their own.
            ';' => break,
            '"' => {
                chars.by_ref().find(|c| *c == '"');
            }
            '\\' | '_' | '*' => {
                chars.next();
            }
            '[' => {
                let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                if matches!(inside.to_ascii_lowercase().as_str(), "h" | "hh" | "m" | "mm" | "s" | "ss") {
                    bare.push_str("h:");
                }
            }
            c => bare.push(c.to_ascii_lowercase()),
        }
    }
    if bare.contains('%') {
        let decimals =
            bare.split_once('.').map_or(0, |(_, rest)| rest.chars().take_while(|c| *c == '0').count());
        return Meaning::Percent(decimals.min(10));
    }
    if bare.contains("general") {
        return Meaning::Number;
    }
    let time = bare.contains(['h', 's']);
    let day = bare.contains(['y', 'd']) || (bare.contains('m') && !time);
    match (day, time) {
        (true, true) => Meaning::DayAndTime,
        (true, false) => Meaning::Day,
        (false, true) => Meaning::Time,
        (false, false) => Meaning::Number,
    }
}

/// A stored number as it is meant.
pub fn shown(stored: &str, meaning: Meaning, from_1904: bool) -> String {
    let stored = stored.trim();
    let Ok(number) = stored.parse::<f64>() else { return stored.to_owned() };
    if !number.is_finite() {
        return stored.to_owned();
    }
    match meaning {
        Meaning::Number => plain(number),
        Meaning::Percent(decimals) => format!("{:.decimals$} %", number * 100.0),
        Meaning::Day | Meaning::Time | Meaning::DayAndTime => {
            moment(number, meaning, from_1904).unwrap_or_else(|| plain(number))
        }
    }
}

/// With the fifteen digits that a spreadsheet shows at most: 0.3 is stored as 0.30000000000000004.
fn plain(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

fn moment(number: f64, meaning: Meaning, from_1904: bool) -> Option<String> {
    // Further than the calendar goes.
    if !(0.0..2_958_466.0).contains(&number) {
        return None;
    }
    let seconds = (number * 86_400.0).round() as i64;
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    // Excel takes 1900 for a leap year: days before March of it count from one day later.
    let days = if from_1904 { days + 1462 } else { days + i64::from(days < 60) };
    let day = Date::new(1899, 12, 30).ok()?.checked_add(days.days()).ok()?;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let time = if rest == 0 {
        format!("{hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{rest:02}")
    };
    Some(match meaning {
        Meaning::Day => day.to_string(),
        Meaning::Time => time,
        _ => format!("{day} {time}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_days_times_and_shares() {
        for (code, meaning) in [
            ("dd.mm.yyyy", Meaning::Day),
            ("[$-407]d. mmmm yyyy;@", Meaning::Day),
            ("yyyy-mm-dd hh:mm", Meaning::DayAndTime),
            ("[h]:mm:ss", Meaning::Time),
            ("mm:ss", Meaning::Time),
            ("0.0%", Meaning::Percent(1)),
            ("#,##0.00 \"Tausend\"", Meaning::Number),
            ("#,##0.00\\ [$EUR];[Red]-0", Meaning::Number),
            ("General", Meaning::Number),
            ("@", Meaning::Number),
        ] {
            assert_eq!(of_code(code), meaning, "{code}");
        }
    }

    #[test]
    fn values_are_shown_as_they_are_meant() {
        for (stored, meaning, expected) in [
            ("46054", Meaning::Day, "2026-02-01"),
            ("46054.5", Meaning::DayAndTime, "2026-02-01 12:00"),
            ("0.75", Meaning::Time, "18:00"),
            ("1", Meaning::Day, "1900-01-01"),
            ("0.025", Meaning::Percent(1), "2.5 %"),
            ("0.30000000000000004", Meaning::Number, "0.3"),
            ("12.50", Meaning::Number, "12.5"),
            ("1000000", Meaning::Number, "1000000"),
            ("-5", Meaning::Day, "-5"),
            ("1e300", Meaning::DayAndTime, &plain(1e300)),
            ("x", Meaning::Number, "x"),
        ] {
            assert_eq!(shown(stored, meaning, false), expected, "{stored}");
        }
        assert_eq!(shown("44592", Meaning::Day, true), "2026-02-01");
    }
}
