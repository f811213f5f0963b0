//! What a running service does beside answering: looks whether another model was promoted, whether a request for
//! approval has expired, and whether messages are still what they were.

use super::settings::Settings;
use super::{Failure, nearest, wire};
use crate::base::priority::stand_back;
use crate::base::{Digest, Timestamp};
use crate::cases::{CaseError, Cases, erased, needed_generations, note_let_go};
use crate::cli::Place;
use crate::http::Api;
use crate::learning::drift::Watch;
use crate::ledger::{Digests, Ledger, LedgerError, LedgerSettings, Witness};
use crate::policy::{self, Ask, Policies, PolicyError};
use crate::understanding::Live;
use crate::understanding::installed::Change;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::interval;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Milliseconds.
pub(super) const DAY: i64 = 24 * 60 * 60 * 1000;

pub fn start(
    witness: Option<Witness>,
    place: &Place,
    settings: &Settings,
    cases: &Cases,
    api: &Api,
    origin: Option<&Arc<Ask>>,
) -> std::io::Result<()> {
    let (own, recorded) = (cases.clone(), Mutex::default());
    again(SECOND, "the models could not be looked at", move || look_at_models(&own, &recorded))?;
    let own = cases.clone();
    again(SECOND / 4, "what is stopped is not known", move || own.look_at_stops().map(drop))?;
    let policies = Arc::clone(&cases.parts().policies);
    policies.watched();
    again(SECOND / 10, "the policies could not be looked at", move || {
        policies.refresh();
        Ok::<_, LedgerError>(())
    })?;
    keep_policies(place, settings, cases, origin)?;
    let (own, known) = (cases.clone(), Mutex::new(None));
    again(SECOND, "which policies answer cannot be written down", move || note_generation(&own, &known))?;
    let (own, known) = (cases.clone(), Mutex::new(0));
    again(SECOND, "what was erased is not known", move || forget_erased(&own, &known))?;
    let (own, thresholds, told) = (cases.clone(), settings.drift.clone(), Arc::clone(&api.drift));
    let watch = Mutex::new(Watch::default());
    again(HOUR, "drift could not be measured", move || {
        let found = watch.lock().unwrap_or_else(PoisonError::into_inner).look(&own, &thresholds)?;
        *told.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok::<_, CaseError>(())
    })?;
    if settings.models.lines.is_some() {
        let (place, settings) = (place.clone(), settings.clone());
        let (own, named) = (cases.clone(), Arc::clone(&api.nearest));
        again(SECOND * 30, "the labelled lines could not be read", move || {
            let understanding = own.parts().models.current();
            let there = named.read().unwrap_or_else(PoisonError::into_inner).clone();
            if there.is_none_or(|there| there.model() != understanding.digest()) {
                let found = nearest::lines(&place, &settings, None, &understanding, 1)?;
                *named.write().unwrap_or_else(PoisonError::into_inner) = found.map(Arc::new);
            }
            Ok::<_, Failure>(())
        })?;
    }
    let (own, watch) = (cases.clone(), Mutex::default());
    let ledger = settings.ledger.clone();
    again(SECOND, "no checkpoint could be signed", move || sign(&own, &ledger, witness.as_ref(), &watch))?;
    cases.parts().lookup.keep_loaded();
    if let Some(nodes) = cases.parts().readers.nodes() {
        let (nodes, own) = (Arc::clone(nodes), cases.clone());
        tokio::spawn(async move { nodes.watch(|| own.parts().models.current().digest().clone()).await });
    }
    let own = cases.clone();
    tokio::spawn(async move {
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = second.tick() => {}
                () = own.woken() => {}
            }
            if let Err(error) = own.recover().await {
                tracing::error!(%error, "cases that are due could not be taken over");
            }
        }
    });
    Ok(())
}

