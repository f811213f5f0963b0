//! Performs what is due in a case: reading, looking up, searching, composing. Decides nothing.

use super::CaseError;
use super::run::Cases;
use super::search::{answered, cited, questions};
use super::state::{CallState, Effect, State, Status};
use super::step::Input;
use super::view::{circumstances, subject};
use crate::acting::Outcome;
use crate::base::Language;
use crate::governance::{Subject, Totals};
use crate::intake::Recognised;
use crate::ledger::Claim;
use crate::planning::{HANDOVER, Next, Suggestion};
use crate::records::{Facts, Record};
use crate::understanding::{Known, Order, Reading, Shadow, Urgency};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;

/// The text for a customer whose request waits for a human's approval.
const WORKING: &str = "working";
/// The hand-over for a customer who has not written: another system told something.
const TOLD: &str = "handover_event";

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
            Effect::Compose => self.compose(state).await,
            Effect::Call(id) => match state.calls.iter().find(|call| call.id == id) {
                Some(call) => Ok(self.call(state, call, claim).await?),
                None => Err(("acting", "the call is not recorded".to_owned())),
            },
            Effect::Calls(ids) => {
                let calls = state.calls.iter().filter(|call| ids.contains(&call.id));
                let made = try_join_all(calls.map(|call| self.call(state, call, claim))).await?;
                Ok(Input::Several(made))
            }
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
            let facts = lookup.find_evenly(&id, &state.fields).await.without_others();
            return Ok(Input::Found { facts, totals: Totals::default(), read: None });
        };
        let mut facts: Facts = lookup.find(&id, &state.fields).await;
        let (grant, read) = self.parts().pack.governance.read(&circumstances.customer, &circumstances);
        if let Some(grant) = grant {
            lookup.read(&grant, &mut facts, &state.fields).await;
        }
        let facts = facts.without_others();
        let totals = self.totals(&circumstances.customer, &facts).await;
        let totals = totals.map_err(|error| ("governance", format!("the totals cannot be read: {error}")))?;
        Ok(Input::Found { facts, totals, read: Some(read) })
    }

    async fn search(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let pack = self.pack_of(state).await.map_err(|error| ("planning", error.to_string()))?;
        let (policies, models) = (Arc::clone(&self.parts().policies), Arc::clone(&self.parts().models));
        let read_by = state.reading.as_ref().map(|reading| reading.digests.model.clone());
        let began_with = state.grounds.as_ref().map(|grounds| grounds.generation.clone());
        let (cases, state) = (self.clone(), state.clone());
        let found = tokio::task::spawn_blocking(move || {
            // The vectors of the generation that the case keeps to are those of the bundle that it keeps to.
            let models = read_by.map_or_else(|| models.current(), |model| models.pinned(&model));
            let pinned = began_with.and_then(|generation| match policies.pinned(&generation) {
                Ok(pinned) => Some(pinned),
                Err(error) => {
                    tracing::warn!(case = %state.case, %error, "the policies that the case began with cannot be searched");
                    None
                }
            });
            let generation = pinned.unwrap_or_else(|| policies.current(models.searcher()));
            let search = |suggestions: &[Suggestion]| {
                let asked = questions(&state, &pack, suggestions);
                let asked = asked.ok_or(("policy", "there is no message to ask for".to_owned()))?;
                let found = answered(&asked, |question| generation.search(question, Some(&models)));
                let found = found.map_err(|error| ("policy", error.to_string()))?;
                found.ok_or(("policy", "nothing was asked".to_owned()))
            };
            let grounds = search(&[])?;
            let suggestions = cases.suggestions(&state, (&pack, &models), &grounds);
            let suggestions = suggestions.map_err(|reason| ("planning", reason))?;
            let grounds = if suggestions.is_empty() { grounds } else { search(&suggestions)? };
            Ok(Input::Grounded { grounds, suggestions })
        });
        found.await.unwrap_or_else(|_| Err(("policy", "the search was cut off".to_owned())))
    }

    async fn compose(&self, state: &State) -> Result<Input, (&'static str, String)> {
        let nothing = || ("reply", "there is nothing to compose".to_owned());
        let (working, told_text) = (WORKING.to_owned(), TOLD.to_owned());
        let pack = self.pack_of(state).await.map_err(|error| ("planning", error.to_string()))?;
        let told = state.messages.iter().all(|message| message.event.is_some());
        let has_text = pack.templates.names().any(|name| name == TOLD);
        let (template, with, cite) = match state.next.as_ref() {
            _ if state.status == Status::WaitingApproval => (&working, json!({}), Vec::new()),
            // Something is waited for that is no text.
            next if next.is_none() && state.approval.is_none() => return Err(nothing()),
            None => (&working, json!({}), Vec::new()),
            Some(Next::Ask { template, with, .. }) => (template, with.clone(), Vec::new()),
            Some(Next::Reply { template, with, cite, .. }) => (template, with.clone(), cite.clone()),
            // Who has not written is not thanked for it. Packs of before have no such text.
            Some(Next::Escalate { template, .. }) if template == HANDOVER && told && has_text => {
                (&told_text, json!({}), Vec::new())
            }
            Some(Next::Escalate { template, .. }) => (template, json!({}), Vec::new()),
            Some(
                Next::Call { .. }
                | Next::Parallel { .. }
                | Next::Wait { .. }
                | Next::Undo { .. }
                | Next::Resolve { .. },
            ) => (&working, json!({}), Vec::new()),
        };
        let language = state.message().map_or(Language::De, |message| message.language);
        let records = state.facts.as_ref().map_or(&[][..], |facts| facts.records.as_slice());
        let mut context = with;
        if let ([record], Value::Object(members)) = (records, &mut context) {
            let mut fields = record.fields.clone();
            fields.insert("id".to_owned(), json!(record.id));
            // What was done on it may be told as well: a person may have changed an amount before.
            let on_it = |call: &&CallState| call.record.as_ref() == Some(&record.id);
            let done = state
                .calls
                .iter()
                .filter(on_it)
                .filter(|call| matches!(call.outcome, Some(Outcome::Done { .. })));
            let done: Vec<&Value> = done.map(|call| &call.arguments).collect();
            fields.insert("done".to_owned(), json!(done));
            members.insert("record".to_owned(), Value::Object(fields));
        }
        let subjects = self.subjects(state, records).await?;
        let (grant, disclosed) = match circumstances(state).filter(|_| !subjects.is_empty()) {
            Some(circumstances) => {
                let (grant, said) = self.parts().pack.governance.disclose(&subjects, &circumstances);
                (grant, Some(said))
            }
            None => (None, None),
        };
        let passages = cited(state, &cite, language);
        if passages.is_empty() && !cite.is_empty() {
            return Err(("policy", format!("no passage of {} is in force", cite.join(", "))));
        }
        let rendered = pack.templates.render(language, template, &context, &passages, grant.as_ref());
        let composed = |reply| Input::Composed { reply, disclosed };
        rendered.map(composed).map_err(|error| ("reply", error.to_string()))
    }
}

/// What was read so long ago is read again before anything is told of it, in milliseconds.
const STALE: i64 = 60_000;

impl Cases {
    /// The records as the rules see them now: somebody may have raised a flag while a person was asked.
    async fn subjects(
        &self,
        state: &State,
        records: &[Record],
    ) -> Result<Vec<Subject>, (&'static str, String)> {
        let now = self.now().await.map_err(|error| ("reply", error.to_string()))?;
        let Some(circumstances) =
            circumstances(state).filter(|_| state.found_at.is_some_and(|found| now.since(found) > STALE))
        else {
            return Ok(records.iter().map(subject).collect());
        };
        let governance = &self.parts().pack.governance;
        let (Some(grant), _) = governance.read(&circumstances.customer, &circumstances) else {
            return Ok(Vec::new());
        };
        let mut subjects = Vec::with_capacity(records.len());
        for record in records {
            // What cannot be read any more is not told of.
            match self.parts().lookup.refresh(&grant, &record.id).await {
                Ok(fresh) => subjects.push(subject(&fresh)),
                Err(error) => tracing::warn!(case = %state.case, %error, "a record cannot be read again"),
            }
        }
        Ok(subjects)
    }
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
