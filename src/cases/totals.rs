//! What counts towards limits, between governance, which compares, and the ledger, which counts.

use super::event::Event;
use super::run::{Cases, blocking};
use super::state::{CallState, State};
use crate::acting::Outcome;
use crate::base::{CustomerId, Timestamp};
use crate::governance::{Counted, Scope, Sum, Totals, Window};
use crate::ledger::{self, LedgerError, Reservation, Total};
use crate::planning::Risk;
use crate::records::Facts;
use std::sync::Arc;

/// What an event of a case makes count; the state is the one after it.
pub(super) fn reserved_by(state: &State, event: &Event, at: Timestamp) -> Option<Reservation> {
    let Event::Intended { call, .. } = event else { return None };
    let known = state.calls.iter().find(|known| known.id == *call)?;
    let amount = known.amount();
    Some(Reservation {
        call: call.to_string(),
        scopes: state.scopes(known)?.iter().map(Scope::name).collect(),
        at,
        currency: amount.map_or_else(String::new, |amount| amount.currency.code().to_owned()),
        amount: amount.map_or(0, |amount| amount.minor),
    })
}

/// The call that counts no longer: it certainly came to nothing, or was undone.
pub(super) fn freed_by(event: &Event) -> Option<String> {
    match event {
        Event::Returned { call, outcome: Outcome::Failed { .. } } | Event::Undone { call } => {
            Some(call.to_string())
        }
        _ => None,
    }
}

impl Cases {
    /// What counts now towards the limits of everything that may be done for a customer.
    pub(super) async fn totals(&self, customer: &CustomerId, facts: &Facts) -> Result<Totals, LedgerError> {
        let tools = self.parts().pack.tools.by_name.values().filter(|tool| tool.risk != Risk::Read);
        let mut scopes = vec![Scope::Customer(customer.clone())];
        scopes.extend(facts.records.iter().map(|record| Scope::Account(record.id.clone())));
        for tool in tools {
            let (tool, customer) = (tool.name.clone(), customer.clone());
            scopes.extend([Scope::Bank(tool.clone()), Scope::Tool { tool, customer }]);
        }
        let names: Vec<String> = scopes.iter().map(Scope::name).collect();
        let (ledger, at) = (Arc::clone(&self.parts().ledger), self.now().await?);
        let totals = blocking(move || ledger.totals(&names, at)).await?;
        Ok(counted(totals, &scopes))
    }

    /// What counted when the call was intended, itself included: whoever intended anything later does not stand in its way.
    pub(super) async fn reserved(&self, state: &State, call: &CallState) -> Result<Totals, LedgerError> {
        let Some(scopes) = state.scopes(call) else { return Ok(Totals::default()) };
        let names: Vec<String> = scopes.iter().map(Scope::name).collect();
        let (ledger, id) = (Arc::clone(&self.parts().ledger), call.id.to_string());
        let own = names.clone();
        if let Some(totals) = blocking(move || ledger.reserved(&id, &own)).await? {
            return Ok(counted(totals, &scopes));
        }
        // It was intended by a program that did not count.
        let (ledger, at) = (Arc::clone(&self.parts().ledger), self.now().await?);
        let mut totals = counted(blocking(move || ledger.totals(&names, at)).await?, &scopes);
        totals.add(&scopes, call.amount());
        Ok(totals)
    }
}

fn counted(totals: Vec<Total>, scopes: &[Scope]) -> Totals {
    let sum = |sum: ledger::Sum| Sum { count: sum.count, amount: sum.amount };
    let one = |total: Total| {
        let scope = scopes.iter().find(|scope| scope.name() == total.scope)?;
        let window = Window { day: sum(total.day), month: sum(total.month) };
        Some(Counted { scope: scope.clone(), currency: total.currency, window })
    };
    Totals(totals.into_iter().filter_map(one).collect())
}
