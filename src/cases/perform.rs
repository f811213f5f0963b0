//! Performs what is due in a case: reading, looking up, searching, composing. Decides nothing.

use super::CaseError;
use super::run::Cases;
use super::state::{Effect, State};
use super::step::Input;
use super::view::{circumstances, leaf_of, subject};
use crate::base::Language;
use crate::intake::Recognised;
use crate::ledger::Claim;
use crate::planning::Next;
use crate::policy::{Audience, Grounds, Passage, Question};
use crate::records::Facts;
use crate::understanding::{Known, Order, Reading, Shadow, Urgency};
use serde_json::{Value, json};
use std::sync::Arc;

/// The text for a customer whose request waits for a human's approval.
const WORKING: &str = "working";
/// How many passages a case's search keeps.
const PASSAGES: usize = 5;

impl Cases {
    /// # Errors
    /// The claim is lost, or something happened in the case, just before a call.
    pub(super) async fn perform(
        &self,
        state: &State,
        effect: Effect,
        claim: &Claim,
    ) -> Result<Input, CaseError> {
        let done = match effect {
            Effect::Understand => self.understand(state).await,
            Effect::LookUp => self.look_up(state).await,
            Effect::Search => self.search(state).await,
            Effect::Compose => self.compose(state),
            Effect::Call(id) => match state.calls.iter().find(|call| call.id == id) {
                Some(call) => Ok(self.call(state, call, claim).await?),
                None => Err(("acting", "the call is not recorded".to_owned())),
            },
        };
        Ok(done.unwrap_or_else(|(room, reason)| Input::Failed { room, reason }))
    }

    async fn understand(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let Some(message) = state.message().cloned() else {
            return Err(("understanding", "no message".into()));
        };
        let models = Arc::clone(&self.parts().models);
        // An answer is read by the bundle that read what it answers.
        let began_with = state.reading.as_ref().map(|reading| reading.digests.model.clone());
        let case = state.case.to_string();
        let own = Arc::clone(&models);
        // Another bundle than the current one may have to be loaded.
        let reads = tokio::task::spawn_blocking(move || match began_with {
            Some(model) => (own.pinned(&model), Some(model)),
            None => (own.current(), None),
        });
        let (reads, began_with) =
            reads.await.map_err(|_| ("understanding", "the bundle was not loaded".to_owned()))?;
        if let Some(model) = began_with.filter(|model| model != reads.digest()) {
            let reads = reads.digest();
            tracing::warn!(%case, %model, %reads, "the bundle that the case began with cannot be loaded");
        }
        let order = Order {
            models: reads,
            banks: Arc::clone(&self.parts().bank_codes),
            id: message.id.to_string(),
            text: message.text,
            language: message.language,
        };
        let done = self.parts().readers.read_surely(order, Urgency::Urgent).await;
        let done = done.map_err(|error| ("understanding", error.to_string()))?;
        if let Some(shadow) = models.shadow() {
            read_along(shadow, case, done.text, done.found, done.reading.clone());
        }
        Ok(Input::Understood(done.reading))
    }

    async fn look_up(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let id = state.message().map_or_else(String::new, |message| message.id.to_string());
        let lookup = &self.parts().lookup;
        let Some(circumstances) = circumstances(state) else {
            // How long it takes must not tell whether there is such a record.
            return Ok(Input::Found(lookup.find_evenly(&id, &state.fields).await));
        };
        let mut facts: Facts = lookup.find(&id, &state.fields).await;
        if let Some(grant) = self.parts().pack.governance.read(&circumstances.customer, &circumstances) {
            lookup.read(&grant, &mut facts, &state.fields).await;
        }
        Ok(Input::Found(facts))
    }

