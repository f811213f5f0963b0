//! What the routes of the policies answer.

use super::Seen;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct DocumentList {
    generation: String,
    documents: Vec<DocumentLine>,
}

#[derive(ToSchema)]
struct DocumentLine {
    id: String,
    version: String,
    title: String,
    #[schema(pattern = "^(de|en)$")]
    language: String,
    audience: Seen,
    #[schema(required = true)]
    product: Option<String>,
    /// The first day in force; null: since ever.
    #[schema(required = true, format = Date)]
    valid_from: Option<String>,
    /// The last day in force, inclusive; null: without end.
    #[schema(required = true, format = Date)]
    valid_to: Option<String>,
    #[schema(required = true)]
    supersedes: Option<String>,
    #[schema(required = true)]
    owner: Option<String>,
    /// Digest of the file as it was given.
    #[schema(required = true)]
    source: Option<String>,
    passages: usize,
}

/// What was published, and answers.
#[derive(ToSchema)]
pub struct Published {
    generation: String,
    /// What was current before.
    #[schema(required = true)]
    previous: Option<String>,
    /// False when a generation with this very content was there already.
    built: bool,
    documents: usize,
    passages: usize,
    /// Whose vectors the passages have; null where they are found by their words alone.
    #[schema(required = true)]
    encoder: Option<String>,
    /// How it did on the saved questions; absent where none were asked.
    tested: Option<Tested>,
    skipped: Vec<String>,
    /// What was passed over within the file.
    notes: Option<Vec<String>>,
}

#[derive(ToSchema)]
struct Tested {
    asked: usize,
    passed: usize,
    /// The share that must pass.
    least: f64,
    /// Also where no document is there that a question is about.
    enough: bool,
    failed: Vec<FailedQuestion>,
}

#[derive(ToSchema)]
struct FailedQuestion {
    query: String,
    document: String,
    #[schema(required = true)]
    section: Option<String>,
    /// The documents that were found instead, the best first.
    found: Vec<String>,
}

#[derive(ToSchema)]
pub struct QuestionsTested {
    generation: String,
    /// Among so many first passages the document must be.
    top: usize,
    asked: usize,
    passed: usize,
    /// The share that must pass.
    least: f64,
    /// Also where no document is there that a question is about.
    enough: bool,
    failed: Vec<FailedQuestion>,
    /// All, in the order of the file.
    questions: Vec<SavedQuestion>,
}

#[derive(ToSchema)]
struct SavedQuestion {
    query: String,
    document: String,
    #[schema(required = true)]
    section: Option<String>,
    /// Who asks.
    audience: String,
    #[schema(required = true, pattern = "^(de|en)$")]
    language: Option<String>,
}

#[derive(ToSchema)]
pub struct Previewed {
    documents: Vec<PreviewedDocument>,
    /// What a person should look at that nobody had to before.
    concerns: Vec<Concern>,
    /// What was passed over within the file.
    notes: Vec<String>,
}

/// A document as it was read.
#[derive(ToSchema)]
struct PreviewedDocument {
    id: String,
    version: String,
    title: String,
    #[schema(pattern = "^(de|en)$")]
    language: String,
    audience: Seen,
    #[schema(required = true)]
    product: Option<String>,
    #[schema(required = true, format = Date)]
    valid_from: Option<String>,
    #[schema(required = true, format = Date)]
    valid_to: Option<String>,
    #[schema(required = true)]
    supersedes: Option<String>,
    #[schema(required = true)]
    owner: Option<String>,
    /// `markdown` or `text`, whatever the file was.
    format: String,
    /// Where each page begins, in characters of the body.
    pages: Option<Vec<usize>>,
    source: Option<String>,
    body: String,
    passages: Vec<PreviewedPassage>,
}

#[derive(ToSchema)]
struct PreviewedPassage {
    section: Vec<String>,
    start: usize,
    end: usize,
    #[schema(required = true)]
    page: Option<u32>,
    text: String,
    /// What is searched for it: with the title, the headings, and the head of a table that it begins in.
    searched_as: String,
}

#[derive(ToSchema)]
pub struct Concerns {
    concerns: Vec<Concern>,
}

/// `concern` says which fields are there.
#[derive(ToSchema)]
struct Concern {
    /// `broken_link`, `supersedes_nothing`, `duplicate` or `contradiction`.
    concern: String,
    document: Option<String>,
    version: Option<String>,
    target: Option<String>,
    supersedes: Option<String>,
    /// Two.
    documents: Option<Vec<String>>,
    section: Option<Vec<String>>,
    /// Two.
    sentences: Option<Vec<String>>,
}

