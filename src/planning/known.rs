//! What a condition that held says of the values behind it: which lists have how many elements, and which members that may be
//! missing are there. Kept by the text of the expressions, so that a step knows what the branches before it have asked.

use super::Condition;
use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use std::collections::{BTreeMap, BTreeSet};

/// Named values of a plan, by name.
pub(super) type Bindings<'a> = BTreeMap<&'a str, &'a Condition>;

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Known {
    /// What is there and not null.
    pub present: BTreeSet<String>,
    /// The least number of elements of a list.
    pub least: BTreeMap<String, i64>,
}

impl Known {
    /// Both hold.
    pub fn and(mut self, other: &Self) -> Self {
        self.present.extend(other.present.iter().cloned());
        for (list, least) in &other.least {
            let known = self.least.entry(list.clone()).or_insert(*least);
            *known = (*known).max(*least);
        }
        self
    }

    /// One or the other holds.
    pub fn or(&self, other: &Self) -> Self {
        let both = |list: &String, least: &i64| Some((list.clone(), *other.least.get(list)?.min(least)));
        Self {
            present: self.present.intersection(&other.present).cloned().collect(),
            least: self.least.iter().filter_map(|(list, least)| both(list, least)).collect(),
        }
    }

    /// That an expression has a value.
    pub fn with(mut self, present: impl IntoIterator<Item = String>) -> Self {
        self.present.extend(present);
        self
    }

    fn at_least(list: String, least: i64) -> Self {
        let mut known = Self::default();
        if least > 0 {
            // A case has `record` when exactly one of the records is left, and a look-up that found several has none.
            known.least.insert(list, least);
        }
        known
    }
}

/// What follows from the condition being true, or false.
pub(super) fn implied(node: &IdedExpr, truth: bool, bindings: &Bindings<'_>) -> Known {
    match &node.expr {
        Expr::Ident(name) => bindings
            .get(name.as_str())
            .map_or_else(Known::default, |condition| implied(condition.expression(), truth, bindings)),
        Expr::Select(select) if select.test && truth => {
            Known::default().with(Some(format!("{}.{}", text(&select.operand), select.field)))
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice(), truth) {
            ("!_", [of], _) => implied(of, !truth, bindings),
            ("_&&_", [one, other], true) | ("_||_", [one, other], false) => {
                implied(one, truth, bindings).and(&implied(other, truth, bindings))
            }
            ("_&&_", [one, other], false) | ("_||_", [one, other], true) => {
                implied(one, truth, bindings).or(&implied(other, truth, bindings))
            }
            (operator, [left, right], _) => compared(operator, left, right, truth),
            _ => Known::default(),
        },
        Expr::Comprehension(parts) => {
            let operator = match &parts.loop_step.expr {
                Expr::Call(call) => call.func_name.as_str(),
                _ => "",
            };
            // `exists` begins with false and goes on with ||, `all` with true and &&, `exists_one` counts.
            let some = match &parts.accu_init.expr {
                Expr::Literal(LiteralValue::Boolean(start)) => {
                    operator == if **start { "_&&_" } else { "_||_" } && **start != truth
                }
                Expr::Literal(LiteralValue::Int(_)) => truth,
                _ => false,
            };
            if some { Known::at_least(text(&parts.iter_range), 1) } else { Known::default() }
        }
        _ => Known::default(),
    }
}

fn compared(operator: &str, left: &IdedExpr, right: &IdedExpr, truth: bool) -> Known {
    let (operator, left, right) = match (whole(left), is_null(left)) {
        (None, false) => (operator, left, right),
        _ => (mirrored(operator), right, left),
    };
    let operator = if truth { operator } else { negated(operator) };
    if is_null(right) && operator == "_!=_" {
        return Known::default().with(Some(text(left)));
    }
    if operator == "_==_"
        && let (Expr::Select(select), Some("done")) = (&left.expr, literal(right))
        && select.field == "outcome"
    {
        let call = text(&select.operand);
        return Known::default().with(["result", "arguments", "stale"].map(|of| format!("{call}.{of}")));
    }
    let (Some(list), Some(number)) = (sized(left), whole(right)) else { return Known::default() };
    let mut known = match operator {
        "_==_" | "_>=_" => Known::at_least(list.clone(), number),
        "_>_" => Known::at_least(list.clone(), number.saturating_add(1)),
        "_!=_" if number == 0 => Known::at_least(list.clone(), 1),
        _ => Known::default(),
    };
    if operator == "_==_" && number == 1 && list == "records" {
        known.present.insert("record".to_owned());
    }
    known
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "_<_" => "_>_",
        "_>_" => "_<_",
        "_<=_" => "_>=_",
        "_>=_" => "_<=_",
        same => same,
    }
}

fn negated(operator: &str) -> &str {
    match operator {
        "_==_" => "_!=_",
        "_!=_" => "_==_",
        "_<_" => "_>=_",
        "_>=_" => "_<_",
        "_>_" => "_<=_",
        "_<=_" => "_>_",
        _ => "",
    }
}

