//! What people do in a case: taking it over, answering, changing what is proposed, giving it back. The case goes on where
//! it stood, on facts that are read anew.

use super::{Now, decide};
use crate::base::ApprovalId;
use crate::cases::event::Event;
use crate::cases::state::State;
use crate::cases::view::summary;
use crate::governance::{Principal, Role};
use crate::reply::Reply;
use serde_json::Value;

/// What somebody does. Whether they may, and whether it is possible now, was looked at before.
#[derive(Clone, PartialEq, Debug)]
pub enum Deed {
    /// The machine does nothing more until the case is given back.
    TakeOver { reason: Option<String> },
    /// The plan of this leaf goes on at this step.
    GiveBack { leaf: String, step: String, note: Option<String> },
    /// Other arguments for a call that waits for approval.
    Edit { approval: ApprovalId, arguments: Value, reason: Option<String> },
    /// Only the holders of a role decide from now on.
    Delegate { approval: ApprovalId, to: Role, reason: Option<String> },
    /// A person's own text to the customer.
    Answer { reply: Reply, resolves: bool },
}

pub(super) fn did(state: &State, by: Principal, deed: Deed, now: &Now<'_>) -> Vec<Event> {
    match deed {
        Deed::TakeOver { reason } => vec![Event::TakenOver { by, reason, summary: summary(state) }],
        Deed::GiveBack { leaf, step, note } => {
            // A step of a plan that this one goes on in keeps that plan.
            let known = state.plan.as_ref().filter(|known| known.leaf == leaf || known.name() == leaf);
            let of = known.map(|known| &known.cursor.plan);
            let has = |leaf: &str| {
                now.pack.plans.by_name.get(leaf).is_some_and(|plan| plan.steps.contains_key(&step))
            };
            let plan = of.filter(|of| has(of)).cloned().unwrap_or_else(|| leaf.clone());
            let digest = now.pack.plans.by_name.get(&leaf).map(|plan| plan.digest.clone());
            let pack = Some(now.pack.digest.clone());
            let stood = known.is_some_and(|known| known.cursor.plan == plan && known.cursor.step == step);
            let starts = now.pack.plans.by_name.get(&leaf).is_some_and(|own| own.start == step);
            let another = state.concern().is_some_and(|concern| concern != leaf);
            let open = another || !(stood || starts);
            vec![Event::GivenBack { by, leaf, plan, step, digest, pack, note, open }]
        }
        Deed::Edit { approval, arguments, reason } => {
            let event = Event::Edited { approval, by, arguments, reason };
            let mut after = state.clone();
            after.apply(&event, now.at);
            let call = after
                .approval
                .as_ref()
                .and_then(|(request, _)| after.calls.iter().find(|call| call.id == request.call).cloned());
            let mut events = vec![event];
            // It is another proposal: everybody is asked anew.
            events.extend(call.into_iter().flat_map(|call| decide(&after, &call, &[], now)));
            events
        }
        Deed::Delegate { approval, to, reason } => vec![Event::Delegated { approval, by, to, reason }],
        Deed::Answer { reply, resolves } => vec![Event::Answered { by, reply, resolves }],
    }
}
