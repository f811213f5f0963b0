//! Calendar dates, as records hold them (ISO 8601, or day before month) and as people say them: in figures, in words,
//! in pieces. A said date is not made to be one: figures that make no date may still tell which one was meant.

use super::{Level, fold, spoken};

pub const LEVELS: &[&str] = &[
    "agrees",
    "agrees with day and month exchanged",
    "differs in one digit",
    "agrees in two of day, month and year",
    "differs in two digits",
    "agrees in one of day, month and year",
    "disagrees",
];

/// First letters of the months' names in English, German and Polish, without accents.
const MONTHS: &[(&str, u8)] = &[
    ("jan", 1),
    ("stycz", 1),
    ("feb", 2),
    ("lut", 2),
    ("mar", 3),
    ("apr", 4),
    ("kwie", 4),
    ("mai", 5),
    ("may", 5),
    ("maj", 5),
    ("jun", 6),
    ("czerw", 6),
    ("jul", 7),
    ("lip", 7),
    ("aug", 8),
    ("sierp", 8),
    ("sep", 9),
    ("wrze", 9),
    ("okt", 10),
    ("oct", 10),
    ("pazdz", 10),
    ("nov", 11),
    ("listopad", 11),
    ("dez", 12),
    ("dec", 12),
    ("grud", 12),
];

/// Numbers as words, cardinal and ordinal, in English and German, without accents. Ends such as `-ter` and `-th` are cut.
const NUMBERS: &[(&str, u16)] = &[
    ("first", 1),
    ("erst", 1),
    ("second", 2),
    ("third", 3),
    ("dritt", 3),
    ("fif", 5),
    ("siebt", 7),
    ("acht", 8),
    ("eigh", 8),
    ("nin", 9),
    ("ten", 10),
    ("zehn", 10),
    ("eleven", 11),
    ("elf", 11),
    ("twelve", 12),
    ("twelf", 12),
    ("zwolf", 12),
    ("thirteen", 13),
    ("dreizehn", 13),
    ("fourteen", 14),
    ("vierzehn", 14),
    ("fifteen", 15),
    ("funfzehn", 15),
    ("sixteen", 16),
    ("sechzehn", 16),
    ("seventeen", 17),
    ("siebzehn", 17),
    ("eighteen", 18),
    ("achtzehn", 18),
    ("nineteen", 19),
    ("neunzehn", 19),
    ("twenty", 20),
    ("twentie", 20),
    ("zwanzig", 20),
    ("thirty", 30),
    ("thirtie", 30),
    ("dreissig", 30),
    ("forty", 40),
    ("vierzig", 40),
    ("fifty", 50),
    ("funfzig", 50),
    ("sixty", 60),
    ("sechzig", 60),
    ("seventy", 70),
    ("siebzig", 70),
    ("eighty", 80),
    ("achtzig", 80),
    ("ninety", 90),
    ("neunzig", 90),
];

/// More figures than any date has.
const DIGITS: usize = 16;

/// A record's date.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Day {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// What was said of a date.
#[derive(Clone, PartialEq, Debug)]
pub struct DateSaid {
    /// All figures in their order, a named month as two.
    digits: String,
    /// The month that was named, if one was.
    named: Option<u8>,
    pub days: Vec<u8>,
    pub months: Vec<u8>,
    pub years: Vec<u16>,
}

