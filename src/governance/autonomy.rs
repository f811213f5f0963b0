//! The autonomy dial: how far the machine goes by itself, per leaf and tool.

use crate::base::{Digest, Finding, Money};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use toml::Spanned;

/// The dial as config/autonomy.toml sets it. What no line names is `suggest`.
#[derive(Debug)]
pub struct Autonomy {
    dials: Vec<Dial>,
    digest: Digest,
}

#[derive(Debug)]
struct Dial {
    leaf: String,
    tool: String,
    level: Level,
    limit: Option<Money>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Never, not even with approval.
    Off,
    /// A human approves each call.
    Suggest,
    /// By itself, up to the limit; above it a human approves.
    Auto,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAutonomy {
    #[serde(default)]
    dial: Vec<RawDial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDial {
    leaf: Spanned<String>,
    tool: Spanned<String>,
    level: Level,
    limit: Option<Money>,
}

impl Autonomy {
    /// Parses the file; `leaf` may be `*`. `risky` are the tools that move money: at `auto` each of their
    /// dials needs a limit.
    pub fn parse(
        file: &str,
        text: &str,
        leaves: &BTreeSet<String>,
        tools: &BTreeSet<String>,
        moves_money: &BTreeSet<String>,
    ) -> Result<Self, Vec<Finding>> {
        let raw: RawAutonomy =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut findings = Vec::new();
        let mut dials = Vec::new();
        for dial in raw.dial {
            let at = dial.leaf.span().start;
            let (leaf, tool) = (dial.leaf.into_inner(), dial.tool.into_inner());
            for (what, name, known) in [("leaf", &leaf, leaves), ("tool", &tool, tools)] {
                if !(known.contains(name) || what == "leaf" && name == "*") {
                    let near = crate::base::finding::suggestion(name, known.iter().map(String::as_str));
                    findings.push(Finding::at(file, text, at, format!("{what} `{name}` is not known{near}")));
                }
            }
            if dial.level == Level::Auto && moves_money.contains(&tool) && dial.limit.is_none() {
                let message = format!("tool `{tool}` moves money: at level `auto` it needs a `limit`");
                findings.push(Finding::at(file, text, at, message));
            }
            dials.push(Dial { leaf, tool, level: dial.level, limit: dial.limit });
        }
        if findings.is_empty() {
            Ok(Self { dials, digest: Digest::of(text.as_bytes()) })
        } else {
            Err(findings)
        }
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The level for a call. An amount above the dial's limit, or in another currency, makes `auto` into
    /// `suggest`. A line that names the leaf goes before one with `*`.
    pub fn level(&self, leaf: &str, tool: &str, amount: Option<Money>) -> Level {
        let named = |wanted: &str| self.dials.iter().find(|dial| dial.leaf == wanted && dial.tool == tool);
        let Some(dial) = named(leaf).or_else(|| named("*")) else { return Level::Suggest };
        let within = match (dial.limit, amount) {
            (Some(limit), Some(amount)) => amount.currency == limit.currency && amount.minor <= limit.minor,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if dial.level == Level::Auto && !within { Level::Suggest } else { dial.level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;

    fn parse(text: &str) -> Result<Autonomy, Vec<Finding>> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (leaves, tools) = (set(&["transaction_charged_twice"]), set(&["refund", "card_block"]));
        Autonomy::parse("autonomy.toml", text, &leaves, &tools, &set(&["refund"]))
    }

    const TEXT: &str = r#"
[[dial]]
leaf = "*"
tool = "card_block"
level = "auto"
[[dial]]
leaf = "transaction_charged_twice"
tool = "refund"
level = "auto"
limit = { minor = 15000, currency = "EUR" }
"#;

    #[test]
    fn the_limit_holds_to_the_cent() {
        let autonomy = parse(TEXT).unwrap();
        let level = |minor| {
            autonomy.level("transaction_charged_twice", "refund", Some(Money::new(minor, Currency::EUR)))
        };
        assert_eq!(level(15_000), Level::Auto);
        assert_eq!(level(15_001), Level::Suggest);
        let francs = Money::new(1, Currency::parse("CHF").unwrap());
        assert_eq!(autonomy.level("transaction_charged_twice", "refund", Some(francs)), Level::Suggest);
        assert_eq!(autonomy.level("transaction_charged_twice", "refund", None), Level::Suggest);
    }

    #[test]
    fn what_is_not_named_is_suggested() {
        let autonomy = parse(TEXT).unwrap();
        assert_eq!(autonomy.level("balance", "refund", None), Level::Suggest);
        assert_eq!(autonomy.level("anything", "card_block", None), Level::Auto);
    }

    #[test]
    fn money_at_auto_needs_a_limit_and_names_must_exist() {
        let found = parse("[[dial]]\nleaf = '*'\ntool = 'refund'\nlevel = 'auto'\n").unwrap_err();
        assert!(found[0].message.contains("limit"), "{found:?}");
        let found = parse("\n[[dial]]\nleaf = 'balnce'\ntool = 'refnd'\nlevel = 'off'\n").unwrap_err();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].line, 3);
    }
}
