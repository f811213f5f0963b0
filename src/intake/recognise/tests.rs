//! What is found and what is not, in sentences as customers write them.

use super::*;
use proptest::prelude::*;

fn found(text: &str) -> Vec<(String, String)> {
    recognise(text).into_iter().map(|r| (r.field, r.text)).collect()
}

/// Each line: a text, and everything that is to be found in it.
const FOUND: &[(&str, &[(&str, &str)])] = &[
    // IBAN
    ("IBAN: DE89 3704 0044 0532 0130 00, bitte prüfen", &[("iban", "DE89 3704 0044 0532 0130 00")]),
    ("DE89370400440532013000", &[("iban", "DE89370400440532013000")]),
    ("meine iban ist de89370400440532013000 danke", &[("iban", "de89370400440532013000")]),
    ("auf DE89-3704-0044-0532-0130-00 überweisen", &[("iban", "DE89-3704-0044-0532-0130-00")]),
    ("DE 89 3704 0044 0532 0130 00", &[("iban", "DE 89 3704 0044 0532 0130 00")]),
    (
        "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00.",
        &[("iban", "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00")],
    ),
    ("DE89 3704 0044\r\n0532 0130 00", &[("iban", "DE89 3704 0044\r\n0532 0130 00")]),
    (
        "AT61 1904 3002 3457 3201 und GB29 NWBK 6016 1331 9268 19 beide",
        &[("iban", "AT61 1904 3002 3457 3201"), ("iban", "GB29 NWBK 6016 1331 9268 19")],
    ),
    ("(NL91ABNA0417164300)", &[("iban", "NL91ABNA0417164300")]),
    ("to NO93 8601 1117 947 please", &[("iban", "NO93 8601 1117 947")]),
    (
        "DE89 3704 0044 0532 0130 00 50 Euro",
        &[("iban", "DE89 3704 0044 0532 0130 00"), ("amount", "50 Euro")],
    ),
    // card
    ("Meine Karte 4111 1111 1111 1111 geht nicht", &[("card_last4", "1111")]),
    ("card 5500-0000-0000-0004 was declined", &[("card_last4", "0004")]),
    ("378282246310005", &[("card_last4", "0005")]),
    ("4111 1111 1111 1111 12/28", &[("card_last4", "1111")]),
    ("6759649826438453 gesperrt", &[("card_last4", "8453")]),
    ("•••• •••• •••• 4242 wurde belastet", &[("card_last4", "4242")]),
    ("**** 4242 declined", &[("card_last4", "4242")]),
    ("xxxx-xxxx-xxxx-4242", &[("card_last4", "4242")]),
    ("Karte mit den Endziffern 2048", &[("card_last4", "2048")]),
    ("The card ends in 9082.", &[("card_last4", "9082")]),
    ("mit meiner Karte (7741) bezahlt", &[("card_last4", "7741")]),
    ("Kartennummer4111111111111111", &[("card_last4", "1111")]),
    // account
    (
        "BLZ 500 105 17, Kto.-Nr. 0648 489 890",
        &[("bank_code", "500 105 17"), ("account_number", "0648 489 890")],
    ),
    (
        "Kontonummer: 648489890\r\nBankleitzahl: 50010517",
        &[("account_number", "648489890"), ("bank_code", "50010517")],
    ),
    (
        "BLZ 50010517 Konto 6484 8989 50 Euro",
        &[("bank_code", "50010517"), ("account_number", "6484 8989"), ("amount", "50 Euro")],
    ),
    (
        "Meine Kontonummer lautet 1234567-01, BLZ 50010517.",
        &[("account_number", "1234567-01"), ("bank_code", "50010517")],
    ),
    (
        "Kontonr. 4711 bei der Volksbank Büren und Salzkotten eG (BLZ 472 601 21)",
        &[("account_number", "4711"), ("bank_code", "472 601 21")],
    ),
    (
        "bank code 50010517, account number is 648489890",
        &[("bank_code", "50010517"), ("account_number", "648489890")],
    ),
    (
        "von Kto 1234567 BLZ 50010517 auf Kto 7654321 BLZ 10020030",
        &[
            ("account_number", "1234567"),
            ("bank_code", "50010517"),
            ("account_number", "7654321"),
            ("bank_code", "10020030"),
        ],
    ),
    ("BLZ 76050101", &[("bank_code", "76050101")]),
    ("BLZ 76050101 Konto 12345678901", &[("bank_code", "76050101")]),
    ("BLZ 76050101 Konto 1234 5678 9012", &[("bank_code", "76050101")]),
    ("BLZ 76050101 Konto 123, Konto 0000000", &[("bank_code", "76050101")]),
    ("BLZ 76050101 Konto 12345,67", &[("bank_code", "76050101")]),
    ("Konto ABCO1234, BLZ 76050101", &[("bank_code", "76050101")]),
    // amount
    ("Es wurden 1.234,56 € abgebucht", &[("amount", "1.234,56 €")]),
    ("49,99 Euro zu viel", &[("amount", "49,99 Euro")]),
    ("EUR 20,- bitte", &[("amount", "EUR 20,-")]),
    ("I was charged €1,234.56 twice.", &[("amount", "€1,234.56")]),
    ("about 20 euros", &[("amount", "20 euros")]),
    ("between €20-€50", &[("amount", "€20"), ("amount", "€50")]),
    ("$3,200 and £15", &[("amount", "$3,200"), ("amount", "£15")]),
    ("CHF 1'200 oder 84.60 CHF", &[("amount", "CHF 1'200"), ("amount", "84.60 CHF")]),
    ("10 000 € und 10\u{202f}000\u{a0}€", &[("amount", "10 000 €"), ("amount", "10\u{202f}000\u{a0}€")]),
    ("am 12.05.2026 500 € erhalten", &[("date", "12.05.2026"), ("amount", "500 €")]),
    ("20€/Monat", &[("amount", "20€")]),
    ("10-20 € Gebühr", &[("amount", "20 €")]),
    ("Kostet am 12.12. nur 12.12 € statt 12.13.", &[("date", "12.12."), ("amount", "12.12 €")]),
    ("€5 kaufen, €5k sparen", &[("amount", "€5"), ("amount", "€5k")]),
    ("2 Mio. Euro", &[("amount", "2 Mio. Euro")]),
    ("-12,00 EUR.", &[("amount", "12,00 EUR")]),
    ("35 Cent zu wenig", &[("amount", "35 Cent")]),
    // date
    ("am 21.09.2026 gebucht", &[("date", "21.09.2026")]),
    ("from 21 Jan. That's long.", &[("date", "21 Jan")]),
    ("letter of 4 February came", &[("date", "4 February")]),
    ("Es war am 21.9. Danach nicht", &[("date", "21.9.")]),
    ("am 21.9. war das", &[("date", "21.9.")]),
    ("Value date 2026-09-21T10:00:00Z", &[("date", "2026-09-21")]),
    ("Am 21. September 2026, abends", &[("date", "21. September 2026")]),
    ("since 21 September nothing", &[("date", "21 September")]),
    ("On Sept 3rd I paid", &[("date", "Sept 3rd")]),
    ("paid 03/09/2026 at noon", &[("date", "03/09/2026")]),
    ("seit dem 3. Ma\u{308}rz", &[("date", "3. Ma\u{308}rz")]),
    ("August 3, 2026", &[("date", "August 3, 2026")]),
    ("vom 1.8. bis 29.8. verreist", &[("date", "1.8."), ("date", "29.8.")]),
    ("on 2 May and may 3rd", &[("date", "2 May"), ("date", "may 3rd")]),
    ("geboren 1.2.78 in Ulm", &[("date", "1.2.78")]),
    ("am 21.09 wurde", &[("date", "21.09")]),
    ("since 21/07 it is gone", &[("date", "21/07")]),
    // e-mail
    ("Schreiben Sie an max.mueller+bank@web.de.", &[("email", "max.mueller+bank@web.de")]),
    ("<a_b@sub.example.co.uk>", &[("email", "a_b@sub.example.co.uk")]),
    ("jürgen@müller.de", &[("email", "jürgen@müller.de")]),
    ("kunde 0911123456@firma.de", &[("email", "0911123456@firma.de")]),
    // phone
    ("Rückruf unter +49 911 1234567 bitte", &[("phone", "+49 911 1234567")]),
    ("0911 1234567", &[("phone", "0911 1234567")]),
    ("Tel.: 0911/123-4567.", &[("phone", "0911/123-4567")]),
    ("(0911) 12 34 567", &[("phone", "(0911) 12 34 567")]),
    ("+49 (0)171 5528843", &[("phone", "+49 (0)171 5528843")]),
    ("0049 171 5528843", &[("phone", "0049 171 5528843")]),
    ("ruft 01715528843 an", &[("phone", "01715528843")]),
    ("+43 664 2038817, gestohlen", &[("phone", "+43 664 2038817")]),
    ("call 555-123-4567 now", &[("phone", "555-123-4567")]),
    ("Handy:0171-5528843", &[("phone", "0171-5528843")]),
    ("04131 50772", &[("phone", "04131 50772")]),
    // postcode
    ("Ich wohne in 90403 Nürnberg", &[("postcode", "90403")]),
    ("D-90403 Nürnberg", &[("postcode", "90403")]),
    ("PLZ 90403", &[("postcode", "90403")]),
    ("meine Postleitzahl ist 90403.", &[("postcode", "90403")]),
    ("Rosentalgasse 7, 8010 Graz", &[("postcode", "8010")]),
    ("Tel. 0911 1234567 90403 Nürnberg", &[("phone", "0911 1234567"), ("postcode", "90403")]),
    (
        "Ich bin 0171 5528843, a@b.de, 99084 Erfurt, seit 3. Mai, 20 €",
        &[
            ("phone", "0171 5528843"),
            ("email", "a@b.de"),
            ("postcode", "99084"),
            ("date", "3. Mai"),
            ("amount", "20 €"),
        ],
    ),
];

