//! How a question becomes a Cedar request: the schema and every request come from one declaration of tools and records.

use super::totals::{Spent, Sum, Window};
use crate::base::{CustomerId, Money, Probability, RecordId};
use crate::planning::Risk;
use cedar_policy::{Context, Entities, EntityId, EntityTypeName, EntityUid, Request as CedarRequest, Schema};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// A tool as far as the rules need to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolRisk {
    pub name: String,
    pub risk: Risk,
    /// Whether it opens an account or a card again.
    pub restores_access: bool,
}

const RISKS: [Risk; 5] = [Risk::Read, Risk::Protective, Risk::Reversible, Risk::Money, Risk::Irreversible];

/// The action group of a risk class; rules name it, as in `action in Action::"money"`.
const fn group(risk: Risk) -> &'static str {
    match risk {
        Risk::Read => "read",
        Risk::Protective => "protective",
        Risk::Reversible => "reversible",
        Risk::Money => "money",
        Risk::Irreversible => "irreversible",
    }
}

/// The group of the tools that restore access, whatever their risk.
const RESTORES_ACCESS: &str = "restores_access";

/// The two actions that are no tools: reading a customer's account data, and telling it to them.
pub(super) const READ_ACCOUNT: &str = "read_account";
pub(super) const DISCLOSE: &str = "disclose";

/// What a request is about.
#[derive(Clone, PartialEq, Debug)]
pub enum Subject {
    /// All account data of the verified customer.
    Customer(CustomerId),
    /// One record, as it was read.
    Record { id: RecordId, owner: CustomerId, authorised: bool, flagged: bool },
}

/// Somebody who approved a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approver {
    pub name: String,
    /// Whether they are of the bank's security.
    pub security: bool,
}

/// In what circumstances something is asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Circumstances {
    /// The verified customer; empty for everybody else.
    pub customer: CustomerId,
    /// `none`, `login` or `sca`.
    pub assurance: &'static str,
    /// Seconds since the channel verified the customer.
    pub identity_age_seconds: i64,
    pub confidence: Probability,
    pub leaf: String,
    /// Who opened the case: the principal of a channel, or a member of the staff.
    pub initiator: String,
    pub amount: Option<Money>,
    /// The people who approved this call, at most two, different from each other and from whoever
    /// opened the case.
    pub approvers: Vec<Approver>,
    /// What was done or is intended of late, this call included.
    pub spent: Spent,
    /// The plan that was proposed, for a concern that has none of its own.
    pub open: Option<String>,
}

impl Circumstances {
    /// Those of somebody whom nobody knows.
    pub fn unknown() -> Self {
        Self {
            customer: CustomerId::new(""),
            assurance: "none",
            identity_age_seconds: 0,
            confidence: Probability::ZERO,
            leaf: String::new(),
            initiator: String::new(),
            amount: None,
            approvers: Vec::new(),
            spent: Spent::default(),
            open: None,
        }
    }

    fn context(&self) -> Value {
        let mut members = Map::from_iter([
            ("customer".to_owned(), entity("Customer", self.customer.as_str())),
            ("assurance".to_owned(), json!(self.assurance)),
            ("identity_age_seconds".to_owned(), json!(self.identity_age_seconds)),
            ("confidence".to_owned(), json!(self.confidence.basis_points())),
            ("leaf".to_owned(), json!(self.leaf)),
            ("initiator".to_owned(), json!(self.initiator)),
            ("by_security".to_owned(), json!(self.approvers.iter().any(|approver| approver.security))),
            ("totals".to_owned(), totals(&self.spent)),
            ("open".to_owned(), json!(self.open.is_some())),
        ]);
        if let Some(amount) = self.amount {
            members.insert("amount".to_owned(), json!(amount.minor));
            members.insert("currency".to_owned(), json!(amount.currency.code()));
        }
        for (name, approver) in ["approver_1", "approver_2"].into_iter().zip(&self.approvers) {
            members.insert(name.to_owned(), json!(approver.name));
        }
        Value::Object(members)
    }
}

fn totals(spent: &Spent) -> Value {
    let sum = |sum: Sum| json!({"count": sum.count, "amount": sum.amount});
    let window = |window: Window| json!({"day": sum(window.day), "month": sum(window.month)});
    json!({
        "customer": window(spent.customer),
        "account": window(spent.account),
        "tool": window(spent.tool),
        "bank": window(spent.bank),
    })
}

fn entity(kind: &str, id: &str) -> Value {
    json!({"__entity": {"type": kind, "id": id}})
}

type Built<T> = Result<T, Box<dyn std::error::Error>>;

