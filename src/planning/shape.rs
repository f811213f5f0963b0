//! What a view can contain, so that a misspelt name in a plan is found before it runs.

use super::Condition;
use crate::base::finding::suggestion;
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use std::collections::BTreeMap;

/// The names that a value may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    Object(BTreeMap<String, Shape>),
    List(Box<Shape>),
    Scalar,
    /// A single value that people typed, within what the bank's systems wrote.
    Free,
    /// Not declared further; every name below it passes.
    Any,
}

impl Shape {
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect())
    }

    /// From dotted paths; `[]` after a name makes it a list: `balance.minor`, `cards[].id`.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::Object(BTreeMap::new());
        for path in paths {
            root.add(path.split('.'));
        }
        root
    }

    fn add<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>) {
        let Some(segment) = segments.next() else { return };
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(BTreeMap::new());
        }
        let Self::Object(members) = self else { return };
        match segment.strip_suffix("[]") {
            Some(name) => {
                let entry =
                    members.entry(name.to_owned()).or_insert_with(|| Self::List(Box::new(Self::Scalar)));
                if let Self::List(element) = entry {
                    element.add(segments);
                }
            }
            None => members.entry(segment.to_owned()).or_insert(Self::Scalar).add(segments),
        }
    }

    /// Marks what people type: paths as for `of_paths`. What is not there stays away.
    pub fn with_free<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        for path in paths {
            self.mark(path.split('.'));
        }
        self
    }

    fn mark<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>) {
        let Some(segment) = segments.next() else {
            *self = Self::Free;
            return;
        };
        let (name, listed) = segment.strip_suffix("[]").map_or((segment, false), |name| (name, true));
        let Self::Object(members) = self else { return };
        match members.get_mut(name) {
            Some(Self::List(element)) if listed => element.mark(segments),
            Some(member) => member.mark(segments),
            None => {}
        }
    }

    /// Whether people typed some of it.
    pub fn has_free(&self) -> bool {
        match self {
            Self::Free => true,
            Self::Object(members) => members.values().any(Self::has_free),
            Self::List(element) => element.has_free(),
            Self::Scalar | Self::Any => false,
        }
    }

    /// What an empty list holds.
    pub(super) const fn nothing() -> Self {
        Self::Object(BTreeMap::new())
    }

    /// What may be one or the other. No mark gets lost.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object(one), Self::Object(other)) => {
                let mut members = one;
                for (name, shape) in other {
                    let known = members.remove(&name);
                    members
                        .insert(name, known.map_or_else(|| shape.clone(), |known| known.or(shape.clone())));
                }
                Self::Object(members)
            }
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.or(*other))),
            (one, other) if one.has_free() || one == other => one,
            (_, other) if other.has_free() => other,
            (Self::Object(none), other) | (other, Self::Object(none)) if none.is_empty() => other,
            _ => Self::Any,
        }
    }

    pub fn with(mut self, name: &str, shape: Self) -> Self {
        if let Self::Object(members) = &mut self {
            members.insert(name.to_owned(), shape);
        }
        self
    }

    /// The faults in the names of an expression, and the shape of its value.
    pub fn check(&self, condition: &Condition) -> (Vec<String>, Self) {
        let mut faults = Vec::new();
        let shape = walk(condition.expression(), self, &mut Vec::new(), &mut faults);
        (faults, shape)
    }
}

fn walk(node: &IdedExpr, root: &Shape, bound: &mut Vec<(String, Shape)>, faults: &mut Vec<String>) -> Shape {
    match &node.expr {
        Expr::Ident(name) => identifier(name, root, bound, faults),
        Expr::Select(select) => {
            let operand = walk(&select.operand, root, bound, faults);
            member(&operand, &select.field, faults)
        }
        Expr::Call(call) => {
            let target = call.target.as_ref().map(|target| walk(target, root, bound, faults));
            let arguments: Vec<Shape> = call.args.iter().map(|arg| walk(arg, root, bound, faults)).collect();
            match (call.func_name.as_str(), arguments.first(), target) {
                ("_[_]", Some(Shape::List(element)), _) => (**element).clone(),
                ("_?_:_", ..) => arguments.get(1).cloned().unwrap_or(Shape::Any),
                _ => Shape::Any,
            }
        }
        Expr::Comprehension(parts) => {
            let range = walk(&parts.iter_range, root, bound, faults);
            let element = match &range {
                Shape::List(element) => (**element).clone(),
                _ => Shape::Any,
            };
            walk(&parts.accu_init, root, bound, faults);
            let depth = bound.len();
            bound.push((parts.iter_var.clone(), element));
            bound.push((parts.accu_var.clone(), Shape::Any));
            bound.extend(parts.iter_var2.clone().map(|name| (name, Shape::Any)));
            walk(&parts.loop_cond, root, bound, faults);
            walk(&parts.loop_step, root, bound, faults);
            walk(&parts.result, root, bound, faults);
            bound.truncate(depth);
            // `filter` keeps elements; `exists` and `all` give a truth, which has no members.
            match &parts.accu_init.expr {
                Expr::List(_) if keeps_elements(&parts.loop_step, &parts.iter_var) => range,
                Expr::List(_) => Shape::List(Box::new(Shape::Any)),
                _ => Shape::Scalar,
            }
        }
        Expr::List(list) => {
            list.elements.iter().for_each(|element| {
                walk(element, root, bound, faults);
            });
            Shape::List(Box::new(Shape::Any))
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    walk(&entry.value, root, bound, faults);
                }
            }
            Shape::Any
        }
        Expr::Literal(_) => Shape::Scalar,
        Expr::Unspecified | Expr::Struct(_) => Shape::Any,
    }
}

