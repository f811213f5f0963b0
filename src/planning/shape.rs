//! What a view can contain: names, types, and what may be missing, so that a misspelt name or a word that a field never has is
//! found in a plan before it runs.

use crate::base::finding::suggestion;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The names and types that a value may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    Object(BTreeMap<String, Shape>),
    List(Box<Shape>),
    Bool,
    Int,
    /// With a fraction.
    Number,
    Text,
    /// A text that is a time, RFC 3339 in UTC.
    Time,
    /// A text that is a day, `YYYY-MM-DD`.
    Date,
    /// A text that is one of these words.
    OneOf(BTreeSet<String>),
    /// What `timestamp(...)` and `duration(...)` give.
    Timestamp,
    Duration,
    /// What may be missing, or null.
    Optional(Box<Shape>),
    /// A single value of a type that is not declared.
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

    pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::OneOf(words.into_iter().map(str::to_owned).collect())
    }

    pub fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub fn optional(of: Self) -> Self {
        Self::Optional(Box::new(of))
    }

    /// From dotted paths without types: `balance.minor`, `cards[].id`.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::Object(BTreeMap::new());
        for path in paths {
            root.add(&path.split('.').collect::<Vec<_>>(), Self::Scalar);
        }
        root
    }

    /// From declarations: a dotted path in which `[]` after a name makes it a list and `?` says that it may be missing, and
    /// after a colon the type, which may be left out: `cards[].order?.state: ordered|shipped`.
    ///
    /// # Errors
    /// Those that cannot be read, with what is allowed.
    pub fn declared<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<(&'a str, String)>> {
        let (mut root, mut faults) = (Self::Object(BTreeMap::new()), Vec::new());
        for declared in paths {
            let (path, kind) = declared.split_once(':').unwrap_or((declared, ""));
            match type_of(kind.trim()) {
                Ok(kind) => root.add(&path.trim().split('.').collect::<Vec<_>>(), kind),
                Err(message) => faults.push((declared, message)),
            }
        }
        if faults.is_empty() { Ok(root) } else { Err(faults) }
    }

    fn add(&mut self, segments: &[&str], kind: Self) {
        let Some((segment, rest)) = segments.split_first() else { return };
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(BTreeMap::new());
        }
        let Self::Object(members) = self else { return };
        let (segment, may_be_missing) =
            segment.strip_suffix('?').map_or((*segment, false), |name| (name, true));
        let (name, listed) = segment.strip_suffix("[]").map_or((segment, false), |name| (name, true));
        let member = members.entry(name.to_owned()).or_insert(Self::Scalar);
        if may_be_missing && !matches!(member, Self::Optional(_)) {
            *member = Self::optional(std::mem::replace(member, Self::Any));
        }
        let mut inner = if let Self::Optional(inner) = member { &mut **inner } else { member };
        if listed && !matches!(inner, Self::List(_)) {
            *inner = Self::list(Self::Scalar);
        }
        if let Self::List(element) = inner {
            inner = &mut **element;
        }
        match rest.is_empty() {
            true if *inner == Self::Scalar => *inner = kind,
            true => {}
            false => inner.add(rest, kind),
        }
    }

    /// Of a JSON schema (draft 2020-12), as far as it names types, words and members.
    pub fn of_schema(schema: &Value) -> Self {
        let words = |list: &Vec<Value>| list.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        if let Some(words) = schema.get("enum").and_then(Value::as_array).and_then(words) {
            return Self::OneOf(words);
        }
        if let Some(word) = schema.get("const").and_then(Value::as_str) {
            return Self::one_of([word]);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => {
                let required = schema.get("required").and_then(Value::as_array);
                let is_required = |name: &str| {
                    required.is_some_and(|all| all.iter().any(|known| known.as_str() == Some(name)))
                };
                // What is in it is not said.
                let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                    return Self::Any;
                };
                let member = |(name, schema): (&String, &Value)| {
                    let shape = Self::of_schema(schema);
                    (name.clone(), if is_required(name) { shape } else { Self::optional(shape) })
                };
                Self::Object(properties.iter().map(member).collect())
            }
            Some("array") => Self::list(schema.get("items").map_or(Self::Any, Self::of_schema)),
            Some("string") => Self::Text,
            Some("integer") => Self::Int,
            Some("number") => Self::Number,
            Some("boolean") => Self::Bool,
            _ => Self::Any,
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
        let Some(member) = members.get_mut(name) else { return };
        let inner = if let Self::Optional(inner) = member { &mut **inner } else { member };
        match inner {
            Self::List(element) if listed => element.mark(segments),
            member => member.mark(segments),
        }
    }

    /// Whether people typed some of it.
    pub fn has_free(&self) -> bool {
        match self {
            Self::Free => true,
            Self::Object(members) => members.values().any(Self::has_free),
            Self::List(element) | Self::Optional(element) => element.has_free(),
            _ => false,
        }
    }

    /// What an empty list holds.
    pub(super) const fn nothing() -> Self {
        Self::Object(BTreeMap::new())
    }

    /// Where it is there.
    pub(super) fn there_at_all(self) -> Self {
        match self {
            Self::Optional(shape) => *shape,
            shape => shape,
        }
    }

    /// The same value with the member at the path there.
    pub(super) fn there(self, path: &str) -> Self {
        let Self::Object(mut members) = self else { return self };
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        if let Some(shape) = members.remove(name) {
            let shape = match rest {
                None => shape.there_at_all(),
                Some(rest) => match shape {
                    Self::Optional(shape) => Self::optional(shape.there(rest)),
                    shape => shape.there(rest),
                },
            };
            members.insert(name.to_owned(), shape);
        }
        Self::Object(members)
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
            (Self::List(one), Self::List(other)) => Self::list(one.or(*other)),
            (Self::Optional(one), other) => Self::optional(one.or(other.there_at_all())),
            (one, Self::Optional(other)) => Self::optional(one.or(*other)),
            (Self::OneOf(one), Self::OneOf(other)) => Self::OneOf(one.into_iter().chain(other).collect()),
            (one, other) if one.has_free() || one == other => one,
            (_, other) if other.has_free() => other,
            (Self::Object(none), other) | (other, Self::Object(none)) if none.is_empty() => other,
            (one, other) => match (one.kind(), other.kind()) {
                (Some("number"), Some("number")) => Self::Number,
                (Some("text"), Some("text")) => Self::Text,
                _ => Self::Any,
            },
        }
    }

    pub fn with(mut self, name: &str, shape: Self) -> Self {
        if let Self::Object(members) = &mut self {
            members.insert(name.to_owned(), shape);
        }
        self
    }

    /// What it can be compared and computed with; `None` where that is not known.
    pub(super) const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Bool => Some("bool"),
            Self::Int | Self::Number => Some("number"),
            Self::Text | Self::Time | Self::Date | Self::OneOf(_) => Some("text"),
            Self::Timestamp => Some("timestamp"),
            Self::Duration => Some("duration"),
            Self::List(_) => Some("list"),
            Self::Object(_) => Some("object"),
            Self::Optional(_) | Self::Scalar | Self::Free | Self::Any => None,
        }
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Object(_) => "an object".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Int => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Text | Self::Free => "a text".to_owned(),
            Self::Time => "a text that is a time".to_owned(),
            Self::Date => "a text that is a day".to_owned(),
            Self::OneOf(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                format!("one of the words {}", words.join(", "))
            }
            Self::Timestamp => "a time".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Optional(shape) => shape.name(),
            Self::Scalar | Self::Any => "a value of any type".to_owned(),
        }
    }

    /// Why this cannot be given where the other one is wanted; a text that is written down counts as its own word.
    pub(super) fn unfit(&self, wanted: &Self, written: Option<&str>) -> Option<String> {
        match (self, wanted.clone().there_at_all()) {
            (_, Self::OneOf(words)) if written.is_some_and(|word| !words.contains(word)) => {
                let word = written.unwrap_or_default();
                let near = suggestion(word, words.iter().map(String::as_str));
                let allowed: Vec<&str> = words.iter().map(String::as_str).collect();
                Some(format!("`'{word}'` is not allowed{near}; allowed: {}", allowed.join(", ")))
            }
            (Self::OneOf(own), Self::OneOf(words)) if !own.is_subset(&words) => {
                let more: Vec<&str> = own.difference(&words).map(String::as_str).collect();
                Some(format!("it may be {}, which is not allowed", more.join(", ")))
            }
            (Self::Object(own), Self::Object(members)) => {
                let missing = members
                    .iter()
                    .find(|(name, shape)| !matches!(shape, Self::Optional(_)) && !own.contains_key(*name));
                let unknown = own.keys().find(|name| !members.contains_key(*name));
                let within = || {
                    let member = |(name, shape): (&String, &Self)| {
                        Some((name.clone(), own.get(name)?.unfit(shape, None)?))
                    };
                    members.iter().find_map(member)
                };
                match (missing, unknown) {
                    (Some((name, _)), _) => Some(format!("it lacks `{name}`")),
                    (None, Some(name)) => Some(format!("it has `{name}`, which is not allowed")),
                    (None, None) => within().map(|(name, why)| format!("its `{name}`: {why}")),
                }
            }
            (own, wanted) => match (own.kind(), wanted.kind()) {
                (Some(a), Some(b)) if a != b => {
                    Some(format!("it is {}, and {} is wanted", own.name(), wanted.name()))
                }
                _ => None,
            },
        }
    }
}

