//! Rules and dial together: do it, ask a human, or refuse.

use super::rules::{Circumstances, Evaluation, Rules, Subject};
use super::{Autonomy, Dialled, Level};
use crate::base::grants::{DiscloseGrant, Permit, ReadGrant};
use crate::base::{CallId, CustomerId, Digest, RecordId};
use serde::{Deserialize, Serialize};

/// The rules and the dial in force.
#[derive(Debug)]
pub struct Governance {
    pub rules: Rules,
    pub autonomy: Autonomy,
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
        };
        let given = request.circumstances.approvers.len() as u32;
        let now = self.evaluate(request, request.circumstances.approvers.clone());
        if now.erred {
            return decision(Verdict::Refuse, now.policies, "a rule erred", 0);
        }
        if !now.allowed {
            return match self.approvals_that_help(request) {
                Some((needed, evaluation)) => decision(
                    Verdict::Ask,
                    evaluation.policies,
                    "the rules want a human's approval",
                    needed - given,
                ),
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
        let Some(dial) = dial else { return let_be };
        let unsure = dial.threshold.is_some_and(|least| circumstances.confidence.basis_points() < least);
        let carried = if unsure { dial.level.min(Level::Suggest) } else { dial.level };
        let_be.min(carried)
    }

    fn evaluate(&self, request: &Request, approvers: Vec<String>) -> Evaluation {
        let circumstances = Circumstances { approvers, ..request.circumstances.clone() };
        self.rules.evaluate(&request.tool, &request.subject, &circumstances)
    }

    /// The smallest number of approvals with which the rules would permit the call.
    fn approvals_that_help(&self, request: &Request) -> Option<(u32, Evaluation)> {
        let given = &request.circumstances.approvers;
        (given.len() as u32 + 1..=2).find_map(|needed| {
            let mut approvers = given.clone();
            approvers.extend((given.len() as u32..needed).map(|n| format!("approver {n}")));
            let evaluation = self.evaluate(request, approvers);
            (evaluation.allowed && !evaluation.erred).then_some((needed, evaluation))
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

    /// The permission to read a verified customer's account data.
    pub fn read(&self, customer: &CustomerId, circumstances: &Circumstances) -> Option<ReadGrant> {
        self.rules.may_read(customer, circumstances).allowed.then(|| ReadGrant::seal(customer.clone()))
    }

    /// The permission to tell a customer about those of the records that the rules allow; `None` when
    /// they allow none.
    pub fn disclose(&self, records: &[Subject], circumstances: &Circumstances) -> Option<DiscloseGrant> {
        let allowed: Vec<RecordId> = records
            .iter()
            .filter(|subject| self.rules.may_disclose(subject, circumstances).allowed)
            .filter_map(|subject| match subject {
                Subject::Record { id, .. } => Some(id.clone()),
                Subject::Customer(_) => None,
            })
            .collect();
        (!allowed.is_empty()).then(|| DiscloseGrant::seal(circumstances.customer.clone(), allowed))
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
when { resource.owner == context.customer && context has amount && context.amount <= 15000 };
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
        let tools = [ToolRisk { name: "refund".into(), risk: Risk::Money }];
        let text = format!(
            "[[dial]]\nleaf = '*'\ntool = 'refund'\nlevel = '{dial}'\nlimit = {{ minor = 10000, currency = 'EUR' }}\n"
        );
        Governance {
            rules: Rules::parse(&[("r.cedar".into(), RULES.into())], &tools).unwrap(),
            autonomy: Autonomy::parse("a.toml", &text, &Default::default(), &tools).unwrap(),
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
            approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn subject() -> Subject {
        Subject::Record {
            id: RecordId::new("a"),
            owner: CustomerId::new("cus_1"),
            authorised: false,
            flagged: false,
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
    fn grants_follow_the_rules() {
        let governance = governance("auto");
        let own = circumstances("cus_1", 1, &[]);
        assert!(governance.read(&CustomerId::new("cus_1"), &own).is_some());
        assert!(governance.read(&CustomerId::new("cus_2"), &own).is_none());
        assert!(governance.disclose(&[subject()], &own).unwrap().covers(&RecordId::new("a")));
        assert!(governance.disclose(&[subject()], &circumstances("cus_2", 1, &[])).is_none());
    }
}
