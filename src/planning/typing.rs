//! The types of expressions. The `cel` crate parses and evaluates and has no checker; this one knows the names and types of a
//! view, which members may be missing, which words a field can hold, and how many elements a list has for certain. What it
//! passes can still be unknown when a system leaves out what it promised; what it finds would be unknown, or never true, for
//! certain or by surprise.

use super::known::{self, Bindings, Known, is_null, literal, text, whole};
use super::{Condition, Shape};
use crate::base::finding::suggestion;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use std::collections::{BTreeMap, BTreeSet};

/// What an expression can see.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub view: &'a Shape,
    pub bindings: &'a Bindings<'a>,
    /// Bindings that are there when there is a record.
    pub of_record: &'a BTreeSet<String>,
}

/// The faults of an expression, and the type of its value.
pub(super) fn check(condition: &Condition, scope: &Scope<'_>, known: &Known) -> (Vec<String>, Shape) {
    let mut typing = Typing { scope: *scope, bound: Vec::new(), known: known.clone(), faults: Vec::new() };
    let shape = typing.of(condition.expression());
    (typing.faults, shape)
}

/// What follows from a condition being true, or false.
pub(super) fn implied(condition: &Condition, truth: bool, bindings: &Bindings<'_>) -> Known {
    known::implied(condition.expression(), truth, bindings)
}

/// The functions that CEL has, by name, with the type of what they give.
const FUNCTIONS: [(&str, Shape); 32] = [
    ("size", Shape::Int),
    ("contains", Shape::Bool),
    ("startsWith", Shape::Bool),
    ("endsWith", Shape::Bool),
    ("matches", Shape::Bool),
    ("string", Shape::Text),
    ("bytes", Shape::Any),
    ("double", Shape::Number),
    ("int", Shape::Int),
    ("uint", Shape::Int),
    ("bool", Shape::Bool),
    ("timestamp", Shape::Timestamp),
    ("duration", Shape::Duration),
    ("max", Shape::Any),
    ("min", Shape::Any),
    ("type", Shape::Any),
    ("dyn", Shape::Any),
    ("getFullYear", Shape::Int),
    ("getMonth", Shape::Int),
    ("getDate", Shape::Int),
    ("getDayOfMonth", Shape::Int),
    ("getDayOfWeek", Shape::Int),
    ("getDayOfYear", Shape::Int),
    ("getHours", Shape::Int),
    ("getMinutes", Shape::Int),
    ("getSeconds", Shape::Int),
    ("getMilliseconds", Shape::Int),
    ("replace", Shape::Text),
    ("split", Shape::Any),
    ("lowerAscii", Shape::Text),
    ("upperAscii", Shape::Text),
    ("trim", Shape::Text),
];

struct Typing<'a> {
    scope: Scope<'a>,
    /// Variables of comprehensions, the innermost last.
    bound: Vec<(String, Shape)>,
    known: Known,
    faults: Vec<String>,
}

