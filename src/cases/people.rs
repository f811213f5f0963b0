//! What people do in cases: approving, editing, taking over, answering, giving back. Each deed is an event; whether it is
//! possible is looked at on the case as it is then.

use super::CaseError;
use super::event::Event;
use super::run::{Cases, Decide, event_of};
use super::state::{PlanState, Stage, State, Status};
use super::step::{Deed, Input};
use super::view::PendingApproval;
use crate::acting::schema::misfit;
use crate::base::{ApprovalId, CaseId, Digest, Money};
use crate::governance::{
    Act, ApprovalRefused, ApprovalRequest, Principal, Role, Vote, admit, admit_delegation,
};
use crate::ledger::{Entry, StreamKind};
use crate::reply::Reply;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// The one argument that a person may lower; those that say what is acted on stay as the record has them.
const AMOUNT: &str = "amount";

impl Cases {
    /// Every approval that waits for a decision, newest first.
    pub async fn approvals(&self) -> Result<Vec<PendingApproval>, CaseError> {
        let ledger = Arc::clone(&self.parts().ledger);
        let status = Status::WaitingApproval.as_str();
        let waiting =
            super::run::blocking(move || ledger.heads(StreamKind::Case, Some(status), None)).await?;
        let mut pending = Vec::new();
        for head in waiting {
            let state = self.state(&CaseId::new(head.name)).await?;
            pending.extend(PendingApproval::of(&state));
        }
        Ok(pending)
    }

    /// Records a human's decision. When it was the last one needed, the caller drives the case.
    ///
    /// # Errors
    /// There is no such approval, it is decided already, or this person may not decide it.
    pub async fn decide(&self, approval: &str, decide: Decide) -> Result<CaseId, CaseError> {
        let said = self.pack().governance.administration.evaluate(&decide.by, Act::Approve);
        if !said.allowed {
            return Err(ApprovalRefused::Role(decide.by.role.to_string()).into());
        }
        let asked_of = OnceLock::new();
        let voted = |state: &State, at| {
            let (request, votes) = waiting(state, approval)?;
            asked_of.get_or_init(|| request.call.clone());
            let answer = (&decide.by, decide.approve);
            admit(request, votes, &apart(state), answer, decide.binding.as_ref(), at)?;
            let Decide { by, approve, reason, .. } = &decide;
            let vote = Vote {
                by: by.name.clone(),
                role: Some(by.role),
                policies: said.policies.clone(),
                approve: *approve,
                reason: reason.clone(),
                at,
            };
            Ok(Input::Voted { vote })
        };
        let case = self.in_approval(approval, voted).await?;
        let after = self.state(&case).await?;
        // Where another worker was so fast that the plan waits for its next call already, the vote has counted.
        let anew = |(request, votes): &(ApprovalRequest, Vec<Vote>)| {
            let same_call = asked_of.get() == Some(&request.call) && request.id.as_str() != approval;
            same_call && votes.is_empty() && after.status == Status::WaitingApproval
        };
        if decide.approve && after.approval.as_ref().is_some_and(anew) {
            // The vote stands in the record and counts for nothing: it was another proposal by then.
            self.start(case);
            return Err(ApprovalRefused::Changed.into());
        }
        Ok(case)
    }

    /// Puts another amount, or another of the values that a schema lists, into a call that waits for approval. Everybody is
    /// asked anew, and who changed it does not approve it. The caller drives the case.
    ///
    /// # Errors
    /// There is no such approval, it was shown otherwise, or the arguments are none that a person may give.
    pub async fn edit(
        &self,
        approval: &str,
        by: &Principal,
        (arguments, reason): (&Value, Option<&str>),
        shown: Option<&Digest>,
    ) -> Result<CaseId, CaseError> {
        let edited = |state: &State, at| {
            let (request, votes) = waiting(state, approval)?;
            // Whoever may not approve it may not change it either.
            admit(request, votes, &apart(state), (by, false), shown, at)?;
            let call = state.calls.iter().find(|call| call.id == request.call);
            let schema = call.and_then(|call| Some((call, self.pack().tools.by_name.get(&call.tool)?)));
            let (call, tool) = schema.ok_or_else(|| unknown(approval))?;
            check_edit(&call.arguments, &tool.input, arguments)?;
            let (approval, arguments) = (request.id.clone(), arguments.clone());
            let deed = Deed::Edit { approval, arguments, reason: reason.map(str::to_owned) };
            Ok(Input::Did { by: by.clone(), deed })
        };
        self.in_approval(approval, edited).await
    }

