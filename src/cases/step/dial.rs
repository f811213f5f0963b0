//! How a step gets to know the dial: as it stands, or as it was when a case was decided.

use crate::cases::event::Event;
use crate::cases::state::CallState;
use crate::governance::{Dialled, Dials, Request};

/// How far the evidence carries.
#[derive(Clone, Copy)]
pub enum Dial<'a> {
    InForce(&'a Dials),
    /// What these events say of it. Those of a program that knew no evidence say nothing, and then the pack alone counts.
    Recorded(&'a [Event]),
}

impl Dial<'_> {
    pub(super) fn of(self, request: Option<&Request>, proposed: &CallState) -> Option<Dialled> {
        match self {
            Self::InForce(dials) => Some(match request {
                Some(request) => dials.of_call(&request.circumstances, &proposed.tool),
                None => dials.of("", &proposed.tool),
            }),
            Self::Recorded(events) => events.iter().find_map(|event| match event {
                Event::Decided { call, dial, .. } if *call == proposed.id => Some(dial.clone()),
                _ => None,
            })?,
        }
    }
}
