//! What stands between a call and a system that may be slow, down or overrun: a cap on a tool's requests at the same
//! time, a breaker for each machine, and a budget of repetitions.

use super::connector::{Call, Connector, Found, Sent};
use super::perform::MaySend;
use crate::base::{Backoff, BreakerState, Breakers, Clock, RetryBudgets};
use crate::planning::{ToolDeclaration, Tools};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How a tool is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Condition {
    pub breaker: BreakerState,
    /// Requests that are under way.
    pub in_flight: usize,
}

pub(super) struct Guard {
    tools: Arc<Tools>,
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
    breakers: Breakers,
    /// For questions what came of a call. A system may lose answers and still tell of them, so they neither open nor
    /// try the breaker of calls; where both fail, nothing is asked.
    questions: Breakers,
    budgets: RetryBudgets,
    pub(super) backoff: Backoff,
    /// By tool.
    slots: BTreeMap<String, Semaphore>,
}

/// What became of sending.
pub(super) enum Went {
    Sent(Sent),
    /// It was not even tried.
    Held(String),
    /// Somebody stopped it meanwhile.
    Stopped,
}

const LEFT_ALONE: &str = "the system failed too often in a row and is left alone for a while";
const BUSY: &str = "too many calls of the tool are under way";

impl Guard {
    pub fn new(tools: Arc<Tools>, connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        let slots = tools.by_name.values();
        Self {
            breakers: Breakers::new(tools.breaker),
            questions: Breakers::new(tools.breaker),
            budgets: RetryBudgets::new(tools.retry_budget),
            backoff: Backoff::seeded(None),
            slots: slots.map(|tool| (tool.name.clone(), Semaphore::new(tool.parallel))).collect(),
            tools,
            connector,
            clock,
        }
    }

    pub fn condition(&self, tool: &ToolDeclaration) -> Condition {
        let free = self.slots.get(&tool.name).map_or(tool.parallel, Semaphore::available_permits);
        let breaker = self.breakers.state(self.tools.machine(tool), self.clock.now());
        Condition { breaker, in_flight: tool.parallel.saturating_sub(free) }
    }

    fn is_closed(&self, machine: &str) -> bool {
        self.breakers.state(machine, self.clock.now()) == BreakerState::Closed
    }

    /// Whether one more attempt may be made; it counts as made then.
    pub fn may_repeat(&self, tool: &ToolDeclaration) -> Result<(), &'static str> {
        let machine = self.tools.machine(tool);
        if self.breakers.state(machine, self.clock.now()) == BreakerState::Open {
            return Err(LEFT_ALONE);
        }
        match self.budgets.take(machine) {
            true => Ok(()),
            false => Err("enough was tried again lately, so it is not"),
        }
    }

    /// Sends once, unless the system is left alone or the tool is too busy for it to be sent in time.
    pub async fn send(
        &self,
        tool: &ToolDeclaration,
        call: &Call,
        first: bool,
        may_send: MaySend<'_>,
    ) -> Went {
        let machine = self.tools.machine(tool);
        // Nobody waits for what will not be sent.
        if self.breakers.state(machine, self.clock.now()) == BreakerState::Open {
            return Went::Held(LEFT_ALONE.to_owned());
        }
        let (_slot, waited) = match self.slot(tool).await {
            Some(slot) => slot,
            None => return Went::Held(BUSY.to_owned()),
        };
        if waited && !may_send() {
            return Went::Stopped;
        }
        let Some(admitted) = self.breakers.admit(machine, self.clock.now()) else {
            return Went::Held(LEFT_ALONE.to_owned());
        };
        if first {
            self.budgets.first(machine);
        }
        let answer = self.connector.send(tool, call).await;
        match answer {
            Sent::Answered(_) | Sent::Refused(_) => admitted.answered(),
            Sent::NotSent(_) | Sent::Unclear(_) => admitted.failed(self.clock.now()),
            // It says nothing about the system.
            Sent::Unable(_) => drop(admitted),
        }
        Went::Sent(answer)
    }

    /// Asks once what came of a call. `again`: the last question was not answered.
    pub async fn ask(&self, tool: &ToolDeclaration, key: &str, again: bool) -> Found {
        let machine = self.tools.machine(tool);
        let held = |why: &str| Found::Unknown(why.to_owned());
        let questions = self.questions.state(machine, self.clock.now());
        if questions != BreakerState::Closed && !self.is_closed(machine) {
            return held(LEFT_ALONE);
        }
        if again && !self.budgets.take(machine) {
            return held("it was asked often enough lately");
        }
        let Some((_slot, _)) = self.slot(tool).await else { return held(BUSY) };
        let admitted = self.questions.admit(machine, self.clock.now());
        let found = self.connector.query(tool, key).await;
        match (admitted, &found) {
            (Some(admitted), Found::Unknown(_)) => admitted.failed(self.clock.now()),
            (Some(admitted), _) => admitted.answered(),
            (None, _) => {}
        }
        found
    }

    /// One of the tool's requests at the same time, and whether it was waited for: at most as long as for an answer.
    async fn slot(&self, tool: &ToolDeclaration) -> Option<(SemaphorePermit<'_>, bool)> {
        let slots = self.slots.get(&tool.name)?;
        if let Ok(slot) = slots.try_acquire() {
            return Some((slot, false));
        }
        let longest = Duration::from_millis(tool.timeout_ms);
        let slot = tokio::time::timeout(longest, slots.acquire()).await;
        Some((slot.ok()?.ok()?, true))
    }
}
