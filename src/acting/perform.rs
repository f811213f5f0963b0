//! Performing one call: when it is sent, when it is sent again, and what its outcome is.

use super::connector::{Call, Connector, Found, Sent};
use super::guard::{Condition, Guard, Went};
use super::kept::Kept;
use super::outcome::Outcome;
use super::schema::misfit;
use crate::base::grants::Permit;
use crate::base::{Backoff, Clock, Digest, Timestamp};
use crate::planning::{OnAmbiguous, Risk, ToolDeclaration, Tools};
use std::sync::Arc;

/// How often a system is asked about a key that is under way, or when it does not say.
const MOST_QUESTIONS: u32 = 5;

/// Whether a call may still be sent: somebody may have stopped it meanwhile.
pub type MaySend<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Performs calls of the declared tools.
pub struct Acting {
    tools: Arc<Tools>,
    guard: Guard,
    kept: Kept,
    clock: Arc<dyn Clock>,
}

/// What is known of a call between two attempts.
enum Standing {
    /// The system certainly has not acted.
    NotActed(String),
    /// It may have.
    Doubt(String),
    Settled(Outcome),
}

impl Acting {
    pub fn new(tools: Arc<Tools>, connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        let guard = Guard::new(Arc::clone(&tools), connector, Arc::clone(&clock));
        Self { tools, guard, kept: Kept::new(), clock }
    }

    /// With waits that can be drawn again.
    pub fn seeded(mut self, seed: u64) -> Self {
        self.guard.backoff = Backoff::seeded(Some(seed));
        self
    }

    /// How a tool is at the moment.
    pub fn condition(&self, tool: &ToolDeclaration) -> Condition {
        self.guard.condition(tool)
    }

    /// What was answered about somebody must not outlive what was erased.
    pub fn forget(&self) {
        self.kept.forget();
    }

    /// Performs the call that the permit covers. Intent must be recorded before.
    /// `may_send` is asked before it is sent again.
    pub async fn perform(&self, permit: Permit, call: &Call, may_send: MaySend<'_>) -> Outcome {
        match self.admitted(&permit, call) {
            Ok(tool) => {
                let nothing = Standing::NotActed(String::new());
                let standing = self.attempt_from(tool, call, self.clock.now(), nothing, may_send).await;
                self.end(tool, call, standing)
            }
            Err(reason) => Outcome::Failed { reason },
        }
    }

    /// Settles a call that was intended and has no result, as after a restart, by the tool's own rule.
    /// Without a fresh permit, and after the tool's window, it is never sent again.
    pub async fn resolve_ambiguous(
        &self,
        permit: Option<Permit>,
        call: &Call,
        intended_at: Timestamp,
        asked: MaySend<'_>,
    ) -> Outcome {
        let Some(tool) = self.tools.by_name.get(&call.tool) else {
            return Outcome::Ambiguous { reason: "the tool is no longer declared".to_owned() };
        };
        let may_send = match permit.map(|permit| self.admitted(&permit, call)) {
            Some(Ok(_)) => true,
            Some(Err(reason)) => return Outcome::Ambiguous { reason },
            None => false,
        };
        let doubt = "no result was recorded".to_owned();
        let standing = self.clear_up(tool, call, intended_at, doubt).await;
        let again = match &standing {
            Standing::Settled(_) => false,
            Standing::NotActed(_) => self.within_window(tool, intended_at),
            Standing::Doubt(_) => self.may_repeat(tool, intended_at),
        };
        let standing = if again && may_send && asked() {
            self.attempt_from(tool, call, intended_at, standing, asked).await
        } else {
            standing
        };
        self.end(tool, call, standing)
    }

    /// The outcome, and for a tool that only reads what it is worth: an answer is kept, and one that is not too old
    /// stands in where the system failed. Whether it read cannot matter to anybody.
    fn end(&self, tool: &ToolDeclaration, call: &Call, standing: Standing) -> Outcome {
        let reads = tool.risk == Risk::Read;
        let now = self.clock.now();
        match standing {
            Standing::Settled(outcome) => {
                if let (true, Outcome::Done { result, .. }) = (reads && tool.stale_ms > 0, &outcome) {
                    self.kept.keep(&tool.name, &call.arguments, result, now);
                }
                outcome
            }
            Standing::NotActed(reason) | Standing::Doubt(reason) if reads => {
                let kept = match tool.stale_ms {
                    0 => None,
                    most => self.kept.of(&tool.name, &call.arguments, most, now),
                };
                kept.map_or(Outcome::Failed { reason }, |result| Outcome::Done { result, stale: true })
            }
            Standing::NotActed(reason) => Outcome::Failed { reason },
            Standing::Doubt(reason) => Outcome::Ambiguous { reason },
        }
    }

    /// The tool, when the permit covers exactly this call and the arguments fit.
    fn admitted(&self, permit: &Permit, call: &Call) -> Result<&ToolDeclaration, String> {
        let tool = self.tools.by_name.get(&call.tool).ok_or("the tool is not declared")?;
        let arguments = Digest::of_json(&call.arguments).map_err(|_| "the arguments are no JSON")?;
        if *permit.call() != call.id || permit.tool() != call.tool || *permit.arguments() != arguments {
            return Err("the permit is for another call".to_owned());
        }
        match misfit(&tool.input, &call.arguments) {
            None => Ok(tool),
            Some(place) => Err(format!("the arguments do not have the declared form: {place}")),
        }
    }

