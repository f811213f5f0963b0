//! What the routes of the dial and of reviews answer.

use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct DialsInForce {
    /// Of config/autonomy.toml.
    digest: String,
    /// Of the bundle that reads: evidence is of it alone.
    model: String,
    dials: Vec<DialInForce>,
}

#[derive(ToSchema)]
struct DialInForce {
    /// `*`: every leaf without a dial of its own for this tool.
    leaf: String,
    tool: String,
    /// The most that config/autonomy.toml lets it be: `off`, `suggest` or `auto`.
    level: String,
    /// What it is now; at `auto` from `threshold` on.
    effective: String,
    /// The confidence (basis points) from which on the machine acts by itself; null: nowhere, or nothing has to be shown.
    #[schema(required = true)]
    threshold: Option<i64>,
    /// What the bank accepts; null: nothing has to be shown.
    #[schema(required = true)]
    max_error: Option<f64>,
    #[schema(required = true)]
    confidence: Option<f64>,
    /// Cases that count at the threshold, or among the surest where there is none.
    reviewed: u64,
    errors: u64,
    /// The error rate is below this, with that confidence.
    bound: f64,
    /// Reviews without an error that are missing.
    missing: u64,
    /// Drawn and not answered yet.
    open: u64,
    /// Answered and not counted: behind an open one, or by somebody who says the same of everything.
    held: u64,
    /// Leaves that count together with this one.
    pool: Vec<String>,
    demoted: bool,
    /// Who wants to raise it, and waits for a second person.
    #[schema(required = true)]
    raising: Option<String>,
    why: String,
    /// Digest of everything that this follows from; each decision names it.
    evidence: String,
}

#[derive(ToSchema)]
pub struct OpenReviews {
    reviews: Vec<OpenReview>,
}

#[derive(ToSchema)]
struct OpenReview {
    review: String,
    #[schema(format = DateTime)]
    drawn_at: String,
}

#[derive(ToSchema)]
pub struct ReviewShown {
    review: String,
    #[schema(format = DateTime)]
    drawn_at: String,
    /// Text, language, channel, attachments and time of each.
    messages: Vec<Value>,
    /// Whether the channel verified the sender.
    verified: bool,
    /// What was found of the verified customer.
    records: Vec<Value>,
}

#[derive(ToSchema)]
pub struct Answered {
    review: String,
    /// The machine had read the same leaf, and where it proposed a call you would have made it.
    right: bool,
    said: Value,
    case: String,
    /// Leaf, confidence (basis points), tool and arguments of the machine; without a tool nothing was proposed.
    machine: Value,
}

#[cfg(test)]
mod tests {
    use super::super::tests::agrees;
    use super::*;
    use crate::base::Digest;
    use crate::governance::{Autonomy, Book, ToolRisk};
    use crate::planning::Risk;

    #[test]
    fn dials_are_as_described() {
        let tools = [ToolRisk { name: "t".into(), risk: Risk::Money, restores_access: false }];
        let text = "[[dial]]\nleaf = '*'\ntool = 't'\nlevel = 'suggest'\n";
        let autonomy = Autonomy::parse("a", text, &Default::default(), &tools).unwrap();
        let dials = Book::default().dials(&autonomy, &Digest::of(b"m"));
        agrees::<DialInForce>(&serde_json::to_value(dials.rows.values().next().unwrap()).unwrap());
    }
}
