//! The tree of a page, as a browser would build it, in one row of nodes.

use super::super::error::Unreadable;
use html5ever::driver::ParseOpts;
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, ExpandedName, LocalName, Namespace, QualName, ns, parse_document};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

/// The number of a node.
pub type Id = usize;

pub enum Content {
    Text(String),
    Element {
        name: String,
        attributes: Vec<(String, String)>,
    },
    /// The page itself, comments, and what else shows nothing.
    Nothing,
}

pub struct Node {
    pub content: Content,
    pub parent: Option<Id>,
    pub children: Vec<Id>,
    depth: usize,
}

pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    pub fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub fn all(&self) -> impl Iterator<Item = (Id, &Node)> {
        self.nodes.iter().enumerate()
    }

    pub fn name(&self, id: Id) -> &str {
        match self.node(id).map(|node| &node.content) {
            Some(Content::Element { name, .. }) => name,
            _ => "",
        }
    }

    pub fn attribute(&self, id: Id, wanted: &str) -> Option<&str> {
        match &self.node(id)?.content {
            Content::Element { attributes, .. } => {
                attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
            }
            _ => None,
        }
    }
}

/// Bytes that are parsed before the depth is looked at again.
const PORTION: usize = 4096;

pub fn parse(text: &str, deepest: usize) -> Result<Tree, Unreadable> {
    let sink =
        Sink { nodes: RefCell::new(Vec::new()), names: RefCell::new(Vec::new()), deepest: Cell::new(0) };
    sink.add(Content::Nothing, None);
    let mut parser = parse_document(sink, ParseOpts::default());
    let mut rest = text;
    while !rest.is_empty() {
        let (portion, behind) = rest.split_at(rest.floor_char_boundary(PORTION.min(rest.len())));
        parser.process(StrTendril::from(portion));
        rest = behind;
        // An element takes its place in a time that grows with how deep it stands.
        if parser.tokenizer.sink.sink.deepest.get() > deepest {
            return Err(Unreadable::Nested { limit: deepest });
        }
    }
    let tree = parser.finish();
    let nested = tree.nodes.iter().any(|node| node.depth > deepest);
    if nested { Err(Unreadable::Nested { limit: deepest }) } else { Ok(tree) }
}

struct Sink {
    nodes: RefCell<Vec<Node>>,
    names: RefCell<Vec<Option<QualName>>>,
    deepest: Cell<usize>,
}

impl Sink {
    fn add(&self, content: Content, name: Option<QualName>) -> Id {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { content, parent: None, children: Vec::new(), depth: 0 });
        self.names.borrow_mut().push(name);
        nodes.len() - 1
    }

    /// Puts a child at a place among a parent's children, or behind the last. Text joins the text before it.
    fn put(&self, parent: Id, child: NodeOrText<Id>, before: Option<Id>) {
        let child = match child {
            NodeOrText::AppendText(text) => {
                if self.join(parent, &text, before) {
                    return;
                }
                self.add(Content::Text(text.to_string()), None)
            }
            NodeOrText::AppendNode(id) => id,
        };
        self.remove_from_parent(&child);
        let mut nodes = self.nodes.borrow_mut();
        let Some(depth) = nodes.get(parent).map(|node| node.depth + 1) else { return };
        let is_element = nodes.get(child).is_some_and(|node| matches!(node.content, Content::Element { .. }));
        if is_element {
            self.deepest.set(self.deepest.get().max(depth));
        }
        if let Some(node) = nodes.get_mut(child) {
            node.parent = Some(parent);
            node.depth = depth;
        }
        if let Some(node) = nodes.get_mut(parent) {
            let place = before.and_then(|before| node.children.iter().rposition(|id| *id == before));
            node.children.insert(place.unwrap_or(node.children.len()), child);
        }
    }

    fn join(&self, parent: Id, text: &str, before: Option<Id>) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let neighbour = nodes.get(parent).and_then(|node| match before {
            None => node.children.last().copied(),
            Some(before) => {
                let place = node.children.iter().rposition(|id| *id == before)?;
                node.children.get(place.checked_sub(1)?).copied()
            }
        });
        match neighbour.and_then(|id| nodes.get_mut(id)).map(|node| &mut node.content) {
            Some(Content::Text(present)) => {
                present.push_str(text);
                true
            }
            _ => false,
        }
    }

    fn parent(&self, id: Id) -> Option<Id> {
        self.nodes.borrow().get(id).and_then(|node| node.parent)
    }
}

/// An element's name, as the builder asks for it.
#[derive(Debug)]
pub struct Name(Namespace, LocalName);

impl html5ever::tree_builder::ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.0
    }

    fn local_name(&self) -> &LocalName {
        &self.1
    }

    fn expanded(&self) -> ExpandedName<'_> {
        ExpandedName { ns: &self.0, local: &self.1 }
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = Tree;
    type ElemName<'a> = Name;

    fn finish(self) -> Tree {
        Tree { nodes: self.nodes.into_inner() }
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        0
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Name {
        match self.names.borrow().get(*target) {
            Some(Some(name)) => Name(name.ns.clone(), name.local.clone()),
            _ => Name(ns!(), LocalName::from("")),
        }
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Id {
        let attributes =
            attributes.into_iter().map(|a| (a.name.local.to_string(), a.value.to_string())).collect();
        self.add(Content::Element { name: name.local.to_string(), attributes }, Some(name))
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.add(Content::Nothing, None)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.add(Content::Nothing, None)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        self.put(*parent, child, None);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        if self.parent(*element).is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Id) -> Id {
        *target
    }

    fn same_node(&self, one: &Id, other: &Id) -> bool {
        one == other
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, new: NodeOrText<Id>) {
        if let Some(parent) = self.parent(*sibling) {
            self.put(parent, new, Some(*sibling));
        }
    }

    fn add_attrs_if_missing(&self, target: &Id, more: Vec<Attribute>) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(Content::Element { attributes, .. }) =
            nodes.get_mut(*target).map(|node| &mut node.content)
        {
            for attribute in more {
                let name = attribute.name.local.to_string();
                if !attributes.iter().any(|(present, _)| *present == name) {
                    attributes.push((name, attribute.value.to_string()));
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Id) {
        let mut nodes = self.nodes.borrow_mut();
        let parent = nodes.get_mut(*target).and_then(|node| node.parent.take());
        if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
            parent.children.retain(|child| child != target);
        }
    }

    fn reparent_children(&self, node: &Id, new_parent: &Id) {
        let mut nodes = self.nodes.borrow_mut();
        let children =
            nodes.get_mut(*node).map(|node| std::mem::take(&mut node.children)).unwrap_or_default();
        for child in &children {
            if let Some(child) = nodes.get_mut(*child) {
                child.parent = Some(*new_parent);
            }
        }
        if let Some(parent) = nodes.get_mut(*new_parent) {
            parent.children.extend(children);
        }
    }
}
