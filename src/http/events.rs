//! A case as it happens: server-sent events (WHATWG HTML, section 9.2).

use super::api::Api;
use super::auth::Access;
use super::body::Id;
use super::error::Refusal;
use super::routes::Route;
use super::views::{existing, looked_at, sees_cases, view};
use crate::base::CaseId;
use crate::cases::trace;
use crate::governance::{Act, Principal};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{Stream, unfold};
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Set when the process is about to end: streams then end too.
#[derive(Clone)]
pub struct Stopping(pub watch::Receiver<bool>);

pub fn routes() -> Vec<Route> {
    let knowing = Access::May(Act::KnowCase);
    vec![
        Route::get("/v1/cases/{id}/events", knowing, "The case as it happens.", follow)
            .header("Last-Event-ID", "for staff: the last `id` that was received; what came after it is sent")
            .streams(
                "text/event-stream",
                "for staff one event a step, as in the trace; for a channel `case` with the customer's view, \
                 whenever that changes",
            ),
    ]
}

async fn follow(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    stopping: Option<Extension<Stopping>>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let case = CaseId::new(id);
    looked_at(&api, &who, "events", &case).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let following = Following {
        changes: api.cases.subscribe(),
        stopping: stopping.map(|Extension(stopping)| stopping.0),
        next: last.map_or(0, |seq| seq.saturating_add(1)),
        shown: Value::Null,
        waiting: VecDeque::new(),
        fresh: true,
        api,
        who,
        case,
    };
    let events = unfold(following, |mut following| async move {
        let event = following.event().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// One listener.
struct Following {
    api: Arc<Api>,
    who: Principal,
    case: CaseId,
    changes: broadcast::Receiver<CaseId>,
    stopping: Option<watch::Receiver<bool>>,
    /// For staff: the next step to send.
    next: u64,
    /// For a channel: the view that was sent last.
    shown: Value,
    waiting: VecDeque<Event>,
    /// Nothing was looked up yet.
    fresh: bool,
}

impl Following {
    /// The next event; `None` ends the stream.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if !std::mem::take(&mut self.fresh) && !self.changed().await {
                return None;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(case = %self.case, %error, "a stream of events ends");
                return None;
            }
        }
    }

    /// Waits until the case has grown; false when the process stops.
    async fn changed(&mut self) -> bool {
        loop {
            let change = tokio::select! {
                change = self.changes.recv() => change,
                () = stopped(self.stopping.as_mut()) => return false,
            };
            match change {
                Ok(case) if case == self.case => return true,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return true,
                Err(broadcast::error::RecvError::Closed) => return false,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Refusal> {
        if sees_cases(&self.api, &self.who) {
            let entries = self.api.cases.entries(&self.case).await?;
            for (entry, step) in entries.iter().zip(trace(&entries)) {
                if entry.seq >= self.next {
                    let event = Event::default().id(entry.seq.to_string()).event(&entry.kind);
                    self.waiting.push_back(event.data(step.to_string()));
                    self.next = entry.seq + 1;
                }
            }
        } else {
            let state = existing(&self.api, &self.who, &self.case).await?;
            let view = view(&self.api, &self.who, &state);
            if view != self.shown {
                self.waiting.push_back(Event::default().event("case").data(view.to_string()));
                self.shown = view;
            }
        }
        Ok(())
    }
}

async fn stopped(stopping: Option<&mut watch::Receiver<bool>>) {
    if let Some(stopping) = stopping
        && stopping.wait_for(|stop| *stop).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
