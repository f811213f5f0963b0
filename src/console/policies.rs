//! Where administrators of the policies try questions, look at the documents, and change them.

use super::page::Page;
use axum::Router;

const HTML: &str = include_str!("policies.html");
const STYLE: &str = include_str!("policies.css");
const SCRIPT: &str = include_str!("policies.js");

pub fn router() -> Router {
    Page::new(HTML, STYLE, SCRIPT).at("/console/policies")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_takes_texts_as_texts() {
        for (part, once) in [("/* style */", 1), ("/* script */", 1), ("http://", 0), ("https://", 0)] {
            assert_eq!(HTML.matches(part).count(), once, "{part}");
        }
        for event in [" onclick=", " onload=", " onsubmit=", " onchange=", " style=", " src=", "javascript:"]
        {
            assert!(!HTML.contains(event), "{event}");
        }
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"]
        {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style") && !STYLE.contains("url("));
    }
}