    /// Hands an approval on to a role: from then on only its holders decide.
    ///
    /// # Errors
    /// There is no such approval, this person may not decide it, or the role could not.
    pub async fn delegate(
        &self,
        approval: &str,
        by: &Principal,
        (to, reason): (Role, Option<&str>),
    ) -> Result<CaseId, CaseError> {
        let administration = &self.pack().governance.administration;
        if !administration.evaluate(by, Act::Approve).allowed {
            return Err(ApprovalRefused::Role(by.role.to_string()).into());
        }
        let may_approve = administration.evaluate(&Principal::new("", to), Act::Approve).allowed;
        let delegated = |state: &State, at| {
            let (request, votes) = waiting(state, approval)?;
            admit(request, votes, &apart(state), (by, false), None, at)?;
            admit_delegation(request, votes, (to, may_approve))?;
            let (approval, reason) = (request.id.clone(), reason.map(str::to_owned));
            Ok(Input::Did { by: by.clone(), deed: Deed::Delegate { approval, to, reason } })
        };
        self.in_approval(approval, delegated).await
    }

    async fn in_approval(
        &self,
        approval: &str,
        input: impl Fn(&State, crate::base::Timestamp) -> Result<Input, CaseError>,
    ) -> Result<CaseId, CaseError> {
        // An approval's id begins with its case's.
        let case = CaseId::new(approval.rsplit_once(".a").ok_or_else(|| unknown(approval))?.0);
        match self.bring(&case, Vec::new(), input).await {
            Err(CaseError::NoApproval(id)) => {
                let asked = |entry: &Entry| {
                    let event = event_of(&case, entry);
                    matches!(event, Ok(Event::ApprovalAsked { approval }) if approval.id == id)
                };
                match self.entries(&case).await?.iter().any(asked) {
                    true => Err(ApprovalRefused::Settled.into()),
                    false => Err(CaseError::NoApproval(id)),
                }
            }
            done => done.map(|()| case),
        }
    }

    /// A person takes a case over: what waits for approval is void, and the machine does nothing more in it.
    ///
    /// # Errors
    /// A call is under way, something is being undone, the case is stuck, or somebody else has it.
    pub async fn take_over(
        &self,
        case: &CaseId,
        by: &Principal,
        reason: Option<&str>,
    ) -> Result<(), CaseError> {
        self.does(case, by, |state| {
            if state.stage == Stage::Calling || state.undoing.is_some() {
                return Err("a call is under way or being undone; wait until it has an outcome");
            }
            match (state.status, &state.held_by) {
                (Status::Stuck, _) => Err("it is stuck; let it go on with /retry"),
                (_, Some(other)) if !may_hold(other, by) => Err("somebody else has taken it over"),
                _ => Ok(Deed::TakeOver { reason: reason.map(str::to_owned) }),
            }
        })
        .await
    }

    /// Gives a case back: its plan goes on at a step of it, on facts that are read anew. Without a leaf it is the plan that
    /// the case has, without a step the one at which it stopped, or the plan's first. The caller then drives it.
    ///
    /// # Errors
    /// No person has the case, somebody else has it, or there is no such plan or step.
    pub async fn give_back(
        &self,
        case: &CaseId,
        by: &Principal,
        (leaf, step, note): (Option<&str>, Option<&str>, Option<&str>),
    ) -> Result<(), CaseError> {
        self.does(case, by, |state| {
            held(state, by)?;
            if state.undoing.is_some() {
                return Err("something in it was to be undone; that is for people to end");
            }
            let known = state.plan.as_ref();
            // A plan that was proposed goes on under its own name.
            let leaf = leaf.or(known.map(PlanState::name)).ok_or("name the leaf of a plan")?;
            let plans = &self.pack().plans;
            let own = known.filter(|known| known.leaf == leaf || known.name() == leaf);
            let plan = plans.of_leaf(leaf).or_else(|| own.and_then(|own| plans.of_event(&own.leaf)));
            let plan = plan.ok_or("there is no plan for this leaf; name another `leaf`")?;
            let cursor = own.map(|known| &known.cursor);
            let of = cursor.and_then(|cursor| plans.by_name.get(&cursor.plan)).unwrap_or(plan);
            let stood = cursor.map(|cursor| &cursor.step).filter(|step| of.steps.contains_key(*step));
            let step = step.map_or_else(|| stood.unwrap_or(&plan.start).clone(), str::to_owned);
            if !of.steps.contains_key(&step) && !plan.steps.contains_key(&step) {
                return Err("the plan has no such `step`; see GET /v1/cases/{id}/handover");
            }
            Ok(Deed::GiveBack { leaf: leaf.to_owned(), step, note: note.map(str::to_owned) })
        })
        .await
    }

    /// A person's own answer to the customer.
    ///
    /// # Errors
    /// No person has the case, or somebody else has it.
    pub async fn answer(
        &self,
        case: &CaseId,
        by: &Principal,
        (text, resolves): (&str, bool),
    ) -> Result<(), CaseError> {
        self.does(case, by, |state| {
            held(state, by)?;
            let language = state.message().map(|message| message.language).ok_or("it has no message")?;
            let reply = Reply { language, text: text.to_owned(), citations: Vec::new() };
            Ok(Deed::Answer { reply, resolves })
        })
        .await
    }

