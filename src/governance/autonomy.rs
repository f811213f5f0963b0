//! The autonomy dial: how far the bank lets the machine go by itself, per leaf and tool, and what evidence it asks for.
//! How far the evidence carries is the business of `dial`.

use super::ToolRisk;
use super::evidence::Demand;
use crate::base::finding::suggestion;
use crate::base::{Digest, Finding, Money};
use crate::planning::Risk;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// The dial as config/autonomy.toml sets it. What no line names is `suggest`.
#[derive(Debug)]
pub struct Autonomy {
    pub evidence: EvidenceSettings,
    dials: Vec<Dial>,
    pools: Vec<Pool>,
    leaves: BTreeSet<String>,
    digest: Digest,
}

/// One line: the most that the bank lets it be.
#[derive(Clone, Debug)]
pub struct Dial {
    /// `*` for every leaf that has no line of its own for this tool.
    pub leaf: String,
    pub tool: String,
    pub level: Level,
    pub limit: Option<Money>,
    /// `None`: nothing has to be shown, for this reason.
    pub demand: Result<Demand, String>,
}

/// Leaves whose reviews count together for a tool.
#[derive(Clone, Debug)]
pub struct Pool {
    pub tool: String,
    pub leaves: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Never, not even with approval.
    Off,
    /// A human approves each call.
    Suggest,
    /// By itself, up to the limit; above it a human approves.
    Auto,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Suggest => "suggest",
            Self::Auto => "auto",
        }
    }
}

/// What is asked of the evidence where a line says nothing else.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceSettings {
    pub max_error: f64,
    pub confidence: f64,
    /// The share of calls, suggested and made alike, that are drawn for a blind review.
    pub review_share: f64,
    /// The share of other cases that are put among them, so that a reviewer cannot know what was suggested.
    pub control_share: f64,
    /// By chance the reviews of automatic calls demote at most once in so many reviews, in the mean.
    pub false_alarm_every: u64,
    /// The figures of the hourly look at drift that demote.
    pub drift: BTreeSet<String>,
}

impl Default for EvidenceSettings {
    fn default() -> Self {
        Self {
            max_error: 0.01,
            confidence: 0.95,
            review_share: 0.1,
            control_share: 0.02,
            false_alarm_every: 1_000,
            drift: DRIFT.map(str::to_owned).into(),
        }
    }
}