    /// Sends until the outcome is settled or the attempts are used up. A doubt that an earlier attempt
    /// left stays until the system itself clears it.
    async fn attempt_from(
        &self,
        tool: &ToolDeclaration,
        call: &Call,
        intended_at: Timestamp,
        mut standing: Standing,
        may_send: MaySend<'_>,
    ) -> Standing {
        for sent in 0..=tool.retries {
            if sent > 0 {
                if !self.may_send_again(tool, intended_at, &standing) {
                    break;
                }
                if let Err(why) = self.guard.may_repeat(tool) {
                    standing = match standing {
                        Standing::NotActed(reason) => Standing::NotActed(format!("{reason}; {why}")),
                        other => worse(other, Standing::NotActed(why.to_owned())),
                    };
                    break;
                }
                tokio::time::sleep(self.guard.backoff.before_retry(sent)).await;
                if !self.may_send_again(tool, intended_at, &standing) || !may_send() {
                    break;
                }
            }
            let answer = match self.guard.send(tool, call, sent == 0, may_send).await {
                Went::Sent(answer) => answer,
                Went::Held(reason) => {
                    standing = worse(standing, Standing::NotActed(reason));
                    break;
                }
                Went::Stopped => {
                    let stopped = Outcome::Failed { reason: "stopped before it was sent".to_owned() };
                    return match standing {
                        Standing::NotActed(_) => Standing::Settled(stopped),
                        other => other,
                    };
                }
            };
            standing = match answer {
                Sent::Answered(result) => match misfit(&tool.output, &result) {
                    None => return Standing::Settled(Outcome::Done { result, stale: false }),
                    Some(place) => {
                        let doubt = format!("the answer does not have the declared form: {place}");
                        self.clear_up(tool, call, intended_at, doubt).await
                    }
                },
                Sent::Unclear(doubt) => self.clear_up(tool, call, intended_at, doubt).await,
                Sent::NotSent(reason) => worse(standing, Standing::NotActed(reason)),
                Sent::Refused(reason) | Sent::Unable(reason) => {
                    return match standing {
                        Standing::NotActed(_) => Standing::Settled(Outcome::Failed { reason }),
                        // The refusal may be because the first attempt did act.
                        other => worse(other, Standing::Doubt(reason)),
                    };
                }
            };
            if matches!(standing, Standing::Settled(_)) {
                break;
            }
        }
        standing
    }

    fn may_send_again(&self, tool: &ToolDeclaration, intended_at: Timestamp, standing: &Standing) -> bool {
        match standing {
            Standing::Settled(_) => false,
            Standing::NotActed(_) => true,
            Standing::Doubt(_) => self.may_repeat(tool, intended_at),
        }
    }

    /// Whether a call that may have been carried out may be sent again with the same key.
    fn may_repeat(&self, tool: &ToolDeclaration, intended_at: Timestamp) -> bool {
        let remembered = tool.on_ambiguous == OnAmbiguous::Retry && self.within_window(tool, intended_at);
        // Reading twice is reading once.
        remembered || tool.risk == Risk::Read
    }

    /// Whether the system still remembers the key, with time to spare for one more attempt.
    fn within_window(&self, tool: &ToolDeclaration, intended_at: Timestamp) -> bool {
        let spare = i64::try_from(tool.timeout_ms).unwrap_or(i64::MAX);
        self.clock.now().since(intended_at).saturating_add(spare) < tool.window_ms()
    }

    /// Asks the system by key, if that is the tool's rule.
    async fn clear_up(
        &self,
        tool: &ToolDeclaration,
        call: &Call,
        intended_at: Timestamp,
        doubt: String,
    ) -> Standing {
        let Some(query) = tool.query.as_ref().filter(|_| tool.on_ambiguous == OnAmbiguous::Query) else {
            return Standing::Doubt(doubt);
        };
        let (mut told, mut again) = (String::new(), false);
        for asked in 0..MOST_QUESTIONS {
            if asked > 0 {
                tokio::time::sleep(self.guard.backoff.before_question(asked)).await;
            }
            let found = self.guard.ask(tool, &call.key, again).await;
            again = matches!(found, Found::Unknown(_));
            told = match found {
                Found::Done(result) => match misfit(&tool.output, &result) {
                    None => return Standing::Settled(Outcome::Done { result, stale: false }),
                    Some(place) => format!("its result does not have the declared form: {place}"),
                },
                Found::UnderWay => "it is under way".to_owned(),
                Found::Nothing if query.authoritative && self.within_window(tool, intended_at) => {
                    return Standing::NotActed(format!("{doubt}; the system was asked and did not act"));
                }
                Found::Nothing => {
                    return Standing::Doubt(format!("{doubt}; the system knows nothing of the call"));
                }
                Found::Unknown(reason) => reason,
                Found::Untold(reason) => {
                    return Standing::Doubt(format!("{doubt}; the system was asked: {reason}"));
                }
            };
        }
        Standing::Doubt(format!("{doubt}; the system was asked: {told}"))
    }
}

/// A doubt is not cleared by a later attempt that was not even sent.
fn worse(earlier: Standing, later: Standing) -> Standing {
    match (earlier, later) {
        (Standing::Doubt(first), Standing::Doubt(then) | Standing::NotActed(then)) => {
            Standing::Doubt(format!("{first}; then {then}"))
        }
        (_, later) => later,
    }
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "outage_tests.rs"]
mod outage;
