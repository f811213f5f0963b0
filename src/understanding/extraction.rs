//! Which fields are picked out of a message, in which groups, from `config/extraction.toml`.

use super::error::UnderstandingError;
use regex::Regex;
use serde::Deserialize;

#[derive(Clone, Debug)]
pub struct Extraction {
    pub groups: Vec<Group>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    /// Added to the score of every label but "outside", natural log units.
    pub lean: f64,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub id: String,
    /// Whether the ways a value may have been meant are listed.
    pub variants: bool,
    /// What a meant value looks like, matched against the whole of it.
    pub pattern: Option<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group: Vec<FileGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGroup {
    id: String,
    #[serde(default)]
    lean: f64,
    field: Vec<FileField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileField {
    id: String,
    #[serde(default)]
    variants: bool,
    pattern: Option<String>,
}

impl Extraction {
    /// Parses `config/extraction.toml`.
    pub fn parse(file: &str, text: &str) -> Result<Self, UnderstandingError> {
        let fail = |problem: String, remedy: &str| UnderstandingError::Pack {
            file: file.to_owned(),
            problem,
            remedy: remedy.to_owned(),
        };
        let parsed: File = toml::from_str(text).map_err(|error| {
            fail(error.to_string().trim().to_owned(), "see the comments at the top of the file")
        })?;
        let mut names = std::collections::BTreeSet::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut groups = Vec::new();
        for group in parsed.group {
            if !group.lean.is_finite() || !names.insert(group.id.clone()) {
                return Err(fail(
                    format!("group `{}` appears twice or leans by {}", group.id, group.lean),
                    "name every group once, with a finite `lean`",
                ));
            }
            let mut fields = Vec::new();
            for field in group.field {
                if !seen.insert(field.id.clone()) {
                    return Err(fail(format!("field `{}` appears twice", field.id), "remove one"));
                }
                let pattern = match &field.pattern {
                    None => None,
                    Some(text) => Some(Regex::new(&format!("^(?:{text})$")).map_err(|_| {
                        fail(
                            format!("`{text}` of field `{}` is no regular expression", field.id),
                            "correct it",
                        )
                    })?),
                };
                fields.push(Field { id: field.id, variants: field.variants, pattern });
            }
            groups.push(Group { id: group.id, lean: group.lean, fields });
        }
        Ok(Self { groups })
    }

    /// (group, field) positions.
    pub fn find(&self, field: &str) -> Option<(usize, usize)> {
        self.groups
            .iter()
            .enumerate()
            .find_map(|(g, group)| Some((g, group.fields.iter().position(|known| known.id == field)?)))
    }

    /// What the heads are trained for: field ids by group. Bundle and pack must agree on it.
    pub fn field_ids(&self) -> Vec<(String, Vec<String>)> {
        let ids = |group: &Group| group.fields.iter().map(|field| field.id.clone()).collect();
        self.groups.iter().map(|group| (group.id.clone(), ids(group))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pack_parses_and_patterns_fit_the_whole_value() {
        let pack = Extraction::parse("x.toml", include_str!("../../config/extraction.toml")).unwrap();
        let (group, field) = pack.find("account_number").unwrap();
        let pattern = pack.groups[group].fields[field].pattern.as_ref().unwrap();
        assert!(
            pattern.is_match("ABC01234") && !pattern.is_match("XABC01234") && !pattern.is_match("ABC012345")
        );
        assert!(pack.find("shoe_size").is_none());
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Extraction::parse("x.toml", text).unwrap_err().to_string();
        let field = "[[group.field]]\nid = \"a\"\n";
        assert!(error(&format!("[[group]]\nid = \"g\"\n{field}{field}")).contains("field `a` appears twice"));
        assert!(
            error(&format!("[[group]]\nid = \"g\"\n{field}pattern = \"[\"\n")).contains("`[` of field `a`")
        );
        assert!(error("[[group]]\nid = \"g\"\nlean = nan\nfield = []\n").contains("leans by NaN"));
    }
}