/// The figures that the hourly look at drift has.
const DRIFT: [&str; 5] = ["calibration", "confidence", "leaves", "new_phrases", "out_of_scope"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAutonomy {
    #[serde(default)]
    evidence: EvidenceSettings,
    #[serde(default)]
    dial: Vec<RawDial>,
    #[serde(default)]
    pool: Vec<RawPool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDial {
    leaf: Spanned<String>,
    tool: Spanned<String>,
    level: Level,
    limit: Option<Money>,
    max_error: Option<f64>,
    confidence: Option<f64>,
    evidence: Option<Spanned<String>>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPool {
    tool: Spanned<String>,
    leaves: Vec<String>,
    reason: String,
}

/// What the file's names are held against.
struct Known<'a> {
    file: &'a str,
    text: &'a str,
    leaves: &'a BTreeSet<String>,
    tools: &'a [ToolRisk],
    findings: Vec<Finding>,
}

impl Known<'_> {
    fn fault(&mut self, at: usize, message: String) {
        self.findings.push(Finding::at(self.file, self.text, at, message));
    }

    fn risk(&self, tool: &str) -> Option<Risk> {
        self.tools.iter().find(|known| known.name == tool).map(|known| known.risk)
    }

    fn leaf(&mut self, at: usize, leaf: &str) {
        if !self.leaves.contains(leaf) {
            let near = suggestion(leaf, self.leaves.iter().map(String::as_str));
            self.fault(at, format!("leaf `{leaf}` is not known{near}"));
        }
    }

    fn tool(&mut self, at: usize, tool: &str) {
        if self.risk(tool).is_none() {
            let near = suggestion(tool, self.tools.iter().map(|known| known.name.as_str()));
            self.fault(at, format!("tool `{tool}` is not known{near}"));
        }
    }

    fn section(&mut self, evidence: &EvidenceSettings) {
        let text = self.text;
        let place = |name: &str| {
            let section = text.find("[evidence]").unwrap_or(0);
            text.get(section..)
                .and_then(|rest| rest.find(&format!("\n{name}")))
                .map_or(section, |at| section + at + 1)
        };
        let shares = [("review_share", evidence.review_share), ("control_share", evidence.control_share)];
        let shares =
            shares.map(|(name, value)| (name, value, "a share, 0 to 1", (0.0..=1.0).contains(&value)));
        let demand =
            [("max_error", evidence.max_error, MAX_ERROR), ("confidence", evidence.confidence, CONFIDENCE)];
        let demand = demand
            .map(|(name, value, (low, high))| (name, value, allowed(name), value >= low && value <= high));
        for (name, value, right, holds) in shares.into_iter().chain(demand) {
            if !holds {
                self.fault(place(name), format!("[evidence] `{name}` cannot be `{value}`; allowed: {right}"));
            }
        }
        let every = evidence.false_alarm_every;
        if !(20..=1_000_000).contains(&every) {
            let message =
                format!("[evidence] `false_alarm_every` cannot be `{every}`; allowed: 20 to 1000000 reviews");
            self.fault(place("false_alarm_every"), message);
        }
        for figure in evidence.drift.iter().filter(|figure| !DRIFT.contains(&figure.as_str())) {
            let message =
                format!("[evidence] `drift` knows no figure `{figure}`{}", suggestion(figure, DRIFT));
            self.fault(place("drift"), message);
        }
    }

    /// What a line asks of the evidence.
    fn demand(&mut self, at: usize, dial: &RawDial, usual: &EvidenceSettings) -> Result<Demand, String> {
        let demand = Demand {
            max_error: dial.max_error.unwrap_or(usual.max_error),
            confidence: dial.confidence.unwrap_or(usual.confidence),
        };
        let given = [("max_error", dial.max_error, MAX_ERROR), ("confidence", dial.confidence, CONFIDENCE)];
        for (name, value, (low, high)) in given {
            if let Some(value) = value.filter(|value| !(*value >= low && *value <= high)) {
                self.fault(at, format!("`{name}` cannot be `{value}`; allowed: {}", allowed(name)));
            }
        }
        let Some(evidence) = &dial.evidence else { return Ok(demand) };
        let (place, tool) = (evidence.span().start, dial.tool.get_ref());
        match evidence.get_ref().as_str() {
            "reviews" => return Ok(demand),
            "none" => {}
            other => {
                self.fault(place, format!("`evidence` cannot be `{other}`; allowed: reviews, none"));
                return Ok(demand);
            }
        }
        if !matches!(self.risk(tool), None | Some(Risk::Read | Risk::Protective)) {
            let message = format!(
                "`evidence` cannot be `none` for tool `{tool}`; allowed: tools of risk read or protective, \
                 where waiting does more harm than a mistake"
            );
            self.fault(place, message);
        }
        match dial.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()) {
            Some(reason) => Err(reason.to_owned()),
            None => {
                self.fault(
                    place,
                    "`evidence = \"none\"` needs a `reason`: it is what staff is shown".to_owned(),
                );
                Ok(demand)
            }
        }
    }
}

const MAX_ERROR: (f64, f64) = (0.000_1, 0.5);
const CONFIDENCE: (f64, f64) = (0.5, 0.999_999);

fn allowed(name: &str) -> &'static str {
    if name == "max_error" { "0.0001 to 0.5" } else { "0.5 to 0.999999" }
}

