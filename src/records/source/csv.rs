//! Comma-separated values after RFC 4180: quoted fields may hold commas, line breaks and doubled quotes.

/// The rows with the line on which each begins. Line ends may be LF or CRLF; empty lines are skipped.
/// The error is the line on which a quoted field begins that never ends, or goes on after its quote.
pub fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let mut rows = Vec::new();
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let (mut line, mut row, mut start) = (1, Vec::new(), 1);
    while chars.peek().is_some() {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            let opened = line;
            loop {
                match chars.next() {
                    None => return Err(opened),
                    Some('"') if chars.next_if_eq(&'"').is_none() => break,
                    Some('\n') => {
                        line += 1;
                        field.push('\n');
                    }
                    Some(c) => field.push(c),
                }
            }
            if chars.peek().is_some_and(|c| !matches!(c, ',' | '\r' | '\n')) {
                return Err(opened);
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n')) {
                field.push(c);
            }
            if chars.peek() != Some(&',') && field.ends_with('\r') {
                field.pop();
            }
        }
        row.push(field);
        chars.next_if_eq(&'\r');
        match chars.next() {
            Some(',') => {
                // A comma at the very end opens one more, empty field.
                if chars.peek().is_none() {
                    row.push(String::new());
                }
                continue;
            }
            Some('\n') => line += 1,
            Some(_) => return Err(line),
            None => {}
        }
        let done = std::mem::take(&mut row);
        if done.iter().any(|field| !field.is_empty()) {
            rows.push((start, done));
        }
        start = line;
    }
    if !row.is_empty() {
        rows.push((start, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_ends() {
        let text = "a,b\r\n\"x, \"\"y\"\"\",\"1\n2\"\n\nlast,";
        let rows = rows(text).unwrap();
        let told: Vec<_> = rows.iter().map(|(line, row)| (*line, row.join("|"))).collect();
        assert_eq!(told, [(1, "a|b".to_owned()), (2, "x, \"y\"|1\n2".to_owned()), (5, "last|".to_owned())]);
    }

    #[test]
    fn an_open_quote_is_named_by_its_line() {
        assert_eq!(rows("a\n\"b\nc"), Err(2));
        assert_eq!(rows("a\n\"b\"c\n"), Err(2));
        assert_eq!(rows(""), Ok(vec![]));
    }
}
