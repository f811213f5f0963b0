//! What a running service does beside answering: looks whether another model was promoted, whether a request for
//! approval has expired, and whether messages are still what they were.

use super::settings::Settings;
use super::{Failure, drift, nearest};
use crate::cases::{CaseError, Cases};
use crate::cli::Place;
use crate::http::Api;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

pub fn start(place: &Place, settings: &Settings, cases: &Cases, api: &Api) {
    let own = cases.clone();
    again(1, "the models could not be looked at", move || look_at_models(&own));
    let (own, thresholds, told) = (cases.clone(), settings.drift.clone(), Arc::clone(&api.drift));
    again(3600, "drift could not be measured", move || {
        let found = drift::watch(&own, &thresholds)?;
        *told.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok::<_, CaseError>(())
    });
    if settings.models.lines.is_some() {
        let (place, settings) = (place.clone(), settings.clone());
        let (own, named) = (cases.clone(), Arc::clone(&api.nearest));
        again(30, "the labelled lines could not be read", move || {
            let understanding = own.parts().models.current();
            let there = named.read().unwrap_or_else(PoisonError::into_inner).clone();
            if there.is_none_or(|there| there.model() != understanding.digest()) {
                let found = nearest::lines(&place, &settings, None, &understanding)?;
                *named.write().unwrap_or_else(PoisonError::into_inner) = found.map(Arc::new);
            }
            Ok::<_, Failure>(())
        });
    }
    let own = cases.clone();
    tokio::spawn(async move {
        let mut minute = interval(Duration::from_secs(60));
        loop {
            minute.tick().await;
            if let Err(error) = own.expire().await {
                tracing::error!(%error, "requests for approval could not be looked through");
            }
        }
    });
}

/// Does blocking work at once and then every so many seconds; what goes wrong is logged and tried again.
fn again<E: Debug + Send + 'static>(
    seconds: u64,
    fault: &'static str,
    work: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) {
    let work = Arc::new(work);
    tokio::spawn(async move {
        let mut next = interval(Duration::from_secs(seconds));
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            next.tick().await;
            let work = Arc::clone(&work);
            match tokio::task::spawn_blocking(move || work()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(?error, "{fault}"),
                Err(error) => tracing::error!(%error, "{fault}"),
            }
        }
    });
}

fn look_at_models(cases: &Cases) -> Result<(), CaseError> {
    if let Some(swapped) = cases.parts().models.refresh() {
        tracing::info!(from = %swapped.from, to = %swapped.to, "another model bundle reads now");
    }
    cases.record_models().map(|_| ())
}
