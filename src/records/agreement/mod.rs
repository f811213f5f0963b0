//! How well a value that somebody said agrees with one that a record holds: in a few levels by kind of field, each
//! with words for it. What a level is worth is for `weights` to say.

pub mod date;
pub mod fold;
pub mod identifier;
pub mod name;
pub mod spoken;

use date::{DateSaid, Day};
use identifier::Identifier;
use name::Name;
use serde::{Deserialize, Serialize};

/// What the values of a field are like, and so how two of them are compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Equal or not, but for case and white space.
    #[default]
    Exact,
    /// First, last or full names of persons: spellings, order, parts, sound.
    Name,
    /// Places and streets: as names, but in one order and without parts.
    Place,
    /// Account numbers, postcodes, references: characters that are mistaken for each other, left out, swapped.
    Identifier,
    /// Calendar dates.
    Date,
    /// Telephone numbers: as identifiers, of which the last digits count.
    Phone,
    /// E-mail addresses.
    Email,
    /// Amounts of money, as they are written.
    Amount,
}

/// A level of agreement: 0 is the best of its kind, `Kind::levels` less one the worst.
pub type Level = u8;

impl Kind {
    /// The levels, best first, as they read behind the field's name; the last is disagreement.
    pub const fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Exact | Self::Amount => &["agrees", "disagrees"],
            Self::Name | Self::Place => name::LEVELS,
            Self::Identifier | Self::Phone | Self::Email => identifier::LEVELS,
            Self::Date => date::LEVELS,
        }
    }

    /// What somebody said, ready to be compared. `None` where nothing of it can be.
    pub fn said(self, text: &str) -> Option<Said> {
        self.read(text, Name::said, Identifier::said, DateSaid::read)
    }

    /// What a record holds, ready to be compared. `None` where the record holds nothing of this kind.
    pub fn kept(self, text: &str) -> Option<Kept> {
        self.read(text, Name::kept, Identifier::kept, Day::kept)
    }

    fn read<D>(
        self,
        text: &str,
        name: fn(&str) -> Option<Name>,
        identifier: fn(&str) -> Option<Identifier>,
        date: fn(&str) -> Option<D>,
    ) -> Option<Value<D>> {
        let some = |text: String| (!text.is_empty()).then_some(Value::Exact(text));
        match self {
            Self::Exact => some(fold::plain(text)),
            Self::Amount => some(amount(text)),
            Self::Name => name(text).map(Value::Name),
            Self::Place => Name::place(text).map(Value::Name),
            Self::Identifier => identifier(text).map(Value::Identifier),
            Self::Phone => Identifier::phone(text).map(Value::Identifier),
            Self::Email => Identifier::email(text).map(Value::Identifier),
            Self::Date => date(text).map(Value::Date),
        }
    }
}

/// A value in the form in which it is compared. What is said may be a date in parts; what a record holds is one day.
#[derive(Clone, PartialEq, Debug)]
pub enum Value<D> {
    Exact(String),
    Name(Name),
    Identifier(Identifier),
    Date(D),
}

/// A said value, read in every way that makes sense.
pub type Said = Value<DateSaid>;

/// A record's value.
pub type Kept = Value<Day>;

impl Said {
    /// What an index finds records' values by.
    pub fn keys(&self) -> Vec<u64> {
        self.keys_with(|said, keys| day_keys(&said.days, &said.months, &said.years, keys))
    }

    /// How well they agree; values of different kinds disagree.
    pub fn level(&self, kept: &Kept) -> Level {
        match (self, kept) {
            (Self::Exact(said), Kept::Exact(kept)) => Level::from(said != kept),
            (Self::Name(said), Kept::Name(kept)) => said.level(kept),
            (Self::Identifier(said), Kept::Identifier(kept)) => said.level(kept),
            (Self::Date(said), Kept::Date(kept)) => said.level(kept),
            _ => Level::MAX,
        }
    }
}

impl Kept {
    /// What an index finds it by.
    pub fn keys(&self) -> Vec<u64> {
        self.keys_with(|Day { year, month, day }, keys| day_keys(&[*day], &[*month], &[*year], keys))
    }
}

impl<D> Value<D> {
    fn keys_with(&self, date: impl Fn(&D, &mut Vec<u64>)) -> Vec<u64> {
        let mut keys = Vec::new();
        match self {
            Self::Exact(text) => keys.push(key("e", text)),
            Self::Name(name) => name.readings().for_each(|name| name_keys(name, &mut keys)),
            Self::Identifier(identifier) => {
                identifier.readings().iter().for_each(|reading| pieces(reading, &mut keys));
            }
            Self::Date(of) => date(of, &mut keys),
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// What an index finds values by: pieces of a string, words and sounds, parts of a date. Two values that share none
/// are not compared.
fn name_keys(name: &Name, keys: &mut Vec<u64>) {
    for word in name.words() {
        keys.push(key("w", word));
    }
    for sound in name.sounds() {
        keys.push(key("s", sound));
    }
    pieces(&name.joined().chars().collect::<Vec<_>>(), keys);
}

/// Every two and every three neighbours, with the ends.
fn pieces(characters: &[char], keys: &mut Vec<u64>) {
    let ended: Vec<char> = std::iter::once('^').chain(characters.iter().copied()).chain(['$']).collect();
    for long in [2, 3] {
        keys.extend(ended.windows(long).map(|piece| key("p", &piece.iter().collect::<String>())));
    }
}

fn day_keys(days: &[u8], months: &[u8], years: &[u16], keys: &mut Vec<u64>) {
    for month in months {
        keys.extend(days.iter().map(|day| key("dm", &format!("{day} {month}"))));
        keys.extend(years.iter().map(|year| key("my", &format!("{month} {year}"))));
    }
    for day in days {
        keys.extend(years.iter().map(|year| key("dy", &format!("{day} {year}"))));
    }
}

/// FNV-1a of 64 bits.
fn key(kind: &str, text: &str) -> u64 {
    let bytes = kind.bytes().chain([0]).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Digits with one point before the last two, where the text has cents.
fn amount(text: &str) -> String {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
    let (whole, cents) = match digits.rfind(['.', ',']) {
        Some(at) if digits.len() - at - 1 <= 2 && digits.len() > at + 1 => digits.split_at(at),
        _ => (digits.as_str(), ""),
    };
    let figures = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let whole = figures(whole);
    if whole.is_empty() { String::new() } else { format!("{whole}.{:0<2}", figures(cents)) }
}
