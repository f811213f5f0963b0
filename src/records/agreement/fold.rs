//! Spellings that mean the same letters.

/// Lower case, white space as one blank, none at the ends.
pub fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Words of letters and digits alone, in lower case without accents. Marks within a word part it, apostrophes do not.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars() {
        match bare(c) {
            Some(letters) => words.iter_mut().next_back().into_iter().for_each(|word| word.push_str(letters)),
            None if c.is_alphanumeric() => {
                words.iter_mut().next_back().into_iter().for_each(|word| word.extend(c.to_lowercase()));
            }
            None if matches!(c, '\'' | '’' | '`' | '\u{300}'..='\u{36f}') => {}
            None => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `ae`, `oe`, `ue` as one letter, as `bare` leaves umlauts; doubled letters stay.
pub fn umlauts(word: &str) -> String {
    word.replace("ae", "a").replace("oe", "o").replace("ue", "u")
}

/// A letter with a mark, or one that is no Latin base letter, as plain letters.
fn bare(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'á' | 'à' | 'â' | 'ã' | 'å' | 'ą' | 'ă' | 'ā' | 'Ä' | 'Á' | 'À' | 'Â' | 'Ã' | 'Å' | 'Ą'
        | 'Ă' | 'Ā' => "a",
        'ç' | 'ć' | 'č' | 'ĉ' | 'Ç' | 'Ć' | 'Č' => "c",
        'ď' | 'đ' | 'ð' | 'Ď' | 'Đ' => "d",
        'é' | 'è' | 'ê' | 'ë' | 'ę' | 'ě' | 'ē' | 'É' | 'È' | 'Ê' | 'Ë' | 'Ę' | 'Ě' => "e",
        'ğ' | 'Ğ' => "g",
        'í' | 'ì' | 'î' | 'ï' | 'ı' | 'ī' | 'Í' | 'Ì' | 'Î' | 'Ï' | 'İ' => "i",
        'ł' | 'ľ' | 'ĺ' | 'Ł' | 'Ľ' => "l",
        'ñ' | 'ń' | 'ň' | 'Ñ' | 'Ń' | 'Ň' => "n",
        'ö' | 'ó' | 'ò' | 'ô' | 'õ' | 'ø' | 'ő' | 'ō' | 'Ö' | 'Ó' | 'Ò' | 'Ô' | 'Õ' | 'Ø' | 'Ő' => {
            "o"
        }
        'ř' | 'ŕ' | 'Ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' | 'Ś' | 'Š' | 'Ş' | 'Ș' => "s",
        'ť' | 'ţ' | 'ț' | 'Ť' | 'Ţ' | 'Ț' => "t",
        'ü' | 'ú' | 'ù' | 'û' | 'ů' | 'ű' | 'ū' | 'Ü' | 'Ú' | 'Ù' | 'Û' | 'Ů' | 'Ű' => "u",
        'ý' | 'ÿ' | 'Ý' => "y",
        'ź' | 'ż' | 'ž' | 'Ź' | 'Ż' | 'Ž' => "z",
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'þ' | 'Þ' => "th",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        assert_eq!(words("  Jürgen O'Neill-Groß "), ["jurgen", "oneill", "gross"]);
        assert_eq!(words("Mu\u{308}ller Łukasz"), ["muller", "lukasz"]);
        assert_eq!(umlauts("mueller"), "muller");
        assert_eq!(plain(" Filiale  NORD"), "filiale nord");
        assert!(words(" -- ").is_empty());
    }
}
