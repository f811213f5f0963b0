//! HTML -> [`Text`](super::Text).
//!
//! Enters: the bytes of a page, in a worker. Leaves: what the page shows, with headings, lists, tables and
//! footnotes. It must never fetch what the page names, run what it says, or tell what it hides.

mod show;
mod tree;

use super::error::Unreadable;
use super::limits::Limits;
use super::{Text, plain};
use encoding_rs::Encoding;

/// Where browsers look for a declared encoding.
const DECLARED_WITHIN: usize = 1024;

/// A page in the encoding that it declares, or in UTF-8.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Text, Unreadable> {
    let marked = Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
    let declared = || match plain::utf8(bytes) {
        // What is UTF-8 is not read as something else, whatever it declares.
        Ok(_) => None,
        Err(_) => declared(bytes.get(..DECLARED_WITHIN).unwrap_or(bytes)),
    };
    match marked.or_else(declared) {
        Some(encoding) => {
            let (text, _, _) = encoding.decode(bytes);
            read_text(&text, limits)
        }
        None => read_text(plain::utf8(bytes)?, limits),
    }
}

pub fn read_text(text: &str, limits: &Limits) -> Result<Text, Unreadable> {
    let tree = tree::parse(text, limits.depth)?;
    show::shown(&tree, limits)
}

/// The name behind `charset=`.
fn declared(begin: &[u8]) -> Option<&'static Encoding> {
    let text = String::from_utf8_lossy(begin).to_ascii_lowercase();
    let (_, rest) = text.split_once("charset=")?;
    let name: String = rest
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    Encoding::for_label(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(page: &str) -> Text {
        read(page.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn what_a_page_shows_keeps_its_structure() {
        let page = "<!doctype html><html lang='de-AT'><head><title> Preise </title><style>p{}</style></head><body>\
            <h1>Preise <em>2026</em></h1><p>Eins<br>zwei &amp; drei</p><nav><a href=/>Start</a></nav>\
            <ul><li>a<ol start=3><li>b</li><li>c</ol></li><li><p>d</p><p>e</p></ul>\
            <table><caption>Kosten</caption><thead><tr><th>Konto<th>Euro</thead>\
            <tr><td rowspan=2>Giro<td>1|2<tr><td>3</table><pre>x  y\n z</pre>\
            <blockquote>quoted</blockquote><dl><dt>Term<dd>Meaning</dl><script>alert(1)</script>\
            <p hidden>secret</p><p style='color:red; display: none'>secret</p><div>loose <b>text</b></div>";
        let text = taken(page);
        assert_eq!((text.title.as_deref(), text.language.as_deref()), (Some("Preise"), Some("de")));
        assert_eq!(
            text.text,
            "# Preise 2026\n\nEins\nzwei & drei\n\n- a\n    3. b\n    4. c\n- d\n\n    e\n\nKosten\n\n\
             | Konto | Euro |\n| --- | --- |\n| Giro | 1\\|2 |\n|  | 3 |\n\n```\nx  y\n z\n```\n\nquoted\n\n\
             Term\n\nMeaning\n\nloose text"
        );
    }

    #[test]
    fn footnotes_are_found_where_a_link_leads_to_them() {
        let page = "<p>Fee<sup><a href='#n1'>1</a></sup> and <a role=doc-noteref href='#n2'>*</a> and \
            <a href='#top'>up</a>.</p><h2 id=top>More</h2><ol><li id=n1>Without tax. <a href='#r1'>↩</a></li></ol>\
            <p><a id=n2>*</a> With tax.</p>";
        assert_eq!(
            taken(page).text,
            "Fee[^1] and [^2] and up.\n\n## More\n\n[^1]: Without tax.\n[^2]: With tax."
        );
    }

    #[test]
    fn the_declared_encoding_is_used_where_it_is_not_utf8() {
        let page = b"<meta http-equiv=Content-Type content='text/html; charset=iso-8859-1'><p>Geb\xfchr";
        assert_eq!(read(page, &Limits::default()).unwrap().text, "Gebühr");
        let error = read(b"<p>Geb\xfchr", &Limits::default());
        assert_eq!(error, Err(Unreadable::NotUtf8 { byte: 6 }));
        assert_eq!(taken("<meta charset=iso-8859-1><p>Gebühr").text, "Gebühr");
    }

    #[test]
    fn elements_inside_one_another_have_an_end() {
        let deep = |levels: usize| read("<div>".repeat(levels).as_bytes(), &Limits::default());
        assert!(deep(200).is_ok());
        assert_eq!(deep(100_000), Err(Unreadable::Nested { limit: 256 }));
    }
}
