//! One call of a tool, from the last check to its outcome. Decides nothing: governance does.

use super::CaseError;
use super::people::check_edit;
use super::run::{Cases, blocking};
use super::state::{CallState, State};
use super::step::{ABOVE_LIMIT, Input, call_request, within_limit};
use super::stops::Stop;
use super::view::{circumstances, plan_view};
use crate::acting::{Call, Outcome};
use crate::base::grants::Permit;
use crate::base::{CaseId, Digest};
use crate::governance::{Decision, Verdict};
use crate::ledger::{Claim, LedgerError, Once};
use crate::planning::{Next, Risk, advance};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

/// How often an effect may be tried again in further cases after it certainly failed.
const CLAIMS: u32 = 20;

impl Cases {
    pub(super) async fn call(
        &self,
        state: &State,
        call: &CallState,
        held: &Claim,
    ) -> Result<Input, CaseError> {
        let unsent = || self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if !call.doubted && !unsent().contains(&call.id) {
            // Intent without result: it may have happened. That is said before anything is done about it.
            return Ok(Input::Doubted { call: call.id.clone() });
        }
        let arguments = Call::new(call.id.clone(), call.tool.clone(), call.arguments.clone());
        let permit = match self.permit(state, call).await {
            Ok(permit) => self.claim(call).await.map(|()| permit),
            Err(decision) => Err(decision),
        };
        let id = call.id.clone();
        self.still_holds(held, state.length).await?;
        let may_send = || !self.known_stop(state, call);
        // One that is in doubt may have been sent by another node meanwhile, whatever this one knows.
        if unsent().remove(&call.id) && !call.doubted {
            return Ok(match permit {
                Ok(permit) => {
                    let outcome = self.parts().acting.perform(permit, &arguments, &may_send).await;
                    Input::Returned { call: id, outcome }
                }
                Err(decision) => Input::Stopped { call: id, decision },
            });
        }
        // The tool's own rule settles it.
        // How long ago that was, the store says; acting counts by this machine's clock.
        let now = self.now().await?;
        let age = now.since(call.intended_at.unwrap_or(now));
        let intended_at = self.parts().clock.now().plus_millis(-age);
        let (permit, refused) = match permit {
            Ok(permit) => (Some(permit), None),
            Err(decision) => (None, Some(decision)),
        };
        let acting = &self.parts().acting;
        let outcome = acting.resolve_ambiguous(permit, &arguments, intended_at, &may_send).await;
        Ok(match (outcome, refused) {
            (Outcome::Failed { .. }, Some(decision)) => Input::Stopped { call: id, decision },
            (outcome, _) => Input::Returned { call: id, outcome },
        })
    }

    pub(super) fn keep_stops(&self, stops: &[Stop]) {
        *self.stopped.write().unwrap_or_else(PoisonError::into_inner) = stops.to_vec();
    }

    fn known_stop(&self, state: &State, call: &CallState) -> bool {
        // Of a plan that was proposed, its own concern counts as well.
        let plans = state.plan.as_ref().map_or(["", ""], |plan| [plan.leaf.as_str(), plan.name()]);
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        stopped.iter().any(|stop| plans.iter().any(|plan| stop.covers(&call.tool, plan)))
    }

    /// Whether the call is stopped now, by what the ledger says now.
    async fn check_stops(&self, state: &State, call: &CallState) -> Result<(), Decision> {
        let cases = self.clone();
        let looked = tokio::task::spawn_blocking(move || cases.look_at_stops()).await;
        if !matches!(looked, Ok(Ok(_))) {
            return Err(Decision::refused(&call.tool, "the ledger does not say whether it is stopped"));
        }
        if self.known_stop(state, call) {
            return Err(Decision::refused(&call.tool, "stopped by the bank's staff"));
        }
        // The list may have become shorter while a person was asked.
        let proposed = state.plan.as_ref().is_some_and(|plan| plan.cursor.proposed().is_some());
        let open = self.parts().pack.service.open.as_ref();
        if proposed && call.undoes.is_none() && !open.is_some_and(|open| open.tools.contains(&call.tool)) {
            return Err(Decision::refused(&call.tool, "it may not be proposed any more"));
        }
        Ok(())
    }

    /// Just before a call: this node lives, the case is still its own, and nothing has happened in it since.
    async fn still_holds(&self, claim: &Claim, length: u64) -> Result<(), CaseError> {
        let (ledger, node, own) = (Arc::clone(&self.parts().ledger), self.node.name.clone(), claim.clone());
        let checked = blocking(move || {
            let store = ledger.store();
            let stream = own.stream.to_string();
            match (store.holds(&own, &node, length)?, store.head(&own.stream)?) {
                (true, _) => Ok(()),
                (false, Some(head)) if head.length != length => {
                    Err(LedgerError::Conflict { stream, expected: length, actual: head.length })
                }
                (false, _) => Err(LedgerError::Lost { stream }),
            }
        });
        Ok(checked.await?)
    }

