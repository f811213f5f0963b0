//! Performing one call: when it is sent, when it is sent again, and what its outcome is.

use super::connector::{Call, Connector, Found, Sent};
use super::outcome::Outcome;
use super::schema::misfit;
use crate::base::grants::Permit;
use crate::base::{Breakers, Clock, Digest, Timestamp};
use crate::planning::{OnAmbiguous, ToolDeclaration, Tools};
use std::sync::Arc;
use std::time::Duration;

/// How often a system is asked about a key that is under way, or when it does not say.
const MOST_QUESTIONS: u32 = 5;
/// The wait before the second attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Whether a call may still be sent: somebody may have stopped it meanwhile.
pub type MaySend<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Performs calls of the declared tools.
pub struct Acting {
    tools: Arc<Tools>,
    connector: Arc<dyn Connector>,
    breakers: Breakers,
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
        let breakers = Breakers::new(tools.breaker);
        Self { tools, connector, breakers, clock }
    }

    /// Performs the call that the permit covers. Intent must be recorded before.
    /// `may_send` is asked before it is sent again.
    pub async fn perform(&self, permit: Permit, call: &Call, may_send: MaySend<'_>) -> Outcome {
        match self.admitted(&permit, call) {
            Ok(tool) => {
                let nothing = Standing::NotActed(String::new());
                self.attempt_from(tool, call, self.clock.now(), nothing, may_send).await
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
        if again && may_send && asked() {
            self.attempt_from(tool, call, intended_at, standing, asked).await
        } else {
            end(standing)
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
    ) -> Outcome {
        for sent in 0..=tool.retries {
            if sent > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.saturating_pow(sent - 1)).await;
                if !self.may_send_again(tool, intended_at, &standing) || !may_send() {
                    break;
                }
            }
            if !self.breakers.admit(&tool.name, self.clock.now()) {
                let reason = "the tool failed too often in a row and is left alone for a while".to_owned();
                standing = worse(standing, Standing::NotActed(reason));
                break;
            }
            let answer = self.connector.send(tool, call).await;
            self.note(tool, &answer);
            standing = match answer {
                Sent::Answered(result) => match misfit(&tool.output, &result) {
                    None => return Outcome::Done { result },
                    Some(place) => {
                        let doubt = format!("the answer does not have the declared form: {place}");
                        self.clear_up(tool, call, intended_at, doubt).await
                    }
                },
                Sent::Unclear(doubt) => self.clear_up(tool, call, intended_at, doubt).await,
                Sent::NotSent(reason) => worse(standing, Standing::NotActed(reason)),
                Sent::Refused(reason) => match standing {
                    Standing::NotActed(_) => return Outcome::Failed { reason },
                    // The refusal may be because the first attempt did act.
                    other => return end(worse(other, Standing::Doubt(reason))),
                },
            };
            if matches!(standing, Standing::Settled(_)) {
                break;
            }
        }
        end(standing)
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
        tool.on_ambiguous == OnAmbiguous::Retry && self.within_window(tool, intended_at)
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
        let mut told = String::new();
        for asked in 0..MOST_QUESTIONS {
            if asked > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.saturating_pow(asked - 1)).await;
            }
            told = match self.connector.query(tool, &call.key).await {
                Found::Done(result) => match misfit(&tool.output, &result) {
                    None => return Standing::Settled(Outcome::Done { result }),
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

    fn note(&self, tool: &ToolDeclaration, answer: &Sent) {
        match answer {
            Sent::Answered(_) | Sent::Refused(_) => self.breakers.answered(&tool.name),
            Sent::NotSent(_) | Sent::Unclear(_) => self.breakers.failed(&tool.name, self.clock.now()),
        }
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

fn end(standing: Standing) -> Outcome {
    match standing {
        Standing::NotActed(reason) => Outcome::Failed { reason },
        Standing::Doubt(reason) => Outcome::Ambiguous { reason },
        Standing::Settled(outcome) => outcome,
    }
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;
