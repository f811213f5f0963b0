//! Emergency stops: no new call of a tool, for a leaf, or at all, until two people start it again. They are events of a
//! stream of their own, so that every node sees them and a restart does not forget them.

use super::CaseError;
use super::run::Cases;
use crate::base::Timestamp;
use crate::governance::Principal;
use crate::ledger::{Append, By, Digests, Ledger, LedgerError, MOST_CONFLICTS, NewEvent, Stream, StreamKind};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The one stream of its kind.
const STREAM: &str = "stops";

/// What stops everything.
pub const ALL: &str = "all";

/// A stop that is in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stop {
    /// A tool, a leaf, or `all`.
    pub what: String,
    pub by: String,
    pub reason: Option<String>,
    pub at: Timestamp,
    /// Who wants to start it again, and waits for a second person.
    pub starting: Option<String>,
}

impl Stop {
    pub fn covers(&self, tool: &str, leaf: &str) -> bool {
        [ALL, tool, leaf].contains(&self.what.as_str())
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    what: String,
    by: String,
    #[serde(default)]
    reason: Option<String>,
}

const STOPPED: &str = "stopped";
const START_ASKED: &str = "start_asked";
const STARTED: &str = "started";

/// Somebody, and the rules that let them stop and start.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    pub name: &'a str,
    pub policies: &'a [String],
}

impl<'a> Who<'a> {
    pub fn of(principal: &'a Principal) -> Self {
        Self { name: &principal.name, policies: &principal.policies }
    }
}

/// What is stopped, and how many events the stream has. Blocks.
///
/// # Errors
/// A ledger that cannot be read: whoever wants to act must not.
pub fn stops(ledger: &Ledger) -> Result<(Vec<Stop>, u64), LedgerError> {
    let entries = ledger.stream(&Stream::new(StreamKind::Stops, STREAM), 0)?;
    let mut stops: Vec<Stop> = Vec::new();
    for entry in &entries {
        let body: Body = serde_json::from_value(entry.body.clone()).map_err(|_| LedgerError::Damaged {
            stream: entry.stream.clone(),
            reason: "it is not the form of a stop".to_owned(),
        })?;
        let known = stops.iter_mut().find(|stop| stop.what == body.what);
        match (entry.kind.as_str(), known) {
            (START_ASKED, Some(stop)) => stop.starting = Some(body.by),
            (STARTED, Some(_)) => stops.retain(|stop| stop.what != body.what),
            // Stopped once more: whoever wanted to start it must ask again.
            (STOPPED, Some(stop)) => {
                stop.starting = None;
                if body.reason.is_some() {
                    (stop.by, stop.reason, stop.at) = (body.by, body.reason, entry.at);
                }
            }
            (STOPPED, None) => stops.push(Stop {
                what: body.what,
                by: body.by,
                reason: body.reason,
                at: entry.at,
                starting: None,
            }),
            _ => {}
        }
    }
    Ok((stops, entries.len() as u64))
}

/// Stops a tool, a leaf or everything. Blocks. Returns what is stopped then.
pub fn stop(
    ledger: &Ledger,
    digests: &Digests,
    (what, by, reason): (&str, Who<'_>, Option<&str>),
    at: Timestamp,
) -> Result<Vec<Stop>, CaseError> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    change(ledger, digests, at, (what, by, reason), |_| Ok(STOPPED))
}

