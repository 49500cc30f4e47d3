//! Builds the tree of a document from parser events, within limits.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError};

use super::merge::merge;
use super::{
    Entry, MAX_BYTES, MAX_DEPTH, MAX_KEY_BYTES, MAX_NODES, Node, NodeKind, Scalar, SyntaxError,
};
use crate::source::Span;

/// The limit for the nodes that anchors keep, which is the limit for a document.
const MAX_ANCHORED: Weight = Weight { nodes: MAX_NODES, bytes: MAX_BYTES };
/// The limit for the nodes that aliases copy.
const MAX_ALIASED: Weight = Weight { nodes: 10_000, bytes: 1 << 20 };

/// Parses a text whose length was checked.
pub(super) fn document(text: &str) -> Result<Node, SyntaxError> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
        builder.handle(event, &span)?;
    }
    builder.finish()
}

/// The number of nodes and bytes of a tree, to be compared with a limit.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
}

impl Weight {
    fn of(node: &Node) -> Self {
        let mut weight = Self { nodes: 1, bytes: 0 };
        match &node.kind {
            NodeKind::Scalar(scalar) => weight.bytes += scalar.text.len(),
            NodeKind::Sequence(items) => items.iter().for_each(|item| weight.add(Self::of(item))),
            NodeKind::Mapping(entries) => {
                for entry in entries {
                    weight.add(Self::of(&entry.key));
                    weight.add(Self::of(&entry.value));
                }
            }
        }
        weight
    }

    fn add(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.bytes += other.bytes;
    }

    fn exceeds(self, limit: Self) -> bool {
        self.nodes > limit.nodes || self.bytes > limit.bytes
    }
}