impl Typing<'_> {
    fn fault<T>(&mut self, message: String, shape: T) -> T {
        self.faults.push(message);
        shape
    }

    /// The type of a value that must be there.
    fn of(&mut self, node: &IdedExpr) -> Shape {
        match self.perhaps(node) {
            Shape::Optional(shape) => {
                let name = text(node);
                let remedy = match name.as_str() {
                    "record" => "there is one only when `size(records) == 1`; branch on that before".to_owned(),
                    _ if self.scope.of_record.contains(&name) => {
                        "it is of `record`, which is there only when `size(records) == 1`; branch on that before".to_owned()
                    }
                    _ if name.starts_with("calls.") => {
                        "not every way to this step has it; ask for the call's `outcome` before, or lead here from its `done` \
                         alone"
                            .to_owned()
                    }
                    _ => format!("ask `has({name})` before"),
                };
                self.fault(format!("`{name}` may be missing: {remedy}"), *shape)
            }
            shape => shape,
        }
    }

    /// The same, where it may be missing.
    fn perhaps(&mut self, node: &IdedExpr) -> Shape {
        let shape = match &node.expr {
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => {
                let operand = self.of(&select.operand);
                let member = self.member(&operand, &select.field);
                if select.test {
                    return Shape::Bool;
                }
                member
            }
            Expr::Call(call) => return self.call(node, call),
            Expr::Comprehension(parts) => return self.comprehension(parts),
            Expr::List(list) => {
                let elements = list.elements.iter().map(|element| self.of(element));
                let whole = elements.reduce(Shape::or).unwrap_or_else(Shape::nothing);
                return Shape::List(Box::new(whole));
            }
            Expr::Map(map) => return self.object(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Literal(value) => return of_literal(value),
            Expr::Unspecified | Expr::Struct(_) => return Shape::Any,
        };
        match shape {
            Shape::Optional(shape) if self.is_there(node) => *shape,
            shape => shape,
        }
    }

    fn is_there(&self, node: &IdedExpr) -> bool {
        let name = text(node);
        let present = &self.known.present;
        present.contains(&name) || self.scope.of_record.contains(&name) && present.contains("record")
    }

    fn object<'e>(&mut self, entries: impl Iterator<Item = &'e EntryExpr>) -> Shape {
        let mut members = BTreeMap::new();
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry else { return Shape::Any };
            let value = self.of(&entry.value);
            match literal(&entry.key) {
                Some(name) => drop(members.insert(name.to_owned(), value)),
                None => return Shape::Any,
            }
        }
        Shape::Object(members)
    }

    fn identifier(&mut self, name: &str) -> Shape {
        if let Some((_, shape)) = self.bound.iter().rev().find(|(known, _)| known == name) {
            return shape.clone();
        }
        let Shape::Object(members) = self.scope.view else { return Shape::Any };
        match members.get(name) {
            Some(shape) => shape.clone(),
            None => {
                let near = suggestion(name, members.keys().map(String::as_str));
                self.fault(format!("`{name}` is not known{near}"), Shape::Any)
            }
        }
    }

    fn member(&mut self, of: &Shape, field: &str) -> Shape {
        match of {
            Shape::Any => Shape::Any,
            Shape::Object(members) => match members.get(field) {
                Some(shape) => shape.clone(),
                None => {
                    let near = suggestion(field, members.keys().map(String::as_str));
                    self.fault(format!("`.{field}` is not known{near}"), Shape::Any)
                }
            },
            Shape::List(_) => {
                let message =
                    format!("`.{field}` is asked of a list; name an element, as in `list[0].{field}`");
                self.fault(message, Shape::Any)
            }
            _ => {
                let message = format!("`.{field}` is asked of a single value, which has no members");
                self.fault(message, Shape::Any)
            }
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Shape {
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("_&&_", [one, other]) => self.logical(one, other, true),
            ("_||_", [one, other]) => self.logical(one, other, false),
            ("!_", [of]) => {
                self.truth(of);
                Shape::Bool
            }
            ("@not_strictly_false", [of]) => {
                self.of(of);
                Shape::Bool
            }
            ("_?_:_", [when, then, otherwise]) => {
                self.truth(when);
                let one = self.given(when, true, |typing| typing.of(then));
                let other = self.given(when, false, |typing| typing.of(otherwise));
                one.or(other)
            }
            ("_==_" | "_!=_", [one, other]) => self.equal(one, other),
            ("_<_" | "_<=_" | "_>_" | "_>=_", [one, other]) => self.ordered(node, one, other),
            ("@in", [one, among]) => self.among(one, among),
            ("_[_]", [of, at]) => self.index(of, at),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [one, other]) => self.arithmetic(node, call, one, other),
            ("-_", [of]) => self.of(of),
            (name, _) => self.function(name, call),
        }
    }

    /// Within an assumption.
    fn given<T>(&mut self, condition: &IdedExpr, truth: bool, then: impl FnOnce(&mut Self) -> T) -> T {
        let further = self.known.clone().and(&known::implied(condition, truth, self.scope.bindings));
        let before = std::mem::replace(&mut self.known, further);
        let done = then(self);
        self.known = before;
        done
    }

    fn truth(&mut self, node: &IdedExpr) {
        let shape = self.of(node);
        if !matches!(shape, Shape::Bool | Shape::Any | Shape::Scalar) {
            let message = format!("`{}` is neither true nor false, but {}", shown(node), shape.name());
            self.faults.push(message);
        }
    }

    fn logical(&mut self, one: &IdedExpr, other: &IdedExpr, truth: bool) -> Shape {
        self.truth(one);
        self.given(one, truth, |typing| typing.truth(other));
        Shape::Bool
    }

    fn equal(&mut self, one: &IdedExpr, other: &IdedExpr) -> Shape {
        // Asking whether it is there is what null is for.
        if is_null(one) || is_null(other) {
            self.perhaps(one);
            self.perhaps(other);
            return Shape::Bool;
        }
        let (left, right) = (self.of(one), self.of(other));
        self.comparable((one, &left), (other, &right));
        Shape::Bool
    }

    fn comparable(&mut self, (one, left): (&IdedExpr, &Shape), (other, right): (&IdedExpr, &Shape)) {
        for ((_, shape), (with, _)) in [((one, left), (other, right)), ((other, right), (one, left))] {
            if let (Shape::OneOf(words), Some(word)) = (shape, literal(with))
                && !words.contains(word)
            {
                let near = suggestion(word, words.iter().map(String::as_str));
                let allowed: Vec<&str> = words.iter().map(String::as_str).collect();
                let message =
                    format!("`'{word}'` is never its value{near}; it is one of {}", allowed.join(", "));
                return self.faults.push(message);
            }
        }
        if left.kind() != right.kind() && left.kind().is_some() && right.kind().is_some() {
            let message = format!(
                "`{}` is {} and `{}` is {}, so that they are never equal",
                shown(one),
                left.name(),
                shown(other),
                right.name()
            );
            self.faults.push(message);
        }
    }

    fn ordered(&mut self, node: &IdedExpr, one: &IdedExpr, other: &IdedExpr) -> Shape {
        let (left, right) = (self.of(one), self.of(other));
        let fits = match (left.kind(), right.kind()) {
            (Some(left), Some(right)) => left == right && ["number", "timestamp", "duration"].contains(&left),
            (Some(known), None) | (None, Some(known)) => ["number", "timestamp", "duration"].contains(&known),
            (None, None) => true,
        };
        if !fits {
            let remedy = match (&left, &right) {
                (Shape::Time, _) | (_, Shape::Time) => "; times are compared as `timestamp(...)`",
                _ => "",
            };
            let message = format!("`{}` compares {} with {}{remedy}", shown(node), left.name(), right.name());
            self.faults.push(message);
        }
        Shape::Bool
    }

    fn among(&mut self, one: &IdedExpr, among: &IdedExpr) -> Shape {
        let (element, whole) = (self.of(one), self.of(among));
        match (&whole, &among.expr) {
            (Shape::List(_), Expr::List(list)) => {
                for candidate in &list.elements {
                    let shape = self.of(candidate);
                    self.comparable((one, &element), (candidate, &shape));
                }
            }
            (Shape::List(of), _) => self.comparable((one, &element), (among, of)),
            (Shape::Any | Shape::Object(_), _) => {}
            (other, _) => {
                let message = format!("`{}` is {}; `in` asks a list", shown(among), other.name());
                self.faults.push(message);
            }
        }
        Shape::Bool
    }

    fn index(&mut self, of: &IdedExpr, at: &IdedExpr) -> Shape {
        let (whole_of, index) = (self.of(of), self.of(at));
        match (&whole_of, literal(at), whole(at)) {
            (Shape::Object(_), Some(member), _) => {
                let shape = self.member(&whole_of, member);
                match shape {
                    Shape::Optional(shape)
                        if self.known.present.contains(&format!("{}.{member}", text(of))) =>
                    {
                        *shape
                    }
                    shape => shape,
                }
            }
            (Shape::List(element), _, Some(number)) => {
                let (name, shape) = (text(of), (**element).clone());
                if !(0..self.known.least.get(&name).copied().unwrap_or(0)).contains(&number) {
                    let message = format!(
                        "`{0}` may have no element {number}; branch on `size({0}) > {number}` before, or write it in front with &&",
                        shown(of)
                    );
                    self.faults.push(message);
                }
                shape
            }
            (Shape::List(element), ..) => {
                let shape = (**element).clone();
                let message = format!("`{}` of a list must be a number that is written down", shown(at));
                if matches!(index, Shape::Any) { shape } else { self.fault(message, shape) }
            }
            (Shape::Any, ..) => Shape::Any,
            (other, ..) => {
                let message = format!("`{}` is {}, which has no elements", shown(of), other.name());
                self.fault(message, Shape::Any)
            }
        }
    }

    fn arithmetic(&mut self, node: &IdedExpr, call: &CallExpr, one: &IdedExpr, other: &IdedExpr) -> Shape {
        let (left, right) = (self.of(one), self.of(other));
        if let (Shape::List(one), Shape::List(other)) = (&left, &right) {
            return Shape::List(Box::new((**one).clone().or((**other).clone())));
        }
        let (Some(a), Some(b)) = (left.kind(), right.kind()) else { return Shape::Any };
        match (call.func_name.as_str(), a, b) {
            (_, "number", "number") => match (&left, &right) {
                (Shape::Int, Shape::Int) => Shape::Int,
                _ => Shape::Number,
            },
            ("_+_", "text", "text") => Shape::Text,
            ("_+_" | "_-_", "timestamp", "duration") | ("_+_", "duration", "timestamp") => Shape::Timestamp,
            ("_-_", "timestamp", "timestamp") | ("_+_" | "_-_", "duration", "duration") => Shape::Duration,
            _ => {
                let message =
                    format!("`{}` cannot be computed from {} and {}", shown(node), left.name(), right.name());
                self.fault(message, Shape::Any)
            }
        }
    }

    fn function(&mut self, name: &str, call: &CallExpr) -> Shape {
        let target: Option<Shape> = call.target.as_ref().map(|target| self.of(target));
        let given: Vec<Shape> = target.into_iter().chain(call.args.iter().map(|arg| self.of(arg))).collect();
        let Some((_, result)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let near = suggestion(name, FUNCTIONS.iter().map(|(known, _)| *known));
            return self.fault(format!("there is no function `{name}`{near}"), Shape::Any);
        };
        let first = given.first().cloned().unwrap_or(Shape::Any);
        let remedy = match (name, &first) {
            ("timestamp", Shape::Date) => Some("a date; write `+ 'T00:00:00Z'` behind it"),
            ("timestamp", shape) if !matches!(shape.kind(), None | Some("text" | "timestamp")) => {
                Some("no time")
            }
            ("timestamp", Shape::OneOf(_)) => Some("no time"),
            ("size", shape) if matches!(shape.kind(), Some("number" | "bool" | "timestamp" | "duration")) => {
                Some("no list, object or text")
            }
            ("contains" | "startsWith" | "endsWith" | "matches", shape)
                if !matches!(shape.kind(), None | Some("text")) =>
            {
                Some("no text")
            }
            (name, shape)
                if name.starts_with("get")
                    && !matches!(shape.kind(), None | Some("timestamp" | "duration")) =>
            {
                Some("no `timestamp(...)`")
            }
            ("duration", _) if call.args.first().and_then(literal).is_some_and(|text| !is_duration(text)) => {
                Some("no duration, such as `duration('72h')`")
            }
            _ => None,
        };
        if let Some(what) = remedy {
            let of = call.target.as_deref().or(call.args.first()).map(shown).unwrap_or_default();
            self.faults.push(format!("`{name}` is given `{of}`, which is {what}"));
        }
        result.clone()
    }

    fn comprehension(&mut self, parts: &ComprehensionExpr) -> Shape {
        let range = self.of(&parts.iter_range);
        let element = match &range {
            Shape::List(element) => (**element).clone(),
            Shape::Any => Shape::Any,
            Shape::Object(_) => Shape::Text,
            other => {
                let message =
                    format!("`{}` is {}, which has no elements", shown(&parts.iter_range), other.name());
                self.fault(message, Shape::Any)
            }
        };
        let start = self.of(&parts.accu_init);
        let depth = self.bound.len();
        self.bound.push((parts.iter_var.clone(), element));
        self.bound.push((parts.accu_var.clone(), start.clone()));
        self.bound.extend(parts.iter_var2.clone().map(|name| (name, Shape::Any)));
        self.of(&parts.loop_cond);
        let step = self.of(&parts.loop_step);
        self.of(&parts.result);
        self.bound.truncate(depth);
        match start {
            Shape::List(_) => match (range, kept(parts)) {
                // What a filter keeps fulfils its condition.
                (Shape::List(element), Some(condition)) => {
                    let known = known::implied(condition, true, self.scope.bindings);
                    Shape::List(Box::new(refined(*element, &parts.iter_var, &known.present)))
                }
                _ => step,
            },
            _ => Shape::Bool,
        }
    }
}