/// Wants something that is stopped started again: the first person asks, another one starts it. Blocks. Returns what is
/// stopped then.
///
/// # Errors
/// It is not stopped; the same person asked for it.
pub fn start_again(
    ledger: &Ledger,
    digests: &Digests,
    (what, by): (&str, Who<'_>),
    at: Timestamp,
) -> Result<Vec<Stop>, CaseError> {
    change(ledger, digests, at, (what, by, None), |stops| {
        let stop = stops.iter().find(|stop| stop.what == what);
        match stop.map(|stop| stop.starting.as_deref()) {
            None => Err(CaseError::NotStopped(what.to_owned())),
            Some(None) => Ok(START_ASKED),
            Some(Some(first)) if first == by.name => Err(CaseError::StartedAlone(first.to_owned())),
            Some(Some(_)) => Ok(STARTED),
        }
    })
}

fn change(
    ledger: &Ledger,
    digests: &Digests,
    at: Timestamp,
    (what, by, reason): (&str, Who<'_>, Option<&str>),
    kind: impl Fn(&[Stop]) -> Result<&'static str, CaseError>,
) -> Result<Vec<Stop>, CaseError> {
    let mut conflicts = 0..MOST_CONFLICTS;
    loop {
        let (stopped, expected) = stops(ledger)?;
        let body = json!({"what": what, "by": by.name, "reason": reason, "policies": by.policies});
        let stream = Stream::new(StreamKind::Stops, STREAM);
        let event = NewEvent { at, kind: kind(&stopped)?, body };
        let batch = Append::kept(stream, expected, digests.clone(), vec![event]);
        match ledger.append(&batch, By::Anybody) {
            Ok(_) => return Ok(stops(ledger)?.0),
            // Somebody else stopped or started something just then.
            Err(LedgerError::Conflict { .. }) if conflicts.next().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Cases {
    /// What is stopped, and known to every attempt of a call from now on. Blocks.
    pub fn look_at_stops(&self) -> Result<Vec<Stop>, CaseError> {
        let (stops, _) = stops(&self.parts().ledger)?;
        self.keep_stops(&stops);
        Ok(stops)
    }

    /// Stops something. Blocks.
    pub fn stop(&self, what: &str, by: &Principal, reason: Option<&str>) -> Result<Vec<Stop>, CaseError> {
        let parts = self.parts();
        let after = stop(&parts.ledger, &self.digests(), (what, Who::of(by), reason), parts.clock.now())?;
        self.keep_stops(&after);
        Ok(after)
    }

    /// Wants something started again. Blocks.
    pub fn start_again(&self, what: &str, by: &Principal) -> Result<Vec<Stop>, CaseError> {
        let parts = self.parts();
        let after = start_again(&parts.ledger, &self.digests(), (what, Who::of(by)), parts.clock.now())?;
        self.keep_stops(&after);
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerSettings;

    fn named(name: &str) -> Who<'_> {
        Who { name, policies: &[] }
    }

    #[test]
    fn two_people_start_what_one_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_millis(1);
        let open = || LedgerSettings::default().open(folder.path()).unwrap();
        let ledger = open();
        let stop_for =
            |what, by, reason| stop(&ledger, &Digests::new(), (what, named(by), reason), at).unwrap();
        let stop = |what| stop_for(what, "sara", Some("test"));
        let start = |what, by| start_again(&ledger, &Digests::new(), (what, named(by)), at);
        stop("refund");
        assert_eq!(stop(ALL).len(), 2);
        assert!(matches!(start("card_block", "sara"), Err(CaseError::NotStopped(_))));
        assert_eq!(start("refund", "sara").unwrap()[0].starting.as_deref(), Some("sara"));
        assert!(matches!(start("refund", "sara"), Err(CaseError::StartedAlone(_))));
        // Another stop of the same takes the first step back.
        assert_eq!(stop("refund")[0].starting, None);
        // The last reason that was given is the one that is shown, with who gave it.
        let shown = |stops: Vec<Stop>| (stops[0].by.clone(), stops[0].reason.clone());
        assert_eq!(shown(stop_for("refund", "tom", Some("more"))), ("tom".into(), Some("more".into())));
        assert_eq!(shown(stop_for("refund", "uwe", None)), ("tom".into(), Some("more".into())));
        start("refund", "sara").unwrap();
        assert_eq!(start("refund", "tom").unwrap().len(), 1);
        // After a restart it is as it was.
        let left = stops(&open()).unwrap().0;
        assert_eq!(left[0].what, ALL);
        assert!(left[0].covers("refund", "x"));
        let one = Stop { what: "refund".into(), ..left[0].clone() };
        assert!(one.covers("refund", "x") && one.covers("x", "refund") && !one.covers("x", "y"));
    }
}