/// What keeps the generations: where another machine publishes them, they are fetched and what it has let go is let go;
/// else those that are older than the settings say are let go. What open cases need stays.
fn keep_policies(
    place: &Place,
    settings: &Settings,
    cases: &Cases,
    origin: Option<&Arc<Ask>>,
) -> std::io::Result<()> {
    let (own, state) = (cases.clone(), wire::state(place, settings));
    let let_go = move |before: Timestamp, kept| {
        let parts = own.parts();
        let open_days = parts.pack.service.open_days;
        let_go(&parts.ledger, &own.digests(), (&state, before), open_days, kept).map(drop)
    };
    match (origin, settings.policies.keep_days) {
        (Some(origin), _) => {
            let (own, ask, following) = (cases.clone(), Arc::clone(origin), Mutex::new(Following::default()));
            again(SECOND, "the policies were not fetched", move || {
                let mut following = following.lock().unwrap_or_else(PoisonError::into_inner);
                following.look(&own.parts().policies, &*ask)?;
                if following.tidied.is_none_or(|at| at.elapsed() > HOUR) {
                    let kept = policy::offered_now(&*ask).map_err(|error| error.to_string())?;
                    let_go(own.parts().clock.now(), kept).map_err(|error| format!("{error:?}"))?;
                    following.tidied = Some(Instant::now());
                }
                Ok::<_, String>(())
            })
        }
        (None, Some(days)) => {
            let own = cases.clone();
            again(HOUR, "policies that nobody needs could not be let go", move || {
                let_go(own.parts().clock.now().plus_millis(-i64::from(days) * DAY), BTreeSet::new())
            })
        }
        (None, None) => Ok(()),
    }
}

/// Lets generations go that were built before then, are not current, and are neither kept nor needed by an open case; and
/// writes down which.
pub(super) fn let_go(
    ledger: &Ledger,
    digests: &Digests,
    (state, before): (&Path, Timestamp),
    open_days: i64,
    kept: BTreeSet<Digest>,
) -> Result<Vec<Digest>, Failure> {
    let mut needed = needed_generations(ledger, open_days).map_err(Failure::input)?;
    needed.extend(kept);
    let gone = policy::forget(state, before, &needed).map_err(Failure::input)?;
    note_let_go(ledger, digests, &gone).map_err(Failure::input)?;
    Ok(gone)
}

/// How it goes with the machine whose policies are fetched.
#[derive(Default)]
struct Following {
    /// After what answers did not come.
    current: Pause,
    fault: Option<String>,
    /// After something did not come that answers no new question: what was published meanwhile does not wait for it.
    older: Pause,
    /// What that was.
    left: Vec<String>,
    /// When what the origin had let go was let go here.
    tidied: Option<Instant>,
}

/// Seconds.
const LONGEST_PAUSE: u64 = 60;

/// How long something is left alone that failed: for two seconds, then twice as long each time.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    fn after(&mut self, failed: bool) {
        if !failed {
            *self = Self::default();
            return;
        }
        self.failures += 1;
        let pause = 2_u64.saturating_pow(self.failures).min(LONGEST_PAUSE);
        self.until = Some(Instant::now() + Duration::from_secs(pause));
    }
}

impl Following {
    fn look(&mut self, policies: &Policies, ask: &Ask) -> Result<(), String> {
        if !self.current.is_over() {
            return self.fault.clone().map_or(Ok(()), Err);
        }
        let older = self.older.is_over();
        let fetched = policies.fetch(ask, older);
        self.fault = fetched.as_ref().err().map(PolicyError::to_string);
        self.current.after(self.fault.is_some());
        let found = fetched.unwrap_or_default();
        if let Some(current) = &found.current {
            tracing::info!(generation = %current, fetched = found.fetched.len(), "other policies answer now");
        }
        if older && self.fault.is_none() {
            self.older.after(!found.left.is_empty());
            if !found.left.is_empty() && found.left != self.left {
                tracing::warn!(reasons = ?found.left, "older policies were not fetched: cases that began with them miss them");
            }
            self.left = found.left;
        }
        self.fault.clone().map_or(Ok(()), Err)
    }
}

