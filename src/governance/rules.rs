//! The rules: Cedar policies (default deny, forbid wins) over a schema made from the tools.

use super::request::{Circumstances, DISCLOSE, READ_ACCOUNT, Subject, ToolRisk, request, schema_source};
use crate::base::finding::line_of;
use crate::base::{CustomerId, Digest, Finding};
use cedar_policy::{
    Authorizer, Decision as Cedar, Entities, Policy, PolicyId, PolicySet, Request as CedarRequest, Schema,
    ValidationError, ValidationMode, Validator,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Where a pack keeps its rules.
pub const RULES_FOLDER: &str = "rules";

/// What the rules say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    pub allowed: bool,
    /// The ids (`@id`) of the policies that determined it; empty when none permits.
    pub policies: Vec<String>,
    /// A policy that erred; then nothing is allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erred: bool,
}

/// Parsed and validated rules.
pub struct Rules {
    pub(super) policies: PolicySet,
    pub(super) schema: Schema,
    digest: Digest,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rules({})", self.digest)
    }
}

impl Rules {
    /// Parses rule files and validates them strictly against the schema that the tools give.
    pub fn parse(files: &[(String, String)], tools: &[ToolRisk]) -> Result<Self, Vec<Finding>> {
        Self::over(files, &schema_source(tools))
    }

    /// The same with a schema in Cedar's own language.
    pub(super) fn over(files: &[(String, String)], source: &str) -> Result<Self, Vec<Finding>> {
        let (schema, _) = Schema::from_cedarschema_str(source).map_err(|error| {
            vec![Finding::new("tools.toml", 0, format!("tools give no valid schema: {error}"))]
        })?;
        let mut findings = Vec::new();
        let mut policies = PolicySet::new();
        let mut names = BTreeSet::new();
        for (file, policy) in parsed(files, &mut findings) {
            let Some(name) = policy.annotation("id") else {
                let message = "every policy needs `@id(\"…\")`: it is what a trace shows";
                findings.push(Finding::new(file, 0, message));
                continue;
            };
            if policy.annotation("reason").is_none() {
                findings.push(Finding::new(file, 0, format!("policy `{name}` needs `@reason(\"…\")`")));
            }
            if !names.insert(name.to_owned()) {
                findings.push(Finding::new(file, 0, format!("policy id `{name}` is used twice")));
                continue;
            }
            if let Err(error) = policies.add(policy.new_id(PolicyId::new(name))) {
                findings.push(Finding::new(file, 0, error.to_string()));
            }
        }
        findings.extend(faults(&schema, &policies, files));
        if !findings.is_empty() {
            return Err(findings);
        }
        let texts: Vec<&[u8]> =
            files.iter().map(|(_, text)| text.as_bytes()).chain(std::iter::once(source.as_bytes())).collect();
        Ok(Self { policies, schema, digest: Digest::of_parts(texts) })
    }

    /// Digest over the rule files and the schema.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn len(&self) -> usize {
        self.policies.policies().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn may_read(&self, customer: &CustomerId, circumstances: &Circumstances) -> Evaluation {
        self.evaluate(READ_ACCOUNT, &Subject::Customer(customer.clone()), circumstances)
    }

    pub fn may_disclose(&self, subject: &Subject, circumstances: &Circumstances) -> Evaluation {
        self.evaluate(DISCLOSE, subject, circumstances)
    }

    /// Judges one action. Whatever cannot be put to the rules is not allowed.
    pub fn evaluate(&self, action: &str, subject: &Subject, circumstances: &Circumstances) -> Evaluation {
        let refused = Evaluation { allowed: false, policies: Vec::new(), erred: true };
        let built = request(&self.schema, action, subject, circumstances);
        let Ok((request, entities)) = built else { return refused };
        self.answer(&request, &entities)
    }

    pub(super) fn answer(&self, request: &CedarRequest, entities: &Entities) -> Evaluation {
        let response = Authorizer::new().is_authorized(request, &self.policies, entities);
        let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        // Cedar skips a policy that errs; an erring forbid must not become a permission.
        let erred = response.diagnostics().errors().next().is_some();
        Evaluation { allowed: response.decision() == Cedar::Allow && !erred, policies, erred }
    }
}

/// The policies of files, each with its file; a file that is not Cedar gives findings.
pub(super) fn parsed<'a>(
    files: &'a [(String, String)],
    findings: &mut Vec<Finding>,
) -> Vec<(&'a str, Policy)> {
    let mut all = Vec::new();
    for (file, text) in files {
        match PolicySet::from_str(text) {
            Ok(set) => all.extend(set.policies().map(|policy| (file.as_str(), policy.clone()))),
            Err(error) => findings.extend(parse_findings(file, text, &error)),
        }
    }
    all
}