/// The Cedar request and the entities that it is about.
pub(super) fn request(
    schema: &Schema,
    action: &str,
    subject: &Subject,
    circumstances: &Circumstances,
) -> Built<(CedarRequest, Entities)> {
    let action = uid("Action", action)?;
    let (resource, entities) = match subject {
        Subject::Customer(customer) => (uid("Customer", customer.as_str())?, json!([])),
        Subject::Record { id, owner, authorised, flagged } => {
            let customer = entity("Customer", circumstances.customer.as_str());
            let authorised = if *authorised { json!([customer]) } else { json!([]) };
            let record = json!([{
                "uid": {"type": "Record", "id": id.as_str()},
                "attrs": {
                    "owner": entity("Customer", owner.as_str()),
                    "authorised": authorised,
                    "flagged": flagged,
                },
                "parents": [],
            }]);
            (uid("Record", id.as_str())?, record)
        }
    };
    let context = Context::from_json_value(circumstances.context(), Some((schema, &action)))?;
    let request = CedarRequest::new(uid("Agent", "prokura")?, action, resource, context, Some(schema))?;
    Ok((request, Entities::from_json_value(entities, Some(schema))?))
}

pub(super) fn uid(kind: &str, name: &str) -> Built<EntityUid> {
    Ok(EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind)?, EntityId::new(name)))
}