    /// One effect, one case: two cases about the same thing do not both bring it about. A claim whose call
    /// certainly did not act is passed on.
    async fn claim(&self, call: &CallState) -> Result<(), Decision> {
        let refused = |reason: &str| Decision::refused(&call.tool, reason);
        // Reading brings nothing about.
        let pack = &self.parts().pack;
        if pack.tools.by_name.get(&call.tool).is_some_and(|tool| tool.risk == Risk::Read) {
            return Ok(());
        }
        let what = json!([call.tool, call.record, call.arguments]).to_string();
        let digest = self.hidden("effect", what).await;
        let digest = digest.map_err(|_| refused("the ledger's keys cannot be read"))?;
        for turn in 0..CLAIMS {
            let once = Once {
                scope: format!("effect/{}", call.tool),
                key: format!("{digest}/{turn}"),
                value: call.id.to_string(),
            };
            let ledger = Arc::clone(&self.parts().ledger);
            let holder = blocking(move || ledger.claim(&once)).await;
            let holder = holder.map_err(|_| refused("the ledger could not record the claim"))?;
            if holder == call.id.as_str() {
                return Ok(());
            }
            let case = holder.rsplit_once(".c").map_or(holder.as_str(), |(case, _)| case);
            let other = self.state(&CaseId::new(case)).await;
            let failed = other.is_ok_and(|other| {
                let found = other.calls.iter().find(|known| known.id.as_str() == holder);
                let outcome = found.and_then(|known| known.outcome.as_ref());
                // What was undone may be done again.
                matches!(outcome, Some(Outcome::Failed { .. } | Outcome::Compensated { .. }))
            });
            if !failed {
                return Err(refused(&format!("the same is done or under way in case `{case}`")));
            }
        }
        Err(refused("the same was tried too often"))
    }

    /// The last check, on the record as it is now and the rules and dial in force now.
    async fn permit(&self, state: &State, call: &CallState) -> Result<Permit, Decision> {
        let refused = |reason: &str| Decision::refused(&call.tool, reason);
        let pinned = self.pack_of(state).await.map_err(|_| refused("the pack of the case cannot be read"))?;
        if !within_limit(&self.parts().pack, call) || !within_limit(&pinned, call) {
            return Err(refused(ABOVE_LIMIT));
        }
        let at = self.now().await.map_err(|_| refused("the ledger does not tell the time"))?;
        let circumstances = circumstances(state).ok_or_else(|| refused("the sender is not verified"))?;
        let governance = &self.parts().pack.governance;
        let grant = governance
            .read(&circumstances.customer, &circumstances)
            .0
            .ok_or_else(|| refused("account data may not be read"))?;
        let id = call.record.as_ref().ok_or_else(|| refused("the call has no record"))?;
        let record = self
            .parts()
            .lookup
            .refresh(&grant, id)
            .await
            .map_err(|error| refused(&format!("the record cannot be read again: {error}")))?;
        // What the arguments are computed from below is this record and no other.
        if record.id != *id {
            return Err(refused("another record than the one that the call is about was read"));
        }
        let mut fresh = state.clone();
        if let Some(facts) = &mut fresh.facts {
            facts.records = vec![record];
        }
        fresh.totals = self.reserved(state, call).await.map_err(|_| refused("the totals cannot be read"))?;
        // The same arguments must follow from the record as it is now: what was judged is what is done. What undoes a
        // call follows from that call alone.
        if let Some(plan) = fresh.plan.as_ref().filter(|_| call.undoes.is_none()) {
            let again = advance(&pinned.plans, &plan.cursor, &plan_view(&fresh, at), &fresh.asked);
            let same = |arguments: &Value| *arguments == call.arguments;
            // What a person lowered is still at most what follows now.
            let schema = pinned.tools.by_name.get(&call.tool).map(|tool| &tool.input);
            let edited = |arguments: &Value| {
                call.edited_by.is_some()
                    && schema.is_some_and(|schema| check_edit(arguments, schema, &call.arguments).is_ok())
            };
            let follows = match &again.next {
                Next::Call { arguments, .. } => same(arguments) || edited(arguments),
                Next::Parallel { calls, .. } => {
                    calls.iter().any(|look| look.name == call.step && same(&look.arguments))
                }
                _ => false,
            };
            if !follows {
                return Err(refused("the record has changed since the call was proposed"));
            }
        }
        let votes = match &state.approval {
            Some((request, votes)) if request.call == call.id => votes.clone(),
            _ => Vec::new(),
        };
        let request = call_request(&fresh, call, &votes).ok_or_else(|| refused("the record has changed"))?;
        // The rules that the case began with, and those in force now; how far the evidence carries is always of now.
        let dials =
            self.dials_for(state).await.map_err(|_| refused("the ledger does not say how far it may go"))?;
        let dial = dials.of_call(&request.circumstances, &call.tool);
        let began_with = pinned.governance.decide(&request, Some(&dial));
        if began_with.verdict != Verdict::Permit {
            return Err(began_with);
        }
        self.check_stops(state, call).await?;
        let digest = Digest::of_json(&call.arguments).map_err(|_| refused("the arguments are not JSON"))?;
        governance.permit(&request, Some(&dial), (&call.id, &digest))
    }
}
