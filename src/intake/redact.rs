//! Card numbers never stay: PCI DSS 4.0, requirement 3.3, wants them unreadable wherever they are stored.

use super::recognise::{card_digits, card_digits_in_cells};

/// What stands in a masked digit's place.
pub const MASK: char = '•';

/// Masks every payment card number digit for digit, all but its last four, also across the cells of a table. The text
/// keeps its length in Unicode scalar values, and every other character its place, so that offsets hold.
pub fn mask_cards(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    let mut cards = card_digits(text);
    cards.extend(card_digits_in_cells(text, &cards));
    cards.sort_by_key(|digits| digits.first().map(|digit| digit.start));
    for digits in cards {
        for digit in digits.iter().take(digits.len().saturating_sub(4)) {
            masked.push_str(text.get(copied..digit.start).unwrap_or_default());
            masked.push(MASK);
            copied = digit.end;
        }
    }
    masked.push_str(text.get(copied..).unwrap_or_default());
    masked
}

#[cfg(test)]
mod tests {
    use super::super::recognise::recognise;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn card_numbers_are_masked_and_nothing_else() {
        for (text, masked) in [
            ("Karte 4111 1111 1111 1111!", "Karte •••• •••• •••• 1111!"),
            ("5500-0000-0000-0004", "••••-••••-••••-0004"),
            ("378282246310005, 6011000990139424", "•••••••••••0005, ••••••••••••9424"),
            ("4111 1111 1111 1111 5500 0000 0000 0004", "•••• •••• •••• 1111 •••• •••• •••• 0004"),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "• • • • • • • • • • • • 1 1 1 1"),
            ("４１１１１１１１１１１１１１１１", "••••••••••••１１１１"),
            ("4111 1111 1111 1111 12/28 123", "•••• •••• •••• 1111 12/28 123"),
            ("ad 4111 1111 1111 1111 expiry", "ad •••• •••• •••• 1111 expiry"),
            ("Karte:4111111111111111und", "Karte:••••••••••••1111und"),
        ] {
            assert_eq!(mask_cards(text), masked);
            assert_eq!(mask_cards(masked), masked, "masking again changes nothing");
        }
        for text in [
            "DE89 3704 0044 0532 0130 00",
            "DE89370400440532013001",
            "4111 1111 1111 1112",
            "JJD000390007887654321",
            "+49 171 55288431234",
            "00000000000000",
            "2026-09-21",
            "",
        ] {
            assert_eq!(mask_cards(text), text);
        }
    }

    #[test]
    fn cells_do_not_hide_a_card_number() {
        for (text, masked) in [
            ("| 4111 | 1111 | 1111 | 1111 |", "| •••• | •••• | •••• | 1111 |"),
            ("4111|1111|1111|1111", "••••|••••|••••|1111"),
            ("| 4111\\|1111\\|1111\\|1111 |", "| ••••\\|••••\\|••••\\|1111 |"),
            ("| 411111 | 111111 |  | 1111 |", "| •••••• | •••••• |  | 1111 |"),
            (
                "| 4 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |",
                "| • | • | • | • | • | • | • | • | • | • | • | • | 1 | 1 | 1 | 1 |",
            ),
            ("| 7 | 5500 | 0000 | 0000 | 0004 | 12/28 |", "| 7 | •••• | •••• | •••• | 0004 | 12/28 |"),
            ("| +49 911 1234 | 4111 | 1111 | 1111 | 1111 |", "| +49 911 1234 | •••• | •••• | •••• | 1111 |"),
            (
                "| DE89 3704 0044 0532 0130 00 | 4111 | 1111 | 1111 | 1111 |",
                "| DE89 3704 0044 0532 0130 00 | •••• | •••• | •••• | 1111 |",
            ),
            ("| 9999999999999995 | 12 |", "| ••••••••••••9995 | 12 |"),
        ] {
            assert_eq!(mask_cards(text), masked);
            assert_eq!(mask_cards(masked), masked, "masking again changes nothing");
        }
        for text in [
            "| 2021 | 2022 | 2023 | 2024 |",
            "| DE89 3704 0044 0532 0130 00 | 12 |",
            "| +49 911 1234 | 4711 |",
            "| 01.02.2026 | 4.111,11 | 11.11.2011 |",
            "| 4111 |\n| 1111 |\n| 1111 |\n| 1111 |",
        ] {
            assert_eq!(mask_cards(text), text);
        }
    }

    #[test]
    fn a_masked_card_is_recognised_where_the_card_was() {
        for text in [
            "Karte 4111 1111 1111 1111 weg",
            "é 378282246310005",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "5500-0000-0000-0004 am 1.2.",
        ] {
            assert_eq!(recognise(text), recognise(&mask_cards(text)));
        }
    }

    /// A digit for the end that makes the Luhn check hold.
    fn with_check_digit(payload: &str) -> String {
        let sum: u32 = payload
            .chars()
            .rev()
            .enumerate()
            .map(|(place, c)| {
                let value = c.to_digit(10).unwrap() * if place % 2 == 0 { 2 } else { 1 };
                value / 10 + value % 10
            })
            .sum();
        format!("{payload}{}", (10 - sum % 10) % 10)
    }

    proptest! {
        #[test]
        fn only_digits_become_masks_and_every_place_holds(text in "(?s)([0-9]{1,6}[ -]?|.|\\PC{0,3}|4111 1111 1111 1111){0,12}") {
            let masked = mask_cards(&text);
            prop_assert_eq!(masked.chars().count(), text.chars().count());
            for (old, new) in text.chars().zip(masked.chars()) {
                prop_assert!(old == new || (new == MASK && (old.is_ascii_digit() || ('０'..='９').contains(&old))));
            }
        }

        #[test]
        fn dates_are_never_masked(dates in prop::collection::vec((1..29, 1..13, 2019..2031), 2..4), form in 0..4) {
            let write = |(day, month, year): &(i32, i32, i32)| match form {
                0 => format!("{day:02}.{month:02}.{year}"),
                1 => format!("{day}.{month}.{year}"),
                2 => format!("{year}-{month:02}-{day:02}"),
                _ => format!("{day:02}/{month:02}/{year}"),
            };
            let dates: Vec<String> = dates.iter().map(write).collect();
            for gap in [" ", "-", "–", " - "] {
                let text = dates.join(gap);
                prop_assert_eq!(mask_cards(&text), text);
            }
        }

        #[test]
        fn every_card_number_is_masked(payload in "[1-9][0-9]{11,17}", gap in prop::sample::select(vec!["", " ", "-", "\u{a0}", " - ", "."]), every in 3_usize..7) {
            let card = with_check_digit(&payload);
            let digits: Vec<char> = card.chars().collect();
            let gap = if gap.len() > 2 { "- " } else { gap };
            let grouped = digits.chunks(every).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(gap);
            let masked = mask_cards(&format!("Karte: {grouped}, danke"));
            prop_assert_eq!(masked.chars().filter(char::is_ascii_digit).count(), 4);
            prop_assert_eq!(masked.chars().filter(|c| *c == MASK).count(), card.len() - 4);
        }
    }
}
