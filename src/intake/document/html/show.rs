//! What the tree of a page shows, as blocks.

use super::super::Text;
use super::super::error::Unreadable;
use super::super::limits::Limits;
use super::super::markdown::{Markdown, Marker, clean, squeezed};
use super::tree::{Content, Id, Tree};
use std::collections::{HashMap, HashSet};

/// Elements whose text is not part of what a page says.
const SILENT: [&str; 15] = [
    "script", "style", "head", "template", "noscript", "nav", "svg", "math", "iframe", "object", "select",
    "textarea", "button", "audio", "video",
];

const BLOCKS: [&str; 27] = [
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
    "address",
    "blockquote",
    "figure",
    "figcaption",
    "details",
    "summary",
    "form",
    "fieldset",
    "legend",
    "dl",
    "dt",
    "dd",
    "center",
    "hr",
    "body",
    "html",
    "caption",
    "hgroup",
    "search",
];

/// A cell that says it covers more columns or rows is not believed.
const MOST_SPANNED: usize = 100;

pub fn shown(tree: &Tree, limits: &Limits) -> Result<Text, Unreadable> {
    let mut page = Page {
        tree,
        markdown: Markdown::new(limits.answer),
        line: String::new(),
        silent: HashSet::new(),
        notes: notes(tree),
        items: Vec::new(),
    };
    page.silent.extend(page.notes.values());
    page.block(0);
    page.end_line();
    let title =
        page.first("title").map(|id| squeezed(&clean(&page.all_text(id, false)))).filter(|t| !t.is_empty());
    let language = page.first("html").and_then(|id| tree.attribute(id, "lang")).and_then(language_of);
    let (text, _) = page.markdown.finish()?;
    Ok(Text { title, language, text, ..Text::default() })
}

