//! A concern that no plan is for: the plans that were suggested are walked, and the first that calls something is put
//! before a person. Whoever suggested them is not trusted with anything.

use super::{Now, escalation, planned};
use crate::cases::event::Event;
use crate::cases::state::State;
use crate::cases::view::plan_view;
use crate::intake::Identity;
use crate::planning::{Advanced, GENERAL_QUEUE, Next, Proposal, judge};

pub(super) const NOT_LISTED: &str =
    "the plan that was proposed goes on with a call that may not be (`tools` of `[open]` in cases.toml)";

/// Whether what comes next may be part of a proposal: it calls nothing, or tools of the list alone.
pub(super) fn allows(next: &Next, now: &Now<'_>) -> bool {
    let listed = |tool: &String| now.pack.service.open.as_ref().is_some_and(|open| open.tools.contains(tool));
    match next {
        Next::Call { tool, .. } => listed(tool),
        Next::Parallel { calls, .. } => calls.iter().all(|call| listed(&call.tool)),
        _ => true,
    }
}

pub(super) fn propose(state: &State, leaf: &str, now: &Now<'_>) -> Vec<Event> {
    let none = |state: &State| escalation(state, leaf, GENERAL_QUEUE, &format!("no plan for leaf `{leaf}`"));
    let verified =
        matches!(state.message().map(|message| &message.identity), Some(Identity::Verified { .. }));
    let open = now.pack.service.open.as_ref().filter(|_| verified && !state.suggestions.is_empty());
    let Some(open) = open else { return none(state) };
    let view = plan_view(state, now.at);
    let judged = state
        .suggestions
        .iter()
        .map(|suggestion| judge(&now.pack.plans, suggestion, &open.tools, (&view, &state.asked)));
    let (proposals, walked): (Vec<Proposal>, Vec<Option<Advanced>>) = judged.unzip();
    let mut events = vec![Event::Proposed { proposals }];
    let mut after = state.clone();
    events.iter().for_each(|event| after.apply(event, now.at));
    events.extend(match walked.into_iter().flatten().next() {
        Some(advanced) => planned(&after, leaf, advanced, now),
        None => none(&after),
    });
    events
}
