//! Changes of the policy documents by people of the bank, as events of a stream: `asked` before anything is done, and
//! what came of it, with who, what, and the generations before and after. A change that was asked for and has no end
//! was cut off; `generations` tells what answers. No event has a text of a document.

use super::run::Cases;
use super::{CaseError, generations};
use crate::base::{Digest, Timestamp};
use crate::governance::Principal;
use crate::ledger::{LedgerError, NewEvent, Stream, StreamKind};
use crate::planning::{Plans, bare};
use crate::policy::bar::RetrievalBar;
use crate::policy::{
    self, Audience, Clearance, Document, DocumentChange, Options, PolicyError, Published, RolledBack,
};
use crate::understanding::Understanding;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The one stream of its kind.
const STREAM: &str = "changes";

const ASKED: &str = "asked";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// What changed between two generations, with the plans that rest on it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PolicyDifference {
    pub from: Digest,
    pub to: Digest,
    /// By document id. What is equal is left out.
    pub documents: Vec<CitedChange>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CitedChange {
    #[serde(flatten)]
    pub change: DocumentChange,
    /// The leaves whose plans cite the document.
    pub plans: Vec<String>,
}

/// Compares what somebody may see of two generations. Blocks.
///
/// # Errors
/// An unknown or damaged generation.
pub fn difference(
    state: &Path,
    plans: &Plans,
    (from, to): (&str, &str),
    seen: &Clearance,
) -> Result<PolicyDifference, PolicyError> {
    let found = policy::diff(state, from, to, seen)?;
    let cited = |change: DocumentChange| CitedChange { plans: plans.citing(&change.document), change };
    let documents = found.documents.into_iter().map(cited).collect();
    Ok(PolicyDifference { from: found.from, to: found.to, documents })
}

/// A document that plans cite, and that a change would take from the replies: it is gone, not public any more, or ended
/// earlier than before. Where the change is `forced`, only one that is gone in every language: the service would not start
/// again with these plans.
pub fn lost(plans: &Plans, before: &[Document], after: &[Document], forced: bool) -> Option<String> {
    let is_cited = |id: &&str| !plans.citing(id).is_empty();
    if forced {
        let left: BTreeSet<&str> = after.iter().map(|document| bare(&document.id)).collect();
        let gone = before.iter().filter(|document| !left.contains(bare(&document.id)));
        return gone.map(|document| document.id.as_str()).find(is_cited).map(str::to_owned);
    }
    let (before, after) = (quotable(before), quotable(after));
    let sooner = before.iter().filter(|(id, until)| after.get(*id).is_none_or(|left| left < *until));
    sooner.map(|(id, _)| *id).find(is_cited).map(str::to_owned)
}

/// Until when each document is public and in force in some version.
fn quotable(documents: &[Document]) -> BTreeMap<&str, Date> {
    let mut until = BTreeMap::new();
    for (document, days) in documents.iter().zip(policy::in_force(documents)) {
        if let (Audience::Public, Some((_, to))) = (&document.audience, days) {
            let known = until.entry(document.id.as_str()).or_insert(to);
            *known = to.max(*known);
        }
    }
    until
}

impl Cases {
    /// Puts documents in the place of those with the same id and version, or beside the others, and publishes them;
    /// `source` is the file that they came in. What is `forced` need not answer the questions of the bar. Blocks until
    /// they answer.
    ///
    /// # Errors
    /// As `policy::amend`; a ledger that cannot be written.
    pub fn put_policies(
        &self,
        by: &Principal,
        (documents, source): (Vec<Document>, &Digest),
        (bar, forced): (Option<&RetrievalBar>, bool),
    ) -> Result<Published, CaseError> {
        let asked = json!({
            "by": by, "what": "upload", "documents": named(&documents), "source": source, "forced": forced,
        });
        self.recorded(asked, published, || self.amended((documents, &BTreeSet::new()), (bar, forced)))
    }