fn sized(node: &IdedExpr) -> Option<String> {
    let Expr::Call(call) = &node.expr else { return None };
    match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
        ("size", None, [list]) => Some(text(list)),
        ("size", Some(list), []) => Some(text(list)),
        _ => None,
    }
}

pub(super) fn whole(node: &IdedExpr) -> Option<i64> {
    match &node.expr {
        Expr::Literal(LiteralValue::Int(number)) => Some(**number),
        _ => None,
    }
}

pub(super) fn is_null(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(LiteralValue::Null))
}

pub(super) fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.as_ref()),
        _ => None,
    }
}

/// An expression as a text that is the same for the same expression.
pub(super) fn text(node: &IdedExpr) -> String {
    let list = |nodes: &[IdedExpr]| nodes.iter().map(text).collect::<Vec<_>>().join(", ");
    match &node.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) if select.test => format!("has({}.{})", text(&select.operand), select.field),
        Expr::Select(select) => format!("{}.{}", text(&select.operand), select.field),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice(), &call.target) {
            ("_[_]", [of, at], _) => match literal(at) {
                Some(member) => format!("{}.{member}", text(of)),
                None => format!("{}[{}]", text(of), text(at)),
            },
            (name, arguments, None) => format!("{name}({})", list(arguments)),
            (name, arguments, Some(target)) => format!("{}.{name}({})", text(target), list(arguments)),
        },
        Expr::Literal(value) => format!("{value:?}"),
        Expr::List(of) => format!("[{}]", list(&of.elements)),
        Expr::Comprehension(parts) => {
            let whole =
                [&parts.iter_range, &parts.accu_init, &parts.loop_cond, &parts.loop_step, &parts.result];
            let whole: Vec<String> = whole.into_iter().map(text).collect();
            format!("each({}; {}; {})", parts.iter_var, parts.accu_var, whole.join("; "))
        }
        // What is put together in place has no name to be known by.
        Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => format!("#{}", node.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(source: &str, truth: bool) -> (Vec<String>, Vec<(String, i64)>) {
        let many = Condition::compile("size(record.cards) > 1").unwrap();
        let condition = Condition::compile(source).unwrap();
        let known = implied(condition.expression(), truth, &[("many", &many)].into());
        (known.present.into_iter().collect(), known.least.into_iter().collect())
    }

    #[test]
    fn sizes_say_how_many_there_are_at_least() {
        let cards = |least| (vec![], vec![("record.cards".to_owned(), least)]);
        for (source, truth, least) in [
            ("size(record.cards) > 1", true, 2),
            ("record.cards.size() >= 1", true, 1),
            ("2 < size(record.cards)", true, 3),
            ("size(record.cards) == 4", true, 4),
            ("size(record.cards) == 0", false, 1),
            ("size(record.cards) != 0", true, 1),
            ("size(record.cards) < 3", false, 3),
            ("!(size(record.cards) < 3)", true, 3),
            ("many", true, 2),
            ("many && record.open", true, 2),
            ("record.cards.exists(c, c.open)", true, 1),
            ("record.cards.all(c, c.open)", false, 1),
            ("record.cards.exists_one(c, c.open)", true, 1),
            ("size(record.cards) == 3 || many", true, 2),
            ("size(record.cards) == 0 || record.open", false, 1),
        ] {
            assert_eq!(known(source, truth), cards(least), "{source}");
        }
        for (source, truth) in [
            ("size(record.cards) > 1", false),
            ("size(record.cards) < 3", true),
            ("size(record.cards) >= 0", true),
            ("many || record.open", true),
            ("many && record.open", false),
            ("record.cards.exists(c, c.open)", false),
            ("record.cards.all(c, c.open)", true),
            ("record.cards.map(c, c.open) == []", false),
            ("size(record.cards) != 2", true),
        ] {
            assert_eq!(known(source, truth), (vec![], vec![]), "{source}");
        }
    }

    #[test]
    fn questions_for_presence_say_what_is_there() {
        let there = |name: &str| (vec![name.to_owned()], vec![]);
        for (source, truth, name) in [
            ("has(record.address)", true, "record.address"),
            ("record.address != null", true, "record.address"),
            ("null != record.address", true, "record.address"),
            ("record.address == null", false, "record.address"),
            ("!has(record.address)", false, "record.address"),
            ("has(record.address) && record.open", true, "record.address"),
        ] {
            assert_eq!(known(source, truth), there(name), "{source}");
        }
        assert_eq!(known("has(record.address)", false), (vec![], vec![]));
        assert_eq!(known("record.address == null", true), (vec![], vec![]));
        assert_eq!(known("size(records) == 1", true).0, ["record"]);
        assert_eq!(known("size(records) >= 1", true).0, Vec::<String>::new());
        assert_eq!(
            known("calls.a.outcome == 'done'", true).0,
            ["calls.a.arguments", "calls.a.result", "calls.a.stale"]
        );
    }
}
