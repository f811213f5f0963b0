//! The pages that the service shows to people of the bank.
//!
//! Enters: a browser's request for a page. Leaves: one HTML document with its style and its script inside, and a policy
//! that lets it load nothing else. A page has no data and needs no key: whoever opens it gives one, which the page
//! keeps while it is open, and the script asks the routes of `http` with it.
//! It must never hold a rule, see a case, or put a text into a page other than as text.

mod page;
mod policies;

use axum::Router;

/// All pages.
pub fn router() -> Router {
    policies::router()
}