    /// Takes a document away in all its versions, and publishes what is left. Blocks until that answers.
    ///
    /// # Errors
    /// There is no such document, or plans cite it; as `policy::amend`; a ledger that cannot be written.
    pub fn remove_policy(
        &self,
        by: &Principal,
        id: &str,
        (bar, forced): (Option<&RetrievalBar>, bool),
    ) -> Result<Published, CaseError> {
        self.parts().policies.refresh();
        let held = self.parts().generation();
        let of_id = |document: &&Document| document.id == id;
        let versions: Vec<Document> = held.documents().iter().filter(of_id).cloned().collect();
        if versions.is_empty() {
            return Err(CaseError::NoDocument(id.to_owned()));
        }
        let asked = json!({"by": by, "what": "remove", "documents": named(&versions), "forced": forced});
        let removed = BTreeSet::from([id.to_owned()]);
        self.recorded(asked, published, || self.amended((Vec::new(), &removed), (bar, forced)))
    }

    /// Makes an earlier generation the current one, with vectors of the bundle that reads now; what is current
    /// answers until there are these. Blocks until it answers.
    ///
    /// # Errors
    /// As `policy::rollback`; that plans cite what it lacks; a ledger that cannot be written.
    pub fn roll_policies_back(&self, by: &Principal, generation: &str) -> Result<RolledBack, CaseError> {
        let policies = &self.parts().policies;
        policies.refresh();
        let earlier = policy::open_generation(policies.state(), generation)?;
        let name = earlier.digest();
        let asked = json!({"by": by, "what": "rollback", "generation": name});
        let told = |done: &RolledBack| json!({"before": done.previous, "after": done.current});
        self.recorded(asked, told, || {
            let models = self.parts().models.current();
            let kept = self.cited(false);
            let options = Options { kept: Some(&kept), ..self.indexing(&models, None) };
            let rolled = policy::rollback(policies.state(), name.as_str(), options, &|_, _| {});
            rolled.map_err(|error| self.told(error))
        })
    }

    /// Removes generations that were built before a time, are not current, and that no open case needs. Blocks. Returns
    /// what is gone.
    ///
    /// # Errors
    /// As `policy::forget`; a ledger that cannot be read or written.
    pub fn forget_policies(&self, by: &Principal, before: Timestamp) -> Result<Vec<Digest>, CaseError> {
        let asked = json!({"by": by, "what": "forget", "built_before": before});
        let told = |gone: &Vec<Digest>| json!({"forgotten": gone});
        self.recorded(asked, told, || {
            let open_days = self.pack().service.open_days;
            let mut needed = generations::needed(&self.parts().ledger, open_days)?;
            needed.insert(self.parts().generation().digest().clone());
            let gone = policy::forget(self.parts().policies.state(), before, &needed)?;
            generations::note_let_go(&self.parts().ledger, &self.digests(), &gone)?;
            Ok(gone)
        })
    }

    fn indexing<'a>(&self, models: &'a Understanding, bar: Option<&'a RetrievalBar>) -> Options<'a> {
        // Documents have their language by now.
        let language = crate::base::Language::En;
        Options { language, now: self.parts().clock.now(), models: Some(models), bar, kept: None }
    }

    fn amended(
        &self,
        change: (Vec<Document>, &BTreeSet<String>),
        (bar, forced): (Option<&RetrievalBar>, bool),
    ) -> Result<Published, CaseError> {
        let models = self.parts().models.current();
        let kept = self.cited(forced);
        let options = Options { kept: Some(&kept), ..self.indexing(&models, bar.filter(|_| !forced)) };
        let published = policy::amend(self.parts().policies.state(), change, options, &|_, _| {});
        published.map_err(|error| self.told(error))
    }

    fn cited(&self, forced: bool) -> impl Fn(&[Document], &[Document]) -> Option<String> {
        move |before, after| lost(&self.pack().plans, before, after, forced)
    }

    fn told(&self, error: PolicyError) -> CaseError {
        match error {
            PolicyError::Cited(document) => {
                CaseError::Cited { plans: self.pack().plans.citing(&document), document }
            }
            PolicyError::NoDocument(id) => CaseError::NoDocument(id),
            error => error.into(),
        }
    }

