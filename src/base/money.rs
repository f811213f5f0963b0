//! Money is integer minor units with a currency; there is no floating-point amount anywhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// An ISO 4217 alphabetic code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Currency([u8; 3]);

/// ISO 4217: currencies whose minor unit is not a hundredth.
const EXPONENTS: &[(&str, u32)] =
    &[("JPY", 0), ("KRW", 0), ("ISK", 0), ("CLP", 0), ("HUF", 2), ("KWD", 3), ("BHD", 3), ("TND", 3)];

impl Currency {
    pub const EUR: Self = Self(*b"EUR");

    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimal digits the minor unit stands for (2 for EUR, 0 for JPY).
    pub fn exponent(&self) -> u32 {
        EXPONENTS.iter().find(|(code, _)| *code == self.code()).map_or(2, |(_, exponent)| *exponent)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::parse(&code).ok_or_else(|| de::Error::custom(format!("`{code}` is not an ISO 4217 code")))
    }
}

/// An amount: `{"minor": 4999, "currency": "EUR"}` is 49.99 euros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// The amount as a person of that language reads it: `1.234,50 €` or `€1,234.50`.
    pub fn display(&self, language: super::Language) -> String {
        let scale = 10_i64.pow(self.currency.exponent()).unsigned_abs();
        let whole = self.minor.unsigned_abs() / scale;
        let rest = self.minor.unsigned_abs() % scale;
        let (group, point) = match language {
            super::Language::De => ('.', ','),
            super::Language::En => (',', '.'),
        };
        let digits = whole.to_string();
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(group);
            }
            grouped.push(digit);
        }
        if scale > 1 {
            let width = self.currency.exponent() as usize;
            grouped.push_str(&format!("{point}{rest:0width$}"));
        }
        let sign = if self.minor < 0 { "-" } else { "" };
        let symbol = if self.currency == Currency::EUR { "€" } else { self.currency.code() };
        match language {
            super::Language::De => format!("{sign}{grouped} {symbol}"),
            super::Language::En if symbol == "€" => format!("{sign}€{grouped}"),
            super::Language::En => format!("{sign}{symbol} {grouped}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let m = Money::new(123_450, Currency::EUR);
        assert_eq!(m.display(Language::De), "1.234,50 €");
        assert_eq!(m.display(Language::En), "€1,234.50");
        assert_eq!(Money::new(-5, Currency::EUR).display(Language::De), "-0,05 €");
        let yen = Money::new(1000, Currency::parse("JPY").unwrap());
        assert_eq!(yen.display(Language::En), "JPY 1,000");
    }

    #[test]
    fn a_currency_is_three_capitals() {
        assert!(Currency::parse("eur").is_none());
        assert!(serde_json::from_str::<Money>(r#"{"minor": 1, "currency": "EURO"}"#).is_err());
        assert!(serde_json::from_str::<Money>(r#"{"minor": 1.5, "currency": "EUR"}"#).is_err());
    }
}
