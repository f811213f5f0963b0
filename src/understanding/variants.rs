//! The ways a reference may have been meant: customers mix up 0 and O, 1, I and l, 5 and S, 8 and B, 2
//! and Z, and write spaces and dashes where the record has none.

use regex::Regex;

/// At most so many ways are looked at, those with the fewest changes first.
const MOST_TRIED: usize = 4_096;
/// At most so many are listed where no pattern sorts them out.
const MOST_LISTED: usize = 16;
/// Longer texts are no references.
const LONGEST: usize = 40;

/// What a typed character may stand for, itself (as a capital) first.
fn meant(typed: char) -> &'static [char] {
    match typed {
        '0' => &['0', 'O'],
        'O' | 'o' => &['O', '0'],
        '1' => &['1', 'I', 'L'],
        'I' | 'i' => &['I', '1', 'L'],
        'l' => &['L', '1', 'I'],
        '5' => &['5', 'S'],
        'S' | 's' => &['S', '5'],
        '8' => &['8', 'B'],
        'B' | 'b' => &['B', '8'],
        '2' => &['2', 'Z'],
        'Z' | 'z' => &['Z', '2'],
        _ => &[],
    }
}

/// Capitals, without spaces, dashes, dots and slashes.
pub fn normal(text: &str) -> String {
    let kept =
        text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '‑' | '–' | '.' | '/' | '_'));
    kept.flat_map(char::to_uppercase).collect()
}

/// The form as typed, and every form that it may stand for and that matches `pattern`; sorted.
pub fn variants(text: &str, pattern: Option<&Regex>) -> Vec<String> {
    let typed = normal(text);
    let kept: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut forms = vec![typed.clone()];
    if kept.len() <= LONGEST && !kept.is_empty() {
        let limit = if pattern.is_some() { MOST_TRIED } else { MOST_LISTED };
        let tried = tried(&kept, limit);
        forms.extend(tried.into_iter().filter(|form| pattern.is_none_or(|pattern| pattern.is_match(form))));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Forms with no change, then with one, with two, and so on, until `limit`.
fn tried(kept: &[char], limit: usize) -> Vec<String> {
    // (form, position behind the last change)
    let capitals: Vec<char> = kept.iter().flat_map(|c| c.to_uppercase()).collect();
    if capitals.len() != kept.len() {
        return vec![capitals.into_iter().collect()];
    }
    let mut forms = vec![(capitals, 0)];
    let mut next = 0;
    while let Some((form, from)) = forms.get(next).cloned() {
        next += 1;
        for (at, typed) in kept.iter().enumerate().skip(from) {
            for other in meant(*typed).iter().skip(1) {
                if forms.len() >= limit {
                    return forms.into_iter().map(|(form, _)| form.into_iter().collect()).collect();
                }
                let mut changed = form.clone();
                if let Some(slot) = changed.get_mut(at) {
                    *slot = *other;
                }
                forms.push((changed, at + 1));
            }
        }
    }
    forms.into_iter().map(|(form, _)| form.into_iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Vec<String> {
        variants(text, Some(&Regex::new("^(?:[A-Z]{3}[0-9]{5})$").unwrap()))
    }

    #[test]
    fn a_letter_for_a_digit_gives_the_meant_form_beside_the_typed_one() {
        assert_eq!(account("ABCO1234"), ["ABC01234", "ABCO1234"]);
        assert_eq!(account("abc o12-34"), ["ABC01234", "ABCO1234"]);
        assert_eq!(account("ABC01234"), ["ABC01234"]);
    }

    #[test]
    fn both_directions_and_several_at_once() {
        assert_eq!(account("8BC0I2E4"), ["8BC0I2E4"], "E is no digit in disguise");
        assert_eq!(account("8BCOl2S4"), ["8BCOL2S4", "BBC01254"]);
        assert_eq!(account("A1C55555"), ["A1C55555", "AIC55555", "ALC55555"]);
    }

    #[test]
    fn the_number_is_bounded_and_odd_input_is_harmless() {
        assert_eq!(variants("0O1Il5S8B2Z0O1Il5S8B2Z", None).len(), MOST_LISTED + 1 - 1);
        assert_eq!(variants(&"O".repeat(500), None).len(), 1);
        assert_eq!(variants("", None), [""]);
        assert_eq!(variants("straße", None), ["STRASSE"]);
    }
}
