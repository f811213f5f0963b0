//! Which field to ask for when several records are left: the one whose answer is expected to tell most (Shannon 1948).

use serde::{Deserialize, Serialize};

/// What to ask. It names a field and never a value, so whoever is asked learns nothing of any record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ask {
    pub field: String,
    /// How many different answers there are among the records.
    pub count: usize,
    /// The bits that an answer is expected to give.
    pub bits: f64,
}

/// The field whose answer splits records best; ties go to the first. `weights` say how likely each record is, in any
/// unit; `values` has for each field a number for each record's value, the same for the same value. A record that has
/// none stands apart from all others. `None` where no field has two values.
pub fn best<'a>(
    weights: &[f64],
    values: impl IntoIterator<Item = (&'a str, Vec<Option<usize>>)>,
) -> Option<Ask> {
    let all: f64 = weights.iter().sum();
    let mut best: Option<Ask> = None;
    for (field, of) in values {
        let mut groups: Vec<(Option<usize>, f64)> = Vec::new();
        for (value, weight) in of.into_iter().zip(weights) {
            match groups.iter_mut().find(|(known, _)| *known == value) {
                Some((_, sum)) => *sum += weight,
                None => groups.push((value, *weight)),
            }
        }
        let count = groups.iter().filter(|(value, _)| value.is_some()).count();
        let bits: f64 =
            groups.iter().map(|(_, sum)| sum / all).filter(|p| *p > 0.0).map(|p| -p * p.log2()).sum();
        let bits = (bits * 1000.0).round() / 1000.0;
        if count > 1 && bits > best.as_ref().map_or(0.0, |best| best.bits) {
            best = Some(Ask { field: field.to_owned(), count, bits });
        }
    }
    best
}

/// Numbers for values, the same for equal ones.
pub fn numbered<T: PartialEq>(values: impl IntoIterator<Item = Option<T>>) -> Vec<Option<usize>> {
    let mut seen: Vec<T> = Vec::new();
    let number = |value: Option<T>| {
        let value = value?;
        let at = seen.iter().position(|known| *known == value);
        Some(at.unwrap_or_else(|| {
            seen.push(value);
            seen.len() - 1
        }))
    };
    values.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_expected_to_tell_most_is_asked_for() {
        let fields = || {
            [
                ("postcode", numbered([Some("1"), Some("1"), Some("2"), Some("2")])),
                ("born", numbered([Some("a"), Some("b"), Some("c"), None])),
                ("branch", numbered([Some("x"), Some("x"), Some("x"), Some("x")])),
            ]
        };
        let ask = best(&[1.0; 4], fields()).unwrap();
        assert_eq!((ask.field.as_str(), ask.count, ask.bits), ("born", 3, 2.0));
        // Two of the four are hardly possible: what tells the other two apart is what matters.
        let ask = best(&[1.0, 0.001, 1.0, 0.001], fields().into_iter().take(1)).unwrap();
        assert_eq!((ask.field.as_str(), ask.bits), ("postcode", 1.0));
    }

    #[test]
    fn ties_go_to_the_first_and_nothing_is_asked_that_tells_nothing() {
        let of = |field| (field, numbered([Some(1), Some(2)]));
        assert_eq!(best(&[1.0, 1.0], [of("iban"), of("postcode")]).unwrap().field, "iban");
        assert_eq!(best(&[1.0, 1.0], [("branch", numbered([Some(1), Some(1)]))]), None);
        assert_eq!(best(&[1.0, 1.0], [("branch", numbered::<u8>([None, None]))]), None);
        assert_eq!(best(&[1.0], [of("iban")].into_iter().map(|(field, of)| (field, of[..1].to_vec()))), None);
    }
}
