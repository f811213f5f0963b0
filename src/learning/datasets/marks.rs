//! Values marked in a text: `[field|text]`.

use super::Piece;

/// What is wrong with the marks of a text, and what to write; no word of the text.
pub type Fault = (&'static str, &'static str);

/// The text as pieces: those that are values, and what stands between them.
pub fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once('[') {
        let Some((mark, after)) = marked.split_once(']') else {
            return Err(("a mark has no end", "close it with ]"));
        };
        let parts = mark.split_once('|').filter(|(field, value)| !field.is_empty() && !value.is_empty());
        let Some((field, value)) = parts else {
            return Err(("a mark that names no field or no value", "write [field|text]"));
        };
        if !before.is_empty() {
            pieces.push(Piece { text: before.to_owned(), field: None });
        }
        pieces.push(Piece { text: value.to_owned(), field: Some(field.to_owned()) });
        rest = after;
    }
    if rest.contains(']') {
        return Err(("a ] without its [", "remove it"));
    }
    if !rest.is_empty() {
        pieces.push(Piece { text: rest.to_owned(), field: None });
    }
    if pieces.is_empty() {
        return Err(("the text is empty", "write a text"));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_what_stands_between_them_are_pieces() {
        let found = pieces("an [iban|DE89 3704], von [last_name|Huber]").unwrap();
        let shown: Vec<(&str, Option<&str>)> =
            found.iter().map(|piece| (piece.text.as_str(), piece.field.as_deref())).collect();
        let want =
            [("an ", None), ("DE89 3704", Some("iban")), (", von ", None), ("Huber", Some("last_name"))];
        assert_eq!(shown, want);
        assert_eq!(pieces(" ").unwrap().len(), 1, "what stands between two concerns");
        for bad in ["[iban|", "[iban]", "[|x]", "[iban|]", "x ] y", ""] {
            assert!(pieces(bad).is_err(), "{bad}");
        }
    }
}