fn type_of(kind: &str) -> Result<Shape, String> {
    Ok(match kind {
        "" => Shape::Scalar,
        "bool" => Shape::Bool,
        "int" => Shape::Int,
        "number" => Shape::Number,
        "text" => Shape::Text,
        "time" => Shape::Time,
        "date" => Shape::Date,
        words => {
            let is_word = |word: &str| {
                !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
            };
            let words: BTreeSet<String> = words.split('|').map(|word| word.trim().to_owned()).collect();
            if words.len() < 2 || !words.iter().all(|word| is_word(word)) {
                return Err(format!(
                    "the type `{kind}` is not known; allowed: bool, int, number, text, time (RFC 3339), date (YYYY-MM-DD), or \
                     the words that it can be, such as `booked|pending`"
                ));
            }
            Shape::OneOf(words)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::Condition;
    use crate::planning::known::{Bindings, Known};
    use crate::planning::typing::{Scope, check};

    fn faults(source: &str) -> Vec<String> {
        let record =
            Shape::of_paths(["status", "flags.fraud", "cards[].id", "cards[].order.state", "balance.minor"]);
        let root = Shape::object([("record", record), ("facts", Shape::of_paths(["count"]))]);
        let known = Known::default().with(["record".to_owned()]);
        let cards = [("record.cards".to_owned(), 9)].into();
        let known = known.and(&Known { least: cards, ..Known::default() });
        let (bindings, of_record) = (Bindings::new(), std::collections::BTreeSet::new());
        let scope = Scope { view: &root, bindings: &bindings, of_record: &of_record };
        check(&Condition::compile(source).unwrap(), &scope, &known).0
    }

    #[test]
    fn right_names_pass() {
        for source in [
            "record.flags.fraud",
            "record.cards.exists(c, c.order.state == 'shipped')",
            "record.cards[0].order.state == 'shipped'",
            "size(record.cards.filter(c, c.id == 'x')) > 0 && record.cards.filter(c, c.id == 'x')[0].order.state == ''",
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
            ("record.cards.filter(c, c.id == 'x').exists(c, c.ordre.state == '')", "order"),
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
