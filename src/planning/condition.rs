//! Conditions and values in the Common Expression Language (CEL), decided in three values.

use cel::common::ast::{Expr, IdedExpr};
use cel::objects::{Key, Value as Cel};
use cel::{Context, Program};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A compiled expression and the text it came from.
pub struct Condition {
    source: String,
    program: Program,
}

/// What a condition says. `Unknown` carries the reason: a fact that is missing, or an evaluation that
/// failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Truth {
    True,
    False,
    Unknown(String),
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}

impl Condition {
    /// Compiles an expression; the error is the parser's text.
    pub fn compile(source: &str) -> Result<Self, String> {
        // The parser panics on some malformed inputs; a pack must not stop the program.
        let compiled = std::panic::catch_unwind(|| Program::compile(source))
            .map_err(|_| "the expression cannot be parsed".to_owned())?;
        let program = compiled.map_err(|error| error.to_string().replace('\n', " "))?;
        Ok(Self { source: source.to_owned(), program })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn expression(&self) -> &IdedExpr {
        self.program.expression()
    }

    /// Decides over a view, a JSON object whose members are the variables.
    pub fn decide(&self, view: &Value) -> Truth {
        match self.evaluate(view) {
            Ok(Value::Bool(true)) => Truth::True,
            Ok(Value::Bool(false)) => Truth::False,
            Ok(_) => Truth::Unknown(format!("`{}` is neither true nor false", self.source)),
            Err(reason) => Truth::Unknown(reason),
        }
    }

    /// The value over a view. The error names the expression and never a value: values are personal data.
    pub fn evaluate(&self, view: &Value) -> Result<Value, String> {
        let mut context = Context::default();
        if let Value::Object(members) = view {
            for (name, value) in members {
                context.add_variable_from_value(name.as_str(), to_cel(value));
            }
        }
        let value = self.program.execute(&context).map_err(|error| match error {
            cel::ExecutionError::NoSuchKey(key) => format!("`{}`: there is no `{key}`", self.source),
            cel::ExecutionError::UndeclaredReference(name) => {
                format!("`{}`: there is no `{name}`", self.source)
            }
            _ => format!("`{}` cannot be evaluated", self.source),
        })?;
        value.json().map(sorted).map_err(|_| format!("`{}` gives no plain value", self.source))
    }

    /// The variables that the expression reads, its own loop variables excluded.
    pub fn roots(&self) -> BTreeSet<String> {
        let mut roots = BTreeSet::new();
        collect(self.expression(), &mut Vec::new(), &mut roots);
        roots
    }
}

fn collect(expression: &IdedExpr, bound: &mut Vec<String>, roots: &mut BTreeSet<String>) {
    match &expression.expr {
        Expr::Ident(name) => {
            if !bound.contains(name) {
                roots.insert(name.clone());
            }
        }
        Expr::Select(select) => collect(&select.operand, bound, roots),
        Expr::Call(call) => {
            if let Some(target) = &call.target {
                collect(target, bound, roots);
            }
            for argument in &call.args {
                collect(argument, bound, roots);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| collect(element, bound, roots)),
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, bound, roots);
            collect(&comprehension.accu_init, bound, roots);
            let depth = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.push(comprehension.accu_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                collect(part, bound, roots);
            }
            bound.truncate(depth);
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &entry.expr {
                    collect(&entry.key, bound, roots);
                    collect(&entry.value, bound, roots);
                }
            }
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

/// CEL keeps maps without order; sorted members give equal values equal text and equal digests.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// JSON integers become CEL `int`, so that they compare with literals.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)), Cel::Int)
        }
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, Cel> = members
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value)))
                .collect();
            Cel::Map(map.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decide(source: &str, view: Value) -> Truth {
        Condition::compile(source).unwrap().decide(&view)
    }

    #[test]
    fn integers_of_json_compare_with_literals() {
        assert_eq!(decide("facts.count == 1", json!({"facts": {"count": 1}})), Truth::True);
        assert_eq!(decide("facts.count > 1", json!({"facts": {"count": 1}})), Truth::False);
    }

    #[test]
    fn a_missing_fact_is_unknown_and_never_false() {
        assert!(matches!(decide("record.flags.fraud", json!({"record": {}})), Truth::Unknown(_)));
        assert!(matches!(decide("!record.flags.fraud", json!({"record": {}})), Truth::Unknown(_)));
        assert!(matches!(decide("record.flags.fraud", json!({})), Truth::Unknown(_)));
        assert!(matches!(
            decide("record.flags.fraud", json!({"record": {"flags": {"fraud": "no"}}})),
            Truth::Unknown(_)
        ));
    }

    #[test]
    fn the_reason_names_the_expression_and_no_value() {
        let truth = decide("record.name > 3", json!({"record": {"name": "Huber"}}));
        let Truth::Unknown(reason) = truth else { panic!("{truth:?}") };
        assert!(reason.contains("record.name > 3") && !reason.contains("Huber"), "{reason}");
    }

    #[test]
    fn lists_can_be_searched() {
        let view =
            json!({"record": {"cards": [{"id": "a", "status": "active"}, {"id": "b", "status": "blocked"}]}});
        let active = Condition::compile("record.cards.filter(c, c.status == 'active')").unwrap();
        assert_eq!(active.evaluate(&view).unwrap(), json!([{"id": "a", "status": "active"}]));
        assert_eq!(active.roots().into_iter().collect::<Vec<_>>(), ["record"]);
    }

    #[test]
    fn times_can_be_compared() {
        let view = json!({"a": "2026-05-01T10:00:00Z", "b": "2026-05-03T09:00:00Z"});
        assert_eq!(decide("timestamp(b) - timestamp(a) < duration('72h')", view), Truth::True);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for source in ["facts.count ==", "(", "a b", "", "'"] {
            assert!(Condition::compile(source).is_err(), "{source}");
        }
    }
}