/// The condition of a filter: its step appends the variable itself where the condition is true.
fn kept(parts: &ComprehensionExpr) -> Option<&IdedExpr> {
    let Expr::Call(step) = &parts.loop_step.expr else { return None };
    let ("_?_:_", [condition, taken, _]) = (step.func_name.as_str(), step.args.as_slice()) else {
        return None;
    };
    let Expr::Call(added) = &taken.expr else { return None };
    let Some(Expr::List(list)) = added.args.get(1).map(|added| &added.expr) else { return None };
    let itself =
        matches!(list.elements.first().map(|e| &e.expr), Some(Expr::Ident(name)) if *name == parts.iter_var);
    itself.then_some(condition)
}

/// An element of which some members are there.
fn refined(element: Shape, variable: &str, present: &BTreeSet<String>) -> Shape {
    let prefix = format!("{variable}.");
    let paths = present.iter().filter_map(|name| name.strip_prefix(&prefix));
    paths.fold(element, |shape, path| shape.there(path))
}

fn of_literal(value: &LiteralValue) -> Shape {
    match value {
        LiteralValue::Boolean(_) => Shape::Bool,
        LiteralValue::Int(_) | LiteralValue::UInt(_) => Shape::Int,
        LiteralValue::Double(_) => Shape::Number,
        LiteralValue::String(_) => Shape::Text,
        LiteralValue::Bytes(_) | LiteralValue::Null => Shape::Any,
    }
}

/// As CEL has them: numbers with h, m, s, ms, us or ns, one after the other.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let units = ["ns", "us", "ms", "h", "m", "s"];
    let (mut rest, mut parts) = (text, 0);
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = units.iter().find_map(|unit| number.strip_prefix(unit));
        match unit {
            Some(after) if number.len() < rest.len() => (rest, parts) = (after, parts + 1),
            _ => return false,
        }
    }
    parts > 0
}

/// An expression for a message.
fn shown(node: &IdedExpr) -> String {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => format!("'{}'", &**text),
        Expr::Literal(LiteralValue::Int(number)) => number.to_string(),
        Expr::Call(call) => match (call.func_name.trim_matches('_'), call.args.as_slice(), &call.target) {
            (operator, [one, other], None) if call.func_name.starts_with('_') && call.func_name != "_[_]" => {
                format!("{} {operator} {}", shown(one), shown(other))
            }
            ("[_]", [of, at], None) => format!("{}[{}]", shown(of), shown(at)),
            (name, arguments, None) => {
                format!("{name}({})", arguments.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            _ => text(node),
        },
        Expr::Comprehension(parts) => format!("{}...", shown(&parts.iter_range)),
        _ => text(node),
    }
}