/// Texts in which nothing is to be found.
const NOTHING: &[&str] = &[
    "Ich bin Kunde bei der Sparkasse Nürnberg, mein Name ist Max Müller, Kontonummer ABCO1234.",
    "Kontonummer ABC01234",
    "Kontonummer 0123456789",
    "Meine Kundennummer lautet 0123456789.",
    "account number 0123456789",
    "parcel number JJD000390007887654321",
    "DE89 3704 0044 0532 0130 01",
    "DE89370400440532013001",
    "XX89370400440532013000",
    "DE8937040044053201300",
    "DE893704004405320130000",
    "XDE89370400440532013000",
    "is 41 it or no 15 of the rest",
    "4111 1111 1111 1112",
    "411111111111",
    "0000000000000000",
    "20 Stück, 3 Karten, 50 Prozent",
    "fünfzig Euro",
    "zwanzig euros twenty dollars",
    "try 3 times, all 5 cups, 30 sek",
    "der Euro-Kurs, 3-EUR",
    "1.23.4 €",
    "€",
    "Version 1.2.3.4",
    "Adresse 192.168.10.12",
    "31.02.2026",
    "2026-13-01",
    "um 12.30 Uhr",
    "ab 10.12 Uhr",
    "am 99.99. nicht",
    "Zins 3.5 %",
    "1/2 Stunde, 24/7 erreichbar",
    "only 2 may be used",
    "I may 3 times a week",
    "im September 2026",
    "max at web.de",
    "@max und foo@bar",
    "a@b..de",
    "a@.de a@b.c1",
    "0911 12",
    "12345",
    "Bestellung A-99317 bei Technik",
    "you display 1.06. Where from?",
    "im Jahr 2024 Banken",
    "Ich habe 10000 Kunden",
    "12345 kleine Wörter",
    "Karte 2024 bestellt",
    "seit 2019 Kunde",
    "Rechnung 2024/0123456789",
    "RE-0911-1234567",
    "BLZ 090 501 01 Konto 0911123456",
    "BLZ 7605010 Konto 0911123456",
    "BLZ 760501011 Konto 0911123456",
    "TAN 123456",
    "• 1234 Punkte",
    "**1234**",
    "",
    " \r\n\t",
];

