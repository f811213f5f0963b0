//! Blind reviews. Cases are drawn by a keyed digest, so that nobody can tell which; whoever reviews one sees what the
//! customer wrote and what was found, says what it is about and whether to act, and only then sees what the machine said.

use super::CaseError;
use super::event::Event;
use super::run::{Cases, blocking, fold};
use super::state::State;
use super::view::{leaf_of, probability};
use crate::base::{CaseId, Timestamp};
use crate::governance::{DialEvent, Draw, Principal, Review, Source, Verdict};
use crate::intake::Identity;
use crate::ledger::{LedgerError, Stream, StreamKind};
use serde_json::{Value, json};

/// What a reviewer says before they see anything of the machine's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub leaf: String,
    /// Whether they would do what the plan for that leaf does.
    pub act: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReviewRefused {
    #[error("there is no review `{0}`")]
    Unknown(String),
    #[error("somebody has answered the review already")]
    Answered,
    #[error("who took part in a case does not review it")]
    TookPart,
    #[error("who has looked at a case knows what the machine said; a review is blind")]
    Seen,
    #[error("leaf `{0}` is not known")]
    NoLeaf(String),
}

/// What may be drawn from what was just written, and the name by which the draw is made.
struct Candidate {
    name: String,
    share: f64,
    draw: Draw,
}

impl Cases {
    /// Draws from what was just written to a case. A draw that fails is told, and holds nobody up: whether it fails does
    /// not depend on who was right.
    pub(super) async fn draw(&self, state: &State, events: &[(Event, Timestamp)]) {
        let Some(candidate) = self.candidate(state, events) else { return };
        let own = self.clone();
        let drawn = blocking(move || {
            let Candidate { name, share, mut draw } = candidate;
            let digest = own.parts().ledger.keys().hide("review", &name)?;
            if !falls_within(digest.hex(), share) {
                return Ok(());
            }
            draw.review = format!("rev_{}", digest.hex().get(8..32).unwrap_or_default());
            own.note_draw(draw)
        });
        if let Err(error) = drawn.await {
            tracing::error!(case = %state.case, %error, "a review could not be drawn");
        }
    }

    fn candidate(&self, state: &State, events: &[(Event, Timestamp)]) -> Option<Candidate> {
        let (reading, autonomy) = (state.reading.as_ref()?, &self.parts().pack.governance.autonomy);
        let first = state.length - events.len() as u64;
        let earned =
            |leaf: &str, tool: &str| autonomy.dial(leaf, tool).is_some_and(|dial| dial.demand.is_ok());
        let draw = |seq: u64, leaf: &str, source| Draw {
            review: String::new(),
            case: state.case.clone(),
            seq,
            leaf: leaf.to_owned(),
            call: None,
            tool: None,
            source,
            confidence: probability(reading).basis_points(),
            model: reading.digests.model.clone(),
        };
        let leaf = state.plan.as_ref().map_or_else(|| leaf_of(reading), |plan| plan.leaf.as_str());
        // What was proposed for a concern without a plan earns nothing.
        let open = state.plan.as_ref().is_some_and(|plan| plan.cursor.open.is_some());
        let proposed = events.iter().zip(first..).find_map(|((event, _), seq)| match event {
            // The first decision alone: what a person approved says nothing new about the reading.
            Event::Decided { call, decision, undoes: None, .. }
                if decision.verdict != Verdict::Refuse
                    && !open
                    && earned(leaf, &decision.tool)
                    && state.decisions.iter().filter(|(known, _)| known == call).count() == 1 =>
            {
                let source =
                    if decision.verdict == Verdict::Permit { Source::Quality } else { Source::Review };
                let (call, tool) = (Some(call.clone()), Some(decision.tool.clone()));
                Some(Draw { call, tool, ..draw(seq, leaf, Some(source)) })
            }
            _ => None,
        });
        if let Some(draw) = proposed {
            let name = draw.call.as_ref().map(ToString::to_string).unwrap_or_default();
            return Some(Candidate { name, share: autonomy.evidence.review_share, draw });
        }
        // Put among the others: what was just read as something that no evidence is needed for.
        let grounded =
            events.iter().zip(first..).find(|((event, _), _)| matches!(event, Event::Grounded { .. }));
        let (_, seq) = grounded?;
        let tools = self.parts().pack.tools.by_name.keys();
        let other =
            tools.filter(|tool| autonomy.dial(leaf, tool).is_some_and(|dial| dial.leaf != "*")).count() == 0;
        let name = format!("{} {}", state.case, state.working_on);
        let share = autonomy.evidence.control_share;
        other.then(|| Candidate { name, share, draw: draw(seq, leaf, None) })
    }

    /// The reviews that wait for an answer, oldest first: nothing of them but their names. Blocks.
    pub fn open_reviews(&self) -> Result<Vec<Value>, CaseError> {
        let book = self.dial_events()?;
        Ok(book.open().map(|review| json!({"review": review.draw.review, "drawn_at": review.at})).collect())
    }

