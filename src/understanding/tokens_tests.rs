use super::*;
use proptest::prelude::*;

fn tokens() -> &'static Tokens {
    static TOKENS: std::sync::OnceLock<Tokens> = std::sync::OnceLock::new();
    TOKENS.get_or_init(|| Tokens::from_file(Path::new("models/default/tokenizer.json"), 512).unwrap())
}

fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let read = tokens().read(text).unwrap();
    read.words.iter().map(|word| letters[word.start..word.end].iter().collect()).collect()
}

#[test]
fn words_stand_where_they_stand_in_the_original() {
    assert_eq!(words("Max Müller, ABCO1234."), ["Max", "Müller", ",", "ABCO1234", "."]);
    assert_eq!(words("Mu\u{308}ller kommt"), ["Mu\u{308}ller", "kommt"], "decomposed");
    assert_eq!(words("Straße\r\nMüller-Lüdenscheidt"), ["Straße", "Müller", "-", "Lüdenscheidt"]);
    assert_eq!(words("O'Neill 👩‍👩‍👧 Weiß").last().unwrap(), "Weiß");
    assert_eq!(words("O'Neill 👩‍👩‍👧 Weiß")[..3], ["O", "'", "Neill"]);
    assert_eq!(words("Über\u{ad}weisung an Öz").last().unwrap(), "Öz");
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let read = tokens().read(&"Konto ".repeat(5000)).unwrap();
    assert_eq!((read.ids.len(), read.truncated), (512, true));
    assert_eq!(read.ids[511], 102, "the closing piece stays");
    assert!(read.words.iter().all(|word| word.pieces.end <= 511));
    assert!(tokens().read(&" ".repeat(2_000_000)).unwrap().truncated);
    assert!(!tokens().read("kurz").unwrap().truncated);
}

#[test]
fn nothing_is_no_error() {
    let read = tokens().read("").unwrap();
    assert_eq!((read.ids.as_slice(), read.words.len()), ([101, 102].as_slice(), 0));
    assert!(tokens().read("\u{0}\u{ad}\u{200d}").unwrap().words.is_empty());
}

/// Words that a careless count of bytes, letters or pieces would move, with what they are made of.
const WORDS: &[(&str, &[&str])] = &[
    ("Müller-Lüdenscheidt", &["Müller", "-", "Lüdenscheidt"]),
    ("Mu\u{308}ller-Lu\u{308}denscheidt", &["Mu\u{308}ller", "-", "Lu\u{308}denscheidt"]),
    ("O'Neill", &["O", "'", "Neill"]),
    ("O’Neill", &["O", "’", "Neill"]),
    ("Straße", &["Straße"]),
    ("STRAẞE", &["STRAẞE"]),
    ("Ärger", &["Ärger"]),
    ("A\u{308}rger", &["A\u{308}rger"]),
    ("Über\u{ad}weisung", &["Über\u{ad}weisung"]),
    ("élan", &["élan"]),
    ("ABCO1234", &["ABCO1234"]),
    ("12,50", &["12", ",", "50"]),
];

/// What stands between words. Emoji may be words or not, but never part of a neighbour.
const BETWEEN: &[&str] = &[
    " ",
    "\r\n",
    "\u{a0}",
    "\t",
    " 👩‍👩‍👧‍👦 ",
    " 🏳️‍🌈 ",
    " 👍🏽 ",
    " \u{ad} ",
    " \u{200d} ",
    "\u{3000}",
    " \u{feff} ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In any order and with anything between them, each word is found as it was typed, in its place.
    #[test]
    fn each_word_is_the_characters_as_typed(
        parts in prop::collection::vec((prop::sample::select(BETWEEN), prop::sample::select(WORDS)), 0..30),
    ) {
        let (mut text, mut expected) = (String::new(), Vec::new());
        for (between, (whole, words)) in parts {
            text.push_str(between);
            let mut at = text.chars().count();
            for word in words {
                let end = at + word.chars().count();
                expected.push((at, end, word.to_string()));
                at = end;
            }
            text.push_str(whole);
        }
        let letters: Vec<char> = text.chars().collect();
        let read = tokens().read(&text).unwrap();
        let is_emoji = |text: &str| {
            text.chars().all(|c| u32::from(c) >= 0x2_0000 || !c.is_alphanumeric() && !c.is_ascii()) && text != "’"
        };
        let spans = read.words.iter().map(|word| (word.start, word.end));
        let found = spans.map(|(start, end)| (start, end, letters[start..end].iter().collect::<String>()));
        let kept: Vec<_> = found.filter(|(.., text)| !is_emoji(text)).collect();
        prop_assert_eq!(kept, expected, "{:?}", text);
    }

    /// For any text: words lie inside it, in order, without overlap, and hold no space.
    #[test]
    fn words_are_ordered_slices_of_any_text(text in "(\\PC|[äöüßÄ\u{308}\u{ad}\u{200d}👩 \r\n\t.,'-]|Müller|ABC0){0,40}") {
        let letters: Vec<char> = text.chars().collect();
        let read = tokens().read(&text).unwrap();
        let mut last = 0;
        for word in &read.words {
            prop_assert!(word.start >= last && word.start < word.end && word.end <= letters.len());
            prop_assert!(!letters[word.start..word.end].contains(&' '));
            prop_assert!(word.pieces.end < read.ids.len() && !word.pieces.is_empty());
            last = word.end;
        }
    }
}