#[derive(ToSchema)]
pub struct PoliciesRolledBack {
    /// What answers now: of the same documents as what was asked for.
    current: String,
    #[schema(required = true)]
    previous: Option<String>,
}

#[derive(ToSchema)]
pub struct Forgotten {
    /// The generations that are gone.
    forgotten: Vec<String>,
}

#[derive(ToSchema)]
pub struct PolicyDifference {
    from: String,
    to: String,
    /// By id. What is equal is left out.
    documents: Vec<DocumentDifference>,
}

#[derive(ToSchema)]
struct DocumentDifference {
    document: String,
    /// `added`, `removed` or `changed`.
    change: String,
    #[schema(required = true)]
    version_before: Option<String>,
    #[schema(required = true)]
    version_after: Option<String>,
    /// What of the front matter differs, for a changed document.
    fields: Vec<String>,
    /// Each with `section`, `change`, and the passages `before` and `after`.
    sections: Vec<Value>,
    /// The leaves whose plans cite it.
    plans: Vec<String>,
}

#[derive(ToSchema)]
pub struct GenerationsVerified {
    generations: Vec<GenerationVerified>,
}

#[derive(ToSchema)]
struct GenerationVerified {
    generation: String,
    whole: bool,
    /// Why it is not.
    reason: Option<String>,
    documents: Option<usize>,
    #[schema(required = true)]
    encoder: Option<String>,
    /// Bytes that its vectors take in memory, about.
    vector_bytes: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::super::tests::agrees;
    use super::*;
    use crate::base::{Digest, Language};
    use crate::policy::bar::RetrievalBar;
    use crate::policy::validate::Concern as Raised;
    use serde_json::json;

    #[test]
    fn what_is_published_and_tested_is_as_described() {
        let failed = crate::policy::bar::Failed {
            query: "q".into(),
            document: "d".into(),
            section: None,
            found: Vec::new(),
        };
        let tested = crate::policy::bar::Tested {
            asked: 1,
            passed: 0,
            least: 1.0,
            enough: false,
            failed: vec![failed.clone()],
        };
        agrees::<FailedQuestion>(&json!(failed));
        agrees::<Tested>(&json!(tested));
        let published = crate::policy::Published {
            generation: Digest::of(b"g"),
            previous: None,
            built: true,
            documents: 1,
            passages: 1,
            encoder: None,
            tested: Some(tested),
            skipped: Vec::new(),
            notes: vec!["note".into()],
        };
        agrees::<Published>(&json!(published));
        let bar = RetrievalBar::parse("bar", "[[question]]\nquery = \"q\"\ndocument = \"d\"").unwrap();
        agrees::<SavedQuestion>(&super::super::super::policies::question(&bar.questions[0]));
        let back = crate::policy::RolledBack { current: Digest::of(b"g"), previous: None };
        agrees::<PoliciesRolledBack>(&json!(back));
    }

    #[test]
    fn documents_differences_and_concerns_are_as_described() {
        let sent = ("a.md", "# Fees\n\nFive.".as_bytes());
        let found = crate::policy::upload(sent, Default::default(), Language::En, &Default::default());
        let document = found.unwrap().documents.remove(0);
        agrees::<DocumentLine>(&super::super::super::policies::line((&document, 1)));
        let preview = json!(crate::policy::preview(&document));
        agrees::<PreviewedDocument>(&preview);
        agrees::<PreviewedPassage>(&preview["passages"][0]);
        let change = crate::policy::DocumentChange {
            document: "a".into(),
            change: crate::policy::Change::Added,
            version_before: None,
            version_after: None,
            fields: Vec::new(),
            sections: Vec::new(),
        };
        agrees::<DocumentDifference>(&json!(crate::cases::CitedChange { change, plans: Vec::new() }));
        let two = || ["a".to_owned(), "b".to_owned()];
        let link = Raised::BrokenLink { document: "a".into(), version: "1".into(), target: "b".into() };
        let said = Raised::Contradiction { documents: two(), section: Vec::new(), sentences: two() };
        for concern in [link, said, Raised::Duplicate { documents: two() }] {
            agrees::<Concern>(&json!(concern));
        }
        let verified = crate::policy::Verified {
            generation: Digest::of(b"g"),
            whole: false,
            reason: Some("x".into()),
            documents: None,
            encoder: None,
            vector_bytes: None,
        };
        agrees::<GenerationVerified>(&json!(verified));
    }
}