impl Day {
    /// `2024-03-09`, `20240309`, `09.03.2024` or `9/3/2024`.
    pub fn kept(text: &str) -> Option<Self> {
        let parts: Vec<&str> =
            text.trim().split(['-', '.', '/', ' ']).filter(|part| !part.is_empty()).collect();
        let number = |part: &str| part.parse::<u16>().ok();
        let (year, month, day) = match *parts.as_slice() {
            [all] if all.len() == 8 && all.is_ascii() => {
                (number(all.get(..4)?)?, number(all.get(4..6)?)?, number(all.get(6..)?)?)
            }
            [year, month, day] if year.len() == 4 => (number(year)?, number(month)?, number(day)?),
            [day, month, year] => (number(year)?, number(month)?, number(day)?),
            _ => return None,
        };
        let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
        ((1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some(Self {
            year,
            month,
            day,
        })
    }
}

impl DateSaid {
    pub fn read(text: &str) -> Option<Self> {
        let words = fold::words(text);
        let mut said =
            Self { digits: String::new(), named: None, days: vec![], months: vec![], years: vec![] };
        let mut numbers: Vec<String> = Vec::new();
        // What the number before it adds to the next one: `twenty` to `seven`.
        let mut open = 0;
        for word in words.iter().flat_map(|word| figures_apart(word)) {
            if let Some(month) = month(&word) {
                said.named = Some(month);
                said.digits.push_str(&format!("{month:02}"));
                open = 0;
            } else if let Some(times) = multiplier(&word) {
                open =
                    numbers.pop().and_then(|last| last.parse::<u16>().ok()?.checked_mul(times)).unwrap_or(0);
                said.replace(times, open);
                numbers.push(open.to_string());
            } else if let Some(mut number) = number(&word) {
                let value = number.parse::<u16>().unwrap_or(0);
                let in_figures = word.starts_with(|c: char| c.is_ascii_digit());
                if open > 0 && !in_figures && (1..if open < 100 { 10 } else { 100 }).contains(&value) {
                    numbers.pop();
                    number = (open + value).to_string();
                    said.digits.truncate(said.digits.len() - open.to_string().len());
                }
                let tens = (20..100).contains(&value) && value % 10 == 0 && !in_figures;
                open = match (open, tens) {
                    (100.., true) => open + value,
                    (_, true) => value,
                    _ => 0,
                };
                said.digits.push_str(&number);
                numbers.push(number);
            }
        }
        match Day::kept(text) {
            // Marks say where the day ends: 1.12. is not 11.2.
            Some(Day { year: year @ 1000.., month, day }) => {
                said.digits = format!("{day:02}{month:02}{year}")
            }
            Some(Day { year: year @ ..100, month, day }) => {
                said.digits = format!("{day:02}{month:02}{year:02}")
            }
            _ => {}
        }
        said.digits.truncate(DIGITS);
        // A year without its century.
        let parts = numbers.len() + usize::from(said.named.is_some());
        if let Some(last) = numbers.last().filter(|last| last.len() == 6 || last.len() == 2 && parts >= 3)
            && let Some(year) = last.get(last.len() - 2..).and_then(|year| year.parse::<u16>().ok())
        {
            said.years.extend([1900 + year, 2000 + year].into_iter().filter(|year| *year <= 2035));
        }
        for (at, number) in numbers.iter().enumerate() {
            said.take(number);
            if let Some(next) = numbers.get(at + 1) {
                said.years.extend(year_of(number, next));
            }
        }
        if let Some(month) = said.named {
            said.months = vec![month];
        }
        (!said.digits.is_empty()).then_some(said)
    }

    /// Puts a product in the place of the figures that were multiplied.
    fn replace(&mut self, times: u16, product: u16) {
        let before = (product / times).to_string();
        if product > 0 && self.digits.ends_with(&before) {
            self.digits.truncate(self.digits.len() - before.len());
            self.digits.push_str(&product.to_string());
        }
    }

    /// Days, months and years that figures may be, alone or in pieces.
    fn take(&mut self, figures: &str) {
        let number = |text: &str| text.parse::<u16>().unwrap_or(0);
        let mut pieces = vec![figures];
        match figures.len() {
            2 => pieces.extend([&figures[..1], &figures[1..]].iter().filter(|_| self.named.is_none())),
            3 => pieces.extend([&figures[..1], &figures[1..], &figures[..2], &figures[2..]]),
            4..=DIGITS if figures.is_ascii() => {
                pieces.extend([&figures[..2], &figures[2..4], &figures[..1]]);
                if figures.len() > 4 {
                    pieces.extend([
                        &figures[figures.len() - 4..],
                        &figures[figures.len() - 2..],
                        &figures[..4],
                    ]);
                }
                if figures.len() == 8 {
                    pieces.extend([&figures[4..6], &figures[6..]]);
                }
            }
            _ => {}
        }
        for piece in pieces {
            let value = number(piece);
            if piece.len() <= 2 {
                self.days.extend((1..=31).contains(&value).then_some(value as u8));
                self.months.extend((1..=12).contains(&value).then_some(value as u8));
            } else if piece.len() == 4 {
                self.years.extend((1850..=2100).contains(&value).then_some(value));
            }
        }
    }

    pub fn level(&self, kept: &Day) -> Level {
        let Day { year, month, day } = *kept;
        let whole = [format!("{day:02}{month:02}{year}"), format!("{year}{month:02}{day:02}")];
        let short = [
            format!("{day}{month:02}{year}"),
            format!("{day}{month}{year}"),
            format!("{day:02}{month}{year}"),
        ];
        let end = year % 100;
        let ended = [
            format!("{day:02}{month:02}{end:02}"),
            format!("{day}{month:02}{end:02}"),
            format!("{day}{month}{end:02}"),
            format!("{day:02}{month}{end:02}"),
        ];
        let turned = [
            format!("{month:02}{day:02}{year}"),
            format!("{month}{day}{year}"),
            format!("{month:02}{day}{year}"),
        ];
        let is = |forms: &[String]| forms.contains(&self.digits);
        let century = self.years.contains(&year) && is(&ended);
        if is(&whole) || is(&short) || century || self.named.is_some() && is(&turned) {
            return 0;
        }
        if is(&turned) {
            return 1;
        }
        let edits = whole
            .iter()
            .chain(&short)
            .map(|form| strsim::osa_distance(&self.digits, form))
            .min()
            .unwrap_or(9);
        let agree = [self.days.contains(&day), self.months.contains(&month), self.years.contains(&year)];
        match (edits, agree.iter().filter(|agree| **agree).count()) {
            (1, _) | (_, 3) => 2,
            (_, 2) => 3,
            (2, _) => 4,
            (_, 1) => 5,
            _ => 6,
        }
    }
}

/// `27th` and `3rd` without their ends, figures apart from letters.
fn figures_apart(word: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for c in word.chars() {
        match parts.last_mut() {
            Some(part) if part.ends_with(|last: char| last.is_ascii_digit() == c.is_ascii_digit()) => {
                part.push(c)
            }
            _ => parts.push(c.to_string()),
        }
    }
    if parts.len() > 1 {
        parts.retain(|part| !matches!(part.as_str(), "st" | "nd" | "rd" | "th" | "te" | "ten" | "ter"));
    }
    parts
}

fn month(word: &str) -> Option<u8> {
    // `mar` begins other words, too.
    let fits = |(start, _): &&(&str, u8)| word.starts_with(start) && word.len() <= start.len() + 9;
    MONTHS.iter().find(fits).map(|(_, month)| *month)
}

/// Figures that a word is or stands for.
fn number(word: &str) -> Option<String> {
    if word.chars().all(|c| c.is_ascii_digit()) {
        return Some(word.to_owned());
    }
    let whole =
        |word: &str| NUMBERS.iter().find(|(name, _)| *name == word).map(|(_, value)| value.to_string());
    let digit = |word: &str| {
        spoken::character(word).filter(|c| c.chars().all(|c| c.is_ascii_digit())).map(str::to_owned)
    };
    let read = |word: &str| whole(word).or_else(|| compound(word)).or_else(|| digit(word));
    let stems = ["ster", "sten", "ste", "ter", "ten", "te", "th"];
    read(word)
        .or_else(|| stems.iter().find_map(|end| read(word.strip_suffix(end)?)))
        // `erster` and `dritte` end in letters of their stems.
        .or_else(|| ["er", "en", "e"].iter().find_map(|end| whole(word.strip_suffix(end)?)))
        .or_else(|| hundreds(word))
}

/// `siebenundzwanzig`.
fn compound(word: &str) -> Option<String> {
    let (ones, tens) = word.split_once("und")?;
    let ones: u16 = spoken::character(ones)?.parse().ok()?;
    let tens = NUMBERS.iter().find(|(name, value)| *name == tens && *value >= 20)?.1;
    Some((tens + ones).to_string())
}

/// `hundred` and `thousand` as words of their own.
fn multiplier(word: &str) -> Option<u16> {
    match word {
        "hundred" | "hundert" => Some(100),
        "thousand" | "tausend" => Some(1000),
        _ => None,
    }
}

/// `neunzehnhundertneunundsiebzig`, `zweitausendfunf`.
fn hundreds(word: &str) -> Option<String> {
    let ((before, after), times) = match word.split_once("hundert") {
        Some(parts) => (parts, 100),
        None => (word.split_once("tausend")?, 1000),
    };
    let before: u16 = number(before)?.parse().ok()?;
    let after = after.strip_prefix("und").unwrap_or(after);
    let after: u16 = if after.is_empty() { 0 } else { number(after)?.parse().ok()? };
    (before < 60 && after < times)
        .then(|| before.checked_mul(times)?.checked_add(after))
        .flatten()
        .map(|year| year.to_string())
}

/// A year in two numbers: `19 79`, `1970 9`, `2000 5`.
fn year_of(first: &str, second: &str) -> Option<u16> {
    let value = |text: &str| text.parse::<u16>().ok();
    match (first.len(), second.len()) {
        (2, 2) if matches!(first, "18" | "19" | "20") => value(&format!("{first}{second}")),
        (4, 1) if first.ends_with('0') => Some(value(first)? + value(second)?),
        (4, 2) if first.ends_with("00") => Some(value(first)? + value(second)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(said: &str, kept: &str) -> Level {
        DateSaid::read(said).unwrap().level(&Day::kept(kept).unwrap())
    }

    #[test]
    fn said_in_many_ways() {
        for said in [
            "1979-09-27",
            "27.9.1979",
            "27/09/79 no, 1979",
            "27th of the 9th 1979",
            "27. September 1979",
            "September 27th 1979",
            "siebenundzwanzigster September 1979",
            "27 wrzesnia 1979",
            "2709 1979",
        ] {
            assert!(level(said, "1979-09-27") <= 2, "{said}");
        }
        // Marks count: without them the figures are those of 11 February.
        assert!(level("1.12.1980", "1980-02-11") > 0 && level("1121980", "1980-02-11") == 0);
        for said in [
            "twenty seventh of September nineteen seventy nine",
            "siebenundzwanzigster September neunzehnhundertneunundsiebzig",
            "September the twenty seventh nineteen hundred and seventy nine",
        ] {
            assert_eq!(level(said, "1979-09-27"), 0, "{said}");
        }
        assert_eq!(level("fifth of May two thousand and five", "2005-05-05"), 0);
        assert_eq!(level("fünfter Mai zweitausendfünf", "2005-05-05"), 0);
        for said in
            ["27.9.79", "27/9/79", "27 9 79", "270979", "27 September 79", "27th September seventy nine"]
        {
            assert_eq!((level(said, "1979-09-27"), level(said, "1978-09-27") > 0), (0, true), "{said}");
        }
        assert_eq!(level("4.3.1980", "1980-03-04"), 0);
        assert_eq!(level("3.4.1980", "1980-03-04"), 1);
        assert_eq!(level("5.3.1980", "1980-03-04"), 2);
        assert_eq!(level("4. März", "1980-03-04"), 3);
        assert!(level("10 June 1990 4", "1994-06-10") <= 2);
        assert!(level("25th of November 1950 2", "1952-11-25") <= 2);
        assert_eq!(level("1 January 2001", "1980-03-04"), 6);
        assert!(DateSaid::read("source of all").is_none());
    }

    #[test]
    fn every_day_of_a_month_in_words() {
        let german = "erster zweiter dritter vierter fünfter sechster siebter achter neunter zehnter elfter zwölfter dreizehnter \
            vierzehnter fünfzehnter sechzehnter siebzehnter achtzehnter neunzehnter zwanzigster einundzwanzigster \
            zweiundzwanzigster dreiundzwanzigster vierundzwanzigster fünfundzwanzigster sechsundzwanzigster \
            siebenundzwanzigster achtundzwanzigster neunundzwanzigster dreißigster einunddreißigster";
        let english = "first,second,third,fourth,fifth,sixth,seventh,eighth,ninth,tenth,eleventh,twelfth,thirteenth,\
            fourteenth,fifteenth,sixteenth,seventeenth,eighteenth,nineteenth,twentieth,twenty first,twenty second,\
            twenty third,twenty fourth,twenty fifth,twenty sixth,twenty seventh,twenty eighth,twenty ninth,thirtieth,\
            thirty first";
        for (at, word) in german.split_whitespace().enumerate() {
            assert_eq!(level(&format!("{word} Mai 1980"), &format!("1980-05-{:02}", at + 1)), 0, "{word}");
        }
        for (at, word) in english.split(',').enumerate() {
            assert_eq!(level(&format!("{word} of May 1980"), &format!("1980-05-{:02}", at + 1)), 0, "{word}");
        }
    }

    #[test]
    fn records_hold_dates_in_several_forms() {
        let day = Day { year: 1908, month: 12, day: 9 };
        for text in ["1908-12-09", "19081209", "9.12.1908", "09/12/1908"] {
            assert_eq!(Day::kept(text), Some(day));
        }
        assert_eq!(Day::kept("1908-13-09"), None);
        assert_eq!(Day::kept("soon"), None);
    }
}