/// A collection whose end was not read yet.
struct Open {
    is_mapping: bool,
    start: usize,
    /// The end of the last child.
    end: usize,
    anchor: usize,
    /// The index of the first child in [`Builder::children`].
    children: usize,
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    /// The children of all open collections; finally the root.
    ///
    /// Keys and values of mappings alternate. A collection is allocated at its end, when its size
    /// is known.
    children: Vec<Node>,
    documents: usize,
    nodes: usize,
    anchors: HashMap<usize, Node>,
    anchored: Weight,
    aliased: Weight,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            open: Vec::new(),
            children: Vec::new(),
            documents: 0,
            nodes: 0,
            anchors: HashMap::new(),
            anchored: Weight::default(),
            aliased: Weight::default(),
        }
    }

    fn handle(&mut self, event: Event<'_>, span: &granit_parser::Span) -> Result<(), SyntaxError> {
        let span = byte_span(self.text, span);
        match event {
            Event::DocumentStart(..) => self.begin_document(span),
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_text;
                let span = self.trim(span);
                // The parser represents an empty node by the text `~`.
                let is_empty = plain && text == "~" && self.text.get(span.range()) != Some("~");
                let text = if is_empty { "".into() } else { text.into() };
                self.complete(Node { kind: NodeKind::Scalar(Scalar { text, plain }), span }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(false, span, anchor),
            Event::MappingStart(_, anchor, _) => self.begin(true, span, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            _ => Ok(()),
        }
    }

    /// Removes the whitespace after a scalar from its span.
    fn trim(&self, span: Span) -> Span {
        let covered = self.text.get(span.range()).unwrap_or_default();
        Span { start: span.start, end: span.start + covered.trim_end().len() }
    }

    fn begin_document(&mut self, span: Span) -> Result<(), SyntaxError> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        Err(SyntaxError {
            message: "a second YAML document begins here".to_owned(),
            help: Some("keep one document per file: split the file, or remove the `---`"),
            span: self.trim(span),
        })
    }

    fn begin(&mut self, is_mapping: bool, span: Span, anchor: usize) -> Result<(), SyntaxError> {
        if self.open.len() == MAX_DEPTH {
            return Err(too_deep(self.trim(span)));
        }
        let children = self.children.len();
        self.open.push(Open { is_mapping, start: span.start, end: span.end, anchor, children });
        Ok(())
    }

    /// Closes a collection.
    ///
    /// A flow collection ends with its bracket, a block collection with its last child.
    fn end(&mut self, bracket: Span) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let end = if bracket.start < bracket.end { bracket.end } else { open.end };
        let span = Span { start: open.start, end: end.max(open.start) };
        let mut children = self.children.drain(open.children..);
        let kind = if open.is_mapping {
            let mut entries = Vec::with_capacity(children.len() / 2);
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                entries.push(Entry { key, value });
            }
            NodeKind::Mapping(merge(self.text, entries)?.into_boxed_slice())
        } else {
            NodeKind::Sequence(children.by_ref().collect())
        };
        drop(children);
        self.complete(Node { kind, span }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), SyntaxError> {
        let target = self
            .anchors
            .get(&anchor)
            .ok_or_else(|| alias_error("the alias is inside its own anchor", span))?;
        let weight = Weight::of(target);
        self.aliased.add(weight);
        if self.aliased.exceeds(MAX_ALIASED) {
            return Err(alias_error("aliases expand too much", span));
        }
        // `complete` counts the root of the copy.
        self.nodes += weight.nodes - 1;
        let node = Node { kind: target.kind.clone(), span };
        self.complete(node, 0)
    }

    fn anchor(&mut self, node: &Node, anchor: usize) -> Result<(), SyntaxError> {
        self.anchored.add(Weight::of(node));
        if self.anchored.exceeds(MAX_ANCHORED) {
            return Err(alias_error("nested anchors are too large", node.span));
        }
        self.anchors.insert(anchor, node.clone());
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(too_many(node.span));
        }
        if anchor != 0 {
            self.anchor(&node, anchor)?;
        }
        if let Some(open) = self.open.last_mut() {
            let is_key = open.is_mapping && (self.children.len() - open.children).is_multiple_of(2);
            if is_key && node.text().is_some_and(|key| key.len() > MAX_KEY_BYTES) {
                return Err(too_long(node.span));
            }
            open.end = node.span.end;
        }
        self.children.push(node);
        Ok(())
    }

    fn finish(mut self) -> Result<Node, SyntaxError> {
        self.children.pop().ok_or_else(|| SyntaxError {
            message: "the file is empty".to_owned(),
            help: None,
            span: Span::default(),
        })
    }
}

fn byte_span(text: &str, span: &granit_parser::Span) -> Span {
    let range = span.byte_range().unwrap_or(text.len()..text.len());
    Span { start: range.start.min(text.len()), end: range.end.min(text.len()) }
}

fn alias_error(message: &str, span: Span) -> SyntaxError {
    SyntaxError {
        message: message.to_owned(),
        help: Some("write the value instead of an alias"),
        span,
    }
}

fn too_deep(span: Span) -> SyntaxError {
    SyntaxError {
        message: format!("lists and mappings are more than {MAX_DEPTH} levels deep"),
        help: Some(
            "a release manifest has about ten levels: check the brackets and the indentation",
        ),
        span,
    }
}

fn too_long(span: Span) -> SyntaxError {
    SyntaxError {
        message: format!("a key has more than {MAX_KEY_BYTES} bytes"),
        help: Some("shorten the key"),
        span: Span { start: span.start, end: span.start },
    }
}

fn too_many(span: Span) -> SyntaxError {
    SyntaxError {
        message: format!("the file has more than {MAX_NODES} keys and values"),
        help: Some("a release manifest has a few hundred: is this the right file?"),
        span: Span { start: span.start, end: span.start },
    }
}

fn syntax_error(text: &str, error: &ScanError) -> SyntaxError {
    let start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let rest = text.get(start..).unwrap_or_default();
    let width = rest.chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
    let span = Span { start, end: start + width };
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(span);
    }
    SyntaxError { message: error.kind().to_string(), help: None, span }
}
