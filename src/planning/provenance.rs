//! Where the value of an expression comes from. An argument of weight comes from what the bank's systems wrote into a
//! record, from the verified identity, or is written in the plan; and whatever has a part in choosing it counts: the
//! condition of a choice, the range of a list, what a text is put together from.

use super::known::literal;
use super::{Condition, Shape};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr};
use std::collections::BTreeMap;

/// Roots of the view that the bank's own systems own.
pub const OWNED: [&str; 3] = ["record", "records", "identity"];

/// What a value may hold, and why it is not of the bank's systems, if it is not.
#[derive(Clone, Debug)]
pub struct Flow {
    pub shape: Shape,
    fault: Option<String>,
}

impl Flow {
    const fn owned(shape: Shape) -> Self {
        Self { shape, fault: None }
    }

    /// Why it may not become an argument of weight.
    pub fn fault(&self) -> Option<String> {
        let typed = || "it holds what people typed (`free_text` in sources.toml)".to_owned();
        self.fault.clone().or_else(|| self.shape.has_free().then(typed))
    }

    /// With the faults of what had a part in it.
    fn after<'a>(mut self, parts: impl IntoIterator<Item = &'a Self>) -> Self {
        self.fault = self.fault.or_else(|| parts.into_iter().find_map(|part| part.fault.clone()));
        self
    }

    fn part_of(self, field: &str) -> Self {
        let shape = match &self.shape {
            Shape::Object(members) => members.get(field).cloned().map_or(Shape::Any, Shape::there_at_all),
            _ => Shape::Any,
        };
        let typed = (shape == Shape::Free)
            .then(|| format!("`.{field}` is typed by people (`free_text` in sources.toml)"));
        Self { fault: self.fault.or(typed), shape }
    }

    /// A function made something of it, and nobody knows what of.
    fn passed_on(self) -> Self {
        Self { fault: self.fault(), shape: Shape::Any }
    }
}

/// The roots of a view, and later the bindings of a plan.
#[derive(Clone, Debug, Default)]
pub struct Flows(BTreeMap<String, Flow>);

impl Flows {
    pub fn of_view(view: &Shape) -> Self {
        let Shape::Object(members) = view else { return Self::default() };
        let flow = |name: &str, shape: &Shape| {
            let fault = (!OWNED.contains(&name)).then(|| reason(name));
            Flow { shape: shape.clone().there_at_all(), fault }
        };
        Self(members.iter().map(|(name, shape)| (name.clone(), flow(name, shape))).collect())
    }

    /// A later binding stands in the place of an earlier one of its name.
    pub fn bind(&mut self, name: &str, flow: Flow) {
        let because = |fault: String| format!("`{name}`: {fault}");
        self.0.insert(name.to_owned(), Flow { fault: flow.fault.map(because), ..flow });
    }

    pub fn of(&self, condition: &Condition) -> Flow {
        Walk { roots: &self.0, bound: Vec::new() }.flow(condition.expression())
    }
}

fn reason(root: &str) -> String {
    match root {
        "calls" => "`calls` holds what tools answered".to_owned(),
        "answer" => "`answer` is what models made of the answer".to_owned(),
        "reading" => "`reading` is what models made of the message".to_owned(),
        "message" => "`message` is what the sender typed".to_owned(),
        other => format!("`{other}` is not of a record"),
    }
}

struct Walk<'a> {
    roots: &'a BTreeMap<String, Flow>,
    /// Variables of comprehensions, the innermost last.
    bound: Vec<(String, Flow)>,
}

