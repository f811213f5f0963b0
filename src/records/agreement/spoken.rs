//! Letters and digits as people say them: spelling alphabets, names of letters and numbers, in English and German
//! (ITU radiotelephony alphabet; DIN 5009, both the one of names and the one of towns).

/// Words for a letter or digit. What a recogniser writes for a letter's name stands here too (`see` for C).
const WORDS: &[(&str, &str)] = &[
    ("0", "zero nought null oh nil"),
    ("1", "one eins ein won"),
    ("2", "two zwei zwo to too"),
    ("3", "three drei free tree"),
    ("4", "four vier for fore"),
    ("5", "five funf"),
    ("6", "six sechs"),
    ("7", "seven sieben"),
    ("8", "eight acht ate"),
    ("9", "nine neun niner"),
    ("A", "alpha alfa anton aachen aa eh"),
    ("B", "bravo berta berlin bee be bi"),
    ("C", "charlie casar caesar chemnitz see sea cee ce ze"),
    ("D", "delta dora dusseldorf duesseldorf dee de"),
    ("E", "echo emil essen ee"),
    ("F", "foxtrot friedrich frankfurt eff ef"),
    ("G", "golf gustav goslar gee ge"),
    ("H", "hotel heinrich hamburg aitch haitch age ha"),
    ("I", "india ida ingelheim eye"),
    ("J", "juliet juliett juliette julius jena jay jot"),
    ("K", "kilo kaufmann koln koeln kay okay ka"),
    ("L", "lima ludwig leipzig ell el hello"),
    ("M", "mike martha munchen muenchen em"),
    ("N", "november nordpol nurnberg nuernberg en and end an in"),
    ("O", "oscar otto offenbach"),
    ("P", "papa paula potsdam pee pe"),
    ("Q", "quebec quelle quickborn queue cue kuh"),
    ("R", "romeo richard rostock are our er"),
    ("S", "sierra samuel siegfried salzwedel ess es"),
    ("T", "tango theodor tubingen tuebingen tea tee te"),
    ("U", "uniform ulrich unna you"),
    ("V", "victor viktor volklingen voelklingen vee vau"),
    ("W", "whiskey whisky wilhelm wuppertal doubleyou we"),
    ("X", "xray xanthippe xanten ex ix"),
    ("Y", "yankee ypsilon why wye"),
    ("Z", "zulu zacharias zeppelin zwickau zed zedd zee zett"),
];

/// What a word in lower case without accents stands for, when characters are spelled.
pub fn character(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(_, words)| words.split(' ').any(|each| each == word)).map(|(character, _)| *character)
}

/// Words as the characters that they spell, words that spell nothing as they are; in upper case.
/// `double` and `triple` count for what follows.
pub fn spelled(words: &[String]) -> String {
    let mut out = String::new();
    let mut times = 1;
    for word in words {
        match word.as_str() {
            "double" | "doppel" => times = 2,
            "triple" | "dreifach" => times = 3,
            _ => {
                let characters = character(word).map_or_else(|| word.to_uppercase(), str::to_owned);
                (0..times).for_each(|_| out.push_str(&characters));
                times = 1;
            }
        }
    }
    out
}

/// Whether the words spell something out: most of them are single characters or stand for one.
pub fn spells(words: &[String]) -> bool {
    let single = words.iter().filter(|word| word.chars().count() <= 2 || character(word).is_some()).count();
    words.len() >= 3 && single * 3 >= words.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        super::super::fold::words(text)
    }

    #[test]
    fn alphabets_of_both_languages() {
        assert_eq!(spelled(&words("whiskey 2 0 alpha bravo")), "W20AB");
        assert_eq!(spelled(&words("Anton Berta null acht Zwickau")), "AB08Z");
        assert_eq!(spelled(&words("double seven Nordpol")), "77N");
        assert_eq!(spelled(&words("w20 a bee")), "W20AB");
        assert!(spells(&words("g a v i n")) && spells(&words("Sierra Oscar papa")));
        assert!(!spells(&words("Katie Marshall")) && !spells(&words("Anna Marie Schmidt")));
    }
}