/// What a strict validation against the schema finds in policies of these files.
pub(super) fn faults(schema: &Schema, set: &PolicySet, files: &[(String, String)]) -> Vec<Finding> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let fault = |error: &ValidationError| {
        let id = error.policy_id().to_string();
        let (file, line) = place_of(files, &id);
        Finding::new(&file, line, format!("policy `{id}`: {error}"))
    };
    result.validation_errors().map(fault).collect()
}

fn parse_findings(file: &str, text: &str, error: &cedar_policy::ParseErrors) -> Vec<Finding> {
    use cedar_policy::ffi::DetailedError;
    error
        .iter()
        .map(|error| {
            let detailed = DetailedError::from(error);
            let offset = detailed.source_locations.first().map_or(0, |found| found.loc.start);
            Finding::new(file, line_of(text, offset), error.to_string())
        })
        .collect()
}

pub(super) fn place_of(files: &[(String, String)], id: &str) -> (String, usize) {
    let wanted = format!("@id(\"{id}\")");
    files
        .iter()
        .find_map(|(file, text)| text.find(&wanted).map(|offset| (file.clone(), line_of(text, offset))))
        .or_else(|| files.first().map(|(file, _)| (file.clone(), 0)))
        .unwrap_or_else(|| ("rules".to_owned(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Probability, RecordId};
    use crate::planning::Risk;

    const RULES: &str = r#"
@id("protect-own-cards")
@reason("waiting would harm the customer")
permit (principal, action in Action::"protective", resource)
when { context.assurance == "sca" && resource.owner == context.customer };

@id("never-on-flagged")
@reason("security decides")
forbid (principal, action, resource is Record) when { resource.flagged };
"#;

    fn tools() -> Vec<ToolRisk> {
        vec![ToolRisk { name: "card_block".into(), risk: Risk::Protective, restores_access: false }]
    }

    fn rules(text: &str) -> Result<Rules, Vec<Finding>> {
        Rules::parse(&[("rules/default.cedar".into(), text.into())], &tools())
    }

    fn circumstances(customer: &str, assurance: &'static str) -> Circumstances {
        Circumstances {
            customer: CustomerId::new(customer),
            assurance,
            identity_age_seconds: 5,
            confidence: Probability::new(0.9),
            leaf: "lost_or_stolen_card".into(),
            ..Circumstances::unknown()
        }
    }

    fn record(flagged: bool) -> Subject {
        Subject::Record {
            id: RecordId::new("acc_1"),
            owner: CustomerId::new("cus_1"),
            authorised: false,
            flagged,
        }
    }

    #[test]
    fn the_owner_may_and_nobody_else() {
        let rules = rules(RULES).unwrap();
        let own = rules.evaluate("card_block", &record(false), &circumstances("cus_1", "sca"));
        assert!(own.allowed);
        assert_eq!(own.policies, ["protect-own-cards"]);
        assert!(!rules.evaluate("card_block", &record(false), &circumstances("cus_2", "sca")).allowed);
        assert!(!rules.evaluate("card_block", &record(false), &circumstances("cus_1", "login")).allowed);
    }

    #[test]
    fn forbid_wins() {
        let evaluation =
            rules(RULES).unwrap().evaluate("card_block", &record(true), &circumstances("cus_1", "sca"));
        assert!(!evaluation.allowed);
        assert_eq!(evaluation.policies, ["never-on-flagged"]);
    }

    #[test]
    fn an_action_that_is_not_declared_is_refused() {
        let evaluation =
            rules(RULES).unwrap().evaluate("launch", &record(false), &circumstances("cus_1", "sca"));
        assert!(!evaluation.allowed && evaluation.erred);
    }

    #[test]
    fn unknown_names_in_rules_are_found_with_file_and_line() {
        let found = rules(&RULES.replace("context.assurance", "context.asurance")).unwrap_err();
        assert_eq!((found[0].file.as_str(), found[0].line), ("rules/default.cedar", 2));
        let found = rules("permit (principal, action, resource;").unwrap_err();
        assert_eq!(found[0].line, 1);
        let found = rules(&format!("{RULES}\n\npermit (principal, action, resource;")).unwrap_err();
        assert_eq!(found[0].line, RULES.lines().count() + 3, "{found:?}");
        let found = rules("permit (principal, action, resource);").unwrap_err();
        assert!(found[0].message.contains("@id"));
    }
}