    /// What a reviewer sees of a case: not what it was read as, nor what follows. It is written down that they look.
    pub async fn show_review(&self, review: &str, by: &Principal) -> Result<Value, CaseError> {
        let (review, state) = self.reviewable(review, by).await?;
        self.note_access(by, "review", vec![review.draw.case.clone()]).await?;
        let messages: Vec<Value> = state
            .messages
            .iter()
            .map(|message| {
                json!({
                    "text": message.text, "language": message.language, "channel": message.channel,
                    "attachments": message.attachments, "received_at": message.received_at,
                })
            })
            .collect();
        let verified = state.message().is_some_and(|m| matches!(m.identity, Identity::Verified { .. }));
        let records = state.facts.as_ref().map_or(&[][..], |facts| facts.records.as_slice());
        Ok(json!({
            "review": review.draw.review,
            "drawn_at": review.at,
            "messages": messages,
            "verified": verified,
            "records": records,
        }))
    }

    /// Takes an answer, and only then tells what the machine had said.
    pub async fn answer_review(
        &self,
        review: &str,
        by: &Principal,
        answer: Answer,
    ) -> Result<Value, CaseError> {
        let leaves = &self.parts().pack.schema.intents.leaves;
        if leaves.iter().all(|leaf| leaf.id != answer.leaf) {
            return Err(ReviewRefused::NoLeaf(answer.leaf).into());
        }
        let (review, state) = self.reviewable(review, by).await?;
        let (own, id, name) = (self.clone(), review.draw.review.clone(), by.name.clone());
        let written = tokio::task::spawn_blocking(move || {
            own.write_dial(|book| {
                if book.review(&id).is_none_or(|known| !known.is_open()) {
                    return Err(ReviewRefused::Answered.into());
                }
                let Answer { leaf, act } = answer.clone();
                Ok(vec![DialEvent::Reviewed { review: id.clone(), by: name.clone(), leaf, act }])
            })?;
            Ok::<_, CaseError>(own.dial_events()?.review(&id).cloned())
        });
        let written = written.await.map_err(|_| LedgerError::Store("the work was cut off".to_owned()))??;
        let call = state.calls.iter().find(|call| Some(&call.id) == review.draw.call.as_ref());
        Ok(json!({
            "review": review.draw.review,
            "right": written.as_ref().and_then(Review::right),
            "said": written.and_then(|known| known.said),
            "case": review.draw.case,
            "machine": {
                "leaf": review.draw.leaf, "confidence": review.draw.confidence, "tool": review.draw.tool,
                "arguments": call.map(|call| &call.arguments),
            },
        }))
    }

    /// An open review with its case as it was, for somebody who may answer it.
    async fn reviewable(&self, review: &str, by: &Principal) -> Result<(Review, State), CaseError> {
        let own = self.clone();
        let book = blocking(move || own.dial_events()).await?;
        let unknown = || ReviewRefused::Unknown(review.to_owned());
        let found = book.review(review).filter(|found| !found.withdrawn).cloned().ok_or_else(unknown)?;
        if found.said.is_some() {
            return Err(ReviewRefused::Answered.into());
        }
        let case = found.draw.case.clone();
        let entries = match self.entries(&case).await {
            Err(CaseError::Ledger(LedgerError::Erased { .. })) => {
                // Nobody can answer it any more, and it must not hold up those behind it.
                let (own, id) = (self.clone(), review.to_owned());
                let withdraw =
                    move || own.write_dial(|_| Ok(vec![DialEvent::Withdrawn { review: id.clone() }]));
                let _ = tokio::task::spawn_blocking(withdraw).await;
                return Err(unknown().into());
            }
            entries => entries?,
        };
        let whole = fold(&case, &entries)?;
        let voted = entries.iter().any(|entry| {
            entry.kind == "voted" && entry.body.pointer("/vote/by").is_some_and(|voter| *voter == by.name)
        });
        if voted || whole.senders.contains(&by.name) {
            return Err(ReviewRefused::TookPart.into());
        }
        if book.was_told(&by.name, &case) || self.has_seen(by, &case).await? {
            return Err(ReviewRefused::Seen.into());
        }
        let shown: Vec<_> = entries.into_iter().filter(|entry| entry.seq <= found.draw.seq).collect();
        Ok((found, fold(&case, &shown)?))
    }

    /// Whether somebody has looked at more of a case than a review shows.
    async fn has_seen(&self, who: &Principal, case: &CaseId) -> Result<bool, LedgerError> {
        let (own, stream, case) =
            (self.clone(), Stream::new(StreamKind::Access, who.name.clone()), case.to_string());
        blocking(move || {
            let looks = own.parts().ledger.stream(&stream, 0)?;
            Ok(looks.iter().any(|look| {
                let cases = look.body.get("cases").and_then(Value::as_array);
                let names = cases.is_some_and(|cases| cases.iter().any(|known| *known == case.as_str()));
                names && look.body.get("what").is_none_or(|what| *what != "review")
            }))
        })
        .await
    }
}

/// Whether a digest falls within a share of all digests, by its first 32 bits.
fn falls_within(hex: &str, share: f64) -> bool {
    let place = hex.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    place.is_some_and(|place| f64::from(place) < share * f64::from(u32::MAX) + share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    #[test]
    fn a_share_of_digests_is_drawn() {
        let drawn = |share: f64| {
            (0..4_000_u32).filter(|n| falls_within(Digest::of(&n.to_le_bytes()).hex(), share)).count()
        };
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 4_000));
        let tenth = drawn(0.1);
        assert!((340..460).contains(&tenth), "{tenth}");
    }
}