/// One declaration: a tool's name and risk give its action; there is no second list to forget.
pub(super) fn schema_source(tools: &[ToolRisk]) -> String {
    let mut source = String::from(
        "entity Agent;\nentity Customer;\n\
         entity Record { owner: Customer, authorised: Set<Customer>, flagged: Bool };\n\
         type Sum = { count: Long, amount: Long };\n\
         type Window = { day: Sum, month: Sum };\n\
         type Totals = { customer: Window, account: Window, tool: Window, bank: Window };\n\
         type Circumstances = { customer: Customer, assurance: String, identity_age_seconds: Long, \
         confidence: Long, leaf: String, initiator: String, amount?: Long, currency?: String, approver_1?: String, \
         approver_2?: String, by_security: Bool, open: Bool, totals: Totals };\n",
    );
    for name in RISKS.map(group).into_iter().chain([RESTORES_ACCESS]) {
        source.push_str(&format!("action {name};\n"));
    }
    source.push_str(&format!(
        "action {READ_ACCOUNT} appliesTo {{ principal: [Agent], resource: [Customer], context: Circumstances }};\n\
         action {DISCLOSE} appliesTo {{ principal: [Agent], resource: [Record], context: Circumstances }};\n"
    ));
    for tool in tools {
        let restores =
            if tool.restores_access { format!(", Action::{RESTORES_ACCESS:?}") } else { String::new() };
        source.push_str(&format!(
            "action {:?} in [Action::{:?}{restores}] appliesTo {{ principal: [Agent], resource: [Record], context: Circumstances }};\n",
            tool.name,
            group(tool.risk)
        ));
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = Window> {
        let sum = || (any::<i64>(), any::<i64>()).prop_map(|(count, amount)| Sum { count, amount });
        (sum(), sum()).prop_map(|(day, month)| Window { day, month })
    }

    fn circumstances() -> impl Strategy<Value = Circumstances> {
        let name = "\\PC{0,12}";
        let approver = (name, any::<bool>()).prop_map(|(name, security)| Approver { name, security });
        let assurance = prop_oneof![Just("none"), Just("login"), Just("sca")];
        let amount = proptest::option::of((any::<i64>(), "[A-Z]{3}"));
        let spent = (window(), window(), window(), window())
            .prop_map(|(customer, account, tool, bank)| Spent { customer, account, tool, bank });
        let who = (name, name, name, assurance);
        let approvers = proptest::collection::vec(approver, 0..=2);
        let said = (any::<i64>(), 0.0..=1.0, amount, approvers, spent, proptest::option::of(name));
        (who, said).prop_map(
            |((customer, leaf, initiator, assurance), (age, sure, amount, approvers, spent, open))| {
                Circumstances {
                    customer: CustomerId::new(customer),
                    assurance,
                    identity_age_seconds: age,
                    confidence: Probability::new(sure),
                    leaf,
                    initiator,
                    amount: amount
                        .map(|(minor, code)| Money { minor, currency: Currency::parse(&code).unwrap() }),
                    approvers,
                    spent,
                    open,
                }
            },
        )
    }

    fn schema() -> Schema {
        let tool = |name: &str, risk, restores_access| ToolRisk { name: name.into(), risk, restores_access };
        let tools = [
            tool("refund", Risk::Money, false),
            tool("account_unlock", Risk::Reversible, true),
            tool("odd \"name\\", Risk::Read, false),
        ];
        Schema::from_cedarschema_str(&schema_source(&tools)).unwrap().0
    }

    /// What a path of a Cedar context says, as Cedar prints it.
    fn said(request: &CedarRequest, path: &str) -> Option<String> {
        let mut names = path.split('.');
        let mut value = request.context()?.get(names.next()?)?;
        for name in names {
            let cedar_policy::EvalResult::Record(record) = value else { return None };
            value = record.get(name)?.clone();
        }
        Some(match value {
            cedar_policy::EvalResult::Long(number) => number.to_string(),
            cedar_policy::EvalResult::String(text) => text,
            cedar_policy::EvalResult::Bool(flag) => flag.to_string(),
            cedar_policy::EvalResult::EntityUid(uid) => uid.id().unescaped().to_owned(),
            other => other.to_string(),
        })
    }

    proptest! {
        #[test]
        fn a_request_says_what_the_facts_say_and_nothing_else(
            case in circumstances(), record in "\\PC{1,12}", owner in "\\PC{0,12}", authorised: bool, flagged: bool,
            action in prop_oneof![Just("refund"), Just("account_unlock"), Just("odd \"name\\"), Just(DISCLOSE)],
        ) {
            let subject = Subject::Record {
                id: RecordId::new(record.clone()),
                owner: CustomerId::new(owner.clone()),
                authorised,
                flagged,
            };
            let (request, entities) = request(&schema(), action, &subject, &case).unwrap();
            let told = |path: &str| said(&request, path);
            let text = |value: &str| Some(value.to_owned());
            prop_assert_eq!(request.action().unwrap().id().unescaped(), action);
            let resource = request.resource().unwrap();
            prop_assert_eq!(resource.id().unescaped(), &record);
            let entity = entities.get(resource).unwrap();
            let attribute = |name: &str| entity.attr(name).unwrap().unwrap();
            prop_assert_eq!(attribute("flagged"), cedar_policy::EvalResult::Bool(flagged));
            prop_assert_eq!(attribute("owner"), cedar_policy::EvalResult::EntityUid(uid("Customer", &owner).unwrap()));
            let cedar_policy::EvalResult::Set(set) = attribute("authorised") else { panic!() };
            prop_assert_eq!(set.len(), usize::from(authorised));
            if authorised {
                let customer = uid("Customer", case.customer.as_str()).unwrap();
                prop_assert!(set.contains(&cedar_policy::EvalResult::EntityUid(customer)));
            }
            prop_assert_eq!(told("customer"), text(case.customer.as_str()));
            prop_assert_eq!(told("assurance"), text(case.assurance));
            prop_assert_eq!(told("leaf"), text(&case.leaf));
            prop_assert_eq!(told("initiator"), text(&case.initiator));
            prop_assert_eq!(told("identity_age_seconds"), Some(case.identity_age_seconds.to_string()));
            prop_assert_eq!(told("confidence"), Some(case.confidence.basis_points().to_string()));
            prop_assert_eq!(told("amount"), case.amount.map(|amount| amount.minor.to_string()));
            prop_assert_eq!(told("currency"), case.amount.map(|amount| amount.currency.code().to_owned()));
            prop_assert_eq!(told("approver_1"), case.approvers.first().map(|approver| approver.name.clone()));
            prop_assert_eq!(told("approver_2"), case.approvers.get(1).map(|approver| approver.name.clone()));
            prop_assert_eq!(told("by_security"), Some(case.approvers.iter().any(|a| a.security).to_string()));
            prop_assert_eq!(told("open"), Some(case.open.is_some().to_string()));
            let spent = case.spent;
            for (scope, window) in [
                ("customer", spent.customer), ("account", spent.account), ("tool", spent.tool), ("bank", spent.bank),
            ] {
                for (name, sum) in [("day", window.day), ("month", window.month)] {
                    let of = |what: &str| told(&format!("totals.{scope}.{name}.{what}"));
                    prop_assert_eq!(of("count"), Some(sum.count.to_string()));
                    prop_assert_eq!(of("amount"), Some(sum.amount.to_string()));
                }
            }
        }
    }

    #[test]
    fn every_tool_is_an_action_of_its_risk_and_no_other() {
        let schema = schema();
        let actions: Vec<String> =
            schema.actions().map(|action| action.id().unescaped().to_owned()).collect();
        for name in ["refund", "account_unlock", "odd \"name\\", READ_ACCOUNT, DISCLOSE] {
            assert!(actions.iter().any(|known| known == name), "{name}: {actions:?}");
        }
        let rules = |group: &str| {
            let text = format!(
                "@id(\"a\") @reason(\"r\") permit (principal, action in Action::\"{group}\", resource);"
            );
            let tools = [ToolRisk { name: "t".into(), risk: Risk::Reversible, restores_access: true }];
            let rules = super::super::Rules::parse(&[("r".into(), text)], &tools).unwrap();
            let subject = Subject::Record {
                id: RecordId::new("a"),
                owner: CustomerId::new("c"),
                authorised: false,
                flagged: false,
            };
            rules.evaluate("t", &subject, &Circumstances::unknown()).allowed
        };
        let within: Vec<&str> =
            RISKS.map(group).into_iter().chain([RESTORES_ACCESS]).filter(|g| rules(g)).collect();
        assert_eq!(within, ["reversible", "restores_access"]);
    }
}
