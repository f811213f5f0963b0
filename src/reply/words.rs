//! The filters that templates use: `mask`, `money`, `date` and `quote`. Their errors never repeat a value.

use crate::base::{Currency, Language, Money, Timestamp};
use jiff::civil::Date;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

/// Characters of an account number or IBAN that stay readable.
const SHOWN: usize = 4;

pub(super) fn register(environment: &mut Environment<'_>, language: Language) {
    environment.add_filter("mask", mask);
    environment.add_filter("money", move |value: Value| money(&value, language));
    environment.add_filter("date", move |text: &str| date(text, language));
    environment.add_filter("quote", quote);
}

fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// All but the last four characters become `•`; spaces go. Four characters or fewer are hidden wholly.
fn mask(value: Value) -> Result<String, Error> {
    if !matches!(value.kind(), ValueKind::String | ValueKind::Number) {
        return Err(refused("`mask` takes a text"));
    }
    let text: Vec<char> = value.to_string().chars().filter(|c| !c.is_whitespace()).collect();
    let hidden = if text.len() <= SHOWN { text.len() } else { text.len() - SHOWN };
    Ok(text.iter().enumerate().map(|(i, c)| if i < hidden { '•' } else { *c }).collect())
}

/// `{"minor": 4999, "currency": "EUR"}` as a person of the language reads it.
fn money(value: &Value, language: Language) -> Result<String, Error> {
    let wrong = || refused("`money` takes {minor, currency}");
    let minor = value.get_attr("minor").ok().and_then(|v| v.as_i64()).ok_or_else(wrong)?;
    let currency = value.get_attr("currency").ok();
    let currency = currency.as_ref().and_then(|v| v.as_str()).and_then(Currency::parse).ok_or_else(wrong)?;
    Ok(Money::new(minor, currency).display(language))
}

/// `2026-09-21` or an RFC 3339 time (its UTC day): `21.09.2026` or `21 September 2026`.
fn date(text: &str, language: Language) -> Result<String, Error> {
    let day = Timestamp::parse(text).map_or_else(|| text.to_owned(), Timestamp::date);
    let day: Date = day.parse().map_err(|_| refused("`date` takes YYYY-MM-DD or an RFC 3339 time"))?;
    let form = match language {
        Language::De => "%d.%m.%Y",
        Language::En => "%-d %B %Y",
    };
    Ok(day.strftime(form).to_string())
}

/// Each line begins with `> `; the words stay as they are.
fn quote(text: &str) -> String {
    let lines = text.lines().map(|line| format!("> {line}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_four_characters_are_told() {
        for (value, masked) in [
            ("ABC01234", "••••1234"),
            ("DE89 3704 0044 0532 0130 00", "••••••••••••••••••3000"),
            ("1234", "••••"),
            ("", ""),
        ] {
            assert_eq!(mask(Value::from(value)).unwrap(), masked);
        }
        assert_eq!(mask(Value::from(12345)).unwrap(), "•2345");
        assert!(mask(Value::from(vec![1, 2])).is_err());
    }

    #[test]
    fn days_and_amounts_read_as_people_write_them() {
        assert_eq!(date("2026-09-21", Language::De).unwrap(), "21.09.2026");
        assert_eq!(date("2026-09-01T23:10:00Z", Language::En).unwrap(), "1 September 2026");
        assert!(date("soon", Language::En).is_err());
        let amount = Value::from(minijinja::value::Serde(Money::new(4_999, Currency::EUR)));
        assert_eq!(money(&amount, Language::De).unwrap(), "49,99 €");
        assert!(money(&Value::from(49.99), Language::De).is_err());
    }

    #[test]
    fn a_quote_keeps_its_words() {
        assert_eq!(quote("1. One\n\n2. Two"), "> 1. One\n>\n> 2. Two");
    }
}