fn language_of(text: &str) -> Option<String> {
    let first = text.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    ((2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(first)
}

/// Footnotes: for each link to one, the block that it leads to.
fn notes(tree: &Tree) -> HashMap<Id, Id> {
    let mut named: HashMap<&str, Id> = HashMap::new();
    for (id, _) in tree.all() {
        for name in [tree.attribute(id, "id"), tree.attribute(id, "name")].into_iter().flatten() {
            named.entry(name).or_insert(id);
        }
    }
    let mut notes = HashMap::new();
    for (id, _) in tree.all().filter(|(id, _)| tree.name(*id) == "a") {
        let target = tree.attribute(id, "href").and_then(|href| href.strip_prefix('#'));
        let Some(target) = target.and_then(|name| named.get(name)) else { continue };
        if is_mark(tree, id)
            && let Some(block) = block_of(tree, *target)
            && block_of(tree, id) != Some(block)
        {
            notes.insert(id, block);
        }
    }
    // A note leads back to its mark: that link is no mark of its own.
    let blocks: HashSet<Id> = notes.values().copied().collect();
    notes.retain(|mark, _| !ancestors(tree, *mark).any(|id| blocks.contains(&id)));
    notes
}

fn ancestors(tree: &Tree, id: Id) -> impl Iterator<Item = Id> {
    std::iter::successors(Some(id), |id| tree.node(*id)?.parent)
}

/// Whether a link is the mark of a footnote: it says so, or is raised.
fn is_mark(tree: &Tree, id: Id) -> bool {
    let says = |name: &str| {
        let value = tree.attribute(id, name).unwrap_or_default().to_ascii_lowercase();
        ["noteref", "footnote", "sdfootnoteanc", "sdendnoteanc"].iter().any(|word| value.contains(word))
    };
    let raised = || {
        let parent = tree.node(id).and_then(|node| node.parent);
        let child = tree.node(id).and_then(|node| node.children.first().copied());
        parent.into_iter().chain(child).any(|id| tree.name(id) == "sup")
    };
    says("role") || says("class") || says("type") || raised()
}

/// The paragraph or item that an element is, or is in.
fn block_of(tree: &Tree, id: Id) -> Option<Id> {
    ancestors(tree, id).find(|id| matches!(tree.name(*id), "li" | "p" | "aside" | "div" | "dd" | "td"))
}

struct Page<'a> {
    tree: &'a Tree,
    markdown: Markdown,
    /// Text that is not ended by a block yet.
    line: String,
    notes: HashMap<Id, Id>,
    /// The footnotes' own places: their text stands with the marks.
    silent: HashSet<Id>,
    /// For each list that is open: its next number, if it counts; and whether its open item has text.
    items: Vec<(Option<u64>, bool)>,
}

impl Page<'_> {
    fn first(&self, name: &str) -> Option<Id> {
        self.tree.all().map(|(id, _)| id).find(|id| self.tree.name(*id) == name)
    }

    fn is_hidden(&self, id: Id) -> bool {
        let style = self.tree.attribute(id, "style").unwrap_or_default();
        let style: String =
            style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        let hides = style.contains("display:none") || style.contains("visibility:hidden");
        hides || self.tree.attribute(id, "hidden").is_some() || self.silent.contains(&id)
    }

    /// Recursion is as deep as the tree, whose depth is limited.
    fn block(&mut self, id: Id) {
        let Some(node) = self.tree.node(id) else { return };
        for child in &node.children {
            if self.markdown.is_over() {
                return;
            }
            match self.tree.node(*child).map(|child| &child.content) {
                Some(Content::Text(text)) => self.line.push_str(&clean(text)),
                Some(Content::Element { name, .. }) => self.element(*child, name),
                _ => {}
            }
        }
    }

    fn element(&mut self, id: Id, name: &str) {
        if SILENT.contains(&name) || self.is_hidden(id) {
            return;
        }
        if let Some(note) = self.notes.get(&id).copied() {
            let text = self.note(note);
            let mark = self.markdown.footnote(&text);
            self.line.push_str(&mark);
            return;
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.end_line();
                let level = name.trim_start_matches('h').parse().unwrap_or(6);
                self.block(id);
                let text = std::mem::take(&mut self.line);
                self.markdown.heading(level, &text);
            }
            "br" => self.line.push('\n'),
            "ul" | "ol" | "menu" => self.list(id, name),
            "li" => self.item(id),
            "table" => self.table(id),
            "pre" => {
                self.end_line();
                let text = self.all_text(id, true);
                self.markdown.code(&text);
            }
            "wbr" | "img" | "input" => {}
            name if BLOCKS.contains(&name) => {
                self.end_line();
                self.block(id);
                self.end_line();
            }
            _ => self.block(id),
        }
    }

    fn list(&mut self, id: Id, name: &str) {
        self.end_line();
        let start = self.tree.attribute(id, "start").and_then(|start| start.trim().parse().ok());
        self.items.push(((name == "ol").then(|| start.unwrap_or(1)), true));
        self.block(id);
        self.end_line();
        self.items.pop();
    }

    fn item(&mut self, id: Id) {
        self.end_line();
        let loose = self.items.is_empty();
        if loose {
            self.items.push((None, true));
        }
        if let Some((_, begun)) = self.items.last_mut() {
            *begun = false;
        }
        self.block(id);
        self.end_line();
        if loose {
            self.items.pop();
        }
    }

    /// The text so far becomes a paragraph, or one of the open item.
    fn end_line(&mut self) {
        let text = std::mem::take(&mut self.line);
        if text.trim().is_empty() {
            return;
        }
        let depth = self.items.len();
        match self.items.last_mut() {
            None => self.markdown.paragraph(&text),
            Some((_, true)) => self.markdown.item(depth - 1, Marker::None, &text),
            Some((number, begun)) => {
                *begun = true;
                let marker = number.map_or(Marker::Bullet, Marker::Number);
                *number = number.map(|number| number.saturating_add(1));
                self.markdown.item(depth - 1, marker, &text);
            }
        }
    }

    fn table(&mut self, id: Id) {
        self.end_line();
        let mut rows = Vec::new();
        let mut captions = Vec::new();
        self.rows(id, &mut rows, &mut captions);
        for caption in captions {
            let text = self.all_text(caption, false);
            self.markdown.paragraph(&text);
        }
        // A table of one cell is a frame around what it has.
        if let [row] = &rows[..]
            && let [only] = &row[..]
        {
            self.block(*only);
            self.end_line();
            return;
        }
        let mut table: Vec<Vec<String>> = Vec::new();
        // Cells of rows above that reach down: rows left, by column.
        let mut reaching: HashMap<usize, usize> = HashMap::new();
        for cells in rows {
            let mut row = Vec::new();
            let mut begun: Vec<(usize, usize)> = Vec::new();
            for cell in cells {
                while reaching.contains_key(&row.len()) {
                    row.push(String::new());
                }
                let span = |name| self.tree.attribute(cell, name).and_then(|value| value.trim().parse().ok());
                let (columns, down) = (span("colspan").unwrap_or(1), span("rowspan").unwrap_or(1));
                let column = row.len();
                row.push(self.all_text(cell, false));
                for more in 0..columns.clamp(1, MOST_SPANNED) {
                    if more > 0 {
                        row.push(String::new());
                    }
                    if down > 1 {
                        begun.push((column + more, down.min(MOST_SPANNED)));
                    }
                }
            }
            reaching.retain(|_, left| {
                *left -= 1;
                *left > 0
            });
            reaching.extend(begun.into_iter().map(|(column, down)| (column, down - 1)));
            table.push(row);
        }
        self.markdown.table(&table);
    }

    /// The cells of a table's rows, not of tables inside it.
    fn rows(&self, id: Id, rows: &mut Vec<Vec<Id>>, captions: &mut Vec<Id>) {
        let Some(node) = self.tree.node(id) else { return };
        for child in node.children.iter().filter(|child| !self.is_hidden(**child)) {
            match self.tree.name(*child) {
                "thead" | "tbody" | "tfoot" => self.rows(*child, rows, captions),
                "tr" => {
                    let cells = self.tree.node(*child).map(|row| row.children.clone()).unwrap_or_default();
                    let is_cell = |id: &Id| matches!(self.tree.name(*id), "td" | "th");
                    rows.push(cells.into_iter().filter(is_cell).collect());
                }
                "caption" => captions.push(*child),
                _ => {}
            }
        }
    }

    /// All text below an element; blanks as they are, if wanted.
    fn all_text(&mut self, id: Id, as_it_is: bool) -> String {
        let mut text = String::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(node) = self.tree.node(id) else { continue };
            match &node.content {
                Content::Text(more) if as_it_is => {
                    text.extend(more.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')));
                }
                Content::Text(more) => text.push_str(&clean(more)),
                Content::Element { name, .. } if SILENT.contains(&name.as_str()) || self.is_hidden(id) => {}
                Content::Element { name, .. } => {
                    if let Some(note) = self.notes.get(&id).copied() {
                        let note = self.note(note);
                        text.push_str(&self.markdown.footnote(&note));
                        continue;
                    }
                    let apart =
                        BLOCKS.contains(&name.as_str()) || matches!(name.as_str(), "li" | "tr" | "td" | "th");
                    match name.as_str() {
                        "br" if as_it_is => text.push('\n'),
                        "br" => text.push(' '),
                        _ if apart && !as_it_is => text.push(' '),
                        _ => {}
                    }
                    open.extend(node.children.iter().rev());
                }
                Content::Nothing => open.extend(node.children.iter().rev()),
            }
        }
        text
    }

    /// A footnote's text, without the mark before it and the way back.
    fn note(&self, id: Id) -> String {
        let mut text = String::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(node) = self.tree.node(id) else { continue };
            match &node.content {
                Content::Text(more) => text.push_str(&clean(more)),
                Content::Element { name, .. } => {
                    let link = name == "a" || name == "sup";
                    let words = || node.children.iter().filter_map(|id| self.tree.node(*id));
                    let short = words().all(|node| match &node.content {
                        Content::Text(text) => text.trim().chars().count() <= 4,
                        _ => true,
                    });
                    if !(SILENT.contains(&name.as_str()) || (link && short)) {
                        open.extend(node.children.iter().rev());
                    }
                }
                Content::Nothing => {}
            }
        }
        squeezed(&text)
    }
}