#[test]
fn everything_that_is_there_is_found_and_nothing_else() {
    assert!(FOUND.len() >= 60);
    let mut wrong = Vec::new();
    for (text, expected) in FOUND {
        let got = found(text);
        let expected: Vec<(String, String)> =
            expected.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        if got != expected {
            wrong.push(format!("{text}: got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_only_looks_similar_is_left_alone() {
    assert!(NOTHING.len() >= 40);
    let wrong: Vec<String> = NOTHING
        .iter()
        .filter(|text| !found(text).is_empty())
        .map(|text| format!("{text}: {:?}", found(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two banks that do not exist.
fn banks() -> BankCodes {
    let header =
        "Bankleitzahl;Merkmal;Prüfzifferberechnungsmethode;Bankleitzahllöschung;Nachfolge-Bankleitzahl";
    let file = format!("{header}\n10000001;1;00;0;00000000\n20000002;1;13;0;00000000\n");
    BankCodes::parse("blz.csv", file.as_bytes()).unwrap()
}

/// Every span covers its value as typed, counted in Unicode scalar values, and none touches another. But the
/// last four digits of a card may stand in groups, and an IBAN may follow from the account number it stands on.
fn assert_spans(text: &str) -> usize {
    static BANKS: std::sync::LazyLock<BankCodes> = std::sync::LazyLock::new(banks);
    let chars: Vec<char> = text.chars().collect();
    let hits = recognise_with(text, &BANKS);
    let mut last = (0, 0);
    for hit in &hits {
        let place = (hit.start, hit.end);
        let span: String = chars[hit.start..hit.end].iter().collect();
        let digits = || span.chars().filter(char::is_ascii_digit).collect::<String>();
        match hit.field.as_str() {
            "card_last4" => {
                assert_eq!(hit.text.chars().count(), 4);
                assert!(span.chars().count() >= 4);
            }
            "iban" if place == last => {
                assert!(hit.text.starts_with("DE") && hit.text.ends_with(&digits()), "{hit:?} in {text:?}");
                assert!(iban::shapes(&hit.text).iter().any(|shape| shape.valid), "{hit:?}");
                continue;
            }
            _ => assert_eq!(span, hit.text, "{text:?}"),
        }
        assert!(last.1 <= hit.start && hit.start < hit.end, "{hit:?} overlaps in {text:?}");
        last = place;
    }
    hits.len()
}

#[test]
fn spans_hold_in_every_kind_of_text() {
    let around = [
        "",
        "Müller ",
        "Mu\u{308}ller ",
        "Straße ẞ ",
        "👩‍👩‍👧‍👦🏳️‍🌈 ",
        "Kon\u{ad}to\u{ad}num\u{ad}mer? ",
        "a\r\nb\r\n",
        "日本 ",
        "\u{feff}",
    ];
    for left in around {
        for right in around {
            for (value, expected) in FOUND {
                let text = format!("{left}{value} {right}");
                assert_spans(&text);
                if !matches!(left, "a\r\nb\r\n") {
                    assert!(recognise(&text).len() >= expected.len(), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_last_four_of_a_card_are_where_the_span_says() {
    let hit = recognise("Käse 4444 4444 4444 4444 442").remove(0);
    assert_eq!((hit.start, hit.end, hit.text.as_str()), (23, 28, "4442"));
}

#[test]
fn every_pattern_compiles() {
    assert_spans(
        "DE89370400440532013000 4111111111111111 **** 1234 ends in 1234 5 € BLZ 10000001 Konto 9290701 1.1.2026 1.1. 0911 1234567 PLZ 90403 Ort 1, 8010 Graz a@b.de",
    );
    assert!(parse_amount("1 €").is_some() && parse_date("1.1.", "2026-01-01").is_some());
}

#[test]
fn a_long_text_takes_linear_time() {
    for unit in [
        "1",
        "1 ",
        "0911 ",
        "€1.",
        "@a.",
        "DE89 ",
        "1.1.",
        "•",
        "x",
        "aaaa",
        "1.234.",
        "é1 ",
        "BLZ 10000001 Kto 1 ",
        "Konto 12 ",
    ] {
        let text = unit.repeat(64 * 1024 / unit.len());
        let begin = std::time::Instant::now();
        assert_spans(&text);
        assert!(begin.elapsed().as_secs() < 5, "{unit}: {:?}", begin.elapsed());
    }
}

fn found_with(text: &str) -> Vec<(String, String)> {
    recognise_with(text, &banks()).into_iter().map(|r| (r.field, r.text)).collect()
}

#[test]
fn bank_codes_verify_accounts_and_tell_their_ibans() {
    let account = |text: &str| {
        let found = found_with(text).into_iter().filter(|(field, _)| field != "bank_code");
        found.map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ")
    };
    for (text, expected) in [
        ("BLZ 100 000 01, Kto. 929 0701", "account_number 929 0701, iban DE72100000010009290701"),
        ("Kontonummer 0009290701 BLZ 10000001", "account_number 0009290701, iban DE72100000010009290701"),
        // A wrong digit: for the models, and for no other recogniser.
        ("BLZ 10000001, Kto. 9290702", ""),
        ("BLZ 10000001, Kto. 0911 123456", ""),
        // The sub-account is left out: the bank knows whether it belongs into the IBAN.
        ("BLZ 20000002, Kto. 1234566", "account_number 1234566"),
        ("BLZ 20000002, Kto. 123456600", "account_number 123456600, iban DE67200000020123456600"),
        // The file does not name the bank.
        ("BLZ 30000003, Kto. 9290702", "account_number 9290702"),
        ("Kto. 9290701", ""),
    ] {
        assert_eq!(account(text), expected, "{text}");
    }
    let far = format!("BLZ 10000001 {} Kto. 9290701", "und noch etwas ".repeat(6));
    assert_eq!(account(&far), "");
    let both = recognise_with("Müller 👩‍👩‍👧: BLZ 10000001 Konto 9290701", &banks());
    let places: Vec<_> = both.iter().skip(1).map(|hit| (hit.start, hit.end)).collect();
    assert_eq!(places, [(33, 40), (33, 40)]);
}

/// What sits beside values and must not move them: composed and decomposed letters, sharp s, emoji with joiners,
/// soft hyphens, line breaks, names with marks in them.
const BESIDE: &[&str] = &[
    "Müller-Lüdenscheidt",
    "Mu\u{308}ller-Lu\u{308}denscheidt",
    "O'Neill",
    "O’Neill",
    "Straße",
    "STRAẞE",
    "ä ö ü Ä Ö Ü ß",
    "a\u{308} o\u{308} U\u{308}",
    "é e\u{301}",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "👍🏽",
    "Kon\u{ad}to\u{ad}num\u{ad}mer",
    "Über\u{ad}weisung",
    "\r\n",
    "\r\n\r\n",
    "\u{feff}",
    "\u{a0}",
];

proptest! {
    #[test]
    fn every_value_stands_where_it_says_among_letters_of_all_kinds(
        parts in prop::collection::vec((prop::sample::select(BESIDE), prop::sample::select(FOUND)), 1..8),
        between in prop::sample::select(vec![" ", "\r\n", ", "]),
    ) {
        // As one text, and each value alone: there it must be found whatever stands around it.
        let joined = parts.iter().flat_map(|(beside, (value, _))| [*beside, between, *value, between]);
        let text: String = joined.collect();
        assert_spans(&text);
        for (beside, (value, expected)) in parts {
            let alone = format!("{beside}\u{2003}\n\n{value}");
            assert!(assert_spans(&alone) >= expected.len(), "{alone:?}");
        }
    }

    #[test]
    fn no_text_breaks_it(text in any::<String>()) {
        assert_spans(&text);
    }

    #[test]
    fn nor_one_made_of_what_it_looks_for(parts in prop::collection::vec(prop::sample::select(vec![
        "DE89", "3704 ", "0044", " ", "-", ".", ",", "/", "€", "EUR", "Euro", "4111", "1111 ", "•", "*", "xxx", "0911", "+49",
        "(", ")", "@", "a", "é", "e\u{301}", "ß", "\u{ad}", "\u{200d}", "👩", "\r\n", "\u{a0}", "1", "21", "Mai", "Sept ", "3rd",
        "2026", "PLZ ", "90403", " Ort", "Ｋ", "K", "ſ", "１", "card ", "'", "–", "k", "Mio.", "-4", "Karte",
        "BLZ ", "10000001", "Konto ", "Kto.-Nr. ", "9290701", "929 0701",
    ]), 0..40)) {
        assert_spans(&parts.concat());
    }
}