/// `filter` expands to a step that appends the loop variable itself.
fn keeps_elements(step: &IdedExpr, variable: &str) -> bool {
    match &step.expr {
        Expr::Call(call) if call.func_name == "_?_:_" => {
            call.args.get(1).is_some_and(|taken| keeps_elements(taken, variable))
        }
        Expr::Call(call) if call.func_name == "_+_" => call.args.get(1).is_some_and(|added| {
            matches!(&added.expr, Expr::List(list)
                if matches!(list.elements.first().map(|e| &e.expr), Some(Expr::Ident(name)) if name == variable))
        }),
        _ => false,
    }
}

fn identifier(name: &str, root: &Shape, bound: &[(String, Shape)], faults: &mut Vec<String>) -> Shape {
    if let Some((_, shape)) = bound.iter().rev().find(|(known, _)| known == name) {
        return shape.clone();
    }
    let Shape::Object(members) = root else { return Shape::Any };
    members.get(name).cloned().unwrap_or_else(|| {
        faults.push(format!("`{name}` is not known{}", suggestion(name, members.keys().map(String::as_str))));
        Shape::Any
    })
}

fn member(operand: &Shape, field: &str, faults: &mut Vec<String>) -> Shape {
    match operand {
        Shape::Any => Shape::Any,
        Shape::Object(members) => members.get(field).cloned().unwrap_or_else(|| {
            faults.push(format!(
                "`.{field}` is not known{}",
                suggestion(field, members.keys().map(String::as_str))
            ));
            Shape::Any
        }),
        Shape::List(_) => {
            faults.push(format!("`.{field}` is asked of a list; name an element, as in `list[0].{field}`"));
            Shape::Any
        }
        Shape::Scalar | Shape::Free => {
            faults.push(format!("`.{field}` is asked of a single value, which has no members"));
            Shape::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<String> {
        let record =
            Shape::of_paths(["status", "flags.fraud", "cards[].id", "cards[].order.state", "balance.minor"]);
        let root = Shape::object([("record", record), ("facts", Shape::of_paths(["count"]))]);
        root.check(&Condition::compile(source).unwrap()).0
    }

    #[test]
    fn right_names_pass() {
        for source in [
            "record.flags.fraud",
            "record.cards.exists(c, c.order.state == 'shipped')",
            "record.cards[0].order.state == 'shipped'",
            "record.cards.filter(c, c.id == 'x')[0].order.state == ''",
            "size(record.cards) > 1 && facts.count == 1",
            "has(record.balance.minor)",
        ] {
            assert_eq!(faults(source), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn a_misspelt_name_is_found_with_the_nearest() {
        for (source, nearest) in [
            ("recrod.status == ''", "record"),
            ("record.flags.fruad", "fraud"),
            ("record.cards.exists(c, c.ordr.state == 'x')", "order"),
            ("record.cards[0].order.sate == 'x'", "state"),
            ("record.cards.filter(c, c.id == 'x')[0].ordre.state == ''", "order"),
            ("facts.cuont == 1", "count"),
        ] {
            let found = faults(source);
            assert_eq!(found.len(), 1, "{source}: {found:?}");
            assert!(found[0].contains(&format!("did you mean `{nearest}`")), "{found:?}");
        }
    }

    #[test]
    fn a_member_of_a_list_or_a_single_value_is_found() {
        assert!(faults("record.cards.id == 'x'")[0].contains("list"));
        assert!(faults("record.status.code == 'x'")[0].contains("single value"));
    }
}
