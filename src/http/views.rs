//! What a caller sees of a case: staff the whole, a channel the customer's view of its own cases.

use super::api::Api;
use super::error::Refusal;
use crate::base::{CaseId, CustomerId};
use crate::cases::{Event, State, customer_view, staff_view};
use crate::governance::{Principal, Role};
use crate::ledger::Entry;
use serde_json::Value;

/// A case that this caller may know of.
pub async fn existing(api: &Api, who: &Principal, case: &CaseId) -> Result<State, Refusal> {
    let state = api.cases.existing(case).await?;
    if may_know(who, &state) { Ok(state) } else { Err(Refusal::no_case()) }
}

/// A channel knows only the cases that it opened itself.
fn may_know(who: &Principal, state: &State) -> bool {
    who.role != Role::Channel || state.opened_by.as_ref().is_some_and(|by| by.name == who.name)
}

/// The view that belongs to the caller's role.
pub async fn view(api: &Api, who: &Principal, state: &State) -> Result<Value, Refusal> {
    if who.role.sees_cases() {
        return Ok(staff_view(state));
    }
    let entries = api.cases.entries(&state.case).await?;
    Ok(for_customer(state, &entries))
}

/// The customer's view. A reply to a verified customer may hold their data, so it is not shown any more
/// once somebody else, or nobody verified, has written in the case.
pub fn for_customer(state: &State, entries: &[Entry]) -> Value {
    let mut view = customer_view(state);
    let length = usize::try_from(state.length).unwrap_or(usize::MAX);
    let (mut speaker, mut addressee): (Option<CustomerId>, Option<CustomerId>) = (None, None);
    for entry in entries.iter().take(length) {
        match entry.kind.as_str() {
            "received" => {
                let event = serde_json::from_value(entry.body.clone());
                speaker = match event {
                    Ok(Event::Received { message, .. }) => message.identity.customer().cloned(),
                    _ => None,
                };
            }
            "replied" => addressee.clone_from(&speaker),
            _ => {}
        }
    }
    if addressee.is_some()
        && addressee != speaker
        && let Some(reply) = view.get_mut("reply")
    {
        *reply = Value::Null;
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Digest, Language, MessageId, Timestamp};
    use crate::cases::ReplyKind;
    use crate::intake::{Assurance, Identity, Message};
    use crate::reply::Reply;

    fn received(identity: Identity) -> Event {
        let message = Message {
            id: MessageId::new("msg_1"),
            case: CaseId::new("case_1"),
            channel: "chat".into(),
            language: Language::De,
            text: "Hallo".into(),
            attachments: Vec::new(),
            identity,
            received_at: Timestamp::from_millis(0),
        };
        Event::Received { by: Principal { name: "chat".into(), role: Role::Channel }, message }
    }

    fn verified(customer: &str) -> Event {
        let (customer, at) = (CustomerId::new(customer), Timestamp::from_millis(0));
        received(Identity::Verified { customer, assurance: Assurance::Sca, at })
    }

    fn replied() -> Event {
        let reply = Reply { language: Language::De, text: "Ihr Konto …234".into(), citations: Vec::new() };
        Event::Replied { kind: ReplyKind::Resolves, reply }
    }

    fn shown(events: &[Event]) -> bool {
        let at = Timestamp::from_millis(0);
        let mut state = State::new(CaseId::new("case_1"));
        let mut entries = Vec::new();
        for event in events {
            entries.push(Entry {
                position: state.length + 1,
                stream: "case/case_1".into(),
                seq: state.length,
                kind: event.kind().into(),
                at,
                digests: Default::default(),
                body: serde_json::to_value(event).unwrap(),
                hash: Digest::of(b""),
            });
            state.apply(event, at);
        }
        !for_customer(&state, &entries)["reply"].is_null()
    }

    #[test]
    fn a_reply_is_for_whom_it_was_made() {
        assert!(shown(&[verified("cus_1"), replied()]));
        assert!(shown(&[verified("cus_1"), replied(), verified("cus_1")]));
        assert!(!shown(&[verified("cus_1"), replied(), received(Identity::Anonymous)]));
        assert!(!shown(&[verified("cus_1"), replied(), verified("cus_2")]));
        assert!(shown(&[verified("cus_1"), replied(), received(Identity::Anonymous), replied()]));
        assert!(shown(&[received(Identity::Anonymous), replied(), verified("cus_1")]));
    }

    #[test]
    fn a_channel_knows_its_own_cases_and_staff_all() {
        let mut state = State::new(CaseId::new("case_1"));
        state.opened_by = Some(Principal { name: "chat".into(), role: Role::Channel });
        let who = |name: &str, role| Principal { name: name.into(), role };
        assert!(may_know(&who("chat", Role::Channel), &state));
        assert!(!may_know(&who("mail", Role::Channel), &state));
        assert!(may_know(&who("sara", Role::Agent), &state));
    }
}