impl Walk<'_> {
    fn flow(&mut self, node: &IdedExpr) -> Flow {
        match &node.expr {
            Expr::Literal(_) => Flow::owned(Shape::Scalar),
            Expr::Ident(name) => {
                let bound = self.bound.iter().rev().find(|(known, _)| known == name).map(|(_, flow)| flow);
                let unknown = || Flow { shape: Shape::Any, fault: Some(reason(name)) };
                bound.or_else(|| self.roots.get(name)).cloned().unwrap_or_else(unknown)
            }
            Expr::Select(select) => self.flow(&select.operand).part_of(&select.field),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(parts) => self.comprehension(parts),
            Expr::List(list) => {
                let elements: Vec<Flow> = list.elements.iter().map(|element| self.flow(element)).collect();
                let shape = elements.iter().fold(Shape::nothing(), |shape, one| shape.or(one.shape.clone()));
                Flow::owned(Shape::List(Box::new(shape))).after(&elements)
            }
            Expr::Map(map) => {
                let (mut members, mut parts) = (BTreeMap::new(), Vec::new());
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            let (key, value) = (self.flow(&entry.key), self.flow(&entry.value));
                            match literal(&entry.key) {
                                Some(name) => drop(members.insert(name.to_owned(), value.shape.clone())),
                                None => parts.push(value.clone().passed_on()),
                            }
                            parts.extend([key, value]);
                        }
                        EntryExpr::StructField(_) => parts.push(unclear()),
                    }
                }
                Flow::owned(Shape::Object(members)).after(&parts)
            }
            Expr::Unspecified | Expr::Struct(_) => unclear(),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Flow {
        let target: Option<Flow> = call.target.as_ref().map(|target| self.flow(target));
        let given: Vec<Flow> = target.into_iter().chain(call.args.iter().map(|arg| self.flow(arg))).collect();
        match (call.func_name.as_str(), given.as_slice()) {
            ("_[_]", [of, at]) => match (&of.shape, call.args.get(1).and_then(literal)) {
                (Shape::List(element), _) => Flow::owned((**element).clone()).after([of, at]),
                (Shape::Object(_), Some(name)) => of.clone().part_of(name).after([at]),
                _ => of.clone().passed_on().after([at]),
            },
            ("_?_:_", [when, then, otherwise]) => {
                Flow::owned(then.shape.clone().or(otherwise.shape.clone())).after([when, then, otherwise])
            }
            ("_+_", [Flow { shape: Shape::List(one), .. }, Flow { shape: Shape::List(other), .. }]) => {
                let element = (**one).clone().or((**other).clone());
                Flow::owned(Shape::List(Box::new(element))).after(&given)
            }
            // How many there are says nothing of what they hold.
            ("size", _) => Flow::owned(Shape::Scalar).after(&given),
            _ => {
                let parts: Vec<Flow> = given.into_iter().map(Flow::passed_on).collect();
                Flow::owned(Shape::Any).after(&parts)
            }
        }
    }

    fn comprehension(&mut self, parts: &ComprehensionExpr) -> Flow {
        let range = self.flow(&parts.iter_range);
        let start = self.flow(&parts.accu_init);
        let element = match &range.shape {
            Shape::List(element) => (**element).clone(),
            // Names of members, which the declaration has.
            Shape::Object(_) if parts.iter_var2.is_none() => Shape::Scalar,
            other => other.clone(),
        };
        let depth = self.bound.len();
        self.bound.push((parts.iter_var.clone(), Flow { shape: element, fault: range.fault.clone() }));
        let second = Flow { fault: range.fault(), shape: Shape::Any };
        self.bound.extend(parts.iter_var2.clone().map(|name| (name, second)));
        self.bound.push((parts.accu_var.clone(), start.clone()));
        let (goes_on, step) = (self.flow(&parts.loop_cond), self.flow(&parts.loop_step));
        self.bound.pop();
        let gathered = Flow { shape: start.shape.clone().or(step.shape.clone()), fault: step.fault.clone() };
        self.bound.push((parts.accu_var.clone(), gathered));
        let result = self.flow(&parts.result);
        self.bound.truncate(depth);
        result.after([&range, &start, &goes_on, &step])
    }
}