impl Autonomy {
    /// Parses the file; `leaf` may be `*`. Tools that move money need a limit at `auto`.
    pub fn parse(
        file: &str,
        text: &str,
        leaves: &BTreeSet<String>,
        tools: &[ToolRisk],
    ) -> Result<Self, Vec<Finding>> {
        let raw: RawAutonomy =
            toml::from_str(text).map_err(|error| vec![Finding::of_toml(file, text, &error)])?;
        let mut known = Known { file, text, leaves, tools, findings: Vec::new() };
        known.section(&raw.evidence);
        let mut dials = Vec::new();
        for dial in raw.dial {
            let (at, tool_at) = (dial.leaf.span().start, dial.tool.span().start);
            if dial.leaf.get_ref() != "*" {
                known.leaf(at, dial.leaf.get_ref());
            }
            known.tool(tool_at, dial.tool.get_ref());
            let demand = known.demand(at, &dial, &raw.evidence);
            let (leaf, tool) = (dial.leaf.into_inner(), dial.tool.into_inner());
            if dial.level == Level::Auto && known.risk(&tool) == Some(Risk::Money) && dial.limit.is_none() {
                let message = format!("tool `{tool}` moves money: at level `auto` it needs a `limit`");
                known.fault(at, message);
            }
            dials.push(Dial { leaf, tool, level: dial.level, limit: dial.limit, demand });
        }
        let pools = pools(raw.pool, &dials, &mut known);
        if known.findings.is_empty() {
            let (evidence, digest) = (raw.evidence, Digest::of(text.as_bytes()));
            Ok(Self { evidence, dials, pools, leaves: leaves.clone(), digest })
        } else {
            Err(known.findings)
        }
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The line for a leaf and a tool; one that names the leaf goes before one with `*`.
    pub fn dial(&self, leaf: &str, tool: &str) -> Option<&Dial> {
        line(&self.dials, leaf, tool)
    }

    /// The level that the bank lets a call have. An amount above the dial's limit, or in another currency, makes `auto`
    /// into `suggest`.
    pub fn level(&self, leaf: &str, tool: &str, amount: Option<Money>) -> Level {
        let Some(dial) = self.dial(leaf, tool) else { return Level::Suggest };
        let within = match (dial.limit, amount) {
            (Some(limit), Some(amount)) => amount.currency == limit.currency && amount.minor <= limit.minor,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if dial.level == Level::Auto && !within { Level::Suggest } else { dial.level }
    }

    /// Every leaf and tool that stands for itself: the lines, and for one with `*` at level `auto` each leaf that it
    /// stands for, because each has evidence of its own.
    pub fn places(&self) -> Vec<(String, String)> {
        let mut places = BTreeSet::new();
        for dial in &self.dials {
            let spread = dial.leaf == "*" && dial.level == Level::Auto && dial.demand.is_ok();
            let own = |leaf: &&String| {
                self.dials.iter().all(|other| other.leaf != **leaf || other.tool != dial.tool)
            };
            match spread {
                true => places
                    .extend(self.leaves.iter().filter(own).map(|leaf| (leaf.clone(), dial.tool.clone()))),
                false => drop(places.insert((dial.leaf.clone(), dial.tool.clone()))),
            }
        }
        places.into_iter().collect()
    }

    /// The leaves whose reviews count for this leaf and tool: those of its pool, or itself.
    pub fn pooled(&self, leaf: &str, tool: &str) -> Vec<String> {
        let pool =
            self.pools.iter().find(|pool| pool.tool == tool && pool.leaves.iter().any(|own| own == leaf));
        pool.map_or_else(|| vec![leaf.to_owned()], |pool| pool.leaves.clone())
    }
}

fn line<'a>(dials: &'a [Dial], leaf: &str, tool: &str) -> Option<&'a Dial> {
    let named = |wanted: &str| dials.iter().find(|dial| dial.leaf == wanted && dial.tool == tool);
    named(leaf).or_else(|| named("*"))
}

