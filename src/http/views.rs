//! What a caller sees of a case: staff the whole, a channel the customer's view of its own cases.

use super::api::Api;
use super::error::Refusal;
use crate::base::CaseId;
use crate::cases::{State, customer_view, staff_view};
use crate::governance::{Act, Principal, Role};
use serde_json::Value;

/// A case that this caller may know of.
pub async fn existing(api: &Api, who: &Principal, case: &CaseId) -> Result<State, Refusal> {
    let state = api.cases.existing(case).await?;
    if may_know(who, &state) { Ok(state) } else { Err(Refusal::no_case()) }
}

/// The same, for looking at it: what staff looks at is in the ledger before they see it.
pub async fn looked_at(
    api: &Api,
    who: &Principal,
    what: &'static str,
    case: &CaseId,
) -> Result<State, Refusal> {
    let state = existing(api, who, case).await?;
    if sees_cases(api, who) {
        api.cases.note_access(who, what, vec![case.clone()]).await?;
    }
    Ok(state)
}

/// A channel knows only the cases that it opened itself, and those that a system opened for its customers.
fn may_know(who: &Principal, state: &State) -> bool {
    let first = state.messages.first().filter(|message| message.event.is_some());
    who.role != Role::Channel
        || state.opened_by.as_ref().is_some_and(|by| by.name == who.name)
        || first.is_some_and(|message| message.channel == who.name)
}

/// Whether they see all of a case.
pub fn sees_cases(api: &Api, who: &Principal) -> bool {
    api.cases.pack().governance.administration.evaluate(who, Act::SeeCase).allowed
}

/// The view that belongs to the caller's role.
pub fn view(api: &Api, who: &Principal, state: &State) -> Value {
    if sees_cases(api, who) {
        return staff_view(state);
    }
    customer_view(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CustomerId, Language, MessageId, Timestamp};
    use crate::cases::{Event, ReplyKind};
    use crate::intake::{Assurance, Identity, Message};
    use crate::reply::Reply;

    fn received(identity: Identity) -> Event {
        let message = Message {
            id: MessageId::new("msg_1"),
            case: CaseId::new("case_1"),
            channel: "chat".into(),
            language: Language::De,
            text: "Hallo".into(),
            event: None,
            attachments: Vec::new(),
            identity,
            received_at: Timestamp::from_millis(0),
        };
        Event::Received { by: Principal::new("chat", Role::Channel), message }
    }

    fn verified(customer: &str) -> Event {
        let (customer, at) = (CustomerId::new(customer), Timestamp::from_millis(0));
        received(Identity::Verified { customer, assurance: Assurance::Sca, at })
    }

    fn replied() -> Event {
        let reply = Reply { language: Language::De, text: "Ihr Konto …234".into(), citations: Vec::new() };
        Event::Replied { kind: ReplyKind::Resolves, reply, disclosed: None }
    }

    fn shown(events: &[Event]) -> bool {
        let at = Timestamp::from_millis(0);
        let mut state = State::new(CaseId::new("case_1"));
        for event in events {
            state.apply(event, at);
        }
        !customer_view(&state)["reply"].is_null()
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
        state.opened_by = Some(Principal::new("chat", Role::Channel));
        let who = |name: &str, role| Principal::new(name, role);
        assert!(may_know(&who("chat", Role::Channel), &state));
        assert!(!may_know(&who("mail", Role::Channel), &state));
        assert!(may_know(&who("sara", Role::Agent), &state));
    }
}
