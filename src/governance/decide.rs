//! Rules and dial together: do it, ask a human, or refuse.

use super::request::{Approver, Circumstances, Subject};
use super::rules::{Evaluation, Rules};
use super::{Administration, Autonomy, Dialled, Level};
use crate::base::grants::{DiscloseGrant, Permit, ReadGrant};
use crate::base::{CallId, CustomerId, Digest, RecordId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The rules and the dial in force.
#[derive(Debug)]
pub struct Governance {
    pub rules: Rules,
    pub autonomy: Autonomy,
    /// Who may ask for what.
    pub administration: Arc<Administration>,
}

/// One call that a plan proposes.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    pub tool: String,
    pub subject: Subject,
    pub circumstances: Circumstances,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Permit,
    Ask,
    Refuse,
}

/// What was decided about one call, and by what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub tool: String,
    pub verdict: Verdict,
    /// Ids of the determining policies; for `ask`, of those that would permit it with approval.
    pub policies: Vec<String>,
    pub reason: String,
    /// How many approvals are missing; 0 unless the verdict is `ask`.
    pub approvals_needed: u32,
    /// Whether one of them must be of the bank's security.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
}

impl Decision {
    /// A refusal that no rule was asked about.
    pub fn refused(tool: &str, reason: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            verdict: Verdict::Refuse,
            policies: Vec::new(),
            reason: reason.to_owned(),
            approvals_needed: 0,
            security: false,
        }
    }
}

impl Governance {
    /// Decides a call. The people in `circumstances.approvers` have approved exactly this call. `dial` is how far the
    /// evidence carries; `None` for what was decided before there was any.
    pub fn decide(&self, request: &Request, dial: Option<&Dialled>) -> Decision {
        let decision = |verdict, policies, reason: &str, approvals_needed| Decision {
            tool: request.tool.clone(),
            verdict,
            policies,
            reason: reason.to_owned(),
            approvals_needed,
            security: false,
        };
        let given = request.circumstances.approvers.len() as u32;
        let now = self.evaluate(request, request.circumstances.approvers.clone());
        if now.erred {
            return decision(Verdict::Refuse, now.policies, "a rule erred", 0);
        }
        if !now.allowed {
            return match self.approvals_that_help(request) {
                Some((needed, security, evaluation)) => {
                    let reason = match security {
                        true => "the rules want the approval of the bank's security",
                        false => "the rules want a human's approval",
                    };
                    Decision {
                        security,
                        ..decision(Verdict::Ask, evaluation.policies, reason, needed - given)
                    }
                }
                None => decision(Verdict::Refuse, now.policies, "no rule permits it", 0),
            };
        }
        match self.level(request, dial) {
            Level::Off => decision(Verdict::Refuse, now.policies, "the dial is off for this tool", 0),
            Level::Suggest if given == 0 => {
                decision(Verdict::Ask, now.policies, "the dial lets this be suggested only", 1)
            }
            Level::Suggest => decision(Verdict::Permit, now.policies, "approved", 0),
            Level::Auto => decision(Verdict::Permit, now.policies, "within rules and dial", 0),
        }
    }

    /// The lower one of what the bank lets the call be and what is in force now.
    fn level(&self, request: &Request, dial: Option<&Dialled>) -> Level {
        let circumstances = &request.circumstances;
        let let_be = self.autonomy.level(&circumstances.leaf, &request.tool, circumstances.amount);
        // What the open planner proposes is never more than that, whatever was earned, nor than the plan's own dial.
        let let_be = circumstances.open.as_ref().map_or(let_be, |plan| {
            let own = self.autonomy.level(plan, &request.tool, circumstances.amount);
            let_be.min(own).min(Level::Suggest)
        });
        let Some(dial) = dial else { return let_be };
        let unsure = dial.threshold.is_some_and(|least| circumstances.confidence.basis_points() < least);
        let carried = if unsure { dial.level.min(Level::Suggest) } else { dial.level };
        let_be.min(carried)
    }

    fn evaluate(&self, request: &Request, approvers: Vec<Approver>) -> Evaluation {
        let circumstances = Circumstances { approvers, ..request.circumstances.clone() };
        self.rules.evaluate(&request.tool, &request.subject, &circumstances)
    }

    /// The smallest number of approvals with which the rules would permit the call, and whether one of them must be of the
    /// bank's security.
    fn approvals_that_help(&self, request: &Request) -> Option<(u32, bool, Evaluation)> {
        let given = &request.circumstances.approvers;
        let ways =
            [false, true].into_iter().flat_map(|security| (given.len() + 1..=2).map(move |n| (n, security)));
        ways.into_iter().find_map(|(needed, security)| {
            let mut approvers = given.clone();
            // Nobody is called so: they differ from everybody who has a name.
            let further = (given.len()..needed).map(|n| Approver { name: format!("\u{0}{n}"), security });
            approvers.extend(further);
            let evaluation = self.evaluate(request, approvers);
            (evaluation.allowed && !evaluation.erred).then_some((needed as u32, security, evaluation))
        })
    }