/// Leaves count together only where the bank says so and why, and asks the same of each.
fn pools(raw: Vec<RawPool>, dials: &[Dial], known: &mut Known<'_>) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pool in raw {
        let at = pool.tool.span().start;
        let (tool, leaves) = (pool.tool.into_inner(), pool.leaves);
        known.tool(at, &tool);
        leaves.iter().for_each(|leaf| known.leaf(at, leaf));
        if leaves.len() < 2 {
            known.fault(
                at,
                format!("`leaves` of a pool cannot be {} of them; allowed: two or more", leaves.len()),
            );
        }
        if pool.reason.trim().is_empty() {
            known.fault(at, "`reason` of a pool cannot be empty; say why these leaves err alike".to_owned());
        }
        for leaf in &leaves {
            if !used.entry(tool.clone()).or_default().insert(leaf.clone()) {
                known.fault(
                    at,
                    format!("`leaves`: `{leaf}` counts twice for tool `{tool}`; leave it out once"),
                );
            }
        }
        let demands: Vec<_> =
            leaves.iter().map(|leaf| line(dials, leaf, &tool).map(|dial| &dial.demand)).collect();
        if demands.windows(2).any(|pair| pair.first() != pair.last()) {
            let message = format!(
                "`leaves` of the pool for `{tool}` ask for different evidence; give their lines the same `max_error` and `confidence`"
            );
            known.fault(at, message);
        }
        pools.push(Pool { tool, leaves });
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;

    fn parse(text: &str) -> Result<Autonomy, Vec<Finding>> {
        let leaves = ["transaction_charged_twice", "fee_charged"].map(str::to_owned).into();
        let tool = |name: &str, risk| ToolRisk { name: name.into(), risk, restores_access: false };
        let tools = [tool("refund", Risk::Money), tool("card_block", Risk::Protective)];
        Autonomy::parse("autonomy.toml", text, &leaves, &tools)
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
max_error = 0.1
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
        assert_eq!((found[0].line, found[1].line), (3, 4));
    }

    #[test]
    fn a_line_asks_for_its_own_evidence_and_each_leaf_stands_for_itself() {
        let autonomy = parse(TEXT).unwrap();
        let own = autonomy.dial("transaction_charged_twice", "refund").unwrap();
        assert_eq!(own.demand, Ok(Demand { max_error: 0.1, confidence: 0.95 }));
        let place = |leaf: &str, tool: &str| (leaf.to_owned(), tool.to_owned());
        assert_eq!(
            autonomy.places(),
            [
                place("fee_charged", "card_block"),
                place("transaction_charged_twice", "card_block"),
                place("transaction_charged_twice", "refund")
            ]
        );
        let none =
            "[[dial]]\nleaf = '*'\ntool = 'card_block'\nlevel = 'auto'\nevidence = 'none'\nreason = 'r'\n";
        let autonomy = parse(none).unwrap();
        assert_eq!(autonomy.places(), [place("*", "card_block")]);
        assert_eq!(autonomy.dial("x", "card_block").unwrap().demand, Err("r".to_owned()));
    }

    #[test]
    fn what_is_asked_of_evidence_is_checked() {
        let message = |text: &str| {
            let found = parse(text).unwrap_err();
            format!("{}: {}", found[0].line, found[0].message)
        };
        let section = |line: &str| message(&format!("\n[evidence]\n{line}\n"));
        assert_eq!(
            section("max_error = 0.7"),
            "3: [evidence] `max_error` cannot be `0.7`; allowed: 0.0001 to 0.5"
        );
        assert!(section("confidence = 1").starts_with("3: "));
        assert!(section("confidence = 1.0").contains("0.999999"));
        assert!(section("review_share = 2.0").contains("a share, 0 to 1"));
        assert!(section("false_alarm_every = 1").contains("20 to 1000000"));
        assert!(section("drift = ['leafs']").contains("did you mean `leaves`?"));
        let dial = |tool: &str, more: &str| {
            message(&format!("[[dial]]\nleaf = '*'\ntool = '{tool}'\nlevel = 'suggest'\n{more}\n"))
        };
        assert!(
            dial("refund", "evidence = 'none'\nreason = 'r'").starts_with("5: `evidence` cannot be `none`")
        );
        assert!(dial("card_block", "evidence = 'none'").contains("needs a `reason`"));
        assert!(dial("card_block", "evidence = 'some'").contains("allowed: reviews, none"));
        assert!(dial("refund", "max_error = 0.0").contains("`max_error` cannot be `0`"));
    }

    #[test]
    fn leaves_pool_by_a_stated_rule_alone() {
        let both = "['transaction_charged_twice', 'fee_charged']";
        let pool = |leaves: &str, reason: &str| {
            format!("[[pool]]\ntool = 'card_block'\nleaves = {leaves}\nreason = '{reason}'\n")
        };
        let autonomy = parse(&format!("{TEXT}{}", pool(both, "one team answers both"))).unwrap();
        assert_eq!(autonomy.pooled("fee_charged", "card_block").len(), 2);
        assert_eq!(autonomy.pooled("transaction_charged_twice", "refund"), ["transaction_charged_twice"]);
        for (text, wrong) in [
            (pool(both, " "), "reason"),
            (pool("['fee_charged']", "r"), "two or more"),
            (pool("['fee_charged', 'fee']", "r"), "not known"),
            (format!("{}{}", pool(both, "r"), pool(both, "r")), "counts twice"),
            (pool(both, "r").replace("card_block", "refund"), "different evidence"),
        ] {
            let found = parse(&format!("{TEXT}{text}")).unwrap_err();
            assert!(found[0].message.contains(wrong), "{found:?}");
        }
    }
}