    /// Writes down what is asked, does it, and writes down what came of it. What cannot be written down is not done.
    fn recorded<T>(
        &self,
        asked: Value,
        told: impl FnOnce(&T) -> Value,
        work: impl FnOnce() -> Result<T, CaseError>,
    ) -> Result<T, CaseError> {
        self.note_change(ASKED, asked.clone())?;
        let done = work();
        // Whoever asks next is answered from what is current now.
        self.parts().policies.refresh();
        let (kind, more) = match &done {
            Ok(done) => (DONE, told(done)),
            Err(error) => (REFUSED, json!({"reason": reason(error)})),
        };
        let mut body = asked;
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let noted = self.note_change(kind, body);
        let done = done?;
        noted?;
        Ok(done)
    }

    fn note_change(&self, kind: &'static str, body: Value) -> Result<(), LedgerError> {
        let ledger = &self.parts().ledger;
        let event = NewEvent { at: ledger.store().now()?, kind, body };
        ledger.note(&Stream::new(StreamKind::Policies, STREAM), &self.digests(), &event)
    }
}

fn named(documents: &[Document]) -> Vec<Value> {
    let named = |document: &Document| json!({"id": document.id, "version": document.version, "source": document.source});
    documents.iter().map(named).collect()
}

fn published(done: &Published) -> Value {
    json!({"before": done.previous, "after": done.generation})
}

/// In a word: an error's text may tell what a document says.
fn reason(error: &CaseError) -> &'static str {
    match error {
        CaseError::Policy(PolicyError::BelowBar(_)) => "below_bar",
        CaseError::Cited { .. } => "cited",
        CaseError::Policy(PolicyError::Busy { .. }) => "busy",
        CaseError::Policy(PolicyError::Follows { .. }) => "follows",
        CaseError::Policy(PolicyError::Flaws(_) | PolicyError::NoDocuments(_)) => "bad_document",
        CaseError::Policy(PolicyError::Damaged { .. } | PolicyError::Earlier { .. }) => "damaged",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Language;
    use std::collections::BTreeMap;

    fn documents(lines: &[&str]) -> Vec<Document> {
        let gathered = policy::upload(
            ("d.jsonl", lines.join("\n").as_bytes()),
            BTreeMap::new(),
            Language::De,
            &crate::intake::document::Limits::default(),
        );
        gathered.unwrap().documents
    }

    #[test]
    fn what_plans_cite_is_not_hidden_ended_or_taken_away_in_any_language() {
        let plan = crate::planning::Plan::parse(
            "p.toml",
            "leaf = \"l\"\nsummary = \"s\"\nstart = \"end\"\n[policy]\ndocuments = [\"fees\"]\n\
             [steps.end]\nescalate = \"support\"\nreason = \"r\"\n",
        );
        let plans = Plans { by_name: [("l".to_owned(), plan.unwrap())].into() };
        let line = |id: &str, more: &str| {
            format!("{{\"id\": \"{id}\", \"title\": \"T\", \"content\": \"Text of {id}.\"{more}}}")
        };
        let (de, en) = (line("fees-de", ""), line("fees-en", ""));
        let before = documents(&[&de, &en]);
        let lost = |after: &[&str], forced| lost(&plans, &before, &documents(after), forced);
        let fees = Some("fees-de".to_owned());
        assert_eq!(lost(&[&de, &en, &line("cards-de", "")], false), None);
        assert_eq!(lost(&[&en], false), fees);
        assert_eq!(lost(&[&line("fees-de", ", \"audience\": \"internal\""), &en], false), fees);
        assert_eq!(lost(&[&line("fees-de", ", \"valid_to\": \"2030-01-01\""), &en], false), fees);
        let other = line("other-de", ", \"supersedes\": \"fees-de\"");
        assert_eq!(lost(&[&de, &en, &other], false), fees);
        assert_eq!(lost(&[&en], true), None);
        assert_eq!(lost(&[&other], true), fees);
    }
}