    /// The permission to perform a call, when it is decided so. The arguments' digest binds it.
    pub fn permit(
        &self,
        request: &Request,
        dial: Option<&Dialled>,
        (call, arguments): (&CallId, &Digest),
    ) -> Result<Permit, Decision> {
        let decision = self.decide(request, dial);
        match decision.verdict {
            Verdict::Permit => Ok(Permit::seal(call.clone(), request.tool.clone(), arguments.clone())),
            Verdict::Ask | Verdict::Refuse => Err(decision),
        }
    }

    /// The permission to read a verified customer's account data, and what the rules say of it.
    pub fn read(
        &self,
        customer: &CustomerId,
        circumstances: &Circumstances,
    ) -> (Option<ReadGrant>, Evaluation) {
        let said = self.rules.may_read(customer, circumstances);
        (said.allowed.then(|| ReadGrant::seal(customer.clone())), said)
    }

    /// The permission to tell a customer about those of the records that the rules allow, `None` when they allow none; and
    /// what the rules say of all of them.
    pub fn disclose(
        &self,
        records: &[Subject],
        circumstances: &Circumstances,
    ) -> (Option<DiscloseGrant>, Evaluation) {
        let mut whole = Evaluation { allowed: false, policies: Vec::new(), erred: false };
        let mut allowed: Vec<RecordId> = Vec::new();
        for subject in records {
            let said = self.rules.may_disclose(subject, circumstances);
            if let (true, Subject::Record { id, .. }) = (said.allowed, subject) {
                allowed.push(id.clone());
            }
            whole.allowed |= said.allowed;
            whole.erred |= said.erred;
            whole.policies.extend(said.policies);
        }
        whole.policies.sort();
        whole.policies.dedup();
        let customer = circumstances.customer.clone();
        ((!allowed.is_empty()).then(|| DiscloseGrant::seal(customer, allowed)), whole)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ToolRisk;
    use super::*;
    use crate::base::{Currency, Money, Probability};
    use crate::planning::Risk;

    const RULES: &str = r#"
@id("small") @reason("r")
permit (principal, action == Action::"refund", resource)
when { resource.owner == context.customer && context has amount && context.amount <= 15000
  && context.totals.customer.day.amount <= 20000 };
@id("flagged") @reason("r")
forbid (principal, action == Action::"refund", resource) when { resource.flagged } unless { context.by_security };
@id("large") @reason("r")
permit (principal, action == Action::"refund", resource)
when { resource.owner == context.customer && context has amount && context.amount <= 100000
  && context has approver_1 && context has approver_2 };
@id("read-own") @reason("r")
permit (principal, action == Action::"read_account", resource) when { resource == context.customer };
@id("tell-owner") @reason("r")
permit (principal, action == Action::"disclose", resource) when { resource.owner == context.customer };
"#;

    fn governance(dial: &str) -> Governance {
        let tools = [ToolRisk { name: "refund".into(), risk: Risk::Money, restores_access: false }];
        let text = format!(
            "[[dial]]\nleaf = '*'\ntool = 'refund'\nlevel = '{dial}'\nlimit = {{ minor = 10000, currency = 'EUR' }}\n"
        );
        Governance {
            rules: Rules::parse(&[("r.cedar".into(), RULES.into())], &tools).unwrap(),
            autonomy: Autonomy::parse("a.toml", &text, &Default::default(), &tools).unwrap(),
            administration: Arc::new(Administration::parse(&[]).unwrap()),
        }
    }

    fn circumstances(customer: &str, minor: i64, approvers: &[&str]) -> Circumstances {
        Circumstances {
            customer: CustomerId::new(customer),
            assurance: "sca",
            identity_age_seconds: 1,
            confidence: Probability::ONE,
            leaf: "l".into(),
            amount: Some(Money::new(minor, Currency::EUR)),
            approvers: approvers
                .iter()
                .map(|name| Approver { name: (*name).to_owned(), security: *name == "eve" })
                .collect(),
            ..Circumstances::unknown()
        }
    }

    fn subject() -> Subject {
        record(false)
    }

    fn record(flagged: bool) -> Subject {
        Subject::Record {
            id: RecordId::new("a"),
            owner: CustomerId::new("cus_1"),
            authorised: false,
            flagged,
        }
    }

    fn verdict(dial: &str, customer: &str, minor: i64, approvers: &[&str]) -> (Verdict, u32) {
        let request = Request {
            tool: "refund".into(),
            subject: subject(),
            circumstances: circumstances(customer, minor, approvers),
        };
        let decision = governance(dial).decide(&request, None);
        (decision.verdict, decision.approvals_needed)
    }

    #[test]
    fn rules_and_dial_decide_together() {
        assert_eq!(verdict("auto", "cus_1", 10_000, &[]), (Verdict::Permit, 0));
        assert_eq!(verdict("auto", "cus_1", 10_001, &[]), (Verdict::Ask, 1), "above the dial's limit");
        assert_eq!(verdict("suggest", "cus_1", 1, &[]), (Verdict::Ask, 1));
        assert_eq!(verdict("suggest", "cus_1", 1, &["sara"]), (Verdict::Permit, 0));
        assert_eq!(verdict("off", "cus_1", 1, &["sara"]), (Verdict::Refuse, 0));
    }

    #[test]
    fn what_the_evidence_carries_can_only_ask_more() {
        let verdict = |configured: &str, level, threshold, sure: f64| {
            let mut circumstances = circumstances("cus_1", 100, &[]);
            circumstances.confidence = Probability::new(sure);
            let request = Request { tool: "refund".into(), subject: subject(), circumstances };
            let dial = Dialled { level, threshold, evidence: Digest::of(b"e") };
            governance(configured).decide(&request, Some(&dial)).verdict
        };
        assert_eq!(verdict("auto", Level::Auto, None, 0.5), Verdict::Permit);
        assert_eq!(verdict("auto", Level::Auto, Some(9_000), 0.9), Verdict::Permit);
        assert_eq!(verdict("auto", Level::Auto, Some(9_000), 0.8999), Verdict::Ask);
        assert_eq!(verdict("auto", Level::Suggest, None, 1.0), Verdict::Ask);
        assert_eq!(verdict("auto", Level::Off, None, 1.0), Verdict::Refuse);
        assert_eq!(verdict("suggest", Level::Auto, None, 1.0), Verdict::Ask);
        assert_eq!(verdict("off", Level::Auto, None, 1.0), Verdict::Refuse);
    }

    #[test]
    fn what_the_open_planner_proposes_is_approved_by_a_person() {
        let decide = |dial: &str, approvers: &[&str]| {
            let open = Some("plan".to_owned());
            let circumstances = Circumstances { open, ..circumstances("cus_1", 100, approvers) };
            let request = Request { tool: "refund".into(), subject: subject(), circumstances };
            let earned = Dialled { level: Level::Auto, threshold: None, evidence: Digest::of(b"e") };
            governance(dial).decide(&request, Some(&earned)).verdict
        };
        assert_eq!(decide("auto", &[]), Verdict::Ask);
        assert_eq!(decide("auto", &["sara"]), Verdict::Permit);
        assert_eq!(decide("off", &["sara"]), Verdict::Refuse);
    }

    #[test]
    fn four_eyes_are_counted_down() {
        assert_eq!(verdict("auto", "cus_1", 50_000, &[]), (Verdict::Ask, 2));
        assert_eq!(verdict("auto", "cus_1", 50_000, &["sara"]), (Verdict::Ask, 1));
        assert_eq!(verdict("auto", "cus_1", 50_000, &["sara", "tom"]), (Verdict::Permit, 0));
        assert_eq!(verdict("auto", "cus_1", 100_001, &["sara", "tom"]), (Verdict::Refuse, 0));
    }

    #[test]
    fn somebody_elses_record_is_refused_whoever_approves() {
        assert_eq!(verdict("auto", "cus_2", 1, &[]), (Verdict::Refuse, 0));
        assert_eq!(verdict("auto", "cus_2", 1, &["sara", "tom"]), (Verdict::Refuse, 0));
    }

    #[test]
    fn what_was_done_before_counts() {
        let mut request = Request {
            tool: "refund".into(),
            subject: subject(),
            circumstances: circumstances("cus_1", 9_000, &[]),
        };
        request.circumstances.spent.customer.day.amount = 20_000;
        assert_eq!(governance("auto").decide(&request, None).verdict, Verdict::Permit);
        request.circumstances.spent.customer.day.amount = 20_001;
        let decision = governance("auto").decide(&request, None);
        assert_eq!((decision.verdict, decision.approvals_needed), (Verdict::Ask, 2));
    }

    #[test]
    fn a_flagged_account_is_for_security() {
        let decide = |approvers: &[&str]| {
            let circumstances = circumstances("cus_1", 50_000, approvers);
            let request = Request { tool: "refund".into(), subject: record(true), circumstances };
            let decision = governance("auto").decide(&request, None);
            (decision.verdict, decision.approvals_needed, decision.security)
        };
        assert_eq!(decide(&[]), (Verdict::Ask, 2, true));
        assert_eq!(decide(&["sara"]), (Verdict::Ask, 1, true));
        assert_eq!(decide(&["sara", "tom"]), (Verdict::Refuse, 0, false));
        assert_eq!(decide(&["sara", "eve"]), (Verdict::Permit, 0, false));
        assert_eq!(decide(&["eve"]), (Verdict::Ask, 1, false));
    }

    #[test]
    fn grants_follow_the_rules() {
        let governance = governance("auto");
        let own = circumstances("cus_1", 1, &[]);
        let (grant, said) = governance.read(&CustomerId::new("cus_1"), &own);
        assert!(grant.is_some() && said.policies == ["read-own"], "{said:?}");
        assert!(governance.read(&CustomerId::new("cus_2"), &own).0.is_none());
        let (grant, said) = governance.disclose(&[subject(), subject()], &own);
        assert!(grant.unwrap().covers(&RecordId::new("a")) && said.policies == ["tell-owner"], "{said:?}");
        assert!(governance.disclose(&[subject()], &circumstances("cus_2", 1, &[])).0.is_none());
    }
}