    async fn does(
        &self,
        case: &CaseId,
        by: &Principal,
        deed: impl Fn(&State) -> Result<Deed, &'static str>,
    ) -> Result<(), CaseError> {
        let input = |state: &State, _| match state.length {
            0 => Err(CaseError::NoCase(case.clone())),
            _ => match deed(state) {
                Ok(deed) => Ok(Input::Did { by: by.clone(), deed }),
                Err(why) => Err(CaseError::NotNow { case: case.clone(), why }),
            },
        };
        self.bring(case, Vec::new(), input).await
    }
}

fn unknown(approval: &str) -> CaseError {
    CaseError::NoApproval(ApprovalId::new(approval))
}

fn waiting<'s>(state: &'s State, approval: &str) -> Result<&'s (ApprovalRequest, Vec<Vote>), CaseError> {
    let asked = state.approval.as_ref().filter(|(request, _)| request.id.as_str() == approval);
    asked.filter(|_| state.status == Status::WaitingApproval).ok_or_else(|| unknown(approval))
}

/// Those who stand behind what is asked, and do not approve it.
fn apart(state: &State) -> BTreeSet<String> {
    let edited = state.calls.iter().filter_map(|call| call.edited_by.clone());
    state.senders.iter().chain(&state.steered_by).cloned().chain(edited).collect()
}

/// A supervisor may go on with what another person has.
fn may_hold(holder: &Principal, by: &Principal) -> bool {
    holder.name == by.name || by.role == Role::Supervisor
}

fn held(state: &State, by: &Principal) -> Result<(), &'static str> {
    match (state.status, &state.held_by) {
        (Status::WithHuman, Some(holder)) if may_hold(holder, by) => Ok(()),
        (Status::WithHuman, Some(_)) => Err("somebody else has taken it over"),
        (Status::WithHuman, None) => Err("take it over first, with /take"),
        _ => Err("no person has it; take it over first, with /take"),
    }
}

/// Only an amount may be changed, and only down, or a value for another one that the schema lists.
pub(super) fn check_edit(proposed: &Value, schema: &Value, arguments: &Value) -> Result<(), CaseError> {
    let refused = |what: String| CaseError::BadEdit(what);
    let (Some(before), Some(after)) = (proposed.as_object(), arguments.as_object()) else {
        return Err(refused("`arguments` is no object".to_owned()));
    };
    if let Some(misfit) = misfit(schema, arguments) {
        return Err(refused(format!("`arguments` do not fit the tool: {misfit}")));
    }
    let named: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in named.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        let listed = schema.pointer(&format!("/properties/{name}/enum")).is_some();
        let lower = name == AMOUNT && lowered(before.get(name), after.get(name));
        if !listed && !lower {
            return Err(refused(format!(
                "`{name}` stays as the record has it; an amount may be lowered, and a value exchanged for another one \
                 that the tool lists"
            )));
        }
    }
    Ok(())
}

fn lowered(before: Option<&Value>, after: Option<&Value>) -> bool {
    let money = |value: Option<&Value>| serde_json::from_value::<Money>(value?.clone()).ok();
    match (money(before), money(after)) {
        (Some(before), Some(after)) => {
            after.currency == before.currency && after.minor > 0 && after.minor <= before.minor
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_edit_lowers_an_amount_and_names_nobody_else() {
        let tools = crate::planning::Tools::parse("t", include_str!("../../config/tools.toml")).unwrap();
        let schema = &tools.by_name["refund"].input;
        let arguments = |account: &str, minor: i64, currency: &str, reason: &str| {
            json!({"account": account, "transaction": "txn_1", "reason": reason,
                   "amount": {"minor": minor, "currency": currency}})
        };
        let proposed = arguments("acc_1", 500, "EUR", "charged_twice");
        let edit = |arguments: Value| check_edit(&proposed, schema, &arguments);
        assert!(edit(arguments("acc_1", 200, "EUR", "goodwill")).is_ok());
        for wrong in [
            arguments("acc_2", 200, "EUR", "charged_twice"),
            arguments("acc_1", 501, "EUR", "charged_twice"),
            arguments("acc_1", 200, "CHF", "charged_twice"),
            arguments("acc_1", 0, "EUR", "charged_twice"),
            arguments("acc_1", 200, "EUR", "because"),
            json!({"account": "acc_1"}),
            json!([]),
        ] {
            assert!(matches!(edit(wrong.clone()), Err(CaseError::BadEdit(_))), "{wrong}");
        }
    }
}
