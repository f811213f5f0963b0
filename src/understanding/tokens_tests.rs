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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
