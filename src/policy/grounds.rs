//! What the bank's own documents say.

use crate::base::{Digest, Language, Probability};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The passages found for one question, best first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grounds {
    pub id: String,
    pub passages: Vec<Passage>,
    /// How likely it is that one of the passages answers the question.
    pub answerable: Probability,
    /// False: no passage answers this; the passages are the nearest there are. Where words alone are compared: whether
    /// any passage has one of them.
    #[serde(default)]
    pub answered: bool,
    /// The index generation that was searched.
    pub generation: Digest,
}

/// A quotable piece of one document. `text` is exactly the characters `start..end` (Unicode scalar
/// values) of the document's body.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Passage {
    pub document: String,
    pub version: String,
    pub title: String,
    pub language: Language,
    pub section: Vec<String>,
    pub text: String,
    pub start: usize,
    pub end: usize,
    pub page: Option<u32>,
    pub audience: Audience,
    pub score: f64,
    /// What of the text answers, in its order; empty where the search compares words alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<Sentence>,
}

/// A sentence, list item or table row of a passage: exactly the characters `start..end` of the document's body.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sentence {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

/// Whom a document is for. Written `public`, `internal`, or the names of roles with commas between them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Audience {
    Public,
    /// All of the bank.
    Internal,
    /// Those of the bank who have one of these roles.
    Roles(BTreeSet<String>),
}

impl Audience {
    /// What a document may say of itself.
    pub const FORM: &str = "`public`, `internal`, or names of roles with commas between them";

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "public" => return Some(Self::Public),
            "internal" => return Some(Self::Internal),
            _ => {}
        }
        let roles: BTreeSet<String> = text.split(',').map(|role| role.trim().to_owned()).collect();
        let fits = |role: &String| {
            let letters = role.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            !role.is_empty() && letters && !["public", "internal", "all"].contains(&role.as_str())
        };
        roles.iter().all(fits).then_some(Self::Roles(roles))
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Internal => f.write_str("internal"),
            Self::Roles(roles) => f.write_str(&roles.iter().cloned().collect::<Vec<_>>().join(", ")),
        }
    }
}

impl From<Audience> for String {
    fn from(audience: Audience) -> Self {
        audience.to_string()
    }
}

impl TryFrom<String> for Audience {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("audience `{text}` is not {}", Self::FORM))
    }
}

/// What somebody may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clearance {
    Public,
    /// What is public, what is for all of the bank, and what is for these roles.
    Internal(BTreeSet<String>),
    All,
}

impl Clearance {
    /// Of somebody of the bank with one role.
    pub fn role(name: &str) -> Self {
        Self::Internal(BTreeSet::from([name.to_owned()]))
    }

    /// `public`, `internal`, `all`, or a role's name.
    pub fn parse(text: &str) -> Option<Self> {
        match (text, Audience::parse(text)) {
            ("all", _) => Some(Self::All),
            (_, Some(Audience::Public)) => Some(Self::Public),
            (_, Some(Audience::Internal)) => Some(Self::Internal(BTreeSet::new())),
            (_, Some(Audience::Roles(roles))) => Some(Self::Internal(roles)),
            (_, None) => None,
        }
    }

    pub fn sees(&self, audience: &Audience) -> bool {
        match (self, audience) {
            (Self::All, _) | (_, Audience::Public) => true,
            (Self::Internal(_), Audience::Internal) => true,
            (Self::Internal(own), Audience::Roles(roles)) => !own.is_disjoint(roles),
            (Self::Public, Audience::Internal | Audience::Roles(_)) => false,
        }
    }

    /// What is both allowed and wanted: a wish never widens it.
    pub fn narrowed(self, wanted: Self) -> Self {
        match (self, wanted) {
            (Self::All, wanted) => wanted,
            (most, Self::All) => most,
            (Self::Public, _) | (_, Self::Public) => Self::Public,
            (Self::Internal(own), Self::Internal(wanted)) => {
                Self::Internal(own.intersection(&wanted).cloned().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_seen_by_those_it_is_for() {
        let audience = |text: &str| Audience::parse(text).unwrap();
        let clearance = |text: &str| Clearance::parse(text).unwrap();
        for (who, sees) in [
            ("public", [true, false, false]),
            ("internal", [true, true, false]),
            ("fraud", [true, true, true]),
            ("cashier", [true, true, false]),
            ("all", [true, true, true]),
        ] {
            let seen = ["public", "internal", "fraud, security"].map(|of| clearance(who).sees(&audience(of)));
            assert_eq!(seen, sees, "{who}");
        }
        for bad in ["", "Public", "a b", "fraud,", "all", "fraud, internal"] {
            assert_eq!(Audience::parse(bad), None, "{bad}");
        }
        assert_eq!(audience("security,fraud").to_string(), "fraud, security");
    }

    #[test]
    fn a_wish_only_narrows() {
        let clearance = |text: &str| Clearance::parse(text).unwrap();
        for (most, wanted, left) in [
            ("public", "all", "public"),
            ("public", "fraud", "public"),
            ("fraud", "all", "fraud"),
            ("fraud", "internal", "internal"),
            ("fraud", "cashier", "internal"),
            ("fraud", "public", "public"),
            ("all", "fraud", "fraud"),
        ] {
            assert_eq!(clearance(most).narrowed(clearance(wanted)), clearance(left), "{most} {wanted}");
        }
    }
}