fn unclear() -> Flow {
    Flow { shape: Shape::Any, fault: Some("it cannot be followed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows() -> Flows {
        let record = Shape::of_paths([
            "id",
            "status",
            "address.street",
            "cards[].id",
            "cards[].status",
            "orders[].id",
            "orders[].memo",
        ])
        .with_free(["orders[].memo", "not.there"]);
        Flows::of_view(&Shape::object([
            ("record", record.clone()),
            ("records", Shape::List(Box::new(record))),
            ("identity", Shape::of_paths(["verified"])),
            ("reading", Shape::of_paths(["leaf"])),
            ("message", Shape::of_paths(["text"])),
            ("calls", Shape::Any),
            ("facts", Shape::of_paths(["complete"])),
            ("now", Shape::Scalar),
        ]))
    }

    fn fault(source: &str) -> Option<String> {
        flows().of(&Condition::compile(source).unwrap()).fault()
    }

    #[test]
    fn what_the_banks_systems_wrote_passes() {
        for source in [
            "record.id",
            "'lost'",
            "record.cards.filter(c, c.status != 'blocked')[0].id",
            "records.filter(r, r.status == 'open')[0].id",
            "record.orders.filter(o, record.orders.exists(p, p.id != o.id))[0].id",
            "record.cards.map(c, c.id)[0]",
            "{'street': record.address.street, 'n': size(record.orders)}",
            "size(record.orders) == 1 ? record.orders[0].id : 'none'",
            "record['id'] + '-' + string(size(record.cards))",
            "has(record.address) && identity.verified ? record.address : {'street': ''}",
            "{'o': record.orders[0]}.o.id",
        ] {
            assert_eq!(fault(source), None, "{source}");
        }
    }

    #[test]
    fn what_anybody_typed_or_a_tool_said_does_not_by_any_way() {
        for (source, told) in [
            ("message.text", "sender typed"),
            ("reading.leaf", "models"),
            ("calls.open.result.id", "tools answered"),
            ("calls['open'].result.id", "tools answered"),
            ("now", "not of a record"),
            ("facts.complete ? record.id : 'x'", "not of a record"),
            ("reading.leaf == 'a' ? record.cards[0].id : record.cards[1].id", "models"),
            ("'card-' + message.text", "sender typed"),
            ("record.cards.filter(c, c.id == message.text)[0].id", "sender typed"),
            ("record.cards.map(c, message.text)[0]", "sender typed"),
            ("[calls.a.result].map(c, c.id)[0]", "tools answered"),
            ("[record.id, message.text][0]", "sender typed"),
            ("{'a': record.id, 'b': message.text}.a", "sender typed"),
            ("{message.text: record.id}", "sender typed"),
            ("message.text.startsWith('x') ? 'a' : 'b'", "sender typed"),
            ("record.id.replace('a', message.text)", "sender typed"),
            ("record.cards[size(message.text)].id", "sender typed"),
            ("strange", "not of a record"),
            // Free text within a field of the bank's systems.
            ("record.orders[0].memo", "typed by people"),
            ("record.orders[0]['memo']", "typed by people"),
            ("record.orders[0]", "people typed"),
            ("record.orders", "people typed"),
            ("record", "people typed"),
            ("records[0]", "people typed"),
            ("record.orders[0][record.id]", "people typed"),
            ("record.orders.map(o, o.memo)[0]", "typed by people"),
            ("record.orders.map(o, o)[0].memo", "typed by people"),
            ("record.orders.filter(o, o.memo == 'now')[0].id", "typed by people"),
            ("string(record.orders[0])", "people typed"),
            ("{'o': record.orders[0]}.o.memo", "typed by people"),
            ("(size(record.cards) > 0 ? record.orders : [])[0].memo", "typed by people"),
            ("(record.orders + [])[0].memo", "typed by people"),
            ("record.orders[0] == record.orders[1] ? 'a' : 'b'", "people typed"),
        ] {
            let found = fault(source);
            assert!(found.as_ref().is_some_and(|fault| fault.contains(told)), "{source}: {found:?}");
        }
    }

    #[test]
    fn a_binding_is_what_it_was_made_of_last() {
        let mut flows = flows();
        let of = |flows: &Flows, source: &str| flows.of(&Condition::compile(source).unwrap());
        let card = of(&flows, "record.cards[0]");
        flows.bind("x", card);
        assert_eq!(of(&flows, "x.id").fault(), None);
        let orders = of(&flows, "record.orders");
        flows.bind("orders", orders);
        assert_eq!(of(&flows, "orders[0].id").fault(), None);
        assert!(of(&flows, "orders[0].memo").fault().is_some());
        let answer = of(&flows, "calls.a.result");
        flows.bind("x", answer);
        assert!(of(&flows, "x.id").fault().unwrap().contains("`x`: `calls`"));
        // A variable of the same name hides it.
        assert_eq!(of(&flows, "record.cards.map(x, x.id)[0]").fault(), None);
    }
}
