//! A page whose style and script are part of it, and the headers that bind the browser to that.

use crate::base::Digest;
use crate::http::Refusal;
use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// Where style and script stand in the page.
const STYLE: &str = "/* style */";
const SCRIPT: &str = "/* script */";

pub struct Page {
    html: String,
    policy: String,
}

impl Page {
    /// `html` has one place for each of them.
    pub fn new(html: &str, style: &str, script: &str) -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            source(script),
            source(style),
        );
        Self { html: html.replacen(STYLE, style, 1).replacen(SCRIPT, script, 1), policy }
    }

    /// Answers with the page at this path.
    pub fn at(self, path: &str) -> Router {
        let page = Arc::new(self);
        let show = move || async move {
            let headers = [
                (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
                (header::X_FRAME_OPTIONS, "DENY".to_owned()),
                (header::REFERRER_POLICY, "no-referrer".to_owned()),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ];
            (headers, Html(page.html.clone())).into_response()
        };
        Router::new().route(path, get(show)).method_not_allowed_fallback(|| async { Refusal::method() })
    }
}

/// As the browser names what it lets run: by its hash.
fn source(text: &str) -> String {
    let hex = Digest::of(text.as_bytes());
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = hex.hex().as_bytes().chunks(2).filter_map(byte).collect();
    format!("sha256-{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_stands_in_the_page() {
        let html = "<style>/* style */</style><script>/* script */</script>";
        let page = Page::new(html, "p { }", "abc");
        assert_eq!(page.html, "<style>p { }</style><script>abc</script>");
        // The hash of the standard's test vector.
        assert!(page.policy.contains("script-src 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='"));
        assert!(page.policy.starts_with("default-src 'none'; "));
    }
}