/// Looks every second whether another bundle is to read, where no ledger tells it.
pub fn follow(models: &Arc<Live>) -> std::io::Result<()> {
    let models = Arc::clone(models);
    again(SECOND, "the models could not be looked at", move || {
        if let Some(swapped) = models.refresh() {
            tracing::info!(from = %swapped.from, to = %swapped.to, "another model bundle reads now");
        }
        Ok::<_, Failure>(())
    })
}

/// Does work at once and then again and again, on a thread of its own that stands behind those that answer;
/// what goes wrong is tried again, and logged when it is not what went wrong the last time.
fn again<T, E: Debug>(
    period: Duration,
    fault: &'static str,
    work: impl Fn() -> Result<T, E> + Send + 'static,
) -> std::io::Result<()> {
    let repeat = move || {
        stand_back();
        let mut last = String::new();
        loop {
            let error = work().err().map(|error| format!("{error:?}")).unwrap_or_default();
            if !error.is_empty() && error != last {
                tracing::error!(error, "{fault}");
            }
            last = error;
            std::thread::sleep(period);
        }
    };
    std::thread::Builder::new().name("background".to_owned()).spawn(repeat).map(|_| ())
}

/// When a checkpoint was signed and the witness saw one.
#[derive(Default)]
struct Signed {
    at: Option<Timestamp>,
    seen: Option<Timestamp>,
}

/// Signs when enough was written or enough time has passed, and shows it to the witness.
fn sign(
    cases: &Cases,
    settings: &LedgerSettings,
    witness: Option<&Witness>,
    last: &Mutex<Signed>,
) -> Result<(), LedgerError> {
    let parts = cases.parts();
    let (ledger, now) = (&parts.ledger, parts.clock.now());
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let passed = |since: Option<Timestamp>, seconds: u64| {
        since.is_none_or(|since| {
            now.since(since) >= i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)
        })
    };
    let signed = ledger.checkpoint()?.map_or(0, |root| root.size);
    let waiting = ledger.store().sequence()?.saturating_sub(signed);
    if waiting >= settings.checkpoint_events || (waiting > 0 && passed(last.at, settings.checkpoint_seconds))
    {
        ledger.sign()?;
        last.at = Some(now);
    }
    if let Some(witness) = witness.filter(|_| passed(last.seen, settings.witness.seconds))
        && witness.keep(ledger, now)?.is_some()
    {
        last.seen = Some(now);
    }
    Ok(())
}

/// `known` is what answered before: the nodes that share a ledger have policies of their own, and each tells of its
/// changes.
fn note_generation(cases: &Cases, known: &Mutex<Option<Digest>>) -> Result<(), LedgerError> {
    let now = cases.parts().generation().digest().clone();
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref() != Some(&now) {
        cases.note_generation()?;
        *known = Some(now);
    }
    Ok(())
}

/// What was fetched for somebody must not outlive what was erased. `known` is how many cases were erased before.
fn forget_erased(cases: &Cases, known: &Mutex<usize>) -> Result<(), LedgerError> {
    let erased = erased(&cases.parts().ledger)?.len();
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if erased > *known {
        cases.parts().lookup.forget();
        cases.parts().acting.forget();
        cases.parts().ledger.keys().refresh()?;
        *known = erased;
    }
    Ok(())
}

/// `recorded` is the history that the ledger has. What is not in the ledger yet changes nothing.
fn look_at_models(cases: &Cases, recorded: &Mutex<Vec<Change>>) -> Result<(), CaseError> {
    let models = &cases.parts().models;
    let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
    let found = models.installed().history();
    if !found.is_ok_and(|history| !history.is_empty() && history == *recorded) {
        *recorded = cases.record_models().inspect_err(|error| models.lost(error.to_string()))?;
    }
    if let Some(swapped) = models.follow(&recorded) {
        tracing::info!(from = %swapped.from, to = %swapped.to, "another model bundle reads now");
        // What was earned with the one before is void; this one may have been measured, too.
        cases.note_evaluation()?;
    }
    Ok(())
}