    /// Two searches in one: what the message asks, for the staff, and the documents that the leaf's plan
    /// rests on. Only public passages: a reply is made of them.
    async fn search(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let Some(message) = state.message() else { return Err(("policy", "no message".into())) };
        let leaf = state.plan.as_ref().map(|plan| plan.leaf.as_str());
        let leaf = leaf.or_else(|| state.reading.as_ref().map(leaf_of));
        let plan = leaf.and_then(|leaf| self.parts().pack.plans.by_leaf.get(leaf));
        let day = self.parts().clock.now().date();
        let Some(as_of) = crate::policy::parse_date(&day) else { return Err(("policy", "no date".into())) };
        let base = Question {
            id: message.id.to_string(),
            text: message.text.clone(),
            language: Some(message.language),
            audience: Audience::Public,
            as_of,
            documents: None,
            top: PASSAGES,
        };
        let mut questions = vec![base.clone()];
        for (document, question) in plan.into_iter().flat_map(|plan| {
            plan.documents
                .iter()
                .filter_map(|document| Some((document, plan.question.get(message.language.code())?)))
        }) {
            questions.push(Question {
                text: question.clone(),
                documents: Some(vec![localised(document, message.language)]),
                top: 2,
                ..base.clone()
            });
        }
        let policies = Arc::clone(&self.parts().policies);
        let found = tokio::task::spawn_blocking(move || {
            let generation = policies.current();
            questions.iter().map(|question| generation.search(question)).collect::<Result<Vec<Grounds>, _>>()
        });
        match found.await {
            Ok(Ok(all)) => merged(all).map(Input::Grounded).ok_or(("policy", "nothing was asked".to_owned())),
            Ok(Err(error)) => Err(("policy", error.to_string())),
            Err(_) => Err(("policy", "the search was cut off".to_owned())),
        }
    }

    fn compose(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let nothing = || ("reply", "there is nothing to compose".to_owned());
        let Some(next) = &state.next else { return Err(nothing()) };
        let working = WORKING.to_owned();
        let (template, with, cite) = match next {
            Next::Ask { template, with, .. } => (template, with.clone(), Vec::new()),
            Next::Reply { template, with, cite, .. } => (template, with.clone(), cite.clone()),
            Next::Escalate { template, .. } => (template, json!({}), Vec::new()),
            Next::Call { .. } => (&working, json!({}), Vec::new()),
        };
        let language = state.message().map_or(Language::De, |message| message.language);
        let records = state.facts.as_ref().map_or(&[][..], |facts| facts.records.as_slice());
        let mut context = with;
        if let ([record], Value::Object(members)) = (records, &mut context) {
            let mut fields = record.fields.clone();
            fields.insert("id".to_owned(), json!(record.id));
            members.insert("record".to_owned(), Value::Object(fields));
        }
        let subjects: Vec<_> = records.iter().map(subject).collect();
        let grant = circumstances(state)
            .and_then(|circumstances| self.parts().pack.governance.disclose(&subjects, &circumstances));
        let passages = cited(state, &cite, language);
        if passages.is_empty() && !cite.is_empty() {
            return Err(("policy", format!("no passage of {} is in force", cite.join(", "))));
        }
        let rendered =
            self.parts().pack.templates.render(language, template, &context, &passages, grant.as_ref());
        rendered.map(Input::Composed).map_err(|error| ("reply", error.to_string()))
    }
}

/// A document is named in plans without its language: `account-unlock` stands for `account-unlock-de`.
fn localised(document: &str, language: Language) -> String {
    format!("{document}-{language}")
}

/// The best passage of each cited document.
fn cited(state: &State, cite: &[String], language: Language) -> Vec<Passage> {
    let found = state.grounds.as_ref().map_or(&[][..], |grounds| grounds.passages.as_slice());
    cite.iter()
        .filter_map(|document| {
            let wanted = localised(document, language);
            // The search for the plan's own question comes last and ranks within the document.
            let of_document = found.iter().filter(|passage| passage.document == wanted);
            of_document.max_by(|a, b| a.score.total_cmp(&b.score)).cloned()
        })
        .collect()
}

/// One grounds out of several searches of one generation; a passage that two of them found counts once,
/// with the better score.
fn merged(all: Vec<Grounds>) -> Option<Grounds> {
    let mut all = all.into_iter();
    let mut first = all.next()?;
    for further in all {
        for passage in further.passages {
            let same = |known: &&mut Passage| {
                known.document == passage.document
                    && known.start == passage.start
                    && known.version == passage.version
            };
            match first.passages.iter_mut().find(same) {
                Some(known) => known.score = known.score.max(passage.score),
                None => first.passages.push(passage),
            }
        }
    }
    Some(first)
}

/// Lets a challenger read the same message, where nobody waits for it.
fn read_along(shadow: Arc<Shadow>, case: String, text: String, found: Vec<Recognised>, said: Reading) {
    tokio::task::spawn_blocking(move || {
        let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
        if let Err(error) = shadow.read(&case, (&text, said.language), &known, &said) {
            tracing::warn!(%error, "the challenger could not read a message");
        }
    });
}
