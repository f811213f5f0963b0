//! Who may ask the service for what: Cedar policies of their own, over people and their roles. Default deny.

use super::access::{Principal, Role};
use super::request::uid;
use super::rules::{Evaluation, Rules};
use crate::base::{Digest, Finding};
use cedar_policy::{Context, Entities, Request};
use serde_json::json;

/// Where a pack keeps them, what they must never permit, and what would break that.
pub const ADMINISTRATION_FOLDER: &str = "administration";
pub const ADMINISTRATION_INVARIANTS: &str = "administration/invariants";
pub const ADMINISTRATION_BROKEN: &str = "administration/invariants/broken";

/// What somebody asks the service for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    OpenCase,
    /// Following a case that one opened, or any as staff.
    KnowCase,
    /// The staff view of a case: reading, facts, decisions, trace.
    SeeCase,
    SeeApprovals,
    Approve,
    /// Taking a case over, answering in it, giving it back.
    TakeCase,
    /// Blind reviews.
    Review,
    /// Lowering the autonomy dial, and raising it again.
    TurnDial,
    /// Events of other systems.
    TellEvent,
    /// Letting a stuck case go on.
    RetryCase,
    /// Emergency stops, and starting again.
    Stop,
    /// Publishing policy documents, and taking them away.
    ChangePolicies,
    /// Policy documents of every audience.
    SeeEveryDocument,
    /// Internal documents, in a search.
    SeeInternalDocuments,
    /// What staff sees of the service itself, and reading texts without a case.
    SeeService,
    SeeMetrics,
    SeeAudit,
}

impl Act {
    pub const ALL: [Self; 17] = [
        Self::OpenCase,
        Self::KnowCase,
        Self::SeeCase,
        Self::SeeApprovals,
        Self::Approve,
        Self::TakeCase,
        Self::Review,
        Self::TurnDial,
        Self::TellEvent,
        Self::RetryCase,
        Self::Stop,
        Self::ChangePolicies,
        Self::SeeEveryDocument,
        Self::SeeInternalDocuments,
        Self::SeeService,
        Self::SeeMetrics,
        Self::SeeAudit,
    ];

    /// The name of the Cedar action.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenCase => "open_case",
            Self::KnowCase => "know_case",
            Self::SeeCase => "see_case",
            Self::SeeApprovals => "see_approvals",
            Self::Approve => "approve",
            Self::TakeCase => "take_case",
            Self::Review => "review",
            Self::TurnDial => "turn_dial",
            Self::TellEvent => "tell_event",
            Self::RetryCase => "retry_case",
            Self::Stop => "stop",
            Self::ChangePolicies => "change_policies",
            Self::SeeEveryDocument => "see_every_document",
            Self::SeeInternalDocuments => "see_internal_documents",
            Self::SeeService => "see_service",
            Self::SeeMetrics => "see_metrics",
            Self::SeeAudit => "see_audit",
        }
    }

    /// Whether it changes what the service does.
    const fn changes(self) -> bool {
        matches!(
            self,
            Self::Approve
                | Self::TakeCase
                | Self::Review
                | Self::TurnDial
                | Self::RetryCase
                | Self::Stop
                | Self::ChangePolicies
        )
    }
}

/// Parsed and validated policies about people.
#[derive(Debug)]
pub struct Administration {
    rules: Rules,
}

impl Administration {
    /// # Errors
    /// All that is wrong in the files, with lines.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Vec<Finding>> {
        let rules = Rules::over(files, &schema_source())?;
        Ok(Self { rules })
    }

    /// What proofs are about.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn digest(&self) -> &Digest {
        self.rules.digest()
    }

    /// What nobody may do, whatever their role: nobody can be let in to it.
    pub fn forbidden_to_all(&self) -> Vec<&'static str> {
        let acts = Act::ALL.into_iter().filter(|act| self.roles(*act).is_empty());
        acts.map(Act::as_str).collect()
    }

    /// The roles of which an unnamed person may do it.
    pub fn roles(&self, act: Act) -> Vec<&'static str> {
        let may = |role: &Role| self.evaluate(&Principal::new("", *role), act).allowed;
        Role::ALL.into_iter().filter(may).map(Role::as_str).collect()
    }

    /// Judges what somebody asks for. Whatever cannot be put to the rules is not allowed.
    pub fn evaluate(&self, who: &Principal, act: Act) -> Evaluation {
        let refused = Evaluation { allowed: false, policies: Vec::new(), erred: true };
        let built = || {
            let role = json!({"__entity": {"type": "Role", "id": who.role.as_str()}});
            let person = json!([{
                "uid": {"type": "Person", "id": who.name}, "attrs": {"role": role}, "parents": [],
            }]);
            let entities = Entities::from_json_value(person, Some(&self.rules.schema)).ok()?;
            let (person, action) = (uid("Person", &who.name).ok()?, uid("Action", act.as_str()).ok()?);
            let service = uid("Service", "prokura").ok()?;
            let schema = Some(&self.rules.schema);
            let request = Request::new(person, action, service, Context::empty(), schema).ok()?;
            Some((request, entities))
        };
        built().map_or(refused, |(request, entities)| self.rules.answer(&request, &entities))
    }
}

