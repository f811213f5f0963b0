//! What other systems of the bank tell: to a case that waits for it, or of a customer, for whom a case is opened then.

use super::CaseError;
use super::event::Event;
use super::run::{Cases, Notice, event_of};
use super::state::State;
use super::step::Input;
use crate::base::{CaseId, CustomerId, Language, MessageId};
use crate::governance::Principal;
use crate::intake::{Assurance, Identity, Message};
use crate::ledger::{LedgerError, Once};

/// An event about a customer who has not written anything.
pub struct Occurrence {
    /// The sender's own id of it.
    pub id: String,
    /// What happened, as a plan names it.
    pub kind: String,
    pub customer: CustomerId,
    /// Where the customer is told.
    pub channel: String,
    pub language: Language,
}

impl Cases {
    /// Takes what another system tells about a case; `id` is that system's own, and the same one counts once. Says
    /// whether it is what the case waited for. The caller then drives it.
    pub async fn notify(
        &self,
        case: &CaseId,
        by: &Principal,
        told: (&str, &str),
    ) -> Result<Notice, CaseError> {
        let (id, kind) = told;
        let once = Once { scope: scope(by), key: id.to_owned(), value: format!("{case} {kind}") };
        let notified = |state: &State, _| match state.length {
            0 => Err(CaseError::NoCase(case.clone())),
            _ => Ok(Input::Notified { by: by.clone(), id: id.to_owned(), kind: kind.to_owned() }),
        };
        match self.bring(case, vec![once.clone()], notified).await {
            Err(CaseError::Ledger(LedgerError::Used { value, .. })) => match value == once.value {
                true => Ok(Notice::Duplicate),
                false => Err(CaseError::EventReused),
            },
            Err(error) => Err(error),
            Ok(()) => {
                let entries = self.entries(case).await?;
                let taken = entries.iter().rev().find_map(|entry| match event_of(case, entry) {
                    Ok(Event::Notified { id: known, taken, .. }) if known == id => Some(taken),
                    _ => None,
                });
                Ok(if taken == Some(true) { Notice::Taken } else { Notice::NotAwaited })
            }
        }
    }

    /// Opens a case for what happened to a customer, under the plan of that event; the same event opens one case. The
    /// system answers for whom it names as a login does: nothing that needs two factors is done on its word. The caller
    /// then drives the case.
    ///
    /// # Errors
    /// There is no plan for the event; another event came under this id; what the ledger says.
    pub async fn occurred(
        &self,
        (case, message): (CaseId, MessageId),
        by: &Principal,
        told: Occurrence,
    ) -> Result<(CaseId, Notice), CaseError> {
        let Occurrence { id, kind, customer, channel, language } = told;
        if self.pack().plans.of_event(&kind).is_none() {
            return Err(CaseError::NoEvent(kind));
        }
        let about = format!("{kind} {customer} {channel}");
        let about = self.hidden("event", about).await?;
        let once = Once { scope: scope(by), key: id, value: format!("{case} {about}") };
        let received = |state: &State, at| match state.length == 0 && !self.parts().ledger.has_room() {
            true => Err(CaseError::NoRoom),
            false => {
                let identity =
                    Identity::Verified { customer: customer.clone(), assurance: Assurance::Login, at };
                let message = Message {
                    id: message.clone(),
                    case: case.clone(),
                    channel: channel.clone(),
                    language,
                    text: String::new(),
                    event: Some(kind.clone()),
                    attachments: Vec::new(),
                    identity,
                    received_at: at,
                };
                Ok(Input::Received { by: by.clone(), message })
            }
        };
        match self.bring(&case, vec![once], received).await {
            Ok(()) => Ok((case, Notice::Opened)),
            Err(CaseError::Ledger(LedgerError::Used { value, .. })) => match value.split_once(' ') {
                Some((case, known)) if known == about.to_string() => {
                    Ok((CaseId::new(case), Notice::Duplicate))
                }
                _ => Err(CaseError::EventReused),
            },
            Err(error) => Err(error),
        }
    }
}

fn scope(by: &Principal) -> String {
    format!("event/{}", by.name)
}
