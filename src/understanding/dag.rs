//! The intents of a pack as a rooted graph of depth two, from `config/intents.toml`.

use super::error::UnderstandingError;
use crate::base::Language;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The graph in the order of the file. A leaf under several parents is one leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct Dag {
    pub parents: Vec<Parent>,
    pub leaves: Vec<Leaf>,
    /// (parent, leaf), grouped by parent.
    pub edges: Vec<(usize, usize)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    pub id: String,
    pub titles: Titles,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub id: String,
    pub titles: Titles,
    /// One sentence: what the leaf is and what it is not.
    pub definition: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Titles {
    pub en: String,
    pub de: String,
}

impl Titles {
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::De => &self.de,
            Language::En => &self.en,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    parent: Vec<FileParent>,
    leaf: BTreeMap<String, FileLeaf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileParent {
    id: String,
    en: String,
    de: String,
    leaves: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLeaf {
    en: String,
    de: String,
    definition: String,
}

impl Dag {
    /// Parses `config/intents.toml`. Every parent with leaves gets a leaf `<parent>_other` beside them; a
    /// parent without leaves is itself a leaf.
    pub fn parse(file: &str, text: &str) -> Result<Self, UnderstandingError> {
        let fail = |problem: String, remedy: &str| UnderstandingError::Pack {
            file: file.to_owned(),
            problem,
            remedy: remedy.to_owned(),
        };
        let parsed: File = toml::from_str(text).map_err(|error| {
            fail(error.to_string().trim().to_owned(), "see the comments at the top of the file")
        })?;
        let mut dag = Self { parents: Vec::new(), leaves: Vec::new(), edges: Vec::new() };
        let mut used = BTreeSet::new();
        for parent in parsed.parent {
            if dag.parents.iter().any(|known| known.id == parent.id) {
                return Err(fail(format!("parent `{}` appears twice", parent.id), "remove one"));
            }
            let mut children = parent.leaves.clone();
            let other = if children.is_empty() { parent.id.clone() } else { format!("{}_other", parent.id) };
            children.push(other);
            for id in children {
                let leaf = parsed.leaf.get(&id).ok_or_else(|| {
                    fail(
                        format!("leaf `{id}` of parent `{}` is not described", parent.id),
                        "add it under `[leaf]`",
                    )
                })?;
                dag.join(id.clone(), leaf);
                used.insert(id);
            }
            dag.parents.push(Parent { id: parent.id, titles: Titles { en: parent.en, de: parent.de } });
        }
        if let Some(id) = parsed.leaf.keys().find(|id| !used.contains(*id)) {
            return Err(fail(
                format!("leaf `{id}` stands under no parent"),
                "name it in a parent's `leaves`",
            ));
        }
        if dag.parent("other").is_none() {
            return Err(fail("there is no parent `other`".to_owned(), "add it, without leaves"));
        }
        Ok(dag)
    }

    /// Adds an edge from the parent that comes next.
    fn join(&mut self, id: String, leaf: &FileLeaf) {
        let at = self.leaf(&id).unwrap_or_else(|| {
            let titles = Titles { en: leaf.en.clone(), de: leaf.de.clone() };
            self.leaves.push(Leaf { id, titles, definition: leaf.definition.clone() });
            self.leaves.len() - 1
        });
        self.edges.push((self.parents.len(), at));
    }

    pub fn leaf(&self, id: &str) -> Option<usize> {
        self.leaves.iter().position(|leaf| leaf.id == id)
    }

    pub fn parent(&self, id: &str) -> Option<usize> {
        self.parents.iter().position(|parent| parent.id == id)
    }

    /// The edges of each parent, as positions in `edges`.
    pub fn children(&self) -> Vec<std::ops::Range<usize>> {
        let mut ranges = Vec::new();
        let mut from = 0;
        for parent in 0..self.parents.len() {
            let count = self.edges.iter().filter(|(p, _)| *p == parent).count();
            ranges.push(from..from + count);
            from += count;
        }
        ranges
    }

    /// What the heads are trained for: (parent, leaf) ids in order. Bundle and pack must agree on it.
    pub fn edge_ids(&self) -> Vec<(String, String)> {
        let id = |(parent, leaf): &(usize, usize)| {
            Some((self.parents.get(*parent)?.id.clone(), self.leaves.get(*leaf)?.id.clone()))
        };
        self.edges.iter().filter_map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = include_str!("../../config/intents.toml");

    #[test]
    fn the_default_pack_has_shared_leaves_and_an_other_everywhere() {
        let dag = Dag::parse("config/intents.toml", PACK).unwrap();
        let parents = |leaf: &str| dag.edges.iter().filter(|(_, l)| Some(*l) == dag.leaf(leaf)).count();
        assert_eq!((dag.parents.len(), parents("account_locked"), parents("cards_other")), (15, 2, 1));
        assert_eq!((parents("other"), parents("talk_to_human"), dag.leaf("other_other")), (1, 1, None));
        let sizes: Vec<usize> = dag.children().into_iter().map(|range| range.len()).collect();
        assert_eq!((sizes.iter().sum::<usize>(), sizes[0]), (dag.edges.len(), 5));
        assert!(dag.leaves.iter().all(|leaf| leaf.definition.len() > 20 && !leaf.titles.de.is_empty()));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Dag::parse("x.toml", text).unwrap_err().to_string();
        let other = "[[parent]]\nid = \"other\"\nen = \"\"\nde = \"\"\nleaves = []\n";
        let leaf = "[leaf]\nother = { en = \"\", de = \"\", definition = \"\" }\n";
        assert!(error("x = 1").contains("unknown field"));
        assert!(error(&format!("{other}{other}{leaf}")).contains("`other` appears twice"));
        assert!(error(&format!("{other}[leaf]\n")).contains("`other` of parent `other` is not described"));
        assert!(
            error(&format!("{other}{leaf}stray = {{ en = \"\", de = \"\", definition = \"\" }}\n"))
                .contains("`stray`")
        );
    }
}