/// Roles are an enumeration: one that is misspelt in a rule is found.
fn schema_source() -> String {
    let roles = Role::ALL.map(|role| format!("{:?}", role.as_str())).join(", ");
    let mut source = format!(
        "entity Role enum [{roles}];\nentity Person {{ role: Role }};\nentity Service;\naction change;\n"
    );
    for act in Act::ALL {
        let group = if act.changes() { " in [Action::\"change\"]" } else { "" };
        let name = act.as_str();
        source.push_str(&format!(
            "action {name:?}{group} appliesTo {{ principal: [Person], resource: [Service], context: {{}} }};\n"
        ));
    }
    source
}

/// Those that the program comes with.
#[cfg(test)]
pub fn shipped() -> Administration {
    let text = include_str!("../../config/administration/default.cedar");
    Administration::parse(&[("administration/default.cedar".to_owned(), text.to_owned())]).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Administration, Vec<Finding>> {
        Administration::parse(&[("administration/a.cedar".to_owned(), text.to_owned())])
    }

    #[test]
    fn a_misspelt_role_is_found_with_its_line() {
        let found = parse(
            "@id(\"a\")\n@reason(\"r\")\npermit (principal, action == Action::\"approve\", resource)\n\
             when { principal.role == Role::\"superviser\" };\n",
        )
        .unwrap_err();
        assert!(found[0].message.contains("superviser") && found[0].line == 1, "{found:?}");
        assert!(!parse("").unwrap().evaluate(&Principal::new("sara", Role::Operator), Act::Stop).allowed);
        assert_eq!(parse("").unwrap().forbidden_to_all().len(), Act::ALL.len());
    }

    #[test]
    fn rules_can_name_a_person() {
        let rules = parse(
            "@id(\"a\")\n@reason(\"r\")\npermit (principal == Person::\"sara\", action == Action::\"stop\", resource);\n",
        )
        .unwrap();
        assert!(rules.evaluate(&Principal::new("sara", Role::Agent), Act::Stop).allowed);
        assert!(!rules.evaluate(&Principal::new("tom", Role::Agent), Act::Stop).allowed);
    }

    #[test]
    fn the_shipped_rules_let_everybody_do_their_work_and_no_more() {
        let shipped = shipped();
        assert_eq!(shipped.forbidden_to_all(), Vec::<&str>::new());
        let roles = |act| shipped.roles(act);
        assert_eq!(roles(Act::OpenCase), ["channel", "operator"]);
        assert_eq!(
            roles(Act::KnowCase),
            ["channel", "agent", "supervisor", "auditor", "operator", "security"]
        );
        assert_eq!(roles(Act::SeeCase), ["agent", "supervisor", "auditor", "operator", "security"]);
        assert_eq!(roles(Act::SeeApprovals), ["agent", "supervisor", "auditor", "security"]);
        assert_eq!(roles(Act::Approve), ["agent", "supervisor", "security"]);
        assert_eq!(roles(Act::TakeCase), ["agent", "supervisor", "security"]);
        assert_eq!(roles(Act::Review), ["agent", "supervisor"]);
        assert_eq!(roles(Act::TurnDial), ["supervisor", "operator"]);
        assert_eq!(roles(Act::TellEvent), ["system"]);
        assert_eq!(roles(Act::RetryCase), ["supervisor", "operator"]);
        assert_eq!(roles(Act::Stop), ["supervisor", "operator", "security"]);
        assert_eq!(roles(Act::ChangePolicies), ["policy_admin", "operator"]);
        assert_eq!(roles(Act::SeeEveryDocument), ["policy_admin", "auditor", "operator"]);
        assert_eq!(roles(Act::SeeMetrics), ["model_admin", "auditor", "operator"]);
        assert_eq!(roles(Act::SeeAudit), ["auditor", "operator"]);
        for act in [Act::SeeInternalDocuments, Act::SeeService] {
            let staff =
                ["agent", "supervisor", "policy_admin", "model_admin", "auditor", "operator", "security"];
            assert_eq!(roles(act), staff);
        }
        let said = shipped.evaluate(&Principal::new("sara", Role::Supervisor), Act::Approve);
        assert_eq!(said.policies, ["who-serves-customers-approves"]);
    }
}
